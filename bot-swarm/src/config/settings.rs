//! The parsed settings of a swarm.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use starling_protocol::RoomName;

use crate::behaviour::BehaviourKind;
use crate::credentials::{Headers, TokenSource};
use crate::dialect::Dialect;
use crate::endpoint::room_in;
use crate::expect::Expectations;
use crate::find_limit::find::Find;
use crate::metrics_url::metrics_url;
use crate::mix::Mix;
use crate::plan::Arrivals;
use crate::profile::Profile;
use crate::sizes::Sizes;

/// The value of `BOT_SERVER_METRICS` that turns off reading the server's stages.
pub const METRICS_OFF: &str = "off";

/// The checked configuration. Units, defaults and ranges stand in [`KNOBS`](super::KNOBS).
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The servers' addresses: one or more URLs like `ws://host:port/path`, separated by commas. `BOT_SERVER_URL`.
    pub server_url: String,
    /// A file with the certificate authorities that `wss://` trusts. `BOT_CA_FILE`.
    pub ca_file: Option<PathBuf>,
    /// Whether `wss://` accepts any certificate. `BOT_INSECURE`.
    pub insecure: bool,
    /// The token of all bots. `BOT_TOKEN`.
    pub token: Option<String>,
    /// A file with a token for each bot. `BOT_TOKEN_FILE`.
    pub token_file: Option<PathBuf>,
    /// The secret that signs each bot's token. `BOT_TOKEN_SECRET`.
    pub token_secret: Option<String>,
    /// Headers of every connection. `BOT_HEADERS`.
    pub headers: Headers,
    /// The number of bots of this process. `BOT_COUNT`.
    pub count: u32,
    /// The beginning of the bots' names. `BOT_NAME_PREFIX`.
    pub name_prefix: String,
    /// Bots that connect per second. `BOT_RAMP_PER_SECOND`.
    pub ramp_per_second: f64,
    /// The number of rooms for the bots; 1 is the lobby, or the room that the URLs name. `BOT_ROOMS`.
    pub rooms: u32,
    /// Messages per second of each bot; 0: the bots only listen. `BOT_MESSAGES_PER_SECOND`.
    pub messages_per_second: f64,
    /// The distribution of a bot's messages over time. `BOT_ARRIVALS`.
    pub arrivals: Arrivals,
    /// The size of a message's text, in bytes. `BOT_MESSAGE_BYTES`.
    pub message_bytes: Sizes,
    /// The shares of the behaviours. `BOT_BEHAVIOURS`.
    pub behaviours: Mix,
    /// How unevenly the bots are distributed over the rooms; 0: evenly. `BOT_ROOM_SKEW`.
    pub room_skew: f64,
    /// The mean time that a hopper stays in a visited room, in seconds. `BOT_HOP_SECONDS`.
    pub hop_seconds: f64,
    /// The mean time between two changes of an editor or a reactor, or two read positions of a reader, in seconds. `BOT_CHANGE_SECONDS`.
    pub change_seconds: f64,
    /// The mean time that a churner stays, in seconds. `BOT_CHURN_SECONDS`.
    pub churn_seconds: f64,
    /// Bytes that a slow bot reads per second. `BOT_SLOW_BYTES_PER_SECOND`.
    pub slow_bytes_per_second: u32,
    /// Messages per second of a flooder. `BOT_FLOOD_PER_SECOND`.
    pub flood_per_second: f64,
    /// The time from its start after which the swarm stops by itself, in seconds; 0: never. `BOT_SECONDS`.
    pub seconds: f64,
    /// The time from its start that the latencies of the whole run exclude, in seconds. `BOT_WARM_UP_SECONDS`.
    pub warm_up_seconds: f64,
    /// The seed of all random numbers. `BOT_SEED`.
    pub seed: u64,
    /// The number of threads for the bots. `BOT_WORKERS`.
    pub workers: u32,
    /// The longest time that a stopping swarm waits for outstanding work, in seconds. `BOT_DRAIN_SECONDS`.
    pub drain_seconds: f64,
    /// The number of bots over time; `None`: from `count`, `ramp_per_second` and `seconds`. `BOT_PROFILE`.
    pub profile: Option<Profile>,
    /// The server's protocol. `BOT_DIALECT`.
    pub dialect: Dialect,
    /// The expectations for the run. `BOT_EXPECT`.
    pub expect: Expectations,
    /// The delay of the swarm itself above which its run is not valid, in seconds. `BOT_LATENESS_MAX_SECONDS`.
    pub lateness_max_seconds: f64,
    /// The address of the swarm's own metrics; `None`: they are not served. `BOT_METRICS_BIND`.
    pub metrics_bind: Option<SocketAddr>,
    /// A file with settings; the environment and the command line override them. `BOT_SCENARIO`.
    pub scenario: Option<PathBuf>,
    /// The folder for reports; `None`: none are written. `BOT_REPORT`.
    pub report: Option<PathBuf>,
    /// The source of the server's stages: a URL, [`METRICS_OFF`], or empty for the default address.
    /// `BOT_SERVER_METRICS`.
    pub server_metrics: String,
    /// The quantity that a search for a limit raises. `BOT_FIND`.
    pub find: Find,
    /// The first load it tries. `BOT_FIND_START`.
    pub find_start: u32,
    /// The factor by which it raises the load. `BOT_FIND_FACTOR`.
    pub find_factor: f64,
    /// The highest load it tries. `BOT_FIND_MOST`.
    pub find_most: u32,
    /// The relative distance at which it stops to narrow down. `BOT_FIND_PRECISION`.
    pub find_precision: f64,
    /// Seconds for which it holds each load. `BOT_FIND_SECONDS`.
    pub find_seconds: f64,
}

