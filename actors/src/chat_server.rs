//! The one actor that holds rooms, names and members.
//!
//! The rules are in [`state`], a pure state machine; the actor applies a command and performs the effects. With more
//! than one core the actor runs on an arbiter of its own, so that it and the worker threads never wait for each other.
//! With one core it shares the worker's thread, so that a message does not have to wake a second thread
//! (`docs/decisions/0015-one-core-one-thread.md`).

pub mod command;
pub mod effect;
mod handle;
mod parts;
pub mod state;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::dev::channel::{self, AddressReceiver};
use actix::prelude::*;
use bytes::Bytes;
use log::{error, warn};
use smallvec::SmallVec;
use starling_protocol::{RoomName, ServerEvent};
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

pub use self::command::{HistoryQuery, OperatorPost};
pub use self::effect::Turn;
pub use self::handle::{AskError, ChatServerHandle};

use self::command::Command;
use self::effect::{Effect, NodeEffect};
use self::handle::{Enveloped, RegisterHub, Reported};
use self::state::ChatState;
use crate::clock::{self, Now};
use crate::config::ChatConfig;
use crate::history::{Completion, Draft, EntryCopy, History, LogMark, RoomKey};
use crate::hub::{Delivery, HubCommand, HubHandle, ToSession};
use crate::ids::{HubId, SessionId};
use crate::metrics::{ActorKind, Mailbox, MessageKind, Metrics};
use crate::nodes::log::{Log, LogState};
use crate::nodes::record::{BadRecord, Incarnation, LogPosition};
use crate::nodes::start;
use crate::vitals::{Pulse, VitalPart, Vitals};

/// The interval at which the chat looks for work that is due by time.
const TICK: Duration = Duration::from_millis(250);

/// Shortest time between two warnings in the log that a table is full.
const FULL_TABLE_WARNING_INTERVAL: Duration = Duration::from_mins(1);

/// Holds the rooms and routes private messages. See [`ChatServerHandle`] for the way in.
pub struct ChatServer {
    /// Dropped first, so that the vitals name the `ChatServer` as the cause: the hubs end once their last handle is
    /// gone.
    _pulse: Pulse,
    state: ChatState,
    history: History,
    /// The log of all nodes, where there are others.
    log: Option<LogOfNode>,
    hubs: Vec<Option<HubHandle>>,
    metrics: Arc<Metrics>,
    lobby: RoomName,
    /// Empty between two commands; kept only to reuse its allocation.
    effects: Vec<Effect>,
    completions: Vec<Completion>,
    /// The time of the last warning about a full table, and the number of rooms and inboxes dropped for others by then.
    warned: Option<Instant>,
    dropped_when_warned: u64,
    /// Whether an `EndTurn` is already in the mailbox.
    turn_ends: bool,
    /// Whether this node must not go on, because it differs from the others.
    must_stop: bool,
    /// Dropped last, after `history`: its receiver waits for the end of the chat and of the history.
    _end: End,
}

/// The log of all nodes, as this node has it.
struct LogOfNode {
    log: Box<dyn Log>,
    /// See [`LogState::id`].
    id: u64,
    /// The record behind which this node begins to read.
    behind: LogPosition,
    life: Incarnation,
}

/// What makes a server a node of several.
pub struct NodeSettings {
    /// The node's name, for people.
    pub name: String,
    /// How long another node may be silent before it is declared out.
    pub timeout: Duration,
    /// The log.
    pub log: Box<dyn Log>,
    /// What the engine knows of the log.
    pub state: LogState,
    /// Loads a checkpoint. The error is for a person.
    pub load: Box<dyn FnOnce(LogPosition) -> Result<Bytes, String>>,
}

impl std::fmt::Debug for NodeSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeSettings").field("name", &self.name).field("state", &self.state).finish_non_exhaustive()
    }
}

