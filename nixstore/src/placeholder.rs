//! Texts that stand in a derivation for outputs not built yet.
//!
//! Each is a slash and a whole SHA-256 in nixbase32, 53 characters; no store path looks like one. The builder replaces
//! those of its own outputs, resolving those of other derivations (Nix 2.34, `hashPlaceholder` and
//! `DownstreamPlaceholder`).

use crate::{OutputName, Sha256, StorePath, base32};
use std::fmt;

/// What stands for one output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Placeholder(Sha256);

impl Placeholder {
    /// How many bytes the text of each has.
    pub const LEN: usize = 1 + base32::encoded_len(32);

    /// An output in the derivation that makes it.
    pub fn own(output: &OutputName) -> Self {
        Self(Sha256::of(format!("nix-output:{output}")))
    }

    /// An output of the derivation at `drv` in one that needs it.
    pub fn upstream(drv: &StorePath, output: &OutputName) -> Self {
        let name = drv.derivation_name();
        let output = name.as_ref().unwrap_or(drv.name()).of_output(output);
        Self(Sha256::of(format!("nix-upstream-output:{}:{output}", drv.hash_part())))
    }

    /// An output of the derivation that `self` stands for, which is itself an output of another.
    pub fn dynamic(&self, output: &OutputName) -> Self {
        let producer = base32::encode(&self.0.compress::<20>());
        Self(Sha256::of(format!("nix-computed-output:{producer}:{output}")))
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0.nix32())
    }
}
