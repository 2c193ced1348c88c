//! The plan of a bot's messages: decided in advance, whatever the server does.
//!
//! A bot that is prevented from sending (by a slow server, a lost connection, a rate limit) sends its planned messages
//! later, but the planned times stay: so a stall is charged to every message that it delayed, not to one. A plan is
//! arithmetic and stores no messages, so it may fall behind by any number of them at no cost.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::clock::Nanos;
use crate::sizes::Sizes;

/// The default size of a burst.
const BURST_DEFAULT: u32 = 10;

/// The most steps in which a backlog is reported, so that the time does not depend on its length.
const BACKLOG_STEPS: u64 = 1_000;

/// The largest size of a burst.
const BURST_MAX: u32 = 1_000;

/// The settings that all bots of a swarm share.
#[derive(Debug, Clone)]
pub(crate) struct Habits {
    /// Messages per second of each bot that talks; 0: no messages.
    pub(crate) messages_per_second: f64,
    /// Messages per second of each bot that ignores limits.
    pub(crate) flood_per_second: f64,
    /// The distribution of messages over time.
    pub(crate) arrivals: Arrivals,
    /// Bytes of a message's text.
    pub(crate) sizes: Sizes,
    /// The mean time that a hopper stays in a visited room.
    pub(crate) hop: Duration,
    /// The mean time between two changes of an editor or a reactor, or two read positions of a reader.
    pub(crate) change: Duration,
    /// The mean time that a churner stays.
    pub(crate) churn: Duration,
    /// Bytes that a slow bot reads per second.
    pub(crate) slow_bytes_per_second: u32,
}

/// The distribution of one bot's messages over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// At even intervals.
    Steady,
    /// At random and independent times, as from many people.
    Poisson,
    /// So many at once, then a pause; the mean rate is kept.
    Burst(u32),
}

/// The text is not a distribution of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be steady, poisson or burst")]
pub struct NotArrivals;

impl FromStr for Arrivals {
    type Err = NotArrivals;

    fn from_str(text: &str) -> Result<Self, NotArrivals> {
        match text.split_once(':') {
            None if text == "steady" => Ok(Self::Steady),
            None if text == "poisson" => Ok(Self::Poisson),
            None if text == "burst" => Ok(Self::Burst(BURST_DEFAULT)),
            Some(("burst", count)) => {
                let count = count.parse().ok().filter(|count| (1..=BURST_MAX).contains(count));
                count.map(Self::Burst).ok_or(NotArrivals)
            }
            _ => Err(NotArrivals),
        }
    }
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steady => f.write_str("steady"),
            Self::Poisson => f.write_str("poisson"),
            Self::Burst(count) => write!(f, "burst:{count}"),
        }
    }
}

/// The plan of one bot.
#[derive(Debug)]
pub struct Plan {
    start: Nanos,
    arrivals: Arrivals,
    interval_ns: f64,
    /// The number of messages that have been taken.
    taken: u64,
    /// The time of the next one, from the start.
    next_ns: f64,
}

impl Plan {
    /// The plan of a bot that is due to come at `now`. The first message comes at a random time within one interval, so
    /// that bots that came together do not send together. `None` if the rate is zero.
    pub fn begin(arrivals: Arrivals, per_second: f64, now: Nanos, rng: &mut fastrand::Rng) -> Option<Self> {
        if per_second <= 0.0 {
            return None;
        }
        let interval_ns = 1e9 / per_second;
        let mut plan = Self { start: now, arrivals, interval_ns, taken: 0, next_ns: 0.0 };
        let first = match arrivals {
            Arrivals::Steady => rng.f64() * interval_ns,
            Arrivals::Poisson => plan.gap(rng),
            Arrivals::Burst(count) => rng.f64() * interval_ns * f64::from(count),
        };
        plan.start = after(now, first);
        Some(plan)
    }

    /// The time of the next message.
    pub fn due(&self) -> Nanos {
        after(self.start, self.next_ns)
    }

