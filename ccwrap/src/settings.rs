//! The settings: what a file says, then the environment, then the words before a compiler, each later one in the place of the
//! earlier. ccache's variables count where ours say nothing.

mod file;
mod places;

pub use file::with_setting;
pub use places::{File, Places, Whose, user_file};

use bstr::{BString, ByteSlice as _};
use ccwrap_format::cache;
use frontend::Isolation;
use localstore::Size;
use splitter::roots::Mode;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A setting, and what it is called where.
struct Key {
    /// In a file, before a compiler and for `--set-config`.
    name: &'static str,
    /// In the environment.
    variable: &'static str,
    /// ccache's variables of the same meaning; one with `NO` before its name means the contrary.
    ccache: &'static [&'static str],
    default: &'static str,
}

const fn key(
    name: &'static str,
    variable: &'static str,
    ccache: &'static [&'static str],
    default: &'static str,
) -> Key {
    Key { name, variable, ccache, default }
}

/// All settings. An empty default is one that is found out.
const KEYS: [Key; 21] = [
    key("base_dir", "SPLITTER_ROOT", &["CCACHE_BASEDIR"], ""),
    key("cache_dir", "CCWRAP_DIR", &["CCACHE_DIR"], ""),
    key("compiler", "CCWRAP_COMPILER", &["CCACHE_COMPILER"], ""),
    key("direct_mode", "CCWRAP_DIRECT", &["CCACHE_DIRECT"], "true"),
    key("disable", "CCWRAP_DISABLE", &["CCACHE_DISABLE"], "false"),
    key("extra_files_to_hash", "CCWRAP_EXTRAFILES", &["CCACHE_EXTRAFILES"], ""),
    key("link", "CCWRAP_LINK", &[], "false"),
    key("log_file", "CCWRAP_LOGFILE", &["CCACHE_LOGFILE"], ""),
    key("map", "CCWRAP_MAP", &[], ""),
    key("max_size", "CCWRAP_MAXSIZE", &["CCACHE_MAXSIZE"], ""),
    key("namespace", "CCWRAP_NAMESPACE", &["CCACHE_NAMESPACE"], ""),
    key("path", "CCWRAP_PATH", &["CCACHE_PATH"], ""),
    key("read_only", "CCWRAP_READONLY", &["CCACHE_READONLY", "CCACHE_READONLY_DIRECT"], "false"),
    key("recache", "CCWRAP_RECACHE", &["CCACHE_RECACHE"], "false"),
    key("root_mode", "SPLITTER_ROOT_MODE", &[], "auto"),
    key("sandbox", "SPLITTER_SANDBOX", &[], "auto"),
    key("stats", "CCWRAP_STATS", &["CCACHE_STATS"], "true"),
    key("stats_log", "CCWRAP_STATSLOG", &["CCACHE_STATSLOG"], ""),
    key("store", "SPLITTER_STORE", &[], ""),
    key("strict", "CCWRAP_STRICT", &[], "false"),
    key("umask", "CCWRAP_UMASK", &["CCACHE_UMASK"], ""),
];

/// What the file of a checkout may set: nothing that says what is run, where something is written, or what is deleted.
const OF_CHECKOUT: [&str; 12] = [
    "base_dir",
    "direct_mode",
    "disable",
    "extra_files_to_hash",
    "link",
    "map",
    "namespace",
    "read_only",
    "recache",
    "root_mode",
    "stats",
    "strict",
];

/// What the file of a cache may set besides that another user keeps: how that is kept.
const OF_KEEPER: [&str; 2] = ["max_size", "umask"];

