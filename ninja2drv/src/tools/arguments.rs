//! Options before, between and behind words, as `getopt_long` reads them.
#![deny(clippy::disallowed_methods)]

use super::Stop;
use bstr::{BString, ByteSlice as _};

/// Which options a tool has.
pub struct Options {
    /// Of the tool, for messages.
    pub tool: &'static str,
    /// Letters; one that takes a value is followed by a colon.
    pub letters: &'static str,
    /// Long names, each with the letter that means the same.
    pub long: &'static [(&'static str, char)],
    /// What is printed where something is wrong, or `h` is among the options.
    pub usage: &'static str,
}

/// What was given.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Options, each with its value, which is empty if it takes none.
    pub options: Vec<(char, BString)>,
    /// The rest.
    pub words: Vec<BString>,
}

impl Given {
    /// Whether an option was given.
    pub fn has(&self, letter: char) -> bool {
        self.options.iter().any(|(given, _)| *given == letter)
    }

    /// The value that was given last.
    pub fn value(&self, letter: char) -> Option<&BString> {
        self.options.iter().rev().find(|(given, _)| *given == letter).map(|(_, value)| value)
    }
}

impl Options {
    /// Reads arguments.
    pub fn read(&self, arguments: &[BString]) -> Result<Given, Stop> {
        let mut given = Given::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                given.words.extend(arguments.by_ref().cloned());
            } else if let Some(long) = argument.strip_prefix(b"--").filter(|_| !self.long.is_empty()) {
                let (name, value) = long.split_once_str("=").map_or((long, None), |(name, value)| (name, Some(value)));
                let letter = self.long(name).ok_or_else(|| self.wrong(format!("unrecognized option '{argument}'")))?;
                let value = self.value(letter, value, &mut arguments, &argument.to_string())?;
                given.options.push((letter, value));
            } else if let Some(letters) = argument.strip_prefix(b"-").filter(|letters| !letters.is_empty()) {
                self.cluster(letters, &mut arguments, &mut given)?;
            } else {
                given.words.push(argument.clone());
            }
        }
        if given.has('h') { Err(Stop::Usage(self.usage, None)) } else { Ok(given) }
    }

    fn cluster<'a>(
        &self,
        letters: &[u8],
        more: &mut impl Iterator<Item = &'a BString>,
        given: &mut Given,
    ) -> Result<(), Stop> {
        let mut rest = letters;
        while let Some((&letter, after)) = rest.split_first() {
            let letter = char::from(letter);
            if letter == ':' || !self.letters.contains(letter) {
                // Long options without any are letters to `getopt`, the second dash too.
                return Err(self.wrong(format!("invalid option -- '{letter}'")));
            }
            let takes_value = self.takes_value(letter);
            let value = Some(after).filter(|after| takes_value && !after.is_empty());
            let value = self.value(letter, value, more, &letter.to_string())?;
            given.options.push((letter, value));
            rest = if takes_value { &[] } else { after };
        }
        Ok(())
    }

    /// The value of an option: `value`, or else the next argument.
    fn value<'a>(
        &self,
        letter: char,
        value: Option<&[u8]>,
        more: &mut impl Iterator<Item = &'a BString>,
        shown: &str,
    ) -> Result<BString, Stop> {
        match (self.takes_value(letter), value) {
            (false, _) => Ok(BString::default()),
            (true, Some(value)) => Ok(value.into()),
            (true, None) => {
                more.next().cloned().ok_or_else(|| self.wrong(format!("option requires an argument -- '{shown}'")))
            }
        }
    }

    fn takes_value(&self, letter: char) -> bool {
        self.letters.contains(&format!("{letter}:"))
    }

    /// A long name may be cut short where it is still the only one.
    fn long(&self, name: &[u8]) -> Option<char> {
        let mut fitting = self.long.iter().filter(|(long, _)| long.as_bytes().starts_with(name));
        let exact = self.long.iter().find(|(long, _)| long.as_bytes() == name);
        let only = fitting.next().filter(|_| fitting.next().is_none());
        exact.or(only).map(|(_, letter)| *letter)
    }

    fn wrong(&self, problem: String) -> Stop {
        Stop::Usage(self.usage, Some(format!("{}: {problem}", self.tool)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: Options = Options {
        tool: "tool",
        letters: "0Ed:h",
        long: &[("help", 'h'), ("print0", '0'), ("delimiter", 'd')],
        usage: "usage\n",
    };

    fn read(words: &[&str]) -> Result<Given, Option<String>> {
        let words: Vec<BString> = words.iter().map(|word| (*word).into()).collect();
        OPTIONS.read(&words).map_err(|stop| match stop {
            Stop::Usage(_, problem) => problem,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn options_may_stand_anywhere_and_together() {
        let given = read(&["a", "-0Ed:", "b", "--delimiter=x", "--", "-E"]).unwrap();
        assert_eq!(given.words, ["a", "b", "-E"]);
        assert!(given.has('0') && given.has('E'));
        assert_eq!(given.value('d').unwrap(), "x");
        assert_eq!(read(&["-d", "-0"]).unwrap().value('d').unwrap(), "-0");
        assert_eq!(read(&["--print"]).unwrap(), read(&["-0"]).unwrap());
    }

    #[test]
    fn what_is_no_option_is_named() {
        assert_eq!(read(&["-x"]), Err(Some("tool: invalid option -- 'x'".into())));
        assert_eq!(read(&["--what"]), Err(Some("tool: unrecognized option '--what'".into())));
        assert_eq!(read(&["-d"]), Err(Some("tool: option requires an argument -- 'd'".into())));
        assert_eq!(read(&["--help"]), Err(None));
        let letters = Options { long: &[], ..OPTIONS };
        let Err(Stop::Usage(_, Some(problem))) = letters.read(&["--help".into()]) else { panic!("a long option") };
        assert_eq!(problem, "tool: invalid option -- '-'");
    }
}
