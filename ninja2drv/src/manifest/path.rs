//! Spells paths as Ninja does: in its graph, and in commands.
#![deny(clippy::disallowed_methods)]

use bstr::ByteSlice as _;

/// Makes `path` what Ninja calls canonical: without `.`, empty and, where they cancel a component, `..` components.
/// Unlike in the graph, an absolute path stays absolute and keeps a `..` at its start. An empty path stays empty.
pub fn canonicalise(path: &mut Vec<u8>) {
    if path.is_empty() || is_canonical(path) {
        return;
    }
    let absolute = path[0] == b'/';
    let mut components: Vec<&[u8]> = Vec::new();
    for component in path.split_str("/") {
        match component {
            b"" | b"." => {}
            b".." if components.last().is_some_and(|last| *last != b"..") => {
                components.pop();
            }
            _ => components.push(component),
        }
    }
    let joined = bstr::join("/", &components);
    *path = match (absolute, joined.is_empty()) {
        (true, _) => [b"/", joined.as_slice()].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    };
}

/// Whether nothing can be taken out of a path that is not empty; some that are canonical are not seen to be.
fn is_canonical(path: &[u8]) -> bool {
    let mut rest = path;
    while let Some(below) = rest.strip_prefix(b"../") {
        rest = below;
    }
    let (Some(first), Some(last)) = (rest.first(), rest.last()) else {
        return false;
    };
    // Without branches, which the compiler makes a loop over many bytes at once.
    let pairs = rest.iter().zip(&rest[1..]);
    let suspect = pairs.fold(false, |suspect, (a, b)| suspect | ((*a == b'/') & ((*b == b'/') | (*b == b'.'))));
    // After `../`, a `/` would be an empty component.
    !suspect && *first != b'.' && *last != b'/' && (*first != b'/' || rest.len() == path.len())
}

/// Adds `path` to a command line for `/bin/sh`, quoted where Ninja does.
pub fn push_shell_escaped(path: &[u8], line: &mut Vec<u8>) {
    if path.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_+-./".contains(byte)) {
        line.extend_from_slice(path);
        return;
    }
    line.push(b'\'');
    for (i, part) in path.split_str("'").enumerate() {
        if i > 0 {
            line.extend_from_slice(br"'\''");
        }
        line.extend_from_slice(part);
    }
    line.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_spelt_as_ninja_spells_it() {
        for (path, canonical) in [
            ("", ""),
            (".", "."),
            ("./", "."),
            ("./a", "a"),
            ("a//b/./c/", "a/b/c"),
            ("a/..", "."),
            ("..", ".."),
            ("../", ".."),
            ("..//a", "../a"),
            ("../../a", "../../a"),
            ("../a/../../b", "../../b"),
            ("../.a", "../.a"),
            (".a/.b", ".a/.b"),
            ("a/../../b", "../b"),
            ("/", "/"),
            ("//", "/"),
            ("/.", "/"),
            ("/../x", "/../x"),
            ("/x/../..", "/.."),
            ("//src//a.c", "/src/a.c"),
        ] {
            let mut spelt = path.as_bytes().to_vec();
            canonicalise(&mut spelt);
            assert_eq!(spelt.as_bstr(), canonical, "{path}");
        }
    }

    #[test]
    fn a_path_is_quoted_if_a_shell_could_take_it_amiss() {
        for (path, escaped) in
            [("a+b-c_d./e", "a+b-c_d./e"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("a=b", "'a=b'"), ("ä", "'ä'")]
        {
            let mut line = vec![];
            push_shell_escaped(path.as_bytes(), &mut line);
            assert_eq!(line.as_bstr(), escaped);
        }
    }
}
