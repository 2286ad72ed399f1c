//! The small program: that it answers what it may, and that it is the full program for everything else.

use bstr::{BString, ByteSlice as _};
use ccwrap::cache::Cache;
use ccwrap::entry::{self, Directory, Entry, File, Gave, Guards, Known, Output, Place, Refusal};
use ccwrap::guard;
use ccwrap::raw::{self, Raw};
use proptest::prelude::*;
use splitter::identity::Identity;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output as Said};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// Stands in the place of the full program, and of a compiler: says with which words it was called.
const ECHO: &str = "/bin/echo";

/// A directory with the small program, a cache, and what a call of a compiler read and made.
struct Scene {
    directory: tempfile::TempDir,
    env: Vec<(BString, BString)>,
    words: Vec<BString>,
}

/// The files of the working directory with their permissions and bytes, the exit code, and what was said on standard error.
type Made = (Vec<(String, u32, Vec<u8>)>, Option<i32>, BString);

/// What an entry says, in a form that a test can change.
struct Story {
    source: Option<Identity>,
    place: Option<Identity>,
    names: Vec<u8>,
    directory: Option<Identity>,
    there: BString,
    host: Option<Identity>,
    read: Option<Vec<u8>>,
    stored: Option<Identity>,
    refused: bool,
}

impl Scene {
    fn new() -> Self {
        // Where programs can be linked to. A copy could not be started while another test starts something: it would still be open.
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let scene = Self { directory, env: Vec::new(), words: ["ccwrap", "cc", "-c", "a.c"].map(BString::from).into() };
        for directory in ["bin", "work", "work/include", "store", "cache"] {
            fs::create_dir(scene.at(directory)).unwrap();
        }
        fs::hard_link(env!("CARGO_BIN_EXE_ccwrap"), scene.at("bin/ccwrap")).unwrap();
        symlink(ECHO, scene.at("bin/ccwrap-full")).unwrap();
        scene.write("work/a.c", "int a;", 0o644);
        scene.write("store/a.o", "object", 0o444);
        scene.write("store/a.sh", "#!/bin/sh", 0o555);
        let cache = scene.bytes("cache");
        scene.variable("CCWRAP_DIR", cache).variable("READ", "1")
    }

    /// The same without the full program; the small one is `cc`, one that fails is `before/cc`, and `theirs` is empty.
    fn without_full_program() -> Self {
        let scene = Self::new();
        fs::remove_file(scene.at("bin/ccwrap-full")).unwrap();
        for directory in ["before", "theirs"] {
            fs::create_dir(scene.at(directory)).unwrap();
        }
        fs::hard_link(env!("CARGO_BIN_EXE_ccwrap"), scene.at("bin/cc")).unwrap();
        symlink("/bin/false", scene.at("before/cc")).unwrap();
        scene
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join(name)
    }

