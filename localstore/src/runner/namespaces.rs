//! New namespaces, and the two processes at their border. Works with and without root.
#![expect(unsafe_code, reason = "namespaces and fork are system calls without a safe form")]

use super::room::{Memory, Watch};
use super::{Error, Report, sockets};
use serde::{Deserialize, Serialize};
use std::io::{self, Error as IoError, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The user and group that commands run as, whoever started the build; those of Nix's sandbox.
const USER: u32 = 1000;
const GROUP: u32 = 100;

/// Which network there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Not even sockets.
    None,
    /// A loopback device and nothing else.
    Own,
    /// That of the host.
    Host,
}

impl Network {
    /// That of an edge.
    pub fn of_edge(offline: bool) -> Self {
        if offline { Self::None } else { Self::Own }
    }
}

/// Runs `work` as the first process of new user, mount, PID, IPC, UTS and, if wanted, network namespaces, and sends its
/// report to `socket`; none if it has none, or that process was ended from outside. All processes that `work` starts have ended
/// when this returns; if they take more of `memory` than they may, they are ended. Where namespaces are refused, `work` is told so, and is
/// to do nothing.
pub fn in_first_process(
    network: Network,
    memory: Option<Memory>,
    socket: &UnixStream,
    work: impl FnOnce(Result<(), Error>) -> Option<Report>,
) -> io::Result<()> {
    let signals = stop_signals();
    match isolate(network) {
        Ok(()) => in_child(socket, &signals, memory.map(Watch::new), || {
            work(match network {
                Network::None => sockets::deny(),
                Network::Own | Network::Host => Ok(()),
            })
        }),
        refused => work(refused).map_or(Ok(()), |report| send(socket, &report)),
    }
}

/// The same without namespaces: what `work` starts has ended only where it sees to that itself, or is killed with it. Orphans
/// become children of the process that works.
pub fn in_own_process(socket: &UnixStream, work: impl FnOnce() -> Option<Report>) -> io::Result<()> {
    let signals = stop_signals();
    let work = || {
        // SAFETY: takes a number alone.
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
        work()
    };
    in_child(socket, &signals, None, work)
}

/// Does `work` in a child, which is killed when this process ends or is asked to.
fn in_child(
    socket: &UnixStream,
    signals: &libc::sigset_t,
    watch: Option<Watch>,
    work: impl FnOnce() -> Option<Report>,
) -> io::Result<()> {
    // SAFETY: this process has one thread, so the child may use everything.
    match unsafe { libc::fork() } {
        -1 => send(socket, &refused("start a process").into()),
        0 => {
            // SAFETY: plain system calls on values of ours.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::sigprocmask(libc::SIG_UNBLOCK, signals, std::ptr::null_mut());
            }
            confine();
            let sent = work().map_or(Ok(()), |report| send(socket, &report));
            // SAFETY: ends this process. What the one that it is a copy of does at its end is not done twice.
            unsafe { libc::_exit(i32::from(sent.is_err())) }
        }
        child => {
            if let Some(report) = wait(child, signals, watch.as_ref()) {
                send(socket, &report).ok(); // it may have reported in the last moment
            }
            Ok(())
        }
    }
}

fn send(mut socket: &UnixStream, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    socket.write_all(&line)
}

/// What every program started from here inherits, as in Nix's sandbox: no program gives more rights, addresses do not
/// vary, nothing dumps core.
fn confine() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain system calls; `none` outlives its call. None can fail with these arguments but personality under a
    // seccomp filter, and then addresses vary as they do outside.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::personality(FIXED_ADDRESSES);
        libc::setrlimit(libc::RLIMIT_CORE, &none);
        libc::umask(0o022);
    }
}

const FIXED_ADDRESSES: libc::c_ulong = libc::ADDR_NO_RANDOMIZE as libc::c_ulong;

/// Makes the kernel look like one of 32 bits to the programs started from here.
pub fn look_narrow() {
    const PER_LINUX32: libc::c_ulong = 8; // <linux/personality.h>
    // SAFETY: a plain system call. It can fail as in `confine`; then the builder sees the machine that it runs on.
    unsafe { libc::personality(PER_LINUX32 | FIXED_ADDRESSES) };
}

