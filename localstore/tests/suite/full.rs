//! A store on a disk that is full. The disk is a small file system in memory, in namespaces that the test makes by
//! running itself again under `unshare`.

use crate::kit::{Sees, again, chain, kit_at, place, sh};
use nixstore::Store as _;
use nixstore::store::RealiseError;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs `test` again with a disk of `size`, and says whether this is that run. Where namespaces are refused the test
/// is reported as not run.
fn with_disk(test: &str, size: &str) -> Option<PathBuf> {
    let disk = place();
    if disk.is_none() {
        let directory = tempfile::tempdir().unwrap();
        let script = format!("mount -t tmpfs -o size={size} none \"$0\" || exit 99; exec \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
        command.arg(directory.path()).arg(std::env::current_exe().unwrap());
        again(&format!("full::{test}"), directory.path(), &mut command);
    }
    disk
}

fn fill(disk: &Path) {
    // As much as fits.
    let _ = fs::write(disk.join("filler"), vec![0; 64 << 20]);
}

#[test]
fn a_full_disk_is_named_and_leaves_nothing_behind() {
    let Some(disk) = with_disk("a_full_disk_is_named_and_leaves_nothing_behind", "8m") else { return };
    let kit = kit_at(&disk, Sees::Programs);
    let before = kit.add("before", "text");

    let large = vec![7; 16 << 20];
    let error = kit.store().add_file(&"large".parse().unwrap(), &large, false).unwrap_err();
    assert!(chain(&error).contains("No space left on device"), "{}", chain(&error));
    assert_eq!((kit.files().len(), kit.leftovers().len()), (1, 0));

    // A builder fills the disk, and is cleared away. While the disk is full its log has no place either.
    let script = "/usr/bin/head -c 16M /dev/zero > $out 2> /dev/shm/said || { rm $out; cat /dev/shm/said; exit 1; }";
    let (_, log) = kit.fail(&sh("fills", script));
    assert!(log.contains("No space left on device"), "{log}");
    assert_eq!((kit.files().len(), kit.leftovers().len()), (1, 0));

    // The output fits once, but not a second time with its own path in it.
    let twice = sh("twice", "mkdir $out; echo $out > $out/self; /usr/bin/head -c 5M /dev/zero > $out/large");
    match kit.try_build(&twice) {
        Err(RealiseError::Store(error)) => {
            assert!(chain(&error).contains("No space left on device"), "{}", chain(&error));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((kit.files().len(), kit.leftovers().len()), (1, 0));
    assert!(kit.is_valid(&before.path) && kit.store().verify().unwrap().is_good());
    kit.add("after", "text");
}

#[test]
fn a_database_that_cannot_grow_registers_nothing_half() {
    let Some(disk) = with_disk("a_database_that_cannot_grow_registers_nothing_half", "8m") else { return };
    let mut kit = kit_at(&disk, Sees::Programs);
    kit.add("before", "text");
    fill(&disk);
    let mut added = 0;
    let error = loop {
        match kit.store().add_file(&format!("f{added}").parse().unwrap(), b"", false) {
            Ok(_) => added += 1,
            Err(error) => break chain(&error),
        }
        assert!(added < 100_000, "the disk is never full");
    };
    assert!(error.contains("No space left") || error.contains("full"), "{error}");
    fs::remove_file(disk.join("filler")).unwrap();
    kit.reopen();
    let report = kit.store().verify().unwrap();
    assert!(report.is_good(), "{report:?}");
    assert_eq!(report.checked, added + 1);
    assert_eq!(report.unregistered, [] as [String; 0]);
    kit.store().add_file(&format!("f{added}").parse().unwrap(), b"", false).unwrap();
}
