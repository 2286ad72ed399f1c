//! The record that an output of a derivation has become a certain path (Nix 2.4 to 2.34).
#![deny(clippy::disallowed_methods)]

use crate::hash::{Algorithm, Hash};
use crate::json::{JsonError, Node};
use crate::{OutputName, Sha256, StorePath};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::{fmt, str::FromStr};

/// Which output: the derivation's hash modulo, and the output's name. As text `sha256:<hex>!<name>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DrvOutputId {
    /// `hash modulo` of the derivation, its own outputs masked.
    pub drv_hash: Sha256,
    /// The output.
    pub output: OutputName,
}

impl fmt::Display for DrvOutputId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}!{}", self.drv_hash.hex(), self.output)
    }
}

/// Reads the hash in any base.
impl FromStr for DrvOutputId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId(text.into());
        let (hash, output) = text.split_once('!').ok_or_else(invalid)?;
        let digits = hash.strip_prefix("sha256:").ok_or_else(invalid)?;
        match (Hash::parse_bare(Algorithm::Sha256, digits), output.parse()) {
            (Ok(Hash::Sha256(drv_hash)), Ok(output)) => Ok(Self { drv_hash, output }),
            _ => Err(invalid()),
        }
    }
}

/// What an output came out as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realisation {
    /// Which output.
    pub id: DrvOutputId,
    /// Where it is.
    pub path: StorePath,
    /// `key:base64` each.
    pub signatures: BTreeSet<String>,
    /// Realisations of the inputs; written by Nix before 2.32 or so, empty after.
    pub dependent: BTreeMap<DrvOutputId, StorePath>,
}

impl Realisation {
    /// A realisation that nobody has signed.
    pub fn new(id: DrvOutputId, path: StorePath) -> Self {
        Self { id, path, signatures: BTreeSet::new(), dependent: BTreeMap::new() }
    }

    /// Its JSON form, as Nix writes it: keys sorted, no spaces.
    pub fn to_json(&self) -> String {
        let mut json = self.signed_part();
        json.insert("signatures".into(), self.signatures.iter().cloned().collect());
        Value::Object(json).to_string()
    }

    /// The text that its signatures sign: the JSON form without them.
    pub fn fingerprint(&self) -> String {
        Value::Object(self.signed_part()).to_string()
    }

    /// Reads the JSON form.
    ///
    /// # Errors
    /// [`InvalidRealisation`] where the text is not JSON, a key is missing, or a value is not what stands there.
    pub fn from_json(text: &str) -> Result<Self, InvalidRealisation> {
        let json: Value = serde_json::from_str(text)?;
        let json = Node::root(&json);
        let signatures = match json.optional("signatures") {
            None => BTreeSet::new(),
            Some(all) => all.items()?.map(|one| one.str().map(str::to_owned)).collect::<Result<_, JsonError>>()?,
        };
        let dependent = match json.optional("dependentRealisations") {
            None => BTreeMap::new(),
            Some(all) => all
                .entries()?
                .map(|(id, path)| Ok((path.parse_key(id, "an output of a derivation")?, path.parse("a store path")?)))
                .collect::<Result<_, JsonError>>()?,
        };
        Ok(Self {
            id: json.key("id")?.parse("an output of a derivation")?,
            path: json.key("outPath")?.parse("a store path")?,
            signatures,
            dependent,
        })
    }

    fn signed_part(&self) -> Map<String, Value> {
        let dependent: Map<_, _> =
            self.dependent.iter().map(|(id, path)| (id.to_string(), path.to_string().into())).collect();
        Map::from_iter([
            ("dependentRealisations".to_owned(), dependent.into()),
            ("id".to_owned(), self.id.to_string().into()),
            ("outPath".to_owned(), self.path.to_string().into()),
        ])
    }
}

/// The text names no output of a derivation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an output of a derivation such as `sha256:…!out`")]
pub struct InvalidId(pub String);

/// The text is no realisation.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRealisation {
    /// It is not even JSON.
    #[error("a realisation is not JSON")]
    Syntax(#[from] serde_json::Error),
    /// It is other JSON.
    #[error(transparent)]
    Content(#[from] JsonError),
}
