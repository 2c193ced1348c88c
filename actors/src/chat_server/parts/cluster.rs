//! This node's part in a chat of several nodes: what the log says of all of them, and what this node waits for.
//!
//! Invariants:
//! - what `replica`, `names` and `digest` hold depends on the records of the log alone;
//! - a session whose command waits for the log waits with all its later commands.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use starling_protocol::{ClientId, Epoch};
use tokio::sync::oneshot;

use crate::chat_server::command::{Command, DropReply, RemoveReply};
use crate::history::{EntryNumber, RoomKey};
use crate::ids::{RoomId, SessionId};
use crate::nodes::digest::Digest;
use crate::nodes::names::Names;
use crate::nodes::packer::{Packer, weight};
use crate::nodes::record::{Incarnation, LogEntry, LogPosition, Record, RemoteSession};
use crate::nodes::replica::Replica;

/// Who waits for an entry of this node.
#[derive(Debug)]
pub(crate) enum Tag {
    /// The sender of a message.
    Message(EntryNumber),
    /// A session whose command waits at the [`Gate`].
    Gate(SessionId),
    /// The end of a room was proposed, which must not be proposed again meanwhile.
    End(RoomId),
    /// An operator, for the number of connections of a removed client.
    Removed(RemoveReply),
    /// An operator, for the drop of a room.
    Dropped(DropReply),
    /// Whoever ends this node in order.
    Left(oneshot::Sender<()>),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Cluster {
    node: Box<str>,
    packer: Packer<Tag>,
    pub(crate) replica: Replica,
    pub(crate) names: Names,
    pub(crate) digest: Digest,
    pub(crate) gate: Gate,
    /// When each life was last heard of.
    heard: FxHashMap<Incarnation, Instant>,
    /// How long a life may be silent before it is declared out.
    timeout: Duration,
    /// When the newest record was read.
    read_at: Option<Instant>,
    /// When anything was last heard from NATS: a record, or that a life lives, also the own one.
    in_touch: Option<Instant>,
    /// What this node has told the log of the clients in its rooms, counting what is still on its way.
    own: FxHashSet<(RoomKey, ClientId)>,
    /// The newest record that the history has from before this process. Up to it messages are read for the state alone.
    pub(crate) kept_upto: LogPosition,
    /// The digests behind the newest checkpoints.
    pub(crate) checkpoints: VecDeque<(LogPosition, Digest)>,
    /// The bytes of the records behind the newest checkpoint, or the last one that this node asked for.
    bytes_behind: u64,
    /// The newest record when this node last asked for a checkpoint, or the one that it began from.
    pub(crate) asked_at: LogPosition,
    /// One moment on the clock of the log, and on this process's clock.
    time: Option<(u64, Instant)>,
    /// Whether the log can be written.
    pub(crate) is_reachable: bool,
    /// Since when the log cannot be written, if clients are still connected from before.
    unreachable_since: Option<Instant>,
    /// The name that the log has given to the session whose command is carried out now.
    pub(crate) granted: Option<ClientId>,
}

/// Records between two checkpoints. A node that starts replays at most about twice as many.
const CHECKPOINT_RECORDS: u64 = 20_000;

/// About the most bytes of records between two checkpoints. Three checkpoints are kept, so the log has some four times as
/// much.
const CHECKPOINT_BYTES: u64 = 256 << 20;

/// Most checkpoints whose digest is remembered: one is compared within a few records.
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
            timeout,
            read_at: None,
            in_touch: None,
            own: FxHashSet::default(),
            kept_upto: LogPosition(0),
            checkpoints: VecDeque::new(),
            bytes_behind: 0,
            asked_at: LogPosition(0),
            time: None,
            is_reachable: false,
            unreachable_since: None,
            granted: None,
        }
    }

    /// Begins another life, because the last one is out. Nothing of it waits any more. Returns who has waited.
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

    /// Everything that was written and has not come back.
    pub(crate) fn unread(&self) -> impl Iterator<Item = &Bytes> {
        self.packer.unread()
    }

    /// A record of this life counts: who waits for its entries.
    pub(crate) fn came_back(&mut self, counter: u64) -> Vec<Option<Tag>> {
        self.packer.came_back(counter)
    }

    /// The log can be written from now on, or cannot.
    pub(crate) fn set_reachable(&mut self, is_reachable: bool, now: Instant) {
        self.is_reachable = is_reachable;
        self.unreachable_since = if is_reachable { None } else { self.unreachable_since.or(Some(now)) };
    }

    /// Whether the log cannot be written for so long that clients are better off at another node. Says so once.
    pub(crate) fn is_cut_off(&mut self, now: Instant) -> bool {
        let timeout = self.timeout;
        self.unreachable_since.take_if(|since| now.saturating_duration_since(*since) > timeout).is_some()
    }

    /// A record was read.
    pub(crate) fn has_read(&mut self, record: &Record, now: Instant) {
        self.bytes_behind += record.entries.iter().map(|entry| weight(entry) as u64).sum::<u64>();
        (self.read_at, self.in_touch) = (Some(now), Some(now));
    }

    /// The time of the log, in milliseconds since the Unix epoch, at which this node last heard from NATS. While it hears
    /// nothing the time stands still, and what it says of others becomes void.
    fn as_of(&self) -> u64 {
        let since = self.in_touch.zip(self.read_at).map(|(touch, read)| touch.saturating_duration_since(read));
        self.replica.at() + u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(0)
    }

    /// A life was heard of, of another node or of this one.
    pub(crate) fn is_alive(&mut self, life: Incarnation, now: Instant) {
        self.in_touch = Some(now);
        self.heard.insert(life, now);
    }

    /// Proposes that lives are out that were not heard of for too long. A node that cannot reach the log says nothing of
    /// others.
    pub(crate) fn miss(&mut self, now: Instant) {
        if !self.is_reachable {
            return;
        }
        let (own, as_of) = (self.life(), self.as_of());
        let others: Vec<_> = self.replica.alive().filter(|(life, _)| *life != own).collect();
        self.heard.retain(|life, _| others.iter().any(|(other, _)| other == life));
        for (incarnation, life) in others {
            let last = self.heard.entry(incarnation).or_insert(now);
            if now.saturating_duration_since(*last) > self.timeout {
                // If it lives after all, it is missed again no sooner than after another timeout.
                *last = now;
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

    /// Tells the log that a client has no connection of this node in a room any more. Not while a command waits for
    /// the client to be in there.
    pub(crate) fn leave(&mut self, key: &RoomKey, name: &ClientId) {
        if self.gate.is_expected(key, name) {
            return;
        }
        if self.own.remove(&(key.clone(), name.clone())) {
            self.packer.push(LogEntry::Leave { key: key.clone(), name: name.clone() }, None);
        }
    }

    /// The log says that a client has a connection of this node in a room. The room may have been dropped while that was
    /// on its way, and the client may have left since.
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

    /// The moment on this process's clock at which the log's clock showed `at`.
    pub(crate) fn instant(&mut self, at: u64, now: Instant) -> Instant {
        instant(*self.time.get_or_insert((at, now)), at)
    }

    /// The moment on this process's clock at which the log's clock showed what it shows now, as far as this node knows.
    pub(crate) fn log_now(&self, now: Instant) -> Instant {
        self.time.map_or(now, |time| instant(time, self.as_of()))
    }

    /// What the log's clock showed at a moment on this process's clock.
    pub(crate) fn log_time(&self, instant: Instant) -> u64 {
        let Some((base, of_base)) = self.time else { return 0 };
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        match instant.checked_duration_since(of_base) {
            Some(later) => base + ms(later),
            None => base.saturating_sub(ms(of_base.saturating_duration_since(instant))),
        }
    }

    /// Like [`instant`](Self::instant), with the log's clock at `base` now if it was not read yet.
    pub(crate) fn instant_of_restored(&mut self, at: u64, base: u64, now: Instant) -> Instant {
        self.instant(base, now);
        self.instant(at, now)
    }

    /// Proposes a checkpoint if one is due. The node of the oldest life does, so that not all do.
    pub(crate) fn propose_checkpoint(&mut self) {
        let newest = self.checkpoints.back().map_or(0, |(at, _)| at.0).max(self.asked_at.0);
        let is_due = self.replica.position().0 >= newest + CHECKPOINT_RECORDS || self.bytes_behind >= CHECKPOINT_BYTES;
        let first = self.replica.alive().map(|(life, _)| life).next();
        if is_due && self.is_reachable && first == Some(self.life()) {
            self.asked_at = self.replica.position();
            self.bytes_behind = 0;
            self.packer.push(LogEntry::Checkpoint, None);
        }
    }

    /// Remembers the digest behind a checkpoint.
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
    /// How many commands wait for a client to be in a room.
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

    /// Lets a command wait behind one of its session.
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
