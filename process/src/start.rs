//! What both programs see to before anything else.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

/// The first second of the year 10000, since the Unix epoch: the dates of HTTP and of log lines have four digits for a
/// year.
const YEAR_10000: Duration = Duration::from_hours(70_389_528);

/// Why a program does not start: one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No date of this time can be written.
    #[error("the clock of this machine is before 1970 or after 9999; set it first")]
    Clock,
    /// The system refuses the handler of a signal.
    #[error("cannot catch SIGXFSZ, the signal for files above the size limit: {0}")]
    Signal(#[from] io::Error),
}

/// Makes sure that the clock tells a time that can be written, and that a file past the limit on its size (`ulimit -f`)
/// is an error where it is written, like a full disk, and not the end of the process by SIGXFSZ.
///
/// # Errors
/// [`StartError`].
pub fn prepare() -> Result<(), StartError> {
    if !is_usable(SystemTime::now()) {
        return Err(StartError::Clock);
    }
    // A signal that is caught is nothing that ends the process, and it stays caught when this runtime is gone.
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
