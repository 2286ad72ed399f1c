//! Several users of one machine: a group that shares a cache, users who may only read one, and caches that are nobody else's.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use tests::calls::Calls;
use tests::machine::{Group, User};
use tests::{Said, not_run, program};

/// Two users and a group in which both are, with homes, checkouts of the same project, and one directory that all may write to.
struct Machine {
    calls: Calls,
    users: [User; 2],
    group: Group,
}

const ONE: usize = 0;
const TWO: usize = 1;

impl Machine {
    fn new(test: &str) -> Option<Self> {
        let calls = Calls::new(test, &["gcc", "setpriv", "useradd", "find"])?;
        let made = || Ok::<_, String>(([User::new("a")?, User::new("b")?], Group::new("g")?));
        let (users, group) = match made() {
            Ok(made) => made,
            Err(reason) => {
                not_run(test, &reason);
                return None;
            }
        };
        let machine = Self { calls, users, group };
        fs::create_dir(machine.calls.scene.at("bin")).unwrap();
        for name in ["ccwrap", "ccwrap-full", "splitter-runner"] {
            fs::copy(program(name), machine.calls.scene.at("bin").join(name)).unwrap();
        }
        let [one, two] = machine.users.each_ref().map(User::name);
        for place in ["checkout0", "checkout1", "both"] {
            machine.calls.scene.write(&format!("{place}/.splitter-root"), "");
            machine.calls.scene.write(&format!("{place}/a.c"), "int a(void) { int unused; return 1; }\n");
            machine.calls.scene.write(&format!("{place}/b.c"), "int b;\n");
        }
        let group = machine.group.name();
        machine.shell(&format!(
            "mkdir shared home0 home1; chmod 755 . ; chown -R {one} home0 checkout0; chown -R {two} home1 checkout1
             chgrp {group} shared; chmod 2775 shared; chmod 777 both"
        ));
        Some(machine)
    }

    /// Runs a script as root.
    fn shell(&self, script: &str) {
        let top = self.calls.scene.at("");
        let said = self.calls.scene.said(Command::new("sh").args(["-e", "-c", script]).current_dir(top));
        assert_eq!(said.code, Some(0), "{script}: {said}");
    }

    /// Runs a script as a user; `cache` is where the cache is, if not at home.
    fn by(&self, user: usize, place: &str, cache: Option<&str>, script: &str) -> Said {
        let groups: &[&Group] = if cache == Some("shared/cache") { &[&self.group] } else { &[] };
        let script = format!("umask 022; PATH={}:$PATH; {script}", self.calls.scene.at("bin").display());
        let mut command = self.users[user].command(groups, &["sh", "-c", &script]);
        command.env("HOME", self.calls.scene.at(&format!("home{user}"))).current_dir(self.calls.scene.at(place));
        if let Some(cache) = cache {
            command.env("CCWRAP_DIR", self.calls.scene.at(cache)).env("CCACHE_UMASK", "002");
        }
        let mut said = self.calls.scene.said(&mut command);
        let is_other = |line: &&str| !line.starts_with("ccwrap: warning: this host refuses namespaces");
        said.errors = said.errors.lines().filter(is_other).map(|line| format!("{line}\n")).collect();
        said
    }

    /// What a call came to, which the user says.
    fn counted(&self, user: usize, cache: Option<&str>) -> Vec<String> {
        let said = self.by(user, "", cache, "ccwrap --print-stats; ccwrap -z >&2");
        let lines = said.out.lines().filter(|line| !line.starts_with("local_") && !line.starts_with("stats_"));
        let some = lines.filter(|line| !line.ends_with("\t0"));
        some.map(|line| line.replace('\t', " ")).collect()
    }

    /// Owner and permissions of a file.
    fn owned(&self, name: &str) -> (u32, u32) {
        let metadata = fs::metadata(self.calls.scene.at(name)).unwrap();
        (metadata.uid(), metadata.mode() & 0o7777)
    }

