//! The NATS servers: whether they can hold the log, and the stream in which they hold it.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::context::RequestErrorKind;
use async_nats::jetstream::object_store::{self, ObjectStore};
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Info, PersistenceMode, RetentionPolicy, StorageType, Stream,
};
use async_nats::jetstream::{self, Context, ContextBuilder, ErrorCode};
use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event};
use futures_util::StreamExt as _;
use log::{info, warn};
use nkeys::KeyPair;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use starling_actors::clock;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::{sleep, timeout};
use tokio_rustls::rustls::{self, InvalidMessage};

use super::settings::NatsSettings;

/// The oldest version of nats-server that the log is put on: older ones get no more fixes.
const VERSION_MIN: (i64, i64, i64) = (2, 11, 0);

/// The smallest `max_payload` that is accepted: NATS' own default. Records have at most a quarter of it, unless one
/// message needs more.
const PAYLOAD_BYTES_MIN: usize = 1024 * 1024;

/// Longest time of one request to NATS.
pub(super) const REQUEST_TIME: Duration = Duration::from_secs(2);

/// Time between two attempts to connect for the first time.
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(500);

/// The interval of pings; NATS counts as gone after two that were not answered.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// How long servers are given to tell how they sync.
const SYNC_ANSWER_TIME: Duration = Duration::from_millis(500);

/// The first letters of the seed of a user's nkey.
const SEED_BEGINS: &str = "SU";

/// JetStream is not enabled, on the server or for the account.
const JETSTREAM_OFF: [ErrorCode; 2] = [ErrorCode::JETSTREAM_NOT_ENABLED, ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT];

/// The reason that the log cannot be used: one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum CannotConnect {
    /// The credentials cannot be read.
    #[error("cannot read CHAT_NATS_CREDENTIALS={}: {error}", path.display())]
    Credentials {
        /// The value of the variable.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// NATS lets nobody in with these credentials.
    #[error("NATS at {servers} does not accept the credentials of CHAT_NATS_URL or CHAT_NATS_CREDENTIALS: {error}")]
    Refused {
        /// The addresses, without passwords.
        servers: String,
        /// The answer of NATS.
        error: String,
    },
    /// NATS and the node do not agree on TLS.
    #[error("cannot connect to NATS at {servers} over TLS: {error}")]
    Tls {
        /// The addresses, without passwords.
        servers: String,
        /// The error.
        error: String,
    },
    /// No server can be reached.
    #[error("cannot reach NATS at {servers}: {error}")]
    Unreachable {
        /// The addresses, without passwords.
        servers: String,
        /// The error of the last attempt.
        error: String,
    },
    /// The servers lack something that the log needs.
    #[error("NATS cannot hold the log: {}", .0.join("; "))]
    Lacks(Vec<String>),
    /// Another node stores the messages, and this one does not.
    #[error(
        "the node {0} has CHAT_HISTORY=sqlite and this one has not: it would end empty rooms, whose messages the other has \
         stored; give all nodes the same CHAT_HISTORY"
    )]
    OtherStores(String),
    /// The servers do not answer as they should, and may do so later.
    #[error("NATS is not ready: {0}")]
    Unready(String),
    /// The thread of the log cannot be started, or has ended.
    #[error("the thread that reads and writes the log has ended")]
    Thread,
}

impl CannotConnect {
    /// Whether another attempt may succeed.
    fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Unready(_))
    }
}

/// Whether NATS syncs each record to disk before it acknowledges it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syncs {
    /// Each of the servers does.
    Always,
    /// One of the servers does not.
    Later,
    /// It does not tell.
    Unknown,
}

impl fmt::Display for Syncs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Always => "syncs each record to disk",
            Self::Later => "syncs records to disk some time after it has acknowledged them",
            Self::Unknown => "does not tell whether it syncs each record to disk",
        })
    }
}

/// The log, open.
pub(super) struct Engine {
    pub(super) client: Client,
    pub(super) stream: Stream,
    pub(super) info: Info,
    pub(super) checkpoints: ObjectStore,
    pub(super) syncs: Syncs,
    /// The events of the connection.
    pub(super) events: UnboundedReceiver<Event>,
}

