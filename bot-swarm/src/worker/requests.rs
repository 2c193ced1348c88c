//! The swarm's requests to a worker, and the answers.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use actix::{Handler, Message};

use super::Worker;
use crate::agenda::Errand;
use crate::census::{BotState, Census};
use crate::clock::{self, Nanos};
use crate::last_receivers::LastReceivers;
use crate::ledger::private::PrivateBook;
use crate::ledger::{Ledger, Tally, Undelivered, Waters};
use crate::outstanding::Outstanding;
use crate::stats::Stats;

/// Takes the counts and latencies since the previous request.
#[derive(Debug, Message)]
#[rtype(result = "Interval")]
pub(crate) struct TakeInterval;

/// The counts and latencies of some time, and the state at its end.
#[derive(Debug, Default)]
pub(crate) struct Interval {
    pub(crate) stats: Stats,
    pub(crate) census: Census,
    /// Messages that the server has not answered.
    pub(crate) unanswered: u64,
    /// Messages that the server refused temporarily, and that are still to be sent again.
    pub(crate) deferred: u64,
    /// Connections that are open.
    pub(crate) open_links: u64,
    /// The ledger's findings since the start.
    pub(crate) findings: Tally,
    /// The last receipts among the messages that arrived in this time.
    pub(crate) last_receivers: LastReceivers,
    /// Processor time of the worker's thread; after merging, of the busiest one.
    pub(crate) busiest_worker: Duration,
}

impl Interval {
    /// Adds another worker's interval of the same time.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.stats.merge(&other.stats);
        self.census += other.census;
        self.unanswered += other.unanswered;
        self.deferred += other.deferred;
        self.open_links += other.open_links;
        self.findings += other.findings;
        self.last_receivers.merge(&other.last_receivers);
        self.busiest_worker = self.busiest_worker.max(other.busiest_worker);
    }
}

impl Handler<TakeInterval> for Worker {
    type Result = actix::MessageResult<TakeInterval>;

    fn handle(&mut self, TakeInterval: TakeInterval, _: &mut Self::Context) -> Self::Result {
        let cpu = clock::thread_cpu();
        let busy = cpu.saturating_sub(self.state.cpu_taken.replace(cpu));
        actix::MessageResult(Interval {
            stats: self.state.stats.borrow_mut().take(),
            busiest_worker: busy,
            census: self.state.census.get(),
            unanswered: self.state.unanswered.get(),
            deferred: self.state.deferred.get(),
            open_links: self.state.open_links.get(),
            findings: self.state.findings(),
            last_receivers: self.state.ledger.borrow_mut().take_last_receivers(),
        })
    }
}

/// Tells the bots to plan no more messages. Messages that were due before are still sent, and unanswered ones are
/// repeated where needed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct FallSilent {
    /// The time until which messages that were due before may be sent.
    pub(crate) says_until: Nanos,
}

impl Handler<FallSilent> for Worker {
    type Result = ();

    fn handle(&mut self, FallSilent { says_until }: FallSilent, _: &mut Self::Context) {
        self.state.says_until.set(Some(says_until));
        self.state.quiet_since.set(Some(self.state.now()));
        self.ask_all_bots(Errand::Settle);
    }
}

/// Tells the bots to give up their unfinished work, and to count it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct GiveUp;

impl Handler<GiveUp> for Worker {
    type Result = ();

    fn handle(&mut self, GiveUp: GiveUp, _: &mut Self::Context) {
        self.state.is_over.set(true);
        self.ask_all_bots(Errand::GiveUp);
    }
}

/// Asks for the number of bots that have not finished the last errand for all bots.
#[derive(Debug, Message)]
#[rtype(result = "u64")]
pub(crate) struct CountAnswersDue;

impl Handler<CountAnswersDue> for Worker {
    type Result = u64;

    fn handle(&mut self, CountAnswersDue: CountAnswersDue, _: &mut Self::Context) -> u64 {
        self.state.answers_due.get()
    }
}

/// Asks for the outstanding work.
#[derive(Debug, Message)]
#[rtype(result = "Outstanding")]
pub(crate) struct ReadOutstanding {
    /// The bounds of the rooms' epochs, as far as all workers know.
    pub(crate) targets: Arc<Waters>,
}

