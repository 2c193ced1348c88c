//! The kinds of knob values: how each is parsed, which values it accepts, and how it is shown.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use starling_actors::history::Durability;
use starling_actors::identity::{RoomGlobs, check_pattern};
use starling_process::log_lines;

use crate::addresses::{ForwardedHeader, Networks};
use crate::origin::AllowedOrigins;
use crate::path_prefix::{OWN_SEGMENTS, PathPrefix};

/// A kind of value.
pub(super) trait Kind {
    type Value: fmt::Display;
    fn parse(&self, text: &str) -> Option<Self::Value>;
    fn range(&self) -> String;

    /// Whether values are never shown.
    fn is_secret(&self) -> bool {
        false
    }

    /// The text as it may appear in an error message.
    fn shown(&self, text: &str) -> String {
        if self.is_secret() { HIDDEN.to_owned() } else { text.to_owned() }
    }
}

/// A whole number in a range.
pub(super) struct Number(pub(super) u64, pub(super) u64);

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
pub(super) struct Address;

impl Kind for Address {
    type Value = SocketAddr;

    fn parse(&self, text: &str) -> Option<SocketAddr> {
        text.parse().ok()
    }

    fn range(&self) -> String {
        "an IP address and a port, like 127.0.0.1:8080 or [::]:8080".into()
    }
}

/// The storage of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryMode {
    /// A file that survives restarts.
    Sqlite,
    /// Memory, for as long as the process runs.
    Memory,
    /// None: `history` returns empty pages.
    Off,
}

/// How names are authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    /// Not at all: a name belongs to the session that holds it.
    Open,
    /// By signed tokens.
    Jwt,
}

/// A text that is never shown; empty: not set.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret, if it is set.
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

/// Shown in place of a secret. It is shorter than any secret, so it is never accepted as one.
pub(super) const HIDDEN: &str = "(hidden)";

/// A secret of at least this many bytes.
pub(super) struct Hidden(pub(super) usize);

impl Kind for Hidden {
    type Value = Secret;

    fn parse(&self, text: &str) -> Option<Secret> {
        (text.is_empty() || (self.0..=4_096).contains(&text.len())).then(|| Secret(text.to_owned()))
    }

    fn range(&self) -> String {
        format!("a secret of at least {} bytes, or empty", self.0)
    }

    fn is_secret(&self) -> bool {
        true
    }
}

/// The path of a file, or nothing.
pub(super) struct OptionalFile;

impl Kind for OptionalFile {
    type Value = String;

    fn parse(&self, text: &str) -> Option<String> {
        (!text.ends_with('/')).then(|| text.to_owned())
    }

    fn range(&self) -> String {
        "the path of a file, or empty".into()
    }
}

