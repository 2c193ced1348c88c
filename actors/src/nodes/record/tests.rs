use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use starling_protocol::{Emoji, RoomName};

use super::*;
use crate::moderation::{Act, Measure, Subject, Target};
use crate::room_settings::{Access, Retention, SettingsChange, Writers};

fn any_client() -> impl Strategy<Value = ClientId> {
    "[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}".prop_map(|name| ClientId::parse(&name).unwrap())
}

fn any_room() -> impl Strategy<Value = RoomName> {
    "[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}".prop_map(|name| RoomName::parse(&name).unwrap())
}

fn any_key() -> impl Strategy<Value = RoomKey> {
    prop_oneof![any_room().prop_map(RoomKey::Room), any_client().prop_map(RoomKey::Inbox)]
}

fn any_opening() -> impl Strategy<Value = Opening> {
    let session = (any_client(), any::<u128>(), any::<u64>(), any::<bool>());
    (session, any_room(), any::<u64>(), option::of(any::<u64>())).prop_map(
        |((name, key, session, is_authenticated), room, epoch, inbox)| {
            let (key, epoch, inbox) = (ClientKey(key), Epoch(epoch), inbox.map(Epoch));
            Opening { name, key, session, is_authenticated, room, epoch, inbox }
        },
    )
}

fn any_content() -> impl Strategy<Value = Content> {
    let seq = || any::<u64>().prop_map(Seq);
    let text = || ".{1,200}".prop_map(String::into_boxed_str);
    let emoji = prop::sample::select(vec!["👍", "👩\u{200d}💻", "x"]).prop_map(|emoji| Emoji::parse(emoji).unwrap());
    prop_oneof![
        (text(), option::of(seq())).prop_map(|(text, reply_to)| Content::Message { text, reply_to }),
        (seq(), text()).prop_map(|(of, text)| Content::Edit { of, text }),
        seq().prop_map(|of| Content::Deletion { of }),
        (seq(), emoji, any::<bool>()).prop_map(|(of, emoji, removed)| Content::Reaction { of, emoji, removed }),
    ]
}

fn any_message() -> impl Strategy<Value = LoggedMessage> {
    let place = || (any_key(), any::<u64>().prop_map(Epoch));
    let session = option::of(any::<u64>());
    let id = option::of(".{1,64}".prop_map(|id| MessageId::parse(&id).unwrap()));
    let rest = (option::of(any::<u64>()), any::<u64>(), option::of(any::<u64>()), id);
    (option::of(place()), place(), option::of(any_client()), session, any_client(), any_content(), rest).prop_map(
        |(first, last, to, session, client_id, content, (first_about, as_of, owner, id))| LoggedMessage {
            first,
            last,
            to,
            session,
            client_id,
            content,
            first_about: first_about.map(Seq),
            as_of: Seq(as_of),
            owner: owner.map(IdOwner),
            id,
        },
    )
}

fn any_id() -> impl Strategy<Value = Option<(IdOwner, MessageId)>> {
    let id = (any::<u64>(), ".{1,64}").prop_map(|(owner, id)| (IdOwner(owner), MessageId::parse(&id).unwrap()));
    option::of(id)
}

fn any_direct() -> impl Strategy<Value = DirectMessage> {
    (any::<u64>(), any_client(), any_client(), ".{1,200}", any_id())
        .prop_map(|(session, to, client_id, text, id)| DirectMessage { session, to, client_id, text: text.into(), id })
}

fn any_change() -> impl Strategy<Value = SettingsChange> {
    let access = prop::sample::select(vec![Access::Everyone, Access::Invited]);
    let writers = prop::sample::select(vec![Writers::Everyone, Writers::Operators]);
    let retention = (option::of(any::<u64>()), option::of(any::<u64>()))
        .prop_map(|(messages, seconds)| Retention { messages, seconds });
    let texts = (option::of(any::<u32>()), option::of(".{0,60}"), option::of(writers), option::of(access));
    let rest = (option::of(any::<bool>()), option::of(retention), option::of(option::of(any::<bool>())));
    (texts, rest).prop_map(|((slow_seconds, topic, writers, access), (newcomers_see_history, retention, seen_by))| {
        SettingsChange { slow_seconds, topic, writers, access, newcomers_see_history, retention, seen_by }
    })
}

