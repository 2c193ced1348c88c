//! The rules of the chat: a state machine without I/O, clock or actors.
//!
//! Invariants, checked by [`ChatState::check`] in tests:
//! - a session is a member of a room exactly if the room is on the session's list;
//! - every session holds one name; a name is held by one session, where names are authenticated by one or more;
//! - a connection that has not said who it is, where names are authenticated, is no session: no rule reaches it;
//! - the seqs of a room's messages rise by exactly one; a message is delivered and acknowledged when it is stored,
//!   never before;
//! - a session that catches up in a room is not admitted to what is delivered there until it has caught up.

mod catching_up;
mod inboxes;
mod messages;
mod names;
mod proof;
mod rooms;
mod sessions;
mod space;
#[cfg(test)]
mod tests;
mod unclaimed;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use slab::Slab;
use smallvec::SmallVec;
use starling_protocol::{
    ClientId, ClientKey, CloseCode, MessageId, Refusal, Resume, RoomName, RoomSummary, Seq, ServerEvent, limits,
};

use self::sessions::Sessions;
use self::unclaimed::Unclaimed;
use super::command::{Command, Effect, OpenSession, Request};
use super::remembered::{Place, RememberedIds};
use crate::clock::{Now, Numbers};
use crate::config::ChatConfig;
use crate::credits::Ticket;
use crate::history::{Completion, ReadRequest, Reader, Restored, RoomKey, StoredId};
use crate::identity::{Claims, IdOwner, RoomGlobs};
use crate::ids::{RoomId, SessionId};
use crate::metrics::Held;
use crate::room::Room;

/// How long a list of rooms is shown again, where there are more rooms than are listed: looking through all of them for
/// everybody who asks would take the time of those who chat.
const LISTED_FOR: Duration = Duration::from_secs(1);

/// Most rooms that end in one tick.
const ROOMS_ENDED_MAX: usize = 512;

/// The rooms, the names and who is where.
#[derive(Debug)]
pub struct ChatState {
    config: ChatConfig,
    numbers: Numbers,
    rooms: Slab<Room>,
    rooms_by_name: HashMap<RoomName, RoomId>,
    sessions: Sessions,
    names: HashMap<ClientId, SmallVec<[SessionId; 1]>>,
    /// The clients whose private messages are kept.
    inboxes: HashMap<ClientId, RoomId>,
    /// The inboxes among them whose owner has never been here.
    unclaimed: Unclaimed,
    /// Rooms that nobody is in and nothing was said in, by since when they are empty.
    silent: BTreeSet<(Instant, RoomName)>,
    /// Rooms that can be dropped for others, the first to go last, with since when they are empty.
    small: Vec<(RoomId, Instant)>,
    looked_for_small: Option<Instant>,
    /// How many rooms and inboxes were dropped for others.
    dropped_for_space: u64,
    /// Connections that have not said who they are.
    unproven: FxHashMap<SessionId, Unproven>,
    /// When a connection ends that does not show a token, or a newer one.
    deadlines: BTreeSet<(Instant, SessionId)>,
    remembered: RememberedIds,
    /// Who catches up where.
    replays: FxHashMap<(SessionId, RoomId), CatchingUp>,
    /// Who resumes with a proof that is not looked at yet.
    unanswered: FxHashMap<(SessionId, RoomId), Unanswered>,
    /// Rooms whose `presence` waits for its second to pass.
    presence_due: Vec<RoomId>,
    /// The rooms that are shown, the fullest first, and when they were looked for, where there are more than are listed.
    fullest_first: Option<(Instant, Vec<RoomId>)>,
    /// Inboxes of which more was delivered than is noted.
    delivered_due: Vec<RoomId>,
    /// When it is looked whether a room has ended: an entry for each one that is empty and has nothing stored, and
    /// perhaps others.
    may_end: BTreeSet<(Instant, RoomId)>,
}