/// Settings of ccache of which nothing depends here: how it finds out whether something changed, what it is to overlook, and how it
/// keeps files. Before a compiler they may stand for whoever has them there.
const OF_CCACHE_ALONE: [&str; 30] = [
    "absolute_paths_in_stderr",
    "cache_dir_levels",
    "ceiling_dirs",
    "ceiling_markers",
    "compiler_check",
    "compiler_type",
    "compression",
    "compression_level",
    "debug",
    "debug_dir",
    "debug_level",
    "depend_mode",
    "file_clone",
    "hard_link",
    "hash_dir",
    "ignore_headers_in_manifest",
    "ignore_options",
    "inode_cache",
    "keep_comments_cpp",
    "limit_multiple",
    "max_files",
    "pch_external_checksum",
    "prefix_command",
    "prefix_command_cpp",
    "reshare",
    "response_file_format",
    "run_second_cpp",
    "safe_dirs",
    "sloppiness",
    "temporary_dir",
];

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody has said anything.
    Default,
    /// A file.
    File(PathBuf),
    /// A variable.
    Variable(String),
    /// A word before the compiler.
    Command,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(f, "default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Command => write!(f, "command line"),
        }
    }
}

/// The settings of a run.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    values: BTreeMap<&'static str, (OsString, Origin)>,
    /// Variables that files name in values.
    read: BTreeMap<BString, Option<BString>>,
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {problem}")]
pub struct SettingError {
    /// Where it is set.
    pub origin: String,
    /// What is wrong, as a phrase.
    pub problem: String,
}

impl Settings {
    /// Reads them. `words` are `KEY=VALUE` before a compiler.
    ///
    /// # Errors
    /// [`SettingError`] for a key that is none, or a line that is not `KEY = VALUE`.
    pub fn read(
        files: &[File],
        variable: &dyn Fn(&str) -> Option<OsString>,
        words: &[OsString],
    ) -> Result<Self, SettingError> {
        let mut settings = Self::default();
        for file in files.iter().filter(|file| file.whose != Whose::Strangers) {
            settings.read_file(file, variable)?;
        }
        for key in &KEYS {
            for name in key.ccache.iter().copied().chain([key.variable]) {
                if let Some(value) = variable(name).filter(|value| !value.is_empty()) {
                    settings.values.insert(key.name, (value, Origin::Variable(name.into())));
                }
                let Some(rest) = name.strip_prefix("CCACHE_") else { continue };
                let contrary = format!("CCACHE_NO{rest}");
                if let Some(value) = variable(&contrary) {
                    let value = if is_no_switch(&value) { value } else { OFF.into() };
                    settings.values.insert(key.name, (value, Origin::Variable(contrary)));
                }
            }
        }
        for word in words {
            let (name, value) = word.as_bytes().split_once_str("=").unwrap_or((word.as_bytes(), b""));
            settings
                .set(name, value, Origin::Command)
                .map_err(|problem| SettingError { origin: Origin::Command.to_string(), problem })?;
        }
        Ok(settings)
    }

    fn read_file(&mut self, file: &File, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<(), SettingError> {
        let at = |line: usize| {
            let origin = format!("{}:{line}", file.path.display());
            |problem: String| SettingError { origin, problem }
        };
        let items = file::items(&file.text)
            .map_err(|none| at(none.line)(format!("`{}` is not of the form `KEY = VALUE`", none.text)))?;
        for item in items {
            let mut set = || {
                let value = file::expanded(item.value.as_bstr(), variable, &mut self.read)?;
                let name = self.set(&item.name, value.as_bytes(), Origin::File(file.path.clone()))?;
                let may = OF_CHECKOUT.contains(&name);
                match file.whose {
                    Whose::Ours => Ok(()),
                    _ if may => Ok(()),
                    Whose::Keepers if OF_KEEPER.contains(&name) => Ok(()),
                    Whose::Keepers => Err(format!("`{name}` cannot be set by another user's file")),
                    Whose::Checkouts | Whose::Strangers => {
                        Err(format!("`{name}` cannot be set by a file in a checkout; the user's own file can"))
                    }
                }
            };
            set().map_err(at(item.line))?;
        }
        Ok(())
    }

    /// The variables that files name in values, and what they are.
    pub fn variables(&self) -> &BTreeMap<BString, Option<BString>> {
        &self.read
    }

    /// The cache that a file names, where neither a variable nor a word does.
    pub fn cache_of_file(&self) -> Option<PathBuf> {
        match self.values.get("cache_dir") {
            Some((directory, Origin::File(_))) => std::path::absolute(directory).ok(),
            _ => None,
        }
    }

    /// Whether there is one of ccache's settings of this name that says nothing here.
    pub fn is_of_ccache_alone(name: &str) -> bool {
        OF_CCACHE_ALONE.contains(&name)
    }

    /// Whether each call is to be written down somewhere, which an entry alone does not do, and nothing in the environment says so.
    pub fn is_quietly_logged(&self) -> bool {
        matches!(self.values.get("stats_log"), Some((_, Origin::File(_) | Origin::Command)))
    }

    fn set(&mut self, name: &[u8], value: &[u8], origin: Origin) -> Result<&'static str, String> {
        let lower = name.to_ascii_lowercase();
        let is_ccaches = |other: &&&str| lower == other.as_bytes();
        if let Some(name) = OF_CCACHE_ALONE.iter().find(is_ccaches).filter(|_| origin == Origin::Command) {
            return Ok(name);
        }
        let is_meant = |key: &&Key| {
            key.name.as_bytes() == lower.as_slice()
                || key.variable.as_bytes() == name
                || key.ccache.iter().any(|ccache| ccache.as_bytes() == name)
        };
        let key = KEYS
            .iter()
            .find(is_meant)
            .ok_or_else(|| format!("`{}` is no setting; `ccwrap --show-config` lists them", name.as_bstr()))?;
        self.values.insert(key.name, (OsStr::from_bytes(value).to_owned(), origin));
        Ok(key.name)
    }

