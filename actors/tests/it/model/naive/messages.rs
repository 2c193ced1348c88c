//! Messages: accepted, stored, acknowledged, repeated.

use super::super::{Name, To};
use super::{FIVE_MINUTES, Message, Naive, Place, Taken, Waiting, is_guest, shown, shown_id};

impl Naive {
    pub(super) fn say(
        &mut self,
        number: u32,
        to: To,
        claims: Option<Name>,
        id: Option<u8>,
    ) -> Result<(), &'static str> {
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
            // The state after the sender has taken its name.
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

    /// Acknowledges an earlier accepted message, now or when it is stored.
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

    pub(super) fn store(&mut self, count: usize) {
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

    pub(super) fn fail(&mut self, name: &str) {
        let Some(room) = self.room(name) else { return };
        for Waiting { message, session, again } in std::mem::take(&mut room.waiting) {
            for session in std::iter::once(session).chain(again) {
                self.tell(session, format!("error unavailable{}", shown_id(message.id)));
            }
            self.taken.retain(|taken| (&taken.sender, Some(taken.id)) != (&message.sender, message.id));
        }
        self.to_store.retain(|room| *room != name);
    }
}
