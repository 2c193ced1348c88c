//! The schema of the database, and the migration of older versions.

use rusqlite::{Connection, Transaction};

/// A room's number in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::history) struct DbRoom(pub(super) u32);

/// The newest and the oldest message of every stored room. A tree, because a large hash table takes too long to grow.
pub(super) type Bounds = std::collections::BTreeMap<DbRoom, (starling_protocol::Seq, starling_protocol::Seq)>;

/// The number of bits for a message's `seq` in its place. The room number has the bits above them.
pub(super) const SEQ_BITS: u32 = 40;

/// The largest `seq` that can be stored.
pub(super) const SEQ_MAX: u64 = (1 << SEQ_BITS) - 1;

/// The largest room number that fits into a place.
pub(super) const ROOMS_MAX: u32 = (1 << (63 - SEQ_BITS)) - 1;

/// The application id that marks a file as a history of this program: "Star" in ASCII.
pub(super) const APPLICATION_ID: i32 = 0x5374_6172;

/// Each entry migrates version `n` to version `n + 1`. A released entry never changes.
pub(super) const MIGRATIONS: [&str; VERSION as usize] = [
    // `place` combines the room's number and the message's seq in one number. So the messages of a room are stored in
    // order, and a search index needs no other key.
    "CREATE TABLE rooms (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        epoch INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        oldest INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE messages (
        place INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        client_id TEXT NOT NULL,
        id TEXT,
        text TEXT NOT NULL
    ) STRICT;
    CREATE INDEX messages_by_at ON messages (at);
    CREATE TABLE dropped_ids (
        place INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        client_id TEXT NOT NULL,
        id TEXT NOT NULL
    ) STRICT;
    CREATE TABLE probe (id INTEGER PRIMARY KEY, filler BLOB NOT NULL) STRICT;",
    // Search. The index does not copy the texts; it refers to them by their place.
    "CREATE VIRTUAL TABLE messages_text USING fts5 (
        text, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
    );
    INSERT INTO messages_text (rowid, text) SELECT place, text FROM messages;",
    // Inboxes: rooms whose name is `@` followed by the owner's name. `delivered` is the newest message that the owner
    // was sent, `peer` the other participant of a private message, as seen from the inbox.
    "ALTER TABLE rooms ADD COLUMN delivered INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE messages ADD COLUMN peer TEXT;
    CREATE INDEX messages_by_peer ON messages (peer, place) WHERE peer IS NOT NULL;",
    // The owner of an `id`, as a hash of the client's name and key. A later client with the same name does not own the
    // `id`.
    "ALTER TABLE messages ADD COLUMN owner INTEGER;
    ALTER TABLE dropped_ids ADD COLUMN owner INTEGER;",
    // The last process that wrote the database (`continuity`): at most one row.
    "CREATE TABLE last_start (
        id INTEGER PRIMARY KEY,
        stamp INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        boot TEXT NOT NULL,
        is_durable INTEGER NOT NULL,
        is_closed INTEGER NOT NULL
    ) STRICT;",
    // The search index becomes a separate file (`search`). An index finds the expired `id`s without a scan.
    "DROP TABLE messages_text;
    CREATE INDEX dropped_ids_by_at ON dropped_ids (at);",
    // How far the log of several nodes was followed, and which log that was: at most one row.
    "CREATE TABLE log_mark (id INTEGER PRIMARY KEY, log INTEGER NOT NULL, position INTEGER NOT NULL) STRICT;",
    // The time that the log gave the record of the mark.
    "ALTER TABLE log_mark ADD COLUMN at_nanos INTEGER;",
    // Changes of messages. `of` is the place of the message, `text` the text of an edit or the emoji of a reaction. A
    // message has its newest text, and in `changes` all other effects of its changes. Most rows of `changes` have no
    // part in the index: it finds the one edit whose text is still there.
    "ALTER TABLE messages ADD COLUMN reply_to INTEGER;
    ALTER TABLE messages ADD COLUMN twin_epoch INTEGER;
    ALTER TABLE messages ADD COLUMN twin_seq INTEGER;
    ALTER TABLE messages ADD COLUMN changes BLOB;
    CREATE TABLE changes (
        place INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        client_id TEXT NOT NULL,
        id TEXT,
        text TEXT,
        peer TEXT,
        owner INTEGER,
        kind TEXT NOT NULL,
        of INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX changes_by_at ON changes (at);
    CREATE INDEX edits_by_message ON changes (of) WHERE kind = 'edit' AND text IS NOT NULL;",
    // The rows of the moderation: sanctions, slow modes and the audit log.
    "CREATE TABLE moderation (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;",
    // How far clients have read, in the order of the notes. `owner` is the hash of `messages.owner`.
    "CREATE TABLE read_positions (
        id INTEGER PRIMARY KEY,
        room INTEGER NOT NULL,
        owner INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        UNIQUE (room, owner)
    ) STRICT;",
    // The slow mode of a room becomes one of its settings. Where the history is hidden from newcomers: `since` is the entry
    // behind which a client sees the room.
    "INSERT INTO moderation (key, value)
        SELECT 'room ' || substr(key, 6), '{\"slowSeconds\":' || value || '}' FROM moderation WHERE key LIKE 'slow %';
    DELETE FROM moderation WHERE key LIKE 'slow %';
    ALTER TABLE read_positions ADD COLUMN since INTEGER NOT NULL DEFAULT 0;",
];

