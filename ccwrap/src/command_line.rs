//! What is asked of ourselves: options in place of a compiler. Those of ccache 4 are taken where they mean the same.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

/// One thing to do; they are done in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// `-s`: tell what became of the calls.
    ShowStatistics,
    /// `--print-stats`: the same for programs.
    PrintStatistics(Format),
    /// `-z`: begin to count anew.
    ZeroStatistics,
    /// `-C`: forget everything.
    Clear,
    /// `-c`: keep the store within its limit.
    Cleanup,
    /// `-M`: limit the store.
    MaxSize(String),
    /// `-F 0`: as many files as there are, which is always so.
    AnyNumber,
    /// `--evict-older-than`: delete what was not used for so long.
    EvictOlderThan(Duration),
    /// `--evict-namespace`: delete what is in a namespace; with `--evict-older-than`, what of that was not used for so long.
    EvictNamespace(OsString, Option<Duration>),
    /// `--show-log-stats`: tell what became of the calls that are in the file `stats_log`.
    ShowLog,
    /// `--print-log-stats`: the same for programs.
    PrintLog(Format),
    /// `-p`: tell all settings.
    ShowSettings,
    /// `-k`: tell one.
    GetSetting(String),
    /// `-o`: write one to the user's file.
    SetSetting(String, String),
    /// `--explain`: tell why the last call, or the last for a file, was a miss.
    Explain(Option<PathBuf>),
    /// `--compare`: run a compiler both ways and tell what differs.
    Compare(Vec<OsString>),
    /// `--version`.
    Version,
    /// `--print-version`: the number alone.
    PrintVersion,
    /// `--help`.
    Help,
}

impl Action {
    /// Whether it is about what the cache holds.
    pub fn is_of_cache(&self) -> bool {
        matches!(
            self,
            Self::ShowStatistics
                | Self::PrintStatistics(_)
                | Self::ZeroStatistics
                | Self::Clear
                | Self::Cleanup
                | Self::EvictOlderThan(_)
                | Self::EvictNamespace(..)
                | Self::Explain(_)
        )
    }
}

/// How statistics are written for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Name, tab, number.
    Tab,
    /// An object.
    Json,
}

/// A command line, read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// What to do.
    pub actions: Vec<Action>,
    /// `-v`: how much to tell.
    pub verbose: bool,
    /// `-d`: the cache.
    pub directory: Option<PathBuf>,
}

/// What is printed for `--help`.
pub const HELP: &str = "\
Usage:
    ccwrap [KEY=VALUE ...] COMPILER [ARGUMENT ...]
    COMPILER [ARGUMENT ...]                     by a link of that name to ccwrap
    ccwrap OPTION ...

Options:
    -s, --show-stats            what became of the calls; with -v, by compiler and with all reasons
        --print-stats [--format=tab|json]       the same for programs
        --show-log-stats, --print-log-stats     the same of the calls in the file that `stats_log` names
    -z, --zero-stats            begin to count anew
    -C, --clear                 forget all, and delete what the store has
    -c, --cleanup               delete what was used longest ago, until the store is within its limit
    -M, --max-size SIZE         the limit, such as 20G
        --evict-older-than AGE  delete what was not used for AGE, such as 7d or 3600s
        --evict-namespace NAME  delete what is in a namespace, or of that what was not used for AGE
    -p, --show-config           all settings, and where each comes from
    -k, --get-config KEY        one of them
    -o, --set-config KEY=VALUE  write one to the file of settings
    -d, --dir DIRECTORY         the cache, in the place of the usual one
        --explain [OUTPUT]      why the last call, or the last that made OUTPUT, was a miss
        --compare COMPILER ...  run a compiler both ways, and tell whether they make the same
    -v, --verbose               tell more
    -V, --version               the version
    -h, --help                  this
";

