//! The `ninja2drv` command: a build directory that CMake or Meson configured, built edge by edge in a store.

mod dry;
mod leave;
mod options;
mod places;
mod regenerate;
mod report;
mod rounds;
mod status;
mod stores;
mod terminal;
mod tracing;

use crate::report::say;
use bstr::{BStr, BString, ByteSlice as _};
use leave::{Ran, Times};
use localstore::{Choice, Place, Warning};
use ninja2drv::manifest::Manifest;
use ninja2drv::tools::{self, Call, Stop, Tool};
use nixstore::StorePath;
use nixstore::causes::causes;
use options::Options;
use regenerate::Current;
use report::Teller;
use rounds::Dyndeps;
use splitter::discover::to_path;
use splitter::drive::{Drive, Error, Keep, News, Sandbox, lock};
use splitter::host_tools::HostTools;
use splitter::plan::Plan;
use splitter::roots::Mode;
use splitter::state::{self, Records, State};
use splitter::toolchain::{Snapshot, Toolchains};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{BufWriter, ErrorKind, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, fs};
use stores::Opened;
use tracing::Tracing;

fn main() -> ExitCode {
    let (options, again) = match Options::read() {
        Ok(read) => read,
        Err(code) => return code,
    };
    match run(&options, &again) {
        Ok(End::Success | End::Dry) => ExitCode::SUCCESS,
        Ok(End::Failure(code)) => ExitCode::from(code),
        Ok(End::Differs) => ExitCode::FAILURE,
        // Ninja 1.13, `ExitInterrupted`: what a shell says of a program that Ctrl-C ended.
        Ok(End::Interrupted) => ExitCode::from(130),
        Err(error) => {
            eprintln!("ninja: error: {error}");
            for cause in causes(&*error) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

/// How many commands at once where there is no limit; each waits in a thread of its own.
const MOST_JOBS: usize = 512;

/// Where a build directory keeps what is ours.
const OWN: &str = ".splitter";

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Success,
    /// Nothing was done, as was asked for.
    Dry,
    /// With the exit code of the command that failed last.
    Failure(u8),
    /// All edges succeeded, and some do with files what the build file does not say.
    Differs,
    /// By a signal; what was done until then is kept.
    Interrupted,
}

fn run(options: &Options, again: &[OsString]) -> Result<End, Error> {
    if let Some(directory) = &options.directory {
        if options.tool.is_empty() && !options.quiet {
            say!("ninja: Entering directory `{}'", directory.display());
        }
        env::set_current_dir(directory).map_err(|e| format!("chdir to '{}': {e}", directory.display()))?;
    }
    if let Some((tool, arguments)) = options.tool.split_first() {
        let mode = tools::Mode { verbose: options.verbose, dry_run: options.dry };
        return use_tool(tool, arguments, &options.file, mode);
    }
    let targets = options.targets();
    let directory = env::current_dir()?;
    let own = directory.join(OWN);
    if !directory.join(&options.file).exists() {
        return Err(format!(
            "loading '{}': No such file or directory; configure with CMake or Meson first, or name it by -f",
            options.file.display(),
        )
        .into());
    }
    if options.dry {
        return dry::tell(options, again, &directory, &targets);
    }
    let _lock = lock(&own, &mut || {
        eprintln!("ninja2drv: another run is at work in `{}`; waiting for it", directory.display())
    })?;
    localstore::runner::put_back(&own);
    let is_up_to_date = || read_own::<State>(&own.join("state")).is_up_to_date(&targets, options.sandbox.word());
    if options.tracing == Tracing::Never && is_up_to_date() {
        if !options.quiet {
            say!("ninja: no work to do.");
        }
        return Ok(End::Success);
    }
    warn(Warning::about(Place::BuildState, &own)?.iter());
    let choice = localstore::store_of(&options.store, |name| env::var_os(name), &directory)?;
    if options.debugs("explain") {
        match &choice {
            Choice::Embedded(root) => say!("ninja2drv: store: embedded, in `{}`", root.display()),
            Choice::Daemon { shown, .. } => say!("ninja2drv: store: {shown}"),
        }
    }
    let jobs = options.jobs().min(MOST_JOBS);
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
    Ok(End::Failure(1))
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
    if options.debugs("explain") {
        opened.tell();
        report::tell_of_runner(&**store, runner)?;
    }
    let Current { manifest, always } = regenerate::current_manifest(directory, options)?;
    let Manifest { mut graph, files, .. } = manifest;
    let wanted = regenerate::wanted(&graph, targets)?;
    let mut dyndeps = Dyndeps::default();
    let mut plan = Plan::new(&graph, &wanted)?;
    let cancelled = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, cancelled.clone())?;
    }
    let toolchains = Toolchains::new(store.clone(), &opened.own, &opened.scratch);
    let tools = HostTools::new(toolchains, tell_of_snapshot(options.quiet));
    let history = places::open_history();
    let roots = places::roots(options, directory)?;
    let mut teller = Teller::new(options, again)?;
    let jobserver = places::jobserver(options, jobs)?;
    let mut times = Times::new();
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
            jobserver: jobserver.as_ref(),
            load: options.load,
            failures: options.failures(),
            keep: Keep { depfiles: options.debugs("keepdepfile"), response_files: options.debugs("keeprsp") },
            cancelled: &cancelled,
        };
        let (success, state, records) = drive.run(&round, &old, &mut |news| {
            times.note(&news);
            if let News::Over(records) = news {
                let (store, roots, times) = (&**store, &roots, &times);
                Ran { directory, graph: &graph, records, store, roots, times }.leave_logs(options);
            }
            teller.tell(&graph, news);
        })?;
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
        (false, false) => End::Failure(teller.code()),
    };
    teller.end(end);
    let outputs = records.by_name.values().flat_map(|record| record.outputs.values().flatten());
    let outputs = outputs.filter_map(|path| path.parse().ok()).collect();
    Ok(Ended { end, outputs })
}

fn tell_of_snapshot(quiet: bool) -> Box<dyn Fn(&Snapshot) + Send + Sync> {
    if quiet { Box::new(|_| {}) } else { Box::new(report::tell_of_snapshot) }
}

fn warn<'a>(warnings: impl Iterator<Item = &'a Warning>) {
    for warning in warnings {
        eprintln!("ninja2drv: warning: {warning}");
    }
}
