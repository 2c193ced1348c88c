//! Servers with other protocols: the real Mosquitto, Socket.IO and nats-server, and stand-ins for Centrifugo and
//! Phoenix that answer as their documentation says.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bot_swarm::dialect::Dialect;
use bot_swarm::{Config, Outcome, StopHandle, progress};
use test_kit::free_port;

use crate::server::ForeignServer;
use crate::{run_until, wait_until};

/// A server process that ends with its test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A program that `scripts/install-test-tools` installs.
fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    let sbin = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    command.env("PATH", sbin).stdin(Stdio::null()).stderr(Stdio::null());
    command
}

fn start(mut command: Command) -> Child {
    let name = command.get_program().to_owned();
    command.spawn().unwrap_or_else(|error| panic!("{}: {error}; run scripts/install-test-tools", name.display()))
}

/// Starts Mosquitto on a free port.
async fn mosquitto(folder: &Path) -> (Server, String) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let file = folder.join("mosquitto.conf");
    // Mosquitto 2.0.11 does not start with only a WebSocket listener.
    let socket = folder.join("mqtt.sock");
    let settings = format!(
        "user root\nallow_anonymous true\nlistener 0 {}\nlistener {} 127.0.0.1\nprotocol websockets\n",
        socket.display(),
        address.port()
    );
    std::fs::write(&file, settings).unwrap();
    let mut command = Command::new("/usr/sbin/mosquitto");
    command.arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let server = Server(start(command));
    wait_until("Mosquitto", || TcpStream::connect(address).is_ok()).await;
    (server, format!("ws://{address}/mqtt"))
}

/// Starts a Socket.IO server that sends every message to everybody, and acknowledges it.
fn socket_io(folder: &Path) -> (Server, String) {
    let script = r#"
        const { Server } = require("socket.io");
        const server = require("http").createServer();
        const io = new Server(server, { transports: ["websocket"], serveClient: false });
        io.on("connection", (socket) => socket.on("message", (text, taken) => { io.emit("message", text); taken(); }));
        server.listen(0, "127.0.0.1", () => console.log(server.address().port));
    "#;
    let file = folder.join("server.js");
    std::fs::write(&file, script).unwrap();
    let modules: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-tools/node_modules");
    let mut command = tool("node");
    command.arg(&file).env("NODE_PATH", modules).stdout(Stdio::piped());
    let mut child = start(command);
    let port = BufReader::new(child.stdout.take().unwrap()).lines().next();
    let server = Server(child);
    let port = port.expect("socket.io is not there; run scripts/install-test-tools").unwrap();
    (server, format!("ws://127.0.0.1:{port}/socket.io/"))
}

/// Starts nats-server on ports that it chooses and writes to a file.
async fn nats(folder: &Path) -> (Server, String) {
    let ports = folder.join("ports");
    std::fs::create_dir(&ports).unwrap();
    let file = folder.join("nats.conf");
    let settings = format!(
        "listen: \"127.0.0.1:-1\"\nports_file_dir: {ports:?}\nwebsocket {{ listen: \"127.0.0.1:-1\", no_tls: true }}\n"
    );
    std::fs::write(&file, settings).unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-tools/bin/nats-server");
    let mut command = Command::new(program);
    command.arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let server = Server(start(command));
    let url = || {
        let file = std::fs::read_dir(&ports).unwrap().next()?.unwrap().path();
        let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).ok()?;
        ports["websocket"][0].as_str().map(str::to_owned)
    };
    wait_until("nats-server", || url().is_some()).await;
    let url = url().unwrap();
    (server, url)
}

fn config(dialect: Dialect, url: String) -> Config {
    Config {
        server_url: url,
        dialect,
        count: 8,
        behaviours: "chatter=3,lurker=1".parse().unwrap(),
        name_prefix: "test".into(),
        ramp_per_second: 10_000.0,
        messages_per_second: 20.0,
        seconds: 3.0,
        drain_seconds: 2.0,
        lateness_max_seconds: 3_600.0,
        server_metrics: "off".into(),
        ..Config::default()
    }
}

