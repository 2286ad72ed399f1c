//! The compiles of a real build, and what the compiler itself says that they read.

use bstr::{BString, ByteSlice as _};
use splitter::compiler::{Compile, is_driver};
use splitter::graph::absolute;
use splitter::shell::{Script, parse};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// A compile.
pub struct Unit {
    /// Its words without those for outputs.
    pub ask: Vec<BString>,
    /// Where it is started.
    pub cwd: BString,
    /// What it makes, as its words name it.
    pub object: String,
}

/// All compiles of a build directory that ninja knows.
pub fn units(build: &Path) -> Vec<Unit> {
    let output = Command::new("ninja").args(["-t", "commands"]).current_dir(build).output().expect("ninja");
    let mut units = Vec::new();
    for text in output.stdout.lines() {
        let Script::Plain(simples) = parse(text.as_bstr()) else { continue };
        // Some projects start ccache by themselves.
        let compile = simples.first().and_then(|simple| {
            let is_compiler = |word: &BString| is_driver(word.as_bstr());
            let compiler = simple.argv.iter().take(2).position(is_compiler)?;
            Compile::read(&simple.argv[compiler..])
        });
        let Some(compile) = compile else { continue };
        let mut words = simples[0].argv.iter().skip_while(|word| *word != "-o");
        let object = words.nth(1).map(ToString::to_string).unwrap_or_default();
        units.push(Unit { ask: compile.ask, cwd: build.as_os_str().as_bytes().into(), object });
    }
    units
}

/// The environment in which they are asked.
pub fn environment() -> BTreeMap<BString, BString> {
    BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())])
}

impl Unit {
    /// What the compiler says by `-M`; nothing if it fails.
    pub fn read_by_compiler(&self) -> BTreeSet<BString> {
        let word = |word: &BString| OsStr::from_bytes(word).to_owned();
        let mut command = Command::new(word(&self.ask[0]));
        command.args(self.ask[1..].iter().map(word)).args(["-M", "-MT", "x"]).current_dir(word(&self.cwd));
        let output = command.stdin(Stdio::null()).output().expect("a compiler");
        let read = splitter::depfile::parse(&output.stdout).map(|depfile| depfile.inputs).unwrap_or_default();
        read.iter().map(|path| absolute(path.as_bstr(), self.cwd.as_bstr())).collect()
    }
}
