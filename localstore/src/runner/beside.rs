//! Keeps the processes of a sandbox off the processor of the one that wants it, as long as both are at work. Linux (6.18) puts a
//! new process in line behind one that is busy even where another processor is idle, and finds out milliseconds later.

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use std::fs;

/// The processors that a process had before it was kept off one.
pub struct Processors(Option<CpuSet>);

impl Processors {
    /// Those of this process, which children inherit.
    pub fn here() -> Self {
        Self(sched_getaffinity(None).ok())
    }

    /// Of a process that was not kept off any.
    pub fn untouched() -> Self {
        Self(None)
    }

    /// Keeps a child off the processor of this process, if there is another. What the child starts inherits that.
    pub fn keep_off(&self, child: Pid) {
        let Some(mut others) = self.0 else { return };
        others.unset(sched_getcpu());
        if others.count() > 0 {
            sched_setaffinity(Some(child), &others).ok(); // else it runs when this process waits
        }
    }

    /// Gives them back to this process.
    pub fn take_back(&self) {
        self.give(None);
    }

    /// Gives them back to this process, the first of a PID namespace, and to all others there, which sees them in its `/proc`.
    pub fn give_back(&self) {
        self.take_back();
        let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut others: Vec<i32> =
            numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|pid| *pid != 1).collect();
        // Parents first: what one starts meanwhile has what it has.
        others.sort_unstable();
        others.into_iter().for_each(|pid| self.give(Pid::from_raw(pid)));
    }

    fn give(&self, to: Option<Pid>) {
        if let Some(all) = &self.0 {
            sched_setaffinity(to, all).ok(); // it may have just ended
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_child_is_kept_off_one_processor_until_it_is_given_back() {
        let processors = Processors::here();
        let all = processors.0.expect("Linux tells");
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
}
