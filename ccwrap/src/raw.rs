//! A call as it comes, before anything of it is understood: by this an entry is found. What makes its text and its name is
//! shared with the small program. Pure.

use bstr::{BString, ByteSlice as _};
use ccwrap_format::call::{self, Call, Family};

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

impl Raw {
    /// By which text a call is known: equal texts are equal calls.
    pub fn text(&self) -> BString {
        let mut text = BString::default();
        let env = self.env.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
        let (pure, family) = (env.clone().any(call::is_purity), self.family());
        let env: Vec<_> = env.filter(|(name, _)| call::matters(name, family, pure)).collect();
        let call = Call {
            directory: &self.directory,
            terminal: self.terminal,
            words: self.words.iter().map(|word| word.as_slice()),
            env: env.iter().copied(),
        };
        let all = call.text(|piece| {
            text.extend_from_slice(piece);
            Some(())
        });
        all.expect("there is room for every piece");
        text
    }

    /// Which compiler is called.
    pub fn family(&self) -> Family {
        call::family(self.words.iter().map(|word| word.as_slice()))
    }

    /// Whether a variable asks for more than the answer of an entry, such as a line in a log file.
    pub fn asks_for_more(&self) -> bool {
        self.env.iter().any(|(name, _)| call::asks_for_more(name))
    }

    /// The value of a variable.
    pub fn variable(&self, name: &str) -> Option<&BString> {
        self.env.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

/// A short name for a text.
pub fn name(text: &[u8]) -> String {
    call::name(text).to_str().expect("digits").to_owned()
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
