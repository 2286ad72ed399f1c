//! What commands do with files, seen from outside: each process, with all that it starts, is stopped by the kernel at the
//! calls that name files, and looked at through `ptrace(2)`. Static programs, children, and paths below open directories
//! are seen as all others. What a program of another machine (32 bits) does is not; it is noted that there was one.
//!
//! Works with and without namespaces, as any user. The kernel has to be 5.3 or newer.
#![expect(unsafe_code, reason = "ptrace, seccomp and fork have no safe form")]

mod accesses;
mod calls;
mod filter;

use super::{Error, bpf};
use accesses::{Accesses, Opening, Place};
use calls::{At, Call, Does};
use nixstore::manifest::Reads;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// Watches the processes that it starts, and theirs.
#[derive(Default)]
pub struct Tracer {
    accesses: Accesses,
    /// Calls that have begun, by thread.
    pending: BTreeMap<libc::pid_t, Pending>,
    /// All threads that have been seen and have not ended.
    living: BTreeSet<libc::pid_t>,
    blind: bool,
}

/// A call that a thread is in.
struct Pending {
    call: &'static Call,
    opening: Option<Opening>,
    places: Vec<Place>,
}

/// A program to start, its strings ready: between fork and exec nothing may be allocated.
pub struct Program {
    /// The file.
    pub file: OsString,
    /// Its own name first.
    pub argv: Vec<OsString>,
    /// All of it.
    pub env: Vec<(OsString, OsString)>,
    /// Its standard input.
    pub stdin: File,
    /// Its standard output, where that is not ours.
    pub stdout: Option<File>,
}

/// A process that has just been started; it tells if it could not become the program.
pub struct Started {
    pub pid: libc::pid_t,
    failure: File,
}

impl Started {
    /// Why there is no such program; asked when the process has ended.
    pub fn failure(mut self) -> Option<io::Error> {
        let mut errno = [0; 4];
        self.failure.read_exact(&mut errno).ok().map(|()| io::Error::from_raw_os_error(i32::from_ne_bytes(errno)))
    }
}

impl Tracer {
    /// Notes that a file was opened for a program before it was started.
    pub fn opened_for_it(&mut self, path: &Path, flags: i32) {
        let place = self.accesses.place(Path::new("/"), path, true);
        let opening = Opening { flags };
        match opening.writes() {
            true => self.accesses.done(Does::Open(0), Some(opening), &[place], 0),
            false => self.accesses.begun(Does::Open(0), Some(opening), &place),
        }
    }

