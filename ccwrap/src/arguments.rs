//! Reads the words of a compiler's command line: what it makes, or why nothing is to be remembered of it. Pure.
//!
//! What an option does to an object need not be known: every word is a part of what a call is known by, and the sandbox shows
//! what it needs. Only what is printed, or written where no word says, has to be understood. The options are those of the GCC
//! 12 manual; clang takes the same.

pub mod rust;

use crate::why::Why;
use bstr::{BStr, BString, ByteSlice as _};
use splitter::compiler;
use splitter::response;
use splitter::rustc;

/// What a call makes that is to be remembered.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Compile {
    /// As they are spelt.
    pub sources: Vec<BString>,
    /// As they are spelt, or as the compiler names them: one for each source.
    pub outputs: Vec<BString>,
    /// None of these is made, nor is there any such file: what the compiler has to say is all that is wanted.
    pub checks_only: bool,
    /// What its words name besides, such as diagnostics in a file.
    pub others: Vec<BString>,
    /// Where it says what it has read, if it does.
    pub depfile: Option<BString>,
    /// Whether a word says how diagnostics are coloured.
    pub says_colours: bool,
    /// What a call of rustc has besides.
    pub rust: Option<rust::Crate>,
}

/// Whether a call that links is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// It goes to the compiler.
    Pass,
    /// As a compile is, if all that it links has been compiled before.
    Remember,
}

/// Reads a command line, whose first word is the compiler. `read` reads response files.
///
/// # Errors
/// Why nothing is to be remembered of it.
pub fn read(words: &[BString], read: &dyn Fn(&BStr) -> Option<BString>, links: Links) -> Result<Compile, Why> {
    let mut expanded = Vec::with_capacity(words.len());
    let mut files = MOST_RESPONSE_FILES;
    for word in &words[1..] {
        expand(word, read, &mut files, &mut expanded)?;
    }
    let mut reader = Reader::default();
    let mut words = expanded.iter();
    while let Some(word) = words.next() {
        reader.word(word.as_bstr(), &mut || words.next())?;
    }
    match links {
        Links::Remember if reader.is_link() => reader.finish_link(),
        _ => reader.finish(),
    }
}

/// More of them go to the compiler, which says what is wrong.
const MOST_RESPONSE_FILES: usize = 64;

fn expand(
    word: &BString,
    read: &dyn Fn(&BStr) -> Option<BString>,
    files: &mut usize,
    expanded: &mut Vec<BString>,
) -> Result<(), Why> {
    let content = word.strip_prefix(b"@").and_then(|file| read(file.as_bstr()));
    let Some(content) = content else {
        expanded.push(word.clone());
        return Ok(());
    };
    *files = files.checked_sub(1).ok_or(Why::Bad)?;
    response::words(content.as_bstr()).iter().try_for_each(|word| expand(word, read, files, expanded))
}

/// What kind of file is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Object,
    Assembler,
    Check,
    /// By Clang: what it finds is in a file too.
    Analysis,
}

impl Stage {
    /// How the name ends of what is made.
    fn end(self, is_bitcode: bool) -> &'static str {
        match (self, is_bitcode) {
            (Self::Object, false) => "o",
            (Self::Object, true) => "bc",
            (Self::Assembler, false) => "s",
            (Self::Assembler, true) => "ll",
            (Self::Analysis, _) => "plist",
            (Self::Check, _) => NEVER_MADE,
        }
    }
}

#[derive(Debug, Default)]
struct Reader {
    stage: Option<Stage>,
    sources: Vec<BString>,
    /// Objects, libraries, and what is of a language that is not known.
    others: Vec<BString>,
    output: Option<BString>,
    made: Vec<BString>,
    language: Option<BString>,
    /// By their names.
    has_headers: bool,
    lists: bool,
    depfile: Option<BString>,
    architectures: usize,
    /// Clang writes what it has in the place of machine code.
    is_bitcode: bool,
    says_colours: bool,
    /// A link asks make for tokens, of which a sandbox has none; or it looks for its programs in a directory that is named.
    is_unknown_link: bool,
}

/// Options for which a compiler says something and makes nothing, or makes more than can be known.
const UNSUPPORTED: [&str; 17] = [
    "-###",
    "-M",
    "-MM",
    "-MG",
    "-v",
    "--version",
    "-dumpversion",
    "-dumpmachine",
    "-dumpspecs",
    "-Q",
    "-time",
    "-ftime-report",
    "-fmem-report",
    "-wrapper",
    "-repo",
    "-emit-pch",
    "-emit-module",
];

