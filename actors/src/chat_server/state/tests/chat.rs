//! A chat for dialogues: steps of a test become commands of [`ChatState`], and its effects become short lines per
//! client.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use starling_protocol::{
    ClientCommand, ClientId, ClientKey, Epoch, ErrorCode, HistoryPage, MessageId, PostMessage, Refusal, Resume,
    RoomName, RoomSummary, Seq, ServerEvent, Target,
};

use tokio::sync::oneshot;

use super::super::ChatState;
use crate::chat_server::command::{Command, DropError, Frame, HistoryQuery, OpenRefusal, OpenSession, Request};
use crate::chat_server::effect::{Effect, Turn};
use crate::clock::{self, Now};
use crate::config::ChatConfig;
use crate::credits::Ticket;
use crate::history::{Completion, Entry, History, ReadRequest, RoomKey};
use crate::hub::{Replay, ToSession};
use crate::identity::{Claims, Identity, RoomGlobs};
use crate::ids::{HubId, RoomId, SessionId};

/// The number of hubs over which the clients are spread.
const HUBS: u32 = 3;

/// The chat's state machine with clients, a history, and a clock that moves only on request.
///
/// A dialogue, see [`check`](Self::check), has one line per step:
///
/// ```text
/// alice> opens name=alice          alice does something, see [`send`](Self::send)
/// alice< welcome alice lobby #0    the next line that alice receives must be this one
/// alice< (nothing)                 alice has received nothing else so far
/// wait 5m                          time passes (ms, s, m), then one tick
/// history holds                    the history queues all requests from now on
/// history stores 2                 it carries out the next two; without a number all, and queues no more
/// history fails dev                it cannot store the queued messages of dev
/// ```
pub(in super::super) struct Chat {
    pub(in super::super) state: ChatState,
    pub(in super::super) now: Now,
    history: History,
    is_held: bool,
    held: VecDeque<Held>,
    clients: Vec<Client>,
    sessions: u32,
    admitted: Vec<(SessionId, RoomId)>,
    /// Guests in the order in which they appeared: `guest-1`, `guest-2` in the dialogues.
    guests: Vec<ClientId>,
    drop_answer: Option<oneshot::Receiver<Result<(), DropError>>>,
}

/// One connection, and the key and epochs that later connections with the same label may use.
struct Client {
    label: String,
    session: SessionId,
    /// The client has closed it, so it receives nothing more.
    is_gone: bool,
    inbox: VecDeque<String>,
    key: Option<ClientKey>,
    /// By the name of the room, or `inbox`.
    epochs: HashMap<String, Epoch>,
}

/// The queued requests to the history.
enum Held {
    Append(Entry),
    Read(ReadRequest),
}

/// A command's words and options, as in `says room=dev id=m1 hello all`.
struct Line<'a> {
    words: Vec<&'a str>,
    options: HashMap<&'a str, &'a str>,
}

impl<'a> Line<'a> {
    fn parse(text: &'a str) -> Self {
        let (options, words): (Vec<_>, Vec<_>) = text.split_whitespace().partition(|word| word.contains('='));
        Self { words, options: options.into_iter().filter_map(|option| option.split_once('=')).collect() }
    }

    fn word(&self, place: usize) -> &'a str {
        self.words.get(place).copied().unwrap_or_else(|| panic!("word {place} is missing after {:?}", self.words))
    }

    fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    fn number<T: FromStr>(&self, option: &str) -> Option<T> {
        self.options.get(option).map(|text| text.parse().ok().unwrap_or_else(|| panic!("{option}={text}")))
    }

    fn id(&self) -> Option<MessageId> {
        self.options.get("id").map(|id| MessageId::parse(id).unwrap())
    }
}

fn room(name: &str) -> RoomName {
    RoomName::parse(name).unwrap()
}

impl Chat {
    /// A chat with the default configuration.
    pub(in super::super) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A chat with its configuration changed.
    pub(in super::super) fn with(change: impl FnOnce(&mut ChatConfig)) -> Self {
        let mut config = ChatConfig::default();
        change(&mut config);
        Self {
            history: History::in_memory(config.history_messages, config.history_bytes),
            state: ChatState::new(config, 1),
            now: Now { at: clock::now(), unix_ms: 1_000_000 },
            is_held: false,
            held: VecDeque::new(),
            clients: Vec::new(),
            sessions: 0,
            admitted: Vec::new(),
            guests: Vec::new(),
            drop_answer: None,
        }
    }

