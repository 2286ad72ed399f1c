//! What lies behind an error, for those who tell a user of it.

use std::error::Error;
use std::iter::successors;

/// The errors that led to `error`, the nearest first; without itself.
pub fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(error.source(), |&error| error.source())
}

/// An error and what led to it, on one line.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    causes(error).fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;

    #[test]
    fn the_nearest_cause_comes_first() {
        let error = StoreError::new("build", StoreError::new("read", std::io::Error::other("broken disk")));
        let said: Vec<String> = causes(&error).map(ToString::to_string).collect();
        assert_eq!(with_causes(&error), format!("{error}: {}", said.join(": ")));
        assert_eq!(said.last().unwrap(), "broken disk");
        assert_eq!(said.len(), 2);
    }
}
