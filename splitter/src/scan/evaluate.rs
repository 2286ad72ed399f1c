//! The value of a conditional, as far as it can be known (ISO C 6.10.1).
#![deny(clippy::disallowed_methods)]

use super::Symbols;
use super::token::{Token, Value, punctuator};

/// Whether the expanded tokens of `#if` hold; none if that cannot be known.
pub fn holds(tokens: &[Token], symbols: &Symbols) -> Option<bool> {
    let mut parser = Parser { tokens, at: 0, symbols, depth: 0 };
    let value = parser.ternary()?;
    // What is left over makes it an error, of which the compiler will tell.
    if parser.at == tokens.len() { value.map(|value| value.number != 0) } else { None }
}

/// A value, or that it is not known.
type Maybe = Option<Value>;

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    symbols: &'a Symbols,
    depth: usize,
}

/// Deeper than any that people write, and not as deep as our stack.
const DEEPEST: usize = 200;

/// How tightly binary operators bind.
const OPERATORS: [(&[u8], u8); 18] = [
    (b"||", 1),
    (b"&&", 2),
    (b"|", 3),
    (b"^", 4),
    (b"&", 5),
    (b"==", 6),
    (b"!=", 6),
    (b"<=", 7),
    (b">=", 7),
    (b"<", 7),
    (b">", 7),
    (b"<<", 8),
    (b">>", 8),
    (b"+", 9),
    (b"-", 9),
    (b"*", 10),
    (b"/", 10),
    (b"%", 10),
];

// Each answers none where the tokens are no expression.
impl Parser<'_> {
    fn take(&mut self, text: &[u8]) -> bool {
        let is_next = self.tokens.get(self.at) == Some(&punctuator(text));
        self.at += usize::from(is_next);
        is_next
    }

    fn ternary(&mut self) -> Option<Maybe> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let condition = self.binary(1)?;
        let value = if self.take(b"?") {
            let yes = self.ternary()?;
            if !self.take(b":") {
                return None;
            }
            let no = self.ternary()?;
            match condition {
                Some(condition) => {
                    if condition.number != 0 {
                        yes
                    } else {
                        no
                    }
                }
                None => yes.filter(|_| yes == no),
            }
        } else {
            condition
        };
        self.depth -= 1;
        Some(value)
    }

    fn binary(&mut self, least: u8) -> Option<Maybe> {
        let mut left = self.unary()?;
        while let Some((operator, binds)) = self.operator().filter(|(_, binds)| *binds >= least) {
            self.at += 1;
            let right = self.binary(binds + 1)?;
            left = apply(operator, left, right);
        }
        Some(left)
    }

    fn operator(&self) -> Option<(&'static [u8], u8)> {
        let Some(Token::Punctuator(next)) = self.tokens.get(self.at) else { return None };
        OPERATORS.iter().find(|(text, _)| next.text() == *text).copied()
    }

    fn unary(&mut self) -> Option<Maybe> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let value = if self.take(b"!") {
            self.unary()?.map(|value| truth(value.number == 0))
        } else if self.take(b"-") {
            self.unary()?.and_then(|value| wrapped(-value.number, value.unsigned))
        } else if self.take(b"~") {
            self.unary()?.and_then(|value| wrapped(!value.number, value.unsigned))
        } else if self.take(b"+") {
            self.unary()?
        } else {
            self.primary()?
        };
        self.depth -= 1;
        Some(value)
    }

    fn primary(&mut self) -> Option<Maybe> {
        if self.take(b"(") {
            let value = self.ternary()?;
            return self.take(b")").then_some(value);
        }
        let token = *self.tokens.get(self.at)?;
        self.at += 1;
        match token {
            Token::Number(_, value) => Some(value),
            Token::Name(name) => {
                let number = i128::from(self.symbols.find(b"true") == Some(name));
                // Arguments of what is no macro are an error, of which the compiler will tell.
                (self.tokens.get(self.at) != Some(&punctuator(b"("))).then_some(Some(Value { number, unsigned: false }))
            }
            Token::Unknown => Some(None),
            Token::Text(_) | Token::Punctuator(_) => None,
        }
    }
}

