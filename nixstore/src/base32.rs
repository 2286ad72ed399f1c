//! nixbase32, the text form of hashes in store paths.
//!
//! The bytes are read as one little-endian number, written in base 32 with the most significant digit first, in an
//! alphabet without `e`, `o`, `t` and `u` (Nix 2.34, `BaseNix32`).
#![deny(clippy::disallowed_methods)]

/// The 32 digits, in order of value.
pub const ALPHABET: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// How many digits `len` bytes take.
pub const fn encoded_len(len: usize) -> usize {
    (len * 8).div_ceil(5)
}

/// Writes `bytes` in nixbase32.
pub fn encode(bytes: &[u8]) -> String {
    let mut digits = Vec::with_capacity(encoded_len(bytes.len()));
    // Five bytes are eight digits, the lowest first.
    for group in bytes.chunks(5) {
        let mut bits = [0; 8];
        bits[..group.len()].copy_from_slice(group);
        let mut bits = u64::from_le_bytes(bits);
        for _ in 0..encoded_len(group.len()) {
            digits.push(ALPHABET[(bits & 31) as usize]);
            bits >>= 5;
        }
    }
    digits.reverse();
    String::from_utf8(digits).expect("the digits are ASCII")
}

/// Reads nixbase32 text that stands for exactly `len` bytes.
///
/// # Errors
/// [`Invalid`] where the length is wrong, a character is not a digit, or bits beyond the last byte are set.
pub fn decode(text: &[u8], len: usize) -> Result<Vec<u8>, Invalid> {
    if text.len() != encoded_len(len) {
        return Err(Invalid);
    }
    let mut bytes = Vec::with_capacity(len);
    for group in text.rchunks(8) {
        let mut bits = 0;
        for character in group {
            let value = VALUES[usize::from(*character)];
            if value == NOT_A_DIGIT {
                return Err(Invalid);
            }
            bits = bits << 5 | u64::from(value);
        }
        let group = bits.to_le_bytes();
        let (new, surplus) = group.split_at((len - bytes.len()).min(5));
        if surplus.iter().any(|byte| *byte != 0) {
            return Err(Invalid);
        }
        bytes.extend_from_slice(new);
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
