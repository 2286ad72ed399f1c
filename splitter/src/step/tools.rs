//! The host's tools that a step needs, and which of the programs that it names are the host's.

use super::{Failed, Steps};
use crate::compiler::is_driver;
use crate::discover::{Found, is_system, parent, to_path, wide};
use crate::drive::Sandbox;
use crate::graph::absolute;
use crate::host_tools::SEARCH_PATH;
use crate::lower::Toolchain;
use crate::recipe::{Kind, Recipe};
use crate::toolchain::{interpreter, is_elf, resolve_program};
use bstr::{BStr, BString, ByteSlice as _};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::Arc;

/// Programs by whose they are.
#[derive(Default)]
struct Sorted {
    host: BTreeSet<PathBuf>,
    own: BTreeSet<PathBuf>,
}

impl Steps<'_> {
    /// The host's tools that a step needs.
    pub(super) fn tools(&self, recipe: &Recipe, found: &Found) -> Result<Arc<Toolchain>, Failed> {
        let path = |path: &BString| to_path(path.as_bstr()).to_owned();
        let mut files: BTreeSet<PathBuf> = found.system.iter().chain(&Found::also(recipe).system).map(path).collect();
        let mut programs = Sorted { host: found.programs.iter().map(path).collect(), ..Sorted::default() };
        for (argv, cwd) in recipe.runs() {
            if argv.iter().any(|word| word == "symbolextractor") {
                programs.host.extend(["nm", "readelf"].map(PathBuf::from)); // Meson's script looks for them itself
            }
            if let Some(other) = recipe.other_driver(&argv, cwd.as_bstr()) {
                programs.host.extend(resolve_program(to_path(other.as_bstr()).as_os_str(), SEARCH_PATH.as_ref()));
            }
            if !argv[0].contains(&b'/') {
                programs.host.insert(path(&argv[0]));
                continue;
            }
            let program = absolute(argv[0].as_bstr(), cwd.as_bstr());
            if recipe.kind == Kind::Crate && !self.drive.roots.contain(program.as_bstr()) {
                programs.host.insert(path(&program)); // of a toolchain that lies in somebody's home directory
                continue;
            }
            self.sort(&program, &mut programs);
            if programs.own.contains(to_path(program.as_bstr())) {
                programs.host.extend(wide::of_script(to_path(program.as_bstr()), SEARCH_PATH));
            } else {
                programs.host.insert(path(&program)); // also one that is not there, so that somebody says so
            }
        }
        let mut shell = false;
        if recipe.optimises_in_parallel() {
            // GCC writes a makefile; where there is no `make` it does one part after the other.
            programs.host.extend(resolve_program("make".as_ref(), SEARCH_PATH.as_ref()));
            shell = true;
        }
        if recipe.kind == Kind::Other {
            let named = wide::programs(recipe, SEARCH_PATH);
            programs.host.extend(named.host);
            named.own.iter().for_each(|path| self.sort(&path.as_os_str().as_bytes().into(), &mut programs));
            shell = true;
            if programs.host.iter().any(|program| is_driver(program.as_os_str().as_bytes().as_bstr())) {
                files.extend(wide::headers());
            }
        }
        if let Some(call) = recipe.rustc() {
            let linkers = call.codegen("linker").into_iter();
            programs.host.extend(
                linkers.filter_map(|linker| resolve_program(to_path(linker).as_os_str(), SEARCH_PATH.as_ref())),
            );
            // Macros, which the compiler loads.
            programs.own.extend(found.files.iter().filter(|path| path.ends_with(b".so")).map(path));
        }
        let Sorted { host, mut own } = programs;
        if !own.is_empty() {
            let library = |path: &&BString| path.rsplit_str("/").next().is_some_and(|name| name.contains_str(".so"));
            own.extend(found.files.iter().filter(library).map(|path| to_path(path.as_bstr()).to_owned()));
        }
        let tools = self.drive.tools.snapshot(&host, &own, &files, shell)?;
        // What lies in a directory of the snapshot cannot be seen there unless it is part of it.
        let among: Vec<PathBuf> = found.files.iter().filter(|path| tools.holds(path.as_bstr())).map(path).collect();
        if among.is_empty() || self.drive.sandbox == Sandbox::None {
            return Ok(tools);
        }
        files.extend(among);
        Ok(self.drive.tools.snapshot(&host, &own, &files, shell)?)
    }

    /// Whether a program belongs to the host: by its place, or as it is none of the project's, such as a Python in
    /// somebody's home directory. What follows from a script is the project's to see, wherever it lies.
    pub(super) fn is_of_host(&self, program: &BStr) -> bool {
        is_system(program)
            || is_elf(to_path(program))
                && resolve_program(to_path(program).as_os_str(), SEARCH_PATH.as_ref()).is_some()
                && !self.is_of_project(program)
    }

    fn is_of_project(&self, path: &BStr) -> bool {
        let path = BString::from(path);
        self.drive.roots.contain(path.as_bstr())
            || wide::is_below(&path, &self.drive.graph.working_directory().into())
            || self.maker(&path).is_some()
            || self.project().holds(&path)
    }

    /// Puts a program where it belongs; of one of the project, also what it leads to as a link, and what interprets it.
    fn sort(&self, program: &BString, programs: &mut Sorted) {
        let mut waiting = vec![program.clone()];
        while let Some(program) = waiting.pop() {
            let path = to_path(program.as_bstr());
            if self.is_of_host(program.as_bstr()) {
                programs.host.extend(resolve_program(path.as_os_str(), SEARCH_PATH.as_ref()));
            } else if programs.own.insert(path.to_owned()) {
                let target = fs::read_link(path).ok();
                waiting.extend(
                    target.map(|target| absolute(target.as_os_str().as_bytes().as_bstr(), parent(program.as_bstr()))),
                );
                match interpreter(path) {
                    Some(word) if word.contains(&b'/') => waiting.extend(Some(word).filter(|word| word[0] == b'/')),
                    Some(word) => {
                        programs.host.extend(resolve_program(to_path(word.as_bstr()).as_os_str(), SEARCH_PATH.as_ref()))
                    }
                    None => {}
                }
            }
        }
    }
}
