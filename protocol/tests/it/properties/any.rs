//! Any text, any name, any command, any event.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use starling_protocol::{
    Access, Ack, Change, ChangeMessage, ChangedPlace, ChatMessage, ClientCommand, ClientId, ClientKey, CommandFrame,
    DeletedEvent, EditedEvent, Emoji, Epoch, ErrorCode, HistoryEvent, HistoryPage, InboxPosition, JoinedEvent,
    MembersEvent, MessageId, PostMessage, PresenceEvent, ReactionCount, ReactionEvent, ReadEvent, Refusal, Resume,
    Retention, RoomName, RoomPosition, RoomSettings, RoomSummary, Seq, ServerEvent, ServerLimits, SettingsEvent,
    Target, TypingEvent, Welcome, Writers, limits,
};

/// Any text: control characters, escapes, all of Unicode.
pub(super) fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => vec(any::<char>(), 0..40).prop_map(String::from_iter),
        1 => "[ -~]{0,60}",
        1 => "[\"\\\\/\u{0}-\u{1f}\u{2028}\u{d7ff}\u{10ffff}]{0,12}",
    ]
}

pub(super) fn some_text() -> impl Strategy<Value = String> {
    (any::<char>(), any_text()).prop_map(|(first, rest)| format!("{first}{rest}"))
}

pub(super) fn any_client() -> impl Strategy<Value = ClientId> {
    "[A-Za-z0-9][A-Za-z0-9._-]{0,63}".prop_map(|name| ClientId::parse(&name).unwrap())
}

pub(super) fn any_room() -> impl Strategy<Value = RoomName> {
    "[A-Za-z0-9][A-Za-z0-9._-]{0,63}".prop_map(|name| RoomName::parse(&name).unwrap())
}

pub(super) fn any_id() -> impl Strategy<Value = MessageId> {
    vec(any::<char>(), 1..=64).prop_map(|id| MessageId::parse(&String::from_iter(id)).unwrap())
}

pub(super) fn any_seq() -> impl Strategy<Value = Seq> {
    prop_oneof![any::<u64>(), 0..1_000_u64, Just(u64::MAX)].prop_map(Seq)
}

fn any_settings() -> impl Strategy<Value = Box<RoomSettings>> {
    let writers = select(vec![Writers::Everyone, Writers::Operators]);
    let access = select(vec![Access::Everyone, Access::Invited]);
    let retention = (any::<Option<u64>>(), any::<Option<u64>>());
    let rest = (any::<bool>(), retention, any::<Option<bool>>());
    (any::<u32>(), any_text(), writers, access, rest).prop_map(
        |(slow_seconds, topic, writers, access, (newcomers_see_history, (messages, seconds), seen_by))| {
            let retention = Retention { messages, seconds };
            let settings =
                RoomSettings { slow_seconds, topic, writers, access, newcomers_see_history, retention, seen_by };
            Box::new(settings)
        },
    )
}

pub(super) fn any_emoji() -> impl Strategy<Value = Emoji> {
    select(vec!["👍", "👩\u{200d}💻", "🇩🇪", "1\u{fe0f}\u{20e3}", "é", "\"", "\\", "x"])
        .prop_map(|emoji| Emoji::parse(emoji).unwrap())
}

pub(super) fn any_command() -> impl Strategy<Value = CommandFrame<'static>> {
    let target = || {
        prop_oneof![Just(Target::FirstRoom), any_room().prop_map(Target::Room), any_client().prop_map(Target::Client)]
    };
    let message = (some_text(), target(), option::of(any_client()), option::of(any_seq()))
        .prop_map(|(text, target, client_id, reply_to)| PostMessage { text: text.into(), target, client_id, reply_to });
    let change = prop_oneof![
        some_text().prop_map(|text| Change::Edit(text.into())),
        Just(Change::Delete),
        (any_emoji(), any::<bool>()).prop_map(|(emoji, remove)| Change::React { emoji, remove }),
    ];
    let place = prop_oneof![any_room().prop_map(ChangedPlace::Room), Just(ChangedPlace::Inbox)];
    let change = (place, any_seq(), change).prop_map(|(place, of, change)| ChangeMessage { place, of, change });
    // A `hello` without both a name and a token asks for nothing.
    let hello = (option::of(any_client()), option::of(any::<u128>()), option::of(any_text()))
        .prop_filter("asks for something", |(client_id, _, token)| client_id.is_some() || token.is_some())
        .prop_map(|(client_id, key, token)| ClientCommand::Hello {
            client_id,
            key: key.map(ClientKey),
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
        3 => change.prop_map(ClientCommand::Change),
        2 => hello,
        2 => join,
        1 => join_inbox,
        1 => any_room().prop_map(|room| ClientCommand::Leave { room }),
        1 => Just(ClientCommand::Rooms),
        1 => any_room().prop_map(|room| ClientCommand::Members { room }),
        2 => history,
        1 => inbox_history,
        1 => target().prop_map(|target| ClientCommand::Typing { target }),
        1 => (option::of(any_room()), any_seq()).prop_map(|(room, seq)| {
            ClientCommand::Read { place: room.map_or(ChangedPlace::Inbox, ChangedPlace::Room), seq }
        }),
        1 => Just(ClientCommand::Ping),
    ];
    (option::of(any_id()), command).prop_map(|(id, command)| CommandFrame { id, command })
}