/// The subject of the records.
pub(super) fn log_subject(stream: &str) -> String {
    format!("{stream}.log")
}

/// Asks NATS for something. Repeats the request after a temporary error, for the time in the settings.
pub(super) async fn patiently<T>(
    settings: &NatsSettings,
    attempt: impl AsyncFn() -> Result<T, CannotConnect>,
) -> Result<T, CannotConnect> {
    let deadline = clock::now() + settings.patience;
    let mut has_told = false;
    loop {
        match attempt().await {
            Err(error) if error.may_pass() && clock::now() < deadline => {
                if !std::mem::replace(&mut has_told, true) {
                    info!("waiting up to {} s for NATS: {error}", settings.patience.as_secs());
                }
                sleep(ATTEMPT_INTERVAL).await;
            }
            outcome => return outcome,
        }
    }
}

/// Opens the log.
pub(super) async fn open(settings: &NatsSettings) -> Result<Engine, CannotConnect> {
    let (client, events) = connect(settings).await?;
    check_server(settings, &client)?;
    let context = ContextBuilder::new().timeout(REQUEST_TIME).ack_timeout(REQUEST_TIME).build(client.clone());
    let info = open_stream(settings, &context).await?;
    let unready = |error: &dyn fmt::Display| CannotConnect::Unready(error.to_string());
    let stream = context.get_stream(&settings.stream).await.map_err(|error| unready(&error))?;
    let checkpoints = open_checkpoints(settings, &context).await?;
    let syncs = ask_for_sync(&client).await;
    if syncs != Syncs::Always && settings.replicas == 1 {
        warn!(
            "NATS {syncs}, and CHAT_NATS_REPLICAS is 1: if its machine crashes, acknowledged messages of up to two \
             minutes are lost, and the nodes stop; set jetstream {{ sync_interval: always }}, or have 3 replicas"
        );
    }
    Ok(Engine { client, stream, info, checkpoints, syncs, events })
}

async fn connect(settings: &NatsSettings) -> Result<(Client, UnboundedReceiver<Event>), CannotConnect> {
    let (tell, events) = mpsc::unbounded_channel();
    let mut options = ConnectOptions::new()
        .name(format!("starling {}", settings.node))
        .connection_timeout(REQUEST_TIME)
        .request_timeout(Some(REQUEST_TIME))
        .ping_interval(PING_INTERVAL)
        .reconnect_delay_callback(|attempts| Duration::from_millis(if attempts < 2 { 50 } else { 500 }))
        .event_callback(move |event| {
            // The receiver is gone when the thread ends.
            tell.send(event).unwrap_or_default();
            std::future::ready(())
        });
    if let Some(path) = &settings.credentials {
        let cannot = |error| CannotConnect::Credentials { path: path.clone(), error };
        let text = std::fs::read_to_string(path).map_err(cannot)?;
        options = with_credentials(options, &text).map_err(cannot)?;
    }
    if let Some((user, password)) = settings.user() {
        options = match password {
            Some(password) => options.user_and_password(user, password),
            None => options.token(user),
        };
    }
    let servers = settings.servers();
    let client = options.connect(settings.urls.as_slice()).await.map_err(|error| {
        if let Some(error) = tls_error(&error) {
            return CannotConnect::Tls { servers, error };
        }
        let (kind, error) = (error.kind(), error.to_string());
        match kind {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                CannotConnect::Refused { servers, error }
            }
            ConnectErrorKind::ServerParse
            | ConnectErrorKind::Dns
            | ConnectErrorKind::TimedOut
            | ConnectErrorKind::Tls
            | ConnectErrorKind::Io
            | ConnectErrorKind::MaxReconnects => CannotConnect::Unreachable { servers, error },
        }
    })?;
    Ok((client, events))
}

