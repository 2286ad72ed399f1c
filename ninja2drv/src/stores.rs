//! The store that a run uses, whichever it is: opened, with the runner in it, and what is to be done with it at the end.

use crate::options::{Options, Wish};
use crate::report::say;
use crate::warn;
use localstore::Unusable;
use localstore::sandbox::SandboxError;
use localstore::{Choice, Evicted, LocalStore, Size};
use nixstore::causes::with_causes;
use nixstore::daemon_store::{Address, DaemonOptions, DaemonStore, Way};
use nixstore::{Store, StorePath};
use splitter::drive::{Error, Sandbox};
use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open store.
pub struct Opened {
    pub store: Arc<dyn Store>,
    /// The builder of every edge, in the store.
    pub runner: StorePath,
    /// What commands see of the host.
    pub sandbox: Sandbox,
    /// Where the identities of snapshots are remembered.
    pub own: PathBuf,
    /// Where snapshots are made, on the file system of the store if that is here.
    pub scratch: PathBuf,
    kind: Kind,
}

enum Kind {
    Embedded(Arc<LocalStore>, PathBuf),
    Daemon(Arc<DaemonStore>),
}

impl Opened {
    /// Opens the store of a choice.
    pub fn open(choice: &Choice, options: &Options, jobs: usize) -> Result<Self, Error> {
        let runner = env::current_exe()?.with_file_name(localstore::runner::NAME);
        match choice {
            Choice::Embedded(root) => embedded(root, options, &runner),
            Choice::Daemon { address, way, shown } => {
                daemon(address, shown, options.realise.or(*way), options, jobs, &runner)
            }
        }
    }

    /// Says more of it than where it is.
    pub fn tell(&self) {
        if let Kind::Daemon(store) = &self.kind {
            say!("ninja2drv: store: Nix {}, edges are realised by way `{}`", store.nix_version(), store.way());
        }
    }

    /// Keeps what the build has made for the next run: makes an embedded store smaller if it is too large, and gives a
    /// daemon a root. The build is done: what goes wrong now is only told.
    pub fn end(self, outputs: &BTreeSet<StorePath>, own: &Path, options: &Options) {
        let Self { store, kind, .. } = self;
        drop(store);
        match kind {
            Kind::Embedded(store, root) => {
                let size = store.size_at_most();
                drop(store);
                let limit = options.store_limit.map_or_else(|| localstore::default_limit(&root), |limit| Ok(limit.0));
                match (limit, size) {
                    (Ok(limit), Ok(size)) if size > limit => {
                        keep_within(&root, limit, outputs, options.debugs("explain"))
                    }
                    (Ok(_), Ok(_)) => {}
                    (Err(error), _) => tell_unlimited(&error),
                    (_, Err(error)) => tell_unlimited(&error),
                }
            }
            Kind::Daemon(store) => {
                // The daemon is somewhere else, and would not see where a relative one leads.
                let link = options.keep.as_ref().map_or_else(|| Ok(own.join("outputs")), std::path::absolute);
                let kept = link.map_err(Error::from).and_then(|link| Ok(store.keep(&link, outputs)?));
                if let Err(error) = kept {
                    let error = with_causes(&*error);
                    eprintln!("ninja2drv: warning: the next garbage collection may take what was built: {error}");
                }
            }
        }
    }
}

fn tell_unlimited(error: &(dyn std::error::Error + 'static)) {
    eprintln!("ninja2drv: warning: the store has no limit: {}", with_causes(error));
}

fn embedded(root: &Path, options: &Options, runner: &Path) -> Result<Opened, Error> {
    let store = Arc::new(LocalStore::open(root)?);
    warn(store.warnings().iter());
    let runner = store.install_runner(runner)?;
    Ok(Opened {
        sandbox: sandbox(options.sandbox, &store)?,
        own: store.layout().own(),
        scratch: store.scratch()?,
        runner,
        kind: Kind::Embedded(store.clone(), root.into()),
        store,
    })
}

fn daemon(
    address: &Address,
    shown: &str,
    way: Option<Way>,
    options: &Options,
    jobs: usize,
    runner: &Path,
) -> Result<Opened, Error> {
    if options.sandbox == Wish::Off {
        return Err("`--sandbox=off` is for the embedded store; a daemon decides itself how it isolates".into());
    }
    let own = localstore::cache(&|name: &str| env::var_os(name))
        .ok_or("neither XDG_CACHE_HOME nor HOME is an absolute path")?;
    let scratch = own.join("scratch");
    std::fs::create_dir_all(&scratch).map_err(|e| format!("cannot make `{}`: {e}", scratch.display()))?;
    let connecting = DaemonOptions { way, connections: jobs + 1, ..DaemonOptions::default() };
    let unusable = |error| Unusable { shown: shown.into(), error };
    let store = Arc::new(DaemonStore::open(address.clone(), connecting).map_err(unusable)?);
    let name = localstore::runner::NAME.parse().expect("a valid name");
    let runner = store.add_path(&name, runner)?.path;
    Ok(Opened { runner, sandbox: Sandbox::Root, own, scratch, kind: Kind::Daemon(store.clone()), store })
}

/// Whether commands run in a sandbox; asked once, and not by every edge.
fn sandbox(wish: Wish, store: &LocalStore) -> Result<Sandbox, Error> {
    let refused = match (wish, store.probe()) {
        (Wish::Auto | Wish::On, Ok(())) => return Ok(Sandbox::Root),
        (Wish::Off, _) => None,
        (Wish::Auto, Err(error @ SandboxError::Refused { .. })) => Some(error),
        (Wish::Auto | Wish::On, Err(error)) => return Err(error.into()),
    };
    if let Some(error) = refused {
        eprintln!("ninja2drv: warning: commands run where they are, traced, and their results are kept apart: {error}");
    }
    store.run_in_place();
    Ok(Sandbox::None)
}

/// Makes the store smaller, which is above its limit. A tenth is left free, so that not every run has to.
fn keep_within(root: &Path, limit: u64, outputs: &BTreeSet<StorePath>, verbose: bool) {
    let outputs: Vec<StorePath> = outputs.iter().cloned().collect();
    // What an up-to-date step made is in use too, though the store was not asked for it.
    let used = LocalStore::open(root).map_err(Error::from).and_then(|store| Ok(store.path_infos(&outputs)?));
    if let Err(error) = used {
        return eprintln!("ninja2drv: warning: the store could not be made smaller: {error}");
    }
    match localstore::evict(root, limit - limit / 10) {
        Ok(Evicted::Deleted { paths, bytes, left }) => {
            let (limit, left, bytes) = (Size(limit), Size(left), Size(bytes));
            eprintln!("ninja2drv: store: above its limit of {limit}: deleted {paths} paths, {bytes}; {left} left");
        }
        Ok(Evicted::InUse) if verbose => {
            eprintln!("ninja2drv: store: above its limit of {}, but in use by another build", Size(limit));
        }
        Ok(Evicted::InUse | Evicted::WithinLimit) => {}
        Err(error) => eprintln!("ninja2drv: warning: the store could not be made smaller: {error}"),
    }
}
