//! What ninja does and what ours does, one beside the other, where builds go wrong or do too much. Each test states both.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, SystemTime};
use tests::{Said, Scene, not_run};

/// The same project twice: one is built by ninja, the other by ours.
struct Pair {
    ninja: Scene,
    ours: Scene,
}

/// What both said of one run.
struct Both {
    ninja: Said,
    ours: Said,
}

impl Pair {
    /// Nothing, and `test` noted as not run, where a program is missing, or ninja is older than 1.13.
    fn new(test: &str, needs: &[&str]) -> Option<Self> {
        let needs = [&["ninja"], needs].concat();
        let pair = Self { ninja: Scene::new(test, &needs)?, ours: Scene::new(test, &needs)? };
        let version = pair.said(&["--version"]).ninja.out;
        let minor = version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
        if !version.starts_with("1.") || minor.is_none_or(|minor| minor < 13) {
            not_run(test, &format!("ninja is {}, older than 1.13", version.trim_end()));
            return None;
        }
        Some(pair)
    }

    fn scenes(&self) -> [&Scene; 2] {
        [&self.ninja, &self.ours]
    }

    fn each(&self, does: impl Fn(&Scene)) {
        self.scenes().into_iter().for_each(does);
    }

    fn edges(&self, edges: &str) {
        self.each(|scene| scene.edges(edges));
    }

    /// Writes a file, later than all that was built.
    fn write(&self, name: &str, text: &str) {
        sleep(Duration::from_millis(20)); // the kernel's clock of files goes by ticks of up to 10
        self.each(|scene| scene.write(name, text));
    }

    /// Gives a file another time.
    fn set_time(&self, name: &str, time: SystemTime) {
        self.each(|scene| File::open(scene.at(name)).unwrap().set_modified(time).unwrap());
    }

    fn commands(&self, words: &[&str]) -> [Command; 2] {
        let mut ninja = Command::new("ninja");
        ninja.current_dir(self.ninja.at("build")).stdin(Stdio::null()).env_remove("NINJA_STATUS");
        let mut ours = self.ours.command("ninja2drv");
        ours.arg("-dexplain");
        [ninja, ours].map(|mut command| {
            command.args(words);
            command
        })
    }

    fn said(&self, words: &[&str]) -> Both {
        let [mut ninja, mut ours] = self.commands(words);
        Both { ninja: self.ninja.said(&mut ninja), ours: self.ours.said(&mut ours) }
    }

