//! Where a chat's metrics are, by the URL of its WebSocket.

/// The metrics URL of a server with this WebSocket URL.
pub fn metrics_url(server_url: &str) -> Option<String> {
    let (scheme, rest) = server_url.split_once("://")?;
    let scheme = match scheme {
        "ws" => "http",
        "wss" => "https",
        _ => return None,
    };
    Some(format!("{scheme}://{}/metrics", rest.split(['/', '?']).next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_are_beside_the_chat() {
        for (chat, metrics) in [
            ("ws://127.0.0.1:8080/ws", Some("http://127.0.0.1:8080/metrics")),
            ("ws://[::1]:8080/ws?token=x", Some("http://[::1]:8080/metrics")),
            ("ws://server", Some("http://server/metrics")),
            ("wss://server/sub/ws", Some("https://server/metrics")),
            ("http://server/", None),
        ] {
            assert_eq!(metrics_url(chat).as_deref(), metrics, "{chat}");
        }
    }
}
