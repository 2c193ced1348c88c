//! Cases in which the swarm itself was the limit, so that the figures say nothing about the server.

use std::fmt;
use std::time::Duration;

use crate::units::human;

/// A reason that a run is not valid.
#[derive(Debug, Clone, PartialEq)]
pub enum Doubt {
    /// The bots were woken late.
    WakeLag {
        /// The 99th percentile of the delay.
        p99: Duration,
        /// The allowed delay.
        limit: Duration,
    },
    /// The event loops were blocked.
    LoopLag {
        /// The 99th percentile of the delay.
        p99: Duration,
        /// The allowed delay.
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
        /// The number of seconds without time left.
        seconds: usize,
        /// The number of judged seconds.
        of: usize,
    },
    /// The process had no free file descriptor for a bot.
    OpenFiles {
        /// The number of failures.
        times: u64,
    },
    /// A doubt from the report of one process of several.
    OfPart(String),
    /// Threads of the swarm panicked, so bots are missing.
    Panicked {
        /// The number of panics.
        times: u64,
        /// The text of the first panic.
        first: String,
    },
    /// The run goes on, or its process was killed or failed.
    NotEnded {
        /// The number of bots of the run.
        bots: u32,
    },
    /// The host had no free local port for a bot.
    Ports {
        /// The number of failures.
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
                    "the swarm itself was up to {late} late (at most {limit}), which may explain that {expected} was {measured}"
                )
            }
            Self::Busy { seconds, of } => {
                write!(
                    f,
                    "a worker of the swarm had no time left in {seconds} of {of} s (more BOT_WORKERS, or lower load)"
                )
            }
            Self::OfPart(doubt) => f.write_str(doubt),
            Self::NotEnded { bots } => {
                write!(
                    f,
                    "the run of {bots} bots has not ended: it is still running or was killed, so its work is not done"
                )
            }
            Self::Panicked { times, first } => {
                write!(f, "a worker of the swarm panicked {times} times, first: {first}")
            }
            Self::OpenFiles { times } => {
                write!(f, "the swarm reached its limit of open files {times} times (raise ulimit -n)")
            }
            Self::Ports { times } => {
                write!(f, "the swarm had no free local port {times} times (widen net.ipv4.ip_local_port_range)")
            }
        }
    }
}
