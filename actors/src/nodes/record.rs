//! The records that a node writes into the log.
//!
//! The first byte of a record states its format; the rest is the record in postcard's encoding. A node that reads a
//! newer format stops, because it cannot make the same decisions as the other nodes.

use serde::{Deserialize, Serialize};
use starling_protocol::{ClientId, ClientKey, Epoch, MessageId, RoomName, Seq};

use crate::history::{Content, Draft, RoomKey};
use crate::identity::IdOwner;
use crate::moderation::Decision;

/// The format that this server writes, and the newest that it reads. It also reads all earlier ones: each new format
/// only adds kinds of entries. Format 2 has added the changes of messages, format 3 the decisions of operators and the read
/// positions, format 4 decisions about the settings of rooms, and since when clients see a room.
pub const FORMAT: u8 = 4;

const FORMATS: std::ops::RangeInclusive<u8> = 1..=FORMAT;

/// One life of a node, from its start until it ends or is declared dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

/// A record's position in the log; the first has 1. 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct LogPosition(pub u64);

/// A record of the log, told from every other one that was ever at its position. Where a log has lost its end, later
/// records take the positions of those that are gone, each at a time of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId {
    /// Its place in the log.
    pub position: LogPosition,
    /// The time that the log gave it, in nanoseconds since the Unix epoch.
    pub nanos: u64,
}

impl RecordId {
    /// The time that the log gave it, in milliseconds since the Unix epoch.
    pub fn at(self) -> u64 {
        self.nanos / 1_000_000
    }
}

/// A session, as all nodes know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemoteSession {
    /// The life of its node.
    pub incarnation: Incarnation,
    /// Its number there.
    pub session: u64,
}

/// The entries of one turn of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The life of the node that wrote it.
    pub incarnation: Incarnation,
    /// Its number among the records of that life, from 1.
    pub counter: u64,
    /// In the order of the sessions' requests.
    pub entries: Vec<LogEntry>,
}

/// One change that all nodes apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEntry {
    /// A life of a node begins. The first entry of its first record. Makes the lobby if there is none.
    Begin {
        /// The node's name, for people.
        node: Box<str>,
        /// The epoch of the lobby, if this entry makes it.
        lobby: Epoch,
    },
    /// A life of a node is over: its later records do not count. Void if it has written since `counter`, or if the
    /// entry reached the log too long after `as_of`: then the writer itself may have been cut off.
    Out {
        /// The life.
        incarnation: Incarnation,
        /// The newest record of that life when this was written.
        counter: u64,
        /// The newest time of the log that the writer knew, in milliseconds since the Unix epoch.
        as_of: u64,
    },
    /// A message or a change of one, for a room or for the inboxes of two clients. Void if its session does not hold the
    /// sender's name any more. An edit is void, too, if a message of the room was deleted since it was judged.
    Message(LoggedMessage),
    /// A private message that is not stored. Void if its session does not hold the sender's name any more, or if no
    /// session holds the receiver's name.
    Direct(DirectMessage),
    /// A session opens. Void where another client holds its name and the name is not authenticated, and where there is
    /// no space for its room.
    Open(Opening),
    /// A session takes another name. Replaces a session that holds the name with the same key. Void where another
    /// client holds it.
    Take {
        /// The name.
        name: ClientId,
        /// The secret of the client.
        key: ClientKey,
        /// The session, of the node that writes this.
        session: u64,
    },
    /// A session gives its name up. Void if it does not hold the name.
    Release {
        /// The name.
        name: ClientId,
        /// The session, of the node that writes this.
        session: u64,
    },
    /// A client has its first connection of this node in a room. Makes the room where there is none; if the table of
    /// rooms is full, in place of the first that may be dropped. Void where there is no space.
    Enter {
        /// The room.
        key: RoomKey,
        /// The client.
        name: ClientId,
        /// The epoch of the room, if this entry makes it.
        epoch: Epoch,
    },
    /// A client has no connection of this node in a room any more.
    Leave {
        /// The room or the inbox.
        key: RoomKey,
        /// The client.
        name: ClientId,
    },
    /// A client writes to one that has no inbox yet. Makes the inbox; if the table of inboxes is full, in place of the
    /// first that may be dropped. Void where the inbox is there, and where the maker may not make one.
    Make {
        /// The owner of the inbox, who has never connected.
        owner: ClientId,
        /// The epoch of the inbox.
        epoch: Epoch,
        /// The client that writes to it.
        maker: ClientId,
    },
    /// A room or an inbox ends because it is empty. Void if a client is in it, or if it has another position.
    End {
        /// The room or the inbox.
        key: RoomKey,
        /// Its epoch.
        epoch: Epoch,
        /// Its newest message.
        seq: Seq,
    },
    /// All messages up to this one were sent to the owner of an inbox.
    Sent {
        /// The owner.
        owner: ClientId,
        /// The epoch of the inbox.
        epoch: Epoch,
        /// The newest message that was sent.
        seq: Seq,
    },
    /// An operator removes a client from all nodes.
    Remove {
        /// The client.
        client_id: ClientId,
    },
    /// An operator drops a room or an inbox with all its messages.
    Drop {
        /// The room or the inbox.
        key: RoomKey,
        /// The epoch of the room that takes its place at once: the lobby, or the inbox of a client that is connected.
        epoch: Epoch,
    },
    /// An operator mutes or bans, takes that back, or changes the settings or the invitations of a room. Holds from the
    /// record's time on. Void if it has no effect.
    Decide(Decision),
    /// A client has read up to a message. Void if the room is not there any more.
    Read(ReadEntry),
    /// A client is in a room for the first time, and sees the entries from then on. Void if the room is not there any
    /// more.
    Arrive(Arrival),
    /// The state of all nodes after this record becomes a checkpoint, which the writer stores.
    Checkpoint,
    /// The digest of the writer after a checkpoint. A node with another digest has diverged.
    Digest {
        /// The position of the checkpoint.
        at: LogPosition,
        /// See [`Digest`](super::digest::Digest).
        digest: u64,
    },
}

