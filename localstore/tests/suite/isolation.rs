//! What a builder can see and do, and that nothing of it stays.

use crate::kit::{Kit, Sees, again, chain, descendants, kit, kit_at, not_run, plain_kit, runner, sh};
use localstore::runner::Network;
use localstore::sandbox::SandboxError;
use nixstore::store::{BuildOptions, Failure, RealiseError};
use nixstore::{ContentAddress, DerivationOutput, Hash, Method, PathInfo, Sha256, Store as _, StoreDir};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn print(info: &PathInfo) -> String {
    StoreDir::default().print(&info.path)
}

/// What a script writes to its output.
fn text(kit: &Kit, drv: &crate::kit::Drv) -> String {
    fs::read_to_string(kit.physical(&kit.build(drv)["out"].path)).unwrap()
}

#[test]
fn a_store_path_that_is_no_input_cannot_be_seen() {
    let kit = plain_kit();
    let (given, other) = (kit.add("given", "1\n"), kit.add("other", "2\n"));
    let beside = fs::canonicalize(kit.root()).unwrap();
    let script = format!(
        "for f in /nix/store/* {} {}/*; do test -e $f && echo $f >&3; done 3> $out; :",
        print(&other),
        beside.display()
    );
    let seen = text(&kit, &sh("seen", &script).source(&given));
    assert_eq!(seen.lines().filter(|line| !line.ends_with("-seen")).collect::<Vec<_>>(), [print(&given)]);
}

#[test]
fn what_an_input_refers_to_can_be_seen_and_none_of_it_changed() {
    let kit = kit();
    let used = kit.add("used", "1\n");
    let using = kit.build(&sh("using", &format!("mkdir $out; ln -s {} $out/link", print(&used))).source(&used));
    let using = &using["out"];
    let script = format!(
        "cat {0}/link > $out; for f in {0}/new {0}/link {1}; do if echo x 2> /dev/null > $f; then exit 1; fi; done; \
         if rm -f {0}/link || mv {1} {1}-; then exit 1; fi",
        print(using),
        print(&used)
    );
    assert_eq!(text(&kit, &sh("reads", &script).source(using)), "1\n");
    assert_eq!(fs::read_to_string(kit.physical(&used.path)).unwrap(), "1\n");
}

#[test]
fn of_the_host_there_is_a_shell_and_nothing_else() {
    let script = "for f in /bin/* /etc/* /home/* /root/* /sys/* /usr/bin/* /var/*; do test -e $f && echo $f >&3; done 3> $out; :";
    assert_eq!(text(&plain_kit(), &sh("host", script)), "/bin/sh\n/etc/group\n/etc/hosts\n/etc/passwd\n");
}

#[test]
fn a_builder_is_nobody_of_this_host() {
    let script = "id > $out; cat /proc/sys/kernel/hostname >> $out; echo /proc/[0-9]* >> $out; ulimit -c >> $out; umask >> $out; \
                  grep -e NoNewPrivs -e CapEff -e CapPrm /proc/self/status >> $out";
    assert_eq!(
        text(&kit(), &sh("who", script)),
        "uid=1000(nixbld) gid=100(nixbld) groups=100(nixbld)\nlocalhost\n/proc/1 /proc/2\n0\n0022\n\
         CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\n"
    );
}

#[test]
fn there_is_no_network_but_the_own_loopback_device() {
    let kit = kit();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let script = format!(
        "while read name rest; do case $name in *:) echo $name >> $out;; esac; done < /proc/net/dev; \
         if bash -c 'exec 3<> /dev/tcp/127.0.0.1/{}'; then echo reached >> $out; fi",
        listener.local_addr().unwrap().port()
    );
    assert_eq!(text(&kit, &sh("net", &script)), "lo:\n");
}

#[test]
fn a_fixed_output_is_fetched_with_the_network_of_the_host() {
    let kit = kit();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let script = format!(
        "exec 2>&1; cat /etc/nsswitch.conf; if test -e /etc/resolv.conf; then cat /etc/resolv.conf; fi; \
         bash -c 'exec 3<> /dev/tcp/127.0.0.1/{}'; echo -n data > $out",
        listener.local_addr().unwrap().port()
    );
    let data = ContentAddress { method: Method::Flat, hash: Hash::Sha256(Sha256::of("data")) };
    let drv = sh("fetched", &script).without_outputs().output("out", DerivationOutput::Fixed(data));
    kit.build(&drv);
    let resolver = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let log = String::from_utf8(kit.store().log(&drv.path()).unwrap().unwrap()).unwrap();
    assert_eq!(log, format!("hosts: files dns\nservices: files\n{resolver}"));
}

