//! A client of a Nix daemon: the worker protocol from 1.34 (Nix 2.8) to 1.38 with the features of Nix 2.35.
//!
//! [`wire`], [`framed`], [`message`], [`version`] and [`operation`] are pure: bytes in, values out, over any stream.

pub mod framed;
pub mod message;
pub mod operation;
mod refusal;
pub mod version;
pub mod wire;

pub use message::{Event, Listener};
pub use operation::Operation;
pub use refusal::Refusal;
pub use version::{Dialect, Feature, Offer, Version};
