//! The root file system of a job: a few devices, and of an edge the toolchain and the inputs at their places.
#![expect(unsafe_code, reason = "mounts are system calls without a safe form")]

use super::gate::Gate;
use super::room::Memory;
use super::{Edge, Error};
use nixstore::manifest::{HeadStart, Manifest};
use nixstore::text;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, openat2, renameat, statat};
use std::collections::BTreeSet;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Files up to this size (bytes) are copied into the root, larger ones are bound: a bind costs as much as this copy.
const COPIED: u64 = 32 * 1024;

/// The same where copies are to be writable.
const WRITABLE: u64 = 256 * 1024 * 1024;

/// The same where nothing can be bound any more.
const LATE: u64 = 16 * 1024 * 1024;

/// What was in the root before the command ran.
#[derive(Debug, Default)]
pub struct Staged {
    /// Inputs, response files and directories, as the command sees them.
    pub paths: BTreeSet<PathBuf>,
    /// Directories outside the build directory in which the command may write, since it has an output there.
    pub writable: BTreeSet<PathBuf>,
}

/// The places outside the new root that the runner can still reach from within: where outputs go, and the root itself, if it is on
/// the disk.
pub struct Outside {
    directory: File,
    names: std::collections::BTreeMap<String, OsString>,
    root: Option<File>,
}

impl Outside {
    pub fn open(edge: &Edge<Manifest>) -> Result<Self, Error> {
        let directory = File::open(&edge.outputs).map_err(Error::io(format!("open `{}`", edge.outputs.display())))?;
        Ok(Self::new(directory, edge))
    }

    /// The same of a directory that is open.
    pub fn new(directory: File, edge: &Edge<Manifest>) -> Self {
        let base = |path: &String| Path::new(path).file_name().unwrap_or(OsStr::new(path)).to_owned();
        let names = edge.manifest.outputs.iter().map(|(k, v)| (k.clone(), base(v))).collect();
        Self { directory, names, root: None }
    }

    /// With the root, which is entered later.
    pub fn and_root(self, root: &Root) -> Result<Self, Error> {
        let root = match &root.files {
            Files::InMemory(_) => None,
            Files::OnDisk(directory) => Some(directory.try_clone().map_err(Error::io("open the new root"))?),
        };
        Ok(Self { root, ..self })
    }

    /// Moves a file out of the root to a place here, if both are on one file system: seen from outside, they are in one mount too.
    /// What the commands left as a link on the way would lead elsewhere there, and is not followed.
    pub fn takes(&self, from: &Path, is: &fs::Metadata, to: &Path) -> bool {
        let take = |root: &File| -> Option<()> {
            let (within, name) = (from.parent()?.strip_prefix("/").ok()?, from.file_name()?);
            let within = if within.as_os_str().is_empty() { Path::new(".") } else { within };
            let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let parent =
                openat2(root, within, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), how).ok()?;
            let seen = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
            let is_it = (seen.st_dev, seen.st_ino) == (is.dev(), is.ino());
            is_it.then(|| renameat(&parent, name, CWD, to).ok())?
        };
        self.root.as_ref().and_then(take).is_some()
    }

    /// The path by which this process reaches the place of an output.
    pub fn path(&self, output: &str) -> Result<PathBuf, Error> {
        let name = self.names.get(output).ok_or_else(|| Error::Io {
            what: format!("find a store path for output `{output}`"),
            error: io::ErrorKind::NotFound.into(),
        })?;
        Ok(behind(&self.directory).join(name))
    }
}

/// The path by which this process reaches a directory that it has open, wherever that is.
pub fn behind(directory: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()))
}

/// Fills the root of an edge and changes into it.
pub fn enter(root: Root, edge: &Edge<Manifest>) -> Result<Staged, Error> {
    let mut stage = Stage::new(&root, &edge.store, None);
    stage.tools(&edge.manifest)?;
    stage.inputs(&edge.manifest)?;
    let staged = stage.staged;
    root.enter_and_close()?;
    Ok(staged)
}

