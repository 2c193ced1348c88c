//! A chat for dialogues: steps of a test become commands of [`ChatState`], and its effects become short lines per
//! client.

mod line;
mod steps;
mod told;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use starling_protocol::{ClientId, ClientKey, Epoch, HistoryPage, RoomSummary, ServerEvent};
use tokio::sync::oneshot;

use self::line::{Line, room};

use super::super::ChatState;
use crate::chat_server::command::{Command, Decided, DropError, HistoryQuery, Named, Numbered};
use crate::chat_server::effect::{Effect, Turn};
use crate::clock::{self, Now};
use crate::config::ChatConfig;
use crate::history::{Completion, Entry, History, Page, ReadError, ReadRequest, RoomKey};
use crate::hub::{Replay, ToSession};
use crate::identity::Caller;
use crate::ids::{RoomId, SessionId};
use crate::moderation::{Act, Decision, Measure, Subject, Target};
use crate::room_settings::SettingsChange;

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
/// operator mute bob dev 60         an operator decides, see [`decide`](Self::decide)
/// history holds                    the history queues all requests from now on
/// history stores 2                 it carries out the next two; without a number all, and queues no more
/// history reads                    it carries out the queued reads, and the answers wait in their place
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
    /// A read that is done; its answer waits.
    Answer(Completion),
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
            assert_eq!(self.take(name).len(), 1, "{name} gets a welcome");
        }
        self
    }

    /// Plays a dialogue. At its end no client may have received anything else.
    #[track_caller]
    pub(in super::super) fn check(&mut self, dialogue: &str) {
        for line in dialogue.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match line.find(['<', '>']).map(|at| (&line[..at], &line[at..=at], line[at + 1..].trim())) {
                Some((who, ">", what)) => self.send(who, what),
                Some((who, _, "(nothing)")) => assert_eq!(self.take(who), [""; 0], "{who} received more\n{dialogue}"),
                Some((who, _, expected)) => {
                    let told = self.client(who).inbox.pop_front();
                    assert_eq!(told.as_deref(), Some(expected), "received by {who}, in\n{dialogue}");
                }
                None => self.direct(line),
            }
        }
        for client in &mut self.clients {
            let rest = std::mem::take(&mut client.inbox);
            assert_eq!(rest, [""; 0], "{} received more than\n{dialogue}", client.label);
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
            ["operator", ref decision @ ..] => self.decide(decision),
            ["history", "holds"] => self.is_held = true,
            ["history", "stores"] => {
                self.is_held = false;
                self.store(usize::MAX);
            }
            ["history", "stores", count] => self.store(count.parse().unwrap()),
            ["history", "reads"] => self.read(),
            ["history", "fails", name] => self.fail(name),
            _ => panic!("no such step: {line}"),
        }
    }

    /// Lets time pass.
    pub(in super::super) fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.apply(Command::Tick { reply: oneshot::channel().0 });
    }

    /// `mute bob`, `ban 192.0.2.1 dev 60` (for 60 seconds), `unmute bob dev`, `slow dev 5`, `set dev JSON`,
    /// `invite dev bob`.
    fn decide(&mut self, words: &[&str]) {
        let [verb, rest @ ..] = words else { panic!("no decision") };
        let (rest, seconds) = match rest {
            [rest @ .., last] if last.parse::<u64>().is_ok() => (rest, last.parse().ok()),
            _ => (rest, None),
        };
        let target = |measure| Target {
            subject: rest[0]
                .parse()
                .map_or_else(|_| Subject::Client(ClientId::parse(rest[0]).unwrap()), Subject::Address),
            room: rest.get(1).map(|name| room(name)),
            measure,
        };
        let act = match *verb {
            "mute" => Act::Impose { target: target(Measure::Mute), seconds },
            "ban" => Act::Impose { target: target(Measure::Ban), seconds },
            "unmute" => Act::Lift(target(Measure::Mute)),
            "unban" => Act::Lift(target(Measure::Ban)),
            "slow" => {
                let change = SettingsChange::slow(u32::try_from(seconds.unwrap()).unwrap());
                Act::Set { room: room(rest[0]), change }
            }
            "invite" => Act::Invite { room: room(rest[0]), client_id: ClientId::parse(rest[1]).unwrap() },
            "uninvite" => Act::Uninvite { room: room(rest[0]), client_id: ClientId::parse(rest[1]).unwrap() },
            "set" => Act::Set { room: room(rest[0]), change: serde_json::from_str(&rest[1..].join(" ")).unwrap() },
            other => panic!("no such decision: {other}"),
        };
        let (reply, mut answer) = oneshot::channel();
        let decision = Decision { by: "root".into(), act, reason: "spam".into() };
        self.apply(Command::Decide { decision, reply });
        let decided = answer.try_recv().map(|outcome| outcome.map(|Decided { at, .. }| at));
        assert_eq!(decided, Ok(Ok(self.now.unix_ms)), "{words:?}");
    }

    fn store(&mut self, count: usize) {
        for _ in 0..count {
            let Some(held) = self.held.pop_front() else { return };
            self.finish(held);
        }
    }

    fn read(&mut self) {
        let held = std::mem::take(&mut self.held).into_iter().map(|held| match held {
            Held::Read(request) => {
                let mut done = Vec::new();
                self.history.read(request, &mut done);
                Held::Answer(done.pop().expect("a history in memory answers at once"))
            }
            held @ (Held::Append(_) | Held::Answer(_)) => held,
        });
        self.held = held.collect();
    }

    fn fail(&mut self, name: &str) {
        let of_room = match name.strip_prefix('@') {
            Some(owner) => self.state.find_inbox(owner).unwrap(),
            None => self.state.find_room(name).unwrap(),
        };
        let goes_there = |held: &Held| match held {
            Held::Append(entry) => entry.copies.iter().any(|copy| copy.room == of_room),
            Held::Read(_) | Held::Answer(_) => false,
        };
        let (failed, held): (Vec<_>, Vec<_>) = self.held.drain(..).partition(goes_there);
        self.held = held.into();
        assert!(!failed.is_empty(), "no message waits to be stored in {name}");
        for held in failed {
            let Held::Append(Entry { number, .. }) = held else { panic!("only messages can fail") };
            self.complete(vec![Completion::Refused { number }]);
        }
    }

    #[track_caller]
    fn client(&mut self, label: &str) -> &mut Client {
        let client = self.clients.iter_mut().find(|client| client.label == label);
        client.unwrap_or_else(|| panic!("no client {label}"))
    }

    fn client_of(&mut self, session: SessionId) -> Option<&mut Client> {
        self.clients.iter_mut().find(|client| client.session == session)
    }

    fn apply(&mut self, command: Command) {
        self.turn(|state, turn| state.apply(command, turn));
    }

    fn turn(&mut self, act: impl FnOnce(&mut ChatState, &mut Turn)) {
        let mut turn = Turn::new(self.now);
        act(&mut self.state, &mut turn);
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
            Held::Answer(answer) => done.push(answer),
        }
        self.complete(done);
    }

    fn complete(&mut self, done: Vec<Completion>) {
        for completion in done {
            self.turn(|state, turn| state.complete(completion, turn));
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
                    self.tell(session, &message.to_event());
                }
            }
            Effect::DeliverPrivate { sessions, message, ticket: _ } => {
                for session in sessions {
                    self.tell(session, &ServerEvent::Message((*message).clone()));
                }
            }
            Effect::NoteSent { .. } | Effect::NoteRead { .. } | Effect::Decided(_) | Effect::CountRefusal(_) => {}
            Effect::Limit { room, limits } => self.history.limit(room, limits),
            Effect::DropExcess => {
                let mut done = Vec::new();
                self.history.drop_excess(self.now, &mut done);
                self.complete(done);
            }
            Effect::KeepModeration { rows, receipt } => {
                let mut done = Vec::new();
                self.history.keep_moderation(rows, receipt, &mut done);
                self.complete(done);
            }
            Effect::Append(entry) => return self.when_not_held(Held::Append(entry)),
            Effect::Read(request) => return self.when_not_held(Held::Read(request)),
            Effect::Forget { room, receipt } => {
                let mut done = Vec::new();
                self.history.forget(room, receipt, &mut done);
                self.complete(done);
            }
            Effect::Answer(answer) => answer.send(),
            Effect::Drain { .. } => panic!("no test drains the chat"),
            Effect::Node(effect) => panic!("there are no other nodes: {effect:?}"),
        }
        None
    }

    fn perform_for(&mut self, session: SessionId, command: ToSession) {
        match command {
            ToSession::Tell { event, .. } => self.tell(session, &event),
            ToSession::Admit { room } => {
                assert!(!self.admitted.contains(&(session, room)), "{session:?} is admitted twice");
                self.admitted.push((session, room));
            }
            ToSession::Dismiss { room } => self.admitted.retain(|entry| *entry != (session, room)),
            ToSession::Replay(Replay { room, messages, more, ticket: _ }) => {
                let is_admitted = self.admitted.contains(&(session, room));
                assert!(messages.is_empty() || !is_admitted, "a session that catches up gets nothing live");
                for message in messages {
                    self.tell(session, &message.to_event());
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

    /// Asks from outside the chat for a room's history.
    pub(in super::super) fn read_from_outside(&mut self, name: &str) -> Vec<u64> {
        let page = self.read_as(Caller::Anyone, name).unwrap();
        page.messages.iter().map(|message| message.seq.0).collect()
    }

    /// Asks from outside the chat for a room's history, with the rights of this caller.
    pub(in super::super) fn read_as(&mut self, caller: Caller, name: &str) -> Result<Page, ReadError> {
        let (reply, mut answer) = oneshot::channel();
        let (page, bytes) = (HistoryPage::Newest, usize::MAX);
        let query =
            HistoryQuery { caller, room: room(name), page, search: None, with_changes: false, limit: 200, bytes };
        self.apply(Command::ReadRoom { query, reply });
        answer.try_recv().unwrap()
    }

    /// Asks from outside the chat for the names of these clients' sessions and of these rooms; `-` for one without.
    pub(in super::super) fn names(&mut self, clients: &[&str], rooms: &[RoomId]) -> (Vec<String>, Vec<String>) {
        let sessions = clients.iter().map(|label| self.client(label).session).collect();
        let (reply, mut answer) = oneshot::channel();
        self.apply(Command::Name { numbers: Numbered { sessions, rooms: rooms.to_vec() }, reply });
        let Named { sessions, rooms } = answer.try_recv().unwrap();
        let none = || "-".to_owned();
        (
            sessions.into_iter().map(|name| name.map_or_else(none, |name| name.to_string())).collect(),
            rooms.into_iter().map(|name| name.map_or_else(none, |name| name.to_string())).collect(),
        )
    }

    /// Asks from outside the chat for the list of rooms.
    pub(in super::super) fn list_rooms(&mut self, caller: Caller) -> (Vec<RoomSummary>, bool) {
        let (reply, mut answer) = oneshot::channel();
        self.apply(Command::ListRooms { caller, reply });
        answer.try_recv().unwrap()
    }
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
