//! What an ELF file asks of its loader: the interpreter, the libraries and where to look for them. Pure.
#![deny(clippy::disallowed_methods)]

use object::elf;
use object::read::elf::{Dyn as _, ElfFile32, ElfFile64, FileHeader, ProgramHeader as _};
use object::read::{FileKind, ReadRef};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// The answer for one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// `PT_INTERP`: the loader of a program.
    pub interpreter: Option<PathBuf>,
    /// `DT_NEEDED`, in order.
    pub libraries: Vec<Vec<u8>>,
    /// `DT_RPATH`, also for the libraries of the libraries. Empty if there is a `DT_RUNPATH`, as the loader has it.
    pub rpath: Vec<Vec<u8>>,
    /// `DT_RUNPATH`, for this file's own libraries only.
    pub runpath: Vec<Vec<u8>>,
    /// Class and machine: a library fits if they are equal.
    pub machine: (bool, u16),
}

/// Reads the headers of an ELF file; `None` where the bytes are no ELF file, or a broken one.
pub fn needs(bytes: &[u8]) -> Option<Needs> {
    match FileKind::parse(bytes).ok()? {
        FileKind::Elf64 => {
            let file: ElfFile64<'_> = ElfFile64::parse(bytes).ok()?;
            of_header(file.elf_header(), bytes, true)
        }
        FileKind::Elf32 => {
            let file: ElfFile32<'_> = ElfFile32::parse(bytes).ok()?;
            of_header(file.elf_header(), bytes, false)
        }
        _ => None,
    }
}

fn of_header<'a, H: FileHeader, R: ReadRef<'a>>(header: &'a H, data: R, wide: bool) -> Option<Needs> {
    let endian = header.endian().ok()?;
    let mut needs = Needs { machine: (wide, header.e_machine(endian).0), ..Needs::default() };
    let segments = header.program_headers(endian, data).ok()?;
    for segment in segments {
        if let Ok(Some(interpreter)) = segment.interpreter(endian, data) {
            needs.interpreter = Some(OsStr::from_bytes(interpreter).into());
        }
        let Ok(Some(entries)) = segment.dynamic(endian, data) else { continue };
        let value = |entry: &H::Dyn| entry.val(endian);
        let find = |tag| entries.iter().find(|entry| entry.tag(endian) == tag).map(value);
        let (Some(address), Some(size)) = (find(elf::DT_STRTAB), find(elf::DT_STRSZ)) else { continue };
        let strings = segments.iter().find_map(|s| s.data_range(endian, data, address, size).ok().flatten())?;
        let string = |offset: u64| -> Option<&[u8]> {
            let rest = strings.get(usize::try_from(offset).ok()?..)?;
            rest.split(|&byte| byte == 0).next()
        };
        let list = |offset: u64| -> Vec<Vec<u8>> {
            let parts = string(offset).unwrap_or_default().split(|&byte| byte == b':');
            parts.filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect()
        };
        for entry in entries {
            if entry.tag(endian) == elf::DT_NEEDED {
                needs.libraries.extend(string(value(entry)).map(<[u8]>::to_vec));
            } else if entry.tag(endian) == elf::DT_RPATH {
                needs.rpath = list(value(entry));
            } else if entry.tag(endian) == elf::DT_RUNPATH {
                needs.runpath = list(value(entry));
            }
        }
    }
    if !needs.runpath.is_empty() {
        needs.rpath.clear();
    }
    Some(needs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_elf_file_needs_nothing() {
        assert_eq!(needs(b"#!/bin/sh\n"), None);
        assert_eq!(needs(b"\x7fELF\x02\x01\x01"), None);
        assert_eq!(needs(b""), None);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test on real files")]
    fn a_shell_needs_its_loader_and_the_c_library() {
        let Ok(bytes) = std::fs::read("/bin/sh") else {
            eprintln!("not run: there is no `/bin/sh`");
            return;
        };
        let needs = needs(&bytes).expect("it is an ELF file");
        if needs.interpreter.is_none() {
            eprintln!("not run: `/bin/sh` is static");
            return;
        }
        assert!(needs.libraries.iter().any(|name| name.starts_with(b"libc.")), "{needs:?}");
    }
}
