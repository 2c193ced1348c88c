//! The nodes, the log and the network between them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use starling_protocol::{
    ClientCommand, ClientId, ClientKey, HistoryPage, MessageId, PostMessage, Resume, RoomName, ServerEvent, Target,
};
use tokio::sync::oneshot;

use super::client::{Client, Reached};
use crate::chat_server::command::{Command, Frame, HistoryQuery, OpenRefusal, OpenSession, Request};
use crate::chat_server::effect::{Effect, NodeEffect, Turn};
use crate::chat_server::state::ChatState;
use crate::clock::{self, Now, Numbers};
use crate::config::ChatConfig;
use crate::credits::Ticket;
use crate::history::{History, Restored, RoomKey, StoredMessage};
use crate::hub::{Replay, ToSession};
use crate::identity::{Claims, Identity, RoomGlobs};
use crate::ids::{HubId, RoomId, SessionId};
use crate::nodes::heard::Heard;
use crate::nodes::record::{Incarnation, LogPosition, Record, RecordId};

const NODES: usize = 3;
const CLIENTS: usize = 6;
const ROOMS: [&str; 3] = ["lobby", "dev", "ops"];

/// A checkpoint: the record behind which it stands, and its bytes.
type Stored = (u64, Bytes);

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any may be true with any other")]
struct Node {
    state: ChatState,
    history: History,
    life: Incarnation,
    /// Records on their way into the log.
    outgoing: VecDeque<Bytes>,
    /// What other nodes tell it beside the log.
    told: VecDeque<Heard>,
    read: u64,
    is_cut: bool,
    is_paused: bool,
    /// Whether a record of it was lost, and it was not told yet.
    has_lost: bool,
    admitted: Vec<(SessionId, RoomId)>,
    answers: Vec<(SessionId, oneshot::Receiver<Result<(), OpenRefusal>>)>,
    /// The newest record when it started: once it has read that, it lets clients in.
    ready_at: u64,
    is_ready: bool,
    /// Offset of its clock, in milliseconds.
    clock: i64,
}

pub(super) struct World {
    random: Numbers,
    now: Now,
    log: Vec<(u64, Bytes)>,
    nodes: Vec<Node>,
    clients: Vec<Client>,
    sessions: u32,
    lives: u64,
    /// Whether names are authenticated, and private messages are kept.
    is_authenticated: bool,
    checkpoints: Vec<Stored>,
    /// The digest behind each record, as the first node that has read it had it.
    agreed: BTreeMap<LogPosition, u64>,
}

