//! Estimates the server's clock from its answers to `ping`.
//!
//! Clocks of two hosts are unrelated, but each can be compared with the server's. Each answer is a [`Sample`]: the
//! server read its clock at some time between question and answer, so the middle of the two is off by at most half the
//! round trip. Of several samples, the one with the smallest possible error is used: the one with the shortest round
//! trip, unless it is so old that clock drift may exceed the error of a newer one.
//!
//! Pure: the caller passes the time.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Nanos;

/// The most samples that are kept. Above that, the oldest is dropped.
pub const SAMPLES: usize = 16;

/// Nanoseconds of a [`tick`](OnServer::tick): a tenth of a millisecond, because the server tells whole milliseconds.
const TICK_NANOS: u64 = 100_000;

/// Ticks of a millisecond.
const TICKS_PER_MS: u64 = 1_000_000 / TICK_NANOS;

/// The error of a sample without any round trip: half of the server's millisecond, and a tick for rounding.
const OFF_LEAST: Duration = Duration::from_micros(600);

/// The largest useful error of the server's clock. A round trip of a quarter of a second causes it.
pub const OFF_BY_MAX: Duration = Duration::from_millis(126);

/// The largest relative drift of common clocks: one in ten thousand.
const DRIFT: u32 = 10_000;

/// One answer of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The time of the question, by our clock.
    pub asked: Nanos,
    /// The time of the answer, by our clock.
    pub answered: Nanos,
    /// The server's time: milliseconds since the Unix epoch, by its clock, rounded down.
    pub at_ms: u64,
}

/// A point in time on the server's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnServer {
    /// Tenths of milliseconds since the Unix epoch, the lowest 32 bits: they wrap after five days, which is longer than
    /// any message takes.
    pub tick: u32,
    /// The largest possible error.
    pub off_by: Duration,
}

/// The time between two points of the server's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Apart {
    /// The time from the earlier to the later point; zero if negative.
    pub latency: Duration,
    /// The largest possible error: the sum of both points' errors.
    pub off_by: Duration,
    /// Whether the later point seems to be before the earlier one, because both are uncertain.
    pub is_negative: bool,
}

impl Apart {
    /// The same without the bots' own wait.
    #[must_use]
    pub fn less(self, own_wait: Duration) -> Self {
        Self { latency: self.latency.saturating_sub(own_wait), ..self }
    }
}

/// The known samples of the server's clock.
#[derive(Debug, Default)]
pub struct ServerClock {
    samples: VecDeque<Sample>,
}