/// The same, by how they begin.
const UNSUPPORTED_STARTS: [&str; 19] = [
    "--analyzer-output",
    "-print-",
    "--print-",
    "--help",
    "--target-help",
    "-fplugin",
    "-frepo",
    "-dumpfullversion",
    "-time=",
    "-fdump-",
    "-da",
    "-fmodules",
    "-fmodule-",
    "-fprebuilt-module-path",
    "-fdeps-",
    "-MJ",
    "-fproc-stat-report",
    "-save-stats",
    "-gen-cdb-fragment-path",
];

/// Options that are passed on and by which assembler or linker print where a compiler prints nothing: on standard output.
const PRINTING: [&str; 13] = [
    "-Wa,--help",
    "-Wa,--target-help",
    "-Wa,--version",
    "-Wl,--cref",
    "-Wl,--help",
    "-Wl,--print-",
    "-Wl,--trace",
    "-Wl,--verbose",
    "-Wl,--version",
    "-Wl,-M",
    "-Wl,-V",
    "-Wl,-t",
    "-Wl,-v",
];

/// Whether a word makes something be printed on standard output, or on whatever a path below `/dev` is.
fn prints(word: &BStr) -> bool {
    let is_kept = word.starts_with(b"-Wl,--version-script") || word.starts_with(b"-Wl,-Map=") && !word.ends_with(b"=-");
    word.ends_with(b"=stdout")
        || word.contains_str("=/dev/")
        || word == "-Wl,-Map=-"
        || PRINTING.iter().any(|start| word.starts_with(start.as_bytes())) && !is_kept
}

/// How the names of sources end.
const SOURCES: [&str; 17] =
    ["c", "i", "cc", "cp", "cxx", "cpp", "CPP", "c++", "C", "ii", "m", "mm", "M", "mi", "S", "sx", "s"];

/// How the names of headers end, which are precompiled.
const HEADERS: [&str; 9] = ["h", "hh", "H", "hp", "hxx", "hpp", "HPP", "h++", "tcc"];

const LANGUAGES: [&str; 11] = [
    "c",
    "c++",
    "objective-c",
    "objective-c++",
    "assembler",
    "assembler-with-cpp",
    "cpp-output",
    "c++-cpp-output",
    "c-header",
    "c++-header",
    "none",
];

