//! What a store knows of a valid path, and its text form in binary caches.
#![deny(clippy::disallowed_methods)]

use crate::path::StoreName;
use crate::{ContentAddress, Hash, Sha256, StoreDir, StorePath};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The registered facts of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathInfo {
    /// Which path.
    pub path: StorePath,
    /// Hash of its NAR.
    pub nar_hash: Sha256,
    /// Size of its NAR in bytes.
    pub nar_size: u64,
    /// The paths that are named in it; itself too, if so.
    pub references: BTreeSet<StorePath>,
    /// The derivation that made it, which need not exist.
    pub deriver: Option<StorePath>,
    /// Set if the path is named after its content.
    pub ca: Option<ContentAddress>,
    /// Made by this store's own builder.
    pub ultimate: bool,
    /// `key:base64` each.
    pub signatures: BTreeSet<String>,
    /// Seconds since 1970.
    pub registration_time: u64,
}

impl PathInfo {
    /// Of a path that names no other, by its NAR's hash and size in bytes.
    pub fn source(store_dir: &StoreDir, name: &StoreName, nar_hash: Sha256, nar_size: u64) -> Self {
        Self {
            path: store_dir.source_path(name, &nar_hash, &BTreeSet::new(), false),
            nar_hash,
            nar_size,
            references: BTreeSet::new(),
            deriver: None,
            ca: Some(ContentAddress::nar(nar_hash)),
            ultimate: false,
            signatures: BTreeSet::new(),
            registration_time: 0,
        }
    }

    /// The text that its signatures sign (Nix 2.34, `ValidPathInfo::fingerprint`).
    pub fn fingerprint(&self, store_dir: &StoreDir) -> String {
        let references: Vec<_> = self.references.iter().map(|path| store_dir.print(path)).collect();
        let path = store_dir.print(&self.path);
        format!("1;{path};sha256:{};{};{}", self.nar_hash.nix32(), self.nar_size, references.join(","))
    }
}

/// What a binary cache says of a path, in the file `<hash part>.narinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NarInfo {
    /// The facts; a cache knows no `ultimate` and no registration time.
    pub info: PathInfo,
    /// Where the archive is, relative to the cache.
    pub url: String,
    /// How it is compressed: `none`, `xz`, `zstd` and the like.
    pub compression: String,
    /// Hash of the compressed archive.
    pub file_hash: Option<Hash>,
    /// Its size in bytes.
    pub file_size: Option<u64>,
}

impl NarInfo {
    /// The text of the file (Nix 2.34, `NarInfo::to_string`).
    pub fn to_text(&self, store_dir: &StoreDir) -> String {
        let info = &self.info;
        let mut text = String::new();
        let mut line = |key: &str, value: &str| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{key}: {value}");
        };
        line("StorePath", &store_dir.print(&info.path));
        line("URL", &self.url);
        line("Compression", &self.compression);
        if let Some(hash) = &self.file_hash {
            line("FileHash", &hash.to_string());
        }
        if let Some(size) = self.file_size {
            line("FileSize", &size.to_string());
        }
        line("NarHash", &Hash::Sha256(info.nar_hash).to_string());
        line("NarSize", &info.nar_size.to_string());
        let references: Vec<_> = info.references.iter().map(StorePath::to_string).collect();
        line("References", &references.join(" "));
        if let Some(deriver) = &info.deriver {
            line("Deriver", &deriver.to_string());
        }
        for signature in &info.signatures {
            line("Sig", signature);
        }
        if let Some(ca) = &info.ca {
            line("CA", &ca.to_string());
        }
        text
    }

    /// Reads the text of the file. Keys that it does not know are passed over.
    ///
    /// # Errors
    /// [`InvalidNarInfo`] where a line is not of the form `Key: value`, or a value is missing, given twice or wrong.
    pub fn parse(store_dir: &StoreDir, text: &str) -> Result<Self, InvalidNarInfo> {
        let mut fields = Fields::default();
        for (i, line) in text.lines().enumerate() {
            let (key, value) = line.split_once(':').ok_or(InvalidNarInfo::Line(i + 1))?;
            fields.set(store_dir, key, value.strip_prefix(' ').unwrap_or(value)).ok_or(InvalidNarInfo::Line(i + 1))?;
        }
        let missing = InvalidNarInfo::Missing;
        Ok(Self {
            info: PathInfo {
                path: fields.path.ok_or(missing("StorePath"))?,
                nar_hash: fields.nar_hash.ok_or(missing("NarHash"))?,
                nar_size: fields.nar_size.ok_or(missing("NarSize"))?,
                references: fields.references.unwrap_or_default(),
                deriver: fields.deriver,
                ca: fields.ca,
                ultimate: false,
                signatures: fields.signatures,
                registration_time: 0,
            },
            url: fields.url.ok_or(missing("URL"))?,
            // As in Nix: caches of old did not say it.
            compression: fields.compression.unwrap_or_else(|| "bzip2".into()),
            file_hash: fields.file_hash,
            file_size: fields.file_size,
        })
    }
}

/// The text is no narinfo file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNarInfo {
    /// This line, counted from 1, cannot be read.
    #[error("line {0} of a narinfo file is not well-formed")]
    Line(usize),
    /// A value that must be there.
    #[error("a narinfo file has no `{0}`")]
    Missing(&'static str),
}

/// The values of a narinfo file as they come.
#[derive(Default)]
struct Fields {
    path: Option<StorePath>,
    url: Option<String>,
    compression: Option<String>,
    file_hash: Option<Hash>,
    file_size: Option<u64>,
    nar_hash: Option<Sha256>,
    nar_size: Option<u64>,
    references: Option<BTreeSet<StorePath>>,
    deriver: Option<StorePath>,
    signatures: BTreeSet<String>,
    ca: Option<ContentAddress>,
}

impl Fields {
    /// Takes one line; `None` where its value is wrong or was there before.
    fn set(&mut self, store_dir: &StoreDir, key: &str, value: &str) -> Option<()> {
        fn once<T>(field: &mut Option<T>, value: T) -> Option<()> {
            field.replace(value).is_none().then_some(())
        }
        match key {
            "StorePath" => once(&mut self.path, store_dir.parse(value).ok()?),
            "URL" => once(&mut self.url, value.to_owned()),
            "Compression" => once(&mut self.compression, value.to_owned()),
            "FileHash" => once(&mut self.file_hash, value.parse().ok()?),
            "FileSize" => once(&mut self.file_size, value.parse().ok()?),
            "NarHash" => match value.parse().ok()? {
                Hash::Sha256(hash) => once(&mut self.nar_hash, hash),
                _ => None,
            },
            "NarSize" => once(&mut self.nar_size, value.parse().ok()?),
            "References" => {
                let paths = value.split_ascii_whitespace().map(|path| path.parse().ok());
                once(&mut self.references, paths.collect::<Option<_>>()?)
            }
            "Deriver" if value == "unknown-deriver" => Some(()),
            "Deriver" => once(&mut self.deriver, value.parse().ok()?),
            "Sig" => {
                self.signatures.insert(value.to_owned());
                Some(())
            }
            "CA" => once(&mut self.ca, value.parse().ok()?),
            _ => Some(()),
        }
    }
}
