//! Macros: what is defined, what is not, and what one cannot know.
#![deny(clippy::disallowed_methods)]

use super::token::{Punctuator, Token, punctuator, tokens};
use super::{Symbol, Symbols};
use bstr::{BString, ByteSlice as _};
use hashbrown::HashMap;
use std::sync::{Arc, OnceLock};

/// A macro's definition.
#[derive(Debug)]
pub struct Macro {
    /// Of one that is like a function.
    pub parameters: Option<Parameters>,
    /// What it stands for, without comments and spliced lines.
    pub body: BString,
    tokens: OnceLock<Vec<Token>>,
}

/// Names of parameters.
#[derive(Debug, PartialEq, Eq)]
pub struct Parameters {
    /// In order; of one that takes any number, `__VA_ARGS__` or the name before `...` is the last.
    pub names: Vec<Symbol>,
    /// Whether the last takes all that is left.
    pub variadic: bool,
}

impl Macro {
    /// One without parameters.
    pub fn object(body: impl Into<BString>) -> Self {
        Self { parameters: None, body: body.into(), tokens: OnceLock::new() }
    }

    /// Reads what follows `#define`, or comes of `-D`: a name and a definition. None if it has no name.
    pub fn read(text: &[u8], symbols: &Symbols) -> Option<(Symbol, Self)> {
        let text = text.trim_ascii();
        let end = text.iter().position(|b| !super::token::continues_name(*b)).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        if !name.first().is_some_and(|byte| super::token::begins_name(*byte)) {
            return None;
        }
        let (parameters, body) = match rest.strip_prefix(b"(") {
            None => (None, rest),
            Some(rest) => {
                let end = rest.find_byte(b')')?;
                (Some(parameters(&rest[..end], symbols)), &rest[end + 1..])
            }
        };
        Some((symbols.of(name), Self { parameters, body: body.trim_ascii().into(), tokens: OnceLock::new() }))
    }

    /// The tokens of the body.
    pub fn tokens(&self, symbols: &Symbols) -> &[Token] {
        self.tokens.get_or_init(|| tokens(&self.body, symbols))
    }
}

fn parameters(text: &[u8], symbols: &Symbols) -> Parameters {
    let mut names = Vec::new();
    let mut variadic = false;
    for name in text.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty()) {
        let plain = name.strip_suffix(b"...").map(<[u8]>::trim_ascii);
        variadic |= plain.is_some();
        names.push(symbols.of(match plain {
            Some(b"") => b"__VA_ARGS__",
            Some(plain) => plain,
            None => name,
        }));
    }
    Parameters { names, variadic }
}

/// What is known of a name.
#[derive(Debug, Clone)]
pub enum Definition {
    /// It is no macro.
    None,
    /// It is this one.
    Is(Arc<Macro>),
    /// It may be one or another, or none.
    Unknown,
}

/// The macros of the compiler itself, shared by all units that have the same options.
pub type Builtin = HashMap<Symbol, Definition>;

/// The macros at one place of a unit.
#[derive(Debug)]
pub struct Macros<'a> {
    builtin: &'a Builtin,
    own: HashMap<Symbol, Definition>,
}

impl<'a> Macros<'a> {
    /// Those of the compiler alone.
    pub fn new(builtin: &'a Builtin) -> Self {
        Self { builtin, own: HashMap::new() }
    }

    /// What is known of a name here.
    pub fn get(&self, name: Symbol) -> &Definition {
        self.own.get(&name).or_else(|| self.builtin.get(&name)).unwrap_or(&Definition::None)
    }

    /// Says what is known of a name from here on.
    pub fn set(&mut self, name: Symbol, definition: Definition) {
        self.own.insert(name, definition);
    }

    /// Puts definitions in the place of names, but for those that `defined` is asked of. Adds to `steps` about how many
    /// tokens were looked at.
    pub fn expand(&self, tokens: &[Token], symbols: &Symbols, steps: &mut usize) -> Vec<Token> {
        let defined = Token::Name(symbols.of(b"defined"));
        let mut expansion =
            Expansion { macros: self, symbols, defined, active: Vec::new(), out: Vec::new(), steps: 0, depth: 0 };
        expansion.all(tokens);
        *steps += expansion.steps;
        expansion.out
    }
}

/// More tokens than these come of no honest conditional.
const MOST_STEPS: usize = 20_000;

/// Deeper than macros need each other, and not as deep as our stack.
const DEEPEST: usize = 200;

const OPEN: Punctuator = Punctuator::new(b"(");
const CLOSE: Punctuator = Punctuator::new(b")");
const COMMA: Punctuator = Punctuator::new(b",");

