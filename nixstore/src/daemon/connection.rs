//! A connection to a daemon, on which one thing after another can be asked for.

use super::channel::{Channel, Link};
use super::error::{DaemonError, HANDSHAKE};
use super::handshake::{Greeting, HandshakeError, Trust, greet};
use super::message::{Listener, read_messages};
use super::operation::Operation;
use super::refusal::Refusal;
use super::transport::Transport;
use super::version::{Dialect, Offer};
use super::wait::{PATIENCE, Stopped, Wait};
use super::wire::{Decoder, Encoder, WireError};
use crate::StoreDir;
use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::time::Duration;

/// How many requests may be under way whose replies were not read: with hundreds, a daemon and its client would wait
/// for each other.
pub const WINDOW: usize = 32;

/// How a connection is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// What the store's paths begin with.
    pub store_dir: StoreDir,
    /// What to speak at most.
    pub offer: Offer,
    /// How long the first words may take in all.
    pub handshake: Duration,
    /// The silence after which [`Connection::call`] gives up.
    pub patience: Duration,
}

/// `/nix/store`, everything that is spoken here, 10 s for the first words and [`PATIENCE`].
impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            store_dir: StoreDir::default(),
            offer: Offer::default(),
            handshake: Duration::from_secs(10),
            patience: PATIENCE,
        }
    }
}

/// A connection. After an error in the middle of an exchange it is broken, and every further call says so.
pub struct Connection {
    channel: Channel,
    dialect: Dialect,
    nix_version: String,
    trust: Trust,
    patience: Duration,
    /// Set while an exchange goes on, so that one which does not come to its end leaves it set.
    broken: bool,
}

impl Connection {
    /// Greets the daemon at the other end of `transport`.
    ///
    /// # Errors
    /// [`DaemonError::NotADaemon`], [`DaemonError::TooOld`] or [`DaemonError::TooNew`] where somebody else answers, and
    /// those of any exchange.
    pub fn open(transport: impl Transport + 'static, options: &ConnectionOptions) -> Result<Self, DaemonError> {
        let mut channel =
            Channel::new(Box::new(transport)).map_err(|source| DaemonError::CutOff { operation: HANDSHAKE, source })?;
        let mut wait = Wait::patiently(options.handshake).within(options.handshake);
        let mut link = Link { channel: &mut channel, wait: &mut wait };
        match greet(&mut link, &options.offer, &options.store_dir, &mut |_| {}) {
            Ok(Greeting { dialect, nix_version, trust }) => {
                Ok(Self { channel, dialect, nix_version, trust, patience: options.patience, broken: false })
            }
            Err(HandshakeError::Wire(error)) => Err(fault(&mut channel, HANDSHAKE, error)),
            Err(HandshakeError::NotADaemon(greeting)) => Err(DaemonError::NotADaemon { greeting }),
            Err(HandshakeError::TooOld(daemon)) => Err(DaemonError::TooOld { daemon }),
            Err(HandshakeError::TooNew(daemon)) => Err(DaemonError::TooNew { daemon }),
        }
    }

    /// How the two sides speak.
    pub fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// The daemon's Nix, such as `2.34.8`.
    pub fn nix_version(&self) -> &str {
        &self.nix_version
    }

    /// Whether the daemon trusts this client.
    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// Whether something can still be asked for: no exchange has failed, and the daemon has not gone since.
    pub fn is_usable(&mut self) -> bool {
        !self.broken && !self.channel.stirs()
    }

    /// Whether an exchange has failed.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Asks for one thing; the daemon may be silent for as long as [`ConnectionOptions::patience`] says.
    ///
    /// # Errors
    /// [`DaemonError::Refused`] where the daemon says that it cannot; [`DaemonError`] for all else, after which the
    /// connection is broken unless it is [`DaemonError::Unsupported`].
    pub fn call<O: Operation>(&mut self, operation: O, listener: &mut Listener<'_>) -> Result<O::Reply, DaemonError> {
        self.call_waiting(operation, listener, &mut Wait::patiently(self.patience))
    }

    /// As [`Connection::call`], waiting as the caller says: for a build.
    ///
    /// # Errors
    /// As [`Connection::call`], and [`DaemonError::Cancelled`], [`DaemonError::TimedOut`] or
    /// [`DaemonError::NotAnswering`] where the wait says so. A daemon stops a build whose client is gone: drop the
    /// connection.
    pub fn call_waiting<O: Operation>(
        &mut self,
        mut operation: O,
        listener: &mut Listener<'_>,
        wait: &mut Wait<'_>,
    ) -> Result<O::Reply, DaemonError> {
        self.check(std::slice::from_ref(&operation))?;
        self.exchange(O::NAME, wait, |talk| {
            talk.request(&mut operation)
                .and_then(|()| talk.send())
                .map_err(|error| talk.instead_of(error, listener))?;
            talk.reply(operation, listener)
        })
    }

    /// Asks for many things of one kind, without waiting for one reply before the next request: at most [`WINDOW`] are
    /// under way. Replies are in the order of the operations.
    ///
    /// # Errors
    /// As [`Connection::call`]. At a refusal no more is asked for, and what was done before it remains done.
    pub fn pipelined<O: Operation>(
        &mut self,
        operations: impl IntoIterator<Item = O>,
        listener: &mut Listener<'_>,
    ) -> Result<Vec<O::Reply>, DaemonError> {
        let operations: Vec<O> = operations.into_iter().collect();
        self.check(&operations)?;
        let wait = &mut Wait::patiently(self.patience);
        self.exchange(O::NAME, wait, |talk| talk.pipelined(operations, listener))
    }

