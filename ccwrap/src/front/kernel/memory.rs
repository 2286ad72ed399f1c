//! The functions of memory that the compiler calls of itself. Those of the GNU library choose an implementation for the processor
//! when a process starts, and nobody does that here.

use core::ffi::{c_char, c_int};

/// Copies bytes, as memcpy(3).
///
/// # Safety
/// As memcpy(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: as promised.
    unsafe { forward(to, from, length) };
    to
}

/// Copies bytes that may overlap, as memmove(3).
///
/// # Safety
/// As memmove(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    if to.addr().wrapping_sub(from.addr()) >= length {
        // SAFETY: as promised; what is written has been read.
        unsafe { forward(to, from, length) };
    } else {
        for at in (0..length).rev() {
            // SAFETY: as promised. Volatile, so that it is not made into a call of this function.
            unsafe { to.add(at).write_volatile(from.add(at).read()) };
        }
    }
    to
}

/// Fills bytes, as memset(3).
///
/// # Safety
/// As memset(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: c_int, length: usize) -> *mut u8 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as promised; the direction is forward, as the calling convention says.
    unsafe {
        core::arch::asm!("rep stosb", inout("rcx") length => _, inout("rdi") to => _, in("al") byte as u8, options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    for at in 0..length {
        // SAFETY: as promised. Volatile, so that it is not made into a call of this function.
        unsafe { to.add(at).write_volatile(byte as u8) };
    }
    to
}

/// Compares bytes, as memcmp(3).
///
/// # Safety
/// As memcmp(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, length: usize) -> c_int {
    let mut at = 0;
    // SAFETY: as promised. Eight bytes that are the same need no second look.
    while length - at >= 8
        && unsafe { a.add(at).cast::<u64>().read_unaligned() == b.add(at).cast::<u64>().read_unaligned() }
    {
        at += 8;
    }
    while at < length {
        // SAFETY: as promised.
        let (a, b) = unsafe { (*a.add(at), *b.add(at)) };
        if a != b {
            return c_int::from(a) - c_int::from(b);
        }
        at += 1;
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
    // SAFETY: as promised. Volatile, so that it is not made into a call of this function.
    while unsafe { string.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}

/// Copies bytes from the first to the last.
///
/// # Safety
/// Those of `from` can be read, those of `to` written; `to` does not begin within `from`.
unsafe fn forward(to: *mut u8, from: *const u8, length: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as promised; the direction is forward, as the calling convention says.
    unsafe {
        core::arch::asm!("rep movsb", inout("rcx") length => _, inout("rdi") to => _, inout("rsi") from => _, options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    for at in 0..length {
        // SAFETY: as promised. Volatile, so that it is not made into a call of this function.
        unsafe { to.add(at).write_volatile(from.add(at).read()) };
    }
}
