//! Does what is asked of ourselves.

use bstr::ByteSlice as _;
use ccwrap::arguments::Links;
use ccwrap::cache::{Cache, replace};
use ccwrap::clean::{self, Until};
use ccwrap::command_line::{Action, Asked, Format, HELP};
use ccwrap::explain;
use ccwrap::settings::{self, Places, Settings};
use ccwrap::statistics::{self, Counter, Statistics, Sums, now};
use ccwrap_format::SMALL;
use localstore::{Choice, Evicted, Size};
use splitter::drive::Error;
use splitter::graph::absolute;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;
use std::{env, fs};

/// Does all that is asked; answers what is to be printed and the exit code.
///
/// # Errors
/// What could not be done.
pub fn act(asked: &Asked) -> Result<(String, u8), Error> {
    let named = asked.directory.as_ref().map(|directory| directory.clone().into_os_string());
    let variable = |name: &str| named.clone().filter(|_| name == "CCWRAP_DIR").or_else(|| env::var_os(name));
    let files = || Places::of(&variable, &env::current_dir().unwrap_or_default()).files;
    let mut said = String::new();
    let mut code = 0;
    for action in &asked.actions {
        // Each sees what the one before it has written.
        let settings = Settings::read(&files(), &variable, &[])?;
        let directory = settings.cache_of_file().or_else(|| settings::directory(&variable));
        let directory = directory.ok_or("there is no place for a cache: set CCWRAP_DIR, XDG_CACHE_HOME or HOME")?;
        let file = settings::user_file(&variable);
        let here = Here { settings, cache: Cache::new(directory), file, verbose: asked.verbose };
        let (text, end) = here.act(action)?;
        said += &text;
        code = code.max(end);
    }
    Ok((said, code))
}

struct Here {
    settings: Settings,
    cache: Cache,
    /// Where settings are written.
    file: Option<PathBuf>,
    verbose: bool,
}

impl Here {
    fn act(&self, action: &Action) -> Result<(String, u8), Error> {
        if action.is_of_cache() {
            self.cache.check()?;
        }
        let statistics = Statistics::new(self.cache.directory());
        let said = match action {
            Action::Version => version(),
            Action::PrintVersion => format!("{}\n", env!("CARGO_PKG_VERSION")),
            Action::Help => HELP.into(),
            Action::ShowStatistics => self.statistics(&statistics.sums()?)?,
            Action::PrintStatistics(format) => printed(&statistics.sums()?, *format),
            Action::ShowLog => counted(&self.log()?, self.verbose)?,
            Action::PrintLog(format) => printed(&self.log()?, *format),
            Action::ZeroStatistics => {
                statistics.zero()?;
                "Statistics zeroed\n".into()
            }
            Action::Clear => {
                clean::forget_all(&self.cache)?;
                let evicted = match self.clean(Until::Size(0)) {
                    Err(error) if localstore::is_damaged(&*error) => self.delete_store()?,
                    evicted => evicted?,
                };
                format!("Cleared the cache\n{evicted}")
            }
            Action::Cleanup => match self.limit()? {
                Some(limit) => format!("Cleaned the cache\n{}", self.clean(Until::Size(limit))?),
                None => return Err("a Nix daemon collects its garbage itself".into()),
            },
            Action::EvictOlderThan(age) => self.clean(Until::Age(*age))?,
            Action::EvictNamespace(namespace, age) => {
                let cut = age.map_or_else(SystemTime::now, clean::before);
                told(clean::evict_namespace(&self.cache, self.store()?.as_deref(), namespace.as_bytes(), cut)?)
            }
            Action::AnyNumber => "Unset cache file limit\n".into(),
            Action::MaxSize(size) => {
                let limit = settings::limit(size)?;
                self.set("max_size", size)?;
                match limit {
                    Size(u64::MAX) => "Unset cache size limit\n".into(),
                    limit => format!("Set cache size limit to {limit}\n"),
                }
            }
            Action::ShowSettings => {
                let mut said = String::new();
                for (name, value, origin) in self.settings.all() {
                    writeln!(said, "({origin}) {name} = {}", self.shown(name, value).display())?;
                }
                said
            }
            Action::GetSetting(name) if name == "cache_dir" => format!("{}\n", self.cache.directory().display()),
            // Which have no say in anything here.
            Action::GetSetting(name) if Settings::is_of_ccache_alone(name) => "\n".into(),
            Action::SetSetting(name, _) if Settings::is_of_ccache_alone(name) => String::new(),
            Action::GetSetting(name) if Settings::is_key(name) => {
                format!("{}\n", self.shown(name, self.settings.get(name).unwrap_or_default().into()).display())
            }
            Action::SetSetting(name, value) if Settings::is_key(name) => {
                self.set(name, value)?;
                String::new()
            }
            Action::GetSetting(name) | Action::SetSetting(name, _) => {
                return Err(format!("`{name}` is no setting; `ccwrap --show-config` lists them").into());
            }
            Action::Explain(output) => self.explained(output.as_deref())?,
            Action::Compare(words) => return compare(words),
        };
        Ok((said, 0))
    }

