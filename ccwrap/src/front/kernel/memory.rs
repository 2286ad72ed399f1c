//! The functions of memory that the compiler calls of itself. Those of the GNU library choose an implementation for the processor
//! when a process starts, and nobody does that here.
//!
//! Mostly some ten bytes are meant, a part of a path: for so few, plain loops are faster than the instructions for strings. The
//! compiler must not take a loop for what it is, or it would call the function in itself: each value goes through [`some`].

use core::arch::asm;
use core::ffi::{c_char, c_int};

/// Bytes that are taken at once.
const WORD: usize = size_of::<u64>();

/// The value, of which the compiler knows nothing any more.
fn some(mut value: u64) -> u64 {
    // SAFETY: it does nothing.
    unsafe { asm!("/* {0} */", inout(reg) value, options(pure, nomem, nostack, preserves_flags)) };
    value
}

/// Copies bytes, as memcpy(3).
///
/// # Safety
/// As memcpy(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    let words = length / WORD * WORD;
    for at in (0..words).step_by(WORD) {
        // SAFETY: as promised.
        unsafe { to.add(at).cast::<u64>().write_unaligned(some(from.add(at).cast::<u64>().read_unaligned())) };
    }
    for at in words..length {
        // SAFETY: as promised.
        unsafe { to.add(at).write(some(from.add(at).read().into()) as u8) };
    }
    to
}

/// Copies bytes that may overlap, as memmove(3).
///
/// # Safety
/// As memmove(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    if to.addr().wrapping_sub(from.addr()) >= length {
        // SAFETY: as promised; what is written has been read, since it goes forward.
        return unsafe { memcpy(to, from, length) };
    }
    for at in (0..length).rev() {
        // SAFETY: as promised.
        unsafe { to.add(at).write(some(from.add(at).read().into()) as u8) };
    }
    to
}

/// Fills bytes, as memset(3).
///
/// # Safety
/// As memset(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: c_int, length: usize) -> *mut u8 {
    let word = u64::from_ne_bytes([byte as u8; WORD]);
    let words = length / WORD * WORD;
    for at in (0..words).step_by(WORD) {
        // SAFETY: as promised.
        unsafe { to.add(at).cast::<u64>().write_unaligned(some(word)) };
    }
    for at in words..length {
        // SAFETY: as promised.
        unsafe { to.add(at).write(some(word) as u8) };
    }
    to
}

/// Compares bytes, as memcmp(3).
///
/// # Safety
/// As memcmp(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, length: usize) -> c_int {
    let words = length / WORD * WORD;
    // SAFETY: as promised.
    let differ = |at: &usize| unsafe {
        some(a.add(*at).cast::<u64>().read_unaligned()) != b.add(*at).cast::<u64>().read_unaligned()
    };
    for at in (0..words).step_by(WORD).find(differ).unwrap_or(words)..length {
        // SAFETY: as promised.
        let (a, b) = unsafe { (*a.add(at), *b.add(at)) };
        if a != b {
            return c_int::from(a) - c_int::from(b);
        }
    }
    0
}

/// Says whether bytes differ, as bcmp(3).
///
/// # Safety
/// As bcmp(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, length: usize) -> c_int {
    // SAFETY: as promised.
    unsafe { memcmp(a, b, length) }
}

/// The length of a string, as strlen(3).
///
/// # Safety
/// As strlen(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(string: *const c_char) -> usize {
    let mut length = 0;
    // SAFETY: as promised.
    while some(unsafe { *string.add(length) } as u64) != 0 {
        length += 1;
    }
    length
}
