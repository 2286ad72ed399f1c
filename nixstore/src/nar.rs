//! The archive form of file trees whose hash names a store path (NAR).
//!
//! A NAR holds what a store keeps of a tree and nothing else: contents, the executable bit, targets of symlinks, names
//! in order of their bytes. Every text in it is a length of 8 bytes, little-endian, its bytes, and zeros up to the next
//! multiple of 8 (Nix 2.34, `archive.cc`).

use crate::Sha256;
use crate::hash::Sha256Writer;
use bstr::{BString, ByteSlice as _};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

/// How many directories deep a NAR may be, counting the file in the last one.
pub const MAX_DEPTH: usize = 64;

/// How many bytes the name of a directory entry may have.
pub const MAX_NAME: usize = 255;

/// How many bytes the target of a symlink may have.
pub const MAX_TARGET: usize = 4095;

/// Writes the NAR of the tree at `path`. Symlinks are archived, not followed; a file is executable if its owner may
/// execute it.
///
/// # Errors
/// [`NarError`] where the tree cannot be read, holds what a NAR cannot, or `out` fails.
pub fn dump<W: io::Write + ?Sized>(path: &Path, out: &mut W) -> Result<(), NarError> {
    let metadata = fs::symlink_metadata(path).map_err(NarError::io("read", path))?;
    // Memory that was never used costs more than what most files hold.
    let most = if metadata.is_dir() { BUFFER } else { BUFFER.min(AROUND_FILE + metadata.len() as usize) };
    let mut writer = Writer::new(out, most);
    writer.text(MAGIC)?;
    writer.tree(path, metadata.file_type(), 0)?;
    writer.flush()
}

/// Writes the NAR of a single file.
///
/// # Errors
/// Those of `out`.
pub fn dump_file<W: io::Write + ?Sized>(contents: &[u8], executable: bool, out: &mut W) -> io::Result<()> {
    let mut head = Vec::with_capacity(160);
    for token in [MAGIC, b"(", b"type", b"regular"] {
        push_text(&mut head, token);
    }
    if executable {
        push_text(&mut head, b"executable");
        push_text(&mut head, b"");
    }
    push_text(&mut head, b"contents");
    head.extend_from_slice(&(contents.len() as u64).to_le_bytes());
    out.write_all(&head)?;
    out.write_all(contents)?;
    let mut end = vec![0; padding(contents.len() as u64)];
    push_text(&mut end, b")");
    out.write_all(&end)
}

/// The hash and the size of the NAR of the tree at `path`.
///
/// # Errors
/// As [`dump`].
pub fn nar_hash(path: &Path) -> Result<(Sha256, u64), NarError> {
    let mut hash = Sha256Writer::new();
    dump(path, &mut hash)?;
    Ok(hash.finish())
}

/// Makes the tree that a NAR holds at `destination`, where nothing may be yet; nothing is made or followed outside of
/// it. Reads no further than the NAR goes. Files get the mode that the process gives to new ones. After an error what
/// was made so far is still there.
///
/// # Errors
/// [`NarError`] where the input is not a NAR, ends too early or fails, or the file system does.
pub fn restore(input: impl io::Read, destination: &Path) -> Result<(), NarError> {
    let mut reader = Reader::new(input);
    while let Some(event) = reader.next()? {
        let inside = reader.path();
        let path = if inside.as_os_str().is_empty() { destination.to_owned() } else { destination.join(inside) };
        match event {
            Event::Directory => fs::create_dir(&path).map_err(NarError::io("make the directory", &path))?,
            Event::Leave => {}
            Event::Symlink { target } => {
                symlink(OsStr::from_bytes(&target), &path).map_err(NarError::io("make the symlink", &path))?;
            }
            Event::File { executable, .. } => {
                let mode = if executable { 0o777 } else { 0o666 };
                let mut file = File::options()
                    .write(true)
                    .create_new(true)
                    .mode(mode)
                    .open(&path)
                    .map_err(NarError::io("make", &path))?;
                reader.copy_contents(&mut file).map_err(|error| match error {
                    NarError::Write(source) => NarError::io("write", &path)(source),
                    error => error,
                })?;
            }
        }
    }
    Ok(())
}

/// Reads a NAR piece by piece: [`Reader::next`] tells of one file, symlink or directory after another, and the contents
/// of a file can be copied before the next.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    /// How many bytes have been read.
    offset: u64,
    /// Where the current object is.
    path: PathBuf,
    /// How many directories are open.
    depth: usize,
    /// For each open directory, the name of its last entry.
    names: Vec<Vec<u8>>,
    state: State,
    buffer: Vec<u8>,
}

