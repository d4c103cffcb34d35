//! `previous_attributes`, forwards and backwards.

use serde_json::{Map, Value};

/// What Stripe says was there before: of nested objects what changed in them, of anything else the old value; null for
/// what was not there.
#[must_use]
pub fn difference(old: &Map<String, Value>, new: &Map<String, Value>) -> Map<String, Value> {
    let mut previous = Map::new();
    for name in old.keys().chain(new.keys()) {
        let [before, after] = [old, new].map(|side| side.get(name).cloned().unwrap_or_default());
        let value = match (&before, &after) {
            _ if before == after => continue,
            (Value::Object(old), Value::Object(new)) => Value::Object(difference(old, new)),
            _ => before,
        };
        previous.insert(name.clone(), value);
    }
    previous
}

/// The object as it was before.
#[must_use]
pub fn undone(new: &Map<String, Value>, previous: &Map<String, Value>) -> Map<String, Value> {
    let mut old = new.clone();
    for (name, before) in previous {
        let value = match (new.get(name), before) {
            (Some(Value::Object(new)), Value::Object(before)) => Value::Object(undone(new, before)),
            _ => before.clone(),
        };
        old.insert(name.clone(), value);
    }
    old
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_difference_leads_back() {
        let [old, new] = [
            json!({"a": 1, "b": {"c": 2, "d": null}, "e": [1], "g": null}),
            json!({"a": 1, "b": {"c": 3, "d": 4}, "e": [1, 2], "g": {"h": 1}}),
        ];
        let [old, new] = [old, new].map(|side| side.as_object().cloned().unwrap_or_default());
        let previous = difference(&old, &new);
        assert_eq!(
            Value::Object(previous.clone()),
            json!({"b": {"c": 2, "d": null}, "e": [1], "g": null})
        );
        assert_eq!(undone(&new, &previous), old);
    }
}
