//! With other nodes: applies the entries of the log, on every node in the same way.
//!
//! The change of the shared state depends only on the log. The effects for the clients of this node follow from that
//! change.

mod rooms;

use std::sync::Arc;

use smallvec::SmallVec;
use starling_protocol::{ClientId, CloseCode, Epoch, ErrorCode, RoomName, Seq};
use tokio::sync::oneshot;

use super::ChatState;
use super::talking::{Earlier, Stored, acknowledge, refuse_all};
use crate::chat_server::command::NotDone;
use crate::chat_server::effect::{Answer, Effect, NodeEffect, Turn};
use crate::chat_server::parts::cluster::Tag;
use crate::chat_server::parts::in_flight::{Asker, MessageInFlight};
use crate::chat_server::parts::order::{LoggedEntry, Placement};
use crate::chat_server::parts::reads::Asked;
use crate::chat_server::parts::room::Room;
use crate::clock::Instant;
use crate::credits::Ticket;
use crate::history::{Content, Entry, EntryCopy, EntryNumber, RoomKey, StoredCopy, Twin};
use crate::identity::IdOwner;
use crate::ids::{RoomId, SessionId};
use crate::nodes::heard::Heard;
use crate::nodes::known::NodeChange;
use crate::nodes::names::{Holder, Taken};
use crate::nodes::record::{Incarnation, LogEntry, LoggedMessage, Record, RecordId, RemoteSession};
use crate::nodes::replica::Admission;

/// The record that contains an entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    life: Incarnation,
    record: RecordId,
    /// The log's time, in milliseconds since the Unix epoch.
    pub(super) at: u64,
    /// The same moment on this process's clock.
    pub(super) taken_at: Instant,
}

/// Why a message of the log gets no place.
pub(super) enum NotPlaced {
    /// A message with the same `id` has one.
    Repeated(Earlier),
    /// Its session does not hold the sender's name any more, and is closed.
    NameLost,
    RoomDropped,
    /// It is an edit, and a message of its room was deleted since it was judged. The room is the first of its places.
    Outdated(RoomId, Content),
}

impl ChatState {
    /// Handles an event of the log or of another node.
    pub(super) fn heard(&mut self, heard: Heard, turn: &mut Turn) {
        match heard {
            Heard::Record { id, record } => self.logged(id, record, turn),
            Heard::Reachable(is_reachable) => {
                if let Some(cluster) = &mut self.cluster {
                    cluster.set_reachable(is_reachable, turn.now.at);
                    if is_reachable {
                        let found = cluster.found(turn.now.at).map(NodeChange::Found);
                        turn.effects.extend(found.map(|found| Effect::Node(NodeEffect::Changed(found))));
                        self.has_caught_up(turn);
                    }
                }
            }
            Heard::Begins(first) => {
                if let Some(cluster) = &mut self.cluster {
                    cluster.log_begins = first;
                }
            }
            Heard::Lost => {
                let unread = self.cluster.iter().flat_map(|cluster| cluster.unread());
                turn.effects.extend(unread.cloned().map(|record| Effect::Node(NodeEffect::Write(record))));
            }
            Heard::Typing(notice) => self.tell_typing(notice, turn),
            Heard::Alive { life, report } => {
                if let Some(cluster) = &mut self.cluster {
                    cluster.is_alive(life, report, turn.now.at);
                }
            }
        }
    }

    fn logged(&mut self, id: RecordId, record: Record, turn: &mut Turn) {
        let Some(cluster) = &mut self.cluster else { return };
        let admission = cluster.replica.read(id.position, id.at(), &record);
        cluster.has_read(&record, turn.now.at);
        if admission == Admission::Counts {
            let at = cluster.replica.at();
            let taken_at = cluster.instant(at, turn.now.at);
            let is_own = record.incarnation == cluster.life();
            let tags = if is_own { cluster.came_back(record.counter) } else { Vec::new() };
            let mut tags = tags.into_iter();
            let source = Source { life: record.incarnation, record: id, at, taken_at };
            self.order.expire(taken_at);
            self.direct_ids.expire(taken_at);
            let is_checkpoint = record.entries.contains(&LogEntry::Checkpoint);
            let dropped_for_space = self.dropped_for_space;
            for entry in record.entries {
                self.logged_entry(entry, tags.next().flatten(), source, turn);
            }
            if !is_own {
                // The node that has asked for the space counts the drop, so all nodes together count it once.
                self.dropped_for_space = dropped_for_space;
            }
            if is_checkpoint {
                self.logged_checkpoint(id, is_own, turn);
            }
        }
        turn.push(Effect::Node(NodeEffect::Applied(id)));
    }

