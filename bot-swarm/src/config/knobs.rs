//! The table of knobs: the only place with names, units, defaults and ranges.

use std::path::PathBuf;
use std::str::FromStr;

use awc::http::Uri;
use starling_protocol::{ClientId, limits};

use super::error::ConfigError;
use super::settings::{Config, METRICS_OFF};
use crate::expect::Expectations;
use crate::mix::Mix;
use crate::profile::Profile;
use crate::redaction::{HIDDEN, shown};
use crate::roster::PREFIX_MAX;
use crate::units::parse_duration;

/// One knob: a variable of the environment, and a flag of the same name.
#[derive(Debug)]
pub struct Knob {
    /// The environment variable, including `BOT_`.
    pub variable: &'static str,
    /// The flag, without its dashes.
    pub flag: &'static str,
    /// The description in the help text.
    pub help: &'static str,
    /// The valid values, in words.
    pub range: &'static str,
    /// The default.
    pub default: &'static str,
    set: fn(&mut Config, &str) -> Option<()>,
    get: fn(&Config) -> String,
}

/// Every knob there is.
pub const KNOBS: &[Knob] = &[
    Knob {
        variable: "BOT_SERVER_URL",
        flag: "server-url",
        help: "Where the bots connect; with more than one room, the room's name is appended to the path; the path may also \
               name the only room, as in ws://HOST/ws/talk. With several servers, the bots begin with different ones, and go \
               on to the next after a lost connection",
        range: "ws:// or wss:// HOST[:PORT]/PATH[?QUERY], or several with commas between",
        default: "ws://127.0.0.1:8080/ws",
        set: |config, value| parse_url(value).map(|url| config.server_url = url),
        get: |config| shown(&config.server_url).into_owned(),
    },
    Knob {
        variable: "BOT_CA_FILE",
        flag: "ca-file",
        help: "Authorities that wss:// trusts, in PEM; a system's are often in /etc/ssl/certs/ca-certificates.crt",
        range: "empty, or the path of a file",
        default: "",
        set: |config, value| parse_optional(value).map(|path| config.ca_file = path),
        get: |config| path_text(config.ca_file.as_ref()),
    },
    Knob {
        variable: "BOT_INSECURE",
        flag: "insecure",
        help: "Whether wss:// accepts any certificate: for tests",
        range: "true or false",
        default: "false",
        set: |config, value| value.parse().ok().map(|insecure| config.insecure = insecure),
        get: |config| config.insecure.to_string(),
    },
    Knob {
        variable: "BOT_TOKEN",
        flag: "token",
        help: "The token that all bots send in the header Authorization; if it contains a name, all bots have it",
        range: "empty, or a token",
        default: "",
        set: |config, value| parse_token(value).map(|token| config.token = token),
        get: |config| text_of(config.token.as_ref()),
    },
    Knob {
        variable: "BOT_TOKEN_FILE",
        flag: "token-file",
        help: "A file with a token for each bot, one per line; a bot has the name in its token",
        range: "empty, or the path of a file",
        default: "",
        set: |config, value| parse_optional(value).map(|path| config.token_file = path),
        get: |config| path_text(config.token_file.as_ref()),
    },
    Knob {
        variable: "BOT_TOKEN_SECRET",
        flag: "token-secret",
        help: "A secret that signs a token for each bot's name (HS256): for tests of a server with the same secret",
        range: "empty, or a secret",
        default: "",
        set: |config, value| parse_optional(value).map(|secret| config.token_secret = secret),
        get: |config| text_of(config.token_secret.as_ref()),
    },
    Knob {
        variable: "BOT_HEADERS",
        flag: "headers",
        help: "Headers that every bot sends when it connects",
        range: "empty, or NAME: VALUE, one a line",
        default: "",
        set: |config, value| value.parse().ok().map(|headers| config.headers = headers),
        get: |config| config.headers.to_string(),
    },
    Knob {
        variable: "BOT_COUNT",
        flag: "count",
        help: "Number of bots in this process",
        range: "a whole number, 1 to 1000000",
        default: "100",
        set: |config, value| within(value, 1, 1_000_000).map(|count| config.count = count),
        get: |config| config.count.to_string(),
    },
    Knob {
        variable: "BOT_NAME_PREFIX",
        flag: "name-prefix",
        help: "Beginning of the bots' names; a dash and a number follow. Two processes on one server need two prefixes",
        range: "1 to 48 letters, digits, '.', '_' or '-', starting with a letter or digit, and not with 'guest-'",
        default: "the host's name",
        set: |config, value| parse_prefix(value).map(|prefix| config.name_prefix = prefix),
        get: |config| config.name_prefix.clone(),
    },
    Knob {
        variable: "BOT_RAMP_PER_SECOND",
        flag: "ramp-per-second",
        help: "Bots that connect per second, until all are connected",
        range: "a number of bots per second, 0.1 to 100000",
        default: "100",
        set: |config, value| within(value, 0.1, 100_000.0).map(|ramp| config.ramp_per_second = ramp),
        get: |config| config.ramp_per_second.to_string(),
    },
    Knob {
        variable: "BOT_ROOMS",
        flag: "rooms",
        help: "Number of rooms; each bot is in one of them; 1 is the lobby, or the room in the path of BOT_SERVER_URL",
        range: "a whole number, 1 to 100000",
        default: "1",
        set: |config, value| within(value, 1, 100_000).map(|rooms| config.rooms = rooms),
        get: |config| config.rooms.to_string(),
    },
    Knob {
        variable: "BOT_MESSAGES_PER_SECOND",
        flag: "messages-per-second",
        help: "Messages per second of each bot; 0: the bots only listen",
        range: "a number of messages per second, 0 to 1000",
        default: "0.1",
        set: |config, value| within(value, 0.0, 1_000.0).map(|rate| config.messages_per_second = rate),
        get: |config| config.messages_per_second.to_string(),
    },
    Knob {
        variable: "BOT_ARRIVALS",
        flag: "arrivals",
        help: "Distribution of a bot's messages over time: even, random, or N at once; the mean rate is the same",
        range: "steady, poisson, burst or burst:N, N from 1 to 1000",
        default: "steady",
        set: |config, value| value.parse().ok().map(|arrivals| config.arrivals = arrivals),
        get: |config| config.arrivals.to_string(),
    },
    Knob {
        variable: "BOT_MESSAGE_BYTES",
        flag: "message-bytes",
        help: "Bytes of a message's text; 48 of them are the marker that is checked",
        range: "a number of bytes, a range of them like 48-1024, or lognormal:MEDIAN:P99; 48 to 1048576",
        default: "128",
        set: |config, value| value.parse().ok().map(|sizes| config.message_bytes = sizes),
        get: |config| config.message_bytes.to_string(),
    },
    Knob {
        variable: "BOT_BEHAVIOURS",
        flag: "behaviours",
        help: "Behaviours of the bots, with weights",
        range: "like chatter=60,lurker=25,private=10,hopper=3,slow=1,churner=1,editor=5,reactor=5,reader=5,typist=5,flooder=0; weights up to 10000",
        default: "chatter=1",
        set: |config, value| value.parse().ok().map(|mix| config.behaviours = mix),
        get: |config| config.behaviours.to_string(),
    },
    Knob {
        variable: "BOT_ROOM_SKEW",
        flag: "room-skew",
        help: "How unevenly the bots are distributed over the rooms: the exponent of Zipf's law; 0: evenly",
        range: "a number, 0 to 5",
        default: "0",
        set: |config, value| within(value, 0.0, 5.0).map(|skew| config.room_skew = skew),
        get: |config| config.room_skew.to_string(),
    },
    Knob {
        variable: "BOT_HOP_SECONDS",
        flag: "hop-seconds",
        help: "Mean time that a hopper stays in a visited room, in seconds",
        range: "seconds, or a time like 500ms, 90s or 2m; 0.1 to 3600 seconds",
        default: "5",
        set: |config, value| seconds(value, 0.1, 3_600.0).map(|seconds| config.hop_seconds = seconds),
        get: |config| config.hop_seconds.to_string(),
    },
    Knob {
        variable: "BOT_CHANGE_SECONDS",
        flag: "change-seconds",
        help: "Mean time between two changes of messages by an editor or a reactor, or two read positions of a reader, in seconds",
        range: "seconds, or a time like 500ms, 90s or 2m; 0.1 to 3600 seconds",
        default: "5",
        set: |config, value| seconds(value, 0.1, 3_600.0).map(|seconds| config.change_seconds = seconds),
        get: |config| config.change_seconds.to_string(),
    },
    Knob {
        variable: "BOT_CHURN_SECONDS",
        flag: "churn-seconds",
        help: "Mean time that a churner stays, in seconds; it is away for half as long",
        range: "seconds, or a time like 500ms, 90s or 2m; 0.1 to 3600 seconds",
        default: "10",
        set: |config, value| seconds(value, 0.1, 3_600.0).map(|seconds| config.churn_seconds = seconds),
        get: |config| config.churn_seconds.to_string(),
    },
    Knob {
        variable: "BOT_SLOW_BYTES_PER_SECOND",
        flag: "slow-bytes-per-second",
        help: "Bytes that a slow bot reads per second",
        range: "a whole number, 10 to 1000000000",
        default: "1024",
        set: |config, value| within(value, 10, 1_000_000_000).map(|bytes| config.slow_bytes_per_second = bytes),
        get: |config| config.slow_bytes_per_second.to_string(),
    },
    Knob {
        variable: "BOT_FLOOD_PER_SECOND",
        flag: "flood-per-second",
        help: "Messages per second of a flooder",
        range: "a number of messages per second, 1 to 100000",
        default: "200",
        set: |config, value| within(value, 1.0, 100_000.0).map(|rate| config.flood_per_second = rate),
        get: |config| config.flood_per_second.to_string(),
    },
    Knob {
        variable: "BOT_SECONDS",
        flag: "seconds",
        help: "Seconds until the swarm stops by itself, from its start; 0: it runs until SIGINT or SIGTERM",
        range: "seconds, or a time like 500ms, 90s or 2m; 0 to 31536000 seconds",
        default: "0",
        set: |config, value| seconds(value, 0.0, 31_536_000.0).map(|seconds| config.seconds = seconds),
        get: |config| config.seconds.to_string(),
    },
    Knob {
        variable: "BOT_WARM_UP_SECONDS",
        flag: "warm-up-seconds",
        help: "Seconds at the start of the run whose measurements are not in the latencies of the whole run (of \
               deliveries, acks, completions and resumes). The latencies by second and by phase, and all counts, \
               include them",
        range: "seconds, or a time like 500ms, 90s or 2m; 0 to 31536000 seconds",
        default: "0",
        set: |config, value| seconds(value, 0.0, 31_536_000.0).map(|seconds| config.warm_up_seconds = seconds),
        get: |config| config.warm_up_seconds.to_string(),
    },
    Knob {
        variable: "BOT_SEED",
        flag: "seed",
        help: "Seed of all random choices, together with the name prefix: who sends when, to whom and how much",
        range: "a whole number, 0 to 18446744073709551615",
        default: "1",
        set: |config, value| within(value, 0, u64::MAX).map(|seed| config.seed = seed),
        get: |config| config.seed.to_string(),
    },
    Knob {
        variable: "BOT_WORKERS",
        flag: "workers",
        help: "Threads for the bots. One is enough for most loads, and leaves the other cores to the server",
        range: "a whole number, 1 to 256",
        default: "1",
        set: |config, value| within(value, 1, 256).map(|workers| config.workers = workers),
        get: |config| config.workers.to_string(),
    },
    Knob {
        variable: "BOT_DRAIN_SECONDS",
        flag: "drain-seconds",
        help: "Maximum number of seconds that a stopping swarm waits for outstanding acks and deliveries; docker \
               kills after 10",
        range: "seconds, or a time like 500ms, 90s or 2m; 0 to 600 seconds",
        default: "8",
        set: |config, value| seconds(value, 0.0, 600.0).map(|seconds| config.drain_seconds = seconds),
        get: |config| config.drain_seconds.to_string(),
    },
    Knob {
        variable: "BOT_PROFILE",
        flag: "profile",
        help: "Number of bots, step by step; a spike falls back to the number before it. It replaces BOT_COUNT, \
               BOT_RAMP_PER_SECOND and BOT_SECONDS",
        range: "empty, or steps like: ramp 30s to 500, hold 60s, spike 5s to 2000, hold 30s",
        default: "",
        set: |config, value| parse_optional(value).map(|profile| config.profile = profile),
        get: |config| text_of(config.profile.as_ref()),
    },
    Knob {
        variable: "BOT_DIALECT",
        flag: "dialect",
        help: "The server's protocol: starling; seed (a server that sends each plain message to everybody, without \
               handshake or answers); echo (a server that sends each message back to its sender); or another \
               protocol by its name",
        range: "starling, seed, echo, centrifugo, socket.io, phoenix, mqtt or nats",
        default: "starling",
        set: |config, value| value.parse().ok().map(|dialect| config.dialect = dialect),
        get: |config| config.dialect.to_string(),
    },
    Knob {
        variable: "BOT_EXPECT",
        flag: "expect",
        help: "Expectations for the run: latencies (of deliveries, if no kind is named), counts, shares, or clean: \
               everything planned was done, and nothing was lost, duplicated, reordered or delivered to the wrong \
               client",
        range: "a list like: clean, p99<250ms, connect.p99<1s, done>=99.9%, away=0",
        default: "clean",
        set: |config, value| value.parse().ok().map(|expect| config.expect = expect),
        get: |config| config.expect.to_string(),
    },
    Knob {
        variable: "BOT_LATENESS_MAX_SECONDS",
        flag: "lateness-max-seconds",
        help: "Limit for the p99 of the swarm's own delays, in seconds; above it, the run is not valid",
        range: "seconds, or a time like 500ms, 90s or 2m; 0.001 to 3600 seconds",
        default: "0.05",
        set: |config, value| seconds(value, 0.001, 3_600.0).map(|seconds| config.lateness_max_seconds = seconds),
        get: |config| config.lateness_max_seconds.to_string(),
    },
    Knob {
        variable: "BOT_SCENARIO",
        flag: "scenario",
        help: "A file with settings, one VARIABLE=VALUE per line; the environment and flags override them",
        range: "empty, or the path of a file",
        default: "",
        set: |config, value| parse_optional(value).map(|path| config.scenario = path),
        get: |config| path_text(config.scenario.as_ref()),
    },
    Knob {
        variable: "BOT_METRICS_BIND",
        flag: "metrics-bind",
        help: "Address and port of a page about the run, under /, and of its metrics for Prometheus, under /metrics",
        range: "empty, or an IP address and a port like 0.0.0.0:9100 or [::1]:0",
        default: "",
        set: |config, value| parse_optional(value).map(|address| config.metrics_bind = address),
        get: |config| text_of(config.metrics_bind.as_ref()),
    },
    Knob {
        variable: "BOT_REPORT",
        flag: "report",
        help: "A folder for report.json and report.html; {name} in it stands for BOT_NAME_PREFIX; empty: no report",
        range: "empty, or the path of a folder, which is created",
        default: "",
        set: |config, value| {
            config.report = (!value.is_empty()).then(|| value.into());
            Some(())
        },
        get: |config| path_text(config.report.as_ref()),
    },
    Knob {
        variable: "BOT_SERVER_METRICS",
        flag: "server-metrics",
        help: "Where a report reads the server's stages; empty: /metrics of the server that the bots connect to",
        range: "empty, off, or http:// or https:// HOST[:PORT]/PATH",
        default: "",
        set: |config, value| parse_metrics(value).map(|url| config.server_metrics = url),
        get: |config| shown(&config.server_metrics).into_owned(),
    },
    Knob {
        variable: "BOT_FIND",
        flag: "find",
        help: "What find-limit raises: the bots, the messages per second of all bots, or the members of a room",
        range: "bots, messages or room",
        default: "bots",
        set: |config, value| value.parse().ok().map(|find| config.find = find),
        get: |config| config.find.to_string(),
    },
    Knob {
        variable: "BOT_FIND_START",
        flag: "find-start",
        help: "The first load that find-limit tries",
        range: "a whole number, 1 to 1000000",
        default: "100",
        set: |config, value| within(value, 1, 1_000_000).map(|load| config.find_start = load),
        get: |config| config.find_start.to_string(),
    },
    Knob {
        variable: "BOT_FIND_FACTOR",
        flag: "find-factor",
        help: "Factor by which find-limit raises the load until an expectation is not met",
        range: "a number, 1.1 to 10",
        default: "2",
        set: |config, value| within(value, 1.1, 10.0).map(|factor| config.find_factor = factor),
        get: |config| config.find_factor.to_string(),
    },
    Knob {
        variable: "BOT_FIND_MOST",
        flag: "find-most",
        help: "The highest load that find-limit tries",
        range: "a whole number, 1 to 1000000",
        default: "100000",
        set: |config, value| within(value, 1, 1_000_000).map(|load| config.find_most = load),
        get: |config| config.find_most.to_string(),
    },
    Knob {
        variable: "BOT_FIND_PRECISION",
        flag: "find-precision",
        help: "Precision of find-limit: the search stops when the highest load that passed and the lowest that \
               failed differ by no more than this share",
        range: "a number, 0.01 to 1",
        default: "0.05",
        set: |config, value| within(value, 0.01, 1.0).map(|precision| config.find_precision = precision),
        get: |config| config.find_precision.to_string(),
    },
    Knob {
        variable: "BOT_FIND_SECONDS",
        flag: "find-seconds",
        help: "Seconds for which find-limit judges each load, once all bots are connected",
        range: "seconds, or a time like 500ms, 90s or 2m; 0.1 to 3600 seconds",
        default: "10",
        set: |config, value| seconds(value, 0.1, 3_600.0).map(|seconds| config.find_seconds = seconds),
        get: |config| config.find_seconds.to_string(),
    },
];

