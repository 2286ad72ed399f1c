//! Where the preprocessor looks for a file.
#![deny(clippy::disallowed_methods)]

use super::options::{Directory, Options};
use bstr::{BStr, BString};

/// The directories that are searched, absolute, in order.
#[derive(Debug, PartialEq, Eq)]
pub struct Search {
    directories: Vec<Directory>,
    /// How many of them are for names between quotes alone.
    quote: usize,
    /// Those for `#embed`, and those of the assembler alone.
    embed: Vec<Directory>,
    assembler: Vec<Directory>,
}

/// Where a file was found: after how many of the directories the search for the next of its name goes on.
pub type Place = usize;

impl Search {
    /// The directories of a command line, and the compiler's own; `place` is where the path of one leads, absolute.
    pub fn new(options: &Options, own: &[BString], place: &dyn Fn(&BStr) -> BString) -> Self {
        let plain = |path: &BString| Directory::Plain(place(path.as_ref()));
        let at = |directory: &Directory| match directory {
            Directory::Plain(path) => plain(path),
            Directory::Frameworks(path) => Directory::Frameworks(place(path.as_ref())),
        };
        let own: Vec<Directory> = options.system.iter().map(plain).chain(own.iter().map(plain)).collect();
        let mut directories: Vec<Directory> = Vec::new();
        let mut add = |directory: Directory| {
            if !directories.contains(&directory) {
                directories.push(directory);
            }
        };
        options.quote.iter().map(plain).for_each(&mut add);
        let quote = directories.len();
        // One that is the system's is looked through in its place there ("Directory Search", `-I`).
        let angle = options.angle.iter().map(at).filter(|directory| !own.contains(directory));
        let mut rest: Vec<Directory> = Vec::new();
        for directory in angle.chain(own.iter().cloned()).chain(options.after.iter().map(plain)) {
            if !rest.contains(&directory) {
                rest.push(directory);
            }
        }
        directories.extend(rest);
        let embed = options.embed.iter().map(plain).collect();
        let assembler = options.assembler.iter().map(plain).collect();
        Self { directories, quote, embed, assembler }
    }

    /// Where a name between quotes is looked for, but for the directory of the file that names it.
    pub fn quoted(&self) -> impl Iterator<Item = (Place, &Directory)> {
        self.after(0)
    }

    /// Where a name between angles is looked for.
    pub fn angled(&self) -> impl Iterator<Item = (Place, &Directory)> {
        self.after(self.quote)
    }

    /// Whether names between quotes are looked for nowhere else than those between angles, but for the directory of the file that
    /// names it.
    pub fn is_one(&self) -> bool {
        self.quote == 0
    }

    /// Where what is embedded is looked for, but for the directory of the file that names it (GCC 15 manual, "Binary
    /// Resource Inclusion").
    pub fn embedded(&self) -> impl Iterator<Item = (Place, &Directory)> {
        self.embed.iter().map(|directory| (0, directory))
    }

    /// Where the assembler looks besides.
    pub fn assembler(&self) -> impl Iterator<Item = (Place, &Directory)> {
        self.assembler.iter().map(|directory| (0, directory))
    }

    /// Where the next of a name is looked for.
    pub fn after(&self, place: Place) -> impl Iterator<Item = (Place, &Directory)> {
        self.directories.iter().enumerate().skip(place).map(|(i, directory)| (i + 1, directory))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::absolute;

    #[test]
    fn directories_are_searched_in_the_compilers_order() {
        let words = "cc -I a -F f -iquote q -I /usr/include -isystem s -I a -idirafter z -Is x.c";
        let argv: Vec<BString> = words.split(' ').map(BString::from).collect();
        let options = Options::read(&argv).expect("all is followed");
        let search = Search::new(&options, &["/usr/local/include".into(), "/usr/include".into()], &|path| {
            absolute(path, "/w".into())
        });
        let names = |places: Vec<(Place, &Directory)>| {
            let path = |(_, directory): (Place, &Directory)| match directory {
                Directory::Plain(path) => path.to_string(),
                Directory::Frameworks(path) => format!("-F{path}"),
            };
            places.into_iter().map(path).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(search.quoted().collect()), "/w/q /w/a -F/w/f /w/s /usr/local/include /usr/include /w/z");
        assert_eq!(names(search.angled().collect()), "/w/a -F/w/f /w/s /usr/local/include /usr/include /w/z");
        assert_eq!(names(search.after(5).collect()), "/usr/include /w/z");
    }
}
