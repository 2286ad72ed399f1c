//! The parts of the ninja-compatible command that are worth testing by themselves.

mod file_tools;
pub mod logs;
pub mod manifest;
pub mod tools;

pub use file_tools::reason;
