//! The settings of a room, as frames have them: only those that differ from the default.

use serde::{Deserialize, Serialize};

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
    /// Whether members are told how far the others have read. `None`: as the server has it.
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

/// How long the messages of a room are kept. `None`: as the server has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Retention {
    /// The number of the newest messages that are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<u64>,
    /// The age up to which messages are kept.
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
        assert_eq!(of(r#"{"slowSeconds":0,"seenBy":null,"retention":{},"new":1}"#), RoomSettings::PLAIN);
    }
}
