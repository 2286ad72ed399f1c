//! Whether the date or the time may be in what a compile makes, so that nobody knows whether the same call would make it again.

use crate::call::Call;
use bstr::{BString, ByteSlice as _};
use splitter::compiler::Compile;
use splitter::discover::to_path;
use splitter::drive::Product;
use splitter::scan::times::{self, Times};
use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

/// Whether it matters when a call was made.
pub fn matter(product: &Product, call: &Call) -> bool {
    let fixed = call.env.contains_key(b"SOURCE_DATE_EPOCH".as_bstr());
    let found = product.found.files.iter().chain(&product.found.system);
    let mut kinds = found.map(|path| kind(product, path));
    call.words.iter().any(|word| Times::of(word).matter(fixed))
        || kinds.any(|kind| match kind {
            Kind::Text(times) => times.matter(fixed),
            Kind::OfGcc => preprocessed(call).is_none_or(|text| shows_time(&text, fixed)),
            Kind::OfClang => {
                product.outputs.iter().any(|(_, file)| fs::read(file).is_ok_and(|made| shows_time(&made, fixed)))
            }
            Kind::Program => false,
        })
        || times::can_be_pasted(&pieces(product, call))
            && preprocessed(call).is_none_or(|text| shows_time(&text, fixed))
}

/// The words of which a macro may make the name of a time, of the project's texts and of the call itself.
fn pieces(product: &Product, call: &Call) -> BTreeSet<BString> {
    let unscanned = product.found.files.iter().filter(|path| !product.times.contains_key(*path));
    let texts = unscanned.filter_map(|path| fs::read(to_path(path.as_bstr())).ok());
    let is_text =
        |bytes: &Vec<u8>| !["\x7fELF", "gpch", "CPCH"].iter().any(|start| bytes.starts_with(start.as_bytes()));
    let texts = texts.filter(is_text).map(BString::from);
    let texts = texts.chain(call.words.iter().cloned());
    texts.flat_map(|text| times::pieces(text.as_bstr())).chain(product.pieces.iter().cloned()).collect()
}

enum Kind {
    /// Or what is none, and names a time all the same.
    Text(Times),
    /// A precompiled header has macros that no text shows: what it was made of may have changed by now.
    OfGcc,
    /// The same. Clang goes back to the text when it is to preprocess, so that only what it makes can tell; but it does not use
    /// the header unless the text has at least its old size.
    OfClang,
    /// The program that compiles knows the names of these macros, too.
    Program,
}

fn kind(product: &Product, path: &BString) -> Kind {
    if let Some(times) = product.times.get(path) {
        return Kind::Text(*times);
    }
    match fs::read(to_path(path.as_bstr())) {
        Ok(content) if content.starts_with(b"\x7fELF") => Kind::Program,
        // As GCC (gcc/c-family/c-pch.cc) and Clang (clang/Serialization/ASTBitCodes.h) begin them.
        Ok(content) if content.starts_with(b"gpch") => Kind::OfGcc,
        Ok(content) if content.starts_with(b"CPCH") => Kind::OfClang,
        Ok(content) => Kind::Text(Times::of(&content)),
        Err(_) => Kind::Text(Times::default()),
    }
}

/// The text of a source after the macros of its precompiled headers, without theirs; none if the compiler does not give it.
fn preprocessed(call: &Call) -> Option<Vec<u8>> {
    let ask = Compile::read(&call.words)?.ask;
    let words = ask[1..].iter().map(|word| to_path(word.as_bstr()));
    let mut command = Command::new(&call.compiler);
    command.args(["-E", "-fpch-preprocess"]).args(words).current_dir(to_path(call.directory.as_bstr()));
    let ended = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    ended.status.success().then_some(ended.stdout)
}

/// Whether a text holds what the macros give: `Nov 28 2026` or `19:30:00`, unless that time is fixed, or
/// `Sat Nov 28 19:30:00 2026`.
fn shows_time(text: &[u8], fixed: bool) -> bool {
    const DATE: &[u8] = b"Aaa _0 0000";
    const TIME: &[u8] = b"00:00:00";
    const STAMP: &[u8] = b"Aaa Aaa _0 00:00:00 0000";
    let shapes: &[&[u8]] = if fixed { &[STAMP] } else { &[DATE, TIME] };
    shapes.iter().any(|shape| text.windows(shape.len()).any(|part| fits(part, shape)))
}

fn fits(text: &[u8], shape: &[u8]) -> bool {
    text.iter().zip(shape).all(|(byte, shape)| match shape {
        b'A' => byte.is_ascii_uppercase(),
        b'a' => byte.is_ascii_lowercase(),
        b'_' => *byte == b' ' || byte.is_ascii_digit(),
        b'0' => byte.is_ascii_digit(),
        exact => byte == exact,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_known_by_its_shape() {
        let shows = |text: &str| [false, true].map(|fixed| shows_time(text.as_bytes(), fixed));
        assert_eq!(shows("f(\"Nov 28 2026\")"), [true, false]);
        assert_eq!(shows("f(\"Nov  8 2026\")"), [true, false]);
        assert_eq!(shows("\"19:30:00\""), [true, false]);
        assert_eq!(shows("\"Sat Nov 28 19:30:00 2026\""), [true, true]);
        assert_eq!(shows("\"19:30\" \"Nov 28\" \"\" 19:3000"), [false, false]);
    }
}
