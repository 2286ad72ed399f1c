//! Making outputs exist.
#![deny(clippy::disallowed_methods)]

use super::Operation;
use super::build_result::BuildResult;
use crate::daemon::wire::{Decoder, Encoder, WireError};
use crate::{DerivedPath, OutputName, ResolvedDerivation, StoreDir, StorePath};
use std::collections::BTreeSet;
use std::io;

/// What is to exist after a build.
///
/// As text `/nix/store/x`, `/nix/store/x.drv!out,dev`, `/nix/store/x.drv!*`, and with one more `!out` for each
/// derivation that is itself an output (Nix 2.34, `DerivedPath::parseLegacy`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// A path as it is: one that is valid, or that a cache has.
    Path(StorePath),
    /// Outputs of a derivation.
    Outputs {
        /// The derivation, or the first of several.
        derivation: StorePath,
        /// Which output of it is the derivation that is meant, which output of that the next, and so on. Mostly none.
        through: Vec<OutputName>,
        /// Outputs of the last one.
        outputs: Outputs,
    },
}

/// Some outputs of a derivation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outputs {
    /// All that it has.
    All,
    /// These, at least one.
    Names(BTreeSet<OutputName>),
}

impl From<DerivedPath> for Wanted {
    fn from(path: DerivedPath) -> Self {
        match path {
            DerivedPath::Opaque(path) => Self::Path(path),
            DerivedPath::Built(derivation, output) => {
                Self::Outputs { derivation, through: Vec::new(), outputs: Outputs::Names([output].into()) }
            }
        }
    }
}

impl Wanted {
    /// Its text.
    pub fn print(&self, store_dir: &StoreDir) -> String {
        match self {
            Self::Path(path) => store_dir.print(path),
            Self::Outputs { derivation, through, outputs } => {
                let mut parts = vec![store_dir.print(derivation)];
                parts.extend(through.iter().map(OutputName::to_string));
                parts.push(match outputs {
                    Outputs::All => "*".into(),
                    Outputs::Names(names) => names.iter().map(OutputName::as_str).collect::<Vec<_>>().join(","),
                });
                parts.join("!")
            }
        }
    }

    /// Reads its text; `None` where it is none.
    pub fn parse(store_dir: &StoreDir, text: &str) -> Option<Self> {
        let mut parts = text.split('!');
        let path = store_dir.parse(parts.next()?).ok()?;
        let Some(last) = parts.next_back() else { return Some(Self::Path(path)) };
        let outputs = match last {
            "*" => Outputs::All,
            names => Outputs::Names(names.split(',').map(str::parse).collect::<Result<_, _>>().ok()?),
        };
        let through = parts.map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Self::Outputs { derivation: path, through, outputs })
    }

    pub(super) fn write(out: &mut Encoder<'_>, wanted: &Self) -> io::Result<()> {
        let text = wanted.print(&out.dialect().store_dir);
        out.text(text)
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, WireError> {
        let store_dir = &input.dialect().store_dir;
        input.value("a path or outputs of a derivation", |text| Self::parse(store_dir, text))
    }
}

/// What is done with an output that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildMode {
    /// Nothing.
    Normal,
    /// It is made again if its files are damaged. Only for trusted clients.
    Repair,
    /// It is made again and compared.
    Check,
}

impl BuildMode {
    fn number(self) -> u64 {
        match self {
            Self::Normal => 0,
            Self::Repair => 1,
            Self::Check => 2,
        }
    }
}

/// Makes outputs exist; refused where one cannot be made. A daemon of Nix 2.34 needs time and memory that grow with the
/// square of how many derivations are ready to be built: ask for 16 at most.
#[derive(Debug, Clone, Copy)]
pub struct BuildPaths<'a> {
    /// Which.
    pub wanted: &'a [Wanted],
    /// What is done with those that exist.
    pub mode: BuildMode,
}

