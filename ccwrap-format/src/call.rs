//! By what a call is known, before anything of it is understood: its text, and a name for that. Whatever may make another
//! result is in the text, or is looked at by the entry itself.

use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

/// A variable of the environment: its name, and its value.
pub type Variable<'a> = (&'a [u8], &'a [u8]);

/// Variables that make another result, besides those that begin with one of [`STARTS`].
const NAMES: [&str; 36] = [
    "CCACHE_BASEDIR",
    "CCACHE_COMPILER",
    "CCACHE_EXTRAFILES",
    "CCACHE_NAMESPACE",
    "CCACHE_PATH",
    "CCC_ADD_ARGS",
    "CCC_OVERRIDE_OPTIONS",
    "CCWRAP_COMPILER",
    "CCWRAP_CONFIGPATH",
    "CCWRAP_EXTRAFILES",
    "CCWRAP_MAP",
    "CCWRAP_NAMESPACE",
    "CCWRAP_PATH",
    "CLICOLOR_FORCE",
    "COMPILER_PATH",
    "CPATH",
    "CPLUS_INCLUDE_PATH",
    "C_INCLUDE_PATH",
    "DEPENDENCIES_OUTPUT",
    "ENABLE_ANNOBIN",
    "LANG",
    "LD_LIBRARY_PATH",
    "LD_RUN_PATH",
    "LIBRARY_PATH",
    "MACOSX_DEPLOYMENT_TARGET",
    "OBJCPLUS_INCLUDE_PATH",
    "OBJC_INCLUDE_PATH",
    "PATH",
    "PWD",
    "SOURCE_DATE_EPOCH",
    "SPLITTER_ROOT",
    "SPLITTER_ROOT_MODE",
    "SPLITTER_SANDBOX",
    "SUNPRO_DEPENDENCIES",
    "TERM",
    "ZERO_AR_DATE",
];

/// The same of a call of rustc: what Cargo says to crates and their macros (the Cargo book, "Environment variables Cargo sets for
/// crates"), and what chooses a toolchain. Those that a source names are looked at by the entry.
const NAMES_OF_RUST: [&str; 8] = [
    "CARGO",
    "CARGO_CRATE_NAME",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_TARGET_TMPDIR",
    "OUT_DIR",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "RUST_TARGET_PATH",
];

/// How the names of such variables begin.
const STARTS_OF_RUST: [&str; 4] = ["CARGO_BIN_", "CARGO_MANIFEST_", "CARGO_PKG_", "RUSTC_"];

/// Which compiler is called, as far as other variables matter to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Any but rustc.
    Other,
    /// rustc.
    Rust,
}

/// By the words of a command, the first as the program was called. Ours may stand before the compiler.
pub fn family<'a>(words: impl Iterator<Item = &'a [u8]>) -> Family {
    let is_rustc =
        |word: &[u8]| word.strip_suffix(b"rustc").is_some_and(|before| matches!(before.last(), None | Some(b'/')));
    match words.take_while(|word| !word.starts_with(b"-")).any(is_rustc) {
        true => Family::Rust,
        false => Family::Other,
    }
}

/// How the names of variables begin that make another result.
const STARTS: [&str; 6] = ["CC_LOG_", "CC_PRINT_", "CLANG_", "GCC_", "LC_", "NIX_"];

/// Variables of Nix itself, which say nothing to the wrappers of nixpkgs (Nix 2.34 manual, "Common Environment Variables").
const OF_NIX: [&str; 19] = [
    "NIX_BUILD_CORES",
    "NIX_BUILD_SHELL",
    "NIX_CONFIG",
    "NIX_CONF_DIR",
    "NIX_DAEMON_SOCKET_PATH",
    "NIX_DATA_DIR",
    "NIX_IGNORE_SYMLINK_STORE",
    "NIX_LOCALSTATE_DIR",
    "NIX_LOG_DIR",
    "NIX_LOG_FD",
    "NIX_PATH",
    "NIX_PROFILES",
    "NIX_REMOTE",
    "NIX_SHOW_STATS",
    "NIX_SSHOPTS",
    "NIX_SSL_CERT_FILE",
    "NIX_STATE_DIR",
    "NIX_STORE_DIR",
    "NIX_USER_CONF_FILES",
];

/// Variables of Nix by which a wrapper knows the paths that may be named, where it takes away all others.
const OF_PURITY: [&str; 2] = ["NIX_BUILD_TOP", "NIX_STORE"];

/// How the names of our own variables begin. Those that make no other result, nor another place of the cache, say how a call is
/// answered: then an entry alone is not enough.
const OWN_STARTS: [&str; 2] = ["CCACHE_", "CCWRAP_"];