/// A swarm that runs until it is stopped.
fn lasting(dialect: Dialect, url: String) -> Config {
    Config { seconds: 60.0, ..config(dialect, url) }
}

fn check(outcome: &Outcome) {
    assert!(outcome.is_clean(), "{outcome}");
    let counters = &outcome.stats.counters;
    assert!(counters.sent >= 100 && counters.acked == counters.sent, "{outcome}");
    assert!(outcome.tally.received >= 100 && outcome.tally.expected == outcome.tally.received, "{outcome}");
    assert_eq!(outcome.stats.ack.count(), counters.acked, "{outcome}");
    assert_eq!(outcome.stats.delivery.count(), counters.deliveries, "{outcome}");
    assert_eq!(outcome.stats.connect.count(), 8, "{outcome}");
    assert!(outcome.stats.errors.is_empty(), "{outcome}");
}

#[actix_rt::test]
async fn mosquitto_socket_io_and_nats_are_measured_with_the_same_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let mosquitto = mosquitto(folder.path()).await;
    let socket_io = socket_io(folder.path());
    let nats = nats(folder.path()).await;
    let servers = [(Dialect::Mqtt, &mosquitto), (Dialect::SocketIo, &socket_io), (Dialect::Nats, &nats)];
    for (dialect, (_, url)) in servers {
        let stop = StopHandle::new();
        let outcome = bot_swarm::run(&config(dialect, url.clone()), &stop, &mut progress::Silent).await.unwrap();
        check(&outcome);
    }
}

#[actix_rt::test]
async fn centrifugo_and_phoenix_are_measured_with_the_same_ledger() {
    for dialect in [Dialect::Centrifugo, Dialect::Phoenix] {
        let server = ForeignServer::start(dialect).await;
        let outcome =
            run_until(&lasting(dialect, server.url()), wait_until("messages", || server.taken() >= 300)).await;
        check(&outcome);
    }
}

#[actix_rt::test]
async fn what_a_foreign_server_loses_or_refuses_is_found() {
    for dialect in [Dialect::Centrifugo, Dialect::Phoenix] {
        let server = ForeignServer::start(dialect).await;
        let config = lasting(dialect, server.url());
        let outcome = run_until(&config, async {
            // The messages of one second and some more: by then, all bots listen.
            wait_until("messages", || server.taken() >= 260).await;
            server.lose(3);
            wait_until("losses", || server.lost() == 3).await;
            server.refuse(true);
            let taken = server.taken();
            wait_until("refusals", || server.taken() >= taken + 3).await;
            server.refuse(false);
            let taken = server.taken();
            wait_until("more messages", || server.taken() >= taken + 100).await;
        })
        .await;
        assert_eq!(outcome.tally.lost, 3, "{dialect}\n{outcome}");
        assert!(outcome.stats.counters.refused >= 3, "{dialect}\n{outcome}");
        assert_eq!(outcome.verdict.exit_code(), 1, "{dialect}\n{outcome}");
    }
}

#[actix_rt::test]
async fn what_a_foreign_server_did_not_answer_before_a_connection_was_lost_is_not_done_and_nothing_is_sent_twice() {
    for dialect in [Dialect::Centrifugo, Dialect::Phoenix] {
        let server = ForeignServer::start(dialect).await;
        let outcome = run_until(&lasting(dialect, server.url()), async {
            wait_until("messages", || server.taken() >= 260).await;
            server.swallow(true);
            let taken = server.taken();
            wait_until("messages without an answer", || server.taken() >= taken + 10).await;
            server.cut();
            server.swallow(false);
            let taken = server.taken();
            wait_until("more messages", || server.taken() >= taken + 300).await;
        })
        .await;
        assert_eq!(outcome.stats.counters.reconnects, 8, "{dialect}\n{outcome}");
        assert!(outcome.unanswered >= 10, "{dialect}\n{outcome}");
        assert_eq!((outcome.tally.lost, outcome.tally.twice), (0, 0), "{dialect}\n{outcome}");
        assert_eq!(outcome.stats.ack.count(), outcome.stats.counters.sent, "each is charged\n{outcome}");
        assert_eq!(outcome.verdict.exit_code(), 1, "{dialect}\n{outcome}");
    }
}