/// The table with the place of a node in the log of the nodes.
pub(super) const LOG_MARK: &str = "log_mark";

/// The schema version that this program writes.
pub(super) const VERSION: u8 = 12;

/// The table of read positions.
pub(super) const READ_POSITIONS: &str = "read_positions";

/// The table of the changes of messages.
pub(super) const CHANGES: &str = "changes";

/// The schema version since which there are changes of messages.
pub(super) const CHANGES_SINCE: u32 = 9;

/// The key of a message in the database: the room's number and the seq.
pub(super) fn place(room: DbRoom, seq: u64) -> i64 {
    i64::from(room.0) << SEQ_BITS | i64::try_from(seq.min(SEQ_MAX)).unwrap_or(i64::MAX)
}

/// Splits a place into its room and seq.
pub(super) fn of_place(place: i64) -> (DbRoom, u64) {
    let place = place.unsigned_abs();
    (DbRoom(u32::try_from(place >> SEQ_BITS).unwrap_or(u32::MAX)), place & SEQ_MAX)
}

/// The first character of a dropped room's name, while its messages are being dropped. No name of a room or an inbox
/// starts with it.
pub(super) const DROPPED: char = '!';

/// Removes a room's name. From this commit on the room no longer exists. Its number is not reused before its messages
/// are gone.
pub(super) fn mark_dropped(connection: &Connection, room: DbRoom) -> rusqlite::Result<()> {
    let mut mark = connection.prepare_cached("UPDATE rooms SET name = ?2 WHERE id = ?1")?;
    mark.execute((room.0, format!("{DROPPED}{}", room.0)))?;
    Ok(())
}

/// The largest room number that is stored anywhere. Remembered `id`s of a room can outlive its row.
pub(super) fn last_number(connection: &Connection) -> rusqlite::Result<u32> {
    let last = "SELECT max(
        coalesce((SELECT max(id) FROM rooms), 0),
        coalesce((SELECT max(place) FROM messages), 0) >> ?1,
        coalesce((SELECT max(place) FROM changes), 0) >> ?1,
        coalesce((SELECT max(place) FROM dropped_ids), 0) >> ?1)";
    connection.query_row(last, [SEQ_BITS], |row| row.get(0))
}

/// The rows that one step has dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DropStep {
    pub(super) messages: u64,
    /// Messages and changes, plus `id`s of messages that were dropped before. Equal to the requested count, unless nothing is left.
    pub(super) rows: u64,
}

/// Drops up to `count` rows of a dropped room. If there were fewer, also drops the room itself.
pub(super) fn drop_step(transaction: &Transaction<'_>, room: DbRoom, count: u64) -> rusqlite::Result<DropStep> {
    let span = (place(room, 0), place(room, SEQ_MAX));
    let mut messages = transaction.prepare_cached(
        "DELETE FROM messages WHERE place IN
            (SELECT place FROM messages WHERE place BETWEEN ?1 AND ?2 ORDER BY place LIMIT ?3)",
    )?;
    let messages = messages.execute((span.0, span.1, count))? as u64;
    let mut changes = transaction.prepare_cached(
        "DELETE FROM changes WHERE place IN
            (SELECT place FROM changes WHERE place BETWEEN ?1 AND ?2 ORDER BY place LIMIT ?3)",
    )?;
    let entries = messages + changes.execute((span.0, span.1, count - messages))? as u64;
    let mut ids = transaction.prepare_cached(
        "DELETE FROM dropped_ids WHERE place IN
            (SELECT place FROM dropped_ids WHERE place BETWEEN ?1 AND ?2 ORDER BY place LIMIT ?3)",
    )?;
    let rows = entries + ids.execute((span.0, span.1, count - entries))? as u64;
    if rows < count {
        transaction.prepare_cached("DELETE FROM rooms WHERE id = ?1")?.execute([room.0])?;
    } else {
        // A room without messages keeps its seqs: its oldest message is one past the newest.
        let oldest = "UPDATE rooms SET oldest = coalesce((SELECT min(place) - ?2 FROM (
            SELECT min(place) AS place FROM messages WHERE place BETWEEN ?2 AND ?3
            UNION ALL SELECT min(place) FROM changes WHERE place BETWEEN ?2 AND ?3)), seq + 1) WHERE id = ?1";
        transaction.prepare_cached(oldest)?.execute((room.0, span.0, span.1))?;
    }
    Ok(DropStep { messages, rows })
}

