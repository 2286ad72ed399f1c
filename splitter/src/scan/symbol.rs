//! Names as numbers, so that they are compared and looked up at once.
#![deny(clippy::disallowed_methods)]

use bstr::{BStr, BString};
use hashbrown::HashTable;
use std::hash::BuildHasher as _;
use std::sync::{PoisonError, RwLock};

/// A name, a number or another text of a directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(u32);

/// The texts of all symbols. Those of a text stay the same while it lives.
#[derive(Debug, Default)]
pub struct Symbols(RwLock<Table>);

#[derive(Debug, Default)]
struct Table {
    numbers: HashTable<u32>,
    /// All texts, one after the other, and where each ends.
    texts: Vec<u8>,
    ends: Vec<usize>,
    hasher: hashbrown::DefaultHashBuilder,
}

impl Table {
    fn text(&self, number: u32) -> &[u8] {
        let i = number as usize;
        let start = i.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.texts[start..self.ends[i]]
    }

    fn find(&self, text: &[u8]) -> Option<Symbol> {
        let hash = self.hasher.hash_one(text);
        self.numbers.find(hash, |number| self.text(*number) == text).map(|number| Symbol(*number))
    }

    fn add(&mut self, text: &[u8]) -> Symbol {
        if let Some(symbol) = self.find(text) {
            return symbol;
        }
        let number = u32::try_from(self.ends.len()).expect("fewer than four thousand million names");
        self.texts.extend_from_slice(text);
        self.ends.push(self.texts.len());
        let Self { numbers, texts, ends, hasher } = self;
        let hash_of = |number: &u32| {
            let i = *number as usize;
            hasher.hash_one(&texts[i.checked_sub(1).map_or(0, |before| ends[before])..ends[i]])
        };
        numbers.insert_unique(hash_of(&number), number, hash_of);
        Symbol(number)
    }
}

impl Symbols {
    /// The symbol of a text.
    pub fn of(&self, text: &[u8]) -> Symbol {
        if let Some(symbol) = self.0.read().unwrap_or_else(PoisonError::into_inner).find(text) {
            return symbol;
        }
        self.0.write().unwrap_or_else(PoisonError::into_inner).add(text)
    }

    /// The symbol of a text that has one.
    pub fn find(&self, text: &[u8]) -> Option<Symbol> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).find(text)
    }

    /// The text of a symbol.
    pub fn text(&self, symbol: Symbol) -> BString {
        BStr::new(self.0.read().unwrap_or_else(PoisonError::into_inner).text(symbol.0)).to_owned()
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
