//! Messages: accepted, given to the log, and delivered when the log returns them.
//!
//! Accepting a message decides whether this client may send it there. Placing a message assigns its `seq`, once the log
//! has committed it.

use smallvec::SmallVec;
use starling_protocol::{
    Ack, ClientId, ErrorCode, MessageId, PostMessage, Refusal, RoomName, Seq, ServerEvent, Target,
};

use super::{ChatState, Direct};
use crate::chat_server::command::{Frame, NotDone, OperatorPost, PostReply, Posted};
use crate::chat_server::effect::{Answer, Effect, Turn};
use crate::chat_server::parts::cluster::Tag;
use crate::chat_server::parts::in_flight::{Asker, MessageInFlight};
use crate::chat_server::parts::order::{LoggedEntry, Placed, Placement};
use crate::chat_server::parts::participants::Participant;
use crate::chat_server::parts::remembered::IdKey;
use crate::clock::{Instant, Now};
use crate::credits::Ticket;
use crate::history::{Content, Draft, Entry, EntryCopy, EntryNumber, RoomKey, StoredCopy};
use crate::identity::IdOwner;
use crate::ids::{RoomId, SessionId};
use crate::nodes::record::{LogEntry, LoggedMessage};

/// A message that the rules allow.
#[derive(Debug)]
struct Accepted {
    owner: IdOwner,
    id: Option<IdKey>,
    outcome: Outcome,
}

/// The destination of an accepted message.
#[derive(Debug)]
enum Outcome {
    ToRoom(RoomId),
    /// Stored in the inbox of the receiver, and in that of the sender.
    ToInbox(RoomId, ClientId),
    /// Delivered to the connections of a client, but not stored.
    ToClient(ClientId),
    /// Not sent again: a message with the same `id` was accepted before.
    Repeated(Earlier),
}

/// The earlier message with the same `id`.
#[derive(Debug, Clone)]
pub(super) enum Earlier {
    /// It is in flight: the log has not returned it yet.
    InFlight(EntryNumber),
    Placed(Placed),
    /// It was private and was not stored.
    Direct(Direct),
}

/// A message or a change that the rules allow, for the log.
#[derive(Debug)]
pub(super) struct Said {
    /// The copy for a room, or for the other client's inbox.
    pub(super) draft: Draft,
    /// The message that the copy for the client's own inbox is about.
    pub(super) first_about: Option<Seq>,
    /// The newest entry of the first place when it was judged.
    pub(super) as_of: Seq,
}

impl Said {
    /// A message that depends on no other one.
    fn message(draft: Draft) -> Self {
        Self { draft, first_about: None, as_of: Seq(0) }
    }

    /// The copy for the client's own inbox.
    fn first(&self) -> Draft {
        let content = self.draft.content.clone().about(self.first_about);
        Draft { content, ..self.draft.clone() }
    }
}

/// The position of a stored message, for its acknowledgement.
pub(super) struct Stored<'a> {
    pub(super) room: &'a RoomKey,
    pub(super) to: Option<&'a ClientId>,
    pub(super) seq: Seq,
    pub(super) at: u64,
}

impl ChatState {
    /// Handles a client's message.
    pub(super) fn publish(&mut self, mut frame: Frame, post: PostMessage<'static>, turn: &mut Turn) {
        let PostMessage { text, target, client_id, reply_to } = post;
        let accepted = match self.accept(&frame, target, client_id.as_ref(), reply_to, turn) {
            Ok(accepted) => accepted,
            Err(refusal) => return self.conclude(&mut frame, Err(refusal), turn),
        };
        self.conclude(&mut frame, Ok(()), turn);
        let Accepted { owner, id, outcome } = accepted;
        if let Outcome::Repeated(earlier) = outcome {
            return self.repeat(Asker::Client(frame), earlier, turn);
        }
        let session = frame.session;
        let Some(participant) = self.participants.get(session) else { return };
        let text = text.into_owned().into_boxed_str();
        if let Outcome::ToInbox(_, to) = &outcome
            && let (Some(own), Some(_)) = (participant.inbox, reply_to)
        {
            let reply = Content::Message { text, reply_to };
            return self.read_message_of(frame, own, reply, Some(to.clone()), turn);
        }
        let ticket = frame.ticket.take().unwrap_or_else(|| Ticket::without_credit(turn.now.at));
        let draft = Draft {
            to: None,
            client_id: participant.name().clone(),
            content: Content::Message { text, reply_to },
            at: turn.now.unix_ms,
            owner: Some(owner),
            id: frame.id.clone(),
        };
        match outcome {
            Outcome::ToRoom(room) => {
                self.note_pace(session, room, turn);
                self.append(&[room], Said::message(draft), id, Asker::Client(frame), ticket, turn);
            }
            Outcome::ToInbox(inbox, to) => {
                let own = participant.inbox.filter(|own| *own != inbox);
                let draft = Draft { to: Some(to), ..draft };
                let rooms: SmallVec<[RoomId; 2]> = own.into_iter().chain([inbox]).collect();
                self.append(&rooms, Said::message(draft), id, Asker::Client(frame), ticket, turn);
            }
            Outcome::ToClient(to) => self.send_direct(frame, to, draft, id, ticket, turn),
            Outcome::Repeated(_) => debug_assert!(false, "a repetition is answered above"),
        }
    }

