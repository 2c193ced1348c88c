//! What holds for every frame and every text, tried with random ones.
//!
//! The cases are the same in every run. `PROPTEST_RNG_SEED=7 PROPTEST_CASES=100000 cargo test properties` tries others.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngSeed};
use serde_json::{Map, Value};
use starling_protocol::codec::{decode_command, decode_event, encode_command, encode_event};
use starling_protocol::console::{self, ConsoleCommand};
use starling_protocol::{
    Ack, ChatMessage, ClientCommand, ClientId, ClientKey, CommandFrame, Epoch, ErrorCode, HistoryEvent, HistoryPage,
    InboxPosition, JoinedEvent, MembersEvent, MessageId, PostMessage, PresenceEvent, Refusal, Resume, RoomName,
    RoomPosition, RoomSummary, Seq, ServerEvent, ServerLimits, Target, Welcome, limits,
};

fn config() -> Config {
    let from_environment = Config::default();
    let rng_seed = match from_environment.rng_seed {
        RngSeed::Random => RngSeed::Fixed(2_026),
        seed @ RngSeed::Fixed(_) => seed,
    };
    let cases = from_environment.cases.max(1_000);
    Config { cases, failure_persistence: None, rng_seed, ..from_environment }
}

/// Any text: control characters, escapes, all of Unicode.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => vec(any::<char>(), 0..40).prop_map(String::from_iter),
        1 => "[ -~]{0,60}",
        1 => "[\"\\\\/\u{0}-\u{1f}\u{2028}\u{d7ff}\u{10ffff}]{0,12}",
    ]
}

fn some_text() -> impl Strategy<Value = String> {
    (any::<char>(), any_text()).prop_map(|(first, rest)| format!("{first}{rest}"))
}

fn any_client() -> impl Strategy<Value = ClientId> {
    "[A-Za-z0-9][A-Za-z0-9._-]{0,63}".prop_map(|name| ClientId::parse(&name).unwrap())
}

fn any_room() -> impl Strategy<Value = RoomName> {
    "[A-Za-z0-9][A-Za-z0-9._-]{0,63}".prop_map(|name| RoomName::parse(&name).unwrap())
}

fn any_id() -> impl Strategy<Value = MessageId> {
    vec(any::<char>(), 1..=64).prop_map(|id| MessageId::parse(&String::from_iter(id)).unwrap())
}

fn any_seq() -> impl Strategy<Value = Seq> {
    prop_oneof![any::<u64>(), 0..1_000_u64, Just(u64::MAX)].prop_map(Seq)
}

fn any_command() -> impl Strategy<Value = CommandFrame<'static>> {
    let target =
        prop_oneof![Just(Target::FirstRoom), any_room().prop_map(Target::Room), any_client().prop_map(Target::Client)];
    let message = (some_text(), target, option::of(any_client())).prop_map(|(text, target, client_id)| PostMessage {
        text: text.into(),
        target,
        client_id,
    });
    // A `hello` without both a name and a token asks for nothing.
    let hello = (option::of(any_client()), option::of(any_text()), option::of(any_text()))
        .prop_filter("asks for something", |(client_id, _, token)| client_id.is_some() || token.is_some())
        .prop_map(|(client_id, key, token)| ClientCommand::Hello {
            client_id,
            key: key.map(Into::into),
            token: token.map(Into::into),
        });
    let resume = || {
        (any_seq(), option::of(any::<u64>().prop_map(Epoch)), option::of(any::<u64>()))
            .prop_map(|(after, epoch, at)| Resume { after, epoch, at })
    };
    let join_inbox = option::of(resume()).prop_map(|resume| ClientCommand::JoinInbox { resume });
    let join = (any_room(), option::of(resume()), any::<bool>())
        .prop_map(|(room, resume, presence)| ClientCommand::Join { room, resume, presence });
    let page = || {
        prop_oneof![
            Just(HistoryPage::Newest),
            any_seq().prop_map(HistoryPage::Before),
            any_seq().prop_map(HistoryPage::After),
        ]
    };
    let inbox_history = (option::of(any_client()), page(), 1..=limits::HISTORY_LIMIT_MAX)
        .prop_map(|(with, page, limit)| ClientCommand::InboxHistory { with, page, limit });
    let history = (any_room(), page(), 1..=limits::HISTORY_LIMIT_MAX)
        .prop_map(|(room, page, limit)| ClientCommand::History { room, page, limit });
    let command = prop_oneof![
        4 => message.prop_map(ClientCommand::Message),
        2 => hello,
        2 => join,
        1 => join_inbox,
        1 => any_room().prop_map(|room| ClientCommand::Leave { room }),
        1 => Just(ClientCommand::Rooms),
        1 => any_room().prop_map(|room| ClientCommand::Members { room }),
        2 => history,
        1 => inbox_history,
        1 => Just(ClientCommand::Ping),
    ];
    (option::of(any_id()), command).prop_map(|(id, command)| CommandFrame { id, command })
}

