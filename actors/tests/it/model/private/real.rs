//! The state machine, with a history that can be held back.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

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

use super::{CONNECTIONS, Step, Told};

pub(super) struct Real {
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
    pub(super) fn new() -> Self {
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

    pub(super) fn does(&mut self, step: Step) -> Told {
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
                    ClientCommand::Message(PostMessage { text: "x".into(), target, client_id: None, reply_to: None }),
                );
            }
            Step::Say { connection } => {
                let target = Target::FirstRoom;
                self.ask(
                    connection,
                    None,
                    ClientCommand::Message(PostMessage { text: "x".into(), target, client_id: None, reply_to: None }),
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
            address: starling_actors::client_address::ClientAddress::NONE,
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
        self.turn(|state, turn| state.apply(command, turn));
    }

    fn turn(&mut self, act: impl FnOnce(&mut ChatState, &mut Turn)) {
        let mut turn = Turn::new(self.now);
        act(&mut self.state, &mut turn);
        self.state.check();
        let mut done = Vec::new();
        for effect in turn.effects {
            self.perform(effect, &mut done);
        }
        self.complete(done);
    }

    fn complete(&mut self, done: Vec<Completion>) {
        for completion in done {
            self.turn(|state, turn| state.complete(completion, turn));
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
                    self.tell(session, &message.to_event());
                }
            }
            Effect::Append(entry) if self.is_held => self.held.push_back(entry),
            // Waiting messages go first.
            Effect::Append(entry) => {
                for entry in self.held.drain(..).chain([entry]) {
                    self.history.append(entry, done);
                }
            }
            Effect::Read(request) => self.history.read(request, done),
            Effect::NoteSent { .. } | Effect::NoteRead { .. } | Effect::CountRefusal(_) => {}
            Effect::Forget { room, receipt } => self.history.forget(room, receipt, done),
            Effect::Answer(answer) => answer.send(),
            Effect::TellMany { .. }
            | Effect::DeliverPrivate { .. }
            | Effect::Node(_)
            | Effect::KeepModeration { .. }
            | Effect::Limit { .. }
            | Effect::DropExcess
            | Effect::Decided(_)
            | Effect::Drain { .. } => {
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
                    self.tell(session, &message.to_event());
                }
            }
            ToSession::Close { .. } => panic!("nobody is closed"),
        }
    }

    fn tell(&mut self, session: SessionId, event: &ServerEvent<'_>) {
        // Output for a session that has ended is dropped.
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
