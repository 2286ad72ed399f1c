//! Which compiler a proxy of rustup starts: `~/.cargo/bin/rustc` is rustup itself, which chooses a toolchain by the environment,
//! by files in the working directory and above, and by its settings (the rustup book, "Overrides").

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Files by which a directory has a toolchain of its own.
const OVERRIDES: [&str; 2] = ["rust-toolchain", "rust-toolchain.toml"];

/// Whether a program is a proxy: rustup under another name.
pub fn is_proxy(program: &Path) -> bool {
    let is_rustup = |path: &Path| path.file_name().is_some_and(|name| name == "rustup" || name == "rustup-init");
    let is_linked = || {
        let (Ok(own), Ok(other)) = (fs::metadata(program), fs::metadata(program.with_file_name("rustup"))) else {
            return false;
        };
        (own.dev(), own.ino()) == (other.dev(), other.ino())
    };
    fs::canonicalize(program).is_ok_and(|real| is_rustup(&real)) || is_linked()
}

/// The compiler that a proxy starts in a directory, by asking it; none where it does not say.
pub fn meant(proxy: &Path, directory: &Path) -> Option<PathBuf> {
    let mut command = Command::new(proxy);
    let output =
        command.args(["--print", "sysroot"]).current_dir(directory).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let output = output.ok().filter(|output| output.status.success())?;
    let line = output.stdout.strip_suffix(b"\n").unwrap_or(&output.stdout).to_vec();
    let compiler = Path::new(&OsString::from_vec(line)).join("bin/rustc");
    (compiler.is_absolute() && compiler.is_file() && !is_proxy(&compiler)).then_some(compiler)
}

/// The files by which a proxy chooses in a directory, whether or not they are there.
pub fn choosers(directory: &Path, variable: &dyn Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let of_directories = directory.ancestors().flat_map(|at| OVERRIDES.iter().map(|name| at.join(name)));
    let home = variable("RUSTUP_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(Path::new(OsStr::new(&variable("HOME")?)).join(".rustup")));
    of_directories.chain(home.map(|home| directory.join(home).join("settings.toml"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn a_proxy_is_rustup_by_a_link_of_either_kind() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["rustup", "other"] {
            fs::write(at(name), "").unwrap();
        }
        symlink("rustup", at("soft")).unwrap();
        fs::hard_link(at("rustup"), at("hard")).unwrap();
        assert!(is_proxy(&at("soft")) && is_proxy(&at("hard")));
        assert!(!is_proxy(&at("other")) && !is_proxy(&at("none")));
    }

    #[test]
    fn what_a_proxy_starts_is_what_it_says() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("toolchain/bin")).unwrap();
        fs::write(at("toolchain/bin/rustc"), "").unwrap();
        fs::write(at("rustup"), format!("#!/bin/sh\necho {}\n", at("toolchain").display())).unwrap();
        fs::set_permissions(at("rustup"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(meant(&at("rustup"), directory.path()), Some(at("toolchain/bin/rustc")));
        fs::remove_file(at("toolchain/bin/rustc")).unwrap();
        assert_eq!(meant(&at("rustup"), directory.path()), None);
    }

    #[test]
    fn a_toolchain_is_chosen_by_files_above_and_by_settings() {
        let of = |home: &'static str| choosers(Path::new("/a/b"), &|name| (name == home).then(|| OsString::from("/h")));
        let named = |paths: Vec<PathBuf>| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        let names = named(of("HOME"));
        assert!(
            names.contains(&"/a/b/rust-toolchain.toml".to_owned()) && names.contains(&"/rust-toolchain".to_owned())
        );
        assert_eq!(names.last().unwrap(), "/h/.rustup/settings.toml");
        assert_eq!(named(of("RUSTUP_HOME")).last().unwrap(), "/h/settings.toml");
    }
}
