//! Keeping what a build has made from the daemon's garbage collection.

use super::{DaemonStore, Place, told};
use crate::content_address::Method;
use crate::daemon::framed::Contents;
use crate::daemon::operation::{AddIndirectRoot, AddToStore};
use crate::hash::Algorithm;
use crate::store::StoreError;
use crate::{Sha256, StorePath};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

impl DaemonStore {
    /// Keeps `paths` for as long as the link `link` is there, which is made or replaced: it leads to a text in the store that
    /// names them, and is one of the daemon's roots. Does nothing on another machine, whose daemon cannot see it.
    ///
    /// # Errors
    /// [`StoreError`] where the link cannot be made, or a path is gone already.
    pub fn keep(&self, link: &Path, paths: &BTreeSet<StorePath>) -> Result<(), StoreError> {
        if matches!(self.place, Place::Elsewhere(_)) || paths.is_empty() {
            return Ok(());
        }
        let name = "splitter-outputs".parse().expect("a valid name");
        let text: String = paths.iter().map(|path| self.store_dir.print(path) + "\n").collect();
        let path = self.store_dir.text_path(&name, &Sha256::of(&text), paths);
        let target = self.store_dir.print(&path);
        let what = || format!("make `{}` a root of the Nix daemon", link.display());
        if fs::read_link(link).is_ok_and(|old| old == Path::new(&target))
            && self.invalid(std::iter::once(path.clone())).map_err(told(what()))?.is_empty()
        {
            return Ok(());
        }
        let mut connection = self.pool.get().map_err(told(what()))?;
        let contents = Contents::Bytes(text.as_bytes());
        let (method, algorithm) = (Method::Text, Algorithm::Sha256);
        let add = AddToStore { name: &name, method, algorithm, references: paths, repair: false, contents };
        connection.call(add, &mut |_| {}).map_err(told(what()))?;
        replace(link, &target).map_err(|error| StoreError::new(what(), error))?;
        connection.call(AddIndirectRoot(link), &mut |_| {}).map_err(told(what()))
    }
}

/// Makes a link, in the place of another.
fn replace(link: &Path, target: &str) -> io::Result<()> {
    match fs::symlink_metadata(link) {
        Ok(old) if !old.is_symlink() => return Err(io::Error::other("there is something that is no link")),
        Ok(_) => fs::remove_file(link)?,
        Err(_) => {}
    }
    symlink(target, link)
}
