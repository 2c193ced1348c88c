//! What every edge of the server shares.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use starling_actors::history::sqlite::StoreHealth;
use starling_actors::{ChatConfig, ChatServerHandle, Metrics, clock};

use crate::admission::Admission;
use crate::auth::Access;
use crate::page::Pages;
use crate::refusal::RefusedHandshakes;

/// The shared state of the edges; one per server.
#[derive(Debug)]
pub(crate) struct ServerState {
    chat: ChatServerHandle,
    chat_config: Arc<ChatConfig>,
    metrics: Arc<Metrics>,
    refused: RefusedHandshakes,
    pages: Pages,
    access: Access,
    history: StoreHealth,
    started: Instant,
    draining: AtomicBool,
    short_of_memory: AtomicBool,
    admission: Admission,
}

impl ServerState {
    #[expect(clippy::too_many_arguments, reason = "the parts that it shares, each named once")]
    pub(crate) fn new(
        chat: ChatServerHandle,
        chat_config: Arc<ChatConfig>,
        metrics: Arc<Metrics>,
        refused: RefusedHandshakes,
        pages: Pages,
        access: Access,
        history: StoreHealth,
        admission: Admission,
    ) -> Self {
        Self {
            chat,
            chat_config,
            metrics,
            refused,
            pages,
            access,
            history,
            started: clock::now(),
            draining: AtomicBool::new(false),
            short_of_memory: AtomicBool::new(false),
            admission,
        }
    }

    pub(crate) fn chat(&self) -> &ChatServerHandle {
        &self.chat
    }

    pub(crate) fn chat_config(&self) -> &Arc<ChatConfig> {
        &self.chat_config
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(crate) fn refused(&self) -> &RefusedHandshakes {
        &self.refused
    }

    pub(crate) fn pages(&self) -> &Pages {
        &self.pages
    }

    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    pub(crate) fn uptime_seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// Why the server cannot serve at the moment, if so.
    pub(crate) fn not_ready(&self) -> Option<Cow<'static, str>> {
        if let Some(died) = self.chat.vitals().dead() {
            Some(died.to_string().into())
        } else if self.draining.load(Relaxed) {
            Some("the server is stopping".into())
        } else if self.short_of_memory.load(Relaxed) {
            Some("the server is short of memory".into())
        } else {
            self.history.failure().map(Cow::from)
        }
    }

    /// Takes no new connection from now on.
    pub(crate) fn refuse_new(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Whether new connections are refused until memory is free again.
    pub(crate) fn set_short_of_memory(&self, is_short: bool) {
        self.short_of_memory.store(is_short, Relaxed);
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }
}