fn any_decision() -> impl Strategy<Value = Decision> {
    let target = || {
        (any_client(), option::of(any_room()), any::<bool>()).prop_map(|(client, room, is_mute)| Target {
            subject: Subject::Client(client),
            room,
            measure: if is_mute { Measure::Mute } else { Measure::Ban },
        })
    };
    let seq = any::<u64>().prop_map(Seq);
    let act = prop_oneof![
        (target(), option::of(any::<u64>())).prop_map(|(target, seconds)| Act::Impose { target, seconds }),
        target().prop_map(Act::Lift),
        (any_room(), any_change()).prop_map(|(room, change)| Act::Set { room, change }),
        (any_room(), any_client()).prop_map(|(room, client_id)| Act::Invite { room, client_id }),
        (any_room(), any_client()).prop_map(|(room, client_id)| Act::Uninvite { room, client_id }),
        (any_room(), seq, any_client()).prop_map(|(room, seq, client_id)| Act::Delete { room, seq, client_id }),
    ];
    (".{0,20}", act, ".{0,200}").prop_map(|(by, act, reason)| Decision { by: by.into(), act, reason: reason.into() })
}

fn any_entry() -> impl Strategy<Value = LogEntry> {
    let (number, epoch) = (any::<u64>, || any::<u64>().prop_map(Epoch));
    let seq = || any::<u64>().prop_map(Seq);
    let (name, key) = (any_client, any_key);
    prop_oneof![
        ("[a-z0-9.-]{1,63}", epoch()).prop_map(|(node, lobby)| LogEntry::Begin { node: node.into(), lobby }),
        (number(), number(), number()).prop_map(|(incarnation, counter, as_of)| {
            LogEntry::Out { incarnation: Incarnation(incarnation), counter, as_of }
        }),
        any_message().prop_map(LogEntry::Message),
        any_direct().prop_map(LogEntry::Direct),
        any_opening().prop_map(LogEntry::Open),
        (name(), any::<u128>(), number()).prop_map(|(name, key, session)| LogEntry::Take {
            name,
            key: ClientKey(key),
            session
        }),
        (name(), number()).prop_map(|(name, session)| LogEntry::Release { name, session }),
        (key(), name(), epoch()).prop_map(|(key, name, epoch)| LogEntry::Enter { key, name, epoch }),
        (key(), name()).prop_map(|(key, name)| LogEntry::Leave { key, name }),
        (name(), epoch(), name()).prop_map(|(owner, epoch, maker)| LogEntry::Make { owner, epoch, maker }),
        (key(), epoch(), seq()).prop_map(|(key, epoch, seq)| LogEntry::End { key, epoch, seq }),
        (name(), epoch(), seq()).prop_map(|(owner, epoch, seq)| LogEntry::Sent { owner, epoch, seq }),
        (number(), name(), key(), epoch(), seq()).prop_map(|(owner, client_id, key, epoch, seq)| {
            LogEntry::Read(ReadEntry { owner: IdOwner(owner), client_id, key, epoch, seq })
        }),
        (number(), name(), key(), epoch(), seq()).prop_map(|(owner, client_id, key, epoch, since)| {
            LogEntry::Arrive(Arrival { owner: IdOwner(owner), client_id, key, epoch, since })
        }),
        name().prop_map(|client_id| LogEntry::Remove { client_id }),
        (key(), epoch()).prop_map(|(key, epoch)| LogEntry::Drop { key, epoch }),
        any_decision().prop_map(LogEntry::Decide),
        Just(LogEntry::Checkpoint),
        (number(), number()).prop_map(|(at, digest)| LogEntry::Digest { at: LogPosition(at), digest }),
    ]
}

