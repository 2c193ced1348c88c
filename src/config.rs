//! Every knob of the server: its variable, default, unit and range.
//!
//! Defaults < `.env` < environment. Read and checked once at start, then immutable.

mod error;
mod kinds;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use starling_actors::ChatConfig;
use starling_actors::history::Durability;
use starling_actors::history::sqlite::SqliteSettings;
use starling_actors::nodes::packer::RECORD_BYTES_MAX;
use starling_process::{dotenv, log_lines};

use crate::addresses::{AddressLimits, ForwardedHeader, Networks, Proxies};
use crate::control_group::{self, ControlGroups};
use crate::http_limits::HttpLimits;
use crate::nats::NatsSettings;
use crate::origin::AllowedOrigins;
use crate::path_prefix::PathPrefix;

pub use self::error::ConfigError;
use self::kinds::{
    AUTH_MODES, Address, FORWARDED_HEADERS, FilePath, Folder, HISTORY_MODES, HISTORY_SYNCS, Hidden, Kind, LOG_FORMATS,
    LogFilter, Name, NetworkList, Number, OptionalFile, Origins, Patterns, Prefix, REPLICAS, Receivers, SWITCH, Urls,
};
pub use self::kinds::{AuthMode, Chosen, HistoryMode, NatsUrls, RoomPatterns, Secret, WebhookUrls};
pub(crate) use self::kinds::{without_password, without_path};

/// The prefix of every variable of the server.
pub const PREFIX: &str = "CHAT_";

/// Variables with that prefix for `compose.yaml`, not for the server: its container's resources and published port. One
/// `.env` contains both kinds, so the server ignores these.
pub const STACK_VARIABLES: [&str; 5] = ["CHAT_CPUS", "CHAT_MEMORY", "CHAT_NOFILE", PUBLISHED_PORT, "CHAT_STOP_GRACE"];

/// The variable of the stack that is easily mistaken for the server's own port.
pub(crate) const PUBLISHED_PORT: &str = "CHAT_PORT";

/// The variables that must have the same value on all nodes of a chat. `docs/nodes.md` says what happens otherwise.
const SAME_ON_ALL_NODES: [&str; 18] = [
    "CHAT_AUTH",
    "CHAT_EMPTY_ROOM_SECONDS",
    "CHAT_INBOXES",
    "CHAT_INBOXES_PER_CLIENT",
    "CHAT_REMEMBERED_IDS",
    "CHAT_ROOMS",
    "CHAT_HISTORY",
    "CHAT_HISTORY_KEEP_BYTES",
    "CHAT_HISTORY_KEEP_MESSAGES",
    "CHAT_HISTORY_KEEP_SECONDS",
    "CHAT_BURST",
    "CHAT_FRAME_BYTES",
    "CHAT_JOINS_PER_MINUTE",
    "CHAT_MESSAGES_PER_SECOND",
    "CHAT_MESSAGE_BYTES",
    "CHAT_ROOMS_PER_CLIENT",
    "CHAT_SEEN_BY",
    "CHAT_NODE_TIMEOUT_SECONDS",
];

/// Plausible wrong names, each with the variable that is probably meant. Spelling distance would not find it.
pub(crate) const EXPECTED_NAMES: [(&str, &str); 6] = [
    ("CHAT_ADDR", "CHAT_BIND"),
    ("CHAT_ADDRESS", "CHAT_BIND"),
    ("CHAT_HOST", "CHAT_BIND"),
    ("CHAT_LISTEN", "CHAT_BIND"),
    ("CHAT_LOG_LEVEL", "CHAT_LOG"),
    ("CHAT_DB", "CHAT_HISTORY_PATH"),
];

/// Most bytes of JSON for one byte of a text: `\\u0001`.
const ESCAPED_BYTES: u64 = 6;

/// The smallest accepted memory limit.
const MEMORY_BYTES_MIN: u64 = 33_554_432;

