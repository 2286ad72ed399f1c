//! Understands a call, as far as something is to be remembered of it; else says why it goes to the compiler.

use super::Around;
use bstr::{BStr, BString, ByteSlice as _};
use ccwrap::arguments::{self, Compile, Links};
use ccwrap::call::{Call, Manner};
use ccwrap::environment;
use ccwrap::precompiled;
use ccwrap::rustup;
use ccwrap::who::{self, Own};
use ccwrap::why::Why;
use splitter::compiler;
use splitter::discover::{crates, to_path};
use splitter::graph::absolute;
use splitter::host_tools::SEARCH_PATH;
use splitter::rustc;
use splitter::toolchain::{interpreter, resolve_program};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, IsTerminal as _, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// What a call is.
pub struct Read {
    /// As it comes.
    pub call: Call,
    /// What it makes.
    pub compile: Compile,
    /// Files that decided how it was understood.
    pub decided: Vec<PathBuf>,
}

impl Around {
    /// What the call is, if something is to be remembered of it.
    pub fn read(&self) -> Result<Read, Why> {
        let mut read = if rustc::is_rustc(self.words[0].as_bstr()) { self.read_rust() } else { self.read_c() }?;
        self.source.get_or_init(|| read.compile.sources.first().cloned().unwrap_or_default());
        if read.compile.sources.iter().any(asks_for_the_compiler) {
            return Err(Why::Disabled);
        }
        if !self.settings.extra_files().iter().all(|file| file.is_file()) {
            return Err(Why::ExtraFile);
        }
        read.call.read.extend(self.settings.variables().clone());
        Ok(read)
    }

    fn read_c(&self) -> Result<Read, Why> {
        if environment::unsupported(|name| env::var_os(name).is_some()).is_some() {
            return Err(Why::Environment);
        }
        if !arguments::is_compiler(self.words[0].as_bstr()) {
            return Err(Why::Compiler);
        }
        let directory = directory()?;
        let read = |file: &BStr| {
            let file = absolute(file, directory.as_bstr());
            // What comes by a pipe can be read once, by the compiler.
            let file = Some(to_path(file.as_bstr())).filter(|file| file.is_file())?;
            fs::read(file).ok().map(BString::from)
        };
        // A linker looks at these, and no derivation does.
        let is_led = ["LD_RUN_PATH", "LD_LIBRARY_PATH"].iter().any(|name| env::var_os(name).is_some());
        let is_wanted = self.settings.is_on("link").unwrap_or(false) && !is_led;
        let links = if is_wanted { Links::Remember } else { Links::Pass };
        let compile = arguments::read(&self.words, &read, links)?;
        has_files(&compile, &directory)?;
        self.look_at_files(directory.as_bstr())?;
        let mut read = self.read_by_script();
        if is_shown() {
            read.extend(environment::OF_TERMINAL.map(|name| (name.into(), variable(name.into()))));
        }
        let all: Vec<_> = variables().collect();
        let mut env = environment::of_compiler(all.into_iter());
        env.extend(read.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))));
        env.extend(self.shown_directory(directory.as_bstr()).map(|shown| ("PWD".into(), shown)));
        let call = Call {
            read,
            env,
            compiler: self.compiler.clone(),
            words: self.words.clone(),
            directory,
            manner: self.manner(&compile),
        };
        Ok(Read { call, compile, decided: self.decided.clone() })
    }

    /// Whether the compiler would read what a derivation does not show it, or tell of it in other words.
    fn look_at_files(&self, directory: &BStr) -> Result<(), Why> {
        let searched = compiler::Compile::read(&self.words).map(|compile| compile.search).unwrap_or_default();
        let is_no_directory = |path: &BString| match fs::metadata(to_path(directory).join(to_path(path.as_bstr()))) {
            Ok(metadata) => !metadata.is_dir(),
            Err(error) => error.kind() == io::ErrorKind::NotADirectory,
        };
        if searched.iter().any(is_no_directory) {
            return Err(Why::Bad);
        }
        if self.words.iter().any(|word| is_pipe(word, directory)) {
            return Err(Why::StandardInput);
        }
        if self.is_clang() && precompiled::is_used(&self.words, &directory.into()) {
            return Err(Why::Precompiled);
        }
        Ok(())
    }

    /// The working directory by a name that leads through a link, where the compiler believes that (getpwd of GCC) and may write it
    /// into what it makes.
    fn shown_directory(&self, directory: &BStr) -> Option<BString> {
        // What an option takes out of it may be another name of the directory.
        let unmapped: Vec<BString> =
            self.words.iter().filter(|word| !word.contains_str("-prefix-map=")).cloned().collect();
        let is_named = compiler::word_for_paths(&unmapped).is_some()
            || self.words.iter().any(|word| word == "-fbranch-probabilities");
        let shown =
            variable("PWD".into()).filter(|shown| is_named && *shown != directory && shown.starts_with(b"/"))?;
        let is_it =
            fs::canonicalize(to_path(shown.as_bstr())).is_ok_and(|real| real.as_os_str().as_bytes() == directory);
        is_it.then_some(shown)
    }

    /// How diagnostics are written.
    fn manner(&self, compile: &Compile) -> Manner {
        let value = |name: &str| variable(name.into());
        let [lc_all, lc_messages, lang] = ["LC_ALL", "LC_MESSAGES", "LANG"].map(|name| value(name).unwrap_or_default());
        let is_shown = is_shown();
        // GCC 12, `colorize_init`: no colours are named.
        let has_none = value("GCC_COLORS").is_some_and(|colours| colours.is_empty()) && !self.is_clang();
        let coloured = is_shown && !compile.says_colours && !has_none;
        let says_links = self.words.iter().any(|word| word.starts_with(b"-fdiagnostics-urls"));
        let links = is_shown && !says_links && !self.is_clang() && environment::has_links(&value);
        Manner { coloured, links, locale: environment::locale(lc_all.as_bstr(), lc_messages.as_bstr(), lang.as_bstr()) }
    }

    fn read_rust(&self) -> Result<Read, Why> {
        let is_set = |name: &str| env::var_os(name).is_some();
        if environment::unsupported_by_rust(is_set).is_some() {
            return Err(Why::Environment);
        }
        let compile = arguments::rust::read(&self.words, io::stderr().is_terminal())?;
        let directory = directory()?;
        let mut decided = self.decided.clone();
        let mut compiler = self.compiler.clone();
        if rustup::is_proxy(&compiler) {
            let directory = to_path(directory.as_bstr());
            decided.extend(rustup::choosers(directory, &|name| env::var_os(name)));
            compiler = rustup::meant(&compiler, directory).ok_or(Why::Compiler)?;
        }
        if let Some(linker) = compile.rust.as_ref().and_then(|rust| rust.linker.as_ref()) {
            if environment::unsupported_by_linker(is_set).is_some() {
                return Err(Why::Environment);
            }
            // A sandbox has the host's own search path.
            let linker = to_path(linker.as_bstr()).as_os_str();
            let path = env::var_os("PATH").unwrap_or_default();
            let found = who::find(linker, &path, &Own::this(), &mut decided);
            let of_sandbox = resolve_program(linker, SEARCH_PATH.as_ref());
            let real = |file: &Option<PathBuf>| file.as_ref().and_then(|file| fs::canonicalize(file).ok());
            if real(&found).is_none() || real(&found) != real(&of_sandbox) {
                return Err(Why::Link);
            }
            decided.extend(found);
        }
        has_files(&compile, &directory)?;
        let root = absolute(compile.sources[0].as_bstr(), directory.as_bstr());
        let named = crates::sources(root.as_bstr(), &variable).variables;
        let env = environment::of_crate(variables(), &named);
        let read = named.into_iter().map(|name| (name.clone(), variable(name.as_bstr()))).collect();
        let call = Call { compiler, words: self.words.clone(), directory, env, read, manner: Manner::default() };
        Ok(Read { call, compile, decided })
    }

    /// Whether the compiler is Clang, whatever it is called. Of a script nobody knows.
    fn is_clang(&self) -> bool {
        fs::canonicalize(&self.compiler).is_ok_and(|file| file.as_os_str().as_bytes().contains_str("clang"))
    }

    /// Variables that the compiler may read if it is a script: nobody else knows of them.
    fn read_by_script(&self) -> BTreeMap<BString, Option<BString>> {
        let text = interpreter(&self.compiler).and_then(|_| fs::read(&self.compiler).ok()).unwrap_or_default();
        environment::named_in(text.as_bstr()).into_iter().map(|name| (name.clone(), variable(name.as_bstr()))).collect()
    }
}

