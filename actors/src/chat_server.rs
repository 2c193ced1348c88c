//! The one actor that holds rooms, names and members.
//!
//! The rules are in [`state`], a pure state machine; the actor applies a command and performs the effects. With more
//! than one core the actor runs on an arbiter of its own, so that it and the worker threads never wait for each other.
//! With one core it shares the worker's thread, so that a message does not have to wake a second thread
//! (`docs/decisions/0013-one-core-one-thread.md`).

pub mod command;
pub mod effect;
mod gathering;
mod handle;
mod hearing;
mod log_of_node;
mod mailbox;
mod node;
mod parts;
mod prepared;
pub mod state;

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use log::{error, info, warn};
use smallvec::SmallVec;
use starling_protocol::{RoomName, ServerEvent};
use tokio::sync::oneshot;

pub use self::command::{HistoryQuery, OperatorPost};
pub use self::effect::Turn;
pub use self::handle::{AskError, ChatServerHandle};
pub use self::node::{CannotBegin, NodeSettings};
pub use self::prepared::PreparedChat;

use self::command::Command;
use self::effect::Effect;
use self::gathering::Gathering;
use self::log_of_node::LogOfNode;
use self::mailbox::{EndTurn, RegisterHub, Reported, SentToChat};
use self::state::ChatState;
use crate::clock::{self, Instant, Now};
use crate::history::{Completion, Content, Entry, EntryCopy, History, RoomKey};
use crate::hub::{Delivery, HubCommand, HubHandle, ToSession};
use crate::ids::{HubId, SessionId};
use crate::metrics::{ChangeKind, MessageKind, Metrics};
use crate::nodes::heard::Heard;
use crate::vitals::Pulse;

/// The number of entries of the log after which the chat lets the other tasks of its thread run. With one core these
/// are the connections of a worker, and the log may have millions of records.
const ENTRIES_AT_ONCE: usize = 512;

/// Shortest time between two warnings in the log that a table is full.
const FULL_TABLE_WARNING_INTERVAL: Duration = Duration::from_mins(1);

/// Holds the rooms and routes private messages. Other threads reach it through [`ChatServerHandle`].
pub struct ChatServer {
    /// Dropped first, so that the vitals name the `ChatServer` as the cause: the hubs end once their last handle is
    /// dropped.
    pulse: Pulse,
    state: ChatState,
    history: History,
    /// The log of all nodes, if there are other nodes.
    log: Option<LogOfNode>,
    /// Records of the log that wait for later ones.
    gathering: Gathering<SentToChat>,
    /// The timer that ends their wait.
    gathered_within: SpawnHandle,
    hubs: Vec<Option<HubHandle>>,
    metrics: Arc<Metrics>,
    lobby: RoomName,
    /// Empty between two commands; kept only to reuse its allocation.
    effects: Vec<Effect>,
    completions: Vec<Completion>,
    /// The time of the last warning about a full table, and the number of rooms and inboxes dropped for others by then.
    warned: Option<Instant>,
    dropped_when_warned: u64,
    /// The entries of the log that were applied since the other tasks of the thread have run.
    entries_at_once: usize,
    /// Whether an `EndTurn` is already in the mailbox.
    turn_ends: bool,
    /// Whether this node must not serve any more, because its state differs from the other nodes' or lacks a message.
    /// It then only disconnects its clients.
    is_unfit: bool,
    /// Dropped last, after `history`: its receiver waits for the end of the chat and of the history.
    _end: End,
}

/// Reports on drop whether the chat ended in order, that is without a panic.
struct End(Option<oneshot::Sender<bool>>);

impl Drop for End {
    fn drop(&mut self) {
        let Some(tell) = self.0.take() else { return };
        // The receiver may be gone; then nobody needs the outcome.
        tell.send(!std::thread::panicking()).unwrap_or_default();
    }
}

impl std::fmt::Debug for ChatServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatServer").field("state", &self.state).finish_non_exhaustive()
    }
}

impl ChatServer {
    fn apply(&mut self, command: Command, now: Now, context: &mut Context<Self>) {
        let mut turn = self.turn(now);
        self.state.apply(command, &mut turn);
        self.perform(turn, context);
    }

    /// Lets the other tasks of the thread run once these and earlier entries of the log are [many](ENTRIES_AT_ONCE).
    fn give_way(&mut self, entries: usize, context: &mut Context<Self>) {
        self.entries_at_once += entries;
        if self.entries_at_once >= ENTRIES_AT_ONCE {
            self.entries_at_once = 0;
            context.wait(actix::fut::wrap_future(tokio::task::yield_now()));
        }
    }

