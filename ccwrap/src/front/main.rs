//! The `ccwrap` command as it is called: answers what an entry answers by looks alone, which is most calls, and leaves
//! everything else to the full program.
//!
//! Half of the time of a hit would be the start of a process with libraries. So this one has none: its start and its system
//! calls are its own ([`kernel`]), it has no heap, and where something is not as expected, or larger than its buffers, it becomes
//! `ccwrap-full`, which lies beside it and is called as it was. There is nobody to catch a panic: nothing here may panic.
#![no_main]

mod answer;
mod bytes;
mod given;
mod kernel;
mod plain;
mod put;

use ccwrap_format::{ALONE, FULL};
use core::ffi::CStr;
use kernel::start::Start;

/// Ends with this code where there is no full program, as a shell does.
const NOT_FOUND: u8 = 127;

fn main(start: Start) -> ! {
    if answer::answer(start).is_some() {
        kernel::exit(0);
    }
    let (mut here, mut there) = ([0; bytes::LONGEST_PATH], [0; bytes::LONGEST_PATH]);
    let full = kernel::link(c"/proc/self/exe", &mut here)
        .and_then(|program| bytes::path(&mut there, &[bytes::directory(program)?, b"/", FULL.as_bytes()]));
    if let Some(full) = full {
        kernel::become_program(full, start);
    }
    let named = full.map_or(FULL.as_bytes(), CStr::to_bytes);
    let say = |kind: &[u8], end: &[u8]| {
        for piece in [b"ccwrap: ", kind, b"cannot start `", named, ALONE.as_bytes(), end, b"\n"] {
            kernel::write(kernel::ERRORS, piece);
        }
    };
    plain::call(start, || say(b"warning: ", b"; the compiler is called"));
    say(b"", b"");
    kernel::exit(NOT_FOUND)
}
