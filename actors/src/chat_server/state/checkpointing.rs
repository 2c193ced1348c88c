//! With other nodes: checkpoints of the state that all nodes share, and a start from a checkpoint.

use bytes::Bytes;
use starling_protocol::{ClientId, ClientKey, Epoch, Seq};

use super::{ChatState, Direct};
use crate::chat_server::effect::{Effect, NodeEffect, Turn};
use crate::chat_server::parts::cluster::Cluster;
use crate::chat_server::parts::order::{Placed, Position};
use crate::chat_server::parts::positions::Reader;
use crate::chat_server::parts::remembered::{IdKey, RememberedIds};
use crate::chat_server::parts::room::{OnNode, Room, Viewer};
use crate::clock::{Instant, Now};
use crate::history::{Restored, RoomKey, Standing, StoredRoom};
use crate::identity::IdOwner;
use crate::ids::RoomId;
use crate::moderation::{Moderation, Row};
use crate::nodes::checkpoint::{
    Checkpoint, DirectThen, HolderThen, IdThen, IdsThen, LifeThen, PlacedThen, PositionThen, RoomThen, UnclaimedThen,
};
use crate::nodes::digest::Digest;
use crate::nodes::names::Holder;
use crate::nodes::record::{BadRecord, Incarnation, LogEntry, LogPosition, RecordId, RemoteSession};
use crate::nodes::replica::Life;

impl ChatState {
    /// With other nodes: begins from a checkpoint or from the beginning of the log. The history has all messages up to
    /// the record `kept_upto`. Called once, after [`become_node`](Self::become_node).
    ///
    /// # Errors
    /// [`BadRecord`]: the checkpoint cannot be read.
    ///
    /// # Panics
    /// Like [`restore`](Self::restore).
    pub fn begin_from(
        &mut self,
        checkpoint: Option<&[u8]>,
        restored: Restored,
        kept_upto: LogPosition,
        now: Now,
    ) -> Result<(), BadRecord> {
        if let Some(cluster) = &mut self.cluster {
            cluster.kept_upto = kept_upto;
        }
        for (index, StoredRoom { key, epoch, seq, oldest, .. }) in (0..).zip(restored.rooms) {
            let kept = (seq.0 + 1).saturating_sub(oldest.0);
            let room = self.rooms.put_to_sleep(key, epoch, (kept, seq), now.at);
            assert_eq!(room, Some(RoomId(index)), "the number of a restored room is its index");
        }
        match checkpoint.map(Checkpoint::read).transpose()? {
            Some(checkpoint) => self.take_over(checkpoint, now),
            None => Ok(()),
        }
    }

    /// With other nodes: all records that were in the log at the start have been read. Rooms that are in the history
    /// but not in the log are dropped.
    pub(super) fn has_caught_up(&mut self, turn: &mut Turn) {
        for room in self.rooms.forget_asleep() {
            turn.push(Effect::Forget { room, receipt: None });
        }
    }

    pub(super) fn logged_checkpoint(&mut self, at: RecordId, is_own: bool, turn: &mut Turn) {
        let Some(cluster) = &mut self.cluster else { return };
        cluster.note_checkpoint(at.position);
        if is_own {
            let digest = cluster.digest.0;
            cluster.propose(LogEntry::Digest { at: at.position, digest }, None);
            let state = Bytes::from(self.checkpoint().write());
            turn.push(Effect::Node(NodeEffect::Checkpoint { at, state }));
        }
    }

    /// Another node has read up to a checkpoint, and had this digest behind it.
    pub(super) fn logged_digest(&self, at: LogPosition, digest: u64, turn: &mut Turn) {
        let known = self.cluster.iter().flat_map(|cluster| &cluster.checkpoints);
        let own = known.filter(|(position, _)| *position == at).map(|(_, digest)| digest.0).next();
        if own.is_some_and(|own| own != digest) {
            turn.push(Effect::Node(NodeEffect::Diverged { at }));
        }
    }

