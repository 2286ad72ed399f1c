//! What the two programs of `ccwrap` share, so that they cannot differ in it: by what a call is known ([`call`]), how the file
//! of an entry is read ([`entry`]), and where the cache is ([`cache`]).
//!
//! The small program runs without a runtime of any language: there is no heap, and nobody to catch a panic. So nothing here
//! allocates, and nothing panics whatever it is given. Pure.

#![no_std]

pub mod cache;
pub mod call;
pub mod entry;

/// The name of the small program, which is called, and answers what an entry answers by looks alone.
pub const SMALL: &str = "ccwrap";

/// The name of the full program, which does everything else. It stands beside the small one.
pub const FULL: &str = "ccwrap-full";

/// Names under which we are called to say something, or with a compiler behind.
pub const OWN_NAMES: [&str; 3] = [SMALL, "ccache", FULL];

/// What the small program says where the full one does not stand beside it: by this text in it any copy of it is known.
pub const ALONE: &str = "`, which has to stand beside `ccwrap`";
