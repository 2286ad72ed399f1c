//! Running derivations.

use crate::kit::{chain, kit, sh};
use nixstore::hash::Algorithm;
use nixstore::store::{BuildOptions, Failure, RealiseError};
use nixstore::{ContentAddress, DerivationOutput, Hash, Method, Sha256, Store as _, StoreDir, StorePath, nar, rewrite};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

fn print(info: &nixstore::PathInfo) -> String {
    StoreDir::default().print(&info.path)
}

#[test]
fn an_output_is_named_by_its_content_and_realised() {
    let kit = kit();
    let drv = sh("hello", "echo hi > $out");
    let out = &kit.build(&drv)["out"];
    let (hash, size) = nar::nar_hash(&kit.physical(&out.path)).unwrap();
    assert_eq!((out.nar_hash, out.nar_size), (hash, size));
    assert_eq!(out.ca, Some(ContentAddress::nar(hash)));
    assert_eq!(out.path, StoreDir::default().fixed_path(&"hello".parse().unwrap(), &ContentAddress::nar(hash)));
    assert_eq!(out.deriver, Some(drv.path()));
    assert!(out.ultimate);
    let id = drv.resolved().output_ids(&StoreDir::default()).remove(&"out".parse().unwrap()).unwrap();
    assert_eq!(kit.store().realisations(&[id]).unwrap()[0].as_ref().unwrap().path, out.path);
    assert_eq!(kit.leftovers(), [] as [String; 0]);
}

#[test]
fn what_an_output_names_of_its_inputs_are_its_references() {
    let kit = kit();
    let (used, unused) = (kit.add("used", "1\n"), kit.add("unused", "2\n"));
    let script = format!("read line < {}; echo $line {} > $out", print(&used), print(&used));
    let out = &kit.build(&sh("a", &script).source(&used).source(&unused))["out"];
    assert_eq!(out.references, [used.path.clone()].into());

    // What an input refers to may be referred to as well.
    let indirect = format!("read text < {}; echo $text > $out", print(out));
    let next = &kit.build(&sh("b", &indirect).source(out))["out"];
    assert_eq!(next.references, [used.path].into());
}

#[test]
fn outputs_may_name_themselves_and_each_other() {
    let kit = kit();
    let script =
        "mkdir $out $dev; echo $out $dev > $out/self; ln -s $dev/x $out/link; echo $dev > $dev/me; chmod 555 $dev";
    let outputs = kit.build(&sh("both", script).outputs(&["out", "dev"]));
    let (out, dev) = (&outputs["out"], &outputs["dev"]);
    assert_eq!(out.references, [out.path.clone(), dev.path.clone()].into());
    assert_eq!(dev.references, [dev.path.clone()].into());
    for info in [out, dev] {
        let mut bytes = Vec::new();
        nar::dump(&kit.physical(&info.path), &mut bytes).unwrap();
        assert_eq!(Sha256::of(&bytes), info.nar_hash);
        let modulo = rewrite::hash_modulo(&bytes, &info.path);
        assert_eq!(info.ca, Some(ContentAddress::nar(modulo)));
        let mut others = info.references.clone();
        others.remove(&info.path);
        assert_eq!(info.path, StoreDir::default().source_path(info.path.name(), &modulo, &others, true));
    }
    let text = fs::read_to_string(kit.physical(&out.path).join("self")).unwrap();
    assert_eq!(text, format!("{} {}\n", print(out), print(dev)));
    let link = fs::read_link(kit.physical(&out.path).join("link")).unwrap();
    assert_eq!(link.to_str().unwrap(), format!("{}/x", print(dev)));
    assert_eq!(crate::kit::mode(&kit.physical(&dev.path)), 0o555);
}

#[test]
fn outputs_that_name_each_other_in_a_circle_are_refused() {
    let kit = kit();
    let (reason, _) = kit.fail(&sh("circle", "echo $b > $a; echo $a > $b").outputs(&["a", "b"]));
    assert!(matches!(&reason, Failure::BadOutput { problem, .. } if problem.contains("circle")), "{reason}");
    assert_eq!(kit.files().len(), 0);
}

