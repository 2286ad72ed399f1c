//! Which setting of a host keeps sandboxes from being made.

use std::fs;
use std::path::Path;

/// Settings that may refuse a step, the value that does, and what it must be.
const SETTINGS: [(&str, &str, &str); 8] = [
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "must be 0"),
    ("kernel.unprivileged_userns_clone", "0", "must be 1"),
    ("user.max_user_namespaces", "0", "must be larger"),
    ("user.max_mnt_namespaces", "0", "must be larger"),
    ("user.max_pid_namespaces", "0", "must be larger"),
    ("user.max_net_namespaces", "0", "must be larger"),
    ("user.max_ipc_namespaces", "0", "must be larger"),
    ("user.max_uts_namespaces", "0", "must be larger"),
];

/// What stands in the way of a step that the kernel has refused, as a fragment of a sentence.
pub(crate) fn obstacle(step: &str) -> String {
    let value = |name: &str| fs::read_to_string(Path::new("/proc/sys").join(name.replace('.', "/")));
    let found: Vec<String> = SETTINGS
        .iter()
        .filter(|(name, bad, _)| value(name).is_ok_and(|value| value.trim() == *bad))
        .map(|(name, bad, wanted)| format!("the setting `{name}` is {bad} and {wanted}"))
        .collect();
    if !found.is_empty() {
        return found.join("; ");
    }
    let container = ["/.dockerenv", "/run/.containerenv"].iter().any(|file| Path::new(file).exists());
    if step.contains("`/proc`") {
        "a container masks parts of /proc here: run it with `--security-opt systempaths=unconfined`".into()
    } else if container {
        "the container forbids it: run it with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`"
            .into()
    } else {
        "a seccomp filter or a security module forbids namespaces or mounts here".into()
    }
}
