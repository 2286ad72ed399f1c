//! What the tests share: where the programs are, how one says that it could not run, and checkouts of real projects.

pub mod checkout;

use std::path::{Path, PathBuf};
use std::{env, fs};

/// The program `name` of this workspace, built beside the tests.
///
/// # Panics
/// Where the running program is not in the place of a test.
pub fn program(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a test has a path");
    test.parent().and_then(Path::parent).expect("tests are built below the profile's directory").join(name)
}

/// Notes that the test `test` could not run here, for `check`.
///
/// # Panics
/// Where the list of such tests cannot be written.
pub fn not_run(test: &str, reason: &str) {
    println!("not run: {reason}");
    if let Some(file) = env::var_os("SPLITTER_NOT_RUN") {
        use std::io::Write as _;
        let mut file = fs::File::options().append(true).create(true).open(file).expect("the list can be written");
        writeln!(file, "{test}: {reason}").expect("the list can be written");
    }
}
