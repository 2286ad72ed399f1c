//! A daemon that is cut off, silent, hostile or slow, and a caller who changes its mind.

use crate::exchanges::{Client, Exchange, Recorded, exchanges, hello, wire};
use crate::peer::{Bytes, ERROR, LAST, NEXT, PATIENCE, Peer, connected, error, greeting, options, pair};
use nixstore::content_address::Method;
use nixstore::daemon::framed::Contents;
use nixstore::daemon::operation::*;
use nixstore::daemon::{Connection, ConnectionOptions, DaemonError, SshEnd, WINDOW, Wait, transport};
use nixstore::hash::Algorithm;
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(60);

#[test]
fn a_daemon_that_is_cut_off_anywhere_in_its_answer_is_known_to_be_at_once() {
    for Exchange { file, operation, run } in exchanges() {
        let reply = Recorded::load(file).reply;
        // Long answers are messages of the same few kinds over and over.
        let step = if reply.len() > 1000 { 13 } else { 1 };
        for cut in (0..reply.len()).step_by(step) {
            let (mut client, mut peer) = Client::new(connected());
            peer.say(&reply[..cut]);
            peer.hang_up();
            let cut_off = error(run(&mut client));
            // After the word that announces an error nothing more needs to come.
            let refused = file.starts_with("29") && cut == 16;
            assert!(
                matches!(cut_off, DaemonError::CutOff { operation: during, .. } if during == operation) || refused,
                "{file} after {cut} bytes: {cut_off:?}"
            );
            assert!(matches!(error(run(&mut client)), DaemonError::Broken { .. }));
        }
    }
}

#[test]
fn a_daemon_that_is_gone_before_it_is_asked_is_known_to_be() {
    for Exchange { file, operation, run } in exchanges() {
        let (mut client, peer) = Client::new(connected());
        drop(peer);
        let gone = error(run(&mut client));
        assert!(matches!(gone, DaemonError::CutOff { operation: o, .. } if o == operation), "{file}: {gone:?}");
    }
}

#[test]
fn first_words_that_are_cut_off_anywhere_are_told_as_such() {
    let greeting = greeting(38, &["realisation-with-path-not-hash"]);
    for cut in 0..greeting.len() {
        let (client, mut peer) = pair();
        peer.say(&greeting[..cut]);
        peer.hang_up();
        let cut_off = error(Connection::open(client, &options()));
        assert!(matches!(cut_off, DaemonError::CutOff { operation: "the handshake", .. }), "{cut_off:?}");
    }
}

/// Adds so much that not all of it can be under way.
fn add_much(connection: &mut Connection) -> Result<(), DaemonError> {
    let add = AddToStore {
        name: &"much".parse().unwrap(),
        method: Method::Flat,
        algorithm: Algorithm::Sha256,
        references: &BTreeSet::new(),
        repair: false,
        contents: Contents::Bytes(&vec![7; 4 << 20]),
    };
    connection.call(add, &mut |_| {}).map(drop)
}

#[test]
fn a_daemon_that_goes_in_the_middle_of_a_request_is_known_to_be() {
    for taken in [0, 7, 100, 100_000, 1_000_000] {
        let (mut connection, mut peer) = connected();
        let daemon = thread::spawn(move || peer.socket.read_exact(&mut vec![0; taken]).unwrap());
        let cut_off = error(add_much(&mut connection));
        assert!(matches!(cut_off, DaemonError::CutOff { operation: "AddToStore", .. }), "{cut_off:?}");
        daemon.join().unwrap();
    }
}

#[test]
fn what_a_daemon_says_before_it_goes_is_heard_though_it_did_not_listen_to_the_end() {
    let (mut connection, mut peer) = connected();
    peer.say(Bytes::new().refusal("no space left").done());
    drop(peer);
    match error(add_much(&mut connection)) {
        DaemonError::Refused { refusal, .. } => assert_eq!(refusal.message, "no space left"),
        other => panic!("{other:?}"),
    }
    assert!(!connection.is_usable());
}

