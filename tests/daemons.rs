//! Builds through real Nix daemons: they make what ninja makes, under the same store paths as the embedded store, and go on
//! after whatever happens to a daemon. A version of Nix that cannot be had is reported as not run.

use splitter::state::{self, Records};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};
use tests::checkout::{Checkout, Home, Project};
use tests::daemon::{Daemon, Nix, SCRIPT, Setup};
use tests::relay::Relay;
use tests::waiting::{Waiting, signal};
use tests::{Said, Scene, lacks_sandbox, not_run, refused};

const NONE: [&str; 0] = [];

/// A daemon, and the way by which edges are realised there.
#[derive(Clone, Copy)]
struct Offer {
    name: &'static str,
    setup: Setup,
    way: &'static str,
}

const fn offer(name: &'static str, setup: Setup, way: &'static str) -> Offer {
    Offer { name, setup, way }
}

const STOCK_2_8: Offer = offer("2.8 stock", Setup::new(Nix::Bookworm, false), "stock");
const CA_2_26: Offer = offer("2.26 ca", Setup::new(Nix::Trixie, true), "ca");
const STOCK_NOT_TRUSTED: Offer = offer("newest stock, not trusted", Setup::new(Nix::Sid, false).not_trusted(), "stock");
const CA: Offer = offer("newest ca", Setup::new(Nix::Sid, true), "ca");

/// Each version, each way, and a client that is not trusted. The suite of stores goes through all that can be combined.
const EACH: [Offer; 4] = [CA, STOCK_NOT_TRUSTED, CA_2_26, STOCK_2_8];

impl Offer {
    /// Starts the daemon; nothing, and `test` noted as not run, where there is no such Nix.
    fn start(self, test: &str) -> Option<Daemon> {
        Daemon::start(self.setup).map_err(|reason| not_run(test, &format!("{}: {reason}", self.name))).ok()
    }

    /// The words that have edges realised there.
    fn words(self, daemon: &Daemon) -> [String; 2] {
        [format!("--store={}", daemon.url()), format!("--realise={}", self.way)]
    }
}

/// A scene whose edges are realised by a daemon.
struct Site {
    scene: Scene,
    daemon: Daemon,
    words: [String; 2],
}

impl Site {
    /// An empty project and an empty store.
    fn new(test: &str, needs: &[&str], offer: Offer) -> Option<Self> {
        if lacks_sandbox(test) {
            return None;
        }
        let scene = Scene::new(test, needs)?;
        let daemon = offer.start(test)?;
        Some(Self { scene, words: offer.words(&daemon), daemon })
    }

    fn command(&self) -> Command {
        let mut command = self.scene.command("ninja2drv");
        command.arg("-dexplain").args(&self.words);
        command
    }

    fn run(&self) -> Said {
        self.scene.said(&mut self.command())
    }

    /// A run that is to succeed.
    fn build(&self) -> Said {
        self.build_in("build")
    }

    /// The same in another build directory.
    fn build_in(&self, directory: &str) -> Said {
        let said = self.scene.said(self.command().current_dir(self.scene.at(directory)));
        assert_eq!(said.code, Some(0), "{said}");
        said
    }

    /// Puts a socket before the daemon's, which is used from now on.
    fn through_relay(&mut self) -> Relay {
        let relay = Relay::new(&self.daemon.socket());
        let (theirs, ours) = (self.daemon.socket(), relay.socket());
        self.words[0] = self.words[0].replace(&*theirs.to_string_lossy(), &ours.to_string_lossy());
        relay
    }

    /// Where a store path is that a record or a link names.
    fn file(&self, path: &str) -> PathBuf {
        self.daemon.root().join("nix/store").join(path.trim_start_matches("/nix/store/"))
    }

    /// Has the daemon delete all that nothing protects.
    fn collect_garbage(&self) {
        let said = self.daemon.client("nix-store").arg("--gc").output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    }
}

