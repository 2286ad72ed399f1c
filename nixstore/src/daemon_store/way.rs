//! How the edges of a build are realised by a daemon, as far as it allows.

use crate::content_address::Method;
use crate::daemon::framed::Contents;
use crate::daemon::operation::AddToStore;
use crate::daemon::{DaemonError, Pool};
use crate::derivation::DerivationOutput;
use crate::hash::Algorithm;
use crate::{Derivation, OutputName, Placeholder, StoreDir};
use std::collections::{BTreeMap, BTreeSet};
use std::{fmt, str::FromStr};

/// One of three ways to realise a floating derivation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Without experimental features: built under paths that follow from its inputs, and added again under those that
    /// follow from the content, which go on.
    Stock,
    /// By the feature `ca-derivations`: as it is.
    ContentAddressed,
    /// Inside of a derivation, by the feature `recursive-nix`: as it is, its file being in the store.
    Recursive,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stock => "stock",
            Self::ContentAddressed => "ca",
            Self::Recursive => "recursive",
        })
    }
}

impl FromStr for Way {
    type Err = UnknownWay;

    fn from_str(text: &str) -> Result<Self, UnknownWay> {
        [Self::Stock, Self::ContentAddressed, Self::Recursive]
            .into_iter()
            .find(|way| way.to_string() == text)
            .ok_or_else(|| UnknownWay(text.into()))
    }
}

/// The text names no way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no way to realise an edge: `stock`, `ca` and `recursive` are")]
pub struct UnknownWay(pub String);

/// Whether the daemon has the feature `ca-derivations`. It does not tell, but takes the file of a floating derivation only
/// if it does.
pub(super) fn has_content_addressed(pool: &Pool, store_dir: &StoreDir) -> Result<bool, DaemonError> {
    let derivation = probe();
    let file = AddToStore {
        name: &derivation.name.of_derivation(),
        method: Method::Text,
        algorithm: Algorithm::Sha256,
        references: &BTreeSet::new(),
        repair: false,
        contents: Contents::Bytes(&derivation.to_aterm(store_dir)),
    };
    match pool.get()?.call(file, &mut |_| {}) {
        Ok(_) => Ok(true),
        Err(DaemonError::Refused { refusal, .. }) if refusal.message.contains("ca-derivations") => Ok(false),
        Err(error) => Err(error),
    }
}

/// A derivation that is never built.
fn probe() -> Derivation {
    let out: OutputName = "out".parse().expect("a valid name");
    let floating = DerivationOutput::Floating { method: Method::Nar, algorithm: Algorithm::Sha256 };
    Derivation {
        name: "splitter-probe".parse().expect("a valid name"),
        env: BTreeMap::from([
            ("name".into(), "splitter-probe".into()),
            ("out".into(), Placeholder::own(&out).to_string().into()),
        ]),
        outputs: BTreeMap::from([(out, floating)]),
        input_drvs: BTreeMap::new(),
        input_srcs: BTreeSet::new(),
        system: "x86_64-linux".into(),
        builder: "/bin/false".into(),
        args: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_named_as_it_is_shown() {
        for way in [Way::Stock, Way::ContentAddressed, Way::Recursive] {
            assert_eq!(way.to_string().parse(), Ok(way));
        }
        assert!("dynamic".parse::<Way>().unwrap_err().to_string().contains("`stock`, `ca` and `recursive`"));
    }
}
