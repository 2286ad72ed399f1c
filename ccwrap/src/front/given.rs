//! What the call comes with, as far as an entry is found by it.

use crate::bytes::{Bytes, PATH};
use crate::kernel::start::Start;
use crate::kernel::{self, ERRORS};
use ccwrap_format::cache;
use ccwrap_format::call::{self, Call, Variable};
use core::ffi::CStr;

/// More variables that make another result are too many.
const MOST_VARIABLES: usize = 64;

/// As many variables by which the cache is found, and some of them twice.
const MOST_WAYS: usize = 8;

/// The variables of the environment that say something.
pub struct Env {
    /// Those that make another result.
    matter: [Option<Variable<'static>>; MOST_VARIABLES],
    /// Those by which the cache is found.
    find: [Option<Variable<'static>>; MOST_WAYS],
}

impl Env {
    /// Of this process; none where a variable asks for more than the answer of an entry.
    pub fn of(start: Start) -> Option<Self> {
        let mut env = Self { matter: [None; MOST_VARIABLES], find: [None; MOST_WAYS] };
        let (mut matter, mut find) = (env.matter.iter_mut(), env.find.iter_mut());
        let all = || start.env().map(CStr::to_bytes).filter_map(call::variable);
        let (pure, family) = (all().any(call::is_purity), call::family(start.words().map(CStr::to_bytes)));
        for variable in all() {
            let (name, _) = variable;
            if call::matters(name, family, pure) {
                *matter.next()? = Some(variable);
            } else if call::asks_for_more(name) {
                return None;
            }
            if cache::is_found_by(name) {
                *find.next()? = Some(variable);
            }
        }
        Some(env)
    }

    /// The value of a variable by which the cache is found.
    pub fn value(&self, name: &str) -> Option<&'static [u8]> {
        self.find.iter().flatten().find(|(known, _)| *known == name.as_bytes()).map(|(_, value)| *value)
    }
}

/// The text of the call.
pub fn text<'a>(start: Start, env: &Env, place: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut directory = [0; PATH];
    let call = Call {
        directory: kernel::working_directory(&mut directory)?,
        terminal: kernel::is_terminal(ERRORS),
        words: start.words().map(CStr::to_bytes),
        env: env.matter.iter().map_while(|variable| *variable),
    };
    let mut text = Bytes::new(place);
    call.text(|piece| text.put(piece))?;
    text.all()
}

/// The value of any variable, as the standard library finds it: the first of that name.
pub fn variable(start: Start, wanted: &[u8]) -> Option<&'static [u8]> {
    let mut all = start.env().map(CStr::to_bytes).filter_map(call::variable);
    all.find(|(name, _)| *name == wanted).map(|(_, value)| value)
}
