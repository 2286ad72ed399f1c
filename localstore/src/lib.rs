//! A Nix store without Nix: files and database laid out as Nix 2.34 does, and a builder.
//!
//! [`LocalStore`] is the store of machines where no Nix is installed, and the fast one where it is. Stock Nix opens it
//! with `--store 'local?root=…'`.

mod attributes;
mod builder;
mod choice;
pub mod collect;
pub mod database;
pub mod files;
pub mod info;
mod large_pages;
pub mod layout;
pub mod nix_builder;
mod obstacle;
pub mod pinned;
pub mod runner;
pub mod sandbox;
mod scratch;
mod session;
mod shell;
pub mod size;
pub mod store;
mod usage;
pub mod verify;

pub use choice::{Choice, ChoiceError, Unusable, cache, store_of};
pub use collect::{Evicted, default_limit, delete, evict, evict_paths, evict_unused_since, has_roots};
pub use database::is_damaged;
pub use info::Info;
pub use layout::{Layout, Place, Warning, default_root};
pub use pinned::Pin;
pub use size::Size;
pub use store::{Early, LocalStore, OpenError, Opening, Runner};
