//! How a daemon is to work for one connection.
#![deny(clippy::disallowed_methods)]

use super::Operation;
use crate::daemon::wire::{Decoder, Encoder, WireError};
use std::collections::BTreeMap;

/// Settings for all that is asked for later on the same connection (Nix 2.34, `ClientSettings`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetOptions {
    /// Whether the directories of failed builds are kept.
    pub keep_failed: bool,
    /// Whether other builds go on after one has failed.
    pub keep_going: bool,
    /// Whether to build what cannot be got from a cache though it should.
    pub fallback: bool,
    /// Which of its own lines a daemon sends: 0 errors, 1 warnings, up to 7.
    pub verbosity: u64,
    /// How many builders may run at once for one request.
    pub max_jobs: u64,
    /// How many seconds a builder may be silent; 0 for any.
    pub max_silent_time: u64,
    /// How many processors a builder is told it may use; 0 for all.
    pub cores: u64,
    /// Whether to get paths from caches.
    pub substitute: bool,
    /// Any other settings by their names in nix.conf. A daemon ignores most of those of a client that it does not trust.
    pub overrides: BTreeMap<String, String>,
}

/// One builder at a time with one processor, no caches, and errors only.
impl Default for SetOptions {
    fn default() -> Self {
        Self {
            keep_failed: false,
            keep_going: false,
            fallback: false,
            verbosity: 0,
            max_jobs: 1,
            max_silent_time: 0,
            cores: 1,
            substitute: false,
            overrides: BTreeMap::new(),
        }
    }
}

impl Operation for SetOptions {
    type Reply = ();
    const NAME: &'static str = "SetOptions";
    const NUMBER: u64 = 19;

    fn write(&mut self, out: &mut Encoder<'_>) -> Result<(), WireError> {
        /// Obsolete: once whether builders may run on other machines.
        const USE_BUILD_HOOK: u64 = 1;
        /// The daemon does not print what builders write; its client gets it.
        const LOG_LEVEL_OF_BUILDS: u64 = 7;
        /// Obsolete, both.
        const LOG_TYPE_AND_TRACE: [u64; 2] = [0, 0];

        out.bool(self.keep_failed)?;
        out.bool(self.keep_going)?;
        out.bool(self.fallback)?;
        out.number(self.verbosity)?;
        out.number(self.max_jobs)?;
        out.number(self.max_silent_time)?;
        out.number(USE_BUILD_HOOK)?;
        out.number(LOG_LEVEL_OF_BUILDS)?;
        LOG_TYPE_AND_TRACE.into_iter().try_for_each(|obsolete| out.number(obsolete))?;
        out.number(self.cores)?;
        out.bool(self.substitute)?;
        Ok(out.list(&self.overrides, |out, (name, value)| {
            out.text(name)?;
            out.text(value)
        })?)
    }

    fn read(self, _input: &mut Decoder<'_>) -> Result<(), WireError> {
        Ok(())
    }
}
