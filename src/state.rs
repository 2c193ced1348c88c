//! What every edge of the server shares.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use starling_actors::{ChatConfig, ChatServerHandle, Metrics, clock};

use crate::admission::Admission;
use crate::auth::Access;
use crate::broken_connections::BrokenConnections;
use crate::http_limits::HttpLimits;
use crate::page::Pages;
use crate::path_prefix::PathPrefix;
use crate::refusal::RefusedHandshakes;

/// The shared state of the edges; one per server.
#[derive(Debug)]
pub(crate) struct ServerState {
    chat: ChatServerHandle,
    chat_config: Arc<ChatConfig>,
    metrics: Arc<Metrics>,
    refused: RefusedHandshakes,
    broken: BrokenConnections,
    pages: Pages,
    path_prefix: PathPrefix,
    access: Access,
    started: Instant,
    draining: AtomicBool,
    short_of_memory: AtomicBool,
    admission: Admission,
    http_limits: HttpLimits,
}

impl ServerState {
    #[expect(clippy::too_many_arguments, reason = "the parts that it shares, each named once")]
    pub(crate) fn new(
        chat: ChatServerHandle,
        chat_config: Arc<ChatConfig>,
        metrics: Arc<Metrics>,
        refused: RefusedHandshakes,
        broken: BrokenConnections,
        pages: Pages,
        path_prefix: PathPrefix,
        access: Access,
        admission: Admission,
        http_limits: HttpLimits,
    ) -> Self {
        Self {
            chat,
            chat_config,
            metrics,
            refused,
            broken,
            pages,
            path_prefix,
            access,
            started: clock::now(),
            draining: AtomicBool::new(false),
            short_of_memory: AtomicBool::new(false),
            admission,
            http_limits,
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

    pub(crate) fn broken(&self) -> &BrokenConnections {
        &self.broken
    }

    pub(crate) fn refused(&self) -> &RefusedHandshakes {
        &self.refused
    }

    pub(crate) fn pages(&self) -> &Pages {
        &self.pages
    }

    pub(crate) fn path_prefix(&self) -> &PathPrefix {
        &self.path_prefix
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
        } else if self.is_short_of_memory() {
            Some("the server is short of memory".into())
        } else {
            self.metrics.history().health.failure().map(Cow::from)
        }
    }

    /// Takes no new connection from now on.
    pub(crate) fn refuse_new(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Whether new work is refused until memory is free again.
    pub(crate) fn is_short_of_memory(&self) -> bool {
        self.short_of_memory.load(Relaxed)
    }

    /// Sets whether new connections and searches over HTTP are refused until memory is free again.
    pub(crate) fn set_short_of_memory(&self, is_short: bool) {
        self.short_of_memory.store(is_short, Relaxed);
    }

    /// What an HTTP connection may take.
    pub(crate) fn http_limits(&self) -> HttpLimits {
        self.http_limits
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }
}
