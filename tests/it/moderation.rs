//! Guarantees of moderation, through real sockets: a decision over HTTP, by `starling moderate` or in the console holds
//! at once, and after a restart.

use std::time::Duration;

use serde_json::{Value, json};
use test_kit::raw::{self, HttpAnswer};
use test_kit::token::{JWT, issue};
use test_kit::{Client, Exposition, within};

use crate::harness::{TestServer, bot_swarm, starling};

const SANCTIONS: &str = "/api/moderation/sanctions";
const MESSAGES: &str = "/api/rooms/dev/messages";

pub(crate) async fn operate(server: &TestServer, method: &str, path: &str, body: &Value) -> HttpAnswer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    operate_raw(server, method, path, &body).await
}

/// Sends this body as it is.
async fn operate_raw(server: &TestServer, method: &str, path: &str, body: &str) -> HttpAnswer {
    let head = format!(
        "Authorization: Bearer letmein-letmein-letmein\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    raw::http(server.address(), method, path, &head).await
}

#[actix::test]
async fn a_decision_holds_at_once_and_after_a_restart_if_the_history_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("starling.db");
    for history in ["memory", "sqlite"] {
        let variables = [
            ("CHAT_ADMIN_TOKEN", "letmein-letmein-letmein"),
            ("CHAT_HISTORY", history),
            ("CHAT_HISTORY_PATH", path.to_str().unwrap()),
        ];
        let server = TestServer::start(&variables);
        let mut alice = Client::connect(&server, "/ws/dev?clientId=alice").await;
        let mute = json!({"measure": "mute", "clientId": "alice", "room": "dev", "seconds": 600, "reason": "spam"});
        let muted = operate(&server, "POST", SANCTIONS, &mute).await.json();
        assert_eq!((&muted["reason"], &muted["by"]), (&json!("spam"), &json!("operator")));
        assert_eq!(muted["until"].as_u64(), muted["at"].as_u64().map(|at| at + 600_000));
        let refused = json!({"type": "error", "code": "muted", "id": "m1", "room": "dev", "until": muted["until"]});
        alice.send_json(&json!({"Message": "hello", "id": "m1"})).await;
        alice.expect(&refused.to_string()).await;
        alice.send_json(&json!({"type": "ping", "id": "p1"})).await;
        alice.expect(r#"{"type":"pong","id":"p1"}"#).await;

        let mut mallory = Client::connect(&server, "/ws?clientId=mallory").await;
        let ban = json!({"measure": "ban", "clientId": "mallory"});
        assert_eq!(operate(&server, "POST", SANCTIONS, &ban).await.status, 200);
        mallory.expect(r#"{"type":"error","code":"banned"}"#).await;
        mallory.expect_close(4005).await;
        raw::handshake(&server, "/ws?clientId=mallory").await.expect_refusal(403, "banned");
        // A page asks this way why its WebSocket was refused.
        raw::get(&server, "/ws?clientId=mallory").await.expect_refusal(403, "banned");
        raw::get(&server, "/ws?clientId=alice").await.expect_refusal(426, "upgrade_required");
        let slow = operate(&server, "POST", "/api/rooms/dev/settings", &json!({"slowSeconds": 60})).await;
        let plain = json!({
            "slowSeconds": 60, "topic": "", "writers": "everyone", "access": "everyone",
            "newcomersSeeHistory": true, "retention": {}, "seenBy": null,
        });
        assert_eq!(slow.json(), plain);
        drop((alice, mallory, server));

        let server = TestServer::start(&variables);
        let is_kept = history == "sqlite";
        let sanctions = operate(&server, "GET", SANCTIONS, &Value::Null).await.json();
        assert_eq!(sanctions["sanctions"].as_array().unwrap().len(), if is_kept { 2 } else { 0 }, "{history}");
        let audit = operate(&server, "GET", "/api/moderation/audit", &Value::Null).await.json();
        let actions: Vec<_> =
            audit["entries"].as_array().unwrap().iter().map(|entry| entry["action"].clone()).collect();
        let expected = if is_kept { vec![json!("set"), json!("ban"), json!("mute")] } else { Vec::new() };
        assert_eq!(actions, expected, "{history}");
        let handshake = raw::handshake(&server, "/ws?clientId=mallory").await;
        let lift = format!("{SANCTIONS}?measure=mute&clientId=alice&room=dev");
        let lifted = operate(&server, "DELETE", &lift, &Value::Null).await;
        if !is_kept {
            assert_eq!(handshake.status, 101);
            lifted.expect_refusal(404, "no_such_sanction");
            continue;
        }
        handshake.expect_refusal(403, "banned");
        assert_eq!(lifted.status, 204);
        let mut alice = Client::connect(&server, "/ws/dev?clientId=alice").await;
        alice.expect(r#"{"type":"settings","room":"dev","settings":{"slowSeconds":60}}"#).await;
        alice.send_json(&json!({"Message": "hello", "id": "m1"})).await;
        alice.expect(r#"{"type":"ack","id":"m1"}"#).await;
        alice.expect(r#"{"type":"message","id":"m1"}"#).await;
        alice.send_json(&json!({"Message": "again", "id": "m2"})).await;
        alice.expect(r#"{"type":"error","code":"slow_mode","id":"m2","room":"dev"}"#).await;
        let by_address = json!({"measure": "ban", "address": "127.0.0.1", "reason": "flood"});
        assert_eq!(operate(&server, "POST", SANCTIONS, &by_address).await.status, 200);
        alice.expect(r#"{"type":"error","code":"banned"}"#).await;
        alice.expect_close(4005).await;
    }
}

#[actix::test]
async fn the_refusal_of_a_banned_handshake_says_when_the_ban_ends() {
    let server = TestServer::start(&[("CHAT_ADMIN_TOKEN", "letmein-letmein-letmein")]);
    for (room, seconds) in [(Value::Null, Value::Null), (json!("dev"), json!(600)), (Value::Null, json!(60))] {
        let ban = json!({"measure": "ban", "clientId": "trudy", "room": room, "seconds": seconds});
        let until = operate(&server, "POST", SANCTIONS, &ban).await.json()["until"].take();
        assert_eq!(until.is_null(), seconds.is_null());
        for refusal in
            [raw::handshake(&server, "/ws/dev?clientId=trudy").await, raw::get(&server, "/ws/dev?clientId=trudy").await]
        {
            refusal.expect_refusal(403, "banned");
            assert_eq!(refusal.json()["until"], until, "{refusal:?}");
        }
        let lift = format!("{SANCTIONS}?measure=ban&clientId=trudy");
        let lift = room.as_str().map_or_else(|| lift.clone(), |room| format!("{lift}&room={room}"));
        // Here the token is in the query, beside the parameters of the request.
        let lift = format!("{lift}&token=letmein-letmein-letmein");
        let head = "Connection: close\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(raw::http(server.address(), "DELETE", &lift, head).await.status, 204);
    }
}

#[actix::test]
async fn a_wrong_decision_is_refused_and_only_operators_decide() {
    let server = TestServer::start(&[("CHAT_ADMIN_TOKEN", "letmein-letmein-letmein")]);
    let seconds = "field `seconds` must be a whole number from 1 to 315360000 or null";
    for (method, path, body, says) in [
        ("POST", SANCTIONS, json!([]), "the body must be a JSON object"),
        ("POST", SANCTIONS, json!({"clientId": "alice"}), "field `measure` is missing"),
        ("POST", SANCTIONS, json!({"measure": "mute"}), "either `clientId` or `address` is needed"),
        ("POST", SANCTIONS, json!({"measure": "kick", "clientId": "alice"}), "field `measure` must be mute or ban"),
        (
            "POST",
            SANCTIONS,
            json!({"measure": "mute", "clientId": "alice", "address": "192.0.2.1"}),
            "`clientId` and `address` exclude each other: give one of them",
        ),
        (
            "POST",
            SANCTIONS,
            json!({"measure": "mute", "address": "somewhere"}),
            "field `address`: \"somewhere\" is not an address of a client",
        ),
        ("POST", SANCTIONS, json!({"measure": "mute", "clientId": "alice", "seconds": 0}), seconds),
        ("POST", SANCTIONS, json!({"measure": "mute", "clientId": "alice", "seconds": "1h"}), seconds),
        (
            "POST",
            SANCTIONS,
            json!({"measure": "mute", "clientId": "alice", "reason": "x".repeat(501)}),
            "field `reason` must be a text of at most 500 bytes or null",
        ),
        (
            "DELETE",
            "/api/moderation/sanctions?measure=kick&clientId=alice",
            Value::Null,
            "field `measure` must be mute or ban",
        ),
        (
            "DELETE",
            "/api/moderation/sanctions?measure=ban&clientId=alice&clientId=bob",
            Value::Null,
            "the query has the parameter `clientId` twice",
        ),
        (
            "POST",
            "/api/rooms/dev/settings",
            json!({"writers": "nobody"}),
            "field `writers` must be everyone or operators",
        ),
        ("POST", "/api/rooms/dev/invitations", json!({}), "field `clientId` is missing"),
        ("POST", "/api/rooms/dev/messages", json!({"clientId": "bob"}), "field `Message` is missing"),
        ("POST", MESSAGES, json!({"Message": 7}), "field `Message` must be a text"),
        // What means something in a frame, and would be lost here.
        (
            "POST",
            MESSAGES,
            json!({"Message": "psst", "to": "bob"}),
            "field `to` has no meaning here: this sends no private message",
        ),
        (
            "POST",
            MESSAGES,
            json!({"Message": "yes", "replyTo": 1}),
            "field `replyTo` has no meaning here: this sends no reply",
        ),
        ("POST", MESSAGES, json!({"Message": "a", "room": "ops"}), "field `room` must be the room of the path, dev"),
        ("POST", MESSAGES, json!({"Message": "a", "type": "edit", "of": 1}), "field `type` must be message or null"),
        (
            "GET",
            "/api/rooms/dev/messages?before=first",
            Value::Null,
            "`before` must be a whole number, 0 or more, not \"first\"",
        ),
        ("GET", "/api/rooms/dev/messages?limit=ten", Value::Null, "`limit` must be 1 to 200"),
        ("GET", "/api/rooms/dev/messages?limit=1&limit=2", Value::Null, "the query has the parameter `limit` twice"),
    ] {
        let answer = operate(&server, method, path, &body).await;
        answer.expect_refusal(400, "bad_request");
        assert_eq!(answer.json()["message"], says, "{method} {path} {body}");
    }
    for body in [
        r#"{"measure":"mute","clientId":"alice","measure":"ban"}"#,
        r#"{"Message":"a","Message":"b"}"#,
        r#"{"retention":{"messages":1,"messages":2}}"#,
    ] {
        for path in [SANCTIONS, MESSAGES, "/api/rooms/dev/settings"] {
            let answer = operate_raw(&server, "POST", path, body).await;
            answer.expect_refusal(400, "bad_request");
            assert!(answer.json()["message"].as_str().unwrap().ends_with("` twice"), "{path} {body}");
        }
    }
    // An operation refuses what it does not read, and carries nothing out.
    let mute = json!({"measure": "mute", "clientId": "alice"});
    let (in_body, must_not) = ("; the fields stand in the body", "this request must have no body");
    for (method, path, body, says) in [
        ("POST", "/api/moderation/sanctions?seconds=10", &mute, format!("there is no parameter `seconds`{in_body}")),
        (
            "POST",
            "/api/rooms/dev/settings?topic=a",
            &json!({"topic": "b"}),
            format!("there is no parameter `topic`{in_body}"),
        ),
        (
            "POST",
            "/api/rooms/dev/invitations?a",
            &json!({"clientId": "b"}),
            format!("there is no parameter `a`{in_body}"),
        ),
        (
            "POST",
            "/api/rooms/dev/messages?to=bob",
            &json!({"Message": "psst"}),
            format!("there is no parameter `to`{in_body}"),
        ),
        (
            "DELETE",
            "/api/moderation/sanctions?measure=mute&clientId=alice&Room=dev",
            &Value::Null,
            "there is no parameter `Room`; write `measure`, `clientId`, `address` or `room`".to_owned(),
        ),
        ("DELETE", "/api/moderation/sanctions?measure=mute&clientId=alice", &mute, must_not.to_owned()),
        ("DELETE", "/api/rooms/dev?seq=1", &Value::Null, "there is no parameter `seq`".to_owned()),
        ("DELETE", "/api/rooms/dev", &json!({"seq": 1}), must_not.to_owned()),
        ("DELETE", "/api/clients/alice", &json!({}), must_not.to_owned()),
        ("DELETE", "/api/inboxes/alice", &json!({}), must_not.to_owned()),
        ("DELETE", "/api/rooms/dev/invitations/bob", &json!({}), must_not.to_owned()),
        ("GET", "/api/moderation/sanctions?room=dev", &Value::Null, "there is no parameter `room`".to_owned()),
        ("GET", "/api/moderation/audit?limit=1", &Value::Null, "there is no parameter `limit`".to_owned()),
        ("GET", "/api/nodes", &json!({}), must_not.to_owned()),
    ] {
        let answer = operate(&server, method, path, body).await;
        answer.expect_refusal(400, "bad_request");
        assert_eq!(answer.json()["message"], says, "{method} {path} {body}");
    }
    let sanctions = operate(&server, "GET", "/api/moderation/sanctions?token=x", &Value::Null).await;
    assert_eq!(sanctions.json(), json!({"sanctions": []}));
    // A name is refused by its purpose, wherever it stands.
    let (client, room) = (json!({"clientId": "a/b"}), json!({"measure": "mute", "clientId": "a", "room": "a/b"}));
    for (method, path, body, code) in [
        ("POST", SANCTIONS, &json!({"measure": "mute", "clientId": "a/b"}), "bad_name"),
        ("POST", SANCTIONS, &room, "bad_room"),
        ("DELETE", "/api/moderation/sanctions?measure=mute&clientId=a/b", &Value::Null, "bad_name"),
        ("DELETE", "/api/moderation/sanctions?measure=mute&clientId=a&room=a/b", &Value::Null, "bad_room"),
        ("POST", "/api/rooms/dev/invitations", &client, "bad_name"),
        ("POST", "/api/rooms/a%20b/invitations", &json!({"clientId": "a"}), "bad_room"),
        ("DELETE", "/api/rooms/dev/invitations/a%20b", &Value::Null, "bad_name"),
        ("DELETE", "/api/rooms/a%20b/invitations/a", &Value::Null, "bad_room"),
        ("POST", MESSAGES, &json!({"Message": "a", "clientId": "a/b"}), "bad_name"),
        ("POST", MESSAGES, &json!({"Message": "a", "room": "a/b"}), "bad_room"),
        ("POST", "/api/rooms/a%20b/messages", &json!({"Message": "a"}), "bad_room"),
        ("DELETE", "/api/rooms/a%20b", &Value::Null, "bad_room"),
        ("DELETE", "/api/clients/a%20b", &Value::Null, "bad_name"),
        ("DELETE", "/api/inboxes/a%20b", &Value::Null, "bad_name"),
    ] {
        operate(&server, method, path, body).await.expect_refusal(400, code);
    }
    let (required, wrong) = ("the operators' token is required", "the token is not that of the operators");
    let disabled = "the operator API is disabled: CHAT_ADMIN_TOKEN is not set";
    let without = TestServer::start(&[]);
    let authenticated = TestServer::start(&JWT);
    for (server, credentials, status, code, says) in [
        (&server, "", 401, "unauthorized", required),
        (&server, "Authorization: Bearer \r\n", 401, "unauthorized", required),
        (&server, "Authorization: Bearer letmein\r\n", 401, "unauthorized", wrong),
        (&without, "", 403, "forbidden", disabled),
        (&without, "Authorization: Bearer letmein\r\n", 403, "forbidden", disabled),
        (&authenticated, "", 401, "unauthorized", "a token is required"),
        (
            &authenticated,
            "Authorization: Bearer letmein\r\n",
            401,
            "unauthorized",
            "the token is not valid: it is not a signed JWT",
        ),
    ] {
        for path in
            [SANCTIONS, "/api/moderation/audit", "/api/moderation/rooms", "/api/rooms/dev/settings", "/api/nodes"]
        {
            let answer =
                raw::http(server.address(), "GET", path, &format!("{credentials}Connection: close\r\n\r\n")).await;
            answer.expect_refusal(status, code);
            assert_eq!(answer.json()["message"], says, "{path}, {credentials:?}");
        }
    }
}

/// Runs `starling moderate` for a server. Returns its exit code and its output, with all times as `TIME`.
fn moderate(server: &TestServer, variables: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let (folder, bind) = (tempfile::tempdir().unwrap(), server.address().to_string());
    let variables = [variables, &[("CHAT_BIND", &bind)]].concat();
    let output = starling().run(folder.path(), &[&["moderate"], arguments].concat(), &variables);
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let is_time = |word: &str| word.len() == 20 && word.starts_with("20") && word.ends_with('Z');
    let words = |line: &str| {
        let word = |word: &str| {
            let bare = word.trim_end_matches([',', ':']);
            if is_time(bare) { word.replace(bare, "TIME") } else { word.to_owned() }
        };
        line.split(' ').map(word).collect::<Vec<_>>().join(" ")
    };
    (output.status.code(), said.lines().map(words).collect::<Vec<_>>().join("\n"))
}

#[actix::test]
async fn the_command_decides_on_the_running_server_and_lists_what_was_decided() {
    const ADMIN: [(&str, &str); 1] = [("CHAT_ADMIN_TOKEN", "letmein-letmein-letmein")];
    let server = TestServer::start(&ADMIN);
    let mut bob = Client::connect(&server, "/ws/dev?clientId=bob").await;
    for (arguments, code, said) in [
        (&["list"][..], 0, "starling: no mute or ban is in force"),
        (&["audit"], 0, "starling: no operator has decided anything"),
        (&["invitations", "dev"], 0, "starling: no client is invited to dev"),
        (
            &["mute", "bob", "--room", "dev", "--for", "10m", "--reason", "a\nb"],
            0,
            r#"mute bob in dev, since TIME by operator, until TIME: "a\nb""#,
        ),
        (&["ban", "--address", "2001:db8::1"], 0, "ban address 2001:db8::/64, since TIME by operator"),
        (&["slow", "dev"], 0, "dev: off"),
        (&["slow", "dev", "90s"], 0, "dev: 90s"),
        (&["slow", "dev"], 0, "dev: 90s"),
        (&["slow", "dev", "off"], 0, "dev: off"),
        (&["set", "dev", "topic", "the next", "release"], 0, "dev: topic \"the next release\""),
        (&["set", "dev", "retention", "1000", "30d"], 0, "dev: topic \"the next release\", retention 1000 30d"),
        (&["set", "dev", "topic", "off"], 0, "dev: retention 1000 30d"),
        (&["set", "dev", "retention", "server"], 0, "dev: no settings of its own"),
        (&["settings", "dev"], 0, "dev: no settings of its own"),
        (&["settings"], 0, "starling: no room has settings of its own"),
        (&["set", "ops", "access", "invited"], 0, "ops: access invited"),
        (&["set", "any", "slow", "2m"], 0, "any: slow 2m"),
        (&["settings"], 0, "any: slow 2m\nops: access invited"),
        (&["set", "ops", "access", "everyone"], 0, "ops: no settings of its own"),
        (&["slow", "any", "off"], 0, "any: off"),
        (&["settings"], 0, "starling: no room has settings of its own"),
        (&["invite", "dev", "carol"], 0, "invite carol to dev"),
        (&["invitations", "dev"], 0, "carol, since TIME by operator"),
        (&["uninvite", "dev", "carol"], 0, "uninvite carol from dev"),
        (&["uninvite", "dev", "carol"], 1, "starling: refused: there is no such invitation"),
        (&["unmute", "bob"], 1, "starling: refused: there is no such sanction; bob is muted in the room dev"),
        (&["unban", "--address", "2001:db8::9"], 0, "unban address 2001:db8::9"),
        (&["list"], 0, r#"mute bob in dev, since TIME by operator, until TIME: "a\nb""#),
        (
            &["audit"],
            0,
            "14 TIME operator: unban address 2001:db8::/64\n\
             13 TIME operator: uninvite carol in dev\n\
             12 TIME operator: invite carol in dev\n\
             11 TIME operator: set in any slow off\n\
             10 TIME operator: set in ops access everyone\n\
             9 TIME operator: set in any slow 2m\n\
             8 TIME operator: set in ops access invited\n\
             7 TIME operator: set in dev retention server\n\
             6 TIME operator: set in dev topic off\n\
             5 TIME operator: set in dev retention 1000 30d\n\
             4 TIME operator: set in dev topic \"the next release\"\n\
             3 TIME operator: set in dev slow off\n\
             2 TIME operator: set in dev slow 90s\n\
             1 TIME operator: ban address 2001:db8::/64\n\
             0 TIME operator: mute bob in dev for 10m: \"a\\nb\"",
        ),
    ] {
        assert_eq!(moderate(&server, &ADMIN, arguments), (Some(code), said.to_owned()), "{arguments:?}");
    }
    let kept = json!({"messages": 1_000, "seconds": 2_592_000});
    for told in [
        json!({"slowSeconds": 90}),
        json!({}),
        json!({"topic": "the next release"}),
        json!({"topic": "the next release", "retention": kept}),
        json!({"retention": kept}),
        json!({}),
    ] {
        bob.expect(&json!({"type": "settings", "room": "dev", "settings": told}).to_string()).await;
    }
    bob.send_json(&json!({"Message": "hello", "id": "m1"})).await;
    bob.expect(r#"{"type":"error","code":"muted","id":"m1","room":"dev"}"#).await;
    for (variables, said) in [
        (&[][..], "starling: this configuration has no operators: set CHAT_ADMIN_TOKEN, as for the server"),
        (
            &[("CHAT_ADMIN_TOKEN", "another-another-another")],
            "starling: refused: the token is not that of the operators",
        ),
    ] {
        assert_eq!(moderate(&server, variables, &["list"]), (Some(1), said.to_owned()));
    }
}

/// What a command tells of its wrong arguments: it ends with 2, asks no server, and says this.
fn told_of(arguments: &[&str], said: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = starling().run(folder.path(), arguments, &[]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}: {text}");
    assert!(text.contains(said), "{arguments:?}: {text}");
    // Each command has the flags of all settings, and `--for` is no typing error for one of them.
    assert!(!text.contains("tip:"), "{arguments:?}: {text}");
    text
}

#[test]
fn a_word_that_means_something_else_there_is_no_name_and_no_value() {
    for (arguments, said) in [
        (
            &["moderate", "mute", "everywhere"][..],
            "everywhere means the whole server, and is not a name here; write the name, and no --room",
        ),
        (&["moderate", "unban", "EVERYWHERE"], "EVERYWHERE means the whole server, and is not a name here"),
        (
            &["moderate", "mute", "bob", "--room", "everywhere"],
            "everywhere means the whole server, and is not a name here; write no --room",
        ),
        (&["moderate", "invite", "dev", "everywhere"], "everywhere means the whole server, and is not a name here"),
        (&["moderate", "invite", "everywhere", "bob"], "everywhere means the whole server, and is not a name here"),
        (&["moderate", "slow", "everywhere", "10s"], "everywhere means the whole server, and is not a name here"),
        (&["moderate", "set", "everywhere", "slow", "1s"], "everywhere means the whole server, and is not a name here"),
        (&["moderate", "mute", "10m"], "10m is a time, not a name; write --for 10m"),
        (&["moderate", "mute", "bob", "--for", "-5s"], "'-5s' for '--for <TIME>': \"-5s\" is not a time like 30s"),
        (&["moderate", "slow", "dev", "-5s"], "'-5s' for '[TIME]': \"-5s\" is not a time like 30s"),
        (&["moderate", "slow", "off"], "off is a time, not a name; write the room before it"),
        (&["moderate", "slow", "10s"], "10s is a time, not a name; write the room before it"),
        (&["moderate", "slow", "dev", "10s", "5s"], "unexpected argument '5s' found"),
        (
            &["moderate", "set", "dev", "retention", "-5"],
            "for the setting retention: write [MESSAGES] [TIME] or server",
        ),
        (&["token", "bob", "--seconds", "-5"], "'-5' for '--seconds <SECONDS>'"),
        (&["token", "bob", "--rooms", "dev,a/b"], "\"a/b\" matches no room: a name has only letters"),
        (&["token", "bob", "--rooms", "_?"], "\"_?\" matches no room: a name starts with a letter"),
        (&["token", "bob", "--rooms", "dev,"], "\"\" matches no room: a name has 1 to 64 characters"),
    ] {
        told_of(arguments, said);
    }
}

#[test]
fn a_wrong_argument_of_a_command_ends_with_2_and_says_what_was_given_and_what_is_allowed() {
    let long = "x".repeat(501);
    for (arguments, said) in [
        (&["moderate", "mute"][..], "<NAME|--address <ADDRESS>>"),
        (&["moderate", "unban", "--room", "dev"], "<NAME|--address <ADDRESS>>"),
        (&["moderate", "mute", "bob", "--address", "192.0.2.1"], "cannot be used with"),
        (
            &["moderate", "mute", "bob", "--for", "10"],
            "'10' for '--for <TIME>': \"10\" is not a time like 30s, 10m, 2h, 7d or 4w",
        ),
        (&["moderate", "mute", "bob", "--for", "0s"], "'0s' for '--for <TIME>': the time must be at least 1s"),
        (&["moderate", "mute", "bob", "--reason", &long], "the reason has 501 bytes, 500 are allowed"),
        (&["moderate", "mute", "bob", "--room", "a/b"], "invalid value 'a/b' for '--room <ROOM>'"),
        (&["moderate", "unmute", "bob", "--for", "10s"], "unexpected argument '--for' found"),
        (&["moderate", "ban", "a/b"], "invalid value 'a/b' for '[NAME]'"),
        (&["moderate", "mute", "192.0.2.1"], "192.0.2.1 is an address, not a name; write --address 192.0.2.1"),
        (&["moderate", "unban", "2001:db8::1"], "2001:db8::1 is an address, not a name; write --address 2001:db8::1"),
        (&["moderate", "invite", "dev", "192.0.2.1"], "192.0.2.1 is an address, not a name"),
        (&["moderate", "ban", "--address", "here"], "'--address <ADDRESS>': \"here\" is not an address of a client"),
        (&["moderate", "unban", "--address", "0.0.0.0"], "\"0.0.0.0\" is not an address of a client"),
        (
            &["moderate", "slow", "dev", "7h"],
            "invalid value '7h' for '[TIME]': the time must be at least 1s, and at most 6h",
        ),
        (&["moderate", "slow"], "<ROOM>"),
        (&["moderate", "settings", "a/b"], "invalid value 'a/b' for '[ROOM]'"),
        (
            &["moderate", "set", "dev", "color", "red"],
            "'<SETTING>': write slow, topic, writers, access, newcomers, retention or seen-by",
        ),
        (
            &["moderate", "set", "dev", "writers", "bob"],
            "invalid value 'bob' for the setting writers: write everyone or operators",
        ),
        (&["moderate", "set", "dev", "access", "private"], "for the setting access: write everyone or invited"),
        (&["moderate", "set", "dev", "seen-by", "yes"], "for the setting seen-by: write on, off or server"),
        (&["moderate", "set", "dev", "slow", "10"], "for the setting slow: \"10\" is not a time like 30s"),
        (&["moderate", "set", "dev", "slow", "-1s"], "for the setting slow: \"-1s\" is not a time like 30s"),
        (&["moderate", "set", "dev", "retention", "0"], "`retention.messages` must be 1 to 1000000000000"),
        (
            &["moderate", "set", "dev", "retention", "1", "2"],
            "'1 2' for the setting retention: write [MESSAGES] [TIME]",
        ),
        (&["moderate", "set", "dev", "topic", &long], "`topic` has 501 bytes, 250 are allowed"),
        (&["moderate", "set", "lobby", "access", "invited"], "access: the room lobby cannot be private"),
        (&["moderate", "set", "dev", "topic", ""], "for the setting topic: write TEXT or off"),
        (&["moderate", "invite", "dev", "a/b"], "invalid value 'a/b' for '<NAME>'"),
        (&["moderate", "uninvite", "dev"], "<NAME>"),
        (&["moderate", "invitations", "a/b"], "invalid value 'a/b' for '<ROOM>'"),
        (&["token", "a/b"], "invalid value 'a/b' for '<NAME>'"),
        (&["token", "guest-1"], "'guest-1' for '<NAME>': only the server assigns guest names"),
        (&["history", "drop", "--room", "a/b"], "invalid value 'a/b' for '--room <ROOM>'"),
        (&["history", "drop", "--inbox", "a/b"], "invalid value 'a/b' for '--inbox <NAME>'"),
        (&["history", "export", "--room", "a/b"], "invalid value 'a/b' for '--room <ROOM>'"),
    ] {
        let text = told_of(arguments, said);
        if let ["moderate", "set", ..] = arguments {
            let usage = "starling moderate set <ROOM> <SETTING> <VALUE>...";
            let is_of_one_word = text.contains("'<ROOM>'") || text.contains("'<SETTING>'");
            assert!(is_of_one_word || text.contains(usage), "{text}");
        }
    }
}

#[actix::test]
async fn an_operator_decides_in_the_console_and_the_client_reads_why() {
    let server = TestServer::start(&JWT);
    let open = async |arguments: &[&str]| {
        let token = issue(&starling(), arguments);
        Client::connect(&server, &format!("/ws/dev?format=text&token={token}")).await
    };
    let (mut bob, mut olga) = (open(&["bob"]).await, open(&["olga", "--admin"]).await);
    assert_eq!(bob.text().await, "* olga joined dev");
    bob.send_text("/mute olga").await;
    assert_eq!(bob.text().await, "! forbidden: only operators may do that");
    let cases = [
        (
            "/mute bob 10m too loud",
            "* bob in dev is muted for 10m",
            "hi",
            "! muted: you are muted in the room dev: too loud; it ends in 10m",
        ),
        ("/unmute bob", "* bob in dev is no longer muted", "/slow 1h", "! forbidden: only operators may do that"),
        ("/unmute bob", "! bad_request: there is no such sanction", "hi", "[dev] bob: hi"),
        (
            "/mute bob everywhere 1h",
            "* bob is muted for 1h",
            "hi",
            "! muted: you are muted on this server; it ends in 1h",
        ),
        (
            "/unmute bob",
            "! bad_request: there is no such sanction; bob is muted on the whole server; write /unmute bob everywhere",
            "/rooms",
            "* dev: 2 here",
        ),
        ("/UNMUTE bob Everywhere", "* bob is no longer muted", "hi", "[dev] bob: hi"),
        ("/topic tests", "* dev: topic \"tests\"", "/rooms", "* dev: topic \"tests\"\n* dev: 2 here; tests"),
        ("/slow 2m", "* dev: slow 2m", "one", "* dev: slow 2m\n[dev] bob: one"),
        // It changes nothing, so only who has typed it is told. The wait begins anew.
        ("/slow 2m", "* dev: slow 2m", "two", "[dev] bob: two"),
        (
            "/settings",
            "* dev: slow 2m, topic \"tests\", writers everyone, access everyone, newcomers on, retention server, \
             seen-by server",
            "/settings dev",
            "! bad_request: write /settings",
        ),
        ("/who", "* 2 in dev: bob, olga", "three", "! slow_mode: a client may write here once in 2m; again in 2m"),
        ("/slow off", "* dev: slow off", "four", "* dev: slow off\n[dev] bob: four"),
        ("/topic OFF", "* dev: topic off", "/rooms", "* dev: topic off\n* dev: 2 here"),
        ("/mute bob 10", "! bad_request: \"10\" is not a time like 30s, 10m, 2h, 7d or 4w", "/rooms", "* dev: 2 here"),
    ];
    for (line, answer, written, read) in cases {
        olga.send_text(line).await;
        for answer in answer.lines() {
            assert_eq!(olga.text().await, answer, "{line}");
        }
        bob.send_text(written).await;
        for read in read.lines() {
            assert_eq!(bob.text().await, read, "{line}, then {written}");
            if read.starts_with("[dev]") {
                assert_eq!(olga.text().await, read);
            }
        }
    }
    // The decisions are stored: they stop olga when it comes back without the rights of an operator.
    let exempt = "it does not stop an operator, and this client is one now";
    olga.send_text("/mute olga").await;
    assert_eq!(olga.text().await, format!("* olga in dev is muted; {exempt}"));
    let (code, said) = moderate(&server, &JWT, &["ban", "olga"]);
    assert_eq!((code, said), (Some(0), format!("ban olga, since TIME by operator; {exempt}")));
    let (code, listed) = moderate(&server, &JWT, &["list"]);
    assert_eq!((code, listed.contains("exempt") || listed.contains(exempt)), (Some(0), false), "{listed}");
    raw::handshake(&server, &format!("/ws?token={}", issue(&starling(), &["olga"])))
        .await
        .expect_refusal(403, "banned");
    olga.send_text("/ban bob everywhere spam").await;
    assert_eq!(bob.text().await, "! banned: you are banned on this server: spam");
    bob.expect_close(4005).await;
    assert_eq!(olga.text().await, "* bob is banned");
    // A configuration that can sign tokens has operators, too.
    let (code, audit) = moderate(&server, &JWT, &["audit"]);
    assert_eq!((code, audit.lines().next()), (Some(0), Some("11 TIME olga: ban bob: \"spam\"")));
}

#[actix::test]
async fn bots_that_are_banned_do_not_come_back_and_are_not_told_as_kept() {
    let server = TestServer::start(&[("CHAT_ADMIN_TOKEN", "letmein-letmein-letmein")]);
    let folder = tempfile::tempdir().unwrap();
    let url = format!("ws://{}/ws", server.address());
    let arguments = ["--server-url", &url, "--count", "3", "--seconds", "6", "--drain-seconds", "1"];
    let child =
        bot_swarm().command(folder.path(), &arguments, &[]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let figure = async |name: &str, labels: &[(&str, &str)]| Exposition::scrape(&server).await.value(name, labels);
    within("three bots are in", async {
        while figure("chat_connections", &[]).await < 2.5 {
            actix_rt::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let ban = json!({"measure": "ban", "address": "127.0.0.1"});
    assert_eq!(operate(&server, "POST", SANCTIONS, &ban).await.status, 200);
    let ended = actix_rt::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let told = String::from_utf8(ended.stdout).unwrap();
    assert!(told.starts_with("BROKEN: ") && told.contains("3 bots away at the end"), "{told}");
    assert!(figure("chat_disconnects_total", &[("reason", "banned")]).await > 2.5);
    assert!(figure("chat_refused_handshakes_total", &[("code", "banned")]).await < 0.5, "nobody has tried again");
}
