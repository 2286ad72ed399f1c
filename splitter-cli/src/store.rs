//! `splitter store`: what it takes, make it smaller, check it, delete it.

use crate::{Error, time};
use localstore::Unusable;
use localstore::collect::CollectError;
use localstore::layout::{FORMAT, LayoutError, SCHEMA};
use localstore::{Choice, Evicted, Layout, LocalStore, Pin, Size, default_limit, delete, evict};
use nixstore::daemon::Trust;
use nixstore::daemon_store::{Address, DaemonOptions, DaemonStore, Way};
use nixstore::path::StoreName;
use nixstore::{ContentAddress, Hash, StoreDir, nar};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Say where the store is, what it takes and when it was last used.
    Info {
        #[command(flatten)]
        limit: Limit,
    },
    /// Delete the least recently used paths until the store is within its limit.
    ///
    /// What a root of Nix protects stays. While a build uses the store nothing is deleted, and the exit code is 1.
    Collect {
        #[command(flatten)]
        limit: Limit,
    },
    /// Read all files of the store and compare them with what was registered.
    Verify,
    /// Delete the whole store, without asking.
    ///
    /// Everything in it can be built again. While a build uses the store nothing is deleted, and the exit code is 1.
    Delete,
}

#[derive(Debug, clap::Args)]
pub struct Limit {
    /// What the store may take: bytes, or with K, M, G or T, such as `20G`. Default: 20 GiB, or a tenth of the disk if
    /// that is less.
    #[arg(long, value_name = "SIZE", env = "SPLITTER_STORE_LIMIT")]
    limit: Option<Size>,
}

impl Limit {
    fn of(&self, root: &Path) -> Result<Size, Error> {
        Ok(match self.limit {
            Some(limit) => limit,
            None => Size(default_limit(root)?),
        })
    }
}

/// Does `command` with a store.
pub fn run(command: &Command, store: &Choice) -> Result<ExitCode, Error> {
    match (store, command) {
        (Choice::Embedded(root), command) => embedded(command, root),
        (Choice::Daemon { address, way, shown }, Command::Info { .. }) => of_daemon(address, *way, shown),
        (Choice::Daemon { .. }, Command::Collect { .. }) => {
            Err("a daemon's store is made smaller by `nix-collect-garbage`; what a build has made is kept by the link \
                 `.splitter/outputs` in its directory"
                .into())
        }
        (Choice::Daemon { .. }, Command::Verify) => {
            Err("a daemon's store is checked by `nix-store --verify --check-contents`".into())
        }
        (Choice::Daemon { .. }, Command::Delete) => Err("a daemon's store is not ours to delete".into()),
    }
}

fn of_daemon(address: &Address, way: Option<Way>, shown: &str) -> Result<ExitCode, Error> {
    let options = DaemonOptions { way, connections: 1, ..DaemonOptions::default() };
    let unusable = |error| Unusable { shown: shown.into(), error };
    let store = DaemonStore::open(address.clone(), options).map_err(unusable)?;
    let trust = match store.trust() {
        Trust::Trusted => "yes",
        Trust::NotTrusted => "no",
        Trust::Unknown => "it does not say",
    };
    let means = match store.way() {
        Way::Stock => "without experimental features: built by inputs, added again by content",
        Way::ContentAddressed => "by `ca-derivations`",
        Way::Recursive => "inside of a derivation, by `recursive-nix`",
    };
    say(&[
        format!("store     {shown}"),
        format!("daemon    Nix {}", store.nix_version()),
        format!("trusted   {trust}"),
        format!("way       {}, {means}", store.way()),
    ]);
    Ok(ExitCode::SUCCESS)
}