    /// The state that all nodes share.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        let Some(cluster) = &self.cluster else { return Checkpoint::default() };
        let mut numbers = rustc_hash::FxHashMap::default();
        let mut rooms = Vec::new();
        for (id, room) in self.rooms.iter().filter(|(id, room)| self.find(room.key()) == Some(*id)) {
            numbers.insert(id, u32::try_from(rooms.len()).unwrap_or(u32::MAX));
            rooms.push(self.room_then(cluster, id, room));
        }
        let deletions = self.rooms.iter().filter_map(|(id, _)| {
            let deletion = self.order.last_deletion(id).0;
            numbers.get(&id).filter(|_| deletion > 0).map(|room| (*room, deletion))
        });
        let unclaimed = self.inboxes.unclaimed().filter_map(|(inbox, maker, is_alone)| {
            Some(UnclaimedThen { room: *numbers.get(&inbox)?, maker: maker.as_str().to_owned(), is_alone })
        });
        let placed = |placed: &Placed| PlacedThen {
            room: numbers.get(&placed.room).copied().filter(|_| self.order.position(placed.room).epoch == placed.epoch),
            epoch: placed.epoch.0,
            seq: placed.seq.0,
            at: placed.at,
        };
        let direct = |Direct { to, at }: &Direct| DirectThen { to: to.as_str().to_owned(), at: *at };
        let lives = cluster.replica.lives().map(|(incarnation, life)| LifeThen {
            incarnation: incarnation.0,
            node: life.node.to_string(),
            counter: life.counter,
            out_since: life.out_since,
        });
        let read = self.positions.all().filter_map(|(Reader { owner, is_guest }, room, Standing { upto, since })| {
            let room = *numbers.get(&room)?;
            Some(PositionThen { owner: owner.0, is_guest, room, seq: upto.0, since: since.0 })
        });
        let names = cluster.names.iter().map(|(name, holders)| {
            let holders = holders.iter().map(|holder| HolderThen {
                incarnation: holder.session.incarnation.0,
                session: holder.session.session,
                key: holder.key.0,
            });
            (name.as_str().to_owned(), holders.collect())
        });
        Checkpoint {
            position: cluster.replica.position().0,
            at: cluster.replica.at(),
            digest: cluster.digest.0,
            lives: lives.collect(),
            names: names.collect(),
            placed: ids_then(self.order.ids(), cluster, placed),
            direct: ids_then(&self.direct_ids, cluster, direct),
            unclaimed: unclaimed.collect(),
            deletions: deletions.collect(),
            read: read.collect(),
            moderation: self.moderation.rows().into_iter().filter_map(|row| Some((row.key, row.value?))).collect(),
            rooms,
        }
    }

    fn room_then(&self, cluster: &Cluster, id: RoomId, room: &Room) -> RoomThen {
        let position = self.order.position(id);
        let present = room
            .present()
            .map(|(name, nodes)| (name.as_str().to_owned(), nodes.iter().map(|node| node.life.0).collect()));
        RoomThen {
            key: room.key().to_string(),
            epoch: position.epoch.0,
            seq: position.seq.0,
            present: present.collect(),
            empty_since: room.empty_since().map_or(0, |since| cluster.log_time(since)),
            sent: self.inboxes.noted(id).0,
        }
    }

    fn take_over(&mut self, checkpoint: Checkpoint, now: Now) -> Result<(), BadRecord> {
        let Checkpoint { position, at, digest, lives, names, rooms, unclaimed, deletions, read, moderation, .. } =
            checkpoint;
        let rows = moderation.into_iter().map(|(key, value)| Row { key, value: Some(value) });
        self.moderation = Moderation::restore(rows).map_err(|_| BadRecord::Foreign)?;
        let (placed_ids, direct_ids) = (checkpoint.placed, checkpoint.direct);
        let client = |name: &str| ClientId::parse(name).map_err(|_| BadRecord::Foreign);
        // The names come first: only who holds a name is a member of a room.
        if let Some(cluster) = &mut self.cluster {
            for (name, holders) in names {
                let name = client(&name)?;
                for HolderThen { incarnation, session, key } in holders {
                    let session = RemoteSession { incarnation: Incarnation(incarnation), session };
                    cluster.names.restore(name.clone(), Holder { session, key: ClientKey(key) });
                }
            }
        }
        let mut numbers = Vec::new();
        for room in rooms {
            numbers.push(self.take_over_room(room, at, now)?);
        }
        for UnclaimedThen { room, maker, is_alone } in unclaimed {
            let inbox = *numbers.get(room as usize).ok_or(BadRecord::Foreign)?;
            self.inboxes.made_by(inbox, &client(&maker)?);
            if !is_alone {
                self.inboxes.share(inbox);
            }
        }
        for (room, seq) in deletions {
            self.order.note_deletion(*numbers.get(room as usize).ok_or(BadRecord::Foreign)?, Seq(seq));
        }
        for PositionThen { owner, is_guest, room, seq, since } in read {
            let (reader, room) = (Reader { owner: IdOwner(owner), is_guest }, numbers.get(room as usize));
            let standing = Standing { upto: Seq(seq), since: Seq(since) };
            self.positions.put(reader, *room.ok_or(BadRecord::Foreign)?, standing);
        }
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        (cluster.digest, cluster.asked_at) = (Digest(digest), LogPosition(position));
        let lives = lives.into_iter().map(|LifeThen { incarnation, node, counter, out_since }| {
            (Incarnation(incarnation), Life { node: node.into(), counter, out_since })
        });
        cluster.replica.restore(LogPosition(position), at, lives);
        let placed = |placed: PlacedThen| {
            Ok(Placed {
                room: placed.room.and_then(|room| numbers.get(room as usize)).copied().unwrap_or(RoomId(u32::MAX)),
                epoch: Epoch(placed.epoch),
                seq: Seq(placed.seq),
                at: placed.at,
            })
        };
        let direct = |DirectThen { to, at }: DirectThen| Ok(Direct { to: client(&to)?, at });
        restore_ids(placed_ids, self.order.ids_mut(), cluster, (at, now.at), placed)?;
        restore_ids(direct_ids, &mut self.direct_ids, cluster, (at, now.at), direct)?;
        Ok(())
    }

    /// `at`: the log's time of the checkpoint.
    fn take_over_room(&mut self, then: RoomThen, at: u64, now: Now) -> Result<RoomId, BadRecord> {
        let RoomThen { key, epoch, seq, present, empty_since, sent } = then;
        let client = |name: &str| ClientId::parse(name).map_err(|_| BadRecord::Foreign);
        let key = RoomKey::parse(&key).map_err(|_| BadRecord::Foreign)?;
        let position = Position { epoch: Epoch(epoch), seq: Seq(seq) };
        let Some(cluster) = &mut self.cluster else { return Err(BadRecord::Foreign) };
        let own = cluster.life();
        let since = cluster.instant_of_restored(empty_since, at, now.at);
        let room = self.make_at(key, position, since).ok_or(BadRecord::Foreign)?;
        for (name, lives) in present {
            let name = client(&name)?;
            for life in lives.into_iter().map(Incarnation) {
                let viewer = Viewer { own, is_here: false, at: since };
                let holds_name = self.cluster.as_ref().is_some_and(|cluster| cluster.names.is_held_on(&name, life));
                self.rooms.set_present(room, &name, (OnNode { life, holds_name }, true), &viewer);
            }
        }
        self.inboxes.restore_sent(room, Seq(sent));
        Ok(room)
    }
}

