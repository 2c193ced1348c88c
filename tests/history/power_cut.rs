//! Simulates a machine that loses its power: any part of the data that was not synced may be lost.
//!
//! A server runs under strace, which records its file operations. For moments of the recording, the test builds the
//! files as a disk may have them after a power failure, and starts the server with them. `POWER_CUTS` sets the number
//! of moments, `POWER_CUT_SEED` the random seed.

mod disk;
mod trace;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fastrand::Rng;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};
use test_kit::{Client, LOOK, within};

use self::disk::Disk;
use self::trace::{Action, Call};
use super::crash::{JWT, from_environment, token};
use super::harness::{run, starling};

/// The number of messages between two checkpoints, and the number of such rounds.
const ROUND_MESSAGES: usize = 20;
const ROUNDS: usize = 3;

/// The targets of the messages. Each target is a series, numbered from 1. A private message is in two inboxes.
const SERIES: [(&str, &[&str]); 3] = [("lobby", &["lobby"]), ("dev", &["dev"]), ("bob", &["@alice", "@bob"])];

/// The durability of a server, and how it ends.
#[derive(Clone, Copy)]
struct Run {
    sync: &'static str,
    is_killed: bool,
}

/// A recorded run.
struct Recorded {
    sync: &'static str,
    /// The number of the run's first event.
    from: usize,
    /// The epochs of rooms and inboxes.
    epochs: HashMap<&'static str, Value>,
}

/// The recorded events of successive server runs in one folder.
struct Recording {
    folder: PathBuf,
    _parent: TempDir,
    tokens: [String; 2],
    runs: Vec<Recorded>,
    calls: Vec<Call>,
}

/// The part of a series that clients had received at a moment.
#[derive(Debug, Default, Clone, Copy)]
struct Told {
    /// The number of messages.
    count: usize,
    /// The number of the last message that was received in a run with `full`.
    durable: usize,
    /// The run in which the last message was received.
    run: usize,
}

fn variables(sync: &str) -> Vec<(&str, &str)> {
    [&JWT[..], &[("CHAT_HISTORY_SYNC", sync)]].concat()
}

fn database(folder: &Path) -> PathBuf {
    folder.join("data/starling.db")
}

fn written_at(folder: &Path) -> SystemTime {
    fs::metadata(database(folder)).unwrap().modified().unwrap()
}

impl Recording {
    async fn make(runs: &[Run], rng: &mut Rng) -> Self {
        let parent = tempdir().unwrap();
        let folder = parent.path().canonicalize().unwrap().join("server");
        fs::create_dir(&folder).unwrap();
        let tokens = ["alice", "bob"].map(token);
        let mut this = Self { folder, _parent: parent, tokens, runs: Vec::new(), calls: Vec::new() };
        let mut counts = [0; SERIES.len()];
        for run in runs {
            this.record(*run, &mut counts, rng).await;
        }
        this
    }

