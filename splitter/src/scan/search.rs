//! Where the preprocessor looks for a file.
#![deny(clippy::disallowed_methods)]

use super::options::Options;
use crate::graph::absolute;
use bstr::{BStr, BString};

/// The directories that are searched, absolute, in order.
#[derive(Debug, PartialEq, Eq)]
pub struct Search {
    directories: Vec<BString>,
    /// How many of them are for names between quotes alone.
    quote: usize,
}

/// Where a file was found: after how many of the directories the search for the next of its name goes on.
pub type Place = usize;

impl Search {
    /// The directories of a command line, started in `cwd`, and the compiler's own.
    pub fn new(options: &Options, own: &[BString], cwd: &BStr) -> Self {
        let at = |path: &BString| absolute(path.as_ref(), cwd);
        let own: Vec<BString> = options.system.iter().map(at).chain(own.iter().map(at)).collect();
        let mut directories: Vec<BString> = Vec::new();
        let mut add = |path: BString| {
            if !directories.contains(&path) {
                directories.push(path);
            }
        };
        options.quote.iter().map(at).for_each(&mut add);
        let quote = directories.len();
        // One that is the system's is looked through in its place there ("Directory Search", `-I`).
        let angle = options.angle.iter().map(at).filter(|path| !own.contains(path));
        let mut rest: Vec<BString> = Vec::new();
        for path in angle.chain(own.iter().cloned()).chain(options.after.iter().map(at)) {
            if !rest.contains(&path) {
                rest.push(path);
            }
        }
        directories.extend(rest);
        Self { directories, quote }
    }

    /// Where a name between quotes is looked for, but for the directory of the file that names it.
    pub fn quoted(&self) -> impl Iterator<Item = (Place, &BString)> {
        self.after(0)
    }

    /// Where a name between angles is looked for.
    pub fn angled(&self) -> impl Iterator<Item = (Place, &BString)> {
        self.after(self.quote)
    }

    /// Where the next of a name is looked for.
    pub fn after(&self, place: Place) -> impl Iterator<Item = (Place, &BString)> {
        self.directories.iter().enumerate().skip(place).map(|(i, path)| (i + 1, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_searched_in_the_compilers_order() {
        let words = "cc -I a -iquote q -I /usr/include -isystem s -I a -idirafter z -Is x.c";
        let argv: Vec<BString> = words.split(' ').map(BString::from).collect();
        let options = Options::read(&argv).expect("all is followed");
        let search = Search::new(&options, &["/usr/local/include".into(), "/usr/include".into()], "/w".into());
        let names = |places: Vec<(Place, &BString)>| {
            places.into_iter().map(|(_, path)| path.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(search.quoted().collect()), "/w/q /w/a /w/s /usr/local/include /usr/include /w/z");
        assert_eq!(names(search.angled().collect()), "/w/a /w/s /usr/local/include /usr/include /w/z");
        assert_eq!(names(search.after(4).collect()), "/usr/include /w/z");
    }
}
