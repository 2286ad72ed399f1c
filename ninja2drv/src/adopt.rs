//! What ninja has built, taken over by its own account of it: its logs, and times.

use crate::leave::read;
use crate::options::Options;
use bstr::{BStr, BString, ByteSlice as _};
use ninja2drv::logs::{self, BUILD_LOG, BuildLog, DEPS_LOG, DepsLog};
use ninja2drv::manifest::Manifest;
use ninja2drv::tools;
use splitter::depfile;
use splitter::discover::to_path;
use splitter::drive::{Adopt, Error};
use splitter::graph::{Command, Deps, EdgeId};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A build directory as ninja knows it.
pub struct ByNinja {
    directory: PathBuf,
    /// With paths as ninja spells them.
    manifest: Manifest,
    build: BuildLog,
    deps: DepsLog,
}

impl ByNinja {
    /// Reads the logs.
    ///
    /// # Errors
    /// Where one is there and cannot be read.
    pub fn read(directory: &Path, options: &Options) -> Result<Self, Error> {
        let mut load = |path: &BStr| fs::read(directory.join(to_path(path)));
        let manifest = tools::read(options.file.as_os_str().as_bytes().as_bstr(), &mut load)?;
        let builddir = manifest.builddir.as_ref().map(|builddir| builddir.as_bstr());
        let place = |name| directory.join(to_path(logs::path(builddir, name).as_bstr()));
        let build = read(&place(BUILD_LOG), BuildLog::read)?;
        let deps = read(&place(DEPS_LOG), DepsLog::read)?;
        Ok(Self { directory: directory.into(), manifest, build, deps })
    }

    fn mtime_ns(&self, path: &BStr) -> Option<i64> {
        let metadata = fs::metadata(self.directory.join(to_path(path))).ok()?;
        Some(metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec()))
    }

    /// What an edge has read by its own account; none where there is to be one and is not.
    fn discovered(&self, command: &Command, first: &BStr) -> Option<Vec<BString>> {
        if command.deps != Deps::Keep {
            let known = self.deps.get(first).filter(|known| self.mtime_ns(first) <= Some(known.mtime_ns()))?;
            return Some(known.paths().map(Into::into).collect());
        }
        let Some(path) = &command.depfile else { return Some(Vec::new()) };
        let text = fs::read(self.directory.join(to_path(path.as_bstr()))).ok()?;
        Some(depfile::parse(&text).ok()?.inputs.into_iter().collect())
    }
}

impl Adopt for ByNinja {
    /// As ninja 1.13 finds out whether an edge is clean (`DependencyScan::RecomputeOutputDirty`).
    fn read_by(&self, edge: EdgeId, stated: &[BString]) -> Option<Vec<BString>> {
        let graph = &self.manifest.graph;
        let command = graph.command(edge);
        let hash = logs::command_hash(&command);
        let outputs: Vec<&BStr> =
            graph.edge(edge).outputs.iter().map(|file| graph.file(*file).path.as_bstr()).collect();
        let discovered = self.discovered(&command, outputs.first()?)?;
        let inputs = stated.iter().chain(&discovered).map(|path| self.mtime_ns(path.as_bstr()));
        let newest = inputs.collect::<Option<Vec<i64>>>()?.into_iter().max();
        let is_clean = |output: &BStr| {
            let (Some(entry), Some(mtime_ns)) = (self.build.get(output), self.mtime_ns(output)) else { return false };
            let is_newer = |time: i64| newest.is_none_or(|newest| newest <= time);
            (command.generator || entry.command_hash == hash)
                && is_newer(entry.mtime_ns)
                && (command.restat || is_newer(mtime_ns))
        };
        outputs.into_iter().all(is_clean).then_some(discovered)
    }
}
