//! Reads headers before the scan comes to them, on another processor. A build scans many units at once; who scans one alone waits
//! for nothing else.

use crate::discover::headers::Headers;
use crate::scan::lex::{Directive, Kind, Lexed, Spelling};
use crate::scan::options::Directory;
use crate::scan::{Files as _, Search, There};
use bstr::{BStr, BString, ByteSlice as _};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What files name that were read.
#[derive(Debug, Default)]
pub struct ReadAhead {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    wishes: Vec<Wish>,
    scanning: bool,
}

/// A header that is included, perhaps.
#[derive(Debug)]
struct Wish {
    name: BString,
    /// The directory of the file that names it between quotes.
    beside: Option<BString>,
}

impl ReadAhead {
    /// Notes what a file includes.
    pub fn read(&self, path: &BStr, lexed: &Lexed) {
        let beside = path.rfind_byte(b'/').map_or(path, |end| path[..end].as_bstr());
        let wishes = lexed.directives.iter().filter_map(|directive| match directive {
            Directive::Include(Kind::Include | Kind::Import, Spelling::Quoted(name)) => {
                Some(Wish { name: name.clone(), beside: Some(beside.into()) })
            }
            Directive::Include(Kind::Include | Kind::Import, Spelling::Angled(name)) => {
                Some(Wish { name: name.clone(), beside: None })
            }
            _ => None,
        });
        self.state().wishes.extend(wishes);
        self.changed.notify_one();
    }

    /// Scans, while another thread reads ahead. It takes what was named last, as the scan comes to that last.
    pub fn beside<T>(&self, headers: &Headers, search: &Search, scan: impl FnOnce() -> T) -> T {
        self.state().scanning = true;
        thread::scope(|scope| {
            scope.spawn(|| {
                while let Some(wish) = self.next() {
                    wish.read(headers, search);
                }
            });
            let scanned = scan();
            self.state().scanning = false;
            self.changed.notify_one();
            scanned
        })
    }

    /// Waits until something is named; none when the scan is over.
    fn next(&self) -> Option<Wish> {
        let is_idle = |state: &mut State| state.scanning && state.wishes.is_empty();
        let state = self.changed.wait_while(self.state(), is_idle);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if state.scanning { state.wishes.pop() } else { None }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wish {
    /// Reads it where it is found first; `headers` keeps it, and that it is not at the places before.
    fn read(&self, headers: &Headers, search: &Search) {
        let beside = self.beside.as_ref().map(|directory| Directory::Plain(directory.clone()));
        let is_quoted = beside.is_some();
        let directories = search.quoted().filter(|_| is_quoted).chain(search.angled().filter(|_| !is_quoted));
        let places = beside.iter().chain(directories.map(|(_, directory)| directory));
        places
            .flat_map(|directory| directory.places(self.name.as_bstr()))
            .any(|path| !matches!(headers.read(path.as_bstr()), There::Nothing));
    }
}
