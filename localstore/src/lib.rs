//! A Nix store without Nix: files and database laid out as Nix 2.34 does, and a builder.
//!
//! [`LocalStore`] is the store of machines where no Nix is installed, and the fast one where it is. Stock Nix opens it
//! with `--store 'local?root=…'`.

mod attributes;
mod builder;
pub mod collect;
pub mod database;
pub mod files;
pub mod layout;
mod obstacle;
pub mod runner;
pub mod sandbox;
mod scratch;
mod session;
mod shell;
pub mod store;
mod usage;
pub mod verify;

pub use collect::{Evicted, default_limit, delete, evict};
pub use layout::{Layout, Warning, default_root};
pub use store::{LocalStore, OpenError, Runner};
