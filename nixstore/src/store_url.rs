//! Which store a user means: `--store` and `SPLITTER_STORE` as Nix reads its store URLs (Nix 2.34,
//! `StoreReference::parse`). Pure: the environment is given, and opening a store is left to the commands.
//!
//! Stricter than Nix where Nix only warns: a parameter that is unknown, has no value or is given twice is an error, for
//! with a slip in `root` the build would go to another store.
#![deny(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

/// What of the environment decides.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `NIX_REMOTE`: the store of Nix's own commands.
    pub nix_remote: Option<OsString>,
    /// `NIX_BUILD_TOP`: together with `NIX_STORE` a sign of a Nix build.
    pub nix_build_top: Option<OsString>,
    /// `NIX_STORE`.
    pub nix_store: Option<OsString>,
    /// The working directory, for a store named by a relative path.
    pub directory: PathBuf,
}

impl Environment {
    /// Takes what decides from the variables that `variable` knows.
    pub fn new(variable: impl Fn(&str) -> Option<OsString>, directory: impl Into<PathBuf>) -> Self {
        Self {
            nix_remote: variable("NIX_REMOTE"),
            nix_build_top: variable("NIX_BUILD_TOP"),
            nix_store: variable("NIX_STORE"),
            directory: directory.into(),
        }
    }
}

/// A store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreChoice {
    /// The embedded one.
    Embedded {
        /// Where, as an absolute path; nothing for the user's own place.
        root: Option<PathBuf>,
    },
    /// A Nix daemon on this machine.
    Daemon {
        /// Its socket; nothing for the usual one.
        socket: Option<PathBuf>,
        /// The directory below which its files are seen.
        root: PathBuf,
        /// Why it is this one.
        asked: Asked,
    },
    /// A Nix daemon on another machine, by `ssh-ng://`.
    Remote {
        /// The machine, with a user before it if one is named, as ssh takes it.
        host: String,
        /// The program that is run there; nothing for `nix-daemon`.
        program: Option<OsString>,
        /// The file of a key for ssh.
        key: Option<PathBuf>,
    },
    /// Inside of a Nix build, which has given it no daemon.
    NoDaemon,
}

/// Why it is the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The URL says so: `daemon`, or `unix://` with a socket.
    ByUrl,
    /// `auto`, and `NIX_REMOTE` has this value.
    ByNixRemote(String),
    /// The same, inside of a Nix build: the daemon is one for what this build builds (recursive Nix).
    ByNixBuild(String),
}

/// The store that `url` names: `auto` (or nothing), `local`, `local?root=DIR`, a path with a slash in it, `daemon`,
/// `unix://SOCKET` or `ssh-ng://HOST`. `auto` is the embedded store, but the daemon inside a Nix build and where
/// `NIX_REMOTE` is set.
///
/// # Errors
/// [`StoreUrlError`] where it names none.
pub fn choose(url: &OsStr, environment: &Environment) -> Result<StoreChoice, StoreUrlError> {
    let shown = || url.to_string_lossy().into_owned();
    let (base, query) = split(url.as_bytes(), b'?');
    let parameters = |known: &[&str]| parameters(query.unwrap_or_default(), known).map_err(|problem| problem.of(url));
    let absolute = |path: Option<PathBuf>| match path {
        Some(path) if !path.is_absolute() => Err(StoreUrlError::NotAbsolute { url: shown(), path }),
        path => Ok(path.as_deref().map(without_dots)),
    };
    let embedded = |path: Option<PathBuf>| {
        let root = match (path, parameters(&["root"])?.remove("root")) {
            (Some(_), Some(_)) => return Err(Problem::Twice("root".into()).of(url)),
            (path, root) => path.or(root),
        };
        Ok(StoreChoice::Embedded { root: absolute(root)? })
    };
    let daemon = |socket: Option<PathBuf>| {
        let root = absolute(parameters(&["root"])?.remove("root"))?.unwrap_or_else(|| "/".into());
        Ok(StoreChoice::Daemon { socket: absolute(socket)?, root, asked: Asked::ByUrl })
    };
    // What follows `scheme:` and an optional `//`.
    let after = |scheme: &str| {
        let rest = base.strip_prefix(scheme.as_bytes())?.strip_prefix(b":")?;
        Some(rest.strip_prefix(b"//").unwrap_or(rest))
    };
    match base {
        b"" | b"auto" => match embedded(None)? {
            StoreChoice::Embedded { root: None } => automatic(environment),
            choice => Ok(choice),
        },
        b"local" => embedded(None),
        b"daemon" => daemon(None),
        _ if after("unix").is_some() => match after("unix").unwrap_or_default() {
            b"" => daemon(None),
            path => daemon(Some(decode(path).map_err(|problem| problem.of(url))?)),
        },
        _ if after("ssh-ng").is_some() => {
            let host = String::from_utf8_lossy(after("ssh-ng").unwrap_or_default()).into_owned();
            if host.is_empty() || host.starts_with('-') || host.contains('/') {
                return Err(StoreUrlError::NoHost { url: shown() });
            }
            let mut given = parameters(&["remote-program", "ssh-key"])?;
            let program = given.remove("remote-program").map(PathBuf::into_os_string);
            Ok(StoreChoice::Remote { host, program, key: absolute(given.remove("ssh-key"))? })
        }
        _ => match after("local") {
            Some(b"") => embedded(None),
            Some(path) => embedded(Some(decode(path).map_err(|problem| problem.of(url))?)),
            // A path of the file system: nothing in it is decoded.
            None if base.contains(&b'/') && !has(base, b"://") => {
                embedded(Some(environment.directory.join(OsStr::from_bytes(base))))
            }
            None => Err(StoreUrlError::Unknown { url: shown() }),
        },
    }
}

