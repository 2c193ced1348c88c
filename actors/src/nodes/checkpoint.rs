//! A checkpoint: the state that all nodes share after a record of the log, as bytes.
//!
//! A node that begins from a checkpoint behaves exactly like a node that has read all earlier records.

use serde::{Deserialize, Serialize};

use super::record::BadRecord;

/// The format that this server writes. It also reads format 1, which has no deletions, format 2, which has no read
/// positions and no moderation, and format 3, where a slow mode is the only setting of a room.
const FORMAT: u8 = 4;

/// The state, in plain values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The last record that it contains.
    pub position: u64,
    /// The newest time of the log, in milliseconds since the Unix epoch.
    pub at: u64,
    /// See [`Digest`](super::digest::Digest).
    pub digest: u64,
    /// The lives that are remembered.
    pub lives: Vec<LifeThen>,
    /// All names with their holders.
    pub names: Vec<(String, Vec<HolderThen>)>,
    /// All rooms and inboxes.
    pub rooms: Vec<RoomThen>,
    /// The inboxes whose owner has never connected, those of one maker in the order in which it has made them.
    pub unclaimed: Vec<UnclaimedThen>,
    /// The remembered `id`s of messages that were placed.
    pub placed: IdsThen<PlacedThen>,
    /// The remembered `id`s of private messages that are not stored.
    pub direct: IdsThen<DirectThen>,
    /// The newest deletion of a message in each room that had one. The key is the index in `rooms`.
    #[serde(skip)]
    pub deletions: Vec<(u32, u64)>,
    /// How far clients have read, in the order in which the positions are noted again.
    #[serde(skip)]
    pub read: Vec<PositionThen>,
    /// The rows of the [`Moderation`](crate::moderation::Moderation).
    #[serde(skip)]
    pub moderation: Vec<(String, String)>,
}

/// How far a client has read in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionThen {
    /// The client.
    pub owner: u64,
    /// Whether it is a guest, whose positions go with it.
    pub is_guest: bool,
    /// The index of the room in [`Checkpoint::rooms`].
    pub room: u32,
    /// The newest message that it has read.
    pub seq: u64,
    /// The entry behind which it sees the room.
    #[serde(skip)]
    pub since: u64,
}

/// A life of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifeThen {
    /// Its number.
    pub incarnation: u64,
    /// The node's name.
    pub node: String,
    /// Its newest record.
    pub counter: u64,
    /// The time at which it was declared dead.
    pub out_since: Option<u64>,
}

/// A session that holds a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderThen {
    /// The life of its node.
    pub incarnation: u64,
    /// Its number there.
    pub session: u64,
    /// The secret of its client.
    pub key: u128,
}

/// A room or an inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomThen {
    /// The text of its [`RoomKey`](crate::history::RoomKey).
    pub key: String,
    /// Its epoch.
    pub epoch: u64,
    /// Its newest message.
    pub seq: u64,
    /// The clients in it, and the lives of the nodes that they are on.
    pub present: Vec<(String, Vec<u64>)>,
    /// Since when nobody is in it, by the log's clock; without meaning while somebody is.
    pub empty_since: u64,
    /// For an inbox: how far its owner was sent the messages.
    pub sent: u64,
}

/// An inbox whose owner has never connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnclaimedThen {
    /// Its index in [`Checkpoint::rooms`].
    pub room: u32,
    /// The client that made it.
    pub maker: String,
    /// Whether no other client has written into it.
    pub is_alone: bool,
}

/// Remembered `id`s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdsThen<T> {
    /// In the order of the sweep, first those that the current sweep has examined.
    pub ids: Vec<IdThen<T>>,
    /// The number of `ids` that the current sweep has examined.
    pub swept: u64,
    /// The current sweep: the number of `id`s that it must still forget, and the number that an owner may keep.
    pub sweep: Option<(u64, u64)>,
}

impl<T> Default for IdsThen<T> {
    fn default() -> Self {
        Self { ids: Vec::new(), swept: 0, sweep: None }
    }
}

