//! Which variables reach a compiler. Pure.
//!
//! A compile sees no other variables than these and the few that every command has; so what is not here cannot matter. The
//! names are those of the GCC 12 manual, "Environment Variables Affecting GCC", of the Clang manual, and of the wrappers of
//! nixpkgs.

use bstr::{BStr, BString, ByteSlice as _};
use ccwrap_format::call::{self, Family};
use std::collections::{BTreeMap, BTreeSet};

/// By name. Those of the language decide only how diagnostics are written: see [`locale`].
const NAMES: [&str; 17] = [
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
];

/// Of what is told to crates, what chooses the compiler and is of no interest to it.
const OF_CHOICE: [&str; 5] =
    ["RUSTC_WORKSPACE_WRAPPER", "RUSTC_WRAPPER", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "RUST_TARGET_PATH"];

/// Variables by which a compiler writes files of which no word tells, gets more words, or starts other programs.
const UNSUPPORTED: [&str; 11] = [
    "CC_LOG_DIAGNOSTICS",
    "CC_PRINT_HEADERS",
    "CC_PRINT_INTERNAL_STAT",
    "CC_PRINT_OPTIONS",
    "CC_PRINT_PROC_STAT",
    "DEPENDENCIES_OUTPUT",
    "SUNPRO_DEPENDENCIES",
    "CCC_OVERRIDE_OPTIONS",
    "CCC_ADD_ARGS",
    "COMPILER_PATH",
    "GCC_EXEC_PREFIX",
];

/// The variables of an environment that a compiler looks at.
pub fn of_compiler(all: impl Iterator<Item = (BString, BString)> + Clone) -> BTreeMap<BString, BString> {
    let pure = all.clone().any(|(name, value)| call::is_purity((&name, &value)));
    all.filter(|(name, value)| !value.is_empty() && is_looked_at(name.as_bstr(), pure)).collect()
}

fn is_looked_at(name: &BStr, pure: bool) -> bool {
    NAMES.iter().any(|known| name == *known) || call::is_of_wrapper(name, pure)
}

/// Variables that a script may read, by its text: all that it names as shells and others do, besides those that every call is
/// known by and those that every command has.
pub fn named_in(script: &BStr) -> BTreeSet<BString> {
    /// Of every command, or of the shell itself.
    const EVERYWHERE: [&str; 12] =
        ["HOME", "IFS", "LANG", "OLDPWD", "PATH", "PWD", "SHLVL", "TEMP", "TEMPDIR", "TMP", "TMPDIR", "_"];
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let mut names = BTreeSet::new();
    for (at, _) in script.iter().enumerate().filter(|(_, byte)| b"$`{\"'".contains(byte)) {
        let rest = &script[at + 1..];
        let length = rest.iter().position(|byte| !is_of_name(byte)).unwrap_or(rest.len());
        let name = rest[..length].as_bstr();
        let is_name = name.first().is_some_and(|byte| !byte.is_ascii_digit());
        let is_known = || call::matters(name, Family::Other, true) || EVERYWHERE.iter().any(|known| name == *known);
        if is_name && !is_known() {
            names.insert(name.into());
        }
    }
    names
}

/// Variables besides `TERM` that a compiler looks at where it writes to a terminal.
pub const OF_TERMINAL: [&str; 2] = ["COLORTERM", "TERM_URLS"];

/// Whether GCC writes links on a terminal on which it writes colours: it knows by its name that some do not show them (GCC 10 to
/// 16, `auto_enable_urls`).
pub fn has_links(variable: &dyn Fn(&str) -> Option<BString>) -> bool {
    let [colours, term, ours, all] = ["COLORTERM", "TERM", "GCC_URLS", "TERM_URLS"].map(variable);
    let is_old = colours.as_ref().is_some_and(|name| name == "xfce4-terminal" || name == "gnome-terminal");
    let says = ours.or(all);
    let knows_of_none = colours.is_none() && term.is_some_and(|name| name == "xterm" || name == "linux");
    match says {
        _ if is_old => false,
        Some(says) => !says.is_empty() && says != "no",
        None => !knows_of_none,
    }
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
    fn what_a_compiler_looks_at_makes_another_call() {
        for name in NAMES.into_iter().chain(UNSUPPORTED).chain(["NIX_CFLAGS_COMPILE", "NIX_HARDENING_ENABLE"]) {
            assert!(call::matters(name.as_bytes(), Family::Other, false), "{name}");
        }
    }

    #[test]
    fn where_a_build_is_matters_where_other_paths_are_taken_away() {
        let names = |purity: &str| -> Vec<BString> {
            let all = [("NIX_BUILD_TOP", "/build"), ("NIX_ENFORCE_PURITY", purity), ("NIX_LOG_FD", "2")];
            of_compiler(all.into_iter().map(|(name, value)| (name.into(), value.into()))).into_keys().collect()
        };
        assert_eq!(names("0"), ["NIX_ENFORCE_PURITY"]);
        assert_eq!(names("1"), ["NIX_BUILD_TOP", "NIX_ENFORCE_PURITY"]);
    }

    #[test]
    fn a_script_names_the_variables_that_it_reads() {
        let of = |text: &str| named_in(text.into()).into_iter().map(|name| name.to_string()).collect::<Vec<_>>();
        assert_eq!(of("exec gcc ${MY_FLAGS:-} \"$MORE\" $1 $@ $HOME/x $NIX_DEBUG"), ["MORE", "MY_FLAGS"]);
        assert_eq!(of("os.environ['X_1'] + getenv(\"Y\") + $ENV{Z}"), ["ENV", "X_1", "Y", "Z"]);
    }

    #[test]
    fn links_are_for_terminals_that_show_them() {
        let of = |known: &[(&str, &str)]| {
            has_links(&|name| known.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into()))
        };
        assert!(of(&[("TERM", "xterm-256color")]) && of(&[("TERM", "linux"), ("COLORTERM", "truecolor")]));
        assert!(!of(&[("TERM", "xterm")]) && !of(&[("TERM", "xterm-256color"), ("COLORTERM", "gnome-terminal")]));
        assert!(of(&[("TERM", "xterm"), ("TERM_URLS", "st")]) && !of(&[("GCC_URLS", ""), ("TERM_URLS", "st")]));
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
