//! The fields of a request: those of the body, or the parameters of the query. A refusal names the field and what it may
//! be, by the schema of the type.

use std::fmt;

use actix_web::web::Bytes;
use schemars::{JsonSchema, schema_for};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use starling_protocol::{ClientId, RoomName, one_of};

use crate::query;
use crate::refusal::{HttpCode, HttpRefusal};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Fields(Map<String, Value>);

pub(super) fn bad(error: impl fmt::Display) -> HttpRefusal {
    HttpRefusal::new(HttpCode::BadRequest, error.to_string())
}

/// Reads the name of a client, in whatever part of a request. The refusal is `bad_name`.
pub(crate) fn client_of(text: &str) -> Result<ClientId, HttpRefusal> {
    ClientId::parse(text).map_err(|error| HttpRefusal::new(HttpCode::BadName, error.to_string()))
}

/// Reads the name of a room, in whatever part of a request. The refusal is `bad_room`.
pub(crate) fn room_of(text: &str) -> Result<RoomName, HttpRefusal> {
    RoomName::parse(text).map_err(|error| HttpRefusal::new(HttpCode::BadRoom, error.to_string()))
}

impl Fields {
    pub(super) fn of_body(body: Result<Bytes, actix_web::Error>) -> Result<Self, HttpRefusal> {
        let body = body.map_err(bad)?;
        let mut repeated = None;
        let mut reader = serde_json::Deserializer::from_slice(&body);
        let read = WithoutRepeats { repeated: &mut repeated }.deserialize(&mut reader);
        let value = read.and_then(|value| reader.end().map(|()| value)).map_err(|error| match repeated {
            Some(path) => bad(format!("the body has the field `{path}` twice")),
            None => bad(format!("the body is no JSON at line {}, column {}", error.line(), error.column())),
        })?;
        // Serde would also accept an array for a struct.
        let Value::Object(fields) = value else { return Err(bad("the body must be a JSON object")) };
        Ok(Self(fields))
    }

    pub(super) fn of_query(text: &str) -> Result<Self, HttpRefusal> {
        query::parameters(text).map(Self)
    }

    /// Refuses a field that means something elsewhere, and would be lost here. `null` counts as absent.
    pub(super) fn without(self, name: &str, reason: &str) -> Result<Self, HttpRefusal> {
        if self.0.get(name).is_none_or(Value::is_null) {
            return Ok(self);
        }
        Err(bad(format!("field `{name}` has no meaning here: {reason}")))
    }

    /// Reads them; those that the type does not have are ignored.
    pub(super) fn read<T: DeserializeOwned + JsonSchema>(self) -> Result<T, HttpRefusal> {
        let schema = schema_for!(T).to_value();
        match wrong(&self.0, &schema, &schema, "") {
            Some(refusal) => Err(refusal),
            // The schema has allowed them. Serde alone would also accept a map for a word, for example.
            None => T::deserialize(Value::Object(self.0)).map_err(bad),
        }
    }

    /// Reads them; none may be one that the type does not have. With a mistyped `seconds`, a mute would have no end.
    pub(super) fn read_all<T: DeserializeOwned + JsonSchema>(self) -> Result<T, HttpRefusal> {
        let schema = schema_for!(T).to_value();
        match unknown(&self.0, &schema, &schema, "") {
            None => self.read(),
            Some(text) => Err(bad(text)),
        }
    }
}

/// Reads a JSON value, but none in which an object has a field twice: [`Value`] alone keeps the last of them.
struct WithoutRepeats<'a> {
    /// The path of the first field that stands twice. Reading ends there.
    repeated: &'a mut Option<String>,
}

impl WithoutRepeats<'_> {
    fn within(&mut self) -> WithoutRepeats<'_> {
        WithoutRepeats { repeated: self.repeated }
    }
}

impl<'de> DeserializeSeed<'de> for WithoutRepeats<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for WithoutRepeats<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut values: A) -> Result<Value, A::Error> {
        let mut read = Vec::new();
        while let Some(value) = values.next_element_seed(self.within())? {
            read.push(value);
        }
        Ok(read.into())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<Value, A::Error> {
        let mut read = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if read.contains_key(&name) {
                *self.repeated = Some(name);
                return Err(A::Error::custom("a field stands twice"));
            }
            let value = fields.next_value_seed(self.within()).inspect_err(|_| {
                if let Some(path) = self.repeated {
                    path.insert_str(0, &format!("{name}."));
                }
            })?;
            read.insert(name, value);
        }
        Ok(read.into())
    }
}