impl Handler<ReadOutstanding> for Worker {
    type Result = actix::MessageResult<ReadOutstanding>;

    fn handle(&mut self, ReadOutstanding { targets }: ReadOutstanding, _: &mut Self::Context) -> Self::Result {
        let ledger = self.state.ledger.borrow();
        actix::MessageResult(Outstanding {
            unanswered: self.state.unanswered.get() + self.state.deferred.get(),
            left_to_say: self.state.left_to_say.get() + self.state.answers_due.get(),
            away: u64::from(self.state.census.get().in_state(BotState::Away)),
            connecting: u64::from(self.state.census.get().in_state(BotState::Connecting)),
            room_deliveries: ledger.outstanding(&targets) + ledger.peers.outstanding(|bot| self.state.said_by(bot)),
            private_deliveries: ledger.private_outstanding(),
            may_lack_private: ledger.may_lack_private(self.numbers().map(|_| 1).sum()),
            waters: ledger.waters(),
        })
    }
}

/// Closes the ledger and takes its sums.
#[derive(Debug, Message)]
#[rtype(result = "Books")]
pub(crate) struct CloseBooks {
    /// The bounds of the rooms' epochs.
    pub(crate) targets: Arc<Waters>,
}

/// The final sums of a worker.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) tally: Tally,
    pub(crate) private: PrivateBook,
    /// Messages that the server never answered.
    pub(crate) unanswered: u64,
    /// Messages that the server refused temporarily, and that were not sent again in time.
    pub(crate) deferred: u64,
    /// Bots that had lost their connection and did not return.
    pub(crate) away: u64,
}

impl Books {
    /// Adds another worker's sums.
    pub(crate) fn merge(&mut self, other: Self) {
        self.tally += other.tally;
        self.private.merge(other.private);
        self.unanswered += other.unanswered;
        self.deferred += other.deferred;
        self.away += other.away;
    }
}

impl Handler<CloseBooks> for Worker {
    type Result = actix::MessageResult<CloseBooks>;

    fn handle(&mut self, CloseBooks { targets }: CloseBooks, _: &mut Self::Context) -> Self::Result {
        let mut ledger = self.state.ledger.replace(Ledger::new(self.state.run, self.state.dialect.audience()));
        let mut last = ledger.take_last_receivers();
        self.charge_undelivered(&ledger, &targets, &mut last);
        // The swarm takes them with the next interval.
        self.state.ledger.borrow_mut().add_last_receivers(&last);
        self.state.stats.borrow_mut().counters.refused_unprovoked += ledger.said_to_be_gone_and_not_deleted();
        let unpromised = self.state.unpromised.lock().unwrap_or_else(PoisonError::into_inner);
        let (tally, private) = ledger.close(&targets, |bot| self.state.said_by(bot), &unpromised);
        drop(unpromised);
        self.state.closed.set(Some(tally));
        actix::MessageResult(Books {
            tally,
            private,
            unanswered: self.state.unanswered.get(),
            deferred: self.state.deferred.get(),
            away: self.state.census.get().in_state(BotState::Away).into(),
        })
    }
}

impl Worker {
    /// Charges deliveries that were due and did not arrive with the time from their plan until now.
    fn charge_undelivered(&self, ledger: &Ledger, targets: &Waters, last: &mut LastReceivers) {
        let now = self.state.now();
        let mut stats = self.state.stats.borrow_mut();
        ledger.undelivered(targets, |undelivered| match undelivered {
            Undelivered::Delivery { bot, planned, count } => {
                // A slow bot's deliveries are not timed.
                if !self.state.roster.behaviour(bot).reads_slowly() {
                    stats.delivery.record_many(now.since(planned), count);
                }
            }
            Undelivered::Completion { place, planned } => last.note(place, now.since(planned)),
        });
    }
}

/// Makes all bots close their connections.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Leave;

impl Handler<Leave> for Worker {
    type Result = ();

    fn handle(&mut self, Leave: Leave, _: &mut Self::Context) {
        let now = self.state.now();
        self.enter_for_all(Errand::Leave, |_| now);
    }
}
