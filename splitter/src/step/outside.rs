//! A step that is not for a sandbox: it runs where it is, as ninja would run it.
//!
//! One that runs another build goes by times too. A build has state of its own, of which it makes use when it is run again,
//! such as CMake's cache; what it reads is its own matter, and its stamps hold nothing: only their times say that one was
//! written again, which is all that a step of CMake's ExternalProject shows of what it did.

use super::{Failed, Outcome, Steps, kept};
use crate::depfile;
use crate::discover::{Found, parent, to_path};
use crate::drive::{Done, Reason};
use crate::graph::{Command, Deps, EdgeId, Pool, absolute};
use crate::jobserver::Jobserver;
use crate::materialise;
use crate::outside::Outside;
use crate::recipe::{Kind, Recipe};
use crate::state::{Made, Record};
use bstr::{BString, ByteSlice as _};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{self, Stdio};
use std::sync::atomic::Ordering;
use std::time::SystemTime;

impl Steps<'_> {
    /// Why a command runs where it is, where that is known before it has run.
    pub(super) fn outside_by_rule(&self, edge: EdgeId, command: &Command, recipe: &Recipe) -> Option<Outside> {
        if command.pool == Pool::Console {
            return Some(Outside::Terminal);
        }
        if self.always.contains(&edge) {
            return Some(Outside::Always);
        }
        if recipe.kind == Kind::Build {
            return Some(Outside::Build);
        }
        let pattern = self.drive.outside.pattern_for(self.drive.graph, edge);
        pattern.map(|pattern| Outside::Asked(pattern.into()))
    }

    /// Why a command is to have the terminal now; none where it is up to date, or has to do without.
    pub fn due_on_terminal(&self, edge: EdgeId) -> Option<Reason> {
        let graph = self.drive.graph;
        if graph.pool(edge) != Pool::Console {
            return None;
        }
        if self.drive.settled.contains(&edge) {
            return None;
        }
        let command = graph.command(edge);
        self.due(edge, &self.recipe(edge, &command), &Outside::Terminal).unwrap_or(Some(Reason::New))
    }

    /// Why a command that runs where it is has to.
    pub(super) fn due(&self, edge: EdgeId, recipe: &Recipe, why: &Outside) -> Result<Option<Reason>, Failed> {
        match why {
            // On the terminal, too: so Meson has a target that is always stale.
            _ if self.always.contains(&edge) => return Ok(Some(Reason::Always)),
            Outside::Always => return Ok(Some(Reason::Always)),
            Outside::Reads(_) | Outside::Links => return Ok(Some(Reason::EachTime)),
            Outside::Terminal | Outside::Build | Outside::Asked(_) => {}
        }
        let Some((record, begun)) = self.record_of_outside(edge) else { return Ok(Some(Reason::New)) };
        if record.recipe != recipe.fingerprint() && !self.is_generator(edge) {
            return Ok(Some(Reason::Command));
        }
        if goes_by_times(recipe, why) {
            return Ok(self.is_behind(edge, recipe, begun));
        }
        for (path, content) in &record.inputs {
            if !self.contents.is(path.as_bstr(), content)? {
                return Ok(Some(Reason::Input(path.clone())));
            }
        }
        for (path, content) in &record.outputs {
            let stands = content.as_ref().map_or(Ok(false), |content| self.contents.is(path.as_bstr(), content))?;
            if !stands {
                return Ok(Some(Reason::Output(path.clone())));
            }
        }
        Ok(None)
    }

    /// What ninja would find out of date of an edge that was begun then. What it wrote another step may write again, as
    /// installing does with what was built.
    fn is_behind(&self, edge: EdgeId, recipe: &Recipe, begun: SystemTime) -> Option<Reason> {
        let newer = |path: &BString| modified(path).is_none_or(|time| time > begun);
        let input = self.drive.stated(edge).into_iter().find(newer).map(Reason::Input);
        input.or_else(|| {
            let gone = recipe.outputs.iter().find(|path| fs::symlink_metadata(to_path(path.as_bstr())).is_err());
            gone.cloned().map(Reason::Output)
        })
    }

    /// What is known of an edge that was made outside, and when it was begun.
    fn record_of_outside(&self, edge: EdgeId) -> Option<(&Record, SystemTime)> {
        let record = self.old.by_name.get(&self.drive.name(edge))?;
        if let Made::Outside { begun } = record.made { Some((record, begun)) } else { None }
    }

    /// Runs a command where it is, if it is out of date; with the terminal if it is alone on it.
    pub(super) fn outside(
        &self,
        edge: EdgeId,
        command: &Command,
        recipe: &Recipe,
        why: Outside,
    ) -> Result<Outcome, Failed> {
        let Some(reason) = self.due(edge, recipe, &why)? else {
            let (record, _) = self.record_of_outside(edge).expect("without one it is due");
            return Ok(kept(Done::UpToDate, record));
        };
        // By the clock of the file system, which is behind others.
        let begun = tempfile::tempfile_in(to_path(self.drive.graph.working_directory()))?.metadata()?.modified()?;
        let log = self.run_outside(edge, command)?;
        let stated = self.drive.stated(edge);
        let lacks = goes_by_times(recipe, &why) && stated.iter().any(|path| modified(path).is_none());
        let record = match why.is_each_time() {
            true => None,
            false => Some(self.record_outside(recipe, command, stated, begun)?),
        };
        // What was written meanwhile the command may have read as it was before: it is to run again.
        let is_later = |path: &BString| modified(path).is_some_and(|time| time > begun);
        let record = record.filter(|record| !record.inputs.keys().any(is_later));
        if lacks || record.as_ref().is_none_or(|record| record.outputs.values().any(Option::is_none)) {
            self.outside_too.store(true, Ordering::Relaxed);
        }
        Ok(Outcome { record, outside: Some(why), ..Outcome::plain(Done::Ran(reason), log) })
    }

    /// Answers what it printed, if that was not on the terminal.
    fn run_outside(&self, edge: EdgeId, command: &Command) -> Result<Vec<u8>, Failed> {
        let build = to_path(self.drive.graph.working_directory());
        if let Some(file) = &command.rspfile {
            materialise::write(&file.content, &build.join(to_path(file.path.as_bstr())))?;
        }
        for output in self.drive.graph.edge(edge).outputs {
            let path = self.drive.path(*output);
            self.contents.forget(path.as_bstr());
            fs::create_dir_all(to_path(parent(path.as_bstr())))?;
        }
        let mut shell = process::Command::new("/bin/sh");
        shell.arg("-c").arg(OsStr::from_bytes(&command.text)).current_dir(build);
        shell.envs(self.drive.jobserver.and_then(Jobserver::environment)).envs(&self.drive.environment);
        let (status, log) = if command.pool == Pool::Console {
            (shell.status()?, Vec::new())
        } else {
            let output = shell.stdin(Stdio::null()).output()?;
            (output.status, [output.stdout, output.stderr].concat())
        };
        self.headers.forget_all();
        self.presence.forget_all();
        self.contents.look_again();
        if let Some(file) = command.rspfile.as_ref().filter(|_| status.success() && !self.drive.keep.response_files) {
            fs::remove_file(build.join(to_path(file.path.as_bstr()))).ok(); // the command may have done it
        }
        match status.success() {
            true => Ok(log),
            false => Err(Failed { error: status.to_string().into(), log }),
        }
    }

    /// What is known of a command that has run where it is: what it was stated to read, and what it says itself.
    fn record_outside(
        &self,
        recipe: &Recipe,
        command: &Command,
        stated: Vec<BString>,
        begun: SystemTime,
    ) -> Result<Record, Failed> {
        let mut found = Found::default();
        found.files.extend(stated);
        found.files.extend(self.read_by_its_depfile(recipe, command));
        found.files.retain(|path| !recipe.outputs.contains(path) && to_path(path.as_bstr()).is_file());
        self.contents.look_at(&found.files)?;
        let inputs = found.files.iter().map(|path| Ok((path.clone(), self.contents.of(path.as_bstr())?.to_string())));
        let inputs = inputs.collect::<Result<BTreeMap<_, _>, Failed>>()?;
        let outputs = recipe.outputs.iter().map(|path| {
            let is_there = fs::symlink_metadata(to_path(path.as_bstr())).is_ok();
            let content = if is_there { Some(self.contents.of(path.as_bstr())?.to_string()) } else { None };
            Ok((path.clone(), content))
        });
        let outputs = outputs.collect::<Result<BTreeMap<_, _>, Failed>>()?;
        let recipe = recipe.fingerprint();
        Ok(Record {
            recipe,
            found,
            inputs,
            outputs,
            depfile: None,
            tools: String::new(),
            canonical: false,
            made: Made::Outside { begun },
            audited: None,
        })
    }

    fn read_by_its_depfile(&self, recipe: &Recipe, command: &Command) -> Vec<BString> {
        let Some(path) = &recipe.depfile else { return Vec::new() };
        let file = to_path(path.as_bstr());
        let read = fs::read(file).ok().and_then(|text| depfile::parse(&text).ok()).unwrap_or_default();
        if command.deps != Deps::Keep && !self.drive.keep.depfiles {
            fs::remove_file(file).ok(); // it may not have written one
        }
        let base = self.drive.graph.working_directory();
        read.inputs.iter().map(|path| absolute(path.as_bstr(), base)).collect()
    }
}

/// Whether a command runs another build, by its words or by what it was seen to do.
fn goes_by_times(recipe: &Recipe, why: &Outside) -> bool {
    recipe.kind == Kind::Build || *why == Outside::Build
}

fn modified(path: &BString) -> Option<SystemTime> {
    fs::metadata(to_path(path.as_bstr())).and_then(|metadata| metadata.modified()).ok()
}
