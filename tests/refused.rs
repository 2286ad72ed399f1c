//! A host that refuses namespaces, as Docker does by default.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use std::collections::BTreeMap;

/// Does `work` in a thread of which neither it nor what it starts can make namespaces or mounts.
///
/// # Panics
/// If the work does, or the kernel has no seccomp.
pub fn within<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    filtered(&[as_in_docker(), without_clone3()], work)
}

/// Does `work` in a thread of which neither it nor what it starts can leave its user namespace for another. What is
/// started in one of its own, as Nix starts builders, is not hindered.
///
/// # Panics
/// If the work does, or the kernel has no seccomp.
pub fn within_for_builders<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    filtered(&[without_unshared_users()], work)
}

fn filtered<T: Send>(filters: &[BpfProgram], work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // A filter holds for a thread and all that it starts.
            filters.iter().for_each(|filter| seccompiler::apply_filter(filter).expect("seccomp"));
            work()
        });
        thread.join().expect("it does not panic")
    })
}

/// What Docker's default profile refuses of what a sandbox needs (moby 27, `profiles/seccomp/default.json`).
fn as_in_docker() -> BpfProgram {
    const NAMESPACES: u64 = 0x7E02_0000;
    let any = |number: i64| (number, Vec::new());
    let new_namespace = |bit: u32| with_flag(1 << bit);
    let bits = (0..32).filter(|bit| NAMESPACES >> bit & 1 == 1);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        [libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_unshare, libc::SYS_setns].map(any).into();
    rules.insert(libc::SYS_clone, bits.map(new_namespace).collect());
    refusing(rules)
}

fn without_unshared_users() -> BpfProgram {
    refusing([(libc::SYS_unshare, vec![with_flag(libc::CLONE_NEWUSER as u64)])].into())
}

/// Matches calls whose first argument has this bit.
fn with_flag(flag: u64) -> SeccompRule {
    let condition = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(flag), flag).unwrap();
    SeccompRule::new(vec![condition]).unwrap()
}

fn refusing(rules: BTreeMap<i64, Vec<SeccompRule>>) -> BpfProgram {
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, refused, arch).unwrap().try_into().unwrap()
}

/// clone3 is answered as by an old kernel, so that the C library takes clone.
fn without_clone3() -> BpfProgram {
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let rules = [(libc::SYS_clone3, Vec::new())].into();
    let absent = SeccompAction::Errno(libc::ENOSYS as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, absent, arch).unwrap().try_into().unwrap()
}
