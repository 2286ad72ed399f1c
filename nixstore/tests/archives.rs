//! Which archives are refused, and what restoring one can do.

use nixstore::nar::{self, Event, MAX_DEPTH, Malformed, NarError, Reader};
use nixstore::{Sha256, Tree};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

#[test]
fn a_name_that_leaves_the_directory_is_refused() {
    for name in ["..", ".", "", "a/b", "/etc", "a\0b"] {
        let archive = Tree::directory([(name, Tree::file("escaped"))]).to_nar();
        let directory = tempfile::tempdir().unwrap();
        let destination = directory.path().join("tree");
        let error = nar::restore(archive.as_slice(), &destination).unwrap_err();
        assert_eq!(problem(error), Malformed::Name(name.into()));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "only the directory that was begun");
        assert_eq!(fs::read_dir(&destination).unwrap().count(), 0);
    }
}

#[test]
fn nothing_is_written_through_a_symlink_of_the_archive() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("target");
    fs::create_dir(&target).unwrap();
    // A directory that has the name of a symlink before it: names must ascend, so it is refused.
    let archive = archive(&[
        "(",
        "type",
        "directory",
        "entry",
        "(",
        "name",
        "a",
        "node",
        "(",
        "type",
        "symlink",
        "target",
        target.to_str().unwrap(),
        ")",
        ")",
        "entry",
        "(",
        "name",
        "a",
        "node",
        "(",
        "type",
        "directory",
        "entry",
        "(",
        "name",
        "escaped",
        "node",
        "(",
        "type",
        "regular",
        "contents",
        "",
        ")",
        ")",
        ")",
        ")",
        ")",
    ]);
    let error = nar::restore(archive.as_slice(), &directory.path().join("tree")).unwrap_err();
    assert_eq!(problem(error), Malformed::Unsorted("a".into()));
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
}

#[test]
fn what_is_there_already_is_neither_followed_nor_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let (file, link) = (directory.path().join("file"), directory.path().join("link"));
    fs::write(&file, "kept").unwrap();
    symlink(&file, &link).unwrap();
    for tree in [Tree::file("new"), Tree::symlink("new"), Tree::directory([("new", Tree::file("new"))])] {
        for destination in [&file, &link] {
            let error = tree.write(destination).unwrap_err();
            assert!(error.to_string().contains(destination.to_str().unwrap()), "{error}");
        }
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
}

#[test]
fn an_archive_of_64_levels_is_taken_and_one_of_65_is_not() {
    let nested = |levels: usize| (1..levels).fold(Tree::file(""), |tree, _| Tree::directory([("d", tree)]));
    let directory = tempfile::tempdir().unwrap();
    let deepest = nested(MAX_DEPTH);
    deepest.write(&directory.path().join("deepest")).unwrap();
    assert_eq!(Tree::read(&directory.path().join("deepest")).unwrap(), deepest);

    let deeper = nested(MAX_DEPTH + 1).to_nar();
    assert_eq!(problem(Tree::from_nar(&deeper).unwrap_err()), Malformed::TooDeep);
    fs::create_dir(directory.path().join("deeper")).unwrap();
    fs::rename(directory.path().join("deepest"), directory.path().join("deeper/d")).unwrap();
    let error = nar::nar_hash(&directory.path().join("deeper")).unwrap_err();
    assert!(matches!(error, NarError::TooDeep(_)), "{error}");
}

#[test]
fn long_names_and_targets_are_taken_up_to_their_limits() {
    let named = |len: usize| Tree::directory([("n".repeat(len), Tree::file(""))]).to_nar();
    assert!(Tree::from_nar(&named(255)).is_ok());
    assert_eq!(problem(Tree::from_nar(&named(256)).unwrap_err()), Malformed::TooLong { len: 256, limit: 255 });
    let linked = |len: usize| Tree::symlink("t".repeat(len)).to_nar();
    assert!(Tree::from_nar(&linked(4095)).is_ok());
    assert_eq!(problem(Tree::from_nar(&linked(4096)).unwrap_err()), Malformed::TooLong { len: 4096, limit: 4095 });
    for target in ["", "a\0b"] {
        assert_eq!(problem(Tree::from_nar(&Tree::symlink(target).to_nar()).unwrap_err()), Malformed::Target);
    }
}

