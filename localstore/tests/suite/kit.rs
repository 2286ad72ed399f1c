//! Makes stores and derivations for the tests; only this module knows how.

use bstr::BString;
use localstore::runner::Network;
use localstore::{LocalStore, Opening};
use nixstore::hash::Algorithm;
use nixstore::manifest::HeadStart;
use nixstore::store::{BuildOptions, Built, Failure, RealiseError};
use nixstore::{Derivation, DerivationOutput, Method, PathInfo, ResolvedDerivation, Store as _, StorePath};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

/// A store in a directory of its own.
pub struct Kit {
    store: Option<LocalStore>,
    root: PathBuf,
    directory: tempfile::TempDir,
    sees: Sees,
}

/// What builders see of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sees {
    /// Its programs, for scripts that need more than a shell.
    Programs,
    /// What they see unless a store is told otherwise.
    Shell,
}

/// An empty store whose builders may use the host's programs.
pub fn kit() -> Kit {
    kit_at(&std::env::temp_dir(), Sees::Programs)
}

/// An empty store as it is without any setting.
pub fn plain_kit() -> Kit {
    kit_at(&std::env::temp_dir(), Sees::Shell)
}

/// An empty store on the disk of `parent`.
pub fn kit_at(parent: &Path, sees: Sees) -> Kit {
    let directory = tempfile::tempdir_in(parent).expect("a temporary directory");
    let root = directory.path().join("root");
    Kit { store: Some(open(&root, sees)), root, directory, sees }
}

fn open(root: &Path, sees: Sees) -> LocalStore {
    let store = LocalStore::open(root).expect("a store");
    store.isolate_with(&runner());
    if sees == Sees::Programs {
        let existing = ["/usr", "/bin", "/lib", "/lib64"].map(PathBuf::from).into_iter().filter(|path| path.exists());
        store.show_builders(existing.map(|path| (path.clone(), path)).collect());
    }
    store
}

/// The runner: the one built with the tests, or a copy of it for a user who cannot read that.
pub fn runner() -> PathBuf {
    std::env::var_os(RUNNER).unwrap_or_else(|| env!("CARGO_BIN_EXE_splitter-runner").into()).into()
}

/// Names the runner in the environment of a test that runs itself again.
pub const RUNNER: &str = "LOCALSTORE_TEST_RUNNER";

