//! Moderation: what sanctions and slow mode forbid, and what a decision of an operator does at once.
//!
//! The decisions are the same on all nodes, because they pass the log. Each node judges its own clients by them, and by
//! its own clock. Operators are exempt.

use std::time::Duration;

use starling_protocol::typed_time::time_of;
use starling_protocol::{ClientId, CloseCode, ErrorCode, Refusal, RoomName, ServerEvent, SettingsEvent};

use super::ChatState;
use crate::chat_server::command::{Decided, DecisionReply, NotDecided, NotDone, OpenRefusal};
use crate::chat_server::effect::{Answer, Effect, Turn};
use crate::chat_server::parts::cluster::Tag;
use crate::chat_server::parts::participants::Participant;
use crate::chat_server::parts::room::Room;
use crate::history::{Receipt, RoomKey};
use crate::ids::{RoomId, SessionId};
use crate::moderation::{Act, Decision, Ineffective, Measure, Row, Sanction, Subject, Target, Who};
use crate::nodes::record::{Incarnation, LogEntry};
use crate::room_settings::{RoomSettings, Writers};

impl ChatState {
    /// Whether a client may write in a room, or in private (`None`). `name`: the name that it takes with the message.
    #[inline]
    pub(super) fn check_speech(
        &self,
        session: SessionId,
        name: Option<&ClientId>,
        room: Option<RoomId>,
        turn: &Turn,
    ) -> Result<(), Refusal> {
        if self.moderation.is_idle() { Ok(()) } else { self.judge_speech(session, name, room, turn) }
    }

    #[cold]
    fn judge_speech(
        &self,
        session: SessionId,
        name: Option<&ClientId>,
        room: Option<RoomId>,
        turn: &Turn,
    ) -> Result<(), Refusal> {
        let Some(who) = self.who(session, name) else { return Ok(()) };
        self.moderation.may_speak(who, room.and_then(|room| self.name_of(room)), turn.now.unix_ms)
    }

    /// Whether a client may write in a room already, see [`Slowed`](crate::chat_server::parts::slowed::Slowed).
    #[inline]
    pub(super) fn check_pace(
        &self,
        session: SessionId,
        name: Option<&ClientId>,
        room: RoomId,
        turn: &Turn,
    ) -> Result<(), Refusal> {
        let Some(seconds) = self.slow_seconds(session, room) else { return Ok(()) };
        let name = name.or_else(|| self.participants.get(session).map(Participant::name));
        let Some(wait) = name.and_then(|name| self.slowed.wait(room, name, turn.now.at)) else { return Ok(()) };
        let text = format!("a client may write here once in {}", time_of(seconds.into()));
        let retry_after_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let refusal = Refusal::new(ErrorCode::SlowMode, text).in_room(self.name_of(room).cloned());
        Err(refusal.retry_after_ms(retry_after_ms))
    }

    /// Notes that a client has written in a room.
    #[inline]
    pub(super) fn note_pace(&mut self, session: SessionId, room: RoomId, turn: &Turn) {
        let Some(seconds) = self.slow_seconds(session, room) else { return };
        if let Some(participant) = self.participants.get(session) {
            self.slowed.note(room, participant.name(), Duration::from_secs(seconds.into()), turn.now.at);
        }
    }

    /// The settings of a room, if they differ from the default.
    #[inline]
    pub(super) fn own_settings(&self, room: RoomId) -> Option<&RoomSettings> {
        if self.moderation.has_settings() { self.moderation.own_settings(self.name_of(room)?) } else { None }
    }

    /// Whether the settings of a room let a client write there.
    #[inline]
    pub(super) fn check_writer(&self, session: SessionId, room: RoomId) -> Result<(), Refusal> {
        let Some(settings) = self.own_settings(room) else { return Ok(()) };
        if settings.writers == Writers::Everyone || self.who(session, None).is_none() {
            return Ok(());
        }
        let room = self.name_of(room).cloned();
        let name = room.as_ref().map_or("", RoomName::as_str);
        let text = format!("only operators may write in the room {name}");
        Err(Refusal::new(ErrorCode::NotAWriter, text).in_room(room))
    }

    /// Tells a session the settings of the room that it has entered by its handshake.
    pub(super) fn tell_settings(&self, session: SessionId, room: RoomId, turn: &mut Turn) {
        if let Some((settings, room)) = self.own_settings(room).zip(self.name_of(room)) {
            let settings = Box::new(settings.clone());
            let event = SettingsEvent { room: room.clone(), settings, before: None };
            turn.tell(session, ServerEvent::Settings(event));
        }
    }

