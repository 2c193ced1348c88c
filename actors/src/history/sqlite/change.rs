//! The rows of changes, and what a change does to the row of its message.

use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Connection, OptionalExtension};
use starling_protocol::{ClientId, Emoji, MessageId, Seq};

use super::command::NewCopy;
use super::schema::{of_place, place};
use crate::history::{Changes, Content, Draft};

/// The kinds of changes in the database.
const EDIT: &str = "edit";
const DELETION: &str = "deletion";
const REACTION: &str = "reaction";
const REMOVAL: &str = "removal";

/// Stores a change, and applies it to its message if that is stored. Removes the texts that no client may see any more.
pub(super) fn insert(connection: &Connection, copy: &mut NewCopy) -> rusqlite::Result<()> {
    let Some(of) = copy.draft.content.of() else { return Ok(()) };
    let of = place(copy.db, of.0);
    let mut message = connection.prepare_cached("SELECT changes FROM messages WHERE place = ?1")?;
    if let Some(changes) = message.query_row([of], |row| row.get::<_, Option<Vec<u8>>>(0)).optional()? {
        let mut changes = changes.map_or_else(|| Ok(Changes::default()), |bytes| read(0, &bytes))?;
        let Draft { at, client_id, content, .. } = &copy.draft;
        let text = changes.apply(copy.seq, *at, client_id, content);
        let mut update = connection
            .prepare_cached("UPDATE messages SET changes = ?2, text = coalesce(?3, text) WHERE place = ?1")?;
        update.execute((of, write(&changes), text))?;
        if !changes.shows_edit(copy.seq) {
            copy.draft.content.clear_text();
        }
    }
    let kind = kind(&copy.draft.content);
    if kind == EDIT || kind == DELETION {
        // With the words of the index on edits.
        let earlier = "UPDATE changes SET text = NULL WHERE of = ?1 AND kind = 'edit' AND text IS NOT NULL";
        connection.prepare_cached(earlier)?.execute([of])?;
    }
    let stored = &copy.draft;
    let text = match &stored.content {
        Content::Reaction { emoji, .. } => emoji.as_str(),
        Content::Message { .. } | Content::Edit { .. } | Content::Deletion { .. } => stored.content.text(),
    };
    let mut insert = connection.prepare_cached(
        "INSERT INTO changes (place, at, client_id, id, text, peer, owner, kind, of)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    insert.execute((
        place(copy.db, copy.seq.0),
        stored.at.cast_signed(),
        stored.client_id.as_str(),
        stored.id.as_ref().map(MessageId::as_str),
        Some(text).filter(|text| !text.is_empty()),
        stored.peer(&copy.key).map(ClientId::as_str),
        stored.owner.map(|owner| owner.0.cast_signed()),
        kind,
        of,
    ))?;
    Ok(())
}

fn kind(content: &Content) -> &'static str {
    match content {
        Content::Message { .. } => "",
        Content::Edit { .. } => EDIT,
        Content::Deletion { .. } => DELETION,
        Content::Reaction { removed: false, .. } => REACTION,
        Content::Reaction { removed: true, .. } => REMOVAL,
    }
}

/// The content of a row of `changes`.
pub(super) fn content(kind: &str, of: i64, text: Option<&str>) -> rusqlite::Result<Content> {
    let of = Seq(of_place(of).1);
    let text = text.unwrap_or_default();
    let emoji = || Emoji::parse(text).map_err(|_| rusqlite::Error::InvalidQuery);
    Ok(match kind {
        EDIT => Content::Edit { of, text: text.into() },
        DELETION => Content::Deletion { of },
        REACTION => Content::Reaction { of, emoji: emoji()?, removed: false },
        REMOVAL => Content::Reaction { of, emoji: emoji()?, removed: true },
        _ => return Err(rusqlite::Error::InvalidQuery),
    })
}

/// Reads the changes of a message, which are in this column.
pub(super) fn read(column: usize, bytes: &[u8]) -> rusqlite::Result<Changes> {
    let foreign = |error| rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(error));
    postcard::from_bytes(bytes).map_err(|error| foreign(FromSqlError::Other(Box::new(error))))
}

fn write(changes: &Changes) -> Vec<u8> {
    let mut bytes = Vec::new();
    match postcard::to_io(changes, &mut bytes) {
        Ok(_) => {}
        Err(error) => debug_assert!(false, "writing to a vector cannot fail: {error}"),
    }
    bytes
}