    /// Carries out a command.
    #[inline]
    fn take(&mut self, message: SentToChat, context: &mut Context<Self>) {
        let SentToChat { mut command, arrival, in_mailbox } = message;
        drop(in_mailbox);
        let work = arrival.begin();
        if let Command::Ask { frame, .. } = &mut command
            && let Some(ticket) = &mut frame.ticket
        {
            ticket.passage.taken(work.started());
        }
        if self.is_unfit && !matches!(command, Command::Drain { .. }) {
            return;
        }
        let changes_tables = matches!(command, Command::OpenSession { .. } | Command::Tick { .. });
        let of_log =
            if let Command::Heard(Heard::Record { record, .. }) = &command { record.entries.len().max(1) } else { 0 };
        let started = work.started();
        self.apply(command, Now::read_at(started), context);
        self.give_way(of_log, context);
        if changes_tables {
            self.metrics.set_held(self.state.held());
            if let Some(LogOfNode { log, .. }) = &mut self.log {
                log.show(self.state.figures());
            }
            self.metrics.pass_time(started);
            self.warn_of_full_tables();
        }
    }

    fn turn(&mut self, now: Now) -> Turn {
        Turn { now, effects: std::mem::take(&mut self.effects) }
    }

    /// Performs the effects of a turn and applies the completions that the history adds meanwhile, until both are
    /// empty. The history starts to commit its queued entries when the mailbox is empty: `EndTurn` is the last message
    /// of a turn.
    fn perform(&mut self, mut turn: Turn, context: &mut Context<Self>) {
        // One time for all that this turn sends to hubs.
        let mut sent_at = None;
        loop {
            let mut effects = std::mem::take(&mut turn.effects);
            if !effects.is_empty() {
                let now = *sent_at.get_or_insert_with(clock::now);
                for effect in effects.drain(..) {
                    self.perform_one(effect, turn.now.at, now);
                }
            }
            turn.effects = effects;
            let mut completions = std::mem::take(&mut self.completions);
            if completions.is_empty() {
                break;
            }
            for completion in completions.drain(..) {
                self.state.complete(completion, &mut turn);
            }
            self.completions = completions;
        }
        self.effects = turn.effects;
        if self.history.lacks_a_message() {
            self.become_unfit(&"the history lacks a message that the log has, because the disk did not take it; start this node again \
                 when the disk takes messages: it reads this one again");
        }
        let has_queued = self.history.has_queued() || self.state.has_proposals();
        if has_queued && !self.turn_ends {
            self.turn_ends = true;
            context.notify(EndTurn);
        }
    }

    /// From now on this node only disconnects its clients. The owner of the process stops the server.
    fn become_unfit(&mut self, reason: &dyn std::fmt::Display) {
        self.is_unfit = true;
        self.pulse.unfit(reason);
    }

    /// `turn` began at that time, and `now` is read once for all effects of it.
    fn perform_one(&mut self, effect: Effect, turn: Instant, now: Instant) {
        match effect {
            Effect::To { session, command } => {
                if let ToSession::Tell { event, .. } = &command
                    && let ServerEvent::Error(refusal) = &**event
                {
                    self.metrics.rejected(refusal.code);
                }
                self.send(session.hub(), HubCommand::To { session, command }, now);
            }
            Effect::TellMany { sessions, event } => {
                let command = |sessions| HubCommand::TellMany { sessions, event: event.clone() };
                self.send_by_hub(&sessions, command, now);
            }
            Effect::Deliver { room, hubs, message, mut ticket } => {
                ticket.passage.delivered(turn, now);
                if let RoomKey::Room(room) = &message.room {
                    self.state.followers().iter().for_each(|follower| follower.note(room));
                }
                let delivery = Arc::new(Delivery::of_room(message, ticket));
                for hub in self.hubs.iter().flatten().filter(|hub| hubs.contains(hub.id())) {
                    hub.send(HubCommand::Deliver { room, delivery: Arc::clone(&delivery) }, now);
                }
            }
            Effect::DeliverPrivate { sessions, message, mut ticket } => {
                ticket.passage.delivered(turn, now);
                self.metrics.message(MessageKind::Private, message.text.len());
                let delivery = Arc::new(Delivery::of_private(message, ticket));
                let command = |sessions| HubCommand::DeliverPrivate { sessions, delivery: Arc::clone(&delivery) };
                self.send_by_hub(&sessions, command, now);
            }
            Effect::Append(entry) => {
                self.count(&entry);
                self.history.append(entry, &mut self.completions);
            }
            Effect::KeepModeration { rows, receipt } => {
                self.history.keep_moderation(rows, receipt, &mut self.completions);
            }
            Effect::Limit { room, limits } => self.history.limit(room, limits),
            Effect::DropExcess => self.history.drop_excess(Now::read_at(now), &mut self.completions),
            Effect::Decided(decision) => info!(target: "audit", "{decision}"),
            Effect::CountRefusal(limit) => self.metrics.refused_by(limit),
            Effect::NoteSent { room, seq } => self.history.note_sent(room, seq),
            Effect::NoteRead { owner, room, standing } => self.history.note_read(owner, room, standing),
            Effect::Node(effect) => self.perform_as_node(effect),
            Effect::Read(request) => self.history.read(request, &mut self.completions),
            Effect::Forget { room, receipt } => self.history.forget(room, receipt, &mut self.completions),
            Effect::Answer(answer) => answer.send(),
            Effect::Drain { reason, spread } => {
                for hub in self.hubs.iter().flatten() {
                    hub.send(HubCommand::Drain { reason, spread }, now);
                }
            }
        }
    }

