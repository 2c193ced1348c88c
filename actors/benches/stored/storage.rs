//! Measurements with a storage: the time to the acknowledgement of messages that are posted meanwhile.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use actix_rt::{Arbiter, System};
use rusqlite::{Connection, OpenFlags};
use starling_actors::chat_server::OperatorPost;
use starling_actors::clock;
use starling_actors::credits::ServerCredits;
use starling_actors::history::sqlite::{SqliteSettings, SqliteStore};
use starling_actors::history::{Durability, History, RoomKey};
use starling_actors::{ChatConfig, ChatServer, ChatServerHandle, Metrics};
use starling_protocol::{ClientId, RoomName};

use crate::Times;

/// The pause between an answer and the next message.
const PAUSE: Duration = Duration::from_millis(2);

fn settings(folder: &Path, keep_messages: Option<u64>) -> SqliteSettings {
    SqliteSettings {
        path: folder.join("starling.db"),
        follows_log: false,
        durability: Durability::Machine,
        keep_messages,
        keep_for: None,
        keep_bytes: None,
        ids_kept: Duration::from_mins(5),
        ids_max: 262_144,
    }
}

/// A folder on the project's disk. Its database has this many rooms, each with `seq` messages, of which those from
/// `oldest` on are stored.
fn filled(rooms: u64, seq: u64, oldest: u64, dropped_ids: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    drop(SqliteStore::open(settings(folder.path(), None), Arc::default()).unwrap());
    let database = Connection::open(folder.path().join("starling.db")).unwrap();
    let at = clock::unix_ms();
    database
        .execute_batch(&format!(
            "PRAGMA synchronous = OFF; PRAGMA cache_size = -200000; BEGIN;
             WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rooms})
             INSERT INTO rooms (id, name, epoch, seq, oldest) SELECT n, 'room-' || n, n, {seq}, {oldest} FROM n;"
        ))
        .unwrap();
    let mut message = database
        .prepare("INSERT INTO messages (place, at, client_id, id, text, owner) VALUES (?1, ?2, ?3, ?4, ?5, 7)")
        .unwrap();
    let mut id = database
        .prepare("INSERT INTO dropped_ids (place, at, client_id, id, owner) VALUES (?1, ?2, 'alice', ?3, 7)")
        .unwrap();
    for room in 1..=rooms {
        for seq in oldest..=seq {
            let place = i64::try_from(room << 40 | seq).unwrap();
            let said = format!("message {seq} of so many that were said here, word{}", seq % 5_000);
            let at = i64::try_from(at - 86_400_000 + seq).unwrap();
            message.execute((place, at, format!("client-{}", seq % 1_000), format!("m{seq}"), &said)).unwrap();
        }
        for seq in (1..oldest).filter(|_| dropped_ids) {
            let place = i64::try_from(room << 40 | seq).unwrap();
            id.execute((place, i64::try_from(at).unwrap(), format!("d{seq}"))).unwrap();
        }
    }
    drop((message, id));
    database.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    folder
}

/// A chat with a storage, on its own thread.
struct Chat {
    handle: ChatServerHandle,
    metrics: Arc<Metrics>,
    arbiter: Arbiter,
    ended: tokio::sync::oneshot::Receiver<bool>,
}

impl Chat {
    fn start(settings: SqliteSettings, empty_room_kept: Duration) -> Self {
        let config = ChatConfig { empty_room_kept, history_is_stored: true, ..ChatConfig::default() };
        let metrics = Metrics::new(1, ServerCredits::new(config.server_credits));
        let store = SqliteStore::open(settings, Arc::clone(metrics.history())).unwrap();
        let history = History::over(store, config.history_messages, config.history_bytes);
        let (handle, prepared, ended) = ChatServer::prepare(config, history, Arc::clone(&metrics));
        let arbiter = Arbiter::new();
        arbiter.spawn_fn(|| prepared.run_here());
        Self { handle, metrics, arbiter, ended }
    }

    async fn end(self) {
        self.arbiter.stop();
        drop(self.handle);
        assert!(self.ended.await.unwrap());
    }
}

/// The CPU time of the writer thread. Other load on the machine, and waiting for the disk, do not count.
fn writer_worked() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let read = |task: &Path, file: &str| std::fs::read_to_string(task.join(file)).unwrap_or_default();
    let writer = tasks.into_iter().find(|task| read(task, "comm").trim() == "history").unwrap();
    Duration::from_nanos(read(&writer, "schedstat").split(' ').next().unwrap().parse().unwrap())
}

/// Posts messages, and waits for each until it is stored. Begins before `work` and ends a second after it.
async fn while_somebody_talks(chat: &Chat, work: impl Future<Output = ()>) -> Times {
    let is_over = Arc::new(AtomicBool::new(false));
    let talk = actix_rt::spawn({
        let (handle, is_over) = (chat.handle.clone(), Arc::clone(&is_over));
        async move {
            let (mut times, mut work) = (Times::default(), Times::default());
            while !is_over.load(Relaxed) {
                let post = OperatorPost {
                    room: RoomName::lobby(),
                    client_id: ClientId::parse("talker").unwrap(),
                    text: "so many words".into(),
                    id: None,
                };
                let (begun, worked) = (clock::now(), writer_worked());
                handle.post(post).await.unwrap().unwrap();
                times.0.push(begun.elapsed());
                work.0.push(writer_worked().saturating_sub(worked));
                tokio::time::sleep(PAUSE).await;
            }
            work.tell("    CPU time of the writer thread in that time");
            times
        }
    });
    work.await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    is_over.store(true, Relaxed);
    talk.await.unwrap()
}

