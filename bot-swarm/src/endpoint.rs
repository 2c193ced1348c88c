//! Where a bot connects: the server's URL, with the bot's room, name and key in it.

use starling_protocol::{ClientId, ClientKey, RoomName};

use crate::dialect::Dialect;

/// The server's URL, in two halves between which a room's name fits.
#[derive(Debug, Clone)]
pub struct Endpoint {
    path: String,
    query: String,
    /// The whole URL, where the server wants to know nothing of who comes.
    plain: Option<String>,
}

impl Endpoint {
    /// Takes a URL that the configuration has checked.
    pub fn new(url: &str, dialect: Dialect) -> Self {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let plain = (dialect != Dialect::Starling).then(|| url.to_owned());
        Self { path: path.trim_end_matches('/').to_owned(), query: query.to_owned(), plain }
    }

    /// The URL for a client: into this room (`None`: where the server puts it), under this name, with the key that an
    /// earlier welcome gave. Names and keys need no escapes.
    pub fn url(&self, room: Option<&RoomName>, client: &ClientId, key: Option<ClientKey>) -> String {
        let Self { path, query, plain } = self;
        if let Some(plain) = plain {
            return plain.clone();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_name_and_key_find_their_places() {
        let bot = ClientId::parse("host-7").unwrap();
        let room = RoomName::parse("room-3").unwrap();
        let plain = Endpoint::new("ws://localhost:8080/ws/", Dialect::Starling);
        assert_eq!(Endpoint::new("ws://localhost/x/", Dialect::Echo).url(None, &bot, None), "ws://localhost/x/");
        assert_eq!(plain.url(None, &bot, None), "ws://localhost:8080/ws?clientId=host-7");
        let with_query = Endpoint::new("ws://localhost/ws?token=x", Dialect::Starling);
        assert_eq!(
            with_query.url(Some(&room), &bot, Some(ClientKey(5))),
            "ws://localhost/ws/room-3?token=x&clientId=host-7&key=00000000000000000000000000000005"
        );
    }
}
