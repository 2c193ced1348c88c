//! The contracts for machines, `docs/protocol.schema.json` and `docs/asyncapi.yaml`: made from the types.
//!
//! `RENEW_CONTRACTS=1 cargo test -p starling-protocol contracts` writes both files.

mod asyncapi;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use starling_protocol::codec::decode_command;
use starling_protocol::schema::{FrameSchemas, frames};
use starling_protocol::{ErrorCode, Refusal};

use crate::golden;
use crate::properties::config;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

/// Compares a file of `docs/` with its content by the code, or writes it.
fn check_or_renew(name: &str, text: &str, read: impl Fn(&str) -> Value) {
    if std::env::var_os("RENEW_CONTRACTS").is_some() {
        fs::write(file(name), text).unwrap();
    }
    let on_disk = fs::read_to_string(file(name)).unwrap_or_default();
    assert!(
        !on_disk.is_empty() && read(&on_disk) == read(text),
        "docs/{name} is not what the types say; renew it: RENEW_CONTRACTS=1 cargo test -p starling-protocol contracts"
    );
}

/// The content of `docs/protocol.schema.json`.
fn document() -> Value {
    let FrameSchemas { commands, events, definitions } = frames(SchemaSettings::draft2020_12());
    let mut all = definitions;
    for (group, about, schemas) in [
        ("command", "Any frame of a client. Fields of other types are not described, and ignored.", commands),
        ("event", "Any frame of the server. A client ignores fields and types that it does not know.", events),
    ] {
        let any: Vec<Value> = schemas.keys().map(|kind| json!({ "$ref": format!("#/$defs/{group}.{kind}") })).collect();
        all.extend(schemas.into_iter().map(|(kind, schema)| (format!("{group}.{kind}"), schema)));
        all.insert(group.into(), json!({ "description": about, "anyOf": any }));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The frames of Starling's chat protocol, version 1",
        "$defs": all,
    })
}

/// A validator for one definition of the document.
fn validator(definition: &str) -> Validator {
    let mut document = document();
    document["$ref"] = format!("#/$defs/{definition}").into();
    jsonschema::draft202012::new(&document).unwrap()
}

#[test]
fn the_published_schemas_are_those_of_the_types() {
    let text = format!("{:#}\n", document());
    check_or_renew("protocol.schema.json", &text, |text| serde_json::from_str(text).unwrap());
}

#[test]
fn the_published_asyncapi_document_is_made_from_the_types() {
    let text = asyncapi::text();
    check_or_renew("asyncapi.yaml", &text, |text| serde_saphyr::from_str(text).unwrap());
}

#[test]
fn every_golden_frame_is_valid_by_the_schema_of_its_type_and_of_no_other() {
    let FrameSchemas { commands, events, .. } = frames(SchemaSettings::draft2020_12());
    for (folder, group, schemas) in [("commands", "command", commands), ("events", "event", events)] {
        let validators: BTreeMap<&String, Validator> =
            schemas.keys().map(|kind| (kind, validator(&format!("{group}.{kind}")))).collect();
        let any = validator(group);
        for (name, frame) in golden::frames(folder) {
            let frame: Value = serde_json::from_str(&frame).unwrap();
            let kind = frame.get("type").map_or("message", |kind| kind.as_str().unwrap());
            assert!(any.is_valid(&frame), "{folder}/{name}");
            for (other, validator) in &validators {
                assert_eq!(validator.is_valid(&frame), *other == kind, "{folder}/{name} by the schema of {other}");
            }
        }
    }
}

#[test]
fn every_example_of_the_asyncapi_document_is_valid_by_the_payload_of_its_message() {
    let document: Value = serde_saphyr::from_str(&asyncapi::text()).unwrap();
    for (name, message) in document["components"]["messages"].as_object().unwrap() {
        let mut schema = document.clone();
        schema["allOf"] = json!([{ "$ref": format!("#/components/messages/{name}/payload") }]);
        let validator = jsonschema::draft7::new(&schema).unwrap();
        for example in message["examples"].as_array().unwrap() {
            assert!(validator.is_valid(&example["payload"]), "{name}: {example}");
            let mut wrong = example["payload"].clone();
            wrong["id"] = 7.into();
            let has_no_id =
                ["event.presence", "event.typing", "event.settings", "event.closing"].contains(&name.as_str());
            assert_eq!(validator.is_valid(&wrong), has_no_id, "{name}: an `id` is a text");
        }
    }
}

