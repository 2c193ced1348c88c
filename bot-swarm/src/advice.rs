//! Advice to the user about each kind of error, see [`Stats::error`](crate::stats::Stats::error).

use crate::connect_error::{
    ENDED, HAD_TO_LEAVE, NO_ANSWER, NO_HTTP, NO_REPLY, NO_WELCOME, UNKNOWN_HOST, UNREADABLE_WELCOME,
};

/// The length of `HTTP 503`, in characters.
const STATUS_CHARS: usize = 8;

/// Parts of an error kind, each with its advice. The first part that the kind contains decides.
const OF_PARTS: [(&str, &str); 26] = [
    ("not_invited", "the room is private: invite the bots, or let their tokens name it"),
    ("not_a_writer", "only operators may write in the room: see its settings"),
    ("slow_mode", "the room has a slow mode: see its settings"),
    ("banned", "an operator has banned the bots or their address"),
    ("muted", "an operator has muted the bots or their address"),
    (HAD_TO_LEAVE, "an operator has dropped the room, or may not want the bots there: another error says so"),
    (
        "CaUsedAsEndEntity",
        "the server uses the certificate of an authority, as `openssl req -x509` makes it: give the server a \
         certificate with basicConstraints=CA:FALSE, or set BOT_INSECURE=true for a test",
    ),
    (
        "not valid for name",
        "the server's certificate is for another host: use it in BOT_SERVER_URL, or set BOT_INSECURE=true for a test",
    ),
    (
        "certificate: Expired",
        "the server's certificate has expired, or this machine's clock is wrong: renew the certificate",
    ),
    ("certificate: NotValidYet", "the server's certificate is not valid yet, or this machine's clock is wrong"),
    (
        "TLS: invalid peer certificate",
        "the server's certificate is not trusted: set BOT_CA_FILE to its CA's file, or set BOT_INSECURE=true for a test",
    ),
    ("InvalidContentType", "the server does not use TLS: use ws:// instead of wss://"),
    (NO_HTTP, "the server does not speak HTTP; if it uses TLS, use wss:// instead of ws://"),
    (ENDED, "the server does not accept WebSockets; if it uses TLS, use wss:// instead of ws://"),
    (NO_ANSWER, "no answer: check host and port of BOT_SERVER_URL; a firewall may drop the packets"),
    (NO_REPLY, "the server does not answer the WebSocket handshake: check BOT_SERVER_URL; the server may hang"),
    (
        NO_WELCOME,
        "the server accepts WebSockets but does not welcome the bots: check BOT_DIALECT and the path of BOT_SERVER_URL",
    ),
    ("BOT_DIALECT=", "set BOT_DIALECT to the server's protocol"),
    (UNKNOWN_HOST, "the host of BOT_SERVER_URL has no known address"),
    (
        UNREADABLE_WELCOME,
        "the server speaks another version of the protocol than the bots: use the same release of both; \
         RUST_LOG=bot_swarm=debug shows the problem in its welcome",
    ),
    ("mqtt: connection refused with code 4", NO_PASSWORD),
    ("mqtt: connection refused with code 5", NO_PASSWORD),
    (
        "mqtt: the topic was refused",
        "the server does not let the bots subscribe to the topic lobby: check its access list",
    ),
    ("handshake: Invalid", WRONG_ANSWER),
    ("handshake: Missing", WRONG_ANSWER),
    ("WebSocket: ", "the received data is not a WebSocket frame: check BOT_SERVER_URL; a proxy may change the data"),
];

const NO_PASSWORD: &str =
    "the server wants a user and a password, which the bots do not have (Mosquitto: allow_anonymous true)";

const NO_ROUTE: &str =
    "this machine has no route to the host of BOT_SERVER_URL: check the address, and this machine's network";

const WRONG_ANSWER: &str =
    "the server answers the WebSocket handshake incorrectly: check BOT_SERVER_URL; a proxy may not support WebSockets";

const ELSEWHERE: &str =
    "the server redirects to another address, but the bots do not follow redirects: set BOT_SERVER_URL to that address";

const NOTHING_BEHIND: &str = "a proxy answers, but it cannot reach the server behind it";

