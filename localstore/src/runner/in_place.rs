//! An edge where it is, in the host's own file system: for hosts that let nobody make a root. Its commands see everything,
//! so they are traced, and an edge that read what is not among its inputs has failed.

use super::collect;
use super::root::{Outside, to_path};
use super::run::{self, Children, Ended};
use super::{Edge, Error, Manifest, Report};
use nixstore::manifest::Reads;
use nixstore::text;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where this project's programs keep their state in a build directory.
const OWN: &str = ".splitter";

/// What every host has of its own, and the toolchain snapshot stands for.
const OF_HOST: [&str; 11] =
    ["/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/nix", "/opt", "/sbin", "/usr"];

/// As [`OF_HOST`], unless the build lies there.
const OF_STATE: [&str; 3] = ["/dev", "/run", "/var"];

/// Runs it to its end.
pub fn run(edge: &Edge<Manifest>) -> Result<Report, Error> {
    let manifest = &edge.manifest;
    let outside = Outside::open(edge)?;
    let aside = Aside::put(manifest)?;
    let mut children = Children::Traced(Box::default());
    let ended = begin(manifest).and_then(|()| run::commands(manifest, &mut children, None));
    for file in manifest.files.keys().map(|path| to_path(path)) {
        fs::remove_file(file).ok(); // a command may have removed it itself
    }
    let Children::Traced(tracer) = children else { unreachable!("it was made so above") };
    let reads = tracer.into_reads();
    match ended {
        Ok(Ended::Exit(0)) => {}
        Ok(ended) => return Ok(aside.back(ended.into())),
        Err(error) => return Ok(aside.back(error.into())),
    }
    let undeclared = undeclared(manifest, &reads);
    if !undeclared.is_empty() {
        return Ok(aside.back(Report::Undeclared(undeclared)));
    }
    let collected =
        collect::log(&outside).and_then(|()| collect::written(manifest, &reads, &outside, &rest(manifest, &reads)));
    let missing = match collected {
        Ok(missing) => missing,
        Err(error) => return Ok(aside.back(error.into())), // such as a full disk
    };
    if let Some(depfile) = manifest.writes.get("dep") {
        fs::remove_file(to_path(depfile)).ok(); // whoever wants it in its place puts it there
    }
    aside.remove();
    Ok(Report::Done { missing })
}

/// Directories, and files that are not inputs.
fn begin(manifest: &Manifest) -> Result<(), Error> {
    let outputs = manifest.writes.values().chain(manifest.files.keys()).map(|path| to_path(path));
    let parents = outputs.filter_map(|path| path.parent().map(Path::to_owned));
    for directory in manifest.directories.iter().map(|path| to_path(path)).chain(parents) {
        fs::create_dir_all(&directory).map_err(Error::io(format!("make the directory `{}`", directory.display())))?;
    }
    for (path, content) in &manifest.files {
        fs::write(to_path(path), text::to_bytes(content)).map_err(Error::io(format!("write `{path}`")))?;
    }
    Ok(())
}

/// The files that lie where the outputs are to be. A command that is run in a sandbox finds none there, nor does it here;
/// if it fails they come back, and what it wrote goes.
struct Aside {
    directory: PathBuf,
    outputs: Vec<PathBuf>,
    moved: Vec<(PathBuf, PathBuf)>,
}

impl Aside {
    fn put(manifest: &Manifest) -> Result<Self, Error> {
        let name = format!("aside-{}", std::process::id());
        let outputs = manifest.writes.values().map(|path| to_path(path)).collect();
        let directory = to_path(&manifest.rest).join(OWN).join(name);
        let mut aside = Self { directory, outputs, moved: Vec::new() };
        for (i, path) in aside.outputs.iter().enumerate() {
            if fs::symlink_metadata(path).is_err() {
                continue;
            }
            let to = aside.directory.join(i.to_string());
            fs::create_dir_all(&aside.directory)
                .and_then(|()| std::os::unix::fs::symlink(path, to.with_extension(OF)))
                .and_then(|()| fs::rename(path, &to))
                .map_err(Error::io(format!("move `{}` aside", path.display())))?;
            aside.moved.push((path.clone(), to));
        }
        Ok(aside)
    }