    /// Decides whether a client may send a message, to which destination, and under which name.
    fn accept(
        &mut self,
        frame: &Frame,
        target: Target,
        claimed: Option<&ClientId>,
        reply_to: Option<Seq>,
        turn: &mut Turn,
    ) -> Result<Accepted, Refusal> {
        let session = frame.session;
        let target = match target {
            Target::FirstRoom => Ok(self.first_room(session)?),
            Target::Room(name) => Ok(self.own_room(session, &name)?),
            Target::Client(to) => Err(to),
        };
        if let (Some(of), Ok(room)) = (reply_to, &target)
            && (of == Seq(0) || of > self.order.position(*room).seq)
        {
            return Err(no_such_message(of));
        }
        // The name is taken at the end, so that a refused message takes no name.
        let name = self.name_to_take(session, claimed)?;
        let participant = self.participants.get(session).ok_or_else(not_here)?;
        let owner = name.map_or_else(|| participant.owner(), |name| IdOwner::keyed(name, participant.key()));
        let has_inbox = participant.inbox.is_some();
        let id = frame.id.as_ref().map(|id| self.ids.key(owner, id));
        let earlier = id.and_then(|id| self.earlier(&id, Some(session), turn.now));
        let outcome = match (earlier, target) {
            (Some(earlier), _) => Outcome::Repeated(earlier),
            (None, Ok(room)) => {
                self.check_presence_as(session, name, room, turn)?;
                self.check_speech(session, name, Some(room), turn)?;
                self.check_writer(session, room)?;
                self.check_pace(session, name, room, turn)?;
                Outcome::ToRoom(room)
            }
            (None, Err(to)) => {
                self.check_speech(session, name, None, turn)?;
                let own = name.or_else(|| self.participants.get(session).map(Participant::name)).cloned();
                let own = own.ok_or_else(not_here)?;
                if has_inbox {
                    Outcome::ToInbox(self.inbox_to_write_to(&own, &to, turn)?, to)
                } else {
                    // A private message that is not stored has no number.
                    reply_to.map_or(Ok(()), |of| Err(no_such_message(of)))?;
                    self.check_receiver(&to, &own, session)?;
                    Outcome::ToClient(to)
                }
            }
        };
        if let Some(name) = name {
            self.rename(session, name, None, turn)?;
        }
        Ok(Accepted { owner, id, outcome })
    }

    pub(super) fn first_room(&self, session: SessionId) -> Result<RoomId, Refusal> {
        let first = self.participants.get(session).and_then(|participant| participant.rooms().first().copied());
        first.ok_or_else(not_here)
    }

