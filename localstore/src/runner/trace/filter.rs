//! The seccomp filter that lets the kernel stop a process at the calls of [`super::calls`] alone; all others run at full
//! speed. See `seccomp(2)` and the kernel's `Documentation/userspace-api/seccomp_filter.rst`.

use super::calls;
use crate::runner::bpf::{
    ARCH, ARGUMENTS, MACHINE, NUMBER, OTHER_NUMBERS, answer, any_bit, at_least, equal, fail, load,
};
use libc::sock_filter;

/// With a stop: the call is one of another machine, such as of 32 bits, which is not understood.
pub const FOREIGN: u16 = 1;

/// The filter's instructions.
pub fn program() -> Vec<sock_filter> {
    let mut program = vec![
        load(ARCH),
        equal(MACHINE, 1, 0),
        answer(libc::SECCOMP_RET_TRACE | u32::from(FOREIGN)),
        load(NUMBER),
        at_least(OTHER_NUMBERS, 0, 1),
        answer(libc::SECCOMP_RET_TRACE | u32::from(FOREIGN)),
        // What is opened by a ring is seen by nobody; programs do without, as in Docker.
        equal(libc::SYS_io_uring_setup as u32, 0, 1),
        fail(libc::ENOSYS),
    ];
    for call in calls::all() {
        let number = call.number as u32;
        match call.flags {
            None => program.extend([equal(number, 0, 1), answer(libc::SECCOMP_RET_TRACE)]),
            Some(flags) => program.extend([
                equal(number, 0, 4),
                load(ARGUMENTS + 8 * flags as u32),
                any_bit(libc::AT_EMPTY_PATH as u32, 0, 1),
                answer(libc::SECCOMP_RET_ALLOW),
                answer(libc::SECCOMP_RET_TRACE),
            ]),
        }
    }
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    program
}
