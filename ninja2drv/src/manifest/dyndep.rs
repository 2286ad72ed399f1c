//! Reads dyndep files: inputs and outputs of edges that are only known when the build runs.
//!
//! Source: the Ninja manual, "Dynamic Dependencies"; messages are those of Ninja 1.13.2, `dyndep_parser.cc`.
#![deny(clippy::disallowed_methods)]

use super::ParseError;
use super::lexer::{Lexer, Mark, Piece, Problem, Raw, Token, pieces};
use super::path::canonicalise;
use bstr::{BStr, BString, ByteSlice as _};

/// What a dyndep file says of one edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// An explicit output, by which the edge is found.
    pub output: BString,
    /// Implicit outputs besides.
    pub outputs: Vec<BString>,
    /// Implicit inputs besides.
    pub inputs: Vec<BString>,
    /// Outputs may be left untouched.
    pub restat: bool,
    /// From 1.
    pub line: u32,
}

/// Reads the dyndep file `name`.
///
/// # Errors
/// What is wrong first.
pub fn parse(name: &BStr, source: &[u8]) -> Result<Vec<Statement>, ParseError> {
    let mut lexer = Lexer::new(source, Mark::start(source), false);
    statements(&mut lexer, source).map_err(|problem| placed(name, source, &problem))
}

fn statements(lexer: &mut Lexer<'_>, source: &[u8]) -> Result<Vec<Statement>, Problem> {
    let mut statements = Vec::new();
    let mut versioned = false;
    loop {
        match lexer.token() {
            Token::Newline => {}
            Token::Ident if !versioned => {
                lexer.unread();
                version(lexer, source)?;
                versioned = true;
            }
            Token::Build if versioned => statements.push(statement(lexer, source)?),
            Token::Eof if versioned => return Ok(statements),
            Token::Build | Token::Eof => return Err(lexer.problem("expected 'ninja_dyndep_version = ...'")),
            Token::Error => return Err(lexer.no_token()),
            other => return Err(lexer.problem(format!("unexpected {}", other.name()))),
        }
    }
}

fn version(lexer: &mut Lexer<'_>, source: &[u8]) -> Result<(), Problem> {
    let (name, value) = assignment(lexer, source)?;
    if name != "ninja_dyndep_version" {
        return Err(lexer.problem("expected 'ninja_dyndep_version = ...'"));
    }
    let mut numbers = value.split_str(".").map(|number| number.to_str().ok().and_then(|n| n.parse::<u32>().ok()));
    match (numbers.next().flatten(), numbers.next().map(Option::unwrap_or_default).unwrap_or_default()) {
        (Some(1), 0) => Ok(()),
        _ => Err(lexer.problem(format!("unsupported 'ninja_dyndep_version = {value}'"))),
    }
}

fn assignment(lexer: &mut Lexer<'_>, source: &[u8]) -> Result<(BString, BString), Problem> {
    let Some(name) = lexer.name() else { return Err(lexer.problem("expected variable name")) };
    lexer.expect(Token::Equals)?;
    let value = lexer.value()?;
    Ok((source[name.start..name.end].into(), expanded(source, value)))
}

fn statement(lexer: &mut Lexer<'_>, source: &[u8]) -> Result<Statement, Problem> {
    let line = lexer.line();
    let output = paths(lexer, source)?;
    let output = match <[BString; 1]>::try_from(output) {
        Ok([output]) => output,
        Err(outputs) if outputs.is_empty() => return Err(lexer.problem("expected path")),
        Err(_) => return Err(lexer.problem("explicit outputs not supported")),
    };
    let outputs = if lexer.accept(Token::Pipe) { paths(lexer, source)? } else { Vec::new() };
    lexer.expect(Token::Colon)?;
    let rule = lexer.name().map(|raw| &source[raw.start..raw.end]);
    if rule != Some(b"dyndep") {
        return Err(lexer.problem("expected build command name 'dyndep'"));
    }
    if !paths(lexer, source)?.is_empty() {
        return Err(lexer.problem("explicit inputs not supported"));
    }
    let inputs = if lexer.accept(Token::Pipe) { paths(lexer, source)? } else { Vec::new() };
    if lexer.accept(Token::PipePipe) {
        return Err(lexer.problem("order-only inputs not supported"));
    }
    lexer.expect(Token::Newline)?;
    let mut restat = false;
    if lexer.accept(Token::Indent) {
        let (name, value) = assignment(lexer, source)?;
        if name != "restat" {
            return Err(lexer.problem("binding is not 'restat'"));
        }
        restat = !value.is_empty();
    }
    Ok(Statement { output, outputs, inputs, restat, line })
}

