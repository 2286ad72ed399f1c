//! Which variables reach a compiler. Pure.
//!
//! A compile sees no other variables than these and the few that every command has; so what is not here cannot matter. The
//! names are those of the GCC 12 manual, "Environment Variables Affecting GCC", of the Clang manual, and of the wrappers of
//! nixpkgs.

use bstr::{BStr, BString, ByteSlice as _};
use ccwrap_format::call;
use std::collections::{BTreeMap, BTreeSet};

/// By name. Those of the language decide only how diagnostics are written: see [`locale`].
const NAMES: [&str; 18] = [
    "SOURCE_DATE_EPOCH",
    "CPATH",
    "C_INCLUDE_PATH",
    "CPLUS_INCLUDE_PATH",
    "OBJC_INCLUDE_PATH",
    "OBJCPLUS_INCLUDE_PATH",
    "LIBRARY_PATH",
    "GCC_COMPARE_DEBUG",
    "GCC_COLORS",
    "GCC_EXTRA_DIAGNOSTIC_OUTPUT",
    "GCC_URLS",
    "CLANG_CONFIG_FILE_SYSTEM_DIR",
    "CLANG_CONFIG_FILE_USER_DIR",
    "CLICOLOR_FORCE",
    "MACOSX_DEPLOYMENT_TARGET",
    "ZERO_AR_DATE",
    "ENABLE_ANNOBIN",
    "hardeningDisable",
];

/// Variables of Nix itself, which say nothing to the wrappers of nixpkgs (Nix 2.34 manual, "Common Environment Variables").
const OF_NIX: [&str; 21] = [
    "NIX_BUILD_CORES",
    "NIX_BUILD_SHELL",
    "NIX_BUILD_TOP",
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
    "NIX_STORE",
    "NIX_STORE_DIR",
    "NIX_USER_CONF_FILES",
];

/// Of what is told to crates, what chooses the compiler and is of no interest to it.
const OF_CHOICE: [&str; 5] =
    ["RUSTC_WORKSPACE_WRAPPER", "RUSTC_WRAPPER", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "RUST_TARGET_PATH"];

/// Variables by which a compiler writes files of which no word tells, gets more words, or starts other programs.
const UNSUPPORTED: [&str; 6] = [
    "DEPENDENCIES_OUTPUT",
    "SUNPRO_DEPENDENCIES",
    "CCC_OVERRIDE_OPTIONS",
    "CCC_ADD_ARGS",
    "COMPILER_PATH",
    "GCC_EXEC_PREFIX",
];

/// The variables of an environment that a compiler looks at.
pub fn of_compiler(all: impl Iterator<Item = (BString, BString)>) -> BTreeMap<BString, BString> {
    all.filter(|(name, value)| !value.is_empty() && is_looked_at(name.as_bstr())).collect()
}

/// The variables that a crate sees: those that Cargo tells to every one, and those that it has `named`.
pub fn of_crate(
    all: impl Iterator<Item = (BString, BString)>,
    named: &BTreeSet<BString>,
) -> BTreeMap<BString, BString> {
    let is_shown = |name: &BString| {
        named.contains(name) || call::is_told_to_crates(name) && !OF_CHOICE.iter().any(|other| name == other)
    };
    all.filter(|(name, _)| is_shown(name)).collect()
}

/// A variable for which nothing is remembered of a crate: it writes more, or looks for its target elsewhere.
pub fn unsupported_by_rust(is_set: impl Fn(&str) -> bool) -> Option<&'static str> {
    ["RUSTC_LOG", "RUST_TARGET_PATH"].into_iter().find(|name| is_set(name))
}

/// A variable by which a linker looks elsewhere, for which nothing is remembered of a crate that is linked.
pub fn unsupported_by_linker(is_set: impl Fn(&str) -> bool) -> Option<&'static str> {
    ["LIBRARY_PATH", "LD_RUN_PATH", "COMPILER_PATH", "GCC_EXEC_PREFIX"].into_iter().find(|name| is_set(name))
}

fn is_looked_at(name: &BStr) -> bool {
    let is_of_wrapper = name.starts_with(b"NIX_") && !OF_NIX.iter().any(|other| name == *other);
    NAMES.iter().any(|known| name == *known) || is_of_wrapper
}

/// A variable for which nothing is remembered.
pub fn unsupported(is_set: impl Fn(&str) -> bool) -> Option<&'static str> {
    UNSUPPORTED.into_iter().find(|name| is_set(name))
}

/// The locale in which diagnostics are written, by `LC_ALL`, `LC_MESSAGES` and `LANG` (setlocale(3)), of which those that are
/// not set are empty; none where they come out as in `C.UTF-8`, in which every command runs.
pub fn locale(lc_all: &BStr, lc_messages: &BStr, lang: &BStr) -> Option<BString> {
    let set = [lc_all, lc_messages, lang].into_iter().find(|value| !value.is_empty());
    let value = set.unwrap_or(b"C".as_bstr());
    let (language, charset) = value.split_once_str(".").unwrap_or((value, b""));
    let charset = charset.to_ascii_lowercase();
    let is_unicode = charset.starts_with(b"utf-8") || charset.starts_with(b"utf8");
    match language {
        b"C" | b"POSIX" | b"en_US" if is_unicode => None,
        _ => Some(value.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_looks_at_few_variables() {
        let all =
            [("PATH", "/bin"), ("CPATH", "i"), ("NIX_CFLAGS_COMPILE", "-O"), ("NIX_SSL_CERT_FILE", "x"), ("HOME", "/")];
        let all = all.into_iter().chain([("C_INCLUDE_PATH", "")]);
        let of_compiler = of_compiler(all.map(|(name, value)| (name.into(), value.into())));
        let names: Vec<&BString> = of_compiler.keys().collect();
        assert_eq!(names, ["CPATH", "NIX_CFLAGS_COMPILE"]);
    }

    #[test]
    fn a_crate_sees_what_cargo_tells_it_and_what_it_names() {
        let all =
            ["CARGO_PKG_NAME", "CARGO_MAKEFLAGS", "RUSTC_WRAPPER", "RUSTUP_TOOLCHAIN", "HOME", "NAMED", "OUT_DIR"];
        let all = all.map(|name| (BString::from(name), BString::default()));
        let seen = of_crate(all.into_iter(), &["NAMED".into()].into());
        let names: Vec<&BString> = seen.keys().collect();
        assert_eq!(names, ["CARGO_PKG_NAME", "NAMED", "OUT_DIR"]);
    }

    #[test]
    fn the_locale_of_diagnostics_is_the_first_that_is_set() {
        let of = |all: &str, messages: &str, lang: &str| {
            locale(all.into(), messages.into(), lang.into()).map(|locale| locale.to_string())
        };
        assert_eq!(of("", "", "").as_deref(), Some("C"));
        assert_eq!(of("", "", "C.UTF-8"), None);
        assert_eq!(of("C", "", "C.UTF-8").as_deref(), Some("C"));
        assert_eq!(of("", "en_US.utf8", "C"), None);
        assert_eq!(of("", "", "de_DE.UTF-8").as_deref(), Some("de_DE.UTF-8"));
    }
}