/// Takes over the content of a credentials file: a user's JWT and its seed, or an nkey's seed alone.
fn with_credentials(options: ConnectOptions, text: &str) -> io::Result<ConnectOptions> {
    let text = text.trim();
    if !text.starts_with(SEED_BEGINS) {
        // The last line must end with a line break, which editors may omit.
        return options.credentials(&format!("{text}\n"));
    }
    let wrong = |error| io::Error::new(io::ErrorKind::InvalidData, format!("it is not the seed of an nkey: {error}"));
    KeyPair::from_seed(text).map_err(wrong)?;
    Ok(options.nkey(text.to_owned()))
}

/// The TLS error, if the connection failed because of one.
fn tls_error(error: &ConnectError) -> Option<String> {
    let failed = error.source()?.downcast_ref::<io::Error>()?;
    let error = failed.get_ref()?.downcast_ref::<rustls::Error>()?;
    let speaks_no_tls = *error == rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
    Some(if speaks_no_tls {
        "it does not speak TLS; without TLS its address begins with nats://".into()
    } else {
        error.to_string()
    })
}

/// Checks the properties that the server reports.
fn check_server(settings: &NatsSettings, client: &Client) -> Result<(), CannotConnect> {
    let info = client.server_info();
    let (major, minor, patch) = VERSION_MIN;
    let mut missing = Vec::new();
    if !client.is_server_compatible(major, minor, patch) {
        missing.push(format!("its version is {}, and must be at least {major}.{minor}.{patch}", info.version));
    }
    let payload = PAYLOAD_BYTES_MIN.max(settings.record_bytes_max);
    if info.max_payload < payload {
        missing.push(format!("its max_payload is {}, and must be at least {payload}", info.max_payload));
    }
    if missing.is_empty() { Ok(()) } else { Err(CannotConnect::Lacks(missing)) }
}

/// Asks JetStream for something. The inner error is JetStream's own.
async fn ask<T: DeserializeOwned>(
    context: &Context,
    subject: String,
    body: &impl serde::Serialize,
) -> Result<Result<T, jetstream::Error>, CannotConnect> {
    let lacks = |what: &str| CannotConnect::Lacks(vec![what.to_owned()]);
    match context.request::<_, _, Response<T>>(subject, body).await {
        Ok(Response::Ok(answer)) => Ok(Ok(answer)),
        Ok(Response::Err { error }) if JETSTREAM_OFF.contains(&error.error_code()) => {
            Err(lacks("JetStream is not enabled"))
        }
        Ok(Response::Err { error }) => Ok(Err(error)),
        Err(error) if error.kind() == RequestErrorKind::NoResponders => {
            let is_off = !context.client().server_info().jetstream;
            Err(if is_off { lacks("JetStream is not enabled") } else { CannotConnect::Unready(error.to_string()) })
        }
        Err(error) => Err(CannotConnect::Unready(format!(
            "JetStream does not answer ({error}); its user must be allowed to publish to $JS.API.>"
        ))),
    }
}

async fn open_stream(settings: &NatsSettings, context: &Context) -> Result<Info, CannotConnect> {
    let name = &settings.stream;
    let found = ask::<Info>(context, format!("STREAM.INFO.{name}"), &()).await?;
    let info = match found {
        Ok(info) => info,
        Err(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
            let wanted = wanted(settings);
            let made = ask::<Info>(context, format!("STREAM.CREATE.{name}"), &wanted).await?;
            // Servers of a cluster that begins become peers one after the other, so this may pass.
            made.map_err(|error| {
                let replicas = settings.replicas;
                CannotConnect::Unready(format!("it does not make the stream {name} with {replicas} replicas: {error}"))
            })?
        }
        Err(error) => return Err(CannotConnect::Unready(error.to_string())),
    };
    let wrong = differences(settings, &info.config);
    if wrong.is_empty() { Ok(info) } else { Err(CannotConnect::Lacks(wrong)) }
}

fn wanted(settings: &NatsSettings) -> Config {
    Config {
        name: settings.stream.clone(),
        description: Some("The log of the nodes of a Starling chat".into()),
        subjects: vec![log_subject(&settings.stream)],
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        num_replicas: settings.replicas,
        ..Config::default()
    }
}

