//! A table of frames: every kind of command and event, with all its fields.

use starling_protocol::{
    Access, Ack, Change, ChangeMessage, ChangedPlace, ChatMessage, ClientCommand, ClientId, CommandFrame, DeletedEvent,
    EditedEvent, Emoji, Epoch, ErrorCode, HistoryEvent, HistoryPage, InboxPosition, JoinedEvent, MembersEvent,
    MessageId, PostMessage, PresenceEvent, ReactionCount, ReactionEvent, ReadEvent, Refusal, Resume, Retention,
    RoomName, RoomPosition, RoomSettings, RoomSummary, Seq, ServerEvent, ServerLimits, SettingsEvent, Target,
    TypingEvent, Welcome, Writers,
};

/// 2026-11-22 in milliseconds since the Unix epoch.
const AT: u64 = 1_795_342_200_123;
const EPOCH: Epoch = Epoch(0xb7c1_f0a9_3d5e_2648);
const KEY: &str = "5c0a8d7e91b24f63a7d9e8103bc46f52";
const ESCAPES: &str = "a \"word\" \\ a tab\tand\na line, a bell \u{7}, Grüße 🐦";

fn client(name: &str) -> ClientId {
    ClientId::parse(name).unwrap()
}

fn room(name: &str) -> RoomName {
    RoomName::parse(name).unwrap()
}

fn id(id: &str) -> MessageId {
    MessageId::parse(id).unwrap()
}

