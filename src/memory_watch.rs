//! Watches the memory in use. Before the kernel would kill the process, the server shrinks its messages in memory and
//! refuses new connections and searches.

use std::sync::Arc;
use std::time::Duration;

use log::{info, warn};
use procfs::WithCurrentSystemInfo;
use procfs::process::Process;
use starling_actors::history::KeptBytes;
use tokio::time::Instant;

use crate::config::Config;
use crate::control_group::{ControlGroups, Memory};
use crate::state::ServerState;

/// The interval between two checks.
const LOOK: Duration = Duration::from_millis(250);

/// The interval near the limit, where memory use may rise quickly.
const CLOSE_LOOK: Duration = Duration::from_millis(25);

/// Percentage of the limit at which checks become frequent.
const LOOK_CLOSELY_AT: u64 = 70;

/// The interval between two warnings while memory is short.
const TELL: Duration = Duration::from_mins(1);

/// Percentage of the limit at which the log warns, and the messages in memory may no longer grow.
const TELL_AT: u64 = 90;

/// Percentage of the limit at which new connections and searches are refused, and the messages in memory shrink.
const REFUSE_AT: u64 = 95;

/// The source of the limit.
#[derive(Debug)]
enum Limit {
    /// `CHAT_MEMORY_BYTES`, compared with the memory of the process.
    Configured(u64),
    /// The container's limit, compared with all memory charged to the container.
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

/// The bytes of messages that may be kept in memory, given the bytes kept now and the percentage of the limit in use.
fn allowed(kept: u64, hundredths: u64) -> u64 {
    match hundredths {
        // Shrinks by a small part per check, so that the effect is measured before more is dropped.
        REFUSE_AT.. => kept - kept / 64,
        TELL_AT.. => kept,
        _ => u64::MAX,
    }
}

/// Watches for as long as the server runs; ends at once if there is no limit.
pub(crate) async fn watch(config: Config, state: Arc<ServerState>, kept: KeptBytes) {
    let limit = Limit::of(&config);
    let (mut told, mut is_refusing): (Option<Instant>, bool) = (None, false);
    while let Some(memory) = limit.look() {
        let hundredths = memory.used.saturating_mul(100) / memory.limit.max(1);
        kept.allow(allowed(kept.kept(), hundredths));
        let refuses = hundredths >= REFUSE_AT;
        if hundredths >= TELL_AT && (refuses != is_refusing || told.is_none_or(|at| at.elapsed() >= TELL)) {
            told = Some(Instant::now());
            warn!("{}", what_takes_it(memory, &config, &state, &kept, refuses));
        } else if is_refusing && !refuses {
            info!("memory: {hundredths} % of the limit is in use; new connections and searches are accepted again");
        }
        if refuses != is_refusing {
            is_refusing = refuses;
            state.set_short_of_memory(refuses);
        }
        tokio::time::sleep(if hundredths >= LOOK_CLOSELY_AT { CLOSE_LOOK } else { LOOK }).await;
    }
}

fn what_takes_it(memory: Memory, config: &Config, state: &ServerState, kept: &KeptBytes, refuses: bool) -> String {
    let mib = |bytes: u64| bytes / (1 << 20);
    let metrics = state.metrics();
    format!(
        "memory: {} of {} MiB are in use; {} connections, outboxes {} MiB, {} rooms, recent messages {} MiB of at \
         most {} (CHAT_HISTORY_BYTES), which may not grow now{}",
        mib(memory.used),
        mib(memory.limit),
        metrics.connections(),
        mib(metrics.outboxes_bytes()),
        metrics.rooms(),
        mib(kept.kept()),
        mib(config.history_bytes),
        if refuses { "; new connections and searches are refused" } else { "" },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_the_limit_the_messages_in_memory_get_no_more_and_at_it_they_get_fewer() {
        for (kept, hundredths, expected) in
            [(6_400, 89, u64::MAX), (6_400, 90, 6_400), (6_400, 95, 6_300), (6_400, 120, 6_300), (0, 99, 0)]
        {
            assert_eq!(allowed(kept, hundredths), expected, "{kept} {hundredths}");
        }
    }
}
