//! The text of a file of settings, as ccache has it: `KEY = VALUE` in a line, `#` begins a comment, a line that begins with a blank
//! goes on with the value before it, and `$VARIABLE` or `${VARIABLE}` in a value stands for what the environment has (`$$` for a
//! dollar). Pure.

use bstr::{BStr, BString, ByteSlice as _};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// One setting of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The number of its first line, from 1.
    pub line: usize,
    /// As it is written.
    pub name: BString,
    /// Its lines joined by blanks; variables are not replaced.
    pub value: BString,
}

/// A line that is no setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoItem {
    /// Its number, from 1.
    pub line: usize,
    /// The line.
    pub text: BString,
}

/// The settings of a text.
///
/// # Errors
/// The first line that is none.
pub fn items(text: &[u8]) -> Result<Vec<Item>, NoItem> {
    let mut items: Vec<Item> = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(b"#") {
            continue;
        }
        match items.last_mut() {
            Some(item) if goes_on(line) => {
                if !item.value.is_empty() {
                    item.value.push(b' ');
                }
                item.value.extend_from_slice(trimmed);
            }
            _ => {
                let set = trimmed.split_once_str("=").filter(|_| !goes_on(line));
                let (name, value) = set.ok_or_else(|| NoItem { line: i + 1, text: trimmed.into() })?;
                items.push(Item { line: i + 1, name: name.trim().into(), value: value.trim().into() });
            }
        }
    }
    Ok(items)
}

fn goes_on(line: &[u8]) -> bool {
    line.first().is_some_and(|byte| b" \t".contains(byte))
}

/// The text with one setting changed, its comments and the rest as they are. Variables in the value stay as they are.
pub fn with_setting(text: &str, name: &str, value: &str) -> String {
    let is_it = |line: &str| line.split_once('=').is_some_and(|(key, _)| key.trim().eq_ignore_ascii_case(name));
    let mut lines: Vec<String> = Vec::new();
    let mut within = false;
    for line in text.lines() {
        within = if goes_on(line.as_bytes()) { within } else { is_it(line) };
        if !within {
            lines.push(line.to_owned());
        }
    }
    lines.push(format!("{name} = {value}"));
    lines.join("\n") + "\n"
}

/// A value with the environment in it. Notes in `read` which variables it depends on.
///
/// # Errors
/// What is wrong, as a phrase.
pub fn expanded(
    value: &BStr,
    variable: &dyn Fn(&str) -> Option<OsString>,
    read: &mut BTreeMap<BString, Option<BString>>,
) -> Result<OsString, String> {
    let mut out = Vec::new();
    let mut rest = value.as_bytes();
    while let Some(at) = rest.find_byte(b'$') {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(b"$") {
            out.push(b'$');
            rest = after;
            continue;
        }
        let braced = rest.strip_prefix(b"{");
        let body = braced.unwrap_or(rest);
        let length = body.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        let (name, after) = body.split_at(length);
        rest = match braced {
            Some(_) => after.strip_prefix(b"}").ok_or_else(|| format!("`{value}`: there is no `}}` for a `${{`"))?,
            None => after,
        };
        let name = name.to_str().ok().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| format!("`{value}`: `$` stands before no name; write `$$` for a dollar"))?;
        let found = variable(name).map(OsString::into_vec);
        read.insert(name.into(), found.clone().map(BString::from));
        out.extend(found.ok_or_else(|| format!("`{value}`: the variable `{name}` is not set"))?);
    }
    out.extend_from_slice(rest);
    Ok(OsStr::from_bytes(&out).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<(usize, String, String)>, NoItem> {
        let items = items(text.as_bytes())?.into_iter();
        Ok(items.map(|item| (item.line, item.name.to_string(), item.value.to_string())).collect())
    }

    #[test]
    fn a_value_goes_on_in_lines_that_begin_with_a_blank() {
        let text = "# c\nmap =\n  /a=x\n\n  # within\n\t/b=y\nlink = true\n";
        let item = |line, name: &str, value: &str| (line, name.to_owned(), value.to_owned());
        assert_eq!(all(text), Ok(vec![item(2, "map", "/a=x /b=y"), item(7, "link", "true")]));
        assert_eq!(all("\n what = 1\n"), Err(NoItem { line: 2, text: "what = 1".into() }));
        assert_eq!(all("what\n"), Err(NoItem { line: 1, text: "what".into() }));
    }

    #[test]
    fn a_file_keeps_what_is_not_changed() {
        assert_eq!(
            with_setting("# x\nmax_size = 1G\nlink = true\n", "max_size", "2G"),
            "# x\nlink = true\nmax_size = 2G\n"
        );
        assert_eq!(with_setting("map =\n  /a=x\nlink = true\n", "map", "$B=y"), "link = true\nmap = $B=y\n");
        assert_eq!(with_setting("", "max_size", "2G"), "max_size = 2G\n");
    }

    #[test]
    fn variables_stand_for_their_values() {
        let variable = |name: &str| (name == "HOME").then(|| "/h".into());
        let mut read = BTreeMap::new();
        let mut of = |value: &str| expanded(value.into(), &variable, &mut read).map(|it| it.into_string().unwrap());
        assert_eq!(of("$HOME/a:${HOME}b:$$HOME"), Ok("/h/a:/hb:$HOME".into()));
        assert!(of("$NOTHING").unwrap_err().contains("the variable `NOTHING` is not set"));
        assert!(of("${HOME").unwrap_err().contains("there is no `}`"));
        assert!(of("a$").unwrap_err().contains("stands before no name"));
        let known = [("HOME".into(), Some("/h".into())), ("NOTHING".into(), None)];
        assert_eq!(read, BTreeMap::from(known));
    }
}
