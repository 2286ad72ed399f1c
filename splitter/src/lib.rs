//! From a build graph to derivations, one for each command, and back into the build directory.
//!
//! The way of one edge: [`graph`] → [`plan`] → [`discover`] → [`lower`] → [`drive`] → [`materialise`].

pub mod audit;
pub mod checkout;
pub mod compiler;
pub mod contents;
pub mod depfile;
pub mod discover;
pub mod drive;
pub mod graph;
pub mod head_start;
pub mod history;
pub mod host_tools;
pub mod identity;
pub mod jobserver;
pub mod linker;
pub mod lower;
pub mod materialise;
pub mod outside;
pub mod plan;
pub mod presence;
pub mod queue;
pub mod recipe;
pub mod response;
pub mod roots;
pub mod rustc;
pub mod scan;
pub mod shell;
pub mod showincludes;
pub mod state;
mod step;
pub mod toolchain;
