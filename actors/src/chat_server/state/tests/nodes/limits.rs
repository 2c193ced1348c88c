//! The limits of the chat hold over all nodes, with the answers that one server gives: each story is played on one server
//! and on three nodes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use starling_protocol::{ClientCommand, ClientId, ClientKey, MessageId, PostMessage, RoomName, ServerEvent, Target};
use tokio::sync::oneshot;

use crate::chat_server::command::{Command, Frame, OpenRefusal, OpenSession, Request};
use crate::chat_server::effect::{Effect, NodeEffect, Turn};
use crate::chat_server::state::ChatState;
use crate::clock::{self, Now};
use crate::config::ChatConfig;
use crate::history::{Completion, History, Restored};
use crate::hub::ToSession;
use crate::identity::{Claims, Identity, RoomGlobs};
use crate::ids::{HubId, SessionId};
use crate::nodes::heard::Heard;
use crate::nodes::record::{Incarnation, LogPosition, Record, RecordId};

/// What a client does.
#[derive(Debug, Clone, Copy)]
enum Does {
    /// Opens a connection in a room, a second or third one with another number.
    Opens(&'static str),
    Joins(&'static str),
    JoinsInbox,
    Leaves(&'static str),
    Says(&'static str),
    Whispers(&'static str),
    /// Names this sender.
    WhispersAs(&'static str, &'static str),
    /// With the `id` of the last message.
    WhispersAgain(&'static str),
    Goes,
}

use Does::{Goes, Joins, JoinsInbox, Leaves, Opens, Says, Whispers, WhispersAgain, WhispersAs};

struct Server {
    state: ChatState,
    history: History,
    /// The life of a node.
    life: Option<Incarnation>,
    read: usize,
}

struct Connection {
    label: &'static str,
    server: usize,
    session: SessionId,
    told: Vec<String>,
    opened: Option<oneshot::Receiver<Result<(), OpenRefusal>>>,
}

/// One server, or nodes that share a log.
struct Servers {
    all: Vec<Server>,
    log: Vec<(u64, Bytes)>,
    config: ChatConfig,
    /// The newest checkpoint: the record behind which it stands, and its bytes.
    checkpoint: Option<(usize, Bytes)>,
    now: Now,
    connections: Vec<Connection>,
    asked: u64,
    is_authenticated: bool,
}

impl Servers {
    fn new(count: usize, config: &ChatConfig) -> Self {
        let now = Now { at: clock::now(), unix_ms: 1_000_000 };
        let mut servers = Self {
            all: Vec::new(),
            log: Vec::new(),
            config: config.clone(),
            checkpoint: None,
            now,
            connections: Vec::new(),
            asked: 0,
            is_authenticated: config.private_is_kept,
        };
        for number in 0..count {
            let server = servers.server(number, count > 1);
            servers.all.push(server);
        }
        servers.settle();
        for server in 0..count {
            servers.apply(server, Command::Heard(Heard::Reachable(true)));
        }
        // The lobby is there on nodes; on one server it begins with the first client.
        servers.at_once(&[("first", Opens("lobby"))]);
        servers
    }

    /// A server without a history. A node begins from the newest checkpoint.
    fn server(&self, number: usize, is_node: bool) -> Server {
        let history = History::in_memory(self.config.history_messages, self.config.history_bytes);
        let mut state = ChatState::new(self.config.clone(), 1 + number as u64);
        let (read, checkpoint) = self.checkpoint.clone().unzip();
        let mut life = None;
        if is_node {
            life = Some(state.become_node(&format!("node{number}"), Duration::from_secs(5), 42));
            state.begin_from(checkpoint.as_deref(), Restored::default(), LogPosition(0), self.now).unwrap();
        }
        Server { state, history, life, read: read.unwrap_or(0) }
    }

    /// Another node begins from a checkpoint of now.
    fn one_more(&mut self) {
        self.all[0].state.ask_for_checkpoint();
        self.settle();
        let node = self.server(self.all.len(), true);
        self.all.push(node);
        self.settle();
        self.apply(self.all.len() - 1, Command::Heard(Heard::Reachable(true)));
    }

    /// What clients do at the same time, and what each is told of it. A name of a client may end with the number of its
    /// connection. Clients are spread over the servers in the order in which they come.
    fn at_once(&mut self, steps: &[(&'static str, Does)]) -> Vec<String> {
        self.connections.iter_mut().for_each(|it| it.told.clear());
        for (label, does) in steps {
            self.does(label, *does);
        }
        self.settle();
        steps.iter().map(|(label, _)| self.told(label)).collect()
    }

    fn does(&mut self, label: &'static str, does: Does) {
        if let Opens(room) = does {
            return self.open(label, room);
        }
        let at = self.connections.iter().rposition(|it| it.label == label).unwrap();
        let Connection { server, session, .. } = self.connections[at];
        let target = |target| PostMessage { text: "hi".into(), target, client_id: None, reply_to: None };
        let command = match does {
            Goes => return self.apply(server, Command::CloseSession { session }),
            Joins(name) => ClientCommand::Join { room: room(name), resume: None, presence: false },
            JoinsInbox => ClientCommand::JoinInbox { resume: None },
            Leaves(name) => ClientCommand::Leave { room: room(name) },
            Says(name) => ClientCommand::Message(target(Target::Room(room(name)))),
            Whispers(to) | WhispersAgain(to) => ClientCommand::Message(target(Target::Client(client(to)))),
            WhispersAs(to, sender) => {
                let message = target(Target::Client(client(to)));
                ClientCommand::Message(PostMessage { client_id: Some(client(sender)), ..message })
            }
            Opens(_) => unreachable!("handled above"),
        };
        if !matches!(does, WhispersAgain(_)) {
            self.asked += 1;
        }
        let id = Some(MessageId::parse(&format!("m{}", self.asked)).unwrap());
        let frame = Frame { session, id, ticket: None };
        self.apply(server, Command::Ask { frame, request: Request::Command(command) });
    }

    fn open(&mut self, label: &'static str, first: &str) {
        let (number, server) =
            (u32::try_from(self.connections.len()).unwrap(), self.connections.len() % self.all.len());
        let session = SessionId::new(HubId(0), number, 1);
        let client_id = client(label.trim_end_matches(char::is_numeric));
        let claims =
            Claims { client_id: client_id.clone(), rooms: RoomGlobs::ALL, is_admin: false, expires_at: u64::MAX };
        let (reply, answer) = oneshot::channel();
        let open = OpenSession {
            session,
            identity: if self.is_authenticated { Identity::Proven(Arc::new(claims)) } else { Identity::Open },
            client_id: Some(client_id),
            key: Some(ClientKey(label.len() as u128)).filter(|_| !self.is_authenticated),
            room: room(first),
            fresh_key: ClientKey(1_000 + u128::from(number)),
            address: crate::client_address::ClientAddress::NONE,
            watch_presence: false,
        };
        self.connections.push(Connection { label, server, session, told: Vec::new(), opened: Some(answer) });
        self.apply(server, Command::OpenSession { open, reply });
    }

    fn told(&mut self, label: &str) -> String {
        let it = self.connections.iter_mut().rfind(|it| it.label == label).unwrap();
        if let Some(Err(refusal)) = it.opened.take().map(|mut answer| answer.try_recv().unwrap()) {
            it.told.push(refusal.to_string());
        }
        it.told.join(", ")
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
        let lives: Vec<_> = self.all.iter().filter_map(|server| server.life).collect();
        for server in 0..self.all.len() {
            for life in &lives {
                self.apply(server, Command::Heard(Heard::Alive { life: *life, report: None }));
            }
        }
        for server in 0..self.all.len() {
            self.apply(server, Command::Tick { reply: oneshot::channel().0 });
        }
        self.settle();
    }

    /// All nodes write into the log, one after the other, and read it.
    fn settle(&mut self) {
        loop {
            let at = self.now.unix_ms;
            for server in &mut self.all {
                server.state.pack(|record| self.log.push((at, record)));
            }
            let behind =
                (0..self.all.len()).filter(|server| self.all[*server].read < self.log.len()).collect::<Vec<_>>();
            if behind.is_empty() {
                return;
            }
            for server in behind {
                while let Some((at, bytes)) = self.log.get(self.all[server].read).cloned() {
                    self.all[server].read += 1;
                    let position = LogPosition(self.all[server].read as u64);
                    let id = RecordId { position, nanos: at * 1_000_000 };
                    let record = Record::read(&bytes).unwrap();
                    self.apply(server, Command::Heard(Heard::Record { id, record }));
                }
            }
        }
    }

    fn apply(&mut self, server: usize, command: Command) {
        let mut turn = Turn::new(self.now);
        let it = &mut self.all[server];
        it.state.apply(command, &mut turn);
        let mut effects: VecDeque<_> = turn.effects.into();
        while let Some(effect) = effects.pop_front() {
            let mut done: Vec<Completion> = Vec::new();
            let it = &mut self.all[server];
            match effect {
                Effect::Append(entry) => it.history.append(entry, &mut done),
                Effect::Node(NodeEffect::Keep { entry, placed }) => it.history.keep(entry, &placed, &mut done),
                Effect::Forget { room, receipt } => it.history.forget(room, receipt, &mut done),
                Effect::Read(request) => it.history.read(request, &mut done),
                Effect::Answer(answer) => answer.send(),
                Effect::Node(NodeEffect::Checkpoint { at, state }) => {
                    self.checkpoint = Some((usize::try_from(at.position.0).unwrap(), state));
                }
                Effect::To { session, command: ToSession::Tell { event, .. } } => self.tell(server, session, &event),
                Effect::To { session, command: ToSession::Close { code, .. } } => {
                    self.put(server, session, format!("closed {}", code.as_u16()));
                }
                Effect::To { .. }
                | Effect::TellMany { .. }
                | Effect::Deliver { .. }
                | Effect::DeliverPrivate { .. }
                | Effect::NoteSent { .. }
                | Effect::NoteRead { .. }
                | Effect::CountRefusal(_)
                | Effect::Node(_)
                | Effect::Decided(_)
                | Effect::KeepModeration { .. }
                | Effect::Limit { .. }
                | Effect::DropExcess
                | Effect::Drain { .. } => {}
            }
            for completion in done {
                let mut turn = Turn::new(self.now);
                self.all[server].state.complete(completion, &mut turn);
                effects.extend(turn.effects);
            }
        }
        self.all[server].state.check();
    }

    fn tell(&mut self, server: usize, session: SessionId, event: &ServerEvent<'_>) {
        let text = match event {
            ServerEvent::Welcome(welcome) => format!("welcome {}", welcome.first_room.as_ref().unwrap().room),
            ServerEvent::Joined(joined) => {
                format!("joined {}: {}", joined.room.as_ref().map_or("inbox", RoomName::as_str), joined.count)
            }
            ServerEvent::Ack(_) => "ack".into(),
            ServerEvent::Error(refusal) => format!("{:?}: {}", refusal.code, refusal.message),
            ServerEvent::Left { room, .. } => format!("left {room}"),
            ServerEvent::Message(_)
            | ServerEvent::Edited(_)
            | ServerEvent::Deleted(_)
            | ServerEvent::Reaction(_)
            | ServerEvent::Presence(_)
            | ServerEvent::Members(_)
            | ServerEvent::Rooms { .. }
            | ServerEvent::History(_)
            | ServerEvent::Pong { .. }
            | ServerEvent::Typing(_)
            | ServerEvent::Read(_)
            | ServerEvent::Settings(_)
            | ServerEvent::Closing { .. } => return,
        };
        self.put(server, session, text);
    }

    fn put(&mut self, server: usize, session: SessionId, text: String) {
        let to = self.connections.iter_mut().find(|it| it.server == server && it.session == session);
        to.unwrap().told.push(text);
    }

    /// The rooms and inboxes that there are, the same on every server, and how many were dropped for others.
    fn tables(&self) -> (Vec<String>, u64) {
        let of = |server: &Server| {
            let rooms = server.state.rooms.iter().map(|(_, room)| room).filter(|room| !room.has_ended());
            let mut keys: Vec<_> = rooms.map(|room| room.key().to_string()).collect();
            keys.sort();
            keys
        };
        let tables: Vec<_> = self.all.iter().map(of).collect();
        assert!(tables.iter().all(|table| *table == tables[0]), "{tables:?}");
        (tables[0].clone(), self.all.iter().map(|server| server.state.dropped_for_space()).sum())
    }
}

fn client(name: &str) -> ClientId {
    ClientId::parse(name).unwrap()
}

fn room(name: &str) -> RoomName {
    RoomName::parse(name).unwrap()
}

/// A step of a story: what clients do at the same time, or the time that passes.
enum Step<'a> {
    AtOnce(&'a [(&'static str, Does)], &'a [&'a str]),
    Minutes(u64),
}

use Step::{AtOnce, Minutes};

/// Plays a story on one server and on three nodes. At its end there are these rooms and inboxes, and so many were dropped
/// for others.
#[track_caller]
fn play(config: &ChatConfig, story: &[Step<'_>], tables: &[&str], dropped: u64) {
    for servers in [1, 3] {
        let mut chat = Servers::new(servers, config);
        for (number, step) in story.iter().enumerate() {
            match step {
                AtOnce(steps, expected) => {
                    assert_eq!(chat.at_once(steps), *expected, "step {number}: {steps:?} with {servers} servers");
                }
                Minutes(minutes) => chat.wait(Duration::from_mins(*minutes)),
            }
        }
        let (keys, count) = chat.tables();
        assert_eq!(keys, tables, "with {servers} servers");
        assert_eq!(count, dropped, "with {servers} servers");
    }
}

fn with_rooms(rooms: u32) -> ChatConfig {
    ChatConfig { rooms, history_is_stored: true, ..ChatConfig::default() }
}

fn with_inboxes(inboxes: u32, inboxes_per_client: u32) -> ChatConfig {
    ChatConfig { private_is_kept: true, inboxes, inboxes_per_client, ..ChatConfig::default() }
}

const TOO_MANY_ROOMS: &str = "TooManyRooms: the server has reached its limit of rooms";

#[test]
fn clients_that_enter_new_rooms_at_once_get_as_many_as_there_may_be() {
    let story = [
        AtOnce(&[("a", Opens("lobby")), ("b", Opens("lobby"))], &["welcome lobby", "welcome lobby"]),
        AtOnce(
            &[("first", Joins("one")), ("a", Joins("two")), ("b", Joins("three"))],
            &["joined one: 1", "joined two: 1", TOO_MANY_ROOMS],
        ),
        AtOnce(
            &[("c", Opens("four")), ("d", Opens("two")), ("e", Opens("lobby"))],
            &["the server has reached its limit of rooms", "welcome two", "welcome lobby"],
        ),
        AtOnce(&[("b", Joins("two")), ("b", Joins("lobby"))], &["joined two: 3, joined lobby: 4"; 2]),
    ];
    play(&with_rooms(3), &story, &["lobby", "one", "two"], 0);
}

#[test]
fn a_client_that_is_refused_for_lack_of_space_keeps_its_old_connection() {
    let story = [
        AtOnce(&[("a", Opens("one"))], &["welcome one"]),
        AtOnce(&[("a", Opens("two"))], &["the server has reached its limit of rooms"]),
        AtOnce(&[("b", Opens("one"))], &["welcome one"]),
        AtOnce(&[("b", Joins("one"))], &["joined one: 2"]),
    ];
    play(&with_rooms(2), &story, &["lobby", "one"], 0);
}

#[test]
fn an_empty_room_makes_space_the_longest_silent_one_first() {
    let story = [
        AtOnce(&[("a", Opens("lobby")), ("b", Opens("lobby"))], &["welcome lobby"; 2]),
        AtOnce(
            &[("first", Joins("spoken")), ("a", Joins("silent")), ("b", Joins("young"))],
            &["joined spoken: 1", "joined silent: 1", "joined young: 1"],
        ),
        AtOnce(&[("first", Says("spoken"))], &["ack"]),
        AtOnce(&[("first", Leaves("spoken")), ("a", Leaves("silent"))], &["left spoken", "left silent"]),
        Minutes(1),
        AtOnce(&[("b", Leaves("young"))], &["left young"]),
        AtOnce(&[("first", Joins("one")), ("a", Joins("two"))], &["joined one: 1", "joined two: 1"]),
        // What was said in it keeps a room for five minutes.
        AtOnce(&[("b", Joins("three"))], &[TOO_MANY_ROOMS]),
        Minutes(3),
        AtOnce(&[("b", Joins("three"))], &[TOO_MANY_ROOMS]),
        Minutes(1),
        AtOnce(&[("first", Joins("three"))], &["joined three: 1"]),
        AtOnce(&[("b", Joins("four"))], &[TOO_MANY_ROOMS]),
    ];
    play(&with_rooms(4), &story, &["lobby", "one", "three", "two"], 3);
}

#[test]
fn a_room_with_more_than_a_few_messages_makes_no_space() {
    let says = [("first", Says("one")); 17];
    for (messages, expected, dropped) in [(16, "joined two: 1", 1), (17, TOO_MANY_ROOMS, 0)] {
        for servers in [1, 3] {
            let mut chat = Servers::new(servers, &with_rooms(2));
            chat.at_once(&[("a", Opens("lobby"))]);
            chat.at_once(&[("first", Joins("one"))]);
            chat.at_once(&says[..messages]);
            chat.at_once(&[("first", Leaves("one"))]);
            chat.wait(Duration::from_mins(5));
            assert_eq!(chat.at_once(&[("a", Joins("two"))]), [expected], "{messages} messages, {servers} servers");
            assert_eq!(chat.tables().1, dropped);
        }
    }
}

#[test]
fn clients_that_write_to_strangers_share_the_inboxes() {
    let of_one = "TooManyInboxes: you have written to 3 clients that have never connected: limit reached";
    let of_all = "TooManyInboxes: inbox limit reached (CHAT_INBOXES = 6)";
    let story = [
        AtOnce(&[("a", Opens("lobby")), ("b", Opens("lobby"))], &["welcome lobby"; 2]),
        AtOnce(&[("a", Whispers("sa"))], &["ack"]),
        AtOnce(&[("a", Whispers("sb"))], &["ack"]),
        AtOnce(&[("a", Whispers("sc"))], &["ack"]),
        AtOnce(&[("a", Whispers("sd"))], &[of_one]),
        // The client that has made the most loses its oldest to one with fewer.
        AtOnce(&[("b", Whispers("ta"))], &["ack"]),
        AtOnce(&[("first", Whispers("ua"))], &["ack"]),
        AtOnce(&[("b", Whispers("tb"))], &[of_all]),
        // A client that connects always has its inbox. Of makers with as many, the last by name loses one.
        AtOnce(&[("c", Opens("lobby"))], &["welcome lobby"]),
        AtOnce(&[("sc", Opens("lobby"))], &["welcome lobby"]),
        AtOnce(&[("d", Opens("lobby"))], &["welcome lobby"]),
        AtOnce(&[("e", Opens("lobby"))], &["welcome lobby"]),
        AtOnce(&[("a", Whispers("sd")), ("b", Whispers("sc"))], &[of_all, "ack"]),
    ];
    let inboxes = ["@a", "@b", "@c", "@d", "@e", "@first", "@sc", "lobby"];
    play(&with_inboxes(6, 3), &story, &inboxes, 4);
}

#[test]
fn a_private_message_that_is_refused_or_repeated_takes_no_inbox() {
    let story = [
        AtOnce(&[("a", Opens("lobby")), ("b", Opens("lobby"))], &["welcome lobby"; 2]),
        AtOnce(&[("b", Whispers("tb"))], &["ack"]),
        AtOnce(&[("a", WhispersAs("sa", "b"))], &["ClientIdMismatch: this connection is a, not b"]),
        AtOnce(&[("a", Whispers("b"))], &["ack"]),
        AtOnce(&[("a", WhispersAgain("sa"))], &["ack"]),
    ];
    play(&with_inboxes(9, 3), &story, &["@a", "@b", "@first", "@tb", "lobby"], 0);
}

#[test]
fn an_inbox_that_several_clients_have_written_into_gives_way_to_nobody() {
    let of_all = "TooManyInboxes: inbox limit reached (CHAT_INBOXES = 5)";
    let story = [
        AtOnce(&[("a", Opens("lobby")), ("b", Opens("lobby"))], &["welcome lobby"; 2]),
        AtOnce(&[("a", Whispers("sa"))], &["ack"]),
        AtOnce(&[("a", Whispers("sb"))], &["ack"]),
        AtOnce(&[("b", Whispers("sa"))], &["ack"]),
        AtOnce(&[("first", Whispers("t"))], &[of_all]),
        AtOnce(&[("c", Opens("lobby")), ("d", Opens("lobby"))], &["welcome lobby"; 2]),
    ];
    play(&with_inboxes(5, 3), &story, &["@a", "@b", "@c", "@d", "@first", "@sa", "lobby"], 1);
}

#[test]
fn an_inbox_counts_the_connections_of_its_owner_on_all_nodes() {
    let story = [
        AtOnce(&[("a1", Opens("lobby")), ("a2", Opens("lobby")), ("a3", Opens("lobby"))], &["welcome lobby"; 3]),
        AtOnce(&[("a1", JoinsInbox), ("a2", JoinsInbox), ("a3", JoinsInbox)], &["joined inbox: 3"; 3]),
        AtOnce(&[("a2", Goes)], &[""]),
        AtOnce(
            &[("a1", JoinsInbox), ("a3", JoinsInbox), ("first", JoinsInbox)],
            &["joined inbox: 2", "joined inbox: 2", "joined inbox: 1"],
        ),
        AtOnce(&[("a1", Joins("lobby")), ("first", Joins("lobby"))], &["joined lobby: 2"; 2]),
    ];
    play(&with_inboxes(5, 3), &story, &["@a", "@first", "lobby"], 0);
}

#[test]
fn a_node_that_begins_from_a_checkpoint_drops_the_same_rooms_as_the_others() {
    // The other nodes give the number of the room that ends here to the next one, so each has its own numbers.
    for (waits, dropped) in [([0, 0], "ant"), ([1, 0], "zoo"), ([0, 1], "ant")] {
        let mut chat = Servers::new(3, &with_rooms(4));
        chat.at_once(&[("a", Opens("lobby")), ("b", Opens("lobby"))]);
        chat.at_once(&[("first", Joins("hole"))]);
        chat.at_once(&[("a", Joins("zoo")), ("first", Leaves("hole"))]);
        chat.wait(Duration::from_mins(5));
        chat.wait(Duration::from_secs(1));
        assert_eq!(chat.tables().0, ["lobby", "zoo"]);
        chat.one_more();
        chat.at_once(&[("first", Joins("ant"))]);
        chat.at_once(&[("a", Leaves("zoo"))]);
        chat.wait(Duration::from_mins(waits[0]));
        chat.at_once(&[("first", Leaves("ant"))]);
        chat.wait(Duration::from_mins(waits[1]));
        chat.one_more();
        let joined = chat.at_once(&[("b", Joins("one")), ("first", Joins("two"))]);
        assert_eq!(joined, ["joined one: 1", "joined two: 1"]);
        let left = if dropped == "ant" { "zoo" } else { "ant" };
        let rooms = ["lobby", "one", "two", left];
        assert!(
            rooms.iter().all(|room| chat.tables().0.iter().any(|kept| kept == room)),
            "{waits:?}: {:?}",
            chat.tables()
        );
    }
}

#[test]
fn a_node_that_begins_from_a_checkpoint_drops_the_same_inboxes_as_the_others() {
    let mut chat = Servers::new(3, &with_inboxes(6, 3));
    chat.at_once(&[("hole", Opens("lobby")), ("a", Opens("lobby")), ("b", Opens("lobby"))]);
    chat.at_once(&[("a", Whispers("sb")), ("hole", Goes)]);
    chat.wait(Duration::from_mins(5));
    chat.wait(Duration::from_secs(1));
    // It gets the number of the inbox that has ended, before that of the older one.
    assert_eq!(chat.at_once(&[("a", Whispers("sa"))]), ["ack"]);
    assert_eq!(chat.at_once(&[("a", Whispers("sc"))]), ["ack"]);
    chat.one_more();
    assert_eq!(chat.at_once(&[("b", Whispers("sd"))]), ["ack"]);
    assert_eq!(chat.tables(), (["@a", "@b", "@first", "@sa", "@sc", "@sd", "lobby"].map(String::from).to_vec(), 1));
}

/// Such a node took the rooms of which it has no messages for rooms without messages, and ended them on all nodes.
#[test]
fn a_node_without_the_messages_of_a_room_does_not_end_it() {
    let mut chat = Servers::new(3, &with_rooms(4));
    chat.at_once(&[("first", Joins("one"))]);
    chat.at_once(&[("first", Says("one"))]);
    chat.at_once(&[("first", Leaves("one"))]);
    chat.one_more();
    for _ in 0..3 {
        chat.wait(Duration::from_mins(10));
    }
    assert_eq!(chat.tables().0, ["lobby", "one"]);
}
