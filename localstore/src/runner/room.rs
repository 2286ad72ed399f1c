//! Where the files of a sandbox lie: in memory, which costs least, or on the disk, for a job that needs more.
//!
//! That there is too little memory concerns the sandbox and not the job, which has the disk outside. So no job meets its end: the
//! keeper looks in time how much is taken, and a job that takes more than its part is ended and run again on the disk.
#![expect(unsafe_code, reason = "what the machine has is told by a system call without a safe form")]

use super::Error;
use rustix::fs::statvfs;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

/// Where they lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Room {
    /// In memory, where a job may take so many bytes; a part of what there is, if that is not said.
    Memory(Option<u64>),
    /// On the disk, in the directory of the root, which nobody else uses.
    Disk,
}

impl Room {
    /// The memory of its job, if the files lie there.
    pub fn memory(self) -> Option<Memory> {
        match self {
            Self::Memory(limit) => Some(Memory::new(limit.unwrap_or_else(limit_of_jobs))),
            Self::Disk => None,
        }
    }
}

/// How much memory one job may take where nothing else is said, in bytes: other jobs run beside it, and all are programs that need
/// memory too.
pub fn limit_of_jobs() -> u64 {
    all() / PARTS
}

/// How many times the limit of a job there is before somebody meets the end.
const PARTS: u64 = 4;

/// The memory of one job.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// How much it may take, in bytes.
    limit: u64,
    /// How much its inputs may be.
    inputs: u64,
}

impl Memory {
    fn new(limit: u64) -> Self {
        // What is made of inputs is about as large. Most have few, whatever the number of processors.
        const ALWAYS: u64 = 64 << 20;
        let processors = sysconf(libc::_SC_NPROCESSORS_ONLN).max(1);
        let limit = limit.max(1); // none at all would be no limit
        Self { limit, inputs: (limit / processors).max(limit.min(ALWAYS)) }
    }

    /// The options of its file system (tmpfs(5)).
    pub fn options(self) -> String {
        format!("size={}", self.limit.saturating_mul(PARTS))
    }

    /// Whether a job with so many bytes of inputs should have the disk from the beginning.
    pub fn is_too_little_for(self, inputs: u64) -> bool {
        inputs > self.inputs
    }

    /// Whether what is mounted at `/`, which is this, has more in it than it may have.
    pub fn is_exceeded(self) -> bool {
        self.left().is_none()
    }

    /// How many bytes that may still take; none if it has too much, or hardly room for new files.
    fn left(self) -> Option<u64> {
        let Ok(root) = statvfs("/") else { return Some(self.limit) };
        let taken = root.f_blocks.saturating_sub(root.f_bfree).saturating_mul(root.f_frsize);
        self.limit.checked_sub(taken).filter(|_| root.f_ffree >= root.f_files / PARTS)
    }
}

/// Looks from time to time how much a job takes.
pub struct Watch {
    memory: Memory,
    /// The device of what is at `/` until the job has entered its root, and this process with it.
    outside: Option<u64>,
}

impl Watch {
    /// Begins before there is a root.
    pub fn new(memory: Memory) -> Self {
        Self { memory, outside: device() }
    }

    /// How long it may be left alone; none, if it takes too much.
    pub fn look(&self) -> Option<Duration> {
        /// Bytes that nobody writes faster in a millisecond.
        const FASTEST: u64 = 8 << 20;
        let left = if device() == self.outside { self.memory.limit } else { self.memory.left()? };
        Some(Duration::from_millis((left / FASTEST).clamp(5, 250)))
    }
}

fn device() -> Option<u64> {
    fs::metadata("/").ok().map(|root| root.dev())
}

/// The error of putting a job's inputs there.
pub fn of_inputs(error: Error) -> Error {
    match error {
        Error::Io { error, .. } if error.kind() == io::ErrorKind::StorageFull => Error::NoRoom,
        other => other,
    }
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
        let memory = Room::Memory(None).memory().unwrap();
        assert!(all() >= 1 << 20 && !memory.is_too_little_for(0) && memory.is_too_little_for(u64::MAX));
    }

    #[test]
    fn a_job_with_little_memory_is_looked_at_often_and_begins_with_few_inputs() {
        let memory = |limit| Memory::new(limit);
        assert_eq!(Watch::new(memory(u64::MAX)).look(), Some(Duration::from_millis(250)));
        assert_eq!(Watch::new(memory(80 << 20)).look(), Some(Duration::from_millis(10)));
        assert_eq!(Watch::new(memory(0)).look(), Some(Duration::from_millis(5)));
        assert_eq!(memory(0).options(), "size=4");
        assert!(memory(1 << 20).is_too_little_for((1 << 20) + 1) && !memory(1 << 20).is_too_little_for(1 << 20));
        assert_eq!(memory(1 << 20).options(), "size=4194304");
    }
}
