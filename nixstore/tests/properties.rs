//! What holds for inputs that nobody thought of.

use bstr::BString;
use nixstore::derivation::{DerivationOutput, InputOutputs};
use nixstore::hash::Algorithm;
use nixstore::nar::{self, Reader};
use nixstore::path::StoreName;
use nixstore::path_info::NarInfo;
use nixstore::rewrite::Rewriter;
use nixstore::scan::NeedleScanner;
use nixstore::{
    ContentAddress, Derivation, DrvOutputId, Hash, Method, OutputName, Realisation, StoreDir, StorePath, Tree, base32,
    base64,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

proptest! {
    #[test]
    fn nixbase32_that_is_written_is_read_again(bytes in vec(any::<u8>(), 0..80)) {
        let text = base32::encode(&bytes);
        prop_assert_eq!(base32::decode(text.as_bytes(), bytes.len()).unwrap(), bytes);
    }

    #[test]
    fn nixbase32_that_is_read_is_written_again(text in "[0-9a-z]{32}") {
        if let Ok(bytes) = base32::decode(text.as_bytes(), 20) {
            prop_assert_eq!(base32::encode(&bytes), text);
        }
    }

    #[test]
    fn base64_that_is_written_is_read_again(bytes in vec(any::<u8>(), 0..80)) {
        prop_assert_eq!(base64::decode(base64::encode(&bytes).as_bytes()).unwrap(), bytes);
    }

    #[test]
    fn base64_that_is_read_is_written_again(text in "[A-Da-d0-3+/=]{0,12}") {
        if let Ok(bytes) = base64::decode(text.as_bytes()) {
            prop_assert_eq!(base64::encode(&bytes), text);
        }
    }

    #[test]
    fn every_form_of_a_hash_is_read_again(hash in hash()) {
        let algorithm = hash.algorithm();
        for text in [hash.to_string(), hash.prefixed_hex(), hash.sri()] {
            prop_assert_eq!(text.parse::<Hash>().unwrap(), hash.clone());
        }
        let base64 = base64::encode(hash.bytes());
        for text in [hash.hex(), hash.nix32(), base64] {
            prop_assert_eq!(Hash::parse_bare(algorithm, &text).unwrap(), hash.clone());
        }
    }

    #[test]
    fn store_paths_are_ordered_as_their_texts(a in store_path(), b in store_path()) {
        prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        prop_assert_eq!(a.to_string().parse::<StorePath>().unwrap(), a);
    }

    #[test]
    fn a_derivation_that_is_written_is_read_again(drv in derivation()) {
        let dir = StoreDir::default();
        let aterm = drv.to_aterm(&dir);
        prop_assert_eq!(Derivation::from_aterm(&dir, &drv.name, &aterm).unwrap(), drv);
    }

    #[test]
    fn a_derivation_that_is_read_is_written_as_the_same_bytes(
        drv in derivation(),
        cut in any::<prop::sample::Index>(),
        junk in "[ -~\n]{0,3}",
        removed in 0usize..4,
    ) {
        let dir = StoreDir::default();
        let mut aterm = drv.to_aterm(&dir);
        let at = cut.index(aterm.len());
        let end = aterm.len().min(at + removed);
        aterm.splice(at..end, junk.bytes());
        match Derivation::from_aterm(&dir, &drv.name, &aterm) {
            Ok(read) => prop_assert_eq!(BString::from(read.to_aterm(&dir)), BString::from(aterm)),
            Err(error) => prop_assert!(error.position <= aterm.len()),
        }
    }

    #[test]
    fn a_derivation_as_json_is_read_again(drv in derivation()) {
        if let Ok(json) = drv.to_json() {
            prop_assert_eq!(Derivation::from_json(&json).unwrap(), drv);
        }
    }

    #[test]
    fn resolving_leaves_no_placeholder_and_no_input(drv in derivation()) {
        let dir = StoreDir::default();
        let produced = StorePath::new([3; 20], "x.drv".parse().unwrap());
        if drv.kind().is_ok() {
            let resolved = drv.resolve(&dir, |_, _| Some(produced.clone())).unwrap();
            prop_assert!(resolved.get().input_drvs.is_empty());
            prop_assert_eq!(resolved.output_ids(&dir), resolved.get().output_ids(&dir, |_, _| None).unwrap());
            let aterm = resolved.get().to_aterm(&dir);
            prop_assert_eq!(Derivation::from_aterm(&dir, &drv.name, &aterm).unwrap(), resolved.into_inner());
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in vec(any::<u8>(), 0..200), text in "\\PC{0,80}") {
        // Some of these succeed, which is as good.
        let dir = StoreDir::default();
        let _ = Derivation::from_aterm(&dir, &"x".parse().unwrap(), &bytes);
        let _ = Derivation::from_aterm(&dir, &"x".parse().unwrap(), text.as_bytes());
        let _ = Tree::from_nar(&bytes);
        let _ = base32::decode(&bytes, 20);
        let _ = base64::decode(&bytes);
        let _ = text.parse::<Hash>();
        let _ = text.parse::<ContentAddress>();
        let _ = text.parse::<StorePath>();
        let _ = text.parse::<DrvOutputId>();
        let _ = Realisation::from_json(&text);
        let _ = NarInfo::parse(&dir, &text);
        let _ = serde_json::from_slice(&bytes).map(|json| Derivation::from_json(&json));
    }

    #[test]
    fn a_damaged_archive_is_refused_or_another_tree(
        tree in tree(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut archive = tree.to_nar();
        let at = at.index(archive.len());
        archive[at] = byte;
        if let Ok(read) = Tree::from_nar(&archive) {
            prop_assert!(read.to_nar() == archive);
        }
        let cut = &archive[..at];
        prop_assert!(Tree::from_nar(cut).is_err());
    }

    #[test]
    fn an_archive_that_is_restored_is_dumped_again(tree in tree()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tree");
        let archive = tree.to_nar();
        nar::restore(archive.as_slice(), &path).unwrap();
        let mut dumped = Vec::new();
        nar::dump(&path, &mut dumped).unwrap();
        prop_assert!(dumped == archive);
        prop_assert_eq!(Tree::from_nar(&archive).unwrap(), tree);
        let mut events = Reader::new(archive.as_slice());
        while events.next().unwrap().is_some() {}
    }

    #[test]
    fn a_scanner_finds_what_is_there_however_the_stream_is_cut(stream in stream()) {
        let Stream { needles, chunks } = stream;
        let whole: Vec<u8> = chunks.concat();
        let mut scanner = NeedleScanner::new(needles.iter().cloned()).unwrap();
        for chunk in &chunks {
            scanner.write_all(chunk).unwrap();
        }
        let found: BTreeSet<_> = scanner.found().cloned().collect();
        let there: BTreeSet<_> = needles
            .iter()
            .filter(|needle| whole.windows(needle.len()).any(|window| window == needle.as_slice()))
            .cloned()
            .collect();
        prop_assert_eq!(found, there);
    }

    #[test]
    fn a_rewriter_replaces_what_is_there_however_the_stream_is_cut(stream in stream()) {
        let Stream { needles, chunks } = stream;
        let replacements: BTreeMap<BString, BString> =
            needles.iter().map(|needle| (needle.clone(), needle.to_ascii_uppercase().into())).collect();
        let mut rewriter = Rewriter::new(Vec::new(), replacements).unwrap();
        for chunk in &chunks {
            rewriter.write_all(chunk).unwrap();
        }
        let (rewritten, offsets) = rewriter.finish().unwrap();

        let mut expected: Vec<u8> = chunks.concat();
        let mut expected_offsets = Vec::new();
        let len = needles.first().map_or(1, |needle| needle.len());
        let mut at = 0;
        while at + len <= expected.len() {
            if needles.iter().any(|needle| expected[at..].starts_with(needle)) {
                expected[at..at + len].make_ascii_uppercase();
                expected_offsets.push(at as u64);
                at += len;
            } else {
                at += 1;
            }
        }
        prop_assert_eq!(BString::from(rewritten), BString::from(expected));
        prop_assert_eq!(offsets, expected_offsets);
    }
}

/// A stream in pieces, with texts that may be in it.
#[derive(Debug)]
struct Stream {
    needles: BTreeSet<BString>,
    chunks: Vec<Vec<u8>>,
}

/// Few letters, so that needles occur, overlap and nearly occur; and pieces that are often shorter than a needle.
fn stream() -> impl Strategy<Value = Stream> {
    (1usize..9).prop_flat_map(|len| {
        let letters = || prop::sample::select(b"aab.".to_vec());
        let needle = vec(prop::sample::select(b"aab".to_vec()), len).prop_map(BString::from);
        (btree_set(needle, 0..4), vec(vec(letters(), 0..20), 0..12))
            .prop_flat_map(|(needles, noise)| {
                let known: Vec<Vec<u8>> = needles.iter().map(|needle| needle.to_vec()).chain([Vec::new()]).collect();
                let planted = vec((prop::sample::select(known), 0usize..9), noise.len());
                (Just(needles), Just(noise), planted)
            })
            .prop_map(|(needles, noise, planted)| {
                let mut chunks = Vec::new();
                for (mut noise, (needle, cut)) in noise.into_iter().zip(planted) {
                    let cut = cut.min(needle.len());
                    noise.extend_from_slice(&needle[..cut]);
                    chunks.push(noise);
                    chunks.push(needle[cut..].to_vec());
                }
                Stream { needles, chunks }
            })
    })
}

fn tree() -> impl Strategy<Value = Tree> {
    let contents = vec(any::<u8>(), 0..40).prop_map(BString::from);
    let leaf = prop_oneof![
        (contents, any::<bool>()).prop_map(|(contents, executable)| Tree::File { contents, executable }),
        "[a-z./]{1,20}".prop_map(Tree::symlink),
    ];
    leaf.prop_recursive(4, 30, 6, |inner| {
        let name = "[a-zA-Z .é]{1,10}".prop_filter("a name", |name| name != "." && name != "..");
        btree_map(name.prop_map(BString::from), inner, 0..6).prop_map(Tree::Directory)
    })
}

fn hash() -> impl Strategy<Value = Hash> {
    let algorithms = vec![Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512];
    (prop::sample::select(algorithms), vec(any::<u8>(), 64))
        .prop_map(|(algorithm, bytes)| Hash::new(algorithm, &bytes[..algorithm.size()]).unwrap())
}

fn store_name() -> impl Strategy<Value = StoreName> {
    "[a-zA-Z0-9+_?=-][a-zA-Z0-9+._?=-]{0,12}".prop_map(|name| name.parse().unwrap())
}

fn store_path() -> impl Strategy<Value = StorePath> {
    (any::<[u8; 20]>(), store_name()).prop_map(|(hash, name)| StorePath::new(hash, name))
}

fn output_name() -> impl Strategy<Value = OutputName> {
    prop_oneof![Just("out".to_owned()), "[a-z][a-z0-9]{0,3}"].prop_map(|name| name.parse().unwrap())
}

fn needed() -> impl Strategy<Value = InputOutputs> {
    let flat = btree_set(output_name(), 0..3).prop_map(|outputs| InputOutputs { outputs, dynamic: BTreeMap::new() });
    flat.prop_recursive(3, 8, 2, |inner| {
        (btree_set(output_name(), 0..3), btree_map(output_name(), inner, 0..2))
            .prop_map(|(outputs, dynamic)| InputOutputs { outputs, dynamic })
    })
}

fn outputs() -> impl Strategy<Value = BTreeMap<OutputName, DerivationOutput>> {
    let method = || prop::sample::select(vec![Method::Flat, Method::Nar, Method::Text, Method::Git]);
    let sha256 = Algorithm::Sha256;
    let fixed = (method(), hash()).prop_map(|(method, hash)| {
        // Text is hashed by nothing else.
        let method = if hash.algorithm() == Algorithm::Sha256 { method } else { Method::Nar };
        BTreeMap::from([("out".parse().unwrap(), DerivationOutput::Fixed(ContentAddress { method, hash }))])
    });
    let of = |output| btree_map(output_name(), output, 1..4);
    prop_oneof![
        fixed,
        of(store_path().prop_map(DerivationOutput::InputAddressed).boxed()),
        of(Just(DerivationOutput::Deferred).boxed()),
        of(method().prop_map(move |method| DerivationOutput::Floating { method, algorithm: sha256 }).boxed()),
        of(method().prop_map(move |method| DerivationOutput::Impure { method, algorithm: sha256 }).boxed()),
    ]
}

fn bytes() -> impl Strategy<Value = BString> {
    prop_oneof!["[ -~\n\r\t\"\\\\é]{0,20}".prop_map(BString::from), vec(any::<u8>(), 0..20).prop_map(BString::from),]
}

fn derivation() -> impl Strategy<Value = Derivation> {
    let input = (any::<[u8; 20]>(), store_name()).prop_map(|(hash, name)| StorePath::new(hash, name.of_derivation()));
    let env = btree_map("[a-zA-Z_]{1,5}".prop_map(BString::from), bytes(), 0..5);
    let inputs = (btree_map(input, needed(), 0..3), btree_set(store_path(), 0..3));
    (store_name(), outputs(), inputs, "[a-z0-9_-]{0,12}", bytes(), vec(bytes(), 0..4), env).prop_map(
        |(name, outputs, (input_drvs, input_srcs), system, builder, args, env)| Derivation {
            name,
            outputs,
            input_drvs,
            input_srcs,
            system,
            builder,
            args,
            env,
        },
    )
}
