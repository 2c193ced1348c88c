//! A worker learns the server's time: one of its bots, the timekeeper, asks for it at intervals.
//!
//! The first bot that receives anything while there is no timekeeper becomes the timekeeper until its connection ends.

use std::time::Duration;

use starling_protocol::{ClientCommand, MessageId};

use super::Bot;
use crate::agenda::Errand;
use crate::clock::Nanos;
use crate::server_clock::Sample;

/// The interval of the questions until the server's clock is well known.
const PERIOD_AT_FIRST: Duration = Duration::from_millis(100);

/// The interval from then on.
const PERIOD: Duration = Duration::from_secs(2);

/// The beginning of a ping's `id`; the time at which it was sent follows.
const PING_ID: &str = "time";

impl Bot {
    /// Becomes the timekeeper, if there is none and the bot is suitable.
    pub(super) fn keep_time(&self) {
        let worker = &self.worker;
        if worker.timekeeper.get().is_some() || !self.session.link.is_up() {
            return;
        }
        // A slow bot receives the answer late, and the server refuses a flooder.
        if !self.identity.kind.reads_slowly() && !self.conduct.behaviour.ignores_limits() {
            let due = worker.now();
            worker.timekeeper.set(Some(self.identity.number));
            worker.asks_time_at.set(due);
            self.enter(due, Errand::AskTime);
        }
    }

    /// Asks the server for its time, if the bot is still the timekeeper.
    pub(super) fn ask_time(&self, due: Nanos) {
        let worker = &self.worker;
        if worker.timekeeper.get() != Some(self.identity.number) || worker.asks_time_at.get() != due {
            return;
        }
        if !self.session.link.is_up() {
            return self.resign_as_timekeeper();
        }
        let now = worker.now();
        self.ask(MessageId::parse(&format!("{PING_ID}{}", now.0)).ok(), ClientCommand::Ping);
        let period = if worker.server_clock.borrow().is_well_known() { PERIOD } else { PERIOD_AT_FIRST };
        let next = now.after(period);
        worker.asks_time_at.set(next);
        self.enter(next, Errand::AskTime);
    }

    /// Handles the server's time, in milliseconds since the Unix epoch.
    pub(super) fn time_was_told(&self, id: Option<&MessageId>, at_ms: u64) {
        let answered = self.worker.now();
        let asked = id.and_then(|id| id.as_str().strip_prefix(PING_ID)?.parse().ok()).map(Nanos);
        if let Some(asked) = asked.filter(|asked| *asked <= answered) {
            self.worker.server_clock.borrow_mut().add(Sample { asked, answered, at_ms });
        }
    }

    /// Gives up the role of timekeeper, because the bot's connection is gone. Another bot takes it.
    pub(super) fn resign_as_timekeeper(&self) {
        if self.worker.timekeeper.get() == Some(self.identity.number) {
            self.worker.timekeeper.set(None);
        }
    }
}
