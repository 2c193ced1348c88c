//! What the bots of one worker count and measure.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Most different errors that are told apart; others are counted together.
const ERROR_KINDS_MAX: usize = 64;

/// How long things took: microseconds, to three digits, up to an hour (what took longer counts as an hour).
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "constant bounds, tried by every test")]
        Self(Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("the bounds are in order"))
    }
}

impl Latencies {
    /// Adds one.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds all of another.
    #[expect(clippy::missing_panics_doc, reason = "it cannot, see below")]
    pub fn merge(&mut self, other: &Self) {
        #[expect(clippy::expect_used, reason = "all are made with the same bounds")]
        self.0.add(&other.0).expect("histograms of one shape add up");
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that this share of them, 0 to 1, do not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        Duration::from_micros(self.0.value_at_quantile(share))
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.0.max())
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// What is counted while the swarm runs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)+
        }

        impl std::ops::AddAssign for Counters {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)+
            }
        }
    };
}

counters! {
    /// Bots that are connected and welcomed now.
    connected,
    /// Bots that were welcomed at least once.
    ever_connected,
    /// Welcomes after a lost connection.
    reconnects,
    /// Messages sent, each counted once however often it had to be sent again.
    sent,
    /// Messages that the server took.
    acked,
    /// Messages sent again with the same `id` after a lost connection.
    sent_again,
    /// Acks of messages that had been taken before.
    acked_as_duplicates,
    /// Messages that the server refused for good.
    refused,
    /// Messages that were due by the plan when the swarm fell silent, and had not been sent.
    overdue,
    /// Deliveries that came, right or wrong.
    deliveries,
    /// Bytes of the frames that came.
    bytes_received,
}

/// What the bots of one worker, or of all, counted and measured.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// The counts.
    pub counters: Counters,
    /// From the planned time of a message to each of its deliveries.
    pub delivery: Latencies,
    /// From the planned time of a message to its ack.
    pub ack: Latencies,
    /// From the planned time of a message to its sending: how far the bots were behind their plan.
    pub lateness: Latencies,
    /// From the planned time of connecting to the welcome.
    pub connect: Latencies,
    /// Everything that went wrong, by what it was.
    pub errors: BTreeMap<String, u64>,
}

impl Stats {
    /// Counts an error. `kind` is one of few: an error code, a close code, an HTTP status.
    pub fn error(&mut self, kind: &str) {
        self.errors_of(kind, 1);
    }

    /// Adds what another worker counted and measured.
    pub fn merge(&mut self, other: &Self) {
        self.counters += other.counters;
        self.delivery.merge(&other.delivery);
        self.ack.merge(&other.ack);
        self.lateness.merge(&other.lateness);
        self.connect.merge(&other.connect);
        for (kind, count) in &other.errors {
            self.errors_of(kind, *count);
        }
    }

    fn errors_of(&mut self, kind: &str, count: u64) {
        if let Some(known) = self.errors.get_mut(kind) {
            *known += count;
        } else {
            let kind = if self.errors.len() < ERROR_KINDS_MAX { kind } else { "others" };
            *self.errors.entry(kind.to_owned()).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_three_digits() {
        let mut latencies = Latencies::default();
        for ms in 1..=1_000 {
            latencies.record(Duration::from_millis(ms));
        }
        let close = |is: Duration, should: u64| {
            let should = Duration::from_millis(should).as_secs_f64();
            (is.as_secs_f64() / should - 1.0).abs() < 0.002
        };
        assert!(close(latencies.quantile(0.5), 500));
        assert!(close(latencies.quantile(0.99), 990));
        assert!(close(latencies.max(), 1_000));
        latencies.record(Duration::from_secs(10_000));
        assert!(latencies.max() >= Duration::from_secs(3_599), "longer than an hour counts as an hour");
    }

    #[test]
    fn errors_are_counted_by_kind_and_the_kinds_are_bounded() {
        let mut stats = Stats::default();
        for kind in 0..10_000 {
            stats.error(&kind.to_string());
            stats.error("rate_limited");
        }
        assert!(stats.errors.len() <= ERROR_KINDS_MAX + 1);
        assert_eq!(stats.errors["rate_limited"], 10_000);
        assert_eq!(stats.errors.values().sum::<u64>(), 20_000);
    }
}
