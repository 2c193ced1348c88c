//! A chat that does not run yet: its actor starts later, perhaps on another thread.

use std::sync::Arc;
use std::time::Duration;

use actix::dev::channel::{self, AddressReceiver};
use actix::prelude::*;
use starling_protocol::RoomName;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use super::gathering::Gathering;
use super::handle::ChatServerHandle;
use super::log_of_node::LogOfNode;
use super::state::ChatState;
use super::{ChatServer, End};
use crate::clock::{self, Now};
use crate::config::ChatConfig;
use crate::history::History;
use crate::metrics::{ActorKind, Mailbox, Metrics};
use crate::vitals::{VitalPart, Vitals};

/// The interval at which the chat looks for work that is due by time.
const TICK: Duration = Duration::from_millis(250);

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
        mut history: History,
        metrics: Arc<Metrics>,
    ) -> (ChatServerHandle, PreparedChat, oneshot::Receiver<bool>) {
        let mut state = ChatState::new(config, Self::seed());
        state.restore(history.restore(), Now::read());
        Self::prepare_with(state, history, None, metrics)
    }

    pub(super) fn seed() -> u64 {
        #[expect(clippy::cast_possible_truncation, reason = "any 64 of the bits will do")]
        let seed = clock::secret() as u64;
        seed
    }

    /// Makes a chat over a history that was restored. `log`: the log of all nodes, if there are other nodes.
    pub(super) fn prepare_with(
        state: ChatState,
        mut history: History,
        log: Option<LogOfNode>,
        metrics: Arc<Metrics>,
    ) -> (ChatServerHandle, PreparedChat, oneshot::Receiver<bool>) {
        let waiting = Mailbox::new(metrics.mailboxes(ActorKind::ChatServer));
        metrics.set_held(state.held());
        metrics.history().memory.get_or_init(|| history.kept_bytes());
        let vitals = Vitals::default();
        let (sender, mailbox) = channel::channel(0);
        let counted = Arc::clone(metrics.chat_server());
        let is_node = log.is_some();
        let handle = ChatServerHandle::new(Addr::new(sender), counted, waiting, vitals.clone(), is_node);
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
            pulse: vitals.pulse(VitalPart::ChatServer),
            state,
            history,
            log,
            gathering: Gathering::default(),
            gathered_within: SpawnHandle::default(),
            hubs: Vec::new(),
            metrics,
            lobby: RoomName::lobby(),
            effects: Vec::new(),
            completions: Vec::new(),
            warned: None,
            dropped_when_warned: 0,
            entries_at_once: 0,
            turn_ends: false,
            is_unfit: false,
            _end: End(Some(ended)),
        };
        (handle.clone(), PreparedChat { chat, mailbox, handle }, has_ended)
    }
}
