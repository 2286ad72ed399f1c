//! The tests that every store must pass.

use crate::kit::{Kit, kit};
use nixstore::Store;
use nixstore::store_suite::Subject;

impl Subject for Kit {
    fn store(&self) -> &dyn Store {
        Self::store(self)
    }
}

nixstore::store_suite!(kit());
nixstore::builder_suite!(kit());
