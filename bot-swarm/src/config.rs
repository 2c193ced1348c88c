//! Every knob of the swarm: the environment (and `.env`), or flags of the same names.
//!
//! Defaults < `.env` < environment < flags. Checked once, then immutable.

mod knobs;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use knobs::{KNOBS, Knob};
use starling_process::dotenv::{self, Setting};

use crate::behaviour::BehaviourKind;
use crate::credentials::{Headers, TokenSource};
use crate::dialect::Dialect;
use crate::expect::Expectations;
use crate::find_limit::find::Find;
use crate::mix::Mix;
use crate::plan::Arrivals;
use crate::profile::Profile;
use crate::server_stages::metrics_url;
use crate::sizes::Sizes;

/// What turns the reading of the server's stages off.
pub const METRICS_OFF: &str = "off";

/// What every variable of the swarm begins with.
pub const PREFIX: &str = "BOT_";

/// What the URL of a server begins with that speaks TLS.
const WSS: &str = "wss://";

/// What stands for the prefix of the bots' names in the folder of a report.
const NAME_IN_REPORT: &str = "{name}";

/// Most bots that are held each against each, because the server numbers nothing.
const COMPARED_BOTS_MAX: u32 = 2_000;

/// The variable that names a file with settings.
pub const SCENARIO: &str = "BOT_SCENARIO";

/// The checked configuration. Units, defaults and ranges stand in [`KNOBS`].
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where the bots connect: one or more URLs like `ws://host:port/path`, with commas between. `BOT_SERVER_URL`.
    pub server_url: String,
    /// Whom `wss://` believes: a file of authorities. `BOT_CA_FILE`.
    pub ca_file: Option<PathBuf>,
    /// Whether `wss://` believes everybody. `BOT_INSECURE`.
    pub insecure: bool,
    /// The token that all bots show. `BOT_TOKEN`.
    pub token: Option<String>,
    /// A file with a token for each bot. `BOT_TOKEN_FILE`.
    pub token_file: Option<PathBuf>,
    /// The secret by which each bot's token is signed. `BOT_TOKEN_SECRET`.
    pub token_secret: Option<String>,
    /// Headers of every connection. `BOT_HEADERS`.
    pub headers: Headers,
    /// Bots of this process. `BOT_COUNT`.
    pub count: u32,
    /// What the bots' names begin with. `BOT_NAME_PREFIX`.
    pub name_prefix: String,
    /// Bots that connect per second. `BOT_RAMP_PER_SECOND`.
    pub ramp_per_second: f64,
    /// Rooms that the bots spread over; 1 is the lobby. `BOT_ROOMS`.
    pub rooms: u32,
    /// Messages per second of each bot; 0: it only listens. `BOT_MESSAGES_PER_SECOND`.
    pub messages_per_second: f64,
    /// How the messages of a bot come. `BOT_ARRIVALS`.
    pub arrivals: Arrivals,
    /// Bytes of a message's text. `BOT_MESSAGE_BYTES`.
    pub message_bytes: Sizes,
    /// Which bots behave how. `BOT_BEHAVIOURS`.
    pub behaviours: Mix,
    /// How unevenly the bots spread over the rooms; 0: evenly. `BOT_ROOM_SKEW`.
    pub room_skew: f64,
    /// Seconds that a hopper stays in a room that it visits, in the mean. `BOT_HOP_SECONDS`.
    pub hop_seconds: f64,
    /// Seconds that a churner stays, in the mean. `BOT_CHURN_SECONDS`.
    pub churn_seconds: f64,
    /// Bytes that a slow bot reads per second. `BOT_SLOW_BYTES_PER_SECOND`.
    pub slow_bytes_per_second: u32,
    /// Messages per second of a flooder. `BOT_FLOOD_PER_SECOND`.
    pub flood_per_second: f64,
    /// Seconds until the swarm stops by itself, from its start; 0: never. `BOT_SECONDS`.
    pub seconds: f64,
    /// Seconds from its start that are not among the latencies of the whole run. `BOT_WARM_UP_SECONDS`.
    pub warm_up_seconds: f64,
    /// What all chance comes from. `BOT_SEED`.
    pub seed: u64,
    /// Threads that bots live on. `BOT_WORKERS`.
    pub workers: u32,
    /// Seconds that a stopping swarm waits for what is outstanding. `BOT_DRAIN_SECONDS`.
    pub drain_seconds: f64,
    /// How many bots there are over time; `None`: as `count`, `ramp_per_second` and `seconds` say. `BOT_PROFILE`.
    pub profile: Option<Profile>,
    /// How the server speaks. `BOT_DIALECT`.
    pub dialect: Dialect,
    /// What is expected of the run. `BOT_EXPECT`.
    pub expect: Expectations,
    /// How late the swarm itself may be before its run is not valid, in seconds. `BOT_LATENESS_MAX_SECONDS`.
    pub lateness_max_seconds: f64,
    /// Where the swarm's own metrics are served; `None`: nowhere. `BOT_METRICS_BIND`.
    pub metrics_bind: Option<SocketAddr>,
    /// A file with settings; those of the environment and of the command line count more. `BOT_SCENARIO`.
    pub scenario: Option<PathBuf>,
    /// The folder that reports are written into; `None`: none are. `BOT_REPORT`.
    pub report: Option<PathBuf>,
    /// Where the server's stages are read: a URL, [`METRICS_OFF`], or empty for where they should be.
    /// `BOT_SERVER_METRICS`.
    pub server_metrics: String,
    /// What a search for a limit raises. `BOT_FIND`.
    pub find: Find,
    /// The first load it tries. `BOT_FIND_START`.
    pub find_start: u32,
    /// By which factor it raises the load. `BOT_FIND_FACTOR`.
    pub find_factor: f64,
    /// The highest load it tries. `BOT_FIND_MOST`.
    pub find_most: u32,
    /// How close it narrows down. `BOT_FIND_PRECISION`.
    pub find_precision: f64,
    /// Seconds for which it holds each load. `BOT_FIND_SECONDS`.
    pub find_seconds: f64,
}