/// What a NAR tells next; where, is in [`Reader::path`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A file; its contents can be copied now.
    File {
        /// Whether it is executable.
        executable: bool,
        /// How many bytes it has.
        size: u64,
    },
    /// A symlink.
    Symlink {
        /// What it points to.
        target: BString,
    },
    /// A directory, whose entries follow.
    Directory,
    /// The end of a directory.
    Leave,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing has been read.
    Start,
    /// In a directory, before an entry or the end.
    Entries,
    /// In a file, of whose contents so much is left, and so much padding after them.
    Contents { left: u64, padding: usize },
    /// After the end of an object: what closes the entry it is in, if any, comes next.
    Closing,
    /// Everything has been read, or nothing can be.
    End,
}

impl<R: io::Read> Reader<R> {
    /// A reader of the NAR that `input` begins with. It makes small reads: give it a buffered one.
    pub fn new(input: R) -> Self {
        Self {
            input,
            offset: 0,
            path: PathBuf::new(),
            depth: 0,
            names: Vec::new(),
            state: State::Start,
            buffer: Vec::new(),
        }
    }

    /// Where what was told last is, relative to the root of the tree, which is the empty path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What comes next, `None` after the end. Contents that nobody copied are passed over.
    ///
    /// # Errors
    /// [`NarError`] where the input is not a NAR, ends too early or fails; after that there is nothing to read.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not lend the contents")]
    pub fn next(&mut self) -> Result<Option<Event>, NarError> {
        let state = std::mem::replace(&mut self.state, State::End);
        match state {
            State::Start => {
                self.expect(MAGIC)?;
                self.object().map(Some)
            }
            State::Entries => self.entry().map(Some),
            State::Contents { .. } => {
                self.state = state;
                self.copy_contents(&mut io::sink())?;
                self.next()
            }
            State::Closing if self.depth == 0 => Ok(None),
            State::Closing => {
                self.expect(b")")?;
                self.path.pop();
                self.entry().map(Some)
            }
            State::End => Ok(None),
        }
    }

    /// Copies the contents of the file that was told of last. Does nothing after any other event.
    ///
    /// # Errors
    /// As [`Reader::next`], and [`NarError::Write`] where `out` fails.
    pub fn copy_contents<W: io::Write + ?Sized>(&mut self, out: &mut W) -> Result<(), NarError> {
        let State::Contents { mut left, padding } = self.state else { return Ok(()) };
        self.state = State::End;
        let size = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
        if self.buffer.len() < size {
            self.buffer.resize(size, 0);
        }
        while left > 0 {
            let size = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            let mut buffer = std::mem::take(&mut self.buffer);
            let read = self.read(&mut buffer[..size]);
            let written = read.and_then(|()| out.write_all(&buffer[..size]).map_err(NarError::Write));
            self.buffer = buffer;
            written?;
            left -= size as u64;
        }
        self.padding(padding)?;
        self.expect(b")")?;
        self.state = State::Closing;
        Ok(())
    }

