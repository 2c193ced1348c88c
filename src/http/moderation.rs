//! The handlers of moderation: sanctions, settings of rooms, invitations and the audit log.

pub(crate) mod wire;

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use starling_actors::chat_server::command::{Decided, NotDecided};
use starling_actors::moderation::{Act, Decision, Ineffective, Subject, Target};
use starling_actors::room_settings::{RoomSettings, SettingsChange};

use self::wire::{
    AuditLog, Audited, GivenSettings, Invitations, NewInvitation, NewSanction, SanctionTarget, Sanctions, SetRoom,
    SetRooms, ToldInvitation, ToldSanction, client_address,
};
use super::fields::{Fields, bad};
use super::handlers::{OPERATOR, not_known, unanswered};
use super::names_in_path::{ClientInPath, RoomInPath};
use crate::callers::{Operator, RoomsOperator};
use crate::refusal::{HttpCode, HttpRefusal};
use crate::state::ServerState;

type Answer = Result<HttpResponse, HttpRefusal>;

/// The operator in the audit log.
fn name_of(operator: &Operator) -> String {
    operator.name.as_ref().map_or_else(|| OPERATOR.to_owned(), ToString::to_string)
}

impl SanctionTarget {
    fn read(self) -> Result<Target, HttpRefusal> {
        let Self { measure, client_id, address, room } = self;
        let subject = match (client_id, address) {
            (Some(name), None) => Subject::Client(name),
            (None, Some(address)) => {
                Subject::Address(client_address(&address).map_err(|why| bad(format!("field `address`: {why}")))?)
            }
            (None, None) => return Err(bad("either `clientId` or `address` is needed")),
            (Some(_), Some(_)) => return Err(bad("`clientId` and `address` exclude each other: give one of them")),
        };
        Ok(Target { subject, room, measure: measure.into() })
    }
}

/// Makes a decision, and waits until it is stored.
async fn decide(state: &ServerState, operator: &Operator, act: Act, reason: String) -> Result<Decided, HttpRefusal> {
    if let Some(it) = state.not_ready() {
        return Err(it.into());
    }
    let decision = Decision { by: name_of(operator).into(), act, reason: reason.into() };
    match state.chat().decide(decision).await.map_err(not_known)? {
        Ok(decided) => Ok(decided),
        Err(error) => {
            let code = match error {
                NotDecided::Ineffective(Ineffective::TooManySanctions(_)) => HttpCode::TooManySanctions,
                NotDecided::Ineffective(Ineffective::TooManySet(_)) => HttpCode::TooManySettings,
                NotDecided::Ineffective(Ineffective::NotThere(_)) => HttpCode::NoSuchSanction,
                NotDecided::Ineffective(Ineffective::TooManyInvited(..)) => HttpCode::TooManyInvitations,
                NotDecided::Ineffective(Ineffective::NotInvited) => HttpCode::NoSuchInvitation,
                NotDecided::NotStored | NotDecided::NotDone(_) => HttpCode::Unavailable,
                NotDecided::NotAnOperator | NotDecided::OutsideOfToken => HttpCode::Forbidden,
            };
            let told = if operator.operates_server { error } else { error.without_other_places() };
            Err(HttpRefusal::new(code, told.to_string()))
        }
    }
}

pub(super) async fn impose(
    state: Data<ServerState>,
    operator: RoomsOperator,
    body: Result<Bytes, actix_web::Error>,
) -> Answer {
    let NewSanction { target, seconds, reason } = Fields::of_body(body)?.read_all()?;
    let target = target.read()?;
    let operator = operator.of(target.room.as_ref())?;
    let reason = reason.unwrap_or_default();
    let by = name_of(&operator);
    let act = Act::Impose { target: target.clone(), seconds };
    let Decided { at, is_exempt, .. } = decide(&state, &operator, act, reason.clone()).await?;
    let until = seconds.map(|seconds| at + seconds * 1_000);
    Ok(HttpResponse::Ok().json(ToldSanction { target: target.into(), until, reason, by, at, exempt: is_exempt }))
}

