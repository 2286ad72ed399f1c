//! Connections to one daemon, kept and shared by many threads.
//!
//! One more than is lent stays open as long as the pool: what it protects from collection stays protected, and a daemon
//! with one connection at least need not open its database anew for the next (Nix 2.34: 2 ms instead of 54).

use super::connection::Connection;
use super::error::{DaemonError, HANDSHAKE};
use super::operation::{AddTempRoot, Operation, QueryPathInfo, QueryValidPaths, SetOptions};
use super::wait::Wait;
use super::wire::{Decoder, Encoder, WireError};
use crate::{PathInfo, StorePath};
use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Makes a new connection.
pub type Connect = dyn Fn() -> Result<Connection, DaemonError> + Send + Sync;

/// Connections to one daemon.
pub struct Pool {
    connect: Arc<Connect>,
    options: SetOptions,
    limit: usize,
    lent: Mutex<Lent>,
    /// Signalled when a connection comes back.
    returned: Condvar,
    keeper: Mutex<Connection>,
}

/// What is known of the connections that can be lent.
#[derive(Default)]
struct Lent {
    /// How many have been lent and not come back.
    count: usize,
    /// Those that nobody uses. The one that came back last is lent first.
    idle: Vec<Connection>,
}

impl Pool {
    /// A pool that lends up to `limit` connections at once, one at least, which `connect` makes on demand and on each
    /// of which `options` are set. One connection is made at once, so that a daemon which cannot be reached is known.
    ///
    /// # Errors
    /// Those of making a connection.
    pub fn open(
        limit: usize,
        options: SetOptions,
        connect: impl Fn() -> Result<Connection, DaemonError> + Send + Sync + 'static,
    ) -> Result<Self, DaemonError> {
        let keeper = Mutex::new(make(&connect, &options)?);
        Ok(Self {
            connect: Arc::new(connect),
            options,
            limit: limit.max(1),
            lent: Mutex::default(),
            returned: Condvar::new(),
            keeper,
        })
    }

    /// Lends a connection: one that is there and still good, or a new one. Where all are lent, waits for one to come
    /// back.
    ///
    /// # Errors
    /// Those of making a connection.
    pub fn get(&self) -> Result<Guard<'_>, DaemonError> {
        let mut guard = self.place();
        while let Some(mut connection) = self.idle() {
            if connection.is_usable() {
                guard.connection = Some(connection);
                return Ok(guard);
            }
        }
        // Where it fails, the guard gives back the place.
        guard.connection = Some(make(&*self.connect, &self.options)?);
        Ok(guard)
    }

    /// Protects paths, valid or not yet, from collection for as long as the pool is open, and answers what is known of each
    /// in the same exchange: one that is valid stays so. If the daemon has been restarted, what was protected before is so
    /// no longer.
    ///
    /// # Errors
    /// Those of [`Connection::pipelined`].
    pub fn keep_and_query(&self, paths: &[StorePath]) -> Result<Vec<Option<PathInfo>>, DaemonError> {
        let query = paths.iter().map(|path| Request::Info(QueryPathInfo(path)));
        let answers = self.keep_and(paths, query)?.into_iter();
        Ok(answers.map(|answer| if let Answer::Info(info) = answer { info.map(|info| *info) } else { None }).collect())
    }

    /// As [`Pool::keep_and_query`], but answers only which of them are valid.
    ///
    /// # Errors
    /// Those of [`Connection::pipelined`].
    pub fn keep_and_find(&self, paths: &BTreeSet<StorePath>) -> Result<BTreeSet<StorePath>, DaemonError> {
        let query = Request::Valid(QueryValidPaths { paths, substitute: false });
        let answer = self.keep_and(paths, [query])?.pop();
        Ok(if let Some(Answer::Valid(valid)) = answer { valid } else { BTreeSet::new() })
    }

    /// Protects paths, and then asks; answers what it was asked for.
    fn keep_and<'a>(
        &self,
        paths: impl IntoIterator<Item = &'a StorePath>,
        queries: impl IntoIterator<Item = Request<'a>>,
    ) -> Result<Vec<Answer>, DaemonError> {
        let keep: Vec<_> = paths.into_iter().map(|path| Request::Keep(AddTempRoot(path))).collect();
        let count = keep.len();
        let mut answers = self.keeper()?.pipelined(keep.into_iter().chain(queries), &mut |_| {})?;
        Ok(answers.split_off(count))
    }

    fn keeper(&self) -> Result<MutexGuard<'_, Connection>, DaemonError> {
        let mut keeper = locked(&self.keeper);
        if !keeper.is_usable() {
            *keeper = make(&*self.connect, &self.options)?;
        }
        Ok(keeper)
    }

    /// Asks on a new connection whether the daemon is there, as long as making one may take.
    ///
    /// # Errors
    /// Those of making a connection.
    pub fn ask_for_life(&self) -> Result<(), DaemonError> {
        (self.connect)().map(drop)
    }

    /// How to wait for a build on a connection of this pool: as long as it takes, or until `cancelled` is set. After so
    /// long a `silence`, such as [`HEARTBEAT`](super::HEARTBEAT), the daemon is asked whether it is there.
    pub fn wait_for_build<'a>(&'a self, cancelled: &'a AtomicBool, silence: Duration) -> Wait<'a> {
        Wait::for_build(cancelled).with_heartbeat(silence, || self.ask_for_life_unless(cancelled))
    }

    /// As [`Pool::ask_for_life`], but leaves the answer alone once `cancelled` is set.
    fn ask_for_life_unless(&self, cancelled: &AtomicBool) -> Result<(), DaemonError> {
        const LOOK: Duration = Duration::from_millis(5);

        let connect = Arc::clone(&self.connect);
        // Ends when a connection is made or the time for that is over, whether or not somebody still waits for it.
        let asking = thread::spawn(move || connect().map(drop));
        while !asking.is_finished() {
            if cancelled.load(Ordering::Relaxed) {
                return Err(DaemonError::Cancelled { operation: HANDSHAKE });
            }
            thread::sleep(LOOK);
        }
        asking.join().unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Waits until one more may be lent.
    fn place(&self) -> Guard<'_> {
        let mut lent = self
            .returned
            .wait_while(locked(&self.lent), |lent| lent.count >= self.limit)
            .unwrap_or_else(PoisonError::into_inner);
        lent.count += 1;
        Guard { pool: self, connection: None }
    }

    fn idle(&self) -> Option<Connection> {
        locked(&self.lent).idle.pop()
    }
}