fn ids_then<T: Clone, V>(ids: &RememberedIds<T>, cluster: &Cluster, then: impl Fn(&T) -> V) -> IdsThen<V> {
    let (entries, swept) = ids.all();
    let entry = |(at, IdKey(owner, hash), message): (Instant, IdKey, Option<&T>)| IdThen {
        owner: owner.0,
        hash,
        taken_at: cluster.log_time(at),
        message: message.map(&then),
    };
    IdsThen {
        ids: entries.map(entry).collect(),
        swept: swept as u64,
        sweep: ids.sweep().map(|(excess, level)| (excess as u64, level as u64)),
    }
}

/// `at`: the log's time of the checkpoint, and this process's time now.
fn restore_ids<T: Clone, V>(
    then: IdsThen<V>,
    ids: &mut RememberedIds<T>,
    cluster: &mut Cluster,
    (at, now): (u64, Instant),
    restored: impl Fn(V) -> Result<T, BadRecord>,
) -> Result<(), BadRecord> {
    let mut entry = |IdThen { owner, hash, taken_at, message }: IdThen<V>| {
        let taken_at = cluster.instant_of_restored(taken_at, at, now);
        Ok((taken_at, IdKey(IdOwner(owner), hash), message.map(&restored).transpose()?))
    };
    let entries: Vec<_> = then.ids.into_iter().map(&mut entry).collect::<Result<_, BadRecord>>()?;
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let sweep = then.sweep.map(|(excess, level)| (number(excess), number(level)));
    ids.restore(entries.into_iter(), number(then.swept), sweep);
    Ok(())
}
