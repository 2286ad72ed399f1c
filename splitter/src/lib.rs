//! From a build graph to derivations, one for each command, and back into the build directory.
//!
//! The way of one edge: [`graph`] → `plan` → `discover` → `lower` → `drive` → `materialise`.

pub mod depfile;
pub mod graph;
pub mod toolchain;
