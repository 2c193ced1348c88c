//! The decisions of operators as a person types them: `/mute bob 10m spam`.

use starling_protocol::console::{OperatorCommand, no_current_room};
use starling_protocol::limits::RETENTION_SECONDS_MAX;
use starling_protocol::typed_time::{BadTime, seconds_up_to, time_of};
use starling_protocol::{ClientId, ErrorCode, NameError, Refusal, RoomName, SettingName, one_of};

use super::{Act, Ineffective, Measure, SANCTION_SECONDS_MAX, Subject, Target, check_reason};
use crate::client_address::ClientAddress;
use crate::room_settings::{Access, Retention, SLOW_SECONDS_MAX, SettingsChange, Writers};

/// The word that makes a sanction one of the whole server.
const EVERYWHERE: &str = "everywhere";

/// The words for what is on, for what is off, and for what is as the server has it.
const ON: &str = "on";
const OFF: &str = "off";
const SERVER: &str = "server";

/// The seconds of a time of a sanction, such as `10m`.
///
/// # Errors
/// [`BadTime`].
pub fn sanction_seconds(text: &str) -> Result<u64, BadTime> {
    seconds_up_to(text, SANCTION_SECONDS_MAX)
}

/// The seconds of a slow mode, such as `10s`; `off` is 0.
///
/// # Errors
/// [`BadTime`].
pub fn slow_seconds(text: &str) -> Result<u32, BadTime> {
    if is(OFF, text) {
        return Ok(0);
    }
    let seconds = seconds_up_to(text, SLOW_SECONDS_MAX.into())?;
    u32::try_from(seconds).map_err(|_| BadTime::Range(time_of(SLOW_SECONDS_MAX.into())))
}

/// The reason that a word is not the name of a client or a room. A client or a room may have such a name; its decisions
/// are made over HTTP, where each field has one meaning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// It cannot be a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An operator who types it means an address.
    #[error("{0} is an address, not a name")]
    Address(String),
    /// An operator who types it means the whole server.
    #[error("{0} means the whole server, and is not a name here")]
    Everywhere(String),
    /// An operator who types it means the length of a sanction.
    #[error("{0} is a time, not a name")]
    Time(String),
}

/// The name of a client, as an operator types it.
///
/// # Errors
/// [`BadTarget`].
pub fn target_name(word: &str) -> Result<ClientId, BadTarget> {
    if word.parse::<ClientAddress>().is_ok() {
        return Err(BadTarget::Address(word.into()));
    }
    not_everywhere(word)?;
    Ok(ClientId::parse(word)?)
}

/// The name of a client to mute or ban, as an operator types it. Behind it may stand a time, so it is none.
///
/// # Errors
/// [`BadTarget`].
pub fn name_to_sanction(word: &str) -> Result<ClientId, BadTarget> {
    if sanction_seconds(word).is_ok() { Err(BadTarget::Time(word.into())) } else { target_name(word) }
}

/// The name of a room, as an operator types it.
///
/// # Errors
/// [`BadTarget`].
pub fn target_room(word: &str) -> Result<RoomName, BadTarget> {
    not_everywhere(word)?;
    Ok(RoomName::parse(word)?)
}

fn not_everywhere(word: &str) -> Result<(), BadTarget> {
    if is(EVERYWHERE, word) { Err(BadTarget::Everywhere(word.into())) } else { Ok(()) }
}

/// What is wrong with the typed value of a setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadValue {
    /// It has none of the forms of this setting.
    #[error("write {}", one_of(.0.values().iter().copied()))]
    Form(SettingName),
    /// Its time is wrong.
    #[error(transparent)]
    Time(#[from] BadTime),
}

