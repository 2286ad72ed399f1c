//! What manifests mean, by example. Where the manual is silent, the expected values are what Ninja 1.13.2 prints.

use super::*;
use proptest::prelude::*;
use splitter::graph::{Command, Deps, Edge, EdgeId, Pool, ResponseFile};
use std::io;

const WORKING_DIRECTORY: &str = "/work/build";

fn read(files: &[(&str, &[u8])]) -> Result<Manifest, ParseError> {
    let mut load = |name: &BStr| {
        let file = files.iter().find(|(known, _)| name == *known);
        file.map(|(_, bytes)| bytes.to_vec()).ok_or_else(|| io::Error::from_raw_os_error(2))
    };
    parse(WORKING_DIRECTORY.into(), "build.ninja".into(), &mut load)
}

#[track_caller]
fn manifest(text: &str) -> Manifest {
    read(&[("build.ninja", text.as_bytes())]).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn error(text: &str) -> String {
    match read(&[("build.ninja", text.as_bytes())]) {
        Ok(_) => panic!("no error in {text}"),
        Err(error) => error.to_string(),
    }
}

/// The first line of the error.
#[track_caller]
fn first_line(text: &str) -> String {
    error(text).lines().next().unwrap_or_default().to_owned()
}

impl Manifest {
    #[track_caller]
    fn maker(&self, output: &str) -> EdgeId {
        let file = self.graph.find(output.into()).expect("a known file");
        self.graph.file(file).maker.expect("an output")
    }

    #[track_caller]
    fn edge(&self, output: &str) -> Edge<'_> {
        self.graph.edge(self.maker(output))
    }

    #[track_caller]
    fn command(&self, output: &str) -> Command {
        self.graph.command(self.maker(output))
    }

    #[track_caller]
    fn text(&self, output: &str) -> String {
        self.command(output).text.to_string()
    }

    fn paths(&self, files: &[splitter::graph::FileId]) -> String {
        let paths: Vec<_> = files.iter().map(|file| self.graph.file(*file).path.to_string()).collect();
        paths.join(" ")
    }
}

#[test]
fn an_edge_has_inputs_and_outputs_of_each_kind() {
    let manifest = manifest(
        "rule r\n  command = $in > $out\nbuild a b | c d: r e f | g h i || j |@ k l\nbuild k: r\nbuild l: phony\n",
    );
    let edge = manifest.edge("a");
    assert_eq!(manifest.paths(edge.outputs), "a b c d");
    assert_eq!(edge.explicit_outputs, 2);
    assert_eq!(manifest.paths(edge.inputs), "e f g h i j");
    assert_eq!((edge.explicit_inputs, edge.implicit_inputs), (2, 3));
    assert_eq!(manifest.paths(edge.ordering()), "j");
    assert_eq!(manifest.paths(edge.validations), "k l");
    assert_eq!(edge.location.to_string(), "build.ninja:3");
    assert!(!edge.phony && manifest.edge("l").phony);
    assert_eq!(manifest.text("a"), "e f > a b");
}

#[test]
fn a_command_has_all_that_its_rule_says() {
    let manifest = manifest(
        "pool p\n  depth = 2\nrule r\n  command = x @$rspfile\n  description = make $out\n  depfile = $out.d\n  deps = gcc\n  \
         rspfile = $out.rsp\n  rspfile_content = $in_newline\n  restat = 1\n  generator = 1\n  pool = p\n  dyndep = $out.dd\n\
         build a$ b: r c d$ e || a$ b.dd\n",
    );
    assert_eq!(
        manifest.command("a b"),
        Command {
            text: "x @'a b'.rsp".into(),
            description: "make 'a b'".into(),
            rule: "r".into(),
            env: BTreeMap::new(),
            also: Vec::new(),
            alone: false,
            depfile: Some("a b.d".into()),
            deps: Deps::Gcc,
            msvc_deps_prefix: BString::default(),
            rspfile: Some(ResponseFile { path: "a b.rsp".into(), content: "c\n'd e'".into() }),
            restat: true,
            generator: true,
            pool: Pool::Named { name: "p".into(), depth: 2 },
            dyndep: Some("a b.dd".into()),
        }
    );
}

#[test]
fn what_an_edge_sets_comes_before_what_its_rule_sets_and_the_file_comes_last() {
    let manifest = manifest(
        "a = file\nb = file\ndescription = file\nrule r\n  command = $a $b $c\n  description = rule\n\
         build x: r\n  a = edge\n  c = edge\nbuild y: r\n  description = edge\n",
    );
    assert_eq!(manifest.text("x"), "edge file edge");
    assert_eq!(manifest.command("x").description, "rule");
    assert_eq!(manifest.command("y").description, "edge");
}

