//! Looks at the memory in use, and refuses new connections before the kernel ends the process.

use std::sync::Arc;
use std::time::Duration;

use log::{info, warn};
use procfs::WithCurrentSystemInfo;
use procfs::process::Process;
use tokio::time::{Instant, MissedTickBehavior};

use crate::config::Config;
use crate::control_group::{ControlGroups, Memory};
use crate::state::ServerState;

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(250);

/// How often the log says that memory is short, while it is.
const TELL: Duration = Duration::from_mins(1);

/// From how many hundredths of the limit on the log says what takes the memory.
const TELL_AT: u64 = 90;

/// From how many hundredths of the limit on new connections and searches are refused.
const REFUSE_AT: u64 = 95;

/// Where the limit comes from.
#[derive(Debug)]
enum Limit {
    /// `CHAT_MEMORY_BYTES`, against the memory of the process.
    Configured(u64),
    /// The container's, against all memory that counts for it.
    Container(ControlGroups),
}

impl Limit {
    fn of(config: &Config) -> Self {
        match config.memory_bytes {
            0 => Self::Container(ControlGroups::own()),
            limit => Self::Configured(limit),
        }
    }

    fn look(&self) -> Option<Memory> {
        match self {
            Self::Container(groups) => groups.memory(),
            Self::Configured(limit) => {
                let stat = Process::myself().and_then(|process| process.stat()).ok()?;
                Some(Memory { used: stat.rss_bytes().get(), limit: *limit })
            }
        }
    }
}

/// Watches for as long as the server runs; ends at once where there is no limit.
pub(crate) async fn watch(config: Config, state: Arc<ServerState>) {
    let limit = Limit::of(&config);
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut told, mut is_refusing): (Option<Instant>, bool) = (None, false);
    while let Some(memory) = limit.look() {
        let hundredths = memory.used.saturating_mul(100) / memory.limit.max(1);
        let refuses = hundredths >= REFUSE_AT;
        if hundredths >= TELL_AT && (refuses != is_refusing || told.is_none_or(|at| at.elapsed() >= TELL)) {
            told = Some(Instant::now());
            warn!("{}", what_takes_it(memory, &config, &state, refuses));
        } else if is_refusing && !refuses {
            info!("memory: {hundredths} % of the limit are in use, new connections and searches are taken again");
        }
        if refuses != is_refusing {
            is_refusing = refuses;
            state.set_short_of_memory(refuses);
        }
        looks.tick().await;
    }
}

fn what_takes_it(memory: Memory, config: &Config, state: &ServerState, refuses: bool) -> String {
    let mib = |bytes: u64| bytes / (1 << 20);
    let metrics = state.metrics();
    format!(
        "memory: {} of {} MiB are in use; {} connections, outboxes {} MiB, recent messages at most {} MiB \
         (CHAT_HISTORY_BYTES), {} rooms{}",
        mib(memory.used),
        mib(memory.limit),
        metrics.connections(),
        mib(metrics.outboxes_bytes()),
        mib(config.history_bytes),
        metrics.rooms(),
        if refuses { "; new connections and searches are refused" } else { "" },
    )
}
