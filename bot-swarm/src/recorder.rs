//! Records a run by second, by phase, and as a whole.
//!
//! A measurement belongs to the second in which it was made. Only a `completion` is known later: a message's last
//! receiver is certain only when the run is over. Meanwhile, a message is reported once it had no receipt for a second;
//! when the records are read, every second, every phase and the whole run get the completions that are known then.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Host, Nanos};
use crate::footprint::Footprint;
use crate::last_receivers::LastReceivers;
use crate::latencies::Latencies;
use crate::outcome::{Phase, Point, Quantiles};
use crate::profile::Profile;
use crate::stats::Stats;
use crate::worker::requests::Interval;

/// The most points that are kept: four hours of seconds. Above that, the oldest are dropped.
const POINTS_MAX: usize = 14_400;

/// The kind that is known only when the run is over.
const COMPLETION: &str = "completion";

/// The most bytes of packed histograms of seconds. Above that, the oldest seconds keep only their percentiles.
const HISTOGRAMS_BYTES_MAX: usize = 8 << 20;

/// The phase in which nothing new is sent and outstanding work is awaited.
const DRAIN: &str = "drain";

/// The records of a run.
#[derive(Debug)]
pub(crate) struct Recorder {
    host: Host,
    start: Nanos,
    /// From this time on, latencies count for the whole run.
    warm_up: Duration,
    /// The end of each phase but the drain; the last may be endless.
    ends: Vec<Option<Duration>>,
    phases: Vec<Phase>,
    phase: usize,
    points: VecDeque<Point>,
    forgotten: u64,
    /// Bytes of the histograms of `points`.
    histograms_bytes: usize,
    /// The number of oldest `points` without histograms.
    bare: usize,
    total: Stats,
    /// The part of `total.completion` from messages that were not done.
    not_done: Latencies,
    last_receivers: LastReceivers,
    recorded_until: Duration,
    footprint: Footprint,
}

/// The result of a recorder.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) points: Vec<Point>,
    pub(crate) forgotten: u64,
    pub(crate) phases: Vec<Phase>,
    pub(crate) total: Stats,
    pub(crate) last_receivers: LastReceivers,
}

impl Recorder {
    pub(crate) fn new(profile: &Profile, warm_up: Duration, host: Host, start: Nanos) -> Self {
        let steps = || profile.steps();
        let begin = |(start, _, step): (Duration, u32, crate::profile::Step)| Phase {
            name: step.to_string(),
            start,
            duration: Duration::ZERO,
            stats: Stats::default(),
        };
        Self {
            host,
            start,
            warm_up,
            ends: steps().map(|(start, _, step)| step.duration.map(|duration| start + duration)).collect(),
            phases: steps().map(begin).collect(),
            phase: 0,
            points: VecDeque::new(),
            forgotten: 0,
            histograms_bytes: 0,
            bare: 0,
            total: Stats::default(),
            not_done: Latencies::default(),
            last_receivers: LastReceivers::default(),
            recorded_until: Duration::ZERO,
            footprint: Footprint::now(),
        }
    }

    /// The time of the next point: the next whole second, or the end of the phase or the warm-up.
    pub(crate) fn next_due(&self) -> Nanos {
        let second = Duration::from_secs(self.recorded_until.as_secs() + 1);
        let phase_end = self.ends.get(self.phase).copied().flatten();
        let ends = [phase_end, Some(self.warm_up)].into_iter().flatten().filter(|end| *end > self.recorded_until);
        self.start.after(ends.fold(second, Duration::min))
    }

    /// Begins the drain.
    pub(crate) fn begin_drain(&mut self) {
        self.phases.truncate(self.phase + 1);
        self.phases.push(Phase {
            name: DRAIN.to_owned(),
            start: self.recorded_until,
            duration: Duration::ZERO,
            stats: Stats::default(),
        });
        self.ends.clear();
        self.phase += 1;
    }