/// Reads a command line.
///
/// # Errors
/// What is wrong, as a phrase.
pub fn read(arguments: &[OsString]) -> Result<Asked, String> {
    let mut asked = Asked::default();
    let mut format = Format::Tab;
    let (mut prints, mut prints_log) = (false, false);
    let (mut namespace, mut evicted_age) = (None, None);
    // What follows is a compiler's.
    let compare = arguments.iter().position(|word| word == "--compare").unwrap_or(arguments.len());
    let (ours, compilers) = arguments.split_at(compare);
    let arguments: Vec<OsString> = ours.iter().flat_map(apart).chain(compilers.iter().cloned()).collect();
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        let text = word.as_bytes();
        let (name, own) = match text.iter().position(|byte| *byte == b'=').filter(|_| text.starts_with(b"--")) {
            Some(at) => (&text[..at], Some(OsStr::from_bytes(&text[at + 1..]).to_owned())),
            None if text.len() > 2 && !text.starts_with(b"--") && b"MkodF".contains(&text[1]) => {
                (&text[..2], Some(OsStr::from_bytes(&text[2..]).to_owned()))
            }
            None => (text, None),
        };
        let mut value = || {
            let given = own.clone().or_else(|| rest.next().cloned());
            given.ok_or_else(|| format!("`{}` needs a value", word.display()))
        };
        let to_text =
            |value: OsString| value.into_string().map_err(|value| format!("`{}` is no text", value.display()));
        let action = match name {
            b"-s" | b"--show-stats" => Action::ShowStatistics,
            b"--print-stats" => {
                prints = true;
                continue;
            }
            b"--format" => {
                format = match value()?.as_bytes() {
                    b"json" => Format::Json,
                    b"tab" => Format::Tab,
                    _ => return Err("`--format` is `tab` or `json`".into()),
                };
                continue;
            }
            b"-z" | b"--zero-stats" => Action::ZeroStatistics,
            b"-C" | b"--clear" => Action::Clear,
            b"-c" | b"--cleanup" => Action::Cleanup,
            b"-M" | b"--max-size" => Action::MaxSize(to_text(value()?)?),
            b"-F" | b"--max-files" => match value()?.as_bytes() {
                b"0" => Action::AnyNumber,
                _ => return Err("the number of files is not limited; limit the size by `--max-size`".into()),
            },
            b"--evict-older-than" => {
                evicted_age = Some(age(&to_text(value()?)?)?);
                continue;
            }
            b"--evict-namespace" => {
                namespace = Some(value()?);
                continue;
            }
            b"--show-log-stats" => Action::ShowLog,
            b"--print-log-stats" => {
                prints_log = true;
                continue;
            }
            b"-p" | b"--show-config" => Action::ShowSettings,
            b"-k" | b"--get-config" => Action::GetSetting(to_text(value()?)?),
            b"-o" | b"--set-config" => {
                let set = to_text(value()?)?;
                let (name, value) =
                    set.split_once('=').ok_or_else(|| format!("`{set}` is not of the form KEY=VALUE"))?;
                Action::SetSetting(name.into(), value.into())
            }
            b"-d" | b"--dir" | b"--directory" => {
                asked.directory = Some(value()?.into());
                continue;
            }
            b"--explain" => {
                let file = own.clone().or_else(|| rest.as_slice().first().cloned());
                let file = file.filter(|file| !file.as_bytes().starts_with(b"-"));
                if own.is_none() && file.is_some() {
                    rest.next();
                }
                Action::Explain(file.map(PathBuf::from))
            }
            b"--compare" if rest.as_slice().is_empty() => {
                return Err("`--compare` needs a compiler and its arguments".into());
            }
            b"--compare" => Action::Compare(rest.by_ref().cloned().collect()),
            b"-v" | b"--verbose" => {
                asked.verbose = true;
                continue;
            }
            b"-V" | b"--version" => Action::Version,
            b"--print-version" => Action::PrintVersion,
            b"-h" | b"--help" => Action::Help,
            _ => return Err(format!("`{}` is no option; `ccwrap --help` lists them", word.display())),
        };
        asked.actions.push(action);
    }
    match (namespace, evicted_age) {
        (Some(namespace), age) => asked.actions.push(Action::EvictNamespace(namespace, age)),
        (None, Some(age)) => asked.actions.push(Action::EvictOlderThan(age)),
        (None, None) => {}
    }
    if prints {
        asked.actions.push(Action::PrintStatistics(format));
    }
    if prints_log {
        asked.actions.push(Action::PrintLog(format));
    }
    if asked.actions.is_empty() {
        return Err("nothing is asked for; `ccwrap --help` says what can be".into());
    }
    Ok(asked)
}