fn truth(holds: bool) -> Value {
    Value { number: holds.into(), unsigned: false }
}

/// A result in 64 bits; none if a signed one does not fit.
fn wrapped(number: i128, unsigned: bool) -> Maybe {
    if unsigned {
        return Some(Value { number: number & i128::from(u64::MAX), unsigned });
    }
    i64::try_from(number).ok().map(|number| Value { number: number.into(), unsigned })
}

fn apply(operator: &[u8], left: Maybe, right: Maybe) -> Maybe {
    let is = |value: Maybe, holds: bool| value.is_some_and(|value| (value.number != 0) == holds);
    match operator {
        b"||" if is(left, true) || is(right, true) => return Some(truth(true)),
        b"&&" if is(left, false) || is(right, false) => return Some(truth(false)),
        _ => {}
    }
    let (left, right) = (left?, right?);
    let unsigned = left.unsigned || right.unsigned;
    // Where one is unsigned both are.
    let (a, b) = (wrapped(left.number, unsigned)?.number, wrapped(right.number, unsigned)?.number);
    let shift = |by: i128| u32::try_from(by).ok().filter(|by| *by < 64);
    let number = match operator {
        b"||" => return Some(truth(a != 0 || b != 0)),
        b"&&" => return Some(truth(a != 0 && b != 0)),
        b"==" => return Some(truth(a == b)),
        b"!=" => return Some(truth(a != b)),
        b"<=" => return Some(truth(a <= b)),
        b">=" => return Some(truth(a >= b)),
        b"<" => return Some(truth(a < b)),
        b">" => return Some(truth(a > b)),
        b"<<" => return wrapped(left.number << shift(right.number)?, left.unsigned),
        b">>" => return wrapped(left.number >> shift(right.number)?, left.unsigned),
        b"|" => a | b,
        b"^" => a ^ b,
        b"&" => a & b,
        b"+" => a + b,
        b"-" => a - b,
        b"*" => a.checked_mul(b)?,
        b"/" => a.checked_div(b)?,
        _ => a.checked_rem(b)?,
    };
    wrapped(number, unsigned)
}

#[cfg(test)]
mod tests {
    use super::super::token::tokens;
    use super::*;

    fn held(text: &str) -> Option<bool> {
        let symbols = Symbols::default();
        let mut tokens = tokens(text.as_bytes(), &symbols);
        let unknown = Token::Name(symbols.of(b"U"));
        tokens.iter_mut().filter(|token| **token == unknown).for_each(|token| *token = Token::Unknown);
        holds(&tokens, &symbols)
    }

    #[test]
    fn arithmetic_is_that_of_the_preprocessor() {
        for text in [
            "1",
            "!0",
            "2 + 3 * 4 == 14",
            "(2 + 3) * 4 == 20",
            "1 << 4 == 16",
            "7 / 2 == 3 && -7 % 3 == -1",
            "0 ? 0 : 1",
            "1 ? 2 : 0",
            "~0 == -1",
            "-1 > 0u",
            "-1 < 0",
            "0xffffffffffffffff == -1",
            "UNDEFINED == 0",
            "true",
            "'a' == 97",
            "10 - 3 - 2 == 5",
            "1 || 1 / 0",
        ] {
            assert_eq!(held(text), Some(true), "{text}");
        }
    }

    #[test]
    fn what_is_not_known_matters_only_where_it_decides() {
        for (text, value) in [
            ("U", None),
            ("U || 1", Some(true)),
            ("1 || U", Some(true)),
            ("U && 0", Some(false)),
            ("U + 1", None),
            ("U ? 3 : 3", Some(true)),
            ("U ? 3 : 0", None),
            ("!U", None),
            ("1 / 0", None),
            ("F(1)", None),
            ("1 2", None),
            ("", None),
            ("(1", None),
            ("9223372036854775807 + 1", None),
        ] {
            assert_eq!(held(text), value, "{text}");
        }
    }

    #[test]
    fn a_deep_expression_is_not_known_rather_than_the_end_of_us() {
        assert_eq!(held(&format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000))), None);
        assert_eq!(held(&format!("{}1", "!".repeat(100_000))), None);
    }
}