fn asked(command: ClientCommand<'static>) -> CommandFrame<'static> {
    CommandFrame { id: None, command }
}

fn asked_as(name: &str, command: ClientCommand<'static>) -> CommandFrame<'static> {
    CommandFrame { id: Some(id(name)), command }
}

fn post(text: &'static str, target: Target) -> ClientCommand<'static> {
    ClientCommand::Message(PostMessage { text: text.into(), target, client_id: None, reply_to: None })
}

fn post_as(name: &str, text: &'static str, target: Target) -> ClientCommand<'static> {
    ClientCommand::Message(PostMessage { text: text.into(), target, client_id: Some(client(name)), reply_to: None })
}

fn join(resume: Option<Resume>, presence: bool) -> ClientCommand<'static> {
    ClientCommand::Join { room: room("dev"), resume, presence }
}

fn history(page: HistoryPage, limit: u16) -> ClientCommand<'static> {
    ClientCommand::History { room: room("dev"), page, limit }
}

fn private_history(with: Option<&str>, page: HistoryPage, limit: u16) -> ClientCommand<'static> {
    ClientCommand::InboxHistory { with: with.map(client), page, limit }
}

fn reply(text: &'static str, target: Target, to: u64) -> ClientCommand<'static> {
    ClientCommand::Message(PostMessage { text: text.into(), target, client_id: None, reply_to: Some(Seq(to)) })
}

fn change(of: u64, change: Change<'static>) -> ClientCommand<'static> {
    ClientCommand::Change(ChangeMessage { place: ChangedPlace::Room(room("dev")), of: Seq(of), change })
}

fn private_change(of: u64, change: Change<'static>) -> ClientCommand<'static> {
    ClientCommand::Change(ChangeMessage { place: ChangedPlace::Inbox, of: Seq(of), change })
}

fn react(emoji: &str, remove: bool) -> Change<'static> {
    Change::React { emoji: Emoji::parse(emoji).unwrap(), remove }
}

/// One of every kind, by the name of its file.
pub(super) fn commands() -> Vec<(&'static str, CommandFrame<'static>)> {
    let dev = || Target::Room(room("dev"));
    let bob = || Target::Client(client("bob"));
    let hello = |name: Option<&str>, key: Option<&'static str>, token: Option<&'static str>| ClientCommand::Hello {
        client_id: name.map(client),
        key: key.map(|key| key.parse().unwrap()),
        token: token.map(Into::into),
    };
    let resume = |epoch| Some(Resume { after: Seq(41), epoch, at: None });
    let proven = Some(Resume { after: Seq(41), epoch: Some(EPOCH), at: Some(AT) });
    vec![
        ("message-smallest", asked(post_as("alice", "hello", Target::FirstRoom))),
        ("message-first-room", asked(post("hello everybody", Target::FirstRoom))),
        ("message-room", asked(post("tests are green", dev()))),
        ("message-room-with-id", asked_as("m-17", post_as("alice", "tests are green", dev()))),
        ("message-private", asked(post("psst", bob()))),
        ("message-private-with-id", asked_as("m-18", post("psst", bob()))),
        ("message-text-with-escapes", asked(post(ESCAPES, Target::FirstRoom))),
        ("message-reply", asked(reply("yes", dev(), 40))),
        ("edit", asked_as("e-1", change(41, Change::Edit("all tests are green".into())))),
        ("edit-private", asked(private_change(7, Change::Edit("pssst".into())))),
        ("delete", asked_as("d-1", change(41, Change::Delete))),
        ("delete-private", asked(private_change(7, Change::Delete))),
        ("react", asked_as("x-1", change(41, react("👍", false)))),
        ("react-remove", asked(change(41, react("👍", true)))),
        ("react-private", asked(private_change(7, react("👩\u{200d}💻", false)))),
        ("hello", asked(hello(Some("alice"), None, None))),
        ("hello-with-key", asked_as("h-1", hello(Some("alice"), Some(KEY), None))),
        ("hello-with-token", asked(hello(None, None, Some("eyJhbGciOiJFZERTQSJ9.e30.c2ln")))),
        ("join", asked(join(None, false))),
        ("join-with-presence", asked_as("j-1", join(None, true))),
        ("join-resume", asked_as("j-2", join(resume(Some(EPOCH)), false))),
        ("join-resume-with-proof", asked(join(proven, false))),
        ("join-resume-foreign-epoch", asked(join(resume(None), false))),
        ("join-inbox", asked_as("j-3", ClientCommand::JoinInbox { resume: None })),
        ("join-inbox-resume", asked(ClientCommand::JoinInbox { resume: resume(Some(EPOCH)) })),
        ("leave", asked(ClientCommand::Leave { room: room("dev") })),
        ("leave-with-id", asked_as("l-1", ClientCommand::Leave { room: room("dev") })),
        ("rooms", asked(ClientCommand::Rooms)),
        ("rooms-with-id", asked_as("r-1", ClientCommand::Rooms)),
        ("members", asked(ClientCommand::Members { room: room("dev") })),
        ("members-with-id", asked_as("w-1", ClientCommand::Members { room: room("dev") })),
        ("history-newest", asked(history(HistoryPage::Newest, 50))),
        ("history-before", asked_as("p-1", history(HistoryPage::Before(Seq(42)), 2))),
        ("history-after", asked(history(HistoryPage::After(Seq(0)), 200))),
        ("history-inbox", asked(private_history(None, HistoryPage::After(Seq(41)), 200))),
        ("history-private", asked_as("p-2", private_history(Some("bob"), HistoryPage::Newest, 50))),
        ("typing", asked_as("y-1", ClientCommand::Typing { target: Target::Room(room("dev")) })),
        ("typing-in-first-room", asked(ClientCommand::Typing { target: Target::FirstRoom })),
        ("typing-private", asked(ClientCommand::Typing { target: Target::Client(client("bob")) })),
        ("read", asked_as("s-1", ClientCommand::Read { place: ChangedPlace::Room(room("dev")), seq: Seq(41) })),
        ("read-inbox", asked(ClientCommand::Read { place: ChangedPlace::Inbox, seq: Seq(7) })),
        ("ping", asked(ClientCommand::Ping)),
        ("ping-with-id", asked_as("t-1", ClientCommand::Ping)),
    ]
}

fn welcome(request: Option<&str>, name: &str) -> ServerEvent<'static> {
    ServerEvent::Welcome(Box::new(Welcome {
        id: request.map(id),
        protocol: starling_protocol::PROTOCOL_VERSION,
        server: "starling/0.1.0".into(),
        client_id: client(name),
        first_room: Some(RoomPosition { room: RoomName::lobby(), seq: Seq(41), epoch: EPOCH }),
        inbox: None,
        key: KEY.parse().unwrap(),
        heartbeat_ms: 25_000,
        limits: ServerLimits { message_bytes: 16_384, messages_per_second: 50, burst: 100, rooms: 64 },
    }))
}

fn in_no_room(event: ServerEvent<'static>) -> ServerEvent<'static> {
    let ServerEvent::Welcome(mut welcome) = event else { panic!("no welcome") };
    welcome.first_room = None;
    ServerEvent::Welcome(welcome)
}

fn with_inbox(event: ServerEvent<'static>) -> ServerEvent<'static> {
    let ServerEvent::Welcome(mut welcome) = event else { panic!("no welcome") };
    welcome.inbox = Some(InboxPosition { seq: Seq(7), epoch: EPOCH });
    ServerEvent::Welcome(welcome)
}

fn said(name: &str, text: &'static str, place: &str, seq: u64) -> ChatMessage<'static> {
    let message = ChatMessage::new(client(name), text.into(), AT);
    ChatMessage { room: Some(room(place)), seq: Some(Seq(seq)), ..message }
}

fn told(request: Option<&str>) -> ServerEvent<'static> {
    let message = ChatMessage::new(client("alice"), "psst".into(), AT);
    ServerEvent::Message(ChatMessage { to: Some(client("bob")), id: request.map(id), ..message })
}

fn edited(seq: u64, text: &'static str) -> EditedEvent<'static> {
    EditedEvent {
        room: Some(room("dev")),
        seq: Seq(seq),
        of: Seq(41),
        client_id: client("alice"),
        text: text.into(),
        to: None,
        at: AT,
        id: None,
    }
}

fn deleted(seq: u64) -> DeletedEvent {
    DeletedEvent {
        room: Some(room("dev")),
        seq: Seq(seq),
        of: Seq(41),
        client_id: client("alice"),
        to: None,
        at: AT,
        id: None,
    }
}

fn reaction(seq: u64, emoji: &str) -> ReactionEvent {
    ReactionEvent {
        room: Some(room("dev")),
        seq: Seq(seq),
        of: Seq(41),
        client_id: client("bob"),
        emoji: Emoji::parse(emoji).unwrap(),
        removed: false,
        to: None,
        at: AT,
        id: None,
    }
}

/// A page of messages that were changed.
fn changed_page() -> HistoryEvent<'static> {
    let reactions = ReactionCount {
        emoji: Emoji::parse("👍").unwrap(),
        count: 2,
        client_ids: vec![client("bob"), client("carol")],
    };
    let green = said("alice", "all tests are green", "dev", 41);
    let messages = vec![
        ChatMessage { deleted: true, changed_seq: Some(Seq(42)), ..said("bob", "", "dev", 40) },
        ChatMessage { edited_at: Some(AT + 9_000), changed_seq: Some(Seq(46)), reactions: vec![reactions], ..green },
        ChatMessage { reply_to: Some(Seq(41)), ..said("bob", "at last", "dev", 43) },
    ];
    HistoryEvent { messages, ..empty_page(Some("dev"), None) }
}

/// A private message on a server that stores them.
fn whispered(name: &str, to: &str, seq: u64) -> ChatMessage<'static> {
    ChatMessage { room: None, to: Some(client(to)), ..said(name, "psst", "lobby", seq) }
}

fn ack(request: &str, seq: Option<u64>, duplicate: bool) -> ServerEvent<'static> {
    ServerEvent::Ack(Ack {
        id: id(request),
        at: AT,
        room: seq.map(|_| room("dev")),
        seq: seq.map(Seq),
        to: seq.is_none().then(|| client("bob")),
        duplicate,
    })
}

fn joined(request: Option<&str>, seq: u64) -> JoinedEvent {
    JoinedEvent {
        id: request.map(id),
        room: Some(room("dev")),
        inbox: false,
        seq: Seq(seq),
        epoch: EPOCH,
        count: 2,
        recovered: None,
        settings: None,
        visible_after: None,
    }
}

/// Settings that all differ from the default.
fn settings() -> RoomSettings {
    RoomSettings {
        slow_seconds: 10,
        topic: "the next release".into(),
        writers: Writers::Operators,
        access: Access::Invited,
        newcomers_see_history: false,
        retention: Retention { messages: Some(1_000), seconds: Some(86_400) },
        seen_by: Some(true),
    }
}

fn members(request: Option<&str>, name: &str, count: u32, truncated: bool) -> ServerEvent<'static> {
    ServerEvent::Members(MembersEvent {
        id: request.map(id),
        room: room(name),
        count,
        client_ids: vec![client("alice"), client("bob")],
        truncated,
    })
}

fn error(code: ErrorCode) -> ServerEvent<'static> {
    let refusal = |message: &str, request: &str| Refusal::new(code, message).with_id(Some(id(request)));
    ServerEvent::Error(match code {
        ErrorCode::BadJson => Refusal::new(code, "EOF while parsing a value at line 1 column 8"),
        ErrorCode::BadRequest => refusal("field `room` is missing", "j-1"),
        ErrorCode::UnknownType => refusal("there is no type \"dance\"", "d-1"),
        ErrorCode::BadName => Refusal::new(code, "a name has only letters, digits, '.', '_' and '-', not ' '"),
        ErrorCode::BadRoom => refusal("a name has 1 to 64 characters, this one has 65", "j-1"),
        ErrorCode::NameTaken => Refusal::new(code, "the name alice is in use"),
        ErrorCode::ClientIdMismatch => refusal("this connection is alice, not bob", "m-17"),
        ErrorCode::NotAMember => refusal("join dev first", "m-17"),
        ErrorCode::NoSuchClient => refusal("no client is called bob", "m-18"),
        ErrorCode::NoSuchRoom => refusal("there is no room dev", "w-1"),
        ErrorCode::NoSuchMessage => refusal("there is no message 41 in dev", "e-1"),
        ErrorCode::MessageEmpty => refusal("field `Message` is empty", "m-17"),
        ErrorCode::MessageTooLarge => refusal("the text has 16385 bytes, at most 16384 are taken", "m-17"),
        ErrorCode::TooManyRooms => refusal("a connection may be in 64 rooms", "j-1"),
        ErrorCode::TooManyInboxes => {
            refusal("the server keeps the private messages of as many clients as it may", "m-18")
        }
        ErrorCode::TooManyReactions => refusal("the message has 50 different emoji, no more are allowed", "x-1"),
        ErrorCode::RateLimited => refusal("more than 50 frames per second", "m-17").retry_after_ms(20),
        ErrorCode::Muted => {
            let muted = refusal("you are muted in the room dev: spam", "m-17").in_room(Some(room("dev")));
            muted.until(Some(AT + 60_000)).retry_after_ms(60_000)
        }
        ErrorCode::Banned => refusal("you are banned on this server: spam", "h-1"),
        ErrorCode::SlowMode => {
            let slow = refusal("a client may write here once in 10 seconds", "m-17").in_room(Some(room("dev")));
            slow.retry_after_ms(7_500)
        }
        ErrorCode::NotAWriter => refusal("only operators may write in the room dev", "m-17").in_room(Some(room("dev"))),
        ErrorCode::NotInvited => {
            refusal("the room dev is private, and you are not invited", "j-1").in_room(Some(room("dev")))
        }
        ErrorCode::Unauthorized => refusal("the token has expired", "h-1"),
        ErrorCode::Forbidden => refusal("this room is closed to you", "j-1"),
        ErrorCode::Unavailable => refusal("the history cannot be read at the moment", "p-1").retry_after_ms(1_000),
    })
}

