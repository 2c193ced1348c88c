//! The model: lists that are searched from the beginning, and the rules as the protocol's page tells them.

use std::collections::BTreeMap;

use super::{CLIENTS, Deed, MESSAGES_KEPT, Name, Page, ROOMS_MAX, ROOMS_PER_SESSION, Step, To};

const FIVE_MINUTES: u64 = 300_000;
const ERRORS_MAX: u32 = 20;

/// What each client is told, in order.
pub(crate) type Told = BTreeMap<usize, Vec<String>>;

#[derive(Default)]
pub(crate) struct Naive {
    now: u64,
    sessions: Vec<Session>,
    rooms: Vec<Room>,
    /// Sessions and epochs that there were.
    sessions_so_far: u32,
    epochs_so_far: usize,
    taken: Vec<Taken>,
    is_held: bool,
    /// The rooms of the messages that wait to be stored, in order.
    to_store: Vec<&'static str>,
    pub(crate) clients: Vec<Client>,
    told: Told,
}

/// What a client knows, beyond its connections.
#[derive(Default, Clone)]
pub(crate) struct Client {
    pub(crate) key: Option<u32>,
    pub(crate) guest_name: Option<String>,
    pub(crate) epochs: BTreeMap<&'static str, usize>,
}

struct Session {
    client: usize,
    number: u32,
    name: String,
    key: u32,
    rooms: Vec<&'static str>,
    errors: u32,
}

struct Room {
    name: &'static str,
    epoch: usize,
    /// All that was said, stored.
    said: Vec<Message>,
    /// What waits to be stored.
    waiting: Vec<Waiting>,
    empty_since: Option<u64>,
}

#[derive(Clone)]
struct Message {
    sender: String,
    id: Option<u8>,
}

struct Waiting {
    message: Message,
    /// The session that said it.
    session: u32,
    /// Who sent it again.
    again: Vec<u32>,
}

/// A message with an `id`.
struct Taken {
    sender: String,
    /// The key of the client that sent it.
    key: u32,
    id: u8,
    at: u64,
    place: Place,
}

