//! Words that hardly any text has, and that a scan has to know of: one look tells that there is none of them.
#![deny(clippy::disallowed_methods)]

use aho_corasick::packed::{Config, MatchKind, Searcher};
use std::sync::LazyLock;

/// What begins a trigraph, names files to the assembler ([`super::lex`]), or tells the time ([`super::times`]).
const WORDS: [&str; 6] = ["??", ".incbin", ".include", "__DATE__", "__TIME", "dependency"];

/// None where the processor has no instructions for it.
static SEARCHER: LazyLock<Option<Searcher>> = LazyLock::new(|| {
    let mut builder = Config::new().match_kind(MatchKind::LeftmostFirst).builder();
    builder.extend(WORDS).build()
});

/// Whether a text may have one of the words.
pub fn may_have(text: &[u8]) -> bool {
    SEARCHER.as_ref().is_none_or(|searcher| searcher.find(text).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_has_one_of_the_words_is_seen_to() {
        let long = "x".repeat(1000);
        for word in WORDS {
            for text in
                [word.to_owned(), format!("{long}{word}"), format!("{word}{long}"), format!("{long}{word}{long}")]
            {
                assert!(may_have(text.as_bytes()), "{word}");
            }
        }
    }

    #[test]
    fn a_text_without_them_is_seen_to_be_so_where_the_processor_can() {
        let text = "#include <a.h>\nint date, time; // ? .inc bin\n".repeat(100);
        assert_eq!(may_have(text.as_bytes()), SEARCHER.is_none());
        assert_eq!(may_have(b""), SEARCHER.is_none());
    }
}
