//! Whether commands can be put into a sandbox here: tried once for each world in which we find ourselves, and remembered as long
//! as the machine runs. That it cannot be done is tried again each time, as somebody may change it.

use localstore::sandbox::SandboxError;
use localstore::{Layout, LocalStore};
use std::fs;
use std::path::{Path, PathBuf};

/// As [`LocalStore::probe`].
///
/// # Errors
/// As there.
pub fn probe(store: &LocalStore) -> Result<(), SandboxError> {
    let (file, world) = (known(store.layout()), world());
    if fs::read_to_string(&file).is_ok_and(|known| known.lines().any(|line| line == world)) {
        return Ok(());
    }
    store.probe()?;
    let known = fs::read_to_string(&file).unwrap_or_default();
    let mut lines: Vec<&str> = known.lines().collect();
    lines.push(&world);
    let kept = lines[lines.len().saturating_sub(MOST)..].join("\n");
    fs::write(&file, kept).ok(); // then it is tried again
    Ok(())
}

/// Whether they could once, in some world.
pub fn was_granted(layout: &Layout) -> bool {
    known(layout).exists()
}

fn known(layout: &Layout) -> PathBuf {
    layout.own().join("sandbox")
}

/// How many worlds are remembered: containers that share a store.
const MOST: usize = 32;

/// All that decides whether namespaces are granted, in one line: which boot, which namespaces, which rights, filters and
/// settings.
fn world() -> String {
    const SETTINGS: [&str; 4] = [
        "/proc/sys/user/max_user_namespaces",
        "/proc/sys/kernel/unprivileged_userns_clone",
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "/proc/self/attr/current",
    ];
    const OF_PROCESS: [&str; 6] = ["Uid:", "CapEff:", "CapBnd:", "NoNewPrivs:", "Seccomp:", "Seccomp_filters:"];
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let link = |path: &str| fs::read_link(path).unwrap_or_default().display().to_string();
    let status = text("/proc/self/status");
    let of_process = status.lines().filter(|line| OF_PROCESS.iter().any(|name| line.starts_with(name)));
    let mut parts: Vec<String> = vec![text("/proc/sys/kernel/random/boot_id")];
    parts.extend(["user", "mnt", "pid"].map(|kind| link(&format!("/proc/self/ns/{kind}"))));
    parts.push(fs::read_link("/proc/self/root").unwrap_or_else(|_| Path::new("/").into()).display().to_string());
    parts.extend(of_process.map(str::to_owned));
    parts.extend(SETTINGS.map(text));
    parts.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_world_of_a_process_stays_the_same_and_is_one_line() {
        assert_eq!(world(), world());
        assert!(world().contains("NoNewPrivs:") && !world().contains('\n'));
    }
}