/// The store path of each output of a build directory, by its name.
fn outputs(build: &Path) -> BTreeMap<String, String> {
    let records: Records = state::read(&build.join(".splitter/records")).unwrap();
    let outputs = records.by_name.into_values().flat_map(|record| record.outputs);
    outputs.filter_map(|(file, path)| Some((file.to_string(), path?))).collect()
}

#[test]
fn every_daemon_makes_what_ninja_makes() {
    let test = "every_daemon_makes_what_ninja_makes";
    // A shared library with its names, a generated header and a program.
    let few = ["-DBUILD_TESTING=OFF", "-DBUILD_STATIC_LIBS=OFF"];
    as_ninja_makes_it(test, "json-c", "Release", &few, &EACH);
}

#[test]
#[ignore = "hours"]
fn every_daemon_makes_of_the_whole_corpus_what_ninja_makes() {
    let test = "every_daemon_makes_of_the_whole_corpus_what_ninja_makes";
    // Who wants few of them names them: a list with commas.
    let chosen = env::var("SPLITTER_TEST_CORPUS").ok();
    let chosen = |name: &&str| chosen.as_ref().is_none_or(|chosen| chosen.split(',').any(|one| one == *name));
    let failed: Vec<&str> = Project::names()
        .filter(chosen)
        // The others are of interest even if one fails.
        .filter(|name| std::panic::catch_unwind(|| as_ninja_makes_it(test, name, "Release", &[], &EACH)).is_err())
        .collect();
    assert!(failed.is_empty(), "failed: {}", failed.join(", "));
}

/// What a project comes out as by each daemon is as ninja makes it in the same place, and its store paths are those of the
/// embedded store.
fn as_ninja_makes_it(test: &str, name: &str, build_type: &str, words: &[&str], offers: &[Offer]) {
    if lacks_sandbox(test) {
        return;
    }
    let project = match Project::find(name) {
        Ok(project) => project,
        Err(reason) => return not_run(test, &format!("{name}: {reason}")),
    };
    let directory = tempfile::tempdir().unwrap();
    let checkout = Checkout::new(&project, &directory.path().join("checkout"), build_type, words);
    checkout.ninja();
    let theirs = checkout.tree();
    let unlike = checkout.unlike_itself(&theirs);
    let built = |words: &[String]| {
        checkout.reset();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Home::new().run(&checkout, &words);
        let ours = checkout.tree();
        let differences: Vec<String> = ours.differences(&theirs).difference(&unlike).cloned().collect();
        assert!(differences.is_empty(), "{name} {words:?}: not as ninja makes it:{}", ours.told(&differences, &theirs));
        let mut outputs = outputs(&checkout.build());
        let below = format!("{}/", checkout.build().display());
        outputs.retain(|file, _| !unlike.contains(file.trim_start_matches(&below)));
        outputs
    };
    let embedded = built(&[]);
    assert!(!embedded.is_empty());
    for offer in offers {
        let Some(daemon) = offer.start(test) else { continue };
        let start = Instant::now();
        let outputs = built(&offer.words(&daemon));
        println!("-- {name}, {}: {} outputs, {:.1?}", offer.name, outputs.len(), start.elapsed());
        assert_eq!(outputs, embedded, "{name}, {}", offer.name);
    }
}

/// A checkout in the directory `build`: a library of which debug information says where it lies, and a program.
fn checkout(site: &Site) {
    site.scene.write("build/.splitter-root", "");
    site.scene.write("build/bound.c", "int bound(void) { return 3; }\n");
    site.scene.write("build/main.c", "int bound(void);\nint main(void) { return bound(); }\n");
    site.scene.edges("build bound.o: cc bound.c\n  flags = -g\nbuild main.o: cc main.c\nbuild p: ld main.o bound.o\n");
}

/// What the program `p` of a build directory ends with.
fn code(site: &Site, directory: &str) -> Option<i32> {
    Command::new(site.scene.at(directory).join("p")).status().unwrap().code()
}

