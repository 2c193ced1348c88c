//! The data that all tasks of the log share.

use std::sync::Arc;

use async_nats::Client;
use async_nats::jetstream::object_store::ObjectStore;
use async_nats::jetstream::stream::Stream;
use starling_actors::nodes::log::HeardSink;
use tokio::sync::Notify;

use super::metrics::LogMetrics;
use super::progress::Progress;

/// See the [module](self).
pub(super) struct Link {
    pub(super) client: Client,
    /// The stream that is the log.
    pub(super) stream: Stream,
    /// The name of that stream.
    pub(super) name: String,
    /// See [`LogState::id`](starling_actors::nodes::log::LogState::id).
    pub(super) log: u64,
    /// The bytes of the largest record.
    pub(super) record_bytes_max: usize,
    pub(super) checkpoints: ObjectStore,
    pub(super) progress: Arc<Progress>,
    pub(super) metrics: Arc<LogMetrics>,
    pub(super) sink: HeardSink,
    /// Makes the reader open the log again.
    pub(super) open_again: Notify,
}
