//! A Nix daemon as a store: any from Nix 2.8 on, with experimental features and without.
//!
//! Derivations are resolved here and submitted one at a time, each on a connection of its own: a daemon that is given a
//! graph needs time that grows with its square (Nix 2.34). What was seen valid is protected from collection as long as the
//! store is open, so it is remembered.
//!
//! Where real daemons differ from what one would think (seen with Nix 2.8, 2.26 and 2.34), and what is done about it:
//!
//! - Many derivations in one request cost time and memory by the square (2.34): there is one in each request.
//! - Where a derivation's file is in the store, each build asks a program for other machines (18 ms): it is not put there,
//!   but for a client that is not trusted and inside of a derivation.
//! - The first connection after a while reads the database's journal again (54 ms): the pool keeps one open.
//! - A client of 2.34 may register any realisation, trusted or not. Who shares a daemon with people whom they do not trust
//!   uses [`Way::Stock`], in which an output by inputs is only valid if the daemon built it. Nothing is registered from here.
//! - To ask the daemon inside of a derivation for a realisation that was not made there ends the daemon (2.34): what was
//!   built there is remembered here, and nothing is asked.
//! - The name of a derivation is not hashed, so that of two with equal text one has outputs with the other's name: it is a
//!   part of every edge's manifest.
//! - An output that names itself is hashed otherwise before 2.17: so it is added again to such a daemon
//!   (`an_output_may_name_itself` in the suite of stores).
//! - Structured attributes are written anew before a derivation is hashed (2.32 and later): a manifest has the text that
//!   comes out of that.
//! - 2.8 tells a builder the place of its structured attributes outside of the sandbox: the runner looks inside, too.
//! - The build directory differs from build to build without a sandbox: commands never see it, as the runner makes a root.
//! - Paths sent together must come after those that they name: sources name none, outputs are added one by one.
//! - 2.8 does not read over the files of a path that has become valid meanwhile, and takes them for the next path's facts:
//!   to a daemon before 2.18 paths are sent in requests of their own.
//! - Hundreds of requests under way, whose replies nobody reads, stop both sides: there are at most
//!   [`WINDOW`](crate::daemon::WINDOW).
//! - A dozen messages of progress come with each build: they are read over without being kept.
//! - A cache may hold what nobody has signed: nothing is got from caches, and what is added is named by its content and
//!   needs no signature.
//! - Times of builds are 0: they are taken here.
//! - From 2.35 on realisations go by the path of the derivation: both are spoken.
//! - `nix-store --export` loses content addresses, `QueryMissing` and hashes modulo overlook dynamic derivations, and the
//!   placeholder of an output is replaced in texts that a builder writes: none of these is used.

mod add;
mod build;
mod by_inputs;
mod failure;
mod keep;
mod place;
mod way;

pub use place::{Address, Place};
pub use way::Way;

use crate::daemon::operation::{QueryRealisation, SetOptions};
use crate::daemon::{ConnectionOptions, DaemonError, Pool, Trust};
use crate::path::StoreName;
use crate::store::{BuildOptions, Built, Outputs, RealiseError, StoreError};
use crate::{PathInfo, ResolvedDerivation, Store, StoreDir, StorePath};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError, RwLock};

/// An open store.
pub struct DaemonStore {
    pool: Pool,
    store_dir: StoreDir,
    place: Place,
    way: Way,
    nix_version: String,
    trust: Trust,
    /// The daemon has refused a derivation that is not in the store, as it does not trust this client.
    needs_files: AtomicBool,
    /// What is valid, and stays so; with the facts of those for which the daemon was asked.
    known: RwLock<HashMap<StorePath, Option<PathInfo>>>,
    /// What was built inside of a derivation, by the derivation's path: its daemon must not be asked.
    built: Mutex<HashMap<StorePath, Outputs>>,
}

/// How a daemon is to be used.
#[derive(Debug, Clone, Default)]
pub struct DaemonOptions {
    /// How edges are realised; none to take what the daemon offers.
    pub way: Option<Way>,
    /// How many builds, and other requests, at once; at least 1.
    pub connections: usize,
    /// How long to wait.
    pub connection: ConnectionOptions,
}

