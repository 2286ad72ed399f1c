//! Compilers behind a script that adds words of its own, as nixpkgs wraps them: its variables and its files are inputs.

use std::fs;
use tests::calls::{Calls, settle};

/// In the manner of nixpkgs' `cc-wrapper`: it lies outside of the project with its files beside it, takes words from variables
/// and files, and puts the compiler in its place.
const WRAPPER: &str = r#"#!/bin/bash
set -eu -o pipefail
shopt -s nullglob
declare -a before=() after=() kept=()
if [[ -z ${NIX_CC_WRAPPER_FLAGS_SET_x86_64_unknown_linux_gnu-} ]]; then
    source @out@/nix-support/add-flags.sh
fi
link=1
for word in "$@"; do
    case $word in
    -c | -S | -E) link=0 ;;
    esac
done
before+=($NIX_CFLAGS_COMPILE_BEFORE_x86_64_unknown_linux_gnu)
after+=($NIX_CFLAGS_COMPILE_x86_64_unknown_linux_gnu)
[[ $link = 0 ]] || after+=($NIX_LDFLAGS_x86_64_unknown_linux_gnu)
for measure in ${NIX_HARDENING_ENABLE-}; do
    case $measure in
    fortify) before+=(-O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2) ;;
    stackprotector) before+=(-fstack-protector-strong --param ssp-buffer-size=4) ;;
    esac