/// Blocks the signals that ask for an end, so that [`wait`] receives them one at a time.
fn stop_signals() -> libc::sigset_t {
    // SAFETY: the set is initialised by sigemptyset before it is used.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
        libc::setsid();
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGCHLD] {
            libc::sigaddset(&mut set, signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        set
    }
}

/// Waits for the first process; a signal that asks for an end kills it, and with it the namespace. So does too little memory, which is
/// reported in its place.
fn wait(child: libc::pid_t, signals: &libc::sigset_t, mut watch: Option<&Watch>) -> Option<Report> {
    let mut report = None;
    loop {
        // SAFETY: the pointer may be null.
        if unsafe { libc::waitpid(child, std::ptr::null_mut(), libc::WNOHANG) } == child {
            return report;
        }
        let left_alone = watch.map(Watch::look);
        let signal = match left_alone {
            Some(None) => {
                (watch, report) = (None, Some(Report::NoRoom));
                libc::SIGKILL
            }
            Some(Some(time)) => next_signal(signals, Some(time)),
            None => next_signal(signals, None),
        };
        if signal > 0 && signal != libc::SIGCHLD {
            // SAFETY: takes numbers alone.
            unsafe { libc::kill(child, libc::SIGKILL) };
        }
    }
}

/// Waits for one of some signals, for so long if that is said; not positive if none has come.
fn next_signal(signals: &libc::sigset_t, within: Option<Duration>) -> libc::c_int {
    // SAFETY: `signals` is a valid set, the time outlives the call, and the other pointers may be null.
    unsafe {
        match within {
            None => libc::sigwaitinfo(signals, std::ptr::null_mut()),
            Some(time) => {
                let mut until: libc::timespec = std::mem::zeroed();
                until.tv_sec = time.as_secs() as libc::time_t;
                until.tv_nsec = time.subsec_nanos().into();
                libc::sigtimedwait(signals, std::ptr::null_mut(), &until)
            }
        }
    }
}

fn isolate(network: Network) -> Result<(), Error> {
    // SAFETY: getuid and getgid cannot fail.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    unshare(libc::CLONE_NEWUSER, "make a user namespace")?;
    let map = |file: &str, text: String| {
        std::fs::write(file, text)
            .map_err(|e| Error::Refused { step: format!("write `{file}`"), errno: e.raw_os_error().unwrap_or(0) })
    };
    map("/proc/self/setgroups", "deny".into())?;
    map("/proc/self/uid_map", format!("{USER} {uid} 1"))?;
    map("/proc/self/gid_map", format!("{GROUP} {gid} 1"))?;
    unshare(
        libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS,
        "make mount, PID, IPC and UTS namespaces",
    )?;
    // SAFETY: each pointer and length belong to one string.
    if unsafe { libc::sethostname(c"localhost".as_ptr(), 9) != 0 || libc::setdomainname(c"(none)".as_ptr(), 6) != 0 } {
        return Err(refused("set the host name"));
    }
    match network {
        Network::Host | Network::None => Ok(()),
        Network::Own => {
            unshare(libc::CLONE_NEWNET, "make a network namespace")?;
            start_loopback()
        }
    }
}

fn start_loopback() -> Result<(), Error> {
    // SAFETY: the descriptor is new and ours; the request is initialised, and outlives the call.
    let answer = unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return Err(refused("make a socket"));
        }
        let socket = OwnedFd::from_raw_fd(socket);
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_LOOPBACK | libc::IFF_RUNNING) as libc::c_short;
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request)
    };
    if answer == 0 { Ok(()) } else { Err(refused("start the loopback device")) }
}

fn unshare(flags: libc::c_int, step: &str) -> Result<(), Error> {
    // SAFETY: changes only this process, which has one thread.
    if unsafe { libc::unshare(flags) } == 0 { Ok(()) } else { Err(refused(step)) }
}

fn refused(step: &str) -> Error {
    Error::Refused { step: step.into(), errno: IoError::last_os_error().raw_os_error().unwrap_or(0) }
}