/// Settings that a search for a limit determines for each load.
const MADE_BY_SEARCH: [&str; 3] = ["BOT_SECONDS", "BOT_WARM_UP_SECONDS", "BOT_PROFILE"];

/// Settings whose values are never shown.
const SECRETS: [&str; 3] = ["BOT_TOKEN", "BOT_TOKEN_SECRET", "BOT_HEADERS"];

/// Explains which part of a value is wrong, and why; `None` if none is.
type Explain = fn(&str) -> Option<String>;

/// The settings whose values have several parts.
const EXPLAINED: [(&str, Explain); 4] = [
    ("BOT_BEHAVIOURS", |value| value.parse::<Mix>().err().map(|error| error.to_string())),
    ("BOT_PROFILE", |value| value.parse::<Profile>().err().map(|error| error.to_string())),
    ("BOT_SERVER_URL", explain_urls),
    ("BOT_EXPECT", |value| value.parse::<Expectations>().err().map(|error| error.to_string())),
];

impl Knob {
    /// Whether only the search for a limit uses it.
    pub fn is_of_search(&self) -> bool {
        self.variable.starts_with("BOT_FIND")
    }

    /// Whether a search for a limit uses it.
    pub fn counts_in_search(&self) -> bool {
        !MADE_BY_SEARCH.contains(&self.variable)
    }

