//! The JSON of moderation over HTTP, for the server and for `starling moderate`, which prints it.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use starling_actors::client_address::ClientAddress;
use starling_actors::moderation::invitations::Invitation;
use starling_actors::moderation::typed::EXEMPT;
use starling_actors::moderation::{
    Act, AuditEntry, Decision, Measure, REASON_BYTES_MAX, SANCTION_SECONDS_MAX, Sanction, Subject, Target,
};
use starling_actors::room_settings::{
    Access, Retention, RoomSettings, SLOW_SECONDS_MAX, SettingsChange, Writers, given,
};
use starling_protocol::limits::TOPIC_BYTES_MAX;
use starling_protocol::typed_time::time_of;
use starling_protocol::{ClientId, RoomName, Seq};

/// What a sanction forbids.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Forbidden {
    /// To write, change and react.
    Mute,
    /// To be there.
    Ban,
}

impl From<Forbidden> for Measure {
    fn from(forbidden: Forbidden) -> Self {
        match forbidden {
            Forbidden::Mute => Self::Mute,
            Forbidden::Ban => Self::Ban,
        }
    }
}

/// The address of a client.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn client_address(text: &str) -> Result<ClientAddress, String> {
    let address = text.parse().ok().filter(|address| *address != ClientAddress::NONE);
    address.ok_or_else(|| format!("{text:?} is not an address of a client"))
}

/// Whom a sanction is about, where, and what: either `clientId` or `address`. Without `room`, on the whole server.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SanctionTarget {
    pub(crate) measure: Forbidden,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_id: Option<ClientId>,
    /// An IPv4 address, or an IPv6 address, which means its /64 network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) room: Option<RoomName>,
}

/// A sanction to impose.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewSanction {
    #[serde(flatten)]
    pub(crate) target: SanctionTarget,
    /// Its length. Without it, it has no end.
    #[schemars(range(min = 1, max = SANCTION_SECONDS_MAX))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seconds: Option<u64>,
    /// The reason, which the client is told.
    #[schemars(length(max = REASON_BYTES_MAX), extend("x-maxBytes" = REASON_BYTES_MAX))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// A sanction in force.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Sanction")]
pub(crate) struct ToldSanction {
    #[serde(flatten)]
    pub(crate) target: SanctionTarget,
    /// Its end, in milliseconds since the Unix epoch. Without it, it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<u64>,
    pub(crate) reason: String,
    /// The operator.
    pub(crate) by: String,
    /// Its beginning, in milliseconds since the Unix epoch.
    pub(crate) at: u64,
    /// In the answer to the decision: whether the client is connected to this node as an operator, whom it does not stop.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) exempt: bool,
}

/// All sanctions in force.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Sanctions {
    /// The newest first.
    pub(crate) sanctions: Vec<ToldSanction>,
}

/// Settings of a room. In a request those that change, the others stay; in an answer all. Only where the schema allows it,
/// `null` is a value.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct GivenSettings {
    /// The least number of seconds between two messages of a client; 0: none.
    #[schemars(with = "u32", range(max = SLOW_SECONDS_MAX))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slow_seconds: Option<u32>,
    /// One line about the room; empty: none.
    #[schemars(with = "String", length(max = TOPIC_BYTES_MAX), extend("x-maxBytes" = TOPIC_BYTES_MAX))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) topic: Option<String>,
    /// Who may write.
    #[schemars(with = "Writers")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) writers: Option<Writers>,
    /// Who may enter and read.
    #[schemars(with = "Access")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) access: Option<Access>,
    /// Whether a client may read the messages from before it has entered.
    #[schemars(with = "bool")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) newcomers_see_history: Option<bool>,
    /// How long messages are kept; a bound that is absent or `null` is the server's. Replaces both bounds.
    #[schemars(with = "Retention")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retention: Option<Retention>,
    /// Whether members are told how far the others have read; `null`: as the server has it.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[expect(clippy::option_option, reason = "`null` differs from an absent field")]
    pub(crate) seen_by: Option<Option<bool>>,
}

/// A room whose settings differ from the default.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SetRoom {
    pub(crate) room: RoomName,
    /// Those that differ.
    pub(crate) settings: RoomSettings,
}

/// All rooms whose settings differ from the default.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SetRooms {
    /// In the order of their names.
    pub(crate) rooms: Vec<SetRoom>,
}

/// A client to invite to a room.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewInvitation {
    pub(crate) client_id: ClientId,
}

/// An invitation to a room.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Invitation")]
pub(crate) struct ToldInvitation {
    pub(crate) client_id: ClientId,
    /// The operator.
    pub(crate) by: String,
    /// The time, in milliseconds since the Unix epoch.
    pub(crate) at: u64,
}

/// The invitations to a room.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Invitations {
    /// In the order of the names.
    pub(crate) invitations: Vec<ToldInvitation>,
}

impl From<(ClientId, Invitation)> for ToldInvitation {
    fn from((client_id, Invitation { by, at }): (ClientId, Invitation)) -> Self {
        Self { client_id, by: by.into(), at }
    }
}

impl From<GivenSettings> for SettingsChange {
    fn from(settings: GivenSettings) -> Self {
        let GivenSettings { slow_seconds, topic, writers, access, newcomers_see_history, retention, seen_by } =
            settings;
        Self { slow_seconds, topic, writers, access, newcomers_see_history, retention, seen_by }
    }
}

