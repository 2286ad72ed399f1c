//! The small program starts by itself.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bin=ccwrap=-nostartfiles");
}
