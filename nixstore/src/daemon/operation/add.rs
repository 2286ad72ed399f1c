//! Putting files into a store.
#![deny(clippy::disallowed_methods)]

use super::Operation;
use crate::content_address::Method;
use crate::daemon::framed::{Contents, FramedWriter};
use crate::daemon::wire::{Decoder, Encoder, WireError};
use crate::hash::Algorithm;
use crate::path::StoreName;
use crate::{PathInfo, StorePath};
use std::collections::BTreeSet;

/// Adds an object that is named after its content. Answers what has become known of it; the path is kept until the
/// connection is closed.
pub struct AddToStore<'a> {
    /// The name in its path.
    pub name: &'a StoreName,
    /// How its content is hashed.
    pub method: Method,
    /// With what: SHA-256 but for old derivations.
    pub algorithm: Algorithm,
    /// What it names, which has to be valid: only texts and NARs hashed by SHA-256 may. It cannot name itself; for that
    /// there is [`AddToStoreNar`].
    pub references: &'a BTreeSet<StorePath>,
    /// Whether it is written again where it is there already. Only for trusted clients.
    pub repair: bool,
    /// The bytes of the file where the method is text or flat, else a NAR.
    pub contents: Contents<'a>,
}

impl Operation for AddToStore<'_> {
    type Reply = PathInfo;
    const NAME: &'static str = "AddToStore";
    const NUMBER: u64 = 7;

    fn write(&mut self, out: &mut Encoder<'_>) -> Result<(), WireError> {
        out.text(self.name.as_str())?;
        out.text(self.method.in_content_address(self.algorithm))?;
        out.paths(self.references)?;
        out.bool(self.repair)?;
        let mut frames = FramedWriter::new(out.out());
        self.contents.write_to(&mut frames)?;
        Ok(frames.finish()?)
    }

    fn read(self, input: &mut Decoder<'_>) -> Result<PathInfo, WireError> {
        let path = input.path()?;
        input.path_facts(path)
    }
}

/// Adds a path that is known already: one that another store has, or one that names itself. What it names has to be
/// valid. Without a content address only a trusted client may do it, or it needs a signature.
pub struct AddToStoreNar<'a> {
    /// What to add.
    pub path: Import<'a>,
    /// Whether it is written again where it is there already. Only for trusted clients.
    pub repair: bool,
    /// Whether signatures are of no interest. Only for trusted clients, others are not heeded.
    pub without_signatures: bool,
}

impl Operation for AddToStoreNar<'_> {
    type Reply = ();
    const NAME: &'static str = "AddToStoreNar";
    const NUMBER: u64 = 39;

    fn write(&mut self, out: &mut Encoder<'_>) -> Result<(), WireError> {
        out.path(&self.path.info.path)?;
        out.path_facts(self.path.info)?;
        out.bool(self.repair)?;
        out.bool(self.without_signatures)?;
        let mut frames = FramedWriter::new(out.out());
        self.path.nar.write_to(&mut frames)?;
        Ok(frames.finish()?)
    }

    fn read(self, _input: &mut Decoder<'_>) -> Result<(), WireError> {
        Ok(())
    }
}

/// As [`AddToStoreNar`] for many, in about half of the time. Each is registered as it comes, so a path stands after
/// those that it names; what came before one that fails stays.
pub struct AddMultipleToStore<'a> {
    /// What to add.
    pub paths: Vec<Import<'a>>,
    /// As in [`AddToStoreNar`].
    pub repair: bool,
    /// As in [`AddToStoreNar`].
    pub without_signatures: bool,
}

/// A path with its files.
pub struct Import<'a> {
    /// What is known of it. The hash and the size are those of the NAR.
    pub info: &'a PathInfo,
    /// The NAR of its files.
    pub nar: Contents<'a>,
}

impl Operation for AddMultipleToStore<'_> {
    type Reply = ();
    const NAME: &'static str = "AddMultipleToStore";
    const NUMBER: u64 = 44;

    fn write(&mut self, out: &mut Encoder<'_>) -> Result<(), WireError> {
        out.bool(self.repair)?;
        out.bool(self.without_signatures)?;
        let dialect = out.dialect();
        let mut frames = FramedWriter::new(out.out());
        Encoder::new(&mut frames, dialect).number(self.paths.len() as u64)?;
        for Import { info, nar } in &mut self.paths {
            let mut inside = Encoder::new(&mut frames, dialect);
            inside.path(&info.path)?;
            inside.path_facts(info)?;
            nar.write_to(&mut frames)?;
        }
        Ok(frames.finish()?)
    }

    fn read(self, _input: &mut Decoder<'_>) -> Result<(), WireError> {
        Ok(())
    }
}
