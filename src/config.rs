//! Every knob of the server: its variable, default, unit and range.
//!
//! Defaults < `.env` < environment. Read and checked once at start, then immutable.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use starling_actors::ChatConfig;
use starling_actors::history::sqlite::{SqliteSettings, Sync};

use crate::addresses::{AddressLimits, ForwardedHeader, Networks, Proxies};
use crate::origin::AllowedOrigins;

/// What every variable of the server begins with.
pub const PREFIX: &str = "CHAT_";

/// Variables with that prefix that are for `compose.yaml`, not for the server: what its container may use, and where it
/// is reached. One `.env` holds both kinds, so the server passes over these.
pub const STACK_VARIABLES: [&str; 5] = ["CHAT_CPUS", "CHAT_MEMORY", "CHAT_NOFILE", "CHAT_PORT", "CHAT_STOP_GRACE"];

/// What is known of a knob beside its value.
#[derive(Debug, Clone)]
pub struct Knob {
    /// The environment variable.
    pub variable: &'static str,
    /// The value where the variable is not set.
    pub default: &'static str,
    /// Which values are taken.
    pub range: String,
    /// What it does, with its unit and what happens at the limit.
    pub about: String,
}

/// Why the configuration is not taken: one line for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The value is none of those taken.
    #[error("{variable}={value}: must be {range}")]
    BadValue {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        value: String,
        /// What it may hold.
        range: String,
    },
    /// There is no such variable.
    #[error("{variable} is not known; did you mean {nearest}?")]
    Unknown {
        /// What was set.
        variable: String,
        /// The known variable that looks most like it.
        nearest: &'static str,
    },
    /// A value is missing or too many beside another.
    #[error("{0}")]
    Contradiction(&'static str),
    /// Two values do not go together.
    #[error("{variable}={value} is too small: it must be at least {least}, because {reason}")]
    TooSmall {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        value: u64,
        /// The least that goes with the others.
        least: u64,
        /// Why.
        reason: &'static str,
    },
    /// One of two values that need each other is missing.
    #[error("{variable} is set and {missing} is not: {reason}")]
    Alone {
        /// The variable that is set.
        variable: &'static str,
        /// The one that is not.
        missing: &'static str,
        /// Why.
        reason: &'static str,
    },
}

/// A kind of value.
trait Kind {
    type Value: fmt::Display;
    fn parse(&self, text: &str) -> Option<Self::Value>;
    fn range(&self) -> String;

    /// The text as it may be told to whoever reads an error.
    fn shown(&self, text: &str) -> String {
        text.to_owned()
    }
}

/// A whole number in a range.
struct Number(u64, u64);

impl Kind for Number {
    type Value = u64;

    fn parse(&self, text: &str) -> Option<u64> {
        text.parse().ok().filter(|value| (self.0..=self.1).contains(value))
    }

    fn range(&self) -> String {
        format!("a whole number from {} to {}", self.0, self.1)
    }
}

/// An IP address and a port.
struct Address;

impl Kind for Address {
    type Value = SocketAddr;

    fn parse(&self, text: &str) -> Option<SocketAddr> {
        text.parse().ok()
    }

    fn range(&self) -> String {
        "an IP address and a port, like 127.0.0.1:8080 or [::]:8080".into()
    }
}

/// Where the history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryMode {
    /// In a file, over restarts.
    Sqlite,
    /// In memory, while the process lives.
    Memory,
    /// Nowhere.
    Off,
}

/// How names are authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    /// Not at all: a name belongs to who holds it.
    Open,
    /// By signed tokens.
    Jwt,
}

/// A text that nobody is shown; empty: there is none.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text, if there is one.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        (!self.0.is_empty()).then_some(self.0.as_bytes())
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "" } else { HIDDEN })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({self})")
    }
}

/// Stands for a secret where it is shown. Shorter than any secret, so it is never taken for one.
const HIDDEN: &str = "(hidden)";

/// A secret of so many bytes at least.
struct Hidden(usize);

impl Kind for Hidden {
    type Value = Secret;

    fn parse(&self, text: &str) -> Option<Secret> {
        (text.is_empty() || (self.0..=4_096).contains(&text.len())).then(|| Secret(text.to_owned()))
    }