    fn bytes(&self, name: &str) -> BString {
        self.at(name).into_os_string().into_vec().into()
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        fs::write(self.at(name), text).unwrap();
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn variable(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.env.push((name.into(), value.as_ref().into()));
        self
    }

    fn raw(&self) -> Raw {
        Raw { words: self.words.clone(), directory: self.bytes("work"), env: self.env.clone(), terminal: false }
    }

    fn story(&self) -> Story {
        Story {
            source: Identity::of(&self.at("work/a.c")),
            place: Identity::of(&self.at("work/include")),
            names: b"a.h\nb.h".into(),
            directory: guard::of_place(self.bytes("work/include").as_bstr()),
            there: self.bytes("work/a.c"),
            host: Identity::of(&self.at("bin")),
            read: Some(b"1".into()),
            stored: Identity::of(&self.at("store/a.o")),
            refused: false,
        }
    }

    /// The bytes of an entry that says this of the call.
    fn entry(&self, stories: &[Story]) -> Vec<u8> {
        let (source, include, absent) = (self.bytes("work/a.c"), self.bytes("work/include"), self.bytes("absent"));
        let (bin, object, script) = (self.bytes("bin"), self.bytes("work/a.o"), self.bytes("work/a.sh"));
        let (stored, stored_script, depfile) =
            (self.bytes("store/a.o"), self.bytes("store/a.sh"), self.bytes("work/a.d"));
        let known = stories.iter().map(|story| {
            let Story { source: identity, place, names, directory, there, host, read, stored: of_stored, refused } =
                story;
            let guards = Guards {
                files: vec![File { path: &source, identity: *identity, content: "unknown" }],
                places: vec![
                    Place { directory: &include, identity: *place, names },
                    Place { directory: &absent, identity: None, names },
                ],
                directories: vec![
                    Directory { path: &include, identity: *directory, real: &include },
                    Directory { path: &absent, identity: None, real: b"" },
                ],
                there: vec![there],
                host: vec![(&bin, *host), (&absent, None)],
                variables: vec![(b"READ", read.as_deref()), (b"NOT_SET", None)],
            };
            let outputs = vec![
                Output { at: &object, from: &stored, identity: *of_stored },
                Output { at: &script, from: &stored_script, identity: Identity::of(&self.at("store/a.sh")) },
            ];
            let depfile = Some((depfile.as_slice(), &b"a.o: a.c\n"[..]));
            match refused {
                true => Known { guards, gave: Gave::Refused(Refusal::Time) },
                false => Known { guards, gave: Gave::Made { compiler: "cc", outputs, depfile, log: b"warned\n" } },
            }
        });
        let text = self.raw().text();
        entry::encode(&Entry { call: &text, namespace: b"n", results: known.collect() })
    }

    /// Remembers an entry of the call.
    fn remember(&self, entry: &[u8]) {
        let name = raw::name(&self.raw().text());
        Cache::new(self.at("cache")).write(&name, entry).unwrap();
    }

    fn command(&self, program: &Path) -> Command {
        let word = |word: &BString| OsStr::from_bytes(word).to_owned();
        let mut command = Command::new(program);
        command.current_dir(self.at("work")).arg0(word(&self.words[0])).args(self.words[1..].iter().map(word));
        command.env_clear().envs(self.env.iter().map(|(name, value)| (word(name), word(value))));
        command
    }

    fn call(&self) -> Said {
        self.command(&self.at("bin/ccwrap")).output().unwrap()
    }

    /// Whether the call was left to the full program, called just as the small one.
    fn goes_on(&self) -> bool {
        let said = self.call();
        said.status.success() && said.stdout == [&bstr::join(" ", &self.words[1..])[..], b"\n"].concat()
    }

    /// What is there after a call.
    fn made(&self, said: &Said) -> Made {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.at("work")).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
            let mode = entry.metadata().unwrap().permissions().mode();
            files.push((entry.file_name().into_string().unwrap(), mode, fs::read(entry.path()).unwrap()));
        }
        files.sort();
        (files, said.status.code(), said.stderr.as_bstr().into())
    }
}

#[test]
fn a_call_whose_entry_stands_is_answered_by_the_small_program() {
    let scene = Scene::new();
    scene.remember(&scene.entry(&[scene.story()]));
    let said = scene.call();
    let (files, code, errors) = scene.made(&said);
    assert_eq!((code, errors), (Some(0), "warned\n".into()));
    let names: Vec<&str> = files.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["a.c", "a.d", "a.o", "a.sh"]);
    let statistics = fs::read_to_string(scene.at("cache/statistics")).unwrap();
    assert!(statistics.ends_with(" direct_cache_hit cc\n"), "{statistics}");
}

#[test]
fn an_entry_that_was_not_used_for_long_is_noted_as_used() {
    let scene = Scene::new();
    scene.remember(&scene.entry(&[scene.story()]));
    let entry = Cache::new(scene.at("cache")).entry(&raw::name(&scene.raw().text()));
    let age = || fs::metadata(&entry).unwrap().modified().unwrap().elapsed().unwrap_or_default().as_secs();
    for (before, after) in [(4000, 0..60), (3000, 3000..3060)] {
        let time = SystemTime::now() - Duration::from_secs(before);
        fs::File::open(&entry).unwrap().set_modified(time).unwrap();
        assert!(!scene.goes_on());
        assert!(after.contains(&age()), "{before}");
    }
}

