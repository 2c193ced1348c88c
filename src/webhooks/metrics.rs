//! The metrics of the webhooks, by receiver.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// The metrics of all receivers.
#[derive(Debug, Clone)]
pub(crate) struct WebhookMetrics {
    requests: IntCounterVec,
    entries: IntCounterVec,
    missed: IntCounterVec,
    rooms_behind: IntGaugeVec,
}

/// The metrics of one receiver.
#[derive(Debug)]
pub(super) struct OfReceiver {
    pub(super) accepted: IntCounter,
    pub(super) failed: IntCounter,
    pub(super) entries: IntCounter,
    pub(super) missed: IntCounter,
    pub(super) rooms_behind: IntGauge,
}

impl WebhookMetrics {
    /// # Errors
    /// The registry has them already.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name, help, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone())).map(|()| counter)
        };
        let help = "Rooms with entries that the receiver has not accepted.";
        let rooms_behind = IntGaugeVec::new(Opts::new("chat_webhook_rooms_behind", help), &["receiver"])?;
        registry.register(Box::new(rooms_behind.clone()))?;
        Ok(Self {
            requests: counter(
                "chat_webhook_requests_total",
                "Requests to receivers of webhooks, by outcome.",
                &["receiver", "outcome"],
            )?,
            entries: counter(
                "chat_webhook_entries_total",
                "Entries of rooms that receivers of webhooks accepted.",
                &["receiver"],
            )?,
            missed: counter(
                "chat_webhook_missed_total",
                "Entries that the history dropped before the receiver accepted them.",
                &["receiver"],
            )?,
            rooms_behind,
        })
    }

    /// The metrics of the receiver with this number, in the order of the setting.
    pub(super) fn of_receiver(&self, number: usize) -> OfReceiver {
        let number = number.to_string();
        let request = |outcome| self.requests.with_label_values(&[&*number, outcome]);
        OfReceiver {
            accepted: request("accepted"),
            failed: request("failed"),
            entries: self.entries.with_label_values(&[&number]),
            missed: self.missed.with_label_values(&[&number]),
            rooms_behind: self.rooms_behind.with_label_values(&[&number]),
        }
    }
}
