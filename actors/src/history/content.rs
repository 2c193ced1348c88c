//! The content of an entry of a room.

use starling_protocol::{Emoji, Seq};

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A message.
    Message {
        /// At most `CHAT_MESSAGE_BYTES`, the newest text if it was edited. Empty if the message was deleted.
        text: Box<str>,
        /// The message that it replies to.
        reply_to: Option<Seq>,
    },
    /// Another text for a message.
    Edit {
        /// The message.
        of: Seq,
        /// Empty if the message was edited again or deleted since.
        text: Box<str>,
    },
    /// The deletion of a message.
    Deletion {
        /// The message.
        of: Seq,
    },
    /// A client's reaction to a message.
    Reaction {
        /// The message.
        of: Seq,
        /// Its emoji.
        emoji: Emoji,
        /// Whether the reaction is taken back.
        removed: bool,
    },
}

impl Content {
    /// A message that replies to none.
    pub fn message(text: impl Into<Box<str>>) -> Self {
        Self::Message { text: text.into(), reply_to: None }
    }

    /// The text of a message or an edit.
    pub fn text(&self) -> &str {
        match self {
            Self::Message { text, .. } | Self::Edit { text, .. } => text,
            Self::Deletion { .. } | Self::Reaction { .. } => "",
        }
    }

    /// Takes the text of a message or an edit.
    pub fn into_text(self) -> Box<str> {
        match self {
            Self::Message { text, .. } | Self::Edit { text, .. } => text,
            Self::Deletion { .. } | Self::Reaction { .. } => Box::default(),
        }
    }

    /// The message that a change is about; `None` for a message.
    pub fn of(&self) -> Option<Seq> {
        match self {
            Self::Message { .. } => None,
            Self::Edit { of, .. } | Self::Deletion { of } | Self::Reaction { of, .. } => Some(*of),
        }
    }

    /// The other message that a change is about, or that a message replies to.
    pub fn refers_to(&self) -> Option<Seq> {
        if let Self::Message { reply_to, .. } = self { *reply_to } else { self.of() }
    }

    /// The same about another message, that is about the copy of the message in another inbox. `None`: that inbox has no
    /// copy, so a message is no reply there.
    #[must_use]
    pub fn about(self, other: Option<Seq>) -> Self {
        match (self, other) {
            (Self::Message { text, .. }, reply_to) => Self::Message { text, reply_to },
            (Self::Edit { text, .. }, Some(of)) => Self::Edit { of, text },
            (Self::Deletion { .. }, Some(of)) => Self::Deletion { of },
            (Self::Reaction { emoji, removed, .. }, Some(of)) => Self::Reaction { of, emoji, removed },
            (change, None) => change,
        }
    }

    /// Removes the text of a message or an edit.
    pub(super) fn clear_text(&mut self) {
        if let Self::Message { text, .. } | Self::Edit { text, .. } = self {
            *text = Box::default();
        }
    }

    /// The bytes that limits count for it.
    pub(super) fn weight(&self) -> usize {
        if let Self::Reaction { emoji, .. } = self { emoji.as_str().len() } else { self.text().len() }
    }
}