    /// Tells the members of a room on this node its new settings.
    fn tell_members_settings(&self, name: &RoomName, before: RoomSettings, turn: &mut Turn) {
        let room = self.rooms.find(name.as_str()).and_then(|room| self.rooms.get(room));
        let sessions: Vec<_> = room.into_iter().flat_map(Room::members).collect();
        if !sessions.is_empty() {
            let settings = Box::new(self.moderation.settings(name).clone());
            let event = SettingsEvent { room: name.clone(), settings, before: Some(Box::new(before)) };
            turn.push(Effect::TellMany { sessions, event: Box::new(ServerEvent::Settings(event)) });
        }
    }

    /// The slow mode of a room for a client, if there is one.
    #[inline]
    fn slow_seconds(&self, session: SessionId, room: RoomId) -> Option<u32> {
        let seconds = self.own_settings(room)?.slow_seconds;
        (seconds > 0 && self.who(session, None).is_some()).then_some(seconds)
    }

    /// Whether a client may be in a room and read there.
    pub(super) fn check_presence(&self, session: SessionId, room: &RoomName, turn: &Turn) -> Result<(), Refusal> {
        let Some(who) = self.who(session, None) else { return Ok(()) };
        self.moderation.may_join(who, room, turn.now.unix_ms)
    }

    /// Whether a client that takes a name with its message may be in the room of the message under that name.
    pub(super) fn check_presence_as(
        &self,
        session: SessionId,
        name: Option<&ClientId>,
        room: RoomId,
        turn: &Turn,
    ) -> Result<(), Refusal> {
        let Some((who, room)) = name.and_then(|name| self.who(session, Some(name))).zip(self.name_of(room)) else {
            return Ok(());
        };
        self.moderation.may_join(who, room, turn.now.unix_ms)
    }

    /// Whether a client may take a name.
    pub(super) fn check_name(&self, session: SessionId, name: &ClientId, turn: &Turn) -> Result<(), Refusal> {
        let Some(who) = self.who(session, Some(name)) else { return Ok(()) };
        self.moderation.may_connect(who, turn.now.unix_ms)
    }

    /// Whether a connection may open a session with this name in its room. Without a name it gets that of a guest.
    pub(super) fn check_opening(&self, who: Who<'_>, room: &RoomName, turn: &Turn) -> Result<(), OpenRefusal> {
        let now = turn.now.unix_ms;
        let judged = self.moderation.may_connect(who, now).and_then(|()| self.moderation.may_join(who, room, now));
        judged.map_err(|refusal| OpenRefusal::Judged(Box::new(refusal)))
    }

    /// A client to judge, perhaps under another name. `None`: it is an operator, or has gone.
    pub(super) fn who<'a>(&'a self, session: SessionId, name: Option<&'a ClientId>) -> Option<Who<'a>> {
        let participant = self.participants.get(session).filter(|it| !it.is_operator())?;
        let name = Some(name.unwrap_or(participant.name()));
        Some(Who { name, address: participant.address(), rooms: participant.allowed_rooms() })
    }

    pub(super) fn name_of(&self, room: RoomId) -> Option<&RoomName> {
        self.rooms.get(room)?.key().room()
    }

    // ---- decisions

    /// Handles an operator's decision. With other nodes it holds once the log has it, otherwise at once.
    pub(super) fn decide_as_operator(&mut self, decision: Decision, reply: DecisionReply, turn: &mut Turn) {
        match &mut self.cluster {
            Some(cluster) if !cluster.is_reachable => {
                turn.reply(Answer::Decided(reply, Err(NotDone::OutOfReach.into())));
            }
            Some(cluster) => cluster.propose(LogEntry::Decide(decision), Some(Tag::Decided(reply))),
            None => self.decide_alone(decision, Some(reply), turn),
        }
    }

