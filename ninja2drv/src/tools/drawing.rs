//! `-t graph`: a drawing for graphviz.
#![deny(clippy::disallowed_methods)]

use super::{Context, Stop, nodes};
use bstr::ByteSlice as _;
use splitter::graph::{EdgeId, FileId, Graph};
use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};

pub fn graph(context: &Context<'_>, out: &mut dyn Write) -> Result<(), Stop> {
    let graph = &context.manifest.graph;
    let nodes = nodes(graph, context.arguments)?;
    out.write_all(
        b"digraph ninja {\nrankdir=\"LR\"\nnode [fontsize=10, shape=box, height=0.25]\nedge [fontsize=10]\n",
    )?;
    let (mut files, mut edges) = (HashSet::new(), HashSet::new());
    let mut open: Vec<FileId> = nodes.into_iter().rev().collect();
    while let Some(file) = open.pop() {
        if !files.insert(file) {
            continue;
        }
        let path = graph.file(file).path.replace("\\", "/");
        out.write_all(&[format!("{} [label=\"", Node::File(file)).as_bytes(), &path, b"\"]\n"].concat())?;
        if let Some(maker) = graph.file(file).maker.filter(|maker| edges.insert(*maker)) {
            arrows(graph, maker, out)?;
            open.extend(graph.edge(maker).inputs.iter().rev());
        }
    }
    Ok(writeln!(out, "}}")?)
}

fn arrows(graph: &Graph, id: EdgeId, out: &mut dyn Write) -> io::Result<()> {
    let edge = graph.edge(id);
    let rule = graph.rule(id);
    if let ([input], [output]) = (edge.inputs, edge.outputs) {
        return writeln!(out, "{} -> {} [label=\" {rule}\"]", Node::File(*input), Node::File(*output));
    }
    let node = Node::Edge(id);
    writeln!(out, "{node} [label=\"{rule}\", shape=ellipse]")?;
    edge.outputs.iter().try_for_each(|output| writeln!(out, "{node} -> {}", Node::File(*output)))?;
    let order_only = edge.dirtying().len();
    for (i, input) in edge.inputs.iter().enumerate() {
        let style = if i < order_only { "" } else { " style=dotted" };
        writeln!(out, "{} -> {node} [arrowhead=none{style}]", Node::File(*input))?;
    }
    Ok(())
}

/// What ninja names by its address, here by a number.
enum Node {
    File(FileId),
    Edge(EdgeId),
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = match self {
            Self::File(file) => u64::from(file.0) * 2,
            Self::Edge(edge) => u64::from(edge.0) * 2 + 1,
        };
        write!(f, "\"0x{number:x}\"")
    }
}
