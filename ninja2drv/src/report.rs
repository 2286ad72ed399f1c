//! Tells the user what was done.

use crate::End;
use crate::options::Options;
use crate::status::{self, Format, Progress, UnknownPlaceholder};
use crate::terminal::Terminal;
use bstr::{BStr, ByteSlice as _};
use localstore::Pin;
use nixstore::causes::causes;
use nixstore::store::Failure;
use nixstore::{Store, StorePath};
use splitter::drive::{Done, Error, Event, News, Reason};
use splitter::graph::{Command, EdgeId, Graph, Pool};
use splitter::outside::Outside;
use splitter::plan::Plan;
use splitter::toolchain::Snapshot;
use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Instant;

/// A line on standard output. Where nobody listens any more, the build goes on.
macro_rules! say {
    ($($arguments:tt)*) => {
        {
            use std::io::Write as _;
            writeln!(std::io::stdout().lock(), $($arguments)*).ok();
        }
    };
}
pub(crate) use say;

/// Says which runner is a part of every key, and whether other machines have the same.
pub fn tell_of_runner(store: &dyn Store, runner: &StorePath) -> Result<(), Error> {
    let info = store.path_infos(std::slice::from_ref(runner))?.remove(0).expect("it was just installed");
    let path = store.store_dir().print(runner);
    match Pin::of(&info.nar_hash) {
        pin @ Pin::Differs { .. } => say!("ninja2drv: runner: `{path}`\nninja2drv: note: this runner {pin}"),
        pin => say!("ninja2drv: runner: `{path}` ({pin})"),
    }
    Ok(())
}

/// Says what a new snapshot of the host's tools holds.
pub fn tell_of_snapshot(snapshot: &Snapshot) {
    if let Some(time) = snapshot.made_in {
        say!(
            "ninja2drv: toolchain snapshot: {} packages, {} files, {} MB, made in {:.1} s",
            snapshot.selection.packages.len(),
            snapshot.files,
            snapshot.bytes / 1_000_000,
            time.as_secs_f64()
        );
        snapshot.notes.iter().for_each(|note| say!("ninja2drv: toolchain snapshot: {note}"));
    }
}

/// Counts edges, and tells of each.
pub struct Teller<'a> {
    terminal: Terminal,
    format: Format,
    begin: Instant,
    quiet: bool,
    verbose: bool,
    explains: bool,
    /// The words of this command, without targets.
    again: &'a [OsString],
    /// Edges of this round and those before.
    commands: BTreeSet<EdgeId>,
    /// Edges of which was told in a round before.
    done: BTreeSet<EdgeId>,
    begun: usize,
    up_to_date: usize,
    ran: usize,
    reused: usize,
    failed: usize,
    /// How many may fail before no more are started.
    allowed: usize,
    /// Of the command that failed last.
    code: u8,
}

impl<'a> Teller<'a> {
    /// Nothing is told yet.
    ///
    /// # Errors
    /// Where `NINJA_STATUS` asks for what nobody knows.
    pub fn new(options: &Options, again: &'a [OsString]) -> Result<Self, UnknownPlaceholder> {
        let format = env::var("NINJA_STATUS").unwrap_or_else(|_| status::DEFAULT.into());
        Ok(Self {
            terminal: Terminal::new(),
            format: Format::new(&format)?,
            begin: Instant::now(),
            quiet: options.quiet,
            verbose: options.verbose,
            explains: options.debugs("explain"),
            again,
            commands: BTreeSet::new(),
            done: BTreeSet::new(),
            begun: 0,
            up_to_date: 0,
            ran: 0,
            reused: 0,
            failed: 0,
            allowed: options.failures(),
            code: 1,
        })
    }

    /// A plan is begun. Of what was done in a round before, nothing is told again.
    pub fn begin(&mut self, graph: &Graph, plan: &Plan) {
        self.commands.extend(plan.order.iter().filter(|edge| !graph.edge(**edge).phony));
    }

    /// The exit code of a run in which a command failed.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// Tells what is new.
    pub fn tell(&mut self, graph: &Graph, news: News<'_>) {
        match news {
            News::Begun { edge, terminal } if !self.done.contains(&edge) => self.tell_begun(graph, edge, terminal),
            News::Ended(event) if self.done.insert(event.edge) => self.tell_ended(graph, event),
            News::Begun { .. } | News::Ended(_) | News::Over(_) => {}
        }
    }

    fn tell_begun(&mut self, graph: &Graph, edge: EdgeId, terminal: Option<Reason>) {
        self.begun += 1;
        let command = graph.command(edge);
        if let Some(reason) = terminal {
            self.progress(&format!("{} ({})", self.shown(&command), because(&reason, Some(&Outside::Terminal))), false);
            self.terminal.lend();
        } else if self.terminal.is_smart() {
            self.progress(&self.shown(&command), true);
        }
    }

