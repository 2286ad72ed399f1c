//! Derivations as JSON, version 4: what `nix derivation show` writes and `nix derivation add` reads.
//!
//! Store paths are without the store directory, and structured attributes stand beside the environment. JSON holds no
//! bytes that are not UTF-8; the `.drv` text does.
#![deny(clippy::disallowed_methods)]

use crate::derivation::{DerivationOutput, InputOutputs};
use crate::hash::Algorithm;
use crate::{ContentAddress, Derivation, Hash, Method, StorePath};
use bstr::{BStr, BString, ByteSlice as _};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

impl Derivation {
    /// Its JSON form. Written compactly it is what Nix writes, as its keys are sorted.
    ///
    /// # Errors
    /// [`JsonError::NotUtf8`] where builder, arguments or environment are not text, [`JsonError::StructuredAttributes`]
    /// where those are no JSON object.
    pub fn to_json(&self) -> Result<Value, JsonError> {
        let mut env = Map::new();
        let mut structured = None;
        for (key, value) in &self.env {
            if key == STRUCTURED {
                let attributes: Map<String, Value> =
                    serde_json::from_slice(value).map_err(|_| JsonError::StructuredAttributes)?;
                structured = Some(attributes);
            } else {
                env.insert(text(key)?.to_owned(), text(value)?.into());
            }
        }
        let args: Vec<Value> = self.args.iter().map(|arg| Ok(text(arg)?.into())).collect::<Result<_, JsonError>>()?;
        let outputs: Map<_, _> =
            self.outputs.iter().map(|(name, output)| (name.to_string(), output_to_json(output))).collect();
        let drvs: Map<_, _> =
            self.input_drvs.iter().map(|(path, needed)| (path.to_string(), needed_to_json(needed))).collect();
        let srcs: Vec<_> = self.input_srcs.iter().map(StorePath::to_string).collect();
        let mut json = json!({
            "name": self.name.as_str(),
            "version": VERSION,
            "system": self.system,
            "builder": text(&self.builder)?,
            "args": args,
            "env": env,
            "inputs": { "srcs": srcs, "drvs": drvs },
            "outputs": outputs,
        });
        if let Some(attributes) = structured {
            json["structuredAttrs"] = attributes.into();
        }
        Ok(json)
    }

    /// Reads the JSON form.
    ///
    /// # Errors
    /// [`JsonError`] where a key is missing, or a value is not what stands there.
    pub fn from_json(json: &Value) -> Result<Self, JsonError> {
        let drv = Node::root(json);
        if *drv.key("version")?.value != VERSION {
            return Err(drv.key("version")?.wrong("4, the only version that is known"));
        }
        let inputs = drv.key("inputs")?;
        let mut env: BTreeMap<BString, BString> = drv
            .key("env")?
            .entries()?
            .map(|(key, value)| Ok((key.into(), value.str()?.into())))
            .collect::<Result<_, JsonError>>()?;
        if let Some(attributes) = drv.optional("structuredAttrs") {
            if !attributes.value.is_object() {
                return Err(attributes.wrong("an object"));
            }
            env.insert(STRUCTURED.into(), attributes.value.to_string().into());
        }
        Ok(Self {
            name: drv.key("name")?.parse("a name")?,
            outputs: drv
                .key("outputs")?
                .entries()?
                .map(|(name, output)| Ok((output.parse_key(name, "an output name")?, output_from_json(&output)?)))
                .collect::<Result<_, JsonError>>()?,
            input_drvs: inputs
                .key("drvs")?
                .entries()?
                .map(|(path, needed)| Ok((needed.parse_key(path, "a store path")?, needed_from_json(&needed)?)))
                .collect::<Result<_, JsonError>>()?,
            input_srcs: inputs
                .key("srcs")?
                .items()?
                .map(|path| path.parse("a store path"))
                .collect::<Result<_, _>>()?,
            system: drv.key("system")?.str()?.into(),
            builder: drv.key("builder")?.str()?.into(),
            args: drv.key("args")?.items()?.map(|arg| Ok(arg.str()?.into())).collect::<Result<_, JsonError>>()?,
            env,
        })
    }
}

/// The derivation has no JSON form, or the JSON is no derivation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// JSON cannot hold it.
    #[error("`{0}` is not UTF-8")]
    NotUtf8(BString),
    /// The variable `__json` holds something else than a JSON object.
    #[error("the structured attributes are not a JSON object")]
    StructuredAttributes,
    /// A value is missing or of another form.
    #[error("`{place}` is not {what}")]
    Wrong {
        /// Where, as keys from the outside in: `/inputs/drvs`.
        place: String,
        /// What is to stand there.
        what: &'static str,
    },
}

/// The version of the form.
const VERSION: u64 = 4;

/// The environment variable that holds structured attributes.
const STRUCTURED: &str = "__json";

fn text(bytes: &BString) -> Result<&str, JsonError> {
    bytes.to_str().map_err(|_| JsonError::NotUtf8(BStr::new(bytes).to_owned()))
}