#[test]
fn a_second_run_asks_nothing_and_a_change_runs_what_it_must() {
    let test = "a_second_run_asks_nothing_and_a_change_runs_what_it_must";
    for offer in [CA, STOCK_2_8] {
        let Some(mut site) = Site::new(test, &["gcc"], offer) else { continue };
        checkout(&site);
        assert_eq!(site.build().ran().len(), 3);
        assert_eq!(code(&site, "build"), Some(3));

        // There is nobody whom it could ask.
        site.daemon.kill();
        let said = site.run();
        assert!(said.code == Some(0) && said.is_idle(), "{said}");
        site.daemon.start_again();

        site.scene.write("build/main.c", "/* a comment */\nint bound(void);\nint main(void) { return bound(); }\n");
        let said = site.build();
        assert_eq!((said.ran(), said.reused()), (vec!["main.o: `build/main.c` changed".into()], vec![]), "{said}");

        // Debug information says where a source lies: that compile, and what is linked from it.
        fs::create_dir_all(site.scene.at("elsewhere/second")).unwrap();
        for name in [".splitter-root", "bound.c", "main.c", "build.ninja"] {
            fs::copy(site.scene.at("build").join(name), site.scene.at("elsewhere/second").join(name)).unwrap();
        }
        let said = site.build_in("elsewhere/second");
        assert_eq!(said.ran(), ["bound.o: not built here before", "p: not built here before"], "{said}");
        assert_eq!(said.reused(), ["main.o: not built here before"], "{said}");
        assert_eq!(code(&site, "elsewhere/second"), Some(3));

        // Nothing is known but what the daemon's store holds.
        fs::remove_dir_all(site.scene.at("history")).unwrap();
        fs::remove_dir_all(site.scene.at("build/.splitter")).unwrap();
        for name in ["main.o", "bound.o", "p"] {
            fs::remove_file(site.scene.at("build").join(name)).unwrap();
        }
        let said = site.build();
        assert_eq!((said.ran(), said.reused().len()), (vec![], 3), "{said}");
        assert_eq!(code(&site, "build"), Some(3));
    }
}

#[test]
fn what_edges_came_out_as_is_not_asked_for_one_by_one() {
    const EDGES: usize = 60;
    let test = "what_edges_came_out_as_is_not_asked_for_one_by_one";
    for offer in [CA, STOCK_NOT_TRUSTED, STOCK_2_8] {
        let Some(mut site) = Site::new(test, &["gcc"], offer) else { continue };
        for i in 0..EDGES {
            site.scene.write(&format!("build/{i}.h"), "int x;\n");
            site.scene.write(&format!("build/{i}.c"), format!("#include \"{i}.h\"\nint f{i}(void) {{ return x; }}\n"));
        }
        // What reads sources, what reads that, and a command of which nobody knows what it reads.
        let made = |i: usize| [format!("{i}.o"), format!("{i}.a"), format!("{i}.all")];
        let edges = (0..EDGES).map(|i| {
            let [object, archive, all] = made(i);
            format!("build {object}: sh {i}.c\n  cmd = gcc -c {i}.c -o {object}\n")
                + &format!("build {archive}: sh {object}\n  cmd = ar rcsD {archive} {object}\n")
                + &format!("build {all}: sh {archive} {object}\n  cmd = cat {archive} {object} > {all}\n")
        });
        site.scene.edges(&edges.collect::<String>());
        site.build();

        let relay = site.through_relay();
        let forget = || {
            fs::remove_dir_all(site.scene.at("build/.splitter")).unwrap();
            (0..EDGES).flat_map(made).for_each(|name| fs::remove_file(site.scene.at("build").join(name)).unwrap());
        };
        let exchanges = || {
            forget();
            relay.exchanges();
            let said = site.build();
            assert_eq!(said.reused().len(), 3 * EDGES, "{}: {said}", offer.name);
            relay.exchanges()
        };
        let with = exchanges();
        fs::remove_dir_all(site.scene.at("history")).unwrap();
        let without = exchanges();
        // A few, and one for each sixteen paths or so, which are asked for in one go; on a busy machine for fewer, but for more than
        // one edge.
        assert!(with < 3 * EDGES, "{}: {with}", offer.name);
        // The same for what the edges came out as, which the daemon has to say.
        assert!(without < 3 * EDGES, "{}: {without}", offer.name);
        let again = exchanges();
        assert!(again < 3 * EDGES, "{}: {again}, though it was found out before", offer.name);
    }
}