#[test]
fn a_daemon_that_talks_much_before_it_listens_is_not_waited_for() {
    let (mut connection, mut peer) = connected();
    let daemon = thread::spawn(move || {
        let line = Bytes::new().number(NEXT).text(&"x".repeat(1000)).done();
        (0..4000).for_each(|_| peer.say(&line));
        let mut request = vec![0; 4 << 20];
        peer.socket.read_exact(&mut request).unwrap();
        peer.say(Bytes::new().refusal("that is enough").done());
        peer
    });
    assert!(matches!(error(add_much(&mut connection)), DaemonError::Refused { .. }));
    drop(daemon.join().unwrap());
}

#[test]
fn a_daemon_that_says_nothing_is_given_up() {
    let (client, mut peer) = pair();
    peer.say(greeting(38, &[]));
    let impatient = ConnectionOptions { patience: SHORT, ..options() };
    let mut connection = Connection::open(client, &impatient).unwrap();
    let start = Instant::now();
    let silent = error(connection.call(IsValidPath(&hello()), &mut |_| {}));
    assert!(matches!(silent, DaemonError::Silent { operation: "IsValidPath", after } if after == SHORT), "{silent:?}");
    assert!((SHORT..PATIENCE).contains(&start.elapsed()));
    assert_eq!(silent.to_string(), "the Nix daemon was silent for 0.06 s during `IsValidPath`");
    assert!(matches!(error(connection.call(FindRoots, &mut |_| {})), DaemonError::Broken { operation: "FindRoots" }));
}

#[test]
fn first_words_that_take_long_are_given_up_though_something_comes_now_and_then() {
    let impatient = ConnectionOptions { handshake: SHORT, ..options() };
    let (client, _peer) = pair();
    assert!(matches!(error(Connection::open(client, &impatient)), DaemonError::Silent { .. }));

    let (client, mut peer) = pair();
    let daemon = thread::spawn(move || {
        for byte in greeting(38, &[]) {
            if peer.socket.write_all(&[byte]).is_err() {
                return;
            }
            thread::sleep(SHORT / 10);
        }
    });
    let start = Instant::now();
    assert!(matches!(error(Connection::open(client, &impatient)), DaemonError::Silent { .. }));
    assert!(start.elapsed() < PATIENCE);
    daemon.join().unwrap();
}

fn build(connection: &mut Connection, wait: &mut Wait<'_>) -> Result<(), DaemonError> {
    connection.call_waiting(BuildPaths { wanted: &[wire()], mode: BuildMode::Normal }, &mut |_| {}, wait)
}

#[test]
fn a_build_is_cancelled_soon_whether_or_not_the_daemon_talks() {
    for talks in [false, true] {
        let (mut connection, peer) = connected();
        let mut socket = peer.socket.try_clone().unwrap();
        let cancelled = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(SHORT);
                cancelled.store(true, Ordering::Relaxed);
            });
            let line = Bytes::new().number(NEXT).text("and on and on").done();
            // Ends when the client has gone.
            scope.spawn(move || while talks && socket.write_all(&line).is_ok() {});
            let start = Instant::now();
            let error = error(build(&mut connection, &mut Wait::for_build(&cancelled)));
            assert!(matches!(error, DaemonError::Cancelled { operation: "BuildPaths" }), "{error:?}");
            assert!(start.elapsed() < PATIENCE);
            drop(connection);
        });
    }
}

#[test]
fn a_build_ends_at_its_deadline() {
    let (mut connection, _peer) = connected();
    let cancelled = AtomicBool::new(false);
    let mut wait = Wait::for_build(&cancelled).until(Instant::now() + SHORT);
    assert!(matches!(error(build(&mut connection, &mut wait)), DaemonError::TimedOut { operation: "BuildPaths" }));
}

