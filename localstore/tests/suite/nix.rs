//! What stock Nix makes of a store that it did not write, and this store of what Nix wrote. Where no Nix is installed
//! these are printed as not run.

use crate::kit::{Kit, kit, sh};
use localstore::LocalStore;
use nixstore::{PathInfo, Store as _, StoreDir};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs a program of Nix on the store at `root`; its standard output.
fn nix(root: &Path, arguments: &[&str], features: &str) -> String {
    let mut command = Command::new(arguments[0]);
    command.args(&arguments[1..]);
    command.arg("--store").arg(format!("local?root={}", root.display()));
    command.args(["--extra-experimental-features", features, "--option", "substituters", ""]);
    let output = command.env("HOME", root).output().expect("nix starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("nix writes text")
}

/// Whether there is Nix; if not, says so in a line that a reader of the results can count.
fn nix_is_here(test: &str) -> bool {
    let here = Command::new("nix").arg("--version").output().is_ok_and(|output| output.status.success());
    if !here {
        eprintln!("not run: {test}: nix is missing");
    }
    here
}

/// A store with sources, outputs with references, a log and realisations.
fn filled() -> (Kit, Vec<PathInfo>) {
    let mut kit = kit();
    let source = kit.add("source", "int main() {}\n");
    let script = format!("echo {} > $out; mkdir $dev; ln -s $out $dev/link", StoreDir::default().print(&source.path));
    let mut outputs = kit.build(&sh("thing", &script).outputs(&["out", "dev"]).source(&source));
    let infos = vec![source, outputs.remove("out").unwrap(), outputs.remove("dev").unwrap()];
    kit.close();
    (kit, infos)
}

fn print(info: &PathInfo) -> String {
    StoreDir::default().print(&info.path)
}

#[test]
fn nix_lists_our_paths_with_the_same_facts() {
    if !nix_is_here("nix_lists_our_paths_with_the_same_facts") {
        return;
    }
    let (kit, infos) = filled();
    let json = nix(kit.root(), &["nix", "path-info", "--json", "--all"], "nix-command");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    // A list in older versions, an object in newer ones.
    let found = |info: &PathInfo| match &json {
        serde_json::Value::Array(all) => all.iter().find(|entry| entry["path"] == print(info)).cloned(),
        all => all.get(print(info)).cloned(),
    };
    for info in &infos {
        let entry = found(info).unwrap_or_else(|| panic!("{} is missing in {json}", info.path));
        assert_eq!(entry["narSize"], info.nar_size);
        assert_eq!(entry["ca"], info.ca.as_ref().unwrap().to_string());
        assert_eq!(entry["ultimate"].as_bool().unwrap_or(false), info.ultimate);
        let mut references: Vec<&str> =
            entry["references"].as_array().unwrap().iter().filter_map(|reference| reference.as_str()).collect();
        references.sort_unstable();
        let dir = StoreDir::default();
        assert_eq!(references, info.references.iter().map(|path| dir.print(path)).collect::<Vec<_>>());
    }
}

#[test]
fn nix_finds_nothing_wrong_with_our_store() {
    if !nix_is_here("nix_finds_nothing_wrong_with_our_store") {
        return;
    }
    let (kit, infos) = filled();
    let root = kit.root();
    nix(root, &["nix-store", "--verify", "--check-contents"], "");
    nix(root, &["nix", "store", "verify", "--all"], "nix-command");
    let query = |what: &str, info: &PathInfo| {
        let text = nix(root, &["nix-store", "--query", what, &print(info)], "");
        text.lines().map(String::from).collect::<Vec<_>>()
    };
    let [source, out, dev] = &infos[..] else { panic!("three paths") };
    assert_eq!(query("--references", out), [print(source)]);
    assert_eq!(query("--referrers", out), [print(dev)]);
    assert_eq!(query("--deriver", out), [StoreDir::default().print(out.deriver.as_ref().unwrap())]);
    assert_eq!(query("--requisites", dev).len(), 3);
    assert_eq!(query("--hash", out), [format!("sha256:{}", out.nar_hash.nix32())]);
    // What Nix did to the store is nothing that we would not understand.
    assert!(LocalStore::open(root).unwrap().verify().unwrap().is_good());
}

#[test]
fn nix_gives_our_realisations() {
    if !nix_is_here("nix_gives_our_realisations") {
        return;
    }
    let (kit, infos) = filled();
    // Nix 2.8 knows the version before only, in which a trigger is missing.
    let old = Command::new("nix").arg("--version").output().unwrap();
    if String::from_utf8_lossy(&old.stdout).trim_end().ends_with(" 2.8.0") {
        fs::write(kit.root().join("nix/var/nix/db/ca-schema"), "3").unwrap();
    }
    let text =
        nix(kit.root(), &["nix", "realisation", "info", "--json", &print(&infos[1])], "nix-command ca-derivations");
    assert!(text.contains(&infos[1].path.to_string()), "{text}");
}

#[test]
fn nix_adds_to_our_store_and_we_to_its() {
    if !nix_is_here("nix_adds_to_our_store_and_we_to_its") {
        return;
    }
    let (mut kit, infos) = filled();
    let file = kit.scratch().join("file");
    fs::write(&file, "from nix").unwrap();
    let path = nix(kit.root(), &["nix", "store", "add-path", file.to_str().unwrap()], "nix-command");
    kit.reopen();
    // Both give the same name to the same content.
    assert_eq!(print(&kit.add("file", "from nix")), path.trim());
    kit.close();
    let kept = nix(kit.root(), &["nix-store", "--query", "--requisites", &print(&infos[2])], "");
    assert_eq!(kept.lines().count(), 3);

    // And a store that Nix has made.
    let root = kit.scratch().join("nix-made");
    let path = nix(&root, &["nix", "store", "add-path", file.to_str().unwrap()], "nix-command");
    let store = LocalStore::open(&root).unwrap();
    let path = StoreDir::default().parse(path.trim()).unwrap();
    assert!(store.path_infos(&[path]).unwrap()[0].is_some());
    store.add_file(&"ours".parse().unwrap(), b"x", false).unwrap();
    assert!(store.verify().unwrap().is_good());
    drop(store);
    nix(&root, &["nix-store", "--verify", "--check-contents"], "");
    localstore::delete(&root).unwrap();
}

#[test]
fn nix_collects_garbage_in_our_store_and_keeps_our_roots() {
    if !nix_is_here("nix_collects_garbage_in_our_store_and_keeps_our_roots") {
        return;
    }
    let (mut kit, infos) = filled();
    kit.reopen();
    let link = kit.scratch().join("result");
    localstore::collect::add_root(kit.store().layout(), kit.store().store_dir(), &link, &infos[1].path).unwrap();
    kit.close();
    nix(kit.root(), &["nix-store", "--gc"], "");
    kit.reopen();
    assert!(kit.is_valid(&infos[0].path) && kit.is_valid(&infos[1].path));
    assert!(!kit.is_valid(&infos[2].path));
    assert!(kit.store().verify().unwrap().is_good());
}

#[test]
fn nix_waits_with_collecting_while_our_store_is_open() {
    if !nix_is_here("nix_waits_with_collecting_while_our_store_is_open") {
        return;
    }
    let (mut kit, infos) = filled();
    kit.reopen();
    let mut collector = Command::new("nix-store")
        .args(["--gc", "--store", &format!("local?root={}", kit.root().display())])
        .env("HOME", kit.root())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(collector.try_wait().unwrap().is_none(), "it waits");
    assert!(kit.physical(&infos[2].path).exists());
    kit.close();
    assert!(collector.wait().unwrap().success());
    assert!(!kit.physical(&infos[2].path).exists());
}

#[test]
fn nix_builds_in_our_store() {
    if !nix_is_here("nix_builds_in_our_store") {
        return;
    }
    let (mut kit, infos) = filled();
    let drv = sh("by-nix", "read line < $src; echo $line > $out").env("src", &print(&infos[0])).source(&infos[0]);
    // As an expression, with one of our paths as input.
    let expression = format!(
        r#"derivation {{ name = "by-nix"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "read line < $src; echo $line > $out" ]; src = builtins.storePath {}; }}"#,
        print(&infos[0])
    );
    let built = nix(
        kit.root(),
        &[
            "nix-build",
            "--no-out-link",
            "--option",
            "sandbox-paths",
            "/bin=/usr/bin /usr /lib=/usr/lib /lib64=/usr/lib64",
            "--option",
            "build-users-group",
            "",
            "--expr",
            &expression,
        ],
        "",
    );
    let path = StoreDir::default().parse(built.trim()).unwrap();
    kit.reopen();
    assert_eq!(fs::read_to_string(kit.physical(&path)).unwrap(), "int main() {}\n");
    assert!(kit.is_valid(&path));
    let ours = kit.build(&drv).remove("out").unwrap();
    assert_eq!(fs::read(kit.physical(&ours.path)).unwrap(), fs::read(kit.physical(&path)).unwrap());
    assert!(kit.store().verify().unwrap().is_good());
}
