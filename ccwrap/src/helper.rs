//! A thread that is there before there is anything for it to do, and beside the one that has it do something: Linux puts a new one,
//! and often one that is woken, in line behind that, though another processor is idle.

use localstore::runner::Processors;
use rustix::process::Pid;
use rustix::thread::gettid;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Scope;

/// It does one thing, and ends; or ends when this is dropped.
#[derive(Default)]
pub struct Helper<'a>(OnceLock<Arc<Post<'a>>>);

type Task<'a> = Box<dyn FnOnce() + Send + 'a>;

/// Where the thread waits.
#[derive(Default)]
struct Post<'a> {
    order: Mutex<Order<'a>>,
    given: Condvar,
    thread: OnceLock<Pid>,
}

#[derive(Default)]
enum Order<'a> {
    #[default]
    Wait,
    Do(Task<'a>),
    /// Somebody is at it, or there is nothing to do.
    Leave,
}

/// Something that is to be done by then, whoever does it.
#[must_use = "it may never be done"]
pub struct Handed<'a>(Option<Arc<Post<'a>>>);

impl<'a> Helper<'a> {
    /// Starts it, if it was not.
    pub fn get_ready<'scope>(&self, scope: &'scope Scope<'scope, 'a>)
    where
        'a: 'scope,
    {
        self.0.get_or_init(|| {
            let post = Arc::new(Post::default());
            let theirs = post.clone();
            scope.spawn(move || theirs.stand_by());
            post
        });
    }

    /// Has it do something; without it that is done here.
    pub fn hand(mut self, task: impl FnOnce() + Send + 'a) -> Handed<'a> {
        let Some(post) = self.0.take() else {
            task();
            return Handed(None);
        };
        if let Some(thread) = post.thread.get() {
            Processors::here().keep_off(*thread);
        }
        post.give(Order::Do(Box::new(task)));
        Handed(Some(post))
    }
}

impl Drop for Helper<'_> {
    fn drop(&mut self) {
        self.0.take().iter().for_each(|post| post.give(Order::Leave));
    }
}

impl Handed<'_> {
    /// Does it, if the helper has not begun to: the other processors may be busy.
    pub fn end(self) {
        self.0.iter().for_each(|post| post.take().into_iter().for_each(|task| task()));
    }
}

impl<'a> Post<'a> {
    fn stand_by(&self) {
        self.thread.set(gettid()).ok(); // it is set by nobody else
        let waited = self.given.wait_while(self.order(), |order| matches!(order, Order::Wait));
        drop(waited);
        self.take().into_iter().for_each(|task| task());
    }

    fn give(&self, order: Order<'a>) {
        *self.order() = order;
        self.given.notify_one();
    }

    /// What is to be done, for whoever takes it first.
    fn take(&self) -> Option<Task<'a>> {
        match mem::replace(&mut *self.order(), Order::Leave) {
            Order::Do(task) => Some(task),
            Order::Wait | Order::Leave => None,
        }
    }

    fn order(&self) -> MutexGuard<'_, Order<'a>> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::thread;

    #[test]
    fn what_is_handed_over_is_done_once_by_the_end_with_a_thread_or_without() {
        let done = AtomicUsize::new(0);
        for (is_ready, ends) in [(true, true), (true, false), (false, true)] {
            thread::scope(|scope| {
                let helper = Helper::default();
                if is_ready {
                    helper.get_ready(scope);
                    helper.get_ready(scope);
                }
                let handed = helper.hand(|| {
                    done.fetch_add(1, Ordering::SeqCst);
                });
                if ends {
                    handed.end();
                }
            });
        }
        thread::scope(|scope| Helper::default().get_ready(scope)); // it ends
        assert_eq!(done.into_inner(), 3);
    }

    #[test]
    fn it_is_done_while_the_other_goes_on() {
        let (say, hear) = channel();
        thread::scope(|scope| {
            let helper = Helper::default();
            helper.get_ready(scope);
            let handed = helper.hand(move || say.send(thread::current().id()).expect("somebody listens"));
            assert_ne!(hear.recv(), Ok(thread::current().id()));
            handed.end();
        });
    }
}
