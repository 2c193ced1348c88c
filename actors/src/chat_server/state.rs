//! The rules of the chat: a state machine without I/O, clock or actors.
//!
//! Invariants, checked by [`ChatState::check`] in tests:
//! - a session is a member of a room exactly if the room is on the session's list;
//! - a name is held by exactly one session, and every session holds one name;
//! - the seqs of a room's messages rise by exactly one; a message is delivered and acknowledged when it is stored,
//!   never before;
//! - a session that catches up in a room is not admitted to what is delivered there until it has caught up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use slab::Slab;
use smallvec::SmallVec;
use starling_protocol::{
    Ack, ChatMessage, ClientId, ClientKey, CloseCode, Epoch, ErrorCode, HistoryPage, JoinedEvent, MembersEvent,
    MessageId, PROTOCOL_VERSION, Refusal, Resume, RoomName, RoomSummary, Seq, ServerEvent, Target, Welcome, limits,
};

use super::command::{Command, Effect, OpenRefusal, OpenSession, Request};
use super::remembered::{Place, RememberedIds};
use crate::clock::{Now, Numbers};
use crate::config::ChatConfig;
use crate::credits::Ticket;
use crate::history::{Completion, Page, ReadError, ReadRequest, Reader, Restored, StoredId, StoredMessage};
use crate::ids::{RoomId, SessionId};
use crate::room::{PendingAck, PendingMessage, PresenceDue, Room};

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

    /// The rooms that have members or messages, the fullest first, and whether there are more than are listed.
    pub fn list_rooms(&self) -> (Vec<RoomSummary>, bool) {
        let shown = |room: &&Room| room.count() > 0 || room.seq > Seq(0);
        let mut rooms: Vec<&Room> = self.rooms.iter().map(|(_, room)| room).filter(shown).collect();
        rooms.sort_unstable_by(|a, b| b.count().cmp(&a.count()).then_with(|| a.name.cmp(&b.name)));
        let truncated = rooms.len() > limits::ROOMS_LISTED_MAX;
        let listed = rooms.into_iter().take(limits::ROOMS_LISTED_MAX);
        (listed.map(|r| RoomSummary { room: r.name.clone(), count: r.count(), seq: r.seq }).collect(), truncated)
    }

    /// The room of this name, while it exists.
    pub fn find_room(&self, name: &str) -> Option<RoomId> {
        self.rooms_by_name.get(name).copied()
    }

    // ---- sessions and names

    fn open_session(&mut self, open: &OpenSession, now: Now, effects: &mut Vec<Effect>) {
        let refuse = |refusal| Effect::RefuseSession { session: open.session, refusal };
        // Before the claim: who is refused must not have lost its old connection.
        if !self.rooms_by_name.contains_key(&open.room) && self.rooms.len() >= self.config.rooms as usize {
            return effects.push(refuse(OpenRefusal::TooManyRooms));
        }
        let key = match self.claim(open.client_id.as_ref(), open.key, now, effects) {
            Ok(key) => key.unwrap_or(open.fresh_key),
            Err(refusal) => return effects.push(refuse(refusal)),
        };
        let Some(room) = self.find_or_make_room(&open.room, now) else {
            return effects.push(refuse(OpenRefusal::TooManyRooms));
        };
        let client_id = open.client_id.clone().unwrap_or_else(|| self.draw_guest_name());
        self.names.insert(client_id.clone(), open.session);
        let member =
            Member { client_id, key, rooms: SmallVec::new(), watch_presence: open.watch_presence, errors_in_a_row: 0 };
        self.sessions.insert(open.session, member);
        // Its welcome comes before anything that is said in the room.
        self.enter(open.session, room, false, now, effects);
        self.tell_welcome(open.session, None, effects);
        effects.push(Effect::Admit { session: open.session, room });
    }

    fn draw_guest_name(&mut self) -> ClientId {
        loop {
            let name = ClientId::guest(self.numbers.draw());
            if !self.names.contains_key(&name) {
                return name;
            }
        }
    }

    /// Whether whoever shows `key` may have `name`. Frees the name if it is taken back from a dead connection; then
    /// the key stays the client's.
    fn claim(
        &mut self,
        name: Option<&ClientId>,
        key: Option<ClientKey>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Option<ClientKey>, OpenRefusal> {
        let Some(name) = name else { return Ok(None) };
        let holder = self.names.get(name).copied();
        let Some(holder) = holder else {
            return if name.is_guest() { Err(OpenRefusal::NameReserved) } else { Ok(None) };
        };
        let holds_key = self.sessions.get(&holder).is_some_and(|member| Some(member.key) == key);
        if !holds_key {
            return Err(if name.is_guest() { OpenRefusal::NameReserved } else { OpenRefusal::NameTaken(name.clone()) });
        }
        self.close_session(holder, now, effects);
        let reason = "replaced by a newer connection of the same client";
        effects.push(Effect::Close { session: holder, code: CloseCode::Replaced, reason });
        Ok(key)
    }

    /// Gives a session another name.
    fn rename(
        &mut self,
        session: SessionId,
        name: &ClientId,
        key: Option<ClientKey>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        if self.sessions.get(&session).is_some_and(|member| member.client_id == *name) {
            return Ok(());
        }
        let taken_back = self.claim(Some(name), key, now, effects).map_err(|refusal| {
            let code = if name.is_guest() { ErrorCode::BadName } else { ErrorCode::NameTaken };
            Refusal::new(code, refusal.to_string())
        })?;
        let Some(member) = self.sessions.get_mut(&session) else { return Ok(()) };
        let old = std::mem::replace(&mut member.client_id, name.clone());
        if let Some(key) = taken_back {
            member.key = key;
        }
        let rooms = member.rooms.clone();
        self.names.remove(&old);
        self.names.insert(name.clone(), session);
        for room in rooms {
            self.note_presence(room, Some(name), Some(&old), now, effects);
        }
        Ok(())
    }

    fn close_session(&mut self, session: SessionId, now: Now, effects: &mut Vec<Effect>) {
        let Some(member) = self.sessions.remove(&session) else { return };
        self.names.remove(&member.client_id);
        for room in member.rooms {
            self.replays.remove(&(session, room));
            if let Some(entry) = self.rooms.get_mut(room.0 as usize) {
                entry.remove(session, now.at);
            }
            effects.push(Effect::Dismiss { session, room });
            self.note_presence(room, None, Some(&member.client_id), now, effects);
        }
    }

    fn tell_welcome(&self, session: SessionId, id: Option<MessageId>, effects: &mut Vec<Effect>) {
        let Some(member) = self.sessions.get(&session) else { return };
        // A session that left all its rooms is told of the lobby, whether or not that exists at the moment.
        let first = member.rooms.first().copied().or_else(|| self.find_room(limits::LOBBY));
        let first = first.and_then(|room| self.rooms.get(room.0 as usize));
        let welcome = Welcome {
            id,
            protocol: PROTOCOL_VERSION,
            server: self.config.server.clone(),
            client_id: member.client_id.clone(),
            room: first.map_or_else(RoomName::lobby, |room| room.name.clone()),
            seq: first.map_or(Seq(0), |room| room.seq),
            epoch: first.map_or(Epoch(0), |room| room.epoch),
            key: member.key,
            heartbeat_ms: u64::try_from(self.config.heartbeat.as_millis()).unwrap_or(u64::MAX),
            limits: self.config.limits(),
        };
        effects.push(tell(session, ServerEvent::Welcome(Box::new(welcome))));
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
                let (rooms, truncated) = self.list_rooms();
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

    fn hello(
        &mut self,
        session: SessionId,
        id: Option<MessageId>,
        client_id: Option<&ClientId>,
        key: Option<ClientKey>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        if let Some(name) = client_id {
            self.rename(session, name, key, now, effects)?;
        }
        self.tell_welcome(session, id, effects);
        Ok(())
    }

    /// Checks a message before it is taken: where it goes, and under which name. `None`: it was taken before, and that
    /// is answered.
    fn accept(
        &mut self,
        session: SessionId,
        id: Option<&MessageId>,
        target: Target,
        claimed: Option<&ClientId>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Option<(Place, ClientId)>, Refusal> {
        let place = match target {
            Target::FirstRoom => Place::Room(self.first_room(session)?),
            Target::Room(name) => Place::Room(self.own_room(session, &name)?),
            Target::Client(to) => Place::Client(to),
        };
        if let Some(name) = claimed {
            self.accept_sender(session, name, now, effects)?;
        }
        let Some(sender) = self.sessions.get(&session).map(|member| member.client_id.clone()) else { return Ok(None) };
        if let Some(id) = id
            && self.repeat(session, &sender, id, now, effects)
        {
            return Ok(None);
        }
        if let Place::Client(to) = &place
            && !self.names.contains_key(to)
        {
            return Err(Refusal::new(ErrorCode::NoSuchClient, format!("nobody here is called {to}")));
        }
        Ok(Some((place, sender)))
    }

    /// Takes a message that was [accepted](Self::accept).
    #[expect(clippy::too_many_arguments, reason = "the parts of one command, taken apart for the caller's match")]
    fn publish(
        &mut self,
        session: SessionId,
        id: Option<MessageId>,
        text: Box<str>,
        place: Place,
        sender: ClientId,
        ticket: Ticket,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        match place {
            Place::Room(room) => {
                let Some(entry) = self.rooms.get_mut(room.0 as usize) else { return };
                let seq = entry.next_seq();
                let mut acks = Vec::new();
                if let Some(id) = &id {
                    let taken = (Place::Room(room), entry.epoch, seq, now.unix_ms);
                    self.remembered.insert(&sender, id, taken, now.at);
                    acks.push(PendingAck { session, id: id.clone(), duplicate: false });
                }
                let message = Arc::new(StoredMessage {
                    room: entry.name.clone(),
                    seq,
                    client_id: sender,
                    text,
                    at: now.unix_ms,
                    id,
                });
                let stored = Arc::clone(&message);
                entry.pending.push_back(PendingMessage { message, sender: session, acks, ticket });
                effects.push(Effect::Store { room, epoch: entry.epoch, message: stored });
            }
            Place::Client(to) => {
                let receiver = self.names.get(&to).copied().filter(|receiver| *receiver != session);
                let sessions = receiver.into_iter().chain([session]).collect();
                if let Some(id) = &id {
                    let taken = (Place::Client(to.clone()), Epoch(0), Seq(0), now.unix_ms);
                    self.remembered.insert(&sender, id, taken, now.at);
                }
                let message = Box::new(ChatMessage {
                    client_id: sender,
                    text: text.into_string().into(),
                    room: None,
                    seq: None,
                    to: Some(to.clone()),
                    at: now.unix_ms,
                    id: id.clone(),
                });
                effects.push(Effect::DeliverPrivate { sessions, message, ticket });
                if let Some(id) = id {
                    let ack = Ack { id, at: now.unix_ms, room: None, seq: None, to: Some(to), duplicate: false };
                    effects.push(tell(session, ServerEvent::Ack(ack)));
                }
            }
        }
    }

    /// Checks the name that a message gives as its sender; a guest takes it thereby.
    fn accept_sender(
        &mut self,
        session: SessionId,
        name: &ClientId,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let Some(member) = self.sessions.get(&session) else { return Ok(()) };
        if member.client_id == *name {
            return Ok(());
        }
        if member.client_id.is_guest() {
            return self.rename(session, name, None, now, effects);
        }
        let text = format!("this connection is {}, not {name}", member.client_id);
        Err(Refusal::new(ErrorCode::ClientIdMismatch, text))
    }

    /// Answers a message whose `id` was taken before. False: it was not.
    fn repeat(
        &mut self,
        session: SessionId,
        sender: &ClientId,
        id: &MessageId,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some((place, epoch, seq, at)) = self.remembered.find(sender, id, now.at) else { return false };
        let mut ack = Ack { id: id.clone(), at, room: None, seq: None, to: None, duplicate: true };
        match place {
            Place::Client(to) => ack.to = Some(to),
            Place::Room(room) => {
                let Some(entry) = self.rooms.get_mut(room.0 as usize) else { return false };
                if entry.epoch != epoch {
                    return false;
                }
                if let Some(pending) = entry.pending.iter_mut().find(|pending| pending.message.seq == seq) {
                    pending.acks.push(PendingAck { session, id: id.clone(), duplicate: true });
                    return true;
                }
                ack.room = Some(entry.name.clone());
                ack.seq = Some(seq);
            }
        }
        effects.push(tell(session, ServerEvent::Ack(ack)));
        true
    }

    // ---- rooms

    fn find_or_make_room(&mut self, name: &RoomName, now: Now) -> Option<RoomId> {
        if let Some(room) = self.rooms_by_name.get(name) {
            return Some(*room);
        }
        if self.rooms.len() >= self.config.rooms as usize {
            return None;
        }
        let epoch = Epoch(self.numbers.draw());
        let slot = self.rooms.insert(Room::new(name.clone(), epoch, now.at));
        let room = RoomId(u32::try_from(slot).ok()?);
        self.rooms_by_name.insert(name.clone(), room);
        Some(room)
    }

    fn first_room(&self, session: SessionId) -> Result<RoomId, Refusal> {
        let first = self.sessions.get(&session).and_then(|member| member.rooms.first().copied());
        first.ok_or_else(|| Refusal::new(ErrorCode::NotAMember, "you are in no room"))
    }

    /// The room of this name, if the session is in it.
    fn own_room(&self, session: SessionId, name: &RoomName) -> Result<RoomId, Refusal> {
        let member = self.sessions.get(&session);
        let room = self.rooms_by_name.get(name).filter(|room| member.is_some_and(|m| m.rooms.contains(room)));
        room.copied().ok_or_else(|| Refusal::new(ErrorCode::NotAMember, format!("you are not in the room {name}")))
    }

    fn existing_room(&self, name: &RoomName) -> Result<RoomId, Refusal> {
        let room = self.rooms_by_name.get(name).copied();
        room.ok_or_else(|| Refusal::new(ErrorCode::NoSuchRoom, format!("there is no room {name}")))
    }

    /// Makes a session a member, without admitting it to what is delivered.
    fn enter(&mut self, session: SessionId, room: RoomId, presence: bool, now: Now, effects: &mut Vec<Effect>) {
        let Some(member) = self.sessions.get_mut(&session) else { return };
        let Some(entry) = self.rooms.get_mut(room.0 as usize) else { return };
        let wanted = presence || member.watch_presence;
        if member.rooms.contains(&room) {
            entry.watch(session, wanted);
            return;
        }
        member.rooms.push(room);
        entry.insert(session);
        let name = member.client_id.clone();
        // Told before it watches: the newcomer learns of itself by `joined`.
        self.note_presence(room, Some(&name), None, now, effects);
        if let Some(entry) = self.rooms.get_mut(room.0 as usize) {
            entry.watch(session, wanted);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one command, taken apart for the caller's match")]
    fn join(
        &mut self,
        session: SessionId,
        id: Option<MessageId>,
        name: &RoomName,
        resume: Option<Resume>,
        presence: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let (rooms, is_member) = self.sessions.get(&session).map_or((0, false), |member| {
            let known = self.rooms_by_name.get(name);
            (member.rooms.len(), known.is_some_and(|room| member.rooms.contains(room)))
        });
        if !is_member && rooms >= self.config.rooms_per_session as usize {
            let text = format!("you are in {rooms} rooms, as many as you may be");
            return Err(Refusal::new(ErrorCode::TooManyRooms, text));
        }
        let Some(room) = self.find_or_make_room(name, now) else {
            return Err(Refusal::new(ErrorCode::TooManyRooms, OpenRefusal::TooManyRooms.to_string()));
        };
        self.enter(session, room, presence, now, effects);
        let Some(entry) = self.rooms.get(room.0 as usize) else { return Ok(()) };
        let recovered = resume.map(|from| from.epoch == Some(entry.epoch) && entry.keeps_all_after(from.after));
        let joined =
            JoinedEvent { id, room: name.clone(), seq: entry.seq, epoch: entry.epoch, count: entry.count(), recovered };
        let missed_from = resume.filter(|_| recovered == Some(true)).map(|from| from.after);
        let missed_from = missed_from.filter(|after| *after < entry.seq);
        let before = self.replays.get(&(session, room)).copied();
        if is_member && missed_from.is_some() && before.is_none() {
            // What is new waits until what was missed has been written.
            effects.push(Effect::Dismiss { session, room });
        }
        effects.push(tell(session, ServerEvent::Joined(joined)));
        if let Some(after) = missed_from {
            // What is being written goes first; what is being read for an earlier `after` will be dropped.
            let is_reading = before.is_none_or(|before| before.is_reading);
            self.replays.insert((session, room), CatchingUp { after, is_reading });
            if is_reading {
                effects.push(Effect::Read(self.replay_request(session, room, after)));
            }
        } else {
            // Who resumes, and has nothing to get that way, gets what is new.
            let has_caught_up = resume.is_some() && self.replays.remove(&(session, room)).is_some();
            if !is_member || has_caught_up {
                effects.push(Effect::Admit { session, room });
            }
        }
        Ok(())
    }

    fn leave(
        &mut self,
        session: SessionId,
        id: Option<MessageId>,
        name: &RoomName,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let room = self.own_room(session, name)?;
        let Some(member) = self.sessions.get_mut(&session) else { return Ok(()) };
        member.rooms.retain(|other| *other != room);
        let client_id = member.client_id.clone();
        self.replays.remove(&(session, room));
        if let Some(entry) = self.rooms.get_mut(room.0 as usize) {
            entry.remove(session, now.at);
        }
        effects.push(Effect::Dismiss { session, room });
        effects.push(tell(session, ServerEvent::Left { id, room: name.clone() }));
        self.note_presence(room, None, Some(&client_id), now, effects);
        Ok(())
    }

    fn tell_members(
        &self,
        session: SessionId,
        id: Option<MessageId>,
        name: &RoomName,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let room = self.existing_room(name)?;
        let Some(entry) = self.rooms.get(room.0 as usize) else { return Ok(()) };
        let count = entry.count();
        let names = entry.members().filter_map(|member| self.sessions.get(&member)).map(|m| m.client_id.clone());
        let mut client_ids: Vec<ClientId> = names.take(limits::MEMBERS_LISTED_MAX).collect();
        client_ids.sort_unstable();
        let truncated = count as usize > client_ids.len();
        effects.push(tell(
            session,
            ServerEvent::Members(MembersEvent { id, room: name.clone(), count, client_ids, truncated }),
        ));
        Ok(())
    }

    // ---- presence

    fn watch_presence(&mut self, session: SessionId, wanted: bool) {
        let Some(member) = self.sessions.get_mut(&session) else { return };
        member.watch_presence = wanted;
        for room in &member.rooms {
            if let Some(entry) = self.rooms.get_mut(room.0 as usize) {
                entry.watch(session, wanted);
            }
        }
    }

    fn note_presence(
        &mut self,
        room: RoomId,
        joined: Option<&ClientId>,
        left: Option<&ClientId>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(entry) = self.rooms.get_mut(room.0 as usize) else { return };
        entry.note_presence(joined, left);
        self.send_presence(room, now, effects);
    }

    fn send_presence(&mut self, room: RoomId, now: Now, effects: &mut Vec<Effect>) {
        let Some(entry) = self.rooms.get_mut(room.0 as usize) else { return };
        match entry.take_presence(now.at) {
            PresenceDue::Nothing => {}
            PresenceDue::Later => {
                if !self.presence_due.contains(&room) {
                    self.presence_due.push(room);
                }
            }
            PresenceDue::Now(event, sessions) => {
                effects.push(Effect::TellMany { sessions, event: Box::new(ServerEvent::Presence(event)) });
            }
        }
    }

    // ---- history

    fn read_history(
        &self,
        session: SessionId,
        id: Option<MessageId>,
        name: &RoomName,
        page: HistoryPage,
        limit: u16,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let room = self.existing_room(name)?;
        let (limit, bytes) = (usize::from(limit), self.config.page_bytes());
        let reader = Reader::Client { session, id, ticket: None };
        effects.push(Effect::Read(ReadRequest { room, page, search: None, limit, bytes, reader }));
        Ok(())
    }

    fn replay_request(&self, session: SessionId, room: RoomId, after: Seq) -> ReadRequest {
        ReadRequest {
            room,
            page: HistoryPage::After(after),
            search: None,
            limit: usize::MAX,
            bytes: self.config.page_bytes(),
            reader: Reader::Replay { session },
        }
    }

    fn continue_replay(&mut self, session: SessionId, room: RoomId, effects: &mut Vec<Effect>) {
        if let Some(progress) = self.replays.get_mut(&(session, room))
            && !std::mem::replace(&mut progress.is_reading, true)
        {
            let after = progress.after;
            effects.push(Effect::Read(self.replay_request(session, room, after)));
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

    /// The oldest message that waited is stored: now it is delivered and acknowledged.
    fn stored(&mut self, room: RoomId, seq: Seq, oldest: Seq, effects: &mut Vec<Effect>) {
        let Some(entry) = self.rooms.get_mut(room.0 as usize) else { return };
        let Some(PendingMessage { message, acks, ticket, .. }) = entry.pending.pop_front() else { return };
        debug_assert_eq!(message.seq, seq, "INV-3: messages are stored in order");
        entry.seq = seq;
        entry.oldest = oldest;
        for ack in acks {
            let event = Ack {
                id: ack.id,
                at: message.at,
                room: Some(message.room.clone()),
                seq: Some(seq),
                to: None,
                duplicate: ack.duplicate,
            };
            effects.push(tell(ack.session, ServerEvent::Ack(event)));
        }
        effects.push(Effect::Deliver { room, hubs: entry.hubs(), message, ticket });
    }

    /// Everything of this room that waited is not stored: it is refused, and its places are given again.
    fn not_stored(&mut self, room: RoomId, seq: Seq, effects: &mut Vec<Effect>) {
        let Some(entry) = self.rooms.get_mut(room.0 as usize) else { return };
        debug_assert_eq!(entry.seq.next(), seq, "INV-3: a failure speaks for all that waits");
        for PendingMessage { message, sender, acks, .. } in entry.pending.drain(..) {
            if let Some(id) = &message.id {
                self.remembered.remove(&message.client_id, id);
            }
            let refusal = Refusal::new(ErrorCode::Unavailable, "the message could not be stored");
            let repeated = acks.into_iter().filter(|ack| ack.duplicate).map(|ack| (ack.session, Some(ack.id)));
            for (session, id) in std::iter::once((sender, message.id.clone())).chain(repeated) {
                effects.push(tell(session, ServerEvent::Error(refusal.clone().with_id(id))));
            }
        }
    }

    fn was_read(&mut self, request: ReadRequest, page: Page, now: Now, effects: &mut Vec<Effect>) {
        let room = request.room;
        match request.reader {
            Reader::Client { session, id, ticket } => {
                let Some(name) = self.rooms.get(room.0 as usize).map(|entry| entry.name.clone()) else { return };
                let Page { messages, has_more } = page;
                effects.push(Effect::TellHistory { session, id, room: name, messages, has_more, ticket });
            }
            Reader::Replay { session } => self.replay(session, room, request.page, page, now, effects),
            // Whoever asked may have gone.
            Reader::Outside(reply) => drop(reply.send(Ok(page))),
        }
    }

    /// Who asks for history is told that it cannot be had; who catches up cannot go on without it.
    fn was_not_read(&mut self, request: ReadRequest, error: ReadError, now: Now, effects: &mut Vec<Effect>) {
        match request.reader {
            Reader::Client { session, id, .. } => {
                let refusal = Refusal::new(ErrorCode::Unavailable, error.to_string()).with_id(id);
                effects.push(tell(session, ServerEvent::Error(refusal)));
            }
            Reader::Replay { session } => {
                if self.replays.contains_key(&(session, request.room)) {
                    self.close_session(session, now, effects);
                    let reason = "what was missed cannot be read at the moment";
                    effects.push(Effect::Close { session, code: CloseCode::TryAgainLater, reason });
                }
            }
            // Whoever asked may have gone.
            Reader::Outside(reply) => drop(reply.send(Err(error))),
        }
    }

    /// Writes the next part of what a session missed, and admits it when nothing is left.
    fn replay(
        &mut self,
        session: SessionId,
        room: RoomId,
        asked: HistoryPage,
        page: Page,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(CatchingUp { after, is_reading }) = self.replays.get_mut(&(session, room)) else { return };
        if asked != HistoryPage::After(*after) {
            // The answer to what it asked for before it left the room or resumed anew.
            return;
        }
        let Some(entry) = self.rooms.get(room.0 as usize) else { return };
        let continues = page.messages.first().is_none_or(|first| first.seq == after.next());
        let last = page.messages.last().map_or(*after, |last| last.seq);
        if !continues || (page.messages.is_empty() && last < entry.seq) {
            // The history dropped what this session was still to get: rather no connection than a silent gap.
            self.close_session(session, now, effects);
            let reason = "catching up was slower than the room";
            effects.push(Effect::Close { session, code: CloseCode::SlowConsumer, reason });
            return;
        }
        let more = last < entry.seq;
        (*after, *is_reading) = (last, false);
        effects.push(Effect::Replay { session, room, messages: page.messages, more });
        if !more {
            self.replays.remove(&(session, room));
            effects.push(Effect::Admit { session, room });
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

#[cfg(test)]
mod tests;