/// The first field that the schema does not have, also within its fields, and those that it has.
fn unknown(fields: &Map<String, Value>, schema: &Value, root: &Value, path: &str) -> Option<String> {
    let properties = properties(schema, root)?;
    fields.iter().find_map(|(name, value)| {
        if let Some(property) = properties.get(name) {
            return unknown(value.as_object()?, property, root, &format!("{path}{name}."));
        }
        let mut known: Vec<_> = properties.keys().map(|known| format!("`{path}{known}`")).collect();
        known.sort_unstable();
        Some(format!("there is no field `{path}{name}`; write {}", one_of(known)))
    })
}

/// The refusal of the first field that is missing or has a value that the schema does not allow.
fn wrong(fields: &Map<String, Value>, schema: &Value, root: &Value, path: &str) -> Option<HttpRefusal> {
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    let missing = required.filter_map(Value::as_str).find(|name| !fields.contains_key(*name));
    if let Some(name) = missing {
        return Some(bad(format!("field `{path}{name}` is missing")));
    }
    let properties = properties(schema, root)?;
    fields.iter().find_map(|(name, value)| {
        let allowed = alternatives(properties.get(name)?, root);
        if allowed.iter().any(|one| is_allowed(value, one)) {
            let within = allowed.into_iter().find(|one| one.get("properties").is_some())?;
            return wrong(value.as_object()?, within, root, &format!("{path}{name}."));
        }
        // The schema of a name is a pattern, which tells a person less than the reason.
        let text = value.as_str().filter(|_| allowed.iter().any(|one| is_name(one)));
        // It is the same for clients and rooms; the field tells which is meant.
        let refusal = text.and_then(|text| if name == "room" { room_of(text).err() } else { client_of(text).err() });
        Some(match refusal {
            Some(HttpRefusal { code, message, .. }) => {
                HttpRefusal::new(code, format!("field `{path}{name}`: {message}"))
            }
            None => bad(format!("field `{path}{name}` must be {}", one_of(allowed.into_iter().flat_map(told)))),
        })
    })
}

/// The schema without references and choices: the value has to fit one of these.
fn alternatives<'a>(schema: &'a Value, root: &'a Value) -> Vec<&'a Value> {
    let referred =
        schema.get("$ref").and_then(Value::as_str).and_then(|target| root.pointer(target.strip_prefix('#')?));
    let chosen = ["anyOf", "oneOf"].into_iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    let within: Vec<&Value> = referred.into_iter().chain(chosen).collect();
    if within.is_empty() { vec![schema] } else { within.into_iter().flat_map(|one| alternatives(one, root)).collect() }
}

/// The fields of an object. `None`: it is none, or may have any.
fn properties<'a>(schema: &'a Value, root: &'a Value) -> Option<&'a Map<String, Value>> {
    alternatives(schema, root).into_iter().find_map(|one| one.get("properties")?.as_object())
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).collect(),
        one => one.and_then(Value::as_str).into_iter().collect(),
    }
}

/// The words that are allowed, if only some are.
fn words(schema: &Value) -> Option<Vec<&Value>> {
    let of_enum = schema.get("enum").and_then(Value::as_array).map(|words| words.iter().collect());
    of_enum.or_else(|| schema.get("const").map(|word| vec![word]))
}

fn is_name(schema: &Value) -> bool {
    schema.get("pattern").is_some()
}

/// The most bytes of a text. JSON Schema itself counts characters only, so the document has this word of its own.
pub(super) const BYTES_MAX: &str = "x-maxBytes";

fn bounds(schema: &Value) -> (u64, Option<u64>) {
    let bound = |key| schema.get(key).and_then(Value::as_u64);
    (bound("minimum").unwrap_or(0), bound("maximum"))
}

/// Whether a value fits one of the [`alternatives`], the fields of an object aside.
fn is_allowed(value: &Value, schema: &Value) -> bool {
    if let Some(words) = words(schema) {
        return words.contains(&value);
    }
    types(schema).into_iter().any(|name| match (name, value) {
        ("null", Value::Null) | ("boolean", Value::Bool(_)) | ("object", Value::Object(_)) => true,
        ("string", Value::String(text)) => {
            let length = text.chars().count() as u64;
            let bound = |key| schema.get(key).and_then(Value::as_u64);
            let is_long_enough = bound("minLength").is_none_or(|least| length >= least);
            let is_short_enough = bound("maxLength").is_none_or(|most| length <= most)
                && bound(BYTES_MAX).is_none_or(|most| text.len() as u64 <= most);
            is_long_enough && is_short_enough && (!is_name(schema) || ClientId::parse(text).is_ok())
        }
        ("integer", Value::Number(number)) => {
            let (least, most) = bounds(schema);
            number.as_u64().is_some_and(|number| number >= least && most.is_none_or(|most| number <= most))
        }
        _ => false,
    })
}

