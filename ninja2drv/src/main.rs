//! The `ninja2drv` command: a build directory that CMake or Meson configured, built edge by edge in a store.

use bstr::{BStr, BString, ByteSlice as _};
use clap::Parser;
use ninja2drv::manifest::{self, Manifest};
use splitter::drive::{Done, Drive, Error, Event, lock};
use splitter::graph::{EdgeId, FileId, Graph};
use splitter::history::History;
use splitter::host_tools::HostTools;
use splitter::plan::Plan;
use splitter::roots::{Mode, Roots};
use splitter::state::{self, Records, State};
use splitter::toolchain::{Snapshot, Toolchains};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
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
    /// The store: `auto`, or `local?root=DIR` for the embedded store in DIR.
    #[arg(long, value_name = "URL", env = "SPLITTER_STORE", default_value = "auto")]
    store: String,
    /// Which commands run as if the checkout lay at /build/source, so that other checkouts share their results: `same`
    /// (none), `auto` (those whose outputs cannot hold a path), `canonical` (all that do not name the checkout).
    #[arg(long, value_name = "MODE", env = "SPLITTER_ROOT_MODE", default_value = "auto")]
    root: Mode,
    /// Another directory of the project that may lie anywhere, and a name for it.
    #[arg(long, value_name = "DIR=NAME")]
    map: Vec<String>,
    /// What to build; by default what the build file says.
    targets: Vec<std::ffi::OsString>,
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
    if read_own::<State>(&own.join("state")).is_up_to_date(&targets) {
        println!("ninja: no work to do.");
        return Ok(true);
    }
    build(options, &directory, &targets, &own)
}

/// Reads a file of ours; one that is spoilt is named, and as good as none.
fn read_own<T: serde::de::DeserializeOwned + Default>(file: &Path) -> T {
    state::read(file).unwrap_or_else(|problem| {
        eprintln!("ninja2drv: warning: `{}` is not used: {problem}", file.display());
        T::default()
    })
}

fn build(options: &Options, directory: &Path, targets: &[BString], own: &Path) -> Result<bool, Error> {
    let old: Records = read_own(&own.join("records"));
    let store = Arc::new(open_store(options)?);
    let runner = store.install_runner(&env::current_exe()?.with_file_name("splitter-runner"))?;
    let manifest = current_manifest(directory, &options.file)?;
    let wanted = wanted(&manifest.graph, targets)?;
    let plan = Plan::new(&manifest.graph, &wanted)?;
    let cancelled = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, cancelled.clone())?;
    }
    let toolchains = Toolchains::new(store.clone(), &store.layout().own(), &store.layout().builds());
    let tools = HostTools::new(toolchains, Box::new(tell_of_snapshot));
    let history = open_history();
    let drive = Drive {
        graph: &manifest.graph,
        store: &*store,
        tools: &tools,
        runner,
        history: history.as_ref(),
        roots: roots(options, directory)?,
        mode: options.root,
        jobs: if options.jobs == 0 {
            std::thread::available_parallelism().map_or(2, usize::from)
        } else {
            options.jobs
        },
        failures: if options.failures == 0 { usize::MAX } else { options.failures },
        cancelled: &cancelled,
    };
    let commands = plan.order.iter().filter(|edge| !manifest.graph.edge(**edge).phony).count();
    let mut teller =
        Teller { graph: &manifest.graph, verbose: options.verbose, commands, told: 0, ran: 0, reused: 0, failed: 0 };
    let (success, mut state, records) = drive.run(&plan, &old, &mut |event| teller.tell(event))?;
    for file in &manifest.files {
        let path = splitter::graph::absolute(file.as_bstr(), manifest.graph.working_directory());
        let identity = splitter::identity::Identity::of(to_path(path.as_bstr()));
        state.watched.push((path, identity));
    }
    state.complete = success.then(|| targets.to_vec());
    let written = state::write(&records, &own.join("records")).and_then(|()| state::write(&state, &own.join("state")));
    written.map_err(|e| format!("cannot write the state of this build in `{}`: {e}", own.display()))?;
    tools.save()?;
    if let Some(history) = &history {
        history.save()?;
    }
    teller.end(success);
    Ok(success)
}

/// The directories of the project: the checkout, and those that the user names.
fn roots(options: &Options, directory: &Path) -> Result<Roots, Error> {
    let checkout = match env::var_os("SPLITTER_ROOT") {
        Some(root) => Some(fs::canonicalize(&root).map_err(|e| format!("SPLITTER_ROOT `{}`: {e}", root.display()))?),
        None => Roots::checkout(directory),
    };
    let mut named: Vec<(PathBuf, String)> = checkout.map(|root| (root, "source".to_owned())).into_iter().collect();
    for map in &options.map {
        let (root, name) = map.rsplit_once('=').ok_or_else(|| format!("`--map {map}` is not of the form DIR=NAME"))?;
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(format!("`--map {map}`: `{name}` is no name for a directory").into());
        }
        named.push((fs::canonicalize(root).map_err(|e| format!("`--map {map}`: {e}"))?, name.to_owned()));
    }
    Ok(Roots::new(named.into_iter().map(|(root, name)| (root.as_os_str().as_bytes().into(), name.into()))))
}

/// The user's history; a build goes on without one.
fn open_history() -> Option<History> {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let directory = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute()).or_else(home)?;
    let file = directory.join("splitter/history.sqlite");
    match History::open(&file) {
        Ok(history) => Some(history),
        Err(e) => {
            eprintln!("ninja2drv: warning: the history `{}` is not used: {e}", file.display());
            None
        }
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

fn open_store(options: &Options) -> Result<localstore::LocalStore, Error> {
    let root = match options.store.as_str() {
        "auto" | "local" => localstore::default_root(env::var_os("XDG_DATA_HOME"), env::var_os("HOME"))
            .ok_or("neither XDG_DATA_HOME nor HOME is set; name a store by --store 'local?root=DIR'")?,
        url => PathBuf::from(
            url.strip_prefix("local?root=")
                .ok_or_else(|| format!("store `{url}` is not supported yet; use `auto` or `local?root=DIR`"))?,
        ),
    };
    if options.verbose {
        println!("ninja2drv: store: embedded, in `{}`", root.display());
    }
    let store = localstore::LocalStore::open(&root)?;
    for warning in store.warnings() {
        eprintln!("ninja2drv: warning: {warning}");
    }
    Ok(store)
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
    failed: usize,
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
                if self.verbose {
                    println!("{count} reused {name} ({reason})");
                }
            }
            Done::Ran(reason) => {
                self.ran += 1;
                println!("{count} {what} ({reason})");
                if let Some(word) = event.bound.as_ref().filter(|_| self.verbose) {
                    println!("      bound to this path by {word}");
                }
            }
            Done::Failed(_) => {
                self.failed += 1;
                println!("FAILED: {name}\n{}", command.text);
            }
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
        let rest = self.told - self.ran - self.reused - self.failed;
        let end = if success { "done" } else { "ninja: build stopped: subcommand failed." };
        println!("ninja2drv: {} ran, {} reused, {rest} up to date; {end}", self.ran, self.reused);
    }
}
