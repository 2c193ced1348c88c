//! Every metric of the chat: name, help, unit, labels.
//!
//! Labels are closed sets: a stage, an actor, a worker, a reason; never a room, a name or an address.

pub mod busiest;
mod counters;
mod exposition;
mod mailbox;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus::core::Desc;
use starling_protocol::ErrorCode;

use crate::clock::{self, Instant};
use crate::credits::ServerCredits;
use crate::highest::{self, Highest};
use crate::histogram::Histogram;
use crate::history::HistoryMetrics;
use crate::passage::Passage;
use crate::stage::Stage;

use self::busiest::NewestBusiest;
use self::counters::CountersBy;
pub use self::exposition::{MetricsCollector, stage_families};
pub use self::mailbox::{InMailbox, Mailbox, Mailboxes};

macro_rules! closed_set {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
        }

        impl $name {
            /// Every value there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The value as a label.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

closed_set! {
    /// The reason that a connection ended.
    DisconnectReason {
        /// The client sent a close frame.
        Client = "client",
        /// The connection broke, or the client ended it without a close frame.
        Lost = "lost",
        /// The client read more slowly than the server wrote (4001).
        SlowConsumer = "slow_consumer",
        /// All outboxes together were over their limit, and this one had the most unsent bytes (1013).
        Overload = "overload",
        /// The client sent nothing for two heartbeats (4002).
        NoSignOfLife = "no_sign_of_life",
        /// A newer connection of the same client took its place (4003).
        Replaced = "replaced",
        /// Too many errors in a row (1008).
        Policy = "policy",
        /// The client sent a binary frame (1003).
        BinaryFrame = "binary_frame",
        /// A text frame was not UTF-8 (1007).
        NotUtf8 = "not_utf8",
        /// A frame was too large (1009).
        FrameTooLarge = "frame_too_large",
        /// The peer broke the WebSocket protocol (1002).
        ProtocolError = "protocol_error",
        /// The server shut down (1001).
        GoingAway = "going_away",
        /// A fault in the server (1011).
        Fault = "fault",
        /// An operator removed the client (4004).
        Removed = "removed",
        /// A moderator has banned the client (4005).
        Banned = "banned",
    }
}

closed_set! {
    /// The destination of a message.
    MessageKind {
        /// To all members of the lobby.
        Global = "global",
        /// To any other room, including operators' messages.
        Room = "room",
        /// To one client, stored or not; counted once, not for each inbox.
        Private = "private",
    }
}

closed_set! {
    /// What a change does to its message.
    ChangeKind {
        /// Its text was replaced.
        Edit = "edit",
        /// It was deleted.
        Deletion = "deletion",
        /// A client has reacted, or has taken that back.
        Reaction = "reaction",
    }
}

closed_set! {
    /// A limit that refuses, by its setting.
    Limit {
        /// Connections of all clients.
        Connections = "CHAT_CONNECTIONS",
        /// Connections of one address.
        ConnectionsPerAddress = "CHAT_CONNECTIONS_PER_ADDRESS",
        /// Handshakes of one address.
        HandshakesPerSecond = "CHAT_HANDSHAKES_PER_SECOND",
        /// Rooms, and none of them may be dropped.
        Rooms = "CHAT_ROOMS",
        /// Rooms of one connection.
        RoomsPerClient = "CHAT_ROOMS_PER_CLIENT",
        /// Inboxes, and none of them may be dropped.
        Inboxes = "CHAT_INBOXES",
        /// Inboxes that one client has made and nobody has claimed.
        InboxesPerClient = "CHAT_INBOXES_PER_CLIENT",
        /// Frames of one connection.
        MessagesPerSecond = "CHAT_MESSAGES_PER_SECOND",
        /// Joins of one connection.
        JoinsPerMinute = "CHAT_JOINS_PER_MINUTE",
    }
}

closed_set! {
    /// Actors whose mailboxes are counted together.
    ActorKind {
        /// The one `ChatServer`.
        ChatServer = "chat_server",
        /// A worker thread's hub.
        Hub = "hub",
        /// A connection's session.
        Session = "session",
    }
}

closed_set! {
    /// A part of the time of a delivery, in the order in which a message passes them. The parts add up to the whole.
    Part {
        /// From reading the frame until its command is sent to the `ChatServer`: the wait for a credit, and decoding.
        Session = "session",
        /// In the `ChatServer`'s mailbox.
        ChatServerWait = "chat_server_wait",
        /// Until the message is committed: by the history, or with several nodes by their log.
        Commit = "commit",
        /// The `ChatServer` decides who receives it, and encodes it.
        ChatServer = "chat_server",
        /// In the hub's mailbox, and until the end of the hub's turn.
        HubWait = "hub_wait",
        /// Until the kernel has accepted it, the wait in the outbox of a client that reads slowly included.
        SocketWrite = "socket_write",
    }
}

/// The stages of one worker thread.
#[derive(Debug, Default)]
pub struct WorkerMetrics {
    /// Messages from the read buffer to the `ChatServer`; the wait is the one for a credit.
    pub session: Arc<Stage>,
    /// Connections that speak HTTP, from their acceptance until they end or become WebSockets: TLS, handshakes, requests.
    pub http: Arc<Stage>,
    /// Messages in the hub's mailbox.
    pub hub: Arc<Stage>,
    /// Frames from the offer to the kernel; the backlog is the unsent frames of all outboxes.
    pub socket_write: Arc<Stage>,
    /// The worker's event loop, probed ten times a second; the wait is the delay of a probe.
    pub worker_loop: Arc<Stage>,
    /// Connections to whose clients a frame has waited for a second or longer.
    pub slow_connections: AtomicU64,
    /// The share of the busiest room in the deliveries, in thousandths.
    pub busiest_room_permille: AtomicU64,
    /// The slowest clients and the busiest rooms.
    pub busiest: NewestBusiest,
}

const DISCONNECT_REASONS: usize = DisconnectReason::ALL.len();
const MESSAGE_KINDS: usize = MessageKind::ALL.len();
const CHANGE_KINDS: usize = ChangeKind::ALL.len();
const ERROR_CODES: usize = ErrorCode::ALL.len();
const PARTS: usize = Part::ALL.len();
const LIMITS: usize = Limit::ALL.len();

/// The sizes of the `ChatServer`'s tables.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// Named rooms, including empty rooms that are still kept.
    pub rooms: usize,
    /// Inboxes, including those without a connected owner.
    pub inboxes: usize,
    /// Noted read positions.
    pub read_positions: usize,
    /// Read positions that clients have lost to the limits so far.
    pub read_positions_lost: u64,
    /// Sessions, including connections that have not shown a token.
    pub sessions: usize,
    /// The sanctions, including those that have ended and were not dropped yet.
    pub sanctions: usize,
    /// Rooms whose settings differ from the default.
    pub set_rooms: usize,
    /// Invitations to rooms.
    pub invitations: usize,
    /// Rooms and inboxes dropped so far to make space for others.
    pub dropped_for_space: u64,
}

