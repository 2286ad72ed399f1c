//! What the project's runner is asked to do: the structured attributes of every derivation that it builds.
#![deny(clippy::disallowed_methods)]

mod head_start;

pub use head_start::HeadStart;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an edge needs and gives, in the derivation's structured attributes. Texts are bytes as [`crate::text`] writes
/// them; paths are absolute. The version in `abi` changes whenever the same manifest would be run differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`ABI`].
    pub abi: u32,
    /// Run one after the other until one fails.
    pub commands: Vec<Step>,
    /// Directories that exist, whether or not anything is in them.
    pub directories: Vec<String>,
    /// The name of the derivation, which Nix does not hash otherwise.
    pub name: String,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Files written before the first command: response files. Not collected.
    pub files: BTreeMap<String, String>,
    /// Files that the commands see when they list directories, and do not read: empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Whether the commands run in the host's own file system, where inputs and tools lie at their places, for hosts that
    /// refuse to make another root. They are traced; to read anything but inputs is a failure.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_place: bool,
    /// Whether the commands can make no socket: they are such as need none, and that is less to set up than a network of their own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub offline: bool,
    /// Where each input is seen: a store path, or a path below one.
    pub inputs: BTreeMap<String, String>,
    /// The build directory: files written here that nobody declared become the output `rest`.
    pub rest: String,
    /// Whether to say in the output `reads`, as [`Reads`], what the commands did with files.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub traced: bool,
    /// Where not 0, a command that fails is told in [`Reads::exit`], and is no failure of the derivation: so that somebody
    /// learns what it looked for. Of a traced edge. The number tells this attempt from others that have failed, which are
    /// not to be taken for it.
    #[serde(default, skip_serializing_if = "is_none")]
    pub trial: u32,
    /// Whether files among the inputs can be written, as far as their mode says: a copy that a command makes of one has its
    /// mode, and may have to be changed. To write the input itself is a failure all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub copied: bool,
    /// What the compiler makes of `native` as the name of a processor, for commands that say so: on another machine the
    /// same words are another command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<String>,
    /// Where parts of the toolchain snapshot are seen.
    pub tools: BTreeMap<String, String>,
    /// Symbolic links at the root, such as `/bin` to `usr/bin`.
    pub links: BTreeMap<String, String>,
    /// Where the command leaves each output.
    pub writes: BTreeMap<String, String>,
    /// The store path of each output; filled in by whoever builds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_none(trial: &u32) -> bool {
    *trial == 0
}

impl Manifest {
    /// Its text as Nix would write it again: keys sorted, no spaces. Nix 2.32 and later read the structured attributes of a
    /// derivation and write them anew before they hash it, so that another text would have another hash there than here.
    ///
    /// # Panics
    /// Never: a manifest is plain data.
    pub fn to_json(&self) -> Vec<u8> {
        let sorted = serde_json::to_value(self).expect("a manifest is plain data");
        serde_json::to_vec(&sorted).expect("a value is plain data")
    }
}

/// What the commands of a traced edge did with files; absolute paths without links on the way, as texts in [`Manifest`],
/// each list sorted. What the commands read after they had written it themselves is not among what they read. The links
/// that they went through are files. `/proc`, `/dev` and `/sys` are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reads {
    /// Opened for reading, started, or followed.
    pub files: Vec<String>,
    /// Listed.
    pub directories: Vec<String>,
    /// Looked at, such as by stat(2), and there; files and directories.
    pub looked: Vec<String>,
    /// Looked for in vain.
    pub absent: Vec<String>,
    /// Made, and not there before.
    pub written: Vec<String>,
    /// Changed or removed, or tried to, and there before.
    pub overwritten: Vec<String>,
    /// A program was started that could not be looked at, such as one of 32 bits.
    pub incomplete: bool,
    /// The exit code of the command that ended a trial, or 0.
    pub exit: i32,
}

impl Reads {
    /// Every list of paths.
    pub fn lists(&mut self) -> [&mut Vec<String>; 6] {
        let Self { files, directories, looked, absent, written, overwritten, incomplete: _, exit: _ } = self;
        [files, directories, looked, absent, written, overwritten]
    }
}

/// The target of the symbolic link that stands for an output that the command did not write: every output of a
/// derivation has to be there.
pub const UNWRITTEN: &str = "/not-written";

/// The version of [`Manifest`].
pub const ABI: u32 = 1;

/// One program, started without a shell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The program as the command names it, then its arguments.
    pub argv: Vec<String>,
    /// The directory that it is started in.
    pub cwd: String,
    /// What it reads as its standard input; `/dev/null` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// The file that its standard output is written to, from the beginning; the log by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
}

/// One command of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A program with its arguments.
    Run(Run),
    /// `rm -f` of paths.
    Remove(Vec<String>),
    /// `ln -sfn`: pairs of link and target.
    Link(Vec<(String, String)>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_written_with_its_keys_sorted() {
        let text = |key: &str| (key.to_owned(), "\u{1}\u{8}\n\u{7f}ü\"\\/".to_owned());
        let run = Run { argv: vec!["cc".into()], cwd: "/".into(), stdin: None, stdout: None };
        let manifest = Manifest {
            abi: ABI,
            commands: vec![Step::Run(run)],
            directories: Vec::new(),
            name: "a.o".into(),
            env: BTreeMap::from([text("Z"), text("A")]),
            files: BTreeMap::new(),
            names: Vec::new(),
            in_place: false,
            offline: false,
            inputs: BTreeMap::new(),
            rest: "/b".into(),
            traced: false,
            trial: 0,
            copied: false,
            native: None,
            tools: BTreeMap::new(),
            links: BTreeMap::new(),
            writes: BTreeMap::new(),
            outputs: BTreeMap::new(),
        };
        // As the library writes it that Nix uses (nlohmann::json 3.11, `dump`).
        let value = r#""\u0001\b\n\u007fü\"\\/""#.replace("\\u007f", "\u{7f}");
        let expected = format!(
            r#"{{"abi":1,"commands":[{{"run":{{"argv":["cc"],"cwd":"/"}}}}],"directories":[],"env":{{"A":{value},"Z":{value}}},"files":{{}},"inputs":{{}},"links":{{}},"name":"a.o","rest":"/b","tools":{{}},"writes":{{}}}}"#
        );
        assert_eq!(String::from_utf8(manifest.to_json()).unwrap(), expected);
    }
}