#[test]
fn what_a_garbage_collector_takes_is_made_again() {
    let test = "what_a_garbage_collector_takes_is_made_again";
    for offer in [CA, STOCK_NOT_TRUSTED] {
        let Some(site) = Site::new(test, &[], offer) else { continue };
        site.scene.write("build/in", "text\n");
        site.scene.edges("build a: sh in\n  cmd = cp in a\nbuild b: sh in\n  cmd = cat in in > b\nbuild c: sh a b\n  cmd = cat a b > c\n");
        site.build();
        let made = || outputs(&site.scene.at("build")).into_values().collect::<BTreeSet<_>>();
        let link = site.scene.at("build/.splitter/outputs");
        let named = fs::read_to_string(site.file(fs::read_link(&link).unwrap().to_str().unwrap())).unwrap();
        let named: BTreeSet<String> = named.lines().map(|line| line.replace("/nix/store/", "")).collect();
        assert_eq!(named, made());

        site.collect_garbage();
        assert!(made().iter().all(|path| site.file(path).exists()), "{}: what the link names is gone", offer.name);
        fs::remove_file(site.scene.at("build/a")).unwrap();
        let said = site.build();
        assert_eq!((said.ran(), said.reused().len()), (vec![], 1), "{said}");

        fs::remove_file(link).unwrap();
        site.collect_garbage();
        assert!(!made().iter().any(|path| site.file(path).exists()), "{}: something protects them", offer.name);
        fs::remove_file(site.scene.at("build/a")).unwrap();
        let said = site.build();
        // What reads it finds it as it was.
        assert_eq!(said.ran(), ["a: `build/a` is missing or was changed"], "{said}");
        assert_eq!(site.scene.read("build/a"), "text\n");

        site.scene.write("build/in", "other\n");
        let said = site.scene.said(site.command().arg("--keep=kept"));
        let ran = ["a: `build/in` changed", "b: `build/in` changed", "c: `build/a` changed"];
        assert!(said.code == Some(0) && said.ran() == ran && !said.errors.contains("warning"), "{said}");
        assert_eq!(site.scene.read("build/c"), "other\nother\nother\n");
        assert!(site.run().is_idle());

        // Where the user wants the link.
        fs::remove_file(site.scene.at("build/.splitter/outputs")).ok();
        site.collect_garbage();
        assert!(site.scene.at("build/kept").is_symlink());
        assert!(made().iter().all(|path| site.file(path).exists()), "{}: what the link names is gone", offer.name);
    }
}

#[test]
fn a_socket_that_is_not_there_is_named_with_the_way_out() {
    let Some(scene) = Scene::new("a_socket_that_is_not_there_is_named_with_the_way_out", &[]) else { return };
    scene.write("build/in", "text\n");
    scene.edges("build a: sh in\n  cmd = cp in a\n");
    let store = format!("--store=unix://{}", scene.at("nowhere/socket").display());
    let said = scene.run(&[&store]);
    assert_eq!(said.code, Some(1), "{said}");
    let shown = "ninja: error: cannot use the store (Nix daemon, at `nowhere/socket`): ";
    let first = format!(
        "{shown}cannot connect to the Nix daemon at `nowhere/socket`: there is nothing: No such file or directory (os error 2)"
    );
    let out = "or name the embedded store by `--store local` or `--store 'local?root=DIR'`";
    said.has(&[&first, &format!("hint: install Nix, or name the daemon's socket, {out}")]);
}

