//! The connected clients and their names.

use super::super::{Name, ROOMS_MAX};
use super::{Naive, Session, is_guest};

impl Naive {
    pub(super) fn open(&mut self, client: usize, name: Option<Name>, key: Option<usize>, room: &'static str) {
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

    pub(super) fn welcome(&mut self, number: u32) {
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

    /// Whether there is space for a room of this name. An empty room without messages is dropped for it.
    pub(super) fn make_space(&mut self, name: &str) -> bool {
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

    pub(super) fn may_claim(&self, name: &str, key: Option<usize>) -> Result<(), &'static str> {
        let key = key.and_then(|client| self.clients[client].key);
        match self.sessions.iter().find(|session| session.name == name) {
            None if is_guest(name) => Err("bad_name"),
            None => Ok(()),
            Some(holder) if Some(holder.key) == key => Ok(()),
            Some(_) if is_guest(name) => Err("bad_name"),
            Some(_) => Err("name_taken"),
        }
    }

    /// Frees a name for a client that may have it. Returns the key of the name, or the reason against it.
    pub(super) fn claim(&mut self, name: &str, key: Option<usize>) -> Result<Option<u32>, &'static str> {
        let code = if is_guest(name) { "bad_name" } else { "name_taken" };
        let key = key.and_then(|client| self.clients[client].key);
        match self.sessions.iter().find(|session| session.name == name) {
            None if is_guest(name) => Err(code),
            // A free name: the shown key becomes the key of the new holder.
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

    pub(super) fn rename(&mut self, number: u32, name: &str, key: Option<usize>) -> Result<(), &'static str> {
        if self.session(number).name == name {
            return Ok(());
        }
        let key = self.claim(name, key)?;
        let session = self.session(number);
        session.name = name.into();
        session.key = key.unwrap_or(session.key);
        Ok(())
    }

    pub(super) fn hello(&mut self, number: u32, name: Name, key: Option<usize>) -> Result<(), &'static str> {
        let name = self.name(name);
        self.rename(number, &name, key)?;
        self.welcome(number);
        Ok(())
    }

    pub(super) fn close(&mut self, number: u32) {
        let Some(at) = self.sessions.iter().position(|session| session.number == number) else { return };
        let session = self.sessions.remove(at);
        session.rooms.into_iter().for_each(|room| self.note_empty(room));
    }
}