    /// Handles the decision of a client of the chat.
    pub(super) fn decide_in_chat(
        &mut self,
        session: SessionId,
        act: Act,
        reason: Box<str>,
        reply: DecisionReply,
        turn: &mut Turn,
    ) {
        match self.participants.get(session).filter(|it| it.is_operator()) {
            Some(operator) if !operator.operates(act.room()) => {
                turn.reply(Answer::Decided(reply, Err(NotDecided::OutsideOfToken)));
            }
            Some(operator) => {
                // The reason that the decision itself gives may tell of other places.
                if let Act::Lift(target) = &act
                    && !operator.operates(None)
                    && self.moderation.sanction(target).is_none()
                {
                    return turn.reply(Answer::Decided(reply, Err(Ineffective::NotThere(None).into())));
                }
                let by = operator.name().as_str().into();
                self.decide_as_operator(Decision { by, act, reason }, reply, turn);
            }
            None => turn.reply(Answer::Decided(reply, Err(NotDecided::NotAnOperator))),
        }
    }

    /// Records that an operator has deleted the message of another client.
    pub(super) fn record_deletion(&mut self, decision: Decision, turn: &mut Turn) {
        match &mut self.cluster {
            Some(cluster) => cluster.propose(LogEntry::Decide(decision), None),
            None => self.decide_alone(decision, None, turn),
        }
    }

    fn decide_alone(&mut self, decision: Decision, reply: Option<DecisionReply>, turn: &mut Turn) {
        let at = turn.now.unix_ms;
        match (self.decide(decision.clone(), at, turn), reply) {
            (Ok((rows, decided)), reply) => {
                let receipt = reply.map(|reply| Receipt(self.decisions.insert((reply, decided))));
                turn.push(Effect::Decided(decision));
                turn.push(Effect::KeepModeration { rows, receipt });
            }
            (Err(why), Some(reply)) => turn.reply(Answer::Decided(reply, Err(why.into()))),
            (Err(_), None) => {}
        }
    }

    /// The storage has kept a decision, or cannot at the moment.
    pub(super) fn was_kept(&mut self, receipt: Receipt, is_kept: bool, turn: &mut Turn) {
        if let Some((reply, decided)) = self.decisions.try_remove(receipt.0) {
            let outcome = if is_kept { Ok(decided) } else { Err(NotDecided::NotStored) };
            turn.reply(Answer::Decided(reply, outcome));
        }
    }

    /// A decision of a node comes from the log, with the log's time.
    pub(super) fn logged_decision(
        &mut self,
        decision: Decision,
        tag: Option<Tag>,
        (at, life): (u64, Incarnation),
        turn: &mut Turn,
    ) {
        let is_own = self.cluster.as_ref().is_some_and(|cluster| cluster.life() == life);
        let outcome = self.decide(decision.clone(), at, turn).map(|(_, decided)| decided);
        self.digest(&[u64::from(outcome.is_ok()), at]);
        if is_own && outcome.is_ok() {
            turn.push(Effect::Decided(decision));
        }
        if let Some(Tag::Decided(reply)) = tag {
            turn.reply(Answer::Decided(reply, outcome.map_err(NotDecided::from)));
        }
    }

    /// Makes a decision hold. Returns what a store has to write, and the answer.
    fn decide(&mut self, decision: Decision, at: u64, turn: &mut Turn) -> Result<(Vec<Row>, Decided), Ineffective> {
        let act = decision.act.clone();
        let before = match &act {
            Act::Set { room, .. } => Some(self.moderation.settings(room).clone()),
            Act::Impose { .. } | Act::Lift(_) | Act::Invite { .. } | Act::Uninvite { .. } | Act::Delete { .. } => None,
        };
        let rows = self.moderation.decide(decision, at)?;
        let mut decided = Decided { at, is_told: false, is_exempt: self.is_exempt(&act) };
        match act {
            Act::Impose { target, .. } if target.measure == Measure::Ban => {
                if let Some(sanction) = self.moderation.sanction(&target).cloned() {
                    self.send_out(&sanction, turn);
                }
            }
            Act::Set { room: name, change } => {
                if let Some((room, before)) = self.rooms.find(name.as_str()).zip(before) {
                    if change.slow_seconds.is_some() {
                        self.slowed.forget(room);
                    }
                    if change.retention.is_some() {
                        self.limit_history(room);
                        self.tell_limits(turn);
                    }
                    if before.newcomers_see_history && change.newcomers_see_history == Some(false) {
                        self.history_is_hidden(room, turn);
                    }
                    if before != *self.moderation.settings(&name) {
                        // Those who may not be there any more do not learn a new topic.
                        self.expel_from(&name, turn);
                        self.tell_members_settings(&name, before, turn);
                        decided.is_told = true;
                    }
                }
            }
            Act::Uninvite { room, .. } => self.expel_from(&room, turn),
            Act::Impose { .. } | Act::Lift(_) | Act::Invite { .. } | Act::Delete { .. } => {}
        }
        Ok((rows, decided))
    }

