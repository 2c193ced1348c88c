//! The server's own figures: the utilisation of its stages and the waiting times in them, read from its `/metrics`.
//!
//! A [`Reading`] contains the counters at one moment; two readings make [`ServerFigures`], the changes between them.
//! The metrics are those of `docs/metrics.md`. A server without them has no stages, and the report contains none.

mod watch;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use starling_process::diagnosis::{self, Buckets, Verdict, What, observe};
pub use starling_process::samples::{Sample, samples};
pub use watch::Watch;

use crate::clock::Nanos;
use crate::doubt::Doubt;

/// The server's counters at one moment.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    at: Nanos,
    stages: BTreeMap<(String, String), StageReading>,
    cpu_seconds: Option<f64>,
    resident_bytes: Option<f64>,
    connections: Option<f64>,
}

#[derive(Debug, Clone, Default)]
struct StageReading {
    busy_seconds: f64,
    completions: f64,
    backlog: f64,
    waits: Buckets,
}

/// The server's figures between two readings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerFigures {
    /// Its stages, in the order in which a message passes them.
    pub stages: Vec<StageFigures>,
    /// Processor time per second: 1 is one core.
    pub cores: Option<f64>,
    /// Its resident memory, in bytes.
    pub resident_bytes: Option<u64>,
    /// Established chat connections.
    pub connections: Option<u64>,
}

/// The figures of one stage of the server between two readings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageFigures {
    /// The stage, as `docs/metrics.md` names it.
    pub stage: String,
    /// The share of the time in which its busiest thread worked: 1 is all of it.
    pub utilisation: f64,
    /// Finished work items per second.
    pub per_second: f64,
    /// The median time that work waited before it was begun, in milliseconds; `null` if there was none.
    pub wait_p50_ms: Option<f64>,
    /// The 99th percentile of the time that work waited before it was begun, in milliseconds; `null` if there was none.
    pub wait_p99_ms: Option<f64>,
    /// Queued and running work items at the end.
    pub backlog: f64,
}

impl Reading {
    /// Parses a page of metrics. `None` if it has no stages.
    pub fn parse(page: &str, at: Nanos) -> Option<Self> {
        let mut reading = Self { at, ..Self::default() };
        for sample in samples(page) {
            reading.take(&sample);
        }
        (!reading.stages.is_empty()).then_some(reading)
    }

    fn take(&mut self, sample: &Sample) {
        let value = sample.value;
        let Some(of_stage) = sample.name.strip_prefix("chat_stage_") else {
            match sample.name.as_str() {
                "process_cpu_seconds_total" => self.cpu_seconds = Some(value),
                "process_resident_memory_bytes" => self.resident_bytes = Some(value),
                "chat_connections" => self.connections = Some(value),
                _ => {}
            }
            return;
        };
        let key = (sample.label("stage").to_owned(), sample.label("worker").to_owned());
        let stage = self.stages.entry(key).or_default();
        match of_stage {
            "busy_seconds_total" => stage.busy_seconds = value,
            "completions_total" => stage.completions = value,
            "backlog" => stage.backlog = value,
            "wait_seconds_bucket" => {
                if let Ok(bound) = sample.label("le").parse() {
                    stage.waits.push(bound, value);
                }
            }
            _ => {}
        }
    }

    /// The changes from an earlier reading to this one. A server that was restarted in between counts from zero again:
    /// then the counts since the restart are used.
    pub fn since(&self, earlier: &Self) -> ServerFigures {
        let seconds = self.at.since(earlier.at).as_secs_f64().max(1e-9);
        let grown = |now: f64, before: f64| if now >= before { now - before } else { now };
        let mut stages: BTreeMap<&str, (StageFigures, Buckets)> = BTreeMap::new();
        for ((name, worker), now) in &self.stages {
            let before = earlier.stages.get(&(name.clone(), worker.clone())).cloned().unwrap_or_default();
            let (figures, waits) = stages.entry(name).or_insert_with(|| (StageFigures::idle(name), Buckets::default()));
            figures.utilisation = figures.utilisation.max(grown(now.busy_seconds, before.busy_seconds) / seconds);
            figures.per_second += grown(now.completions, before.completions) / seconds;
            figures.backlog += now.backlog;
            waits.add_growth(&now.waits, &before.waits);
        }
        let mut stages: Vec<StageFigures> = stages.into_values().map(|(figures, waits)| figures.with(&waits)).collect();
        stages.sort_by_key(|figures| STAGES.iter().position(|stage| *stage == figures.stage).unwrap_or(STAGES.len()));
        let cpu = self.cpu_seconds.zip(earlier.cpu_seconds);
        ServerFigures {
            stages,
            cores: cpu.map(|(now, before)| grown(now, before) / seconds),
            resident_bytes: self.resident_bytes.map(whole),
            connections: self.connections.map(whole),
        }
    }
}