    fn logged_entry(&mut self, entry: LogEntry, tag: Option<Tag>, source: Source, turn: &mut Turn) {
        let tag = match tag {
            Some(Tag::End(room)) => {
                self.rooms.message_refused(room);
                None
            }
            tag => tag,
        };
        match entry {
            LogEntry::Begin { node, lobby } => {
                self.tell_of(source.life, NodeChange::Joined(node), turn);
                self.open_room(&RoomKey::Room(RoomName::lobby()), lobby, source, turn);
            }
            LogEntry::Out { incarnation, counter, as_of } => {
                self.ended_life(incarnation, (counter, as_of), source, turn);
                if let Some(Tag::Left(reply)) = tag {
                    turn.reply(Answer::Left(reply));
                }
                return;
            }
            LogEntry::Message(message) => {
                let number = if let Some(Tag::Message(number)) = tag { Some(number) } else { None };
                return self.logged_message(message, number, source, turn);
            }
            LogEntry::Direct(message) => {
                let number = if let Some(Tag::Message(number)) = tag { Some(number) } else { None };
                return self.logged_direct(message, number, source, turn);
            }
            LogEntry::Open(opening) => {
                let outcome = self.logged_open(opening, source, turn);
                if let Some(Tag::Gate(session)) = tag {
                    self.gate_came_back(session, outcome, turn);
                }
                return;
            }
            LogEntry::Take { name, key, session } => {
                let session = RemoteSession { incarnation: source.life, session };
                self.take_name(&name, Holder { session, key }, false, source, turn);
            }
            LogEntry::Release { name, session } => self.logged_release(&name, session, source, turn),
            LogEntry::Enter { key, name, epoch } => self.logged_enter(&key, &name, epoch, source, turn),
            LogEntry::Leave { key, name } => {
                if let Some(room) = self.find(&key) {
                    self.set_present(room, &name, (source.life, false), source, turn);
                }
            }
            LogEntry::Make { owner, epoch, maker } => self.logged_make(&owner, &maker, epoch, source, turn),
            LogEntry::End { key, epoch, seq } => self.logged_end(&key, epoch, seq, turn),
            LogEntry::Sent { owner, epoch, seq } => {
                let inbox = self.inboxes.find(owner.as_str());
                if let Some(room) = inbox.filter(|inbox| self.order.position(*inbox).epoch == epoch) {
                    self.inboxes.was_noted(room, seq);
                    turn.push(Effect::NoteSent { room, seq });
                }
            }
            LogEntry::Remove { client_id } => {
                let count = self.cluster.as_ref().map_or(0, |cluster| cluster.names.holders(&client_id).len());
                self.remove_client(&client_id, turn);
                if let Some(Tag::Removed(reply)) = tag {
                    turn.reply(Answer::Removed(reply, Ok(count)));
                }
                return;
            }
            LogEntry::Decide(decision) => return self.logged_decision(decision, tag, (source.at, source.life), turn),
            LogEntry::Drop { key, epoch } => {
                let reply = if let Some(Tag::Dropped(reply)) = tag { Some(reply) } else { None };
                return self.logged_drop(&key, (epoch, reply), source, turn);
            }
            LogEntry::Read(read) => self.logged_read(read, turn),
            LogEntry::Arrive(arrival) => self.logged_arrival(arrival, turn),
            // It is about the state after the whole record.
            LogEntry::Checkpoint => {}
            LogEntry::Digest { at, digest } => self.logged_digest(at, digest, turn),
        }
        if let Some(Tag::Gate(session)) = tag {
            self.gate_came_back(session, Ok(()), turn);
        }
    }

    // ---- messages