impl Operation for BuildPaths<'_> {
    type Reply = ();
    const NAME: &'static str = "BuildPaths";
    const NUMBER: u64 = 9;

    fn write(&mut self, out: &mut Encoder<'_>) -> Result<(), WireError> {
        out.list(self.wanted, Wanted::write)?;
        Ok(out.number(self.mode.number())?)
    }

    fn read(self, input: &mut Decoder<'_>) -> Result<(), WireError> {
        input.done()
    }
}

/// As [`BuildPaths`], and answers what became of each.
#[derive(Debug, Clone, Copy)]
pub struct BuildPathsWithResults<'a> {
    /// Which.
    pub wanted: &'a [Wanted],
    /// What is done with those that exist.
    pub mode: BuildMode,
}

impl Operation for BuildPathsWithResults<'_> {
    type Reply = Vec<(Wanted, BuildResult)>;
    const NAME: &'static str = "BuildPathsWithResults";
    const NUMBER: u64 = 46;

    fn write(&mut self, out: &mut Encoder<'_>) -> Result<(), WireError> {
        out.list(self.wanted, Wanted::write)?;
        Ok(out.number(self.mode.number())?)
    }

    fn read(self, input: &mut Decoder<'_>) -> Result<Self::Reply, WireError> {
        input.list(|input| Ok((Wanted::read(input)?, BuildResult::read(input)?)))
    }
}

/// Runs a derivation whose file need not be in the store. A client that is not trusted may do it only where the outputs
/// are named after their content.
#[derive(Debug, Clone, Copy)]
pub struct BuildDerivation<'a> {
    /// The path that its file has or would have.
    pub path: &'a StorePath,
    /// The derivation.
    pub derivation: &'a ResolvedDerivation,
    /// What is done with outputs that exist.
    pub mode: BuildMode,
}

impl Operation for BuildDerivation<'_> {
    type Reply = BuildResult;
    const NAME: &'static str = "BuildDerivation";
    const NUMBER: u64 = 36;

    fn write(&mut self, out: &mut Encoder<'_>) -> Result<(), WireError> {
        let derivation = self.derivation.get();
        let store_dir = &out.dialect().store_dir;
        out.path(self.path)?;
        out.list(&derivation.outputs, |out, (name, output)| {
            let (how, hash) = output.method_and_hash();
            out.text(name.as_str())?;
            out.optional_path(output.path(store_dir, &derivation.name, name).as_ref())?;
            out.text(how)?;
            out.text(hash.as_bytes())
        })?;
        out.paths(&derivation.input_srcs)?;
        out.text(&derivation.system)?;
        out.text(&derivation.builder)?;
        out.list(&derivation.args, Encoder::text)?;
        out.list(&derivation.env, |out, (name, value)| {
            out.text(name)?;
            out.text(value)
        })?;
        Ok(out.number(self.mode.number())?)
    }

    fn read(self, input: &mut Decoder<'_>) -> Result<BuildResult, WireError> {
        BuildResult::read(input)
    }
}

/// Makes a path valid from a cache, if it is not valid yet.
#[derive(Debug, Clone, Copy)]
pub struct EnsurePath<'a>(pub &'a StorePath);

impl Operation for EnsurePath<'_> {
    type Reply = ();
    const NAME: &'static str = "EnsurePath";
    const NUMBER: u64 = 10;

    fn write(&mut self, out: &mut Encoder<'_>) -> Result<(), WireError> {
        Ok(out.path(self.0)?)
    }

    fn read(self, input: &mut Decoder<'_>) -> Result<(), WireError> {
        input.done()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_has_one_text() {
        let dir = StoreDir::default();
        let path = "/nix/store/70d21lccfcrmdpqfg1gj5acybbdan6mg-hello.drv.drv";
        for rest in ["", "!out", "!dev,out", "!*", "!out!out", "!a!b!c", "!out!*"] {
            let text = format!("{path}{rest}");
            assert_eq!(Wanted::parse(&dir, &text).unwrap().print(&dir), text);
        }
        for rest in ["!", "!out,", "!*!out", "!out!", "x"] {
            let text = format!("{path}{rest}");
            let parsed = Wanted::parse(&dir, &text);
            assert!(parsed.is_none() || rest == "x", "{text}: {parsed:?}");
        }
    }
}
