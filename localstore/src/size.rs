//! Sizes as people write and read them: `12.3 GiB`, in powers of 1024.

use std::fmt;
use std::str::FromStr;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const UNITS: [(&str, u32); 5] = [("PiB", 50), ("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// One digit after the point, of the largest unit of which there is one: `12.3 GiB`. Below 1 KiB: `17 bytes`.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What would be rounded up to 1024.0 is one of the next unit.
        match UNITS
            .iter()
            .map(|(unit, bits)| (unit, self.0 as f64 / (1u64 << bits) as f64))
            .find(|(_, n)| *n >= 0.99995)
        {
            Some((unit, count)) => write!(f, "{count:.1} {unit}"),
            None => write!(f, "{} byte{}", self.0, if self.0 == 1 { "" } else { "s" }),
        }
    }
}

/// Bytes, or a number with a unit: `K`, `M`, `G`, `T`, `P` (as Nix's own settings have it), also written `Ki` or `KiB` and so
/// on, with or without a space, in either case. Every unit is a power of 1024.
impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let wrong = || SizeError { text: text.into() };
        let trimmed = text.trim();
        let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = (&trimmed[..end], trimmed[end..].trim_start());
        let is = |name: &str| [name, &name[..2], &name[..1]].iter().any(|name| unit.eq_ignore_ascii_case(name));
        if unit.is_empty() || ["b", "byte", "bytes"].iter().any(|name| unit.eq_ignore_ascii_case(name)) {
            return number.parse().map(Self).map_err(|_| wrong());
        }
        let (_, bits) = UNITS.iter().find(|(name, _)| is(name)).ok_or_else(wrong)?;
        // Without a point it is exact.
        let bytes = match number.parse::<u64>() {
            Ok(count) => count.checked_mul(1 << bits).ok_or_else(wrong)?,
            Err(_) => {
                let bytes = number.parse::<f64>().map_err(|_| wrong())? * (1u64 << bits) as f64;
                if bytes >= u64::MAX as f64 {
                    return Err(wrong());
                }
                bytes as u64
            }
        };
        Ok(Self(bytes))
    }
}

/// A text that is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no size: write a number of bytes, or one with K, M, G or T (powers of 1024), such as `20G`")]
pub struct SizeError {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_with_one_digit_after_the_point() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (13_207_024_435, "12.3 GiB"),
            ((1 << 30) - 1, "1.0 GiB"),
            (20 << 30, "20.0 GiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }

    #[test]
    fn sizes_are_read_in_bytes_and_in_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("123456789", 123_456_789),
            ("17 bytes", 17),
            ("20G", 20 << 30),
            ("20g", 20 << 30),
            ("20 GiB", 20 << 30),
            ("1.5M", 3 << 19),
            (" 2T ", 2 << 40),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "G", "-1", "1.5", "20GB", "20 apples", "1e3", "99999999999G", "1..5K", "."] {
            let error = text.parse::<Size>().expect_err(text).to_string();
            assert!(error.starts_with(&format!("`{text}` is no size")), "{error}");
        }
    }
}
