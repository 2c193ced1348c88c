//! Time and randomness: the one place that reads them.

use std::cell::RefCell;
use std::ops::{Add, AddAssign};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// A moment of the monotonic clock, in nanoseconds.
///
/// `std`'s keeps seconds and nanoseconds apart. A message is measured at some twenty points, and there each reading
/// and each difference costs three times as many instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The time from an earlier moment to this one; zero if the other is later.
    #[must_use]
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Microseconds from an earlier moment to this one, at most 71 minutes; zero if the other is later.
    pub(crate) fn micros_since(self, earlier: Self) -> u32 {
        u32::try_from(self.0.saturating_sub(earlier.0) / 1_000).unwrap_or(u32::MAX)
    }

    /// The time since this moment.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        now().saturating_duration_since(self)
    }

    /// The moment that is `time` earlier. `None`: the clock had not begun.
    #[must_use]
    pub fn checked_sub(self, time: Duration) -> Option<Self> {
        self.0.checked_sub(nanos(time)).map(Self)
    }
}

/// A sum later than the clock's end, in five hundred years, is the end.
impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(nanos(time)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, time: Duration) {
        *self = *self + time;
    }
}

/// The nanoseconds of a duration; of one that is too long, the most.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

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
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::Monotonic);
    #[expect(clippy::cast_sign_loss, reason = "the monotonic clock begins at zero and has no negative parts")]
    Instant(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Milliseconds since the Unix epoch.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// 128 random bits from the operating system, for keys. Each thread draws 32 numbers with one system call.
///
/// # Panics
/// If the operating system has no randomness: the server must not hand out predictable keys.
pub fn secret() -> u128 {
    thread_local!(static DRAWN: RefCell<Vec<[u8; 16]>> = const { RefCell::new(Vec::new()) });
    DRAWN.with_borrow_mut(|drawn| {
        let bytes = drawn.pop().unwrap_or_else(|| {
            let mut bytes = [[0; 16]; 32];
            #[expect(clippy::expect_used, reason = "without randomness of the system no key may be handed out")]
            getrandom::fill(bytes.as_flattened_mut()).expect("the system gives random bytes");
            let [first, others @ ..] = bytes;
            drawn.extend(others);
            first
        });
        u128::from_ne_bytes(bytes)
    })
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