done
if [[ ${NIX_ENFORCE_PURITY-} = 1 && -n ${NIX_STORE-} ]]; then
    for word in "$@"; do
        case $word in
        -I"$NIX_STORE"* | -I"$NIX_BUILD_TOP"*) kept+=("$word") ;;
        -I/*) echo "impure path in ${word#-I}" >&2 ;;
        *) kept+=("$word") ;;
        esac
    done
    set -- "${kept[@]}"
fi
if (( "${NIX_DEBUG:-0}" >= 1 )); then
    printf 'extra flags before to @name@:\n' >&2
    for word in "${before[@]}"; do printf '  %q\n' "$word" >&2; done
fi
if (( "${NIX_CC_USE_RESPONSE_FILE:-0}" >= 1 )); then
    list=$(mktemp "${TMPDIR:-/tmp}/cc-params.XXXXXX")
    trap 'rm -f -- "$list"' EXIT
    printf '%q\n' "${before[@]}" "$@" "${after[@]}" > "$list"
    /usr/bin/@name@ "@$list"
else
    exec /usr/bin/@name@ "${before[@]}" "$@" "${after[@]}"
fi
"#;

const ADD_FLAGS: &str = r#"for name in NIX_CFLAGS_COMPILE NIX_CFLAGS_COMPILE_BEFORE NIX_LDFLAGS; do
    declare -gx "${name}_x86_64_unknown_linux_gnu="
    if [[ -n ${NIX_CC_WRAPPER_TARGET_HOST_x86_64_unknown_linux_gnu-} ]]; then
        declare -gx "${name}_x86_64_unknown_linux_gnu=${!name-}"
    fi
done
NIX_CFLAGS_COMPILE_x86_64_unknown_linux_gnu="$(< @out@/nix-support/cc-cflags) $NIX_CFLAGS_COMPILE_x86_64_unknown_linux_gnu"
if [[ -e @out@/nix-support/cc-cflags-before ]]; then
    NIX_CFLAGS_COMPILE_BEFORE_x86_64_unknown_linux_gnu="$(< @out@/nix-support/cc-cflags-before)"
fi
export NIX_CC_WRAPPER_FLAGS_SET_x86_64_unknown_linux_gnu=1
"#;

/// Calls of wrapped compilers `cc`, `gcc` and `g++`, which come first on `PATH`.
fn wrapped(test: &str) -> Option<Calls> {
    let mut calls = Calls::new(test, &["gcc", "g++", "bash"])?;
    let out = calls.scene.at("wrapped").display().to_string();
    for name in ["cc", "gcc", "g++"] {
        let text = WRAPPER.replace("@out@", &out).replace("@name@", name);
        calls.write_program(&format!("../wrapped/bin/{name}"), text);
    }
    calls.scene.write("wrapped/nix-support/add-flags.sh", ADD_FLAGS.replace("@out@", &out));
    calls.scene.write("wrapped/nix-support/cc-cflags", "-DFROM_FILE=1\n");
    calls.set("PATH", &format!("{out}/bin:{}", std::env::var("PATH").unwrap()));
    calls.set("NIX_CC_WRAPPER_TARGET_HOST_x86_64_unknown_linux_gnu", "1");
    calls.set("NIX_CFLAGS_COMPILE", "-DFROM_ENV=1 -frandom-seed=1234567890");
    let source = "#include <stdio.h>\n#include <extra.h>\nint from_env = FROM_ENV, from_file = FROM_FILE, extra = EXTRA;\n\
                  int f(char *to) { char c[64]; int unused; sprintf(c, \"%s\", to); return puts(c); }\n";
    calls.write("a.c", source);
    calls.write("a.cc", source);
    calls.write("include/extra.h", "#define EXTRA 1\n");
    settle();
    Some(calls)
}

const CALL: &str = "gcc -Wall -Iinclude -c a.c";

#[test]
fn a_wrapped_compiler_makes_what_it_makes_by_itself() {
    let Some(mut calls) = wrapped("a_wrapped_compiler_makes_what_it_makes_by_itself") else { return };
    for call in [CALL, "cc -Iinclude -MD -MF a.d -c a.c -o c.o", "g++ -g -Iinclude -c a.cc -o cc.o"] {
        calls.miss_then_hit(call);
    }
    // By its path too, and with its words in a file.
    let path = calls.scene.at("wrapped/bin/gcc").display().to_string();
    calls.miss_then_hit(&format!("{path} -Iinclude -c a.c"));
    calls.set("NIX_CC_USE_RESPONSE_FILE", "1");
    calls.miss_then_hit(CALL);
    calls.unset("NIX_CC_USE_RESPONSE_FILE");
    calls.hit(CALL);
    calls.set("NIX_LDFLAGS", "-L/none");
    calls.passed("gcc -shared a.o -o a.so", "called_for_link");
}

#[test]
fn variables_of_a_wrapper_are_inputs_and_those_of_nix_are_none() {
    let Some(mut calls) = wrapped("variables_of_a_wrapper_are_inputs_and_those_of_nix_are_none") else { return };
    calls.miss_then_hit(CALL);
    for (name, value) in [
        ("NIX_CFLAGS_COMPILE", "-DFROM_ENV=2"),
        ("NIX_CFLAGS_COMPILE_BEFORE", "-O1"),
        ("NIX_HARDENING_ENABLE", "fortify stackprotector"),
        ("NIX_HARDENING_ENABLE", "fortify"),
        ("NIX_DEBUG", "1"),
    ] {
        calls.set(name, value);
        calls.miss_then_hit(CALL);
    }
    calls.set("NIX_CFLAGS_COMPILE", "-DFROM_ENV=3");
    calls.unset("NIX_HARDENING_ENABLE");
    calls.miss_then_hit(CALL);
    for round in ["1", "2"] {
        for name in ["NIX_BUILD_CORES", "NIX_BUILD_TOP", "NIX_LOG_FD", "NIX_STORE", "NIX_SSL_CERT_FILE", "NIX_PATH"] {
            calls.set(name, round);
        }
        calls.hit(CALL);
    }
}

#[test]
fn paths_that_a_wrapper_takes_away_are_those_of_the_build() {
    let Some(mut calls) = wrapped("paths_that_a_wrapper_takes_away_are_those_of_the_build") else { return };
    calls.write("a.c", "#if __has_include(<extra.h>)\nint extra;\n#endif\nint from = FROM_ENV;\n");
    let call = format!("gcc -I{} -c a.c", calls.at("include").display());
    calls.set("NIX_ENFORCE_PURITY", "1");
    calls.set("NIX_STORE", "/nix/store");
    for top in ["/none", &calls.scene.at("").display().to_string(), "/none/other"] {
        calls.set("NIX_BUILD_TOP", top);
        for _ in 0..2 {
            calls.both(&call);
        }
    }
    calls.hit(&call);
}

#[test]
fn files_of_a_wrapper_are_inputs() {
    let Some(mut calls) = wrapped("files_of_a_wrapper_are_inputs") else { return };
    calls.miss_then_hit(CALL);
    calls.scene.write("wrapped/nix-support/cc-cflags", "-DFROM_FILE=2\n");
    settle();
    calls.miss_then_hit(CALL);
    calls.scene.write("wrapped/nix-support/cc-cflags-before", "-O1");
    settle();
    calls.miss_then_hit(CALL);
    for (name, from, to) in
        [("wrapped/nix-support/add-flags.sh", "$(<", "-O3 $(<"), ("wrapped/bin/gcc", "before=()", "before=(-g)")]
    {
        calls.scene.write(name, calls.scene.read(name).replace(from, to));
        settle();
        calls.miss_then_hit(CALL);
    }
    fs::remove_file(calls.scene.at("wrapped/nix-support/cc-cflags-before")).unwrap();
    assert_ne!(calls.both(CALL), ["direct_cache_hit"]);
    calls.hit(CALL);
}

#[test]
fn a_variable_that_a_script_reads_is_an_input() {
    let test = "a_variable_that_a_script_reads_is_an_input";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    calls.write("a.c", "int x = X;\n");
    calls.write_program("tools/my-gcc", "#!/bin/sh\nexec gcc -DX=${MY_X:-0} \"$@\"\n");
    settle();
    let call = "tools/my-gcc -c a.c";
    calls.miss_then_hit(call);
    for x in ["1", "2"] {
        calls.set("MY_X", x);
        calls.miss_then_hit(call);
    }
    calls.set("MY_X", "1");
    calls.hit(call);
    calls.unset("MY_X");
    calls.hit(call);
}
