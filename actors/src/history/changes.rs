//! The changes of one message: the one place that knows what they do to it.
//!
//! Invariants:
//! - a message with the same changes in the same order is the same, in memory, in every store and on every node;
//! - a change that was applied already, or that comes after the deletion, changes nothing;
//! - a message never has more reactions than [`may_react`](Changes::may_react) allows.

use serde::{Deserialize, Serialize};
use starling_protocol::{ChatMessage, ClientId, Emoji, ReactionCount, Seq, limits};

use super::content::Content;

/// The sum of all changes of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// The newest change that was applied.
    pub newest: Seq,
    /// The newest edit: its number and its time, in milliseconds since the Unix epoch.
    pub edit: Option<(Seq, u64)>,
    /// Whether the message was deleted.
    pub is_deleted: bool,
    /// The reactions: the emoji in the order of their first reaction, each with its clients in the order of theirs.
    pub reactions: Vec<(Emoji, Vec<ClientId>)>,
}

/// The reason that a message takes no further reaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooManyReactions {
    /// It has as many different emoji as it may have.
    #[error("the message has {} different emoji, no more are allowed", limits::EMOJIS_PER_MESSAGE_MAX)]
    Emojis,
    /// It has as many reactions as it may have.
    #[error("the message has {} reactions, no more are allowed", limits::REACTIONS_PER_MESSAGE_MAX)]
    Clients,
}

impl Changes {
    /// Applies the change with this number and time, by this client. Returns the text that the message has now, if it has
    /// another one.
    pub fn apply<'a>(&mut self, seq: Seq, at: u64, client_id: &ClientId, change: &'a Content) -> Option<&'a str> {
        if self.is_deleted || seq <= self.newest {
            return None;
        }
        self.newest = seq;
        match change {
            Content::Message { .. } => None,
            Content::Edit { text, .. } => {
                self.edit = Some((seq, at));
                Some(text)
            }
            Content::Deletion { .. } => {
                *self = Self { newest: seq, is_deleted: true, ..Self::default() };
                Some("")
            }
            Content::Reaction { emoji, removed, .. } => {
                self.react(emoji, client_id, *removed);
                None
            }
        }
    }

    fn react(&mut self, emoji: &Emoji, client_id: &ClientId, is_removed: bool) {
        // Many reactions may be accepted before the first of them is stored. Those beyond the limits have no effect.
        if !is_removed && self.may_react(emoji, client_id).is_err() {
            return;
        }
        let found = self.reactions.iter().position(|(known, _)| known == emoji);
        match found.and_then(|index| self.reactions.get_mut(index).map(|(_, clients)| (index, clients))) {
            Some((index, clients)) if is_removed => {
                clients.retain(|client| client != client_id);
                if clients.is_empty() {
                    self.reactions.remove(index);
                }
            }
            Some((_, clients)) if clients.contains(client_id) => {}
            Some((_, clients)) => clients.push(client_id.clone()),
            None if is_removed => {}
            None => self.reactions.push((emoji.clone(), vec![client_id.clone()])),
        }
    }

    /// Whether a client may react with this emoji.
    ///
    /// # Errors
    /// [`TooManyReactions`].
    pub fn may_react(&self, emoji: &Emoji, client_id: &ClientId) -> Result<(), TooManyReactions> {
        let of_emoji = self.reactions.iter().find(|(known, _)| known == emoji);
        if of_emoji.is_some_and(|(_, clients)| clients.contains(client_id)) {
            return Ok(());
        }
        if of_emoji.is_none() && self.reactions.len() >= limits::EMOJIS_PER_MESSAGE_MAX {
            return Err(TooManyReactions::Emojis);
        }
        let count: usize = self.reactions.iter().map(|(_, clients)| clients.len()).sum();
        if count >= limits::REACTIONS_PER_MESSAGE_MAX { Err(TooManyReactions::Clients) } else { Ok(()) }
    }

    /// Whether the text of an edit is that of the message. If not, the edit has no text any more.
    pub fn shows_edit(&self, seq: Seq) -> bool {
        self.edit.is_some_and(|(newest, _)| newest == seq)
    }

    /// Adds the changes to the frame of the message.
    pub(super) fn shown_in<'a>(&self, message: ChatMessage<'a>) -> ChatMessage<'a> {
        let reactions = self.reactions.iter().map(|(emoji, clients)| ReactionCount {
            emoji: emoji.clone(),
            count: u32::try_from(clients.len()).unwrap_or(u32::MAX),
            client_ids: clients.iter().take(limits::REACTION_NAMES_MAX).cloned().collect(),
        });
        ChatMessage {
            edited_at: self.edit.map(|(_, at)| at),
            deleted: self.is_deleted,
            changed_seq: Some(self.newest),
            reactions: reactions.collect(),
            ..message
        }
    }

    /// The estimated bytes of memory.
    pub(super) fn weight(&self) -> usize {
        const OVERHEAD: usize = 64;
        let of_clients = |clients: &[ClientId]| clients.iter().map(|client| client.as_str().len() + 32).sum::<usize>();
        let of_emoji = |(emoji, clients): &(Emoji, Vec<ClientId>)| emoji.as_str().len() + 48 + of_clients(clients);
        OVERHEAD + self.reactions.iter().map(of_emoji).sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
