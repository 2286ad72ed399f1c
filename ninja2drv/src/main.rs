//! The `ninja2drv` command: a build directory that CMake or Meson configured, built edge by edge in a store.

mod places;
mod regenerate;
mod report;
mod rounds;
mod stores;
mod tracing;

use crate::report::say;
use bstr::{BStr, BString, ByteSlice as _};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser};
use localstore::{Choice, Place, Size, Warning};
use ninja2drv::manifest::Manifest;
use ninja2drv::tools::{self, Call, Stop, Tool};
use nixstore::StorePath;
use nixstore::causes::causes;
use nixstore::daemon_store::Way;
use regenerate::Current;
use report::Teller;
use rounds::Dyndeps;
use splitter::discover::to_path;
use splitter::drive::{Drive, Error, Sandbox, lock};
use splitter::host_tools::HostTools;
use splitter::plan::Plan;
use splitter::roots::Mode;
use splitter::state::{self, Records, State};
use splitter::toolchain::Toolchains;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{BufWriter, ErrorKind, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, fs};
use stores::Opened;
use tracing::Tracing;

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
    /// The store: `auto`, `local?root=DIR` for the embedded store in DIR, or DIR itself; `daemon`, `unix://SOCKET` or
    /// `ssh-ng://HOST` for a Nix daemon.
    #[arg(long, value_name = "URL", env = "SPLITTER_STORE", default_value = "auto")]
    store: OsString,
    /// What the store may take, such as `20G`: when a run has ended, what was used longest ago is deleted. Default: 20
    /// GiB, or a tenth of the disk if that is less.
    #[arg(long, value_name = "SIZE", env = "SPLITTER_STORE_LIMIT")]
    store_limit: Option<Size>,
    /// How a Nix daemon realises edges: `stock`, without experimental features; `ca`, by `ca-derivations`; `recursive`,
    /// inside of a derivation. By default what it offers.
    #[arg(long, value_name = "WAY", env = "SPLITTER_REALISE")]
    realise: Option<Way>,
    /// A link that keeps what was built from the daemon's garbage collection. Default: `.splitter/outputs` in the build
    /// directory.
    #[arg(long, value_name = "LINK", env = "SPLITTER_KEEP")]
    keep: Option<PathBuf>,
    /// Which commands run as if the checkout lay at /build/source, so that other checkouts share their results: `same`
    /// (none), `auto` (those whose outputs cannot hold a path), `canonical` (all that do not name the checkout).
    #[arg(long, value_name = "MODE", env = "SPLITTER_ROOT_MODE", default_value = "auto")]
    root: Mode,
    /// Another directory of the project that may lie anywhere, and a name for it.
    #[arg(long, value_name = "DIR=NAME")]
    map: Vec<String>,
    /// What commands see of the host: `on`, nothing but their inputs; `off`, everything: they run where they are, and are
    /// traced; `auto`, on where the host allows it.
    #[arg(long, value_name = "WHEN", env = "SPLITTER_SANDBOX", default_value = "auto")]
    sandbox: Wish,
    /// From what was learnt of a command, give it only the headers that its depfile has named; others are there and empty.
    /// Then an edit in one of these is no other key in other checkouts either.
    #[arg(long)]
    exact: bool,
    /// Compare what commands do with files with what the build file says; see `.splitter/tracing.txt` and `.json`. With
    /// `error`, differences fail the run.
    #[arg(long, value_name = "WHEN", default_value = "never")]
    tracing: Tracing,
    /// One of ninja's tools, and its arguments; `list` lists them.
    #[arg(short = 't', value_name = "TOOL", num_args = 1.., allow_hyphen_values = true)]
    tool: Vec<OsString>,
    /// What to build; by default what the build file says. `FILE^` is what is made of FILE.
    targets: Vec<OsString>,
}

/// When commands run in a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Wish {
    Auto,
    On,
    Off,
}

impl Wish {
    fn word(self) -> &'static BStr {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        }
        .into()
    }
}

