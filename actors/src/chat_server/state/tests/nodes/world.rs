//! The nodes, the log and the network between them.

mod agreement;
mod end;
mod hubs;
mod network;
mod requests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use starling_protocol::RoomName;
use tokio::sync::oneshot;

use self::agreement::Limits;
use super::client::Client;
use crate::chat_server::command::OpenRefusal;
use crate::chat_server::state::ChatState;
use crate::clock::{self, Now, Numbers};
use crate::config::ChatConfig;
use crate::history::{History, Restored};
use crate::ids::{RoomId, SessionId};
use crate::nodes::checkpoint::Checkpoint;
use crate::nodes::heard::Heard;
use crate::nodes::record::{Incarnation, LogPosition};

const NODES: usize = 3;
const CLIENTS: usize = 6;
const ROOMS: [&str; 8] = ["lobby", "dev", "ops", "qa", "hr", "it", "pr", "ux"];
/// Names whose clients never connect.
const STRANGERS: usize = 5;

/// A checkpoint: its last record, and its bytes.
type Stored = (u64, Bytes);

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any may be true with any other")]
struct Node {
    state: ChatState,
    history: History,
    life: Incarnation,
    /// Records in transit to the log.
    outgoing: VecDeque<Bytes>,
    /// Signals of other nodes outside the log.
    told: VecDeque<Heard>,
    read: u64,
    is_cut: bool,
    is_paused: bool,
    /// Whether a record of it was lost and it does not know yet.
    has_lost: bool,
    admitted: Vec<(SessionId, RoomId)>,
    answers: Vec<(SessionId, oneshot::Receiver<Result<(), OpenRefusal>>)>,
    /// The newest record when it started: once the node has read it, the node accepts clients.
    ready_at: u64,
    is_ready: bool,
    /// Offset of its clock, in milliseconds.
    clock: i64,
    /// How long its machine was running before the others.
    running_for: Duration,
}

pub(super) struct World {
    random: Numbers,
    now: Now,
    log: Vec<(u64, Bytes)>,
    nodes: Vec<Node>,
    clients: Vec<Client>,
    sessions: u32,
    lives: u64,
    /// Whether what fails is soon whole again, and clients change rooms more often.
    is_calm: bool,
    /// Whether names are authenticated, and private messages are kept.
    is_authenticated: bool,
    checkpoints: Vec<Stored>,
    limits: Limits,
    /// The state behind each record, as the first node that has read it had it.
    agreed: BTreeMap<LogPosition, Checkpoint>,
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
            is_calm: seed % 4 < 2,
            is_authenticated: seed.is_multiple_of(2),
            checkpoints: Vec::new(),
            limits: Limits::of(seed),
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
            rooms: self.limits.rooms,
            inboxes: self.limits.inboxes,
            inboxes_per_client: 2,
            ..ChatConfig::default()
        };
        let history = History::in_memory(config.history_messages, config.history_bytes);
        let mut state = ChatState::new(config, self.lives * 7_919);
        let life = state.become_node(&format!("node{}", self.lives), Duration::from_secs(5), 42);
        let clock = i64::try_from(self.below(4_000)).unwrap() - 2_000;
        let checkpoint = self.checkpoints.last().cloned().filter(|_| from_checkpoint);
        let bytes = checkpoint.as_ref().map(|(_, bytes)| bytes.as_ref());
        let running_for = Duration::from_millis(self.below(1_000_000) as u64);
        let now = Now { at: self.now.at + running_for, ..self.now };
        state.begin_from(bytes, Restored::default(), LogPosition(0), now).unwrap();
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
            running_for,
            ready_at: self.log.len() as u64,
            is_ready: false,
        }
    }

    /// Performs one random step.
    pub(super) fn step(&mut self) {
        let (node, client) = (self.below(NODES), self.below(CLIENTS));
        match self.below(1_000) {
            0..=219 => self.append(node),
            220..=519 => self.read(node),
            520..=559 => self.hear(node),
            560..=659 => self.connect(client, node),
            660..=729 if self.is_calm => self.join_or_leave(client),
            660..=739 => self.say(client),
            740..=749 => self.read_all(client),
            750..=799 => self.change(client),
            800..=819 if self.is_calm => self.mend(node),
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
}