/// The schema version of an open database; 0 for an empty database.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Creates the tables of a version in an empty database. The application id is not set yet, so the file is not accepted
/// as a history.
pub(super) fn make(transaction: &Transaction<'_>, version: u32) -> rusqlite::Result<()> {
    for migration in MIGRATIONS.iter().take(version as usize) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", version)
}

/// Migrates a database to the newest version in the caller's transaction.
pub(super) fn migrate(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let from = usize::try_from(version(transaction)?).unwrap_or(usize::MAX);
    let missing = MIGRATIONS.get(from..).unwrap_or_default();
    for migration in missing {
        transaction.execute_batch(migration)?;
    }
    if !missing.is_empty() {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_tells_its_room_and_seq_and_sorts_by_both() {
        for (room, seq) in [(1, 1), (1, SEQ_MAX), (ROOMS_MAX, SEQ_MAX)] {
            assert_eq!(of_place(place(DbRoom(room), seq)), (DbRoom(room), seq));
        }
        assert!(place(DbRoom(1), SEQ_MAX) < place(DbRoom(2), 1));
    }

    #[test]
    fn a_slow_mode_of_version_11_becomes_a_setting_of_its_room() {
        let mut connection = Connection::open_in_memory().unwrap();
        let transaction = connection.transaction().unwrap();
        make(&transaction, 11).unwrap();
        let rows = "INSERT INTO moderation VALUES ('slow dev', '5'), ('sanction x', '{}')";
        transaction.execute(rows, []).unwrap();
        migrate(&transaction).unwrap();
        let mut rows = transaction.prepare("SELECT key || '=' || value FROM moderation ORDER BY key").unwrap();
        let rows: Vec<String> = rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows, [r#"room dev={"slowSeconds":5}"#, "sanction x={}"]);
    }

    #[test]
    fn a_step_drops_few_rows_of_a_room_however_many_messages_or_ids_of_it_are_stored() {
        for (ids, messages, expected) in [
            (0, 0, vec![(0, 0)]),
            (1_000, 10, vec![(10, 256), (0, 256), (0, 256), (0, 242)]),
            (0, 300, vec![(256, 256), (44, 44)]),
            (256, 256, vec![(256, 256), (0, 256), (0, 0)]),
        ] {
            let mut connection = Connection::open_in_memory().unwrap();
            let transaction = connection.transaction().unwrap();
            migrate(&transaction).unwrap();
            let (room, seq) = (DbRoom(1), ids + messages);
            let row = "INSERT INTO rooms (id, name, epoch, seq, oldest) VALUES (1, '!1', 1, ?1, ?2)";
            transaction.execute(row, (seq, ids + 1)).unwrap();
            for seq in 1..=seq {
                let row = if seq <= ids {
                    "INSERT INTO dropped_ids (place, at, client_id, id) VALUES (?1, 1, 'alice', 'm')"
                } else {
                    "INSERT INTO messages (place, at, client_id, text) VALUES (?1, 1, 'alice', 'm')"
                };
                transaction.execute(row, [place(room, seq)]).unwrap();
            }
            let is_there = "SELECT EXISTS (SELECT 1 FROM rooms)";
            let mut steps = Vec::new();
            while transaction.query_row(is_there, [], |row| row.get(0)).unwrap() {
                let DropStep { messages, rows } = drop_step(&transaction, room, 256).unwrap();
                steps.push((messages, rows));
            }
            assert_eq!(steps, expected, "{ids} ids, {messages} messages");
        }
    }
}
