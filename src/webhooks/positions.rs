//! How far each receiver has accepted the entries of each room: a small SQLite database beside the history.
//!
//! With a history in memory it lives in memory, too: the positions are about messages that end with the process.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use rusqlite::{Connection, OptionalExtension, params};
use starling_actors::followers::RoomPosition;
use starling_protocol::{Epoch, RoomName, Seq};

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS receivers (
        id INTEGER PRIMARY KEY,
        -- The SHA-256 of its URL, which may be a secret.
        url BLOB NOT NULL UNIQUE
    ) STRICT;
    CREATE TABLE IF NOT EXISTS positions (
        receiver INTEGER NOT NULL,
        room TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        PRIMARY KEY (receiver, room)
    ) STRICT, WITHOUT ROWID;
";

/// The positions of webhooks cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the positions of the webhooks in {path}: {reason}")]
pub struct CannotKeep {
    path: String,
    reason: String,
}

/// The positions of all receivers.
#[derive(Debug)]
pub(crate) struct Positions(Mutex<Connection>);

/// The positions of one receiver.
#[derive(Debug, Clone)]
pub(super) struct OfReceiver {
    all: Arc<Positions>,
    id: i64,
}

/// SQLite has signed numbers only, so an epoch is stored as one.
const SET: &str = "INSERT OR REPLACE INTO positions (receiver, room, epoch, seq) VALUES (?1, ?2, ?3, ?4)";

impl Positions {
    /// `None`: in memory.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, CannotKeep> {
        let open = || {
            let connection = path.map_or_else(Connection::open_in_memory, Connection::open)?;
            connection.execute_batch(SCHEMA)?;
            let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            Ok((connection, found))
        };
        let refused = |reason| CannotKeep { path: path.unwrap_or(Path::new("memory")).display().to_string(), reason };
        match open().map_err(|error: rusqlite::Error| refused(error.to_string()))? {
            (connection, found) if found == "ok" => Ok(Self(Mutex::new(connection))),
            (_, damage) => Err(refused(damage)),
        }
    }

    /// Runs this on a thread that may wait for the disk.
    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, String> {
        let all = Arc::clone(self);
        let work = move || work(&mut all.0.lock().unwrap_or_else(PoisonError::into_inner));
        let done = tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?;
        done.map_err(|error| error.to_string())
    }

    /// The positions of the receiver with this URL. A new one begins at these positions.
    pub(super) async fn of_receiver(
        self: &Arc<Self>,
        url: &str,
        begin: Vec<RoomPosition>,
    ) -> Result<OfReceiver, String> {
        let url = digest(&SHA256, url.as_bytes()).as_ref().to_vec();
        let id = self.run(move |connection| {
            let transaction = connection.transaction()?;
            let new = "INSERT INTO receivers (url) VALUES (?1) ON CONFLICT DO NOTHING";
            let is_new = transaction.execute(new, [&url])? > 0;
            let id = transaction.query_row("SELECT id FROM receivers WHERE url = ?1", [&url], |row| row.get(0))?;
            if is_new {
                let mut set = transaction.prepare(SET)?;
                for RoomPosition { room, epoch, seq } in begin {
                    set.execute(params![id, room.as_str(), epoch.0.cast_signed(), seq.0])?;
                }
            }
            transaction.commit()?;
            Ok(id)
        });
        Ok(OfReceiver { all: Arc::clone(self), id: id.await? })
    }
}

impl OfReceiver {
    /// The newest entry of the room that was accepted.
    pub(super) async fn get(&self, room: &RoomName) -> Result<Option<(Epoch, Seq)>, String> {
        let (id, room) = (self.id, room.as_str().to_owned());
        let query = "SELECT epoch, seq FROM positions WHERE receiver = ?1 AND room = ?2";
        let found = self.all.run(move |connection| {
            connection
                .query_row(query, params![id, room], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, u64>(1)?)))
                .optional()
        });
        Ok(found.await?.map(|(epoch, seq)| (Epoch(epoch.cast_unsigned()), Seq(seq))))
    }

    /// Notes the newest entry of the room that was accepted.
    pub(super) async fn set(&self, room: &RoomName, epoch: Epoch, seq: Seq) -> Result<(), String> {
        let (id, room) = (self.id, room.as_str().to_owned());
        let values = (id, room, epoch.0.cast_signed(), seq.0);
        let done = self.all.run(move |connection| connection.execute(SET, values));
        done.await.map(drop)
    }

    /// Drops the positions of all rooms but these.
    pub(super) async fn retain(&self, rooms: HashSet<String>) -> Result<(), String> {
        let id = self.id;
        let done = self.all.run(move |connection| {
            let transaction = connection.transaction()?;
            let known: Vec<String> = transaction
                .prepare("SELECT room FROM positions WHERE receiver = ?1")?
                .query_map([id], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for room in known.iter().filter(|room| !rooms.contains(*room)) {
                transaction.execute("DELETE FROM positions WHERE receiver = ?1 AND room = ?2", params![id, room])?;
            }
            transaction.commit()
        });
        done.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn positions_belong_to_a_receiver_and_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("webhooks.db");
        let room = RoomName::parse("dev").unwrap();
        let open = || Arc::new(Positions::open(Some(&path)).unwrap());
        let (epoch, seq) = (Epoch(u64::MAX - 1), Seq(7));
        let first = open();
        let begin = |seq| vec![RoomPosition { room: room.clone(), epoch, seq }];
        let a = first.of_receiver("https://a.example/secret", begin(Seq(2))).await.unwrap();
        assert_eq!(a.get(&room).await.unwrap(), Some((epoch, Seq(2))), "a new receiver begins there");
        a.set(&room, epoch, Seq(3)).await.unwrap();
        a.set(&room, epoch, seq).await.unwrap();
        drop((first, a));
        let again = open();
        let a = again.of_receiver("https://a.example/secret", begin(Seq(9))).await.unwrap();
        let b = again.of_receiver("https://b.example", begin(Seq(9))).await.unwrap();
        assert_eq!(a.get(&room).await.unwrap(), Some((epoch, seq)));
        assert_eq!(b.get(&room).await.unwrap(), Some((epoch, Seq(9))));
        assert!(!String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains("a.example"));
        a.retain(HashSet::from(["dev".to_owned()])).await.unwrap();
        assert_eq!(a.get(&room).await.unwrap(), Some((epoch, seq)));
        a.retain(HashSet::new()).await.unwrap();
        assert_eq!(a.get(&room).await.unwrap(), None);
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("webhooks.db");
        drop(Positions::open(Some(&path)).unwrap());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[4_096..].fill(0x55);
        std::fs::write(&path, bytes).unwrap();
        let error = Positions::open(Some(&path)).unwrap_err().to_string();
        assert!(error.starts_with("cannot open the positions of the webhooks in "), "{error}");
    }
}
