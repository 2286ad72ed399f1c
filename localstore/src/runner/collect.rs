//! Moves what the commands wrote out of the root, to where the store expects its outputs.

use super::root::{Outside, Staged, to_path};
use super::{Error, Manifest};
use nixstore::manifest::{Reads, UNWRITTEN};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// What tells whether the command has replaced or written an input where it can: inputs are read-only, so that writing one
/// takes another mode, or they are looked at all.
pub struct Before(BTreeMap<PathBuf, Look>);

/// Device, inode, size, mode and time of change, in seconds and nanoseconds.
type Look = (u64, u64, u64, u32, i64, i64);

impl Before {
    /// Looks at the inputs in directories that can be written.
    pub fn the_commands(manifest: &Manifest, staged: &Staged) -> Self {
        let rest = to_path(&manifest.rest);
        let paths = manifest.inputs.keys().map(|at| to_path(at));
        let within = |path: &PathBuf| {
            manifest.copied
                || path.starts_with(&rest)
                || path.parent().is_some_and(|directory| staged.writable.contains(directory))
        };
        Self(paths.filter(within).filter_map(|path| Some((path.clone(), look(&path)?))).collect())
    }

    /// The first input outside the build directory that is no longer what it was.
    fn written_outside(&self, build_directory: &Path) -> Option<&PathBuf> {
        self.0.keys().find(|path| !path.starts_with(build_directory) && self.has_other(path))
    }

    fn has_other(&self, path: &Path) -> bool {
        self.0.get(path).is_some_and(|before| look(path).is_some_and(|now| now != *before))
    }
}

fn look(path: &Path) -> Option<Look> {
    let metadata = fs::symlink_metadata(path).ok()?;
    let (ino, size, mode) = (metadata.ino(), metadata.size(), metadata.mode());
    Some((metadata.dev(), ino, size, mode, metadata.mtime(), metadata.mtime_nsec()))
}

/// Copies every output out, and whatever else is new in the build directory, or no longer the input that it was, into the
/// output `rest`. Answers the outputs that were not written.
pub fn outputs(
    manifest: &Manifest,
    staged: &Staged,
    before: &Before,
    reads: Option<&Reads>,
    outside: &Outside,
) -> Result<Vec<String>, Error> {
    let writes: Vec<PathBuf> = manifest.writes.values().map(|at| to_path(at)).collect();
    let is_new = |path: &Path| !staged.paths.contains(path) || before.has_other(path);
    let new = |path: &Path| is_new(path) && !writes.iter().any(|declared| declared == path);
    for directory in &staged.writable {
        if let Some(stray) = list(directory)?.into_iter().find(|path| new(path)) {
            return Err(Error::Misbehaved(format!(
                "wrote `{}`, which it does not declare, outside the build directory",
                stray.display()
            )));
        }
    }
    if let Some(input) = before.written_outside(&to_path(&manifest.rest)) {
        return Err(Error::Misbehaved(format!(
            "wrote to its input `{}`, outside the build directory",
            input.display()
        )));
    }
    let missing = declared(manifest, outside)?;
    if let Some(reads) = reads {
        tell(reads, outside)?;
    }
    let rest = outside.path("rest")?;
    let inputs: BTreeSet<PathBuf> = manifest.inputs.keys().map(|at| to_path(at)).collect();
    undeclared(&to_path(&manifest.rest), &rest, &new, &inputs, outside)?;
    Ok(missing)
}

/// The same for an edge that ran where it is; `rest` are the paths below the build directory of what nobody declared.
pub fn written(manifest: &Manifest, reads: &Reads, outside: &Outside, rest: &[PathBuf]) -> Result<Vec<String>, Error> {
    let missing = declared(manifest, outside)?;
    tell(reads, outside)?;
    let output = outside.path("rest")?;
    for path in rest {
        let to = output.join(path);
        fs::create_dir_all(to.parent().expect("below the output"))
            .map_err(Error::io("create a directory in output `rest`"))?;
        copy(&to_path(&manifest.rest).join(path), &to)?;
    }
    Ok(missing)
}

