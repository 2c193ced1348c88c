//! `scripts/nodes` starts nodes of one chat, prints their addresses, and ends them.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use test_kit::blocking::{self, Blocking};
use test_kit::process::{Signal, signal};
use test_kit::{DEADLINE, wait_until};

#[tokio::test]
async fn the_script_starts_nodes_of_one_chat_and_ends_them() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/nodes");
    let mut command = Command::new(script);
    command.args(["--program", env!("CARGO_BIN_EXE_starling"), "2"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut nodes: Vec<SocketAddr> = Vec::new();
    for line in &mut lines {
        if let Some((_, url)) = line.split_once(": http://") {
            nodes.push(url.trim_end_matches('/').parse().unwrap());
        }
        if line.starts_with("Ctrl-C") {
            break;
        }
    }
    assert_eq!(nodes.len(), 2);
    for node in &nodes {
        wait_until("a node is ready", || blocking::get(*node, None, "/readyz").is_ok_and(|(status, _)| status == 200))
            .await;
    }
    let mut client = Blocking::connect(nodes[0], None, "/ws?clientId=alice", DEADLINE).unwrap();
    client.send(0x81, br#"{"type":"message","Message":"hello"}"#).unwrap();
    client.receive_until("hello").unwrap();
    wait_until("the other node has the message", || {
        let (_, history) = blocking::get(nodes[1], None, "/api/rooms/lobby/messages").unwrap();
        history.contains(r#""Message":"hello""#)
    })
    .await;

    signal(&child, Signal::INT);
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(rest.iter().filter(|line| line.ends_with("] stopped")).count(), 2, "{rest:#?}");
    for node in &nodes {
        assert!(blocking::get(*node, None, "/readyz").is_err(), "it has ended");
    }
}
