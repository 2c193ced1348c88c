//! The report as data: the content of `report.json`, from which text, page and comparison are made.
//!
//! Its schema is `docs/swarm-report.schema.json`, generated from these types. A field may be added without a new
//! [`SCHEMA_VERSION`]; a reader ignores unknown fields. Removing a field or changing its meaning needs a new version.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::judgement::NOTHING_MEASURED;
use crate::server_stages::ServerReport;

/// The version of the schema that this program writes and reads.
pub const SCHEMA_VERSION: u32 = 1;

/// The report of a run of the swarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The version of this schema: 1.
    pub schema_version: u32,
    /// The program that made it, with its version.
    pub program: String,
    /// The start of the run: milliseconds since the Unix epoch.
    pub started_at: u64,
    /// The time from the start until the swarm became quiet, in seconds.
    pub seconds: f64,
    /// Whether the expectations were kept.
    pub verdict: Verdict,
    /// The configuration: every `BOT_*` variable and its value.
    pub config: BTreeMap<String, String>,
    /// The numbers of bots: requested, connected, away.
    pub bots: Bots,
    /// The messages that they sent.
    pub messages: Messages,
    /// The deliveries that they received, compared with those that they should have received.
    pub ledger: Ledger,
    /// The latencies of the whole run, by kind as `BOT_EXPECT` names them: `connect`, `ack`, `delivery`, `remote`,
    /// `completion`, `resume`, `lateness`, `wake_lag`, `loop_lag`. Kinds without measurements are omitted.
    pub latencies: BTreeMap<String, Latency>,
    /// The full distributions, by kind: pairs of microseconds (to three digits) and their count, shortest first. Those
    /// of several reports can be added.
    #[serde(default)]
    pub histograms: BTreeMap<String, Vec<[u64; 2]>>,
    /// The messages behind the latencies of the kind `completion`; `null` if no message was received.
    #[serde(default)]
    pub last_receivers: Option<LastReceivers>,
    /// All counts, as `BOT_EXPECT` names them.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// The accuracy of the latencies of the kind `remote`; `null` if there are none.
    pub remote: Option<Remote>,
    /// The phases of the run, in order.
    pub phases: Vec<Phase>,
    /// The run second by second.
    pub series: Vec<Second>,
    /// The resources that the swarm itself used.
    pub swarm: SwarmHealth,
    /// The server's own figures; `null` if it shows no stages.
    pub server: Option<ServerReport>,
    /// The errors of connections, by kind, with their count.
    pub errors: BTreeMap<String, u64>,
}

/// The expectations of a run, and whether it kept them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The verdict.
    pub judgement: Judgement,
    /// The verdict in one line.
    pub line: String,
    /// The expectations, one by one.
    pub expectations: Vec<Expectation>,
    /// The reasons that the swarm does not trust its own figures; empty if it does.
    pub doubts: Vec<String>,
    /// Facts that a reader should know even if the expectations were kept: the run was stopped, few bots were
    /// connected, no message was sent, or the run was not clean but cleanness was not expected.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// The verdict of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Judgement {
    /// All expectations were kept.
    Kept,
    /// An expectation was broken.
    Broken,
    /// The swarm itself was the limit: the figures say little about the server.
    Invalid,
}

/// One expectation, as `BOT_EXPECT` names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Expectation {
    /// The expectation.
    pub expected: String,
    /// The actual value if it was broken; `null` if it was kept, and `not judged` if no bot was connected.
    pub measured: Option<String>,
    /// Whether it was kept.
    pub kept: bool,
}

/// The bots of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bots {
    /// The requested number of bots: the most at a time.
    pub asked: u64,
    /// Bots that were due to connect before the run ended.
    #[serde(default)]
    pub wanted: u64,
    /// Bots that were connected at least once.
    pub connected: u64,
    /// Connections made after one was lost.
    pub reconnects: u64,
    /// Bots that had lost their connection before the run ended, and did not return.
    pub away: u64,
    /// Bots that were due to connect and were never welcomed.
    #[serde(default)]
    pub never_connected: u64,
}

