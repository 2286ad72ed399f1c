//! Finds what a unit of C, C++, Objective-C or preprocessed assembler includes, without a compiler. Pure: what it knows of
//! files it is told by [`Files`].
//!
//! The preprocessor is followed as far as directives go: [`lex`] reads those of a file once, [`walk`] goes through the
//! files of a unit with the macros that are defined there. What cannot be known (whether the compiler has an attribute, the
//! value of a macro that may or may not be defined) makes both arms of a conditional be gone through, so that what comes
//! out is never too little. Where a name itself cannot be known, the answer says that it is incomplete.
//!
//! The rules are those of ISO C 6.10 and of the GCC 12 manual, "The C Preprocessor".
#![deny(clippy::disallowed_methods)]

pub mod evaluate;
pub mod lex;
pub mod macros;
pub mod options;
mod rare;
pub mod search;
pub mod symbol;
pub mod times;
pub mod token;
pub mod walk;

pub use lex::Lexed;
pub use search::Search;
pub use symbol::{Symbol, Symbols};
pub use walk::{Scanned, Unit, scan};

use bstr::BStr;
use std::sync::Arc;

/// What lies at a path.
#[derive(Debug, Clone)]
pub enum There {
    /// A file, and its directives.
    File(Arc<Lexed>),
    /// Something that is no file, such as a directory.
    Other,
    /// Nothing.
    Nothing,
}

/// What lies on the disk.
pub trait Files {
    /// What is at a path.
    fn read(&self, path: &BStr) -> There;
}