/// The same without inputs, but for an empty file in the place of the one that waits for all others.
pub fn enter_ahead(root: Root, start: &HeadStart, store: &Path) -> Result<Gate, Error> {
    let mut stage = Stage::new(&root, store, None);
    stage.tools(&start.manifest)?;
    stage.directories(&start.manifest)?;
    let source = to_path(&start.gate);
    stage.parent(&source)?;
    let gate = Gate::shut(&root.inside(&source))?;
    root.enter_and_close()?;
    Ok(gate)
}

/// Adds the inputs to a root that was entered without, from a store which can only be reached by what is open.
pub fn follow(manifest: &Manifest, store: &Path, source: &Path, gate: &Gate, memory: Memory) -> Result<Staged, Error> {
    let root = Root { at: "/".into(), files: Files::InMemory(memory) };
    let mut stage = Stage::new(&root, store, Some((source, gate)));
    stage.inputs(manifest)?;
    Ok(stage.staged)
}

/// A root that is not entered yet.
pub struct Root {
    at: PathBuf,
    files: Files,
}

/// What they lie in.
enum Files {
    InMemory(Memory),
    /// This directory, which is open as it is outside.
    OnDisk(File),
}

impl Root {
    /// Mounts a file system in memory at `at`, or what lies there on the disk, and fills it with what all jobs have: `/dev`, `/proc`,
    /// `/etc`, `/tmp`.
    pub fn make(at: &Path, memory: Option<Memory>) -> Result<Self, Error> {
        mount(None, Path::new("/"), None, libc::MS_REC | libc::MS_PRIVATE, None, "make mounts private")?;
        let files = match memory {
            Some(memory) => {
                let flags = libc::MS_NOSUID | libc::MS_NODEV;
                mount(Some("tmpfs".as_ref()), at, Some("tmpfs"), flags, Some(&memory.options()), "mount a tmpfs")?;
                Files::InMemory(memory)
            }
            None => {
                let directory = File::open(at).map_err(Error::io(format!("open `{}`", at.display())))?;
                // Only what is mounted can be entered.
                let step = "bind a directory on itself";
                mount(Some(at.as_os_str()), at, None, libc::MS_BIND, None, step)?;
                restrict(at, libc::MS_NOSUID | libc::MS_NODEV, step)?;
                Files::OnDisk(directory)
            }
        };
        let root = Self { at: at.into(), files };
        root.devices()?;
        root.accounts()?;
        let proc = root.inside(Path::new("/proc"));
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        mount(Some("proc".as_ref()), &proc, Some("proc"), flags, None, "mount a new `/proc`")?;
        Ok(root)
    }

    /// The memory that it takes, if it does.
    pub fn memory(&self) -> Option<Memory> {
        match self.files {
            Files::InMemory(memory) => Some(memory),
            Files::OnDisk(_) => None,
        }
    }

    fn enter_and_close(self) -> Result<(), Error> {
        self.enter()?;
        // Changed by nobody, as all directories on the way to the inputs.
        fs::set_permissions("/", fs::Permissions::from_mode(0o555)).map_err(Error::io("close the new root"))
    }

    /// Changes into it. Nothing outside can be reached then but by what is open.
    pub fn enter(self) -> Result<(), Error> {
        change_root(&self.at)
    }

    /// A path as commands see it, under the new root while that is still a directory.
    pub fn inside(&self, path: &Path) -> PathBuf {
        self.at.join(path.strip_prefix("/").unwrap_or(path))
    }

