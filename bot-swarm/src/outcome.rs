//! The complete outcome of a run: everything that a report tells, draws or compares.
//!
//! Times within a run are durations since its start. A measurement belongs to the second and the phase in which it was
//! made: a delivery, for example, to those in which it arrived, however long ago it was planned.

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

/// The outcome of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The configuration of the run.
    pub config: Config,
    /// The start, by the wall clock.
    pub started: SystemTime,
    /// The time from the start until the swarm became quiet.
    pub elapsed: Duration,
    /// The most bots at a time in the profile.
    pub bots: u32,
    /// Counts and latencies of the whole run, including its drain.
    pub stats: Stats,
    /// The run second by second, oldest first; a phase boundary within a second divides it in two.
    pub points: Vec<Point>,
    /// The number of oldest points that were dropped because the run was too long.
    pub points_forgotten: u64,
    /// The steps of the profile, and the drain.
    pub phases: Vec<Phase>,
    /// The last receipts of messages: all latencies of `completion` except those of messages that were not done.
    pub last_receivers: LastReceivers,
    /// Expected and received deliveries, and faults.
    pub tally: Tally,
    /// Messages that the server never answered.
    pub unanswered: u64,
    /// Messages that the server refused temporarily, and that were not sent again in time.
    pub deferred: u64,
    /// Bots that had lost their connection before the run ended, and did not return.
    pub away: u64,
    /// The resources that the swarm itself used, from its start to the end of the drain.
    pub footprint: Footprint,
    /// The server's figures during the run, if it was asked and has stages.
    pub server: Option<ServerReport>,
    /// The reasons that the run is not valid; empty if it is.
    pub doubts: Vec<Doubt>,
    /// Facts that the verdict [`Verdict::Kept`] does not tell.
    pub notes: Vec<String>,
    /// The verdict.
    pub verdict: Verdict,
}

/// The judgement of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All expectations were kept.
    Kept,
    /// These expectations were broken.
    Broken(Vec<Broken>),
    /// The swarm itself was the limit, so there is no result; [`Outcome::doubts`] contains the reasons.
    Invalid,
}

impl Verdict {
    /// The exit code of the process.
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
    /// Planned messages that were due, sent or not.
    pub fn planned(&self) -> u64 {
        self.stats.counters.sent.saturating_add(self.stats.counters.overdue)
    }

    /// Planned messages that were due, and that the server neither accepted nor refused permanently.
    pub fn not_done(&self) -> u64 {
        self.unanswered.saturating_add(self.deferred).saturating_add(self.stats.counters.overdue)
    }

    /// Messages that were done: accepted by the server, or, with a dialect without answers, sent.
    pub fn done(&self) -> u64 {
        self.planned().saturating_sub(self.not_done().saturating_add(self.stats.counters.refused))
    }

    /// Bots that were due to connect and were never welcomed.
    pub fn never_connected(&self) -> u64 {
        self.stats.counters.wanted.saturating_sub(self.stats.counters.ever_connected)
    }
}

/// One second of a run, or the part of one that belongs to a phase.
#[derive(Debug, Clone)]
pub struct Point {
    /// Its start.
    pub start: Duration,
    /// Its duration; counts divided by it are rates.
    pub duration: Duration,
    /// The index of its phase in [`Outcome::phases`].
    pub phase: usize,
    /// The bots at its end, by behaviour and state.
    pub census: Census,
    /// Its counts.
    pub counters: Counters,
    /// Its latencies, in the order of [`Stats::KINDS`].
    pub quantiles: Vec<Quantiles>,
    /// The full histograms, [packed](Latencies::pack), in the same order. Empty if nothing was measured, and in old
    /// seconds whose histograms were dropped.
    pub histograms: Vec<Arc<str>>,
    /// Messages without an answer at its end.
    pub unanswered: u64,
    /// The ledgers' findings up to its end. `lost` counts messages that are missing so far and may still come.
    pub findings: Tally,
    /// Processor time that the swarm used in it.
    pub cpu: Duration,
    /// Processor time of the busiest worker thread.
    pub busiest_worker: Duration,
    /// Memory of the swarm at its end, in bytes.
    pub resident_bytes: u64,
    /// Files that the swarm had open at its end.
    pub open_files: u64,
}

impl Point {
    /// The latencies of this kind, one of [`Stats::KINDS`].
    pub fn kind(&self, name: &str) -> Option<&Quantiles> {
        self.quantiles.get(Stats::index_of(name)?)
    }
}

/// The part of a histogram that a point keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quantiles {
    /// The number of measurements.
    pub count: u64,
    /// The median.
    pub p50: Duration,
    /// The value that 90 % of them did not exceed.
    pub p90: Duration,
    /// The value that 99 % of them did not exceed.
    pub p99: Duration,
    /// The value that 99.9 % of them did not exceed.
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
    /// The step as written in the profile, or `drain`.
    pub name: String,
    /// Its start.
    pub start: Duration,
    /// Its duration; shorter than planned if the run was stopped early.
    pub duration: Duration,
    /// Its counts and latencies.
    pub stats: Stats,
}
