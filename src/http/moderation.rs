//! The handlers of moderation: sanctions, slow mode and the audit log.

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data, Path, Query};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use starling_actors::chat_server::command::{Decided, NotDecided};
use starling_actors::client_address::ClientAddress;
use starling_actors::moderation::{
    Act, AuditEntry, Decision, Ineffective, Measure, REASON_BYTES_MAX, SANCTION_SECONDS_MAX, SLOW_SECONDS_MAX,
    Sanction, Subject, Target,
};
use starling_protocol::{ClientId, RoomName, Seq};

use super::handlers::{OPERATOR, not_known, unanswered};
use crate::callers::Operator;
use crate::refusal::{HttpCode, HttpRefusal};
use crate::state::ServerState;

type Answer = Result<HttpResponse, HttpRefusal>;

/// What a sanction forbids.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Forbidden {
    /// To write, change and react.
    Mute,
    /// To be there.
    Ban,
}

/// Whom a sanction is about, where, and what: either `clientId` or `address`. Without `room`, on the whole server.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SanctionTarget {
    measure: Forbidden,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<ClientId>,
    /// An IPv4 address, or an IPv6 address, which means its /64 network.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<RoomName>,
}

/// A sanction to impose.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewSanction {
    #[serde(flatten)]
    target: SanctionTarget,
    /// Its length. Without it, it has no end.
    #[schemars(range(min = 1, max = SANCTION_SECONDS_MAX))]
    seconds: Option<u64>,
    /// The reason, which the client is told.
    #[serde(default)]
    #[schemars(length(max = REASON_BYTES_MAX))]
    reason: String,
}

/// A sanction in force.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Sanction")]
pub(super) struct ToldSanction {
    #[serde(flatten)]
    target: SanctionTarget,
    /// Its end, in milliseconds since the Unix epoch. Without it, it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    reason: String,
    /// The operator.
    by: String,
    /// Its beginning, in milliseconds since the Unix epoch.
    at: u64,
}

/// All sanctions in force.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Sanctions {
    /// The newest first.
    sanctions: Vec<ToldSanction>,
}

/// The settings of a room.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RoomSettings {
    /// The least time between two messages of a client; 0: none.
    #[schemars(range(max = SLOW_SECONDS_MAX))]
    slow_seconds: u32,
}

/// A decision of an operator.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Audited {
    /// Its number; the next one has the next number.
    number: u64,
    /// The time, in milliseconds since the Unix epoch.
    at: u64,
    /// The operator.
    by: String,
    /// What was done: `mute`, `unmute`, `ban`, `unban`, `slow` or `delete`.
    action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<ClientId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<RoomName>,
    /// The length of a sanction, or the time of a slow mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<u64>,
    /// The deleted message.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<Seq>,
    reason: String,
}

/// The audit log.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AuditLog {
    /// The newest first.
    entries: Vec<Audited>,
}

fn bad(error: impl std::fmt::Display) -> HttpRefusal {
    HttpRefusal::new(HttpCode::BadRequest, error.to_string())
}

fn read<T: DeserializeOwned>(body: Result<Bytes, actix_web::Error>) -> Result<T, HttpRefusal> {
    let body = body.map_err(bad)?;
    // Serde would also accept an array for a struct.
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&body).map_err(bad)?;
    serde_json::from_value(serde_json::Value::Object(fields)).map_err(bad)
}

fn room_of(room: &str) -> Result<RoomName, HttpRefusal> {
    RoomName::parse(room).map_err(|error| HttpRefusal::new(HttpCode::BadRoom, error.to_string()))
}

impl SanctionTarget {
    fn read(self) -> Result<Target, HttpRefusal> {
        let Self { measure, client_id, address, room } = self;
        let subject = match (client_id, address) {
            (Some(name), None) => Subject::Client(name),
            (None, Some(address)) => match address.parse::<ClientAddress>() {
                Ok(address) if address != ClientAddress::NONE => Subject::Address(address),
                _ => return Err(bad(format!("{address:?} is not an address of a client"))),
            },
            (None, None) | (Some(_), Some(_)) => return Err(bad("either `clientId` or `address` is needed")),
        };
        let measure = match measure {
            Forbidden::Mute => Measure::Mute,
            Forbidden::Ban => Measure::Ban,
        };
        Ok(Target { subject, room, measure })
    }
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
        Self { target: target.into(), until, reason: reason.into(), by: by.into(), at }
    }
}