    pub fn directory(&self, path: &Path) -> Result<(), Error> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(self.inside(path))
            .map_err(Error::io(format!("make the directory `{}`", path.display())))
    }

    fn devices(&self) -> Result<(), Error> {
        for directory in ["/dev/shm", "/proc", "/tmp", "/etc"] {
            self.directory(Path::new(directory))?;
        }
        for device in ["null", "zero", "full", "random", "urandom", "tty"] {
            let path = Path::new("/dev").join(device);
            let (inside, step) = (self.inside(&path), format!("bind `{}`", path.display()));
            File::create(&inside).map_err(Error::io(format!("make a place for `{}`", path.display())))?;
            mount(Some(path.as_os_str()), &inside, None, libc::MS_BIND, None, &step)?;
        }
        for (name, target) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
        ] {
            std::os::unix::fs::symlink(target, self.inside(&Path::new("/dev").join(name)))
                .map_err(Error::io("link a device"))?;
        }
        for open in ["/dev/shm", "/tmp"] {
            fs::set_permissions(self.inside(Path::new(open)), fs::Permissions::from_mode(0o1777))
                .map_err(Error::io(format!("open `{open}`")))?;
        }
        Ok(())
    }

    /// Nix 2.34, `setBuildUser` and `prepareSandbox`.
    fn accounts(&self) -> Result<(), Error> {
        self.write(
            "/etc/passwd",
            "root:x:0:0:Nix build user:/build:/noshell\nnixbld:x:1000:100:Nix build user:/build:/noshell\n\
             nobody:x:65534:65534:Nobody:/:/noshell\n",
        )?;
        self.write("/etc/group", "root:x:0:\nnixbld:!:100:\nnogroup:x:65534:\n")?;
        self.write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
    }

    /// Writes a file of which the directory is there.
    pub fn write(&self, path: &str, content: &str) -> Result<(), Error> {
        fs::write(self.inside(Path::new(path)), content).map_err(Error::io(format!("write `{path}`")))
    }

    /// Makes the directory of `at`.
    pub fn parent(&self, at: &Path) -> Result<(), Error> {
        at.parent().filter(|parent| *parent != Path::new("/")).map_or(Ok(()), |parent| self.directory(parent))
    }

    /// Makes the file or directory `from` visible at `at`.
    pub fn bind(&self, from: &Path, at: &Path, access: Access) -> Result<(), Error> {
        let inside = self.inside(at);
        let is_directory = fs::metadata(from).map_err(Error::io(format!("look at `{}`", from.display())))?.is_dir();
        if is_directory {
            self.directory(at)?;
        } else {
            self.parent(at)?;
            File::create(&inside).map_err(Error::io(format!("make a place for `{}`", at.display())))?;
        }
        let step = format!("bind `{}` at `{}`", from.display(), at.display());
        mount(Some(from.as_os_str()), &inside, None, libc::MS_BIND | libc::MS_REC, None, &step)?;
        match access {
            Access::Write => Ok(()),
            Access::Read => restrict(&inside, libc::MS_RDONLY, &step),
        }
    }

    /// Makes the symlink `at` with the text of the symlink `from`.
    pub fn copy_link(&self, from: &Path, at: &Path) -> Result<(), Error> {
        let what = || format!("stage `{}` as `{}`", from.display(), at.display());
        let target = fs::read_link(from).map_err(Error::io(what()))?;
        std::os::unix::fs::symlink(target, self.inside(at)).map_err(Error::io(what()))
    }
}

/// An edge's root while it is filled.
struct Stage<'a> {
    root: &'a Root,
    store: &'a Path,
    /// Where the root was entered before: the source, and how it is let go. Nothing can be bound then.
    late: Option<(&'a Path, &'a Gate)>,
    /// Directories that are there.
    made: BTreeSet<PathBuf>,
    /// The size of all files among the inputs, in bytes.
    size: u64,
    staged: Staged,
}

impl<'a> Stage<'a> {
    fn new(root: &'a Root, store: &'a Path, late: Option<(&'a Path, &'a Gate)>) -> Self {
        Self { root, store, late, made: BTreeSet::new(), size: 0, staged: Staged::default() }
    }

    /// The file of a store path, or of a path below one.
    fn physical(&self, store_path: &str) -> PathBuf {
        let path = PathBuf::from(OsString::from_vec(text::to_bytes(store_path)));
        path.strip_prefix("/nix/store").map(|below| self.store.join(below)).unwrap_or(path)
    }

    fn tools(&self, manifest: &Manifest) -> Result<(), Error> {
        for (at, from) in &manifest.tools {
            self.root.bind(&self.physical(from), &to_path(at), Access::Read)?;
        }
        for (at, target) in &manifest.links {
            self.root.parent(&to_path(at))?;
            let link = self.root.inside(&to_path(at));
            std::os::unix::fs::symlink(to_path(target), link).map_err(Error::io(format!("link `{at}`")))?;
        }
        Ok(())
    }

