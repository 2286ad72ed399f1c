//! How a builder ended, told from what Nix says of it.

use crate::daemon::FREE_SPACE;
use crate::daemon::operation::{BuildResult, Status};
use crate::store::Failure;
use crate::{OutputName, StoreDir, StorePath};
use std::time::Duration;

/// How the builder of a result ended that is no success; none where it was not the builder's fault. `limit` is the time that
/// it was allowed.
pub(super) fn failure<'a>(
    result: &BuildResult,
    limit: Option<Duration>,
    mut outputs: impl Iterator<Item = &'a OutputName>,
) -> Option<Failure> {
    if result.status == Status::TimedOut {
        return Some(Failure::TimedOut(limit.unwrap_or_default()));
    }
    let message = words(&result.message);
    let number = |before: &str| {
        let (_, rest) = message.split_once(before)?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    if let Some(code) = number("failed with exit code ") {
        Some(Failure::Exit(code))
    } else if let Some(signal) = number("failed due to signal ") {
        Some(Failure::Signal(signal))
    } else if message.contains("failed to produce output path") {
        let named = outputs.find(|output| message.contains(&format!("'{output}'"))).cloned();
        let output = named.unwrap_or_else(|| "out".parse().expect("a valid name"));
        Some(Failure::BadOutput { output, problem: message.lines().collect::<Vec<_>>().join(" ") })
    } else {
        None
    }
}

/// What Nix says of something that is not the builder's fault, on one line, and what can be done about it.
pub(super) fn explained(message: &str, store_dir: &StoreDir) -> String {
    let lines = message.lines().map(|line| line.trim().trim_start_matches("error:").trim_start());
    let line = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    match vanished(message, store_dir) {
        Some(path) => format!(
            "the daemon takes `{}` for valid, and its files are gone ({line}); `nix-store --gc`, then `nix-store \
             --verify --check-contents --repair`, mend that store",
            store_dir.print(&path)
        ),
        None if line.contains("No space left on device") => format!("{line}; {FREE_SPACE}"),
        None => line,
    }
}

/// The path that is not there, if that is what the words say. It may have a directory before the store's.
fn vanished(message: &str, store_dir: &StoreDir) -> Option<StorePath> {
    let (before, _) = message.split_once(": No such file or directory")?;
    let (_, path) = before.rsplit_once(&format!("{}/", store_dir.as_str()))?;
    // Other words stand between: it is something else that is not there.
    if path.contains(char::is_whitespace) {
        return None;
    }
    path.split(['"', '\'', '/']).next()?.parse().ok()
}

/// The end of the log, as far as it is part of what Nix says: a daemon inside of a derivation hands over no other.
pub(super) fn end_of_log(message: &str) -> Vec<u8> {
    let lines = message[words(message).len()..].lines().filter_map(|line| line.trim_start().strip_prefix("> "));
    lines.flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect()
}

const LOG: [&str; 3] = ["log lines:", "log line:", "For full logs"];

/// What Nix itself says, without the end of the log.
fn words(message: &str) -> &str {
    let end = LOG.iter().filter_map(|words| message.find(words)).min();
    let own = end.map_or(message, |end| &message[..end]);
    own.rsplit_once('\n').filter(|_| end.is_some()).map_or(own, |(own, _)| own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn told(status: Status, message: &str) -> Option<Failure> {
        let result = BuildResult {
            status,
            message: message.into(),
            times_built: 1,
            not_deterministic: false,
            start: 0,
            stop: 0,
            user_time: None,
            system_time: None,
            outputs: BTreeMap::new(),
        };
        let outputs: Vec<OutputName> = ["dev", "out"].map(|name| name.parse().unwrap()).into();
        failure(&result, Some(Duration::from_secs(2)), outputs.iter())
    }

    #[test]
    fn the_words_of_several_versions_are_understood() {
        // Nix 2.8, 2.26 and 2.34.
        let old = "builder for '/nix/store/x-a.drv' failed with exit code 3;\nlast 1 log lines:\n> failed with exit code 7\nFor full logs, run 'nix log /nix/store/x-a.drv'.";
        let new = "Cannot build '/nix/store/x-a.drv'.\nReason: builder failed with exit code 3.\nOutput paths:\n  /nix/store/y-a\nLast 1 log lines:\n> failed with exit code 7";
        for message in [old, new] {
            assert_eq!(told(Status::PermanentFailure, message), Some(Failure::Exit(3)));
        }
        assert_eq!(end_of_log(old), b"failed with exit code 7\n");
        assert_eq!(end_of_log(new), b"failed with exit code 7\n");
        assert_eq!(end_of_log("cannot build"), b"");
        let signal = "builder for '/nix/store/x-a.drv' failed due to signal 9 (Killed)";
        assert_eq!(told(Status::PermanentFailure, signal), Some(Failure::Signal(9)));
        let output =
            "builder for '/nix/store/x-a.drv' failed to produce output path for output 'out' at '/nix/store/y-a'";
        assert!(
            matches!(told(Status::MiscFailure, output), Some(Failure::BadOutput { output, .. }) if output.as_str() == "out")
        );
        assert_eq!(told(Status::TimedOut, ""), Some(Failure::TimedOut(Duration::from_secs(2))));
        assert_eq!(told(Status::MiscFailure, "cannot build"), None);
    }

    #[test]
    fn what_can_be_done_is_told_where_something_can() {
        let path = "/nix/store/xx9yip7admp1szd2bb3ndpmn25h15z3y-in";
        // Nix 2.34, with a root of its own, and 2.8.
        let new = format!(
            "error:\n       … while setting up the build environment\n\n       error: getting attributes of path \"/tmp/root{path}\": No such file or directory"
        );
        let old = format!("getting attributes of path '{path}': No such file or directory");
        for message in [new, old] {
            let explained = explained(&message, &StoreDir::default());
            assert!(explained.starts_with(&format!("the daemon takes `{path}` for valid, ")), "{explained}");
            assert!(explained.ends_with("mend that store") && !explained.contains('\n'), "{explained}");
        }
        let other = explained("error: unable to\n  build", &StoreDir::default());
        assert_eq!(other, "unable to build");
        let full = explained("error: writing to file: No space left on device\n", &StoreDir::default());
        assert!(full.ends_with(
            "No space left on device; free space on the disk of its store, for instance by `nix-store --gc`"
        ));
        let elsewhere = format!("while building '{path}': opening '/build/x': No such file or directory");
        assert_eq!(explained(&elsewhere, &StoreDir::default()), elsewhere);
    }
}
