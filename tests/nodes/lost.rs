//! A node that cannot follow the log any more ends instead of guessing.

use std::path::Path;

use starling::nats::NatsLog;
use starling_actors::nodes::record::FORMAT;
use test_kit::nats::Nats;

use crate::harness::{Ear, Node, operator, settings};

#[tokio::test]
async fn a_record_that_no_node_of_this_version_wrote_ends_the_process() {
    for bytes in [&b""[..], b"\0hello", &[FORMAT, 7]] {
        let nats = Nats::start().await;
        let mut node = Node::start(&settings(&nats.url()), 1).await;
        node.write_upto(10).await;
        let operator = operator(&nats.url()).await;
        operator.publish("starling.log", bytes.to_vec().into()).await.unwrap().await.unwrap();
        let line = node.ear.death().await;
        assert!(
            line.starts_with("cannot read record ") && line.ends_with(" of the log: it was not written by a node"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_stream_that_is_deleted_or_made_again_ends_the_process() {
    for is_made_again in [false, true] {
        let nats = Nats::start().await;
        let settings = settings(&nats.url());
        let mut node = Node::start(&settings, 1).await;
        node.write_upto(10).await;
        let before = node.ear.log.state().id;
        operator(&nats.url()).await.delete_stream("starling").await.unwrap();
        if is_made_again {
            let again = NatsLog::connect(&settings).await.unwrap();
            assert_ne!(again.state().id, before, "it is another log");
            assert_eq!((again.state().first.0, again.state().last.0), (1, 0));
        }
        let line = node.ear.death().await;
        assert!(line.ends_with("the log is gone"), "{line}");
    }
}

/// Copies a folder.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_log_that_has_lost_records_ends_the_process_even_if_others_took_their_place() {
    for has_others in [false, true] {
        let mut nats = Nats::start().await;
        let settings = settings(&nats.url());
        let mut node = Node::start(&settings, 1).await;
        node.write_upto(10).await;
        let old = tempfile::tempdir().unwrap();
        nats.kill();
        copy(&nats.files(), old.path());
        nats.start_again().await;
        node.write_upto(100).await;
        nats.kill();
        std::fs::remove_dir_all(nats.files()).unwrap();
        copy(old.path(), &nats.files());
        nats.start_again().await;
        if has_others {
            // More than was lost.
            Node::start(&settings, 2).await.write_upto(1_000).await;
        }
        let line = node.ear.death().await;
        assert!(line.ends_with("the log has lost records"), "{line}");
    }
}

#[tokio::test]
async fn a_node_whose_next_records_were_dropped_ends() {
    let nats = Nats::start().await;
    let settings = settings(&nats.url());
    let mut node = Node::start(&settings, 1).await;
    node.write_upto(100).await;
    let stream = operator(&nats.url()).await.get_stream("starling").await.unwrap();
    stream.delete_message(5).await.unwrap();
    let line = Ear::behind(&settings, 0).await.death().await;
    assert!(line.contains("are not in the log any more"), "{line}");
    let mut behind_it = Ear::behind(&settings, 5).await;
    behind_it.reachable(true).await;
}
