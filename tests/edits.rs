//! Edits of real projects, drawn by chance from a seed: what comes of each is what ninja builds from nothing, and the
//! compiles that ran are those of which the compiler says that they read something else than before.
//!
//! `SPLITTER_TEST_SEED` is the seed, by default 1.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::checkout::{Checkout, Home, Project, said};
use tests::not_run;
use tests::units::units;

#[test]
fn after_any_edit_a_small_project_is_as_if_it_were_built_from_nothing() {
    edit("after_any_edit_a_small_project_is_as_if_it_were_built_from_nothing", "inih", 9);
}

#[test]
#[ignore = "hours"]
fn after_any_edit_the_corpus_is_as_if_it_were_built_from_nothing() {
    let test = "after_any_edit_the_corpus_is_as_if_it_were_built_from_nothing";
    let chosen = std::env::var("SPLITTER_TEST_CORPUS").ok();
    let chosen = |name: &&str| chosen.as_ref().is_none_or(|chosen| chosen.split(',').any(|one| one == *name));
    Project::names().filter(chosen).for_each(|name| edit(test, name, 30));
}

/// What each compile reads of the project, by its object: files and what they hold. Nothing for one that fails.
type Reads = BTreeMap<String, BTreeMap<PathBuf, Vec<u8>>>;

fn reads(checkout: &Checkout) -> Reads {
    let top = checkout.top.clone();
    let of = |path: &bstr::BString| {
        let path = Path::new(std::str::from_utf8(path).ok()?).to_owned();
        path.starts_with(&top)
            .then(|| (fs::read(&path).unwrap_or_default(), path))
            .map(|(content, path)| (path, content))
    };
    let units = units(&checkout.build()).into_iter();
    units.map(|unit| (unit.object.clone(), unit.read_by_compiler().iter().filter_map(of).collect())).collect()
}

