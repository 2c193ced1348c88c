//! How many bots the limit of open files allows.

/// Open files that are not bots: libraries, event queues, terminals, name look-ups.
const RESERVED: u64 = 64;

/// Open files of a worker thread: its event queue and waker.
const PER_WORKER: u64 = 8;

/// More bots are asked for than may be connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{count} bots (BOT_COUNT, or the most in BOT_PROFILE) do not fit: the limit of {limit} open files allows {fits}; \
     take fewer or raise the limit (ulimit -n)"
)]
pub struct TooManyBots {
    /// Bots asked for.
    pub count: u32,
    /// The limit of open files.
    pub limit: u64,
    /// Bots that fit.
    pub fits: u64,
}

/// Raises the process' limit of open files as far as it may, and tells what it is.
pub fn raise_limit() -> u64 {
    rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|error| {
        log::warn!("could not raise the limit of open files: {error}");
        rlimit::Resource::NOFILE.get_soft().unwrap_or(1_024)
    })
}

/// Checks that so many bots fit under the limit.
///
/// # Errors
/// [`TooManyBots`] says how many would.
pub fn check(count: u32, workers: u32, limit: u64) -> Result<(), TooManyBots> {
    let fits = limit.saturating_sub(RESERVED + PER_WORKER * u64::from(workers));
    if u64::from(count) <= fits { Ok(()) } else { Err(TooManyBots { count, limit, fits }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_bots_as_fit_are_taken_and_one_more_is_refused_in_one_line() {
        assert_eq!(check(952, 1, 1_024), Ok(()));
        let refusal = check(953, 1, 1_024).unwrap_err();
        assert_eq!(refusal.fits, 952);
        assert_eq!(refusal.to_string().lines().count(), 1);
        assert!(check(1, 1, 10).is_err());
    }
}
