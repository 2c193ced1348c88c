//! Each node knows the other ones: it logs their changes, and lists them for operators.

use serde_json::Value;
use test_kit::process::Signal;
use test_kit::{LOOK, raw, within};

use crate::server::{Server, nats};

/// The nodes that a node lists, once the list is as wanted.
async fn list(server: &Server, what: &str, is_wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    within(format!("{what} in the list of nodes"), async {
        loop {
            let (status, body) = server.operator("GET", "/api/nodes").await;
            assert_eq!(status, 200, "{body}");
            let mut body: Value = serde_json::from_str(&body).unwrap();
            let nodes = std::mem::take(body["nodes"].as_array_mut().unwrap());
            if is_wanted(&nodes) {
                return nodes;
            }
            tokio::time::sleep(LOOK).await;
        }
    })
    .await
}

fn names(nodes: &[Value]) -> Vec<&str> {
    nodes.iter().map(|node| node["name"].as_str().unwrap()).collect()
}

#[actix::test]
async fn every_node_lists_the_nodes_and_logs_who_joins_leaves_and_dies() {
    let nats = nats().await;
    let a = Server::start(&nats, "a", &[]).await;
    a.process.line_with("no other node of the chat runs");
    let mut b = Server::start(&nats, "b", &[]).await;
    b.process.line_with("the other nodes of the chat: a");
    let c = Server::start(&nats, "c", &[]).await;
    c.process.line_with("the other nodes of the chat: a, b");
    for name in ["b", "c"] {
        a.process.line_with(&format!("node {name} has joined"));
    }
    b.process.line_with("node c has joined");

    let (_alice, _) = b.enter("alice").await;
    for (index, server) in [&a, &b, &c].into_iter().enumerate() {
        // A node tells its figures with its signs of life, so they come a little later.
        let has_applied = |node: &Value| node["applied"].as_u64().is_some_and(|records| records >= 3);
        let are_told =
            |nodes: &[Value]| nodes.len() == 3 && nodes[1]["connections"] == 1 && nodes.iter().all(has_applied);
        let nodes = list(server, "alice's connection, and the records of all joins", are_told).await;
        assert_eq!(names(&nodes), ["a", "b", "c"]);
        for (other, node) in nodes.iter().enumerate() {
            assert_eq!(node["isThis"], other == index, "{node}");
            assert_eq!(node["version"], starling_process::VERSION, "{node}");
            assert_eq!(node["connections"], u8::from(other == 1), "{node}");
            assert!(node["lag"].is_u64(), "{node}");
            assert!(node["silentSeconds"].is_f64() && node["uptimeSeconds"].is_u64(), "{node}");
        }
    }

    let life = list(&a, "c", |nodes| nodes.len() == 3).await[2]["life"].clone();
    let variables = c.variables();
    let folder = c.kill();
    for server in [&a, &b] {
        let line = server.process.line_with("node c was declared dead after ");
        assert!(line.contains(" WARN ") && line.contains(" s without a sign of life"), "{line}");
        assert_eq!(names(&list(server, "only two", |nodes| nodes.len() == 2).await), ["a", "b"]);
    }
    let c = Server::start_again(folder, &variables).await;
    a.process.line_with("node c has joined");
    assert_ne!(list(&a, "c again", |nodes| nodes.len() == 3).await[2]["life"], life, "it lives another life");

    b.process.signal(Signal::TERM);
    assert_eq!(b.process.exit_code().await, Some(0));
    for server in [&a, &c] {
        let line = server.process.line_with("node b has left");
        assert!(line.contains(" INFO "), "{line}");
        assert_eq!(names(&list(server, "two", |nodes| nodes.len() == 2).await), ["a", "c"]);
    }
    raw::get(&a, "/api/nodes").await.expect_refusal(401, "unauthorized");
}
