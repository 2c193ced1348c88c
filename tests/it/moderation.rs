//! Guarantees of moderation, through real sockets: a decision over HTTP holds at once, and after a restart.

use serde_json::{Value, json};
use test_kit::Client;
use test_kit::raw::{self, HttpAnswer};

use crate::harness::TestServer;

const SANCTIONS: &str = "/api/moderation/sanctions";

async fn operate(server: &TestServer, method: &str, path: &str, body: &Value) -> HttpAnswer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
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
        let slow = operate(&server, "POST", "/api/rooms/dev/settings", &json!({"slowSeconds": 60})).await;
        assert_eq!(slow.json(), json!({"slowSeconds": 60}));
        drop((alice, mallory, server));

        let server = TestServer::start(&variables);
        let is_kept = history == "sqlite";
        let sanctions = operate(&server, "GET", SANCTIONS, &Value::Null).await.json();
        assert_eq!(sanctions["sanctions"].as_array().unwrap().len(), if is_kept { 2 } else { 0 }, "{history}");
        let audit = operate(&server, "GET", "/api/moderation/audit", &Value::Null).await.json();
        let actions: Vec<_> =
            audit["entries"].as_array().unwrap().iter().map(|entry| entry["action"].clone()).collect();
        let expected = if is_kept { vec![json!("slow"), json!("ban"), json!("mute")] } else { Vec::new() };
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
async fn a_wrong_decision_is_refused_and_only_operators_decide() {
    let server = TestServer::start(&[("CHAT_ADMIN_TOKEN", "letmein-letmein-letmein")]);
    for wrong in [
        json!({"measure": "mute"}),
        json!({"measure": "kick", "clientId": "alice"}),
        json!({"measure": "mute", "clientId": "alice", "address": "192.0.2.1"}),
        json!({"measure": "mute", "address": "somewhere"}),
        json!({"measure": "mute", "clientId": "alice", "seconds": 0}),
        json!({"measure": "mute", "clientId": "alice", "reason": "x".repeat(501)}),
    ] {
        operate(&server, "POST", SANCTIONS, &wrong).await.expect_refusal(400, "bad_request");
    }
    let slow = json!({"slowSeconds": 21_601});
    operate(&server, "POST", "/api/rooms/dev/settings", &slow).await.expect_refusal(400, "bad_request");
    for path in [SANCTIONS, "/api/moderation/audit", "/api/rooms/dev/settings"] {
        raw::get(&server, path).await.expect_refusal(401, "unauthorized");
    }
}