    async fn record(&mut self, run: Run, counts: &mut [usize; SERIES.len()], rng: &mut Rng) {
        let output = self.folder.with_extension(format!("trace-{}", self.runs.len()));
        let strace = trace::strace(output.to_str().unwrap());
        let server = starling().under(&strace).start(&self.folder, &variables(run.sync));
        let process = server.id();
        let (mut alice, alice_is) = Client::enter(&server, &format!("/ws?token={}", self.tokens[0])).await;
        let (_bob, bob_is) = Client::enter(&server, &format!("/ws?token={}", self.tokens[1])).await;
        alice.send_json(&json!({"type": "join", "room": "dev"})).await;
        let dev = alice.next_of("joined").await;
        let epochs = HashMap::from([
            ("lobby", alice_is["epoch"].clone()),
            ("dev", dev["epoch"].clone()),
            ("@alice", alice_is["inbox"]["epoch"].clone()),
            ("@bob", bob_is["inbox"]["epoch"].clone()),
        ]);
        for round in 0..ROUNDS {
            let before = written_at(&self.folder);
            let mut sent = 0;
            while sent < ROUND_MESSAGES {
                // Several messages of a burst may be in one commit.
                let burst = rng.usize(1..=4);
                for _ in 0..burst {
                    let series = rng.usize(..SERIES.len());
                    let place = SERIES[series].0;
                    counts[series] += 1;
                    let id = format!("{place}-{}", counts[series]);
                    let text = format!("{id} {}", "x".repeat(rng.usize(..2_000)));
                    let to = if place == "bob" { "to" } else { "room" };
                    alice.send_json(&json!({"Message": text, "id": id, to: place})).await;
                }
                for _ in 0..burst {
                    alice.next_of("ack").await;
                }
                sent += burst;
            }
            // Messages after the last checkpoint are only in the log.
            if round + 1 < ROUNDS {
                within("a checkpoint", async {
                    while written_at(&self.folder) == before {
                        tokio::time::sleep(LOOK).await;
                    }
                })
                .await;
            }
        }
        if run.is_killed {
            server.kill();
        } else {
            server.stop();
        }
        within("the trace is complete", async {
            while !trace::is_complete(&output, process) {
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
        let from = self.calls.last().map_or(0, |last| last.begun + 1);
        self.calls.extend(trace::read(&output, &self.folder, from));
        fs::remove_file(output).unwrap();
        self.runs.push(Recorded { sync: run.sync, from, epochs });
    }

    /// The run that contains an event.
    fn run_at(&self, event: usize) -> usize {
        self.runs.iter().rposition(|run| run.from <= event).unwrap()
    }

    /// The part of each series that clients had received before an event.
    fn told(&self, cut: usize) -> HashMap<&'static str, Told> {
        let mut told: HashMap<_, Told> = SERIES.iter().map(|(series, _)| (*series, Told::default())).collect();
        for call in self.calls.iter().filter(|call| call.begun < cut) {
            let Action::Tell(texts) = &call.action else { continue };
            let run = self.run_at(call.begun);
            for text in texts {
                let (series, rest) = text.split_once('-').unwrap();
                let number: usize = rest.split(' ').next().unwrap().parse().unwrap();
                let told = told.get_mut(series).unwrap();
                if number > told.count {
                    told.count = number;
                    told.run = run;
                }
                if self.runs[run].sync == "full" {
                    told.durable = told.durable.max(number);
                }
            }
        }
        told
    }

    /// A random moment: at any call, or only at a call that is not a write.
    fn moment(&self, rng: &mut Rng) -> usize {
        let is_any = rng.bool();
        let calls = self.calls.iter().filter(|call| is_any || !matches!(call.action, Action::Write(..)));
        let calls: Vec<_> = calls.collect();
        let call = calls[rng.usize(..calls.len())];
        if rng.bool() && call.ended != usize::MAX { call.ended + 1 } else { call.begun + 1 }
    }
}

/// Changes the boot id of the last start, as after a power failure. Leaves the rest of the log unchanged.
fn in_another_boot(folder: &Path) {
    let database = Connection::open(database(folder)).unwrap();
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    assert_eq!(database.execute("UPDATE last_start SET boot = 'another'", []).unwrap(), 1);
}

/// The `id`s of the stored messages by room and inbox. Checks that their seqs rise by one from 1.
fn stored(folder: &Path) -> BTreeMap<String, Vec<String>> {
    let exported = run(folder, &["history", "export"]);
    assert!(exported.status.success(), "{exported:?}");
    let mut stored: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in String::from_utf8(exported.stdout).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let room = stored.entry(line["room"].as_str().unwrap().to_owned()).or_default();
        assert_eq!(line["seq"], room.len() + 1, "no gap: {line}");
        room.push(line["id"].as_str().unwrap().to_owned());
    }
    stored
}

/// The result of a power cut, in numbers of rooms and inboxes from which clients had received messages.
#[derive(Debug, Default)]
struct Outcome {
    recovered: usize,
    renewed: usize,
    /// Messages that clients had received and that are lost.
    lost: usize,
}

/// Starts the server with the files that a power cut leaves, and compares its content with what clients had received.
async fn check(recording: &Recording, disk: &Disk<'_>, cut: usize, share: f64, rng: &mut Rng) -> Outcome {
    let folder = recording.folder.as_path();
    disk.restore(&disk.cut(cut, share, rng));
    let told = recording.told(cut);
    let at = recording.run_at(cut);
    let is_durable = recording.runs[..=at].iter().all(|run| run.sync == "full");
    // With `full` alone, another boot has no effect, so the files stay exactly as the power cut left them.
    if !is_durable && told.values().any(|told| told.count > 0) {
        in_another_boot(folder);
    }
    let server = starling().start(folder, &variables(recording.runs[at].sync));
    let checked = run(folder, &["history", "check"]);
    assert!(checked.status.success(), "{checked:?}");
    let stored = stored(folder);
    let mut outcome = Outcome::default();
    let (mut alice, _) = Client::enter(&server, &format!("/ws?token={}", recording.tokens[0])).await;
    let (mut bob, _) = Client::enter(&server, &format!("/ws?token={}", recording.tokens[1])).await;
    alice.send_json(&json!({"type": "join", "room": "dev"})).await;
    alice.next_of("joined").await;
    for (series, rooms) in SERIES {
        let Told { count, durable, run } = told[series];
        let kept = rooms.iter().map(|room| stored.get(*room).map_or(0, Vec::len)).collect::<Vec<_>>();
        for (room, kept) in rooms.iter().zip(&kept) {
            for (number, id) in (1..).zip(stored.get(*room).into_iter().flatten()) {
                assert_eq!(*id, format!("{series}-{number}"), "{room} keeps the first messages of its series");
            }
            assert!(*kept >= durable, "{room} has {kept}, and {durable} were acknowledged with full");
        }
        // New messages get the seqs of the lost ones.
        for seq in kept[0] + 1..=count.max(kept[0]) + 1 {
            let is_private = series == "bob";
            let to = if is_private { "to" } else { "room" };
            alice.send_json(&json!({"Message": "again", "id": format!("again-{series}-{seq}"), to: series})).await;
            let ack = alice.next_of("ack").await;
            assert!(is_private || ack["seq"] == seq, "{seq} is next: {ack}");
        }
        if count == 0 {
            continue;
        }
        for (room, kept) in rooms.iter().zip(kept) {
            let mut join = json!({"type": "join", "after": count, "epoch": recording.runs[run].epochs[room]});
            if room.starts_with('@') {
                join["inbox"] = true.into();
            } else {
                join["room"] = (*room).into();
            }
            let client = if *room == "@bob" { &mut bob } else { &mut alice };
            client.send_json(&join).await;
            let recovered = client.next_of("joined").await["recovered"].as_bool().unwrap();
            assert!(recovered || !is_durable, "with full, {room} resumes after {count}");
            assert!(!recovered || kept >= count, "{room} resumes after {count}, and has kept {kept}");
            outcome.recovered += usize::from(recovered);
            outcome.renewed += usize::from(!recovered);
            outcome.lost += count.saturating_sub(kept);
        }
    }
    server.kill();
    outcome
}

/// Records these runs, and simulates power cuts at many of their moments.
async fn cut_power(runs: &[Run]) -> Outcome {
    let seed = from_environment("POWER_CUT_SEED", fastrand::u64(..));
    println!("POWER_CUT_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let recording = Recording::make(runs, &mut rng).await;
    let end = recording.calls.iter().map(|call| call.begun + 1).max().unwrap();
    for (series, told) in recording.told(end) {
        assert!(told.count > 0 && told.run + 1 == runs.len(), "the trace lacks messages of {series}: {told:?}");
    }
    let disk = Disk::new(&recording.calls, &recording.folder);
    let mut sum = Outcome::default();
    for _ in 0..from_environment("POWER_CUTS", 8) {
        let cut = recording.moment(&mut rng);
        let share = [0.0, 0.1, 0.5, 0.9, 1.0][rng.usize(..5)];
        println!("cut before event {cut} of {end}; keeping a share of {share} of the unsynced data");
        let Outcome { recovered, renewed, lost } = check(&recording, &disk, cut, share, &mut rng).await;
        println!("  {recovered} rooms and inboxes recovered, {renewed} with new epochs, {lost} messages lost");
        sum.recovered += recovered;
        sum.renewed += renewed;
        sum.lost += lost;
    }
    println!("{sum:?}");
    sum
}

const fn stopped(sync: &'static str) -> Run {
    Run { sync, is_killed: false }
}

const fn killed(sync: &'static str) -> Run {
    Run { sync, is_killed: true }
}

#[actix_web::test]
async fn after_a_power_cut_full_has_everything_that_was_acknowledged() {
    let outcome = cut_power(&[stopped("full"), killed("full")]).await;
    assert!(outcome.recovered > 0 && outcome.renewed == 0 && outcome.lost == 0, "{outcome:?}");
}

#[actix_web::test]
async fn after_a_power_cut_normal_begins_new_epochs_where_it_lacks_what_was_acknowledged() {
    cut_power(&[stopped("normal"), killed("normal")]).await;
}

#[actix_web::test]
async fn after_a_power_cut_full_has_what_a_killed_server_with_normal_acknowledged_or_new_epochs() {
    cut_power(&[killed("normal"), killed("full")]).await;
}

#[actix_web::test]
async fn after_a_power_cut_normal_has_what_was_acknowledged_with_full() {
    cut_power(&[killed("full"), killed("normal")]).await;
}
