//! A bot: one actor with one connection, which comes back when it is lost.
//!
//! The bot speaks by its [`Plan`], awaits the answers to a bounded number of messages, and reads without pause. It
//! owns no timer: everything that is to happen at a time is an [`Errand`] that its worker's ticker brings.

mod accounts;
mod attendance;
mod catching_up;
mod connecting;
mod events;
mod fragments;
mod in_flight;
mod link;
mod moves;
mod plain;
mod reading;
mod socket;
mod speech;
mod timekeeping;
mod way_back;

use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, Message};
use awc::ws;
use starling_protocol::{ClientCommand, ClientId, CommandFrame, MessageId, PostMessage, Target, codec};

use crate::agenda::{Appointment, Errand};
use crate::behaviour::{Behaviour, BehaviourKind, Move, Talk};
use crate::census::BotState;
use crate::clock::Nanos;
use crate::marker::{MarkedTarget, Marker, Names, OwnWait};
use crate::plan::Plan;
use crate::worker_state::WorkerState;
use attendance::Attendance;
use fragments::Fragments;
use in_flight::{Addressee, Outgoing};
use link::Link;
use reading::Reading;
use speech::{Draft, Next, Speech};
use way_back::WayBack;

/// How long a bot pauses that was refused without being told for how long.
const PAUSE_DEFAULT: Duration = Duration::from_secs(1);

/// How long a bot that is not wanted any more awaits the answers to its messages.
const PART_AFTER: Duration = Duration::from_secs(2);

/// The room that a bot visits beside its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visit {
    None,
    /// It has asked to come in.
    Asked(u32),
    In(u32),
}

/// Who a bot is. But for its name, which the server has the last word on, none of it changes.
struct Identity {
    /// Its number in its swarm.
    number: u32,
    name: ClientId,
    kind: BehaviourKind,
    /// The number of the room that it is at home in.
    room: u32,
}

/// What a bot does of its own accord.
struct Conduct {
    behaviour: Box<dyn Behaviour>,
    /// What its behaviour does next, and when.
    next_move: Option<(Nanos, Move)>,
    /// The room that it visits, or has asked to visit.
    visit: Visit,
}

/// A bot's connection, and the way to its next one.
struct Session {
    link: Link,
    way_back: WayBack,
    fragments: Fragments,
    /// Where the server does not say so: since when the bot has a right to everything.
    listens_at: Option<Nanos>,
}

/// How far a bot is with all that the server numbers.
#[derive(Default)]
struct Readings {
    /// With the room that it is at home in.
    home: Reading,
    inbox: Reading,
}