    /// Starts a program in the working directory of this process.
    pub fn start(&mut self, program: Program) -> Result<Started, Error> {
        let strings = |words: &[OsString]| words.iter().map(|word| c_string(word)).collect::<Result<Vec<_>, _>>();
        let file = c_string(&program.file)?;
        let argv = strings(&program.argv)?;
        let env: Vec<OsString> =
            program.env.iter().map(|(k, v)| [k.as_os_str(), "=".as_ref(), v].into_iter().collect()).collect();
        let env = strings(&env)?;
        let pointers = |strings: &[CString]| {
            strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
        };
        let (argv, env) = (pointers(&argv), pointers(&env));
        let filter = filter::program();
        let (wait, go) = pipe()?;
        let (failure, fail) = pipe()?;
        let stdout = program.stdout.as_ref().map_or(libc::STDOUT_FILENO, |file| file.as_raw_fd());
        // SAFETY: whatever other threads hold, the child calls nothing but what may be called after fork, with pointers to
        // what was made before; it ends in exec or `_exit`.
        let pid = unsafe {
            let pid = libc::fork();
            if pid == 0 {
                libc::dup2(program.stdin.as_raw_fd(), libc::STDIN_FILENO);
                libc::dup2(stdout, libc::STDOUT_FILENO);
                // Until it is watched.
                let mut byte = 0_u8;
                libc::read(wait.as_raw_fd(), (&raw mut byte).cast(), 1);
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                if bpf::install(&filter).is_ok() {
                    libc::execve(file.as_ptr(), argv.as_ptr(), env.as_ptr());
                }
                let errno = *libc::__errno_location();
                libc::write(fail.as_raw_fd(), (&raw const errno).cast(), 4);
                libc::_exit(127);
            }
            pid
        };
        if pid < 0 {
            return Err(Error::io("start a process")(io::Error::last_os_error()));
        }
        const OPTIONS: libc::c_int = libc::PTRACE_O_TRACESYSGOOD
            | libc::PTRACE_O_TRACEFORK
            | libc::PTRACE_O_TRACEVFORK
            | libc::PTRACE_O_TRACECLONE
            | libc::PTRACE_O_TRACEEXEC
            | libc::PTRACE_O_TRACESECCOMP
            | libc::PTRACE_O_EXITKILL;
        // SAFETY: these requests take numbers alone.
        let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, OPTIONS) };
        if seized != 0 {
            let error = io::Error::last_os_error();
            // SAFETY: our own child, which has not been waited for.
            unsafe {
                libc::kill(pid, libc::SIGKILL);
                libc::waitpid(pid, std::ptr::null_mut(), 0);
            }
            return Err(Error::Refused { step: "trace a process".into(), errno: error.raw_os_error().unwrap_or(0) });
        }
        self.living.insert(pid);
        File::from(go).write_all(&[0]).map_err(Error::io("start a process"))?;
        Ok(Started { pid, failure: File::from(failure) })
    }

    /// As waitpid(2) for any child: which has ended, and how; 0 where `flags` ask not to wait, and none has; negative where
    /// none is left.
    pub fn wait(&mut self, status: &mut libc::c_int, flags: libc::c_int) -> Result<libc::pid_t, Error> {
        loop {
            // SAFETY: `status` outlives the call.
            let pid = unsafe { libc::waitpid(-1, status, flags | libc::__WALL) };
            if pid < 0 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted {
                continue;
            }
            if pid <= 0 {
                return Ok(pid);
            }
            if !libc::WIFSTOPPED(*status) {
                self.pending.remove(&pid);
                self.living.remove(&pid);
                return Ok(pid);
            }
            self.living.insert(pid);
            self.stopped(pid, *status)?;
        }
    }

    /// A thread has stopped; it goes on.
    fn stopped(&mut self, pid: libc::pid_t, status: libc::c_int) -> Result<(), Error> {
        let signal = libc::WSTOPSIG(status);
        match status >> 16 {
            libc::PTRACE_EVENT_SECCOMP => {
                let begun = self.begun(pid);
                let on = if begun { libc::PTRACE_SYSCALL } else { libc::PTRACE_CONT };
                resume(pid, on, 0)
            }
            libc::PTRACE_EVENT_EXEC => {
                // The thread that called it has the number of its process now.
                let former = message(pid) as libc::pid_t;
                if former != pid {
                    self.living.remove(&former);
                }
                resume(pid, libc::PTRACE_CONT, 0)
            }
            libc::PTRACE_EVENT_STOP if signal != libc::SIGTRAP => resume(pid, libc::PTRACE_LISTEN, 0),
            0 if signal == libc::SIGTRAP | 0x80 => {
                self.ended(pid);
                resume(pid, libc::PTRACE_CONT, 0)
            }
            0 => resume(pid, libc::PTRACE_CONT, signal),
            _ => resume(pid, libc::PTRACE_CONT, 0),
        }
    }

    /// Notes which call a thread begins. Answers whether its answer is awaited.
    fn begun(&mut self, pid: libc::pid_t) -> bool {
        let Some((number, arguments)) = entry(pid) else { return false };
        if message(pid) == u64::from(filter::FOREIGN) {
            self.blind = true;
            return false;
        }
        let Some(call) = calls::of(number) else { return false };
        let opening = match call.does {
            Does::Open(flags) => Some(Opening { flags: arguments[flags] as i32 }),
            Does::OpenHow(how) => memory(pid, arguments[how], 8)
                .and_then(|bytes| Some(Opening { flags: u64::from_ne_bytes(bytes.try_into().ok()?) as i32 })),
            _ => None,
        };
        const NOT_FOLLOWED: i32 = libc::AT_SYMLINK_NOFOLLOW;
        let follow = match call.does {
            Does::LookAtLink | Does::Name | Does::Move | Does::Link => false,
            Does::Open(_) | Does::OpenHow(_) => opening.is_none_or(|opening| opening.flags & libc::O_NOFOLLOW == 0),
            _ => call.flags.is_none_or(|flags| arguments[flags] as i32 & NOT_FOLLOWED == 0),
        };
        let mut place = |directory: Option<usize>, path: usize| {
            let path = PathBuf::from(OsString::from_vec(string(pid, arguments[path])?));
            let directory = match directory.map(|argument| arguments[argument] as i32) {
                _ if path.is_absolute() => PathBuf::from("/"),
                None | Some(libc::AT_FDCWD) => fs::read_link(format!("/proc/{pid}/cwd")).ok()?,
                Some(descriptor) => opened(pid, descriptor)?,
            };
            if path.as_os_str().is_empty() {
                return None; // there is no such path, whatever the files are
            }
            Some(self.accesses.place(&directory, &path, follow))
        };
        let places = match call.at {
            At::Path(path) => [place(None, path), None],
            At::Below(directory, path) => [place(Some(directory), path), None],
            At::Paths(first, second) => [place(None, first), place(None, second)],
            At::TwoBelow([a, b, c, d]) => [place(Some(a), b), place(Some(c), d)],
            At::Open(descriptor) => {
                let path = opened(pid, arguments[descriptor] as i32);
                [path.map(|path| Place { path, existed: true }), None]
            }
        };
        let places: Vec<Place> = places.into_iter().flatten().collect();
        let Some(first) = places.first() else { return false };
        let changes = match call.does {
            Does::Look | Does::LookAtLink | Does::Run | Does::List => false,
            Does::Open(_) | Does::OpenHow(_) => opening.is_some_and(Opening::writes),
            Does::Create | Does::Name | Does::Change | Does::Move | Does::Link => true,
        };
        if !changes {
            self.accesses.begun(call.does, opening, first);
            return false;
        }
        self.pending.insert(pid, Pending { call, opening, places });
        true
    }

    /// Notes the answer to the call that a thread is in.
    fn ended(&mut self, pid: libc::pid_t) {
        let Some(Pending { call, opening, places }) = self.pending.remove(&pid) else { return };
        if let Some(answer) = answer(pid) {
            self.accesses.done(call.does, opening, &places, answer);
        }
    }

    /// Ends all that have been started and have not ended.
    pub fn end_all(&mut self) {
        while !self.living.is_empty() {
            for pid in &self.living {
                // SAFETY: a thread that is traced by us and not waited for: its number belongs to nobody else.
                unsafe { libc::kill(*pid, libc::SIGKILL) };
            }
            // SAFETY: waits for our own children and touches no memory.
            match unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::__WALL) } {
                pid if pid > 0 => drop(self.living.remove(&pid)),
                _ => self.living.clear(),
            }
        }
    }

    /// Those that have not ended.
    pub fn living(&self) -> impl Iterator<Item = libc::pid_t> {
        self.living.iter().copied()
    }

    /// What they did.
    pub fn into_reads(self) -> Reads {
        Reads { incomplete: self.blind, ..self.accesses.into_reads() }
    }
}

