//! A Nix store without Nix: files and database laid out as Nix 2.34 does, and a builder.
//!
//! [`LocalStore`] is the store of machines where no Nix is installed, and the fast one where it is. Stock Nix opens it
//! with `--store 'local?root=…'`.

pub mod collect;
pub mod database;
pub mod files;
pub mod layout;
mod session;
mod usage;

pub use layout::{Layout, Warning, default_root};