/// Short options that stand together, such as `-zs`, each by itself.
fn apart(word: &OsString) -> Vec<OsString> {
    match word.as_bytes() {
        [b'-', letters @ ..] if letters.len() > 1 && letters.iter().all(|letter| b"CVchpsvz".contains(letter)) => {
            letters.iter().map(|letter| OsStr::from_bytes(&[b'-', *letter]).to_owned()).collect()
        }
        _ => vec![word.clone()],
    }
}

/// `7d` or `3600s`, as ccache has it; also `5h` and `30m`.
fn age(text: &str) -> Result<Duration, String> {
    const UNITS: [(char, u64); 4] = [('d', 24 * 3600), ('h', 3600), ('m', 60), ('s', 1)];
    let wrong =
        || format!("`{text}` is no age: write a number of days, hours, minutes or seconds, such as `7d` or `3600s`");
    let unit = UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, *seconds)));
    let (number, seconds) = unit.ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(number.checked_mul(seconds).ok_or_else(wrong)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(words: &[&str]) -> Result<Vec<Action>, String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        read(&words).map(|asked| asked.actions)
    }

    #[test]
    fn options_of_ccache_are_understood() {
        assert_eq!(actions(&["-z", "-s"]), Ok(vec![Action::ZeroStatistics, Action::ShowStatistics]));
        for words in [&["-M", "5G"][..], &["-M5G"], &["--max-size=5G"], &["--max-size", "5G"]] {
            assert_eq!(actions(words), Ok(vec![Action::MaxSize("5G".into())]), "{words:?}");
        }
        assert_eq!(actions(&["-zsv"]), actions(&["-z", "-s", "-vv"]));
        assert_eq!(actions(&["--compare", "cc", "-pc"]), Ok(vec![Action::Compare(vec!["cc".into(), "-pc".into()])]));
        assert_eq!(actions(&["-F", "0"]), Ok(vec![Action::AnyNumber]));
        assert_eq!(actions(&["-o", "link=true"]), Ok(vec![Action::SetSetting("link".into(), "true".into())]));
        let age = Duration::from_secs(2 * 24 * 3600);
        assert_eq!(actions(&["--evict-older-than", "2d"]), Ok(vec![Action::EvictOlderThan(age)]));
        let both = Ok(vec![Action::EvictNamespace("n".into(), Some(age))]);
        assert_eq!(actions(&["--evict-namespace=n", "--evict-older-than", "2d"]), both);
        assert_eq!(actions(&["--print-log-stats"]), Ok(vec![Action::PrintLog(Format::Tab)]));
        assert_eq!(actions(&["--print-stats", "--format", "json"]), Ok(vec![Action::PrintStatistics(Format::Json)]));
    }

    #[test]
    fn what_is_no_option_is_told() {
        for (words, problem) in [
            (&["--nothing"][..], "`--nothing` is no option"),
            (&["-M"], "`-M` needs a value"),
            (&[], "nothing is asked for"),
            (&["-F", "10"], "the number of files is not limited"),
            (&["--evict-older-than", "soon"], "`soon` is no age"),
            (&["--compare"], "`--compare` needs a compiler"),
        ] {
            assert!(actions(words).unwrap_err().starts_with(problem), "{words:?}");
        }
    }

    #[test]
    fn an_explanation_may_be_of_a_file() {
        assert_eq!(actions(&["--explain"]), Ok(vec![Action::Explain(None)]));
        assert_eq!(actions(&["--explain", "a.o"]), Ok(vec![Action::Explain(Some("a.o".into()))]));
        assert_eq!(actions(&["--explain", "-s"]), Ok(vec![Action::Explain(None), Action::ShowStatistics]));
    }
}
