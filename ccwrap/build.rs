//! How the small program is linked: it starts by itself, and holds nothing but itself.
//!
//! It uses `core` alone, but a program that may unwind has to be linked with `std`, of which the linker keeps much that nobody
//! calls. That is mapped and taken away again for each call of a compiler, which costs a tenth of a hit.

use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let out = env::var("OUT_DIR").expect("cargo sets it");
    // An empty archive in the place of the library of C, parts of which are kept whoever calls them.
    fs::write(Path::new(&out).join("libc.a"), "!<arch>\n").expect("cargo has made the directory");
    for argument in [
        "-nostartfiles",
        &format!("-L{out}"),
        "-Wl,--unresolved-symbols=ignore-all", // what is missing is called by nobody
        "-Wl,--defsym=rust_eh_personality=_start", // nobody unwinds
        "-Wl,--no-eh-frame-hdr",
        "-Wl,--build-id=none",
        "-Wl,-z,norelro", // nobody would protect it
    ] {
        println!("cargo::rustc-link-arg-bin=ccwrap={argument}");
    }
}
