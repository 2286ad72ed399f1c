//! What a daemon can be asked for: one type for each operation, which writes its request and reads its reply (Nix 2.34,
//! `daemon.cc`, `performOp`).
#![deny(clippy::disallowed_methods)]

mod add;
mod build;
mod build_result;
mod collect;
mod fetch;
mod options;
mod query;
mod realised;
mod roots;

pub use add::{AddMultipleToStore, AddToStore, AddToStoreNar, Import};
pub use build::{BuildDerivation, BuildMode, BuildPaths, BuildPathsWithResults, EnsurePath, Outputs, Wanted};
pub use build_result::{BuildResult, Status};
pub use collect::{CollectGarbage, Collected, Collection};
pub use fetch::NarFromPath;
pub use options::SetOptions;
pub use query::{IsValidPath, Missing, QueryDerivationOutputMap, QueryMissing, QueryPathInfo, QueryValidPaths};
pub use realised::{QueryRealisation, Realised, RegisterDrvOutput};
pub use roots::{AddIndirectRoot, AddPermRoot, AddTempRoot, FindRoots, Root};

use super::version::Dialect;
use super::wire::{Decoder, Encoder, WireError};

/// Something to ask a daemon for.
pub trait Operation {
    /// What it answers.
    type Reply;

    /// What Nix calls it, for messages.
    const NAME: &'static str;

    /// How the request begins.
    const NUMBER: u64;

    /// The same for one of several kinds.
    fn number(&self) -> u64 {
        Self::NUMBER
    }

    /// Whether this can be said at all to a daemon that speaks so.
    ///
    /// # Errors
    /// What is missing, as a phrase.
    fn supported(&self, _dialect: &Dialect) -> Result<(), &'static str> {
        Ok(())
    }

    /// Writes the request, without its number.
    ///
    /// # Errors
    /// [`WireError`] where the connection fails, or contents that the caller gives cannot be read.
    fn write(&mut self, out: &mut Encoder<'_>) -> Result<(), WireError>;

    /// Reads the reply.
    ///
    /// # Errors
    /// [`WireError`] where the connection fails, or what comes is not the reply to this.
    fn read(self, input: &mut Decoder<'_>) -> Result<Self::Reply, WireError>;
}
