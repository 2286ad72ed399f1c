//! The root file system of one edge: a tmpfs with the toolchain, a few devices, and the inputs at their places.
#![expect(unsafe_code, reason = "mounts are system calls without a safe form")]

use super::{Error, Job};
use nixstore::text;
use std::collections::BTreeSet;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Files up to this size (bytes) are copied into the root, larger ones are bound: a bind costs as much as this copy.
const COPIED: u64 = 32 * 1024;

/// The same for an edge that is observed: the access times of a read-only mount say nothing.
const OBSERVED: u64 = 256 * 1024 * 1024;

/// What was in the root before the command ran.
#[derive(Debug, Default)]
pub struct Staged {
    /// Inputs, response files and directories, as the command sees them.
    pub paths: BTreeSet<PathBuf>,
    /// Directories outside the build directory in which the command may write, since it has an output there.
    pub writable: BTreeSet<PathBuf>,
}

/// The one place outside the new root that the runner can still reach from within: where outputs go.
pub struct Outside {
    directory: File,
    names: std::collections::BTreeMap<String, OsString>,
}

impl Outside {
    pub fn open(job: &Job) -> Result<Self, Error> {
        let directory = File::open(&job.outputs).map_err(Error::io(format!("open `{}`", job.outputs.display())))?;
        let base = |path: &String| Path::new(path).file_name().unwrap_or(OsStr::new(path)).to_owned();
        Ok(Self { directory, names: job.manifest.outputs.iter().map(|(k, v)| (k.clone(), base(v))).collect() })
    }

    /// The path by which this process reaches the place of an output.
    pub fn path(&self, output: &str) -> Result<PathBuf, Error> {
        use std::os::fd::AsRawFd as _;
        let name = self.names.get(output).ok_or_else(|| Error::Io {
            what: format!("find a store path for output `{output}`"),
            error: std::io::ErrorKind::NotFound.into(),
        })?;
        Ok(PathBuf::from(format!("/proc/self/fd/{}", self.directory.as_raw_fd())).join(name))
    }

    pub fn create(&self, output: &str) -> Result<File, Error> {
        let path = self.path(output)?;
        File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(Error::io(format!("create output `{output}`")))
    }
}

/// Makes the root and changes into it.
pub fn enter(job: &Job) -> Result<Staged, Error> {
    let mut root = Root { at: job.root.clone(), store: &job.store, staged: Staged::default() };
    mount(None, Path::new("/"), None, libc::MS_REC | libc::MS_PRIVATE, "make mounts private")?;
    mount(Some("tmpfs".as_ref()), &root.at, Some("tmpfs"), libc::MS_NOSUID | libc::MS_NODEV, "mount a tmpfs")?;
    root.devices()?;
    root.tools(job)?;
    root.stage(job)?;
    let staged = root.staged;
    change_root(&job.root)?;
    Ok(staged)
}

struct Root<'a> {
    at: PathBuf,
    store: &'a Path,
    staged: Staged,
}

