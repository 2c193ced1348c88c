//! Measures one attack on a fresh server: its cost, its effect on a bystander, and the limits that it exceeded.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};
use test_kit::network::Network;
use test_kit::{Bystander, Exposition, Process, Program, blocking, token};
use tokio::time::Instant;

use crate::attack::{Attack, CUT_OFF};
use crate::client::Saw;

/// The largest number of log bytes and of new metric series during an attack.
const LOG_BYTES_MAX: usize = 16_000;
const SERIES_MAX: usize = 300;

/// The largest mailbox backlog: one message per credit, and one per session that opens or closes.
const MAILBOX_MAX: f64 = 4_096.0 + 5_000.0;

/// The source address of the bystander and of the metrics requests. The server's limits per address count it separately
/// from the attackers.
const BYSTANDER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The cores that this process may use at its start.
pub(crate) struct Cores(CpuSet);

impl Cores {
    pub(crate) fn allowed() -> Self {
        Self(sched_getaffinity(None).unwrap())
    }

    /// Restricts this thread, and the processes that it starts, to one core, if the machine has that many.
    pub(crate) fn keep_to(&self, number: usize) {
        if let Some(core) = (0..CpuSet::MAX_CPU).filter(|core| self.0.is_set(*core)).nth(number) {
            let mut one = CpuSet::new();
            one.set(core);
            sched_setaffinity(None, &one).unwrap();
        }
    }
}

/// The result of an attack.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// `None` if the attack could not be run.
    pub(crate) cost: Option<Cost>,
    pub(crate) broken: Vec<String>,
}

/// The cost of an attack. The bystander's 99th percentiles are in milliseconds; `None` if it was disconnected.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) mib: f64,
    /// The average number of cores during the attack, or during one second if the attack was shorter.
    pub(crate) cores: f64,
    pub(crate) before: Option<f64>,
    pub(crate) during: Option<f64>,
    pub(crate) after: Option<f64>,
    /// The number of ended connections by reason.
    pub(crate) ended: BTreeMap<String, u64>,
    /// The highest backlog of each actor's mailbox.
    pub(crate) mailboxes: BTreeMap<String, f64>,
    pub(crate) saw: Option<Saw>,
}

/// A server under attack.
struct Server {
    process: Process,
    /// The source address of the bystander.
    source: Option<Ipv4Addr>,
}

impl Server {
    fn start(program: &Path, folder: &Path, bind: &str, attack: &Attack, cores: &Cores) -> Self {
        let program = Program::new(program).with(&[("CHAT_BIND", bind), ("CHAT_HISTORY", "memory")]);
        let mut command = program.command(folder, &[], attack.variables);
        cores.keep_to(0);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        cores.keep_to(1);
        let process = Process::of(child).listening();
        let source = process.address().ip().is_loopback().then_some(BYSTANDER);
        Self { process, source }
    }

    /// The CPU seconds that the server has used.
    fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
        (ticks(11) + ticks(12)) / rustix::param::clock_ticks_per_second() as f64
    }

    fn figures(&self) -> Exposition {
        let (status, body) = blocking::get(self.process.address(), self.source, "/metrics").unwrap();
        assert_eq!(status, 200, "{body}");
        Exposition::parse(&body)
    }
}

/// The bystander's 99th percentile during `meanwhile`, in milliseconds. `None` if the bystander was disconnected.
fn chatted(bystander: &Bystander, meanwhile: impl FnOnce()) -> Option<f64> {
    bystander.next_one();
    bystander.forget();
    meanwhile();
    // The message that is under way still belongs to this period.
    bystander.next_one();
    bystander.is_well().then(|| bystander.round_trips().p99().as_secs_f64() * 1_000.0)
}

/// The values of a metric's series, by the value of this label.
fn by_label(figures: &Exposition, name: &str, label: &str) -> BTreeMap<String, f64> {
    let samples = figures.families.get(name).into_iter().flat_map(|family| &family.samples);
    samples.map(|sample| (sample.labels[label].clone(), sample.value)).collect()
}