#[test]
fn an_edge_that_sets_nothing_sees_its_file_before_its_rule() {
    let text = "description = file\nrule r\n  command = c\n  description = rule\nbuild x: r\nsubninja sub\n";
    let manifest = read(&[("build.ninja", text.as_bytes()), ("sub", b"build y: r\n")]).expect("a good manifest");
    assert_eq!(manifest.command("x").description, "file");
    assert_eq!(manifest.command("y").description, "rule");
}

#[test]
fn an_edge_takes_values_of_the_moment_and_its_rule_takes_the_last_ones() {
    let manifest =
        manifest("v = 1\nrule r\n  command = $v $own\nbuild x: r $v\n  own = $v\nv = 2\nbuild y: r $v\n  own = $v\n");
    assert_eq!(manifest.text("x"), "2 1");
    assert_eq!(manifest.text("y"), "2 2");
    assert_eq!(manifest.paths(manifest.edge("x").inputs), "1");
}

#[test]
fn an_edges_values_do_not_see_each_other_but_its_paths_see_them() {
    let manifest = manifest("rule r\n  command = $b\nbuild x: r $a\n  a = 1\n  b = [$a]\n  a = 2\n");
    assert_eq!(manifest.text("x"), "[]");
    assert_eq!(manifest.paths(manifest.edge("x").inputs), "2");
}

#[test]
fn a_subninja_has_a_scope_of_its_own_and_an_include_has_not() {
    let main = "v = main\nrule r\n  command = $v\ninclude inc\nsubninja sub\nbuild main: r\nbuild top: inc\n";
    let manifest = read(&[
        ("build.ninja", main.as_bytes()),
        ("inc", b"v = inc\nrule inc\n  command = from $v\n"),
        ("sub", b"build before: r\n  w = $v\nv = sub\nrule inc\n  command = other $v\nbuild sub: r\nbuild low: inc\n"),
    ])
    .expect("a good manifest");
    assert_eq!(manifest.files, ["build.ninja", "inc", "sub"]);
    assert_eq!(manifest.text("main"), "inc");
    assert_eq!(manifest.text("sub"), "sub");
    assert_eq!(manifest.text("top"), "from inc");
    assert_eq!(manifest.text("low"), "other sub");
    assert_eq!(manifest.edge("low").location.to_string(), "sub:7");
}

#[test]
fn a_path_in_a_command_is_spelt_as_ninja_spells_it() {
    let manifest = manifest(
        "rule r\n  command = $in > $out\ndir = /work/build\n\
         build ./a//b | ${dir}/a/b: r $dir/../build/c ../build/d /x/./y it's\nbuild $dir/e: r e.c\n",
    );
    assert_eq!(manifest.text("a/b"), r"/work/build/c ../build/d /x/y 'it'\''s' > a/b");
    assert_eq!(manifest.paths(manifest.edge("a/b").outputs), "a/b");
    assert_eq!(manifest.paths(manifest.edge("a/b").inputs), "c ../build/d /x/y it's");
    assert_eq!(manifest.text("e"), "e.c > /work/build/e");
}

#[test]
fn escapes_stand_for_what_would_mean_something() {
    let manifest = manifest("v = 1\nrule r\n  command = $$v $v.x ${v}y $\n     z  $  $:|: \nbuild a$ b$:c$$: r\n");
    assert_eq!(manifest.text("a b:c$"), "$v 1.x 1y z    :|: ");
}

#[test]
fn a_newline_can_be_escaped_since_1_14() {
    let text = "rule r\n  command = a$^b\nbuild x: r\n";
    assert_eq!(manifest(&format!("ninja_required_version = 1.14\n{text}")).text("x"), "a\nb");
    assert_eq!(first_line(text), "build.ninja:2: using $^ needs ninja_required_version = 1.14 or newer");
}

#[test]
fn lines_may_end_as_on_windows() {
    let manifest = manifest("# c\r\nrule r\r\n  command = a $\r\n    b\r\n\r\nbuild x $\r\n  y: r z\r\ndefault y\r\n");
    assert_eq!(manifest.text("x"), "a b");
    assert_eq!(manifest.paths(manifest.edge("x").outputs), "x y");
    assert_eq!(manifest.edge("x").location.line, 6);
    assert_eq!(manifest.paths(&manifest.graph.defaults), "y");
}