struct Expansion<'a> {
    macros: &'a Macros<'a>,
    symbols: &'a Symbols,
    defined: Token,
    /// Macros whose body is being gone through: they are not expanded in it.
    active: Vec<Symbol>,
    out: Vec<Token>,
    steps: usize,
    depth: usize,
}

impl Expansion<'_> {
    fn all(&mut self, tokens: &[Token]) {
        if self.depth == DEEPEST {
            return self.out.push(Token::Unknown);
        }
        self.depth += 1;
        self.each(tokens);
        self.depth -= 1;
    }

    fn each(&mut self, tokens: &[Token]) {
        let mut i = 0;
        while let Some(token) = tokens.get(i) {
            i += 1;
            self.steps += 1;
            if self.steps > MOST_STEPS {
                self.out.push(Token::Unknown);
                return;
            }
            if *token == self.defined {
                let asked = if tokens.get(i) == Some(&Token::Punctuator(OPEN)) { 2 } else { 1 };
                let end = (i + asked).min(tokens.len());
                self.out.extend_from_slice(&tokens[i - 1..end]);
                i = end;
                continue;
            }
            let Token::Name(name) = *token else {
                self.out.push(*token);
                continue;
            };
            match self.macros.get(name) {
                Definition::None => self.out.push(*token),
                Definition::Is(_) if self.active.contains(&name) => self.out.push(*token),
                Definition::Unknown => {
                    // With what may be its arguments.
                    i += arguments(&tokens[i..]).map_or(0, |(_, length)| length);
                    self.out.push(Token::Unknown);
                }
                Definition::Is(definition) => {
                    let definition = definition.clone();
                    i += self.one(name, &definition, &tokens[i..]);
                }
            }
        }
    }

    /// Expands one macro; answers how many tokens after its name it took.
    fn one(&mut self, name: Symbol, definition: &Macro, rest: &[Token]) -> usize {
        let body = definition.tokens(self.symbols);
        let Some(parameters) = &definition.parameters else {
            // A name that stands for the name of a macro like a function: what follows are the arguments.
            if let ([Token::Name(other)], Some((_, length))) = (body, arguments(rest))
                && let Definition::Is(of_function) = self.macros.get(*other)
                && of_function.parameters.is_some()
                && !self.active.contains(other)
            {
                let of_function = of_function.clone();
                self.active.push(name);
                self.one(*other, &of_function, rest);
                self.active.pop();
                return length;
            }
            if pastes(body) {
                self.out.push(Token::Unknown);
                return 0;
            }
            self.active.push(name);
            self.all(body);
            self.active.pop();
            return 0;
        };
        let Some((arguments, length)) = arguments(rest) else {
            self.steps += rest.len();
            self.out.push(Token::Name(name)); // not called
            return 0;
        };
        // Each parameter is compared with each token of the body.
        self.steps += length + body.len() * parameters.names.len().div_ceil(8).max(1);
        if self.steps > MOST_STEPS {
            self.out.push(Token::Unknown);
            return length;
        }
        match self.substituted(parameters, body, &arguments) {
            Some(body) => {
                self.active.push(name);
                self.all(&body);
                self.active.pop();
            }
            None => self.out.push(Token::Unknown),
        }
        length
    }

    /// A body with expanded arguments; none if it makes new tokens, or is called with another number of arguments.
    fn substituted(&mut self, parameters: &Parameters, body: &[Token], given: &[&[Token]]) -> Option<Vec<Token>> {
        let count = parameters.names.len();
        let mut values: Vec<Vec<Token>> = Vec::new();
        for (i, argument) in given.iter().enumerate() {
            if parameters.variadic && i >= count {
                let last = values.last_mut()?;
                last.push(Token::Punctuator(COMMA));
                last.extend_from_slice(argument);
            } else {
                values.push(argument.to_vec());
            }
        }
        if count == 0 && matches!(given, [argument] if argument.is_empty()) {
            values.clear();
        }
        if parameters.variadic && values.len() + 1 == count {
            values.push(Vec::new());
        }
        if values.len() != count || pastes(body) {
            return None;
        }
        let expanded: Vec<Vec<Token>> = values
            .iter()
            .map(|value| {
                let before = std::mem::take(&mut self.out);
                self.all(value);
                std::mem::replace(&mut self.out, before)
            })
            .collect();
        let mut result = Vec::new();
        for token in body {
            match parameters.names.iter().position(|name| *token == Token::Name(*name)) {
                Some(i) => result.extend_from_slice(&expanded[i]),
                None => result.push(*token),
            }
            if self.steps + result.len() > MOST_STEPS {
                return None;
            }
        }
        Some(result)
    }
}