/// Why a configuration is none. One line for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value is not in its range.
    #[error("{variable}={value:?} is not valid: it must be {range}")]
    BadValue {
        /// Its name, in full.
        variable: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be.
        range: &'static str,
    },
    /// A value has several parts, and one of them is wrong.
    #[error("{variable}={value:?} is not valid: {why}")]
    BadPart {
        /// Its name, in full.
        variable: &'static str,
        /// What it was set to.
        value: String,
        /// Which part is wrong and why, with an example.
        why: String,
    },
    /// A variable begins like the swarm's and is none of them.
    #[error("{variable} is not a variable of bot-swarm; did you mean {nearest}?")]
    Unknown {
        /// As it was written.
        variable: String,
        /// The known one whose name is nearest.
        nearest: &'static str,
    },
    /// Two settings do not go together.
    #[error("{0}")]
    Conflict(&'static str),
    /// The scenario cannot be read.
    #[error("BOT_SCENARIO: {0}")]
    Scenario(String),
}

impl Config {
    /// Reads a configuration from settings, pairs of variable and value; of two for one variable the later counts.
    /// Variables that do not begin with [`PREFIX`] are not the swarm's.
    ///
    /// # Errors
    /// [`ConfigError`] for the first setting that is wrong.
    pub fn from_settings(settings: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for (variable, value) in settings {
            if variable.starts_with(PREFIX) {
                Knob::of(&variable)?.set(&mut config, &value)?;
            }
        }
        config.name_report();
        config.check()?;
        Ok(config)
    }

    /// Puts the prefix of the bots' names into the folder of the report: many containers may have one volume.
    fn name_report(&mut self) {
        if let Some(folder) = &self.report {
            self.report = Some(folder.to_string_lossy().replace(NAME_IN_REPORT, &self.name_prefix).into());
        }
    }

    /// Whether the settings go together.
    fn check(&self) -> Result<(), ConfigError> {
        if self.server_urls().any(|url| url.starts_with(WSS)) && self.ca_file.is_none() && !self.insecure {
            return Err(ConfigError::Conflict("wss:// needs BOT_CA_FILE, or BOT_INSECURE=true"));
        }
        let tokens = [self.token.is_some(), self.token_file.is_some(), self.token_secret.is_some()];
        if tokens.into_iter().filter(|is_set| *is_set).count() > 1 {
            return Err(ConfigError::Conflict(
                "of BOT_TOKEN, BOT_TOKEN_FILE and BOT_TOKEN_SECRET at most one may be set",
            ));
        }
        if self.token.is_some() && self.behaviours.has(BehaviourKind::Private) {
            return Err(ConfigError::Conflict("private bots need a name each, and BOT_TOKEN has one for all"));
        }
        if self.dialect == Dialect::Starling {
            return Ok(());
        }
        let has = |behaviour| self.behaviours.has(behaviour);
        if self.rooms > 1 || has(BehaviourKind::Private) || has(BehaviourKind::Hopper) {
            return Err(ConfigError::Conflict("a BOT_DIALECT other than starling has one room, and nothing private"));
        }
        if self.dialect.compares_all() && self.profile().bots_max() > COMPARED_BOTS_MAX {
            return Err(ConfigError::Conflict("this BOT_DIALECT takes at most 2000 bots: each is held against each"));
        }
        Ok(())
    }

    /// Reads the settings of a scenario: lines as in `.env`.
    ///
    /// # Errors
    /// [`ConfigError::Scenario`] where the file cannot be read, or a line of it.
    pub fn scenario_settings(path: &str) -> Result<Vec<(String, String)>, ConfigError> {
        let settings = dotenv::read(Path::new(path)).map_err(|error| ConfigError::Scenario(error.to_string()))?;
        Ok(settings.into_iter().map(|Setting { variable, value }| (variable, value)).collect())
    }

    /// Where the server's stages are read; `None`: nowhere.
    pub fn server_metrics_url(&self) -> Option<String> {
        match self.server_metrics.as_str() {
            METRICS_OFF => None,
            "" => self.server_urls().next().and_then(metrics_url),
            url => Some(url.to_owned()),
        }
    }

    /// Where the bots' tokens come from.
    pub(crate) fn token_source(&self) -> TokenSource<'_> {
        TokenSource {
            secret: self.token_secret.as_deref(),
            token: self.token.as_deref(),
            file: self.token_file.as_deref(),
        }
    }

    /// Where the bots connect, one by one.
    pub fn server_urls(&self) -> impl Iterator<Item = &str> {
        self.server_url.split(',').map(str::trim)
    }

    /// How many bots there are, over time.
    pub fn profile(&self) -> Profile {
        let whole = (self.seconds > 0.0).then(|| Duration::from_secs_f64(self.seconds));
        self.profile.clone().unwrap_or_else(|| Profile::ramp_and_hold(self.count, self.ramp_per_second, whole))
    }

    /// The configuration as a `.env` holds it, one variable a line, values quoted where they must be; secrets are not shown.
    pub fn to_env(&self) -> String {
        KNOBS.iter().map(|knob| dotenv::line(knob.variable, &knob.shown(self)) + "\n").collect()
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

#[cfg(test)]
mod tests;
