//! What came of a run, whole: everything that a report tells, draws or compares.
//!
//! Times within a run are durations since its start. What was measured belongs to the second and the phase in which
//! it was measured: a delivery, for one, to those in which it arrived, however long ago it was planned.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::census::Census;
use crate::config::Config;
use crate::doubt::Doubt;
use crate::expect::Broken;
use crate::footprint::Footprint;
use crate::last_receivers::LastReceivers;
use crate::latencies::Latencies;
use crate::ledger::Tally;
use crate::server_stages::ServerReport;
use crate::stats::{Counters, Stats};

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What the swarm was asked to do.
    pub config: Config,
    /// When it started, by the wall clock.
    pub started: SystemTime,
    /// From the start until the swarm fell silent.
    pub elapsed: Duration,
    /// The most bots that the swarm was to have at a time.
    pub bots: u32,
    /// What was counted and measured in the whole run, its drain included.
    pub stats: Stats,
    /// The run second by second, oldest first; a phase that ends within a second parts it in two.
    pub points: Vec<Point>,
    /// Points that are not in `points`, because a run was longer than is remembered; they were the oldest.
    pub points_forgotten: u64,
    /// The steps of the profile, and the drain.
    pub phases: Vec<Phase>,
    /// When the last receiver of each message had it: what `completion` is made of, but for messages that were not done.
    pub last_receivers: LastReceivers,
    /// What should have arrived, what did, and what was wrong.
    pub tally: Tally,
    /// Messages that the server never answered.
    pub unanswered: u64,
    /// Messages that the server refused for the moment, and that were not sent again in time.
    pub deferred: u64,
    /// Bots that had lost their connection when the run ended, and did not come back.
    pub away: u64,
    /// What the swarm itself used, from its start to the end of the drain.
    pub footprint: Footprint,
    /// What the server said of itself meanwhile, where it was asked and has stages.
    pub server: Option<ServerReport>,
    /// Why the run is not valid; empty where it is.
    pub doubts: Vec<Doubt>,
    /// What a verdict of [`Verdict::Kept`] leaves unsaid.
    pub notes: Vec<String>,
    /// What the run is judged to be.
    pub verdict: Verdict,
}

/// What a run is judged to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Everything that was expected was kept.
    Kept,
    /// This was not.
    Broken(Vec<Broken>),
    /// The swarm itself was the limit, so nothing can be said; [`Outcome::doubts`] says why.
    Invalid,
}

impl Verdict {
    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Kept => 0,
            Self::Broken(_) => 1,
            Self::Invalid => 2,
        }
    }
}

impl Default for Outcome {
    /// The outcome of a run in which nothing was done.
    fn default() -> Self {
        Self {
            config: Config::default(),
            started: SystemTime::UNIX_EPOCH,
            elapsed: Duration::ZERO,
            bots: 0,
            stats: Stats::default(),
            points: Vec::new(),
            points_forgotten: 0,
            phases: Vec::new(),
            last_receivers: LastReceivers::default(),
            tally: Tally::default(),
            unanswered: 0,
            deferred: 0,
            away: 0,
            footprint: Footprint::default(),
            server: None,
            doubts: Vec::new(),
            notes: Vec::new(),
            verdict: Verdict::Kept,
        }
    }
}

impl Outcome {
    /// Messages that were due by the plan: sent or not.
    pub fn planned(&self) -> u64 {
        self.stats.counters.sent + self.stats.counters.overdue
    }

    /// Messages that were due by the plan, and neither taken by the server nor refused.
    pub fn not_done(&self) -> u64 {
        self.unanswered + self.deferred + self.stats.counters.overdue
    }

    /// Messages that were done: taken by the server, or, where it answers nothing, sent.
    pub fn done(&self) -> u64 {
        self.planned().saturating_sub(self.not_done() + self.stats.counters.refused)
    }

    /// Bots that were to connect, and never were welcomed.
    pub fn never_connected(&self) -> u64 {
        self.stats.counters.wanted.saturating_sub(self.stats.counters.ever_connected)
    }
}

/// One second of a run, or the part of one that belongs to a phase.
#[derive(Debug, Clone)]
pub struct Point {
    /// When it began.
    pub start: Duration,
    /// How long it was; counts divided by it are rates.
    pub duration: Duration,
    /// Which of [`Outcome::phases`] it belongs to.
    pub phase: usize,
    /// The bots at its end.
    pub census: Census,
    /// What was counted in it.
    pub counters: Counters,
    /// What was measured in it, in the order of [`Stats::KINDS`].
    pub quantiles: Vec<Quantiles>,
    /// The same whole, [packed](Latencies::pack), in the same order. Empty where nothing was measured, and in seconds so
    /// long ago that they are not remembered.
    pub histograms: Vec<Arc<str>>,
    /// Messages without an answer at its end.
    pub unanswered: u64,
    /// What the ledgers had found up to its end. `lost` is what is missing so far, and may still come.
    pub findings: Tally,
    /// Processor time that the swarm used in it.
    pub cpu: Duration,
    /// Processor time of the worker thread that used most in it.
    pub busiest_worker: Duration,
    /// Memory of the swarm at its end, in bytes.
    pub resident_bytes: u64,
    /// Files that the swarm had open at its end.
    pub open_files: u64,
}

impl Point {
    /// What was measured of this kind, one of [`Stats::KINDS`].
    pub fn kind(&self, name: &str) -> Option<&Quantiles> {
        self.quantiles.get(Stats::index_of(name)?)
    }
}

/// What a point keeps of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quantiles {
    /// How many were measured.
    pub count: u64,
    /// What half of them did not exceed.
    pub p50: Duration,
    /// What 90 % of them did not exceed.
    pub p90: Duration,
    /// What 99 % of them did not exceed.
    pub p99: Duration,
    /// What 99.9 % of them did not exceed.
    pub p999: Duration,
    /// The longest.
    pub max: Duration,
}

impl From<&Latencies> for Quantiles {
    fn from(latencies: &Latencies) -> Self {
        let quantile = |share| latencies.quantile(share);
        Self {
            count: latencies.count(),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: latencies.max(),
        }
    }
}

/// A phase of a run: a step of the profile, or the drain.
#[derive(Debug, Clone)]
pub struct Phase {
    /// The step as it is written in a profile, or `drain`.
    pub name: String,
    /// When it began.
    pub start: Duration,
    /// How long it took; a run that is stopped early cuts it short.
    pub duration: Duration,
    /// What was counted and measured in it.
    pub stats: Stats,
}
