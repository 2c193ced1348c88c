//! When the swarm itself was the limit: then what it measured says nothing of the server.

use std::fmt;
use std::time::Duration;

use crate::units::human;

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
    /// A latency was broken by no more than the swarm was late itself.
    LateAsLong {
        /// What was expected.
        expected: String,
        /// The latency that was measured instead.
        measured: Duration,
        /// How late the swarm was, at the same percentile.
        late: Duration,
        /// How late it may be.
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
            Self::LateAsLong { expected, measured, late, limit } => {
                let (measured, late, limit) = (human(*measured), human(*late), human(*limit));
                write!(
                    f,
                    "the swarm itself was up to {late} late (at most {limit}), which may be why {expected} was {measured}"
                )
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
