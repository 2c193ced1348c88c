//! Counts and latencies of the bots of one worker.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::advice::advice;
use crate::latencies::Latencies;
use crate::timing::Timing;

/// The most kinds of errors that are counted separately; others are counted together.
const ERROR_KINDS_MAX: usize = 64;

/// The number of kinds of errors in the one-line summary.
const ERRORS_TOLD: usize = 3;

/// An error is rare that occurred less often than the most frequent one by this factor.
const RARE_BELOW: u64 = 4;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// Counts of a running swarm.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)+
        }

        impl Counters {
            /// The counts by name; unknown names count as zero.
            pub fn of(count: impl Fn(&str) -> Option<u64>) -> Self {
                Self { $($name: count(stringify!($name)).unwrap_or_default(),)+ }
            }

            /// Every count with its name.
            pub fn entries(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($name), self.$name)),+].into_iter()
            }
        }

        impl std::ops::AddAssign for Counters {
            fn add_assign(&mut self, other: Self) {
                // A merged report may contain any number.
                $(self.$name = self.$name.saturating_add(other.$name);)+
            }
        }
    };
}

counters! {
    /// Bots whose planned time to connect has come.
    wanted,
    /// Bots that were welcomed at least once.
    ever_connected,
    /// Welcomes after a lost connection.
    reconnects,
    /// Messages and other requests sent, each counted once even if it was sent again.
    sent,
    /// Those of them that were no messages: changes, read positions and visits.
    requests_sent,
    /// Messages that the server accepted.
    acked,
    /// Messages sent again: after a lost connection, with the same `id`, or after a temporary refusal.
    sent_again,
    /// Acks of messages that had been accepted before.
    acked_as_duplicates,
    /// Temporary refusals, `rate_limited` and `unavailable`: the message is sent again.
    refused_for_now,
    /// Messages that the server refused permanently.
    refused,
    /// Refused messages without a reason: the sender kept to the limits, and its receiver was not away.
    refused_unprovoked,
    /// Planned messages that were due and never sent.
    overdue,
    /// How often typists have said that they type.
    typing_sent,
    /// Deliveries that came, right or wrong.
    deliveries,
    /// Deliveries that were not timed: the message has no planned time (people, flooders), a slow bot received it, or
    /// it came from another host and one of the two did not know the server's time.
    untimed,
    /// Deliveries from other hosts that seemed to precede their planned time; their latency counts as zero.
    remote_negative,
    /// Bytes of received frames.
    bytes_received,
}

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// Counts and latencies of a second, a phase or the whole run.
        #[derive(Debug, Clone, Default)]
        pub struct Stats {
            /// The counts.
            pub counters: Counters,
            $($(#[$doc])* pub $name: Latencies,)+
            /// The largest possible error of the clocks that measured `remote`.
            pub clocks_off_max: Duration,
            /// The errors by kind, with their count.
            pub errors: BTreeMap<String, u64>,
        }

        impl Stats {
            /// The names of the latencies.
            pub const KINDS: &[&str] = &[$(stringify!($name)),+];

            /// The index of a name in [`KINDS`](Self::KINDS).
            pub(crate) fn index_of(name: &str) -> Option<usize> {
                Self::KINDS.iter().position(|kind| *kind == name)
            }

            /// The latencies with this name.
            pub fn kind(&self, name: &str) -> Option<&Latencies> {
                match name {
                    $(stringify!($name) => Some(&self.$name),)+
                    _ => None,
                }
            }

            /// The latencies with this name, mutable.
            pub(crate) fn kind_mut(&mut self, name: &str) -> Option<&mut Latencies> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)+
                    _ => None,
                }
            }

            fn kinds_mut(&mut self) -> impl Iterator<Item = &mut Latencies> {
                [$(&mut self.$name),+].into_iter()
            }

            /// All latencies, in the order of [`KINDS`](Self::KINDS).
            pub fn kinds(&self) -> impl Iterator<Item = &Latencies> {
                [$(&self.$name),+].into_iter()
            }
        }
    };
}

