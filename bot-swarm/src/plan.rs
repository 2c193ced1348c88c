//! When a bot speaks: decided in advance, whatever the server does.
//!
//! A bot that is kept from sending (by a slow server, a lost connection, a rate limit) sends later what was planned
//! earlier, and the planned time stays: so a stall is charged to every message that it delayed, not to one. A plan is
//! arithmetic, it holds no messages; it may fall behind by any number of them at no cost.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::clock::Nanos;
use crate::sizes::Sizes;

/// Messages that come together where nobody says how many.
const BURST_DEFAULT: u32 = 10;

/// Most steps in which a backlog is told: it may be of any length, and is told in the same time.
const BACKLOG_STEPS: u64 = 1_000;

/// Most messages that may come together.
const BURST_MAX: u32 = 1_000;

/// What all bots of a swarm have in common in what they do.
#[derive(Debug, Clone)]
pub(crate) struct Habits {
    /// Messages per second of each bot that talks; 0: none does.
    pub(crate) messages_per_second: f64,
    /// Messages per second of each bot that ignores limits.
    pub(crate) flood_per_second: f64,
    /// How the messages come.
    pub(crate) arrivals: Arrivals,
    /// Bytes of a message's text.
    pub(crate) sizes: Sizes,
    /// How long a hopper stays in a room that it visits, in the mean.
    pub(crate) hop: Duration,
    /// How long a churner stays, in the mean.
    pub(crate) churn: Duration,
    /// Bytes that a slow bot reads per second.
    pub(crate) slow_bytes_per_second: u32,
}

/// How the messages of one bot come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// One after the other, evenly.
    Steady,
    /// At random, independent of each other: as from many people.
    Poisson,
    /// So many at once, then none until the mean is right again.
    Burst(u32),
}

/// A text does not say how messages come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither steady nor poisson nor burst")]
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
    /// Messages that have been taken.
    taken: u64,
    /// When the next one is due, from the start.
    next_ns: f64,
}

impl Plan {
    /// The plan of a bot that is to come at `now`: the first message within one interval, at random, so that
    /// bots that came together do not speak together. `None` where none is ever to be sent.
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

    /// When the next message is to be sent.
    pub fn due(&self) -> Nanos {
        after(self.start, self.next_ns)
    }

    /// Takes the next message if its time has come, and tells when it was planned.
    pub fn take(&mut self, now: Nanos, rng: &mut fastrand::Rng) -> Option<Nanos> {
        let planned = self.due();
        if planned > now {
            return None;
        }
        self.taken += 1;
        // From the count where it can be: what is summed up drifts.
        self.next_ns = match self.arrivals {
            Arrivals::Steady => self.taken as f64 * self.interval_ns,
            Arrivals::Poisson => self.next_ns + self.gap(rng),
            Arrivals::Burst(count) => (self.taken - self.taken % u64::from(count)) as f64 * self.interval_ns,
        };
        Some(planned)
    }

    /// The messages that were to be sent until `now` and are not: planned times, each with how many messages it stands
    /// for. The times of a long backlog are told in at most 1,000 steps; each is that of the first of its
    /// messages. With random arrivals the times are evenly spaced, as they are in the mean.
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

    /// How many messages were to be sent until `now` and are not; with random arrivals, how many in the mean.
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
        // Kept from sending for one second, in which ten more messages came due.
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
