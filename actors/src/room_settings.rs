//! The settings of a room, and how operators change them.
//!
//! [`RoomSettings`] are what holds; a [`SettingsChange`] is what an operator decides. [`SettingsChange::check`] is the
//! one place that knows the limits of the values.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use starling_protocol::limits::{LOBBY, RETENTION_MESSAGES_MAX, RETENTION_SECONDS_MAX, TOPIC_BYTES_MAX};
pub use starling_protocol::{Access, Retention, RoomSettings, Writers};
use starling_protocol::{RoomName, Setting};

/// Most seconds of a slow mode: six hours.
pub const SLOW_SECONDS_MAX: u32 = 6 * 3_600;

/// A change of a room's settings: those that are given change, the others stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SettingsChange {
    /// 0: none. A log of format 3 and an audit log of that time call it `seconds`.
    #[serde(skip_serializing_if = "Option::is_none", alias = "seconds")]
    pub slow_seconds: Option<u32>,
    /// Empty: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Who may write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writers: Option<Writers>,
    /// Who may enter and read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// Whether a client may read the messages from before it has entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newcomers_see_history: Option<bool>,
    /// Replaces both bounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// `Some(None)`: as the server has it.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub seen_by: Option<Option<bool>>,
}

/// What is wrong with a [`SettingsChange`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSetting {
    /// It changes nothing.
    #[error("no setting is given")]
    Nothing,
    /// A client that names no room enters the lobby, so it cannot be private.
    #[error("the room {LOBBY} cannot be private")]
    PrivateLobby,
    /// The slow mode is too long.
    #[error("`slowSeconds` must be 0 to {SLOW_SECONDS_MAX}")]
    Slow,
    /// The topic has too many bytes.
    #[error("`topic` has {0} bytes, {TOPIC_BYTES_MAX} are allowed")]
    TopicTooLong(usize),
    /// The topic is more than one line.
    #[error("`topic` must be one line, without {0:?}")]
    TopicCharacter(char),
    /// The room would keep no message, or too many.
    #[error("`retention.messages` must be 1 to {RETENTION_MESSAGES_MAX}")]
    RetentionMessages,
    /// The room would keep messages for no time, or for too long.
    #[error("`retention.seconds` must be 1 to {RETENTION_SECONDS_MAX}")]
    RetentionSeconds,
}

impl SettingsChange {
    /// A change of the slow mode alone.
    pub fn slow(seconds: u32) -> Self {
        Self { slow_seconds: Some(seconds), ..Self::default() }
    }

    /// Whether a room may have its values.
    ///
    /// # Errors
    /// [`BadSetting`].
    pub fn check(&self, room: &RoomName) -> Result<(), BadSetting> {
        if *self == Self::default() {
            return Err(BadSetting::Nothing);
        }
        if self.access == Some(Access::Invited) && room.as_str() == LOBBY {
            return Err(BadSetting::PrivateLobby);
        }
        if self.slow_seconds.is_some_and(|seconds| seconds > SLOW_SECONDS_MAX) {
            return Err(BadSetting::Slow);
        }
        if let Some(topic) = &self.topic {
            if topic.len() > TOPIC_BYTES_MAX {
                return Err(BadSetting::TopicTooLong(topic.len()));
            }
            let is_break = |c: &char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
            if let Some(character) = topic.chars().find(is_break) {
                return Err(BadSetting::TopicCharacter(character));
            }
        }
        let Retention { messages, seconds } = self.retention.unwrap_or_default();
        if messages.is_some_and(|messages| !(1..=RETENTION_MESSAGES_MAX).contains(&messages)) {
            return Err(BadSetting::RetentionMessages);
        }
        if seconds.is_some_and(|seconds| !(1..=RETENTION_SECONDS_MAX).contains(&seconds)) {
            return Err(BadSetting::RetentionSeconds);
        }
        Ok(())
    }

    /// The settings after this change.
    #[must_use]
    pub fn applied_to(&self, before: &RoomSettings) -> RoomSettings {
        let Self { slow_seconds, topic, writers, access, newcomers_see_history, retention, seen_by } = self;
        RoomSettings {
            slow_seconds: slow_seconds.unwrap_or(before.slow_seconds),
            topic: topic.as_ref().unwrap_or(&before.topic).clone(),
            writers: writers.unwrap_or(before.writers),
            access: access.unwrap_or(before.access),
            newcomers_see_history: newcomers_see_history.unwrap_or(before.newcomers_see_history),
            retention: retention.unwrap_or(before.retention),
            seen_by: seen_by.unwrap_or(before.seen_by),
        }
    }
}

/// The change that makes any room have these settings.
impl From<RoomSettings> for SettingsChange {
    fn from(settings: RoomSettings) -> Self {
        let RoomSettings { slow_seconds, topic, writers, access, newcomers_see_history, retention, seen_by } = settings;
        Self {
            slow_seconds: Some(slow_seconds),
            topic: Some(topic),
            writers: Some(writers),
            access: Some(access),
            newcomers_see_history: Some(newcomers_see_history),
            retention: Some(retention),
            seen_by: Some(seen_by),
        }
    }
}

