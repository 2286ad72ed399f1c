//! The builder of every edge: makes a root file system of its own with exactly the edge's inputs, runs the command there
//! and moves the outputs out. Small and static; its bytes are part of every edge's key.

fn main() {
    std::process::exit(localstore::runner::main());
}