/// The messages that the bots sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Messages {
    /// Planned messages that were due: done, refused or not done.
    #[serde(default)]
    pub planned: u64,
    /// Messages that the server accepted.
    #[serde(default)]
    pub done: u64,
    /// Messages that were never sent (`overdue`), sent and never answered (`unanswered`), or refused temporarily and
    /// not accepted later (`deferred`). Each is charged to the latencies with the time from its plan to the end of the
    /// run.
    #[serde(default)]
    pub not_done: u64,
    /// Messages sent, each counted once even if it was sent again.
    pub sent: u64,
    /// Messages that the server acknowledged.
    pub acknowledged: u64,
    /// Messages that the server refused permanently.
    pub refused: u64,
    /// Refused messages without a reason: the sender kept to the limits, and the receiver was not away.
    #[serde(default)]
    pub refused_unprovoked: u64,
    /// Messages that the server never answered.
    pub unanswered: u64,
    /// Messages that the server refused temporarily, and that were not sent again in time.
    #[serde(default)]
    pub deferred: u64,
    /// Planned messages that were due and never sent.
    pub overdue: u64,
    /// Messages sent again after a lost connection, or after a temporary refusal.
    pub sent_again: u64,
}

/// Deliveries: expected, received and faulty ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    /// Deliveries that came, right or wrong.
    pub deliveries: u64,
    /// Deliveries that the bots had to receive.
    pub expected: u64,
    /// Expected deliveries that arrived.
    pub received: u64,
    /// Expected deliveries that did not arrive.
    pub lost: u64,
    /// Lost deliveries that the server reported as lost.
    pub lost_and_told: u64,
    /// Deliveries of messages that the receiver had already received.
    pub twice: u64,
    /// Deliveries that came after later ones.
    pub out_of_order: u64,
    /// Deliveries in the wrong room.
    pub wrong_room: u64,
    /// Private messages that arrived at a third party.
    pub misdelivered: u64,
    /// Positions of a room (`seq`) at which different messages were seen.
    pub contradictions: u64,
    /// Deliveries of a bot's message with a different text, sender or receiver.
    #[serde(default)]
    pub altered: u64,
    /// Texts of deleted messages that arrived after a resume behind the deletion.
    #[serde(default)]
    pub resurrected: u64,
    /// Read positions that went back, or that a later connection was not told.
    #[serde(default)]
    pub unread: u64,
    /// Private messages across a lost connection that may or may not have been due.
    pub private_unknown: u64,
    /// Deliveries that were not timed: the message was not planned, a slow bot received it, or it came from another
    /// host and the server's time was not known on both hosts.
    #[serde(default)]
    pub untimed: u64,
}

/// The time of each message's last receipt. Those of several processes of a host can be combined: the latest counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastReceivers {
    /// One of this many messages was followed, chosen by a hash of its position in its room; it counts for all of them.
    pub one_of: u64,
    /// Messages that were followed.
    pub messages: u64,
    /// All of them in base64, 19 bytes each: the hash (8), the latency in microseconds (5), and the start of the second
    /// of the last receipt in microseconds since the run began (6), with the highest bit set if it is not in the
    /// warm-up.
    pub receipts: String,
}

/// Deliveries from other hosts, timed by the server's clock.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Remote {
    /// The number of these deliveries.
    pub deliveries: u64,
    /// The largest possible error of the clocks that timed them, in milliseconds.
    pub clocks_off_max_ms: f64,
    /// The number of deliveries that seemed to precede their planned time; their latency counts as zero.
    pub negative: u64,
}

/// The latencies of one kind, in milliseconds from the planned time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Its percentiles.
    #[serde(flatten)]
    pub percentiles: Percentiles,
    /// The mean.
    pub mean: f64,
    /// The full distribution, share by share.
    pub curve: Vec<Quantile>,
}

/// The usual percentiles of a distribution, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Percentiles {
    /// The number of measurements.
    pub count: u64,
    /// The median.
    pub p50: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The 99.9th percentile.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

/// One point of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quantile {
    /// This share of the latencies, 0 to 1, ...
    pub share: f64,
    /// ... does not exceed this many milliseconds.
    pub ms: f64,
}

/// A phase of a run: a step of `BOT_PROFILE`, or the drain at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Phase {
    /// The step as written in the profile, or `drain`.
    pub name: String,
    /// Its start, in seconds since the start of the run.
    pub start: f64,
    /// Its duration, in seconds.
    pub seconds: f64,
    /// Messages sent in this phase.
    pub sent: u64,
    /// Deliveries received in this phase.
    pub deliveries: u64,
    /// The latencies measured in this phase, by kind.
    pub latencies: BTreeMap<String, Latency>,
    /// The full distributions, by kind. The text contains microseconds (to three digits), the shortest first and then
    /// the distance from one to the next, each with `*` and its count if it is not 1. Those of several reports can be
    /// added.
    #[serde(default)]
    pub histograms: BTreeMap<String, String>,
}

