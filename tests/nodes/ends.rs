//! A node that must not continue sends its clients to another node, logs the reason, and ends with a failure.

use rusqlite::Connection;
use serde_json::json;
use starling_actors::nodes::log::Log as _;
use starling_actors::nodes::record::{FORMAT, LogEntry, LogPosition};
use test_kit::nats::Nats;
use test_kit::{Client, within};

use crate::harness::{Ear, Scribe, has_checkpoints, operator, record, settings};
use crate::server::{Server, nats, say};

/// The reasons that a node must not continue.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Another node was upgraded, and writes records that this one does not know.
    NewerRecord,
    ForeignRecord,
    /// Another node has another state after the same records.
    Diverged,
    LogDeleted,
    /// The disk refuses a message that is in the log.
    DiskRefuses,
}

impl Fault {
    /// Causes it. Returns the expected reason in the log.
    async fn happen(self, nats: &Nats, node: &Server, alice: &mut Client) -> String {
        let url = nats.url();
        match self {
            Self::NewerRecord => {
                let position = Scribe::begin(&url, 1).await.write_bytes(vec![FORMAT + 1, 0, 0]).await.0;
                format!(
                    "cannot read record {position} of the log: it has format {}, but this server reads only formats up \
                     to {FORMAT}: upgrade this server, or, if no newer server runs, find what else writes into the \
                     stream",
                    FORMAT + 1
                )
            }
            Self::ForeignRecord => {
                let position = Scribe::begin(&url, 1).await.write_bytes(b"\0hello".to_vec()).await.0;
                format!(
                    "cannot read record {position} of the log: it was not written by a node; find what else publishes \
                     into the stream, and start all nodes with empty folders and a new CHAT_NATS_STREAM"
                )
            }
            Self::Diverged => {
                let mut scribe = Scribe::begin(&url, 1).await;
                let at = scribe.write(vec![LogEntry::Checkpoint]).await;
                scribe.write(vec![LogEntry::Digest { at, digest: 1 }]).await;
                format!(
                    "this node and another node have different states after record {} of the log; keep its folder for \
                     an investigation, and start the node with an empty folder",
                    at.0
                )
            }
            Self::LogDeleted => {
                operator(&url).await.delete_stream("starling").await.unwrap();
                "NATS has no stream starling any more: the log is gone; if nobody can put it back, start all nodes with \
                 empty folders"
                    .into()
            }
            Self::DiskRefuses => {
                let fault =
                    "CREATE TRIGGER fault BEFORE INSERT ON messages BEGIN SELECT RAISE(ABORT, 'on purpose'); END";
                Connection::open(node.file()).unwrap().execute_batch(fault).unwrap();
                // The node may stop before it acknowledges the message.
                alice.send_json(&json!({"type": "message", "Message": "the disk refuses it", "id": "refused"})).await;
                "the history lacks a message that the log has, because the disk did not take it; start this node again \
                 when the disk takes messages: it reads this one again"
                    .into()
            }
        }
    }
}

#[actix::test]
async fn a_node_that_must_not_go_on_closes_its_clients_with_1001_says_why_and_ends_with_a_failure() {
    let faults = [Fault::NewerRecord, Fault::ForeignRecord, Fault::Diverged, Fault::LogDeleted, Fault::DiskRefuses];
    for fault in faults {
        println!("{fault:?}");
        let nats = nats().await;
        // Longer than a node needs to notice that the log is gone.
        let timeout = [("CHAT_NODE_TIMEOUT_SECONDS", "60")];
        let mut node = Server::start(&nats, "a", &timeout).await;
        let (mut alice, _) = node.enter("alice").await;
        let (mut bob, _) = node.enter("bob").await;
        say(&mut alice, &["one"]).await;
        let reason = fault.happen(&nats, &node, &mut alice).await;
        for client in [&mut alice, &mut bob] {
            assert_eq!(within("the close", client.closed()).await, 1001, "{fault:?}");
        }
        drop((alice, bob));
        assert_eq!(node.process.exit_code().await, Some(1), "{fault:?}");
        let lines = node.process.further_lines();
        let told: Vec<_> = lines.iter().filter(|line| line.contains(&reason)).collect();
        let is_error = |line: &String| line.ends_with(&format!("ERROR starling] {reason}"));
        assert!(matches!(told[..], [line] if is_error(line)), "{fault:?}: {reason}: {lines:#?}");
    }
}

#[actix::test]
async fn an_older_node_stops_before_a_record_of_a_newer_format_and_at_each_start_until_it_is_upgraded() {
    let nats = nats().await;
    let mut older = [Server::start(&nats, "a", &[]).await, Server::start(&nats, "b", &[]).await];
    let (mut alice, _) = older[0].enter("alice").await;
    say(&mut alice, &["one"]).await;
    // The nodes continue together as long as the newer one writes records that both know.
    let mut newer = Scribe::begin(&nats.url(), 1).await;
    newer.write(Vec::new()).await;
    say(&mut alice, &["two"]).await;
    let LogPosition(position) = newer.write_bytes(vec![FORMAT + 1, 0, 0]).await;
    let reason = format!("cannot read record {position} of the log: it has format {}", FORMAT + 1);
    for node in &mut older {
        assert_eq!(node.process.exit_code().await, Some(1));
        let kept = node.kept_upto();
        assert!(kept < position, "the upgraded node reads record {position} itself, its folder is at {kept}");
        let (code, lines) = node.run_again();
        assert_eq!(code, Some(1), "{lines}");
        assert!(lines.contains(&reason), "{lines}");
    }
}

#[actix::test]
async fn an_older_node_does_not_start_from_a_checkpoint_of_a_newer_format() {
    let nats = nats().await;
    let mut node = Server::start(&nats, "a", &[]).await;
    let (mut alice, _) = node.enter("alice").await;
    say(&mut alice, &["one"]).await;
    drop(alice);
    node.process.signal(test_kit::process::Signal::TERM);
    assert_eq!(node.process.exit_code().await, Some(0));
    let mut ear = Ear::behind(&settings(&nats.url()), 0).await;
    let at = record(&settings(&nats.url()), 1).await;
    ear.log.store_checkpoint(at, vec![5, 0, 0].into());
    has_checkpoints(&settings(&nats.url()), 1).await;
    let (code, lines) = node.run_again();
    assert_eq!(code, Some(1), "{lines}");
    let reason = "the checkpoint cannot be read: it has format 5, but this server reads only formats up to 4";
    assert!(lines.contains(reason), "{lines}");
    assert_eq!(lines.matches("it has format 5").count(), 1, "it is told once: {lines}");
}