#[test]
fn a_comment_in_a_block_does_not_end_it() {
    let manifest = manifest("rule r\n  # first\n# second\n  command = a # b\nbuild x: r\n");
    assert_eq!(manifest.text("x"), "a # b");
    assert_eq!(manifest.edge("x").location.line, 5);
}

#[test]
fn bytes_need_not_be_text() {
    let manifest =
        read(&[("build.ninja", b"rule r\n  command = \xff $in\nbuild x: r \xfe\n")]).expect("a good manifest");
    assert_eq!(manifest.command("x").text, b"\xff '\xfe'".as_bstr());
}

#[test]
fn a_nul_byte_ends_a_file() {
    assert_eq!(manifest("build x: phony\n\0garbage").graph.edges().count(), 1);
}

#[test]
fn pools_limit_or_do_not() {
    let manifest = manifest(
        "d = 3\npool p\n  depth = $d\npool free\n  depth = 0\nrule r\n  command = c\n  pool = $q\n\
         build a: r\n  q = p\nbuild b: r\n  q = free\nbuild c: r\n  pool = console\nbuild d: r\n",
    );
    assert_eq!(manifest.command("a").pool, Pool::Named { name: "p".into(), depth: 3 });
    assert_eq!(manifest.command("b").pool, Pool::Default);
    assert_eq!(manifest.command("c").pool, Pool::Console);
    assert_eq!(manifest.command("d").pool, Pool::Default);
    assert_eq!(manifest.pools, BTreeMap::from([("p".into(), 3), ("free".into(), 0)]));
}

#[test]
fn a_manifest_says_where_logs_go_and_what_it_needs() {
    let manifest = manifest("ninja_required_version = 1.7.2\nd = out\nbuilddir = $d/logs\n");
    assert_eq!(manifest.builddir, Some("out/logs".into()));
    assert_eq!(manifest.required_version, Some(Version { major: 1, minor: 7 }));
    assert!(manifest.warnings.is_empty());
}

#[test]
fn an_old_phony_edge_may_name_itself() {
    let manifest = manifest("build a: phony a b || a c\nbuild d | e: phony d\n");
    let edge = manifest.edge("a");
    assert_eq!(manifest.paths(edge.inputs), "b c");
    assert_eq!((edge.explicit_inputs, edge.implicit_inputs), (1, 0));
    assert_eq!(
        manifest.warnings[0].to_string(),
        "phony target 'a' names itself as an input; ignoring [-w phonycycle=warn]"
    );
    assert_eq!(manifest.paths(manifest.edge("d").inputs), "d");
}

#[test]
fn msvc_and_dyndep_are_told_to_the_caller() {
    let manifest = manifest("rule r\n  command = c\n  deps = msvc\nbuild x: r | dd\n  dyndep = ./dd\n");
    assert_eq!(manifest.command("x").deps, Deps::Msvc);
    assert_eq!(manifest.command("x").dyndep, Some("dd".into()));
}

#[test]
fn a_variable_of_the_file_does_not_stand_in_for_a_response_file() {
    let manifest = manifest("rspfile = x\nrule r\n  command = c $rspfile\nbuild x: r\n  a = 1\n");
    assert_eq!(manifest.text("x"), "c ");
    assert_eq!(manifest.command("x").rspfile, None);
}

#[test]
fn an_error_shows_its_place() {
    let shown = error("rule r\n  command = c\nbuild x: unknown y\n");
    assert_eq!(shown, "build.ninja:3: unknown build rule 'unknown'\nbuild x: unknown y\n         ^ near here");
    let long = error(&format!("build {}: phony $!{}\n", "x".repeat(100), "y".repeat(100)));
    let lines: Vec<_> = long.lines().collect();
    assert_eq!(lines[0], "build.ninja:1: bad $-escape (literal $ must be written as $$)");
    assert_eq!(lines[1].find("$!"), lines[2].find('^'));
}