    fn logged_message(&mut self, message: LoggedMessage, own: Option<EntryNumber>, source: Source, turn: &mut Turn) {
        let waiting = own.and_then(|number| self.in_flight.finish(number));
        let places: SmallVec<[_; 2]> = message.first.iter().chain([&message.last]).cloned().collect();
        let id = message.owner.zip(message.id.as_ref()).map(|(owner, id)| self.ids.key(owner, id));
        let earlier = id.and_then(|id| self.logged_earlier(&id, source.taken_at));
        let is_there =
            |(key, epoch): &(RoomKey, Epoch)| self.find(key).filter(|room| self.order.position(*room).epoch == *epoch);
        let rooms: Option<SmallVec<[RoomId; 2]>> = places.iter().map(is_there).collect();
        let may_speak = self.may_speak(&message.client_id, message.session, source);
        let rooms = match (rooms, earlier) {
            (_, Some(earlier)) => return self.not_placed(waiting, NotPlaced::Repeated(earlier), turn),
            _ if !may_speak => return self.not_placed(waiting, NotPlaced::NameLost, turn),
            (None, None) => return self.not_placed(waiting, NotPlaced::RoomDropped, turn),
            (Some(rooms), None) => rooms,
        };
        if matches!(message.content, Content::Edit { .. })
            && let Some(room) = rooms.first()
            && self.order.last_deletion(*room) > message.as_of
        {
            let (room, about) = (*room, message.first_about);
            let content = if rooms.len() == 2 { message.content.about(about) } else { message.content };
            return self.not_placed(waiting, NotPlaced::Outdated(room, content), turn);
        }
        if waiting.is_none() {
            rooms.iter().for_each(|room| self.rooms.message_begins(*room));
        }
        let (sender, first_about) = (message.client_id.clone(), message.first_about);
        let last = rooms.len().saturating_sub(1);
        let mut copies_at = SmallVec::<[(RoomId, RoomKey, Twin); 2]>::new();
        for (index, (room, (key, epoch))) in rooms.into_iter().zip(places).enumerate() {
            let entry = LoggedEntry { room, epoch, id: id.filter(|_| index == last) };
            let Placement::Placed(seq) = self.order.place(&entry, source.at, source.taken_at) else { continue };
            self.note_placed(&key, seq);
            copies_at.push((room, key, Twin { epoch, seq }));
        }
        self.digest_change(&message.content);
        let draft = message.draft(source.at);
        let twins: SmallVec<[Twin; 2]> = copies_at.iter().map(|(.., twin)| *twin).collect();
        let (mut copies, mut stored) = (Vec::with_capacity(copies_at.len()), SmallVec::<[StoredCopy; 2]>::new());
        let is_kept = self.cluster.as_ref().is_some_and(|cluster| source.record.position <= cluster.kept_upto);
        for (index, (room, key, Twin { epoch, seq })) in copies_at.into_iter().enumerate() {
            if key.owner().is_some() {
                self.inboxes.written_by(room, &sender);
            }
            self.note_deletion(room, &draft.content, seq);
            let is_stored = is_kept || self.rooms.get(room).is_some_and(|room| seq <= room.stored_upto());
            let kept = self.rooms.get(room).map(Room::kept).filter(|_| is_stored);
            self.rooms.message_stored(room, kept);
            if is_stored {
                continue;
            }
            let mut draft = draft.clone();
            if index < last {
                draft.content = draft.content.about(first_about);
            }
            let message = Arc::new(draft.clone().placed(key.clone(), seq, Twin::of(index, &twins)));
            stored.push(StoredCopy { room, epoch, message, oldest: None });
            copies.push(EntryCopy { room, key, epoch, draft, seq: Some(seq) });
        }
        if copies.is_empty() {
            // The history has it from before this process started, and nobody is here yet.
            return;
        }
        self.views += 1;
        let entry = Entry { number: EntryNumber(self.views), copies };
        let messages = stored.iter().map(|copy| Arc::clone(&copy.message)).collect();
        turn.push(Effect::Node(NodeEffect::Keep { entry, placed: messages }));
        self.show(waiting, stored, turn);
    }

    /// Adds what a change does to the digest.
    fn digest_change(&mut self, content: &Content) {
        let (kind, text) = match content {
            Content::Message { .. } => return,
            Content::Edit { text, .. } => (1, &**text),
            Content::Deletion { .. } => (2, ""),
            Content::Reaction { emoji, removed, .. } => (if *removed { 4 } else { 3 }, emoji.as_str()),
        };
        let of = content.of().map_or(0, |of| of.0);
        if let Some(cluster) = &mut self.cluster {
            cluster.digest.add(kind);
            cluster.digest.add(of);
            cluster.digest.add_text(text);
        }
    }

    /// Whether a session still holds the name under which it wrote a message. Otherwise another connection of the
    /// client has taken the name over; it may have sent the message again, and has got its outcome. An operator needs
    /// no name.
    pub(super) fn may_speak(&self, name: &ClientId, session: Option<u64>, source: Source) -> bool {
        let remote = |session| RemoteSession { incarnation: source.life, session };
        let holds = |session| self.cluster.as_ref().is_some_and(|cluster| cluster.names.holds(remote(session), name));
        session.is_none_or(holds)
    }

