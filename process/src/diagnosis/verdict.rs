//! The answer: what limits the server, and why.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::latency::PartOfLatency;
use super::rounding::rounded;

macro_rules! causes {
    ($($(#[$doc:meta])* $variant:ident = $label:literal,)+) => {
        /// What limits the server.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum What {
            $($(#[$doc])* $variant,)+
        }

        impl What {
            /// All values, in the order of the rules.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The value as a label.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)+
                }
            }
        }
    };
}

causes! {
    /// The load generator itself is late. Only the swarm's reports have it.
    Generator = "generator",
    /// The server uses all cores that it may, or the container is stopped at its CPU limit.
    CpuLimit = "cpu_limit",
    /// The container's memory is near its limit.
    MemoryLimit = "memory_limit",
    /// Tasks wait for the disk, and not because of the stored history.
    IoPressure = "io_pressure",
    /// Other programs use the cores.
    CpuShared = "cpu_shared",
    /// New connections take a worker's time.
    ConnectStorm = "connect_storm",
    /// Deliveries to one room fill a worker.
    HotRoom = "hot_room",
    /// Writing to sockets fills a worker.
    SocketWrite = "socket_write",
    /// Putting deliveries into outboxes fills a worker.
    Hub = "hub",
    /// The `ChatServer`'s thread is full.
    ChatServer = "chat_server",
    /// Reading from clients fills a worker: frames, or HTTP requests and TLS.
    Session = "session",
    /// The stored history is slow: its commits, or its reads.
    History = "history",
    /// The log of several nodes is slow or unreachable.
    Log = "log",
    /// This node falls behind the log.
    NodeLag = "node_lag",
    /// Clients read too slowly.
    SlowReaders = "slow_readers",
    /// Clients send more than they may, or more connections come than there is place for.
    Flood = "flood",
    /// Nothing is saturated, or nothing was measured yet.
    Nothing = "nothing",
}

impl What {
    /// Whether it is a limit that has been reached.
    pub fn is_limit(self) -> bool {
        self != Self::Nothing
    }
}

/// The confidence of a verdict for which the utilisation and the wait agree, or whose cause the system counts.
pub(super) const SURE: f64 = 0.9;

/// The confidence of a verdict for which one of the two signs is missing.
pub(super) const LIKELY: f64 = 0.6;

/// The unit of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A share, of time if nothing else is said: 1 is all.
    Ratio,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Cores.
    Cores,
    /// A number of things.
    Count,
    /// A number of things in a second.
    PerSecond,
}

/// A figure on which a verdict rests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// What was measured.
    pub name: String,
    /// The measured value.
    pub value: f64,
    /// The unit of the value and of the limit.
    pub unit: Unit,
    /// The value from which it counts as a sign, or at which its limit is.
    pub limit: f64,
}

impl Evidence {
    pub(crate) fn new(name: impl Into<String>, unit: Unit, value: f64, limit: f64) -> Self {
        // The exact number of what is counted.
        let shown = |value: f64| if matches!(unit, Unit::Count | Unit::Bytes) { value.round() } else { rounded(value) };
        Self { name: name.into(), value: shown(value), unit, limit: shown(limit) }
    }

    /// The value as a share of its limit.
    pub(crate) fn share(&self) -> f64 {
        if self.limit > 0.0 { self.value / self.limit } else { 0.0 }
    }
}

/// A limit, and its distance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Nearest {
    /// The verdict when it is reached.
    pub what: What,
    /// The used share of it; 1 is all.
    pub used: f64,
}

/// What limits the server, with the reasons and the remedy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// What limits the server.
    pub what: What,
    /// The instance, for example `worker 1`; `null` if there is only one.
    pub subject: Option<String>,
    /// The verdict in one sentence.
    pub sentence: String,
    /// How sure the verdict is, from 0 to 1: 0.9 if utilisation and wait agree, or if the system counts the cause
    /// itself; 0.6 if one of the two signs is missing; 0 if nothing was measured yet.
    pub confidence: f64,
    /// The figures on which it rests.
    pub evidence: Vec<Evidence>,
    /// The remedy.
    pub remedy: String,
    /// The observation that would refute the verdict.
    pub would_refute: String,
    /// The limit that is nearest, apart from the one that is reached; `nothing` without a figure that has a limit.
    pub nearest: Nearest,
    /// The time of deliveries in the parts in which a message passes them; empty without a delivery.
    pub latency: Vec<PartOfLatency>,
}

impl Verdict {
    /// A verdict without figures.
    fn bare(what: What, confidence: f64, [sentence, remedy, would_refute]: [&str; 3]) -> Self {
        Self {
            what,
            subject: None,
            sentence: sentence.to_owned(),
            confidence,
            evidence: Vec::new(),
            remedy: remedy.to_owned(),
            would_refute: would_refute.to_owned(),
            nearest: Nearest { what: What::Nothing, used: 0.0 },
            latency: Vec::new(),
        }
    }

    /// The verdict while there are no measurements.
    pub fn unmeasured() -> Self {
        Self::bare(What::Nothing, 0.0, ["There are no measurements yet.", "Wait for a few seconds.", "Measurements."])
    }

    /// The verdict on a server that is about to end: its limits matter no more.
    pub(super) fn stopping() -> Self {
        let sentence = "The server is stopping, and takes no new clients.";
        Self::bare(What::Nothing, SURE, [sentence, "Nothing to do.", "A server that takes new clients."])
    }

    /// Whether it has the same cause and the same remedy.
    pub fn is_like(&self, other: &Self) -> bool {
        (self.what, &self.remedy) == (other.what, &other.remedy)
    }

    /// Whether it rests on measurements.
    pub fn is_measured(&self) -> bool {
        self.confidence > 0.0
    }

    /// The verdict on a load generator that was late itself, for this reason.
    pub fn generator(reason: &str) -> Self {
        let sentence = format!("The load generator is the limit: {reason}.");
        let remedy = "Give the load generator more cores or another machine, or lower the load.";
        Self::bare(What::Generator, SURE, [&sentence, remedy, "The same latencies from a generator that is on time."])
    }
}
