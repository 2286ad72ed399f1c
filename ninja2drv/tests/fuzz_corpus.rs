//! The inputs of the fuzz targets that are kept (`fuzz/corpus`), through the same functions.

#[path = "../../fuzz/src/lib.rs"]
mod readers;

use std::path::Path;

type Reader = fn(&[u8]);

#[test]
fn what_fuzzing_found_is_read_without_a_panic() {
    let readers: [(&str, Reader); 7] = [
        ("build_log", readers::build_log),
        ("depfile", readers::depfile),
        ("deps_log", readers::deps_log),
        ("dyndep", readers::dyndep),
        ("manifest", readers::manifest),
        ("scan", readers::scan),
        ("showincludes", readers::showincludes),
    ];
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let kept = names(&corpus);
    assert_eq!(kept, readers.map(|(name, _)| name.to_owned()));
    for (name, read) in readers {
        let inputs = names(&corpus.join(name));
        assert!(!inputs.is_empty(), "there is no input for {name}");
        for input in inputs {
            let path = corpus.join(name).join(input);
            let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            println!("{}", path.display()); // shown where one fails
            read(&bytes);
        }
    }
}

/// What a directory holds, in order.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name().into_string();
    let mut names: Vec<String> = entries.map(|entry| name(entry).expect("a name that is text")).collect();
    names.sort();
    names
}
