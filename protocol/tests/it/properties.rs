//! Properties of every frame and every text, tested with random ones.
//!
//! The cases are the same in every run. `PROPTEST_RNG_SEED=7 PROPTEST_CASES=100000 cargo test properties` tries others.

mod any;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngSeed};
use serde_json::{Map, Value};
use starling_protocol::codec::{decode_command, decode_event, encode_command, encode_event};
use starling_protocol::console::{self, ConsoleCommand, CurrentRoom};
use starling_protocol::{ClientCommand, ClientId, ErrorCode, MessageId, PostMessage, RoomName, ServerEvent, Target};

use self::any::{any_command, any_event, any_text, some_text};

pub(crate) fn config() -> Config {
    let from_environment = Config::default();
    let rng_seed = match from_environment.rng_seed {
        RngSeed::Random => RngSeed::Fixed(2_026),
        seed @ RngSeed::Fixed(_) => seed,
    };
    let cases = from_environment.cases.max(1_000);
    Config { cases, failure_persistence: None, rng_seed, ..from_environment }
}

fn encoded(event: &ServerEvent<'_>) -> String {
    let mut out = Vec::new();
    encode_event(event, &mut out);
    String::from_utf8(out).unwrap()
}

#[derive(Debug, Clone)]
enum Damage {
    Replace(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Repeat(Index, Index),
    Cut(Index),
}

/// Changes that damage a frame slightly.
fn any_damage() -> impl Strategy<Value = Vec<Damage>> {
    let byte = || prop_oneof![any::<u8>(), select(b"{}[]\",:\\0-e.tfnu \n".as_slice())];
    let damage = prop_oneof![
        (any::<Index>(), byte()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
        (any::<Index>(), byte()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        any::<Index>().prop_map(Damage::Remove),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Repeat(from, to)),
        any::<Index>().prop_map(Damage::Cut),
    ];
    vec(damage, 1..5)
}

fn damaged(frame: &str, damages: &[Damage]) -> String {
    let mut bytes = frame.as_bytes().to_vec();
    for damage in damages {
        let length = bytes.len();
        if length == 0 {
            break;
        }
        match damage {
            Damage::Replace(at, byte) => bytes[at.index(length)] = *byte,
            Damage::Insert(at, byte) => bytes.insert(at.index(length), *byte),
            Damage::Remove(at) => drop(bytes.remove(at.index(length))),
            Damage::Repeat(from, to) => {
                let (from, to) = (from.index(length), to.index(length));
                let again = bytes[from.min(to)..from.max(to)].to_vec();
                bytes.extend_from_slice(&again);
            }
            Damage::Cut(at) => bytes.truncate(at.index(length)),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The codes of refusals that need no state of the chat.
const CODES_OF_DECODING: [ErrorCode; 6] = [
    ErrorCode::BadJson,
    ErrorCode::BadRequest,
    ErrorCode::UnknownType,
    ErrorCode::BadName,
    ErrorCode::BadRoom,
    ErrorCode::MessageEmpty,
];

/// Passes a text to every parser of texts.
fn read_everywhere(text: &str) -> Result<(), TestCaseError> {
    for refusal in [
        decode_command(text).err(),
        console::parse_line(text, &CurrentRoom::First).err(),
        console::parse_line(text, &CurrentRoom::Is(RoomName::lobby())).err(),
        console::parse_line(text, &CurrentRoom::Left).err(),
    ]
    .into_iter()
    .flatten()
    {
        prop_assert!(CODES_OF_DECODING.contains(&refusal.code), "{refusal}");
        prop_assert!(!refusal.message.is_empty());
    }
    if let Ok(event) = decode_event(text) {
        check_lines(&event)?;
    }
    Ok(())
}

/// Renders an event, and checks that each of its lines is harmless.
fn check_lines(event: &ServerEvent<'_>) -> Result<(), TestCaseError> {
    let Some(lines) = console::render(event) else { return Ok(()) };
    prop_assert!(!lines.is_empty() && !lines.ends_with('\n'));
    // Only the server's own texts are shown unchanged.
    if matches!(event, ServerEvent::Welcome(_) | ServerEvent::Closing { .. }) {
        return Ok(());
    }
    for line in lines.split('\n') {
        prop_assert!(["[", "* ", "! ", "    "].iter().any(|start| line.starts_with(start)), "{line:?}");
        prop_assert!(line.chars().all(|c| c == '\t' || !c.is_control()), "{line:?}");
        prop_assert!(!line.contains(|c| "\u{61c}\u{200e}\u{200f}\u{2028}\u{202e}\u{2066}".contains(c)), "{line:?}");
    }
    Ok(())
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any_text().prop_map(Value::from),
        select(["alice", "dev", "guest-1", "-", "", "b7c1f0a93d5e2648"].as_slice()).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((any_text(), inner), 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// An object that is similar to a frame.
fn any_object() -> impl Strategy<Value = Map<String, Value>> {
    const FIELDS: [&str; 17] = [
        "type", "clientId", "key", "token", "Message", "room", "to", "before", "after", "epoch", "limit", "presence",
        "id", "replyTo", "of", "emoji", "remove",
    ];
    let plausible = prop_oneof![
        "[a-z0-9._-]{0,8}".prop_map(Value::from),
        (0..300_u64).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
    ];
    let value = prop_oneof![2 => plausible, 1 => any_json()];
    let name = prop_oneof![4 => select(FIELDS.as_slice()).prop_map(str::to_owned), 1 => any_text()];
    let kind = select(
        [
            "message", "edit", "delete", "react", "hello", "join", "leave", "rooms", "members", "history", "ping",
            "Message", "dance",
        ]
        .as_slice(),
    );
    (option::weighted(0.8, kind), vec((name, value), 0..6)).prop_map(|(kind, fields)| {
        let mut object: Map<String, Value> = fields.into_iter().collect();
        if let Some(kind) = kind {
            object.insert("type".into(), kind.into());
        }
        object
    })
}

/// The rule for names, as docs/protocol.md states it: 1 to 64 of letters, digits, `.`, `_`, `-`, first a letter or
/// digit.
fn is_name(text: &str) -> bool {
    const ALNUM: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let chars: Vec<char> = text.chars().collect();
    (1..=64).contains(&chars.len())
        && ALNUM.contains(chars[0])
        && chars.iter().all(|c| ALNUM.contains(*c) || *c == '.' || *c == '_' || *c == '-')
}

/// Texts on both sides of the rule.
fn nearly_a_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9._-]{0,70}",
        "[A-Za-z0-9][A-Za-z0-9._-]{60,66}",
        "[A-Za-z0-9][A-Za-z0-9._äß٣ /@:\u{0}\u{7f}-]{0,6}",
        any_text(),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_command_comes_back_as_it_was_written(frame in any_command()) {
        let text = encode_command(&frame);
        prop_assert!(!text.contains('\n'), "a frame is one line");
        prop_assert!(!console::is_line(&text), "a frame is no line of the console");
        prop_assert_eq!(decode_command(&text), Ok(frame));
    }

    #[test]
    fn an_event_comes_back_as_it_was_written(event in any_event()) {
        let text = encoded(&event);
        prop_assert!(!text.contains('\n'), "a frame is one line");
        prop_assert_eq!(decode_event(&text).unwrap(), event);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        read_everywhere(&String::from_utf8_lossy(&bytes))?;
    }

    #[test]
    fn arbitrary_text_never_panics(start in select(["", "{", "{\"", "/", "/msg ", "/history ", "[", "//"].as_slice()), text in any_text()) {
        read_everywhere(&format!("{start}{text}"))?;
    }

    #[test]
    fn a_damaged_command_never_panics(frame in any_command(), damages in any_damage()) {
        read_everywhere(&damaged(&encode_command(&frame), &damages))?;
    }

    #[test]
    fn a_damaged_event_never_panics(event in any_event(), damages in any_damage()) {
        read_everywhere(&damaged(&encoded(&event), &damages))?;
    }

    #[test]
    fn any_object_is_a_command_or_refused_with_a_code(object in any_object()) {
        let id = object.get("id").and_then(Value::as_str).and_then(|id| MessageId::parse(id).ok());
        let text = Value::Object(object).to_string();
        match decode_command(&text) {
            Ok(frame) => prop_assert_eq!(frame.id, id),
            Err(refusal) => {
                prop_assert!(CODES_OF_DECODING.contains(&refusal.code), "{}", refusal);
                prop_assert_ne!(refusal.code, ErrorCode::BadJson, "it is JSON: {}", text);
                prop_assert_eq!(refusal.id, id);
            }
        }
    }

    #[test]
    fn what_is_accepted_is_a_command_that_can_be_written(object in any_object()) {
        let text = Value::Object(object).to_string();
        if let Ok(frame) = decode_command(&text) {
            let again = encode_command(&frame);
            prop_assert_eq!(decode_command(&again), Ok(frame));
        }
    }

    #[test]
    fn a_name_is_exactly_what_the_rule_says(text in nearly_a_name()) {
        prop_assert_eq!(ClientId::parse(&text).is_ok(), is_name(&text));
        prop_assert_eq!(RoomName::parse(&text).is_ok(), is_name(&text));
    }

    #[test]
    fn an_id_is_any_text_of_1_to_64_characters(text in vec(any::<char>(), 0..70).prop_map(String::from_iter)) {
        prop_assert_eq!(MessageId::parse(&text).is_ok(), (1..=64).contains(&text.chars().count()));
    }

    #[test]
    fn a_guest_name_is_a_name(random in any::<u64>()) {
        let guest = ClientId::guest(random);
        prop_assert!(is_name(guest.as_str()) && guest.is_guest());
    }

    #[test]
    fn every_event_is_rendered_as_harmless_lines(event in any_event()) {
        check_lines(&event)?;
    }

    #[test]
    fn a_line_that_is_typed_is_said_word_for_word(text in some_text(), end in select(["", "\n", "\r\n"].as_slice())) {
        prop_assume!(!text.ends_with(['\n', '\r']));
        // A `/` may have blanks before it: the line then begins with another one, and the blanks are not said.
        let escaped = text.trim_start().strip_prefix('/').map(|rest| format!("/{rest}"));
        let line = escaped.as_ref().map_or_else(|| format!("{text}{end}"), |escaped| format!("/{escaped}{end}"));
        let text = escaped.unwrap_or(text).into();
        let said = PostMessage { text, target: Target::FirstRoom, client_id: None, reply_to: None };
        prop_assert_eq!(
            console::parse_line(&line, &CurrentRoom::First),
            Ok(ConsoleCommand::Command(ClientCommand::Message(said)))
        );
    }
}
