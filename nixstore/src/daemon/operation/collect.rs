//! Deleting what nothing keeps.
#![deny(clippy::disallowed_methods)]

use super::Operation;
use crate::StorePath;
use crate::daemon::wire::{Decoder, Encoder, WireError};
use std::collections::BTreeSet;

/// Finds or deletes paths that nothing keeps. May take long.
#[derive(Debug, Clone, Copy)]
pub struct CollectGarbage<'a> {
    /// What to do.
    pub collection: Collection<'a>,
    /// How many bytes are enough; `u64::MAX` for all.
    pub max_freed: u64,
}

/// What to find or to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collection<'a> {
    /// Finds what is kept.
    FindLive,
    /// Finds what is not.
    FindDead,
    /// Deletes what is not kept.
    DeleteDead,
    /// Deletes these, and fails where one is kept.
    Delete(&'a BTreeSet<StorePath>),
}

/// What was found or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// Files of the store directory, not all of which need be store paths.
    pub paths: Vec<String>,
    /// How many bytes were freed.
    pub freed: u64,
}

impl Operation for CollectGarbage<'_> {
    type Reply = Collected;
    const NAME: &'static str = "CollectGarbage";
    const NUMBER: u64 = 20;

    fn write(&mut self, out: &mut Encoder<'_>) -> Result<(), WireError> {
        const KEEP_WHAT_LIVES: bool = false;

        let none = BTreeSet::new();
        let (action, paths) = match self.collection {
            Collection::FindLive => (0, &none),
            Collection::FindDead => (1, &none),
            Collection::DeleteDead => (2, &none),
            Collection::Delete(paths) => (3, paths),
        };
        out.number(action)?;
        out.paths(paths)?;
        out.bool(KEEP_WHAT_LIVES)?;
        out.number(self.max_freed)?;
        // Three that have lost their meaning.
        (0..3).try_for_each(|_| Ok(out.number(0)?))
    }

    fn read(self, input: &mut Decoder<'_>) -> Result<Collected, WireError> {
        let collected = Collected { paths: input.list(Decoder::text)?, freed: input.number()? };
        // One that has lost its meaning.
        input.number()?;
        Ok(collected)
    }
}
