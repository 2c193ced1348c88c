//! The exposition of the metrics: every metric's name, help and labels.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use starling_process::exposition::Family;
use starling_protocol::ErrorCode;

use super::{ActorKind, ChangeKind, DisconnectReason, Limit, MessageKind, Metrics, Part};
use crate::history::{HistoryMetrics, KeptBytes};
use crate::stage::Stage;

/// Registers the shared metrics with a `prometheus` registry.
#[derive(Debug, Clone)]
pub struct MetricsCollector(pub Arc<Metrics>);

impl Collector for MetricsCollector {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        [
            self.0.table_families(),
            self.0.chat_families(),
            self.0.traffic_families(),
            self.0.history.families(),
            self.0.mailbox_families(),
            stage_families(self.0.stages().iter().map(|(name, worker, stage)| (*name, worker.as_str(), *stage))),
        ]
        .concat()
    }
}

impl Metrics {
    pub(super) fn stages(&self) -> Vec<(&'static str, String, &Arc<Stage>)> {
        let mut stages = vec![
            ("chat_server", "-".to_owned(), &self.chat_server),
            ("history", "-".to_owned(), &self.history.writer),
            ("history_read", "-".to_owned(), &self.history.reader),
        ];
        for (index, worker) in self.workers.iter().enumerate() {
            let named = [
                ("http", &worker.http),
                ("session", &worker.session),
                ("hub", &worker.hub),
                ("socket_write", &worker.socket_write),
                ("worker_loop", &worker.worker_loop),
            ];
            stages.extend(named.map(|(name, stage)| (name, index.to_string(), stage)));
        }
        stages
    }

    fn mailbox_families(&self) -> Vec<MetricFamily> {
        let mut waiting = Family::gauge("chat_mailbox_messages", "Messages in the mailboxes of all actors of a kind.");
        let mut highest = Family::gauge(
            "chat_mailbox_messages_highest",
            "Highest number of messages in the mailbox of one actor of the kind in the last minute.",
        );
        for kind in ActorKind::ALL {
            let mailboxes = self.mailboxes(*kind);
            let labels = [("actor", kind.as_str())];
            waiting.add(&labels, mailboxes.waiting.load(Relaxed) as f64);
            highest.add(&labels, mailboxes.highest.get() as f64);
        }
        vec![waiting.finish(), highest.finish()]
    }

    fn table_families(&self) -> Vec<MetricFamily> {
        let gauge = |name, help, value: &AtomicI64| Family::single_gauge(name, help, value.load(Relaxed) as f64);
        vec![
            gauge("chat_connections", "Established connections.", &self.connections),
            gauge("chat_rooms", "Rooms, including empty ones that are still kept.", &self.rooms),
            gauge("chat_inboxes", "Clients with an inbox of private messages.", &self.inboxes),
            gauge(
                "chat_read_positions",
                "Read positions of clients in rooms and inboxes that are kept.",
                &self.read_positions,
            ),
            self.lost_positions(),
            Family::single_counter(
                "chat_dropped_for_space_total",
                "Rooms and inboxes that were dropped from a full table for new ones.",
                self.dropped_for_space.load(Relaxed) as f64,
            ),
            Family::single_gauge(
                "chat_connections_slow",
                "Connections with a frame that has waited for a second or longer.",
                self.workers.iter().map(|worker| worker.slow_connections.load(Relaxed)).sum::<u64>() as f64,
            ),
            self.busiest_rooms(),
            gauge("chat_sessions", "Sessions that the ChatServer knows.", &self.sessions),
            gauge("chat_sanctions", "Mutes and bans.", &self.sanctions),
            gauge("chat_set_rooms", "Rooms whose settings differ from the default.", &self.set_rooms),
            gauge("chat_invitations", "Invitations of clients to rooms.", &self.invitations),
            Family::single_gauge(
                "chat_credits_in_use",
                "Commands in flight, the bound of all mailboxes together.",
                self.credits.in_use() as f64,
            ),
            Family::single_counter(
                "chat_credit_wait_seconds_total",
                "Seconds that connections waited because all commands that may be in flight were, summed over them.",
                self.credits.waited().as_secs_f64(),
            ),
        ]
    }

