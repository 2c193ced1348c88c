//! Reads the log: every record once, in order, without a gap.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_nats::datetime::DateTime;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use futures_util::StreamExt as _;
use log::{debug, info, warn};
use starling_actors::clock;
use starling_actors::nodes::heard::Heard;
use starling_actors::nodes::record::{LogPosition, Record, RecordId};
use tokio::time::{sleep, timeout};

use super::engine::REQUEST_TIME;
use super::fatal::Fatal;
use super::link::Link;
use super::place::{Met, Place};
use super::progress::Ahead;

/// The number of records in one request. So many of the largest records must fit into the buffer that a NATS server has
/// for each client, by default 64 MiB.
const BATCH: usize = 64;

/// How long a request for records is valid.
const BATCH_VALID: Duration = Duration::from_secs(30);

/// The interval at which NATS reports that there is no record. After two missing reports, the log is opened again.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Time before the log is opened again.
const OPEN_INTERVAL: Duration = Duration::from_millis(100);

/// How long NATS keeps its side of a reader that is gone.
const KEPT: Duration = Duration::from_secs(30);

/// A time of NATS in nanoseconds since the Unix epoch.
pub(super) fn nanos(time: DateTime) -> u64 {
    u64::try_from(time.unix_timestamp_nanos()).unwrap_or(0)
}

/// The record that the log has at a position, if it has one.
pub(super) async fn find(stream: &Stream, position: LogPosition) -> Result<Option<RecordId>, async_nats::Error> {
    match stream.get_raw_message(position.0).await {
        Ok(message) => Ok(Some(RecordId { position, nanos: nanos(message.time) })),
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reads the log after this record, for as long as this node can follow it.
pub(super) async fn read(link: Arc<Link>, behind: u64) -> Result<Infallible, Fatal> {
    let mut place = Place::behind(behind);
    let mut ahead = Ahead::default();
    let mut has_told = false;
    loop {
        let from = place.open();
        let failure = match timeout(2 * REQUEST_TIME, open(&link, from)).await {
            Ok(Ok(records)) => {
                has_told = false;
                follow(&link, &mut place, &mut ahead, records).await?;
                None
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("NATS does not answer".to_owned()),
        };
        if let Some(failure) = failure
            && !std::mem::replace(&mut has_told, true)
        {
            warn!("cannot read the log, and tries again: {failure}");
        }
        sleep(OPEN_INTERVAL).await;
    }
}

async fn open(link: &Link, from: u64) -> Result<pull::Stream, async_nats::Error> {
    let config = pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from },
        ack_policy: AckPolicy::None,
        inactive_threshold: KEPT,
        num_replicas: 1,
        memory_storage: true,
        ..pull::Config::default()
    };
    let consumer = link.stream.create_consumer(config).await?;
    let records = consumer.stream().max_messages_per_batch(BATCH).expires(BATCH_VALID).heartbeat(HEARTBEAT);
    Ok(records.messages().await?)
}

/// Reads until the log has to be opened again.
async fn follow(link: &Link, place: &mut Place, ahead: &mut Ahead, mut records: pull::Stream) -> Result<(), Fatal> {
    loop {
        let next = tokio::select! {
            next = records.next() => next,
            () = link.open_again.notified() => return Ok(()),
        };
        let Some(next) = next else { return Ok(()) };
        let message = match next {
            Ok(message) => message,
            Err(error) => {
                debug!("this node opens the log again: {error}");
                return Ok(());
            }
        };
        let began = clock::now();
        let Ok(place_of) = message.info() else { return Ok(()) };
        let position = place_of.stream_sequence;
        let id = RecordId { position: LogPosition(position), nanos: nanos(place_of.published) };
        match place.meet(id, &message.payload)? {
            Met::Known => continue,
            Met::Next => {}
            Met::Hole { from } if has_lost(link, from, position).await => {
                return Err(Fatal::Missing { from, to: position - 1 });
            }
            Met::Astray | Met::Hole { .. } => {
                info!("record {position} came and is not the next one: this node opens the log again");
                return Ok(());
            }
        }
        let record = Record::read(&message.payload).map_err(|reason| Fatal::Bad { position, reason })?;
        let bytes = message.payload.len();
        link.metrics.read(&record, bytes, began);
        (link.sink)(Heard::Record { id, record });
        link.progress.set_read(id);
        ahead.add(position, bytes);
        ahead.has_space(&link.progress).await;
    }
}

/// Whether the log has no record at `from` any more, although it has a later one.
async fn has_lost(link: &Link, from: u64, later: u64) -> bool {
    // A server that has just become the leader may not have applied all records.
    let has_later = link.stream.get_info().await.is_ok_and(|info| info.state.last_sequence >= later);
    has_later && matches!(find(&link.stream, LogPosition(from)).await, Ok(None))
}