    fn range(&self) -> String {
        format!("a secret of at least {} bytes, or empty", self.0)
    }

    fn shown(&self, _: &str) -> String {
        HIDDEN.into()
    }
}

/// The path of a file, or nothing.
struct OptionalFile;

impl Kind for OptionalFile {
    type Value = String;

    fn parse(&self, text: &str) -> Option<String> {
        (!text.ends_with('/')).then(|| text.to_owned())
    }

    fn range(&self) -> String {
        "the path of a file, or empty".into()
    }
}

/// One of a few words.
struct Word<T: 'static>(&'static [(&'static str, T)]);

/// The value of a `Word`, which knows its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen<T> {
    word: &'static str,
    /// What it means.
    pub value: T,
}

impl<T> fmt::Display for Chosen<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word)
    }
}

impl<T: Copy> Kind for Word<T> {
    type Value = Chosen<T>;

    fn parse(&self, text: &str) -> Option<Chosen<T>> {
        let found = self.0.iter().find(|(word, _)| *word == text);
        found.map(|(word, value)| Chosen { word, value: *value })
    }

    fn range(&self) -> String {
        self.0.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(" or ")
    }
}

const HISTORY_MODES: Word<HistoryMode> =
    Word(&[("sqlite", HistoryMode::Sqlite), ("memory", HistoryMode::Memory), ("off", HistoryMode::Off)]);

const AUTH_MODES: Word<AuthMode> = Word(&[("open", AuthMode::Open), ("jwt", AuthMode::Jwt)]);

const HISTORY_SYNCS: Word<Sync> = Word(&[("normal", Sync::Normal), ("full", Sync::Full)]);

/// The path of a file.
struct FilePath;

impl Kind for FilePath {
    type Value = String;

    fn parse(&self, text: &str) -> Option<String> {
        (!text.is_empty() && !text.ends_with('/')).then(|| text.to_owned())
    }

    fn range(&self) -> String {
        "the path of a file".into()
    }
}

/// Networks of IP addresses.
struct NetworkList;

impl Kind for NetworkList {
    type Value = Networks;

    fn parse(&self, text: &str) -> Option<Networks> {
        Networks::parse(text)
    }

    fn range(&self) -> String {
        "IP addresses and networks between commas, like 10.0.0.0/8,fd00::/8, or empty".into()
    }
}

const FORWARDED_HEADERS: Word<ForwardedHeader> =
    Word(&[("x-forwarded-for", ForwardedHeader::XForwardedFor), ("forwarded", ForwardedHeader::Forwarded)]);

/// Origins of pages.
struct Origins;

impl Kind for Origins {
    type Value = AllowedOrigins;

    fn parse(&self, text: &str) -> Option<AllowedOrigins> {
        AllowedOrigins::parse(text)
    }

    fn range(&self) -> String {
        "origins between commas, like https://chat.example.org, or * for all, or empty".into()
    }
}

/// A filter of log lines.
struct LogFilter;

impl Kind for LogFilter {
    type Value = String;

    fn parse(&self, text: &str) -> Option<String> {
        env_filter::Builder::new().try_parse(text).is_ok().then(|| text.to_owned())
    }

    fn range(&self) -> String {
        "a level (error, warn, info, debug, trace) or a list like info,starling_actors=debug".into()
    }
}

/// A folder, or nothing.
struct Folder;

impl Kind for Folder {
    type Value = String;

    fn parse(&self, text: &str) -> Option<String> {
        (text.is_empty() || Path::new(text).is_dir()).then(|| text.to_owned())
    }

    fn range(&self) -> String {
        "a folder that is there, or empty".into()
    }
}

