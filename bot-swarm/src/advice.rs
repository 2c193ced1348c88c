//! What a person can do about an error, by its kind, see [`Stats::error`](crate::stats::Stats::error).

use crate::connect_error::{ENDED, NO_ANSWER, NO_HTTP, NO_REPLY, NO_WELCOME, UNKNOWN_HOST};

/// Characters of `HTTP 503`.
const STATUS_CHARS: usize = 8;

/// What a kind contains, and what to do about it. The first that fits counts.
const OF_PARTS: [(&str, &str); 13] = [
    (
        "CaUsedAsEndEntity",
        "the server shows the certificate of an authority, as `openssl req -x509` makes it: give the server a certificate \
         that is none (basicConstraints=CA:FALSE), or set BOT_INSECURE=true for a test",
    ),
    (
        "not valid for name",
        "the server's certificate is for another host: name that one in BOT_SERVER_URL, or set BOT_INSECURE=true for a test",
    ),
    (
        "certificate: Expired",
        "the server's certificate has expired, or this machine's clock is wrong: renew the certificate",
    ),
    ("certificate: NotValidYet", "the server's certificate is not valid yet, or this machine's clock is wrong"),
    (
        "TLS: invalid peer certificate",
        "the server's certificate is not trusted: name its authority in BOT_CA_FILE, or set BOT_INSECURE=true for a test",
    ),
    ("InvalidContentType", "no TLS is spoken there: ws:// instead of wss://"),
    (NO_HTTP, "what listens there does not speak HTTP; if it speaks TLS: wss:// instead of ws://"),
    (ENDED, "what listens there takes no WebSocket; if it speaks TLS: wss:// instead of ws://"),
    (NO_ANSWER, "nothing answers there: look at host and port of BOT_SERVER_URL; a firewall may drop what comes"),
    (
        NO_REPLY,
        "what listens there does not answer a WebSocket's handshake: look at BOT_SERVER_URL, or the server hangs",
    ),
    (
        NO_WELCOME,
        "the server takes WebSockets and does not welcome the bots: look at BOT_DIALECT and at path of BOT_SERVER_URL",
    ),
    ("BOT_DIALECT=", "set BOT_DIALECT to what the server speaks"),
    (UNKNOWN_HOST, "no address is known for the host of BOT_SERVER_URL"),
];

/// The same of whole kinds, and of HTTP statuses, behind which a code may stand.
const OF_KINDS: [(&str, &str); 11] = [
    ("connect: connection refused", "no server listens at BOT_SERVER_URL"),
    ("HTTP 200", "a page is at this path, and no WebSocket: look at path of BOT_SERVER_URL; Starling's is /ws"),
    (
        "HTTP 400",
        "the server takes no WebSocket like this: look at path and query of BOT_SERVER_URL, and at BOT_DIALECT; if it speaks \
         TLS: wss:// instead of ws://",
    ),
    ("HTTP 401", "a token is missing, bad or has expired: BOT_TOKEN, BOT_TOKEN_FILE or BOT_TOKEN_SECRET"),
    ("HTTP 403", "the token is another client's, or does not allow the room; or the origin is not allowed"),
    ("HTTP 404", "no WebSocket at this path; Starling's is /ws"),
    ("HTTP 409", "the names are taken: choose another BOT_NAME_PREFIX"),
    ("HTTP 426", "the server wants another protocol there: look at path of BOT_SERVER_URL, and at BOT_DIALECT"),
    ("HTTP 429", "the server limits this address"),
    ("rate_limited", "the bots say more than the server allows: less BOT_MESSAGES_PER_SECOND, or a higher limit there"),
    ("HTTP 503", "the server is full, stopping, or not able to"),
];

/// What to do about an error of this kind. `None`: the kind says all there is.
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
            ("connect: connection refused", "no server listens"),
            ("TLS: invalid peer certificate: UnknownIssuer", "BOT_CA_FILE"),
            ("TLS: invalid peer certificate: CaUsedAsEndEntity", "CA:FALSE"),
            ("TLS: invalid peer certificate: Expired", "renew"),
            (r#"TLS: invalid peer certificate: certificate not valid for name "a"; certificate is …"#, "another host"),
            ("TLS: received corrupt message of type InvalidContentType", "ws:// instead of wss://"),
            (NO_HTTP, "wss:// instead of ws://"),
        ] {
            assert!(advice(kind).is_some_and(|advice| advice.contains(expected)), "{kind}");
        }
        assert_eq!(advice("not an event"), None);
        assert_eq!(advice("HTTP 5"), None);
    }
}
