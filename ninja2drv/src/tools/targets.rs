//! `-t targets`: what can be built, and by which rule.
#![deny(clippy::disallowed_methods)]

use super::{Context, Stop, did_you_mean, near};
use bstr::{BStr, ByteSlice as _};
use splitter::graph::{FileId, Graph};
use std::collections::BTreeSet;
use std::io::{self, Write};

const MODES: [&str; 3] = ["rule", "depth", "all"];

pub fn targets(context: &Context<'_>, out: &mut dyn Write) -> Result<(), Stop> {
    let graph = &context.manifest.graph;
    let word = |i: usize| context.arguments.get(i).map(|word| word.as_bstr());
    let Some(mode) = word(0) else { return Ok(tree(graph, 1, out)?) };
    match mode.as_bytes() {
        b"rule" => match word(1).filter(|rule| !rule.is_empty()) {
            Some(rule) => of_rule(graph, rule, out)?,
            None => sources(graph, out)?,
        },
        b"depth" => tree(graph, word(1).map_or(1, number), out)?,
        b"all" => all(graph, out)?,
        _ => {
            let near = near(MODES.iter().map(|mode| mode.as_bytes()), mode);
            return Err(Stop::Error(format!("unknown target tool mode '{mode}'{}", did_you_mean(near))));
        }
    }
    Ok(())
}

/// As `atoi` of C reads it: what is no number is 0.
fn number(text: &BStr) -> i64 {
    let text = text.trim_start().as_bstr();
    let (sign, digits) = match text.first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    sign * digits.fold(0_i64, |number, digit| number.saturating_mul(10).saturating_add(i64::from(digit - b'0')))
}

/// What nothing reads, with what it is made of down to a depth; without end if that is 0 or less.
fn tree(graph: &Graph, depth: i64, out: &mut dyn Write) -> io::Result<()> {
    let mut open: Vec<(FileId, usize)> = graph.roots().into_iter().rev().map(|root| (root, 0)).collect();
    while let Some((file, indent)) = open.pop() {
        let path = graph.file(file).path;
        write!(out, "{:width$}{path}", "", width = indent * 2)?;
        let Some(maker) = graph.file(file).maker else {
            writeln!(out)?;
            continue;
        };
        writeln!(out, ": {}", graph.rule(maker))?;
        if depth <= 0 || (indent as i64) < depth - 1 {
            open.extend(graph.edge(maker).inputs.iter().rev().map(|input| (*input, indent + 1)));
        }
    }
    Ok(())
}

fn sources(graph: &Graph, out: &mut dyn Write) -> io::Result<()> {
    let mut inputs = graph.edges().flat_map(|(_, edge)| edge.inputs).map(|input| graph.file(*input));
    inputs.try_for_each(|file| if file.maker.is_none() { writeln!(out, "{}", file.path) } else { Ok(()) })
}

fn of_rule(graph: &Graph, rule: &BStr, out: &mut dyn Write) -> io::Result<()> {
    let edges = graph.edges().filter(|(id, _)| graph.rule(*id) == rule);
    let paths: BTreeSet<&BStr> =
        edges.flat_map(|(_, edge)| edge.outputs).map(|file| graph.file(*file).path.as_bstr()).collect();
    paths.into_iter().try_for_each(|path| writeln!(out, "{path}"))
}

fn all(graph: &Graph, out: &mut dyn Write) -> io::Result<()> {
    for (id, edge) in graph.edges() {
        let rule = graph.rule(id);
        edge.outputs.iter().try_for_each(|file| writeln!(out, "{}: {rule}", graph.file(*file).path))?;
    }
    Ok(())
}
