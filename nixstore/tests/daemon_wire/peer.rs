//! A daemon that says what it was told to.

use nixstore::daemon::{Connection, ConnectionOptions, DaemonError, Offer, Version};
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

pub const LAST: u64 = 0x616c_7473;
pub const NEXT: u64 = 0x6f6c_6d67;
pub const ERROR: u64 = 0x6378_7470;

/// Longer than anything takes that does not hang.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// The daemon's end of a connection.
pub struct Peer {
    pub socket: UnixStream,
}

impl Peer {
    /// Says `bytes`, which wait until the client reads them.
    pub fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).unwrap();
    }

    /// What the client has said since it was last asked for; it has to be done with that.
    pub fn heard(&mut self) -> Vec<u8> {
        self.socket.set_nonblocking(true).unwrap();
        let mut heard = Vec::new();
        // Ends where nothing more is there.
        let _ = self.socket.read_to_end(&mut heard);
        self.socket.set_nonblocking(false).unwrap();
        heard
    }

    /// Says nothing more, and still listens.
    pub fn hang_up(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }
}

/// What a daemon of 1.`minor` says first.
pub fn greeting(minor: u8, features: &[&str]) -> Vec<u8> {
    let mut bytes = Bytes::new().number(0x6478_696f).number(0x100 | u64::from(minor));
    if minor >= 38 {
        bytes = features.iter().fold(bytes.number(features.len() as u64), |bytes, feature| bytes.text(feature));
    }
    bytes = bytes.text("2.34.8");
    if minor >= 35 {
        bytes = bytes.number(1);
    }
    bytes.number(LAST).done()
}

/// A client that offers everything and the daemon it talks to, after their first words.
pub fn connected_as(minor: u8, features: &[&str]) -> (Connection, Peer) {
    let (client, mut peer) = pair();
    peer.say(greeting(minor, features));
    let connection = Connection::open(client, &options()).unwrap();
    peer.heard();
    (connection, peer)
}

/// As with Nix 2.34.
pub fn connected() -> (Connection, Peer) {
    connected_as(38, &[])
}

/// The two ends of a connection.
pub fn pair() -> (UnixStream, Peer) {
    let (client, socket) = UnixStream::pair().unwrap();
    (client, Peer { socket })
}

pub fn options() -> ConnectionOptions {
    ConnectionOptions { patience: PATIENCE, handshake: PATIENCE, ..ConnectionOptions::default() }
}

/// Options of a client that speaks no more than 1.`minor` and no features.
pub fn speaking(minor: u8) -> ConnectionOptions {
    ConnectionOptions { offer: Offer { version: Version { major: 1, minor }, features: BTreeSet::new() }, ..options() }
}

/// The error of what ought not to succeed.
pub fn error<T>(result: Result<T, DaemonError>) -> DaemonError {
    result.map(|_| ()).unwrap_err()
}

/// Values as they stand on the wire.
#[derive(Default)]
pub struct Bytes(Vec<u8>);

impl Bytes {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    pub fn text(self, text: &str) -> Self {
        let mut bytes = self.number(text.len() as u64);
        bytes.0.extend_from_slice(text.as_bytes());
        bytes.0.resize(bytes.0.len().next_multiple_of(8), 0);
        bytes
    }

    /// An error of the daemon.
    pub fn refusal(self, message: &str) -> Self {
        self.number(ERROR).text("Error").number(0).text("Error").text(message).number(0).number(0)
    }

    pub fn done(self) -> Vec<u8> {
        self.0
    }
}
