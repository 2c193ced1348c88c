//! How the listening socket's connections reach the workers.

use std::collections::BTreeSet;
use std::fs;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use test_kit::raw::Raw;
use test_kit::{Client, Exposition, Process, figures_when};

use crate::harness::{TestServer, starling};

#[actix::test]
async fn the_workers_have_equal_shares_of_the_connections() {
    let server = TestServer::start(&[("CHAT_WORKERS", "3")]);
    let mut clients = Vec::new();
    for _ in 0..30 {
        clients.push(Client::enter(&server, "/ws").await);
    }
    figures_when(&server, "each worker has ten of thirty", |figures| {
        let of = |worker| figures.value("chat_stage_completions_total", &[("stage", "http"), ("worker", worker)]);
        ["0", "1", "2"].into_iter().all(|worker| of(worker) > 9.5)
    })
    .await;
}

#[actix::test]
async fn all_connections_that_the_open_files_allow_are_answered_with_many_workers_too() {
    let folder = tempfile::tempdir().unwrap();
    let limited = starling().under(&["prlimit", "--nofile=690:690"]);
    let settings = [("CHAT_BIND", "127.0.0.1:0"), ("CHAT_WORKERS", "64"), ("CHAT_HANDSHAKE_SECONDS", "60")];
    let server = limited.start(folder.path(), &settings);
    let promised = Exposition::scrape(&server).await.value("chat_connections_limit", &[]);
    assert!(promised > 0.5);
    // 128 more than those that may be WebSockets are answered.
    let mut connections = Vec::new();
    while (connections.len() as f64) < promised + 128.0 {
        let mut connection = Raw::open(server.address()).await;
        connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(connection.answer().await.status, 200);
        connections.push(connection);
    }
}

/// Sets the limit of open files of another process.
fn set_open_files(process: &Process, most: Option<u64>) {
    let limit = Rlimit { current: most, maximum: getrlimit(Resource::Nofile).maximum };
    prlimit(Pid::from_raw(process.id().cast_signed()), Resource::Nofile, limit).unwrap();
}

/// The limit of open files with which a process can open no other.
fn used_up(process: &Process) -> u64 {
    let folder = fs::read_dir(format!("/proc/{}/fd", process.id())).unwrap();
    let used: BTreeSet<u64> = folder.map(|file| file.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    (0..=u64::MAX).find(|number| !used.contains(number)).unwrap()
}

#[actix::test]
async fn without_files_for_connections_the_server_says_so_and_accepts_them_later() {
    for workers in ["1", "2"] {
        let folder = tempfile::tempdir().unwrap();
        let settings = [("CHAT_BIND", "127.0.0.1:0"), ("CHAT_WORKERS", workers), ("CHAT_LOG", "debug")];
        let server = starling().start(folder.path(), &settings);
        let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
        set_open_files(&server, Some(used_up(&server)));
        let waits = Raw::open(server.address()).await;
        let failed = "cannot accept connections: Too many open files";
        // An error once a minute; each attempt at `debug`.
        assert!(server.line_with(failed).contains("ERROR"));
        for _ in 0..2 {
            assert!(server.line_with(failed).contains("DEBUG"));
        }
        // Who is connected is served meanwhile.
        alice.send_text(r#"{"Message":"hello"}"#).await;
        alice.expect(r#"{"type":"message","Message":"hello"}"#).await;
        set_open_files(&server, getrlimit(Resource::Nofile).maximum);
        let mut waits = waits.shake_hands("/ws?clientId=waits").await;
        assert!(waits.frame().await.unwrap().text().contains("\"welcome\""));
    }
}