    /// Takes the next message if it is due, and returns its planned time.
    pub fn take(&mut self, now: Nanos, rng: &mut fastrand::Rng) -> Option<Nanos> {
        let planned = self.due();
        if planned > now {
            return None;
        }
        self.taken += 1;
        // Computed from the count if possible, because sums drift.
        self.next_ns = match self.arrivals {
            Arrivals::Steady => self.taken as f64 * self.interval_ns,
            Arrivals::Poisson => self.next_ns + self.gap(rng),
            Arrivals::Burst(count) => (self.taken - self.taken % u64::from(count)) as f64 * self.interval_ns,
        };
        Some(planned)
    }

    /// The messages that were due until `now` and are not taken: planned times, each with the number of messages for
    /// which it stands. The times of a long backlog are reported in at most 1,000 steps; each is that of its first
    /// message. With random arrivals, the times are evenly spaced, as they are on average.
    pub fn backlog(&self, now: Nanos) -> impl Iterator<Item = (Nanos, u64)> + use<> {
        let count = self.overdue(now);
        let step = count.div_ceil(BACKLOG_STEPS).max(1);
        let (start, interval_ns, arrivals) = (self.start, self.interval_ns, self.arrivals);
        let (due, taken) = (self.due(), self.taken);
        let at = move |index: u64| match arrivals {
            Arrivals::Steady => after(start, (taken + index) as f64 * interval_ns),
            Arrivals::Poisson => after(due, index as f64 * interval_ns),
            Arrivals::Burst(size) => {
                let number = taken + index;
                after(start, (number - number % u64::from(size)) as f64 * interval_ns)
            }
        };
        (0..count.div_ceil(step)).map(move |group| {
            let first = group * step;
            (at(first), step.min(count - first))
        })
    }

    /// The number of messages that were due until `now` and are not taken; with random arrivals, the mean number.
    pub fn overdue(&self, now: Nanos) -> u64 {
        if self.due() > now {
            return 0;
        }
        let elapsed_ns = |since: Nanos| now.since(since).as_nanos() as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, a count of messages")]
        let intervals = |ns: f64| (ns / self.interval_ns) as u64;
        match self.arrivals {
            Arrivals::Steady => (intervals(elapsed_ns(self.start)) + 1).saturating_sub(self.taken),
            Arrivals::Poisson => intervals(elapsed_ns(self.due())) + 1,
            Arrivals::Burst(count) => {
                let count = u64::from(count);
                let bursts = intervals(elapsed_ns(self.start)) / count + 1;
                (bursts * count).saturating_sub(self.taken)
            }
        }
    }

    /// The time between two random arrivals.
    fn gap(&self, rng: &mut fastrand::Rng) -> f64 {
        // 1 - f64() is never 0, so the logarithm is finite.
        -(1.0 - rng.f64()).ln() * self.interval_ns
    }
}