    fn lost_positions(&self) -> MetricFamily {
        let mut lost = Family::counter("chat_read_positions_lost_total", "Read positions that were lost, by cause.");
        lost.add(&[("cause", "limit")], self.read_positions_lost.load(Relaxed) as f64);
        lost.add(&[("cause", "storage")], self.history.positions_lost.load(Relaxed) as f64);
        lost.finish()
    }

    fn delivery_parts(&self) -> MetricFamily {
        let mut parts =
            Family::histogram("chat_delivery_part_seconds", "The time of deliveries, in parts that add up to it.");
        for (part, seconds) in Part::ALL.iter().zip(&self.delivery_parts) {
            parts.add_histogram(&[("part", part.as_str())], seconds.to_proto());
        }
        parts.finish()
    }

    fn busiest_rooms(&self) -> MetricFamily {
        let mut share = Family::gauge(
            "chat_busiest_room_share",
            "The share of one room, the busiest, in the deliveries of a worker.",
        );
        for (index, worker) in self.workers.iter().enumerate() {
            let permille = worker.busiest_room_permille.load(Relaxed);
            share.add(&[("worker", &index.to_string())], permille as f64 / 1e3);
        }
        share.finish()
    }

    fn chat_families(&self) -> Vec<MetricFamily> {
        let mut disconnects = Family::counter("chat_disconnects_total", "Connections that ended, by reason.");
        for reason in DisconnectReason::ALL {
            disconnects.add(&[("reason", reason.as_str())], self.disconnects(*reason) as f64);
        }
        let mut messages = Family::counter("chat_messages_total", "Accepted messages of clients, by kind.");
        for kind in MessageKind::ALL {
            messages.add(&[("kind", kind.as_str())], self.messages.get(*kind as usize) as f64);
        }
        let mut changes = Family::counter("chat_changes_total", "Accepted changes of messages, by kind.");
        for kind in ChangeKind::ALL {
            changes.add(&[("kind", kind.as_str())], self.changes.get(*kind as usize) as f64);
        }
        let mut rejected = Family::counter("chat_rejected_commands_total", "Commands that were refused, by code.");
        for code in ErrorCode::ALL {
            rejected.add(&[("code", code.as_str())], self.rejected.get(*code as usize) as f64);
        }
        let help = "Connections, handshakes and commands that a limit refused, by its setting.";
        let mut refused_by = Family::counter("chat_limit_refusals_total", help);
        for limit in Limit::ALL {
            refused_by.add(&[("limit", limit.as_str())], self.refused_by.get(*limit as usize) as f64);
        }
        let counter = |name, help, value: u64| Family::single_counter(name, help, value as f64);
        vec![
            counter("chat_connects_total", "Accepted connections.", self.connects.load(Relaxed)),
            Family::single_histogram(
                "chat_welcome_seconds",
                "From the acceptance of a connection until its client is welcomed.",
                self.welcome_seconds.to_proto(),
            ),
            counter(
                "chat_limited_clients_total",
                "Connections that sent faster than they may, each counted at most once in ten seconds.",
                self.limited_clients.load(Relaxed),
            ),
            disconnects.finish(),
            messages.finish(),
            changes.finish(),
            counter("chat_deliveries_total", "Messages offered to clients, each client counted.", self.deliveries()),
            rejected.finish(),
            refused_by.finish(),
            counter(
                "chat_session_panics_total",
                "Sessions that ended because of a fault of the server.",
                self.session_panics.load(Relaxed),
            ),
        ]
    }

