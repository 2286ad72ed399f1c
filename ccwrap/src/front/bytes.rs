//! Bytes put together in a place of a fixed size, without a heap.

use core::ffi::CStr;

/// Enough for most paths.
pub const PATH: usize = 1024;

/// Enough for all paths that the kernel takes (`PATH_MAX`).
pub const LONGEST_PATH: usize = 4096;

/// The bytes that have been put into a place, from its start.
pub struct Bytes<'a> {
    place: &'a mut [u8],
    length: usize,
}

impl<'a> Bytes<'a> {
    /// None yet.
    pub fn new(place: &'a mut [u8]) -> Self {
        Self { place, length: 0 }
    }

    /// Puts some behind; none where there is no room.
    pub fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let (to, _) = self.place.get_mut(self.length..)?.split_at_mut_checked(bytes.len())?;
        to.copy_from_slice(bytes);
        self.length = self.length.wrapping_add(bytes.len());
        Some(())
    }

    /// All of them.
    pub fn all(self) -> Option<&'a [u8]> {
        self.place.get(..self.length)
    }
}

/// Pieces as one.
pub fn joined<'a>(place: &'a mut [u8], pieces: &[&[u8]]) -> Option<&'a [u8]> {
    let mut bytes = Bytes::new(place);
    pieces.iter().try_for_each(|piece| bytes.put(piece))?;
    bytes.all()
}

/// Pieces of a path as the kernel takes it.
pub fn path<'a>(place: &'a mut [u8], pieces: &[&[u8]]) -> Option<&'a CStr> {
    let mut bytes = Bytes::new(place);
    pieces.iter().try_for_each(|piece| bytes.put(piece))?;
    bytes.put(b"\0")?;
    CStr::from_bytes_with_nul(bytes.all()?).ok()
}

/// What stands before the last slash of a path.
pub fn directory(path: &[u8]) -> Option<&[u8]> {
    path.get(..path.iter().rposition(|byte| *byte == b'/')?)
}

/// A number in decimal digits.
pub fn decimal(mut number: u64, place: &mut [u8; 20]) -> &[u8] {
    let mut start = place.len();
    for to in place.iter_mut().rev() {
        *to = b'0' | (number % 10) as u8;
        number /= 10;
        start = start.wrapping_sub(1);
        if number == 0 {
            break;
        }
    }
    place.get(start..).unwrap_or_default()
}