    /// Where the embedded store is; none where another is meant.
    fn store(&self) -> Result<Option<PathBuf>, Error> {
        let store = settings::store(&self.settings, Some(self.cache.directory()));
        match localstore::store_of(&store, |name| env::var_os(name), &env::current_dir()?)? {
            Choice::Embedded(root) => Ok(Some(root)),
            Choice::Daemon { .. } => Ok(None),
        }
    }

    fn limit(&self) -> Result<Option<u64>, Error> {
        let Some(root) = self.store()? else { return Ok(None) };
        match self.settings.max_size()? {
            Some(size) => Ok(Some(size.0)),
            // It is a part of the disk where the store is, or will be.
            None => match root.ancestors().find(|directory| directory.exists()) {
                Some(directory) => Ok(Some(localstore::default_limit(directory)?)),
                None => Ok(Some(u64::MAX)),
            },
        }
    }

    /// The value of a setting, or what counts in its place.
    fn shown(&self, name: &str, value: OsString) -> OsString {
        match self.limit() {
            Ok(Some(limit)) if name == "max_size" && value.is_empty() => Size(limit).to_string().into(),
            _ => value,
        }
    }

    fn clean(&self, until: Until) -> Result<String, Error> {
        let Some(root) = self.store()? else { return Ok(String::new()) };
        Ok(told(clean::clean(&self.cache, &root, until)?))
    }

    /// Deletes the store, of which nobody can say what is in it.
    fn delete_store(&self) -> Result<String, Error> {
        let Some(root) = self.store()? else { return Ok(String::new()) };
        if localstore::has_roots(&root)? {
            let root = root.display();
            return Err(format!(
                "the store `{root}` is damaged, and holds what roots in `{root}/nix/var/nix` protect; \
                 `splitter store delete` deletes that too"
            )
            .into());
        }
        localstore::delete(&root)?;
        Ok(format!("Deleted the store `{}`, which was damaged\n", root.display()))
    }

    /// What is in the file `stats_log`.
    fn log(&self) -> Result<Sums, Error> {
        let file = self.settings.get("stats_log").ok_or("no file is named by `stats_log` or CCWRAP_STATSLOG")?;
        let text = fs::read(file).map_err(|error| format!("cannot read `{}`: {error}", file.display()))?;
        Ok(statistics::sums_of_log(&text))
    }

    fn set(&self, name: &str, value: &str) -> Result<(), Error> {
        let file = self.file.as_ref().ok_or("there is no place for settings: set HOME")?;
        let text = fs::read_to_string(file).unwrap_or_default();
        Ok(replace(file, settings::with_setting(&text, name, value).as_bytes())?)
    }

