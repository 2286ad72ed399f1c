//! What a command needs of this host, in the terms of [`crate::toolchain`]: its programs found, and for programs of the
//! project itself their interpreters and libraries.

use crate::drive::{Error, Toolchains as Tools};
use crate::lower::Toolchain;
use crate::toolchain::program::resolve_program;
use crate::toolchain::{Probe, Request, Snapshot, Toolchains, elf, native_march};
use bstr::BString;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The `PATH` of every command.
pub const SEARCH_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Where the loader of a native program looks by itself.
const LIBRARIES: &[&str] = &[
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// The snapshots of this host for the edges of a build.
pub struct HostTools {
    toolchains: Toolchains,
    /// Told of each snapshot when a run asks for it first.
    tell: Box<dyn Fn(&Snapshot) + Send + Sync>,
    told: Mutex<BTreeSet<nixstore::StorePath>>,
    native: Mutex<BTreeMap<PathBuf, Option<String>>>,
}

impl HostTools {
    /// Snapshots from `toolchains`; `tell` is told of each once.
    pub fn new(toolchains: Toolchains, tell: Box<dyn Fn(&Snapshot) + Send + Sync>) -> Self {
        Self { toolchains, tell, told: Mutex::default(), native: Mutex::default() }
    }

    /// Writes down what was learned.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn save(&self) -> Result<(), Error> {
        Ok(self.toolchains.save()?)
    }
}

impl Tools for HostTools {
    fn snapshot(
        &self,
        programs: &BTreeSet<PathBuf>,
        own: &BTreeSet<PathBuf>,
        files: &BTreeSet<PathBuf>,
        shell: bool,
    ) -> Result<Arc<Toolchain>, Error> {
        let mut request =
            Request { programs: BTreeSet::new(), files: files.clone(), shell, search_path: SEARCH_PATH.into() };
        for program in own {
            request.files.extend(libraries(program));
        }
        for program in programs {
            let found = resolve_program(program.as_os_str(), SEARCH_PATH.as_ref())
                .ok_or_else(|| format!("`{}` is not a program of this host", program.display()))?;
            request.programs.insert(found);
        }
        let snapshot = self.toolchains.snapshot(&request)?;
        if self.told.lock().expect("no panic under the lock").insert(snapshot.info.path.clone()) {
            (self.tell)(&snapshot);
        }
        let bytes = |path: &Path| BString::from(path.as_os_str().as_bytes());
        let places = &snapshot.places;
        let mounts: BTreeMap<_, _> =
            places.mounts.iter().map(|mount| (bytes(&mount.at), bytes(&mount.source_sub))).collect();
        let links = places.links.iter().map(|(link, target)| (bytes(link), bytes(target))).collect();
        Ok(Arc::new(Toolchain { path: snapshot.info.path.clone(), mounts, links }))
    }

    fn essential(&self, files: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
        self.toolchains.essential(files)
    }

    fn native(&self, driver: &Path) -> Option<String> {
        let found = resolve_program(driver.as_os_str(), SEARCH_PATH.as_ref())?;
        let mut native = self.native.lock().expect("no panic under the lock");
        native.entry(found).or_insert_with_key(|driver| native_march(driver, SEARCH_PATH.as_ref())).clone()
    }

    fn probes(&self) -> Vec<Probe> {
        self.toolchains.probes()
    }
}

/// The loader and the libraries of the host that a program or library of the project names.
fn libraries(program: &Path) -> BTreeSet<PathBuf> {
    let Some(needs) = fs::read(program).ok().and_then(|bytes| elf::needs(&bytes)) else { return BTreeSet::new() };
    let find = |name: &Vec<u8>| {
        let candidates = LIBRARIES.iter().map(|directory| Path::new(directory).join(OsStr::from_bytes(name)));
        candidates.into_iter().find(|path| path.is_file())
    };
    needs.libraries.iter().filter_map(find).chain(needs.interpreter).collect()
}
