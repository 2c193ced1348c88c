//! The generator finds what a server does wrong, and reports what it does right.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends with what is wrong")]

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use test_kit::certificate::Certificate;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Message, WebSocket, accept};

/// What a server does to each tenth message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Delivers it to nobody.
    Drops,
    /// Delivers it twice.
    Doubles,
    /// Delivers it after the next message.
    Delays,
    /// Ends the sender's connection.
    Closes,
}

type Members = Arc<Mutex<Vec<WebSocket<TcpStream>>>>;

/// Starts a server that sends each message to everybody.
fn start(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let members = Members::default();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let members = Arc::clone(&members);
            thread::spawn(move || serve(socket.unwrap(), &members, fault));
        }
    });
    address
}

fn serve(socket: TcpStream, members: &Members, fault: Fault) {
    let writer = WebSocket::from_raw_socket(socket.try_clone().unwrap(), Role::Server, None);
    // No message comes between the response and the entry.
    let mut reader = {
        let mut members = members.lock().unwrap();
        let reader = accept(socket).unwrap();
        members.push(writer);
        reader
    };
    let (mut count, mut delayed) = (0, None);
    while let Ok(message) = reader.read() {
        if !message.is_text() {
            continue;
        }
        count += 1;
        let is_tenth = count % 10 == 0;
        let copies = match fault {
            Fault::Drops if is_tenth => vec![],
            Fault::Doubles if is_tenth => vec![message.clone(), message],
            Fault::Delays if is_tenth => {
                delayed = Some(message);
                vec![]
            }
            Fault::Closes if is_tenth => return reader.get_ref().shutdown(Shutdown::Both).unwrap(),
            Fault::None | Fault::Drops | Fault::Doubles | Fault::Delays | Fault::Closes => {
                [Some(message), delayed.take()].into_iter().flatten().collect()
            }
        };
        say(&copies, members);
    }
}

fn say(messages: &[Message], members: &Members) {
    for member in members.lock().unwrap().iter_mut() {
        for message in messages {
            // A member may have left.
            member.send(message.clone()).unwrap_or_default();
        }
    }
}

/// Starts a server with TLS that sends each message back. Returns also its authority.
fn start_with_tls() -> (SocketAddr, String) {
    let (made, authority) = Certificate::signed(&["127.0.0.1"]);
    let certs = CertificateDer::pem_slice_iter(made.cert.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certs, key)
        .unwrap();
    config.ticketer = aws_lc_rs::Ticketer::new().unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let stream = StreamOwned::new(session, socket.unwrap());
            thread::spawn(move || {
                let mut socket = accept(stream).unwrap();
                while let Ok(message) = socket.read() {
                    if message.is_text() {
                        socket.send(message).unwrap_or_default();
                    }
                }
            });
        }
    });
    (address, authority.pem())
}

/// Runs the generator. Returns its exit code and its report.
fn measure(server: SocketAddr, more: &[&str]) -> (i32, Value) {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    let url = format!("ws://{server}/{{room}}?name={{id}}");
    let ended = Command::new(env!("CARGO_BIN_EXE_fanout-bench"))
        .args(["--url", &url, "-m", "say {payload}", "--settle", "0", "--warmup", "0", "-d", "0.5", "--drain", "0.2"])
        .args(["-n", "5", "-p", "2", "-r", "100", "--server-pid", &std::process::id().to_string()])
        .args(more)
        .arg("--json")
        .arg(&report)
        .output()
        .unwrap();
    let text = std::fs::read_to_string(&report).unwrap_or_else(|_| panic!("{ended:?}"));
    (ended.status.code().unwrap(), serde_json::from_str(&text).unwrap())
}

#[test]
fn a_server_without_faults_is_clean_and_its_figures_are_those_of_the_load() {
    for (more, sent) in [(&[][..], Some(50)), (&["-s", "1000", "-r", "40"], Some(20)), (&["-r", "0"], None)] {
        let (code, report) = measure(start(Fault::None), more);
        assert_eq!(code, 0, "{report}");
        assert_eq!(report["connect"]["ready"], 5);
        assert_eq!(report["load"]["sent"].as_u64(), sent);
        let expected = sent.unwrap_or(0) * 5;
        assert_eq!(
            (report["deliveries"]["received"].as_u64(), report["latency"]["count"].as_u64()),
            (Some(expected), Some(expected))
        );
    }
}

#[test]
fn in_the_closed_loop_the_window_is_always_on_its_way() {
    let (code, report) = measure(start(Fault::None), &["--closed-loop", "--window", "4"]);
    assert_eq!(code, 0, "{report}");
    let sent = report["load"]["sent"].as_u64().unwrap();
    assert!(sent > 4 && report["deliveries"]["received"] == sent * 5, "{report}");
}

#[test]
fn each_fault_of_a_server_is_counted_as_what_it_is() {
    let cases = [
        (Fault::Drops, "lost"),
        (Fault::Doubles, "duplicates"),
        (Fault::Delays, "order_violations"),
        (Fault::Closes, "disconnects"),
    ];
    for (fault, figure) in cases {
        let (code, report) = measure(start(fault), &[]);
        assert_eq!(code, 1, "{fault:?}: {report}");
        let figures = report["deliveries"].as_object().unwrap();
        assert!(figures[figure].as_u64().unwrap() > 0, "{fault:?}: {report}");
        if fault != Fault::Closes {
            for other in ["lost", "duplicates", "order_violations", "misrouted", "disconnects"] {
                assert!(other == figure || other == "lost" || figures[other] == 0, "{fault:?}: {other}: {report}");
            }
        }
    }
}

#[test]
fn a_message_outside_its_room_is_misrouted() {
    let (code, report) = measure(start(Fault::None), &["--rooms", "2"]);
    assert_eq!(code, 1);
    assert!(report["deliveries"]["misrouted"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["deliveries"]["lost"], 0, "{report}");
}

#[test]
fn without_a_server_nothing_is_reported() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ended =
        Command::new(env!("CARGO_BIN_EXE_fanout-bench")).args(["--url", &format!("ws://{unused}/")]).output().unwrap();
    assert_eq!(ended.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("no connection became ready"), "{ended:?}");
}

#[test]
fn over_tls_the_figures_are_those_of_the_load_and_sessions_are_resumed_if_it_says_so() {
    let (server, authority) = start_with_tls();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority).unwrap();
    let (url, ca) = (format!("wss://{server}/"), ca.to_str().unwrap());
    // Larger than a record of TLS.
    for size in ["128", "40000"] {
        for (more, resumed) in [(&[][..], 0), (&["--handshake", "resumed"], 4)] {
            let rooms =
                ["--url", &url, "--ca", ca, "--rooms", "5", "-p", "5", "-s", size, "--connect-concurrency", "1"];
            let (code, report) = measure(server, &[&rooms, more].concat());
            assert_eq!(code, 0, "{report}");
            let connect = &report["connect"];
            assert_eq!((connect["ready"].as_u64(), connect["resumed"].as_u64()), (Some(5), Some(resumed)), "{report}");
            assert_eq!(
                (report["load"]["sent"].as_u64(), report["deliveries"]["received"].as_u64()),
                (Some(50), Some(50))
            );
        }
    }
}