    fn traffic_families(&self) -> Vec<MetricFamily> {
        vec![
            Family::single_histogram("chat_message_bytes", "Text of a message.", self.message_bytes.to_proto()),
            Family::single_histogram(
                "chat_frame_received_bytes",
                "Payload of a frame from a client.",
                self.frame_received_bytes.to_proto(),
            ),
            Family::single_histogram(
                "chat_frame_sent_bytes",
                "A frame to a client, its header included.",
                self.frame_sent_bytes.to_proto(),
            ),
            Family::single_counter(
                "chat_compression_input_bytes_total",
                "Bytes of frames before compression, each frame counted once for all its receivers.",
                self.compression_input_bytes.load(Relaxed) as f64,
            ),
            Family::single_counter(
                "chat_compression_output_bytes_total",
                "Bytes of the same frames after compression.",
                self.compression_output_bytes.load(Relaxed) as f64,
            ),
            Family::single_counter(
                "chat_compression_busy_seconds_total",
                "Time spent compressing frames.",
                self.compression_nanos.load(Relaxed) as f64 / 1e9,
            ),
            Family::single_histogram(
                "chat_delivery_seconds",
                "From the reading of a message's frame until the kernel has taken it for a client.",
                self.delivery_seconds.to_proto(),
            ),
            self.delivery_parts(),
            Family::single_gauge("chat_outbox_bytes", "Bytes in all outboxes.", self.outbox_bytes.load(Relaxed) as f64),
            Family::single_gauge(
                "chat_outbox_frames",
                "Frames in all outboxes.",
                self.outbox_frames.load(Relaxed) as f64,
            ),
            Family::single_gauge(
                "chat_outbox_bytes_highest",
                "Highest number of bytes in one outbox in the last minute.",
                self.outbox_bytes_highest.get() as f64,
            ),
            Family::single_histogram(
                "chat_outbox_connection_bytes",
                "Bytes in a connection's outbox, every connection seen once a second.",
                self.outbox_distribution.to_proto(),
            ),
        ]
    }
}

/// The series that every stage has, for these stages with the number of the worker of each.
pub fn stage_families<'a>(stages: impl IntoIterator<Item = (&'a str, &'a str, &'a Arc<Stage>)>) -> Vec<MetricFamily> {
    let mut arrivals = Family::counter("chat_stage_arrivals_total", "Work that entered the stage's queue.");
    let mut completions = Family::counter("chat_stage_completions_total", "Work that the stage has done.");
    let mut backlog = Family::gauge("chat_stage_backlog", "Work in the stage's queue or being done.");
    let mut peak = Family::gauge("chat_stage_backlog_peak", "Highest backlog of the last minute.");
    let mut wait = Family::histogram("chat_stage_wait_seconds", "How long work waited in the stage's queue.");
    let mut busy =
        Family::counter("chat_stage_busy_seconds_total", "Time the stage spent working: its rate is the utilisation.");
    for (name, worker, stage) in stages {
        let labels = [("stage", name), ("worker", worker)];
        arrivals.add(&labels, stage.arrivals() as f64);
        completions.add(&labels, stage.completions() as f64);
        backlog.add(&labels, stage.backlog() as f64);
        peak.add(&labels, stage.peak() as f64);
        wait.add_histogram(&labels, stage.wait().to_proto());
        busy.add(&labels, stage.busy_seconds());
    }
    [arrivals, completions, backlog, peak, wait, busy].into_iter().map(Family::finish).collect()
}

impl HistoryMetrics {
    fn families(&self) -> Vec<MetricFamily> {
        let value = |atomic: &AtomicU64| atomic.load(Relaxed) as f64;
        vec![
            Family::single_histogram(
                "chat_history_commit_seconds",
                "How long a commit of the stored history took.",
                self.commit_seconds.to_proto(),
            ),
            Family::single_histogram(
                "chat_history_sync_seconds",
                "How long the database took to write and sync a commit to the disk.",
                self.sync_seconds.to_proto(),
            ),
            Family::single_histogram(
                "chat_history_checkpoint_seconds",
                "How long it took to move the write-ahead log into the database.",
                self.checkpoint_seconds.to_proto(),
            ),
            Family::single_gauge(
                "chat_history_memory_bytes",
                "Bytes of messages in memory.",
                self.memory.get().map_or(0, KeptBytes::kept) as f64,
            ),
            Family::single_histogram(
                "chat_history_commit_messages",
                "Messages in one commit of the stored history.",
                self.commit_messages.to_proto(),
            ),
            Family::single_counter(
                "chat_history_failures_total",
                "Commits of the stored history that failed.",
                value(&self.failures),
            ),
            Family::single_counter(
                "chat_history_dropped_messages_total",
                "Stored messages that were dropped by retention.",
                value(&self.dropped),
            ),
            Family::single_gauge(
                "chat_history_bytes",
                "Bytes in use in the stored history, and of its write-ahead log and search index, as of the last look.",
                value(&self.bytes),
            ),
            Family::single_gauge(
                "chat_history_failing",
                "1 while nothing can be stored.",
                f64::from(u8::from(self.health.failure().is_some())),
            ),
        ]
    }
}
