//! The address of a connection: the server's URL with the bot's room, name and key. A URL of Starling may name the room:
//! `ws://HOST/ws/talk`.

use percent_encoding::percent_decode_str;
use starling_protocol::{ClientId, ClientKey, RoomName};

use crate::dialect::Dialect;
use crate::foreign::Foreign;

/// The servers' URLs, each split at the position of the room's name.
#[derive(Debug, Clone)]
pub struct Endpoint {
    servers: Vec<Server>,
    /// Whether the URL is used unchanged, without the client's name.
    is_plain: bool,
}

#[derive(Debug, Clone)]
struct Server {
    whole: String,
    path: String,
    query: String,
}

impl Endpoint {
    /// Takes URLs that the configuration has checked; at least one.
    pub fn new<'a>(urls: impl IntoIterator<Item = &'a str>, dialect: Dialect) -> Self {
        let must_have = dialect.foreign().map_or(&[][..], Foreign::query);
        let server = |url: &str| {
            let (path, query) = url.split_once('?').unwrap_or((url, ""));
            let whole = with_query(url, must_have);
            Server { whole, path: split_at_room(path).0.to_owned(), query: query.to_owned() }
        };
        Self { servers: urls.into_iter().map(server).collect(), is_plain: dialect != Dialect::Starling }
    }

    /// The URL for a client. `server` wraps around the list of servers. `room`: the first room; with `None`, the server
    /// chooses it. `key`: from an earlier welcome. Names and keys need no escapes.
    pub fn url(&self, server: u32, room: Option<&RoomName>, client: &ClientId, key: Option<ClientKey>) -> String {
        let index = server as usize % self.servers.len().max(1);
        let Some(Server { whole, path, query }) = self.servers.get(index) else { return String::new() };
        if self.is_plain {
            return whole.clone();
        }
        let mut url = path.clone();
        if let Some(room) = room {
            url.push('/');
            url.push_str(room.as_str());
        }
        url.push('?');
        if !query.is_empty() {
            url.push_str(query);
            url.push('&');
        }
        url.push_str("clientId=");
        url.push_str(client.as_str());
        if let Some(key) = key {
            url.push_str("&key=");
            url.push_str(&key.to_string());
        }
        url
    }
}

/// The room that a URL of Starling names, behind the `/ws` at the end of its path.
pub(crate) fn room_in(url: &str) -> Option<RoomName> {
    split_at_room(url.split('?').next().unwrap_or_default()).1
}

/// A URL without a query, without the room that it names, and that room.
fn split_at_room(url: &str) -> (&str, Option<RoomName>) {
    let url = url.trim_end_matches('/');
    // The host may be called ws, too.
    let is_chat = |path: &str| path.ends_with("/ws") && !path.ends_with("//ws");
    let named = url.rsplit_once('/').filter(|(before, _)| is_chat(before));
    let parse = |room| RoomName::parse(&percent_decode_str(room).decode_utf8().ok()?).ok();
    match named.and_then(|(before, room)| Some((before, parse(room)?))) {
        Some((before, room)) => (before, Some(room)),
        None => (url, None),
    }
}

/// A URL with these query parameters, unless it already has other values for them.
fn with_query(url: &str, must_have: &[(&str, &str)]) -> String {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let mut pairs: Vec<String> = query.split('&').filter(|pair| !pair.is_empty()).map(str::to_owned).collect();
    for (name, value) in must_have {
        if !pairs.iter().any(|pair| pair.split('=').next() == Some(name)) {
            pairs.push(format!("{name}={value}"));
        }
    }
    if must_have.is_empty() { url.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_name_and_key_find_their_places() {
        let bot = ClientId::parse("host-7").unwrap();
        let room = RoomName::parse("room-3").unwrap();
        let plain = Endpoint::new(["ws://localhost:8080/ws/"], Dialect::Starling);
        let echo = Endpoint::new(["ws://localhost/x/"], Dialect::Echo);
        assert_eq!(echo.url(0, None, &bot, None), "ws://localhost/x/");
        for (url, dialect, whole) in [
            ("ws://a/socket.io/", Dialect::SocketIo, "ws://a/socket.io/?EIO=4&transport=websocket"),
            ("ws://a/socket.io/?EIO=3&x=y", Dialect::SocketIo, "ws://a/socket.io/?EIO=3&x=y&transport=websocket"),
            ("ws://a/socket/websocket", Dialect::Phoenix, "ws://a/socket/websocket?vsn=2.0.0"),
            ("ws://a/mqtt", Dialect::Mqtt, "ws://a/mqtt"),
        ] {
            assert_eq!(Endpoint::new([url], dialect).url(0, None, &bot, None), whole);
        }
        assert_eq!(plain.url(0, None, &bot, None), "ws://localhost:8080/ws?clientId=host-7");
        let with_query = Endpoint::new(["wss://localhost/sub/ws?token=x"], Dialect::Starling);
        assert_eq!(
            with_query.url(0, Some(&room), &bot, Some(ClientKey(5))),
            "wss://localhost/sub/ws/room-3?token=x&clientId=host-7&key=00000000000000000000000000000005"
        );
    }

    #[test]
    fn a_room_in_the_path_is_found_and_stands_there_once() {
        let bot = ClientId::parse("b").unwrap();
        for (url, room, whole) in [
            ("ws://a/ws", None, "ws://a/ws?clientId=b"),
            ("ws://a/ws/talk", Some("talk"), "ws://a/ws/talk?clientId=b"),
            ("wss://a/sub/ws/talk/?x=/ws/y", Some("talk"), "wss://a/sub/ws/talk?x=/ws/y&clientId=b"),
            ("ws://a/ws/?x=/ws/y", None, "ws://a/ws?x=/ws/y&clientId=b"),
            ("ws://ws/talk", None, "ws://ws/talk?clientId=b"),
            ("ws://a/ws/ta%6Ck", Some("talk"), "ws://a/ws/talk?clientId=b"),
            ("ws://a/ws/t%20k", None, "ws://a/ws/t%20k?clientId=b"),
        ] {
            let found = room_in(url);
            assert_eq!(found.as_ref().map(RoomName::as_str), room, "{url}");
            assert_eq!(Endpoint::new([url], Dialect::Starling).url(0, found.as_ref(), &bot, None), whole);
        }
    }

    #[test]
    fn servers_are_taken_in_turn() {
        let bot = ClientId::parse("host-7").unwrap();
        let endpoint = Endpoint::new(["ws://a/ws", "ws://b/ws"], Dialect::Starling);
        let hosts: Vec<String> = (0..3).map(|server| endpoint.url(server, None, &bot, None)).collect();
        assert_eq!(hosts, ["ws://a/ws?clientId=host-7", "ws://b/ws?clientId=host-7", "ws://a/ws?clientId=host-7"]);
    }
}