/// How far a client has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadEntry {
    /// The client.
    pub owner: IdOwner,
    /// Its name.
    pub client_id: ClientId,
    /// A room, or the client's inbox.
    pub key: RoomKey,
    /// Its epoch.
    pub epoch: Epoch,
    /// The newest message that the client has read.
    pub seq: Seq,
}

/// A client in a room whose history is hidden from newcomers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The client.
    pub owner: IdOwner,
    /// Its name.
    pub client_id: ClientId,
    /// The room.
    pub key: RoomKey,
    /// Its epoch.
    pub epoch: Epoch,
    /// The entry behind which the client sees the room, unless it was there earlier.
    pub since: Seq,
}

/// A session that opens: it takes a name, and enters its first room and its inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The name. Replaces a session that holds it with the same key, or the oldest one of too many.
    pub name: ClientId,
    /// The secret of the client.
    pub key: ClientKey,
    /// The session, of the node that writes this.
    pub session: u64,
    /// Whether the name is authenticated, so that several sessions may hold it.
    pub is_authenticated: bool,
    /// The room.
    pub room: RoomName,
    /// The epoch of the room, if this entry makes it.
    pub epoch: Epoch,
    /// Where private messages are kept: the epoch of the client's inbox, if this entry makes it. An inbox is never
    /// refused to its owner: if the table is full, the first that may be dropped gives way.
    pub inbox: Option<Epoch>,
}

/// A message or a change in the log. Its `at` is the record's time, which the log gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedMessage {
    /// For two copies: the inbox of the client that wrote it.
    pub first: Option<(RoomKey, Epoch)>,
    /// The room, or the other client's inbox, with the epoch that the writing node knew.
    pub last: (RoomKey, Epoch),
    /// The other client, for an inbox.
    pub to: Option<ClientId>,
    /// The session that wrote it, of the node that writes this; `None`: an operator wrote it.
    pub session: Option<u64>,
    /// The sender's name.
    pub client_id: ClientId,
    /// What it says; a number in it is one of `last`.
    pub content: Content,
    /// The number in `first` of the message that it is about.
    pub first_about: Option<Seq>,
    /// For an edit: the newest entry of the first of its places when the writing node decided that it may be done.
    pub as_of: Seq,
    /// The client that sent it. `None`: a node of an older version has written a message without `id`.
    pub owner: Option<IdOwner>,
    /// The `id` of the message or the change.
    pub id: Option<MessageId>,
}

