//! What commands did with the files of a file system, call by call.

use super::calls::Does;
use nixstore::manifest::Reads;
use nixstore::text;
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// How a file is opened, in the words of `open(2)`.
#[derive(Debug, Clone, Copy)]
pub struct Opening {
    /// `O_…`.
    pub flags: i32,
}

/// All that was done, by path without links on the way.
#[derive(Debug, Default)]
pub struct Accesses {
    paths: BTreeMap<PathBuf, Access>,
    /// Directories of which it is known that they are no links.
    directories: HashSet<PathBuf>,
}

/// What was done with one path until the commands themselves first wrote it; what they read then is their own.
#[derive(Debug, Default, Clone, Copy)]
struct Access {
    /// Its content was read, or it was started, or it is a link that was followed.
    read: bool,
    listed: bool,
    /// It was there, and no more was asked.
    looked: bool,
    /// It was not there.
    absent: bool,
    written: bool,
    /// It was there before it was first written.
    overwritten: bool,
}

/// More links than these on one way are a circle, as the kernel counts.
const LINKS: usize = 40;

/// A path as a call meets it.
#[derive(Debug, Clone)]
pub struct Place {
    /// Without links on the way.
    pub path: PathBuf,
    /// Something was there when the call began.
    pub existed: bool,
}

impl Opening {
    /// Whether it may make or change a file.
    pub fn writes(self) -> bool {
        self.flags & libc::O_ACCMODE != libc::O_RDONLY || self.flags & (libc::O_CREAT | libc::O_TRUNC) != 0
    }
}

impl Accesses {
    /// Where `path` leads from `directory`, noting the links on the way. The last component is not followed if `last` is
    /// to be looked at itself.
    pub fn place(&mut self, directory: &Path, path: &Path, follow_last: bool) -> Place {
        let mut at = PathBuf::from("/");
        let mut waiting: Vec<OsString> = Vec::new();
        push(&mut waiting, path);
        if path.is_relative() {
            push(&mut waiting, directory);
        }
        let mut links = 0;
        while let Some(component) = waiting.pop() {
            if component == ".." {
                // The way leads through it.
                self.note(&at, |access| access.looked = true);
                at.pop();
                continue;
            }
            at.push(&component);
            if at == Path::new("/proc") {
                // Its links lead elsewhere for whoever asks: `self` is us here.
                at.extend(waiting.drain(..).rev());
                return Place { path: at, existed: true };
            }
            if self.directories.contains(&at) || (waiting.is_empty() && !follow_last) {
                continue;
            }
            match fs::symlink_metadata(&at) {
                Ok(metadata) if metadata.is_symlink() && links < LINKS => {
                    links += 1;
                    self.note(&at, |access| access.read = true);
                    let target = fs::read_link(&at).unwrap_or_default();
                    at.pop();
                    if target.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    push(&mut waiting, &target);
                }
                Ok(metadata) if metadata.is_dir() => drop(self.directories.insert(at.clone())),
                Ok(_) if waiting.is_empty() => return Place { path: at, existed: true },
                Ok(_) => {}
                Err(_) => {
                    at.extend(waiting.drain(..).rev());
                    return Place { path: at, existed: false };
                }
            }
        }
        let existed = self.directories.contains(&at) || fs::symlink_metadata(&at).is_ok();
        Place { path: at, existed }
    }

    /// Notes a call that changes nothing, when it begins: its answer is what its place tells.
    pub fn begun(&mut self, does: Does, opening: Option<Opening>, place: &Place) {
        if !place.existed {
            return self.note(&place.path, |access| access.absent = true);
        }
        let is_directory = self.directories.contains(&place.path);
        let (mut content, mut list) = (false, false);
        match (does, opening) {
            (Does::Open(_) | Does::OpenHow(_), Some(Opening { flags })) => {
                content = flags & (libc::O_PATH | libc::O_DIRECTORY) == 0 && !is_directory;
            }
            (Does::Run, _) => {
                content = true;
                self.interpreter(&place.path);
            }
            // What is looked at without following it is the link, of which the text is all there is.
            (Does::LookAtLink, _) => content = !is_directory && place.path.is_symlink(),
            (Does::List, _) => list = true,
            _ => {}
        }
        self.note(&place.path, |access| {
            access.read |= content;
            access.listed |= list;
            access.looked |= !content && !list;
        });
    }

