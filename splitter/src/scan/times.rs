//! Macros by which a text tells when it was compiled.
#![deny(clippy::disallowed_methods)]

use super::lex::has_word;
use bstr::{BStr, BString, ByteSlice as _};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Their names.
const NAMES: [&[u8]; 3] = [b"__DATE__", b"__TIME__", b"__TIMESTAMP__"];

/// Which of them a text names, in whatever place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// `__DATE__` or `__TIME__`, which `SOURCE_DATE_EPOCH` fixes (GCC 12 manual, "Environment Variables").
    pub of_compile: bool,
    /// When a file was changed, which nothing fixes: `__TIMESTAMP__`, or `#pragma GCC dependency`.
    pub of_file: bool,
}

impl Times {
    /// Of a text.
    pub fn of(text: &[u8]) -> Self {
        // Most texts do not have any of them, which is seen faster than their words are.
        let may = |start: &str, word: &[u8]| text.contains_str(start) && has_word(text.as_bstr(), &|w| w == word);
        let of_date = may("__DATE__", b"__DATE__");
        let times = text.contains_str("__TIME");
        Self {
            of_compile: of_date || times && may("__TIME__", b"__TIME__"),
            of_file: times && may("__TIMESTAMP__", b"__TIMESTAMP__") || depends(text),
        }
    }

    /// Whether what is made of the text may be other at another time. `fixed` where the time of the compile is.
    pub fn matter(self, fixed: bool) -> bool {
        self.of_compile && !fixed || self.of_file
    }
}

/// The words of a text that a macro may paste together to one of them, by `##`.
pub fn pieces(text: &BStr) -> BTreeSet<BString> {
    let pieces = RefCell::default();
    has_word(text, &|word| {
        // Most words are not, which is seen by where they begin.
        let may = word.len() < NAMES[2].len() && b"_DATEIMSP".contains(&word[0]);
        if may && NAMES.iter().any(|name| word.len() < name.len() && name.contains_str(word)) {
            let mut pieces: std::cell::RefMut<'_, BTreeSet<BString>> = pieces.borrow_mut();
            pieces.insert(word.into());
        }
        false
    });
    pieces.into_inner()
}

/// Whether one of them can be made of pieces.
pub fn can_be_pasted(pieces: &BTreeSet<BString>) -> bool {
    NAMES.iter().any(|name| {
        let mut reached = vec![false; name.len() + 1];
        reached[0] = true;
        for at in 0..name.len() {
            let next = pieces.iter().filter(|piece| reached[at] && name[at..].starts_with(piece));
            next.map(|piece| at + piece.len()).collect::<Vec<_>>().into_iter().for_each(|end| reached[end] = true);
        }
        reached[name.len()]
    })
}

/// Whether a pragma compares times of files. Written as `#pragma` or within `_Pragma("…")`.
fn depends(text: &[u8]) -> bool {
    text.find_iter("dependency").any(|at| text[..at].trim_ascii_end().ends_with(b"GCC"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_from_what_they_are_a_part_of() {
        let times = |text: &str| Times::of(text.as_bytes());
        let none = Times::default();
        assert_eq!(times("x = __DATE__;"), Times { of_compile: true, ..none });
        assert_eq!(times("\"__TIME__\""), Times { of_compile: true, ..none });
        assert_eq!(times("__TIMESTAMP__ __TIMES__"), Times { of_file: true, ..none });
        assert_eq!(times("#pragma GCC  dependency \"a.h\""), Times { of_file: true, ..none });
        assert_eq!(times("my__DATE__ __TIME__R __DATE dependency of GCC"), none);
    }

    #[test]
    fn a_name_may_be_pasted_together() {
        let may = |text: &str| can_be_pasted(&pieces(text.into()));
        assert!(
            may("#define CAT(a, b) a##b\nCAT(__TI, ME__)") && may("CAT3(__, DATE, __)") && may("_ _TIMES TA M P__")
        );
        assert!(!may("__TI _(text) DAT") && !may("CAT(__TIM, __)") && !may("") && !may("x__TI ME__x"));
    }

    #[test]
    fn a_time_of_the_compile_that_is_fixed_does_not_matter() {
        let (compile, file) = (Times::of(b"__DATE__"), Times::of(b"__TIMESTAMP__"));
        assert_eq!(
            [true, false].map(|fixed| (compile.matter(fixed), file.matter(fixed))),
            [(false, true), (true, true)]
        );
    }
}
