//! The model: lists that are searched from the beginning, and the rules as docs/protocol.md states them.

mod messages;
mod sessions;

use std::collections::BTreeMap;

use super::{CLIENTS, Deed, MESSAGES_KEPT, Name, Page, ROOMS_PER_SESSION, Step};

const FIVE_MINUTES: u64 = 300_000;
const ERRORS_MAX: u32 = 20;

/// The output for each client, in order.
pub(crate) type Told = BTreeMap<usize, Vec<String>>;

#[derive(Default)]
pub(crate) struct Naive {
    now: u64,
    sessions: Vec<Session>,
    rooms: Vec<Room>,
    /// The numbers of sessions and epochs so far.
    sessions_so_far: u32,
    epochs_so_far: usize,
    taken: Vec<Taken>,
    is_held: bool,
    /// The rooms of the messages that wait to be stored, in order.
    to_store: Vec<&'static str>,
    pub(crate) clients: Vec<Client>,
    told: Told,
}

/// The knowledge of a client, beyond its connections.
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
    /// All stored messages.
    said: Vec<Message>,
    /// The messages that wait to be stored.
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
    /// The sender's session.
    session: u32,
    /// The senders of repetitions.
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

    /// The name as the dialogue shows it.
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
            // The lobby exists for every client that asks for it.
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

    // ---- time

    fn wait(&mut self, ms: u64) {
        self.now += ms;
        let now = self.now;
        let is_over = |room: &Room| room.empty_since.is_some_and(|since| now - since >= FIVE_MINUTES);
        self.rooms.retain(|room| !(room.waiting.is_empty() && is_over(room)));
    }
}
