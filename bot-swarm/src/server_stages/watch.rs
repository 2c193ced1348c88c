//! Reads a server's metrics while a swarm runs.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::time::interval;
use tokio::time::MissedTickBehavior;
use tokio_rustls::rustls::ClientConfig;

use super::{PERIOD, Reading, ServerReport, Verdicts};
use crate::clock::{Host, Nanos};
use crate::config::Config;
use crate::redaction::shown;
use crate::tls::{self, TlsError};

/// The deadline of a request; an overloaded server may fail to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Most bytes of an answer.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// What was read so far.
#[derive(Debug, Default)]
struct Seen {
    readings: Vec<Reading>,
    verdicts: Verdicts,
}

/// Reads a server's `/metrics` once a second until it is [ended](Watch::end).
///
/// Failed requests are skipped: the load is more important, and a server need not have stages.
#[derive(Debug)]
pub struct Watch {
    url: String,
    start: Nanos,
    seen: Rc<RefCell<Seen>>,
    task: actix_rt::task::JoinHandle<()>,
}

impl Watch {
    /// Starts to read the configured metrics, if any. Must be called within an actix system.
    ///
    /// # Errors
    /// [`TlsError`] if the TLS settings are invalid.
    pub fn of(config: &Config) -> Result<Option<Self>, TlsError> {
        let tls = tls::client(config)?;
        Ok(config.server_metrics_url().map(|url| Self::start(url, tls)))
    }

    /// Starts to read. Must be called within an actix system.
    pub fn start(url: String, tls: Option<Arc<ClientConfig>>) -> Self {
        let seen = Rc::<RefCell<Seen>>::default();
        let task = actix_rt::spawn(keep_reading(url.clone(), tls, Rc::clone(&seen)));
        Self { url, start: Host::this().now(), seen, task }
    }

    /// The report so far. `None` if the server shows no stages.
    pub fn so_far(&self) -> Option<ServerReport> {
        let seen = self.seen.borrow();
        ServerReport::of(&shown(&self.url), self.start, &seen.readings, &seen.verdicts)
    }

    /// Stops reading, and returns the report. `None` if the server shows no stages.
    pub fn end(self) -> Option<ServerReport> {
        self.so_far()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep_reading(url: String, tls: Option<Arc<ClientConfig>>, seen: Rc<RefCell<Seen>>) {
    let host = Host::this();
    let start = host.now();
    let client = awc::Client::builder().timeout(TIMEOUT);
    let client = match tls {
        Some(tls) => client.connector(awc::Connector::new().rustls_0_23(tls)).finish(),
        None => client.finish(),
    };
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match page(&client, &url).await {
            Ok(page) => {
                let (now, mut seen) = (host.now(), seen.borrow_mut());
                seen.readings.extend(Reading::parse(&page, now));
                seen.verdicts.take(&page, now.since(start));
            }
            Err(error) => log::debug!("{} cannot be read: {error}", shown(&url)),
        }
    }
}

async fn page(client: &awc::Client, url: &str) -> anyhow::Result<String> {
    let mut answer = client.get(url).send().await.map_err(|error| anyhow::anyhow!("{error}"))?;
    let bytes = answer.body().limit(PAGE_BYTES_MAX).await?;
    Ok(String::from_utf8(bytes.to_vec())?)
}
