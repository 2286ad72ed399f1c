//! The way to a daemon on this machine: its socket.

use crate::daemon::error::{ConnectProblem, DaemonError};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Connects to the daemon that listens on the socket at `path`, of any length. Where its queue is full, tries again
/// until `patience` is over.
///
/// # Errors
/// [`DaemonError::Connect`].
pub fn connect(path: &Path, patience: Duration) -> Result<UnixStream, DaemonError> {
    connect_any_length(path, Instant::now() + patience).map_err(|source| DaemonError::Connect {
        address: path.display().to_string(),
        problem: ConnectProblem::of(&source),
        source,
    })
}

/// The name of a socket may have 107 bytes. A longer path is reached from its directory, held open meanwhile.
fn connect_any_length(path: &Path, deadline: Instant) -> io::Result<UnixStream> {
    if let Ok(address) = SocketAddrUnix::new(path) {
        return connect_to(&address, deadline);
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    connect_to(&SocketAddrUnix::new(short)?, deadline)
}

fn connect_to(address: &SocketAddrUnix, deadline: Instant) -> io::Result<UnixStream> {
    /// How long a full queue is left alone.
    const PAUSE: Duration = Duration::from_millis(20);

    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket: OwnedFd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    loop {
        match rustix::net::connect(&socket, address) {
            Ok(()) => return Ok(socket.into()),
            Err(rustix::io::Errno::AGAIN) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    const SHORT: Duration = Duration::from_millis(50);

    fn problem(path: &Path) -> ConnectProblem {
        match connect(path, SHORT).unwrap_err() {
            DaemonError::Connect { problem, address, .. } => {
                assert_eq!(address, path.display().to_string());
                problem
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_socket_is_reached_by_a_path_of_any_length() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("d".repeat(100)).join("e".repeat(100));
        std::fs::create_dir_all(&deep).unwrap();
        // A listener is bound to a short path and moved.
        let _listener = UnixListener::bind(directory.path().join("s")).unwrap();
        connect(&directory.path().join("s"), SHORT).unwrap();
        std::fs::rename(directory.path().join("s"), deep.join("socket")).unwrap();
        connect(&deep.join("socket"), SHORT).unwrap();
        assert_eq!(problem(&deep.join("other")), ConnectProblem::Missing);
        assert_eq!(problem(&deep.join("missing/socket")), ConnectProblem::Missing);
    }

    #[test]
    fn a_missing_socket_is_told_from_one_where_nobody_listens() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        assert_eq!(problem(&path), ConnectProblem::Missing);
        drop(UnixListener::bind(&path).unwrap());
        assert_eq!(problem(&path), ConnectProblem::Refused);
        assert!(connect(&path, SHORT).unwrap_err().hint().unwrap().contains("start the daemon"));
    }

    #[test]
    fn a_daemon_that_takes_up_no_connection_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        rustix::net::bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        rustix::net::listen(&socket, 0).unwrap();
        let _in_the_queue = connect(&path, SHORT).unwrap();
        assert_eq!(problem(&path), ConnectProblem::Busy);
    }
}
