//! What Nix 2.34.8 wrote, read and written again: every entry of `vectors/`.

use nixstore::aterm::Mask;
use nixstore::content_address::Method;
use nixstore::derivation::{DerivationOutput, InputOutputs, Kind};
use nixstore::hash::Algorithm;
use nixstore::modulo::Modulos;
use nixstore::nar::{self, Reader};
use nixstore::path::StoreName;
use nixstore::path_info::NarInfo;
use nixstore::rewrite::{HashModulo, Rewriter};
use nixstore::scan::ReferenceScanner;
use nixstore::{
    ContentAddress, Derivation, DerivedPath, DrvOutputId, Hash, OutputName, PathInfo, Placeholder, Realisation,
    ResolvedDerivation, Sha256, StoreDir, StorePath, Tree, base32,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

#[test]
fn nixbase32_is_written_and_read_as_by_nix() {
    for entry in list(&basics()["nix32"]) {
        let (hex, nix32) = (text(&entry["hex"]), text(&entry["nix32"]));
        let bytes = unhex(hex);
        assert_eq!(base32::encode(&bytes), nix32);
        assert_eq!(base32::decode(nix32.as_bytes(), bytes.len()).unwrap(), bytes);
    }
}

#[test]
fn a_hash_is_folded_to_20_bytes_as_by_nix() {
    let basics = basics();
    let vector = &basics["compress_hash_20"];
    let folded = Sha256::from_hex(text(&vector["input"])).unwrap().compress::<20>();
    assert_eq!(folded.to_vec(), unhex(text(&vector["output"])));
}

#[test]
fn an_archive_becomes_files_and_these_the_same_archive() {
    let basics = basics();
    let files = list(&basics["nar"]).iter().map(|entry| text(&entry["file"])).chain(["nar/self-ref-multi.nar"]);
    for file in files {
        let archive = fs::read(vector(file)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("restored");
        nar::restore(archive.as_slice(), &path).unwrap();

        let mut dumped = Vec::new();
        nar::dump(&path, &mut dumped).unwrap();
        assert!(dumped == archive, "{file}");
        assert_eq!(nar::nar_hash(&path).unwrap(), (Sha256::of(&archive), archive.len() as u64));
        let tree = Tree::from_nar(&archive).unwrap();
        assert!(tree.to_nar() == archive, "{file}");
        assert_eq!(Tree::read(&path).unwrap(), tree);
    }
}

#[test]
fn archives_have_the_hashes_and_the_paths_that_nix_gives_them() {
    let dir = StoreDir::default();
    let none = BTreeSet::new();
    for entry in list(&basics()["nar"]) {
        let archive = fs::read(vector(text(&entry["file"]))).unwrap();
        let name = name(&entry["name"]);
        let hash = Sha256::of(&archive);
        assert_eq!(archive.len(), entry["size"].as_u64().unwrap() as usize);
        assert_eq!(hash.hex(), text(&entry["sha256_hex"]));
        assert_eq!(hash.nix32(), text(&entry["sha256_nix32"]));
        assert_eq!(Sha256::from_nix32(&hash.nix32()).unwrap(), hash);
        assert_eq!(dir.print(&dir.source_path(&name, &hash, &none, false)), text(&entry["source_path"]));
        if let Tree::File { contents, executable: false } = Tree::from_nar(&archive).unwrap() {
            let flat = Sha256::of(&contents);
            assert_eq!(dir.print(&dir.text_path(&name, &flat, &none)), text(&entry["text_path"]));
            let ca = ContentAddress { method: Method::Flat, hash: flat.into() };
            assert_eq!(dir.print(&dir.fixed_path(&name, &ca)), text(&entry["flat_path"]));
            let mut written = Vec::new();
            nar::dump_file(&contents, false, &mut written).unwrap();
            assert!(written == archive);
        } else {
            assert!(entry.get("text_path").is_none() && entry.get("flat_path").is_none());
        }
    }
}

#[test]
fn paths_follow_from_what_they_name() {
    let dir = StoreDir::default();
    for entry in list(&basics()["store_paths"]) {
        let references: BTreeSet<_> = entry.get("refs").map_or(&[][..], list).iter().map(path).collect();
        let names_itself = entry.get("self").is_some();
        let sha1 = || Hash::parse_bare(Algorithm::Sha1, text(&entry["hash"])).unwrap();
        let ca = match text(&entry["kind"]) {
            "text no refs" | "text refs" => ContentAddress::text(Sha256::of(text(&entry["content"]))),
            "source refs+self" => ContentAddress::nar(Sha256::from_hex(text(&entry["nar_modulo_sha256"])).unwrap()),
            "flat sha1" => ContentAddress { method: Method::Flat, hash: sha1() },
            "nar sha1" => ContentAddress { method: Method::Nar, hash: sha1() },
            kind => panic!("`{kind}` is new"),
        };
        let made = dir.path_of(&name(&entry["name"]), &ca, &references, names_itself).unwrap();
        assert_eq!(dir.print(&made), text(&entry["path"]));
        if let Some(fingerprint) = entry.get("fingerprint") {
            let whole = Sha256::of(text(fingerprint));
            assert_eq!(made, StorePath::new(whole.compress(), name(&entry["name"])));
        }
    }
}

#[test]
fn placeholders_are_those_of_nix() {
    for entry in list(&basics()["placeholders"]) {
        let placeholder = match entry.get("drv") {
            None => Placeholder::own(&output(&entry["output"])),
            Some(drv) => {
                let mut outputs = list(&entry["outputs"]).iter().map(output);
                let first = Placeholder::upstream(&path(drv), &outputs.next().unwrap());
                outputs.fold(first, |parent, output| parent.dynamic(&output))
            }
        };
        assert_eq!(placeholder.to_string(), text(&entry["value"]));
        assert_eq!(placeholder.to_string().len(), Placeholder::LEN);
    }
}

#[test]
fn an_archive_that_names_itself_is_hashed_modulo_its_name() {
    let basics = basics();
    let vector_of = &basics["hash_modulo"];
    let archive = fs::read(vector(text(&vector_of["file"]))).unwrap();
    let path = path(&vector_of["path"]);
    assert_eq!(Sha256::of(&archive).hex(), text(&vector_of["narHash"]));

    let hash = || {
        let mut hash = HashModulo::new(&path);
        hash.write_all(&archive).unwrap();
        hash
    };
    let (modulo, occurrences) = hash().finish();
    assert_eq!(modulo.hex(), text(&vector_of["modulo_2_17_and_later"]));
    assert_eq!(occurrences, archive.windows(32).filter(|window| *window == path.hash_part().as_bytes()).count());
    assert_eq!(hash().finish_as_before_2_17().0.hex(), text(&vector_of["modulo_2_16_and_before"]));
    assert_eq!(ContentAddress::nar(modulo).to_string(), text(&vector_of["ca"]));
    assert_eq!(text(&vector_of["ca"]).parse(), Ok(ContentAddress::nar(modulo)));

    let dir = StoreDir::default();
    assert_eq!(dir.source_path(path.name(), &modulo, &BTreeSet::new(), true), path);
    let mut scanner = ReferenceScanner::new([path.clone()]);
    scanner.write_all(&archive).unwrap();
    assert_eq!(scanner.found(), BTreeSet::from([path.clone()]));
    let scratch = StorePath::new([7; 20], path.name().clone());
    let mut there = Rewriter::of_paths(Vec::new(), [(&path, &scratch)]);
    there.write_all(&archive).unwrap();
    let mut back = Rewriter::of_paths(Vec::new(), [(&scratch, &path)]);
    back.write_all(&there.finish().unwrap().0).unwrap();
    assert!(back.finish().unwrap().0 == archive);
}

#[test]
fn floating_outputs_are_built_where_nix_builds_them() {
    let dir = StoreDir::default();
    for entry in list(&basics()["scratch"]) {
        let drv = path(&entry["drv"]);
        let scratch = dir.scratch_path(&drv, &drv.derivation_name().unwrap(), &output(&entry["output"]));
        assert_eq!(dir.print(&scratch), text(&entry["path"]));
    }
}

#[test]
fn a_derivation_file_is_read_and_written_as_the_same_bytes() {
    let dir = StoreDir::default();
    let mut seen = 0;
    for entry in fs::read_dir(vector("drv")).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "drv") {
            continue;
        }
        let path: StorePath = file.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let aterm = fs::read(&file).unwrap();
        let drv = Derivation::from_aterm(&dir, &path.derivation_name().unwrap(), &aterm).unwrap();
        assert!(drv.to_aterm(&dir) == aterm, "{path}");
        assert_eq!(drv.path(&dir), path);
        seen += 1;
    }
    assert_eq!(seen, 27);
}

