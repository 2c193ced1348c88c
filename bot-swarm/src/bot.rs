//! A bot: one actor with one connection, which reconnects after a loss.
//!
//! The bot sends messages by its [`Plan`], awaits the answers to a bounded number of them, and reads without pause. It
//! owns no timer: an action that is due at a given time is an [`Errand`] that its worker's ticker delivers.

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
mod requests;
mod socket;
mod speech;
mod timekeeping;
mod way_back;

use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, Message};
use awc::ws;
use starling_protocol::{ClientCommand, ClientId, CommandFrame, MessageId, PostMessage, Seq, Target, codec};

use crate::agenda::{Appointment, Errand};
use crate::behaviour::{Behaviour, BehaviourKind, Move, Talk};
use crate::census::BotState;
use crate::clock::Nanos;
use crate::marker::{MarkedTarget, Marker, Names, OwnWait};
use crate::plan::Plan;
use crate::worker_state::WorkerState;
use attendance::Attendance;
use fragments::Fragments;
use in_flight::{Addressee, Outgoing, Request};
use link::Link;
use reading::Reading;
use speech::{Draft, Next, Speech};
use way_back::WayBack;

/// The pause of a refused bot if the server states none.
const PAUSE_DEFAULT: Duration = Duration::from_secs(1);

/// The time that a bot that is no longer wanted waits for answers to its messages.
const PART_AFTER: Duration = Duration::from_secs(2);

/// The room that a bot visits besides its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visit {
    None,
    /// It has asked to join.
    Asked(u32),
    In(u32),
    /// It has asked to go, and is in until the server answers.
    Leaving(u32),
}

impl Visit {
    /// The room that it is in.
    fn room(self) -> Option<u32> {
        match self {
            Self::None | Self::Asked(_) => None,
            Self::In(room) | Self::Leaving(room) => Some(room),
        }
    }
}

/// The identity of a bot. Only its name can change, because the server may assign another.
struct Identity {
    /// Its number in the swarm.
    number: u32,
    name: ClientId,
    kind: BehaviourKind,
    /// The number of its home room.
    room: u32,
}

/// The bot's own actions.
struct Conduct {
    behaviour: Box<dyn Behaviour>,
    /// The next move of its behaviour, with its time.
    next_move: Option<(Nanos, Move)>,
    /// The room that it visits or has asked to visit.
    visit: Visit,
    /// The messages that it may change.
    changeable: Changeable,
}

/// The messages that a bot may change, in its home room.
#[derive(Default)]
struct Changeable {
    /// Its newest message, if it has not deleted it.
    own: Option<(u64, Outgoing)>,
    /// The newest message of anybody.
    heard: Option<u64>,
}

/// A bot's connection, and the state for its next one.
struct Session {
    link: Link,
    way_back: WayBack,
    fragments: Fragments,
    /// With a dialect that does not say where a connection begins: the time from which the bot must receive every
    /// message.
    listens_at: Option<Nanos>,
}

/// The bot's position in each numbered stream of messages.
#[derive(Default)]
struct Readings {
    /// In its home room.
    home: Reading,
    inbox: Reading,
}

/// One bot.
pub(crate) struct Bot {
    identity: Identity,
    conduct: Conduct,
    /// Its state in the census.
    state: BotState,
    attendance: Attendance,
    speech: Speech,
    session: Session,
    reading: Readings,
    rng: fastrand::Rng,
    worker: Rc<WorkerState>,
}

/// Tells a bot to do an errand now. Only the ticker of its worker sends it.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
struct RunErrand(Appointment);

/// The ticker's handle to a bot.
pub(crate) struct BotHandle(Addr<Bot>);

/// The bot's mailbox is full; the ticker tries again.
#[derive(Debug)]
pub(crate) struct MailboxFull;

impl BotHandle {
    /// Delivers an appointment that is due.
    ///
    /// # Errors
    /// [`MailboxFull`]; the mailbox is bounded, and this is the only handle.
    pub(crate) fn bring(&self, appointment: Appointment) -> Result<(), MailboxFull> {
        match self.0.try_send(RunErrand(appointment)) {
            // A bot stops only when its worker stops; the errand does not matter then.
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
            conduct: Conduct { behaviour, next_move: None, visit: Visit::None, changeable: Changeable::default() },
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

    /// Sends the messages that are due, as far as connection, server and window allow. Called whenever one of these may
    /// have changed.
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
            if let Some(request) = self.speech.take_postponed() {
                let worker = &self.worker;
                worker.deferred.set(worker.deferred.get() - 1);
                worker.unanswered.set(worker.unanswered.get() + 1);
                worker.stats.borrow_mut().counters.sent_again += 1;
                if let Request::Message(Outgoing { to, planned, own_wait, bytes, .. }) = request {
                    self.send(Draft { to, planned, own_wait, bytes });
                } else {
                    let serial = self.speech.ask(request);
                    self.transmit(serial, request, false);
                }
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
            // A bot that ignores limits causes its own delays, so its messages are not timed.
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

    /// Begins the plan, if the bot talks, at the time at which it was due to come.
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
        self.transmit(serial, Request::Message(message), false);
        if self.is_plain() {
            self.has_said(serial, &message);
        }
    }

    /// Sends all unanswered requests again, in order and with the same `id`s.
    fn send_again(&mut self) {
        for (serial, request) in self.speech.under_way() {
            self.worker.stats.borrow_mut().counters.sent_again += 1;
            self.transmit(serial, request, true);
        }
    }

    fn transmit(&self, serial: u64, request: Request, is_again: bool) {
        let command = match request {
            Request::Message(message) => return self.transmit_message(serial, message, is_again),
            Request::Change(change) => self.change_command(change),
            Request::Read { seq, .. } => ClientCommand::Read { place: self.home_place(), seq: Seq(seq) },
            Request::Join(room) => {
                ClientCommand::Join { room: self.worker.roster.room(room).name.clone(), resume: None, presence: false }
            }
            Request::Leave(room) => ClientCommand::Leave { room: self.worker.roster.room(room).name.clone() },
        };
        self.ask(Some(in_flight::message_id(self.worker.run, self.identity.number, serial)), command);
    }

    fn transmit_message(&self, serial: u64, message: Outgoing, is_again: bool) {
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
        let marker = self.marker(message, marked_target, is_again);
        let bytes = message.bytes as usize;
        if self.is_plain() {
            return self.transmit_plainly(serial, &marker.render(bytes, Names::default()));
        }
        let to = if let Target::Client(friend) = &target { friend.as_str() } else { "" };
        let text = marker.render(bytes, Names { from: self.identity.name.as_str(), to }).into();
        let command = ClientCommand::Message(PostMessage { text, target, client_id: None, reply_to: None });
        self.ask(Some(in_flight::message_id(worker.run, self.identity.number, serial)), command);
    }

    /// The description of one of its messages.
    fn marker(&self, message: Outgoing, target: MarkedTarget, is_again: bool) -> Marker {
        let worker = &self.worker;
        Marker {
            host: worker.host.tag(),
            run: worker.run,
            sender: self.identity.number,
            target,
            number: message.number,
            planned: message.planned,
            on_server: worker.on_server(message.planned),
            own_wait: message.own_wait,
            is_again,
        }
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