    /// Whether the daemon can be asked for all of these.
    fn check<O: Operation>(&self, operations: &[O]) -> Result<(), DaemonError> {
        operations
            .iter()
            .try_for_each(|operation| operation.supported(&self.dialect))
            .map_err(|reason| DaemonError::Unsupported { operation: O::NAME, reason })
    }

    /// Runs one exchange, and leaves the connection broken unless it comes to an orderly end: a reply or a refusal.
    fn exchange<T>(
        &mut self,
        operation: &'static str,
        wait: &mut Wait<'_>,
        run: impl FnOnce(&mut Talk<'_, '_>) -> Result<Result<T, Refusal>, WireError>,
    ) -> Result<T, DaemonError> {
        if std::mem::replace(&mut self.broken, true) {
            return Err(DaemonError::Broken { operation });
        }
        wait.heard();
        let link = Link { channel: &mut self.channel, wait };
        match run(&mut Talk { link, dialect: &self.dialect }) {
            Ok(answer) => {
                self.broken = false;
                answer.map_err(|refusal| DaemonError::Refused { operation, refusal })
            }
            Err(error) => Err(fault(&mut self.channel, operation, error)),
        }
    }
}

/// The two directions of one exchange.
struct Talk<'a, 'w> {
    link: Link<'a, 'w>,
    dialect: &'a Dialect,
}

impl Talk<'_, '_> {
    fn request<O: Operation>(&mut self, operation: &mut O) -> Result<(), WireError> {
        let mut out = Encoder::new(&mut self.link, self.dialect);
        out.number(operation.number())?;
        operation.write(&mut out)
    }

    fn send(&mut self) -> Result<(), WireError> {
        Ok(self.link.flush()?)
    }

    fn reply<O: Operation>(
        &mut self,
        operation: O,
        listener: &mut Listener<'_>,
    ) -> Result<Result<O::Reply, Refusal>, WireError> {
        match read_messages(&mut self.link, self.dialect, listener)? {
            Ok(()) => operation.read(&mut Decoder::new(&mut self.link, self.dialect)).map(Ok),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    fn pipelined<O: Operation>(
        &mut self,
        operations: Vec<O>,
        listener: &mut Listener<'_>,
    ) -> Result<Result<Vec<O::Reply>, Refusal>, WireError> {
        let mut replies = Vec::with_capacity(operations.len());
        let mut operations = operations.into_iter();
        let mut under_way = VecDeque::with_capacity(WINDOW);
        let mut refusal = None;
        loop {
            // In halves, so that a few requests go out at once.
            if under_way.len() <= WINDOW / 2 && refusal.is_none() {
                for mut operation in operations.by_ref().take(WINDOW - under_way.len()) {
                    self.request(&mut operation).map_err(|error| self.instead_of(error, listener))?;
                    under_way.push_back(operation);
                }
                self.send().map_err(|error| self.instead_of(error, listener))?;
            }
            let Some(operation) = under_way.pop_front() else { break };
            match (self.reply(operation, listener), refusal.take()) {
                (Ok(Ok(reply)), None) => replies.push(reply),
                (Ok(Err(first)), None) => refusal = Some(first),
                // What comes after a refusal is of interest only as it leaves the connection in order.
                (Ok(_), Some(first)) => refusal = Some(first),
                (Err(_), Some(first)) => return Err(WireError::Refused(first)),
                (Err(error), None) => return Err(error),
            }
        }
        Ok(refusal.map_or(Ok(replies), Err))
    }

    /// What a daemon said before it closed the connection, in the place of the error that it was closed.
    fn instead_of(&mut self, error: WireError, listener: &mut Listener<'_>) -> WireError {
        let closed =
            |error: &io::Error| matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
        match &error {
            WireError::Io(cause) if closed(cause) => match read_messages(&mut self.link, self.dialect, listener) {
                Ok(Err(refusal)) => WireError::Refused(refusal),
                Ok(Ok(())) | Err(_) => error,
            },
            _ => error,
        }
    }
}

/// An error of the wire as the error of an operation.
fn fault(channel: &mut Channel, operation: &'static str, error: WireError) -> DaemonError {
    match error {
        WireError::Malformed(problem) => DaemonError::Malformed { operation, problem },
        WireError::Refused(refusal) => DaemonError::Refused { operation, refusal },
        WireError::Contents(source) => DaemonError::Contents { operation, source },
        WireError::Io(error) => match error.downcast() {
            Ok(Stopped::Cancelled) => DaemonError::Cancelled { operation },
            Ok(Stopped::TimedOut) => DaemonError::TimedOut { operation },
            Ok(Stopped::Silent(after)) => DaemonError::Silent { operation, after },
            Ok(Stopped::NotAnswering(source)) => DaemonError::NotAnswering { operation, source },
            Err(source) => match channel.transport().end() {
                Some(end) => DaemonError::SshEnded { operation, end },
                None => DaemonError::CutOff { operation, source },
            },
        },
    }
}
