//! One line of log: JSON with a level, a message and fields that can be searched for.
//!
//! Only ids and fixed words go in, never a body, a secret, a signature or an e-mail address: text that came
//! with a request passes through [`token`](crate::token::token) first. Where the lines go is the caller's
//! business.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::time::rfc3339_ms;

/// Where lines go: those of a level or above reach the writer.
#[derive(Clone)]
pub struct Log {
    level: Level,
    write: Arc<dyn Fn(&Line) + Send + Sync>,
}

impl Log {
    /// A log that hands lines of `level` or above to `write`.
    #[must_use]
    pub fn new(level: Level, write: impl Fn(&Line) + Send + Sync + 'static) -> Self {
        Self {
            level,
            write: Arc::new(write),
        }
    }

    /// Writes a line, if its level is high enough.
    pub fn write(&self, line: &Line) {
        if line.level >= self.level {
            (self.write)(line);
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What another line says as well.
    Debug,
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
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }

    /// The level of this name, in upper or lower case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let is = |level: &Self| level.name().eq_ignore_ascii_case(name);
        [Self::Debug, Self::Info, Self::Warn, Self::Error]
            .into_iter()
            .find(is)
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

    /// Adds when it was written, in Unix milliseconds. A line that Lambda finds no `timestamp` in is given one and the level
    /// INFO, whatever its own level is
    /// (<https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>).
    #[must_use]
    pub fn at(self, now_ms: i64) -> Self {
        self.with("timestamp", rfc3339_ms(now_ms))
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

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(&self.fields).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

/// An error and its causes, as one text. Only what the errors display goes in, never their debug form, which
/// may hold whole requests and answers.
#[must_use]
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_stands_in_it() {
        let line = Line::new(Level::Info, "a\nb")
            .at(0)
            .with("x", "\u{1b}[0m\r\n")
            .with("none", Value::Null);
        let text = line.to_string();
        assert!(text.bytes().all(|b| !b.is_ascii_control()), "{text}");
        assert!(!text.contains("none"));
        assert!(
            text.contains(r#""timestamp":"1970-01-01T00:00:00.000Z""#),
            "{text}"
        );
    }
}
