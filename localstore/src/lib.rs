//! The embedded Nix store for machines without Nix: its files and database, its sandbox, and the runner that works
//! inside a build. The only crate with `unsafe`.

pub mod runner;
