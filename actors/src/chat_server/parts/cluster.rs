//! This node's part in a chat of several nodes: the log's state of all nodes, and the entries that this node waits for.
//!
//! Invariants:
//! - `replica`, `names` and `digest` depend only on the records of the log;
//! - if a command waits for the log, all later commands of its session wait too.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use log::warn;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use starling_protocol::{ClientId, Epoch};
use tokio::sync::oneshot;

use crate::chat_server::command::{Command, DecisionReply, DropReply, RemoveReply};
use crate::clock::Instant;
use crate::history::{EntryNumber, RoomKey};
use crate::ids::{RoomId, SessionId};
use crate::nodes::digest::Digest;
use crate::nodes::known::{KnownNode, SelfReport};
use crate::nodes::names::Names;
use crate::nodes::packer::{Packer, weight};
use crate::nodes::record::{Incarnation, LogEntry, LogPosition, Record, RemoteSession};
use crate::nodes::replica::{Life, Replica};

/// The party that waits for an entry of this node.
#[derive(Debug)]
pub(crate) enum Tag {
    /// The sender of a message.
    Message(EntryNumber),
    /// A session whose command waits at the [`Gate`].
    Gate(SessionId),
    /// The proposed end of a room. It must not be proposed again meanwhile.
    End(RoomId),
    /// An operator, for the number of connections of a removed client.
    Removed(RemoveReply),
    /// An operator, for the drop of a room.
    Dropped(DropReply),
    /// An operator, for a decision.
    Decided(DecisionReply),
    /// The orderly stop of this node.
    Left(oneshot::Sender<()>),
}

/// What was heard of a life.
#[derive(Debug)]
struct Signs {
    /// The last sign, or when this node could hear of the life again, or when it last proposed to declare it dead: the
    /// timeout begins then.
    silent_since: Instant,
    /// The last sign of life.
    last: Option<Instant>,
    report: Option<SelfReport>,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Cluster {
    node: Box<str>,
    packer: Packer<Tag>,
    pub(crate) replica: Replica,
    pub(crate) names: Names,
    pub(crate) digest: Digest,
    pub(crate) gate: Gate,
    /// What was heard of each life.
    heard: FxHashMap<Incarnation, Signs>,
    /// Whether this node has read all records that were in the log when it started.
    follows: bool,
    /// The time of silence after which a life is declared dead.
    timeout: Duration,
    /// When the newest record was read.
    read_at: Option<Instant>,
    /// When NATS last delivered anything: a record, or a sign of any life, including this node's own.
    in_touch: Option<Instant>,
    /// The clients in this node's rooms as this node has written them to the log, including entries that have not come
    /// back.
    own: FxHashSet<(RoomKey, ClientId)>,
    /// The newest record that the history had before this process. Messages up to it only update the state.
    pub(crate) kept_upto: LogPosition,
    /// The digests after the newest checkpoints.
    pub(crate) checkpoints: VecDeque<(LogPosition, Digest)>,
    /// The bytes of the records after the newest checkpoint, or after the last checkpoint that this node requested.
    bytes_behind: u64,
    /// The newest record when this node last requested a checkpoint, or the record of the checkpoint that it began
    /// from.
    pub(crate) asked_at: LogPosition,
    /// The first record of the log. A node without a history needs a checkpoint that is not before it.
    pub(crate) log_begins: LogPosition,
    /// The same moment on the clock of the log and on this process's clock.
    time: Option<(u64, Instant)>,
    /// Whether the log can be written.
    pub(crate) is_reachable: bool,
    /// The time since which the log cannot be written, while clients from before are still connected.
    unreachable_since: Option<Instant>,
    /// The name that the log has given to the session of the current command.
    pub(crate) granted: Option<ClientId>,
}

/// Records between two checkpoints. A node that starts replays at most about twice as many.
const CHECKPOINT_RECORDS: u64 = 20_000;

/// The approximate most bytes of records between two checkpoints. Three checkpoints are kept, so the log has about four
/// times as many bytes.
const CHECKPOINT_BYTES: u64 = 256 << 20;

/// Most checkpoints whose digest is remembered. A digest is compared within a few records.
const CHECKPOINTS_REMEMBERED: usize = 16;

impl Cluster {
    /// Begins a life of this node.
    pub(crate) fn new(node: &str, timeout: Duration, incarnation: Incarnation, lobby: Epoch) -> Self {
        Self {
            node: node.into(),
            packer: Packer::new(incarnation, node, lobby),
            replica: Replica::default(),
            names: Names::default(),
            digest: Digest::default(),
            gate: Gate::default(),
            heard: FxHashMap::default(),
            follows: false,
            timeout,
            read_at: None,
            in_touch: None,
            own: FxHashSet::default(),
            kept_upto: LogPosition(0),
            checkpoints: VecDeque::new(),
            bytes_behind: 0,
            asked_at: LogPosition(0),
            log_begins: LogPosition(0),
            time: None,
            is_reachable: false,
            unreachable_since: None,
            granted: None,
        }
    }

