//! The `ninja2drv` command: a build directory that CMake or Meson configured, built edge by edge in a store.

use bstr::{BStr, BString, ByteSlice as _};
use clap::Parser;
use localstore::{Evicted, LocalStore, Pin, Place, Size, Warning};
use ninja2drv::manifest::{self, Manifest};
use nixstore::{Store as _, StorePath};
use splitter::drive::{Done, Drive, Error, Event, lock};
use splitter::graph::{EdgeId, FileId, Graph};
use splitter::host_tools::HostTools;
use splitter::plan::Plan;
use splitter::state::State;
use splitter::toolchain::{Snapshot, Toolchains};
use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, fs};

/// Builds as ninja does, with every command a derivation of its own in a Nix-compatible store.
#[derive(Debug, Parser)]
#[command(name = "ninja2drv", version)]
struct Options {
    /// Change to DIR before doing anything else.
    #[arg(short = 'C', value_name = "DIR")]
    directory: Option<PathBuf>,
    /// The build file.
    #[arg(short = 'f', value_name = "FILE", default_value = "build.ninja")]
    file: PathBuf,
    /// How many commands at once; 0 is as many as there are processors.
    #[arg(short = 'j', value_name = "N", default_value_t = 0)]
    jobs: usize,
    /// Keep going until N commands have failed; 0 is without end.
    #[arg(short = 'k', value_name = "N", default_value_t = 1)]
    failures: usize,
    /// Say of every edge what was done and why, and which store is used.
    #[arg(short, long)]
    verbose: bool,
    /// The store: `auto`, `local?root=DIR` for the embedded store in DIR, or DIR itself.
    #[arg(long, value_name = "URL", env = "SPLITTER_STORE", default_value = "auto")]
    store: OsString,
    /// What the store may take, such as `20G`: when a run has ended, what was used longest ago is deleted. Default: 20
    /// GiB, or a tenth of the disk if that is less.
    #[arg(long, value_name = "SIZE", env = "SPLITTER_STORE_LIMIT")]
    store_limit: Option<Size>,
    /// What to build; by default what the build file says.
    targets: Vec<OsString>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("ninja2drv: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

/// Where a build directory keeps what is ours.
const OWN: &str = ".splitter";

fn run(options: &Options) -> Result<bool, Error> {
    if let Some(directory) = &options.directory {
        println!("ninja2drv: Entering directory `{}'", directory.display());
        env::set_current_dir(directory).map_err(|e| format!("cannot enter `{}`: {e}", directory.display()))?;
    }
    let targets: Vec<BString> = options.targets.iter().map(|target| target.as_bytes().into()).collect();
    let directory = env::current_dir()?;
    let own = directory.join(OWN);
    if !directory.join(&options.file).exists() {
        return Err(format!(
            "there is no `{}` in `{}`; configure with CMake or Meson first, or name it by -f",
            options.file.display(),
            directory.display()
        )
        .into());
    }
    let _lock = lock(&own, &mut || {
        eprintln!("ninja2drv: another run is at work in `{}`; waiting for it", directory.display())
    })?;
    let state_file = own.join("state");
    let old = State::read(&state_file).unwrap_or_else(|problem| {
        eprintln!("ninja2drv: warning: `{}` is not used: {problem}", state_file.display());
        State::default()
    });
    if old.is_up_to_date(&targets) {
        println!("ninja: no work to do.");
        return Ok(true);
    }
    warn(Warning::about(Place::BuildState, &own)?.iter());
    let root = localstore::root_of(&options.store, |name| env::var_os(name), &directory)?;
    if options.verbose {
        println!("ninja2drv: store: embedded, in `{}`", root.display());
    }
    let ended = build(options, &directory, &targets, &old, &state_file, &root)?;
    if !ended.cancelled {
        match options.store_limit.map_or_else(|| localstore::default_limit(&root), |limit| Ok(limit.0)) {
            Ok(limit) => keep_within(&root, limit, ended.store_size, options.verbose),
            Err(error) => eprintln!("ninja2drv: warning: the store has no limit: {error}: {}", error.source),
        }
    }
    Ok(ended.success)
}

/// How a run ended.
struct Ended {
    success: bool,
    cancelled: bool,
    /// The store takes no more, as NARs.
    store_size: u64,
}

fn build(
    options: &Options,
    directory: &Path,
    targets: &[BString],
    old: &State,
    state_file: &Path,
    root: &Path,
) -> Result<Ended, Error> {
    let store = Arc::new(LocalStore::open(root)?);
    warn(store.warnings().iter());
    let runner = store.install_runner(&env::current_exe()?.with_file_name(localstore::runner::NAME))?;
    if options.verbose {
        tell_of_runner(&store, &runner)?;
    }
    let manifest = current_manifest(directory, &options.file)?;
    let wanted = wanted(&manifest.graph, targets)?;
    let plan = Plan::new(&manifest.graph, &wanted)?;
    let cancelled = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, cancelled.clone())?;
    }
    let toolchains = Toolchains::new(store.clone(), &store.layout().own(), &store.layout().builds());
    let tools = HostTools::new(toolchains, Box::new(tell_of_snapshot));
    let drive = Drive {
        graph: &manifest.graph,
        store: &*store,
        tools: &tools,
        runner,
        jobs: if options.jobs == 0 {
            std::thread::available_parallelism().map_or(2, usize::from)
        } else {
            options.jobs
        },
        failures: if options.failures == 0 { usize::MAX } else { options.failures },
        cancelled: &cancelled,
    };
    let commands = plan.order.iter().filter(|edge| !manifest.graph.edge(**edge).phony).count();
    let mut teller = Teller { graph: &manifest.graph, verbose: options.verbose, commands, told: 0, ran: 0, reused: 0 };
    let (success, mut state) = drive.run(&plan, old, &mut |event| teller.tell(event))?;
    for file in &manifest.files {
        let path = splitter::graph::absolute(file.as_bstr(), manifest.graph.working_directory());
        let identity = splitter::identity::Identity::of(to_path(path.as_bstr()));
        state.watched.push((path, identity));
    }
    state.complete = success.then(|| targets.to_vec());
    state.write(state_file).map_err(|e| format!("cannot write `{}`: {e}", state_file.display()))?;
    tools.save()?;
    teller.end(success);
    Ok(Ended { success, cancelled: cancelled.load(Ordering::Relaxed), store_size: store.size_at_most()? })
}