/// Does `command` with the embedded store below `root`.
fn embedded(command: &Command, root: &Path) -> Result<ExitCode, Error> {
    match command {
        Command::Info { limit } => info(root, limit),
        Command::Collect { limit } => {
            Layout::new(root).check()?;
            collect(root, limit.of(root)?)
        }
        Command::Verify => verify(root),
        Command::Delete => {
            delete(root).map_err(|error| with_hint(error, root))?;
            say(&[format!("deleted the store `{}`", root.display())]);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Whoever tried `rm -rf` before has lost what tells a store, but none of its read-only directories.
fn with_hint(error: CollectError, root: &Path) -> Error {
    match error {
        CollectError::Layout(LayoutError::NotAStore { .. }) if root.join("nix/store").exists() => {
            let root = root.display();
            format!(
                "{error}\nhint: if `rm` has left it of a store, `chmod -R u+w '{root}'` lets `rm -r` delete the rest"
            )
            .into()
        }
        error => error.into(),
    }
}

fn info(root: &Path, limit: &Limit) -> Result<ExitCode, Error> {
    if !root.exists() {
        say(&[format!("store     {} (not made yet)", root.display())]);
        return Ok(ExitCode::SUCCESS);
    }
    let store = LocalStore::open_existing(root)?;
    let info = store.info()?;
    let last_use = info.last_use.map_or("never".into(), |time| time::text(time, SystemTime::now()));
    let mut lines = vec![
        format!("store     {}", store.layout().root().display()),
        format!("format    {FORMAT}, database schema {SCHEMA}"),
        format!("paths     {}", info.paths),
        format!("size      {} of at most {}, as NARs", Size(info.nar_size), limit.of(root)?),
        format!("on disk   {}", Size(info.disk_size)),
        format!("last use  {last_use}"),
        format!("runner    {}", runner(&store)?),
    ];
    lines.extend(store.warnings().iter().map(|warning| format!("warning   {warning}")));
    say(&lines);
    Ok(ExitCode::SUCCESS)
}

/// The runner that builds of this program use.
fn runner(store: &LocalStore) -> Result<String, Error> {
    let program = std::env::current_exe()?.with_file_name(localstore::runner::NAME);
    if !program.exists() {
        return Ok(format!("`{}` is missing", program.display()));
    }
    let (hash, _) = nar::nar_hash(&program)?;
    let name: StoreName = localstore::runner::NAME.parse().expect("a valid name");
    let path = StoreDir::default().fixed_path(&name, &ContentAddress::nar(hash));
    let there = match nixstore::Store::path_infos(store, std::slice::from_ref(&path))?[0] {
        Some(_) => "",
        None => ", not in this store yet",
    };
    Ok(format!("{} ({}{there}; {})", StoreDir::default().print(&path), Hash::Sha256(hash).sri(), Pin::of(&hash)))
}

fn collect(root: &Path, limit: Size) -> Result<ExitCode, Error> {
    match evict(root, limit.0)? {
        Evicted::InUse => Err(CollectError::InUse { root: root.into() }.into()),
        Evicted::WithinLimit => {
            say(&[format!("the store `{}` takes no more than {limit}: nothing was deleted", root.display())]);
            Ok(ExitCode::SUCCESS)
        }
        Evicted::Deleted { paths, bytes, left } => {
            say(&[format!("deleted {paths} path{}, {}; {} left", plural(paths), Size(bytes), Size(left))]);
            if left > limit.0 {
                eprintln!("splitter: warning: the rest is protected by roots, so the store takes more than {limit}");
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn verify(root: &Path) -> Result<ExitCode, Error> {
    let store = LocalStore::open_existing(root)?;
    let report = store.verify()?;
    let print = |path| StoreDir::default().print(path);
    let mut lines = Vec::new();
    lines.extend(report.missing.iter().map(|path| format!("missing: {}", print(path))));
    lines.extend(report.changed.iter().map(|change| {
        let (registered, found) = (Hash::Sha256(change.registered).sri(), Hash::Sha256(change.found).sri());
        format!("changed: {} (registered as {registered}, is {found})", print(&change.path))
    }));
    lines.extend(report.unreadable.iter().map(|(path, error)| format!("unreadable: {} ({error})", print(path))));
    lines.extend(report.unregistered.iter().map(|name| format!("unregistered, does no harm: {name}")));
    let wrong = report.missing.len() + report.changed.len() + report.unreadable.len();
    lines.push(format!("checked {} path{}, {wrong} wrong", report.checked, plural(report.checked)));
    say(&lines);
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn say(lines: &[String]) {
    let mut out = io::stdout().lock();
    for line in lines {
        // Nobody listens any more, as with `| head`.
        let _ = writeln!(out, "{line}");
    }
}