/// Why a server cannot be a node: one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum CannotBegin {
    /// The history and the log do not belong together.
    #[error(transparent)]
    Start(#[from] start::CannotStart),
    /// The checkpoint cannot be loaded.
    #[error("the checkpoint cannot be loaded: {0}")]
    NoCheckpoint(String),
    /// The checkpoint cannot be read.
    #[error("the checkpoint cannot be read: {0}")]
    Unreadable(#[from] BadRecord),
}

/// Reports on drop whether the chat ended in order, that is without a panic.
struct End(Option<oneshot::Sender<bool>>);

impl End {
    /// The chat does not end in order.
    fn fail(&mut self) {
        if let Some(tell) = self.0.take() {
            // The receiver may be gone; then nobody needs the outcome.
            tell.send(false).unwrap_or_default();
        }
    }
}

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

/// A chat whose actor does not run yet.
pub struct PreparedChat {
    chat: ChatServer,
    mailbox: AddressReceiver<ChatServer>,
    handle: ChatServerHandle,
}

impl std::fmt::Debug for PreparedChat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PreparedChat").field("chat", &self.chat).finish_non_exhaustive()
    }
}

impl PreparedChat {
    /// Runs the chat on this thread, which must belong to an actix arbiter.
    pub fn run_here(self) {
        let Self { chat, mailbox, handle } = self;
        actix_rt::spawn(Context::with_receiver(mailbox).into_future(chat));
        // The ticker is outside the actor: `ctx.run_interval` would not fire before the mailbox is empty.
        actix_rt::spawn(async move {
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while handle.is_alive() {
                ticks.tick().await;
                handle.tick().await;
            }
        });
    }
}

impl ChatServer {
    /// Makes a chat. Commands that are sent to it wait in its mailbox until it [runs](PreparedChat::run_here).
    ///
    /// The returned receiver reports, once the chat and its history have ended, whether the chat ended in order.
    pub fn prepare(
        config: ChatConfig,
        history: History,
        metrics: Arc<Metrics>,
    ) -> (ChatServerHandle, PreparedChat, oneshot::Receiver<bool>) {
        let (state, history) = Self::alone(config, history);
        Self::prepare_with(state, history, None, metrics)
    }

    fn seed() -> u64 {
        #[expect(clippy::cast_possible_truncation, reason = "any 64 of the bits will do")]
        let seed = clock::secret() as u64;
        seed
    }

    /// The chat of a server without other nodes.
    fn alone(config: ChatConfig, mut history: History) -> (ChatState, History) {
        let mut state = ChatState::new(config, Self::seed());
        state.restore(history.restore(), Now::read());
        (state, history)
    }

    /// Makes a chat that is a node of several, like [`prepare`](Self::prepare). It lets nobody in before it has read the
    /// log.
    ///
    /// # Errors
    /// [`CannotBegin`].
    pub fn prepare_node(
        config: ChatConfig,
        mut history: History,
        metrics: Arc<Metrics>,
        node: NodeSettings,
    ) -> Result<(ChatServerHandle, PreparedChat, oneshot::Receiver<bool>), CannotBegin> {
        let NodeSettings { name, timeout, log, state: of_log, load } = node;
        let restored = history.restore();
        let begin = start::start(restored.mark, &of_log)?;
        let mut state = ChatState::new(config, Self::seed());
        let life = state.become_node(&name, timeout, of_log.id);
        let checkpoint = (begin.checkpoint.0 > 0).then(|| load(begin.checkpoint)).transpose();
        let checkpoint = checkpoint.map_err(CannotBegin::NoCheckpoint)?;
        state.begin_from(checkpoint.as_deref(), restored, Now::read())?;
        let log = LogOfNode { log, id: of_log.id, behind: begin.checkpoint, life };
        Ok(Self::prepare_with(state, history, Some(log), metrics))
    }

