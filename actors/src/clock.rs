//! Time and randomness: the one place that reads them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Monotonic, for durations and deadlines.
    pub at: Instant,
    /// For people and clients: milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

impl Now {
    /// Reads both clocks at one moment.
    pub fn read() -> Self {
        Self::read_at(now())
    }

    /// The current moment, for a caller that has just read the monotonic clock.
    pub(crate) fn read_at(at: Instant) -> Self {
        Self { at, unix_ms: unix_ms() }
    }

    /// The moment that is `time` later, on both clocks.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self { at: self.at + time, unix_ms: self.unix_ms + u64::try_from(time.as_millis()).unwrap_or(u64::MAX) }
    }
}

/// Reads the monotonic clock.
#[expect(clippy::disallowed_methods, reason = "this function is the one that the lint recommends")]
pub fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since the Unix epoch.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// 128 random bits from the operating system, for keys.
///
/// # Panics
/// If the operating system has no randomness: the server must not hand out predictable keys.
pub fn secret() -> u128 {
    let mut bytes = [0; 16];
    #[expect(clippy::expect_used, reason = "without randomness of the system no key may be handed out")]
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    u128::from_ne_bytes(bytes)
}

/// Generates distinct numbers from a seed (splitmix64). For names and epochs, not for secrets.
#[derive(Debug, Clone)]
pub struct Numbers(u64);

impl Numbers {
    /// Starts with this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
