//! What the front ends share, between their `main` and the splitter: the store that a user names, opened with the runner in
//! it ([`Opened`]), and what a run finds around it ([`places`]). Knows no build file and no command line.

mod opened;
pub mod places;
mod probed;

pub use opened::{End, Expected, Opened, Want, early};
pub use splitter::drive::Error;

/// When commands run in a sandbox, as the user wishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Where the host allows it.
    #[default]
    Auto,
    /// Always: where the host refuses it, nothing runs.
    On,
    /// Never.
    Off,
}

/// Says something to the user: a phrase without the name of the command.
pub type Tell<'a> = &'a dyn Fn(&str);
