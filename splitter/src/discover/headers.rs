//! The include scanner on the disk: files are read once in a run, and each compiler is asked once what it defines and where
//! it looks by itself.

use super::compilers::{Answer, Question};
use super::led::{self, Led};
use super::{is_system, to_path};
use crate::graph::absolute;
use crate::scan::lex::{FILE_WORDS, Lexed, has_word, lex};
use crate::scan::macros::{Builtin, Definition, Macro};
use crate::scan::options::{Language, Options};
use crate::scan::times::{self, Times};
use crate::scan::{Files, Scanned, Search, Symbol, Symbols, There, Unit, lex::Directive, scan};
use bstr::{BStr, BString, ByteSlice as _};
use hashbrown::{HashMap, HashSet};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

/// What a run has scanned. All threads share one.
#[derive(Debug, Default)]
pub struct Headers {
    symbols: Symbols,
    /// What the build has made since is forgotten: see [`Headers::forget`].
    files: RwLock<HashMap<BString, There>>,
    /// How often that was said: what was read before and comes after it is not kept.
    forgotten: AtomicUsize,
    /// None for one that does not answer.
    compilers: Mutex<HashMap<Asking, Asked>>,
    naming: Mutex<Naming>,
    /// How much was read, in bytes.
    size: AtomicUsize,
    /// Where the answers of compilers are remembered between runs.
    memory: Option<PathBuf>,
}

/// The words of a compiler and its language; and where it is started, if a word may say where it looks from there.
type Asking = (Vec<BString>, Language, BString);

type Asked = Arc<OnceLock<Option<Compiler>>>;

/// What a compiler brings with it.
#[derive(Debug)]
struct Compiler {
    builtin: Builtin,
    search: Led,
    /// Directories that it would search, wherever among the others, if they were there.
    absent: Vec<BString>,
}

/// Macros of the host's headers by which a text names the file that it stands in, as `assert` does.
#[derive(Debug, Default)]
struct Naming {
    words: HashSet<Symbol>,
    /// Headers of the host, and all their macros.
    taken: HashSet<BString>,
    macros: Vec<(Symbol, Arc<Macro>)>,
    /// Of how many of these it is known whether they are among `words`.
    looked: usize,
    files: HashMap<BString, (usize, bool)>,
}

/// Options by which a compiler looks elsewhere for what it brings with it: their paths may be relative.
const PLACES: [&str; 7] = ["--sysroot", "-isysroot", "-B", "-specs", "--specs", "--gcc-toolchain", "-resource-dir"];

impl Files for Headers {
    fn read(&self, path: &BStr) -> There {
        if let Some(known) = self.files.read().unwrap_or_else(PoisonError::into_inner).get(path) {
            return known.clone();
        }
        let forgotten = self.forgotten.load(Ordering::SeqCst);
        let file = to_path(path);
        let lexed = |text: &[u8]| {
            self.size.fetch_add(text.len(), Ordering::Relaxed);
            let pieces = if is_system(path) { BTreeSet::new() } else { times::pieces(text.as_bstr()) };
            Lexed { pieces, ..lex(text, &self.symbols) }
        };
        let there = match read(file, lexed) {
            Ok(Some(lexed)) => There::File(Arc::new(lexed)),
            Ok(None) => There::Other,
            Err(error) if error.kind() == ErrorKind::NotFound || fs::metadata(file).is_err() => There::Nothing,
            Err(_) => There::Other,
        };
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        if is_system(path) || self.forgotten.load(Ordering::SeqCst) == forgotten {
            files.insert(path.into(), there.clone());
        }
        drop(files);
        there
    }
}

/// So much (bytes) is scanned in a fraction of the time that a compiler takes to begin.
const LONG: usize = 512 * 1024;

/// The same files, where it is told once that they are long.
struct Patient<'a> {
    headers: &'a Headers,
    /// How much had been read before.
    from: usize,
    when_long: Cell<Option<&'a dyn Fn()>>,
}

impl Files for Patient<'_> {
    fn read(&self, path: &BStr) -> There {
        let there = self.headers.read(path);
        if self.headers.size.load(Ordering::Relaxed) - self.from > LONG
            && let Some(when_long) = self.when_long.take()
        {
            when_long();
        }
        there
    }
}

/// The same files, but that those of the host are empty.
struct OfProject<'a>(&'a Headers);

impl Files for OfProject<'_> {
    fn read(&self, path: &BStr) -> There {
        if !is_system(path) {
            return self.0.read(path);
        }
        match fs::metadata(to_path(path)) {
            Ok(metadata) if metadata.is_file() => There::File(Arc::default()),
            Ok(_) => There::Other,
            Err(_) => There::Nothing,
        }
    }
}