stats! {
    /// From the planned time of connecting to the welcome, for a bot's first connection. As with all latencies from a
    /// planned time, the bot's random pause before the successful attempt is excluded.
    connect,
    /// From the planned time of a message to its ack.
    ack,
    /// From the planned time of a message to each of its deliveries.
    delivery,
    /// From the planned time of a message to each of its deliveries on another host than the sender's, by the server's
    /// clock. It is separate so that uncertain values do not mix with exact ones.
    remote,
    /// From the planned time of a room message to its last delivery on the sender's host. A worker alone knows only
    /// messages that were not done; the others are in [`LastReceivers`](crate::last_receivers::LastReceivers) until the
    /// records of the run are complete.
    completion,
    /// From the loss of a connection, or the planned end of an absence, until the server's answer about the missed
    /// messages.
    resume,
    /// From the planned time of a message to its sending: the delay of the bots behind their plan, for any reason.
    lateness,
    /// From the time at which a bot was due to wake until it ran: the delay of the swarm itself.
    wake_lag,
    /// The delay of a probe of each worker's event loop, ten times a second.
    loop_lag,
}

/// Messages of one bot that were planned at one time and not done.
#[derive(Debug, Clone, Copy)]
pub struct NotDone {
    /// From the planned time to the end of the run.
    pub latency: Duration,
    /// Their number.
    pub messages: u64,
    /// Whether they were sent.
    pub is_sent: bool,
    /// Whether the server would have acknowledged them.
    pub is_acked: bool,
    /// The number of timed deliveries that each would have caused.
    pub deliveries: u64,
    /// Whether their last delivery is timed as well.
    pub is_completed: bool,
}

impl Stats {
    /// Counts a delivery. Its latency is recorded only if it is correct.
    pub fn delivery_came(&mut self, timing: Timing, counts: bool) {
        self.counters.deliveries += 1;
        match timing {
            Timing::Untimed => self.counters.untimed += 1,
            Timing::Exact(latency) if counts => self.delivery.record(latency),
            Timing::Remote(apart) if counts => {
                self.remote.record(apart.latency);
                self.counters.remote_negative += u64::from(apart.is_negative);
                self.clocks_off_max = self.clocks_off_max.max(apart.off_by);
            }
            Timing::Exact(_) | Timing::Remote(_) => {}
        }
    }

    /// Charges messages that were not done with the time from their plan to the end of the run.
    pub fn not_done(&mut self, not_done: NotDone) {
        let NotDone { latency, messages, is_sent, is_acked, deliveries, is_completed } = not_done;
        if !is_sent {
            self.lateness.record_many(latency, messages);
        }
        if is_acked {
            self.ack.record_many(latency, messages);
        }
        self.delivery.record_many(latency, messages.saturating_mul(deliveries));
        if is_completed && deliveries > 0 {
            self.completion.record_many(latency, messages);
        }
    }

    /// Counts an error. There are few kinds: error codes, close codes, HTTP statuses.
    pub fn error(&mut self, kind: &str) {
        self.errors_of(kind, 1);
    }

    /// The most frequent errors in one line: at most three kinds, each with its count. Empty if there are none.
    pub fn errors_line(&self) -> String {
        let errors = self.most_frequent_errors().into_iter();
        let told: Vec<String> = errors.take(ERRORS_TOLD).map(|(kind, count)| format!("{count} × {kind}")).collect();
        told.join(", ")
    }

