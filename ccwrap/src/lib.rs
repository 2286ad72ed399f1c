//! One call of a compiler, answered as if the compiler had run: from an entry of the cache where all that it read is as it
//! was (a *hit*), else by the derivation that every front end makes of it (a *miss*), else by the compiler itself.
//!
//! The way of a call: [`raw`] → [`cache`] → [`entry`] → [`guard`] → [`hit`]; else [`who`] is meant ([`rustup`]) → [`settings`] →
//! [`arguments`] → [`call`] → [`miss`] → [`entry`]. A hit reads one file, looks at the files that are named there, and opens
//! neither store nor socket; nothing of the call need be understood for it. Most hits do not come here: the program `ccwrap`
//! answers them alone, and becomes `ccwrap-full`, which is made of this crate, for the rest.

pub mod arguments;
pub mod cache;
pub mod call;
pub mod clean;
pub mod command_line;
pub mod entry;
pub mod environment;
pub mod explain;
pub mod guard;
pub mod helper;
pub mod hit;
pub mod miss;
pub mod precompiled;
pub mod raw;
pub mod rustup;
pub mod settings;
pub mod statistics;
mod times;
pub mod who;
pub mod why;
