//! Puts the parts together: the chat's actors, the worker threads, and the background tasks.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::{Arbiter, ArbiterHandle};
use log::{info, warn};
use starling_actors::chat_server::{NodeSettings, PreparedChat};
use starling_actors::credits::ServerCredits;
use starling_actors::history::sqlite::SqliteStore;
use starling_actors::history::{CannotOpen, History, KeptBytes};
use starling_actors::vitals::{Death, VitalPart};
use starling_actors::{ChatConfig, ChatServer, Metrics};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::auth;
use crate::config::{Config, HistoryMode};
use crate::nats::NatsLog;
use crate::start_error::StartError;
use crate::state::ServerState;
use crate::tls::{self, Tls};
use crate::webhooks::Webhooks;
use crate::worker::{SharedChat, SharedLog, Worker};
use crate::workers::Workers;
use crate::{environment, listener, logging, memory_watch, shutdown, summary, threads};

/// Longest time that the history may take to store its queued messages at the end.
const LAST_COMMIT: Duration = Duration::from_secs(10);

/// Longest time that a stopping node may take to notify the others.
const LEAVE_TIME: Duration = Duration::from_secs(2);

/// The reason that the server ended without a request, or not in order: one line for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// A vital part has ended, or the server must not serve any more.
    #[error(transparent)]
    Died(#[from] Death),
    /// The history did not store its queued messages within ten seconds.
    #[error("the history did not store all messages within {} s", LAST_COMMIT.as_secs())]
    Unfinished,
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

/// Runs the chat on a thread of its own, or on the first worker's thread if there is only one core. Returns its own
/// thread.
fn run_chat(prepared: PreparedChat, first_worker: Option<ArbiterHandle>) -> io::Result<Option<Arbiter>> {
    if let Some(thread) = first_worker.filter(|_| Config::cores() == 1) {
        thread.spawn_fn(|| prepared.run_here());
        return Ok(None);
    }
    let thread = Arbiter::try_new()?;
    thread.spawn_fn(|| {
        threads::name_chat_server();
        prepared.run_here();
    });
    Ok(Some(thread))
}

/// The chat of a server that starts. It does not run yet.
struct NewChat {
    shared: SharedChat,
    prepared: PreparedChat,
    ended: oneshot::Receiver<bool>,
    kept: KeptBytes,
    webhooks: Option<Webhooks>,
}

impl NewChat {
    fn prepare(
        config: &Config,
        workers: usize,
        log: Option<NatsLog>,
        open: impl FnOnce(&Config, &Metrics) -> Result<History, CannotOpen>,
    ) -> Result<Self, StartError> {
        let tokens = auth::verifier(config)?;
        let chat_config = ChatConfig { tokens, ..config.chat() };
        let metrics = Metrics::new(workers, ServerCredits::new(chat_config.server_credits));
        let history = open(config, &metrics)?;
        // Its file lies beside that of the history, whose folder is there now.
        let webhooks = Webhooks::open(config)?;
        let followers = webhooks.as_ref().map_or_else(Vec::new, Webhooks::followers);
        let chat_config = Arc::new(ChatConfig { followers, ..chat_config });
        let kept = history.kept_bytes();
        let shared_log = log.as_ref().map(|log| SharedLog { reach: log.reach(), metrics: log.metrics() });
        let of_chat = ((*chat_config).clone(), history, Arc::clone(&metrics));
        let (handle, prepared, ended) = match log {
            None => ChatServer::prepare(of_chat.0, of_chat.1, of_chat.2),
            Some(log) => ChatServer::prepare_node(of_chat.0, of_chat.1, of_chat.2, node_settings(config, log))?,
        };
        let shared = SharedChat { handle, config: chat_config, metrics, log: shared_log };
        Ok(Self { shared, prepared, ended, kept, webhooks })
    }
}

/// The node settings of a server with this log.
fn node_settings(config: &Config, log: NatsLog) -> NodeSettings {
    NodeSettings {
        name: config.node_name(),
        timeout: config.node_timeout(),
        state: log.state().clone(),
        find: Box::new(log.finder()),
        load: Box::new(log.loader()),
        log: Box::new(log),
    }
}

/// Connects to the log of several nodes, if the configuration names one.
async fn connect_to_log(config: &Config) -> Result<Option<NatsLog>, StartError> {
    let Some(settings) = config.nats() else { return Ok(None) };
    let log = NatsLog::connect(&settings).await?;
    info!("node {} of the chat in the stream {}; NATS {}", settings.node, settings.stream, log.syncs());
    Ok(Some(log))
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    config: Config,
    address: SocketAddr,
    state: Arc<ServerState>,
    workers: Workers,
    /// The thread of the chat, if it has one of its own.
    chat_thread: Option<Arbiter>,
    /// Receives the outcome when the chat and its history have ended.
    chat_ended: oneshot::Receiver<bool>,
}

impl Server {
    /// Starts a server. Must run on an actix system. When it completes, the server accepts connections.
    ///
    /// A node of several servers waits here for NATS. It accepts connections before it has caught up, and refuses
    /// handshakes until then.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_on(config, open_history).await
    }

    /// Starts a server with this history, whatever the configuration says.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_with_history(config: Config, history: History) -> Result<Self, StartError> {
        Self::start_on(config, |_, _| Ok(history)).await
    }

    async fn start_on(
        config: Config,
        open: impl FnOnce(&Config, &Metrics) -> Result<History, CannotOpen>,
    ) -> Result<Self, StartError> {
        // Before the files are read, so that a SIGHUP that arrives meanwhile reloads them.
        let hangup = signal(SignalKind::hangup()).map_err(StartError::Hangup)?;
        let tls = config.tls_files().map(|(cert, key)| Tls::load(cert, key)).transpose()?;
        let log = connect_to_log(&config).await?;
        let not_bound = |error| StartError::Bind { address: config.bind, error };
        let (socket, address) = listener::bind(config.bind).map_err(not_bound)?;
        let count = config.worker_count();
        let NewChat { shared, prepared, ended: chat_ended, kept, webhooks } =
            NewChat::prepare(&config, count, log, open)?;

        let open_files = environment::raise_open_files();
        let allowed = environment::connections_within(open_files, count);
        if allowed == 0 {
            return Err(StartError::OpenFiles(open_files));
        }
        let connections = if config.connections == 0 { allowed } else { config.connections.min(allowed) };
        let worker = Worker::register(&config, connections, shared, tls.clone())?;
        let (state, judged) = (Arc::clone(&worker.state), worker.judged.clone());
        if let Some(webhooks) = webhooks {
            webhooks.start(&config, &state, &worker.webhooks);
        }
        // Not before: the history may be opened for long, and a connection would wait without an answer.
        let socket = listener::listen(socket).map_err(not_bound)?;
        let workers = Workers::start(count, &worker, socket).map_err(StartError::Threads)?;
        // After the workers, so that on one core connections are answered before a node reads the log of the others.
        let chat_thread = run_chat(prepared, workers.first()).map_err(StartError::Threads)?;
        let lab = state.lab().clone();
        actix_rt::spawn(state.diagnosis().clone().watch(judged, move |readings| lab.take(readings)));
        actix_rt::spawn(state.lab().clone().show());
        actix_rt::spawn(summary::log_while_busy(Arc::clone(state.metrics())));
        actix_rt::spawn(memory_watch::watch(config.clone(), Arc::clone(&state), kept));
        let spoken = if tls.is_some() { ", TLS" } else { "" };
        actix_rt::spawn(tls::reload_at(hangup, tls));

        let plural = if count == 1 { "" } else { "s" };
        info!("listening on {address}: {count} worker{plural}, up to {connections} connections{spoken}");
        if config.connections > allowed {
            warn!("CHAT_CONNECTIONS is {}, but the limit of open files allows {allowed}", config.connections);
        }
        Ok(Self { config, address, state, workers, chat_thread, chat_ended })
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

    /// Serves until `stop` completes. Then it shuts down in order: it refuses new connections, notifies every client,
    /// waits for them to leave, at most for `CHAT_DRAIN_SECONDS`, and stores the queued messages. An error is in the log
    /// as soon as it is known.
    ///
    /// # Errors
    /// [`RunError`] if a vital part has ended or must not serve any more, which also stops the server, or if queued messages could not be stored.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        let vitals = self.state.chat().vitals().clone();
        let told = tokio::select! {
            () = stop => None,
            died = vitals.death() => {
                logging::fail(&died);
                Some(died)
            }
        };
        shutdown::drain(&self.state, Duration::from_secs(self.config.drain_seconds)).await;
        if self.state.is_node() && vitals.dead().is_none() && !self.state.chat().leave_others(LEAVE_TIME).await {
            warn!(
                "NATS cannot be reached, so the other nodes do not know that this node stops: they declare it dead later"
            );
        }
        // From here on the parts end on request, which is not a failure.
        let died = vitals.dead();
        self.workers.stop().await;
        if let Some(thread) = &self.chat_thread {
            thread.stop();
        }
        // The history ends with the chat: its queued messages are stored, and its file is released.
        let outcome = match tokio::time::timeout(LAST_COMMIT, self.chat_ended).await {
            Ok(Ok(true)) => died.map_or(Ok(()), |died| Err(died.into())),
            Ok(Ok(false) | Err(_)) => Err(died.unwrap_or(Death::Of(VitalPart::ChatServer)).into()),
            Err(_) => Err(RunError::Unfinished),
        };
        match &outcome {
            Ok(()) => info!("stopped"),
            Err(RunError::Died(died)) if told.as_ref() == Some(died) => {}
            Err(error) => logging::fail(error),
        }
        outcome
    }
}
