//! How many records a node writes through NATS and reads back, and what its thread costs for each.
//!
//! `cargo bench --bench nodes_log` measures records of 64 bytes and of 64 KiB, with the sync that NATS has by default and with
//! `sync_interval: always`, and one at a time. `RECORDS` (100,000) is the number of small ones.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measure ends with what is wrong"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use procfs::process::Process;
use procfs::ticks_per_second;
use starling::nats::{NatsLog, NatsSettings};
use starling_actors::history::{Content, RoomKey};
use starling_actors::nodes::heard::Heard;
use starling_actors::nodes::log::Log;
use starling_actors::nodes::record::{Incarnation, LogEntry, LogPosition, LoggedMessage, Record};
use starling_actors::vitals::Vitals;
use starling_protocol::{ClientId, Epoch, RoomName, Seq};
use test_kit::nats::Nats;

#[expect(clippy::disallowed_methods, reason = "a measurement of real time")]
fn now() -> Instant {
    Instant::now()
}

/// A record of this size.
fn record(counter: u64, bytes: usize) -> Bytes {
    let message = |text: usize| LoggedMessage {
        first: None,
        last: (RoomKey::Room(RoomName::lobby()), Epoch(1)),
        to: None,
        session: None,
        client_id: ClientId::parse("alice").unwrap(),
        content: Content::message("x".repeat(text)),
        first_about: None,
        as_of: Seq(0),
        owner: None,
        id: None,
    };
    let written = |text| {
        let mut out = Vec::new();
        Record { incarnation: Incarnation(1), counter, entries: vec![LogEntry::Message(message(text))] }
            .write(&mut out);
        out
    };
    written(bytes.saturating_sub(written(0).len())).into()
}

/// The CPU time of the log's thread.
fn thread_time() -> Duration {
    let tasks = Process::myself().unwrap().tasks().unwrap();
    let stats = tasks.filter_map(|task| task.ok()?.stat().ok()).filter(|stat| stat.comm == "nats");
    let ticks: u64 = stats.map(|stat| stat.utime + stat.stime).sum();
    Duration::from_secs_f64(ticks as f64 / ticks_per_second() as f64)
}

struct Measured {
    log: NatsLog,
    heard: Receiver<Heard>,
}

impl Measured {
    async fn start(nats: &Nats) -> Self {
        let settings = NatsSettings {
            urls: vec![nats.url()],
            credentials: None,
            stream: "starling".into(),
            replicas: 1,
            node: "bench".into(),
            same: BTreeMap::new(),
            record_bytes_max: 256 * 1024,
            patience: Duration::from_secs(10),
        };
        let mut log = NatsLog::connect(&settings).await.unwrap();
        log.begin(Incarnation(1));
        let (tell, heard) = channel();
        let vitals = Vitals::default();
        log.connect(LogPosition(0), Arc::new(move |heard| tell.send(heard).unwrap_or_default()), &vitals);
        let measured = Self { log, heard };
        while !matches!(measured.heard.recv().unwrap(), Heard::Reachable(true)) {}
        measured
    }

    fn read_back(&mut self) {
        loop {
            match self.heard.recv().unwrap() {
                Heard::Record { id, .. } => return self.log.applied(id.position),
                Heard::Lost => panic!("records are lost"),
                Heard::Reachable(_) | Heard::Begins(_) | Heard::Alive { .. } | Heard::Typing(_) => {}
            }
        }
    }

    /// Writes records and reads them back, this many at a time.
    fn run(&mut self, what: &str, count: u64, bytes: usize, ahead: u64) {
        let records: Vec<Bytes> = (1..=count.min(1_000)).map(|counter| record(counter, bytes)).collect();
        let (began, cpu) = (now(), thread_time());
        let mut written = 0;
        for read in 0..count {
            while written < count && written - read < ahead {
                self.log.write(records[usize::try_from(written).unwrap() % records.len()].clone());
                written += 1;
            }
            self.read_back();
        }
        let (took, cpu) = (began.elapsed(), thread_time().saturating_sub(cpu));
        println!(
            "{what}: {count} records of {bytes} bytes, {ahead} ahead: {:.0} records/s, {:.3} ms each, thread {:.1} us each",
            count as f64 / took.as_secs_f64(),
            took.as_secs_f64() * 1e3 / count as f64,
            cpu.as_secs_f64() * 1e6 / count as f64,
        );
    }
}

fn main() {
    let count = std::env::var("RECORDS").ok().and_then(|value| value.parse().ok()).unwrap_or(100_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (what, settings) in [("default sync", "jetstream {}"), ("sync always", "jetstream { sync_interval: always }")] {
        let nats = runtime.block_on(Nats::with(settings));
        let mut measured = runtime.block_on(Measured::start(&nats));
        let slower = if what == "sync always" { 10 } else { 1 };
        measured.run(what, count / slower, 64, 4_000);
        measured.run(what, count / 20 / slower, 64 * 1024, 200);
        measured.run(what, count / 50 / slower, 64, 1);
    }
}
