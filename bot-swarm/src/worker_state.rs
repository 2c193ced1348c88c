//! What the bots of one worker share: its state, and what it is made from.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_rustls::rustls::ClientConfig;

use crate::agenda::Agenda;
use crate::behaviour::BehaviourKind;
use crate::census::{BotState, Census};
use crate::client;
use crate::clock::{self, Host, Nanos};
use crate::credentials::{Headers, Tokens};
use crate::crowds::Crowds;
use crate::dialect::Dialect;
use crate::endpoint::Endpoint;
use crate::ledger::{Ledger, Tally};
use crate::marker::Marker;
use crate::panics::Panics;
use crate::plan::Habits;
use crate::profile::Profile;
use crate::read_buffers::ReadBuffers;
use crate::roster::Roster;
use crate::server_clock::{OnServer, ServerClock};
use crate::stats::Stats;

/// What a worker is made from. The same for all workers of a swarm but for `index`.
#[derive(Debug, Clone)]
pub(crate) struct WorkerSetup {
    /// Which worker it is: of `workers`, each has the bots whose number leaves its index as remainder.
    pub index: u32,
    /// How many workers there are.
    pub workers: u32,
    /// Who the bots are.
    pub roster: Arc<Roster>,
    /// Where they connect.
    pub endpoint: Endpoint,
    /// How they speak.
    pub habits: Habits,
    /// When the first bot connects.
    pub start: Nanos,
    /// When bots come and go.
    pub profile: Profile,
    /// What all chance comes from.
    pub seed: u64,
    /// The number of the process run, in markers and ids.
    pub run: u32,
    /// The host that they are on.
    pub host: Host,
    /// How the server speaks.
    pub dialect: Dialect,
    /// How many messages each bot has sent to a server that numbers nothing; shared by all workers.
    pub said: Arc<[AtomicU32]>,
    /// Messages that such a server refused or may never have had, by sender and number; of all workers.
    pub unpromised: Arc<Mutex<Vec<(u32, u32)>>>,
    /// How many bots are to be in each room; shared by all workers.
    pub crowds: Crowds,
    /// Whom they believe where a server speaks TLS.
    pub tls: Option<Arc<ClientConfig>>,
    /// By which they show who they are.
    pub tokens: Tokens,
    /// What they send with every connection.
    pub headers: Headers,
    /// Where the panics of their threads are counted.
    pub panics: Arc<Panics>,
}

/// What the bots of one worker share.
pub(crate) struct WorkerState {
    pub(crate) client: awc::Client,
    pub(crate) read_buffers: Rc<ReadBuffers>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) endpoint: Endpoint,
    pub(crate) habits: Habits,
    pub(crate) seed: u64,
    pub(crate) run: u32,
    pub(crate) host: Host,
    pub(crate) server_clock: RefCell<ServerClock>,
    /// The bot that asks the server for its time; `None`: nobody does.
    pub(crate) timekeeper: Cell<Option<u32>>,
    /// When it asks next.
    pub(crate) asks_time_at: Cell<Nanos>,
    pub(crate) dialect: Dialect,
    pub(crate) said: Arc<[AtomicU32]>,
    pub(crate) unpromised: Arc<Mutex<Vec<(u32, u32)>>>,
    pub(crate) crowds: Crowds,
    pub(crate) tokens: Tokens,
    pub(crate) headers: Headers,
    pub(crate) agenda: Agenda,
    pub(crate) ledger: RefCell<Ledger>,
    pub(crate) stats: RefCell<Stats>,
    /// Since when the bots say nothing new.
    pub(crate) quiet_since: Cell<Option<Nanos>>,
    /// Until when the bots may send what was due before.
    pub(crate) says_until: Cell<Option<Nanos>>,
    /// Messages that were sent and not answered.
    pub(crate) unanswered: Cell<u64>,
    /// Messages that the server refused for the moment, and that are still to be sent again.
    pub(crate) deferred: Cell<u64>,
    /// Messages that were due before the bots fell silent, and are still to be sent.
    pub(crate) left_to_say: Cell<u64>,
    /// Bots that have yet to count what they have left to say, or gave up.
    pub(crate) answers_due: Cell<u64>,
    /// Connections that are open.
    pub(crate) open_links: Cell<u64>,
    /// Whether the run is over, and the bots only say goodbye: all at once, which is nothing to measure.
    pub(crate) is_over: Cell<bool>,
    pub(crate) census: Cell<Census>,
    /// Processor time of the thread when an interval was taken last.
    pub(crate) cpu_taken: Cell<Duration>,
    /// What the ledger had found when its books were closed.
    pub(crate) closed: Cell<Option<Tally>>,
    workers: u32,
}

