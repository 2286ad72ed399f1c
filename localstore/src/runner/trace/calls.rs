//! The system calls that have to do with files by name: which of their arguments are paths, and what they do there.

/// A system call that is traced.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// Its number on this machine.
    pub number: libc::c_long,
    pub does: Does,
    /// Where its paths are.
    pub at: At,
    /// The argument that may hold `AT_EMPTY_PATH`: the call is then about a descriptor, and not traced.
    pub flags: Option<usize>,
}

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// Opens, as the flags in this argument say.
    Open(usize),
    /// Opens, as the `open_how` says to which this argument points.
    OpenHow(usize),
    /// Makes an empty file and opens it for writing.
    Create,
    /// Looks what is there, following links.
    Look,
    /// Looks what is there, without following a link.
    LookAtLink,
    /// Starts a program.
    Run,
    /// Makes or removes a name.
    Name,
    /// Changes what is there, following links.
    Change,
    /// Moves the first path to the second.
    Move,
    /// Makes the second path the same file as the first.
    Link,
    /// Lists an open directory.
    List,
}

/// Which arguments are paths.
#[derive(Debug, Clone, Copy)]
pub enum At {
    /// This, from the working directory.
    Path(usize),
    /// The second, from the directory that the first has open.
    Below(usize, usize),
    /// Two, from the working directory.
    Paths(usize, usize),
    /// Two, each from a directory.
    TwoBelow([usize; 4]),
    /// None, but a descriptor.
    Open(usize),
}

const fn call(number: libc::c_long, does: Does, at: At) -> Call {
    Call { number, does, at, flags: None }
}

const fn unless_empty(call: Call, flags: usize) -> Call {
    Call { flags: Some(flags), ..call }
}

/// All machines have these.
const COMMON: &[Call] = &[
    call(libc::SYS_openat, Does::Open(2), At::Below(0, 1)),
    call(libc::SYS_openat2, Does::OpenHow(2), At::Below(0, 1)),
    unless_empty(call(libc::SYS_newfstatat, Does::Look, At::Below(0, 1)), 3),
    unless_empty(call(libc::SYS_statx, Does::Look, At::Below(0, 1)), 2),
    call(libc::SYS_faccessat, Does::Look, At::Below(0, 1)),
    call(libc::SYS_faccessat2, Does::Look, At::Below(0, 1)),
    call(libc::SYS_readlinkat, Does::LookAtLink, At::Below(0, 1)),
    call(libc::SYS_chdir, Does::Look, At::Path(0)),
    call(libc::SYS_execve, Does::Run, At::Path(0)),
    unless_empty(call(libc::SYS_execveat, Does::Run, At::Below(0, 1)), 4),
    call(libc::SYS_renameat2, Does::Move, At::TwoBelow([0, 1, 2, 3])),
    unless_empty(call(libc::SYS_linkat, Does::Link, At::TwoBelow([0, 1, 2, 3])), 4),
    call(libc::SYS_symlinkat, Does::Name, At::Below(1, 2)),
    call(libc::SYS_unlinkat, Does::Name, At::Below(0, 1)),
    call(libc::SYS_mkdirat, Does::Name, At::Below(0, 1)),
    call(libc::SYS_mknodat, Does::Name, At::Below(0, 1)),
    call(libc::SYS_truncate, Does::Change, At::Path(0)),
    call(libc::SYS_fchmodat, Does::Change, At::Below(0, 1)),
    unless_empty(call(libc::SYS_fchownat, Does::Change, At::Below(0, 1)), 4),
    unless_empty(call(libc::SYS_utimensat, Does::Change, At::Below(0, 1)), 3),
    call(libc::SYS_getdents64, Does::List, At::Open(0)),
];

#[cfg(target_arch = "x86_64")]
const OLDER: &[Call] = &[
    call(libc::SYS_open, Does::Open(1), At::Path(0)),
    call(libc::SYS_creat, Does::Create, At::Path(0)),
    call(libc::SYS_stat, Does::Look, At::Path(0)),
    call(libc::SYS_lstat, Does::LookAtLink, At::Path(0)),
    call(libc::SYS_access, Does::Look, At::Path(0)),
    call(libc::SYS_readlink, Does::LookAtLink, At::Path(0)),
    call(libc::SYS_rename, Does::Move, At::Paths(0, 1)),
    call(libc::SYS_renameat, Does::Move, At::TwoBelow([0, 1, 2, 3])),
    call(libc::SYS_link, Does::Link, At::Paths(0, 1)),
    call(libc::SYS_symlink, Does::Name, At::Path(1)),
    call(libc::SYS_unlink, Does::Name, At::Path(0)),
    call(libc::SYS_rmdir, Does::Name, At::Path(0)),
    call(libc::SYS_mkdir, Does::Name, At::Path(0)),
    call(libc::SYS_mknod, Does::Name, At::Path(0)),
    call(libc::SYS_chmod, Does::Change, At::Path(0)),
    call(libc::SYS_chown, Does::Change, At::Path(0)),
    call(libc::SYS_lchown, Does::Name, At::Path(0)),
    call(libc::SYS_utime, Does::Change, At::Path(0)),
    call(libc::SYS_utimes, Does::Change, At::Path(0)),
    call(libc::SYS_futimesat, Does::Change, At::Below(0, 1)),
    call(libc::SYS_getdents, Does::List, At::Open(0)),
];

#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[Call] = &[];

/// All that are traced.
pub fn all() -> impl Iterator<Item = &'static Call> {
    COMMON.iter().chain(OLDER)
}

/// The call of a number.
pub fn of(number: u64) -> Option<&'static Call> {
    all().find(|call| u64::try_from(call.number) == Ok(number))
}