pub(super) async fn lift(state: Data<ServerState>, operator: RoomsOperator, request: HttpRequest) -> Answer {
    let target = Fields::of_query(request.query_string())?.read::<SanctionTarget>()?.read()?;
    let operator = operator.of(target.room.as_ref())?;
    decide(&state, &operator, Act::Lift(target), String::new()).await?;
    Ok(HttpResponse::NoContent().finish())
}

pub(super) async fn sanctions(state: Data<ServerState>, operator: RoomsOperator) -> Answer {
    let mut sanctions = state.chat().sanctions().await.map_err(unanswered)?;
    sanctions.retain(|sanction| operator.operates(sanction.target.room.as_ref()));
    sanctions.sort_by(|one, other| (other.at, &other.target).cmp(&(one.at, &one.target)));
    Ok(HttpResponse::Ok().json(Sanctions { sanctions: sanctions.into_iter().map(ToldSanction::from).collect() }))
}

pub(super) async fn audit(state: Data<ServerState>, operator: RoomsOperator) -> Answer {
    let mut entries = state.chat().audit().await.map_err(unanswered)?;
    entries.retain(|(_, entry)| operator.operates(entry.decision.act.room()));
    let entries = entries.into_iter().map(|(number, entry)| Audited::of(number, entry)).collect();
    Ok(HttpResponse::Ok().json(AuditLog { entries }))
}

pub(super) async fn room_settings(state: Data<ServerState>, _: Operator, RoomInPath(room): RoomInPath) -> Answer {
    let settings = state.chat().room_settings(room).await.map_err(unanswered)?;
    Ok(told(settings))
}

pub(super) async fn set_room_settings(
    state: Data<ServerState>,
    operator: Operator,
    RoomInPath(room): RoomInPath,
    body: Result<Bytes, actix_web::Error>,
) -> Answer {
    let change = SettingsChange::from(Fields::of_body(body)?.read_all::<GivenSettings>()?);
    change.check(&room).map_err(bad)?;
    decide(&state, &operator, Act::Set { room: room.clone(), change }, String::new()).await?;
    let settings = state.chat().room_settings(room).await.map_err(not_known)?;
    Ok(told(settings))
}

pub(super) async fn set_rooms(state: Data<ServerState>, operator: RoomsOperator) -> Answer {
    let mut rooms = state.chat().set_rooms().await.map_err(unanswered)?;
    rooms.retain(|(room, _)| operator.operates(Some(room)));
    let rooms = rooms.into_iter().map(|(room, settings)| SetRoom { room, settings }).collect();
    Ok(HttpResponse::Ok().json(SetRooms { rooms }))
}

/// All settings of a room.
fn told(settings: RoomSettings) -> HttpResponse {
    HttpResponse::Ok().json(GivenSettings::from(SettingsChange::from(settings)))
}

pub(super) async fn invitations(state: Data<ServerState>, _: Operator, RoomInPath(room): RoomInPath) -> Answer {
    let invited = state.chat().invitations(room).await.map_err(unanswered)?;
    let invitations = invited.into_iter().map(ToldInvitation::from).collect();
    Ok(HttpResponse::Ok().json(Invitations { invitations }))
}

pub(super) async fn invite(
    state: Data<ServerState>,
    operator: Operator,
    RoomInPath(room): RoomInPath,
    body: Result<Bytes, actix_web::Error>,
) -> Answer {
    let NewInvitation { client_id } = Fields::of_body(body)?.read_all()?;
    let act = Act::Invite { room, client_id: client_id.clone() };
    let Decided { at, .. } = decide(&state, &operator, act, String::new()).await?;
    Ok(HttpResponse::Ok().json(ToldInvitation { client_id, by: name_of(&operator), at }))
}

pub(super) async fn uninvite(
    state: Data<ServerState>,
    operator: Operator,
    RoomInPath(room): RoomInPath,
    ClientInPath(client_id): ClientInPath,
) -> Answer {
    decide(&state, &operator, Act::Uninvite { room, client_id }, String::new()).await?;
    Ok(HttpResponse::NoContent().finish())
}