fn any_message() -> impl Strategy<Value = ChatMessage<'static>> {
    let place = prop_oneof![
        (any_room(), any_seq()).prop_map(|(room, seq)| (Some(room), Some(seq), None)),
        (any_client(), option::of(any_seq())).prop_map(|(to, seq)| (None, seq, Some(to))),
    ];
    (any_client(), any_text(), place, any::<u64>(), option::of(any_id())).prop_map(
        |(client_id, text, (room, seq, to), at, id)| ChatMessage {
            client_id,
            text: text.into(),
            room,
            seq,
            to,
            at,
            id,
        },
    )
}

fn any_welcome() -> impl Strategy<Value = Welcome> {
    let limits = (any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>()).prop_map(
        |(message_bytes, messages_per_second, burst, rooms)| ServerLimits {
            message_bytes,
            messages_per_second,
            burst,
            rooms,
        },
    );
    let inbox =
        option::of((any_seq(), any::<u64>()).prop_map(|(seq, epoch)| InboxPosition { seq, epoch: Epoch(epoch) }));
    let first_room = (any_room(), any_seq(), any::<u64>());
    let first_room =
        option::of(first_room.prop_map(|(room, seq, epoch)| RoomPosition { room, seq, epoch: Epoch(epoch) }));
    let names = (option::of(any_id()), any_text(), any_client(), first_room, inbox);
    let numbers = (any::<u16>(), any::<u128>(), any::<u64>());
    (names, numbers, limits).prop_map(
        |((id, server, client_id, first_room, inbox), (protocol, key, heartbeat_ms), limits)| Welcome {
            id,
            protocol,
            server,
            client_id,
            first_room,
            inbox,
            key: ClientKey(key),
            heartbeat_ms,
            limits,
        },
    )
}

fn any_event() -> impl Strategy<Value = ServerEvent<'static>> {
    let id = || option::of(any_id());
    let names = || vec(any_client(), 0..4);
    let ack = (any_message(), any_id(), any::<bool>()).prop_map(|(message, id, duplicate)| Ack {
        id,
        at: message.at,
        room: message.room,
        seq: message.seq,
        to: message.to,
        duplicate,
    });
    let joined = (id(), option::of(any_room()), any_seq(), any::<u64>(), any::<u32>(), any::<Option<bool>>()).prop_map(
        |(id, room, seq, epoch, count, recovered)| JoinedEvent {
            id,
            inbox: room.is_none(),
            room,
            seq,
            epoch: Epoch(epoch),
            count,
            recovered,
        },
    );
    let presence = (any_room(), names(), names(), any::<u32>()).prop_map(|(room, joined, left, count)| PresenceEvent {
        room,
        joined,
        left,
        count,
    });
    let members = (id(), any_room(), any::<u32>(), names(), any::<bool>())
        .prop_map(|(id, room, count, client_ids, truncated)| MembersEvent { id, room, count, client_ids, truncated });
    let summary = (any_room(), any::<u32>(), any_seq()).prop_map(|(room, count, seq)| RoomSummary { room, count, seq });
    let rooms = (id(), vec(summary, 0..4), any::<bool>()).prop_map(|(id, rooms, truncated)| ServerEvent::Rooms {
        id,
        rooms,
        truncated,
    });
    let history = (id(), option::of(any_room()), option::of(any_client()), vec(any_message(), 0..4), any::<bool>())
        .prop_map(|(id, room, to, messages, has_more)| HistoryEvent {
            id,
            inbox: room.is_none(),
            room,
            to,
            messages,
            has_more,
        });
    let refusal = (select(ErrorCode::ALL), any_text(), id(), any::<Option<u64>>())
        .prop_map(|(code, message, id, retry_after_ms)| Refusal { code, message, id, retry_after_ms });
    prop_oneof![
        1 => any_welcome().prop_map(|welcome| ServerEvent::Welcome(Box::new(welcome))),
        4 => any_message().prop_map(ServerEvent::Message),
        1 => ack.prop_map(ServerEvent::Ack),
        1 => joined.prop_map(ServerEvent::Joined),
        1 => (id(), any_room()).prop_map(|(id, room)| ServerEvent::Left { id, room }),
        1 => presence.prop_map(ServerEvent::Presence),
        1 => members.prop_map(ServerEvent::Members),
        1 => rooms,
        2 => history.prop_map(ServerEvent::History),
        1 => (id(), any::<u64>()).prop_map(|(id, at)| ServerEvent::Pong { id, at }),
        1 => (any_text(), any::<u64>()).prop_map(|(reason, reconnect_after_ms)| ServerEvent::Closing {
            reason: reason.into(),
            reconnect_after_ms,
        }),
        2 => refusal.prop_map(ServerEvent::Error),
    ]
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