    /// Every setting with its value and where that comes from.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, OsString, Origin)> + '_ {
        KEYS.iter().map(|key| match self.values.get(key.name) {
            Some((value, origin)) => (key.name, value.clone(), origin.clone()),
            None => (key.name, key.default.into(), Origin::Default),
        })
    }

    /// The value of a setting; none where nobody has said anything, and there is nothing by default.
    ///
    /// # Panics
    /// Where there is no such setting.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        let key = KEYS.iter().find(|key| key.name == name).expect("a setting of the table");
        let value = self.values.get(name).map_or(OsStr::new(key.default), |(value, _)| value);
        Some(value).filter(|value| !value.is_empty())
    }

    /// Whether there is a setting of this name.
    pub fn is_key(name: &str) -> bool {
        KEYS.iter().any(|key| key.name == name)
    }

    fn error(&self, name: &str, problem: String) -> SettingError {
        let origin = self.values.get(name).map_or(Origin::Default, |(_, origin)| origin.clone());
        SettingError { origin: origin.to_string(), problem: format!("{name}: {problem}") }
    }

    fn parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>, SettingError>
    where
        T::Err: fmt::Display,
    {
        let Some(value) = self.get(name) else { return Ok(None) };
        let text = value.to_str().ok_or_else(|| self.error(name, "it is no text".into()))?;
        text.parse().map(Some).map_err(|error: T::Err| self.error(name, error.to_string()))
    }

    /// A setting that is on or off. One of ccache's variables, and its contrary, is a switch whatever its value is, and must not be
    /// one that says the contrary of what it does, as there.
    ///
    /// # Errors
    /// [`SettingError`] where it is neither.
    pub fn is_on(&self, name: &str) -> Result<bool, SettingError> {
        let value = self.get(name).unwrap_or_default();
        if let Some((_, Origin::Variable(variable))) = self.values.get(name)
            && let Some(rest) = variable.strip_prefix("CCACHE_")
        {
            if is_no_switch(value) {
                let other = rest.strip_prefix("NO").map_or_else(|| format!("NO{rest}"), str::to_owned);
                let value = value.display();
                return Err(
                    self.error(name, format!("`{value}` says nothing: set CCACHE_{other}=true for the contrary"))
                );
            }
            return Ok(value != OFF);
        }
        match value.as_bytes() {
            b"true" | b"1" | b"yes" | b"on" => Ok(true),
            b"false" | b"0" | b"no" | b"off" | b"" => Ok(false),
            other => Err(self.error(name, format!("`{}` is neither `true` nor `false`", other.as_bstr()))),
        }
    }

    /// Whether the values are ones that can be used.
    ///
    /// # Errors
    /// [`SettingError`] for the first that is not.
    pub fn check(&self) -> Result<(), SettingError> {
        let switches = KEYS.iter().filter(|key| ["true", "false"].contains(&key.default));
        switches.map(|key| self.is_on(key.name)).collect::<Result<Vec<_>, _>>()?;
        self.isolation()?;
        self.root_mode()?;
        self.umask()?;
        self.max_size()?;
        Ok(())
    }

    /// Whether commands run in a sandbox.
    ///
    /// # Errors
    /// [`SettingError`].
    pub fn isolation(&self) -> Result<Isolation, SettingError> {
        match self.get("sandbox").unwrap_or_default().as_bytes() {
            b"auto" => Ok(Isolation::Auto),
            b"on" => Ok(Isolation::On),
            b"off" => Ok(Isolation::Off),
            other => Err(self.error("sandbox", format!("`{}` is none of `auto`, `on` and `off`", other.as_bstr()))),
        }
    }

    /// Which compiles run at the canonical root.
    ///
    /// # Errors
    /// [`SettingError`].
    pub fn root_mode(&self) -> Result<Mode, SettingError> {
        Ok(self.parsed("root_mode")?.unwrap_or_default())
    }

    /// Files that count as read by every call.
    pub fn extra_files(&self) -> Vec<PathBuf> {
        let paths = self.get("extra_files_to_hash").map(std::env::split_paths);
        paths.into_iter().flatten().filter(|path| !path.as_os_str().is_empty()).collect()
    }

    /// The file mode creation mask of what is kept; none where it is that of the caller.
    ///
    /// # Errors
    /// [`SettingError`] where it is no octal number of a mask.
    pub fn umask(&self) -> Result<Option<u32>, SettingError> {
        let Some(value) = self.get("umask") else { return Ok(None) };
        let mask = value.to_str().and_then(|text| u32::from_str_radix(text, 8).ok()).filter(|mask| *mask <= 0o777);
        let problem = || format!("`{}` is no file mode creation mask, such as `002`", value.display());
        mask.map(Some).ok_or_else(|| self.error("umask", problem()))
    }

    /// What the store may take, as [`limit`] reads it.
    ///
    /// # Errors
    /// [`SettingError`].
    pub fn max_size(&self) -> Result<Option<Size>, SettingError> {
        let Some(value) = self.get("max_size") else { return Ok(None) };
        limit(&value.to_string_lossy()).map(Some).map_err(|problem| self.error("max_size", problem))
    }

    /// The checkout that is named, if one is: by ccache's variable the first of several directories in which `directory` lies.
    pub fn base_dir(&self, directory: &Path) -> Option<OsString> {
        let value = self.get("base_dir")?;
        match self.values.get("base_dir") {
            Some((_, Origin::Variable(name))) if name == "CCACHE_BASEDIR" => {
                let real = |path: &PathBuf| path.is_absolute().then(|| std::fs::canonicalize(path).ok()).flatten();
                let holds = |path: &PathBuf| real(path).is_some_and(|path| directory.starts_with(path));
                std::env::split_paths(value).find(holds).map(PathBuf::into_os_string)
            }
            _ => Some(value.to_owned()),
        }
    }
}

