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
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // A filter holds for a thread and all that it starts.
            seccompiler::apply_filter(&as_in_docker()).expect("seccomp");
            seccompiler::apply_filter(&without_clone3()).expect("seccomp");
            work()
        });
        thread.join().expect("it does not panic")
    })
}

/// What Docker's default profile refuses of what a sandbox needs (moby 27, `profiles/seccomp/default.json`).
fn as_in_docker() -> BpfProgram {
    const NAMESPACES: u64 = 0x7E02_0000;
    let any = |number: i64| (number, Vec::new());
    let new_namespace = |bit: u32| {
        let flag = 1_u64 << bit;
        let condition = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(flag), flag).unwrap();
        SeccompRule::new(vec![condition]).unwrap()
    };
    let bits = (0..32).filter(|bit| NAMESPACES >> bit & 1 == 1);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        [libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_unshare, libc::SYS_setns].map(any).into();
    rules.insert(libc::SYS_clone, bits.map(new_namespace).collect());
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