fn automatic(environment: &Environment) -> Result<StoreChoice, StoreUrlError> {
    let given = |variable: &Option<OsString>| variable.clone().filter(|value| !value.is_empty());
    let is_build = given(&environment.nix_build_top).is_some() && given(&environment.nix_store).is_some();
    match given(&environment.nix_remote) {
        Some(value) if value != "auto" => {
            let text = value.to_string_lossy().into_owned();
            let asked = if is_build { Asked::ByNixBuild(text) } else { Asked::ByNixRemote(text) };
            Ok(match choose(&value, &Environment { nix_remote: None, ..environment.clone() })? {
                StoreChoice::Daemon { socket, root, .. } => StoreChoice::Daemon { socket, root, asked },
                choice => choice,
            })
        }
        _ if is_build => Ok(StoreChoice::NoDaemon),
        _ => Ok(StoreChoice::Embedded { root: None }),
    }
}

/// The parameters of a URL, each of them `known`.
fn parameters(query: &[u8], known: &[&str]) -> Result<BTreeMap<String, PathBuf>, Problem> {
    let mut parameters = BTreeMap::new();
    for parameter in query.split(|byte| *byte == b'&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = split(parameter, b'=');
        let name = decode(name)?.to_string_lossy().into_owned();
        match value {
            None => return Err(Problem::NoValue(name)),
            Some(_) if !known.contains(&&*name) => {
                return Err(Problem::UnknownParameter(name, known.iter().map(|known| format!("`{known}`")).collect()));
            }
            Some(_) if parameters.contains_key(&name) => return Err(Problem::Twice(name)),
            Some(value) => drop(parameters.insert(name, decode(value)?)),
        }
    }
    Ok(parameters)
}

/// Percent-decoding as in Nix 2.34: `%20` is a space, `+` is itself.
fn decode(text: &[u8]) -> Result<PathBuf, Problem> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let digit = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
            let (Some(high), Some(low)) = (digit(0), digit(1)) else {
                return Err(Problem::Encoding(String::from_utf8_lossy(text).into_owned()));
            };
            bytes.push((high * 16 + low) as u8);
            rest = &after[2..];
        } else {
            bytes.push(byte);
        }
    }
    Ok(PathBuf::from(OsString::from_vec(bytes)))
}

/// Without `.` and `..`, by the names alone (Nix 2.34, `canonPath`).
fn without_dots(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                result.pop();
            }
            Component::CurDir => {}
            other => result.push(other),
        }
    }
    result
}

fn split(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == at) {
        Some(position) => (&text[..position], Some(&text[position + 1..])),
        None => (text, None),
    }
}

