//! How far each receiver has accepted the entries of each room: a small SQLite database beside the history.
//!
//! With a history in memory it lives in memory, too: the positions are about messages that end with the process.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};
use starling_protocol::{Epoch, RoomName, Seq};

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS receivers (
        id INTEGER PRIMARY KEY,
        url TEXT NOT NULL UNIQUE,
        since INTEGER NOT NULL
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
#[error("cannot open the positions of the webhooks in {path}: {error}")]
pub struct CannotKeep {
    path: String,
    error: rusqlite::Error,
}

/// The positions of all receivers.
#[derive(Debug)]
pub(crate) struct Positions(Mutex<Connection>);

/// The positions of one receiver.
#[derive(Debug, Clone)]
pub(super) struct OfReceiver {
    all: Arc<Positions>,
    id: i64,
    /// The time of the first start with this receiver, in milliseconds since the Unix epoch. It gets what is newer.
    pub(super) since: u64,
}

/// SQLite has signed numbers of 64 bits only.
fn signed(number: u64) -> i64 {
    number.cast_signed()
}

impl Positions {
    /// `None`: in memory.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, CannotKeep> {
        let open = || {
            let connection = match path {
                Some(path) => Connection::open(path)?,
                None => Connection::open_in_memory()?,
            };
            connection.execute_batch(SCHEMA)?;
            Ok(connection)
        };
        let shown = || path.map_or_else(|| PathBuf::from("memory"), Path::to_owned).display().to_string();
        open().map(|connection| Self(Mutex::new(connection))).map_err(|error| CannotKeep { path: shown(), error })
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

    /// The positions of the receiver with this URL. Without any, it begins now.
    pub(super) async fn of_receiver(self: &Arc<Self>, url: String, now: u64) -> Result<OfReceiver, String> {
        let (id, since) = self
            .run(move |connection| {
                let new = "INSERT INTO receivers (url, since) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
                connection.execute(new, params![url, signed(now)])?;
                connection.query_row("SELECT id, since FROM receivers WHERE url = ?1", [&url], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
            })
            .await?;
        Ok(OfReceiver { all: Arc::clone(self), id, since })
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
        let set = "INSERT OR REPLACE INTO positions (receiver, room, epoch, seq) VALUES (?1, ?2, ?3, ?4)";
        let done = self.all.run(move |connection| connection.execute(set, params![id, room, signed(epoch.0), seq.0]));
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

    #[actix_rt::test]
    async fn positions_belong_to_a_receiver_and_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("webhooks.db");
        let room = RoomName::parse("dev").unwrap();
        let open = || Arc::new(Positions::open(Some(&path)).unwrap());
        let (epoch, seq) = (Epoch(u64::MAX - 1), Seq(7));
        let first = open();
        let a = first.of_receiver("https://a.example".to_owned(), 1_000).await.unwrap();
        a.set(&room, epoch, Seq(3)).await.unwrap();
        a.set(&room, epoch, seq).await.unwrap();
        drop((first, a));
        let again = open();
        let a = again.of_receiver("https://a.example".to_owned(), 2_000).await.unwrap();
        let b = again.of_receiver("https://b.example".to_owned(), 2_000).await.unwrap();
        assert_eq!((a.since, b.since), (1_000, 2_000));
        assert_eq!(a.get(&room).await.unwrap(), Some((epoch, seq)));
        assert_eq!(b.get(&room).await.unwrap(), None);
        a.retain(HashSet::from(["dev".to_owned()])).await.unwrap();
        assert_eq!(a.get(&room).await.unwrap(), Some((epoch, seq)));
        a.retain(HashSet::new()).await.unwrap();
        assert_eq!(a.get(&room).await.unwrap(), None);
    }
}
