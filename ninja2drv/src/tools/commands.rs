//! `-t commands`: what would be run for a target.
#![deny(clippy::disallowed_methods)]

use super::arguments::Options;
use super::{Context, Stop, makers, nodes};
use splitter::graph::EdgeId;
use std::collections::HashSet;
use std::io::Write;

const OPTIONS: Options = Options {
    tool: "commands",
    letters: "hs",
    long: &[],
    usage: "usage: ninja -t commands [options] [targets]\n\noptions:\n  -s     only print the final command to build \
            [target], not the whole chain\n",
};

pub fn commands(context: &Context<'_>, out: &mut dyn Write) -> Result<(), Stop> {
    let graph = &context.manifest.graph;
    let given = OPTIONS.read(context.arguments)?;
    let nodes = nodes(graph, &given.words)?;
    let edges: Vec<EdgeId> = if given.has('s') {
        let mut seen = HashSet::new();
        nodes.iter().filter_map(|node| graph.file(*node).maker).filter(|maker| seen.insert(*maker)).collect()
    } else {
        makers(graph, &nodes)
    };
    for edge in edges.into_iter().filter(|edge| !graph.edge(*edge).phony) {
        out.write_all(&graph.command(edge).text)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}
