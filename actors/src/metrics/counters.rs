//! A counter for each value of a label.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One counter per value of a closed set.
#[derive(Debug)]
pub(super) struct CountersBy<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for CountersBy<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> CountersBy<N> {
    pub(super) fn add(&self, index: usize, n: u64) {
        if let Some(counter) = self.0.get(index) {
            counter.fetch_add(n, Relaxed);
        }
    }

    pub(super) fn get(&self, index: usize) -> u64 {
        self.0.get(index).map_or(0, |counter| counter.load(Relaxed))
    }
}
