//! A change of a message, as its receivers must see it.

use std::hash::Hasher as _;

use rustc_hash::FxHasher;

use super::room::Fingerprint;

/// A change of a message of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomChange<'a> {
    /// The `seq` of the message.
    pub of: u64,
    /// The client that made it.
    pub client: &'a str,
    /// The `type` of its frame; of a reaction with its emoji.
    pub what: (&'a str, &'a str, bool),
    /// Whether it deletes the message.
    pub is_deletion: bool,
    /// Whether it has a text. Later receivers may get it without one.
    pub has_text: bool,
}

impl<'a> RoomChange<'a> {
    /// An edit.
    pub fn edited(of: u64, client: &'a str, has_text: bool) -> Self {
        Self { of, client, what: ("edited", "", false), is_deletion: false, has_text }
    }

    /// A deletion.
    pub fn deleted(of: u64, client: &'a str) -> Self {
        Self { of, client, what: ("deleted", "", false), is_deletion: true, has_text: false }
    }

    /// A reaction, or its removal.
    pub fn reaction(of: u64, client: &'a str, emoji: &'a str, is_removed: bool) -> Self {
        Self { of, client, what: ("reaction", emoji, is_removed), is_deletion: false, has_text: false }
    }

    /// What all receivers see at its position, whenever they get it.
    pub fn fingerprint(&self) -> Fingerprint {
        let (kind, emoji, is_removed) = self.what;
        let mut hasher = FxHasher::default();
        for text in [kind, emoji, self.client] {
            hasher.write(text.as_bytes());
            hasher.write_u8(0);
        }
        hasher.write_u64(self.of);
        hasher.write_u8(u8::from(is_removed));
        #[expect(clippy::cast_possible_truncation, reason = "any 32 of the bits will do")]
        let hash = hasher.finish() as u32;
        Fingerprint { number: hash.max(1), ..Fingerprint::UNMARKED }
    }
}
