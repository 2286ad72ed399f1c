//! From the store that a user names to the root of an embedded store, the same in every command. Opens nothing.

use crate::layout::default_root;
use nixstore::store_url::{Asked, Environment, StoreChoice, StoreUrlError, choose};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The root of the embedded store that `url` means, by the rules of [`nixstore::store_url`]; without a root in it, that
/// of the user ([`default_root`]). `variable` knows the environment, `directory` is where relative paths start.
///
/// # Errors
/// [`ChoiceError`], also where it means a store that is not an embedded one.
pub fn root_of(
    url: &OsStr,
    variable: impl Fn(&str) -> Option<OsString>,
    directory: &Path,
) -> Result<PathBuf, ChoiceError> {
    match choose(url, &Environment::new(&variable, directory))? {
        StoreChoice::Embedded { root: Some(root) } => Ok(root),
        StoreChoice::Embedded { root: None } => {
            default_root(variable("XDG_DATA_HOME"), variable("HOME")).ok_or(ChoiceError::NoPlace)
        }
        StoreChoice::Daemon(Asked::ByUrl(url)) | StoreChoice::Remote { url } => Err(ChoiceError::NotSupported { url }),
        StoreChoice::Daemon(Asked::ByNixRemote(value)) => Err(ChoiceError::NixRemote { value }),
        StoreChoice::Daemon(Asked::ByNixBuild) => Err(ChoiceError::NixBuild),
    }
}

/// Why there is no root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// The URL cannot be read.
    #[error(transparent)]
    Url(#[from] StoreUrlError),
    /// A store of another kind.
    #[error("store `{url}` is not supported yet, use `auto` or `local?root=DIR`")]
    NotSupported {
        /// Its URL.
        url: String,
    },
    /// `auto`, where Nix's commands use another store.
    #[error(
        "NIX_REMOTE is `{value}`, so store `auto` is a Nix daemon, which is not supported yet; name an embedded store by `--store 'local?root=DIR'`, or your own by `--store local` (or in SPLITTER_STORE)"
    )]
    NixRemote {
        /// The variable's value.
        value: String,
    },
    /// `auto` inside a Nix build.
    #[error(
        "inside a Nix build (NIX_BUILD_TOP and NIX_STORE are set) store `auto` is the Nix daemon, which is not supported yet; name an embedded store by `--store 'local?root=DIR'` (or in SPLITTER_STORE)"
    )]
    NixBuild,
    /// The user has no place of their own.
    #[error("neither XDG_DATA_HOME nor HOME is an absolute path; name a store by `--store 'local?root=DIR'`")]
    NoPlace,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(url: &str, variables: &[(&str, &str)]) -> Result<PathBuf, ChoiceError> {
        let variable = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        root_of(OsStr::new(url), variable, Path::new("/here"))
    }

    #[test]
    fn without_a_root_it_is_below_the_users_data() {
        assert_eq!(root("auto", &[("HOME", "/home/ada")]), Ok("/home/ada/.local/share/splitter".into()));
        assert_eq!(root("local", &[("HOME", "/home/ada"), ("XDG_DATA_HOME", "/d")]), Ok("/d/splitter".into()));
        assert_eq!(root("local?root=/x", &[]), Ok("/x".into()));
        assert_eq!(root("auto", &[]), Err(ChoiceError::NoPlace));
    }

    #[test]
    fn what_is_not_supported_yet_is_said_with_the_way_out() {
        for url in ["daemon", "unix:///run/socket", "ssh-ng://host"] {
            let error = root(url, &[("HOME", "/home/ada")]).unwrap_err().to_string();
            assert_eq!(error, format!("store `{url}` is not supported yet, use `auto` or `local?root=DIR`"));
        }
        let error = root("auto", &[("HOME", "/h"), ("NIX_REMOTE", "daemon")]).unwrap_err().to_string();
        assert!(error.contains("NIX_REMOTE is `daemon`") && error.contains("--store 'local?root=DIR'"), "{error}");
        let build = [("HOME", "/homeless-shelter"), ("NIX_BUILD_TOP", "/build"), ("NIX_STORE", "/nix/store")];
        let error = root("auto", &build).unwrap_err().to_string();
        assert!(error.contains("inside a Nix build") && error.contains("--store 'local?root=DIR'"), "{error}");
        assert_eq!(root("/x", &build), Ok("/x".into()));
    }
}
