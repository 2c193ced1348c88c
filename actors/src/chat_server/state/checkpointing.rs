//! With other nodes: checkpoints of what all nodes share, and a node that begins from one.

use std::time::Instant;

use bytes::Bytes;
use starling_protocol::{ClientId, ClientKey, Epoch, Seq};

use super::{ChatState, Direct};
use crate::chat_server::effect::{Effect, NodeEffect, Turn};
use crate::chat_server::parts::cluster::Cluster;
use crate::chat_server::parts::order::{Placed, Position};
use crate::chat_server::parts::remembered::{IdKey, RememberedIds};
use crate::chat_server::parts::room::{Room, Viewer};
use crate::clock::Now;
use crate::history::{Restored, RoomKey, StoredRoom};
use crate::identity::IdOwner;
use crate::ids::RoomId;
use crate::nodes::checkpoint::{Checkpoint, DirectThen, HolderThen, IdThen, IdsThen, LifeThen, PlacedThen, RoomThen};
use crate::nodes::digest::Digest;
use crate::nodes::names::Holder;
use crate::nodes::record::{BadRecord, Incarnation, LogEntry, LogPosition, RecordId, RemoteSession};
use crate::nodes::replica::Life;

impl ChatState {
    /// With other nodes: begins from a checkpoint, or with nothing, over what the history has: everything up to the record
    /// `kept_upto`. Called once, after [`become_node`](Self::become_node).
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

    /// With other nodes: everything that was in the log at the start was read. Rooms that the history has and the log does
    /// not know are dropped.
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

    /// The state that all nodes share.
    fn checkpoint(&self) -> Checkpoint {
        let Some(cluster) = &self.cluster else { return Checkpoint::default() };
        let mut numbers = rustc_hash::FxHashMap::default();
        let mut rooms = Vec::new();
        for (id, room) in self.rooms.iter().filter(|(id, room)| self.find(room.key()) == Some(*id)) {
            numbers.insert(id, u32::try_from(rooms.len()).unwrap_or(u32::MAX));
            rooms.push(self.room_then(id, room));
        }
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
            rooms,
        }
    }

    fn room_then(&self, id: RoomId, room: &Room) -> RoomThen {
        let position = self.order.position(id);
        let present =
            room.present().map(|(name, lives)| (name.as_str().to_owned(), lives.iter().map(|life| life.0).collect()));
        RoomThen {
            key: room.key().to_string(),
            epoch: position.epoch.0,
            seq: position.seq.0,
            present: present.collect(),
            sent: self.inboxes.noted(id).0,
            maker: self.inboxes.maker_of(id).map(|(maker, is_alone)| (maker.as_str().to_owned(), is_alone)),
        }
    }

    fn take_over(&mut self, checkpoint: Checkpoint, now: Now) -> Result<(), BadRecord> {
        let Checkpoint { position, at, digest, lives, names, rooms, placed: placed_ids, direct: direct_ids } =
            checkpoint;
        let client = |name: &str| ClientId::parse(name).map_err(|_| BadRecord::Foreign);
        let mut numbers = Vec::new();
        for room in rooms {
            numbers.push(self.take_over_room(room, now)?);
        }
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        (cluster.digest, cluster.asked_at) = (Digest(digest), LogPosition(position));
        let lives = lives.into_iter().map(|LifeThen { incarnation, node, counter, out_since }| {
            (Incarnation(incarnation), Life { node: node.into(), counter, out_since })
        });
        cluster.replica.restore(LogPosition(position), at, lives);
        for (name, holders) in names {
            let name = client(&name)?;
            for HolderThen { incarnation, session, key } in holders {
                let session = RemoteSession { incarnation: Incarnation(incarnation), session };
                cluster.names.restore(name.clone(), Holder { session, key: ClientKey(key) });
            }
        }
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

    fn take_over_room(&mut self, then: RoomThen, now: Now) -> Result<RoomId, BadRecord> {
        let RoomThen { key, epoch, seq, present, sent, maker } = then;
        let client = |name: &str| ClientId::parse(name).map_err(|_| BadRecord::Foreign);
        let key = RoomKey::parse(&key).map_err(|_| BadRecord::Foreign)?;
        let position = Position { epoch: Epoch(epoch), seq: Seq(seq) };
        let room = self.make_at(key, position, now).ok_or(BadRecord::Foreign)?;
        let own = self.cluster.as_ref().map_or(Incarnation(0), |cluster| cluster.life());
        for (name, lives) in present {
            let name = client(&name)?;
            for life in lives {
                let viewer = Viewer { own, is_here: false, now: now.at };
                self.rooms.set_present(room, &name, (Incarnation(life), true), &viewer);
            }
        }
        self.inboxes.restore_sent(room, Seq(sent));
        if let Some((maker, is_alone)) = maker {
            self.inboxes.made_by(room, &client(&maker)?);
            if !is_alone {
                self.inboxes.share(room);
            }
        }
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
