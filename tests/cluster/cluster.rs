//! Three brokers, three nodes and HAProxy.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use test_kit::process::{Program, Signal, signal};
use test_kit::token::{self, JWT};
use test_kit::{LOOK, blocking, namespace};
use tokio::time::Instant;

use crate::Names;
use crate::faults::Fault;
use crate::lan::{Machine, Way};

/// After this time without a sign of life a node is declared dead, in seconds. Some faults last longer, some do not.
const NODE_TIMEOUT: &str = "5";

/// The address for clients.
pub(crate) const URL: &str = "ws://127.0.0.1:8080/ws";

/// The longest time from the end of a fault until all nodes are ready. It allows for an election of the stream's
/// leader, a starting node, and a busy machine.
const RECOVERY: Duration = Duration::from_mins(1);

/// A program on a machine of its own.
struct Service {
    machine: Machine,
    program: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    log: PathBuf,
    child: Option<Child>,
}

impl Service {
    fn start(&mut self) {
        let mut command = self.machine.command(&self.program, &self.log);
        command.args(&self.arguments).envs(self.variables.iter().map(|(name, value)| (name, value)));
        self.child = Some(command.spawn().unwrap());
    }

    fn signal(&self, to_send: Signal) {
        signal(self.child.as_ref().unwrap(), to_send);
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Panics with the end of its log if it has ended by itself.
    fn lives(&mut self) {
        if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
            panic!("{} has ended: {status}\n{}", self.log.display(), self.newest_lines());
        }
    }

    fn newest_lines(&self) -> String {
        let said = fs::read_to_string(&self.log).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// The answer to a GET, if there is one.
    fn get(&self, port: u16, path: &str) -> Option<(u16, String)> {
        let address: SocketAddr = format!("{}:{port}", self.machine.ip()).parse().unwrap();
        blocking::get(address, None, path).ok()
    }

    fn json(&self, port: u16, path: &str) -> Value {
        let (status, body) = self.get(port, path).unwrap_or_else(|| panic!("{} answers", self.log.display()));
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

/// See the [module](self).
pub(crate) struct Cluster {
    brokers: Vec<Service>,
    nodes: Vec<Service>,
    haproxy: Child,
    folder: PathBuf,
    names: Names,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.haproxy.kill().unwrap_or_default();
        self.haproxy.wait().map(drop).unwrap_or_default();
    }
}

/// A file of the project.
fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(project(path)).unwrap()
}

/// A broker with the settings of the stack, as a member of a cluster.
fn broker(number: usize, folder: &Path) -> Service {
    let (machine, name) = (Machine::new(number), format!("nats-{number}"));
    let ip = machine.ip();
    let settings = read("nats/nats.conf");
    assert!(settings.contains("listen: 0.0.0.0:4222") && settings.contains("http: 127.0.0.1:8222"));
    let settings = settings.replace("listen: 0.0.0.0:4222", &format!("listen: \"{ip}:4222\""));
    let settings = settings.replace("http: 127.0.0.1:8222", &format!("http: \"{ip}:8222\"\nserver_name: {name}"));
    let store = folder.join(&name);
    let settings = settings.replace("store_dir: /data", &format!("store_dir: \"{}\"", store.display()));
    let routes: Vec<String> =
        (1..=3).filter(|other| *other != number).map(|other| format!("nats://10.9.{other}.2:6222")).collect();
    let cluster = format!("cluster {{ name: starling, listen: \"{ip}:6222\", routes: [{}] }}\n", routes.join(", "));
    let file = folder.join(format!("{name}.conf"));
    fs::write(&file, settings + &cluster).unwrap();
    Service {
        machine,
        program: project("target/test-tools/bin/nats-server"),
        arguments: vec!["-c".into(), file.to_str().unwrap().into()],
        variables: Vec::new(),
        log: folder.join(format!("{name}.log")),
        child: None,
    }
}

/// The folder of a node's database.
fn node_folder(number: usize, folder: &Path) -> PathBuf {
    folder.join(format!("node-{number}"))
}

fn node(number: usize, brokers: &[Service], folder: &Path, names: Names) -> Service {
    // The first machines are the brokers'.
    let (machine, name) = (Machine::new(3 + number), format!("node-{number}"));
    let urls: Vec<String> = brokers.iter().map(|broker| format!("nats://{}:4222", broker.machine.ip())).collect();
    let own = node_folder(number, folder);
    fs::create_dir(&own).unwrap();
    let variables = [
        ("CHAT_BIND", format!("{}:8080", machine.ip())),
        ("CHAT_HISTORY_PATH", own.join("starling.db").to_str().unwrap().into()),
        ("CHAT_NATS_URL", urls.join(",")),
        ("CHAT_NATS_REPLICAS", "3".into()),
        ("CHAT_NODE_NAME", name.clone()),
        ("CHAT_NODE_TIMEOUT_SECONDS", NODE_TIMEOUT.into()),
        ("CHAT_TRUSTED_PROXIES", "10.9.0.0/16".into()),
        ("CHAT_CONNECTIONS_PER_ADDRESS", "1000".into()),
        ("CHAT_JOINS_PER_MINUTE", "0".into()),
        ("CHAT_DRAIN_SECONDS", "2".into()),
        // Rooms never end, so that they can be compared.
        ("CHAT_EMPTY_ROOM_SECONDS", "3600".into()),
        ("CHAT_WORKERS", "1".into()),
    ];
    let auth = JWT.into_iter().filter(|_| names == Names::Proven).map(|(name, value)| (name, value.to_owned()));
    Service {
        machine,
        program: env!("CARGO_BIN_EXE_starling").into(),
        arguments: Vec::new(),
        variables: variables.into_iter().chain(auth).map(|(name, value)| (name.to_owned(), value)).collect(),
        log: folder.join(format!("{name}.log")),
        child: None,
    }
}

/// HAProxy with the settings of the stack, on the router.
fn haproxy(nodes: &[Service], folder: &Path) -> Child {
    let settings = read("haproxy/haproxy.cfg");
    let (before, rest) = settings.split_once("# The engine's name server").unwrap();
    let (_, rest) = rest.split_once("frontend ").unwrap();
    let template = rest.lines().find(|line| line.trim().starts_with("server-template")).unwrap();
    let servers: Vec<String> = nodes
        .iter()
        .enumerate()
        .map(|(number, node)| {
            format!("    server node-{number} {}:8080 check inter 1s fall 2 rise 1", node.machine.ip())
        })
        .collect();
    let rest = rest.replace(template, &servers.join("\n")).replace("bind :8080", "bind 127.0.0.1:8080");
    let file = folder.join("haproxy.cfg");
    fs::write(&file, format!("{before}frontend {rest}")).unwrap();
    let log = fs::File::create(folder.join("haproxy.log")).unwrap();
    let mut command = Command::new("haproxy");
    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap());
    command.args(["-db", "-f"]).arg(&file).env("PATH", path).stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().unwrap_or_else(|error| panic!("haproxy: {error}; run scripts/install-test-tools"))
}