/// A page without messages: of a room, or of the private messages with a client.
fn empty_page(of: Option<&str>, with: Option<&str>) -> HistoryEvent<'static> {
    HistoryEvent {
        id: None,
        room: of.map(room),
        inbox: of.is_none(),
        to: with.map(client),
        messages: vec![],
        has_more: false,
    }
}

fn page(frame: &str, page: HistoryEvent<'static>) -> ServerEvent<'static> {
    ServerEvent::History(HistoryEvent { id: Some(id(frame)), ..page })
}

/// Changes of messages, and messages that were changed.
fn changes() -> Vec<(&'static str, ServerEvent<'static>)> {
    vec![
        (
            "message-reply",
            ServerEvent::Message(ChatMessage { reply_to: Some(Seq(40)), ..said("alice", "yes", "dev", 41) }),
        ),
        (
            "message-deleted",
            ServerEvent::Message(ChatMessage {
                deleted: true,
                changed_seq: Some(Seq(42)),
                ..said("bob", "", "dev", 40)
            }),
        ),
        ("edited", ServerEvent::Edited(EditedEvent { id: Some(id("e-1")), ..edited(44, "all tests are green") })),
        ("edited-superseded", ServerEvent::Edited(edited(44, ""))),
        (
            "edited-private",
            ServerEvent::Edited(EditedEvent { room: None, to: Some(client("bob")), of: Seq(7), ..edited(10, "pssst") }),
        ),
        ("deleted", ServerEvent::Deleted(DeletedEvent { id: Some(id("d-1")), ..deleted(45) })),
        (
            "deleted-private",
            ServerEvent::Deleted(DeletedEvent { room: None, to: Some(client("bob")), of: Seq(7), ..deleted(11) }),
        ),
        ("reaction", ServerEvent::Reaction(ReactionEvent { id: Some(id("x-1")), ..reaction(46, "👍") })),
        ("reaction-removed", ServerEvent::Reaction(ReactionEvent { removed: true, ..reaction(47, "👍") })),
        (
            "reaction-private",
            ServerEvent::Reaction(ReactionEvent {
                room: None,
                to: Some(client("alice")),
                of: Seq(7),
                ..reaction(12, "👩\u{200d}💻")
            }),
        ),
        ("history-changed", ServerEvent::History(changed_page())),
    ]
}

fn listed(name: &str, count: u32, seq: u64) -> RoomSummary {
    RoomSummary { room: room(name), count, seq: Seq(seq), topic: String::new() }
}

/// Rooms with settings.
fn with_settings() -> Vec<(&'static str, ServerEvent<'static>)> {
    let told = |settings| {
        ServerEvent::Settings(SettingsEvent { room: room("dev"), settings: Box::new(settings), before: None })
    };
    let joined = JoinedEvent { settings: Some(Box::new(settings())), ..joined(Some("j-1"), 41) };
    let rooms = vec![RoomSummary { topic: settings().topic, ..listed("dev", 2, 8) }];
    vec![
        ("settings", told(settings())),
        ("settings-default", told(RoomSettings::PLAIN)),
        ("joined-with-settings", ServerEvent::Joined(joined)),
        ("rooms-with-topic", ServerEvent::Rooms { id: None, rooms, truncated: false }),
    ]
}

/// One of every kind and one error for each code, by the name of its file.
pub(super) fn events() -> Vec<(String, ServerEvent<'static>)> {
    let (lobby, dev) = (listed("lobby", 12, 42), listed("dev", 2, 8));
    let green = ChatMessage { id: Some(id("m-17")), ..said("alice", "tests are green", "dev", 41) };
    let messages = vec![ChatMessage { at: AT - 10_122, ..said("bob", "is it done?", "dev", 40) }, green.clone()];
    let private = vec![whispered("alice", "bob", 7), whispered("bob", "alice", 9)];
    let presence = |came: &[&str], went: &[&str], count| {
        let names = |names: &[&str]| names.iter().map(|name| client(name)).collect();
        ServerEvent::Presence(PresenceEvent { room: room("dev"), joined: names(came), left: names(went), count })
    };
    let typing = |place: Option<&str>, from: Option<&str>, names: &[&str], more| {
        let client_ids = names.iter().map(|name| client(name)).collect();
        ServerEvent::Typing(TypingEvent { room: place.map(room), from: from.map(client), client_ids, more })
    };
    let read = |id: Option<MessageId>, place: Option<&str>, name: &str, seq| {
        let (inbox, client_id) = (place.is_none(), client(name));
        ServerEvent::Read(ReadEvent { id, room: place.map(room), inbox, seq: Seq(seq), client_id })
    };
    let cases = vec![
        ("welcome", welcome(None, "guest-k3v9q2x")),
        ("welcome-with-id", welcome(Some("h-1"), "alice")),
        ("welcome-in-no-room", in_no_room(welcome(Some("h-1"), "alice"))),
        ("welcome-with-inbox", with_inbox(welcome(None, "alice"))),
        ("message-room", ServerEvent::Message(said("alice", "hello", "lobby", 42))),
        ("message-room-with-id", ServerEvent::Message(ChatMessage { seq: Some(Seq(8)), ..green })),
        ("message-private", told(None)),
        ("message-private-with-id", told(Some("m-18"))),
        ("message-private-stored", ServerEvent::Message(whispered("alice", "bob", 7))),
        ("message-text-with-escapes", ServerEvent::Message(said("alice", ESCAPES, "lobby", 43))),
        ("ack-room", ack("m-17", Some(8), false)),
        ("ack-private", ack("m-18", None, false)),
        ("ack-duplicate", ack("m-17", Some(8), true)),
        ("joined", ServerEvent::Joined(joined(None, 41))),
        ("joined-with-id", ServerEvent::Joined(joined(Some("j-1"), 41))),
        ("joined-recovered", ServerEvent::Joined(JoinedEvent { recovered: Some(true), ..joined(Some("j-2"), 44) })),
        (
            "joined-not-recovered",
            ServerEvent::Joined(JoinedEvent {
                epoch: Epoch(0xb7c2),
                count: 1,
                recovered: Some(false),
                ..joined(None, 3)
            }),
        ),
        ("joined-hidden", ServerEvent::Joined(JoinedEvent { visible_after: Some(Seq(41)), ..joined(Some("j-1"), 41) })),
        (
            "joined-inbox",
            ServerEvent::Joined(JoinedEvent {
                room: None,
                inbox: true,
                count: 1,
                recovered: Some(true),
                ..joined(Some("j-3"), 9)
            }),
        ),
        ("left", ServerEvent::Left { id: None, room: room("dev") }),
        ("left-with-id", ServerEvent::Left { id: Some(id("l-1")), room: room("dev") }),
        ("presence", presence(&["bob", "carol"], &["guest-k3v9q2x"], 3)),
        ("presence-one-came", presence(&["bob"], &[], 2)),
        ("typing", typing(Some("dev"), None, &["alice", "bob"], false)),
        ("typing-more", typing(Some("dev"), None, &["alice"], true)),
        ("typing-private", typing(None, Some("alice"), &["alice"], false)),
        ("read", read(Some(id("s-1")), Some("dev"), "alice", 41)),
        ("read-other", read(None, Some("dev"), "bob", 40)),
        ("read-inbox", read(None, None, "alice", 7)),
        ("members", members(Some("w-1"), "dev", 2, false)),
        ("members-truncated", members(None, "lobby", 1_001, true)),
        ("rooms", ServerEvent::Rooms { id: Some(id("r-1")), rooms: vec![lobby.clone(), dev], truncated: false }),
        ("rooms-truncated", ServerEvent::Rooms { id: None, rooms: vec![lobby], truncated: true }),
        ("history", page("p-1", HistoryEvent { messages, has_more: true, ..empty_page(Some("dev"), None) })),
        ("history-empty", ServerEvent::History(empty_page(Some("dev"), None))),
        ("history-private", page("p-2", HistoryEvent { messages: private, ..empty_page(None, Some("bob")) })),
        ("pong", ServerEvent::Pong { id: None, at: AT }),
        ("pong-with-id", ServerEvent::Pong { id: Some(id("t-1")), at: AT }),
        ("closing", ServerEvent::Closing { reason: "the server restarts".into(), reconnect_after_ms: 1_500 }),
    ];
    let errors = ErrorCode::ALL.iter().map(|code| (format!("error-{}", code.as_str()), error(*code)));
    let named = cases.into_iter().chain(changes()).chain(with_settings()).map(|(name, event)| (name.to_owned(), event));
    named.chain(errors).collect()
}
