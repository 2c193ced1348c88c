//! The rules of the chat: a state machine without I/O, clock or actors.
//!
//! Invariants, checked by [`ChatState::check`] in tests:
//! - a session is a member of a room exactly if the room is on the session's list;
//! - a name is held by exactly one session, and every session holds one name;
//! - the seqs of a room's messages rise by exactly one; a message is delivered and acknowledged when it is stored,
//!   never before;
//! - a session that catches up in a room is not admitted to what is delivered there until it has caught up.

mod catching_up;
mod messages;
mod names;
mod rooms;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use slab::Slab;
use smallvec::SmallVec;
use starling_protocol::{
    ClientId, ClientKey, CloseCode, MessageId, Refusal, RoomName, RoomSummary, Seq, ServerEvent, limits,
};

use super::command::{Command, Effect, Request};
use super::remembered::{Place, RememberedIds};
use crate::clock::{Now, Numbers};
use crate::config::ChatConfig;
use crate::credits::Ticket;
use crate::history::{Completion, ReadRequest, Reader, Restored, StoredId};
use crate::ids::{RoomId, SessionId};
use crate::room::Room;

/// How long a list of rooms is shown again, where there are more rooms than are listed: looking through all of them for
/// everybody who asks would take the time of those who chat.
const LISTED_FOR: Duration = Duration::from_secs(1);

/// The rooms, the names and who is where.
#[derive(Debug)]
pub struct ChatState {
    config: ChatConfig,
    numbers: Numbers,
    rooms: Slab<Room>,
    rooms_by_name: HashMap<RoomName, RoomId>,
    sessions: FxHashMap<SessionId, Member>,
    names: HashMap<ClientId, SessionId>,
    remembered: RememberedIds,
    /// Who catches up where.
    replays: FxHashMap<(SessionId, RoomId), CatchingUp>,
    /// Rooms whose `presence` waits for its second to pass.
    presence_due: Vec<RoomId>,
    /// The fullest rooms and when they were looked for, where there were more than are listed.
    fullest_rooms: Option<(Instant, Vec<RoomSummary>)>,
}

/// A session as the chat knows it.
#[derive(Debug)]
struct Member {
    client_id: ClientId,
    key: ClientKey,
    /// In the order of joining; the first is where a message goes that names no room.
    rooms: SmallVec<[RoomId; 1]>,
    watch_presence: bool,
    errors_in_a_row: u32,
}

/// How far a session has caught up in a room.
#[derive(Debug, Clone, Copy)]
struct CatchingUp {
    /// The newest message sent so far.
    after: Seq,
    /// Whether the history is being read for it; if not, what was read is being written.
    is_reading: bool,
}

impl ChatState {
    /// A chat without anybody; `seed` makes its guest names and epochs.
    pub fn new(config: ChatConfig, seed: u64) -> Self {
        let remembered = RememberedIds::new(config.ids_remembered, config.ids_max as usize);
        Self {
            config,
            numbers: Numbers::new(seed),
            rooms: Slab::new(),
            rooms_by_name: HashMap::new(),
            sessions: FxHashMap::default(),
            names: HashMap::new(),
            remembered,
            replays: FxHashMap::default(),
            presence_due: Vec::new(),
            fullest_rooms: None,
        }
    }

    /// Takes over what the history knows from before this process. Called once, before the first command.
    ///
    /// All of its rooms are there again, also where they are more than there may be made.
    pub fn restore(&mut self, restored: Restored, now: Now) {
        debug_assert!(self.rooms.is_empty(), "nothing has happened yet");
        for stored in restored.rooms {
            let mut room = Room::new(stored.name.clone(), stored.epoch, now.at);
            (room.seq, room.oldest) = (stored.seq, stored.oldest);
            let slot = self.rooms.insert(room);
            if let Ok(slot) = u32::try_from(slot) {
                self.rooms_by_name.insert(stored.name, RoomId(slot));
            }
        }
        for StoredId { room, seq, at, client_id, id } in restored.ids {
            let Some(entry) = self.rooms.get(room) else { continue };
            let Ok(room) = u32::try_from(room) else { continue };
            let age = Duration::from_millis(now.unix_ms.saturating_sub(at));
            let taken_at = now.at.checked_sub(age).unwrap_or(now.at);
            self.remembered.insert(&client_id, &id, (Place::Room(RoomId(room)), entry.epoch, seq, at), taken_at);
        }
    }

