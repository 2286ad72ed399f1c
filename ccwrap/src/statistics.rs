//! What became of the calls: one line appended for each, summed up when somebody asks. Lines are `TIME COUNTER COMPILER`, time in
//! seconds of the Unix epoch; the counters have ccache's names where ccache has the same.

use crate::cache::replace;
use crate::why::Why;
use bstr::{BStr, ByteSlice};
use ccwrap_format::cache::{HIT, STATISTICS};
use rustix::fs::OFlags;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// Answered from the entry alone.
    Hit,
    /// Answered from the store: made by somebody else, elsewhere or long ago.
    StoreHit,
    /// Compiled in the store.
    Miss,
    /// Went to the compiler: nothing is to be remembered of it.
    Uncacheable(Why),
    /// Went to the compiler, since something of ours did not work.
    Error(Trouble),
}

/// What of ours did not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// A setting cannot be used.
    Settings,
    /// Anything else.
    Internal,
    /// There is no such compiler.
    CompilerMissing,
}

/// Counters with their names and what they mean to a person.
const COUNTERS: [(Counter, &str, &str); 26] = {
    use Counter::{Error, Hit, Miss, StoreHit, Uncacheable as No};
    use Trouble::{CompilerMissing, Internal, Settings};
    use Why as U;
    [
        (Hit, HIT, "Hits"),
        (StoreHit, "preprocessed_cache_hit", "Hits in the store"),
        (Miss, "cache_miss", "Misses"),
        (No(U::Link), "called_for_link", "Called for linking"),
        (No(U::Preprocess), "called_for_preprocessing", "Called for preprocessing"),
        (No(U::NoInput), "no_input_file", "No input file"),
        (No(U::StandardInput), "source_from_stdin", "Source from standard input"),
        (No(U::Option), "unsupported_compiler_option", "Unsupported compiler option"),
        (No(U::Output), "output_to_stdout", "Output is no file"),
        (No(U::BadOutput), "bad_output_file", "Output cannot be written, or is a link"),
        (No(U::Language), "unsupported_source_language", "Unsupported source language"),
        (No(U::Precompiled), "could_not_use_precompiled_header", "Could not use precompiled header"),
        (No(U::Probe), "autoconf_test", "Autoconf compile or link"),
        (No(U::Bad), "bad_compiler_arguments", "Bad compiler arguments"),
        (No(U::Environment), "unsupported_environment_variable", "Unsupported environment variable"),
        (No(U::Time), "time_macros", "Date or time in the source"),
        (No(U::Unknowable), "unknowable_inputs", "Inputs that nobody can know"),
        (No(U::Compiler), "compiler_check_failed", "Unknown compiler"),
        (No(U::Failed), "compile_failed", "Compilation failed"),
        (No(U::ReadOnly), "read_only", "Not there, and not to be written"),
        (No(U::Disabled), "disabled", "Switched off"),
        (No(U::ExtraFile), "error_hashing_extra_file", "Extra file is not there"),
        (No(U::Directory), "no_working_directory", "Working directory is gone"),
        (Error(CompilerMissing), "could_not_find_compiler", "Could not find the compiler"),
        (Error(Settings), "bad_settings", "Bad settings"),
        (Error(Internal), "internal_error", "Internal error"),
    ]
};

impl Counter {
    /// Its name in files and for programs.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// What it means to a person.
    pub fn meaning(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> &'static (Counter, &'static str, &'static str) {
        COUNTERS.iter().find(|(counter, ..)| *counter == self).expect("every counter has a row")
    }

    /// All, in the order in which people are told.
    pub fn all() -> impl Iterator<Item = Self> {
        COUNTERS.iter().map(|(counter, ..)| *counter)
    }
}

/// Where the lines are.
#[derive(Debug, Clone)]
pub struct Statistics {
    file: PathBuf,
}

/// How many calls came to what, by compiler.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    /// By the base name of the compiler.
    pub by_compiler: BTreeMap<String, BTreeMap<String, u64>>,
    /// Since when, in seconds of the Unix epoch; 0 where nothing was counted.
    pub since: u64,
    /// When the newest was counted.
    pub until: u64,
}

/// A file that is longer is summed up when it is read.
const LONG: u64 = 1 << 20;

impl Statistics {
    /// In the directory of a cache.
    pub fn new(directory: &Path) -> Self {
        Self { file: directory.join(STATISTICS) }
    }

    /// Counts a call. What cannot be counted is not: nobody waits for that.
    pub fn count(&self, counter: Counter, compiler: &str) {
        let line = format!("{} {} {compiler}\n", now(), counter.name());
        let no_wait = OFlags::NONBLOCK.bits().cast_signed(); // as for the reader of a pipe
        let open = || File::options().append(true).create(true).custom_flags(no_wait).open(&self.file);
        let make = |_| fs::create_dir_all(self.file.parent().expect("a file in a directory")).and_then(|()| open());
        open().or_else(make).and_then(|mut file| file.write_all(line.as_bytes())).ok();
    }

