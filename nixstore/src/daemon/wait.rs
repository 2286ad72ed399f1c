//! How long a caller waits for a daemon, and what it looks at meanwhile.

use super::error::DaemonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The silence after which a query is given up.
pub const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// The silence in a build after which somebody should ask whether the daemon is still there.
pub const HEARTBEAT: Duration = Duration::from_secs(30);

/// How often the flag is looked at that cancels a build.
const LOOK: Duration = Duration::from_millis(50);

/// How one call waits.
pub struct Wait<'a> {
    cancelled: Option<&'a AtomicBool>,
    deadline: Option<Instant>,
    /// As a deadline, of which the daemon is at fault.
    limit: Option<Instant>,
    silence: Duration,
    on_silence: OnSilence<'a>,
    /// When the daemon, or whoever was asked for it, last gave a sign of life.
    sign_of_life: Instant,
}

enum OnSilence<'a> {
    GiveUp,
    WaitOn,
    Ask(Box<Heartbeat<'a>>),
}

/// Asks whether a daemon is still there; an error means that it is not.
pub type Heartbeat<'a> = dyn FnMut() -> Result<(), DaemonError> + 'a;

impl<'a> Wait<'a> {
    /// As long as there is no such silence. A daemon that goes on talking is listened to.
    pub fn patiently(silence: Duration) -> Self {
        Self {
            cancelled: None,
            deadline: None,
            limit: None,
            silence,
            on_silence: OnSilence::GiveUp,
            sign_of_life: Instant::now(),
        }
    }

    /// As long as it takes, or until `cancelled` is set, which is seen within about 50 ms.
    pub fn for_build(cancelled: &'a AtomicBool) -> Self {
        Self { cancelled: Some(cancelled), on_silence: OnSilence::WaitOn, ..Self::patiently(HEARTBEAT) }
    }

    /// Not beyond `deadline`.
    pub fn until(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// Not longer than `time` from now on, as though the daemon had been silent meanwhile: one that talks and never
    /// comes to an end is no better.
    pub(super) fn within(self, time: Duration) -> Self {
        Self { limit: Some(Instant::now() + time), ..self }
    }

    /// Calls `ask` after so long a silence and each time that it lasts as long again; its error ends the wait.
    /// While it runs nobody looks at the flag or the deadline: it should be quick.
    pub fn with_heartbeat(self, silence: Duration, ask: impl FnMut() -> Result<(), DaemonError> + 'a) -> Self {
        Self { silence, on_silence: OnSilence::Ask(Box::new(ask)), ..self }
    }

    /// Something was heard, or could be said.
    pub(super) fn heard(&mut self) {
        self.sign_of_life = Instant::now();
    }

    /// For how long to wait before asking this again.
    pub(super) fn go_on(&mut self) -> Result<Duration, Stopped> {
        if self.is_cancelled() {
            return Err(Stopped::Cancelled);
        }
        let now = Instant::now();
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return Err(Stopped::TimedOut);
        }
        if self.limit.is_some_and(|limit| limit <= now) {
            return Err(Stopped::Silent(self.silence));
        }
        let mut left = self.silence.saturating_sub(now - self.sign_of_life);
        if left.is_zero() {
            self.silent()?;
            self.heard();
            left = self.silence;
        }
        if self.cancelled.is_some() {
            left = left.min(LOOK);
        }
        let ends = [self.deadline, self.limit].into_iter().flatten().map(|end| end - now);
        Ok(ends.fold(left, Duration::min))
    }

    fn silent(&mut self) -> Result<(), Stopped> {
        match &mut self.on_silence {
            OnSilence::GiveUp => Err(Stopped::Silent(self.silence)),
            OnSilence::WaitOn => Ok(()),
            OnSilence::Ask(ask) => match ask() {
                Err(_) if self.is_cancelled() => Err(Stopped::Cancelled),
                answer => answer.map_err(|error| Stopped::NotAnswering(Box::new(error))),
            },
        }
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.is_some_and(|cancelled| cancelled.load(Ordering::Relaxed))
    }
}

/// Why a caller waits no longer. Travels as the cause of an [`std::io::Error`] through what reads and writes.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stopped {
    #[error("cancelled")]
    Cancelled,
    #[error("out of time")]
    TimedOut,
    #[error("silent")]
    Silent(Duration),
    #[error("not answering")]
    NotAnswering(#[source] Box<DaemonError>),
}
