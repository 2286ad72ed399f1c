//! Depfiles.