/// A script that starts a process in a session of its own, and does not want to end; and a word by which its processes
/// are known.
fn stubborn(name: &str, and_then: &str) -> (crate::kit::Drv, String) {
    let word = format!("86399.{}{}", std::process::id(), name.len());
    (sh(name, &format!("trap '' TERM INT HUP; setsid sleep {word} & echo > $out; {and_then}")), word)
}

/// Whether a process with this word among its arguments lives anywhere.
fn lives(word: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes())
    })
}

/// Waits until something is so, or for long enough.
fn wait_until(is_so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is_so() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn no_process_survives_the_time_it_is_allowed() {
    let (drv, word) = stubborn("late", "while :; do :; done");
    let limit = Duration::from_millis(300);
    let options = BuildOptions { timeout: Some(limit), cancelled: &AtomicBool::new(false) };
    let start = Instant::now();
    match kit().store().realise(&drv.resolved(), &options) {
        Err(RealiseError::Failed { reason, .. }) => assert_eq!(reason, Failure::TimedOut(limit)),
        other => panic!("{other:?}"),
    }
    assert!(!lives(&word));
    assert!(start.elapsed() < limit * 20, "{:?}", start.elapsed());
}

#[test]
fn no_process_survives_when_the_job_is_cancelled() {
    let (drv, word) = stubborn("cancelled", "while :; do :; done");
    let cancelled = AtomicBool::new(false);
    let kit = kit();
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_until(|| lives(&word));
            cancelled.store(true, Ordering::Relaxed);
        });
        kit.store().realise(&drv.resolved(), &BuildOptions { timeout: None, cancelled: &cancelled })
    });
    assert!(matches!(result, Err(RealiseError::Failed { reason: Failure::Cancelled, .. })), "{result:?}");
    assert!(!lives(&word));
}

#[test]
fn a_job_that_somebody_ends_has_failed_whatever_it_has_made() {
    const NAME: &str = "a_job_that_somebody_ends_has_failed_whatever_it_has_made";
    if !Path::new("/proc/thread-self/children").exists() {
        return not_run(NAME, "the kernel does not list children");
    }
    // The keeper, and the process below it that does the job.
    for (which, signal) in [(0, Signal::TERM), (0, Signal::KILL), (1, Signal::KILL)] {
        let (drv, word) = stubborn(&"x".repeat(which + signal.as_raw() as usize), "while :; do :; done");
        let kit = kit();
        let result = std::thread::scope(|scope| {
            scope.spawn(|| {
                wait_until(|| lives(&word));
                let process = descendants()[which];
                kill_process(Pid::from_raw(process as i32).unwrap(), signal).unwrap();
            });
            kit.try_build(&drv)
        });
        let is_failure = matches!(result, Err(RealiseError::Failed { reason: Failure::Signal(_), .. }));
        assert!(is_failure, "{which} {signal:?}: {result:?}");
        assert_eq!((kit.files().len(), kit.leftovers()), (0, Vec::new()), "{which} {signal:?}");
        // A keeper that is killed has seen to their end and does not wait for it.
        wait_until(|| !lives(&word));
        assert!(!lives(&word), "{which} {signal:?}");
    }
}

#[test]
fn no_process_survives_the_builder() {
    let (drv, word) = stubborn("over", "exit 0");
    let kit = kit();
    kit.build(&drv);
    assert!(!lives(&word));
}

#[test]
fn a_builder_that_cannot_be_run_is_a_failure_that_names_it() {
    let kit = plain_kit();
    let (reason, log) = kit.fail(&sh("missing", "").builder("/usr/bin/env"));
    assert_eq!(reason, Failure::Exit(125));
    assert!(log.contains("cannot run `/usr/bin/env`"), "{log}");
}