    /// Begins another life, because the last one was declared dead. Returns the waiters of the last life; none of its
    /// entries is pending any more.
    pub(crate) fn begin_anew(&mut self, incarnation: Incarnation, lobby: Epoch) -> Vec<Tag> {
        let packer = std::mem::replace(&mut self.packer, Packer::new(incarnation, &self.node, lobby));
        self.gate = Gate::default();
        self.own.clear();
        packer.into_tags().collect()
    }

    /// The life of this node.
    pub(crate) fn life(&self) -> Incarnation {
        self.packer.incarnation()
    }

    /// A session of this node, as all nodes know it.
    pub(crate) fn of_here(&self, session: SessionId) -> RemoteSession {
        RemoteSession { incarnation: self.life(), session: session.number() }
    }

    /// Adds an entry to this turn's record.
    pub(crate) fn propose(&mut self, entry: LogEntry, tag: Option<Tag>) {
        self.packer.push(entry, tag);
    }

    pub(crate) fn has_proposals(&self) -> bool {
        self.packer.has_queued()
    }

    /// Packs the entries of this turn into records.
    pub(crate) fn pack(&mut self, write: impl FnMut(Bytes)) {
        self.packer.pack(write);
    }

    /// The counter of the newest record that is still to come back, including that of this turn.
    pub(crate) fn newest_to_come_back(&self) -> Option<u64> {
        self.packer.newest_to_come_back()
    }

    /// All written records that have not come back.
    pub(crate) fn unread(&self) -> impl Iterator<Item = &Bytes> {
        self.packer.unread()
    }

    /// Handles a record of this life that counts. Returns the waiters of its entries.
    pub(crate) fn came_back(&mut self, counter: u64) -> Vec<Option<Tag>> {
        self.packer.came_back(counter)
    }

    /// Notes whether the log can be written from now on.
    pub(crate) fn set_reachable(&mut self, is_reachable: bool, now: Instant) {
        if is_reachable && !self.is_reachable {
            // This node may have missed the signs of the others, so their silence begins now.
            self.heard.values_mut().for_each(|signs| signs.silent_since = now);
        }
        self.is_reachable = is_reachable;
        self.unreachable_since = if is_reachable { None } else { self.unreachable_since.or(Some(now)) };
    }

    /// Whether the log has been unwritable for so long that clients should use another node. Returns true once.
    pub(crate) fn is_cut_off(&mut self, now: Instant) -> bool {
        let timeout = self.timeout;
        self.unreachable_since.take_if(|since| now.saturating_duration_since(*since) > timeout).is_some()
    }

    /// Notes that a record was read.
    pub(crate) fn has_read(&mut self, record: &Record, now: Instant) {
        self.bytes_behind += record.entries.iter().map(|entry| weight(entry) as u64).sum::<u64>();
        (self.read_at, self.in_touch) = (Some(now), Some(now));
    }

    /// The time of the log, in milliseconds since the Unix epoch, at which this node last heard from NATS. While NATS
    /// is silent, this time stands still, so this node's entries about silent nodes become void.
    fn as_of(&self) -> u64 {
        let since = self.in_touch.zip(self.read_at).map(|(touch, read)| touch.saturating_duration_since(read));
        self.replica.at() + u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(0)
    }

    /// Notes a sign of a life, of another node or of this one.
    pub(crate) fn is_alive(&mut self, life: Incarnation, report: Option<SelfReport>, now: Instant) {
        self.in_touch = Some(now);
        self.heard.insert(life, Signs { silent_since: now, last: Some(now), report });
    }

    /// The names of the other nodes, once this node has read the whole log for the first time.
    pub(crate) fn found(&mut self, now: Instant) -> Option<Vec<Box<str>>> {
        let is_first = !std::mem::replace(&mut self.follows, true);
        let others = self.known(now).into_iter().filter(|node| !node.is_this).map(|node| node.name);
        is_first.then(|| others.collect())
    }

