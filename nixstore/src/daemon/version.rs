//! Which protocol two sides agree on.
#![deny(clippy::disallowed_methods)]

use crate::StoreDir;
use std::collections::BTreeSet;
use std::fmt;

/// A version of the worker protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 1 in every Nix since 2006.
    pub major: u8,
    /// Grows with what a daemon can do, up to 38; since then there are features.
    pub minor: u8,
}

impl Version {
    /// The oldest that is spoken here: Nix 2.8's.
    pub const OLDEST: Self = Self { major: 1, minor: 34 };

    /// The newest that there is: Nix 2.24's and that of all since.
    pub const NEWEST: Self = Self { major: 1, minor: 38 };

    /// Since when a daemon says whether it trusts its client.
    pub(super) const TRUST: Self = Self { major: 1, minor: 35 };

    /// Since when the result of a build tells what processor time it took.
    pub(super) const PROCESSOR_TIMES: Self = Self { major: 1, minor: 37 };

    /// Since when there are features.
    pub(super) const FEATURES: Self = Self { major: 1, minor: 38 };

    /// As a number on the wire: the major version above the low byte, the minor one in it.
    pub(super) fn to_number(self) -> u64 {
        u64::from(self.major) << 8 | u64::from(self.minor)
    }

    /// Reads the number; `None` where it stands for no version.
    pub(super) fn from_number(number: u64) -> Option<Self> {
        Some(Self { major: u8::try_from(number >> 8).ok()?, minor: (number & 0xff) as u8 })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Something that a daemon can do and says so by name (since 1.38).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// Realisations are of an output of a derivation's path, and no longer of its hash (Nix 2.35).
    RealisationByPath,
}

impl Feature {
    /// All that are spoken here.
    pub const ALL: [Self; 1] = [Self::RealisationByPath];

    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RealisationByPath => "realisation-with-path-not-hash",
        }
    }

    /// The feature of this name, if it is one that is spoken here.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|feature| feature.as_str() == name)
    }
}

/// What a client says it speaks; the two sides then agree on what both do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// From [`Version::OLDEST`] to [`Version::NEWEST`].
    pub version: Version,
    /// Told to a daemon that speaks 1.38.
    pub features: BTreeSet<Feature>,
}

/// All that is spoken here.
impl Default for Offer {
    fn default() -> Self {
        Self { version: Version::NEWEST, features: Feature::ALL.into() }
    }
}

/// How the two sides of a connection speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialect {
    /// The older of the two versions.
    pub version: Version,
    /// Features that both sides have.
    pub features: BTreeSet<Feature>,
    /// What store paths begin with.
    pub store_dir: StoreDir,
}

impl Dialect {
    /// Whether realisations go by the paths of derivations ([`Feature::RealisationByPath`]).
    pub fn realisations_by_path(&self) -> bool {
        self.features.contains(&Feature::RealisationByPath)
    }
}
