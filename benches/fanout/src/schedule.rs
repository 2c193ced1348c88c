//! The moments at which messages are due.

use std::ops::Range;

use crate::clock::{SECOND, nanos};
use crate::options::Options;

/// The course of a run, in times of the [clock](crate::clock).
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    begin: u64,
    /// The measured time.
    pub(crate) window: Range<u64>,
    /// Messages a second; 0: none is due.
    rate: f64,
    /// The number of messages that were due.
    passed: u64,
}

impl Schedule {
    pub(crate) fn new(options: &Options, begin: u64) -> Self {
        let from = begin + nanos(options.warmup);
        let rate = if options.closed_loop { 0.0 } else { options.rate };
        Self { begin, window: from..from + nanos(options.duration), rate, passed: 0 }
    }

    /// The time of the next message; `None` if none is due any more.
    pub(crate) fn next(&self) -> Option<u64> {
        if self.rate <= 0.0 {
            return None;
        }
        let due = self.begin + nanos(self.passed as f64 / self.rate);
        (due < self.window.end).then_some(due)
    }

    /// Takes the next message if it is due. A message that is late keeps its time, so that its latency contains the
    /// delay.
    pub(crate) fn take_due(&mut self, now: u64) -> Option<u64> {
        let due = self.next().filter(|due| *due <= now)?;
        self.passed += 1;
        Some(due)
    }

    /// The measured seconds.
    pub(crate) fn seconds(&self) -> f64 {
        (self.window.end - self.window.start) as f64 / SECOND as f64
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn messages_are_due_evenly_from_the_begin_to_the_end_of_the_window() {
        let options = Options::parse_from(["", "--url", "ws://x", "-r", "4", "--warmup", "1", "-d", "1"]);
        let mut schedule = Schedule::new(&options, 5 * SECOND);
        assert_eq!(schedule.take_due(5 * SECOND - 1), None);
        let due: Vec<u64> = std::iter::from_fn(|| schedule.take_due(u64::MAX)).collect();
        let expected: Vec<u64> = (0..8).map(|number| 5 * SECOND + number * SECOND / 4).collect();
        assert_eq!(due, expected);
        assert_eq!(schedule.window, 6 * SECOND..7 * SECOND);
    }
}
