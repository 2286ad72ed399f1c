//! What `ccwrap` makes of calls of real compilers: the same as they, and seldom more than once.

mod changes;
mod faults;
mod options;
mod processes;
mod rust;
mod sharing;
