//! The growth of a server's metrics in a span of time.

use crate::diagnosis::{Buckets, Reading, StageReading, grown};

/// The growth of the metrics between two readings.
#[derive(Debug)]
pub(super) struct Interval<'a> {
    pub(super) seconds: f64,
    pub(super) first: &'a Reading,
    pub(super) last: &'a Reading,
}

impl<'a> Interval<'a> {
    /// From the first to the last of these readings. `None`: there is no time between them.
    pub(super) fn of(readings: &'a [Reading]) -> Option<Self> {
        let (first, last) = readings.first().zip(readings.last())?;
        let seconds = last.at.saturating_sub(first.at).as_secs_f64();
        (seconds > 0.0).then_some(Self { seconds, first, last })
    }

    /// The growth of a metric without labels.
    pub(super) fn growth(&self, name: &str) -> f64 {
        let value = |reading: &Reading| reading.get(name, &[]).unwrap_or(0.0);
        grown(value(self.first), value(self.last))
    }

    /// The mean of the new values of a histogram; `None` if there are none.
    pub(super) fn mean(&self, name: &str) -> Option<f64> {
        ratio(self.growth(&format!("{name}_sum")), self.growth(&format!("{name}_count")))
    }

    /// The growth of a stage, of each of its workers.
    pub(super) fn stages(&self, stage: &'a str) -> impl Iterator<Item = StageGrowth<'a>> {
        let all = self.last.stages.iter().filter(move |((name, _), _)| name == stage);
        all.map(|(key, now)| {
            let none = StageReading::default();
            let before = self.first.stages.get(key).unwrap_or(&none);
            let mut waits = Buckets::default();
            waits.add_growth(&now.waits, &before.waits);
            StageGrowth {
                worker: &key.1,
                busy_seconds: grown(before.busy_seconds, now.busy_seconds),
                completions: grown(before.completions, now.completions),
                waits,
                now,
            }
        })
    }
}

/// The growth of a stage of one worker.
#[derive(Debug)]
pub(super) struct StageGrowth<'a> {
    pub(super) worker: &'a str,
    pub(super) busy_seconds: f64,
    pub(super) completions: f64,
    pub(super) waits: Buckets,
    pub(super) now: &'a StageReading,
}

pub(super) fn ratio(sum: f64, count: f64) -> Option<f64> {
    (count > 0.0).then(|| sum / count)
}
