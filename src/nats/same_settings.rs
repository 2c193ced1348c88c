//! The settings that must be the same on all nodes: each node tells the others its own, and finds those that differ.
//!
//! Nodes tell them outside the log. They are no decision of the log, a node of another version need not know all of
//! them, and a node that differs goes on: such a setting is changed by restarting one node after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use starling_actors::clock::{self, Instant};
use starling_actors::nodes::record::Incarnation;
use tokio::time::timeout;

use super::settings::NatsSettings;

/// The interval at which a node tells its settings.
const TOLD_EVERY: Duration = Duration::from_secs(2);

/// A node that has told nothing for this long does not count any more.
const HEARD_WITHIN: Duration = Duration::from_secs(6);

/// How long a node that starts waits for the answers of the others.
const ANSWERED_WITHIN: Duration = Duration::from_millis(500);

/// The variable that says whether a node stores the messages, and its value if it does.
const STORES: (&str, &str) = ("CHAT_HISTORY", "sqlite");

/// The message of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    life: u64,
    node: String,
    /// Values by variable.
    settings: BTreeMap<String, String>,
}

impl Told {
    fn stores_messages(&self) -> bool {
        let (variable, stores) = STORES;
        self.settings.get(variable).is_none_or(|value| value == stores)
    }

    /// Reads a message. A node of another version may have written something else.
    fn read(message: &[u8]) -> Option<Self> {
        serde_json::from_slice(message).ok()
    }

    fn write(&self) -> Option<Bytes> {
        serde_json::to_vec(self).ok().map(Bytes::from)
    }
}

/// The subject on which nodes tell their settings.
pub(super) fn subject(stream: &str) -> String {
    format!("{stream}.settings")
}

/// The name of a node that stores the messages, if this one does not store them. This node would end each room that is
/// empty for some time, and the other would lose the messages that it has stored of the room.
pub(super) async fn node_that_stores(client: &Client, settings: &NatsSettings) -> Option<String> {
    #[expect(clippy::cast_possible_truncation, reason = "any 64 of the bits will do")]
    let life = clock::secret() as u64;
    let own = Told { life, node: settings.node.clone(), settings: settings.same.clone() };
    if own.stores_messages() {
        return None;
    }
    let subject = subject(&settings.stream);
    let mut answers = client.subscribe(subject.clone()).await.ok()?;
    // The others answer a node that they do not know.
    client.publish(subject, own.write()?).await.ok()?;
    let find = async {
        while let Some(answer) = answers.next().await {
            if let Some(other) = Told::read(&answer.payload).filter(Told::stores_messages) {
                return Some(other.node.escape_debug().to_string());
            }
        }
        None
    };
    timeout(ANSWERED_WITHIN, find).await.ok()?
}

/// Another node.
#[derive(Debug)]
struct Other {
    heard: Instant,
    /// The variables whose values differ.
    differing: BTreeSet<String>,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct SameSettings {
    /// This node's message, without meaning before its life has begun.
    own: Told,
    has_begun: bool,
    told: Option<Instant>,
    others: BTreeMap<u64, Other>,
}

impl SameSettings {
    pub(super) fn new(node: String, settings: BTreeMap<String, String>) -> Self {
        let own = Told { life: 0, node, settings };
        Self { own, has_begun: false, told: None, others: BTreeMap::new() }
    }

    /// This node lives this life from now on.
    pub(super) fn begin(&mut self, life: Incarnation) {
        self.own.life = life.0;
        (self.has_begun, self.told) = (true, None);
    }

    /// The message for the others, if one is due.
    pub(super) fn due(&mut self, now: Instant) -> Option<Bytes> {
        let is_due = self.told.is_none_or(|at| now.saturating_duration_since(at) >= TOLD_EVERY);
        if !self.has_begun || !is_due {
            return None;
        }
        self.told = Some(now);
        self.own.write()
    }

