//! `/bin/sh` for builders. It is all that they see of the host, as with stock Nix on Debian, where the default of
//! `sandbox-paths` is `/bin/sh=/usr/bin/bash-static`. Like there it is no input: a derivation that uses it is the same
//! on every host, whatever the shell.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SHELL: &str = "/bin/sh";

/// Shells that need no library on the distributions that have them.
const STATIC: [&str; 4] = ["/usr/bin/bash-static", "/bin/bash-static", "/bin/busybox.static", "/bin/busybox"];

/// What is seen in the sandbox, and which file it is: a shell without libraries where there is one, else the host's
/// with the libraries that its loader lists.
pub(crate) fn host_shell() -> io::Result<BTreeMap<PathBuf, PathBuf>> {
    let alone = |file: &&&str| interpreter(Path::new(file)).is_ok_and(|interpreter| interpreter.is_none());
    if let Some(file) = STATIC.iter().find(alone) {
        return Ok([(SHELL.into(), PathBuf::from(file))].into());
    }
    let mut paths = BTreeMap::from([(PathBuf::from(SHELL), fs::canonicalize(SHELL)?)]);
    let Some(interpreter) = interpreter(Path::new(SHELL))? else { return Ok(paths) };
    let output = Command::new(&interpreter).args(["--list", SHELL]).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
    for file in libraries.chain([interpreter]) {
        paths.insert(file.clone(), fs::canonicalize(file)?);
    }
    Ok(paths)
}

/// The loader that an ELF program names (System V ABI, `PT_INTERP`); `None` for one that needs none.
fn interpreter(program: &Path) -> io::Result<Option<PathBuf>> {
    const PT_INTERP: u64 = 3;
    let file = File::open(program)?;
    let mut header = [0; 64];
    file.read_exact_at(&mut header, 0)?;
    if header[..6] != *b"\x7fELF\x02\x01" {
        return Err(io::Error::other(format!("`{}` is no ELF file of 64 bits", program.display())));
    }
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let (table, size, count) = (number(&header[32..40]), number(&header[54..56]), number(&header[56..58]));
    for index in 0..count {
        let mut entry = [0; 56];
        file.read_exact_at(&mut entry, table + index * size)?;
        if number(&entry[..4]) == PT_INTERP {
            let mut name = Vec::new();
            let (from, length) = (number(&entry[8..16]), number(&entry[32..40]));
            io::Seek::seek(&mut &file, io::SeekFrom::Start(from))?;
            (&file).take(length.saturating_sub(1)).read_to_end(&mut name)?;
            return Ok(Some(String::from_utf8_lossy(&name).into_owned().into()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_static_program_has_no_loader_and_a_shell_with_libraries_brings_it() {
        assert_eq!(interpreter(&std::env::current_exe().unwrap()).unwrap(), None);
        let paths = host_shell().unwrap();
        assert!(paths.contains_key(Path::new(SHELL)));
        if let Some(loader) = interpreter(&paths[Path::new(SHELL)]).unwrap() {
            assert!(paths.contains_key(&loader) && paths.len() > 2, "{paths:?}");
        }
    }
}