/// Space in a frame for all fields of a message except its text, each at its maximum length and escaped.
const OTHER_FIELDS_BYTES: u64 = 2_048;

/// Space in a record for all fields of one message except its text.
const RECORD_OVERHEAD: usize = 4_096;

/// The time that a starting server waits for NATS: enough for a NATS cluster that starts at the same time.
const NATS_PATIENCE: Duration = Duration::from_secs(30);

/// The description of a knob.
#[derive(Debug, Clone)]
pub struct Knob {
    /// The environment variable.
    pub variable: &'static str,
    /// The heading below which `--help` lists it.
    pub subject: &'static str,
    /// The value if the variable is not set.
    pub default: &'static str,
    /// The accepted values, as text.
    pub range: String,
    /// The effect, with its unit, and what happens at the limit.
    pub about: String,
    /// Whether the value is never shown.
    pub is_secret: bool,
}

macro_rules! knobs {
    ($($subject:literal {
        $($(#[doc = $doc:literal])+ $field:ident: $type:ty = $variable:literal, $default:literal, $kind:expr;)+
    })+) => {
        /// The server's configuration.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Config {
            $($($(#[doc = $doc])+ #[doc = ""] #[doc = concat!("`", $variable, "`, default `", $default, "`.")] pub $field: $type,)+)+
        }

        impl Config {
            /// All knobs, in the order in which they are shown.
            pub fn knobs() -> Vec<Knob> {
                vec![$($(Knob {
                    variable: $variable,
                    subject: $subject,
                    default: $default,
                    range: $kind.range(),
                    about: [$($doc),+].concat().trim().to_owned(),
                    is_secret: $kind.is_secret(),
                },)+)+]
            }

            /// The values in force, by variable.
            pub fn values(&self) -> Vec<(&'static str, String)> {
                vec![$($(($variable, self.$field.to_string()),)+)+]
            }

            fn read(variables: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
                Ok(Self {
                    $($($field: {
                        let value = variables.get($variable).map_or($default, String::as_str);
                        $kind.parse(value).ok_or_else(|| ConfigError::BadValue {
                            variable: $variable,
                            value: $kind.shown(value),
                            range: $kind.range(),
                        })?
                    },)+)+
                })
            }
        }
    };
}

knobs! {
    "The port and its connections" {
        /// Address and port to listen on; port 0 takes a free one, which the log names.
        bind: SocketAddr = "CHAT_BIND", "127.0.0.1:8080", Address;
        /// Worker threads; 0: one per core that the process may use.
        workers: u64 = "CHAT_WORKERS", "0", Number(0, 64);
        /// Maximum number of connections at a time, over any protocol; above the limit 128 more may use plain HTTP, and
        /// WebSockets are refused with 503. 0: as many as the limit of open files allows.
        connections: u64 = "CHAT_CONNECTIONS", "0", Number(0, 10_000_000);
        /// Maximum number of connections of one client address, over any protocol; the next one is refused with 429. 0:
        /// no limit. An IPv6 network of 64 bits counts as one address.
        connections_per_address: u64 = "CHAT_CONNECTIONS_PER_ADDRESS", "0", Number(0, 10_000_000);
        /// Maximum number of handshakes per second of one client address, and in one burst; more are refused with 429
        /// and the time to wait. 0: no limit.
        handshakes_per_second: u64 = "CHAT_HANDSHAKES_PER_SECOND", "0", Number(0, 1_000_000);
        /// Maximum number of seconds for a TLS handshake, then for the head of each request, and for each 16 KiB of its
        /// body; a slower connection is closed.
        handshake_seconds: u64 = "CHAT_HANDSHAKE_SECONDS", "5", Number(1, 60);
    }
    "Proxies and pages" {
        /// Reverse proxies that the server believes about a client: its address, and the host and scheme of its
        /// request. Empty: none.
        trusted_proxies: Networks = "CHAT_TRUSTED_PROXIES", "", NetworkList;
        /// The header in which these proxies pass on the client's address; they must set or extend it. X-Forwarded-Host
        /// and X-Forwarded-Proto are read only with x-forwarded-for.
        forwarded_header: Chosen<ForwardedHeader> = "CHAT_FORWARDED_HEADER", "x-forwarded-for", FORWARDED_HEADERS;
        /// Path prefix of a proxy that does not remove it from requests; requests without it are served too. Empty: the
        /// proxy removes the prefix, or there is none.
        path_prefix: PathPrefix = "CHAT_PATH_PREFIX", "", Prefix;
        /// Origins of the pages and apps that may connect; others are refused with 403, programs that send no origin
        /// are allowed. Empty: pages of the same host.
        allowed_origins: AllowedOrigins = "CHAT_ALLOWED_ORIGINS", "", Origins;
    }
    "TLS" {
        /// The server's certificate and its intermediate certificates, as PEM; with it the port speaks TLS only. Read
        /// again at SIGHUP.
        tls_cert: String = "CHAT_TLS_CERT", "", OptionalFile;
        /// The private key of the certificate, as PEM. Read again at SIGHUP.
        tls_key: String = "CHAT_TLS_KEY", "", OptionalFile;
    }
    "What a client may send" {
        /// Maximum number of frames per second of one connection, on average; more are refused with `rate_limited`. 0:
        /// no limit.
        messages_per_second: u64 = "CHAT_MESSAGES_PER_SECOND", "50", Number(0, 1_000_000);
        /// Maximum number of frames that one connection may send in one burst after a pause.
        burst: u64 = "CHAT_BURST", "100", Number(1, 1_000_000);
        /// Maximum number of joins per minute of one connection, and in one burst; more are refused with
        /// `rate_limited`. 0: no limit.
        joins_per_minute: u64 = "CHAT_JOINS_PER_MINUTE", "600", Number(0, 1_000_000);
        /// Maximum number of bytes of one message's text, as UTF-8; a longer one is refused with `message_too_large`.
        message_bytes: u64 = "CHAT_MESSAGE_BYTES", "16384", Number(1, 1_048_576);
        /// Maximum number of bytes of one frame of a client, its fragments together; a larger one closes the connection
        /// with 1009.
        frame_bytes: u64 = "CHAT_FRAME_BYTES", "131072", Number(4_096, 16_777_216);
    }
    "What a client receives" {
        /// Smallest frame in bytes that is compressed, once for all receivers that accept compression. 0: compression
        /// is not offered.
        compression_bytes: u64 = "CHAT_COMPRESSION_BYTES", "256", Number(0, 16_777_216);
        /// Maximum number of unsent bytes of one client; a frame that would exceed it closes the connection with 4001.
        outbox_bytes: u64 = "CHAT_OUTBOX_BYTES", "1048576", Number(262_144, 67_108_864);
        /// Maximum number of unsent bytes of all clients, divided equally among the workers, and never more than half
        /// of the memory limit; above it the server closes the connections that have the most unsent bytes (code 1013).
        outboxes_bytes: u64 = "CHAT_OUTBOXES_BYTES", "1073741824", Number(262_144, 1_099_511_627_776);
        /// Seconds after which a connection is closed with 4001 if its full socket has accepted no bytes. Over HTTP, a
        /// connection is closed if it has accepted fewer than 16 KiB in this time.
        slow_client_seconds: u64 = "CHAT_SLOW_CLIENT_SECONDS", "20", Number(1, 3_600);
        /// Seconds between pings; a connection that is silent for two of them is closed with 4002.
        heartbeat_seconds: u64 = "CHAT_HEARTBEAT_SECONDS", "25", Number(1, 3_600);
    }
    "Rooms and memory" {
        /// Maximum number of rooms that one connection may be in; the next is refused with `too_many_rooms`.
        rooms_per_client: u64 = "CHAT_ROOMS_PER_CLIENT", "64", Number(1, 10_000);
        /// Maximum number of rooms; at the limit an empty room is removed for a new one, or the new one is refused with
        /// `too_many_rooms`.
        rooms: u64 = "CHAT_ROOMS", "100000", Number(1, 10_000_000);
        /// Whether the members of a room of at most 50 see how far the others have read, unless the room has a setting of
        /// its own.
        seen_by: Chosen<bool> = "CHAT_SEEN_BY", "false", SWITCH;
        /// Seconds for which an empty room is kept; longer while a stored history has messages of it.
        empty_room_seconds: u64 = "CHAT_EMPTY_ROOM_SECONDS", "300", Number(300, 31_536_000);
        /// Maximum memory of the process in bytes; from 95 % of it, new connections and searches over HTTP are refused
        /// with 503. 0: the memory limit of the container, if it has one.
        memory_bytes: u64 = "CHAT_MEMORY_BYTES", "0", Number(0, 1_125_899_906_842_624);
    }
    "History" {
        /// Where messages are kept: in a file that survives restarts, in memory while the server runs, or nowhere.
        history: Chosen<HistoryMode> = "CHAT_HISTORY", "sqlite", HISTORY_MODES;
        /// The file of the stored history; its folder is created.
        history_path: String = "CHAT_HISTORY_PATH", "data/starling.db", FilePath;
        /// When a message counts as stored: normal survives a crash of the process, full also a crash of the machine.
        history_sync: Chosen<Durability> = "CHAT_HISTORY_SYNC", "normal", HISTORY_SYNCS;
        /// Maximum number of stored messages of one room without a limit of its own; the oldest are dropped first. 0: no limit.
        history_keep_messages: u64 = "CHAT_HISTORY_KEEP_MESSAGES", "0", Number(0, 1_000_000_000_000);
        /// Seconds for which a message stays stored, in a room without a limit of its own. 0: no limit.
        history_keep_seconds: u64 = "CHAT_HISTORY_KEEP_SECONDS", "0", Number(0, 3_153_600_000);
        /// Maximum number of bytes of the stored history without its search index; the oldest messages of all rooms are
        /// dropped first. 0: no limit.
        history_keep_bytes: u64 = "CHAT_HISTORY_KEEP_BYTES", "10737418240", Number(0, 1_125_899_906_842_624);
        /// Maximum number of messages of one room in memory, as a cache in front of a stored history; the oldest are
        /// dropped first.
        history_messages: u64 = "CHAT_HISTORY_MESSAGES", "1000", Number(1, 1_000_000);
        /// Maximum number of bytes of messages of all rooms in memory; the oldest are dropped first.
        history_bytes: u64 = "CHAT_HISTORY_BYTES", "67108864", Number(65_536, 1_099_511_627_776);
        /// Maximum number of message ids remembered to detect duplicates, each for five minutes; near the limit, the
        /// clients with the most ids lose their oldest ones early.
        remembered_ids: u64 = "CHAT_REMEMBERED_IDS", "262144", Number(1_024, 100_000_000);
    }
    "Flow control and shutdown" {
        /// Maximum number of commands of one client in flight (received and not yet carried out); at the limit its
        /// socket is not read.
        client_credits: u64 = "CHAT_CLIENT_CREDITS", "64", Number(1, 65_536);
        /// Maximum number of commands of all clients in flight; at the limit no socket is read.
        server_credits: u64 = "CHAT_SERVER_CREDITS", "4096", Number(1, 1_000_000);
        /// Seconds that clients have to leave when the server stops; their reconnects are spread over the same time.
        drain_seconds: u64 = "CHAT_DRAIN_SECONDS", "5", Number(0, 600);
    }
    "Names, tokens and inboxes" {
        /// Whether names are authenticated: open, a name belongs to the connection that holds it; jwt, every client
        /// needs a token.
        auth: Chosen<AuthMode> = "CHAT_AUTH", "open", AUTH_MODES;
        /// The secret with which tokens are signed (HS256).
        jwt_secret: Secret = "CHAT_JWT_SECRET", "", Hidden(32);
        /// The public key of the issuer of tokens, as PEM: RSA (RS256) or Ed25519 (`EdDSA`).
        jwt_public_key_file: String = "CHAT_JWT_PUBLIC_KEY_FILE", "", OptionalFile;
        /// The bearer token of operators. If it is empty, only clients whose token contains `admin: true` are
        /// operators.
        admin_token: Secret = "CHAT_ADMIN_TOKEN", "", Hidden(16);
        /// Maximum number of inboxes; at the limit, writing to a client that has none may be refused with
        /// `too_many_inboxes`. A connected client always gets one.
        inboxes: u64 = "CHAT_INBOXES", "100000", Number(1, 10_000_000);
        /// Maximum number of inboxes that one client may create by writing to clients that have never connected; the
        /// next is refused with `too_many_inboxes`.
        inboxes_per_client: u64 = "CHAT_INBOXES_PER_CLIENT", "1000", Number(1, 10_000_000);
    }
    "Several nodes" {
        /// Addresses of NATS JetStream, which makes several servers one chat. Empty: this server is alone.
        nats_url: NatsUrls = "CHAT_NATS_URL", "", Urls;
        /// The file with the credentials for NATS: a user's `.creds`, or the seed of an nkey; empty: the addresses
        /// contain a user, or NATS asks for none.
        nats_credentials: String = "CHAT_NATS_CREDENTIALS", "", OptionalFile;
        /// The stream of NATS that is the log of all nodes. One chat has one stream; a missing one is created.
        nats_stream: String = "CHAT_NATS_STREAM", "starling", Name(false);
        /// Servers of NATS that store each record; at least 3 for a chat that outlives one of them.
        nats_replicas: Chosen<usize> = "CHAT_NATS_REPLICAS", "1", REPLICAS;
        /// The name of this node, for people. Empty: the name of the host.
        node_name: String = "CHAT_NODE_NAME", "", Name(true);
        /// Seconds without a sign of life after which the other nodes declare a node dead, and after which a node that
        /// cannot reach NATS closes its connections with 1001.
        node_timeout_seconds: u64 = "CHAT_NODE_TIMEOUT_SECONDS", "10", Number(2, 300);
    }
    "Webhooks" {
        /// Receivers to which the server posts every message and change of the rooms, in the order of each room, until
        /// they are accepted. Empty: none.
        webhook_urls: WebhookUrls = "CHAT_WEBHOOK_URLS", "", Receivers;
        /// The secret with which the requests to them are signed (HMAC-SHA256).
        webhook_secret: Secret = "CHAT_WEBHOOK_SECRET", "", Hidden(16);
        /// The rooms that they get; private messages are never among them.
        webhook_rooms: RoomPatterns = "CHAT_WEBHOOK_ROOMS", "*", Patterns;
    }
    "Page and log" {
        /// The folder of the page, read at every request, for development of the page. Empty: the page that is compiled
        /// into the program.
        web_dir: String = "CHAT_WEB_DIR", "", Folder;
        /// Filter of the log lines on standard error; while standard error is blocked, lines are dropped and counted.
        log: String = "CHAT_LOG", "info", LogFilter;
        /// How log lines are written: text for people, or json, one object a line.
        log_format: Chosen<log_lines::Format> = "CHAT_LOG_FORMAT", "text", LOG_FORMATS;
    }
}

impl Default for Config {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "a test reads every default")]
        Self::read(&BTreeMap::new()).expect("the defaults are valid")
    }
}

impl Config {
    /// Reads the configuration from these variables; those without the server's prefix are ignored.
    ///
    /// # Errors
    /// [`ConfigError`] for the first invalid variable.
    pub fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let is_ours = |name: &str| name.starts_with(PREFIX) && !STACK_VARIABLES.contains(&name);
        let variables: BTreeMap<_, _> = variables.into_iter().filter(|(name, _)| is_ours(name)).collect();
        let knobs = Self::knobs();
        for name in variables.keys() {
            if knobs.iter().any(|knob| knob.variable == name) {
                continue;
            }
            let distance = |knob: &&Knob| strsim::damerau_levenshtein(knob.variable, name);
            let meant = EXPECTED_NAMES.iter().find(|(expected, _)| expected == name).map(|(_, variable)| *variable);
            let nearest = meant.or_else(|| knobs.iter().min_by_key(distance).map(|knob| knob.variable));
            let nearest = nearest.unwrap_or(PREFIX);
            return Err(ConfigError::Unknown { variable: name.clone(), nearest });
        }
        let config = Self::read(&variables)?;
        config.validate()?;
        Ok(config)
    }

    /// Checks the constraints between knobs.
    fn validate(&self) -> Result<(), ConfigError> {
        let (has_secret, has_key) = (self.jwt_secret.as_bytes().is_some(), !self.jwt_public_key_file.is_empty());
        match (self.auth.value, has_secret, has_key) {
            (AuthMode::Open, false, false) | (AuthMode::Jwt, true, false) | (AuthMode::Jwt, false, true) => {}
            (AuthMode::Open, _, _) => {
                return Err(ConfigError::Contradiction(
                    "CHAT_AUTH=open uses no tokens, but CHAT_JWT_SECRET or CHAT_JWT_PUBLIC_KEY_FILE is set",
                ));
            }
            (AuthMode::Jwt, _, _) => {
                return Err(ConfigError::Contradiction(
                    "CHAT_AUTH=jwt needs either CHAT_JWT_SECRET or CHAT_JWT_PUBLIC_KEY_FILE, and not both",
                ));
            }
        }
        let at_least = |variable, value, least, reason| {
            if value >= least { Ok(()) } else { Err(ConfigError::TooSmall { variable, value, least, reason }) }
        };
        at_least(
            "CHAT_FRAME_BYTES",
            self.frame_bytes,
            ESCAPED_BYTES * self.message_bytes + OTHER_FIELDS_BYTES,
            "a byte of a message can take six bytes in a frame (\\u0001), and the frame has other fields",
        )?;
        at_least(
            "CHAT_OUTBOX_BYTES",
            self.outbox_bytes,
            8 * self.message_bytes,
            "a byte of a message can take six bytes in a frame, and one message must fit",
        )?;
        at_least(
            "CHAT_OUTBOXES_BYTES",
            self.outboxes_bytes,
            self.outbox_bytes.saturating_mul(self.worker_count() as u64),
            "the share of each worker must hold one outbox of CHAT_OUTBOX_BYTES",
        )?;
        if self.memory_bytes > 0 {
            at_least("CHAT_MEMORY_BYTES", self.memory_bytes, MEMORY_BYTES_MIN, "the server itself needs this much")?;
        }
        if self.nats_url.0.is_empty() && !self.nats_credentials.is_empty() {
            let (variable, missing) = ("CHAT_NATS_CREDENTIALS", "CHAT_NATS_URL");
            return Err(ConfigError::Alone { variable, missing, reason: "the credentials need an address" });
        }
        if !self.webhook_urls.0.is_empty() && self.webhook_secret.as_bytes().is_none() {
            let (variable, missing) = ("CHAT_WEBHOOK_URLS", "CHAT_WEBHOOK_SECRET");
            return Err(ConfigError::Alone {
                variable,
                missing,
                reason: "receivers must be able to check each request",
            });
        }
        if !self.webhook_urls.0.is_empty() && self.history.value == HistoryMode::Off {
            return Err(ConfigError::Contradiction("CHAT_WEBHOOK_URLS needs a history, but CHAT_HISTORY is off"));
        }
        let (variable, missing) = match (self.tls_cert.is_empty(), self.tls_key.is_empty()) {
            (false, true) => ("CHAT_TLS_CERT", "CHAT_TLS_KEY"),
            (true, false) => ("CHAT_TLS_KEY", "CHAT_TLS_CERT"),
            (true, true) | (false, false) => return Ok(()),
        };
        Err(ConfigError::Alone { variable, missing, reason: "TLS needs both" })
    }

    /// The files of the certificate and the key, if TLS is configured.
    pub fn tls_files(&self) -> Option<(PathBuf, PathBuf)> {
        (!self.tls_cert.is_empty()).then(|| (self.tls_cert.clone().into(), self.tls_key.clone().into()))
    }

    /// The file with the positions of webhooks, beside the stored history; `None`: there is no stored history.
    pub(crate) fn webhook_positions(&self) -> Option<PathBuf> {
        (self.history.value == HistoryMode::Sqlite)
            .then(|| PathBuf::from(&self.history_path).with_extension("webhooks.db"))
    }

    /// The log of several nodes, if there is one.
    pub fn nats(&self) -> Option<NatsSettings> {
        (!self.nats_url.0.is_empty()).then(|| NatsSettings {
            urls: self.nats_url.0.clone(),
            credentials: (!self.nats_credentials.is_empty()).then(|| self.nats_credentials.clone().into()),
            stream: self.nats_stream.clone(),
            replicas: self.nats_replicas.value,
            node: self.node_name(),
            same: self.same_on_all_nodes(),
            record_bytes_max: RECORD_BYTES_MAX.max(size(self.message_bytes) + RECORD_OVERHEAD),
            patience: NATS_PATIENCE,
        })
    }

    /// The name of this node: the configured one, or the host's name without invalid characters.
    pub fn node_name(&self) -> String {
        if self.node_name.is_empty() { kinds::name_of_host() } else { self.node_name.clone() }
    }

    /// The values of [`SAME_ON_ALL_NODES`].
    fn same_on_all_nodes(&self) -> BTreeMap<String, String> {
        let values = self.values().into_iter().filter(|(variable, _)| SAME_ON_ALL_NODES.contains(variable));
        values.map(|(variable, value)| (variable.to_owned(), value)).collect()
    }

    /// The time without a sign of life after which a node is declared dead.
    pub fn node_timeout(&self) -> Duration {
        Duration::from_secs(self.node_timeout_seconds)
    }

    /// The limits of an HTTP connection.
    pub(crate) fn http_limits(&self) -> HttpLimits {
        HttpLimits {
            head: self.handshake_time(),
            answer: Duration::from_secs(self.slow_client_seconds),
            body_bytes: self.frame_bytes,
        }
    }

    /// Longest time of a TLS handshake, and then of the head of a request.
    pub(crate) fn handshake_time(&self) -> Duration {
        Duration::from_secs(self.handshake_seconds)
    }

    /// The limits of one client address.
    pub(crate) fn address_limits(&self) -> AddressLimits {
        AddressLimits {
            connections: small(self.connections_per_address),
            handshakes_per_second: small(self.handshakes_per_second),
        }
    }

    /// The trusted reverse proxies.
    pub(crate) fn proxies(&self) -> Proxies {
        Proxies { trusted: self.trusted_proxies.clone(), header: self.forwarded_header.value }
    }

    /// The number of worker threads.
    pub fn worker_count(&self) -> usize {
        match usize::try_from(self.workers) {
            Ok(0) | Err(_) => Self::cores().min(64),
            Ok(workers) => workers,
        }
    }

    /// The memory limit of the process in bytes: the configured one, or the container's. `None`: there is no limit.
    fn memory_limit(&self) -> Option<u64> {
        let configured = Some(self.memory_bytes).filter(|bytes| *bytes > 0);
        configured.or_else(|| ControlGroups::own().memory().map(|memory| memory.limit))
    }

    /// The limit for all outboxes together. Outboxes cannot shrink when memory is short, so they get at most half of
    /// it, but always one full outbox per worker.
    pub(crate) fn outboxes_bytes(&self) -> u64 {
        let half = self.memory_limit().map_or(u64::MAX, |limit| limit / 2);
        let one_each = self.outbox_bytes.saturating_mul(self.worker_count() as u64);
        self.outboxes_bytes.min(half).max(one_each)
    }

    /// The number of cores that this process may use. A container's fractional limit is rounded up.
    pub fn cores() -> usize {
        control_group::cores()
    }

    /// The folder of the page; `None`: the compiled-in page.
    pub fn web_folder(&self) -> Option<PathBuf> {
        (!self.web_dir.is_empty()).then(|| PathBuf::from(&self.web_dir))
    }

    /// The configuration of the chat.
    pub fn chat(&self) -> ChatConfig {
        ChatConfig {
            server: format!("starling/{}", env!("CARGO_PKG_VERSION")),
            message_bytes: small(self.message_bytes),
            frame_bytes: small(self.frame_bytes),
            compression_bytes_min: small(self.compression_bytes),
            messages_per_second: small(self.messages_per_second),
            burst: small(self.burst),
            joins_per_minute: small(self.joins_per_minute),
            rooms_per_session: small(self.rooms_per_client),
            rooms: small(self.rooms),
            inboxes: small(self.inboxes),
            inboxes_per_client: small(self.inboxes_per_client),
            private_is_kept: self.auth.value == AuthMode::Jwt && self.history.value != HistoryMode::Off,
            outbox_bytes: small(self.outbox_bytes),
            outboxes_bytes_per_hub: self.outboxes_bytes() / self.worker_count() as u64,
            slow_client: Duration::from_secs(self.slow_client_seconds),
            heartbeat: Duration::from_secs(self.heartbeat_seconds),
            ids_max: small(self.remembered_ids),
            empty_room_kept: Duration::from_secs(self.empty_room_seconds),
            history_messages: small(self.history_messages),
            history_bytes: self.history_bytes,
            history_is_stored: self.history.value == HistoryMode::Sqlite,
            history_keep_messages: match self.history.value {
                HistoryMode::Sqlite => bound(self.history_keep_messages).unwrap_or(u64::MAX),
                HistoryMode::Memory => self.history_messages,
                HistoryMode::Off => 0,
            },
            session_credits: small(self.client_credits),
            server_credits: small(self.server_credits),
            ids_remembered: ChatConfig::IDS_REMEMBERED,
            // Added by the edge, if there are receivers of webhooks.
            followers: Vec::new(),
            // Verified by the edge, which adds its verifier.
            tokens: None,
            seen_by: self.seen_by.value,
        }
    }

    /// The settings of the stored history.
    pub fn sqlite(&self) -> SqliteSettings {
        let chat = self.chat();
        SqliteSettings {
            path: self.history_path.clone().into(),
            follows_log: !self.nats_url.0.is_empty(),
            durability: self.history_sync.value,
            keep_messages: bound(self.history_keep_messages),
            keep_for: bound(self.history_keep_seconds).map(Duration::from_secs),
            keep_bytes: bound(self.history_keep_bytes),
            ids_kept: chat.ids_remembered,
            ids_max: chat.ids_max,
        }
    }
}

/// Converts a number whose range ends far below that of `usize`.
fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// A limit, which 0 switches off.
fn bound(value: u64) -> Option<u64> {
    (value > 0).then_some(value)
}

/// Converts a number whose range ends far below that of `u32`.
fn small(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// The configuration in `.env` format, with values quoted where necessary.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (variable, value) in self.values() {
            writeln!(f, "{}", dotenv::line(variable, &value))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
