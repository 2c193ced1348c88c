//! One log line a minute while there is traffic.

use std::sync::Arc;
use std::time::Duration;

use log::info;
use starling_actors::Metrics;

const INTERVAL: Duration = Duration::from_mins(1);

/// Logs connections, messages and deliveries per second, and the backlog. Silent while there are no messages.
pub(crate) async fn log_while_busy(metrics: Arc<Metrics>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    let (mut messages, mut deliveries) = (0, 0);
    loop {
        ticks.tick().await;
        let (messages_now, deliveries_now) = (metrics.messages(), metrics.deliveries());
        if messages_now != messages {
            let per_second = |count: u64| count as f64 / INTERVAL.as_secs_f64();
            info!(
                "{} connections, {:.1} messages/s, {:.1} deliveries/s, backlog {}",
                metrics.connections(),
                per_second(messages_now - messages),
                per_second(deliveries_now - deliveries),
                metrics.backlog(),
            );
        }
        (messages, deliveries) = (messages_now, deliveries_now);
    }
}
