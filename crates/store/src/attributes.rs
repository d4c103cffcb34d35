//! Between JSON and DynamoDB's attribute values.
//!
//! An extract is stored as a map of native values, so that a product in any language can read it with one
//! Query and no code of ours.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Number, Value};

pub(crate) type Item = HashMap<String, AttributeValue>;

pub(crate) fn from_json(value: &Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(flag) => AttributeValue::Bool(*flag),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::String(text) => AttributeValue::S(text.clone()),
        Value::Array(values) => AttributeValue::L(values.iter().map(from_json).collect()),
        Value::Object(map) => {
            let members = map
                .iter()
                .map(|(name, value)| (name.clone(), from_json(value)));
            AttributeValue::M(members.collect())
        }
    }
}

/// What was stored by [`from_json`]; anything else that someone may have put there reads as null.
pub(crate) fn to_json(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::Bool(flag) => Value::Bool(*flag),
        AttributeValue::N(text) => text.parse::<Number>().map_or(Value::Null, Value::Number),
        AttributeValue::S(text) => Value::String(text.clone()),
        AttributeValue::L(values) => values.iter().map(to_json).collect(),
        AttributeValue::M(map) => map
            .iter()
            .map(|(name, value)| (name.clone(), to_json(value)))
            .collect(),
        _ => Value::Null,
    }
}

pub(crate) fn text(item: &Item, name: &str) -> Option<String> {
    item.get(name)?.as_s().ok().cloned()
}

pub(crate) fn number<T: std::str::FromStr>(item: &Item, name: &str) -> Option<T> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// What a stream's record shows of an item: its texts, numbers and flags. Lists and maps are left out.
pub(crate) fn from_image(image: &Map<String, Value>) -> Item {
    let scalar = |value: &Value| {
        let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        let flag = || value.get("BOOL")?.as_bool();
        text("S")
            .map(AttributeValue::S)
            .or_else(|| text("N").map(AttributeValue::N))
            .or_else(|| flag().map(AttributeValue::Bool))
    };
    image
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), scalar(value)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_comes_back_as_it_was() {
        let value = serde_json::json!({
            "text": "é", "empty": "", "int": i64::MIN, "big": u64::MAX, "real": 1.5,
            "list": [1, null, {"x": []}], "flag": false, "none": null,
        });
        assert_eq!(to_json(&from_json(&value)), value);
    }
}