    /// Notes a call that makes, changes or removes something, when it has its answer.
    pub fn done(&mut self, does: Does, opening: Option<Opening>, places: &[Place], answer: i64) {
        let is_refused = [libc::EACCES, libc::EPERM, libc::EROFS].iter().any(|errno| -answer == i64::from(*errno));
        if answer < 0 && !is_refused {
            return;
        }
        let Some((first, others)) = places.split_first() else { return };
        match (does, opening) {
            (Does::Open(_) | Does::OpenHow(_), Some(Opening { flags })) => {
                let reads = flags & libc::O_ACCMODE != libc::O_WRONLY && flags & libc::O_TRUNC == 0;
                if answer >= 0 && reads && first.existed {
                    self.note(&first.path, |access| access.read = true);
                }
                self.write(first);
            }
            (Does::Move, _) => {
                self.note(&first.path, |access| access.read = true);
                places.iter().for_each(|place| self.write(place));
            }
            (Does::Link, _) => {
                self.note(&first.path, |access| access.read = true);
                others.iter().for_each(|place| self.write(place));
            }
            _ => self.write(first),
        }
    }

    fn note(&mut self, path: &Path, what: impl FnOnce(&mut Access)) {
        match self.paths.get_mut(path) {
            Some(access) if access.written => {}
            Some(access) => what(access),
            None => what(self.paths.entry(path.into()).or_default()),
        }
    }

    fn write(&mut self, place: &Place) {
        self.directories.remove(&place.path);
        self.note(&place.path, |access| {
            access.written = true;
            access.overwritten = place.existed;
        });
    }

    /// The program that the kernel starts for a script, which no call names.
    fn interpreter(&mut self, script: &Path) {
        let mut head = [0; 256];
        let read = fs::File::open(script).and_then(|mut file| file.read(&mut head)).unwrap_or(0);
        let Some(line) = head[..read].strip_prefix(b"#!") else { return };
        let line = line.split(|b| *b == b'\n').next().unwrap_or_default().trim_ascii_start();
        let word = line.split(|b| b" \t".contains(b)).next().unwrap_or_default();
        if !word.is_empty() {
            let place = self.place(Path::new("/"), Path::new(std::ffi::OsStr::from_bytes(word)), true);
            self.note(&place.path, |access| access.read = true);
        }
    }

    /// What was read, listed, looked for and written.
    pub fn into_reads(self) -> Reads {
        let mut reads = Reads::default();
        for (path, access) in self.paths {
            if KERNEL.iter().any(|top| path.starts_with(top)) && !path.starts_with(MEMORY) {
                continue;
            }
            let name = text::from_bytes(path.as_os_str().as_bytes());
            if access.listed {
                reads.directories.push(name.clone());
            }
            if access.read {
                reads.files.push(name.clone());
            } else if access.looked && !access.listed {
                reads.looked.push(name.clone());
            } else if access.absent {
                reads.absent.push(name.clone());
            }
            match (access.written, access.overwritten) {
                (true, true) => reads.overwritten.push(name),
                (true, false) => reads.written.push(name),
                (false, _) => {}
            }
        }
        reads
    }
}

/// What is no file, but the kernel.
const KERNEL: [&str; 3] = ["/proc", "/dev", "/sys"];

/// Among it, a directory as others are: projects lie there, too.
const MEMORY: &str = "/dev/shm";

/// Puts the components of a path on a stack, the last first.
fn push(waiting: &mut Vec<OsString>, path: &Path) {
    waiting.extend(path.components().rev().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    }));
}
