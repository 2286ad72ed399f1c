//! `-t clean` and `-t cleandead`: outputs are removed.

use super::disk::{Disk, complain};
use super::{dyndeps, opened};
use crate::manifest::{Manifest, canonicalise};
use crate::tools::arguments::Options;
use crate::tools::{Call, Mode, Stop};
use bstr::{BStr, BString, ByteSlice as _};
use splitter::graph::{EdgeId, FileId, Graph};
use std::collections::HashSet;
use std::io::{self, Write};

const OPTIONS: Options = Options {
    tool: "clean",
    letters: "hgr",
    long: &[],
    usage: "usage: ninja -t clean [options] [targets]\n\noptions:\n  -g     also clean files marked as ninja generator \
            output\n  -r     interpret targets as a list of rules to clean instead\n",
};

pub fn clean(mut manifest: Manifest, call: &Call<'_>, out: &mut dyn Write) -> Result<(), Stop> {
    let given = OPTIONS.read(call.arguments)?;
    if given.has('r') && given.words.is_empty() {
        return Err(Stop::Error("expected a rule to clean".into()));
    }
    let mut cleaner = Cleaner::begin(&mut manifest, call, out)?;
    match &given.words[..] {
        [] => cleaner.all(given.has('g'))?,
        rules if given.has('r') => cleaner.rules(rules)?,
        targets => cleaner.targets(targets)?,
    }
    cleaner.end()
}

pub fn clean_dead(mut manifest: Manifest, call: &Call<'_>, out: &mut dyn Write) -> Result<(), Stop> {
    let (log, _) = opened::open(&manifest, call)?;
    let mut cleaner = Cleaner::begin(&mut manifest, call, out)?;
    let graph = &cleaner.manifest.graph;
    let read: HashSet<FileId> = graph.edges().flat_map(|(_, edge)| edge.inputs).copied().collect();
    let is_alive = |file: &FileId| graph.file(*file).maker.is_some() || read.contains(file);
    let dead =
        log.iter().map(|(output, _)| output).filter(|output| !graph.find(output).is_some_and(|file| is_alive(&file)));
    for output in dead.collect::<Vec<_>>() {
        cleaner.remove(output)?;
    }
    cleaner.end()
}

/// Removes, counts and reports.
struct Cleaner<'a> {
    manifest: &'a Manifest,
    disk: Disk<'a>,
    mode: Mode,
    out: &'a mut dyn Write,
    /// What was tried already.
    tried: HashSet<BString>,
    removed: usize,
    failed: bool,
}

impl<'a> Cleaner<'a> {
    fn begin(manifest: &'a mut Manifest, call: &Call<'a>, out: &'a mut dyn Write) -> io::Result<Self> {
        let disk = Disk::new(call.directory);
        dyndeps::load(&mut manifest.graph, disk);
        let cleaner = Self { manifest, disk, mode: call.mode, out, tried: HashSet::new(), removed: 0, failed: false };
        write!(cleaner.out, "Cleaning...{}", if cleaner.tells() { "\n" } else { " " })?;
        Ok(cleaner)
    }

    fn end(self) -> Result<(), Stop> {
        writeln!(self.out, "{} files.", self.removed)?;
        if self.failed { Err(Stop::Exit(1)) } else { Ok(()) }
    }

    /// Whether each file is named.
    fn tells(&self) -> bool {
        self.mode.verbose || self.mode.dry_run
    }

    fn all(&mut self, generators: bool) -> io::Result<()> {
        let graph = &self.manifest.graph;
        for (id, edge) in graph.edges().filter(|(_, edge)| !edge.phony) {
            if generators || !graph.command(id).generator {
                edge.outputs.iter().try_for_each(|output| self.remove(path(graph, *output)))?;
                self.remove_beside(id)?;
            }
        }
        Ok(())
    }

    fn rules(&mut self, rules: &[BString]) -> io::Result<()> {
        let known: HashSet<BString> = self.manifest.rules().into_iter().map(|(name, _)| name).collect();
        for rule in rules {
            if !known.contains(rule) {
                self.fail(&format!("unknown rule '{rule}'"));
                continue;
            }
            if self.tells() {
                writeln!(self.out, "Rule {rule}")?;
            }
            let graph = &self.manifest.graph;
            for (id, edge) in graph.edges().filter(|(id, _)| graph.rule(*id) == *rule) {
                for output in edge.outputs {
                    self.remove(path(graph, *output))?;
                    self.remove_beside(id)?;
                }
            }
        }
        Ok(())
    }

    fn targets(&mut self, targets: &[BString]) -> io::Result<()> {
        let mut seen = HashSet::new();
        for target in targets {
            if target.is_empty() {
                self.fail("failed to canonicalize '': empty path");
                continue;
            }
            let mut target = target.to_vec();
            canonicalise(&mut target);
            let target = target.as_bstr();
            let Some(file) = self.manifest.graph.find(target) else {
                self.fail(&format!("unknown target '{target}'"));
                continue;
            };
            if self.tells() {
                writeln!(self.out, "Target {target}")?;
            }
            self.target(file, &mut seen)?;
        }
        Ok(())
    }

    /// A file and all that it is made of, but what `seen` has already.
    fn target(&mut self, target: FileId, seen: &mut HashSet<FileId>) -> io::Result<()> {
        let graph = &self.manifest.graph;
        let mut open = vec![target];
        while let Some(file) = open.pop() {
            let Some(maker) = graph.file(file).maker.filter(|_| seen.insert(file)) else { continue };
            if !graph.edge(maker).phony {
                self.remove(path(graph, file))?;
                self.remove_beside(maker)?;
            }
            open.extend(graph.edge(maker).inputs.iter().rev());
        }
        Ok(())
    }

    /// The files that an edge has for itself.
    fn remove_beside(&mut self, edge: EdgeId) -> io::Result<()> {
        if self.manifest.graph.edge(edge).phony {
            return Ok(());
        }
        let command = self.manifest.graph.command(edge);
        let response = command.rspfile.map(|response| response.path);
        command.depfile.into_iter().chain(response).try_for_each(|path| self.remove(path.as_bstr()))
    }

    fn remove(&mut self, path: &BStr) -> io::Result<()> {
        if !self.tried.insert(path.to_owned()) {
            return Ok(());
        }
        let removed = if self.mode.dry_run {
            // As ninja: what cannot be looked at fails nothing.
            self.disk.mtime_ns(path).inspect_err(|error| complain(error)).is_ok_and(|mtime| mtime > 0)
        } else {
            self.disk.remove(path).unwrap_or_else(|error| {
                self.fail(&error);
                false
            })
        };
        self.removed += usize::from(removed);
        if removed && self.tells() { writeln!(self.out, "Remove {path}") } else { Ok(()) }
    }

    fn fail(&mut self, error: &str) {
        complain(error);
        self.failed = true;
    }
}

fn path(graph: &Graph, file: FileId) -> &BStr {
    graph.file(file).path.as_bstr()
}
