//! A head start: a compiler that is begun before it is known what it reads. It takes milliseconds to come to its source, and waits
//! there until all inputs are in their places.

use super::{Manifest, Step};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What is known of an edge before its inputs are. Texts are as in [`Manifest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadStart {
    /// All of the manifest but inputs; of directories those that the command may look at.
    pub manifest: Manifest,
    /// The input that the command opens first. Whoever opens it waits.
    pub gate: String,
    /// What it looks at before, there or not.
    pub looked: BTreeSet<String>,
}

impl HeadStart {
    /// Whether the command, as it was begun, has seen nothing else so far than it sees with all inputs in place.
    pub fn leads_to(&self, whole: &Manifest) -> bool {
        let of_inputs = |manifest: &Manifest| Manifest {
            inputs: Default::default(),
            directories: Vec::new(),
            names: Vec::new(),
            outputs: Default::default(),
            ..manifest.clone()
        };
        let is_one_program = matches!(whole.commands.as_slice(), [Step::Run(run)] if run.stdin.is_none());
        is_one_program
            && whole.inputs.contains_key(&self.gate)
            && of_inputs(&self.manifest) == of_inputs(whole)
            && self.looked.iter().all(|path| shows(&self.manifest, path) == shows(whole, path))
    }
}

/// Whether a command finds something at a path that does not lie among the tools.
fn shows(manifest: &Manifest, path: &str) -> bool {
    let Manifest { inputs, directories, files, names, writes, rest, .. } = manifest;
    let there = inputs.keys().chain(directories).chain(files.keys()).chain(names).chain([rest]).map(String::as_str);
    let of_outputs = writes.values().filter_map(|at| Some(at.rsplit_once('/')?.0));
    let is_or_holds =
        |other: &str| other.strip_prefix(path).is_some_and(|below| below.is_empty() || below.starts_with('/'));
    there.chain(of_outputs).any(is_or_holds)
}

#[cfg(test)]
mod tests {
    use super::super::{ABI, Run};
    use super::*;

    fn manifest(inputs: &[&str], directories: &[&str]) -> Manifest {
        let run = Run { argv: vec!["cc".into(), "-Iinc".into()], cwd: "/b".into(), ..Run::default() };
        Manifest {
            abi: ABI,
            commands: vec![Step::Run(run)],
            directories: directories.iter().map(ToString::to_string).collect(),
            name: "a.o".into(),
            env: Default::default(),
            files: Default::default(),
            names: Vec::new(),
            in_place: false,
            offline: true,
            inputs: inputs.iter().map(|at| (at.to_string(), "/nix/store/x".into())).collect(),
            rest: "/b".into(),
            traced: false,
            trial: 0,
            copied: false,
            native: None,
            tools: Default::default(),
            links: Default::default(),
            writes: [("o0".to_owned(), "/b/obj/a.o".to_owned())].into(),
            outputs: Default::default(),
        }
    }

    fn begun(directories: &[&str]) -> HeadStart {
        let looked = ["/b/inc", "/b/a.c.gch"].map(str::to_owned).into();
        HeadStart { manifest: manifest(&[], directories), gate: "/b/a.c".into(), looked }
    }

    #[test]
    fn inputs_that_the_command_has_not_looked_at_come_later() {
        let whole = manifest(&["/b/a.c", "/b/inc/a.h", "/c/other.h"], &["/b/inc", "/d"]);
        assert!(begun(&["/b/inc"]).leads_to(&whole));
        assert!(begun(&[]).leads_to(&manifest(&["/b/a.c", "/b/other.h"], &[])));
    }

    #[test]
    fn what_it_has_looked_at_was_to_be_there_as_it_is_now() {
        // As a directory, by a file in it, or as a file.
        assert!(!begun(&[]).leads_to(&manifest(&["/b/a.c"], &["/b/inc"])));
        assert!(!begun(&[]).leads_to(&manifest(&["/b/a.c", "/b/inc/a.h"], &[])));
        assert!(!begun(&["/b/inc"]).leads_to(&manifest(&["/b/a.c"], &[])));
        assert!(!begun(&[]).leads_to(&manifest(&["/b/a.c", "/b/a.c.gch"], &[])));
        // A name that only begins alike is another.
        assert!(begun(&[]).leads_to(&manifest(&["/b/a.c", "/b/include/a.h"], &[])));
    }

    #[test]
    fn another_command_is_not_what_was_begun() {
        let whole = manifest(&["/b/a.c"], &[]);
        assert!(begun(&[]).leads_to(&whole));
        let other_env = Manifest { env: [("A".to_owned(), "1".to_owned())].into(), ..whole.clone() };
        let other_tools = Manifest { tools: [("/usr".to_owned(), "/nix/store/t".to_owned())].into(), ..whole.clone() };
        let more = Manifest { commands: [whole.commands.clone(), whole.commands.clone()].concat(), ..whole.clone() };
        let without_source = Manifest { inputs: Default::default(), ..whole };
        assert!([other_env, other_tools, more, without_source].iter().all(|other| !begun(&[]).leads_to(other)));
    }
}
