//! Reads the words of a call of rustc: what it makes, or why nothing is to be remembered of it. Pure.
//!
//! What is not as Cargo calls it is left to the compiler: a crate without a name or a depfile, outputs that are named one by one.

use super::Compile;
use crate::why::Why;
use bstr::{BStr, BString, ByteSlice as _};
use splitter::graph::absolute;
use splitter::rustc::Call;

/// What a call of rustc has besides what every compile has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crate {
    /// Where most of what it makes goes to, as it is spelt.
    pub directory: BString,
    /// The linker that it starts, if it does: a name or a path.
    pub linker: Option<BString>,
}

/// Values of `-C` options for which more files are written than can be known, or for which the result depends on the machine.
const UNSUPPORTED: [(&str, &str); 6] = [
    ("split-debuginfo", "packed"),
    ("split-debuginfo", "unpacked"),
    ("target-cpu", "native"),
    ("save-temps", ""),
    ("save-temps", "yes"),
    ("save-temps", "true"),
];

/// Reads a command line, whose first word is the compiler. `is_terminal` says where diagnostics go to.
///
/// # Errors
/// Why nothing is to be remembered of it.
pub fn read(words: &[BString], is_terminal: bool) -> Result<Compile, Why> {
    let Some(call) = Call::read(words) else {
        let asks = words[1..].iter().all(|word| word.starts_with(b"-"));
        return Err(if asks { Why::NoInput } else { Why::Option });
    };
    match call.sources.as_slice() {
        [] => return Err(Why::NoInput),
        [source] if source == "-" => return Err(Why::StandardInput),
        [_] => {}
        _ => return Err(Why::Bad),
    }
    // What is written for people depends on the width of their terminal.
    let is_for_people = is_terminal && !call.json;
    let is_unsupported =
        |(name, value): &(&str, &str)| call.codegen.iter().any(|(known, of)| known == name && of == value);
    if !call.others.is_empty() || is_for_people || UNSUPPORTED.iter().any(is_unsupported) {
        return Err(Why::Option);
    }
    let (Some(name), None) = (&call.name, &call.output) else { return Err(Why::Option) };
    let is_linux = |target: &BString| target.contains_str("-linux-") && !target.ends_with(b".json");
    if call.links() && !call.target.as_ref().is_none_or(is_linux) {
        return Err(Why::Option); // the names of programs are others
    }
    let stem = [name.as_slice(), call.codegen("extra-filename").unwrap_or_default()].concat();
    let directory = call.directory.clone().unwrap_or_else(|| ".".into());
    let named = |name: Vec<u8>| absolute_or_not(name.as_bstr(), directory.as_bstr());
    let (mut outputs, mut depfile) = (Vec::new(), None);
    for (kind, path) in &call.emits {
        let of_kind = |start: &str, end: &str| match path {
            Some(path) => path.clone(),
            None => named([start.as_bytes(), &stem, end.as_bytes()].concat()),
        };
        match kind.as_bytes() {
            b"dep-info" => depfile = Some(of_kind("", ".d")),
            b"metadata" => outputs.push(of_kind("lib", ".rmeta")),
            b"link" => outputs.extend(linked(&call).iter().map(|(start, end)| of_kind(start, end))),
            b"asm" => outputs.push(of_kind("", ".s")),
            b"llvm-ir" => outputs.push(of_kind("", ".ll")),
            b"llvm-bc" => outputs.push(of_kind("", ".bc")),
            b"mir" => outputs.push(of_kind("", ".mir")),
            b"obj" => outputs.push(of_kind("", ".o")),
            _ => return Err(Why::Option),
        }
    }
    let is_none = |path: &BString| {
        path == "-" || path.is_empty() || path.starts_with(b"/dev/") && !path.starts_with(b"/dev/shm/")
    };
    if outputs.iter().chain(&depfile).any(is_none) {
        return Err(Why::Output);
    }
    if depfile.is_none() || outputs.is_empty() {
        return Err(Why::Option); // only a depfile tells which variables were read
    }
    outputs.sort();
    outputs.dedup();
    let linker = call.links().then(|| call.codegen("linker").unwrap_or("cc".into()).into());
    let rust = Some(Crate { directory, linker });
    Ok(Compile { sources: call.sources, outputs, depfile, says_colours: true, rust, ..Compile::default() })
}

