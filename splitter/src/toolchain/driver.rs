//! Compiler drivers: knows one by its name and asks it for its programs, its libraries and the processor.

use crate::discover::{compile, to_path};
use bstr::ByteSlice as _;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What is known of a compiler driver by its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Driver {
    /// Whose options it takes.
    pub family: Family,
    /// It was called by a name that compiles and links C++.
    pub cxx: bool,
    /// It compiles Fortran.
    pub fortran: bool,
}

/// Whose options a driver takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// GCC: programs of its own for each language, an assembler and a linker.
    Gcc,
    /// Clang: one program, a resource directory and a linker.
    Clang,
}

/// Knows a driver by the names of a program: as called, of each link on the way, and of the real file, in this order.
/// The last one decides (a `cc` that leads to `ccache` is none); the language is C++ if any of them says so.
pub fn recognise(names: &[&str]) -> Option<Driver> {
    let family = match stem(names.last()?) {
        "gcc" | "g++" | "cc" | "c++" | "cpp" | "gfortran" => Family::Gcc,
        "clang" | "clang++" => Family::Clang,
        _ => return None,
    };
    let any = |wanted: &[&str]| names.iter().any(|name| wanted.contains(&stem(name)));
    Some(Driver { family, cxx: any(&["g++", "c++", "clang++"]), fortran: any(&["gfortran"]) })
}

/// `g++` of `x86_64-linux-gnu-g++-12`.
fn stem(name: &str) -> &str {
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let plain = name.rsplit_once('-').filter(|(_, version)| digits(version)).map_or(name, |(plain, _)| plain);
    plain.rsplit('-').next().unwrap_or(plain)
}

impl Driver {
    /// The programs that it starts, as arguments of `-print-prog-name`. `make` is not among them: without it
    /// `-flto=auto` works on one processor, with equal results.
    pub fn programs(&self) -> Vec<&'static str> {
        let mut programs = match self.family {
            Family::Gcc => vec!["as", "ld", "objcopy", "cc1", "collect2", "lto1", "lto-wrapper"],
            Family::Clang => vec!["ld"],
        };
        if self.family == Family::Gcc && self.cxx {
            programs.push("cc1plus");
        }
        if self.fortran {
            programs.push("f951");
        }
        programs
    }

    /// One file of each package that it needs to compile and link, as arguments of `-print-file-name`.
    pub fn files(&self) -> Vec<&'static str> {
        let mut files = vec!["crt1.o", "libc.so", "libgcc.a", "libgcc_s.so"];
        if self.family == Family::Gcc {
            files.extend(["include/stddef.h", "liblto_plugin.so"]);
        }
        if self.cxx {
            files.push("libstdc++.so");
        }
        if self.fortran {
            files.push("libgfortran.so");
        }
        files
    }

    /// What a C library and a compiler consist of that no package manager speaks for, as arguments of
    /// `-print-file-name`.
    pub fn loose_files(&self) -> &'static [&'static str] {
        &[
            "Scrt1.o",
            "gcrt1.o",
            "rcrt1.o",
            "crti.o",
            "crtn.o",
            "libc.a",
            "libc_nonshared.a",
            "libm.so",
            "libm.a",
            "libmvec.so",
            "libpthread.so",
            "libpthread.a",
            "libdl.so",
            "libdl.a",
            "librt.so",
            "librt.a",
            "libgcc_s.so.1",
            "libstdc++.a",
            "libstdc++.so.6",
            "libsupc++.a",
            "libgomp.so",
            "libgomp.spec",
            "libatomic.so",
        ]
    }
}

/// Asks a driver one question. It runs with `PATH` alone, in the C locale.
///
/// # Errors
/// Those of starting it; an answer of a driver that fails is empty.
pub fn ask(driver: &Path, arguments: &[&str], search_path: &OsStr) -> io::Result<String> {
    let output = Command::new(driver)
        .args(arguments)
        .env_clear()
        .env("PATH", search_path)
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .output()?;
    let text = if output.status.success() { output.stdout } else { Vec::new() };
    Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
}

/// Where a driver has a file; `None` where it has none (it then answers with the name alone).
///
/// # Errors
/// As [`ask`].
pub fn file_name(driver: &Path, file: &str, search_path: &OsStr) -> io::Result<Option<PathBuf>> {
    let answer = ask(driver, &[&format!("-print-file-name={file}")], search_path)?;
    Ok(Some(PathBuf::from(answer)).filter(|path| path.is_absolute()))
}

