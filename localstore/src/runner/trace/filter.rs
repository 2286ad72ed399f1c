//! The seccomp filter that lets the kernel stop a process at the calls of [`super::calls`] alone; all others run at full
//! speed. See `seccomp(2)` and the kernel's `Documentation/userspace-api/seccomp_filter.rst`.

use super::calls;
use libc::{
    BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_JUMP, BPF_K, BPF_LD, BPF_RET, BPF_STMT, BPF_W, sock_filter,
};

/// What the kernel calls this machine's own system calls, `<linux/audit.h>`.
const MACHINE: u32 = if cfg!(target_arch = "aarch64") { 0xC000_00B7 } else { 0xC000_003E };

/// Numbers from here on are those of x32 on x86_64, which nearly no kernel has.
const OTHER_NUMBERS: u32 = 0x4000_0000;

/// With a stop: the call is one of another machine, such as of 32 bits, which is not understood.
pub const FOREIGN: u16 = 1;

/// Offsets of `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The filter's instructions.
pub fn program() -> Vec<sock_filter> {
    let (load, equal) = ((BPF_LD | BPF_W | BPF_ABS) as u16, (BPF_JMP | BPF_JEQ | BPF_K) as u16);
    let (at_least, any_bit) = ((BPF_JMP | BPF_JGE | BPF_K) as u16, (BPF_JMP | BPF_JSET | BPF_K) as u16);
    // SAFETY: these two only fill a structure.
    let statement = |code: u16, k: u32| unsafe { BPF_STMT(code, k) };
    let jump = |code: u16, k: u32, yes: u8, no: u8| unsafe { BPF_JUMP(code, k, yes, no) };
    let answer = |what: u32| statement((BPF_RET | BPF_K) as u16, what);
    let mut program = vec![
        statement(load, ARCH),
        jump(equal, MACHINE, 1, 0),
        answer(libc::SECCOMP_RET_TRACE | u32::from(FOREIGN)),
        statement(load, NUMBER),
        jump(at_least, OTHER_NUMBERS, 0, 1),
        answer(libc::SECCOMP_RET_TRACE | u32::from(FOREIGN)),
        // What is opened by a ring is seen by nobody; programs do without, as in Docker.
        jump(equal, libc::SYS_io_uring_setup as u32, 0, 1),
        answer(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
    ];
    for call in calls::all() {
        let number = call.number as u32;
        match call.flags {
            None => program.extend([jump(equal, number, 0, 1), answer(libc::SECCOMP_RET_TRACE)]),
            Some(flags) => program.extend([
                jump(equal, number, 0, 4),
                statement(load, ARGUMENTS + 8 * flags as u32),
                jump(any_bit, libc::AT_EMPTY_PATH as u32, 0, 1),
                answer(libc::SECCOMP_RET_ALLOW),
                answer(libc::SECCOMP_RET_TRACE),
            ]),
        }
    }
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    program
}
