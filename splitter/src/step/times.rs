//! Who goes by times takes a file that is older than what it was made of for out of date. Here it may stand, as its content
//! is right: so it is given a later time.

use super::Steps;
use crate::discover::to_path;
use crate::graph::EdgeId;
use crate::state::Records;
use bstr::{BStr, BString, ByteSlice as _};
use std::collections::{BTreeSet, HashMap};
use std::fs::{self, FileTimes};
use std::time::SystemTime;

impl Steps<'_> {
    /// Makes no output of the edges that are `done` older than an input, stated or discovered.
    pub fn order_times(&self, done: &BTreeSet<EdgeId>, records: &Records) {
        let mut times: HashMap<BString, Option<SystemTime>> = HashMap::new();
        let mut time = |path: &BString| *times.entry(path.clone()).or_insert_with(|| modified(path.as_bstr()));
        let mut later = HashMap::new();
        for edge in self.plan.order.iter().filter(|edge| done.contains(edge)) {
            let found = records.by_name.get(&self.drive.name(*edge)).map(|record| &record.found.files);
            let inputs = self.drive.stated(*edge);
            let inputs = inputs.iter().chain(found.into_iter().flatten());
            let newest = inputs.filter_map(|path| later.get(path).copied().or_else(|| time(path))).max();
            let Some(newest) = newest else { continue };
            for output in self.drive.graph.edge(*edge).outputs.iter().map(|file| self.drive.path(*file)) {
                if time(&output).is_some_and(|time| time < newest) && self.set_time(output.as_bstr(), newest) {
                    later.insert(output, newest);
                }
            }
        }
    }

    fn set_time(&self, path: &BStr, time: SystemTime) -> bool {
        let set = || fs::File::open(to_path(path))?.set_times(FileTimes::new().set_modified(time));
        self.contents.touch(path, &|| set().is_ok())
    }
}

/// None for what is not there, and for what is no file, such as a link: what it leads to has its own time.
fn modified(path: &BStr) -> Option<SystemTime> {
    let metadata = fs::symlink_metadata(to_path(path)).ok()?;
    (metadata.is_file() || metadata.is_dir()).then(|| metadata.modified().ok()).flatten()
}
