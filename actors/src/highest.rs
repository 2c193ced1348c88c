//! The highest value of the last minute. Reading it changes nothing, so there may be several readers.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// The time after which the oldest values are forgotten step by step.
pub const SPAN: Duration = Duration::from_secs(10);

/// The number of whole spans that are remembered besides the current one.
const SPANS: usize = 6;

/// The highest of the values recorded in the current span and in the six before it: one minute, and up to ten seconds
/// more.
#[derive(Debug, Default)]
pub struct Highest {
    current: AtomicU64,
    past: [AtomicU64; SPANS],
    next: AtomicUsize,
}

impl Highest {
    /// Records a value.
    pub fn record(&self, value: u64) {
        // A locked instruction for each value would cost more than the read.
        if value > self.current.load(Relaxed) {
            self.current.fetch_max(value, Relaxed);
        }
    }

    /// The highest value.
    pub fn get(&self) -> u64 {
        self.past.iter().chain([&self.current]).map(|value| value.load(Relaxed)).max().unwrap_or(0)
    }

    /// Begins a new span with the current value. Only one thread calls this.
    pub fn turn(&self, now: u64) {
        let next = self.next.fetch_add(1, Relaxed) % SPANS;
        if let Some(past) = self.past.get(next) {
            // The span is stored before it is cleared, so a reader never misses it.
            past.store(self.current.load(Relaxed), Relaxed);
            past.fetch_max(self.current.swap(now, Relaxed), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_lasts_for_a_minute_whoever_reads_it() {
        let highest = Highest::default();
        highest.record(7);
        highest.record(3);
        for _ in 0..SPANS {
            highest.turn(0);
            assert_eq!((highest.get(), highest.get()), (7, 7));
        }
        highest.turn(2);
        assert_eq!(highest.get(), 2, "what holds still counts");
    }
}
