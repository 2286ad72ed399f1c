//! The ninja-compatible command.
fn main() {}
