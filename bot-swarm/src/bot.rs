//! A bot: one actor with one connection, which comes back when it is lost.
//!
//! The bot speaks by its [`Plan`], awaits the answers to a bounded number of messages, and reads without pause. It
//! owns no timer: everything that is to happen at a time is an [`Errand`] that its worker's ticker brings.

mod accounts;
mod catching_up;
mod connecting;
mod events;
mod in_flight;
mod link;
mod moves;
mod plain;
mod reading;
mod socket;
mod timekeeping;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, Message};
use awc::ws;
use starling_protocol::{ClientCommand, ClientId, ClientKey, CommandFrame, MessageId, PostMessage, Target, codec};

use crate::agenda::{Appointment, Errand};
use crate::backoff::Backoff;
use crate::behaviour::{Behaviour, BehaviourKind, Move, Talk};
use crate::census::BotState;
use crate::clock::Nanos;
use crate::marker::{MarkedTarget, Marker};
use crate::plan::Plan;
use crate::worker_state::WorkerState;
use in_flight::{Addressee, InFlight, Outgoing};
use link::Link;
use reading::Reading;

/// How long a bot pauses that was refused without being told for how long.
const PAUSE_DEFAULT: Duration = Duration::from_secs(1);

/// How long a bot that is not wanted any more awaits the answers to its messages.
const PART_AFTER: Duration = Duration::from_secs(2);

/// The room that a bot visits beside its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visit {
    /// None.
    None,
    /// It has asked to come in.
    Asked(u32),
    /// It is in.
    In(u32),
}

/// One bot.
pub(crate) struct Bot {
    number: u32,
    name: ClientId,
    kind: BehaviourKind,
    behaviour: Box<dyn Behaviour>,
    state: BotState,
    /// Whether the profile wants it at the moment.
    is_wanted: bool,
    /// When the profile wanted it to go, while it awaits the answers to its messages.
    departs_at: Option<Nanos>,
    /// Messages of the plan that are counted in `WorkerState::left_to_say`.
    left_to_say: u64,
    /// Whether it lost its connection since it was welcomed last.
    was_cut_off: bool,
    /// What its behaviour does next, and when.
    next_move: Option<(Nanos, Move)>,
    /// The room that it visits, or has asked to visit.
    visit: Visit,
    /// When it is to be back from a rest; what came before it could have had is timed from then.
    back_at: Nanos,
    /// When it lost its connection, or was to be back, until it has been told what it missed.
    missed_since: Option<Nanos>,
    room: u32,
    worker: Rc<WorkerState>,
    rng: fastrand::Rng,
    plan: Option<Plan>,
    link: Link,
    backoff: Backoff,
    home: Reading,
    inbox: Reading,
    /// When it was to connect first, until it is connected.
    awaited_since: Option<Nanos>,
    key: Option<ClientKey>,
    /// Which of the servers it connects to, counted round and round.
    server: u32,
    /// Whether it was connected before.
    has_been_here: bool,
    /// Where the server does not say so: since when the bot has a right to everything.
    listens_at: Option<Nanos>,
    in_flight: InFlight,
    /// Messages whose connection was lost before their answer, at a server that would take them twice: not done.
    in_doubt: Vec<Outgoing>,
    /// Refused for the moment; sent again before anything new.
    postponed: VecDeque<Outgoing>,
    /// The parts of a frame that the server sent in several.
    parts: Vec<u8>,
    /// What came of a packet that is not whole, where a protocol's packets need not end with a frame.
    unheard: Vec<u8>,
    paused_until: Nanos,
    /// The earliest appointment to speak that is entered and has not come.
    speaks_at: Option<Nanos>,
    room_number: u32,
    friend_numbers: Box<[u32]>,
}

/// Tells a bot what it has to do now. Sent by the ticker of its worker alone.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
struct RunErrand(Appointment);

/// The ticker's hold of a bot.
pub(crate) struct BotHandle(Addr<Bot>);

/// The bot has as many messages waiting as its mailbox takes; try again.
#[derive(Debug)]
pub(crate) struct MailboxFull;

