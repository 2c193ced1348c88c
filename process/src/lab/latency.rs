//! The mean latency of a delivery, in its parts.
//!
//! Only [`parts`] defines them: a mean wait and a mean time of work for each stage that a message passes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::interval::{Interval, ratio, rounded};
use super::stages::StageFigures;

/// The utilisation up to which a server counts as idle.
const WITHOUT_LOAD: f64 = 0.1;

/// The kind of a part of the latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The message waits in the stage's queue.
    Wait,
    /// The stage works on it.
    Work,
}

/// A part of the latency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// The stage, as the metrics name it.
    pub stage: String,
    /// Whether the message waits or is worked on.
    pub kind: Kind,
    /// The mean of the last five seconds.
    pub seconds: f64,
    /// The least mean in five seconds in which no stage was busy for more than a tenth of the time; `null` before the
    /// first such interval.
    pub no_load_seconds: Option<f64>,
}

/// The latency of a delivery.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// The measured mean of the last five seconds, from reading a message's frame until the kernel has accepted it for
    /// a client; `null` without a delivery.
    pub mean_seconds: Option<f64>,
    /// The parts in the order in which a message passes them. They are means over all work of each stage, so their sum
    /// is close to the measured mean if all work is messages.
    pub parts: Vec<Part>,
}

/// The latency in the interval. `before` has the known figures of the idle server.
pub(super) fn latency(interval: &Interval<'_>, stages: &[StageFigures], before: &Latency) -> Latency {
    let is_without_load = stages.iter().all(|stage| stage.utilisation <= WITHOUT_LOAD);
    let mean_seconds = interval.mean("chat_delivery_seconds").map(rounded);
    let parts = parts(interval).into_iter().filter_map(|(stage, kind, seconds)| {
        let known = before.parts.iter().find(|part| (&*part.stage, part.kind) == (stage, kind));
        let known = known.and_then(|part| part.no_load_seconds);
        let seconds = seconds.map(rounded);
        let now = seconds.filter(|_| is_without_load && mean_seconds.is_some());
        let no_load_seconds = known.into_iter().chain(now).min_by(f64::total_cmp);
        // The known figures of the idle server stay while there is no work.
        let seconds = seconds.or(no_load_seconds.map(|_| 0.0))?;
        Some(Part { stage: stage.to_owned(), kind, seconds, no_load_seconds })
    });
    Latency { mean_seconds, parts: parts.collect() }
}

/// The parts in their order, each with the mean of its stage; `None`: the stage had no work.
fn parts(interval: &Interval<'_>) -> [(&'static str, Kind, Option<f64>); 10] {
    let (wait, work) = (|stage| of_wait(interval, stage), |stage| of_work(interval, stage));
    [
        ("session", Kind::Wait, wait("session")),
        ("session", Kind::Work, work("session")),
        ("chat_server", Kind::Wait, wait("chat_server")),
        ("chat_server", Kind::Work, work("chat_server")),
        ("history", Kind::Wait, wait("history")),
        // A message waits for the whole commit that it is in, whatever else is in it.
        ("history", Kind::Work, interval.mean("chat_history_commit_seconds")),
        ("log", Kind::Wait, wait("log")),
        ("hub", Kind::Wait, wait("hub")),
        ("hub", Kind::Work, work("hub")),
        // The wait ends when the kernel has accepted the frame, so it contains the work.
        ("socket_write", Kind::Wait, wait("socket_write")),
    ]
}

/// `None`: no work has waited.
fn of_wait(interval: &Interval<'_>, stage: &str) -> Option<f64> {
    let sums = interval.stages(stage).map(|worker| (worker.wait_seconds, worker.waits.count()));
    let (seconds, count) = sums.fold((0.0, 0.0), |(a, b), (c, d)| (a + c, b + d));
    ratio(seconds, count)
}

/// `None`: no work was done.
fn of_work(interval: &Interval<'_>, stage: &str) -> Option<f64> {
    let sums = interval.stages(stage).map(|worker| (worker.busy_seconds, worker.completions));
    let (seconds, count) = sums.fold((0.0, 0.0), |(a, b), (c, d)| (a + c, b + d));
    ratio(seconds, count)
}
