//! Paths, each with a number, in the order in which they came.
#![deny(clippy::disallowed_methods)]

use bstr::{BStr, BString, ByteSlice as _};
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher as _;

/// Keeps each path once, and finds its number.
#[derive(Debug, Clone, Default)]
pub struct Paths {
    paths: Vec<BString>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Paths {
    /// How many there are; numbers are below that.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    pub fn at(&self, number: u32) -> &BStr {
        self.paths[number as usize].as_bstr()
    }

    /// All, in the order of their numbers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &BStr> {
        self.paths.iter().map(|path| path.as_bstr())
    }

    pub fn find(&self, path: &BStr) -> Option<u32> {
        self.table.find(self.hasher.hash_one(path), |number| self.at(*number) == path).copied()
    }

    /// The number of a path, a new one if it had none.
    pub fn add(&mut self, path: &BStr) -> u32 {
        if let Some(number) = self.find(path) {
            return number;
        }
        let number = u32::try_from(self.paths.len()).expect("fewer than 2^32 paths");
        self.paths.push(path.to_owned());
        let Self { paths, table, hasher } = self;
        let hash = |number: &u32| hasher.hash_one(paths[*number as usize].as_bstr());
        table.insert_unique(hasher.hash_one(path), number, hash);
        number
    }
}
