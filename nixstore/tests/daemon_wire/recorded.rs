//! What our client says is what the recorded one said, and it understands the daemon's answer.

use crate::exchanges::{Client, Exchange, Recorded, exchanges};
use crate::peer::{connected, error, greeting, options, pair, speaking};
use nixstore::daemon::wire::Decoder;
use nixstore::daemon::{Connection, DaemonError, Dialect, Event, Feature, Trust, Version};
use nixstore::{StoreDir, StorePath};
use serde_json::Value;
use std::collections::BTreeSet;
use std::error::Error as _;

#[test]
fn every_recorded_exchange_is_spoken_byte_for_byte_and_understood() {
    for Exchange { file, run, .. } in exchanges() {
        let recorded = Recorded::load(file);
        let (mut client, mut peer) = Client::new(connected());
        peer.say(&recorded.reply);
        peer.hang_up();
        let result = run(&mut client);
        let request = peer.heard();
        match file {
            // The recorded client does not sort.
            "06-query-valid-paths" => assert_eq!(paths(&request), paths(&recorded.request)),
            // It writes JSON with spaces.
            "23-register-drv-output" => assert_eq!(json_text(&request), json_text(&recorded.request)),
            _ => assert!(request == recorded.request, "{file}"),
        }
        match result {
            Ok(result) => assert_eq!(result, uncoloured(&recorded.result), "{file}"),
            Err(DaemonError::Refused { refusal, .. }) if file == "19-build-paths-fail" => {
                assert_eq!(format!("ERROR {refusal}"), uncoloured(&recorded.result).as_str().unwrap());
            }
            Err(error) => assert_eq!(file, "29-error-invalid-narfrompath", "{error:?}"),
        }
    }
}

#[test]
fn a_build_is_heard_of_from_its_start_to_its_end() {
    let events = events_of("14-build-paths-with-results");
    let [Event::BuildStarted { activity, derivation, machine: None }, one, two, stopped] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(derivation.to_string(), "jgcykdrnmygahndjna2sqhk7lj5yppy0-wire.drv");
    let log = |line: &str| Event::BuildLog { activity: *activity, line: line.into() };
    assert_eq!([one, two], [&log("line1"), &log("line2")]);
    assert_eq!(*stopped, Event::BuildStopped { activity: *activity });
}

#[test]
fn of_a_build_that_has_nothing_to_do_nothing_is_heard() {
    for file in ["15-build-paths-with-results-noop", "31-build-dynamic", "32-query-missing-dynamic"] {
        assert_eq!(events_of(file), []);
    }
}

#[test]
fn a_path_without_an_archive_is_refused_though_the_daemon_gives_no_reason() {
    let exchange = exchanges().into_iter().find(|exchange| exchange.file == "29-error-invalid-narfrompath").unwrap();
    let (mut client, mut peer) = Client::new(connected());
    peer.say(Recorded::load(exchange.file).reply);
    peer.hang_up();
    let refused = error((exchange.run)(&mut client));
    assert!(matches!(&refused, DaemonError::Refused { operation: "NarFromPath", .. }), "{refused:?}");
    assert!(refused.source().unwrap().to_string().contains("may not be valid"));
    // The daemon has closed it.
    assert!(matches!(error((exchange.run)(&mut client)), DaemonError::Broken { operation: "NarFromPath" }));
}

#[test]
fn a_refusal_leaves_the_connection_in_order() {
    let exchanges = exchanges();
    let find = |file: &str| exchanges.iter().find(|exchange| exchange.file == file).unwrap();
    let (mut client, mut peer) = Client::new(connected());
    for file in ["19-build-paths-fail", "02-is-valid-path", "18-build-fail", "24-nar-from-path", "02-is-valid-path"] {
        peer.say(Recorded::load(file).reply);
        let result = (find(file).run)(&mut client);
        assert_eq!(result.is_err(), file == "19-build-paths-fail");
        assert!(client.connection.is_usable());
    }
}