    /// Counts an accepted message or change. Of two copies, the last is the receiver's.
    fn count(&self, entry: &Entry) {
        let Some(EntryCopy { key, draft, .. }) = entry.copies.last() else { return };
        let kind = match (&draft.content, key) {
            (Content::Message { .. }, RoomKey::Room(name)) if *name == self.lobby => MessageKind::Global,
            (Content::Message { .. }, RoomKey::Room(_)) => MessageKind::Room,
            (Content::Message { .. }, RoomKey::Inbox(_)) => MessageKind::Private,
            (Content::Edit { .. }, _) => return self.metrics.changed(ChangeKind::Edit),
            (Content::Deletion { .. }, _) => return self.metrics.changed(ChangeKind::Deletion),
            (Content::Reaction { .. }, _) => return self.metrics.changed(ChangeKind::Reaction),
        };
        self.metrics.message(kind, draft.content.text().len());
    }

    /// Warns the operator of full tables, at most once per [`FULL_TABLE_WARNING_INTERVAL`], whatever clients do.
    fn warn_of_full_tables(&mut self) {
        let now = clock::now();
        if self.warned.is_some_and(|at| now.saturating_duration_since(at) < FULL_TABLE_WARNING_INTERVAL) {
            return;
        }
        let dropped = self.state.dropped_for_space();
        for (variable, most) in self.state.full_tables() {
            self.warned = Some(now);
            let (since, all) = (dropped - self.dropped_when_warned, dropped);
            if since == 0 {
                warn!("a table is full ({variable} = {most})");
            } else {
                warn!(
                    "a table is full ({variable} = {most}); rooms and inboxes dropped to make space: {since} since the \
                     last such line, {all} in total"
                );
            }
        }
        if self.warned == Some(now) {
            self.dropped_when_warned = dropped;
        }
    }

    fn send(&self, hub: HubId, command: HubCommand, now: Instant) {
        match self.hubs.get(usize::from(hub.0)) {
            Some(Some(hub)) => hub.send(command, now),
            _ => error!("dropped a command for the unknown hub {}", hub.0),
        }
    }

    fn send_by_hub(
        &self,
        sessions: &[SessionId],
        command: impl Fn(SmallVec<[SessionId; 2]>) -> HubCommand,
        now: Instant,
    ) {
        for hub in self.hubs.iter().flatten() {
            let own: SmallVec<_> = sessions.iter().copied().filter(|session| session.hub() == hub.id()).collect();
            if !own.is_empty() {
                hub.send(command(own), now);
            }
        }
    }
}

impl Actor for ChatServer {
    type Context = Context<Self>;
}

impl Handler<SentToChat> for ChatServer {
    type Result = ();

    fn handle(&mut self, message: SentToChat, context: &mut Context<Self>) {
        if matches!(message.command, Command::Heard(_)) {
            self.hear(message, context);
        } else {
            self.take(message, context);
        }
    }
}

impl Handler<Reported> for ChatServer {
    type Result = ();

    fn handle(&mut self, message: Reported, context: &mut Context<Self>) {
        let Reported { report, arrival, in_mailbox } = message;
        drop(in_mailbox);
        let _work = arrival.begin();
        if self.is_unfit {
            return;
        }
        self.history.reported(report, &mut self.completions);
        let turn = self.turn(Now::read());
        self.perform(turn, context);
    }
}

impl Handler<EndTurn> for ChatServer {
    type Result = ();

    fn handle(&mut self, _: EndTurn, context: &mut Context<Self>) {
        self.turn_ends = false;
        if self.is_unfit {
            return;
        }
        let started = clock::now();
        if let Some(LogOfNode { log, .. }) = &mut self.log {
            self.state.pack(|record| log.write(record));
        }
        self.history.end_turn(&mut self.completions);
        let turn = self.turn(Now::read());
        self.perform(turn, context);
        self.metrics.chat_server().worked(clock::now().saturating_duration_since(started));
    }
}

impl Handler<RegisterHub> for ChatServer {
    type Result = ();

    fn handle(&mut self, RegisterHub(hub): RegisterHub, _: &mut Context<Self>) {
        let index = usize::from(hub.id().0);
        if self.hubs.len() <= index {
            self.hubs.resize(index + 1, None);
        }
        if let Some(slot) = self.hubs.get_mut(index) {
            *slot = Some(hub);
        }
    }
}
