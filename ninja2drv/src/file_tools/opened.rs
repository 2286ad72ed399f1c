//! The logs, opened as ninja opens them: what is spoilt is taken out of the file, and what is wasteful written anew.

use super::disk::{Disk, complain, reason};
use crate::logs::{BUILD_LOG, BuildLog, DEPS_LOG, DepsLog, Problem, Read, path};
use crate::manifest::Manifest;
use crate::tools::{Call, Stop};
use bstr::{BStr, BString, ByteSlice as _};
use splitter::graph::{Deps, Graph};
use splitter::materialise;
use std::fs;
use std::io::{ErrorKind, Write};

/// `-t recompact`. A log of another version is just removed; Ninja 1.13.2 fails at such a deps log.
pub fn recompact(manifest: Manifest, call: &Call<'_>, _: &mut dyn Write) -> Result<(), Stop> {
    make_builddir(&manifest, call)?;
    let disk = Disk::new(call.directory);
    let Logs { build, deps } = Logs::load(&manifest, disk)?;
    if let Some(mut build) = build {
        build.recompact(disk, &manifest.graph)?;
    }
    if let Some(mut deps) = deps {
        deps.recompact(disk, &manifest.graph)?;
    }
    Ok(())
}

/// Both logs, as they are before a build or a tool begins.
pub fn open(manifest: &Manifest, call: &Call<'_>) -> Result<(BuildLog, DepsLog), Stop> {
    if !call.mode.dry_run {
        make_builddir(manifest, call)?;
    }
    let disk = Disk::new(call.directory);
    let Logs { mut build, mut deps } = Logs::load(manifest, disk)?;
    if let Some(build) = build.as_mut().filter(|log| log.read.wasteful && !call.mode.dry_run) {
        build.recompact(disk, &manifest.graph)?;
    }
    if let Some(deps) = deps.as_mut().filter(|log| log.read.wasteful && !call.mode.dry_run) {
        deps.recompact(disk, &manifest.graph)?;
    }
    Ok((build.map(|log| log.read.log).unwrap_or_default(), deps.map(|log| log.read.log).unwrap_or_default()))
}

struct Logs {
    build: Option<Loaded<BuildLog>>,
    deps: Option<Loaded<DepsLog>>,
}

impl Logs {
    fn load(manifest: &Manifest, disk: Disk<'_>) -> Result<Self, Stop> {
        let builddir = manifest.builddir.as_ref().map(|builddir| builddir.as_bstr());
        let build = Loaded::load(disk, path(builddir, BUILD_LOG), "build", BuildLog::read)?.and_then(Loaded::told);
        let deps = Loaded::load(disk, path(builddir, DEPS_LOG), "deps", DepsLog::read)?.and_then(Loaded::told);
        Ok(Self { build, deps })
    }
}

/// A log that is there.
pub struct Loaded<T> {
    pub read: Read<T>,
    path: BString,
}

impl<T> Loaded<T> {
    /// Reads a file, and takes out of it what is spoilt.
    pub fn load(disk: Disk<'_>, path: BString, kind: &str, read: fn(&[u8]) -> Read<T>) -> Result<Option<Self>, Stop> {
        let place = disk.place(path.as_bstr());
        let failed = |error| Stop::Error(format!("loading {kind} log {path}: {}", reason(&error)));
        let bytes = match fs::read(&place) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(failed)?,
        };
        let read = read(&bytes);
        match read.problem {
            None => {}
            Some(Problem::DepsLogSpoilt { good }) => materialise::write(&bytes[..good], &place).map_err(failed)?,
            Some(_) => fs::remove_file(&place).map_err(failed)?,
        }
        Ok(Some(Self { read, path }))
    }

    /// Says what is wrong with the log; none if it is not there any more.
    fn told(self) -> Option<Self> {
        self.read.problem.inspect(|problem| eprintln!("ninja: warning: {problem}"));
        self.is_there().then_some(self)
    }

    /// Whether there is still a file.
    pub fn is_there(&self) -> bool {
        matches!(self.read.problem, None | Some(Problem::DepsLogSpoilt { .. }))
    }

    pub fn replace(&self, disk: Disk<'_>, bytes: &[u8]) -> Result<(), Stop> {
        let written = materialise::write(bytes, &disk.place(self.path.as_bstr()));
        written.map_err(|error| Stop::Error(format!("failed recompaction: {}", reason(&error))))
    }
}

impl Loaded<BuildLog> {
    /// Takes out what no edge makes, unless it is there all the same.
    fn recompact(&mut self, disk: Disk<'_>, graph: &Graph) -> Result<(), Stop> {
        self.read.log.retain(|output| is_made(graph, output) || exists(disk, output));
        self.replace(disk, &self.read.log.write())
    }

    /// As where there is no manifest.
    pub fn recompact_alone(&mut self, disk: Disk<'_>) -> Result<(), Stop> {
        self.read.log.retain(|output| exists(disk, output));
        self.replace(disk, &self.read.log.write())
    }
}

impl Loaded<DepsLog> {
    fn recompact(&mut self, disk: Disk<'_>, graph: &Graph) -> Result<(), Stop> {
        self.read.log.retain(|output| has_deps(graph, output));
        self.replace(disk, &self.read.log.write())
    }
}

/// Whether the edge that makes a file leaves its deps to the log.
pub fn has_deps(graph: &Graph, output: &BStr) -> bool {
    let maker = graph.find(output).and_then(|file| graph.file(file).maker);
    maker.is_some_and(|maker| !graph.edge(maker).phony && graph.command(maker).deps != Deps::Keep)
}

fn is_made(graph: &Graph, output: &BStr) -> bool {
    graph.find(output).is_some_and(|file| graph.file(file).maker.is_some())
}

/// Whether a file is there; one that cannot be looked at is.
fn exists(disk: Disk<'_>, path: &BStr) -> bool {
    disk.mtime_ns(path).map_or_else(
        |error| {
            complain(&error);
            true
        },
        |mtime| mtime != 0,
    )
}

fn make_builddir(manifest: &Manifest, call: &Call<'_>) -> Result<(), Stop> {
    let Some(builddir) = &manifest.builddir else { return Ok(()) };
    fs::create_dir_all(Disk::new(call.directory).place(builddir.as_bstr()))
        .map_err(|error| Stop::Error(format!("creating build directory {builddir}: {}", reason(&error))))
}