#[test]
fn in_silence_a_build_goes_on_for_as_long_as_somebody_finds_the_daemon_alive() {
    let (mut connection, mut peer) = connected();
    let cancelled = AtomicBool::new(false);
    let mut asked = 0;
    let mut wait = Wait::for_build(&cancelled).with_heartbeat(SHORT / 4, || {
        asked += 1;
        if asked == 3 {
            peer.say(Bytes::new().number(LAST).number(1).done());
        }
        Ok(())
    });
    build(&mut connection, &mut wait).unwrap();
    drop(wait);
    assert_eq!(asked, 3);

    let dead = || Err(DaemonError::Silent { operation: "the handshake", after: SHORT });
    let mut wait = Wait::for_build(&cancelled).with_heartbeat(SHORT, dead);
    let error = error(build(&mut connection, &mut wait));
    assert!(matches!(error, DaemonError::NotAnswering { operation: "BuildPaths", .. }), "{error:?}");
    assert_eq!(error.to_string(), "the Nix daemon does not answer any more, during `BuildPaths`");
}

#[test]
fn lengths_that_are_not_true_cost_nothing() {
    for hostile in [1 << 28, 1 << 40, u64::MAX] {
        for bytes in [
            Bytes::new().number(NEXT).number(hostile),
            Bytes::new().number(0x5354_5254).number(1).number(3).number(105).text("").number(hostile),
            Bytes::new().number(ERROR).text("Error").number(0).text("").text("").number(0).number(hostile),
            Bytes::new().number(LAST).number(hostile),
            Bytes::new().number(LAST).number(1).number(hostile),
        ] {
            let (mut connection, mut peer) = connected();
            peer.say(bytes.done());
            peer.hang_up();
            let error = error(connection.call(FindRoots, &mut |_| {}));
            assert!(matches!(error, DaemonError::CutOff { .. } | DaemonError::Malformed { .. }), "{error:?}");
        }
    }
}

#[test]
fn what_is_no_message_is_told_as_such() {
    let (mut connection, mut peer) = connected();
    peer.say(Bytes::new().number(0x6461_7461).number(8).done());
    let odd = error(connection.call(IsValidPath(&hello()), &mut |_| {}));
    assert!(matches!(odd, DaemonError::Malformed { operation: "IsValidPath", .. }), "{odd:?}");
    assert_eq!(std::error::Error::source(&odd).unwrap().to_string(), "0x64617461 is not a message");
}

#[test]
fn contents_that_cannot_be_read_cost_the_connection_and_not_more() {
    let (mut connection, _peer) = connected();
    let add = AddToStore {
        name: &"x".parse().unwrap(),
        method: Method::Nar,
        algorithm: Algorithm::Sha256,
        references: &BTreeSet::new(),
        repair: false,
        contents: Contents::Stream(&mut |out| Ok(nixstore::nar::dump("/no/such/file".as_ref(), out)?)),
    };
    let failed = error(connection.call(add, &mut |_| {}));
    assert!(matches!(failed, DaemonError::Contents { operation: "AddToStore", .. }), "{failed:?}");
    assert!(!connection.is_usable());
}

#[test]
fn an_archive_that_cannot_be_written_is_told_from_one_that_is_none() {
    let nar = Recorded::load("24-nar-from-path").reply;
    let (mut connection, mut peer) = connected();
    peer.say(&nar);
    let mut full: &mut [u8] = &mut [0; 20];
    let failed = error(connection.call(NarFromPath { path: &hello(), out: &mut full }, &mut |_| {}));
    assert!(matches!(failed, DaemonError::Contents { operation: "NarFromPath", .. }), "{failed:?}");

    let (mut connection, mut peer) = connected();
    peer.say(nar.iter().map(|byte| if *byte == b'(' { b'[' } else { *byte }).collect::<Vec<_>>());
    let failed = error(connection.call(NarFromPath { path: &hello(), out: &mut Vec::new() }, &mut |_| {}));
    assert!(matches!(failed, DaemonError::Malformed { operation: "NarFromPath", .. }), "{failed:?}");
}

