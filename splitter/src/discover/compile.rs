//! What a compile reads: the includes are scanned, and where that cannot tell all, or what comes out may hold a path, the
//! compiler is asked. The places where it looks before it finds each header are noted.

use super::absent::Lookups;
use super::compilers::ignored;
use super::led;
use super::{Found, Named, Question, is_of_host, is_system, parent, to_path, ways, wide};
use crate::compiler::Compile;
use crate::depfile;
use crate::graph::absolute;
use crate::recipe::Recipe;
use crate::roots::Roots;
use crate::scan::Scanned;
use bstr::{BStr, BString, ByteSlice as _};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};

/// What the compiler says.
struct Answer {
    files: Vec<BString>,
    /// Every directory that it searches, in order.
    search: Vec<BString>,
    /// Directories that it would search if they were there.
    absent: Vec<BString>,
    names_root: bool,
}

/// By the scanner where that can tell. `when_long` is done in the midst of it if it takes long.
pub(super) fn discover(question: &Question<'_>, when_long: &dyn Fn()) -> Found {
    discover_by_scan(question, when_long).unwrap_or_else(|| discover_by_compiler(question))
}

/// By the scanner; none where that cannot tell.
pub(super) fn discover_by_scan(question: &Question<'_>, when_long: &dyn Fn()) -> Option<Found> {
    let (compile, _, cwd) = read(question);
    let scanned = question.headers.scan_long(&compile.ask, &question.recipe.env, cwd.as_bstr(), when_long);
    let suffices = |scanned: &Scanned| question.roots.is_empty() || !question.headers.name_themselves(&scanned.files);
    let scanned = scanned.filter(suffices)?;
    let in_depfile = names_all(question) && !scanned.untold;
    let mut found = Found { in_depfile, ..Found::default() };
    found.scanned(&scanned);
    Some(with_words(question, found))
}

/// A guess at what it reads of the project, by the scanner; none where what comes of it depends on more.
pub(super) fn discover_in_project(question: &Question<'_>) -> Option<Found> {
    if !question.roots.is_empty() {
        return None;
    }
    let (compile, _, cwd) = read(question);
    let scanned = question.headers.scan_of_project(&compile.ask, &question.recipe.env, cwd.as_bstr())?;
    let mut found = Found::default();
    found.scanned(&scanned);
    Some(with_words(question, found))
}

/// The links by which a directory is searched that is searched by another name, too: a compiler knows it by its inode, and leaves one
/// out. Its names where it is no link that gives it several.
fn searched_twice(compile: &Compile, cwd: &BStr) -> BTreeSet<BString> {
    let paths: BTreeSet<BString> = compile.search.iter().map(|path| absolute(path.as_bstr(), cwd)).collect();
    let mut names: BTreeMap<(u64, u64), BTreeSet<BString>> = BTreeMap::new();
    for path in paths {
        if let Ok(directory) = fs::metadata(to_path(path.as_bstr())) {
            names.entry((directory.dev(), directory.ino())).or_default().insert(path);
        }
    }
    let links = |names: BTreeSet<BString>| {
        let links = ways::links_on(&names);
        if links.is_empty() { names } else { links }
    };
    names.into_values().filter(|names| names.len() > 1).flat_map(links).collect()
}

/// Whether the depfile of a compile names every file: `-MMD` leaves out what it takes for the system's.
fn names_all(question: &Question<'_>) -> bool {
    let (_, words, _) = read(question);
    let leaves_out = |word: &BString| [&b"-MMD"[..], b"-MM", b"-Wp,-MMD"].iter().any(|option| word.starts_with(option));
    !words.iter().any(leaves_out)
}

/// By the compiler.
pub(super) fn discover_by_compiler(question: &Question<'_>) -> Found {
    let (compile, _, cwd) = read(question);
    let mut found = Found::default();
    let answer = ask(&compile, question.recipe, cwd.as_bstr(), question.roots);
    let is_answered = answer.is_some();
    match answer {
        Some(answer) => found.read(&answer, &compile, cwd.as_bstr()),
        None => question.stated.iter().for_each(|path| found.file(path.as_bstr())),
    }
    // A script does not name files that a text only asks for. A compiler that gave no answer is to say what is wrong, and not to find
    // less than there is, which a text may do without.
    let is_of_script = compile.ask.first().is_some_and(|program| !is_of_host(program.as_bstr()));
    if (is_of_script || !is_answered)
        && let Some(scanned) = question.headers.guess(&compile.ask, &question.recipe.env, cwd.as_bstr())
    {
        found.scanned(&scanned);
    }
    with_words(question, found)
}

/// A compile, its words, and where it is started.
fn read(question: &Question<'_>) -> (Compile, Vec<BString>, BString) {
    let (argv, cwd) = question.recipe.runs().next().expect("a compile runs one command");
    let words = question.recipe.expanded(&argv, cwd.as_bstr());
    (Compile::read(&words).expect("the recipe says so"), words, cwd)
}