#[test]
fn outputs_can_be_symlinks_and_directories() {
    let kit = kit();
    let outputs = kit.build(
        &sh("kinds", "ln -s nowhere $link; mkdir -p $dir/a/b; echo > $dir/a/f; chmod +x $dir/a/f")
            .outputs(&["link", "dir"]),
    );
    assert_eq!(fs::read_link(kit.physical(&outputs["link"].path)).unwrap().to_str(), Some("nowhere"));
    assert_eq!(crate::kit::mode(&kit.physical(&outputs["dir"].path).join("a/f")), 0o555);
    assert_eq!(crate::kit::mode(&kit.physical(&outputs["dir"].path).join("a/b")), 0o555);
}

#[test]
fn the_same_content_of_two_derivations_is_one_path() {
    let kit = kit();
    let a = &kit.build(&sh("x", "echo 1 > $out"))["out"];
    let b = &kit.build(&sh("x", "echo $((2 - 1)) > $out"))["out"];
    assert_eq!(a, b);
    assert_eq!(kit.files().len(), 1);
}

#[test]
fn a_path_that_is_spoilt_is_mended_by_whatever_makes_the_same_again() {
    let kit = kit();
    let make = |i: usize, does: &str| kit.build(&sh("x", &format!(": {i}; {does}")))["out"].path.clone();
    let file = |path: &StorePath, text: &str| {
        fs::remove_file(kit.physical(path)).unwrap();
        fs::write(kit.physical(path), text).unwrap();
    };
    let path = make(0, "echo text > $out");
    for (i, spoilt) in ["te", "tent\n", "longer than that\n"].into_iter().enumerate() {
        file(&path, spoilt);
        assert_eq!(make(i + 1, "echo text > $out"), path);
        assert_eq!(fs::read_to_string(kit.physical(&path)).unwrap(), "text\n");
    }
    fs::remove_file(kit.physical(&path)).unwrap();
    make(4, "echo text > $out");
    let tree = make(0, "mkdir $out; echo text > $out/a");
    fs::set_permissions(kit.physical(&tree), PermissionsExt::from_mode(0o755)).unwrap();
    fs::remove_file(kit.physical(&tree).join("a")).unwrap();
    make(5, "mkdir $out; echo text > $out/a");
    assert!(kit.store().verify().unwrap().is_good());
    assert_eq!(kit.leftovers(), [] as [String; 0]);
}

#[test]
fn a_builder_finds_the_environment_that_nix_gives() {
    let kit = kit();
    let script = "env | sort > $out; pwd >> $out; cat $bigPath >> $out";
    let drv = sh("env", script).env("big", "LARGE").env("passAsFile", "big").env("HOME", "/mine");
    let text = fs::read_to_string(kit.physical(&kit.build(&drv)["out"].path)).unwrap();
    for line in [
        "HOME=/mine",
        "NIX_STORE=/nix/store",
        "NIX_BUILD_TOP=/build",
        "TMPDIR=/build",
        "TERM=xterm-256color",
        "NIX_LOG_FD=2",
        "name=env",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line} in {text}");
    }
    assert!(text.contains("\n/build\nLARGE"), "{text}");
    assert!(!text.contains("big=") && !text.contains("NIX_OUTPUT_CHECKED"), "{text}");
}

