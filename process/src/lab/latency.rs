//! The mean latency of a delivery, in the parts of `chat_delivery_part_seconds`, which add up to it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::interval::{Interval, ratio};
use super::stages::StageFigures;
use crate::diagnosis::parts;
use crate::diagnosis::rounded;

/// The utilisation up to which a server counts as idle.
const WITHOUT_LOAD: f64 = 0.1;

/// A part of the latency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// The part, as the metrics name it.
    pub part: String,
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
    /// The parts in the order in which a message passes them. They add up to the measured mean.
    pub parts: Vec<Part>,
}

/// The latency in the interval. `before` has the known figures of the idle server.
pub(super) fn latency(interval: &Interval<'_>, stages: &[StageFigures], before: &Latency) -> Latency {
    let is_without_load = stages.iter().all(|stage| stage.utilisation <= WITHOUT_LOAD);
    let mean_seconds = interval.mean("chat_delivery_seconds").map(rounded);
    let parts = parts(interval.first, interval.last);
    if parts.is_empty() {
        // The known figures of the idle server stay while there is no delivery.
        let known = before.parts.iter().filter(|part| part.no_load_seconds.is_some());
        return Latency { mean_seconds, parts: known.map(|part| Part { seconds: 0.0, ..part.clone() }).collect() };
    }
    let parts = parts.into_iter().map(|growth| {
        let known = before.parts.iter().find(|part| part.part == growth.part);
        let known = known.and_then(|part| part.no_load_seconds);
        let seconds = rounded(ratio(growth.seconds, growth.times.count()).unwrap_or(0.0));
        let now = is_without_load.then_some(seconds);
        let no_load_seconds = known.into_iter().chain(now).min_by(f64::total_cmp);
        Part { part: growth.part.to_owned(), seconds, no_load_seconds }
    });
    Latency { mean_seconds, parts: parts.collect() }
}