/// What the words of a compile name, besides.
fn with_words(question: &Question<'_>, mut found: Found) -> Found {
    let (compile, words, cwd) = read(question);
    found.words(words.iter().map(|word| word.as_bstr()), cwd.as_bstr(), Named::Directories);
    found.left.extend(searched_twice(&compile, cwd.as_bstr()));
    let program = absolute(words[0].as_bstr(), cwd.as_bstr());
    if !is_of_host(words[0].as_bstr()) {
        // A compiler of the project, such as a script around the host's.
        found.in_depfile = false;
        found.existing(program.as_bstr(), Named::Everything);
        let mut lookups = Lookups::default();
        for path in wide::files_of_script(program.as_bstr()) {
            match fs::symlink_metadata(to_path(path.as_bstr())) {
                Ok(_) => found.existing(path.as_bstr(), Named::Everything),
                Err(_) => lookups.missing(path.as_bstr()),
            }
        }
        lookups.into_found(&mut found);
    }
    found
}

impl Found {
    /// Adds what a scan found.
    fn scanned(&mut self, scanned: &Scanned) {
        scanned.files.iter().for_each(|file| self.file(file.as_bstr()));
        scanned.directories.iter().for_each(|directory| self.through(directory.as_bstr()));
        let mut lookups = Lookups::default();
        scanned.absent.iter().for_each(|path| lookups.missing(path.as_bstr()));
        lookups.into_found(self);
    }

    /// Adds what a compiler may take in the place of a header: it does not say so when it is asked what it reads. GCC 12 manual,
    /// "Using Precompiled Headers", where there may be a directory of them; Clang manual, "Precompiled Headers".
    fn precompiled(&mut self, header: &BString, lookups: &mut Lookups) {
        for end in ["gch", "pch"] {
            let path = BString::from([header.as_slice(), b".", end.as_bytes()].concat());
            match fs::metadata(to_path(path.as_bstr())) {
                Ok(metadata) if metadata.is_dir() => {
                    let inside = fs::read_dir(to_path(path.as_bstr())).into_iter().flatten().flatten();
                    inside.for_each(|entry| {
                        self.existing(entry.path().as_os_str().as_bytes().as_bstr(), Named::Everything)
                    });
                }
                Ok(_) => self.file(path.as_bstr()),
                Err(_) => lookups.missing(path.as_bstr()),
            }
        }
    }

    /// Adds what a compiler read, and the places where it must have looked before.
    fn read(&mut self, answer: &Answer, compile: &Compile, cwd: &BStr) {
        self.names_root = answer.names_root;
        let at = |path: &BString| led::place(path.as_bstr(), cwd).unwrap_or_else(|| absolute(path.as_bstr(), cwd));
        let led = led::follow(&answer.search, cwd);
        led.files.iter().for_each(|file| self.file(file.as_bstr()));
        // The compiler does not list directories that are not there; what lies in them later comes first.
        let reached = |path: &BString| match led::place(path.as_bstr(), cwd) {
            Some(real) => real,
            None => led::reached(path.as_bstr(), cwd),
        };
        let missing = compile.search.iter().map(reached).filter(|path| !to_path(path.as_bstr()).is_dir());
        let places: Vec<BString> = missing.chain(led.directories.iter().map(at)).collect();
        let mut beside: BTreeSet<BString> = BTreeSet::new();
        let mut lookups = Lookups::default();
        for file in &answer.files {
            let is_led = led::place(file.as_bstr(), cwd).is_some();
            for end in file.find_iter("/..").filter(|_| !is_led) {
                self.through(absolute(file[..end].as_bstr(), cwd).as_bstr());
            }
            let file = at(file);
            self.file(file.as_bstr());
            if !is_system(file.as_bstr()) {
                beside.insert(parent(file.as_bstr()).into());
            }
        }
        // An `#include` may have spelt a file relative to any directory that is searched; then it was looked for beside
        // the files that include, and in the directories before that one.
        for file in answer.files.iter().map(at) {
            for (i, place) in places.iter().enumerate() {
                if let Some(name) = below(&file, place) {
                    beside.iter().chain(&places[..i]).for_each(|earlier| lookups.look(earlier, name));
                }
            }
            for name in beside.iter().filter_map(|place| below(&file, place)) {
                beside.iter().for_each(|other| lookups.look(other, name));
            }
        }
        // The first is the source.
        for header in answer.files.iter().skip(1).map(at).filter(|path| !is_system(path.as_bstr())) {
            self.precompiled(&header, &mut lookups);
        }
        let own = self.files.iter().filter_map(|path| fs::read(to_path(path.as_bstr())).ok());
        let asked: BTreeSet<BString> = own.flat_map(|text| probed(&text)).collect();
        for (name, place) in asked.iter().flat_map(|name| beside.iter().chain(&places).map(move |place| (name, place)))
        {
            lookups.look(place, name.as_bstr());
            // It is not told of what is only asked for.
            self.existing(absolute(name.as_bstr(), place.as_bstr()).as_bstr(), Named::Everything);
        }
        answer.absent.iter().for_each(|path| lookups.missing(at(path).as_bstr()));
        lookups.into_found(self);
    }
}

