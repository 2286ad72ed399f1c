//! What names a content-addressed path: how its content is hashed, and the hash; and the paths that follow from names.
#![deny(clippy::disallowed_methods)]

use crate::hash::{Algorithm, InvalidHash, UnknownAlgorithm};
use crate::path::StoreName;
use crate::{Hash, OutputName, Sha256, StoreDir, StorePath};
use std::collections::BTreeSet;
use std::{fmt, str::FromStr};

/// How the files of a path are turned into the bytes that are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// The bytes of a single, non-executable file.
    Flat,
    /// The NAR of any tree.
    Nar,
    /// The bytes of a single file that may name other paths: derivation files and `builtins.toFile`.
    Text,
    /// Git's own tree hash.
    Git,
}

impl Method {
    /// Its name in JSON: `flat`, `nar`, `text`, `git`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Nar => "nar",
            Self::Text => "text",
            Self::Git => "git",
        }
    }

    /// What stands before the algorithm in a derivation: nothing, `r:`, `text:`, `git:`.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Flat => "",
            Self::Nar => "r:",
            Self::Text => "text:",
            Self::Git => "git:",
        }
    }

    /// Method and algorithm as a derivation states them: `r:sha256`.
    pub fn in_derivation(self, algorithm: Algorithm) -> String {
        format!("{}{algorithm}", self.prefix())
    }

    /// Method and algorithm as a `ca` string begins and as a daemon takes them: `fixed:r:sha256`, `text:sha256`.
    pub fn in_content_address(self, algorithm: Algorithm) -> String {
        let family = if self == Self::Text { "" } else { "fixed:" };
        format!("{family}{}{algorithm}", self.prefix())
    }

    /// Reads what [`Method::in_derivation`] writes.
    ///
    /// # Errors
    /// [`UnknownAlgorithm`] where what follows the prefix is none.
    pub fn parse_in_derivation(text: &str) -> Result<(Self, Algorithm), UnknownAlgorithm> {
        let (method, algorithm) = [Self::Nar, Self::Text, Self::Git]
            .into_iter()
            .find_map(|method| Some((method, text.strip_prefix(method.prefix())?)))
            .unwrap_or((Self::Flat, text));
        Ok((method, algorithm.parse()?))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads [`Method::as_str`], and `recursive`, the older name of `nar`.
impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(text: &str) -> Result<Self, UnknownMethod> {
        match text {
            "flat" => Ok(Self::Flat),
            "nar" | "recursive" => Ok(Self::Nar),
            "text" => Ok(Self::Text),
            "git" => Ok(Self::Git),
            _ => Err(UnknownMethod(text.into())),
        }
    }
}

/// The `ca` of a path info. As text `fixed:r:sha256:<nix32>`, `text:sha256:<nix32>` and the like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentAddress {
    /// How the content was hashed.
    pub method: Method,
    /// The hash.
    pub hash: Hash,
}

impl ContentAddress {
    /// The content address of every output that this project makes and of every source that it adds.
    pub fn nar(hash: Sha256) -> Self {
        Self { method: Method::Nar, hash: Hash::Sha256(hash) }
    }

    /// The content address of a derivation file: the hash of its bytes.
    pub fn text(hash: Sha256) -> Self {
        Self { method: Method::Text, hash: Hash::Sha256(hash) }
    }
}

impl fmt::Display for ContentAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.method.in_content_address(self.hash.algorithm()), self.hash.nix32())
    }
}

impl FromStr for ContentAddress {
    type Err = InvalidContentAddress;

    fn from_str(text: &str) -> Result<Self, InvalidContentAddress> {
        let unknown = || InvalidContentAddress::Form(text.into());
        let (family, rest) = text.split_once(':').ok_or_else(unknown)?;
        let (method, rest) = match family {
            "text" => (Method::Text, rest),
            "fixed" => [Method::Nar, Method::Git]
                .into_iter()
                .find_map(|method| Some((method, rest.strip_prefix(method.prefix())?)))
                .unwrap_or((Method::Flat, rest)),
            _ => return Err(unknown()),
        };
        let (algorithm, digits) = rest.split_once(':').ok_or_else(unknown)?;
        let hash = Hash::parse_bare(algorithm.parse()?, digits)?;
        if method == Method::Text && hash.algorithm() != Algorithm::Sha256 {
            return Err(InvalidContentAddress::TextIsSha256(text.into()));
        }
        Ok(Self { method, hash })
    }
}