impl Config {
    /// The URL of the server's stages; `None`: they are not read.
    pub fn server_metrics_url(&self) -> Option<String> {
        match self.server_metrics.as_str() {
            METRICS_OFF => None,
            "" => self.server_urls().next().and_then(metrics_url),
            url => Some(url.to_owned()),
        }
    }

    /// The source of the bots' tokens.
    pub(crate) fn token_source(&self) -> TokenSource<'_> {
        TokenSource {
            secret: self.token_secret.as_deref(),
            token: self.token.as_deref(),
            file: self.token_file.as_deref(),
        }
    }

    /// The servers' URLs, one by one.
    pub fn server_urls(&self) -> impl Iterator<Item = &str> {
        self.server_url.split(',').map(str::trim)
    }

    /// The room that the servers' URLs name; `None`: they name none.
    pub(crate) fn named_room(&self) -> Option<RoomName> {
        self.server_urls().next().and_then(room_in).filter(|_| self.dialect == Dialect::Starling)
    }

    /// How many bots there are, over time.
    pub fn profile(&self) -> Profile {
        let whole = (self.seconds > 0.0).then(|| Duration::from_secs_f64(self.seconds));
        self.profile.clone().unwrap_or_else(|| Profile::ramp_and_hold(self.count, self.ramp_per_second, whole))
    }

    /// What to tell of a run that ends before all `BOT_COUNT` bots are due.
    pub fn bots_left_out(&self) -> Option<String> {
        let due = self.profile().bots_max();
        (self.profile.is_none() && due < self.count).then(|| format!("only {due} of {} bots were due", self.count))
    }
}

impl Default for Config {
    fn default() -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            server_url: "ws://127.0.0.1:8080/ws".to_owned(),
            ca_file: None,
            insecure: false,
            token: None,
            token_file: None,
            token_secret: None,
            headers: Headers::default(),
            count: 100,
            name_prefix: crate::roster::prefix_of(&host),
            ramp_per_second: 100.0,
            rooms: 1,
            messages_per_second: 0.1,
            arrivals: Arrivals::Steady,
            message_bytes: Sizes::Even(128..=128),
            behaviours: Mix::only(BehaviourKind::Chatter),
            room_skew: 0.0,
            hop_seconds: 5.0,
            change_seconds: 5.0,
            churn_seconds: 10.0,
            slow_bytes_per_second: 1_024,
            flood_per_second: 200.0,
            seconds: 0.0,
            warm_up_seconds: 0.0,
            seed: 1,
            workers: 1,
            drain_seconds: 8.0,
            profile: None,
            dialect: Dialect::Starling,
            expect: Expectations::clean(),
            lateness_max_seconds: 0.05,
            metrics_bind: None,
            scenario: None,
            report: None,
            server_metrics: String::new(),
            find: Find::Bots,
            find_start: 100,
            find_factor: 2.0,
            find_most: 100_000,
            find_precision: 0.05,
            find_seconds: 10.0,
        }
    }
}
