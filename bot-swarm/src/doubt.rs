//! When the swarm itself was the limit: then what it measured says nothing of the server.

use std::fmt;
use std::time::Duration;

use crate::outcome::Point;
use crate::stats::Stats;
use crate::units::human;

/// The kind of error of a bot for which there was no open file left.
pub const NO_FILE_LEFT: &str = "connect: too many open files";

/// The kind of error of a bot for which there was no local port left.
pub const NO_PORT_LEFT: &str = "connect: no local port left";

/// A worker that ran for more than this share of a second had no time left.
const BUSY_SHARE: f64 = 0.95;

/// The share of a run's seconds in which a worker may have no time left.
const BUSY_SECONDS_SHARE: f64 = 0.1;

/// Points that are shorter say little about how busy the swarm was.
const POINT_MIN: Duration = Duration::from_millis(500);

/// A reason for which a run is not valid.
#[derive(Debug, Clone, PartialEq)]
pub enum Doubt {
    /// The bots were woken late.
    WakeLag {
        /// How late, in one of a hundred cases or worse.
        p99: Duration,
        /// How late they may be.
        limit: Duration,
    },
    /// The event loops were blocked.
    LoopLag {
        /// For how long, in one of a hundred cases or worse.
        p99: Duration,
        /// For how long they may be.
        limit: Duration,
    },
    /// A worker's thread had no time left.
    Busy {
        /// In so many seconds of the run.
        seconds: usize,
        /// Out of so many.
        of: usize,
    },
    /// There was no open file left for a bot.
    OpenFiles {
        /// How often.
        times: u64,
    },
    /// What one process of several says of itself.
    OfPart(String),
    /// Threads of the swarm panicked, so that bots are gone.
    Panicked {
        /// How often.
        times: u64,
        /// What the first panic said.
        first: String,
    },
    /// The run goes on, or its process was killed, or failed.
    NotEnded {
        /// The bots whose work is not done.
        bots: u32,
    },
    /// There was no local port left for a bot.
    Ports {
        /// How often.
        times: u64,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WakeLag { p99, limit } => {
                write!(f, "the swarm woke its bots late (p99 {}, at most {})", human(*p99), human(*limit))
            }
            Self::LoopLag { p99, limit } => {
                write!(f, "the swarm's event loops were late (p99 {}, at most {})", human(*p99), human(*limit))
            }
            Self::Busy { seconds, of } => {
                write!(
                    f,
                    "a worker of the swarm had no time left in {seconds} of {of} s (more BOT_WORKERS, or less load)"
                )
            }
            Self::OfPart(doubt) => f.write_str(doubt),
            Self::NotEnded { bots } => {
                write!(f, "the run of {bots} bots has not ended: it goes on, or was killed, so its work is not done")
            }
            Self::Panicked { times, first } => {
                write!(f, "a worker of the swarm panicked {times} times, first: {first}")
            }
            Self::OpenFiles { times } => write!(f, "the swarm had no open file left {times} times (raise ulimit -n)"),
            Self::Ports { times } => {
                write!(f, "the swarm had no local port left {times} times (net.ipv4.ip_local_port_range)")
            }
        }
    }
}

/// Everything for which a run is not valid. `limit` is how late the swarm itself may be.
pub fn doubts(stats: &Stats, points: &[Point], limit: Duration) -> Vec<Doubt> {
    let late = |p99: Duration| Some(p99).filter(|p99| *p99 > limit);
    let whole: Vec<&Point> = points.iter().filter(|point| point.duration >= POINT_MIN).collect();
    let is_busy = |point: &&&Point| point.busiest_worker.as_secs_f64() > BUSY_SHARE * point.duration.as_secs_f64();
    let (seconds, of) = (whole.iter().filter(is_busy).count(), whole.len());
    let errors = |kind: &str| stats.errors.get(kind).copied().filter(|times| *times > 0);
    [
        late(stats.wake_lag.quantile(0.99)).map(|p99| Doubt::WakeLag { p99, limit }),
        late(stats.loop_lag.quantile(0.99)).map(|p99| Doubt::LoopLag { p99, limit }),
        (seconds as f64 > BUSY_SECONDS_SHARE * of as f64).then_some(Doubt::Busy { seconds, of }),
        errors(NO_FILE_LEFT).map(|times| Doubt::OpenFiles { times }),
        errors(NO_PORT_LEFT).map(|times| Doubt::Ports { times }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Host;
    use crate::recorder::Recorder;
    use crate::worker::requests::Interval;

    const LIMIT: Duration = Duration::from_millis(50);

    fn points(busy_millis: &[u64]) -> Vec<Point> {
        let mut recorder =
            Recorder::new(&"ramp 1s to 3, hold".parse().unwrap(), Duration::ZERO, Host::this(), Host::this().now());
        let point = recorder.record(&Interval::default()).clone();
        let point = |millis| Point {
            duration: Duration::from_secs(1),
            busiest_worker: Duration::from_millis(millis),
            ..point.clone()
        };
        busy_millis.iter().map(|millis| point(*millis)).collect()
    }

    #[test]
    fn a_swarm_that_keeps_up_is_not_doubted() {
        let mut stats = Stats::default();
        stats.wake_lag.record(LIMIT / 2);
        stats.loop_lag.record(LIMIT / 2);
        assert_eq!(doubts(&stats, &points(&[300; 100]), LIMIT), []);
        assert_eq!(doubts(&stats, &[], LIMIT), []);
    }

    #[test]
    fn each_way_in_which_the_swarm_was_the_limit_is_named() {
        let mut stats = Stats::default();
        stats.wake_lag.record(LIMIT * 2);
        stats.loop_lag.record(LIMIT * 3);
        stats.errors.insert(NO_FILE_LEFT.to_owned(), 4);
        stats.errors.insert(NO_PORT_LEFT.to_owned(), 5);
        let busy = points(&[&[990; 2][..], &[300; 8]].concat());
        let found = doubts(&stats, &busy, LIMIT);
        assert_eq!(found.len(), 5);
        assert!(matches!(found[..2], [Doubt::WakeLag { .. }, Doubt::LoopLag { .. }]));
        assert_eq!(
            found[2..],
            [Doubt::Busy { seconds: 2, of: 10 }, Doubt::OpenFiles { times: 4 }, Doubt::Ports { times: 5 }]
        );
        assert!(
            found
                .iter()
                .all(|doubt| doubt.to_string().starts_with("the swarm") || doubt.to_string().starts_with("a worker"))
        );
    }
}
