//! Which edges a build needs, makers before users. Pure.
#![deny(clippy::disallowed_methods)]

use crate::graph::{EdgeId, FileId, Graph};
use bstr::BString;
use std::collections::BTreeSet;

/// The edges that targets need, each after all that it waits for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In an order in which they could be run one by one.
    pub order: Vec<EdgeId>,
    /// Sources that the edges read: files that no edge makes.
    pub sources: Vec<FileId>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Edges that wait for each other; the first file stands at the end again.
    #[error("dependency cycle: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(" -> "))]
    Cycle(Vec<BString>),
}

impl Plan {
    /// Plans `targets`.
    ///
    /// # Errors
    /// [`PlanError::Cycle`].
    pub fn new(graph: &Graph, targets: &[FileId]) -> Result<Self, PlanError> {
        let mut walk = Walk {
            graph,
            marks: vec![Mark::New; graph.edges().count()],
            seen: vec![false; graph.files().count()],
            plan: Self::default(),
        };
        let mut waiting: Vec<FileId> = targets.iter().rev().copied().collect();
        while let Some(target) = waiting.pop() {
            let before = walk.plan.order.len();
            walk.file(target)?;
            let validations = walk.plan.order[before..].iter().flat_map(|edge| graph.edge(*edge).validations);
            waiting.extend(validations.copied());
        }
        Ok(walk.plan)
    }
}

impl Plan {
    /// The edges that are out of date whatever they read: those that need a phony file which stands for nothing and, by
    /// `exists`, is not there. Source: the Ninja manual, "The `phony` rule".
    pub fn always(&self, graph: &Graph, exists: &dyn Fn(FileId) -> bool) -> BTreeSet<EdgeId> {
        let mut phony = BTreeSet::new();
        let mut always = BTreeSet::new();
        for &id in &self.order {
            let edge = graph.edge(id);
            let from = |input: &FileId| graph.file(*input).maker.is_some_and(|maker| phony.contains(&maker));
            let needs = edge.dirtying().iter().any(from);
            match edge.phony {
                true if needs || (edge.inputs.is_empty() && !edge.outputs.iter().all(|file| exists(*file))) => {
                    phony.insert(id);
                }
                false if needs => drop(always.insert(id)),
                _ => {}
            }
        }
        always
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    Open,
    Done,
}

struct Walk<'a> {
    graph: &'a Graph,
    marks: Vec<Mark>,
    seen: Vec<bool>,
    plan: Plan,
}

impl Walk<'_> {
    /// Plans the maker of a file and all before it, without recursion: chains can be long.
    fn file(&mut self, file: FileId) -> Result<(), PlanError> {
        let mut path: Vec<(FileId, EdgeId, usize)> = Vec::new();
        self.open(file, &mut path)?;
        while let Some((_, edge, next)) = path.last_mut() {
            let edge = *edge;
            match self.graph.edge(edge).inputs.get(*next) {
                Some(&input) => {
                    *next += 1;
                    self.open(input, &mut path)?;
                }
                None => {
                    self.marks[edge.0 as usize] = Mark::Done;
                    self.plan.order.push(edge);
                    path.pop();
                }
            }
        }
        Ok(())
    }

    fn open(&mut self, file: FileId, path: &mut Vec<(FileId, EdgeId, usize)>) -> Result<(), PlanError> {
        let Some(maker) = self.graph.file(file).maker else {
            if !std::mem::replace(&mut self.seen[file.0 as usize], true) {
                self.plan.sources.push(file);
            }
            return Ok(());
        };
        match self.marks[maker.0 as usize] {
            Mark::Done => {}
            Mark::Open => {
                let from = path.iter().position(|(_, edge, _)| *edge == maker).expect("an open edge is on the path");
                let name = |file: FileId| self.graph.file(file).path.to_owned();
                let cycle = path[from..].iter().map(|(file, ..)| name(*file)).chain([name(file)]);
                let mut cycle: Vec<BString> = cycle.collect();
                cycle[0] = name(file); // the edge may have been entered by another of its outputs
                return Err(PlanError::Cycle(cycle));
            }
            Mark::New => {
                self.marks[maker.0 as usize] = Mark::Open;
                path.push((file, maker, 0));
            }
        }
        Ok(())
    }
}