    /// A node has told its settings. Returns a line for the operator if they differ and this node has not known that.
    pub(super) fn heard(&mut self, message: &[u8], now: Instant) -> Option<String> {
        let told = Told::read(message)?;
        if told.life == self.own.life {
            return None;
        }
        let both = self.own.settings.iter().filter_map(|(name, own)| Some((name, own, told.settings.get(name)?)));
        let differing: Vec<_> = both.filter(|(_, own, other)| own != other).collect();
        let other = Other { heard: now, differing: differing.iter().map(|(name, _, _)| (*name).clone()).collect() };
        if self.others.insert(told.life, other).is_some() {
            return None;
        }
        // It has just come, and knows nothing of this node.
        self.told = None;
        let (here, there) = (&self.own.node, told.node.escape_debug());
        let parts = differing.iter().map(|(name, own, other)| {
            format!("{name} is {} on {here} and {} on {there}", own.escape_debug(), other.escape_debug())
        });
        let parts = parts.collect::<Vec<_>>().join(", ");
        (!parts.is_empty()).then(|| {
            format!("the nodes {here} and {there} have different settings: {parts}; give all nodes the same values")
        })
    }

    /// The number of variables whose values differ on a node that lives.
    pub(super) fn differing(&mut self, now: Instant) -> u64 {
        self.others.retain(|_, other| now.saturating_duration_since(other.heard) < HEARD_WITHIN);
        let differing: BTreeSet<_> = self.others.values().flat_map(|other| &other.differing).collect();
        differing.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use starling_actors::clock;

    use super::*;

    fn node(name: &str, life: u64, settings: &[(&str, &str)]) -> SameSettings {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut node = SameSettings::new(name.into(), settings);
        node.begin(Incarnation(life));
        node
    }

    #[test]
    fn values_that_differ_are_told_once_with_both_nodes_and_count_while_both_live() {
        let cases = [
            ("the same", &[("ROOMS", "9"), ("KEEP", "0")][..], None, 0),
            ("one differs", &[("ROOMS", "8"), ("KEEP", "0")], Some("ROOMS is 9 on a and 8 on b"), 1),
            (
                "both differ",
                &[("ROOMS", "8"), ("KEEP", "x\n")],
                Some("KEEP is 0 on a and x\\n on b, ROOMS is 9 on a and 8 on b"),
                2,
            ),
            ("a version that knows another one", &[("ROOMS", "9"), ("NEW", "1")], None, 0),
        ];
        for (what, settings, expected, count) in cases {
            let now = clock::now();
            let (mut a, mut b) = (node("a", 1, &[("ROOMS", "9"), ("KEEP", "0")]), node("b", 2, settings));
            let of_b = b.due(now).unwrap();
            let expected = expected.map(|parts| {
                format!("the nodes a and b have different settings: {parts}; give all nodes the same values")
            });
            assert_eq!(a.heard(&of_b, now), expected, "{what}");
            assert_eq!((a.heard(&of_b, now), a.differing(now)), (None, count), "{what}: once");
            let later = now + HEARD_WITHIN;
            assert_eq!(a.differing(later), 0, "{what}: b is gone");
            b.begin(Incarnation(3));
            assert_eq!(a.heard(&b.due(later).unwrap(), later), expected, "{what}: b has begun again");
        }
    }

    #[test]
    fn a_node_tells_its_settings_in_an_interval_and_at_once_when_another_one_comes() {
        let now = clock::now();
        let mut a = node("a", 1, &[("ROOMS", "9")]);
        let of_a = a.due(now).unwrap();
        assert_eq!((a.due(now), a.heard(&of_a, now)), (None, None), "it does not answer itself");
        let of_b = node("b", 2, &[("ROOMS", "9")]).due(now).unwrap();
        a.heard(&of_b, now);
        assert_eq!(a.due(now), Some(of_a.clone()));
        a.heard(&of_b, now);
        assert_eq!(a.due(now), None, "it is known");
        assert_eq!(a.due(now + TOLD_EVERY), Some(of_a));
        assert_eq!(a.heard(b"something else", now), None);
        assert_eq!(SameSettings::new("c".into(), BTreeMap::new()).due(now), None, "it does not live yet");
    }
}