macro_rules! knobs {
    ($($(#[doc = $doc:literal])+ $field:ident: $type:ty = $variable:literal, $default:literal, $kind:expr;)+) => {
        /// The server's configuration.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Config {
            $($(#[doc = $doc])+ #[doc = ""] #[doc = concat!("`", $variable, "`, default `", $default, "`.")] pub $field: $type,)+
        }

        impl Config {
            /// Every knob there is, in the order in which they are shown.
            pub fn knobs() -> Vec<Knob> {
                vec![$(Knob {
                    variable: $variable,
                    default: $default,
                    range: $kind.range(),
                    about: [$($doc),+].concat().trim().to_owned(),
                },)+]
            }

            /// The values as they are in force, by variable.
            pub fn values(&self) -> Vec<(&'static str, String)> {
                vec![$(($variable, self.$field.to_string()),)+]
            }

            fn read(variables: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
                Ok(Self {
                    $($field: {
                        let value = variables.get($variable).map_or($default, String::as_str);
                        $kind.parse(value).ok_or_else(|| ConfigError::BadValue {
                            variable: $variable,
                            value: $kind.shown(value),
                            range: $kind.range(),
                        })?
                    },)+
                })
            }
        }
    };
}

knobs! {
    /// Address and port to listen on; port 0 takes a free one and says which.
    bind: SocketAddr = "CHAT_BIND", "127.0.0.1:8080", Address;
    /// Worker threads; 0: as many as there are cores for this process.
    workers: u64 = "CHAT_WORKERS", "0", Number(0, 64);
    /// Most connections at a time; the next is refused with 503. 0: what the limit of open files allows.
    connections: u64 = "CHAT_CONNECTIONS", "0", Number(0, 10_000_000);
    /// Most connections of one client address; the next is refused with 429. 0: no limit. An IPv6 network of 64 bits is one address.
    connections_per_address: u64 = "CHAT_CONNECTIONS_PER_ADDRESS", "0", Number(0, 10_000_000);
    /// Handshakes a second of one client address, and as many at once; more are refused with 429 and the time to wait. 0: no limit.
    handshakes_per_second: u64 = "CHAT_HANDSHAKES_PER_SECOND", "0", Number(0, 1_000_000);
    /// Seconds that a TLS handshake may take, and then the head of a request; past them the connection is closed.
    handshake_seconds: u64 = "CHAT_HANDSHAKE_SECONDS", "5", Number(1, 60);
    /// Reverse proxies whose word is taken for the address of a client; nobody else's is.
    trusted_proxies: Networks = "CHAT_TRUSTED_PROXIES", "", NetworkList;
    /// The header in which those proxies tell it; they must set or extend it.
    forwarded_header: Chosen<ForwardedHeader> = "CHAT_FORWARDED_HEADER", "x-forwarded-for", FORWARDED_HEADERS;
    /// Pages that may connect; others are refused with 403, what is no browser passes. Empty: pages of the host that is asked.
    allowed_origins: AllowedOrigins = "CHAT_ALLOWED_ORIGINS", "", Origins;
    /// The server's certificate and those that vouch for it, as PEM; with it the port speaks TLS only. Read again at SIGHUP.
    tls_cert: String = "CHAT_TLS_CERT", "", OptionalFile;
    /// The private key of the certificate, as PEM. Read again at SIGHUP.
    tls_key: String = "CHAT_TLS_KEY", "", OptionalFile;
    /// Frames a second and connection in the long run; faster ones are refused with `rate_limited`. 0: no limit.
    messages_per_second: u64 = "CHAT_MESSAGES_PER_SECOND", "50", Number(0, 1_000_000);
    /// Frames of one connection that are taken at once after a pause.
    burst: u64 = "CHAT_BURST", "100", Number(1, 1_000_000);
    /// Times a minute that one connection may join a room, and as many at once; more are refused with `rate_limited`. 0: no limit.
    joins_per_minute: u64 = "CHAT_JOINS_PER_MINUTE", "600", Number(0, 1_000_000);
    /// Most bytes of one message's text, as UTF-8; a longer one is refused with `message_too_large`.
    message_bytes: u64 = "CHAT_MESSAGE_BYTES", "16384", Number(1, 1_048_576);
    /// Most bytes of one frame of a client, its fragments together; a larger one closes the connection with 1009.
    frame_bytes: u64 = "CHAT_FRAME_BYTES", "131072", Number(2_048, 16_777_216);
    /// Most bytes that wait for one client; what would exceed it closes the connection with 4001.
    outbox_bytes: u64 = "CHAT_OUTBOX_BYTES", "1048576", Number(262_144, 67_108_864);
    /// Most bytes that wait for all clients, each worker with an equal part; past it those with the most are closed with 1013.
    outboxes_bytes: u64 = "CHAT_OUTBOXES_BYTES", "1073741824", Number(262_144, 1_099_511_627_776);
    /// Seconds for which a client with a full socket may take nothing before it is closed with 4001.
    slow_client_seconds: u64 = "CHAT_SLOW_CLIENT_SECONDS", "20", Number(1, 3_600);
    /// Seconds between pings; a connection that is silent for two of them is closed with 4002.
    heartbeat_seconds: u64 = "CHAT_HEARTBEAT_SECONDS", "25", Number(1, 3_600);
    /// Most rooms that one client may be in; the next is refused with `too_many_rooms`.
    rooms_per_client: u64 = "CHAT_ROOMS_PER_CLIENT", "64", Number(1, 10_000);
    /// Most rooms there may be; the next is refused with `too_many_rooms`.
    rooms: u64 = "CHAT_ROOMS", "100000", Number(1, 10_000_000);
    /// Seconds for which a room that everybody left is kept; longer while a stored history has messages of it.
    empty_room_seconds: u64 = "CHAT_EMPTY_ROOM_SECONDS", "300", Number(300, 31_536_000);
    /// Where what is said is kept: in a file over restarts, in memory while the server runs, or nowhere.
    history: Chosen<HistoryMode> = "CHAT_HISTORY", "sqlite", HISTORY_MODES;
    /// The file of the stored history; its folder is made.
    history_path: String = "CHAT_HISTORY_PATH", "data/starling.db", FilePath;
    /// When a message counts as stored: normal survives the death of the process, full also that of the machine.
    history_sync: Chosen<Sync> = "CHAT_HISTORY_SYNC", "normal", HISTORY_SYNCS;
    /// Most stored messages of one room; the oldest go first. 0: no bound.
    history_keep_messages: u64 = "CHAT_HISTORY_KEEP_MESSAGES", "0", Number(0, 1_000_000_000_000);
    /// Seconds for which a message stays stored. 0: no bound.
    history_keep_seconds: u64 = "CHAT_HISTORY_KEEP_SECONDS", "0", Number(0, 3_153_600_000);
    /// Most bytes of the stored history; the oldest messages of all rooms go first. 0: no bound.
    history_keep_bytes: u64 = "CHAT_HISTORY_KEEP_BYTES", "10737418240", Number(0, 1_125_899_906_842_624);
    /// Most messages kept in memory of one room, with a stored history in front of it; the oldest go first.
    history_messages: u64 = "CHAT_HISTORY_MESSAGES", "1000", Number(1, 1_000_000);
    /// Most bytes of messages kept in memory of all rooms together; the oldest go first.
    history_bytes: u64 = "CHAT_HISTORY_BYTES", "67108864", Number(65_536, 1_099_511_627_776);
    /// Most message ids remembered against repetition, each for five minutes; beyond it the oldest are forgotten early.
    remembered_ids: u64 = "CHAT_REMEMBERED_IDS", "262144", Number(1_024, 100_000_000);
    /// Commands of one client that may be on their way; at the bound its socket is not read.
    client_credits: u64 = "CHAT_CLIENT_CREDITS", "64", Number(1, 65_536);
    /// Commands of all clients that may be on their way; at the bound no socket is read.
    server_credits: u64 = "CHAT_SERVER_CREDITS", "4096", Number(1, 1_000_000);
    /// Seconds that clients are given to go when the server is asked to stop; they are asked to come back spread over as many.
    drain_seconds: u64 = "CHAT_DRAIN_SECONDS", "5", Number(0, 600);
    /// Whether names are authenticated: open, a name belongs to who holds it; jwt, everybody shows a token.
    auth: Chosen<AuthMode> = "CHAT_AUTH", "open", AUTH_MODES;
    /// The secret with which tokens are signed (HS256).
    jwt_secret: Secret = "CHAT_JWT_SECRET", "", Hidden(32);
    /// The public key of whoever signs tokens, as PEM: RSA (RS256) or Ed25519 (`EdDSA`).
    jwt_public_key_file: String = "CHAT_JWT_PUBLIC_KEY_FILE", "", OptionalFile;
    /// What operators show as their bearer token; empty: only a token with `admin` makes an operator.
    admin_token: Secret = "CHAT_ADMIN_TOKEN", "", Hidden(16);
    /// Most clients whose private messages are kept; the next is refused with `unavailable`.
    inboxes: u64 = "CHAT_INBOXES", "100000", Number(1, 10_000_000);
    /// A folder that the page is read from at every request, for who works on it; empty: the page that is compiled in.
    web_dir: String = "CHAT_WEB_DIR", "", Folder;
    /// Which log lines are written, to standard error.
    log: String = "CHAT_LOG", "info,actix_server=warn", LogFilter;
}

impl Default for Config {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "a test reads every default")]
        Self::read(&BTreeMap::new()).expect("the defaults are valid")
    }
}

