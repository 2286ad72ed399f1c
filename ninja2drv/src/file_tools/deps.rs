//! `-t deps`: what the deps log says, and whether it is of the outputs that are there.

use super::disk::{Disk, complain};
use super::opened::{has_deps, open};
use crate::manifest::Manifest;
use crate::tools::{Call, Stop, find_logged};
use bstr::{BString, ByteSlice as _};
use std::io::Write;

pub fn deps(manifest: Manifest, call: &Call<'_>, out: &mut dyn Write) -> Result<(), Stop> {
    let (_, log) = open(&manifest, call)?;
    let graph = &manifest.graph;
    let outputs: Vec<BString> = match call.arguments {
        [] => log.paths().filter(|path| has_deps(graph, path)).map(ToOwned::to_owned).collect(),
        names => names.iter().map(|name| find_logged(graph, &log, name.as_bstr())).collect::<Result<_, _>>()?,
    };
    for output in outputs {
        let Some(deps) = log.get(output.as_bstr()) else {
            writeln!(out, "{output}: deps not found")?;
            continue;
        };
        let mtime = Disk::new(call.directory).mtime_ns(output.as_bstr());
        let is_stale = mtime.as_ref().is_ok_and(|mtime| *mtime == 0 || *mtime > deps.mtime_ns());
        mtime.err().inspect(|error| complain(error));
        let (count, mtime, word) = (deps.paths().len(), deps.mtime_ns(), if is_stale { "STALE" } else { "VALID" });
        writeln!(out, "{output}: #deps {count}, deps mtime {mtime} ({word})")?;
        deps.paths().try_for_each(|path| writeln!(out, "    {path}"))?;
        writeln!(out)?;
    }
    Ok(())
}