/// The number of messages in the search index.
fn indexed(folder: &Path) -> u64 {
    let index = Connection::open_with_flags(search_index(folder), OpenFlags::SQLITE_OPEN_READ_ONLY);
    let count = |index: Connection| index.query_row("SELECT count(*) FROM texts_docsize", [], |row| row.get(0));
    index.and_then(count).unwrap_or(0)
}

fn search_index(folder: &Path) -> PathBuf {
    folder.join("starling.db-search")
}

async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// (a) Rooms without stored messages end together.
pub(crate) fn rooms_that_end_together() {
    for rooms in [5_000, 100_000] {
        let folder = filled(rooms, 10, 11, false);
        System::new().block_on(async {
            let chat = Chat::start(settings(folder.path(), None), Duration::from_secs(3));
            let times = while_somebody_talks(&chat, async {
                let room = Connection::open(folder.path().join("starling.db")).unwrap();
                let count = || room.query_row("SELECT count(*) FROM rooms", [], |row| row.get::<_, u64>(0)).unwrap();
                until(|| count() <= 1).await;
            });
            times.await.tell(&format!("(a) {rooms} rooms end together: message to acknowledgement"));
            chat.end().await;
        });
    }
}

/// (-) No other work, for comparison.
pub(crate) fn quiet() {
    let folder = filled(1, 10, 1, false);
    System::new().block_on(async {
        let chat = Chat::start(settings(folder.path(), None), Duration::from_mins(5));
        let times = while_somebody_talks(&chat, tokio::time::sleep(Duration::from_secs(3)));
        times.await.tell("(-) nothing else to do: message to acknowledgement");
        chat.end().await;
    });
}

/// (d) A large room is dropped, or has too many messages.
pub(crate) fn large_rooms() {
    let measures = [
        ("an operator drops a room with 200,000 messages", 200_000, 1, false),
        ("an operator drops a room with 262,144 ids of messages that were dropped", 262_154, 262_145, true),
    ];
    for (what, seq, oldest, dropped_ids) in measures {
        let folder = filled(1, seq, oldest, dropped_ids);
        System::new().block_on(async {
            let chat = Chat::start(settings(folder.path(), None), Duration::from_mins(5));
            until(|| indexed(folder.path()) > seq - oldest).await;
            let begun = clock::now();
            let times = while_somebody_talks(&chat, async {
                tokio::time::sleep(Duration::from_millis(500)).await;
                let room = RoomKey::Room(RoomName::parse("room-1").unwrap());
                chat.handle.drop_room(room).await.unwrap().unwrap();
                let database = Connection::open(folder.path().join("starling.db")).unwrap();
                let is_there = "SELECT EXISTS (SELECT 1 FROM rooms WHERE id = 1)";
                until(|| !database.query_row(is_there, [], |row| row.get::<_, bool>(0)).unwrap()).await;
                until(|| indexed(folder.path()) < 10_000).await;
            });
            times.await.tell(&format!("(d) {what}: message to acknowledgement"));
            println!("    all dropped within {:.1?}", begun.elapsed());
            chat.end().await;
        });
    }
    let folder = filled(1, 500_000, 1, false);
    System::new().block_on(async {
        let chat = Chat::start(settings(folder.path(), None), Duration::from_mins(5));
        until(|| indexed(folder.path()) >= 500_000).await;
        chat.end().await;
        let chat = Chat::start(settings(folder.path(), Some(1_000)), Duration::from_mins(5));
        let begun = clock::now();
        let times = while_somebody_talks(&chat, async {
            until(|| chat.metrics.history().dropped.load(Relaxed) >= 499_000).await;
            until(|| indexed(folder.path()) < 10_000).await;
        });
        times.await.tell("(d) retention drops 499,000 messages of a room: message to acknowledgement");
        println!("    all dropped within {:.1?}", begun.elapsed());
        chat.end().await;
    });
}

/// (e) A start with many stored messages. The rule does not apply, because no client is connected.
pub(crate) fn start() {
    let folder = filled(100_000, 10, 1, false);
    System::new().block_on(async {
        let begun = clock::now();
        let chat = Chat::start(settings(folder.path(), None), Duration::from_mins(5));
        assert!(chat.handle.answers().await);
        let took = begun.elapsed();
        println!("(e) a start with 1,000,000 messages in 100,000 rooms, until the chat answers: {took:.2?}");
        chat.end().await;
    });
}

/// (f) A start with a database of the version before the search index became a separate file.
pub(crate) fn start_of_an_older_database() {
    let folder = filled(100_000, 10, 1, false);
    let database = Connection::open(folder.path().join("starling.db")).unwrap();
    let made_older = database.execute_batch(
        "PRAGMA synchronous = OFF;
         CREATE VIRTUAL TABLE messages_text USING fts5 (
            text, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
         );
         INSERT INTO messages_text (rowid, text) SELECT place, text FROM messages;
         DROP INDEX dropped_ids_by_at;
         PRAGMA user_version = 5;
         PRAGMA wal_checkpoint(TRUNCATE)",
    );
    made_older.unwrap();
    drop(database);
    System::new().block_on(async {
        let begun = clock::now();
        let chat = Chat::start(settings(folder.path(), None), Duration::from_mins(5));
        assert!(chat.handle.answers().await);
        let took = begun.elapsed();
        println!("(f) a start with 1,000,000 messages of an older version, until the chat answers: {took:.2?}");
        let times = while_somebody_talks(&chat, until(|| indexed(folder.path()) >= 1_000_000));
        times.await.tell("(f) while its messages are indexed: message to acknowledgement");
        println!("    all indexed within {:.1?}", begun.elapsed());
        chat.end().await;
    });
}
