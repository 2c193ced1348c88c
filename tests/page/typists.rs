//! The line that shows who types.

use serde_json::json;

use crate::harness::keys::ENTER;
use crate::harness::{Browser, Driver, TestServer};

/// Notes the types of the frames that the page sends.
const NOTE_SENT: &str = "window.sent = []; const send = WebSocket.prototype.send; \
    WebSocket.prototype.send = function (text) { window.sent.push(JSON.parse(text).type); send.call(this, text); };";

async fn until_line(browser: &Browser, wanted: &str) {
    let shown = format!("document.querySelector('#typing').textContent === {}", json!(wanted));
    browser.until_true(&format!("the line is {wanted:?}"), &shown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_is_shown_until_the_message_comes_or_the_typist_stops_and_nothing_moves() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    let bob = Browser::enter(&driver, &server.page(), "bob").await;
    let place = "return document.querySelector('#composer-text').getBoundingClientRect().top";
    let before = bob.run(place, vec![]).await;
    alice.keys("hel").await;
    until_line(&bob, "alice is typing …").await;
    assert_eq!(bob.run(place, vec![]).await, before);
    bob.until_true("it is read", "document.querySelector('#typing-announcer').textContent === 'alice is typing'").await;
    until_line(&alice, "").await;
    alice.keys(&format!("lo{ENTER}")).await;
    bob.until_last(&["hello"]).await;
    until_line(&bob, "").await;

    alice.click("#member-list button[title='Write to bob in private']").await;
    alice.say("psst").await;
    bob.click("[data-key='@alice']").await;
    bob.keys("yes").await;
    until_line(&alice, "bob is typing …").await;
    // Bob writes no more.
    until_line(&alice, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_is_told_neither_of_commands_nor_of_a_person_who_does_not_want_it() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let alice = Browser::blank(&driver).await;
    alice.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": NOTE_SENT })).await;
    alice.driver.goto(server.page()).await.unwrap();
    alice.take_name("alice").await;
    alice.until_in("alice").await;
    let type_text = async |text: &str| {
        let script = "const field = document.querySelector('#composer-text'); field.value = arguments[0]; \
            window.sent.length = 0; field.dispatchEvent(new Event('input')); return window.sent.includes('typing')";
        alice.run(script, vec![json!(text)]).await
    };
    let switch = "document.querySelector('#settings-button').click(); document.querySelector('#settings-typing').click(); \
        document.querySelector('#settings').close();";
    alice.run(switch, vec![]).await;
    assert_eq!(type_text("hello").await, json!(false));
    alice.driver.refresh().await.unwrap();
    alice.until_in("alice").await;
    assert_eq!(type_text("hello").await, json!(false), "the switch is remembered");
    alice.run(switch, vec![]).await;
    for (text, is_told) in [("/join dev", false), (" ", false), ("", false), ("//join", true)] {
        assert_eq!(type_text(text).await, json!(is_told), "{text:?}");
    }
}
