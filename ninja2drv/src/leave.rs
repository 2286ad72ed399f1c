//! Leaves ninja's logs behind, so that it finds nothing to do after us. Ours decide nothing by them.

use crate::options::Options;
use bstr::{BStr, BString, ByteSlice as _};
use ninja2drv::logs::{self, BUILD_LOG, BuildLog, DEPS_LOG, DepsLog, Entry, Read};
use ninja2drv::manifest::Manifest;
use ninja2drv::tools;
use nixstore::Store;
use nixstore::causes::with_causes;
use splitter::depfile;
use splitter::discover::to_path;
use splitter::drive::{Done, Error, News};
use splitter::graph::{Deps, EdgeId, Graph};
use splitter::materialise;
use splitter::roots::Roots;
use splitter::state::{Made, Record, Records};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Instant;
use std::{fs, io};

/// When edges were begun and done, in milliseconds since the begin of the run.
pub struct Times {
    begin: Instant,
    begun: BTreeMap<EdgeId, i32>,
    done: BTreeMap<EdgeId, Span>,
}

#[derive(Clone, Copy)]
struct Span {
    start_ms: i32,
    end_ms: i32,
    /// It was made, or came from the store.
    anew: bool,
}

impl Times {
    /// Of a run that begins now.
    pub fn new() -> Self {
        Self { begin: Instant::now(), begun: BTreeMap::new(), done: BTreeMap::new() }
    }

    /// Notes what is told of an edge.
    pub fn note(&mut self, news: &News<'_>) {
        let now = i32::try_from(self.begin.elapsed().as_millis()).unwrap_or(i32::MAX);
        match news {
            News::Begun { edge, .. } => drop(self.begun.insert(*edge, now)),
            News::Over(_) => {}
            News::Ended(event) if matches!(event.done, Done::Failed(_)) => {}
            News::Ended(event) => {
                let start_ms = self.begun.get(&event.edge).copied().unwrap_or(now);
                let anew = !matches!(event.done, Done::UpToDate);
                // In a build of several rounds the first tells what was done.
                self.done.entry(event.edge).or_insert(Span { start_ms, end_ms: now, anew });
            }
        }
    }
}

/// What a run knows when it ends.
pub struct Ran<'a> {
    /// Where the build is.
    pub directory: &'a Path,
    /// With what dyndep files state.
    pub graph: &'a Graph,
    /// What is known of the edges.
    pub records: &'a Records,
    /// Where depfiles are.
    pub store: &'a dyn Store,
    /// Where depfiles may say that the project is.
    pub roots: &'a Roots,
    /// What was done.
    pub times: &'a Times,
}