#[test]
fn a_way_that_a_daemon_does_not_offer_is_named_with_the_setting() {
    let test = "a_way_that_a_daemon_does_not_offer_is_named_with_the_setting";
    let Some(site) = Site::new(test, &[], STOCK_NOT_TRUSTED) else { return };
    site.scene.write("build/in", "text\n");
    site.scene.edges("build a: sh in\n  cmd = cp in a\n");
    let said = site.scene.run(&[&site.words[0], "--realise=ca"]);
    assert_eq!(said.code, Some(1), "{said}");
    assert!(said.errors.contains("`ca-derivations` is not enabled; add it to `experimental-features`"), "{said}");

    let said = site.scene.said(site.scene.command("splitter").args(["store", "info", &site.words[0]]));
    assert!(said.out.contains("trusted   no\nway       stock, "), "{said}");
    // Who asks for no way gets what there is.
    let said = site.scene.run(&[&site.words[0]]);
    assert!(said.code == Some(0) && said.out.contains("edges are realised by way `stock`"), "{said}");
}

/// How a build ends that is about to, within seconds.
fn end(site: &Site, mut child: Child) -> Said {
    let until = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < until, "the build does not end");
        thread::sleep(Duration::from_millis(20));
    }
    site.scene.heard(&child.wait_with_output().unwrap())
}

/// A build goes on from `a`, which was made before.
fn goes_on(site: &Site) {
    let said = site.build();
    assert_eq!(said.ran(), ["b: not built here before", "c: not built here before"], "{said}");
    assert_eq!(said.reused(), NONE, "{said}");
    assert_eq!(site.scene.read("build/c"), "text\n");
}

#[test]
fn a_daemon_that_dies_ends_the_build_and_the_next_goes_on_from_there() {
    let test = "a_daemon_that_dies_ends_the_build_and_the_next_goes_on_from_there";
    for offer in [CA, STOCK_NOT_TRUSTED] {
        let Some(mut site) = Site::new(test, &[], offer) else { continue };
        let waiting = Waiting::new(&site.scene);
        let child = waiting.start(&mut site.command());
        site.daemon.kill();
        let said = end(&site, child);
        assert_eq!(said.code, Some(1), "{said}");
        assert!(
            said.out.contains("ninja2drv: `b`: ") && said.out.contains("the Nix daemon closed the connection"),
            "{said}"
        );
        assert!(said.out.contains("; start it again if it has ended; what it has realised so far is kept"), "{said}");
        waiting.is_stopped();
        // While nobody is there, that is what is said.
        let said = site.run();
        assert!(said.code == Some(1) && said.errors.contains("nobody listens there"), "{said}");
        site.daemon.start_again();
        goes_on(&site);
    }
}

#[test]
fn an_interrupted_build_leaves_no_builder_behind() {
    let test = "an_interrupted_build_leaves_no_builder_behind";
    for offer in [CA, STOCK_NOT_TRUSTED, STOCK_2_8] {
        let Some(site) = Site::new(test, &[], offer) else { continue };
        let waiting = Waiting::new(&site.scene);
        let child = waiting.start(&mut site.command());
        signal(&child, "INT");
        let said = end(&site, child);
        assert_eq!(said.code, Some(130), "{said}");
        said.has(&["ninja2drv: 1 ran, 0 reused, 0 up to date", "ninja: build stopped: interrupted by user."]);
        assert!(!said.out.contains("FAILED"), "{said}");
        waiting.is_stopped();
        goes_on(&site);
    }
}

#[test]
fn a_second_interrupt_does_not_wait_for_a_daemon_that_does_not_answer() {
    let test = "a_second_interrupt_does_not_wait_for_a_daemon_that_does_not_answer";
    let Some(mut site) = Site::new(test, &[], CA) else { return };
    site.scene.write("build/in", "text\n");
    site.scene.edges("build a: sh in\n  cmd = cp in a\n");
    let relay = site.through_relay();
    site.build();
    let exchanges = relay.exchanges();
    site.scene.write("build/in", "other\n");
    // When the store is open, and before the last.
    relay.hold_back_from(exchanges - 5);
    let mut child = site.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while !relay.holds_back() {
        assert!(Instant::now() < until, "it asks for less");
        thread::sleep(Duration::from_millis(20));
    }
    signal(&child, "INT");
    thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "it does not wait for an answer");
    signal(&child, "INT");
    let said = end(&site, child);
    assert_eq!(said.code, Some(130), "{said}");
}