    /// The knob of a variable.
    ///
    /// # Errors
    /// [`ConfigError::Unknown`] names the most similar variable.
    pub fn of(variable: &str) -> Result<&'static Self, ConfigError> {
        let distance = |knob: &&Knob| strsim::damerau_levenshtein(knob.variable, variable);
        KNOBS.iter().find(|knob| knob.variable == variable).ok_or_else(|| ConfigError::Unknown {
            variable: variable.to_owned(),
            nearest: KNOBS.iter().min_by_key(distance).map_or("BOT_COUNT", |knob| knob.variable),
        })
    }

    /// Sets the value.
    ///
    /// # Errors
    /// [`ConfigError::BadValue`] if the value is not valid, [`ConfigError::BadPart`] if a part of it is wrong.
    pub fn set(&self, config: &mut Config, value: &str) -> Result<(), ConfigError> {
        (self.set)(config, value.trim()).ok_or_else(|| self.complaint(value))
    }

    /// The error for a value.
    fn complaint(&self, value: &str) -> ConfigError {
        let variable = self.variable;
        let explain = EXPLAINED.iter().find(|(explained, _)| *explained == variable).map(|(_, explain)| explain);
        let why = explain.and_then(|explain| explain(value.trim()));
        let value = if self.is_secret() {
            HIDDEN.to_owned()
        } else if self.range.contains("://") {
            // A URL may hold a token.
            shown(value).into_owned()
        } else {
            value.to_owned()
        };
        match why {
            Some(why) => ConfigError::BadPart { variable, value, why },
            None => ConfigError::BadValue { variable, value, range: self.range },
        }
    }

    /// Whether its value must not be shown.
    pub fn is_secret(&self) -> bool {
        SECRETS.contains(&self.variable)
    }

    /// The value, with secrets hidden.
    pub fn shown(&self, config: &Config) -> String {
        let value = self.get(config);
        if self.is_secret() && !value.is_empty() { HIDDEN.to_owned() } else { value }
    }

    /// The value.
    pub fn get(&self, config: &Config) -> String {
        (self.get)(config)
    }
}

