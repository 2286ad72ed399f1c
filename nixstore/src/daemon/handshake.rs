//! The first words on a connection (Nix 2.34, `worker-protocol-connection.cc`).
#![deny(clippy::disallowed_methods)]

use super::message::{Listener, read_messages};
use super::refusal::plain_text;
use super::version::{Dialect, Feature, Offer, Version};
use super::wire::{Decoder, Encoder, Malformed, WireError};
use crate::StoreDir;
use std::collections::BTreeSet;
use std::io::{Read, Write};

/// Whether a daemon trusts its client, and lets it do what could harm others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It did not say: Nix 2.8 never does.
    Unknown,
    /// The client is among its `trusted-users`.
    Trusted,
    /// The client is not.
    NotTrusted,
}

/// What the two sides have told each other.
#[derive(Debug)]
pub(super) struct Greeting {
    /// How they speak from now on.
    pub dialect: Dialect,
    /// The daemon's Nix, such as `2.34.8`.
    pub nix_version: String,
    /// Whether it trusts this client.
    pub trust: Trust,
}

/// Why the two sides do not come together.
#[derive(Debug)]
pub(super) enum HandshakeError {
    Wire(WireError),
    NotADaemon(u64),
    TooOld(Version),
    TooNew(Version),
}

impl<E: Into<WireError>> From<E> for HandshakeError {
    fn from(error: E) -> Self {
        Self::Wire(error.into())
    }
}

/// Greets a daemon and hears its greeting; what it says further goes to `listener`.
pub(super) fn greet<L: Read + Write>(
    link: &mut L,
    offer: &Offer,
    store_dir: &StoreDir,
    listener: &mut Listener<'_>,
) -> Result<Greeting, HandshakeError> {
    let offered = Dialect { version: offer.version, features: offer.features.clone(), store_dir: store_dir.clone() };
    let version = agree_on_version(link, &offered)?;
    let features = if version >= Version::FEATURES { agree_on_features(link, &offered)? } else { BTreeSet::new() };
    let dialect = Dialect { version, features, store_dir: store_dir.clone() };

    let mut out = Encoder::new(link, &dialect);
    out.number(NO_AFFINITY)?;
    out.number(NO_RESERVE)?;
    link.flush()?;
    let mut input = Decoder::new(link, &dialect);
    let nix_version = plain_text(&input.bytes()?);
    let trust = if version >= Version::TRUST { trust(&mut input)? } else { Trust::Unknown };
    read_messages(link, &dialect, listener)?.map_err(WireError::Refused)?;
    Ok(Greeting { dialect, nix_version, trust })
}

/// The older of the two sides' versions.
fn agree_on_version<L: Read + Write>(link: &mut L, offered: &Dialect) -> Result<Version, HandshakeError> {
    let mut out = Encoder::new(link, offered);
    out.number(CLIENT)?;
    out.number(offered.version.to_number())?;
    link.flush()?;
    let mut input = Decoder::new(link, offered);
    match input.number()? {
        DAEMON => {}
        other => return Err(HandshakeError::NotADaemon(other)),
    }
    let number = input.number()?;
    let daemon =
        Version::from_number(number).ok_or(WireError::Malformed(Malformed::Choice { what: "a version", number }))?;
    if daemon.major > Version::NEWEST.major {
        Err(HandshakeError::TooNew(daemon))
    } else if daemon < Version::OLDEST {
        Err(HandshakeError::TooOld(daemon))
    } else {
        Ok(daemon.min(offered.version))
    }
}

/// The features that both sides have.
fn agree_on_features<L: Read + Write>(link: &mut L, offered: &Dialect) -> Result<BTreeSet<Feature>, WireError> {
    Encoder::new(link, offered).list(&offered.features, |out, feature| out.text(feature.as_str()))?;
    link.flush()?;
    let names: Vec<String> = Decoder::new(link, offered).list(Decoder::text)?;
    let daemon = names.iter().filter_map(|name| Feature::named(name));
    Ok(daemon.filter(|feature| offered.features.contains(feature)).collect())
}

fn trust(input: &mut Decoder<'_>) -> Result<Trust, WireError> {
    match input.number()? {
        0 => Ok(Trust::Unknown),
        1 => Ok(Trust::Trusted),
        2 => Ok(Trust::NotTrusted),
        number => Err(Malformed::Choice { what: "a degree of trust", number }.into()),
    }
}

/// What a client begins with.
const CLIENT: u64 = 0x6e69_7863;
/// What a daemon begins with.
const DAEMON: u64 = 0x6478_696f;
/// Once the processor that a daemon should run on.
const NO_AFFINITY: u64 = 0;
/// Once whether a daemon should keep space in reserve.
const NO_RESERVE: u64 = 0;
