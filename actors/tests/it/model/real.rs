//! The state machine with a history in memory, with the same form of output as the model.

use std::collections::VecDeque;
use std::time::Duration;

use starling_actors::ChatConfig;
use starling_actors::chat_server::Turn;
use starling_actors::chat_server::command::{Command, Frame, OpenRefusal, OpenSession, Request};
use starling_actors::chat_server::effect::Effect;
use starling_actors::chat_server::state::ChatState;
use starling_actors::clock::{self, Now};
use starling_actors::credits::Ticket;
use starling_actors::history::{Completion, Entry, History};
use starling_actors::hub::{Replay, ToSession};
use starling_actors::identity::Identity;
use starling_actors::ids::{HubId, RoomId, SessionId};
use starling_protocol::{
    ClientCommand, ClientId, ClientKey, Epoch, ErrorCode, HistoryPage, MessageId, PostMessage, Refusal, Resume,
    RoomName, Seq, ServerEvent, Target,
};
use tokio::sync::oneshot;

use super::naive::{Naive, Told};
use super::{CLIENTS, Deed, MESSAGES_KEPT, Name, Page, ROOMS_MAX, ROOMS_PER_SESSION, Step, To};

/// The number of hubs over which the sessions are spread.
const HUBS: u32 = 3;

pub(crate) struct Real {
    state: ChatState,
    now: Now,
    history: History,
    is_held: bool,
    held: VecDeque<Entry>,
    /// The session of each client, while it has one.
    sessions: [Option<SessionId>; CLIENTS],
    sessions_so_far: u32,
    admitted: Vec<(SessionId, RoomId)>,
    /// Guest names and their names in the model.
    guests: Vec<(ClientId, String)>,
    /// In the order of the output.
    epochs: Vec<Epoch>,
    told: Told,
}

fn room(name: &str) -> RoomName {
    RoomName::parse(name).unwrap()
}

fn shown_id(id: Option<&MessageId>) -> String {
    id.map_or_else(String::new, |id| format!(" id={}", id.as_str()))
}

