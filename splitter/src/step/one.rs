//! One command without a build around it: what a call of a compiler is. Nothing is remembered of it here but what the user's
//! history keeps; who asks for it has a memory of its own.

use super::{Failed, files_below};
use crate::discover::{Found, to_path};
use crate::drive::{Done, Drive, Error, Reason};
use crate::graph::{Command, Commands, DoubleOutput, EdgeId, EdgeSpec, Graph, GraphBuilder, Location, absolute};
use crate::identity::Identity;
use crate::lower::Toolchain;
use crate::plan::Plan;
use crate::recipe::Recipe;
use crate::scan::times::Times;
use crate::state::Records;
use crate::toolchain::Probe;
use bstr::{BStr, BString, ByteSlice as _};
use hashbrown::HashMap;
use nixstore::StorePath;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

/// A command, and what is known of it beforehand.
#[derive(Debug, Clone)]
pub struct One {
    /// What it runs.
    pub command: Command,
    /// What it makes, but for the depfile.
    pub outputs: Vec<BString>,
    /// What it is known to read.
    pub inputs: Vec<BString>,
}

/// What came of a command, which is in place.
#[derive(Debug)]
pub struct Product {
    /// It was run, and not found in the store.
    pub ran: bool,
    /// It ran where it is, so that nobody knows all that it read.
    pub outside: bool,
    /// What it read.
    pub found: Found,
    /// What the scanned ones of these files name of the time.
    pub times: HashMap<BString, Times>,
    /// Words of the scanned ones that are the project's of which such a name may be pasted together.
    pub pieces: BTreeSet<BString>,
    /// The files of the project that it read: absolute path, content, and the identity that stands for that, if one does
    /// already.
    pub inputs: Vec<(BString, Option<Identity>, StorePath)>,
    /// Every file that it made but the depfile: absolute path, and where the store has it.
    pub outputs: Vec<(BString, PathBuf)>,
    /// What its depfile says, if it wrote one.
    pub depfile: Option<Vec<u8>>,
    /// Outputs that it did not write.
    pub unwritten: Vec<BString>,
    /// What it printed.
    pub log: Vec<u8>,
    /// The host's tools that it ran with; none if it ran where it is.
    pub tools: Option<Arc<Toolchain>>,
    /// While these stay, the host's tools are the same.
    pub probes: Vec<Probe>,
    /// What the user should know of it.
    pub warning: Option<String>,
}

/// Why nothing came of a command.
#[derive(Debug)]
pub struct NoProduct {
    /// Such as [`nixstore::store::Failure`].
    pub error: Error,
    /// What it printed.
    pub log: Vec<u8>,
}

struct OneCommand(Command);

impl Commands for OneCommand {
    fn command(&self, _: &Graph, _: EdgeId) -> Command {
        self.0.clone()
    }
}

impl One {
    /// The graph that holds nothing else. Relative paths start at `directory`, which is absolute and normal.
    ///
    /// # Errors
    /// [`DoubleOutput`] never, as one edge may name an output twice.
    pub fn graph(&self, directory: BString) -> Result<Graph, DoubleOutput> {
        let mut graph = GraphBuilder::new(directory);
        let [outputs, inputs] = [&self.outputs, &self.inputs]
            .map(|paths| paths.iter().map(|path| graph.file(path.as_bstr())).collect::<Vec<_>>());
        graph.edge(EdgeSpec {
            outputs: &outputs,
            explicit_outputs: self.outputs.len(),
            inputs: &inputs,
            explicit_inputs: self.inputs.len(),
            implicit_inputs: 0,
            validations: &[],
            phony: false,
            location: Location { file: Arc::new("command line".into()), line: 1 },
        })?;
        Ok(graph.finish(Box::new(OneCommand(self.command.clone()))))
    }

    /// What it does; as above.
    pub fn recipe(&self, directory: &BStr) -> Recipe {
        let outputs = self.outputs.iter().map(|path| absolute(path.as_bstr(), directory)).collect();
        let read = |path: &BStr| fs::read(to_path(path)).ok().map(BString::from);
        Recipe::new(&self.command, outputs, directory, &read)
    }
}

impl Drive<'_> {
    /// Makes the edge of a graph that has one ([`One::graph`]), or finds what it has made before; puts that in place.
    ///
    /// # Errors
    /// [`NoProduct`].
    pub fn make_one(&self) -> Result<Product, NoProduct> {
        self.try_one().map_err(|Failed { error, log }| NoProduct { error, log })
    }

    fn try_one(&self) -> Result<Product, Failed> {
        let edge = EdgeId(0);
        let plan = Plan::new(self.graph, self.graph.edge(edge).outputs)?;
        let old = Records::default();
        let steps = self.steps(&plan, &old)?;
        let command = self.graph.command(edge);
        let recipe = steps.recipe(edge, &command);
        let outcome = steps.make(edge, &command, &recipe, Reason::New)?;
        let ran = matches!(outcome.done, Done::Ran(_));
        let found = outcome.record.as_ref().map(|record| record.found.clone()).unwrap_or_default();
        let (mut outputs, mut unwritten) = (Vec::new(), Vec::new());
        for (at, path) in outcome.record.iter().flat_map(|record| &record.outputs) {
            match path {
                Some(path) => outputs.push((at.clone(), self.store.files(&path.parse::<StorePath>()?)?)),
                None => unwritten.push(at.clone()),
            }
        }
        if let Some(rest) = &outcome.rest {
            let rest = self.store.files(rest)?;
            let mut left = Vec::new();
            files_below(&rest, &BString::from("/"), &mut left)?;
            outputs.extend(left.into_iter().map(|path| {
                let below = path.trim_start_with(|c| c == '/').as_bstr();
                (absolute(below, recipe.build_directory.as_bstr()), rest.join(to_path(below)))
            }));
        }
        let depfile = recipe.depfile.as_ref().filter(|_| {
            match outcome.record.as_ref().and_then(|record| record.depfile.as_ref()) {
                Some(path) => path.parse().is_ok_and(|path| self.store.files(&path).is_ok_and(|file| file.is_file())),
                None => false,
            }
        });
        // As it was put in place, where the store may have it with other paths.
        let depfile = depfile.map(|path| fs::read(to_path(path.as_bstr()))).transpose()?;
        let mut inputs = steps.contents.known();
        inputs.retain(|(path, ..)| found.files.contains(path));
        let times = |path: &BString| Some((path.clone(), steps.headers.times(path.as_bstr())?));
        // The scanner only looks whether there is a precompiled one.
        let texts = found.files.iter().chain(&found.system).filter(|path| !path.ends_with(b".gch"));
        let times = texts.filter_map(times).collect();
        let pieces = found.files.iter().flat_map(|path| steps.headers.pieces(path.as_bstr())).collect();
        Ok(Product {
            ran,
            times,
            pieces,
            outside: outcome.outside.is_some(),
            found,
            inputs,
            outputs,
            depfile,
            unwritten,
            log: outcome.log,
            tools: outcome.tools,
            probes: self.tools.probes(),
            warning: outcome.warning,
        })
    }
}
