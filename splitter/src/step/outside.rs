//! Commands that run where they are: those for people and those that read what nobody can know, each time; those that run
//! another build, when ninja would run them.
//!
//! A build has state of its own, of which it makes use when it is run again, such as CMake's cache and the results of an
//! earlier build. In a sandbox it would have none, and we none to give. What it reads is its own matter: from outside, only
//! times say that a stamp was written again, which is all that a step of CMake's ExternalProject shows of what it did.

use super::{Failed, Outcome, Steps};
use crate::discover::{self, to_path, wide};
use crate::drive::{Done, Reason};
use crate::graph::{Command, EdgeId, Pool};
use crate::jobserver::Jobserver;
use crate::materialise;
use crate::recipe::{Kind, Recipe};
use crate::state::Build;
use bstr::{BString, ByteSlice as _};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

impl Steps<'_> {
    /// A command that is for people, or reads what nobody can know, runs where it is; with the terminal if it is alone on it.
    pub(super) fn outside(&self, edge: EdgeId, command: &Command, reason: Reason) -> Result<Outcome, Failed> {
        let build = to_path(self.drive.graph.working_directory());
        if let Some(file) = &command.rspfile {
            materialise::write(&file.content, &build.join(to_path(file.path.as_bstr())))?;
        }
        for output in &self.drive.graph.edge(edge).outputs {
            let path = self.drive.path(*output);
            self.contents.forget(path.as_bstr());
            fs::create_dir_all(to_path(discover::parent(path.as_bstr())))?;
        }
        let mut shell = std::process::Command::new("/bin/sh");
        shell.arg("-c").arg(std::ffi::OsStr::from_bytes(&command.text)).current_dir(build);
        shell.envs(self.drive.jobserver.and_then(Jobserver::environment));
        shell.envs(&self.drive.outside);
        let (status, log) = if command.pool == Pool::Console {
            (shell.status()?, Vec::new())
        } else {
            let output = shell.stdin(std::process::Stdio::null()).output()?;
            (output.status, [output.stdout, output.stderr].concat())
        };
        self.headers.forget_all();
        self.presence.forget_all();
        self.contents.look_again();
        if let Some(file) = command.rspfile.as_ref().filter(|_| status.success() && !self.drive.keep.response_files) {
            fs::remove_file(build.join(to_path(file.path.as_bstr()))).ok(); // the command may have done it
        }
        match status.success() {
            true => Ok(Outcome::plain(Done::Ran(reason), log)),
            false => Err(Failed { error: status.to_string().into(), log }),
        }
    }

    /// A command of which it has turned out that it reads what is no input of anything.
    pub(super) fn unknowable(
        &self,
        edge: EdgeId,
        command: &Command,
        recipe: &Recipe,
        path: BString,
    ) -> Result<Outcome, Failed> {
        if wide::is_build_file(path.as_bstr()) {
            return self.run_a_build(edge, command, recipe);
        }
        self.outside_too.store(true, Ordering::Relaxed);
        self.outside(edge, command, Reason::Unknowable(path))
    }

    /// Whether a command runs a build, by its words or by what it was once seen to do.
    pub(super) fn runs_a_build(&self, edge: EdgeId, recipe: &Recipe) -> bool {
        recipe.kind == Kind::Build || self.build(edge).is_some_and(|build| build.recipe == recipe.fingerprint())
    }

    /// Runs such a command if it is out of date.
    pub(super) fn run_a_build(&self, edge: EdgeId, command: &Command, recipe: &Recipe) -> Result<Outcome, Failed> {
        let Some(reason) = self.out_of_date(edge, recipe) else {
            return Ok(Outcome::plain(Done::UpToDate, Vec::new()));
        };
        // By the clock of the file system, which is behind others.
        let begun = tempfile::tempfile_in(to_path(self.drive.graph.working_directory()))?.metadata()?.modified()?;
        let outcome = self.outside(edge, command, reason)?;
        let build = Build { recipe: recipe.fingerprint(), begun };
        self.builds.lock().unwrap_or_else(PoisonError::into_inner).insert(self.drive.name(edge), build);
        Ok(outcome)
    }

    /// Why such a command is to be run.
    pub(super) fn out_of_date(&self, edge: EdgeId, recipe: &Recipe) -> Option<Reason> {
        match self.build(edge) {
            None => Some(Reason::New),
            Some(build) if build.recipe != recipe.fingerprint() => Some(Reason::Command),
            Some(build) => self.is_behind(edge, &build),
        }
    }

    /// What is wrong, by times, with what such a command made.
    pub(crate) fn is_behind(&self, edge: EdgeId, build: &Build) -> Option<Reason> {
        let mut outputs = self.drive.graph.edge(edge).outputs.iter().map(|file| self.drive.path(*file));
        if let Some(path) = outputs.find(|path| fs::metadata(to_path(path.as_bstr())).is_err()) {
            return Some(Reason::Output(path));
        }
        let modified = |path: &BString| fs::metadata(to_path(path.as_bstr())).and_then(|metadata| metadata.modified());
        let newer = |path: &BString| modified(path).is_ok_and(|time| time > build.begun);
        self.drive.stated(edge).into_iter().find(newer).map(Reason::Input)
    }

    fn build(&self, edge: EdgeId) -> Option<Build> {
        let builds = self.builds.lock().unwrap_or_else(PoisonError::into_inner);
        builds.get(&self.drive.name(edge)).cloned()
    }
}