/// Of our own, those that say nothing to a call that an entry answers.
const SILENT: [&str; 7] =
    ["CCACHE_DIR", "CCACHE_MAXSIZE", "CCACHE_UMASK", "CCWRAP_DIR", "CCWRAP_LINK", "CCWRAP_MAXSIZE", "CCWRAP_UMASK"];

/// Variables of ccache of which nothing depends here, without the start of their names; so do their contraries.
const OF_CCACHE_ALONE: [&str; 32] = [
    "ABSSTDERR",
    "CEILING_DIRS",
    "CEILING_MARKERS",
    "COMMENTS",
    "COMPILERCHECK",
    "COMPILERTYPE",
    "COMPRESS",
    "COMPRESSLEVEL",
    "CONFIGPATH",
    "CPP2",
    "DEBUG",
    "DEBUGDIR",
    "DEBUGLEVEL",
    "DEPEND",
    "FILECLONE",
    "HARDLINK",
    "HASHDIR",
    "IGNOREHEADERS",
    "IGNOREOPTIONS",
    "INODECACHE",
    "LIBEXEC_DIRS",
    "LIMIT_MULTIPLE",
    "MAXFILES",
    "NLEVELS",
    "PCH_EXTSUM",
    "PREFIX",
    "PREFIX_CPP",
    "RESHARE",
    "RESPONSE_FILE_FORMAT",
    "SAFE_DIRS",
    "SLOPPINESS",
    "TEMPDIR",
];

/// Whether a wrapper takes away paths that are not of a build: by this variable (nixpkgs, `cc-wrapper.sh`).
pub fn is_purity((name, value): Variable<'_>) -> bool {
    name == b"NIX_ENFORCE_PURITY" && value == b"1"
}

/// Whether a variable may make another result. `pure` tells whether there is one that [`is_purity`].
pub fn matters(name: &[u8], family: Family, pure: bool) -> bool {
    is_of_wrapper(name, pure)
        || begins(name, &STARTS) && !name.starts_with(b"NIX_")
        || is_of(name, &NAMES)
        || family == Family::Rust && is_told_to_crates(name)
}

/// Whether a variable may say something to a wrapper of nixpkgs: all that begin so and are not known to be others'.
pub fn is_of_wrapper(name: &[u8], pure: bool) -> bool {
    name.starts_with(b"NIX_") && !is_of(name, &OF_NIX) && (pure || !is_of(name, &OF_PURITY))
}

/// Whether it is one of those that a crate may see though nothing names it.
pub fn is_told_to_crates(name: &[u8]) -> bool {
    begins(name, &STARTS_OF_RUST) || is_of(name, &NAMES_OF_RUST)
}

/// Whether a variable asks for more than the answer of an entry, such as a line in a log file.
pub fn asks_for_more(name: &[u8]) -> bool {
    begins(name, &OWN_STARTS) && !is_of(name, &NAMES) && !is_of(name, &SILENT) && !is_of_ccache_alone(name)
}

fn is_of_ccache_alone(name: &[u8]) -> bool {
    let after = name.strip_prefix(b"CCACHE_").unwrap_or_default();
    is_of(after, &OF_CCACHE_ALONE) || after.strip_prefix(b"NO").is_some_and(|after| is_of(after, &OF_CCACHE_ALONE))
}

fn begins(name: &[u8], starts: &[&str]) -> bool {
    starts.iter().any(|start| name.starts_with(start.as_bytes()))
}

fn is_of(name: &[u8], names: &[&str]) -> bool {
    names.iter().any(|known| name == known.as_bytes())
}

/// The variable that a string of the environment is, as the standard library reads it; none if it is none. A name has at least
/// one byte, which may be `=`.
pub fn variable(string: &[u8]) -> Option<Variable<'_>> {
    let at = string.iter().skip(1).position(|byte| *byte == b'=')?;
    let (name, rest) = string.split_at_checked(at.checked_add(1)?)?;
    Some((name, rest.get(1..)?))
}

/// Whether a word before the compiler is a setting, such as `CCACHE_DIR=/x` or `max_size=5G`: no compiler is called so.
pub fn is_setting(word: &[u8]) -> bool {
    let name = word.split(|byte| *byte == b'=').next().unwrap_or_default();
    !name.is_empty() && name.len() < word.len() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// A call as it comes.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a, Words, Env> {
    /// The working directory, absolute.
    pub directory: &'a [u8],
    /// Whether standard error is a terminal.
    pub terminal: bool,
    /// The words of the command, the first as the program was called.
    pub words: Words,
    /// Of the environment, the variables that matter, in any order.
    pub env: Env,
}