/// A decision that an operator has typed, with its reason.
///
/// # Errors
/// The refusal to answer with.
pub fn decision(command: OperatorCommand, words: &str, current: Option<&RoomName>) -> Result<(Act, Box<str>), Refusal> {
    let usage = || Refusal::new(ErrorCode::BadRequest, format!("write {}", command.form()));
    if let OperatorCommand::Set(name) = command {
        let room = here(current)?;
        let change = setting(name, words).map_err(|wrong| match wrong {
            BadValue::Form(_) => usage(),
            BadValue::Time(time) => bad(time),
        })?;
        change.check(&room).map_err(bad)?;
        return Ok((Act::Set { room, change }, Box::default()));
    }
    let (first, rest) = word(words).ok_or_else(usage)?;
    let is_imposed = matches!(command, OperatorCommand::Mute | OperatorCommand::Ban);
    let name = if is_imposed { name_to_sanction(first) } else { target_name(first) };
    let name = name.map_err(|error| {
        let advice = match error {
            BadTarget::Name(_) => String::new(),
            BadTarget::Address(_) => "; only names are typed here".into(),
            BadTarget::Everywhere(_) | BadTarget::Time(_) => format!(": write {}", command.form()),
        };
        Refusal::new(ErrorCode::BadName, format!("{error}{advice}"))
    })?;
    if let OperatorCommand::Invite | OperatorCommand::Uninvite = command {
        let (room, client_id) = (here(current)?, name);
        let is_invited = command == OperatorCommand::Invite;
        let act = if is_invited { Act::Invite { room, client_id } } else { Act::Uninvite { room, client_id } };
        return if rest.is_empty() { Ok((act, Box::default())) } else { Err(usage()) };
    }
    let (is_everywhere, rest) = match word(rest) {
        Some((second, rest)) if is(EVERYWHERE, second) => (true, rest),
        _ => (false, rest),
    };
    let room = if is_everywhere { None } else { Some(here(current)?) };
    let measure = match command {
        OperatorCommand::Mute | OperatorCommand::Unmute => Measure::Mute,
        OperatorCommand::Ban
        | OperatorCommand::Unban
        | OperatorCommand::Invite
        | OperatorCommand::Uninvite
        | OperatorCommand::Set(_) => Measure::Ban,
    };
    let target = Target { subject: Subject::Client(name), room, measure };
    if !is_imposed {
        return if rest.is_empty() { Ok((Act::Lift(target), Box::default())) } else { Err(usage()) };
    }
    let misplaced = |what: &str| Refusal::new(ErrorCode::BadRequest, format!("{what}: write {}", command.form()));
    // A wrong time must not become a part of the reason of a sanction without end.
    let (seconds, reason) = match word(rest) {
        Some((time, rest)) if time.starts_with(|c: char| c.is_ascii_digit()) => {
            (Some(sanction_seconds(time).map_err(bad)?), rest)
        }
        _ => (None, rest),
    };
    if word(reason).is_some_and(|(first, _)| is(EVERYWHERE, first)) {
        return Err(misplaced("the word everywhere stands behind the name"));
    }
    if reason.split_whitespace().next_back().is_some_and(|last| sanction_seconds(last).is_ok()) {
        return Err(misplaced("the time stands before the reason"));
    }
    check_reason(reason).map_err(bad)?;
    Ok((Act::Impose { target, seconds }, reason.into()))
}

/// The change of a setting that an operator has typed. Its values may be beyond their limits.
///
/// # Errors
/// [`BadValue`].
pub fn setting(name: SettingName, words: &str) -> Result<SettingsChange, BadValue> {
    let usage = || BadValue::Form(name);
    let words = words.trim();
    let is_on = |is_on: &str, is_off: &str| match words {
        word if is(is_on, word) => Ok(true),
        word if is(is_off, word) => Ok(false),
        _ => Err(usage()),
    };
    let mut change = SettingsChange::default();
    match name {
        _ if words.is_empty() => return Err(usage()),
        SettingName::Slow => change.slow_seconds = Some(slow_seconds(words)?),
        SettingName::Topic => change.topic = Some(if is(OFF, words) { String::new() } else { words.into() }),
        SettingName::Writers => {
            let is_open = is_on(Writers::Everyone.as_str(), Writers::Operators.as_str())?;
            change.writers = Some(if is_open { Writers::Everyone } else { Writers::Operators });
        }
        SettingName::Access => {
            let is_open = is_on(Access::Everyone.as_str(), Access::Invited.as_str())?;
            change.access = Some(if is_open { Access::Everyone } else { Access::Invited });
        }
        SettingName::Newcomers => change.newcomers_see_history = Some(is_on(ON, OFF)?),
        SettingName::Retention if is(SERVER, words) => change.retention = Some(Retention::default()),
        SettingName::Retention => {
            let mut retention = Retention::default();
            for word in words.split_whitespace() {
                let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
                if is_number && retention == Retention::default() {
                    // Too many digits are too many messages.
                    retention.messages = Some(word.parse().unwrap_or(u64::MAX));
                } else if !is_number && retention.seconds.is_none() && word.starts_with(|c: char| c.is_ascii_digit()) {
                    retention.seconds = Some(seconds_up_to(word, RETENTION_SECONDS_MAX)?);
                } else {
                    return Err(usage());
                }
            }
            change.retention = Some(retention);
        }
        SettingName::SeenBy if is(SERVER, words) => change.seen_by = Some(None),
        SettingName::SeenBy => change.seen_by = Some(Some(is_on(ON, OFF)?)),
    }
    Ok(change)
}

/// Whether a word is this one of the console, in small or capital letters.
fn is(word: &str, typed: &str) -> bool {
    typed.eq_ignore_ascii_case(word)
}

fn here(current: Option<&RoomName>) -> Result<RoomName, Refusal> {
    current.cloned().ok_or_else(no_current_room)
}

fn bad(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(ErrorCode::BadRequest, error.to_string())
}

