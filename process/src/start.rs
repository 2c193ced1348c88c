//! The first steps of both programs.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

/// The first second of the year 10000, since the Unix epoch: the dates of HTTP and of log lines have four digits for a
/// year.
const YEAR_10000: Duration = Duration::from_hours(70_389_528);

/// The reason that a program does not start: one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The time has no date that can be written.
    #[error("the clock of this machine is before 1970 or after 9999; set it first")]
    Clock,
    /// The system refuses the handler of a signal.
    #[error("cannot catch SIGXFSZ, the signal for files above the size limit: {0}")]
    Signal(#[from] io::Error),
}

/// Checks that the clock has a time that can be written. Ensures that a write beyond the file size limit (`ulimit -f`)
/// fails with an error, like a full disk, instead of ending the process by SIGXFSZ.
///
/// # Errors
/// [`StartError`].
pub fn prepare() -> Result<(), StartError> {
    if !is_usable(SystemTime::now()) {
        return Err(StartError::Clock);
    }
    // A caught signal does not end the process, and it stays caught after this runtime has ended.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _context = runtime.enter();
    drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?);
    Ok(())
}

fn is_usable(now: SystemTime) -> bool {
    now.duration_since(UNIX_EPOCH).is_ok_and(|since| since < YEAR_10000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_usable_from_1970_to_9999() {
        let second = Duration::from_secs(1);
        for (time, expected) in [
            (UNIX_EPOCH - second, false),
            (UNIX_EPOCH, true),
            (SystemTime::now(), true),
            (UNIX_EPOCH + YEAR_10000 - second, true),
            (UNIX_EPOCH + YEAR_10000, false),
        ] {
            assert_eq!(is_usable(time), expected, "{time:?}");
        }
    }
}