fn series(figures: &Exposition) -> usize {
    figures.families.values().map(|family| family.samples.len()).sum()
}

/// The resources that the server still holds after an attack, if one is at its limit or above. `None` if all were
/// released.
fn held(figures: &Exposition) -> Option<String> {
    let own = [
        // The bystander's session, its connection, and the connection of this metrics request.
        ("chat_sessions", 1.0, 1.0),
        ("chat_connections_open", 2.0, 1.0),
        ("chat_credits_in_use", 0.0, 3.0),
        ("chat_outbox_bytes", 0.0, 10_000.0),
    ];
    let left = own.map(|(name, own, bound)| (name, figures.value(name, &[]) - own, bound));
    let is_held = left.iter().any(|(_, left, bound)| left >= bound);
    is_held.then(|| format!("{:?}", left.map(|(name, left, _)| (name, left))))
}

/// Starts this program as an attacker, on the attackers' core. With `far`, inside that network.
fn start_attacker(attack: &Attack, program: &Path, target: SocketAddr, time: Duration, far: Option<&Network>) -> Child {
    let this = std::env::current_exe().unwrap();
    let mut command = far.map_or_else(|| Command::new(&this), |network| network.command(&this));
    command.args(["--attacker", attack.name, &target.to_string(), &time.as_secs_f64().to_string()]);
    command.arg("--server").arg(program).stdout(Stdio::piped()).spawn().unwrap()
}

/// Attacks a fresh server. For the attack `cut-off`, this process must run in its own network namespace.
pub(crate) fn measure(attack: &Attack, program: &Path, scale: f64, cores: &Cores) -> Outcome {
    let network = (attack.name == CUT_OFF).then(Network::here);
    let folder = tempfile::tempdir().unwrap();
    let bind = network.as_ref().map_or_else(|| "127.0.0.1:0".to_owned(), Network::bind);
    let server = Server::start(program, folder.path(), &bind, attack, cores);
    let address = server.process.address();
    let shown = if attack.is_authenticated() {
        format!("?token={}", token::issue(&Program::new(program), &["bystander"]))
    } else {
        String::new()
    };
    let bystander = Bystander::arrive_first(address, server.source, &format!("/ws/calm{shown}")).unwrap();

    let mut broken = Vec::new();
    let before = chatted(&bystander, || thread::sleep(Duration::from_secs(3)));
    let figures = server.figures();
    let series_before = series(&figures);
    let base = server.process.memory_mib().0;
    server.process.forget_peak();
    server.process.lines_so_far();

    let (cpu_before, begun) = (server.cpu_seconds(), Instant::now());
    let time = Duration::from_secs_f64(attack.seconds * scale);
    let mut attacker = start_attacker(attack, program, address, time, network.as_ref());
    let mut told = BufReader::new(attacker.stdout.take().unwrap()).lines().map_while(Result::ok);
    if let Some(network) = &network {
        told.next().expect("the attacker reports that it is connected");
        network.cut();
    }
    let mut mailboxes: BTreeMap<String, f64> = BTreeMap::new();
    let during = chatted(&bystander, || {
        while attacker.try_wait().unwrap().is_none() {
            for (actor, value) in by_label(&server.figures(), "chat_mailbox_messages_highest", "actor") {
                let highest = mailboxes.entry(actor).or_default();
                *highest = highest.max(value);
            }
            thread::sleep(Duration::from_millis(250));
        }
    });
    let took = begun.elapsed().as_secs_f64();
    let used = server.cpu_seconds() - cpu_before;
    let mib = server.process.memory_mib().1 - base;
    let saw: Option<Saw> = told.last().and_then(|line| serde_json::from_str(&line).ok());
    if saw.is_none() || !attacker.wait().unwrap().success() {
        broken.push("the attacker failed".to_owned());
    }

    // The server must release everything within seconds.
    let quiet_by = Instant::now() + Duration::from_secs(10);
    let figures = loop {
        let figures = server.figures();
        match held(&figures) {
            None => break figures,
            Some(left) if Instant::now() > quiet_by => {
                broken.push(format!("not released: {left}"));
                break figures;
            }
            Some(_) => thread::sleep(Duration::from_millis(200)),
        }
    };
    let after = chatted(&bystander, || thread::sleep(Duration::from_secs(2)));
    if let Err(error) = bystander.leave() {
        broken.push(format!("the bystander: {error}"));
    }
    let ended = by_label(&figures, "chat_disconnects_total", "reason");
    let ended =
        ended.into_iter().filter(|(_, count)| *count > 0.0).map(|(reason, count)| (reason, count as u64)).collect();
    let log_bytes = server.process.lines_so_far().iter().map(|line| line.len() + 1).sum::<usize>();
    server.process.kill();

    // An attack may end within a second. Its cost is then spread over one second.
    let cores = used / took.max(1.0);
    let cost = Cost { mib, cores, before, during, after, ended, mailboxes, saw };
    broken.extend(attack.broken_by(&cost, took));
    if figures.value("chat_session_panics_total", &[]) > 0.0 {
        broken.push("a session panicked".to_owned());
    }
    if log_bytes > LOG_BYTES_MAX {
        broken.push(format!("{log_bytes} bytes of log exceed the limit of {LOG_BYTES_MAX}"));
    }
    let new_series = series(&figures).saturating_sub(series_before);
    if new_series > SERIES_MAX {
        broken.push(format!("{new_series} new series exceed the limit of {SERIES_MAX}"));
    }
    Outcome { cost: Some(cost), broken }
}

