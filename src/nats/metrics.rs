//! The metrics of the log of several nodes, which a server without other nodes does not export.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use starling_actors::clock::{self, Instant};
use starling_actors::histogram::Histogram;
use starling_actors::metrics::stage_families;
use starling_actors::nodes::log::NodeFigures;
use starling_actors::nodes::record::{Incarnation, Record};
use starling_actors::stage::Stage;
use starling_process::exposition::Family;

use super::progress::Progress;
use super::reach::LogReach;

/// The metrics of the log.
#[derive(Debug)]
pub(super) struct LogMetrics {
    stage: Arc<Stage>,
    own: Mutex<OwnRecords>,
    progress: Arc<Progress>,
    written: Counted,
    read: Counted,
    losses: AtomicU64,
    reconnects: AtomicU64,
    reach: LogReach,
    figures: Mutex<NodeFigures>,
    is_synced: AtomicBool,
    differing: AtomicU64,
    checkpoint_seconds: Histogram,
    checkpoint_bytes: Histogram,
    checkpoint_failures: AtomicU64,
    desc: Desc,
}

#[derive(Debug, Default)]
struct Counted {
    records: AtomicU64,
    bytes: AtomicU64,
}

impl Counted {
    fn count(&self, bytes: usize) {
        self.records.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }
}

/// The records of this life that were written and not read back, with the time at which each was packed.
#[derive(Debug, Default)]
struct OwnRecords {
    life: Option<Incarnation>,
    packed: VecDeque<(u64, Instant)>,
}

impl LogMetrics {
    #[expect(clippy::expect_used, reason = "the name is a constant and a valid one")]
    pub(super) fn new(progress: Arc<Progress>) -> Self {
        let desc = Desc::new("nodes".into(), "The log of several nodes.".into(), Vec::new(), HashMap::new())
            .expect("the description is valid");
        Self {
            stage: Arc::default(),
            own: Mutex::default(),
            reach: LogReach::new(Arc::clone(&progress)),
            progress,
            written: Counted::default(),
            read: Counted::default(),
            losses: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
            figures: Mutex::default(),
            is_synced: AtomicBool::new(false),
            differing: AtomicU64::new(0),
            checkpoint_seconds: Histogram::of_durations(),
            checkpoint_bytes: Histogram::of_sizes(),
            checkpoint_failures: AtomicU64::new(0),
            desc,
        }
    }

    /// The chat has packed a record. One that it writes again is in the stage already.
    pub(super) fn packed(&self, record: &[u8], at: Instant) {
        let Some((life, counter)) = Record::number(record) else { return };
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if own.life != Some(life) {
            self.stage.complete_n(own.packed.len() as u64);
            *own = OwnRecords { life: Some(life), packed: VecDeque::new() };
        }
        if own.packed.back().is_none_or(|(newest, _)| *newest < counter) {
            self.stage.arrive_n(1);
            own.packed.push_back((counter, at));
        }
    }

    /// A record was written, or tried again.
    pub(super) fn wrote(&self, bytes: usize, began: Instant) {
        self.written.count(bytes);
        self.stage.worked(clock::now().saturating_duration_since(began));
    }

    /// A record was read.
    pub(super) fn read(&self, record: &Record, bytes: usize, began: Instant) {
        self.read.count(bytes);
        let now = clock::now();
        self.stage.worked(now.saturating_duration_since(began));
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if own.life != Some(record.incarnation) {
            return;
        }
        while let Some((_, at)) = own.packed.pop_front_if(|(counter, _)| *counter <= record.counter) {
            self.stage.waited(now.saturating_duration_since(at), 1);
            self.stage.complete_n(1);
        }
    }

    pub(super) fn lost(&self) {
        self.losses.fetch_add(1, Relaxed);
    }

    pub(super) fn reconnected(&self) {
        self.reconnects.fetch_add(1, Relaxed);
    }

    pub(super) fn reach(&self) -> &LogReach {
        &self.reach
    }

    pub(super) fn show(&self, figures: NodeFigures) {
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = figures;
    }

    /// The newest figures of the chat on this node.
    pub(super) fn figures(&self) -> NodeFigures {
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_synced(&self, is_synced: bool) {
        self.is_synced.store(is_synced, Relaxed);
    }

    pub(super) fn set_differing(&self, settings: u64) {
        self.differing.store(settings, Relaxed);
    }

    pub(super) fn stored_checkpoint(&self, bytes: usize, began: Instant) {
        self.checkpoint_seconds.observe(clock::now().saturating_duration_since(began));
        self.checkpoint_bytes.observe_n(bytes as u64, 1);
    }

    pub(super) fn failed_checkpoint(&self) {
        self.checkpoint_failures.fetch_add(1, Relaxed);
    }

    fn families(&self) -> Vec<MetricFamily> {
        let value = |atomic: &AtomicU64| atomic.load(Relaxed) as f64;
        let flag = |is_so| f64::from(u8::from(is_so));
        let counters = [
            ("chat_nodes_records_written_total", "Records written to the log.", value(&self.written.records)),
            ("chat_nodes_written_bytes_total", "Bytes of records written to the log.", value(&self.written.bytes)),
            ("chat_nodes_records_read_total", "Records of all nodes read from the log.", value(&self.read.records)),
            ("chat_nodes_read_bytes_total", "Bytes of records read from the log.", value(&self.read.bytes)),
            ("chat_nodes_losses_total", "Times that records had to be written again.", value(&self.losses)),
            ("chat_nodes_reconnects_total", "Times that NATS was connected to again.", value(&self.reconnects)),
            (
                "chat_nodes_checkpoint_failures_total",
                "Checkpoints that could not be stored.",
                value(&self.checkpoint_failures),
            ),
        ];
        let gauges = [
            (
                "chat_nodes_lag_records",
                "Records of the log that this node has not applied.",
                self.progress.lag() as f64,
            ),
            (
                "chat_nodes_alive",
                "Nodes of the chat that have begun and were not declared dead.",
                self.figures().nodes_alive as f64,
            ),
            ("chat_nodes_reachable", "1 while the log can be written.", flag(self.reach.is_in_reach())),
            ("chat_nodes_synced", "1 if NATS syncs each record to disk.", flag(self.is_synced.load(Relaxed))),
            (
                "chat_nodes_settings_differing",
                "Settings that must be the same on all nodes, and are not.",
                value(&self.differing),
            ),
        ];
        let mut families = stage_families([("log", "-", &self.stage)]);
        families.extend(counters.map(|(name, help, value)| Family::single_counter(name, help, value)));
        families.extend(gauges.map(|(name, help, value)| Family::single_gauge(name, help, value)));
        families.push(Family::single_histogram(
            "chat_nodes_checkpoint_seconds",
            "How long it took to store a checkpoint.",
            self.checkpoint_seconds.to_proto(),
        ));
        families.push(Family::single_histogram(
            "chat_nodes_checkpoint_bytes",
            "Bytes of a checkpoint.",
            self.checkpoint_bytes.to_proto(),
        ));
        families
    }
}

/// Registers the metrics of the log.
#[derive(Debug, Clone)]
pub struct LogCollector(pub(super) Arc<LogMetrics>);

impl Collector for LogCollector {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.0.families()
    }
}
