//! Moderation: the decisions of operators about clients and rooms, without I/O and clock.
//!
//! A [`Decision`] changes the sanctions, or the settings or the invitations of a room, and stands in the audit log.
//! [`Moderation`] holds what is in force. It is kept as [`Row`]s: a store writes them, and a checkpoint of several nodes
//! contains them.
//!
//! Invariants:
//! - with the same decisions at the same times, two of them are equal: nodes of several agree;
//! - there are at most [`SANCTIONS_MAX`] sanctions, [`SET_ROOMS_MAX`] rooms with settings,
//!   [`INVITATIONS_MAX`](invitations::INVITATIONS_MAX) invitations and [`AUDIT_MAX`] entries of the audit log.

mod ineffective;
pub mod invitations;
mod row;
mod target;
pub mod typed;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use starling_protocol::typed_time::time_of;
use starling_protocol::{ClientId, ErrorCode, Refusal, RoomName, Seq};

pub use self::ineffective::Ineffective;
use self::invitations::{INVITATION, Invitation, Invitations};
pub use self::row::Row;
use self::row::text;
pub use self::target::{Measure, Subject, Target};
use crate::client_address::ClientAddress;
use crate::identity::RoomGlobs;
use crate::room_settings::{Access, RoomSettings, SettingsChange};

/// Most sanctions in force.
pub const SANCTIONS_MAX: usize = 10_000;

/// Most rooms whose settings differ from the default.
pub const SET_ROOMS_MAX: usize = 10_000;

/// Most entries of the audit log; the oldest give way.
pub const AUDIT_MAX: usize = 1_000;

/// Most bytes of a reason.
pub const REASON_BYTES_MAX: usize = 500;

/// A reason has too many bytes: this many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reason has {0} bytes, {REASON_BYTES_MAX} are allowed")]
pub struct ReasonTooLong(usize);

/// Whether a text may be a reason.
///
/// # Errors
/// [`ReasonTooLong`].
pub fn check_reason(reason: &str) -> Result<(), ReasonTooLong> {
    if reason.len() > REASON_BYTES_MAX { Err(ReasonTooLong(reason.len())) } else { Ok(()) }
}

/// Most seconds of a sanction with an end: ten years.
pub const SANCTION_SECONDS_MAX: u64 = 3_650 * 86_400;

/// A mute or a ban in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sanction {
    /// Whom, where, what.
    pub target: Target,
    /// Its end, in milliseconds since the Unix epoch. `None`: it has none.
    pub until: Option<u64>,
    /// The reason, for the client. May be empty.
    pub reason: Box<str>,
    /// The operator.
    pub by: Box<str>,
    /// Its beginning, in milliseconds since the Unix epoch.
    pub at: u64,
}

/// What an operator does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Act {
    /// Mutes or bans. Replaces an earlier sanction of the same target.
    Impose {
        /// Whom, where, what.
        target: Target,
        /// Its length. `None`: it has no end.
        seconds: Option<u64>,
    },
    /// Takes a sanction back.
    Lift(Target),
    /// Changes the settings of a room. Logs of format 3 have only slow modes, under the name of `slow`.
    #[serde(alias = "slow")]
    Set {
        /// The room, which need not exist.
        room: RoomName,
        /// What changes.
        #[serde(flatten)]
        change: SettingsChange,
    },
    /// Invites a client to a room.
    Invite {
        /// The room, which need not exist or be private.
        room: RoomName,
        /// The client.
        client_id: ClientId,
    },
    /// Takes an invitation back.
    Uninvite {
        /// The room.
        room: RoomName,
        /// The client.
        client_id: ClientId,
    },
    /// Has deleted the message of another client. It is only recorded: the deletion is an entry of the room.
    Delete {
        /// The room.
        room: RoomName,
        /// The message.
        seq: Seq,
        /// Its sender.
        client_id: ClientId,
    },
}

impl Act {
    /// The room that it is about. `None`: the whole server.
    pub fn room(&self) -> Option<&RoomName> {
        match self {
            Self::Impose { target, .. } | Self::Lift(target) => target.room.as_ref(),
            Self::Set { room, .. }
            | Self::Invite { room, .. }
            | Self::Uninvite { room, .. }
            | Self::Delete { room, .. } => Some(room),
        }
    }
}