fn room(name: &str) -> RoomName {
    RoomName::parse(name).unwrap()
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut world = Self {
            random: Numbers::new(seed),
            now: Now { at: clock::now(), unix_ms: 1_000_000_000 },
            log: Vec::new(),
            nodes: Vec::new(),
            clients: (0..CLIENTS).map(Client::new).collect(),
            sessions: 0,
            lives: 0,
            is_authenticated: seed.is_multiple_of(2),
            checkpoints: Vec::new(),
            agreed: BTreeMap::new(),
        };
        for _ in 0..NODES {
            let node = world.new_node(false);
            world.nodes.push(node);
        }
        world
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random.draw() % bound as u64).unwrap()
    }

    /// A node with an empty folder. It begins with the first record, or from a checkpoint.
    fn new_node(&mut self, from_checkpoint: bool) -> Node {
        self.lives += 1;
        let config = ChatConfig {
            empty_room_kept: Duration::from_secs(20),
            private_is_kept: self.is_authenticated,
            ids_max: 128,
            ..ChatConfig::default()
        };
        let history = History::in_memory(config.history_messages, config.history_bytes);
        let mut state = ChatState::new(config, self.lives * 7_919);
        let life = state.become_node(&format!("node{}", self.lives), Duration::from_secs(5), 42);
        let clock = i64::try_from(self.below(4_000)).unwrap() - 2_000;
        let checkpoint = self.checkpoints.last().cloned().filter(|_| from_checkpoint);
        let bytes = checkpoint.as_ref().map(|(_, bytes)| bytes.as_ref());
        state.begin_from(bytes, Restored::default(), LogPosition(0), self.now).unwrap();
        Node {
            state,
            history,
            life,
            outgoing: VecDeque::new(),
            told: VecDeque::new(),
            read: checkpoint.map_or(0, |(at, _)| at),
            is_cut: false,
            is_paused: false,
            has_lost: false,
            admitted: Vec::new(),
            answers: Vec::new(),
            clock,
            ready_at: self.log.len() as u64,
            is_ready: false,
        }
    }

    /// One thing happens.
    pub(super) fn step(&mut self) {
        let (node, client) = (self.below(NODES), self.below(CLIENTS));
        match self.below(1_000) {
            0..=219 => self.append(node),
            220..=519 => self.read(node),
            520..=559 => self.hear(node),
            560..=659 => self.connect(client, node),
            660..=799 => self.say(client),
            820..=869 => self.join_or_leave(client),
            870..=889 => self.hang_up(client),
            890..=939 => self.pass_time(),
            940..=954 => self.lose(node),
            955..=962 => self.repeat(node),
            963..=970 => self.nodes[node].is_cut ^= true,
            971..=978 => self.nodes[node].is_paused ^= true,
            979..=984 => self.kill(node),
            990..=991 => self.operate(node, client),
            992 => self.apply_checkpoint(node),
            _ => self.whisper(client),
        }
    }

    // ---- the network

    /// The next record of a node reaches the log.
    fn append(&mut self, node: usize) {
        if self.nodes[node].is_cut {
            return;
        }
        if std::mem::take(&mut self.nodes[node].has_lost) {
            self.nodes[node].outgoing.clear();
            return self.apply(node, Command::Heard(Heard::Lost));
        }
        if let Some(record) = self.nodes[node].outgoing.pop_front() {
            let at = self.now.unix_ms;
            self.log.push((at, record));
        }
    }

    /// A record of a node is lost on the way, and those behind it may arrive.
    fn lose(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        if node.outgoing.pop_front().is_some() {
            node.has_lost = true;
        }
    }

    /// A record of a node arrives, and its node believes that it may not have.
    fn repeat(&mut self, node: usize) {
        if !self.nodes[node].is_cut {
            self.append(node);
            self.nodes[node].has_lost = true;
        }
    }

    /// A node reads the next record.
    fn read(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        if it.is_cut || it.is_paused {
            return;
        }
        let Some((at, bytes)) = self.log.get(usize::try_from(it.read).unwrap()) else { return };
        it.read += 1;
        let id = RecordId { position: LogPosition(it.read), nanos: *at * 1_000_000 };
        let record = Record::read(bytes).unwrap();
        self.apply(node, Command::Heard(Heard::Record { id, record }));
        let (reached, digest) = self.nodes[node].state.agreed();
        let first = *self.agreed.entry(reached).or_insert(digest);
        let it = &mut self.nodes[node];
        if !it.is_ready && it.read >= it.ready_at {
            it.is_ready = true;
            self.apply(node, Command::Heard(Heard::Reachable(true)));
        }
        assert_eq!(first, digest, "all nodes make the same of the log up to {reached:?}");
    }

    fn hear(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        if it.is_cut || it.is_paused {
            return;
        }
        if let Some(heard) = it.told.pop_front() {
            self.apply(node, Command::Heard(heard));
        }
    }

    /// A node dies, and another one begins with an empty folder.
    fn kill(&mut self, node: usize) {
        if self.below(2) == 0 && !self.nodes[node].is_cut {
            // It ends in order.
            self.apply(node, Command::LeaveOthers { reply: oneshot::channel().0 });
            while !self.nodes[node].outgoing.is_empty() {
                self.append(node);
            }
        }
        let from_checkpoint = self.below(2) == 0;
        self.nodes[node] = self.new_node(from_checkpoint);
        for client in self.clients.iter_mut().filter(|client| client.at.is_some_and(|(at, _)| at == node)) {
            client.lost_connection();
        }
    }

    fn pass_time(&mut self) {
        let ms = [10, 250, 1_000, 3_000][self.below(4)];
        self.now = self.now.after(Duration::from_millis(ms));
        for node in 0..NODES {
            if !self.nodes[node].is_paused && !self.nodes[node].is_cut {
                let life = self.nodes[node].life;
                for other in 0..NODES {
                    self.nodes[other].told.push_back(Heard::Alive(life));
                }
            }
        }
        for node in 0..NODES {
            if !self.nodes[node].is_paused {
                let it = &self.nodes[node];
                let is_reachable = !it.is_cut && it.is_ready;
                self.apply(node, Command::Heard(Heard::Reachable(is_reachable)));
                self.apply(node, Command::Tick { reply: oneshot::channel().0 });
            }
        }
    }

    // ---- clients

    fn connect(&mut self, client: usize, node: usize) {
        if self.clients[client].at.is_some() || self.nodes[node].is_paused {
            return;
        }
        self.sessions += 1;
        let session = SessionId::new(HubId(0), self.sessions, 1);
        let (reply, answer) = oneshot::channel();
        let claims = Arc::new(Claims {
            client_id: self.clients[client].name.clone(),
            rooms: RoomGlobs::ALL,
            is_admin: false,
            expires_at: u64::MAX,
        });
        let it = &mut self.clients[client];
        it.at = Some((node, session));
        let open = OpenSession {
            session,
            identity: if self.is_authenticated { Identity::Proven(claims) } else { Identity::Open },
            client_id: Some(it.name.clone()),
            key: it.key,
            room: room(ROOMS[0]),
            fresh_key: ClientKey(u128::from(self.sessions) << 8),
            watch_presence: false,
        };
        self.nodes[node].answers.push((session, answer));
        self.apply(node, Command::OpenSession { open, reply });
    }

    /// A handshake is answered.
    fn take_answers(&mut self, node: usize) {
        for (session, mut answer) in std::mem::take(&mut self.nodes[node].answers) {
            let answered = match answer.try_recv() {
                Ok(answered) => answered,
                // The node has begun another life, and knows nothing of those who waited.
                Err(oneshot::error::TryRecvError::Closed) => Err(OpenRefusal::Unavailable),
                Err(oneshot::error::TryRecvError::Empty) => {
                    self.nodes[node].answers.push((session, answer));
                    continue;
                }
            };
            let Some(client) = self.client_of(node, session) else { continue };
            match answered {
                Ok(()) => self.is_in(client),
                Err(_) => self.clients[client].lost_connection(),
            }
        }
    }

    /// A client that was let in resumes in its rooms, and sends again what was not acknowledged.
    fn is_in(&mut self, client: usize) {
        let it = &self.clients[client];
        if !it.is_welcomed {
            return;
        }
        let rooms: Vec<_> = it.rooms.iter().map(|(room, reached)| (room.clone(), *reached)).collect();
        let (pending, whispers) = (it.pending.clone(), it.whispers.clone());
        self.clients[client].resuming = rooms.iter().map(|(room, _)| room.clone()).collect();
        if !rooms.iter().any(|(name, _)| name.as_str() == ROOMS[0]) {
            self.join(client, &room(ROOMS[0]), None);
        }
        for (room, reached) in rooms {
            self.join(client, &room, Some(reached));
        }
        for (id, room, text) in pending {
            let message = PostMessage { text: text.into(), target: Target::Room(room), client_id: None };
            self.ask(client, Some(id), ClientCommand::Message(message));
        }
        for whisper in whispers {
            self.ask_to_whisper(client, whisper, true);
        }
    }

    fn join(&mut self, client: usize, room: &RoomName, from: Option<Reached>) {
        let resume = from.map(|Reached { epoch, seq }| Resume { after: seq, epoch: Some(epoch), at: None });
        self.ask(client, None, ClientCommand::Join { room: room.clone(), resume, presence: false });
    }

    fn ask(&mut self, client: usize, id: Option<starling_protocol::MessageId>, command: ClientCommand<'static>) {
        let Some((node, session)) = self.clients[client].at else { return };
        let ticket = Some(Ticket::without_credit(self.now.at));
        let frame = Frame { session, id, ticket };
        self.apply(node, Command::Ask { frame, request: Request::Command(command) });
    }

    fn talks(&self, client: usize) -> bool {
        let it = &self.clients[client];
        it.is_welcomed && it.at.is_some_and(|(node, _)| !self.nodes[node].is_paused)
    }

    fn say(&mut self, client: usize) {
        if !self.talks(client) || self.clients[client].pending.len() > 5 {
            return;
        }
        let rooms: Vec<_> = self.clients[client].rooms.keys().cloned().collect();
        if rooms.is_empty() {
            return;
        }
        let room = rooms[self.below(rooms.len())].clone();
        let (id, room, text) = self.clients[client].writes(&room);
        let message = PostMessage { text: text.into(), target: Target::Room(room), client_id: None };
        self.ask(client, Some(id), ClientCommand::Message(message));
    }

    fn ask_to_whisper(&mut self, client: usize, (id, to, number): (MessageId, ClientId, u64), is_again: bool) {
        let message =
            PostMessage { text: format!("{number} {is_again}").into(), target: Target::Client(to), client_id: None };
        self.ask(client, Some(id), ClientCommand::Message(message));
    }

    fn whisper(&mut self, client: usize) {
        if self.talks(client) && self.clients[client].whispers.len() <= 5 {
            let other = self.below(CLIENTS);
            let to = self.clients[other].name.clone();
            let whisper = self.clients[client].whispers_to(&to);
            self.ask_to_whisper(client, whisper, false);
        }
    }

    /// An operator removes a client, or drops a room.
    fn operate(&mut self, node: usize, client: usize) {
        if self.nodes[node].is_paused {
            return;
        }
        match self.below(3) {
            0 => {
                let client_id = self.clients[client].name.clone();
                self.apply(node, Command::RemoveClient { client_id, reply: oneshot::channel().0 });
            }
            1 => {
                let key = RoomKey::Inbox(self.clients[client].name.clone());
                self.apply(node, Command::DropRoom { key, reply: oneshot::channel().0 });
            }
            _ => {
                let key = RoomKey::Room(room(ROOMS[1 + self.below(ROOMS.len() - 1)]));
                self.apply(node, Command::DropRoom { key, reply: oneshot::channel().0 });
            }
        }
    }

    /// A node asks for a checkpoint.
    fn apply_checkpoint(&mut self, node: usize) {
        if !self.nodes[node].is_paused {
            self.nodes[node].state.ask_for_checkpoint();
            self.apply(node, Command::Tick { reply: oneshot::channel().0 });
        }
    }

    fn join_or_leave(&mut self, client: usize) {
        if !self.talks(client) {
            return;
        }
        let name = room(ROOMS[1 + self.below(ROOMS.len() - 1)]);
        if self.clients[client].rooms.contains_key(&name) {
            let waits = self.clients[client].pending.iter().any(|(_, room, _)| *room == name);
            if !waits {
                self.ask(client, None, ClientCommand::Leave { room: name });
            }
        } else {
            self.join(client, &name, None);
        }
    }

    fn hang_up(&mut self, client: usize) {
        if let Some((node, session)) = self.clients[client].at {
            self.clients[client].lost_connection();
            self.apply(node, Command::CloseSession { session });
        }
    }

    // ---- the part of the actor and the hubs

    fn apply(&mut self, node: usize, command: Command) {
        let now = {
            let it = &self.nodes[node];
            Now { at: self.now.at, unix_ms: self.now.unix_ms.saturating_add_signed(it.clock) }
        };
        let mut turn = Turn::new(now);
        self.nodes[node].state.apply(command, &mut turn);
        let mut effects: VecDeque<_> = turn.effects.into();
        while let Some(effect) = effects.pop_front() {
            let mut done = Vec::new();
            self.perform(node, effect, &mut done);
            for completion in done {
                let mut turn = Turn::new(now);
                self.nodes[node].state.complete(completion, &mut turn);
                effects.extend(turn.effects);
            }
        }
        let it = &mut self.nodes[node];
        it.state.check();
        let Node { state, outgoing, .. } = it;
        state.pack(|record| outgoing.push_back(record));
        self.take_answers(node);
    }

    fn perform(&mut self, node: usize, effect: Effect, done: &mut Vec<crate::history::Completion>) {
        match effect {
            Effect::To { session, command } => self.perform_for(node, session, command),
            Effect::TellMany { sessions, event } => {
                for session in sessions {
                    self.tell(node, session, &event);
                }
            }
            Effect::Deliver { room, message, .. } => self.deliver(node, room, &message),
            Effect::DeliverPrivate { sessions, message, .. } => {
                let event = ServerEvent::Message((*message).clone());
                for session in sessions {
                    self.tell(node, session, &event);
                }
            }
            Effect::Node(NodeEffect::Keep { entry, placed }) => self.nodes[node].history.keep(entry, &placed, done),
            Effect::Read(request) => self.nodes[node].history.read(request, done),
            Effect::Forget { room, receipt } => self.nodes[node].history.forget(room, receipt, done),
            Effect::Node(NodeEffect::Write(record)) => self.nodes[node].outgoing.push_back(record),
            Effect::Answer(answer) => answer.send(),
            Effect::Node(NodeEffect::BeginsAnew(life)) => {
                let it = &mut self.nodes[node];
                (it.life, it.has_lost) = (life, false);
                it.outgoing.clear();
            }
            Effect::Node(NodeEffect::Diverged { at }) => panic!("the nodes differ at {at:?}"),
            Effect::Node(NodeEffect::Checkpoint { at, state }) => self.checkpoints.push((at.position.0, state)),
            Effect::Node(NodeEffect::Applied(_)) | Effect::NoteSent { .. } => {}
            Effect::Append(_) => panic!("only the log gives messages their place"),
            Effect::Drain { .. } => panic!("nobody drains the chat"),
        }
    }

    fn deliver(&mut self, node: usize, room: RoomId, message: &Arc<StoredMessage>) {
        let admitted = &self.nodes[node].admitted;
        let members: Vec<_> = admitted.iter().filter(|(_, of)| *of == room).map(|(session, _)| *session).collect();
        for session in members {
            self.tell(node, session, &ServerEvent::Message(message.to_wire()));
        }
    }

    fn perform_for(&mut self, node: usize, session: SessionId, command: ToSession) {
        let admitted = &mut self.nodes[node].admitted;
        match command {
            ToSession::Tell { event, .. } => self.tell(node, session, &event),
            ToSession::Admit { room } => {
                if !admitted.contains(&(session, room)) {
                    admitted.push((session, room));
                }
            }
            ToSession::Dismiss { room } => admitted.retain(|entry| *entry != (session, room)),
            ToSession::Replay(Replay { room, messages, more, .. }) => {
                for message in messages {
                    self.tell(node, session, &ServerEvent::Message(message.to_wire()));
                }
                if more {
                    self.apply(node, Command::ContinueReplay { session, room });
                }
            }
            ToSession::Close { .. } => {
                admitted.retain(|(other, _)| *other != session);
                if let Some(client) = self.client_of(node, session) {
                    self.clients[client].lost_connection();
                }
            }
        }
    }

    fn client_of(&self, node: usize, session: SessionId) -> Option<usize> {
        self.clients.iter().position(|client| client.at == Some((node, session)))
    }

    fn tell(&mut self, node: usize, session: SessionId, event: &ServerEvent<'_>) {
        if let Some(client) = self.client_of(node, session) {
            // A live message of the lobby before the client has resumed there is not followed yet.
            let is_before = matches!(event, ServerEvent::Message(message)
                if message.room.as_ref().is_some_and(|room| !self.clients[client].rooms.contains_key(room)));
            if !is_before {
                self.clients[client].hears(event);
            }
        }
    }

    // ---- the end

    /// Everything is whole again: all records arrive and are read, all clients come back and are answered.
    pub(super) fn heal(&mut self) {
        for node in &mut self.nodes {
            (node.is_cut, node.is_paused) = (false, false);
        }
        for round in 0..400 {
            self.pass_time();
            for node in 0..NODES {
                while !self.nodes[node].outgoing.is_empty() || self.nodes[node].has_lost {
                    self.append(node);
                }
                while self.nodes[node].read < self.log.len() as u64 {
                    self.read(node);
                }
                while !self.nodes[node].told.is_empty() {
                    self.hear(node);
                }
            }
            for client in 0..CLIENTS {
                self.connect(client, (client + round) % NODES);
            }
            let all_in =
                self.clients.iter().all(|it| it.is_welcomed && it.pending.is_empty() && it.whispers.is_empty());
            let is_quiet = self
                .nodes
                .iter()
                .all(|node| node.outgoing.is_empty() && node.told.is_empty() && node.read == self.log.len() as u64);
            if all_in && is_quiet {
                return;
            }
        }
        let left: Vec<_> = self.clients.iter().map(|it| (&it.name, it.at, it.is_welcomed, it.pending.len())).collect();
        panic!("not everybody is back and answered: {left:?}");
    }

    fn history_of(&mut self, node: usize, name: &str) -> Vec<(u64, String, String)> {
        let (reply, mut answer) = oneshot::channel();
        let query =
            HistoryQuery { room: room(name), page: HistoryPage::Newest, search: None, limit: 2_000, bytes: usize::MAX };
        self.apply(node, Command::ReadRoom { query, reply });
        let Ok(Ok(page)) = answer.try_recv() else { return Vec::new() };
        let shown = |message: &Arc<StoredMessage>| {
            let id = message.id.as_ref().map_or_else(String::new, |id| id.as_str().to_owned());
            (message.seq.0, id, message.text.to_string())
        };
        page.messages.iter().map(shown).collect()
    }

    pub(super) fn check_end(&mut self) {
        // A newcomer that reads the whole log is equal to those that were there.
        let mut newcomer = self.new_node(false);
        std::mem::swap(&mut self.nodes[0], &mut newcomer);
        while self.nodes[0].read < self.log.len() as u64 {
            self.read(0);
        }
        let of_newcomer: Vec<_> = ROOMS.iter().map(|name| self.history_of(0, name)).collect();
        std::mem::swap(&mut self.nodes[0], &mut newcomer);
        for node in 0..NODES {
            for (name, expected) in ROOMS.iter().zip(&of_newcomer) {
                // A node that began from a checkpoint has what came after it.
                let kept = self.history_of(node, name);
                assert!(expected.ends_with(&kept), "{name} on node {node}: {kept:?} of {expected:?}");
            }
            let names = self.nodes[node].state.held_names();
            assert!(self.is_authenticated || names.iter().all(|(_, holders)| *holders == 1), "{names:?}");
            assert_eq!(names.len(), CLIENTS, "{names:?}");
        }
        let kept: HashMap<_, _> = of_newcomer.iter().flatten().map(|(seq, id, _)| (id.clone(), *seq)).collect();
        let count = of_newcomer.iter().map(Vec::len).sum::<usize>();
        assert_eq!(kept.len(), count, "no message is there twice");
        for client in &self.clients {
            for (id, (name, seq)) in client.acked.iter().filter(|(_, (name, _))| name.as_str() == ROOMS[0]) {
                assert_eq!(kept.get(id.as_str()), Some(&seq.0), "{id:?} of {name} was acknowledged");
            }
        }
    }
}