#[test]
fn a_full_disk_is_named_and_the_next_run_goes_on_from_there() {
    let test = "a_full_disk_is_named_and_the_next_run_goes_on_from_there";
    for offer in [CA, STOCK_NOT_TRUSTED, STOCK_2_8] {
        let Some(mut site) = Site::new(test, &[], offer) else { continue };
        site.daemon.kill();
        let root = site.daemon.root();
        let mount = |words: &[&str]| Command::new("mount").args(words).arg(&root).output().unwrap().status.success();
        if !mount(&["-t", "tmpfs", "-o", "size=100m", "tmpfs"]) {
            return not_run(test, "only root may mount a small file system");
        }
        let _unmount = Unmount(&root);
        site.daemon.start_again();
        site.scene.write("build/in", "text\n");
        site.scene.edges("build a: sh in\n  cmd = cp in a\nbuild b: sh a\n  cmd = head -c 120000000 /dev/zero > b\n");
        let said = site.run();
        assert!(said.code == Some(1) && said.ran() == ["a: not built here before"], "{said}");
        assert!(said.out.contains("ninja2drv: `b`: ") && said.out.contains("No space left on device"), "{said}");
        assert!(said.out.contains("free space on the disk of its store"), "{said}");
        assert!(mount(&["-o", "remount,size=512m"]));
        let said = site.build();
        assert_eq!((said.ran().len(), said.reused()), (1, vec![]), "{said}");
        assert_eq!(fs::metadata(site.scene.at("build/b")).unwrap().len(), 120_000_000);
        site.daemon.kill();
    }
}

/// A mount that ends when this is dropped.
struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(self.0).status().ok(); // a leak is all that comes of it
    }
}

#[test]
fn a_path_that_vanishes_is_named_with_what_mends_it() {
    let test = "a_path_that_vanishes_is_named_with_what_mends_it";
    for offer in [CA, STOCK_NOT_TRUSTED, STOCK_2_8] {
        let Some(site) = Site::new(test, &[], offer) else { continue };
        site.scene.write("build/in", "text\n");
        site.scene.edges("build a: sh in\n  cmd = cp in a\nbuild b: sh\n  cmd = echo b > b\n");
        site.build();
        let records: Records = state::read(&site.scene.at("build/.splitter/records")).unwrap();
        let (_, source) = records.contents.iter().find(|(file, _)| file.ends_with(b"/build/in")).unwrap().1;
        fs::remove_file(site.file(source)).unwrap();

        site.scene.edges("build a: sh in\n  cmd = cat in in > a\nbuild b: sh\n  cmd = echo b > b\n");
        let said = site.run();
        assert_eq!(said.code, Some(1), "{said}");
        assert!(said.out.contains("ninja2drv: `a`: ") && said.out.contains(source), "{said}");
        assert!(said.out.contains("`nix-store --gc`"), "{said}");
        assert_eq!(site.scene.read("build/b"), "b\n");
        site.collect_garbage();
        let mended = site.daemon.client("nix-store").args(["--verify", "--check-contents"]).output().unwrap();
        assert!(mended.status.success(), "{}", String::from_utf8_lossy(&mended.stderr));
        let said = site.build();
        assert_eq!(said.ran(), ["a: command changed"], "{said}");
        assert_eq!(site.scene.read("build/a"), "text\ntext\n");
    }
}