/// An operator's decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The operator.
    pub by: Box<str>,
    /// What.
    pub act: Act,
    /// Why. May be empty.
    pub reason: Box<str>,
}

/// A decision of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// The time, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The decision.
    pub decision: Decision,
}

/// A client to judge.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// Its name, or the name that it wants. `None`: it will be a new guest.
    pub name: Option<&'a ClientId>,
    /// Its address.
    pub address: ClientAddress,
    /// The rooms of its token.
    pub rooms: &'a RoomGlobs,
}

/// Sanctions of one name or address. Nearly always one.
type Own = SmallVec<[Box<Sanction>; 1]>;

/// See the [module](self).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moderation {
    by_name: FxHashMap<ClientId, Own>,
    by_address: FxHashMap<ClientAddress, Own>,
    /// The number of sanctions, including those that have ended and were not dropped yet.
    sanctions: usize,
    /// The settings of each room where they differ from the default.
    settings: BTreeMap<RoomName, RoomSettings>,
    invitations: Invitations,
    audit: VecDeque<AuditEntry>,
    /// The number of the first entry of `audit`.
    audited: u64,
}

const SANCTION: &str = "sanction";
const ROOM: &str = "room";
/// The slow mode of a room, in checkpoints of format 3.
const SLOW: &str = "slow";
const AUDIT: &str = "audit";

impl Moderation {
    /// The sanctions in force.
    pub fn sanctions(&self, now: u64) -> impl Iterator<Item = &Sanction> {
        let all = self.by_name.values().chain(self.by_address.values()).flatten();
        all.map(|sanction| &**sanction).filter(move |sanction| sanction.is_in_force(now))
    }

    /// The audit log with its numbers, the newest first.
    pub fn audit(&self) -> impl Iterator<Item = (u64, &AuditEntry)> {
        (self.audited..).zip(&self.audit).collect::<Vec<_>>().into_iter().rev()
    }

    /// The number of sanctions, including those that have ended and were not dropped yet.
    pub fn sanction_count(&self) -> usize {
        self.sanctions
    }

