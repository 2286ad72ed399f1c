//! Ways to a daemon. Each ends in a Unix socket on this side.

mod ssh;
mod unix;

pub use ssh::{Ssh, SshCommand};
pub use unix::connect;

use super::error::SshEnd;
use std::os::unix::net::UnixStream;

/// A way to a daemon. Dropping it ends it, with everything that was started for it.
pub trait Transport: Send {
    /// Where bytes go to the daemon and come from it. It is made non-blocking.
    fn socket(&self) -> &UnixStream;

    /// What is known of why the way ended, once nothing more comes from it. May wait for a moment.
    fn end(&mut self) -> Option<SshEnd> {
        None
    }
}

/// A socket leads to a daemon by itself.
impl Transport for UnixStream {
    fn socket(&self) -> &UnixStream {
        self
    }
}
