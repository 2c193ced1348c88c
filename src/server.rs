//! Puts the parts together: the chat's actors, the worker threads and their hubs, HTTP and the WebSocket upgrade.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_http::{HttpService, KeepAlive};
use actix_rt::Arbiter;
use actix_rt::net::TcpStream;
use actix_server::ServerHandle;
use actix_service::{ServiceFactoryExt, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web_prom::{PrometheusMetrics, PrometheusMetricsBuilder};
use log::{error, info, warn};
use prometheus::Registry;
use starling_actors::chat_server::PreparedChat;
use starling_actors::credits::ServerCredits;
use starling_actors::history::sqlite::SqliteStore;
use starling_actors::history::{CannotOpen, History};
use starling_actors::ids::HubId;
use starling_actors::metrics::MetricsCollector;
use starling_actors::vitals::{Died, VitalPart};
use starling_actors::{ChatConfig, ChatServer, LocalHub, Metrics};
use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::accept::Accept;
use crate::admission::Admission;
use crate::auth::{self, Access, AuthError};
use crate::broken_connections::BrokenConnections;
use crate::config::{Config, HistoryMode};
use crate::http_stream::HttpStream;
use crate::limit_metrics::Limits;
use crate::page::Pages;
use crate::process_metrics::ProcessMetrics;
use crate::refusal::RefusedHandshakes;
use crate::state::{ServerState, Shared};
use crate::tls::{self, Tls, TlsError};
use crate::upgrade::Upgrade;
use crate::{environment, http, memory_watch, shutdown, summary};

/// Most connections that the kernel has completed but no worker has accepted yet.
const BACKLOG: u32 = 4_096;

/// Longest time that the history may take at the end to store its queued messages.
const LAST_COMMIT: Duration = Duration::from_secs(10);

/// The reason that the server does not start: one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The server cannot listen on the address.
    #[error("cannot listen on {address}: {error}{}", advice(error))]
    Bind {
        /// The value of `CHAT_BIND`.
        address: SocketAddr,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The history cannot be opened; it was not changed.
    #[error(transparent)]
    History(#[from] CannotOpen),
    /// Tokens cannot be verified.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The certificate and the key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The handler of SIGHUP cannot be installed.
    #[error("cannot wait for SIGHUP: {0}")]
    Hangup(io::Error),
    /// The limit of open files leaves none for connections.
    #[error(
        "the limit of open files is {0} and leaves none for connections; raise it (ulimit -n, LimitNOFILE=, --ulimit nofile=)"
    )]
    OpenFiles(u64),
    /// The worker threads cannot be started.
    #[error("cannot start the worker threads: {0}")]
    Workers(io::Error),
    /// The metrics cannot be registered.
    #[error("cannot register the metrics: {0}")]
    Metrics(String),
}

/// The reason that the server ended without being asked to, or not in order: one line for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// A vital part has ended.
    #[error(transparent)]
    Died(#[from] Died),
    /// The history did not store its queued messages within ten seconds.
    #[error("the history has not stored everything within {} s", LAST_COMMIT.as_secs())]
    Unfinished,
}

/// Advice for the operator about an address that the server cannot listen on.
fn advice(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse {
        "; another program listens there: stop it, or choose another port with CHAT_BIND"
    } else if error.kind() == io::ErrorKind::AddrNotAvailable {
        "; no network interface of this machine has this address"
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "; a port below 1024 needs root or the capability CAP_NET_BIND_SERVICE"
    } else {
        ""
    }
}

/// Opens the history that the configuration asks for.
fn open_history(config: &Config, metrics: &Metrics) -> Result<History, CannotOpen> {
    let ChatConfig { history_messages, history_bytes, .. } = config.chat();
    Ok(match config.history.value {
        HistoryMode::Sqlite => {
            let store = SqliteStore::open(config.sqlite(), Arc::clone(metrics.history()))?;
            History::over(store, history_messages, history_bytes)
        }
        HistoryMode::Memory => History::in_memory(history_messages, history_bytes),
        HistoryMode::Off => History::off(),
    })
}

