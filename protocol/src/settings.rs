//! The settings of a room, as frames have them: only those that differ from the default.

use std::fmt;

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use crate::limits;
use crate::typed_time::time_of;

/// The settings of a room. The default is that of a room about which no operator has decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct RoomSettings {
    /// The least number of seconds between two messages of a client; 0: none.
    #[serde(skip_serializing_if = "is_default")]
    pub slow_seconds: u32,
    /// One line about the room. May be empty.
    #[serde(skip_serializing_if = "is_default")]
    pub topic: String,
    /// The clients that may write.
    #[serde(skip_serializing_if = "is_default")]
    pub writers: Writers,
    /// The clients that may enter and read.
    #[serde(skip_serializing_if = "is_default")]
    pub access: Access,
    /// Whether a client may read the messages from before it has entered.
    #[serde(skip_serializing_if = "Clone::clone")]
    pub newcomers_see_history: bool,
    /// How long messages are kept, if that differs from the server's own settings.
    #[serde(skip_serializing_if = "is_default")]
    pub retention: Retention,
    /// Whether members are told how far the others have read. Absent: as the server has it.
    #[serde(skip_serializing_if = "is_default")]
    pub seen_by: Option<bool>,
}

/// The clients that may write in a room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Writers {
    /// All members.
    #[default]
    Everyone,
    /// Operators only.
    Operators,
}

/// The clients that may enter a room and read there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// All whose token allows the room.
    #[default]
    Everyone,
    /// Operators, those whose token names the room, and those whom an operator has invited.
    Invited,
}

/// How long the messages of a room are kept. What is absent is as the server has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Retention {
    /// The number of the newest messages that are kept.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = limits::RETENTION_MESSAGES_MAX)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<u64>,
    /// The age up to which messages are kept.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = limits::RETENTION_SECONDS_MAX)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

impl RoomSettings {
    /// The default.
    pub const PLAIN: Self = Self {
        slow_seconds: 0,
        topic: String::new(),
        writers: Writers::Everyone,
        access: Access::Everyone,
        newcomers_see_history: true,
        retention: Retention { messages: None, seconds: None },
        seen_by: None,
    };

    /// All settings in one line for a person.
    pub fn in_full(&self) -> String {
        self.all().map(|setting| setting.to_string()).join(", ")
    }

    /// The settings that differ from other ones, in one line for a person. Empty if none does.
    pub fn differing_from(&self, other: &Self) -> String {
        let differing = self.all().into_iter().zip(other.all()).filter(|(own, other)| own != other);
        differing.map(|(own, _)| own.to_string()).collect::<Vec<_>>().join(", ")
    }

    /// All settings with their values.
    fn all(&self) -> [Setting<'_>; 7] {
        [
            Setting::SlowSeconds(self.slow_seconds),
            Setting::Topic(&self.topic),
            Setting::Writers(self.writers),
            Setting::Access(self.access),
            Setting::NewcomersSeeHistory(self.newcomers_see_history),
            Setting::Retention(self.retention),
            Setting::SeenBy(self.seen_by),
        ]
    }
}

/// The name of a setting, as an operator types it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingName {
    /// See [`RoomSettings::slow_seconds`].
    Slow,
    /// See [`RoomSettings::topic`].
    Topic,
    /// See [`RoomSettings::writers`].
    Writers,
    /// See [`RoomSettings::access`].
    Access,
    /// See [`RoomSettings::newcomers_see_history`].
    Newcomers,
    /// See [`RoomSettings::retention`].
    Retention,
    /// See [`RoomSettings::seen_by`].
    SeenBy,
}

impl SettingName {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Slow, Self::Topic, Self::Writers, Self::Access, Self::Newcomers, Self::Retention, Self::SeenBy];

    /// The setting with this name, in small or capital letters.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str().eq_ignore_ascii_case(word))
    }

    /// The name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Topic => "topic",
            Self::Writers => "writers",
            Self::Access => "access",
            Self::Newcomers => "newcomers",
            Self::Retention => "retention",
            Self::SeenBy => "seen-by",
        }
    }

    /// The forms of its value.
    pub fn values(self) -> &'static [&'static str] {
        match self {
            Self::Slow => &["TIME", "off"],
            Self::Topic => &["TEXT", "off"],
            Self::Writers => &["everyone", "operators"],
            Self::Access => &["everyone", "invited"],
            Self::Newcomers => &["on", "off"],
            Self::Retention => &["[MESSAGES] [TIME]", "server"],
            Self::SeenBy => &["on", "off", "server"],
        }
    }

    /// How it is written as a line.
    pub fn form(self) -> String {
        one_of(self.values().iter().map(|value| format!("/{} {value}", self.as_str())))
    }
}

