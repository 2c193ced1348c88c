//! The types of a history read: request, error and page.

use std::sync::Arc;

use starling_protocol::{ClientId, HistoryPage, Seq};

use super::message::StoredMessage;
use crate::ids::RoomId;

/// A request for a part of a room's history.
#[derive(Debug)]
pub struct ReadRequest {
    /// Returned with the answer.
    pub token: ReadToken,
    /// Decides the priority of the read.
    pub purpose: ReadPurpose,
    /// A room or an inbox.
    pub room: RoomId,
    /// The oldest `seq` that the page may contain. Older messages were dropped.
    pub oldest: Seq,
    /// The newest `seq` that the page may contain. Newer messages have not been reported as committed.
    pub newest: Seq,
    /// The direction, and the `seq` at which it begins.
    pub page: HistoryPage,
    /// Only messages that contain all these words and phrases, the newest first. A search requires
    /// [`HistoryPage::Newest`] or [`HistoryPage::Before`] as `page`.
    pub search: Option<SearchText>,
    /// Only private messages with this client. Not combined with `search`.
    pub with: Option<ClientId>,
    /// The largest number of messages in the answer.
    pub limit: usize,
    /// The largest total [weight](StoredMessage::weight) of the answer. A single message is returned even if it is
    /// heavier.
    pub bytes: usize,
}

/// Identifies a read until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadToken(pub usize);

/// The reason for a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadPurpose {
    /// A session catches up and cannot continue without the answer. The read has priority, and the limit on waiting
    /// reads does not apply. The page contains changes as entries of their own.
    CatchUp,
    /// A client reads a page of messages.
    Page,
}

/// The reason that a read failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The room does not exist.
    #[error("there is no such room")]
    NoSuchRoom,
    /// The room is private, and the caller is not invited.
    #[error("the room is private, and you are not invited")]
    NotInvited,
    /// The limit on waiting reads or searches is reached, or a search took too long.
    #[error("too many history reads are waiting")]
    Busy,
    /// The storage fails.
    #[error("the history cannot be read")]
    Failed,
}

/// A word or a phrase of a search query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchTerm {
    /// The word, or the words of the phrase.
    pub text: String,
    /// Whether it was written between quotes. A phrase must be found as it is; a word also finds the words that it
    /// begins.
    pub is_phrase: bool,
}

/// A search query: words and phrases. A message must contain all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchText(Vec<SearchTerm>);

impl SearchText {
    /// The largest length of a query, in bytes.
    pub const BYTES_MAX: usize = 256;

    /// Splits a query into words between white space, and phrases between double quotes. A NUL counts as a space,
    /// because SQLite ends a query there. `None` if the query contains no word, or is longer than
    /// [`BYTES_MAX`](Self::BYTES_MAX).
    pub fn parse(query: &str) -> Option<Self> {
        if query.len() > Self::BYTES_MAX {
            return None;
        }
        let mut terms = Vec::new();
        for (index, part) in query.replace('\0', " ").split('"').enumerate() {
            let has_word = |text: &&str| text.chars().any(char::is_alphanumeric);
            let is_phrase = index % 2 == 1;
            let term = |text: &str| SearchTerm { text: text.to_owned(), is_phrase };
            if is_phrase {
                terms.extend(Some(part).filter(has_word).map(term));
            } else {
                terms.extend(part.split_whitespace().filter(has_word).map(term));
            }
        }
        (!terms.is_empty()).then_some(Self(terms))
    }

    /// The words and phrases.
    pub fn terms(&self) -> &[SearchTerm] {
        &self.0
    }
}

/// The answer to a read.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The oldest first, except for a search, which returns the newest first.
    pub messages: Vec<Arc<StoredMessage>>,
    /// Whether more messages exist in the requested direction.
    pub has_more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_words_and_phrases_and_has_at_least_one_word() {
        let terms = |query: &str| {
            let text = SearchText::parse(query)?;
            Some(text.terms().iter().map(|term| (term.text.clone(), term.is_phrase)).collect::<Vec<_>>())
        };
        let (word, phrase) = (|text: &str| (text.to_owned(), false), |text: &str| (text.to_owned(), true));
        assert_eq!(terms("green \"two words\" x"), Some(vec![word("green"), phrase("two words"), word("x")]));
        assert_eq!(terms("un\"closed one"), Some(vec![word("un"), phrase("closed one")]));
        assert_eq!(terms("a\0b\0 \"c\0d\""), Some(vec![word("a"), word("b"), phrase("c d")]));
        assert_eq!(terms("  -- \"\" "), None);
        assert_eq!(terms("\0"), None);
        let (longest, too_long) = ("x".repeat(256), "x".repeat(257));
        assert!(terms(&longest).is_some() && terms(&too_long).is_none());
    }
}
