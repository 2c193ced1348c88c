//! Checkpoints are stored and read, and the log is trimmed up to the oldest kept one.

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use starling::nats::NatsLog;
use starling_actors::nodes::log::Log as _;
use starling_actors::nodes::record::{LogPosition, RecordId};
use test_kit::nats::Nats;
use test_kit::{LOOK, within};

use crate::harness::{Ear, Node, has_checkpoints, operator, record, settings};

/// A state with an odd size.
fn state(at: u64) -> Bytes {
    (0..300_007_u32).map(|index| (u64::from(index).wrapping_mul(at) >> 3).to_le_bytes()[0]).collect()
}

#[tokio::test]
async fn the_newest_three_are_kept_and_the_log_from_the_oldest_of_them() {
    let nats = Nats::start().await;
    let settings = settings(&nats.url());
    let mut node = Node::start(&settings, 1).await;
    let mut stored = Vec::new();
    for round in 1..=4 {
        node.write_upto(round * 100).await;
        let at = record(&settings, node.order.len() as u64).await;
        node.ear.log.store_checkpoint(at, state(at.position.0));
        stored.push(at);
        let kept: Vec<_> = stored.iter().rev().take(3).rev().copied().collect();
        let first = if kept.len() == 3 { kept[0].position.0 } else { 1 };
        let found = within(format!("{kept:?} are kept"), async {
            loop {
                let log = NatsLog::connect(&settings).await.unwrap();
                if log.state().checkpoints == kept && log.state().first.0 == first {
                    break log;
                }
            }
        });
        let log = found.await;
        for at in kept {
            assert_eq!(log.loader()(at).unwrap(), state(at.position.0), "{at:?}");
        }
        assert!(log.loader()(RecordId { nanos: 1, ..at }).is_err());
    }
    // A node that has not read the dropped records cannot continue; a node at the oldest checkpoint can.
    let oldest = stored[1].position.0;
    let line = Ear::behind(&settings, oldest - 2).await.death().await;
    assert!(line.contains("start it again: it begins at a checkpoint"), "{line}");
    let mut ear = Ear::behind(&settings, oldest).await;
    ear.reachable(true).await;
}

#[tokio::test]
async fn checkpoints_of_another_log_are_none() {
    let nats = Nats::start().await;
    let settings = settings(&nats.url());
    let mut node = Node::start(&settings, 1).await;
    node.write_upto(100).await;
    node.ear.log.store_checkpoint(record(&settings, 5).await, state(5));
    has_checkpoints(&settings, 1).await;
    drop(node);
    operator(&nats.url()).await.delete_stream("starling").await.unwrap();
    let log = NatsLog::connect(&settings).await.unwrap();
    assert!(log.state().checkpoints.is_empty());
}

#[tokio::test]
async fn checkpoints_of_records_that_the_log_has_lost_are_none_and_the_log_is_not_trimmed_for_them() {
    let nats = Nats::start().await;
    let settings = settings(&nats.url());
    let mut node = Node::start(&settings, 1).await;
    node.write_upto(100).await;
    let (early, late) = (record(&settings, 3).await, record(&settings, 9).await);
    let replaced = |position| RecordId { position: LogPosition(position), nanos: late.nanos + 1 };
    let lost = [replaced(2), replaced(6), replaced(1_000), replaced(2_000)];
    let store = operator(&nats.url()).await.get_object_store("starling-checkpoints").await.unwrap();
    let mut count = 0;
    for at in lost.into_iter().chain([early, late]) {
        node.ear.log.store_checkpoint(at, state(1));
        count += 1;
        within("it is stored", async {
            while store.list().await.unwrap().try_collect::<Vec<_>>().await.unwrap().len() < count {
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
    }
    let log = NatsLog::connect(&settings).await.unwrap();
    assert_eq!((log.state().checkpoints.clone(), log.state().first.0), (vec![early, late], 1));

    // The third that is one trims the log, and what is stored for the records before.
    node.write_upto(200).await;
    let third = record(&settings, node.order.len() as u64).await;
    node.ear.log.store_checkpoint(third, state(1));
    within("the log is trimmed", async {
        while store.list().await.unwrap().try_collect::<Vec<_>>().await.unwrap().len() != count {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    let log = NatsLog::connect(&settings).await.unwrap();
    let (kept, first) = (vec![early, late, third], early.position.0);
    assert_eq!((log.state().checkpoints.clone(), log.state().first.0), (kept, first));
}

#[tokio::test]
async fn what_is_queued_when_the_log_is_dropped_is_still_written() {
    let nats = Nats::start().await;
    let settings = settings(&nats.url());
    let mut node = Node::start(&settings, 1).await;
    node.write_upto(10).await;
    let before = NatsLog::connect(&settings).await.unwrap().state().last.0;
    for _ in 0..100 {
        node.write(1);
    }
    tokio::task::spawn_blocking(move || drop(node)).await.unwrap();
    assert_eq!(NatsLog::connect(&settings).await.unwrap().state().last.0, before + 100);
}