fn c_string(text: &OsStr) -> Result<CString, Error> {
    CString::new(text.as_bytes()).map_err(|_| Error::Misbehaved("a word of the command has a NUL in it".into()))
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Error> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for both; what it holds then is new and ours.
    unsafe {
        if libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) != 0 {
            return Err(Error::io("make a pipe")(io::Error::last_os_error()));
        }
        Ok((OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])))
    }
}

/// Lets a stopped thread go on. One that was killed meanwhile is no error: its end is told next.
fn resume(pid: libc::pid_t, how: libc::c_uint, signal: libc::c_int) -> Result<(), Error> {
    // SAFETY: these requests take numbers alone.
    if unsafe { libc::ptrace(how, pid, 0, signal) } == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        error => Err(Error::io("let a traced process go on")(error)),
    }
}

/// What an event says besides.
fn message(pid: libc::pid_t) -> u64 {
    let mut message: libc::c_ulong = 0;
    // SAFETY: the kernel writes one number of this size.
    unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, pid, 0, &raw mut message) };
    message
}

fn information(pid: libc::pid_t) -> Option<libc::ptrace_syscall_info> {
    // SAFETY: numbers alone, of which any bits are good; the kernel writes no more than the size that it is told.
    unsafe {
        let mut information: libc::ptrace_syscall_info = std::mem::zeroed();
        let size = size_of_val(&information);
        let wrote = libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, pid, size, &raw mut information);
        (wrote > 0).then_some(information)
    }
}

/// The number and the arguments of the call that a thread begins.
fn entry(pid: libc::pid_t) -> Option<(u64, [u64; 6])> {
    let information = information(pid)?;
    // SAFETY: the tag says which of the variants it is.
    match information.op {
        libc::PTRACE_SYSCALL_INFO_SECCOMP => Some(unsafe { (information.u.seccomp.nr, information.u.seccomp.args) }),
        _ => None,
    }
}

/// The answer to the call that a thread has ended.
fn answer(pid: libc::pid_t) -> Option<i64> {
    let information = information(pid)?;
    // SAFETY: the tag says which of the variants it is.
    match information.op {
        libc::PTRACE_SYSCALL_INFO_EXIT => Some(unsafe { information.u.exit.sval }),
        _ => None,
    }
}

/// What a descriptor of a process has open.
fn opened(pid: libc::pid_t, descriptor: i32) -> Option<PathBuf> {
    let path = fs::read_link(format!("/proc/{pid}/fd/{descriptor}")).ok()?;
    path.is_absolute().then_some(path)
}

/// Reads the memory of a process; as much as there is.
fn memory(pid: libc::pid_t, address: u64, size: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0_u8; size];
    let ours = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: size };
    let theirs = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: size };
    // SAFETY: writes at most `size` bytes into a buffer of that size; what the other address is worth the kernel checks.
    let read = unsafe { libc::process_vm_readv(pid, &raw const ours, 1, &raw const theirs, 1, 0) };
    bytes.truncate(usize::try_from(read).ok()?);
    Some(bytes)
}

/// The largest path, and the smallest page (bytes): what lies behind the end of a page may not be there.
const PATH: usize = 4096;
const PAGE: u64 = 4096;

/// A string of a process; none where there is none.
fn string(pid: libc::pid_t, mut address: u64) -> Option<Vec<u8>> {
    if address == 0 {
        return None;
    }
    let mut string = Vec::new();
    while string.len() < PATH {
        let part = memory(pid, address, (PAGE - address % PAGE).min(256) as usize)?;
        if let Some(end) = part.iter().position(|byte| *byte == 0) {
            string.extend_from_slice(&part[..end]);
            return Some(string);
        }
        if part.is_empty() {
            return None;
        }
        address += part.len() as u64;
        string.extend(part);
    }
    None
}
