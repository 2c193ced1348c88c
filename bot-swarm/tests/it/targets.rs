//! The bots' servers and credentials. Other tests check TLS and tokens with the real server as well.

use bot_swarm::{Config, RunError, StopHandle, progress};

use crate::process::{program, stderr};
use crate::server::TestServer;
use crate::{config, run_until, wait_until};

#[actix_rt::test]
async fn a_chat_at_an_ipv6_address_below_a_path_with_a_query_and_headers_is_reached() {
    let server = TestServer::start().await;
    // An IPv6 address that works even if no interface has one.
    let url = server.url().replace("127.0.0.1", "[::ffff:127.0.0.1]").replace("/ws", "/chat/v1/ws?tenant=blue");
    for rooms in [1, 2] {
        let config = Config {
            server_url: url.clone(),
            rooms,
            headers: "X-Tenant: blue\nCookie: a=b; c=d".parse().unwrap(),
            token: Some("opaque".into()),
            ..config(&server, 4)
        };
        let taken = server.taken();
        let report = run_until(&config, wait_until("messages", || server.taken() >= taken + 50)).await;
        assert!(report.is_clean(), "{report}");
        let request = server.newest_request().to_lowercase();
        let room = if rooms == 1 { "" } else { "/room-" };
        assert!(request.starts_with(&format!("get /chat/v1/ws{room}")), "{request}");
        for part in ["?tenant=blue&clientid=test-", "\r\nx-tenant: blue\r\n", "\r\ncookie: a=b; c=d\r\n"] {
            assert!(request.contains(part), "{part}: {request}");
        }
        assert!(request.contains("\r\nauthorization: bearer opaque\r\n"), "{request}");
    }
}

#[actix_rt::test]
async fn bots_spread_over_several_servers_and_go_on_to_another_when_theirs_ends() {
    let (first, second) = (TestServer::start().await, TestServer::start().await);
    let config = Config { server_url: format!("{}, {}", first.url(), second.url()), ..config(&first, 10) };
    let report = run_until(&config, async {
        wait_until("half of the bots at each", || first.connected() == 5 && second.connected() == 5).await;
        first.stop();
        wait_until("all bots at the second", || second.connected() == 10).await;
        let taken = second.taken();
        wait_until("messages there", || second.taken() >= taken + 100).await;
    })
    .await;
    assert_eq!((report.stats.counters.reconnects, report.away), (5, 0), "{report}");
    assert_eq!((report.never_connected(), report.not_done()), (0, 0), "{report}");
    // The second server knows nothing of the first: missed messages are gone, and it says so.
    assert_eq!(report.tally.lost, report.tally.lost_and_told, "{report}");
}

#[actix_rt::test]
async fn tokens_and_authorities_that_cannot_be_had_are_told_before_any_bot_connects() {
    let server = TestServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        Some(folder.path().join(name))
    };
    let refused = async |config: Config| {
        let refusal = bot_swarm::run(&config, &StopHandle::new(), &mut progress::Silent).await.unwrap_err();
        assert_eq!(server.welcomed(), 0);
        refusal
    };
    let config = || config(&server, 3);
    let missing = Some(folder.path().join("missing"));
    for token_file in [file("tokens", "a\nb\n"), file("broken", "a\n\u{7f}\nc\n"), missing.clone()] {
        let refusal = refused(Config { token_file, ..config() }).await;
        assert!(matches!(refusal, RunError::Tokens(_)), "{refusal}");
    }
    for ca_file in [file("empty.pem", ""), file("text.pem", "hello"), missing] {
        let refusal = refused(Config { ca_file, ..config() }).await;
        assert!(matches!(refusal, RunError::Tls(_)), "{refusal}");
    }
}

#[test]
fn wss_without_anybody_to_believe_and_a_port_that_is_none_end_with_3_and_one_line() {
    for (url, reason) in [
        ("wss://localhost/ws", "BOT_CA_FILE"),
        ("ws://localhost:99999/ws", "BOT_SERVER_URL"),
        ("ws://localhost:80/ws,ws://user@localhost/ws", "a URL cannot contain a user or a password: use BOT_TOKEN"),
        ("localhost:8080/ws", "it has no scheme: write ws:// before it"),
        ("http://localhost/ws", "a WebSocket's URL begins with ws://"),
        ("https://localhost/ws", "a WebSocket's URL begins with wss://"),
        ("ws://localhost/ws#room", "no fragment"),
    ] {
        let output = program().args(["--server-url", url]).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{url}");
        assert!(stderr(&output).lines().count() == 1 && stderr(&output).contains(reason), "{}", stderr(&output));
    }
}
