//! The words in which seccomp filters are written. See `seccomp(2)`, and the kernel's
//! `Documentation/userspace-api/seccomp_filter.rst`.
#![expect(unsafe_code, reason = "the calls that give a process a filter take pointers")]

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_JUMP, BPF_K, BPF_LD, BPF_RET, BPF_STMT, BPF_W, sock_filter,
};

/// What the kernel calls this machine's own system calls, `<linux/audit.h>`.
pub const MACHINE: u32 = if cfg!(target_arch = "aarch64") { 0xC000_00B7 } else { 0xC000_003E };

/// Numbers from here on are those of x32 on x86_64, which nearly no kernel has.
pub const OTHER_NUMBERS: u32 = 0x4000_0000;

/// Offsets of `struct seccomp_data`.
pub const NUMBER: u32 = 0;
pub const ARCH: u32 = 4;
pub const ARGUMENTS: u32 = 16;

/// Loads the word at an offset.
pub fn load(offset: u32) -> sock_filter {
    statement((BPF_LD | BPF_W | BPF_ABS) as u16, offset)
}

/// Skips `yes` instructions if what is loaded is `value`, else `no`.
pub fn equal(value: u32, yes: u8, no: u8) -> sock_filter {
    jump((BPF_JMP | BPF_JEQ | BPF_K) as u16, value, yes, no)
}

/// The same if it is `value` or more.
pub fn at_least(value: u32, yes: u8, no: u8) -> sock_filter {
    jump((BPF_JMP | BPF_JGE | BPF_K) as u16, value, yes, no)
}

/// The same if it has one of the bits of `value`.
pub fn any_bit(value: u32, yes: u8, no: u8) -> sock_filter {
    jump((BPF_JMP | BPF_JSET | BPF_K) as u16, value, yes, no)
}

/// Ends with `what` is to be done with the call.
pub fn answer(what: u32) -> sock_filter {
    statement((BPF_RET | BPF_K) as u16, what)
}

/// Ends with an error for the caller.
pub fn fail(errno: i32) -> sock_filter {
    answer(libc::SECCOMP_RET_ERRNO | errno as u32)
}

fn statement(code: u16, k: u32) -> sock_filter {
    // SAFETY: it only fills a structure.
    unsafe { BPF_STMT(code, k) }
}

fn jump(code: u16, k: u32, yes: u8, no: u8) -> sock_filter {
    // SAFETY: it only fills a structure.
    unsafe { BPF_JUMP(code, k, yes, no) }
}

/// Gives this process, and all that it starts, a filter. It must have given up to gain rights (`PR_SET_NO_NEW_PRIVS`).
pub fn install(program: &[sock_filter]) -> std::io::Result<()> {
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the filter outlives the call, which copies it. No memory is allocated here, as it may run in a forked child.
    match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