impl Config {
    /// Reads the configuration out of these variables; those without the server's prefix are not looked at.
    ///
    /// # Errors
    /// [`ConfigError`], the first there is.
    pub fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let is_ours = |name: &str| name.starts_with(PREFIX) && !STACK_VARIABLES.contains(&name);
        let variables: BTreeMap<_, _> = variables.into_iter().filter(|(name, _)| is_ours(name)).collect();
        let knobs = Self::knobs();
        for name in variables.keys() {
            if knobs.iter().any(|knob| knob.variable == name) {
                continue;
            }
            let distance = |knob: &&Knob| strsim::damerau_levenshtein(knob.variable, name);
            let nearest = knobs.iter().min_by_key(distance).map_or(PREFIX, |knob| knob.variable);
            return Err(ConfigError::Unknown { variable: name.clone(), nearest });
        }
        let config = Self::read(&variables)?;
        config.validate()?;
        Ok(config)
    }

    /// Checks what two knobs demand of each other.
    fn validate(&self) -> Result<(), ConfigError> {
        let (has_secret, has_key) = (self.jwt_secret.as_bytes().is_some(), !self.jwt_public_key_file.is_empty());
        match (self.auth.value, has_secret, has_key) {
            (AuthMode::Open, false, false) | (AuthMode::Jwt, true, false) | (AuthMode::Jwt, false, true) => {}
            (AuthMode::Open, _, _) => {
                return Err(ConfigError::Contradiction(
                    "CHAT_AUTH=open asks for no token, but CHAT_JWT_SECRET or CHAT_JWT_PUBLIC_KEY_FILE is set",
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
            self.message_bytes + 1_024,
            "a frame holds a message of CHAT_MESSAGE_BYTES and its other fields",
        )?;
        at_least(
            "CHAT_OUTBOX_BYTES",
            self.outbox_bytes,
            8 * self.message_bytes,
            "a character of a message can be six on the wire, and one message must fit",
        )?;
        at_least(
            "CHAT_OUTBOXES_BYTES",
            self.outboxes_bytes,
            self.outbox_bytes.saturating_mul(self.worker_count() as u64),
            "the part of each worker holds one outbox of CHAT_OUTBOX_BYTES",
        )?;
        let (variable, missing) = match (self.tls_cert.is_empty(), self.tls_key.is_empty()) {
            (false, true) => ("CHAT_TLS_CERT", "CHAT_TLS_KEY"),
            (true, false) => ("CHAT_TLS_KEY", "CHAT_TLS_CERT"),
            (true, true) | (false, false) => return Ok(()),
        };
        Err(ConfigError::Alone { variable, missing, reason: "TLS needs both" })
    }

    /// The files of certificate and key, where TLS is spoken.
    pub fn tls_files(&self) -> Option<(PathBuf, PathBuf)> {
        (!self.tls_cert.is_empty()).then(|| (self.tls_cert.clone().into(), self.tls_key.clone().into()))
    }

    /// How long a TLS handshake may take, and then the head of a request.
    pub(crate) fn handshake_time(&self) -> Duration {
        Duration::from_secs(self.handshake_seconds)
    }

    /// How much one client address may take.
    pub(crate) fn address_limits(&self) -> AddressLimits {
        AddressLimits {
            connections: small(self.connections_per_address),
            handshakes_per_second: small(self.handshakes_per_second),
        }
    }

    /// Who stands between clients and server.
    pub(crate) fn proxies(&self) -> Proxies {
        Proxies { trusted: self.trusted_proxies.clone(), header: self.forwarded_header.value }
    }

    /// Worker threads that are started.
    pub fn worker_count(&self) -> usize {
        match usize::try_from(self.workers) {
            Ok(0) | Err(_) => Self::cores().min(64),
            Ok(workers) => workers,
        }
    }

    /// How many cores this process may use, a container's limit considered.
    pub fn cores() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    /// Where the page is read from, if it is not the one that is compiled in.
    pub fn web_folder(&self) -> Option<PathBuf> {
        (!self.web_dir.is_empty()).then(|| PathBuf::from(&self.web_dir))
    }

    /// What the chat itself is told.
    pub fn chat(&self) -> ChatConfig {
        ChatConfig {
            server: format!("starling/{}", env!("CARGO_PKG_VERSION")),
            message_bytes: small(self.message_bytes),
            frame_bytes: small(self.frame_bytes),
            messages_per_second: small(self.messages_per_second),
            burst: small(self.burst),
            joins_per_minute: small(self.joins_per_minute),
            rooms_per_session: small(self.rooms_per_client),
            rooms: small(self.rooms),
            inboxes: small(self.inboxes),
            private_is_kept: self.auth.value == AuthMode::Jwt && self.history.value != HistoryMode::Off,
            outbox_bytes: small(self.outbox_bytes),
            outboxes_bytes_per_hub: self.outboxes_bytes / self.worker_count() as u64,
            slow_client: Duration::from_secs(self.slow_client_seconds),
            heartbeat: Duration::from_secs(self.heartbeat_seconds),
            ids_max: small(self.remembered_ids),
            empty_room_kept: Duration::from_secs(self.empty_room_seconds),
            history_messages: small(self.history_messages),
            history_bytes: self.history_bytes,
            history_is_stored: self.history.value == HistoryMode::Sqlite,
            session_credits: small(self.client_credits),
            server_credits: small(self.server_credits),
            ..ChatConfig::default()
        }
    }
}

impl Config {
    /// What the stored history is told.
    pub fn sqlite(&self) -> SqliteSettings {
        let chat = self.chat();
        let bound = |value: u64| (value > 0).then_some(value);
        SqliteSettings {
            path: self.history_path.clone().into(),
            sync: self.history_sync.value,
            keep_messages: bound(self.history_keep_messages),
            keep_for: bound(self.history_keep_seconds).map(Duration::from_secs),
            keep_bytes: bound(self.history_keep_bytes),
            recent_messages: chat.history_messages,
            recent_bytes: chat.history_bytes,
            ids_kept: chat.ids_remembered,
            ids_max: chat.ids_max,
        }
    }
}

/// A number whose range ends far below that of the type.
fn small(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// The configuration as `.env` would hold it.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (variable, value) in self.values() {
            writeln!(f, "{variable}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_variables(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn without_variables_every_default_is_valid() {
        assert_eq!(read(&[]), Ok(Config::default()));
        assert_eq!(Config::default().messages_per_second, 50);
    }

    #[test]
    fn a_bad_value_is_named_with_its_variable_and_range() {
        let error = read(&[("CHAT_BURST", "many")]).unwrap_err();
        assert_eq!(error.to_string(), "CHAT_BURST=many: must be a whole number from 1 to 1000000");
        assert!(read(&[("CHAT_BURST", "0")]).is_err() && read(&[("CHAT_BURST", "1")]).is_ok());
        assert!(read(&[("CHAT_BURST", "1000000")]).is_ok() && read(&[("CHAT_BURST", "1000001")]).is_err());
        assert!(read(&[("CHAT_BIND", "here")]).is_err());
        assert!(read(&[("CHAT_LOG", "loud=very")]).is_err());
        let error = read(&[("CHAT_HISTORY", "disk")]).unwrap_err();
        assert_eq!(error.to_string(), "CHAT_HISTORY=disk: must be sqlite or memory or off");
        assert!(read(&[("CHAT_HISTORY_PATH", "data/")]).is_err());
    }

    #[test]
    fn an_unknown_variable_is_an_error_that_names_the_nearest() {
        let error = read(&[("CHAT_MESSAGE_PER_SECOND", "1")]).unwrap_err();
        assert_eq!(error.to_string(), "CHAT_MESSAGE_PER_SECOND is not known; did you mean CHAT_MESSAGES_PER_SECOND?");
        assert!(read(&[("OTHER_BURST", "many")]).is_ok());
    }

    #[test]
    fn what_two_knobs_demand_of_each_other_is_checked() {
        assert!(read(&[("CHAT_MESSAGE_BYTES", "130048")]).is_ok());
        let error = read(&[("CHAT_MESSAGE_BYTES", "130049")]).unwrap_err();
        assert!(error.to_string().starts_with("CHAT_FRAME_BYTES=131072 is too small"), "{error}");
        let large = [("CHAT_MESSAGE_BYTES", "200000"), ("CHAT_FRAME_BYTES", "1000000")];
        assert!(read(&large).unwrap_err().to_string().starts_with("CHAT_OUTBOX_BYTES=1048576 is too small"));
        let outboxes = |bytes| read(&[("CHAT_WORKERS", "3"), ("CHAT_OUTBOXES_BYTES", bytes)]);
        assert!(outboxes("3145728").is_ok());
        let error = outboxes("3145727").unwrap_err();
        assert!(error.to_string().starts_with("CHAT_OUTBOXES_BYTES=3145727 is too small"), "{error}");
        assert!(read(&[("CHAT_TLS_CERT", "c.pem"), ("CHAT_TLS_KEY", "k.pem")]).is_ok());
        let error = read(&[("CHAT_TLS_KEY", "k.pem")]).unwrap_err();
        assert_eq!(error.to_string(), "CHAT_TLS_KEY is set and CHAT_TLS_CERT is not: TLS needs both");
    }

    #[test]
    fn a_combination_that_authenticates_nobody_or_in_two_ways_is_refused() {
        let (jwt, secret) = (("CHAT_AUTH", "jwt"), ("CHAT_JWT_SECRET", "0123456789abcdef0123456789abcdef"));
        let key = ("CHAT_JWT_PUBLIC_KEY_FILE", "key.pem");
        for good in [&[jwt, secret][..], &[jwt, key], &[("CHAT_AUTH", "open")]] {
            assert!(read(good).is_ok(), "{good:?}");
        }
        for bad in [&[jwt][..], &[jwt, secret, key], &[secret], &[key]] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.starts_with("CHAT_AUTH=") && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let (secret, admin) = ("0123456789abcdef0123456789abcdef", "0123456789abcdef");
        let config = read(&[("CHAT_AUTH", "jwt"), ("CHAT_JWT_SECRET", secret), ("CHAT_ADMIN_TOKEN", admin)]).unwrap();
        let shown = format!("{config}{config:?}{:?}", config.values());
        assert!(!shown.contains(admin) && shown.contains("CHAT_JWT_SECRET=(hidden)\n"), "{shown}");
        let error = read(&[("CHAT_JWT_SECRET", &secret[1..])]).unwrap_err().to_string();
        assert_eq!(error, "CHAT_JWT_SECRET=(hidden): must be a secret of at least 32 bytes, or empty");
        assert!(read(&[("CHAT_ADMIN_TOKEN", &admin[1..])]).is_err() && read(&[("CHAT_ADMIN_TOKEN", admin)]).is_ok());
        assert!(read(&[("CHAT_ADMIN_TOKEN", HIDDEN)]).is_err(), "what is printed is not taken for the secret");
    }

    #[test]
    fn what_is_printed_is_what_can_be_read() {
        let config = read(&[("CHAT_BIND", "[::1]:9"), ("CHAT_WORKERS", "3")]).unwrap();
        let printed = config.to_string();
        let lines = printed.lines().filter_map(|line| line.split_once('='));
        let again = Config::from_variables(lines.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(again, Ok(config));
    }
}