/// Copies the declared outputs out. Answers those that were not written.
fn declared(manifest: &Manifest, outside: &Outside) -> Result<Vec<String>, Error> {
    let mut missing = Vec::new();
    let mut files = Vec::new();
    for (output, at) in &manifest.writes {
        let (at, to) = (to_path(at), outside.path(output)?);
        match fs::symlink_metadata(&at) {
            Ok(metadata) if metadata.is_file() => files.push((at, to, (metadata.dev(), metadata.ino()))),
            Ok(_) => copy(&at, &to)?,
            Err(_) => {
                missing.push(output.clone());
                std::os::unix::fs::symlink(UNWRITTEN, to)
                    .map_err(Error::io(format!("mark output `{output}` as unwritten")))?;
            }
        }
    }
    // What is moved is gone: not before the directories are copied that it lies in, and not where another output is the same file.
    let mut seen = BTreeMap::new();
    files.iter().for_each(|(.., file)| *seen.entry(*file).or_insert(0) += 1);
    for (at, to, file) in &files {
        if seen[file] == 1 { take(at, to, outside) } else { copy(at, to) }?;
    }
    Ok(missing)
}

fn tell(reads: &Reads, outside: &Outside) -> Result<(), Error> {
    let json = serde_json::to_vec(reads).expect("a list of paths is plain data");
    fs::write(outside.path("reads")?, json).map_err(Error::io("write output `reads`"))
}

/// Copies what the commands printed, standard output of this process, to the output `log`, if it is anything.
pub fn log(outside: &Outside) -> Result<(), Error> {
    let printed = std::io::stdout().as_fd().try_clone_to_owned().map(File::from).map_err(Error::io("read the log"))?;
    let size = printed.metadata().map_err(Error::io("read the log"))?.len();
    if size == 0 {
        return Ok(());
    }
    // Read from the start, whatever the place of others in it.
    let mut text = vec![0; size as usize];
    printed.read_exact_at(&mut text, 0).map_err(Error::io("read the log"))?;
    fs::write(outside.path("log")?, text).map_err(Error::io("write output `log`"))
}

/// Copies what is new below `from` to `to`, with the directories on the way.
fn undeclared(
    from: &Path,
    to: &Path,
    new: &dyn Fn(&Path) -> bool,
    inputs: &BTreeSet<PathBuf>,
    outside: &Outside,
) -> Result<(), Error> {
    for path in list(from)? {
        let to = to.join(path.file_name().expect("an entry of a directory has a name"));
        if path.is_dir() && !path.is_symlink() {
            if !inputs.contains(&path) {
                undeclared(&path, &to, new, inputs, outside)?;
            }
        } else if new(&path) {
            let parent = to.parent().expect("below the output");
            fs::create_dir_all(parent).map_err(Error::io("create a directory in output `rest`"))?;
            take(&path, &to, outside)?;
        }
    }
    Ok(())
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let what = || format!("list `{}`", directory.display());
    let entries = fs::read_dir(directory).map_err(Error::io(what()))?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(Error::io(what()))).collect()
}

/// Moves a file that has one name out, if it can be moved, and copies all else.
fn take(from: &Path, to: &Path, outside: &Outside) -> Result<(), Error> {
    let metadata = fs::symlink_metadata(from).map_err(Error::io(format!("move `{}` out", from.display())))?;
    let is_alone = metadata.is_file() && metadata.nlink() == 1;
    if is_alone && outside.takes(from, &metadata, to) { Ok(()) } else { copy(from, to) }
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let what = || format!("move `{}` out", from.display());
    let metadata = fs::symlink_metadata(from).map_err(Error::io(what()))?;
    if metadata.is_symlink() {
        let target = fs::read_link(from).map_err(Error::io(what()))?;
        std::os::unix::fs::symlink(target, to).map_err(Error::io(what()))
    } else if metadata.is_dir() {
        fs::create_dir(to).map_err(Error::io(what()))?;
        list(from)?.iter().try_for_each(|path| copy(path, &to.join(path.file_name().expect("an entry has a name"))))
    } else if metadata.is_file() {
        let mut source = File::open(from).map_err(Error::io(what()))?;
        let mut target = File::create(to).map_err(Error::io(what()))?;
        std::io::copy(&mut source, &mut target).map_err(Error::io(what()))?;
        fs::set_permissions(to, metadata.permissions()).map_err(Error::io(what()))
    } else {
        Err(Error::Misbehaved(format!("wrote `{}`, which is no file, directory or link", from.display())))
    }
}
