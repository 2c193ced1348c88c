//! The answer: what limits the server, and why.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// The load generator itself is late.
    Generator = "generator",
    /// The container is stopped at its CPU limit.
    CpuLimit = "cpu_limit",
    /// The container's memory is near its limit.
    MemoryLimit = "memory_limit",
    /// Tasks wait for the disk, and not because of the stored history.
    IoPressure = "io_pressure",
    /// Other programs use the cores.
    CoresTaken = "cores_taken",
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
    /// Frames from clients fill a worker.
    Session = "session",
    /// Work that belongs to no stage fills a worker.
    Worker = "worker",
    /// The server itself uses all cores that it may use.
    CoresUsed = "cores_used",
    /// The disk is slow to commit.
    Disk = "disk",
    /// Reading the stored history takes all of its thread.
    HistoryRead = "history_read",
    /// The log of several nodes is slow or unreachable.
    Broker = "broker",
    /// This node falls behind the log.
    NodeLags = "node_lags",
    /// Several clients read too slowly.
    SlowClients = "slow_clients",
    /// One client reads too slowly.
    SlowClient = "slow_client",
    /// Clients send more than they may.
    Flood = "flood",
    /// There is no place for more connections.
    Connections = "connections",
    /// Nothing is saturated.
    Nothing = "nothing",
    /// There are no figures yet.
    Unknown = "unknown",
}

impl What {
    /// Whether it is a limit that has been reached.
    pub fn is_limit(self) -> bool {
        !matches!(self, Self::Nothing | Self::Unknown)
    }
}

/// How sure a verdict is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// The utilisation and the wait agree, or the system counts the cause directly.
    Sure,
    /// One of two signs is missing.
    Likely,
}

/// A figure on which a verdict rests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// What was measured, with its unit.
    pub figure: String,
    /// The measured value.
    pub value: f64,
    /// The value from which it counts as a sign, or at which its limit is.
    pub limit: f64,
}

impl Evidence {
    pub(crate) fn new(figure: impl Into<String>, value: f64, limit: f64) -> Self {
        Self { figure: figure.into(), value, limit }
    }

    /// The value as a share of its limit.
    pub(crate) fn share(&self) -> f64 {
        if self.limit > 0.0 { self.value / self.limit } else { 0.0 }
    }
}

/// What limits the server, with the reasons and the remedy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// What limits the server.
    pub what: What,
    /// The instance, for example `worker 1`; `null` if there is only one.
    pub subject: Option<String>,
    /// How sure the verdict is.
    pub confidence: Confidence,
    /// The verdict in one sentence.
    pub sentence: String,
    /// The figures on which it rests.
    pub evidence: Vec<Evidence>,
    /// The remedy.
    pub remedy: String,
    /// The observation that would refute the verdict.
    pub would_refute: String,
}

impl Verdict {
    /// The verdict while there are no figures.
    pub fn unknown() -> Self {
        Self {
            what: What::Unknown,
            subject: None,
            confidence: Confidence::Likely,
            sentence: "There are no figures yet.".to_owned(),
            evidence: Vec::new(),
            remedy: "Wait for a few seconds.".to_owned(),
            would_refute: "Figures.".to_owned(),
        }
    }

    /// The verdict on a load generator that was late itself, for this reason.
    pub fn generator(reason: &str) -> Self {
        Self {
            what: What::Generator,
            subject: None,
            confidence: Confidence::Sure,
            sentence: format!("The load generator is the limit: {reason}."),
            evidence: Vec::new(),
            remedy: "Give the load generator more cores or another machine, or lower the load.".to_owned(),
            would_refute: "The same latencies from a generator that is on time.".to_owned(),
        }
    }
}
