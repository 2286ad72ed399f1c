//! Runs a derivation and makes its outputs valid: Nix 2.34's `registerOutputs`, in its order.
//!
//! An output is built at a scratch path, scanned for references and hashed in one reading. Only one that names itself
//! or a sibling is written again, for then its final path has to be put in. How the process is kept apart is left to
//! [`crate::sandbox`].

use crate::attributes;
use crate::files::{self, CanonicaliseError, FileError};
use crate::runner::{Network, Place, Room};
use crate::sandbox::{Ended, Job, Keeper, Program};
use crate::scratch::Scratch;
use crate::store::{Begun, LocalStore, copy_through, now};
use bstr::{BString, ByteSlice as _};
use nixstore::content_address::InvalidReferences;
use nixstore::hash::{Algorithm, Sha256Writer};
use nixstore::nar::{self, NarError};
use nixstore::rewrite::{HashModulo, Rewriter};
use nixstore::scan::ReferenceScanner;
use nixstore::store::{BuildOptions, Built, Failure, RealiseError, Store, StoreError};
use nixstore::{
    ContentAddress, Derivation, DerivationOutput, Hash, Method, OutputName, PathInfo, Placeholder, Realisation,
    ResolvedDerivation, Sha256, StorePath, Tree,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Of a longer log only the end is given back; the file in the log directory has all of it.
const LOG_IN_MEMORY: u64 = 16 << 20;

/// [`Store::begin`] of the embedded store: only of an edge that it has a sandbox for. What stands in the way will be told when
/// the edge is realised.
pub(crate) fn begin(store: &LocalStore, resolved: &ResolvedDerivation) {
    let Ok(build) = Build::new(store, resolved) else { return };
    let (Ok(Kind::Edge(network)), Ok(Some(attributes))) = (build.kind(), build.attributes()) else { return };
    let Some(mut begun) = store.take_begun(network) else { return };
    if begun.runs.is_none() && build.is_begun_by(&begun) {
        let program = Program::Edge { attributes: &attributes, store: &store.layout().store() };
        if begun.keeper.begin_job(&program, begun.scratch.path()).is_err() {
            return;
        }
        begun.runs = Some(build.drv_path);
    }
    store.put_begun(begun);
}

/// [`Store::realise`] of the embedded store.
pub(crate) fn realise(
    store: &LocalStore,
    resolved: &ResolvedDerivation,
    options: &BuildOptions<'_>,
) -> Result<Built, RealiseError> {
    if options.cancelled.load(Ordering::Relaxed) {
        return Err(RealiseError::Failed { reason: Failure::Cancelled, log: Vec::new() });
    }
    let build = Build::new(store, resolved)?;
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        StoreError::new(format!("realise `{}`", store.store_dir().print(&build.drv_path)), error)
    };
    let file_failed = |error: FileError| failed(error.into());
    let program = build.kind().map_err(failed)?;
    let mut begun = match program {
        Kind::Edge(network) => store.take_begun(network).filter(|begun| build.is_begun_by(begun)),
        Kind::Builder | Kind::EdgeInPlace => None,
    };
    let start = Instant::now();
    let mut room = Room::Memory(Some(store.memory_of_jobs()));
    let (scratch, ended, duration) = loop {
        let (keeper, mut scratch) = match begun.take() {
            Some(Begun { keeper, scratch, .. }) => (Some(keeper), scratch),
            None => (None, Scratch::new(store.session().map_err(file_failed)?).map_err(file_failed)?),
        };
        let timeout = options.timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
        let options = &BuildOptions { timeout, ..*options };
        let (ended, duration) = build.run(program, keeper, &scratch, room, options).map_err(failed)?;
        // Of others somebody may be at work for another moment.
        let has_reported = matches!(ended, Ended::Exit(_) | Ended::Undeclared(_) | Ended::NotAhead);
        if program != Kind::Builder && room != Room::Disk && has_reported {
            scratch.reuse();
        }
        match ended {
            Ended::NotAhead => {} // once more, from the beginning
            Ended::NoRoom => room = Room::Disk,
            ended => break (scratch, ended, duration),
        }
    };
    let failure = match ended {
        Ended::Exit(0) => None,
        Ended::Exit(code) => Some(Failure::Exit(code)),
        Ended::Signal(signal) => Some(Failure::Signal(signal)),
        Ended::TimedOut => Some(Failure::TimedOut(options.timeout.unwrap_or_default())),
        Ended::Cancelled => Some(Failure::Cancelled),
        Ended::Undeclared(paths) => Some(Failure::Undeclared(paths)),
        Ended::NotAhead | Ended::NoRoom => unreachable!("it was run once more"),
    };
    let result = match failure {
        Some(failure) => Err(FinishError::Failure(failure)),
        None => build.finish(&scratch),
    };
    let reason = match result {
        Ok(infos) => {
            build.keep_log(&scratch, false).map_err(file_failed)?;
            let outputs = build.outputs.iter().map(|output| output.name.clone()).zip(infos).collect();
            return Ok(Built { outputs, duration, ran: true });
        }
        Err(FinishError::Failure(failure)) => failure,
        Err(FinishError::Store(error)) => return Err(error.into()),
        Err(FinishError::Other(error)) => return Err(failed(error).into()),
    };
    let log = read_end(&scratch.log()).map_err(file_failed)?;
    // The log is in the error; that it could not be kept as well must not hide why the build failed.
    let _ = build.keep_log(&scratch, true);
    Err(RealiseError::Failed { reason, log })
}