fn main() -> ExitCode {
    let words = Options::command().get_matches();
    let options = Options::from_arg_matches(&words).unwrap_or_else(|error| error.exit());
    match run(&options, &again(&words)) {
        Ok(End::Success) => ExitCode::SUCCESS,
        Ok(End::Failure | End::Differs) => ExitCode::FAILURE,
        // Ninja 1.13, `ExitInterrupted`: what a shell says of a program that Ctrl-C ended.
        Ok(End::Interrupted) => ExitCode::from(130),
        Err(error) => {
            eprintln!("ninja2drv: {error}");
            for cause in causes(&*error) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

/// This command without its targets: with another, it builds that in the same way.
fn again(words: &ArgMatches) -> Vec<OsString> {
    let mut again: Vec<OsString> = env::args_os().take(1).collect();
    for (id, option) in [
        ("directory", "-C"),
        ("file", "-f"),
        ("store", "--store"),
        ("realise", "--realise"),
        ("keep", "--keep"),
        ("root", "--root"),
        ("map", "--map"),
        ("sandbox", "--sandbox"),
    ] {
        if words.value_source(id) == Some(ValueSource::CommandLine) {
            again.extend(words.get_raw(id).into_iter().flatten().flat_map(|value| [option.into(), value.to_owned()]));
        }
    }
    again
}

/// Where a build directory keeps what is ours.
const OWN: &str = ".splitter";

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Success,
    Failure,
    /// All edges succeeded, and some do with files what the build file does not say.
    Differs,
    /// By a signal; what was done until then is kept.
    Interrupted,
}

fn run(options: &Options, again: &[OsString]) -> Result<End, Error> {
    if let Some(directory) = &options.directory {
        if options.tool.is_empty() {
            say!("ninja2drv: Entering directory `{}'", directory.display());
        }
        env::set_current_dir(directory).map_err(|e| format!("cannot enter `{}`: {e}", directory.display()))?;
    }
    if let Some((tool, arguments)) = options.tool.split_first() {
        let mode = tools::Mode { verbose: options.verbose, dry_run: false };
        return use_tool(tool, arguments, &options.file, mode);
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
    localstore::runner::put_back(&own);
    let is_up_to_date = || read_own::<State>(&own.join("state")).is_up_to_date(&targets, options.sandbox.word());
    if options.tracing == Tracing::Never && is_up_to_date() {
        say!("ninja: no work to do.");
        return Ok(End::Success);
    }
    warn(Warning::about(Place::BuildState, &own)?.iter());
    let choice = localstore::store_of(&options.store, |name| env::var_os(name), &directory)?;
    if options.verbose {
        match &choice {
            Choice::Embedded(root) => say!("ninja2drv: store: embedded, in `{}`", root.display()),
            Choice::Daemon { shown, .. } => say!("ninja2drv: store: {shown}"),
        }
    }
    let jobs = match options.jobs {
        0 => std::thread::available_parallelism().map_or(2, usize::from),
        jobs => jobs,
    };
    let opened = Opened::open(&choice, options, jobs)?;
    let Ended { end, outputs } = build(options, again, &directory, &targets, &own, &opened, jobs)?;
    localstore::runner::put_back(&own);
    if end != End::Interrupted {
        opened.end(&outputs, &own, options);
    }
    Ok(end)
}

/// Does what `-t` asks for.
fn use_tool(name: &OsStr, arguments: &[OsString], file: &Path, mode: tools::Mode) -> Result<End, Error> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let used = match name.as_bytes() {
        b"list" => tools::list(&mut out).map_err(Stop::from),
        name => Tool::find(name.as_bstr()).and_then(|tool| {
            let directory = env::current_dir()?;
            let mut load = |path: &BStr| fs::read(directory.join(to_path(path)));
            let arguments: Vec<BString> = arguments.iter().map(|argument| argument.as_bytes().into()).collect();
            let [directory, file] = [&directory, file].map(|path| path.as_os_str().as_bytes().as_bstr());
            tool.run(&Call { directory, file, arguments: &arguments, mode }, &mut load, &mut out)
        }),
    };
    match used.and_then(|()| Ok(out.flush()?)) {
        Ok(()) => return Ok(End::Success),
        Err(Stop::Usage(usage, problem)) => {
            problem.into_iter().for_each(|problem| eprintln!("{problem}"));
            out.write_all(usage.as_bytes()).and_then(|()| out.flush()).ok(); // nobody listens any more
        }
        Err(Stop::Error(error)) => eprintln!("ninja: error: {error}"),
        Err(Stop::Fatal(error)) => eprintln!("ninja: fatal: {error}"),
        Err(Stop::Exit(code)) => {
            out.flush().ok(); // nobody listens any more
            std::process::exit(code.into());
        }
        Err(Stop::Write(error)) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(Stop::Write(error)) => return Err(format!("cannot write to standard output: {error}").into()),
    }
    Ok(End::Failure)
}

/// Reads a file of ours; one that is spoilt is named, and as good as none.
fn read_own<T: serde::de::DeserializeOwned + Default>(file: &Path) -> T {
    state::read(file).unwrap_or_else(|problem| {
        eprintln!("ninja2drv: warning: `{}` is not used: {problem}", file.display());
        T::default()
    })
}

/// How a build ended.
struct Ended {
    end: End,
    /// The outputs of the build, whether or not this run had to look at them.
    outputs: BTreeSet<StorePath>,
}

fn build(
    options: &Options,
    again: &[OsString],
    directory: &Path,
    targets: &[BString],
    own: &Path,
    opened: &Opened,
    jobs: usize,
) -> Result<Ended, Error> {
    let mut old: Records = read_own(&own.join("records"));
    let Opened { store, runner, sandbox, .. } = opened;
    if options.verbose {
        opened.tell();
        report::tell_of_runner(&**store, runner)?;
    }
    let Current { manifest, always } = regenerate::current_manifest(directory, &options.file)?;
    let Manifest { mut graph, files, .. } = manifest;
    let wanted = regenerate::wanted(&graph, targets)?;
    let mut dyndeps = Dyndeps::default();
    let mut plan = Plan::new(&graph, &wanted)?;
    let cancelled = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, cancelled.clone())?;
    }
    let toolchains = Toolchains::new(store.clone(), &opened.own, &opened.scratch);
    let tools = HostTools::new(toolchains, Box::new(report::tell_of_snapshot));
    let history = places::open_history();
    let roots = places::roots(options, directory)?;
    let failures = if options.failures == 0 { usize::MAX } else { options.failures };
    let mut teller = Teller::new(options.verbose, again);
    let (success, mut state, records) = loop {
        let files = dyndeps.next(&graph, &plan)?;
        let round = if files.is_empty() { plan } else { Plan::new(&graph, &files)? };
        teller.begin(&graph, &round);
        let drive = Drive {
            graph: &graph,
            store: &**store,
            tools: &tools,
            runner: runner.clone(),
            history: history.as_ref(),
            roots: roots.clone(),
            mode: if *sandbox == Sandbox::None { Mode::Same } else { options.root },
            sandbox: *sandbox,
            exact: options.exact,
            audited: options.tracing != Tracing::Never,
            jobs,
            failures,
            cancelled: &cancelled,
        };
        let (success, state, records) = drive.run(&round, &old, &mut |event| teller.tell(&graph, event))?;
        if files.is_empty() || !success {
            break (success, state, records);
        }
        old = records;
        files.into_iter().try_for_each(|file| dyndeps.load(&mut graph, file))?;
        plan = Plan::new(&graph, &wanted)?;
    };
    let dyndep_files = dyndeps.files().map(|file| graph.file(file).path.clone());
    for file in files.into_iter().chain(dyndep_files) {
        let path = splitter::graph::absolute(file.as_bstr(), graph.working_directory());
        let identity = splitter::identity::Identity::of(to_path(path.as_bstr()));
        state.watched.push((path, identity));
    }
    state.sandbox = options.sandbox.word().into();
    state.complete = (success && !always).then(|| targets.to_vec());
    let written = state::write(&records, &own.join("records")).and_then(|()| state::write(&state, &own.join("state")));
    written.map_err(|e| format!("cannot write the state of this build in `{}`: {e}", own.display()))?;
    let differs = options.tracing != Tracing::Never && tracing::report(&graph, &records, own)?;
    tools.save()?;
    history.as_ref().inspect(|history| places::save(history));
    let end = match (success, cancelled.load(Ordering::Relaxed)) {
        (true, _) if differs && options.tracing == Tracing::Error => End::Differs,
        (true, _) => End::Success,
        (false, true) => End::Interrupted,
        (false, false) => End::Failure,
    };
    teller.end(end);
    let outputs = records.by_name.values().flat_map(|record| record.outputs.values().flatten());
    let outputs = outputs.filter_map(|path| path.parse().ok()).collect();
    Ok(Ended { end, outputs })
}

fn warn<'a>(warnings: impl Iterator<Item = &'a Warning>) {
    for warning in warnings {
        eprintln!("ninja2drv: warning: {warning}");
    }
}
