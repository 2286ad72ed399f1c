//! The runner as the builder of an edge's derivation, started by Nix: it makes its own sandbox within Nix's, as the embedded
//! store would make it, with `/nix/store` for a store. What the commands print is an output too, so it is kept in a file and
//! shown to Nix at the end.

use crate::files::remove_tree;
use crate::runner::{NAME, Network, Place, Room};
use crate::sandbox::{Ended, Job, Keeper, Program, SandboxError};
use nixstore::manifest::Manifest;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// The structured attributes of the derivation of which this process is the builder, if it is one.
pub fn attributes() -> Option<PathBuf> {
    let named = std::env::var_os("NIX_ATTRS_JSON_FILE").filter(|name: &OsString| !name.is_empty());
    let named = PathBuf::from(named?);
    // Nix 2.8 says where the file is outside of its sandbox.
    let inside = named.file_name().map(|name| Path::new("/build").join(name));
    Some(inside.filter(|inside| !named.exists() && inside.exists()).unwrap_or(named))
}

/// The program: realises the edge of these structured attributes. Answers the exit code of the command that failed, 0 if
/// none did, or [`REFUSED`].
pub fn main(attributes: &Path) -> i32 {
    match run(attributes) {
        Ok(code) => code,
        Err(Problem::Sandbox(error @ SandboxError::Refused { .. })) => {
            eprintln!("{NAME}: cannot run an edge in this sandbox: {error}");
            REFUSED
        }
        Err(error) => {
            eprintln!("{NAME}: {error}");
            2
        }
    }
}

/// The exit code where a setting of the machine keeps the runner from making a sandbox. Its last line says which.
pub const REFUSED: i32 = 126;

/// What stops it.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("cannot {0}: {1}")]
    Io(String, io::Error),
    #[error("`{0}` does not hold what an edge needs: {1}")]
    Attributes(PathBuf, serde_json::Error),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

impl Problem {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        |error| Self::Io(what.into(), error)
    }
}

fn run(attributes: &Path) -> Result<i32, Problem> {
    let text = fs::read(attributes).map_err(Problem::io(format!("read `{}`", attributes.display())))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| Problem::Attributes(attributes.into(), error))?;
    let build = std::env::current_dir().map_err(Problem::io("find the build directory"))?;
    let root = build.join("root");
    fs::create_dir_all(&root).map_err(Problem::io(format!("make `{}`", root.display())))?;
    let log = build.join("log");
    let open = || File::options().read(true).write(true).create(true).truncate(true).open(&log);
    let job = Job {
        program: Program::Edge { attributes: &text, store: Path::new(STORE) },
        scratch: Path::new(STORE).parent().expect("it is below a directory"),
        timeout: None,
        cancelled: &AtomicBool::new(false),
    };
    let run = |room| -> Result<_, Problem> {
        let place = Place::Sandbox { root: root.clone(), network: Network::of_edge(manifest.offline), room };
        let log = open().map_err(Problem::io(format!("make `{}`", log.display())))?;
        let told = log.try_clone().map_err(Problem::io("share the log"))?;
        Ok((Keeper::start(Path::new("/proc/self/exe"), &place, told).and_then(|keeper| keeper.run(&job)), log))
    };
    let (mut ended, mut log) = run(Room::Memory(None))?;
    if matches!(ended, Ok((Ended::NoRoom, _))) {
        // It may have been ended when it had made some already.
        manifest.outputs.values().for_each(|output| remove_tree(Path::new(output)).unwrap_or_default());
        (ended, log) = run(Room::Disk)?;
    }
    show(&mut log).map_err(Problem::io("show what the commands printed"))?;
    let (ended, _) = ended?;
    Ok(match ended {
        Ended::Exit(0) => {
            complete(&manifest)?;
            0
        }
        Ended::Exit(code) => code,
        Ended::Signal(signal) => 128 + signal, // as a shell tells it; the first process of a sandbox cannot end by one
        // Nobody asked for these here.
        Ended::TimedOut | Ended::Cancelled | Ended::Undeclared(_) | Ended::NotAhead | Ended::NoRoom => 1,
    })
}

const STORE: &str = "/nix/store";

fn show(log: &mut File) -> io::Result<()> {
    let mut text = Vec::new();
    log.rewind()?;
    log.read_to_end(&mut text)?;
    io::stderr().write_all(&text)
}

/// The outputs that a runner leaves out where they hold nothing: Nix wants each.
fn complete(manifest: &Manifest) -> Result<(), Problem> {
    let path = |output: &str| manifest.outputs.get(output).map(Path::new).filter(|path| !path.exists());
    if let Some(log) = path("log") {
        File::create(log).map_err(Problem::io("write the output `log`"))?;
    }
    if let Some(rest) = path("rest") {
        fs::create_dir(rest).map_err(Problem::io("make the output `rest`"))?;
    }
    Ok(())
}
