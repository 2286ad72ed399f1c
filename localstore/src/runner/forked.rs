//! A keeper that is a copy of the process that wants it: to start a program takes longer than to make the sandbox.
#![expect(unsafe_code, reason = "fork has no safe form")]

use super::beside::Processors;
use rustix::process::Pid;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::panic::{self, AssertUnwindSafe};

/// Whether this process has one thread: of more than one, a copy would find locks held by nobody.
pub(crate) fn can_fork() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

/// Starts a keeper that takes its orders from `orders` and writes to `log`; its process id.
///
/// # Errors
/// Those of fork(2).
pub(crate) fn fork(orders: &OwnedFd, log: &File) -> io::Result<Pid> {
    debug_assert!(can_fork());
    let processors = Processors::here();
    // SAFETY: the caller has seen that this process has one thread, so the child may use everything.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let code = panic::catch_unwind(AssertUnwindSafe(|| {
                take_streams(orders, log);
                processors.wait_in_turn();
                super::keep(&processors)
            }));
            // SAFETY: ends this process; what its parent has to do when it ends is not done twice.
            unsafe { libc::_exit(code.unwrap_or(2)) }
        }
        child => {
            let child = Pid::from_raw(child).expect("a child has a number");
            processors.keep_off(child);
            Ok(child)
        }
    }
}

/// Makes the standard streams what they are of a program, and closes all else: locks are held as long as somebody has them open.
fn take_streams(orders: &OwnedFd, log: &File) {
    // SAFETY: takes numbers alone. The descriptors from 3 on are used by nobody after this.
    unsafe {
        libc::dup2(orders.as_raw_fd(), 0);
        libc::dup2(log.as_raw_fd(), 1);
        libc::dup2(log.as_raw_fd(), 2);
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
    }
}
