//! What compilers define and where they look by themselves: asked once, and remembered between runs in a directory of the
//! user's, one small file for each question. It may be deleted at any time.

use super::{is_system, parent, to_path, wide};
use crate::graph::absolute;
use crate::host_tools::SEARCH_PATH;
use crate::identity::Identity;
use crate::toolchain::resolve_program;
use bstr::{BStr, BString, ByteSlice as _};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

/// Changes whenever an older file would be misunderstood.
const VERSION: u32 = 3;

/// Names of directories for one kind of machine ("Multiarch/Tuples" of Debian), those that Linux has.
const MULTIARCH: [&str; 12] = [
    "aarch64-linux-gnu",
    "arm-linux-gnueabi",
    "arm-linux-gnueabihf",
    "i386-linux-gnu",
    "loongarch64-linux-gnu",
    "mips64el-linux-gnuabi64",
    "mipsel-linux-gnu",
    "powerpc64le-linux-gnu",
    "riscv64-linux-gnu",
    "s390x-linux-gnu",
    "x86_64-linux-gnu",
    "x86_64-linux-gnux32",
];

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    /// The compiler, and the words that may change the answer.
    pub words: &'a [BString],
    /// As for `-x`.
    pub language: &'a str,
    /// All of the environment.
    pub env: &'a BTreeMap<BString, BString>,
    /// Where it is asked.
    pub cwd: &'a BStr,
    /// The same, where that may change the answer; else empty.
    pub place: &'a BStr,
}

/// What a compiler has answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    /// A line `#define …` for each macro.
    pub defined: BString,
    /// The directories that it searches, in order.
    pub search: Vec<BString>,
    /// Directories that it would search if they were there.
    pub absent: Vec<BString>,
}

/// An answer, and what it depends on.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    version: u32,
    /// All of the question.
    question: Vec<BString>,
    /// The programs that have answered, and the links to them.
    programs: Vec<(PathBuf, Identity)>,
    answer: Answer,
}

impl Question<'_> {
    /// The answer, as it is remembered in a directory, or as the compiler gives it; none if it gives none.
    pub fn answer(&self, memory: Option<&Path>) -> Option<Answer> {
        let Some(file) = memory.and_then(|memory| self.is_memorable().then(|| memory.join(self.name()))) else {
            return Some(self.ask()?.0);
        };
        let read = fs::read(&file).ok().and_then(|bytes| postcard::from_bytes::<Remembered>(&bytes).ok());
        if let Some(remembered) = read.filter(|remembered| self.stands(remembered)) {
            return Some(remembered.answer);
        }
        let begun = SystemTime::now();
        let (answer, said) = self.ask()?;
        let programs = self.programs(&said);
        let is_settled = |(_, identity): &(PathBuf, Identity)| identity.settled(begun);
        if !programs.is_empty() && programs.iter().all(is_settled) {
            let question = self.text();
            let remembered = Remembered { version: VERSION, question, programs, answer: answer.clone() };
            write(&file, &remembered).ok(); // then it is asked again
        }
        Some(answer)
    }

    /// Whether no file but programs decides the answer.
    fn is_memorable(&self) -> bool {
        let names_file = |word: &BString| {
            [&b"@"[..], b"-specs", b"--specs", b"--config", b"-B", b"-wrapper"]
                .iter()
                .any(|start| word.starts_with(start))
        };
        !self.words.iter().any(names_file) && !self.reads_files()
    }

    /// Whether a script answers that is not the host's, and names files of its own.
    fn reads_files(&self) -> bool {
        let program = self.words.first().map(|word| absolute(word.as_bstr(), self.cwd)).unwrap_or_default();
        let is_path = self.words.first().is_some_and(|word| word.contains(&b'/'));
        is_path && !is_system(program.as_bstr()) && !wide::files_of_script(program.as_bstr()).is_empty()
    }

    fn text(&self) -> Vec<BString> {
        let env = self.env.iter().map(|(name, value)| BString::from([name.as_slice(), b"=", value].concat()));
        let fixed = [BString::from(self.language), BString::from(self.place)];
        fixed.into_iter().chain(env).chain(self.words.iter().cloned()).collect()
    }

    fn name(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for part in self.text() {
            hasher.update(&part).update(b"\0");
        }
        hasher.finalize().to_hex().as_str()[..32].to_owned()
    }

    fn stands(&self, remembered: &Remembered) -> bool {
        remembered.version == VERSION
            && remembered.question == self.text()
            && remembered.programs.iter().all(|(path, identity)| Identity::of(path) == Some(*identity))
            && remembered.answer.absent.iter().all(|path| fs::metadata(to_path(path.as_bstr())).is_err())
            && remembered
                .answer
                .search
                .iter()
                .all(|path| to_path(absolute(path.as_bstr(), self.cwd).as_bstr()).is_dir())
    }

    /// With what it said besides.
    fn ask(&self) -> Option<(Answer, Vec<u8>)> {
        let word = |word: &BString| OsStr::from_bytes(word).to_owned();
        let mut command = Command::new(word(self.words.first()?));
        command.args(self.words[1..].iter().map(word)).args(["-x", self.language, "-E", "-dM", "-v", "/dev/null"]);
        command.current_dir(to_path(self.cwd)).env_clear();
        command.envs(self.env.iter().map(|(name, value)| (word(name), word(value))));
        let output = command.env("LC_ALL", "C").stdin(Stdio::null()).output().ok()?;
        let search = super::compile::searched(&output.stderr);
        let absent = ignored(&output.stderr).into_iter().chain(self.unsaid()).collect();
        let answer = Answer { defined: output.stdout.into(), search, absent };
        output.status.success().then_some((answer, output.stderr))
    }

    /// Directories below another root that Clang would search if they were there, and does not tell of (16, `Linux.cpp`,
    /// `AddClangSystemIncludeArgs`).
    fn unsaid(&self) -> Vec<BString> {
        let joined = |word: &BString| {
            ["--sysroot=", "-isysroot"]
                .iter()
                .find_map(|option| word.strip_prefix(option.as_bytes()).map(BString::from))
        };
        let is_option = |word: &BString| ["--sysroot", "-isysroot"].iter().any(|option| word == *option);
        let apart = self.words.windows(2).filter(|pair| is_option(&pair[0])).map(|pair| pair[1].clone());
        let roots = self.words.iter().filter(|word| !is_option(word)).filter_map(joined).chain(apart);
        let roots = roots.map(|root| absolute(root.as_bstr(), self.cwd));
        let directories = roots.flat_map(|root| {
            MULTIARCH.map(|name| BString::from([root.as_slice(), b"/usr/include/", name.as_bytes()].concat()))
        });
        directories.filter(|path| fs::symlink_metadata(to_path(path.as_bstr())).is_err()).collect()
    }

    /// The driver, and what `-v` tells that it has started; with all links on the way.
    fn programs(&self, said: &[u8]) -> Vec<(PathBuf, Identity)> {
        let driver = self.words.first().and_then(|word| {
            let found = absolute(word.as_bstr(), self.cwd);
            let word = if word.contains(&b'/') { &found } else { word };
            resolve_program(to_path(word.as_bstr()).as_os_str(), SEARCH_PATH.as_ref())
        });
        let started = said.lines().filter_map(|line| line.strip_prefix(b" ")?.fields().next());
        let started = started.map(|word| PathBuf::from(to_path(word.trim_with(|c| c == '"').as_bstr())));
        let is_program = |path: &PathBuf| {
            path.is_absolute()
                && fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        };
        let mut programs = BTreeMap::new();
        let mut waiting: Vec<PathBuf> = driver.into_iter().chain(started.filter(is_program)).collect();
        while let Some(path) = waiting.pop() {
            let Some(identity) = Identity::of(&path).filter(|_| !programs.contains_key(&path)) else { continue };
            if let Ok(target) = fs::read_link(&path) {
                let directory = parent(path.as_os_str().as_bytes().as_bstr()).to_owned();
                waiting.push(
                    to_path(absolute(target.as_os_str().as_bytes().as_bstr(), directory.as_bstr()).as_bstr()).into(),
                );
            }
            programs.insert(path, identity);
        }
        programs.into_iter().collect()
    }
}