/// One of a fixed set of words.
pub(super) struct Word<T: 'static>(&'static [(&'static str, T)]);

/// The value of a `Word`, with the word that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen<T> {
    word: &'static str,
    /// The choice that the word stands for.
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

pub(super) const SWITCH: Word<bool> = Word(&[("true", true), ("false", false)]);

pub(super) const HISTORY_MODES: Word<HistoryMode> =
    Word(&[("sqlite", HistoryMode::Sqlite), ("memory", HistoryMode::Memory), ("off", HistoryMode::Off)]);

pub(super) const AUTH_MODES: Word<AuthMode> = Word(&[("open", AuthMode::Open), ("jwt", AuthMode::Jwt)]);

pub(super) const HISTORY_SYNCS: Word<Durability> =
    Word(&[("normal", Durability::Process), ("full", Durability::Machine)]);

/// A path that does not end with a directory.
pub(super) struct FilePath;

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
pub(super) struct NetworkList;

impl Kind for NetworkList {
    type Value = Networks;

    fn parse(&self, text: &str) -> Option<Networks> {
        Networks::parse(text)
    }

    fn range(&self) -> String {
        "IP addresses and networks between commas, like 10.0.0.0/8,fd00::/8, or empty".into()
    }
}

pub(super) const FORWARDED_HEADERS: Word<ForwardedHeader> =
    Word(&[("x-forwarded-for", ForwardedHeader::XForwardedFor), ("forwarded", ForwardedHeader::Forwarded)]);

/// Origins of pages.
pub(super) struct Origins;

impl Kind for Origins {
    type Value = AllowedOrigins;

    fn parse(&self, text: &str) -> Option<AllowedOrigins> {
        AllowedOrigins::parse(text)
    }

    fn range(&self) -> String {
        "origins between commas, like https://chat.example.org or capacitor://localhost (not null), or * for all, or empty".into()
    }
}

/// A URL path prefix under which the chat is served.
pub(super) struct Prefix;

impl Kind for Prefix {
    type Value = PathPrefix;

    fn parse(&self, text: &str) -> Option<PathPrefix> {
        PathPrefix::parse(text)
    }

    fn range(&self) -> String {
        let own = OWN_SEGMENTS.join(", ");
        format!("a path like /chat or /team/chat whose first segment is none of {own}; or empty")
    }
}

/// A log filter.
pub(super) struct LogFilter;

impl Kind for LogFilter {
    type Value = String;

    fn parse(&self, text: &str) -> Option<String> {
        log_lines::is_filter(text).then(|| text.to_owned())
    }

    fn range(&self) -> String {
        "a level (off, error, warn, info, debug, trace) or a list like info,starling_actors=debug".into()
    }
}

pub(super) const LOG_FORMATS: Word<log_lines::Format> =
    Word(&[("text", log_lines::Format::Text), ("json", log_lines::Format::Json)]);

/// An existing folder, or empty.
pub(super) struct Folder;

impl Kind for Folder {
    type Value = String;

    fn parse(&self, text: &str) -> Option<String> {
        (text.is_empty() || Path::new(text).is_dir()).then(|| text.to_owned())
    }

    fn range(&self) -> String {
        "an existing folder, or empty".into()
    }
}

/// The addresses of servers of NATS. Shown without their passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsUrls(pub(super) Vec<String>);

impl fmt::Display for NatsUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self.0.iter().map(|url| without_password(url)).collect();
        f.write_str(&shown.join(","))
    }
}

impl fmt::Debug for NatsUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NatsUrls({self})")
    }
}

/// An address as it may be shown: without the user and the password.
pub(crate) fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(_, rest)| url.split_at(url.len() - rest.len()));
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}{HIDDEN}@{host}"),
        None => url.to_owned(),
    }
}

/// Addresses of servers of NATS.
pub(super) struct Urls;

impl Kind for Urls {
    type Value = NatsUrls;

    fn parse(&self, text: &str) -> Option<NatsUrls> {
        let is_address = |url: &&str| {
            let has_scheme = ["nats://", "tls://"].iter().any(|scheme| url.starts_with(scheme));
            let host = url.rsplit(['/', '@']).next().unwrap_or_default();
            let is_shown = url.contains(&format!("{HIDDEN}@"));
            has_scheme && !is_shown && !host.is_empty() && url.parse::<async_nats::ServerAddr>().is_ok()
        };
        let urls: Vec<&str> = if text.is_empty() { Vec::new() } else { text.split(',').collect() };
        urls.iter().all(is_address).then(|| NatsUrls(urls.into_iter().map(str::to_owned).collect()))
    }

    fn range(&self) -> String {
        "addresses between commas, like nats://localhost:4222 or tls://user:password@nats.example.org, or empty".into()
    }

    fn shown(&self, text: &str) -> String {
        text.split(',').map(without_password).collect::<Vec<_>>().join(",")
    }
}

/// The addresses of receivers of webhooks. Shown without their paths, which may be secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct WebhookUrls(pub(crate) Vec<String>);

impl fmt::Display for WebhookUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(|url| without_path(url)).collect::<Vec<_>>().join(","))
    }
}

impl fmt::Debug for WebhookUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookUrls({self})")
    }
}

/// An address as it may be shown: without its path, and without a user and a password.
pub(crate) fn without_path(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (host, path) = rest.find(['/', '?']).map_or((rest, ""), |place| rest.split_at(place));
    let path = if matches!(path, "" | "/") { path.to_owned() } else { format!("/{HIDDEN}") };
    format!("{}{path}", without_password(&format!("{scheme}://{host}")))
}

