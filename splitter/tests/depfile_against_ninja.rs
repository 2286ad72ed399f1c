//! Compares what we read in depfiles with what Ninja reads in them.

use bstr::ByteSlice as _;
use splitter::depfile::{self, Depfile};
use splitter::graph::normalise;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

#[test]
fn inputs_of_odd_depfiles_are_those_that_ninja_reads() {
    if Command::new("ninja").arg("--version").output().is_err() {
        println!("not run: ninja is missing");
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let texts: Vec<Vec<u8>> = (0..400).map(odd_text).collect();
    let mut manifest =
        "rule r\n  command = cp $out.in $out.d && touch $out\n  depfile = $out.d\n  deps = gcc\n".to_owned();
    for (i, text) in texts.iter().enumerate() {
        std::fs::write(directory.path().join(format!("o{i}.in")), text).expect("a depfile");
        writeln!(manifest, "build o{i}: r").expect("a string takes it");
    }
    std::fs::write(directory.path().join("build.ninja"), manifest).expect("a manifest");
    let ninja = |arguments: &[&str]| {
        let output = Command::new("ninja").args(arguments).current_dir(directory.path()).output();
        output.expect("ninja runs").stdout
    };
    ninja(&["-k", "0"]);

    // `-t deps` prints a line for each output and then its inputs, indented; bad depfiles leave no record.
    let mut theirs: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    let mut current = None;
    for line in ninja(&["-t", "deps"]).split_str("\n") {
        if let Some(input) = line.strip_prefix(b"    ") {
            theirs.get_mut(current.as_ref().expect("an output before")).expect("a record").push(input.to_vec());
        } else if let Some((name, _)) = line.split_once_str(": #deps") {
            let name = name.to_str_lossy().into_owned();
            theirs.insert(name.clone(), vec![]);
            current = Some(name);
        }
    }
    assert!(theirs.len() > 100, "Ninja read {} depfiles", theirs.len());
    for (i, text) in texts.iter().enumerate() {
        let ours = depfile::parse(text).ok();
        if ours.as_ref().is_some_and(|ours| *ours == Depfile::default()) {
            continue; // an error for older Ninjas, such as 1.11
        }
        let ours = ours.map(|Depfile { inputs, .. }| -> Vec<Vec<u8>> {
            inputs.iter().map(|path| normalise(path.as_bstr(), "/nowhere".into()).into()).collect()
        });
        assert_eq!(ours, theirs.remove(&format!("o{i}")), "{:?}", text.as_bstr());
    }
}

/// A text of pieces that mean something in depfiles; the same for the same `seed`.
fn odd_text(seed: u64) -> Vec<u8> {
    const PIECES: [&[u8]; 24] = [
        b"a", b"b", b"c/d", b"\\", b"\\", b"\\", b" ", b" ", b" ", b":", b": ", b": ", b"#", b"$", b"$$", b"\n",
        b"\r\n", b"\\\n", b"\t", b"*", b"\xff", b"x:\n", b"\r", b"\0",
    ];
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut text = b"out: in ".to_vec();
    if seed.is_multiple_of(2) {
        text.clear();
    }
    for _ in 0..seed % 17 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.extend_from_slice(PIECES[(state >> 33) as usize % PIECES.len()]);
    }
    text
}
