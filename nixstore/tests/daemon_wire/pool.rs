//! Connections shared by threads.

use crate::exchanges::{hello, wire};
use crate::peer::{Bytes, LAST, PATIENCE, Peer, error, greeting, options, pair};
use nixstore::StoreDir;
use nixstore::daemon::operation::{BuildMode, BuildPaths, IsValidPath, SetOptions};
use nixstore::daemon::wire::Decoder;
use nixstore::daemon::{Connection, DaemonError, Dialect, Pool, Version, Wait};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A daemon that says that every path is valid, knows nothing else of any, and builds nothing: it never answers to that.
#[derive(Clone, Default)]
struct Daemon {
    connections: Arc<AtomicUsize>,
    /// What was asked for, by the number of the operation.
    asked: Arc<Mutex<Vec<u64>>>,
    gone: Arc<AtomicBool>,
}

impl Daemon {
    fn pool(&self, limit: usize) -> Pool {
        let daemon = self.clone();
        Pool::open(limit, SetOptions::default(), move || daemon.connect()).unwrap()
    }

    fn connect(&self) -> Result<Connection, DaemonError> {
        if self.gone.load(Ordering::Relaxed) {
            return Err(DaemonError::TooOld { daemon: Version::OLDEST });
        }
        self.connections.fetch_add(1, Ordering::Relaxed);
        let (client, peer) = pair();
        let daemon = self.clone();
        // Ends when the client has gone.
        thread::spawn(move || daemon.serve(peer));
        Connection::open(client, &options())
    }

    fn serve(&self, mut peer: Peer) -> Option<()> {
        let dialect = Dialect { version: Version::NEWEST, features: BTreeSet::new(), store_dir: StoreDir::default() };
        peer.say(greeting(38, &[]));
        let mut socket = peer.socket.try_clone().unwrap();
        let mut input = Decoder::new(&mut socket, &dialect);
        // Two numbers, the features that the client has, two more.
        (0..2).try_for_each(|_| input.number().map(drop)).ok()?;
        input.list::<_, Vec<_>>(Decoder::text).ok()?;
        (0..2).try_for_each(|_| input.number().map(drop)).ok()?;
        loop {
            let operation = input.number().ok()?;
            self.asked.lock().unwrap().push(operation);
            match operation {
                19 => (0..13).try_for_each(|_| input.number().map(drop)).ok()?,
                1 | 11 | 26 => input.skip_text().ok()?,
                _ => continue,
            }
            let reply = Bytes::new().number(LAST);
            peer.say(match operation {
                19 => reply.done(),
                26 => reply.number(0).done(),
                _ => reply.number(1).done(),
            });
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    fn asked_for(&self, operation: u64) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| **asked == operation).count()
    }
}

fn is_valid(connection: &mut Connection) -> bool {
    connection.call(IsValidPath(&hello()), &mut |_| {}).unwrap()
}

/// Starts a build and breaks it off.
fn cancel_a_build(connection: &mut Connection) {
    let cancelled = AtomicBool::new(true);
    let build = BuildPaths { wanted: &[wire()], mode: BuildMode::Normal };
    let error = error(connection.call_waiting(build, &mut |_| {}, &mut Wait::for_build(&cancelled)));
    assert!(matches!(error, DaemonError::Cancelled { .. }), "{error:?}");
}

#[test]
fn a_connection_is_used_again_and_told_its_options_once() {
    let daemon = Daemon::default();
    let pool = daemon.pool(2);
    assert_eq!(daemon.connections(), 1);
    for _ in 0..5 {
        assert!(is_valid(&mut pool.get().unwrap()));
    }
    assert_eq!((daemon.connections(), daemon.asked_for(19), daemon.asked_for(1)), (2, 2, 5));
}

#[test]
fn a_broken_connection_is_thrown_away() {
    let daemon = Daemon::default();
    let pool = daemon.pool(1);
    cancel_a_build(&mut pool.get().unwrap());
    assert!(is_valid(&mut pool.get().unwrap()));
    assert_eq!(daemon.connections(), 3);
}

