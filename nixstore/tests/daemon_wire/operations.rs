//! Operations of which no exchange was recorded, and the forms of other versions: bytes by hand.

use crate::exchanges::{hello, hello_drv, path, registered, wire_bd};
use crate::peer::{Bytes, LAST, connected, connected_as, error};
use nixstore::daemon::operation::*;
use nixstore::daemon::{DaemonError, Event, Operation};
use nixstore::{DrvOutputId, StoreDir};
use std::time::Duration;

const BY_PATH: &str = "realisation-with-path-not-hash";

fn answer() -> Bytes {
    Bytes::new().number(LAST)
}

fn whole_hello() -> String {
    StoreDir::default().print(&hello())
}

#[test]
fn what_keeps_paths_is_told_with_what_is_kept() {
    let (mut connection, mut peer) = connected();
    peer.say(answer().number(2).text("/home/x/result").text(&whole_hello()).text("{lsof}").text(&whole_hello()).done());
    let roots = connection.call(FindRoots, &mut |_| {}).unwrap();
    assert_eq!(peer.heard(), Bytes::new().number(14).done());
    let root = |link: &str| Root { link: link.into(), path: hello() };
    assert_eq!(roots, [root("/home/x/result"), root("{lsof}")]);
}

#[test]
fn collecting_says_what_and_how_much() {
    let paths = [hello()].into();
    for (collection, action, listed) in [
        (Collection::FindLive, 0, false),
        (Collection::FindDead, 1, false),
        (Collection::DeleteDead, 2, false),
        (Collection::Delete(&paths), 3, true),
    ] {
        let (mut connection, mut peer) = connected();
        peer.say(answer().number(1).text("/nix/store/.links").number(4096).number(0).done());
        let collected = connection.call(CollectGarbage { collection, max_freed: 7 }, &mut |_| {}).unwrap();
        let start = Bytes::new().number(20).number(action).number(listed.into());
        let start = if listed { start.text(&whole_hello()) } else { start };
        assert_eq!(peer.heard(), start.number(0).number(7).number(0).number(0).number(0).done());
        assert_eq!(collected, Collected { paths: vec!["/nix/store/.links".into()], freed: 4096 });
    }
}

#[test]
fn a_path_is_ensured_by_its_name() {
    let (mut connection, mut peer) = connected();
    peer.say(answer().number(1).done());
    connection.call(EnsurePath(&hello()), &mut |_| {}).unwrap();
    assert_eq!(peer.heard(), Bytes::new().number(10).text(&whole_hello()).done());
    // Anything but 1 is no answer.
    peer.say(answer().number(0).done());
    let odd = error(connection.call(EnsurePath(&hello()), &mut |_| {}));
    assert!(matches!(odd, DaemonError::Malformed { operation: "EnsurePath", .. }));
}

#[test]
fn a_daemon_of_2_35_is_asked_for_realisations_by_path() {
    let (mut connection, mut peer) = connected_as(38, &[BY_PATH]);
    peer.say(answer().number(1).text(&whole_hello()).number(1).text("key:c2ln").done());
    let (id, drv) = (registered().id, hello_drv());
    let query = QueryRealisation { id: &id, derivation: Some(&drv) };
    let realised = connection.call(query, &mut |_| {}).unwrap().unwrap();
    let whole_drv = StoreDir::default().print(&drv);
    assert_eq!(peer.heard(), Bytes::new().number(43).text(&whole_drv).text("out").done());
    assert_eq!(realised, Realised { path: hello(), id: None, signatures: ["key:c2ln".into()].into() });

    peer.say(answer().number(0).done());
    assert_eq!(connection.call(query, &mut |_| {}).unwrap(), None);
    peer.heard();

    peer.say(answer().done());
    let realisation = registered();
    connection.call(RegisterDrvOutput { realisation: &realisation, derivation: Some(&drv) }, &mut |_| {}).unwrap();
    let said = Bytes::new().number(42).text(&whole_drv).text("out").text(&whole_hello()).number(0);
    assert_eq!(peer.heard(), said.done());
}

#[test]
fn what_cannot_be_said_to_a_daemon_is_not_said() {
    let (mut connection, mut peer) = connected_as(38, &[BY_PATH]);
    let realisation = registered();
    let by_hash = error(connection.call(QueryRealisation { id: &realisation.id, derivation: None }, &mut |_| {}));
    assert!(matches!(by_hash, DaemonError::Unsupported { operation: "QueryRealisation", .. }), "{by_hash}");
    let by_hash =
        error(connection.call(RegisterDrvOutput { realisation: &realisation, derivation: None }, &mut |_| {}));
    assert!(matches!(by_hash, DaemonError::Unsupported { operation: "RegisterDrvOutput", .. }), "{by_hash}");
    assert!(peer.heard().is_empty() && connection.is_usable());
}

/// The result of a build up to its outputs.
fn built(minor: u8, status: u64) -> Bytes {
    let bytes = answer().number(status).text("").number(3).number(1).number(100).number(107);
    if minor >= 37 { bytes.number(1).number(2_000_000).number(0) } else { bytes }
}

