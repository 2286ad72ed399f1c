//! What tests beside Ninja share.

use std::process::Command;

/// Whether there is a Ninja 1.13; notes the test as not run if there is none, or one of another version, whose logs are
/// of other versions, too.
pub fn has_ninja_1_13() -> bool {
    let version = Command::new("ninja").arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let is_it = version.starts_with("1.13.");
    if !is_it {
        println!("not run: ninja is {}, not 1.13", if version.is_empty() { "missing" } else { version.trim() });
    }
    is_it
}