#[test]
fn an_error_in_the_middle_of_an_archive_is_the_daemon_s_own() {
    let (mut connection, mut peer) = connected();
    let reply = Bytes::new().number(LAST).text("nix-archive-1").text("(");
    peer.say(reply.refusal("getting status of '/nix/store/x': No such file or directory").done());
    match error(connection.call(NarFromPath { path: &hello(), out: &mut Vec::new() }, &mut |_| {})) {
        DaemonError::Refused { refusal, .. } => assert!(refusal.message.starts_with("getting status")),
        other => panic!("{other:?}"),
    }
    assert!(!connection.is_usable());
}

/// How many bytes a question takes whether the path is valid.
const QUESTION: usize = 72;

/// Answers one question whenever no more are asked, and tells how many were waiting for an answer at most.
fn answer_slowly(mut peer: Peer, questions: usize) -> usize {
    let mut most = 0;
    let mut heard = 0;
    for answered in 0..questions {
        heard += listen(&mut peer, heard <= answered * QUESTION);
        most = most.max(heard / QUESTION - answered);
        peer.say(Bytes::new().number(LAST).number((answered % 2) as u64).done());
    }
    most
}

/// How many bytes come until nothing more does; waits for the first where it is `needed`.
fn listen(peer: &mut Peer, needed: bool) -> usize {
    let mut buffer = [0; 1 << 16];
    peer.socket.set_read_timeout(None).unwrap();
    let mut heard = if needed { peer.socket.read(&mut buffer).unwrap() } else { 0 };
    peer.socket.set_read_timeout(Some(SHORT / 6)).unwrap();
    while let Ok(read @ 1..) = peer.socket.read(&mut buffer) {
        heard += read;
    }
    heard
}

#[test]
fn of_many_questions_no_more_than_a_window_is_under_way() {
    const QUESTIONS: usize = 70;

    let (mut connection, peer) = connected();
    let daemon = thread::spawn(move || answer_slowly(peer, QUESTIONS));
    let path = hello();
    let answers = connection.pipelined((0..QUESTIONS).map(|_| IsValidPath(&path)), &mut |_| {}).unwrap();
    assert_eq!(answers, (0..QUESTIONS).map(|i| i % 2 == 1).collect::<Vec<_>>());
    assert_eq!(daemon.join().unwrap(), WINDOW);
    assert!(connection.pipelined(Vec::<IsValidPath<'_>>::new(), &mut |_| {}).unwrap().is_empty());
}

#[test]
fn a_question_among_many_that_is_refused_leaves_the_connection_in_order() {
    let path = hello();
    let (mut connection, mut peer) = connected();
    let yes = || Bytes::new().number(LAST).number(1).done();
    peer.say([yes(), Bytes::new().refusal("not that one").done(), yes(), yes()].concat());
    let refused = error(connection.pipelined([IsValidPath(&path); 3], &mut |_| {}));
    assert!(matches!(refused, DaemonError::Refused { .. }), "{refused:?}");
    assert!(connection.call(IsValidPath(&path), &mut |_| {}).unwrap());

    // Where the daemon goes after it, the refusal is still what is told.
    peer.say([yes(), Bytes::new().refusal("not that one").done()].concat());
    peer.hang_up();
    let refused = error(connection.pipelined([IsValidPath(&path); 3], &mut |_| {}));
    assert!(matches!(refused, DaemonError::Refused { .. }), "{refused:?}");
    assert!(!connection.is_usable());
}

#[test]
fn an_ssh_that_fails_is_told_with_its_last_words() {
    let command = transport::SshCommand { ssh: "sh".into(), ..transport::SshCommand::new("host") };
    // A shell in the place of ssh takes its first options for its own and finds no script of the host's name.
    let ssh = transport::Ssh::start(&command).unwrap();
    match error(Connection::open(ssh, &options())) {
        DaemonError::SshEnded { operation: "the handshake", end: SshEnd { host, status, said } } => {
            assert_eq!(host, "host");
            assert!(!status.unwrap().success() && !said.is_empty());
        }
        other => panic!("{other:?}"),
    }
}
