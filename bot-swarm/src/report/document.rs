//! The report as data: what `report.json` holds, and what text, page and comparison are made from.
//!
//! Its schema is `docs/swarm-report.schema.json`, generated from these types. A field may be added without a new
//! [`SCHEMA_VERSION`]; a reader ignores what it does not know. Nothing is taken away and nothing changes its meaning
//! but with a new one.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::judgement::NOTHING_MEASURED;
use crate::server_stages::ServerReport;

/// The version of the schema that this program writes and reads.
pub const SCHEMA_VERSION: u32 = 1;

/// What came of a run of the swarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The version of this schema: 1.
    pub schema_version: u32,
    /// The program that made it, and its version.
    pub program: String,
    /// When the run began: milliseconds since the Unix epoch.
    pub started_at: u64,
    /// From the start until the swarm fell silent, in seconds.
    pub seconds: f64,
    /// Whether what was expected was kept.
    pub verdict: Verdict,
    /// The configuration: every `BOT_*` variable and its value.
    pub config: BTreeMap<String, String>,
    /// How many bots there were to be, were, and were not.
    pub bots: Bots,
    /// What they sent.
    pub messages: Messages,
    /// What they received, held against what they should have.
    pub ledger: Ledger,
    /// How long things took, over the whole run, by kind as `BOT_EXPECT` names them: `connect`, `ack`, `delivery`,
    /// `remote`, `completion`, `resume`, `lateness`, `wake_lag`, `loop_lag`. A kind of which nothing was measured is
    /// left out.
    pub latencies: BTreeMap<String, Latency>,
    /// The same distributions whole, by kind: pairs of microseconds and how many took as long (to three digits), the shortest
    /// first. Those of several reports add up.
    #[serde(default)]
    pub histograms: BTreeMap<String, Vec<[u64; 2]>>,
    /// Of which messages the latencies of the kind `completion` are; `null` where no message was received.
    #[serde(default)]
    pub last_receivers: Option<LastReceivers>,
    /// Everything that was counted, as `BOT_EXPECT` names it.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// How far the latencies of the kind `remote` are to be trusted; `null` where there are none.
    pub remote: Option<Remote>,
    /// The phases of the run, in order.
    pub phases: Vec<Phase>,
    /// The run second by second.
    pub series: Vec<Second>,
    /// What the swarm itself used, and how far it kept to its plan.
    pub swarm: SwarmHealth,
    /// What the server says of itself; `null` where it shows no stages.
    pub server: Option<ServerReport>,
    /// Everything that went wrong on connections, by what it was, and how often.
    pub errors: BTreeMap<String, u64>,
}

/// What a run was held to, and whether it held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The verdict.
    pub judgement: Judgement,
    /// The verdict in one line.
    pub line: String,
    /// What was expected, one by one.
    pub expectations: Vec<Expectation>,
    /// Why the swarm does not trust its own figures, one by one; empty where it does.
    pub doubts: Vec<String>,
    /// What somebody should know who reads only that what was expected was kept: that the run was stopped, that few bots were
    /// connected, that no message was sent, or that it was not clean where nobody asked for it.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// The verdict of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Judgement {
    /// What was expected was kept.
    Kept,
    /// Something that was expected was broken.
    Broken,
    /// The swarm itself was the limit: the figures say little of the server.
    Invalid,
}

/// One thing that was expected, as `BOT_EXPECT` names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Expectation {
    /// What was expected.
    pub expected: String,
    /// What was measured instead; `null` where it was kept, and `not judged` where no bot was connected.
    pub measured: Option<String>,
    /// Whether it was kept.
    pub kept: bool,
}

/// The bots of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bots {
    /// Bots asked for: the most at a time.
    pub asked: u64,
    /// Bots that were to connect before the run ended.
    #[serde(default)]
    pub wanted: u64,
    /// Bots that were connected at least once.
    pub connected: u64,
    /// Connections made again after one was lost.
    pub reconnects: u64,
    /// Bots that had lost their connection when the run ended, and did not come back.
    pub away: u64,
    /// Bots that were to connect, and never were welcomed.
    #[serde(default)]
    pub never_connected: u64,
}

