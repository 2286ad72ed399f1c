//! Names as numbers, so that they are compared and looked up at once.
#![deny(clippy::disallowed_methods)]

use bstr::{BStr, BString};
use hashbrown::HashTable;
use std::hash::BuildHasher as _;
use std::sync::{PoisonError, RwLock};

/// A name, a number or another text of a directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(u32);

/// The texts of all symbols. Those of a text stay the same while it lives. In parts, so that threads seldom wait for each other:
/// nearly each word of a header is looked up here.
#[derive(Debug)]
pub struct Symbols {
    parts: Vec<RwLock<Table>>,
    hasher: hashbrown::DefaultHashBuilder,
}

impl Default for Symbols {
    fn default() -> Self {
        let parts = std::iter::repeat_with(RwLock::default).take(PARTS).collect();
        Self { parts, hasher: hashbrown::DefaultHashBuilder::default() }
    }
}

const PARTS: usize = 256;

/// A part: the symbols whose number gives its index as the remainder.
#[derive(Debug, Default)]
struct Table {
    /// Indices of texts, by their hash.
    indices: HashTable<usize>,
    /// All texts, one after the other, and where each ends, with its hash.
    texts: Vec<u8>,
    ends: Vec<(usize, u64)>,
}

impl Table {
    fn text(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before].0);
        &self.texts[start..self.ends[index].0]
    }

    fn find(&self, hash: u64, text: &[u8]) -> Option<usize> {
        self.indices.find(hash, |index| self.text(*index) == text).copied()
    }

    fn add(&mut self, hash: u64, text: &[u8]) -> usize {
        if let Some(index) = self.find(hash, text) {
            return index;
        }
        let index = self.ends.len();
        self.texts.extend_from_slice(text);
        self.ends.push((self.texts.len(), hash));
        let Self { indices, ends, .. } = self;
        indices.insert_unique(hash, index, |index| ends[*index].1);
        index
    }
}

impl Symbols {
    /// The symbol of a text.
    pub fn of(&self, text: &[u8]) -> Symbol {
        let (part, hash) = self.part(text);
        let known = self.parts[part].read().unwrap_or_else(PoisonError::into_inner).find(hash, text);
        let index =
            known.unwrap_or_else(|| self.parts[part].write().unwrap_or_else(PoisonError::into_inner).add(hash, text));
        Symbol(u32::try_from(index * PARTS + part).expect("fewer than four thousand million names"))
    }

    /// The symbol of a text that has one.
    pub fn find(&self, text: &[u8]) -> Option<Symbol> {
        let (part, hash) = self.part(text);
        let index = self.parts[part].read().unwrap_or_else(PoisonError::into_inner).find(hash, text)?;
        Some(Symbol(u32::try_from(index * PARTS + part).expect("it was one")))
    }

    /// The text of a symbol.
    pub fn text(&self, symbol: Symbol) -> BString {
        let number = symbol.0 as usize;
        let table = self.parts[number % PARTS].read().unwrap_or_else(PoisonError::into_inner);
        BStr::new(table.text(number / PARTS)).to_owned()
    }

    fn part(&self, text: &[u8]) -> (usize, u64) {
        let hash = self.hasher.hash_one(text);
        ((hash % PARTS as u64) as usize, hash.rotate_left(32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_symbol() {
        let symbols = Symbols::default();
        let names: Vec<String> = (0..1000).map(|i| format!("name{i}")).collect();
        let first: Vec<Symbol> = names.iter().map(|name| symbols.of(name.as_bytes())).collect();
        let again: Vec<Symbol> = names.iter().map(|name| symbols.of(name.as_bytes())).collect();
        assert_eq!(first, again);
        assert_eq!(symbols.text(first[999]), "name999");
        assert_eq!(symbols.find(b"name1000"), None);
    }
}