    /// The name that a guest takes by naming itself as the sender; `None` if the sender already has that name, or if
    /// the message names no sender. Changes nothing.
    pub(super) fn name_to_take<'a>(
        &self,
        session: SessionId,
        claimed: Option<&'a ClientId>,
    ) -> Result<Option<&'a ClientId>, Refusal> {
        let Some((name, participant)) = claimed.zip(self.participants.get(session)) else { return Ok(None) };
        if participant.name() == name {
            return Ok(None);
        }
        if !participant.name().is_guest() {
            let text = format!("this connection is {}, not {name}", participant.name());
            return Err(Refusal::new(ErrorCode::ClientIdMismatch, text));
        }
        self.check_claim(session, name, None)?;
        Ok(Some(name))
    }

    /// Whether a session's message with this `id` was accepted before.
    pub(super) fn is_repeated(&mut self, session: SessionId, id: Option<&MessageId>, now: Now) -> bool {
        let Some((participant, id)) = self.participants.get(session).zip(id) else { return false };
        let id = self.ids.key(participant.owner(), id);
        self.earlier(&id, Some(session), now).is_some()
    }

    /// Finds the message that was recently accepted under this `id`, unless its room has ended since. `session` sends it
    /// now, or an operator does.
    pub(super) fn earlier(&mut self, id: &IdKey, session: Option<SessionId>, now: Now) -> Option<Earlier> {
        // With other nodes, a message that an earlier session has in flight is void if that session has lost its name.
        if let Some(number) = self.in_flight.find(id)
            && (self.cluster.is_none() || self.in_flight.session(number) == session)
        {
            return Some(Earlier::InFlight(number));
        }
        if self.cluster.is_none() {
            return self.logged_earlier(id, now.at);
        }
        // Other nodes do not perform this lookup, so it must change nothing.
        let placed = self.order.peek(id, now.at).map(Earlier::Placed);
        placed.or_else(|| self.direct_ids.peek(id, now.at).map(Earlier::Direct))
    }

    /// Finds the message that the log has returned under this `id`, unless its room has ended since. Forgets those that
    /// are too old at this moment.
    #[inline]
    pub(super) fn logged_earlier(&mut self, id: &IdKey, now: Instant) -> Option<Earlier> {
        let placed = self.order.find(id, now).map(Earlier::Placed);
        placed.or_else(|| self.direct_ids.find(id, now).map(Earlier::Direct))
    }

    /// Gives a message or a change to the log. If it has two copies, the other client's copy is the last. Returns its
    /// number in flight.
    pub(super) fn append(
        &mut self,
        rooms: &[RoomId],
        said: Said,
        id: Option<IdKey>,
        asker: Asker,
        ticket: Ticket,
        turn: &mut Turn,
    ) -> Option<EntryNumber> {
        if self.cluster.is_some() {
            return self.propose_message(rooms, said, (id, asker, ticket), turn);
        }
        let mut copies = Vec::with_capacity(rooms.len());
        let mut copy = |room: RoomId, draft| {
            let entry = self.rooms.get(room)?;
            let (key, epoch) = (entry.key().clone(), self.order.position(room).epoch);
            copies.push(EntryCopy { room, key, epoch, draft, seq: None });
            Some(())
        };
        let (last, others) = rooms.split_last()?;
        for room in others {
            copy(*room, said.first())?;
        }
        copy(*last, said.draft)?;
        for room in rooms {
            self.rooms.message_begins(*room);
        }
        let rooms = SmallVec::from_slice(rooms);
        let number = self.in_flight.begin(MessageInFlight::new(asker, id, rooms, turn.now.at, ticket));
        turn.push(Effect::Append(Entry { number, copies }));
        Some(number)
    }

    /// Handles an operator's message.
    pub(super) fn post_as_operator(&mut self, post: OperatorPost, reply: PostReply, turn: &mut Turn) {
        let OperatorPost { room, client_id, text, id } = post;
        let owner = IdOwner::operator(&client_id);
        let key = id.as_ref().map(|id| self.ids.key(owner, id));
        if let Some(earlier) = key.and_then(|key| self.earlier(&key, None, turn.now)) {
            return self.repeat(Asker::Operator(reply), earlier, turn);
        }
        if self.cluster.as_ref().is_some_and(|cluster| !cluster.is_reachable) {
            let refusal = Refusal::new(ErrorCode::Unavailable, NotDone::OutOfReach.to_string());
            return turn.reply(Answer::Posted(reply, Err(refusal)));
        }
        match self.room_to_post_to(&room, turn) {
            Ok(room) => {
                let at = turn.now.unix_ms;
                let draft = Draft { to: None, client_id, content: Content::message(text), at, owner: Some(owner), id };
                let ticket = Ticket::without_credit(turn.now.at);
                self.append(&[room], Said::message(draft), key, Asker::Operator(reply), ticket, turn);
            }
            Err(refusal) => turn.reply(Answer::Posted(reply, Err(refusal))),
        }
    }

    fn room_to_post_to(&mut self, name: &RoomName, turn: &mut Turn) -> Result<RoomId, Refusal> {
        match self.lobby_or_existing_room(name)? {
            Some(room) => Ok(room),
            None => Ok(self.find_or_make_room(name, turn)?),
        }
    }

    /// Answers a message whose `id` was accepted before.
    pub(super) fn repeat(&mut self, asker: Asker, earlier: Earlier, turn: &mut Turn) {
        match earlier {
            Earlier::InFlight(number) => self.in_flight.repeat(number, asker),
            Earlier::Placed(placed) => self.repeat_placed(asker, placed, turn),
            Earlier::Direct(Direct { to, at }) => {
                let Asker::Client(frame) = asker else { return };
                acknowledge_direct(frame, to, at, true, turn);
            }
        }
    }

    /// Answers a message whose `id` was placed before.
    fn repeat_placed(&self, asker: Asker, placed: Placed, turn: &mut Turn) {
        let Placed { room, seq, at, .. } = placed;
        let Some(entry) = self.rooms.get(room) else { return };
        let stored = Stored { room: entry.key(), to: entry.key().owner(), seq, at };
        acknowledge(asker, &stored, true, turn);
    }

    /// Writes a message into the log of all nodes. If it has two copies, the receiver's copy is the last.
    #[cold]
    fn propose_message(
        &mut self,
        rooms: &[RoomId],
        said: Said,
        (id, asker, ticket): (Option<IdKey>, Asker, Ticket),
        turn: &Turn,
    ) -> Option<EntryNumber> {
        let place = |room: &RoomId| Some((self.rooms.get(*room)?.key().clone(), self.order.position(*room).epoch));
        let places: SmallVec<[_; 2]> = rooms.iter().map(place).collect::<Option<_>>()?;
        let mut places = places.into_iter().rev();
        let last = places.next()?;
        let first = places.next();
        for room in rooms {
            self.rooms.message_begins(*room);
        }
        let rooms = SmallVec::from_slice(rooms);
        let session = if let Asker::Client(frame) = &asker { Some(frame.session.number()) } else { None };
        let number = self.in_flight.begin(MessageInFlight::new(asker, id, rooms, turn.now.at, ticket));
        let Said { draft, first_about, as_of } = said;
        let Draft { to, client_id, content, owner, id, .. } = draft;
        let message = LoggedMessage { first, last, to, session, client_id, content, first_about, as_of, owner, id };
        if let Some(cluster) = &mut self.cluster {
            cluster.propose(LogEntry::Message(message), Some(Tag::Message(number)));
        }
        Some(number)
    }

    /// Places, acknowledges and delivers a message that the log has committed.
    pub(super) fn committed(&mut self, number: EntryNumber, mut copies: SmallVec<[StoredCopy; 1]>, turn: &mut Turn) {
        let Some(message) = self.in_flight.finish(number) else { return };
        let MessageInFlight { mut asker, repeats, id, accepted_at, mut ticket, record, .. } = *message;
        // The receiver's copy is the last: it has the `id`, and the acknowledgement is about it.
        let Some(last) = copies.pop() else { return };
        for copy in copies {
            if self.place(&copy, None, accepted_at, turn).is_ok() {
                self.deliver(copy, ticket.copy_without_credit(), turn);
            }
        }
        self.keep_ticket_if_gone(&mut asker, last.room, &mut ticket);
        match self.place(&last, id, accepted_at, turn) {
            Ok(seq) => {
                if let Some(decision) = record {
                    self.record_deletion(*decision, turn);
                }
                let message = &last.message;
                let stored = Stored { room: &message.room, to: message.to.as_ref(), seq, at: message.at };
                acknowledge(asker, &stored, false, turn);
                for asker in repeats {
                    acknowledge(asker, &stored, true, turn);
                }
                self.deliver(last, ticket, turn);
            }
            Err(Placement::Duplicate(placed)) => {
                for asker in [asker].into_iter().chain(repeats) {
                    self.repeat(asker, Earlier::Placed(placed), turn);
                }
            }
            Err(_) => refuse_all(asker, repeats, ErrorCode::NoSuchRoom, "the room was dropped", turn),
        }
    }

    /// Gives the ticket of a message to its acknowledgement if its sender has left the room meanwhile: the delivery may
    /// end before the acknowledgement is there.
    pub(super) fn keep_ticket_if_gone(&self, asker: &mut Asker, room: RoomId, ticket: &mut Ticket) {
        if let Asker::Client(frame) = asker
            && !self.rooms.get(room).is_some_and(|room| room.hubs().contains(frame.session.hub()))
        {
            keep_ticket(frame, ticket);
        }
    }

    /// Places a copy of a message that the log has committed, and that was accepted at `accepted_at`.
    ///
    /// # Panics
    /// If the log has given the copy another `seq` than the order: the chat must not go on with two numberings (INV-3).
    fn place(
        &mut self,
        copy: &StoredCopy,
        id: Option<IdKey>,
        accepted_at: Instant,
        turn: &mut Turn,
    ) -> Result<Seq, Placement> {
        let entry = LoggedEntry { room: copy.room, epoch: copy.epoch, id };
        let placement = self.order.place(&entry, copy.message.at, accepted_at);
        let Placement::Placed(seq) = placement else {
            self.rooms.message_refused(copy.room);
            self.forget_if_over(copy.room, turn);
            return Err(placement);
        };
        assert_eq!(seq, copy.message.seq, "INV-3: the log and the order agree");
        self.note_deletion(copy.room, &copy.message.content, seq);
        let kept = copy.oldest.map(|oldest| self.kept_since(copy.room, oldest));
        self.rooms.message_stored(copy.room, kept);
        Ok(seq)
    }

    /// Notes the deletion of a message that was placed.
    #[inline]
    pub(super) fn note_deletion(&mut self, room: RoomId, content: &Content, seq: Seq) {
        if matches!(content, Content::Deletion { .. }) {
            self.order.note_deletion(room, seq);
        }
    }

    pub(super) fn deliver(&mut self, copy: StoredCopy, ticket: Ticket, turn: &mut Turn) {
        if let Content::Edit { of, .. } = copy.message.content
            && self.hides_history(copy.room)
        {
            return self.deliver_edit(copy, of, ticket, turn);
        }
        self.deliver_to_all(copy, ticket, turn);
    }

    pub(super) fn deliver_to_all(&mut self, copy: StoredCopy, ticket: Ticket, turn: &mut Turn) {
        let StoredCopy { room, message, .. } = copy;
        let Some(entry) = self.rooms.get(room) else { return };
        let hubs = entry.hubs();
        // Whether a connection of the inbox's owner has caught up and therefore receives this message now.
        let is_sent = entry.key().owner().is_some()
            && entry.members().any(|session| !self.catching_up.is_catching_up(session, room));
        let seq = message.seq;
        self.typing.has_written(room, &message.client_id);
        turn.push(Effect::Deliver { room, hubs, message, ticket });
        if is_sent {
            self.sent(room, seq);
        }
        self.forget_if_over(room, turn);
    }

    /// Refuses a message that the log could not commit. It gets no `seq`, and its `id` may be used again.
    pub(super) fn refused(&mut self, number: EntryNumber, turn: &mut Turn) {
        let Some(message) = self.in_flight.finish(number) else { return };
        let MessageInFlight { asker, repeats, rooms, .. } = *message;
        refuse_all(asker, repeats, ErrorCode::Unavailable, "the message could not be stored", turn);
        for room in rooms {
            self.rooms.message_refused(room);
            self.forget_if_over(room, turn);
        }
    }
}