/// What follows a directory in a path below it.
fn below<'a>(file: &'a BString, place: &BString) -> Option<&'a BStr> {
    file.strip_prefix(place.as_slice()).and_then(|rest| rest.strip_prefix(b"/")).map(|rest| rest.as_bstr())
}

/// The names that a text asks for by `__has_include` and its kin; those that a macro makes are not known.
fn probed(text: &[u8]) -> Vec<BString> {
    let mut names = Vec::new();
    for start in text.find_iter("__has_include").chain(text.find_iter("__has_embed")) {
        let rest = text[start..].trim_start_with(|c| c.is_ascii_alphanumeric() || c == '_');
        let Some(rest) = rest.trim_start().strip_prefix(b"(") else { continue };
        let rest = rest.trim_start();
        let end = match rest.first() {
            Some(b'<') => b'>',
            Some(b'"') => b'"',
            _ => continue,
        };
        names.extend(rest[1..].find_byte(end).map(|length| BString::from(&rest[1..=length])));
    }
    names
}

/// Asks the compiler; none if it fails, as it does where a header is missing. Where there are roots, it is asked for the
/// preprocessed text, without line markers, besides.
fn ask(compile: &Compile, recipe: &Recipe, cwd: &BStr, roots: &Roots) -> Option<Answer> {
    let word = |word: &BString| OsStr::from_bytes(word).to_owned();
    let file = tempfile::NamedTempFile::new().ok()?;
    let mut command = Command::new(word(&compile.ask[0]));
    command.args(compile.ask[1..].iter().map(word)).current_dir(to_path(cwd));
    let mode: &[&str] = if roots.is_empty() { &["-M"] } else { &["-E", "-P", "-MD"] };
    command.args(mode).args(["-v", "-MT", "inputs", "-MF"]).arg(file.path());
    command.env_clear().envs(recipe.env.iter().map(|(name, value)| (word(name), word(value))));
    command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    let mut errors = child.stderr.take()?;
    let errors = std::thread::spawn(move || {
        let mut text = Vec::new();
        errors.read_to_end(&mut text).ok();
        text
    });
    let names_root = child.stdout.take().is_some_and(|text| in_stream(text, roots));
    let success = child.wait().ok()?.success();
    let said = errors.join().ok()?;
    let depfile = success.then(|| fs::read(file.path()).ok())??;
    let mut files = depfile::parse(&depfile).ok()?.inputs;
    if files.is_empty() {
        // Assembler that is not preprocessed: the compiler lists nothing.
        files.extend(sources(compile).cloned());
    }
    Some(Answer { files, search: searched(&said), absent: ignored(&said), names_root })
}

/// The words of a compile that are neither options nor their values, for a compiler that lists nothing.
fn sources(compile: &Compile) -> impl Iterator<Item = &BString> {
    compile.ask[1..].iter().filter(|word| word.ends_with(b".s") && !word.starts_with(b"-"))
}

/// Whether a root is named in a stream, read to its end.
fn in_stream(mut stream: impl std::io::Read, roots: &Roots) -> bool {
    let longest = roots.real_paths().map(|path| path.len()).max().unwrap_or(0) + 1;
    let mut buffer: Vec<u8> = Vec::with_capacity(1 << 16);
    let mut chunk = vec![0; 1 << 16];
    let mut found = false;
    while let Ok(read @ 1..) = stream.read(&mut chunk) {
        if found {
            continue;
        }
        buffer.extend_from_slice(&chunk[..read]);
        found = roots.in_text(&buffer);
        buffer.drain(..buffer.len().saturating_sub(longest));
    }
    found
}

/// The search lists that `-v` prints.
pub(crate) fn searched(said: &[u8]) -> Vec<BString> {
    let mut search = Vec::new();
    let mut inside = false;
    for line in said.lines() {
        match line {
            b"End of search list." => inside = false,
            _ if line.ends_with(b"search starts here:") => inside = true,
            _ if inside => search.push(line.trim_start().into()),
            _ => {}
        }
    }
    search
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_asks_for_is_known() {
        let text = b"#if __has_include(<a/b.h>) || __has_include_next( \"c.h\" )\n#elif __has_include(MACRO)\n#endif\n";
        assert_eq!(probed(text), ["a/b.h", "c.h"]);
    }

    #[test]
    fn the_search_lists_are_read_from_what_the_compiler_says() {
        let said =
            b"Using built-in specs.\n#include \"...\" search starts here:\n q\n#include <...> search starts here:\n \
                     i\n /usr/include\nEnd of search list.\nmore\n";
        assert_eq!(searched(said), ["q", "i", "/usr/include"]);
    }

    #[test]
    fn a_root_is_found_across_the_pieces_of_a_stream() {
        let roots = Roots::new([("/home/u/p".into(), "source".into())]);
        let mut text = vec![b' '; (1 << 16) - 4];
        text.extend_from_slice(b"/home/u/p/a.c");
        assert!(in_stream(text.as_slice(), &roots));
        assert!(!in_stream(&b"/home/u/pq"[..], &roots));
    }
}