/// What is asked of the connection that protects paths.
enum Request<'a> {
    Keep(AddTempRoot<'a>),
    Info(QueryPathInfo<'a>),
    Valid(QueryValidPaths<'a>),
}

/// What it answers.
enum Answer {
    Kept,
    Info(Option<Box<PathInfo>>),
    Valid(BTreeSet<StorePath>),
}

impl Operation for Request<'_> {
    type Reply = Answer;
    const NAME: &'static str = QueryPathInfo::NAME;
    const NUMBER: u64 = QueryPathInfo::NUMBER;

    fn number(&self) -> u64 {
        match self {
            Self::Keep(_) => AddTempRoot::NUMBER,
            Self::Info(_) => QueryPathInfo::NUMBER,
            Self::Valid(_) => QueryValidPaths::NUMBER,
        }
    }

    fn write(&mut self, out: &mut Encoder<'_>) -> Result<(), WireError> {
        match self {
            Self::Keep(keep) => keep.write(out),
            Self::Info(query) => query.write(out),
            Self::Valid(query) => query.write(out),
        }
    }

    fn read(self, input: &mut Decoder<'_>) -> Result<Answer, WireError> {
        Ok(match self {
            Self::Keep(keep) => {
                keep.read(input)?;
                Answer::Kept
            }
            Self::Info(query) => Answer::Info(query.read(input)?.map(Box::new)),
            Self::Valid(query) => Answer::Valid(query.read(input)?),
        })
    }
}

fn make(connect: &Connect, options: &SetOptions) -> Result<Connection, DaemonError> {
    let mut connection = connect()?;
    connection.call(options.clone(), &mut |_| {})?;
    Ok(connection)
}

/// What is in a pool is good after a panic too: a connection in the middle of an exchange says that it is broken.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection that is lent. Dropping it gives it back; a broken one is thrown away.
pub struct Guard<'a> {
    pool: &'a Pool,
    /// Nothing while it is being made, and after it was given back.
    connection: Option<Connection>,
}

impl Deref for Guard<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("a guard that is given out has a connection")
    }
}

impl DerefMut for Guard<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("a guard that is given out has a connection")
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // Closed, if need be, before another thread gets its place.
        // Whether the daemon has gone meanwhile is asked when it is lent again.
        let connection = self.connection.take().filter(|connection| !connection.is_broken());
        let mut lent = locked(&self.pool.lent);
        lent.count -= 1;
        lent.idle.extend(connection);
        drop(lent);
        self.pool.returned.notify_one();
    }
}
