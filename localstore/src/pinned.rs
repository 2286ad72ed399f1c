//! The one build of the runner that belongs to each version of its manifest. The runner is a part of the key of every
//! derivation, so machines share results only if they have the same runner, byte for byte.

use nixstore::manifest::ABI;
use nixstore::{Hash, Sha256};

/// How a runner stands to the one that is pinned for its manifest and this system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// It is that one.
    Same,
    /// It is another: its results are not shared with machines that have the pinned one.
    Differs {
        /// The hash of the pinned one's NAR.
        pinned: Sha256,
    },
    /// None is pinned.
    None,
}

impl Pin {
    /// Of the runner whose NAR has the hash `nar_hash`.
    pub fn of(nar_hash: &Sha256) -> Self {
        compare(include_str!("../pinned-runners"), ABI, &system(), nar_hash)
    }
}

/// As a phrase that follows the runner.
impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Same => write!(f, "as pinned for version {ABI} of the manifest"),
            Self::Differs { pinned } => write!(
                f,
                "differs from the one pinned for version {ABI} of the manifest (`{}`): results are not shared with other machines",
                Hash::Sha256(*pinned)
            ),
            Self::None => write!(
                f,
                "version {ABI} of the manifest has no pinned one: results are shared with machines that have this one"
            ),
        }
    }
}

/// The line of the table that pins the runner whose NAR has the hash `nar_hash`.
pub fn line(nar_hash: &Sha256) -> String {
    format!("{ABI} {} {}", system(), Hash::Sha256(*nar_hash))
}

/// As Nix names it.
fn system() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

fn compare(table: &str, abi: u32, system: &str, nar_hash: &Sha256) -> Pin {
    match entries(table).find(|(version, name, _)| *version == abi && *name == system) {
        Some((_, _, pinned)) if pinned == *nar_hash => Pin::Same,
        Some((_, _, pinned)) => Pin::Differs { pinned },
        None => Pin::None,
    }
}

fn entries(table: &str) -> impl Iterator<Item = (u32, &str, Sha256)> {
    table.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()).map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [abi, system, hash] = words[..] else { panic!("a line has three words: `{line}`") };
        let Ok(Hash::Sha256(hash)) = hash.parse() else { panic!("a line ends with a SHA-256: `{line}`") };
        (abi.parse().expect("a line starts with a version"), system, hash)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_is_compared_with_the_one_of_its_version_and_system() {
        let (ours, other) = (Sha256::of("ours"), Sha256::of("other"));
        let line = |abi: u32, system: &str, hash: Sha256| format!("{abi} {system} {}\n", Hash::Sha256(hash));
        let table = format!(
            "# words\n\n{}{}{}",
            line(1, "x86_64-linux", other),
            line(2, "x86_64-linux", ours),
            line(2, "aarch64-linux", other)
        );
        assert_eq!(compare(&table, 1, "x86_64-linux", &ours), Pin::Differs { pinned: other });
        assert_eq!(compare(&table, 2, "x86_64-linux", &ours), Pin::Same);
        assert_eq!(compare(&table, 2, "aarch64-linux", &ours), Pin::Differs { pinned: other });
        assert_eq!(compare(&table, 3, "x86_64-linux", &ours), Pin::None);
        let text = Pin::Differs { pinned: other }.to_string();
        assert!(text.starts_with("differs from the one pinned for version "), "{text}");
        assert!(text.ends_with(&format!("(`{}`): results are not shared with other machines", Hash::Sha256(other))));
    }

    #[test]
    fn the_table_can_be_read_and_has_no_line_twice() {
        let mut keys: Vec<_> =
            entries(include_str!("../pinned-runners")).map(|(abi, system, _)| (abi, system)).collect();
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all);
        assert!(keys.iter().all(|(abi, _)| *abi <= ABI), "a version of the future is pinned");
    }
}