    /// Starts both.
    fn start(&self) -> [Child; 2] {
        self.commands(&[]).map(|mut command| command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn heard(&self, children: [Child; 2]) -> Both {
        let [ninja, ours] = children.map(|child| child.wait_with_output().unwrap());
        Both { ninja: self.ninja.heard(&ninja), ours: self.ours.heard(&ours) }
    }

    /// A build of all, that succeeds, and in which these edges run.
    #[track_caller]
    fn runs(&self, ninja: &[&str], ours: &[&str]) -> Both {
        let both = self.said(&[]);
        both.ended(0, 0);
        both.ran(ninja, ours);
        both
    }

    /// Both have this in a file.
    #[track_caller]
    fn holds(&self, name: &str, ninja: &str, ours: &str) {
        assert_eq!(self.scenes().map(|scene| scene.read(name)), [ninja, ours], "`{name}` of ninja and of ours");
    }
}

impl Both {
    #[track_caller]
    fn ran(&self, ninja: &[&str], ours: &[&str]) {
        let theirs: BTreeSet<&str> =
            self.ninja.out.lines().filter_map(|line| Some(line.strip_prefix('[')?.split_once("] ")?.1)).collect();
        let ran = self.ours.ran();
        let mine: BTreeSet<&str> = ran.iter().filter_map(|edge| Some(edge.split_once(": ")?.0)).collect();
        let stated = [ninja, ours].map(|names| names.iter().copied().collect::<BTreeSet<&str>>());
        assert_eq!([theirs, mine], stated, "{self}");
    }

    #[track_caller]
    fn ended(&self, ninja: i32, ours: i32) {
        assert_eq!([self.ninja.code, self.ours.code], [Some(ninja), Some(ours)], "{self}");
    }
}

impl std::fmt::Display for Both {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ninja:\n{}\nours:\n{}", self.ninja, self.ours)
    }
}

#[test]
fn an_output_that_comes_out_the_same_ends_a_run_also_without_restat() {
    let Some(pair) = Pair::new("an_output_that_comes_out_the_same_ends_a_run_also_without_restat", &[]) else { return };
    pair.write("build/in", "1\n");
    let keeps = "if test -e a && test \"`cat a`\" = one; then :; else echo one > a; fi; cat in > /dev/null";
    for (restat, ninja) in [("", ["a", "b"].as_slice()), ("\n  restat = 1", &["a"])] {
        pair.edges(&format!("build a: sh in\n  cmd = {keeps}{restat}\nbuild b: sh a\n  cmd = cp a b\n"));
        pair.said(&[]).ended(0, 0);
        pair.write("build/in", &format!("2{restat}"));
        pair.runs(ninja, &["a"]);
    }
}

#[test]
fn a_new_time_of_the_same_content_runs_nothing() {
    let Some(pair) = Pair::new("a_new_time_of_the_same_content_runs_nothing", &[]) else { return };
    pair.edges("build a: sh in\n  cmd = cp in a\n");
    pair.write("build/in", "1\n");
    pair.runs(&["a"], &["a"]);
    pair.write("build/in", "1\n");
    let both = pair.runs(&["a"], &[]);
    assert!(both.ours.is_idle() || both.ours.out.contains(", 0 reused, 1 up to date"), "{both}");
}

#[test]
fn an_input_that_changes_to_an_older_one_is_noticed() {
    let Some(pair) = Pair::new("an_input_that_changes_to_an_older_one_is_noticed", &[]) else { return };
    pair.edges("build a: sh in\n  cmd = cp in a\n");
    pair.write("build/in", "new\n");
    pair.runs(&["a"], &["a"]);
    pair.write("build/in", "old\n");
    pair.set_time("build/in", SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    pair.runs(&[], &["a"]);
    pair.holds("build/a", "new\n", "old\n");
}

#[test]
fn an_output_that_somebody_changes_is_put_right() {
    let Some(pair) = Pair::new("an_output_that_somebody_changes_is_put_right", &[]) else { return };
    pair.edges("build a: sh in\n  cmd = cp in a\n");
    pair.write("build/in", "good\n");
    pair.runs(&["a"], &["a"]);
    pair.each(|scene| fs::remove_file(scene.at("build/a")).unwrap()); // ours may be read-only
    pair.write("build/a", "evil\n");
    pair.runs(&[], &[]);
    pair.holds("build/a", "evil\n", "good\n");
}

/// Other lists need no other result, for ours goes by what a command reads and not by what is stated of it.
#[test]
fn what_a_command_reads_counts_whether_or_not_it_is_listed() {
    let Some(pair) = Pair::new("what_a_command_reads_counts_whether_or_not_it_is_listed", &[]) else { return };
    pair.edges("build a: sh one\n  cmd = cat one t* > a\n");
    pair.write("build/one", "1\n");
    pair.write("build/two", "2\n");
    pair.runs(&["a"], &["a"]);
    pair.write("build/two", "3\n");
    pair.set_time("build/two", SystemTime::now() - Duration::from_secs(60));
    pair.runs(&[], &["a"]);
    pair.edges("build a: sh one two\n  cmd = cat one t* > a\n");
    pair.runs(&[], &[]);
    pair.holds("build/a", "1\n2\n", "1\n3\n");
}

#[test]
fn a_header_that_hides_another_is_seen() {
    let Some(pair) = Pair::new("a_header_that_hides_another_is_seen", &["gcc"]) else { return };
    pair.edges("build a.o: cc a.c\n  flags = -Ifirst -Isecond\n");
    pair.write("build/a.c", "#include <a.h>\n");
    pair.write("build/first/other.h", "");
    pair.write("build/second/a.h", "int second;\n");
    pair.runs(&["a.o"], &["a.o"]);
    pair.write("build/first/a.h", "int first;\n");
    pair.runs(&[], &["a.o"]);
}

#[test]
fn an_input_that_a_dyndep_file_states_counts() {
    let Some(pair) = Pair::new("an_input_that_a_dyndep_file_states_counts", &[]) else { return };
    pair.edges(
        "build dd: sh which\n  cmd = cp which dd\nbuild b: sh in\n  cmd = cp in b\n\
         build a: sh in || dd\n  cmd = cp b a\n  dyndep = dd\n",
    );
    pair.write("build/which", "ninja_dyndep_version = 1\nbuild a: dyndep | b\n");
    pair.write("build/in", "1\n");
    pair.runs(&["dd", "b", "a"], &["dd", "b", "a"]);
    pair.write("build/in", "2\n");
    pair.runs(&["b", "a"], &["b", "a"]);
    pair.holds("build/a", "2\n", "2\n");
}

#[test]
fn a_validation_is_built_and_waited_for_by_nobody() {
    let Some(pair) = Pair::new("a_validation_is_built_and_waited_for_by_nobody", &[]) else { return };
    pair.edges("build check: sh a\n  cmd = cp a check; exit 7\nbuild a: sh in |@ check\n  cmd = cp in a\n");
    pair.write("build/in", "1\n");
    let both = pair.said(&["-k0", "a"]);
    both.ended(7, 7);
    pair.holds("build/a", "1\n", "1\n");
}

#[test]
fn the_exit_code_is_that_of_the_command_that_failed() {
    let Some(pair) = Pair::new("the_exit_code_is_that_of_the_command_that_failed", &[]) else { return };
    pair.edges("build a: sh in\n  cmd = exit 42\n");
    pair.write("build/in", "1\n");
    pair.said(&[]).ended(42, 42);
}

#[test]
fn all_that_can_be_done_is_done_where_failures_do_not_matter() {
    let Some(pair) = Pair::new("all_that_can_be_done_is_done_where_failures_do_not_matter", &[]) else { return };
    pair.edges(
        "build a: sh in\n  cmd = exit 1\nbuild b: sh in\n  cmd = cp in b\nbuild c: sh a\n  cmd = cp a c\n\
         build d: sh b\n  cmd = cp b d\n",
    );
    pair.write("build/in", "1\n");
    pair.said(&["-k0"]).ended(1, 1);
    pair.each(|scene| assert!(scene.at("build/d").exists() && !scene.at("build/c").exists()));
}

#[test]
fn a_dry_run_writes_nothing_and_says_the_same() {
    let Some(pair) = Pair::new("a_dry_run_writes_nothing_and_says_the_same", &[]) else { return };
    pair.edges("build a: sh in\n  cmd = cp in a\n");
    pair.write("build/in", "1\n");
    let both = pair.said(&["-n"]);
    both.ended(0, 0);
    both.ran(&["a"], &["a"]);
    pair.each(|scene| assert!(!scene.at("build/a").exists()));
}

#[test]
fn two_builds_of_one_directory_do_not_both_run_a_command() {
    let Some(pair) = Pair::new("two_builds_of_one_directory_do_not_both_run_a_command", &[]) else { return };
    pair.edges("build a: sh in\n  cmd = sleep 2; cp in a\n");
    pair.write("build/in", "1\n");
    let first = pair.start();
    sleep(Duration::from_millis(500));
    let [first, second] = [first, pair.start()].map(|children| pair.heard(children));
    first.ran(&["a"], &["a"]);
    second.ended(0, 0);
    second.ran(&["a"], &[]);
    assert_eq!(second.ours.errors, "ninja2drv: another run is at work in `build`; waiting for it\n");
}

#[test]
fn what_a_killed_build_left_half_is_made_again() {
    let Some(pair) = Pair::new("what_a_killed_build_left_half_is_made_again", &[]) else { return };
    pair.edges("build a: sh in\n  cmd = echo half > a; sleep 1.5; cp in a\n");
    pair.write("build/in", "whole\n");
    let children = pair.start();
    sleep(Duration::from_millis(700));
    for mut child in children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    sleep(Duration::from_secs(1)); // what ninja started goes on without it
    pair.runs(&["a"], &["a"]);
    pair.holds("build/a", "whole\n", "whole\n");
}

/// Spoils what both remember of an earlier build, and says what they say then.
fn spoilt(pair: &Pair, spoil: impl Fn(&[u8]) -> Vec<u8>) -> Both {
    pair.edges("build a.o: cc a.c\nbuild p: ld a.o\n");
    pair.write("build/a.c", "int main(void) { return 0; }\n");
    pair.runs(&["a.o", "p"], &["a.o", "p"]);
    for (scene, name) in
        [(&pair.ninja, ".ninja_deps"), (&pair.ours, ".splitter/state"), (&pair.ours, ".splitter/records")]
    {
        let name = scene.at("build").join(name);
        let text = fs::read(&name).unwrap();
        fs::write(name, spoil(&text)).unwrap();
    }
    let both = pair.said(&[]);
    both.ended(0, 0);
    pair.runs(&[], &[]);
    both
}

#[test]
fn what_is_remembered_may_be_cut_off() {
    let Some(pair) = Pair::new("what_is_remembered_may_be_cut_off", &["gcc"]) else { return };
    let both = spoilt(&pair, |text| text[..text.len() - 3].to_vec());
    assert!(both.ninja.errors.contains("premature end of file; recovering"), "{both}");
    both.ran(&["a.o", "p"], &[]);
    assert!(
        both.ours.errors.lines().all(|line| line.contains("warning: ") && line.contains(" is not used: ")),
        "{both}"
    );
    assert_eq!(both.ours.reused().len(), 2, "{both}");
}

#[test]
fn what_is_remembered_may_be_anything() {
    let Some(pair) = Pair::new("what_is_remembered_may_be_anything", &["gcc"]) else { return };
    let both = spoilt(&pair, |text| (0..text.len()).map(|at| (at * 167 + 13) as u8).collect());
    assert!(both.ninja.errors.contains("starting over"), "{both}");
    both.ran(&["a.o", "p"], &[]);
    assert_eq!(both.ours.reused().len(), 2, "{both}");
}

#[test]
fn a_time_to_come_is_as_good_as_any() {
    let Some(pair) = Pair::new("a_time_to_come_is_as_good_as_any", &[]) else { return };
    pair.edges("build a: sh in\n  cmd = cp in a\n");
    pair.write("build/in", "1\n");
    pair.set_time("build/in", SystemTime::now() + Duration::from_secs(3600));
    pair.runs(&["a"], &["a"]);
    pair.runs(&["a"], &[]);
    let both = pair.runs(&["a"], &[]);
    assert!(both.ours.is_idle(), "{both}");
}

#[test]
fn another_command_runs_the_edge() {
    let Some(pair) = Pair::new("another_command_runs_the_edge", &[]) else { return };
    pair.edges("build a: sh in\n  cmd = cp in a\n");
    pair.write("build/in", "1\n");
    pair.runs(&["a"], &["a"]);
    pair.edges("build a: sh in\n  cmd = cat in in > a\n");
    pair.runs(&["a"], &["a"]);
    pair.holds("build/a", "1\n1\n", "1\n1\n");
}

#[test]
fn a_generator_that_does_not_make_the_build_file_is_an_edge_that_another_command_does_not_run() {
    let test = "a_generator_that_does_not_make_the_build_file_is_an_edge_that_another_command_does_not_run";
    let Some(pair) = Pair::new(test, &[]) else { return };
    let rule = "rule gen\n  command = $cmd\n  description = $out\n  generator = 1\n";
    pair.edges(&format!("{rule}build a: gen in\n  cmd = cp in a\n"));
    pair.write("build/in", "1\n");
    let both = pair.said(&["-n"]);
    both.ended(0, 0);
    both.ran(&["a"], &["a"]);
    pair.runs(&["a"], &["a"]);
    pair.write("build/in", "2\n");
    pair.runs(&["a"], &["a"]);
    pair.holds("build/a", "2\n", "2\n");
    pair.edges(&format!("{rule}build a: gen in\n  cmd = cat in in > a\n"));
    pair.runs(&[], &[]);
    pair.write("build/in", "3\n");
    pair.runs(&["a"], &["a"]);
    pair.holds("build/a", "3\n3\n", "3\n3\n");
    // On the terminal, as Meson has it: it was taken for one that was run before, and did nothing.
    pair.edges(&format!("{rule}build always: phony\nbuild b: gen always\n  cmd = echo >> b\n  pool = console\n"));
    pair.runs(&["b"], &["b"]);
    pair.runs(&["b"], &["b"]);
    pair.holds("build/b", "\n\n", "\n\n");
}

#[test]
fn another_content_of_a_response_file_runs_the_edge() {
    let Some(pair) = Pair::new("another_content_of_a_response_file_runs_the_edge", &[]) else { return };
    let with = |text: &str| {
        let rule = "rule rsp\n  command = cp $out.rsp $out\n  description = $out\n  rspfile = $out.rsp\n";
        pair.edges(&format!("{rule}  rspfile_content = {text}\nbuild a: rsp\n"));
    };
    with("one");
    pair.runs(&["a"], &["a"]);
    with("two");
    pair.runs(&["a"], &["a"]);
    pair.holds("build/a", "two", "two");
    pair.each(|scene| assert!(!scene.at("build/a.rsp").exists()));
}

#[test]
fn a_build_file_is_made_again_before_it_is_used() {
    let Some(pair) = Pair::new("a_build_file_is_made_again_before_it_is_used", &[]) else { return };
    let rules = "rule gen\n  command = cp next build.ninja\n  generator = 1\n  description = build.ninja\n\
                 rule sh\n  command = $cmd\n  description = $out\nbuild build.ninja: gen next\n";
    pair.write("build/next", &format!("{rules}build a: sh\n  cmd = echo 1 > a\n"));
    pair.each(|scene| fs::copy(scene.at("build/next"), scene.at("build/build.ninja")).map(drop).unwrap());
    pair.said(&[]).ended(0, 0);
    pair.holds("build/a", "1\n", "1\n");
    pair.write("build/next", &format!("{rules}build b: sh\n  cmd = echo 2 > b\n"));
    pair.said(&[]).ended(0, 0);
    pair.holds("build/b", "2\n", "2\n");
    pair.each(|scene| fs::rename(scene.at("build/next"), scene.at("build/away")).unwrap());
    let both = pair.said(&[]);
    both.ended(1, 1);
    assert!(both.ours.errors.contains("'next', needed by 'build.ninja', missing and no known rule"), "{both}");
    pair.each(|scene| fs::rename(scene.at("build/away"), scene.at("build/next")).unwrap());
    // It need not be wanted, and what it is made of may be phony, as CMake has it.
    let next = format!("{rules}build next: phony\nbuild c: sh\n  cmd = echo 3 > c\ndefault c\n");
    pair.write("build/next", &next);
    pair.said(&[]).ended(0, 0);
    pair.holds("build/c", "3\n", "3\n");
    pair.write("build/next", &next.replace("echo 3", "echo 4"));
    pair.said(&[]).ended(0, 0);
    pair.holds("build/c", "4\n", "4\n");
    // What the build file no longer says is deleted when that is asked for.
    let both = pair.said(&["-t", "cleandead"]);
    both.ended(0, 0);
    pair.each(|scene| assert!(!scene.at("build/a").exists() && scene.at("build/c").exists(), "{both}"));
}

#[test]
fn an_output_that_is_not_written_is_no_error() {
    let Some(pair) = Pair::new("an_output_that_is_not_written_is_no_error", &[]) else { return };
    pair.edges("build a: sh in\n  cmd = cat in\n");
    pair.write("build/in", "1\n");
    pair.runs(&["a"], &["a"]);
    // It reads what it read before, so it would print what it printed.
    pair.runs(&["a"], &[]);
}

#[test]
fn a_cycle_is_an_error() {
    let Some(pair) = Pair::new("a_cycle_is_an_error", &[]) else { return };
    pair.edges("build a: sh b\n  cmd = cp b a\nbuild b: sh a\n  cmd = cp a b\n");
    let both = pair.said(&[]);
    both.ended(1, 1);
    let both = pair.said(&["a"]);
    both.ended(1, 1);
    assert_eq!(both.ninja.errors, "ninja: error: dependency cycle: a -> b -> a\n");
    assert_eq!(both.ours.errors, both.ninja.errors);
}