/// A derivation about to be run.
struct Build<'a> {
    store: &'a LocalStore,
    resolved: &'a ResolvedDerivation,
    drv: &'a Derivation,
    drv_path: StorePath,
    /// By name.
    outputs: Vec<Output<'a>>,
    /// All that the builder may see.
    inputs: BTreeSet<StorePath>,
    /// Looks for these and the outputs, which is all that an output may refer to. Made while nobody waits for it.
    scanner: ReferenceScanner,
}

/// How a derivation is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Builder,
    Edge(Network),
    EdgeInPlace,
}

/// What of a manifest says where its commands run.
#[derive(serde::Deserialize)]
struct Wish {
    #[serde(default)]
    in_place: bool,
    #[serde(default)]
    offline: bool,
}

struct Output<'a> {
    name: &'a OutputName,
    kind: &'a DerivationOutput,
    /// Where the builder writes it: its own path if that is known.
    scratch: StorePath,
}

impl<'a> Build<'a> {
    fn new(store: &'a LocalStore, resolved: &'a ResolvedDerivation) -> Result<Self, StoreError> {
        let (drv, dir) = (resolved.get(), store.store_dir());
        let drv_path = resolved.path(dir);
        let refused = |problem: String| StoreError::new(format!("realise `{}`", dir.print(&drv_path)), problem);
        check_supported(drv).map_err(&refused)?;
        let outputs = drv.outputs.iter().map(|(name, kind)| {
            let known = kind.path(dir, &drv.name, name);
            Output { name, kind, scratch: known.unwrap_or_else(|| dir.scratch_path(&drv_path, &drv.name, name)) }
        });
        let outputs: Vec<Output<'_>> = outputs.collect();
        let inputs = store.closure(&drv.input_srcs)?;
        let own = outputs.iter().map(|output| output.scratch.clone());
        let scanner = ReferenceScanner::new(inputs.iter().cloned().chain(own));
        Ok(Self { store, resolved, drv, drv_path, outputs, inputs, scanner })
    }

    /// What the builder is, and where it is to run.
    fn kind(&self) -> Result<Kind, BoxError> {
        let Some(json) = self.edge() else { return Ok(Kind::Builder) };
        match serde_json::from_slice(json)? {
            Wish { in_place: false, offline } => Ok(Kind::Edge(Network::of_edge(offline))),
            Wish { .. } if self.store.runs_in_place() => Ok(Kind::EdgeInPlace),
            Wish { .. } => Err("it is to run outside of a sandbox, which this store was not told to do".into()),
        }
    }

