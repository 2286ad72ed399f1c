//! The host's tools as content-addressed store paths.

pub mod alternatives;
pub mod dpkg;
pub mod driver;
pub mod elf;
pub mod follow;
pub mod host;
pub mod listing;
pub mod loader_cache;
pub mod program;
pub mod seed;
pub mod selection;
pub mod snapshot;
pub mod stamp;
pub mod walk;