#[test]
fn structured_attributes_come_as_files_with_the_outputs_in_them() {
    let kit = kit();
    let drv = sh("attrs", "exec /bin/bash -c '. $NIX_ATTRS_SH_FILE; echo ${list[1]} > ${outputs[out]}; /bin/cat $NIX_ATTRS_JSON_FILE > ${outputs[json]}'")
        .outputs(&["out", "json"])
        .env("__json", r#"{"list":["a","b c"],"outputs":["out","json"],"name":"attrs"}"#);
    let outputs = kit.build(&drv);
    assert_eq!(fs::read_to_string(kit.physical(&outputs["out"].path)).unwrap(), "b c\n");
    let json = fs::read_to_string(kit.physical(&outputs["json"].path)).unwrap();
    assert!(json.contains(r#""outputs":{"json":"/nix/store/"#), "{json}");
    assert_eq!(outputs["json"].references.len(), 2, "the JSON names both outputs: {json}");
}

#[test]
fn a_failure_gives_the_log_and_leaves_the_store_as_it_was() {
    let kit = kit();
    let drv = sh("fails", "echo to out; echo to err >&2; mkdir -p $out/a; chmod 555 $out/a; exit 3");
    let (reason, log) = kit.fail(&drv);
    assert_eq!(reason, Failure::Exit(3));
    assert_eq!(log, "to out\nto err\n");
    assert_eq!(kit.store().log(&drv.path()).unwrap().as_deref(), Some(log.as_bytes()));
    let base = drv.path().to_string();
    assert!(kit.root().join("nix/var/log/nix/drvs").join(&base[..2]).join(&base[2..]).is_file());
    assert_eq!(kit.files().len(), 0);
    assert_eq!(kit.leftovers(), [] as [String; 0]);
}

#[test]
fn the_log_of_a_success_is_kept_if_there_is_any() {
    let kit = kit();
    let (talks, silent) = (sh("talks", "echo warning; echo > $out"), sh("silent", "echo > $out"));
    kit.build(&talks);
    kit.build(&silent);
    assert_eq!(kit.store().log(&talks.path()).unwrap().as_deref(), Some(&b"warning\n"[..]));
    assert_eq!(kit.store().log(&silent.path()).unwrap(), None);
}

#[test]
fn an_output_that_is_not_made_is_named() {
    let kit = kit();
    let (reason, _) = kit.fail(&sh("lazy", "echo > $out").outputs(&["out", "doc"]));
    assert_eq!(reason.to_string(), "output `doc`: the builder has not made it");
    assert_eq!(kit.files().len(), 0);
}

#[test]
fn an_output_with_a_pipe_in_it_is_refused() {
    let kit = kit();
    let (reason, _) = kit.fail(&sh("pipe", "mkdir $out; mkfifo $out/p"));
    assert_eq!(reason.to_string(), "output `out`: `p` is neither a file nor a directory nor a symlink");
    assert_eq!(kit.leftovers(), [] as [String; 0]);
}

#[test]
fn a_builder_that_takes_too_long_is_stopped() {
    let kit = kit();
    let cancelled = AtomicBool::new(false);
    let options = BuildOptions { timeout: Some(Duration::from_millis(200)), cancelled: &cancelled };
    let result = kit.store().realise(&sh("slow", "sleep 60").resolved(), &options);
    assert!(matches!(result, Err(RealiseError::Failed { reason: Failure::TimedOut(_), .. })));
    cancelled.store(true, std::sync::atomic::Ordering::Relaxed);
    let result = kit.store().realise(&sh("slow", "sleep 61").resolved(), &options);
    assert!(matches!(result, Err(RealiseError::Failed { reason: Failure::Cancelled, .. })));
}

#[test]
fn a_fixed_output_has_the_hash_that_was_stated() {
    let kit = kit();
    let flat = |text: &str| {
        DerivationOutput::Fixed(ContentAddress { method: Method::Flat, hash: Hash::Sha256(Sha256::of(text)) })
    };
    let good =
        sh("f", "echo -n data > $out; test $NIX_OUTPUT_CHECKED = 1").without_outputs().output("out", flat("data"));
    let out = &kit.build(&good)["out"];
    assert_eq!(fs::read(kit.physical(&out.path)).unwrap(), b"data");
    assert_eq!(out.ca.as_ref().unwrap().method, Method::Flat);

    let (reason, _) = kit.fail(&sh("g", "echo -n other > $out").without_outputs().output("out", flat("data")));
    let text = reason.to_string();
    assert!(text.contains("should be `sha256-") && text.contains("but is `sha256-"), "{text}");
    let (reason, _) = kit.fail(&sh("h", "mkdir $out").without_outputs().output("out", flat("data")));
    assert!(reason.to_string().contains("hashed as `flat`"), "{reason}");
}

#[test]
fn floating_outputs_can_be_hashed_as_files() {
    let kit = kit();
    let source = kit.add("dep", "x");
    let text = DerivationOutput::Floating { method: Method::Text, algorithm: Algorithm::Sha256 };
    let script = format!("echo {} > $out", print(&source));
    let out = &kit.build(&sh("x.drv", &script).without_outputs().output("out", text.clone()).source(&source))["out"];
    assert_eq!(out.references, [source.path.clone()].into());
    let contents = fs::read(kit.physical(&out.path)).unwrap();
    assert_eq!(out.path, StoreDir::default().text_path(out.path.name(), &Sha256::of(contents), &out.references));

    let (reason, _) = kit.fail(&sh("y", "echo $out > $out").without_outputs().output("out", text));
    assert!(matches!(reason, Failure::BadOutput { .. }));
    let flat = DerivationOutput::Floating { method: Method::Flat, algorithm: Algorithm::Sha512 };
    let out = &kit.build(&sh("z", "echo > $out").without_outputs().output("out", flat))["out"];
    assert!(out.ca.as_ref().unwrap().to_string().starts_with("fixed:sha512:"));
}

#[test]
fn an_input_addressed_output_may_name_itself() {
    let kit = kit();
    let path: StorePath = "00000000000000000000000000000000-ia".parse().unwrap();
    let drv =
        sh("ia", "echo $out > $out").without_outputs().output("out", DerivationOutput::InputAddressed(path.clone()));
    let out = &kit.build(&drv)["out"];
    assert_eq!((&out.path, &out.ca), (&path, &None));
    assert_eq!(out.references, [path.clone()].into());
    // Run again, what is valid stays.
    assert_eq!(&kit.build(&drv)["out"], out);
    assert_eq!(fs::read_to_string(kit.physical(&path)).unwrap(), format!("/nix/store/{path}\n"));
}

#[test]
fn the_last_result_of_a_derivation_that_gives_different_ones_counts() {
    let kit = kit();
    let drv = sh("random", "cat /proc/sys/kernel/random/uuid > $out");
    let (first, second) = (kit.build(&drv).remove("out").unwrap(), kit.build(&drv).remove("out").unwrap());
    assert_ne!(first.path, second.path);
    let id = drv.resolved().output_ids(&StoreDir::default()).remove(&"out".parse().unwrap()).unwrap();
    assert_eq!(kit.store().realisations(&[id]).unwrap()[0].as_ref().unwrap().path, second.path);
}

#[test]
fn many_can_realise_the_same_at_once() {
    let kit = kit();
    let second = kit.open_again();
    let drv = sh("same", "mkdir $out; echo $out > $out/a");
    let cancelled = AtomicBool::new(false);
    let options = BuildOptions { timeout: None, cancelled: &cancelled };
    let resolved = drv.resolved();
    let paths: Vec<_> = std::thread::scope(|scope| {
        let run = |store: &localstore::LocalStore| {
            store.realise(&resolved, &options).unwrap().outputs.into_values().next().unwrap().path
        };
        let threads: Vec<_> = [kit.store(), &second, kit.store(), &second]
            .into_iter()
            .map(|store| scope.spawn(move || run(store)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(paths.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(kit.files().len(), 1);
}

#[test]
fn what_this_builder_cannot_do_is_refused_before_it_starts() {
    let kit = kit();
    let refused = |drv: &crate::kit::Drv| match kit.try_build(drv) {
        Err(RealiseError::Store(error)) => chain(&error),
        other => panic!("{other:?}"),
    };
    let text = refused(&sh("a", "").system("riscv128-linux"));
    assert!(text.contains("riscv128-linux"), "{text}");
    let text = refused(&sh("a", "").builder("builtin:fetchurl"));
    assert!(text.contains("part of Nix"), "{text}");
    let sha1 = DerivationOutput::Floating { method: Method::Nar, algorithm: Algorithm::Sha1 };
    let text = refused(&sh("a", "").without_outputs().output("out", sha1));
    assert!(text.contains("r:sha1"), "{text}");
    let foreign = crate::kit::kit();
    let missing = foreign.add("missing", "not in the other store");
    let text = refused(&sh("a", "").source(&missing));
    assert!(text.contains(&print(&missing)) && text.contains("not in the store"), "{text}");
}