/// Advice for whole kinds, and for HTTP statuses, which an error code may follow.
const OF_KINDS: [(&str, &str); 22] = [
    ("connect: connection refused", "no server listens at BOT_SERVER_URL"),
    (
        "connect: connection reset",
        "every connection is closed at once: check host and port of BOT_SERVER_URL; a proxy or a firewall may close it",
    ),
    ("connect: host unreachable", NO_ROUTE),
    ("connect: network unreachable", NO_ROUTE),
    ("connect: permission denied", "this machine's firewall forbids the connection"),
    ("HTTP 200", "the path has a page, not a WebSocket: check the path of BOT_SERVER_URL; Starling's is /ws"),
    ("HTTP 301", ELSEWHERE),
    ("HTTP 302", ELSEWHERE),
    ("HTTP 307", ELSEWHERE),
    ("HTTP 308", ELSEWHERE),
    (
        "HTTP 400",
        "the server rejects this WebSocket: check path and query of BOT_SERVER_URL, and BOT_DIALECT; if it uses \
         TLS, use wss:// instead of ws://",
    ),
    ("HTTP 401", "a token is missing, bad or has expired: BOT_TOKEN, BOT_TOKEN_FILE or BOT_TOKEN_SECRET"),
    ("HTTP 403", "the token belongs to another client, or does not allow the room; or the origin is not allowed"),
    ("HTTP 404", "no WebSocket at this path; Starling's is /ws"),
    ("HTTP 409", "the names are taken: choose another BOT_NAME_PREFIX"),
    ("HTTP 426", "the server expects another protocol: check the path of BOT_SERVER_URL, and BOT_DIALECT"),
    ("HTTP 429", "the server limits the rate or the connections of this address"),
    (
        "rate_limited",
        "the bots send more than the server allows: lower BOT_MESSAGES_PER_SECOND or BOT_FLOOD_PER_SECOND, or raise its limit",
    ),
    ("HTTP 500", "the server failed: its log should say why"),
    ("HTTP 502", NOTHING_BEHIND),
    ("HTTP 504", NOTHING_BEHIND),
    ("HTTP 503", "the server is full, stopping, or unable to serve"),
];

/// Returns advice on an error of this kind. `None` if the kind needs no explanation.
pub fn advice(kind: &str) -> Option<&'static str> {
    let of_parts = OF_PARTS.iter().find(|(part, _)| kind.contains(part));
    let status = kind.get(..STATUS_CHARS).filter(|status| status.starts_with("HTTP ")).unwrap_or(kind);
    let of_kinds = || OF_KINDS.iter().find(|(known, _)| *known == status);
    of_parts.or_else(of_kinds).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_the_advice_that_is_meant_for_it() {
        for (kind, expected) in [
            ("HTTP 503 unavailable", "full"),
            ("HTTP 401", "BOT_TOKEN"),
            ("HTTP 403 forbidden", "another client"),
            ("HTTP 403 not_invited", "invite the bots"),
            ("HTTP 403 banned", "has banned"),
            ("not_a_writer", "only operators"),
            ("connect: connection refused", "no server listens"),
            ("TLS: invalid peer certificate: UnknownIssuer", "BOT_CA_FILE"),
            ("TLS: invalid peer certificate: CaUsedAsEndEntity", "CA:FALSE"),
            ("TLS: invalid peer certificate: Expired", "renew"),
            (r#"TLS: invalid peer certificate: certificate not valid for name "a"; certificate is …"#, "another host"),
            ("TLS: received corrupt message of type InvalidContentType", "ws:// instead of wss://"),
            (NO_HTTP, "wss:// instead of ws://"),
            ("mqtt: connection refused with code 5", "a user and a password"),
            ("connect: connection reset", "at once"),
            ("connect: host unreachable", "no route to the host"),
            ("connect: no answer by the end of the run", "a firewall may drop"),
            ("HTTP 302", "to that address"),
            ("HTTP 502", "a proxy"),
            ("handshake: Invalid challenge response", "answers the WebSocket handshake incorrectly"),
            ("WebSocket: Received a masked frame from server", "not a WebSocket frame"),
            (UNREADABLE_WELCOME, "another version"),
            (HAD_TO_LEAVE, "dropped the room"),
        ] {
            assert!(advice(kind).is_some_and(|advice| advice.contains(expected)), "{kind}");
        }
        assert_eq!(advice("not an event"), None);
        assert_eq!(advice("HTTP 5"), None);
    }
}