#[derive(Clone)]
enum Place {
    Room { name: &'static str, epoch: usize, seq: usize },
    Client(String),
}

fn shown_id(id: Option<u8>) -> String {
    id.map_or_else(String::new, |id| format!(" id={id}"))
}

fn shown(room: &str, seq: usize, message: &Message) -> String {
    format!("{room}#{seq} {}{}", message.sender, shown_id(message.id))
}

fn is_guest(name: &str) -> bool {
    name.starts_with("guest-")
}

impl Naive {
    pub(crate) fn new() -> Self {
        Self { clients: vec![Client::default(); CLIENTS], ..Self::default() }
    }

    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.rooms.len(), self.sessions.len())
    }

    /// The name that is meant, as the dialogue shows it.
    pub(crate) fn name(&self, name: Name) -> String {
        match name {
            Name::Plain(name) => name.into(),
            Name::GuestOf(client) => self.clients[client].guest_name.clone().unwrap_or_else(|| "guest-nobody".into()),
        }
    }

    pub(crate) fn does(&mut self, step: Step) -> Told {
        match step {
            Step::Does { client, deed } => self.act(client, deed),
            Step::Wait { ms } => self.wait(ms),
            Step::Hold => self.is_held = true,
            Step::Store { count } => self.store(count),
            Step::Release => {
                self.is_held = false;
                self.store(usize::MAX);
            }
            Step::Fail { room } => self.fail(room),
        }
        std::mem::take(&mut self.told)
    }

    fn act(&mut self, client: usize, deed: Deed) {
        let Some(session) = self.sessions.iter().find(|session| session.client == client) else {
            if let Deed::Open { name, key, room } = deed {
                self.open(client, name, key, room);
            }
            return;
        };
        let number = session.number;
        let outcome = match deed {
            Deed::Open { .. } => return,
            Deed::Close => return self.close(number),
            Deed::Nonsense { times } => {
                for _ in 0..times {
                    self.count(number, None, Err("bad_json"));
                }
                return;
            }
            Deed::Hello { name, key } => self.hello(number, name, key),
            Deed::Say { to, claims, id } => self.say(number, to, claims, id),
            Deed::Join { room, after, own_epoch } => self.join(number, room, after, own_epoch),
            Deed::Leave { room } => self.leave(number, room),
            Deed::Rooms => {
                self.tell_rooms(number);
                Ok(())
            }
            Deed::Members { room } => self.tell_members(number, room),
            Deed::History { room, page, limit } => self.tell_history(number, room, page, limit),
            Deed::Ping => {
                self.tell(number, "pong".into());
                Ok(())
            }
        };
        self.count(number, deed.id(), outcome);
    }

    // ---- look-ups

    fn session(&mut self, number: u32) -> &mut Session {
        self.sessions.iter_mut().find(|session| session.number == number).unwrap()
    }

    fn tell(&mut self, number: u32, line: String) {
        if let Some(session) = self.sessions.iter().find(|session| session.number == number) {
            self.told.entry(session.client).or_default().push(line);
        }
    }

    fn room(&mut self, name: &str) -> Option<&mut Room> {
        self.rooms.iter_mut().find(|room| room.name == name)
    }

    fn members(&self, name: &str) -> Vec<u32> {
        self.sessions.iter().filter(|session| session.rooms.contains(&name)).map(|session| session.number).collect()
    }

    fn count(&mut self, number: u32, id: Option<u8>, outcome: Result<(), &'static str>) {
        let Some(at) = self.sessions.iter().position(|session| session.number == number) else { return };
        let Err(code) = outcome else {
            self.sessions[at].errors = 0;
            return;
        };
        self.sessions[at].errors += 1;
        self.tell(number, format!("error {code}{}", shown_id(id)));
        if self.sessions[at].errors >= ERRORS_MAX {
            self.tell(number, "closed 1008".into());
            self.close(number);
        }
    }

    // ---- sessions and names

    fn open(&mut self, client: usize, name: Option<Name>, key: Option<usize>, room: &'static str) {
        self.sessions_so_far += 1;
        let number = self.sessions_so_far;
        let name = name.map(|name| self.name(name));
        if let Some(name) = &name
            && self.may_claim(name, key).is_err()
        {
            let why = if is_guest(name) { "name_reserved" } else { "name_taken" };
            return self.told.entry(client).or_default().push(format!("refused {why}"));
        }
        if !self.make_space(room) {
            return self.told.entry(client).or_default().push("refused too_many_rooms".into());
        }
        let mut own_key = number;
        let name = match name {
            None => {
                let name = format!("guest-{number}");
                self.clients[client].guest_name = Some(name.clone());
                name
            }
            Some(name) => {
                own_key = self.claim(&name, key).unwrap().unwrap_or(number);
                name
            }
        };
        self.sessions.push(Session { client, number, name, key: own_key, rooms: Vec::new(), errors: 0 });
        self.enter(number, room);
        self.welcome(number);
    }

    fn welcome(&mut self, number: u32) {
        let (client, name, key, first) = {
            let session = self.session(number);
            (session.client, session.name.clone(), session.key, session.rooms.first().copied())
        };
        self.clients[client].key = Some(key);
        let Some(first) = first else { return self.tell(number, format!("welcome {name} nowhere")) };
        let room = self.room(first).unwrap();
        let (seq, epoch) = (room.said.len(), room.epoch);
        self.clients[client].epochs.insert(first, epoch);
        self.tell(number, format!("welcome {name} {first}#{seq} epoch {epoch}"));
    }

    /// Whether there is space for a room of this name. An empty room in which nothing was said goes for it.
    fn make_space(&mut self, name: &str) -> bool {
        if name == "lobby" || self.room(name).is_some() || self.rooms.len() < ROOMS_MAX {
            return true;
        }
        let silent = self.rooms.iter().filter(|room| {
            room.name != "lobby" && room.empty_since.is_some() && room.said.is_empty() && room.waiting.is_empty()
        });
        let Some(first) = silent.min_by_key(|room| (room.empty_since, room.name)).map(|room| room.name) else {
            return false;
        };
        self.rooms.retain(|room| room.name != first);
        true
    }

    fn may_claim(&self, name: &str, key: Option<usize>) -> Result<(), &'static str> {
        let key = key.and_then(|client| self.clients[client].key);
        match self.sessions.iter().find(|session| session.name == name) {
            None if is_guest(name) => Err("bad_name"),
            None => Ok(()),
            Some(holder) if Some(holder.key) == key => Ok(()),
            Some(_) if is_guest(name) => Err("bad_name"),
            Some(_) => Err("name_taken"),
        }
    }

    /// Frees a name for who may have it: the key that comes with it, or why not.
    fn claim(&mut self, name: &str, key: Option<usize>) -> Result<Option<u32>, &'static str> {
        let code = if is_guest(name) { "bad_name" } else { "name_taken" };
        let key = key.and_then(|client| self.clients[client].key);
        match self.sessions.iter().find(|session| session.name == name) {
            None if is_guest(name) => Err(code),
            // A free name: the key that is shown becomes its new holder's.
            None => Ok(key),
            Some(holder) if Some(holder.key) == key => {
                let number = holder.number;
                self.tell(number, "closed 4003".into());
                self.close(number);
                Ok(key)
            }
            Some(_) => Err(code),
        }
    }

    fn rename(&mut self, number: u32, name: &str, key: Option<usize>) -> Result<(), &'static str> {
        if self.session(number).name == name {
            return Ok(());
        }
        let key = self.claim(name, key)?;
        let session = self.session(number);
        session.name = name.into();
        session.key = key.unwrap_or(session.key);
        Ok(())
    }

    fn hello(&mut self, number: u32, name: Name, key: Option<usize>) -> Result<(), &'static str> {
        let name = self.name(name);
        self.rename(number, &name, key)?;
        self.welcome(number);
        Ok(())
    }

    fn close(&mut self, number: u32) {
        let Some(at) = self.sessions.iter().position(|session| session.number == number) else { return };
        let session = self.sessions.remove(at);
        session.rooms.into_iter().for_each(|room| self.note_empty(room));
    }

    // ---- rooms

    fn enter(&mut self, number: u32, name: &'static str) {
        if self.room(name).is_none() {
            let epoch = self.epochs_so_far;
            self.epochs_so_far += 1;
            self.rooms.push(Room { name, epoch, said: Vec::new(), waiting: Vec::new(), empty_since: None });
        }
        self.session(number).rooms.push(name);
        self.room(name).unwrap().empty_since = None;
    }

    fn note_empty(&mut self, name: &str) {
        let (now, is_empty) = (self.now, self.members(name).is_empty());
        if is_empty && let Some(room) = self.room(name) {
            room.empty_since = Some(now);
        }
    }

    fn join(
        &mut self,
        number: u32,
        name: &'static str,
        after: Option<u64>,
        own_epoch: bool,
    ) -> Result<(), &'static str> {
        let client = self.session(number).client;
        let is_member = self.session(number).rooms.contains(&name);
        let epoch = own_epoch.then(|| self.clients[client].epochs.get(name).copied()).flatten();
        if !is_member {
            if self.session(number).rooms.len() == ROOMS_PER_SESSION || !self.make_space(name) {
                return Err("too_many_rooms");
            }
            self.enter(number, name);
        }
        let count = self.members(name).len();
        let room = self.room(name).unwrap();
        let seq = room.said.len();
        let oldest_kept = (seq + 1).saturating_sub(MESSAGES_KEPT).max(1);
        let recovered = after.map(|after| {
            let after = usize::try_from(after).unwrap();
            epoch == Some(room.epoch) && after <= seq && after + 1 >= oldest_kept
        });
        let missed: Vec<String> = match (after, recovered) {
            (Some(after), Some(true)) => {
                let missed = room.said.iter().enumerate().skip(usize::try_from(after).unwrap());
                missed.map(|(place, message)| shown(name, place + 1, message)).collect()
            }
            _ => Vec::new(),
        };
        let epoch = room.epoch;
        self.clients[client].epochs.insert(name, epoch);
        let recovered = recovered.map_or("", |all| if all { " recovered" } else { " gap" });
        self.tell(number, format!("joined {name}#{seq} epoch {epoch} count {count}{recovered}"));
        for message in missed {
            self.tell(number, message);
        }
        Ok(())
    }

    fn leave(&mut self, number: u32, name: &'static str) -> Result<(), &'static str> {
        let rooms = &mut self.session(number).rooms;
        let at = rooms.iter().position(|room| *room == name).ok_or("not_a_member")?;
        rooms.remove(at);
        self.tell(number, format!("left {name}"));
        self.note_empty(name);
        Ok(())
    }

    fn tell_rooms(&mut self, number: u32) {
        let mut rooms: Vec<(usize, &str, usize)> = Vec::new();
        for room in &self.rooms {
            let count = self.members(room.name).len();
            if count > 0 || !room.said.is_empty() {
                rooms.push((count, room.name, room.said.len()));
            }
        }
        rooms.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        let list: Vec<String> = rooms.iter().map(|(count, name, seq)| format!("{name}#{seq} count {count}")).collect();
        self.tell(number, format!("rooms {list:?}"));
    }

    fn tell_members(&mut self, number: u32, name: &str) -> Result<(), &'static str> {
        if name != "lobby" {
            self.room(name).ok_or("no_such_room")?;
        }
        let members = self.sessions.iter().filter(|session| session.rooms.contains(&name));
        let mut names: Vec<String> = members.map(|session| session.name.clone()).collect();
        names.sort();
        self.tell(number, format!("members {name} {names:?}"));
        Ok(())
    }

    fn tell_history(&mut self, number: u32, name: &str, page: Page, limit: u16) -> Result<(), &'static str> {
        let said = match self.room(name) {
            Some(room) => room.said.len(),
            // The global chat is there for everybody who asks.
            None if name == "lobby" => 0,
            None => return Err("no_such_room"),
        };
        let kept: Vec<usize> = (1..=said).skip(said.saturating_sub(MESSAGES_KEPT)).collect();
        let fits = |seq: &usize| match page {
            Page::Newest => true,
            Page::Before(before) => *seq < usize::try_from(before).unwrap(),
            Page::After(after) => *seq > usize::try_from(after).unwrap(),
        };
        let all: Vec<usize> = kept.into_iter().filter(fits).collect();
        let limit = usize::from(limit).min(all.len());
        let part = if matches!(page, Page::After(_)) { &all[..limit] } else { &all[all.len() - limit..] };
        let line = format!("history {name} {part:?} more {}", part.len() < all.len());
        self.tell(number, line);
        Ok(())
    }

    // ---- messages

    fn say(&mut self, number: u32, to: To, claims: Option<Name>, id: Option<u8>) -> Result<(), &'static str> {
        let rooms = &self.session(number).rooms;
        let room = match to {
            To::FirstRoom => Some(*rooms.first().ok_or("not_a_member")?),
            To::Room(name) => Some(*rooms.iter().find(|room| **room == name).ok_or("not_a_member")?),
            To::Client(_) => None,
        };
        let receiver = if let To::Client(name) = to { Some(self.name(name)) } else { None };
        let (own, key) = (self.session(number).name.clone(), self.session(number).key);
        let sender = claims.map_or_else(|| own.clone(), |name| self.name(name));
        if sender != own {
            if !is_guest(&own) {
                return Err("client_id_mismatch");
            }
            if is_guest(&sender) {
                return Err("bad_name");
            }
            if self.sessions.iter().any(|session| session.name == sender) {
                return Err("name_taken");
            }
        }
        let is_repeated = id.is_some_and(|id| self.repeat(number, &sender, key, id));
        if !is_repeated && let Some(receiver) = &receiver {
            // As it will be once the sender has its name.
            let is_own = *receiver == sender;
            let is_others = self.sessions.iter().any(|other| other.number != number && other.name == *receiver);
            if !is_own && !is_others {
                return Err("no_such_client");
            }
        }
        self.session(number).name = sender.clone();
        if is_repeated {
            return Ok(());
        }
        let (place, now) = match (room, receiver) {
            (Some(name), _) => {
                let room = self.room(name).unwrap();
                room.waiting.push(Waiting {
                    message: Message { sender: sender.clone(), id },
                    session: number,
                    again: Vec::new(),
                });
                (Place::Room { name, epoch: room.epoch, seq: room.said.len() + room.waiting.len() }, self.now)
            }
            (None, receiver) => {
                let receiver = receiver.unwrap();
                let to = self.sessions.iter().find(|session| session.name == receiver).ok_or("no_such_client")?.number;
                let line = format!("{sender}@{receiver}{}", shown_id(id));
                self.tell(to, line.clone());
                if to != number {
                    self.tell(number, line);
                }
                if let Some(id) = id {
                    self.tell(number, format!("ack {id} @{receiver}"));
                }
                (Place::Client(receiver), self.now)
            }
        };
        let stores = if let Place::Room { name, .. } = place { Some(name) } else { None };
        if let Some(id) = id {
            self.taken.retain(|taken| (&taken.sender, taken.key, taken.id) != (&sender, key, id));
            self.taken.push(Taken { sender, key, id, at: now, place });
        }
        if let Some(name) = stores {
            self.to_store.push(name);
            if !self.is_held {
                self.store(usize::MAX);
            }
        }
        Ok(())
    }

    /// Acknowledges what was taken before, now or when it is stored.
    fn repeat(&mut self, number: u32, sender: &str, key: u32, id: u8) -> bool {
        let now = self.now;
        let is_it = |taken: &&Taken| taken.sender == sender && taken.key == key && taken.id == id;
        let Some((place, at)) = self.taken.iter().find(is_it).map(|taken| (taken.place.clone(), taken.at)) else {
            return false;
        };
        let is_late = now - at >= FIVE_MINUTES;
        match place {
            Place::Client(_) if is_late => return false,
            Place::Client(to) => self.tell(number, format!("ack {id} @{to} duplicate")),
            Place::Room { name, epoch, seq } => {
                let Some(room) = self.room(name).filter(|room| room.epoch == epoch) else { return false };
                let stored = room.said.len();
                if seq <= stored && is_late {
                    return false;
                }
                if seq > stored {
                    room.waiting[seq - stored - 1].again.push(number);
                } else {
                    self.tell(number, format!("ack {id} {name}#{seq} duplicate"));
                }
            }
        }
        true
    }

    fn store(&mut self, count: usize) {
        for _ in 0..count.min(self.to_store.len()) {
            let name = self.to_store.remove(0);
            let room = self.room(name).unwrap();
            let Waiting { message, session, again } = room.waiting.remove(0);
            room.said.push(message.clone());
            let seq = room.said.len();
            if let Some(id) = message.id {
                self.tell(session, format!("ack {id} {name}#{seq}"));
                for session in again {
                    self.tell(session, format!("ack {id} {name}#{seq} duplicate"));
                }
            }
            for member in self.members(name) {
                self.tell(member, shown(name, seq, &message));
            }
        }
    }

    fn fail(&mut self, name: &str) {
        let Some(room) = self.room(name) else { return };
        for Waiting { message, session, again } in std::mem::take(&mut room.waiting) {
            for session in std::iter::once(session).chain(again) {
                self.tell(session, format!("error unavailable{}", shown_id(message.id)));
            }
            self.taken.retain(|taken| (&taken.sender, Some(taken.id)) != (&message.sender, message.id));
        }
        self.to_store.retain(|room| *room != name);
    }

    // ---- time

    fn wait(&mut self, ms: u64) {
        self.now += ms;
        let now = self.now;
        let is_over = |room: &Room| room.empty_since.is_some_and(|since| now - since >= FIVE_MINUTES);
        self.rooms.retain(|room| !(room.waiting.is_empty() && is_over(room)));
    }
}
