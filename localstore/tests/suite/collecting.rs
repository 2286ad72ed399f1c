//! Eviction, deletion, verification.

use crate::kit::{Kit, kit, sh};
use localstore::collect::CollectError;
use localstore::layout::LayoutError;
use localstore::{Evicted, LocalStore, OpenError, delete, evict};
use nixstore::{PathInfo, Store as _, StoreDir, StorePath};
use std::fs;
use std::time::{Duration, SystemTime};

/// Three files of 1000 bytes, the first used last.
fn three(kit: &mut Kit) -> Vec<StorePath> {
    let infos: Vec<PathInfo> = ["a", "b", "c"].iter().map(|name| kit.add(name, &name.repeat(1000))).collect();
    std::thread::sleep(Duration::from_millis(2));
    kit.add("a", &"a".repeat(1000));
    infos.into_iter().map(|info| info.path).collect()
}

fn valid(kit: &mut Kit, paths: &[StorePath]) -> Vec<bool> {
    kit.reopen();
    let valid: Vec<bool> = paths.iter().map(|path| kit.is_valid(path)).collect();
    for (path, valid) in paths.iter().zip(&valid) {
        assert_eq!(kit.physical(path).symlink_metadata().is_ok(), *valid, "{path}");
    }
    valid
}

#[test]
fn what_was_used_longest_ago_goes_first() {
    let mut kit = kit();
    let paths = three(&mut kit);
    kit.close();
    assert_eq!(evict(kit.root(), 10_000).unwrap(), Evicted::WithinLimit);
    let evicted = evict(kit.root(), 2500).unwrap();
    assert!(matches!(evicted, Evicted::Deleted { paths: 1, .. }), "{evicted:?}");
    assert_eq!(valid(&mut kit, &paths), [true, false, true]);
}

#[test]
fn a_store_says_what_it_holds_and_takes() {
    let mut kit = kit();
    let before = kit.store().info().unwrap();
    assert_eq!((before.paths, before.nar_size, before.last_use), (0, 0, None));

    let started = SystemTime::now() - Duration::from_secs(1);
    let paths = three(&mut kit);
    let infos = kit.store().path_infos(&paths).unwrap();
    kit.reopen();
    let info = kit.store().info().unwrap();
    assert_eq!((info.paths, info.nar_size), (3, infos.iter().flatten().map(|info| info.nar_size).sum()));
    assert_eq!(kit.store().size_at_most().unwrap(), info.nar_size);
    assert!(info.disk_size >= before.disk_size + 3000, "{info:?}");
    assert!(info.last_use.is_some_and(|time| time >= started && time <= SystemTime::now()), "{info:?}");
}

#[test]
fn the_size_is_right_whether_or_not_a_sum_is_remembered() {
    let mut kit = kit();
    let sizes = |kit: &Kit| (kit.store().size_at_most().unwrap(), kit.store().info().unwrap().nar_size);
    let memory = kit.store().layout().size();
    for count in 0..1100 {
        kit.add("many", &count.to_string());
    }
    let (size, all) = sizes(&kit);
    assert_eq!(size, all);
    assert!(memory.exists());
    three(&mut kit);
    let (size, all) = sizes(&kit);
    assert_eq!(size, all);

    kit.close();
    evict(kit.root(), 10_000).unwrap();
    kit.reopen();
    let (size, all) = sizes(&kit);
    assert!(size == all && size <= 10_000, "{size} of {all}");

    // A file that is spoilt is as good as none.
    fs::write(&memory, "12").unwrap();
    assert_eq!(kit.store().size_at_most().unwrap(), all);
}