/// The settings in which the stream differs from the one that the log needs.
fn differences(settings: &NatsSettings, config: &Config) -> Vec<String> {
    let name = &settings.stream;
    let has_size = |most: i64, need: i64| most <= 0 || most >= need;
    let record_bytes = i64::try_from(settings.record_bytes_max).unwrap_or(i64::MAX);
    let demands = [
        (config.subjects == [log_subject(name)], format!("have the one subject {}", log_subject(name))),
        (config.storage == StorageType::File, "be stored in files".into()),
        (config.retention == RetentionPolicy::Limits, "have the retention \"limits\"".into()),
        (config.discard == DiscardPolicy::New, "discard new messages where it is full".into()),
        (config.max_age.is_zero(), "have no max_age".into()),
        (config.max_messages_per_subject <= 0, "have no limit of messages per subject".into()),
        (config.max_messages <= 0, "have no limit of messages".into()),
        (has_size(config.max_message_size.into(), record_bytes), format!("take messages of {record_bytes} bytes")),
        (!config.no_ack, "acknowledge messages".into()),
        (config.persist_mode != Some(PersistenceMode::Async), "not have the persistence mode \"async\"".into()),
        (config.mirror.is_none() && config.sources.as_ref().is_none_or(Vec::is_empty), "have no sources".into()),
        (!config.deny_purge && !config.sealed, "allow to purge it".into()),
        (
            config.num_replicas == settings.replicas,
            format!("have CHAT_NATS_REPLICAS={} replicas, and has {}", settings.replicas, config.num_replicas),
        ),
    ];
    let broken = demands.into_iter().filter(|(holds, _)| !holds);
    broken.map(|(_, demand)| format!("the stream {name} must {demand}")).collect()
}

async fn open_checkpoints(settings: &NatsSettings, context: &Context) -> Result<ObjectStore, CannotConnect> {
    let bucket = format!("{}-checkpoints", settings.stream);
    if let Ok(found) = context.get_object_store(&bucket).await {
        return Ok(found);
    }
    let config = object_store::Config {
        bucket,
        description: Some("Checkpoints of the nodes of a Starling chat".into()),
        storage: StorageType::File,
        num_replicas: settings.replicas,
        ..object_store::Config::default()
    };
    let made = context.create_object_store(config).await;
    made.map_err(|error| CannotConnect::Unready(format!("it does not make the store of checkpoints: {error}")))
}

/// The JetStream settings of a server.
#[derive(Debug, Deserialize)]
struct JetStreamInfo {
    data: Option<JetStreamData>,
}

#[derive(Debug, Deserialize)]
struct JetStreamData {
    config: Option<JetStreamConfig>,
}

#[derive(Debug, Deserialize)]
struct JetStreamConfig {
    #[serde(default)]
    sync_always: bool,
}

/// Asks the servers whether they sync. They tell it to their system account, and to an account that imports the service
/// from it.
async fn ask_for_sync(client: &Client) -> Syncs {
    let inbox = client.new_inbox();
    let Ok(mut answers) = client.subscribe(inbox.clone()).await else { return Syncs::Unknown };
    let asked = client.publish_with_reply("$SYS.REQ.SERVER.PING.JSZ", inbox, Vec::new().into()).await;
    if asked.is_err() {
        return Syncs::Unknown;
    }
    let mut syncs = Syncs::Unknown;
    while let Ok(Some(answer)) = timeout(SYNC_ANSWER_TIME, answers.next()).await {
        if answer.status.is_some() {
            break;
        }
        let Ok(told) = serde_json::from_slice::<JetStreamInfo>(&answer.payload) else { continue };
        // A server without JetStream has no `config`.
        let Some(config) = told.data.and_then(|data| data.config) else { continue };
        if !config.sync_always {
            return Syncs::Later;
        }
        syncs = Syncs::Always;
    }
    syncs
}
