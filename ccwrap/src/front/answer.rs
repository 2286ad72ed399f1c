//! The answer to a call whose entry stands by looks alone: nothing is read but the entry. The full program (`ccwrap::hit`) says
//! the same, and in more cases.

use crate::bytes::{self, PATH, decimal};
use crate::given::{self, Env};
use crate::kernel::start::Start;
use crate::kernel::{self, ERRORS, File, Of, Open, Status};
use crate::put::Put;
use ccwrap_format::cache::{self, BETWEEN_TOUCHES, ENTRIES, HIT, STATISTICS};
use ccwrap_format::call;
use ccwrap_format::entry::{self, MADE, Numbers, Reader};

/// Of all memory, what is for the text of the call; the rest is for the entry.
const TEXT: usize = 1 << 17;

/// More names that a directory must not hold are looked for faster by listing it, which the full program does.
const FEW_NAMES: usize = 48;

/// More outputs are too many.
const MOST_OUTPUTS: usize = 8;

/// Answers the call; none where that is not possible here. What is written by then may be written again.
pub fn answer(start: Start) -> Option<()> {
    let (of_text, of_entry) = kernel::memory()?.split_at_mut_checked(TEXT)?;
    let env = Env::of(start)?;
    let text = given::text(start, &env, of_text)?;
    let (directory, below) = cache::directory(|name| env.value(name))?;
    let cache = Cache { directory, below };
    let name = call::name(text);
    let (first, rest) = name.split_at_checked(2)?;
    let file = cache.open(&[ENTRIES.as_bytes(), b"/", first, b"/", rest], Open::Read)?;
    let status = kernel::status(Of::File(file))?;
    let (of_entry, buffer) = of_entry.split_at_mut_checked(usize::try_from(status.size).ok()?)?;
    let mut result = newest(whole(file, of_entry)?, text)?;
    stands(&mut result, start)?;
    let now = kernel::now()?;
    let compiler = give(&mut result, Put::new(now, buffer)?)?;
    // All is given. What cannot be noted is not: nobody waits for that.
    let [seconds, _] = now;
    if seconds.saturating_sub(status.modified) > BETWEEN_TOUCHES {
        kernel::touch(file);
    }
    cache.count(seconds, compiler);
    Some(())
}

/// Reads a file as long as the place for it.
fn whole(file: File, place: &mut [u8]) -> Option<&[u8]> {
    let mut length = 0_usize;
    while length < place.len() {
        match kernel::read(file, place.get_mut(length..)?)? {
            0 => return None,
            more => length = length.checked_add(more)?,
        }
    }
    Some(place)
}

/// The newest result of the entry of the call with this text.
fn newest<'a>(file: &'a [u8], text: &[u8]) -> Option<Reader<'a>> {
    let mut entry = entry::open(file).ok()?;
    let is_it = entry.bytes()? == text && entry.bytes().is_some() && entry.number()? > 0;
    if is_it { entry.within() } else { None }
}

/// Whether all that a result depends on is as it was. Leaves what it gave.
fn stands(result: &mut Reader<'_>, start: Start) -> Option<()> {
    let mut place = [0; PATH];
    let mut look = |path: &[u8]| bytes::path(&mut place, &[path]).map(|path| kernel::status(Of::Path(path)));
    result.each(|file| {
        let (path, identity, _content) = file.file()?;
        same(look(path)?, Some(identity?))
    })?;
    let mut place = [0; PATH];
    result.each(|directory| {
        let (path, identity, names) = directory.file()?;
        let status = kernel::status(Of::Target(bytes::path(&mut place, &[path])?));
        if same(status, identity).is_some() {
            return Some(());
        }
        // As where outputs are put beside the sources: then it changes all the time.
        let mut names = names.split(|byte| *byte == b'\n').filter(|name| !name.is_empty());
        names.by_ref().take(FEW_NAMES).try_for_each(|name| {
            let is_there = kernel::status(Of::Path(bytes::path(&mut place, &[path, b"/", name])?)).is_some();
            (!is_there).then_some(())
        })?;
        names.next().is_none().then_some(())
    })?;
    result.each(|directory| {
        let (path, identity, _real) = directory.file()?;
        let of_place = |status: Status| match status.kind() {
            kernel::DIRECTORY => entry::place(status.identity),
            _ => status.identity,
        };
        (look(path)?.map(of_place) == identity).then_some(())
    })?;
    result.each(|there| look(there.bytes()?)?.map(drop))?;
    result.each(|host| {
        let (path, identity) = host.host()?;
        same(look(path)?, identity)
    })?;
    result.each(|variable| {
        let (name, value) = variable.variable()?;
        (given::variable(start, name) == value).then_some(())
    })
}

fn same(status: Option<Status>, identity: Option<Numbers>) -> Option<()> {
    (status.map(|status| status.identity) == identity).then_some(())
}

/// Gives what a result gave, and the name of the compiler. Nothing is written before all outputs are seen to be in the store as they
/// were made.
fn give<'a>(result: &mut Reader<'a>, mut put: Put<'_>) -> Option<&'a [u8]> {
    if result.byte()? != MADE {
        return None;
    }
    let compiler = result.bytes()?;
    let mut outputs = result.clone();
    let mut files = [const { None }; MOST_OUTPUTS];
    let mut free = files.iter_mut();
    let mut place = [0; PATH];
    result.each(|output| {
        let (_, from, identity) = output.output()?;
        let file = kernel::open(bytes::path(&mut place, &[from])?, Open::Read)?;
        let status = kernel::status(Of::File(file))?;
        let mode = status.mode;
        same(Some(status), Some(identity?))?;
        *free.next()? = Some((file, mode));
        Some(())
    })?;
    let mut files = files.into_iter().flatten();
    outputs.each(|output| {
        let (at, _, identity) = output.output()?;
        let [_, _, size, ..] = identity?;
        let (file, mode) = files.next()?;
        put.copy(file, size, mode, at)
    })?;
    result.each(|depfile| {
        let (at, text) = depfile.depfile()?;
        put.text(text, at)
    })?;
    kernel::write(ERRORS, result.bytes()?)?;
    Some(compiler)
}

/// The directory of the cache.
struct Cache<'a> {
    directory: &'a [u8],
    below: &'static str,
}

impl Cache<'_> {
    /// Opens a file in it.
    fn open(&self, pieces: &[&[u8]], how: Open) -> Option<File> {
        let (mut place, mut path) = ([0; PATH], [0; PATH]);
        let within = bytes::joined(&mut place, pieces)?;
        kernel::open(bytes::path(&mut path, &[self.directory, b"/", self.below.as_bytes(), b"/", within])?, how)
    }

    /// Counts a hit.
    fn count(&self, seconds: u64, compiler: &[u8]) -> Option<()> {
        let (mut place, mut digits) = ([0; PATH], [0; 20]);
        let time = decimal(seconds, &mut digits);
        let line = bytes::joined(&mut place, &[time, b" ", HIT.as_bytes(), b" ", compiler, b"\n"])?;
        kernel::write(self.open(&[STATISTICS.as_bytes()], Open::Append)?, line)
    }
}
