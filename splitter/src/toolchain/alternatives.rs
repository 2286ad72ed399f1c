//! The choices of update-alternatives: which link leads to which program. Parses the records of the names and reads
//! where the links point now.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// One name: `/usr/bin/cc` -> `/etc/alternatives/cc` -> `/usr/bin/gcc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternative {
    /// The link that is used, `/usr/bin/cc`.
    pub link: PathBuf,
    /// The link that is switched, `/etc/alternatives/cc`.
    pub switch: PathBuf,
    /// Its text.
    pub target: PathBuf,
}

/// Reads the links of one record of `/var/lib/dpkg/alternatives/NAME`: from the name in `/etc/alternatives` to the link
/// that is used. The first is that of the record itself; those that follow it (manual pages mostly) are named in it.
/// Format: update-alternatives(1), "File format" (mode, link, then pairs of name and link until an empty line).
pub fn parse_record(name: &str, text: &str) -> BTreeMap<String, PathBuf> {
    let mut lines = text.lines().skip(1);
    let mut links: BTreeMap<_, _> =
        lines.next().map(|link| (name.to_owned(), PathBuf::from(link))).into_iter().collect();
    while let (Some(name), Some(link)) = (lines.next().filter(|name| !name.is_empty()), lines.next()) {
        links.insert(name.to_owned(), PathBuf::from(link));
    }
    links
}

/// All names that have a record in `admin` (`/var/lib/dpkg/alternatives`) and a link in `switches`
/// (`/etc/alternatives`). A system without the directories has none.
///
/// # Errors
/// Those of reading the directories, but that they are not there.
pub fn load(admin: &Path, switches: &Path) -> io::Result<Vec<Alternative>> {
    let entries = match std::fs::read_dir(admin) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut links = BTreeMap::new();
    for entry in entries {
        let entry = entry?;
        // A record that is not text names nothing that a command would.
        if let (Ok(name), Ok(text)) = (entry.file_name().into_string(), std::fs::read_to_string(entry.path())) {
            links.extend(parse_record(&name, &text));
        }
    }
    let alternatives = links.into_iter().filter_map(|(name, link)| {
        let switch = switches.join(name);
        // A name without a link has no choice at the moment.
        let target = std::fs::read_link(&switch).ok()?;
        // Somebody put a file of their own there.
        if std::fs::read_link(&link).ok()? != switch {
            return None;
        }
        Some(Alternative { link, switch, target })
    });
    Ok(alternatives.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_names_its_link_and_those_that_follow_it() {
        let text = "auto\n/usr/bin/c++\nc++.1.gz\n/usr/share/man/man1/c++.1.gz\n\n/usr/bin/g++\n20\n/usr/man/x\n";
        let links = parse_record("c++", text);
        assert_eq!(links.len(), 2);
        assert_eq!(links["c++"], Path::new("/usr/bin/c++"));
        assert_eq!(links["c++.1.gz"], Path::new("/usr/share/man/man1/c++.1.gz"));
    }

    #[test]
    fn a_broken_record_names_what_it_can() {
        assert!(parse_record("x", "").is_empty());
        assert_eq!(parse_record("x", "auto\n/usr/bin/x\nslave").len(), 1);
    }
}