impl Kit {
    pub fn store(&self) -> &LocalStore {
        self.store.as_ref().expect("it is open")
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A directory beside the store.
    pub fn scratch(&self) -> &Path {
        self.directory.path()
    }

    /// The same store, opened once more.
    pub fn open_again(&self) -> LocalStore {
        open(&self.root, self.sees)
    }

    pub fn close(&mut self) {
        self.store = None;
    }

    /// Opens it again, while a sandbox is begun.
    pub fn reopen_expecting(&mut self, network: Network, start: Option<HeadStart>) {
        self.close();
        let mut opening = Opening::begin(&self.root).expect("a store");
        opening.expect_edge(&runner(), network, start);
        self.store = Some(opening.finish().expect("a store"));
    }

    pub fn reopen(&mut self) {
        self.store = None;
        self.store = Some(self.open_again());
    }

    pub fn add(&self, name: &str, contents: &str) -> PathInfo {
        self.store().add_file(&name.parse().unwrap(), contents.as_bytes(), false).expect("it can be added")
    }

    pub fn is_valid(&self, path: &StorePath) -> bool {
        self.store().path_infos(std::slice::from_ref(path)).unwrap()[0].is_some()
    }

    pub fn physical(&self, path: &StorePath) -> PathBuf {
        self.root.join("nix/store").join(path.to_string())
    }

    pub fn try_build(&self, derivation: &Drv) -> Result<Built, RealiseError> {
        let cancelled = AtomicBool::new(false);
        self.store().realise(&derivation.resolved(), &BuildOptions { timeout: None, cancelled: &cancelled })
    }

    pub fn build(&self, derivation: &Drv) -> BTreeMap<String, PathInfo> {
        match self.try_build(derivation) {
            Ok(built) => built.outputs.into_iter().map(|(name, info)| (name.to_string(), info)).collect(),
            Err(RealiseError::Failed { reason, log }) => panic!("{reason}: {}", String::from_utf8_lossy(&log)),
            Err(RealiseError::Store(error)) => panic!("{}", chain(&error)),
        }
    }

    /// How a build fails, and what it wrote.
    pub fn fail(&self, derivation: &Drv) -> (Failure, String) {
        match self.try_build(derivation) {
            Ok(_) => panic!("it succeeded"),
            Err(RealiseError::Failed { reason, log }) => (reason, String::from_utf8_lossy(&log).into()),
            Err(RealiseError::Store(error)) => panic!("{}", chain(&error)),
        }
    }

    /// All files of the store, but for Nix's bookkeeping.
    pub fn files(&self) -> BTreeSet<String> {
        let names = fs::read_dir(self.root.join("nix/store")).unwrap().flatten();
        names.map(|entry| entry.file_name().into_string().unwrap()).filter(|name| name != ".links").collect()
    }

    /// What is left of builds.
    pub fn leftovers(&self) -> Vec<String> {
        let mut found = Vec::new();
        let names = |directory: &Path| -> Vec<String> {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
        };
        for session in fs::read_dir(self.root.join("nix/var/splitter/builds")).unwrap().flatten() {
            for entry in fs::read_dir(session.path()).unwrap().flatten() {
                // The directory of a build is left, with nothing in it.
                let is_plain = names(&entry.path()).iter().all(|name| name == "store" || name == "log");
                let is_idle = is_plain && names(&entry.path().join("store")).is_empty();
                found.extend(Some(entry.file_name().into_string().unwrap()).filter(|_| !is_idle));
            }
        }
        found.retain(|name| name != "lock");
        found
    }
}

impl Drop for Kit {
    fn drop(&mut self) {
        self.close();
        // Some tests have deleted it.
        let _ = localstore::files::remove_tree(&self.root);
    }
}

/// Says that a test did not run, to the reader and to whoever counts.
pub fn not_run(test: &str, reason: &str) {
    let line = format!("{test}: {}", reason.trim().replace('\n', " "));
    eprintln!("not run: {line}");
    if let Some(file) = std::env::var_os("SPLITTER_NOT_RUN") {
        let mut file = fs::File::options().append(true).create(true).open(file).expect("the list of what did not run");
        writeln!(file, "{line}").expect("the list of what did not run");
    }
}

/// The processes below this one, the children first and then theirs.
pub fn descendants() -> Vec<u32> {
    let mut processes = vec![std::process::id()];
    let mut seen = 0;
    while let Some(process) = processes.get(seen) {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
        let children = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
        let children: String = children.collect();
        processes.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        seen += 1;
    }
    processes.split_off(1)
}

/// Runs `test` once more by `command`, which ends in starting this program, and tells it of a place. That it cannot be
/// started so is reported as not run.
pub fn again(test: &str, place: &Path, command: &mut Command) {
    let output = command.args(["--exact", "--nocapture", test]).env(PLACE, place).output();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output {
        Ok(output) if output.status.success() => {
            assert!(text(&output.stdout).contains("1 passed"), "{}", text(&output.stdout));
        }
        Ok(output) if output.status.code() == Some(101) => panic!("{}", text(&output.stderr)),
        Ok(output) => not_run(test, &text(&output.stderr)),
        Err(error) => not_run(test, &error.to_string()),
    }
}

/// Where a test is to do its work that [`again`] has run.
pub fn place() -> Option<PathBuf> {
    std::env::var_os(PLACE).map(PathBuf::from)
}

const PLACE: &str = "LOCALSTORE_TEST_PLACE";

/// An error with its causes, as a program would print it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

/// A derivation that runs a script by `/bin/sh`.
#[derive(Clone)]
pub struct Drv(Derivation);

/// A derivation with one floating output.
pub fn sh(name: &str, script: &str) -> Drv {
    let mut env: BTreeMap<BString, BString> = BTreeMap::new();
    env.insert("name".into(), name.into());
    env.insert("PATH".into(), "/usr/bin:/bin".into());
    Drv(Derivation {
        name: name.parse().unwrap(),
        outputs: BTreeMap::new(),
        input_drvs: BTreeMap::new(),
        input_srcs: BTreeSet::new(),
        system: format!("{}-linux", std::env::consts::ARCH),
        builder: "/bin/sh".into(),
        args: vec!["-ec".into(), script.into()],
        env,
    })
    .outputs(&["out"])
}

impl Drv {
    /// With these floating outputs.
    pub fn outputs(self, names: &[&str]) -> Self {
        let nar = DerivationOutput::Floating { method: Method::Nar, algorithm: Algorithm::Sha256 };
        names.iter().fold(self.without_outputs(), |drv, name| drv.output(name, nar.clone()))
    }

    pub fn without_outputs(mut self) -> Self {
        for name in std::mem::take(&mut self.0.outputs).keys() {
            self.0.env.remove(bstr::BStr::new(name.as_str()));
        }
        self
    }

    pub fn output(mut self, name: &str, kind: DerivationOutput) -> Self {
        let output = name.parse().unwrap();
        let text = match kind.path(&nixstore::StoreDir::default(), &self.0.name, &output) {
            Some(path) => nixstore::StoreDir::default().print(&path),
            None => nixstore::Placeholder::own(&output).to_string(),
        };
        self.0.env.insert(name.into(), text.into());
        self.0.outputs.insert(output, kind);
        self
    }

    pub fn source(mut self, path: &PathInfo) -> Self {
        self.0.input_srcs.insert(path.path.clone());
        self
    }

    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.0.env.insert(key.into(), value.into());
        self
    }

    pub fn builder(mut self, builder: &str) -> Self {
        self.0.builder = builder.into();
        self
    }

    pub fn system(mut self, system: &str) -> Self {
        self.0.system = system.into();
        self
    }

    pub fn resolved(&self) -> ResolvedDerivation {
        self.0.clone().try_into().expect("nothing is to be resolved")
    }

    pub fn path(&self) -> StorePath {
        self.0.path(&nixstore::StoreDir::default())
    }
}

/// Mode without the kind of file.
pub fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}