impl Audited {
    fn of(number: u64, AuditEntry { at, decision }: AuditEntry) -> Self {
        let Decision { by, act, reason } = decision;
        let (reason, by) = (reason.into(), by.into());
        let of_target = |undo: &str, target: Target| {
            let action = format!("{undo}{}", target.measure.as_str());
            let SanctionTarget { client_id, address, room, .. } = target.into();
            (action, (client_id, address, room))
        };
        let (action, (client_id, address, room), seconds, seq) = match act {
            Act::Impose { target, seconds } => {
                let (action, of) = of_target("", target);
                (action, of, seconds, None)
            }
            Act::Lift(target) => {
                let (action, of) = of_target("un", target);
                (action, of, None, None)
            }
            Act::Slow { room, seconds } => ("slow".into(), (None, None, Some(room)), Some(seconds.into()), None),
            Act::Delete { room, seq, client_id } => {
                ("delete".into(), (Some(client_id), None, Some(room)), None, Some(seq))
            }
        };
        Self { number, at, by, action, client_id, address, room, seconds, seq, reason }
    }
}

/// Makes a decision, and waits until it is stored.
async fn decide(state: &ServerState, operator: Operator, act: Act, reason: String) -> Result<u64, HttpRefusal> {
    if let Some(it) = state.not_ready() {
        return Err(it.into());
    }
    let by = operator.name.map_or_else(|| OPERATOR.into(), |name| name.as_str().into());
    let decision = Decision { by, act, reason: reason.into() };
    match state.chat().decide(decision).await.map_err(not_known)? {
        Ok(Decided { at }) => Ok(at),
        Err(error) => {
            let code = match error {
                NotDecided::Ineffective(Ineffective::Full(_)) => HttpCode::TooManySanctions,
                NotDecided::Ineffective(Ineffective::NotThere) => HttpCode::NoSuchSanction,
                NotDecided::NotStored | NotDecided::NotDone(_) => HttpCode::Unavailable,
            };
            Err(HttpRefusal::new(code, error.to_string()))
        }
    }
}

pub(super) async fn impose(
    state: Data<ServerState>,
    operator: Operator,
    body: Result<Bytes, actix_web::Error>,
) -> Answer {
    let NewSanction { target, seconds, reason } = read(body)?;
    let target = target.read()?;
    if reason.len() > REASON_BYTES_MAX {
        return Err(bad(format!("`reason` has {} bytes, {REASON_BYTES_MAX} are allowed", reason.len())));
    }
    if seconds.is_some_and(|seconds| !(1..=SANCTION_SECONDS_MAX).contains(&seconds)) {
        return Err(bad(format!("`seconds` must be 1 to {SANCTION_SECONDS_MAX}")));
    }
    let by = operator.name.as_ref().map_or_else(|| OPERATOR.to_owned(), ToString::to_string);
    let at = decide(&state, operator, Act::Impose { target: target.clone(), seconds }, reason.clone()).await?;
    let until = seconds.map(|seconds| at + seconds * 1_000);
    Ok(HttpResponse::Ok().json(ToldSanction { target: target.into(), until, reason, by, at }))
}

pub(super) async fn lift(
    state: Data<ServerState>,
    operator: Operator,
    query: Result<Query<SanctionTarget>, actix_web::Error>,
) -> Answer {
    let target = query.map_err(bad)?.into_inner().read()?;
    decide(&state, operator, Act::Lift(target), String::new()).await?;
    Ok(HttpResponse::NoContent().finish())
}

pub(super) async fn sanctions(state: Data<ServerState>, _: Operator) -> Answer {
    let mut sanctions = state.chat().sanctions().await.map_err(unanswered)?;
    sanctions.sort_by(|one, other| (other.at, &other.target).cmp(&(one.at, &one.target)));
    Ok(HttpResponse::Ok().json(Sanctions { sanctions: sanctions.into_iter().map(ToldSanction::from).collect() }))
}

pub(super) async fn audit(state: Data<ServerState>, _: Operator) -> Answer {
    let entries = state.chat().audit().await.map_err(unanswered)?;
    let entries = entries.into_iter().map(|(number, entry)| Audited::of(number, entry)).collect();
    Ok(HttpResponse::Ok().json(AuditLog { entries }))
}

pub(super) async fn room_settings(state: Data<ServerState>, _: Operator, room: Path<String>) -> Answer {
    let room = room_of(&room)?;
    let slow_seconds = state.chat().slow_mode(room).await.map_err(unanswered)?;
    Ok(HttpResponse::Ok().json(RoomSettings { slow_seconds }))
}

pub(super) async fn set_room_settings(
    state: Data<ServerState>,
    operator: Operator,
    room: Path<String>,
    body: Result<Bytes, actix_web::Error>,
) -> Answer {
    let room = room_of(&room)?;
    let RoomSettings { slow_seconds } = read(body)?;
    if slow_seconds > SLOW_SECONDS_MAX {
        return Err(bad(format!("`slowSeconds` must be 0 to {SLOW_SECONDS_MAX}")));
    }
    decide(&state, operator, Act::Slow { room, seconds: slow_seconds }, String::new()).await?;
    Ok(HttpResponse::Ok().json(RoomSettings { slow_seconds }))
}
