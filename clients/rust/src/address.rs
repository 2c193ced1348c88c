//! The URL of a connection.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use starling_protocol::{ClientId, ClientKey, RoomName};
use tokio_tungstenite::tungstenite::http::Uri;

/// The server of a URL: `ws://host:port/prefix/ws`, without a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    base: String,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// Parses a URL with or without `/ws`. `None`: it is not a URL of a chat server.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (scheme, default_port) = match scheme {
            "ws" | "http" => ("ws", 80),
            "wss" | "https" => ("wss", 443),
            _ => return None,
        };
        let uri: Uri = format!("{scheme}://{rest}").parse().ok()?;
        if uri.query().is_some() || rest.contains('#') {
            return None;
        }
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let path = uri.path().trim_end_matches('/');
        let path = path.strip_suffix("/ws").unwrap_or(path);
        let base = format!("{scheme}://{}{path}/ws", uri.authority()?);
        Some(Self { base, host, port: uri.port_u16().unwrap_or(default_port) })
    }

    /// The URL of a handshake.
    pub(crate) fn handshake(
        &self,
        room: Option<&RoomName>,
        client_id: Option<&ClientId>,
        key: Option<ClientKey>,
    ) -> String {
        let room = room.map_or_else(String::new, |room| format!("/{room}"));
        let query = match (client_id, key) {
            (None, _) => String::new(),
            (Some(name), None) => format!("?clientId={}", encoded(name.as_str())),
            (Some(name), Some(key)) => format!("?clientId={}&key={key}", encoded(name.as_str())),
        };
        format!("{}{room}{query}", self.base)
    }
}

fn encoded(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_server_with_and_without_the_path_of_its_websocket() {
        for (url, base, host, port) in [
            ("ws://chat:8080", "ws://chat:8080/ws", "chat", 8080),
            ("ws://chat:8080/ws", "ws://chat:8080/ws", "chat", 8080),
            ("https://chat.example/team/", "wss://chat.example/team/ws", "chat.example", 443),
            ("http://[::1]:81/team/ws", "ws://[::1]:81/team/ws", "::1", 81),
        ] {
            let address = Address::parse(url);
            let expected = Address { base: base.into(), host: host.into(), port };
            assert_eq!(address, Some(expected), "{url}");
        }
        for url in ["", "chat:8080", "ftp://chat", "ws://", "ws://chat/ws?token=x", "ws://chat#x", "ws://a b"] {
            assert_eq!(Address::parse(url), None, "{url}");
        }
    }
}
