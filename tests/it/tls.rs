//! TLS on the server's port.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bot_swarm::{Config, StopHandle, progress};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use test_kit::certificate::Certificate;
use test_kit::raw::{self, Raw};
use test_kit::token::{JWT, SECRET};
use test_kit::{Exposition, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};

use crate::harness::{TestServer, starling};

/// A folder with a certificate, its key, and the authority that signed it.
pub(crate) struct Identity {
    folder: TempDir,
    authority: CertificateDer<'static>,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let mut identity = Self { folder: tempfile::tempdir().unwrap(), authority: Vec::new().into() };
        identity.renew();
        identity
    }

    /// Replaces the certificate, the key and the authority.
    fn renew(&mut self) {
        let (made, authority) = Certificate::signed(&["localhost"]);
        fs::write(self.path("ca.pem"), authority.pem()).unwrap();
        fs::write(self.path("cert.pem"), made.cert).unwrap();
        fs::write(self.path("key.pem"), made.key).unwrap();
        self.authority = authority.der().clone();
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    fn server(&self, variables: &[(&str, &str)]) -> TestServer {
        let files = [("CHAT_TLS_CERT", &*self.path("cert.pem")), ("CHAT_TLS_KEY", &*self.path("key.pem"))];
        TestServer::start(&[&files[..], variables].concat())
    }

    /// A client that trusts only this authority.
    fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }

    /// Performs a TLS handshake over a connection.
    async fn over(&self, tcp: TcpStream) -> std::io::Result<Raw<TlsStream<TcpStream>>> {
        let connect = self.client(rustls::DEFAULT_VERSIONS).connect(localhost(), tcp);
        Ok(Raw::over(within("a TLS handshake", connect).await?))
    }

    async fn open(&self, address: SocketAddr) -> std::io::Result<Raw<TlsStream<TcpStream>>> {
        self.over(within("a TCP connection", TcpStream::connect(address)).await.unwrap()).await
    }

    /// Opens a connection with a small receive buffer, so that the server soon notices a client that does not read.
    async fn open_narrow(&self, address: SocketAddr) -> Raw<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        self.over(within("a TCP connection", socket.connect(address)).await.unwrap()).await.unwrap()
    }

    /// A WebSocket that has read its welcome.
    async fn connect(&self, address: SocketAddr, path: &str) -> Raw<TlsStream<TcpStream>> {
        let mut raw = self.open(address).await.unwrap().shake_hands(path).await;
        assert!(raw.frame().await.unwrap().text().contains("\"welcome\""));
        raw
    }

    pub(crate) async fn figures(&self, address: SocketAddr) -> Exposition {
        Exposition::parse(&self.open(address).await.unwrap().get("/metrics").await.body)
    }
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// Connects, asks for the health, and tells how the TLS handshake was done.
async fn handshake(client: &TlsConnector, address: SocketAddr) -> HandshakeKind {
    let tcp = within("a TCP connection", TcpStream::connect(address)).await.unwrap();
    let mut tls = within("a TLS handshake", client.connect(localhost(), tcp)).await.unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut answer = Vec::new();
    within("the request", tls.write_all(request)).await.unwrap();
    within("the answer", tls.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    tls.get_ref().1.handshake_kind().unwrap()
}

#[actix::test]
async fn who_returns_resumes_the_tls_session_however_many_others_came_meanwhile() {
    let identity = Identity::new();
    let server = identity.server(&[]);
    let address = server.address();
    let versions: [&[_]; 2] = [&[&rustls::version::TLS13], &[&rustls::version::TLS12]];
    let clients = versions.map(|versions| identity.client(versions));
    for client in &clients {
        assert_eq!(handshake(client, address).await, HandshakeKind::Full);
    }
    for _ in 0..300 {
        handshake(&identity.client(rustls::DEFAULT_VERSIONS), address).await;
    }
    for client in &clients {
        assert_eq!(handshake(client, address).await, HandshakeKind::Resumed);
    }
}

#[actix::test]
async fn the_chat_and_its_page_are_served_over_tls_and_nothing_is_without() {
    let identity = Identity::new();
    let server = identity.server(&[]);
    let page = identity.open(server.address()).await.unwrap().get("/").await;
    assert!(page.status == 200 && page.body.starts_with("<!doctype html>"));
    let mut alice = identity.connect(server.address(), "/ws?clientId=alice").await;
    let mut bob = identity.connect(server.address(), "/ws?clientId=bob").await;
    for text in ["short", &"long ".repeat(3_000)] {
        alice.send_text(&format!(r#"{{"Message":"{text}"}}"#)).await;
        for client in [&mut alice, &mut bob] {
            let got: Value = serde_json::from_str(client.frame().await.unwrap().text()).unwrap();
            assert_eq!((&got["clientId"], &got["Message"]), (&"alice".into(), &text.into()));
        }
    }
    // A page without TLS has another origin; both URLs omit their port, but 80 and 443 differ.
    let mut page = identity.open(server.address()).await.unwrap();
    page.ask_for_websocket("/ws", "Origin: http://localhost\r\n").await.expect_refusal(403, "forbidden");
    let mut page = identity.open(server.address()).await.unwrap();
    assert_eq!(page.ask_for_websocket("/ws", "Origin: https://localhost\r\n").await.status, 101);
    // A taken name is refused on the same stream, after it was handed over.
    let mut late = identity.open(server.address()).await.unwrap();
    late.ask_for_websocket("/ws?clientId=bob", "").await.expect_refusal(409, "name_taken");
    alice.send(&raw::frame(raw::CLOSE, &1000_u16.to_be_bytes())).await;
    assert_eq!(alice.drain().await, (vec![], Some(1000)));
    bob.shut_down().await;
    assert_eq!(bob.drain().await, (vec![], Some(1000)), "who says nothing more may still listen");

    let mut plain = Raw::open(server.address()).await;
    plain.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(plain.end().await < 100, "at most an alert");
    assert!(identity.figures(server.address()).await.value("chat_failed_tls_handshakes_total", &[]) > 0.5);
}

#[actix::test]
async fn who_lags_behind_over_tls_gets_everything_in_order() {
    let identity = Identity::new();
    let server = identity.server(&[("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_OUTBOX_BYTES", "67108864")]);
    let mut lagging = identity.open_narrow(server.address()).await.shake_hands("/ws?clientId=lagging").await;
    let mut alice = identity.connect(server.address(), "/ws?clientId=alice").await;
    let text = "x".repeat(16_000);
    let mut sent = 0_u64;
    while identity.figures(server.address()).await.value("chat_outbox_bytes", &[]) < 500_000.0 {
        for _ in 0..10 {
            sent += 1;
            alice.send_text(&format!(r#"{{"Message":"{text}"}}"#)).await;
            assert!(alice.frame().await.unwrap().text().contains("\"message\""));
        }
    }
    alice.send(&raw::frame(raw::CLOSE, &1000_u16.to_be_bytes())).await;
    assert!(lagging.frame().await.unwrap().text().contains("\"welcome\""));
    for seq in 1..=sent {
        let got: Value = serde_json::from_str(lagging.frame().await.unwrap().text()).unwrap();
        assert_eq!(got["seq"], seq);
    }
    lagging.send_text(r#"{"type":"ping","id":"all"}"#).await;
    assert!(lagging.frame().await.unwrap().text().contains("\"all\""));
}

#[actix::test]
async fn who_never_reads_over_tls_is_closed_with_4001_and_the_reason_comes() {
    let identity = Identity::new();
    let server = identity.server(&[("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_OUTBOX_BYTES", "262144")]);
    let mut slow = identity.open_narrow(server.address()).await.shake_hands("/ws?clientId=slow").await;
    let mut alice = identity.connect(server.address(), "/ws?clientId=alice").await;
    let text = "x".repeat(16_000);
    let is_closed = async || {
        let figures = identity.figures(server.address()).await;
        figures.value("chat_disconnects_total", &[("reason", "slow_consumer")]) > 0.5
    };
    let mut sent = 0;
    while !is_closed().await {
        assert!(sent < 3_000, "48 MB were written for a client that never reads");
        for _ in 0..20 {
            sent += 1;
            alice.send_text(&format!(r#"{{"Message":"{text}"}}"#)).await;
            assert!(alice.frame().await.unwrap().text().contains("\"message\""), "alice misses {sent}");
        }
    }
    let (frames, code) = slow.drain().await;
    assert!(frames.len() < sent && code == Some(4001), "{} of {sent} frames, {code:?}", frames.len());
}

#[actix::test]
async fn a_tls_handshake_that_does_not_go_on_is_given_up() {
    let identity = Identity::new();
    let server = identity.server(&[("CHAT_HANDSHAKE_SECONDS", "1")]);
    let mut silent = Raw::open(server.address()).await;
    let mut half = Raw::open(server.address()).await;
    half.send(b"\x16\x03\x01\x02\x00\x01").await;
    assert_eq!(tokio::join!(silent.end(), half.end()), (0, 0));
    assert!(identity.figures(server.address()).await.value("chat_failed_tls_handshakes_total", &[]) > 1.5);
    identity.connect(server.address(), "/ws").await;
}

#[actix::test]
async fn a_tls_handshake_that_stands_still_has_its_place_until_it_is_given_up() {
    let identity = Identity::new();
    // A single worker accepts connections in order.
    let variables = [("CHAT_HANDSHAKE_SECONDS", "3"), ("CHAT_CONNECTIONS_PER_ADDRESS", "1"), ("CHAT_WORKERS", "1")];
    let server = identity.server(&variables);
    let from_there = async || {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
        within("a TCP connection", socket.connect(server.address())).await.unwrap()
    };
    let mut stalled = Raw::over(from_there().await);
    stalled.send(b"\x16\x03\x01\x02\x00\x01").await;
    let mut second = identity.over(from_there().await).await.unwrap();
    second.get("/healthz").await.expect_refusal(429, "too_many_connections");
    assert_eq!(second.end().await, 0);
    // One byte at a time does not count as progress.
    within("it is given up", stalled.trickle(Duration::from_millis(100))).await;
    within("its place is free", async {
        while identity.over(from_there().await).await.unwrap().get("/healthz").await.status != 200 {}
    })
    .await;
}

#[actix::test]
async fn refusals_come_whole_over_tls_before_the_connection_ends() {
    let identity = Identity::new();
    let server = identity.server(&[("CHAT_HANDSHAKE_SECONDS", "1"), ("CHAT_HANDSHAKES_PER_SECOND", "1")]);
    let address = server.address();
    let get = |target: &str, fields: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    let many = "X: y\r\n".repeat(50_000);
    let cases = [
        ("nonsense\r\n\r\n".to_owned(), 400, "bad_request"),
        (get("/healthz", "Host: y\r\n"), 400, "bad_request"),
        (get("/nowhere", "Connection: close\r\n"), 404, "no_such_path"),
        (
            get("/healthz", "").replace("GET", "BREW").replace("Host", "Connection: close\r\nHost"),
            405,
            "method_not_allowed",
        ),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\n".to_owned(), 408, "request_timeout"),
        (get("/healthz", "Content-Length: 10\r\n").replace("GET", "PUT") + "x", 405, "method_not_allowed"),
        (get("/healthz", "Content-Length: 99999999\r\n"), 413, "body_too_large"),
        (get(&format!("/{}", "x".repeat(100_000)), ""), 414, "uri_too_long"),
        (get("/healthz", &many), 431, "head_too_large"),
        (get("/healthz", "Transfer-Encoding: gzip\r\n"), 501, "not_implemented"),
    ];
    for (request, status, code) in cases {
        let mut raw = identity.open(address).await.unwrap();
        raw.send(request.as_bytes()).await;
        raw.answer().await.expect_refusal(status, code);
        assert_eq!(raw.end().await, 0, "{code}: nothing follows");
    }
    // Both TLS handshakes are done before either WebSocket handshake.
    let (mut one, mut other) = (identity.open(address).await.unwrap(), identity.open(address).await.unwrap());
    let (one, other) = tokio::join!(one.ask_for_websocket("/ws", ""), other.ask_for_websocket("/ws", ""));
    if one.status == 101 { other } else { one }.expect_refusal(429, "rate_limited");

    let full = identity.server(&[("CHAT_CONNECTIONS", "1")]);
    let _only = identity.connect(full.address(), "/ws").await;
    let mut late = identity.open(full.address()).await.unwrap();
    late.ask_for_websocket("/ws", "").await.expect_refusal(503, "unavailable");
    assert_eq!(late.end().await, 0);
}

#[actix::test]
async fn a_connection_that_comes_to_nothing_ends_over_tls_too() {
    let identity = Identity::new();
    let server = identity.server(&[("CHAT_HANDSHAKE_SECONDS", "1"), ("CHAT_SLOW_CLIENT_SECONDS", "1")]);
    let address = server.address();
    let chunked = "POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    for begun in ["", "\r\n", "GET / HTTP/1.1\r\nX: ", &format!("{chunked}1;"), &format!("{chunked}0\r\nX: ")] {
        let mut slow = identity.open(address).await.unwrap();
        slow.send(begun.as_bytes()).await;
        within(format!("{begun:?} ends"), async {
            while timeout(Duration::from_millis(100), slow.end()).await.is_err() {
                slow.send(b"x").await;
            }
        })
        .await;
    }
    // Requests without end, and nothing is read: the server stops reading, then ends the connection.
    let mut unread = Vec::new();
    let flood = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3_000);
    for _ in 0..8 {
        let mut raw = identity.open_narrow(address).await;
        // As many bytes as the network accepts.
        timeout(Duration::from_millis(100), raw.send(flood.as_bytes())).await.unwrap_or_default();
        unread.push(raw);
    }
    within("all have ended but the scrape", async {
        while identity.figures(address).await.value("chat_connections_open", &[]) > 1.5 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[actix::test]
async fn sighup_reads_certificate_and_key_again_and_keeps_the_old_where_the_new_are_no_good() {
    let mut identity = Identity::new();
    let (cert, key) = (identity.path("cert.pem"), identity.path("key.pem"));
    let variables = [("CHAT_BIND", "127.0.0.1:0"), ("CHAT_TLS_CERT", &*cert), ("CHAT_TLS_KEY", &*key)];
    let server = starling().start(identity.folder.path(), &variables);
    let mut before = identity.connect(server.address(), "/ws?clientId=before").await;

    let returning = identity.client(rustls::DEFAULT_VERSIONS);
    handshake(&returning, server.address()).await;
    let old = identity.authority.clone();
    identity.renew();
    server.signal(Signal::HUP);
    server.line_with("certificate and key reloaded");
    identity.connect(server.address(), "/ws?clientId=after").await;
    let tcp = within("a TCP connection", TcpStream::connect(server.address())).await.unwrap();
    let refused = within("a TLS handshake", returning.connect(localhost(), tcp)).await.unwrap_err();
    assert!(
        refused.to_string().contains("UnknownIssuer"),
        "a session ends with the certificate it began with: {refused}"
    );
    let renewed = std::mem::replace(&mut identity.authority, old);
    assert!(identity.open(server.address()).await.is_err(), "the old certificate is not shown any more");
    identity.authority = renewed;

    // A key of another certificate, and a file without one.
    let good = fs::read_to_string(&key).unwrap();
    let other = Identity::new();
    for bad in [&*fs::read_to_string(other.path("key.pem")).unwrap(), "no key", ""] {
        fs::write(&key, bad).unwrap();
        server.signal(Signal::HUP);
        server.line_with("keeping the previous certificate and key: CHAT_TLS_");
        identity.connect(server.address(), "/ws").await;
    }
    fs::write(&key, good).unwrap();
    before.send_text(r#"{"Message":"still here"}"#).await;
    assert!(before.frame().await.unwrap().text().contains("still here"), "those that are there stay");
}

#[test]
fn a_command_for_a_server_that_differs_in_tls_says_what_to_set() {
    let identity = Identity::new();
    let (cert, key) = (identity.path("cert.pem"), identity.path("key.pem"));
    let files = [("CHAT_TLS_CERT", &*cert), ("CHAT_TLS_KEY", &*key)];
    let (with_tls, plain) = (identity.server(&[]), TestServer::start(&[]));
    for (server, own, advice) in [
        (&with_tls, &[][..], "; if the server uses TLS, set CHAT_TLS_CERT and CHAT_TLS_KEY as for the server\n"),
        (&plain, &files[..], "; if the server uses no TLS, leave CHAT_TLS_CERT and CHAT_TLS_KEY out\n"),
    ] {
        let bind = server.address().to_string();
        let variables = [&[("CHAT_BIND", &*bind), ("CHAT_ADMIN_TOKEN", "letmein-letmein-letmein")], own].concat();
        for arguments in [&["healthcheck"][..], &["moderate", "list"]] {
            let output = starling().run(identity.folder.path(), arguments, &variables);
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{text}");
            assert!(text.contains("no answer from ") && text.ends_with(advice), "{arguments:?}: {text}");
        }
    }
}

#[test]
fn a_certificate_that_is_no_good_stops_the_start_with_one_line() {
    let identity = Identity::new();
    let (cert, key) = (identity.path("cert.pem"), identity.path("key.pem"));
    let line = |cert: &str, key: &str| {
        let variables = [("CHAT_BIND", "127.0.0.1:0"), ("CHAT_TLS_CERT", cert), ("CHAT_TLS_KEY", key)];
        let output = starling().run(identity.folder.path(), &[], &variables);
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        stderr
    };
    let missing = identity.path("missing.pem");
    assert!(line(&missing, &key).contains(&format!("ERROR starling] CHAT_TLS_CERT={missing}: ")));
    assert!(line(&cert, &cert).contains(&format!("ERROR starling] CHAT_TLS_KEY={cert}: ")));
    assert!(line(&key, &key).contains(&format!("ERROR starling] CHAT_TLS_CERT={key}: ")));
    let other = Identity::new();
    assert!(line(&cert, &other.path("key.pem")).contains("ERROR starling] CHAT_TLS_CERT and CHAT_TLS_KEY: "));
}

#[actix::test]
async fn bots_speak_tls_with_tokens_and_every_private_message_that_is_kept_comes() {
    let identity = Identity::new();
    let server = identity.server(&JWT);
    let config = |ca_file: Option<String>, token_secret: &str| Config {
        server_url: format!("wss://localhost:{}/ws", server.address().port()),
        ca_file: ca_file.map(Into::into),
        insecure: false,
        token_secret: Some(token_secret.to_owned()),
        count: 20,
        name_prefix: "bot".into(),
        behaviours: "chatter=1,private=1".parse().unwrap(),
        ramp_per_second: 1_000.0,
        messages_per_second: 10.0,
        seconds: 2.0,
        lateness_max_seconds: 60.0,
        ..Config::default()
    };
    let run = async |config: Config| bot_swarm::run(&config, &StopHandle::new(), &mut progress::Silent).await.unwrap();
    let trusted = Some(identity.path("ca.pem"));
    for config in [config(trusted.clone(), SECRET), Config { insecure: true, ..config(None, SECRET) }] {
        let outcome = run(config).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert!(outcome.tally.received > 1_000 && outcome.stats.counters.ever_connected == 20, "{outcome}");
    }
    // Another authority is not trusted, and tokens with another secret are refused; the verdict reports both.
    let other = Identity::new();
    for (config, why) in [
        (config(Some(other.path("ca.pem")), SECRET), "TLS: invalid peer certificate: UnknownIssuer"),
        (config(trusted, "another secret of thirty-two bytes"), "HTTP 401"),
    ] {
        let outcome = run(config).await;
        assert_eq!(outcome.stats.counters.ever_connected, 0, "{outcome}");
        assert!(outcome.stats.errors.keys().any(|kind| kind.starts_with(why)), "{outcome}");
        assert!(outcome.verdict_line().starts_with("BROKEN: bots: no bot was connected ("), "{outcome}");
    }
}