/// Not of a debug build, which checks what cannot be.
#[cfg(not(debug_assertions))]
#[test]
fn nothing_in_the_small_program_can_panic() {
    let program = fs::read(env!("CARGO_BIN_EXE_ccwrap")).unwrap();
    assert!(!program.contains_str("panicked at"));
    assert!(program.len() < 1 << 16, "it holds more than itself: {} bytes", program.len());
}

#[test]
fn both_programs_give_the_same() {
    for umask in ["022", "027", "077"] {
        let [small, full] = [env!("CARGO_BIN_EXE_ccwrap"), env!("CARGO_BIN_EXE_ccwrap-full")].map(|program| {
            let mut scene = Scene::new();
            scene.words[0] = scene.bytes("bin/ccwrap");
            // Without the other, so that each has to do it.
            fs::remove_file(scene.at("bin/ccwrap-full")).unwrap();
            fs::remove_file(scene.at("bin/ccwrap")).unwrap();
            fs::hard_link(program, scene.at("bin/ccwrap")).unwrap();
            scene.remember(&scene.entry(&[scene.story()]));
            // A shell has variables of its own, which do not reach the program.
            let mut command = Command::new("/bin/sh");
            command.current_dir(scene.at("work")).args(["-c", "umask $0; exec env -i \"$@\"", umask]);
            command.args(scene.env.iter().map(|(name, value)| OsString::from_vec([&name[..], b"=", value].concat())));
            command.args(scene.words.iter().map(|word| OsStr::from_bytes(word)));
            scene.made(&command.output().unwrap())
        });
        assert_eq!(small, full);
        assert_eq!(small.0.len(), 4, "{small:?}");
    }
}

#[test]
fn whatever_is_not_as_it_was_is_for_the_full_program() {
    let scene = Scene::new();
    let other = Identity::of(&scene.at("store/a.sh"));
    let with = |stories: &[Story]| scene.remember(&scene.entry(stories));
    let stories: [fn(Story, Option<Identity>) -> Story; 14] = [
        |story, other| Story { source: other, ..story },
        |story, _| Story { source: None, ..story },
        |story, other| Story { place: other, names: b"a.h\n../a.c".into(), ..story },
        |story, other| Story {
            place: other,
            names: (0..100).map(|i| format!("{i}\n")).collect::<String>().into(),
            ..story
        },
        |story, other| Story { directory: other, ..story },
        |story, _| Story { directory: None, ..story },
        |story, _| Story { there: "/not there".into(), ..story },
        |story, other| Story { host: other, ..story },
        |story, _| Story { host: None, ..story },
        |story, _| Story { read: Some(b"2".into()), ..story },
        |story, _| Story { read: None, ..story },
        |story, other| Story { stored: other, ..story },
        |story, _| Story { stored: None, ..story },
        |story, _| Story { refused: true, ..story },
    ];
    assert!(scene.goes_on(), "there is no entry");
    for (i, change) in stories.iter().enumerate() {
        with(&[change(scene.story(), other)]);
        assert!(scene.goes_on(), "{i}");
        with(&[change(scene.story(), other), scene.story()]);
        assert!(scene.goes_on(), "{i}, and one that stands behind it");
    }
    with(&[]);
    assert!(scene.goes_on(), "there is no result");
    with(&[scene.story()]);
    fs::remove_file(scene.at("store/a.sh")).unwrap();
    assert!(scene.goes_on(), "the store has lost a file");
    assert_eq!(scene.made(&scene.call()).0.len(), 1, "nothing was made");
}

#[test]
fn a_directory_that_changed_by_other_names_holds_what_it_held() {
    let scene = Scene::new();
    scene.remember(&scene.entry(&[Story { place: Identity::of(&scene.at("store")), ..scene.story() }]));
    assert!(!scene.goes_on());
    scene.write("work/include/b.h", "", 0o644);
    assert!(scene.goes_on());
}