fn edit(test: &str, name: &str, count: usize) {
    let project = match Project::find(name) {
        Ok(project) => project,
        Err(reason) => return not_run(test, &format!("{name}: {reason}")),
    };
    let seed = std::env::var("SPLITTER_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut random = Random(seed);
    let directory = tempfile::tempdir().unwrap();
    // Builds that say the same in less time; and the same each time, with link-time optimisation too.
    let quickly: &[&str] = match project.meson {
        true => &["-Doptimization=0"],
        false => &["-DCMAKE_C_FLAGS_RELEASE=-O0 -frandom-seed=1", "-DCMAKE_CXX_FLAGS_RELEASE=-O0 -frandom-seed=1"],
    };
    let checkout = Checkout::new(&project, &directory.path().join("checkout"), "Release", quickly);
    let home = Home::new();
    home.build(&checkout, "auto");
    let mut built = reads(&checkout);
    let mut seen: BTreeSet<_> = built.clone().into_iter().collect();
    let source = checkout.source("");
    for i in 0..count {
        let read: BTreeSet<&PathBuf> = built.values().flat_map(BTreeMap::keys).collect();
        let is_one = |path: &&PathBuf| path.starts_with(&source) && path.exists();
        let sources: Vec<PathBuf> = read.into_iter().filter(is_one).cloned().collect();
        let edit = Edit::draw(&mut random, &sources, i);
        println!("{name}, seed {seed}, edit {i}: {edit:?}");
        let before = edit.apply(i);
        let now = reads(&checkout);

        let output = home.command(&checkout.build(), &["-dexplain", "-k0"]).output().unwrap();
        let text = said(&output);
        let run = checkout.graph().read(&text);
        checkout.put_aside("by-us");
        checkout.reset();
        let ninja = Command::new("ninja").args(["-j2", "-k0"]).current_dir(checkout.build()).output().unwrap();
        assert_eq!(output.status.success(), ninja.status.success(), "{edit:?}\n{text}\n{}", said(&ninja));
        let theirs = checkout.tree();
        fs::remove_dir_all(checkout.build()).unwrap();
        checkout.put_back("by-us");

        let of_compile = |outputs: &BTreeSet<String>| outputs.iter().find(|output| now.contains_key(*output)).cloned();
        let ran: BTreeSet<String> = run.ran.iter().filter_map(|ran| of_compile(&ran.outputs)).collect();
        if output.status.success() {
            let differences = checkout.tree().differences(&theirs);
            assert!(differences.is_empty(), "{edit:?}: not as ninja makes it: {differences:?}\n{text}");
            let is_new = |(object, reads): &(&String, &BTreeMap<PathBuf, Vec<u8>>)| {
                !seen.contains(&((*object).clone(), (*reads).clone()))
            };
            let expected: BTreeSet<String> = now.iter().filter(is_new).map(|(object, _)| object.clone()).collect();
            assert_eq!(ran, expected, "{edit:?}\n{text}");
        }
        let done = ran.into_iter().chain(run.reused.iter().cloned());
        for object in done.filter(|object| now.contains_key(object)) {
            seen.insert((object.clone(), now[&object].clone()));
            built.insert(object.clone(), now[&object].clone());
        }
        // What takes a file away, or puts one before another, is undone: the next build finds all as it was.
        before.into_iter().for_each(|(path, content)| match content {
            Some(content) => fs::write(path, content).unwrap(),
            None => fs::remove_file(path).unwrap(),
        });
    }
}

/// What is done to one file.
#[derive(Debug)]
enum Edit {
    Comment(PathBuf),
    /// In a source, something that its object holds; in a header, something that nobody uses.
    Body(PathBuf),
    /// A copy of a header, with a comment, where it is found before.
    Shadow(PathBuf, PathBuf),
    Delete(PathBuf),
    /// With the names in all `#include`s of the given files.
    Rename(PathBuf, Vec<PathBuf>),
}

/// Files to be put back to what they were; none where there was nothing.
type Before = Vec<(PathBuf, Option<Vec<u8>>)>;

impl Edit {
    fn draw(random: &mut Random, sources: &[PathBuf], i: usize) -> Self {
        let is_header = |path: &&PathBuf| path.extension().is_some_and(|end| end.to_string_lossy().starts_with('h'));
        let headers: Vec<PathBuf> = sources.iter().filter(is_header).cloned().collect();
        let any = random.of(sources);
        // Each kind comes up, in whatever order.
        match (i + random.below(2)) % 6 {
            0 | 1 => Self::Comment(any),
            2 => Self::Body(any),
            _ if headers.is_empty() => Self::Body(any),
            3 => {
                let header = random.of(&headers);
                let to = any.with_file_name(header.file_name().expect("it has a name"));
                if to.exists() { Self::Comment(header) } else { Self::Shadow(header, to) }
            }
            4 => Self::Delete(random.of(&headers)),
            _ => Self::Rename(random.of(&headers), sources.to_vec()),
        }
    }

    /// Does it; answers what is to be undone.
    fn apply(&self, i: usize) -> Before {
        let append = |path: &Path, text: String| {
            let before = fs::read(path).unwrap();
            fs::write(path, [&before, text.as_bytes()].concat()).unwrap();
        };
        let taken = |path: &Path| (path.to_owned(), fs::read(path).ok());
        match self {
            Self::Comment(path) => append(path, format!("\n/* edit {i} */\n")),
            Self::Body(path) => {
                let is_source = path.extension().is_some_and(|end| end.to_string_lossy().starts_with('c'));
                let text = format!("\nextern int edit_{i};\n");
                append(path, if is_source { format!("{text}int edit_{i} = {i};\n") } else { text });
            }
            Self::Shadow(header, to) => {
                let before = vec![taken(to)];
                fs::copy(header, to).unwrap();
                append(to, format!("\n/* edit {i} */\n"));
                return before;
            }
            Self::Delete(path) => {
                let before = vec![taken(path)];
                fs::remove_file(path).unwrap();
                return before;
            }
            Self::Rename(path, sources) => {
                let old = path.file_name().expect("it has a name").to_string_lossy().into_owned();
                let new = format!("edit_{i}_{old}");
                let to = path.with_file_name(&new);
                let mut before = vec![taken(path), taken(&to)];
                fs::rename(path, &to).unwrap();
                for source in sources.iter().map(|source| if source == path { &to } else { source }) {
                    let Ok(text) = fs::read_to_string(source) else { continue };
                    let line = |line: &str| {
                        if line.trim_start().starts_with('#') { line.replace(&old, &new) } else { line.to_owned() }
                    };
                    let changed: String = text.split_inclusive('\n').map(line).collect();
                    if changed != text {
                        if *source != to {
                            before.push((source.clone(), Some(text.into_bytes())));
                        }
                        fs::write(source, changed).unwrap();
                    }
                }
                return before;
            }
        }
        Vec::new()
    }
}

/// Marsaglia's xorshift, 64 bits: the same edits on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    fn of(&mut self, paths: &[PathBuf]) -> PathBuf {
        paths[self.below(paths.len())].clone()
    }
}
