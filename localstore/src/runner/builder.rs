//! Any builder, in a root as Nix 2.34 makes it: the closure of its inputs below `/nix/store`, where it writes its outputs
//! too, and its directory `/build`.

use super::root::{Access, Root, mount};
use super::{Builder, Error, Report, namespaces, run};
use std::fs;
use std::path::Path;

/// Runs it to its end. What it leaves running is ended with it.
pub fn run(root: Root, builder: &Builder) -> Result<Report, Error> {
    fill(&root, builder)?;
    root.enter()?;
    if builder.narrow {
        namespaces::look_narrow();
    }
    let file = run::word(&builder.program);
    let name = Path::new(&file).file_name().unwrap_or(&file).to_owned();
    let argv = std::iter::once(name).chain(builder.args.iter().map(|arg| run::word(arg))).collect();
    let mut children = run::Children::OfNamespace;
    let env = builder.env.clone();
    let ended = children.run(run::Start { file, argv, env, cwd: BUILD.into(), stdin: None, stdout: None })?;
    children.end_all();
    Ok(match ended {
        run::Ended::Exit(0) | run::Ended::LeftRunning(_) => Report::done(),
        run::Ended::Exit(code) => Report::Exit(code),
        run::Ended::Signal(signal) => Report::Signal(signal),
    })
}

const BUILD: &str = "/build";

fn fill(root: &Root, builder: &Builder) -> Result<(), Error> {
    terminals(root)?;
    root.bind(&builder.store, Path::new("/nix/store"), Access::Write)?;
    root.bind(&builder.build, Path::new(BUILD), Access::Write)?;
    for (at, from) in &builder.inputs {
        let metadata = fs::symlink_metadata(from).map_err(Error::io(format!("look at `{}`", from.display())))?;
        // A path of the store may be a symlink; anything else is what it leads to.
        if metadata.is_symlink() && at.starts_with("/nix/store") {
            root.copy_link(from, at)?;
        } else {
            root.bind(from, at, Access::Read)?;
        }
    }
    if builder.network {
        network(root)?;
    }
    Ok(())
}

/// What only builders have of `/dev`.
fn terminals(root: &Root) -> Result<(), Error> {
    root.directory(Path::new("/dev/pts"))?;
    let at = root.inside(Path::new("/dev/pts"));
    let flags = libc::MS_NOSUID | libc::MS_NOEXEC;
    mount(
        Some("devpts".as_ref()),
        &at,
        Some("devpts"),
        flags,
        Some("newinstance,mode=0620,ptmxmode=0666"),
        "mount `/dev/pts`",
    )?;
    let ptmx = root.inside(Path::new("/dev/ptmx"));
    std::os::unix::fs::symlink("/dev/pts/ptmx", ptmx).map_err(Error::io("link `/dev/ptmx`"))?;
    let kvm = Path::new("/dev/kvm");
    if kvm.exists() { root.bind(kvm, kvm, Access::Write) } else { Ok(()) }
}

/// How names are looked up on this host, and whom to trust; what is missing here is missing there.
fn network(root: &Root) -> Result<(), Error> {
    root.write("/etc/nsswitch.conf", "hosts: files dns\nservices: files\n")?;
    for file in ["/etc/resolv.conf", "/etc/services", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt"] {
        let file = Path::new(file);
        if file.exists() {
            root.bind(file, file, Access::Read)?;
        }
    }
    Ok(())
}
