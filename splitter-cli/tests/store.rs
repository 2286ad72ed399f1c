//! `splitter store` as its users see it.

use localstore::LocalStore;
use nixstore::Store as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A store with three paths of 4 KiB and more in a directory of its own; `c` was used last.
struct Filled {
    directory: tempfile::TempDir,
}

fn filled() -> Filled {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let filled = Filled { directory };
    for name in ["a", "b", "c"] {
        // Closed each time, so that the times of use differ.
        let store = filled.open();
        store.add_file(&name.parse().unwrap(), name.repeat(4096).as_bytes(), false).expect("it can be added");
    }
    filled
}

impl Filled {
    fn root(&self) -> PathBuf {
        self.directory.path().join("a store")
    }

    fn open(&self) -> LocalStore {
        LocalStore::open(&self.root()).expect("a store")
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root().join("nix/store")).unwrap().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.retain(|name| name != ".links");
        names.sort_by_key(|name| name[33..].to_owned());
        names.into_iter().map(|name| name[33..].into()).collect()
    }

    fn splitter(&self, arguments: &[&str]) -> Output {
        let url = format!("local?root={}", self.root().display()).replace(' ', "%20");
        splitter(arguments, &[("SPLITTER_STORE", &url)])
    }
}

fn splitter(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_splitter"));
    for name in ["SPLITTER_STORE", "SPLITTER_STORE_LIMIT", "NIX_REMOTE", "NIX_BUILD_TOP", "NIX_STORE"] {
        command.env_remove(name);
    }
    command.args(arguments).envs(variables.iter().copied()).output().expect("splitter starts")
}