impl Attack {
    /// The limits that this cost exceeds. `took` is the duration of the attack in seconds.
    fn broken_by(&self, cost: &Cost, took: f64) -> Vec<String> {
        let mut broken = Vec::new();
        let mut expect = |holds: bool, what: String| {
            if !holds {
                broken.push(what);
            }
        };
        let [calm, attacked, recovered] =
            [cost.before, cost.during, cost.after].map(|p99| p99.unwrap_or(f64::INFINITY));
        expect(attacked <= self.p99_ms.max(10.0 * calm), format!("the bystander's p99 was {attacked:.1} ms"));
        expect(
            recovered <= 20_f64.max(5.0 * calm),
            format!("the bystander's p99 was {recovered:.1} ms after the attack"),
        );
        expect(cost.mib <= self.mib, format!("{:.0} MiB exceed the limit of {}", cost.mib, self.mib));
        expect(cost.cores <= self.cores, format!("{:.2} cores exceed the limit of {}", cost.cores, self.cores));
        for (reason, right) in self.ends {
            let count = cost.ended.get(*reason).copied().unwrap_or(0);
            expect(count >= *right, format!("{count} ended as {reason}, at least {right} expected"));
        }
        for actor in ["chat_server", "hub"] {
            let highest = cost.mailboxes.get(actor).copied().unwrap_or(0.0);
            expect(highest <= MAILBOX_MAX, format!("mailboxes: {:?}", cost.mailboxes));
        }
        let Some(saw) = &cost.saw else { return broken };
        let seen = |name: &str| saw.get(name).copied();
        if let (Some(open), Some(bound)) = (seen("open"), self.open_max) {
            expect(open <= f64::from(bound), format!("{open} connections are still open, the limit is {bound}"));
        }
        if let Some(let_in) = seen("let in") {
            expect(let_in >= 20.0, format!("newcomers are refused: {saw:?}"));
        }
        match self.name {
            "handshakes" => {
                let let_in = seen("101").unwrap_or(0.0);
                expect(let_in > 0.0 && let_in <= 10.0 * (took + 1.0), format!("handshakes: {saw:?}"));
            }
            "crowd" => {
                let [presence, seconds, listed] = ["presence", "seconds", "listed"].map(|name| saw[name]);
                let is_right = presence <= seconds + 2.0 && (listed - 1_000.0).abs() < 0.5;
                expect(is_right, format!("presence: {saw:?}"));
            }
            _ => {}
        }
        broken
    }
}