    /// Puts all back in its place; what is there now is of a command that failed.
    fn back(self, report: Report) -> Report {
        for path in &self.outputs {
            let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            removed.ok(); // it may not have come to that
        }
        for (path, moved) in &self.moved {
            fs::rename(moved, path).ok(); // what is missing then is made again by the next run
        }
        self.remove();
        report
    }

    fn remove(self) {
        fs::remove_dir_all(self.directory).ok(); // there may have been nothing
    }
}

/// The end of the name of a link that leads to the place of what was put aside.
const OF: &str = "of";

/// Puts back what runners had put aside that were killed. `own` is the state directory of a build that nobody else works in.
pub fn put_back(own: &Path) {
    for directory in fs::read_dir(own).into_iter().flatten().flatten() {
        if !directory.file_name().to_string_lossy().starts_with("aside-") {
            continue;
        }
        for entry in fs::read_dir(directory.path()).into_iter().flatten().flatten() {
            let link = entry.path();
            if link.extension().is_some_and(|end| end == OF)
                && let Ok(place) = fs::read_link(&link)
            {
                // What is there is half of something; what cannot be put back is made again.
                fs::remove_file(&place).or_else(|_| fs::remove_dir_all(&place)).ok();
                fs::rename(link.with_extension(""), &place).ok();
            }
        }
        fs::remove_dir_all(directory.path()).ok();
    }
}

/// Files and directories that the commands read, though they are not told to the manifest.
fn undeclared(manifest: &Manifest, reads: &Reads) -> Vec<String> {
    let known = [manifest.inputs.keys(), manifest.files.keys()].into_iter().flatten();
    let known = known.chain(manifest.writes.values()).chain(&manifest.names).chain(&manifest.directories);
    let known: BTreeSet<PathBuf> = known.flat_map(|path| both(&to_path(path))).collect();
    let build = to_path(&manifest.rest);
    let own = build.join(OWN);
    let of_state = OF_STATE.into_iter().filter(|top| !build.starts_with(top));
    let of_host: Vec<&str> = OF_HOST.into_iter().chain(of_state).collect();
    let is_known =
        |path: &Path| known.contains(path) || path.starts_with(&own) || of_host.iter().any(|top| path.starts_with(top));
    let files = reads.files.iter().chain(&reads.looked).filter(|path| {
        let path = to_path(path);
        !is_known(&path) && fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_dir())
    });
    let directories = reads.directories.iter().filter(|path| {
        let path = to_path(path);
        !is_known(&path) && !path.starts_with(to_path(&manifest.rest)) && path != Path::new("/tmp")
    });
    files.chain(directories).cloned().collect()
}

/// A path as it is spelt, and without links on the way to its directory.
fn both(path: &Path) -> [PathBuf; 2] {
    let real = path.parent().and_then(|directory| Some(fs::canonicalize(directory).ok()?.join(path.file_name()?)));
    [path.to_owned(), real.unwrap_or_else(|| path.to_owned())]
}

/// What was written in the build directory that nobody declared: the path below it.
fn rest(manifest: &Manifest, reads: &Reads) -> Vec<PathBuf> {
    let top = to_path(&manifest.rest);
    let [_, real] = both(&top);
    let outputs: BTreeSet<PathBuf> = manifest.writes.values().flat_map(|path| both(&to_path(path))).collect();
    let files: BTreeSet<PathBuf> = manifest.files.keys().map(|path| to_path(path)).collect();
    let written = reads.written.iter().chain(&reads.overwritten).map(|path| to_path(path));
    let written = written.filter(|path| !outputs.contains(path) && !files.contains(path));
    let there = written.filter(|path| fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_dir()));
    let below = there.filter_map(|path| {
        let path = path.strip_prefix(&top).or_else(|_| path.strip_prefix(&real)).ok()?.to_owned();
        (!path.starts_with(OWN)).then_some(path)
    });
    below.collect()
}

impl From<Ended> for Report {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Exit(code) => Self::Exit(code),
            Ended::Signal(signal) => Self::Signal(signal),
            Ended::LeftRunning(names) => {
                Self::Misbehaved(format!("left running in the background: {}", names.join(", ")))
            }
        }
    }
}