    /// Those that are there whatever the inputs are.
    fn directories(&mut self, manifest: &Manifest) -> Result<(), Error> {
        let rest = to_path(&manifest.rest);
        self.root.directory(&rest)?;
        for directory in &manifest.directories {
            self.root.directory(&to_path(directory))?;
        }
        for at in manifest.writes.values().map(|at| to_path(at)) {
            self.parent(&at)?;
            if !at.starts_with(&rest) {
                self.staged.writable.insert(at.parent().unwrap_or(&at).to_owned());
            }
        }
        Ok(())
    }

    fn inputs(&mut self, manifest: &Manifest) -> Result<(), Error> {
        self.directories(manifest)?;
        for (at, from) in &manifest.inputs {
            let at = to_path(at);
            self.input(&self.physical(from), &at, manifest.copied)?;
            self.staged.paths.insert(at);
        }
        let empty = String::new();
        for (at, content) in manifest.files.iter().chain(manifest.names.iter().map(|at| (at, &empty))) {
            let at = to_path(at);
            self.parent(&at)?;
            fs::write(self.root.inside(&at), text::to_bytes(content))
                .map_err(Error::io(format!("write `{}`", at.display())))?;
            self.staged.paths.insert(at);
        }
        self.close(manifest)
    }

    fn input(&mut self, from: &Path, at: &Path, writable: bool) -> Result<(), Error> {
        let what = || format!("stage `{}` as `{}`", from.display(), at.display());
        self.parent(at)?;
        let metadata = fs::symlink_metadata(from).map_err(Error::io(what()))?;
        if metadata.is_file() {
            self.size += metadata.size();
        }
        if self.root.memory().is_some_and(|memory| memory.is_too_little_for(self.size)) {
            return Err(Error::NoRoom);
        }
        let copied = match self.late {
            Some(_) => LATE,
            None if writable => WRITABLE,
            None => COPIED,
        };
        let right = if writable { 0o200 } else { 0 };
        match self.late {
            Some((source, gate)) if at == source && metadata.is_file() => gate.fill(from, &metadata),
            Some((source, _)) if at == source => Err(Error::NotAhead),
            _ if metadata.is_symlink() => self.root.copy_link(from, at),
            _ if metadata.is_file() && metadata.size() <= copied => {
                copy(from, &self.root.inside(at), &metadata, right).map_err(Error::io(what()))
            }
            Some(_) => Err(Error::NotAhead),
            None => self.root.bind(from, at, Access::Read),
        }
    }

