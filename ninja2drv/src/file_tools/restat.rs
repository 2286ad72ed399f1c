//! `-t restat`: the build log is made to say that outputs are as new as they are.

use super::disk::Disk;
use super::opened::Loaded;
use crate::logs::{BUILD_LOG, BuildLog};
use crate::tools::arguments::Options;
use crate::tools::{Call, Stop};

const OPTIONS: Options =
    Options { tool: "restat", letters: "h", long: &[], usage: "usage: ninja -t restat [outputs]\n" };

/// Works without a manifest, so that the log is always the one in the directory itself: `builddir` is not known.
pub fn restat(call: &Call<'_>) -> Result<(), Stop> {
    let given = OPTIONS.read(call.arguments)?;
    let disk = Disk::new(call.directory);
    let log = Loaded::load(disk, BUILD_LOG.into(), "build", BuildLog::read)?;
    let Some(mut log) = log.filter(Loaded::is_there) else { return Ok(()) };
    for (output, entry) in log.read.log.iter_mut() {
        if given.words.is_empty() || given.words.iter().any(|word| word == output) {
            let failed = |error| Stop::Error(format!("failed recompaction: {error}"));
            entry.mtime_ns = disk.mtime_ns(output).map_err(failed)?;
        }
    }
    log.replace(disk, &log.read.log.write())?;
    if log.read.wasteful && !call.mode.dry_run {
        log.recompact_alone(disk)?;
    }
    Ok(())
}
