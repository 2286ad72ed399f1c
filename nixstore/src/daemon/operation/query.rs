//! Questions about paths and derivations that change nothing.
#![deny(clippy::disallowed_methods)]

use super::{Operation, Wanted};
use crate::daemon::wire::{Decoder, Encoder, WireError};
use crate::{OutputName, PathInfo, StorePath};
use std::collections::{BTreeMap, BTreeSet};

/// Whether a path is valid.
#[derive(Debug, Clone, Copy)]
pub struct IsValidPath<'a>(pub &'a StorePath);

impl Operation for IsValidPath<'_> {
    type Reply = bool;
    const NAME: &'static str = "IsValidPath";
    const NUMBER: u64 = 1;

    fn write(&mut self, out: &mut Encoder<'_>) -> Result<(), WireError> {
        Ok(out.path(self.0)?)
    }

    fn read(self, input: &mut Decoder<'_>) -> Result<bool, WireError> {
        input.bool()
    }
}

/// What is known of a path; `None` where it is not valid.
#[derive(Debug, Clone, Copy)]
pub struct QueryPathInfo<'a>(pub &'a StorePath);

impl Operation for QueryPathInfo<'_> {
    type Reply = Option<PathInfo>;
    const NAME: &'static str = "QueryPathInfo";
    const NUMBER: u64 = 26;

    fn write(&mut self, out: &mut Encoder<'_>) -> Result<(), WireError> {
        Ok(out.path(self.0)?)
    }

    fn read(self, input: &mut Decoder<'_>) -> Result<Self::Reply, WireError> {
        if input.bool()? { input.path_facts(self.0.clone()).map(Some) } else { Ok(None) }
    }
}

/// Which of some paths are valid.
#[derive(Debug, Clone, Copy)]
pub struct QueryValidPaths<'a> {
    /// The paths.
    pub paths: &'a BTreeSet<StorePath>,
    /// Whether the daemon is to get from its caches what it can.
    pub substitute: bool,
}

impl Operation for QueryValidPaths<'_> {
    type Reply = BTreeSet<StorePath>;
    const NAME: &'static str = "QueryValidPaths";
    const NUMBER: u64 = 31;

    fn write(&mut self, out: &mut Encoder<'_>) -> Result<(), WireError> {
        out.paths(self.paths)?;
        Ok(out.bool(self.substitute)?)
    }

    fn read(self, input: &mut Decoder<'_>) -> Result<Self::Reply, WireError> {
        input.paths()
    }
}

/// What would have to be done to make paths valid. Knows nothing of what depends on dynamic derivations.
#[derive(Debug, Clone, Copy)]
pub struct QueryMissing<'a>(pub &'a [Wanted]);

/// What a daemon would do for some paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Derivations that would be built.
    pub will_build: BTreeSet<StorePath>,
    /// Paths that would come from a cache.
    pub will_substitute: BTreeSet<StorePath>,
    /// Paths that nobody knows how to make.
    pub unknown: BTreeSet<StorePath>,
    /// How many bytes would be downloaded.
    pub download_size: u64,
    /// How many bytes of archives these would become.
    pub nar_size: u64,
}

impl Operation for QueryMissing<'_> {
    type Reply = Missing;
    const NAME: &'static str = "QueryMissing";
    const NUMBER: u64 = 40;

    fn write(&mut self, out: &mut Encoder<'_>) -> Result<(), WireError> {
        Ok(out.list(self.0, Wanted::write)?)
    }

    fn read(self, input: &mut Decoder<'_>) -> Result<Missing, WireError> {
        Ok(Missing {
            will_build: input.paths()?,
            will_substitute: input.paths()?,
            unknown: input.paths()?,
            download_size: input.number()?,
            nar_size: input.number()?,
        })
    }
}

/// The outputs of a derivation whose file is in the store, each with its path if that is known.
#[derive(Debug, Clone, Copy)]
pub struct QueryDerivationOutputMap<'a>(pub &'a StorePath);

impl Operation for QueryDerivationOutputMap<'_> {
    type Reply = BTreeMap<OutputName, Option<StorePath>>;
    const NAME: &'static str = "QueryDerivationOutputMap";
    const NUMBER: u64 = 41;

    fn write(&mut self, out: &mut Encoder<'_>) -> Result<(), WireError> {
        Ok(out.path(self.0)?)
    }

    fn read(self, input: &mut Decoder<'_>) -> Result<Self::Reply, WireError> {
        input.list(|input| Ok((input.output_name()?, input.optional_path()?)))
    }
}
