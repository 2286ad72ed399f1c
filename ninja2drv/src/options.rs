//! The command line: ninja's, and what is ours.

use crate::tracing::Tracing;
use bstr::{BStr, BString};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser};
use frontend::Isolation;
use localstore::Size;
use nixstore::daemon_store::Way;
use splitter::roots::Mode;
use std::env;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// What CMake, Meson and others take for the version of a ninja: that of the language, then ours.
pub const VERSION: &str = concat!("1.13.2.splitter-", env!("CARGO_PKG_VERSION"));

/// Builds as ninja does, with every command a derivation of its own in a Nix-compatible store.
// Of an option that is given twice the last counts, as with ninja: scripts add theirs to those of others.
#[derive(Debug, Parser)]
#[command(name = "ninja2drv", disable_version_flag = true, args_override_self = true)]
pub struct Options {
    /// Print the version of ninja whose language is spoken, with ours at its end.
    #[arg(long)]
    pub version: bool,
    /// Show whole commands.
    #[arg(short, long)]
    pub verbose: bool,
    /// Show no progress, only what commands print.
    #[arg(long)]
    pub quiet: bool,
    /// Change to DIR before doing anything else.
    #[arg(short = 'C', value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// The build file.
    #[arg(short = 'f', value_name = "FILE", default_value = "build.ninja")]
    pub file: PathBuf,
    /// How many commands at once; 0 is without end. Default: two more than there are processors.
    #[arg(short = 'j', value_name = "N")]
    pub jobs: Option<usize>,
    /// Keep going until N commands have failed; 0 is without end.
    #[arg(short = 'k', value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
    pub failures: i64,
    /// Start no commands while the load average is greater than N.
    #[arg(short = 'l', value_name = "N", allow_negative_numbers = true)]
    pub load: Option<f64>,
    /// Let the commands that run where they are share the N of `-j`: as GNU make's job server by a `fifo` (make 4.4 and
    /// later) or a `pipe`. A job server that runs already is used without being asked, unless there is a `-j`.
    #[arg(long, value_name = "STYLE")]
    pub jobserver: Option<Jobserver>,
    /// Say what would run, and write nothing.
    #[arg(short = 'n')]
    pub dry: bool,
    /// Tell more, or keep what is deleted otherwise; `list` lists the modes.
    #[arg(short = 'd', value_name = "MODE")]
    pub debug: Vec<String>,
    /// What is a warning and what an error; `list` lists the flags.
    #[arg(short = 'w', value_name = "FLAG")]
    pub warnings: Vec<String>,
    /// One of ninja's tools, and its arguments; `list` lists them.
    #[arg(short = 't', value_name = "TOOL", num_args = 1.., allow_hyphen_values = true)]
    pub tool: Vec<OsString>,
    /// The store: `auto`, `local?root=DIR` for the embedded store in DIR, or DIR itself; `daemon`, `unix://SOCKET` or
    /// `ssh-ng://HOST` for a Nix daemon.
    #[arg(long, value_name = "URL", env = "SPLITTER_STORE", default_value = "auto")]
    pub store: OsString,
    /// What the store may take, such as `20G`: when a run has ended, what was used longest ago is deleted. Default: 20
    /// GiB, or a tenth of the disk if that is less.
    #[arg(long, value_name = "SIZE", env = "SPLITTER_STORE_LIMIT")]
    pub store_limit: Option<Size>,
    /// How a Nix daemon realises edges: `stock`, without experimental features; `ca`, by `ca-derivations`; `recursive`,
    /// inside of a derivation. By default what it offers.
    #[arg(long, value_name = "WAY", env = "SPLITTER_REALISE")]
    pub realise: Option<Way>,
    /// A link that keeps what was built from the daemon's garbage collection. Default: `.splitter/outputs` in the build
    /// directory.
    #[arg(long, value_name = "LINK", env = "SPLITTER_KEEP")]
    pub keep: Option<PathBuf>,
    /// Which commands run as if the checkout lay at /build/source, so that other checkouts share their results: `same`
    /// (none), `auto` (those whose outputs cannot hold a path), `canonical` (all that do not name the checkout).
    #[arg(long, value_name = "MODE", env = "SPLITTER_ROOT_MODE", default_value = "auto")]
    pub root: Mode,
    /// Another directory of the project that may lie anywhere, and a name for it.
    #[arg(long, value_name = "DIR=NAME")]
    pub map: Vec<String>,
    /// What commands see of the host: `on`, nothing but their inputs; `off`, everything: they run where they are, and are
    /// traced; `auto`, on where the host allows it.
    #[arg(long, value_name = "WHEN", env = "SPLITTER_SANDBOX", default_value = "auto")]
    pub sandbox: Wish,
    /// Run commands of which GLOB is the rule or an output where they are, as ninja would: such as need the network, or
    /// write outside of the build directory. Their results are not shared. In the variable, patterns are parted by blanks.
    #[arg(long, value_name = "GLOB", env = "SPLITTER_OUTSIDE", value_delimiter = ' ')]
    pub outside: Vec<String>,
    /// Take over what ninja has built here and takes for up to date, unseen: for this build directory, and never into the
    /// store. Without it, it is built again, or comes from the store.
    #[arg(long)]
    pub adopt: bool,
    /// From what was learnt of a command, give it only the headers that its depfile has named; others are there and empty.
    /// Then an edit in one of these is no other key in other checkouts either.
    #[arg(long)]
    pub exact: bool,
    /// Compare what commands do with files with what the build file says; see `.splitter/tracing.txt` and `.json`. With
    /// `error`, differences fail the run.
    #[arg(long, value_name = "WHEN", default_value = "never")]
    pub tracing: Tracing,
    /// What to build; by default what the build file says. `FILE^` is what is made of FILE.
    pub targets: Vec<OsString>,
}

