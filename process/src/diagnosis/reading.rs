//! The metrics of a server at one moment that the rules use.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus::proto::{MetricFamily, MetricType};

use crate::samples::samples;

/// The names of the metrics without labels.
const SINGLE: [&str; 36] = [
    "chat_cores",
    "chat_container_cpu_periods_total",
    "chat_container_cpu_throttled_periods_total",
    "chat_container_cpu_throttled_seconds_total",
    "chat_container_cpu_limit_cores",
    "chat_container_memory_bytes",
    "chat_container_memory_limit_bytes",
    "chat_connections",
    "chat_connection_places",
    "chat_connections_limit",
    "chat_connections_slow",
    "chat_connects_total",
    "chat_credit_wait_seconds_total",
    "chat_credits_in_use",
    "chat_credits_limit",
    "chat_deliveries_total",
    "chat_delivery_seconds_count",
    "chat_delivery_seconds_sum",
    "chat_failed_tls_handshakes_total",
    "chat_history_commit_seconds_count",
    "chat_history_commit_seconds_sum",
    "chat_history_memory_bytes",
    "chat_history_memory_limit_bytes",
    "chat_inboxes",
    "chat_inboxes_limit",
    "chat_memory_limit_bytes",
    "chat_nodes_lag_records",
    "chat_nodes_reachable",
    "chat_outbox_bytes",
    "chat_outbox_bytes_highest",
    "chat_outboxes_limit_bytes",
    "chat_outbox_limit_bytes",
    "chat_rooms",
    "chat_rooms_limit",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
];

/// The parts of the times of deliveries.
const PART: &str = "chat_delivery_part_seconds";

/// The metrics with labels, and the names of these labels.
const LABELLED: [(&str, &[&str]); 13] = [
    ("chat_messages_total", &["kind"]),
    ("chat_thread_cpu_seconds_total", &["role", "worker"]),
    ("chat_thread_run_queue_seconds_total", &["role", "worker"]),
    ("chat_pressure_seconds_total", &["of", "resource", "kind"]),
    ("chat_machine_cpu_seconds_total", &["state"]),
    ("chat_busiest_room_share", &["worker"]),
    ("chat_not_ready", &["reason"]),
    ("chat_limit_refusals_total", &["limit"]),
    ("chat_limit_set_elsewhere", &["limit"]),
    ("chat_rejected_commands_total", &["code"]),
    ("chat_refused_handshakes_total", &["code"]),
    ("chat_disconnects_total", &["reason"]),
    ("chat_broken_connections_total", &["reason"]),
];

/// A histogram of waits: the upper bound of each bucket, and the cumulative count.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Buckets(Vec<(f64, f64)>);

/// A stage of one thread.
#[derive(Debug, Clone, Default)]
pub(crate) struct StageReading {
    pub(crate) busy_seconds: f64,
    pub(crate) waits: Buckets,
    pub(crate) completions: f64,
    pub(crate) backlog: f64,
    pub(crate) backlog_peak: f64,
}

/// A part of the times of deliveries.
#[derive(Debug, Clone, Default)]
pub(crate) struct PartReading {
    pub(crate) times: Buckets,
    pub(crate) seconds: f64,
}

/// A server's metrics at one moment.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    pub(crate) at: Duration,
    /// By the name of the stage, and the number of the worker.
    pub(crate) stages: BTreeMap<(String, String), StageReading>,
    /// The times from reading a message's frame until the kernel has accepted it for a client.
    pub(crate) deliveries: Buckets,
    /// The parts of these times, by their names.
    pub(crate) parts: BTreeMap<String, PartReading>,
    values: BTreeMap<String, f64>,
}

impl Reading {
    /// Parses a page in Prometheus' text format. `at` is the time since any fixed moment. `None`: it has no stages.
    pub fn parse(page: &str, at: Duration) -> Option<Self> {
        let mut reading = Self { at, ..Self::default() };
        for sample in samples(page) {
            reading.take(&sample.name, &|label| sample.label(label), sample.value);
        }
        (!reading.stages.is_empty()).then_some(reading)
    }

    /// A reading of nothing but the reason for which the server is not ready.
    pub(super) fn not_ready(reason: &str, at: Duration) -> Self {
        let values = BTreeMap::from([(key("chat_not_ready", &[reason]), 1.0)]);
        Self { at, values, ..Self::default() }
    }

    /// Reads the metrics that a registry or a collector has gathered.
    pub fn of(families: &[MetricFamily], at: Duration) -> Self {
        let mut reading = Self { at, ..Self::default() };
        for family in families {
            for metric in family.get_metric() {
                let label = |name: &str| {
                    let pair = metric.get_label().iter().find(|pair| pair.name() == name);
                    pair.map_or("", |pair| pair.value())
                };
                if family.get_field_type() == MetricType::HISTOGRAM {
                    reading.take_histogram(family.name(), &label, metric.get_histogram());
                } else if family.get_field_type() == MetricType::COUNTER {
                    reading.take(family.name(), &label, metric.get_counter().get_value());
                } else {
                    reading.take(family.name(), &label, metric.get_gauge().get_value());
                }
            }
        }
        reading
    }