/// The working directory.
fn directory() -> Result<BString, Why> {
    let directory = env::current_dir().map_err(|_| Why::Directory)?;
    Ok(BString::from(directory.as_os_str().as_bytes()))
}

/// Whether diagnostics are for a terminal that has colours.
fn is_shown() -> bool {
    variable("TERM".into()).is_some_and(|term| term != "dumb") && io::stderr().is_terminal()
}

/// A variable of this process.
fn variable(name: &BStr) -> Option<BString> {
    env::var_os(OsStr::from_bytes(name)).map(|value| BString::from(value.as_bytes()))
}

/// All of them.
fn variables() -> impl Iterator<Item = (BString, BString)> {
    env::vars_os().map(|(name, value)| (BString::from(name.as_bytes()), BString::from(value.as_bytes())))
}

/// Whether the sources are there, and places for what is made; else the compiler will say so.
fn has_files(compile: &Compile, directory: &BString) -> Result<(), Why> {
    let at = |path: &BString| absolute(path.as_bstr(), directory.as_bstr());
    if !compile.sources.iter().all(|path| to_path(at(path).as_bstr()).is_file()) {
        return Err(Why::NoInput);
    }
    let has_place = |path: &BString| to_path(at(path).as_bstr()).parent().is_some_and(Path::is_dir);
    // The compiler would write through a link.
    let is_link = |path: &BString| to_path(at(path).as_bstr()).is_symlink();
    let mut made = compile.outputs.iter().chain(&compile.depfile);
    if made.all(|path| has_place(path) && !is_link(path)) { Ok(()) } else { Err(Why::BadOutput) }
}

/// Whether a source says in its first 4096 bytes, as ccache has it, that it is not to be cached.
fn asks_for_the_compiler(source: &BString) -> bool {
    let mut start = Vec::new();
    let read = fs::File::open(to_path(source.as_bstr())).and_then(|file| file.take(4096).read_to_end(&mut start));
    read.is_ok() && ["ccache:disable", "ccwrap:disable"].iter().any(|words| start.contains_str(words))
}

/// Whether a word names a file that can only be read once, such as a pipe or a terminal.
fn is_pipe(word: &BString, directory: &BStr) -> bool {
    let value = ["-include", "-imacros", "@"].iter().find_map(|option| word.strip_prefix(option.as_bytes()));
    let path = value.unwrap_or(word);
    let is_path = !path.is_empty() && !path.starts_with(b"-");
    is_path
        && fs::metadata(to_path(absolute(path.as_bstr(), directory).as_bstr()))
            .is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}