    fn statistics(&self, sums: &Sums) -> Result<String, Error> {
        let mut said = counted(sums, self.verbose)?;
        let (entries, bytes) = clean::size(&self.cache);
        writeln!(said, "Cache directory: {}", self.cache.directory().display())?;
        writeln!(said, "  Entries:       {entries:>9}, {}", Size(bytes))?;
        if let Some(root) = self.store()? {
            writeln!(said, "Store:           {}", root.display())?;
            if root.join("nix").is_dir() {
                let limit = self.limit()?.unwrap_or(u64::MAX);
                match size_of(&root) {
                    Ok(size) => {
                        writeln!(said, "  Size:          {} of {}{}", Size(size), Size(limit), percent(size, limit))?;
                    }
                    Err(error) => writeln!(said, "  Size:          unknown: {error}")?,
                }
            }
        }
        Ok(said)
    }

    fn explained(&self, output: Option<&Path>) -> Result<String, Error> {
        let here = env::current_dir()?;
        let here = here.as_os_str().as_bytes().as_bstr();
        let explained = match output {
            Some(output) => {
                let output = absolute(output.as_os_str().as_bytes().as_bstr(), here);
                explain::of(&self.cache, output.as_bstr()).ok_or_else(|| format!("`{output}` was never a miss here"))?
            }
            None => explain::newest(&self.cache).ok_or("nothing was a miss yet")?,
        };
        Ok(format!("{}: {}\n", explained.output, explained.reason))
    }
}

/// Of a store, in bytes.
fn size_of(root: &Path) -> Result<u64, Error> {
    Ok(localstore::LocalStore::open(root)?.size_at_most()?)
}

/// Ours; as `ccache` first that of the ccache which is followed, for those who look for a number behind its name.
fn version() -> String {
    let ours = format!("ccwrap {}", env!("CARGO_PKG_VERSION"));
    let called = env::args_os().next().unwrap_or_default();
    match Path::new(&called).file_name() {
        Some(name) if name == "ccache" => format!("ccache version {FOLLOWED} ({ours})\n"),
        _ => format!("{ours}\n"),
    }
}

/// The version of ccache whose command line, environment and counters are ours.
const FOLLOWED: &str = "4.14";

/// What became of calls.
fn counted(sums: &Sums, verbose: bool) -> Result<String, Error> {
    let mut said = String::new();
    let of = |counter: Counter| sums.of(counter);
    let calls: u64 = Counter::all().map(of).sum();
    let hits = of(Counter::Hit) + of(Counter::StoreHit);
    let cacheable = hits + of(Counter::Miss);
    writeln!(said, "Calls:           {calls:>9}")?;
    writeln!(said, "Cacheable calls: {cacheable:>9}{}", percent(cacheable, calls))?;
    writeln!(said, "  Hits:          {hits:>9}{}", percent(hits, cacheable))?;
    writeln!(said, "    By entry:    {:>9}{}", of(Counter::Hit), percent(of(Counter::Hit), hits))?;
    writeln!(said, "    By store:    {:>9}{}", of(Counter::StoreHit), percent(of(Counter::StoreHit), hits))?;
    writeln!(said, "  Misses:        {:>9}{}", of(Counter::Miss), percent(of(Counter::Miss), cacheable))?;
    let others = |kind: fn(&Counter) -> bool| Counter::all().filter(kind).map(|counter| (counter, of(counter)));
    let uncacheable = || others(|counter| matches!(counter, Counter::Uncacheable(_)));
    let errors = || others(|counter| matches!(counter, Counter::Error(_)));
    for (title, counters) in [("Uncacheable", uncacheable().collect::<Vec<_>>()), ("Errors", errors().collect())] {
        let sum: u64 = counters.iter().map(|(_, times)| times).sum();
        if sum > 0 || verbose {
            writeln!(said, "{:<17}{sum:>9}{}", format!("{title}:"), percent(sum, calls))?;
            for (counter, times) in counters.iter().filter(|(_, times)| *times > 0) {
                writeln!(said, "  {:<40} {times:>9}", format!("{}:", counter.meaning()))?;
            }
        }
    }
    if verbose {
        for (compiler, counters) in &sums.by_compiler {
            let get = |counter: Counter| counters.get(counter.name()).copied().unwrap_or_default();
            let hits = get(Counter::Hit) + get(Counter::StoreHit);
            let all: u64 = counters.values().sum();
            writeln!(said, "{compiler}: {all} calls, {hits} hits, {} misses", get(Counter::Miss))?;
        }
        if sums.since > 0 {
            let ago = |time: u64| now().saturating_sub(time);
            writeln!(said, "First and last call: {} s and {} s ago", ago(sums.since), ago(sums.until))?;
        }
    }
    Ok(said)
}