    /// Checks that the input ends with the NAR, of which everything has been read.
    pub(crate) fn expect_end(&mut self) -> Result<(), NarError> {
        let end = self.next()?;
        debug_assert_eq!(end, None, "everything has been read");
        match self.input.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.malformed(Malformed::Trailing)),
            Err(error) => Err(NarError::Read(error)),
        }
    }

    /// Gives back the input, which stands behind the NAR once everything has been read.
    pub fn into_inner(self) -> R {
        self.input
    }

    fn object(&mut self) -> Result<Event, NarError> {
        if self.depth >= MAX_DEPTH {
            return Err(self.malformed(Malformed::TooDeep));
        }
        self.expect(b"(")?;
        self.expect(b"type")?;
        let kind = self.text(MAX_TOKEN)?;
        match kind.as_slice() {
            b"regular" => self.file(),
            b"symlink" => {
                self.expect(b"target")?;
                let target = self.text(MAX_TARGET)?;
                if target.is_empty() || target.contains(&0) {
                    return Err(self.malformed(Malformed::Target));
                }
                self.expect(b")")?;
                self.state = State::Closing;
                Ok(Event::Symlink { target: target.into() })
            }
            b"directory" => {
                self.names.push(Vec::new());
                self.depth += 1;
                self.state = State::Entries;
                Ok(Event::Directory)
            }
            _ => Err(self.malformed(Malformed::Kind(kind.into()))),
        }
    }

    fn file(&mut self) -> Result<Event, NarError> {
        let mut token = self.text(MAX_TOKEN)?;
        let executable = token == b"executable";
        if executable {
            self.expect(b"")?;
            token = self.text(MAX_TOKEN)?;
        }
        if token != b"contents" {
            return Err(self.malformed(Malformed::Token { expected: b"contents".into(), found: token.into() }));
        }
        let size = self.number()?;
        self.state = State::Contents { left: size, padding: padding(size) };
        Ok(Event::File { executable, size })
    }

    fn entry(&mut self) -> Result<Event, NarError> {
        let token = self.text(MAX_TOKEN)?;
        match token.as_slice() {
            b")" => {
                self.names.pop();
                self.depth -= 1;
                self.state = State::Closing;
                return Ok(Event::Leave);
            }
            b"entry" => {}
            _ => return Err(self.malformed(Malformed::Token { expected: b"entry".into(), found: token.into() })),
        }
        self.expect(b"(")?;
        self.expect(b"name")?;
        let name = self.text(MAX_NAME)?;
        if matches!(name.as_slice(), b"" | b"." | b"..") || name.find_byteset(b"/\0").is_some() {
            return Err(self.malformed(Malformed::Name(name.into())));
        }
        let last = self.names.last_mut().expect("an entry is in a directory");
        if *last >= name {
            return Err(self.malformed(Malformed::Unsorted(name.into())));
        }
        self.path.push(OsStr::from_bytes(&name));
        *last = name;
        self.expect(b"node")?;
        self.object()
    }

    fn expect(&mut self, expected: &[u8]) -> Result<(), NarError> {
        let limit = expected.len().max(MAX_TOKEN);
        let found = self.text(limit)?;
        if found == expected {
            Ok(())
        } else {
            Err(self.malformed(Malformed::Token { expected: expected.into(), found: found.into() }))
        }
    }

    fn text(&mut self, limit: usize) -> Result<Vec<u8>, NarError> {
        let len = self.number()?;
        let size = usize::try_from(len).ok().filter(|size| *size <= limit);
        let Some(size) = size else { return Err(self.malformed(Malformed::TooLong { len, limit })) };
        let mut text = vec![0; size];
        self.read(&mut text)?;
        self.padding(padding(len))?;
        Ok(text)
    }

    fn number(&mut self) -> Result<u64, NarError> {
        let mut bytes = [0; 8];
        self.read(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn padding(&mut self, len: usize) -> Result<(), NarError> {
        let mut zeros = [0; 8];
        self.read(&mut zeros[..len])?;
        if zeros == [0; 8] { Ok(()) } else { Err(self.malformed(Malformed::Padding)) }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<(), NarError> {
        match self.input.read_exact(buffer) {
            Ok(()) => {
                self.offset += buffer.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.malformed(Malformed::Truncated)),
            Err(error) => Err(NarError::Read(error)),
        }
    }

    fn malformed(&self, problem: Malformed) -> NarError {
        NarError::Malformed { inside: self.path.clone(), offset: self.offset, problem }
    }
}

/// Why an archive could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum NarError {
    /// The file system failed.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was to be done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// An archive holds files, symlinks and directories, and no devices, sockets or pipes.
    #[error("`{}` is neither a file nor a symlink nor a directory", .0.display())]
    Unsupported(PathBuf),
    /// There are more than [`MAX_DEPTH`] directories above it.
    #[error("`{}` is more than {MAX_DEPTH} directories deep", .0.display())]
    TooDeep(PathBuf),
    /// Its size was another one at first.
    #[error("`{}` changed while it was read", .0.display())]
    Changed(PathBuf),
    /// The archive could not be written to where it goes.
    #[error("cannot write an archive or a file of it")]
    Write(#[source] io::Error),
    /// The archive could not be read from where it comes.
    #[error("cannot read an archive")]
    Read(#[source] io::Error),
    /// The input is not an archive.
    #[error("bad archive: {problem} in `/{}`, before byte {offset}", inside.display())]
    Malformed {
        /// The object that was being read, relative to the root of the tree.
        inside: PathBuf,
        /// How much of the archive had been read.
        offset: u64,
        /// What is wrong.
        problem: Malformed,
    },
}

/// What can be wrong with an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The input ended.
    #[error("it is cut off")]
    Truncated,
    /// The input goes on after the end.
    #[error("there is more after its end")]
    Trailing,
    /// Something else had to come.
    #[error("`{expected}` was expected and `{found}` found")]
    Token {
        /// What had to come.
        expected: BString,
        /// What came.
        found: BString,
    },
    /// A text is longer than it may be.
    #[error("a text of {len} bytes, where {limit} are allowed")]
    TooLong {
        /// How long it is.
        len: u64,
        /// How long it may be.
        limit: usize,
    },
    /// What fills up a text to a multiple of 8 is not zero.
    #[error("non-zero padding")]
    Padding,
    /// An object is neither file, symlink nor directory.
    #[error("unknown kind `{0}`")]
    Kind(BString),
    /// A directory entry cannot have this name.
    #[error("bad name `{0}`")]
    Name(BString),
    /// A directory entry is not behind the one before it.
    #[error("the name `{0}` is out of order")]
    Unsorted(BString),
    /// A symlink points nowhere.
    #[error("bad target of a symlink")]
    Target,
    /// There are more than [`MAX_DEPTH`] directories.
    #[error("more than {MAX_DEPTH} directories deep")]
    TooDeep,
}

impl NarError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

pub(crate) const MAGIC: &[u8] = b"nix-archive-1";

/// No keyword is longer; a larger length is garbage and is not read.
const MAX_TOKEN: usize = 32;

/// How much is read or written at once.
const BUFFER: usize = 256 * 1024;

/// What an archive of one file holds besides the file, at the most.
const AROUND_FILE: usize = 256;

/// How many zeros follow a text of `len` bytes.
fn padding(len: u64) -> usize {
    (len.wrapping_neg() % 8) as usize
}

/// Appends a text with its length and padding.
pub(crate) fn push_text(buffer: &mut Vec<u8>, text: &[u8]) {
    buffer.extend_from_slice(&(text.len() as u64).to_le_bytes());
    buffer.extend_from_slice(text);
    buffer.resize(buffer.len() + padding(text.len() as u64), 0);
}

/// Writes an archive through a large buffer.
struct Writer<'a, W: ?Sized> {
    out: &'a mut W,
    /// As long as it is to be.
    buffer: Box<[u8]>,
    used: usize,
}

impl<'a, W: io::Write + ?Sized> Writer<'a, W> {
    fn new(out: &'a mut W, most: usize) -> Self {
        Self { out, buffer: vec![0; most].into(), used: 0 }
    }

    fn tree(&mut self, path: &Path, file_type: fs::FileType, depth: usize) -> Result<(), NarError> {
        if depth >= MAX_DEPTH {
            return Err(NarError::TooDeep(path.to_owned()));
        }
        self.text(b"(")?;
        self.text(b"type")?;
        if file_type.is_file() {
            self.file(path)?;
        } else if file_type.is_dir() {
            self.directory(path, depth)?;
        } else if file_type.is_symlink() {
            let target = fs::read_link(path).map_err(NarError::io("read the symlink", path))?;
            self.text(b"symlink")?;
            self.text(b"target")?;
            self.text(target.as_os_str().as_bytes())?;
        } else {
            return Err(NarError::Unsupported(path.to_owned()));
        }
        self.text(b")")
    }

    fn directory(&mut self, path: &Path, depth: usize) -> Result<(), NarError> {
        let mut entries: Vec<(OsString, fs::FileType)> = fs::read_dir(path)
            .and_then(|entries| entries.map(|entry| entry.and_then(|e| Ok((e.file_name(), e.file_type()?)))).collect())
            .map_err(NarError::io("read the directory", path))?;
        // On Unix these compare bytewise.
        entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        self.text(b"directory")?;
        let mut below = path.to_owned();
        for (name, file_type) in entries {
            self.text(b"entry")?;
            self.text(b"(")?;
            self.text(b"name")?;
            self.text(name.as_bytes())?;
            self.text(b"node")?;
            below.push(&name);
            self.tree(&below, file_type, depth + 1)?;
            below.pop();
            self.text(b")")?;
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<(), NarError> {
        let mut file = File::open(path).map_err(NarError::io("open", path))?;
        let metadata = file.metadata().map_err(NarError::io("read", path))?;
        if !metadata.is_file() {
            return Err(NarError::Changed(path.to_owned()));
        }
        self.text(b"regular")?;
        if metadata.permissions().mode() & 0o100 != 0 {
            self.text(b"executable")?;
            self.text(b"")?;
        }
        self.text(b"contents")?;
        let size = metadata.len();
        self.bytes(&size.to_le_bytes())?;
        let mut left = size;
        while left > 0 {
            if self.used == self.buffer.len() {
                self.flush()?;
            }
            let free = &mut self.buffer[self.used..];
            let most = usize::try_from(left).unwrap_or(free.len()).min(free.len());
            match file.read(&mut free[..most]) {
                Ok(0) => return Err(NarError::Changed(path.to_owned())),
                Ok(read) => {
                    self.used += read;
                    left -= read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(NarError::io("read", path)(error)),
            }
        }
        self.bytes(&[0; 8][..padding(size)])
    }

    fn text(&mut self, text: &[u8]) -> Result<(), NarError> {
        self.bytes(&(text.len() as u64).to_le_bytes())?;
        self.bytes(text)?;
        self.bytes(&[0; 8][..padding(text.len() as u64)])
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), NarError> {
        if bytes.len() > self.buffer.len() - self.used {
            self.flush()?;
        }
        match self.buffer.get_mut(self.used..self.used + bytes.len()) {
            Some(free) => {
                free.copy_from_slice(bytes);
                self.used += bytes.len();
                Ok(())
            }
            None => self.out.write_all(bytes).map_err(NarError::Write),
        }
    }

    fn flush(&mut self) -> Result<(), NarError> {
        self.out.write_all(&self.buffer[..self.used]).map_err(NarError::Write)?;
        self.used = 0;
        Ok(())
    }
}
