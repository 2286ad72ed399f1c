//! The command `ccwrap-full`: reads the environment once, finds out who is meant, and answers. The command `ccwrap` becomes it for
//! what it does not answer itself; then this one is called as that one was.

mod ourselves;

use bstr::{BStr, BString, ByteSlice as _};
use ccwrap::arguments::{self, Compile, Links};
use ccwrap::cache::Cache;
use ccwrap::call::{Call, Manner};
use ccwrap::command_line;
use ccwrap::entry::Refusal;
use ccwrap::environment;
use ccwrap::explain;
use ccwrap::hit::{self, Answer, Miss};
use ccwrap::miss::{self, Job, NotMade};
use ccwrap::precompiled;
use ccwrap::raw::{self, Raw};
use ccwrap::rustup;
use ccwrap::settings::{self, Places, SettingError, Settings, Whose};
use ccwrap::statistics::{self, Counter, Statistics, Trouble};
use ccwrap::who::{self, Own, Who};
use ccwrap::why::Why;
use localstore::{ChoiceError, Early};
use nixstore::causes::with_causes;
use rustix::fs::Mode;
use splitter::compiler;
use splitter::discover::{crates, to_path};
use splitter::graph::absolute;
use splitter::host_tools::SEARCH_PATH;
use splitter::materialise;
use splitter::rustc;
use splitter::toolchain::{interpreter, resolve_program};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::{env, fs};

fn main() -> ExitCode {
    let raw = raw_call();
    let variable = |name: &str| env::var_os(name);
    let cache = cache_before_compiler().or_else(|| settings::directory(&variable)).map(Cache::new);
    let text = raw.text();
    let name = raw::name(&text);
    let mut miss = Miss::New;
    let mut unasked = true;
    if let Some(cache) = cache.as_ref().filter(|_| !raw.asks_for_more()) {
        match hit::answer(cache, &name, &text, &mut io::stderr().lock()) {
            Ok(Answer::Hit(compiler)) => {
                Statistics::new(cache.directory()).count(Counter::Hit, &compiler);
                return ExitCode::SUCCESS;
            }
            Ok(Answer::Miss(why)) => (miss, unasked) = (why, false),
            // Once it is known whose call it is, that is said again.
            Ok(Answer::Refused(_)) | Err(_) => {}
        }
    }
    let path = variable("CCWRAP_PATH").or_else(|| variable("CCACHE_PATH")).or_else(|| variable("PATH"));
    match who::is_meant(env::args_os(), &path.unwrap_or_default(), &Own::this()) {
        Who::Ourselves(arguments) => own(&arguments),
        Who::Compiler { settings, file, absent, words } => {
            let known = Known { text, name, miss, unasked };
            compile(&settings, file, absent, words, cache, &known)
        }
    }
}

/// The cache that a word before the compiler names: `ccwrap cache_dir=DIR gcc …`.
fn cache_before_compiler() -> Option<PathBuf> {
    let words = env::args_os().skip(1).map_while(|word| {
        let (name, value) = word.as_bytes().split_once_str("=").filter(|(name, _)| !name.starts_with(b"-"))?;
        Some((name.to_ascii_lowercase(), OsStr::from_bytes(value).to_owned()))
    });
    let is_cache = |name: &[u8]| [&b"cache_dir"[..], b"ccwrap_dir", b"ccache_dir"].contains(&name);
    let value = words.filter(|(name, _)| is_cache(name)).last()?.1;
    std::path::absolute(value).ok()
}

/// How this process was called.
fn raw_call() -> Raw {
    let bytes = |text: OsString| BString::from(text.as_bytes());
    let directory = env::current_dir().unwrap_or_default();
    Raw {
        words: env::args_os().map(bytes).collect(),
        directory: directory.as_os_str().as_bytes().into(),
        env: env::vars_os().map(|(name, value)| (bytes(name), bytes(value))).collect(),
        terminal: io::stderr().is_terminal(),
    }
}

/// What the cache is asked for, and what it has said.
struct Known {
    text: BString,
    name: String,
    miss: Miss,
    /// It was not asked, or has said something else than that there is nothing.
    unasked: bool,
}

