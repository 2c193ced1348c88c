//! The chat below a path prefix: behind a proxy that does not remove the prefix, or on the server's own port.

use bot_swarm::{StopHandle, progress};
use starling::Config;
use test_kit::Client;
use test_kit::raw::{self, Raw};

use crate::harness::{TestServer, starling};

fn server(prefix: &str) -> TestServer {
    TestServer::start(&[("CHAT_PATH_PREFIX", prefix)])
}

#[actix::test]
async fn every_path_is_there_with_the_prefix_and_without() {
    let server = server("/team/chat/");
    let page = raw::get(&server, "/").await.body;
    let script = page.split('"').find(|part| part.ends_with("/js/main.js")).unwrap();
    for (path, status) in [
        ("/", 200),
        (&*format!("/{script}"), 200),
        ("/lab", 200),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/metrics", 200),
        ("/api/rooms", 200),
        ("/api/rooms?a=/team/chat/", 200),
        ("/api/rooms/lobby/messages?limit=0", 400),
        ("/ws", 426),
        ("/ws/dev", 426),
        ("/nothing", 404),
        ("//", 404),
    ] {
        let (bare, below) = (raw::get(&server, path).await, raw::get(&server, &format!("/team/chat{path}")).await);
        assert_eq!((bare.status, below.status), (status, status), "{path}: {below:?}");
        for header in ["content-type", "content-security-policy", "cache-control", "etag", "x-content-type-options"] {
            assert_eq!(bare.header(header), below.header(header), "{path}: {header}");
        }
        if path != "/metrics" {
            assert_eq!(bare.body, below.body, "{path}");
        }
    }
    for elsewhere in
        ["/team", "/team/", "/team/chats/healthz", "/chat/healthz", "/team/%63hat/healthz", "/x/team/chat/"]
    {
        raw::get(&server, elsewhere).await.expect_refusal(404, "no_such_path");
    }
}

#[actix::test]
async fn who_forgets_the_slash_behind_the_prefix_is_sent_to_the_page() {
    let server = server("/team/chat");
    for (path, location) in [("/team/chat", "chat/"), ("/team/chat?a=b&c", "chat/?a=b&c"), ("/team/chat?", "chat/?")] {
        let answer = raw::get(&server, path).await;
        assert_eq!((answer.status, answer.header("location")), (308, Some(location)), "{path}: {answer:?}");
    }
    raw::get(&TestServer::start(&[]), "/team/chat").await.expect_refusal(404, "no_such_path");
}

#[actix::test]
async fn a_websocket_is_opened_below_the_prefix_and_nowhere_else() {
    let server = server("/chat");
    let mut alice = Client::connect(&server, "/chat/ws/dev?clientId=alice").await;
    let mut bob = Client::connect(&server, "/ws/dev?clientId=bob").await;
    alice.send_text(r#"{"Message":"hello"}"#).await;
    for client in [&mut alice, &mut bob] {
        client.expect(r#"{"type":"message","clientId":"alice","Message":"hello","room":"dev"}"#).await;
    }
    let mut page = Raw::open(server.address()).await;
    assert_eq!(page.ask_for_websocket("/chat/ws", "Origin: http://localhost\r\n").await.status, 101);
    for (path, status) in [("/chat", 308), ("/chat/", 200), ("/chat/chat/ws", 404), ("/chats/ws", 404)] {
        let answer = raw::handshake(&server, path).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
}

#[actix::test]
async fn a_health_check_needs_to_know_of_no_prefix() {
    let server = server("/chat");
    let address = server.address().to_string();
    let folder = tempfile::tempdir().unwrap();
    for prefix in ["", "/chat", "/other"] {
        let variables = [("CHAT_BIND", &*address), ("CHAT_PATH_PREFIX", prefix)];
        let output = starling().run(folder.path(), &["healthcheck"], &variables);
        assert!(output.status.success(), "{prefix}: {output:?}");
    }
}

#[actix::test]
async fn bots_connect_below_a_prefix_with_a_query() {
    let server = server("/team/chat");
    let config = bot_swarm::Config {
        server_url: format!("ws://{}/team/chat/ws?format=json", server.address()),
        name_prefix: "bot".into(),
        count: 10,
        rooms: 2,
        messages_per_second: 5.0,
        ramp_per_second: 1_000.0,
        seconds: 1.0,
        lateness_max_seconds: 60.0,
        ..bot_swarm::Config::default()
    };
    let outcome = bot_swarm::run(&config, &StopHandle::new(), &mut progress::Silent).await.unwrap();
    assert!(outcome.is_clean() && outcome.tally.received > 10, "{outcome}");
}

#[test]
fn a_prefix_that_is_none_ends_the_start() {
    for bad in ["chat", "/", "/ws", "/api/chat", "/a b", "/a//b"] {
        let error = Config::from_variables([("CHAT_PATH_PREFIX".to_owned(), bad.to_owned())]).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("CHAT_PATH_PREFIX={bad}: must be a path like /chat or /team/chat")),
            "{error}"
        );
    }
}