#[test]
fn the_schema_of_an_event_has_its_fields_and_their_types() {
    let error = serde_json::to_value(Refusal::new(ErrorCode::BadName, "x")).unwrap();
    let with = |name: &str, value: Value| {
        let mut error = error.clone();
        error["type"] = "error".into();
        error[name] = value;
        error
    };
    let validator = validator("event.error");
    assert!(validator.is_valid(&with("retryAfterMs", 7.into())));
    assert!(validator.is_valid(&with("aFieldOfALaterVersion", 7.into())));
    for (name, value) in
        [("retryAfterMs", json!(-1)), ("message", json!(null)), ("code", json!("bad_luck")), ("id", json!(""))]
    {
        assert!(!validator.is_valid(&with(name, value.clone())), "{name} {value}");
    }
}

/// Values that fields may and may not have.
fn any_value() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        3 => Just(None),
        1 => Just(Some(Value::Null)),
        3 => select(vec![json!("alice"), json!("dev"), json!("0123456789abcdef"), json!("x".repeat(64)), json!("👍")]).prop_map(Some),
        3 => select(vec![json!(1), json!(200), json!(u64::MAX)]).prop_map(Some),
        2 => select(vec![json!(true), json!(false)]).prop_map(Some),
        2 => select(vec![
            json!(""), json!("a b"), json!("-x"), json!("x".repeat(65)), json!("ü"), json!(0), json!(201), json!(-1),
            json!(1.5), json!([]), json!({}), json!("a\n"),
        ])
        .prop_map(Some),
    ]
}

#[test]
fn a_schema_accepts_a_command_exactly_if_the_server_does() {
    let schemas = frames(SchemaSettings::draft2020_12()).commands;
    let kinds: Vec<(String, Vec<String>, Validator)> = schemas
        .into_iter()
        .map(|(kind, schema)| {
            let fields = schema["properties"].as_object().unwrap().keys().filter(|name| *name != "type").cloned();
            let validator = validator(&format!("command.{kind}"));
            (kind, fields.collect(), validator)
        })
        .collect();
    let config = config();
    let cases = config.cases * 10;
    let mut accepted = 0;
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases, ..config });
    let case = (any::<Index>(), prop::collection::vec(any_value(), 12));
    let outcome = runner.run(&case, |(kind, values)| {
        let (kind, fields, validator) = kind.get(&kinds);
        let mut frame: Map<String, Value> =
            fields.iter().zip(values).filter_map(|(name, value)| Some((name.clone(), value?))).collect();
        frame.insert("type".into(), kind.clone().into());
        let frame = Value::Object(frame);
        let decoded = decode_command(&frame.to_string()).map(|_| ());
        prop_assert_eq!(validator.is_valid(&frame), decoded.is_ok(), "{} {:?}", frame, decoded);
        Ok(())
    });
    outcome.unwrap();
    // Most random frames are refused; some of each kind must have been accepted.
    for (kind, fields, validator) in &kinds {
        let mut smallest = Map::from_iter([("type".to_owned(), Value::from(kind.clone()))]);
        for (field, value) in [
            ("room", json!("dev")),
            ("Message", json!("x")),
            ("clientId", json!("alice")),
            ("of", json!(1)),
            ("seq", json!(1)),
            ("emoji", json!("👍")),
        ] {
            if fields.iter().any(|known| known == field) {
                smallest.insert(field.into(), value);
            }
        }
        accepted += u32::from(validator.is_valid(&Value::Object(smallest)));
    }
    assert_eq!(accepted as usize, kinds.len());
}