#[test]
fn what_cannot_be_put_in_place_is_for_the_full_program_and_leaves_nothing() {
    let scene = Scene::new();
    scene.remember(&scene.entry(&[scene.story()]));
    fs::create_dir(scene.at("work/a.o")).unwrap();
    assert!(scene.goes_on());
    let mut names: Vec<_> = fs::read_dir(scene.at("work")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a.c", "a.o", "include"]);
}

#[test]
fn a_call_that_asks_for_more_or_is_too_large_is_for_the_full_program() {
    let large = "x".repeat(1 << 17);
    let many: Vec<String> = (0..100).map(|i| format!("GCC_{i}")).collect();
    let scenes = [
        Scene::new().variable("CCACHE_RECACHE", "1"),
        Scene::new().variable("CCWRAP_LOGFILE", "/dev/null"),
        Scene::new().variable("PATH", &large[..100_000]).variable("CPATH", &large[..100_000]),
        many.iter().fold(Scene::new(), |scene, name| scene.variable(name, "")),
    ];
    for scene in scenes {
        scene.remember(&scene.entry(&[scene.story()]));
        assert!(scene.goes_on());
    }
    let mut scene = Scene::new();
    scene.words.push(large[..(1 << 17) - 1].into());
    scene.remember(&scene.entry(&[scene.story()]));
    assert!(scene.goes_on());
}

#[test]
fn a_link_to_the_small_program_with_the_name_of_a_compiler_means_the_compiler() {
    let mut scene = Scene::new();
    fs::remove_file(scene.at("bin/ccwrap-full")).unwrap();
    fs::hard_link(env!("CARGO_BIN_EXE_ccwrap-full"), scene.at("bin/ccwrap-full")).unwrap();
    for directory in ["links", "theirs"] {
        fs::create_dir(scene.at(directory)).unwrap();
    }
    symlink(scene.at("bin/ccwrap"), scene.at("links/cc")).unwrap();
    symlink(ECHO, scene.at("theirs/cc")).unwrap();
    let path = std::env::join_paths(["links", "bin", "theirs"].map(|directory| scene.at(directory))).unwrap();
    scene = scene.variable("PATH", path.as_bytes()).variable("CCWRAP_DISABLE", "true");
    for words in [&["cc", "-x"][..], &["ccwrap", "cc", "-x"], &["ccwrap-full", "ccwrap", "cc", "-x"]] {
        scene.words = words.iter().map(|word| BString::from(*word)).collect();
        let said = scene.command(&scene.at("links/cc")).output().unwrap();
        assert_eq!(said.stdout.as_bstr(), "-x\n", "{words:?}");
    }
}

#[test]
fn where_there_is_no_full_program_it_is_said_and_the_compiler_is_called() {
    let mut scene = Scene::without_full_program();
    fs::write(scene.at("theirs/cc"), "#!/bin/sh\necho $0 $*\n").unwrap();
    fs::set_permissions(scene.at("theirs/cc"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::join_paths(["before", "bin", "none", "theirs"].map(|directory| scene.at(directory))).unwrap();
    scene = scene.variable("PATH", path.as_bytes());
    let theirs = scene.at("theirs/cc").display().to_string();
    let by_path = ["ccwrap", "max_size=1", &theirs, "-x"];
    for words in [&["cc", "-x"][..], &["/somewhere/cc", "-x"], &["ccwrap", "cc", "-x"], &by_path] {
        scene.words = words.iter().map(|word| BString::from(*word)).collect();
        let said = scene.call();
        assert_eq!(said.stdout.as_bstr(), format!("{theirs} -x\n"), "{words:?}");
        let warning = "bin/ccwrap-full`, which has to stand beside `ccwrap`; the compiler is called\n";
        assert!(said.stderr.starts_with(b"ccwrap: warning: ") && said.stderr.ends_with_str(warning), "{words:?}");
    }
    scene = scene.variable("CCWRAP_STRICT", "1");
    for words in [&["ccwrap", "-s"][..], &["ccwrap"], &["cc", "-x"]] {
        scene.words = words.iter().map(|word| BString::from(*word)).collect();
        let said = scene.call();
        assert_eq!((said.status.code(), said.stdout.as_slice()), (Some(127), &b""[..]), "{words:?}");
        assert!(said.stderr.ends_with_str("which has to stand beside `ccwrap`\n"), "{}", said.stderr.as_bstr());
    }
}

#[test]
fn whoever_links_to_the_small_program_meanwhile_does_not_hide_which_one_it_is() {
    let mut scene = Scene::without_full_program();
    symlink(ECHO, scene.at("theirs/cc")).unwrap();
    let none: Vec<PathBuf> = (0..40).map(|_| scene.at("none")).collect();
    let [before, bin, theirs] = ["before", "bin", "theirs"].map(|directory| scene.at(directory));
    let path = std::env::join_paths([&[before][..], &none, &[bin, theirs]].concat()).unwrap();
    scene = scene.variable("PATH", path.as_bytes());
    scene.words = ["cc", "-x"].map(BString::from).into();
    let (program, other, is_over) = (scene.at("bin/cc"), scene.at("other"), AtomicBool::new(false));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                fs::hard_link(&program, &other).unwrap();
                fs::remove_file(&other).unwrap();
            }
        });
        let said: Vec<_> = (0..200).map(|_| scene.call().stdout).collect();
        is_over.store(true, Ordering::Relaxed);
        assert!(said.iter().all(|said| said == b"-x\n"), "{said:?}");
    });
}

