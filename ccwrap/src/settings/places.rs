//! Where files of settings are: that of the host, the user's, that of the cache, and those of the checkout that a compiler is called in.

use splitter::checkout;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// What a file in a cache or in a checkout is called.
const NAME: &str = "ccwrap.conf";

/// A file of settings that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where.
    pub path: PathBuf,
    /// What it holds.
    pub text: Vec<u8>,
    /// Whose it is.
    pub whose: Whose,
}

/// Whose a file of settings is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Of the host or of the user.
    Ours,
    /// Of the cache, which another user keeps: it must not say what is run or where something else is written.
    Keepers,
    /// Of a checkout: it must not say what is run or where something is written.
    Checkouts,
    /// Of a checkout, and may have been written by somebody else: it is not read.
    Strangers,
}

/// The files of settings for a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// All that may be there.
    pub paths: Vec<PathBuf>,
    /// Those that are, in the order in which they count.
    pub files: Vec<File>,
}

impl Places {
    /// For a call in `directory`, with these variables: the first of the files of its checkout, from there upwards, counts, unless
    /// `CCWRAP_CONFIGPATH` names the only one of the user's.
    pub fn of(variable: &dyn Fn(&str) -> Option<OsString>, directory: &Path) -> Self {
        let mut places = Self { paths: vec!["/etc/ccwrap.conf".into()], files: Vec::new() };
        places.paths.extend(of_user(variable));
        let read = |path: &Path| fs::read(path).ok();
        for path in &places.paths {
            let is_kept = Some(path) == of_cache(variable).as_ref() && !is_by_us(path);
            let whose = if is_kept { Whose::Keepers } else { Whose::Ours };
            let file = |text| File { path: path.clone(), text, whose };
            places.files.extend(read(path).map(file));
        }
        if variable("CCWRAP_CONFIGPATH").is_some() {
            return places;
        }
        let top = checkout::top(directory);
        let within = directory.ancestors().take_while(|above| top.as_ref().is_some_and(|top| above.starts_with(top)));
        let ours = places.paths.clone();
        for path in within.map(|above| above.join(NAME)).filter(|path| !ours.contains(path)) {
            let found = read(&path).map(|text| File { path: path.clone(), text, whose: whose(&path) });
            places.paths.push(path);
            if found.is_some() {
                places.files.extend(found);
                break;
            }
        }
        places
    }
}

/// Whether a file is the user's own or that of root.
fn is_by_us(path: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    fs::metadata(path).is_ok_and(|file| [user, 0].contains(&file.uid()))
}

fn whose(path: &Path) -> Whose {
    let user = rustix::process::geteuid().as_raw();
    let is_users = |file: fs::Metadata| file.uid() == user && file.permissions().mode() & 0o002 == 0;
    match fs::metadata(path).is_ok_and(is_users) {
        true => Whose::Checkouts,
        false => Whose::Strangers,
    }
}

/// The file that a setting is written to: that of the cache, if one is named; else that of the user.
pub fn user_file(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    of_user(variable).pop()
}

/// The files of the user, the last one that of the cache, if one is named.
fn of_user(variable: &dyn Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    if let Some(file) = variable("CCWRAP_CONFIGPATH") {
        return vec![file.into()];
    }
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
    let of_user = config.map(|config| config.join("ccwrap").join(NAME));
    of_user.into_iter().chain(of_cache(variable)).collect()
}

/// That of the cache, if one is named.
fn of_cache(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let cache =
        ["CCWRAP_DIR", "CCACHE_DIR"].into_iter().filter_map(variable).find(|directory| !directory.is_empty())?;
    Some(std::path::absolute(cache).ok()?.join(NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_file_of_a_checkout_counts() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().join("tree");
        let build = top.join("sub/build");
        fs::create_dir_all(&build).unwrap();
        fs::create_dir(top.join(".git")).unwrap();
        fs::write(directory.path().join(NAME), "").unwrap(); // above the checkout
        let of = |known: Option<&str>| {
            let places = Places::of(&|name| Some(known?.into()).filter(|_| name == "CCWRAP_CONFIGPATH"), &build);
            let names = places.files.into_iter().filter(|file| file.whose != Whose::Ours).map(|file| file.path);
            (places.paths.len(), names.collect::<Vec<_>>())
        };
        assert_eq!(of(None), (4, vec![]));
        fs::write(top.join(NAME), "").unwrap();
        assert_eq!(of(None), (4, vec![top.join(NAME)]));
        fs::write(top.join("sub").join(NAME), "").unwrap();
        assert_eq!(of(None), (3, vec![top.join("sub").join(NAME)]));
        assert_eq!(of(Some("/nowhere")), (2, vec![]));
    }

    #[test]
    fn a_cache_that_is_named_has_settings_of_its_own() {
        let of = |known: &[(&str, &str)]| {
            let variable = |name: &str| known.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
            of_user(&variable)
        };
        let home = PathBuf::from("/h/.config/ccwrap/ccwrap.conf");
        assert_eq!(of(&[("HOME", "/h"), ("CCACHE_DIR", "/c")]), [home.clone(), "/c/ccwrap.conf".into()]);
        assert_eq!(of(&[("HOME", "/h"), ("CCACHE_DIR", "")]), [home]);
        assert_eq!(of(&[("CCACHE_DIR", "/c"), ("CCWRAP_CONFIGPATH", "/x")]), [PathBuf::from("/x")]);
    }

    #[test]
    fn a_file_that_everybody_may_write_is_nobodys() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(NAME);
        fs::write(&file, "").unwrap();
        let with = |mode: u32| {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            whose(&file)
        };
        assert_eq!((with(0o664), with(0o666)), (Whose::Checkouts, Whose::Strangers));
    }
}
