//! Guarantees of the settings of rooms, through real sockets: they hold at once, and after a restart if the history is
//! stored.

use serde_json::{Value, json};
use test_kit::Client;
use test_kit::raw;
use test_kit::token::{JWT, issue};

use crate::harness::{TestServer, starling};
use crate::moderation::operate;

const SETTINGS: &str = "/api/rooms/dev/settings";
const INVITATIONS: &str = "/api/rooms/dev/invitations";

/// The status of a GET with a token, and the body.
async fn get(server: &TestServer, path: &str, token: &str) -> (u16, Value) {
    let head = format!("Authorization: Bearer {token}\r\nConnection: close\r\n\r\n");
    let answer = raw::http(server.address(), "GET", path, &head).await;
    (answer.status, answer.json())
}

#[actix::test]
async fn settings_and_invitations_hold_at_once_and_after_a_restart_if_the_history_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("starling.db");
    let token = |arguments: &[&str]| issue(&starling(), arguments);
    let (bob, eve) = (token(&["bob"]), token(&["eve", "--rooms", "*"]));
    let (dan, root) = (token(&["dan", "--rooms", "dev,lobby"]), token(&["root", "--admin"]));
    let topic = json!({"topic": "the next release", "writers": "operators", "access": "invited"});
    for history in ["memory", "sqlite"] {
        let variables = [
            ("CHAT_ADMIN_TOKEN", "letmein-letmein-letmein"),
            ("CHAT_HISTORY", history),
            ("CHAT_HISTORY_PATH", path.to_str().unwrap()),
            JWT[0],
            JWT[1],
        ];
        let server = TestServer::start(&variables);
        let open =
            async |server: &TestServer, token: &str| Client::open(server, &format!("/ws/dev?token={token}")).await;
        let (mut in_bob, mut in_eve) = (open(&server, &bob).await, open(&server, &eve).await);
        for client in [&mut in_bob, &mut in_eve] {
            client.expect(r#"{"type":"welcome","room":"dev"}"#).await;
        }
        let invited = operate(&server, "POST", INVITATIONS, &json!({"clientId": "bob"})).await.json();
        assert_eq!((&invited["clientId"], &invited["by"]), (&json!("bob"), &json!("operator")));
        assert_eq!(operate(&server, "POST", SETTINGS, &topic).await.status, 200);
        let told = json!({"type": "settings", "room": "dev", "settings": topic}).to_string();
        in_bob.expect(&told).await;
        in_eve.expect(r#"{"type":"error","code":"not_invited","room":"dev"}"#).await;
        in_eve.expect(r#"{"type":"left","room":"dev"}"#).await;
        in_bob.send_json(&json!({"Message": "hello", "id": "m1"})).await;
        in_bob.expect(r#"{"type":"error","code":"not_a_writer","id":"m1","room":"dev"}"#).await;
        let mut in_root = open(&server, &root).await;
        in_root.expect(r#"{"type":"welcome","room":"dev"}"#).await;
        in_root.expect(&told).await;
        in_root.send_json(&json!({"Message": "hello", "id": "m1"})).await;
        in_bob.expect(r#"{"type":"message","clientId":"root","room":"dev"}"#).await;
        drop((in_bob, in_eve, in_root, server));

        let server = TestServer::start(&variables);
        let handshake = raw::handshake(&server, &format!("/ws/dev?token={eve}")).await;
        if history == "memory" {
            assert_eq!(handshake.status, 101);
            let uninvite = operate(&server, "DELETE", &format!("{INVITATIONS}/bob"), &Value::Null).await;
            uninvite.expect_refusal(404, "no_such_invitation");
            continue;
        }
        handshake.expect_refusal(403, "not_invited");
        raw::get(&server, &format!("/ws/dev?token={eve}")).await.expect_refusal(403, "not_invited");
        // A page may still show a token that invites its client.
        raw::get(&server, "/ws/dev").await.expect_refusal(426, "upgrade_required");
        // A token that names the room invites its client.
        for (token, sees) in [(&bob, true), (&dan, true), (&root, true), (&eve, false)] {
            let (status, page) = get(&server, "/api/rooms/dev/messages", token).await;
            let messages = page["messages"].as_array().map(Vec::len);
            assert_eq!((status, messages), if sees { (200, Some(1)) } else { (403, None) }, "{page}");
            let (status, _) = get(&server, "/api/rooms/dev/messages?q=hello", token).await;
            assert_eq!(status, if sees { 200 } else { 403 });
            let rooms = get(&server, "/api/rooms", token).await.1;
            let listed = rooms["rooms"].as_array().unwrap().iter().find(|room| room["room"] == "dev");
            let topic = listed.map(|room| &room["topic"]);
            assert_eq!(topic, sees.then_some(&json!("the next release")), "{rooms}");
        }
        let mut in_bob = open(&server, &bob).await;
        in_bob.expect(r#"{"type":"welcome","room":"dev"}"#).await;
        in_bob.expect(&told).await;
        in_bob.send_json(&json!({"type": "join", "room": "dev"})).await;
        let joined = json!({"type": "joined", "room": "dev", "seq": 1, "settings": topic});
        in_bob.expect(&joined.to_string()).await;
        let listed = operate(&server, "GET", INVITATIONS, &Value::Null).await.json();
        assert_eq!(listed["invitations"][0]["clientId"], "bob");
        assert_eq!(operate(&server, "DELETE", &format!("{INVITATIONS}/bob"), &Value::Null).await.status, 204);
        in_bob.expect(r#"{"type":"error","code":"not_invited","room":"dev"}"#).await;
        in_bob.expect(r#"{"type":"left","room":"dev"}"#).await;
        // Without a name that is authenticated, nobody but operators reads it.
        let page = operate(&server, "GET", "/api/rooms/dev/messages", &Value::Null).await;
        assert_eq!(page.status, 200);
    }
}

#[actix::test]
async fn wrong_settings_and_invitations_are_refused_and_only_operators_decide() {
    let server = TestServer::start(&[("CHAT_ADMIN_TOKEN", "letmein-letmein-letmein")]);
    for (path, body) in [
        (SETTINGS, json!({})),
        (SETTINGS, json!({"slowSeconds": 21_601})),
        (SETTINGS, json!({"topic": "a\nb"})),
        (SETTINGS, json!({"topic": "x".repeat(251)})),
        (SETTINGS, json!({"writers": "nobody"})),
        (SETTINGS, json!({"retention": {"messages": 0}})),
        (SETTINGS, json!({"retention": [null, null]})),
        (SETTINGS, json!({"writers": {"operators": null}})),
        // It could be taken for the default.
        (SETTINGS, json!({"topic": "a", "slowSeconds": null})),
        // A field without a meaning is refused, wherever it stands.
        (SETTINGS, json!({"retention": {"message": 5}})),
        (SETTINGS, json!({"topic": "a", "slow": 10})),
        ("/api/moderation/sanctions", json!({"measure": "mute", "clientId": "bob", "second": 5})),
        ("/api/rooms/lobby/settings", json!({"access": "invited"})),
        (INVITATIONS, json!({})),
        (INVITATIONS, json!({"clientId": "bob", "room": "dev"})),
    ] {
        operate(&server, "POST", path, &body).await.expect_refusal(400, "bad_request");
    }
    let mistyped = "/api/moderation/sanctions?measure=mute&clientId=bob&Room=dev";
    operate(&server, "DELETE", mistyped, &Value::Null).await.expect_refusal(400, "bad_request");
    operate(&server, "DELETE", &format!("{INVITATIONS}/bob"), &Value::Null)
        .await
        .expect_refusal(404, "no_such_invitation");
    for path in [SETTINGS, INVITATIONS] {
        raw::get(&server, path).await.expect_refusal(401, "unauthorized");
    }
}