    /// Sums up all lines.
    ///
    /// # Errors
    /// Those of reading the file; one that is not there has no lines.
    pub fn sums(&self) -> io::Result<Sums> {
        let text = match fs::read(&self.file) {
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let sums = Sums::read(&text);
        if text.len() as u64 > LONG {
            // A line that is appended meanwhile is lost.
            replace(&self.file, sums.write().as_bytes()).ok(); // it is only longer than need be
        }
        Ok(sums)
    }

    /// Begins anew.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn zero(&self) -> io::Result<()> {
        replace(&self.file, b"")
    }
}

impl Sums {
    /// Of one counter.
    pub fn of(&self, counter: Counter) -> u64 {
        self.by_compiler.values().filter_map(|counters| counters.get(counter.name())).sum()
    }

    /// Reads lines; those that are none are passed over. A line with a fourth word counts that often.
    fn read(text: &str) -> Self {
        let mut sums = Self::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            let (Some(Ok(time)), Some(counter), Some(compiler)) =
                (words.next().map(str::parse::<u64>), words.next(), words.next())
            else {
                continue;
            };
            let times = words.next().and_then(|word| word.parse().ok()).unwrap_or(1);
            let of_compiler = sums.by_compiler.entry(compiler.to_owned()).or_default();
            *of_compiler.entry(counter.to_owned()).or_default() += times;
            sums.since = if sums.since == 0 { time } else { sums.since.min(time) };
            sums.until = sums.until.max(time);
        }
        sums
    }

    /// Lines of which the same is read, as few as possible.
    fn write(&self) -> String {
        let mut lines = String::new();
        for (compiler, counters) in &self.by_compiler {
            for (counter, times) in counters {
                lines += &format!("{} {counter} {compiler} {times}\n", self.since);
            }
        }
        lines
    }
}

/// Writes down what became of one call in a file for a single build, as ccache does: the source in a comment, then the counter. What
/// cannot be written is not: nobody waits for that.
pub fn log(file: &Path, source: &BStr, counter: Counter) {
    let lines = format!("# {source}\n{}\n", counter.name());
    let open = File::options().append(true).create(true).open(file);
    open.and_then(|mut file| file.write_all(lines.as_bytes())).ok();
}

/// Sums up such a file.
pub fn sums_of_log(text: &[u8]) -> Sums {
    let mut sums = Sums::default();
    let counters = sums.by_compiler.entry(String::new()).or_default();
    for line in text.lines().map(ByteSlice::trim).filter(|line| !line.is_empty() && !line.starts_with(b"#")) {
        *counters.entry(line.to_str_lossy().into_owned()).or_default() += 1;
    }
    sums
}

/// Seconds of the Unix epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_compiler() {
        let directory = tempfile::tempdir().unwrap();
        let statistics = Statistics::new(&directory.path().join("new"));
        assert_eq!(statistics.sums().unwrap(), Sums::default());
        for compiler in ["gcc", "gcc", "clang"] {
            statistics.count(Counter::Hit, compiler);
        }
        statistics.count(Counter::Uncacheable(Why::Link), "gcc");
        let sums = statistics.sums().unwrap();
        assert_eq!(sums.of(Counter::Hit), 3);
        assert_eq!(sums.by_compiler["gcc"]["called_for_link"], 1);
        statistics.zero().unwrap();
        assert_eq!(statistics.sums().unwrap().of(Counter::Hit), 0);
    }

    #[test]
    fn many_lines_are_as_good_as_one_with_a_number() {
        let text = "5 cache_miss gcc\n7 cache_miss gcc\nspoilt\n9 direct_cache_hit clang\n";
        let sums = Sums::read(text);
        assert_eq!((sums.since, sums.until, sums.of(Counter::Miss)), (5, 9, 2));
        assert_eq!(Sums::read(&sums.write()).by_compiler, sums.by_compiler);
    }

    #[test]
    fn calls_of_one_build_are_written_down() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("log");
        for (source, counter) in [("a.c", Counter::Miss), ("a.c", Counter::Hit), ("b.c", Counter::Hit)] {
            log(&file, source.into(), counter);
        }
        let text = fs::read(&file).unwrap();
        assert!(text.starts_with(b"# a.c\ncache_miss\n# a.c\ndirect_cache_hit\n"));
        let sums = sums_of_log(&text);
        assert_eq!((sums.of(Counter::Hit), sums.of(Counter::Miss)), (2, 1));
    }

    #[test]
    fn every_counter_has_a_name_of_its_own() {
        let mut names: Vec<&str> = Counter::all().map(Counter::name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), COUNTERS.len());
    }
}
