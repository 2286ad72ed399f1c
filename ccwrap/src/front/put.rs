//! Files put in the place of others, whole or not at all.

use crate::bytes::{self, PATH, decimal};
use crate::kernel::{self, File, Of, Open};

/// Puts files.
pub struct Put<'a> {
    /// How a file is called while it is written: nobody else writes one that is called so.
    name: [u8; 64],
    /// For what is copied.
    buffer: &'a mut [u8],
}

impl<'a> Put<'a> {
    /// With the time that it is now.
    pub fn new([_, nanoseconds]: [u64; 2], buffer: &'a mut [u8]) -> Option<Self> {
        let (mut process, mut time) = ([0; 20], [0; 20]);
        let process = decimal(u64::try_from(kernel::process()?).ok()?, &mut process);
        let mut name = [0; 64];
        bytes::path(&mut name, &[b"/.splitter-", process, b"-", decimal(nanoseconds, &mut time)])?;
        Some(Self { name, buffer })
    }

    /// Puts a copy of an open file of a size to `at`, executable if that is. The blocks are shared where the file system can do that.
    pub fn copy(&mut self, from: File, size: u64, mode: u32, at: &[u8]) -> Option<()> {
        self.replace(at, |new, buffer| {
            copy(from, new, size, buffer)?;
            if mode & 0o100 == 0 {
                return Some(());
            }
            let mode = kernel::status(Of::File(new))?.mode;
            kernel::set_mode(new, (mode | (mode & 0o444) >> 2) & 0o7777)
        })
    }

    /// Puts a file with this text to `at`.
    pub fn text(&mut self, text: &[u8], at: &[u8]) -> Option<()> {
        self.replace(at, |new, _| kernel::write(new, text))
    }

    fn replace(&mut self, at: &[u8], fill: impl FnOnce(File, &mut [u8]) -> Option<()>) -> Option<()> {
        let (mut from, mut to) = ([0; PATH], [0; PATH]);
        let name = self.name.split(|byte| *byte == 0).next()?;
        let from = bytes::path(&mut from, &[bytes::directory(at)?, name])?;
        let to = bytes::path(&mut to, &[at])?;
        match kernel::status(Of::Path(to)).map(|there| there.kind()) {
            Some(kernel::LINK) => return None, // which the compiler writes through
            // As an assembler does it. The memory that is free now serves for the new one; and ext4 has a file written at once that
            // takes the place of another.
            Some(kernel::FILE) => kernel::remove(to)?,
            _ => {}
        }
        let new = kernel::open(from, Open::New)?;
        let done = fill(new, self.buffer).and_then(|()| kernel::rename(from, to));
        if done.is_none() {
            kernel::remove(from); // the full program makes another
        }
        done
    }
}

fn copy(from: File, to: File, size: u64, buffer: &mut [u8]) -> Option<()> {
    let mut left = usize::try_from(size).ok()?;
    while left > 0
        && let Some(copied @ 1..) = kernel::copy(from, to)
    {
        left = left.saturating_sub(copied);
    }
    // What the kernel cannot copy goes through the buffer.
    while left > 0 {
        let copied = kernel::read(from, buffer)?;
        let bytes = buffer.get(..copied).filter(|bytes| !bytes.is_empty())?;
        kernel::write(to, bytes)?;
        left = left.saturating_sub(copied);
    }
    Some(())
}
