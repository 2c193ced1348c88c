//! The state that the edges of the server share.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use starling_actors::clock::Instant;
use starling_actors::{ChatConfig, ChatServerHandle, Metrics, clock};

use crate::admission::Admission;
use crate::auth::Access;
use crate::broken_connections::BrokenConnections;
use crate::diagnosis::Diagnosis;
use crate::http_limits::HttpLimits;
use crate::lab::Lab;
use crate::nats::LogReach;
use crate::page::Pages;
use crate::path_prefix::PathPrefix;
use crate::readiness::{Cause, NotReady};
use crate::refusal::RefusedHandshakes;

/// The parts of the shared state, made at the start of the server.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) chat: ChatServerHandle,
    pub(crate) chat_config: Arc<ChatConfig>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) refused: RefusedHandshakes,
    pub(crate) broken: BrokenConnections,
    pub(crate) pages: Pages,
    pub(crate) path_prefix: PathPrefix,
    pub(crate) access: Access,
    pub(crate) admission: Admission,
    pub(crate) http_limits: HttpLimits,
    /// Whether the log of several nodes can be written, if there is one.
    pub(crate) log: Option<LogReach>,
    pub(crate) diagnosis: Diagnosis,
    pub(crate) lab: Lab,
}

/// The shared state of the edges; one per server.
#[derive(Debug)]
pub(crate) struct ServerState {
    shared: Shared,
    started: Instant,
    draining: AtomicBool,
    short_of_memory: AtomicBool,
    openapi: OnceLock<Bytes>,
}

impl ServerState {
    pub(crate) fn new(shared: Shared) -> Self {
        let (draining, short_of_memory) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { shared, started: clock::now(), draining, short_of_memory, openapi: OnceLock::new() }
    }

    pub(crate) fn chat(&self) -> &ChatServerHandle {
        &self.shared.chat
    }

    pub(crate) fn chat_config(&self) -> &Arc<ChatConfig> {
        &self.shared.chat_config
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    pub(crate) fn broken(&self) -> &BrokenConnections {
        &self.shared.broken
    }

    pub(crate) fn refused(&self) -> &RefusedHandshakes {
        &self.shared.refused
    }

    pub(crate) fn diagnosis(&self) -> &Diagnosis {
        &self.shared.diagnosis
    }

    pub(crate) fn lab(&self) -> &Lab {
        &self.shared.lab
    }

    pub(crate) fn pages(&self) -> &Pages {
        &self.shared.pages
    }

    pub(crate) fn path_prefix(&self) -> &PathPrefix {
        &self.shared.path_prefix
    }

    pub(crate) fn access(&self) -> &Access {
        &self.shared.access
    }

    /// The OpenAPI document of this server. Made at the first request.
    pub(crate) fn openapi(&self, make: impl FnOnce(&Self) -> Bytes) -> Bytes {
        self.openapi.get_or_init(|| make(self)).clone()
    }

    pub(crate) fn uptime_seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// Whether the server is a node of several.
    pub(crate) fn is_node(&self) -> bool {
        self.shared.log.is_some()
    }

    /// The reason that the server cannot serve at the moment, if there is one.
    pub(crate) fn not_ready(&self) -> Option<NotReady> {
        if let Some(died) = self.shared.chat.vitals().dead() {
            Some(NotReady::new(Cause::Died, died.to_string()))
        } else if let Some(stopping) = self.stopping() {
            Some(stopping)
        } else if self.is_short_of_memory() {
            Some(NotReady::new(Cause::Memory, "the server is short of memory"))
        } else if let Some(failure) = self.shared.log.as_ref().and_then(LogReach::failure) {
            Some(NotReady::new(Cause::Log, failure))
        } else {
            let failure = self.shared.metrics.history().health.failure()?;
            Some(NotReady::new(Cause::History, failure))
        }
    }

    /// Refuses new connections and requests from now on.
    pub(crate) fn refuse_new(&self) {
        self.draining.store(true, SeqCst);
    }

    /// The reason to refuse a request after [`refuse_new`](Self::refuse_new).
    pub(crate) fn stopping(&self) -> Option<NotReady> {
        self.draining.load(SeqCst).then(|| NotReady::new(Cause::Stopping, "the server is stopping"))
    }

    /// Whether new work is refused until memory is free again.
    pub(crate) fn is_short_of_memory(&self) -> bool {
        self.short_of_memory.load(Relaxed)
    }

    /// Sets whether new connections and searches over HTTP are refused until memory is free again.
    pub(crate) fn set_short_of_memory(&self, is_short: bool) {
        self.short_of_memory.store(is_short, Relaxed);
    }

    /// The limits of an HTTP connection.
    pub(crate) fn http_limits(&self) -> HttpLimits {
        self.shared.http_limits
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.shared.admission
    }
}