    /// Carries out one command and appends what is to be done to `effects`.
    pub fn apply(&mut self, command: Command, now: Now, effects: &mut Vec<Effect>) {
        match command {
            Command::OpenSession(open) => self.open_session(&open, now, effects),
            Command::CloseSession { session } => self.close_session(session, now, effects),
            Command::Ask { session, id, request, ticket } => self.ask(session, id, request, ticket, now, effects),
            Command::WatchPresence { session, wanted } => self.watch_presence(session, wanted),
            Command::ContinueReplay { session, room } => self.continue_replay(session, room, effects),
            Command::Completed(completion) => self.completed(completion, now, effects),
            Command::Tick => self.tick(now, effects),
        }
    }

    /// How many sessions there are.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// How many rooms there are, the empty ones that are still kept among them.
    pub fn room_count(&self) -> usize {
        self.rooms.len()
    }

    /// The rooms that have members or messages, the fullest first, and whether there are more than are listed. Then
    /// the list is up to a second old.
    pub fn list_rooms(&mut self, now: Now) -> (Vec<RoomSummary>, bool) {
        let is_fresh = |looked_at: &Instant| now.at.saturating_duration_since(*looked_at) < LISTED_FOR;
        if let Some((_, fullest)) = self.fullest_rooms.as_ref().filter(|(looked_at, _)| is_fresh(looked_at)) {
            return (fullest.clone(), true);
        }
        let shown = |room: &&Room| room.count() > 0 || room.seq > Seq(0);
        let fullest_first = |a: &&Room, b: &&Room| b.count().cmp(&a.count()).then_with(|| a.name.cmp(&b.name));
        let mut rooms: Vec<&Room> = self.rooms.iter().map(|(_, room)| room).filter(shown).collect();
        let truncated = rooms.len() > limits::ROOMS_LISTED_MAX;
        if truncated {
            rooms.select_nth_unstable_by(limits::ROOMS_LISTED_MAX - 1, fullest_first);
            rooms.truncate(limits::ROOMS_LISTED_MAX);
        }
        rooms.sort_unstable_by(fullest_first);
        let summary = |room: &Room| RoomSummary { room: room.name.clone(), count: room.count(), seq: room.seq };
        let listed: Vec<RoomSummary> = rooms.into_iter().map(summary).collect();
        self.fullest_rooms = truncated.then(|| (now.at, listed.clone()));
        (listed, truncated)
    }

    /// The room of this name, while it exists.
    pub fn find_room(&self, name: &str) -> Option<RoomId> {
        self.rooms_by_name.get(name).copied()
    }

    // ---- what clients ask

    fn ask(
        &mut self,
        session: SessionId,
        id: Option<MessageId>,
        request: Request,
        ticket: Ticket,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        // A session that was replaced or closed may still have commands on their way.
        if !self.sessions.contains_key(&session) {
            return;
        }
        let outcome = match request {
            Request::Publish { text, target, client_id } => {
                match self.accept(session, id.as_ref(), target, client_id.as_ref(), now, effects) {
                    Ok(Some((place, sender))) => {
                        self.publish(session, id.clone(), text, place, sender, ticket, now, effects);
                        return self.count_outcome(session, id, Ok(()), now, effects);
                    }
                    Ok(None) => Ok(()),
                    Err(refusal) => Err(refusal),
                }
            }
            Request::Hello { client_id, key } => self.hello(session, id.clone(), client_id.as_ref(), key, now, effects),
            Request::Join { room, resume, presence } => {
                self.join(session, id.clone(), &room, resume, presence, now, effects)
            }
            Request::Leave { room } => self.leave(session, id.clone(), &room, now, effects),
            Request::Rooms => {
                let (rooms, truncated) = self.list_rooms(now);
                effects.push(tell(session, ServerEvent::Rooms { id: id.clone(), rooms, truncated }));
                Ok(())
            }
            Request::Members { room } => self.tell_members(session, id.clone(), &room, effects),
            Request::History { room, page, limit } => {
                self.read_history(session, id.clone(), &room, page, limit, effects)
            }
            Request::Ping => {
                effects.push(tell(session, ServerEvent::Pong { id: id.clone(), at: now.unix_ms }));
                Ok(())
            }
            Request::Refused(refusal) => Err(refusal),
        };
        self.count_outcome(session, id, outcome, now, effects);
        give_to_answer(ticket, session, effects);
    }

