//! Edges whose files need more room than there is in memory.

use crate::edges::{Edges, edges};
use crate::kit::{kit, sh};
use bstr::ByteSlice as _;
use nixstore::manifest::Manifest;
use nixstore::store::{BuildOptions, Built, Failure, RealiseError};
use nixstore::{Store as _, StoreDir, Tree};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// What a job has of memory here, in bytes.
const MEMORY: u64 = 8 << 20;

/// Sets `root` to the directory that is mounted as the root: all of a file system in memory, or one on the disk.
const LOOK: &str =
    "while read -r a b c directory at rest; do test $at = / && root=$directory; done < /proc/self/mountinfo;";

fn edges_with_little_memory() -> Edges {
    let edges = edges();
    edges.kit.store().limit_memory_of_jobs(MEMORY);
    edges
}

fn run(edges: &Edges, script: &str, change: impl FnOnce(&mut Manifest)) -> Result<Built, RealiseError> {
    let options = BuildOptions { timeout: None, cancelled: &AtomicBool::new(false) };
    edges.kit.store().realise(&edges.edge_with(script, change), &options)
}

/// The outputs `o0`, `log` and `rest` of an edge that succeeds.
fn outputs(edges: &Edges, script: &str, change: impl FnOnce(&mut Manifest)) -> [Tree; 3] {
    let built = run(edges, script, change).unwrap_or_else(|error| panic!("{error:?}"));
    ["o0", "log", "rest"]
        .map(|name| Tree::read(&edges.kit.physical(&built.outputs[&name.parse().unwrap()].path)).unwrap())
}

fn text(tree: &Tree) -> &[u8] {
    match tree {
        Tree::File { contents, .. } => contents,
        other => panic!("{other:?}"),
    }
}

/// Adds an input for which there is too little memory from the beginning.
fn large_input(edges: &Edges) -> impl FnOnce(&mut Manifest) {
    let file = edges.kit.scratch().join("large");
    fs::write(&file, vec![7; MEMORY as usize + 1]).unwrap();
    let path = edges.kit.store().add_path(&"large".parse().unwrap(), &file).unwrap().path;
    let printed = StoreDir::default().print(&path);
    move |manifest| {
        manifest.inputs.insert("/src/large".into(), printed);
    }
}

#[test]
fn an_output_that_memory_has_no_room_for_is_made_on_the_disk() {
    let edges = edges_with_little_memory();
    let script = "echo once; perl -e 'open my $f, q(>), q(out); print $f q(x) x 2**24 and close $f or die $!'";
    let [output, log, _] = outputs(&edges, script, |_| {});
    assert_eq!((text(&output).len(), text(&log)), (1 << 24, &b"once\n"[..]));
    assert!(edges.kit.leftovers().is_empty());
}

#[test]
fn a_program_that_takes_no_notice_of_full_memory_is_run_on_the_disk() {
    let edges = edges_with_little_memory();
    let script = "perl -e 'open my $f, q(>), q(out); print $f q(x) x 2**24; close $f; exit 0'";
    assert_eq!(text(&outputs(&edges, script, |_| {})[0]).len(), 1 << 24);
}

#[test]
fn a_program_that_takes_too_much_for_a_while_is_ended_and_run_on_the_disk() {
    let edges = edges_with_little_memory();
    let script = format!(
        "{LOOK} echo begun; perl -e 'open my $f, q(>), q(temporary); print $f q(x) x 2**24; close $f;
             select(undef, undef, undef, 0.5); unlink q(temporary)'; echo ended; echo $root > out"
    );
    let [output, log, _] = outputs(&edges, &script, |_| {});
    assert!(text(&output).ends_with(b"/root\n"));
    assert_eq!(text(&log), b"begun\nended\n");
    assert!(edges.kit.leftovers().is_empty());
}

#[test]
fn the_time_that_an_edge_may_take_is_that_of_both_runs() {
    let edges = edges_with_little_memory();
    let script = "perl -e 'open my $f, q(>), q(out); print $f q(x) x 2**24; close $f; select(undef, undef, undef, 3)'";
    let options = BuildOptions { timeout: Some(Duration::from_secs(1)), cancelled: &AtomicBool::new(false) };
    let failed = edges.kit.store().realise(&edges.edge_with(script, |_| {}), &options);
    assert!(matches!(failed, Err(RealiseError::Failed { reason: Failure::TimedOut(_), .. })), "{failed:?}");
    assert!(edges.kit.leftovers().is_empty());
}

#[test]
fn an_edge_with_large_inputs_begins_on_the_disk() {
    let edges = edges_with_little_memory();
    let script = format!("{LOOK} echo $root > out");
    let root = |change: &dyn Fn(&mut Manifest)| text(&outputs(&edges, &script, change)[0]).to_owned();
    assert_eq!(root(&|_| {}), b"/\n");
    let words = "x".repeat(5 * MEMORY as usize);
    let in_a_file = |manifest: &mut Manifest| _ = manifest.files.insert("/src/build/words".into(), words.clone());
    assert!(root(&in_a_file).ends_with(b"/root\n"));
    let [output, ..] = outputs(&edges, &script, large_input(&edges));
    assert!(text(&output).ends_with(b"/root\n"));
}