/// What came of an eviction.
fn told(evicted: Evicted) -> String {
    match evicted {
        Evicted::Deleted { paths, bytes, left } => {
            format!("Deleted {paths} paths, {}; {} left\n", Size(bytes), Size(left))
        }
        Evicted::WithinLimit => String::new(),
        Evicted::InUse => "The store is in use by another build: nothing is deleted from it\n".into(),
    }
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { String::new() } else { format!(" ({:.1} %)", part as f64 / whole as f64 * 100.0) }
}

fn printed(sums: &Sums, format: Format) -> String {
    let mut lines: Vec<(String, u64)> =
        Counter::all().map(|counter| (counter.name().to_owned(), sums.of(counter))).collect();
    // The names by which scripts for ccache look.
    lines.push(("local_storage_hit".into(), sums.of(Counter::Hit) + sums.of(Counter::StoreHit)));
    lines.push(("local_storage_miss".into(), sums.of(Counter::Miss)));
    lines.push(("stats_updated_timestamp".into(), sums.until));
    lines.push(("stats_zeroed_timestamp".into(), sums.since));
    match format {
        Format::Tab => lines.iter().map(|(name, times)| format!("{name}\t{times}\n")).collect(),
        Format::Json => {
            let members: Vec<String> = lines.iter().map(|(name, times)| format!("  \"{name}\": {times}")).collect();
            format!("{{\n{}\n}}\n", members.join(",\n"))
        }
    }
}

/// Runs a compiler by us and by itself. The second leaves what it makes.
fn compare(words: &[OsString]) -> Result<(String, u8), Error> {
    let made = {
        let words: Vec<bstr::BString> = words.iter().map(|word| word.as_bytes().into()).collect();
        let read = |file: &bstr::BStr| fs::read(splitter::discover::to_path(file)).ok().map(bstr::BString::from);
        let compile = ccwrap::arguments::read(&words, &read, Links::Remember);
        let compile = compile.map_err(|why| format!("nothing is remembered of this call: {:?}", why))?;
        compile.outputs.into_iter().chain(compile.others).chain(compile.depfile).collect::<Vec<_>>()
    };
    let read = || -> Vec<Option<Vec<u8>>> {
        made.iter().map(|path| fs::read(splitter::discover::to_path(path.as_bstr())).ok()).collect()
    };
    let run = |program: &Path, arguments: &[OsString]| -> Result<_, Error> {
        for path in &made {
            fs::remove_file(splitter::discover::to_path(path.as_bstr())).ok(); // it may not be there
        }
        let output = Command::new(program).args(arguments).output()?;
        Ok((output.status.code(), output.stderr, output.stdout, read()))
    };
    let program = env::current_exe()?.with_file_name(SMALL);
    let ours = run(&program, words)?;
    let mut off = vec![OsString::from("disable=true")];
    off.extend(words.iter().cloned());
    let theirs = run(&program, &off)?;
    let mut said = String::new();
    let mut differ = |what: &str, is_same: bool| {
        if !is_same {
            said += &format!("{what}: differs\n");
        }
    };
    differ("exit code", ours.0 == theirs.0);
    differ("standard error", ours.1 == theirs.1);
    differ("standard output", ours.2 == theirs.2);
    for ((path, ours), theirs) in made.iter().zip(&ours.3).zip(&theirs.3) {
        differ(&path.to_string(), ours == theirs);
    }
    Ok(if said.is_empty() { ("the same both ways\n".into(), 0) } else { (said, 1) })
}
