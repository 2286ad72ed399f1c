//! nixbase32, the text form of hashes in store paths.
//!
//! The bytes are read as one little-endian number, written in base 32 with the most significant digit first, in an
//! alphabet without `e`, `o`, `t` and `u` (Nix 2.34, `BaseNix32`).

/// The 32 digits, in order of value.
pub const ALPHABET: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// How many digits `len` bytes take.
pub const fn encoded_len(len: usize) -> usize {
    (len * 8).div_ceil(5)
}

/// Writes `bytes` in nixbase32.
pub fn encode(bytes: &[u8]) -> String {
    (0..encoded_len(bytes.len()))
        .rev()
        .map(|digit| {
            let bit = digit * 5;
            let (byte, shift) = (bit / 8, bit % 8);
            let low = u16::from(bytes[byte]) >> shift;
            let high = bytes.get(byte + 1).map_or(0, |b| u16::from(*b) << (8 - shift));
            char::from(ALPHABET[usize::from((low | high) & 31)])
        })
        .collect()
}

/// Reads nixbase32 text that stands for exactly `len` bytes.
///
/// # Errors
/// [`Invalid`] where the length is wrong, a character is not a digit, or bits beyond the last byte are set.
pub fn decode(text: &[u8], len: usize) -> Result<Vec<u8>, Invalid> {
    if text.len() != encoded_len(len) {
        return Err(Invalid);
    }
    let mut bytes = vec![0u8; len];
    for (digit, character) in text.iter().rev().enumerate() {
        let value = VALUES[usize::from(*character)];
        if value == NOT_A_DIGIT {
            return Err(Invalid);
        }
        let bit = digit * 5;
        let (byte, shift) = (bit / 8, bit % 8);
        let spread = u16::from(value) << shift;
        bytes[byte] |= spread as u8;
        match bytes.get_mut(byte + 1) {
            Some(next) => *next |= (spread >> 8) as u8,
            None if spread >> 8 != 0 => return Err(Invalid),
            None => {}
        }
    }
    Ok(bytes)
}

/// The text is no nixbase32 of the length asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not nixbase32 of the expected length")]
pub struct Invalid;

const NOT_A_DIGIT: u8 = 0xff;

/// The value of each byte as a digit.
const VALUES: [u8; 256] = {
    let mut values = [NOT_A_DIGIT; 256];
    let mut value = 0;
    while value < 32 {
        values[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    values
};