    /// Whether there is no sanction.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.sanctions == 0
    }

    /// Whether any room has settings that differ from the default.
    #[inline]
    pub fn has_settings(&self) -> bool {
        !self.settings.is_empty()
    }

    /// The settings of a room, if they differ from the default.
    pub fn own_settings(&self, room: &RoomName) -> Option<&RoomSettings> {
        self.settings.get(room)
    }

    /// The settings of a room.
    pub fn settings(&self, room: &RoomName) -> &RoomSettings {
        static PLAIN: RoomSettings = RoomSettings::PLAIN;
        self.own_settings(room).unwrap_or(&PLAIN)
    }

    /// The rooms whose settings differ from the default, in the order of their names.
    pub fn set_rooms(&self) -> impl Iterator<Item = (&RoomName, &RoomSettings)> {
        self.settings.iter()
    }

    /// Whether a client may write in a room, or in private (`None`).
    ///
    /// # Errors
    /// The refusal.
    #[inline]
    pub fn may_speak(&self, who: Who<'_>, room: Option<&RoomName>, now: u64) -> Result<(), Refusal> {
        self.judge(Measure::Mute, who, room, now)
    }

    /// Whether a client may be in a room.
    ///
    /// # Errors
    /// The refusal.
    #[inline]
    pub fn may_join(&self, who: Who<'_>, room: &RoomName, now: u64) -> Result<(), Refusal> {
        self.judge(Measure::Ban, who, Some(room), now)?;
        if self.may_see(who, room) { Ok(()) } else { Err(not_invited(room)) }
    }

    /// Whether a client may know that a room exists, and read it: the room is not private, or the client is invited, by
    /// an operator or because its token names the room.
    #[inline]
    pub fn may_see(&self, who: Who<'_>, room: &RoomName) -> bool {
        !self.is_private(room)
            || who.rooms.name(room)
            || who.name.is_some_and(|name| self.invitations.includes(name, room))
    }

    /// Whether only invited clients may enter a room and know of it.
    #[inline]
    pub fn is_private(&self, room: &RoomName) -> bool {
        self.has_settings() && self.settings(room).access == Access::Invited
    }

    /// The invitations to a room, in the order of the names.
    pub fn invitations(&self, room: &RoomName) -> impl Iterator<Item = (&ClientId, &Invitation)> {
        self.invitations.to(room)
    }

    /// The number of invitations to all rooms.
    pub fn invitation_count(&self) -> usize {
        self.invitations.count()
    }

    /// The number of rooms whose settings differ from the default.
    pub fn set_room_count(&self) -> usize {
        self.settings.len()
    }

    /// Whether a client may be on the server.
    ///
    /// # Errors
    /// The refusal.
    #[inline]
    pub fn may_connect(&self, who: Who<'_>, now: u64) -> Result<(), Refusal> {
        self.judge(Measure::Ban, who, None, now)
    }

    #[inline]
    fn judge(&self, measure: Measure, who: Who<'_>, room: Option<&RoomName>, now: u64) -> Result<(), Refusal> {
        if self.is_idle() {
            return Ok(());
        }
        let of_name = who.name.and_then(|name| self.by_name.get(name));
        let own = of_name.into_iter().chain(self.by_address.get(&who.address)).flatten();
        let held = own.filter(|it| {
            let Target { measure: of, room: place, .. } = &it.target;
            *of == measure && (place.is_none() || place.as_ref() == room) && it.is_in_force(now)
        });
        // That of the whole server first: it says more.
        let found = held.min_by_key(|sanction| sanction.target.room.is_some());
        found.map_or(Ok(()), |sanction| Err(sanction.refusal(now)))
    }

    /// Carries a decision out. Returns the rows that have changed.
    ///
    /// # Errors
    /// [`Ineffective`]: nothing has changed.
    pub fn decide(&mut self, decision: Decision, at: u64) -> Result<Vec<Row>, Ineffective> {
        let mut rows = match &decision.act {
            Act::Impose { target, seconds } => {
                let until = seconds.map(|seconds| at.saturating_add(seconds.saturating_mul(1_000)));
                let (reason, by) = (decision.reason.clone(), decision.by.clone());
                self.impose(Sanction { target: target.clone(), until, reason, by, at })?
            }
            Act::Lift(target) => {
                if self.take(target).is_none() {
                    return Err(Ineffective::NotThere(self.elsewhere(target, at).cloned().map(Box::new)));
                }
                vec![Row { key: sanction_key(target), value: None }]
            }
            Act::Set { room, change } => self.set(room, change)?,
            Act::Invite { room, client_id } => {
                self.invitations.add(client_id, room, Invitation { by: decision.by.clone(), at })?
            }
            Act::Uninvite { room, client_id } => self.invitations.remove(client_id, room)?,
            Act::Delete { .. } => Vec::new(),
        };
        self.audit.push_back(AuditEntry { at, decision });
        rows.extend(self.audit.back().map(|entry| audit_row(self.audited + self.audit.len() as u64 - 1, entry)));
        if self.audit.len() > AUDIT_MAX {
            self.audit.pop_front();
            rows.push(Row { key: audit_key(self.audited), value: None });
            self.audited += 1;
        }
        Ok(rows)
    }

    /// The sanction of a target.
    pub fn sanction(&self, target: &Target) -> Option<&Sanction> {
        self.of_subject(&target.subject).find(|sanction| sanction.target == *target)
    }

    /// The target of the same measure in another place, that of the whole server first.
    fn elsewhere(&self, target: &Target, now: u64) -> Option<&Target> {
        let same = |it: &&Sanction| it.target.measure == target.measure && it.is_in_force(now);
        self.of_subject(&target.subject).filter(same).map(|sanction| &sanction.target).min()
    }

    fn of_subject(&self, subject: &Subject) -> impl Iterator<Item = &Sanction> {
        let own = match subject {
            Subject::Client(name) => self.by_name.get(name),
            Subject::Address(address) => self.by_address.get(address),
        };
        own.into_iter().flatten().map(|sanction| &**sanction)
    }

    fn impose(&mut self, sanction: Sanction) -> Result<Vec<Row>, Ineffective> {
        let mut rows = Vec::new();
        if self.take(&sanction.target).is_none() && self.sanction_count() >= SANCTIONS_MAX {
            rows = self.drop_ended(sanction.at);
            if rows.is_empty() {
                return Err(Ineffective::TooManySanctions(SANCTIONS_MAX));
            }
        }
        rows.push(sanction_row(&sanction));
        self.put(sanction);
        Ok(rows)
    }

    fn put(&mut self, sanction: Sanction) {
        let own = match sanction.target.subject.clone() {
            Subject::Client(name) => self.by_name.entry(name).or_default(),
            Subject::Address(address) => self.by_address.entry(address).or_default(),
        };
        own.push(Box::new(sanction));
        self.sanctions += 1;
    }

    fn take(&mut self, target: &Target) -> Option<Sanction> {
        let own = match &target.subject {
            Subject::Client(name) => self.by_name.get_mut(name),
            Subject::Address(address) => self.by_address.get_mut(address),
        }?;
        let index = own.iter().position(|sanction| sanction.target == *target)?;
        let taken = own.remove(index);
        self.sanctions -= 1;
        if own.is_empty() {
            match &target.subject {
                Subject::Client(name) => drop(self.by_name.remove(name)),
                Subject::Address(address) => drop(self.by_address.remove(address)),
            }
        }
        Some(*taken)
    }

    /// Drops the sanctions that have ended, in an order that is the same on all nodes.
    fn drop_ended(&mut self, now: u64) -> Vec<Row> {
        let all = self.by_name.values().chain(self.by_address.values()).flatten();
        let ended = all.filter(|sanction| !sanction.is_in_force(now)).map(|sanction| sanction.target.clone());
        let mut ended: Vec<_> = ended.collect();
        ended.sort_unstable();
        for target in &ended {
            self.take(target);
        }
        ended.iter().map(|target| Row { key: sanction_key(target), value: None }).collect()
    }

    fn set(&mut self, room: &RoomName, change: &SettingsChange) -> Result<Vec<Row>, Ineffective> {
        let settings = change.applied_to(self.settings(room));
        if settings == RoomSettings::PLAIN {
            self.settings.remove(room);
            return Ok(vec![Row { key: settings_key(room), value: None }]);
        }
        if self.settings.len() >= SET_ROOMS_MAX && !self.settings.contains_key(room) {
            return Err(Ineffective::TooManySet(SET_ROOMS_MAX));
        }
        let row = settings_row(room, &settings);
        self.settings.insert(room.clone(), settings);
        Ok(vec![row])
    }

    // ---- rows

    /// All of it, as rows in the order of their keys.
    pub fn rows(&self) -> Vec<Row> {
        let all = self.by_name.values().chain(self.by_address.values()).flatten();
        let settings = self.settings.iter().map(|(room, settings)| settings_row(room, settings));
        let audit = (self.audited..).zip(&self.audit).map(|(number, entry)| audit_row(number, entry));
        let mut rows: Vec<_> = all
            .map(|sanction| sanction_row(sanction))
            .chain(settings)
            .chain(self.invitations.rows())
            .chain(audit)
            .collect();
        rows.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        rows
    }

    /// Takes the [`rows`](Self::rows) of an earlier process or another node over.
    ///
    /// # Errors
    /// [`BadRow`].
    pub fn restore(rows: impl IntoIterator<Item = Row>) -> Result<Self, BadRow> {
        let mut restored = Self::default();
        let mut audit = BTreeMap::new();
        for Row { key, value } in rows {
            let Some(value) = value else { continue };
            let bad = || BadRow(key.clone());
            let (kind, of) = key.split_once(' ').ok_or_else(bad)?;
            match kind {
                SANCTION => restored.put(serde_json::from_str(&value).map_err(|_| bad())?),
                ROOM | SLOW => {
                    let room = RoomName::parse(of).map_err(|_| bad())?;
                    let settings = if kind == ROOM {
                        serde_json::from_str(&value).map_err(|_| bad())?
                    } else {
                        let slow_seconds = value.parse().map_err(|_| bad())?;
                        RoomSettings { slow_seconds, ..RoomSettings::PLAIN }
                    };
                    restored.settings.insert(room, settings);
                }
                INVITATION => restored.invitations.restore(of, &value).ok_or_else(bad)?,
                AUDIT => {
                    let number: u64 = of.parse().map_err(|_| bad())?;
                    audit.insert(number, serde_json::from_str(&value).map_err(|_| bad())?);
                }
                _ => return Err(bad()),
            }
        }
        restored.audited = audit.keys().next().copied().unwrap_or(0);
        restored.audit = audit.into_values().collect();
        Ok(restored)
    }
}

