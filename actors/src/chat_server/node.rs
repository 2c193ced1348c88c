//! A chat that is a node of several: how it is made, and how it uses the common log.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use log::{info, warn};
use tokio::sync::oneshot;

use super::ChatServer;
use super::effect::NodeEffect;
use super::handle::ChatServerHandle;
use super::log_of_node::LogOfNode;
use super::prepared::PreparedChat;
use super::state::ChatState;
use crate::clock::Now;
use crate::config::ChatConfig;
use crate::history::{History, LogMark};
use crate::metrics::Metrics;
use crate::nodes::known::NodeChange;
use crate::nodes::log::{Log, LogState};
use crate::nodes::record::{BadRecord, LogPosition, RecordId};
use crate::nodes::start;

/// The settings and the log of a node.
pub struct NodeSettings {
    /// The node's name, for people.
    pub name: String,
    /// The time of silence after which another node is declared dead.
    pub timeout: Duration,
    /// The log.
    pub log: Box<dyn Log>,
    /// The engine's knowledge of the log.
    pub state: LogState,
    /// Finds the record that the log has at a position, if it has one. The error is for a person.
    pub find: Box<dyn FnOnce(LogPosition) -> Result<Option<RecordId>, String> + Send>,
    /// Loads a checkpoint. The error is for a person.
    pub load: Box<dyn FnOnce(RecordId) -> Result<Bytes, String> + Send>,
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
    /// The record of the history's mark cannot be read.
    #[error("the history cannot be compared with the log: {0}")]
    NotCompared(String),
    /// The checkpoint cannot be loaded.
    #[error("the checkpoint cannot be loaded: {0}")]
    NoCheckpoint(String),
    /// The checkpoint cannot be read.
    #[error("the checkpoint cannot be read")]
    Unreadable(#[from] BadRecord),
}

impl ChatServer {
    /// Makes a chat that is a node of several, like [`prepare`](Self::prepare). It accepts no client before it has read
    /// the log.
    ///
    /// # Errors
    /// [`CannotBegin`].
    pub fn prepare_node(
        config: ChatConfig,
        history: History,
        metrics: Arc<Metrics>,
        node: NodeSettings,
    ) -> Result<(ChatServerHandle, PreparedChat, oneshot::Receiver<bool>), CannotBegin> {
        let NodeSettings { name, timeout, log, state: of_log, find, load } = node;
        let mut history = history.following_a_log();
        let restored = history.restore();
        let noted = restored.mark.filter(|mark| mark.at_nanos.is_some());
        let there = noted.map(|mark| find(LogPosition(mark.position))).transpose().map_err(CannotBegin::NotCompared)?;
        let begin = start::start(restored.mark, !restored.rooms.is_empty(), &of_log, there.flatten())?;
        let behind = begin.checkpoint.map_or(LogPosition(0), |at| at.position);
        if begin.has_gap {
            warn!(
                "the log no longer has all records that this node has missed, so it begins at the checkpoint at record {}: \
                 rooms that got messages meanwhile lose their older ones on this node",
                behind.0
            );
        }
        let (first, left) = (behind.0 + 1, of_log.last.0.saturating_sub(behind.0));
        info!("this node reads the log from record {first} on: {left} records");
        if restored.mark.is_none() {
            // The mark is in the commit of the first message, so a history with messages of the log always has a mark.
            history.mark(mark(of_log.id, begin.checkpoint));
        }
        let mut state = ChatState::new(config, Self::seed());
        let life = state.become_node(&name, timeout, of_log.id);
        let checkpoint = begin.checkpoint.map(load).transpose().map_err(CannotBegin::NoCheckpoint)?;
        state.begin_from(checkpoint.as_deref(), restored, begin.kept_upto, Now::read())?;
        let log = LogOfNode { log, id: of_log.id, behind, life };
        Ok(Self::prepare_with(state, history, Some(log), metrics))
    }

    pub(super) fn perform_as_node(&mut self, effect: NodeEffect) {
        let Some(LogOfNode { log, id, .. }) = &mut self.log else { return };
        match effect {
            NodeEffect::Keep { entry, placed } => {
                self.count(&entry);
                self.history.keep(entry, &placed, &mut self.completions);
            }
            NodeEffect::Applied(record) => {
                self.history.mark(mark(*id, Some(record)));
                log.applied(record.position);
            }
            NodeEffect::Typing(notice) => log.tell_typing(&notice),
            NodeEffect::Write(record) => log.write(record),
            NodeEffect::Checkpoint { at, state } => log.store_checkpoint(at, state),
            NodeEffect::Diverged { at } => {
                self.become_unfit(&format_args!(
                    "this node and another node have different states after record {} of the log; keep its folder for \
                     an investigation, and start the node with an empty folder",
                    at.0
                ));
            }
            NodeEffect::BeginsAnew(life) => {
                warn!(
                    "the other nodes have declared this node dead: it has closed its connections, and goes on as a new \
                     node"
                );
                log.begin(life);
            }
            NodeEffect::Changed(change) => tell(&change),
        }
    }
}

/// Tells the operator of a change of the other nodes.
fn tell(change: &NodeChange) {
    match change {
        NodeChange::Found(others) if others.is_empty() => info!("no other node of the chat runs"),
        NodeChange::Found(others) => info!("the other nodes of the chat: {}", others.join(", ")),
        NodeChange::Joined(node) => info!("node {node} has joined"),
        NodeChange::Left(node) => info!("node {node} has left"),
        NodeChange::Died(node, silence) => {
            let silence = silence.map_or_else(String::new, |silence| format!(" after {} s", silence.as_secs()));
            warn!("node {node} was declared dead{silence} without a sign of life: the names of its clients are free");
        }
    }
}

/// The mark of a history that has everything up to this record of a log.
fn mark(log: u64, record: Option<RecordId>) -> LogMark {
    LogMark { log, position: record.map_or(0, |record| record.position.0), at_nanos: record.map(|record| record.nanos) }
}