    /// Acknowledges a message that was placed, and delivers it to the clients of this node.
    fn show(&mut self, waiting: Option<Box<MessageInFlight>>, mut stored: SmallVec<[StoredCopy; 2]>, turn: &mut Turn) {
        let Some(last) = stored.pop() else { return };
        let of_others = || Ticket::without_credit(turn.now.at);
        let mut ticket = waiting.as_ref().map_or_else(of_others, |waiting| waiting.ticket.copy_without_credit());
        for copy in stored {
            self.deliver(copy, ticket.copy_without_credit(), turn);
        }
        if let Some(waiting) = waiting {
            let message = &last.message;
            let stored = Stored { room: &message.room, to: message.to.as_ref(), seq: message.seq, at: message.at };
            let MessageInFlight { mut asker, repeats, ticket: own, record, .. } = *waiting;
            if let Some(decision) = record {
                self.record_deletion(*decision, turn);
            }
            ticket = own;
            self.keep_ticket_if_gone(&mut asker, last.room, &mut ticket);
            acknowledge(asker, &stored, false, turn);
            for asker in repeats {
                acknowledge(asker, &stored, true, turn);
            }
        }
        self.deliver(last, ticket, turn);
    }

    /// Answers a message without a place.
    pub(super) fn not_placed(&mut self, waiting: Option<Box<MessageInFlight>>, why: NotPlaced, turn: &mut Turn) {
        self.digest(&match &why {
            NotPlaced::Repeated(Earlier::Placed(placed)) => [0, placed.seq.0],
            NotPlaced::Repeated(_) => [3, 0],
            NotPlaced::NameLost => [4, 0],
            NotPlaced::RoomDropped => [5, 0],
            NotPlaced::Outdated(..) => [6, 0],
        });
        let Some(waiting) = waiting else { return };
        let MessageInFlight { mut asker, repeats, rooms, ticket, .. } = *waiting;
        for room in rooms {
            self.rooms.message_refused(room);
            self.forget_if_over(room, turn);
        }
        match why {
            NotPlaced::Outdated(room, content) => {
                if let Asker::Client(frame) = &mut asker {
                    frame.ticket = Some(ticket);
                }
                self.judge_later(Asked { asker, repeats, room, content, to: None }, turn);
            }
            NotPlaced::Repeated(earlier) => {
                for asker in [asker].into_iter().chain(repeats) {
                    self.repeat(asker, earlier.clone(), turn);
                }
            }
            NotPlaced::NameLost => {
                refuse_all(asker, repeats, ErrorCode::Unavailable, "this connection has lost its name", turn);
            }
            NotPlaced::RoomDropped => {
                refuse_all(asker, repeats, ErrorCode::NoSuchRoom, "the room was dropped", turn);
            }
        }
    }

    fn note_placed(&mut self, key: &RoomKey, seq: Seq) {
        if let Some(cluster) = &mut self.cluster {
            cluster
                .digest
                .add_text(key.room().map_or_else(|| key.owner().map_or("", ClientId::as_str), RoomName::as_str));
            cluster.digest.add(seq.0);
        }
    }

    pub(super) fn digest(&mut self, numbers: &[u64]) {
        if let Some(cluster) = &mut self.cluster {
            for number in numbers {
                cluster.digest.add(*number);
            }
        }
    }

    // ---- names

    fn take_name(&mut self, name: &ClientId, holder: Holder, is_authenticated: bool, source: Source, turn: &mut Turn) {
        let Some(cluster) = &mut self.cluster else { return };
        let taken = cluster.names.take(name.clone(), holder, is_authenticated);
        let life = cluster.life();
        self.digest(&[u64::from(taken == Taken::Refused), holder.session.session]);
        let Taken::Granted { replaced } = taken else { return };
        if let Some(replaced) = replaced {
            self.holders_changed(name, replaced.incarnation, source, turn);
            if replaced.incarnation == life {
                self.replace(SessionId::from_number(replaced.session), turn);
            }
        }
        self.holders_changed(name, source.life, source, turn);
    }

    /// The sessions of a node that hold a name are others than before: the name is a member of the rooms that it is in on
    /// that node if there is one.
    fn holders_changed(&mut self, name: &ClientId, life: Incarnation, source: Source, turn: &mut Turn) {
        for room in self.rooms.present_in(name, life) {
            self.set_present(room, name, (life, true), source, turn);
        }
    }