    /// Advice about the most frequent error that has advice. Rare errors are skipped: an attempt that the end of the
    /// run interrupted is not the cause. A dialect other than the server's comes first, because it causes other errors.
    pub fn advice(&self) -> Option<&'static str> {
        let mut errors = self.most_frequent_errors();
        let most = errors.first().map_or(0, |(_, count)| **count);
        errors.retain(|(_, count)| count.saturating_mul(RARE_BELOW) >= most);
        let (of_dialect, others): (Vec<_>, Vec<_>) =
            errors.into_iter().partition(|(kind, _)| kind.contains("BOT_DIALECT="));
        of_dialect.into_iter().chain(others).find_map(|(kind, _)| advice(kind))
    }

    fn most_frequent_errors(&self) -> Vec<(&String, &u64)> {
        let mut errors: Vec<(&String, &u64)> = self.errors.iter().collect();
        errors.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        errors
    }

    /// Adds the counts and latencies of another worker, or of another time.
    pub fn merge(&mut self, other: &Self) {
        self.merge_kinds(other, |_| true);
    }

    /// Like [`merge`](Self::merge), for a warm-up: only the swarm's own delays and the latencies of connecting are
    /// added.
    pub fn merge_warm_up(&mut self, other: &Self) {
        const LEFT_OUT: [&str; 5] = ["ack", "delivery", "remote", "completion", "resume"];
        self.merge_kinds(other, |kind| !LEFT_OUT.contains(&kind));
    }

    fn merge_kinds(&mut self, other: &Self, wanted: impl Fn(&str) -> bool) {
        self.counters += other.counters;
        if wanted("remote") {
            self.clocks_off_max = self.clocks_off_max.max(other.clocks_off_max);
        }
        for (kind, (ours, theirs)) in Self::KINDS.iter().zip(self.kinds_mut().zip(other.kinds())) {
            if wanted(kind) {
                ours.merge(theirs);
            }
        }
        for (kind, count) in &other.errors {
            self.errors_of(kind, *count);
        }
    }

    /// Takes all values, and starts again in the same memory.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let taken = self.clone();
        self.counters = Counters::default();
        self.clocks_off_max = Duration::ZERO;
        self.kinds_mut().for_each(Latencies::reset);
        self.errors.clear();
        taken
    }

    fn errors_of(&mut self, kind: &str, count: u64) {
        if let Some(known) = self.errors.get_mut(kind) {
            *known = known.saturating_add(count);
        } else {
            let kind = if self.errors.len() < ERROR_KINDS_MAX { kind } else { "others" };
            *self.errors.entry(kind.to_owned()).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server_clock::Apart;

    #[test]
    fn a_delivery_from_another_host_does_not_spoil_the_exact_ones() {
        let ms = Duration::from_millis;
        let mut stats = Stats::default();
        stats.delivery_came(Timing::Exact(ms(1)), true);
        for (off_by, is_negative) in [(ms(2), false), (ms(3), true), (ms(1), false)] {
            stats.delivery_came(Timing::Remote(Apart { latency: ms(50), off_by, is_negative }), true);
        }
        stats.delivery_came(Timing::Remote(Apart { latency: ms(50), off_by: ms(9), is_negative: true }), false);
        stats.delivery_came(Timing::Untimed, true);
        let Counters { deliveries, untimed, remote_negative, .. } = stats.counters;
        assert_eq!((deliveries, untimed, remote_negative), (6, 1, 1));
        assert_eq!((stats.delivery.count(), stats.delivery.max()), (1, ms(1)));
        assert_eq!((stats.remote.count(), stats.clocks_off_max), (3, ms(3)));
        let mut sum = stats.take();
        assert_eq!(stats.clocks_off_max, Duration::ZERO);
        stats.delivery_came(Timing::Remote(Apart { latency: ms(1), off_by: ms(4), is_negative: false }), true);
        sum.merge(&stats);
        assert_eq!((sum.remote.count(), sum.clocks_off_max), (4, ms(4)));
    }

    #[test]
    fn advice_is_about_what_is_frequent() {
        let refused = "connect: connection refused";
        for (errors, expected) in [
            (&[(refused, 9)][..], Some("no server listens at BOT_SERVER_URL")),
            (&[("close 1011", 12), (refused, 3)], Some("no server listens at BOT_SERVER_URL")),
            (&[("close 1011", 12), (refused, 2)], None),
            (&[], None),
        ] {
            let errors = errors.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect();
            assert_eq!(Stats { errors, ..Stats::default() }.advice(), expected);
        }
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