impl Ran<'_> {
    /// Writes the logs. Where one cannot be read or written, it is as it was, and that is told.
    pub fn leave_logs(&self, options: &Options) {
        if let Err(error) = self.try_leave_logs(options) {
            let error = with_causes(&*error);
            eprintln!("ninja2drv: warning: ninja may have to do again what is done: {error}");
        }
    }

    fn try_leave_logs(&self, options: &Options) -> Result<(), Error> {
        // Two ways to write one path are two outputs to ninja.
        let mut load = |path: &BStr| fs::read(self.directory.join(to_path(path)));
        let manifest = tools::read(options.file.as_os_str().as_bytes().as_bstr(), &mut load)?;
        let builddir = manifest.builddir.as_ref().map(|builddir| builddir.as_bstr());
        let place = |name| self.directory.join(to_path(logs::path(builddir, name).as_bstr()));
        let (build_log, deps_log) = (place(BUILD_LOG), place(DEPS_LOG));
        let mut build: BuildLog = read(&build_log, BuildLog::read)?;
        let mut deps: DepsLog = read(&deps_log, DepsLog::read)?;
        for (edge, span) in &self.times.done {
            self.log(&manifest, *edge, *span, &mut build, &mut deps)?;
        }
        materialise::write(&build.write(), &build_log)?;
        materialise::write(&deps.write(), &deps_log)?;
        Ok(())
    }

    fn log(
        &self,
        manifest: &Manifest,
        edge: EdgeId,
        span: Span,
        build: &mut BuildLog,
        deps: &mut DepsLog,
    ) -> Result<(), Error> {
        let command = manifest.graph.command(edge);
        let command_hash = logs::command_hash(&command);
        let outputs = self.outputs(manifest, edge);
        for (output, mtime_ns) in &outputs {
            let known = build.get(output.as_bstr()).filter(|_| !span.anew);
            let (start_ms, end_ms) = known.map_or((span.start_ms, span.end_ms), |old| (old.start_ms, old.end_ms));
            build.insert(output.as_bstr(), Entry { start_ms, end_ms, mtime_ns: *mtime_ns, command_hash });
        }
        let Some((first, mtime_ns)) = outputs.first().filter(|_| command.deps != Deps::Keep) else { return Ok(()) };
        let known = deps.get(first.as_bstr()).filter(|_| !span.anew);
        let read: Vec<BString> = match known {
            Some(known) if known.mtime_ns() == *mtime_ns => return Ok(()),
            Some(known) => known.paths().map(Into::into).collect(),
            None if command.deps == Deps::Msvc || self.is_outside(edge) => self.read_by(edge),
            None => self.in_depfile(edge)?,
        };
        deps.insert(first.as_bstr(), *mtime_ns, read.iter().map(|path| path.as_bstr()));
        Ok(())
    }

    /// The outputs of an edge as ninja names them that are there, each with its time.
    fn outputs(&self, manifest: &Manifest, edge: EdgeId) -> Vec<(BString, i64)> {
        let stated = manifest.graph.edge(edge).outputs.iter().map(|file| manifest.graph.file(*file).path);
        let all = self.graph.edge(edge).outputs.iter().map(|file| self.graph.file(*file).path);
        let by_dyndep = all.filter(|path| manifest.graph.find(path.as_bstr()).is_none());
        stated.chain(by_dyndep).filter_map(|path| Some((path.to_owned(), self.mtime_ns(path)?))).collect()
    }

    /// Nanoseconds since 1970, of the file that a link leads to.
    fn mtime_ns(&self, path: &BStr) -> Option<i64> {
        let metadata = fs::metadata(self.directory.join(to_path(path))).ok()?;
        Some(metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec()).max(1))
    }

    /// What an edge has read, as it was seen.
    fn read_by(&self, edge: EdgeId) -> Vec<BString> {
        self.record(edge).map(|record| record.found.files.iter().cloned().collect()).unwrap_or_default()
    }

    fn is_outside(&self, edge: EdgeId) -> bool {
        self.record(edge).is_some_and(|record| matches!(record.made, Made::Outside { .. } | Made::Adopted))
    }

    fn record(&self, edge: EdgeId) -> Option<&Record> {
        let first = self.graph.edge(edge).outputs.first()?;
        self.records.by_name.get(self.graph.file(*first).path)
    }

    /// What the depfile of an edge names. One that nobody can read is as one that names nothing.
    fn in_depfile(&self, edge: EdgeId) -> Result<Vec<BString>, Error> {
        let Some(path) = self.record(edge).and_then(|record| record.depfile.as_ref()) else { return Ok(Vec::new()) };
        let text = fs::read(self.store.files(&path.parse()?)?).unwrap_or_default();
        let depfile = depfile::parse(&self.roots.real_text(&text)).unwrap_or_default();
        Ok(depfile.inputs.into_iter().collect())
    }
}

/// Reads a log; what is wrong with it is told, and what is good in it stays.
pub fn read<T: Default>(file: &Path, read: fn(&[u8]) -> Read<T>) -> io::Result<T> {
    let bytes = match fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(T::default()),
        bytes => bytes?,
    };
    let Read { log, problem, .. } = read(&bytes);
    if let Some(problem) = problem {
        eprintln!("ninja: warning: {problem}");
    }
    Ok(log)
}
