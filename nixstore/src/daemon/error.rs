//! What can go wrong between a client and a daemon.

use super::refusal::Refusal;
use super::version::Version;
use super::wire::Malformed;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

/// Why a daemon did not do what it was asked for. Where an operation is named, it is the one that was under way.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Nobody can be reached.
    #[error("cannot connect to the Nix daemon at `{address}`: {problem}")]
    Connect {
        /// The socket, or the command that was to lead to it.
        address: String,
        /// What kind of problem it is.
        problem: ConnectProblem,
        /// What the system says.
        source: io::Error,
    },
    /// The daemon speaks no protocol that is spoken here any more.
    #[error("the Nix daemon speaks protocol {daemon}, which is older than {} of Nix 2.8", Version::OLDEST)]
    TooOld {
        /// The daemon's version.
        daemon: Version,
    },
    /// The daemon speaks a protocol of a later age.
    #[error("the Nix daemon speaks protocol {daemon}, and this program no later one than 1.x")]
    TooNew {
        /// The daemon's version.
        daemon: Version,
    },
    /// Who answers is no Nix daemon.
    #[error("what answers is not a Nix daemon: it begins with {greeting:#x}")]
    NotADaemon {
        /// The first 8 bytes, as a number.
        greeting: u64,
    },
    /// The daemon speaks a protocol in which this cannot be asked for.
    #[error("cannot ask this Nix daemon for `{operation}`: {reason}")]
    Unsupported {
        /// What was asked for.
        operation: &'static str,
        /// What is missing.
        reason: &'static str,
    },
    /// The connection ended before the operation did.
    #[error("the Nix daemon closed the connection during `{operation}`")]
    CutOff {
        /// The operation.
        operation: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Nothing was heard for so long.
    #[error("the Nix daemon was silent for {} s during `{operation}`", .after.as_secs_f32())]
    Silent {
        /// The operation.
        operation: &'static str,
        /// How long.
        after: Duration,
    },
    /// Nothing was heard for long, and the daemon does not answer others either.
    #[error("the Nix daemon does not answer any more, during `{operation}`")]
    NotAnswering {
        /// The operation.
        operation: &'static str,
        /// How it was asked and what came of it.
        source: Box<DaemonError>,
    },
    /// The daemon said that it cannot.
    #[error("the Nix daemon refused `{operation}`")]
    Refused {
        /// The operation.
        operation: &'static str,
        /// The daemon's own words.
        #[source]
        refusal: Refusal,
    },
    /// The daemon said something that has no meaning.
    #[error("the Nix daemon answered `{operation}` with something that is not its protocol")]
    Malformed {
        /// The operation.
        operation: &'static str,
        /// What is wrong.
        #[source]
        problem: Malformed,
    },
    /// Somebody stopped it.
    #[error("`{operation}` was cancelled")]
    Cancelled {
        /// The operation.
        operation: &'static str,
    },
    /// It took longer than the caller allows.
    #[error("`{operation}` took longer than allowed")]
    TimedOut {
        /// The operation.
        operation: &'static str,
    },
    /// The program that led to the daemon ended.
    #[error("the way to the Nix daemon on `{}` ended during `{operation}`", .end.host)]
    SshEnded {
        /// The operation.
        operation: &'static str,
        /// How it ended.
        #[source]
        end: SshEnd,
    },
    /// What the caller gives to be sent cannot be read, or what it takes not written.
    #[error("cannot read or write the contents of `{operation}`")]
    Contents {
        /// The operation.
        operation: &'static str,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An earlier operation on the same connection failed, and nobody can tell what was understood of it.
    #[error("cannot ask for `{operation}` on a connection that has failed before")]
    Broken {
        /// The operation.
        operation: &'static str,
    },
}

impl DaemonError {
    /// What a user can do about it, if there is anything: a phrase without a full stop.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Connect { problem, .. } => problem.hint().map(str::to_owned),
            Self::TooOld { .. } => Some("install Nix 2.8 or later on the machine of the daemon, and restart it".into()),
            Self::TooNew { .. } => Some("use a newer release of this program".into()),
            Self::CutOff { operation, .. } if *operation == HANDSHAKE => {
                Some("ask its administrator whether `allowed-users` in nix.conf names you".into())
            }
            Self::CutOff { .. } => Some("start it again if it has ended; what it has realised so far is kept".into()),
            Self::Refused { refusal, .. } if refusal.is_for_space() => Some(FREE_SPACE.into()),
            Self::Silent { .. } | Self::NotAnswering { .. } => {
                Some("restart it, for instance by `systemctl restart nix-daemon`".into())
            }
            Self::SshEnded { end, .. } => Some(format!("try `ssh {} nix-daemon --version`", end.host)),
            _ => None,
        }
    }
}

/// What a user can do where a daemon's disk is full.
pub(crate) const FREE_SPACE: &str = "free space on the disk of its store, for instance by `nix-store --gc`";

/// The name under which errors speak of the first words on a connection.
pub(super) const HANDSHAKE: &str = "the handshake";

/// Why nobody can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnectProblem {
    /// There is no such socket or program.
    #[error("there is nothing")]
    Missing,
    /// There is a socket, and nobody listens.
    #[error("nobody listens there")]
    Refused,
    /// This user may not.
    #[error("permission denied")]
    Denied,
    /// Somebody listens, and does not take up connections.
    #[error("nobody takes up the connection")]
    Busy,
    /// The name stands for nothing that can be reached.
    #[error("this is no address")]
    Address,
    /// Something else.
    #[error("it failed")]
    Other,
}

impl ConnectProblem {
    /// The problem that an error of the system stands for.
    pub(super) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Busy,
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename => Self::Address,
            _ => Self::Other,
        }
    }

    fn hint(self) -> Option<&'static str> {
        match self {
            Self::Missing => Some("install Nix, or name the daemon's socket"),
            Self::Refused => Some("start the daemon, for instance by `systemctl start nix-daemon.socket`"),
            Self::Denied => Some("ask the administrator for access to the daemon's socket"),
            Self::Busy => Some("restart it, for instance by `systemctl restart nix-daemon`"),
            Self::Address | Self::Other => None,
        }
    }
}

/// How a program ended that led to a daemon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}", self.ending(), self.last_words())]
pub struct SshEnd {
    /// The machine.
    pub host: String,
    /// How the program ended; nothing while it still runs.
    pub status: Option<ExitStatus>,
    /// The last lines that it wrote on standard error.
    pub said: Vec<String>,
}

impl SshEnd {
    fn ending(&self) -> String {
        match self.status {
            Some(status) => format!("ssh ended with {status}"),
            None => "ssh closed the connection and still runs".into(),
        }
    }

    fn last_words(&self) -> String {
        if self.said.is_empty() { String::new() } else { format!(", after it said `{}`", self.said.join("\n")) }
    }
}