/// What `use_text` makes of what a file holds; none of what is no file.
fn read<T>(path: &Path, use_text: impl FnOnce(&[u8]) -> T) -> io::Result<Option<T>> {
    thread_local! {
        /// Used for one file after another: fresh memory would cost as much as reading.
        static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    // Who opens a pipe would wait for whoever writes to it.
    let mut file = File::options().read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let size = metadata.len() as usize;
    BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(size.max(buffer.len()), 0);
        let text = &mut buffer[..size];
        file.read_exact(text)?;
        Ok(Some(use_text(text)))
    })
}

impl Headers {
    /// Nothing is scanned yet; the answers of compilers are remembered in a directory.
    pub fn new(memory: Option<&Path>) -> Self {
        Self { memory: memory.map(Path::to_owned), ..Self::default() }
    }

    /// Says that the build has written a file.
    pub fn forget(&self, path: &BStr) {
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        files.remove(path);
    }

    /// Says that files were written, nobody knows which.
    pub fn forget_all(&self) {
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        files.retain(|path, _| is_system(path.as_bstr()));
    }

    /// What a file names of the time, if it was scanned.
    pub fn times(&self, path: &BStr) -> Option<Times> {
        match self.files.read().unwrap_or_else(PoisonError::into_inner).get(path)? {
            There::File(lexed) => Some(lexed.times),
            There::Other | There::Nothing => None,
        }
    }

    /// The words of a file that may be pasted together to a name of the time, if it was scanned.
    pub fn pieces(&self, path: &BStr) -> BTreeSet<BString> {
        match self.files.read().unwrap_or_else(PoisonError::into_inner).get(path) {
            Some(There::File(lexed)) => lexed.pieces.clone(),
            _ => BTreeSet::new(),
        }
    }

    /// What a compile reads that is started with the words `argv`, without those for outputs; none where only the compiler
    /// can say.
    pub fn scan(&self, argv: &[BString], env: &BTreeMap<BString, BString>, cwd: &BStr) -> Option<Scanned> {
        self.scan_long(argv, env, cwd, &|| {})
    }

    /// The same. `when_long` is done in the midst of it if it takes long.
    pub fn scan_long(
        &self,
        argv: &[BString],
        env: &BTreeMap<BString, BString>,
        cwd: &BStr,
        when_long: &dyn Fn(),
    ) -> Option<Scanned> {
        if !super::is_of_host(argv.first()?.as_bstr()) {
            return None;
        }
        let from = self.size.load(Ordering::Relaxed);
        let files = Patient { headers: self, from, when_long: Cell::new(Some(when_long)) };
        self.go_through(&files, argv, env, cwd).filter(|scanned| scanned.incomplete.is_none())
    }

    /// What it probably reads of the project: the same, as though the host's headers said nothing, which takes far less time.
    pub fn scan_of_project(&self, argv: &[BString], env: &BTreeMap<BString, BString>, cwd: &BStr) -> Option<Scanned> {
        if !super::is_of_host(argv.first()?.as_bstr()) {
            return None;
        }
        self.go_through(&OfProject(self), argv, env, cwd).filter(|scanned| scanned.incomplete.is_none())
    }

    /// The same as [`Headers::scan`] as far as it can be told: a script in the place of a compiler may add words of its own.
    pub fn guess(&self, argv: &[BString], env: &BTreeMap<BString, BString>, cwd: &BStr) -> Option<Scanned> {
        self.go_through(self, argv, env, cwd)
    }

    fn go_through(
        &self,
        files: &dyn Files,
        argv: &[BString],
        env: &BTreeMap<BString, BString>,
        cwd: &BStr,
    ) -> Option<Scanned> {
        let options = Options::read(argv).ok()?;
        let (_, language) = *options.sources.first()?;
        let of_other_language = options.sources.iter().any(|(_, other)| *other != language);
        if of_other_language {
            return None;
        }
        let compiler = self.compiler(&options.compiler, language, env, cwd);
        let compiler = compiler.get()?.as_ref()?;
        let search = Search::new(&options, &compiler.search.directories, &|path| led::reached(path, cwd));
        let (symbols, builtin) = (&self.symbols, &compiler.builtin);
        let mut scanned = scan(&Unit { files, symbols, options: &options, search: &search, builtin, cwd });
        scanned.absent.extend(compiler.absent.iter().map(|path| absolute(path.as_bstr(), cwd)));
        // A depfile has the paths by which they were found.
        scanned.untold |= !compiler.search.files.is_empty();
        scanned.files.extend(compiler.search.files.iter().cloned());
        Some(scanned)
    }

    fn compiler(&self, words: &[BString], language: Language, env: &BTreeMap<BString, BString>, cwd: &BStr) -> Asked {
        let matters = |word: &&BString| {
            ![&b"-W"[..], b"-g", b"-save-temps", b"--coverage", b"-fprofile", b"-ftest-coverage", b"-fdump", b"-ftime-"]
                .iter()
                .any(|option| word.starts_with(option))
        };
        let words: Vec<BString> = words.iter().filter(matters).cloned().collect();
        let names_place = |word: &BString| PLACES.iter().any(|option| word.starts_with(option.as_bytes()));
        let place = if words.iter().any(names_place) { cwd.into() } else { BString::default() };
        let known = {
            let mut compilers = self.compilers.lock().unwrap_or_else(PoisonError::into_inner);
            compilers.entry((words.clone(), language, place.clone())).or_default().clone()
        };
        known.get_or_init(|| {
            // Plain assembler is not preprocessed.
            let none = Compiler { builtin: Builtin::new(), search: Led::default(), absent: Vec::new() };
            if language.is_empty() {
                Some(none)
            } else {
                self.ask(Question { words: &words, language, env, cwd, place: place.as_bstr() })
            }
        });
        known
    }

