//! The time of deliveries in parts that add up to it, from the reading of a frame to the kernel.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reading::{Buckets, Reading, grown};
use super::rounding::rounded;

/// A part of the time of deliveries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartOfLatency {
    /// The part, as the metric `chat_delivery_part_seconds` names it.
    pub part: String,
    /// The median, in milliseconds.
    pub p50_ms: f64,
    /// The 99th percentile, in milliseconds.
    pub p99_ms: f64,
    /// The share of the part in the sum of all parts.
    pub share: f64,
}

/// The parts in the order in which a message passes them.
const ORDER: [&str; 6] = ["session", "chat_server_wait", "commit", "chat_server", "hub_wait", "socket_write"];

/// The growth of one part between two readings.
#[derive(Debug)]
pub(crate) struct PartGrowth {
    pub(crate) part: &'static str,
    pub(crate) seconds: f64,
    pub(crate) times: Buckets,
}

/// The growth of the parts between two readings, in their order; empty without a delivery.
pub(crate) fn parts(first: &Reading, last: &Reading) -> Vec<PartGrowth> {
    let of = |part: &'static str| {
        let now = last.parts.get(part)?;
        let before = first.parts.get(part).cloned().unwrap_or_default();
        let mut times = Buckets::default();
        times.add_growth(&now.times, &before.times);
        let seconds = grown(before.seconds, now.seconds);
        (times.count() > 0.0).then_some(PartGrowth { part, seconds, times })
    };
    ORDER.into_iter().filter_map(of).collect()
}

/// The parts between two readings.
pub(super) fn latency(first: &Reading, last: &Reading) -> Vec<PartOfLatency> {
    let parts = parts(first, last);
    let all: f64 = parts.iter().map(|part| part.seconds).sum();
    let ms = |times: &Buckets, share| rounded(times.quantile(share).unwrap_or(0.0) * 1e3);
    let told = parts.iter().map(|part| PartOfLatency {
        part: part.part.to_owned(),
        p50_ms: ms(&part.times, 0.5),
        p99_ms: ms(&part.times, 0.99),
        share: if all > 0.0 { part.seconds / all } else { 0.0 },
    });
    told.collect()
}