    /// Runs the builder to its end, by a keeper that has begun to make its sandbox if there is one.
    fn run(
        &self,
        kind: Kind,
        begun: Option<Keeper>,
        scratch: &Scratch,
        room: Room,
        options: &BuildOptions<'_>,
    ) -> Result<(Ended, Duration), BoxError> {
        let place = match kind {
            Kind::EdgeInPlace => Place::Here,
            Kind::Builder if self.has_network() => scratch.sandbox(Network::Host, room)?,
            Kind::Builder => scratch.sandbox(Network::Own, room)?,
            Kind::Edge(network) => scratch.sandbox(network, room)?,
        };
        let (timeout, cancelled) = (options.timeout, options.cancelled);
        let run = |program: Program<'_>| -> Result<(Ended, Duration), BoxError> {
            let start = Instant::now();
            let keeper = match begun {
                Some(keeper) => keeper,
                None => Keeper::start(self.store.keeper()?, &place, scratch.open_log()?)?,
            };
            let (ended, keeper) = keeper.run(&Job { program, scratch: scratch.path(), timeout, cancelled })?;
            self.store.leave(keeper);
            Ok((ended, start.elapsed()))
        };
        if let Some(attributes) = self.attributes()? {
            return run(Program::Edge { attributes: &attributes, store: &self.store.layout().store() });
        }
        let rewrite = OwnOutputs::new(self);
        let env = self.environment(&rewrite, &scratch.make_build()?)?;
        let args: Vec<BString> = self.drv.args.iter().map(|arg| rewrite.apply(arg)).collect();
        let dir = self.store.store_dir();
        let inputs = self.inputs.iter().map(|path| (dir.print(path).into(), self.store.physical_path(path)));
        let of_host = self.store.sandbox_paths()?.iter().map(|(at, from)| (at.clone(), from.clone()));
        run(Program::Builder {
            program: rewrite.apply(&self.drv.builder).as_bstr(),
            args: &args,
            env: &env,
            inputs: of_host.chain(inputs).collect(),
            network: self.has_network(),
            narrow: self.drv.system == "i686-linux",
        })
    }

    /// What the runner is told of an edge: the manifest, with where the outputs go.
    fn attributes(&self) -> Result<Option<BString>, BoxError> {
        let Some(json) = self.edge() else { return Ok(None) };
        let rewrite = OwnOutputs::new(self);
        Ok(Some(rewrite.apply(&attributes::with_outputs(json, &rewrite.paths)?)))
    }

    /// The manifest, if this is an edge: the runner stages it by itself.
    fn edge(&self) -> Option<&'a BString> {
        let runner = self.store.runner()?;
        let json = self.drv.env.get(b"__json".as_bstr())?;
        (self.drv.builder == self.store.store_dir().print(&runner.path)).then_some(json)
    }

    /// Whether what has begun in a sandbox, if anything has, is this.
    fn is_begun_by(&self, begun: &Begun) -> bool {
        if let Some(other) = &begun.runs {
            return *other == self.drv_path;
        }
        let manifest = || serde_json::from_slice(self.edge()?).ok();
        begun.start.as_ref().is_none_or(|start| manifest().is_some_and(|manifest| start.leads_to(&manifest)))
    }

    /// Nix 2.34, `DerivationType::isSandboxed`: what fetches is held to a hash, or is expected to differ.
    fn has_network(&self) -> bool {
        let impure = |output: &Output<'_>| matches!(output.kind, DerivationOutput::Impure { .. });
        self.is_fixed() || self.outputs.iter().any(impure)
    }

    fn is_fixed(&self) -> bool {
        self.outputs.iter().any(|output| matches!(output.kind, DerivationOutput::Fixed(_)))
    }

    /// What the builder finds in its environment; what is passed by files is written to `build` (Nix 2.34,
    /// `DesugaredEnv` and `initEnv`).
    fn environment(&self, rewrite: &OwnOutputs, build: &Path) -> Result<BTreeMap<BString, BString>, BoxError> {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let mut env: BTreeMap<BString, BString> = BTreeMap::new();
        let mut set = |key: &str, value: &str| {
            env.insert(key.into(), value.into());
        };
        set("PATH", "/path-not-set");
        set("HOME", "/homeless-shelter");
        set("NIX_STORE", self.store.store_dir().as_str());
        set("NIX_BUILD_CORES", &cores.to_string());
        let write = |name: &str, contents: &[u8]| {
            let file = build.join(name);
            fs::write(&file, contents).map_err(FileError::of("write", &file))
        };
        if let Some(json) = self.drv.env.get(b"__json".as_bstr()) {
            let json = rewrite.apply(&attributes::with_outputs(json, &rewrite.paths)?);
            write(".attrs.json", &json)?;
            write(".attrs.sh", attributes::shell(&json)?.as_bytes())?;
            env.insert("NIX_ATTRS_JSON_FILE".into(), "/build/.attrs.json".into());
            env.insert("NIX_ATTRS_SH_FILE".into(), "/build/.attrs.sh".into());
        } else {
            let empty = BString::default();
            let by_file = self.drv.env.get(b"passAsFile".as_bstr()).unwrap_or(&empty);
            let by_file: BTreeSet<&[u8]> = by_file.fields().collect();
            for (key, value) in &self.drv.env {
                if by_file.contains(key.as_bytes()) {
                    let name = format!(".attr-{}", Sha256::of(key).nix32());
                    write(&name, &rewrite.apply(value))?;
                    let key = [key.as_bytes(), b"Path"].concat();
                    env.insert(key.into(), format!("/build/{name}").into());
                } else {
                    env.insert(rewrite.apply(key), rewrite.apply(value));
                }
            }
        }
        for key in ["NIX_BUILD_TOP", "TMPDIR", "TEMPDIR", "TMP", "TEMP", "PWD"] {
            env.insert(key.into(), "/build".into());
        }
        if self.is_fixed() {
            env.insert("NIX_OUTPUT_CHECKED".into(), "1".into());
        }
        env.insert("NIX_LOG_FD".into(), "2".into());
        env.insert("TERM".into(), "xterm-256color".into());
        Ok(env)
    }

    /// Gives what the builder left its final paths and registers it. By output, as in `outputs`.
    fn finish(&self, scratch: &Scratch) -> Result<Vec<PathInfo>, FinishError> {
        let mut examined = Vec::with_capacity(self.outputs.len());
        for output in &self.outputs {
            examined.push(self.examine(output, scratch)?);
        }
        let mut finals: BTreeMap<StorePath, StorePath> = BTreeMap::new();
        let mut infos: Vec<Option<PathInfo>> = vec![None; examined.len()];
        for index in self.order(&examined)? {
            let info = self.address(index, &mut examined[index], &finals, scratch)?;
            finals.insert(self.outputs[index].scratch.clone(), info.path.clone());
            infos[index] = Some(info);
        }
        let infos: Vec<PathInfo> = infos.into_iter().flatten().collect();
        for (info, tree) in infos.iter().zip(&examined) {
            self.make_empty(info, tree)?;
        }
        let ids = self.resolved.output_ids(self.store.store_dir());
        let realisations: Vec<Realisation> = self
            .outputs
            .iter()
            .zip(&infos)
            // An impure output is built anew each time.
            .filter(|(output, _)| !matches!(output.kind, DerivationOutput::Impure { .. }))
            .map(|(output, info)| Realisation::new(ids[output.name].clone(), info.path.clone()))
            .collect();
        let new = infos.into_iter().zip(&examined).map(|(info, tree)| (info, tree.at.as_path())).collect();
        Ok(self.store.register(new, &realisations)?)
    }

    /// Makes the files of an output that was left out, unless they are in the store already, as they nearly always are.
    fn make_empty(&self, info: &PathInfo, tree: &Examined) -> Result<(), FinishError> {
        let Some(empty) = tree.empty else { return Ok(()) };
        let is_valid = !self.store.path_infos(std::slice::from_ref(&info.path))?.contains(&None);
        if is_valid && empty.is_at(&self.store.layout().store().join(info.path.to_string())) {
            return Ok(());
        }
        let made = match empty {
            Empty::File => File::create(&tree.at).map(drop),
            Empty::Directory => fs::create_dir(&tree.at),
        };
        made.map_err(FileError::of("make", &tree.at))?;
        match files::canonicalise(&tree.at) {
            Ok(()) | Err(CanonicaliseError::Unstorable(_)) => Ok(()),
            Err(CanonicaliseError::File(error)) => Err(error.into()),
        }
    }

    /// Makes an output canonical, hashes it and finds what it refers to, in one reading.
    fn examine(&self, output: &Output<'_>, scratch: &Scratch) -> Result<Examined, FinishError> {
        let at = scratch.store().join(output.scratch.to_string());
        let Ok(metadata) = fs::symlink_metadata(&at) else {
            let empty = self.left_out(output).ok_or_else(|| bad(output, "the builder has not made it".into()))?;
            let (nar_hash, nar_size) = empty.hash();
            let (plain, references) = (empty == Empty::File, BTreeSet::new());
            return Ok(Examined { at, empty: Some(empty), plain, nar_hash, nar_size, references });
        };
        files::canonicalise(&at).map_err(|error| match error {
            CanonicaliseError::Unstorable(found) => {
                let inside = found.path.strip_prefix(&at).unwrap_or(&found.path);
                bad(output, format!("`{}` is neither a file nor a directory nor a symlink", inside.display()))
            }
            CanonicaliseError::File(error) => FinishError::from(error),
        })?;
        let mut both = Both(Sha256Writer::new(), self.scanner.clone());
        nar::dump(&at, &mut both).map_err(|error| unstorable(output, error))?;
        let Both(hash, scanner) = both;
        let (nar_hash, nar_size) = hash.finish();
        let plain = metadata.is_file() && metadata.permissions().mode() & 0o100 == 0;
        Ok(Examined { at, empty: None, plain, nar_hash, nar_size, references: scanner.found() })
    }

    /// What stands for an output that the runner has left out, see [`crate::runner::Report::Done`].
    fn left_out(&self, output: &Output<'_>) -> Option<Empty> {
        let nar = DerivationOutput::Floating { method: Method::Nar, algorithm: Algorithm::Sha256 };
        self.edge().filter(|_| *output.kind == nar)?;
        match output.name.as_str() {
            "log" => Some(Empty::File),
            "rest" => Some(Empty::Directory),
            _ => None,
        }
    }

    /// The outputs in an order in which none refers to a later one.
    fn order(&self, examined: &[Examined]) -> Result<Vec<usize>, FinishError> {
        let needs = |index: usize| {
            let others = (0..examined.len()).filter(move |other| *other != index);
            others.filter(move |&other| examined[index].references.contains(&self.outputs[other].scratch))
        };
        let mut order: Vec<usize> = Vec::with_capacity(examined.len());
        let mut done = vec![false; examined.len()];
        while order.len() < examined.len() {
            let ready = (0..examined.len()).find(|&index| !done[index] && needs(index).all(|other| done[other]));
            let Some(index) = ready else {
                let names: Vec<_> =
                    (0..done.len()).filter(|&i| !done[i]).map(|i| format!("`{}`", self.outputs[i].name)).collect();
                let first = done.iter().position(|done| !done).expect("one is left");
                let problem = format!("{} refer to each other in a circle", names.join(" and "));
                return Err(bad(&self.outputs[first], problem));
            };
            done[index] = true;
            order.push(index);
        }
        Ok(order)
    }

    /// The final path of an output, with its siblings' final paths in it instead of their scratch paths.
    fn address(
        &self,
        index: usize,
        tree: &mut Examined,
        finals: &BTreeMap<StorePath, StorePath>,
        scratch: &Scratch,
    ) -> Result<PathInfo, FinishError> {
        let (output, dir) = (&self.outputs[index], self.store.store_dir());
        let names_itself = tree.references.remove(&output.scratch);
        let siblings: BTreeMap<&StorePath, &StorePath> =
            finals.iter().filter(|(from, to)| from != to && tree.references.contains(from)).collect();
        let mut references: BTreeSet<StorePath> =
            tree.references.iter().map(|path| finals.get(path).unwrap_or(path).clone()).collect();
        let (path, ca) = match output.kind {
            DerivationOutput::Deferred => unreachable!("a resolved derivation has no deferred outputs"),
            DerivationOutput::InputAddressed(path) => (path.clone(), None),
            DerivationOutput::Fixed(ca) => {
                if names_itself || !references.is_empty() {
                    return Err(bad(output, "an output of fixed content may not refer to store paths".into()));
                }
                let found = tree.hash(output, ca.method, ca.hash.algorithm())?;
                if found != ca.hash {
                    let problem = format!("its hash should be `{}`, but is `{}`", ca.hash.sri(), found.sri());
                    return Err(bad(output, problem));
                }
                (output.scratch.clone(), Some(ca.clone()))
            }
            DerivationOutput::Floating { method, algorithm } | DerivationOutput::Impure { method, algorithm } => {
                let hash = if siblings.is_empty() && !names_itself {
                    tree.hash(output, *method, *algorithm)?
                } else {
                    tree.hash_rewritten(output, *method, *algorithm, &siblings)?
                };
                let ca = ContentAddress { method: *method, hash };
                let name = self.drv.name.of_output(output.name);
                let path =
                    dir.path_of(&name, &ca, &references, names_itself).map_err(|error| refused(output, error))?;
                (path, Some(ca))
            }
        };
        if !siblings.is_empty() || (names_itself && path != output.scratch) {
            let to = scratch.store().join(format!("{}.rewritten", output.scratch));
            let all = siblings.iter().map(|(from, to)| (*from, *to)).chain([(&output.scratch, &path)]);
            let all: Vec<(&StorePath, &StorePath)> = all.collect();
            (tree.nar_hash, tree.nar_size) = tree.rewrite(output, &all, &to)?;
            tree.at = to;
        }
        if names_itself {
            references.insert(path.clone());
        }
        Ok(PathInfo {
            path,
            nar_hash: tree.nar_hash,
            nar_size: tree.nar_size,
            references,
            deriver: Some(self.drv_path.clone()),
            ca,
            ultimate: true,
            signatures: BTreeSet::new(),
            registration_time: now().as_secs(),
        })
    }

    /// Moves the log to where Nix looks for it; an empty one only if `always`.
    fn keep_log(&self, scratch: &Scratch, always: bool) -> Result<(), FileError> {
        let (from, to) = (scratch.log(), self.store.layout().log(&self.drv_path.to_string()));
        // Where nothing was printed there may be none.
        let is_empty =
            fs::metadata(&from).map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |log| log.len() == 0);
        if !always && is_empty {
            return Ok(());
        }
        let directory = to.parent().expect("a log is in a directory");
        fs::create_dir_all(directory).map_err(FileError::of("make the directory", directory))?;
        fs::rename(&from, &to).map_err(FileError::of("write", &to))
    }
}