impl BotHandle {
    /// Brings an appointment whose time has come.
    ///
    /// # Errors
    /// [`MailboxFull`]; the mailbox is bounded, and this hold is the only one.
    pub(crate) fn bring(&self, appointment: Appointment) -> Result<(), MailboxFull> {
        match self.0.try_send(RunErrand(appointment)) {
            // A bot ends with its worker only; nobody misses the errand then.
            Ok(()) | Err(actix::prelude::SendError::Closed(_)) => Ok(()),
            Err(actix::prelude::SendError::Full(_)) => Err(MailboxFull),
        }
    }
}

impl Bot {
    /// Starts a bot that waits for its first errand.
    pub(crate) fn start(number: u32, worker: Rc<WorkerState>) -> BotHandle {
        let room = worker.roster.room_of(number);
        let kind = worker.roster.behaviour(number);
        let behaviour = kind.begin();
        worker.add_to_census(kind);
        let friends = if behaviour.talk() == Talk::Friends { worker.roster.friends() } else { 0 };
        let bot = Self {
            number,
            name: worker.roster.name(number),
            kind,
            behaviour,
            state: BotState::Waiting,
            is_wanted: false,
            departs_at: None,
            left_to_say: 0,
            was_cut_off: false,
            next_move: None,
            visit: Visit::None,
            back_at: Nanos::default(),
            missed_since: None,
            room,
            rng: fastrand::Rng::with_seed(worker.seed ^ u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            plan: None,
            link: Link::Down,
            backoff: Backoff::default(),
            home: Reading::default(),
            inbox: Reading::default(),
            awaited_since: None,
            key: None,
            server: number,
            has_been_here: false,
            listens_at: None,
            in_flight: InFlight::default(),
            in_doubt: Vec::new(),
            postponed: VecDeque::new(),
            parts: Vec::new(),
            unheard: Vec::new(),
            paused_until: Nanos::default(),
            speaks_at: None,
            room_number: 0,
            friend_numbers: vec![0; friends as usize].into(),
            worker,
        };
        BotHandle(Actor::start(bot))
    }

    fn enter(&self, due: Nanos, errand: Errand) {
        self.worker.agenda.enter(Appointment { due, bot: self.worker.place_of(self.number), errand });
    }

    fn enter_state(&mut self, state: BotState) {
        self.worker.change_in_census(self.kind, self.state, state);
        self.state = state;
    }

    fn error(&self, kind: &str) {
        self.worker.stats.borrow_mut().error(kind);
    }

    /// Sends what is due, as far as connection, server and window allow. Called whenever one of them may have changed.
    pub(crate) fn speak(&mut self) {
        let now = self.worker.now();
        if !self.link.is_up() {
            return;
        }
        if now < self.paused_until {
            return self.speak_at(self.paused_until);
        }
        self.ask_for_missed();
        while !self.in_flight.is_full() && self.link.has_room() {
            if let Some(message) = self.postponed.pop_front() {
                self.send(message.to, message.planned, message.bytes);
                continue;
            }
            if self.worker.says_until.get().is_some_and(|until| now >= until) {
                return;
            }
            let (end, is_closing) = (self.plan_end(now), self.is_closing());
            let Some(plan) = &mut self.plan else { return };
            let Some(planned) = plan.take(end, &mut self.rng) else {
                let due = plan.due();
                return if is_closing { self.has_less_to_say(true) } else { self.speak_at(due) };
            };
            self.has_less_to_say(false);
            let mut stats = self.worker.stats.borrow_mut();
            stats.counters.sent += 1;
            // Who ignores limits has itself to blame for what takes long.
            let planned = if self.behaviour.ignores_limits() {
                Nanos::UNPLANNED
            } else {
                stats.lateness.record(now.since(planned));
                planned
            };
            drop(stats);
            self.worker.unanswered.set(self.worker.unanswered.get() + 1);
            let friends = u32::try_from(self.friend_numbers.len()).unwrap_or_default();
            let to = if friends > 0 { Addressee::Friend(self.rng.u32(0..friends)) } else { Addressee::Room };
            let bytes = self.worker.habits.sizes.draw(&mut self.rng);
            self.send(to, planned, bytes);
        }
    }

    /// Begins to talk, if that is what it does, at the time at which it was to come.
    fn begin_plan(&mut self, came: Nanos) {
        let habits = &self.worker.habits;
        let rate = if self.behaviour.ignores_limits() { habits.flood_per_second } else { habits.messages_per_second };
        let talks = match self.behaviour.talk() {
            Talk::Silent => false,
            Talk::Room => true,
            Talk::Friends => !self.friend_numbers.is_empty(),
        };
        self.plan = talks.then(|| Plan::begin(habits.arrivals, rate, came, &mut self.rng)).flatten();
    }

    fn speak_at(&mut self, due: Nanos) {
        if self.speaks_at.is_none_or(|earliest| due < earliest) {
            self.speaks_at = Some(due);
            self.enter(due, Errand::Speak);
        }
    }

    /// Gives a message its number and sends it.
    fn send(&mut self, to: Addressee, planned: Nanos, bytes: u32) {
        let count = match to {
            Addressee::Room => Some(&mut self.room_number),
            Addressee::Friend(friend) => self.friend_numbers.get_mut(friend as usize),
        };
        let number = count.map_or(0, |count| {
            *count += 1;
            *count
        });
        let message = Outgoing { to, number, planned, bytes };
        let serial = self.in_flight.add(message);
        self.transmit(serial, message);
        if self.is_plain() {
            self.has_said(serial, &message);
        }
    }

    /// Sends everything again that is unanswered, in order and with the same `id`s.
    fn send_again(&mut self) {
        let unanswered: Vec<_> = self.in_flight.iter().collect();
        for (serial, message) in unanswered {
            self.worker.stats.borrow_mut().counters.sent_again += 1;
            self.transmit(serial, message);
        }
    }

    fn transmit(&self, serial: u64, message: Outgoing) {
        let worker = &self.worker;
        let (target, marked_target) = match message.to {
            Addressee::Room => {
                let room = worker.roster.room(self.room);
                (Target::Room(room.name.clone()), MarkedTarget::Room(room.tag))
            }
            Addressee::Friend(friend) => {
                let friend = worker.roster.friend(self.number, friend);
                (Target::Client(worker.roster.name(friend)), MarkedTarget::Bot(friend))
            }
        };
        let marker = Marker {
            host: worker.host.tag(),
            run: worker.run,
            sender: self.number,
            target: marked_target,
            number: message.number,
            planned: message.planned,
            on_server: worker.on_server(message.planned),
        };
        let text = marker.render(message.bytes as usize);
        if self.is_plain() {
            return self.transmit_plainly(serial, &text);
        }
        let text = text.into();
        let command = ClientCommand::Message(PostMessage { text, target, client_id: None });
        self.ask(Some(in_flight::message_id(worker.run, self.number, serial)), command);
    }

    fn ask(&self, id: Option<MessageId>, command: ClientCommand<'_>) {
        let frame = codec::encode_command(&CommandFrame { id, command });
        self.link.send(ws::Message::Text(frame.into()));
    }
}

impl Actor for Bot {
    type Context = Context<Self>;
}

impl Handler<RunErrand> for Bot {
    type Result = ();

    fn handle(&mut self, RunErrand(appointment): RunErrand, ctx: &mut Self::Context) {
        if !self.worker.is_over.get() {
            self.worker.stats.borrow_mut().wake_lag.record(self.worker.now().since(appointment.due));
        }
        match appointment.errand {
            Errand::Come => self.come(appointment.due, ctx),
            Errand::Connect => self.connect(ctx),
            Errand::Speak => {
                // The ticker may bring it later than it was entered for.
                if self.speaks_at.is_some_and(|earliest| earliest <= appointment.due) {
                    self.speaks_at = None;
                }
                self.speak();
            }
            Errand::CheckPulse => self.check_pulse(appointment.due, ctx),
            Errand::Listen => self.listen(appointment.due),
            Errand::AskTime => self.ask_time(appointment.due),
            Errand::Read => self.read_on(appointment.due),
            Errand::Move => self.make_move(appointment.due, ctx),
            Errand::Depart => self.depart(appointment.due, ctx),
            Errand::Part => self.part(ctx),
            Errand::Settle => self.settle(),
            Errand::GiveUp => self.give_up(),
            Errand::Leave => self.leave(ctx),
        }
    }
}
