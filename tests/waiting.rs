//! A build of which one edge waits until somebody stops it.

use crate::Scene;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// An edge `a` that is soon done, one `b` that has written half of its output and waits, and one `c` that needs it.
pub struct Waiting<'a> {
    scene: &'a Scene,
    /// The argument by which what waits is found among all processes.
    time: String,
}

impl<'a> Waiting<'a> {
    /// Writes it into a scene.
    ///
    /// # Panics
    /// Where a file cannot be written.
    pub fn new(scene: &'a Scene) -> Self {
        // No two tests may find the processes of each other, whether or not they are threads of one process.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let time = format!("{}{:02}", 200_000 + std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        scene.write("build/in", "text\n");
        scene.edges(&format!(
            "build a: sh in\n  cmd = cp in a\nbuild b: sh a\n  cmd = echo half > b; sleep {time}\n\
             build c: sh b\n  cmd = cp b c\n"
        ));
        Self { scene, time }
    }

    /// Starts a build by this command, and returns when `b` runs.
    ///
    /// # Panics
    /// Where it never does.
    pub fn start(&self, command: &mut Command) -> Child {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let until = Instant::now() + Duration::from_secs(60);
        while self.scene.processes(&self.time) == 0 {
            if Instant::now() > until || child.try_wait().expect("it is ours").is_some() {
                signal(&child, "INT");
                let said = self.scene.heard(&child.wait_with_output().expect("it is ours"));
                panic!("`b` never runs\n{said}");
            }
            thread::sleep(Duration::from_millis(20));
        }
        child
    }

    /// Checks that the build has been stopped: soon no process of it is left, and `b` is not in its place. Then lets `b`
    /// wait no more.
    ///
    /// # Panics
    /// Where it has not.
    pub fn is_stopped(&self) {
        let until = Instant::now() + Duration::from_secs(10);
        while self.scene.processes(&self.time) > 0 {
            assert!(Instant::now() < until, "a process survives");
            thread::sleep(Duration::from_millis(20));
        }
        assert!(!self.scene.at("build/b").exists(), "a half output is not put in place");
        self.scene
            .edges("build a: sh in\n  cmd = cp in a\nbuild b: sh a\n  cmd = cp a b\nbuild c: sh b\n  cmd = cp b c\n");
    }
}

/// Sends a signal, such as `INT`.
///
/// # Panics
/// Where that fails.
pub fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args(["-s", name, &child.id().to_string()]).status();
    assert!(status.expect("`kill` starts").success());
}