#[test]
fn no_more_are_lent_than_the_limit_and_who_comes_later_gets_one_that_comes_back() {
    let daemon = Daemon::default();
    let pool = daemon.pool(2);
    let lent = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut connection = pool.get().unwrap();
                assert!(lent.fetch_add(1, Ordering::SeqCst) < 2);
                assert!(is_valid(&mut connection));
                thread::sleep(Duration::from_millis(5));
                lent.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    assert!(daemon.connections() <= 3);
}

#[test]
fn a_place_comes_back_though_no_connection_could_be_made_or_its_user_panicked() {
    let daemon = Daemon::default();
    let pool = daemon.pool(1);
    daemon.gone.store(true, Ordering::Relaxed);
    assert!(matches!(error(pool.get()), DaemonError::TooOld { .. }));
    assert!(matches!(error(pool.ask_for_life()), DaemonError::TooOld { .. }));
    daemon.gone.store(false, Ordering::Relaxed);
    pool.ask_for_life().unwrap();
    let panicked = thread::scope(|scope| {
        let user = scope.spawn(|| {
            let _lent = pool.get().unwrap();
            std::panic::resume_unwind(Box::new("a user's own fault"));
        });
        user.join().is_err()
    });
    assert!(panicked && is_valid(&mut pool.get().unwrap()));
}

#[test]
fn a_build_is_cancelled_soon_while_a_daemon_is_asked_that_does_not_answer() {
    const SILENCE: Duration = Duration::from_millis(20);

    let made = AtomicUsize::new(0);
    let silent = Mutex::new(Vec::new());
    let pool = Pool::open(1, SetOptions::default(), move || {
        let (client, mut peer) = pair();
        // The first two connections are the keeper and the one that is lent.
        if made.fetch_add(1, Ordering::Relaxed) < 2 {
            peer.say(greeting(38, &[]));
            peer.say(Bytes::new().number(LAST).done());
        }
        silent.lock().unwrap().push(peer);
        Connection::open(client, &options())
    })
    .unwrap();
    let cancelled = AtomicBool::new(false);
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(5 * SILENCE);
            cancelled.store(true, Ordering::Relaxed);
        });
        let build = BuildPaths { wanted: &[wire()], mode: BuildMode::Normal };
        let mut wait = pool.wait_for_build(&cancelled, SILENCE);
        let error = error(pool.get().unwrap().call_waiting(build, &mut |_| {}, &mut wait));
        assert!(matches!(error, DaemonError::Cancelled { operation: "BuildPaths" }), "{error:?}");
    });
    assert!(start.elapsed() < PATIENCE);
}

#[test]
fn what_is_kept_is_kept_by_a_connection_that_is_never_lent() {
    let daemon = Daemon::default();
    let pool = daemon.pool(1);
    assert_eq!(pool.keep_and_query(&[hello(), hello()]).unwrap(), [None, None]);
    cancel_a_build(&mut pool.get().unwrap());
    pool.keep_and_query(&[hello()]).unwrap();
    // The keeper and the one that was broken.
    assert_eq!((daemon.connections(), daemon.asked_for(11)), (2, 3));
}

#[test]
fn a_connection_whose_daemon_has_gone_meanwhile_is_not_lent() {
    let peers = Arc::new(Mutex::new(Vec::new()));
    let made = Arc::clone(&peers);
    let pool = Pool::open(1, SetOptions::default(), move || {
        let (client, mut peer) = pair();
        peer.say(greeting(38, &[]));
        peer.say(Bytes::new().number(LAST).done());
        made.lock().unwrap().push(peer);
        Connection::open(client, &options())
    })
    .unwrap();
    drop(pool.get().unwrap());
    drop(pool.get().unwrap());
    assert_eq!(peers.lock().unwrap().len(), 2);
    peers.lock().unwrap().clear();
    drop(pool.get().unwrap());
    assert_eq!(peers.lock().unwrap().len(), 1);
}