#[test]
fn what_is_no_statement_is_an_error() {
    for (text, message) in [
        ("\tx", "1: tabs are not allowed, use spaces"),
        ("build\n", "1: expected path"),
        ("build x: phony\n\tx = 1\n", "2: tabs are not allowed, use spaces"),
        ("x\n", "1: expected '=', got newline"),
        ("x 3", "1: expected '=', got identifier"),
        ("x = 3", "1: unexpected EOF"),
        ("x = $", "1: bad $-escape (literal $ must be written as $$)"),
        ("x = $\n $[\n", "2: bad $-escape (literal $ must be written as $$)"),
        ("x = ${a b}\n", "1: bad $-escape (literal $ must be written as $$)"),
        ("x = a\rb\n", "1: lexing error"),
        ("# no end", "1: lexing error"),
        ("  x = 1\n", "1: unexpected indent"),
        ("x = 1\n  y = 2\n", "2: unexpected indent"),
        (": x\n", "1: unexpected ':'"),
        ("build x\n", "1: expected ':', got newline ($ also escapes ':')"),
        ("build x:\n", "1: expected build command name"),
        ("build x: y\n", "1: unknown build rule 'y'"),
        ("build x:: y\n", "1: expected build command name"),
        ("build x: phony a: b\n", "1: expected newline, got ':'"),
        ("build x: phony |@ b || c\n", "1: expected newline, got '||'"),
        ("build : phony\n", "1: expected path"),
        ("build $x: phony\n", "1: empty path"),
        ("build x: phony $y\n", "1: empty path"),
        ("build x: phony\n  a\n", "2: expected '=', got newline"),
        ("build x: phony\n  = a\n", "2: expected variable name"),
        ("build x: phony\n  pool = none\n", "1: unknown pool name 'none'"),
        ("build x: phony\n  dyndep = none\n", "1: dyndep 'none' is not an input"),
        ("build a b a: phony\n", "1: a is defined as an output multiple times"),
        ("build a: phony\nbuild b ./a: phony\n", "2: multiple rules generate a; the first is at build.ninja:1"),
        (
            "build a: phony\nbuild b /work/build/a: phony\n",
            "2: multiple rules generate /work/build/a; the first is at build.ninja:1",
        ),
        ("rule\n", "1: expected rule name"),
        ("rule phony\n", "1: duplicate rule 'phony'"),
        ("rule r\n  command = c\nrule r\n", "3: duplicate rule 'r'"),
        ("rule r\n", "2: expected 'command =' line"),
        ("rule r\n  command =\n", "3: expected 'command =' line"),
        ("rule r\n  other = c\n", "2: unexpected variable 'other'"),
        ("rule r\n  command = c\n  rspfile = r\n", "4: rspfile and rspfile_content need to be both specified"),
        ("pool\n", "1: expected pool name"),
        ("pool p\n", "2: expected 'depth =' line"),
        ("pool p\n  depth = -1\n", "2: invalid pool depth"),
        ("pool p\n  width = 1\n", "2: unexpected variable 'width'"),
        ("pool console\n", "1: duplicate pool 'console'"),
        ("default\n", "1: expected target name"),
        ("default x\n", "1: unknown target 'x'"),
        ("build x: phony\ndefault x:\n", "2: expected newline, got ':'"),
        ("default $x\n", "1: empty path"),
        ("include x\n", "1: loading 'x': No such file or directory"),
        ("include build.ninja\n", "1: loading 'build.ninja': files include each other without end"),
        (
            "ninja_required_version = 1.15\n?",
            "1: ninja version (1.14) incompatible with build file ninja_required_version version (1.15).",
        ),
    ] {
        assert_eq!(first_line(text), format!("build.ninja:{message}"), "{text:?}");
    }
}

#[test]
fn an_error_in_an_included_file_is_placed_there() {
    let error = read(&[("build.ninja", b"\nsubninja sub\n"), ("sub", b"\n\nbuild x\n")]).err().expect("an error");
    assert_eq!((error.file.to_string(), error.line, error.column), ("sub".into(), 3, 8));
    assert_eq!(error.source_line, "build x");
}

#[test]
fn files_may_be_nested_as_deep_as_they_like() {
    const DEEP: usize = 20_000;
    let text = |i: usize| match i {
        DEEP => "build last: r\n".into(),
        _ => format!("v = {i}\nsubninja {}\nbuild o{i}: r $v $w\n", i + 1),
    };
    let mut load = |name: &BStr| match name.to_str().unwrap().parse() {
        Ok(i) => Ok(text(i).into_bytes()),
        Err(_) => Ok("rule r\n  command = $w $v $x\nw = w\nsubninja 0\n".into()),
    };
    let manifest = parse("/work/build".into(), "build.ninja".into(), &mut load).unwrap();
    assert_eq!(manifest.files.len(), DEEP + 2);
    assert_eq!((manifest.text("o7").as_str(), manifest.text("last").as_str()), ("w 7 ", "w 19999 "));
}

