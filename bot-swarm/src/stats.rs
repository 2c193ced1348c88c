//! What the bots of one worker count and measure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::advice::advice;
use crate::latencies::Latencies;
use crate::timing::Timing;

/// Most different errors that are told apart; others are counted together.
const ERROR_KINDS_MAX: usize = 64;

/// Kinds of errors that are told in one line.
const ERRORS_TOLD: usize = 3;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// What is counted while the swarm runs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)+
        }

        impl Counters {
            /// The counts of these names; a name that is not known counts as none.
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
                $(self.$name += other.$name;)+
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
    /// Messages sent, each counted once however often it had to be sent again.
    sent,
    /// Messages that the server took.
    acked,
    /// Messages sent again: after a lost connection, with the same `id`, or after a refusal for the moment.
    sent_again,
    /// Acks of messages that had been taken before.
    acked_as_duplicates,
    /// Refusals for the moment, as `rate_limited` is one: the message is sent again.
    refused_for_now,
    /// Messages that the server refused for good.
    refused,
    /// Those of the refused that gave no reason for it: the sender kept to the limits, and its receiver was not away.
    refused_unprovoked,
    /// Messages that were due by the plan and never sent.
    overdue,
    /// Deliveries that came, right or wrong.
    deliveries,
    /// Deliveries that were counted and not timed: there is no planned time (people, flooders), it was a slow bot that
    /// received them, or they came from another host and one of both did not know the server's time.
    untimed,
    /// Deliveries from other hosts that seemed to come before their planned time; they count as no time at all.
    remote_negative,
    /// Bytes of the frames that came.
    bytes_received,
}

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// What the bots counted and measured, in some time: a second, a phase, the whole run.
        #[derive(Debug, Clone, Default)]
        pub struct Stats {
            /// The counts.
            pub counters: Counters,
            $($(#[$doc])* pub $name: Latencies,)+
            /// How far off the clocks may be by which `remote` was measured: the most of all deliveries.
            pub clocks_off_max: Duration,
            /// Everything that went wrong, by what it was.
            pub errors: BTreeMap<String, u64>,
        }

        impl Stats {
            /// The names of what is measured.
            pub const KINDS: &[&str] = &[$(stringify!($name)),+];

            /// Where a kind is among them.
            pub(crate) fn index_of(name: &str) -> Option<usize> {
                Self::KINDS.iter().position(|kind| *kind == name)
            }

            /// What is measured, by its name.
            pub fn kind(&self, name: &str) -> Option<&Latencies> {
                match name {
                    $(stringify!($name) => Some(&self.$name),)+
                    _ => None,
                }
            }

            /// What is measured, by its name, to be changed.
            pub(crate) fn kind_mut(&mut self, name: &str) -> Option<&mut Latencies> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)+
                    _ => None,
                }
            }

            fn kinds_mut(&mut self) -> impl Iterator<Item = &mut Latencies> {
                [$(&mut self.$name),+].into_iter()
            }

            /// What is measured, in the order of [`KINDS`](Self::KINDS).
            pub fn kinds(&self) -> impl Iterator<Item = &Latencies> {
                [$(&self.$name),+].into_iter()
            }
        }
    };
}

stats! {
    /// From the planned time of connecting to the welcome, for bots that come the first time. As in all kinds from a planned
    /// time, the random pause of the bot before the attempt that succeeded is left out.
    connect,
    /// From the planned time of a message to its ack.
    ack,
    /// From the planned time of a message to each of its deliveries.
    delivery,
    /// From the planned time of a message to each of its deliveries on another host than the sender's, by the server's
    /// clock. Kept apart, so that what is uncertain does not spoil what is exact.
    remote,
    /// From the planned time of a message of a room to the last of its deliveries on the sender's host. A worker alone
    /// knows only of messages that were not done; the others are in
    /// [`LastReceivers`](crate::last_receivers::LastReceivers) until the books of the run are closed.
    completion,
    /// From the loss of a connection, or the planned end of an absence, until the server says what of the room was
    /// missed.
    resume,
    /// From the planned time of a message to its sending: how far the bots were behind their plan, for whatever
    /// reason.
    lateness,
    /// From the time at which the swarm was to wake a bot until it ran: how late the swarm itself was.
    wake_lag,
    /// How late a probe of each worker's event loop ran, ten times a second.
    loop_lag,
}

/// Messages of one bot that were planned at one time and not done.
#[derive(Debug, Clone, Copy)]
pub struct NotDone {
    /// From their planned time to the end of the run.
    pub latency: Duration,
    /// How many there are.
    pub messages: u64,
    /// Whether they were sent.
    pub is_sent: bool,
    /// Whether the server would have answered them.
    pub is_acked: bool,
    /// Deliveries that each would have made, of those that are timed.
    pub deliveries: u64,
    /// Whether the last of these is timed as well.
    pub is_completed: bool,
}

impl Stats {
    /// Counts a delivery. How long it took is recorded where it counts; what is wrong does not.
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

    /// Counts an error. `kind` is one of few: an error code, a close code, an HTTP status.
    pub fn error(&mut self, kind: &str) {
        self.errors_of(kind, 1);
    }

    /// What went wrong most often, in one line: at most three kinds, each with how often it did. Empty: nothing did.
    pub fn errors_line(&self) -> String {
        let errors = self.most_frequent_errors().into_iter();
        let told: Vec<String> = errors.take(ERRORS_TOLD).map(|(kind, count)| format!("{count} × {kind}")).collect();
        told.join(", ")
    }

    /// What to do about the most frequent error that anything can be done about. Whoever speaks another dialect than the
    /// server hears nothing that it waits for, so that comes first.
    pub fn advice(&self) -> Option<&'static str> {
        let errors = self.most_frequent_errors();
        let (of_dialect, others): (Vec<_>, Vec<_>) =
            errors.into_iter().partition(|(kind, _)| kind.contains("BOT_DIALECT="));
        of_dialect.into_iter().chain(others).find_map(|(kind, _)| advice(kind))
    }

    fn most_frequent_errors(&self) -> Vec<(&String, &u64)> {
        let mut errors: Vec<(&String, &u64)> = self.errors.iter().collect();
        errors.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        errors
    }

    /// Adds what another worker, or another time, counted and measured.
    pub fn merge(&mut self, other: &Self) {
        self.merge_kinds(other, |_| true);
    }

    /// As [`merge`](Self::merge), of a time whose latencies are not to be judged: only what the swarm says of itself and
    /// how long connecting took.
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

    /// Gives away what there is, and begins anew in the same memory.
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
