//! Reading the history: what is asked for, and what comes back.

use std::sync::Arc;

use starling_protocol::{ClientId, HistoryPage, Seq};

use super::message::StoredMessage;
use crate::ids::RoomId;

/// A part of a room's history that is to be read.
#[derive(Debug)]
pub struct ReadRequest {
    /// Comes back with the answer.
    pub token: ReadToken,
    /// Whether somebody can go on without it.
    pub purpose: ReadPurpose,
    /// A room or an inbox.
    pub room: RoomId,
    /// The oldest message that may be shown: what is older was dropped.
    pub oldest: Seq,
    /// The newest message that may be shown: what is newer has not been reported as stored.
    pub newest: Seq,
    /// The direction, and the message that it begins behind.
    pub page: HistoryPage,
    /// Only messages with these words, the newest first. With it `page` is [`HistoryPage::Newest`] or
    /// [`HistoryPage::Before`].
    pub search: Option<SearchText>,
    /// Only private messages with this client. Without `search`.
    pub with: Option<ClientId>,
    /// Most messages in the answer.
    pub limit: usize,
    /// Most [weight](StoredMessage::weight) of the answer; one message comes even if it alone weighs more.
    pub bytes: usize,
}

/// Names a read until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadToken(pub usize);

/// For what the history is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadPurpose {
    /// A session catches up and cannot go on without it: the read is never refused as one too many, and goes first.
    CatchUp,
    /// Somebody reads a page.
    Page,
}

/// Why a part of the history cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is no such room.
    #[error("there is no such room")]
    NoSuchRoom,
    /// As many reads wait as may wait.
    #[error("too many reads of the history wait")]
    Busy,
    /// The storage fails.
    #[error("the history cannot be read")]
    Failed,
}

/// What is searched for: words and phrases, all of which a message must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchText(Vec<String>);

impl SearchText {
    /// Most bytes of a query.
    pub const BYTES_MAX: usize = 256;

    /// Takes a query apart: words between blanks, and phrases between double quotes. `None` where it has no word, or
    /// is longer than [`BYTES_MAX`](Self::BYTES_MAX).
    pub fn parse(query: &str) -> Option<Self> {
        if query.len() > Self::BYTES_MAX {
            return None;
        }
        let mut terms = Vec::new();
        for (index, part) in query.split('"').enumerate() {
            let has_word = |text: &&str| text.chars().any(char::is_alphanumeric);
            if index % 2 == 1 {
                terms.extend(Some(part).filter(has_word).map(str::to_owned));
            } else {
                terms.extend(part.split_whitespace().filter(has_word).map(str::to_owned));
            }
        }
        (!terms.is_empty()).then_some(Self(terms))
    }

    /// The words and phrases.
    pub fn terms(&self) -> &[String] {
        &self.0
    }
}

/// A part of a room's history.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The messages, the oldest first, without a gap.
    pub messages: Vec<Arc<StoredMessage>>,
    /// Whether there are more in the direction asked for.
    pub has_more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_words_and_phrases_and_has_at_least_one_word() {
        let terms = |query: &str| SearchText::parse(query).map(|text| text.terms().to_vec());
        assert_eq!(terms("green \"two words\" x"), Some(vec!["green".into(), "two words".into(), "x".into()]));
        assert_eq!(terms("un\"closed one"), Some(vec!["un".into(), "closed one".into()]));
        assert_eq!(terms("  -- \"\" "), None);
        let (longest, too_long) = ("x".repeat(256), "x".repeat(257));
        assert!(terms(&longest).is_some() && terms(&too_long).is_none());
    }
}