/// Whether what stands behind a colon after the host is a port.
fn has_port_if_any(authority: &str) -> bool {
    let after_host = authority.rsplit_once(']').map_or(authority, |(_, rest)| rest);
    after_host.split_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Receivers of webhooks.
pub(super) struct Receivers;

/// Most receivers.
const RECEIVERS_MAX: usize = 8;

impl Kind for Receivers {
    type Value = WebhookUrls;

    fn parse(&self, text: &str) -> Option<WebhookUrls> {
        let is_address = |url: &&str| {
            let Ok(uri) = url.parse::<awc::http::Uri>() else { return false };
            let is_http = uri.scheme_str().is_some_and(|scheme| matches!(scheme, "http" | "https"));
            // The HTTP client ignores a user and a password, and a port that is no number.
            let is_host = |host: &str| !host.contains('@') && has_port_if_any(host);
            let has_host = uri.authority().is_some_and(|it| !it.host().is_empty() && is_host(it.as_str()));
            let rest = url.split_once("://").map_or("", |(_, rest)| rest);
            let has_path_before_query = !rest[..rest.find('/').unwrap_or(rest.len())].contains('?');
            is_http && has_host && has_path_before_query && !url.contains(['#', '\\']) && !url.contains(HIDDEN)
        };
        let urls: Vec<&str> = if text.is_empty() { Vec::new() } else { text.split(',').collect() };
        let is_once = urls.iter().collect::<HashSet<_>>().len() == urls.len();
        let are_good = urls.len() <= RECEIVERS_MAX && is_once && urls.iter().all(is_address);
        are_good.then(|| WebhookUrls(urls.into_iter().map(str::to_owned).collect()))
    }

    fn range(&self) -> String {
        format!("at most {RECEIVERS_MAX} addresses between commas, like https://example.org/chat, or empty")
    }

    fn shown(&self, text: &str) -> String {
        text.split(',').map(without_path).collect::<Vec<_>>().join(",")
    }
}

/// Patterns of names of rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomPatterns(Vec<String>);

impl RoomPatterns {
    /// The rooms that match one of the patterns.
    pub(crate) fn globs(&self) -> RoomGlobs {
        RoomGlobs::new(&self.0)
    }
}

impl fmt::Display for RoomPatterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

/// Patterns of names of rooms, as tokens have them.
pub(super) struct Patterns;

impl Kind for Patterns {
    type Value = RoomPatterns;

    fn parse(&self, text: &str) -> Option<RoomPatterns> {
        let patterns: Vec<String> = text.split(',').map(str::to_owned).collect();
        patterns.iter().all(|pattern| check_pattern(pattern).is_ok()).then_some(RoomPatterns(patterns))
    }

    fn range(&self) -> String {
        "names of rooms between commas, in which * stands for any characters and ? for one".into()
    }
}

pub(super) const REPLICAS: Word<usize> = Word(&[("1", 1), ("3", 3), ("5", 5)]);

/// Longest name of a stream or a node.
const NAME_BYTES_MAX: usize = 32;

/// A name of letters, digits, `-` and `_`; whether it may be empty.
pub(super) struct Name(pub(super) bool);

fn may_be_in_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

impl Kind for Name {
    type Value = String;

    fn parse(&self, text: &str) -> Option<String> {
        let is_name = text.len() <= NAME_BYTES_MAX && text.chars().all(may_be_in_a_name);
        (is_name && (self.0 || !text.is_empty())).then(|| text.to_owned())
    }

    fn range(&self) -> String {
        let or_empty = if self.0 { ", or empty" } else { "" };
        format!("at most {NAME_BYTES_MAX} letters, digits, - and _{or_empty}")
    }
}

/// The name of the host up to its first dot, with `-` for each invalid character.
pub(super) fn name_of_host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let first = host.trim().split('.').next().unwrap_or_default();
    let name: String = first.chars().take(NAME_BYTES_MAX).map(|c| if may_be_in_a_name(c) { c } else { '-' }).collect();
    if name.is_empty() { "node".into() } else { name }
}
