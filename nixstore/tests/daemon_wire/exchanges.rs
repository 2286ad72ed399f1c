//! Each exchange that was recorded, asked for by our own client.

use crate::peer::Peer;
use bstr::BString;
use nixstore::content_address::Method;
use nixstore::daemon::framed::Contents;
use nixstore::daemon::operation::*;
use nixstore::daemon::{Connection, DaemonError, Event, Operation};
use nixstore::derivation::{Derivation, DerivationOutput};
use nixstore::hash::Algorithm;
use nixstore::path::StoreName;
use nixstore::{
    ContentAddress, DrvOutputId, PathInfo, Placeholder, Realisation, ResolvedDerivation, Sha256, StoreDir, StorePath,
    Tree,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// One exchange with Nix 2.34.8.
pub struct Exchange {
    /// The file that has it.
    pub file: &'static str,
    /// What is asked for.
    pub operation: &'static str,
    /// Asks for it, and gives the reply as the file has it.
    pub run: fn(&mut Client) -> Result<Value, DaemonError>,
}

/// A client, and what it gets to hear.
pub struct Client {
    pub connection: Connection,
    pub events: Vec<Event>,
}

impl Client {
    pub fn new((connection, peer): (Connection, Peer)) -> (Self, Peer) {
        (Self { connection, events: Vec::new() }, peer)
    }

    fn call<O: Operation>(&mut self, operation: O) -> Result<O::Reply, DaemonError> {
        self.connection.call(operation, &mut |event| self.events.push(event))
    }
}

/// All of them, but those of operations that nobody needs.
pub fn exchanges() -> Vec<Exchange> {
    fn exchange(
        file: &'static str,
        operation: &'static str,
        run: fn(&mut Client) -> Result<Value, DaemonError>,
    ) -> Exchange {
        Exchange { file, operation, run }
    }
    vec![
        exchange("01-set-options", "SetOptions", |c| c.call(set_options()).map(nothing)),
        exchange("02-is-valid-path", "IsValidPath", |c| c.call(IsValidPath(&hello_drv())).map(Value::from)),
        exchange("03-is-valid-path-no", "IsValidPath", |c| c.call(IsValidPath(&missing())).map(Value::from)),
        exchange("04-query-path-info", "QueryPathInfo", |c| {
            Ok(c.call(QueryPathInfo(&hello()))?.map_or(Value::Null, |info| facts(&info)))
        }),
        exchange("05-query-path-info-none", "QueryPathInfo", |c| {
            Ok(c.call(QueryPathInfo(&missing()))?.map_or(Value::Null, |info| facts(&info)))
        }),
        exchange("07-add-to-store-text", "AddToStore", |c| add(c, "hello.txt", Method::Text, &[hello()], b"hello\n")),
        exchange("08-add-to-store-nar", "AddToStore", |c| add(c, "tree", Method::Nar, &[], &tree().to_nar())),
        exchange("09-add-to-store-flat", "AddToStore", |c| add(c, "flat", Method::Flat, &[], b"hello\n")),
        exchange("11-add-multiple-to-store", "AddMultipleToStore", |c| {
            let [(one, one_nar), (two, two_nar)] = imports();
            let paths = vec![
                Import { info: &one, nar: Contents::Bytes(&one_nar) },
                Import { info: &two, nar: Contents::Bytes(&two_nar) },
            ];
            c.call(AddMultipleToStore { paths, repair: false, without_signatures: false }).map(nothing)
        }),
        exchange("12-add-to-store-nar-op39", "AddToStoreNar", |c| {
            let [_, (info, nar)] = imports();
            let path = Import { info: &info, nar: Contents::Bytes(&nar) };
            c.call(AddToStoreNar { path, repair: false, without_signatures: false }).map(nothing)
        }),
        exchange("13-query-missing", "QueryMissing", |c| c.call(QueryMissing(&[wire()])).map(missing_paths)),
        exchange("14-build-paths-with-results", "BuildPathsWithResults", |c| build(c, wire())),
        exchange("15-build-paths-with-results-noop", "BuildPathsWithResults", |c| build(c, wire())),
        exchange("16-build-paths", "BuildPaths", |c| {
            c.call(BuildPaths { wanted: &[wire()], mode: BuildMode::Normal }).map(done)
        }),
        exchange("17-build-derivation", "BuildDerivation", |c| {
            let derivation = wire_bd();
            let path = derivation.path(&StoreDir::default());
            let mode = BuildMode::Normal;
            c.call(BuildDerivation { path: &path, derivation: &derivation, mode }).map(|result| outcome(&result))
        }),
        exchange("18-build-fail", "BuildPathsWithResults", |c| build(c, wire_fail())),
        exchange("19-build-paths-fail", "BuildPaths", |c| {
            c.call(BuildPaths { wanted: &[wire_fail()], mode: BuildMode::Normal }).map(done)
        }),
        exchange("20-query-derivation-output-map", "QueryDerivationOutputMap", |c| {
            let map = c.call(QueryDerivationOutputMap(&path("jgcykdrnmygahndjna2sqhk7lj5yppy0-wire.drv")))?;
            Ok(map.into_iter().map(|(name, path)| (name.to_string(), json!(path.map(|p| whole(&p))))).collect())
        }),
        exchange("21-query-realisation", "QueryRealisation", |c| {
            realised(c, "sha256:f3a36ab8848d10bdbe115d62606582e613a865b4d4263153037913df7304c2ee!out")
        }),
        exchange("22-query-realisation-none", "QueryRealisation", |c| {
            realised(c, &format!("sha256:{}!out", "0".repeat(64)))
        }),
        exchange("23-register-drv-output", "RegisterDrvOutput", |c| {
            let realisation = registered();
            c.call(RegisterDrvOutput { realisation: &realisation, derivation: None }).map(nothing)
        }),
        exchange("24-nar-from-path", "NarFromPath", |c| {
            let mut nar = Vec::new();
            c.call(NarFromPath { path: &hello(), out: &mut nar })?;
            Ok(nar.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
        }),
        exchange("25-add-temp-root", "AddTempRoot", |c| c.call(AddTempRoot(&hello())).map(done)),
        exchange("26-add-indirect-root", "AddIndirectRoot", |c| {
            c.call(AddIndirectRoot(Path::new("/tmp/wire-11330"))).map(done)
        }),
        exchange("27-add-perm-root", "AddPermRoot", |c| {
            let link = Path::new("/nix/var/nix/gcroots/wire-11330");
            c.call(AddPermRoot { path: &hello(), link }).map(|link| json!(link.to_string_lossy()))
        }),
        exchange("29-error-invalid-narfrompath", "NarFromPath", |c| {
            c.call(NarFromPath { path: &missing(), out: &mut Vec::new() }).map(nothing)
        }),
        exchange("31-build-dynamic", "BuildPathsWithResults", |c| build(c, dynamic())),
        exchange("32-query-missing-dynamic", "QueryMissing", |c| c.call(QueryMissing(&[dynamic()])).map(missing_paths)),
        exchange("06-query-valid-paths", "QueryValidPaths", |c| {
            let paths = [hello_drv(), hello(), missing()].into();
            let valid = c.call(QueryValidPaths { paths: &paths, substitute: false })?;
            Ok(valid.iter().map(whole).collect())
        }),
    ]
}

/// What was recorded.
pub struct Recorded {
    /// What the client said.
    pub request: Vec<u8>,
    /// What the daemon said.
    pub reply: Vec<u8>,
    /// What that means.
    pub result: Value,
}

impl Recorded {
    pub fn load(file: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/wire").join(format!("{file}.json"));
        let vector: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let said_by = |who: &str| {
            let messages = vector["messages"].as_array().unwrap().iter();
            messages.filter(|message| message["dir"] == who).flat_map(|message| unhex(&message["hex"])).collect()
        };
        Self { request: said_by("client->daemon"), reply: said_by("daemon->client"), result: vector["result"].clone() }
    }
}

fn unhex(hex: &Value) -> Vec<u8> {
    let digits: String = hex.as_str().unwrap().split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect()
}

pub fn path(text: &str) -> StorePath {
    text.parse().unwrap()
}

pub fn hello() -> StorePath {
    path("0i8w0idhi3z8xgqgrqb2agcrxh72a2qc-hello-ca")
}

pub fn hello_drv() -> StorePath {
    path("bd3dybzwdz3662d23lx8936fhlxbh3vw-hello-ca.drv")
}

pub fn missing() -> StorePath {
    path("aaadybzwdz3662d23lx8936fhlxbh3vw-hello-ca.drv")
}

fn whole(path: &StorePath) -> String {
    StoreDir::default().print(path)
}

fn wanted(text: &str) -> Wanted {
    Wanted::parse(&StoreDir::default(), &format!("/nix/store/{text}")).unwrap()
}

pub fn wire() -> Wanted {
    wanted("jgcykdrnmygahndjna2sqhk7lj5yppy0-wire.drv!out")
}

fn wire_fail() -> Wanted {
    wanted("2nnysdnq4y7dzmac7drvz1sjll7ng3cw-wire-fail.drv!out")
}

fn dynamic() -> Wanted {
    wanted("70d21lccfcrmdpqfg1gj5acybbdan6mg-hello.drv.drv!out!out")
}

fn set_options() -> SetOptions {
    let overrides = [("build-timeout".into(), "0".into())].into();
    SetOptions { max_jobs: 2, cores: 1, overrides, ..SetOptions::default() }
}

fn tree() -> Tree {
    let bin = Tree::directory([("run", Tree::executable("#!/bin/sh\n"))]);
    Tree::directory([("a", Tree::file("x")), ("bin", bin), ("l", Tree::symlink("a"))])
}

/// Two paths, the second of which names the first.
fn imports() -> [(PathInfo, Vec<u8>); 2] {
    let one = path("ig1fqmlxs8v9ljnamzdbxxj75mf6ad2r-m1");
    let two_text = format!("refers {}", whole(&one));
    [("m1", "multi one\n", BTreeSet::new()), ("m2", &*two_text, BTreeSet::from([one]))].map(
        |(name, contents, references)| {
            let nar = Tree::file(contents).to_nar();
            let hash = Sha256::of(&nar);
            let name: StoreName = name.parse().unwrap();
            let info = PathInfo {
                path: StoreDir::default().source_path(&name, &hash, &references, false),
                nar_hash: hash,
                nar_size: nar.len() as u64,
                references,
                deriver: None,
                ca: Some(ContentAddress::nar(hash)),
                ultimate: false,
                signatures: BTreeSet::new(),
                registration_time: 0,
            };
            (info, nar)
        },
    )
}

pub fn wire_bd() -> ResolvedDerivation {
    let placeholder = Placeholder::own(&"out".parse().unwrap()).to_string();
    let env = [("PATH", "/usr/bin:/bin"), ("name", "wire-bd"), ("out", &*placeholder), ("x", "11330")];
    let derivation = Derivation {
        name: "wire-bd".parse().unwrap(),
        outputs: [(
            "out".parse().unwrap(),
            DerivationOutput::Floating { method: Method::Nar, algorithm: Algorithm::Sha256 },
        )]
        .into(),
        input_drvs: BTreeMap::new(),
        input_srcs: BTreeSet::new(),
        system: "x86_64-linux".into(),
        builder: "/bin/sh".into(),
        args: vec!["-c".into(), "echo $x > $out".into()],
        env: env.map(|(key, value)| (BString::from(key), BString::from(value))).into(),
    };
    derivation.try_into().unwrap()
}

pub fn registered() -> Realisation {
    Realisation::new(format!("sha256:{}!out", "1".repeat(64)).parse().unwrap(), hello())
}

fn nothing((): ()) -> Value {
    Value::Null
}

fn done((): ()) -> Value {
    1.into()
}

fn add(
    client: &mut Client,
    name: &str,
    method: Method,
    references: &[StorePath],
    contents: &[u8],
) -> Result<Value, DaemonError> {
    let info = client.call(AddToStore {
        name: &name.parse().unwrap(),
        method,
        algorithm: Algorithm::Sha256,
        references: &references.iter().cloned().collect(),
        repair: false,
        contents: Contents::Bytes(contents),
    })?;
    Ok(json!([whole(&info.path), facts(&info)]))
}

fn build(client: &mut Client, wanted: Wanted) -> Result<Value, DaemonError> {
    let results = client.call(BuildPathsWithResults { wanted: &[wanted], mode: BuildMode::Normal })?;
    Ok(results.iter().map(|(wanted, result)| json!([wanted.print(&StoreDir::default()), outcome(result)])).collect())
}

fn realised(client: &mut Client, id: &str) -> Result<Value, DaemonError> {
    let realised = client.call(QueryRealisation { id: &id.parse().unwrap(), derivation: None })?;
    Ok(realised.iter().map(realisation).collect())
}

fn realisation(realised: &Realised) -> Value {
    json!({
        "dependentRealisations": {},
        "id": realised.id.as_ref().map(DrvOutputId::to_string),
        "outPath": realised.path.to_string(),
        "signatures": realised.signatures,
    })
}

fn facts(info: &PathInfo) -> Value {
    json!({
        "deriver": info.deriver.as_ref().map(whole).unwrap_or_default(),
        "narHash": info.nar_hash.hex(),
        "refs": info.references.iter().map(whole).collect::<Vec<_>>(),
        "time": info.registration_time,
        "narSize": info.nar_size,
        "ultimate": u64::from(info.ultimate),
        "sigs": info.signatures,
        "ca": info.ca.as_ref().map(ContentAddress::to_string).unwrap_or_default(),
    })
}

fn outcome(result: &BuildResult) -> Value {
    let id = |one: &Realised| one.id.as_ref().map(DrvOutputId::to_string).unwrap_or_default();
    let outputs: serde_json::Map<_, _> = result.outputs.values().map(|one| (id(one), realisation(one))).collect();
    json!({
        "status": format!("{:?}", result.status),
        "error": result.message,
        "times": result.times_built,
        "nondet": u64::from(result.not_deterministic),
        "start": result.start,
        "stop": result.stop,
        "cpu_user": result.user_time.map(|time| time.as_micros() as u64),
        "cpu_sys": result.system_time.map(|time| time.as_micros() as u64),
        "outputs": outputs,
    })
}

fn missing_paths(missing: Missing) -> Value {
    let whole = |paths: &BTreeSet<StorePath>| paths.iter().map(whole).collect::<Vec<_>>();
    json!({
        "build": whole(&missing.will_build),
        "subst": whole(&missing.will_substitute),
        "unknown": whole(&missing.unknown),
        "dl": missing.download_size,
        "nar": missing.nar_size,
    })
}