/// An output that the builder has left.
struct Examined {
    /// Where its files are.
    at: PathBuf,
    /// Set where it has none and is this.
    empty: Option<Empty>,
    /// Whether it is a regular file that is not executable.
    plain: bool,
    nar_hash: Sha256,
    nar_size: u64,
    /// What is named in it, by scratch paths where these are named.
    references: BTreeSet<StorePath>,
}

/// Something with nothing in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Empty {
    File,
    Directory,
}

impl Empty {
    /// Whether that is at a path.
    fn is_at(self, path: &Path) -> bool {
        match self {
            Self::File => fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0),
            Self::Directory => fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none()),
        }
    }

    /// Hash and size of the NAR.
    fn hash(self) -> (Sha256, u64) {
        let nar = match self {
            Self::File => Tree::file("").to_nar(),
            Self::Directory => Tree::directory::<&str>([]).to_nar(),
        };
        (Sha256::of(&nar), nar.len() as u64)
    }
}

impl Examined {
    /// The hash of it as it is.
    fn hash(&self, output: &Output<'_>, method: Method, algorithm: Algorithm) -> Result<Hash, FinishError> {
        if (method, algorithm) == (Method::Nar, Algorithm::Sha256) {
            return Ok(Hash::Sha256(self.nar_hash));
        }
        let mut hasher = Hasher::new(algorithm);
        self.feed(output, method, &mut hasher)?;
        Ok(hasher.finish())
    }