/// The directories that a compiler says it does not search as they are not there.
pub(super) fn ignored(said: &[u8]) -> Vec<BString> {
    let path = |line: &[u8]| Some(line.strip_prefix(b"ignoring nonexistent directory \"")?.strip_suffix(b"\"")?.into());
    said.lines().filter_map(path).collect()
}

fn write(file: &Path, remembered: &Remembered) -> std::io::Result<()> {
    let directory = file.parent().expect("a file in a directory");
    fs::create_dir_all(directory)?;
    let mut new = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o666)).tempfile_in(directory)?;
    new.write_all(&postcard::to_stdvec(remembered).map_err(std::io::Error::other)?)?;
    new.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A compiler that says how often it was asked.
    const COMPILER: &str = "#!/bin/sh\nread n < count; echo $((n + 1)) > count\necho \"#define N $n\"\n\
                            echo '#include <...> search starts here:' >&2\necho \" $PWD/i\" >&2\n\
                            echo 'End of search list.' >&2\necho \"ignoring nonexistent directory \\\"$PWD/none\\\"\" >&2\n";

    #[test]
    fn a_compiler_is_asked_once_until_something_changes() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let compiler = |text: &str| {
            fs::write(at("cc"), text).unwrap();
            fs::set_permissions(at("cc"), fs::Permissions::from_mode(0o755)).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(60)); // until its looks stand for it
        };
        compiler(COMPILER);
        fs::create_dir(at("i")).unwrap();
        fs::write(at("count"), "0\n").unwrap();
        let cwd = BString::from(directory.path().as_os_str().as_bytes());
        let env = BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]);
        let memory = at("memory");
        let answer = |option: &str| {
            let words = [BString::from("./cc"), option.into()];
            let question =
                Question { words: &words, language: "c", env: &env, cwd: cwd.as_bstr(), place: cwd.as_bstr() };
            question.answer(Some(&memory)).unwrap()
        };
        let first = answer("-O1");
        assert_eq!(first.defined, "#define N 0\n");
        assert_eq!(first.search, [BString::from(at("i").as_os_str().as_bytes())]);
        assert_eq!(answer("-O1"), first);
        assert_eq!(answer("-O2").defined, "#define N 1\n");
        fs::create_dir(at("none")).unwrap();
        assert_eq!(answer("-O1").defined, "#define N 2\n");
        fs::remove_dir(at("none")).unwrap();
        compiler(&format!("{COMPILER}# another\n"));
        assert_eq!(answer("-O1").defined, "#define N 3\n");
        assert_eq!(answer("-O1").defined, "#define N 3\n");
    }
}
