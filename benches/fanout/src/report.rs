//! The figures of a run.

#![expect(clippy::struct_field_names, reason = "they are the names of the figures in the report")]

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::clock::SECOND;
use crate::options::Options;
use crate::process::Usage;
use crate::tally::Counts;

/// Latencies up to a minute, in nanoseconds, to three digits.
const LONGEST: u64 = 60 * SECOND;

/// What a run has counted.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) connecting: usize,
    pub(crate) ready: usize,
    pub(crate) failed: usize,
    /// Connections that resumed a TLS session.
    pub(crate) resumed: usize,
    /// Connections that ended after they were ready.
    pub(crate) disconnects: u64,
    pub(crate) connect_seconds: f64,
    /// The measured seconds.
    pub(crate) seconds: f64,
    /// Deliveries that the sent messages should have.
    pub(crate) expected: u64,
    pub(crate) sent: u64,
    pub(crate) sent_in_window: u64,
    /// Frames that a socket did not take at once.
    pub(crate) sends_queued: u64,
    pub(crate) protocol_errors: u64,
    /// Nanoseconds in which there were events to handle.
    pub(crate) busy: u64,
    /// From the begin of a connection until it was ready.
    pub(crate) handshake: Histogram<u64>,
    /// From the moment at which a message was due to its delivery.
    pub(crate) latency: Histogram<u64>,
    /// From the moment at which a message was due to its sending.
    pub(crate) lateness: Histogram<u64>,
    pub(crate) usage_before: Usage,
    pub(crate) usage_connected: Usage,
    pub(crate) usage_idle: Usage,
    pub(crate) usage_after: Usage,
    /// The reason of the first connection that was lost.
    pub(crate) note: String,
}

impl Run {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let histogram = || Histogram::new_with_max(LONGEST, 3);
        Ok(Self {
            connecting: 0,
            ready: 0,
            failed: 0,
            resumed: 0,
            disconnects: 0,
            connect_seconds: 0.0,
            seconds: 0.0,
            expected: 0,
            sent: 0,
            sent_in_window: 0,
            sends_queued: 0,
            protocol_errors: 0,
            busy: 0,
            handshake: histogram()?,
            latency: histogram()?,
            lateness: histogram()?,
            usage_before: Usage::default(),
            usage_connected: Usage::default(),
            usage_idle: Usage::default(),
            usage_after: Usage::default(),
            note: String::new(),
        })
    }
}

/// The counts at the begin or at the end of the measured time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) at: u64,
    pub(crate) received: u64,
    pub(crate) busy: u64,
    pub(crate) server: Usage,
    pub(crate) own: Usage,
}

#[derive(Debug, Serialize)]
struct Connect {
    ready: usize,
    failed: usize,
    resumed: usize,
    seconds: f64,
    per_s: f64,
    server_cpu_us_per_connect: f64,
    handshake: Quantiles,
}

#[derive(Debug, Serialize)]
struct Sent {
    sent: u64,
    sent_in_window: u64,
    sends_queued: u64,
    lateness: Quantiles,
}

#[derive(Debug, Serialize)]
struct Deliveries {
    expected: u64,
    lost: u64,
    #[serde(flatten)]
    counts: Counts,
    protocol_errors: u64,
    disconnects: u64,
    note: String,
}

#[derive(Debug, Serialize)]
struct Window {
    seconds: f64,
    received: u64,
    deliveries_per_s: f64,
}

#[derive(Debug, Serialize)]
struct Server {
    cpu_user_s: f64,
    cpu_sys_s: f64,
    cpu_us_per_delivery: f64,
    rss_before: u64,
    rss_idle: u64,
    rss_after_run: u64,
    hwm: u64,
    bytes_per_idle_connection: f64,
}

#[derive(Debug, Serialize)]
struct Client {
    cpu_s: f64,
    cpu_us_per_delivery: f64,
    busy_percent: f64,
}

#[derive(Debug, Serialize)]
struct Quantiles {
    count: u64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
}

impl Quantiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
        let max_ms = histogram.max() as f64 / 1e6;
        Self { count: histogram.len(), p50_ms: at(0.5), p90_ms: at(0.9), p99_ms: at(0.99), p999_ms: at(0.999), max_ms }
    }
}

/// The report, as a table for people and as JSON for programs.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    connect: Connect,
    load: Option<Sent>,
    deliveries: Deliveries,
    window: Window,
    latency: Quantiles,
    server: Server,
    client: Client,
}

