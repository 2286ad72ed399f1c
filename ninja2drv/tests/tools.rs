//! The tools of `-t`, beside what Ninja 1.13.2 printed (`tools/said`): of each command line of `tools/asked` what goes to standard
//! output, after `! ` what goes to standard error, and after `= ` the exit code. Addresses of nodes are numbered, the directory
//! is `DIRECTORY`, and a NUL is `<NUL>` and a new line.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

#[test]
fn tools_print_what_ninja_prints() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools");
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    let said = read("said");
    let mut expected = said.split("\n$ ").map(|one| one.trim_start_matches("$ ").trim_end());
    for line in read("asked").lines() {
        let output = Command::new(env!("CARGO_BIN_EXE_ninja2drv"))
            .arg("-C")
            .arg(&directory)
            .arg("-t")
            .args(line.split(' '))
            .output()
            .unwrap();
        let out = numbered(&String::from_utf8(output.stdout).unwrap());
        let mut said = format!("{line}\n{out}").replace(&directory.display().to_string(), "DIRECTORY");
        said = said.replace('\0', "<NUL>\n");
        if !said.ends_with('\n') {
            said.push('\n');
        }
        for line in String::from_utf8(output.stderr).unwrap().lines() {
            writeln!(said, "! {line}").unwrap();
        }
        write!(said, "= {}", output.status.code().unwrap()).unwrap();
        assert_eq!(said, expected.next().unwrap(), "-t {line}");
    }
    assert_eq!(expected.next(), None);
}

/// A text in which addresses are numbers in the order in which they come up.
fn numbered(text: &str) -> String {
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut parts = text.split("\"0x");
    let mut numbered = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (address, rest) = part.split_once('"').unwrap();
        let next = numbers.len();
        write!(numbered, "\"node-{}\"{rest}", numbers.entry(address).or_insert(next)).unwrap();
    }
    numbered
}

#[test]
fn a_list_of_tools_needs_no_manifest() {
    let directory = tempfile::tempdir().unwrap();
    let list =
        Command::new(env!("CARGO_BIN_EXE_ninja2drv")).args(["-t", "list"]).current_dir(directory.path()).output();
    let list = list.unwrap();
    let text = String::from_utf8(list.stdout).unwrap();
    assert!(text.starts_with("ninja subtools:\n      clean  clean built files\n"), "{text}");
    assert_eq!(list.status.code(), Some(0));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