impl Real {
    pub(crate) fn new() -> Self {
        let config = ChatConfig {
            rooms: u32::try_from(ROOMS_MAX).unwrap(),
            rooms_per_session: u32::try_from(ROOMS_PER_SESSION).unwrap(),
            ..ChatConfig::default()
        };
        Self {
            state: ChatState::new(config, 7),
            now: Now { at: clock::now(), unix_ms: 0 },
            history: History::in_memory(u32::try_from(MESSAGES_KEPT).unwrap(), u64::MAX),
            is_held: false,
            held: VecDeque::new(),
            sessions: [None; CLIENTS],
            sessions_so_far: 0,
            admitted: Vec::new(),
            guests: Vec::new(),
            epochs: Vec::new(),
            told: Told::new(),
        }
    }

    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.state.room_count(), self.state.session_count())
    }

    pub(crate) fn does(&mut self, step: Step, naive: &Naive) -> Told {
        match step {
            Step::Does { client, deed } => self.act(client, deed, naive),
            Step::Wait { ms } => {
                self.now = self.now.after(Duration::from_millis(ms));
                self.apply(Command::Tick { reply: oneshot::channel().0 });
            }
            Step::Hold => self.is_held = true,
            Step::Store { count } => self.store(count),
            Step::Release => {
                self.is_held = false;
                self.store(usize::MAX);
            }
            Step::Fail { room } => self.fail(room),
        }
        std::mem::take(&mut self.told)
    }

    fn act(&mut self, client: usize, deed: Deed, naive: &Naive) {
        let Some(session) = self.sessions[client] else {
            if let Deed::Open { name, key, room } = deed {
                self.open(client, name, key, room, naive);
            }
            return;
        };
        let request = match deed {
            Deed::Open { .. } => return,
            Deed::Close => {
                self.sessions[client] = None;
                return self.apply(Command::CloseSession { session });
            }
            Deed::Nonsense { times } => {
                for _ in 0..times {
                    self.ask(session, None, Request::Refused(Refusal::new(ErrorCode::BadJson, "nonsense")));
                }
                return;
            }
            Deed::Hello { name, key } => ClientCommand::Hello {
                client_id: Some(self.name(naive, name)),
                key: key.map(|client| Self::key(naive, client)),
                token: None,
            },
            Deed::Say { to, claims, .. } => ClientCommand::Message(PostMessage {
                text: "x".into(),
                target: match to {
                    To::FirstRoom => Target::FirstRoom,
                    To::Room(name) => Target::Room(room(name)),
                    To::Client(name) => Target::Client(self.name(naive, name)),
                },
                client_id: claims.map(|name| self.name(naive, name)),
                reply_to: None,
            }),
            Deed::Join { room: name, after, own_epoch } => {
                let epoch = naive.clients[client].epochs.get(name).filter(|_| own_epoch);
                let epoch = epoch.map(|epoch| self.epochs[*epoch]);
                let resume = after.map(|after| Resume { after: Seq(after), epoch, at: None });
                ClientCommand::Join { room: room(name), resume, presence: false }
            }
            Deed::Leave { room: name } => ClientCommand::Leave { room: room(name) },
            Deed::Rooms => ClientCommand::Rooms,
            Deed::Members { room: name } => ClientCommand::Members { room: room(name) },
            Deed::History { room: name, page, limit } => {
                let page = match page {
                    Page::Newest => HistoryPage::Newest,
                    Page::Before(seq) => HistoryPage::Before(Seq(seq)),
                    Page::After(seq) => HistoryPage::After(Seq(seq)),
                };
                ClientCommand::History { room: room(name), page, limit }
            }
            Deed::Ping => ClientCommand::Ping,
        };
        let id = deed.id().map(|id| MessageId::parse(&id.to_string()).unwrap());
        self.ask(session, id, Request::Command(request));
    }

    fn open(&mut self, client: usize, name: Option<Name>, key: Option<usize>, name_of_room: &str, naive: &Naive) {
        self.sessions_so_far += 1;
        let number = self.sessions_so_far;
        let session = SessionId::new(HubId(u8::try_from(number % HUBS).unwrap()), number, 1);
        self.sessions[client] = Some(session);
        let open = OpenSession {
            session,
            identity: Identity::Open,
            client_id: name.map(|name| self.name(naive, name)),
            key: key.map(|client| Self::key(naive, client)),
            room: room(name_of_room),
            fresh_key: ClientKey(u128::from(number)),
            address: starling_actors::client_address::ClientAddress::NONE,
            watch_presence: false,
        };
        let (reply, mut answer) = oneshot::channel();
        self.apply(Command::OpenSession { open, reply });
        if let Err(refusal) = answer.try_recv().unwrap() {
            let why = match refusal {
                OpenRefusal::NameTaken(_) => "name_taken",
                OpenRefusal::NameReserved => "name_reserved",
                OpenRefusal::TooManyRooms => "too_many_rooms",
                OpenRefusal::TokenOfAnother(_) => "token_of_another",
                OpenRefusal::TokenExpired => "token_expired",
                OpenRefusal::RoomClosed(_) => "room_closed",
                OpenRefusal::Judged(refusal) => refusal.code.as_str(),
                OpenRefusal::Unavailable => "unavailable",
            };
            self.put(session, format!("refused {why}"));
            self.end(session);
        }
    }

    fn name(&self, naive: &Naive, name: Name) -> ClientId {
        let shown = naive.name(name);
        let guest = self.guests.iter().find(|(_, guest)| *guest == shown).map(|(name, _)| name.clone());
        guest.unwrap_or_else(|| ClientId::parse(&shown).unwrap())
    }

    fn shown(&mut self, name: &ClientId) -> String {
        if !name.is_guest() {
            return name.to_string();
        }
        if let Some((_, shown)) = self.guests.iter().find(|(guest, _)| guest == name) {
            return shown.clone();
        }
        let shown = format!("guest-{}", self.sessions_so_far);
        self.guests.push((name.clone(), shown.clone()));
        shown
    }

    fn key(naive: &Naive, client: usize) -> ClientKey {
        ClientKey(naive.clients[client].key.unwrap_or_default().into())
    }

    fn shown_epoch(&mut self, epoch: Epoch) -> String {
        if epoch == Epoch(0) {
            return "none".into();
        }
        let known = self.epochs.iter().position(|known| *known == epoch).unwrap_or_else(|| {
            self.epochs.push(epoch);
            self.epochs.len() - 1
        });
        known.to_string()
    }

    fn ask(&mut self, session: SessionId, id: Option<MessageId>, request: Request) {
        let ticket = Some(Ticket::without_credit(self.now.at));
        self.apply(Command::Ask { frame: Frame { session, id, ticket }, request });
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

    fn fail(&mut self, name: &str) {
        let Some(room) = self.state.find_room(name) else { return };
        let goes_there = |entry: &Entry| entry.copies[0].room == room;
        let (failed, held): (Vec<_>, Vec<_>) = self.held.drain(..).partition(goes_there);
        self.held = held.into();
        for Entry { number, .. } in failed {
            self.complete(vec![Completion::Refused { number }]);
        }
    }

    fn perform(&mut self, effect: Effect, done: &mut Vec<Completion>) {
        match effect {
            Effect::To { session, command } => self.perform_for(session, command),
            Effect::TellMany { .. } => panic!("nobody asked for presence"),
            Effect::Deliver { room, hubs, message, ticket: _ } => {
                for (session, _) in self.admitted.clone().into_iter().filter(|(_, of)| *of == room) {
                    assert!(hubs.contains(session.hub()), "the hub of {session:?} gets the message");
                    self.tell(session, &message.to_event());
                }
            }
            Effect::DeliverPrivate { sessions, message, ticket: _ } => {
                for session in sessions {
                    self.tell(session, &ServerEvent::Message((*message).clone()));
                }
            }
            Effect::NoteSent { .. } => panic!("nobody has an inbox"),
            Effect::NoteRead { .. } => panic!("nobody says what it has read"),
            Effect::Append(entry) if self.is_held => self.held.push_back(entry),
            // Waiting messages go first.
            Effect::Append(entry) => {
                for entry in self.held.drain(..).chain([entry]) {
                    self.history.append(entry, done);
                }
            }
            Effect::Read(request) => self.history.read(request, done),
            Effect::Forget { room, receipt: None } => self.history.forget(room, None, done),
            Effect::Forget { .. } => panic!("no operator drops a room"),
            Effect::Answer(answer) => answer.send(),
            Effect::Node(effect) => panic!("there are no other nodes: {effect:?}"),
            Effect::KeepModeration { .. } | Effect::Decided(_) | Effect::Limit { .. } | Effect::DropExcess => {
                panic!("no operator decides")
            }
            Effect::CountRefusal(_) => {}
            Effect::Drain { .. } => panic!("nobody drains the chat"),
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
                assert!(!more, "everything fits into one page");
                let is_admitted = self.admitted.contains(&(session, room));
                assert!(messages.is_empty() || !is_admitted, "a session that catches up gets nothing live");
                for message in messages {
                    self.tell(session, &message.to_event());
                }
            }
            ToSession::Close { code, .. } => {
                assert!(!self.admitted.iter().any(|(who, _)| *who == session), "a closed session is in no room");
                self.put(session, format!("closed {}", code.as_u16()));
                self.end(session);
            }
        }
    }

    fn end(&mut self, session: SessionId) {
        for slot in &mut self.sessions {
            slot.take_if(|own| *own == session);
        }
    }

    fn put(&mut self, session: SessionId, line: String) {
        // Output for a session that has ended is dropped.
        if let Some(client) = self.sessions.iter().position(|own| *own == Some(session)) {
            self.told.entry(client).or_default().push(line);
        }
    }

    fn tell(&mut self, session: SessionId, event: &ServerEvent<'_>) {
        let line = match event {
            ServerEvent::Welcome(welcome) => {
                let name = self.shown(&welcome.client_id);
                match &welcome.first_room {
                    Some(first) => {
                        format!("welcome {name} {}#{} epoch {}", first.room, first.seq, self.shown_epoch(first.epoch))
                    }
                    None => format!("welcome {name} nowhere"),
                }
            }
            ServerEvent::Message(message) => {
                let (sender, id) = (self.shown(&message.client_id), shown_id(message.id.as_ref()));
                match (&message.room, message.seq, &message.to) {
                    (Some(room), Some(seq), None) => format!("{room}#{seq} {sender}{id}"),
                    (None, None, Some(to)) => format!("{sender}@{}{id}", self.shown(to)),
                    _ => panic!("neither of a room nor private: {message:?}"),
                }
            }
            ServerEvent::Edited(_) | ServerEvent::Deleted(_) | ServerEvent::Reaction(_) => {
                panic!("nobody changes a message: {event:?}")
            }
            ServerEvent::Ack(ack) => {
                let duplicate = if ack.duplicate { " duplicate" } else { "" };
                let id = ack.id.as_str();
                match (&ack.room, ack.seq, &ack.to) {
                    (Some(room), Some(seq), None) => format!("ack {id} {room}#{seq}{duplicate}"),
                    (None, None, Some(to)) => format!("ack {id} @{}{duplicate}", self.shown(to)),
                    _ => panic!("neither of a room nor private: {ack:?}"),
                }
            }
            ServerEvent::Joined(joined) => {
                let recovered = joined.recovered.map_or("", |all| if all { " recovered" } else { " gap" });
                let epoch = self.shown_epoch(joined.epoch);
                let room = joined.room.as_ref().expect("nobody has an inbox");
                format!("joined {room}#{} epoch {epoch} count {}{recovered}", joined.seq, joined.count)
            }
            ServerEvent::Left { room, .. } => format!("left {room}"),
            ServerEvent::Members(members) => {
                let mut names: Vec<String> = members.client_ids.iter().map(|name| self.shown(name)).collect();
                names.sort();
                assert_eq!((members.count as usize, members.truncated), (names.len(), false));
                format!("members {} {names:?}", members.room)
            }
            ServerEvent::Rooms { rooms, truncated, .. } => {
                assert!(!truncated);
                let list = rooms.iter().map(|room| format!("{}#{} count {}", room.room, room.seq, room.count));
                format!("rooms {:?}", list.collect::<Vec<_>>())
            }
            ServerEvent::Pong { .. } => "pong".into(),
            ServerEvent::Error(refusal) => {
                format!("error {}{}", refusal.code.as_str(), shown_id(refusal.id.as_ref()))
            }
            ServerEvent::History(history) => {
                let room = history.room.as_ref().expect("nobody has an inbox");
                let seqs: Vec<u64> = history.messages.iter().filter_map(|message| Some(message.seq?.0)).collect();
                format!("history {room} {seqs:?} more {}", history.has_more)
            }
            ServerEvent::Presence(_)
            | ServerEvent::Typing(_)
            | ServerEvent::Read(_)
            | ServerEvent::Settings(_)
            | ServerEvent::Closing { .. } => {
                panic!("nobody asked for {event:?}")
            }
        };
        self.put(session, line);
    }
}
