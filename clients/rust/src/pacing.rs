//! Keeps the client below the server's rate limit, so that the server refuses no frame as too fast.

use std::time::Duration;

use starling_protocol::ServerLimits;
use tokio::time::Instant;

/// A bucket of frames that may be sent now, refilled with time.
#[derive(Debug)]
pub(crate) struct Pacing {
    per_second: f64,
    burst: f64,
    frames: f64,
    filled_at: Instant,
    /// The server has asked for silence until this time.
    paused_until: Option<Instant>,
}

impl Pacing {
    /// The limits of a new connection. A rate of 0 means no limit.
    pub(crate) fn new(limits: &ServerLimits, now: Instant) -> Self {
        let per_second =
            if limits.messages_per_second == 0 { f64::INFINITY } else { limits.messages_per_second.into() };
        // The server counts a frame when it reads it, and may read frames closer together than the client wrote them.
        let burst = (f64::from(limits.burst) * 0.8).max(1.0);
        Self { per_second, burst, frames: burst, filled_at: now, paused_until: None }
    }

    /// Takes one frame from the bucket.
    ///
    /// # Errors
    /// The time at which the bucket has a frame again.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        if let Some(until) = self.paused_until.filter(|until| *until > now) {
            return Err(until);
        }
        if self.per_second.is_infinite() {
            return Ok(());
        }
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.frames = (self.frames + passed * self.per_second).min(self.burst);
        self.filled_at = now;
        if self.frames >= 1.0 {
            self.frames -= 1.0;
            return Ok(());
        }
        // A little more, so that rounding does not leave the bucket empty.
        Err(now + Duration::from_secs_f64((1.0 - self.frames) / self.per_second) + Duration::from_micros(10))
    }

    /// Sends nothing before this time.
    pub(crate) fn pause_until(&mut self, until: Instant) {
        self.paused_until = Some(self.paused_until.map_or(until, |known| known.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(messages_per_second: u32, burst: u32) -> ServerLimits {
        ServerLimits { message_bytes: 1, messages_per_second, burst, rooms: 1 }
    }

    #[test]
    fn the_burst_goes_at_once_and_the_rest_at_the_rate() {
        let now = Instant::now();
        let mut pacing = Pacing::new(&limits(10, 5), now);
        assert!((0..4).all(|_| pacing.take(now).is_ok()));
        let next = pacing.take(now).unwrap_err();
        assert!(next > now + Duration::from_millis(99) && next < now + Duration::from_millis(101));
        assert!(pacing.take(next).is_ok());
        assert!(pacing.take(next).is_err());
    }

    #[test]
    fn a_rate_of_zero_is_no_limit_and_a_pause_holds() {
        let now = Instant::now();
        let mut pacing = Pacing::new(&limits(0, 1), now);
        assert!((0..1_000).all(|_| pacing.take(now).is_ok()));
        let until = now + Duration::from_secs(3);
        pacing.pause_until(until);
        pacing.pause_until(now + Duration::from_secs(1));
        assert_eq!(pacing.take(now), Err(until));
        assert_eq!(pacing.take(until), Ok(()));
    }
}