impl Root<'_> {
    /// A path as commands see it, under the new root while that is still a directory.
    fn inside(&self, path: &Path) -> PathBuf {
        self.at.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The file of a store path, or of a path below one.
    fn physical(&self, store_path: &str) -> PathBuf {
        let path = PathBuf::from(OsString::from_vec(text::to_bytes(store_path)));
        path.strip_prefix("/nix/store").map(|below| self.store.join(below)).unwrap_or(path)
    }

    fn directory(&self, path: &Path) -> Result<(), Error> {
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
            self.bind(&path, &path, Access::Write)?;
        }
        for (name, target) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
            std::os::unix::fs::symlink(target, self.inside(&Path::new("/dev").join(name)))
                .map_err(Error::io("link a device"))?;
        }
        for (name, content) in [
            (
                "passwd",
                "root:x:0:0::/build:/noshell\nnixbld:x:1000:100::/build:/noshell\nnobody:x:65534:65534::/:/noshell\n",
            ),
            ("group", "root:x:0:\nnixbld:!:100:\nnogroup:x:65534:\n"),
            ("hosts", "127.0.0.1 localhost\n::1 localhost\n"),
        ] {
            fs::write(self.inside(&Path::new("/etc").join(name)), content)
                .map_err(Error::io(format!("write `/etc/{name}`")))?;
        }
        fs::set_permissions(self.inside(Path::new("/tmp")), fs::Permissions::from_mode(0o1777))
            .map_err(Error::io("open `/tmp`"))?;
        let proc = self.inside(Path::new("/proc"));
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        mount(Some("proc".as_ref()), &proc, Some("proc"), flags, "mount a new `/proc`")
    }

    fn tools(&self, job: &Job) -> Result<(), Error> {
        for (at, from) in &job.manifest.tools {
            self.bind(&self.physical(from), &to_path(at), Access::Read)?;
        }
        for (at, target) in &job.manifest.links {
            let link = self.inside(&to_path(at));
            std::os::unix::fs::symlink(to_path(target), link).map_err(Error::io(format!("link `{at}`")))?;
        }
        Ok(())
    }

    fn stage(&mut self, job: &Job) -> Result<(), Error> {
        let manifest = &job.manifest;
        let rest = to_path(&manifest.rest);
        self.directory(&rest)?;
        for directory in &manifest.directories {
            self.directory(&to_path(directory))?;
        }
        for (at, from) in &manifest.inputs {
            let at = to_path(at);
            self.input(&self.physical(from), &at, if manifest.observed { OBSERVED } else { COPIED })?;
            self.staged.paths.insert(at);
        }
        for (at, content) in &manifest.files {
            let at = to_path(at);
            self.parent(&at)?;
            fs::write(self.inside(&at), text::to_bytes(content))
                .map_err(Error::io(format!("write `{}`", at.display())))?;
            self.staged.paths.insert(at);
        }
        for at in manifest.writes.values().map(|at| to_path(at)) {
            self.parent(&at)?;
            if !at.starts_with(&rest) {
                self.staged.writable.insert(at.parent().unwrap_or(&at).to_owned());
            }
        }
        self.close(&rest)
    }

    fn parent(&self, at: &Path) -> Result<(), Error> {
        at.parent().map_or(Ok(()), |parent| self.directory(parent))
    }

    fn input(&self, from: &Path, at: &Path, copied: u64) -> Result<(), Error> {
        let what = || format!("stage `{}` as `{}`", from.display(), at.display());
        self.parent(at)?;
        let inside = self.inside(at);
        let metadata = fs::symlink_metadata(from).map_err(Error::io(what()))?;
        if metadata.is_symlink() {
            let target = fs::read_link(from).map_err(Error::io(what()))?;
            std::os::unix::fs::symlink(target, inside).map_err(Error::io(what()))
        } else if metadata.is_dir() || metadata.size() > copied {
            self.bind(from, at, Access::Read)
        } else {
            fs::copy(from, inside).map(drop).map_err(Error::io(what()))
        }
    }

    /// Takes the right to write from every directory on the way to the inputs but the build directory, `/tmp` and
    /// those of outputs; the command then meets the error itself, where it happens.
    fn close(&mut self, rest: &Path) -> Result<(), Error> {
        fn walk(root: &Root<'_>, directory: &Path, rest: &Path, known: &mut BTreeSet<PathBuf>) -> Result<(), Error> {
            let inside = root.inside(directory);
            for entry in fs::read_dir(&inside).map_err(Error::io(format!("list `{}`", directory.display())))? {
                let entry = entry.map_err(Error::io(format!("list `{}`", directory.display())))?;
                let path = directory.join(entry.file_name());
                let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let mounted =
                    || entry.metadata().is_ok_and(|m| fs::symlink_metadata(&inside).is_ok_and(|p| p.dev() != m.dev()));
                if is_directory && !mounted() {
                    walk(root, &path, rest, known)?;
                }
                known.insert(path);
            }
            let writable = directory.starts_with(rest) || root.staged.writable.contains(directory);
            let mode = match directory {
                _ if directory == Path::new("/tmp") => 0o1777,
                _ if writable => 0o755,
                _ => 0o555,
            };
            fs::set_permissions(&inside, fs::Permissions::from_mode(mode))
                .map_err(Error::io(format!("close `{}`", directory.display())))
        }
        let mut known = BTreeSet::new();
        for top in fs::read_dir(&self.at).map_err(Error::io("list the new root"))? {
            let top = top.map_err(Error::io("list the new root"))?;
            let path = Path::new("/").join(top.file_name());
            let own = ["/dev", "/proc", "/etc", "/usr", "/nix"].iter().any(|own| path == Path::new(own));
            if !own && top.file_type().is_ok_and(|kind| kind.is_dir()) {
                walk(self, &path, rest, &mut known)?;
                known.insert(path);
            }
        }
        self.staged.paths.extend(known);
        Ok(())
    }

    fn bind(&self, from: &Path, at: &Path, access: Access) -> Result<(), Error> {
        let inside = self.inside(at);
        let is_directory = fs::metadata(from).map_err(Error::io(format!("look at `{}`", from.display())))?.is_dir();
        if is_directory {
            self.directory(at)?;
        } else {
            self.parent(at)?;
            File::create(&inside).map_err(Error::io(format!("make a place for `{}`", at.display())))?;
        }
        let step = format!("bind `{}` at `{}`", from.display(), at.display());
        mount(Some(from.as_os_str()), &inside, None, libc::MS_BIND | libc::MS_REC, &step)?;
        match access {
            Access::Write => Ok(()),
            Access::Read => read_only(&inside, &step),
        }
    }
}

#[derive(Clone, Copy)]
enum Access {
    Read,
    Write,
}

pub fn to_path(text: &str) -> PathBuf {
    PathBuf::from(OsString::from_vec(text::to_bytes(text)))
}

fn c_string(path: &OsStr) -> CString {
    CString::new(path.as_bytes()).unwrap_or_default() // a NUL cannot be in a path that exists; the call then fails
}

fn mount(from: Option<&OsStr>, at: &Path, kind: Option<&str>, flags: libc::c_ulong, step: &str) -> Result<(), Error> {
    let from = from.map(c_string);
    let kind = kind.map(|kind| c_string(OsStr::new(kind)));
    let at = c_string(at.as_os_str());
    let pointer = |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
    // SAFETY: each pointer is null or a string that lives until the call returns.
    let answer = unsafe { libc::mount(pointer(&from), at.as_ptr(), pointer(&kind), flags, std::ptr::null()) };
    if answer == 0 { Ok(()) } else { Err(refused(step)) }
}

/// Makes a bind mount read-only; the flags that it inherited are locked in a user namespace and must be named again.
fn read_only(at: &Path, step: &str) -> Result<(), Error> {
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
    let flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | (inherited & locked);
    mount(None, at, None, flags, step)
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
    let closed = fs::set_permissions("/", fs::Permissions::from_mode(0o555));
    closed.and_then(|()| std::env::set_current_dir("/")).map_err(Error::io("enter the new root"))
}

fn refused(step: &str) -> Error {
    Error::Refused { step: step.into(), errno: std::io::Error::last_os_error().raw_os_error().unwrap_or(0) }
}
