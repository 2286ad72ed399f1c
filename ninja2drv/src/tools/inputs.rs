//! `-t inputs` and `-t multi-inputs`: what targets are made of.
#![deny(clippy::disallowed_methods)]

use super::arguments::Options;
use super::{Context, Stop, nodes};
use crate::manifest::push_shell_escaped;
use bstr::BString;
use splitter::graph::{EdgeId, FileId, Graph};
use std::collections::HashSet;
use std::io::Write;

const INPUTS: Options = Options {
    tool: "inputs",
    letters: "0Edh",
    long: &[("help", 'h'), ("print0", '0'), ("no-shell-escape", 'E'), ("dependency-order", 'd')],
    usage: "Usage '-t inputs [options] [targets]\n\nList all inputs used for a set of targets, sorted in dependency \
            order.\nNote that by default, results are shell escaped, and sorted alphabetically,\nand never include \
            validation target paths.\n\nOptions:\n  -h, --help          Print this message.\n  -0, --print0            \
            Use \\0, instead of \\n as a line terminator.\n  -E, --no-shell-escape   Do not shell escape the \
            result.\n  -d, --dependency-order  Sort results by dependency order.\n",
};

const MULTI_INPUTS: Options = Options {
    tool: "multi-inputs",
    letters: "0d:h",
    long: &[("help", 'h'), ("print0", '0'), ("delimiter", 'd')],
    usage: "Usage '-t multi-inputs [options] [targets]\n\nPrint one or more sets of inputs required to build targets, \
            sorted in dependency order.\nThe tool works like inputs tool but with addition of the target for each \
            line.\nThe output will be a series of lines with the following elements:\n<target> <delimiter> <input> \
            <terminator>\nNote that a given input may appear for several targets if it is used by more than one \
            targets.\nOptions:\n  -h, --help                   Print this message.\n  -d  --delimiter=DELIM        Use \
            DELIM instead of TAB for field delimiter.\n  -0, --print0                 Use \\0, instead of \\n as a line \
            terminator.\n",
};

pub fn inputs(context: &Context<'_>, out: &mut dyn Write) -> Result<(), Stop> {
    let graph = &context.manifest.graph;
    let given = INPUTS.read(context.arguments)?;
    let mut collected = Collected::default();
    nodes(graph, &given.words)?.into_iter().for_each(|node| collected.add(graph, node));
    let mut paths = collected.paths(graph, !given.has('E'));
    if !given.has('d') {
        paths.sort_unstable();
    }
    let end: &[u8] = if given.has('0') { b"\0" } else { b"\n" };
    for path in paths {
        out.write_all(&path)?;
        out.write_all(end)?;
    }
    Ok(())
}

pub fn multi_inputs(context: &Context<'_>, out: &mut dyn Write) -> Result<(), Stop> {
    let graph = &context.manifest.graph;
    let given = MULTI_INPUTS.read(context.arguments)?;
    let between = given.value('d').map_or(&b"\t"[..], |delimiter| delimiter);
    let end: &[u8] = if given.has('0') { b"\0" } else { b"\n" };
    for node in nodes(graph, &given.words)? {
        let mut collected = Collected::default();
        collected.add(graph, node);
        for path in collected.paths(graph, false) {
            for part in [&**graph.file(node).path, between, &path, end] {
                out.write_all(part)?;
            }
        }
    }
    Ok(())
}

/// Inputs, each after what it is made of.
#[derive(Default)]
struct Collected {
    seen: HashSet<FileId>,
    inputs: Vec<FileId>,
}

impl Collected {
    /// Adds all that a file is made of. What is phony is only a name for other files.
    fn add(&mut self, graph: &Graph, file: FileId) {
        // Edges with how many of their inputs were looked at, and the input that they make.
        let mut open: Vec<(EdgeId, usize, Option<FileId>)> = Vec::new();
        open.extend(graph.file(file).maker.map(|maker| (maker, 0, None)));
        while let Some((edge, next, made)) = open.last_mut() {
            let Some(&input) = graph.edge(*edge).inputs.get(*next) else {
                if !graph.edge(*edge).phony {
                    self.inputs.extend(*made);
                }
                open.pop();
                continue;
            };
            *next += 1;
            if self.seen.insert(input) {
                match graph.file(input).maker {
                    Some(maker) => open.push((maker, 0, Some(input))),
                    None => self.inputs.push(input),
                }
            }
        }
    }

    fn paths(&self, graph: &Graph, escape: bool) -> Vec<BString> {
        let path = |file: &FileId| {
            let path = graph.file(*file).path;
            if !escape {
                return path.to_owned();
            }
            let mut escaped = Vec::with_capacity(path.len());
            push_shell_escaped(path, &mut escaped);
            escaped.into()
        };
        self.inputs.iter().map(path).collect()
    }
}
