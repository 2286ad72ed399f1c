//! What a daemon says while it works on a request, before the reply (Nix 2.34, `worker-protocol.hh` and `logging.hh`).
#![deny(clippy::disallowed_methods)]

use super::refusal::Refusal;
use super::version::Dialect;
use super::wire::{Decoder, Malformed, WireError};
use crate::StorePath;
use bstr::BString;
use std::collections::BTreeSet;
use std::io::Read;

/// What a caller gets to hear while a daemon works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A line that the daemon itself has to say, such as a warning. May hold colours.
    Line(BString),
    /// A builder begins.
    BuildStarted {
        /// Names the build in the events that follow.
        activity: u64,
        /// Of this derivation.
        derivation: StorePath,
        /// On this machine, if it is another one.
        machine: Option<String>,
    },
    /// A line that a builder wrote, without its end.
    BuildLog {
        /// Which build.
        activity: u64,
        /// The line.
        line: BString,
    },
    /// A builder has ended, well or not.
    BuildStopped {
        /// Which build.
        activity: u64,
    },
}

/// Takes events as they come. It is called in the middle of an exchange: what it takes long for, the daemon waits for.
pub type Listener<'a> = dyn FnMut(Event) + 'a;

/// One message of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Something a caller gets to hear.
    Event(Event),
    /// Something that is going on has ended.
    Stopped(u64),
    /// Nothing of interest: other activities and how far they are.
    Other,
    /// The daemon could not do what it was asked for. There is no reply.
    Refused(Refusal),
    /// It is done. The reply follows.
    Last,
}

impl Message {
    /// Reads one message.
    ///
    /// # Errors
    /// [`WireError`] where the input ends, or is no message that a daemon sends to a client that speaks 1.34 or later.
    pub fn read(input: &mut Decoder<'_>) -> Result<Self, WireError> {
        match input.number()? {
            NEXT => Ok(Self::Event(Event::Line(input.bytes()?.into()))),
            START_ACTIVITY => Self::start(input),
            STOP_ACTIVITY => Ok(Self::Stopped(input.number()?)),
            RESULT => Self::result(input),
            ERROR => Ok(Self::Refused(Refusal::read(input)?)),
            LAST => Ok(Self::Last),
            number => Err(Malformed::Choice { what: "a message", number }.into()),
        }
    }

    fn start(input: &mut Decoder<'_>) -> Result<Self, WireError> {
        let activity = input.number()?;
        let _level = input.number()?;
        let kind = input.number()?;
        input.skip_text()?;
        let started = if kind == BUILD { build_fields(input)? } else { skip_fields(input).map(|()| None)? };
        let _parent = input.number()?;
        Ok(started.map_or(Self::Other, |(derivation, machine)| {
            Self::Event(Event::BuildStarted { activity, derivation, machine })
        }))
    }

    fn result(input: &mut Decoder<'_>) -> Result<Self, WireError> {
        let activity = input.number()?;
        if input.number()? != BUILD_LOG_LINE {
            return skip_fields(input).map(|()| Self::Other);
        }
        let lines: Vec<Field> = input.list(Field::read)?;
        Ok(match lines.into_iter().next() {
            Some(Field::Text(line)) => Self::Event(Event::BuildLog { activity, line: line.into() }),
            _ => Self::Other,
        })
    }
}

/// Reads messages up to the last, or to an error of the daemon, and tells `listener` what it gets to hear.
///
/// # Errors
/// [`WireError`] where the input ends or is no message.
pub fn read_messages(
    input: &mut dyn Read,
    dialect: &Dialect,
    listener: &mut Listener<'_>,
) -> Result<Result<(), Refusal>, WireError> {
    let mut builds = BTreeSet::new();
    loop {
        match Message::read(&mut Decoder::new(input, dialect))? {
            Message::Event(event) => {
                if let Event::BuildStarted { activity, .. } = event {
                    builds.insert(activity);
                    if builds.len() > MAX_BUILDS {
                        return Err(Malformed::TooMuch.into());
                    }
                }
                listener(event);
            }
            Message::Stopped(activity) if builds.remove(&activity) => listener(Event::BuildStopped { activity }),
            Message::Stopped(_) | Message::Other => {}
            Message::Refused(refusal) => return Ok(Err(refusal)),
            Message::Last => return Ok(Ok(())),
        }
    }
}

/// How many builds may go on at once.
const MAX_BUILDS: usize = 1 << 16;

const NEXT: u64 = 0x6f6c_6d67;
const LAST: u64 = 0x616c_7473;
/// Announces an error.
pub(super) const ERROR: u64 = 0x6378_7470;
const START_ACTIVITY: u64 = 0x5354_5254;
const STOP_ACTIVITY: u64 = 0x5354_4f50;
const RESULT: u64 = 0x5253_4c54;

/// The kind of activity that is a builder.
const BUILD: u64 = 105;
/// The kind of result that is a line of a builder.
const BUILD_LOG_LINE: u64 = 101;

/// A value that belongs to an activity.
enum Field {
    Number,
    Text(Vec<u8>),
}

impl Field {
    fn read(input: &mut Decoder<'_>) -> Result<Self, WireError> {
        match input.number()? {
            0 => input.number().map(|_| Self::Number),
            1 => input.bytes().map(Self::Text),
            number => Err(Malformed::Choice { what: "the kind of a field", number }.into()),
        }
    }
}

/// The derivation that is built and the machine that builds it; `None` where the fields are others.
fn build_fields(input: &mut Decoder<'_>) -> Result<Option<(StorePath, Option<String>)>, WireError> {
    let dialect = input.dialect();
    let fields: Vec<Field> = input.list(Field::read)?;
    let [Field::Text(derivation), Field::Text(machine), ..] = &fields[..] else { return Ok(None) };
    let derivation = std::str::from_utf8(derivation).ok().and_then(|text| dialect.store_dir.parse(text).ok());
    let machine = Some(String::from_utf8_lossy(machine).into_owned()).filter(|machine| !machine.is_empty());
    Ok(derivation.map(|derivation| (derivation, machine)))
}

/// Reads over fields without keeping any: most messages are of how far something is.
fn skip_fields(input: &mut Decoder<'_>) -> Result<(), WireError> {
    for _ in 0..input.number()? {
        match input.number()? {
            0 => input.number().map(drop)?,
            1 => input.skip_text()?,
            number => return Err(Malformed::Choice { what: "the kind of a field", number }.into()),
        }
    }
    Ok(())
}