impl Cluster {
    /// Starts everything; the nodes are ready when this returns.
    pub(crate) fn start(folder: &Path, names: Names) -> Self {
        assert!(namespace::is_this());
        let mut brokers: Vec<Service> = (1..=3).map(|number| broker(number, folder)).collect();
        brokers.iter_mut().for_each(Service::start);
        let mut nodes: Vec<Service> = (1..=3).map(|number| node(number, &brokers, folder, names)).collect();
        nodes.iter_mut().for_each(Service::start);
        let haproxy = haproxy(&nodes, folder);
        let mut cluster = Self { brokers, nodes, haproxy, folder: folder.to_owned(), names };
        cluster.recover();
        // HAProxy checks each node once a second.
        thread::sleep(Duration::from_secs(2));
        cluster
    }

    /// Waits until all nodes are ready.
    pub(crate) fn recover(&mut self) {
        let begun = Instant::now();
        loop {
            self.nodes.iter_mut().chain(&mut self.brokers).for_each(Service::lives);
            let answers: Vec<_> = self.nodes.iter().map(|node| node.get(8080, "/readyz")).collect();
            if answers.iter().all(|answer| answer.as_ref().is_some_and(|(status, _)| *status == 200)) {
                return;
            }
            let said: Vec<String> = self.nodes.iter().map(Service::newest_lines).collect();
            assert!(begun.elapsed() < RECOVERY, "the nodes are not ready: {answers:?}\n{}", said.join("\n\n"));
            thread::sleep(LOOK);
        }
    }

    /// The broker that leads the stream, if there is one.
    fn leader(&self) -> Option<usize> {
        let details = self.brokers.iter().find_map(|broker| streams(&broker.machine).ok())?;
        let accounts = details["account_details"].as_array()?;
        let mut streams = accounts.iter().filter_map(|account| account["stream_detail"].as_array()).flatten();
        let stream = streams.find(|stream| stream["name"] == "starling")?;
        let number: usize = stream["cluster"]["leader"].as_str()?.strip_prefix("nats-")?.parse().unwrap();
        Some(number - 1)
    }

