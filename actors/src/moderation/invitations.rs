//! The clients that operators have invited to rooms. Whether a room is private is one of its settings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use starling_protocol::{ClientId, RoomName};

use super::ineffective::Ineffective;
use super::row::{Row, text};

/// Most invitations.
pub const INVITATIONS_MAX: usize = 10_000;

/// Most invitations to one room.
pub const INVITATIONS_PER_ROOM_MAX: usize = 1_000;

/// The kind of its rows.
pub(super) const INVITATION: &str = "invitation";

/// An invitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// The operator.
    pub by: Box<str>,
    /// The time, in milliseconds since the Unix epoch.
    pub at: u64,
}

/// All invitations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Invitations {
    by_room: BTreeMap<RoomName, BTreeMap<ClientId, Invitation>>,
    count: usize,
}

impl Invitations {
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn includes(&self, name: &ClientId, room: &RoomName) -> bool {
        self.by_room.get(room).is_some_and(|invited| invited.contains_key(name))
    }

    /// The invitations to a room, in the order of the names.
    pub(super) fn to(&self, room: &RoomName) -> impl Iterator<Item = (&ClientId, &Invitation)> {
        self.by_room.get(room).into_iter().flatten()
    }

    /// Invites a client. A second invitation replaces the first.
    pub(super) fn add(
        &mut self,
        name: &ClientId,
        room: &RoomName,
        invitation: Invitation,
    ) -> Result<Vec<Row>, Ineffective> {
        if !self.includes(name, room) {
            if self.to(room).count() >= INVITATIONS_PER_ROOM_MAX {
                return Err(Ineffective::TooManyInvited(INVITATIONS_PER_ROOM_MAX, "to this room"));
            }
            if self.count >= INVITATIONS_MAX {
                return Err(Ineffective::TooManyInvited(INVITATIONS_MAX, "in all"));
            }
        }
        let row = row(name, room, &invitation);
        self.put(name.clone(), room.clone(), invitation);
        Ok(vec![row])
    }

    pub(super) fn remove(&mut self, name: &ClientId, room: &RoomName) -> Result<Vec<Row>, Ineffective> {
        let invited = self.by_room.get_mut(room).ok_or(Ineffective::NotInvited)?;
        invited.remove(name).ok_or(Ineffective::NotInvited)?;
        if invited.is_empty() {
            self.by_room.remove(room);
        }
        self.count -= 1;
        Ok(vec![Row { key: key(name, room), value: None }])
    }

    fn put(&mut self, name: ClientId, room: RoomName, invitation: Invitation) {
        let earlier = self.by_room.entry(room).or_default().insert(name, invitation);
        self.count += usize::from(earlier.is_none());
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        let of = |(room, invited): (_, &BTreeMap<_, _>)| {
            invited.iter().map(|(name, invitation)| row(name, room, invitation)).collect::<Vec<_>>()
        };
        self.by_room.iter().flat_map(of)
    }

    /// Takes a row of an earlier process or another node over; `of` is its key without the kind.
    pub(super) fn restore(&mut self, of: &str, value: &str) -> Option<()> {
        let (room, name) = of.split_once(' ')?;
        let (room, name) = (RoomName::parse(room).ok()?, ClientId::parse(name).ok()?);
        self.put(name, room, serde_json::from_str(value).ok()?);
        Some(())
    }
}

fn key(name: &ClientId, room: &RoomName) -> String {
    format!("{INVITATION} {room} {name}")
}

fn row(name: &ClientId, room: &RoomName, invitation: &Invitation) -> Row {
    Row { key: key(name, room), value: Some(text(invitation)) }
}
