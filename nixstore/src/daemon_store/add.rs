//! Adding files to a daemon's store: their paths are known before, so only what is not there is sent, all in one exchange.

use super::DaemonStore;
use crate::daemon::DaemonError;
use crate::daemon::framed::{Contents, Stream};
use crate::daemon::operation::{AddMultipleToStore, AddToStoreNar, Import};
use crate::path::StoreName;
use crate::store::StoreError;
use crate::{PathInfo, Sha256, StoreDir, nar};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is to be added.
pub(super) struct Source {
    pub info: PathInfo,
    bytes: Bytes,
}

/// Where its NAR comes from.
enum Bytes {
    File(PathBuf),
    Nar(Vec<u8>),
}

/// Reads files and says under which paths they are to be added.
pub(super) fn hash(store_dir: &StoreDir, sources: &[(StoreName, &Path)]) -> Result<Vec<Source>, StoreError> {
    let hash = |(name, file): &(StoreName, &Path)| {
        let (hash, size) =
            nar::nar_hash(file).map_err(|error| StoreError::new(format!("add `{}`", file.display()), error))?;
        Ok(Source { info: PathInfo::source(store_dir, name, hash, size), bytes: Bytes::File(file.to_path_buf()) })
    };
    sources.iter().map(hash).collect()
}

/// The same for one file whose bytes are at hand.
pub(super) fn file(store_dir: &StoreDir, name: &StoreName, contents: &[u8], executable: bool) -> Source {
    let mut archive = Vec::with_capacity(contents.len() + 256);
    nar::dump_file(contents, executable, &mut archive).expect("memory takes all bytes");
    let info = PathInfo::source(store_dir, name, Sha256::of(&archive), archive.len() as u64);
    Source { info, bytes: Bytes::Nar(archive) }
}

impl DaemonStore {
    /// Adds what is not there yet.
    pub(super) fn add_hashed(&self, sources: &[Source]) -> Result<(), DaemonError> {
        let new: Vec<&Source> = {
            let known = self.known.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            let new = sources.iter().filter(|source| !known.contains_key(&source.info.path));
            new.map(|source| (&source.info.path, source)).collect::<BTreeMap<_, _>>().into_values().collect()
        };
        if new.is_empty() {
            return Ok(());
        }
        let valid = self.pool.keep_and_find(&new.iter().map(|source| source.info.path.clone()).collect())?;
        let missing = new.iter().filter(|source| !valid.contains(&source.info.path)).copied();
        let missing: Vec<&Source> = missing.collect();
        if !missing.is_empty() {
            let mut streams: Vec<_> = missing.iter().map(|source| source.bytes.stream()).collect();
            let paths = missing.iter().zip(&mut streams);
            let paths = paths.map(|(source, stream)| Import { info: &source.info, nar: Contents::Stream(stream) });
            let (repair, without_signatures) = (false, false);
            let mut connection = self.pool.get()?;
            if self.is_before(2, 18) {
                let adds = paths.map(|path| AddToStoreNar { path, repair, without_signatures });
                connection.pipelined(adds, &mut |_| {})?;
            } else {
                let add = AddMultipleToStore { paths: paths.collect(), repair, without_signatures };
                connection.call(add, &mut |_| {})?;
            }
        }
        self.remember(new.into_iter().map(|source| &source.info));
        Ok(())
    }
}

impl Bytes {
    fn stream(&self) -> Box<Stream<'_>> {
        match self {
            Self::File(file) => Box::new(move |out| Ok(nar::dump(file, out)?)),
            Self::Nar(archive) => Box::new(move |out| Ok(out.write_all(archive)?)),
        }
    }
}
