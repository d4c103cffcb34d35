//! Tolerant reading of an object's fields.
//!
//! A field that is absent, null or of an unexpected type is simply not there: an object of a newer API
//! version must be readable as far as it is understood, and one odd field must not cost the event.

use serde_json::{Map, Value};

/// A JSON object, seen through tolerant accessors. Paths name nested members from the outside in.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    pub(crate) fn new(object: &'a Map<String, Value>) -> Self {
        Self(object)
    }

    /// The value at a path, unless it is null.
    pub(crate) fn get(self, path: &[&str]) -> Option<&'a Value> {
        let (last, outer) = path.split_last()?;
        let mut map = self.0;
        for name in outer {
            map = map.get(*name)?.as_object()?;
        }
        map.get(*last).filter(|value| !value.is_null())
    }

    /// All that stands at a path, without nulls at any level: to Stripe, null is absent.
    pub(crate) fn tree(self, path: &[&str]) -> Option<Value> {
        self.get(path).map(without_nulls)
    }

    /// The user's own keys and values, unless there are none.
    pub(crate) fn metadata(self) -> Option<Value> {
        let metadata = self.tree(&["metadata"])?;
        metadata.as_object()?.keys().next()?;
        Some(metadata)
    }

    pub(crate) fn text(self, path: &[&str]) -> Option<&'a str> {
        self.get(path)?.as_str()
    }

    pub(crate) fn integer(self, path: &[&str]) -> Option<i64> {
        self.get(path)?.as_i64()
    }

    pub(crate) fn flag(self, path: &[&str]) -> Option<bool> {
        self.get(path)?.as_bool()
    }

    pub(crate) fn object(self, path: &[&str]) -> Option<Fields<'a>> {
        self.get(path)?.as_object().map(Fields)
    }

    /// The objects of a list: Stripe's `{"object":"list","data":[…]}` or a bare array.
    pub(crate) fn list(self, path: &[&str]) -> Option<Vec<Fields<'a>>> {
        let value = self.get(path)?;
        let items = value.as_array().or_else(|| value.get("data")?.as_array())?;
        Some(
            items
                .iter()
                .filter_map(|item| item.as_object().map(Fields))
                .collect(),
        )
    }

    /// The id at a path where Stripe writes either an id or, expanded, the whole object.
    pub(crate) fn id(self, path: &[&str]) -> Option<&'a str> {
        let value = self.get(path)?;
        value.as_str().or_else(|| value.get("id")?.as_str())
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let filled = members.iter().filter(|(_, value)| !value.is_null());
            filled
                .map(|(name, value)| (name.clone(), without_nulls(value)))
                .collect()
        }
        Value::Array(elements) => elements.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// Builds the small object that a row keeps. What is not known is left out: a row is paid for by size.
#[derive(Default)]
pub(crate) struct Extract(Map<String, Value>);

impl Extract {
    pub(crate) fn put<V: Into<Value>>(mut self, name: &str, value: Option<V>) -> Self {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
        self
    }

    pub(crate) fn build(self) -> Map<String, Value> {
        self.0
    }
}