    /// Answers a refusal, and closes a connection whose frames are only errors.
    fn count_outcome(
        &mut self,
        session: SessionId,
        id: Option<MessageId>,
        outcome: Result<(), Refusal>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(member) = self.sessions.get_mut(&session) else { return };
        let Err(refusal) = outcome else {
            member.errors_in_a_row = 0;
            return;
        };
        member.errors_in_a_row += 1;
        let is_flood = member.errors_in_a_row >= limits::ERRORS_IN_A_ROW_MAX;
        effects.push(tell(session, ServerEvent::Error(refusal.with_id(id))));
        if is_flood {
            self.close_session(session, now, effects);
            effects.push(Effect::Close { session, code: CloseCode::Policy, reason: "too many errors in a row" });
        }
    }

    fn completed(&mut self, completion: Completion, now: Now, effects: &mut Vec<Effect>) {
        match completion {
            Completion::Stored { room, seq, oldest } => self.stored(room, seq, oldest, effects),
            Completion::Failed { room, seq } => self.not_stored(room, seq, effects),
            Completion::Trimmed { room, oldest } => {
                if let Some(entry) = self.rooms.get_mut(room.0 as usize) {
                    entry.oldest = oldest;
                }
            }
            Completion::Read { request, page } => self.was_read(request, page, now, effects),
            Completion::Unread { request, error } => self.was_not_read(request, error, now, effects),
        }
    }

    // ---- time

    fn tick(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for room in std::mem::take(&mut self.presence_due) {
            self.send_presence(room, now, effects);
        }
        self.remembered.expire(now.at);
        let kept = self.config.empty_room_kept;
        let is_over = |room: &Room| {
            let empty_for = room.empty_since.map(|since| now.at.saturating_duration_since(since));
            let is_stored = self.config.history_is_stored && room.oldest <= room.seq;
            room.pending.is_empty() && !is_stored && empty_for.is_some_and(|time| time >= kept)
        };
        let over: Vec<usize> = self.rooms.iter().filter(|(_, room)| is_over(room)).map(|(slot, _)| slot).collect();
        for slot in over {
            let room = self.rooms.remove(slot);
            self.rooms_by_name.remove(&room.name);
            if let Ok(slot) = u32::try_from(slot) {
                effects.push(Effect::Forget { room: RoomId(slot) });
            }
        }
    }

    /// Panics if an invariant of this module does not hold. For tests.
    #[doc(hidden)]
    pub fn check(&self) {
        for (session, member) in &self.sessions {
            assert_eq!(self.names.get(&member.client_id), Some(session), "the name of {session:?} is its own");
            for room in &member.rooms {
                let entry = self.rooms.get(room.0 as usize);
                assert!(
                    entry.is_some_and(|entry| entry.members().any(|m| m == *session)),
                    "{session:?} is in {room:?}"
                );
            }
        }
        assert_eq!(self.names.len(), self.sessions.len(), "every name has a session");
        for (slot, room) in &self.rooms {
            assert_eq!(self.rooms_by_name.get(&room.name).map(|id| id.0 as usize), Some(slot), "rooms have their name");
            for session in room.members() {
                let member = self.sessions.get(&session);
                assert!(member.is_some_and(|m| m.rooms.iter().any(|r| r.0 as usize == slot)), "{session:?} knows");
            }
            let places = room.pending.iter().map(|pending| pending.message.seq.0);
            assert!(places.eq(room.seq.0 + 1..=room.seq.0 + room.pending.len() as u64), "INV-3 for what waits");
            assert_eq!(room.empty_since.is_some(), room.count() == 0, "an empty room knows since when");
        }
        for (session, room) in self.replays.keys() {
            assert!(self.sessions.get(session).is_some_and(|m| m.rooms.contains(room)), "who catches up is a member");
        }
    }
}

fn tell(session: SessionId, event: ServerEvent<'static>) -> Effect {
    Effect::Tell { session, event: Box::new(event), ticket: None }
}

/// Lets the last answer to a session hold what its command holds. A command without an answer gives it back here.
fn give_to_answer(ticket: Ticket, to: SessionId, effects: &mut [Effect]) {
    let slot = effects.iter_mut().rev().find_map(|effect| {
        if let Effect::Tell { session, ticket, .. } = effect {
            (*session == to).then_some(ticket)
        } else if let Effect::Read(ReadRequest { reader: Reader::Client { session, ticket, .. }, .. }) = effect {
            (*session == to).then_some(ticket)
        } else {
            None
        }
    });
    if let Some(slot) = slot {
        *slot = Some(ticket);
    }
}
