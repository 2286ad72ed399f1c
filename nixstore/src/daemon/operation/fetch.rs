//! Getting files out of a store.
#![deny(clippy::disallowed_methods)]

use super::Operation;
use crate::StorePath;
use crate::daemon::message::ERROR;
use crate::daemon::refusal::Refusal;
use crate::daemon::wire::{Decoder, Encoder, WireError};
use crate::nar::{Malformed, NarError, Reader};
use std::io::{self, BufWriter, Read, Write};

/// Writes the NAR of a valid path to a place of the caller's. A path that is not valid costs the connection.
pub struct NarFromPath<'a> {
    /// Which path.
    pub path: &'a StorePath,
    /// Where its NAR goes. After an error part of it may be there.
    pub out: &'a mut dyn Write,
}

impl Operation for NarFromPath<'_> {
    type Reply = ();
    const NAME: &'static str = "NarFromPath";
    const NUMBER: u64 = 38;

    fn write(&mut self, out: &mut Encoder<'_>) -> Result<(), WireError> {
        Ok(out.path(self.path)?)
    }

    fn read(self, input: &mut Decoder<'_>) -> Result<(), WireError> {
        // Nothing says how long the NAR is, so it is read as one.
        let mut copy = Copy { input: input.input(), out: BufWriter::new(self.out), failure: None };
        let read = read_over(&mut copy);
        let failure = copy.failure.take().or_else(|| copy.out.flush().err());
        match (failure, read) {
            (Some(failure), _) => Err(WireError::Contents(failure.into())),
            // An error stands where the length of a text should: of the first, or in Nix 2.26 and before of a later one.
            (None, Err(NarError::Malformed { problem: Malformed::TooLong { len: ERROR, .. }, .. })) => {
                Err(refusal(input))
            }
            (None, read) => Ok(read?),
        }
    }
}

/// Why there is no NAR. Nix 2.34 closes the connection before it has said it.
fn refusal(input: &mut Decoder<'_>) -> WireError {
    match Refusal::read(input) {
        Ok(refusal) => WireError::Refused(refusal),
        Err(WireError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => WireError::Refused(Refusal {
            message: "it gives no reason; the path may not be valid".into(),
            traces: Vec::new(),
        }),
        Err(error) => error,
    }
}

/// Reads up to the end of a NAR and no further.
fn read_over(input: impl Read) -> Result<(), NarError> {
    let mut reader = Reader::new(input);
    while reader.next()?.is_some() {}
    Ok(())
}

/// Writes all that is read.
struct Copy<'a, W: Write> {
    input: &'a mut dyn Read,
    out: W,
    /// Why nothing more could be written.
    failure: Option<io::Error>,
}

impl<W: Write> Read for Copy<'_, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        match self.out.write_all(&buffer[..read]) {
            Ok(()) => Ok(read),
            Err(failure) => {
                self.failure = Some(failure);
                Err(io::Error::other("what was read could not be written"))
            }
        }
    }
}