#[test]
fn a_length_that_no_input_has_costs_no_memory() {
    let mut huge = archive(&["(", "type"]);
    huge.extend_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(problem(Tree::from_nar(&huge).unwrap_err()), Malformed::TooLong { len: u64::MAX, limit: 32 });
    let mut contents = archive(&["(", "type", "regular", "contents"]);
    contents.extend_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(problem(Tree::from_nar(&contents).unwrap_err()), Malformed::Truncated);
}

#[test]
fn padding_that_is_not_zero_is_refused() {
    let mut archive = Tree::file("x").to_nar();
    let at = archive.iter().rposition(|byte| *byte == b'x').unwrap();
    archive[at + 1] = 1;
    assert_eq!(problem(Tree::from_nar(&archive).unwrap_err()), Malformed::Padding);
}

#[test]
fn an_error_tells_where_in_the_tree_and_in_the_archive_it_is() {
    let archive = archive(&["(", "type", "directory", "entry", "(", "name", "sub", "node", "(", "type", "fifo", ")"]);
    let error = Tree::from_nar(&archive).unwrap_err();
    assert_eq!(error.to_string(), "bad archive: unknown kind `fifo` in `/sub`, before byte 208");
}

#[test]
fn a_socket_cannot_be_archived() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let error = nar::nar_hash(directory.path()).unwrap_err();
    assert!(matches!(&error, NarError::Unsupported(path) if *path == socket), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let error = nar::nar_hash(Path::new("/nowhere/at/all")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read `/nowhere/at/all`");
}

#[test]
fn only_the_execution_by_the_owner_counts() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    for (mode, executable) in [(0o644, false), (0o611, false), (0o744, true), (0o700, true)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let expected = Tree::File { contents: "x".into(), executable };
        assert_eq!(Tree::read(&file).unwrap(), expected, "{mode:o}");
    }
}

#[test]
fn files_around_the_size_of_the_buffers_come_through() {
    for size in [0, 1, 7, 8, 9, 65_536, 262_143, 262_144, 262_145, 700_000] {
        let contents: Vec<u8> = (0..size).map(|i: u32| (i * 7 / 8) as u8).collect();
        let tree = Tree::directory([("a", Tree::file(contents.clone())), ("b", Tree::executable(contents))]);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tree");
        tree.write(&path).unwrap();
        assert_eq!(nar::nar_hash(&path).unwrap().0, Sha256::of(tree.to_nar()), "{size}");
        assert_eq!(Tree::read(&path).unwrap(), tree, "{size}");
    }
}

#[test]
fn contents_that_nobody_copies_are_passed_over() {
    let tree = Tree::directory([("a", Tree::file("skipped")), ("b", Tree::symlink("a"))]);
    let archive = tree.to_nar();
    let mut reader = Reader::new(OneByteAtATime(&archive));
    let mut told = Vec::new();
    while let Some(event) = reader.next().unwrap() {
        told.push((reader.path().to_str().unwrap().to_owned(), event));
    }
    let at = |path: &str, event| (path.to_owned(), event);
    assert_eq!(
        told,
        [
            at("", Event::Directory),
            at("a", Event::File { executable: false, size: 7 }),
            at("b", Event::Symlink { target: "a".into() }),
            at("", Event::Leave),
        ]
    );
    assert_eq!(reader.next().unwrap(), None, "the end stays the end");
}

#[test]
fn a_reader_that_fails_is_told_from_an_archive_that_is_cut_off() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the line is dead"))
        }
    }
    assert!(matches!(Reader::new(Broken).next(), Err(NarError::Read(_))));
    assert_eq!(problem(Reader::new(io::empty()).next().unwrap_err()), Malformed::Truncated);
}

/// An archive of these texts.
fn archive(texts: &[&str]) -> Vec<u8> {
    let mut archive = Vec::new();
    for text in ["nix-archive-1"].iter().chain(texts) {
        archive.extend_from_slice(&(text.len() as u64).to_le_bytes());
        archive.extend_from_slice(text.as_bytes());
        archive.resize(archive.len().next_multiple_of(8), 0);
    }
    archive
}

fn problem(error: NarError) -> Malformed {
    match error {
        NarError::Malformed { problem, .. } => problem,
        other => panic!("failed otherwise: {other}"),
    }
}

struct OneByteAtATime<'a>(&'a [u8]);

impl Read for OneByteAtATime<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(1);
        self.0.read(&mut buffer[..most])
    }
}
