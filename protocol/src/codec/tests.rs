use super::*;
use crate::change::ReactionCount;
use crate::event::{ChatMessage, ServerEvent};

fn command(text: &str) -> ClientCommand<'_> {
    decode_command(text).unwrap().command
}

fn refusal(text: &str) -> (ErrorCode, String) {
    let refusal = decode_command(text).unwrap_err();
    (refusal.code, refusal.message)
}

#[test]
fn the_smallest_client_of_the_projects_first_document_is_understood() {
    let ClientCommand::Message(message) = command(r#"{"clientId": "alice", "Message": "hello"}"#) else {
        panic!("not a message")
    };
    assert_eq!(message.text, "hello");
    assert_eq!(message.client_id.unwrap().as_str(), "alice");
    assert_eq!(message.target, Target::FirstRoom);
}

#[test]
fn a_message_is_written_as_serde_would_write_it() {
    let texts = ["hello", "", "a \"word\"", "back\\slash", "line\nbreak", "\u{0}\u{1f}", "grüße 🎉 \u{7f}\u{2028}"];
    let reactions = ReactionCount {
        emoji: Emoji::parse("👍").unwrap(),
        count: 2,
        client_ids: vec![ClientId::parse("bob").unwrap()],
    };
    for text in texts.into_iter().map(str::to_owned).chain(texts.map(|text| "x".repeat(100) + text)) {
        for whole in [false, true] {
            let message = ChatMessage {
                client_id: ClientId::parse("alice").unwrap(),
                text: text.clone().into(),
                room: whole.then(|| RoomName::parse("dev").unwrap()),
                seq: whole.then_some(Seq(u64::MAX)),
                to: whole.then(|| ClientId::parse("bob.b_o-b").unwrap()),
                at: 1_795_342_200_123,
                id: whole.then(|| MessageId::parse("\"7\"").unwrap()),
                reply_to: whole.then_some(Seq(7)),
                edited_at: whole.then_some(1_795_342_200_124),
                deleted: whole,
                changed_seq: whole.then_some(Seq(9)),
                reactions: if whole { vec![reactions.clone()] } else { vec![] },
            };
            let event = ServerEvent::Message(message);
            let mut written = Vec::new();
            encode_event(&event, &mut written);
            assert_eq!(String::from_utf8(written).unwrap(), serde_json::to_string(&event).unwrap());
        }
    }
}

#[test]
fn parsing_borrows_the_text_from_the_frame_unless_it_has_escapes() {
    let ClientCommand::Message(plain) = command(r#"{"Message":"as it is"}"#) else { panic!("not a message") };
    assert!(matches!(plain.text, Cow::Borrowed(_)));
    let ClientCommand::Message(escaped) = command(r#"{"Message":"a \"word\""}"#) else { panic!("not a message") };
    assert_eq!(escaped.text, "a \"word\"");
}

#[test]
fn unknown_fields_are_ignored_and_null_counts_as_absent() {
    assert_eq!(command(r#"{"type":"ping","colour":[1,{"a":2}],"room":null}"#), ClientCommand::Ping);
}

#[test]
fn broken_json_is_told_from_json_of_the_wrong_shape() {
    assert_eq!(refusal(r#"{"type":"#).0, ErrorCode::BadJson);
    assert_eq!(refusal("{} {}").0, ErrorCode::BadJson);
    assert_eq!(refusal(r#"{"type":"join","room":7}"#), (ErrorCode::BadRequest, "field `room` must be a string".into()));
    assert_eq!(refusal(r#"{"type":"join"}"#), (ErrorCode::BadRequest, "field `room` is missing".into()));
    assert_eq!(
        refusal(r#"{"type":"history","room":"a","limit":-1}"#),
        (ErrorCode::BadRequest, "field `limit` must be a whole number, 0 or more".into())
    );
    assert_eq!(refusal(r#"{"type":"message","room":"a","to":"b","Message":"x"}"#).0, ErrorCode::BadRequest);
    assert_eq!(refusal(r#"{"type":"dance"}"#).0, ErrorCode::UnknownType);
    assert_eq!(refusal(r#"{"Message":""}"#).0, ErrorCode::MessageEmpty);
    assert_eq!(refusal(r#"{"type":"join","room":"a b"}"#).0, ErrorCode::BadRoom);
    assert_eq!(refusal(r#"{"clientId":"_","Message":"x"}"#).0, ErrorCode::BadName);
}

#[test]
fn a_message_may_say_its_type() {
    assert_eq!(command(r#"{"type":"message","Message":"hello"}"#), command(r#"{"Message":"hello"}"#));
}

#[test]
fn json_that_is_no_object_is_refused() {
    // An array of all fields in their order was once taken for a frame.
    let array = r#"["ping",null,null,null,null,null,null,null,null,null,null,null,null]"#;
    for frame in [array, "[]", "7", "null", "\"ping\""] {
        assert_eq!(refusal(frame), (ErrorCode::BadRequest, "a frame must be a JSON object".into()), "{frame}");
    }
    assert_eq!(command(" \t\r\n{\"type\":\"ping\"}"), ClientCommand::Ping);
}

#[test]
fn a_refusal_carries_the_id_of_the_frame() {
    for frame in
        [r#"{"type":"join","room":7,"id":"q1"}"#, r#"{"type":"join","id":"q1"}"#, r#"{"type":"dance","id":"q1"}"#]
    {
        assert_eq!(decode_command(frame).unwrap_err().id, Some(MessageId::parse("q1").unwrap()), "{frame}");
    }
}

#[test]
fn history_takes_1_to_200_messages() {
    for (limit, fits) in [(0, false), (1, true), (200, true), (201, false), (70_000, false)] {
        let frame = format!(r#"{{"type":"history","room":"a","limit":{limit}}}"#);
        assert_eq!(decode_command(&frame).is_ok(), fits, "{limit}");
        // Once, a limit beyond 65,535 was said to be no whole number.
        if !fits {
            assert_eq!(refusal(&frame), (ErrorCode::BadRequest, "field `limit` must be 1 to 200".into()));
        }
    }
}

#[test]
fn hostile_shapes_are_refused_without_harm() {
    let deep = format!(r#"{{"x":{}"#, "[".repeat(100_000));
    assert_eq!(refusal(&deep).0, ErrorCode::BadJson);
    let deep_wrong = format!(r#"{{"room":{}{}}}"#, "[".repeat(1_000), "]".repeat(1_000));
    assert!(decode_command(&deep_wrong).is_err());
    assert!(decode_command(r#"{"type":"history","room":"a","after":1e400}"#).is_err());
    assert_eq!(refusal(r#"{"type":"ping","type":"ping"}"#).0, ErrorCode::BadRequest);
}

#[test]
fn a_resume_of_a_foreign_epoch_is_a_resume_that_recovers_nothing() {
    let ClientCommand::Join { resume, .. } = command(r#"{"type":"join","room":"a","after":3,"epoch":"x"}"#) else {
        panic!("not a join")
    };
    assert_eq!(resume, Some(Resume { after: Seq(3), epoch: None, at: None }));
    assert_eq!(refusal(r#"{"type":"join","room":"a","after":3}"#).1, "field `epoch` is missing");
    assert_eq!(refusal(r#"{"type":"join","room":"a","afterAt":3}"#).1, "field `after` is missing");
}