    /// Whether the change of a life is news: not one of this node, and not of the time before it.
    pub(crate) fn is_news(&self, life: Incarnation) -> bool {
        self.follows && life != self.life()
    }

    /// The time since the last sign of a life.
    pub(crate) fn silence(&self, life: Incarnation, now: Instant) -> Option<Duration> {
        self.heard.get(&life)?.last.map(|last| now.saturating_duration_since(last))
    }

    /// The nodes that have begun and are not out, in the order of their names.
    pub(crate) fn known(&self, now: Instant) -> Vec<KnownNode> {
        let (own, read) = (self.life(), self.replica.position().0);
        let known = |(life, of_log): (Incarnation, &Life)| {
            let report = self.heard.get(&life).and_then(|signs| signs.report.clone());
            KnownNode {
                name: of_log.node.clone(),
                life,
                is_this: life == own,
                silent_for: self.silence(life, now),
                lag: report.as_ref().map(|report| read.saturating_sub(report.applied)),
                report,
            }
        };
        let mut all: Vec<_> = self.replica.alive().map(known).collect();
        all.sort_by(|one, other| (&one.name, one.life).cmp(&(&other.name, other.life)));
        all
    }

    /// Proposes to declare lives out that were silent for too long. A node that cannot reach the log proposes nothing.
    pub(crate) fn miss(&mut self, now: Instant) {
        if !self.is_reachable {
            return;
        }
        let (own, as_of) = (self.life(), self.as_of());
        let alive: Vec<_> = self.replica.alive().collect();
        self.heard.retain(|life, _| alive.iter().any(|(other, _)| other == life));
        for (incarnation, life) in alive.into_iter().filter(|(life, _)| *life != own) {
            let unheard = Signs { silent_since: now, last: None, report: None };
            let signs = self.heard.entry(incarnation).or_insert(unheard);
            if now.saturating_duration_since(signs.silent_since) > self.timeout {
                // If it still lives, this node waits another timeout before the next proposal.
                signs.silent_since = now;
                self.packer.push(LogEntry::Out { incarnation, counter: life.counter, as_of }, None);
            }
        }
    }

    /// Tells the log that a client has a connection of this node in a room, unless it was told so.
    pub(crate) fn enter(&mut self, key: &RoomKey, name: &ClientId, epoch: Epoch) {
        if self.own.insert((key.clone(), name.clone())) {
            self.packer.push(LogEntry::Enter { key: key.clone(), name: name.clone(), epoch }, None);
        }
    }

    /// Writes to the log that a client has no connection of this node in a room any more. Not while a command waits for
    /// the client to enter that room.
    pub(crate) fn leave(&mut self, key: &RoomKey, name: &ClientId) {
        if self.gate.is_expected(key, name) {
            return;
        }
        if self.own.remove(&(key.clone(), name.clone())) {
            self.packer.push(LogEntry::Leave { key: key.clone(), name: name.clone() }, None);
        }
    }

    /// Handles the log's entry that a client has a connection of this node in a room. The room may have been dropped
    /// meanwhile, and the client may have left.
    pub(crate) fn entered(&mut self, key: &RoomKey, name: &ClientId, is_here: bool) {
        if is_here || self.gate.is_expected(key, name) {
            self.own.insert((key.clone(), name.clone()));
        } else {
            self.own.remove(&(key.clone(), name.clone()));
            self.packer.push(LogEntry::Leave { key: key.clone(), name: name.clone() }, None);
        }
    }

    /// The log has no space for a room that a client was to be in.
    pub(crate) fn was_refused(&mut self, key: &RoomKey, name: &ClientId) {
        self.own.remove(&(key.clone(), name.clone()));
    }

    /// A room was dropped: nobody of this node is in it.
    pub(crate) fn forget_room(&mut self, key: &RoomKey) {
        self.own.retain(|(other, _)| other != key);
    }

    /// Converts a time of the log's clock to this process's clock.
    pub(crate) fn instant(&mut self, at: u64, now: Instant) -> Instant {
        instant(*self.time.get_or_insert((at, now)), at)
    }

    /// The moment on this process's clock at which the log's clock showed what it shows now, as far as this node knows.
    pub(crate) fn log_now(&self, now: Instant) -> Instant {
        self.time.map_or(now, |time| instant(time, self.as_of()))
    }