    /// Makes the directory of `at`, once for all that lie in it.
    fn parent(&mut self, at: &Path) -> Result<(), Error> {
        match at.parent() {
            Some(parent) if !self.made.contains(parent) => {
                self.root.directory(parent)?;
                self.made.insert(parent.into());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Takes the right to write from every directory on the way to the inputs but the build directory, `/tmp` and
    /// those of outputs; the command then meets the error itself, where it happens.
    fn close(&mut self, manifest: &Manifest) -> Result<(), Error> {
        let rest = &to_path(&manifest.rest);
        let bound: BTreeSet<PathBuf> =
            manifest.tools.keys().chain(manifest.inputs.keys()).map(|at| to_path(at)).collect();
        fn walk(
            stage: &Stage<'_>,
            directory: &Path,
            (rest, bound): (&Path, &BTreeSet<PathBuf>),
            known: &mut BTreeSet<PathBuf>,
        ) -> Result<(), Error> {
            let inside = stage.root.inside(directory);
            for entry in fs::read_dir(&inside).map_err(Error::io(format!("list `{}`", directory.display())))? {
                let entry = entry.map_err(Error::io(format!("list `{}`", directory.display())))?;
                let path = directory.join(entry.file_name());
                let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if is_directory && !bound.contains(&path) {
                    walk(stage, &path, (rest, bound), known)?;
                }
                // A program that has begun may have made files already.
                if stage.late.is_none() || is_directory || stage.staged.paths.contains(&path) {
                    known.insert(path);
                }
            }
            let writable = directory.starts_with(rest) || stage.staged.writable.contains(directory);
            let mode = match directory {
                _ if directory == Path::new("/tmp") => 0o1777,
                _ if writable => 0o755,
                _ => 0o555,
            };
            match fs::set_permissions(&inside, fs::Permissions::from_mode(mode)) {
                // It is bound: seen through a link, by another name.
                Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(()),
                set => set.map_err(Error::io(format!("close `{}`", directory.display()))),
            }
        }
        let mut known = BTreeSet::new();
        for top in fs::read_dir(&self.root.at).map_err(Error::io("list the new root"))? {
            let top = top.map_err(Error::io("list the new root"))?;
            let path = Path::new("/").join(top.file_name());
            let own = ["/dev", "/proc", "/etc", "/usr", "/nix"].iter().any(|own| path == Path::new(own));
            // Among those that are bound are tools, on a host whose `/bin` is no link.
            if !own && !bound.contains(&path) && top.file_type().is_ok_and(|kind| kind.is_dir()) {
                walk(self, &path, (rest, &bound), &mut known)?;
                known.insert(path);
            }
        }
        self.staged.paths.extend(known);
        Ok(())
    }
}

/// Copies a small file. An edge has hundreds, so each system call counts: `fs::copy` makes twice as many.
fn copy(from: &Path, to: &Path, metadata: &fs::Metadata, right: u32) -> io::Result<()> {
    let mut content = vec![0; metadata.size() as usize];
    File::open(from)?.read_exact(&mut content)?;
    let mode = metadata.permissions().mode() & 0o777 | right;
    File::options().write(true).create_new(true).mode(mode).open(to)?.write_all(&content)
}

/// What a job may do with what is bound into its root.
#[derive(Clone, Copy)]
pub enum Access {
    Read,
    Write,
}

pub fn to_path(text: &str) -> PathBuf {
    PathBuf::from(OsString::from_vec(text::to_bytes(text)))
}

fn c_string(path: &OsStr) -> CString {
    CString::new(path.as_bytes()).unwrap_or_default() // a NUL cannot be in a path that exists; the call then fails
}

pub fn mount(
    from: Option<&OsStr>,
    at: &Path,
    kind: Option<&str>,
    flags: libc::c_ulong,
    options: Option<&str>,
    step: &str,
) -> Result<(), Error> {
    let from = from.map(c_string);
    let kind = kind.map(|kind| c_string(OsStr::new(kind)));
    let options = options.map(|options| c_string(OsStr::new(options)));
    let at = c_string(at.as_os_str());
    let pointer = |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
    // SAFETY: each pointer is null or a string that lives until the call returns.
    let answer = unsafe { libc::mount(pointer(&from), at.as_ptr(), pointer(&kind), flags, pointer(&options).cast()) };
    if answer == 0 { Ok(()) } else { Err(refused(step)) }
}

/// Adds flags to a bind mount; those that it inherited are locked in a user namespace and must be named again.
fn restrict(at: &Path, more: libc::c_ulong, step: &str) -> Result<(), Error> {
    let path = c_string(at.as_os_str());
    // SAFETY: statvfs fills the buffer before it is read.
    let inherited = unsafe {
        let mut buffer: libc::statvfs = std::mem::zeroed();
        if libc::statvfs(path.as_ptr(), &mut buffer) != 0 {
            return Err(refused(step));
        }
        buffer.f_flag
    };
    let locked =
        libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_NOATIME | libc::MS_NODIRATIME | libc::MS_RELATIME;
    let flags = libc::MS_REMOUNT | libc::MS_BIND | more | (inherited & locked);
    mount(None, at, None, flags, None, step)
}

fn change_root(root: &Path) -> Result<(), Error> {
    std::env::set_current_dir(root).map_err(Error::io("enter the new root"))?;
    // SAFETY: the strings are constants; "." as both arguments stacks the old root on the new one (pivot_root(2)).
    unsafe {
        if libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) != 0 {
            return Err(refused("change the root"));
        }
        if libc::umount2(c".".as_ptr(), libc::MNT_DETACH) != 0 {
            return Err(refused("leave the old root"));
        }
    }
    std::env::set_current_dir("/").map_err(Error::io("enter the new root"))
}

fn refused(step: &str) -> Error {
    Error::Refused { step: step.into(), errno: io::Error::last_os_error().raw_os_error().unwrap_or(0) }
}
