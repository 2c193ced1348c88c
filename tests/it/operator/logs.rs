//! The log: if its reader stops or ends, the programs continue and obey signals.

use std::io::{PipeReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use test_kit::{Exposition, raw, within};

use crate::harness::{TestServer, bot_swarm, starling, start_at};
use crate::log_levels::{ReservedPort, converse};

/// A full pipe; its reading end keeps it open.
fn full_pipe() -> (PipeReader, Stdio) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while writer.write(&[b'x'; 4_096]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    (reader, writer.into())
}

#[actix::test]
async fn a_log_that_nobody_reads_holds_up_neither_the_chat_nor_a_signal() {
    for (signals, code) in
        [(&[Signal::HUP, Signal::TERM][..], 0), (&[Signal::INT], 0), (&[Signal::TERM, Signal::TERM], 1)]
    {
        for level in ["info", "trace"] {
            let (folder, port, (_unread, stderr)) = (tempfile::tempdir().unwrap(), ReservedPort::new(), full_pipe());
            let bind = port.address().to_string();
            let variables = [("CHAT_BIND", bind.as_str()), ("CHAT_LOG", level), ("CHAT_DRAIN_SECONDS", "600")];
            let mut server = start_at(port.address(), folder.path(), &variables, stderr).await;
            let clients = converse(port.address()).await;
            let stays = raw::Raw::open(port.address()).await.shake_hands("/ws?clientId=stays").await;
            let mut stays = Some(stays);
            for (place, signal) in signals.iter().enumerate() {
                server.signal(*signal);
                if place == 0 && code == 1 {
                    let stays = stays.as_mut().unwrap();
                    while !stays.frame().await.unwrap().text().contains("\"closing\"") {}
                }
            }
            if code == 0 {
                drop(stays.take());
            }
            drop(clients);
            assert_eq!(server.exit_code().await, Some(code), "{signals:?}, CHAT_LOG={level}");
        }
    }
}

#[actix::test]
async fn a_start_that_fails_ends_though_nobody_reads_why() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = taken.local_addr().unwrap().to_string();
    for variable in [("CHAT_BIND", bind.as_str()), ("CHAT_HISTORY_PATH", "/proc/no/such/folder")] {
        let (folder, (_unread, stderr)) = (tempfile::tempdir().unwrap(), full_pipe());
        let bind = ("CHAT_BIND", "127.0.0.1:0");
        let mut child = starling().command(folder.path(), &[], &[bind, variable]).stderr(stderr).spawn().unwrap();
        let ended = actix_web::web::block(move || child.wait().unwrap());
        assert_eq!(within(format!("{variable:?} ends"), ended).await.unwrap().code(), Some(1));
    }
}

#[actix::test]
async fn lines_that_are_dropped_are_counted_and_told_when_somebody_reads_again() {
    let (folder, port, (mut unread, stderr)) = (tempfile::tempdir().unwrap(), ReservedPort::new(), full_pipe());
    let bind = port.address().to_string();
    let variables = [("CHAT_BIND", bind.as_str()), ("CHAT_LOG", "trace")];
    let _server = start_at(port.address(), folder.path(), &variables, stderr).await;
    within("lines are dropped", async {
        loop {
            let answer = raw::http(port.address(), "GET", "/metrics", "Connection: close\r\n").await;
            if Exposition::parse(&answer.body).value("chat_log_lines_dropped_total", &[]) > 0.5 {
                return;
            }
        }
    })
    .await;
    let told = actix_web::web::block(move || {
        let (mut all, mut part) = (Vec::new(), [0; 8_192]);
        while !String::from_utf8_lossy(&all).contains("log lines were dropped: ") {
            let count = unread.read(&mut part).unwrap();
            assert!(count > 0, "the server has ended");
            // Older bytes cannot contain the line.
            all.drain(..all.len().saturating_sub(1_000));
            all.extend_from_slice(&part[..count]);
        }
    });
    within("the log says so", told).await.unwrap();
}

#[actix::test]
async fn a_log_whose_reader_has_gone_loses_its_lines_and_makes_no_new_ones() {
    let (folder, port) = (tempfile::tempdir().unwrap(), ReservedPort::new());
    let (reader, writer) = std::io::pipe().unwrap();
    let bind = port.address().to_string();
    let server = start_at(port.address(), folder.path(), &[("CHAT_BIND", &*bind)], Stdio::from(writer)).await;
    drop(reader);
    server.signal(Signal::HUP);
    let dropped = async || {
        let answer = raw::http(port.address(), "GET", "/metrics", "Connection: close\r\n").await;
        Exposition::parse(&answer.body).value("chat_log_lines_dropped_total", &[])
    };
    within("the line of the signal is lost", async { while dropped().await < 0.5 {} }).await;
    let before = dropped().await;
    for _ in 0..20 {
        dropped().await;
    }
    assert!(dropped().await <= before + 1.0, "lines of nothing are dropped");
}

#[actix::test]
async fn bots_whose_log_nobody_reads_do_their_work_and_stop_when_asked() {
    let server = TestServer::start(&[]);
    let url = format!("ws://{}/ws", server.address());
    for (name, seconds, signals) in [("timed", "1", 0), ("asked", "0", 1)] {
        let (_unread, stderr) = full_pipe();
        let mut child = Command::new(bot_swarm().path())
            .args(["--server-url", &url, "--name-prefix", name, "--count", "5", "--messages-per-second", "5"])
            .args(["--seconds", seconds, "--lateness-max-seconds", "3600"])
            .env_clear()
            .env("RUST_LOG", "trace")
            .current_dir(tempfile::tempdir().unwrap().path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        if signals > 0 {
            test_kit::figures_when(&server, "they talk", |f| f.value("chat_connections", &[]) > 4.5).await;
            kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        }
        let ended = actix_web::web::block(move || child.wait().unwrap());
        assert_eq!(within("the bots end", ended).await.unwrap().code(), Some(0), "{name}");
    }
}

#[actix::test]
async fn log_lines_are_json_where_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let port = ReservedPort::new();
    let bind = port.address().to_string();
    let variables = [("CHAT_BIND", bind.as_str()), ("CHAT_LOG_FORMAT", "json")];
    let server = start_at(port.address(), folder.path(), &variables, Stdio::piped()).await;
    let line = server.line_with("listening on ");
    let line: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["target"], "starling::server");
    assert!(line["message"].as_str().unwrap().starts_with(&format!("listening on {bind}: ")), "{line}");
    assert!(line["at"].as_str().unwrap().ends_with('Z'), "{line}");
    assert_eq!(line.as_object().unwrap().len(), 4, "{line}");
}
