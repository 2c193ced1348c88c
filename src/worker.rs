//! A worker thread: its hub, and the service that takes its connections.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_codec::Framed;
use actix_http::{HttpService, KeepAlive};
use actix_service::{ServiceFactory, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web_prom::{PrometheusMetrics, PrometheusMetricsBuilder};
use prometheus::Registry;
use starling_actors::chat_server::ChatServerHandle;
use starling_actors::ids::HubId;
use starling_actors::metrics::MetricsCollector;
use starling_actors::vitals::VitalPart;
use starling_actors::{ChatConfig, LocalHub, Metrics, clock};

use crate::accept::Accept;
use crate::admission::Admission;
use crate::auth::Access;
use crate::broken_connections::BrokenConnections;
use crate::config::Config;
use crate::connections::Connections;
use crate::diagnosis::Diagnosis;
use crate::http;
use crate::http_stream::HttpStream;
use crate::lab::{Lab, Subject};
use crate::limit_metrics::Limits;
use crate::listener::Source;
use crate::nats::{LogCollector, LogReach};
use crate::page::Pages;
use crate::process_metrics::{ProcessMetrics, ResidentMemory};
use crate::readiness::ReadinessMetric;
use crate::refusal::RefusedHandshakes;
use crate::start_error::StartError;
use crate::state::{ServerState, Shared};
use crate::surroundings::Surroundings;
use crate::threads;
use crate::timed::timed;
use crate::tls::Tls;
use crate::upgrade::Upgrade;
use crate::webhooks::WebhookMetrics;

/// The parts of the chat that all worker threads share.
pub(crate) struct SharedChat {
    pub(crate) handle: ChatServerHandle,
    pub(crate) config: Arc<ChatConfig>,
    pub(crate) metrics: Arc<Metrics>,
    /// The log of several nodes, if there is one.
    pub(crate) log: Option<SharedLog>,
}

/// The edges' view of the log of several nodes.
pub(crate) struct SharedLog {
    pub(crate) reach: LogReach,
    pub(crate) metrics: LogCollector,
}

/// The data with which each worker thread starts to serve.
#[derive(Clone)]
pub(crate) struct Worker {
    pub(crate) state: Arc<ServerState>,
    accept: Arc<Accept>,
    http_metrics: PrometheusMetrics,
    /// The metrics that the diagnosis judges.
    pub(crate) judged: Registry,
    pub(crate) webhooks: WebhookMetrics,
}

impl Worker {
    /// Registers the metrics of the edges.
    pub(crate) fn register(
        config: &Config,
        connections: u64,
        chat: SharedChat,
        tls: Option<Arc<Tls>>,
    ) -> Result<Self, StartError> {
        let SharedChat { handle, config: chat_config, metrics, log } = chat;
        let registered = |error: prometheus::Error| StartError::Metrics(error.to_string());
        let (surroundings, diagnosis) = (Surroundings::new(), Diagnosis::new());
        let judged = judged_registry(&metrics, &surroundings).map_err(registered)?;
        let registry = registry_of(&metrics, surroundings, diagnosis.clone()).map_err(registered)?;
        for registry in [&registry, &judged] {
            Limits::of(config, connections).register(registry).map_err(registered)?;
            if let Some(log) = &log {
                registry.register(Box::new(log.metrics.clone())).map_err(registered)?;
            }
        }
        let lab = Lab::new(Subject {
            server: chat_config.server.clone(),
            started: clock::now(),
            diagnosis: diagnosis.clone(),
            metrics: Arc::clone(&metrics),
            chat: handle.clone(),
        });
        let admission = Admission::register(config, connections, Arc::clone(&metrics), &registry, &judged);
        let state = Arc::new(ServerState::new(Shared {
            chat: handle,
            chat_config,
            metrics,
            refused: RefusedHandshakes::register([&registry, &judged]).map_err(registered)?,
            broken: BrokenConnections::register([&registry, &judged]).map_err(registered)?,
            pages: Pages::new(config.web_folder()),
            path_prefix: config.path_prefix.clone(),
            access: Access::new(config),
            admission: admission.map_err(registered)?,
            http_limits: config.http_limits(),
            log: log.map(|log| log.reach),
            diagnosis,
            lab,
        }));
        // The state may hold what the registry and the diagnosis hold.
        let weak = Arc::downgrade(&state);
        let not_ready = move || weak.upgrade()?.not_ready();
        for registry in [&registry, &judged] {
            registry.register(Box::new(ReadinessMetric::new(not_ready.clone()))).map_err(registered)?;
        }
        state.diagnosis().ask(not_ready);
        Ok(Self {
            state,
            accept: Accept::register(tls, config.handshake_time(), &registry, &judged).map_err(registered)?,
            http_metrics: count_requests(&registry)?,
            judged,
            webhooks: WebhookMetrics::register(&registry).map_err(registered)?,
        })
    }

    /// Starts the hub of this worker thread.
    fn start_hub(&self, number: u8) -> LocalHub {
        let state = &self.state;
        threads::name_worker(number);
        LocalHub::start(
            HubId(number),
            Arc::clone(state.chat_config()),
            state.chat().clone(),
            Arc::clone(state.metrics()),
        )
    }

    /// Serves the connections of this worker thread.
    pub(crate) async fn serve(self, number: u8, source: Source) {
        let pulse = self.state.chat().vitals().pulse(VitalPart::Worker);
        let hub = self.start_hub(number);
        let (accept, state) = (self.accept, self.state);
        let http_stage = Arc::clone(&hub.worker().http);
        let upgrade = Upgrade::new(hub, Arc::clone(&state));
        let plain = map_config(http::app(Arc::clone(&state), self.http_metrics.clone()), |()| AppConfig::default());
        let later = Rc::clone(&upgrade);
        // `HttpStream` limits the time of a head and of an idle connection.
        let http = HttpService::<Box<HttpStream>, _, _>::build()
            .client_request_timeout(Duration::ZERO)
            .keep_alive(KeepAlive::Os)
            // The stream ends its connections itself. With a time, the framework would wait for the client's end first.
            .client_disconnect_timeout(Duration::ZERO)
            .upgrade(fn_service(move |(request, framed): (_, Framed<Box<HttpStream>, _>)| {
                let upgrade = Rc::clone(&later);
                async move {
                    let stream = framed.into_parts().io;
                    stream.take_from_framework();
                    upgrade.serve(request, stream).await;
                    Ok::<_, actix_web::Error>(())
                }
            }))
            .finish(plain);
        let Ok(http) = http.new_service(()).await else {
            return pulse.unfit(&"a worker thread cannot make its HTTP service");
        };
        let connections = Rc::new(Connections { accept, state, upgrade, http });
        let serve = |accepted| {
            let served = Box::pin(Rc::clone(&connections).serve(accepted));
            actix_rt::spawn(timed(Arc::clone(&http_stage), served));
        };
        if let Err(error) = source.for_each(serve).await {
            pulse.unfit(&format_args!("a worker thread cannot wait for connections: {error}"));
        }
    }
}

/// A registry with the metrics that the diagnosis judges: cheap ones, which are read once a second.
fn judged_registry(metrics: &Arc<Metrics>, surroundings: &Surroundings) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    registry.register(Box::new(MetricsCollector(Arc::clone(metrics))))?;
    registry.register(Box::new(surroundings.clone()))?;
    registry.register(Box::new(ResidentMemory::new()))?;
    Ok(registry)
}

/// A registry with the metrics of the chat and of the process.
fn registry_of(
    metrics: &Arc<Metrics>,
    surroundings: Surroundings,
    diagnosis: Diagnosis,
) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    registry.register(Box::new(MetricsCollector(Arc::clone(metrics))))?;
    registry.register(Box::new(ProcessMetrics::new()))?;
    registry.register(Box::new(surroundings))?;
    registry.register(Box::new(diagnosis))?;
    Ok(registry)
}

/// The middleware that counts requests and serves `/metrics`.
fn count_requests(registry: &Registry) -> Result<PrometheusMetrics, StartError> {
    PrometheusMetricsBuilder::new("chat")
        .registry(registry.clone())
        .endpoint("/metrics")
        .mask_unmatched_patterns("unmatched")
        .build()
        .map_err(|error| StartError::Metrics(error.to_string()))
}
