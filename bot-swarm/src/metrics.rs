//! The swarm's own metrics while it runs: for Prometheus under `/metrics` (every metric's name, help and labels are
//! here), and for people as a page under `/`.
//!
//! The metrics are rendered once a second from the recorded values; a scrape gets the newest. All are sums over the
//! process, so those of many containers can be added; only the possible error of clocks is a maximum. The page is
//! rendered only on request, from the next second that is recorded.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::web::{self, Data};
use actix_web::{App, HttpResponse, HttpServer};
use bytes::Bytes;
use prometheus::proto::{self, MetricFamily};
use starling_process::exposition::{self, Family};
use tokio::sync::watch;

use crate::behaviour::BehaviourKind;
use crate::census::{BotState, Census};
use crate::footprint::Footprint;
use crate::latencies::Latencies;
use crate::ledger::Tally;
use crate::report::page::{LIVE_SCRIPT, LIVE_STYLE, STYLE};
use crate::stats::Stats;

/// The script of the page.
const SCRIPT: &str = include_str!("report/live.js");

/// Upper bounds of the buckets of a duration, in seconds.
const DURATION_BUCKETS: [f64; 18] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// The values for a scrape.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exposed<'a> {
    /// Counts and latencies since the start.
    pub(crate) total: &'a Stats,
    pub(crate) census: Census,
    pub(crate) unanswered: u64,
    /// The findings of the ledgers so far.
    pub(crate) findings: Tally,
}

/// The newest page, and whether a request waits for a newer one.
#[derive(Debug)]
struct LivePage {
    is_wanted: AtomicBool,
    newest: watch::Sender<Bytes>,
}

/// The time that a request waits for the next second to be recorded.
const PAGE_DEADLINE: Duration = Duration::from_secs(5);

/// The most connections at a time; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 64;

/// The headers of every answer of the page: it runs and loads only its own files.
const PAGE_HEADERS: [(&str, &str); 4] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
];

/// Serves the metrics until it is dropped or told to stop.
#[derive(Debug)]
pub(crate) struct MetricsServer {
    text: Arc<Mutex<Bytes>>,
    page: Arc<LivePage>,
    server: actix_web::dev::ServerHandle,
}

impl MetricsServer {
    /// Listens on an address.
    pub(crate) fn start(address: SocketAddr) -> std::io::Result<Self> {
        let text = Arc::new(Mutex::new(Bytes::new()));
        let page = Arc::new(LivePage { is_wanted: AtomicBool::new(false), newest: watch::Sender::default() });
        let (shown, live) = (Data::from(Arc::clone(&text)), Data::from(Arc::clone(&page)));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(Data::clone(&shown))
                .app_data(Data::clone(&live))
                .route("/metrics", web::get().to(answer))
                .route("/", web::get().to(answer_live))
                .route(&format!("/{LIVE_STYLE}"), web::get().to(async || part("text/css", STYLE)))
                .route(&format!("/{LIVE_SCRIPT}"), web::get().to(async || part("text/javascript", SCRIPT)))
        });
        let server = server.max_connections(CONNECTIONS_MAX);
        // The end of the swarm does not wait for a scrape in progress.
        let server = server.workers(1).disable_signals().shutdown_timeout(0).bind(address)?;
        let address = server.addrs().first().copied().unwrap_or(address);
        log::info!("page of this run: http://{address}/, metrics: http://{address}/metrics");
        let running = server.run();
        let handle = running.handle();
        actix_rt::spawn(async move {
            if let Err(error) = running.await {
                log::error!("the metrics server has failed: {error}");
            }
        });
        Ok(Self { text, page, server: handle })
    }

    /// Replaces the metrics.
    pub(crate) fn show(&self, exposed: &Exposed<'_>) {
        let mut text = Vec::new();
        let families = families(exposed, &Footprint::now());
        if let Err(error) = prometheus::Encoder::encode(&prometheus::TextEncoder::new(), &families, &mut text) {
            log::error!("the metrics cannot be encoded: {error}");
            return;
        }
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = text.into();
    }

    /// Gives a new page to all waiting requests; renders none if there are no requests.
    pub(crate) fn show_page(&self, make: impl FnOnce() -> String) {
        if self.page.is_wanted.swap(false, Relaxed) {
            self.page.newest.send_replace(make().into());
        }
    }

    pub(crate) async fn stop(self) {
        self.server.stop(false).await;
    }
}

async fn answer(text: Data<Mutex<Bytes>>) -> HttpResponse {
    let text = text.lock().unwrap_or_else(PoisonError::into_inner).clone();
    HttpResponse::Ok().content_type(prometheus::TEXT_FORMAT).body(text)
}

async fn answer_live(page: Data<LivePage>) -> HttpResponse {
    let mut newest = page.newest.subscribe();
    page.is_wanted.store(true, Relaxed);
    match actix_rt::time::timeout(PAGE_DEADLINE, newest.changed()).await {
        Ok(Ok(())) => part("text/html", newest.borrow_and_update().clone()),
        Ok(Err(_)) | Err(_) => HttpResponse::ServiceUnavailable()
            .insert_header(("retry-after", "1"))
            .body("no second was recorded in time\n"),
    }
}

/// A file of the page.
fn part(kind: &str, body: impl MessageBody + 'static) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    for header in PAGE_HEADERS {
        answer.insert_header(header);
    }
    answer.content_type(format!("{kind}; charset=utf-8")).body(body)
}

