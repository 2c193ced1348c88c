//! The reasons that a stream refuses records, as far as its state shows them.

use std::time::Duration;

use async_nats::jetstream::stream::Info;

/// A server of the stream counts as unreachable if its leader has not heard from it for this long. Each sends several
/// signs of life a second.
const SILENT_TIME: Duration = Duration::from_secs(4);

/// The smallest free space in the stream, in bytes, with which it takes the next record.
const SPACE_MIN: u64 = 1_024;

/// The reason that NATS would refuse records, if its state shows one. A node notices it even if it writes nothing.
/// `takes`: the most bytes that NATS takes at once. `record_bytes_max`: those of the largest record.
pub(super) fn obstacle(info: &Info, takes: usize, record_bytes_max: usize) -> Option<&'static str> {
    if takes < record_bytes_max {
        return Some(
            "the max_payload of NATS is smaller than the largest record: raise it in the configuration of NATS",
        );
    }
    if let Some(cluster) = &info.cluster {
        let silent = cluster.replicas.iter().filter(|peer| peer.offline || peer.active > SILENT_TIME).count();
        let servers = cluster.replicas.len() + 1;
        if cluster.leader.as_ref().is_none_or(String::is_empty) {
            return Some("no server leads the stream");
        }
        if 2 * (servers - silent) <= servers {
            return Some("a majority of the stream's servers is not reachable");
        }
    }
    let is_full = |most: u64| info.state.bytes + SPACE_MIN > most;
    u64::try_from(info.config.max_bytes)
        .ok()
        .filter(|most| *most > 0)
        .filter(|most| is_full(*most))
        .map(|_| "the stream is full")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The state of a stream in three servers, of which these have been silent for some seconds.
    fn info(leader: &str, silent: [u64; 2], change: impl FnOnce(&mut Value)) -> Info {
        let replica = |seconds: u64| json!({"name": "n", "current": true, "active": seconds * 1_000_000_000});
        let mut info = json!({
            "config": {"name": "s", "retention": "limits", "discard": "new", "max_consumers": -1, "max_msgs": -1,
                "max_bytes": 0,
                "max_age": 0, "storage": "file", "num_replicas": 3},
            "created": "2026-01-01T00:00:00Z",
            "state": {"messages": 9, "bytes": 5_000, "first_seq": 1, "first_ts": "2026-01-01T00:00:00Z", "last_seq": 9,
                "last_ts": "2026-01-01T00:00:00Z", "consumer_count": 0},
            "cluster": {"leader": leader, "replicas": silent.map(replica)},
        });
        change(&mut info);
        serde_json::from_value(info).unwrap()
    }

    #[test]
    fn a_stream_that_takes_no_record_is_known_by_its_state() {
        let majority = Some("a majority of the stream's servers is not reachable");
        let cases = [
            ("all is well", info("a", [0, 0], |_| {}), None),
            ("one of three is silent", info("a", [0, 60], |_| {}), None),
            ("two of three are silent", info("a", [60, 60], |_| {}), majority),
            (
                "two are known to be away",
                info("a", [0, 60], |info| info["cluster"]["replicas"][0]["offline"] = true.into()),
                majority,
            ),
            ("nobody leads", info("", [0, 0], |_| {}), Some("no server leads the stream")),
            ("a single server", info("", [0, 0], |info| info["cluster"] = Value::Null), None),
            ("space is left", info("a", [0, 0], |info| info["config"]["max_bytes"] = 9_000.into()), None),
            (
                "no space is left",
                info("a", [0, 0], |info| info["config"]["max_bytes"] = 5_100.into()),
                Some("the stream is full"),
            ),
        ];
        for (what, info, expected) in cases {
            assert_eq!(obstacle(&info, 100, 100), expected, "{what}");
            assert!(obstacle(&info, 99, 100).is_some_and(|told| told.contains("max_payload")), "{what}");
        }
    }
}