impl DaemonStore {
    /// Connects to a daemon.
    ///
    /// # Errors
    /// [`DaemonError`] where there is none, it is too old, or it does not offer the way that is asked for.
    pub fn open(address: Address, options: DaemonOptions) -> Result<Self, DaemonError> {
        let first = address.connect(&options.connection)?;
        let (nix_version, trust) = (first.nix_version().to_owned(), first.trust());
        drop(first);
        let place = address.place();
        let (connection, store_dir) = (options.connection.clone(), options.connection.store_dir);
        let pool = Pool::open(options.connections, SetOptions::default(), move || address.connect(&connection))?;
        let way = match options.way {
            Some(Way::ContentAddressed) if !way::has_content_addressed(&pool, &store_dir)? => {
                return Err(DaemonError::Unsupported {
                    operation: "BuildDerivation",
                    reason: "the experimental feature `ca-derivations` is not enabled; add it to `experimental-features` in \
                             the daemon's nix.conf, or leave out the way",
                });
            }
            Some(way) => way,
            None if way::has_content_addressed(&pool, &store_dir)? => Way::ContentAddressed,
            None => Way::Stock,
        };
        Ok(Self {
            pool,
            store_dir,
            place,
            way,
            nix_version,
            trust,
            needs_files: AtomicBool::new(way == Way::Recursive || trust == Trust::NotTrusted && way == Way::Stock),
            known: RwLock::default(),
            built: Mutex::default(),
        })
    }

    /// How edges are realised.
    pub fn way(&self) -> Way {
        self.way
    }

    /// The daemon's Nix, such as `2.34.8`.
    pub fn nix_version(&self) -> &str {
        &self.nix_version
    }

    /// Whether the daemon trusts this client.
    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// Whether the daemon's Nix is older than a version; it is not if it does not say.
    fn is_before(&self, major: u32, minor: u32) -> bool {
        let mut numbers = self.nix_version.split('.').map_while(|part| part.parse::<u32>().ok());
        let version = (numbers.next(), numbers.next());
        version.0.is_some() && version < (Some(major), Some(minor))
    }

    /// What is known of `paths`, and of those not known what the daemon says.
    fn infos(&self, paths: &[StorePath]) -> Result<Vec<Option<PathInfo>>, DaemonError> {
        let mut infos: Vec<Option<PathInfo>> = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            paths.iter().map(|path| known.get(path).cloned().flatten()).collect()
        };
        let missing: Vec<usize> = (0..paths.len()).filter(|&index| infos[index].is_none()).collect();
        if !missing.is_empty() {
            let wanted: Vec<StorePath> = missing.iter().map(|&index| paths[index].clone()).collect();
            let found = self.pool.keep_and_query(&wanted)?;
            for (index, info) in missing.into_iter().zip(found) {
                infos[index] = info;
            }
            self.remember(infos.iter().flatten());
        }
        Ok(infos)
    }

    fn remember<'a>(&self, infos: impl Iterator<Item = &'a PathInfo>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.extend(infos.map(|info| (info.path.clone(), Some(info.clone()))));
    }

    /// Of `paths`, those that are not valid.
    fn invalid(&self, paths: impl Iterator<Item = StorePath>) -> Result<BTreeSet<StorePath>, DaemonError> {
        let mut unknown: BTreeSet<StorePath> = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            paths.filter(|path| !known.contains_key(path)).collect()
        };
        if !unknown.is_empty() {
            let valid = self.pool.keep_and_find(&unknown)?;
            unknown.retain(|path| !valid.contains(path));
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            for path in valid {
                known.entry(path).or_default();
            }
        }
        Ok(unknown)
    }

    /// What floating derivations have come out as, by the daemon's own record.
    fn by_realisations(&self, derivations: &[ResolvedDerivation]) -> Result<Vec<Option<Outputs>>, DaemonError> {
        let asked = derivations.iter().map(|one| (one.path(&self.store_dir), one.output_ids(&self.store_dir)));
        let asked: Vec<_> = asked.collect();
        let queries = asked
            .iter()
            .flat_map(|(path, ids)| ids.values().map(move |id| QueryRealisation { id, derivation: Some(path) }));
        let mut found = self.pool.get()?.pipelined(queries, &mut |_| {})?.into_iter();
        let outputs = asked.iter().map(|(_, ids)| {
            // Each takes as many answers as it has outputs, whether or not there is one to each.
            let found: Vec<_> = found.by_ref().take(ids.len()).collect();
            ids.keys().zip(found).map(|(name, found)| Some((name.clone(), found?.path))).collect()
        });
        let outputs = outputs.collect();
        self.if_valid(outputs)
    }

    /// Of the outputs of derivations those that are all valid.
    fn if_valid(&self, outputs: Vec<Option<Outputs>>) -> Result<Vec<Option<Outputs>>, DaemonError> {
        let invalid = self.invalid(outputs.iter().flatten().flat_map(Outputs::values).cloned())?;
        let is_valid = |outputs: &Outputs| !outputs.values().any(|path| invalid.contains(path));
        Ok(outputs.into_iter().map(|outputs| outputs.filter(is_valid)).collect())
    }

    fn came_out_as(&self, derivations: &[ResolvedDerivation]) -> Result<Vec<Option<Outputs>>, DaemonError> {
        match self.way {
            Way::ContentAddressed => self.by_realisations(derivations),
            Way::Stock => self.by_inputs(derivations),
            Way::Recursive => {
                let built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(derivations.iter().map(|one| built.get(&one.path(&self.store_dir)).cloned()).collect())
            }
        }
    }
}

