//! A client of a Nix daemon: the worker protocol from 1.34 (Nix 2.8) to 1.38 with the features of Nix 2.35.
//!
//! ```no_run
//! use nixstore::daemon::operation::IsValidPath;
//! use nixstore::daemon::transport::connect;
//! use nixstore::daemon::{Connection, ConnectionOptions};
//! use std::{path::Path, time::Duration};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let socket = connect(Path::new("/nix/var/nix/daemon-socket/socket"), Duration::from_secs(10))?;
//! let mut daemon = Connection::open(socket, &ConnectionOptions::default())?;
//! let path = "bd3dybzwdz3662d23lx8936fhlxbh3vw-hello.drv".parse()?;
//! println!("{}", daemon.call(IsValidPath(&path), &mut |_| {})?);
//! # Ok(())
//! # }
//! ```
//!
//! [`wire`], [`framed`], [`message`], [`version`] and [`operation`] are pure: bytes in, values out, over any stream. A
//! [`transport`] leads to a daemon; on a [`Connection`] one thing after another is asked for, and no wait is without a
//! bound ([`Wait`]); a [`Pool`] shares connections among threads. The environment is never read.

mod channel;
mod connection;
mod error;
pub mod framed;
mod handshake;
pub mod message;
pub mod operation;
mod pool;
mod refusal;
pub mod transport;
pub mod version;
mod wait;
pub mod wire;

pub use connection::{Connection, ConnectionOptions, WINDOW};
pub(crate) use error::FREE_SPACE;
pub use error::{ConnectProblem, DaemonError, SshEnd};
pub use handshake::Trust;
pub use message::{Event, Listener};
pub use operation::Operation;
pub use pool::{Connect, Guard, Pool};
pub use refusal::Refusal;
pub use version::{Dialect, Feature, Offer, Version};
pub use wait::{HEARTBEAT, Heartbeat, PATIENCE, Wait};
