//! A store that is the client of a real daemon.

#[allow(dead_code, reason = "the scenes of the package `tests` ask for more of it")]
#[path = "../../../tests/daemon.rs"]
mod daemon;

pub use daemon::Nix;
use daemon::Setup;
use nixstore::Store;
use nixstore::daemon_store::{Address, DaemonOptions, DaemonStore, Way};
use nixstore::store_suite::Subject;
use std::fs::File;
use std::io::Write as _;

/// An open store, and its daemon, which ends after it.
pub struct Daemon {
    store: DaemonStore,
    _daemon: daemon::Daemon,
}

impl Daemon {
    /// Starts one; nothing, and `test` noted as not run, where there is no such Nix.
    pub fn start(test: &str, nix: Nix, way: Way, trusted: bool) -> Option<Self> {
        let setup = Setup { trusted, ..Setup::new(nix, way != Way::Stock) };
        let daemon = daemon::Daemon::start(setup).map_err(|reason| not_run(test, &reason)).ok()?;
        let address = Address::Socket { socket: daemon.socket(), root: daemon.root() };
        let options = DaemonOptions { way: Some(way), connections: 3, ..DaemonOptions::default() };
        let store = DaemonStore::open(address, options).unwrap_or_else(|error| panic!("{error}: {:?}", error.hint()));
        Some(Self { store, _daemon: daemon })
    }
}

impl Subject for Daemon {
    fn store(&self) -> &dyn Store {
        &self.store
    }
}

/// Notes that a test could not run here, for `check`.
fn not_run(test: &str, reason: &str) {
    println!("not run: {reason}");
    if let Some(file) = std::env::var_os("SPLITTER_NOT_RUN") {
        let mut file = File::options().append(true).create(true).open(file).expect("the list can be written");
        writeln!(file, "{test}: {reason}").expect("the list can be written");
    }
}