/// The paths of content-addressed objects and of outputs (Nix 2.34, `StoreDirConfig::makeFixedOutputPathFromCA` and its
/// neighbours).
impl StoreDir {
    /// The path of a file that is named by its bytes and the paths it names: derivation files, `builtins.toFile`.
    pub fn text_path(&self, name: &StoreName, contents: &Sha256, references: &BTreeSet<StorePath>) -> StorePath {
        self.make_path(&self.kind_with_references("text", references, false), contents, name)
    }

    /// The path of a tree that is named by the SHA-256 of its NAR and the paths it names. Where it names itself, the
    /// hash is one modulo itself ([`crate::rewrite::HashModulo`]), and `references` is without it.
    pub fn source_path(
        &self,
        name: &StoreName,
        nar: &Sha256,
        references: &BTreeSet<StorePath>,
        names_itself: bool,
    ) -> StorePath {
        self.make_path(&self.kind_with_references("source", references, names_itself), nar, name)
    }

    /// The path of an object without references.
    pub fn fixed_path(&self, name: &StoreName, ca: &ContentAddress) -> StorePath {
        match (ca.method, &ca.hash) {
            (Method::Text, Hash::Sha256(hash)) => self.text_path(name, hash, &BTreeSet::new()),
            (Method::Nar, Hash::Sha256(hash)) => self.source_path(name, hash, &BTreeSet::new(), false),
            (method, hash) => {
                let content = format!("fixed:out:{}:{}:", method.in_derivation(hash.algorithm()), hash.hex());
                self.make_path("output:out", &Sha256::of(content), name)
            }
        }
    }

    /// The path of any content-addressed object; `references` is without the path itself.
    ///
    /// # Errors
    /// [`InvalidReferences`] where this kind of object cannot have them: only `text` and `r:sha256` can, and only
    /// `r:sha256` can name itself.
    pub fn path_of(
        &self,
        name: &StoreName,
        ca: &ContentAddress,
        references: &BTreeSet<StorePath>,
        names_itself: bool,
    ) -> Result<StorePath, InvalidReferences> {
        match (ca.method, &ca.hash) {
            (Method::Nar, Hash::Sha256(hash)) => Ok(self.source_path(name, hash, references, names_itself)),
            (Method::Text, Hash::Sha256(hash)) if !names_itself => Ok(self.text_path(name, hash, references)),
            _ if references.is_empty() && !names_itself => Ok(self.fixed_path(name, ca)),
            _ => Err(InvalidReferences { ca: ca.clone(), names_itself }),
        }
    }

    /// The path of an input-addressed output: `modulo` is the masked hash of the derivation
    /// ([`crate::modulo`]), `drv_name` the derivation's name.
    pub fn output_path(&self, drv_name: &StoreName, output: &OutputName, modulo: &Sha256) -> StorePath {
        self.make_path(&format!("output:{output}"), modulo, &drv_name.of_output(output))
    }

    /// Where a floating output is built before its content is known. `drv` is the path of the derivation, whose name
    /// is `drv_name` (Nix 2.34, `makeFallbackPath`).
    pub fn scratch_path(&self, drv: &StorePath, drv_name: &StoreName, output: &OutputName) -> StorePath {
        self.make_path(&format!("rewrite:{drv}:name:{output}"), &Sha256([0; 32]), &drv_name.of_output(output))
    }

    fn kind_with_references(&self, kind: &str, references: &BTreeSet<StorePath>, names_itself: bool) -> String {
        let mut text = kind.to_owned();
        for reference in references {
            text.push(':');
            text.push_str(&self.print(reference));
        }
        if names_itself {
            text.push_str(":self");
        }
        text
    }
}

/// The text names no way to hash files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not one of the methods flat, nar, text, git")]
pub struct UnknownMethod(pub String);

/// The text is no content address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidContentAddress {
    /// It does not begin as one, or ends too early.
    #[error("`{0}` is not a content address such as `fixed:r:sha256:…`")]
    Form(String),
    /// Text is only ever hashed by SHA-256.
    #[error("`{0}` is not a content address: text is hashed by sha256")]
    TextIsSha256(String),
    /// Its algorithm.
    #[error(transparent)]
    Algorithm(#[from] UnknownAlgorithm),
    /// Its hash.
    #[error(transparent)]
    Hash(#[from] InvalidHash),
}

/// The references do not go with the way an object is hashed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a path with the content address `{ca}` cannot name {}", if *.names_itself { "itself" } else { "other paths" })]
pub struct InvalidReferences {
    /// How the object is hashed.
    pub ca: ContentAddress,
    /// Whether it names itself.
    pub names_itself: bool,
}