fn any_record() -> impl Strategy<Value = Record> {
    (any::<u64>(), any::<u64>(), vec(any_entry(), 0..8)).prop_map(|(incarnation, counter, entries)| Record {
        incarnation: Incarnation(incarnation),
        counter,
        entries,
    })
}

fn bytes(record: &Record) -> Vec<u8> {
    let mut out = Vec::new();
    record.write(&mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_record_is_read_as_it_was_written(record in any_record()) {
        prop_assert_eq!(Record::number(&bytes(&record)), Some((record.incarnation, record.counter)));
        prop_assert_eq!(Record::read(&bytes(&record)), Ok(record));
    }

    #[test]
    fn damaged_bytes_are_a_record_or_refused(record in any_record(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = bytes(&record);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(read) = Record::read(&bytes) {
            prop_assert!(read.entries.len() <= bytes.len());
        }
        bytes.truncate(at);
        prop_assert_eq!(Record::read(&bytes).err(), Some(BadRecord::Foreign));
    }
}

#[test]
fn a_newer_format_is_told_apart_from_what_no_node_wrote() {
    let record = Record { incarnation: Incarnation(1), counter: 1, entries: Vec::new() };
    let mut newer = bytes(&record);
    newer[0] = FORMAT + 1;
    assert_eq!(Record::read(&newer), Err(BadRecord::Newer { format: FORMAT + 1, known: FORMAT }));
    let mut longer = bytes(&record);
    longer.push(0);
    for foreign in [&b""[..], b"\0", b"hello", &longer] {
        let error = Record::read(foreign).expect_err("it was not written by a node");
        assert!(matches!(error, BadRecord::Foreign | BadRecord::Newer { format: b'h', .. }), "{foreign:?}: {error}");
    }
}

fn dev() -> (RoomKey, Epoch) {
    (RoomKey::Room(RoomName::parse("dev").unwrap()), Epoch(7))
}

fn alice() -> ClientId {
    ClientId::parse("alice").unwrap()
}

fn said() -> LoggedMessage {
    LoggedMessage {
        first: None,
        last: dev(),
        to: None,
        session: Some(4),
        client_id: alice(),
        content: Content::message("hi"),
        first_about: None,
        as_of: Seq(0),
        owner: Some(IdOwner(5)),
        id: MessageId::parse("m1").ok(),
    }
}

/// A change of these bytes is another format: nodes of two versions would not agree.
#[test]
fn the_bytes_of_format_1_are_read() {
    let room = |name| RoomKey::Room(RoomName::parse(name).unwrap());
    let alice = alice();
    let id = Some((IdOwner(5), MessageId::parse("m1").unwrap()));
    let bob = ClientId::parse("bob").unwrap();
    let direct = DirectMessage { session: 4, to: bob, client_id: alice.clone(), text: "psst".into(), id };
    let entries = vec![
        LogEntry::Begin { node: "a".into(), lobby: Epoch(6) },
        LogEntry::Out { incarnation: Incarnation(2), counter: 4, as_of: 5 },
        LogEntry::Message(said()),
        LogEntry::Open(Opening {
            name: alice.clone(),
            key: ClientKey(300),
            session: 4,
            is_authenticated: true,
            room: RoomName::parse("dev").unwrap(),
            epoch: Epoch(7),
            inbox: Some(Epoch(9)),
        }),
        LogEntry::Take { name: alice.clone(), key: ClientKey(300), session: 4 },
        LogEntry::Release { name: alice.clone(), session: 4 },
        LogEntry::Enter { key: room("dev"), name: alice.clone(), epoch: Epoch(7) },
        LogEntry::Leave { key: RoomKey::Inbox(alice.clone()), name: alice.clone() },
        LogEntry::Make { owner: alice.clone(), epoch: Epoch(7), maker: ClientId::parse("bob").unwrap() },
        LogEntry::End { key: RoomKey::Inbox(alice.clone()), epoch: Epoch(7), seq: Seq(9) },
        LogEntry::Sent { owner: alice.clone(), epoch: Epoch(7), seq: Seq(9) },
        LogEntry::Remove { client_id: alice },
        LogEntry::Drop { key: room("dev"), epoch: Epoch(8) },
        LogEntry::Checkpoint,
        LogEntry::Digest { at: LogPosition(5), digest: 6 },
        LogEntry::Direct(direct),
    ];
    let record = Record { incarnation: Incarnation(1), counter: 3, entries };
    let of_format_1: &[u8] = b"\x01\x01\x03\x10\
        \x00\x01a\x06\
        \x01\x02\x04\x05\
        \x02\x00\x00\x03dev\x07\x00\x01\x04\x05alice\x02hi\x01\x05\x02m1\
        \x03\x05alice\xac\x02\x04\x01\x03dev\x07\x01\x09\
        \x04\x05alice\xac\x02\x04\
        \x05\x05alice\x04\
        \x06\x00\x03dev\x05alice\x07\
        \x07\x01\x05alice\x05alice\
        \x08\x05alice\x07\x03bob\
        \x09\x01\x05alice\x07\x09\
        \x0a\x05alice\x07\x09\
        \x0b\x05alice\
        \x0c\x00\x03dev\x08\
        \x0d\
        \x0e\x05\x06\
        \x0f\x04\x03bob\x05alice\x04psst\x01\x05\x02m1";
    assert_eq!(Record::read(of_format_1), Ok(record));
}

#[test]
fn the_bytes_of_format_2_are_read() {
    let [message, edit, deletion, reaction] = [
        Content::Message { text: "hi".into(), reply_to: Some(Seq(3)) },
        Content::Edit { of: Seq(9), text: "ho".into() },
        Content::Deletion { of: Seq(9) },
        Content::Reaction { of: Seq(9), emoji: Emoji::parse("x").unwrap(), removed: true },
    ]
    .map(|content| LoggedMessage { content, ..said() });
    let private = LoggedMessage {
        first: Some((RoomKey::Inbox(alice()), Epoch(7))),
        first_about: Some(Seq(8)),
        as_of: Seq(10),
        owner: None,
        id: None,
        session: None,
        to: Some(alice()),
        ..edit.clone()
    };
    let entries = [message, edit, deletion, reaction, private].map(LogEntry::Message).to_vec();
    let record = Record { incarnation: Incarnation(1), counter: 3, entries };
    let of_format_2: &[u8] = b"\x02\x01\x03\x05\
        \x10\x00\x00\x03dev\x07\x00\x01\x04\x05alice\x00\x02hi\x01\x03\x00\x00\x01\x05\x01\x02m1\
        \x10\x00\x00\x03dev\x07\x00\x01\x04\x05alice\x01\x09\x02ho\x00\x00\x01\x05\x01\x02m1\
        \x10\x00\x00\x03dev\x07\x00\x01\x04\x05alice\x02\x09\x00\x00\x01\x05\x01\x02m1\
        \x10\x00\x00\x03dev\x07\x00\x01\x04\x05alice\x03\x09\x01x\x01\x00\x00\x01\x05\x01\x02m1\
        \x10\x01\x01\x05alice\x07\x00\x03dev\x07\x01\x05alice\x00\x05alice\x01\x09\x02ho\x01\x08\x0a\x00\x00";
    assert_eq!(Record::read(of_format_2), Ok(record));
}

#[test]
fn the_bytes_of_format_3_are_read() {
    let target = Target { subject: Subject::Client(alice()), room: None, measure: Measure::Mute };
    let decided = |act| LogEntry::Decide(Decision { by: "root".into(), act, reason: "spam".into() });
    let (room, address) = (RoomName::parse("dev").unwrap(), "192.0.2.1".parse().unwrap());
    let of_address = Target { subject: Subject::Address(address), room: Some(room.clone()), measure: Measure::Ban };
    let entries = vec![
        decided(Act::Impose { target: target.clone(), seconds: Some(60) }),
        decided(Act::Lift(of_address)),
        decided(Act::Set { room: room.clone(), change: SettingsChange::slow(5) }),
        decided(Act::Delete { room, seq: Seq(9), client_id: alice() }),
    ];
    let texts = [
        r#"{"by":"root","act":{"impose":{"target":{"subject":{"client":"alice"},"room":null,"measure":"mute"},"seconds":60}},"reason":"spam"}"#,
        r#"{"by":"root","act":{"lift":{"subject":{"address":"192.0.2.1"},"room":"dev","measure":"ban"}},"reason":"spam"}"#,
        r#"{"by":"root","act":{"slow":{"room":"dev","seconds":5}},"reason":"spam"}"#,
        r#"{"by":"root","act":{"delete":{"room":"dev","seq":9,"client_id":"alice"}},"reason":"spam"}"#,
    ];
    let mut of_format_3 = b"\x03\x01\x03\x04".to_vec();
    for text in texts {
        of_format_3.push(0x11);
        let length = text.len();
        // The length of a text has seven bits a byte.
        match u8::try_from(length).unwrap() {
            short @ ..0x80 => of_format_3.push(short),
            long => of_format_3.extend([long, 1]),
        }
        of_format_3.extend(text.bytes());
    }
    let record = Record { incarnation: Incarnation(1), counter: 3, entries };
    assert_eq!(Record::read(&of_format_3), Ok(record));
}

#[test]
fn the_bytes_of_format_4_do_not_change() {
    let change = SettingsChange { topic: Some("tests".into()), seen_by: Some(None), ..SettingsChange::slow(5) };
    let (room, client_id) = (RoomName::parse("dev").unwrap(), alice());
    let acts = [
        Act::Set { room: room.clone(), change },
        Act::Invite { room: room.clone(), client_id: client_id.clone() },
        Act::Uninvite { room, client_id },
    ];
    let decided = |act| LogEntry::Decide(Decision { by: "root".into(), act, reason: "".into() });
    let entries = acts.map(decided).to_vec();
    let mut of_format_4 = b"\x04\x01\x03\x03".to_vec();
    for text in [
        r#"{"by":"root","act":{"set":{"room":"dev","slowSeconds":5,"topic":"tests","seenBy":null}},"reason":""}"#,
        r#"{"by":"root","act":{"invite":{"room":"dev","client_id":"alice"}},"reason":""}"#,
        r#"{"by":"root","act":{"uninvite":{"room":"dev","client_id":"alice"}},"reason":""}"#,
    ] {
        of_format_4.extend([0x11, u8::try_from(text.len()).unwrap()]);
        of_format_4.extend(text.bytes());
    }
    let record = Record { incarnation: Incarnation(1), counter: 3, entries };
    assert_eq!(bytes(&record), of_format_4);
}

#[test]
fn the_bytes_of_read_positions_do_not_change() {
    let position = |key, seq| ReadEntry { owner: IdOwner(5), client_id: alice(), key, epoch: Epoch(7), seq: Seq(seq) };
    let arrival = Arrival { owner: IdOwner(5), client_id: alice(), key: dev().0, epoch: Epoch(7), since: Seq(9) };
    let mut entries = [(RoomKey::Room(RoomName::parse("dev").unwrap()), 9), (RoomKey::Inbox(alice()), 8)]
        .map(|(key, seq)| LogEntry::Read(position(key, seq)))
        .to_vec();
    entries.push(LogEntry::Arrive(arrival));
    let record = Record { incarnation: Incarnation(1), counter: 3, entries };
    let of_format_4: &[u8] = b"\x04\x01\x03\x03\
        \x12\x05\x05alice\x00\x03dev\x07\x09\
        \x12\x05\x05alice\x01\x05alice\x07\x08\
        \x13\x05\x05alice\x00\x03dev\x07\x09";
    assert_eq!(bytes(&record), of_format_4);
}
