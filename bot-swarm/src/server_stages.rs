//! The server's own figures: the utilisation of its stages and the waiting times in them, read from its `/metrics`.
//!
//! A [`Reading`] contains the counters at one moment; two readings make [`ServerFigures`], the changes between them.
//! The metrics are those of `docs/metrics.md`. A server without them has no stages, and the report contains none.

mod exposition;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

pub use exposition::{Sample, samples};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
pub use watch::Watch;

use crate::clock::Nanos;

/// The utilisation from which a stage counts as saturated: the queue of a thread that is busy 90 % of the time is about
/// ten deep.
const SATURATED_FROM: f64 = 0.9;

/// The wait from which an event loop counts as delayed; the runtime's timer alone causes about a millisecond.
const LOOP_WAITS_FROM_MS: f64 = 20.0;

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
    waits: WaitBuckets,
}

/// A histogram of waits in Prometheus' form: the upper bound of each bucket, and the cumulative count.
#[derive(Debug, Clone, Default, PartialEq)]
struct WaitBuckets(Vec<(f64, f64)>);

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
                    stage.waits.0.push((bound, value));
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
        let mut stages: BTreeMap<&str, (StageFigures, WaitBuckets)> = BTreeMap::new();
        for ((name, worker), now) in &self.stages {
            let before = earlier.stages.get(&(name.clone(), worker.clone())).cloned().unwrap_or_default();
            let (figures, waits) =
                stages.entry(name).or_insert_with(|| (StageFigures::idle(name), WaitBuckets::default()));
            figures.utilisation = figures.utilisation.max(grown(now.busy_seconds, before.busy_seconds) / seconds);
            figures.per_second += grown(now.completions, before.completions) / seconds;
            figures.backlog += now.backlog;
            waits.add(&now.waits, &before.waits);
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
const STAGES: [&str; 7] = ["session", "chat_server", "history", "history_read", "hub", "socket_write", "worker_loop"];

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

    fn with(self, waits: &WaitBuckets) -> Self {
        let ms = |share| waits.quantile(share).map(|seconds| seconds * 1e3);
        Self { wait_p50_ms: ms(0.5), wait_p99_ms: ms(0.99), ..self }
    }
}

impl WaitBuckets {
    /// Adds a thread's counts between two readings.
    fn add(&mut self, now: &Self, before: &Self) {
        let restarted = now.0.last().map(|last| last.1) < before.0.last().map(|last| last.1);
        for (place, (bound, count)) in now.0.iter().enumerate() {
            let earlier = before.0.get(place).filter(|_| !restarted).map_or(0.0, |(_, count)| *count);
            match self.0.get_mut(place) {
                Some((_, sum)) => *sum += count - earlier,
                None => self.0.push((*bound, count - earlier)),
            }
        }
    }

    /// The wait that this share does not exceed, interpolated within a bucket, as Prometheus does.
    fn quantile(&self, share: f64) -> Option<f64> {
        let all = self.0.last()?.1;
        if all <= 0.0 {
            return None;
        }
        let rank = share * all;
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, count) in &self.0 {
            if *count >= rank {
                // Beyond the last bound, the value is unknown.
                let within = if *count > below { (rank - below) / (count - below) } else { 1.0 };
                return Some(if bound.is_finite() { lower + (bound - lower) * within } else { lower });
            }
            (lower, below) = (*bound, *count);
        }
        Some(lower)
    }
}

impl ServerFigures {
    /// Names the bottleneck in words, by the rules of `docs/metrics.md`, "Which stage gives way first?".
    pub fn judgement(&self) -> String {
        let of = |name: &str| self.stages.iter().find(|stage| stage.stage == name);
        let busiest = |stages: &[&str]| {
            let stages = self.stages.iter().filter(|stage| stages.contains(&stage.stage.as_str()));
            stages.max_by(|a, b| a.utilisation.total_cmp(&b.utilisation))
        };
        let percent = |share: f64| format!("{:.0} %", share * 100.0);
        let own_threads = busiest(&["chat_server", "history", "history_read"]);
        if let Some(stage) = own_threads.filter(|stage| stage.utilisation >= SATURATED_FROM) {
            return format!(
                "{} is saturated: its thread worked {} of the time",
                stage.stage,
                percent(stage.utilisation)
            );
        }
        let worker_loop = of("worker_loop");
        if let Some(whole) = worker_loop.filter(|stage| stage.utilisation >= SATURATED_FROM) {
            let part = busiest(&["session", "hub", "socket_write"]);
            let within = part.map_or(String::new(), |part| {
                format!(", {} of it in {}", percent(part.utilisation / whole.utilisation), part.stage)
            });
            return format!(
                "a worker's thread is saturated: it worked {} of the time{within}",
                percent(whole.utilisation)
            );
        }
        let busiest = self.stages.iter().max_by(|a, b| a.utilisation.total_cmp(&b.utilisation));
        let most =
            busiest.map_or(String::new(), |s| format!("; the busiest is {}, {}", s.stage, percent(s.utilisation)));
        match worker_loop.and_then(|stage| stage.wait_p99_ms) {
            Some(wait) if wait >= LOOP_WAITS_FROM_MS => {
                format!("no stage is saturated, but worker_loop waits {wait:.0} ms (p99): others use the cores{most}")
            }
            _ => format!("no stage is saturated{most}"),
        }
    }
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
    /// The bottleneck, in words.
    pub judgement: String,
    /// The whole time of load: from the first reading to the last.
    pub whole: ServerFigures,
    /// Second by second.
    pub series: Vec<ServerSecond>,
}

impl ServerReport {
    /// Builds a report from readings in order. `None` if there are fewer than two.
    pub fn of(url: &str, start: Nanos, readings: &[Reading]) -> Option<Self> {
        let (first, last) = readings.first().zip(readings.last()).filter(|_| readings.len() > 1)?;
        let seconds = readings.windows(2).filter_map(|pair| match pair {
            [before, now] => Some(ServerSecond { at: now.at.since(start).as_secs_f64(), figures: now.since(before) }),
            _ => None,
        });
        let whole = last.since(first);
        Some(Self { url: url.to_owned(), judgement: whole.judgement(), whole, series: seconds.collect() })
    }
}

/// The interval of readings.
pub const PERIOD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
