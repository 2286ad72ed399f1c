//! No network at all: a filter under which no socket can be made, as on a kernel without any. The kernel takes long to make a network
//! namespace and to take it away, and compilers have no use for one.

use super::Error;
use super::bpf::{ARCH, MACHINE, NUMBER, OTHER_NUMBERS, answer, at_least, equal, fail, install, load};
use libc::sock_filter;

/// Denies sockets to this process and all that it starts.
pub fn deny() -> Result<(), Error> {
    let refused = |error: std::io::Error| Error::Refused {
        step: "install a seccomp filter".into(),
        errno: error.raw_os_error().unwrap_or(0),
    };
    install(&program()).map_err(refused)
}

/// Calls by which sockets are made; a ring makes them too.
const OURS: [u32; 2] = [libc::SYS_socket as u32, libc::SYS_io_uring_setup as u32];

/// The same for programs of 32 bits: `socketcall` and `socket` of i386, `socket` of ARM.
const NARROW: &[u32] = if cfg!(target_arch = "aarch64") { &[281, 425] } else { &[102, 359, 425] };

fn program() -> Vec<sock_filter> {
    let denied = |numbers: &[u32]| -> Vec<sock_filter> {
        numbers.iter().flat_map(|number| [equal(*number, 0, 1), fail(libc::EAFNOSUPPORT)]).collect()
    };
    let narrow = denied(NARROW);
    let mut program = vec![load(ARCH), equal(MACHINE, narrow.len() as u8 + 2, 0), load(NUMBER)];
    program.extend(narrow);
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    program.extend([load(NUMBER), at_least(OTHER_NUMBERS, 0, 1), fail(libc::ENOSYS)]);
    program.extend(denied(&OURS));
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    program
}