impl From<SettingsChange> for GivenSettings {
    fn from(change: SettingsChange) -> Self {
        let SettingsChange { slow_seconds, topic, writers, access, newcomers_see_history, retention, seen_by } = change;
        Self { slow_seconds, topic, writers, access, newcomers_see_history, retention, seen_by }
    }
}

/// A decision of an operator.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Audited {
    /// Its number; the next one has the next number.
    pub(crate) number: u64,
    /// The time, in milliseconds since the Unix epoch.
    pub(crate) at: u64,
    /// The operator.
    pub(crate) by: String,
    /// What was done: `mute`, `unmute`, `ban`, `unban`, `set`, `invite`, `uninvite` or `delete`.
    pub(crate) action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_id: Option<ClientId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) room: Option<RoomName>,
    /// The length of a sanction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seconds: Option<u64>,
    /// The settings of the room that were changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) settings: Option<GivenSettings>,
    /// The deleted message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seq: Option<Seq>,
    pub(crate) reason: String,
}

/// The audit log.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AuditLog {
    /// The newest first.
    pub(crate) entries: Vec<Audited>,
}

impl From<Target> for SanctionTarget {
    fn from(Target { subject, room, measure }: Target) -> Self {
        let (client_id, address) = match subject {
            Subject::Client(name) => (Some(name), None),
            Subject::Address(address) => (None, Some(address.to_string())),
        };
        let measure = match measure {
            Measure::Mute => Forbidden::Mute,
            Measure::Ban => Forbidden::Ban,
        };
        Self { measure, client_id, address, room }
    }
}

impl From<Sanction> for ToldSanction {
    fn from(Sanction { target, until, reason, by, at }: Sanction) -> Self {
        Self { target: target.into(), until, reason: reason.into(), by: by.into(), at, exempt: false }
    }
}

impl Audited {
    pub(super) fn of(number: u64, AuditEntry { at, decision }: AuditEntry) -> Self {
        let Decision { by, act, reason } = decision;
        let (reason, by) = (reason.into(), by.into());
        let of_target = |undo: &str, target: Target| {
            let action = format!("{undo}{}", target.measure.as_str());
            let SanctionTarget { client_id, address, room, .. } = target.into();
            (action, (client_id, address, room))
        };
        let mut settings = None;
        let (action, (client_id, address, room), seconds, seq) = match act {
            Act::Impose { target, seconds } => {
                let (action, of) = of_target("", target);
                (action, of, seconds, None)
            }
            Act::Lift(target) => {
                let (action, of) = of_target("un", target);
                (action, of, None, None)
            }
            Act::Set { room, change } => {
                settings = Some(change.into());
                ("set".into(), (None, None, Some(room)), None, None)
            }
            Act::Invite { room, client_id } => ("invite".into(), (Some(client_id), None, Some(room)), None, None),
            Act::Uninvite { room, client_id } => ("uninvite".into(), (Some(client_id), None, Some(room)), None, None),
            Act::Delete { room, seq, client_id } => {
                ("delete".into(), (Some(client_id), None, Some(room)), None, Some(seq))
            }
        };
        Self { number, at, by, action, client_id, address, room, seconds, settings, seq, reason }
    }
}

/// Whom and where, each after a blank.
impl fmt::Display for SanctionTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        place(f, self.client_id.as_ref(), self.address.as_deref(), self.room.as_ref())
    }
}

/// One line for a person.
impl fmt::Display for ToldSanction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, until, reason, by, at, exempt } = self;
        let measure = Measure::from(target.measure).as_str();
        write!(f, "{measure}{target}, since {} by {by}", time(*at))?;
        until.map_or(Ok(()), |until| write!(f, ", until {}", time(until)))?;
        because(f, reason)?;
        f.write_str(if *exempt { EXEMPT } else { "" })
    }
}

/// One line for a person.
impl fmt::Display for SetRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.room, self.settings)
    }
}

/// One line for a person.
impl fmt::Display for ToldInvitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, since {} by {}", self.client_id, time(self.at), self.by)
    }
}

/// One line for a person.
impl fmt::Display for Audited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, at, by, action, client_id, address, room, seconds, settings, seq, reason } = self;
        write!(f, "{number} {} {by}: {action}", time(*at))?;
        seq.map_or(Ok(()), |seq| write!(f, " #{seq} of"))?;
        place(f, client_id.as_ref(), address.as_deref(), room.as_ref())?;
        seconds.map_or(Ok(()), |seconds| write!(f, " for {}", time_of(seconds)))?;
        if let Some(settings) = settings {
            write!(f, " {}", SettingsChange::from(settings.clone()))?;
        }
        because(f, reason)
    }
}

fn place(
    f: &mut fmt::Formatter<'_>,
    client_id: Option<&ClientId>,
    address: Option<&str>,
    room: Option<&RoomName>,
) -> fmt::Result {
    client_id.map_or(Ok(()), |name| write!(f, " {name}"))?;
    address.map_or(Ok(()), |address| write!(f, " address {address}"))?;
    room.map_or(Ok(()), |room| write!(f, " in {room}"))
}

/// Another operator cannot break the line with its reason.
fn because(f: &mut fmt::Formatter<'_>, reason: &str) -> fmt::Result {
    if reason.is_empty() { Ok(()) } else { write!(f, ": {reason:?}") }
}

/// A time in UTC, to the second.
fn time(unix_ms: u64) -> String {
    let time = i64::try_from(unix_ms / 1_000).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| format!("{unix_ms} ms"), |time| time.to_string())
}
