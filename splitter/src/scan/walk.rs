//! Goes through the files of a unit as the preprocessor does.
#![deny(clippy::disallowed_methods)]

use super::evaluate;
use super::lex::{Condition, Directive, Kind, Lexed, Spelling};
use super::macros::{Builtin, Definition, Macro, Macros};
use super::options::{Directory, Given, Options};
use super::search::{Place, Search};
use super::token::{Punctuator, Token, Value, punctuator};
use super::{Files, Symbol, Symbols, There};
use crate::graph::absolute;
use bstr::{BStr, BString, ByteSlice as _};
use hashbrown::{HashMap, HashSet};
use std::sync::Arc;

/// What is scanned.
pub struct Unit<'a> {
    /// What lies on the disk.
    pub files: &'a dyn Files,
    /// The names in all that `files` reads, and in `builtin`.
    pub symbols: &'a Symbols,
    /// The command line.
    pub options: &'a Options,
    /// Where it looks.
    pub search: &'a Search,
    /// What the compiler defines.
    pub builtin: &'a Builtin,
    /// Where it is started.
    pub cwd: &'a BStr,
}

/// What a unit reads.
#[derive(Debug, Default)]
pub struct Scanned {
    /// Files that it includes or may include, absolute, the sources among them.
    pub files: HashSet<BString>,
    /// Directories that names lead through and out of again, or that lie in the place of a header; absolute.
    pub directories: HashSet<BString>,
    /// Whether a depfile does not tell of some of the files, such as those that the assembler reads.
    pub untold: bool,
    /// Where it looked in vain, absolute.
    pub absent: HashSet<BString>,
    /// Why the files may not be all.
    pub incomplete: Option<Incomplete>,
}

/// What a scan cannot follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incomplete {
    /// A file that names another by macros of which it is not known what they are.
    Computed(BString),
    /// A file that includes itself without end, or as good as that.
    Endless(BString),
    /// A file with trigraphs, which some standards know and others do not.
    Trigraphs(BString),
    /// A header for which there is a precompiled one.
    Precompiled(BString),
    /// A file that was found beside another, and asks for the next of a name.
    Next(BString),
    /// A header of a framework that may include one of a framework in it.
    Framework(BString),
}

/// Scans a unit.
pub fn scan(unit: &Unit<'_>) -> Scanned {
    let mut walk = Walk {
        unit,
        words: Words::new(unit.symbols, unit.builtin),
        macros: Macros::new(unit.builtin),
        scanned: Scanned::default(),
        walked: HashMap::new(),
        stack: Vec::new(),
        steps: 0,
    };
    for (source, language) in &unit.options.sources {
        walk.source(source, language.is_empty());
    }
    walk.scanned
}

/// Whether a directive is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Perhaps,
    Surely,
}

/// An open conditional.
struct Group {
    /// How it was reached itself.
    outer: Reach,
    /// Whether one of its arms was taken; none if perhaps.
    taken: Option<bool>,
}

/// What stands in a conditional for the question `name`.
fn answer(name: Symbol, holds: bool) -> Token {
    Token::Number(name, Some(Value { number: holds.into(), unsigned: false }))
}

/// Names that mean something in a conditional.
struct Words {
    defined: Symbol,
    has_include: Symbol,
    has_include_next: Symbol,
    has_embed: Symbol,
    /// Of the compiler's own, those that may or may not be there.
    asked: Vec<Symbol>,
    /// Of which the value changes from place to place, or is the compiler's alone to know.
    opaque: Vec<Symbol>,
    /// The compiler is GCC, and none that only says so.
    is_gcc: bool,
}

impl Words {
    fn new(symbols: &Symbols, builtin: &Builtin) -> Self {
        let all = |names: &[&str]| names.iter().map(|name| symbols.of(name.as_bytes())).collect();
        let defines = |name: &str| builtin.contains_key(&symbols.of(name.as_bytes()));
        Self {
            is_gcc: defines("__GNUC__") && !["__clang__", "__INTEL_COMPILER", "__EDG__"].into_iter().any(defines),
            defined: symbols.of(b"defined"),
            has_include: symbols.of(b"__has_include"),
            has_include_next: symbols.of(b"__has_include_next"),
            has_embed: symbols.of(b"__has_embed"),
            asked: all(&[
                "__has_attribute",
                "__has_cpp_attribute",
                "__has_c_attribute",
                "__has_builtin",
                "__has_feature",
                "__has_extension",
                "__has_warning",
                "__has_declspec_attribute",
                "__is_identifier",
                "__has_constexpr_builtin",
            ]),
            opaque: all(&[
                "__COUNTER__",
                "__LINE__",
                "__INCLUDE_LEVEL__",
                "__FILE__",
                "__FILE_NAME__",
                "__BASE_FILE__",
                "__DATE__",
                "__TIME__",
                "__TIMESTAMP__",
            ]),
        }
    }
}

