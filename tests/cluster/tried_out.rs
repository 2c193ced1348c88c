//! `scripts/nodes` starts nodes of one chat, prints their addresses, starts again what was killed, and ends them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use test_kit::blocking::{self, Blocking};
use test_kit::process::{Signal, signal};
use test_kit::{DEADLINE, wait_until};

#[tokio::test]
async fn the_script_starts_nodes_of_one_chat_starts_again_what_was_killed_and_ends_them() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/nodes");
    let mut command = Command::new(script);
    command.args(["--program", env!("CARGO_BIN_EXE_starling"), "2"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut started = Vec::new();
    for line in &mut lines {
        started.extend(started_program(&line));
        if line.starts_with("Ctrl-C") {
            break;
        }
    }
    let names: Vec<_> = started.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["nats", "node-1", "node-2"]);
    let nodes: Vec<SocketAddr> = started[1..].iter().map(|(_, address, _)| *address).collect();
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

    // The others go on, and what was killed has its address and its data again.
    let mut typed = child.stdin.take().unwrap();
    for (name, address, id) in &started {
        assert!(Command::new("kill").args(["-KILL", &id.to_string()]).status().unwrap().success());
        let ended = format!("{name} has ended with exit code 137; to start it again, type {name} and Enter");
        assert!(lines.any(|line| line == ended), "{ended}");
        writeln!(typed, "{name}").unwrap();
        let again = lines.find_map(|line| started_program(&line)).expect("it starts again");
        assert_eq!((&again.0, again.1), (name, *address));
    }
    for node in &nodes {
        wait_until("a node is ready", || blocking::get(*node, None, "/readyz").is_ok_and(|(status, _)| status == 200))
            .await;
        let (_, history) = blocking::get(*node, None, "/api/rooms/lobby/messages").unwrap();
        assert!(history.contains(r#""Message":"hello""#), "{history}");
    }

    signal(&child, Signal::INT);
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(rest.iter().filter(|line| line.ends_with("] stopped")).count(), 2, "{rest:#?}");
    for node in &nodes {
        assert!(blocking::get(*node, None, "/readyz").is_err(), "it has ended");
    }
}

/// The name, the address and the process of a program that the script has started, if the line says so.
fn started_program(line: &str) -> Option<(String, SocketAddr, u32)> {
    let (name, rest) = line.split_once(": ")?;
    let (url, process) = rest.strip_suffix(')')?.split_once(" (process ")?;
    let (_, address) = url.split_once("://")?;
    Some((name.to_owned(), address.trim_end_matches('/').parse().ok()?, process.parse().ok()?))
}
