//! Frames: bytes of an unknown number, in pieces that each say their length, and a last piece of none (Nix 2.34,
//! `FramedSource`).
#![deny(clippy::disallowed_methods)]

use super::wire::WireError;
use std::io::{self, Read, Write};

/// How many bytes a frame has that is not the last.
const FRAME: usize = 64 * 1024;

/// Bytes to be sent, which need not be in memory at once.
pub enum Contents<'a> {
    /// These.
    Bytes(&'a [u8]),
    /// What a function writes, such as [`crate::nar::dump`]. An error of its own ends the exchange and the connection
    /// with it, as there is no way to take back what was sent.
    Stream(&'a mut Stream<'a>),
}

/// A function that writes bytes.
pub type Stream<'a> = dyn FnMut(&mut dyn Write) -> Result<(), Box<dyn std::error::Error + Send + Sync>> + 'a;

impl Contents<'_> {
    /// Writes them into frames.
    pub(super) fn write_to(&mut self, frames: &mut FramedWriter<'_>) -> Result<(), WireError> {
        let written = match self {
            Self::Bytes(bytes) => frames.write_all(bytes).map_err(Into::into),
            Self::Stream(stream) => stream(frames),
        };
        // The function may have wrapped an error of the connection in one of its own.
        match (frames.failure.take(), written) {
            (Some(failure), _) => Err(WireError::Io(failure)),
            (None, written) => written.map_err(WireError::Contents),
        }
    }
}

/// Writes frames; [`FramedWriter::finish`] writes the last.
pub struct FramedWriter<'a> {
    out: &'a mut (dyn Write + 'a),
    frame: Vec<u8>,
    failure: Option<io::Error>,
}

impl<'a> FramedWriter<'a> {
    /// Writes frames to `out`.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out, frame: Vec::new(), failure: None }
    }

    /// Writes what is left, and the end.
    ///
    /// # Errors
    /// Those of where the frames go.
    pub fn finish(mut self) -> io::Result<()> {
        self.send()?;
        self.out.write_all(&0_u64.to_le_bytes())
    }

    fn send(&mut self) -> io::Result<()> {
        if !self.frame.is_empty() {
            self.out.write_all(&(self.frame.len() as u64).to_le_bytes())?;
            self.out.write_all(&self.frame)?;
            self.frame.clear();
        }
        Ok(())
    }
}

impl Write for FramedWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.frame.len() == FRAME {
            self.flush()?;
        }
        let taken = bytes.len().min(FRAME - self.frame.len());
        self.frame.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send().map_err(|error| {
            let stand_in = error.kind().into();
            self.failure = Some(error);
            stand_in
        })
    }
}

/// Reads what was written in frames, up to their end and no further.
pub struct FramedReader<'a> {
    input: &'a mut (dyn Read + 'a),
    /// How many bytes of the current frame are left; `None` after the last.
    left: Option<u64>,
}

impl<'a> FramedReader<'a> {
    /// Reads the frames that `input` begins with.
    pub fn new(input: &'a mut dyn Read) -> Self {
        Self { input, left: Some(0) }
    }

    /// Reads over what nobody wanted.
    ///
    /// # Errors
    /// Those of the input.
    pub fn finish(mut self) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink()).map(drop)
    }
}

impl Read for FramedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == Some(0) && !buffer.is_empty() {
            let mut len = [0; 8];
            self.input.read_exact(&mut len)?;
            self.left = Some(u64::from_le_bytes(len)).filter(|len| *len > 0);
        }
        let Some(left) = self.left else { return Ok(0) };
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.input.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left = Some(left - read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(bytes: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        let mut frames = FramedWriter::new(&mut wire);
        Contents::Bytes(bytes).write_to(&mut frames).unwrap();
        frames.finish().unwrap();
        wire
    }

    #[test]
    fn what_is_framed_is_read_again_and_nothing_after_it() {
        for len in [0, 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME] {
            let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut wire = framed(&bytes);
            wire.extend_from_slice(b"after");
            let mut input = wire.as_slice();
            let mut read = Vec::new();
            FramedReader::new(&mut input).read_to_end(&mut read).unwrap();
            assert!(read == bytes);
            assert_eq!(input, b"after");
        }
    }

    #[test]
    fn frames_that_are_cut_off_are_an_error() {
        let wire = framed(b"some bytes");
        for cut in 0..wire.len() {
            let mut input = &wire[..cut];
            assert!(FramedReader::new(&mut input).finish().is_err(), "{cut}");
        }
    }

    #[test]
    fn a_stream_that_fails_is_told_from_a_connection_that_does() {
        let mut wire = Vec::new();
        let mut stream = |_: &mut dyn Write| Err("no such file".into());
        let error = Contents::Stream(&mut stream).write_to(&mut FramedWriter::new(&mut wire)).unwrap_err();
        assert!(matches!(error, WireError::Contents(error) if error.to_string() == "no such file"));

        let mut nowhere: &mut [u8] = &mut [];
        let mut stream =
            |out: &mut dyn Write| out.write_all(&[0; 2 * FRAME]).map_err(|_| "wrapped by the caller".into());
        let error = Contents::Stream(&mut stream).write_to(&mut FramedWriter::new(&mut nowhere)).unwrap_err();
        assert!(matches!(error, WireError::Io(_)));
    }
}
