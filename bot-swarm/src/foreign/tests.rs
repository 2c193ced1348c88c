//! The meaning of each protocol's frames.

use super::*;

const TEXT: &str = "~s3~AAAA";

/// Interprets frames one after the other.
fn heard(foreign: Foreign, frames: &[&[u8]]) -> Vec<String> {
    let (mut all, mut rest) = (Vec::new(), Vec::new());
    for frame in frames {
        rest.extend_from_slice(frame);
        let left = foreign.hear(&rest, |heard| {
            all.push(if let Heard::Said(said) = heard {
                // A message without a marker is not a bot's and is skipped.
                if String::from_utf8_lossy(said).contains(TEXT) { "said" } else { "other" }.to_owned()
            } else if let Heard::Answer(answer) = heard {
                format!("answer {}", written(answer))
            } else {
                format!("{heard:?}")
            });
        });
        rest.drain(..rest.len() - left);
    }
    assert!(rest.is_empty() || matches!(foreign, Foreign::Mqtt | Foreign::Nats));
    all
}

fn check(foreign: Foreign, cases: &[(&[&[u8]], &[&str])]) {
    for (frames, expected) in cases {
        assert_eq!(heard(foreign, frames), *expected, "{foreign:?} {frames:?}");
    }
}

fn written(message: Message) -> String {
    if let Message::Binary(bytes) = message {
        return format!("{bytes:?}");
    }
    let Message::Text(text) = message else { panic!("{message:?}") };
    text.to_string()
}

