//! Tells the user what was done.

use crate::End;
use bstr::ByteSlice as _;
use localstore::Pin;
use nixstore::causes::causes;
use nixstore::{Store, StorePath};
use splitter::drive::{Done, Error, Event};
use splitter::graph::{EdgeId, Graph};
use splitter::plan::Plan;
use splitter::toolchain::Snapshot;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write as _;

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
use std::os::unix::ffi::OsStrExt as _;

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
    verbose: bool,
    /// Edges of this round and those before.
    commands: BTreeSet<EdgeId>,
    /// Edges of which was told in a round before.
    done: BTreeSet<EdgeId>,
    /// The words of this command, without targets.
    again: &'a [OsString],
    told: usize,
    ran: usize,
    reused: usize,
    failed: usize,
}

impl<'a> Teller<'a> {
    /// Nothing is told yet.
    pub fn new(verbose: bool, again: &'a [OsString]) -> Self {
        let (commands, done) = (BTreeSet::new(), BTreeSet::new());
        Self { verbose, commands, done, again, told: 0, ran: 0, reused: 0, failed: 0 }
    }

    /// A plan is begun. Of what was done in a round before, nothing is told again.
    pub fn begin(&mut self, graph: &Graph, plan: &Plan) {
        self.commands.extend(plan.order.iter().filter(|edge| !graph.edge(**edge).phony));
    }

    /// Tells of an edge that is done.
    pub fn tell(&mut self, graph: &Graph, event: Event) {
        if !self.done.insert(event.edge) {
            return;
        }
        self.told += 1;
        let command = graph.command(event.edge);
        let name =
            graph.edge(event.edge).outputs.first().map(|file| graph.file(*file).path.clone()).unwrap_or_default();
        let what = if command.description.is_empty() { &command.text } else { &command.description };
        let count = format!("[{}/{}]", self.told, self.commands.len());
        match &event.done {
            Done::UpToDate if self.verbose => say!("{count} up to date {name}"),
            Done::UpToDate => {}
            Done::Reused(reason) => {
                self.reused += 1;
                if self.verbose {
                    say!("{count} reused {name} ({reason})");
                }
            }
            Done::Ran(reason) => {
                self.ran += 1;
                say!("{count} {what} ({reason})");
            }
            Done::Failed(_) => self.failed += 1,
        }
        if let Some(word) = event.bound.as_ref().filter(|_| self.verbose) {
            say!("      bound to this path by {word}");
        }
        std::io::stdout().lock().write_all(&event.log).ok(); // nobody listens any more
        if let Some(warning) = &event.warning {
            say!("ninja2drv: warning: {warning}");
        }
        for finding in event.findings.iter().filter(|finding| finding.is_wrong()) {
            say!("ninja2drv: tracing: `{name}` {finding}");
        }
        if let Done::Failed(error) = &event.done {
            say!("FAILED: {name}: {error}");
            for cause in causes(&**error) {
                say!("  because: {cause}");
            }
            say!("  command: {}", command.text);
            say!("  stated at: {}", graph.edge(event.edge).location);
            let words = self.again.iter().map(|word| word.as_bytes()).chain([name.as_bytes()]).map(quoted);
            say!("  again, alone: {}", words.collect::<Vec<_>>().join(" "));
        }
    }

    /// Tells how all ended.
    pub fn end(&self, end: End) {
        if (self.ran, self.reused) == (0, 0) && matches!(end, End::Success) && !self.verbose {
            return say!("ninja: no work to do.");
        }
        let rest = self.told - self.ran - self.reused - self.failed;
        let end = match end {
            End::Success => "done",
            End::Differs => "stopped by --tracing=error",
            End::Failure => "ninja: build stopped: subcommand failed.",
            End::Interrupted => "ninja: build stopped: interrupted by user.",
        };
        say!("ninja2drv: {} ran, {} reused, {rest} up to date; {end}", self.ran, self.reused);
    }
}

/// A word as a shell reads it.
fn quoted(word: &[u8]) -> String {
    let text = word.as_bstr().to_string();
    let plain = |c: char| c.is_alphanumeric() || "-_./+=:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
