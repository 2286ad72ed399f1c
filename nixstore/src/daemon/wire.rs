//! How values stand on the wire. A number is 8 bytes, little-endian; a text is its length, its bytes and zeros up to the
//! next multiple of 8, as in a NAR; a list is the number of its items and the items (Nix 2.34, `serialise.cc` and
//! `worker-protocol.cc`).
//!
//! What is read comes from somebody else: nothing is allocated because a length was announced, and one message may not
//! be longer than [`MAX_MESSAGE`].
#![deny(clippy::disallowed_methods)]

mod decoder;
mod encoder;

pub use decoder::{Decoder, MAX_MESSAGE};
pub use encoder::Encoder;

use super::refusal::Refusal;
use crate::nar::NarError;
use std::io;

/// Why something could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The connection failed or ended.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// What was read is not what has to stand there.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The other side gave up in the middle of its answer, and the connection is of no more use.
    #[error(transparent)]
    Refused(Refusal),
    /// What the caller gives to be sent cannot be read, or what it takes not written.
    #[error("the contents could not be read or written")]
    Contents(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// An archive that comes by the wire: where it is cut off, so is the connection.
impl From<NarError> for WireError {
    fn from(error: NarError) -> Self {
        match error {
            NarError::Read(error) => Self::Io(error),
            NarError::Malformed { problem: crate::nar::Malformed::Truncated, .. } => {
                Self::Io(io::ErrorKind::UnexpectedEof.into())
            }
            error => Self::Malformed(Malformed::Archive(Box::new(error))),
        }
    }
}

/// What can be wrong with what the other side says.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// What fills up a text to a multiple of 8 is not zero.
    #[error("non-zero padding of a text")]
    Padding,
    /// It is longer than it may be.
    #[error("a message of more than {} MiB", MAX_MESSAGE >> 20)]
    TooMuch,
    /// A number stands for nothing.
    #[error("{number:#x} is not {what}")]
    Choice {
        /// What had to stand there.
        what: &'static str,
        /// What does.
        number: u64,
    },
    /// A text stands for nothing.
    #[error("`{text}` is not {what}")]
    Value {
        /// What had to stand there.
        what: &'static str,
        /// What does, or the beginning of it.
        text: String,
    },
    /// An archive is none.
    #[error("an archive is not well-formed")]
    Archive(#[source] Box<NarError>),
}

impl Malformed {
    /// An error that says that `text` is not `what`.
    pub(super) fn not(what: &'static str, text: &[u8]) -> Self {
        const SHOWN: usize = 200;
        Self::Value { what, text: String::from_utf8_lossy(&text[..text.len().min(SHOWN)]).into_owned() }
    }
}

/// How many zeros follow a text of `len` bytes.
fn padding(len: u64) -> usize {
    (len.wrapping_neg() % 8) as usize
}