/// The first word and the rest.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (!word.is_empty()).then(|| (word, rest.trim()))
}

/// What an operator is told behind a sanction of another one.
pub const EXEMPT: &str = "; it does not stop an operator, and this client is one now";

/// What an operator who is in this room types instead of a decision that has no effect: behind its reason.
pub fn advice(why: &Ineffective, current: Option<&RoomName>) -> String {
    match why {
        Ineffective::NotThere(Some(elsewhere)) => match &elsewhere.room {
            Some(room) if Some(room) == current => format!("; write {}", lifting(elsewhere)),
            Some(room) => format!("; /join {room} to take that back"),
            None => format!("; write {} {EVERYWHERE}", lifting(elsewhere)),
        },
        Ineffective::NotThere(None)
        | Ineffective::TooManySanctions(_)
        | Ineffective::TooManySet(_)
        | Ineffective::TooManyInvited(..)
        | Ineffective::NotInvited => String::new(),
    }
}

fn lifting(target: &Target) -> String {
    format!("/un{} {}", target.measure.as_str(), target.who())
}

/// What an operator is told: the decision holds.
pub fn done(act: &Act) -> String {
    match act {
        Act::Impose { target, seconds } => {
            let time = seconds.map_or_else(String::new, |seconds| format!(" for {}", time_of(seconds)));
            format!("{} is {}{time}", target, target.measure.participle())
        }
        Act::Lift(target) => format!("{} is no longer {}", target, target.measure.participle()),
        Act::Set { room, change } => format!("{room}: {change}"),
        Act::Invite { room, client_id } => format!("{client_id} is invited to {room}"),
        Act::Uninvite { room, client_id } => format!("{client_id} is no longer invited to {room}"),
        Act::Delete { room, seq, client_id } => format!("message {seq} of {client_id} in {room} is deleted"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::REASON_BYTES_MAX;
    use super::*;

    fn room() -> RoomName {
        RoomName::parse("dev").unwrap()
    }

    fn typed(line: &str) -> Result<String, String> {
        let line = line.strip_prefix('/').unwrap();
        let (command, words) = line.split_once(' ').unwrap_or((line, ""));
        let command = OperatorCommand::of(command).unwrap();
        let (act, reason) = decision(command, words.trim(), Some(&room())).map_err(|refusal| refusal.message)?;
        let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        Ok(format!("{}{reason}", done(&act)))
    }

    #[test]
    fn a_decision_is_typed_with_its_place_its_time_and_its_reason() {
        for (line, means) in [
            ("/mute bob", "bob in dev is muted"),
            ("/mute bob 10m", "bob in dev is muted for 10m"),
            ("/mute bob  90s  too  loud", "bob in dev is muted for 90s: too  loud"),
            ("/mute bob spam 10m ago", "bob in dev is muted: spam 10m ago"),
            ("/ban bob everywhere 7d spam", "bob is banned for 1w: spam"),
            ("/ban bob", "bob in dev is banned"),
            ("/unban bob everywhere", "bob is no longer banned"),
            ("/unmute 10m", "10m in dev is no longer muted"),
            ("/invite 10m", "10m is invited to dev"),
            ("/mute bob EVERYWHERE 10m", "bob is muted for 10m"),
            ("/mute bob spam everywhere", "bob in dev is muted: spam everywhere"),
            ("/mute bob everywhereabouts", "bob in dev is muted: everywhereabouts"),
            ("/unmute bob", "bob in dev is no longer muted"),
            ("/slow 10s", "dev: slow 10s"),
            ("/slow 120s", "dev: slow 2m"),
            ("/slow off", "dev: slow off"),
            ("/topic  the next  release ", "dev: topic \"the next  release\""),
            ("/topic off", "dev: topic off"),
            ("/topic OFF", "dev: topic off"),
            ("/slow Off", "dev: slow off"),
            ("/writers Operators", "dev: writers operators"),
            ("/access EVERYONE", "dev: access everyone"),
            ("/newcomers ON", "dev: newcomers on"),
            ("/retention Server", "dev: retention server"),
            ("/seen-by SERVER", "dev: seen-by server"),
            ("/writers operators", "dev: writers operators"),
            ("/writers everyone", "dev: writers everyone"),
            ("/access invited", "dev: access invited"),
            ("/newcomers off", "dev: newcomers off"),
            ("/retention 1000 30d", "dev: retention 1000 30d"),
            ("/retention 30d", "dev: retention 30d"),
            ("/retention 7", "dev: retention 7"),
            ("/retention server", "dev: retention server"),
            ("/seen-by on", "dev: seen-by on"),
            ("/seen-by server", "dev: seen-by server"),
            ("/invite bob", "bob is invited to dev"),
            ("/uninvite bob", "bob is no longer invited to dev"),
        ] {
            assert_eq!(typed(line).as_deref(), Ok(means), "{line}");
        }
    }

    #[test]
    fn what_is_no_decision_says_so_and_changes_nothing() {
        let long = format!("/mute bob {}", "x".repeat(REASON_BYTES_MAX + 1));
        for (line, problem) in [
            ("/mute", "write /mute NAME [everywhere] [TIME] [REASON]"),
            ("/unban bob 10m", "write /unban NAME [everywhere]"),
            ("/mute 192.0.2.1", "192.0.2.1 is an address, not a name; only names are typed here"),
            ("/unmute 192.0.2.1", "192.0.2.1 is an address, not a name; only names are typed here"),
            ("/ban 2001:db8::1 everywhere", "2001:db8::1 is an address, not a name; only names are typed here"),
            ("/unban 2001:db8::/64", "2001:db8::/64 is an address, not a name; only names are typed here"),
            ("/invite 192.0.2.1", "192.0.2.1 is an address, not a name; only names are typed here"),
            (
                "/mute everywhere bob",
                "everywhere means the whole server, and is not a name here: \
                 write /mute NAME [everywhere] [TIME] [REASON]",
            ),
            (
                "/ban everywhere everywhere",
                "everywhere means the whole server, and is not a name here: \
                 write /ban NAME [everywhere] [TIME] [REASON]",
            ),
            (
                "/unban Everywhere",
                "Everywhere means the whole server, and is not a name here: write /unban NAME [everywhere]",
            ),
            ("/invite everywhere", "everywhere means the whole server, and is not a name here: write /invite NAME"),
            ("/uninvite EVERYWHERE", "EVERYWHERE means the whole server, and is not a name here: write /uninvite NAME"),
            ("/mute 10m bob", "10m is a time, not a name: write /mute NAME [everywhere] [TIME] [REASON]"),
            ("/ban 7d", "7d is a time, not a name: write /ban NAME [everywhere] [TIME] [REASON]"),
            ("/mute bob spam 10m", "the time stands before the reason: write /mute NAME [everywhere] [TIME] [REASON]"),
            ("/ban bob 10m 7d", "the time stands before the reason: write /ban NAME [everywhere] [TIME] [REASON]"),
            (
                "/ban bob 10m everywhere",
                "the word everywhere stands behind the name: write /ban NAME [everywhere] [TIME] [REASON]",
            ),
            ("/slow dev 10s", "\"dev 10s\" is not a time like 30s, 10m, 2h, 7d or 4w"),
            ("/slow", "write /slow TIME or /slow off"),
            ("/slow 10", "\"10\" is not a time like 30s, 10m, 2h, 7d or 4w"),
            ("/slow 7h", "the time must be at least 1s, and at most 6h"),
            ("/topic", "write /topic TEXT or /topic off"),
            ("/writers", "write /writers everyone or /writers operators"),
            ("/writers bob", "write /writers everyone or /writers operators"),
            ("/access private", "write /access everyone or /access invited"),
            ("/newcomers yes", "write /newcomers on or /newcomers off"),
            ("/retention 0", "`retention.messages` must be 1 to 1000000000000"),
            ("/retention 1 2", "write /retention [MESSAGES] [TIME] or /retention server"),
            ("/retention 30d 1000", "write /retention [MESSAGES] [TIME] or /retention server"),
            ("/retention long", "write /retention [MESSAGES] [TIME] or /retention server"),
            ("/retention -5", "write /retention [MESSAGES] [TIME] or /retention server"),
            ("/retention +5", "write /retention [MESSAGES] [TIME] or /retention server"),
            ("/retention 5 -1d", "write /retention [MESSAGES] [TIME] or /retention server"),
            ("/retention 30days", "\"30days\" is not a time like 30s, 10m, 2h, 7d or 4w"),
            ("/retention 99999999999999999999", "`retention.messages` must be 1 to 1000000000000"),
            ("/seen-by", "write /seen-by on, /seen-by off or /seen-by server"),
            ("/invite", "write /invite NAME"),
            ("/invite bob dev", "write /invite NAME"),
            ("/mute bob 10min", "\"10min\" is not a time like 30s, 10m, 2h, 7d or 4w"),
            ("/mute bob 0s", "the time must be at least 1s, and at most 3650d"),
            ("/ban bob 99999999999999999999s", "the time must be at least 1s, and at most 3650d"),
            (&long, "the reason has 501 bytes, 500 are allowed"),
        ] {
            assert_eq!(typed(line), Err(problem.to_owned()), "{line}");
        }
        for (line, current) in [("bob", None), ("a/b", Some(room()))] {
            assert!(decision(OperatorCommand::Mute, line, current.as_ref()).is_err(), "{line}");
        }
        assert!(decision(OperatorCommand::Mute, "bob everywhere", None).is_ok());
    }
}