    fn id(&self, user: usize) -> u32 {
        let output = Command::new("id").args(["-u", self.users[user].name()]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    }
}

const CALL: &str = "ccwrap gcc -Wall -c a.c -o a.o";

#[test]
fn what_one_of_a_group_has_compiled_all_of_it_have() {
    let Some(machine) = Machine::new("what_one_of_a_group_has_compiled_all_of_it_have") else { return };
    let cache = Some("shared/cache");
    let theirs = machine.by(ONE, "checkout0", None, "gcc -Wall -c a.c -o a.o");
    let object = fs::read(machine.calls.scene.at("checkout0/a.o")).unwrap();
    // What was made outside of a sandbox is not for another place.
    let elsewhere = if tests::is_refused() { "cache_miss 1" } else { "preprocessed_cache_hit 1" };
    for (user, expected) in
        [(ONE, "cache_miss 1"), (TWO, elsewhere), (ONE, "direct_cache_hit 1"), (TWO, "direct_cache_hit 1")]
    {
        let place = format!("checkout{user}");
        fs::remove_file(machine.calls.scene.at(&format!("{place}/a.o"))).ok();
        let said = machine.by(user, &place, cache, CALL);
        assert_eq!((said.code, said.errors.as_str()), (Some(0), theirs.errors.as_str()), "{user}");
        assert_eq!(machine.counted(user, cache), [expected]);
        assert!(fs::read(machine.calls.scene.at(&format!("{place}/a.o"))).unwrap() == object);
        // The object is the user's own, as the compiler would have made it.
        assert_eq!(machine.owned(&format!("{place}/a.o")), (machine.id(user), 0o644));
    }
    // In the same place the entry of one is the other's.
    for (user, expected) in [(TWO, "cache_miss 1"), (ONE, "direct_cache_hit 1")] {
        fs::remove_file(machine.calls.scene.at("both/b.o")).ok();
        let said = machine.by(user, "both", cache, "ccwrap gcc -O1 -c b.c");
        assert_eq!((said.code, said.errors.as_str()), (Some(0), ""));
        assert_eq!(machine.counted(user, cache), [expected]);
    }
    // All is the group's, and nothing anybody else's.
    let name = machine.group.name();
    machine
        .shell(&format!("test -z \"$(find shared ! -group {name} -print; find shared ! -type l -perm /002 -print)\""));
    machine.shell("test -z \"$(find shared/cache -path '*/nix/store/*' -prune -o ! -type l ! -perm -060 -print)\"");
    // Either may empty it.
    for user in [TWO, ONE] {
        let said = machine.by(user, "", cache, "ccwrap -C");
        assert_eq!((said.code, said.errors.as_str()), (Some(0), ""), "{said}");
        let said = machine.by(user, &format!("checkout{user}"), cache, CALL);
        assert_eq!((said.code, said.errors.as_str()), (Some(0), theirs.errors.as_str()), "{user}");
        assert_eq!(machine.counted(user, cache), ["cache_miss 1"]);
    }
}

#[test]
fn who_may_not_write_has_hits_and_else_the_compiler() {
    let Some(machine) = Machine::new("who_may_not_write_has_hits_and_else_the_compiler") else { return };
    machine.shell("umask 022; mkdir roots");
    let cache = machine.calls.scene.at("roots/cache");
    let root = |script: &str| {
        let mut command = Command::new("sh");
        let script = format!("umask 022; PATH={}:$PATH; {script}", machine.calls.scene.at("bin").display());
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", machine.calls.scene.at("roots"));
        command.args(["-c", &script]).env("CCWRAP_DIR", &cache).current_dir(machine.calls.scene.at("both"));
        machine.calls.scene.said(&mut command)
    };
    let said = root(CALL);
    let theirs = machine.by(ONE, "both", None, "gcc -Wall -c a.c -o theirs.o").errors;
    assert!(said.code == Some(0) && said.errors.ends_with(&theirs), "{said}");
    let statistics = fs::read(cache.join("statistics")).unwrap();
    let expected = fs::read(machine.calls.scene.at("both/theirs.o")).unwrap();
    for mode in ["755", "700"] {
        machine.shell(&format!("chmod {mode} roots/cache"));
        for call in [CALL, "ccwrap gcc -Wall -c a.c -o new.o", "ccwrap gcc -Wall -c a.c -o new.o"] {
            machine.shell("rm -f both/a.o both/new.o");
            let said = machine.by(TWO, "both", Some("roots/cache"), call);
            assert_eq!((said.code, said.errors.as_str()), (Some(0), theirs.as_str()), "{mode} {call}");
            let name = call.rsplit(' ').next().unwrap();
            assert!(fs::read(machine.calls.scene.at("both").join(name)).unwrap() == expected);
            assert_eq!(machine.owned(&format!("both/{name}")), (machine.id(TWO), 0o644));
        }
    }
    // Who may not even read is told so where it is asked for.
    let refused = "ccwrap: the cache `roots/cache` may not be read by this user\n";
    for (variable, words) in [("CCWRAP_STRICT=1", CALL), ("", "ccwrap -s"), ("", "ccwrap --explain"), ("", "ccwrap -C")]
    {
        let said = machine.by(TWO, "both", Some("roots/cache"), &format!("{variable} {words}"));
        assert_eq!((said.code, said.errors.as_str()), (Some(1), refused), "{words}");
    }
    // Nothing of it was noted, and what could be a hit was one: here the compiler would make another object.
    assert!(fs::read(cache.join("statistics")).unwrap() == statistics);
    machine.shell("chmod 755 roots/cache; rm -f both/a.o");
    let said = machine.by(TWO, "both", Some("roots/cache"), &format!("CCWRAP_READONLY=1 {CALL}"));
    assert_eq!((said.code, said.errors.as_str()), (Some(0), theirs.as_str()));
}

#[test]
fn nobody_else_writes_into_a_cache_that_is_not_shared() {
    let Some(machine) = Machine::new("nobody_else_writes_into_a_cache_that_is_not_shared") else { return };
    for umask in ["022", "000"] {
        let said = machine.by(ONE, "checkout0", None, &format!("umask {umask}; {CALL}"));
        assert_eq!(said.code, Some(0), "{said}");
        if umask == "022" {
            let said = machine.by(TWO, "", None, "find home0 ! -type l -writable");
            assert_eq!((said.code, said.out.as_str()), (Some(0), ""));
        }
    }
    let said = machine.by(
        ONE,
        "",
        None,
        "find home0 -name builds -prune -o -name entries -print -o -name store -print -o -name db.sqlite -print",
    );
    assert_eq!(said.out.lines().count(), 3, "{said}");
    // Who names somebody else's cache puts nothing there, and gets what the compiler makes.
    let list = || {
        let mut command = Command::new("find");
        command.args(["home0", "-type", "f", "-printf", "%p %s %T@ %i\n"]).current_dir(machine.calls.scene.at(""));
        command.output().unwrap().stdout
    };
    machine.shell("chmod -R go-w home0");
    let before = list();
    let own = "home0/.cache/splitter/ccwrap";
    let said =
        machine.by(TWO, "checkout1", Some(own), &format!("{CALL} -DEVIL; gcc -Wall -c a.c -o b.o && cmp a.o b.o"));
    assert_eq!(said.code, Some(0), "{said}");
    assert!(list() == before);
    assert_eq!(machine.by(ONE, "checkout0", None, CALL).code, Some(0));
    assert_eq!(machine.counted(ONE, None), ["direct_cache_hit 2", "cache_miss 1"]);
}
