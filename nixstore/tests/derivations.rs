//! Which derivations are refused, and how they are resolved.

use nixstore::aterm::Problem;
use nixstore::derivation::{DerivationOutput, InputOutputs, InvalidOutputs};
use nixstore::hash::Algorithm;
use nixstore::modulo::{ModuloError, Modulos};
use nixstore::resolve::ResolveError;
use nixstore::{
    ContentAddress, Derivation, DerivedPath, Method, OutputName, Placeholder, ResolvedDerivation, Sha256, StoreDir,
    StorePath,
};
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn only_the_text_that_nix_would_write_is_read() {
    let good = r#"Derive([("out","","r:sha256","")],[],[],"s","b",["a"],[("a","1"),("b","2")])"#;
    assert_eq!(refused(good), None);
    // What is wrong, and the text from where it is wrong.
    let cases = [
        ("", "", Problem::Missing("Derive(")),
        ("derive(", "derive(", Problem::Missing("Derive(")),
        (&good[..good.len() - 1], "", Problem::Missing(")")),
        (&format!("{good}\n"), "\n", Problem::Trailing),
        // Sorted, and each only once.
        (&good.replace(r#"("b","2")"#, r#"("a","2")"#), r#"("a","2")])"#, Problem::Unsorted),
        (&good.replace(r#"("b","2")"#, r#"("A","2")"#), r#"("A","2")])"#, Problem::Unsorted),
        // Escapes where they are needed and nowhere else.
        (&good.replace(r#"["a"]"#, r#"["\a"]"#), r#"\a"],"#, Problem::String),
        (&good.replace(r#"["a"]"#, "[\"\t\"]"), "\t\"],", Problem::String),
        (&good[..good.len() - 4], r#""2"#, Problem::String),
        // Versions, names, paths and hashes that are unknown.
        (&good.replace("r:sha256", "r:sha3"), r#""r:sha3""#, not("a method and an algorithm", "r:sha3")),
        (&good.replace("Derive(", "DrvWithVersion(\"xp-dyn-drv\","), "", Problem::Version),
        (&good.replace("Derive(", "DrvWithVersion(\"new\","), "Drv", Problem::Missing("Derive(")),
        (&good.replace(r#""out",""#, r#""out","/nix/store/x"#), r#""/nix"#, not("a path", "/nix/store/x")),
        (&good.replace(r#""out""#, r#""a/b""#), r#""a/b""#, not("the name of an output", "a/b")),
        (&good.replace(r#"r:sha256","""#, r#"","impure""#), r#""","","impure""#, Problem::OutputKind),
    ];
    for (text, rest, problem) in cases {
        let (position, found) = refused(text).unwrap_or_else(|| panic!("it was read: {text}"));
        assert_eq!(found, problem, "{text}");
        assert!(
            text[position..].starts_with(rest) && rest.is_empty() == (position == text.len()),
            "{position}: {text}"
        );
    }
}

#[test]
fn a_fixed_output_has_the_path_of_its_content() {
    let dir = StoreDir::default();
    let mut drv = floating("fixed");
    let ca = ContentAddress::nar(Sha256::of("content"));
    drv.outputs.insert(out(), DerivationOutput::Fixed(ca.clone()));
    let aterm = String::from_utf8(drv.to_aterm(&dir)).unwrap();
    let path = dir.fixed_path(&drv.name, &ca);
    assert!(aterm.contains(&dir.print(&path)));
    let other = dir.print(&StorePath::new([5; 20], drv.name.clone()));
    let wrong = aterm.replace(&dir.print(&path), &other);
    assert_eq!(Derivation::from_aterm(&dir, &drv.name, wrong.as_bytes()).unwrap_err().problem, Problem::FixedPath);
    // The path depends on the name, which is not in the text.
    let renamed = Derivation::from_aterm(&dir, &"other".parse().unwrap(), aterm.as_bytes());
    assert_eq!(renamed.unwrap_err().problem, Problem::FixedPath);
}

#[test]
fn inputs_nested_without_end_do_not_exhaust_the_stack() {
    let path = "/nix/store/70d21lccfcrmdpqfg1gj5acybbdan6mg-hello.drv.drv";
    let nested = r#"([],[("out","#.repeat(100_000);
    let text = format!(r#"DrvWithVersion("xp-dyn-drv",[("out","","r:sha256","")],[("{path}",{nested}"#);
    assert_eq!(refused(&text).unwrap().1, Problem::TooDeep);
}

#[test]
fn the_outputs_of_a_derivation_go_together() {
    let fixed = DerivationOutput::Fixed(ContentAddress::nar(Sha256::of("")));
    let hashed = |algorithm| DerivationOutput::Floating { method: Method::Nar, algorithm };
    let cases = [
        (vec![], InvalidOutputs::None),
        (vec![("a", DerivationOutput::Deferred), ("b", hashed(Algorithm::Sha256))], InvalidOutputs::Mixed),
        (vec![("a", fixed.clone())], InvalidOutputs::FixedIsOut),
        (vec![("out", fixed.clone()), ("p", fixed)], InvalidOutputs::FixedIsOut),
        (vec![("a", hashed(Algorithm::Sha256)), ("b", hashed(Algorithm::Sha1))], InvalidOutputs::Algorithms),
    ];
    for (outputs, problem) in cases {
        let mut drv = floating("x");
        drv.outputs = outputs.into_iter().map(|(name, output)| (name.parse().unwrap(), output)).collect();
        assert_eq!(drv.kind(), Err(problem.clone()));
        assert_eq!(ResolvedDerivation::try_from(drv), Err(ResolveError::Outputs(problem)));
    }
    let mut long = floating(&"n".repeat(205));
    assert!(long.kind().is_ok());
    long.outputs.insert("output".parse().unwrap(), hashed(Algorithm::Sha256));
    assert!(matches!(long.kind(), Err(InvalidOutputs::LongName(_))));
}

#[test]
fn placeholders_are_replaced_wherever_they_stand() {
    let dir = StoreDir::default();
    let input = floating("input").path(&dir);
    let built = StorePath::new([1; 20], "input".parse().unwrap());
    let placeholder = DerivedPath::Built(input.clone(), out()).text(&dir);
    let path = dir.print(&built);
    let mut drv = floating("user");
    drv.input_drvs.insert(input.clone(), needed(&["out"]));
    drv.builder = format!("{placeholder}/bin/sh").into();
    drv.args = vec![
        format!("{placeholder}{placeholder}").into(),
        format!("/{placeholder}/").into(),
        format!("-I{}", &placeholder[..placeholder.len() - 1]).into(),
        format!("//{}", Placeholder::own(&out())).into(),
    ];
    drv.env.insert(format!("K{placeholder}").into(), format!("a {placeholder} b").into());

    let resolved = drv.resolve(&dir, |drv, output| (*drv == input && *output == out()).then(|| built.clone())).unwrap();
    let resolved = resolved.get();
    assert_eq!(resolved.builder, format!("{path}/bin/sh"));
    assert_eq!(resolved.args[0], format!("{path}{path}"));
    assert_eq!(resolved.args[1], format!("/{path}/"));
    assert_eq!(resolved.args[2..], drv.args[2..], "what is no placeholder of an input stays");
    assert_eq!(resolved.env[bstr::BStr::new(&format!("K{path}"))], format!("a {path} b"));
    assert_eq!(resolved.input_srcs, BTreeSet::from([built]));
    assert!(resolved.input_drvs.is_empty());
}

#[test]
fn an_output_that_is_not_built_is_named() {
    let dir = StoreDir::default();
    let input = floating("input").path(&dir);
    let mut drv = floating("user");
    drv.input_drvs.insert(input.clone(), needed(&["out"]));
    let error = drv.resolve(&dir, |_, _| None).unwrap_err();
    assert_eq!(error, ResolveError::NotBuilt { drv: input.clone(), output: out() });
    assert_eq!(error.to_string(), format!("the path of output `out` of `{input}` is not known"));
    assert_eq!(ResolvedDerivation::try_from(drv), Err(ResolveError::Unresolved(input)));
}

#[test]
fn an_output_of_an_output_is_found_through_the_derivation_that_came_out() {
    let dir = StoreDir::default();
    let producer = floating("made.drv").path(&dir);
    let made = floating("made").path(&dir);
    let result = StorePath::new([2; 20], "made".parse().unwrap());
    let mut drv = floating("user");
    let inner = needed(&["out"]);
    drv.input_drvs
        .insert(producer.clone(), InputOutputs { outputs: BTreeSet::new(), dynamic: BTreeMap::from([(out(), inner)]) });
    drv.args = vec![Placeholder::upstream(&producer, &out()).dynamic(&out()).to_string().into()];
    let find = |drv: &StorePath, _: &OutputName| match drv {
        drv if *drv == producer => Some(made.clone()),
        drv if *drv == made => Some(result.clone()),
        _ => None,
    };
    let resolved = drv.resolve(&dir, find).unwrap();
    assert_eq!(resolved.get().args, [dir.print(&result)]);
    assert_eq!(resolved.get().input_srcs, BTreeSet::from([result.clone()]), "the derivation itself is no source");

    let no_derivation = drv.resolve(&dir, |_, _| Some(result.clone()));
    assert_eq!(no_derivation, Err(ResolveError::NotADerivation(result)));
}

#[test]
fn a_deferred_output_has_no_path_before_it_is_resolved() {
    let dir = StoreDir::default();
    let mut drv = floating("deferred");
    drv.outputs.insert(out(), DerivationOutput::Deferred);
    drv.env.insert("out".into(), "".into());
    assert_eq!(ResolvedDerivation::try_from(drv.clone()), Err(ResolveError::Deferred));
    let resolved = drv.resolve(&dir, |_, _| None).unwrap();
    let DerivationOutput::InputAddressed(path) = &resolved.get().outputs[&out()] else { panic!("it has none") };
    assert_eq!(resolved.get().env[bstr::BStr::new("out")], dir.print(path));
    // The path is masked in the hash that it follows from.
    assert_eq!(dir.output_path(&drv.name, &out(), &resolved.output_ids(&dir)[&out()].drv_hash), *path);
}

#[test]
fn a_long_chain_of_derivations_is_hashed() {
    let dir = StoreDir::default();
    let mut chain = BTreeMap::new();
    let mut last = floating("link").path(&dir);
    chain.insert(last.clone(), floating("link"));
    for i in 0..20_000 {
        let mut drv = floating("link");
        drv.args = vec![i.to_string().into()];
        drv.input_drvs.insert(last, needed(&["out"]));
        last = drv.path(&dir);
        chain.insert(last.clone(), drv);
    }
    let mut loads = 0;
    let mut modulos = Modulos::new(&dir, |path: &StorePath| {
        loads += 1;
        chain.get(path).cloned()
    });
    assert!(modulos.get(&last, &out()).unwrap().deferred);
    assert_eq!(modulos.get(&last, &"dev".parse().unwrap()), None, "it has no such output");
    assert_eq!(loads, chain.len());
}

#[test]
fn derivations_that_need_each_other_have_no_hash() {
    let dir = StoreDir::default();
    let (a, b) = (floating("a").path(&dir), floating("b").path(&dir));
    let load = |path: &StorePath| {
        let mut drv = floating("liar");
        drv.input_drvs.insert(if *path == a { b.clone() } else { a.clone() }, needed(&["out"]));
        Some(drv)
    };
    assert_eq!(Modulos::new(&dir, load).get(&a, &out()), None);
}

#[test]
fn a_missing_input_is_named() {
    let dir = StoreDir::default();
    let input = floating("input").path(&dir);
    let mut drv = floating("user");
    drv.input_drvs.insert(input.clone(), needed(&["out"]));
    assert_eq!(drv.output_ids(&dir, |_, _| None), Err(ModuloError::MissingInput { drv: input, output: out() }));
}

#[test]
fn references_are_only_for_archives_and_texts() {
    let dir = StoreDir::default();
    let name = "x".parse().unwrap();
    let other = BTreeSet::from([StorePath::new([1; 20], "other".parse().unwrap())]);
    let none = BTreeSet::new();
    let hash = Sha256::of("content");
    let flat = ContentAddress { method: Method::Flat, hash: hash.into() };
    assert!(dir.path_of(&name, &ContentAddress::nar(hash), &other, true).is_ok());
    assert!(dir.path_of(&name, &ContentAddress::text(hash), &other, false).is_ok());
    assert!(dir.path_of(&name, &flat, &none, false).is_ok());
    let refused = [
        dir.path_of(&name, &ContentAddress::text(hash), &none, true),
        dir.path_of(&name, &flat, &other, false),
        dir.path_of(&name, &flat, &none, true),
    ];
    assert!(refused.iter().all(Result::is_err));
    let error = refused[1].clone().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("a path with the content address `fixed:sha256:{}` cannot name other paths", hash.nix32())
    );
}

#[test]
fn a_store_elsewhere_gives_other_paths() {
    let elsewhere = StoreDir::new("/home/me/store").unwrap();
    let drv = floating("x");
    assert_ne!(drv.path(&elsewhere), drv.path(&StoreDir::default()));
    assert_eq!(elsewhere.parse(&elsewhere.print(&drv.path(&elsewhere))), Ok(drv.path(&elsewhere)));
    for directory in ["", "/", "relative", "/a/", "/a//b", "/a/../b"] {
        assert!(StoreDir::new(directory).is_err(), "{directory}");
    }
}

fn floating(name: &str) -> Derivation {
    let output = DerivationOutput::Floating { method: Method::Nar, algorithm: Algorithm::Sha256 };
    Derivation {
        name: name.parse().unwrap(),
        outputs: BTreeMap::from([(out(), output)]),
        input_drvs: BTreeMap::new(),
        input_srcs: BTreeSet::new(),
        system: "x86_64-linux".into(),
        builder: "/bin/sh".into(),
        args: vec![],
        env: BTreeMap::from([("name".into(), name.into())]),
    }
}

fn out() -> OutputName {
    "out".parse().unwrap()
}

fn needed(outputs: &[&str]) -> InputOutputs {
    InputOutputs { outputs: outputs.iter().map(|output| output.parse().unwrap()).collect(), dynamic: BTreeMap::new() }
}

fn refused(aterm: &str) -> Option<(usize, Problem)> {
    let error = Derivation::from_aterm(&StoreDir::default(), &"x".parse().unwrap(), aterm.as_bytes()).err()?;
    Some((error.position, error.problem))
}

fn not(what: &'static str, text: &str) -> Problem {
    Problem::Not { what, text: text.into() }
}
