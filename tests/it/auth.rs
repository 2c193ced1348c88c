//! Access control on a server that authenticates names.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use test_kit::Client;
use test_kit::raw::{self, HttpAnswer};
use test_kit::token::{self, JWT, SECRET};

use crate::harness::{TestServer, starling};

fn token(arguments: &[&str]) -> String {
    token::issue(&starling(), arguments)
}

fn of(name: &str) -> String {
    format!("/ws?token={}", token(&[name]))
}

async fn http(server: &TestServer, method: &str, path: &str, token: Option<&str>, body: &str) -> HttpAnswer {
    let token = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let head = format!("{token}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    // The request ends with an additional empty line, which a server that closes does not read.
    raw::http(server.address(), method, path, &head).await
}

#[actix::test]
async fn a_token_is_shown_in_the_query_in_the_header_or_in_hello() {
    let server = TestServer::start(&JWT);
    let token = token(&["alice"]);
    let mut alice = Client::open(&server, &format!("/ws?token={token}")).await;
    alice.expect(r#"{"type":"welcome","clientId":"alice","inbox":{"seq":0}}"#).await;
    let mut raw = raw::Raw::open(server.address()).await;
    let answer = raw.ask_for_websocket("/ws", &format!("Authorization: Bearer {token}\r\n")).await;
    assert_eq!(answer.status, 101);
    assert!(raw.frame().await.unwrap().text().contains(r#""clientId":"alice""#), "a second connection of alice");
    let mut late = Client::open_as_page(&server, "/ws/dev").await;
    late.expect(r#"{"type":"error","code":"unauthorized"}"#).await;
    late.send_json(&json!({"Message": "let me in", "id": "m1"})).await;
    late.expect(r#"{"type":"error","code":"unauthorized","id":"m1"}"#).await;
    late.send_json(&json!({"type": "hello", "token": "x.y.z", "id": "h1"})).await;
    late.expect(r#"{"type":"error","code":"unauthorized","id":"h1"}"#).await;
    late.send_json(&json!({"type": "hello", "token": token, "id": "h2"})).await;
    late.expect(r#"{"type":"welcome","clientId":"alice","room":"dev","id":"h2"}"#).await;
    late.expect_chat_works().await;
}

#[actix::test]
async fn a_bad_token_is_refused_before_the_upgrade() {
    let server = TestServer::start(&JWT);
    // RFC 7515, 4.1.11: an extension in `crit` is none that this server knows.
    let crit = Some(vec!["exp".to_owned()]);
    let header = Header { crit, ..Header::new(Algorithm::HS256) };
    let extended = signed(&header, &EncodingKey::from_secret(SECRET.as_bytes()));
    for bad in ["x.y.z", &extended] {
        raw::handshake(&server, &format!("/ws?token={bad}")).await.expect_refusal(401, "unauthorized");
        http(&server, "GET", "/api/rooms", Some(bad), "").await.expect_refusal(401, "unauthorized");
        let mut late = Client::open_as_page(&server, "/ws").await;
        late.expect(r#"{"type":"error","code":"unauthorized"}"#).await;
        late.send_json(&json!({"type": "hello", "token": bad, "id": "h1"})).await;
        late.expect(r#"{"type":"error","code":"unauthorized","id":"h1"}"#).await;
    }
    let own = token(&["alice", "--rooms", "dev-*,ops"]);
    raw::handshake(&server, &format!("/ws?token={own}")).await.expect_refusal(403, "forbidden");
    raw::handshake(&server, &format!("/ws/ops?token={own}&clientId=bob")).await.expect_refusal(403, "forbidden");
    let mut alice = Client::connect(&server, &format!("/ws/ops?token={own}&clientId=alice")).await;
    alice.send_json(&json!({"type": "join", "room": "lobby", "id": "j1"})).await;
    alice.expect(r#"{"type":"error","code":"forbidden","id":"j1"}"#).await;
    alice.send_json(&json!({"type": "join", "room": "dev-1"})).await;
    alice.expect(r#"{"type":"joined","room":"dev-1"}"#).await;
}

#[actix::test]
async fn a_connection_ends_with_its_token() {
    let server = TestServer::start(&JWT);
    let mut alice = Client::connect(&server, &format!("/ws?token={}", token(&["alice", "--seconds", "3"]))).await;
    alice.expect_chat_works().await;
    alice.expect(r#"{"type":"error","code":"unauthorized"}"#).await;
    alice.expect_close(1008).await;
}

#[actix::test]
async fn tokens_are_verified_with_a_public_key_of_rsa_or_ed25519() {
    let folder = tempfile::tempdir().unwrap();
    let pem = |name: &str, der: &[u8]| {
        let path = folder.path().join(name);
        let text = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let rsa = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
    let ed = Ed25519KeyPair::generate().unwrap();
    let public: [PublicKeyX509Der<'_>; 2] = [rsa.public_key().as_der().unwrap(), ed.public_key().as_der().unwrap()];
    let rsa_private = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&rsa).unwrap();
    let ed_private = ed.to_pkcs8v1().unwrap();
    let keys = [
        (Algorithm::RS256, EncodingKey::from_rsa_pem(pkcs8(rsa_private.as_ref()).as_bytes()).unwrap()),
        (Algorithm::EdDSA, EncodingKey::from_ed_pem(pkcs8(ed_private.as_ref()).as_bytes()).unwrap()),
    ];
    let tokens: Vec<String> = keys.iter().map(|(algorithm, key)| signed(&Header::new(*algorithm), key)).collect();
    for (own, other, key) in [(0, 1, pem("rsa.pem", public[0].as_ref())), (1, 0, pem("ed.pem", public[1].as_ref()))] {
        let server = TestServer::start(&[("CHAT_AUTH", "jwt"), ("CHAT_JWT_PUBLIC_KEY_FILE", &key)]);
        let mut alice = Client::open(&server, &format!("/ws?token={}", tokens[own])).await;
        alice.expect(r#"{"type":"welcome","clientId":"alice"}"#).await;
        raw::handshake(&server, &format!("/ws?token={}", tokens[other])).await.expect_refusal(401, "unauthorized");
        // A public key is not secret: a token that uses it as an HMAC secret proves nothing.
        let text = std::fs::read(&key).unwrap();
        let forged = signed(&Header::new(Algorithm::HS256), &EncodingKey::from_secret(&text));
        raw::handshake(&server, &format!("/ws?token={forged}")).await.expect_refusal(401, "unauthorized");
    }
}

fn pkcs8(der: &[u8]) -> String {
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der))
}

fn signed(header: &Header, key: &EncodingKey) -> String {
    let claims = json!({"sub": "alice", "exp": jsonwebtoken::get_current_timestamp() + 3_600});
    jsonwebtoken::encode(header, &claims, key).unwrap()
}

#[actix::test]
async fn reading_over_http_takes_a_token_that_allows_the_room() {
    let server = TestServer::start(&JWT);
    let mut olga = Client::connect(&server, &format!("/ws/ops?token={}", token(&["olga"]))).await;
    olga.expect_chat_works().await;
    for path in ["/api/rooms", "/api/rooms/ops/messages", "/api/stats"] {
        let answer = raw::get(&server, path).await;
        answer.expect_refusal(401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        http(&server, "GET", path, Some("x.y.z"), "").await.expect_refusal(401, "unauthorized");
    }
    let own = token(&["alice", "--rooms", "dev"]);
    for path in ["/api/rooms/ops/messages", "/api/rooms/ops/messages?q=here", "/api/rooms/nowhere/messages"] {
        http(&server, "GET", path, Some(&own), "").await.expect_refusal(403, "forbidden");
    }
    assert_eq!(http(&server, "GET", "/api/rooms", Some(&own), "").await.json()["rooms"], json!([]));
    let all = token(&["alice"]);
    let page = http(&server, "GET", "/api/rooms/ops/messages", Some(&all), "").await.json();
    assert_eq!(page["messages"].as_array().unwrap().len(), 1);
    assert_eq!(raw::get(&server, &format!("/api/stats?token={all}")).await.status, 200);
    // Routes without messages stay open: the page, and the routes for a supervisor.
    for path in ["/", "/healthz", "/readyz", "/metrics"] {
        assert_eq!(raw::get(&server, path).await.status, 200, "{path}");
    }
}

#[actix::test]
async fn an_operator_says_something_in_a_room_and_removes_a_client() {
    let server = TestServer::start(&[JWT[0], JWT[1], ("CHAT_ADMIN_TOKEN", "letmein-letmein-letmein")]);
    let (alice, admin) = (token(&["alice"]), token(&["olga", "--admin"]));
    let mut first = Client::connect(&server, &of("alice")).await;
    let mut second = Client::connect(&server, &of("alice")).await;
    let (messages, client) = ("/api/rooms/lobby/messages", "/api/clients/alice");
    for (method, path) in [("POST", messages), ("DELETE", client), ("GET", "/api/nodes")] {
        http(&server, method, path, None, "{}").await.expect_refusal(401, "unauthorized");
        http(&server, method, path, Some("letmein-letmein-letmeout"), "{}").await.expect_refusal(401, "unauthorized");
        http(&server, method, path, Some(&alice), "{}").await.expect_refusal(403, "forbidden");
    }
    let said = r#"{"Message":"the server restarts at noon","id":"n1"}"#;
    let posted = http(&server, "POST", messages, Some(&admin), said).await.json();
    assert_eq!((&posted["room"], &posted["seq"]), (&json!("lobby"), &json!(1)));
    let heard =
        r#"{"type":"message","clientId":"olga","Message":"the server restarts at noon","room":"lobby","seq":1}"#;
    first.expect(heard).await;
    second.expect(heard).await;
    let again = http(&server, "POST", messages, Some(&admin), said).await.json();
    assert_eq!((&again["seq"], &again["duplicate"]), (&json!(1), &json!(true)));
    let by_token = http(&server, "POST", messages, Some("letmein-letmein-letmein"), r#"{"Message":"x"}"#).await;
    assert_eq!(by_token.json()["seq"], json!(2));
    first.expect(r#"{"type":"message","clientId":"operator","seq":2}"#).await;
    second.expect(r#"{"type":"message","clientId":"operator","seq":2}"#).await;
    let post = async |path: &str, body: &str| http(&server, "POST", path, Some(&admin), body).await;
    post("/api/rooms/nowhere/messages", r#"{"Message":"x"}"#).await.expect_refusal(404, "no_such_room");
    post(messages, r#"{"Message":""}"#).await.expect_refusal(400, "message_empty");
    post(messages, "no JSON").await.expect_refusal(400, "bad_request");
    post(messages, r#"{"Message":"x","clientId":"guest-1"}"#).await.expect_refusal(400, "bad_name");
    let long = json!({"Message": "x".repeat(16_385)}).to_string();
    post(messages, &long).await.expect_refusal(413, "message_too_large");
    let nodes = http(&server, "GET", "/api/nodes", Some(&admin), "").await;
    assert_eq!((nodes.status, nodes.json()), (200, json!({"nodes": []})), "a server without others is no node");
    assert_eq!(http(&server, "DELETE", client, Some(&admin), "").await.status, 204);
    first.expect_close(4004).await;
    second.expect_close(4004).await;
    http(&server, "DELETE", client, Some(&admin), "").await.expect_refusal(404, "no_such_client");
}

#[actix::test]
async fn an_operator_whose_token_is_limited_to_rooms_reaches_no_other() {
    let server = TestServer::start(&[JWT[0], JWT[1], ("CHAT_ADMIN_TOKEN", "letmein-letmein-letmein")]);
    let [own, all] = ["dev-*", "*"].map(|rooms| token(&["olga", "--admin", "--rooms", rooms]));
    let sanctions = "/api/moderation/sanctions";
    let mute = |room: Value| json!({"measure": "mute", "clientId": "bob", "room": room}).to_string();
    let (in_dev, in_ops, everywhere) = (mute(json!("dev-1")), mute(json!("ops")), mute(Value::Null));
    // In this order: a room must be there before somebody posts in it.
    let mut bob = Client::connect(&server, &format!("/ws/dev-1?token={}", token(&["bob"]))).await;
    bob.expect_chat_works().await;
    let requests = [
        ("POST", sanctions, in_dev.as_str(), 200),
        ("POST", sanctions, &in_ops, 403),
        ("POST", sanctions, &everywhere, 403),
        ("GET", "/api/rooms/dev-1/settings", "", 200),
        ("GET", "/api/rooms/ops/settings", "", 403),
        ("POST", "/api/rooms/dev-1/settings", r#"{"topic":"a"}"#, 200),
        ("POST", "/api/rooms/ops/settings", r#"{"topic":"a"}"#, 403),
        ("GET", "/api/rooms/dev-1/invitations", "", 200),
        ("GET", "/api/rooms/ops/invitations", "", 403),
        ("POST", "/api/rooms/dev-1/invitations", r#"{"clientId":"bob"}"#, 200),
        ("POST", "/api/rooms/ops/invitations", r#"{"clientId":"bob"}"#, 403),
        ("DELETE", "/api/rooms/dev-1/invitations/bob", "", 204),
        ("DELETE", "/api/rooms/ops/invitations/bob", "", 403),
        ("POST", "/api/rooms/dev-1/messages", r#"{"Message":"a"}"#, 200),
        ("POST", "/api/rooms/ops/messages", r#"{"Message":"a"}"#, 403),
        ("GET", "/api/rooms/ops/messages", "", 403),
        ("DELETE", "/api/rooms/ops", "", 403),
        ("GET", "/api/nodes", "", 403),
        ("DELETE", "/api/clients/nobody", "", 403),
        ("DELETE", "/api/inboxes/nobody", "", 403),
        ("DELETE", "/api/moderation/sanctions?measure=mute&clientId=bob&room=ops", "", 403),
        ("DELETE", "/api/moderation/sanctions?measure=mute&clientId=bob", "", 403),
    ];
    for (method, path, body, status) in requests {
        let answer = http(&server, method, path, Some(&own), body).await;
        assert_eq!(answer.status, status, "{method} {path} {body}: {answer:?}");
        if status == 403 {
            answer.expect_refusal(403, "forbidden");
        }
    }
    // A pattern that every room fits is no limit.
    for body in [&in_ops, &everywhere] {
        assert_eq!(http(&server, "POST", sanctions, Some(&all), body).await.status, 200);
    }
    let topic = r#"{"topic":"a"}"#;
    assert_eq!(http(&server, "POST", "/api/rooms/ops/settings", Some(&all), topic).await.status, 200);
    // Lists have what the token allows.
    for (path, list, of_own, of_all) in [
        (sanctions, "sanctions", 1, 3),
        ("/api/moderation/audit", "entries", 4, 7),
        ("/api/moderation/rooms", "rooms", 1, 2),
    ] {
        for (token, count) in [(&own, of_own), (&all, of_all)] {
            let listed = http(&server, "GET", path, Some(token), "").await.json()[list].take();
            assert_eq!(listed.as_array().map(Vec::len), Some(count), "{path}: {listed}");
        }
    }
    // What is not there is told without the places that the token does not allow.
    let elsewhere = "; bob is muted on the whole server";
    for (token, other_place) in [(&own, ""), (&all, elsewhere)] {
        let path = format!("{sanctions}?measure=mute&clientId=bob&room=dev-9");
        let refused = http(&server, "DELETE", &path, Some(token), "").await;
        assert_eq!(refused.status, 404);
        assert_eq!(refused.json()["message"], format!("there is no such sanction{other_place}"));
    }
    assert_eq!(http(&server, "DELETE", "/api/rooms/dev-1", Some(&own), "").await.status, 204);
    for (token, other_place) in [(&own, ""), (&all, elsewhere)] {
        let mut olga = Client::connect(&server, &format!("/ws/dev-9?format=text&token={token}")).await;
        olga.send_text("/unmute bob").await;
        let advice = if other_place.is_empty() { "" } else { "; write /unmute bob everywhere" };
        assert_eq!(olga.text().await, format!("! bad_request: there is no such sanction{other_place}{advice}"));
    }
    for (token, answer) in [(&own, "! forbidden: the token is limited to its rooms"), (&all, "* bob is muted")] {
        let mut olga = Client::connect(&server, &format!("/ws/dev-2?format=text&token={token}")).await;
        olga.send_text("/mute bob everywhere").await;
        assert_eq!(olga.text().await, answer);
        olga.send_text("/mute bob").await;
        assert_eq!(olga.text().await, "* bob in dev-2 is muted");
    }
    let mut olga = Client::connect(&server, &format!("/ws/dev-2?format=text&token={all}")).await;
    for (line, answer) in [
        ("/mute carol", "* carol in dev-2 is muted"),
        (
            "/unmute carol everywhere",
            "! bad_request: there is no such sanction; carol is muted in the room dev-2; write /unmute carol",
        ),
    ] {
        olga.send_text(line).await;
        assert_eq!(olga.text().await, answer);
    }
}

#[actix::test]
async fn a_key_that_no_server_has_issued_is_none_and_takes_no_name_back() {
    let server = TestServer::start(&[]);
    let keys = ["", "0", "5kQ", &"x".repeat(32)];
    for (name, key) in ["alice", "bob", "carol", "dave"].into_iter().zip(keys) {
        let path = format!("/ws?clientId={name}&key={key}");
        let (_holder, welcome) = Client::enter(&server, &path).await;
        assert_eq!(welcome["clientId"], name);
        raw::handshake(&server, &path).await.expect_refusal(409, "name_taken");
        let mut guest = Client::connect(&server, "/ws").await;
        guest.send_json(&json!({"type": "hello", "clientId": name, "key": key, "id": "h"})).await;
        guest.expect(r#"{"type":"error","code":"name_taken","id":"h"}"#).await;
    }
}

#[actix::test]
async fn without_authentication_only_the_token_of_the_operators_makes_one() {
    let nobody = TestServer::start(&[]);
    http(&nobody, "DELETE", "/api/clients/alice", None, "").await.expect_refusal(403, "forbidden");
    http(&nobody, "POST", "/api/rooms/lobby/messages", Some("x"), "{}").await.expect_refusal(403, "forbidden");
    let server = TestServer::start(&[("CHAT_ADMIN_TOKEN", "letmein-letmein-letmein")]);
    let mut alice = Client::connect(&server, "/ws?clientId=alice&token=ignored").await;
    http(&server, "DELETE", "/api/clients/alice", Some("x"), "").await.expect_refusal(401, "unauthorized");
    let removed = http(&server, "DELETE", "/api/clients/alice", Some("letmein-letmein-letmein"), "").await;
    assert_eq!(removed.status, 204);
    alice.expect_close(4004).await;
    assert_eq!(raw::get(&server, "/api/rooms").await.status, 200, "reading is free");
}

#[actix::test]
async fn private_messages_wait_for_who_is_away_and_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("starling.db");
    let variables = [JWT[0], JWT[1], ("CHAT_HISTORY", "sqlite"), ("CHAT_HISTORY_PATH", path.to_str().unwrap())];
    let whisper = json!({"Message": "psst", "to": "bob", "id": "m1"});
    let server = TestServer::start(&variables);
    let mut alice = Client::connect(&server, &of("alice")).await;
    alice.send_json(&whisper).await;
    // The sender's and the receiver's copies are stored one after the other, and each is reported when it is stored.
    let told = [alice.text().await, alice.text().await];
    let has = |wanted: &str| told.iter().any(|frame| frame.contains(wanted));
    assert!(has(r#""Message":"psst","seq":1,"to":"bob""#) && has(r#""type":"ack","id":"m1""#), "{told:?}");
    drop((alice, server));

    let server = TestServer::start(&variables);
    let mut alice = Client::open(&server, &of("alice")).await;
    let welcome = alice.expect(r#"{"type":"welcome","inbox":{"seq":1}}"#).await;
    alice.send_json(&whisper).await;
    alice.expect(r#"{"type":"ack","id":"m1","to":"bob","duplicate":true}"#).await;
    let mut bob = Client::open(&server, &of("bob")).await;
    bob.expect(r#"{"type":"welcome","inbox":{"seq":1}}"#).await;
    bob.expect(r#"{"type":"message","clientId":"alice","Message":"psst","to":"bob","seq":1,"id":"m1"}"#).await;
    bob.send_json(&json!({"Message": "what?", "to": "alice"})).await;
    bob.expect(r#"{"type":"message","to":"alice","seq":2}"#).await;
    alice.expect(r#"{"type":"message","clientId":"bob","to":"alice","seq":2}"#).await;
    drop((alice, bob, server));

    let server = TestServer::start(&variables);
    let mut bob = Client::open(&server, &of("bob")).await;
    bob.expect(r#"{"type":"welcome","inbox":{"seq":2}}"#).await;
    bob.expect_nothing().await;
    let mut alice = Client::connect(&server, &of("alice")).await;
    let epoch = welcome["inbox"]["epoch"].clone();
    alice.send_json(&json!({"type": "join", "inbox": true, "after": 1, "epoch": epoch})).await;
    alice.expect(r#"{"type":"joined","inbox":true,"seq":2,"recovered":true}"#).await;
    alice.expect(r#"{"type":"message","clientId":"bob","Message":"what?","seq":2}"#).await;
    let mut carol = Client::connect(&server, &of("carol")).await;
    carol.send_json(&json!({"Message": "hi", "to": "alice"})).await;
    carol.expect(r#"{"type":"message","seq":1}"#).await;
    alice.expect(r#"{"type":"message","clientId":"carol","seq":3}"#).await;
    alice.send_json(&json!({"type": "history", "to": "bob", "id": "p1"})).await;
    let page = alice.expect(r#"{"type":"history","id":"p1","inbox":true,"to":"bob","hasMore":false}"#).await;
    let texts: Vec<&Value> = page["messages"].as_array().unwrap().iter().map(|message| &message["Message"]).collect();
    assert_eq!(texts, [&json!("psst"), &json!("what?")]);
    // Nobody can read them over HTTP as a room with such a name.
    let admin = token(&["olga", "--admin"]);
    for name in ["@alice", "%40alice"] {
        let answer = http(&server, "GET", &format!("/api/rooms/{name}/messages"), Some(&admin), "").await;
        answer.expect_refusal(400, "bad_room");
    }
}

#[test]
fn a_token_of_the_program_expires_at_a_whole_second() {
    let folder = tempfile::tempdir().unwrap();
    let output = starling().run(folder.path(), &["token", "alice", "--seconds", "60"], &JWT);
    let token = String::from_utf8(output.stdout).unwrap();
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    assert!(claims["exp"].is_u64(), "{claims}");
}

#[actix::test]
async fn a_server_that_cannot_verify_tokens_does_not_start_and_says_why_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key.pem"), "no key").unwrap();
    let key = |file| ("CHAT_JWT_PUBLIC_KEY_FILE", file);
    for (variables, said) in [
        (vec![JWT[0]], "CHAT_AUTH=jwt needs either"),
        (vec![JWT[0], JWT[1], key("key.pem")], "CHAT_AUTH=jwt needs either"),
        (vec![JWT[1]], "CHAT_AUTH=open uses no tokens"),
        (vec![JWT[0], ("CHAT_JWT_SECRET", "short")], "CHAT_JWT_SECRET=(hidden): must be"),
        (vec![JWT[0], key("missing.pem")], "CHAT_JWT_PUBLIC_KEY_FILE=missing.pem: "),
        (vec![JWT[0], key("key.pem")], "CHAT_JWT_PUBLIC_KEY_FILE=key.pem: not a public key"),
    ] {
        let output = starling().run(folder.path(), &[], &[&variables[..], &[("CHAT_BIND", "127.0.0.1:0")]].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(said) && error.trim_end().lines().count() == 1, "{error}");
        assert!(!error.contains(SECRET), "{error}");
    }
    let output = starling().run(folder.path(), &["--print-config"], &JWT);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("CHAT_JWT_SECRET=(hidden)") && !printed.contains(SECRET), "{printed}");
    for variables in [&[][..], &[JWT[0], key("key.pem")]] {
        let output = starling().run(folder.path(), &["token", "alice"], variables);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{output:?}");
    }
}