    /// Asks a compiler what it defines and where it looks; none if it does not answer.
    fn ask(&self, question: Question<'_>) -> Option<Compiler> {
        let Answer { defined, search, absent } = question.answer(self.memory.as_deref())?;
        let lines = defined.lines();
        let defined = lines.filter_map(|line| Macro::read(line.strip_prefix(b"#define ")?, &self.symbols));
        let builtin = defined.map(|(name, definition)| (name, Definition::Is(Arc::new(definition)))).collect();
        Some(Compiler { builtin, search: led::follow(&search, question.cwd), absent })
    }

    /// Whether a text of the project among `files` may name the file that it stands in, so that what is made of it holds a
    /// path.
    pub fn name_themselves(&self, files: &HashSet<BString>) -> bool {
        let mut naming = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let known = self.files.read().unwrap_or_else(PoisonError::into_inner);
            for path in files.iter().filter(|path| is_system(path.as_bstr())) {
                if let Some(There::File(lexed)) = known.get(path) {
                    naming.take(path, lexed);
                }
            }
        }
        naming.look(&self.symbols);
        files.iter().filter(|path| !is_system(path.as_bstr())).any(|path| naming.names_itself(path, &self.symbols))
    }
}

impl Naming {
    /// Takes the macros of a header of the host, once.
    fn take(&mut self, path: &BString, lexed: &Lexed) {
        if self.taken.insert(path.clone()) {
            self.macros.extend(lexed.directives.iter().filter_map(|directive| match directive {
                Directive::Define(name, definition) => Some((*name, definition.clone())),
                _ => None,
            }));
        }
    }

    /// Finds the macros that name a file, or are made of such as do.
    fn look(&mut self, symbols: &Symbols) {
        if self.words.is_empty() {
            self.words.extend(FILE_WORDS.iter().map(|word| symbols.of(word)));
        }
        let mut from = std::mem::replace(&mut self.looked, self.macros.len());
        loop {
            let before = self.words.len();
            for (name, definition) in &self.macros[from..] {
                let is_one = |word: &[u8]| symbols.find(word).is_some_and(|word| self.words.contains(&word));
                if !self.words.contains(name) && has_word(definition.body.as_bstr(), &is_one) {
                    self.words.insert(*name);
                }
            }
            if self.words.len() == before {
                return;
            }
            from = 0; // others may be made of those that are new
        }
    }

    fn names_itself(&mut self, path: &BString, symbols: &Symbols) -> bool {
        if let Some((of, names)) = self.files.get(path).filter(|(of, names)| *names || *of == self.words.len()) {
            return *names && *of > 0;
        }
        let text = fs::read(to_path(path.as_bstr())).unwrap_or_default();
        let words = &self.words;
        let names = has_word(text.as_bstr(), &|word| symbols.find(word).is_some_and(|word| words.contains(&word)));
        self.files.insert(path.clone(), (self.words.len(), names));
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_of_the_project_is_guessed_as_though_the_hosts_headers_said_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let cwd =
            BString::from(directory.path().canonicalize().expect("it is there").into_os_string().into_encoded_bytes());
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).expect("a file");
        write("x.c", "#include <limits.h>\n#include \"a.h\"\n#ifdef CHAR_BIT\n#include \"b.h\"\n#endif\n");
        write("a.h", "#include <none.h>\n#ifdef X\n#include \"c.h\"\n#endif\n");
        write("b.h", "");
        write("c.h", "");
        let headers = Headers::default();
        let argv = ["gcc", "-DX", "x.c"].map(BString::from);
        let of_project = |scanned: Option<Scanned>| -> Option<Vec<String>> {
            let names = scanned?
                .files
                .into_iter()
                .filter_map(|path| Some(path.strip_prefix(cwd.as_slice())?.to_str().ok()?.to_owned()));
            Some(names.collect::<BTreeSet<_>>().into_iter().collect())
        };
        let env = BTreeMap::new();
        let Some(guessed) = of_project(headers.scan_of_project(&argv, &env, cwd.as_bstr())) else {
            return println!("not run: there is no gcc");
        };
        assert_eq!(guessed, ["/a.h", "/c.h", "/x.c"]);
        // What was not read for it is read then.
        let read = of_project(headers.scan(&argv, &env, cwd.as_bstr()));
        assert_eq!(read.expect("gcc is there"), ["/a.h", "/b.h", "/c.h", "/x.c"]);
    }
}