fn own(arguments: &[OsString]) -> ExitCode {
    let asked = match command_line::read(arguments) {
        Ok(asked) => asked,
        Err(problem) => {
            eprintln!("ccwrap: {problem}");
            return ExitCode::FAILURE;
        }
    };
    match ourselves::act(&asked) {
        Ok((said, code)) => {
            io::stdout().lock().write_all(said.as_bytes()).ok(); // nobody listens
            ExitCode::from(code)
        }
        Err(error) => {
            eprintln!("ccwrap: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// A call of a compiler, with all that is found around it.
struct Around<'a> {
    compiler: PathBuf,
    words: Vec<BString>,
    /// Files that decided how the call was understood.
    decided: Vec<PathBuf>,
    settings: Settings,
    cache: Option<Cache>,
    known: &'a Known,
    strict: bool,
    /// The file mode creation mask that this process was started with, where it has another now.
    mask: OnceCell<Mode>,
    /// A sandbox that is begun as soon as it is likely that the compiler will run.
    early: Mutex<Option<Early>>,
    /// What is compiled, once that is known.
    source: OnceCell<BString>,
}

fn compile(
    set: &[OsString],
    file: Option<PathBuf>,
    absent: Vec<PathBuf>,
    words: Vec<BString>,
    cache: Option<Cache>,
    known: &Known,
) -> ExitCode {
    let variable = |name: &str| env::var_os(name);
    let places = Places::of(&variable, &env::current_dir().unwrap_or_default());
    let settings = Settings::read(&places.files, &variable, set);
    let (settings, problem) = match settings {
        Ok(settings) => (settings, None),
        Err(error) => (Settings::read(&[], &variable, &[]).expect("only our own variables are read"), Some(error)),
    };
    let strict = settings.is_on("strict").unwrap_or_default();
    let Some(compiler) = settings.get("compiler").map(PathBuf::from).or(file) else {
        eprintln!("ccwrap: no compiler `{}` is found", words[0]);
        if let Some(cache) = &cache {
            Statistics::new(cache.directory()).count(Counter::Error(Trouble::CompilerMissing), &words[0].to_string());
        }
        return ExitCode::FAILURE;
    };
    if let Some(file) = places.files.iter().find(|file| file.whose == Whose::Strangers)
        && cache.as_ref().is_some_and(|cache| !cache.was_told("told-of-settings"))
    {
        let file = file.path.display();
        eprintln!("ccwrap: warning: {file} is not read: it is another user's, or everybody may write it");
    }
    let decided = places.paths.into_iter().chain(absent).chain([compiler.clone()]).collect();
    let (mask, early, source) = (OnceCell::new(), Mutex::default(), OnceCell::new());
    let around = Around { compiler, words, decided, settings, cache, known, strict, mask, early, source };
    if let Some(error) = problem {
        return around.in_trouble(Trouble::Settings, &error.to_string());
    }
    match around.answer() {
        Ok(code) => code,
        Err(error) => around.in_trouble(Trouble::Settings, &error.to_string()),
    }
}

/// Why nothing was made.
enum NotDone {
    /// The compiler has to do it; it is counted so.
    Pass(Counter),
    /// A signal has come.
    Stopped(i32),
}

impl Around<'_> {
    /// Answers a call that no entry has answered yet.
    fn answer(&self) -> Result<ExitCode, SettingError> {
        if self.settings.is_on("disable")? {
            return Ok(self.pass(Counter::Uncacheable(Why::Disabled)));
        }
        let Read { mut call, compile, decided } = match self.read() {
            Ok(read) => read,
            Err(why) => return Ok(self.pass(Counter::Uncacheable(why))),
        };
        call.read.extend(self.settings.variables().clone());
        self.source.get_or_init(|| compile.sources[0].clone());
        if compile.sources.iter().any(asks_for_the_compiler) {
            return Ok(self.pass(Counter::Uncacheable(Why::Disabled)));
        }
        if !self.settings.extra_files().iter().all(|file| file.is_file()) {
            return Ok(self.pass(Counter::Uncacheable(Why::ExtraFile)));
        }
        self.take_mask()?;
        let recache = self.settings.is_on("recache")?;
        let read_only = self.settings.is_on("read_only")? || self.cache.as_ref().is_some_and(|cache| !cache.is_ours());
        let by_entry = self.settings.is_on("direct_mode")? && !self.settings.is_quietly_logged();
        let cache = self.cache.as_ref().filter(|_| by_entry);
        let Known { text, name, miss, .. } = self.known;
        // Who else makes the same is waited for.
        let alone = cache.filter(|_| !read_only).and_then(|cache| cache.lock(name).ok());
        let is_asked_again = self.known.unasked || alone.as_ref().is_some_and(|(_, waited)| *waited);
        let mut miss = miss.clone();
        if let Some(cache) = cache.filter(|_| !recache && is_asked_again) {
            match hit::answer(cache, name, text, &mut io::stderr().lock()) {
                Ok(Answer::Hit(_)) => return Ok(self.done(Counter::Hit)),
                Ok(Answer::Refused(refusal)) => {
                    drop(alone);
                    return Ok(self.pass(Counter::Uncacheable(why(refusal))));
                }
                Ok(Answer::Miss(why)) if why != Miss::New => miss = why,
                Ok(Answer::Miss(_)) => {}
                Err(error) => {
                    // The compiler cannot write there either, and says so.
                    self.log(&with_causes(&error));
                    drop(alone);
                    return Ok(self.pass(Counter::Uncacheable(Why::Output)));
                }
            }
        }
        if read_only {
            return Ok(self.pass(Counter::Uncacheable(Why::ReadOnly)));
        }
        let output = absolute(compile.outputs[0].as_bstr(), call.directory.as_bstr());
        self.log(&format!("{output}: {miss}"));
        let (explained, whole_cache) = (Once::new(), self.cache.as_ref());
        let explain = || {
            explained.call_once(|| {
                whole_cache.iter().for_each(|cache| explain::note(cache, output.as_bstr(), text.as_bstr(), &miss));
            });
        };
        let made = self.make(&call, &compile, &decided, recache, by_entry, &explain);
        explain();
        drop(alone); // what is left to be done makes nothing for others
        Ok(match made {
            Ok(code) => code,
            Err(NotDone::Pass(counter)) => self.pass(counter),
            Err(NotDone::Stopped(signal)) => {
                // A shell and make stop too, if they see that a signal has ended it.
                signal_hook::low_level::emulate_default_handler(signal).ok(); // else by the code that they know
                ExitCode::from(128 + u8::try_from(signal).unwrap_or_default())
            }
        })
    }

    /// Takes the file mode creation mask that is set for what is kept. What is made keeps that of the caller.
    fn take_mask(&self) -> Result<(), SettingError> {
        if let Some(mask) = self.settings.umask()? {
            let callers = rustix::process::umask(Mode::from_raw_mode(mask));
            materialise::mask(callers.as_raw_mode());
            self.mask.get_or_init(|| callers);
        }
        Ok(())
    }

    /// Makes it in the store.
    fn make(
        &self,
        call: &Call,
        compile: &Compile,
        decided: &[PathBuf],
        afresh: bool,
        remembers: bool,
        meanwhile: &(dyn Fn() + Sync),
    ) -> Result<ExitCode, NotDone> {
        let (cancelled, by) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let ignored = ignored_signals();
        let is_heard = |signal: &i32| ignored >> (signal - 1) & 1 == 0;
        // A file that becomes larger than it may is an error like others, and the compiler has a limit of its own.
        let too_large = Some(signal_hook::consts::SIGXFSZ).filter(is_heard);
        too_large.map(|signal| signal_hook::flag::register(signal, Arc::default()));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP]
            .into_iter()
            .filter(is_heard)
        {
            let number = usize::try_from(signal).expect("signals are positive");
            signal_hook::flag::register_usize(signal, by.clone(), number).ok(); // then it ends without being asked
            signal_hook::flag::register(signal, cancelled.clone()).ok();
        }
        let settings = &self.settings;
        let (text, name) = (self.known.text.as_bstr(), self.known.name.as_str());
        let early = &self.early;
        let (cache, cancelled) = (self.cache.as_ref(), &cancelled);
        let job =
            Job { call, compile, settings, cache, afresh, remembers, decided, text, name, cancelled, early, meanwhile };
        match job.make(&|phrase| self.log(phrase)) {
            Ok(made) => {
                io::stderr().lock().write_all(&made.log).ok(); // nobody listens
                Ok(self.done(if made.ran { Counter::Miss } else { Counter::StoreHit }))
            }
            Err(_) if cancelled.load(Ordering::SeqCst) => {
                let signal = i32::try_from(by.load(Ordering::SeqCst)).expect("it was an i32");
                Err(NotDone::Stopped(signal))
            }
            Err(NotMade::Failed(failure)) => {
                self.log(&format!("{}: {failure}", compile.outputs[0]));
                Err(NotDone::Pass(Counter::Uncacheable(Why::Failed)))
            }
            Err(NotMade::Refused(refusal)) => Err(NotDone::Pass(Counter::Uncacheable(why(refusal)))),
            Err(NotMade::Spoilt(_)) => {
                Ok(self.in_trouble(Trouble::Internal, "the store has files that are not what was made"))
            }
            Err(NotMade::Trouble(error)) if matches!(error.downcast_ref(), Some(ChoiceError::NixBuild)) => {
                Ok(self.without_daemon())
            }
            Err(NotMade::Trouble(error)) => Ok(self.in_trouble(Trouble::Internal, &with_causes(&*error))),
        }
    }

    /// What the call is, if something is to be remembered of it.
    fn read(&self) -> Result<Read, Why> {
        if rustc::is_rustc(self.words[0].as_bstr()) {
            return self.read_rust();
        }
        let variable = |name: &str| BString::from(env::var_os(name).unwrap_or_default().as_bytes());
        if environment::unsupported(|name| env::var_os(name).is_some()).is_some() {
            return Err(Why::Environment);
        }
        if !arguments::is_compiler(self.words[0].as_bstr()) {
            return Err(Why::Compiler);
        }
        let directory = env::current_dir().map_err(|_| Why::Directory)?;
        let directory = BString::from(directory.as_os_str().as_bytes());
        let at = |path: &BString| absolute(path.as_bstr(), directory.as_bstr());
        let read = |file: &BStr| {
            let file = at(&file.into());
            // What comes by a pipe can be read once, by the compiler.
            let file = Some(to_path(file.as_bstr())).filter(|file| file.is_file())?;
            fs::read(file).ok().map(BString::from)
        };
        // A linker looks at these, and no derivation does.
        let is_led = ["LD_RUN_PATH", "LD_LIBRARY_PATH"].iter().any(|name| env::var_os(name).is_some());
        let is_wanted = self.settings.is_on("link").unwrap_or(false) && !is_led;
        let links = if is_wanted { Links::Remember } else { Links::Pass };
        // What was made once was understood.
        let was_made = matches!(self.known.miss, Miss::Changed(_) | Miss::Lost(_));
        if was_made {
            self.begin_early(directory.as_bstr());
        }
        let compile = arguments::read(&self.words, &read, links)?;
        if !was_made {
            self.begin_early(directory.as_bstr());
        }
        has_files(&compile, &directory)?;
        let searched = compiler::Compile::read(&self.words).map(|compile| compile.search).unwrap_or_default();
        if searched.iter().any(|path| fs::metadata(to_path(at(path).as_bstr())).is_ok_and(|it| !it.is_dir())) {
            return Err(Why::Bad); // the compiler tells of it
        }
        if self.words.iter().any(|word| is_pipe(word, &directory)) {
            return Err(Why::StandardInput);
        }
        if self.is_clang() && precompiled::is_used(&self.words, &directory) {
            return Err(Why::Precompiled);
        }
        // A compiler believes PWD (getpwd of GCC), and names it in debug information.
        let known_by_link = {
            let shown = variable("PWD");
            shown != directory
                && shown.starts_with(b"/")
                && fs::canonicalize(OsStr::from_bytes(&shown))
                    .is_ok_and(|real| real.as_os_str().as_bytes() == directory.as_slice())
        };
        // What an option takes out of it may be another name of the directory.
        let unmapped: Vec<BString> =
            self.words.iter().filter(|word| !word.contains_str("-prefix-map=")).cloned().collect();
        if known_by_link && compiler::word_for_paths(&unmapped).is_some() {
            return Err(Why::Directory);
        }
        let [lc_all, lc_messages, lang] = ["LC_ALL", "LC_MESSAGES", "LANG"].map(variable);
        let set = |name: &str| env::var_os(name).map(|value| BString::from(value.as_bytes()));
        let is_shown = set("TERM").is_some_and(|term| term != "dumb") && io::stderr().is_terminal();
        let coloured = !compile.says_colours && is_shown;
        let says_links = self.words.iter().any(|word| word.starts_with(b"-fdiagnostics-urls"));
        let links = coloured && !says_links && !self.is_clang() && environment::has_links(&set);
        let locale = environment::locale(lc_all.as_bstr(), lc_messages.as_bstr(), lang.as_bstr());
        let mut read = self.read_by_script();
        if is_shown {
            read.extend(environment::OF_TERMINAL.map(|name| (name.into(), set(name))));
        }
        let all: Vec<_> = variables().collect();
        let mut env = environment::of_compiler(all.into_iter());
        env.extend(read.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))));
        let call = Call {
            read,
            env,
            compiler: self.compiler.clone(),
            words: self.words.clone(),
            directory,
            manner: Manner { coloured, links, locale },
        };
        Ok(Read { call, compile, decided: self.decided.clone() })
    }

    /// Begins what the compiler runs in, which is made while the rest is found out, where it is likely to run.
    fn begin_early(&self, directory: &BStr) {
        if !self.known.unasked && !self.settings.is_on("read_only").unwrap_or(false) {
            *self.early() = miss::early(&self.settings, self.cache.as_ref(), to_path(directory));
        }
    }

    fn early(&self) -> MutexGuard<'_, Option<Early>> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same of a call of rustc.
    fn read_rust(&self) -> Result<Read, Why> {
        let is_set = |name: &str| env::var_os(name).is_some();
        if environment::unsupported_by_rust(is_set).is_some() {
            return Err(Why::Environment);
        }
        let compile = arguments::rust::read(&self.words, io::stderr().is_terminal())?;
        let directory = env::current_dir().map_err(|_| Why::Directory)?;
        let mut decided = self.decided.clone();
        let mut compiler = self.compiler.clone();
        if rustup::is_proxy(&compiler) {
            decided.extend(rustup::choosers(&directory, &|name| env::var_os(name)));
            compiler = rustup::meant(&compiler, &directory).ok_or(Why::Compiler)?;
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
        let directory = BString::from(directory.as_os_str().as_bytes());
        has_files(&compile, &directory)?;
        let root = absolute(compile.sources[0].as_bstr(), directory.as_bstr());
        let value = |name: &BStr| env::var_os(to_path(name)).map(|value| BString::from(value.as_bytes()));
        let named = crates::sources(root.as_bstr(), &value).variables;
        let env = environment::of_crate(variables(), &named);
        let read = named.into_iter().map(|name| (name.clone(), value(name.as_bstr()))).collect();
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
        let value = |name: &BString| env::var_os(OsStr::from_bytes(name)).map(|value| value.as_bytes().into());
        environment::named_in(text.as_bstr()).into_iter().map(|name| (name.clone(), value(&name))).collect()
    }

    fn statistics(&self, counter: Counter) {
        if let Some(file) = self.settings.get("stats_log") {
            let source = self.source.get().map(|source| source.as_bstr()).unwrap_or_default();
            statistics::log(Path::new(file), source, counter);
        }
        let counts = self.settings.is_on("stats").unwrap_or(true);
        if let Some(cache) = self.cache.as_ref().filter(|_| counts) {
            let name = self.compiler.file_name().unwrap_or_default().to_string_lossy();
            Statistics::new(cache.directory()).count(counter, &name);
        }
    }

    fn done(&self, counter: Counter) -> ExitCode {
        self.statistics(counter);
        ExitCode::SUCCESS
    }

    /// Lets the compiler do it. Comes back only where it cannot be started.
    fn pass(&self, counter: Counter) -> ExitCode {
        self.statistics(counter);
        drop(self.early().take());
        if let Some(mask) = self.mask.get() {
            rustix::process::umask(*mask);
        }
        let word = |word: &BString| OsStr::from_bytes(word).to_owned();
        let mut command = process::Command::new(&self.compiler);
        // GCC looks for its parts beside the program that `PATH` has under its name, which is not to be ours.
        let path = env::var_os("PATH").unwrap_or_default();
        let named = Some(word(&self.words[0])).filter(|name| {
            self.words[0].contains(&b'/') || resolve_program(name, &path).is_some_and(|it| it == self.compiler)
        });
        let error = command
            .arg0(named.unwrap_or_else(|| self.compiler.clone().into_os_string()))
            .args(self.words[1..].iter().map(word))
            .exec();
        eprintln!("ccwrap: cannot start `{}`: {error}", self.compiler.display());
        ExitCode::from(127)
    }

    /// Something of ours did not work: it is told, and the compiler does it, unless that is not wanted.
    fn in_trouble(&self, trouble: Trouble, problem: &str) -> ExitCode {
        self.log(problem);
        if self.strict {
            eprintln!("ccwrap: {problem}");
            self.statistics(Counter::Error(trouble));
            return ExitCode::FAILURE;
        }
        eprintln!("ccwrap: warning: {}; the compiler is called", problem.lines().next().unwrap_or_default());
        self.pass(Counter::Error(trouble))
    }

    /// A Nix build has no store for us, which is told once in a build.
    fn without_daemon(&self) -> ExitCode {
        let problem = "this is a Nix build without a daemon: `requiredSystemFeatures = [ \"recursive-nix\" ]` gives it one, \
                       CCWRAP_DIR another store";
        if self.strict || self.cache.as_ref().is_some_and(|cache| !cache.was_told("told-of-no-daemon")) {
            return self.in_trouble(Trouble::Internal, problem);
        }
        self.log(problem);
        self.pass(Counter::Error(Trouble::Internal))
    }

    /// Writes a line to the log file, if there is one.
    fn log(&self, line: &str) {
        let Some(file) = self.settings.get("log_file") else { return };
        let line = format!("[{}] {line}\n", process::id());
        let open = fs::File::options().append(true).create(true).open(file);
        open.and_then(|mut file| file.write_all(line.as_bytes())).ok(); // the log is no reason to fail
    }
}

