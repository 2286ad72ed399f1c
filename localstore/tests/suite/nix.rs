//! What stock Nix makes of a store that it did not write, and this store of what Nix wrote. A version of Nix that
//! cannot be had is reported as not run.

use crate::kit::{Kit, kit, sh};
use localstore::LocalStore;
use nixstore::{PathInfo, Store as _, StoreDir};
use std::fs;
use std::path::Path;
use std::process::Command;

/// One version of Nix, run by `tests/real-nix`.
struct Nix {
    suite: &'static str,
    features: &'static str,
}

/// Without `ca-derivations`, because Nix 2.8 knows an older version of that feature's tables and refuses ours.
const BOOKWORM: Nix = Nix { suite: "bookworm", features: "nix-command" };
const TRIXIE: Nix = Nix { suite: "trixie", features: "nix-command ca-derivations" };
const SID: Nix = Nix { suite: "sid", features: "nix-command ca-derivations" };

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/real-nix");

impl Nix {
    fn command(&self, root: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(SCRIPT);
        command.arg(self.suite).args(arguments);
        command.arg("--store").arg(format!("local?root={}", root.display()));
        command.args(["--option", "experimental-features", self.features, "--option", "substituters", ""]);
        command
    }

    /// Runs a program of Nix on the store at `root`; its standard output.
    fn run(&self, root: &Path, arguments: &[&str]) -> String {
        let output = self.command(root, arguments).output().expect("the script starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {arguments:?}: {errors}", self.suite);
        String::from_utf8(output.stdout).expect("nix writes text")
    }
}

/// Runs `test` with each version that is installed, and says of the others that they were not run.
fn with_each(test: &str, versions: &[&Nix], run: impl Fn(&Nix)) {
    for nix in versions {
        let output = Command::new(SCRIPT).arg(nix.suite).output().expect("the script starts");
        if output.status.success() {
            eprintln!("with Nix of {}", nix.suite);
            run(nix);
            continue;
        }
        crate::kit::not_run(test, &format!("no Nix of {}: {}", nix.suite, String::from_utf8_lossy(&output.stderr)));
    }
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
    with_each("nix_lists_our_paths_with_the_same_facts", &[&BOOKWORM, &TRIXIE, &SID], |nix| {
        let (kit, infos) = filled();
        let json = nix.run(kit.root(), &["nix", "path-info", "--json", "--all"]);
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
    });
}