/// A private message in the log that is not stored. Its `at` is the record's time in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectMessage {
    /// The session that wrote it, of the node that writes this.
    pub session: u64,
    /// The receiver.
    pub to: ClientId,
    /// The sender.
    pub client_id: ClientId,
    /// The text.
    pub text: Box<str>,
    /// The message's `id`, and its owner.
    pub id: Option<(IdOwner, MessageId)>,
}

impl LoggedMessage {
    /// The copy for the last place, accepted at `at`. A message in `first` is [about](Content::about) `first_about`.
    pub fn draft(self, at: u64) -> Draft {
        let Self { to, client_id, content, owner, id, .. } = self;
        Draft { to, client_id, content, at, id, owner }
    }
}

/// The reason that bytes of the log cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// A newer server wrote it.
    #[error(
        "it has format {format}, but this server reads only formats up to {known}: upgrade this server, or, if no newer \
         server runs, find what else writes into the stream"
    )]
    Newer {
        /// Its format.
        format: u8,
        /// The newest format that this server reads.
        known: u8,
    },
    /// The bytes are not a record of a node.
    #[error("it was not written by a node")]
    Foreign,
}

impl Record {
    /// Appends the bytes of the record.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
        let wire = wire::Record::from(self);
        match postcard::to_io(&wire, &mut *out) {
            Ok(_) => {}
            Err(error) => debug_assert!(false, "writing to a vector cannot fail: {error}"),
        }
    }

    /// The life that wrote these bytes of a record, and the record's number in it, without the entries.
    pub fn number(bytes: &[u8]) -> Option<(Incarnation, u64)> {
        let (_, body) = bytes.split_first().filter(|(format, _)| FORMATS.contains(format))?;
        let ((incarnation, counter), _) = postcard::take_from_bytes::<(u64, u64)>(body).ok()?;
        Some((Incarnation(incarnation), counter))
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`BadRecord`].
    pub fn read(bytes: &[u8]) -> Result<Self, BadRecord> {
        match bytes.split_first() {
            Some((format, body)) if FORMATS.contains(format) => {
                let (wire, rest) =
                    postcard::take_from_bytes::<wire::Record<'_>>(body).map_err(|_| BadRecord::Foreign)?;
                if rest.is_empty() { wire.try_into() } else { Err(BadRecord::Foreign) }
            }
            Some((&format, _)) if format > FORMAT => Err(BadRecord::Newer { format, known: FORMAT }),
            _ => Err(BadRecord::Foreign),
        }
    }
}

/// The record as it is encoded. Its fields and variants are the format: what is here never changes, and a new variant is
/// another format.
mod wire {
    use std::borrow::Cow;

    use serde::{Deserialize, Serialize};
    use starling_protocol::{ClientId, ClientKey, Emoji, Epoch, MessageId, RoomName, Seq};

    use super::{
        Arrival, BadRecord, DirectMessage, Incarnation, LogEntry, LogPosition, LoggedMessage, Opening, ReadEntry,
    };
    use crate::history::{Content, RoomKey};
    use crate::identity::IdOwner;

