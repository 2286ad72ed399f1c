//! Having a daemon run one derivation.

use super::failure::{end_of_log, explained, failure};
use super::{DaemonStore, Way, told};
use crate::content_address::Method;
use crate::daemon::framed::Contents;
use crate::daemon::operation::{
    AddToStore, BuildDerivation, BuildMode, BuildPathsWithResults, BuildResult, Outputs as Which, Status, Wanted,
};
use crate::daemon::wire::Malformed;
use crate::daemon::{DaemonError, Event, HEARTBEAT};
use crate::hash::Algorithm;
use crate::store::{BuildOptions, Built, Failure, Outputs, RealiseError, StoreError};
use crate::{PathInfo, ResolvedDerivation, StorePath};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// The longest log that is kept, in bytes; what comes after it is not.
const LOG: usize = 16 << 20;

impl DaemonStore {
    pub(super) fn build(
        &self,
        derivation: &ResolvedDerivation,
        options: &BuildOptions<'_>,
    ) -> Result<Built, RealiseError> {
        let start = Instant::now();
        self.check_inputs(derivation)?;
        let name = &derivation.get().name;
        let (ran, outputs) = match self.way {
            Way::ContentAddressed | Way::Recursive => {
                let result = self.run(derivation, options)?;
                let made = result.outputs.into_iter();
                let outputs: Outputs = made.map(|(name, realised)| (name, realised.path)).collect();
                if let Some(output) = derivation.get().outputs.keys().find(|output| !outputs.contains_key(*output)) {
                    return Err(StoreError::new(
                        format!("realise `{name}`"),
                        format!("the daemon did not say what output `{output}` has come out as"),
                    )
                    .into());
                }
                (result.status == Status::Built, outputs)
            }
            Way::Stock => {
                let by_inputs = derivation.addressed_by_inputs(&self.store_dir);
                let result = self.run(&by_inputs, options)?;
                (result.status == Status::Built, self.add_again(derivation, &by_inputs)?)
            }
        };
        let paths: Vec<StorePath> = outputs.values().cloned().collect();
        let infos = self.infos(&paths).map_err(told(format!("look up the outputs of `{name}`")))?;
        if self.way == Way::Recursive {
            let path = derivation.path(&self.store_dir);
            self.built.lock().unwrap_or_else(PoisonError::into_inner).insert(path, outputs.clone());
        }
        let valid = |((name, path), info): ((_, StorePath), Option<PathInfo>)| {
            let gone = || StoreError::new(format!("use `{path}`"), "the daemon made it and does not have it any more");
            Ok((name, info.ok_or_else(gone)?))
        };
        let outputs = outputs.into_iter().zip(infos).map(valid).collect::<Result<_, StoreError>>()?;
        Ok(Built { outputs, duration: start.elapsed(), ran })
    }

    /// Whether all that it needs is valid, and stays so.
    fn check_inputs(&self, derivation: &ResolvedDerivation) -> Result<(), StoreError> {
        let what = || format!("run `{}`", derivation.get().name);
        let invalid = self.invalid(derivation.get().input_srcs.iter().cloned()).map_err(told(what()))?;
        match invalid.first() {
            Some(path) => Err(StoreError::new(what(), format!("its input `{path}` is not valid"))),
            None => Ok(()),
        }
    }