fn after(start: Nanos, offset_ns: f64) -> Nanos {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and centuries fit")]
    Nanos(start.0.saturating_add(offset_ns as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arrivals: Arrivals, per_second: f64) -> (Plan, fastrand::Rng) {
        let mut rng = fastrand::Rng::with_seed(5);
        (Plan::begin(arrivals, per_second, Nanos(1_000), &mut rng).unwrap(), rng)
    }

    fn times(arrivals: Arrivals, per_second: f64, until: Nanos) -> Vec<u64> {
        let (mut plan, mut rng) = plan(arrivals, per_second);
        std::iter::from_fn(|| plan.take(until, &mut rng)).map(|planned| planned.0).collect()
    }

    #[test]
    fn a_late_bot_sends_with_the_planned_times() {
        let (mut plan, mut rng) = plan(Arrivals::Steady, 10.0);
        let first = plan.due();
        // The bot cannot send for one second, in which ten more messages become due.
        let late = Nanos(first.0 + 1_000_000_000);
        assert_eq!(plan.overdue(late), 11);
        let times: Vec<u64> = std::iter::from_fn(|| plan.take(late, &mut rng)).map(|at| at.0 - first.0).collect();
        assert_eq!(times, (0..=10).map(|k| k * 100_000_000).collect::<Vec<u64>>());
        assert_eq!(plan.overdue(late), 0);
    }

    #[test]
    fn a_backlog_is_told_with_its_planned_times_and_in_few_steps_however_long() {
        let (mut plan, mut rng) = plan(Arrivals::Steady, 10.0);
        let first = plan.due();
        let late = Nanos(first.0 + 350_000_000);
        assert!(plan.take(late, &mut rng).is_some());
        let times: Vec<(u64, u64)> = plan.backlog(late).map(|(at, count)| (at.0 - first.0, count)).collect();
        assert_eq!(times, [(100_000_000, 1), (200_000_000, 1), (300_000_000, 1)]);
        for arrivals in [Arrivals::Steady, Arrivals::Poisson, Arrivals::Burst(7)] {
            let (plan, _) = self::plan(arrivals, 10.0);
            let late = plan.due().after(Duration::from_hours(10));
            let steps: Vec<(Nanos, u64)> = plan.backlog(late).collect();
            assert!(steps.len() as u64 <= BACKLOG_STEPS && steps.len() > 900, "{arrivals}: {}", steps.len());
            assert_eq!(steps.iter().map(|(_, count)| count).sum::<u64>(), plan.overdue(late));
            assert!(steps.is_sorted() && steps.last().unwrap().0 <= late, "{arrivals}");
        }
    }

    #[test]
    fn nothing_is_sent_before_its_time() {
        let (mut plan, mut rng) = plan(Arrivals::Steady, 0.1);
        let due = plan.due();
        assert!(due.0 <= 1_000 + 10_000_000_000, "the first message comes within one interval");
        assert_eq!(plan.take(Nanos(due.0 - 1), &mut rng), None);
        assert_eq!(plan.overdue(Nanos(due.0 - 1)), 0);
        assert!(plan.take(due, &mut rng).is_some());
    }

    #[test]
    fn all_arrivals_have_the_same_mean() {
        let until = Nanos(1_000_000_000_000);
        for arrivals in [Arrivals::Steady, Arrivals::Poisson, Arrivals::Burst(20)] {
            let times = times(arrivals, 10.0, until);
            assert!((9_700..=10_300).contains(&times.len()), "{arrivals}: {}", times.len());
            assert!(times.is_sorted());
        }
    }

    #[test]
    fn random_arrivals_spread_as_much_as_their_mean_and_bursts_come_together() {
        let gaps = |arrivals| {
            let times = times(arrivals, 10.0, Nanos(1_000_000_000_000));
            times.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e8).collect::<Vec<f64>>()
        };
        let deviation = |gaps: &[f64]| {
            let squares: f64 = gaps.iter().map(|gap| (gap - 1.0).powi(2)).sum();
            (squares / gaps.len() as f64).sqrt()
        };
        assert!(deviation(&gaps(Arrivals::Steady)) < 0.01);
        assert!((0.95..1.05).contains(&deviation(&gaps(Arrivals::Poisson))));
        let together = gaps(Arrivals::Burst(10)).iter().filter(|gap| **gap == 0.0).count();
        assert!((8_900..=9_100).contains(&together), "{together}");
    }

    #[test]
    fn what_is_overdue_is_counted_in_bursts_too() {
        let (mut plan, mut rng) = plan(Arrivals::Burst(5), 10.0);
        let first = plan.due();
        assert_eq!(plan.overdue(first), 5);
        assert_eq!(plan.overdue(Nanos(first.0 + 500_000_000)), 10);
        assert!(plan.take(first, &mut rng).is_some());
        assert_eq!(plan.overdue(first), 4);
    }

    #[test]
    fn the_same_seed_makes_the_same_plan() {
        let until = Nanos(5_000_000_000);
        assert_eq!(times(Arrivals::Poisson, 7.0, until), times(Arrivals::Poisson, 7.0, until));
    }

    #[test]
    fn bots_that_only_listen_have_no_plan() {
        assert!(Plan::begin(Arrivals::Steady, 0.0, Nanos(0), &mut fastrand::Rng::with_seed(1)).is_none());
    }

    #[test]
    fn arrivals_are_written_as_they_are_read() {
        for text in ["steady", "poisson", "burst:3"] {
            assert_eq!(text.parse::<Arrivals>().unwrap().to_string(), text);
        }
        assert_eq!("burst".parse(), Ok(Arrivals::Burst(BURST_DEFAULT)));
        for text in ["", "steady:3", "burst:0", "burst:1001", "often"] {
            assert_eq!(text.parse::<Arrivals>(), Err(NotArrivals), "{text}");
        }
    }
}