#[test]
fn an_ordinary_user_can_build() {
    const TEST: &str = "isolation::an_ordinary_user_can_build";
    let build = |directory: &Path| {
        let kit = kit_at(directory, Sees::Shell);
        let given = kit.add("given", "given\n");
        let script = format!("read line < {}; echo $line > $out", print(&given));
        assert_eq!(text(&kit, &sh("user", &script).source(&given)), "given\n");
    };
    let directory = tempfile::tempdir().unwrap();
    let is_root = rustix::process::geteuid().is_root();
    if let Some(place) = crate::kit::place() {
        assert!(!is_root);
        return build(&place);
    }
    if !is_root {
        return build(directory.path());
    }
    // A user that nobody else is, who may read only what is copied here.
    const USER: u32 = 47_110_815;
    let copy = |from: &Path, name: &str| {
        let to = directory.path().join(name);
        fs::copy(from, &to).unwrap();
        to
    };
    let (test, runner) = (copy(&std::env::current_exe().unwrap(), "test"), copy(&runner(), "runner"));
    let home = directory.path().join("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(USER), Some(USER)).unwrap();
    std::os::unix::fs::chown(directory.path(), Some(USER), Some(USER)).unwrap();
    let user = format!("{USER}");
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]);
    command.arg(&test).env(crate::kit::RUNNER, runner).current_dir(&home);
    again(TEST, &home, &mut command);
}

/// Runs a test again in namespaces of its own, after `script`. Gives the place it is told of there, as [`again`] does.
fn in_namespaces(test: &str, script: &str) -> Option<std::path::PathBuf> {
    let place = crate::kit::place();
    if place.is_none() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c"]);
        command.arg(format!("{{ {script}; }} || exit 99; exec \"$0\" \"$@\"")).arg(std::env::current_exe().unwrap());
        again(test, directory.path(), &mut command);
    }
    place
}

#[test]
fn where_namespaces_are_refused_the_setting_is_named() {
    let script = "echo 0 > /proc/sys/user/max_user_namespaces";
    let Some(place) = in_namespaces("isolation::where_namespaces_are_refused_the_setting_is_named", script) else {
        return;
    };
    let kit = kit_at(&place, Sees::Shell);
    let error = kit.store().probe().unwrap_err();
    assert!(matches!(error, SandboxError::Refused { .. }), "{error}");
    assert_eq!(
        chain(&error),
        "cannot make a user namespace; the setting `user.max_user_namespaces` is 0 and must be larger: \
         No space left on device (os error 28)"
    );
    let Err(RealiseError::Store(error)) = kit.try_build(&sh("a", "echo > $out")) else { panic!("it cannot be run") };
    assert!(chain(&error).contains("`user.max_user_namespaces` is 0"), "{}", chain(&error));
}

#[test]
fn a_sandbox_that_was_begun_where_namespaces_are_refused_ends_with_its_store() {
    const TEST: &str = "isolation::a_sandbox_that_was_begun_where_namespaces_are_refused_ends_with_its_store";
    let Some(place) = in_namespaces(TEST, "echo 0 > /proc/sys/user/max_user_namespaces") else { return };
    let mut kit = kit_at(&place, Sees::Shell);
    kit.reopen_expecting(Network::None, None);
    kit.close(); // which waits for it
    assert_eq!(kit.leftovers(), Vec::<String>::new());
}

#[test]
fn where_the_namespaces_are_granted_and_a_mount_is_refused_the_probe_says_so() {
    const TEST: &str = "isolation::where_the_namespaces_are_granted_and_a_mount_is_refused_the_probe_says_so";
    let Some(place) = in_namespaces(TEST, "mount -t tmpfs none /proc/sys/kernel") else { return };
    let error = chain(&kit_at(&place, Sees::Shell).store().probe().unwrap_err());
    assert!(
        error.starts_with("cannot mount a new `/proc`; a container masks parts of /proc here: run it with"),
        "{error}"
    );
}

#[test]
fn the_probe_makes_a_whole_sandbox() {
    match plain_kit().store().probe() {
        Ok(()) => {}
        Err(error @ SandboxError::Refused { .. }) => not_run("the_probe_makes_a_whole_sandbox", &chain(&error)),
        Err(error) => panic!("{}", chain(&error)),
    }
}

#[test]
fn a_store_without_a_runner_says_that_it_lacks_one() {
    let directory = tempfile::tempdir().unwrap();
    let store = localstore::LocalStore::open(&directory.path().join("root")).unwrap();
    assert!(store.probe().unwrap_err().to_string().contains("`splitter-runner` is to be installed"));
}
