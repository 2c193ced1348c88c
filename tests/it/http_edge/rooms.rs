//! A room in a path: handshakes and all routes judge it alike, below the path prefix too.

use futures_util::future::join_all;
use test_kit::Client;
use test_kit::raw::{self, HttpAnswer, Raw};

use crate::harness::TestServer;

const OPERATOR: &str = "letmein-letmein-letmein";

/// The status of an answer, and the code if it is a refusal.
fn said(answer: &HttpAnswer) -> (u16, String) {
    let code = if answer.status >= 400 { answer.json()["code"].as_str().unwrap().to_owned() } else { String::new() };
    (answer.status, code)
}

/// The routes with a room in their paths, but for those that drop it.
fn routes(room: &str) -> [(&'static str, String); 6] {
    let below = |rest: &str| format!("/api/rooms/{room}{rest}");
    [
        ("GET", below("/messages")),
        ("POST", below("/messages")),
        ("GET", below("/settings")),
        ("POST", below("/settings")),
        ("GET", below("/invitations")),
        ("POST", below("/invitations")),
    ]
}

#[actix::test]
async fn a_room_in_a_path_is_the_same_to_a_handshake_and_to_every_route() {
    let server = TestServer::start(&[
        ("CHAT_PATH_PREFIX", "/chat"),
        ("CHAT_ADMIN_TOKEN", OPERATOR),
        ("CHAT_HANDSHAKES_PER_SECOND", "100000"),
    ]);
    let _holders = [Client::connect(&server, "/ws/dev").await, Client::connect(&server, "/ws/a").await];
    let bad = Some((400, "bad_room"));
    let none = Some((404, "no_such_path"));
    let long = "r".repeat(65);
    // A room as it stands in the path, and the refusal; `None`: it is the room dev.
    let rooms = [
        ("dev", None),
        ("d%65v", None),
        ("%64%65%76", None),
        ("a%2fb", bad),
        ("a%2Fb", bad),
        ("%2f", bad),
        ("..", bad),
        (".", bad),
        ("%2e%2e", bad),
        ("%2e%2e%2fdev", bad),
        ("..%2fdev", bad),
        ("%5c", bad),
        ("x%00", bad),
        ("%00", bad),
        ("a%20b", bad),
        ("a+b", bad),
        ("a%2bb", bad),
        ("-dev", bad),
        ("@dev", bad),
        ("%40dev", bad),
        ("d%C3%A9v", bad),
        ("%ff", bad),
        ("%", bad),
        ("%zz", bad),
        ("%61%", bad),
        ("%2561", bad),
        ("%%36%31", bad),
        (&long, bad),
        ("/", none),
        ("/dev", none),
        ("dev/", none),
        ("a/b", none),
        ("../dev", none),
    ];
    let authorized = format!("Authorization: Bearer {OPERATOR}\r\nConnection: close\r\n");
    let with_body = format!("{authorized}Content-Length: 2\r\n\r\n{{}}");
    join_all(rooms.iter().flat_map(|room| ["", "/chat"].map(|prefix| (room, prefix))).map(
        async |((room, refusal), prefix)| {
            let path = format!("{prefix}/ws/{room}");
            let expected = |taken: (u16, &str)| {
                let (status, code) = refusal.unwrap_or(taken);
                (status, code.to_owned())
            };
            assert_eq!(said(&raw::handshake(&server, &path).await), expected((101, "")), "{path}: a handshake");
            // The framework passes on a handshake that is not the first request of its connection.
            let mut second = Raw::open(server.address()).await;
            assert_eq!(second.get("/healthz").await.status, 200);
            let answer = second.ask_for_websocket(&path, "").await;
            assert_eq!(said(&answer), expected((101, "")), "{path}: a second request");
            let plain = raw::get(&server, &path).await;
            assert_eq!(said(&plain), expected((426, "upgrade_required")), "{path}: a plain request");
            for (method, path) in routes(room) {
                let path = format!("{prefix}{path}");
                // No operation takes a body without fields.
                let taken = if method == "GET" { (200, "") } else { (400, "bad_request") };
                let fields = if method == "GET" { &authorized } else { &with_body };
                let answer = raw::http(&server, method, &path, fields).await;
                assert_eq!(said(&answer), expected(taken), "{method} {path}: {answer:?}");
            }
            // Last, and only where nothing is dropped.
            if let Some(refusal) = refusal {
                for path in [format!("/api/rooms/{room}"), format!("/api/rooms/{room}/invitations/bob")] {
                    let answer = raw::http(&server, "DELETE", &format!("{prefix}{path}"), &authorized).await;
                    let (status, code) = said(&answer);
                    assert_eq!((status, &*code), *refusal, "DELETE {prefix}{path}: {answer:?}");
                }
            }
        },
    ))
    .await;
}

#[actix::test]
async fn the_lobby_is_at_the_paths_without_a_room_and_nowhere_else() {
    let server = TestServer::start(&[]);
    for path in ["/ws", "/ws?format=text", "/ws/", "/ws/?format=text", "/ws/lobby"] {
        assert_eq!(raw::handshake(&server, path).await.status, 101, "{path}");
        assert_eq!(raw::get(&server, path).await.status, 426, "{path}");
    }
    raw::get(&server, "/api/rooms//messages").await.expect_refusal(404, "no_such_path");
    for path in ["/wsx", "/WS", "/ws%2flobby"] {
        raw::handshake(&server, path).await.expect_refusal(404, "no_such_path");
        raw::get(&server, path).await.expect_refusal(404, "no_such_path");
    }
}

#[actix::test]
async fn a_client_in_a_path_is_decoded_once() {
    let server = TestServer::start(&[("CHAT_ADMIN_TOKEN", OPERATOR)]);
    let _alice = Client::connect(&server, "/ws?clientId=a").await;
    let fields = format!("Authorization: Bearer {OPERATOR}\r\nConnection: close\r\n");
    for (name, status) in [("%%36%31", 400), ("%2561", 400), ("a%2f", 400), ("..", 400), ("%62", 404), ("%61", 204)] {
        let answer = raw::http(&server, "DELETE", &format!("/api/clients/{name}"), &fields).await;
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        if status == 400 {
            answer.expect_refusal(400, "bad_name");
        }
    }
}
