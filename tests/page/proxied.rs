//! The page behind a reverse proxy, below a path of its host.

use serde_json::json;
use test_kit::reverse_proxy::{self, ReverseProxy};

use crate::harness::{Browser, Driver, TestServer};

#[tokio::test(flavor = "multi_thread")]
async fn through_nginx_below_a_path_the_page_loads_chats_and_comes_back() {
    let mut server = TestServer::start(&[("CHAT_TRUSTED_PROXIES", "127.0.0.1")]);
    let proxy = ReverseProxy::start("nginx-sub-path.conf", server.address(), &reverse_proxy::certificate());
    let place = format!("{}{}", proxy.host(), proxy.path());
    let driver = Driver::start().await;
    // Without the trailing slash, the browser is redirected to the page.
    let alice = Browser::enter(&driver, format!("https://{place}").trim_end_matches('/'), "alice").await;
    let bob = Browser::enter(&driver, &server.page(), "bob").await;
    alice.say("from below").await;
    bob.until_last(&["from below"]).await;
    bob.say("from above").await;
    alice.until_last(&["from below", "from above"]).await;

    assert_eq!(alice.run("return location.href", vec![]).await, json!(format!("https://{place}")));
    alice
        .until_true(
            "asks for the search",
            "performance.getEntriesByType('resource').some(({ name }) => name.includes('/api/rooms/lobby/messages'))",
        )
        .await;
    let elsewhere = "return performance.getEntriesByType('resource').map(({ name }) => name).filter((name) => !name.startsWith(arguments[0]))";
    assert_eq!(alice.run(elsewhere, vec![json!(format!("https://{place}"))]).await, json!([]));
    let by_hand = alice.run("return document.querySelector('#by-hand-ways').textContent", vec![]).await;
    for address in [format!("wss://{place}ws"), format!("https://{place}api/rooms")] {
        assert!(by_hand.as_str().unwrap().contains(&address), "{address}: {by_hand}");
    }
    // A chat below another path of this host has separate storage.
    let kept = alice.run("return Object.keys({ ...localStorage, ...sessionStorage })", vec![]).await;
    let kept: Vec<String> = serde_json::from_value(kept).unwrap();
    assert!(kept.len() > 2 && kept.iter().all(|name| name.starts_with("starling/team/chat/.")), "{kept:?}");

    server.kill();
    alice.until_true("says so", "document.querySelector('#status').dataset.state === 'waiting'").await;
    server.start_again();
    alice.run("document.querySelector('#status-buttons button')?.click()", vec![]).await;
    alice.until_in("alice").await;
    bob.until_in("bob").await;
    alice.say("back").await;
    bob.until_last(&["back"]).await;
    alice.driver.refresh().await.unwrap();
    alice.until_in("alice").await;
}
