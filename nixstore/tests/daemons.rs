//! Real daemons of several versions of Nix as stores: the suite that every store passes, by each way, as a trusted user and as
//! another. A version that cannot be had is reported as not run.

#[path = "daemons/kit.rs"]
mod kit;

use kit::{Daemon, Nix};
use nixstore::daemon_store::Way;

/// The suite for one way, and the tests of what builders say and how long they run.
macro_rules! suite {
    ($name:ident, $nix:expr, $way:expr, $trusted:expr) => {
        mod $name {
            use super::*;

            fn with(test: &str, run: fn(&dyn nixstore::store_suite::Subject)) {
                if let Some(daemon) = Daemon::start(test, $nix, $way, $trusted) {
                    run(&daemon);
                }
            }

            nixstore::store_suite! { with with }
            nixstore::builder_suite! { with with }
        }
    };
}

suite!(nix_2_8_stock, Nix::Bookworm, Way::Stock, true);
suite!(nix_2_8_ca, Nix::Bookworm, Way::ContentAddressed, true);
suite!(nix_2_26_stock, Nix::Trixie, Way::Stock, true);
suite!(nix_2_26_ca_not_trusted, Nix::Trixie, Way::ContentAddressed, false);
suite!(newest_stock, Nix::Sid, Way::Stock, true);
suite!(newest_stock_not_trusted, Nix::Sid, Way::Stock, false);
suite!(newest_ca, Nix::Sid, Way::ContentAddressed, true);
suite!(newest_ca_not_trusted, Nix::Sid, Way::ContentAddressed, false);