fn build(minor: u8, features: &[&str], reply: Bytes) -> BuildResult {
    let (mut connection, mut peer) = connected_as(minor, features);
    peer.say(reply.done());
    let derivation = wire_bd();
    let path = derivation.path(&StoreDir::default());
    let mode = BuildMode::Normal;
    connection.call(BuildDerivation { path: &path, derivation: &derivation, mode }, &mut |_| {}).unwrap()
}

#[test]
fn a_result_is_read_in_the_form_of_each_version() {
    let id: DrvOutputId = registered().id;
    let json = registered().to_json();
    for minor in [34, 35, 37, 38] {
        let result = build(minor, &[], built(minor, 13).number(1).text(&id.to_string()).text(&json));
        assert_eq!(
            (result.status, result.times_built, result.not_deterministic),
            (Status::ResolvesToAlreadyValid, 3, true)
        );
        assert_eq!((result.start, result.stop), (100, 107));
        assert_eq!(result.user_time, (minor >= 37).then_some(Duration::from_secs(2)));
        assert_eq!(result.system_time, None);
        let realised = &result.outputs[&"out".parse().unwrap()];
        assert_eq!((&realised.path, realised.id.as_ref()), (&hello(), Some(&id)));
    }

    let by_path = built(38, 0).number(1).text("dev").text(&whole_hello()).number(0);
    let realised = &build(38, &[BY_PATH], by_path).outputs[&"dev".parse().unwrap()];
    assert_eq!((&realised.path, &realised.id), (&hello(), &None));

    // Nix 2.35 writes for older clients what they need and a hash of zeros.
    let id = format!("sha256:{}!out", "0".repeat(64));
    let json = format!(r#"{{"id":"{id}","outPath":"{}"}}"#, hello());
    let realised = &build(38, &[], built(38, 0).number(1).text(&id).text(&json)).outputs[&"out".parse().unwrap()];
    assert_eq!((&realised.path, &realised.id), (&hello(), &None));
}

#[test]
fn a_status_that_nobody_knows_is_a_failure() {
    for (number, success) in (0..15).map(|number| (number, [0, 1, 2, 13].contains(&number))).chain([(99, false)]) {
        let result = build(38, &[], built(38, number).number(0));
        assert_eq!(result.status.is_success(), success, "{:?}", result.status);
        assert_eq!(result.status == Status::Unknown(99), number == 99);
    }
}

#[test]
fn answers_that_nobody_recorded_are_known_to_be_cut_off_as_well() {
    fn cut_off<O: Operation>(operation: impl Fn() -> O, reply: Bytes) {
        let reply = reply.done();
        for cut in 0..reply.len() {
            let (mut connection, mut peer) = connected_as(38, &[BY_PATH]);
            peer.say(&reply[..cut]);
            peer.hang_up();
            let error = error(connection.call(operation(), &mut |_| {}));
            let known = matches!(error, DaemonError::CutOff { operation, .. } if operation == O::NAME);
            assert!(known, "after {cut} bytes: {error:?}");
        }
    }
    let (hello, realisation, drv) = (hello(), registered(), hello_drv());
    let (id, derivation) = (&realisation.id, Some(&drv));
    let everything = CollectGarbage { collection: Collection::DeleteDead, max_freed: u64::MAX };
    cut_off(|| EnsurePath(&hello), answer().number(1));
    cut_off(|| FindRoots, answer().number(1).text("/home/x/result").text(&whole_hello()));
    cut_off(|| everything, answer().number(1).text("/nix/store/x").number(9).number(0));
    cut_off(|| QueryRealisation { id, derivation }, answer().number(1).text(&whole_hello()).number(1).text("key:c2ln"));
    cut_off(|| RegisterDrvOutput { realisation: &realisation, derivation }, answer());
}

#[test]
fn lines_of_the_daemon_itself_and_of_builds_elsewhere_are_heard() {
    let drv = path("jgcykdrnmygahndjna2sqhk7lj5yppy0-wire.drv");
    let (start, stop, result) = (0x5354_5254, 0x5354_4f50, 0x5253_4c54);
    let (mut connection, mut peer) = connected();
    let messages = Bytes::new().number(crate::peer::NEXT).text("warning: x");
    // An activity of a kind that is not of interest, with all kinds of fields.
    let messages = messages.number(start).number(1).number(3).number(999).text("").number(2);
    let messages = messages.number(0).number(5).number(1).text("field").number(0);
    let messages = messages.number(start).number(2).number(3).number(105).text("building").number(4);
    let messages = messages.number(1).text(&StoreDir::default().print(&drv)).number(1).text("ssh://other");
    let messages = messages.number(0).number(1).number(0).number(1).number(0);
    let messages = messages.number(result).number(2).number(105).number(0);
    let messages = messages.number(stop).number(1).number(stop).number(2);
    peer.say(messages.number(LAST).number(1).done());
    let mut events = Vec::new();
    assert!(connection.call(IsValidPath(&hello()), &mut |event| events.push(event)).unwrap());
    let machine = Some("ssh://other".into());
    let expected = [
        Event::Line("warning: x".into()),
        Event::BuildStarted { activity: 2, derivation: drv, machine },
        Event::BuildStopped { activity: 2 },
    ];
    assert_eq!(events, expected);
}
