//! Reading values.
#![deny(clippy::disallowed_methods)]

use super::{Malformed, WireError, padding};
use crate::daemon::version::Dialect;
use crate::{OutputName, PathInfo, Sha256, StorePath};
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::str::FromStr;

/// How many bytes one message or one reply may have, without the contents of files: more than a store of a million
/// paths has to tell.
pub const MAX_MESSAGE: u64 = 256 << 20;

/// Reads values.
pub struct Decoder<'a> {
    input: &'a mut (dyn Read + 'a),
    dialect: &'a Dialect,
    /// How many more bytes the message may have.
    left: u64,
}

impl<'a> Decoder<'a> {
    /// Reads one message from `input`, in small pieces: it should be buffered.
    pub fn new(input: &'a mut dyn Read, dialect: &'a Dialect) -> Self {
        Self { input, dialect, left: MAX_MESSAGE }
    }

    /// How the two sides speak.
    pub fn dialect(&self) -> &'a Dialect {
        self.dialect
    }

    /// Where bytes without a length come from, such as archives.
    pub fn input(&mut self) -> &mut dyn Read {
        self.input
    }

    /// Reads a number.
    ///
    /// # Errors
    /// [`WireError`] where the input ends or fails, as with all that follow, or is not what has to stand there.
    pub fn number(&mut self) -> Result<u64, WireError> {
        self.spend(8)?;
        let mut bytes = [0; 8];
        self.input.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Reads 0 or 1.
    pub fn bool(&mut self) -> Result<bool, WireError> {
        match self.number()? {
            0 => Ok(false),
            1 => Ok(true),
            number => Err(Malformed::Choice { what: "a truth value", number }.into()),
        }
    }

    /// Reads the bytes of a text.
    pub fn bytes(&mut self) -> Result<Vec<u8>, WireError> {
        let len = self.text_length()?;
        let first = usize::try_from(len).unwrap_or(FIRST_BYTES).min(FIRST_BYTES);
        let mut bytes = Vec::with_capacity(first);
        (&mut *self.input).take(len).read_to_end(&mut bytes)?;
        self.end_of_text(len, bytes.len() as u64)?;
        Ok(bytes)
    }

    /// Reads over a text.
    pub fn skip_text(&mut self) -> Result<(), WireError> {
        let len = self.text_length()?;
        let skipped = io::copy(&mut (&mut *self.input).take(len), &mut io::sink())?;
        self.end_of_text(len, skipped)
    }

    /// Reads a text that is UTF-8.
    pub fn text(&mut self) -> Result<String, WireError> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes).map_err(|error| Malformed::not("UTF-8", error.as_bytes()).into())
    }

    /// Reads a text that stands for a value; `what` names the value.
    pub fn parse<T: FromStr>(&mut self, what: &'static str) -> Result<T, WireError> {
        self.value(what, |text| text.parse().ok())
    }

    /// Reads a text from which `parse` makes a value; `what` names the value.
    pub fn value<T>(&mut self, what: &'static str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, WireError> {
        let text = self.text()?;
        parse(&text).ok_or_else(|| Malformed::not(what, text.as_bytes()).into())
    }

    /// Reads a whole path.
    pub fn path(&mut self) -> Result<StorePath, WireError> {
        let dialect = self.dialect;
        self.value("a store path", |text| dialect.store_dir.parse(text).ok())
    }

    /// Reads a whole path, or an empty text for none.
    pub fn optional_path(&mut self) -> Result<Option<StorePath>, WireError> {
        let dialect = self.dialect;
        self.value("a store path", |text| match text {
            "" => Some(None),
            text => dialect.store_dir.parse(text).ok().map(Some),
        })
    }

    /// Reads the name of an output.
    pub fn output_name(&mut self) -> Result<OutputName, WireError> {
        self.parse("the name of an output")
    }

    /// Reads how many items there are and each of them.
    pub fn list<T, C: FromIterator<T>>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<C, WireError> {
        let count = self.number()?;
        (0..count).map(|_| read(self)).collect()
    }

    /// Reads a set of whole paths.
    pub fn paths(&mut self) -> Result<BTreeSet<StorePath>, WireError> {
        self.list(Self::path)
    }

    /// Reads what is known of `path`.
    pub fn path_facts(&mut self, path: StorePath) -> Result<PathInfo, WireError> {
        Ok(PathInfo {
            path,
            deriver: self.optional_path()?,
            nar_hash: self.value("a hash in base 16", |text| Sha256::from_hex(text).ok())?,
            references: self.paths()?,
            registration_time: self.number()?,
            nar_size: self.number()?,
            ultimate: self.bool()?,
            signatures: self.list(Self::text)?,
            ca: self.value("a content address", |text| match text {
                "" => Some(None),
                text => text.parse().ok().map(Some),
            })?,
        })
    }

    /// Reads the 1 that a daemon answers with where it has nothing to tell.
    pub fn done(&mut self) -> Result<(), WireError> {
        match self.number()? {
            1 => Ok(()),
            number => Err(Malformed::Choice { what: "the 1 that says it is done", number }.into()),
        }
    }

    fn text_length(&mut self) -> Result<u64, WireError> {
        let len = self.number()?;
        self.spend(len)?;
        Ok(len)
    }

    fn end_of_text(&mut self, announced: u64, read: u64) -> Result<(), WireError> {
        if read < announced {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let mut zeros = [0; 8];
        self.input.read_exact(&mut zeros[..padding(announced)])?;
        if zeros == [0; 8] { Ok(()) } else { Err(Malformed::Padding.into()) }
    }

    fn spend(&mut self, bytes: u64) -> Result<(), WireError> {
        self.left = self.left.checked_sub(bytes).ok_or(Malformed::TooMuch)?;
        Ok(())
    }
}

