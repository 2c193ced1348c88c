//! How long what is stored stands between a message and its acknowledgement: `cargo bench -p starling-actors --bench stored`.
//!
//! The rule: nothing that grows with what is stored does so for more than 50 ms. An operator's message is posted every few
//! milliseconds, while a database under `target/` with `full` has large things dropped; the longest time to its answer is
//! told. What the rules cost by themselves is measured without a storage, in time of the thread. Letters after `--` choose the measures (`a` to
//! `e`); without one all run.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a measure ends with what is wrong")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use actix_rt::{Arbiter, System};
use rusqlite::Connection;
use rustix::time::{ClockId, clock_gettime};
use starling_actors::chat_server::PostedBy;
use starling_actors::chat_server::command::{Command, Effect, OpenSession, Request};
use starling_actors::chat_server::state::ChatState;
use starling_actors::clock::{self, Now};
use starling_actors::credits::{ServerCredits, Ticket};
use starling_actors::history::sqlite::{SqliteHistory, SqliteSettings, Sync};
use starling_actors::history::{Completion, Restored, RoomKey, StoredRoom};
use starling_actors::identity::{Identity, RoomGlobs};
use starling_actors::ids::{HubId, SessionId};
use starling_actors::{ChatConfig, ChatServer, ChatServerHandle, Metrics};
use starling_protocol::{ClientId, ClientKey, Epoch, MessageId, RoomName, Seq, Target};

/// Longest time that the rule allows.
const ALLOWED: Duration = Duration::from_millis(50);

/// How long after an answer the next message is posted.
const PAUSE: Duration = Duration::from_millis(2);

/// Times of one kind of step, and what is told of them.
#[derive(Default)]
struct Times(Vec<Duration>);

/// How long this thread has worked: what others do on the machine does not count.
fn worked() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

impl Times {
    fn measure<T>(&mut self, step: impl FnOnce() -> T) -> T {
        let begun = worked();
        let outcome = step();
        self.0.push(worked().saturating_sub(begun));
        outcome
    }

    fn tell(mut self, what: &str) {
        let at = self.0.iter().enumerate().max_by_key(|(_, time)| **time).map_or(0, |(at, _)| at);
        self.0.sort_unstable();
        let count = u32::try_from(self.0.len()).unwrap();
        let mean = self.0.iter().sum::<Duration>() / count;
        let (median, longest) = (*self.0.get(self.0.len() / 2).unwrap(), *self.0.last().unwrap());
        let mark = if longest > ALLOWED { "   MORE THAN 50 ms" } else { "" };
        println!(
            "{what}: {count} times, mean {mean:.2?}, median {median:.2?}, longest {longest:.2?} (number {at}){mark}"
        );
    }
}

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|argument| argument.len() == 1).collect();
    let measures: [(&str, fn()); 6] = [
        ("-", quiet),
        ("a", rooms_that_end_together),
        ("b", remembered_ids),
        ("c", rooms),
        ("d", large_rooms),
        ("e", start),
    ];
    for (name, measure) in measures {
        if chosen.is_empty() || chosen.iter().any(|other| other == name) {
            measure();
        }
    }
}

// ---- with a storage

fn settings(folder: &Path, keep_messages: Option<u64>) -> SqliteSettings {
    SqliteSettings {
        path: folder.join("starling.db"),
        sync: Sync::Full,
        keep_messages,
        keep_for: None,
        keep_bytes: None,
        recent_messages: 1_000,
        recent_bytes: 64 * 1024 * 1024,
        ids_kept: Duration::from_mins(5),
        ids_max: 262_144,
    }
}