/// The metrics of the chat. There is one per process, shared by all parts.
#[derive(Debug)]
pub struct Metrics {
    chat_server: Arc<Stage>,
    history: Arc<HistoryMetrics>,
    workers: Vec<Arc<WorkerMetrics>>,
    mailboxes: [Arc<Mailboxes>; ActorKind::ALL.len()],
    credits: ServerCredits,
    connections: AtomicI64,
    inboxes: AtomicI64,
    read_positions: AtomicI64,
    read_positions_lost: AtomicU64,
    dropped_for_space: AtomicU64,
    rooms: AtomicI64,
    sessions: AtomicI64,
    sanctions: AtomicI64,
    set_rooms: AtomicI64,
    invitations: AtomicI64,
    connects: AtomicU64,
    welcome_seconds: Histogram,
    limited_clients: AtomicU64,
    disconnects: CountersBy<DISCONNECT_REASONS>,
    messages: CountersBy<MESSAGE_KINDS>,
    changes: CountersBy<CHANGE_KINDS>,
    deliveries: AtomicU64,
    rejected: CountersBy<ERROR_CODES>,
    refused_by: CountersBy<LIMITS>,
    session_panics: AtomicU64,
    message_bytes: Histogram,
    frame_received_bytes: Histogram,
    frame_sent_bytes: Histogram,
    compression_input_bytes: AtomicU64,
    compression_output_bytes: AtomicU64,
    compression_nanos: AtomicU64,
    delivery_seconds: Histogram,
    /// In the order of [`Part::ALL`].
    delivery_parts: [Histogram; PARTS],
    outbox_bytes: AtomicI64,
    outbox_frames: AtomicI64,
    outbox_bytes_highest: Highest,
    /// When the metrics were made, and the spans of the highest values since then.
    started: Instant,
    spans: AtomicU64,
    outbox_distribution: Histogram,
    desc: Desc,
}