fn not_here() -> Refusal {
    Refusal::new(ErrorCode::NotAMember, "you are in no room; join a room first")
}

/// The refusal of a change or a reply whose message is not there.
pub(super) fn no_such_message(of: Seq) -> Refusal {
    Refusal::new(ErrorCode::NoSuchMessage, format!("there is no message {of}"))
}

/// Gives the ticket of a message to its acknowledgement, because the delivery does not pass the sender's hub. The
/// connection is closed when its tickets have ended.
pub(super) fn keep_ticket(frame: &mut Frame, ticket: &mut Ticket) {
    let of_delivery = ticket.copy_without_credit();
    frame.ticket = Some(std::mem::replace(ticket, of_delivery));
}

/// Tells the sender of a private message that is not stored that it was delivered.
pub(super) fn acknowledge_direct(mut frame: Frame, to: ClientId, at: u64, duplicate: bool, turn: &mut Turn) {
    let Some(id) = frame.id.take() else { return };
    turn.answer(&mut frame, ServerEvent::Ack(Ack { id, at, room: None, seq: None, to: Some(to), duplicate }));
}

/// Tells the sender of a message that it is stored.
pub(super) fn acknowledge(asker: Asker, stored: &Stored<'_>, duplicate: bool, turn: &mut Turn) {
    let Stored { room, to, seq, at } = *stored;
    match asker {
        Asker::Client(mut frame) => {
            // A message without an `id` is acknowledged only if it fails.
            let Some(id) = frame.id.take() else { return };
            let room = room.room().cloned();
            let seq = room.is_some().then_some(seq);
            turn.answer(&mut frame, ServerEvent::Ack(Ack { id, at, room, seq, to: to.cloned(), duplicate }));
        }
        Asker::Operator(reply) => turn.reply(Answer::Posted(reply, Ok(Posted { seq, at, duplicate }))),
    }
}

pub(super) fn refuse_all(asker: Asker, repeats: Vec<Asker>, code: ErrorCode, why: &str, turn: &mut Turn) {
    for asker in [asker].into_iter().chain(repeats) {
        let refusal = Refusal::new(code, why);
        match asker {
            Asker::Client(mut frame) => turn.refuse(&mut frame, refusal),
            Asker::Operator(reply) => turn.reply(Answer::Posted(reply, Err(refusal))),
        }
    }
}