/// What turns a frame into nearly a frame.
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

/// The codes with which a frame is refused before anybody looks at the chat.
const CODES_OF_DECODING: [ErrorCode; 6] = [
    ErrorCode::BadJson,
    ErrorCode::BadRequest,
    ErrorCode::UnknownType,
    ErrorCode::BadName,
    ErrorCode::BadRoom,
    ErrorCode::MessageEmpty,
];

/// Gives a text to everything that reads texts.
fn read_everywhere(text: &str) -> Result<(), TestCaseError> {
    let room = RoomName::lobby();
    for refusal in [
        decode_command(text).err(),
        console::parse_line(text, None).err(),
        console::parse_line(text, Some(&room)).err(),
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

/// Renders an event, and checks that no line of it is more than it should be.
fn check_lines(event: &ServerEvent<'_>) -> Result<(), TestCaseError> {
    let Some(lines) = console::render(event) else { return Ok(()) };
    prop_assert!(!lines.is_empty() && !lines.ends_with('\n'));
    // Only what the server itself says is shown as it is.
    if matches!(event, ServerEvent::Welcome(_) | ServerEvent::Closing { .. }) {
        return Ok(());
    }
    for line in lines.split('\n') {
        prop_assert!(["[", "* ", "! ", "    "].iter().any(|start| line.starts_with(start)), "{line:?}");
        prop_assert!(line.chars().all(|c| c == '\t' || !c.is_control()), "{line:?}");
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

/// An object that has much of a frame.
fn any_object() -> impl Strategy<Value = Map<String, Value>> {
    const FIELDS: [&str; 13] = [
        "type", "clientId", "key", "token", "Message", "room", "to", "before", "after", "epoch", "limit", "presence",
        "id",
    ];
    let plausible = prop_oneof![
        "[a-z0-9._-]{0,8}".prop_map(Value::from),
        (0..300_u64).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
    ];
    let value = prop_oneof![2 => plausible, 1 => any_json()];
    let name = prop_oneof![4 => select(FIELDS.as_slice()).prop_map(str::to_owned), 1 => any_text()];
    let kind = select(
        ["message", "hello", "join", "leave", "rooms", "members", "history", "ping", "Message", "dance"].as_slice(),
    );
    (option::weighted(0.8, kind), vec((name, value), 0..6)).prop_map(|(kind, fields)| {
        let mut object: Map<String, Value> = fields.into_iter().collect();
        if let Some(kind) = kind {
            object.insert("type".into(), kind.into());
        }
        object
    })
}

/// The rule for names, as the page says it: 1 to 64 of letters, digits, `.`, `_`, `-`, first a letter or digit.
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
        let escape = if text.starts_with('/') { "/" } else { "" };
        let line = format!("{escape}{text}{end}");
        let said = PostMessage { text: text.into(), target: Target::FirstRoom, client_id: None };
        prop_assert_eq!(
            console::parse_line(&line, None),
            Ok(ConsoleCommand::Command(ClientCommand::Message(said)))
        );
    }
}
