//! The rounds of a build. What a dyndep file states is known only when it is made: edges that make such files are built
//! first, then what they state is added to the graph, until the graph says all of what is wanted.

use bstr::{BString, ByteSlice as _};
use ninja2drv::manifest::dyndep;
use splitter::discover::to_path;
use splitter::drive::Error;
use splitter::graph::{EdgeId, FileId, Graph, absolute};
use splitter::plan::Plan;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// The dyndep files of a build.
#[derive(Debug, Default)]
pub struct Dyndeps {
    loaded: BTreeSet<FileId>,
}

impl Dyndeps {
    /// The dyndep files that a plan needs, that were not loaded, and that need none themselves; empty if all are loaded.
    ///
    /// # Errors
    /// Where there are some, and each needs another.
    pub fn next(&self, graph: &Graph, plan: &Plan) -> Result<Vec<FileId>, Error> {
        let waiting = self.waiting(graph, plan);
        let mut ready = Vec::new();
        for &file in &waiting {
            if self.waiting(graph, &Plan::new(graph, &[file])?).is_empty() {
                ready.push(file);
            }
        }
        match waiting.first() {
            Some(first) if ready.is_empty() => {
                let path = graph.file(*first).path;
                Err(format!("dependency cycle: the dyndep file `{path}` has to be made before it is made").into())
            }
            _ => Ok(ready),
        }
    }

    fn waiting(&self, graph: &Graph, plan: &Plan) -> BTreeSet<FileId> {
        let files = plan.order.iter().filter_map(|edge| graph.dyndep(*edge));
        let files = files.filter_map(|path| graph.find(path.as_bstr()));
        files.filter(|file| !self.loaded.contains(file)).collect()
    }

    /// Adds what a dyndep file states to the graph.
    ///
    /// # Errors
    /// Where it cannot be read, or does not fit the edges that name it; in Ninja's words where it has some.
    pub fn load(&mut self, graph: &mut Graph, file: FileId) -> Result<(), Error> {
        self.loaded.insert(file);
        let name = graph.file(file).path.to_owned();
        let path = absolute(name.as_bstr(), graph.working_directory());
        let source = fs::read(to_path(path.as_bstr())).map_err(|e| format!("loading '{name}': {e}"))?;
        let mut waiting: BTreeMap<EdgeId, BString> = users(graph, file);
        for statement in dyndep::parse(name.as_bstr(), &source)? {
            let place = format!("{name}:{}", statement.line);
            let output = &statement.output;
            let maker = graph.find(output.as_bstr()).and_then(|file| graph.file(file).maker);
            let edge = maker.ok_or_else(|| format!("{place}: no build statement exists for '{output}'"))?;
            if waiting.remove(&edge).is_none() {
                let names_it = graph.dyndep(edge).is_some_and(|path| graph.find(path.as_bstr()) == Some(file));
                let what = if names_it { "multiple statements for" } else { "no dyndep binding for this file at" };
                return Err(format!("{place}: {what} '{output}'").into());
            }
            graph.extend(edge, &statement.outputs, &statement.inputs).map_err(|double| format!("{place}: {double}"))?;
        }
        match waiting.into_iter().next() {
            None => Ok(()),
            Some((_, output)) => Err(format!("'{output}' not mentioned in its dyndep file '{name}'").into()),
        }
    }

    /// The files that were loaded: if one is another, the graph is another.
    pub fn files(&self) -> impl Iterator<Item = FileId> + '_ {
        self.loaded.iter().copied()
    }
}

/// The edges that name a dyndep file, each with its first output.
fn users(graph: &Graph, file: FileId) -> BTreeMap<EdgeId, BString> {
    let edges = graph.edges().map(|(edge, _)| edge);
    let users = edges.filter(|edge| graph.dyndep(*edge).is_some_and(|path| graph.find(path.as_bstr()) == Some(file)));
    users.map(|edge| (edge, graph.file(graph.edge(edge).outputs[0]).path.to_owned())).collect()
}
