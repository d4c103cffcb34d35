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

    /// All that stands at a path and that a row can hold, without nulls at any level: to Stripe, null is absent.
    pub(crate) fn tree(self, path: &[&str]) -> Option<Value> {
        storable(self.get(path)?, LEVELS_MAX)
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

/// The most levels of a tree that a row keeps. DynamoDB takes 32, with those around it.
pub(crate) const LEVELS_MAX: usize = 16;

/// What of a value can stand in a row: no nulls, no numbers that DynamoDB refuses (it takes some up to 1e126 that are not
/// too close to 0), no member without a name and not too many levels
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>).
pub(crate) fn storable(value: &Value, levels: usize) -> Option<Value> {
    let inner = levels.checked_sub(1);
    match value {
        Value::Null => None,
        Value::Bool(_) | Value::String(_) => Some(value.clone()),
        Value::Number(number) => {
            let size = number.as_f64().unwrap_or(f64::MAX).abs();
            (size == 0.0 || (1e-120..1e120).contains(&size)).then(|| value.clone())
        }
        Value::Array(elements) => {
            let inner = inner?;
            Some(
                elements
                    .iter()
                    .filter_map(|element| storable(element, inner))
                    .collect(),
            )
        }
        Value::Object(members) => {
            let inner = inner?;
            let named = members.iter().filter(|(name, _)| !name.is_empty());
            let storable =
                named.filter_map(|(name, value)| Some((name.clone(), storable(value, inner)?)));
            Some(Value::Object(storable.collect()))
        }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_dynamodb_refuses_is_left_out_and_the_rest_stays() {
        let mut deep = json!("bottom");
        for _ in 0..40 {
            deep = json!({ "down": deep });
        }
        let metadata = json!({"plan": "pro", "": "no name", "none": null, "far": 1e300, "near": 1e-300, "zero": 0.0,
            "list": [1, null, 1e300], "in": {"": 1, "x": 2}});
        let wanted = json!({"plan": "pro", "zero": 0.0, "list": [1], "in": {"x": 2}});
        assert_eq!(storable(&metadata, LEVELS_MAX), Some(wanted));
        let kept = storable(&deep, LEVELS_MAX).unwrap_or_default().to_string();
        assert!(
            (1..=LEVELS_MAX).contains(&kept.matches("down").count()),
            "{kept}"
        );
    }
}
