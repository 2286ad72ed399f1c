//! The `ccwrap` command: reads the environment once, finds out who is meant, and answers.

mod ourselves;

use bstr::{BString, ByteSlice as _};
use ccwrap::arguments::{self, Compile};
use ccwrap::cache::Cache;
use ccwrap::call::{self, Call, Manner};
use ccwrap::command_line;
use ccwrap::entry::Refusal;
use ccwrap::environment;
use ccwrap::explain;
use ccwrap::hit::{self, Answer, Miss};
use ccwrap::miss::{Job, NotMade};
use ccwrap::settings::{self, SettingError, Settings};
use ccwrap::statistics::{Counter, Statistics, Trouble};
use ccwrap::who::{self, Own, Who};
use ccwrap::why::Why;
use nixstore::causes::with_causes;
use splitter::compiler;
use splitter::discover::to_path;
use splitter::graph::absolute;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, fs};

fn main() -> ExitCode {
    let path = env::var_os("CCWRAP_PATH").or_else(|| env::var_os("CCACHE_PATH")).or_else(|| env::var_os("PATH"));
    match who::is_meant(env::args_os(), &path.unwrap_or_default(), Own::this()) {
        Who::Ourselves(arguments) => own(&arguments),
        Who::Compiler { settings, file, words } => compile(&settings, file, words),
    }
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
    settings: Settings,
    cache: Option<Cache>,
    strict: bool,
}

fn compile(set: &[OsString], compiler: Option<PathBuf>, words: Vec<BString>) -> ExitCode {
    let variable = |name: &str| env::var_os(name);
    let Some(compiler) = compiler else {
        eprintln!("ccwrap: no compiler `{}` is found", words[0]);
        return ExitCode::FAILURE;
    };
    let settings = Settings::read(&settings::files(&variable), &variable, set);
    let (settings, problem) = match settings {
        Ok(settings) => (settings, None),
        Err(error) => (Settings::read(&[], &|_| None, &[]).expect("nothing is set"), Some(error)),
    };
    let named = settings.get("cache_dir").map(PathBuf::from).and_then(|path| std::path::absolute(path).ok());
    let cache = named.or_else(|| settings::default_directory(&variable)).map(Cache::new);
    let strict = settings.is_on("strict").unwrap_or_default();
    let around = Around { compiler, words, settings, cache, strict };
    if let Some(error) = problem {
        return around.in_trouble(Trouble::Settings, &error.to_string());
    }
    match around.answer() {
        Ok(code) => code,
        Err(error) => around.in_trouble(Trouble::Settings, &error.to_string()),
    }
}

impl Around {
    /// Answers a call by what is remembered, else by making it, else by the compiler.
    fn answer(&self) -> Result<ExitCode, SettingError> {
        if self.settings.is_on("disable")? {
            return Ok(self.pass(Counter::Uncacheable(Why::Disabled)));
        }
        let (call, compile) = match self.read() {
            Ok(read) => read,
            Err(why) => return Ok(self.pass(Counter::Uncacheable(why))),
        };
        let text = call.text(&self.setting()?);
        let name = call::name(&text);
        let (recache, read_only) = (self.settings.is_on("recache")?, self.settings.is_on("read_only")?);
        let by_entry = self.cache.as_ref().filter(|_| self.settings.is_on("direct_mode").unwrap_or(true));
        let mut miss = Miss::New;
        if let Some(cache) = by_entry.filter(|_| !recache) {
            match hit::answer(cache, &name, &text, &mut io::stderr().lock()) {
                Ok(Answer::Hit) => return Ok(self.done(Counter::Hit)),
                Ok(Answer::Refused(refusal)) => return Ok(self.pass(Counter::Uncacheable(why(refusal)))),
                Ok(Answer::Miss(why)) => miss = why,
                Err(error) => return Ok(self.in_trouble(Trouble::Internal, &with_causes(&error))),
            }
        }
        if read_only {
            return Ok(self.pass(Counter::Uncacheable(Why::ReadOnly)));
        }
        // Who else makes the same is waited for.
        let alone = by_entry.and_then(|cache| cache.lock(&name).ok().map(|alone| (cache, alone)));
        if let Some((cache, _)) = alone.as_ref().filter(|_| !recache) {
            match hit::answer(cache, &name, &text, &mut io::stderr().lock()) {
                Ok(Answer::Hit) => return Ok(self.done(Counter::Hit)),
                Ok(Answer::Refused(refusal)) => return Ok(self.pass(Counter::Uncacheable(why(refusal)))),
                Ok(Answer::Miss(_)) => {}
                Err(error) => return Ok(self.in_trouble(Trouble::Internal, &with_causes(&error))),
            }
        }
        let output = absolute(compile.outputs[0].as_bstr(), call.directory.as_bstr());
        self.log(&format!("{output}: {miss}"));
        if let Some(cache) = &self.cache {
            explain::note(cache, output.as_bstr(), text.as_bstr(), &miss);
        }
        Ok(self.make(&call, &compile, text, &name))
    }