impl Reader {
    fn word<'a>(&mut self, word: &BStr, next: &mut dyn FnMut() -> Option<&'a BString>) -> Result<(), Why> {
        let mut value = || next().cloned().ok_or(Why::Bad);
        match word.as_bytes() {
            b"-c" => self.stage = self.stage.or(Some(Stage::Object)),
            b"-S" if matches!(self.stage, Some(Stage::Check | Stage::Analysis)) => {}
            b"-S" => self.stage = Some(Stage::Assembler),
            b"-fsyntax-only" => self.stage = Some(Stage::Check),
            b"--analyze" => self.stage = Some(Stage::Analysis),
            b"-emit-llvm" => self.is_bitcode = true,
            b"-E" => return Err(Why::Preprocess),
            b"-" => return Err(Why::StandardInput),
            b"-o" => self.output = Some(value()?),
            b"-x" => self.language = Some(value()?),
            b"--serialize-diagnostics" | b"-aux-info" => self.made.push(value()?),
            b"-MD" | b"-MMD" => self.lists = true,
            b"-MF" => self.depfile = Some(value()?),
            b"-fdump-ipa-clones" => {}
            b"-Xpreprocessor" => return Err(Why::Option),
            b"-MT" | b"-MQ" => drop(value()?),
            b"-MP" => {}
            b"-arch" => {
                value()?;
                self.architectures += 1;
            }
            b"-Xclang" | b"-Xanalyzer" => {
                let value = value()?;
                let is_plain = |word: &BString| {
                    let starts = [
                        &b"-load"[..],
                        b"-add-plugin",
                        b"-plugin",
                        b"-emit",
                        b"-ast",
                        b"-dump",
                        b"-E",
                        b"-M",
                        b"-analyzer-output",
                    ];
                    !starts.iter().any(|start| word.starts_with(start))
                };
                if !is_plain(&value) {
                    return Err(Why::Option);
                }
            }
            b"-B" => {
                value()?;
                self.is_unknown_link = true;
            }
            _ if compiler::takes_value(word) => drop(value()?),
            _ if prints(word) => return Err(Why::Option),
            _ if UNSUPPORTED.iter().any(|option| word == *option) => return Err(Why::Option),
            _ if UNSUPPORTED_STARTS.iter().any(|start| word.starts_with(start.as_bytes())) => {
                return Err(Why::Option);
            }
            _ if word.starts_with(b"@") => return Err(Why::Bad), // the compiler will say that it is not there
            _ if !word.starts_with(b"-") => self.operand(word),
            _ => self.option(word)?,
        }
        Ok(())
    }

    /// An option with its value in it, or one of which only the start tells.
    fn option(&mut self, word: &BStr) -> Result<(), Why> {
        let rest = |option: &str| word.strip_prefix(option.as_bytes()).map(BString::from);
        if let Some(list) = rest("-Wp,") {
            return self.preprocessor(&list);
        }
        if word.starts_with(b"-Wa,-a") {
            // A listing, on standard output unless a file is named.
            let file = word.split_once_str("=").and_then(|(_, rest)| rest.split_str(",").next());
            self.made.push(file.ok_or(Why::Option)?.into());
        }
        // GCC appends to it.
        if word.starts_with(b"-fopt-info") && word.contains(&b'=') {
            return Err(Why::Option);
        }
        if word == "-flto=jobserver" || word.starts_with(b"-B") {
            self.is_unknown_link = true;
        } else if let Some(output) = rest("-o") {
            self.output = Some(output);
        } else if let Some(depfile) = rest("-MF") {
            self.depfile = Some(depfile.strip_prefix(b"=").map_or(depfile.clone(), BString::from));
        } else if let Some(language) = rest("-x") {
            self.language = Some(language);
        } else if ["-fdiagnostics-color", "-fno-diagnostics-color", "-fcolor-diagnostics", "-fno-color-diagnostics"]
            .iter()
            .any(|option| word.starts_with(option.as_bytes()))
        {
            self.says_colours = word != "-fdiagnostics-color=auto";
        } else if [&b"--write-"[..], b"--user-", b"--dependencies", b"--output", b"--compile", b"--assemble"]
            .iter()
            .any(|option| word.starts_with(option))
        {
            return Err(Why::Option); // long names of what is understood by the short ones
        }
        Ok(())
    }

    /// Options for the preprocessor, as the kernel of Linux passes them: `-Wp,-MMD,FILE`.
    fn preprocessor(&mut self, list: &BString) -> Result<(), Why> {
        let mut words = list.split_str(",").map(|word| word.as_bstr());
        while let Some(word) = words.next() {
            match word.as_bytes() {
                b"-MD" | b"-MMD" => {
                    self.lists = true;
                    if let Some(file) = words.next() {
                        self.depfile = Some(file.into());
                    }
                }
                b"-MF" => self.depfile = Some(words.next().ok_or(Why::Bad)?.into()),
                b"-MT" | b"-MQ" => drop(words.next().ok_or(Why::Bad)?),
                b"-MP" => {}
                _ if word.starts_with(b"-M") => return Err(Why::Option),
                _ => {}
            }
        }
        Ok(())
    }

    fn operand(&mut self, word: &BStr) {
        let end = name(word).rsplit_once_str(".").map(|(_, end)| end);
        let ends = |known: &[&str]| end.is_some_and(|end| known.iter().any(|known| end == known.as_bytes()));
        let is_named = self.language.as_ref().is_some_and(|language| language != "none");
        let is_header = !is_named && ends(&HEADERS);
        self.has_headers |= is_header;
        let is_source = is_named || is_header || ends(&SOURCES);
        if is_source { self.sources.push(word.into()) } else { self.others.push(word.into()) }
    }

    /// Whether objects and libraries become something, and nothing else is asked for.
    fn is_link(&self) -> bool {
        self.sources.is_empty()
            && !self.others.is_empty()
            && self.stage.is_none()
            && !self.lists
            && self.language.is_none()
    }

    fn finish_link(self) -> Result<Compile, Why> {
        let output = self.output.unwrap_or_else(|| "a.out".into());
        if output == "-" || output.is_empty() || output.starts_with(b"/dev/") {
            return Err(Why::Output);
        }
        if self.others.iter().any(|object| is_of_probe(object.as_bstr())) {
            return Err(Why::Probe);
        }
        if self.is_unknown_link {
            return Err(Why::Option);
        }
        let says_colours = self.says_colours;
        let (sources, outputs) = (self.others, vec![output]);
        Ok(Compile { sources, outputs, others: self.made, says_colours, ..Compile::default() })
    }

    fn finish(self) -> Result<Compile, Why> {
        if self.sources.is_empty() {
            return Err(if self.others.is_empty() { Why::NoInput } else { Why::Link });
        }
        let Some(stage) = self.stage else { return Err(Why::Link) };
        if !self.others.is_empty() {
            // Objects beside sources are of no use to a compile; a language that is not known is.
            return Err(Why::Language);
        }
        if self.language.is_some_and(|language| !LANGUAGES.iter().any(|known| language == *known)) {
            return Err(Why::Language);
        }
        if self.architectures > 1 {
            return Err(Why::Option);
        }
        if self.sources.iter().any(|source| is_of_probe(source.as_bstr())) {
            return Err(Why::Probe);
        }
        if self.has_headers && stage == Stage::Object && self.output.is_none() {
            return Err(Why::Precompiled); // GCC writes it beside the header, Clang does not
        }
        let end = stage.end(self.is_bitcode);
        let named = self.output.as_ref().filter(|_| stage != Stage::Check);
        let outputs: Vec<BString> = match (named, self.sources.as_slice()) {
            (Some(output), [_]) => vec![output.clone()],
            (Some(_), _) => return Err(Why::Bad),
            (None, sources) => sources.iter().map(|source| with_end(name(source.as_bstr()), end)).collect(),
        };
        if outputs.iter().any(|output| output == "-" || output.is_empty() || output.starts_with(b"/dev/")) {
            return Err(Why::Output);
        }
        let depfile = match (self.lists, self.depfile, outputs.as_slice()) {
            (false, None, _) => None,
            (false, Some(_), _) => return Err(Why::Bad),
            (true, Some(depfile), [_]) if depfile != "-" && !depfile.starts_with(b"/dev/") => Some(depfile),
            (true, Some(_), _) => return Err(Why::Output),
            (true, None, [_]) if stage == Stage::Check => return Err(Why::Option),
            // GCC 12 manual, `-MD`: as the output if that is named, else as the source.
            (true, None, [_]) => Some(match &self.output {
                Some(output) => with_end(output.as_bstr(), "d"),
                None => with_end(name(self.sources[0].as_bstr()), "d"),
            }),
            (true, None, _) => return Err(Why::Option),
        };
        let says_colours = self.says_colours;
        let checks_only = stage == Stage::Check;
        Ok(Compile {
            sources: self.sources,
            outputs,
            checks_only,
            others: self.made,
            depfile,
            says_colours,
            rust: None,
        })
    }
}