    fn prepare_with(
        state: ChatState,
        mut history: History,
        log: Option<LogOfNode>,
        metrics: Arc<Metrics>,
    ) -> (ChatServerHandle, PreparedChat, oneshot::Receiver<bool>) {
        let waiting = Mailbox::new(metrics.mailboxes(ActorKind::ChatServer));
        metrics.set_held(state.held());
        let vitals = Vitals::default();
        let (sender, mailbox) = channel::channel(0);
        let counted = Arc::clone(metrics.chat_server());
        let handle = ChatServerHandle::new(Addr::new(sender), counted, waiting, vitals.clone());
        let reporting = handle.clone();
        history.connect(Arc::new(move |report| reporting.report(report)), &vitals);
        let log = log.map(|mut it| {
            let hearing = handle.clone();
            it.log.begin(it.life);
            it.log.connect(it.behind, Arc::new(move |heard| hearing.hear(heard)), &vitals);
            it
        });
        let (ended, has_ended) = oneshot::channel();
        let chat = Self {
            _pulse: vitals.pulse(VitalPart::ChatServer),
            state,
            history,
            log,
            hubs: Vec::new(),
            metrics,
            lobby: RoomName::lobby(),
            effects: Vec::new(),
            completions: Vec::new(),
            warned: None,
            dropped_when_warned: 0,
            turn_ends: false,
            must_stop: false,
            _end: End(Some(ended)),
        };
        (handle.clone(), PreparedChat { chat, mailbox, handle }, has_ended)
    }

    fn apply(&mut self, command: Command, now: Now, context: &mut Context<Self>) {
        let mut turn = self.turn(now);
        self.state.apply(command, &mut turn);
        self.perform(turn, context);
    }

    fn turn(&mut self, now: Now) -> Turn {
        Turn { now, effects: std::mem::take(&mut self.effects) }
    }

    /// Performs the effects of a turn and applies the completions that the history adds meanwhile, until both are
    /// empty. The history starts to commit its queued entries when the mailbox is empty: `EndTurn` is the last message
    /// of a turn.
    fn perform(&mut self, mut turn: Turn, context: &mut Context<Self>) {
        loop {
            let mut effects = std::mem::take(&mut turn.effects);
            for effect in effects.drain(..) {
                self.perform_one(effect);
            }
            turn.effects = effects;
            let mut completions = std::mem::take(&mut self.completions);
            if completions.is_empty() {
                break;
            }
            for completion in completions.drain(..) {
                self.state.apply(Command::Completed(completion), &mut turn);
            }
            self.completions = completions;
        }
        self.effects = turn.effects;
        if self.history.has_failed() {
            error!("the history lacks a message that the log has: this node stops");
            self.must_stop = true;
        }
        if self.must_stop {
            self._end.fail();
            return context.stop();
        }
        let has_queued = self.history.has_queued() || self.state.has_proposals();
        if has_queued && !self.turn_ends {
            self.turn_ends = true;
            context.notify(EndTurn);
        }
    }

    fn perform_one(&mut self, effect: Effect) {
        match effect {
            Effect::To { session, command } => {
                if let ToSession::Tell { event, .. } = &command
                    && let ServerEvent::Error(refusal) = &**event
                {
                    self.metrics.rejected(refusal.code);
                }
                self.send(session.hub(), HubCommand::To { session, command });
            }
            Effect::TellMany { sessions, event } => {
                self.send_by_hub(&sessions, |sessions| HubCommand::TellMany { sessions, event: event.clone() });
            }
            Effect::Deliver { room, hubs, message, ticket } => {
                let delivery = Arc::new(Delivery::of_room(message, ticket));
                for hub in self.hubs.iter().flatten().filter(|hub| hubs.contains(hub.id())) {
                    hub.send(HubCommand::Deliver { room, delivery: Arc::clone(&delivery) });
                }
            }
            Effect::DeliverPrivate { sessions, message, ticket } => {
                self.metrics.message(MessageKind::Private, message.text.len());
                let delivery = Arc::new(Delivery::of_private(message, ticket));
                self.send_by_hub(&sessions, |sessions| HubCommand::DeliverPrivate {
                    sessions,
                    delivery: Arc::clone(&delivery),
                });
            }
            Effect::Append(entry) => {
                for EntryCopy { key, draft, .. } in &entry.copies {
                    self.count_message(key, draft);
                }
                self.history.append(entry, &mut self.completions);
            }
            Effect::Delivered { room, seq } => self.history.delivered(room, seq),
            Effect::Node(effect) => self.perform_as_node(effect),
            Effect::Read(request) => self.history.read(request, &mut self.completions),
            Effect::Forget { room, receipt } => self.history.forget(room, receipt, &mut self.completions),
            Effect::Answer(answer) => answer.send(),
            Effect::Drain { reason, spread } => {
                for hub in self.hubs.iter().flatten() {
                    hub.send(HubCommand::Drain { reason, spread });
                }
            }
        }
    }

