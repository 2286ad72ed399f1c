//! The tests that every store must pass.

use crate::kit::{Kit, plain_kit};
use nixstore::Store;
use nixstore::store_suite::Subject;

impl Subject for Kit {
    fn store(&self) -> &dyn Store {
        Self::store(self)
    }
}

nixstore::store_suite!(plain_kit());
nixstore::builder_suite!(plain_kit());