/// How much is set aside for a text before its bytes are there.
const FIRST_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreDir;
    use crate::daemon::version::Version;
    use crate::daemon::wire::Encoder;

    fn dialect() -> Dialect {
        Dialect { version: Version::NEWEST, features: BTreeSet::new(), store_dir: StoreDir::default() }
    }

    fn read<T>(bytes: &[u8], read: impl FnOnce(&mut Decoder<'_>) -> Result<T, WireError>) -> Result<T, WireError> {
        read(&mut Decoder::new(&mut &bytes[..], &dialect()))
    }

    fn numbers(numbers: &[u64]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    #[test]
    fn a_text_is_filled_up_with_zeros() {
        let mut bytes = Vec::new();
        Encoder::new(&mut bytes, &dialect()).text("hello").unwrap();
        assert_eq!(bytes, b"\x05\0\0\0\0\0\0\0hello\0\0\0");
        assert_eq!(read(&bytes, |input| input.text()).unwrap(), "hello");
        *bytes.last_mut().unwrap() = 1;
        assert!(matches!(read(&bytes, |input| input.text()), Err(WireError::Malformed(Malformed::Padding))));
        assert!(matches!(read(&bytes, |input| input.skip_text()), Err(WireError::Malformed(Malformed::Padding))));
    }

    #[test]
    fn a_text_longer_than_any_message_is_refused_before_it_is_read() {
        for len in [MAX_MESSAGE, u64::MAX] {
            let bytes = numbers(&[len]);
            assert!(matches!(read(&bytes, |input| input.bytes()), Err(WireError::Malformed(Malformed::TooMuch))));
        }
    }

    #[test]
    fn texts_together_are_no_longer_than_a_message() {
        // Items of no bytes cost their length.
        let mut endless = io::repeat(0);
        let dialect = dialect();
        let mut decoder = Decoder::new(&mut endless, &dialect);
        decoder.left = 1000;
        let read: Result<Vec<_>, _> = (0..u64::MAX).map(|_| decoder.bytes()).collect();
        assert!(matches!(read, Err(WireError::Malformed(Malformed::TooMuch))));
    }

    #[test]
    fn a_length_that_nothing_follows_costs_no_memory() {
        for len in [1 << 20, MAX_MESSAGE - 8] {
            let error = read(&numbers(&[len]), |input| input.bytes()).unwrap_err();
            assert!(matches!(error, WireError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof));
        }
        let list = |decoder: &mut Decoder<'_>| decoder.list::<_, Vec<_>>(Decoder::number);
        assert!(matches!(read(&numbers(&[u64::MAX, 1]), list), Err(WireError::Io(_))));
    }

    #[test]
    fn what_is_no_truth_value_and_no_path_is_refused() {
        let error = read(&numbers(&[2]), |input| input.bool()).unwrap_err();
        assert_eq!(error.to_string(), "0x2 is not a truth value");
        let mut bytes = Vec::new();
        Encoder::new(&mut bytes, &dialect()).text("/elsewhere").unwrap();
        assert_eq!(read(&bytes, |input| input.path()).unwrap_err().to_string(), "`/elsewhere` is not a store path");
        assert!(read(&numbers(&[0]), |input| input.path()).is_err());
        assert_eq!(read(&numbers(&[0]), |input| input.optional_path()).unwrap(), None);
    }
}