fn within<T: FromStr + PartialOrd + Copy>(value: &str, least: T, most: T) -> Option<T> {
    // NaN compares false, so it is refused as well.
    value.parse().ok().filter(|number| *number >= least && *number <= most)
}

/// Reads seconds: a number of them, or a time with a unit.
fn seconds(value: &str, least: f64, most: f64) -> Option<f64> {
    let is_within = |seconds: &f64| (least..=most).contains(seconds);
    value.parse().ok().or_else(|| Some(parse_duration(value)?.as_secs_f64())).filter(is_within)
}

/// Reads a value that may be empty. `None`: it is neither empty nor valid.
#[expect(clippy::option_option, reason = "not valid, and validly nothing, are two answers")]
fn parse_optional<T: FromStr>(value: &str) -> Option<Option<T>> {
    if value.is_empty() { Some(None) } else { value.parse().ok().map(Some) }
}

fn text_of<T: ToString>(value: Option<&T>) -> String {
    value.map(T::to_string).unwrap_or_default()
}

fn parse_url(value: &str) -> Option<String> {
    value.split(',').all(|url| is_url(url.trim(), &["ws", "wss"])).then(|| value.to_owned())
}

/// Explains the first invalid URL of several, for common mistakes.
fn explain_urls(value: &str) -> Option<String> {
    let url = value.split(',').map(str::trim).find(|url| !is_url(url, &["ws", "wss"]))?;
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let why = match scheme {
        "" => "it has no scheme: write ws:// before it, or wss:// for TLS",
        "http" => "a WebSocket's URL begins with ws://, or with wss:// for TLS",
        "https" => "a WebSocket's URL begins with wss:// for TLS, or with ws://",
        "ws" | "wss" if authority.contains('@') => {
            "a URL cannot contain a user or a password: use BOT_TOKEN for a token, or BOT_HEADERS for a header like \
             'Authorization: Basic …'"
        }
        "ws" | "wss" if url.contains('#') => "a WebSocket's URL has no fragment, the part after #",
        _ => return None,
    };
    Some(why.to_owned())
}

