//! The state that the bots of one worker share, and the data to create it.

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
use crate::dialing::Dialing;
use crate::endpoint::Endpoint;
use crate::ledger::{Ledger, Tally};
use crate::marker::Marker;
use crate::panics::Panics;
use crate::plan::Habits;
use crate::presence::Presence;
use crate::profile::Profile;
use crate::read_buffers::ReadBuffers;
use crate::roster::Roster;
use crate::server_clock::{OnServer, ServerClock};
use crate::stats::Stats;

/// The data to create a worker. It is the same for all workers of a swarm except for `index`.
#[derive(Debug, Clone)]
pub(crate) struct WorkerSetup {
    /// The index of the worker: bot numbers modulo `workers` give the index of their worker.
    pub index: u32,
    /// The number of workers.
    pub workers: u32,
    /// The bots' names, rooms and behaviours.
    pub roster: Arc<Roster>,
    /// The servers' addresses.
    pub endpoint: Endpoint,
    /// The shared settings of the bots' behaviours.
    pub habits: Habits,
    /// The start of the run.
    pub start: Nanos,
    /// The number of bots over time.
    pub profile: Profile,
    /// The seed of all random choices.
    pub seed: u64,
    /// The number of the process run, in markers and ids.
    pub run: u32,
    /// The host of the bots.
    pub host: Host,
    /// The server's protocol.
    pub dialect: Dialect,
    /// The number of messages that each bot has sent to a server that does not number them; shared by all workers.
    pub said: Arc<[AtomicU32]>,
    /// Messages that such a server refused or may never have received, by sender and number; of all workers.
    pub unpromised: Arc<Mutex<Vec<(u32, u32)>>>,
    /// The number of wanted bots in each room; shared by all workers.
    pub crowds: Crowds,
    /// The connected bots; shared by all workers.
    pub presence: Presence,
    /// The TLS settings, if a server uses TLS.
    pub tls: Option<Arc<ClientConfig>>,
    /// The bots' tokens.
    pub tokens: Tokens,
    /// Headers of every connection.
    pub headers: Headers,
    /// The counter for panics of the swarm's threads.
    pub panics: Arc<Panics>,
}

/// The shared state of the bots of one worker.
pub(crate) struct WorkerState {
    pub(crate) client: awc::Client,
    /// The connections that the client is making.
    pub(crate) dialing: Dialing,
    pub(crate) read_buffers: Rc<ReadBuffers>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) endpoint: Endpoint,
    pub(crate) habits: Habits,
    pub(crate) seed: u64,
    pub(crate) run: u32,
    pub(crate) host: Host,
    pub(crate) server_clock: RefCell<ServerClock>,
    /// The bot that asks the server for its time; `None` if there is none.
    pub(crate) timekeeper: Cell<Option<u32>>,
    /// The time of its next question.
    pub(crate) asks_time_at: Cell<Nanos>,
    pub(crate) dialect: Dialect,
    pub(crate) said: Arc<[AtomicU32]>,
    pub(crate) unpromised: Arc<Mutex<Vec<(u32, u32)>>>,
    pub(crate) crowds: Crowds,
    pub(crate) presence: Presence,
    pub(crate) tokens: Tokens,
    pub(crate) headers: Headers,
    pub(crate) agenda: Agenda,
    pub(crate) ledger: RefCell<Ledger>,
    pub(crate) stats: RefCell<Stats>,
    /// The time since which the bots plan no new messages.
    pub(crate) quiet_since: Cell<Option<Nanos>>,
    /// The time until which the bots may send messages that were due before.
    pub(crate) says_until: Cell<Option<Nanos>>,
    /// Messages that were sent and not answered.
    pub(crate) unanswered: Cell<u64>,
    /// Messages that the server refused temporarily, and that are still to be sent again.
    pub(crate) deferred: Cell<u64>,
    /// Messages that were due before the swarm became quiet, and are still to be sent.
    pub(crate) left_to_say: Cell<u64>,
    /// Bots that have not finished the last errand for all bots.
    pub(crate) answers_due: Cell<u64>,
    /// Connections that are open.
    pub(crate) open_links: Cell<u64>,
    /// Whether the run is over and the bots only close their connections: all at once, so nothing is measured.
    pub(crate) is_over: Cell<bool>,
    pub(crate) census: Cell<Census>,
    /// Processor time of the thread when the last interval was taken.
    pub(crate) cpu_taken: Cell<Duration>,
    /// The ledger's findings when it was closed.
    pub(crate) closed: Cell<Option<Tally>>,
    workers: u32,
}

impl WorkerState {
    /// The state of a new worker. Must be created on the worker's thread.
    pub(crate) fn new(setup: WorkerSetup) -> Self {
        let dialing = Dialing::default();
        Self {
            client: client::client(setup.tls, dialing.clone()),
            dialing,
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
            presence: setup.presence,
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

    /// The number of messages that a bot has sent to a server that does not number them.
    pub(crate) fn said_by(&self, bot: u32) -> u32 {
        self.said.get(bot as usize).map_or(0, |said| said.load(Relaxed))
    }

    /// Notes a message that was refused or may never have reached the server: it is not expected anywhere.
    pub(crate) fn promises_no_more(&self, sender: u32, number: u32) {
        self.unpromised.lock().unwrap_or_else(PoisonError::into_inner).push((sender, number));
    }

    /// A bot's index in its worker.
    pub(crate) fn place_of(&self, bot: u32) -> u32 {
        bot / self.workers
    }

    /// Adds a new bot, in state `Waiting`.
    pub(crate) fn add_to_census(&self, behaviour: BehaviourKind) {
        let mut census = self.census.get();
        census.add(behaviour);
        self.census.set(census);
    }

    /// Moves a bot from one state to another.
    pub(crate) fn change_in_census(&self, behaviour: BehaviourKind, from: BotState, to: BotState) {
        let mut census = self.census.get();
        census.change(behaviour, from, to);
        self.census.set(census);
    }

    /// Notes that a bot has finished the errand for all bots.
    pub(crate) fn has_answered(&self) {
        self.answers_due.set(self.answers_due.get().saturating_sub(1));
    }

    /// The ledger's findings so far; after its closing, the final ones.
    pub(crate) fn findings(&self) -> Tally {
        self.closed.get().unwrap_or_else(|| self.ledger.borrow().findings())
    }

    /// Whether the planned time in a marker is by the clock of this process's host.
    pub(crate) fn has_our_clock(&self, marker: &Marker) -> bool {
        marker.run == self.run || (self.host.tag() != 0 && marker.host == self.host.tag())
    }

    /// The current time.
    pub(crate) fn now(&self) -> Nanos {
        self.host.now()
    }

    /// A time on the server's clock, if known.
    pub(crate) fn on_server(&self, time: Nanos) -> Option<OnServer> {
        self.server_clock.borrow().at(time)
    }
}