impl<'a, Words, Env> Call<'_, Words, Env>
where
    Words: Iterator<Item = &'a [u8]>,
    Env: Iterator<Item = Variable<'a>> + Clone,
{
    /// Gives the text of the call to `put`, piece after piece: equal texts are equal calls. None as soon as `put` gives none.
    pub fn text(self, mut put: impl FnMut(&[u8]) -> Option<()>) -> Option<()> {
        put(self.directory)?;
        put(if self.terminal { b"\0t" } else { b"\0f" })?;
        for word in self.words {
            put(b"\0")?;
            put(word)?;
        }
        // In order. There are few, so the next one is looked for among all, which needs no memory.
        let mut last = None;
        while let Some((name, value)) =
            self.env.clone().filter(|variable| last.is_none_or(|last| last < *variable)).min()
        {
            for piece in [b"\0\0", name, b"=", value] {
                put(piece)?;
            }
            last = Some((name, value));
        }
        Some(())
    }
}

/// A short name for a text, in hexadecimal digits.
pub fn name(text: &[u8]) -> [u8; 32] {
    const SECRETS: [RapidSecrets; 2] = [RapidSecrets::seed(0), RapidSecrets::seed(1)];
    let hashes = SECRETS.iter().flat_map(|secrets| rapidhash_v3_seeded(text, secrets).to_be_bytes());
    let digits = hashes.flat_map(|byte| [byte >> 4, byte & 15]).map(digit);
    let mut name = [0; 32];
    name.iter_mut().zip(digits).for_each(|(to, digit)| *to = digit);
    name
}

/// A digit of a hexadecimal number.
fn digit(value: u8) -> u8 {
    match value {
        0..=9 => b'0' | value,
        _ => b'a'.wrapping_add(value.wrapping_sub(10)),
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::string::String;
    use std::vec::Vec;

    #[test]
    fn a_variable_is_read_as_the_standard_library_does() {
        assert_eq!(variable(b"A=b=c"), Some((&b"A"[..], &b"b=c"[..])));
        assert_eq!(variable(b"A="), Some((&b"A"[..], &b""[..])));
        assert_eq!(variable(b"=A=b"), Some((&b"=A"[..], &b"b"[..])));
        for none in [&b""[..], b"A", b"=", b"=A"] {
            assert_eq!(variable(none), None);
        }
    }

    #[test]
    fn a_call_of_rustc_has_more_variables() {
        let of = |words: &[&'static str]| family(words.iter().map(|word| word.as_bytes()));
        for words in [&["rustc", "a.rs"][..], &["/x/ccwrap", "/y/rustc", "-vV"], &["ccwrap", "max_size=5G", "rustc"]] {
            assert_eq!(of(words), Family::Rust, "{words:?}");
        }
        assert_eq!(of(&["cc", "-c", "rustc"]), Family::Other);
        assert_eq!(of(&["ccwrap", "sccrustc"]), Family::Other);
        assert!(matters(b"CARGO_PKG_NAME", Family::Rust, false) && !matters(b"CARGO_PKG_NAME", Family::Other, false));
        assert!(!matters(b"CARGO_MAKEFLAGS", Family::Rust, false) && !matters(b"MAKEFLAGS", Family::Rust, false));
    }

    #[test]
    fn variables_stand_in_the_text_by_name_and_then_by_value() {
        let env: [Variable<'_>; 4] = [(b"B", b"2"), (b"AB", b"1"), (b"A", b"z"), (b"A", b"x")];
        let mut text = Vec::new();
        let call = Call { directory: b"/", terminal: true, words: [&b"cc"[..]].into_iter(), env: env.into_iter() };
        call.text(|piece| {
            text.extend_from_slice(piece);
            Some(())
        });
        assert_eq!(text, b"/\0t\0cc\0\0A=x\0\0A=z\0\0AB=1\0\0B=2");
    }

    #[test]
    fn what_concerns_ccache_alone_asks_for_nothing() {
        for name in ["CCACHE_SLOPPINESS", "CCACHE_NOHASHDIR", "CCACHE_COMPRESSLEVEL", "CCACHE_MAXSIZE", "CCACHES"] {
            assert!(!asks_for_more(name.as_bytes()), "{name}");
        }
        for name in ["CCACHE_STATSLOG", "CCACHE_NOSTATS", "CCACHE_RECACHE", "CCACHE_NEW", "CCWRAP_SLOPPINESS"] {
            assert!(asks_for_more(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_name_is_the_two_hashes_of_the_text() {
        let expected: String = [0, 1]
            .map(|seed| std::format!("{:016x}", rapidhash_v3_seeded(b"text", &RapidSecrets::seed(seed))))
            .concat();
        assert_eq!(name(b"text"), expected.as_bytes());
    }
}
