//! Words to settings. A syntax error costs its line only, so that all of them are reported at once.

use std::sync::Arc;

use crate::document::{Document, Kind, Setting, Value};
use crate::lexer::{Located, Token, cut};
use crate::problem::{Place, Problem};

/// Lists inside lists inside lists: no key has more than three levels.
const MAX_DEPTH: u32 = 16;
/// A file that is not a configuration at all need not be reported line by line.
const MAX_PROBLEMS: usize = 20;

/// Reads `text`, which came from `source`. What could be read is returned even when there are problems.
pub fn parse(source: &str, text: &str) -> (Document, Vec<Problem>) {
    let source: Arc<str> = source.into();
    let tokens = cut(text);
    let mut parser = Parser {
        source: Arc::clone(&source),
        tokens,
        next: 0,
        problems: Vec::new(),
    };
    let mut settings = Vec::new();
    while parser.next < parser.tokens.len() && parser.problems.len() < MAX_PROBLEMS {
        if parser.take(&Token::End) {
            continue;
        }
        match parser.setting() {
            Ok(setting) => settings.push(setting),
            Err((line, message)) => {
                let place = Place::new(&source, line);
                parser.problems.push(Problem::error(place, "", message));
                parser.skip_statement();
            }
        }
    }
    (Document { source, settings }, parser.problems)
}

/// Reads a word of a command line: one or more settings separated by semicolons.
///
/// Shells eat quotes, so `key=value` whose value is no xl.cfg value is taken as a string.
pub fn parse_pair(word: &str) -> (Document, Vec<Problem>) {
    const SOURCE: &str = "command line";
    let (document, problems) = parse(SOURCE, word);
    if problems.is_empty() {
        return (document, problems);
    }
    let Some((key, value)) = word.split_once('=') else {
        return (document, problems);
    };
    let (key, append) = match key.strip_suffix('+') {
        Some(key) => (key.trim(), true),
        None => (key.trim(), false),
    };
    let begins_a_value = value.trim_start().starts_with(['[', '"', '\'']);
    if !is_name(key) || begins_a_value || value.contains(['\n', '\0']) {
        return (document, problems);
    }
    let source: Arc<str> = SOURCE.into();
    let value = Value {
        kind: Kind::Text(value.to_owned()),
        line: 1,
    };
    let place = Place::new(&source, 1);
    let setting = Setting {
        key: key.to_owned(),
        append,
        value,
        place,
    };
    (
        Document {
            source,
            settings: vec![setting],
        },
        Vec::new(),
    )
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

type Refusal = (u32, String);

struct Parser {
    source: Arc<str>,
    tokens: Vec<Located>,
    next: usize,
    problems: Vec<Problem>,
}

impl Parser {
    fn line(&self) -> u32 {
        let at = self.next.min(self.tokens.len().saturating_sub(1));
        self.tokens.get(at).map_or(1, |located| located.line)
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|located| &located.token)
    }

    fn advance(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.next)?.token.clone();
        self.next += 1;
        Some(token)
    }

    fn take(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.next += usize::from(found);
        found
    }

    fn setting(&mut self) -> Result<Setting, Refusal> {
        let line = self.line();
        let key = match self.advance() {
            Some(Token::Name(key)) => key,
            Some(Token::Bad(message)) => return Err((line, message)),
            _ => return Err((line, "a setting begins with its key, as in memory = 256".into())),
        };
        let append = match self.advance() {
            Some(Token::Assign) => false,
            Some(Token::Append) => true,
            _ => return Err((line, format!("{key}: an = must follow the key"))),
        };
        let value = self.value(&key, 0)?;
        match self.peek() {
            None | Some(Token::End) => {}
            Some(Token::Bad(message)) => return Err((self.line(), format!("{key}: {message}"))),
            Some(_) => {
                let message = format!("{key}: the value ends here; a new line, a semicolon or a comma is missing");
                return Err((self.line(), message));
            }
        }
        Ok(Setting {
            key,
            append,
            value,
            place: Place::new(&self.source, line),
        })
    }

    fn value(&mut self, key: &str, depth: u32) -> Result<Value, Refusal> {
        let line = self.line();
        let kind = match self.advance() {
            Some(Token::Text(text)) => Kind::Text(text),
            Some(Token::Number(text)) => match number(&text) {
                Some(value) => Kind::Number { value, text },
                None => return Err((line, format!("{key}: {text} is no number; a string needs quotes"))),
            },
            Some(Token::Open) if depth < MAX_DEPTH => Kind::List(self.list(key, depth, line)?),
            Some(Token::Open) => return Err((line, format!("{key}: lists are nested too deeply"))),
            Some(Token::Name(name)) => return Err((line, format!("{key}: the string {name} needs quotes"))),
            Some(Token::Bad(message)) => return Err((line, format!("{key}: {message}"))),
            _ => return Err((line, format!("{key}: a value is missing"))),
        };
        Ok(Value { kind, line })
    }

    fn list(&mut self, key: &str, depth: u32, opened: u32) -> Result<Vec<Value>, Refusal> {
        let mut values = Vec::new();
        loop {
            self.skip_ends();
            if self.take(&Token::Close) {
                return Ok(values);
            }
            if self.peek().is_none() {
                return Err((opened, format!("{key}: the list that begins here has no closing ]")));
            }
            values.push(self.value(key, depth + 1)?);
            self.skip_ends();
            if !self.take(&Token::Comma) && self.peek() != Some(&Token::Close) {
                let message = match self.peek() {
                    None => return Err((opened, format!("{key}: the list that begins here has no closing ]"))),
                    Some(Token::Bad(message)) => format!("{key}: {message}"),
                    Some(_) => format!("{key}: elements of a list are separated by commas"),
                };
                return Err((self.line(), message));
            }
        }
    }

    fn skip_ends(&mut self) {
        while self.take(&Token::End) {}
    }

    /// Goes to the end of the broken statement: the next line at which a setting can begin.
    fn skip_statement(&mut self) {
        while let Some(token) = self.peek() {
            let at_key = matches!(token, Token::End)
                && matches!(
                    self.tokens.get(self.next + 1).map(|t| &t.token),
                    None | Some(Token::Name(_) | Token::End)
                );
            if at_key {
                return;
            }
            self.next += 1;
        }
    }
}

/// Decimal, octal with a leading 0, hexadecimal with a leading 0x.
pub(crate) fn number(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let value = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        unsigned(hex, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        unsigned(digits, 8)
    } else {
        unsigned(digits, 10)
    }?;
    Some(if negative { -value } else { value })
}

fn unsigned(digits: &str, radix: u32) -> Option<i64> {
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    i64::from_str_radix(digits, radix).ok()
}
