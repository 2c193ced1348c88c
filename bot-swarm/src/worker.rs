//! A worker: one thread's bots, and the actor that answers for them.
//!
//! The bots of a worker share an awc client, the buffers they read into, a ledger, the statistics and one ticker.
//! Nothing is shared between workers: the swarm asks each and adds up.

use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use actix::{Actor, AsyncContext as _, Context, Handler, Message, WrapFuture as _};

use crate::agenda::{Appointment, Errand};
use crate::behaviour::BehaviourKind;
use crate::bot::{Bot, BotHandle};
use crate::census::{BotState, Census};
use crate::clock::{self, Nanos};
use crate::ledger::private::PrivateBook;
use crate::ledger::{HighWaters, Ledger, Tally, Undelivered};
use crate::stats::Stats;
use crate::worker_state::{WorkerSetup, WorkerState};
use crate::{loop_probe, ticker};

/// The actor that keeps a thread's bots, and answers the swarm for them.
pub(crate) struct Worker {
    setup: WorkerSetup,
    state: Rc<WorkerState>,
}

impl Worker {
    /// A worker that starts its bots as soon as it runs. To be made on the thread that it will run on.
    pub(crate) fn new(setup: WorkerSetup) -> Self {
        Self { state: Rc::new(WorkerState::new(setup.clone())), setup }
    }

    fn numbers(&self) -> impl Iterator<Item = u32> + use<> {
        (self.setup.index..self.setup.roster.count()).step_by(self.setup.workers as usize)
    }

    /// Gives every bot an errand of which it tells when it is done.
    fn ask_all_bots(&self, errand: Errand) {
        let now = self.state.now();
        self.state.answers_due.set(self.numbers().map(|_| 1).sum());
        self.enter_for_all(errand, |_| now);
    }

    fn enter_for_all(&self, errand: Errand, due: impl Fn(u32) -> Nanos) {
        for number in self.numbers() {
            self.state.agenda.enter(Appointment { due: due(number), bot: self.state.place_of(number), errand });
        }
    }
}

impl Actor for Worker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let bots: Vec<BotHandle> = self.numbers().map(|number| Bot::start(number, Rc::clone(&self.state))).collect();
        let WorkerSetup { start, profile, .. } = &self.setup;
        for number in self.numbers() {
            for turn in profile.turns(number) {
                let errand = if turn.comes { Errand::Come } else { Errand::Depart };
                self.state.agenda.enter(Appointment {
                    due: start.after(turn.at),
                    bot: self.state.place_of(number),
                    errand,
                });
            }
        }
        ctx.spawn(ticker::run(Rc::clone(&self.state), bots).into_actor(self));
        ctx.spawn(loop_probe::run(Rc::clone(&self.state)).into_actor(self));
    }
}

/// Takes what the bots counted and measured since it was taken last.
#[derive(Debug, Message)]
#[rtype(result = "Interval")]
pub(crate) struct TakeInterval;

/// What the bots counted and measured in some time, and how they stand at its end.
#[derive(Debug, Default)]
pub(crate) struct Interval {
    pub(crate) stats: Stats,
    pub(crate) census: Census,
    /// Messages that the server has not answered.
    pub(crate) unanswered: u64,
    /// Connections that are open.
    pub(crate) open_links: u64,
    /// What the ledger has found since the start.
    pub(crate) findings: Tally,
    /// Processor time of the worker's thread, of the worker that used most.
    pub(crate) busiest_worker: Duration,
}

impl Interval {
    /// Adds what another worker's bots counted and measured in the same time.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.stats.merge(&other.stats);
        self.census += other.census;
        self.unanswered += other.unanswered;
        self.open_links += other.open_links;
        self.findings += other.findings;
        self.busiest_worker = self.busiest_worker.max(other.busiest_worker);
    }
}

impl Handler<TakeInterval> for Worker {
    type Result = actix::MessageResult<TakeInterval>;

    fn handle(&mut self, TakeInterval: TakeInterval, _: &mut Self::Context) -> Self::Result {
        let mut stats = self.state.stats.borrow_mut();
        self.state.ledger.borrow_mut().take_completions(|latency| stats.completion.record(latency));
        let cpu = clock::thread_cpu();
        let busy = cpu.saturating_sub(self.state.cpu_taken.replace(cpu));
        actix::MessageResult(Interval {
            stats: stats.take(),
            busiest_worker: busy,
            census: self.state.census.get(),
            unanswered: self.state.unanswered.get(),
            open_links: self.state.open_links.get(),
            findings: self.state.findings(),
        })
    }
}

/// Tells the bots to plan no more. What was due before is still sent, and what is unanswered again where it must be.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct FallSilent {
    /// Until when what was due before may be sent.
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

/// Tells the bots to give up what they have not done, and to count it.
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