#[test]
fn a_file_may_include_itself_if_that_ends() {
    let again: [(&str, &[u8]); 3] = [
        ("build.ninja", b"next = a\ninclude again\n"),
        ("again", b"include $next\n"),
        ("a", b"next = b\ninclude ./again\n"),
    ];
    let files = [&again[..], &[("b", b"v = 1\n".as_slice()), ("./again", again[1].1)]].concat();
    assert_eq!(read(&files).map(|manifest| manifest.files.len()).map_err(|error| error.to_string()), Ok(5));

    // The main file, too.
    let files: [(&str, &[u8]); 2] =
        [("build.ninja", b"ext = $next\nnext = .last\ninclude build.ninja$ext\n"), ("build.ninja.last", b"")];
    assert_eq!(read(&files).map(|manifest| manifest.files.len()).map_err(|error| error.to_string()), Ok(3));
}

#[test]
fn a_missing_main_file_has_no_place() {
    let error = read(&[]).err().expect("an error");
    assert_eq!(error.to_string(), "loading 'build.ninja': No such file or directory");
}

#[test]
fn rule_variables_in_a_circle_are_an_error_where_they_are_used() {
    let rule = "rule r\n  command = a $depfile\n  depfile = b $deps\n  deps = $command\n";
    assert!(read(&[("build.ninja", rule.as_bytes())]).is_ok());
    assert_eq!(
        first_line(&format!("{rule}build x: r\n")),
        "build.ninja:5: cycle in rule variables: command -> depfile -> deps -> command"
    );
    assert_eq!(manifest(&format!("{rule}build x: r\n  deps = gcc\n")).text("x"), "a b gcc");
}

#[test]
fn deps_of_an_unknown_kind_are_an_error() {
    let expected = |line| format!("build.ninja:{line}: unknown deps type 'icc'");
    assert_eq!(first_line("rule r\n  command = c\n  deps = icc\nbuild x: r\n"), expected(4));
    assert_eq!(first_line("rule r\n  command = c\nbuild x: r\n  deps = icc\n"), expected(3));
    assert_eq!(first_line("rule r\n  command = c\nbuild x: r\ndeps = icc\n"), expected(3));
}

#[test]
fn values_that_double_each_other_do_not_take_all_memory() {
    let mut text = "v0 = 0123456789\n".to_owned();
    for i in 1..60 {
        text += &format!("v{i} = $v{0}$v{0}\n", i - 1);
    }
    assert!(first_line(&text).ends_with("the value is too long"));

    let lines: Vec<&str> = text.lines().take(22).collect();
    let copies: String = (0..60).map(|i| format!("w{i} = $v21\n")).collect();
    let text = format!("{}\n{copies}", lines.join("\n"));
    assert_eq!(first_line(&text), "build.ninja:24: the value is too long");
}

#[test]
fn texts_that_need_each_other_many_times_do_not_take_all_time_or_memory() {
    let names =
        ["command", "depfile", "description", "generator", "restat", "msvc_deps_prefix", "rspfile_content", "rspfile"];
    let rule = |times: usize, last: &str| {
        let needed = names[1..].iter().chain([&last]).map(|name| format!("${name}").repeat(times));
        names.iter().zip(needed).map(|(name, value)| format!("  {name} = {value}\n")).collect::<String>()
    };
    let edge = |rule: String| format!("rule r\n{rule}build x: r\n");
    assert_eq!(manifest(&edge(rule(2, "out"))).text("x"), "x".repeat(1 << 8));
    assert_eq!(first_line(&edge(rule(9, "nothing"))), "build.ninja:10: the command is too long");
    assert_eq!(manifest(&format!("rule r\n{}build x: phony\n", rule(9, "nothing"))).graph.edges().count(), 1);

    let long: String = (1..20).map(|i| format!("v{i} = $v{0}$v{0}\n", i - 1)).collect();
    let text = format!("v0 = 0123456789abcdef\n{long}rule r\n  command = {}\nbuild x: r\n", "$v19".repeat(9));
    assert_eq!(first_line(&text), "build.ninja:23: the command is too long");
    let text = format!("rule r\n  command = {}\nbuild x: r {}\n", "$in".repeat(9000), "0123456789 ".repeat(900));
    assert_eq!(first_line(&text), "build.ninja:3: the command is too long");
    // Each edge's command is no longer than one may be.
    let edges: String = (0..9).map(|i| format!("build x{i}: r\n")).collect();
    let text = format!("v0 = 0123456789abcdef\n{long}rule r\n  command = {}\n{edges}", "$v19".repeat(3));
    assert_eq!(first_line(&text), "build.ninja:25: the command is too long");
    let pool = format!("rule r\n{}  pool = $command\nbuild x: r\n", rule(9, "nothing"));
    assert_eq!(first_line(&pool), "build.ninja:11: the pool is too long");
}

