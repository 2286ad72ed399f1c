//! What becomes of a build.
#![deny(clippy::disallowed_methods)]

use super::realised::Realised;
use crate::OutputName;
use crate::daemon::refusal::plain_text;
use crate::daemon::version::Version;
use crate::daemon::wire::{Decoder, Malformed, WireError};
use std::collections::BTreeMap;
use std::time::Duration;

/// What became of one build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildResult {
    /// How it ended.
    pub status: Status,
    /// What went wrong, in the words of Nix, without colours.
    pub message: String,
    /// How often it was run.
    pub times_built: u64,
    /// Whether it came out otherwise than before.
    pub not_deterministic: bool,
    /// When it began, in seconds since 1970; 0 where a daemon does not tell, as Nix 2.34 never does.
    pub start: u64,
    /// When it ended.
    pub stop: u64,
    /// What processor time it took in user mode; mostly nobody knows.
    pub user_time: Option<Duration>,
    /// What processor time it took in the kernel.
    pub system_time: Option<Duration>,
    /// What its outputs came out as; nothing where it failed.
    pub outputs: BTreeMap<OutputName, Realised>,
}

impl BuildResult {
    pub(super) fn read(input: &mut Decoder<'_>) -> Result<Self, WireError> {
        let has_processor_times = input.dialect().version >= Version::PROCESSOR_TIMES;
        let processor_time = |input: &mut Decoder<'_>| if has_processor_times { duration(input) } else { Ok(None) };
        Ok(Self {
            status: Status::from_number(input.number()?),
            message: plain_text(&input.bytes()?),
            times_built: input.number()?,
            not_deterministic: input.bool()?,
            start: input.number()?,
            stop: input.number()?,
            user_time: processor_time(input)?,
            system_time: processor_time(input)?,
            outputs: Realised::read_outputs(input)?,
        })
    }
}

/// Microseconds, if there are any.
fn duration(input: &mut Decoder<'_>) -> Result<Option<Duration>, WireError> {
    match input.number()? {
        0 => Ok(None),
        1 => input.number().map(|time| Some(Duration::from_micros(time))),
        number => Err(Malformed::Choice { what: "whether there is a time", number }.into()),
    }
}

/// How a build ended (Nix 2.34, `BuildResultStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It was run.
    Built,
    /// Its outputs came from a cache.
    Substituted,
    /// Its outputs were there.
    AlreadyValid,
    /// With its inputs resolved it is one whose outputs were there: early cutoff.
    ResolvesToAlreadyValid,
    /// The builder failed.
    PermanentFailure,
    /// The derivation is not one that can be built.
    InputRejected,
    /// An output is not what it may be.
    OutputRejected,
    /// It failed for a reason that may pass.
    TransientFailure,
    /// It failed once before.
    CachedFailure,
    /// It took, or was silent for, longer than allowed.
    TimedOut,
    /// It failed for another reason.
    MiscFailure,
    /// Something that it needs could not be built.
    DependencyFailed,
    /// It wrote more than allowed.
    LogLimitExceeded,
    /// It came out otherwise than before.
    NotDeterministic,
    /// No cache has it.
    NoSubstituters,
    /// A failure that this program does not know by its number.
    Unknown(u64),
}

impl Status {
    /// Whether the outputs are there.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Built | Self::Substituted | Self::AlreadyValid | Self::ResolvesToAlreadyValid)
    }

    fn from_number(number: u64) -> Self {
        match number {
            0 => Self::Built,
            1 => Self::Substituted,
            2 => Self::AlreadyValid,
            3 => Self::PermanentFailure,
            4 => Self::InputRejected,
            5 => Self::OutputRejected,
            6 => Self::TransientFailure,
            7 => Self::CachedFailure,
            8 => Self::TimedOut,
            9 => Self::MiscFailure,
            10 => Self::DependencyFailed,
            11 => Self::LogLimitExceeded,
            12 => Self::NotDeterministic,
            13 => Self::ResolvesToAlreadyValid,
            14 => Self::NoSubstituters,
            number => Self::Unknown(number),
        }
    }
}
