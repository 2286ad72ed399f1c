//! Which steps may be done next. Pure.
#![deny(clippy::disallowed_methods)]

use crate::graph::{EdgeId, Graph, Pool};
use crate::plan::Plan;
use bstr::BString;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

/// Steps that wait, and for how many others. Among those that may be done the plan's first comes first; of a pool no more
/// are done at once than its depth allows.
pub struct Queue {
    waits: HashMap<EdgeId, usize>,
    users: HashMap<EdgeId, Vec<EdgeId>>,
    ready: Ready,
    rank: HashMap<EdgeId, usize>,
    pool_of: HashMap<EdgeId, usize>,
    pools: Vec<Running>,
}

/// The first in the plan comes out first.
type Ready = BinaryHeap<Reverse<(usize, EdgeId)>>;

/// A pool: how many more may be done, and which wait for that.
struct Running {
    free: u32,
    waiting: Ready,
}

impl Queue {
    /// All steps of a plan.
    pub fn new(graph: &Graph, plan: &Plan) -> Self {
        let rank = plan.order.iter().enumerate().map(|(i, edge)| (*edge, i)).collect();
        let (waits, users, ready, pool_of, pools) = Default::default();
        let mut queue = Self { waits, users, ready, rank, pool_of, pools };
        let mut by_name: HashMap<BString, usize> = HashMap::new();
        for &edge in &plan.order {
            let makers = graph.edge(edge).inputs.iter().filter_map(|file| graph.file(*file).maker);
            let makers: BTreeSet<EdgeId> = makers.collect();
            for maker in &makers {
                queue.users.entry(*maker).or_default().push(edge);
            }
            queue.waits.insert(edge, makers.len());
            if makers.is_empty() {
                queue.ready.push(Reverse((queue.rank[&edge], edge)));
            }
            let pool = if graph.edge(edge).phony { Pool::Default } else { graph.pool(edge) };
            let (name, depth) = match pool {
                Pool::Default => continue,
                Pool::Console => ("console".into(), 1),
                Pool::Named { name, depth } => (name, depth),
            };
            let pool = *by_name.entry(name).or_insert_with(|| {
                queue.pools.push(Running { free: depth, waiting: Ready::new() });
                queue.pools.len() - 1
            });
            queue.pool_of.insert(edge, pool);
        }
        queue
    }

    /// A step whose makers are all done: the one that [`Queue::take`] gives.
    pub fn first(&mut self) -> Option<EdgeId> {
        while let Some(&next) = self.ready.peek() {
            let Reverse((_, edge)) = next;
            match self.pool_of.get(&edge).map(|pool| &mut self.pools[*pool]) {
                Some(Running { free: 0, waiting }) => waiting.push(next),
                _ => return Some(edge),
            }
            self.ready.pop();
        }
        None
    }

    /// A step whose makers are all done; each is given once.
    pub fn take(&mut self) -> Option<EdgeId> {
        let edge = self.first()?;
        self.ready.pop();
        if let Some(pool) = self.pool_of.get(&edge) {
            self.pools[*pool].free -= 1;
        }
        Some(edge)
    }

    /// Notes that a step is over, whether or not it succeeded.
    pub fn ended(&mut self, edge: EdgeId) {
        if let Some(pool) = self.pool_of.get(&edge).map(|pool| &mut self.pools[*pool]) {
            pool.free += 1;
            self.ready.extend(pool.waiting.pop());
        }
    }

    /// Notes that a step is over and succeeded.
    pub fn done(&mut self, edge: EdgeId) {
        self.ended(edge);
        self.waits.remove(&edge);
        for user in self.users.remove(&edge).unwrap_or_default() {
            let waits = self.waits.get_mut(&user).expect("a user is done after its makers");
            *waits -= 1;
            if *waits == 0 {
                self.ready.push(Reverse((self.rank[&user], user)));
            }
        }
    }

    /// Whether all are done.
    pub fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Command, Commands, EdgeSpec, GraphBuilder, Location};

    struct Links;

    impl Commands for Links {
        fn command(&self, _: &Graph, edge: EdgeId) -> Command {
            let pool = if edge.0 < 3 { Pool::Named { name: "link".into(), depth: 2 } } else { Pool::Default };
            Command { pool, ..Command::default() }
        }
    }

    #[test]
    fn a_pool_is_never_fuller_than_its_depth() {
        let mut builder = GraphBuilder::new("/b".into());
        for output in ["l0", "l1", "l2", "free"] {
            let (explicit_outputs, inputs, validations, phony) = (1, &[][..], &[][..], false);
            let location = Location { file: std::sync::Arc::new("build.ninja".into()), line: 1 };
            let (explicit_inputs, implicit_inputs) = (0, 0);
            let outputs = &[builder.file(output.into())];
            let spec = EdgeSpec {
                outputs,
                explicit_outputs,
                inputs,
                explicit_inputs,
                implicit_inputs,
                validations,
                phony,
                location,
            };
            builder.edge(spec).unwrap();
        }
        let graph = builder.finish(Box::new(Links));
        let plan = Plan::new(&graph, &graph.roots()).unwrap();
        let mut queue = Queue::new(&graph, &plan);
        let take = |queue: &mut Queue| queue.take().map(|edge| edge.0);
        assert_eq!([take(&mut queue), take(&mut queue), take(&mut queue)], [Some(0), Some(1), Some(3)]);
        assert_eq!(take(&mut queue), None);
        queue.ended(EdgeId(0)); // it failed
        assert_eq!(take(&mut queue), Some(2));
        [1, 2, 3].into_iter().for_each(|edge| queue.done(EdgeId(edge)));
        assert!(!queue.is_empty());
    }
}
