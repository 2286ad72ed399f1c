//! Whether Clang uses a precompiled header that it takes for another where it is not what it was made beside: it remembers the times
//! of change of its texts, which a sandbox does not show, and then goes on without it or fails.

use bstr::{BString, ByteSlice as _};
use splitter::discover::to_path;
use splitter::graph::absolute;

/// Options by which it does not remember or does not look at them.
const TIMELESS: [&str; 2] = ["-fno-pch-timestamp", "-fno-validate-pch"];

/// Whether a call is such a use.
pub fn is_used(words: &[BString], directory: &BString) -> bool {
    let is_timeless = words.iter().any(|word| TIMELESS.iter().any(|option| word == *option));
    !is_timeless
        && (words.iter().any(|word| word == "-include-pch")
            || included(words).any(|header| is_beside(&header, directory)))
}

/// The headers that are included before all else.
fn included(words: &[BString]) -> impl Iterator<Item = BString> {
    words.iter().enumerate().filter_map(|(i, word)| match word.strip_prefix(b"-include")? {
        b"" => words.get(i + 1).cloned(),
        joined => Some(joined.into()),
    })
}

/// Whether Clang would take another file in its place.
fn is_beside(header: &BString, directory: &BString) -> bool {
    ["pch", "gch"].iter().any(|end| {
        let other = BString::from([header.as_slice(), b".", end.as_bytes()].concat());
        to_path(absolute(other.as_bstr(), directory.as_bstr()).as_bstr()).exists()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn a_header_beside_a_precompiled_one_is_used_as_that_unless_nobody_looks_at_times() {
        let directory = tempfile::tempdir().unwrap();
        let at = BString::from(directory.path().as_os_str().as_bytes());
        let uses = |words: &str| is_used(&words.split(' ').map(BString::from).collect::<Vec<_>>(), &at);
        assert!(!uses("clang -include x.h -c a.c"));
        std::fs::write(directory.path().join("x.h.pch"), "").unwrap();
        assert!(uses("clang -include x.h -c a.c") && uses("clang -includex.h -c a.c"));
        assert!(!uses("clang -include y.h -c a.c"));
        assert!(uses("clang -Xclang -include-pch -Xclang y.pch -c a.c"));
        assert!(!uses("clang -Xclang -fno-validate-pch -include x.h -c a.c"));
        assert!(!uses("clang -Xclang -fno-pch-timestamp -include-pch x.h.pch -c a.c"));
    }
}
