//! Names and numbers that are validated once, when they are made.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use unicode_segmentation::UnicodeSegmentation;

use crate::emoji::in_one_form;
use crate::limits;
use crate::visible::is_invisible;

/// The reason that a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name has 1 to {} characters", limits::NAME_BYTES_MAX)]
    Empty,
    /// The text is longer than [`limits::NAME_BYTES_MAX`] bytes.
    #[error("a name has 1 to {} characters, this one has {length}", limits::NAME_BYTES_MAX)]
    TooLong {
        /// Bytes of the text.
        length: usize,
    },
    /// The first character is neither a letter nor a digit.
    #[error("a name starts with a letter or a digit, not with {first:?}")]
    BadStart {
        /// The offending character.
        first: char,
    },
    /// A character is none of letters, digits, `.`, `_`, `-`.
    #[error("a name has only letters, digits, '.', '_' and '-', not {character:?}")]
    BadCharacter {
        /// The first offending character.
        character: char,
    },
}

fn check_name(text: &str) -> Result<(), NameError> {
    let Some(first) = text.chars().next() else { return Err(NameError::Empty) };
    if !first.is_ascii_alphanumeric() {
        return Err(NameError::BadStart { first });
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if let Some(character) = text.chars().find(|c| !allowed(*c)) {
        return Err(NameError::BadCharacter { character });
    }
    // Checked last: all characters are ASCII here, so the number of bytes is the number of characters that a person
    // counts.
    if text.len() > limits::NAME_BYTES_MAX {
        return Err(NameError::TooLong { length: text.len() });
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Cheap to clone. Compared byte by byte: `Alice` and `alice` are two names.
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

name_type! {
    /// The name of a client: 1 to 64 of ASCII letters, digits, `.`, `_`, `-`, starting with a letter or digit.
    ClientId
}

name_type! {
    /// The name of a room: 1 to 64 of ASCII letters, digits, `.`, `_`, `-`, starting with a letter or digit.
    RoomName
}

name_type! {
    /// A client's own name for something it sent: 1 to 64 characters of any kind.
    MessageId
}

name_type! {
    /// The emoji of a reaction: one visible character as a person sees it (a grapheme), whatever it consists of. Emoji that
    /// differ only in variation selectors are equal: both have one form.
    Emoji
}

/// The text is not a valid [`Emoji`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("field `emoji` must be one visible character, in at most {} bytes", limits::EMOJI_BYTES_MAX)]
pub struct EmojiError;

impl Emoji {
    /// Parses the emoji of a reaction.
    ///
    /// # Errors
    /// [`EmojiError`] if the text is not one visible grapheme of at most [`limits::EMOJI_BYTES_MAX`] bytes, also in its
    /// one form.
    pub fn parse(text: &str) -> Result<Self, EmojiError> {
        let is_short = |text: &str| text.len() <= limits::EMOJI_BYTES_MAX;
        let is_one = || text.graphemes(true).nth(1).is_none() && !text.starts_with(is_invisible);
        if !is_short(text) || text.is_empty() || !is_one() {
            return Err(EmojiError);
        }
        let form = in_one_form(text);
        if is_short(&form) { Ok(Self(form.into())) } else { Err(EmojiError) }
    }
}

impl ClientId {
    /// Parses a client's name. It accepts guest names; the chat decides who may have one, see
    /// [`is_guest`](Self::is_guest).
    ///
    /// # Errors
    /// [`NameError`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_name(text).map(|()| Self(text.into()))
    }

    /// The guest name for a random number: the prefix and seven characters.
    ///
    /// There are 36^7 (7.8e10) different names. If the name is in use, the caller tries another number.
    pub fn guest(mut random: u64) -> Self {
        const DIGITS: [u8; 36] = *b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut name = String::from(limits::GUEST_PREFIX);
        for _ in 0..7 {
            let digit = usize::try_from(random % 36).unwrap_or_default();
            name.push(char::from(DIGITS.get(digit).copied().unwrap_or(b'0')));
            random /= 36;
        }
        Self(name.into())
    }

    /// Whether this is a guest name, which only the server assigns.
    pub fn is_guest(&self) -> bool {
        self.0.starts_with(limits::GUEST_PREFIX)
    }
}

impl FromStr for ClientId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl FromStr for RoomName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl RoomName {
    /// Parses a room's name.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_name(text).map(|()| Self(text.into()))
    }

    /// The room of the global chat.
    pub fn lobby() -> Self {
        Self(limits::LOBBY.into())
    }
}

/// The text is not a valid [`MessageId`]: it is empty or longer than 64 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("field `id` must have 1 to {} characters", limits::MESSAGE_ID_CHARS_MAX)]
pub struct MessageIdError;

impl MessageId {
    /// Parses the `id` of a frame.
    ///
    /// # Errors
    /// [`MessageIdError`] if the text is empty or longer than [`limits::MESSAGE_ID_CHARS_MAX`] characters.
    pub fn parse(text: &str) -> Result<Self, MessageIdError> {
        // A character has at least one byte: most ids need no counting.
        let fits = text.len() <= limits::MESSAGE_ID_CHARS_MAX || text.chars().count() <= limits::MESSAGE_ID_CHARS_MAX;
        if fits && !text.is_empty() { Ok(Self(text.into())) } else { Err(MessageIdError) }
    }
}

/// The sequence number of a message in its room: the first message has 1, each next one exactly 1 more. 0 is before the
/// first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(inline))]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The next sequence number. Saturates at the maximum, which only a client's `after` can reach.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One life of a room's sequence numbers; a new one whenever they start again. Sixteen hexadecimal digits on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

/// The secret with which a client takes its name over from its own dead connection. 32 hexadecimal digits on the wire.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClientKey(pub u128);

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientKey(secret)")
    }
}

