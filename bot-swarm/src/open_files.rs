//! The number of bots that the limit of open files allows.

/// Open files besides those of bots: libraries, event queues, terminals, name look-ups.
const RESERVED: u64 = 64;

/// Open files of a worker thread: its event queue and waker.
const PER_WORKER: u64 = 8;

/// The limit of open files allows fewer bots than requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{count} bots (BOT_COUNT, or the most in BOT_PROFILE) do not fit: the limit of {limit} open files allows {fits}; \
     use fewer bots or raise the limit (ulimit -n)"
)]
pub struct TooManyBots {
    /// The requested number of bots.
    pub count: u32,
    /// The limit of open files.
    pub limit: u64,
    /// The number of bots that fit.
    pub fits: u64,
}

/// Raises the process's limit of open files as far as allowed, and returns the limit.
pub fn raise_limit() -> u64 {
    rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|error| {
        log::warn!("cannot raise the limit of open files: {error}");
        rlimit::Resource::NOFILE.get_soft().unwrap_or(1_024)
    })
}

/// Checks that this many bots fit within the limit.
///
/// # Errors
/// [`TooManyBots`] contains the number that would fit.
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
