//! Nodes without a chat: they write numbers into the log, and keep the numbers that they read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use starling::nats::{CannotConnect, NatsLog, NatsSettings};
use starling_actors::nodes::heard::Heard;
use starling_actors::nodes::log::Log;
use starling_actors::nodes::packer::Packer;
use starling_actors::nodes::record::{Incarnation, LogEntry, LogPosition, Record, RecordId};
use starling_actors::nodes::replica::{Admission, Replica};
use starling_actors::vitals::{Death, Vitals};
use starling_protocol::{ClientId, Epoch, Seq};
use test_kit::{LOOK, within};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Waits until the log has this many checkpoints.
pub(crate) async fn has_checkpoints(settings: &NatsSettings, count: usize) {
    within("the checkpoints are stored", async {
        while NatsLog::connect(settings).await.unwrap().state().checkpoints.len() < count {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
}

/// Settings for a server at this address.
pub(crate) fn settings(url: &str) -> NatsSettings {
    NatsSettings {
        urls: vec![url.to_owned()],
        credentials: None,
        stream: "starling".into(),
        replicas: 1,
        node: "test".into(),
        same: BTreeMap::new(),
        record_bytes_max: 256 * 1024,
        patience: Duration::from_secs(1),
    }
}

/// The log of a chat, and its events.
pub(crate) struct Ear {
    pub(crate) log: NatsLog,
    pub(crate) heard: UnboundedReceiver<Heard>,
    pub(crate) vitals: Vitals,
}

impl Ear {
    /// Reads the log after this record.
    pub(crate) async fn behind(settings: &NatsSettings, position: u64) -> Self {
        Self::of(NatsLog::connect(settings).await.unwrap(), position)
    }

    fn of(mut log: NatsLog, position: u64) -> Self {
        let (tell, heard) = unbounded_channel();
        let vitals = Vitals::default();
        log.connect(LogPosition(position), Arc::new(move |heard| tell.send(heard).unwrap_or_default()), &vitals);
        Self { log, heard, vitals }
    }

    /// The next event.
    pub(crate) async fn next(&mut self) -> Heard {
        let heard = within("something is heard", self.heard.recv()).await.expect("the log lives");
        if let Heard::Record { id, .. } = &heard {
            self.log.applied(id.position);
        }
        heard
    }

    /// Waits for an event. Returns it with all earlier events.
    pub(crate) async fn until(&mut self, is_it: impl Fn(&Heard) -> bool) -> Vec<Heard> {
        let mut all = Vec::new();
        loop {
            let heard = self.next().await;
            let found = is_it(&heard);
            all.push(heard);
            if found {
                return all;
            }
        }
    }

    /// Waits until the log is reachable, or is not.
    pub(crate) async fn reachable(&mut self, wanted: bool) {
        self.until(|heard| matches!(heard, Heard::Reachable(is) if *is == wanted)).await;
    }

    /// Waits until the log cannot be followed any more. Returns the line with the reason.
    pub(crate) async fn death(self) -> String {
        let death = within("the log's thread ends", self.vitals.death()).await;
        assert!(matches!(death, Death::Unfit(_)), "{death:?}");
        death.to_string()
    }
}

/// A node that writes numbers.
pub(crate) struct Node {
    pub(crate) ear: Ear,
    packer: Packer<()>,
    replica: Replica,
    number: u64,
    /// The numbers of each life, in the order of the log.
    pub(crate) read: BTreeMap<u64, Vec<u64>>,
    /// The records that count, in the order of the log.
    pub(crate) order: Vec<(u64, u64)>,
    position: u64,
    pub(crate) losses: usize,
    pub(crate) unreachable: usize,
}

impl Node {
    pub(crate) async fn start(settings: &NatsSettings, life: u64) -> Self {
        let mut log = NatsLog::connect(settings).await.unwrap();
        let life = Incarnation(life);
        log.begin(life);
        let ear = Ear::of(log, 0);
        Self {
            ear,
            packer: Packer::new(life, "test", Epoch(1)),
            replica: Replica::default(),
            number: 0,
            read: BTreeMap::new(),
            order: Vec::new(),
            position: 0,
            losses: 0,
            unreachable: 0,
        }
    }

    /// Writes the next numbers, as one record.
    pub(crate) fn write(&mut self, count: u64) {
        for _ in 0..count {
            self.number += 1;
            let owner = ClientId::parse("alice").unwrap();
            self.packer.push(LogEntry::Sent { owner, epoch: Epoch(1), seq: Seq(self.number) }, None);
        }
        self.packer.pack(|record| self.ear.log.write(record));
    }

    /// The records that are not read back.
    pub(crate) fn unread(&self) -> usize {
        self.packer.unread().count()
    }

    /// The last number that this node has read back.
    pub(crate) fn read_back(&self) -> u64 {
        self.read.get(&self.packer.incarnation().0).and_then(|read| read.last()).copied().unwrap_or(0)
    }

    /// Handles the next event like a node.
    pub(crate) async fn step(&mut self) {
        match self.ear.next().await {
            Heard::Record { id, record } => {
                assert_eq!(id.position.0, self.position + 1, "no gap and no repetition");
                self.position = id.position.0;
                if self.replica.read(id.position, id.at(), &record) != Admission::Counts {
                    return;
                }
                self.order.push((record.incarnation.0, record.counter));
                if record.incarnation == self.packer.incarnation() {
                    self.packer.came_back(record.counter);
                }
                let read = self.read.entry(record.incarnation.0).or_default();
                read.extend(
                    record
                        .entries
                        .iter()
                        .filter_map(|entry| if let LogEntry::Sent { seq, .. } = entry { Some(seq.0) } else { None }),
                );
            }
            Heard::Lost => {
                self.losses += 1;
                let again: Vec<Bytes> = self.packer.unread().cloned().collect();
                for record in again {
                    self.ear.log.write(record);
                }
            }
            Heard::Reachable(is_reachable) => self.unreachable += usize::from(!is_reachable),
            Heard::Begins(_) | Heard::Alive { .. } | Heard::Typing(_) => {}
        }
    }

    /// Writes up to this number, ten in a record and a few records ahead, and reads them back.
    pub(crate) async fn write_upto(&mut self, number: u64) {
        while self.read_back() < number {
            while self.number < number && self.unread() < 20 {
                self.write((number - self.number).min(10));
            }
            self.step().await;
        }
    }

    /// Reads until it has read all numbers of a life.
    pub(crate) async fn read_upto(&mut self, life: u64, number: u64) {
        while self.read.get(&life).and_then(|read| read.last()).copied() != Some(number) {
            self.step().await;
        }
    }
}

/// Records that a [`Scribe`] writes before it waits for the acknowledgements.
const IN_FLIGHT: usize = 1_000;

/// Writes into the log of running servers as another node would.
pub(crate) struct Scribe {
    stream: async_nats::jetstream::Context,
    life: u64,
    counter: u64,
}

impl Scribe {
    /// Begins a life. The others declare it out after their timeout.
    pub(crate) async fn begin(url: &str, life: u64) -> Self {
        let mut scribe = Self { stream: operator(url).await, life, counter: 0 };
        scribe.write(vec![LogEntry::Begin { node: "scribe".into(), lobby: Epoch(1) }]).await;
        scribe
    }

    /// Writes a record. Returns its position in the log.
    pub(crate) async fn write(&mut self, entries: Vec<LogEntry>) -> LogPosition {
        self.counter += 1;
        let mut bytes = Vec::new();
        Record { incarnation: Incarnation(self.life), counter: self.counter, entries }.write(&mut bytes);
        self.write_bytes(bytes).await
    }

    /// Writes any bytes.
    pub(crate) async fn write_bytes(&self, bytes: Vec<u8>) -> LogPosition {
        let written = self.stream.publish("starling.log", bytes.into()).await.unwrap();
        LogPosition(within("the log takes it", written.into_future()).await.unwrap().sequence)
    }

    /// Writes this many records that do not count.
    pub(crate) async fn write_void(&self, count: usize) {
        let mut bytes = Vec::new();
        Record { incarnation: Incarnation(u64::MAX), counter: 2, entries: Vec::new() }.write(&mut bytes);
        self.write_all(std::iter::repeat_n(Bytes::from(bytes), count)).await;
    }

    /// Writes a record for each of these entries.
    pub(crate) async fn write_each(&mut self, entries: impl Iterator<Item = LogEntry>) {
        let records: Vec<_> = entries
            .map(|entry| {
                self.counter += 1;
                let mut bytes = Vec::new();
                Record { incarnation: Incarnation(self.life), counter: self.counter, entries: vec![entry] }
                    .write(&mut bytes);
                Bytes::from(bytes)
            })
            .collect();
        self.write_all(records.into_iter()).await;
    }

    async fn write_all(&self, mut records: impl Iterator<Item = Bytes>) {
        loop {
            let mut written = Vec::with_capacity(IN_FLIGHT);
            for record in records.by_ref().take(IN_FLIGHT) {
                written.push(self.stream.publish("starling.log", record).await.unwrap().into_future());
            }
            if written.is_empty() {
                return;
            }
            for written in written {
                within("the log takes it", written).await.unwrap();
            }
        }
    }
}

/// The record at a position of the log.
pub(crate) async fn record(settings: &NatsSettings, position: u64) -> RecordId {
    NatsLog::connect(settings).await.unwrap().finder()(LogPosition(position)).unwrap().expect("the log has it")
}

/// The line with which a log is refused.
pub(crate) async fn refusal(settings: &NatsSettings) -> String {
    let refused: CannotConnect = NatsLog::connect(settings).await.unwrap_err();
    let line = refused.to_string();
    assert_eq!(line.lines().count(), 1, "one line: {line}");
    line
}

/// Connects to a server as its operator.
pub(crate) async fn operator(url: &str) -> async_nats::jetstream::Context {
    async_nats::jetstream::new(async_nats::connect(url).await.unwrap())
}