/// What the bots sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Messages {
    /// Messages that were due by the plan: done, refused or not done.
    #[serde(default)]
    pub planned: u64,
    /// Messages that the server took.
    #[serde(default)]
    pub done: u64,
    /// Messages that were never sent (`overdue`), sent and never answered (`unanswered`), or refused for the moment and not
    /// taken since (`deferred`). Each is charged to the latencies with the time from its plan to the end of the run.
    #[serde(default)]
    pub not_done: u64,
    /// Messages sent, each counted once however often it had to be sent again.
    pub sent: u64,
    /// Messages that the server acknowledged.
    pub acknowledged: u64,
    /// Messages that the server refused for good.
    pub refused: u64,
    /// Those of the refused for which there was no reason: the sender kept to the limits, and the receiver was not away.
    #[serde(default)]
    pub refused_unprovoked: u64,
    /// Messages that the server never answered.
    pub unanswered: u64,
    /// Messages that the server refused for the moment, and that were not sent again in time.
    #[serde(default)]
    pub deferred: u64,
    /// Messages that were due by the plan and never sent.
    pub overdue: u64,
    /// Messages sent again after a lost connection, or after a refusal for the moment.
    pub sent_again: u64,
}

/// Deliveries: what should have arrived, what did, and what was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    /// Deliveries that came, right or wrong.
    pub deliveries: u64,
    /// Deliveries that the bots had a right to.
    pub expected: u64,
    /// Those of them that arrived.
    pub received: u64,
    /// Those of them that did not.
    pub lost: u64,
    /// Those of the lost of which the server told.
    pub lost_and_told: u64,
    /// Deliveries of what the receiver had already.
    pub twice: u64,
    /// Deliveries that came after later ones.
    pub out_of_order: u64,
    /// Deliveries in a room where they did not belong.
    pub wrong_room: u64,
    /// Private messages that arrived at a third party.
    pub misdelivered: u64,
    /// Places of a room in which different messages were seen.
    pub contradictions: u64,
    /// Deliveries of a bot's message with another text, sender or receiver than the bot gave it.
    #[serde(default)]
    pub altered: u64,
    /// Private messages across a lost connection, of which nobody can tell whether they should have arrived.
    pub private_unknown: u64,
    /// Deliveries that came and were not timed: nobody planned them, a slow bot received them, or they came from another
    /// host and the server's time was not known on both.
    #[serde(default)]
    pub untimed: u64,
}

/// When the last receiver of each message had it. Those of several processes of a host add up: the latest of all is the
/// last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastReceivers {
    /// Of so many messages one was followed, chosen by a hash of its place in its room; it counts as so many.
    pub one_of: u64,
    /// Messages that were followed.
    pub messages: u64,
    /// All of them in base64, 19 bytes each: the hash (8), the latency in microseconds (5), and the start of the second of
    /// the last receipt in microseconds since the run began (6), with the highest bit set where it is not in the warm-up.
    pub receipts: String,
}

/// Deliveries from other hosts, which were timed by the server's clock.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Remote {
    /// How many there were.
    pub deliveries: u64,
    /// How far off the clocks may be by which they were timed, in milliseconds: the most of all of them.
    pub clocks_off_max_ms: f64,
    /// How many seemed to come before their planned time, and count as no time at all.
    pub negative: u64,
}

/// How long one kind of thing took. Times are milliseconds, from the planned time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Its percentiles.
    #[serde(flatten)]
    pub percentiles: Percentiles,
    /// The mean of all that were measured.
    pub mean: f64,
    /// The whole distribution, share by share.
    pub curve: Vec<Quantile>,
}

/// The usual percentiles of a distribution, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Percentiles {
    /// How many were measured.
    pub count: u64,
    /// Half took no longer.
    pub p50: f64,
    /// 90 % took no longer.
    pub p90: f64,
    /// 99 % took no longer.
    pub p99: f64,
    /// 99.9 % took no longer.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

/// One point of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quantile {
    /// This share, 0 to 1, ...
    pub share: f64,
    /// ... took no longer than this many milliseconds.
    pub ms: f64,
}

