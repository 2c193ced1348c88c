//! The checkpoints: objects in a store of NATS, and the log that is kept from the oldest of them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::object_store::ObjectStore;
use async_nats::jetstream::stream::Stream;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use log::{info, warn};
use starling_actors::clock;
use starling_actors::nodes::record::{LogPosition, RecordId};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{sleep, timeout};

use super::fatal::Fatal;
use super::link::Link;
use super::reader;

/// How many checkpoints are kept.
const KEPT: usize = 3;

/// Attempts to store a checkpoint.
const ATTEMPTS: usize = 5;

/// Time between two attempts.
const ATTEMPT_INTERVAL: Duration = Duration::from_secs(1);

/// Longest time of one attempt.
const ATTEMPT_TIME: Duration = Duration::from_mins(1);

/// A checkpoint that is to be stored.
#[derive(Debug)]
pub(super) struct Checkpoint {
    pub(super) at: RecordId,
    pub(super) state: Bytes,
}

/// The name of a checkpoint. It contains the log's id: those of another log are of no use.
fn name(log: u64, at: RecordId) -> String {
    format!("{log:016x}-{:020}-{:016x}", at.position.0, at.nanos)
}

/// The record of a checkpoint with this name, if it is one of this log.
fn record(log: u64, name: &str) -> Option<RecordId> {
    let (position, nanos) = name.strip_prefix(&format!("{log:016x}-"))?.split_once('-')?;
    let nanos = u64::from_str_radix(nanos, 16).ok()?;
    Some(RecordId { position: LogPosition(position.parse().ok()?), nanos })
}

/// The objects that are stored under the id of this log, the oldest first.
async fn stored(store: &ObjectStore, log: u64) -> Result<Vec<RecordId>, async_nats::Error> {
    let objects: Vec<_> = store.list().await?.try_collect().await?;
    let mut found: Vec<_> = objects.iter().filter_map(|object| record(log, &object.name)).collect();
    found.sort_unstable();
    Ok(found)
}

/// The checkpoints of this log, the oldest first. The log keeps their records. Where it has lost its end, a checkpoint
/// there is of no use, even if another record has taken the place.
pub(super) async fn list(store: &ObjectStore, stream: &Stream, log: u64) -> Result<Vec<RecordId>, async_nats::Error> {
    let mut own = Vec::new();
    for at in stored(store, log).await? {
        if reader::find(stream, at.position).await? == Some(at) {
            own.push(at);
        }
    }
    Ok(own)
}

/// Reads a checkpoint. The store checks that it is whole.
pub(super) async fn load(store: &ObjectStore, log: u64, at: RecordId) -> Result<Bytes, async_nats::Error> {
    let mut object = store.get(name(log, at)).await?;
    let mut state = Vec::with_capacity(object.info().size);
    object.read_to_end(&mut state).await?;
    Ok(state.into())
}

/// Stores the checkpoints that come, one after the other.
pub(super) async fn store(
    link: Arc<Link>,
    mut checkpoints: UnboundedReceiver<Checkpoint>,
) -> Result<Infallible, Fatal> {
    while let Some(checkpoint) = checkpoints.recv().await {
        let Checkpoint { at, state } = checkpoint;
        let (bytes, began) = (state.len(), clock::now());
        let outcome = try_to_store(&link, at, &state).await;
        let at = at.position.0;
        if let Err(error) = outcome {
            link.metrics.failed_checkpoint();
            warn!("cannot store the checkpoint at record {at}, so the log grows until the next one: {error}");
            continue;
        }
        link.metrics.stored_checkpoint(bytes, began);
        match trim(&link).await {
            Ok(Some(first)) => info!("stored a checkpoint at record {at}; the log begins at record {}", first.0),
            Ok(None) => info!("stored a checkpoint at record {at}"),
            Err(error) => {
                warn!("stored a checkpoint at record {at}, but cannot remove old records from the log: {error}");
            }
        }
    }
    // The sender lives as long as this task.
    std::future::pending().await
}

async fn try_to_store(link: &Link, at: RecordId, state: &Bytes) -> Result<(), async_nats::Error> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let mut bytes: &[u8] = state;
        match timeout(ATTEMPT_TIME, link.checkpoints.put(name(link.log, at).as_str(), &mut bytes)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => last = Some(async_nats::Error::from(error)),
            Err(late) => last = Some(late.into()),
        }
        sleep(ATTEMPT_INTERVAL).await;
    }
    Err(last.unwrap_or_else(|| "it was not tried".into()))
}

/// Drops all but the newest checkpoints, and the log in front of the oldest that is kept. Returns at which record the
/// log begins then.
async fn trim(link: &Link) -> Result<Option<LogPosition>, async_nats::Error> {
    let own = list(&link.checkpoints, &link.stream, link.log).await?;
    let Some(oldest) = own.iter().nth_back(KEPT - 1).map(|at| at.position) else { return Ok(None) };
    // First the log: a checkpoint without its records is useless, records without their checkpoint are not.
    link.stream.purge().sequence(oldest.0).await?;
    for old in stored(&link.checkpoints, link.log).await?.into_iter().filter(|at| at.position < oldest) {
        if let Err(error) = link.checkpoints.delete(name(link.log, old)).await {
            // Another node may have been faster.
            log::debug!("cannot drop the checkpoint at record {}: {error}", old.position.0);
        }
    }
    Ok(Some(oldest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_found_by_its_log_and_its_record() {
        let at = RecordId { position: LogPosition(42), nanos: 0x1234 };
        let name = name(0xabc, at);
        assert_eq!(name, "0000000000000abc-00000000000000000042-0000000000001234");
        assert_eq!(record(0xabc, &name), Some(at));
        assert_eq!(record(0xabd, &name), None, "of another log");
        for other in ["0000000000000abc-x-1", "0000000000000abc-1-x", "0000000000000abc-1"] {
            assert_eq!(record(0xabc, other), None, "{other}");
        }
    }
}
