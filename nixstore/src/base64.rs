//! Standard base64 with padding (RFC 4648, section 4), as in SRI hashes and signatures.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes `bytes` in base64.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            if digit <= group.len() {
                text.push(char::from(ALPHABET[(bits >> (18 - 6 * digit)) as usize & 63]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// Reads base64 text.
///
/// # Errors
/// [`Invalid`] where the text is not what [`encode`] writes: wrong padding, other characters, bits beyond the last byte.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, Invalid> {
    if !text.len().is_multiple_of(4) {
        return Err(Invalid);
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let last = text.len() / 4;
    for (i, group) in text.chunks(4).enumerate() {
        let digits = if i + 1 == last { group.iter().take_while(|c| **c != b'=').count() } else { 4 };
        if digits < 2 || group[digits..].iter().any(|c| *c != b'=') {
            return Err(Invalid);
        }
        let mut bits = 0;
        for digit in &group[..digits] {
            let value = ALPHABET.iter().position(|c| c == digit).ok_or(Invalid)? as u32;
            bits = bits << 6 | value;
        }
        bits <<= 6 * (4 - digits);
        let [_, decoded @ ..] = bits.to_be_bytes();
        if decoded[digits - 1..].iter().any(|b| *b != 0) {
            return Err(Invalid);
        }
        bytes.extend_from_slice(&decoded[..digits - 1]);
    }
    Ok(bytes)
}

/// The text is no base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not base64")]
pub struct Invalid;