/// How the name ends of what stands for the output of a check, which has none: an object of an earlier compile stays as it is.
const NEVER_MADE: &str = "checked";

/// Whether a program is one of which we know how it is called.
pub fn is_compiler(program: &BStr) -> bool {
    compiler::is_driver(program) || rustc::is_rustc(program)
}

/// Whether a file is that of a probe of a configure script.
pub fn is_of_probe(path: &BStr) -> bool {
    name(path).starts_with(b"conftest.")
}

fn name(path: &BStr) -> &BStr {
    path.rsplit_once_str("/").map_or(path, |(_, name)| name.as_bstr())
}

/// A path with another end in the place of the one that its name has.
fn with_end(path: &BStr, end: &str) -> BString {
    let start = path.len() - name(path).len();
    let dot = path[start..].rfind_byte(b'.').filter(|dot| *dot > 0).map_or(path.len(), |dot| start + dot);
    [path[..dot].as_bytes(), b".", end.as_bytes()].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<BString> {
        text.split(' ').map(BString::from).collect()
    }

    fn reading(text: &str) -> Result<Compile, Why> {
        reading_with(text, Links::Pass)
    }

    fn reading_with(text: &str, links: Links) -> Result<Compile, Why> {
        let read_file = |file: &BStr| match file.as_bytes() {
            b"list" => Some("-c -DX=\"a b\" @more".into()),
            b"more" => Some("a.c -o b.o".into()),
            b"itself" => Some("@itself @itself".into()),
            _ => None,
        };
        read(&words(text), &read_file, links)
    }

    fn outputs(text: &str) -> String {
        let compile = reading(text).unwrap_or_else(|why| panic!("`{text}`: {why:?}"));
        let depfile = compile.depfile.map(|depfile| format!(" {depfile}")).unwrap_or_default();
        bstr::join(" ", &compile.outputs).to_str_lossy().into_owned() + &depfile
    }

    #[test]
    fn an_object_is_named_or_has_the_name_of_its_source() {
        for (text, made) in [
            ("cc -c a.c", "a.o"),
            ("cc -c ../x/a.b.c", "a.b.o"),
            ("cc -c a.c -o x/y.o", "x/y.o"),
            ("cc -c -ox/y.o a.c", "x/y.o"),
            ("cc -S a.c", "a.s"),
            ("cc -c -S a.c -o b", "b"),
            ("clang -c -emit-llvm a.c", "a.bc"),
            ("clang -S -emit-llvm a.c", "a.ll"),
            ("clang -c -emit-llvm a.c -o b", "b"),
            ("cc -c a.c b.cc", "a.o b.o"),
            ("cc -c -x c a", "a.o"),
            ("cc -c a.S", "a.o"),
            ("cc -c -include x.h -D A -I d a.c -Xlinker z.c", "a.o"),
            ("cc @list", "b.o"),
            ("cc -c -x c++-header x.h -o x.h.gch", "x.h.gch"),
            ("c++ -c x.hpp -o x.hpp.gch", "x.hpp.gch"),
            ("cc -c a.sx", "a.o"),
            ("cc -c -Wa,-adhln=a.lst,--noexecstack a.c", "a.o"),
            ("cc -c -fdump-ipa-clones a.c", "a.o"),
        ] {
            assert_eq!(outputs(text), made, "{text}");
        }
    }

    #[test]
    fn a_depfile_is_named_or_has_the_name_of_the_object() {
        for (text, made) in [
            ("cc -c -MD a.c -o x/b.o", "x/b.o x/b.d"),
            ("cc -c -MMD ../a.c", "a.o a.d"),
            ("cc -c -MD -MF d -MT t -MQ q -MP a.c", "a.o d"),
            ("cc -c -MD -MFd a.c", "a.o d"),
            ("cc -c -Wp,-MMD,d a.c", "a.o d"),
            ("cc -c -Wp,-MD,d,-MT,t a.c", "a.o d"),
            ("cc -c -MD -o .x a.c", ".x .x.d"),
        ] {
            assert_eq!(outputs(text), made, "{text}");
        }
    }

    #[test]
    fn what_makes_no_object_goes_to_the_compiler() {
        for (text, why) in [
            ("cc a.o -o a", Why::Link),
            ("cc a.c -o a", Why::Link),
            ("cc -E a.c", Why::Preprocess),
            ("cc -M a.c", Why::Option),
            ("cc -MM -c a.c", Why::Option),
            ("cc --version", Why::Option),
            ("cc -c", Why::NoInput),
            ("cc -x c -c -", Why::StandardInput),
            ("cc -c a.c -o -", Why::Output),
            ("cc -c a.c -o /dev/null", Why::Output),
            ("cc -c -MD -MF /dev/stdout a.c", Why::Output),
            ("cc -c -arch a -arch b a.c", Why::Option),
            ("cc -c -fplugin=x.so a.c", Why::Option),
            ("cc -c -Xclang -load -Xclang x.so a.c", Why::Option),
            ("cc -c -fopt-info-all=report a.c", Why::Option),
            ("cc -c conftest.c", Why::Probe),
            ("cc -c x.h", Why::Precompiled),
            ("cc x.h", Why::Link),
            ("cc -c -Wa,-ahl a.c", Why::Option),
            ("cc -c -fdump-tree-all a.c", Why::Option),
            ("cc -c a.f90", Why::Link),
            ("cc -c -x cuda a.cu", Why::Language),
            ("cc -c a.c b.c -o x.o", Why::Bad),
            ("cc -c a.c -o", Why::Bad),
            ("cc -c -MF d a.c", Why::Bad),
            ("cc -c @itself", Why::Bad),
            ("cc -c @none", Why::Bad),
            ("cc -c a.c x.o", Why::Language),
        ] {
            assert_eq!(reading(text), Err(why), "{text}");
        }
    }

    #[test]
    fn a_link_is_remembered_where_that_is_wanted_and_all_was_compiled_before() {
        let link = |text: &str| reading_with(text, Links::Remember);
        let made = link("cc -shared a.o libb.a -lc -o x").unwrap();
        assert_eq!((made.sources, made.outputs), (vec!["a.o".into(), "libb.a".into()], vec!["x".into()]));
        assert_eq!(link("cc a.o").unwrap().outputs, ["a.out"]);
        assert_eq!(link("cc a.c -o x"), Err(Why::Link));
        assert_eq!(link("cc a.o b.c -o x"), Err(Why::Link));
        assert_eq!(link("cc conftest.o"), Err(Why::Probe));
        assert_eq!(link("cc -c a.c").unwrap().outputs, ["a.o"]);
    }

    #[test]
    fn colours_are_said_by_a_word_that_decides() {
        let says = |word: &str| reading(&format!("cc {word} -c a.c")).unwrap().says_colours;
        assert!(says("-fdiagnostics-color=always") && says("-fno-diagnostics-color") && says("-fcolor-diagnostics"));
        assert!(!says("-fdiagnostics-color=auto") && !says("-O2"));
    }
}