#[test]
fn a_derivation_as_json_is_the_one_that_nix_shows() {
    for vector in derivations() {
        let shown = fs::read_to_string(vector.file.with_added_extension("json")).unwrap();
        let shown_json: Value = serde_json::from_str(&shown).unwrap();
        let json = &shown_json["derivations"][vector.path.to_string()];
        assert_eq!(vector.drv.to_json().unwrap(), *json, "{}", vector.path);
        assert_eq!(Derivation::from_json(json).unwrap(), vector.drv, "{}", vector.path);
        assert_eq!(
            format!(r#"{{"derivations":{{"{}":{}}},"version":4}}"#, vector.path, vector.drv.to_json().unwrap()),
            shown.trim_end()
        );
    }
}

#[test]
fn the_file_of_a_derivation_is_registered_as_by_nix() {
    let dir = StoreDir::default();
    for Vector { path, drv, facts, aterm, .. } in derivations() {
        assert_eq!(dir.print(&path), text(&facts["drvPath"]));
        assert_eq!(drv.name.as_str(), text(&facts["name"]));
        assert_eq!(drv.has_dynamic_inputs(), facts["dynamic"].as_bool().unwrap());
        let kind = match drv.kind().unwrap() {
            Kind::InputAddressed => "input",
            Kind::Deferred => "deferred",
            Kind::Fixed => "fixed",
            Kind::Floating => "floating",
            Kind::Impure => "impure",
        };
        assert_eq!(kind, text(&facts["kind"]));
        assert_eq!(Sha256::of(&aterm).hex(), text(&facts["aterm_sha256"]));
        let references: BTreeSet<_> = list(&facts["refs"]).iter().map(self::path).collect();
        assert_eq!(drv.references(), references);
        let ca = ContentAddress::text(Sha256::of(&aterm));
        assert_eq!(ca.to_string(), text(&facts["ca"]));
        let archive = Tree::file(aterm).to_nar();
        assert_eq!(Sha256::of(&archive).hex(), text(&facts["narHash"]));
        assert_eq!(archive.len() as u64, facts["narSize"].as_u64().unwrap());
        assert_eq!(dir.path_of(&drv.name.of_derivation(), &ca, &references, false).unwrap(), path);
    }
}

#[test]
fn a_derivation_has_the_hash_modulo_that_nix_computes() {
    let dir = StoreDir::default();
    let mut modulos = Modulos::new(&dir, load);
    for Vector { drv, facts, path, .. } in derivations() {
        for (key, mask) in [("modulo_masked", Mask::Outputs), ("modulo_unmasked", Mask::Nothing)] {
            let modulo = drv.modulo(&dir, mask, |path, output| modulos.get(path, output)).unwrap();
            let expected = facts[key].as_object().unwrap();
            assert_eq!(expected.len(), drv.outputs.len());
            for output in drv.outputs.keys() {
                assert_eq!(modulo.hash.hex(), text(&expected[output.as_str()]), "{path} {key}");
            }
            if mask == Mask::Nothing {
                assert_eq!(modulo.deferred, facts["deferred"].as_bool().unwrap(), "{path}");
                let alone = Modulos::new(&dir, load).get(&path, drv.outputs.keys().next().unwrap());
                assert_eq!(alone, Some(modulo));
            }
        }
    }
}

#[test]
fn an_output_has_the_id_the_path_and_the_placeholders_that_nix_gives_it() {
    let dir = StoreDir::default();
    let mut modulos = Modulos::new(&dir, load);
    for Vector { path, drv, facts, .. } in derivations() {
        let ids = drv.output_ids(&dir, |path, output| modulos.get(path, output)).unwrap();
        assert_eq!(facts["outputs"].as_object().unwrap().len(), drv.outputs.len());
        for (name, output) in &drv.outputs {
            let fact = &facts["outputs"][name.as_str()];
            let id = &ids[name];
            assert_eq!(id.to_string(), text(&fact["drvOutputId"]));
            assert_eq!(id.to_string().parse::<DrvOutputId>().unwrap(), *id);
            let built = self::path(&fact["path"]);
            if let Some(known) = output.path(&dir, &drv.name, name) {
                assert_eq!(known, built);
            }
            if let DerivationOutput::InputAddressed(_) = output {
                assert_eq!(dir.output_path(&drv.name, name, &id.drv_hash), built);
            }
            if let Some(scratch) = fact.get("scratch") {
                assert_eq!(dir.print(&dir.scratch_path(&path, &drv.name, name)), text(scratch));
            }
            assert_eq!(Placeholder::own(name).to_string(), text(&facts["placeholders"][name.as_str()]));
            let downstream = text(&facts["downstream_placeholders"][name.as_str()]);
            assert_eq!(DerivedPath::Built(path.clone(), name.clone()).text(&dir), downstream);
        }
    }
}

#[test]
fn a_realisation_is_read_and_written_as_the_same_bytes() {
    let mut realisations = Vec::new();
    for Vector { facts, .. } in derivations() {
        for (output, fact) in facts["outputs"].as_object().unwrap() {
            for realisation in list(&fact["realisation"]) {
                let read = Realisation::from_json(&realisation.to_string()).unwrap();
                assert_eq!(read.path, path(&fact["path"]));
                assert_eq!(read.id.output.as_str(), output);
                realisations.push(realisation.clone());
            }
        }
    }
    let signed = json("signatures.json");
    for entry in list(&signed["realisation"]) {
        let read = Realisation::from_json(&entry["json"].to_string()).unwrap();
        assert_eq!(read.fingerprint(), text(&entry["fingerprint"]));
        assert_eq!(read.signatures.len(), 1);
        realisations.push(entry["json"].clone());
    }
    for realisation in realisations {
        let text = realisation.to_string();
        assert_eq!(Realisation::from_json(&text).unwrap().to_json(), text);
    }
}

#[test]
fn an_output_with_a_content_address_has_the_path_that_follows_from_it() {
    let dir = StoreDir::default();
    let mut seen = BTreeSet::new();
    for Vector { facts, .. } in derivations() {
        for fact in facts["outputs"].as_object().unwrap().values() {
            let path = path(&fact["path"]);
            let info = path_info(&path, &fact["info"]);
            let Some(ca) = &info.ca else { continue };
            assert_eq!(ca.to_string(), text(&fact["info"]["ca"]));
            let mut references = info.references.clone();
            let names_itself = references.remove(&path);
            assert_eq!(dir.path_of(path.name(), ca, &references, names_itself).unwrap(), path);
            seen.insert(ca.method);
        }
    }
    assert_eq!(seen, BTreeSet::from([Method::Flat, Method::Nar, Method::Text]));
}

#[test]
fn a_resolved_derivation_has_the_path_that_nix_gives_it() {
    let dir = StoreDir::default();
    let vectors = derivations();
    let built = built_outputs(&vectors);
    let find = |drv: &StorePath, output: &OutputName| built.get(&(drv.clone(), output.clone())).cloned();
    let mut resolved_by_nix = 0;
    for Vector { drv, facts, path, .. } in &vectors {
        if drv.input_drvs.keys().any(|input| !vectors.iter().any(|vector| vector.path == *input)) {
            // What was built of these inputs is told nowhere but in the resolved derivation.
            continue;
        }
        let resolved = drv.resolve(&dir, find).unwrap();
        if let Some(expected) = facts.get("resolved") {
            assert_eq!(dir.print(&resolved.path(&dir)), text(expected));
            resolved_by_nix += 1;
        }
        if drv.input_drvs.is_empty() {
            assert_eq!(resolved.get(), drv);
            assert_eq!(ResolvedDerivation::try_from(drv.clone()), Ok(resolved.clone()));
        } else {
            assert!(ResolvedDerivation::try_from(drv.clone()).is_err());
        }
        for (output, id) in resolved.output_ids(&dir) {
            let by_lookup = resolved.get().output_ids(&dir, |_, _| None).unwrap();
            assert_eq!(by_lookup[&output], id);
            // Nix built the resolved derivation, and names it as the one that made the output.
            let of_resolved = vectors.iter().find(|vector| vector.path == resolved.path(&dir));
            if let Some(of_resolved) = of_resolved {
                let facts = &of_resolved.facts["outputs"][output.as_str()];
                assert_eq!(id.to_string(), text(&facts["drvOutputId"]));
                assert_eq!(self::path(&facts["path"]), built[&(path.clone(), output)]);
            }
        }
    }
    assert_eq!(resolved_by_nix, 2);
}

#[test]
fn a_derivation_whose_inputs_are_found_in_the_resolved_one_resolves_to_it() {
    let dir = StoreDir::default();
    let vectors = derivations();
    let mut seen = 0;
    for Vector { drv, facts, .. } in &vectors {
        let Some(expected) = facts.get("resolved").map(path) else { continue };
        let resolved = vectors.iter().find(|vector| vector.path == expected).unwrap();
        // With one input there is one source that it can have become.
        let [(_, InputOutputs { outputs, dynamic })] = &drv.input_drvs.iter().collect::<Vec<_>>()[..] else { continue };
        if outputs.len() == 1 && dynamic.is_empty() {
            let source = resolved.drv.input_srcs.first().cloned();
            let found = drv.resolve(&dir, |_, _| source.clone()).unwrap();
            assert_eq!(*found.get(), resolved.drv);
            assert_eq!(found.path(&dir), expected);
            seen += 1;
        }
    }
    assert_eq!(seen, 2);
}

#[test]
fn a_deferred_output_gets_the_path_and_the_derivation_that_nix_gives_it() {
    let dir = StoreDir::default();
    let vectors = derivations();
    let built = built_outputs(&vectors);
    let deferred: Vec<_> = vectors.iter().filter(|vector| vector.drv.kind() == Ok(Kind::Deferred)).collect();
    for Vector { drv, facts, .. } in &deferred {
        let resolved = drv.resolve(&dir, |drv, output| built.get(&(drv.clone(), output.clone())).cloned()).unwrap();
        let fact = &facts["outputs"]["out"];
        let out = "out".parse().unwrap();
        assert_eq!(resolved.get().outputs[&out], DerivationOutput::InputAddressed(path(&fact["path"])));
        assert_eq!(resolved.path(&dir), path(&fact["info"]["deriver"]));
    }
    assert_eq!(deferred.len(), 1);
}

#[test]
fn a_narinfo_file_is_read_and_written_as_the_same_bytes_and_signs_the_same_text() {
    let dir = StoreDir::default();
    let signed = json("signatures.json");
    for entry in list(&signed["narinfo"]) {
        let text_of_file = fs::read_to_string(vector("narinfo").join(text(&entry["file"]))).unwrap();
        let read = NarInfo::parse(&dir, &text_of_file).unwrap();
        assert_eq!(read.to_text(&dir), text_of_file);
        assert_eq!(read.info.fingerprint(&dir), text(&entry["fingerprint"]));
        assert_eq!(read.info.signatures, BTreeSet::from([text(&entry["sig"]).to_owned()]));
        assert_eq!(format!("{}.narinfo", read.info.path.hash_part()), text(&entry["file"]));
    }
}

#[test]
fn another_implementation_reads_and_writes_the_same_archives() {
    for entry in list(&basics()["nar"]) {
        let archive = fs::read(vector(text(&entry["file"]))).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let ours = directory.path().join("ours");
        nar::restore(archive.as_slice(), &ours).unwrap();
        let mut theirs = Vec::new();
        std::io::copy(&mut nix_nar::Encoder::new(&ours).unwrap(), &mut theirs).unwrap();
        assert!(theirs == archive, "{}", entry["file"]);
        let unpacked = directory.path().join("theirs");
        nix_nar::Decoder::new(archive.as_slice()).unwrap().unpack(&unpacked).unwrap();
        assert_eq!(Tree::read(&unpacked).unwrap(), Tree::read(&ours).unwrap());
    }
}

#[test]
fn a_reader_stops_where_the_archive_does() {
    let mut stream = fs::read(vector("nar/tree.nar")).unwrap();
    stream.extend_from_slice(b"and more");
    let mut reader = Reader::new(stream.as_slice());
    while reader.next().unwrap().is_some() {}
    assert_eq!(reader.into_inner(), b"and more");
}

/// One derivation that Nix wrote.
struct Vector {
    path: StorePath,
    file: PathBuf,
    aterm: Vec<u8>,
    drv: Derivation,
    facts: Value,
}

fn derivations() -> Vec<Vector> {
    let read = |facts: &Value| {
        let path = path(&facts["drvPath"]);
        let file = vector("drv").join(text(&facts["file"]));
        let aterm = fs::read(&file).unwrap();
        let drv = load(&path).unwrap();
        Vector { path, file, aterm, drv, facts: facts.clone() }
    };
    let all: Vec<_> = list(&json("derivations.json")).iter().map(read).collect();
    assert_eq!(all.len(), 25);
    all
}

fn load(path: &StorePath) -> Option<Derivation> {
    let aterm = fs::read(vector("drv").join(path.to_string())).ok()?;
    Some(Derivation::from_aterm(&StoreDir::default(), &path.derivation_name()?, &aterm).unwrap())
}

/// What Nix built of each output.
fn built_outputs(vectors: &[Vector]) -> BTreeMap<(StorePath, OutputName), StorePath> {
    vectors
        .iter()
        .flat_map(|vector| {
            let outputs = vector.facts["outputs"].as_object().unwrap();
            outputs.iter().map(|(name, fact)| ((vector.path.clone(), name.parse().unwrap()), path(&fact["path"])))
        })
        .collect()
}

fn path_info(path: &StorePath, info: &Value) -> PathInfo {
    let optional = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned());
    PathInfo {
        path: path.clone(),
        nar_hash: Sha256::from_hex(text(&info["narHash"])).unwrap(),
        nar_size: info["narSize"].as_u64().unwrap(),
        references: list(&info["refs"]).iter().map(self::path).collect(),
        deriver: optional(text(&info["deriver"])).map(|path| StoreDir::default().parse(&path).unwrap()),
        ca: optional(text(&info["ca"])).map(|ca| ca.parse().unwrap()),
        ultimate: info["ultimate"] == 1,
        signatures: BTreeSet::new(),
        registration_time: 0,
    }
}

fn basics() -> Value {
    json("basics.json")
}

fn json(file: &str) -> Value {
    serde_json::from_slice(&fs::read(vector(file)).unwrap()).unwrap()
}

fn vector(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(file)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn path(value: &Value) -> StorePath {
    StoreDir::default().parse(text(value)).unwrap()
}

fn name(value: &Value) -> StoreName {
    text(value).parse().unwrap()
}

fn output(value: &Value) -> OutputName {
    text(value).parse().unwrap()
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}
