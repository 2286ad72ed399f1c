//! The command `ccwrap-full`: reads the environment once, finds out who is meant, and answers. The command `ccwrap` becomes it for
//! what it does not answer itself; then this one is called as that one was.

mod ourselves;
mod reading;

use bstr::{BString, ByteSlice as _};
use ccwrap::arguments::{Compile, is_of_probe};
use ccwrap::cache::{Cache, Unusable};
use ccwrap::call::Call;
use ccwrap::command_line;
use ccwrap::entry::Refusal;
use ccwrap::explain;
use ccwrap::hit::{self, Answer, Miss};
use ccwrap::miss::{self, Job, NotMade};
use ccwrap::raw::{self, Raw};
use ccwrap::settings::{self, Places, SettingError, Settings, Whose};
use ccwrap::statistics::{self, Counter, Statistics, Trouble};
use ccwrap::who::{self, Own, Who};
use ccwrap::why::Why;
use ccwrap_format::call::Family;
use localstore::{ChoiceError, Early};
use nixstore::causes::with_causes;
use reading::Read;
use rustix::fs::Mode;
use splitter::discover::to_path;
use splitter::graph::absolute;
use splitter::materialise;
use splitter::toolchain::resolve_program;
use std::cell::OnceCell;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _, Write as _};
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
    let early = cache.as_ref().and_then(|cache| early(&raw, cache));
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
            compile(&settings, file, absent, words, cache, known, early)
        }
    }
}

/// A sandbox, if this is a compile, where the environment says that the store is: it is made while it is found out whether it is
/// needed, which costs less time than to begin it then.
fn early(raw: &Raw, cache: &Cache) -> Option<Early> {
    let compiles = raw.words.iter().any(|word| word == "-c" || word == "-S");
    if !compiles || raw.family() == Family::Rust || raw.words.iter().any(|word| is_of_probe(word.as_bstr())) {
        return None;
    }
    let settings = Settings::read(&[], &|name| env::var_os(name), &[]).ok()?;
    let is_off = |key: &str| settings.is_on(key).is_ok_and(|on| !on);
    let directory = to_path(raw.directory.as_bstr());
    (is_off("disable") && is_off("read_only")).then(|| miss::early(&settings, cache, directory)).flatten()
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
struct Around {
    compiler: PathBuf,
    words: Vec<BString>,
    /// Files that decided how the call was understood.
    decided: Vec<PathBuf>,
    settings: Settings,
    cache: Option<Cache>,
    known: Known,
    strict: bool,
    /// The file mode creation mask that this process was started with, where it has another now.
    mask: OnceCell<Mode>,
    /// A sandbox that was begun for it.
    early: Mutex<Option<Early>>,
    /// What is compiled, once that is known.
    source: OnceCell<BString>,
}

fn compile(
    set: &[OsString],
    file: Option<PathBuf>,
    absent: Vec<PathBuf>,
    words: Vec<BString>,
    mut cache: Option<Cache>,
    mut known: Known,
    early: Option<Early>,
) -> ExitCode {
    let variable = |name: &str| env::var_os(name);
    let places = Places::of(&variable, &env::current_dir().unwrap_or_default());
    let settings = Settings::read(&places.files, &variable, set);
    let (settings, problem) = match settings {
        Ok(settings) => (settings, None),
        Err(error) => (Settings::read(&[], &variable, &[]).expect("only our own variables are read"), Some(error)),
    };
    if let Some(directory) = settings.cache_of_file() {
        // Which the small program knows nothing of.
        cache = Some(Cache::new(directory));
        known = Known { miss: Miss::New, unasked: true, ..known };
    }
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
    let (mask, early, source) = (OnceCell::new(), Mutex::new(early), OnceCell::new());
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

impl Around {
    /// Answers a call that no entry has answered yet.
    fn answer(&self) -> Result<ExitCode, SettingError> {
        if self.settings.is_on("disable")? {
            return Ok(self.pass(Counter::Uncacheable(Why::Disabled)));
        }
        self.settings.check()?;
        if let Some(Err(problem)) = self.cache.as_ref().map(Cache::check) {
            return Ok(match problem {
                // It may be fine for others, as one is that may only be read.
                Unusable::Refused(_) if !self.strict => {
                    self.log(&problem.to_string());
                    self.pass(Counter::Uncacheable(Why::ReadOnly))
                }
                _ => self.in_trouble(Trouble::Settings, &problem.to_string()),
            });
        }
        let Read { call, compile, decided } = match self.read() {
            Ok(read) => read,
            Err(why) => return Ok(self.pass(Counter::Uncacheable(why))),
        };
        self.take_mask()?;
        let recache = self.settings.is_on("recache")?;
        let read_only = self.settings.is_on("read_only")? || self.cache.as_ref().is_some_and(|cache| !cache.is_ours());
        let by_entry = self.settings.is_on("direct_mode")? && !self.settings.is_quietly_logged();
        let cache = self.cache.as_ref().filter(|_| by_entry);
        let Known { text, name, miss, .. } = &self.known;
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
                    return Ok(self.pass(Counter::Uncacheable(Why::BadOutput)));
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
        // Until the compiler runs there is much that takes no notice, such as the first snapshot of tools, and nothing to be put right;
        // what is copied out of the store is then stopped as it is in the small program.
        let ends_at_once = Arc::new(AtomicBool::new(true));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP]
            .into_iter()
            .filter(is_heard)
        {
            signal_hook::flag::register_conditional_default(signal, ends_at_once.clone()).ok();
            let number = usize::try_from(signal).expect("signals are positive");
            signal_hook::flag::register_usize(signal, by.clone(), number).ok(); // then it ends without being asked
            signal_hook::flag::register(signal, cancelled.clone()).ok();
        }
        let settings = &self.settings;
        let (text, name) = (self.known.text.as_bstr(), self.known.name.as_str());
        let early = &self.early;
        let begins: &(dyn Fn() + Sync) = &|| ends_at_once.store(false, Ordering::SeqCst);
        let (cache, cancelled) = (self.cache.as_ref(), &cancelled);
        let job = Job {
            call,
            compile,
            settings,
            cache,
            afresh,
            remembers,
            decided,
            text,
            name,
            cancelled,
            early,
            begins,
            meanwhile,
        };
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

    fn early(&self) -> MutexGuard<'_, Option<Early>> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner)
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
        // A script is told by which path it is started.
        let as_called = Path::new(OsStr::from_bytes(&self.words[0]));
        let is_it = self.words[0].contains(&b'/') && std::path::absolute(as_called).is_ok_and(|it| it == self.compiler);
        let mut command = process::Command::new(if is_it { as_called } else { &self.compiler });
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

fn why(refusal: Refusal) -> Why {
    match refusal {
        Refusal::Time => Why::Time,
        Refusal::Unknowable => Why::Unknowable,
        Refusal::Language | Refusal::Variable => Why::Environment,
    }
}