fn output_to_json(output: &DerivationOutput) -> Value {
    match output {
        DerivationOutput::InputAddressed(path) => json!({ "path": path.to_string() }),
        DerivationOutput::Deferred => json!({}),
        DerivationOutput::Fixed(ca) => json!({ "method": ca.method.as_str(), "hash": ca.hash.sri() }),
        DerivationOutput::Floating { method, algorithm } => {
            json!({ "method": method.as_str(), "hashAlgo": algorithm.as_str() })
        }
        DerivationOutput::Impure { method, algorithm } => {
            json!({ "method": method.as_str(), "hashAlgo": algorithm.as_str(), "impure": true })
        }
    }
}

fn output_from_json(output: &Node<'_>) -> Result<DerivationOutput, JsonError> {
    let method = || output.key("method")?.parse::<Method>("a way to hash files");
    let algorithm = || output.key("hashAlgo")?.parse::<Algorithm>("a hash algorithm");
    let keys: Vec<&str> = output.entries()?.map(|(key, _)| key).collect();
    match keys.as_slice() {
        [] => Ok(DerivationOutput::Deferred),
        ["path"] => Ok(DerivationOutput::InputAddressed(output.key("path")?.parse("a store path")?)),
        ["hash", "method"] => {
            let hash: Hash = output.key("hash")?.parse("a hash")?;
            Ok(DerivationOutput::Fixed(ContentAddress { method: method()?, hash }))
        }
        ["hashAlgo", "method"] => Ok(DerivationOutput::Floating { method: method()?, algorithm: algorithm()? }),
        ["hashAlgo", "impure", "method"] => Ok(DerivationOutput::Impure { method: method()?, algorithm: algorithm()? }),
        _ => Err(output.wrong("an output of a known kind")),
    }
}

fn needed_to_json(needed: &InputOutputs) -> Value {
    let outputs: Vec<_> = needed.outputs.iter().map(|output| output.as_str()).collect();
    let dynamic: Map<_, _> =
        needed.dynamic.iter().map(|(output, needed)| (output.to_string(), needed_to_json(needed))).collect();
    json!({ "outputs": outputs, "dynamicOutputs": dynamic })
}

fn needed_from_json(needed: &Node<'_>) -> Result<InputOutputs, JsonError> {
    Ok(InputOutputs {
        outputs: needed
            .key("outputs")?
            .items()?
            .map(|output| output.parse("an output name"))
            .collect::<Result<_, _>>()?,
        dynamic: needed
            .key("dynamicOutputs")?
            .entries()?
            .map(|(output, needed)| Ok((needed.parse_key(output, "an output name")?, needed_from_json(&needed)?)))
            .collect::<Result<_, JsonError>>()?,
    })
}

/// A value and where it stands.
pub(crate) struct Node<'a> {
    pub(crate) value: &'a Value,
    place: String,
}

impl<'a> Node<'a> {
    pub(crate) fn root(value: &'a Value) -> Self {
        Self { value, place: String::new() }
    }

    pub(crate) fn key(&self, key: &str) -> Result<Self, JsonError> {
        self.optional(key).ok_or_else(|| self.below(key, &Value::Null).wrong("there"))
    }

    pub(crate) fn optional(&self, key: &str) -> Option<Self> {
        Some(self.below(key, self.value.get(key)?))
    }

    /// The entries of an object, sorted by key.
    pub(crate) fn entries(&self) -> Result<impl Iterator<Item = (&'a str, Self)>, JsonError> {
        let object = self.value.as_object().ok_or_else(|| self.wrong("an object"))?;
        let mut entries: Vec<_> = object.iter().map(|(key, value)| (key.as_str(), self.below(key, value))).collect();
        entries.sort_by_key(|(key, _)| *key);
        Ok(entries.into_iter())
    }

    pub(crate) fn items(&self) -> Result<impl Iterator<Item = Self>, JsonError> {
        let array = self.value.as_array().ok_or_else(|| self.wrong("an array"))?;
        let items: Vec<_> = array.iter().enumerate().map(|(i, value)| self.below(i, value)).collect();
        Ok(items.into_iter())
    }

    pub(crate) fn str(&self) -> Result<&'a str, JsonError> {
        self.value.as_str().ok_or_else(|| self.wrong("a text"))
    }

    pub(crate) fn parse<T: FromStr>(&self, what: &'static str) -> Result<T, JsonError> {
        self.str()?.parse().map_err(|_| self.wrong(what))
    }

    pub(crate) fn parse_key<T: FromStr>(&self, key: &str, what: &'static str) -> Result<T, JsonError> {
        key.parse().map_err(|_| self.wrong(what))
    }

    pub(crate) fn wrong(&self, what: &'static str) -> JsonError {
        JsonError::Wrong { place: self.place.clone(), what }
    }

    fn below<'b>(&self, key: impl Display, value: &'b Value) -> Node<'b> {
        Node { value, place: format!("{}/{key}", self.place) }
    }
}