    /// The hash of it with other paths of siblings, and without its own.
    fn hash_rewritten(
        &self,
        output: &Output<'_>,
        method: Method,
        algorithm: Algorithm,
        siblings: &BTreeMap<&StorePath, &StorePath>,
    ) -> Result<Hash, FinishError> {
        let paths = || siblings.iter().map(|(from, to)| (*from, *to));
        if (method, algorithm) == (Method::Nar, Algorithm::Sha256) {
            let mut rewriter = Rewriter::of_paths(HashModulo::new(&output.scratch), paths());
            self.feed(output, method, &mut rewriter)?;
            let (modulo, _) = rewriter.finish().map_err(|error| FinishError::Other(error.into()))?;
            Ok(Hash::Sha256(modulo.finish().0))
        } else {
            let mut rewriter = Rewriter::of_paths(Hasher::new(algorithm), paths());
            self.feed(output, method, &mut rewriter)?;
            let (hasher, _) = rewriter.finish().map_err(|error| FinishError::Other(error.into()))?;
            Ok(hasher.finish())
        }
    }

    /// Writes what is hashed by `method`.
    fn feed(&self, output: &Output<'_>, method: Method, to: &mut impl Write) -> Result<(), FinishError> {
        match method {
            Method::Nar => nar::dump(&self.at, to).map_err(|error| unstorable(output, error)),
            Method::Flat | Method::Text if !self.plain => {
                let problem = format!("it is hashed as `{method}`, so it has to be a file that is not executable");
                Err(bad(output, problem))
            }
            Method::Flat | Method::Text => {
                let mut file = File::open(&self.at).map_err(FileError::of("read", &self.at))?;
                io::copy(&mut file, to).map_err(FileError::of("read", &self.at))?;
                Ok(())
            }
            Method::Git => unreachable!("refused before the builder was started"),
        }
    }