#[test]
fn nothing_is_taken_from_a_cache_that_nobody_has_signed() {
    let test = "nothing_is_taken_from_a_cache_that_nobody_has_signed";
    for offer in [CA, STOCK_NOT_TRUSTED] {
        let cache = tempfile::tempdir().unwrap();
        let url = format!("file://{}?compression=none", cache.path().display());
        let Some(site) = Site::new(test, &[], offer) else { continue };
        site.scene.write("build/in", "text\n");
        site.scene.edges("build a: sh in\n  cmd = cp in a\n");
        site.build();
        let copied =
            site.daemon.client("nix").args(["copy", "--no-check-sigs", "--all", "--to", &url]).output().unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));

        let settings = format!("substituters = {url}\nrequire-sigs = true");
        let daemon = Daemon::start_with(offer.setup, &settings).unwrap();
        let Site { scene, .. } = site;
        let site = Site { scene, words: offer.words(&daemon), daemon };
        fs::remove_dir_all(site.scene.at("build/.splitter")).unwrap();
        fs::remove_file(site.scene.at("build/a")).unwrap();
        let said = site.build();
        assert_eq!(said.ran(), ["a: not built here before"], "{said}");
        assert_eq!(site.scene.read("build/a"), "text\n");
    }
}

#[test]
fn nested_namespaces_that_are_forbidden_are_named() {
    let test = "nested_namespaces_that_are_forbidden_are_named";
    if lacks_sandbox(test) {
        return;
    }
    let Some(scene) = Scene::new(test, &[]) else { return };
    let daemon = match refused::within_for_builders(|| Daemon::start(CA.setup)) {
        Ok(daemon) => daemon,
        Err(reason) => return not_run(test, &reason),
    };
    let site = Site { scene, words: CA.words(&daemon), daemon };
    let said = refused_edge(&site);
    assert!(said.out.contains("cannot run `a` in the daemon's sandbox"), "{said}");
    assert!(said.out.contains("cannot make a user namespace; "), "{said}");
}

#[test]
fn a_daemon_that_can_make_no_sandbox_says_so() {
    let test = "a_daemon_that_can_make_no_sandbox_says_so";
    let Some(scene) = Scene::new(test, &[]) else { return };
    // What starts in there is forbidden them, and so is what it starts.
    let daemon = match refused::within(|| Daemon::start(CA.setup)) {
        Ok(daemon) => daemon,
        Err(reason) => return not_run(test, &reason),
    };
    let site = Site { scene, words: CA.words(&daemon), daemon };
    let said = refused_edge(&site);
    assert!(said.out.contains("does not support the kernel namespaces that are required for sandboxing"), "{said}");
}

/// What is said of an edge that a daemon cannot run, within seconds.
fn refused_edge(site: &Site) -> Said {
    site.scene.write("build/in", "text\n");
    site.scene.edges("build a: sh in\n  cmd = cp in a\n");
    let child = site.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let said = end(site, child);
    assert!(said.code == Some(1) && said.out.contains("ninja2drv: `a`: "), "{said}");
    assert!(!site.scene.at("build/a").exists());
    said
}

#[test]
fn a_daemon_on_another_machine_builds_and_its_outputs_come_back() {
    let test = "a_daemon_on_another_machine_builds_and_its_outputs_come_back";
    let Some(there) = There::new(test) else { return };
    there.scene.write("bin/ssh", "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec sh -c \"$*\"\n");
    executable(&there.scene.at("bin/ssh"));
    let path = format!("{}:{}", there.scene.at("bin").display(), env::var("PATH").unwrap());
    there.builds(&|command| {
        command.env("PATH", &path);
    });
}