    /// Whether a decision is about the name of an operator of this node, whom no sanction stops.
    fn is_exempt(&self, act: &Act) -> bool {
        let Act::Impose { target: Target { subject: Subject::Client(name), .. }, .. } = act else { return false };
        let is_operator = |session| self.participants.get(session).is_some_and(Participant::is_operator);
        self.participants.holders(name).iter().any(|session| is_operator(*session))
    }

    /// Makes the banned clients of this node leave, from the room or from the server.
    fn send_out(&mut self, sanction: &Sanction, turn: &mut Turn) {
        let Target { subject, room, .. } = &sanction.target;
        let sessions = match subject {
            Subject::Client(name) => self.participants.holders(name).to_vec(),
            Subject::Address(address) => {
                let all = self.participants.iter().filter(|(_, it)| it.address() == *address);
                all.map(|(session, _)| session).collect()
            }
        };
        let refusal = sanction.refusal(turn.now.unix_ms);
        if refusal.until.is_some_and(|until| until <= turn.now.unix_ms) {
            // It has ended since: this node reads it from a log that is older.
            return;
        }
        for session in sessions {
            if self.who(session, None).is_none() {
                continue;
            }
            match room {
                None => {
                    turn.tell(session, ServerEvent::Error(refusal.clone()));
                    self.turn_away(session, turn);
                }
                Some(name) => {
                    if let Ok(id) = self.own_room(session, name) {
                        self.expel(session, (id, name), refusal.clone(), turn);
                    }
                }
            }
        }
    }

    /// Makes a session leave a room.
    fn expel(&mut self, session: SessionId, (id, name): (RoomId, &RoomName), refusal: Refusal, turn: &mut Turn) {
        // A `join` that waits for its anchor is answered by the refusal instead of the room's position and settings.
        let waiting = self.catching_up.take_anchored(session, id);
        let was_member = waiting.as_ref().is_none_or(|join| join.was_member);
        match waiting {
            Some(mut join) => self.conclude(&mut join.frame, Err(refusal), turn),
            None => turn.tell(session, ServerEvent::Error(refusal)),
        }
        self.go_out(session, id, turn);
        if was_member {
            turn.tell(session, ServerEvent::Left { id: None, room: name.clone() });
        }
    }

    /// Makes the clients of this node leave a room that are not invited any more.
    fn expel_from(&mut self, name: &RoomName, turn: &mut Turn) {
        let Some(id) = self.rooms.find(name.as_str()).filter(|_| self.moderation.is_private(name)) else { return };
        let members: Vec<_> = self.rooms.get(id).into_iter().flat_map(Room::members).collect();
        for session in members {
            if let Err(refusal) = self.check_presence(session, name, turn) {
                self.expel(session, (id, name), refusal, turn);
            }
        }
    }

    /// Makes a session that has another name or another token now leave the rooms where it may not be any more.
    pub(super) fn expel_where_not_allowed(&mut self, session: SessionId, turn: &mut Turn) {
        let rooms = self.participants.get(session).map_or_else(Vec::new, |participant| participant.rooms().to_vec());
        for id in rooms {
            let Some(name) = self.name_of(id).cloned() else { continue };
            if let Err(refusal) = self.check_presence(session, &name, turn) {
                self.expel(session, (id, &name), refusal, turn);
            }
        }
    }

    /// Closes the connection of a client that is banned from the server.
    pub(super) fn turn_away(&mut self, session: SessionId, turn: &mut Turn) {
        self.close_session(session, turn);
        turn.close(session, CloseCode::Banned, "banned by an operator");
    }

    /// What an operator decides with the deletion of a message in a room, if it is another client's.
    pub(super) fn deletion_to_record(
        &self,
        session: SessionId,
        message: &crate::history::StoredMessage,
    ) -> Option<Decision> {
        let participant = self.participants.get(session).filter(|it| it.is_operator())?;
        let RoomKey::Room(room) = &message.room else { return None };
        let act = Act::Delete { room: room.clone(), seq: message.seq, client_id: message.client_id.clone() };
        let is_anothers = participant.owner() != message.owner();
        is_anothers.then(|| Decision { by: participant.name().as_str().into(), act, reason: Box::default() })
    }
}
