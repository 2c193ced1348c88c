//! Authenticated names with several connections each, and their private messages, against lists that are searched from
//! the beginning.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use starling_actors::ChatConfig;
use starling_actors::chat_server::Turn;
use starling_actors::chat_server::command::{Command, Frame, OpenSession, Request};
use starling_actors::chat_server::effect::Effect;
use starling_actors::chat_server::state::ChatState;
use starling_actors::clock::{self, Now};
use starling_actors::credits::Ticket;
use starling_actors::history::{Completion, Entry, History};
use starling_actors::hub::{Replay, ToSession};
use starling_actors::identity::{Claims, Identity, RoomGlobs};
use starling_actors::ids::{HubId, RoomId, SessionId};
use starling_protocol::{
    ClientCommand, ClientId, ClientKey, Epoch, MessageId, PostMessage, Resume, RoomName, Seq, ServerEvent, Target,
};
use tokio::sync::oneshot;

use super::config;

const CONNECTIONS: usize = 6;
const NAMES: [&str; 3] = ["alice", "bob", "carol"];
const FIVE_MINUTES: u64 = 300_000;

#[derive(Debug, Clone, Copy)]
enum Step {
    Open { connection: usize, name: &'static str },
    Close { connection: usize },
    Whisper { connection: usize, to: &'static str, id: Option<u8> },
    Say { connection: usize },
    Resume { connection: usize, after: u64 },
    Members { connection: usize },
    Hold,
    Store { count: usize },
    Release,
    Wait { ms: u64 },
}

fn any_step() -> impl Strategy<Value = Step> {
    let connection = || 0..CONNECTIONS;
    prop_oneof![
        4 => (connection(), select(&NAMES[..])).prop_map(|(connection, name)| Step::Open { connection, name }),
        2 => connection().prop_map(|connection| Step::Close { connection }),
        12 => (connection(), select(&NAMES[..]), option::weighted(0.5, 0..3_u8))
            .prop_map(|(connection, to, id)| Step::Whisper { connection, to, id }),
        2 => connection().prop_map(|connection| Step::Say { connection }),
        3 => (connection(), 0..12_u64).prop_map(|(connection, after)| Step::Resume { connection, after }),
        1 => connection().prop_map(|connection| Step::Members { connection }),
        1 => Just(Step::Hold),
        2 => (1..4_usize).prop_map(|count| Step::Store { count }),
        2 => Just(Step::Release),
        1 => select(&[1, 60_000, 299_999, FIVE_MINUTES][..]).prop_map(|ms| Step::Wait { ms }),
    ]
}

/// What each connection is told, in order.
type Told = BTreeMap<usize, Vec<String>>;

// ---- the model

#[derive(Default)]
struct Inbox {
    said: Vec<String>,
    /// How many of them some connection of the owner was sent.
    delivered: usize,
}

/// A private message, or a message of the lobby, that waits to be stored.
struct Waiting {
    /// Whose inbox it goes to; `None`: the lobby.
    owner: Option<&'static str>,
    /// Who has a copy of it, if that is another.
    sender: Option<&'static str>,
    line: String,
    /// Which connections are told, by the number of their session, and whether it is a repetition.
    acks: Vec<(u32, bool)>,
    key: Option<(&'static str, u8)>,
    to: &'static str,
}

#[derive(Default)]
struct Naive {
    now: u64,
    sessions: u32,
    /// Name and number of each connection's session.
    connections: [Option<(&'static str, u32)>; CONNECTIONS],
    inboxes: BTreeMap<&'static str, Inbox>,
    waiting: VecDeque<Waiting>,
    is_held: bool,
    /// When a message of a sender was taken, and to whom.
    taken: BTreeMap<(&'static str, u8), (u64, &'static str)>,
    told: Told,
}

impl Naive {
    fn tell(&mut self, connection: usize, line: String) {
        self.told.entry(connection).or_default().push(line);
    }

    fn of(&self, name: &str) -> Vec<usize> {
        (0..CONNECTIONS).filter(|at| self.connections[*at].is_some_and(|(own, _)| own == name)).collect()
    }

    fn does(&mut self, step: Step) -> Told {
        match step {
            Step::Open { connection, name } => self.open(connection, name),
            Step::Close { connection } => self.connections[connection] = None,
            Step::Whisper { connection, to, id } => self.whisper(connection, to, id),
            Step::Say { connection } => {
                if let Some((name, _)) = self.connections[connection] {
                    let line = format!("lobby {name}");
                    self.waiting.push_back(Waiting {
                        owner: None,
                        sender: None,
                        line,
                        acks: Vec::new(),
                        key: None,
                        to: "",
                    });
                    self.store_unless_held();
                }
            }
            Step::Resume { connection, after } => self.resume(connection, after),
            Step::Members { connection } => {
                if self.connections[connection].is_some() {
                    let names: BTreeSet<&str> = self.connections.iter().flatten().map(|(name, _)| *name).collect();
                    self.tell(connection, format!("members {} {names:?}", names.len()));
                }
            }
            Step::Hold => self.is_held = true,
            Step::Store { count } => self.store(count),
            Step::Release => {
                self.is_held = false;
                self.store(usize::MAX);
            }
            Step::Wait { ms } => self.now += ms,
        }
        std::mem::take(&mut self.told)
    }

    fn open(&mut self, connection: usize, name: &'static str) {
        if self.connections[connection].is_some() {
            return;
        }
        self.sessions += 1;
        self.connections[connection] = Some((name, self.sessions));
        let inbox = self.inboxes.entry(name).or_default();
        let lines: Vec<String> = inbox.said.iter().skip(inbox.delivered).cloned().collect();
        inbox.delivered = inbox.said.len();
        let seq = inbox.said.len();
        self.tell(connection, format!("welcome {name} inbox {seq}"));
        for line in lines {
            self.tell(connection, line);
        }
    }

    fn whisper(&mut self, connection: usize, to: &'static str, id: Option<u8>) {
        let Some((sender, number)) = self.connections[connection] else { return };
        let key = id.map(|id| (sender, id));
        if key.is_some()
            && let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.key == key)
        {
            return waiting.acks.push((number, true));
        }
        let before = key.and_then(|key| self.taken.get(&key).copied());
        if let Some((_, before_to)) = before.filter(|(at, _)| self.now - at < FIVE_MINUTES) {
            return self.tell(connection, format!("ack {} @{before_to} duplicate", id.unwrap()));
        }
        if let Some(key) = key {
            self.taken.insert(key, (self.now, to));
        }
        let shown_id = id.map_or_else(String::new, |id| format!(" id={id}"));
        let line = format!("{sender}@{to}{shown_id}");
        let acks = if id.is_some() { vec![(number, false)] } else { Vec::new() };
        let sender = Some(sender).filter(|sender| *sender != to);
        self.waiting.push_back(Waiting { owner: Some(to), sender, line, acks, key, to });
        self.store_unless_held();
    }

    fn store_unless_held(&mut self) {
        if !self.is_held {
            self.store(usize::MAX);
        }
    }

    fn store(&mut self, count: usize) {
        for _ in 0..count {
            let Some(Waiting { owner, sender, line, acks, key, to }) = self.waiting.pop_front() else { return };
            let Some(owner) = owner else {
                let all: Vec<usize> = (0..CONNECTIONS).filter(|at| self.connections[*at].is_some()).collect();
                for connection in all {
                    self.tell(connection, line.clone());
                }
                continue;
            };
            if let Some(sender) = sender {
                self.put(sender, &line);
            }
            for (number, is_duplicate) in acks {
                let is_it = |at: &usize| self.connections[*at].is_some_and(|(_, own)| own == number);
                if let Some(connection) = (0..CONNECTIONS).find(is_it) {
                    let duplicate = if is_duplicate { " duplicate" } else { "" };
                    self.tell(connection, format!("ack {} @{to}{duplicate}", key.unwrap().1));
                }
            }
            self.put(owner, &line);
        }
    }

    /// Puts a message into an inbox, and tells the owner's connections.
    fn put(&mut self, owner: &'static str, line: &str) {
        let here = self.of(owner);
        let inbox = self.inboxes.entry(owner).or_default();
        let line = format!("{}: {line}", inbox.said.len() + 1);
        inbox.said.push(line.clone());
        if !here.is_empty() {
            inbox.delivered = inbox.said.len();
        }
        for connection in here {
            self.tell(connection, line.clone());
        }
    }

    fn resume(&mut self, connection: usize, after: u64) {
        let Some((name, _)) = self.connections[connection] else { return };
        let (count, after) = (self.of(name).len(), usize::try_from(after).unwrap());
        let said = &self.inboxes[name].said;
        let outcome = if after <= said.len() { "recovered" } else { "gap" };
        let (seq, lines): (_, Vec<String>) = (said.len(), said.iter().skip(after).cloned().collect());
        self.tell(connection, format!("joined {seq} count {count} {outcome}"));
        for line in lines {
            self.tell(connection, line);
        }
    }
}

// ---- the state machine

struct Real {
    state: ChatState,
    now: Now,
    history: History,
    is_held: bool,
    held: VecDeque<Entry>,
    connections: [Option<SessionId>; CONNECTIONS],
    epochs: [Option<Epoch>; CONNECTIONS],
    sessions: u32,
    admitted: Vec<(SessionId, RoomId)>,
    told: Told,
}

impl Real {
    fn new() -> Self {
        let config = ChatConfig { private_is_kept: true, ..ChatConfig::default() };
        Self {
            state: ChatState::new(config, 7),
            now: Now { at: clock::now(), unix_ms: 0 },
            history: History::in_memory(u32::MAX, u64::MAX),
            is_held: false,
            held: VecDeque::new(),
            connections: [None; CONNECTIONS],
            epochs: [None; CONNECTIONS],
            sessions: 0,
            admitted: Vec::new(),
            told: Told::new(),
        }
    }

    fn does(&mut self, step: Step) -> Told {
        match step {
            Step::Open { connection, name } => self.open(connection, name),
            Step::Close { connection } => {
                if let Some(session) = self.connections[connection].take() {
                    self.apply(Command::CloseSession { session });
                }
            }
            Step::Whisper { connection, to, id } => {
                let id = id.map(|id| MessageId::parse(&id.to_string()).unwrap());
                let target = Target::Client(ClientId::parse(to).unwrap());
                self.ask(
                    connection,
                    id,
                    ClientCommand::Message(PostMessage { text: "x".into(), target, client_id: None }),
                );
            }
            Step::Say { connection } => {
                let target = Target::FirstRoom;
                self.ask(
                    connection,
                    None,
                    ClientCommand::Message(PostMessage { text: "x".into(), target, client_id: None }),
                );
            }
            Step::Resume { connection, after } => {
                let epoch = self.epochs[connection];
                self.ask(
                    connection,
                    None,
                    ClientCommand::JoinInbox { resume: Some(Resume { after: Seq(after), epoch, at: None }) },
                );
            }
            Step::Members { connection } => {
                self.ask(connection, None, ClientCommand::Members { room: RoomName::lobby() });
            }
            Step::Hold => self.is_held = true,
            Step::Store { count } => self.store(count),
            Step::Release => {
                self.is_held = false;
                self.store(usize::MAX);
            }
            Step::Wait { ms } => {
                self.now = self.now.after(Duration::from_millis(ms));
                self.apply(Command::Tick { reply: oneshot::channel().0 });
            }
        }
        std::mem::take(&mut self.told)
    }

    fn open(&mut self, connection: usize, name: &str) {
        if self.connections[connection].is_some() {
            return;
        }
        self.sessions += 1;
        let session = SessionId::new(HubId(u8::try_from(self.sessions % 3).unwrap()), self.sessions, 1);
        self.connections[connection] = Some(session);
        let client_id = ClientId::parse(name).unwrap();
        let claims = Claims { client_id, rooms: RoomGlobs::ALL, is_admin: false, expires_at: u64::MAX };
        let open = OpenSession {
            session,
            identity: Identity::Proven(Arc::new(claims)),
            client_id: None,
            key: None,
            room: RoomName::lobby(),
            fresh_key: ClientKey(u128::from(self.sessions)),
            watch_presence: false,
        };
        let (reply, mut answer) = oneshot::channel();
        self.apply(Command::OpenSession { open, reply });
        assert_eq!(answer.try_recv(), Ok(Ok(())));
    }

    fn ask(&mut self, connection: usize, id: Option<MessageId>, command: ClientCommand<'static>) {
        if let Some(session) = self.connections[connection] {
            let frame = Frame { session, id, ticket: Some(Ticket::without_credit(self.now.at)) };
            self.apply(Command::Ask { frame, request: Request::Command(command) });
        }
    }

    fn apply(&mut self, command: Command) {
        let mut turn = Turn::new(self.now);
        self.state.apply(command, &mut turn);
        self.state.check();
        let mut done = Vec::new();
        for effect in turn.effects {
            self.perform(effect, &mut done);
        }
        self.complete(done);
    }

    fn complete(&mut self, done: Vec<Completion>) {
        for completion in done {
            self.apply(Command::Completed(completion));
        }
    }

    fn store(&mut self, count: usize) {
        for _ in 0..count.min(self.held.len()) {
            let Some(entry) = self.held.pop_front() else { return };
            let mut done = Vec::new();
            self.history.append(entry, &mut done);
            self.complete(done);
        }
    }

    fn perform(&mut self, effect: Effect, done: &mut Vec<Completion>) {
        match effect {
            Effect::To { session, command } => self.perform_for(session, command),
            Effect::Deliver { room, hubs, message, ticket: _ } => {
                for (session, _) in self.admitted.clone().into_iter().filter(|(_, of)| *of == room) {
                    assert!(hubs.contains(session.hub()), "the hub of {session:?} gets the message");
                    self.tell(session, &ServerEvent::Message(message.to_wire()));
                }
            }
            Effect::Append(entry) if self.is_held => self.held.push_back(entry),
            // What waits goes first.
            Effect::Append(entry) => {
                for entry in self.held.drain(..).chain([entry]) {
                    self.history.append(entry, done);
                }
            }
            Effect::Read(request) => self.history.read(request, done),
            Effect::Delivered { .. } => {}
            Effect::Forget { room, receipt } => self.history.forget(room, receipt, done),
            Effect::Answer(answer) => answer.send(),
            Effect::TellMany { .. } | Effect::DeliverPrivate { .. } | Effect::Drain { .. } => {
                panic!("nobody asked for {effect:?}")
            }
        }
    }

    fn perform_for(&mut self, session: SessionId, command: ToSession) {
        match command {
            ToSession::Tell { event, .. } => self.tell(session, &event),
            ToSession::Admit { room } => {
                assert!(!self.admitted.contains(&(session, room)), "{session:?} is admitted once");
                self.admitted.push((session, room));
            }
            ToSession::Dismiss { room } => self.admitted.retain(|entry| *entry != (session, room)),
            ToSession::Replay(Replay { room, messages, more, ticket: _ }) => {
                let is_admitted = self.admitted.contains(&(session, room));
                assert!(!more && (messages.is_empty() || !is_admitted), "one page, and nothing live before");
                for message in messages {
                    self.tell(session, &ServerEvent::Message(message.to_wire()));
                }
            }
            ToSession::Close { .. } => panic!("nobody is closed"),
        }
    }

    fn tell(&mut self, session: SessionId, event: &ServerEvent<'_>) {
        // What is told to a session that has ended reaches nobody.
        let Some(connection) = self.connections.iter().position(|own| *own == Some(session)) else { return };
        let line = if let ServerEvent::Welcome(welcome) = event {
            let inbox = welcome.inbox.expect("private messages are kept");
            self.epochs[connection] = Some(inbox.epoch);
            format!("welcome {} inbox {}", welcome.client_id, inbox.seq)
        } else if let ServerEvent::Message(message) = event {
            let id = message.id.as_ref().map_or_else(String::new, |id| format!(" id={}", id.as_str()));
            match (&message.room, message.seq, &message.to) {
                (Some(room), Some(_), None) => format!("{room} {}", message.client_id),
                (None, Some(seq), Some(to)) => format!("{seq}: {}@{to}{id}", message.client_id),
                _ => panic!("neither of a room nor private: {message:?}"),
            }
        } else if let ServerEvent::Ack(ack) = event {
            let (to, duplicate) = (ack.to.as_ref().expect("in private"), if ack.duplicate { " duplicate" } else { "" });
            format!("ack {} @{to}{duplicate}", ack.id.as_str())
        } else if let ServerEvent::Joined(joined) = event {
            let outcome = if joined.recovered == Some(true) { "recovered" } else { "gap" };
            format!("joined {} count {} {outcome}", joined.seq, joined.count)
        } else if let ServerEvent::Members(members) = event {
            let names: BTreeSet<&str> = members.client_ids.iter().map(ClientId::as_str).collect();
            format!("members {} {names:?}", members.count)
        } else {
            panic!("nobody asked for {event:?}")
        };
        self.told.entry(connection).or_default().push(line);
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn names_with_several_connections_and_their_inboxes_do_what_the_naive_model_does(
        steps in vec(any_step(), 1..120)
    ) {
        let (mut naive, mut real) = (Naive::default(), Real::new());
        for (number, step) in steps.into_iter().enumerate() {
            prop_assert_eq!(real.does(step), naive.does(step), "step {}: {:?}", number, step);
        }
    }
}
