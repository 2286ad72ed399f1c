//! Keeps the processes of a sandbox off the processor of the one that wants it, as long as both are at work, and in the order in which
//! they were started. Linux (6.18) puts a new process in line behind one that is busy even where another processor is idle, and finds
//! out milliseconds later. And it lets who is woken go before who runs: GCC would start the assembler, of which nothing is wanted for
//! long, before the compiler that it has started has begun. Who has the policy `SCHED_BATCH` waits for its turn (sched(7)).
#![expect(unsafe_code, reason = "the policy of a process has no safe form")]

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use std::fs;

/// The processors that a process had before it was kept off one.
pub struct Processors {
    all: Option<CpuSet>,
    /// Whether it has the usual policy.
    is_usual: bool,
}

impl Processors {
    /// Those of this process, which children inherit.
    pub fn here() -> Self {
        Self { all: sched_getaffinity(None).ok(), is_usual: policy() == libc::SCHED_OTHER }
    }

    /// Of a process that was not kept off any.
    pub fn untouched() -> Self {
        Self { all: None, is_usual: false }
    }

    /// Keeps a child, or another thread, off the processor of this one, if there is another. What it starts inherits that.
    pub fn keep_off(&self, child: Pid) {
        let Some(mut others) = self.all else { return };
        others.unset(sched_getcpu());
        if others.count() > 0 {
            sched_setaffinity(Some(child), &others).ok(); // else it runs when this process waits
        }
    }

    /// Has this process and what it starts wait for their turns.
    pub fn wait_in_turn(&self) {
        if self.is_usual {
            set_policy(None, libc::SCHED_BATCH);
        }
    }

    /// Gives them back to this process.
    pub fn take_back(&self) {
        self.give(None);
    }

    /// Gives them back to all processes of the PID namespace of this one, which sees them in its `/proc`.
    pub fn give_back(&self) {
        let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut all: Vec<i32> = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        // Parents first: what one starts meanwhile has what it has.
        all.sort_unstable();
        all.into_iter().for_each(|pid| self.give(Pid::from_raw(pid)));
    }

    fn give(&self, to: Option<Pid>) {
        if let Some(all) = &self.all {
            sched_setaffinity(to, all).ok(); // it may have just ended
        }
        if self.is_usual {
            set_policy(to, libc::SCHED_OTHER);
        }
    }
}

fn policy() -> libc::c_int {
    // SAFETY: takes a number alone.
    unsafe { libc::sched_getscheduler(0) }
}

/// Of this process, if there is no other. Where that is refused it has the one that it has.
fn set_policy(of: Option<Pid>, policy: libc::c_int) {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameters outlive the call.
    unsafe { libc::sched_setscheduler(of.map_or(0, Pid::as_raw_pid), policy, &parameters) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::thread;

    #[test]
    fn a_child_is_kept_off_one_processor_until_it_is_given_back() {
        let processors = Processors::here();
        let all = processors.all.expect("Linux tells");
        if all.count() < 2 {
            return println!("not run: there is one processor");
        }
        let mut child = Command::new("sleep").arg("60").spawn().expect("it starts");
        let pid = Pid::from_child(&child);
        processors.keep_off(pid);
        let kept = sched_getaffinity(Some(pid)).expect("it runs");
        processors.give(Some(pid));
        let given = sched_getaffinity(Some(pid)).expect("it runs");
        child.kill().and_then(|()| child.wait()).expect("it is ours");
        assert_eq!((kept.count(), given), (all.count() - 1, all));
        assert!((0..CpuSet::MAX_CPU).all(|cpu| all.is_set(cpu) || !kept.is_set(cpu)));
    }

    #[test]
    fn who_waits_in_turn_does_so_until_that_is_taken_back_and_only_if_it_had_the_usual_policy() {
        // The policy is a thread's.
        let of_thread = |own: libc::c_int| {
            thread::spawn(move || {
                set_policy(None, own);
                let processors = Processors::here();
                processors.wait_in_turn();
                let waiting = policy();
                processors.take_back();
                (waiting, policy())
            })
        };
        let [usual, idle] = [libc::SCHED_OTHER, libc::SCHED_IDLE].map(|own| of_thread(own).join().expect("it ends"));
        assert_eq!(usual, (libc::SCHED_BATCH, libc::SCHED_OTHER));
        assert_eq!(idle, (libc::SCHED_IDLE, libc::SCHED_IDLE));
    }
}