    fn tell_ended(&mut self, graph: &Graph, event: Event) {
        let command = graph.command(event.edge);
        let files = graph.edge(event.edge).outputs;
        let outputs: Vec<&BStr> = files.iter().map(|file| graph.file(*file).path).collect();
        let name = outputs.first().map_or(b"".as_bstr(), |name| name.as_bstr());
        if command.pool == Pool::Console {
            self.terminal.take_back();
        }
        match &event.done {
            Done::UpToDate => {
                self.up_to_date += 1;
                self.explain(|| format!("up to date {name}"));
            }
            Done::Reused(reason) => {
                self.reused += 1;
                self.explain(|| format!("reused {name} ({reason})"));
            }
            Done::Ran(reason) => {
                self.ran += 1;
                if command.pool != Pool::Console {
                    let why = because(reason, event.outside.as_ref());
                    self.progress(&format!("{} ({why})", self.shown(&command)), !self.verbose);
                }
            }
            Done::Failed(_) => {
                self.failed += 1;
                self.progress(&self.shown(&command), !self.verbose);
            }
        }
        if let Some(word) = event.bound.as_ref().filter(|_| self.explains) {
            self.terminal.line(&format!("      bound to this path by {word}"));
        }
        if let Done::Failed(error) = &event.done {
            self.code = code(error);
            let names: Vec<String> = outputs.iter().map(ToString::to_string).collect();
            self.terminal.line(&format!("FAILED: [code={}] {} \n{}", self.code, names.join(" "), command.text));
        }
        self.terminal.output(&event.log);
        if let Some(warning) = &event.warning {
            self.terminal.line(&format!("ninja2drv: warning: {warning}"));
        }
        for finding in event.findings.iter().filter(|finding| finding.is_wrong()) {
            self.terminal.line(&format!("ninja2drv: tracing: `{name}` {finding}"));
        }
        if let Done::Failed(error) = &event.done {
            self.terminal.line(&format!("ninja2drv: `{name}`: {error}"));
            for cause in causes(&**error) {
                self.terminal.line(&format!("  because: {cause}"));
            }
            if is_for_outside(error, &event.log) {
                self.terminal.line(&format!(
                    "hint: a command has no network here and writes below the build directory alone; to run this one where it \
                     is, as ninja would: --outside {}",
                    quoted(name)
                ));
            }
            self.terminal.line(&format!("  stated at: {}", graph.edge(event.edge).location));
            let words = self.again.iter().map(|word| word.as_bytes()).chain([name.as_bytes()]).map(quoted);
            self.terminal.line(&format!("  again, alone: {}", words.collect::<Vec<_>>().join(" ")));
        }
    }

    /// What is shown of a command.
    fn shown(&self, command: &Command) -> String {
        let whole = self.verbose || command.description.is_empty();
        if whole { &command.text } else { &command.description }.to_string()
    }

    /// A line of progress.
    fn progress(&mut self, what: &str, elide: bool) {
        if !self.quiet {
            let before = self.format.expand(&self.state());
            self.terminal.progress(&format!("{before}{what}"), elide);
        }
    }

    /// A line for who wants to know why.
    fn explain(&mut self, what: impl Fn() -> String) {
        if self.explains {
            self.progress(&what(), false);
        }
    }

    fn state(&self) -> Progress {
        let finished = self.ran + self.reused + self.failed;
        Progress {
            started: self.begun - self.up_to_date,
            finished,
            total: self.commands.len() - self.up_to_date,
            elapsed: self.begin.elapsed(),
        }
    }

    /// Tells how all ended.
    pub fn end(&mut self, end: End) {
        self.terminal.close();
        let counts = format!("{} ran, {} reused, {} up to date", self.ran, self.reused, self.up_to_date);
        let (ours, theirs) = match end {
            End::Dry if self.ran == 0 => (None, "no work to do."),
            End::Success if (self.ran, self.reused) == (0, 0) => (self.explains.then_some("; done"), "no work to do."),
            End::Success => (Some("; done"), ""),
            End::Dry if self.quiet => return,
            End::Dry => return say!("ninja2drv: {} would run; nothing was done", self.ran),
            End::Differs => (Some("; stopped by --tracing=error"), ""),
            End::Failure(_) if self.failed < self.allowed => {
                (Some(""), "build stopped: cannot make progress due to previous errors.")
            }
            End::Failure(_) if self.allowed > 1 => (Some(""), "build stopped: subcommands failed."),
            End::Failure(_) => (Some(""), "build stopped: subcommand failed."),
            End::Interrupted => (Some(""), "build stopped: interrupted by user."),
        };
        if let Some(ours) = ours.filter(|_| !self.quiet) {
            say!("ninja2drv: {counts}{ours}");
        }
        let is_asked = !self.quiet || matches!(end, End::Failure(_) | End::Interrupted);
        if is_asked && !theirs.is_empty() {
            say!("ninja: {theirs}");
        }
    }
}

/// Why a command ran, and why where it is.
fn because(reason: &Reason, outside: Option<&Outside>) -> String {
    outside.map_or_else(|| reason.to_string(), |why| format!("{reason}, outside of the sandbox: {why}"))
}

/// What ninja 1.13 exits with for a command that ended so.
fn code(error: &Error) -> u8 {
    match error.downcast_ref() {
        Some(Failure::Exit(code)) => u8::try_from(*code).unwrap_or(1),
        Some(Failure::Signal(signal)) => u8::try_from(128 + signal).unwrap_or(1),
        _ => 1,
    }
}

/// Whether a command seems to have failed for what a sandbox does not let it do.
fn is_for_outside(error: &Error, log: &[u8]) -> bool {
    const WORDS: [&str; 7] = [
        "outside the build directory",
        "Read-only file system",
        "resolve host",
        "name resolution",
        "Name or service not known",
        "Network is unreachable",
        "unable to resolve",
    ];
    matches!(error.downcast_ref(), Some(Failure::Exit(_))) && WORDS.iter().any(|words| log.contains_str(words))
}

/// A word as a shell reads it.
fn quoted(word: &[u8]) -> String {
    let text = word.as_bstr().to_string();
    let plain = |c: char| c.is_alphanumeric() || "-_./+=:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
