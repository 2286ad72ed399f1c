//! From the store that a user names to where it is, the same in every command. Opens nothing.

use crate::layout::default_root;
use nixstore::causes::with_causes;
use nixstore::daemon::DaemonError;
use nixstore::daemon::transport::SshCommand;
use nixstore::daemon_store::{Address, Way};
use nixstore::store_url::{Asked, Environment, StoreChoice, StoreUrlError, choose};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

/// A store that can be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The embedded one, below this directory.
    Embedded(PathBuf),
    /// A Nix daemon.
    Daemon {
        /// Where it is.
        address: Address,
        /// How edges are realised there, where there is no choice.
        way: Option<Way>,
        /// For the user: where it is, and why it is this one.
        shown: String,
    },
}

/// The store that `url` means, by the rules of [`nixstore::store_url`]; without a root in it, the embedded store of the user
/// ([`default_root`]). `variable` knows the environment, `directory` is where relative paths start.
///
/// # Errors
/// [`ChoiceError`].
pub fn store_of(
    url: &OsStr,
    variable: impl Fn(&str) -> Option<OsString>,
    directory: &Path,
) -> Result<Choice, ChoiceError> {
    match choose(url, &Environment::new(&variable, directory))? {
        StoreChoice::Embedded { root: Some(root) } => Ok(Choice::Embedded(root)),
        StoreChoice::Embedded { root: None } => {
            let root = default_root(variable("XDG_DATA_HOME"), variable("HOME")).ok_or(ChoiceError::NoPlace)?;
            Ok(Choice::Embedded(root))
        }
        StoreChoice::Daemon { socket, root, asked } => {
            let usual = || variable("NIX_DAEMON_SOCKET_PATH").map_or_else(|| root.join(&SOCKET[1..]), PathBuf::from);
            let socket = socket.unwrap_or_else(usual);
            let (way, why) = match asked {
                Asked::ByUrl => (None, String::new()),
                Asked::ByNixRemote(value) => (None, format!(", since NIX_REMOTE is `{value}`")),
                Asked::ByNixBuild(value) => {
                    (Some(Way::Recursive), format!(", since this is a Nix build and NIX_REMOTE is `{value}`"))
                }
            };
            let shown = format!("Nix daemon, at `{}`{why}", socket.display());
            Ok(Choice::Daemon { address: Address::Socket { socket, root }, way, shown })
        }
        StoreChoice::Remote { host, program, key } => {
            let files = cache(&variable).ok_or(ChoiceError::NoCache)?.join("files").join(&host);
            let mut command = SshCommand::new(&host);
            let options = variable("NIX_SSHOPTS").map(|options| options.to_string_lossy().into_owned());
            command.options.extend(options.iter().flat_map(|options| options.split_whitespace()).map(OsString::from));
            command.options.extend(key.into_iter().flat_map(|key| ["-i".into(), key.into_os_string()]));
            command.program = program.unwrap_or(command.program);
            let shown = format!("Nix daemon on `{host}`, by ssh");
            Ok(Choice::Daemon { address: Address::Ssh { command, files }, way: None, shown })
        }
        StoreChoice::NoDaemon => Err(ChoiceError::NixBuild),
    }
}

/// Where Nix's daemon listens (Nix 2.34, `nixDaemonSocketFile`).
const SOCKET: &str = "/nix/var/nix/daemon-socket/socket";

/// The user's directory for what can be had again. A builder of Nix has a home that is nowhere (Nix 2.34,
/// `DerivationBuilderImpl`), and a place for itself.
pub fn cache(variable: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |path: PathBuf| Some(path).filter(|path| path.is_absolute());
    let named = variable("XDG_CACHE_HOME").map(PathBuf::from).and_then(absolute);
    let homes = || match variable("HOME") {
        Some(home) if home == "/homeless-shelter" => variable("NIX_BUILD_TOP"),
        home => home,
    };
    let home = || homes().map(|home| PathBuf::from(home).join(".cache")).and_then(absolute);
    Some(named.or_else(home)?.join("splitter"))
}