/// The name of what is embedded, without what follows it, such as `limit(4)`.
fn without_parameters(words: &[Token]) -> &[Token] {
    match words {
        [Token::Text(_), ..] => &words[..1],
        _ => words.iter().position(|word| *word == punctuator(b">")).map_or(words, |end| &words[..=end]),
    }
}

/// Deeper than GCC goes by itself (`-fmax-include-depth`).
const DEEPEST: usize = 200;

/// More directives than any unit has, an include counted as [`INCLUDE`], and a file that is gone through as [`FILE`].
const MOST_STEPS: usize = 5_000_000;
const INCLUDE: usize = 10;
const FILE: usize = 100;
/// So many tokens of macros count as a directive.
const TOKENS: usize = 2;

/// The longest path that Linux opens, with the NUL byte behind it (`PATH_MAX`).
const LONGEST_PATH: usize = 4096;

struct Walk<'a> {
    unit: &'a Unit<'a>,
    words: Words,
    macros: Macros<'a>,
    scanned: Scanned,
    /// Files that were gone through, and how they were reached.
    walked: HashMap<BString, Reach>,
    stack: Vec<BString>,
    steps: usize,
}

impl Walk<'_> {
    fn source(&mut self, source: &BString, plain: bool) {
        let path = absolute(source.as_bstr(), self.unit.cwd);
        let Some((path, lexed)) = self.at(path) else { return };
        if plain {
            return self.assembled(&lexed);
        }
        self.macros = Macros::new(self.unit.builtin);
        self.walked.clear();
        for given in &self.unit.options.macros {
            let symbols = self.unit.symbols;
            match given {
                Given::Defined(text) => {
                    if let Some((name, definition)) = Macro::read(text, symbols) {
                        self.macros.set(name, Definition::Is(Arc::new(definition)));
                    }
                }
                Given::Undefined(name) => self.macros.set(symbols.of(name), Definition::None),
            }
        }
        let options = self.unit.options;
        // GCC reads it before all else where there is one; what it defines is among the compiler's own.
        self.first(&"stdc-predef.h".into(), self.unit.search.angled());
        for forced in options.macros_of.iter().chain(&options.included) {
            // Looked for where the compiler is started, and then as any other.
            let beside = absolute(b"x".as_bstr(), self.unit.cwd);
            if let Some((path, place, lexed)) = self.find(forced, true, Kind::Include, &beside, 0) {
                self.precompiled(&path);
                self.file(path, &lexed, place, Reach::Surely);
            }
        }
        self.file(path, &lexed, 0, Reach::Surely);
    }

    /// GCC takes `NAME.gch` in the place of the first header.
    fn precompiled(&mut self, path: &BString) {
        let compiled: BString = [path.as_slice(), b".gch"].concat().into();
        match self.unit.files.read(compiled.as_bstr()) {
            There::Nothing => drop(self.scanned.absent.insert(compiled)),
            There::File(_) | There::Other => self.give_up(Incomplete::Precompiled(compiled)),
        }
    }

    fn give_up(&mut self, why: Incomplete) {
        self.scanned.incomplete.get_or_insert(why);
    }

    fn file(&mut self, path: BString, lexed: &Lexed, place: Place, reach: Reach) {
        let known = self.walked.get(&path).copied();
        let on_stack = self.stack.iter().filter(|open| **open == path).count();
        // Once more would change nothing: what it defines is not known as it is.
        if reach == Reach::Perhaps && known.is_some() && (lexed.guard.is_some() || lexed.once || on_stack > 1) {
            return;
        }
        if lexed.once && known == Some(Reach::Surely) {
            return;
        }
        if let Some(guard) = lexed.guard {
            match self.macros.get(guard) {
                Definition::Is(_) => return,
                Definition::Unknown if reach == Reach::Surely && known.is_some() => {
                    self.macros.set(guard, Definition::None)
                }
                Definition::Unknown | Definition::None => {}
            }
        }
        if self.stack.len() >= DEEPEST || self.steps > MOST_STEPS {
            return self.give_up(Incomplete::Endless(path));
        }
        if lexed.trigraphs {
            self.give_up(Incomplete::Trigraphs(path.clone()));
        }
        self.steps += FILE;
        self.walked.insert(path.clone(), known.map_or(reach, |known| known.max(reach)));
        self.assembled(lexed);
        self.stack.push(path);
        self.directives(lexed, place, reach);
        self.stack.pop();
    }

    fn directives(&mut self, lexed: &Lexed, place: Place, mut reach: Reach) {
        let mut groups: Vec<Group> = Vec::new();
        let mut i = 0;
        while let Some(directive) = lexed.directives.get(i) {
            if self.steps > MOST_STEPS {
                return self.give_up(Incomplete::Endless(self.here().clone()));
            }
            self.steps += 1;
            i += 1;
            match directive {
                Directive::If { condition, first: true, next } => {
                    let taken = self.condition(condition, place);
                    groups.push(Group { outer: reach, taken });
                    match taken {
                        Some(true) => {}
                        Some(false) => i = *next,
                        None => reach = Reach::Perhaps,
                    }
                }
                Directive::If { condition, first: false, next } => {
                    let Some((outer, before)) = groups.last().map(|group| (group.outer, group.taken)) else { continue };
                    let now = if before == Some(true) { Some(false) } else { self.condition(condition, place) };
                    let (taken, arm) = match (before, now) {
                        (_, Some(false)) => (before, None),
                        (Some(false), Some(true)) => (Some(true), Some(outer)),
                        (None, Some(true)) => (Some(true), Some(Reach::Perhaps)),
                        _ => (None, Some(Reach::Perhaps)),
                    };
                    match arm {
                        Some(arm) => reach = arm,
                        None => i = *next,
                    }
                    groups.last_mut().expect("there is one").taken = taken;
                }
                Directive::Else { next } => {
                    let Some(group) = groups.last() else { continue };
                    match group.taken {
                        Some(true) => i = *next,
                        Some(false) => reach = group.outer,
                        None => reach = Reach::Perhaps,
                    }
                }
                Directive::End => reach = groups.pop().map_or(reach, |group| group.outer),
                Directive::Include(kind, spelling) => self.include(*kind, spelling, place, reach),
                Directive::Define(name, definition) => self.define(*name, definition, reach),
                Directive::Undefine(name) => match (reach, self.macros.get(*name)) {
                    (Reach::Perhaps, Definition::None) => {}
                    (Reach::Perhaps, _) => self.macros.set(*name, Definition::Unknown),
                    (Reach::Surely, _) => self.macros.set(*name, Definition::None),
                },
                Directive::Forget(name) => self.macros.set(*name, Definition::Unknown),
            }
        }
    }

    fn define(&mut self, name: Symbol, definition: &Arc<Macro>, reach: Reach) {
        if reach == Reach::Surely {
            return self.macros.set(name, Definition::Is(definition.clone()));
        }
        match self.macros.get(name) {
            Definition::Is(old) if old.body == definition.body && old.parameters == definition.parameters => {}
            _ => self.macros.set(name, Definition::Unknown),
        }
    }

    fn include(&mut self, kind: Kind, spelling: &Spelling, place: Place, reach: Reach) {
        self.steps += INCLUDE;
        let computed;
        let (name, quoted) = match spelling {
            Spelling::Quoted(name) => (name, true),
            Spelling::Angled(name) => (name, false),
            Spelling::Computed(tokens) => {
                let tokens = self.expand(tokens);
                match self.name_of(&tokens) {
                    Some((name, quoted)) => {
                        computed = name;
                        (&computed, quoted)
                    }
                    None => return self.give_up(Incomplete::Computed(self.here().clone())),
                }
            }
        };
        let includer = self.here().clone();
        let Some((path, place, lexed)) = self.find(name, quoted, kind, &includer, place) else {
            if includer.contains_str(".framework/") {
                self.give_up(Incomplete::Framework(includer));
            }
            return;
        };
        if kind == Kind::Embed {
            return;
        }
        if kind == Kind::Import && self.walked.get(&path) == Some(&Reach::Surely) {
            return;
        }
        if self.stack.len() == 1 && self.walked.len() == 1 {
            self.precompiled(&path);
        }
        self.file(path, &lexed, place, reach);
    }

    fn here(&self) -> &BString {
        self.stack.last().expect("a file is being gone through")
    }

    /// The file of a name in the file `includer`, which was found at `place`; and where it was found.
    fn find(
        &mut self,
        name: &BString,
        quoted: bool,
        kind: Kind,
        includer: &BString,
        place: Place,
    ) -> Option<(BString, Place, Arc<Lexed>)> {
        if name.len() >= LONGEST_PATH {
            return None;
        }
        if name.starts_with(b"/") {
            if !self.leads(name, self.unit.cwd) {
                return None;
            }
            return self.at(absolute(name.as_bstr(), self.unit.cwd)).map(|(path, lexed)| (path, 0, lexed));
        }
        let search = self.unit.search;
        if kind == Kind::Next {
            let found = self.first(name, search.after(place));
            // In a file that was found beside another, Clang goes on from where that was found. GCC begins anew, with the directories for
            // quotes, and in the source and what was named by an absolute path as for any name. It may come to the same.
            let is_anew = self.words.is_gcc && !quoted && search.is_one();
            // A name between quotes may be looked for beside the file, too.
            if place == 0 && (found.is_some() || quoted) && !is_anew {
                self.give_up(Incomplete::Next(includer.clone()));
            }
            return found;
        }
        match (quoted, kind) {
            (false, Kind::Embed) => return self.first(name, search.embedded()),
            (false, _) => return self.first(name, search.angled()),
            (true, _) => {}
        }
        let beside = includer.rfind_byte(b'/').map_or(includer.as_slice(), |end| &includer[..end]);
        match self.below(name, &Directory::Plain(beside.into())) {
            Some((path, lexed)) => Some((path, 0, lexed)),
            None if kind == Kind::Embed => self.first(name, search.embedded()),
            None => self.first(name, search.quoted()),
        }
    }

    fn first<'d>(
        &mut self,
        name: &BString,
        places: impl Iterator<Item = (Place, &'d Directory)>,
    ) -> Option<(BString, Place, Arc<Lexed>)> {
        for (place, directory) in places {
            if let Some((path, lexed)) = self.below(name, directory) {
                return Some((path, place, lexed));
            }
        }
        None
    }

    fn below(&mut self, name: &BString, directory: &Directory) -> Option<(BString, Arc<Lexed>)> {
        if let Directory::Plain(directory) = directory
            && !self.leads(name, directory.as_bstr())
        {
            return None;
        }
        directory.places(name.as_bstr()).into_iter().find_map(|path| self.at(path))
    }

    /// Whether the directories are there that a name leads through and out of again: else it leads nowhere, whatever lies where its
    /// text says.
    fn leads(&mut self, name: &BString, directory: &BStr) -> bool {
        let here = name.starts_with(b"..").then(|| directory.into());
        let through = name.find_iter("/..").map(|end| absolute(name[..end].as_bstr(), directory));
        here.into_iter().chain(through).all(|path| matches!(self.look(&path), There::Other))
    }

    fn at(&mut self, path: BString) -> Option<(BString, Arc<Lexed>)> {
        match self.look(&path) {
            There::File(lexed) => Some((path, lexed)),
            There::Other | There::Nothing => None,
        }
    }

    /// What is at a path, which is noted.
    fn look(&mut self, path: &BString) -> There {
        let there = self.unit.files.read(path.as_bstr());
        let noted = match &there {
            There::File(_) => &mut self.scanned.files,
            There::Other => &mut self.scanned.directories,
            There::Nothing => &mut self.scanned.absent,
        };
        if !noted.contains(path) {
            noted.insert(path.clone());
        }
        there
    }

    /// What the assembler reads: found where it is started, in the directories for names between angles, or in its own.
    fn assembled(&mut self, lexed: &Lexed) {
        self.scanned.untold |= !lexed.assembled.is_empty();
        let mut names: Vec<BString> = lexed.assembled.clone();
        while let Some(name) = names.pop() {
            if self.steps > MOST_STEPS {
                return self.give_up(Incomplete::Endless(name));
            }
            self.steps += INCLUDE;
            if name.len() >= LONGEST_PATH {
                continue;
            }
            let beside = self.leads(&name, self.unit.cwd).then(|| self.at(absolute(name.as_bstr(), self.unit.cwd)));
            let beside = beside.flatten().map(|(path, lexed)| (path, 0, lexed));
            let found = beside.or_else(|| self.first(&name, self.unit.search.angled()));
            let found = found.or_else(|| self.first(&name, self.unit.search.assembler()));
            if let Some((path, _, lexed)) = found
                && self.walked.insert(path, Reach::Surely).is_none()
            {
                names.extend_from_slice(&lexed.assembled);
            }
        }
    }

    fn expand(&mut self, tokens: &[Token]) -> Vec<Token> {
        let mut steps = 0;
        let tokens = self.macros.expand(tokens, self.unit.symbols, &mut steps);
        self.steps += steps / TOKENS;
        tokens
    }

    /// Whether a condition holds; none if that cannot be known.
    fn condition(&mut self, condition: &Condition, place: Place) -> Option<bool> {
        match condition {
            Condition::Defined(name, wanted) => Some(self.is_defined(*name)? == *wanted),
            Condition::Holds(tokens) => {
                let tokens = self.asked(tokens, place);
                let tokens = self.expand(&tokens);
                let tokens = self.asked(&tokens, place); // a macro may ask too
                evaluate::holds(&tokens, self.unit.symbols)
            }
        }
    }

    fn is_defined(&self, name: Symbol) -> Option<bool> {
        match self.macros.get(name) {
            Definition::Is(_) => Some(true),
            Definition::Unknown => None,
            Definition::None if name == self.words.has_include || name == self.words.has_include_next => Some(true),
            Definition::None if self.words.opaque.contains(&name) => Some(true),
            Definition::None if name == self.words.has_embed || self.words.asked.contains(&name) => None,
            Definition::None => Some(false),
        }
    }

    /// The tokens of a condition with answers in the place of `defined` and `__has_…`.
    fn asked(&mut self, tokens: &[Token], place: Place) -> Vec<Token> {
        const OPEN: Token = punctuator(b"(");
        const CLOSE: Token = punctuator(b")");
        let mut out = Vec::with_capacity(tokens.len());
        let mut i = 0;
        while let Some(token) = tokens.get(i) {
            i += 1;
            let Token::Name(name) = *token else {
                out.push(*token);
                continue;
            };
            let rest = &tokens[i..];
            // To the parenthesis that closes, both included.
            let in_parentheses = || -> Option<&[Token]> {
                let mut depth = 0_usize;
                let end = rest.iter().position(|token| {
                    depth += usize::from(*token == OPEN);
                    depth = depth.saturating_sub(usize::from(*token == CLOSE));
                    depth == 0
                })?;
                (rest.first() == Some(&OPEN)).then(|| &rest[..=end])
            };
            if name == self.words.defined {
                let (asked, length) = match rest {
                    [OPEN, Token::Name(asked), CLOSE, ..] => (Some(*asked), 3),
                    [Token::Name(asked), ..] => (Some(*asked), 1),
                    _ => (None, 0),
                };
                i += length;
                out.push(asked.and_then(|asked| self.is_defined(asked)).map_or(Token::Unknown, |is| answer(name, is)));
            } else if name == self.words.has_include || name == self.words.has_include_next {
                let Some(words) = in_parentheses() else {
                    if rest.first() == Some(&OPEN) {
                        return vec![Token::Unknown]; // no parenthesis closes: an error, of which the compiler will tell
                    }
                    out.push(Token::Unknown);
                    continue;
                };
                i += words.len();
                let kind = if name == self.words.has_include { Kind::Include } else { Kind::Next };
                let found = self.has(&words[1..words.len() - 1], kind, place);
                out.push(found.map_or(Token::Unknown, |found| answer(name, found)));
            } else if name == self.words.has_embed {
                let words = in_parentheses().unwrap_or_default();
                i += words.len();
                if let [_, words @ .., _] = words {
                    self.has(without_parameters(words), Kind::Embed, place);
                }
                out.push(Token::Unknown); // how large it is counts, and what the compiler makes of the parameters
            } else if self.words.asked.contains(&name) {
                i += in_parentheses().map_or(0, <[Token]>::len);
                out.push(Token::Unknown);
            } else if self.words.opaque.contains(&name) {
                out.push(Token::Unknown);
            } else {
                out.push(*token);
            }
        }
        out
    }

    /// Whether there is a file; none if its name is not known.
    fn has(&mut self, words: &[Token], kind: Kind, place: Place) -> Option<bool> {
        let (name, quoted) = match self.name_of(words) {
            Some(named) => named,
            None => {
                let words = self.expand(words);
                let named = self.name_of(&words);
                if named.is_none() {
                    self.give_up(Incomplete::Computed(self.here().clone()));
                }
                named?
            }
        };
        let includer = self.here().clone();
        Some(self.find(&name, quoted, kind, &includer, place).is_some())
    }

    /// The name that some tokens spell, and whether between quotes.
    fn name_of(&self, tokens: &[Token]) -> Option<(BString, bool)> {
        const LESS: Punctuator = Punctuator::new(b"<");
        const MORE: Punctuator = Punctuator::new(b">");
        match tokens {
            [Token::Text(text)] => Some((self.unit.symbols.text(*text), true)),
            [Token::Punctuator(LESS), inner @ .., Token::Punctuator(MORE)] if !inner.is_empty() => {
                let mut name = BString::default();
                for token in inner {
                    match token {
                        Token::Name(symbol) | Token::Number(symbol, _) => {
                            name.extend_from_slice(&self.unit.symbols.text(*symbol))
                        }
                        Token::Punctuator(punctuator) => name.extend_from_slice(punctuator.text()),
                        Token::Text(_) | Token::Unknown => return None,
                    }
                }
                Some((name, false))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lex::lex;
    use super::*;
    use proptest::strategy::Strategy as _;
    use std::collections::BTreeMap;

    struct Texts<'a> {
        symbols: &'a Symbols,
        texts: BTreeMap<&'a str, &'a str>,
    }

    impl Files for Texts<'_> {
        fn read(&self, path: &BStr) -> There {
            match self.texts.get(path.to_str().expect("text")) {
                Some(text) => There::File(Arc::new(lex(text.as_bytes(), self.symbols))),
                None if self.texts.keys().any(|text| text.starts_with(&format!("{path}/"))) => There::Other,
                None => There::Nothing,
            }
        }
    }

    /// Scans with `cc WORDS`, started in `/w`, `/sys` the compiler's own directory, which defines `OWN` as 1.
    fn scanned(words: &str, texts: &[(&str, &str)]) -> Scanned {
        scanned_by(&["OWN"], words, texts)
    }

    /// The same with a compiler that defines these names.
    fn scanned_by(own: &[&str], words: &str, texts: &[(&str, &str)]) -> Scanned {
        let symbols = Symbols::default();
        let texts = Texts { symbols: &symbols, texts: texts.iter().copied().collect() };
        let argv: Vec<BString> = format!("cc {words}").split(' ').map(BString::from).collect();
        let options = Options::read(&argv).expect("all is followed");
        let search = Search::new(&options, &["/sys".into()], &|path| absolute(path, "/w".into()));
        let one = |name: &&str| (symbols.of(name.as_bytes()), Definition::Is(Arc::new(Macro::object("1"))));
        let builtin: Builtin = own.iter().map(one).collect();
        let cwd = "/w".into();
        scan(&Unit { files: &texts, symbols: &symbols, options: &options, search: &search, builtin: &builtin, cwd })
    }

    fn names(paths: &HashSet<BString>) -> String {
        let mut names: Vec<String> = paths.iter().map(ToString::to_string).collect();
        names.sort();
        names.join(" ")
    }

    /// The headers of `/w/x.c`, all of which are in `/w` and empty but for `texts`.
    fn headers(text: &str) -> String {
        let mut texts = vec![("/w/x.c", text)];
        texts.extend(["/w/a.h", "/w/b.h", "/w/c.h"].map(|path| (path, "")));
        let scanned = scanned("x.c", &texts);
        assert_eq!(scanned.incomplete, None, "{text}");
        names(&scanned.files).replace("/w/x.c", "").replace("/w/", "").trim().into()
    }

    const A_OR_B: &str = "#include \"a.h\"\n#else\n#include \"b.h\"\n#endif\n";

    #[test]
    fn the_arm_that_holds_is_gone_through() {
        for (condition, taken) in [
            ("#if OWN\n", "a.h"),
            ("#ifndef OWN\n", "b.h"),
            ("#define X 2\n#undef X\n#ifdef X\n", "b.h"),
            ("#define F(x) (x > 1)\n#if F(2) && defined OWN && !defined(NONE)\n", "a.h"),
            ("#if 0\n#include \"c.h\"\n#elif OWN == 1\n", "a.h"),
            ("#if 1\n#include \"c.h\"\n#elif OWN\n", "c.h"),
            ("#define HAS(x) __has_include(x)\n#if !HAS(<c.h>) && defined OWN\n", "a.h"),
            ("#define IS defined(OWN)\n#if IS\n", "a.h"),
            ("#if __has_include(\"c.h\") && !__has_include(<c.h>)\n", "a.h c.h"),
        ] {
            assert_eq!(headers(&format!("{condition}{A_OR_B}")), taken, "{condition}");
        }
    }

    #[test]
    fn both_arms_are_gone_through_where_nobody_can_know() {
        assert_eq!(headers(&format!("#if __has_attribute(x)\n{A_OR_B}")), "a.h b.h");
        assert_eq!(headers(&format!("#if __has_attribute(x)\n#define X\n#endif\n#ifdef X\n{A_OR_B}")), "a.h b.h");
        assert_eq!(
            headers("#if __COUNTER__\n#include \"a.h\"\n#elif 1\n#include \"b.h\"\n#else\n#include \"c.h\"\n#endif"),
            "a.h b.h"
        );
        assert_eq!(headers(&format!("#pragma pop_macro(\"OWN\")\n#ifdef OWN\n{A_OR_B}")), "a.h b.h");
    }

    #[test]
    fn names_are_looked_for_in_the_compilers_order_and_what_was_missed_is_told() {
        let texts = [
            ("/w/s/x.c", "#include \"a.h\"\n#include <b.h>\n"),
            ("/w/i/a.h", "#include \"beside.h\"\n"),
            ("/w/i/beside.h", ""),
            ("/w/j/b.h", "#include_next <b.h>\n"),
            ("/sys/b.h", ""),
        ];
        let scanned = scanned("-Ii -Ij s/x.c", &texts);
        assert_eq!(names(&scanned.files), "/sys/b.h /w/i/a.h /w/i/beside.h /w/j/b.h /w/s/x.c");
        let missed = names(&scanned.absent);
        let missed: Vec<&str> = missed.split(' ').filter(|path| !path.ends_with("/stdc-predef.h")).collect();
        assert_eq!(missed, ["/w/i/a.h.gch", "/w/i/b.h", "/w/s/a.h"]);
    }

    #[test]
    fn the_next_of_a_name_begins_anew_in_a_file_that_was_found_beside_another_where_that_is_sure() {
        // As the `limits.h` of GCC finds that of the C library.
        let texts = [
            ("/w/x.c", "#include <l.h>\n"),
            (
                "/sys/l.h",
                "#ifndef L\n#define L\n#include \"beside.h\"\n#elif defined NEXT\n#include_next <l.h>\n#endif\n",
            ),
            ("/sys/beside.h", "#define NEXT\n#include_next <l.h>\n#undef NEXT\n"),
            ("/w/z/l.h", ""),
        ];
        let by_gcc = scanned_by(&["__GNUC__"], "-idirafter z x.c", &texts);
        assert_eq!(by_gcc.incomplete, None);
        assert_eq!(names(&by_gcc.files), "/sys/beside.h /sys/l.h /w/x.c /w/z/l.h");
        let unsure = Some(Incomplete::Next("/sys/beside.h".into()));
        for (own, words) in [
            (&["__GNUC__", "__clang__"][..], "-idirafter z x.c"),
            (&[], "-idirafter z x.c"),
            (&["__GNUC__"], "-iquote q -idirafter z x.c"),
        ] {
            assert_eq!(scanned_by(own, words, &texts).incomplete, unsure, "{words}");
        }
        let quoted = texts.map(|(path, text)| (path, text.replace("next <l.h>", "next \"l.h\"")));
        let quoted = quoted.each_ref().map(|(path, text)| (*path, text.as_str()));
        assert_eq!(scanned_by(&["__GNUC__"], "-idirafter z x.c", &quoted).incomplete, unsure);
        let beside = [("/w/s/x.c", "#if __has_include_next(\"a.h\")\n#endif\n"), ("/w/s/a.h", "")];
        assert_eq!(scanned_by(&["__GNUC__"], "s/x.c", &beside).incomplete, Some(Incomplete::Next("/w/s/x.c".into())));
    }

    #[test]
    fn headers_of_frameworks_are_found_by_the_frameworks_name() {
        let texts = [
            ("/w/x.c", "#include <A/a.h>\n#include <A/p.h>\n#include <B/b.h>\n"),
            ("/w/f/A.framework/Headers/a.h", ""),
            ("/w/f/A.framework/PrivateHeaders/p.h", ""),
            ("/w/i/B/b.h", ""),
        ];
        let all = scanned("-Ff -Ii x.c", &texts);
        let (a, b) = ("/w/f/A.framework", "/w/f/B.framework");
        assert_eq!(names(&all.files), format!("{a}/Headers/a.h {a}/PrivateHeaders/p.h /w/i/B/b.h /w/x.c"));
        for missed in [format!("{a}/Headers/p.h"), format!("{b}/Headers/b.h"), format!("{b}/PrivateHeaders/b.h")] {
            assert!(all.absent.contains(&BString::from(missed)));
        }
        let texts = [("/w/x.c", "#include <A/a.h>\n"), ("/w/f/A.framework/Headers/a.h", "#include <In/i.h>\n")];
        let within = Incomplete::Framework("/w/f/A.framework/Headers/a.h".into());
        assert_eq!(scanned("-Ff x.c", &texts).incomplete, Some(within));
    }

    #[test]
    fn a_file_is_gone_through_again_where_it_may_be_another() {
        let list = "#ifdef TWICE\n#include \"b.h\"\n#endif\n";
        let texts =
            [("/w/x.c", "#include \"l.h\"\n#define TWICE\n#include \"l.h\"\n"), ("/w/l.h", list), ("/w/b.h", "")];
        assert_eq!(names(&scanned("x.c", &texts).files), "/w/b.h /w/l.h /w/x.c");
        for guarded in ["#ifndef G\n#define G\n#include \"l.h\"\n#endif\n", "#pragma once\n#include \"l.h\"\n"] {
            let texts = [("/w/x.c", "#include \"l.h\"\n#include \"l.h\"\n"), ("/w/l.h", guarded)];
            let scanned = scanned("x.c", &texts);
            assert_eq!((names(&scanned.files).as_str(), scanned.incomplete), ("/w/l.h /w/x.c", None));
        }
    }

    #[test]
    fn a_file_without_end_makes_it_incomplete() {
        let texts = [("/w/x.c", "#include \"x.c\"\n")];
        assert_eq!(scanned("x.c", &texts).incomplete, Some(Incomplete::Endless("/w/x.c".into())));
        let texts = [("/w/x.c", "#if __has_feature(x)\n#include \"x.c\"\n#include \"x.c\"\n#endif\n")];
        assert_eq!(scanned("x.c", &texts).incomplete, None);
    }

    #[test]
    fn computed_names_are_followed_or_said_to_be_unknown() {
        let with = |define: &str| {
            let text = format!("{define}\n#include NAME\n");
            scanned("-DV=2 x.c", &[("/w/x.c", text.as_str()), ("/sys/d/a-2.h", ""), ("/w/b.h", "")])
        };
        assert_eq!(names(&with("#define NAME <d/a-V.h>").files), "/sys/d/a-2.h /w/x.c");
        assert_eq!(names(&with("#define NAME \"b.h\"").files), "/w/b.h /w/x.c");
        assert_eq!(
            with("#define S(x) #x\n#define NAME S(b.h)").incomplete,
            Some(Incomplete::Computed("/w/x.c".into()))
        );
    }

    #[test]
    fn forced_files_come_first_and_the_assembler_reads_too() {
        let texts = [
            ("/w/x.S", "#ifdef P\n.incbin \"p.bin\"\n#endif\n.include \"i.inc\"\n"),
            ("/w/p.bin", ""),
            ("/w/f.h", "#define P\n#include \"g.h\"\n"),
            ("/w/g.h", ""),
            ("/w/d/i.inc", ".incbin \"q.bin\"\n"),
            ("/w/e/q.bin", ""),
        ];
        let scanned = scanned("-include f.h -Id -Wa,-I,e x.S", &texts);
        assert_eq!(names(&scanned.files), "/w/d/i.inc /w/e/q.bin /w/f.h /w/g.h /w/p.bin /w/x.S");
    }

    #[test]
    fn what_is_embedded_is_read_and_not_gone_through() {
        let text = "#embed \"a.bin\" limit(4)\n#embed <b.bin>\n#if __has_embed(<c.bin> limit(1)) && __has_embed(\"d.bin\")\n#endif\n";
        let texts = [
            ("/w/x.c", text),
            ("/w/a.bin", "#include \"y.h\"\n"),
            ("/w/i/b.bin", "not here"),
            ("/w/e/b.bin", ""),
            ("/w/e/c.bin", ""),
        ];
        let scanned = scanned("-Ii --embed-dir=e x.c", &texts);
        assert_eq!(
            (names(&scanned.files).as_str(), scanned.incomplete),
            ("/w/a.bin /w/e/b.bin /w/e/c.bin /w/x.c", None)
        );
        assert!(["/w/d.bin", "/w/e/d.bin"].iter().all(|path| scanned.absent.contains(&BString::from(*path))));
    }

    #[test]
    fn a_unit_that_would_take_all_time_is_incomplete() {
        let many = format!("#define W(x) {}\n#include \"a.h\"\n", "x ".repeat(4_000));
        for (text, header) in [
            ("#include \"x.c\"\n#include \"x.c\"\n", ""),
            (many.as_str(), "#if W(1) W(1) W(1)\n#endif\n#include \"a.h\"\n#include \"a.h\"\n"),
            ("#include \"a.h\"\n", "#include \"x.c\"\n.incbin \"no\"\n#include \"x.c\"\n"),
        ] {
            let scanned = scanned("x.c", &[("/w/x.c", text), ("/w/a.h", header)]);
            assert!(matches!(scanned.incomplete, Some(Incomplete::Endless(_))), "{text}: {:?}", scanned.incomplete);
        }
    }

    #[test]
    fn a_name_leads_nowhere_by_a_directory_that_is_not_there() {
        let texts = [
            ("/w/x.c", "#include \"in/../a.h\"\n#include \"b.h/../a.h\"\n"),
            ("/w/a.h", ""),
            ("/w/b.h", ""),
            ("/w/i/in/c.h", ""),
            ("/w/i/a.h", ""),
        ];
        let scanned = scanned("-Ii x.c", &texts);
        assert_eq!(names(&scanned.files), "/w/b.h /w/i/a.h /w/x.c");
        assert!(scanned.absent.contains(&BString::from("/w/in")));
    }

    #[test]
    fn a_name_that_is_no_path_is_not_looked_for() {
        let text = format!("#include \"a{}/../b.h\"\n.incbin \"{0}\"\n", "/../a".repeat(100_000));
        let scanned = scanned("x.c", &[("/w/x.c", text.as_str()), ("/w/b.h", "")]);
        assert_eq!((names(&scanned.files).as_str(), scanned.directories.len()), ("/w/x.c", 0));
    }

    #[test]
    fn files_that_the_assembler_reads_may_lead_to_each_other_as_long_as_they_like() {
        const LONG: usize = 20_000;
        let paths: Vec<String> = (0..=LONG).map(|i| format!("/w/{i}")).collect();
        let bodies: Vec<String> = (0..=LONG).map(|i| format!(".include \"{}\"\n", i + 1)).collect();
        let mut texts: Vec<(&str, &str)> =
            paths.iter().map(String::as_str).zip(bodies.iter().map(String::as_str)).collect();
        texts.push(("/w/x.S", ".include \"0\"\n"));
        assert_eq!(scanned("x.S", &texts).files.len(), LONG + 2);
    }

    #[test]
    fn a_trigraph_makes_it_incomplete() {
        let texts = [("/w/x.c", "??=include \"a.h\"\n"), ("/w/a.h", "")];
        assert_eq!(scanned("x.c", &texts).incomplete, Some(Incomplete::Trigraphs("/w/x.c".into())));
    }

    #[test]
    fn a_precompiled_header_makes_it_incomplete() {
        let texts = [("/w/x.c", "#include \"a.h\"\n"), ("/w/a.h", ""), ("/w/a.h.gch", "")];
        assert_eq!(scanned("x.c", &texts).incomplete, Some(Incomplete::Precompiled("/w/a.h.gch".into())));
    }

    proptest::proptest! {
        /// Pieces that mean something, in any order, and any bytes among them.
        #[test]
        fn any_text_is_gone_through(pieces in proptest::collection::vec(proptest::prop_oneof![
            proptest::sample::select(vec![
                "#", "%:", "if ", "ifdef A", "ifndef ", "elif ", "else", "endif", "define A(x, ...) ", "define A A ", "undef A", "include ",
                "import <a.h>", "\"x.c\"", "\"", "'", "<", ">", "(", ")", "A", "B", "A(A)", "defined", "__has_include", "__VA_ARGS__", "##",
                " ", "\n", "\\\n", "\\", "/*", "*/", "//", "R\"d(", ")d\"", "1", "0x", "'", "&&", "?", ":", "-", "pragma once",
                ".incbin \"a.h\"",
            ]).prop_map(|text| text.as_bytes().to_vec()),
            proptest::collection::vec(proptest::num::u8::ANY, 0..3),
        ], 0..60)) {
            let text = pieces.concat();
            let text = String::from_utf8_lossy(&text).into_owned();
            let scanned = scanned("-DB=A x.c", &[("/w/x.c", text.as_str()), ("/w/a.h", "#include <x.c>\n")]);
            assert!(scanned.files.contains(&BString::from("/w/x.c")));
        }
    }
}
