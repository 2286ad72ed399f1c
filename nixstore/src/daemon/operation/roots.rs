//! What keeps paths from being collected.
#![deny(clippy::disallowed_methods)]

use super::Operation;
use crate::StorePath;
use crate::daemon::wire::{Decoder, Encoder, WireError};
use bstr::ByteVec as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Keeps a path, valid or not yet, until the connection is closed.
#[derive(Debug, Clone, Copy)]
pub struct AddTempRoot<'a>(pub &'a StorePath);

impl Operation for AddTempRoot<'_> {
    type Reply = ();
    const NAME: &'static str = "AddTempRoot";
    const NUMBER: u64 = 11;

    fn write(&mut self, out: &mut Encoder<'_>) -> Result<(), WireError> {
        Ok(out.path(self.0)?)
    }

    fn read(self, input: &mut Decoder<'_>) -> Result<(), WireError> {
        input.done()
    }
}

/// Keeps what the symlink at this absolute path points to, for as long as it does.
#[derive(Debug, Clone, Copy)]
pub struct AddIndirectRoot<'a>(pub &'a Path);

impl Operation for AddIndirectRoot<'_> {
    type Reply = ();
    const NAME: &'static str = "AddIndirectRoot";
    const NUMBER: u64 = 12;

    fn write(&mut self, out: &mut Encoder<'_>) -> Result<(), WireError> {
        Ok(out.text(self.0.as_os_str().as_bytes())?)
    }

    fn read(self, input: &mut Decoder<'_>) -> Result<(), WireError> {
        input.done()
    }
}

/// Makes a symlink to a path and keeps the path for as long as that is there. Answers where the symlink is. Only for
/// trusted clients; Nix 2.8 does not know it and closes the connection.
#[derive(Debug, Clone, Copy)]
pub struct AddPermRoot<'a> {
    /// What is kept.
    pub path: &'a StorePath,
    /// Where the symlink is to be, as an absolute path.
    pub link: &'a Path,
}

impl Operation for AddPermRoot<'_> {
    type Reply = PathBuf;
    const NAME: &'static str = "AddPermRoot";
    const NUMBER: u64 = 47;

    fn write(&mut self, out: &mut Encoder<'_>) -> Result<(), WireError> {
        out.path(self.path)?;
        Ok(out.text(self.link.as_os_str().as_bytes())?)
    }

    fn read(self, input: &mut Decoder<'_>) -> Result<PathBuf, WireError> {
        file_path(input)
    }
}

/// Everything that keeps paths.
#[derive(Debug, Clone, Copy)]
pub struct FindRoots;

/// Something that keeps a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Root {
    /// A symlink, a file of a process below `/proc`, or a word in braces where the daemon does not tell.
    pub link: PathBuf,
    /// The path that it keeps.
    pub path: StorePath,
}

impl Operation for FindRoots {
    type Reply = Vec<Root>;
    const NAME: &'static str = "FindRoots";
    const NUMBER: u64 = 14;

    fn write(&mut self, _out: &mut Encoder<'_>) -> Result<(), WireError> {
        Ok(())
    }

    fn read(self, input: &mut Decoder<'_>) -> Result<Vec<Root>, WireError> {
        input.list(|input| Ok(Root { link: file_path(input)?, path: input.path()? }))
    }
}

fn file_path(input: &mut Decoder<'_>) -> Result<PathBuf, WireError> {
    Ok(input.bytes()?.into_path_buf().expect("on Unix a path is any bytes"))
}