/// The alternatives for a person: `a`, `a or b`, `a, b or c`.
pub fn one_of<T: Into<String>>(alternatives: impl IntoIterator<Item = T>) -> String {
    let mut alternatives: Vec<String> = alternatives.into_iter().map(Into::into).collect();
    let Some(last) = alternatives.pop() else { return String::new() };
    if alternatives.is_empty() { last } else { format!("{} or {last}", alternatives.join(", ")) }
}

/// One setting of a room and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting<'a> {
    /// See [`RoomSettings::slow_seconds`].
    SlowSeconds(u32),
    /// See [`RoomSettings::topic`].
    Topic(&'a str),
    /// See [`RoomSettings::writers`].
    Writers(Writers),
    /// See [`RoomSettings::access`].
    Access(Access),
    /// See [`RoomSettings::newcomers_see_history`].
    NewcomersSeeHistory(bool),
    /// See [`RoomSettings::retention`].
    Retention(Retention),
    /// See [`RoomSettings::seen_by`].
    SeenBy(Option<bool>),
}

/// The setting as an operator types it.
impl fmt::Display for Setting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on_or_off = |is_on| if is_on { "on" } else { "off" };
        match *self {
            Self::SlowSeconds(0) => f.write_str("slow off"),
            Self::SlowSeconds(seconds) => write!(f, "slow {}", time_of(seconds.into())),
            Self::Topic("") => f.write_str("topic off"),
            Self::Topic(topic) => write!(f, "topic {topic:?}"),
            Self::Writers(writers) => write!(f, "writers {}", writers.as_str()),
            Self::Access(access) => write!(f, "access {}", access.as_str()),
            Self::NewcomersSeeHistory(see) => write!(f, "newcomers {}", on_or_off(see)),
            Self::Retention(Retention { messages: None, seconds: None }) => f.write_str("retention server"),
            Self::Retention(Retention { messages, seconds }) => {
                f.write_str("retention")?;
                messages.map_or(Ok(()), |messages| write!(f, " {messages}"))?;
                seconds.map_or(Ok(()), |seconds| write!(f, " {}", time_of(seconds)))
            }
            Self::SeenBy(seen_by) => write!(f, "seen-by {}", seen_by.map_or("server", on_or_off)),
        }
    }
}

/// The settings that differ from the default, in one line for a person.
impl fmt::Display for RoomSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let differing = self.differing_from(&Self::PLAIN);
        f.write_str(if differing.is_empty() { "no settings of its own" } else { &differing })
    }
}

impl Default for RoomSettings {
    fn default() -> Self {
        Self::PLAIN
    }
}

impl Writers {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Everyone => "everyone",
            Self::Operators => "operators",
        }
    }
}

impl Access {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Everyone => "everyone",
            Self::Invited => "invited",
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_from_the_default_is_written() {
        let of = |text: &str| serde_json::from_str::<RoomSettings>(text).unwrap();
        for text in [
            "{}",
            r#"{"slowSeconds":5}"#,
            r#"{"topic":"tests"}"#,
            r#"{"writers":"operators","access":"invited"}"#,
            r#"{"newcomersSeeHistory":false}"#,
            r#"{"retention":{"messages":9}}"#,
            r#"{"retention":{"seconds":60},"seenBy":false}"#,
        ] {
            assert_eq!(serde_json::to_string(&of(text)).unwrap(), text);
        }
        assert_eq!(of("{}"), RoomSettings::PLAIN);
        assert_eq!(of("{}").to_string(), "no settings of its own");
        assert_eq!(of(r#"{"topic":"a","slowSeconds":90}"#).to_string(), r#"slow 90s, topic "a""#);
        assert_eq!(of(r#"{"slowSeconds":0,"seenBy":null,"retention":{},"new":1}"#), RoomSettings::PLAIN);
    }
}
