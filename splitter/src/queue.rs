//! Which steps may be done next. Pure.
#![deny(clippy::disallowed_methods)]

use crate::graph::{EdgeId, Graph};
use crate::plan::Plan;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

/// Steps that wait, and for how many others. Among those that may be done the plan's first comes first.
pub struct Queue {
    waits: HashMap<EdgeId, usize>,
    users: HashMap<EdgeId, Vec<EdgeId>>,
    ready: BinaryHeap<Reverse<(usize, EdgeId)>>,
    rank: HashMap<EdgeId, usize>,
}

impl Queue {
    /// All steps of a plan.
    pub fn new(graph: &Graph, plan: &Plan) -> Self {
        let rank = plan.order.iter().enumerate().map(|(i, edge)| (*edge, i)).collect();
        let mut queue = Self { waits: HashMap::new(), users: HashMap::new(), ready: BinaryHeap::new(), rank };
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
        }
        queue
    }

    /// A step whose makers are all done; each is given once.
    pub fn take(&mut self) -> Option<EdgeId> {
        self.ready.pop().map(|Reverse((_, edge))| edge)
    }

    /// Notes that a step is done.
    pub fn done(&mut self, edge: EdgeId) {
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
