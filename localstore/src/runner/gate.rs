//! A file that lets nobody in until it is filled: whoever opens it before waits, by the rules for leases of fcntl(2).
#![expect(unsafe_code, reason = "leases have no safe form")]

use super::Error;
use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

pub struct Gate {
    file: File,
    shut: Instant,
    /// How long the kernel lets somebody wait; none if without end.
    patience: Option<Duration>,
}

impl Gate {
    /// Makes the file at `at`, empty and shut.
    pub fn shut(at: &Path) -> Result<Self, Error> {
        let what = || format!("make a place for `{}`", at.display());
        let patience = patience().map_err(Error::io("find out how long a lease lasts"))?;
        let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(at);
        let gate = Self { file: file.map_err(Error::io(what()))?, shut: Instant::now(), patience };
        // SIGURG is ignored where nobody waits for it: what the kernel tells by it is nothing new.
        gate.control(F_SETSIG, libc::SIGURG).map_err(Error::io("choose the signal of a lease"))?;
        gate.control(libc::F_SETLEASE, libc::F_WRLCK).map_err(Error::io("take a lease"))?;
        Ok(gate)
    }

    /// Gives it the content and the mode of the file at `from`.
    pub fn fill(&self, from: &Path, metadata: &Metadata) -> Result<(), Error> {
        let fill = || {
            (&self.file).write_all(&fs::read(from)?)?;
            self.file.set_permissions(fs::Permissions::from_mode(metadata.permissions().mode() & 0o777))
        };
        fill().map_err(Error::io(format!("stage `{}`", from.display())))
    }

    /// Lets in who waits, unless the kernel may have done so already.
    pub fn open(&self) -> Result<(), Error> {
        if self.patience.is_some_and(|patience| self.shut.elapsed() >= patience / 2) {
            return Err(Error::NotAhead);
        }
        self.control(libc::F_SETLEASE, libc::F_UNLCK).map_err(Error::io("end a lease"))
    }

    fn control(&self, command: libc::c_int, argument: libc::c_int) -> io::Result<()> {
        // SAFETY: takes numbers alone; the descriptor is ours.
        let answer = unsafe { libc::fcntl(self.file.as_raw_fd(), command, argument) };
        if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// fcntl(2): proc_sys_fs(5), `lease-break-time`, in seconds; 0 is no limit.
fn patience() -> io::Result<Option<Duration>> {
    let seconds = fs::read_to_string("/proc/sys/fs/lease-break-time")?;
    let seconds = seconds.trim().parse().map_err(io::Error::other)?;
    Ok(Some(Duration::from_secs(seconds)).filter(|patience| !patience.is_zero()))
}

/// <asm-generic/fcntl.h>
const F_SETSIG: libc::c_int = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_opens_a_gate_waits_until_it_is_filled() {
        let directory = tempfile::tempdir().expect("a directory");
        let (at, from) = (directory.path().join("a.c"), directory.path().join("from"));
        fs::write(&from, "int x;").expect("a file");
        let Ok(gate) = Gate::shut(&at) else {
            return println!("not run: no leases on the file system of temporary files");
        };
        let reader = std::thread::spawn(move || (fs::read_to_string(at), Instant::now()));
        std::thread::sleep(Duration::from_millis(50));
        assert!(!reader.is_finished());
        gate.fill(&from, &fs::metadata(&from).expect("it is there")).expect("it is filled");
        let opened = Instant::now();
        gate.open().expect("it is in time");
        let (text, read) = reader.join().expect("no panic");
        assert_eq!(text.expect("it is read"), "int x;");
        assert!(read >= opened);
    }

    #[test]
    fn a_gate_that_the_kernel_may_have_opened_was_of_no_use() {
        let directory = tempfile::tempdir().expect("a directory");
        let Ok(mut gate) = Gate::shut(&directory.path().join("a.c")) else {
            return println!("not run: no leases on the file system of temporary files");
        };
        gate.patience = Some(Duration::ZERO);
        assert!(matches!(gate.open(), Err(Error::NotAhead)));
    }
}
