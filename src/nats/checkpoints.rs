//! The checkpoints: objects in a store of NATS, and the log that is kept from the oldest of them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::object_store::ObjectStore;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use log::{info, warn};
use starling_actors::clock;
use starling_actors::nodes::record::LogPosition;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{sleep, timeout};

use super::fatal::Fatal;
use super::link::Link;

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
    pub(super) at: LogPosition,
    pub(super) state: Bytes,
}

/// The name of a checkpoint. It contains the log's id: those of another log are of no use.
fn name(log: u64, at: LogPosition) -> String {
    format!("{log:016x}-{:020}", at.0)
}

fn position(log: u64, name: &str) -> Option<LogPosition> {
    name.strip_prefix(&format!("{log:016x}-"))?.parse().ok().map(LogPosition)
}

/// The checkpoints of this log, the oldest first.
pub(super) async fn list(store: &ObjectStore, log: u64) -> Result<Vec<LogPosition>, async_nats::Error> {
    let objects: Vec<_> = store.list().await?.try_collect().await?;
    let mut found: Vec<_> = objects.iter().filter_map(|object| position(log, &object.name)).collect();
    found.sort_unstable();
    Ok(found)
}

/// Reads a checkpoint. The store checks that it is whole.
pub(super) async fn load(store: &ObjectStore, log: u64, at: LogPosition) -> Result<Bytes, async_nats::Error> {
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
        if let Err(error) = try_to_store(&link, at, &state).await {
            link.metrics.failed_checkpoint();
            warn!("cannot store the checkpoint at record {}: {error}", at.0);
            continue;
        }
        link.metrics.stored_checkpoint(bytes, began);
        match trim(&link).await {
            Ok(Some(upto)) => info!("stored a checkpoint at record {}; trimmed the log up to record {}", at.0, upto.0),
            Ok(None) => info!("stored a checkpoint at record {}", at.0),
            Err(error) => warn!("stored a checkpoint at record {}, but cannot trim the log: {error}", at.0),
        }
    }
    // The sender lives as long as this task.
    std::future::pending().await
}

async fn try_to_store(link: &Link, at: LogPosition, state: &Bytes) -> Result<(), async_nats::Error> {
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

/// Drops all but the newest checkpoints, and the log behind the oldest that is kept. Returns up to which record.
async fn trim(link: &Link) -> Result<Option<LogPosition>, async_nats::Error> {
    let mut found = list(&link.checkpoints, link.log).await?;
    if found.len() < KEPT {
        return Ok(None);
    }
    let kept = found.split_off(found.len() - KEPT);
    let Some(oldest) = kept.first().copied() else { return Ok(None) };
    // First the log: a checkpoint without its records is useless, records without their checkpoint are not.
    link.stream.purge().sequence(oldest.0 + 1).await?;
    for old in found {
        if let Err(error) = link.checkpoints.delete(name(link.log, old)).await {
            // Another node may have been faster.
            log::debug!("cannot drop the checkpoint at record {}: {error}", old.0);
        }
    }
    Ok(Some(oldest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_found_by_its_log_and_position() {
        let name = name(0xabc, LogPosition(42));
        assert_eq!(name, "0000000000000abc-00000000000000000042");
        assert_eq!(position(0xabc, &name), Some(LogPosition(42)));
        assert_eq!(position(0xabd, &name), None, "of another log");
        assert_eq!(position(0xabc, "0000000000000abc-x"), None);
    }
}