fn warn<'a>(warnings: impl Iterator<Item = &'a Warning>) {
    for warning in warnings {
        eprintln!("ninja2drv: warning: {warning}");
    }
}

/// Says which runner is a part of every key, and whether other machines have the same.
fn tell_of_runner(store: &LocalStore, runner: &StorePath) -> Result<(), Error> {
    let info = store.path_infos(std::slice::from_ref(runner))?.remove(0).expect("it was just installed");
    let path = store.store_dir().print(runner);
    match Pin::of(&info.nar_hash) {
        pin @ Pin::Differs { .. } => println!("ninja2drv: runner: `{path}`\nninja2drv: note: this runner {pin}"),
        pin => println!("ninja2drv: runner: `{path}` ({pin})"),
    }
    Ok(())
}

/// Makes the store smaller if its `size` is above `limit`. A tenth is left free, so that not every run has to. The
/// build is done: what goes wrong now is only told.
fn keep_within(root: &Path, limit: u64, size: u64, verbose: bool) {
    if size <= limit {
        return;
    }
    match localstore::evict(root, limit - limit / 10) {
        Ok(Evicted::Deleted { paths, bytes, left }) => {
            let (limit, left, bytes) = (Size(limit), Size(left), Size(bytes));
            eprintln!("ninja2drv: store: above its limit of {limit}: deleted {paths} paths, {bytes}; {left} left");
        }
        Ok(Evicted::InUse) if verbose => {
            eprintln!("ninja2drv: store: above its limit of {}, but in use by another build", Size(limit));
        }
        Ok(Evicted::InUse | Evicted::WithinLimit) => {}
        Err(error) => eprintln!("ninja2drv: warning: the store could not be made smaller: {error}"),
    }
}

/// Says what a new snapshot of the host's tools holds.
fn tell_of_snapshot(snapshot: &Snapshot) {
    if let Some(time) = snapshot.made_in {
        println!(
            "ninja2drv: toolchain snapshot: {} packages, {} files, {} MB, made in {:.1} s",
            snapshot.selection.packages.len(),
            snapshot.files,
            snapshot.bytes / 1_000_000,
            time.as_secs_f64()
        );
        snapshot.notes.iter().for_each(|note| println!("ninja2drv: toolchain snapshot: {note}"));
    }
}

