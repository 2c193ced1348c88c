//! A worker: one thread's bots, and the actor that answers for them.
//!
//! The bots of a worker share an awc client, the read buffers, a ledger, the statistics and one ticker. Apart from
//! counters, nothing is shared between workers: the swarm asks each worker and adds up.

pub(crate) mod requests;

use std::rc::Rc;

use actix::{Actor, AsyncContext as _, Context, WrapFuture as _};

use crate::agenda::{Appointment, Errand};
use crate::bot::{Bot, BotHandle};
use crate::clock::Nanos;
use crate::worker_state::{WorkerSetup, WorkerState};
use crate::{loop_probe, ticker};

/// The actor that owns a thread's bots, and answers the swarm's requests.
pub(crate) struct Worker {
    setup: WorkerSetup,
    state: Rc<WorkerState>,
}

impl Worker {
    /// A worker that starts its bots as soon as it runs. Must be created on the thread that it will run on.
    pub(crate) fn new(setup: WorkerSetup) -> Self {
        setup.panics.watch();
        Self { state: Rc::new(WorkerState::new(setup.clone())), setup }
    }

    fn numbers(&self) -> impl Iterator<Item = u32> + use<> {
        (self.setup.index..self.setup.roster.count()).step_by(self.setup.workers as usize)
    }

    /// Gives every bot an errand, and expects each to report its end.
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