/// A remembered `id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdThen<T> {
    /// Its owner.
    pub owner: u64,
    /// The hash of the `id`.
    pub hash: u64,
    /// The time at which it was remembered, by the log's clock.
    pub taken_at: u64,
    /// Its message. `None`: it was forgotten or replaced since.
    pub message: Option<T>,
}

/// A private message that is not stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectThen {
    /// Its receiver.
    pub to: String,
    /// Its time.
    pub at: u64,
}

/// A message that was placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedThen {
    /// The index of its room in [`Checkpoint::rooms`]; `None`: it has ended.
    pub room: Option<u32>,
    /// The epoch of its room.
    pub epoch: u64,
    /// Its number.
    pub seq: u64,
    /// Its time.
    pub at: u64,
}

impl Checkpoint {
    /// Encodes it.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        let since: Vec<u64> = self.read.iter().map(|position| position.since).collect();
        let later = (&self.deletions, &self.moderation, &self.read, since);
        match postcard::to_io(self, &mut bytes).and_then(|bytes| postcard::to_io(&later, bytes)) {
            Ok(_) => {}
            Err(error) => debug_assert!(false, "writing to a vector cannot fail: {error}"),
        }
        bytes
    }

    /// Decodes the bytes of [`write`](Self::write).
    ///
    /// # Errors
    /// [`BadRecord`].
    pub fn read(bytes: &[u8]) -> Result<Self, BadRecord> {
        match bytes.split_first() {
            Some((&1, body)) => postcard::from_bytes(body).map_err(|_| BadRecord::Foreign),
            Some((format @ 2..=FORMAT, body)) => {
                let mut rest = body;
                let mut this: Self = take(&mut rest)?;
                this.deletions = take(&mut rest)?;
                if *format >= 3 {
                    (this.moderation, this.read) = take(&mut rest)?;
                }
                if *format >= 4 {
                    let since: Vec<u64> = take(&mut rest)?;
                    this.read.iter_mut().zip(since).for_each(|(position, since)| position.since = since);
                }
                Ok(this)
            }
            Some((&format, _)) if format > FORMAT => Err(BadRecord::Newer { format, known: FORMAT }),
            _ => Err(BadRecord::Foreign),
        }
    }
}

/// Decodes the next value.
fn take<'a, T: Deserialize<'a>>(bytes: &mut &'a [u8]) -> Result<T, BadRecord> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(|_| BadRecord::Foreign)?;
    *bytes = rest;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_read_as_it_was_written_and_one_of_an_earlier_format_without_what_came_later() {
        let position = PositionThen { owner: 1, is_guest: false, room: 0, seq: 7, since: 5 };
        let written = Checkpoint {
            position: 9,
            deletions: vec![(0, 3)],
            read: vec![position.clone()],
            moderation: vec![("slow dev".into(), "5".into())],
            ..Checkpoint::default()
        };
        assert_eq!(Checkpoint::read(&written.write()), Ok(written.clone()));
        let body =
            |later: &[Vec<u8>]| [vec![postcard::to_allocvec(&written).unwrap()], later.to_vec()].concat().concat();
        let deletions = postcard::to_allocvec(&written.deletions).unwrap();
        let later = postcard::to_allocvec(&(&written.moderation, &written.read)).unwrap();
        let read = vec![PositionThen { since: 0, ..position }];
        let of_3 = Checkpoint { read, ..written.clone() };
        let of_2 = Checkpoint { read: Vec::new(), moderation: Vec::new(), ..written.clone() };
        let of_1 = Checkpoint { deletions: Vec::new(), ..of_2.clone() };
        for (format, bytes, expected) in [
            (1, body(&[]), of_1),
            (2, body(std::slice::from_ref(&deletions)), of_2),
            (3, body(&[deletions, later]), of_3),
        ] {
            assert_eq!(Checkpoint::read(&[vec![format], bytes].concat()), Ok(expected), "format {format}");
        }
        let newer = Err(BadRecord::Newer { format: FORMAT + 1, known: FORMAT });
        assert_eq!(Checkpoint::read(&[FORMAT + 1]), newer);
        for foreign in [&b""[..], b"\0", b"\x03"] {
            assert_eq!(Checkpoint::read(foreign), Err(BadRecord::Foreign), "{foreign:?}");
        }
    }
}
