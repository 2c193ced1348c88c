//! Finds the fields of an operator's request that have no meaning. They are refused: with a mistyped `seconds`, a mute would
//! have no end.

use schemars::{JsonSchema, schema_for};
use serde_json::{Map, Value};

/// The name of the first field that the type does not have, also within its fields.
pub(super) fn unknown_field<T: JsonSchema>(fields: &Map<String, Value>) -> Option<String> {
    let schema = schema_for!(T).to_value();
    find(fields, &schema, &schema)
}

fn find(fields: &Map<String, Value>, schema: &Value, root: &Value) -> Option<String> {
    let properties = properties(schema, root)?;
    fields.iter().find_map(|(name, value)| {
        let Some(property) = properties.get(name) else { return Some(name.clone()) };
        let within = find(value.as_object()?, property, root)?;
        Some(format!("{name}.{within}"))
    })
}

/// The fields of an object. `None`: it is none, or may have any.
fn properties<'a>(schema: &'a Value, root: &'a Value) -> Option<&'a Map<String, Value>> {
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        return properties(root.pointer(target.strip_prefix('#')?)?, root);
    }
    let alternatives = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    let own = schema.get("properties").and_then(Value::as_object);
    own.or_else(|| alternatives.into_iter().find_map(|schema| properties(schema, root)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::wire::{GivenSettings, NewSanction};
    use super::*;

    #[test]
    fn only_fields_with_a_meaning_are_known() {
        let unknown = |body: Value, is_sanction| {
            let fields = body.as_object().unwrap();
            if is_sanction { unknown_field::<NewSanction>(fields) } else { unknown_field::<GivenSettings>(fields) }
        };
        for (body, is_sanction, expected) in [
            (json!({}), false, None),
            (json!({"topic": "a", "retention": {"messages": 1, "seconds": 2}, "seenBy": null}), false, None),
            (json!({"retention": null}), false, None),
            (json!({"retention": {"message": 5}}), false, Some("retention.message")),
            (json!({"topic": "a", "slow_seconds": 5}), false, Some("slow_seconds")),
            (json!({"measure": "mute", "clientId": "a", "seconds": 5, "reason": "", "room": "dev"}), true, None),
            (json!({"measure": "mute", "clientId": "a", "second": 5}), true, Some("second")),
        ] {
            assert_eq!(unknown(body.clone(), is_sanction).as_deref(), expected, "{body}");
        }
    }
}
