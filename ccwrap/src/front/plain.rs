//! The compiler itself, for a call of which nobody else can take care.

use crate::bytes::{self, LONGEST_PATH};
use crate::given;
use crate::kernel::start::Start;
use crate::kernel::{self, Of};
use ccwrap_format::OWN_NAMES;
use ccwrap_format::call::is_setting;
use ccwrap_format::entry;
use core::ffi::CStr;

/// Becomes the compiler that is meant, after `warn`. Comes back where none is, or errors are wanted in its place.
pub fn call(start: Start, warn: impl FnOnce()) {
    let is_strict = given::variable(start, b"CCWRAP_STRICT");
    if is_strict.is_some_and(|value| !matches!(value, b"" | b"0" | b"false" | b"no" | b"off")) {
        return;
    }
    let mut words = start.words().map(CStr::to_bytes).enumerate();
    let Some((_, called)) = words.next() else { return };
    let name = base(called);
    let is_behind = OWN_NAMES.iter().any(|own| name == own.as_bytes());
    let (at, named) = match is_behind {
        true => match words.find(|(_, word)| !is_setting(word)) {
            Some((at, word)) if !word.starts_with(b"-") => (at, word),
            _ => return,
        },
        false => (0, name),
    };
    warn();
    if named.contains(&b'/') {
        let mut place = [0; LONGEST_PATH];
        bytes::path(&mut place, &[named]).iter().for_each(|program| kernel::become_other(program, start, at));
    } else {
        become_next(start, at, named);
    }
}

/// Becomes the program of a name that comes first in `PATH`, after ourselves if we are there.
fn become_next(start: Start, at: usize, named: &[u8]) {
    let directories = given::variable(start, b"PATH").unwrap_or_default();
    // Whoever links to us meanwhile changes our times.
    let where_it_lies =
        |program: &CStr| kernel::status(Of::Target(program)).map(|status| entry::place(status.identity));
    let own = where_it_lies(c"/proc/self/exe");
    let each = |look: &mut dyn FnMut(&CStr, bool)| {
        for directory in directories.split(|byte| *byte == b':') {
            let mut place = [0; LONGEST_PATH];
            let directory = if directory.is_empty() { b"." } else { directory };
            if let Some(program) = bytes::path(&mut place, &[directory, b"/", named])
                && let Some(there) = where_it_lies(program)
            {
                look(program, own == Some(there));
            }
        }
    };
    let mut is_there = false;
    each(&mut |_, is_own| is_there |= is_own);
    let mut is_after = !is_there;
    each(&mut |program, is_own| {
        if is_own {
            is_after = true;
        } else if is_after {
            // Where it is no program the next one is.
            kernel::become_other(program, start, at);
        }
    });
}

/// What stands behind the last slash of a path.
fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}
