//! The stages that a message passes, each with its busiest worker.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::interval::{Interval, StageGrowth};
use crate::diagnosis::rounded;

/// The stages in the order in which a message passes them, and whether every message passes them.
const ORDER: [(&str, bool); 9] = [
    ("session", true),
    ("chat_server", true),
    ("history", true),
    ("log", true),
    ("hub", true),
    ("socket_write", true),
    ("history_read", false),
    ("http", false),
    ("worker_loop", false),
];

/// A stage. If every worker has one, the utilisation and the waits are those of the busiest worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageFigures {
    /// The stage, as the metrics name it.
    pub stage: String,
    /// Whether every message passes it.
    pub is_on_the_way: bool,
    /// The number of the busiest worker; `null` for a stage with a thread of its own.
    pub worker: Option<String>,
    /// The share of the time in which it works. Near 1 and with a growing wait, the stage is the bottleneck.
    pub utilisation: f64,
    /// The 99th percentile of the wait in its queue; `null` if no work came.
    pub wait_p99_seconds: Option<f64>,
    /// Work in the queues of all workers, or being done.
    pub backlog: f64,
    /// The highest backlog of the last minute, of one worker.
    pub backlog_peak: f64,
    /// Work that all workers have done, per second.
    pub per_second: f64,
}

/// All stages of a server.
pub(super) fn stages(interval: &Interval<'_>) -> Vec<StageFigures> {
    ORDER.iter().filter_map(|(stage, is_on_the_way)| figures(interval, stage, *is_on_the_way)).collect()
}

/// `None`: the server does not have this stage.
fn figures(interval: &Interval<'_>, stage: &str, is_on_the_way: bool) -> Option<StageFigures> {
    let workers: Vec<StageGrowth<'_>> = interval.stages(stage).collect();
    // The first one of several that are equally busy.
    let busiest = workers.iter().rev().max_by(|a, b| a.busy_seconds.total_cmp(&b.busy_seconds))?;
    let all = |value: fn(&StageGrowth<'_>) -> f64| workers.iter().map(value).sum::<f64>();
    Some(StageFigures {
        stage: stage.to_owned(),
        is_on_the_way,
        worker: (busiest.worker != "-").then(|| busiest.worker.to_owned()),
        utilisation: rounded((busiest.busy_seconds / interval.seconds).min(1.0)),
        wait_p99_seconds: busiest.waits.quantile(0.99).map(rounded),
        backlog: all(|worker| worker.now.backlog),
        backlog_peak: workers.iter().map(|worker| worker.now.backlog_peak).fold(0.0, f64::max),
        per_second: rounded(all(|worker| worker.completions) / interval.seconds),
    })
}
