//! What every edge of the server shares.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use starling_actors::history::sqlite::StoreHealth;
use starling_actors::{ChatConfig, ChatServerHandle, Metrics, clock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
    /// One permit per connection that there may be.
    places: Arc<Semaphore>,
    places_max: usize,
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
        connections_max: usize,
    ) -> Self {
        let places_max = connections_max.min(Semaphore::MAX_PERMITS);
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
            places: Arc::new(Semaphore::new(places_max)),
            places_max,
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
        if self.draining.load(Relaxed) {
            Some("the server is stopping".into())
        } else if !self.chat.is_alive() {
            Some("the chat does not run".into())
        } else {
            self.history.failure().map(Cow::from)
        }
    }

    /// Takes no new connection from now on.
    pub(crate) fn refuse_new(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Takes a place for one more connection, given back on drop. `None`: there are as many as there may be.
    pub(crate) fn take_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// How many connections have a place: also those that were told to go and have not gone.
    pub(crate) fn places_taken(&self) -> usize {
        self.places_max.saturating_sub(self.places.available_permits())
    }
}
