//! Adding files and trees.

use crate::kit::{chain, kit, mode, not_run};
use localstore::{LocalStore, files};
use nixstore::{Store as _, Tree, nar};
use rustix::fs::{XattrFlags, llistxattr, lsetxattr};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

#[test]
fn a_file_that_is_added_is_there_with_the_metadata_of_a_store() {
    let kit = kit();
    let info = kit.add("hello.txt", "hello\n");
    let file = kit.physical(&info.path);
    assert_eq!(fs::read(&file).unwrap(), b"hello\n");
    assert_eq!((mode(&file), fs::metadata(&file).unwrap().mtime()), (0o444, 1));
    assert_eq!(nar::nar_hash(&file).unwrap(), (info.nar_hash, info.nar_size));
    assert_eq!(kit.store().path_infos(std::slice::from_ref(&info.path)).unwrap(), [Some(info)]);
}

#[test]
fn a_tree_is_the_same_path_as_its_copy() {
    let kit = kit();
    let tree = Tree::directory([
        ("bin", Tree::directory([("run", Tree::executable("#!/bin/sh\n"))])),
        ("empty", Tree::directory::<&str>([])),
        ("link", Tree::symlink("bin/run")),
    ]);
    let (a, b) = (kit.scratch().join("a"), kit.scratch().join("b"));
    tree.write(&a).unwrap();
    tree.write(&b).unwrap();
    let name = "tree".parse().unwrap();
    let first = kit.store().add_path(&name, &a).unwrap();
    assert_eq!(kit.store().add_path(&name, &b).unwrap(), first);
    assert_eq!(Tree::read(&kit.physical(&first.path)).unwrap(), tree);
    assert_eq!(mode(&kit.physical(&first.path).join("bin/run")), 0o555);
    assert_eq!(mode(&kit.physical(&first.path)), 0o555);
    assert_eq!(kit.leftovers(), [] as [String; 0]);
}

#[test]
fn what_is_added_is_valid_after_the_store_was_closed() {
    let mut kit = kit();
    let info = kit.add("a", "one");
    kit.reopen();
    assert_eq!(kit.store().path_infos(std::slice::from_ref(&info.path)).unwrap(), [Some(info.clone())]);
    assert_eq!(kit.add("a", "one"), info);
}

#[test]
fn what_is_to_be_added_stays_when_another_opens_the_store() {
    let mut kit = kit();
    let scratch = kit.store().scratch().unwrap();
    let tree = scratch.join("tree");
    fs::create_dir(&tree).unwrap();
    drop(LocalStore::open(kit.root()).unwrap());
    assert!(tree.exists());
    kit.reopen();
    assert!(!scratch.exists());
}

#[test]
fn a_tree_larger_than_memory_is_to_hold_is_copied_as_it_is() {
    let kit = kit();
    let source = kit.scratch().join("large");
    let block: Vec<u8> = (0..1 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(&source, block.repeat(70)).unwrap();
    let info = kit.store().add_path(&"large".parse().unwrap(), &source).unwrap();
    assert_eq!(nar::nar_hash(&kit.physical(&info.path)).unwrap(), (info.nar_hash, info.nar_size));
    assert_eq!(nar::nar_hash(&source).unwrap().0, info.nar_hash);
}

#[test]
fn what_a_crash_left_in_the_way_is_replaced() {
    let kit = kit();
    let tree = kit.scratch().join("tree");
    Tree::directory([("a", Tree::file("whole"))]).write(&tree).unwrap();
    let info = kit.store().add_path(&"tree".parse().unwrap(), &tree).unwrap();

    // Another store, in which the same path is half written and not valid.
    let other = crate::kit::kit();
    let at = other.physical(&info.path);
    fs::create_dir(&at).unwrap();
    fs::write(at.join("b"), "ha").unwrap();
    fs::set_permissions(&at, std::os::unix::fs::PermissionsExt::from_mode(0o555)).unwrap();
    other.store().add_path(&"tree".parse().unwrap(), &tree).unwrap();
    assert_eq!(nar::nar_hash(&at).unwrap().0, info.nar_hash);
    assert_eq!(other.leftovers(), [] as [String; 0]);
}

#[test]
fn many_threads_and_stores_can_add_the_same_path() {
    let kit = kit();
    let second = LocalStore::open(kit.root()).unwrap();
    let tree = kit.scratch().join("tree");
    Tree::directory((0..20).map(|i| (format!("f{i}"), Tree::file("x")))).write(&tree).unwrap();
    for round in 0..10 {
        let name = format!("tree{round}").parse().unwrap();
        let infos: Vec<_> = std::thread::scope(|scope| {
            let add = |store: &'_ LocalStore| store.add_path(&name, &tree).map_err(|error| chain(&error)).unwrap();
            let threads: Vec<_> = [kit.store(), &second, kit.store(), &second]
                .into_iter()
                .map(|store| scope.spawn(move || add(store)))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(infos.windows(2).all(|pair| pair[0].path == pair[1].path));
        assert_eq!(nar::nar_hash(&kit.physical(&infos[0].path)).unwrap().0, infos[0].nar_hash);
    }
}

#[test]
fn a_source_that_is_missing_is_named() {
    let kit = kit();
    let error = kit.store().add_path(&"a".parse().unwrap(), &kit.scratch().join("missing")).unwrap_err();
    assert!(chain(&error).contains("missing"), "{}", chain(&error));
}

#[test]
fn a_store_opened_by_many_at_once_is_made_once() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("new/root");
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| LocalStore::open(&root).map(drop))).collect();
        for thread in threads {
            thread.join().unwrap().unwrap();
        }
    });
    localstore::delete(&root).unwrap();
}

#[test]
fn extended_attributes_are_taken_off() {
    let kit = kit();
    let tree = kit.scratch().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), "").unwrap();
    for path in [&tree, &tree.join("file")] {
        if let Err(error) = lsetxattr(path, "user.note", b"text", XattrFlags::empty()) {
            return not_run("extended_attributes_are_taken_off", &error.to_string());
        }
    }
    fs::set_permissions(tree.join("file"), fs::Permissions::from_mode(0o444)).unwrap();
    files::canonicalise(&tree).unwrap();
    for path in [&tree, &tree.join("file")] {
        let mut names = [0; 1024];
        let size = llistxattr(path, &mut names).unwrap();
        assert!(!names[..size].starts_with(b"user."), "{}", path.display());
    }
    assert_eq!(mode(&tree.join("file")), 0o444);
}
