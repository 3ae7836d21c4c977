//! Settings as they were written, before anyone asks what they mean.

use std::sync::Arc;

use crate::problem::Place;

/// A value and the line it stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// What it is.
    pub kind: Kind,
    /// Line number from 1.
    pub line: u32,
}

/// The three kinds of values that xl.cfg(5) knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A quoted string, escapes resolved.
    Text(String),
    /// A number, and how it was written.
    Number {
        /// Its value.
        value: i64,
        /// Its spelling, for keys that take a string.
        text: String,
    },
    /// A list; its elements may be of different kinds.
    List(Vec<Value>),
}

impl Value {
    /// The value as a string; numbers as they were written, none for lists.
    pub fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) | Kind::Number { text, .. } => Some(text),
            Kind::List(_) => None,
        }
    }

    /// What kind it is, for messages.
    pub fn describe(&self) -> &'static str {
        match self.kind {
            Kind::Text(_) => "a string",
            Kind::Number { .. } => "a number",
            Kind::List(_) => "a list",
        }
    }
}

/// `key = value`, or `key += value` where `append` is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key as written.
    pub key: String,
    /// Whether the value is added to what the key had before.
    pub append: bool,
    /// The value.
    pub value: Value,
    /// Where the key stands.
    pub place: Place,
}

/// The settings of one file, or of several laid over each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Name of the (first) file.
    pub source: Arc<str>,
    /// Settings in the order they were written.
    pub settings: Vec<Setting>,
}

impl Document {
    /// A document without settings.
    pub fn empty(source: &str) -> Self {
        Self {
            source: source.into(),
            settings: Vec::new(),
        }
    }

    /// Adds `later`'s settings; where both set a key, `later` wins.
    pub fn overlay(&mut self, later: Document) {
        self.settings.extend(later.settings);
    }

    /// The setting in force for `key`: the last one, with what `+=` adds to earlier ones.
    ///
    /// Strings are joined, lists are lengthened; adding a list to a string or the reverse replaces it.
    pub fn effective(&self, key: &str) -> Option<Setting> {
        let mut found: Option<Setting> = None;
        for setting in self.settings.iter().filter(|setting| setting.key == key) {
            found = Some(match found {
                Some(earlier) if setting.append => append(earlier, setting),
                _ => setting.clone(),
            });
        }
        found
    }
}

fn append(mut earlier: Setting, later: &Setting) -> Setting {
    match (&mut earlier.value.kind, &later.value.kind) {
        (Kind::List(into), Kind::List(more)) => into.extend(more.iter().cloned()),
        (Kind::Text(into), Kind::Text(more)) => into.push_str(more),
        _ => return later.clone(),
    }
    earlier
}