    /// Writes it to `to` with hash parts replaced. Gives hash and size of the new NAR.
    fn rewrite(
        &self,
        output: &Output<'_>,
        paths: &[(&StorePath, &StorePath)],
        to: &Path,
    ) -> Result<(Sha256, u64), FinishError> {
        let result = copy_through(to, |pipe| {
            let mut rewriter = Rewriter::of_paths(pipe, paths.iter().copied());
            nar::dump(&self.at, &mut rewriter)?;
            rewriter.finish()?;
            Ok(())
        });
        let hashed = result.map_err(FinishError::Other)?;
        match files::canonicalise(to) {
            Ok(()) => Ok(hashed),
            Err(CanonicaliseError::File(error)) => Err(error.into()),
            Err(CanonicaliseError::Unstorable(error)) => Err(bad(output, error.to_string())),
        }
    }
}

/// A digest of any algorithm that can be computed here.
enum Hasher {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

impl Hasher {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Default::default()),
            Algorithm::Sha512 => Self::Sha512(Default::default()),
            Algorithm::Md5 | Algorithm::Sha1 => unreachable!("refused before the builder was started"),
        }
    }

    fn finish(self) -> Hash {
        use sha2::Digest as _;
        match self {
            Self::Sha256(hasher) => Hash::Sha256(Sha256(hasher.finalize().into())),
            Self::Sha512(hasher) => Hash::Sha512(Box::new(hasher.finalize().into())),
        }
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        use sha2::Digest as _;
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What this builder cannot do, said before it starts.
fn check_supported(drv: &Derivation) -> Result<(), String> {
    if drv.builder.starts_with(b"builtin:") {
        return Err(format!("`{}` is a part of Nix; run this derivation with Nix", drv.builder));
    }
    let here = format!("{}-linux", std::env::consts::ARCH);
    let also = here == "x86_64-linux" && drv.system == "i686-linux";
    if drv.system != here && !also {
        return Err(format!("it is for `{}`, and this is `{here}`", drv.system));
    }
    for output in drv.outputs.values() {
        let (method, algorithm) = match output {
            DerivationOutput::Fixed(ca) => (ca.method, ca.hash.algorithm()),
            DerivationOutput::Floating { method, algorithm } | DerivationOutput::Impure { method, algorithm } => {
                (*method, *algorithm)
            }
            DerivationOutput::InputAddressed(_) | DerivationOutput::Deferred => continue,
        };
        if method == Method::Git || matches!(algorithm, Algorithm::Md5 | Algorithm::Sha1) {
            return Err(format!(
                "an output is hashed as `{}`, which this store cannot do; `sha256` and `sha512` of `nar`, `flat` and `text` it can",
                method.in_derivation(algorithm)
            ));
        }
    }
    Ok(())
}

/// Puts the paths of outputs in the place of the texts that stand for them.
struct OwnOutputs {
    /// Whole logical path by output name.
    paths: BTreeMap<String, String>,
    placeholders: Vec<(String, String)>,
}

impl OwnOutputs {
    fn new(build: &Build<'_>) -> Self {
        let dir = build.store.store_dir();
        let path = |output: &Output<'_>| dir.print(&output.scratch);
        let outputs = &build.outputs;
        Self {
            paths: outputs.iter().map(|output| (output.name.to_string(), path(output))).collect(),
            placeholders: outputs
                .iter()
                .map(|output| (Placeholder::own(output.name).to_string(), path(output)))
                .collect(),
        }
    }

    fn apply(&self, text: &[u8]) -> BString {
        let mut text = BString::from(text);
        if text.len() >= Placeholder::LEN {
            for (placeholder, path) in &self.placeholders {
                if text.find(placeholder).is_some() {
                    text = text.replace(placeholder, path).into();
                }
            }
        }
        text
    }
}

/// The last [`LOG_IN_MEMORY`] bytes of a file; of one that is not there, none.
fn read_end(path: &Path) -> Result<Vec<u8>, FileError> {
    let read = || {
        let Some(mut file) = files::unless_gone(File::open(path))? else { return Ok(Vec::new()) };
        let skipped = file.metadata()?.len().saturating_sub(LOG_IN_MEMORY);
        file.seek(SeekFrom::Start(skipped))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        io::Result::Ok(end)
    };
    read().map_err(FileError::of("read", path))
}

/// Writes to two writers.
struct Both<A, B>(A, B);

impl<A: Write, B: Write> Write for Both<A, B> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(bytes)?;
        self.1.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()?;
        self.1.flush()
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why outputs could not be made valid.
enum FinishError {
    /// The builder's fault.
    Failure(Failure),
    /// Said in full.
    Store(StoreError),
    /// To be said with the name of the derivation.
    Other(BoxError),
}

impl From<FileError> for FinishError {
    fn from(error: FileError) -> Self {
        Self::Other(error.into())
    }
}

impl From<StoreError> for FinishError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn bad(output: &Output<'_>, problem: String) -> FinishError {
    FinishError::Failure(Failure::BadOutput { output: output.name.clone(), problem })
}

fn refused(output: &Output<'_>, error: InvalidReferences) -> FinishError {
    bad(output, error.to_string())
}

/// A tree that cannot be dumped: for its own sake, or because it cannot be read.
fn unstorable(output: &Output<'_>, error: NarError) -> FinishError {
    match error {
        NarError::Io { .. } | NarError::Write(_) | NarError::Read(_) => FinishError::Other(error.into()),
        error => bad(output, error.to_string()),
    }
}