impl Metrics {
    /// The metrics of a chat with this number of worker threads.
    ///
    /// # Panics
    /// Never: the one description in it is a constant.
    pub fn new(workers: usize, credits: ServerCredits) -> Arc<Self> {
        #[expect(clippy::expect_used, reason = "the name is a constant and a valid one")]
        let desc = Desc::new("chat".into(), "The chat.".into(), Vec::new(), std::collections::HashMap::new())
            .expect("the description is valid");
        Arc::new(Self {
            chat_server: Arc::default(),
            history: Arc::default(),
            workers: (0..workers).map(|_| Arc::default()).collect(),
            mailboxes: std::array::from_fn(|_| Arc::default()),
            credits,
            connections: AtomicI64::new(0),
            inboxes: AtomicI64::new(0),
            read_positions: AtomicI64::new(0),
            read_positions_lost: AtomicU64::new(0),
            dropped_for_space: AtomicU64::new(0),
            rooms: AtomicI64::new(0),
            sessions: AtomicI64::new(0),
            sanctions: AtomicI64::new(0),
            set_rooms: AtomicI64::new(0),
            invitations: AtomicI64::new(0),
            connects: AtomicU64::new(0),
            welcome_seconds: Histogram::of_durations(),
            limited_clients: AtomicU64::new(0),
            disconnects: CountersBy::default(),
            messages: CountersBy::default(),
            changes: CountersBy::default(),
            deliveries: AtomicU64::new(0),
            rejected: CountersBy::default(),
            refused_by: CountersBy::default(),
            session_panics: AtomicU64::new(0),
            message_bytes: Histogram::of_sizes(),
            frame_received_bytes: Histogram::of_sizes(),
            frame_sent_bytes: Histogram::of_sizes(),
            compression_input_bytes: AtomicU64::new(0),
            compression_output_bytes: AtomicU64::new(0),
            compression_nanos: AtomicU64::new(0),
            delivery_seconds: Histogram::of_durations(),
            delivery_parts: std::array::from_fn(|_| Histogram::of_durations()),
            outbox_bytes: AtomicI64::new(0),
            outbox_frames: AtomicI64::new(0),
            outbox_bytes_highest: Highest::default(),
            started: clock::now(),
            spans: AtomicU64::new(0),
            outbox_distribution: Histogram::of_sizes(),
            desc,
        })
    }

    /// The stage whose work is one command or one report of the history.
    pub fn chat_server(&self) -> &Arc<Stage> {
        &self.chat_server
    }

    /// The figures of the stored history.
    pub fn history(&self) -> &Arc<HistoryMetrics> {
        &self.history
    }

    /// The stages of a worker thread. Those of an index out of range are not exposed.
    pub fn worker(&self, index: usize) -> Arc<WorkerMetrics> {
        self.workers.get(index).cloned().unwrap_or_default()
    }

    /// The stages and lists of all worker threads, in their order.
    pub fn workers(&self) -> &[Arc<WorkerMetrics>] {
        &self.workers
    }

    /// The credits of all sessions.
    pub fn credits(&self) -> &ServerCredits {
        &self.credits
    }

    /// The mailboxes of all actors of a kind. A new actor registers its [`Mailbox`] there.
    pub fn mailboxes(&self, kind: ActorKind) -> &Arc<Mailboxes> {
        let [chat_server, hub, session] = &self.mailboxes;
        match kind {
            ActorKind::ChatServer => chat_server,
            ActorKind::Hub => hub,
            ActorKind::Session => session,
        }
    }

    /// Counts a connection whose session has started.
    pub fn connected(&self) {
        self.connects.fetch_add(1, Relaxed);
        self.connections.fetch_add(1, Relaxed);
    }

    /// Counts the end of a connection.
    pub fn disconnected(&self, reason: DisconnectReason) {
        self.disconnects.add(reason as usize, 1);
        self.connections.fetch_sub(1, Relaxed);
    }

    /// The number of open connections.
    pub fn connections(&self) -> i64 {
        self.connections.load(Relaxed)
    }

    /// The number of connections that ended for this reason.
    pub fn disconnects(&self, reason: DisconnectReason) -> u64 {
        self.disconnects.get(reason as usize)
    }

