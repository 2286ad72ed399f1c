//! What `ccwrap` makes of calls of real compilers: the same as they, and seldom more than once.

mod builder;
mod changes;
mod eviction;
mod faults;
mod jobserver;
mod newer;
mod options;
mod processes;
mod processors;
mod rust;
mod settings;
mod sharing;
mod terminal;
mod unusual;
mod users;
mod wrapped;