/// Why there is no store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// The URL cannot be read.
    #[error(transparent)]
    Url(#[from] StoreUrlError),
    /// Inside of a Nix build that has no daemon.
    #[error(
        "inside a Nix build (NIX_BUILD_TOP and NIX_STORE are set) there is no daemon: the derivation needs `requiredSystemFeatures = [ \"recursive-nix\" ]`, which sets NIX_REMOTE; or name an embedded store by `--store 'local?root=DIR'` (or in SPLITTER_STORE)"
    )]
    NixBuild,
    /// The user has no place of their own.
    #[error("neither XDG_DATA_HOME nor HOME is an absolute path; name a store by `--store 'local?root=DIR'`")]
    NoPlace,
    /// Nor one for what can be had again.
    #[error("neither XDG_CACHE_HOME nor HOME is an absolute path; files of another machine need a place here")]
    NoCache,
}

/// A daemon that cannot be used; with the ways out.
#[derive(Debug)]
pub struct Unusable {
    /// Where it is, for the user.
    pub shown: String,
    /// Why not.
    pub error: DaemonError,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot use the store ({}): {}", self.shown, with_causes(&self.error))?;
        let hint = self.error.hint().map(|hint| format!("{hint}, or ")).unwrap_or_default();
        write!(f, "\nhint: {hint}name the embedded store by `--store local` or `--store 'local?root=DIR'`")
    }
}

/// What is behind it is a part of what is shown.
impl std::error::Error for Unusable {}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(url: &str, variables: &[(&str, &str)]) -> Result<Choice, ChoiceError> {
        let variable = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        store_of(OsStr::new(url), variable, Path::new("/here"))
    }

    fn embedded(root: &str) -> Result<Choice, ChoiceError> {
        Ok(Choice::Embedded(root.into()))
    }

    #[test]
    fn without_a_root_it_is_below_the_users_data() {
        assert_eq!(store("auto", &[("HOME", "/home/ada")]), embedded("/home/ada/.local/share/splitter"));
        assert_eq!(store("local", &[("HOME", "/home/ada"), ("XDG_DATA_HOME", "/d")]), embedded("/d/splitter"));
        assert_eq!(store("local?root=/x", &[]), embedded("/x"));
        assert_eq!(store("auto", &[]), Err(ChoiceError::NoPlace));
    }

    #[test]
    fn a_daemon_is_found_where_nix_finds_it() {
        let socket = |url: &str, variables: &[(&str, &str)]| match store(url, variables) {
            Ok(Choice::Daemon { address: Address::Socket { socket, root }, way, .. }) => (socket, root, way),
            other => panic!("`{url}` gives {other:?}"),
        };
        assert_eq!(socket("daemon", &[]), (SOCKET.into(), "/".into(), None));
        assert_eq!(socket("daemon?root=/x", &[]), (format!("/x{SOCKET}").into(), "/x".into(), None));
        assert_eq!(socket("daemon", &[("NIX_DAEMON_SOCKET_PATH", "/s")]), ("/s".into(), "/".into(), None));
        assert_eq!(socket("auto", &[("NIX_REMOTE", "unix:///r")]), ("/r".into(), "/".into(), None));
        let build = [("NIX_BUILD_TOP", "/build"), ("NIX_STORE", "/nix/store"), ("NIX_REMOTE", "unix:///build/.s")];
        assert_eq!(socket("auto", &build), ("/build/.s".into(), "/".into(), Some(Way::Recursive)));
    }

    #[test]
    fn another_machine_is_reached_with_the_users_options() {
        let variables = [("HOME", "/home/ada"), ("NIX_SSHOPTS", "-p 22 -v")];
        let Ok(Choice::Daemon { address: Address::Ssh { command, files }, .. }) =
            store("ssh-ng://ada@host?ssh-key=/k", &variables)
        else {
            panic!("it is a daemon");
        };
        assert_eq!((command.host, files), ("ada@host".into(), "/home/ada/.cache/splitter/files/ada@host".into()));
        assert_eq!(command.options, ["-p", "22", "-v", "-i", "/k"].map(OsString::from));
    }

    #[test]
    fn a_build_without_a_daemon_is_told_with_the_way_out() {
        let build = [("HOME", "/homeless-shelter"), ("NIX_BUILD_TOP", "/build"), ("NIX_STORE", "/nix/store")];
        let error = store("auto", &build).unwrap_err().to_string();
        assert!(error.contains("recursive-nix") && error.contains("--store 'local?root=DIR'"), "{error}");
        assert_eq!(store("/x", &build), embedded("/x"));
    }
}