    /// Records the counts and latencies since the last point.
    pub(crate) fn record(&mut self, interval: &Interval) -> &Point {
        let now = self.host.now().since(self.start);
        let duration = now.saturating_sub(self.recorded_until);
        let footprint = Footprint::now();
        let used = footprint.since(&self.footprint);
        let is_judged = self.recorded_until >= self.warm_up;
        if is_judged {
            self.total.merge(&interval.stats);
            self.not_done.merge(&interval.stats.completion);
        } else {
            self.total.merge_warm_up(&interval.stats);
        }
        self.last_receivers.merge_second(&interval.last_receivers, self.recorded_until, is_judged);
        self.last_receivers.settle(self.recorded_until, &mut self.total.completion);
        if let Some(phase) = self.phases.get_mut(self.phase) {
            phase.duration += duration;
            phase.stats.merge(&interval.stats);
        }
        let point = Point {
            start: self.recorded_until,
            duration,
            phase: self.phase,
            census: interval.census,
            counters: interval.stats.counters,
            quantiles: interval.stats.kinds().map(Quantiles::from).collect(),
            histograms: interval.stats.kinds().map(|latencies| latencies.pack().into()).collect(),
            unanswered: interval.unanswered,
            findings: interval.findings,
            cpu: used.user + used.system,
            busiest_worker: interval.busiest_worker,
            resident_bytes: footprint.resident_bytes,
            open_files: footprint.open_files,
        };
        self.recorded_until = now;
        self.footprint = footprint;
        self.advance(now);
        self.keep(point);
        #[expect(clippy::expect_used, reason = "just put there")]
        self.points.back().expect("there is a point")
    }

    fn keep(&mut self, point: Point) {
        if self.points.len() == POINTS_MAX
            && let Some(oldest) = self.points.pop_front()
        {
            self.forgotten += 1;
            self.histograms_bytes -= oldest.histograms_bytes();
            self.bare = self.bare.saturating_sub(1);
        }
        self.histograms_bytes += point.histograms_bytes();
        self.points.push_back(point);
        while self.histograms_bytes > HISTOGRAMS_BYTES_MAX
            && let Some(oldest) = self.points.get_mut(self.bare)
        {
            self.histograms_bytes -= oldest.forget_histograms();
            self.bare += 1;
        }
    }

    /// The counts and latencies so far.
    pub(crate) fn total(&self) -> &Stats {
        &self.total
    }

    /// The records so far: the phases that have begun, and their values.
    pub(crate) fn so_far(&self) -> Records {
        let mut total = self.total.clone();
        total.completion = self.not_done.clone();
        let mut records = Records {
            points: self.points.iter().cloned().collect(),
            forgotten: self.forgotten,
            phases: self.phases.iter().take(self.phase + 1).cloned().collect(),
            total,
            last_receivers: self.last_receivers.clone(),
        };
        records.complete();
        records
    }

    fn advance(&mut self, now: Duration) {
        while self.ends.get(self.phase).copied().flatten().is_some_and(|end| end <= now)
            && self.phase + 1 < self.phases.len()
        {
            self.phase += 1;
            if let Some(phase) = self.phases.get_mut(self.phase) {
                phase.start = now;
            }
        }
    }
}

impl Records {
    /// Adds the last receivers to the whole run, the phases and the seconds, whose `completion` contains only messages
    /// that were not done.
    fn complete(&mut self) {
        let Self { points, phases, total, last_receivers, .. } = self;
        total.completion.merge(&last_receivers.latencies(|receipt| receipt.is_judged));
        let receipts = last_receivers.by_time();
        for point in points {
            let Some(mut completion) = receipts.between(point.start, point.start + point.duration) else { continue };
            if let Some(not_done) = point.packed(COMPLETION).and_then(|packed| Latencies::unpack(packed)) {
                completion.merge(&not_done);
            }
            point.set(COMPLETION, &completion);
        }
        let ends: Vec<Duration> = phases.iter().skip(1).map(|phase| phase.start).chain([Duration::MAX]).collect();
        for (phase, end) in phases.iter_mut().zip(ends) {
            if let Some(last) = receipts.between(phase.start, end) {
                phase.stats.completion.merge(&last);
            }
        }
    }
}

impl Point {
    fn histograms_bytes(&self) -> usize {
        self.histograms.iter().map(|packed| packed.len()).sum()
    }