/// The value of a setting that the contrary of one of ccache's variables switches off.
const OFF: &str = "off";

/// Whether a value of one of ccache's switches looks like the contrary of what it does there.
fn is_no_switch(value: &OsStr) -> bool {
    ["0", "false", "disable", "no"].iter().any(|no| value.eq_ignore_ascii_case(no))
}

/// Reads a limit as ccache does: a number without a unit is one of GiB, 0 is none.
///
/// # Errors
/// What is wrong, as a phrase.
pub fn limit(text: &str) -> Result<Size, String> {
    let text = text.trim();
    let unit = if text.ends_with(|end: char| end.is_ascii_digit()) { "G" } else { "" };
    let wrong = |_| format!("`{text}` is no size: write a number of GiB, or one with B, K, M, G or T, such as `20G`");
    let size: Size = format!("{text}{unit}").parse().map_err(wrong)?;
    Ok(if size.0 == 0 { Size(u64::MAX) } else { size })
}

/// The directory of the cache.
pub fn directory(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let (directory, below) = cache::directory(|name| variable(name).map(OsString::into_vec))?;
    let mut directory = PathBuf::from(OsString::from_vec(directory));
    directory.extend(Path::new(below));
    std::path::absolute(directory).ok()
}

/// The store that is meant: as it is named; else with a cache that is named, one in that; else the user's.
pub fn store(settings: &Settings, directory: Option<&Path>) -> OsString {
    match (settings.get("store"), settings.get("cache_dir"), directory) {
        (Some(store), ..) => store.to_owned(),
        (None, Some(_), Some(directory)) => directory.join("store").into_os_string(),
        _ => "auto".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, variables: &[(&str, &str)], words: &[&str]) -> Result<Settings, SettingError> {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        Settings::read(&[of("/etc/x", file, Whose::Ours)], &variable, &words)
    }

    fn of(path: &str, text: &str, whose: Whose) -> File {
        File { path: path.into(), text: text.into(), whose }
    }

    #[test]
    fn a_checkout_sets_nothing_that_is_run_written_or_deleted() {
        let read = |text: &str, whose: Whose| {
            let files = [of("/etc/x", "namespace = host", Whose::Ours), of("/p/ccwrap.conf", text, whose)];
            Settings::read(&files, &|name| (name == "NAME").then(|| "b".into()), &[])
        };
        let settings = read("namespace = a$NAME", Whose::Checkouts).unwrap();
        assert_eq!(settings.get("namespace").unwrap(), "ab");
        assert_eq!(settings.variables(), &BTreeMap::from([("NAME".into(), Some("b".into()))]));
        assert_eq!(read("namespace = a", Whose::Strangers).unwrap().get("namespace").unwrap(), "host");
        for key in KEYS.iter().filter(|key| !OF_CHECKOUT.contains(&key.name)) {
            let error = read(&format!("\n{} = x", key.name), Whose::Checkouts).unwrap_err();
            assert_eq!(error.origin, "/p/ccwrap.conf:2", "{}", key.name);
        }
        assert!(OF_CHECKOUT.iter().chain(&OF_KEEPER).all(|name| Settings::is_key(name)));
        assert!(read("max_size = 5G", Whose::Keepers).is_ok());
        let error = read("compiler = /x", Whose::Keepers).unwrap_err();
        assert_eq!(error.problem, "`compiler` cannot be set by another user's file");
    }

    #[test]
    fn a_log_of_which_the_environment_says_nothing_is_known() {
        let is_quiet = |file: &str, variables: &[(&str, &str)], words: &[&str]| {
            read(file, variables, words).unwrap().is_quietly_logged()
        };
        assert!(is_quiet("stats_log = /l", &[], &[]) && is_quiet("", &[], &["stats_log=/l"]));
        assert!(!is_quiet("", &[], &[]) && !is_quiet("stats_log = /l", &[("CCACHE_STATSLOG", "/l")], &[]));
    }

    #[test]
    fn what_is_of_ccache_alone_may_stand_before_a_compiler() {
        let words = |word: &str| read("", &[], &[word]).map(|_| ());
        assert_eq!(words("sloppiness=time_macros"), Ok(()));
        assert_eq!(words("hash_dir=false"), Ok(()));
        assert!(words("remote_storage=a").is_err());
        assert!(read("sloppiness = locale", &[], &[]).is_err());
    }

    #[test]
    fn what_is_said_later_counts() {
        let file = "# ours\nmax_size = 5G\n\nnamespace=a\n";
        let namespace = |variables: &[(&str, &str)], words: &[&str]| {
            read(file, variables, words).unwrap().get("namespace").unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(namespace(&[], &[]), "a");
        assert_eq!(namespace(&[("CCACHE_NAMESPACE", "b")], &[]), "b");
        assert_eq!(namespace(&[("CCACHE_NAMESPACE", "b"), ("CCWRAP_NAMESPACE", "c")], &[]), "c");
        assert_eq!(namespace(&[("CCWRAP_NAMESPACE", "c")], &["namespace=d"]), "d");
        assert_eq!(namespace(&[], &["CCACHE_NAMESPACE=e"]), "e");
    }

    #[test]
    fn variables_of_ccache_are_on_whatever_they_hold_and_have_a_contrary() {
        let is_on = |name: &str, variables: &[(&str, &str)]| read("", variables, &[]).unwrap().is_on(name).unwrap();
        assert!(is_on("disable", &[("CCACHE_DISABLE", "please")]));
        assert!(!is_on("direct_mode", &[("CCACHE_NODIRECT", "1")]));
        assert!(is_on("direct_mode", &[]));
        for (variable, other) in [("CCACHE_DISABLE", "CCACHE_NODISABLE"), ("CCACHE_NODIRECT", "CCACHE_DIRECT")] {
            for value in ["0", "False", "no", "disable"] {
                let error = read("", &[(variable, value)], &[]).unwrap().check().unwrap_err().to_string();
                assert!(error.contains(variable) && error.contains(&format!("set {other}=true")), "{error}");
            }
        }
        let settings = read("", &[("CCWRAP_DISABLE", "please")], &[]).unwrap();
        assert!(settings.is_on("disable").unwrap_err().to_string().contains("`please` is neither"));
    }

    #[test]
    fn a_limit_without_a_unit_is_one_of_gibibytes() {
        let of = |text: &str| limit(text).map(|size| size.0);
        assert_eq!((of("5"), of("1.5"), of("5M")), (Ok(5 << 30), Ok(3 << 29), Ok(5 << 20)));
        assert_eq!((of("100B"), of(" 0 ")), (Ok(100), Ok(u64::MAX)));
        assert!(of("much").unwrap_err().contains("`much` is no size"));
    }

    #[test]
    fn of_several_checkouts_that_one_counts_in_which_the_call_is() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().canonicalize().unwrap();
        let [a, b] = ["a", "b"].map(|name| top.join(name));
        [&a, &b].iter().for_each(|path| std::fs::create_dir(path).unwrap());
        let list = std::env::join_paths([&a, &b, &top.join("none")]).unwrap();
        let settings = read("", &[("CCACHE_BASEDIR", list.to_str().unwrap())], &[]).unwrap();
        let of = |directory: &Path| settings.base_dir(directory).map(PathBuf::from);
        assert_eq!((of(&a.join("build")), of(&b), of(&top)), (Some(a), Some(b), None));
    }

    #[test]
    fn a_mask_is_an_octal_number() {
        let of = |mask: &str| read("", &[("CCACHE_UMASK", mask)], &[]).unwrap().umask();
        assert_eq!((of("002"), of("77"), of("")), (Ok(Some(0o002)), Ok(Some(0o077)), Ok(None)));
        for wrong in ["8", "1777", "rw", "-2"] {
            assert!(of(wrong).unwrap_err().problem.contains("is no file mode creation mask"), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_setting_is_told_with_its_place() {
        let error = |file: &str| read(file, &[], &[]).unwrap_err().to_string();
        assert!(error("\nmaxsize = 1G").starts_with("/etc/x:2: `maxsize` is no setting"));
        assert!(error("what").starts_with("/etc/x:1: `what` is not of the form"));
        let size = read("max_size = much", &[], &[]).unwrap().max_size().unwrap_err().to_string();
        assert!(size.starts_with("/etc/x: max_size: "), "{size}");
    }

    #[test]
    fn the_cache_lies_where_the_user_keeps_what_can_be_had_again() {
        for known in [&[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")][..], &[("XDG_CACHE_HOME", "x"), ("HOME", "/h")], &[]]
        {
            let variable =
                |name: &str| known.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
            assert_eq!(directory(&variable), localstore::cache(&variable).map(|cache| cache.join("ccwrap")));
        }
        assert_eq!(directory(&|name| (name == "CCACHE_DIR").then(|| "/c".into())), Some("/c".into()));
    }
}
