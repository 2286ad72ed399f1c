//! New namespaces, and the two processes at their border. Works with and without root.
#![expect(unsafe_code, reason = "namespaces and fork are system calls without a safe form")]

use super::{Error, Report};
use std::io::{Error as IoError, Read as _, Write as _};

/// The user and group that commands run as, whoever started the build; those of Nix's sandbox.
const USER: u32 = 1000;
const GROUP: u32 = 100;

/// Runs `work` as the first process of new user, mount, PID, IPC, UTS and network namespaces, and gives its report;
/// `None` if that process was ended from outside. All processes that `work` starts have ended when this returns.
pub fn in_first_process(work: impl FnOnce() -> Report) -> Option<Report> {
    let signals = stop_signals();
    if let Err(e) = isolate() {
        return Some(e.into());
    }
    let (mut reader, mut writer) = match std::io::pipe() {
        Ok(ends) => ends,
        Err(error) => return Some(Error::Io { what: "make a pipe".into(), error }.into()),
    };
    // SAFETY: this process has one thread, so the child may use everything.
    match unsafe { libc::fork() } {
        -1 => Some(refused("start a process in the new PID namespace").into()),
        0 => {
            drop(reader);
            // SAFETY: plain system calls on values of ours.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::sigprocmask(libc::SIG_UNBLOCK, &signals, std::ptr::null_mut());
            }
            let report = work();
            let text = serde_json::to_vec(&report).expect("a report is plain data");
            let written = writer.write_all(&text);
            std::process::exit(i32::from(written.is_err()));
        }
        child => {
            drop(writer);
            wait(child, &signals);
            let mut text = Vec::new();
            reader.read_to_end(&mut text).ok()?;
            serde_json::from_slice(&text).ok()
        }
    }
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

/// Waits for the first process; a signal that asks for an end kills it, and with it the namespace.
fn wait(child: libc::pid_t, signals: &libc::sigset_t) {
    loop {
        // SAFETY: `signals` is a valid set and the other pointers may be null.
        unsafe {
            if libc::waitpid(child, std::ptr::null_mut(), libc::WNOHANG) == child {
                return;
            }
            if libc::sigwaitinfo(signals, std::ptr::null_mut()) != libc::SIGCHLD {
                libc::kill(child, libc::SIGKILL);
            }
        }
    }
}

fn isolate() -> Result<(), Error> {
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
    let rest = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWNET;
    unshare(rest, "make mount, PID, IPC, UTS and network namespaces")?;
    // SAFETY: the pointer and the length belong to one string.
    if unsafe { libc::sethostname(c"localhost".as_ptr(), 9) } != 0 {
        return Err(refused("set the host name"));
    }
    Ok(())
}

fn unshare(flags: libc::c_int, step: &str) -> Result<(), Error> {
    // SAFETY: changes only this process, which has one thread.
    if unsafe { libc::unshare(flags) } == 0 { Ok(()) } else { Err(refused(step)) }
}

fn refused(step: &str) -> Error {
    Error::Refused { step: step.into(), errno: IoError::last_os_error().raw_os_error().unwrap_or(0) }
}
