//! A call of a compiler: all of it that may change what comes out. Pure.

use bstr::{BString, ByteSlice as _};
use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What the compiler was called with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The program that is meant, absolute.
    pub compiler: PathBuf,
    /// The words of the command, the first as it was written.
    pub words: Vec<BString>,
    /// Where relative paths start, absolute and without links.
    pub directory: BString,
    /// The variables that a compiler looks at, see [`crate::environment`].
    pub env: BTreeMap<BString, BString>,
    /// How diagnostics are to be written.
    pub manner: Manner,
}

/// How diagnostics are written, where that is another manner than that in which every command runs: without colours, in
/// English, with the quotes of Unicode. It makes no other object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manner {
    /// With colours, though no word asks for them: they go to a terminal.
    pub coloured: bool,
    /// In this locale.
    pub locale: Option<BString>,
}

impl Call {
    /// The call as one text, by which it is known: equal texts are equal calls. `setting` are the words of the settings that
    /// make another result.
    pub fn text(&self, setting: &str) -> BString {
        let mut text = BString::from(setting);
        text.push(0);
        text.push(u8::from(self.manner.coloured));
        text.extend_from_slice(self.manner.locale.as_ref().map_or(&b""[..], |locale| locale));
        for part in [self.compiler.as_os_str().as_encoded_bytes(), self.directory.as_bytes()] {
            text.push(0);
            text.extend_from_slice(part);
        }
        for word in &self.words {
            text.push(0);
            text.extend_from_slice(word);
        }
        for (name, value) in &self.env {
            text.extend_from_slice(b"\0\0");
            text.extend_from_slice(name);
            text.push(b'=');
            text.extend_from_slice(value);
        }
        text
    }
}

/// A short name for a text.
pub fn name(text: &[u8]) -> String {
    let hash = |seed: u64| rapidhash_v3_seeded(text, &RapidSecrets::seed(seed));
    format!("{:016x}{:016x}", hash(0), hash(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(words: &[&str], env: &[(&str, &str)]) -> Call {
        Call {
            compiler: "/usr/bin/cc".into(),
            words: words.iter().map(|word| BString::from(*word)).collect(),
            directory: "/work".into(),
            env: env.iter().map(|(name, value)| (BString::from(*name), BString::from(*value))).collect(),
            manner: Manner::default(),
        }
    }

    #[test]
    fn calls_that_differ_in_anything_have_other_texts() {
        let calls = [
            call(&["cc", "a b"], &[]),
            call(&["cc", "a", "b"], &[]),
            call(&["cc", "a", "b", ""], &[]),
            call(&["cc", "a"], &[("b", "")]),
            call(&["cc", "a"], &[("b", "c=d")]),
            call(&["cc", "a"], &[("b=c", "d")]),
            Call { directory: "/elsewhere".into(), ..call(&["cc", "a"], &[]) },
            Call { manner: Manner { coloured: true, locale: None }, ..call(&["cc", "a"], &[]) },
            Call { manner: Manner { coloured: false, locale: Some("C".into()) }, ..call(&["cc", "a"], &[]) },
        ];
        let mut texts: Vec<BString> = calls.iter().map(|call| call.text("")).collect();
        texts.push(calls[0].text("other"));
        // No environment variable has `=` in its name.
        texts.remove(5);
        texts.sort();
        let count = texts.len();
        texts.dedup();
        assert_eq!(texts.len(), count);
        assert_ne!(name(&texts[0]), name(&texts[1]));
    }
}