fn paths(lexer: &mut Lexer<'_>, source: &[u8]) -> Result<Vec<BString>, Problem> {
    let mut paths = Vec::new();
    loop {
        let raw = lexer.path()?;
        if raw.is_empty() {
            return Ok(paths);
        }
        let mut path = expanded(source, raw).into();
        canonicalise(&mut path);
        if path.is_empty() {
            return Err(lexer.problem("empty path"));
        }
        paths.push(path.into());
    }
}

/// A text without its escapes. There are no variables here: each stands for nothing.
fn expanded(source: &[u8], raw: Raw) -> BString {
    let text = &source[raw.start..raw.end];
    let plain = pieces(text).map(|piece| match piece {
        Piece::Text(text) => text,
        Piece::Variable(_) => b"",
    });
    plain.collect::<Vec<_>>().concat().into()
}

fn placed(name: &BStr, source: &[u8], problem: &Problem) -> ParseError {
    let before = &source[..problem.at.min(source.len())];
    let start = before.rfind_byte(b'\n').map_or(0, |end| end + 1);
    let line = source[start..].lines().next().unwrap_or_default();
    ParseError {
        file: name.into(),
        line: before.find_iter("\n").count() as u32 + 1,
        column: (before.len() - start) as u32 + 1,
        message: problem.message.clone(),
        source_line: line.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_inputs_and_outputs_are_read() {
        let text = "# made by a scanner\nninja_dyndep_version = 1.0\nbuild a.o: dyndep\n\
                    build b$ c.o | m.mod ./x/../n.mod: dyndep | $\n  p.mod\n  restat = 1\n";
        let edge = |output: &str, outputs: &[&str], inputs: &[&str], restat, line| Statement {
            output: output.into(),
            outputs: outputs.iter().map(|path| BString::from(*path)).collect(),
            inputs: inputs.iter().map(|path| BString::from(*path)).collect(),
            restat,
            line,
        };
        assert_eq!(
            parse("d".into(), text.as_bytes()),
            Ok(vec![edge("a.o", &[], &[], false, 3), edge("b c.o", &["m.mod", "n.mod"], &["p.mod"], true, 4)])
        );
    }

    #[test]
    fn what_is_wrong_is_told_as_ninja_tells_it() {
        for (text, message) in [
            ("", "d:1: expected 'ninja_dyndep_version = ...'"),
            ("build a: dyndep\n", "d:1: expected 'ninja_dyndep_version = ...'"),
            ("ninja_dyndep_version = 2\n", "unsupported 'ninja_dyndep_version = 2'"),
            ("ninja_dyndep_version = 1\nbuild a b: dyndep\n", "explicit outputs not supported"),
            ("ninja_dyndep_version = 1\nbuild a: cc\n", "expected build command name 'dyndep'"),
            ("ninja_dyndep_version = 1\nbuild a: dyndep b\n", "explicit inputs not supported"),
            ("ninja_dyndep_version = 1\nbuild a: dyndep || b\n", "order-only inputs not supported"),
            ("ninja_dyndep_version = 1\nbuild a: dyndep\n  pool = x\n", "binding is not 'restat'"),
            ("ninja_dyndep_version = 1\nbuild $x: dyndep\n", "empty path"),
            ("ninja_dyndep_version = 1\nbuild a: dyndep | $x\n", "empty path"),
            ("ninja_dyndep_version = 1\nrule x\n", "d:2: unexpected 'rule'"),
        ] {
            let error = parse("d".into(), text.as_bytes()).expect_err(text).to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(pieces in proptest::collection::vec(proptest::sample::select(vec![
            "ninja_dyndep_version = 1\n", "build ", "a", " ", "|", "||", ":", "dyndep", "\n", "  restat = 1\n", "$", "${x}", "\t", "\0", "#", "é",
        ]), 0..20)) {
            let text = pieces.concat();
            let _ = parse("d".into(), text.as_bytes()).map_err(|error| error.to_string());
        }
    }
}