    /// Causes a fault for this time, and ends it.
    pub(crate) fn suffer(&mut self, fault: Fault, hold: Duration) {
        match fault {
            Fault::NodeKilled(number) => self.node_away(number, Signal::KILL, hold, false),
            Fault::NodeLost(number) => self.node_away(number, Signal::KILL, hold, true),
            Fault::NodeDrained(number) => self.node_away(number, Signal::TERM, hold, false),
            Fault::NodePaused(number) => pause(&self.nodes[number], hold),
            Fault::NodeCut(number, way) => {
                let brokers: Vec<&Machine> = self.brokers.iter().map(|broker| &broker.machine).collect();
                cut(&self.nodes[number].machine, &brokers, way, hold);
            }
            Fault::BrokerKilled(number) => self.brokers_away(&[number], hold),
            Fault::BrokerPaused(number) => pause(&self.brokers[number], hold),
            Fault::BrokerCut(number, way) => {
                let others = self.brokers.iter().enumerate().filter(|(other, _)| *other != number);
                let others = others.map(|(_, broker)| broker).chain(&self.nodes);
                let others: Vec<&Machine> = others.map(|other| &other.machine).collect();
                cut(&self.brokers[number].machine, &others, way, hold);
            }
            Fault::LeaderKilled => self.brokers_away(&[self.leader().unwrap_or(0)], hold),
            Fault::LeaderPaused => pause(&self.brokers[self.leader().unwrap_or(0)], hold),
            Fault::BrokersKilled => self.brokers_away(&[0, 1, 2], hold),
        }
    }

    fn node_away(&mut self, number: usize, how: Signal, hold: Duration, is_emptied: bool) {
        self.nodes[number].signal(how);
        let status = self.nodes[number].child.take().unwrap().wait().unwrap();
        let node = &mut self.nodes[number];
        assert!(how == Signal::KILL || status.success(), "{status}: {}", node.newest_lines());
        thread::sleep(hold);
        if is_emptied {
            let own = node_folder(number + 1, &self.folder);
            fs::remove_dir_all(&own).unwrap();
            fs::create_dir(&own).unwrap();
        }
        node.start();
    }

    fn brokers_away(&mut self, numbers: &[usize], hold: Duration) {
        for number in numbers {
            self.brokers[*number].kill();
        }
        thread::sleep(hold);
        for number in numbers {
            self.brokers[*number].start();
        }
    }

    /// Compares the nodes' stored messages, and returns their number.
    pub(crate) fn compare_histories(&mut self) -> usize {
        self.recover();
        let token = match self.names {
            Names::Proven => token::issue(&Program::new(env!("CARGO_BIN_EXE_starling")), &["reader"]),
            Names::Open => String::new(),
        };
        let begun = Instant::now();
        loop {
            let histories: Vec<Vec<Value>> = self.nodes.iter().map(|node| history(node, &token)).collect();
            for (number, history) in (1..).zip(&histories) {
                let lines: Vec<String> = history.iter().map(Value::to_string).collect();
                fs::write(self.folder.join(format!("history-{number}.jsonl")), lines.join("\n")).unwrap();
            }
            if histories.iter().all(|history| *history == histories[0]) {
                return histories[0].len();
            }
            // A node applies the last records a little later than another.
            assert!(begun.elapsed() < Duration::from_secs(10), "{}", difference(&histories));
            thread::sleep(LOOK);
        }
    }
}

/// All messages of all rooms, each with its room's epoch.
fn history(node: &Service, token: &str) -> Vec<Value> {
    let rooms = node.json(8080, &format!("/api/rooms?token={token}"));
    let mut names: Vec<&str> =
        rooms["rooms"].as_array().unwrap().iter().map(|room| room["room"].as_str().unwrap()).collect();
    names.sort_unstable();
    let mut all = Vec::new();
    for name in names {
        let mut after = 0;
        loop {
            let page = node.json(8080, &format!("/api/rooms/{name}/messages?after={after}&limit=200&token={token}"));
            let messages = page["messages"].as_array().unwrap();
            all.extend(messages.iter().map(|message| serde_json::json!([name, page["epoch"], message])));
            let Some(newest) = messages.last() else { break };
            after = newest["seq"].as_u64().unwrap();
        }
    }
    all
}

/// The first difference between the histories.
fn difference(histories: &[Vec<Value>]) -> String {
    let lengths: Vec<usize> = histories.iter().map(Vec::len).collect();
    let first = (0..*lengths.iter().max().unwrap())
        .find(|at| histories.iter().any(|history| history.get(*at) != histories[0].get(*at)))
        .unwrap();
    let there: Vec<_> = histories.iter().map(|history| history.get(first)).collect();
    format!("the histories have {lengths:?} messages, and message {first} differs: {there:#?}")
}

/// A broker's state of the streams. Over HTTP/1.0, so that the answer is not chunked.
fn streams(machine: &Machine) -> io::Result<Value> {
    let address: SocketAddr = format!("{}:8222", machine.ip()).parse().unwrap();
    let mut socket = blocking::open(address, None, Duration::from_secs(1))?;
    socket.write_all(b"GET /jsz?accounts=true&streams=true HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    Ok(serde_json::from_str(body)?)
}

fn pause(service: &Service, hold: Duration) {
    service.signal(Signal::STOP);
    thread::sleep(hold);
    service.signal(Signal::CONT);
}

fn cut(machine: &Machine, others: &[&Machine], way: Way, hold: Duration) {
    let rules = machine.losses(others, way);
    for rule in &rules {
        namespace::run("ip", &format!("rule add {rule}"));
    }
    thread::sleep(hold);
    for rule in &rules {
        namespace::run("ip", &format!("rule del {rule}"));
    }
}