    /// Runs it, as this daemon lets us.
    fn run(&self, derivation: &ResolvedDerivation, options: &BuildOptions<'_>) -> Result<BuildResult, RealiseError> {
        let what = || format!("realise `{}`", derivation.get().name);
        let refused = |message: &str| StoreError::new(what(), explained(message, &self.store_dir));
        let failed = |reason, log| Err(RealiseError::Failed { reason, log });
        let mut log = Vec::new();
        let answer = match self.needs_files.load(Ordering::Relaxed) {
            false => match self.directly(derivation, options, &mut log) {
                Err(DaemonError::Refused { refusal, .. }) if is_about_trust(&refusal.message) => {
                    self.needs_files.store(true, Ordering::Relaxed);
                    self.by_file(derivation, options, &mut log)
                }
                answer => answer,
            },
            true => self.by_file(derivation, options, &mut log),
        };
        let result = match answer {
            Ok(result) => result,
            Err(DaemonError::Cancelled { .. }) => return failed(Failure::Cancelled, log),
            Err(DaemonError::TimedOut { .. }) => {
                return failed(Failure::TimedOut(options.timeout.unwrap_or_default()), log);
            }
            Err(DaemonError::Refused { refusal, .. }) => return Err(refused(&refusal.to_string()).into()),
            Err(error) => return Err(told(what())(error).into()),
        };
        if result.status.is_success() {
            return Ok(result);
        }
        if log.is_empty() {
            log = end_of_log(&result.message);
        }
        if let Some(refusal) = refused_sandbox(&log) {
            return Err(
                StoreError::new(format!("run `{}` in the daemon's sandbox", derivation.get().name), refusal).into()
            );
        }
        match failure(&result, options.timeout, derivation.get().outputs.keys()) {
            Some(reason) => failed(reason, log),
            None => Err(refused(&result.message).into()),
        }
    }

    /// Its file need not be in the store.
    fn directly(
        &self,
        derivation: &ResolvedDerivation,
        options: &BuildOptions<'_>,
        log: &mut Vec<u8>,
    ) -> Result<BuildResult, DaemonError> {
        let path = derivation.path(&self.store_dir);
        let build = BuildDerivation { path: &path, derivation, mode: BuildMode::Normal };
        let mut wait = self.pool.wait_for_build(options.cancelled, HEARTBEAT);
        if let Some(timeout) = options.timeout {
            wait = wait.until(Instant::now() + timeout);
        }
        self.pool.get()?.call_waiting(build, &mut |event| listen(log, event), &mut wait)
    }

    /// Its file is added first.
    fn by_file(
        &self,
        derivation: &ResolvedDerivation,
        options: &BuildOptions<'_>,
        log: &mut Vec<u8>,
    ) -> Result<BuildResult, DaemonError> {
        let drv = derivation.get();
        let mut connection = self.pool.get()?;
        let file = AddToStore {
            name: &drv.name.of_derivation(),
            method: Method::Text,
            algorithm: Algorithm::Sha256,
            references: &drv.references(),
            repair: false,
            contents: Contents::Bytes(&drv.to_aterm(&self.store_dir)),
        };
        let path = connection.call(file, &mut |_| {})?.path;
        let wanted = [Wanted::Outputs { derivation: path, through: Vec::new(), outputs: Which::All }];
        let mut wait = self.pool.wait_for_build(options.cancelled, HEARTBEAT);
        if let Some(timeout) = options.timeout {
            wait = wait.until(Instant::now() + timeout);
        }
        let build = BuildPathsWithResults { wanted: &wanted, mode: BuildMode::Normal };
        let mut results = connection.call_waiting(build, &mut |event| listen(log, event), &mut wait)?;
        match results.pop() {
            Some((_, result)) => Ok(result),
            None => Err(DaemonError::Malformed {
                operation: "BuildPathsWithResults",
                problem: Malformed::Choice { what: "the number of results of one derivation", number: 0 },
            }),
        }
    }
}

fn listen(log: &mut Vec<u8>, event: Event) {
    if let Event::BuildLog { line, .. } = event
        && log.len() < LOG
    {
        log.extend_from_slice(&line);
        log.push(b'\n');
    }
}

/// Nix's words for a derivation that only those may submit directly whom it trusts.
fn is_about_trust(message: &str) -> bool {
    message.contains("not privileged")
}

/// What the runner says where it cannot make a sandbox of its own.
fn refused_sandbox(log: &[u8]) -> Option<String> {
    const SAYS: &str = "splitter-runner: cannot run an edge in this sandbox: ";
    let text = String::from_utf8_lossy(log);
    text.lines().rev().find_map(|line| line.strip_prefix(SAYS).map(str::to_owned))
}