/// A row that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the moderation's row {0:?} cannot be read")]
pub struct BadRow(String);

/// One line for the log of the process. A reason cannot break it.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by, act, reason } = self;
        match act {
            Act::Impose { target, seconds } => {
                write!(f, "{by}: {} {target}", target.measure.as_str())?;
                seconds.map_or(Ok(()), |seconds| write!(f, " for {}", time_of(seconds)))?;
            }
            Act::Lift(target) => write!(f, "{by}: un{} {target}", target.measure.as_str())?,
            Act::Set { room, change } => write!(f, "{by}: set {room}: {change}")?,
            Act::Invite { room, client_id } => write!(f, "{by}: invite {client_id} to {room}")?,
            Act::Uninvite { room, client_id } => write!(f, "{by}: uninvite {client_id} from {room}")?,
            Act::Delete { room, seq, client_id } => write!(f, "{by}: delete message {seq} of {client_id} in {room}")?,
        }
        if reason.is_empty() { Ok(()) } else { write!(f, ": {reason:?}") }
    }
}

impl Sanction {
    /// Whether it holds at this time.
    pub fn is_in_force(&self, now: u64) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// The refusal of what it forbids.
    pub fn refusal(&self, now: u64) -> Refusal {
        let Target { room, measure, .. } = &self.target;
        let code = match measure {
            Measure::Mute => ErrorCode::Muted,
            Measure::Ban => ErrorCode::Banned,
        };
        let place = room.as_ref().map_or_else(|| "on this server".to_owned(), |room| format!("in the room {room}"));
        let mut text = format!("you are {} {place}", measure.participle());
        if !self.reason.is_empty() {
            text = format!("{text}: {}", self.reason);
        }
        let refusal = Refusal::new(code, text).in_room(room.clone()).until(self.until);
        match self.until {
            Some(until) => refusal.retry_after_ms(until.saturating_sub(now)),
            None => refusal,
        }
    }
}