    /// An operator drops a room, or with `@` an inbox. The answer, if there is one already.
    pub(in super::super) fn drops(&mut self, key: &str) -> Option<Result<(), DropError>> {
        let (reply, answer) = oneshot::channel();
        self.drop_answer = Some(answer);
        self.apply(Command::DropRoom { key: RoomKey::parse(key).unwrap(), reply });
        self.dropped()
    }

    /// The answer to the operator's last drop, if there is one by now.
    pub(in super::super) fn dropped(&mut self) -> Option<Result<(), DropError>> {
        self.drop_answer.as_mut()?.try_recv().ok()
    }

    /// Opens clients with these names in the lobby, and discards their welcomes.
    pub(in super::super) fn and(mut self, names: &[&str]) -> Self {
        for name in names {
            self.send(name, &format!("opens name={name}"));
            assert_eq!(self.take(name).len(), 1, "{name} is welcome");
        }
        self
    }

    /// Plays a dialogue. At its end no client may have received anything else.
    #[track_caller]
    pub(in super::super) fn check(&mut self, dialogue: &str) {
        for line in dialogue.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match line.find(['<', '>']).map(|at| (&line[..at], &line[at..=at], line[at + 1..].trim())) {
                Some((who, ">", what)) => self.send(who, what),
                Some((who, _, "(nothing)")) => assert_eq!(self.take(who), [""; 0], "{who} was told more\n{dialogue}"),
                Some((who, _, expected)) => {
                    let told = self.client(who).inbox.pop_front();
                    assert_eq!(told.as_deref(), Some(expected), "what {who} is told, in\n{dialogue}");
                }
                None => self.direct(line),
            }
        }
        for client in &mut self.clients {
            let rest = std::mem::take(&mut client.inbox);
            assert_eq!(rest, [""; 0], "{} was told more than\n{dialogue}", client.label);
        }
    }

    /// The lines that a client has received and no test has checked.
    #[track_caller]
    pub(in super::super) fn take(&mut self, who: &str) -> Vec<String> {
        self.client(who).inbox.drain(..).collect()
    }

    fn direct(&mut self, line: &str) {
        let Line { words, .. } = Line::parse(line);
        match words[..] {
            ["wait", time] => self.wait(parse_time(time)),
            ["history", "holds"] => self.is_held = true,
            ["history", "stores"] => {
                self.is_held = false;
                self.store(usize::MAX);
            }
            ["history", "stores", count] => self.store(count.parse().unwrap()),
            ["history", "fails", name] => self.fail(name),
            _ => panic!("no such step: {line}"),
        }
    }

    /// Lets time pass.
    pub(in super::super) fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.apply(Command::Tick { reply: oneshot::channel().0 });
    }

    fn store(&mut self, count: usize) {
        for _ in 0..count {
            let Some(held) = self.held.pop_front() else { return };
            self.finish(held);
        }
    }

    fn fail(&mut self, name: &str) {
        let of_room = match name.strip_prefix('@') {
            Some(owner) => self.state.find_inbox(owner).unwrap(),
            None => self.state.find_room(name).unwrap(),
        };
        let goes_there = |held: &Held| match held {
            Held::Append(entry) => entry.copies.iter().any(|copy| copy.room == of_room),
            Held::Read(_) => false,
        };
        let (failed, held): (Vec<_>, Vec<_>) = self.held.drain(..).partition(goes_there);
        self.held = held.into();
        assert!(!failed.is_empty(), "something waits to be stored in {name}");
        for held in failed {
            let Held::Append(Entry { number, .. }) = held else { panic!("only messages fail") };
            self.apply(Command::Completed(Completion::Refused { number }));
        }
    }

    #[track_caller]
    fn client(&mut self, label: &str) -> &mut Client {
        let client = self.clients.iter_mut().find(|client| client.label == label);
        client.unwrap_or_else(|| panic!("nobody here is {label}"))
    }

    fn client_of(&mut self, session: SessionId) -> Option<&mut Client> {
        self.clients.iter_mut().find(|client| client.session == session)
    }

    /// Does what a client does:
    ///
    /// ```text
    /// opens [room=R] [name=N] [key=LABEL] [person] [token=N [rooms=LIST] [for=SECONDS] | unproven]     goes
    /// says [room=R | to=N] [name=N] [id=I] [read=MS] TEXT   (read so many milliseconds ago)   hello N [key=LABEL]
    /// joins R [after=S epoch=LABEL] [presence]         leaves R
    /// proves N [rooms=LIST] [for=SECONDS]    inbox [after=S epoch=LABEL]    private [with=N] [before=S | after=S]
    /// rooms   members R   history R [before=S | after=S] [limit=L]   ping   nonsense
    /// types                    a person reads from now on
    /// continues R              what was replayed has been written
    /// ```
    ///
    /// `key=LABEL` and `epoch=LABEL` are the latest ones that the client with that label has received.
    #[track_caller]
    pub(in super::super) fn send(&mut self, who: &str, what: &str) {
        let line = Line::parse(what);
        match line.word(0) {
            "opens" => return self.open(who, &line),
            "goes" => {
                let client = self.client(who);
                client.is_gone = true;
                let session = client.session;
                return self.apply(Command::CloseSession { session });
            }
            "types" => {
                let session = self.client(who).session;
                return self.apply(Command::WatchPresence { session, wanted: true });
            }
            "continues" => {
                let room = self.state.find_room(line.word(1)).unwrap();
                let session = self.client(who).session;
                return self.apply(Command::ContinueReplay { session, room });
            }
            _ => {}
        }
        let request = self.request(&line);
        let session = self.client(who).session;
        let read_before = Duration::from_millis(line.number("read").unwrap_or(0));
        let ticket = Some(Ticket::without_credit(self.now.at.checked_sub(read_before).unwrap()));
        self.apply(Command::Ask { frame: Frame { session, id: line.id(), ticket }, request });
    }

    fn open(&mut self, label: &str, line: &Line<'_>) {
        let session = SessionId::new(HubId(u8::try_from(self.sessions % HUBS).unwrap()), self.sessions, 7);
        self.sessions += 1;
        let key = self.key(line);
        match self.clients.iter_mut().find(|client| client.label == label) {
            Some(client) => (client.session, client.is_gone) = (session, false),
            None => self.clients.push(Client {
                label: label.into(),
                session,
                is_gone: false,
                inbox: VecDeque::new(),
                key: None,
                epochs: HashMap::new(),
            }),
        }
        let identity = if line.has("unproven") {
            Identity::Unproven
        } else {
            self.claims(line, line.options.get("token").copied()).map_or(Identity::Open, Identity::Proven)
        };
        let open = OpenSession {
            session,
            identity,
            client_id: line.options.get("name").map(|name| self.name(name)),
            key,
            room: room(line.options.get("room").unwrap_or(&"lobby")),
            fresh_key: ClientKey(0xf0 + u128::from(self.sessions)),
            watch_presence: line.has("person"),
        };
        let (reply, mut answer) = oneshot::channel();
        self.apply(Command::OpenSession { open, reply });
        if let Err(refusal) = answer.try_recv().unwrap() {
            let shown = match refusal {
                OpenRefusal::NameTaken(_) => "name_taken",
                OpenRefusal::NameReserved => "name_reserved",
                OpenRefusal::TooManyRooms => "too_many_rooms",
                OpenRefusal::TokenOfAnother(_) => "token_of_another",
                OpenRefusal::TokenExpired => "token_expired",
                OpenRefusal::RoomClosed(_) => "room_closed",
                OpenRefusal::Unavailable => "unavailable",
            };
            self.put(session, format!("refused {shown}"));
        }
    }

    fn request(&mut self, line: &Line<'_>) -> Request {
        let client_id = line.options.get("name").map(|name| self.name(name));
        let key = self.key(line);
        if line.word(0) == "nonsense" {
            return Request::Refused(Refusal::new(ErrorCode::BadJson, "nonsense"));
        }
        if line.word(0) == "proves" {
            let claims = self.claims(line, Some(line.word(1))).expect("it has a name");
            return Request::Proven { claims, client_id, key };
        }
        Request::Command(match line.word(0) {
            "says" => ClientCommand::Message(PostMessage {
                text: line.words[1..].join(" ").into(),
                target: match (line.options.get("room"), line.options.get("to")) {
                    (Some(name), _) => Target::Room(room(name)),
                    (None, Some(to)) => Target::Client(self.name(to)),
                    (None, None) => Target::FirstRoom,
                },
                client_id,
            }),
            "hello" => {
                let key = key.map(|key| key.to_string().into());
                ClientCommand::Hello { client_id: Some(self.name(line.word(1))), key, token: None }
            }
            "inbox" => ClientCommand::JoinInbox { resume: self.resume(line, "inbox") },
            "joins" => {
                let room = room(line.word(1));
                let resume = self.resume(line, line.word(1));
                ClientCommand::Join { room, resume, presence: line.has("presence") }
            }
            "leaves" => ClientCommand::Leave { room: room(line.word(1)) },
            "rooms" => ClientCommand::Rooms,
            "members" => ClientCommand::Members { room: room(line.word(1)) },
            "history" | "private" => {
                let page = match (line.number("before"), line.number("after")) {
                    (Some(before), _) => HistoryPage::Before(Seq(before)),
                    (None, Some(after)) => HistoryPage::After(Seq(after)),
                    (None, None) => HistoryPage::Newest,
                };
                let limit = line.number("limit").unwrap_or(50);
                if line.word(0) == "private" {
                    let with = line.options.get("with").map(|name| self.name(name));
                    ClientCommand::InboxHistory { with, page, limit }
                } else {
                    ClientCommand::History { room: room(line.word(1)), page, limit }
                }
            }
            "ping" => ClientCommand::Ping,
            other => panic!("no such command: {other}"),
        })
    }

    fn key(&self, line: &Line<'_>) -> Option<ClientKey> {
        let label = line.options.get("key")?;
        let of = self.clients.iter().find(|client| client.label == *label);
        Some(of.and_then(|client| client.key).unwrap_or(ClientKey(0)))
    }

    /// What a token says: `token=NAME [rooms=LIST] [for=SECONDS]`.
    fn claims(&self, line: &Line<'_>, name: Option<&str>) -> Option<Arc<Claims>> {
        let rooms = line.options.get("rooms").map_or(RoomGlobs::ALL, |rooms| RoomGlobs::new(rooms.split(',')));
        let seconds: u64 = line.number("for").unwrap_or(3_600);
        let (client_id, expires_at) = (self.name(name?), self.now.unix_ms + 1_000 * seconds);
        Some(Arc::new(Claims { client_id, rooms, is_admin: false, expires_at }))
    }

    fn resume(&self, line: &Line<'_>, place: &str) -> Option<Resume> {
        let after = line.number("after")?;
        let of = self.clients.iter().find(|client| client.label == line.options["epoch"]);
        let epoch = of.and_then(|client| client.epochs.get(place).copied());
        Some(Resume { after: Seq(after), epoch, at: line.number("at") })
    }

    /// The name that a dialogue means.
    fn name(&self, text: &str) -> ClientId {
        let guest = text.strip_prefix("guest-").and_then(|number| number.parse::<usize>().ok());
        let guest = guest.and_then(|number| self.guests.get(number.wrapping_sub(1)));
        guest.cloned().unwrap_or_else(|| ClientId::parse(text).unwrap())
    }

    /// The name as a dialogue shows it.
    fn shown(&mut self, name: &ClientId) -> String {
        if !name.is_guest() {
            return name.to_string();
        }
        let known = self.guests.iter().position(|guest| guest == name).unwrap_or_else(|| {
            self.guests.push(name.clone());
            self.guests.len() - 1
        });
        format!("guest-{}", known + 1)
    }

    fn shown_all(&mut self, names: &[ClientId], before_each: &str) -> String {
        names.iter().fold(String::new(), |list, name| list + before_each + &self.shown(name))
    }

    fn apply(&mut self, command: Command) {
        let mut turn = Turn::new(self.now);
        self.state.apply(command, &mut turn);
        // Checked only in small chats, because it is slow with many sessions.
        if self.state.session_count() < 100 && self.state.room_count() < 100 {
            self.state.check();
        }
        let finished: Vec<Held> = turn.effects.into_iter().filter_map(|effect| self.perform(effect)).collect();
        for held in finished {
            self.finish(held);
        }
    }

    fn finish(&mut self, held: Held) {
        let mut done = Vec::new();
        match held {
            Held::Append(entry) => self.history.append(entry, &mut done),
            Held::Read(request) => self.history.read(request, &mut done),
        }
        self.complete(done);
    }

    fn complete(&mut self, done: Vec<Completion>) {
        for completion in done {
            self.apply(Command::Completed(completion));
        }
    }

    /// Does the actor's part: performs the effects, and returns the requests for the history.
    fn perform(&mut self, effect: Effect) -> Option<Held> {
        match effect {
            Effect::To { session, command } => self.perform_for(session, command),
            Effect::TellMany { sessions, event } => {
                for session in sessions {
                    self.tell(session, &event);
                }
            }
            Effect::Deliver { room, hubs, message, ticket: _ } => {
                let members: Vec<_> = self.admitted.iter().filter(|(_, of)| *of == room).map(|(who, _)| *who).collect();
                for session in members {
                    assert!(hubs.contains(session.hub()), "the hub of {session:?} gets the message");
                    self.tell(session, &ServerEvent::Message(message.to_wire()));
                }
            }
            Effect::DeliverPrivate { sessions, message, ticket: _ } => {
                for session in sessions {
                    self.tell(session, &ServerEvent::Message((*message).clone()));
                }
            }
            Effect::Delivered { .. } => {}
            Effect::Append(entry) => return self.when_not_held(Held::Append(entry)),
            Effect::Read(request) => return self.when_not_held(Held::Read(request)),
            Effect::Forget { room, receipt } => {
                let mut done = Vec::new();
                self.history.forget(room, receipt, &mut done);
                self.complete(done);
            }
            Effect::Answer(answer) => answer.send(),
            Effect::Drain { .. } => panic!("nobody drains the chat"),
            Effect::Node(effect) => panic!("there are no other nodes: {effect:?}"),
        }
        None
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
                assert!(messages.is_empty() || !is_admitted, "a session that catches up gets nothing live");
                for message in messages {
                    self.tell(session, &ServerEvent::Message(message.to_wire()));
                }
                if more {
                    self.put(session, "(more)".into());
                }
            }
            ToSession::Close { code, .. } => {
                assert!(!self.admitted.iter().any(|(who, _)| *who == session), "a closed session is in no room");
                self.put(session, format!("closed {}", code.as_u16()));
            }
        }
    }

    fn when_not_held(&mut self, work: Held) -> Option<Held> {
        if !self.is_held {
            return Some(work);
        }
        self.held.push_back(work);
        None
    }

    fn put(&mut self, session: SessionId, line: String) {
        if let Some(client) = self.client_of(session).filter(|client| !client.is_gone) {
            client.inbox.push_back(line);
        }
    }

    fn tell(&mut self, session: SessionId, event: &ServerEvent<'_>) {
        let line = match event {
            ServerEvent::Welcome(welcome) => {
                if let Some(client) = self.client_of(session) {
                    client.key = Some(welcome.key);
                    let first = welcome.first_room.as_ref();
                    client.epochs.extend(first.map(|first| (first.room.to_string(), first.epoch)));
                    client.epochs.extend(welcome.inbox.map(|inbox| ("inbox".into(), inbox.epoch)));
                }
                let name = self.shown(&welcome.client_id);
                let inbox = welcome.inbox.map_or_else(String::new, |inbox| format!(" inbox #{}", inbox.seq));
                let place = welcome.first_room.as_ref();
                let place = place.map_or_else(|| "nowhere".into(), |first| format!("{} #{}", first.room, first.seq));
                format!("welcome {name} {place}{inbox}{}", shown_id(welcome.id.as_ref()))
            }
            ServerEvent::Message(message) => {
                let sender = self.shown(&message.client_id);
                let mut line = match (&message.room, message.seq, &message.to) {
                    (Some(room), Some(seq), None) => format!("{room}#{seq} {sender}: {}", message.text),
                    (None, None, Some(to)) => format!("{sender}@{}: {}", self.shown(to), message.text),
                    (None, Some(seq), Some(to)) => format!("inbox#{seq} {sender}@{to}: {}", message.text),
                    _ => panic!("neither of a room nor private: {message:?}"),
                };
                line.push_str(&shown_id(message.id.as_ref()));
                line
            }
            ServerEvent::Ack(ack) => {
                let mut line = match (&ack.room, ack.seq, &ack.to) {
                    (Some(room), Some(seq), None) => format!("ack {} {room}#{seq}", ack.id.as_str()),
                    (None, None, Some(to)) => format!("ack {} @{}", ack.id.as_str(), self.shown(to)),
                    _ => panic!("neither of a room nor private: {ack:?}"),
                };
                line.push_str(if ack.duplicate { " duplicate" } else { "" });
                line
            }
            ServerEvent::Joined(joined) => {
                let place = joined.room.as_ref().map_or_else(|| "inbox".into(), RoomName::to_string);
                assert_eq!(joined.inbox, joined.room.is_none());
                if let Some(client) = self.client_of(session) {
                    client.epochs.insert(place.clone(), joined.epoch);
                }
                let recovered = joined.recovered.map_or("", |all| if all { " recovered" } else { " gap" });
                let id = shown_id(joined.id.as_ref());
                format!("joined {place} #{} count {}{recovered}{id}", joined.seq, joined.count)
            }
            ServerEvent::Left { id, room } => format!("left {room}{}", shown_id(id.as_ref())),
            ServerEvent::Presence(presence) => {
                let (joined, left) = (self.shown_all(&presence.joined, " +"), self.shown_all(&presence.left, " -"));
                format!("presence {}{joined}{left} count {}", presence.room, presence.count)
            }
            ServerEvent::Members(members) => {
                let names = self.shown_all(&members.client_ids, " ");
                let more = if members.truncated { " …" } else { "" };
                let id = shown_id(members.id.as_ref());
                format!("members {} count {}:{names}{more}{id}", members.room, members.count)
            }
            ServerEvent::Rooms { id, rooms, truncated } => {
                let mut line = String::from("rooms");
                for room in rooms {
                    write!(line, " {}:{}#{}", room.room, room.count, room.seq).unwrap();
                }
                line.push_str(if *truncated { " …" } else { "" });
                line + &shown_id(id.as_ref())
            }
            ServerEvent::Pong { id, .. } => format!("pong{}", shown_id(id.as_ref())),
            ServerEvent::Error(refusal) => format!("error {}{}", refusal.code.as_str(), shown_id(refusal.id.as_ref())),
            ServerEvent::History(history) => {
                let of = match (&history.room, &history.to) {
                    (Some(room), _) => room.to_string(),
                    (None, None) => "inbox".into(),
                    (None, Some(with)) => format!("with {with}"),
                };
                let seqs = history.messages.iter().filter_map(|message| message.seq);
                let seqs = seqs.fold(String::new(), |list, seq| format!("{list} {seq}"));
                let more = if history.has_more { " …" } else { "" };
                format!("history {of}{seqs}{more}{}", shown_id(history.id.as_ref()))
            }
            ServerEvent::Closing { .. } => panic!("the state machine does not tell {event:?}"),
        };
        self.put(session, line);
    }

    /// Asks from outside the chat for a room's history.
    pub(in super::super) fn read_from_outside(&mut self, name: &str) -> Vec<u64> {
        let (reply, mut answer) = oneshot::channel();
        let (page, bytes) = (HistoryPage::Newest, usize::MAX);
        let query = HistoryQuery { room: room(name), page, search: None, limit: 200, bytes };
        self.apply(Command::ReadRoom { query, reply });
        answer.try_recv().unwrap().unwrap().messages.iter().map(|message| message.seq.0).collect()
    }

    /// Asks from outside the chat for the list of rooms.
    pub(in super::super) fn list_rooms(&mut self, allowed: RoomGlobs) -> (Vec<RoomSummary>, bool) {
        let (reply, mut answer) = oneshot::channel();
        self.apply(Command::ListRooms { allowed, reply });
        answer.try_recv().unwrap()
    }
}

fn shown_id(id: Option<&MessageId>) -> String {
    id.map_or_else(String::new, |id| format!(" id={}", id.as_str()))
}

fn parse_time(text: &str) -> Duration {
    let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap();
    let number = text[..unit].parse().unwrap();
    match &text[unit..] {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(60 * number),
        other => panic!("no such unit: {other}"),
    }
}