/// How the names of what is linked begin and end.
fn linked(call: &Call) -> Vec<(&'static str, &'static str)> {
    if call.test || call.types.is_empty() {
        return vec![("", "")];
    }
    let of_type = |kind: &BString| match kind.as_bytes() {
        b"bin" => ("", ""),
        b"staticlib" => ("lib", ".a"),
        b"dylib" | b"cdylib" | b"proc-macro" => ("lib", ".so"),
        _ => ("lib", ".rlib"),
    };
    call.types.iter().map(of_type).collect()
}

fn absolute_or_not(name: &BStr, directory: &BStr) -> BString {
    match directory.starts_with(b"/") {
        true => absolute(name, directory),
        false => [directory.as_bytes(), b"/", name].concat().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<BString> {
        text.split_whitespace().map(BString::from).collect()
    }

    fn outputs(text: &str) -> String {
        let compile = read(&words(&format!("rustc {text}")), false).unwrap_or_else(|why| panic!("`{text}`: {why:?}"));
        bstr::join(" ", compile.outputs.iter().chain(&compile.depfile)).to_str_lossy().into_owned()
    }

    #[test]
    fn outputs_are_named_by_the_crate_and_its_type() {
        const CARGO: &str = "--crate-name a a.rs --out-dir /t -C extra-filename=-1";
        for (text, made) in [
            ("--crate-type lib --emit=dep-info,metadata,link", "/t/liba-1.rlib /t/liba-1.rmeta /t/a-1.d"),
            ("--crate-type lib --emit=dep-info,metadata", "/t/liba-1.rmeta /t/a-1.d"),
            ("--crate-type bin --emit=dep-info,link", "/t/a-1 /t/a-1.d"),
            ("--test --emit=dep-info,link", "/t/a-1 /t/a-1.d"),
            ("--crate-type proc-macro --emit=dep-info,link", "/t/liba-1.so /t/a-1.d"),
            (
                "--crate-type rlib,cdylib,staticlib --emit=dep-info,link",
                "/t/liba-1.a /t/liba-1.rlib /t/liba-1.so /t/a-1.d",
            ),
            ("--crate-type lib --emit=dep-info=/d,link,asm", "/t/a-1.s /t/liba-1.rlib /d"),
        ] {
            assert_eq!(outputs(&format!("{CARGO} {text}")), made, "{text}");
        }
        assert_eq!(outputs("--crate-name a a.rs --crate-type lib --emit=dep-info,link"), "./liba.rlib ./a.d");
    }

    #[test]
    fn what_is_asked_or_not_understood_goes_to_the_compiler() {
        const PLAIN: &str = "--crate-name a --crate-type lib --emit=dep-info,link";
        for (text, why) in [
            ("-vV", Why::NoInput),
            ("--print sysroot", Why::NoInput),
            ("- --crate-name ___ --print=file-names", Why::StandardInput),
            ("a.rs --crate-type lib --emit=dep-info,link", Why::Option),
            ("a.rs --crate-name a --emit=link", Why::Option),
            ("a.rs --crate-name a --emit=dep-info", Why::Option),
            ("a.rs --unknown", Why::Option),
            ("a.rs -o x --crate-name a --emit=dep-info,link", Why::Option),
            ("a.rs b.rs", Why::Bad),
            ("a.rs --crate-name a --emit=dep-info=-,link", Why::Output),
        ] {
            assert_eq!(read(&words(&format!("rustc {text}")), false), Err(why), "{text}");
        }
        for more in [
            "-Ctarget-cpu=native",
            "-C split_debuginfo=packed",
            "-Zx",
            "--print=cfg",
            "--crate-type cdylib --target x86_64-pc-windows-msvc",
        ] {
            assert_eq!(read(&words(&format!("rustc a.rs {PLAIN} {more}")), false), Err(Why::Option), "{more}");
        }
        assert!(read(&words(&format!("rustc a.rs {PLAIN}")), false).is_ok());
        assert_eq!(read(&words(&format!("rustc a.rs {PLAIN}")), true), Err(Why::Option));
        assert!(read(&words(&format!("rustc a.rs {PLAIN} --error-format=json")), true).is_ok());
    }
}