pub(super) fn any_message() -> impl Strategy<Value = ChatMessage<'static>> {
    let place = prop_oneof![
        (any_room(), any_seq()).prop_map(|(room, seq)| (Some(room), Some(seq), None)),
        (any_client(), option::of(any_seq())).prop_map(|(to, seq)| (None, seq, Some(to))),
    ];
    let reactions = (any_emoji(), any::<u32>(), vec(any_client(), 0..3))
        .prop_map(|(emoji, count, client_ids)| ReactionCount { emoji, count, client_ids });
    let replied = (option::of(any_seq()), option::of(any_seq()));
    let changed = (replied, option::of(any::<u64>()), any::<bool>(), vec(reactions, 0..3));
    (any_client(), any_text(), place, any::<u64>(), option::of(any_id()), changed).prop_map(
        |(client_id, text, (room, seq, to), at, id, ((reply_to, changed_seq), edited_at, deleted, reactions))| {
            ChatMessage {
                client_id,
                text: text.into(),
                room,
                seq,
                to,
                at,
                id,
                reply_to,
                edited_at,
                deleted,
                changed_seq,
                reactions,
            }
        },
    )
}

/// Any change of a message, with the room, the time, and the names of any message.
fn any_change() -> impl Strategy<Value = ServerEvent<'static>> {
    (any_message(), any_seq(), any_seq(), any_emoji(), any::<bool>(), 0..3).prop_map(
        |(ChatMessage { client_id, text, room, to, at, id, .. }, seq, of, emoji, removed, kind)| match kind {
            0 => ServerEvent::Edited(EditedEvent { room, seq, of, client_id, text, to, at, id }),
            1 => ServerEvent::Deleted(DeletedEvent { room, seq, of, client_id, to, at, id }),
            _ => ServerEvent::Reaction(ReactionEvent { room, seq, of, client_id, emoji, removed, to, at, id }),
        },
    )
}

pub(super) fn any_welcome() -> impl Strategy<Value = Welcome> {
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

fn any_refusal() -> impl Strategy<Value = Refusal> {
    let id = option::of(any_id());
    (select(ErrorCode::ALL), any_text(), id, any::<Option<u64>>(), option::of(any_room()), any::<Option<u64>>())
        .prop_map(|(code, message, id, retry_after_ms, room, until)| Refusal {
            code,
            message,
            id,
            retry_after_ms,
            room,
            until,
        })
}

pub(super) fn any_event() -> impl Strategy<Value = ServerEvent<'static>> {
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
    let place = (id(), option::of(any_room()), option::of(any_settings()));
    let joined = (place, any_seq(), any::<u64>(), any::<u32>(), any::<Option<bool>>()).prop_map(
        |((id, room, settings), seq, epoch, count, recovered)| JoinedEvent {
            visible_after: recovered.map(|_| seq),
            id,
            inbox: room.is_none(),
            room,
            seq,
            epoch: Epoch(epoch),
            count,
            recovered,
            settings,
        },
    );
    let presence = (any_room(), names(), names(), any::<u32>()).prop_map(|(room, joined, left, count)| PresenceEvent {
        room,
        joined,
        left,
        count,
    });
    let read = (id(), option::of(any_room()), any_seq(), any_client())
        .prop_map(|(id, room, seq, client_id)| ReadEvent { id, inbox: room.is_none(), room, seq, client_id });
    let typing =
        (option::of(any_room()), any_client(), names(), any::<bool>()).prop_map(|(room, from, client_ids, more)| {
            TypingEvent { from: room.is_none().then_some(from), room, client_ids, more }
        });
    let members = (id(), any_room(), any::<u32>(), names(), any::<bool>())
        .prop_map(|(id, room, count, client_ids, truncated)| MembersEvent { id, room, count, client_ids, truncated });
    let settings =
        (any_room(), any_settings()).prop_map(|(room, settings)| SettingsEvent { room, settings, before: None });
    let summary = (any_room(), any::<u32>(), any_seq(), prop_oneof![Just(String::new()), any_text()])
        .prop_map(|(room, count, seq, topic)| RoomSummary { room, count, seq, topic });
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
    prop_oneof![
        1 => any_welcome().prop_map(|welcome| ServerEvent::Welcome(Box::new(welcome))),
        4 => any_message().prop_map(ServerEvent::Message),
        2 => any_change(),
        1 => ack.prop_map(ServerEvent::Ack),
        1 => joined.prop_map(ServerEvent::Joined),
        1 => (id(), any_room()).prop_map(|(id, room)| ServerEvent::Left { id, room }),
        1 => presence.prop_map(ServerEvent::Presence),
        1 => typing.prop_map(ServerEvent::Typing),
        1 => read.prop_map(ServerEvent::Read),
        1 => settings.prop_map(ServerEvent::Settings),
        1 => members.prop_map(ServerEvent::Members),
        1 => rooms,
        2 => history.prop_map(ServerEvent::History),
        1 => (id(), any::<u64>()).prop_map(|(id, at)| ServerEvent::Pong { id, at }),
        1 => (any_text(), any::<u64>()).prop_map(|(reason, reconnect_after_ms)| ServerEvent::Closing {
            reason: reason.into(),
            reconnect_after_ms,
        }),
        2 => any_refusal().prop_map(ServerEvent::Error),
    ]
}