/// The stages in the order in which a message passes them; `worker_loop` is the worker threads as a whole.
const STAGES: [&str; 9] =
    ["http", "session", "chat_server", "history", "history_read", "log", "hub", "socket_write", "worker_loop"];

fn whole(value: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, and `as` saturates")]
    let whole = value as u64;
    whole
}

impl StageFigures {
    fn idle(stage: &str) -> Self {
        let stage = stage.to_owned();
        Self { stage, utilisation: 0.0, per_second: 0.0, wait_p50_ms: None, wait_p99_ms: None, backlog: 0.0 }
    }

    fn with(self, waits: &Buckets) -> Self {
        let ms = |share| waits.quantile(share).map(|seconds| seconds * 1e3);
        Self { wait_p50_ms: ms(0.5), wait_p99_ms: ms(0.99), ..self }
    }
}

/// The readings that are judged together: five seconds.
const JUDGED: usize = 6;

/// The verdicts of a run, one for each second.
#[derive(Debug, Clone, Default)]
pub struct Verdicts {
    recent: VecDeque<diagnosis::Reading>,
    found: BTreeMap<What, (u32, Verdict)>,
    seconds: u32,
}

impl Verdicts {
    /// Judges the seconds up to this page of metrics, which was read this long after the start.
    pub fn take(&mut self, page: &str, at: Duration) {
        let Some(reading) = diagnosis::Reading::parse(page, at) else { return };
        if self.recent.len() == JUDGED {
            self.recent.pop_front();
        }
        self.recent.push_back(reading);
        // The first readings cover too short a time to judge.
        if self.recent.len() == JUDGED {
            let verdict = observe(self.recent.make_contiguous());
            self.seconds += 1;
            let (seconds, newest) = self.found.entry(verdict.what).or_insert_with(|| (0, verdict.clone()));
            *seconds += 1;
            *newest = verdict;
        }
    }

    /// The limit that held for the longest time, and its duration in words, if it was at least three seconds and a tenth
    /// of the run. Otherwise the last verdict that nothing was saturated.
    pub fn longest(&self) -> LongestLimit {
        let lasting = |seconds: u32| seconds >= 3 && seconds * 10 >= self.seconds;
        let limits = self.found.iter().filter(|(what, (seconds, _))| what.is_limit() && lasting(*seconds));
        // Of two that lasted equally long, the first in the order of the rules.
        if let Some((_, (seconds, verdict))) = limits.rev().max_by_key(|(_, (seconds, _))| *seconds) {
            let sentence = verdict.sentence.trim_end_matches('.');
            return LongestLimit {
                what: verdict.what,
                words: format!("{sentence} (so in {seconds} of {} judged seconds)", self.seconds),
            };
        }
        let nothing = self.found.get(&What::Nothing).map(|(_, verdict)| verdict);
        let words = nothing.map_or("the run was too short for a diagnosis", |verdict| &verdict.sentence);
        LongestLimit { what: What::Nothing, words: words.trim_end_matches('.').to_owned() }
    }
}

/// What limited the server for most of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongestLimit {
    /// The limit, as `GET /api/diagnosis` names it.
    pub what: What,
    /// The verdict in words.
    pub words: String,
}

/// The server's figures of one second of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerSecond {
    /// The end of the second, in seconds since the start of the run.
    pub at: f64,
    /// The server's figures in it.
    pub figures: ServerFigures,
}

/// The server's figures of a run: as a whole, and second by second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerReport {
    /// The URL of the metrics.
    pub url: String,
    /// What limited the server for most of the time, as `GET /api/diagnosis` names it; `null` in reports of earlier
    /// versions.
    pub what: Option<What>,
    /// The same in words.
    pub judgement: String,
    /// The whole time of load: from the first reading to the last.
    pub whole: ServerFigures,
    /// Second by second.
    pub series: Vec<ServerSecond>,
}

impl ServerReport {
    /// This report, if the swarm itself was the limit for this reason: then the server's figures say nothing of it.
    #[must_use]
    pub fn doubted(self, doubt: Option<&Doubt>) -> Self {
        let Some(doubt) = doubt else { return self };
        let Verdict { what, sentence, .. } = Verdict::generator(&doubt.to_string());
        Self { what: Some(what), judgement: sentence.trim_end_matches('.').to_owned(), ..self }
    }

    /// Builds a report from readings in order. `None` if there are fewer than two.
    pub fn of(url: &str, start: Nanos, readings: &[Reading], verdicts: &Verdicts) -> Option<Self> {
        let (first, last) = readings.first().zip(readings.last()).filter(|_| readings.len() > 1)?;
        let seconds = readings.windows(2).filter_map(|pair| match pair {
            [before, now] => Some(ServerSecond { at: now.at.since(start).as_secs_f64(), figures: now.since(before) }),
            _ => None,
        });
        let whole = last.since(first);
        let LongestLimit { what, words } = verdicts.longest();
        Some(Self { url: url.to_owned(), what: Some(what), judgement: words, whole, series: seconds.collect() })
    }
}

/// The interval of readings.
pub const PERIOD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