/// Bytes of a word or a value: none is NUL.
fn some_bytes() -> impl Strategy<Value = BString> {
    let byte = prop_oneof![Just(b'a'), Just(b'='), Just(b' '), Just(b'\n'), 1..=255_u8];
    prop::collection::vec(byte, 0..12).prop_map(BString::from)
}

fn some_variable() -> impl Strategy<Value = (BString, BString)> {
    let name = prop_oneof![
        prop::sample::select(vec![
            "CPATH",
            "LANG",
            "LC_ALL",
            "LC_",
            "PATH",
            "GCC_COLORS",
            "HOME",
            "A",
            "NIX_B",
            "NIX_BC",
            "CARGO_PKG_NAME",
            "RUSTC_BOOTSTRAP"
        ]),
        prop::sample::select(vec!["CCACHE_DIR", "CCACHE_MAXSIZE", "CCWRAP_NAMESPACE", "TERM", "TERMINAL", "CPAT"]),
    ];
    (name.prop_map(BString::from), some_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_programs_know_a_call_by_the_same_text(
        words in prop::collection::vec(some_bytes(), 1..8),
        env in prop::collection::btree_map(some_variable().prop_map(|(name, _)| name), some_bytes(), 0..8),
        is_rustc in any::<bool>(),
    ) {
        let mut scene = Scene::new();
        scene.words = words;
        if is_rustc {
            scene.words.insert(1, "/bin/rustc".into());
        }
        scene.env.extend(env);
        scene.remember(&scene.entry(&[scene.story()]));
        let said = scene.call();
        prop_assert!(said.status.success() && said.stdout.is_empty(), "{:?}", scene.raw());
    }

    #[test]
    fn any_bytes_as_an_entry_are_for_the_full_program(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        has_hash in any::<bool>(),
        has_call in any::<bool>(),
    ) {
        let scene = Scene::new();
        let mut file = ccwrap_format::entry::VERSION.to_le_bytes().to_vec();
        if has_call {
            let text = scene.raw().text();
            file.extend((text.len() as u32).to_le_bytes());
            file.extend_from_slice(&text);
        }
        file.extend(bytes);
        let hash = ccwrap_format::entry::hash(&file) ^ u64::from(!has_hash);
        scene.remember(&[&hash.to_le_bytes()[..], &file].concat());
        prop_assert!(scene.goes_on());
    }

    #[test]
    fn a_damaged_entry_with_a_right_hash_does_no_harm(
        damages in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        end in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let scene = Scene::new();
        // One that makes nothing, wherever it is said to lie.
        let mut file = scene.entry(&[Story { stored: None, ..scene.story() }]).split_off(8);
        for (at, byte) in damages {
            let length = file.len();
            file[at.index(length)] = byte;
        }
        file.truncate(end.map_or(file.len(), |end| end.index(file.len())));
        let hash = ccwrap_format::entry::hash(&file);
        scene.remember(&[&hash.to_le_bytes()[..], &file].concat());
        prop_assert!(scene.goes_on());
    }
}