#[expect(clippy::option_option, reason = "not valid, and validly nothing, are two answers")]
fn parse_token(value: &str) -> Option<Option<String>> {
    value.bytes().all(|byte| byte.is_ascii_graphic()).then(|| (!value.is_empty()).then(|| value.to_owned()))
}

fn path_text(path: Option<&PathBuf>) -> String {
    path.map(|path| path.display().to_string()).unwrap_or_default()
}

fn parse_metrics(value: &str) -> Option<String> {
    (value.is_empty() || value == METRICS_OFF || is_url(value, &["http", "https"])).then(|| value.to_owned())
}

/// Whether a text is a URL of one of these schemes of which every part is used: an invalid port, a user or a fragment
/// would otherwise be ignored silently.
fn is_url(value: &str, schemes: &[&str]) -> bool {
    let Ok(url) = value.parse::<Uri>() else { return false };
    let Some(authority) = url.authority().filter(|authority| !authority.host().is_empty()) else { return false };
    let port = authority.as_str().strip_prefix(authority.host());
    let is_port = |port: &str| port.strip_prefix(':').is_some_and(|port| port.parse().is_ok_and(|port: u16| port > 0));
    let is_whole = port.is_some_and(|port| port.is_empty() || is_port(port)) && !value.contains('#');
    is_whole && url.scheme_str().is_some_and(|scheme| schemes.contains(&scheme))
}

fn parse_prefix(value: &str) -> Option<String> {
    let is_name = ClientId::parse(value).is_ok() && value.len() <= PREFIX_MAX;
    (is_name && !value.starts_with(limits::GUEST_PREFIX)).then(|| value.to_owned())
}