    /// A session gives its name up.
    fn logged_release(&mut self, name: &ClientId, session: u64, source: Source, turn: &mut Turn) {
        let session = RemoteSession { incarnation: source.life, session };
        let freed = self.cluster.as_mut().and_then(|cluster| cluster.names.release(name, session));
        if let Some(key) = freed {
            self.forget_if_guest(IdOwner::keyed(name, key), name);
            self.holders_changed(name, source.life, source, turn);
        }
    }

    // ---- lives

    fn ended_life(&mut self, life: Incarnation, (counter, as_of): (u64, u64), source: Source, turn: &mut Turn) {
        let Some(cluster) = &mut self.cluster else { return };
        // A node that stops in order announces it itself.
        let is_in_order = source.life == life;
        let (counter, as_of) = if is_in_order { (u64::MAX, source.at) } else { (counter, as_of) };
        let has_ended = cluster.replica.end(life, counter, as_of);
        let is_own = cluster.life() == life;
        let name = cluster.replica.life(life).map_or_else(Box::default, |life| life.node.clone());
        let silence = cluster.silence(life, turn.now.at);
        let guests = if has_ended { cluster.names.release_all(life) } else { Vec::new() };
        self.digest(&[u64::from(has_ended), life.0]);
        if !has_ended {
            return;
        }
        for (name, key) in guests {
            self.forget_if_guest(IdOwner::keyed(&name, key), &name);
        }
        let change = if is_in_order { NodeChange::Left(name) } else { NodeChange::Died(name, silence) };
        self.tell_of(life, change, turn);
        for (room, name) in self.rooms.present_on(life) {
            self.set_present(room, &name, (life, false), source, turn);
        }
        if is_own && !is_in_order {
            self.begin_anew(turn);
        }
    }

    /// Tells the operator of the beginning or the end of another node's life.
    fn tell_of(&self, life: Incarnation, change: NodeChange, turn: &mut Turn) {
        if self.cluster.as_ref().is_some_and(|cluster| cluster.is_news(life)) {
            turn.push(Effect::Node(NodeEffect::Changed(change)));
        }
    }

    /// Closes all connections. The clients reconnect, here or at another node.
    pub(super) fn send_away(&mut self, turn: &mut Turn) {
        for session in self.participants.iter().map(|(session, _)| session).collect::<Vec<_>>() {
            self.close_session(session, turn);
            turn.close(session, CloseCode::GoingAway, "this node was cut off from the others");
        }
    }

    /// Announces to the other nodes that this node stops.
    pub(super) fn leave_others(&mut self, reply: oneshot::Sender<()>, turn: &mut Turn) {
        let Some(cluster) = &mut self.cluster else { return turn.reply(Answer::Left(reply)) };
        let (incarnation, as_of) = (cluster.life(), cluster.replica.at());
        cluster.propose(LogEntry::Out { incarnation, counter: u64::MAX, as_of }, Some(Tag::Left(reply)));
    }

    /// Begins a new life, because the other nodes have declared this node dead.
    fn begin_anew(&mut self, turn: &mut Turn) {
        // Messages that have not returned from the log never get a place: no record of a dead life counts.
        for message in self.in_flight.take_all() {
            let MessageInFlight { asker, repeats, rooms, .. } = *message;
            refuse_all(asker, repeats, ErrorCode::Unavailable, "this node was cut off from the others", turn);
            for room in rooms {
                self.rooms.message_refused(room);
                self.forget_if_over(room, turn);
            }
        }
        self.send_away(turn);
        self.positions.forget_fresh();
        let (life, lobby) = (Incarnation(self.numbers.draw()), Epoch(self.numbers.draw()));
        if let Some(cluster) = &mut self.cluster {
            for tag in cluster.begin_anew(life, lobby) {
                match tag {
                    Tag::End(room) => self.rooms.message_refused(room),
                    Tag::Removed(reply) => turn.reply(Answer::Removed(reply, Err(NotDone::CutOff))),
                    Tag::Dropped(reply) => turn.reply(Answer::Dropped(reply, Err(NotDone::CutOff.into()))),
                    Tag::Decided(reply) => turn.reply(Answer::Decided(reply, Err(NotDone::CutOff.into()))),
                    // The node no longer counts, which is what it asked for.
                    Tag::Left(reply) => turn.reply(Answer::Left(reply)),
                    // They are answered above, or their sessions are closed.
                    Tag::Message(_) | Tag::Gate(_) => {}
                }
            }
        }
        turn.push(Effect::Node(NodeEffect::BeginsAnew(life)));
    }
}
