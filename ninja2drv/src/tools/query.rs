//! `-t query`: what a file is made of, and what is made of it.
#![deny(clippy::disallowed_methods)]

use super::{Context, Stop, find};
use bstr::ByteSlice as _;
use splitter::graph::{Edge, EdgeId, FileId, Graph};
use std::collections::HashMap;
use std::io::{self, Write};

pub fn query(context: &Context<'_>, out: &mut dyn Write) -> Result<(), Stop> {
    let graph = &context.manifest.graph;
    if context.arguments.is_empty() {
        return Err(Stop::Error("expected a target to query".into()));
    }
    // Those before an unknown one are answered.
    let mut names = context.arguments.iter().map(|name| find(graph, name.as_bstr()));
    let known: Vec<FileId> = names.clone().map_while(Result::ok).collect();
    let readers = Readers::of(graph, &known);
    known.iter().try_for_each(|file| tell(graph, *file, &readers, out))?;
    names.nth(known.len()).map_or(Ok(()), |unknown| Ok(unknown.map(drop)?))
}

/// The edges that read some files, once for each time that they name them, and those that have them validated.
#[derive(Default)]
struct Readers {
    inputs: HashMap<FileId, Vec<EdgeId>>,
    validations: HashMap<FileId, Vec<EdgeId>>,
}

impl Readers {
    fn of(graph: &Graph, files: &[FileId]) -> Self {
        let mut readers = Self::default();
        for file in files {
            readers.inputs.entry(*file).or_default();
            readers.validations.entry(*file).or_default();
        }
        for (id, edge) in graph.edges() {
            for (named, readers) in [(edge.inputs, &mut readers.inputs), (edge.validations, &mut readers.validations)] {
                for file in named {
                    if let Some(edges) = readers.get_mut(file) {
                        edges.push(id);
                    }
                }
            }
        }
        readers
    }
}

fn tell(graph: &Graph, file: FileId, readers: &Readers, out: &mut dyn Write) -> io::Result<()> {
    let path = |file: &FileId| graph.file(*file).path;
    writeln!(out, "{}:", path(&file))?;
    if let Some(maker) = graph.file(file).maker {
        let edge = graph.edge(maker);
        writeln!(out, "  input: {}", graph.rule(maker))?;
        for (i, input) in edge.inputs.iter().enumerate() {
            writeln!(out, "    {}{}", label(edge, i), path(input))?;
        }
        if !edge.validations.is_empty() {
            writeln!(out, "  validations:")?;
            edge.validations.iter().try_for_each(|file| writeln!(out, "    {}", path(file)))?;
        }
    }
    writeln!(out, "  outputs:")?;
    made(graph, &readers.inputs[&file], out)?;
    if !readers.validations[&file].is_empty() {
        writeln!(out, "  validation for:")?;
        made(graph, &readers.validations[&file], out)?;
    }
    Ok(())
}

fn made(graph: &Graph, edges: &[EdgeId], out: &mut dyn Write) -> io::Result<()> {
    let mut outputs = edges.iter().flat_map(|edge| graph.edge(*edge).outputs);
    outputs.try_for_each(|file| writeln!(out, "    {}", graph.file(*file).path))
}

/// What stands before the `i`th input in a manifest of one input.
fn label(edge: Edge<'_>, i: usize) -> &'static str {
    match i {
        i if i < edge.explicit_inputs => "",
        i if i < edge.dirtying().len() => "| ",
        _ => "|| ",
    }
}