/// A phase of a run: a step of `BOT_PROFILE`, or the drain at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Phase {
    /// The step as it is written in a profile, or `drain`.
    pub name: String,
    /// When it began, in seconds since the run did.
    pub start: f64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Messages sent in it.
    pub sent: u64,
    /// Deliveries that came in it.
    pub deliveries: u64,
    /// How long things took that were measured in it, by kind.
    pub latencies: BTreeMap<String, Latency>,
    /// The same distributions whole, by kind. The text is microseconds, the shortest first and then the distance from one
    /// to the next, each with `*` and how many took as long (to three digits), where it is not one. Those of several
    /// reports add up.
    #[serde(default)]
    pub histograms: BTreeMap<String, String>,
}

/// One second of a run, or the part of one that belongs to a phase. Counts are of that time alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Second {
    /// When it began, in seconds since the run did.
    pub start: f64,
    /// How long it was, in seconds; counts divided by it are rates.
    pub seconds: f64,
    /// Which of the `phases` it belongs to, from 0.
    pub phase: u64,
    /// The bots at its end, by state: `waiting`, `connecting`, `connected`, `away`, `resting`, `gone`.
    pub bots: BTreeMap<String, u64>,
    /// Messages sent.
    pub sent: u64,
    /// Messages that the server acknowledged.
    pub acknowledged: u64,
    /// Messages without an answer at its end.
    pub unanswered: u64,
    /// Deliveries that came.
    pub deliveries: u64,
    /// Connections made again after one was lost.
    pub reconnects: u64,
    /// How long things took that were measured in it, by kind.
    pub latencies: BTreeMap<String, Percentiles>,
    /// The same distributions whole, as in `phases`. Past 8 MiB the oldest seconds have none.
    #[serde(default)]
    pub histograms: BTreeMap<String, String>,
    /// Processor time that the swarm used, in seconds.
    pub cpu_seconds: f64,
    /// Memory of the swarm at its end, in bytes.
    pub resident_bytes: u64,
    /// Files that the swarm had open at its end.
    pub open_files: u64,
}

/// What the swarm itself used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SwarmHealth {
    /// Processor time in its own code, in seconds.
    pub user_seconds: f64,
    /// Processor time in the kernel, for it, in seconds.
    pub system_seconds: f64,
    /// What its resident memory grew by, in bytes.
    pub resident_bytes: u64,
    /// How many more files it had open at the end.
    pub open_files: u64,
}

impl Report {
    /// What the process ends with: 0 kept, 1 broken, 2 invalid.
    pub fn exit_code(&self) -> u8 {
        match self.verdict.judgement {
            Judgement::Kept => 0,
            Judgement::Broken => 1,
            Judgement::Invalid => 2,
        }
    }
}

impl Report {
    /// Why nothing can be said of the server; `None` where something can. No bot was connected, or of all that was broken
    /// nothing was measured.
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
    /// A second in which nothing happened.
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

    /// Adds what another process counted in the same second; `with_levels`: also how many there were of what there is.
    pub(crate) fn add(&mut self, other: &Self, with_levels: bool) {
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.deliveries += other.deliveries;
        self.reconnects += other.reconnects;
        self.cpu_seconds += other.cpu_seconds;
        if with_levels {
            self.unanswered += other.unanswered;
            self.resident_bytes += other.resident_bytes;
            self.open_files += other.open_files;
            for (state, count) in &other.bots {
                *self.bots.entry(state.clone()).or_default() += count;
            }
        }
    }

    /// When it ended, in seconds since the run began.
    pub fn end(&self) -> f64 {
        self.start + self.seconds
    }

    /// A count of it as a rate.
    pub fn per_second(&self, count: u64) -> f64 {
        if self.seconds > 0.0 { count as f64 / self.seconds } else { 0.0 }
    }
}

impl Report {
    /// Processor time of the swarm for each delivery that came, in microseconds; 0 where none came.
    pub fn micros_per_delivery(&self) -> f64 {
        let seconds = self.swarm.user_seconds + self.swarm.system_seconds;
        if self.ledger.deliveries == 0 { 0.0 } else { seconds * 1e6 / self.ledger.deliveries as f64 }
    }
}
