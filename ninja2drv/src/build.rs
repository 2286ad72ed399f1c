//! A build: the rounds until the graph says all of what is wanted, and what is kept of them.

use crate::adopt::ByNinja;
use crate::leave::{Ran, Times};
use crate::options::Options;
use crate::regenerate::{self, Current};
use crate::report::{self, Teller};
use crate::rounds::Dyndeps;
use crate::stats::Stats;
use crate::tracing::{self, Tracing};
use crate::{End, INTERRUPTED, complain, places, read_own};
use bstr::{BString, ByteSlice as _};
use frontend::Opened;
use ninja2drv::manifest::Manifest;
use nixstore::StorePath;
use splitter::discover::headers::Headers;
use splitter::discover::to_path;
use splitter::drive::{Adopt, Drive, Error, Keep, News, Sandbox};
use splitter::host_tools::HostTools;
use splitter::outside::Asked;
use splitter::plan::Plan;
use splitter::roots::Mode;
use splitter::state::{self, Records};
use splitter::toolchain::{Snapshot, Toolchains};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How a build ended.
pub struct Ended {
    pub end: End,
    /// The outputs of the build, whether or not this run had to look at them.
    pub outputs: BTreeSet<StorePath>,
}

/// Builds what is wanted, and writes down what the next run goes by.
///
/// # Errors
/// Where nothing can be begun, or what was done cannot be written down.
pub fn build(
    options: &Options,
    again: &[OsString],
    directory: &Path,
    targets: &[BString],
    own: &Path,
    opened: &Opened,
    jobs: usize,
) -> Result<Ended, Error> {
    let mut stats = Stats::default();
    let mut old: Records = stats.time("records load", || read_own(&own.join("records")));
    let Opened { store, runner, sandbox, .. } = opened;
    if options.debugs("explain") {
        opened.about().iter().for_each(|about| report::say!("ninja2drv: {about}"));
        report::tell_of_runner(&**store, runner)?;
    }
    let Current { manifest, watched, always } =
        stats.time(".ninja parse", || regenerate::current_manifest(directory, options))?;
    let Manifest { mut graph, .. } = manifest;
    let wanted = regenerate::wanted(&graph, targets)?;
    let settled = regenerate::settled(&graph, options)?;
    let mut dyndeps = Dyndeps::default();
    let mut plan = stats.time("plan", || Plan::new(&graph, &wanted))?;
    let cancelled = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        // Who asks twice does not wait, such as for a daemon that does not answer: what was done may not be noted then.
        signal_hook::flag::register_conditional_shutdown(signal, INTERRUPTED.into(), cancelled.clone())?;
        signal_hook::flag::register(signal, cancelled.clone())?;
    }
    let toolchains = Toolchains::new(store.clone(), &opened.own, &opened.scratch);
    let tools = HostTools::new(toolchains, tell_of_snapshot(options.quiet));
    let history = frontend::places::history_file();
    let history = history.and_then(|file| frontend::places::open_history(&file, &complain));
    let roots = places::roots(options, directory)?;
    let memory = opened.own.join("compilers");
    let mut teller = Teller::new(options, again)?;
    let jobserver = places::jobserver(options, jobs)?;
    let by_ninja = options.adopt.then(|| ByNinja::read(directory, options)).transpose()?;
    let outside = Asked::new(&options.outside)?;
    let mut times = Times::new();
    let (success, mut state, records) = loop {
        let files = dyndeps.next(&graph, &plan)?;
        let round = if files.is_empty() { plan } else { Plan::new(&graph, &files)? };
        teller.begin(&graph, &round);
        let drive = Drive {
            graph: &graph,
            store: &**store,
            tools: &tools,
            runner: runner.clone(),
            headers: &Headers::new(Some(&memory)),
            history: history.as_ref(),
            roots: roots.clone(),
            mode: if *sandbox == Sandbox::None { Mode::Same } else { options.root },
            sandbox: *sandbox,
            outside: &outside,
            settled: &settled,
            adopt: by_ninja.as_ref().map(|by_ninja| by_ninja as &dyn Adopt),
            exact: options.exact,
            every_file: false,
            audited: options.tracing != Tracing::Never,
            afresh: false,
            jobs,
            jobserver: jobserver.as_ref(),
            environment: places::within(directory),
            load: options.load,
            failures: options.failures(),
            keep: Keep { depfiles: options.debugs("keepdepfile"), response_files: options.debugs("keeprsp") },
            cancelled: &cancelled,
            likely: None,
            meanwhile: None,
        };
        let mut tell = |news: News<'_>| {
            times.note(&news);
            if let News::Over(records) = news {
                let (store, roots, times) = (&**store, &roots, &times);
                Ran { directory, graph: &graph, records, store, roots, times }.leave_logs(options);
            }
            teller.tell(&graph, news);
        };
        let (success, state, records) = stats.time("steps", || drive.run(&round, &old, &mut tell))?;
        if files.is_empty() || !success {
            break (success, state, records);
        }
        old = records;
        files.into_iter().try_for_each(|file| dyndeps.load(&mut graph, file))?;
        plan = Plan::new(&graph, &wanted)?;
    };
    state.watched.extend(watched);
    for file in dyndeps.files() {
        let path = splitter::graph::absolute(graph.file(file).path.as_bstr(), graph.working_directory());
        let identity = splitter::identity::Identity::of(to_path(path.as_bstr()));
        state.watched.push((path, identity));
    }
    state.file = options.file.as_os_str().as_bytes().into();
    state.isolation = options.isolation();
    state.complete = (success && !always).then(|| targets.to_vec());
    let written = stats.time("records write", || {
        state::write(&records, &own.join("records")).and_then(|()| state::write(&state, &own.join("state")))
    });
    written.map_err(|e| format!("cannot write the state of this build in `{}`: {e}", own.display()))?;
    let differs = options.tracing != Tracing::Never && tracing::report(&graph, &records, own)?;
    tools.save()?;
    history.as_ref().inspect(|history| frontend::places::save(history, &complain));
    let end = match (success, cancelled.load(Ordering::Relaxed)) {
        (true, _) if differs && options.tracing == Tracing::Error => End::Differs,
        (true, _) => End::Success,
        (false, true) => End::Interrupted,
        (false, false) => End::Failure(teller.code()),
    };
    teller.end(end);
    if options.debugs("stats") {
        stats.tell();
    }
    let outputs = records.by_name.values().flat_map(|record| record.outputs.values().flatten());
    let outputs = outputs.filter_map(|path| path.parse().ok()).collect();
    Ok(Ended { end, outputs })
}

fn tell_of_snapshot(quiet: bool) -> Box<dyn Fn(&Snapshot) + Send + Sync> {
    if quiet { Box::new(|_| {}) } else { Box::new(report::tell_of_snapshot) }
}
