//! A node that cannot follow the log any more ends instead of guessing.

use std::path::Path;
use std::time::Duration;

use starling::nats::NatsLog;
use starling_actors::nodes::heard::Heard;
use starling_actors::nodes::record::FORMAT;
use tempfile::TempDir;
use test_kit::nats::Nats;
use test_kit::process::Signal;
use test_kit::{wait_until, within};
use tokio::time::interval;

use crate::harness::{Ear, Node, Scribe, has_checkpoints, operator, settings};
use crate::server::{Server, nats, say};

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
            line.starts_with("cannot read record ")
                && line.contains(" of the log: it was not written by a node; find what else"),
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
        assert!(line.contains("the log is gone; "), "{line}");
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

/// Ends a server of NATS, keeps a copy of its files, and starts it again.
async fn remember(nats: &mut Nats) -> TempDir {
    let old = tempfile::tempdir().unwrap();
    nats.kill();
    copy(&nats.files(), old.path());
    nats.start_again().await;
    old
}

/// A server of NATS has the files of before again, as if its machine had lost power.
async fn lose_what_came_since(nats: &mut Nats, old: &TempDir) {
    nats.kill();
    std::fs::remove_dir_all(nats.files()).unwrap();
    copy(old.path(), &nats.files());
    nats.start_again().await;
}

#[tokio::test]
async fn a_log_that_has_lost_records_ends_the_process_even_if_others_took_their_place() {
    for has_others in [false, true] {
        let mut nats = Nats::start().await;
        let settings = settings(&nats.url());
        let mut node = Node::start(&settings, 1).await;
        node.write_upto(10).await;
        let old = remember(&mut nats).await;
        node.write_upto(100).await;
        lose_what_came_since(&mut nats, &old).await;
        if has_others {
            // More than was lost.
            Node::start(&settings, 2).await.write_upto(1_000).await;
        }
        let line = node.ear.death().await;
        assert!(line.contains("the log has lost records"), "{line}");
    }
}

/// Others that write into a log after it has lost records.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Others {
    Silent,
    /// They write a record in this interval.
    Write(Duration),
    /// One of the nodes itself writes.
    Node,
}

#[tokio::test]
async fn nodes_that_stay_connected_notice_that_the_log_has_lost_records_while_somebody_writes() {
    let cases =
        [Others::Silent, Others::Write(Duration::from_secs(1)), Others::Write(Duration::from_millis(50)), Others::Node];
    for others in cases {
        let mut nats = Nats::start().await;
        let settings = settings(&nats.url());
        let mut writer = Node::start(&settings, 1).await;
        let mut reader = Node::start(&settings, 2).await;
        writer.write_upto(10).await;
        let old = remember(&mut nats).await;
        writer.write_upto(10_000).await;
        reader.read_upto(1, 10_000).await;
        lose_what_came_since(&mut nats, &old).await;
        let scribe = tokio::spawn({
            let url = nats.url();
            async move {
                let Others::Write(every) = others else { return };
                let mut scribe = Scribe::begin(&url, 3).await;
                let mut ticks = interval(every);
                loop {
                    ticks.tick().await;
                    scribe.write(Vec::new()).await;
                }
            }
        });
        if others == Others::Node {
            writer.write(10);
        }
        for mut node in [writer, reader] {
            let mut is_reachable = true;
            while let Some(heard) = within("the log's thread ends", node.ear.heard.recv()).await {
                if let Heard::Reachable(is) = heard {
                    assert!(is_reachable || !is, "{others:?}: a log that has lost records does not come back");
                    is_reachable = is;
                }
            }
            let line = node.ear.death().await;
            assert!(line.contains("the log has lost records"), "{others:?}: {line}");
        }
        scribe.abort();
    }
}

#[actix::test]
async fn a_node_that_has_what_the_log_has_lost_does_not_start_even_if_others_took_its_place() {
    // Nobody is declared dead while NATS is away.
    let patient = [("CHAT_NODE_TIMEOUT_SECONDS", "60")];
    for has_others in [false, true] {
        let mut nats = nats().await;
        let mut node = Server::start(&nats, "a", &patient).await;
        let (mut alice, _) = node.enter("alice").await;
        say(&mut alice, &["one"]).await;
        let old = remember(&mut nats).await;
        say(&mut alice, &["two", "three"]).await;
        drop(alice);
        node.process.signal(Signal::TERM);
        assert_eq!(node.process.exit_code().await, Some(0));
        let kept = node.kept_upto();
        lose_what_came_since(&mut nats, &old).await;

        let last = async || NatsLog::connect(&settings(&nats.url())).await.unwrap().state().last.0;
        let other = if has_others {
            let other = Server::start(&nats, "b", &patient).await;
            let (mut bob, _) = other.enter("bob").await;
            let mut count = 0;
            while last().await <= kept {
                count += 1;
                say(&mut bob, &[&format!("other {count}")]).await;
            }
            Some(other)
        } else {
            None
        };
        let line = if has_others {
            format!("record {kept} of the log is not the one that the history has: the log has lost records")
        } else {
            format!("the log ends at record {}, but the history has records up to {kept}", last().await)
        };
        for _ in 0..2 {
            let (code, lines) = node.run_again();
            assert_eq!(code, Some(1), "{lines}");
            assert!(lines.lines().last().unwrap().contains(&line), "{line}: {lines}");
            assert_eq!(node.kept_upto(), kept, "its folder stays as it is");
        }
        if let Some(other) = other {
            let empty = Server::start(&nats, "a", &patient).await;
            wait_until("both have the same", || empty.history("lobby") == other.history("lobby")).await;
        }
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

#[actix::test]
async fn a_node_can_still_start_after_somebody_has_emptied_the_log() {
    let nats = nats().await;
    let a = Server::start(&nats, "a", &[]).await;
    let (mut alice, _) = a.enter("alice").await;
    say(&mut alice, &["one"]).await;
    operator(&nats.url()).await.get_stream("starling").await.unwrap().purge().await.unwrap();
    has_checkpoints(&settings(&nats.url()), 1).await;
    let b = Server::start(&nats, "b", &[]).await;
    let (mut bob, _) = b.enter("bob").await;
    say(&mut alice, &["two"]).await;
    assert_eq!(bob.next_of("message").await["Message"], "two");
    assert_eq!(b.history("lobby"), [(2, "two".to_owned())]);
}
