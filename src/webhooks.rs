//! Webhooks: every entry of the rooms is posted to receivers, in the order of its room, at least once.
//!
//! Each receiver has a task of its own, which reads the stored history at the receiver's speed. So a receiver that is slow
//! or down costs neither the chat nor the other receivers anything but a position for each room.

mod metrics;
mod positions;
mod receiver;
mod signature;

use std::sync::Arc;
use std::time::Duration;

use starling_actors::followers::NewEntries;
use tokio_rustls::rustls::ClientConfig;

use self::receiver::Receiver;
use crate::config::Config;
use crate::start_error::StartError;
use crate::state::ServerState;
use crate::tls;

pub(crate) use self::metrics::WebhookMetrics;
pub(crate) use self::positions::CannotKeep;
use self::positions::Positions;

/// The interval at which a starting receiver looks whether the server is ready.
const READY: Duration = Duration::from_millis(250);

/// The receivers of a server that starts.
#[derive(Debug)]
pub(crate) struct Webhooks {
    receivers: Vec<(String, NewEntries)>,
    positions: Arc<Positions>,
    tls: Arc<ClientConfig>,
}

impl Webhooks {
    /// Opens the positions of the receivers; `None`: there are no receivers.
    ///
    /// # Errors
    /// The positions cannot be opened, or TLS cannot be used.
    pub(crate) fn open(config: &Config) -> Result<Option<Self>, StartError> {
        if config.webhook_urls.0.is_empty() {
            return Ok(None);
        }
        let positions = Arc::new(Positions::open(config.webhook_positions().as_deref())?);
        let receivers = config.webhook_urls.0.iter().map(|url| (url.clone(), NewEntries::default())).collect();
        Ok(Some(Self { receivers, positions, tls: Arc::new(tls::client_of_system()?) }))
    }

    /// The followers to which the chat tells its new entries.
    pub(crate) fn followers(&self) -> Vec<NewEntries> {
        self.receivers.iter().map(|(_, new)| new.clone()).collect()
    }

    /// Serves the receivers while the server runs.
    pub(crate) fn start(self, config: &Config, state: &Arc<ServerState>, metrics: &WebhookMetrics) {
        for (index, (url, new)) in self.receivers.into_iter().enumerate() {
            let receiver = Receiver::new(
                url,
                new,
                config,
                state.chat().clone(),
                Arc::clone(&self.positions),
                metrics.of_receiver(index + 1),
                Arc::clone(&self.tls),
            );
            let state = Arc::clone(state);
            actix_rt::spawn(async move {
                // A node that reads the log does not know all rooms yet.
                while state.not_ready().is_some() {
                    tokio::time::sleep(READY).await;
                }
                receiver.serve().await;
            });
        }
    }
}