#[test]
fn openssh_leads_to_a_daemon() {
    const SERVER: &str = "/usr/sbin/sshd";
    let test = "openssh_leads_to_a_daemon";
    if !Path::new(SERVER).exists() || Command::new("ssh").arg("-V").stderr(Stdio::null()).status().is_err() {
        return not_run(test, "there is no OpenSSH server and client");
    }
    let Some(there) = There::new(test) else { return };
    let at = |name: &str| there.scene.at(name).display().to_string();
    for name in ["host-key", "user-key"] {
        let key = ["-q", "-t", "ed25519", "-N", "", "-f", &at(name)];
        assert!(Command::new("ssh-keygen").args(key).status().unwrap().success());
    }
    let server = format!(
        "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\n",
        at("host-key"),
        at("user-key.pub")
    );
    there.scene.write("sshd_config", server);
    // `-i`: it serves one connection, on its standard input. So no port is open that others could reach.
    let proxy = format!("{SERVER} -i -f {} -E {}", at("sshd_config"), at("sshd.log"));
    let client = format!(
        "Host host\n  ProxyCommand {proxy}\n  IdentityFile {}\n  IdentitiesOnly yes\n  BatchMode yes\n  \
         StrictHostKeyChecking no\n  UserKnownHostsFile {}\n",
        at("user-key"),
        at("known-hosts")
    );
    there.scene.write("ssh_config", client);
    let reached = Command::new("ssh").args(["-F", &at("ssh_config"), "host", "true"]).output().unwrap();
    if !reached.status.success() {
        let log = fs::read_to_string(at("sshd.log")).unwrap_or_default();
        let said = String::from_utf8_lossy(&reached.stderr).into_owned();
        return not_run(test, &format!("a server of OpenSSH does not start here: {said}{log}").replace('\n', "; "));
    }
    there.builds(&|command| {
        command.env("NIX_SSHOPTS", format!("-F {}", at("ssh_config")));
    });
}

/// A machine with the newest Nix, which is a directory of this one.
struct There {
    test: &'static str,
    scene: Scene,
}

impl There {
    fn new(test: &'static str) -> Option<Self> {
        if lacks_sandbox(test) {
            return None;
        }
        let scene = Scene::new(test, &[])?;
        let nix = Nix::Sid.find().map_err(|reason| not_run(test, &reason)).ok()?;
        let cache = nix.parent().expect("it is in the cache").display();
        let there = scene.at("there").display().to_string();
        // Its environment is another, too.
        let daemon = format!(
            "#!/bin/sh\nexport REAL_NIX_HOME='{there}/home' SPLITTER_TEST_CACHE='{cache}'\n\
             exec '{SCRIPT}' sid nix-daemon \"$@\" --store 'local?root={there}/root'\n"
        );
        scene.write("there/nix-daemon", daemon);
        executable(&scene.at("there/nix-daemon"));
        fs::create_dir_all(scene.at("there/root")).unwrap();
        Some(Self { test, scene })
    }

    /// A build there is a build here; `with` says how to get there.
    fn builds(&self, with: &dyn Fn(&mut Command)) {
        let Self { test, scene } = self;
        let store = format!("--store=ssh-ng://host?remote-program={}", scene.at("there/nix-daemon").display());
        let build = || {
            let mut command = scene.command("ninja2drv");
            with(command.args(["-dexplain", &store]));
            let said = scene.said(&mut command);
            assert_eq!(said.code, Some(0), "{test}: {said}");
            said
        };
        scene.write("build/in", "text\n");
        scene.edges("build a: sh in\n  cmd = cp in a; chmod +x a\nbuild link: sh a\n  cmd = ln -s a link\nbuild b: sh a\n  cmd = cat a a > b\n");
        let said = build();
        said.has(&["ninja2drv: store: Nix daemon on `host`, by ssh"]);
        assert_eq!((said.ran().len(), scene.read("build/b").as_str()), (3, "text\ntext\n"), "{said}");
        assert_eq!(fs::read_link(scene.at("build/link")).unwrap(), Path::new("a"));
        assert!(fs::metadata(scene.at("build/a")).unwrap().permissions().mode() & 0o111 != 0);
        assert!(build().is_idle());

        scene.write("build/in", "other\n");
        let said = build();
        assert_eq!(said.ran(), ["a: `build/in` changed", "b: `build/a` changed"], "{said}");
        assert_eq!(scene.read("build/b"), "other\nother\n");

        // What was brought from there may go: it is brought again.
        fs::remove_dir_all(scene.at("cache/splitter/files")).unwrap();
        fs::remove_file(scene.at("build/b")).unwrap();
        assert_eq!(build().reused(), ["b: `build/b` is missing or was changed"]);
        assert_eq!(scene.read("build/b"), "other\nother\n");
    }
}

fn executable(file: &Path) {
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}