/// A registry with the metrics of the chat and of the process.
fn registry_of(metrics: &Arc<Metrics>) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    registry.register(Box::new(MetricsCollector(Arc::clone(metrics))))?;
    registry.register(Box::new(ProcessMetrics::new()))?;
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

/// Listens with a backlog of its own: the standard library's 128 is too small when many clients reconnect at once.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// Gives the chat a thread of its own, or leaves it to the first worker's thread if there is only one core.
fn give_thread(prepared: PreparedChat) -> (Option<Arbiter>, Arc<Mutex<Option<PreparedChat>>>) {
    if Config::cores() == 1 {
        return (None, Arc::new(Mutex::new(Some(prepared))));
    }
    let arbiter = Arbiter::new();
    arbiter.spawn_fn(|| prepared.run_here());
    (Some(arbiter), Arc::default())
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    config: Config,
    address: SocketAddr,
    state: Arc<ServerState>,
    handle: ServerHandle,
    chat_arbiter: Option<Arbiter>,
    /// Receives the outcome when the chat and its history have ended.
    chat_ended: oneshot::Receiver<bool>,
}

impl Server {
    /// Starts a server. Must run on an actix system. When it returns, the server accepts connections.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::start_on(config, open_history)
    }

    /// Starts a server with this history, whatever the configuration says.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start_with_history(config: Config, history: History) -> Result<Self, StartError> {
        Self::start_on(config, |_, _| Ok(history))
    }

    fn start_on(
        config: Config,
        open: impl FnOnce(&Config, &Metrics) -> Result<History, CannotOpen>,
    ) -> Result<Self, StartError> {
        // Before the files are read, so that a SIGHUP that comes meanwhile reloads them.
        let hangup = signal(SignalKind::hangup()).map_err(StartError::Hangup)?;
        let tls = config.tls_files().map(|(cert, key)| Tls::load(cert, key)).transpose()?;
        let bind_error = |error| StartError::Bind { address: config.bind, error };
        let listener = listen(config.bind).map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;

        let workers = config.worker_count();
        let tokens = auth::verifier(&config)?;
        let chat_config = Arc::new(ChatConfig { tokens, ..config.chat() });
        let metrics = Metrics::new(workers, ServerCredits::new(chat_config.server_credits));
        let history = open(&config, &metrics)?;
        let kept = history.kept_bytes();
        let (chat, prepared, chat_ended) = ChatServer::prepare((*chat_config).clone(), history, Arc::clone(&metrics));
        let (chat_arbiter, for_worker) = give_thread(prepared);

        let registered = |error: prometheus::Error| StartError::Metrics(error.to_string());
        let registry = registry_of(&metrics).map_err(registered)?;
        let refused = RefusedHandshakes::register(&registry).map_err(registered)?;
        let accept = Accept::register(tls.clone(), config.handshake_time(), &registry).map_err(registered)?;
        let broken = BrokenConnections::register(&registry).map_err(registered)?;
        let http_metrics = count_requests(&registry)?;

        let open_files = environment::raise_open_files();
        let allowed = environment::connections_within(open_files);
        if allowed == 0 {
            return Err(StartError::OpenFiles(open_files));
        }
        let connections = if config.connections == 0 { allowed } else { config.connections.min(allowed) };
        Limits::of(&config, connections).register(&registry).map_err(registered)?;
        let state = Arc::new(ServerState::new(Shared {
            chat: chat.clone(),
            chat_config: Arc::clone(&chat_config),
            metrics: Arc::clone(&metrics),
            refused,
            broken,
            pages: Pages::new(config.web_folder()),
            path_prefix: config.path_prefix.clone(),
            access: Access::new(&config),
            admission: Admission::register(&config, connections, &registry).map_err(registered)?,
            http_limits: config.http_limits(),
        }));

        let next_hub = Arc::new(AtomicU8::new(0));
        let service_state = Arc::clone(&state);
        let head_time = config.handshake_time();
        let server = actix_server::Server::build()
            .workers(workers)
            .max_concurrent_connections(usize::MAX)
            .shutdown_timeout(1)
            .disable_signals()
            .listen("starling", listener, move || {
                // Runs once on every worker thread: here its hub begins.
                if let Some(prepared) = for_worker.lock().ok().and_then(|mut chat| chat.take()) {
                    prepared.run_here();
                }
                let state = Arc::clone(&service_state);
                let hub = LocalHub::start(
                    HubId(next_hub.fetch_add(1, Relaxed)),
                    Arc::clone(state.chat_config()),
                    state.chat().clone(),
                    Arc::clone(state.metrics()),
                );
                let plain = map_config(http::app(Arc::clone(&state), http_metrics.clone()), |()| AppConfig::default());
                let upgrade = Upgrade::new(hub, Arc::clone(&state));
                let accept = Arc::clone(&accept);
                let broken = Arc::clone(&state);
                // `HttpStream` limits the time of a head and of an idle connection.
                let http = HttpService::<HttpStream, _, _>::build()
                    .client_request_timeout(Duration::ZERO)
                    .keep_alive(KeepAlive::Os)
                    .client_disconnect_timeout(head_time)
                    .upgrade(fn_service(move |request| Rc::clone(&upgrade).serve(request)))
                    .finish(plain)
                    .map_err(move |error| broken.broken().count(error));
                fn_service(move |tcp: TcpStream| {
                    let (accept, state) = (Arc::clone(&accept), Arc::clone(&state));
                    async move { accept.take(tcp, state).await }
                })
                .and_then(http)
            })
            .map_err(StartError::Workers)?
            .run();
        let handle = server.handle();
        let pulse = chat.vitals().pulse(VitalPart::Workers);
        actix_rt::spawn(async move {
            if let Err(error) = server.await {
                error!("the worker threads have ended: {error}");
            }
            drop(pulse);
        });
        actix_rt::spawn(summary::log_while_busy(metrics));
        actix_rt::spawn(memory_watch::watch(config.clone(), Arc::clone(&state), kept));
        let spoken = if tls.is_some() { ", TLS" } else { "" };
        actix_rt::spawn(tls::reload_at(hangup, tls));

        info!("listening on {address}: {workers} workers, up to {connections} connections{spoken}");
        if config.connections > allowed {
            warn!("CHAT_CONNECTIONS is {}, but the limit of open files allows {allowed}", config.connections);
        }
        Ok(Self { config, address, state, handle, chat_arbiter, chat_ended })
    }

    /// The address that the server listens on; for port 0, the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The configuration with which the server was started.
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn state(&self) -> &Arc<ServerState> {
        &self.state
    }

    /// Serves until `stop` completes. Then it shuts down in order: it refuses new connections, tells every client,
    /// waits for them to leave, at most for `CHAT_DRAIN_SECONDS`, and stores the queued messages.
    ///
    /// # Errors
    /// [`RunError`] if a vital part has ended, which also stops the server, or if queued messages could not be stored.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        let vitals = self.state.chat().vitals().clone();
        tokio::select! {
            () = stop => {}
            died = vitals.death() => error!("{died}"),
        }
        shutdown::drain(&self).await;
        // From here on the parts end because they are told to, which is no failure.
        let died = vitals.dead();
        self.handle.stop(false).await;
        if let Some(arbiter) = &self.chat_arbiter {
            arbiter.stop();
        }
        // The history ends with the chat: its queued messages are stored, and its file is released.
        let outcome = match tokio::time::timeout(LAST_COMMIT, self.chat_ended).await {
            Ok(Ok(true)) => died.map_or(Ok(()), |died| Err(died.into())),
            Ok(Ok(false) | Err(_)) => Err(died.unwrap_or(Died(VitalPart::ChatServer)).into()),
            Err(_) => Err(RunError::Unfinished),
        };
        if outcome.is_ok() {
            info!("stopped");
        }
        outcome
    }
}