    fn make(&self, call: &Call, compile: &Compile, text: BString, name: &str) -> ExitCode {
        let cancelled = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
            signal_hook::flag::register(signal, cancelled.clone()).ok(); // then it ends without being asked
        }
        let (settings, cache) = (&self.settings, self.cache.as_ref());
        let text = text.as_bstr();
        let job = Job { call, compile, settings, cache, text, name, cancelled: &cancelled };
        match job.make(&|phrase| self.warn(phrase)) {
            Ok(made) => {
                io::stderr().lock().write_all(&made.log).ok(); // nobody listens
                self.done(if made.ran { Counter::Miss } else { Counter::StoreHit })
            }
            Err(_) if cancelled.load(Ordering::Relaxed) => ExitCode::from(130),
            Err(NotMade::Failed(failure)) => {
                self.log(&format!("{}: {failure}", compile.outputs[0]));
                self.pass(Counter::Uncacheable(Why::Failed))
            }
            Err(NotMade::Refused(refusal)) => self.pass(Counter::Uncacheable(why(refusal))),
            Err(NotMade::Trouble(error)) => self.in_trouble(Trouble::Internal, &with_causes(&*error)),
        }
    }

    /// What the call is, if something is to be remembered of it.
    fn read(&self) -> Result<(Call, Compile), Why> {
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
        let read = |file: &bstr::BStr| fs::read(to_path(at(&file.into()).as_bstr())).ok().map(BString::from);
        let compile = arguments::read(&self.words, &read)?;
        let has_place = |path: &BString| to_path(at(path).as_bstr()).parent().is_some_and(Path::is_dir);
        if !compile.outputs.iter().chain(&compile.depfile).all(has_place) {
            return Err(Why::Output); // the compiler will say so
        }
        // A compiler believes PWD (getpwd of GCC), and names it in debug information.
        let known_by_link = {
            let shown = variable("PWD");
            shown != directory
                && shown.starts_with(b"/")
                && fs::canonicalize(OsStr::from_bytes(&shown))
                    .is_ok_and(|real| real.as_os_str().as_bytes() == directory.as_slice())
        };
        if known_by_link && compiler::word_for_paths(&self.words).is_some() {
            return Err(Why::Directory);
        }
        let all = env::vars_os().map(|(name, value)| (BString::from(name.as_bytes()), BString::from(value.as_bytes())));
        let [lc_all, lc_messages, lang] = ["LC_ALL", "LC_MESSAGES", "LANG"].map(variable);
        let coloured = !compile.says_colours && variable("TERM") != "dumb" && io::stderr().is_terminal();
        let locale = environment::locale(lc_all.as_bstr(), lc_messages.as_bstr(), lang.as_bstr());
        let call = Call {
            compiler: self.compiler.clone(),
            words: self.words.clone(),
            directory,
            env: environment::of_compiler(all),
            manner: Manner { coloured, locale },
        };
        Ok((call, compile))
    }

    /// The settings that make another result.
    fn setting(&self) -> Result<String, SettingError> {
        let text = |name: &str| self.settings.get(name).map(|value| value.to_string_lossy().into_owned());
        let all = ["namespace", "root_mode", "base_dir", "map", "store", "sandbox"].map(text);
        Ok(format!("{all:?}"))
    }

    fn statistics(&self, counter: Counter) {
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
        let word = |word: &BString| OsStr::from_bytes(word).to_owned();
        let mut command = process::Command::new(&self.compiler);
        let error = command.arg0(word(&self.words[0])).args(self.words[1..].iter().map(word)).exec();
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

    fn warn(&self, phrase: &str) {
        self.log(phrase);
    }

    /// Writes a line to the log file, if there is one.
    fn log(&self, line: &str) {
        let Some(file) = self.settings.get("log_file") else { return };
        let line = format!("[{}] {line}\n", process::id());
        let open = fs::File::options().append(true).create(true).open(file);
        open.and_then(|mut file| file.write_all(line.as_bytes())).ok(); // the log is no reason to fail
    }
}

fn why(refusal: Refusal) -> Why {
    match refusal {
        Refusal::Time => Why::Time,
        Refusal::Unknowable => Why::Unknowable,
        Refusal::Language => Why::Environment,
    }
}
