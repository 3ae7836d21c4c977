//! Cuts a configuration into words. Comments run from `#` to the end of the line, outside strings.

use std::iter::Peekable;
use std::str::Chars;

/// A word of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Name(String),
    Number(String),
    Text(String),
    Assign,
    Append,
    Open,
    Close,
    Comma,
    /// End of line or semicolon.
    End,
    /// Something that is no word; the message says why.
    Bad(String),
}

/// A word and the line it begins on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub token: Token,
    pub line: u32,
}

/// Cuts `text` into words. Never fails: what is no word becomes [`Token::Bad`].
pub(crate) fn cut(text: &str) -> Vec<Located> {
    let mut lexer = Lexer {
        rest: text.chars().peekable(),
        line: 1,
    };
    let mut tokens = Vec::new();
    while let Some(located) = lexer.next_token() {
        tokens.push(located);
    }
    tokens
}

struct Lexer<'a> {
    rest: Peekable<Chars<'a>>,
    line: u32,
}

impl Lexer<'_> {
    fn next_token(&mut self) -> Option<Located> {
        self.skip_blanks();
        let line = self.line;
        let first = self.rest.next()?;
        let token = match first {
            '\n' => {
                self.line = self.line.saturating_add(1);
                Token::End
            }
            ';' => Token::End,
            ',' => Token::Comma,
            '[' => Token::Open,
            ']' => Token::Close,
            '=' => Token::Assign,
            '+' if self.rest.next_if_eq(&'=').is_some() => Token::Append,
            '\'' | '"' => self.quoted(first),
            first if first.is_ascii_alphabetic() || first == '_' => Token::Name(self.word(first)),
            first if first.is_ascii_digit() => Token::Number(self.word(first)),
            '-' if self.rest.peek().is_some_and(char::is_ascii_digit) => Token::Number(self.word('-')),
            other => Token::Bad(format!("{other:?} means nothing here; strings need quotes")),
        };
        Some(Located { token, line })
    }

    fn skip_blanks(&mut self) {
        while let Some(&next) = self.rest.peek() {
            match next {
                ' ' | '\t' | '\r' | '\u{feff}' => drop(self.rest.next()),
                '#' => while self.rest.next_if(|&c| c != '\n').is_some() {},
                _ => return,
            }
        }
    }

    fn word(&mut self, first: char) -> String {
        let mut word = String::from(first);
        while let Some(next) = self.rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            word.push(next);
        }
        word
    }

    fn quoted(&mut self, quote: char) -> Token {
        let mut text = String::new();
        loop {
            match self.rest.peek() {
                None | Some('\n') => return Token::Bad(format!("the string has no closing {quote}")),
                Some(_) => {}
            }
            match self.rest.next() {
                Some(c) if c == quote => return Token::Text(text),
                Some('\\') => match self.escape() {
                    Ok(c) => text.push(c),
                    Err(message) => {
                        self.skip_string(quote);
                        return Token::Bad(message);
                    }
                },
                Some(c) => text.push(c),
                None => {}
            }
        }
    }

    fn skip_string(&mut self, quote: char) {
        while let Some(c) = self.rest.next_if(|&c| c != '\n') {
            if c == quote {
                return;
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        let Some(c) = self.rest.next_if(|&c| c != '\n') else {
            return Err("a backslash at the end of a line has nothing to escape".into());
        };
        Ok(match c {
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            '\\' | '\'' | '"' => c,
            'x' => self.code(None, 16, 2)?,
            '0'..='7' => self.code(Some(c), 8, 3)?,
            other => return Err(format!("the escape \\{other} is not known; write \\\\ for a backslash")),
        })
    }

    fn code(&mut self, first: Option<char>, radix: u32, most: usize) -> Result<char, String> {
        let mut digits = String::from_iter(first);
        while digits.len() < most {
            let Some(digit) = self.rest.next_if(|c| c.is_digit(radix)) else {
                break;
            };
            digits.push(digit);
        }
        let code = u8::from_str_radix(&digits, radix).map_err(|_| "a \\x or octal escape is no byte".to_owned())?;
        match code {
            0 => Err("a string cannot hold a zero byte".into()),
            128.. => Err("write other than ASCII characters as they are, in UTF-8".into()),
            code => Ok(char::from(code)),
        }
    }
}