    /// Converts a moment of this process's clock to the log's clock.
    pub(crate) fn log_time(&self, instant: Instant) -> u64 {
        let Some((base, of_base)) = self.time else { return 0 };
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        if instant >= of_base {
            base + ms(instant.saturating_duration_since(of_base))
        } else {
            base.saturating_sub(ms(of_base.saturating_duration_since(instant)))
        }
    }

    /// Like [`instant`](Self::instant), with the log's clock at `base` now if it is not known yet.
    pub(crate) fn instant_of_restored(&mut self, at: u64, base: u64, now: Instant) -> Instant {
        self.instant(base, now);
        self.instant(at, now)
    }

    /// Proposes a checkpoint if one is due. Only the node of the oldest life does this.
    pub(crate) fn propose_checkpoint(&mut self) {
        let newest = self.checkpoints.back().map_or(0, |(at, _)| at.0).max(self.asked_at.0);
        let (position, log_begins) = (self.replica.position(), self.log_begins);
        // Somebody has removed records from the log, and with them those of all checkpoints.
        let is_needed = log_begins.0 > newest.max(1);
        let is_due = position.0 >= newest + CHECKPOINT_RECORDS || self.bytes_behind >= CHECKPOINT_BYTES;
        let first = self.replica.alive().map(|(life, _)| life).next();
        if (is_due || is_needed) && self.is_reachable && first == Some(self.life()) {
            if is_needed {
                warn!(
                    "the log begins after the newest checkpoint: the nodes store another one, so that a node can start"
                );
            }
            self.asked_at = position.max(log_begins);
            self.bytes_behind = 0;
            self.packer.push(LogEntry::Checkpoint, None);
        }
    }

    /// Remembers the digest after a checkpoint.
    pub(crate) fn note_checkpoint(&mut self, position: LogPosition) {
        self.bytes_behind = 0;
        self.checkpoints.push_back((position, self.digest));
        if self.checkpoints.len() > CHECKPOINTS_REMEMBERED {
            self.checkpoints.pop_front();
        }
    }
}

/// See [`Cluster::instant`].
fn instant((base, instant): (u64, Instant), at: u64) -> Instant {
    if at >= base {
        instant + Duration::from_millis(at - base)
    } else {
        instant.checked_sub(Duration::from_millis(base - at)).unwrap_or(instant)
    }
}

/// Commands that wait for an entry of the log, each in front of the later commands of its session.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    waiting: FxHashMap<SessionId, Parked>,
    /// The number of commands that wait for a client to enter a room.
    expected: FxHashMap<(RoomKey, ClientId), u32>,
}

/// What a command gets from the entry that it waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The name that its session takes.
    pub(crate) name: Option<ClientId>,
    /// The rooms and inboxes that the client enters.
    pub(crate) enters: SmallVec<[(RoomKey, ClientId); 2]>,
}

#[derive(Debug)]
struct Parked {
    needs: Needs,
    commands: VecDeque<Command>,
}

impl Gate {
    /// Whether a command of this session waits.
    pub(crate) fn is_waiting(&self, session: SessionId) -> bool {
        self.waiting.contains_key(&session)
    }

    /// Makes a command wait behind an earlier command of its session.
    pub(crate) fn queue(&mut self, session: SessionId, command: Command) {
        if let Some(parked) = self.waiting.get_mut(&session) {
            parked.commands.push_back(command);
        }
    }

    /// Lets a command wait for an entry.
    pub(crate) fn park(&mut self, session: SessionId, command: Command, needs: Needs) {
        for entered in &needs.enters {
            *self.expected.entry(entered.clone()).or_default() += 1;
        }
        self.waiting.insert(session, Parked { needs, commands: VecDeque::from([command]) });
    }

    /// The entry that a session waits for has come back. Returns its commands.
    pub(crate) fn came_back(&mut self, session: SessionId) -> Option<(Needs, VecDeque<Command>)> {
        let Parked { needs, commands } = self.waiting.remove(&session)?;
        for entered in &needs.enters {
            if let Some(count) = self.expected.get_mut(entered) {
                *count -= 1;
                if *count == 0 {
                    self.expected.remove(entered);
                }
            }
        }
        Some((needs, commands))
    }

    fn is_expected(&self, key: &RoomKey, name: &ClientId) -> bool {
        !self.expected.is_empty() && self.expected.contains_key(&(key.clone(), name.clone()))
    }
}
