//! `starling moderate`: mutes, bans, settings of rooms and invitations on a running server, over its operators' API.

use std::fmt;
use std::io::Write;
use std::time::Duration;

use actix_web::web::Bytes;
use anyhow::{Context, anyhow};
use awc::http::Method;
use awc::{ClientRequest, SendClientRequest};
use clap::error::ErrorKind;
use clap::{ArgMatches, Args, FromArgMatches, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use starling_actors::moderation::typed::{
    BadTarget, name_to_sanction, sanction_seconds, setting, slow_seconds, target_name, target_room,
};
use starling_actors::moderation::{Measure, ReasonTooLong, check_reason};
use starling_actors::room_settings::{RoomSettings, SettingsChange};
use starling_protocol::typed_time::time_of;
use starling_protocol::{ClientId, RoomName, SettingName, one_of};

use crate::auth;
use crate::config::Config;
use crate::http::moderation::wire::{
    AuditLog, Forbidden, GivenSettings, Invitations, NewInvitation, NewSanction, SanctionTarget, Sanctions, SetRoom,
    SetRooms, ToldInvitation, ToldSanction, client_address,
};
use crate::logging;
use crate::own_server::OwnServer;

/// Longest time to wait for an answer. The server itself answers within five seconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// The operator in the audit log.
const OPERATOR: &str = "operator";

/// For how long a token of this command is valid, in seconds.
const TOKEN_SECONDS: u32 = 60;

const SANCTIONS: &str = "/api/moderation/sanctions";

/// A decision of an operator, or a list. Ends with 0 when the decision holds and is stored.
#[derive(Debug, Subcommand)]
pub enum ModerateCommand {
    /// Keeps a client from writing
    Mute(Impose),
    /// Takes a mute back
    Unmute(Whom),
    /// Keeps a client out, and closes its connections
    Ban(Impose),
    /// Takes a ban back
    Unban(Whom),
    /// Prints the mutes and bans in force, the newest first
    List,
    /// Prints the newest 1,000 decisions of operators, the newest first
    Audit,
    /// Prints or sets how often a client may write in a room
    Slow {
        /// The room
        #[arg(value_parser = slowed_room)]
        room: RoomName,
        /// The least time between two messages, like `10s`, or `off`; without it, the command prints it
        #[arg(value_parser = slow_seconds, allow_hyphen_values = true)]
        time: Option<u32>,
    },
    /// Prints the settings of a room that differ from the default; without a room, those of all rooms that have some
    Settings {
        /// The room
        #[arg(value_parser = target_room)]
        room: Option<RoomName>,
    },
    /// Changes a setting of a room
    Set(NewSetting),
    /// Invites a client to a private room
    Invite(Invited),
    /// Takes an invitation back; the client leaves the room if that is private and its token does not name it
    Uninvite(Invited),
    /// Prints the clients that are invited to a room
    Invitations {
        /// The room
        #[arg(value_parser = target_room)]
        room: RoomName,
    },
}

/// Who is invited, and where.
#[derive(Debug, Clone, Args)]
pub struct Invited {
    /// The room
    #[arg(value_parser = target_room)]
    room: RoomName,
    /// The name of the client
    #[arg(value_parser = target_name)]
    name: ClientId,
}

/// A setting of a room, with a value that it may have.
#[derive(Debug)]
pub struct NewSetting {
    room: RoomName,
    change: SettingsChange,
}

/// The arguments of [`NewSetting`], of which each alone is right.
#[derive(Debug, Args)]
struct TypedSetting {
    /// The room
    #[arg(value_parser = target_room)]
    room: RoomName,
    /// slow, topic, writers, access, newcomers, retention or seen-by
    #[arg(value_parser = setting_name)]
    setting: SettingName,
    /// The value, as an operator writes it in the console
    #[arg(required = true, allow_hyphen_values = true)]
    value: Vec<String>,
}

impl Args for NewSetting {
    fn augment_args(command: clap::Command) -> clap::Command {
        TypedSetting::augment_args(command)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        TypedSetting::augment_args_for_update(command)
    }
}

impl FromArgMatches for NewSetting {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let TypedSetting { room, setting: name, value } = TypedSetting::from_arg_matches(matches)?;
        let value = value.join(" ");
        let wrong = |why: String| {
            let text = format!("invalid value '{value}' for the setting {}: {why}", name.as_str());
            clap::Error::raw(ErrorKind::ValueValidation, text)
        };
        let change = setting(name, &value).map_err(|bad| wrong(bad.to_string()))?;
        change.check(&room).map_err(|bad| wrong(bad.to_string()))?;
        Ok(Self { room, change })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn setting_name(word: &str) -> Result<SettingName, String> {
    let all = || format!("write {}", one_of(SettingName::ALL.map(SettingName::as_str)));
    SettingName::of(word).ok_or_else(all)
}

/// The error of a word where the name of a client under a sanction stands, and what to write instead.
fn of_sanction(error: &BadTarget) -> String {
    match error {
        BadTarget::Name(_) => error.to_string(),
        BadTarget::Address(address) => format!("{error}; write --address {address}"),
        BadTarget::Everywhere(_) => format!("{error}; write the name, and no --room"),
        BadTarget::Time(time) => format!("{error}; write --for {time}"),
    }
}

fn sanctioned_name(text: &str) -> Result<ClientId, String> {
    target_name(text).map_err(|error| of_sanction(&error))
}

fn new_sanctioned_name(text: &str) -> Result<ClientId, String> {
    name_to_sanction(text).map_err(|error| of_sanction(&error))
}

/// The name of a room where the time of a slow mode may follow, so a time is none.
fn slowed_room(text: &str) -> Result<RoomName, String> {
    if slow_seconds(text).is_ok() {
        return Err(format!("{text} is a time, not a name; write the room before it"));
    }
    target_room(text).map_err(|error| error.to_string())
}

fn sanctioned_room(text: &str) -> Result<RoomName, String> {
    target_room(text).map_err(|error| match &error {
        BadTarget::Everywhere(_) => format!("{error}; write no --room"),
        BadTarget::Name(_) | BadTarget::Address(_) | BadTarget::Time(_) => error.to_string(),
    })
}

/// An address as it is typed.
fn typed_address(text: &str) -> Result<String, String> {
    client_address(text).map(|_| text.to_owned())
}

fn typed_reason(text: &str) -> Result<String, ReasonTooLong> {
    check_reason(text).map(|()| text.to_owned())
}

/// A client, or all clients of an address.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
struct NameOrAddress {
    /// The name of the client
    #[arg(value_parser = sanctioned_name)]
    name: Option<ClientId>,
    /// An IPv4 address, or an IPv6 address, which means its /64 network
    #[arg(long, value_parser = typed_address)]
    address: Option<String>,
}

/// Whom a sanction is about, and where.
#[derive(Debug, Clone, Args)]
pub struct Whom {
    #[command(flatten)]
    who: NameOrAddress,
    /// Only in this room; without it on the whole server
    #[arg(long, value_parser = sanctioned_room)]
    room: Option<RoomName>,
}

/// A sanction.
#[derive(Debug, Args)]
#[command(mut_arg("name", |name| name.value_parser(new_sanctioned_name)))]
pub struct Impose {
    #[command(flatten)]
    whom: Whom,
    /// Its length, like 30s, 10m, 2h, 7d or 4w; without it, it has no end
    #[arg(long = "for", value_name = "TIME", value_parser = sanction_seconds, allow_hyphen_values = true)]
    seconds: Option<u64>,
    /// The reason, which the client is told
    #[arg(long, default_value = "", value_parser = typed_reason)]
    reason: String,
}

impl Whom {
    fn target(self, measure: Forbidden) -> SanctionTarget {
        let Self { who: NameOrAddress { name, address }, room } = self;
        SanctionTarget { measure, client_id: name, address, room }
    }
}

impl ModerateCommand {
    /// Asks the server of this configuration. Must run on an actix system.
    ///
    /// # Errors
    /// No server answers, this configuration has no operators, or the server refuses.
    pub async fn run(self, config: &Config, out: &mut dyn Write) -> anyhow::Result<()> {
        let api = Api { token: token(config)?, server: OwnServer::of(config, DEADLINE)? };
        match self {
            Self::Mute(new) => api.impose(Forbidden::Mute, new, out).await,
            Self::Ban(new) => api.impose(Forbidden::Ban, new, out).await,
            Self::Unmute(whom) => api.lift(whom.target(Forbidden::Mute), out).await,
            Self::Unban(whom) => api.lift(whom.target(Forbidden::Ban), out).await,
            Self::List => {
                let Sanctions { sanctions } = api.read(SANCTIONS).await?;
                list(&sanctions, "no mute or ban is in force", out)
            }
            Self::Audit => {
                let AuditLog { entries } = api.read("/api/moderation/audit").await?;
                list(&entries, "no operator has decided anything", out)
            }
            Self::Slow { room, time } => {
                let path = of_room(&room, "settings");
                let settings: GivenSettings = match time {
                    None => api.read(&path).await?,
                    slow_seconds => api.send(&path, &GivenSettings { slow_seconds, ..Default::default() }).await?,
                };
                match settings.slow_seconds.unwrap_or(0) {
                    0 => writeln!(out, "{room}: off")?,
                    seconds => writeln!(out, "{room}: {}", time_of(seconds.into()))?,
                }
                Ok(())
            }
            Self::Settings { room: None } => {
                let SetRooms { rooms } = api.read("/api/moderation/rooms").await?;
                list(&rooms, "no room has settings of its own", out)
            }
            Self::Settings { room: Some(room) } => {
                let settings = api.read(&of_room(&room, "settings")).await?;
                tell_settings(&room, settings, out)
            }
            Self::Set(NewSetting { room, change }) => {
                let settings = api.send(&of_room(&room, "settings"), &GivenSettings::from(change)).await?;
                tell_settings(&room, settings, out)
            }
            Self::Invite(Invited { room, name }) => {
                let new = NewInvitation { client_id: name };
                let ToldInvitation { client_id, .. } = api.send(&of_room(&room, "invitations"), &new).await?;
                Ok(writeln!(out, "invite {client_id} to {room}")?)
            }
            Self::Uninvite(Invited { room, name }) => {
                let path = of_room(&room, &format!("invitations/{}", encoded(name.as_str())));
                api.answer(api.request(Method::DELETE, &path).send()).await?;
                Ok(writeln!(out, "uninvite {name} from {room}")?)
            }
            Self::Invitations { room } => {
                let Invitations { invitations } = api.read(&of_room(&room, "invitations")).await?;
                list(&invitations, &format!("no client is invited to {room}"), out)
            }
        }
    }
}

/// Prints a list, one entry a line. An empty one is told on standard error: a program that reads the list takes each line for
/// an entry.
fn list(entries: &[impl fmt::Display], none: &str, out: &mut dyn Write) -> anyhow::Result<()> {
    if entries.is_empty() {
        logging::note(none);
    }
    Ok(entries.iter().try_for_each(|entry| writeln!(out, "{entry}"))?)
}

fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

/// A path of the operators' API about a room.
fn of_room(room: &RoomName, what: &str) -> String {
    format!("/api/rooms/{}/{what}", encoded(room.as_str()))
}

fn tell_settings(room: &RoomName, settings: GivenSettings, out: &mut dyn Write) -> anyhow::Result<()> {
    let settings = SettingsChange::from(settings).applied_to(&RoomSettings::PLAIN);
    Ok(writeln!(out, "{}", SetRoom { room: room.clone(), settings })?)
}

/// The token of an operator.
fn token(config: &Config) -> anyhow::Result<String> {
    if let Some(token) = config.admin_token.as_bytes() {
        return Ok(String::from_utf8_lossy(token).into_owned());
    }
    let name = ClientId::parse(OPERATOR)?;
    let minted = auth::mint(config, &name, None, true, TOKEN_SECONDS);
    Ok(minted.context("this configuration has no operators: set CHAT_ADMIN_TOKEN, as for the server")??)
}

/// The operators' API of the server.
struct Api {
    server: OwnServer,
    token: String,
}

impl Api {
    async fn impose(&self, measure: Forbidden, new: Impose, out: &mut dyn Write) -> anyhow::Result<()> {
        let Impose { whom, seconds, reason } = new;
        let sanction = NewSanction { target: whom.target(measure), seconds, reason: Some(reason) };
        let sanction: ToldSanction = self.send(SANCTIONS, &sanction).await?;
        Ok(writeln!(out, "{sanction}")?)
    }

    async fn lift(&self, target: SanctionTarget, out: &mut dyn Write) -> anyhow::Result<()> {
        let request = self.request(Method::DELETE, SANCTIONS).query(&target)?;
        self.answer(request.send()).await?;
        Ok(writeln!(out, "un{}{target}", Measure::from(target.measure).as_str())?)
    }

    fn request(&self, method: Method, path: &str) -> ClientRequest {
        self.server.request(method, path).bearer_auth(&self.token)
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let body = self.answer(self.request(Method::GET, path).send()).await?;
        Ok(serde_json::from_slice(&body)?)
    }

    async fn send<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        let body = self.answer(self.request(Method::POST, path).send_json(body)).await?;
        Ok(serde_json::from_slice(&body)?)
    }
    async fn answer(&self, asked: SendClientRequest) -> anyhow::Result<Bytes> {
        let answer = self.server.answer(asked).await?;
        answer.map_err(|reason| anyhow!("refused: {reason}"))
    }
}