/// Whether a body makes new tokens of others, which is not followed.
fn pastes(body: &[Token]) -> bool {
    body.iter().any(|token| *token == punctuator(b"#") || *token == punctuator(b"##"))
}

/// The arguments in parentheses at the start of some tokens, and how many tokens those are with the parentheses.
fn arguments(tokens: &[Token]) -> Option<(Vec<&[Token]>, usize)> {
    if tokens.first() != Some(&Token::Punctuator(OPEN)) {
        return None;
    }
    let (mut arguments, mut depth, mut start) = (Vec::new(), 0_usize, 1);
    for (i, token) in tokens.iter().enumerate() {
        match token {
            Token::Punctuator(OPEN) => depth += 1,
            Token::Punctuator(CLOSE) => {
                depth -= 1;
                if depth == 0 {
                    arguments.push(&tokens[start..i]);
                    return Some((arguments, i + 1));
                }
            }
            Token::Punctuator(COMMA) if depth == 1 => {
                arguments.push(&tokens[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `text` becomes after some definitions, tokens between blanks; `?` for what is not known.
    fn expanded(definitions: &[&str], text: &str) -> String {
        let symbols = Symbols::default();
        let builtin = Builtin::new();
        let mut macros = Macros::new(&builtin);
        for definition in definitions {
            let (name, definition) = Macro::read(definition.as_bytes(), &symbols).expect("it has a name");
            macros.set(name, Definition::Is(Arc::new(definition)));
        }
        macros.set(symbols.of(b"MAYBE"), Definition::Unknown);
        let text = macros.expand(&tokens(text.as_bytes(), &symbols), &symbols, &mut 0);
        let word = |token: &Token| match token {
            Token::Name(symbol) | Token::Number(symbol, _) | Token::Text(symbol) => symbols.text(*symbol).to_string(),
            Token::Punctuator(punctuator) => format!("{punctuator:?}"),
            Token::Unknown => "?".into(),
        };
        text.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn names_become_what_they_stand_for() {
        assert_eq!(expanded(&["A B + B", "B 2"], "A - C"), "2 + 2 - C");
        assert_eq!(expanded(&["A A + 1"], "A"), "A + 1");
        assert_eq!(expanded(&["A B", "B A"], "A"), "A");
    }

    #[test]
    fn macros_like_functions_take_arguments() {
        let at_least = "AT_LEAST(a, b) ((V << 16) + W >= ((a) << 16) + (b))";
        assert_eq!(
            expanded(&[at_least, "V 12", "W 2"], "AT_LEAST(4, (1,2))"),
            "( ( 12 << 16 ) + 2 >= ( ( 4 ) << 16 ) + ( ( 1 , 2 ) ) )"
        );
        assert_eq!(expanded(&["F(x) x"], "F + F(1)"), "F + 1");
        assert_eq!(expanded(&["F(x) x", "G F"], "G(3)"), "3");
        assert_eq!(expanded(&["F() 1"], "F()"), "1");
        assert_eq!(expanded(&["F(x, ...) x __VA_ARGS__"], "F(1) F(1, 2, 3)"), "1 1 2 , 3");
        assert_eq!(expanded(&["F(x) x"], "F(1, 2)"), "?");
    }

    #[test]
    fn macros_that_need_each_other_too_often_are_not_known() {
        let chain: Vec<String> = (0..10_000).map(|i| format!("A{i} A{}", i + 1)).collect();
        let chain: Vec<&str> = chain.iter().map(String::as_str).collect();
        assert_eq!(expanded(&chain, "A9900 A0"), "A10000 ?");
        let nested = format!("{}1{}", "F(".repeat(5_000), ")".repeat(5_000));
        assert!(expanded(&["F(x) x"], &nested).contains('?'));
        assert!(expanded(&["F(x) x"], &"F(".repeat(100_000)).contains('?'));
        let wide = format!("W(x) {}", "x ".repeat(15_000));
        assert!(expanded(&[&wide], "W(W(W(1)))").contains('?'));
    }

    #[test]
    fn what_cannot_be_known_is_said() {
        assert_eq!(expanded(&["A MAYBE"], "A + MAYBE(1)"), "? + ?");
        assert_eq!(expanded(&["CAT(a, b) a ## b", "STR(a) #a"], "CAT(1, 2) STR(x)"), "? ?");
    }
}