/// Reads the manifest, after an edge that makes it has been run if its inputs are newer, as ninja does.
fn current_manifest(directory: &Path, file: &Path) -> Result<Manifest, Error> {
    for _ in 0..100 {
        let mut load = |path: &BStr| fs::read(directory.join(to_path(path)));
        let manifest = manifest::parse(
            directory.as_os_str().as_bytes().as_bstr(),
            file.as_os_str().as_bytes().as_bstr(),
            &mut load,
        )
        .map_err(|e| format!("error: {e}"))?;
        for warning in &manifest.warnings {
            eprintln!("ninja2drv: warning: {warning}");
        }
        let maker =
            manifest.graph.find(file.as_os_str().as_bytes().as_bstr()).and_then(|id| manifest.graph.file(id).maker);
        let Some(edge) = maker.filter(|edge| is_outdated(&manifest.graph, *edge, file)) else { return Ok(manifest) };
        let command = manifest.graph.command(edge);
        println!("[0/1] {}", if command.description.is_empty() { &command.text } else { &command.description });
        let status =
            std::process::Command::new("/bin/sh").arg("-c").arg(std::ffi::OsStr::from_bytes(&command.text)).status()?;
        if !status.success() {
            return Err(format!("rebuilding `{}` failed: {status}", file.display()).into());
        }
    }
    Err(format!("`{}` is still outdated after 100 regenerations", file.display()).into())
}

fn is_outdated(graph: &Graph, edge: EdgeId, file: &Path) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let made = modified(file);
    let newer =
        |input: &FileId| modified(to_path(graph.file(*input).path.as_bstr())).is_none_or(|time| Some(time) > made);
    !graph.edge(edge).phony && graph.edge(edge).dirtying().iter().any(newer)
}

fn wanted(graph: &Graph, targets: &[BString]) -> Result<Vec<FileId>, Error> {
    if targets.is_empty() {
        return Ok(if graph.defaults.is_empty() { graph.roots() } else { graph.defaults.clone() });
    }
    let find = |target: &BString| {
        graph.find(target.as_bstr()).ok_or_else(|| Error::from(format!("unknown target `{target}`")))
    };
    targets.iter().map(find).collect()
}

fn to_path(path: &BStr) -> &Path {
    splitter::discover::to_path(path)
}

/// Tells the user what was done.
struct Teller<'a> {
    graph: &'a Graph,
    verbose: bool,
    commands: usize,
    told: usize,
    ran: usize,
    reused: usize,
}

impl Teller<'_> {
    fn tell(&mut self, event: Event) {
        self.told += 1;
        let command = self.graph.command(event.edge);
        let name = self
            .graph
            .edge(event.edge)
            .outputs
            .first()
            .map(|file| self.graph.file(*file).path.clone())
            .unwrap_or_default();
        let what = if command.description.is_empty() { &command.text } else { &command.description };
        let count = format!("[{}/{}]", self.told, self.commands);
        match &event.done {
            Done::UpToDate if self.verbose => println!("{count} up to date {name}"),
            Done::UpToDate => {}
            Done::Reused(reason) => {
                self.reused += 1;
                println!("{count} reused {name} ({reason})");
            }
            Done::Ran(reason) => {
                self.ran += 1;
                println!("{count} {what} ({reason})");
            }
            Done::Failed(_) => println!("FAILED: {name}\n{}", command.text),
        }
        let mut out = std::io::stdout().lock();
        out.write_all(&event.log).ok(); // nobody listens any more
        drop(out);
        if let Done::Failed(error) = &event.done {
            println!("ninja2drv: {}: cannot make `{name}`: {error}", self.graph.edge(event.edge).location);
            let mut cause = error.source();
            while let Some(error) = cause {
                println!("  because: {error}");
                cause = error.source();
            }
        }
    }

    fn end(&self, success: bool) {
        let rest = self.told - self.ran - self.reused;
        let end = if success { "done" } else { "ninja: build stopped: subcommand failed." };
        println!("ninja2drv: {} ran, {} reused, {rest} up to date; {end}", self.ran, self.reused);
    }
}