/// Asks how many bots have yet to do what they were asked to.
#[derive(Debug, Message)]
#[rtype(result = "u64")]
pub(crate) struct CountAnswersDue;

impl Handler<CountAnswersDue> for Worker {
    type Result = u64;

    fn handle(&mut self, CountAnswersDue: CountAnswersDue, _: &mut Self::Context) -> u64 {
        self.state.answers_due.get()
    }
}

/// Asks what is still to come.
#[derive(Debug, Message)]
#[rtype(result = "Outstanding")]
pub(crate) struct ReadOutstanding {
    /// How far the rooms have come, as far as all workers know.
    pub(crate) targets: Arc<HighWaters>,
}

/// What is still to come.
#[derive(Debug, Default)]
pub(crate) struct Outstanding {
    /// Messages that the server has not answered.
    pub(crate) unanswered: u64,
    /// Messages that were due and are not sent, and bots that have yet to count theirs.
    pub(crate) left_to_say: u64,
    /// Bots that have been connected and are not.
    pub(crate) away: u64,
    /// Bots that are to be connected for the first time.
    pub(crate) connecting: u64,
    /// Deliveries in rooms.
    pub(crate) room_deliveries: u64,
    /// Private deliveries; only the sum over all workers means something.
    pub(crate) private_deliveries: i64,
    /// Whether private deliveries may never come: to bots that are away.
    pub(crate) may_lack_private: bool,
    /// How far the rooms have come, as far as this worker knows.
    pub(crate) high_waters: HighWaters,
}

impl Handler<ReadOutstanding> for Worker {
    type Result = actix::MessageResult<ReadOutstanding>;

    fn handle(&mut self, ReadOutstanding { targets }: ReadOutstanding, _: &mut Self::Context) -> Self::Result {
        let ledger = self.state.ledger.borrow();
        actix::MessageResult(Outstanding {
            unanswered: self.state.unanswered.get(),
            left_to_say: self.state.left_to_say.get() + self.state.answers_due.get(),
            away: u64::from(self.state.census.get().in_state(BotState::Away)),
            connecting: u64::from(self.state.census.get().in_state(BotState::Connecting)),
            room_deliveries: ledger.outstanding(&targets) + ledger.peers.outstanding(|bot| self.state.said_by(bot)),
            private_deliveries: ledger.private_outstanding(),
            may_lack_private: ledger.may_lack_private(self.numbers().map(|_| 1).sum()),
            high_waters: ledger.high_waters(),
        })
    }
}

/// Takes the sums of the books, which are closed by it.
#[derive(Debug, Message)]
#[rtype(result = "Books")]
pub(crate) struct CloseBooks {
    /// How far the rooms have come.
    pub(crate) targets: Arc<HighWaters>,
}

/// What a worker leaves behind.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) tally: Tally,
    pub(crate) private: PrivateBook,
    /// Messages that the server never answered.
    pub(crate) unanswered: u64,
    /// Bots that had lost their connection and did not come back.
    pub(crate) away: u64,
}

impl Books {
    /// Adds what another worker left.
    pub(crate) fn merge(&mut self, other: Self) {
        self.tally += other.tally;
        self.private.merge(other.private);
        self.unanswered += other.unanswered;
        self.away += other.away;
    }
}

impl Handler<CloseBooks> for Worker {
    type Result = actix::MessageResult<CloseBooks>;

    fn handle(&mut self, CloseBooks { targets }: CloseBooks, _: &mut Self::Context) -> Self::Result {
        let ledger = self.state.ledger.replace(Ledger::new(self.state.run, self.state.dialect.audience()));
        self.charge_undelivered(&ledger, &targets);
        let unpromised = self.state.unpromised.lock().unwrap_or_else(PoisonError::into_inner);
        let (tally, private) = ledger.close(&targets, |bot| self.state.said_by(bot), &unpromised);
        drop(unpromised);
        self.state.closed.set(Some(tally));
        actix::MessageResult(Books {
            tally,
            private,
            unanswered: self.state.unanswered.get(),
            away: self.state.census.get().in_state(BotState::Away).into(),
        })
    }
}

impl Worker {
    /// Charges deliveries that were due and did not come with the time from their plan until now.
    fn charge_undelivered(&self, ledger: &Ledger, targets: &HighWaters) {
        let now = self.state.now();
        let mut stats = self.state.stats.borrow_mut();
        ledger.undelivered(targets, |undelivered| match undelivered {
            Undelivered::Delivery { bot, planned, count } => {
                // What comes to a slow bot is not timed.
                if self.state.roster.behaviour(bot) != BehaviourKind::Slow {
                    stats.delivery.record_many(now.since(planned), count);
                }
            }
            Undelivered::Completion { planned, count } => stats.completion.record_many(now.since(planned), count),
        });
    }
}

/// Makes all bots say goodbye.
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
