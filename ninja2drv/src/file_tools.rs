//! The tools of ninja's `-t` that look at files and change them: outputs, and the logs. What they print, remove and leave
//! is as by Ninja 1.13.2.

mod clean;
mod deps;
mod disk;
mod dyndeps;
mod missing_deps;
mod opened;
mod restat;

pub use clean::{clean, clean_dead};
pub use deps::deps;
pub use disk::reason;
pub use missing_deps::missing_deps;
pub use opened::recompact;
pub use restat::restat;