    /// Sets the gauges of the chat's tables.
    pub fn set_held(&self, held: Held) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.rooms.store(gauge(held.rooms), Relaxed);
        self.inboxes.store(gauge(held.inboxes), Relaxed);
        self.read_positions.store(gauge(held.read_positions), Relaxed);
        self.read_positions_lost.store(held.read_positions_lost, Relaxed);
        self.sessions.store(gauge(held.sessions), Relaxed);
        self.sanctions.store(gauge(held.sanctions), Relaxed);
        self.set_rooms.store(gauge(held.set_rooms), Relaxed);
        self.invitations.store(gauge(held.invitations), Relaxed);
        self.dropped_for_space.store(held.dropped_for_space, Relaxed);
    }

    /// The number of rooms.
    pub fn rooms(&self) -> i64 {
        self.rooms.load(Relaxed)
    }

    /// Counts an accepted message.
    pub fn message(&self, kind: MessageKind, bytes: usize) {
        self.messages.add(kind as usize, 1);
        self.message_bytes.observe_n(bytes as u64, 1);
    }

    /// Counts an accepted change of a message.
    pub fn changed(&self, kind: ChangeKind) {
        self.changes.add(kind as usize, 1);
    }

    /// The number of accepted messages.
    pub fn messages(&self) -> u64 {
        MessageKind::ALL.iter().map(|kind| self.messages.get(*kind as usize)).sum()
    }

    /// Counts messages offered to clients, one per client.
    pub fn delivered(&self, deliveries: u64) {
        self.deliveries.fetch_add(deliveries, Relaxed);
    }

    /// The number of messages offered to clients, one per client.
    pub fn deliveries(&self) -> u64 {
        self.deliveries.load(Relaxed)
    }

    /// Records the time from the acceptance of a connection to its welcome.
    pub fn welcomed(&self, after: Duration) {
        self.welcome_seconds.observe(after);
    }

    /// Counts a client that sends faster than it may, once in ten seconds.
    pub(crate) fn limited(&self) {
        self.limited_clients.fetch_add(1, Relaxed);
    }

    /// Counts a refused command.
    pub fn rejected(&self, code: ErrorCode) {
        self.rejected.add(code as usize, 1);
    }

    /// Counts what a limit has refused: a connection, a handshake or a command.
    pub fn refused_by(&self, limit: Limit) {
        self.refused_by.add(limit as usize, 1);
    }

    /// Counts a panic in a session; only that session ended.
    pub fn session_panicked(&self) {
        self.session_panics.fetch_add(1, Relaxed);
    }

    /// Counts a frame of a client.
    pub fn frame_received(&self, bytes: usize) {
        self.frame_received_bytes.observe_n(bytes as u64, 1);
    }

    /// Counts a frame that was offered to `n` clients.
    pub fn frame_sent(&self, bytes: usize, n: u64) {
        self.frame_sent_bytes.observe_n(bytes as u64, n);
    }

    /// Counts a compressed frame, once for all its receivers.
    pub fn compressed(&self, bytes_before: usize, bytes_after: usize, took: Duration) {
        self.compression_input_bytes.fetch_add(bytes_before as u64, Relaxed);
        self.compression_output_bytes.fetch_add(bytes_after as u64, Relaxed);
        self.compression_nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Records the parts of the time of `n` deliveries before their message was offered to their connections.
    pub(crate) fn passed(&self, passage: &Passage, offered_at: Instant, n: u64) {
        for (part, micros) in self.delivery_parts.iter().zip(passage.before_outbox(offered_at)) {
            part.observe_n(micros.into(), n);
        }
    }

    /// Records the time from the read of a command to the kernel's acceptance of `n` of its deliveries, and the last
    /// part of it.
    pub(crate) fn written(&self, passage: &Passage, offered_at: Instant, written_at: Instant, n: u64) {
        let (whole, writing) = passage.whole(offered_at, written_at);
        self.delivery_seconds.observe_n(whole.into(), n);
        let [.., socket_write] = &self.delivery_parts;
        socket_write.observe_n(writing.into(), n);
    }

    /// Adds the change of an outbox to the gauges.
    pub fn outbox_changed(&self, bytes: i64, frames: i64) {
        self.outbox_bytes.fetch_add(bytes, Relaxed);
        self.outbox_frames.fetch_add(frames, Relaxed);
    }

    /// Bytes that wait in the outboxes of all workers; 0 if the sum is negative for a moment.
    pub fn outboxes_bytes(&self) -> u64 {
        u64::try_from(self.outbox_bytes.load(Relaxed)).unwrap_or(0)
    }

    /// Records the size of one outbox, for the highest of the last minute.
    pub fn outbox_holds(&self, bytes: usize) {
        self.outbox_bytes_highest.record(bytes as u64);
    }

    /// Begins a new span of all highest values if one is due. Only the `ChatServer` calls this, several times a second.
    pub fn pass_time(&self, now: Instant) {
        let due = now.saturating_duration_since(self.started).as_secs() / highest::SPAN.as_secs();
        if due <= self.spans.load(Relaxed) {
            return;
        }
        self.spans.store(due, Relaxed);
        // Hubs record every outbox with unsent bytes again, once a second.
        self.outbox_bytes_highest.turn(0);
        for mailboxes in &self.mailboxes {
            mailboxes.highest.turn(0);
        }
        for (_, _, stage) in self.stages() {
            stage.turn_peak();
        }
    }

    /// Records `n` outboxes of this size, for their distribution.
    pub fn outboxes_seen(&self, bytes: usize, n: u64) {
        self.outbox_distribution.observe_n(bytes as u64, n);
    }

    /// The messages that wait in all mailboxes and stages, for the log's summary line.
    pub fn backlog(&self) -> u64 {
        let workers = self.workers.iter().map(|worker| worker.hub.backlog() + worker.socket_write.backlog());
        let history = self.history.writer.backlog() + self.history.reader.backlog();
        self.chat_server.backlog() + history + workers.sum::<u64>()
    }
}
