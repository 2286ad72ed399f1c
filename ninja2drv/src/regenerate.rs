//! Reads the manifest, and runs the edge that makes it where that is out of date.

use crate::options::Options;
use crate::report::say;
use bstr::{BStr, BString, ByteSlice as _};
use ninja2drv::manifest::{self, Manifest, Warning};
use ninja2drv::tools;
use splitter::discover::to_path;
use splitter::drive::{Error, Refused};
use splitter::graph::{EdgeId, FileId, Graph, absolute};
use splitter::identity::Identity;
use splitter::plan::Plan;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::SystemTime;

/// The manifest as it is after everything that makes it.
pub struct Current {
    /// The manifest.
    pub manifest: Manifest,
    /// The files that it was read from, and those that decide whether it is made anew, each as it was before that.
    pub watched: Vec<(BString, Option<Identity>)>,
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
        let mut watched = Vec::new();
        let manifest = read_noting(directory, options, &mut watched)?;
        let graph = &manifest.graph;
        let Some(target) = graph.find(name).filter(|file| graph.file(*file).maker.is_some()) else {
            return Ok(Current { manifest, watched, always: false });
        };
        let plan = Plan::new(graph, &[target])?;
        // Of phony edges too: so CMake states what it read, for it need not be there.
        let made = plan.order.iter().flat_map(|edge| graph.edge(*edge).outputs).filter(|file| **file != target);
        watched.extend(plan.sources.iter().chain(made).map(|file| {
            let path = absolute(graph.file(*file).path.as_bstr(), graph.working_directory());
            let identity = Identity::of(to_path(path.as_bstr()));
            (path, identity)
        }));
        if let Some(file) = plan.sources.iter().find(|file| modified(graph, **file).is_none()) {
            let user = plan.order.iter().find(|edge| graph.edge(**edge).inputs.contains(file));
            let user = user.map_or(target, |edge| graph.edge(*edge).outputs[0]);
            let [path, user] = [*file, user].map(|file| graph.file(file).path.to_owned());
            return Err(format!("rebuilding '{name}': {}", Refused::MissingSource { path, user }).into());
        }
        let always = plan.always(graph, &|file| modified(graph, file).is_some());
        let before = modified(graph, target);
        let mut phony = Phony::default();
        for &edge in &plan.order {
            if phony.is_outdated(graph, edge) || always.contains(&edge) {
                run(graph, edge)?;
            }
        }
        if modified(graph, target) == before {
            return Ok(Current { always: !always.is_empty(), watched, manifest });
        }
    }
    Err(format!("`{}` is still outdated after {MOST} regenerations", file.display()).into())
}

/// Reads the manifest as it is.
pub fn read(directory: &Path, options: &Options) -> Result<Manifest, Error> {
    read_noting(directory, options, &mut Vec::new())
}

/// Reads the manifest, and notes each of its files as it was just before.
fn read_noting(
    directory: &Path,
    options: &Options,
    read: &mut Vec<(BString, Option<Identity>)>,
) -> Result<Manifest, Error> {
    let name = options.file.as_os_str().as_bytes().as_bstr();
    let mut load = |path: &BStr| {
        let path = directory.join(to_path(path));
        read.push((path.as_os_str().as_bytes().into(), Identity::of(&path)));
        fs::read(path)
    };
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

/// The edges that make the manifest, in order.
fn makers(graph: &Graph, options: &Options) -> Result<Vec<EdgeId>, Error> {
    let target = graph.find(options.file.as_os_str().as_bytes().as_bstr());
    let Some(target) = target.filter(|file| graph.file(*file).maker.is_some()) else { return Ok(Vec::new()) };
    Ok(Plan::new(graph, &[target])?.order)
}

/// The edges that would be run to make the manifest anew.
pub fn outdated(manifest: &Manifest, options: &Options) -> Result<Vec<EdgeId>, Error> {
    let graph = &manifest.graph;
    let mut phony = Phony::default();
    Ok(makers(graph, options)?.into_iter().filter(|edge| phony.is_outdated(graph, *edge)).collect())
}

/// The generators among the edges that make the manifest: [`current_manifest`] has run them. Another generator, such as
/// Meson's `reconfigure`, is an edge as others are.
pub fn settled(graph: &Graph, options: &Options) -> Result<BTreeSet<EdgeId>, Error> {
    let is_generator = |edge: &EdgeId| !graph.edge(*edge).phony && graph.command(*edge).generator;
    Ok(makers(graph, options)?.into_iter().filter(is_generator).collect())
}

fn run(graph: &Graph, edge: EdgeId) -> Result<(), Error> {
    let command = graph.command(edge);
    say!("[0/1] {}", if command.description.is_empty() { &command.text } else { &command.description });
    let text = std::ffi::OsStr::from_bytes(&command.text);
    let status = std::process::Command::new("/bin/sh").arg("-c").arg(text).status()?;
    if status.success() {
        return Ok(());
    }
    let name = graph.edge(edge).outputs.first().map(|file| graph.file(*file).path.to_owned()).unwrap_or_default();
    Err(format!("making `{name}` before the manifest failed: {status}").into())
}

fn modified(graph: &Graph, file: FileId) -> Option<SystemTime> {
    fs::metadata(to_path(graph.file(file).path.as_bstr())).and_then(|metadata| metadata.modified()).ok()
}

/// The times of what phony edges stand for, where that is no file: each has that of its newest input.
#[derive(Default)]
struct Phony(BTreeMap<FileId, Option<SystemTime>>);

impl Phony {
    /// Whether a command is to be run since an output of it is missing or older than an input, by their times. Asked for
    /// each edge of a plan in its order.
    fn is_outdated(&mut self, graph: &Graph, edge: EdgeId) -> bool {
        let edge = graph.edge(edge);
        let newest = edge.dirtying().iter().map(|file| self.time(graph, *file)).max().flatten();
        if edge.phony {
            self.0.extend(edge.outputs.iter().map(|file| (*file, modified(graph, *file).or(newest))));
            return false;
        }
        let oldest = edge.outputs.iter().map(|file| modified(graph, *file)).min().flatten();
        oldest.is_none() || newest > oldest
    }

    fn time(&self, graph: &Graph, file: FileId) -> Option<SystemTime> {
        self.0.get(&file).copied().unwrap_or_else(|| modified(graph, file))
    }
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