/// One bot.
pub(crate) struct Bot {
    identity: Identity,
    conduct: Conduct,
    /// As what it counts in the census.
    state: BotState,
    attendance: Attendance,
    speech: Speech,
    session: Session,
    reading: Readings,
    rng: fastrand::Rng,
    worker: Rc<WorkerState>,
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
            identity: Identity { number, name: worker.roster.name(number), kind, room },
            conduct: Conduct { behaviour, next_move: None, visit: Visit::None },
            state: BotState::Waiting,
            attendance: Attendance::default(),
            speech: Speech::new(friends),
            session: Session {
                link: Link::Down,
                way_back: WayBack::to(number),
                fragments: Fragments::default(),
                listens_at: None,
            },
            reading: Readings::default(),
            rng: fastrand::Rng::with_seed(worker.seed ^ u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            worker,
        };
        BotHandle(Actor::start(bot))
    }

    fn enter(&self, due: Nanos, errand: Errand) {
        self.worker.agenda.enter(Appointment { due, bot: self.worker.place_of(self.identity.number), errand });
    }

    fn enter_state(&mut self, state: BotState) {
        self.worker.change_in_census(self.identity.kind, self.state, state);
        self.state = state;
    }

    fn error(&self, kind: &str) {
        self.worker.stats.borrow_mut().error(kind);
    }

    /// Sends what is due, as far as connection, server and window allow. Called whenever one of them may have changed.
    pub(crate) fn speak(&mut self) {
        let now = self.worker.now();
        if !self.session.link.is_up() {
            return;
        }
        if let Some(until) = self.speech.pauses_until(now) {
            return self.speak_at(until);
        }
        self.ask_for_missed();
        while self.speech.may_begin() && self.session.link.has_room() {
            if let Some(message) = self.speech.take_postponed() {
                let worker = &self.worker;
                worker.deferred.set(worker.deferred.get() - 1);
                worker.unanswered.set(worker.unanswered.get() + 1);
                worker.stats.borrow_mut().counters.sent_again += 1;
                let Outgoing { to, planned, own_wait, bytes, .. } = message;
                self.send(Draft { to, planned, own_wait, bytes });
                continue;
            }
            if self.worker.says_until.get().is_some_and(|until| now >= until) {
                return;
            }
            let planned = match self.speech.next(self.plan_end(now), &mut self.rng) {
                Next::Message(planned) => planned,
                Next::NotBefore(_) if self.is_closing() => return self.has_less_to_say(true),
                Next::NotBefore(due) => return self.speak_at(due),
                Next::Nothing => return,
            };
            self.has_less_to_say(false);
            let mut stats = self.worker.stats.borrow_mut();
            stats.counters.sent += 1;
            // Who ignores limits has itself to blame for what takes long.
            let (planned, own_wait) = if self.conduct.behaviour.ignores_limits() {
                (Nanos::UNPLANNED, OwnWait::default())
            } else {
                let own_wait = self.attendance.own_wait(planned);
                stats.lateness.record(now.since(planned).saturating_sub(own_wait));
                (planned, OwnWait::default().and(own_wait))
            };
            drop(stats);
            self.worker.unanswered.set(self.worker.unanswered.get() + 1);
            let friends = self.speech.friends();
            let to = if friends > 0 { Addressee::Friend(self.rng.u32(0..friends)) } else { Addressee::Room };
            let bytes = self.worker.habits.sizes.draw(&mut self.rng);
            self.send(Draft { to, planned, own_wait, bytes });
        }
    }

    /// Begins to talk, if that is what it does, at the time at which it was to come.
    fn begin_plan(&mut self, came: Nanos) {
        let habits = &self.worker.habits;
        let rate =
            if self.conduct.behaviour.ignores_limits() { habits.flood_per_second } else { habits.messages_per_second };
        let talks = match self.conduct.behaviour.talk() {
            Talk::Silent => false,
            Talk::Room => true,
            Talk::Friends => self.speech.friends() > 0,
        };
        let plan = talks.then(|| Plan::begin(habits.arrivals, rate, came, &mut self.rng)).flatten();
        self.speech.follow(plan);
    }

    fn speak_at(&mut self, due: Nanos) {
        if self.speech.appoint(due) {
            self.enter(due, Errand::Speak);
        }
    }

    /// Gives a message its number and sends it.
    fn send(&mut self, draft: Draft) {
        let (serial, message) = self.speech.begin(draft);
        self.transmit(serial, message);
        if self.is_plain() {
            self.has_said(serial, &message);
        }
    }

    /// Sends everything again that is unanswered, in order and with the same `id`s.
    fn send_again(&mut self) {
        for (serial, message) in self.speech.under_way() {
            self.worker.stats.borrow_mut().counters.sent_again += 1;
            self.transmit(serial, message);
        }
    }

    fn transmit(&self, serial: u64, message: Outgoing) {
        let worker = &self.worker;
        let (target, marked_target) = match message.to {
            Addressee::Room => {
                let room = worker.roster.room(self.identity.room);
                (Target::Room(room.name.clone()), MarkedTarget::Room(room.tag))
            }
            Addressee::Friend(friend) => {
                let friend = worker.roster.friend(self.identity.number, friend);
                (Target::Client(worker.roster.name(friend)), MarkedTarget::Bot(friend))
            }
        };
        let marker = Marker {
            host: worker.host.tag(),
            run: worker.run,
            sender: self.identity.number,
            target: marked_target,
            number: message.number,
            planned: message.planned,
            on_server: worker.on_server(message.planned),
            own_wait: message.own_wait,
        };
        let bytes = message.bytes as usize;
        if self.is_plain() {
            return self.transmit_plainly(serial, &marker.render(bytes, Names::default()));
        }
        let to = if let Target::Client(friend) = &target { friend.as_str() } else { "" };
        let text = marker.render(bytes, Names { from: self.identity.name.as_str(), to }).into();
        let command = ClientCommand::Message(PostMessage { text, target, client_id: None });
        self.ask(Some(in_flight::message_id(worker.run, self.identity.number, serial)), command);
    }

    fn ask(&self, id: Option<MessageId>, command: ClientCommand<'_>) {
        let frame = codec::encode_command(&CommandFrame { id, command });
        self.session.link.send(ws::Message::Text(frame.into()));
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
                self.speech.appointment_came(appointment.due);
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
