//! What the call comes with, as far as an entry is found by it.

use crate::bytes::{Bytes, PATH};
use crate::kernel::start::Start;
use crate::kernel::{self, ERRORS};
use ccwrap_format::cache;
use ccwrap_format::call::{self, Call, Variable};
use core::ffi::CStr;

/// More variables that say something are too many.
const MOST_VARIABLES: usize = 64;

/// The variables of the environment that say something.
pub struct Env([Option<Variable<'static>>; MOST_VARIABLES]);

impl Env {
    /// Of this process; none where a variable asks for more than the answer of an entry.
    pub fn of(start: Start) -> Option<Self> {
        let mut env = Self([None; MOST_VARIABLES]);
        let mut free = env.0.iter_mut();
        for (name, value) in start.env().map(CStr::to_bytes).filter_map(call::variable) {
            if call::asks_for_more(name) {
                return None;
            }
            if call::matters(name) || cache::is_found_by(name) {
                *free.next()? = Some((name, value));
            }
        }
        Some(env)
    }

    /// The value of one of them.
    pub fn value(&self, name: &str) -> Option<&'static [u8]> {
        self.all().find(|(known, _)| *known == name.as_bytes()).map(|(_, value)| value)
    }

    fn all(&self) -> impl Iterator<Item = Variable<'static>> + Clone {
        self.0.iter().map_while(|variable| *variable)
    }
}

/// The text of the call.
pub fn text<'a>(start: Start, env: &Env, place: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut directory = [0; PATH];
    let call = Call {
        directory: kernel::working_directory(&mut directory)?,
        terminal: kernel::is_terminal(ERRORS),
        words: start.words().map(CStr::to_bytes),
        env: env.all().filter(|(name, _)| call::matters(name)),
    };
    let mut text = Bytes::new(place);
    call.text(|piece| text.put(piece))?;
    text.all()
}