    fn take_histogram<'a>(
        &mut self,
        name: &str,
        label: &dyn Fn(&str) -> &'a str,
        histogram: &prometheus::proto::Histogram,
    ) {
        self.take(&format!("{name}_count"), label, histogram.get_sample_count() as f64);
        self.take(&format!("{name}_sum"), label, histogram.get_sample_sum());
        if name == "chat_stage_wait_seconds" {
            self.stage(label).waits = Buckets::of(histogram);
        } else if name == "chat_delivery_seconds" {
            self.deliveries = Buckets::of(histogram);
        } else if name == PART {
            self.part(label).times = Buckets::of(histogram);
        }
    }

    fn stage<'a>(&mut self, label: &dyn Fn(&str) -> &'a str) -> &mut StageReading {
        self.stages.entry((label("stage").to_owned(), label("worker").to_owned())).or_default()
    }

    fn part<'a>(&mut self, label: &dyn Fn(&str) -> &'a str) -> &mut PartReading {
        self.parts.entry(label("part").to_owned()).or_default()
    }

    fn take<'a>(&mut self, name: &str, label: &dyn Fn(&str) -> &'a str, value: f64) {
        let of_stage: Option<fn(&mut StageReading) -> &mut f64> = match name {
            "chat_stage_busy_seconds_total" => Some(|stage| &mut stage.busy_seconds),
            "chat_stage_completions_total" => Some(|stage| &mut stage.completions),
            "chat_stage_backlog" => Some(|stage| &mut stage.backlog),
            "chat_stage_backlog_peak" => Some(|stage| &mut stage.backlog_peak),
            _ => None,
        };
        if let Some(field) = of_stage {
            *field(self.stage(label)) = value;
        } else if name == "chat_stage_wait_seconds_bucket" {
            if let Ok(bound) = label("le").parse() {
                self.stage(label).waits.push(bound, value);
            }
        } else if name == "chat_delivery_seconds_bucket" {
            if let Ok(bound) = label("le").parse() {
                self.deliveries.push(bound, value);
            }
        } else if let Some(kind) = name.strip_prefix(PART) {
            if kind == "_sum" {
                self.part(label).seconds = value;
            } else if let Ok(bound) = label("le").parse() {
                self.part(label).times.push(bound, value);
            }
        } else if SINGLE.contains(&name) {
            self.values.insert(name.to_owned(), value);
        } else if let Some((_, labels)) = LABELLED.iter().find(|(known, _)| *known == name) {
            let values: Vec<&str> = labels.iter().map(|name| label(name)).collect();
            self.values.insert(key(name, &values), value);
        }
    }

    /// The value of a metric with these values of its labels.
    pub(crate) fn get(&self, name: &str, labels: &[&str]) -> Option<f64> {
        if labels.is_empty() { self.values.get(name).copied() } else { self.values.get(&key(name, labels)).copied() }
    }
}

fn key(name: &str, labels: &[&str]) -> String {
    format!("{name} {}", labels.join(" "))
}

impl Buckets {
    fn of(histogram: &prometheus::proto::Histogram) -> Self {
        let buckets = histogram.get_bucket().iter();
        let buckets = buckets.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count() as f64));
        Self(buckets.chain([(f64::INFINITY, histogram.get_sample_count() as f64)]).collect())
    }

    /// The number of values in all buckets.
    pub(crate) fn count(&self) -> f64 {
        self.0.last().map_or(0.0, |(_, count)| *count)
    }

    /// Adds a bucket.
    pub fn push(&mut self, bound: f64, cumulative: f64) {
        let place = self.0.partition_point(|(other, _)| *other < bound);
        self.0.insert(place, (bound, cumulative));
    }

    /// Adds the growth of a histogram between two readings. A server that was restarted counts from zero again.
    pub fn add_growth(&mut self, now: &Self, before: &Self) {
        let restarted = now.0.last().map(|last| last.1) < before.0.last().map(|last| last.1);
        for (place, (bound, count)) in now.0.iter().enumerate() {
            let earlier = before.0.get(place).filter(|_| !restarted).map_or(0.0, |(_, count)| *count);
            match self.0.get_mut(place) {
                Some((_, sum)) => *sum += count - earlier,
                None => self.0.push((*bound, count - earlier)),
            }
        }
    }

    /// The value that this share does not exceed, interpolated within a bucket, as Prometheus does. `None`: it is
    /// empty.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let all = self.0.last()?.1;
        if all <= 0.0 {
            return None;
        }
        let rank = share * all;
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, count) in &self.0 {
            if *count >= rank {
                // Beyond the last bound, the value is unknown.
                let within = if *count > below { (rank - below) / (count - below) } else { 1.0 };
                return Some(if bound.is_finite() { lower + (bound - lower) * within } else { lower });
            }
            (lower, below) = (*bound, *count);
        }
        Some(lower)
    }
}

impl Reading {
    /// The values of a metric with labels, each with the values of the labels.
    pub(super) fn by_label<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        let values = self.values.iter();
        values.filter_map(move |(key, value)| Some((key.strip_prefix(name)?.strip_prefix(' ')?, *value)))
    }

    /// The sum of a metric over all values of its labels.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.by_label(name).map(|(_, value)| value).sum()
    }

    /// The roles and numbers of the threads whose CPU time is known.
    pub(super) fn threads(&self) -> impl Iterator<Item = (&str, &str)> {
        let times = self.values.keys().filter_map(|key| key.strip_prefix("chat_thread_cpu_seconds_total "));
        times.filter_map(|labels| labels.split_once(' '))
    }
}

/// The growth of a counter. A server that was restarted counts from zero again.
pub(crate) fn grown(before: f64, now: f64) -> f64 {
    if now >= before { now - before } else { now }
}