fn families(exposed: &Exposed<'_>, footprint: &Footprint) -> Vec<MetricFamily> {
    let Exposed { total, census, unanswered, findings } = exposed;
    let mut bots = Family::gauge("swarm_bots", "Bots, by behaviour and state.");
    for behaviour in BehaviourKind::ALL {
        for state in BotState::ALL {
            let labels = [("behaviour", behaviour.as_str()), ("state", state.as_str())];
            bots.add(&labels, f64::from(census.of(behaviour, state)));
        }
    }
    let mut found = Family::gauge("swarm_ledger_findings", "Faults that the ledger has found so far, by kind.");
    for (finding, count) in findings.faults() {
        found.add(&[("finding", finding)], count as f64);
    }
    let mut families = vec![bots.finish(), found.finish()];
    let counters = &total.counters;
    let errors: u64 = total.errors.values().sum();
    for (name, help, value) in [
        ("swarm_messages_sent_total", "Messages and other requests sent, each counted once.", counters.sent),
        (
            "swarm_messages_resent_total",
            "Messages and other requests sent again, after a lost connection or a temporary refusal.",
            counters.sent_again,
        ),
        ("swarm_messages_refused_total", "Messages that the server refused permanently.", counters.refused),
        ("swarm_acks_total", "Messages that the server acknowledged.", counters.acked),
        ("swarm_deliveries_total", "Messages that the bots received.", counters.deliveries),
        ("swarm_deliveries_untimed_total", "Deliveries that could not be timed.", counters.untimed),
        (
            "swarm_remote_negative_total",
            "Deliveries from other hosts that seem to precede their planned time, because clocks differ.",
            counters.remote_negative,
        ),
        ("swarm_received_bytes_total", "Bytes of the frames that the bots received.", counters.bytes_received),
        ("swarm_reconnects_total", "Connections made after a lost one.", counters.reconnects),
        ("swarm_errors_total", "Errors of any kind.", errors),
    ] {
        families.push(Family::single_counter(name, help, value as f64));
    }
    families.push(Family::single_gauge(
        "swarm_messages_unanswered",
        "Messages that wait for the server's answer.",
        *unanswered as f64,
    ));
    families.push(Family::single_gauge(
        "swarm_clocks_off_seconds",
        "Largest possible error of the clocks that time deliveries from other hosts.",
        total.clocks_off_max.as_secs_f64(),
    ));
    for (name, help, latencies) in [
        ("swarm_connect_seconds", "From the planned time of connecting to the welcome.", &total.connect),
        ("swarm_ack_seconds", "From the planned time of a message to its ack.", &total.ack),
        ("swarm_delivery_seconds", "From the planned time of a message to each delivery.", &total.delivery),
        ("swarm_remote_delivery_seconds", "The same from other hosts, by the server's clock.", &total.remote),
        ("swarm_completion_seconds", "From the planned time of a message to its last delivery.", &total.completion),
        ("swarm_resume_seconds", "From the loss of a connection to the resumed room.", &total.resume),
        ("swarm_send_lateness_seconds", "From the planned time of a message to its sending.", &total.lateness),
        ("swarm_wake_lag_seconds", "Delay with which the swarm itself woke its bots.", &total.wake_lag),
        ("swarm_loop_lag_seconds", "Delay of the probes of the event loops.", &total.loop_lag),
    ] {
        families.push(Family::single_histogram(name, help, buckets(latencies)));
    }
    families.extend(process_families(footprint));
    families
}

fn process_families(footprint: &Footprint) -> [MetricFamily; 4] {
    let cpu = (footprint.user + footprint.system).as_secs_f64();
    let open_files_max = rlimit::Resource::NOFILE.get_soft().unwrap_or_default();
    [
        Family::single_counter("process_cpu_seconds_total", "User and system CPU time spent, in seconds.", cpu),
        Family::single_gauge(
            "process_resident_memory_bytes",
            "Resident memory, in bytes.",
            footprint.resident_bytes as f64,
        ),
        Family::single_gauge("process_open_fds", "Open file descriptors.", footprint.open_files as f64),
        Family::single_gauge("process_max_fds", "Most file descriptors that may be open.", open_files_max as f64),
    ]
}

/// Converts latencies into buckets. The sum is exact to three digits, like the latencies.
fn buckets(latencies: &Latencies) -> proto::Histogram {
    let mut counts = [0; DURATION_BUCKETS.len()];
    let mut sum = 0.0;
    for (latency, count) in latencies.iter() {
        let seconds = latency.as_secs_f64();
        sum += seconds * count as f64;
        if let Some(bucket) = counts.get_mut(DURATION_BUCKETS.partition_point(|bound| *bound < seconds)) {
            *bucket += count;
        }
    }
    exposition::histogram(DURATION_BUCKETS.into_iter().zip(counts), latencies.count(), sum)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_latency_is_in_the_bucket_whose_bound_it_does_not_exceed() {
        let mut latencies = Latencies::default();
        for millis in [1, 2, 100, 90_000] {
            latencies.record(Duration::from_millis(millis));
        }
        let histogram = buckets(&latencies);
        let count = |bound: f64| {
            let is_bound = |bucket: &&proto::Bucket| (bucket.upper_bound() - bound).abs() < 1e-9;
            histogram.get_bucket().iter().find(is_bound).unwrap().cumulative_count()
        };
        assert_eq!((count(0.001), count(0.0025), count(0.1), count(60.0)), (1, 2, 3, 3));
        assert_eq!(histogram.get_sample_count(), 4);
        assert!((histogram.get_sample_sum() / 90.103 - 1.0).abs() < 0.002);
    }
}
