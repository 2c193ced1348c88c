//! The page shows the server's refusals, and continues.

use serde_json::json;

use crate::harness::{Browser, Driver, TestServer};

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_name_is_said_and_another_can_be_taken() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let _alice = Browser::enter(&driver, &server.page(), "alice").await;
    let other = Browser::open(&driver, &server.page()).await;
    let problem = "document.querySelector('#enter-problem').textContent";
    other.take_name("no blanks please").await;
    other.until_true("is told the rule", &format!("{problem}.includes('letters a–z')")).await;
    other.take_name("guest-1").await;
    other.until_true("is told whose these are", &format!("{problem}.includes('assigned by the server')")).await;
    other.take_name("alice").await;
    other.until_true("is told that it is taken", &format!("{problem}.includes('alice is in use')")).await;
    let takes_over =
        other.run("return document.querySelector('#enter-ways').textContent.includes('instead')", vec![]).await;
    assert_eq!(takes_over, json!(false), "who never was alice cannot take her name");
    other.take_name("bob").await;
    other.until_in("bob").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_comes_in_without_a_name() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let guest = Browser::open(&driver, &server.page()).await;
    guest.click_text("Enter as a guest").await;
    guest.until_true("is in", "document.querySelector('#me').textContent.includes('guest-')").await;
    guest.say("who am I?").await;
    guest.until_last(&["who am I?"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_rate_limit_messages_wait_and_arrive_once_in_order() {
    let server = TestServer::start(&[("CHAT_MESSAGES_PER_SECOND", "5"), ("CHAT_BURST", "2")]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    let bob = Browser::enter(&driver, &server.page(), "bob").await;
    let wanted: Vec<_> = (1..=12).map(|n| format!("line {n}")).collect();
    for text in &wanted {
        alice.paste_and_send(text).await;
    }
    let wanted: Vec<_> = wanted.iter().map(String::as_str).collect();
    bob.until_last(&wanted).await;
    alice.until_last(&wanted).await;
    assert_eq!(bob.texts().await, wanted);
    assert_eq!(alice.texts().await, wanted);
    alice.until_true("nothing was refused", "document.querySelector('#pending').children.length === 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_for_speed_is_waited_out_and_the_message_sent_again() {
    let server = TestServer::start(&[("CHAT_MESSAGES_PER_SECOND", "2"), ("CHAT_BURST", "2")]);
    let driver = Driver::start().await;
    let alice = Browser::blank(&driver).await;
    // The page gets a higher limit than the real one, so that the server must refuse, and the page must handle it.
    let lie = "const parse = JSON.parse; JSON.parse = (text) => { const frame = parse(text); \
        if (frame?.type === 'welcome') frame.limits = { ...frame.limits, messagesPerSecond: 0 }; \
        if (frame?.code === 'rate_limited') window.refusals = (window.refusals ?? 0) + 1; return frame; };";
    alice.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": lie })).await;
    alice.driver.goto(server.page()).await.unwrap();
    alice.take_name("alice").await;
    alice.until_in("alice").await;
    for text in ["1", "2", "3", "4", "5"] {
        alice.paste_and_send(text).await;
    }
    alice.until_last(&["1", "2", "3", "4", "5"]).await;
    assert_eq!(alice.texts().await, ["1", "2", "3", "4", "5"]);
    alice.until_true("the server did refuse", "window.refusals > 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_too_long_is_not_sent_and_not_lost() {
    let server = TestServer::start(&[("CHAT_MESSAGE_BYTES", "100")]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    alice.paste_and_send(&"ä".repeat(51)).await;
    alice
        .until_true("is told how much", "document.querySelector('#composer-size').textContent === '2 bytes too long'")
        .await;
    assert_eq!(alice.texts().await, Vec::<String>::new());
    let exact = "ä".repeat(50);
    alice.paste_and_send(&exact).await;
    alice.until_last(&[&exact]).await;
}