/// What a command that succeeded wrote.
fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a command that failed complained of.
fn complaint(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn display(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn info_says_where_the_store_is_and_what_it_takes() {
    let store = filled();
    let text = said(&store.splitter(&["store", "info", "--limit", "1.5G"]));
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    assert_eq!(line("store "), display(&store.root()));
    assert_eq!(line("paths "), "3");
    assert_eq!(line("size "), "12.3 KiB of at most 1.5 GiB, as NARs");
    assert!(line("on disk ").ends_with(" KiB"), "{text}");
    assert!(line("last use ").contains(" UTC ("), "{text}");
    assert!(line("format ").starts_with("1,"), "{text}");
    assert!(!line("runner ").is_empty(), "{text}");
}

#[test]
fn info_of_a_store_that_is_not_made_yet_says_where_it_will_be_and_makes_none() {
    let directory = tempfile::tempdir().unwrap();
    let home = display(directory.path());
    let text = said(&splitter(&["store", "info"], &[("XDG_DATA_HOME", &home)]));
    assert_eq!(text, format!("store     {home}/splitter (not made yet)\n"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn collect_deletes_what_was_used_longest_ago() {
    let store = filled();
    assert!(said(&store.splitter(&["store", "collect"])).ends_with("nothing was deleted\n"));
    assert_eq!(store.names(), ["a", "b", "c"]);

    assert_eq!(
        said(&store.splitter(&["store", "collect", "--limit", "9K"])),
        "deleted 1 path, 4.1 KiB; 8.2 KiB left\n"
    );
    assert_eq!(store.names(), ["b", "c"]);

    let url = format!("local?root={}", store.root().display());
    let variables = [("SPLITTER_STORE", &*url), ("SPLITTER_STORE_LIMIT", "5000")];
    said(&splitter(&["store", "collect"], &variables));
    assert_eq!(store.names(), ["c"]);
}

#[test]
fn verify_names_what_is_not_as_it_was_registered() {
    let store = filled();
    assert_eq!(said(&store.splitter(&["store", "verify"])), "checked 3 paths, 0 wrong\n");

    let file = fs::read_dir(store.root().join("nix/store")).unwrap().flatten().map(|entry| entry.path());
    let file = file.into_iter().find(|path| path.is_file()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&file, "spoilt").unwrap();
    let output = store.splitter(&["store", "verify"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let path = Path::new("/nix/store").join(file.file_name().unwrap());
    assert!(text.starts_with(&format!("changed: {} (registered as sha256-", path.display())), "{text}");
    assert!(text.ends_with("checked 3 paths, 1 wrong\n"), "{text}");
}

#[test]
fn delete_takes_away_the_whole_store_with_its_read_only_directories() {
    let store = filled();
    let tree = store.directory.path().join("tree");
    fs::create_dir_all(tree.join("a/b")).unwrap();
    fs::write(tree.join("a/b/c"), "").unwrap();
    store.open().add_path(&"tree".parse().unwrap(), &tree).unwrap();

    let text = said(&store.splitter(&["store", "delete"]));
    assert_eq!(text, format!("deleted the store `{}`\n", store.root().display()));
    assert!(!store.root().exists());
    let error = complaint(&store.splitter(&["store", "delete"]));
    assert!(error.contains("is not a store of this program"), "{error}");
}

#[test]
fn what_rm_has_left_of_a_store_is_not_taken_for_one_but_the_way_out_is_told() {
    let store = filled();
    fs::remove_dir_all(store.root().join("nix/var")).unwrap();
    let error = complaint(&store.splitter(&["store", "delete"]));
    let root = display(&store.root());
    assert!(error.starts_with(&format!("splitter: `{root}` is not a store of this program")), "{error}");
    assert!(error.contains(&format!("\nhint: if `rm` has left it of a store, `chmod -R u+w '{root}'`")), "{error}");
    assert_eq!(store.names(), ["a", "b", "c"]);
}

#[test]
fn a_store_that_a_build_uses_is_neither_deleted_nor_made_smaller() {
    let store = filled();
    let build = store.open();
    for arguments in [&["store", "delete"][..], &["store", "collect", "--limit", "0"]] {
        let error = complaint(&store.splitter(arguments));
        let expected =
            format!("splitter: the store `{}` is in use: end the builds that use it first", display(&store.root()));
        assert_eq!(error.trim_end(), expected);
    }
    // Looking is allowed.
    said(&store.splitter(&["store", "info"]));
    said(&store.splitter(&["store", "verify"]));
    drop(build);
    assert_eq!(store.names(), ["a", "b", "c"]);
    said(&store.splitter(&["store", "delete"]));
}

#[test]
fn a_store_of_a_newer_program_is_left_as_it_is() {
    let store = filled();
    fs::write(store.root().join("nix/var/splitter/format"), "99\n").unwrap();
    for command in ["info", "collect", "verify", "delete"] {
        let error = complaint(&store.splitter(&["store", command]));
        let expected = format!(
            "the store format of `{}` is version 99, but this program knows up to version 1",
            display(&store.root())
        );
        assert!(error.contains(&expected), "{command}: {error}");
    }
    assert_eq!(store.names(), ["a", "b", "c"]);
}

#[test]
fn a_daemon_is_asked_where_nix_would_and_its_store_is_left_to_nix() {
    let error = complaint(&splitter(&["store", "info"], &[("NIX_REMOTE", "unix:///nowhere/socket")]));
    assert!(
        error.starts_with("splitter: cannot use the store (Nix daemon, at `/nowhere/socket`, since NIX_REMOTE is "),
        "{error}"
    );
    assert!(error.contains("hint: "), "{error}");
    for (command, way_out) in
        [("collect", "nix-collect-garbage"), ("verify", "nix-store --verify"), ("delete", "not ours")]
    {
        let error = complaint(&splitter(&["store", command, "--store", "unix:///nowhere/socket"], &[]));
        assert!(error.contains(way_out), "{error}");
    }
    let error = complaint(&splitter(&["store", "info", "--store", "local?rot=/x"], &[]));
    assert!(error.contains("unknown parameter `rot`"), "{error}");
}

#[test]
fn a_limit_that_is_no_size_is_refused() {
    let output = filled().splitter(&["store", "collect", "--limit", "20 apples"]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("`20 apples` is no size") && error.contains("such as `20G`"), "{error}");
}
