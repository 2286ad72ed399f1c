//! The `ninja2drv` command: a build directory that CMake or Meson configured, built edge by edge in a store.

mod adopt;
mod build;
mod dry;
mod leave;
mod options;
mod owner;
mod places;
mod regenerate;
mod report;
mod rounds;
mod stats;
mod status;
mod terminal;
mod tracing;

use crate::report::say;
use bstr::{BStr, BString, ByteSlice as _};
use build::Ended;
use frontend::{Opened, Want};
use localstore::{Choice, Place, Warning};
use ninja2drv::reason;
use ninja2drv::tools::{self, Call, Stop, Tool};
use nixstore::causes::causes;
use options::Options;
use owner::Owner;
use splitter::discover::to_path;
use splitter::drive::{Error, lock};
use splitter::state;
use std::ffi::{OsStr, OsString};
use std::io::{BufWriter, ErrorKind, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;
use std::{env, fs};
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
        Ok(End::Interrupted) => ExitCode::from(INTERRUPTED),
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

/// What a shell says of a program that Ctrl-C ended (Ninja 1.13, `ExitInterrupted`).
const INTERRUPTED: u8 = 130;

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
        if let Err(error) = env::set_current_dir(directory) {
            eprintln!("ninja: fatal: chdir to '{}' - {}", directory.display(), reason(&error));
            return Ok(End::Failure(1));
        }
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
    let _owner = Owner::of(&directory);
    // An edge of the same directory has started this run, and waits for it: then ninja keeps nobody apart either.
    let is_within = places::outer().any(|outer| outer == directory);
    let _lock = match is_within {
        true => None,
        false => Some(lock(&own, &mut || {
            eprintln!("ninja2drv: another run is at work in `{}`; waiting for it", directory.display())
        })?),
    };
    if !is_within {
        localstore::runner::put_back(&own);
    }
    let is_up_to_date = || {
        let [file, here] = [&options.file, &directory].map(|path| path.as_os_str().as_bytes().as_bstr());
        let state = own.join("state");
        let isolation = options.isolation();
        usable(&state, state::is_up_to_date(&state, &targets, file, isolation.as_bstr(), here))
    };
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
    let want = Want { isolation: options.sandbox.into(), way: options.realise, jobs, expected: None };
    let opened = Opened::open(&choice, &want, &complain)?;
    let Ended { end, outputs } = build::build(options, again, &directory, &targets, &own, &opened, jobs)?;
    if !is_within {
        localstore::runner::put_back(&own);
    }
    if end != End::Interrupted {
        let keep = Some(options.keep.clone().unwrap_or_else(|| own.join("outputs")));
        let verbose = options.debugs("explain");
        let now = SystemTime::now();
        let uses = || outputs.iter().map(|output| (output.clone(), now)).collect();
        opened.end(&frontend::End { limit: options.store_limit, keep, outputs: &uses, verbose }, &complain);
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
    usable(file, state::read(file))
}

/// What was read of a file of ours; of one that is spoilt nothing is.
fn usable<T: Default>(file: &Path, read: Result<T, String>) -> T {
    read.unwrap_or_else(|problem| {
        eprintln!("ninja2drv: warning: `{}` is not used: {problem}", file.display());
        T::default()
    })
}

/// Says to the user what is no part of the build's own output.
fn complain(phrase: &str) {
    eprintln!("ninja2drv: {phrase}");
}

fn warn<'a>(warnings: impl Iterator<Item = &'a Warning>) {
    for warning in warnings {
        eprintln!("ninja2drv: warning: {warning}");
    }
}
