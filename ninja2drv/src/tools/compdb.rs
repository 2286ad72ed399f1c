//! `-t compdb` and `-t compdb-targets`: commands as a compilation database of clang.
#![deny(clippy::disallowed_methods)]

use super::arguments::Options;
use super::{Context, Stop, find, makers};
use bstr::{BStr, BString, ByteSlice as _};
use splitter::graph::{Command, EdgeId, FileId};
use std::io::{self, Write};

const COMPDB: Options = Options {
    tool: "compdb",
    letters: "hx",
    long: &[],
    usage: "usage: ninja -t compdb [options] [rules]\n\noptions:\n  -x     expand @rspfile style response file \
            invocations\n",
};

const TARGETS: Options = Options {
    tool: "compdb-targets",
    letters: "hx",
    long: &[],
    usage: "usage: ninja -t compdb [-hx] target [targets]\n\noptions:\n  -h     display this help message\n  -x     \
            expand @rspfile style response file invocations\n",
};

pub fn compdb(context: &Context<'_>, out: &mut dyn Write) -> Result<(), Stop> {
    let graph = &context.manifest.graph;
    let given = COMPDB.read(context.arguments)?;
    // An edge is there as often as its rule is named.
    let times = |id: EdgeId| match &given.words[..] {
        [] => 1,
        rules => rules.iter().filter(|rule| graph.rule(id) == rule.as_bstr()).count(),
    };
    let edges = graph.edges().flat_map(|(id, _)| std::iter::repeat_n(id, times(id)));
    Ok(write(context, edges, given.has('x'), out)?)
}

pub fn compdb_targets(context: &Context<'_>, out: &mut dyn Write) -> Result<(), Stop> {
    let graph = &context.manifest.graph;
    let given = TARGETS.read(context.arguments)?;
    if given.words.is_empty() {
        let problem = "ninja: error: compdb-targets expects the name of at least one target";
        return Err(Stop::Usage(TARGETS.usage, Some(problem.into())));
    }
    let made = |name: &BString| {
        let file = find(graph, name.as_bstr()).map_err(|error| Stop::Fatal(error.to_string()))?;
        let no_target =
            || Stop::Fatal(format!("'{name}' is not a target (i.e. it is not an output of any `build` statement)"));
        graph.file(file).maker.map(|_| file).ok_or_else(no_target)
    };
    let files: Vec<FileId> = given.words.iter().map(made).collect::<Result<_, _>>()?;
    let edges = makers(graph, &files).into_iter().filter(|edge| !graph.edge(*edge).phony);
    Ok(write(context, edges, given.has('x'), out)?)
}

/// Writes the edges that have inputs.
fn write(
    context: &Context<'_>,
    edges: impl Iterator<Item = EdgeId>,
    expand: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let graph = &context.manifest.graph;
    let mut between = "";
    write!(out, "[")?;
    for id in edges {
        let edge = graph.edge(id);
        let (Some(file), Some(output)) = (edge.inputs.first(), edge.outputs.first()) else { continue };
        let command = if edge.phony { Command::default() } else { graph.command(id) };
        let text = if expand { expanded(&command) } else { command.text.clone() };
        let path = |file: &FileId| graph.file(*file).path.as_bstr();
        let [directory, text, file, output] =
            [context.directory, text.as_bstr(), path(file), path(output)].map(json_string);
        write!(
            out,
            "{between}\n  {{\n    \"directory\": \"{directory}\",\n    \"command\": \"{text}\",\n    \"file\": \
             \"{file}\",\n    \"output\": \"{output}\"\n  }}"
        )?;
        between = ",";
    }
    writeln!(out, "\n]")
}

/// The command with the content of its response file in the place of the word that names it (Ninja 1.13,
/// `EvaluateCommandWithRspfile`).
fn expanded(command: &Command) -> BString {
    let Some(response) = &command.rspfile else { return command.text.clone() };
    let Some(at) = command.text.find(&response.path) else { return command.text.clone() };
    let before = &command.text[..at];
    let Some(word) = ["@", "-f ", "--option-file="].into_iter().find(|word| before.ends_with(word.as_bytes())) else {
        return command.text.clone();
    };
    let content = response.content.replace("\n", " ");
    let after = &command.text[at + response.path.len()..];
    [&before[..at - word.len()], &content, after].concat().into()
}

/// A text within the quotes of JSON, its bytes as they are where they must not be others.
fn json_string(text: &BStr) -> BString {
    let mut escaped = Vec::with_capacity(text.len());
    for &byte in text.as_bytes() {
        match byte {
            b'\x08' => escaped.extend(b"\\b"),
            b'\x0c' => escaped.extend(b"\\f"),
            b'\n' => escaped.extend(b"\\n"),
            b'\r' => escaped.extend(b"\\r"),
            b'\t' => escaped.extend(b"\\t"),
            b'\\' | b'"' => escaped.extend([b'\\', byte]),
            0..0x20 => write!(escaped, "\\u{byte:04x}").expect("memory takes all"),
            _ => escaped.push(byte),
        }
    }
    escaped.into()
}
