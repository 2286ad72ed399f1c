//! The store that a run uses, whichever it is: opened, with the runner in it, and what is to be done with it at the end.

use crate::{Isolation, Tell, probed};
use localstore::Unusable;
use localstore::runner::Network;
use localstore::sandbox::SandboxError;
use localstore::{Choice, Early, Evicted, Layout, LocalStore, Opening, Size};
use nixstore::causes::with_causes;
use nixstore::daemon_store::{Address, DaemonOptions, DaemonStore, Way};
use nixstore::manifest::HeadStart;
use nixstore::{Store, StorePath};
use splitter::drive::{Error, Sandbox};
use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// An open store.
pub struct Opened {
    /// The store.
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

/// How a store is to be used.
#[derive(Clone, Copy, Default)]
pub struct Want<'a> {
    /// When commands run in a sandbox.
    pub isolation: Isolation,
    /// How a daemon realises edges, if not as it offers.
    pub way: Option<Way>,
    /// How many edges at once.
    pub jobs: usize,
    /// An edge that is to be realised at once, probably: what can be made ready for it begins meanwhile.
    pub expected: Option<Expected<'a>>,
}

/// What is known of an edge before the store is open.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    /// Its network.
    pub network: Network,
    /// The sandbox that was begun for it, if it was, by [`early`].
    pub early: &'a Mutex<Option<Early>>,
    /// Its head start, if it can have one; what it makes of what is remembered in a directory.
    pub start: &'a dyn Fn(&Path) -> Option<HeadStart>,
}

/// What is to be kept of a store when a run has ended.
pub struct End<'a> {
    /// What an embedded store may take; by default what its disk allows.
    pub limit: Option<Size>,
    /// The link that is a daemon's root, if there is to be one.
    pub keep: Option<PathBuf>,
    /// What is in use though this run did not ask the store for it, and when it was used last; asked for where it matters.
    pub outputs: &'a dyn Fn() -> BTreeMap<StorePath, SystemTime>,
    /// Whether to tell of what was not needed.
    pub verbose: bool,
}

impl Opened {
    /// Opens the store of a choice. The runner lies beside the program that runs.
    ///
    /// # Errors
    /// Where the store cannot be opened, or no command could be run as it is wished.
    pub fn open(choice: &Choice, want: &Want<'_>, tell: Tell<'_>) -> Result<Self, Error> {
        let runner = env::current_exe()?.with_file_name(localstore::runner::NAME);
        match choice {
            Choice::Embedded(root) => embedded(root, want, &runner, tell),
            Choice::Daemon { address, way, shown } => {
                let want = Want { way: want.way.or(*way), ..*want };
                daemon(address, shown, &want, &runner)
            }
        }
    }

    /// More of a store than where it is, for the user; none of the embedded one.
    pub fn about(&self) -> Option<String> {
        match &self.kind {
            Kind::Embedded(..) => None,
            Kind::Daemon(store) => {
                Some(format!("store: Nix {}, edges are realised by way `{}`", store.nix_version(), store.way()))
            }
        }
    }

    /// Does now what is to be done anyway when an edge has been realised, such as while it runs.
    pub fn get_ready(&self) {
        if let Kind::Embedded(store, _) = &self.kind {
            store.get_ready();
        }
    }

    /// Keeps what the build has made for the next run: makes an embedded store smaller if it is too large, and gives a
    /// daemon a root. The build is done: what goes wrong now is only told.
    pub fn end(self, end: &End<'_>, tell: Tell<'_>) {
        let Self { store, kind, .. } = self;
        drop(store);
        match kind {
            Kind::Embedded(store, root) => {
                let size = store.size_at_most();
                drop(store);
                let limit = end.limit.map_or_else(|| localstore::default_limit(&root), |limit| Ok(limit.0));
                match (limit, size) {
                    (Ok(limit), Ok(size)) if size > limit => keep_within(&root, limit, end, tell),
                    (Ok(_), Ok(_)) => {}
                    (Err(error), _) => tell_unlimited(&error, tell),
                    (_, Err(error)) => tell_unlimited(&error, tell),
                }
            }
            Kind::Daemon(store) => {
                let Some(link) = &end.keep else { return };
                // The daemon is somewhere else, and would not see where a relative one leads.
                let link = std::path::absolute(link).map_err(Error::from);
                if let Err(error) = link.and_then(|link| Ok(store.keep(&link, &(end.outputs)().into_keys().collect())?))
                {
                    let error = with_causes(&*error);
                    tell(&format!("warning: the next garbage collection may take what was built: {error}"));
                }
            }
        }
    }
}

