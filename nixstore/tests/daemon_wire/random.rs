//! Whatever a daemon says, a client neither panics nor hangs.

use crate::exchanges::{Client, Exchange, Recorded, exchanges};
use crate::peer::{Bytes, LAST, connected, options, pair};
use nixstore::daemon::Connection;
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// Asks for what the exchange asks for and lets the daemon answer `reply`. How it ends is of no interest, that it does is.
fn answer(exchange: &Exchange, reply: &[u8]) {
    let start = Instant::now();
    let (mut client, mut peer) = Client::new(connected());
    peer.say(reply);
    peer.hang_up();
    let _ = (exchange.run)(&mut client);
    assert!(start.elapsed() < Duration::from_secs(30));
}

fn any_exchange() -> impl Strategy<Value = Exchange> {
    (0..exchanges().len()).prop_map(|i| exchanges().swap_remove(i))
}

/// Numbers as a daemon could say them: small ones, words of its protocol, and any.
fn number() -> impl Strategy<Value = u64> {
    let words = [LAST, 0x6378_7470, 0x5354_5254, 0x5354_4f50, 0x5253_4c54, 0x6f6c_6d67];
    prop_oneof![0..40_u64, proptest::sample::select(words.to_vec()), any::<u64>()]
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.file)
    }
}

proptest! {
    #[test]
    fn any_bytes_are_an_answer(exchange in any_exchange(), bytes in vec(any::<u8>(), 0..200), last in any::<bool>()) {
        let start = if last { Bytes::new().number(LAST).done() } else { Vec::new() };
        answer(&exchange, &[start, bytes].concat());
    }

    #[test]
    fn any_numbers_are_an_answer(exchange in any_exchange(), numbers in vec(number(), 0..40)) {
        answer(&exchange, &numbers.into_iter().fold(Bytes::new(), Bytes::number).done());
    }

    #[test]
    fn a_real_answer_with_another_number_in_it_is_an_answer(
        exchange in any_exchange(),
        at in any::<prop::sample::Index>(),
        number in number(),
    ) {
        let mut reply = Recorded::load(exchange.file).reply;
        let at = at.index(reply.len() / 8) * 8;
        reply[at..at + 8].copy_from_slice(&number.to_le_bytes());
        answer(&exchange, &reply);
    }

    #[test]
    fn any_numbers_are_a_greeting(numbers in vec(number(), 0..10), is_daemon in any::<bool>()) {
        let start = if is_daemon { Bytes::new().number(0x6478_696f).number(0x126) } else { Bytes::new() };
        let (client, mut peer) = pair();
        peer.say(numbers.into_iter().fold(start, Bytes::number).done());
        peer.hang_up();
        let _ = Connection::open(client, &options());
    }
}