/// The text is not an [`Epoch`] or a [`ClientKey`] that a server may have issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no server has issued this value")]
pub struct ForeignValue;

macro_rules! hex_type {
    ($name:ident, $int:ty, $digits:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{:0", $digits, "x}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ForeignValue;

            fn from_str(text: &str) -> Result<Self, ForeignValue> {
                let is_hex = text.len() == $digits && text.bytes().all(|b| b.is_ascii_hexdigit());
                if !is_hex {
                    return Err(ForeignValue);
                }
                <$int>::from_str_radix(text, 16).map(Self).map_err(|_| ForeignValue)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_type!(Epoch, u64, 16);
hex_type!(ClientKey, u128, 32);

macro_rules! deserialize_name {
    ($name:ident, $parse:path) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                $parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

deserialize_name!(ClientId, ClientId::parse);
deserialize_name!(RoomName, RoomName::parse);
deserialize_name!(MessageId, MessageId::parse);
deserialize_name!(Emoji, Emoji::parse);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_at_most_64_characters() {
        assert!(ClientId::parse(&"a".repeat(64)).is_ok());
        assert_eq!(ClientId::parse(&"a".repeat(65)), Err(NameError::TooLong { length: 65 }));
        assert_eq!(RoomName::parse(""), Err(NameError::Empty));
        // 40 characters in 80 bytes were once told to be 80 characters.
        assert_eq!(RoomName::parse(&"ü".repeat(40)), Err(NameError::BadStart { first: 'ü' }));
    }

    #[test]
    fn the_place_after_the_last_number_is_no_overflow() {
        // `after` comes from the client as it likes.
        assert_eq!(Seq(41).next(), Seq(42));
        assert_eq!(Seq(u64::MAX).next(), Seq(u64::MAX));
    }

    #[test]
    fn a_name_starts_with_a_letter_or_digit_and_has_no_other_signs() {
        assert!(ClientId::parse("7.of_nine-x").is_ok());
        assert_eq!(ClientId::parse("-x"), Err(NameError::BadStart { first: '-' }));
        assert_eq!(ClientId::parse("a b"), Err(NameError::BadCharacter { character: ' ' }));
        assert_eq!(RoomName::parse("straße"), Err(NameError::BadCharacter { character: 'ß' }));
    }

    #[test]
    fn a_guest_name_is_a_name_that_shows_it() {
        let guest = ClientId::guest(123_456_789);
        assert!(guest.is_guest());
        assert_eq!(ClientId::parse(guest.as_str()), Ok(guest));
        assert_ne!(ClientId::guest(1), ClientId::guest(2));
    }

    #[test]
    fn a_message_id_has_1_to_64_characters_of_any_kind() {
        assert!(MessageId::parse(&"ü".repeat(64)).is_ok());
        assert_eq!(MessageId::parse(&"ü".repeat(65)), Err(MessageIdError));
        assert_eq!(MessageId::parse(""), Err(MessageIdError));
    }

    #[test]
    fn an_emoji_is_one_visible_grapheme_of_at_most_64_bytes() {
        let long = |marks: usize| format!("e{}", "\u{301}".repeat(marks));
        for emoji in ["👍", "👩\u{200d}💻", "🇩🇪", "1\u{fe0f}\u{20e3}", "é", "x", &long(31)] {
            assert!(Emoji::parse(emoji).is_ok(), "{emoji}");
        }
        assert_eq!(Emoji::parse("❤"), Emoji::parse("❤\u{fe0f}"));
        // In its one form it would be longer than it may be.
        let hearts = |count: usize| vec!["❤"; count].join("\u{200d}");
        for (count, is_valid) in [(7, true), (8, false)] {
            let form = Emoji::parse(&hearts(count));
            assert_eq!(form.is_ok(), is_valid, "{count}");
            assert!(form.is_ok_and(|form| Emoji::parse(form.as_str()).as_ref() == Ok(&form)) == is_valid, "{count}");
        }
        for other in ["", "👍👍", "ok", " ", "\n", "\u{200b}", "\u{202e}", "🇩🇪🇫", &long(32)] {
            assert_eq!(Emoji::parse(other), Err(EmojiError), "{other:?}");
        }
    }

    #[test]
    fn epoch_and_key_come_back_as_they_were_written() {
        assert_eq!(Epoch(0xb7c1).to_string(), "000000000000b7c1");
        assert_eq!("000000000000b7c1".parse(), Ok(Epoch(0xb7c1)));
        assert_eq!("b7c1".parse::<Epoch>(), Err(ForeignValue));
        assert_eq!("+00000000000b7c1".parse::<Epoch>(), Err(ForeignValue));
        assert_eq!(ClientKey(5).to_string().parse(), Ok(ClientKey(5)));
    }
}