#[test]
fn looking_for_a_store_makes_none() {
    let directory = tempfile::tempdir().unwrap();
    let Err(error) = LocalStore::open_existing(&directory.path().join("none")) else { panic!("there is none") };
    assert!(matches!(error, OpenError::Layout(LayoutError::NotAStore { .. })), "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_store_that_is_open_is_left_alone() {
    let mut kit = kit();
    let paths = three(&mut kit);
    assert_eq!(evict(kit.root(), 0).unwrap(), Evicted::InUse);
    assert!(matches!(delete(kit.root()), Err(CollectError::InUse { .. })));
    assert_eq!(valid(&mut kit, &paths), [true, true, true]);
}

#[test]
fn roots_and_what_they_refer_to_stay() {
    let mut kit = kit();
    let paths = three(&mut kit);
    let script = format!("echo {} > $out", StoreDir::default().print(&paths[1]));
    let source = kit.store().path_infos(&paths[1..2]).unwrap().remove(0).unwrap();
    let drv = sh("root", &script).source(&source);
    let root = kit.build(&drv).remove("out").unwrap();
    let other = sh("garbage", "echo > $out");
    let garbage = kit.build(&other).remove("out").unwrap();
    let link = kit.scratch().join("result");
    localstore::collect::add_root(kit.store().layout(), kit.store().store_dir(), &link, &root.path).unwrap();
    let profile = kit.root().join("nix/var/nix/profiles/p-1-link");
    std::os::unix::fs::symlink(StoreDir::default().print(&paths[2]), profile).unwrap();
    kit.close();
    evict(kit.root(), 0).unwrap();
    let all = [paths.clone(), vec![root.path.clone(), garbage.path]].concat();
    assert_eq!(valid(&mut kit, &all), [false, true, true, true, false]);
    let id = |drv: &crate::kit::Drv| drv.resolved().output_ids(&StoreDir::default()).into_values().next().unwrap();
    let realised = kit.store().realisations(&[id(&drv), id(&other)]).unwrap();
    assert!(realised[0].is_some() && realised[1].is_none(), "realisations go with their paths");

    // Without the link the path is garbage.
    fs::remove_file(link).unwrap();
    kit.close();
    evict(kit.root(), 0).unwrap();
    assert_eq!(valid(&mut kit, &all), [false, false, true, false, false]);
}

#[test]
fn files_that_nobody_registered_go_with_an_eviction() {
    let mut kit = kit();
    three(&mut kit);
    let stray = kit.root().join("nix/store/00000000000000000000000000000000-stray");
    fs::create_dir(&stray).unwrap();
    kit.close();
    evict(kit.root(), 0).unwrap();
    assert!(!stray.exists());
}

#[test]
fn a_store_is_deleted_whole() {
    let mut kit = kit();
    kit.build(&sh("dir", "mkdir -p $out/a/b; echo > $out/a/b/c"));
    fs::write(kit.root().join("mine"), "").unwrap();
    kit.close();
    delete(kit.root()).unwrap();
    assert_eq!(fs::read_dir(kit.root()).unwrap().count(), 1, "a file of somebody else stays");
    fs::remove_file(kit.root().join("mine")).unwrap();
    kit.reopen();
    kit.close();
    delete(kit.root()).unwrap();
    assert!(!kit.root().exists());
}

#[test]
fn a_deletion_that_was_interrupted_can_be_repeated() {
    let mut kit = kit();
    three(&mut kit);
    kit.close();
    // As far as a deletion may have come: the files, and a part of what is no store any more.
    fs::remove_dir_all(kit.root().join("nix/store")).unwrap();
    fs::remove_file(kit.root().join("nix/var/nix/db/db.sqlite")).unwrap();
    fs::create_dir_all(kit.root().join("nix.deleted/var/nix")).unwrap();
    delete(kit.root()).unwrap();
    assert!(!kit.root().exists());
}

#[test]
fn a_directory_that_is_no_store_is_not_deleted() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("nix/store")).unwrap();
    let error = delete(directory.path()).unwrap_err().to_string();
    assert!(error.contains("is not a store"), "{error}");
    assert!(directory.path().join("nix/store").exists());
}

#[test]
fn what_a_crash_left_of_builds_is_cleared_when_the_store_is_opened() {
    let mut kit = kit();
    kit.close();
    let stale = kit.root().join("nix/var/splitter/builds/99-0");
    fs::create_dir_all(stale.join("0/store/x")).unwrap();
    fs::write(stale.join("lock"), "").unwrap();
    fs::set_permissions(stale.join("0/store/x"), std::os::unix::fs::PermissionsExt::from_mode(0o555)).unwrap();
    let store = LocalStore::open(kit.root()).unwrap();
    assert!(!stale.exists());
    drop(store);
}

#[test]
fn a_path_that_is_spoilt_is_forgotten_with_all_that_refer_to_it() {
    let mut kit = kit();
    let paths = three(&mut kit);
    assert_eq!(kit.store().forget_spoilt(&paths).unwrap(), []);
    assert_eq!(kit.store().forget_missing().unwrap(), []);
    fs::remove_file(kit.physical(&paths[0])).unwrap();
    fs::remove_file(kit.physical(&paths[1])).unwrap();
    fs::write(kit.physical(&paths[1]), "other").unwrap();
    assert_eq!(kit.store().forget_missing().unwrap(), [paths[0].clone()]);
    assert_eq!(kit.store().forget_spoilt(&paths).unwrap(), [paths[1].clone()]);
    assert_eq!(valid(&mut kit, &paths), [false, false, true]);
    // It can be made again.
    kit.add("b", &"b".repeat(1000));
    assert_eq!(valid(&mut kit, &paths), [false, true, true]);
    assert!(kit.store().verify().unwrap().is_good());
}

#[test]
fn verification_finds_what_was_changed_or_is_missing() {
    let mut kit = kit();
    let paths = three(&mut kit);
    let report = kit.store().verify().unwrap();
    assert!(report.is_good() && report.checked == 3, "{report:?}");
    fs::remove_file(kit.physical(&paths[0])).unwrap();
    fs::remove_file(kit.physical(&paths[1])).unwrap();
    fs::write(kit.physical(&paths[1]), "other").unwrap();
    fs::write(kit.root().join("nix/store/00000000000000000000000000000000-stray"), "").unwrap();
    let report = kit.store().verify().unwrap();
    assert_eq!(report.missing, [paths[0].clone()]);
    assert_eq!(report.changed.iter().map(|change| &change.path).collect::<Vec<_>>(), [&paths[1]]);
    assert_eq!(report.unregistered, ["00000000000000000000000000000000-stray"]);
    assert!(!report.is_good());
}
