//! The address of NATS, and the properties that it must have.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;

/// The address of the log, and its required properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsSettings {
    /// The addresses of servers: `nats://` or `tls://`. The first user and password in them, or the first token in
    /// place of a user, is for all of them.
    pub urls: Vec<String>,
    /// The file with the credentials of a user.
    pub credentials: Option<PathBuf>,
    /// The name of the stream: letters, digits, `_` and `-`. The subjects begin with it, and so does the name of the
    /// store of checkpoints.
    pub stream: String,
    /// The number of servers that store the log.
    pub replicas: usize,
    /// The name of this node, for people.
    pub node: String,
    /// The values of the settings that must be the same on all nodes, by variable.
    pub same: BTreeMap<String, String>,
    /// The size of the largest record that the chat writes.
    pub record_bytes_max: usize,
    /// How long the first connection is tried.
    pub patience: Duration,
}

impl NatsSettings {
    /// The user of the first address that has one, with its password; without a password it is a token.
    pub(super) fn user(&self) -> Option<(String, Option<String>)> {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let addresses = self.urls.iter().filter_map(|url| url.parse::<ServerAddr>().ok());
        let mut users =
            addresses.filter_map(|address| Some((decoded(address.username()?), address.password().map(decoded))));
        users.next()
    }

    /// The addresses without their passwords.
    pub(super) fn servers(&self) -> String {
        let shown = self.urls.iter().map(|url| crate::config::without_password(url));
        shown.collect::<Vec<_>>().join(",")
    }
}