fn has(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// What is wrong with a part of a URL.
#[derive(Debug, Clone)]
enum Problem {
    UnknownParameter(String, Vec<String>),
    NoValue(String),
    Twice(String),
    Encoding(String),
}

impl Problem {
    fn of(self, url: &OsStr) -> StoreUrlError {
        let url = url.to_string_lossy().into_owned();
        match self {
            Self::UnknownParameter(name, known) => {
                StoreUrlError::UnknownParameter { url, name, known: known.join(" and ") }
            }
            Self::NoValue(name) => StoreUrlError::NoValue { url, name },
            Self::Twice(name) => StoreUrlError::Twice { url, name },
            Self::Encoding(text) => StoreUrlError::Encoding { url, text },
        }
    }
}

/// Why a URL names no store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreUrlError {
    /// It is of no known kind.
    #[error(
        "`{url}` is no store that this program knows: use `auto`, `local?root=DIR`, `daemon`, `unix://SOCKET` or `ssh-ng://HOST`"
    )]
    Unknown {
        /// The URL.
        url: String,
    },
    /// It has a parameter that means nothing.
    #[error("store `{url}`: unknown parameter `{name}`; there is only {known}")]
    UnknownParameter {
        /// The URL.
        url: String,
        /// The parameter.
        name: String,
        /// What there is.
        known: String,
    },
    /// Another machine that is not named.
    #[error("store `{url}` does not name a machine: write `ssh-ng://HOST` or `ssh-ng://USER@HOST`")]
    NoHost {
        /// The URL.
        url: String,
    },
    /// A parameter without an equals sign.
    #[error("store `{url}`: parameter `{name}` has no value; write `{name}=…`")]
    NoValue {
        /// The URL.
        url: String,
        /// The parameter.
        name: String,
    },
    /// What can be said once is said twice.
    #[error("store `{url}`: `{name}` is given twice")]
    Twice {
        /// The URL.
        url: String,
        /// The parameter.
        name: String,
    },
    /// A percent sign without two hexadecimal digits.
    #[error("store `{url}`: `{text}` is not percent-encoded; a percent sign is written `%25`")]
    Encoding {
        /// The URL.
        url: String,
        /// The part.
        text: String,
    },
    /// A root that is not absolute.
    #[error("store `{url}`: the root `{}` is not an absolute path", .path.display())]
    NotAbsolute {
        /// The URL.
        url: String,
        /// The root.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Environment {
        Environment { directory: "/here".into(), ..Environment::default() }
    }

    fn choice(url: &str) -> Result<StoreChoice, StoreUrlError> {
        choose(OsStr::new(url), &here())
    }

    fn root(url: &str) -> Option<PathBuf> {
        match choice(url) {
            Ok(StoreChoice::Embedded { root }) => root,
            other => panic!("`{url}` gives {other:?}"),
        }
    }

    #[test]
    fn roots_are_where_nix_puts_them() {
        // Each was given to `nix store info --store` of Nix 2.34.8, which made these directories.
        for (url, expected) in [
            ("local?root=/x/a%20b", "/x/a b"),
            ("local?root=/x/a+b", "/x/a+b"),
            ("local?root=/x/a=b", "/x/a=b"),
            ("local?root=/x/m&", "/x/m"),
            ("local://?root=/x", "/x"),
            ("local:///x/i%20i", "/x/i i"),
            ("local:/x/ii", "/x/ii"),
            ("auto?root=/x/j", "/x/j"),
            ("/x/g%20h", "/x/g%20h"),
            ("/x/p/../q", "/x/q"),
            ("./f", "/here/f"),
            ("f/g", "/here/f/g"),
        ] {
            assert_eq!(root(url), Some(expected.into()), "{url}");
        }
    }

    #[test]
    fn without_a_root_it_is_the_place_of_the_user() {
        for url in ["", "auto", "local", "local://"] {
            assert_eq!(root(url), None, "{url}");
        }
    }

    #[test]
    fn a_root_may_be_any_bytes() {
        let expected = OsString::from_vec(b"/x/\xff".into());
        assert_eq!(root("local?root=/x/%fF"), Some(expected.clone().into()));
        let choice = choose(&expected, &here()).unwrap();
        assert_eq!(choice, StoreChoice::Embedded { root: Some(expected.into()) });
    }

    #[test]
    fn other_stores_are_recognised() {
        for (url, socket, root) in [
            ("daemon", None, "/"),
            ("daemon?root=/x", None, "/x"),
            ("unix://", None, "/"),
            ("unix:///run/s", Some("/run/s"), "/"),
            ("unix:///run/a%20b?root=/x", Some("/run/a b"), "/x"),
        ] {
            let daemon =
                StoreChoice::Daemon { socket: socket.map(PathBuf::from), root: root.into(), asked: Asked::ByUrl };
            assert_eq!(choice(url), Ok(daemon));
        }
        let remote = |program: Option<&str>, key: Option<&str>| {
            let (program, key) = (program.map(OsString::from), key.map(PathBuf::from));
            Ok(StoreChoice::Remote { host: "ada@host".into(), program, key })
        };
        assert_eq!(choice("ssh-ng://ada@host"), remote(None, None));
        assert_eq!(choice("ssh-ng://ada@host?ssh-key=/k&remote-program=x"), remote(Some("x"), Some("/k")));
    }

    #[test]
    fn a_slip_is_an_error_that_names_it() {
        for (url, named) in [
            ("local?rot=/x", "unknown parameter `rot`"),
            ("local?root=/x&trusted=true", "unknown parameter `trusted`"),
            ("local?root", "`root` has no value"),
            ("local?root=/x&root=/y", "`root` is given twice"),
            ("/x?root=/y", "`root` is given twice"),
            ("local?root=/x/%zz", "`/x/%zz` is not percent-encoded"),
            ("local?root=/x/%2", "`/x/%2` is not percent-encoded"),
            ("local?root=x", "`x` is not an absolute path"),
            ("local?root=", "`` is not an absolute path"),
            ("local://x/y", "`x/y` is not an absolute path"),
            ("unix://x", "`x` is not an absolute path"),
            ("ssh-ng://-oProxyCommand=x", "does not name a machine"),
            ("ssh-ng://host?root=/x", "there is only `remote-program` and `ssh-key`"),
            ("https://cache.nixos.org", "`https://cache.nixos.org` is no store"),
            ("lokal", "`lokal` is no store"),
        ] {
            let error = choice(url).expect_err(url).to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn auto_is_the_daemon_where_nix_says_so() {
        let auto = |environment: &Environment| choose(OsStr::new("auto"), environment).unwrap();
        let embedded = StoreChoice::Embedded { root: None };
        let set = |value: &str| Some(OsString::from(value));

        let remote = Environment { nix_remote: set("daemon"), ..here() };
        let daemon = |asked: Asked| StoreChoice::Daemon { socket: None, root: "/".into(), asked };
        assert_eq!(auto(&remote), daemon(Asked::ByNixRemote("daemon".into())));
        let elsewhere = Environment { nix_remote: set("local?root=/x"), ..here() };
        assert_eq!(auto(&elsewhere), StoreChoice::Embedded { root: Some("/x".into()) });
        for nothing in ["", "auto"] {
            assert_eq!(auto(&Environment { nix_remote: set(nothing), ..here() }), embedded);
        }

        let build = Environment { nix_build_top: set("/build"), nix_store: set("/nix/store"), ..here() };
        assert_eq!(auto(&build), StoreChoice::NoDaemon);
        let recursive = Environment { nix_remote: set("unix:///build/.nix-socket"), ..build.clone() };
        let socket = Some("/build/.nix-socket".into());
        let asked = Asked::ByNixBuild("unix:///build/.nix-socket".into());
        assert_eq!(auto(&recursive), StoreChoice::Daemon { socket, root: "/".into(), asked });
        assert_eq!(auto(&Environment { nix_store: None, ..build.clone() }), embedded);
        assert_eq!(auto(&Environment { nix_build_top: None, ..build.clone() }), embedded);

        // Who names a store gets it.
        for environment in [remote, build] {
            assert_eq!(choose(OsStr::new("local"), &environment), Ok(embedded.clone()));
            let named = StoreChoice::Embedded { root: Some("/x".into()) };
            assert_eq!(choose(OsStr::new("local?root=/x"), &environment), Ok(named.clone()));
            assert_eq!(choose(OsStr::new("/x"), &environment), Ok(named));
        }
    }
}
