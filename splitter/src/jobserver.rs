//! Sharing processors with other builds: GNU make's job server. Each command but the first of a build needs a token, a byte
//! that is read from a pipe or FIFO and written back when the command ends.
//!
//! Source: the GNU make manual, "POSIX Jobserver Interaction".

use rustix::fs::Mode;
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Where tokens come from and go to.
#[derive(Debug)]
pub struct Jobserver {
    reader: File,
    writer: File,
    /// What was read, and is to be written back.
    held: Mutex<Vec<u8>>,
    server: Option<Server>,
}

/// What only lives as long as the server.
#[derive(Debug)]
struct Server {
    /// For `MAKEFLAGS`.
    flags: String,
    /// Where the FIFO is.
    _directory: Option<tempfile::TempDir>,
    /// The ends of the pipe, which commands inherit.
    _pipe: Option<[File; 2]>,
}

/// How commands reach a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// By the path of a FIFO: GNU make from 4.4 on.
    Fifo,
    /// By two open files: any GNU make.
    Pipe,
}

/// What `MAKEFLAGS` says of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Auth {
    Fifo(PathBuf),
    Pipe(i32, i32),
}

impl Jobserver {
    /// The server that `MAKEFLAGS` names, if it names one.
    ///
    /// # Errors
    /// Where it cannot be reached.
    pub fn from_makeflags(flags: &str) -> io::Result<Option<Self>> {
        let Some(auth) = auth(flags) else { return Ok(None) };
        // Opened anew, so that nobody else's reads stop waiting.
        let (reader, writer) = match auth {
            Auth::Fifo(path) => (path.clone(), path),
            Auth::Pipe(reader, writer) => (of_descriptor(reader), of_descriptor(writer)),
        };
        Ok(Some(Self::open(&reader, &writer, None)?))
    }

    /// A server for `jobs` commands at once, this build's own first one among them.
    ///
    /// # Errors
    /// Where there can be no pipe.
    pub fn serve(style: Style, jobs: usize) -> io::Result<Self> {
        let jobserver = match style {
            Style::Fifo => {
                let directory = tempfile::tempdir()?;
                let path = directory.path().join("jobserver");
                rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR)?;
                let flags = format!("-j{jobs} --jobserver-auth=fifo:{}", path.display());
                Self::open(&path, &path, Some(Server { flags, _directory: Some(directory), _pipe: None }))?
            }
            Style::Pipe => {
                let (reader, writer) = rustix::pipe::pipe()?;
                let (reader, writer) = (File::from(reader), File::from(writer));
                let numbers = [reader.as_raw_fd(), writer.as_raw_fd()];
                let flags = format!("-j{jobs} --jobserver-auth={},{}", numbers[0], numbers[1]);
                let server = Server { flags, _directory: None, _pipe: Some([reader, writer]) };
                Self::open(&of_descriptor(numbers[0]), &of_descriptor(numbers[1]), Some(server))?
            }
        };
        (&jobserver.writer).write_all(&vec![b'+'; jobs.saturating_sub(1)])?;
        Ok(jobserver)
    }

    fn open(reader: &Path, writer: &Path, server: Option<Server>) -> io::Result<Self> {
        let mut nonblocking = OpenOptions::new();
        nonblocking.read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
        // A FIFO that is open for reading can be opened for writing at once.
        let reader = nonblocking.open(reader)?;
        let writer = OpenOptions::new().write(true).open(writer)?;
        Ok(Self { reader, writer, held: Mutex::default(), server })
    }

    /// What commands find this server by; none where it is somebody else's, which they find as this process has.
    pub fn environment(&self) -> Option<(OsString, OsString)> {
        self.server.as_ref().map(|server| ("MAKEFLAGS".into(), server.flags.clone().into()))
    }

    /// Takes a token, if there is one now.
    pub fn take(&self) -> bool {
        let mut token = [0];
        let taken = matches!((&self.reader).read(&mut token), Ok(1));
        if taken {
            self.held().push(token[0]);
        }
        taken
    }

    /// Gives a token back, if any is held.
    pub fn give_back(&self) {
        let token = self.held().pop();
        token.into_iter().for_each(|token| drop((&self.writer).write_all(&[token])));
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Jobserver {
    fn drop(&mut self) {
        let held = std::mem::take(&mut *self.held());
        (&self.writer).write_all(&held).ok(); // the server may have gone
    }
}

fn of_descriptor(number: i32) -> PathBuf {
    format!("/proc/self/fd/{number}").into()
}

/// The last server that is named. A build that only shows what it would do has none.
fn auth(flags: &str) -> Option<Auth> {
    let words = || flags.split_ascii_whitespace();
    if words().next().is_some_and(|first| !first.starts_with("--") && !first.contains('=') && first.contains('n')) {
        return None;
    }
    let value = |word| ["--jobserver-auth=", "--jobserver-fds="].iter().find_map(|name| str::strip_prefix(word, name));
    let value = words().filter_map(value).next_back()?;
    if let Some(path) = value.strip_prefix("fifo:") {
        return Some(Auth::Fifo(path.into()));
    }
    let (reader, writer) = value.split_once(',')?;
    let number = |text: &str| text.parse::<i32>().ok().filter(|number| *number >= 0);
    Some(Auth::Pipe(number(reader)?, number(writer)?))
}

/// Whether an error says that there is no server any more, and not that something is wrong with it.
pub fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::NOENT, Errno::BADF, Errno::NXIO].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|error| gone.contains(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makeflags_name_a_server_in_each_way_that_make_has_had() {
        assert_eq!(auth(" -j4 --jobserver-auth=fifo:/tmp/GMfifo1"), Some(Auth::Fifo("/tmp/GMfifo1".into())));
        assert_eq!(auth("k -j --jobserver-auth=3,4 -- A=b"), Some(Auth::Pipe(3, 4)));
        assert_eq!(auth("w --jobserver-fds=5,6 --jobserver-auth=3,4"), Some(Auth::Pipe(3, 4)));
        assert_eq!(auth("--jobserver-auth=-2,-2"), None);
        assert_eq!(auth("n --jobserver-auth=3,4"), None);
        assert_eq!(auth("NAME=n --jobserver-auth=3,4"), Some(Auth::Pipe(3, 4)));
        assert_eq!(auth(""), None);
    }

    #[test]
    fn there_are_as_many_tokens_as_commands_besides_the_first() {
        for style in [Style::Fifo, Style::Pipe] {
            let server = Jobserver::serve(style, 3).unwrap();
            let (name, flags) = server.environment().unwrap();
            assert_eq!(name, "MAKEFLAGS");
            let client = Jobserver::from_makeflags(flags.to_str().unwrap()).unwrap().unwrap();
            assert!(client.environment().is_none());
            assert!(client.take() && server.take() && !client.take() && !server.take());
            client.give_back();
            client.give_back();
            assert!(server.take() && !client.take());
            drop(client);
            server.give_back();
            let client = Jobserver::from_makeflags(flags.to_str().unwrap()).unwrap().unwrap();
            assert!(client.take());
            drop(client);
            assert!(server.take(), "what a client holds when it ends is given back");
        }
    }

    #[test]
    fn a_server_that_has_gone_is_known_from_one_that_is_wrong() {
        let gone = Jobserver::from_makeflags("--jobserver-auth=fifo:/nowhere/fifo").unwrap_err();
        assert!(is_gone(&gone));
        assert!(is_gone(&Jobserver::from_makeflags("--jobserver-auth=900,901").unwrap_err()));
    }
}
