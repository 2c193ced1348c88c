//! A backup of a node's history: what a node and a single server make of it.

use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;
use test_kit::nats::Nats;
use test_kit::{Client, wait_until};

use crate::harness::operator;
use crate::server::{Server, nats, say, starling};

/// Runs a command with the folder of a node.
fn command(folder: &TempDir, arguments: &[&str]) {
    let output = starling().run(folder.path(), arguments, &[]);
    assert!(output.status.success(), "{output:?}");
}

/// Backs up a node that runs, and restores the backup into an empty folder.
fn restored(node: &Server) -> TempDir {
    let (file, folder) = (node.file(), tempfile::tempdir().unwrap());
    let output = starling().run(folder.path(), &["backup", "copy"], &[("CHAT_HISTORY_PATH", file.to_str().unwrap())]);
    assert!(output.status.success(), "{output:?}");
    command(&folder, &["restore", "copy"]);
    folder
}

/// A chat of two nodes in which a backup of the first one lacks the last message.
struct Chat {
    nats: Nats,
    nodes: [Server; 2],
    backup: TempDir,
    epoch: serde_json::Value,
}

impl Chat {
    async fn begin() -> Self {
        let nats = nats().await;
        let nodes = [Server::start(&nats, "a", &[]).await, Server::start(&nats, "b", &[]).await];
        let (mut alice, welcome) = nodes[1].enter("alice").await;
        say(&mut alice, &["one", "two"]).await;
        let file = nodes[0].file();
        let stored = "SELECT count(*) FROM messages WHERE (SELECT count(*) FROM log_mark) = 1";
        wait_until("both messages are in its file", || {
            Connection::open(&file).unwrap().query_one(stored, [], |row| row.get::<_, u32>(0)).unwrap() == 2
        })
        .await;
        let backup = restored(&nodes[0]);
        say(&mut alice, &["three"]).await;
        Self { nats, nodes, backup, epoch: welcome["epoch"].clone() }
    }
}

#[actix::test]
async fn a_node_continues_with_a_restored_backup_of_a_node_as_with_an_old_folder() {
    let Chat { nats, nodes, backup, epoch } = Chat::begin().await;
    let c = Server::start_in(backup, &nats, "c", &[]).await;
    assert_eq!(c.history("lobby"), nodes[1].history("lobby"));
    assert_eq!(c.history("lobby").len(), 3);
    let (mut bob, _) = c.enter("bob").await;
    bob.send_json(&json!({"type": "join", "room": "lobby", "after": 1, "epoch": epoch})).await;
    assert_eq!(bob.next_of("joined").await["recovered"], true);
    for text in ["two", "three"] {
        assert_eq!(bob.next_of("message").await["Message"], text);
    }
    say(&mut bob, &["four"]).await;
    wait_until("the other nodes have it", || nodes.iter().all(|node| node.history("lobby").len() == 4)).await;
}

#[actix::test]
async fn a_restored_backup_of_a_node_is_refused_for_the_true_reason_if_the_log_is_another_one() {
    let Chat { nats, nodes, backup, .. } = Chat::begin().await;
    drop(nodes);
    operator(&nats.url()).await.delete_stream("starling").await.unwrap();
    let variables = [("CHAT_BIND", "127.0.0.1:0"), ("CHAT_NATS_URL", &*nats.url())];
    let output = starling().run(backup.path(), &[], &variables);
    let lines = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{lines}");
    assert!(lines.contains("the history belongs to another log than the one that NATS has now"), "{lines}");
}

#[actix::test]
async fn a_single_server_goes_on_with_a_restored_backup_of_a_node_in_new_epochs() {
    let Chat { backup, epoch, .. } = Chat::begin().await;
    let alone = starling().start(backup.path(), &[("CHAT_BIND", "127.0.0.1:0")]);
    let (mut bob, welcome) = Client::enter(&alone, "/ws?clientId=bob").await;
    assert_ne!(welcome["epoch"], epoch);
    say(&mut bob, &["mine"]).await;
    let (_, body) = alone.get("/api/rooms/lobby/messages");
    assert!(["one", "two", "mine"].iter().all(|text| body.contains(text)), "{body}");
}
