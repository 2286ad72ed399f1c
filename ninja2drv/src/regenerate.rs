//! Reads the manifest, and runs the edge that makes it where that is out of date.

use bstr::{BStr, BString, ByteSlice as _};
use ninja2drv::manifest::{self, Manifest};
use splitter::discover::to_path;
use splitter::drive::Error;
use splitter::graph::{EdgeId, FileId, Graph};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Reads the manifest, after an edge that makes it has been run if its inputs are newer, as ninja does.
pub fn current_manifest(directory: &Path, file: &Path) -> Result<Manifest, Error> {
    for _ in 0..100 {
        let mut load = |path: &BStr| fs::read(directory.join(to_path(path)));
        let manifest = manifest::parse(
            directory.as_os_str().as_bytes().as_bstr(),
            file.as_os_str().as_bytes().as_bstr(),
            &mut load,
        )
        .map_err(|e| format!("error: {e}"))?;
        for warning in &manifest.warnings {
            eprintln!("ninja2drv: warning: {warning}");
        }
        let maker =
            manifest.graph.find(file.as_os_str().as_bytes().as_bstr()).and_then(|id| manifest.graph.file(id).maker);
        let Some(edge) = maker.filter(|edge| is_outdated(&manifest.graph, *edge, file)) else { return Ok(manifest) };
        let command = manifest.graph.command(edge);
        println!("[0/1] {}", if command.description.is_empty() { &command.text } else { &command.description });
        let status =
            std::process::Command::new("/bin/sh").arg("-c").arg(std::ffi::OsStr::from_bytes(&command.text)).status()?;
        if !status.success() {
            return Err(format!("rebuilding `{}` failed: {status}", file.display()).into());
        }
    }
    Err(format!("`{}` is still outdated after 100 regenerations", file.display()).into())
}

fn is_outdated(graph: &Graph, edge: EdgeId, file: &Path) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let made = modified(file);
    let newer =
        |input: &FileId| modified(to_path(graph.file(*input).path.as_bstr())).is_none_or(|time| Some(time) > made);
    !graph.edge(edge).phony && graph.edge(edge).dirtying().iter().any(newer)
}

/// The files that were asked for; by default those that the manifest names, else those that nothing reads.
pub fn wanted(graph: &Graph, targets: &[BString]) -> Result<Vec<FileId>, Error> {
    if targets.is_empty() {
        let wanted = if graph.defaults.is_empty() { graph.roots() } else { graph.defaults.clone() };
        // Where every file is read by an edge, some wait for each other: the plan finds out which.
        let made = || graph.edges().flat_map(|(_, edge)| edge.outputs.iter().copied()).collect();
        return Ok(if wanted.is_empty() { made() } else { wanted });
    }
    let find = |target: &BString| {
        graph.find(target.as_bstr()).ok_or_else(|| Error::from(format!("unknown target `{target}`")))
    };
    targets.iter().map(find).collect()
}
