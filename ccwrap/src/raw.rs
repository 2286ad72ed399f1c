//! A call as it comes, before anything of it is understood: by this an entry is found. Whatever may make another result is in
//! its text, or is looked at by the entry itself. Pure.

use bstr::{BStr, BString, ByteSlice as _};
use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

/// All that a call comes with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Raw {
    /// The words of the command, the first as this program was called.
    pub words: Vec<BString>,
    /// The working directory, absolute.
    pub directory: BString,
    /// The whole environment, in the order in which it comes.
    pub env: Vec<(BString, BString)>,
    /// Whether standard error is a terminal.
    pub terminal: bool,
}

/// Variables that make another result, besides those that begin with one of [`STARTS`].
const NAMES: [&str; 30] = [
    "CCACHE_BASEDIR",
    "CCACHE_COMPILER",
    "CCACHE_NAMESPACE",
    "CCACHE_PATH",
    "CCC_ADD_ARGS",
    "CCC_OVERRIDE_OPTIONS",
    "CCWRAP_COMPILER",
    "CCWRAP_CONFIGPATH",
    "CCWRAP_MAP",
    "CCWRAP_NAMESPACE",
    "CCWRAP_PATH",
    "CLICOLOR_FORCE",
    "COMPILER_PATH",
    "CPATH",
    "CPLUS_INCLUDE_PATH",
    "C_INCLUDE_PATH",
    "DEPENDENCIES_OUTPUT",
    "LANG",
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
];

/// How the names of variables begin that make another result.
const STARTS: [&str; 4] = ["CLANG_", "GCC_", "LC_", "NIX_"];

/// How the names of our own variables begin. Those that make no other result, nor another place of the cache, say how a call is
/// answered: then an entry alone is not enough.
const OWN_STARTS: [&str; 2] = ["CCACHE_", "CCWRAP_"];

/// Of our own, those that say nothing to a call that an entry answers.
const SILENT: [&str; 4] = ["CCACHE_DIR", "CCACHE_MAXSIZE", "CCWRAP_DIR", "CCWRAP_MAXSIZE"];

impl Raw {
    /// By which text a call is known: equal texts are equal calls.
    pub fn text(&self) -> BString {
        let mut text = BString::from(self.directory.as_slice());
        text.extend_from_slice(if self.terminal { b"\0t" } else { b"\0f" });
        for word in &self.words {
            text.push(0);
            text.extend_from_slice(word);
        }
        let mut env: Vec<_> = self.env.iter().filter(|(name, _)| matters(name.as_bstr())).collect();
        env.sort();
        for (name, value) in env {
            text.extend_from_slice(b"\0\0");
            text.extend_from_slice(name);
            text.push(b'=');
            text.extend_from_slice(value);
        }
        text
    }

    /// Whether a variable asks for more than the answer of an entry, such as a line in a log file.
    pub fn asks_for_more(&self) -> bool {
        self.env.iter().any(|(name, _)| {
            OWN_STARTS.iter().any(|start| name.starts_with(start.as_bytes()))
                && !matters(name.as_bstr())
                && !SILENT.iter().any(|silent| name == *silent)
        })
    }

    /// The value of a variable.
    pub fn variable(&self, name: &str) -> Option<&BString> {
        self.env.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

fn matters(name: &BStr) -> bool {
    STARTS.iter().any(|start| name.starts_with(start.as_bytes())) || NAMES.iter().any(|known| name == *known)
}

/// A short name for a text.
pub fn name(text: &[u8]) -> String {
    let hash = |seed: u64| rapidhash_v3_seeded(text, &RapidSecrets::seed(seed));
    format!("{:016x}{:016x}", hash(0), hash(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(words: &[&str], env: &[(&str, &str)]) -> Raw {
        Raw {
            words: words.iter().map(|word| BString::from(*word)).collect(),
            directory: "/work".into(),
            env: env.iter().map(|(name, value)| (BString::from(*name), BString::from(*value))).collect(),
            terminal: false,
        }
    }

    #[test]
    fn calls_that_differ_in_what_matters_have_other_texts() {
        let calls = [
            raw(&["cc", "a b"], &[]),
            raw(&["cc", "a", "b"], &[]),
            raw(&["cc", "a", "b", ""], &[]),
            raw(&["cc", "a"], &[("CPATH", "")]),
            raw(&["cc", "a"], &[("CPATH", "c=d")]),
            raw(&["cc", "a"], &[("LC_ALL", "C")]),
            raw(&["cc", "a"], &[("NIX_CFLAGS_COMPILE", "-O")]),
            Raw { directory: "/elsewhere".into(), ..raw(&["cc", "a"], &[]) },
            Raw { terminal: true, ..raw(&["cc", "a"], &[]) },
        ];
        let mut texts: Vec<BString> = calls.iter().map(Raw::text).collect();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), calls.len());
        assert_ne!(name(&texts[0]), name(&texts[1]));
    }

    #[test]
    fn other_variables_and_their_order_make_no_other_call() {
        let a = raw(&["cc"], &[("CPATH", "i"), ("LANG", "C"), ("EDITOR", "ed"), ("CCACHE_MAXSIZE", "1G")]);
        let b = raw(&["cc"], &[("LANG", "C"), ("CPATH", "i"), ("CCACHE_RECACHE", "1")]);
        assert_eq!(a.text(), b.text());
        assert!(!a.asks_for_more());
        assert!(b.asks_for_more());
    }
}
