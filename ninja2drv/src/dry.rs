//! `-n`: what a run would do, and nothing of it.

use crate::options::Options;
use crate::report::Teller;
use crate::rounds::Dyndeps;
use crate::{End, OWN, places, regenerate};
use bstr::{BStr, BString};
use ninja2drv::manifest::Manifest;
use splitter::discover::headers::Headers;
use splitter::discover::to_path;
use splitter::drive::{Done, Drive, Error, Event, Keep, News, NoStore, NoTools, Reason, Sandbox};
use splitter::graph::EdgeId;
use splitter::outside::Asked;
use splitter::plan::Plan;
use splitter::roots::Mode;
use splitter::state::{Made, Records};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Tells which edges would be made, each with the reason.
pub fn tell(options: &Options, again: &[OsString], directory: &Path, targets: &[BString]) -> Result<End, Error> {
    let mut manifest = regenerate::read(directory, options)?;
    let mut teller = Teller::new(options, again)?;
    let outdated = regenerate::outdated(&manifest, options)?;
    let would_run = match outdated.is_empty() {
        true => would_run(options, directory, targets, &mut manifest)?,
        // What it will say then nobody knows.
        false => outdated.into_iter().map(|edge| (edge, Reason::Input(manifest.files[0].clone()))).collect(),
    };
    let order = would_run.iter().map(|(edge, _)| *edge).collect();
    teller.begin(&manifest.graph, &Plan { order, sources: Vec::new() });
    for (edge, reason) in would_run {
        let event = Event {
            edge,
            done: Done::Ran(reason),
            log: Vec::new(),
            outside: None,
            bound: None,
            warning: None,
            findings: vec![],
        };
        teller.tell(&manifest.graph, News::Begun { edge, terminal: None });
        teller.tell(&manifest.graph, News::Ended(event));
    }
    teller.end(End::Dry);
    Ok(End::Dry)
}

fn would_run(
    options: &Options,
    directory: &Path,
    targets: &[BString],
    manifest: &mut Manifest,
) -> Result<Vec<(EdgeId, Reason)>, Error> {
    let old: Records = crate::read_own(&directory.join(OWN).join("records"));
    let graph = &mut manifest.graph;
    let wanted = regenerate::wanted(graph, targets)?;
    let settled = regenerate::settled(graph, options)?;
    let mut dyndeps = Dyndeps::default();
    let mut plan = Plan::new(graph, &wanted)?;
    loop {
        let there = |path: &BStr| to_path(path).exists();
        let files = dyndeps.next(graph, &plan)?;
        let files: Vec<_> = files.into_iter().filter(|file| there(graph.file(*file).path)).collect();
        if files.is_empty() {
            break;
        }
        files.into_iter().try_for_each(|file| dyndeps.load(graph, file))?;
        plan = Plan::new(graph, &wanted)?;
    }
    // As it was built before: whether it would be isolated now, only a try could tell.
    let in_place = old.by_name.values().any(|record| record.made == Made::Traced);
    let drive = Drive {
        graph,
        store: &NoStore::default(),
        tools: &NoTools,
        runner: "00000000000000000000000000000000-none".parse()?,
        headers: &Headers::default(),
        history: None,
        roots: places::roots(options, directory)?,
        mode: if in_place { Mode::Same } else { options.root },
        sandbox: if in_place { Sandbox::None } else { Sandbox::Root },
        outside: &Asked::new(&options.outside)?,
        settled: &settled,
        adopt: None,
        exact: options.exact,
        every_file: false,
        audited: false,
        afresh: false,
        jobs: 1,
        jobserver: None,
        environment: BTreeMap::new(),
        load: None,
        likely: None,
        meanwhile: None,
        failures: 1,
        keep: Keep::default(),
        cancelled: &AtomicBool::new(false),
    };
    drive.would_run(&plan, &old)
}
