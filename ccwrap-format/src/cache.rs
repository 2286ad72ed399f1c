//! Where the cache is, and what lies where in it, as far as a hit has to do with it.

/// The directory of the entries: each is called by the first two digits of its name, then a slash, then the others.
pub const ENTRIES: &str = "entries";

/// The file that counts calls, a line for each: the time in seconds of the Unix epoch, what became of it, the compiler.
pub const STATISTICS: &str = "statistics";

/// What became of a call that an entry answered.
pub const HIT: &str = "direct_cache_hit";

/// An entry that is used often is not noted each time: what must have passed, in seconds.
pub const BETWEEN_TOUCHES: u64 = 3600;

/// The variables by which the cache is found.
const VARIABLES: [&str; 5] = ["CCWRAP_DIR", "CCACHE_DIR", "XDG_CACHE_HOME", "HOME", "NIX_BUILD_TOP"];

/// The home of builders, which is nowhere (Nix 2.34, `DerivationBuilderImpl`).
const NO_HOME: &[u8] = b"/homeless-shelter";

/// Whether the cache is found by a variable.
pub fn is_found_by(name: &[u8]) -> bool {
    VARIABLES.iter().any(|known| name == known.as_bytes())
}

/// Where the cache is, by variables: a directory, which may be relative, and a path below that, which may be empty.
pub fn directory<T: AsRef<[u8]>>(variable: impl Fn(&str) -> Option<T>) -> Option<(T, &'static str)> {
    let [ours, ccaches, users, home, builders] = VARIABLES;
    let named = |name| variable(name).filter(|value| !value.as_ref().is_empty());
    let absolute = |name| variable(name).filter(|value| value.as_ref().starts_with(b"/"));
    let home = || match absolute(home) {
        Some(home) if home.as_ref() == NO_HOME => absolute(builders),
        home => home,
    };
    named(ours)
        .or_else(|| named(ccaches))
        .map(|directory| (directory, ""))
        .or_else(|| Some((absolute(users)?, "splitter/ccwrap")))
        .or_else(|| Some((home()?, ".cache/splitter/ccwrap")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_where_it_is_named_or_the_users() {
        let all = [("CCWRAP_DIR", "w"), ("CCACHE_DIR", "/c"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")];
        let of = |known: &[(&str, &'static str)]| {
            directory(|name| known.iter().find(|(known, _)| *known == name).map(|(_, value)| *value))
        };
        assert_eq!(of(&all), Some(("w", "")));
        assert_eq!(of(&all[1..]), Some(("/c", "")));
        assert_eq!(of(&[&[("CCACHE_DIR", "")], &all[2..]].concat()), Some(("/x", "splitter/ccwrap")));
        assert_eq!(of(&[("XDG_CACHE_HOME", "x"), ("HOME", "/h")]), Some(("/h", ".cache/splitter/ccwrap")));
        assert_eq!(of(&[("HOME", "")]), None);
        assert_eq!(of(&[("HOME", "/homeless-shelter")]), None);
        let builder = [("HOME", "/homeless-shelter"), ("NIX_BUILD_TOP", "/build")];
        assert_eq!(of(&builder), Some(("/build", ".cache/splitter/ccwrap")));
    }
}