    fn perform_as_node(&mut self, effect: NodeEffect) {
        let Some(LogOfNode { log, id, .. }) = &mut self.log else { return };
        match effect {
            NodeEffect::Keep { entry, placed } => {
                for EntryCopy { key, draft, .. } in &entry.copies {
                    self.count_message(key, draft);
                }
                self.history.keep(entry, &placed, &mut self.completions);
            }
            NodeEffect::Applied(position) => {
                self.history.mark(LogMark { log: *id, position: position.0 });
                log.applied(position);
            }
            NodeEffect::Write(record) => log.write(record),
            NodeEffect::Relay { to, number, message } => log.relay(to, number, *message),
            NodeEffect::AnswerRelay { to, number, is_delivered } => log.answer(to, number, is_delivered),
            NodeEffect::Checkpoint { at, state } => log.store_checkpoint(at, state),
            NodeEffect::Diverged { at } => {
                // A copy that has diverged must not serve.
                error!("this node has made something else of the log than another one, up to record {}", at.0);
                self.must_stop = true;
            }
            NodeEffect::BeginsAnew(life) => log.begin(life),
        }
    }

    fn count_message(&self, key: &RoomKey, draft: &Draft) {
        let kind = match key {
            RoomKey::Room(name) if *name == self.lobby => MessageKind::Global,
            RoomKey::Room(_) => MessageKind::Room,
            // A private message has two copies; only the receiver's copy counts.
            RoomKey::Inbox(owner) if draft.to.as_ref() == Some(owner) => MessageKind::Private,
            RoomKey::Inbox(_) => return,
        };
        self.metrics.message(kind, draft.text.len());
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
            warn!(
                "a table is full ({variable} = {most}); dropped for others: {since} since the last such line, {all} in all"
            );
        }
        if self.warned == Some(now) {
            self.dropped_when_warned = dropped;
        }
    }

    fn send(&self, hub: HubId, command: HubCommand) {
        match self.hubs.get(usize::from(hub.0)) {
            Some(Some(hub)) => hub.send(command),
            _ => error!("unknown hub {}: dropped a command for it", hub.0),
        }
    }

    fn send_by_hub(&self, sessions: &[SessionId], command: impl Fn(SmallVec<[SessionId; 2]>) -> HubCommand) {
        for hub in self.hubs.iter().flatten() {
            let own: SmallVec<_> = sessions.iter().copied().filter(|session| session.hub() == hub.id()).collect();
            if !own.is_empty() {
                hub.send(command(own));
            }
        }
    }
}

/// The mailbox is empty, so the history commits its queued entries. The `ChatServer` sends it to itself.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct EndTurn;

impl Actor for ChatServer {
    type Context = Context<Self>;
}

impl Handler<Enveloped> for ChatServer {
    type Result = ();

    fn handle(&mut self, message: Enveloped, context: &mut Context<Self>) {
        let Enveloped { command, arrival, in_mailbox } = message;
        drop(in_mailbox);
        let work = arrival.begin();
        let changes_tables = matches!(command, Command::OpenSession { .. } | Command::Tick { .. });
        self.apply(command, Now::read_at(work.started()), context);
        if changes_tables {
            self.metrics.set_held(self.state.held());
            self.warn_of_full_tables();
        }
    }
}

impl Handler<Reported> for ChatServer {
    type Result = ();

    fn handle(&mut self, message: Reported, context: &mut Context<Self>) {
        let Reported { report, arrival, in_mailbox } = message;
        drop(in_mailbox);
        let _work = arrival.begin();
        self.history.reported(report, &mut self.completions);
        let turn = self.turn(Now::read());
        self.perform(turn, context);
    }
}

impl Handler<EndTurn> for ChatServer {
    type Result = ();

    fn handle(&mut self, _: EndTurn, context: &mut Context<Self>) {
        self.turn_ends = false;
        if let Some(LogOfNode { log, .. }) = &mut self.log {
            self.state.pack(|record| log.write(record));
        }
        self.history.end_turn(&mut self.completions);
        let turn = self.turn(Now::read());
        self.perform(turn, context);
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