    #[derive(Serialize, Deserialize)]
    pub(super) struct Record<'a> {
        incarnation: u64,
        counter: u64,
        #[serde(borrow)]
        entries: Vec<Entry<'a>>,
    }

    #[derive(Serialize, Deserialize)]
    enum Key<'a> {
        Room(&'a str),
        Inbox(&'a str),
    }

    #[derive(Serialize, Deserialize)]
    enum Entry<'a> {
        Begin(&'a str, u64),
        Out(u64, u64, u64),
        /// Format 1.
        Message {
            /// For a private message: the sender's inbox.
            first: Option<(Key<'a>, u64)>,
            last: (Key<'a>, u64),
            to: Option<&'a str>,
            session: Option<u64>,
            client_id: &'a str,
            text: &'a str,
            id: Option<Id<'a>>,
        },
        Open(&'a str, u128, u64, bool, (&'a str, u64), Option<u64>),
        Take(&'a str, u128, u64),
        Release(&'a str, u64),
        Enter(Key<'a>, &'a str, u64),
        Leave(Key<'a>, &'a str),
        Make(&'a str, u64, &'a str),
        End(Key<'a>, u64, u64),
        Sent(&'a str, u64, u64),
        Remove(&'a str),
        Drop(Key<'a>, u64),
        Checkpoint,
        Digest(u64, u64),
        Direct(u64, &'a str, &'a str, &'a str, Option<Id<'a>>),
        /// Since format 2, instead of `Message`.
        Said {
            first: Option<(Key<'a>, u64)>,
            last: (Key<'a>, u64),
            to: Option<&'a str>,
            session: Option<u64>,
            client_id: &'a str,
            content: Said<'a>,
            first_about: Option<u64>,
            as_of: u64,
            owner: Option<u64>,
            id: Option<Cow<'a, str>>,
        },
        /// Since format 3: the decision as JSON. Before format 4 a slow mode is the only setting of a room.
        Decide(Cow<'a, str>),
        /// Since format 3.
        Read(u64, &'a str, Key<'a>, u64, u64),
        /// Since format 4.
        Arrive(u64, &'a str, Key<'a>, u64, u64),
    }

    #[derive(Serialize, Deserialize)]
    enum Said<'a> {
        Message(&'a str, Option<u64>),
        Edit(u64, &'a str),
        Deletion(u64),
        Reaction(u64, Cow<'a, str>, bool),
    }

    impl<'a> From<&'a Content> for Said<'a> {
        fn from(content: &'a Content) -> Self {
            match content {
                Content::Message { text, reply_to } => Self::Message(text, reply_to.map(|of| of.0)),
                Content::Edit { of, text } => Self::Edit(of.0, text),
                Content::Deletion { of } => Self::Deletion(of.0),
                Content::Reaction { of, emoji, removed } => Self::Reaction(of.0, emoji.as_str().into(), *removed),
            }
        }
    }

    impl TryFrom<Said<'_>> for Content {
        type Error = BadRecord;

        fn try_from(said: Said<'_>) -> Result<Self, BadRecord> {
            Ok(match said {
                Said::Message(text, reply_to) => Self::Message { text: text.into(), reply_to: reply_to.map(Seq) },
                Said::Edit(of, text) => Self::Edit { of: Seq(of), text: text.into() },
                Said::Deletion(of) => Self::Deletion { of: Seq(of) },
                Said::Reaction(of, emoji, removed) => {
                    let emoji = Emoji::parse(&emoji).map_err(|_| BadRecord::Foreign)?;
                    Self::Reaction { of: Seq(of), emoji, removed }
                }
            })
        }
    }

    type Id<'a> = (u64, Cow<'a, str>);

    impl<'a> From<&'a RoomKey> for Key<'a> {
        fn from(key: &'a RoomKey) -> Self {
            match key {
                RoomKey::Room(name) => Self::Room(name.as_str()),
                RoomKey::Inbox(owner) => Self::Inbox(owner.as_str()),
            }
        }
    }

    impl TryFrom<Key<'_>> for RoomKey {
        type Error = BadRecord;

        fn try_from(key: Key<'_>) -> Result<Self, BadRecord> {
            Ok(match key {
                Key::Room(name) => Self::Room(room(name)?),
                Key::Inbox(owner) => Self::Inbox(client(owner)?),
            })
        }
    }

    fn room(name: &str) -> Result<RoomName, BadRecord> {
        RoomName::parse(name).map_err(|_| BadRecord::Foreign)
    }

    fn client(name: &str) -> Result<ClientId, BadRecord> {
        ClientId::parse(name).map_err(|_| BadRecord::Foreign)
    }

    fn id(id: Option<&(IdOwner, MessageId)>) -> Option<Id<'_>> {
        id.map(|(owner, id)| (owner.0, id.as_str().into()))
    }

    fn unid(id: Option<Id<'_>>) -> Result<Option<(IdOwner, MessageId)>, BadRecord> {
        let read = |(owner, id): Id<'_>| MessageId::parse(&id).map(|id| (IdOwner(owner), id));
        id.map(read).transpose().map_err(|_| BadRecord::Foreign)
    }

    fn place((key, epoch): &(RoomKey, Epoch)) -> (Key<'_>, u64) {
        (key.into(), epoch.0)
    }

    fn unplace((key, epoch): (Key<'_>, u64)) -> Result<(RoomKey, Epoch), BadRecord> {
        Ok((key.try_into()?, Epoch(epoch)))
    }

    impl<'a> From<&'a super::Record> for Record<'a> {
        fn from(record: &'a super::Record) -> Self {
            let entries = record.entries.iter().map(Entry::from).collect();
            Self { incarnation: record.incarnation.0, counter: record.counter, entries }
        }
    }

    impl TryFrom<Record<'_>> for super::Record {
        type Error = BadRecord;

        fn try_from(wire: Record<'_>) -> Result<Self, BadRecord> {
            let entries = wire.entries.into_iter().map(LogEntry::try_from).collect::<Result<_, _>>()?;
            Ok(Self { incarnation: Incarnation(wire.incarnation), counter: wire.counter, entries })
        }
    }

    impl<'a> From<&'a LogEntry> for Entry<'a> {
        fn from(entry: &'a LogEntry) -> Self {
            match entry {
                LogEntry::Begin { node, lobby } => Self::Begin(node, lobby.0),
                LogEntry::Out { incarnation, counter, as_of } => Self::Out(incarnation.0, *counter, *as_of),
                LogEntry::Message(message) => Self::Said {
                    first: message.first.as_ref().map(place),
                    last: place(&message.last),
                    to: message.to.as_ref().map(ClientId::as_str),
                    session: message.session,
                    client_id: message.client_id.as_str(),
                    content: (&message.content).into(),
                    first_about: message.first_about.map(|of| of.0),
                    as_of: message.as_of.0,
                    owner: message.owner.map(|owner| owner.0),
                    id: message.id.as_ref().map(|id| id.as_str().into()),
                },
                LogEntry::Direct(DirectMessage { session, to, client_id, text, id: named }) => {
                    Self::Direct(*session, to.as_str(), client_id.as_str(), text, id(named.as_ref()))
                }
                LogEntry::Open(Opening { name, key, session, is_authenticated, room, epoch, inbox }) => {
                    let (room, inbox) = ((room.as_str(), epoch.0), inbox.map(|epoch| epoch.0));
                    Self::Open(name.as_str(), key.0, *session, *is_authenticated, room, inbox)
                }
                LogEntry::Take { name, key, session } => Self::Take(name.as_str(), key.0, *session),
                LogEntry::Release { name, session } => Self::Release(name.as_str(), *session),
                LogEntry::Enter { key, name, epoch } => Self::Enter(key.into(), name.as_str(), epoch.0),
                LogEntry::Leave { key, name } => Self::Leave(key.into(), name.as_str()),
                LogEntry::Make { owner, epoch, maker } => Self::Make(owner.as_str(), epoch.0, maker.as_str()),
                LogEntry::End { key, epoch, seq } => Self::End(key.into(), epoch.0, seq.0),
                LogEntry::Sent { owner, epoch, seq } => Self::Sent(owner.as_str(), epoch.0, seq.0),
                LogEntry::Remove { client_id } => Self::Remove(client_id.as_str()),
                LogEntry::Drop { key, epoch } => Self::Drop(key.into(), epoch.0),
                LogEntry::Decide(decision) => Self::Decide(serde_json::to_string(decision).unwrap_or_default().into()),
                LogEntry::Read(ReadEntry { owner, client_id, key, epoch, seq }) => {
                    Self::Read(owner.0, client_id.as_str(), key.into(), epoch.0, seq.0)
                }
                LogEntry::Arrive(Arrival { owner, client_id, key, epoch, since }) => {
                    Self::Arrive(owner.0, client_id.as_str(), key.into(), epoch.0, since.0)
                }
                LogEntry::Checkpoint => Self::Checkpoint,
                LogEntry::Digest { at, digest } => Self::Digest(at.0, *digest),
            }
        }
    }

    impl TryFrom<Entry<'_>> for LogEntry {
        type Error = BadRecord;

        fn try_from(entry: Entry<'_>) -> Result<Self, BadRecord> {
            Ok(match entry {
                Entry::Begin(node, lobby) => Self::Begin { node: node.into(), lobby: Epoch(lobby) },
                Entry::Out(incarnation, counter, as_of) => {
                    Self::Out { incarnation: Incarnation(incarnation), counter, as_of }
                }
                Entry::Message { first, last, to, session, client_id, text, id } => {
                    let (owner, id) = unid(id)?.unzip();
                    Self::Message(LoggedMessage {
                        first: first.map(unplace).transpose()?,
                        last: unplace(last)?,
                        to: to.map(client).transpose()?,
                        session,
                        client_id: client(client_id)?,
                        content: Content::message(text),
                        first_about: None,
                        as_of: Seq(0),
                        owner,
                        id,
                    })
                }
                Entry::Said { first, last, to, session, client_id, content, first_about, as_of, owner, id } => {
                    Self::Message(LoggedMessage {
                        first: first.map(unplace).transpose()?,
                        last: unplace(last)?,
                        to: to.map(client).transpose()?,
                        session,
                        client_id: client(client_id)?,
                        content: content.try_into()?,
                        first_about: first_about.map(Seq),
                        as_of: Seq(as_of),
                        owner: owner.map(IdOwner),
                        id: id.map(|id| MessageId::parse(&id)).transpose().map_err(|_| BadRecord::Foreign)?,
                    })
                }
                Entry::Direct(session, to, client_id, text, id) => {
                    let (to, client_id, text) = (client(to)?, client(client_id)?, text.into());
                    Self::Direct(DirectMessage { session, to, client_id, text, id: unid(id)? })
                }
                Entry::Open(name, key, session, is_authenticated, (first, epoch), inbox) => Self::Open(Opening {
                    name: client(name)?,
                    key: ClientKey(key),
                    session,
                    is_authenticated,
                    room: room(first)?,
                    epoch: Epoch(epoch),
                    inbox: inbox.map(Epoch),
                }),
                Entry::Take(name, key, session) => Self::Take { name: client(name)?, key: ClientKey(key), session },
                Entry::Release(name, session) => Self::Release { name: client(name)?, session },
                Entry::Enter(key, name, epoch) => {
                    Self::Enter { key: key.try_into()?, name: client(name)?, epoch: Epoch(epoch) }
                }
                Entry::Leave(key, name) => Self::Leave { key: key.try_into()?, name: client(name)? },
                Entry::Make(owner, epoch, maker) => {
                    Self::Make { owner: client(owner)?, epoch: Epoch(epoch), maker: client(maker)? }
                }
                Entry::End(key, epoch, seq) => Self::End { key: key.try_into()?, epoch: Epoch(epoch), seq: Seq(seq) },
                Entry::Sent(owner, epoch, seq) => {
                    Self::Sent { owner: client(owner)?, epoch: Epoch(epoch), seq: Seq(seq) }
                }
                Entry::Remove(client_id) => Self::Remove { client_id: client(client_id)? },
                Entry::Drop(key, epoch) => Self::Drop { key: key.try_into()?, epoch: Epoch(epoch) },
                Entry::Decide(json) => Self::Decide(serde_json::from_str(&json).map_err(|_| BadRecord::Foreign)?),
                Entry::Read(owner, name, key, epoch, seq) => Self::Read(ReadEntry {
                    owner: IdOwner(owner),
                    client_id: client(name)?,
                    key: key.try_into()?,
                    epoch: Epoch(epoch),
                    seq: Seq(seq),
                }),
                Entry::Arrive(owner, name, key, epoch, since) => Self::Arrive(Arrival {
                    owner: IdOwner(owner),
                    client_id: client(name)?,
                    key: key.try_into()?,
                    epoch: Epoch(epoch),
                    since: Seq(since),
                }),
                Entry::Checkpoint => Self::Checkpoint,
                Entry::Digest(at, digest) => Self::Digest { at: LogPosition(at), digest },
            })
        }
    }
}

#[cfg(test)]
mod tests;
