//! Measures a stage: any component that takes work from a queue.
//!
//! Every stage has the same series, because every stage uses this type: arrivals, completions, the current and the
//! highest backlog, the wait in the queue, and the time spent working. A guard counts each arrival, so no work can
//! leave a queue uncounted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::clock::{self, Instant, nanos};
use crate::highest::Highest;
use crate::histogram::Histogram;

/// The metrics of one stage.
#[derive(Debug)]
pub struct Stage {
    arrivals: AtomicU64,
    completions: AtomicU64,
    peak: Highest,
    busy_nanos: AtomicU64,
    wait: Histogram,
}

impl Default for Stage {
    fn default() -> Self {
        Self {
            arrivals: AtomicU64::new(0),
            completions: AtomicU64::new(0),
            peak: Highest::default(),
            busy_nanos: AtomicU64::new(0),
            wait: Histogram::of_durations(),
        }
    }
}

impl Stage {
    /// Counts one piece of work that enters the queue.
    pub fn arrive(self: &Arc<Self>) -> Arrival {
        self.arrive_at(clock::now())
    }

    /// Counts one piece of work that enters the queue at this time, for a caller that has just read the clock.
    pub fn arrive_at(self: &Arc<Self>, at: Instant) -> Arrival {
        self.arrive_n(1);
        Arrival { stage: Arc::clone(self), at }
    }

    /// Counts `n` units of work that enter the queue. The caller must later call [`complete_n`](Self::complete_n).
    pub fn arrive_n(&self, n: u64) {
        self.arrivals.fetch_add(n, Relaxed);
        self.peak.record(self.backlog());
    }

    /// Counts `n` pieces of work that are done.
    pub fn complete_n(&self, n: u64) {
        self.completions.fetch_add(n, Relaxed);
    }

    /// Records `n` units of work that waited this long.
    pub fn waited(&self, wait: Duration, n: u64) {
        self.wait.observe_duration_n(wait, n);
    }

    /// Counts time spent working.
    pub fn worked(&self, busy: Duration) {
        self.busy_nanos.fetch_add(nanos(busy), Relaxed);
    }

    /// Sets the total time spent working, for a stage whose time is measured elsewhere.
    pub fn set_worked(&self, busy: Duration) {
        self.busy_nanos.store(nanos(busy), Relaxed);
    }

    /// Units of work that have entered the queue.
    pub fn arrivals(&self) -> u64 {
        self.arrivals.load(Relaxed)
    }

    /// Work that is done.
    pub fn completions(&self) -> u64 {
        self.completions.load(Relaxed)
    }

    /// Units of work that have entered the queue and are not done.
    pub fn backlog(&self) -> u64 {
        // Completions first: read the other way round, work done in between would make the difference negative.
        let done = self.completions.load(Relaxed);
        self.arrivals.load(Relaxed).saturating_sub(done)
    }

    /// The highest backlog of the last minute.
    pub fn peak(&self) -> u64 {
        self.peak.get().max(self.backlog())
    }

    /// Begins a new span of the [peak](Self::peak).
    pub fn turn_peak(&self) {
        self.peak.turn(self.backlog());
    }

    /// Seconds spent working.
    pub fn busy_seconds(&self) -> f64 {
        self.busy_nanos.load(Relaxed) as f64 / 1e9
    }

    /// The distribution of the wait in the queue.
    pub fn wait(&self) -> &Histogram {
        &self.wait
    }
}

/// A unit of work in the queue. If it is dropped there, it counts as done.
#[derive(Debug)]
pub struct Arrival {
    stage: Arc<Stage>,
    at: Instant,
}

impl Arrival {
    /// Takes the work out of the queue. It is done when the returned guard drops.
    pub fn begin(self) -> Work {
        let started = clock::now();
        self.stage.waited(started.saturating_duration_since(self.at), 1);
        Work { arrival: self, started }
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.stage.complete_n(1);
    }
}

/// A unit of work in progress.
#[derive(Debug)]
pub struct Work {
    arrival: Arrival,
    started: Instant,
}

impl Work {
    /// The time at which the work was taken from the queue.
    pub fn started(&self) -> Instant {
        self.started
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.arrival.stage.worked(self.started.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_in_the_backlog_until_it_is_done_or_dropped() {
        let stage = Arc::new(Stage::default());
        let (first, second) = (stage.arrive(), stage.arrive());
        assert_eq!(stage.backlog(), 2);
        drop(first);
        let work = second.begin();
        assert_eq!(stage.backlog(), 1);
        drop(work);
        assert_eq!((stage.backlog(), stage.arrivals(), stage.completions()), (0, 2, 2));
        assert_eq!(stage.wait().count(), 1);
    }

    #[test]
    fn the_peak_is_the_highest_backlog_whoever_reads_it() {
        let stage = Arc::new(Stage::default());
        drop((stage.arrive(), stage.arrive(), stage.arrive()));
        let waiting = stage.arrive();
        assert_eq!((stage.peak(), stage.peak()), (3, 3));
        for _ in 0..7 {
            stage.turn_peak();
        }
        assert_eq!(stage.peak(), 1, "what has waited for longer than a minute counts");
        drop(waiting);
        for _ in 0..8 {
            stage.turn_peak();
        }
        assert_eq!(stage.peak(), 0);
    }
}