impl Store for DaemonStore {
    fn store_dir(&self) -> &StoreDir {
        &self.store_dir
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn add_path(&self, name: &StoreName, source: &Path) -> Result<PathInfo, StoreError> {
        let mut added = self.add_paths(&[(name.clone(), source)])?;
        Ok(added.remove(0))
    }

    fn add_paths(&self, sources: &[(StoreName, &Path)]) -> Result<Vec<PathInfo>, StoreError> {
        let hashed = add::hash(&self.store_dir, sources)?;
        self.add_hashed(&hashed).map_err(told("add files"))?;
        Ok(hashed.into_iter().map(|source| source.info).collect())
    }

    fn add_file(&self, name: &StoreName, contents: &[u8], executable: bool) -> Result<PathInfo, StoreError> {
        let source = add::file(&self.store_dir, name, contents, executable);
        self.add_hashed(std::slice::from_ref(&source)).map_err(told(format!("add `{name}`")))?;
        Ok(source.info)
    }

    fn path_infos(&self, paths: &[StorePath]) -> Result<Vec<Option<PathInfo>>, StoreError> {
        self.infos(paths).map_err(told("look up paths"))
    }

    fn valid_paths(&self, paths: &[StorePath]) -> Result<BTreeSet<StorePath>, StoreError> {
        let invalid = self.invalid(paths.iter().cloned()).map_err(told("look up paths"))?;
        Ok(paths.iter().filter(|path| !invalid.contains(path)).cloned().collect())
    }

    fn realised(&self, derivation: &ResolvedDerivation) -> Result<Option<Outputs>, StoreError> {
        let mut found = self
            .came_out_as(std::slice::from_ref(derivation))
            .map_err(told(format!("look up what `{}` has come out as", derivation.get().name)))?;
        Ok(found.pop().flatten())
    }

    fn all_realised(&self, derivations: &[ResolvedDerivation]) -> Result<Vec<Option<Outputs>>, StoreError> {
        self.came_out_as(derivations).map_err(told("look up what derivations have come out as"))
    }

    fn realise(&self, derivation: &ResolvedDerivation, options: &BuildOptions<'_>) -> Result<Built, RealiseError> {
        self.build(derivation, options)
    }

    fn files(&self, path: &StorePath) -> Result<PathBuf, StoreError> {
        self.place.files(&self.pool, &self.store_dir, path)
    }
}

/// An error of a daemon while it was asked for `operation`; with what can be done about it.
fn told(operation: impl Into<String>) -> impl FnOnce(DaemonError) -> StoreError {
    |error| StoreError::new(operation, WithHint(error))
}

/// An error of a daemon, and what a user can do.
#[derive(Debug)]
struct WithHint(DaemonError);

impl std::fmt::Display for WithHint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        self.0.hint().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

impl std::error::Error for WithHint {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.0)
    }
}