#[test]
fn centrifugo_is_understood() {
    let foreign = Foreign::Centrifugo;
    // The order of the fields does not matter.
    let json = |message| serde_json::from_str::<serde_json::Value>(&written(message)).unwrap();
    assert_eq!(
        json(foreign.greeting("bot-1").unwrap()),
        serde_json::json!({"id": 1, "connect": {"name": "bot-swarm"}})
    );
    let id = foreign.wire_id(1);
    assert_eq!(
        json(foreign.say(id, TEXT)),
        serde_json::json!({"id": 3, "publish": {"channel": "lobby", "data": {"text": "~s3~AAAA"}}})
    );
    check(
        foreign,
        &[
            (
                &[br#"{"id":1,"connect":{"client":"42","version":"5.4.9","ping":25,"pong":true}}"#],
                &[r#"answer {"id":2,"subscribe":{"channel":"lobby"}}"#],
            ),
            (&[br#"{"id":2,"subscribe":{}}"#], &["Joined"]),
            (&[br#"{"id":2,"error":{"code":103,"message":"permission denied"}}"#], &[
                r#"Refused(None, "centrifugo: permission denied")"#,
            ]),
            (&[br#"{"id":3,"publish":{}}"#], &["Taken(3)"]),
            (&[br#"{"id":3,"error":{"code":111,"message":"too many requests","temporary":true}}"#], &[
                r#"Refused(Some(3), "centrifugo: too many requests")"#,
            ]),
            (&[b"{}"], &["answer {}"]),
            // Several replies and pushes come in one frame, one per line.
            (
                &[b"{\"push\":{\"channel\":\"lobby\",\"pub\":{\"data\":{\"text\":\"~s3~AAAA\"}}}}\n{\"id\":4,\"publish\":{}}\n"],
                &["said", "Taken(4)"],
            ),
            (&[br#"{"push":{"channel":"lobby","pub":{"data":{"text":"~s3~AAAA"},"offset":7}}}"#], &["said"]),
            (&[br#"{"push":{"disconnect":{"code":3000,"reason":"shutdown"}}}"#], &[]),
            (&[b"hello"], &["Nonsense"]),
        ],
    );
}

#[test]
fn socket_io_is_understood() {
    let foreign = Foreign::SocketIo;
    assert!(foreign.greeting("bot-1").is_none());
    assert_eq!(written(foreign.say(foreign.wire_id(7), TEXT)), r#"427["message","~s3~AAAA"]"#);
    check(
        foreign,
        &[
            (
                &[br#"0{"sid":"lv_VI","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#],
                &["answer 40"],
            ),
            (&[br#"40{"sid":"wZX3o"}"#], &["Joined"]),
            (&[br#"44{"message":"not authorized"}"#], &[r#"Refused(None, "socket.io: not authorized")"#]),
            (&[b"41"], &[r#"Refused(None, "socket.io: disconnected")"#]),
            (&[b"2"], &["answer 3"]),
            (&[b"437[]"], &["Taken(7)"]),
            (&[br#"4312[{"status":"ok"}]"#], &["Taken(12)"]),
            (&[br#"42["message","~s3~AAAA"]"#], &["said"]),
            (&[b"43[]"], &["Nonsense"]),
            (&[b""], &["Nonsense"]),
            (&[b"99"], &["Nonsense"]),
        ],
    );
}

#[test]
fn phoenix_is_understood() {
    let foreign = Foreign::Phoenix;
    assert_eq!(written(foreign.greeting("bot-1").unwrap()), r#"["1","1","room:lobby","phx_join",{}]"#);
    let id = foreign.wire_id(1);
    assert_eq!(written(foreign.say(id, TEXT)), r#"["1","2","room:lobby","new_msg",{"body":"~s3~AAAA"}]"#);
    assert_eq!(written(foreign.heartbeat().unwrap()), r#"[null,"0","phoenix","heartbeat",{}]"#);
    check(
        foreign,
        &[
            (&[br#"["1","1","room:lobby","phx_reply",{"response":{},"status":"ok"}]"#], &["Joined"]),
            (
                &[br#"["1","1","room:lobby","phx_reply",{"response":{"reason":"unauthorized"},"status":"error"}]"#],
                &[r#"Refused(None, "phoenix: the room was refused")"#],
            ),
            (&[br#"["1","2","room:lobby","phx_reply",{"response":{},"status":"ok"}]"#], &["Taken(2)"]),
            (
                &[br#"["1","3","room:lobby","phx_reply",{"response":{},"status":"error"}]"#],
                &[r#"Refused(Some(3), "phoenix: refused")"#],
            ),
            (&[br#"[null,"0","phoenix","phx_reply",{"response":{},"status":"ok"}]"#], &[]),
            (&[br#"[null,null,"room:lobby","new_msg",{"body":"~s3~AAAA"}]"#], &["said"]),
            (&[br#"["1",null,"room:lobby","new_msg",{"body":"~s3~AAAA"}]"#], &["said"]),
            (&[br#"["1","1","room:lobby","phx_error",{}]"#], &[r#"Refused(None, "phoenix: the channel failed")"#]),
            (&[br#"["1","1","room:lobby","phx_close",{}]"#], &[r#"Refused(None, "phoenix: the channel was closed")"#]),
            (&[b"{}"], &["Nonsense"]),
        ],
    );
}

#[test]
fn mqtt_is_understood() {
    let foreign = Foreign::Mqtt;
    let connect = written(foreign.greeting("bot-1").unwrap());
    assert_eq!(connect, r#"b"\x10\x11\0\x04MQTT\x04\x02\0<\0\x05bot-1""#);
    assert_eq!(written(foreign.say(1, TEXT)), r#"b"2\x11\0\x05lobby\0\x01~s3~AAAA""#);
    assert_eq!((foreign.wire_id(1), foreign.wire_id(65_535), foreign.wire_id(65_536)), (1, 65_535, 1));
    // The length of a packet takes a second byte from 128 bytes on.
    let Message::Binary(long) = foreign.say(1, &"x".repeat(200)) else { panic!() };
    assert_eq!(long[..3], [0x32, 0xd1, 0x01]);
    let publish = b"\x32\x11\0\x05lobby\0\x09~s3~AAAA";
    check(
        foreign,
        &[
            (&[b"\x20\x02\0\0"], &[r#"answer b"\x82\n\0\x01\0\x05lobby\x01""#]),
            (&[b"\x20\x02\0\x05"], &[r#"Refused(None, "mqtt: connection refused with code 5")"#]),
            (&[b"\x90\x03\0\x01\x01"], &["Joined"]),
            (&[b"\x90\x03\0\x01\x80"], &[r#"Refused(None, "mqtt: the topic was refused")"#]),
            (&[b"\x40\x02\0\x07"], &["Taken(7)"]),
            (&[b"\xd0\0"], &[]),
            (&[publish], &["said", r#"answer b"@\x02\0\t""#]),
            (&[b"\x30\x0f\0\x05lobby~s3~AAAA"], &["said"]),
            // A frame may end anywhere in a packet.
            (&[&publish[..1], &publish[1..9], &publish[9..]], &["said", r#"answer b"@\x02\0\t""#]),
            (&[b"\x40\x02\0\x07\x40\x02\0\x08"], &["Taken(7)", "Taken(8)"]),
            (&[b"\x40\xff\xff\xff\xff\x01"], &["Nonsense"]),
            (&[b"\x32\x02\0\x05"], &["Nonsense"]),
        ],
    );
}

#[test]
fn nats_is_understood() {
    let foreign = Foreign::Nats;
    let text = |message| {
        let Message::Binary(bytes) = message else { panic!() };
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    let greeting = text(foreign.greeting("bot-1").unwrap());
    let lines: Vec<&str> = greeting.split("\r\n").collect();
    let [connect, "SUB lobby 1", own, publish, "", ""] = lines[..] else { panic!("{lines:?}") };
    let options: serde_json::Value = serde_json::from_str(connect.strip_prefix("CONNECT ").unwrap()).unwrap();
    assert_eq!(
        (&options["verbose"], &options["echo"], &options["name"]),
        (&false.into(), &true.into(), &"bot-1".into())
    );
    let subject = own.strip_prefix("SUB ").unwrap().strip_suffix(" 2").unwrap();
    assert_eq!(publish, format!("PUB {subject} 0"));
    assert_ne!(greeting, text(foreign.greeting("bot-1").unwrap()), "nobody else has its subject");
    assert_eq!(text(foreign.say(foreign.wire_id(7), TEXT)), "PUB lobby 8\r\n~s3~AAAA\r\nPING\r\n");
    assert!(foreign.heartbeat().is_none());
    let message = b"MSG lobby 1 8\r\n~s3~AAAA\r\n";
    let long_line = [b"INFO ".to_vec(), vec![b'x'; 70_000]].concat();
    check(
        foreign,
        &[
            (&[b"INFO {\"server_id\":\"N\",\"max_payload\":1048576}\r\n"], &[]),
            (&[b"MSG joined.0000 2 0\r\n\r\n"], &["Joined"]),
            (&[message], &["said"]),
            (&[b"MSG lobby 1 reply.to 8\r\n~s3~AAAA\r\nPONG\r\n"], &["said", "Taken(0)"]),
            (&[b"PING\r\n"], &[r#"answer b"PONG\r\n""#]),
            (&[b"+OK\r\n"], &[]),
            (&[b"-ERR 'Authorization Violation'\r\n"], &[r#"Refused(None, "nats: Authorization Violation")"#]),
            // A frame may end anywhere in an operation.
            (&[&message[..5], &message[5..15], &message[15..20], &message[20..24], &message[24..]], &["said"]),
            (&[b"PO", b"NG\r", b"\nPONG\r\n"], &["Taken(0)", "Taken(0)"]),
            (&[b"MSG lobby 1\r\n"], &["Nonsense"]),
            (&[b"MSG lobby 1 99999999999\r\n"], &["Nonsense"]),
            (&[b"MSG lobby 9 0\r\n\r\n"], &["Nonsense"]),
            (&[b"HELLO\r\n"], &["Nonsense"]),
            (&[&long_line], &["Nonsense"]),
        ],
    );
}

/// Frames as the servers themselves send them: with fields that their documentation names and that a bot ignores, in
/// the documented order. Sources: for Centrifugo, `centrifugal.dev/docs/transports/client_protocol` and the schema that
/// it refers to, `client.proto`; for Phoenix, hexdocs.pm/phoenix, "Writing a Channels Client", and its serializer
/// 2.0.0.
#[test]
fn frames_as_the_documentation_of_their_servers_shows_them_are_understood() {
    check(
        Foreign::Centrifugo,
        &[
            (
                &[br#"{"id":1,"connect":{"client":"fb5b4d04-75a4-42fc-8068-94650626fe6e","version":"6.0.1 OSS","subs":{"news":{"recoverable":true,"epoch":"aBcD"}},"expires":true,"ttl":1200,"ping":25,"pong":true,"session":"9a1c","node":"b0b1"}}"#],
                &[r#"answer {"id":2,"subscribe":{"channel":"lobby"}}"#],
            ),
            // A subscription with recovered history of the channel.
            (
                &[br#"{"id":2,"subscribe":{"recoverable":true,"epoch":"xyz","publications":[{"data":{"text":"old"},"offset":6}],"offset":6,"positioned":true}}"#],
                &["Joined"],
            ),
            (&[br#"{"id":2,"error":{"code":105,"message":"already subscribed"}}"#], &[
                r#"Refused(None, "centrifugo: already subscribed")"#,
            ]),
            (&[br#"{"id":1,"error":{"code":100,"message":"internal server error","temporary":true}}"#], &[
                r#"Refused(None, "centrifugo: internal server error")"#,
            ]),
            // A reply and pushes, together in one frame.
            (
                &[b"{\"id\":3,\"publish\":{}}\n{\"push\":{\"channel\":\"lobby\",\"pub\":{\"data\":{\"text\":\"~s3~AAAA\"},\"info\":{\"user\":\"42\",\"client\":\"fb5b\",\"conn_info\":{\"name\":\"x\"}},\"offset\":7,\"tags\":{\"a\":\"b\"}}}}\n{}"],
                &["Taken(3)", "said", "answer {}"],
            ),
            (&[br#"{"push":{"channel":"lobby","join":{"info":{"user":"42","client":"fb5b"}}}}"#], &[]),
            (&[br#"{"push":{"channel":"lobby","leave":{"info":{"user":"42","client":"fb5b"}}}}"#], &[]),
            (&[br#"{"push":{"channel":"lobby","unsubscribe":{"code":2500,"reason":"server unsubscribe"}}}"#], &[]),
            (&[br#"{"push":{"refresh":{"expires":true,"ttl":1200}}}"#], &[]),
        ],
    );
    check(
        Foreign::Phoenix,
        &[
            (&[br#"["1","1","room:lobby","phx_reply",{"status":"ok","response":{"messages":[],"user":{"id":7}}}]"#], &["Joined"]),
            (&[br#"["1","1","room:lobby","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]"#], &[
                r#"Refused(None, "phoenix: the room was refused")"#,
            ]),
            // A push to one client has the `ref` of the join; a broadcast has none.
            (&[br#"["1",null,"room:lobby","presence_state",{"7":{"metas":[{"online_at":"1700000000","phx_ref":"F1"}]}}]"#], &["other"]),
            (&[br#"[null,null,"room:lobby","presence_diff",{"joins":{},"leaves":{}}]"#], &["other"]),
            (&[br#"[null,null,"room:lobby","new_msg",{"body":"~s3~AAAA","user":{"id":7}}]"#], &["said"]),
            (&[br#"["1","2","room:lobby","phx_reply",{"response":{"id":12},"status":"ok"}]"#], &["Taken(2)"]),
            (&[br#"[null,"0","phoenix","phx_reply",{"response":{},"status":"ok"}]"#], &[]),
            (&[br#"["1","1","room:lobby","phx_error",{}]"#], &[r#"Refused(None, "phoenix: the channel failed")"#]),
        ],
    );
}
