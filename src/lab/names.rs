//! The slowest clients and the busiest rooms, with their names.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use starling_actors::ChatServerHandle;
use starling_actors::chat_server::command::{Named, Numbered};
use starling_actors::ids::RoomId;
use starling_actors::metrics::Metrics;
use starling_actors::metrics::busiest::{Busiest, BusyRoom, MOST, SlowSession};
use starling_protocol::{ClientId, RoomName};

/// The longest time that a snapshot waits for the names. An overloaded `ChatServer` answers later.
const NAMES_TIME: Duration = Duration::from_millis(300);

/// Slow clients and busy rooms.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Names {
    /// At most five clients with unsent bytes, the longest waiting first.
    clients: Vec<SlowClient>,
    /// At most five rooms with the most deliveries of the last five seconds, the busiest first.
    rooms: Vec<HotRoom>,
}

/// A client with unsent bytes.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SlowClient {
    /// `null`: it has left meanwhile, or the `ChatServer` has not answered in time.
    client_id: Option<ClientId>,
    /// The number of its worker.
    worker: String,
    /// Bytes in its outbox.
    bytes: u64,
    /// The time for which its oldest frame has waited.
    waited_seconds: f64,
}

/// A room with many deliveries.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct HotRoom {
    /// `null`: it is an inbox, it has ended meanwhile, or the `ChatServer` has not answered in time.
    room: Option<RoomName>,
    /// Messages offered to its members, each member counted, per second.
    deliveries_per_second: f64,
}

impl Names {
    /// The slow clients and busy rooms of a server at this moment.
    pub(super) async fn of(metrics: &Metrics, chat: &ChatServerHandle) -> Self {
        let (sessions, rooms) = merge(metrics.workers().iter().map(|worker| worker.busiest.get()));
        if sessions.is_empty() && rooms.is_empty() {
            return Self::default();
        }
        let numbers = Numbered {
            sessions: sessions.iter().map(|it| it.session).collect(),
            rooms: rooms.iter().map(|it| it.room).collect(),
        };
        let named = tokio::time::timeout(NAMES_TIME, chat.names(numbers)).await;
        Self::new(&sessions, &rooms, named.ok().and_then(Result::ok).unwrap_or_default())
    }

    fn new(sessions: &[SlowSession], rooms: &[BusyRoom], named: Named) -> Self {
        let (mut of_clients, mut of_rooms) = (named.sessions.into_iter(), named.rooms.into_iter());
        let client = |it: &SlowSession| SlowClient {
            client_id: of_clients.next().flatten(),
            worker: it.session.hub().0.to_string(),
            bytes: it.bytes as u64,
            waited_seconds: (it.waited.as_secs_f64() * 1e3).round() / 1e3,
        };
        let room = |it: &BusyRoom| HotRoom {
            room: of_rooms.next().flatten(),
            deliveries_per_second: (it.deliveries_per_second * 10.0).round() / 10.0,
        };
        Self { clients: sessions.iter().map(client).collect(), rooms: rooms.iter().map(room).collect() }
    }
}

/// Merges the lists of all hubs. The deliveries of a room are summed over all hubs.
fn merge(of_hubs: impl Iterator<Item = Busiest>) -> (Vec<SlowSession>, Vec<BusyRoom>) {
    let (mut sessions, mut rooms) = (Vec::new(), std::collections::BTreeMap::<RoomId, f64>::new());
    for Busiest { sessions: slow, rooms: busy } in of_hubs {
        sessions.extend(slow);
        for room in busy {
            *rooms.entry(room.room).or_default() += room.deliveries_per_second;
        }
    }
    sessions.sort_by_key(|it| std::cmp::Reverse(it.waited));
    sessions.truncate(MOST);
    let rooms = rooms.into_iter().map(|(room, deliveries_per_second)| BusyRoom { room, deliveries_per_second });
    let mut rooms: Vec<BusyRoom> = rooms.collect();
    rooms.sort_by(|a, b| b.deliveries_per_second.total_cmp(&a.deliveries_per_second));
    rooms.truncate(MOST);
    (sessions, rooms)
}

#[cfg(test)]
mod tests {
    use starling_actors::ids::{HubId, SessionId};

    use super::*;

    fn slow(hub: u8, waited_ms: u64) -> SlowSession {
        SlowSession { session: SessionId::new(HubId(hub), 0, 1), bytes: 10, waited: Duration::from_millis(waited_ms) }
    }

    fn busy(room: u32, deliveries_per_second: f64) -> BusyRoom {
        BusyRoom { room: RoomId(room), deliveries_per_second }
    }

    #[test]
    fn the_lists_of_all_hubs_become_one_with_the_deliveries_of_a_room_together() {
        let rooms = (0..5).map(|room| busy(room, 10.0)).collect();
        let hubs = [
            Busiest { sessions: vec![slow(0, 900), slow(0, 100)], rooms },
            Busiest { sessions: vec![slow(1, 2_000)], rooms: vec![busy(3, 5.0), busy(9, 12.0)] },
        ];
        let (sessions, rooms) = merge(hubs.into_iter());
        assert_eq!(sessions, [slow(1, 2_000), slow(0, 900), slow(0, 100)]);
        assert_eq!(rooms.len(), MOST);
        assert_eq!(rooms[..2], [busy(3, 15.0), busy(9, 12.0)]);
    }

    #[test]
    fn an_entry_without_a_name_stays_in_its_place() {
        let (lobby, bob) = (RoomName::parse("lobby").unwrap(), ClientId::parse("bob").unwrap());
        let named = Named { sessions: vec![None, Some(bob.clone())], rooms: vec![Some(lobby.clone())] };
        let (sessions, rooms) = ([slow(0, 2), slow(1, 1)], [busy(0, 1.0), busy(1, 0.5)]);
        let told = Names::new(&sessions, &rooms, named);
        let clients: Vec<_> = told.clients.iter().map(|it| (it.client_id.clone(), &*it.worker)).collect();
        assert_eq!(clients, [(None, "0"), (Some(bob), "1")]);
        let rooms_told: Vec<_> = told.rooms.iter().map(|it| it.room.clone()).collect();
        assert_eq!(rooms_told, [Some(lobby), None]);
        let unanswered = Names::new(&sessions, &rooms, Named::default());
        assert!(unanswered.clients.len() == 2 && unanswered.rooms.iter().all(|it| it.room.is_none()));
    }
}