/// Begins a sandbox for an edge that is to be realised at once in the store of a choice, where sandboxes were granted before.
pub fn early(choice: &Choice, isolation: Isolation, network: Network) -> Option<Early> {
    let Choice::Embedded(root) = choice else { return None };
    let layout = Layout::new(root);
    let is_granted = isolation != Isolation::Off && probed::was_granted(&layout);
    is_granted.then(|| Early::begin(&layout, network)).flatten()
}

fn tell_unlimited(error: &(dyn std::error::Error + 'static), tell: Tell<'_>) {
    tell(&format!("warning: the store has no limit: {}", with_causes(error)));
}

fn embedded(root: &Path, want: &Want<'_>, runner: &Path, tell: Tell<'_>) -> Result<Opened, Error> {
    let mut opening = Opening::begin(root)?;
    if let Some(Expected { network, early, start }) = want.expected
        && want.isolation != Isolation::Off
        && probed::was_granted(opening.layout())
    {
        let start = start(&opening.layout().own());
        match early.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(early) => opening.expect_edge_in(early, start),
            None => opening.expect_edge(runner, network, start),
        }
    }
    let store = Arc::new(opening.finish()?);
    store.warnings().iter().for_each(|warning| tell(&format!("warning: {warning}")));
    let runner = store.install_runner(runner)?;
    Ok(Opened {
        sandbox: sandbox(want.isolation, &store, tell)?,
        own: store.layout().own(),
        scratch: store.scratch()?,
        runner,
        kind: Kind::Embedded(store.clone(), root.into()),
        store,
    })
}

fn daemon(address: &Address, shown: &str, want: &Want<'_>, runner: &Path) -> Result<Opened, Error> {
    if want.isolation == Isolation::Off {
        return Err("`--sandbox=off` is for the embedded store; a daemon decides itself how it isolates".into());
    }
    let own = localstore::cache(&|name: &str| env::var_os(name))
        .ok_or("neither XDG_CACHE_HOME nor HOME is an absolute path")?;
    let scratch = own.join("scratch");
    std::fs::create_dir_all(&scratch).map_err(|e| format!("cannot make `{}`: {e}", scratch.display()))?;
    let connecting = DaemonOptions { way: want.way, connections: want.jobs + 1, ..DaemonOptions::default() };
    let unusable = |error| Unusable { shown: shown.into(), error };
    let store = Arc::new(DaemonStore::open(address.clone(), connecting).map_err(unusable)?);
    let name = localstore::runner::NAME.parse().expect("a valid name");
    let runner = store.add_path(&name, runner)?.path;
    Ok(Opened { runner, sandbox: Sandbox::Root, own, scratch, kind: Kind::Daemon(store.clone()), store })
}

/// Whether commands run in a sandbox; asked once, and not by every edge.
fn sandbox(isolation: Isolation, store: &LocalStore, tell: Tell<'_>) -> Result<Sandbox, Error> {
    let refused = match (isolation, probed::probe(store)) {
        (Isolation::Auto | Isolation::On, Ok(())) => return Ok(Sandbox::Root),
        (Isolation::Off, _) => None,
        (Isolation::Auto, Err(error @ SandboxError::Refused { .. })) => Some(error),
        (Isolation::Auto | Isolation::On, Err(error)) => return Err(error.into()),
    };
    if let Some(error) = refused {
        tell(&format!("warning: commands run where they are, traced, and their results are kept apart: {error}"));
    }
    store.run_in_place();
    Ok(Sandbox::None)
}

/// Makes the store smaller, which is above its limit. A tenth is left free, so that not every run has to.
fn keep_within(root: &Path, limit: u64, end: &End<'_>, tell: Tell<'_>) {
    // What an up-to-date step made is in use too, though the store was not asked for it.
    if let Err(error) = LocalStore::open(root).map(|store| store.used_at((end.outputs)())) {
        return tell(&format!("warning: the store could not be made smaller: {error}"));
    }
    match localstore::evict(root, limit - limit / 10) {
        Ok(Evicted::Deleted { paths, bytes, left }) => {
            let (limit, left, bytes) = (Size(limit), Size(left), Size(bytes));
            tell(&format!("store: above its limit of {limit}: deleted {paths} paths, {bytes}; {left} left"));
        }
        Ok(Evicted::InUse) if end.verbose => {
            tell(&format!("store: above its limit of {}, but in use by another build", Size(limit)));
        }
        Ok(Evicted::InUse | Evicted::WithinLimit) => {}
        Err(error) => tell(&format!("warning: the store could not be made smaller: {error}")),
    }
}