impl Report {
    pub(crate) fn new(options: &Options, run: &Run, counts: &Counts, (begin, end): (Moment, Moment)) -> Self {
        let received = end.received - begin.received;
        let per_delivery = |cpu_s: f64| if received == 0 { 0.0 } else { cpu_s * 1e6 / received as f64 };
        let (user, system) =
            (end.server.cpu_user_s - begin.server.cpu_user_s, end.server.cpu_sys_s - begin.server.cpu_sys_s);
        let own = end.own.cpu_s() - begin.own.cpu_s();
        let ready = run.ready as f64;
        Self {
            connect: Connect {
                ready: run.ready,
                failed: run.failed,
                resumed: run.resumed,
                seconds: run.connect_seconds,
                per_s: ready / run.connect_seconds,
                server_cpu_us_per_connect: (run.usage_connected.cpu_s() - run.usage_before.cpu_s()) * 1e6 / ready,
                handshake: Quantiles::of(&run.handshake),
            },
            load: options.sends().then(|| Sent {
                sent: run.sent,
                sent_in_window: run.sent_in_window,
                sends_queued: run.sends_queued,
                lateness: Quantiles::of(&run.lateness),
            }),
            deliveries: Deliveries {
                expected: run.expected,
                lost: run.expected.saturating_sub(counts.received),
                counts: *counts,
                protocol_errors: run.protocol_errors,
                disconnects: run.disconnects,
                note: run.note.clone(),
            },
            window: Window { seconds: run.seconds, received, deliveries_per_s: received as f64 / run.seconds },
            latency: Quantiles::of(&run.latency),
            server: Server {
                cpu_user_s: user,
                cpu_sys_s: system,
                cpu_us_per_delivery: per_delivery(user + system),
                rss_before: run.usage_before.rss,
                rss_idle: run.usage_idle.rss,
                rss_after_run: run.usage_after.rss,
                hwm: run.usage_after.hwm,
                bytes_per_idle_connection: (run.usage_idle.rss as f64 - run.usage_before.rss as f64) / ready,
            },
            client: Client {
                cpu_s: own,
                cpu_us_per_delivery: per_delivery(own),
                busy_percent: (end.busy - begin.busy) as f64 / (end.at - begin.at) as f64 * 100.0,
            },
        }
    }

    /// Whether all messages arrived once, in order, where they should, and every connection stayed.
    pub(crate) fn is_clean(&self) -> bool {
        let Deliveries { lost, counts, protocol_errors, disconnects, .. } = &self.deliveries;
        let faults =
            lost + counts.duplicates + counts.order_violations + counts.misrouted + protocol_errors + disconnects;
        faults == 0 && self.connect.failed == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connect, load, deliveries, window, latency, server, client } = self;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        writeln!(
            f,
            "connect     {} ready, {} failed, {} resumed, {:.0}/s; server {:.1} µs each, {:.0} bytes each",
            connect.ready,
            connect.failed,
            connect.resumed,
            connect.per_s,
            connect.server_cpu_us_per_connect,
            server.bytes_per_idle_connection
        )?;
        if let Some(load) = load {
            let Counts { received, duplicates, order_violations, misrouted, .. } = deliveries.counts;
            writeln!(
                f,
                "deliveries  {received} of {}; lost {}, twice {duplicates}, out of order {order_violations}, misrouted \
                 {misrouted}, disconnects {}",
                deliveries.expected, deliveries.lost, deliveries.disconnects
            )?;
            writeln!(f, "throughput  {:.0} deliveries/s in {:.1} s", window.deliveries_per_s, window.seconds)?;
            writeln!(
                f,
                "latency     p50 {:.3} ms, p90 {:.3}, p99 {:.3}, p99.9 {:.3}, highest {:.3}; sent late p99 {:.3}",
                latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p999_ms, latency.max_ms, load.lateness.p99_ms
            )?;
        }
        writeln!(
            f,
            "server      CPU {:.2} s user, {:.2} s system, {:.3} µs/delivery; memory {:.1} MiB before, {:.1} idle, {:.1} after, \
             {:.1} at most",
            server.cpu_user_s,
            server.cpu_sys_s,
            server.cpu_us_per_delivery,
            mib(server.rss_before),
            mib(server.rss_idle),
            mib(server.rss_after_run),
            mib(server.hwm)
        )?;
        write!(
            f,
            "generator   CPU {:.2} s, busy {:.1} %, {:.3} µs/delivery",
            client.cpu_s, client.busy_percent, client.cpu_us_per_delivery
        )?;
        if deliveries.note.is_empty() { Ok(()) } else { write!(f, "\nfirst loss  {}", deliveries.note) }
    }
}