/// What is allowed, for a person.
fn told(schema: &Value) -> Vec<String> {
    if let Some(words) = words(schema) {
        return words.into_iter().map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned)).collect();
    }
    let length = |key| schema.get(key).and_then(Value::as_u64);
    let of_type = |name: &str| match name {
        "boolean" => vec!["true".into(), "false".into()],
        "integer" => vec![match bounds(schema) {
            (least, Some(most)) => format!("a whole number from {least} to {most}"),
            (least, None) => format!("a whole number of at least {least}"),
        }],
        "string" if is_name(schema) => vec!["a name".into()],
        "string" if let Some(most) = length(BYTES_MAX) => vec![format!("a text of at most {most} bytes")],
        "string" => vec![match (length("minLength"), length("maxLength")) {
            (Some(least), Some(most)) => format!("a text of {least} to {most} characters"),
            (None, Some(most)) => format!("a text of at most {most} characters"),
            (_, None) => "a text".into(),
        }],
        "object" => vec!["a JSON object".into()],
        other => vec![other.to_owned()],
    };
    types(schema).into_iter().flat_map(of_type).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::handlers::OperatorMessage;
    use super::super::moderation::wire::{GivenSettings, NewInvitation, NewSanction};
    use super::*;

    fn read<T: DeserializeOwned + JsonSchema>(body: &Value) -> Result<(), String> {
        let body = Bytes::from(body.to_string());
        Fields::of_body(Ok(body)).and_then(Fields::read_all::<T>).map(drop).map_err(|refusal| refusal.message)
    }

    #[test]
    fn what_the_type_allows_is_read() {
        for body in [
            json!({}),
            json!({"topic": "a", "retention": {"messages": 1, "seconds": 2}, "seenBy": null}),
            json!({"retention": {"messages": null, "seconds": null}}),
            json!({"topic": "a\nb", "writers": "operators", "access": "everyone", "newcomersSeeHistory": false}),
        ] {
            assert_eq!(read::<GivenSettings>(&body), Ok(()), "{body}");
        }
        for body in [
            json!({"measure": "mute", "clientId": "a", "seconds": 5, "reason": "x".repeat(500), "room": "dev"}),
            json!({"measure": "ban", "clientId": null, "address": "x", "seconds": null, "reason": null, "room": null}),
        ] {
            assert_eq!(read::<NewSanction>(&body), Ok(()), "{body}");
        }
        let body = json!({"Message": "", "id": null, "clientId": null, "room": null, "type": "message"});
        assert_eq!(read::<OperatorMessage>(&body), Ok(()));
    }

    /// The words of the JSON library name no field, and a line and a column.
    #[test]
    fn a_refusal_names_the_field_and_what_it_may_be() {
        let sanction = |with: Value| {
            let mut body = json!({"measure": "mute", "clientId": "a"});
            body.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
            read::<NewSanction>(&body)
        };
        let long = "x".repeat(65);
        for (refused, says) in [
            (read::<NewSanction>(&json!([])), "the body must be a JSON object"),
            (read::<NewSanction>(&json!({"clientId": "a"})), "field `measure` is missing"),
            (sanction(json!({"measure": "kick"})), "field `measure` must be mute or ban"),
            (sanction(json!({"measure": null})), "field `measure` must be mute or ban"),
            (sanction(json!({"seconds": "5"})), "field `seconds` must be a whole number from 1 to 315360000 or null"),
            (sanction(json!({"seconds": -5})), "field `seconds` must be a whole number from 1 to 315360000 or null"),
            (sanction(json!({"seconds": 1.5})), "field `seconds` must be a whole number from 1 to 315360000 or null"),
            (sanction(json!({"clientId": 7})), "field `clientId` must be a name or null"),
            (
                sanction(json!({"room": "a/b"})),
                "field `room`: a name has only letters, digits, '.', '_' and '-', not '/'",
            ),
            (sanction(json!({"reason": 1})), "field `reason` must be a text of at most 500 bytes or null"),
            (
                sanction(json!({"second": 5})),
                "there is no field `second`; write `address`, `clientId`, `measure`, `reason`, `room` or `seconds`",
            ),
            (
                read::<GivenSettings>(&json!({"slowSeconds": u64::MAX})),
                "field `slowSeconds` must be a whole number from 0 to 21600",
            ),
            (
                read::<GivenSettings>(&json!({"topic": "\u{fc}".repeat(126)})),
                "field `topic` must be a text of at most 250 bytes",
            ),
            (read::<GivenSettings>(&json!({"writers": "nobody"})), "field `writers` must be everyone or operators"),
            (read::<GivenSettings>(&json!({"access": "bob"})), "field `access` must be everyone or invited"),
            // Serde alone would take these for the words.
            (
                read::<GivenSettings>(&json!({"writers": {"operators": null}})),
                "field `writers` must be everyone or operators",
            ),
            (sanction(json!({"measure": {"mute": null}})), "field `measure` must be mute or ban"),
            (read::<GivenSettings>(&json!({"seenBy": "on"})), "field `seenBy` must be true, false or null"),
            (read::<GivenSettings>(&json!({"retention": []})), "field `retention` must be a JSON object"),
            (
                read::<GivenSettings>(&json!({"retention": {"messages": "many"}})),
                "field `retention.messages` must be a whole number from 1 to 1000000000000 or null",
            ),
            (
                read::<GivenSettings>(&json!({"retention": {"message": 5}})),
                "there is no field `retention.message`; write `retention.messages` or `retention.seconds`",
            ),
            (
                read::<GivenSettings>(&json!({"retention": {"seconds": 0}})),
                "field `retention.seconds` must be a whole number from 1 to 3153600000 or null",
            ),
            (read::<NewInvitation>(&json!({"clientId": ""})), "field `clientId`: a name has 1 to 64 characters"),
            (read::<OperatorMessage>(&json!({"clientId": "a"})), "field `Message` is missing"),
            (
                read::<OperatorMessage>(&json!({"Message": "a", "id": long})),
                "field `id` must be a text of 1 to 64 characters or null",
            ),
            (read::<OperatorMessage>(&json!({"Message": "a", "type": "edit"})), "field `type` must be message or null"),
        ] {
            assert_eq!(refused, Err(says.to_owned()));
        }
        // `null` is a value of `seenBy` only; in another setting, it could be taken for its default.
        for name in ["slowSeconds", "topic", "writers", "access", "newcomersSeeHistory", "retention"] {
            let refused = read::<GivenSettings>(&json!({name: null})).unwrap_err();
            assert!(refused.starts_with(&format!("field `{name}` must be ")) && !refused.contains("null"), "{refused}");
        }
        for (name, code) in [("room", HttpCode::BadRoom), ("clientId", HttpCode::BadName)] {
            let query = format!("measure=mute&{name}=a+b");
            let refusal = Fields::of_query(&query).and_then(Fields::read_all::<NewSanction>).unwrap_err();
            assert_eq!(refusal.code, code);
        }
        let broken = Fields::of_body(Ok(Bytes::from_static(b"{\"a\":\n}"))).unwrap_err();
        assert_eq!(broken.message, "the body is no JSON at line 2, column 1");
        let twice = Fields::of_query("measure=mute&measure=ban").and_then(Fields::read_all::<NewSanction>).unwrap_err();
        assert_eq!(twice.message, "the query has the parameter `measure` twice");
    }

    #[test]
    fn a_field_stands_once_wherever_it_is() {
        let deep = format!("{}{}", r#"{"a":"#.repeat(100), r#"{"b":1,"b":1}"#.to_owned() + &"}".repeat(100));
        let path = format!("{}b", "a.".repeat(100));
        for (body, path) in [
            (r#"{"measure":"mute","clientId":"a","measure":"ban"}"#, "measure"),
            (r#"{"retention":{"messages":1,"messages":1}}"#, "retention.messages"),
            (r#"{"x":[1,{"y":null,"\u0079":null}]}"#, "x.y"),
            (&deep, &path),
        ] {
            let refused = Fields::of_body(Ok(Bytes::copy_from_slice(body.as_bytes()))).unwrap_err();
            assert_eq!(refused.message, format!("the body has the field `{path}` twice"));
        }
        let same = r#"{"a":{"b":[true,-1,1.5,"\u00fc",null]},"b":18446744073709551615}"#;
        let fields = Fields::of_body(Ok(Bytes::from_static(same.as_bytes()))).unwrap();
        assert_eq!(Value::Object(fields.0), serde_json::from_str::<Value>(same).unwrap());
        for broken in ["", "{", "{} {}", &"[".repeat(100_000), r#"{"a":1e999}"#] {
            let refused = Fields::of_body(Ok(Bytes::copy_from_slice(broken.as_bytes()))).unwrap_err();
            assert!(refused.message.starts_with("the body is no JSON at line "), "{}", refused.message);
        }
    }
}
