//! What the two programs of `ccwrap` share, so that they cannot differ in it: by what a call is known ([`call`]), how the file
//! of an entry is read ([`entry`]), and where the cache is ([`cache`]).
//!
//! The small program runs without a runtime of any language: there is no heap, and nobody to catch a panic. So nothing here
//! allocates, and nothing panics whatever it is given. Pure.

#![no_std]

pub mod cache;
pub mod call;
pub mod entry;
