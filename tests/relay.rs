//! A socket that stands before a daemon's, and counts how often its clients wait for an answer; and one that never answers
//! from some time on.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// An open socket. What it counts is a little more than the requests: a long one may be answered in parts.
pub struct Relay {
    directory: tempfile::TempDir,
    exchanges: Arc<AtomicUsize>,
    last: Arc<AtomicUsize>,
}

impl Relay {
    /// Begins to listen for the daemon behind `socket`.
    ///
    /// # Panics
    /// Where there can be no socket.
    pub fn new(socket: &Path) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let listener = UnixListener::bind(directory.path().join("socket")).expect("it is free");
        let (socket, exchanges) = (socket.to_owned(), Arc::<AtomicUsize>::default());
        let last = Arc::new(AtomicUsize::new(usize::MAX));
        let (count, until) = (Arc::clone(&exchanges), Arc::clone(&last));
        // Ends with the process.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let daemon = UnixStream::connect(&socket).expect("it listens");
                relay(client, daemon, Arc::clone(&count), Arc::clone(&until)).expect("sockets can be cloned");
            }
        });
        Self { directory, exchanges, last }
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// How often a client has spoken and then heard the daemon, since this was last asked.
    pub fn exchanges(&self) -> usize {
        self.exchanges.swap(0, Ordering::SeqCst)
    }

    /// Has the daemon's answers held back from this exchange on, as it is counted by [`Relay::exchanges`].
    pub fn hold_back_from(&self, exchange: usize) {
        self.last.store(exchange, Ordering::SeqCst);
    }

    /// Whether an answer is held back.
    pub fn holds_back(&self) -> bool {
        self.exchanges.load(Ordering::SeqCst) >= self.last.load(Ordering::SeqCst)
    }
}

/// Passes on what both say, until one has no more to say.
fn relay(client: UnixStream, daemon: UnixStream, count: Arc<AtomicUsize>, last: Arc<AtomicUsize>) -> io::Result<()> {
    let spoken = Arc::new(AtomicBool::new(false));
    let (hears, says) = (client.try_clone()?, daemon.try_clone()?);
    let has_spoken = Arc::clone(&spoken);
    thread::spawn(move || pass(client, says, &|| has_spoken.store(true, Ordering::SeqCst)));
    thread::spawn(move || {
        pass(daemon, hears, &|| {
            if spoken.swap(false, Ordering::SeqCst) {
                count.fetch_add(1, Ordering::SeqCst);
            }
            while count.load(Ordering::SeqCst) >= last.load(Ordering::SeqCst) {
                thread::park();
            }
        });
    });
    Ok(())
}

fn pass(mut from: UnixStream, mut to: UnixStream, note: &dyn Fn()) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        note();
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    to.shutdown(Shutdown::Both).ok(); // it may be closed
}