/// The directories in which a driver looks for headers of C, as it says by `-v`; only those that are there.
///
/// # Errors
/// Those of starting it.
pub fn searched(driver: &Path, search_path: &OsStr) -> io::Result<Vec<PathBuf>> {
    let output = Command::new(driver)
        .args(["-E", "-v", "-x", "c", "/dev/null"])
        .env_clear()
        .env("PATH", search_path)
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .output()?;
    Ok(compile::searched(&output.stderr).iter().map(|path| to_path(path.as_bstr()).to_owned()).collect())
}

/// What `-march=native` means to `driver` on this processor: the flags it hands to its compiler instead, separated by
/// spaces, such as `-march=znver3 -mmmx -mno-avx512f --param=l1-cache-size=32`. Two machines with equal texts compile
/// alike. `None` where the driver knows no `-march=native` or cannot be asked.
///
/// The driver is asked by `-###`, which prints the calls without making them: GCC then has put the processor's flags
/// in the place of `native` (gcc/config/i386/driver-i386.cc), Clang has put `-target-cpu` and `-target-feature` there.
pub fn native_march(driver: &Path, search_path: &OsStr) -> Option<String> {
    let output = Command::new(driver)
        .args(["-march=native", "-###", "-S", "-x", "c", "/dev/null", "-o", "-"])
        .env_clear()
        .env("PATH", search_path)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then(|| parse_native(&String::from_utf8_lossy(&output.stderr)))?
}

/// Finds the flags of the processor in what `-###` prints.
pub fn parse_native(calls: &str) -> Option<String> {
    let unquoted = |word: &str| word.trim_matches('"').to_owned();
    for line in calls.lines().filter(|line| line.starts_with(' ')) {
        let words: Vec<String> = line.split_whitespace().map(unquoted).collect();
        if words.iter().any(|word| word == "-cc1") {
            let mut flags = Vec::new();
            for pair in words.windows(2) {
                if ["-target-cpu", "-target-feature", "-tune-cpu"].contains(&pair[0].as_str()) {
                    flags.push(format!("{} {}", pair[0], pair[1]));
                }
            }
            return (!flags.is_empty()).then(|| flags.join(" "));
        }
        let mut flags = Vec::new();
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            if word == "--param" {
                flags.extend(words.next().map(|value| format!("--param={value}")));
            } else if word.starts_with("-m") || word.starts_with("--param=") {
                flags.push(word.clone());
            }
        }
        if flags
            .iter()
            .any(|flag| (flag.starts_with("-march=") || flag.starts_with("-mcpu=")) && !flag.ends_with("=native"))
        {
            return Some(flags.join(" "));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_is_known_by_its_real_name() {
        let gcc = |cxx| Some(Driver { family: Family::Gcc, cxx, fortran: false });
        assert_eq!(recognise(&["cc", "gcc", "gcc-12", "x86_64-linux-gnu-gcc-12"]), gcc(false));
        assert_eq!(recognise(&["c++", "x86_64-linux-gnu-g++-12.2"]), gcc(true));
        assert_eq!(
            recognise(&["clang++", "clang-14"]),
            Some(Driver { family: Family::Clang, cxx: true, fortran: false })
        );
        assert_eq!(recognise(&["cc", "ccache"]), None);
        assert_eq!(recognise(&["gcc-ar-12"]), None);
        assert_eq!(recognise(&["clang-format-14"]), None);
    }

    #[test]
    fn native_flags_are_read_from_the_call_of_the_compiler() {
        let gcc = "Using built-in specs.\nCOLLECT_GCC_OPTIONS='-march=native'\n /usr/lib/cc1 -quiet /dev/null \"-march=znver3\" \
                   -mavx2 -mno-fma4 --param \"l1-cache-size=32\" -quiet -o -\n";
        assert_eq!(parse_native(gcc).as_deref(), Some("-march=znver3 -mavx2 -mno-fma4 --param=l1-cache-size=32"));
        let clang =
            "clang version 14\n \"/usr/bin/clang\" \"-cc1\" \"-target-cpu\" \"znver3\" \"-target-feature\" \"+avx2\"\n";
        assert_eq!(parse_native(clang).as_deref(), Some("-target-cpu znver3 -target-feature +avx2"));
        assert_eq!(parse_native("nothing"), None);
    }

    #[test]
    fn this_machine_has_a_native_processor() {
        let driver = Path::new("/usr/bin/cc");
        if !driver.exists() {
            eprintln!("not run: there is no `/usr/bin/cc`");
            return;
        }
        let flags = native_march(driver, OsStr::new("/usr/bin:/bin")).unwrap_or_default();
        assert!(!flags.contains("native"), "{flags}");
    }
}