impl ServerClock {
    /// Adds a sample. If it contradicts the known ones, the server's clock was set, or it is another server: then only
    /// this sample is kept.
    pub fn add(&mut self, sample: Sample) {
        let is_contradicted = self.best(sample.middle()).is_some_and(|known| {
            let told = sample.on_server(sample.middle());
            known.tick.wrapping_sub(told.tick).cast_signed().unsigned_abs() > ticks(known.off_by + told.off_by)
        });
        if is_contradicted {
            self.samples.clear();
        }
        if self.is_well_known() {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// Whether the most samples are known.
    pub fn is_well_known(&self) -> bool {
        self.samples.len() == SAMPLES
    }

    /// The server's clock at a time of ours. `None` if it is unknown, or may be off by more than [`OFF_BY_MAX`].
    pub fn at(&self, time: Nanos) -> Option<OnServer> {
        self.best(time).filter(|on_server| on_server.off_by <= OFF_BY_MAX)
    }

    fn best(&self, time: Nanos) -> Option<OnServer> {
        let best = self.samples.iter().min_by_key(|sample| sample.off_by(time))?;
        Some(best.on_server(time))
    }
}

impl Sample {
    fn middle(&self) -> Nanos {
        self.asked.after(self.answered.since(self.asked) / 2)
    }

    /// The largest possible error of this sample at a given time.
    fn off_by(&self, time: Nanos) -> Duration {
        let middle = self.middle();
        let age = time.since(middle).max(middle.since(time));
        self.answered.since(self.asked) / 2 + OFF_LEAST + age / DRIFT
    }

    fn on_server(&self, time: Nanos) -> OnServer {
        // The server rounds down, so on average it was half a millisecond later.
        let told = self.at_ms.wrapping_mul(TICKS_PER_MS).wrapping_add(TICKS_PER_MS / 2);
        let since = time.0.wrapping_sub(self.middle().0).cast_signed().div_euclid(TICK_NANOS.cast_signed());
        #[expect(clippy::cast_possible_truncation, reason = "the lowest bits are what is kept")]
        let tick = told.wrapping_add_signed(since) as u32;
        OnServer { tick, off_by: self.off_by(time) }
    }
}

impl OnServer {
    /// The time from `earlier` to this point.
    pub fn since(self, earlier: Self) -> Apart {
        let apart = self.tick.wrapping_sub(earlier.tick).cast_signed();
        let latency = Duration::from_nanos(u64::from(apart.max(0).unsigned_abs()) * TICK_NANOS);
        Apart { latency, off_by: self.off_by + earlier.off_by, is_negative: apart < 0 }
    }
}

fn ticks(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos() / u128::from(TICK_NANOS)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// The server's clock at our time zero.
    const EPOCH_MS: u64 = 1_795_342_200_000;

    /// The answer of a server that reads its clock at our time `read`; its clock is `ahead` ticks ahead of ours.
    fn sample(asked: u64, read: u64, answered: u64, ahead: u32) -> Sample {
        Sample {
            asked: Nanos(asked),
            answered: Nanos(answered),
            at_ms: EPOCH_MS + (read + u64::from(ahead) * TICK_NANOS) / MS,
        }
    }

    /// Checks an estimate for a server whose clock is `ahead` ticks ahead of ours.
    fn check(told: OnServer, time: u64, ahead: u32) {
        let truth = EPOCH_MS * TICKS_PER_MS + time / TICK_NANOS + u64::from(ahead);
        let truth = u32::try_from(truth % (1 << 32)).unwrap();
        let off = told.tick.wrapping_sub(truth).cast_signed().unsigned_abs();
        // The truth is rounded to a tick as well.
        assert!(off <= ticks(told.off_by) + 1, "{told:?} instead of {truth}");
    }

    #[test]
    fn nothing_is_known_of_a_server_that_said_nothing() {
        assert_eq!(ServerClock::default().at(Nanos(5)), None);
    }

    #[test]
    fn whenever_the_server_reads_its_clock_it_is_as_far_off_as_is_said_and_no_further() {
        let mut rng = fastrand::Rng::with_seed(5);
        for _ in 0..1_000 {
            let mut clock = ServerClock::default();
            let mut now = rng.u64(0..1_000 * MS);
            for _ in 0..rng.usize(1..40) {
                let (there, back) = (rng.u64(0..20 * MS), rng.u64(0..20 * MS));
                clock.add(sample(now, now + there, now + there + back, 0));
                now += there + back + rng.u64(0..2_000 * MS);
            }
            // This also holds for a past time, such as a planned one.
            for time in [now, now + 10_000 * MS, now.saturating_sub(3_000 * MS)] {
                check(clock.at(Nanos(time)).unwrap(), time, 0);
            }
        }
    }

    #[test]
    fn a_clock_that_may_be_off_by_too_much_is_not_known() {
        let known = |trip| {
            let mut clock = ServerClock::default();
            clock.add(sample(0, 0, trip, 0));
            clock.at(Nanos(trip / 2)).is_some()
        };
        assert!(known(2 * 125 * MS) && !known(2 * 126 * MS));
    }

    #[test]
    fn of_several_samples_the_one_with_the_least_round_trip_counts() {
        let mut clock = ServerClock::default();
        let mut now = 0;
        for trip in [8 * MS, 2 * MS, 30 * MS] {
            clock.add(sample(now, now + trip, now + trip, 0));
            now += trip;
        }
        let off_by = clock.at(Nanos(now)).unwrap().off_by;
        assert!((MS..2 * MS).contains(&u64::try_from(off_by.as_nanos()).unwrap()), "{off_by:?}");
    }

    #[test]
    fn an_old_sample_counts_for_less_because_clocks_drift() {
        let mut clock = ServerClock::default();
        clock.add(sample(0, 0, 0, 0));
        let minutes = 600_000 * MS;
        let of_the_first = clock.at(Nanos(minutes)).unwrap().off_by;
        assert_eq!(of_the_first, OFF_LEAST + Duration::from_millis(60));
        // The clock drifted by less than that, and the newer sample has a smaller error.
        let drift = 300;
        clock.add(sample(minutes, minutes, minutes + 2 * MS, drift));
        let told = clock.at(Nanos(minutes)).unwrap();
        assert!(told.off_by < Duration::from_millis(2), "{told:?}");
        check(told, minutes, drift);
    }

    #[test]
    fn a_server_whose_clock_was_set_is_believed_at_once() {
        let mut clock = ServerClock::default();
        clock.add(sample(0, 0, 0, 0));
        clock.add(sample(MS, 5 * MS, 9 * MS, 50_000));
        let told = clock.at(Nanos(9 * MS)).unwrap();
        check(told, 9 * MS, 50_000);
        assert!(!clock.is_well_known());
    }

    #[test]
    fn the_samples_that_are_remembered_are_bounded() {
        let mut clock = ServerClock::default();
        for second in 0..100 {
            assert_eq!(clock.is_well_known(), second >= SAMPLES as u64);
            let now = second * 1_000 * MS;
            clock.add(sample(now, now, now, 0));
        }
        assert_eq!(clock.samples.len(), SAMPLES);
    }

    #[test]
    fn a_negative_time_is_none_and_said_to_be_negative() {
        let at = |tick| OnServer { tick, off_by: Duration::from_millis(1) };
        let off_by = Duration::from_millis(2);
        let later = at(15).since(at(5));
        assert_eq!(later, Apart { latency: Duration::from_millis(1), off_by, is_negative: false });
        assert_eq!(at(5).since(at(15)), Apart { latency: Duration::ZERO, off_by, is_negative: true });
        let over_the_end = at(4).since(at(u32::MAX - 5));
        assert_eq!(over_the_end.latency, Duration::from_millis(1), "the ticks wrap around without effect");
    }
}