/// How commands find our job server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Jobserver {
    Fifo,
    Pipe,
}

/// When commands run in a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Wish {
    Auto,
    On,
    Off,
}

impl From<Wish> for Isolation {
    fn from(wish: Wish) -> Self {
        match wish {
            Wish::Auto => Self::Auto,
            Wish::On => Self::On,
            Wish::Off => Self::Off,
        }
    }
}

impl Wish {
    /// As the user writes it.
    pub fn word(self) -> &'static BStr {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        }
        .into()
    }
}

/// What `-d` can ask for, and what ninja says of it.
const MODES: [(&str, &str); 4] = [
    ("stats", "print operation counts/timing info"),
    ("explain", "explain what caused a command to execute"),
    ("keepdepfile", "don't delete depfiles after they're read by ninja"),
    ("keeprsp", "don't delete @response files on success"),
];

/// What `-w` can ask for, and what ninja says of it.
const FLAG: (&str, &str) = ("phonycycle", "phony build statement references itself");

impl Options {
    /// Reads the command line of this process; with it, the same command without its targets: with another, it builds
    /// that in the same way. Where there is nothing more to do, the exit code: that of ninja, which takes a question for
    /// its usage for a wrong use.
    pub fn read() -> Result<(Self, Vec<OsString>), ExitCode> {
        let words = Self::command().try_get_matches().map_err(|error| {
            error.print().ok(); // nobody listens any more
            ExitCode::FAILURE
        })?;
        let options = Self::from_arg_matches(&words).unwrap_or_else(|error| error.exit());
        if options.version {
            println!("{VERSION}");
            return Err(ExitCode::SUCCESS);
        }
        options.check_modes()?;
        Ok((options, again(&words)))
    }

    /// Says what `-d` and `-w` can ask for, if that is asked for, and where they ask for something else.
    fn check_modes(&self) -> Result<(), ExitCode> {
        for mode in &self.debug {
            match mode.as_str() {
                "list" => {
                    println!("debugging modes:");
                    MODES.iter().for_each(|(mode, what)| println!("  {mode:<12} {what}"));
                    println!("multiple modes can be enabled via -d FOO -d BAR");
                }
                mode if MODES.iter().any(|(known, _)| *known == mode) => continue,
                // Ninja knows it everywhere and obeys it on Windows, where alone it lists it.
                "nostatcache" => continue,
                mode => eprintln!("ninja: error: unknown debug setting '{mode}'"),
            }
            return Err(ExitCode::FAILURE);
        }
        for flag in &self.warnings {
            match flag.split_once('=') {
                Some((name, "err" | "warn")) if name == FLAG.0 => continue,
                // Ninja 1.13 takes them, says so and does nothing.
                Some((name @ ("dupbuild" | "depfilemulti"), "err" | "warn")) => {
                    eprintln!("ninja: warning: deprecated warning '{name}'");
                    continue;
                }
                None if flag == "list" => println!("warning flags:\n  {}={{err,warn}}  {}", FLAG.0, FLAG.1),
                _ => eprintln!("ninja: error: unknown warning flag '{flag}'"),
            }
            return Err(ExitCode::FAILURE);
        }
        Ok(())
    }

    /// Whether `-d` asks for this.
    pub fn debugs(&self, mode: &str) -> bool {
        self.debug.iter().any(|asked| asked == mode)
    }

    /// Whether a phony statement may name its own output as its input: then it is only a warning.
    pub fn allows_phony_cycle(&self) -> bool {
        self.warnings.iter().rev().find(|flag| flag.starts_with(FLAG.0)).is_none_or(|flag| flag.ends_with("warn"))
    }

    /// How many commands at once.
    pub fn jobs(&self) -> usize {
        match self.jobs {
            Some(0) => usize::MAX,
            Some(jobs) => jobs,
            // As ninja guesses.
            None => match std::thread::available_parallelism().map_or(1, usize::from) {
                1 => 2,
                2 => 3,
                processors => processors + 2,
            },
        }
    }

    /// How many may fail before no more are started.
    pub fn failures(&self) -> usize {
        usize::try_from(self.failures).ok().filter(|failures| *failures > 0).unwrap_or(usize::MAX)
    }

    /// What is to be in a sandbox, as one text.
    pub fn isolation(&self) -> BString {
        let words =
            [self.sandbox.word()].into_iter().chain(self.outside.iter().map(|pattern| pattern.as_bytes().into()));
        bstr::join(" ", words).into()
    }

    /// What to build.
    pub fn targets(&self) -> Vec<BString> {
        self.targets.iter().map(|target| target.as_bytes().into()).collect()
    }
}

/// This command without its targets.
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
        ("outside", "--outside"),
    ] {
        if words.value_source(id) == Some(ValueSource::CommandLine) {
            again.extend(words.get_raw(id).into_iter().flatten().flat_map(|value| [option.into(), value.to_owned()]));
        }
    }
    again
}