#[test]
fn the_first_words_are_spoken_byte_for_byte_in_every_version() {
    for (file, minor, trust) in [
        ("00-handshake", 38, Trust::Trusted),
        ("33-handshake-minor37", 37, Trust::Trusted),
        ("33-handshake-minor35", 35, Trust::Trusted),
        ("33-handshake-minor34", 34, Trust::Unknown),
    ] {
        let recorded = Recorded::load(file);
        let (client, mut peer) = pair();
        peer.say(&recorded.reply);
        let mut connection = Connection::open(client, &speaking(minor)).unwrap();
        assert!(peer.heard() == recorded.request, "{file}");
        assert_eq!(connection.dialect().version, Version { major: 1, minor });
        assert_eq!((connection.nix_version(), connection.trust()), ("2.34.8", trust));
        assert!(connection.dialect().features.is_empty() && connection.is_usable());
    }
}

#[test]
fn with_an_older_daemon_its_version_is_spoken_and_with_a_newer_one_ours() {
    for (minor, spoken) in [(34, 34), (35, 35), (37, 37), (38, 38), (39, 38)] {
        let (client, mut peer) = pair();
        peer.say(greeting(minor, &[]));
        let connection = Connection::open(client, &options()).unwrap();
        assert_eq!(connection.dialect().version.minor, spoken);
    }
}

#[test]
fn features_are_those_of_both_sides() {
    let by_path = "realisation-with-path-not-hash";
    for (features, both) in [
        (vec![], vec![]),
        (vec!["something-else"], vec![]),
        (vec!["delete-dead-specific-referrers", by_path], vec![Feature::RealisationByPath]),
    ] {
        let (connection, _peer) = crate::peer::connected_as(38, &features);
        assert_eq!(connection.dialect().features, both.into_iter().collect());
    }
    // What was not offered is not spoken, whatever the daemon says.
    let (client, mut peer) = pair();
    peer.say(greeting(38, &[by_path]));
    assert!(Connection::open(client, &speaking(38)).unwrap().dialect().features.is_empty());
}

#[test]
fn who_is_too_old_or_too_new_or_no_daemon_is_told_so() {
    let refused = |bytes: &[u64]| {
        let (client, mut peer) = pair();
        bytes.iter().for_each(|number| peer.say(number.to_le_bytes()));
        error(Connection::open(client, &options()))
    };
    let too_old = refused(&[0x6478_696f, 0x121]);
    assert!(matches!(too_old, DaemonError::TooOld { daemon: Version { major: 1, minor: 33 } }));
    assert_eq!(too_old.to_string(), "the Nix daemon speaks protocol 1.33, which is older than 1.34 of Nix 2.8");
    assert!(too_old.hint().unwrap().contains("Nix 2.8 or later"));
    assert!(matches!(refused(&[0x6478_696f, 0x200]), DaemonError::TooNew { .. }));
    assert!(matches!(refused(&[0x6478_696f, u64::MAX]), DaemonError::Malformed { .. }));
    let other = refused(&[u64::from_le_bytes(*b"SSH-2.0-")]);
    assert!(matches!(other, DaemonError::NotADaemon { .. }), "{other:?}");
}

fn events_of(file: &str) -> Vec<Event> {
    let exchange = exchanges().into_iter().find(|exchange| exchange.file == file).unwrap();
    let (mut client, mut peer) = Client::new(connected());
    peer.say(Recorded::load(file).reply);
    (exchange.run)(&mut client).unwrap();
    client.events
}

/// The paths that a request has behind its number.
fn paths(request: &[u8]) -> BTreeSet<StorePath> {
    let dialect = Dialect { version: Version::NEWEST, features: BTreeSet::new(), store_dir: StoreDir::default() };
    Decoder::new(&mut &request[8..], &dialect).paths().unwrap()
}

/// The JSON that a request has behind its number and its length.
fn json_text(request: &[u8]) -> Value {
    let end = request.iter().rposition(|byte| *byte == b'}').unwrap();
    serde_json::from_slice(&request[16..=end]).unwrap()
}

/// As recorded, without the colours in messages.
fn uncoloured(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            let mut parts = text.split("\u{1b}[");
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |text, part| text + part.split_once('m').unwrap().1).into()
        }
        Value::Array(items) => items.iter().map(uncoloured).collect(),
        Value::Object(entries) => entries.iter().map(|(key, value)| (key.clone(), uncoloured(value))).collect(),
        other => other.clone(),
    }
}
