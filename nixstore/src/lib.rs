//! What a Nix store keeps, and how to ask one for it: paths, hashes, derivations, archives, path infos and realisations.
//!
//! The formats are pure: bytes in, values out. Files are touched by [`nar`], which walks trees, and by
//! [`memory_store`]; [`daemon`] talks to a Nix daemon; [`store`] talks of other stores only as a trait. Nothing here
//! knows of build graphs.

pub mod aterm;
pub mod base32;
pub mod base64;
pub mod causes;
pub mod content_address;
pub mod daemon;
pub mod daemon_store;
pub mod derivation;
pub mod hash;
pub mod json;
pub mod manifest;
pub mod memory_store;
pub mod modulo;
pub mod nar;
pub mod path;
pub mod path_info;
pub mod placeholder;
pub mod realisation;
pub mod resolve;
pub mod rewrite;
pub mod scan;
pub mod store;
#[cfg(feature = "store-suite")]
pub mod store_suite;
pub mod store_url;
pub mod text;
pub mod tree;

pub use content_address::{ContentAddress, Method};
pub use daemon_store::DaemonStore;
pub use derivation::{Derivation, DerivationOutput, DerivedPath, ResolvedDerivation};
pub use hash::{Hash, Sha256};
pub use memory_store::MemoryStore;
pub use path::{OutputName, StoreDir, StorePath};
pub use path_info::PathInfo;
pub use placeholder::Placeholder;
pub use realisation::{DrvOutputId, Realisation};
pub use store::Store;
pub use tree::Tree;
