//! `starling healthcheck`: what a container's health check asks, and what it is told.

use std::net::TcpListener;
use std::process::Output;

use rustix::process::Signal;

use crate::harness::process::{self, Process};
use crate::harness::raw::Raw;
use crate::harness::{LOOK, within};

/// Asks as a health check does: exit code, and the one line why.
fn healthcheck(bind: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let Output { status, stdout, stderr } = process::run(folder.path(), &["healthcheck"], &[("CHAT_BIND", bind)]);
    let said = String::from_utf8([stdout, stderr].concat()).unwrap();
    assert_eq!(said.lines().count(), 1, "one line: {said}");
    (status.code(), said.trim_end().to_owned())
}

#[actix::test]
async fn a_server_that_can_serve_is_healthy() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path(), &[("CHAT_BIND", "0.0.0.0:0")]);
    let port = server.address().port();
    assert_eq!(healthcheck(&format!("0.0.0.0:{port}")), (Some(0), "ready".to_owned()));
}

#[actix::test]
async fn a_server_that_drains_is_unhealthy_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path(), &[("CHAT_BIND", "127.0.0.1:0"), ("CHAT_DRAIN_SECONDS", "600")]);
    // It stays, so the drain does not end.
    let _silent = Raw::open(server.address()).await.shake_hands("/ws?clientId=silent").await;
    server.signal(Signal::TERM);
    let bind = server.address().to_string();
    let (code, said) = within("the health check notices the drain", async {
        loop {
            let (code, said) = healthcheck(&bind);
            if code != Some(0) {
                return (code, said);
            }
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    assert_eq!((code, said), (Some(1), format!("starling: {bind} is not ready: the server is stopping")));
}

#[test]
fn where_nobody_answers_the_check_fails_and_names_the_address() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let (code, said) = healthcheck(&format!("127.0.0.1:{port}"));
    assert_eq!(code, Some(1));
    assert!(said.starts_with(&format!("starling: no answer from 127.0.0.1:{port}: ")), "{said}");
}

#[test]
fn a_server_that_accepts_and_says_nothing_fails_the_check_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, said) = healthcheck(&listener.local_addr().unwrap().to_string());
    assert_eq!(code, Some(1));
    assert!(said.contains("no answer"), "{said}");
}
