//! What must hold of the readers of foreign files, whatever these say. Shared by the fuzz targets and by the test that
//! goes through the kept corpus.

use bstr::{BStr, BString, ByteSlice as _};
use ninja2drv::logs::{BuildLog, DepsLog};
use ninja2drv::manifest::{self, ParseError, dyndep};
use splitter::graph::absolute;
use splitter::scan::lex::{Directive, Lexed, lex};
use splitter::scan::macros::Builtin;
use splitter::scan::options::Options;
use splitter::scan::{Files, Search, Symbols, There, Unit};
use splitter::{depfile, showincludes};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// Reads a manifest, and works out every command. NUL bytes part the main file from the files `1`, `2` up to `9`.
pub fn manifest(bytes: &[u8]) {
    let files: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
    let file = |name: &BStr| if name == "build.ninja" { files.first() } else { files.get(digit(name)?) }.copied();
    let mut load = |name: &BStr| file(name).map(<[u8]>::to_vec).ok_or_else(|| io::Error::from_raw_os_error(2));
    match manifest::parse("/work/build".into(), "build.ninja".into(), &mut load) {
        Ok(manifest) => {
            for (id, edge) in manifest.graph.edges() {
                if !edge.phony {
                    manifest.graph.command(id);
                }
            }
            manifest.rules();
            manifest.warnings.iter().for_each(|warning| drop(warning.to_string()));
        }
        Err(error) => lies_within(&error, file(error.file.as_bstr()).expect("a file that was read")),
    }
}

/// Reads a dyndep file.
pub fn dyndep(bytes: &[u8]) {
    match dyndep::parse("dd".into(), bytes) {
        Ok(statements) => assert!(statements.iter().all(|statement| !statement.output.is_empty())),
        Err(error) => lies_within(&error, bytes),
    }
}

/// Reads a depfile, writes its paths again, and maps those below a directory.
pub fn depfile(bytes: &[u8]) {
    assert_eq!(depfile::map_paths(bytes, b"/b", b"/b").as_bstr(), bytes.as_bstr());
    let mapped = depfile::map_paths(bytes, b"/b", b"/d #e");
    let read = match depfile::parse(bytes) {
        Ok(depfile) => depfile,
        Err(error) => {
            let line = bytes.split(|byte| *byte == b'\n').nth(error.line - 1).expect("a line of the file");
            return assert!((1..=line.len() + 1).contains(&error.column), "{error}");
        }
    };
    for path in read.targets.iter().chain(&read.inputs).filter(|path| can_be_written(path)) {
        let mut text = b"t: ".to_vec();
        depfile::push_escaped(path, &mut text);
        assert_eq!(depfile::parse(&text).map(|depfile| depfile.inputs), Ok(vec![path.clone()]));
    }
    if !bytes.contains_str("/d") {
        let map = |paths: &[BString]| -> Vec<BString> {
            let mapped = |path: &BString| match path.strip_prefix(b"/b") {
                Some(below @ ([] | [b'/', ..])) => [b"/d #e", below].concat().into(),
                _ => path.clone(),
            };
            paths.iter().map(mapped).collect()
        };
        let expected = depfile::Depfile { targets: map(&read.targets), inputs: map(&read.inputs) };
        assert_eq!(depfile::parse(&mapped), Ok(expected));
    }
}

/// Reads a build log. What was read and is written again reads the same.
pub fn build_log(bytes: &[u8]) {
    let log = BuildLog::read(bytes).log;
    let again = BuildLog::read(&log.write());
    assert_eq!((again.problem, again.wasteful), (None, false));
    assert!(again.log.iter().eq(log.iter()));
}

/// Reads a deps log. What was read and is written again reads the same.
pub fn deps_log(bytes: &[u8]) {
    fn told(log: &DepsLog) -> BTreeMap<&BStr, (i64, Vec<&BStr>)> {
        let all = log.iter().map(|(output, deps)| (output, (deps.mtime_ns(), deps.paths().collect::<Vec<_>>())));
        // A NUL byte at the end of a path would be taken for padding: such deps are not written.
        all.filter(|(output, (_, paths))| !paths.iter().chain([output]).any(|path| path.ends_with(b"\0"))).collect()
    }
    let log = DepsLog::read(bytes).log;
    let again = DepsLog::read(&log.write());
    assert_eq!((again.problem, again.wasteful), (None, false));
    assert_eq!(told(&again.log), told(&log));
}

/// Takes the names of headers out of what a compiler prints. A NUL byte parts the prefix from the text.
pub fn showincludes(bytes: &[u8]) {
    let (prefix, log) = bytes.split_once_str(b"\0").unwrap_or((b"", bytes));
    let rest = showincludes::without_includes(log, prefix);
    let prefix = if prefix.is_empty() { b"Note: including file: " } else { prefix };
    assert!(rest.len() <= log.len() + 1 && !rest.lines().any(|line| line.starts_with(prefix)));
}

/// Scans a unit. NUL bytes part it from the files `1`, `2` up to `9` beside it, which are those of the system too.
pub fn scan(bytes: &[u8]) {
    let symbols = Symbols::default();
    let files = Parts(bytes.split(|byte| *byte == 0).map(|text| Arc::new(lex(text, &symbols))).collect());
    for lexed in &files.0 {
        for (i, directive) in lexed.directives.iter().enumerate() {
            if let Directive::If { next, .. } | Directive::Else { next } = directive {
                assert!((i + 1..=lexed.directives.len()).contains(next), "{i}: {next}");
            }
        }
    }
    let words = ["cc", "-DB=A", "-D", "F(x)=x x", "-I/system", "x.c"];
    let options = Options::read(&words.map(BString::from)).expect("all is followed");
    let (builtin, cwd) = (Builtin::new(), "/work".into());
    let search = Search::new(&options, &["/compiler".into()], &|path| absolute(path, cwd));
    let unit = Unit { files: &files, symbols: &symbols, options: &options, search: &search, builtin: &builtin, cwd };
    assert!(splitter::scan::scan(&unit).files.contains(&BString::from("/work/x.c")));
}

/// The unit `x.c` and its headers.
struct Parts(Vec<Arc<Lexed>>);

impl Files for Parts {
    fn read(&self, path: &BStr) -> There {
        let (directory, name) = path.rsplit_once_str("/").unwrap_or((b"", path));
        let part = match directory {
            b"/work" if name == b"x.c" => self.0.first(),
            b"/work" | b"/system" => digit(name.as_bstr()).and_then(|i| self.0.get(i)),
            _ => None,
        };
        part.map_or(There::Nothing, |lexed| There::File(lexed.clone()))
    }
}

/// The number of the part that a name stands for.
fn digit(name: &BStr) -> Option<usize> {
    match name.as_bytes() {
        [digit @ b'1'..=b'9'] => Some(usize::from(digit - b'0')),
        _ => None,
    }
}

/// An error has its place in the text, and can be shown.
fn lies_within(error: &ParseError, text: &[u8]) {
    let line = text.split(|byte| *byte == b'\n').nth(error.line as usize - 1).expect("a line of the file");
    assert!((1..=line.len() + 1).contains(&(error.column as usize)), "{error}");
    assert!(line.starts_with(&error.source_line), "{error}");
}

/// What [`depfile::push_escaped`] says that it can write.
fn can_be_written(path: &BString) -> bool {
    !path.iter().any(|byte| byte.is_ascii_control() || b"*;<>|^`".contains(byte))
        && !path.ends_with(b":")
        && !path.ends_with(b"\\")
}
