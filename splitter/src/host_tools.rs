//! The toolchain snapshots of this host: asked for by command, made once, remembered between runs.

use crate::drive::{Error, Toolchains};
use crate::lower::Toolchain;
use crate::toolchain::host::{HOST_PROBES, Host};
use crate::toolchain::listing::Listing;
use crate::toolchain::program::resolve_program;
use crate::toolchain::selection::{Request, select};
use crate::toolchain::snapshot;
use bstr::BString;
use nixstore::Store;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::{fs, io};

/// The `PATH` of every command.
pub const SEARCH_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The snapshots of this host, kept in one store.
pub struct HostTools<'a> {
    store: &'a dyn Store,
    /// Where trees are put together, on the store's file system.
    scratch: PathBuf,
    /// Where answers are kept from run to run.
    memory: PathBuf,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    host: Option<Host>,
    answers: Answers,
    snapshots: HashMap<blake3::Hash, Toolchain>,
}

/// What is kept: valid for one state of the host's packages.
#[derive(Default, Serialize, Deserialize)]
struct Answers {
    host: Vec<Option<crate::identity::Identity>>,
    by_request: BTreeMap<[u8; 32], Kept>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    path: String,
    mounts: BTreeMap<BString, BString>,
    links: BTreeMap<BString, BString>,
}

impl<'a> HostTools<'a> {
    /// Snapshots in `store`; answers of earlier runs are kept in the file `memory`.
    pub fn new(store: &'a dyn Store, scratch: PathBuf, memory: PathBuf) -> Self {
        let kept = fs::read(&memory).ok().and_then(|bytes| postcard::from_bytes::<Answers>(&bytes).ok());
        let answers = kept.filter(|answers| answers.host == identities()).unwrap_or_default();
        Self { store, scratch, memory, known: Mutex::new(Known { answers, ..Known::default() }) }
    }

    /// Writes down what was learned.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn save(&self) -> io::Result<()> {
        let mut known = self.known.lock().expect("no panic under the lock");
        known.answers.host = identities();
        let bytes = postcard::to_stdvec(&known.answers).map_err(io::Error::other)?;
        let directory = self.memory.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let file = tempfile::NamedTempFile::new_in(directory)?;
        fs::write(file.path(), bytes)?;
        file.persist(&self.memory)?;
        Ok(())
    }

    fn kept(&self, kept: &Kept) -> Result<Option<Toolchain>, Error> {
        let Kept { path, mounts, links } = kept.clone();
        let path = path.parse()?;
        let valid = self.store.path_infos(std::slice::from_ref(&path))?[0].is_some();
        Ok(valid.then_some(Toolchain { path, mounts, links }))
    }
}

impl Toolchains for HostTools<'_> {
    fn snapshot(
        &self,
        programs: &BTreeSet<PathBuf>,
        files: &BTreeSet<PathBuf>,
        shell: bool,
    ) -> Result<Toolchain, Error> {
        let question = *blake3::hash(format!("{programs:?}{files:?}{shell}").as_bytes()).as_bytes();
        let mut known = self.known.lock().expect("no panic under the lock");
        if let Some(kept) = known.answers.by_request.get(&question)
            && let Some(toolchain) = self.kept(kept)?
        {
            return Ok(toolchain);
        }
        if known.host.is_none() {
            known.host = Some(Host::load()?);
        }
        let host = known.host.as_ref().expect("just loaded");
        let resolved = programs.iter().map(|program| {
            resolve_program(program.as_os_str(), SEARCH_PATH.as_ref())
                .ok_or_else(|| Error::from(format!("`{}` is not a program of this host", program.display())))
        });
        let request = Request {
            programs: resolved.collect::<Result<_, _>>()?,
            files: files.clone(),
            shell,
            search_path: SEARCH_PATH.into(),
        };
        let (selection, _) = select(&request, host)?;
        let key = selection.key();
        let toolchain = match known.snapshots.get(&key) {
            Some(toolchain) => toolchain.clone(),
            None => {
                let listing = Listing::new(&selection, host);
                let (info, _) = snapshot::assemble(&listing, &self.scratch, self.store)?;
                let places = snapshot::places(&self.store.physical_path(&info.path))?;
                let bytes = |path: &Path| BString::from(path.as_os_str().as_bytes());
                Toolchain {
                    path: info.path,
                    mounts: places.mounts.iter().map(|mount| (bytes(&mount.at), bytes(&mount.source_sub))).collect(),
                    links: places.links.iter().map(|(link, target)| (bytes(link), bytes(target))).collect(),
                }
            }
        };
        known.snapshots.insert(key, toolchain.clone());
        let kept =
            Kept { path: toolchain.path.to_string(), mounts: toolchain.mounts.clone(), links: toolchain.links.clone() };
        known.answers.by_request.insert(question, kept);
        Ok(toolchain)
    }

    fn probes(&self) -> Vec<PathBuf> {
        HOST_PROBES.iter().map(PathBuf::from).collect()
    }
}

fn identities() -> Vec<Option<crate::identity::Identity>> {
    HOST_PROBES.iter().map(|probe| crate::identity::Identity::of(Path::new(probe))).collect()
}