    /// Drops all histograms except that of messages that were not done, which is not stored elsewhere. Returns the
    /// bytes freed.
    fn forget_histograms(&mut self) -> usize {
        let before = self.histograms_bytes();
        for (kind, packed) in Stats::KINDS.iter().zip(&mut self.histograms) {
            if *kind != COMPLETION {
                *packed = Arc::default();
            }
        }
        before - self.histograms_bytes()
    }

    fn packed(&self, kind: &str) -> Option<&Arc<str>> {
        self.histograms.get(Stats::index_of(kind)?)
    }

    fn set(&mut self, kind: &str, latencies: &Latencies) {
        let Some(index) = Stats::index_of(kind) else { return };
        if let Some((quantiles, packed)) = self.quantiles.get_mut(index).zip(self.histograms.get_mut(index)) {
            (*quantiles, *packed) = (Quantiles::from(latencies), latencies.pack().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder(profile: &str) -> Recorder {
        Recorder::new(&profile.parse().unwrap(), Duration::ZERO, Host::this(), Host::this().now())
    }

    fn sent(count: u64) -> Interval {
        let mut interval = Interval::default();
        interval.stats.counters.sent = count;
        interval
    }

    #[test]
    fn a_point_is_due_each_second_and_where_a_phase_ends() {
        let mut recorder = recorder("ramp 1.5s to 3, hold");
        let due = |recorder: &Recorder| recorder.next_due().since(recorder.start);
        assert_eq!(due(&recorder), Duration::from_secs(1));
        recorder.recorded_until = Duration::from_secs(1);
        assert_eq!(due(&recorder), Duration::from_millis(1_500));
        recorder.recorded_until = Duration::from_millis(1_500);
        recorder.advance(recorder.recorded_until);
        assert_eq!(due(&recorder), Duration::from_secs(2));
    }

    #[test]
    fn what_is_recorded_is_in_its_phase_and_in_the_total() {
        let mut recorder = recorder("ramp 0s to 3, hold");
        recorder.record(&sent(1));
        recorder.record(&sent(2));
        recorder.begin_drain();
        recorder.record(&sent(4));
        let records = recorder.so_far();
        let by_phase: Vec<(&str, u64)> =
            records.phases.iter().map(|phase| (phase.name.as_str(), phase.stats.counters.sent)).collect();
        assert_eq!(by_phase, [("ramp 0s to 3", 1), ("hold", 2), ("drain", 4)]);
        assert_eq!(records.total.counters.sent, 7);
        assert_eq!(records.points.iter().map(|point| point.phase).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn what_is_measured_in_the_warm_up_is_in_its_phase_and_not_in_the_total() {
        let mut recorder = Recorder { warm_up: Duration::from_millis(700), ..recorder("ramp 0s to 3, hold") };
        let due = |recorder: &Recorder| recorder.next_due().since(recorder.start);
        assert_eq!(due(&recorder), Duration::from_millis(700));
        let mut interval = sent(1);
        interval.stats.connect.record(Duration::from_millis(1));
        interval.stats.delivery.record(Duration::from_millis(2));
        interval.stats.wake_lag.record(Duration::from_millis(3));
        recorder.record(&interval);
        recorder.recorded_until = recorder.warm_up;
        assert_eq!(due(&recorder), Duration::from_secs(1));
        recorder.record(&interval);
        let Records { phases, total, .. } = recorder.so_far();
        assert_eq!((total.counters.sent, total.connect.count(), total.wake_lag.count()), (2, 2, 2));
        assert_eq!(total.delivery.count(), 1);
        assert_eq!(phases.iter().map(|phase| phase.stats.delivery.count()).sum::<u64>(), 2);
    }

    #[test]
    fn the_points_remembered_are_bounded_and_the_oldest_go() {
        let mut recorder = recorder("ramp 0s to 3, hold");
        for _ in 0..POINTS_MAX + 2 {
            recorder.record(&Interval::default());
        }
        let records = recorder.so_far();
        assert_eq!((records.points.len(), records.forgotten), (POINTS_MAX, 2));
    }
}