#[test]
fn files_that_include_each_other_many_times_are_not_all_read() {
    let mut load = |name: &BStr| match name.to_str().unwrap().parse::<u32>() {
        Ok(i) if i < 50 => Ok(format!("include {0}\nsubninja {0}\n", i + 1).into_bytes()),
        Ok(_) => Ok(vec![]),
        Err(_) => Ok("include 0\n".into()),
    };
    let error = parse("/work/build".into(), "build.ninja".into(), &mut load).err().expect("an error");
    assert_eq!(error.message, "loading '50': it is included too often");
}

#[test]
fn of_several_values_for_a_variable_the_last_counts_however_many_there_are() {
    for count in [2, 16, 17, 100] {
        let values: String = (0..count).map(|i| format!("  v{} = {i}\n  w = {i}\n", i % 90)).collect();
        let manifest = manifest(&format!("rule r\n  command = $v1 $w $v0 $u\nbuild x: r $w\n{values}"));
        let last = |of: usize| (0..count).rev().find(|i| i % 90 == of).unwrap();
        assert_eq!(manifest.text("x"), format!("{} {} {} ", last(1), count - 1, last(0)));
        assert_eq!(manifest.paths(manifest.edge("x").inputs), (count - 1).to_string());
    }
    let manifest = manifest("rule r\n  command = a\n  deps = icc\n  command = b $deps\n  deps = gcc\nbuild x: r\n");
    assert_eq!(manifest.text("x"), "b gcc");
}

/// One of each construct, to be spoilt.
const SAMPLE: &str = "ninja_required_version = 1.14\n# c\npool p\n  depth = 2\nv = $$ $v ${w} $: $\n   x\r\nrule r\n  \
    command = c $in > $out $^ $rspfile\n  rspfile = $out.rsp\n  rspfile_content = $in_newline\n  pool = p\n  deps = gcc\n  \
    depfile = $out.d\n  dyndep = $dd\nbuild a b | /work/build/b: r ../c ./d | e || f $dd |@ g\n  x = $v\n  dd = h\n\
    build g: phony g\nsubninja build.ninja2\ninclude inc\ndefault a\n";

fn survives(text: &[u8]) {
    let files: [(&str, &[u8]); 3] =
        [("build.ninja", text), ("build.ninja2", b"build s: r\nv = s\n"), ("inc", b"rule i\n  command = $v\n")];
    if let Ok(manifest) = read(&files) {
        for (id, edge) in manifest.graph.edges() {
            if !edge.phony {
                manifest.graph.command(id);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
        survives(&bytes);
    }

    #[test]
    fn any_statements_are_read_without_a_panic(
        parts in prop::collection::vec(prop::sample::select(vec![
            "build", "rule", "pool", "default", "include", "subninja", " ", " ", "\n", "\n", "\n  ", "\r\n", "\t", ":", "=",
            " = ", "|", "||", "|@", "$", "${", "}", "a", "b", "$a", "${b}", "$in", "$out", "command = ", "depth = 1", "deps",
            "phony", "r", "build a: r b\n", "rule r\n  command = $in\n", "/work/build", "/", "..", ".", "#", "\0", "é",
            "build.ninja", "inc", "ninja_required_version = 1.14\n", "$^", "dyndep = a", "depfile = $command", "pool = ",
        ]), 0..40)
    ) {
        survives(parts.concat().as_bytes());
    }

    #[test]
    fn a_spoilt_manifest_is_read_without_a_panic(
        changes in prop::collection::vec((0..SAMPLE.len(), 0..3_u8, any::<u8>()), 1..6)
    ) {
        let mut text = SAMPLE.as_bytes().to_vec();
        for (at, what, byte) in changes {
            let at = at.min(text.len() - 1);
            match what {
                0 => text[at] = byte,
                1 => text.insert(at, byte),
                _ => drop(text.drain(at..(at + usize::from(byte) / 16 + 1).min(text.len() - 1))),
            }
        }
        survives(&text);
    }
}

#[test]
fn the_sample_to_be_spoilt_is_good() {
    let files: [(&str, &[u8]); 3] = [("build.ninja", SAMPLE.as_bytes()), ("build.ninja2", b""), ("inc", b"")];
    assert_eq!(read(&files).map(|manifest| manifest.files.len()).map_err(|error| error.to_string()), Ok(3));
}