/// A folder on the disk that the project is on, with a database of so many rooms and messages in each; those of which are
/// stored from `oldest` on.
fn filled(rooms: u64, seq: u64, oldest: u64, dropped_ids: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    drop(SqliteHistory::open(settings(folder.path(), None), Arc::default()).unwrap());
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

/// A chat with a storage, on a thread of its own.
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
        let history = SqliteHistory::open(settings, Arc::clone(metrics.history())).unwrap();
        let (handle, prepared, ended) = ChatServer::prepare(config, Box::new(history), Arc::clone(&metrics));
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

/// Posts a message and waits until it is stored, again and again, from before `work` until a second after it is done.
async fn while_somebody_talks(chat: &Chat, work: impl Future<Output = ()>) -> Times {
    let is_over = Arc::new(AtomicBool::new(false));
    let talk = actix_rt::spawn({
        let (handle, is_over) = (chat.handle.clone(), Arc::clone(&is_over));
        async move {
            let mut times = Times::default();
            while !is_over.load(Relaxed) {
                let post = PostedBy {
                    room: RoomName::lobby(),
                    client_id: ClientId::parse("talker").unwrap(),
                    text: "so many words".into(),
                    id: None,
                };
                let begun = clock::now();
                handle.post(post).await.unwrap().unwrap();
                times.0.push(clock::now() - begun);
                tokio::time::sleep(PAUSE).await;
            }
            times
        }
    });
    work.await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    is_over.store(true, Relaxed);
    talk.await.unwrap()
}

async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// (a) Rooms of which nothing is kept any more end together.
fn rooms_that_end_together() {
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

/// The same machine and disk with nothing else to do, for comparison.
fn quiet() {
    let folder = filled(1, 10, 1, false);
    System::new().block_on(async {
        let chat = Chat::start(settings(folder.path(), None), Duration::from_mins(5));
        let times = while_somebody_talks(&chat, tokio::time::sleep(Duration::from_secs(3)));
        times.await.tell("(-) nothing else to do: message to acknowledgement");
        chat.end().await;
    });
}

/// (d) A large room is dropped, or has too many messages.
fn large_rooms() {
    let measures = [
        ("an operator drops a room with 200,000 messages", 200_000, 1, false),
        ("an operator drops a room with 262,144 ids of messages that were dropped", 262_154, 262_145, true),
    ];
    for (what, seq, oldest, dropped_ids) in measures {
        let folder = filled(1, seq, oldest, dropped_ids);
        System::new().block_on(async {
            let chat = Chat::start(settings(folder.path(), None), Duration::from_mins(5));
            let begun = clock::now();
            let times = while_somebody_talks(&chat, async {
                tokio::time::sleep(Duration::from_millis(500)).await;
                let room = RoomKey::Room(RoomName::parse("room-1").unwrap());
                chat.handle.drop_room(room).await.unwrap().unwrap();
                let database = Connection::open(folder.path().join("starling.db")).unwrap();
                let is_there = "SELECT EXISTS (SELECT 1 FROM rooms WHERE id = 1)";
                until(|| !database.query_row(is_there, [], |row| row.get::<_, bool>(0)).unwrap()).await;
            });
            times.await.tell(&format!("(d) {what}: message to acknowledgement"));
            println!("    all dropped within {:.1?}", clock::now() - begun);
            chat.end().await;
        });
    }
    let folder = filled(1, 500_000, 1, false);
    System::new().block_on(async {
        let chat = Chat::start(settings(folder.path(), Some(1_000)), Duration::from_mins(5));
        let begun = clock::now();
        let times = while_somebody_talks(&chat, until(|| chat.metrics.history().dropped.load(Relaxed) >= 499_000));
        times.await.tell("(d) retention drops 499,000 messages of a room: message to acknowledgement");
        println!("    all dropped within {:.1?}", clock::now() - begun);
        chat.end().await;
    });
}

/// (e) A start with much that is stored. Not under the rule: nobody is connected.
fn start() {
    let folder = filled(100_000, 10, 1, false);
    System::new().block_on(async {
        let begun = clock::now();
        let chat = Chat::start(settings(folder.path(), None), Duration::from_mins(5));
        assert!(chat.handle.answers().await);
        let took = clock::now() - begun;
        println!("(e) a start with 1,000,000 messages in 100,000 rooms, until the chat answers: {took:.2?}");
        chat.end().await;
    });
}

// ---- the rules alone

fn session() -> SessionId {
    SessionId::new(HubId(0), 0, 1)
}

fn open(state: &mut ChatState, now: Now) {
    let open = OpenSession {
        session: session(),
        identity: Identity::Open,
        client_id: None,
        key: None,
        room: RoomName::lobby(),
        fresh_key: ClientKey(clock::secret()),
        watch_presence: false,
    };
    state.apply(Command::OpenSession(open), now, &mut Vec::new());
}

fn ask(state: &mut ChatState, id: Option<u64>, request: Request, now: Now) -> Vec<Effect> {
    let (id, ticket) = (id.map(|id| MessageId::parse(&id.to_string()).unwrap()), Ticket::without_credit(now.at));
    let mut effects = Vec::new();
    state.apply(Command::Ask { session: session(), id, request, ticket }, now, &mut effects);
    effects
}

fn publish() -> Request {
    Request::Publish { text: "so many words".into(), target: Target::FirstRoom, client_id: None }
}

/// (b) A memory of `id`s that is full.
fn remembered_ids() {
    for count in [262_144, 1_000_000] {
        let config = ChatConfig { ids_max: count, ..ChatConfig::default() };
        let (mut state, mut now) = (ChatState::new(config, 1), Now::read());
        open(&mut state, now);
        let room = state.find_room("lobby").unwrap();
        let (mut next, mut seq) = (0, Seq(0));
        let count = u64::from(count);
        let mut fill = |state: &mut ChatState, now: Now, times: &mut Times, upto: u64| {
            while next < upto {
                times.measure(|| {
                    ask(state, Some(next), publish(), now);
                    seq = seq.next();
                    let stored = Completion::Stored { room, seq, oldest: Seq(1) };
                    state.apply(Command::Completed(stored), now, &mut Vec::new());
                });
                next += 1;
            }
            seq
        };
        let mut times = Times::default();
        let seq = fill(&mut state, now, &mut times, count);
        times.tell(&format!("(b) message with an id, up to {count} remembered"));
        let mut times = Times::default();
        // The oldest have made space.
        for id in count / 4..count {
            times.measure(|| ask(&mut state, Some(id), publish(), now));
        }
        times.tell(&format!("(b) id that comes again, {count} remembered"));
        // One place below the bound, so that it is the refusal that is measured.
        let mut times = Times::default();
        now = now.after(Duration::from_mins(1));
        for id in 0..1_200_000 {
            times.measure(|| {
                ask(&mut state, Some(10_000_000 + id), publish(), now);
                let failed = Completion::Failed { room, seq: seq.next() };
                state.apply(Command::Completed(failed), now, &mut Vec::new());
            });
        }
        times.tell(&format!("(b) message that the storage refuses, {count} remembered"));
        let mut times = Times::default();
        fill(&mut state, now, &mut times, count + 200_000);
        times.tell(&format!("(b) message with an id, the bound of {count} reached"));
        let mut times = Times::default();
        now = now.after(Duration::from_mins(10));
        for _ in 0..1_000 {
            times.measure(|| state.apply(Command::Tick, now, &mut Vec::new()));
        }
        times.tell(&format!("(b) tick when {count} expire together"));
    }
}

fn stored_room(number: u64, seq: u64) -> StoredRoom {
    StoredRoom {
        key: RoomKey::Room(RoomName::parse(&format!("room-{number}")).unwrap()),
        epoch: Epoch(number),
        seq: Seq(seq),
        oldest: Seq(1),
        delivered: Seq(0),
        unclaimed: None,
    }
}

/// (c) Many rooms that nobody is in.
fn rooms() {
    for count in [100_000, 1_000_000] {
        let config = ChatConfig {
            rooms: count + 1,
            rooms_per_session: u32::MAX,
            history_is_stored: true,
            ..ChatConfig::default()
        };
        let (mut state, mut now) = (ChatState::new(config, 1), Now::read());
        let rooms = (0..u64::from(count)).map(|number| stored_room(number, 1 + number % 32)).collect();
        state.restore(Restored { rooms, ids: Vec::new() }, now);
        open(&mut state, now);
        now = now.after(Duration::from_hours(1));
        let mut times = Times::default();
        for _ in 0..1_000 {
            now = now.after(Duration::from_millis(250));
            times.measure(|| state.apply(Command::Tick, now, &mut Vec::new()));
        }
        times.tell(&format!("(c) tick, {count} rooms"));
        let mut times = Times::default();
        for _ in 0..100 {
            now = now.after(Duration::from_millis(250));
            times.measure(|| state.list_rooms(&RoomGlobs::ALL, now));
        }
        times.tell(&format!("(c) list of rooms, {count} rooms"));
        let mut times = Times::default();
        for number in 0..2_000 {
            now = now.after(Duration::from_millis(10));
            let room = RoomName::parse(&format!("new-{number}")).unwrap();
            times.measure(|| ask(&mut state, None, Request::Join { room, resume: None, presence: false }, now));
        }
        times.tell(&format!("(c) join of a new room, {count} rooms and no place free"));
    }
    let config = ChatConfig { rooms: 2_000_000, rooms_per_session: u32::MAX, ..ChatConfig::default() };
    let (mut state, now) = (ChatState::new(config, 1), Now::read());
    open(&mut state, now);
    let mut times = Times::default();
    for number in 0..1_000_000 {
        let room = RoomName::parse(&format!("new-{number}")).unwrap();
        times.measure(|| {
            ask(&mut state, None, Request::Join { room: room.clone(), resume: None, presence: false }, now);
            ask(&mut state, None, Request::Leave { room }, now);
        });
    }
    times.tell("(c) join of a new room and leaving it, up to 1,000,000 rooms");
    let mut times = Times::default();
    let now = now.after(Duration::from_mins(6));
    for _ in 0..2_000 {
        times.measure(|| state.apply(Command::Tick, now, &mut Vec::new()));
    }
    times.tell("(c) tick when 1,000,000 rooms end together");
}
