//! A worker: one thread's bots, and what they share.
//!
//! The bots of a worker share an awc client, the buffers they read into, a ledger, the statistics and one ticker.
//! Nothing is shared between workers: the swarm asks each and adds up.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::{Actor, AsyncContext as _, Context, Handler, Message, WrapFuture as _};
use actix_service::{Service as _, fn_service};
use actix_tls::connect::{ConnectError, ConnectInfo, Connection, Connector as TcpConnector};
use awc::http::Uri;
use tokio_rustls::rustls::ClientConfig;

use crate::agenda::{Agenda, Appointment, Errand};
use crate::behaviour::BehaviourKind;
use crate::bot::{Bot, BotHandle, ReadBuffers};
use crate::census::{BotState, Census};
use crate::clock::{self, Host, Nanos};
use crate::credentials::{Headers, Tokens};
use crate::crowds::Crowds;
use crate::dialect::Dialect;
use crate::endpoint::Endpoint;
use crate::ledger::private::PrivateBook;
use crate::ledger::{HighWaters, Ledger, Tally, Undelivered};
use crate::marker::Marker;
use crate::plan::Habits;
use crate::profile::Profile;
use crate::refused::TellRefusals;
use crate::roster::Roster;
use crate::server_clock::{OnServer, ServerClock};
use crate::stats::Stats;
use crate::{loop_probe, ticker};

/// How long connecting may take, the WebSocket's handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

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
    /// Messages that were sent and not answered, or have to be sent again.
    pub(crate) unanswered: Cell<u64>,
    /// Messages that were due before the bots fell silent, and are still to be sent.
    pub(crate) left_to_say: Cell<u64>,
    /// Bots that have yet to count what they have left to say, or gave up.
    answers_due: Cell<u64>,
    /// Connections that are open.
    pub(crate) open_links: Cell<u64>,
    /// Whether the run is over, and the bots only say goodbye: all at once, which is nothing to measure.
    pub(crate) is_over: Cell<bool>,
    census: Cell<Census>,
    /// Processor time of the thread when an interval was taken last.
    cpu_taken: Cell<Duration>,
    /// What the ledger had found when its books were closed.
    closed: Cell<Option<Tally>>,
    workers: u32,
}

impl WorkerState {
    fn new(setup: WorkerSetup) -> Self {
        Self {
            client: client(setup.tls),
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

    fn findings(&self) -> Tally {
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

/// The client of all bots of a worker: no limit of its own, and no delay for small frames.
fn client(tls: Option<Arc<ClientConfig>>) -> awc::Client {
    let tcp = TcpConnector::default().service();
    let undelayed = fn_service(move |info: ConnectInfo<Uri>| {
        let connecting = tcp.call(info);
        async move {
            let connection: Connection<Uri, actix_rt::net::TcpStream> = connecting.await?;
            // Without it, a second frame waits up to 40 ms for the first one's acknowledgement.
            connection.io_ref().set_nodelay(true).map_err(ConnectError::Io)?;
            Ok(connection)
        }
    });
    let connector = awc::Connector::new().connector(undelayed).limit(0);
    let connector = if let Some(tls) = tls { connector.rustls_0_23(tls) } else { connector };
    awc::Client::builder()
        .connector(connector)
        .wrap(TellRefusals)
        .timeout(CONNECT_TIMEOUT)
        .no_default_headers()
        .finish()
}

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
