//! What the dyndep files say that are there, for tools that want as much of the graph as can be known.

use super::disk::Disk;
use crate::manifest::dyndep::{self, Statement};
use bstr::{BString, ByteSlice as _};
use splitter::graph::{EdgeId, Graph};
use std::collections::BTreeMap;
use std::fs;

/// Adds to the graph what dyndep files state. One that is missing or wrong states nothing.
pub fn load(graph: &mut Graph, disk: Disk<'_>) {
    let mut users: BTreeMap<BString, Vec<EdgeId>> = BTreeMap::new();
    for (edge, _) in graph.edges() {
        if let Some(file) = graph.dyndep(edge) {
            users.entry(file).or_default().push(edge);
        }
    }
    for (file, edges) in users {
        let source = fs::read(disk.place(file.as_bstr())).unwrap_or_default();
        for statement in dyndep::parse(file.as_bstr(), &source).unwrap_or_default() {
            let maker = graph.find(statement.output.as_bstr()).and_then(|output| graph.file(output).maker);
            if let Some(edge) = maker.filter(|maker| edges.contains(maker) && is_free(graph, *maker, &statement)) {
                graph.extend(edge, &statement.outputs, &statement.inputs).expect("no other edge makes the outputs");
            }
        }
    }
}

/// Whether no other edge makes what a statement adds to one.
fn is_free(graph: &Graph, edge: EdgeId, statement: &Statement) -> bool {
    let mut makers = statement.outputs.iter().filter_map(|path| graph.file(graph.find(path.as_bstr())?).maker);
    makers.all(|maker| maker == edge)
}
