use actix_codec::Decoder;
use actix_http::HttpMessage;
use actix_http::h1::{Codec, Message};

use super::*;

#[test]
fn the_end_of_a_head_is_found_however_it_is_cut() {
    for (bytes, end) in [("GET / HTTP/1.1\r\nA: b\r\n\r\nrest", Some(24)), ("GET\n\nrest", Some(5)), ("GET\r\n", None)]
    {
        for scanned in 0..end.unwrap_or(bytes.len()) {
            assert_eq!(end_of_head(bytes.as_bytes(), scanned), end, "{bytes:?} {scanned}");
        }
    }
}

#[test]
fn an_answer_without_end_is_a_get_of_the_labs_figures_that_accepts_events() {
    for (method, target, accepted, is_stream) in [
        ("GET", "/api/lab", &["text/event-stream"][..], true),
        ("GET", "/api/lab?token=x", &["text/event-stream"], true),
        ("GET", "/api/lab", &["text/html", " TEXT/Event-Stream ; q=0.1"], true),
        ("GET", "/api/lab", &["text/*", "*/*"], false),
        ("GET", "/api/lab", &[], false),
        ("HEAD", "/api/lab", &["text/event-stream"], false),
        ("POST", "/api/lab", &["text/event-stream"], false),
        ("GET", "/api/lab/", &["text/event-stream"], false),
        ("GET", "/api/%6cab", &["text/event-stream"], false),
        ("GET", "/api/stats", &["text/event-stream"], false),
    ] {
        assert_eq!(wants_stream(method, target, accepted.iter().copied()), is_stream, "{method} {target} {accepted:?}");
    }
}

#[test]
fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
    for host in
        ["a", "a.b-c_d", "a:80", "a:", "a:65535", "127.0.0.1:8080", "[::1]", "[::1]:8080", "xn--bcher-kva.example"]
    {
        assert!(is_host(host), "{host}");
    }
    for other in [
        "",
        ":",
        ":80",
        "a b",
        "a/b",
        "a?b",
        "a#b",
        "a\\b",
        "me@a",
        "a:b",
        "a:+80",
        "a:-1",
        "a:8 0",
        "a:65536",
        "a:99999999999",
        "a:80:80",
        "::1",
        "[::1",
        "[]",
        "[a]",
        "[::1]x",
        "[::1]:x",
        "[::1]80",
        "a80:80x",
        "http://a",
        "%zz",
        "b\u{fc}cher",
        "\u{fffd}",
    ] {
        assert!(!is_host(other), "{other}");
    }
}

#[test]
fn the_framework_gets_one_meaning_of_the_fields_that_are_lists() {
    let read = |head: &str| {
        let head = read(head.as_bytes(), 10, &PathPrefix::parse("/chat").unwrap()).unwrap();
        (String::from_utf8(head.bytes.to_vec()).unwrap(), head.follows)
    };
    assert_eq!(
        read("GET http://a?b HTTP/1.1\r\nHost: c\r\nConnection: x, close\r\nUpgrade: websocket\r\n\r\n"),
        ("GET /?b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".to_owned(), Follows::Nothing)
    );
    assert_eq!(
        read("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\nUpgrade: WebSocket\r\n\r\n"),
        (
            "GET /ws HTTP/1.1\r\nHost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n".to_owned(),
            Follows::WebSocket
        )
    );
    for (target, path) in [("/chat/ws?x", "/ws?x"), ("http://a/chat/ws", "/ws"), ("/chat/", "/"), ("/chat", "/chat")] {
        let (head, follows) = read(&format!("GET {target} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n"));
        assert!(head.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{target}: {head}");
        assert_eq!(follows == Follows::WebSocket, path.starts_with("/ws"), "{target}");
    }
}

#[actix::test]
async fn a_handshake_is_read_as_the_framework_reads_it() {
    let upgrade = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n";
    for (target, fields) in [
        ("/ws", "Host: a\r\n"),
        ("/ws/a%20b?clientId=%C3%A9&x", "Host: a:1\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: ::1\r\n"),
        ("http://b/ws?", "Host: a\r\nOrigin:   http://b  \r\nCookie: a=\u{e9}\r\nEmpty:\r\n"),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\n{fields}{upgrade}\r\n");
        let Head { bytes, follows } = read(head.as_bytes(), 0, &PathPrefix::default()).unwrap();
        assert_eq!(follows, Follows::WebSocket, "{head}");
        let ours = handshake(&bytes).unwrap();
        let Some(Message::Item(theirs)) = Codec::default().decode(&mut bytes.as_ref().into()).unwrap() else {
            panic!("{head}")
        };
        assert_eq!((ours.method(), ours.uri(), ours.version()), (theirs.method(), theirs.uri(), theirs.version()));
        let sorted = |request: &Request| {
            let mut fields: Vec<_> =
                request.headers().iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
            fields.sort();
            fields
        };
        assert_eq!(sorted(&ours), sorted(&theirs), "{head}");
    }
}
