//! The builder of every edge: makes a root file system of its own with exactly the edge's inputs, runs the command there
//! and moves the outputs out. Small and static; its bytes are part of every edge's key.

fn main() {
    std::process::exit(match localstore::nix_builder::attributes() {
        Some(attributes) => localstore::nix_builder::main(&attributes),
        None => localstore::runner::main(),
    });
}
