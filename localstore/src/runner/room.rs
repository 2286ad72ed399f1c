//! Where the files of a sandbox lie: in memory, which costs least, or on the disk, for a job that needs more.
//!
//! That the memory does not suffice concerns the sandbox and not the job, which has the disk outside. So a job that may have met
//! its end is run again on the disk: one that fails says so, and one that takes no notice leaves the memory full.
#![expect(unsafe_code, reason = "what the machine has is told by a system call without a safe form")]

use super::run::Ended;
use super::{Error, printed};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Where they lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Room {
    /// In memory, and take so many bytes at most; where that is not said, half of what this process can have.
    Memory(Option<u64>),
    /// On the disk, in the directory of the root, which nobody else uses.
    Disk,
}

/// The memory of one job, in bytes.
#[derive(Clone, Copy)]
pub struct Memory(u64);

impl Memory {
    /// At most so many; half of what this process can have, if nothing is said.
    pub fn new(limit: Option<u64>) -> Self {
        Self(limit.unwrap_or_else(|| all() / 2))
    }

    /// The options of its file system (tmpfs(5)).
    pub fn options(self) -> String {
        format!("size={}", self.0)
    }

    /// How many bytes of inputs a job may have: its outputs will take about as many, and others run beside it.
    pub fn largest_inputs(self) -> u64 {
        self.0 / (2 * sysconf(libc::_SC_NPROCESSORS_ONLN).max(1))
    }

    /// Whether it may have been too little for a job that has ended so. What is mounted at `/` is this.
    pub fn was_too_little(self, ended: &Ended) -> bool {
        let is_full = || rustix::fs::statvfs("/").is_ok_and(|files| files.f_bfree < files.f_blocks / 16);
        match ended {
            Ended::Exit(0) | Ended::LeftRunning(_) => is_full(),
            // A file that is mapped into memory, as linkers write theirs.
            Ended::Signal(libc::SIGBUS) => true,
            Ended::Exit(_) | Ended::Signal(_) => is_full() || is_told().unwrap_or(true),
        }
    }
}

/// The error of putting a job's inputs there.
pub fn of_inputs(error: Error) -> Error {
    match error {
        Error::Io { error, .. } if error.kind() == io::ErrorKind::StorageFull => Error::NoRoom,
        other => other,
    }
}

/// Whether the end of what was printed says that there was too little: in the words of errno(3), or, of a compiler that had a
/// linker end so, of strsignal(3).
fn is_told() -> io::Result<bool> {
    const LAST: u64 = 1 << 16;
    let printed = printed()?;
    let size = printed.metadata()?.len();
    let mut text = vec![0; size.min(LAST) as usize];
    printed.read_exact_at(&mut text, size.saturating_sub(LAST))?;
    text.make_ascii_lowercase();
    let says = |words: &str| text.windows(words.len()).any(|window| window == words.as_bytes());
    Ok(says("no space left on device") || says("bus error"))
}

/// All memory that this process can have, in bytes: the machine's, or what its control groups leave of it.
fn all() -> u64 {
    let machine = sysconf(libc::_SC_PHYS_PAGES).saturating_mul(sysconf(libc::_SC_PAGESIZE));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups.lines().filter_map(|line| of_group(line, Path::new("/sys/fs/cgroup"))).fold(machine, u64::min)
}

/// What a control group leaves, by its line in `/proc/self/cgroup` (cgroups(7)); each that it is in may have a limit of its own.
/// In a container the first may not be there to see.
fn of_group(line: &str, mounted: &Path) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, group) = (parts.next()?, parts.next()?);
    let (mounted, limit) = match controllers {
        "" => (mounted.to_owned(), "memory.max"),
        "memory" => (mounted.join("memory"), "memory.limit_in_bytes"),
        _ => return None,
    };
    let limit = |group: &Path| {
        let file = mounted.join(group.strip_prefix("/").unwrap_or(group)).join(limit);
        fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()
    };
    Path::new(group).ancestors().filter_map(limit).min()
}

/// A number that sysconf(3) tells; 0 where it does not.
fn sysconf(name: libc::c_int) -> u64 {
    // SAFETY: takes a number and gives one.
    unsafe { libc::sysconf(name) }.try_into().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_of_all_groups_counts() {
        let mounted = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let file = mounted.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        write("user/memory.max", "3000\n");
        write("user/shell/memory.max", "max\n");
        write("user/other/memory.max", "2000\n");
        write("memory/memory.limit_in_bytes", "4000\n");
        for (line, limit) in [
            ("0::/user/shell", Some(3000)),
            ("0::/user/other", Some(2000)),
            ("0::/", None),
            ("7:memory:/of/the/host", Some(4000)),
            ("6:cpu,cpuacct:/user", None),
            ("", None),
        ] {
            assert_eq!(of_group(line, mounted.path()), limit, "{line}");
        }
    }

    #[test]
    fn what_this_machine_has_is_known() {
        assert!(all() >= 1 << 20 && Memory::new(None).largest_inputs() > 0);
        assert_eq!(Memory::new(Some(4096)).options(), "size=4096");
    }
}
