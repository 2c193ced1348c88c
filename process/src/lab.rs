//! The figures of the page `/lab`: the stages from socket to socket, the latency in its parts, the limits, and the last
//! five minutes.
//!
//! [`Past`] is a pure state machine: readings of a server's metrics in, a [`Snapshot`] out. It reads no clock.

mod interval;
mod latency;
mod stages;

use std::collections::VecDeque;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::interval::Interval;
pub use self::latency::{Latency, Part};
pub use self::stages::StageFigures;
use crate::diagnosis::{self, Buckets, Evidence, Reading, grown, rounded};

/// Most points that are kept: five minutes at one a second.
pub const POINTS_MAX: usize = 300;

/// The figures of one second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// The end of the second, in seconds since the start of the server.
    pub second: f64,
    /// Connections that take part in the chat.
    pub connections: f64,
    /// Messages taken from clients, per second.
    pub messages_per_second: f64,
    /// Messages offered to clients, each client counted, per second.
    pub deliveries_per_second: f64,
    /// Cores that the server uses.
    pub cpu_cores: f64,
    /// Resident memory of the process; `null` where the system does not say.
    pub memory_bytes: Option<f64>,
    /// The utilisation of the busiest stage: the share of the time in which its thread works for it.
    pub utilisation: f64,
    /// The median of the delivery latency in this second; `null` without a delivery.
    pub delivery_p50_seconds: Option<f64>,
    /// The 99th percentile of the delivery latency in this second; `null` without a delivery.
    pub delivery_p99_seconds: Option<f64>,
}

/// The figures of the last five seconds, and the points.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// The stages in the order in which a message passes them, and then the other stages.
    pub stages: Vec<StageFigures>,
    /// The mean latency of a delivery, in its parts.
    pub latency: Latency,
    /// All figures with a limit, the nearest to its limit first.
    pub limits: Vec<Evidence>,
    /// The figures second by second, the oldest first. The first event of a stream has up to five minutes, each later
    /// one the newest second.
    pub points: Vec<Point>,
}

/// The points of the last five minutes, and the newest figures.
#[derive(Debug, Default)]
pub struct Past {
    points: VecDeque<Point>,
    newest: Snapshot,
}

impl Past {
    /// Adds readings of the last seconds in their order; only the last one is new.
    pub fn take(&mut self, readings: &[Reading]) {
        if let Some(point) = point(readings) {
            if self.points.len() == POINTS_MAX {
                self.points.pop_front();
            }
            self.points.push_back(point);
        }
        let Some(interval) = Interval::of(readings) else { return };
        let stages = stages::stages(&interval);
        let latency = latency::latency(&interval, &stages, &self.newest.latency);
        self.newest = Snapshot { stages, latency, limits: limits(readings), points: Vec::new() };
    }

    /// The newest figures with all points.
    pub fn whole(&self) -> Snapshot {
        Snapshot { points: self.points.iter().cloned().collect(), ..self.newest.clone() }
    }

    /// The newest figures with the newest point only.
    pub fn newest(&self) -> Snapshot {
        Snapshot { points: self.points.back().cloned().into_iter().collect(), ..self.newest.clone() }
    }
}

/// The point of the newest second; `None` if there are fewer than two readings.
fn point(readings: &[Reading]) -> Option<Point> {
    let newest = readings.get(readings.len().checked_sub(2)?..)?;
    let interval = Interval::of(newest)?;
    let per_second = |growth: f64| rounded(growth / interval.seconds);
    let mut deliveries = Buckets::default();
    deliveries.add_growth(&interval.last.deliveries, &interval.first.deliveries);
    let busiest = stages::stages(&interval).into_iter().map(|stage| stage.utilisation).fold(0.0, f64::max);
    let messages = "chat_messages_total";
    Some(Point {
        second: rounded_time(interval.last.at),
        connections: interval.last.get("chat_connections", &[]).unwrap_or(0.0),
        messages_per_second: per_second(grown(interval.first.sum(messages), interval.last.sum(messages))),
        deliveries_per_second: per_second(interval.growth("chat_deliveries_total")),
        cpu_cores: rounded(diagnosis::cores_used(newest)),
        memory_bytes: interval.last.get("process_resident_memory_bytes", &[]),
        utilisation: busiest,
        delivery_p50_seconds: deliveries.quantile(0.5).map(rounded),
        delivery_p99_seconds: deliveries.quantile(0.99).map(rounded),
    })
}

/// All figures with a limit, the nearest to its limit first.
fn limits(readings: &[Reading]) -> Vec<Evidence> {
    let mut limits = diagnosis::distances(readings);
    limits.sort_by(|a, b| b.share().total_cmp(&a.share()));
    limits
}

/// A time in seconds, to a hundredth.
fn rounded_time(time: Duration) -> f64 {
    (time.as_secs_f64() * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests;
