//! What the log says of rooms and inboxes: who enters and leaves, which begin and which end.
//!
//! All nodes share one table of rooms and one of inboxes. Which room or inbox gets a place, and which one loses its place
//! to it, depends on the log alone: on its order, its time, and on the clients that are present as it says.

use smallvec::SmallVec;
use starling_protocol::{ClientId, Epoch, RoomName, Seq};

use super::Source;
use crate::chat_server::command::{DropReply, OpenRefusal};
use crate::chat_server::effect::Turn;
use crate::chat_server::parts::room::{OnNode, Room, Viewer};
use crate::chat_server::state::ChatState;
use crate::history::RoomKey;
use crate::ids::RoomId;
use crate::nodes::names::Holder;
use crate::nodes::record::{Incarnation, Opening, RemoteSession};

impl ChatState {
    /// The room or inbox with this key.
    pub(in super::super) fn find(&self, key: &RoomKey) -> Option<RoomId> {
        match key {
            RoomKey::Room(name) => self.rooms.find(name.as_str()),
            RoomKey::Inbox(owner) => self.inboxes.find(owner.as_str()),
        }
    }

    /// The room or inbox with this key. If there is none, it begins in this epoch, unless there is no space for it.
    pub(super) fn open_room(&mut self, key: &RoomKey, epoch: Epoch, source: Source, turn: &mut Turn) -> Option<RoomId> {
        if let Some(room) = self.find(key) {
            return Some(room);
        }
        let has_space = match key {
            RoomKey::Room(name) => self.make_space_at(name, source.taken_at, turn).is_ok(),
            RoomKey::Inbox(_) => {
                self.make_space_for_owner(turn);
                true
            }
        };
        self.digest(&[u64::from(has_space), epoch.0]);
        if has_space { self.make_in(key.clone(), epoch, source.taken_at) } else { None }
    }

    pub(super) fn logged_open(&mut self, opening: Opening, source: Source, turn: &mut Turn) -> Result<(), OpenRefusal> {
        let Opening { name, key, session, is_authenticated, room, epoch, inbox } = opening;
        let holder = Holder { session: RemoteSession { incarnation: source.life, session }, key };
        if !self.cluster.as_ref().is_some_and(|it| it.names.may_take(&name, &holder, is_authenticated)) {
            self.digest(&[1, session]);
            return Err(if name.is_guest() { OpenRefusal::NameReserved } else { OpenRefusal::NameTaken(name) });
        }
        // Made first: a client that is refused must keep its old connection.
        let room = RoomKey::Room(room);
        self.open_room(&room, epoch, source, turn).ok_or(OpenRefusal::TooManyRooms)?;
        self.take_name(&name, holder, is_authenticated, source, turn);
        self.logged_enter(&room, &name, epoch, source, turn);
        if let Some(epoch) = inbox {
            self.inboxes.claim(&name);
            self.logged_enter(&RoomKey::Inbox(name.clone()), &name, epoch, source, turn);
        }
        Ok(())
    }

    pub(super) fn logged_enter(
        &mut self,
        key: &RoomKey,
        name: &ClientId,
        epoch: Epoch,
        source: Source,
        turn: &mut Turn,
    ) {
        let room = self.open_room(key, epoch, source, turn);
        if let Some(room) = room {
            self.set_present(room, name, (source.life, true), source, turn);
        }
        let is_here = self.is_in(key, name);
        let Some(cluster) = self.cluster.as_mut().filter(|cluster| cluster.life() == source.life) else { return };
        match room {
            Some(_) => cluster.entered(key, name, is_here),
            None => cluster.was_refused(key, name),
        }
    }

    pub(super) fn set_present(
        &mut self,
        room: RoomId,
        name: &ClientId,
        (life, is_in): (Incarnation, bool),
        source: Source,
        turn: &mut Turn,
    ) {
        let Some(cluster) = &self.cluster else { return };
        let own = cluster.life();
        let on = OnNode { life, holds_name: cluster.names.is_held_on(name, life) };
        let Some(key) = self.rooms.get(room).map(|room| room.key().clone()) else { return };
        let viewer = Viewer { own, is_here: self.is_in(&key, name), at: source.taken_at };
        if self.rooms.set_present(room, name, (on, is_in), &viewer) && key.room().is_some() {
            let (joined, left) = if is_in && on.holds_name { (Some(name), None) } else { (None, Some(name)) };
            self.note_presence(room, joined, left, turn);
        }
    }

    pub(super) fn logged_end(&mut self, key: &RoomKey, epoch: Epoch, seq: Seq, turn: &mut Turn) {
        let Some(room) = self.find(key) else { return };
        let position = self.order.position(room);
        let is_over = position.epoch == epoch
            && position.seq == seq
            && self.rooms.get(room).is_some_and(Room::is_vacant)
            && *key != RoomKey::Room(RoomName::lobby());
        self.digest(&[u64::from(is_over), epoch.0]);
        if is_over {
            self.end_room(room, None, turn);
        }
    }

    pub(super) fn logged_drop(
        &mut self,
        key: &RoomKey,
        (epoch, reply): (Epoch, Option<DropReply>),
        source: Source,
        turn: &mut Turn,
    ) {
        self.digest(&[epoch.0]);
        let present: Vec<_> = self.find(key).and_then(|room| self.rooms.get(room)).map_or_else(Vec::new, |room| {
            room.present().map(|(name, nodes)| (name.clone(), SmallVec::<[_; 1]>::from_slice(nodes))).collect()
        });
        if let RoomKey::Room(_) = key
            && let Some(cluster) = &mut self.cluster
        {
            cluster.forget_room(key);
        }
        self.drop_now(key, reply, (epoch, source.taken_at), turn);
        let is_lobby = *key == RoomKey::Room(RoomName::lobby());
        let is_claimed = key.owner().is_some() && !present.is_empty();
        if is_lobby || is_claimed {
            // It takes its own place.
            let made = self.find(key).or_else(|| self.make_in(key.clone(), epoch, source.taken_at));
            let Some(room) = made else { return };
            if is_claimed {
                for (name, nodes) in present {
                    for node in nodes {
                        self.set_present(room, &name, (node.life, true), source, turn);
                    }
                }
            }
        }
    }

    pub(super) fn logged_make(
        &mut self,
        owner: &ClientId,
        maker: &ClientId,
        epoch: Epoch,
        source: Source,
        turn: &mut Turn,
    ) {
        if self.inboxes.find(owner.as_str()).is_none() {
            let made = self.make_unclaimed(owner, maker, (epoch, source.taken_at), turn);
            self.digest(&[u64::from(made.is_ok()), epoch.0]);
        }
    }
}
