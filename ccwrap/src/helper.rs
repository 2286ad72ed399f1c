//! A thread that is there before there is anything for it to do: Linux puts a new one in line behind the one that makes it, though a
//! processor is idle, and one that waits is woken where there is room.

use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread::Scope;

/// It does one thing, and ends; or ends when this is dropped.
#[derive(Default)]
pub struct Helper<'a>(OnceLock<Sender<Task<'a>>>);

type Task<'a> = Box<dyn FnOnce() + Send + 'a>;

impl<'a> Helper<'a> {
    /// Starts it, if it was not.
    pub fn get_ready<'scope>(&self, scope: &'scope Scope<'scope, 'a>)
    where
        'a: 'scope,
    {
        self.0.get_or_init(|| {
            let (hand, tasks) = channel::<Task<'a>>();
            scope.spawn(move || tasks.recv().map(|task| task()));
            hand
        });
    }

    /// Has it do something; without it that is done here.
    pub fn hand(self, task: impl FnOnce() + Send + 'a) {
        let task: Task<'a> = Box::new(task);
        match self.0.into_inner() {
            Some(hand) => hand.send(task).unwrap_or_else(|unsent| unsent.0()),
            None => task(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    #[test]
    fn what_is_handed_over_is_done_by_the_end_with_a_thread_or_without() {
        let done = AtomicUsize::new(0);
        for is_ready in [true, false] {
            thread::scope(|scope| {
                let helper = Helper::default();
                if is_ready {
                    helper.get_ready(scope);
                    helper.get_ready(scope);
                }
                helper.hand(|| {
                    done.fetch_add(1, Ordering::SeqCst);
                });
            });
        }
        thread::scope(|scope| Helper::default().get_ready(scope)); // it ends
        assert_eq!(done.into_inner(), 2);
    }
}
