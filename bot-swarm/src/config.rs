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
        /// The variable.
        variable: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be.
        range: &'static str,
    },
    /// A value has several parts, and one of them is wrong.
    #[error("{variable}={value:?} is not valid: {why}")]
    BadPart {
        /// The variable.
        variable: &'static str,
        /// What it was set to.
        value: String,
        /// Which part is wrong and why, with an example.
        why: String,
    },
    /// A variable begins like the swarm's and is none of them.
    #[error("{variable} is not a variable of bot-swarm; did you mean {nearest}?")]
    Unknown {
        /// The variable.
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
mod tests {
    use super::*;
    use crate::redaction::HIDDEN;

    fn config(settings: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_settings(settings.iter().map(|(variable, value)| ((*variable).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn what_is_printed_is_read_again_as_the_same() {
        let settings = [
            ("BOT_MESSAGE_BYTES", "64-1024"),
            ("BOT_EXPECT", "p99<250ms"),
            ("BOT_ARRIVALS", "burst:7"),
            ("BOT_RAMP_PER_SECOND", "0.5"),
            ("BOT_COUNT", "7"),
        ];
        for config in [Config::default(), config(&settings).unwrap()] {
            let printed = config.to_env();
            let lines = printed.lines().filter_map(|line| line.split_once('='));
            let read = Config::from_settings(lines.map(|(k, v)| (k.to_owned(), v.to_owned())));
            assert_eq!(read, Ok(config));
        }
    }

    #[test]
    fn the_defaults_told_are_the_defaults() {
        let config = Config::default();
        for knob in KNOBS.iter().filter(|knob| knob.variable != "BOT_NAME_PREFIX") {
            assert_eq!(knob.get(&config), knob.default, "{}", knob.variable);
        }
    }

    #[test]
    fn a_bad_value_is_told_in_one_line_with_variable_value_and_range() {
        let error = config(&[("BOT_COUNT", "many")]).unwrap_err().to_string();
        assert_eq!(error, r#"BOT_COUNT="many" is not valid: it must be a whole number, 1 to 1000000"#);
    }

    #[test]
    fn the_limits_of_each_knob_are_taken_and_what_is_beyond_them_is_not() {
        let cases = [
            ("BOT_COUNT", vec!["1", "1000000"], vec!["0", "1000001", "-1", "1.5", ""]),
            ("BOT_RAMP_PER_SECOND", vec!["0.1", "100000"], vec!["0", "100001", "NaN", "inf"]),
            ("BOT_ROOMS", vec!["1", "100000"], vec!["0", "100001"]),
            ("BOT_MESSAGES_PER_SECOND", vec!["0", "0.1", "1000"], vec!["-0.1", "1001", "fast"]),
            ("BOT_MESSAGE_BYTES", vec!["40", "40-1048576", "lognormal:90:900"], vec!["39", "50-40", "lognormal:90:80"]),
            ("BOT_ARRIVALS", vec!["steady", "poisson", "burst", "burst:5"], vec!["", "burst:0", "often"]),
            ("BOT_BEHAVIOURS", vec!["chatter=60,lurker=40", "slow=1"], vec!["", "chatter", "dancer=1", "slow=0"]),
            ("BOT_ROOM_SKEW", vec!["0", "1.2", "5"], vec!["-0.1", "5.1", "zipf"]),
            ("BOT_HOP_SECONDS", vec!["0.1", "3600", "100ms", "1h"], vec!["0", "3601", "0s", "61m"]),
            ("BOT_CHURN_SECONDS", vec!["0.1", "3600", "1h"], vec!["0", "3601", "99ms"]),
            ("BOT_SLOW_BYTES_PER_SECOND", vec!["10", "1000000000"], vec!["9", "1000000001", "1k"]),
            ("BOT_FLOOD_PER_SECOND", vec!["1", "100000"], vec!["0", "100001"]),
            ("BOT_DIALECT", vec!["starling", "seed", "echo"], vec!["", "klingon"]),
            ("BOT_EXPECT", vec!["clean", "p99<250ms, lost=0, connect.p99<1s"], vec!["", "p99", "fast"]),
            ("BOT_LATENESS_MAX_SECONDS", vec!["0.001", "3600", "50ms"], vec!["0", "3601", "999us"]),
            ("BOT_SCENARIO", vec!["", "night.env"], vec![]),
            ("BOT_SECONDS", vec!["0", "2.5", "31536000", "10s", "1m"], vec!["-1", "31536001", "9000h", "soon"]),
            ("BOT_WARM_UP_SECONDS", vec!["0", "2.5", "31536000", "2 m"], vec!["-1", "31536001", "-1s"]),
            ("BOT_SEED", vec!["0", "18446744073709551615"], vec!["-1", "18446744073709551616"]),
            ("BOT_WORKERS", vec!["1", "256"], vec!["0", "257"]),
            ("BOT_DRAIN_SECONDS", vec!["0", "600", "10m"], vec!["-1", "601", "11m"]),
            ("BOT_NAME_PREFIX", vec!["a", "load.test-7"], vec!["", "-a", "a b", "guest-x", &LONG[..49]]),
            ("BOT_PROFILE", vec!["", "ramp 30s to 500, hold 60s", "spike 5s to 3"], vec!["ramp", "hold 5s", "5"]),
            ("BOT_REPORT", vec!["", "report", "a folder/with blanks"], vec![]),
            (
                "BOT_SERVER_METRICS",
                vec!["", "off", "http://[::1]:9/m"],
                vec!["on", "ws://a/metrics", "http://", "/m", "http://a:99999/m", "http://a:0/m"],
            ),
            ("BOT_FIND", vec!["bots", "messages", "room"], vec!["", "Bots", "rooms"]),
            ("BOT_FIND_START", vec!["1", "1000000"], vec!["0", "1000001"]),
            ("BOT_FIND_FACTOR", vec!["1.1", "10"], vec!["1", "10.1", "NaN"]),
            ("BOT_FIND_MOST", vec!["1", "1000000"], vec!["0", "1000001"]),
            ("BOT_FIND_PRECISION", vec!["0.01", "1"], vec!["0", "1.1", "5%"]),
            ("BOT_FIND_SECONDS", vec!["0.1", "3600", "10s"], vec!["0.09", "3601", "2h"]),
            ("BOT_METRICS_BIND", vec!["", "0.0.0.0:9100", "[::1]:0"], vec!["9100", "localhost:9100", ":9100"]),
            ("BOT_CA_FILE", vec!["", "ca.pem"], vec![]),
            ("BOT_INSECURE", vec!["true", "false"], vec!["", "maybe"]),
            ("BOT_TOKEN", vec!["", "a.b.c"], vec!["a b", "\u{e4}"]),
            ("BOT_TOKEN_FILE", vec!["", "tokens"], vec![]),
            ("BOT_TOKEN_SECRET", vec!["", "0123456789abcdef"], vec![]),
            ("BOT_HEADERS", vec!["", "x-tenant: blue\ncookie: a=b"], vec!["x-tenant"]),
            (
                "BOT_SERVER_URL",
                vec!["ws://localhost/ws", "ws://[::1]:8080/ws?token=x", "ws://a/ws, ws://b:81/chat/ws,ws://[::1]/ws"],
                vec![
                    "",
                    "localhost",
                    "http://localhost/ws",
                    "ws://a/ws,",
                    "ws://a/ws,http://b/ws",
                    "ws://",
                    "ws://a b/ws",
                    "ws://localhost:99999/ws",
                    "ws://localhost:0/ws",
                    "ws://localhost:/ws",
                    "ws://localhost:80x/ws",
                    "ws://[::1]:65536/ws",
                    "ws://user:word@localhost/ws",
                    "ws://localhost/ws#part",
                ],
            ),
        ];
        assert_eq!(cases.len(), KNOBS.len(), "every knob has its case");
        for (variable, good, bad) in cases {
            for value in good {
                assert!(config(&[(variable, value)]).is_ok(), "{variable}={value}");
            }
            for value in bad {
                let error = config(&[(variable, value)]);
                let is_told = matches!(error, Err(ConfigError::BadValue { .. } | ConfigError::BadPart { .. }));
                assert!(is_told, "{variable}={value}");
            }
        }
    }

    const LONG: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn what_a_dialect_does_not_have_is_refused() {
        let good = [("BOT_DIALECT", "seed"), ("BOT_COUNT", "2000"), ("BOT_BEHAVIOURS", "chatter=1,lurker=1")];
        assert!(config(&good).is_ok());
        for bad in
            [("BOT_ROOMS", "2"), ("BOT_BEHAVIOURS", "hopper=1"), ("BOT_BEHAVIOURS", "private=1"), ("BOT_COUNT", "2001")]
        {
            let error = config(&[("BOT_DIALECT", "seed"), bad]).unwrap_err();
            assert!(matches!(error, ConfigError::Conflict(_)), "{bad:?}: {error}");
        }
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        for bad in [
            &[("BOT_SERVER_URL", "ws://a/ws,wss://b/ws")][..],
            &[("BOT_TOKEN", "x"), ("BOT_TOKEN_SECRET", "y")],
            &[("BOT_TOKEN_FILE", "x"), ("BOT_TOKEN_SECRET", "y")],
            &[("BOT_TOKEN", "x"), ("BOT_BEHAVIOURS", "private=1")],
        ] {
            assert!(matches!(config(bad), Err(ConfigError::Conflict(_))), "{bad:?}");
        }
        for good in [("BOT_CA_FILE", "ca.pem"), ("BOT_INSECURE", "true")] {
            assert!(config(&[("BOT_SERVER_URL", "wss://localhost/ws"), good]).is_ok());
        }
    }

    #[test]
    fn each_process_can_have_a_folder_of_its_own_for_its_report() {
        let config = config(&[("BOT_REPORT", "reports/{name}"), ("BOT_NAME_PREFIX", "anna")]).unwrap();
        assert_eq!(config.report, Some("reports/anna".into()));
    }

    #[test]
    fn secrets_are_not_shown() {
        let secrets = [("BOT_TOKEN", "tell"), ("BOT_TOKEN_SECRET", "tell"), ("BOT_HEADERS", "cookie: tell")];
        for secret in secrets {
            let printed = config(&[secret]).unwrap().to_env();
            assert!(!printed.contains("tell") && printed.contains(&format!("{}={HIDDEN}\n", secret.0)), "{printed}");
        }
    }

    #[test]
    fn an_unknown_variable_is_an_error_that_names_the_nearest() {
        let error = config(&[("BOT_COUTN", "3")]).unwrap_err();
        assert_eq!(error, ConfigError::Unknown { variable: "BOT_COUTN".into(), nearest: "BOT_COUNT" });
    }

    #[test]
    fn variables_of_others_are_left_alone_and_the_later_setting_counts() {
        let config = config(&[("CHAT_BIND", "?"), ("BOT_COUNT", "3"), ("BOT_COUNT", "4")]).unwrap();
        assert_eq!(config.count, 4);
    }
}