#[test]
fn nix_finds_nothing_wrong_with_our_store() {
    with_each("nix_finds_nothing_wrong_with_our_store", &[&BOOKWORM, &TRIXIE, &SID], |nix| {
        let (kit, infos) = filled();
        let root = kit.root();
        nix.run(root, &["nix-store", "--verify", "--check-contents"]);
        nix.run(root, &["nix", "store", "verify", "--all"]);
        let query = |what: &str, info: &PathInfo| {
            let text = nix.run(root, &["nix-store", "--query", what, &print(info)]);
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
    });
}

#[test]
fn nix_builds_nothing_that_we_have_realised() {
    // Older ones do not take this form of a derivation.
    with_each("nix_builds_nothing_that_we_have_realised", &[&SID], |nix| {
        let mut kit = kit();
        let drv = sh("done", "echo $out > $out").env("name", "done");
        let out = kit.build(&drv).remove("out").unwrap();
        kit.close();
        let json = kit.scratch().join("drv.json");
        fs::write(&json, drv.resolved().get().to_json().unwrap().to_string()).unwrap();
        let add = nix.command(kit.root(), &["nix", "derivation", "add"]).stdin(fs::File::open(&json).unwrap()).output();
        let path = String::from_utf8(add.unwrap().stdout).unwrap();
        assert_eq!(path.trim(), StoreDir::default().print(&drv.path()));
        let built = format!("{}^out", path.trim());
        let found = nix.run(kit.root(), &["nix", "build", "--no-link", "--print-out-paths", "--max-jobs", "0", &built]);
        assert_eq!(found.trim(), print(&out));
        let text = nix.run(kit.root(), &["nix", "realisation", "info", "--json", &built]);
        assert!(text.contains(&out.path.to_string()), "{text}");
    });
}

#[test]
fn we_find_what_nix_has_realised() {
    with_each("we_find_what_nix_has_realised", &[&SID], |nix| {
        let mut kit = kit();
        let drv = sh("theirs", "echo text > $out");
        kit.close();
        let json = kit.scratch().join("drv.json");
        fs::write(&json, drv.resolved().get().to_json().unwrap().to_string()).unwrap();
        let add = nix.command(kit.root(), &["nix", "derivation", "add"]).stdin(fs::File::open(&json).unwrap()).output();
        let path = String::from_utf8(add.unwrap().stdout).unwrap();
        let built = format!("{}^out", path.trim());
        let paths = "/bin=/usr/bin /usr /lib=/usr/lib /lib64=/usr/lib64";
        let options = ["--option", "sandbox-paths", paths, "--option", "build-users-group", ""];
        let arguments = [&["nix", "build", "--no-link", "--print-out-paths", &built], &options[..]].concat();
        let found = nix.run(kit.root(), &arguments);
        kit.reopen();
        let ids: Vec<_> = drv.resolved().output_ids(&StoreDir::default()).into_values().collect();
        let realised = kit.store().realisations(&ids).unwrap().remove(0).expect("nix has recorded it");
        assert_eq!(StoreDir::default().print(&realised.path), found.trim());
        // It is what we make of the same derivation.
        assert_eq!(kit.build(&drv)["out"].path, realised.path);
    });
}

#[test]
fn nix_adds_to_our_store_and_we_to_its() {
    with_each("nix_adds_to_our_store_and_we_to_its", &[&BOOKWORM, &TRIXIE, &SID], |nix| {
        let (mut kit, infos) = filled();
        let file = kit.scratch().join("file");
        fs::write(&file, "from nix").unwrap();
        let path = nix.run(kit.root(), &["nix", "store", "add-path", file.to_str().unwrap()]);
        kit.reopen();
        // Both give the same name to the same content.
        assert_eq!(print(&kit.add("file", "from nix")), path.trim());
        kit.close();
        let kept = nix.run(kit.root(), &["nix-store", "--query", "--requisites", &print(&infos[2])]);
        assert_eq!(kept.lines().count(), 3);

        // And a store that Nix has made.
        let root = kit.scratch().join("nix-made");
        let path = nix.run(&root, &["nix", "store", "add-path", file.to_str().unwrap()]);
        let store = LocalStore::open(&root).unwrap();
        let path = StoreDir::default().parse(path.trim()).unwrap();
        assert!(store.path_infos(&[path]).unwrap()[0].is_some());
        store.add_file(&"ours".parse().unwrap(), b"x", false).unwrap();
        assert!(store.verify().unwrap().is_good());
        drop(store);
        nix.run(&root, &["nix-store", "--verify", "--check-contents"]);
        localstore::delete(&root).unwrap();
    });
}

#[test]
fn nix_collects_garbage_in_our_store_and_keeps_our_roots() {
    with_each("nix_collects_garbage_in_our_store_and_keeps_our_roots", &[&BOOKWORM, &TRIXIE, &SID], |nix| {
        let (mut kit, infos) = filled();
        kit.reopen();
        let link = kit.scratch().join("result");
        localstore::collect::add_root(kit.store().layout(), kit.store().store_dir(), &link, &infos[1].path).unwrap();
        kit.close();
        nix.run(kit.root(), &["nix-store", "--gc"]);
        kit.reopen();
        assert!(kit.is_valid(&infos[0].path) && kit.is_valid(&infos[1].path));
        assert!(!kit.is_valid(&infos[2].path));
        assert!(kit.store().verify().unwrap().is_good());
    });
}

#[test]
fn nix_waits_with_collecting_while_our_store_is_open() {
    with_each("nix_waits_with_collecting_while_our_store_is_open", &[&BOOKWORM, &TRIXIE, &SID], |nix| {
        let (mut kit, infos) = filled();
        kit.reopen();
        let mut collector = nix
            .command(kit.root(), &["nix-store", "--gc"])
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
    });
}

#[test]
#[ignore = "needs the sandbox paths of the host in the options of nix-build"]
fn nix_builds_in_our_store() {
    with_each("nix_builds_in_our_store", &[&BOOKWORM, &TRIXIE, &SID], |nix| {
        let (mut kit, infos) = filled();
        let drv = sh("by-nix", "read line < $src; echo $line > $out").env("src", &print(&infos[0])).source(&infos[0]);
        // As an expression, with one of our paths as input.
        let expression = format!(
            r#"derivation {{ name = "by-nix"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "read line < $src; echo $line > $out" ]; src = builtins.storePath {}; }}"#,
            print(&infos[0])
        );
        let built = nix.run(
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
        );
        let path = StoreDir::default().parse(built.trim()).unwrap();
        kit.reopen();
        assert_eq!(fs::read_to_string(kit.physical(&path)).unwrap(), "int main() {}\n");
        assert!(kit.is_valid(&path));
        let ours = kit.build(&drv).remove("out").unwrap();
        assert_eq!(fs::read(kit.physical(&ours.path)).unwrap(), fs::read(kit.physical(&path)).unwrap());
        assert!(kit.store().verify().unwrap().is_good());
    });
}