/// The settings that it changes, in one line for a person.
impl fmt::Display for SettingsChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slow_seconds, topic, writers, access, newcomers_see_history, retention, seen_by } = self;
        let given = [
            slow_seconds.map(Setting::SlowSeconds),
            topic.as_deref().map(Setting::Topic),
            writers.map(Setting::Writers),
            access.map(Setting::Access),
            newcomers_see_history.map(Setting::NewcomersSeeHistory),
            retention.map(Setting::Retention),
            seen_by.map(Setting::SeenBy),
        ];
        let parts: Vec<String> = given.iter().flatten().map(Setting::to_string).collect();
        f.write_str(&parts.join(", "))
    }
}

/// Tells a field that is `null` from one that is absent.
///
/// # Errors
/// Those of the value.
pub fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dev() -> RoomName {
        RoomName::parse("dev").unwrap()
    }

    fn change(text: &str) -> SettingsChange {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_is_given_changes_and_the_rest_stays() {
        let mut settings = RoomSettings::PLAIN;
        for (text, line, then) in [
            (r#"{"slowSeconds":90}"#, "slow 90s", r#"{"slowSeconds":90}"#),
            (r#"{"topic":"a \"b\""}"#, r#"topic "a \"b\"""#, r#"{"slowSeconds":90,"topic":"a \"b\""}"#),
            (r#"{"slowSeconds":0,"topic":""}"#, "slow off, topic off", "{}"),
            (
                r#"{"writers":"operators","access":"invited"}"#,
                "writers operators, access invited",
                r#"{"writers":"operators","access":"invited"}"#,
            ),
            (r#"{"access":"everyone"}"#, "access everyone", r#"{"writers":"operators"}"#),
            (r#"{"writers":"everyone"}"#, "writers everyone", "{}"),
            (r#"{"newcomersSeeHistory":false}"#, "newcomers off", r#"{"newcomersSeeHistory":false}"#),
            (r#"{"newcomersSeeHistory":true}"#, "newcomers on", "{}"),
            (
                r#"{"retention":{"messages":9,"seconds":86400}}"#,
                "retention 9 1d",
                r#"{"retention":{"messages":9,"seconds":86400}}"#,
            ),
            (r#"{"retention":{"seconds":60}}"#, "retention 1m", r#"{"retention":{"seconds":60}}"#),
            (r#"{"retention":{}}"#, "retention server", "{}"),
            (r#"{"seenBy":true}"#, "seen-by on", r#"{"seenBy":true}"#),
            (r#"{"seenBy":false}"#, "seen-by off", r#"{"seenBy":false}"#),
            (r#"{"topic":null,"seenBy":null}"#, "seen-by server", "{}"),
        ] {
            let change = change(text);
            assert_eq!(change.check(&dev()), Ok(()), "{text}");
            assert_eq!(change.to_string(), line, "{text}");
            settings = change.applied_to(&settings);
            assert_eq!(serde_json::to_string(&settings).unwrap(), then, "{text}");
            assert_eq!(SettingsChange::from(settings.clone()).applied_to(&RoomSettings::PLAIN), settings, "{text}");
            let written = serde_json::to_string(&change).unwrap();
            assert_eq!(self::change(&written), change, "{written}");
        }
    }

    #[test]
    fn a_value_outside_of_its_limits_is_refused() {
        let topic = |bytes: usize| SettingsChange { topic: Some("x".repeat(bytes)), ..SettingsChange::default() };
        let retention = |messages, seconds| {
            let retention = Some(Retention { messages, seconds });
            SettingsChange { retention, ..SettingsChange::default() }
        };
        for (change, outcome) in [
            (SettingsChange::default(), Err(BadSetting::Nothing)),
            (SettingsChange::slow(SLOW_SECONDS_MAX), Ok(())),
            (SettingsChange::slow(SLOW_SECONDS_MAX + 1), Err(BadSetting::Slow)),
            (topic(TOPIC_BYTES_MAX), Ok(())),
            (topic(TOPIC_BYTES_MAX + 1), Err(BadSetting::TopicTooLong(TOPIC_BYTES_MAX + 1))),
            (change(r#"{"topic":"a\nb"}"#), Err(BadSetting::TopicCharacter('\n'))),
            (change(r#"{"topic":"a\u2028b"}"#), Err(BadSetting::TopicCharacter('\u{2028}'))),
            (change(r#"{"topic":"👩‍💻 bücher"}"#), Ok(())),
            (retention(None, None), Ok(())),
            (retention(Some(0), None), Err(BadSetting::RetentionMessages)),
            (retention(Some(1), Some(1)), Ok(())),
            (retention(Some(RETENTION_MESSAGES_MAX), Some(RETENTION_SECONDS_MAX)), Ok(())),
            (retention(Some(RETENTION_MESSAGES_MAX + 1), None), Err(BadSetting::RetentionMessages)),
            (retention(None, Some(0)), Err(BadSetting::RetentionSeconds)),
            (retention(None, Some(RETENTION_SECONDS_MAX + 1)), Err(BadSetting::RetentionSeconds)),
        ] {
            assert_eq!(change.check(&dev()), outcome, "{change:?}");
        }
    }

    #[test]
    fn every_room_but_the_lobby_may_be_private() {
        let [invited, everyone] = ["invited", "everyone"].map(|access| change(&format!(r#"{{"access":"{access}"}}"#)));
        assert_eq!(invited.check(&dev()), Ok(()));
        assert_eq!(invited.check(&RoomName::lobby()), Err(BadSetting::PrivateLobby));
        assert_eq!(everyone.check(&RoomName::lobby()), Ok(()));
    }
}