/// The refusal of what is done in a private room.
fn not_invited(room: &RoomName) -> Refusal {
    let text = format!("the room {room} is private, and you are not invited");
    Refusal::new(ErrorCode::NotInvited, text).in_room(Some(room.clone()))
}

fn sanction_key(Target { subject, room, measure }: &Target) -> String {
    let who = match subject {
        Subject::Client(name) => format!("client {name}"),
        Subject::Address(address) => format!("address {address}"),
    };
    format!("{SANCTION} {who} {} {}", measure.as_str(), room.as_ref().map_or("", RoomName::as_str))
}

fn sanction_row(sanction: &Sanction) -> Row {
    Row { key: sanction_key(&sanction.target), value: Some(text(sanction)) }
}

fn settings_key(room: &RoomName) -> String {
    format!("{ROOM} {room}")
}

fn settings_row(room: &RoomName, settings: &RoomSettings) -> Row {
    Row { key: settings_key(room), value: Some(text(settings)) }
}

/// Numbers have leading zeros, so that the keys sort like them.
fn audit_key(number: u64) -> String {
    format!("{AUDIT} {number:020}")
}

fn audit_row(number: u64, entry: &AuditEntry) -> Row {
    Row { key: audit_key(number), value: Some(text(entry)) }
}

#[cfg(test)]
mod tests;
