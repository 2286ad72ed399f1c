//! What outputs of derivations came out as, in the two forms that there are: up to Nix 2.34 a realisation as JSON, which
//! goes by the hash of a derivation; since 2.35 and its feature, fields that go by the derivation's path.
#![deny(clippy::disallowed_methods)]

use super::Operation;
use crate::daemon::version::Dialect;
use crate::daemon::wire::{Decoder, Encoder, Malformed, WireError};
use crate::{DrvOutputId, OutputName, Realisation, Sha256, StorePath};
use std::collections::{BTreeMap, BTreeSet};

/// What an output came out as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realised {
    /// Where it is.
    pub path: StorePath,
    /// By which it goes; nothing where the daemon is of 2.35 or later.
    pub id: Option<DrvOutputId>,
    /// `key:base64` each.
    pub signatures: BTreeSet<String>,
}

impl Realised {
    /// Reads the outputs of one build.
    pub(super) fn read_outputs(input: &mut Decoder<'_>) -> Result<BTreeMap<OutputName, Self>, WireError> {
        if input.dialect().realisations_by_path() {
            return input.list(|input| Ok((input.output_name()?, Self::read(input)?)));
        }
        input.list(|input| {
            let id: DrvOutputId = input.parse("an output of a derivation")?;
            let realised = Self::read_json(input)?;
            Ok((id.output, realised))
        })
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, WireError> {
        Ok(Self { path: input.path()?, id: None, signatures: input.list(Decoder::text)? })
    }

    fn read_json(input: &mut Decoder<'_>) -> Result<Self, WireError> {
        /// What Nix 2.35 writes for a client without its feature: it knows no hash any more.
        const NO_HASH: Sha256 = Sha256([0; 32]);

        let Realisation { id, path, signatures, .. } =
            input.value("a realisation", |json| Realisation::from_json(json).ok())?;
        Ok(Self { path, id: Some(id).filter(|id| id.drv_hash != NO_HASH), signatures })
    }
}

/// What an output came out as before; `None` where nobody knows. Nix 2.34 dies of it on the socket that it gives to a
/// builder (recursive Nix), unless the output was built there.
#[derive(Debug, Clone, Copy)]
pub struct QueryRealisation<'a> {
    /// Which output.
    pub id: &'a DrvOutputId,
    /// The path of the resolved derivation, by which later daemons go.
    pub derivation: Option<&'a StorePath>,
}

impl Operation for QueryRealisation<'_> {
    type Reply = Option<Realised>;
    const NAME: &'static str = "QueryRealisation";
    const NUMBER: u64 = 43;

    fn supported(&self, dialect: &Dialect) -> Result<(), &'static str> {
        by_path_or_by_id(dialect, self.derivation)
    }

    fn write(&mut self, out: &mut Encoder<'_>) -> Result<(), WireError> {
        if let Some(derivation) = named_path(out, self.derivation) {
            out.path(derivation)?;
            Ok(out.text(self.id.output.as_str())?)
        } else {
            Ok(out.display(self.id)?)
        }
    }

    fn read(self, input: &mut Decoder<'_>) -> Result<Self::Reply, WireError> {
        if !input.dialect().realisations_by_path() {
            let realisations: Vec<_> = input.list(Realised::read_json)?;
            return Ok(realisations.into_iter().next());
        }
        match input.number()? {
            0 => Ok(None),
            1 => Realised::read(input).map(Some),
            number => Err(Malformed::Choice { what: "whether there is a realisation", number }.into()),
        }
    }
}

/// Records what an output came out as. The path has to be valid. Nix 2.34 believes anybody.
#[derive(Debug, Clone, Copy)]
pub struct RegisterDrvOutput<'a> {
    /// What to record.
    pub realisation: &'a Realisation,
    /// The path of the resolved derivation, by which later daemons go.
    pub derivation: Option<&'a StorePath>,
}

impl Operation for RegisterDrvOutput<'_> {
    type Reply = ();
    const NAME: &'static str = "RegisterDrvOutput";
    const NUMBER: u64 = 42;

    fn supported(&self, dialect: &Dialect) -> Result<(), &'static str> {
        by_path_or_by_id(dialect, self.derivation)
    }

    fn write(&mut self, out: &mut Encoder<'_>) -> Result<(), WireError> {
        let Realisation { id, path, signatures, .. } = self.realisation;
        if let Some(derivation) = named_path(out, self.derivation) {
            out.path(derivation)?;
            out.text(id.output.as_str())?;
            out.path(path)?;
            Ok(out.list(signatures, Encoder::text)?)
        } else {
            Ok(out.text(self.realisation.to_json())?)
        }
    }

    fn read(self, _input: &mut Decoder<'_>) -> Result<(), WireError> {
        Ok(())
    }
}

fn by_path_or_by_id(dialect: &Dialect, derivation: Option<&StorePath>) -> Result<(), &'static str> {
    if dialect.realisations_by_path() && derivation.is_none() {
        Err("it knows outputs by the paths of their derivations, and only the hash is known here")
    } else {
        Ok(())
    }
}

/// The derivation's path, where the daemon goes by it.
fn named_path<'a>(out: &Encoder<'_>, derivation: Option<&'a StorePath>) -> Option<&'a StorePath> {
    derivation.filter(|_| out.dialect().realisations_by_path())
}
