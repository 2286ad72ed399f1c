//! Reads the manifest, and runs the edge that makes it where that is out of date.

use crate::options::Options;
use crate::report::say;
use bstr::{BStr, BString, ByteSlice as _};
use ninja2drv::manifest::{self, Manifest, Warning};
use ninja2drv::tools;
use splitter::discover::to_path;
use splitter::drive::Error;
use splitter::graph::{EdgeId, FileId, Graph};
use splitter::plan::Plan;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::SystemTime;

/// The manifest as it is after everything that makes it.
pub struct Current {
    /// The manifest.
    pub manifest: Manifest,
    /// A command before it asks to be run each time, as CMake's check of globs does: there is always something to do.
    pub always: bool,
}

/// How often a manifest may ask to be made again, as in ninja.
const MOST: usize = 100;

/// Reads the manifest, after the edges that make it have been run where their inputs are newer, as ninja does.
pub fn current_manifest(directory: &Path, options: &Options) -> Result<Current, Error> {
    let file = &options.file;
    let name = file.as_os_str().as_bytes().as_bstr();
    for _ in 0..MOST {
        let manifest = read(directory, options)?;
        let graph = &manifest.graph;
        let Some(target) = graph.find(name).filter(|file| graph.file(*file).maker.is_some()) else {
            return Ok(Current { manifest, always: false });
        };
        let plan = Plan::new(graph, &[target])?;
        let always = plan.always(graph, &|file| modified(graph, file).is_some());
        let before = modified(graph, target);
        for &edge in plan.order.iter().filter(|edge| !graph.edge(**edge).phony) {
            if always.contains(&edge) || is_outdated(graph, edge) {
                run(graph, edge)?;
            }
        }
        if modified(graph, target) == before {
            return Ok(Current { always: !always.is_empty(), manifest });
        }
    }
    Err(format!("`{}` is still outdated after {MOST} regenerations", file.display()).into())
}

/// Reads the manifest as it is.
pub fn read(directory: &Path, options: &Options) -> Result<Manifest, Error> {
    let name = options.file.as_os_str().as_bytes().as_bstr();
    let mut load = |path: &BStr| fs::read(directory.join(to_path(path)));
    let manifest =
        manifest::parse(directory.as_os_str().as_bytes().as_bstr(), name, &mut load).map_err(|e| e.to_string())?;
    for warning in &manifest.warnings {
        match warning {
            Warning::PhonyCycle(output) if !options.allows_phony_cycle() => {
                return Err(format!("dependency cycle: {output} -> {output} [-w phonycycle=err]").into());
            }
            warning => eprintln!("ninja: warning: {warning}"),
        }
    }
    Ok(manifest)
}

/// The edges that would be run to make the manifest anew.
pub fn outdated(manifest: &Manifest, options: &Options) -> Result<Vec<EdgeId>, Error> {
    let graph = &manifest.graph;
    let target = graph.find(options.file.as_os_str().as_bytes().as_bstr());
    let Some(target) = target.filter(|file| graph.file(*file).maker.is_some()) else { return Ok(Vec::new()) };
    let plan = Plan::new(graph, &[target])?;
    Ok(plan.order.into_iter().filter(|edge| !graph.edge(*edge).phony && is_outdated(graph, *edge)).collect())
}

fn run(graph: &Graph, edge: EdgeId) -> Result<(), Error> {
    let command = graph.command(edge);
    say!("[0/1] {}", if command.description.is_empty() { &command.text } else { &command.description });
    let text = std::ffi::OsStr::from_bytes(&command.text);
    let status = std::process::Command::new("/bin/sh").arg("-c").arg(text).status()?;
    if status.success() {
        return Ok(());
    }
    let name = graph.edge(edge).outputs.first().map(|file| graph.file(*file).path.clone()).unwrap_or_default();
    Err(format!("making `{name}` before the manifest failed: {status}").into())
}

fn modified(graph: &Graph, file: FileId) -> Option<SystemTime> {
    fs::metadata(to_path(graph.file(file).path.as_bstr())).and_then(|metadata| metadata.modified()).ok()
}

/// Whether an output is missing or older than an input, by their times.
fn is_outdated(graph: &Graph, edge: EdgeId) -> bool {
    let oldest = graph.edge(edge).outputs.iter().map(|file| modified(graph, *file)).min().flatten();
    let is_phony = |file: &FileId| graph.file(*file).maker.is_some_and(|maker| graph.edge(maker).phony);
    let newer = |input: &FileId| !is_phony(input) && modified(graph, *input).is_none_or(|time| Some(time) > oldest);
    oldest.is_none() || graph.edge(edge).dirtying().iter().any(newer)
}

/// The files that were asked for; by default those that the manifest names, else those that nothing reads.
pub fn wanted(graph: &Graph, targets: &[BString]) -> Result<Vec<FileId>, Error> {
    if targets.is_empty() {
        let wanted = graph.wanted_by_default();
        // Where every file is read by an edge, some wait for each other: the plan finds out which.
        let made = || graph.edges().flat_map(|(_, edge)| edge.outputs.iter().copied()).collect();
        return Ok(if wanted.is_empty() { made() } else { wanted });
    }
    targets.iter().map(|target| Ok(tools::find(graph, target.as_bstr())?)).collect()
}