#[test]
fn an_edge_gives_the_same_on_the_disk_as_in_memory() {
    const SCRIPT: &str = "echo made > out; echo x > ../x || echo refused; echo x >> ../in || echo refused; perl -e '
        mkdir q(tree); mkdir q(tree/sub); symlink q(a), q(tree/link);
        for (qw(tree/a tree/sub/b program alone)) { open my $f, q(>), $_; print $f $_ }
        link q(tree/sub/b), q(second); chmod 0700, q(program)
    '";
    for output in ["/src/build/out", "/src/build/tree"] {
        let made = |edges: &Edges| {
            let large = large_input(edges);
            outputs(edges, SCRIPT, |manifest| {
                large(manifest);
                manifest.writes.insert("o0".into(), output.into());
            })
        };
        let in_memory = made(&edges());
        assert_eq!(made(&edges_with_little_memory()), in_memory);
        assert_eq!(text(&in_memory[1]).lines().filter(|line| line.contains_str("Permission denied")).count(), 2);
    }
}

#[test]
fn an_output_on_the_disk_is_moved_and_not_copied() {
    let edges = edges_with_little_memory();
    let script = "perl -e 'open my $f, q(>), q(out); print((stat $f)[1])'";
    let built = run(&edges, script, large_input(&edges)).unwrap_or_else(|error| panic!("{error:?}"));
    let at = |name: &str| edges.kit.physical(&built.outputs[&name.parse().unwrap()].path);
    assert_eq!(fs::read_to_string(at("log")).unwrap(), fs::metadata(at("o0")).unwrap().ino().to_string());
}

#[test]
fn an_output_on_the_disk_that_is_written_twice_is_there_twice() {
    for edges in [edges(), edges_with_little_memory()] {
        let large = large_input(&edges);
        let built = run(&edges, "echo made > out", |manifest| {
            large(manifest);
            manifest.writes.insert("o1".into(), "/src/build/out".into());
        });
        let outputs = built.unwrap_or_else(|error| panic!("{error:?}")).outputs;
        for name in ["o0", "o1"] {
            let at = edges.kit.physical(&outputs[&name.parse().unwrap()].path);
            assert_eq!(fs::read_to_string(at).unwrap(), "made\n", "{name}");
        }
    }
}

#[test]
fn a_link_that_a_program_leaves_on_the_disk_leads_to_no_file_of_the_host() {
    let host = tempfile::tempdir_in("/tmp").unwrap();
    fs::write(host.path().join("out"), "of the host").unwrap();
    let script = format!(
        "perl -e 'rmdir q(sub); symlink q(../) x 20 . q({host}), q(sub); mkdir q({host});
             open my $f, q(>), q({host}/out); print $f q(of the sandbox)'",
        host = host.path().display()
    );
    for edges in [edges(), edges_with_little_memory()] {
        let large = large_input(&edges);
        let [output, ..] = outputs(&edges, &script, |manifest| {
            large(manifest);
            manifest.writes.insert("o0".into(), "/src/build/sub/out".into());
        });
        assert_eq!(text(&output), b"of the sandbox");
        assert_eq!(fs::read_to_string(host.path().join("out")).unwrap(), "of the host");
    }
}

#[test]
fn an_input_on_the_disk_is_not_written_as_an_output() {
    let said = [edges(), edges_with_little_memory()].map(|edges| {
        let large = large_input(&edges);
        let failed = run(&edges, "echo more >> ../in", |manifest| {
            large(manifest);
            manifest.copied = true;
            manifest.writes.insert("o0".into(), "/src/in".into());
        });
        let Err(RealiseError::Failed { log, .. }) = failed else { panic!("{failed:?}") };
        String::from_utf8(log).unwrap()
    });
    assert!(said[0].contains("wrote to its input `/src/in`"), "{}", said[0]);
    assert_eq!(said[0], said[1]);
}

#[test]
fn a_builder_that_takes_too_much_is_run_on_the_disk() {
    let kit = kit();
    kit.store().limit_memory_of_jobs(MEMORY);
    let take = "head -c 16M /dev/zero > /tmp/large; sleep 0.5; rm /tmp/large";
    let drv = sh("large", &format!("{LOOK} {take}; echo $root > $out; echo x > /tmp/x; echo x > /dev/shm/x"));
    let path = &kit.build(&drv)["out"].path;
    assert!(fs::read_to_string(kit.physical(path)).unwrap().ends_with("/root\n"));
    assert!(kit.leftovers().is_empty());
}
