//! Which steps may be done next. Pure.
#![deny(clippy::disallowed_methods)]

use crate::graph::{EdgeId, Graph, Pool};
use crate::plan::Plan;
use bstr::BString;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

/// Steps that wait, and for how many others. Among those that may be done what is quick comes first, so that whoever asks
/// for many things at once has many to ask for; then the plan's first. Of a pool no more are done at once than its depth
/// allows.
pub struct Queue {
    waits: HashMap<EdgeId, usize>,
    users: HashMap<EdgeId, Vec<EdgeId>>,
    ready: Ready,
    rank: HashMap<EdgeId, Rank>,
    pool_of: HashMap<EdgeId, usize>,
    pools: Vec<Running>,
}

/// What takes time is behind what is quick; then by the place in the plan.
type Rank = (bool, usize);

/// The least rank comes out first.
type Ready = BinaryHeap<Reverse<(Rank, EdgeId)>>;

/// A pool: how many more may be done, and which wait for that.
struct Running {
    free: u32,
    waiting: Ready,
}

impl Queue {
    /// All steps of a plan.
    pub fn new(graph: &Graph, plan: &Plan) -> Self {
        let rank = plan.order.iter().enumerate();
        let rank = rank.map(|(i, edge)| (*edge, (!graph.edge(*edge).phony, i))).collect();
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

    /// Steps that are quick, phony ones besides.
    pub fn hurry(&mut self, quick: &BTreeSet<EdgeId>) {
        if quick.is_empty() {
            return;
        }
        for edge in quick {
            self.rank.entry(*edge).and_modify(|(takes_time, _)| *takes_time = false);
        }
        let rank = &self.rank;
        let ranked = |Reverse((_, edge))| Reverse((rank[&edge], edge));
        for ready in std::iter::once(&mut self.ready).chain(self.pools.iter_mut().map(|pool| &mut pool.waiting)) {
            *ready = std::mem::take(ready).into_iter().map(ranked).collect();
        }
    }

    /// The steps whose makers are all done, and that were not taken.
    pub fn ready(&self) -> impl Iterator<Item = EdgeId> {
        let waiting = self.pools.iter().flat_map(|pool| &pool.waiting);
        self.ready.iter().chain(waiting).map(|Reverse((_, edge))| *edge)
    }

    /// Whether a step is over and succeeded, or is not one of the plan.
    pub fn is_done(&self, edge: EdgeId) -> bool {
        !self.waits.contains_key(&edge)
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
    use crate::graph::{Command, Commands, EdgeSpec, FileId, GraphBuilder, Location};

    struct Links;

    impl Commands for Links {
        fn command(&self, _: &Graph, edge: EdgeId) -> Command {
            let pool = if edge.0 < 3 { Pool::Named { name: "link".into(), depth: 2 } } else { Pool::Default };
            Command { pool, ..Command::default() }
        }
    }

    fn edge(outputs: &[FileId]) -> EdgeSpec<'_> {
        EdgeSpec {
            outputs,
            explicit_outputs: 1,
            inputs: &[],
            explicit_inputs: 0,
            implicit_inputs: 0,
            validations: &[],
            phony: false,
            location: Location { file: std::sync::Arc::new("build.ninja".into()), line: 1 },
        }
    }

    #[test]
    fn a_pool_is_never_fuller_than_its_depth() {
        let mut builder = GraphBuilder::new("/b".into());
        for output in ["l0", "l1", "l2", "free"] {
            let output = builder.file(output.into());
            builder.edge(edge(&[output])).unwrap();
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

    #[test]
    fn what_is_quick_comes_first() {
        let mut builder = GraphBuilder::new("/b".into());
        for output in ["a", "b", "c", "d", "e"] {
            let output = builder.file(output.into());
            builder.edge(edge(&[output])).unwrap();
        }
        let graph = builder.finish(Box::new(Links));
        let mut queue = Queue::new(&graph, &Plan::new(&graph, &graph.roots()).unwrap());
        queue.hurry(&[EdgeId(2), EdgeId(4)].into());
        assert_eq!(queue.ready().collect::<BTreeSet<_>>().len(), 5);
        let taken: Vec<_> = std::iter::from_fn(|| queue.take()).map(|edge| edge.0).collect();
        assert_eq!(taken, [2, 4, 0, 3]);
        assert_eq!(queue.ready().collect::<Vec<_>>(), [EdgeId(1)]);
        queue.done(EdgeId(2));
        assert!(queue.is_done(EdgeId(2)) && !queue.is_done(EdgeId(1)));
    }
}