/// One second of a run, or the part of one that belongs to a phase. Counts are of that time only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Second {
    /// Its start, in seconds since the start of the run.
    pub start: f64,
    /// Its duration, in seconds; counts divided by it are rates.
    pub seconds: f64,
    /// The index of its phase in `phases`, from 0.
    pub phase: u64,
    /// The bots at its end, by state: `waiting`, `connecting`, `connected`, `away`, `resting`, `gone`.
    pub bots: BTreeMap<String, u64>,
    /// Messages sent.
    pub sent: u64,
    /// Messages that the server acknowledged.
    pub acknowledged: u64,
    /// Messages without an answer at its end.
    pub unanswered: u64,
    /// Deliveries received.
    pub deliveries: u64,
    /// Connections made after one was lost.
    pub reconnects: u64,
    /// The latencies measured in it, by kind.
    pub latencies: BTreeMap<String, Percentiles>,
    /// The full distributions, as in `phases`. Above 8 MiB, the oldest seconds have none.
    #[serde(default)]
    pub histograms: BTreeMap<String, String>,
    /// Processor time that the swarm used, in seconds.
    pub cpu_seconds: f64,
    /// Memory of the swarm at its end, in bytes.
    pub resident_bytes: u64,
    /// Files that the swarm had open at its end.
    pub open_files: u64,
}

/// The resources that the swarm itself used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SwarmHealth {
    /// Processor time in user mode, in seconds.
    pub user_seconds: f64,
    /// Processor time in kernel mode, in seconds.
    pub system_seconds: f64,
    /// The growth of its resident memory, in bytes.
    pub resident_bytes: u64,
    /// The growth of the number of its open files.
    pub open_files: u64,
}

impl Report {
    /// The exit code of the process: 0 kept, 1 broken, 2 invalid.
    pub fn exit_code(&self) -> u8 {
        match self.verdict.judgement {
            Judgement::Kept => 0,
            Judgement::Broken => 1,
            Judgement::Invalid => 2,
        }
    }
}

impl Report {
    /// The reason that the run says nothing about the server; `None` if it does. Either no bot was connected, or none
    /// of the broken expectations had measurements.
    pub(crate) fn unmeasured(&self) -> Option<String> {
        let broken = || {
            self.verdict.expectations.iter().filter_map(|expectation| {
                expectation.measured.as_ref().map(|measured| (&expectation.expected, measured))
            })
        };
        if self.bots.connected == 0 {
            return broken().next().map(|(_, measured)| measured.clone());
        }
        let is_unmeasured = broken().count() > 0 && broken().all(|(_, measured)| measured == NOTHING_MEASURED);
        let expected: Vec<&str> = broken().map(|(expected, _)| expected.as_str()).collect();
        is_unmeasured.then(|| {
            format!("{NOTHING_MEASURED} of {}: hold each load longer, or send more messages", expected.join(", "))
        })
    }
}

impl Second {
    /// A second without events.
    pub(crate) fn empty(start: f64) -> Self {
        Self {
            start,
            seconds: 1.0,
            phase: 0,
            bots: BTreeMap::new(),
            sent: 0,
            acknowledged: 0,
            unanswered: 0,
            deliveries: 0,
            reconnects: 0,
            latencies: BTreeMap::new(),
            histograms: BTreeMap::new(),
            cpu_seconds: 0.0,
            resident_bytes: 0,
            open_files: 0,
        }
    }

    /// Adds another process's counts of the same second; with `with_levels`, also its gauges.
    pub(crate) fn add(&mut self, other: &Self, with_levels: bool) {
        // A report may contain any number.
        let add = |ours: &mut u64, theirs: u64| *ours = ours.saturating_add(theirs);
        add(&mut self.sent, other.sent);
        add(&mut self.acknowledged, other.acknowledged);
        add(&mut self.deliveries, other.deliveries);
        add(&mut self.reconnects, other.reconnects);
        self.cpu_seconds += other.cpu_seconds;
        if with_levels {
            add(&mut self.unanswered, other.unanswered);
            add(&mut self.resident_bytes, other.resident_bytes);
            add(&mut self.open_files, other.open_files);
            for (state, count) in &other.bots {
                add(self.bots.entry(state.clone()).or_default(), *count);
            }
        }
    }

    /// Its end, in seconds since the start of the run.
    pub fn end(&self) -> f64 {
        self.start + self.seconds
    }

    /// Converts a count of this second into a rate.
    pub fn per_second(&self, count: u64) -> f64 {
        if self.seconds > 0.0 { count as f64 / self.seconds } else { 0.0 }
    }
}

impl Report {
    /// Processor time of the swarm per delivery, in microseconds; `None` if there were no deliveries.
    pub fn micros_per_delivery(&self) -> Option<f64> {
        let seconds = self.swarm.user_seconds + self.swarm.system_seconds;
        (self.ledger.deliveries > 0).then(|| seconds * 1e6 / self.ledger.deliveries as f64)
    }
}
