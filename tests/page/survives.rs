//! Networks and servers fail and recover; no person misses a message or sees one twice.

use crate::harness::{Browser, Driver, Proxy, TestServer};

#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_network_nothing_is_missing_and_nothing_is_there_twice() {
    let server = TestServer::start(&[]);
    let network = Proxy::start(server.address()).await;
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &network.page(), "alice").await;
    let bob = Browser::enter(&driver, &server.page(), "bob").await;
    bob.say("1").await;
    alice.until_last(&["1"]).await;

    network.cut();
    alice.until_true("says so", "document.querySelector('#status').dataset.state === 'waiting'").await;
    bob.say("2").await;
    bob.say("3").await;
    bob.until_last(&["1", "2", "3"]).await;
    alice.say("4").await;
    alice.until_true("it waits", "document.querySelector('#pending .text').textContent === '4'").await;
    network.restore();

    // The page reconnects by itself; an impatient user has a button, if it is still shown.
    alice.run("document.querySelector('#status-buttons button')?.click()", vec![]).await;
    alice.until_in("alice").await;
    bob.until_last(&["1", "2", "3", "4"]).await;
    alice.until_last(&["1", "2", "3", "4"]).await;
    assert_eq!(alice.texts().await, ["1", "2", "3", "4"]);
    assert_eq!(bob.texts().await, ["1", "2", "3", "4"]);
    alice.until_true("nothing waits", "document.querySelector('#pending').children.length === 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_went_silent_is_noticed_and_left() {
    let server = TestServer::start(&[("CHAT_HEARTBEAT_SECONDS", "1")]);
    let network = Proxy::start(server.address()).await;
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &network.page(), "alice").await;
    let bob = Browser::enter(&driver, &server.page(), "bob").await;
    bob.say("1").await;
    alice.until_last(&["1"]).await;
    network.silence();
    // Sent while the network is silent: it is unknown whether the message arrived.
    alice.say("2").await;
    alice.until_true("notices", "document.querySelector('#status').dataset.state !== 'open'").await;
    bob.say("3").await;
    bob.until_last(&["1", "3"]).await;
    network.restore();
    alice.until_in("alice").await;
    bob.until_last(&["1", "3", "2"]).await;
    alice.until_last(&["1", "3", "2"]).await;
    assert_eq!(alice.texts().await, ["1", "3", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_that_comes_back_is_found_and_the_page_says_what_is_lost() {
    let mut server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    let bob = Browser::enter(&driver, &server.page(), "bob").await;
    alice.say("before").await;
    bob.until_last(&["before"]).await;
    server.kill();
    for page in [&alice, &bob] {
        page.until_true(
            "says so",
            "['waiting', 'connecting'].includes(document.querySelector('#status').dataset.state)",
        )
        .await;
    }
    alice.say("meanwhile").await;
    server.start_again();
    alice.until_in("alice").await;
    bob.until_in("bob").await;
    bob.say("after").await;
    let both = |texts: &[String]| {
        texts.first().is_some_and(|text| text == "before")
            && ["meanwhile", "after"].iter().all(|text| texts.iter().filter(|shown| shown == text).count() == 1)
            && texts.len() == 3
    };
    for page in [&alice, &bob] {
        page.until_true("has all three", "document.querySelectorAll('#rows .text').length >= 3").await;
        let texts = page.texts().await;
        assert!(both(&texts), "{texts:?}");
        page.until_true("says that older messages are gone", "document.querySelector('#rows .notice') !== null").await;
    }
    assert_eq!(alice.texts().await, bob.texts().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_on_purpose_is_awaited_as_long_as_it_says() {
    let mut server = TestServer::start(&[("CHAT_DRAIN_SECONDS", "1")]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    server.stop();
    alice
        .until_true(
            "says why",
            // Either the server announced its stop, or the server was unreachable; a machine without a network reports
            // that.
            "['the server is stopping', 'cannot be reached', 'there is no network'].some( \
             (reason) => document.querySelector('#status-text').textContent.includes(reason))",
        )
        .await;
    server.start_again();
    alice.until_in("alice").await;
    alice.say("again").await;
    alice.until_last(&["again"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_keeps_the_name_at_once() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    alice.say("1").await;
    for _ in 0..3 {
        alice.driver.refresh().await.unwrap();
        alice.until_in("alice").await;
    }
    alice.until_last(&["1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn private_conversations_that_the_server_does_not_store_come_back_after_a_reload_of_the_tab() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    let bob = Browser::enter(&driver, &server.page(), "bob").await;
    bob.say("/msg alice psst").await;
    bob.say("and?").await;
    alice.click("[data-key='@bob']").await;
    alice.until_last(&["psst", "and?"]).await;
    let kept = "sessionStorage.getItem('starling.privates')?.includes('and?')";
    alice.until_true("the tab has them", kept).await;
    alice.driver.refresh().await.unwrap();
    alice.until_in("alice").await;
    alice.until_last(&["psst", "and?"]).await;
    assert_eq!(alice.texts().await, ["psst", "and?"]);
    alice.say("yes").await;
    bob.until_last(&["psst", "and?", "yes"]).await;
}