impl WorkerState {
    /// The state of a worker that begins. To be made on the worker's thread.
    pub(crate) fn new(setup: WorkerSetup) -> Self {
        Self {
            client: client::client(setup.tls),
            read_buffers: Rc::default(),
            roster: setup.roster,
            endpoint: setup.endpoint,
            habits: setup.habits,
            seed: setup.seed,
            run: setup.run,
            host: setup.host,
            server_clock: RefCell::default(),
            timekeeper: Cell::default(),
            asks_time_at: Cell::default(),
            dialect: setup.dialect,
            said: setup.said,
            unpromised: setup.unpromised,
            crowds: setup.crowds,
            tokens: setup.tokens,
            headers: setup.headers,
            agenda: Agenda::default(),
            ledger: RefCell::new(Ledger::new(setup.run, setup.dialect.audience())),
            stats: RefCell::default(),
            quiet_since: Cell::new(None),
            says_until: Cell::new(None),
            unanswered: Cell::new(0),
            deferred: Cell::new(0),
            left_to_say: Cell::new(0),
            answers_due: Cell::new(0),
            open_links: Cell::new(0),
            is_over: Cell::new(false),
            census: Cell::default(),
            cpu_taken: Cell::new(clock::thread_cpu()),
            closed: Cell::default(),
            workers: setup.workers,
        }
    }

    /// How many messages a bot has sent to a server that numbers nothing.
    pub(crate) fn said_by(&self, bot: u32) -> u32 {
        self.said.get(bot as usize).map_or(0, |said| said.load(Relaxed))
    }

    /// A message was refused, or may never have come to the server: nobody is to be blamed where it does not come.
    pub(crate) fn promises_no_more(&self, sender: u32, number: u32) {
        self.unpromised.lock().unwrap_or_else(PoisonError::into_inner).push((sender, number));
    }

    /// A bot's place in its worker.
    pub(crate) fn place_of(&self, bot: u32) -> u32 {
        bot / self.workers
    }

    /// A new bot waits for its time.
    pub(crate) fn add_to_census(&self, behaviour: BehaviourKind) {
        let mut census = self.census.get();
        census.add(behaviour);
        self.census.set(census);
    }

    /// A bot's state changes.
    pub(crate) fn change_in_census(&self, behaviour: BehaviourKind, from: BotState, to: BotState) {
        let mut census = self.census.get();
        census.change(behaviour, from, to);
        self.census.set(census);
    }

    /// A bot has counted what it has left to say, or gave up.
    pub(crate) fn has_answered(&self) {
        self.answers_due.set(self.answers_due.get().saturating_sub(1));
    }

    /// What the ledger has found so far; in the end, what it had found when its books were closed.
    pub(crate) fn findings(&self) -> Tally {
        self.closed.get().unwrap_or_else(|| self.ledger.borrow().findings())
    }

    /// Whether the planned time in a marker is of a clock that is also this process'.
    pub(crate) fn has_our_clock(&self, marker: &Marker) -> bool {
        marker.run == self.run || (self.host.tag() != 0 && marker.host == self.host.tag())
    }

    /// The present.
    pub(crate) fn now(&self) -> Nanos {
        self.host.now()
    }

    /// A time on the server's clock, as far as that is known.
    pub(crate) fn on_server(&self, time: Nanos) -> Option<OnServer> {
        self.server_clock.borrow().at(time)
    }
}