/// A session as the chat knows it.
#[derive(Debug)]
struct Member {
    client_id: ClientId,
    key: ClientKey,
    /// Whose its messages' `id`s are: follows from the name and the key.
    owner: IdOwner,
    /// What it has proven, where names are authenticated.
    claims: Option<Arc<Claims>>,
    /// Until when that holds.
    proven_until: Option<Instant>,
    /// Where its private messages are kept, if they are.
    inbox: Option<RoomId>,
    /// In the order of joining; the first is where a message goes that names no room.
    rooms: SmallVec<[RoomId; 1]>,
    watch_presence: bool,
    errors_in_a_row: u32,
}

impl Member {
    /// Whose `id`s are those of this name and key.
    fn owner_of_ids(&self) -> IdOwner {
        match &self.claims {
            Some(_) => IdOwner::authenticated(&self.client_id),
            None => IdOwner::keyed(&self.client_id, self.key),
        }
    }
}

/// A connection that has not said who it is.
#[derive(Debug)]
struct Unproven {
    open: OpenSession,
    until: Instant,
    errors_in_a_row: u32,
}

/// A `join` that resumes, and is answered when the message that it goes on from has been read.
#[derive(Debug)]
struct Unanswered {
    id: Option<MessageId>,
    resume: Resume,
    /// Whether the session was in the room before.
    is_member: bool,
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
            sessions: Sessions::default(),
            names: HashMap::new(),
            inboxes: HashMap::new(),
            unclaimed: Unclaimed::default(),
            silent: BTreeSet::new(),
            small: Vec::new(),
            looked_for_small: None,
            dropped_for_space: 0,
            unproven: FxHashMap::default(),
            deadlines: BTreeSet::new(),
            remembered,
            replays: FxHashMap::default(),
            unanswered: FxHashMap::default(),
            presence_due: Vec::new(),
            fullest_first: None,
            delivered_due: Vec::new(),
            may_end: BTreeSet::new(),
        }
    }

    /// Takes over what the history knows from before this process. Called once, before the first command.
    ///
    /// All of its rooms are there again, also where they are more than there may be made.
    pub fn restore(&mut self, restored: Restored, now: Now) {
        debug_assert!(self.rooms.is_empty(), "nothing has happened yet");
        for stored in restored.rooms {
            let mut room = Room::new(stored.key.clone(), stored.epoch, now.at);
            (room.seq, room.oldest) = (stored.seq, stored.oldest);
            (room.delivered, room.delivered_noted) = (stored.delivered, stored.delivered);
            let slot = self.rooms.insert(room);
            if let Ok(slot) = u32::try_from(slot) {
                match stored.key {
                    RoomKey::Room(name) => self.rooms_by_name.insert(name, RoomId(slot)),
                    RoomKey::Inbox(owner) => self.inboxes.insert(owner, RoomId(slot)),
                };
                self.note_may_end(RoomId(slot));
                if let Some(made) = stored.unclaimed {
                    self.unclaimed.insert(RoomId(slot), &made.maker);
                    if !made.is_alone {
                        self.unclaimed.share(RoomId(slot));
                    }
                }
            }
        }
        let owner_of = |room: usize| self.rooms.get(room).and_then(|entry| entry.key.owner());
        let received =
            restored.ids.iter().filter(|stored| owner_of(stored.room).is_some_and(|o| *o != stored.client_id));
        let received: HashSet<_> = received.map(|stored| (stored.owner, stored.id.clone())).collect();
        for StoredId { room, seq, at, client_id, owner, id } in restored.ids {
            let Some(entry) = self.rooms.get(room) else { continue };
            let Ok(room) = u32::try_from(room).map(RoomId) else { continue };
            let age = Duration::from_millis(now.unix_ms.saturating_sub(at));
            let taken_at = now.at.checked_sub(age).unwrap_or(now.at);
            let place = match &entry.key {
                RoomKey::Room(_) => Place::Room(room),
                // A private message stands in two inboxes: that of its receiver counts. Only what somebody sent to itself
                // stands in its own alone.
                RoomKey::Inbox(of) if *of == client_id && received.contains(&(owner, id.clone())) => continue,
                RoomKey::Inbox(of) => Place::Inbox { room, to: of.clone() },
            };
            self.remembered.insert(owner, &id, (place, entry.epoch, seq, at), taken_at);
        }
    }

    /// Carries out one command and appends what is to be done to `effects`.
    pub fn apply(&mut self, command: Command, now: Now, effects: &mut Vec<Effect>) {
        match command {
            Command::OpenSession(open) => self.open_session(open, now, effects),
            Command::CloseSession { session } => self.close_session(session, now, effects),
            Command::Ask { session, id, request, ticket } => self.ask(session, id, request, ticket, now, effects),
            Command::WatchPresence { session, wanted } => self.watch_presence(session, wanted),
            Command::ContinueReplay { session, room } => self.continue_replay(session, room, effects),
            Command::Completed(completion) => self.completed(completion, now, effects),
            Command::PostAsOperator(post) => self.post_as_operator(post, now, effects),
            Command::RemoveClient { client_id, reply } => {
                // Whoever asked may have gone.
                reply.send(self.remove_client(&client_id, now, effects)).unwrap_or_default();
            }
            Command::DropRoom { key, reply } => self.drop_room(&key, reply, now, effects),
            Command::Tick => self.tick(now, effects),
        }
    }

    /// How many sessions there are, the connections among them that have not said who they are.
    pub fn session_count(&self) -> usize {
        self.sessions.len() + self.unproven.len()
    }

    /// How many rooms there are, the empty ones that are still kept among them.
    pub fn room_count(&self) -> usize {
        self.rooms_by_name.len()
    }

    /// What it holds at the moment, for the figures.
    pub fn held(&self) -> Held {
        Held {
            rooms: self.room_count(),
            inboxes: self.inboxes.len(),
            sessions: self.session_count(),
            dropped_for_space: self.dropped_for_space,
        }
    }

    /// The tables that are full, each with its variable and its limit.
    pub fn full_tables(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let tables = [
            ("CHAT_ROOMS", self.room_count(), self.config.rooms),
            ("CHAT_INBOXES", self.inboxes.len(), self.config.inboxes),
        ];
        tables.into_iter().filter(|(_, count, most)| *count >= *most as usize).map(|(table, _, most)| (table, most))
    }

    /// How many rooms and inboxes were dropped so far because others needed their place.
    pub fn dropped_for_space(&self) -> u64 {
        self.dropped_for_space
    }

    /// The rooms among these that have members or messages, the fullest first, and whether there are more than are
    /// listed. Where there are, the list is up to a second old.
    pub fn list_rooms(&mut self, allowed: &RoomGlobs, now: Now) -> (Vec<RoomSummary>, bool) {
        let is_fresh = |looked_at: &Instant| now.at.saturating_duration_since(*looked_at) < LISTED_FOR;
        let known = self.fullest_first.take().filter(|(looked_at, _)| is_fresh(looked_at));
        let (looked_at, order) = known.unwrap_or_else(|| (now.at, self.fullest_first()));
        let rooms = order.iter().filter_map(|room| self.rooms.get(room.0 as usize));
        let mut rooms =
            rooms.filter_map(|room| room.key.room().filter(|name| allowed.allow(name)).map(|name| (name, room)));
        let summary =
            |(name, room): (&RoomName, &Room)| RoomSummary { room: name.clone(), count: room.count(), seq: room.seq };
        let listed = rooms.by_ref().take(limits::ROOMS_LISTED_MAX).map(summary).collect();
        let truncated = rooms.next().is_some();
        self.fullest_first = (order.len() > limits::ROOMS_LISTED_MAX).then_some((looked_at, order));
        (listed, truncated)
    }

    fn fullest_first(&self) -> Vec<RoomId> {
        let known = self.rooms_by_name.iter();
        let mut rooms: Vec<(u32, &RoomName, RoomId)> = known
            .filter_map(|(name, id)| self.rooms.get(id.0 as usize).map(|room| (name, *id, room)))
            .filter(|(_, _, room)| !room.is_empty() || room.seq > Seq(0))
            .map(|(name, id, room)| (room.count(), name, id))
            .collect();
        rooms.sort_unstable_by(|(count, name, _), (other, next, _)| other.cmp(count).then_with(|| name.cmp(next)));
        rooms.into_iter().map(|(_, _, id)| id).collect()
    }

    /// The room of this name, while it exists.
    pub fn find_room(&self, name: &str) -> Option<RoomId> {
        self.rooms_by_name.get(name).copied()
    }

    /// The inbox of this client. For tests.
    #[cfg(test)]
    fn find_inbox(&self, owner: &str) -> Option<RoomId> {
        self.inboxes.get(owner).copied()
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
        if !self.sessions.contains_key(session) {
            if self.unproven.contains_key(&session) {
                let outcome = self.ask_unproven(session, id.clone(), request, now, effects);
                self.count_outcome(session, id, outcome, now, effects);
                give_to_answer(ticket, session, effects);
            }
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
            Request::Hello { claims: Some(claims), client_id, .. } => {
                self.prove_again(session, id.clone(), &claims, client_id.as_ref(), now, effects)
            }
            Request::Hello { claims: None, client_id, key } => {
                self.hello(session, id.clone(), client_id.as_ref(), key, now, effects)
            }
            Request::Join { room, resume, presence } => {
                self.join(session, id.clone(), &room, resume, presence, now, effects)
            }
            Request::JoinInbox { resume } => self.join_inbox(session, id.clone(), resume, effects),
            Request::Leave { room } => self.leave(session, id.clone(), &room, now, effects),
            Request::Rooms => {
                let claims = self.sessions.get(session).and_then(|member| member.claims.clone());
                let allowed = claims.as_ref().map_or(&RoomGlobs::ALL, |claims| &claims.rooms);
                let (rooms, truncated) = self.list_rooms(allowed, now);
                effects.push(tell(session, ServerEvent::Rooms { id: id.clone(), rooms, truncated }));
                Ok(())
            }
            Request::Members { room } => self.tell_members(session, id.clone(), &room, effects),
            Request::History { room, page, limit } => {
                self.read_history(session, id.clone(), &room, page, limit, effects)
            }
            Request::InboxHistory { with, page, limit } => {
                self.read_inbox(session, id.clone(), with, page, limit, effects)
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
        let errors_in_a_row = match (self.sessions.get_mut(session), self.unproven.get_mut(&session)) {
            (Some(member), _) => &mut member.errors_in_a_row,
            (None, Some(unproven)) => &mut unproven.errors_in_a_row,
            (None, None) => return,
        };
        let Err(refusal) = outcome else {
            *errors_in_a_row = 0;
            return;
        };
        *errors_in_a_row += 1;
        let is_flood = *errors_in_a_row >= limits::ERRORS_IN_A_ROW_MAX;
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
                self.note_may_end(room);
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
        self.end_what_is_due(now, effects);
        for room in std::mem::take(&mut self.delivered_due) {
            self.note_delivered(room, effects);
        }
        self.remembered.expire(now.at);
        // A crowd of rooms that end together ends over several ticks, so that no message waits for all of them.
        for _ in 0..ROOMS_ENDED_MAX {
            let Some((_, room)) = self.may_end.first().copied().filter(|(at, _)| *at <= now.at) else { break };
            self.may_end.pop_first();
            self.end_if_over(room, now, effects);
        }
    }

    /// A room may have become one that ends: nobody is in it, or nothing of it is kept any more.
    fn note_may_end(&mut self, room: RoomId) {
        let Some(entry) = self.rooms.get(room.0 as usize) else { return };
        if let Some(since) = entry.empty_since
            && !self.is_kept(entry)
        {
            self.may_end.insert((since + self.config.empty_room_kept, room));
        }
    }

    /// Whether a room stays, however long nobody is in it: something of it is stored, or on its way to be.
    fn is_kept(&self, room: &Room) -> bool {
        let is_for_later = self.config.history_is_stored || room.key.owner().is_some();
        !room.pending.is_empty() || (is_for_later && room.oldest <= room.seq)
    }

    fn end_if_over(&mut self, room: RoomId, now: Now, effects: &mut Vec<Effect>) {
        let slot = room.0 as usize;
        let Some(entry) = self.rooms.get(slot) else { return };
        let empty_for = entry.empty_since.map(|since| now.at.saturating_duration_since(since));
        if entry.ends || self.is_kept(entry) || empty_for.is_none_or(|time| time < self.config.empty_room_kept) {
            // It gets a new entry when that changes.
            return;
        }
        self.end_room(room, None, effects);
    }

    /// Panics if an invariant of this module does not hold. For tests.
    #[doc(hidden)]
    pub fn check(&self) {
        for (session, member) in self.sessions.iter() {
            assert_eq!(member.owner, member.owner_of_ids(), "the owner of {session:?} is that of its name and key");
            let holders = self.names.get(&member.client_id).map_or(&[][..], |holders| holders);
            let own = holders.iter().filter(|holder| *holder == session).count();
            assert_eq!(own, 1, "the name of {session:?} is its own");
            assert!(holders.len() == 1 || member.claims.is_some(), "a name that is not authenticated has one holder");
            assert_eq!(member.inbox.is_some(), member.claims.is_some() && self.config.private_is_kept, "{session:?}");
            for room in member.rooms.iter().chain(&member.inbox) {
                let entry = self.rooms.get(room.0 as usize);
                assert!(
                    entry.is_some_and(|entry| entry.members().any(|m| m == *session)),
                    "{session:?} is in {room:?}"
                );
            }
        }
        let holders: usize = self.names.values().map(SmallVec::len).sum();
        assert_eq!(holders, self.sessions.len(), "every session has one name");
        assert!(self.names.values().all(|holders| !holders.is_empty()), "every name has a session");
        assert!(self.unproven.keys().all(|session| !self.sessions.contains_key(*session)), "no session is unproven");
        let proven = self.sessions.iter().filter(|(_, member)| member.claims.is_some()).count();
        assert_eq!(self.deadlines.len(), proven + self.unproven.len(), "whoever shows a token has a deadline");
        for (slot, room) in self.rooms.iter().filter(|(_, room)| !room.ends) {
            let known = match &room.key {
                RoomKey::Room(name) => self.rooms_by_name.get(name),
                RoomKey::Inbox(owner) => self.inboxes.get(owner),
            };
            assert_eq!(known.map(|id| id.0 as usize), Some(slot), "rooms have their name");
            let mut clients = std::collections::HashSet::new();
            for session in room.members() {
                let member = self.sessions.get(session);
                let is_in = |m: &&Member| m.rooms.iter().chain(&m.inbox).any(|r| r.0 as usize == slot);
                let member = member.filter(is_in);
                assert!(member.is_some(), "{session:?} knows");
                assert!(room.key.owner().is_none_or(|owner| member.is_some_and(|m| m.client_id == *owner)), "its own");
                clients.extend(member.map(|member| &member.client_id));
            }
            if room.key.room().is_some() {
                assert_eq!(room.count() as usize, clients.len(), "a client is counted once");
            }
            let places = room.pending.iter().map(|pending| pending.message.seq.0);
            assert!(places.eq(room.seq.0 + 1..=room.seq.0 + room.pending.len() as u64), "INV-3 for what waits");
            assert_eq!(room.empty_since.is_some(), room.is_empty(), "an empty room knows since when");
            if let Some(since) = room.empty_since.filter(|_| !self.is_kept(room)) {
                let id = RoomId(u32::try_from(slot).unwrap_or(u32::MAX));
                let due = since + self.config.empty_room_kept;
                assert!(self.may_end.contains(&(due, id)), "an empty room is looked at when it may end");
            }
            let noted = room.key.room().zip(room.empty_since).map(|(name, since)| (since, name.clone()));
            let is_noted = noted.is_some_and(|noted| self.silent.contains(&noted));
            let is_lobby = room.key.room().is_none_or(|name| name.as_str() == limits::LOBBY);
            assert_eq!(is_noted, room.is_silent() && !is_lobby, "a silent room is noted");
        }
        for (session, room) in self.replays.keys().chain(self.unanswered.keys()) {
            let is_member = |m: &Member| m.rooms.iter().chain(&m.inbox).any(|own| own == room);
            assert!(self.sessions.get(*session).is_some_and(is_member), "who catches up is a member");
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
        } else if let Effect::Read(ReadRequest { reader, .. }) = effect
            && let Reader::Client { session, ticket, .. }
            | Reader::Proof { session, ticket }
            | Reader::Replay { session, ticket } = reader
        {
            (*session == to).then_some(ticket)
        } else {
            None
        }
    });
    if let Some(slot) = slot {
        *slot = Some(ticket);
    }
}