/// The signals that this process was told to ignore, as a mask: those that a background job is not to hear of (`nohup`).
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

/// What a call is.
struct Read {
    call: Call,
    compile: Compile,
    /// Files that decided how it was understood.
    decided: Vec<PathBuf>,
}

/// The variables of this process.
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
    if made.all(|path| has_place(path) && !is_link(path)) { Ok(()) } else { Err(Why::Output) }
}

/// Whether a source says in its first 4096 bytes, as ccache has it, that it is not to be cached.
fn asks_for_the_compiler(source: &BString) -> bool {
    let mut start = Vec::new();
    let read = fs::File::open(to_path(source.as_bstr())).and_then(|file| file.take(4096).read_to_end(&mut start));
    read.is_ok() && ["ccache:disable", "ccwrap:disable"].iter().any(|words| start.contains_str(words))
}

/// Whether a word names a file that can only be read once, such as a pipe or a terminal.
fn is_pipe(word: &BString, directory: &BString) -> bool {
    let value = ["-include", "-imacros", "@"].iter().find_map(|option| word.strip_prefix(option.as_bytes()));
    let path = value.unwrap_or(word);
    let is_path = !path.is_empty() && !path.starts_with(b"-");
    is_path
        && fs::metadata(to_path(absolute(path.as_bstr(), directory.as_bstr()).as_bstr()))
            .is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

fn why(refusal: Refusal) -> Why {
    match refusal {
        Refusal::Time => Why::Time,
        Refusal::Unknowable => Why::Unknowable,
        Refusal::Language | Refusal::Variable => Why::Environment,
    }
}
