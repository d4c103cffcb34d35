//! One line of log: JSON with a level, a message and fields that can be searched for.
//!
//! Only ids and fixed words go in, never a body, a secret, a signature or an e-mail address: text that came
//! with a request passes through [`token`](crate::token::token) first. Where the lines go is the caller's
//! business.

use serde_json::{Map, Value};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// One line per delivery.
    Info,
    /// Something failed and was recovered from, or will be retried.
    Warn,
    /// Someone has to look.
    Error,
}

impl Level {
    /// The name as it stands in the line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }

    /// The level of this name, in upper or lower case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let is = |level: &Self| level.name().eq_ignore_ascii_case(name);
        [Self::Info, Self::Warn, Self::Error].into_iter().find(is)
    }
}

/// A line of log.
#[derive(Clone, Debug)]
pub struct Line {
    /// How much it matters.
    pub level: Level,
    fields: Map<String, Value>,
}

impl Line {
    /// A line with a message for people.
    #[must_use]
    pub fn new(level: Level, message: &str) -> Self {
        let fields = [("level", level.name()), ("message", message)];
        let fields = fields
            .into_iter()
            .map(|(name, text)| (name.to_owned(), text.into()));
        Self {
            level,
            fields: fields.collect(),
        }
    }

    /// Adds a field; a null is left out.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        if !value.is_null() {
            self.fields.insert(name.to_owned(), value);
        }
        self
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = serde_json::to_string(&self.fields).map_err(|_| std::fmt::Error)?;
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_stands_in_it() {
        let line = Line::new(Level::Info, "a\nb")
            .with("x", "\u{1b}[0m\r\n")
            .with("none", Value::Null);
        let text = line.to_string();
        assert!(text.bytes().all(|b| !b.is_ascii_control()), "{text}");
        assert!(!text.contains("none"));
    }
}
