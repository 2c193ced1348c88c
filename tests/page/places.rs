//! Conversations and messages have addresses; unread messages and search results are one step away.

use serde_json::json;

use crate::harness::keys::{ENTER, ESCAPE};
use crate::harness::{Browser, Driver, TestServer};

/// The part of the address behind `#`.
const HASH: &str = "return location.hash";

async fn until_titled(browser: &Browser, title: &str) {
    browser.until_true(title, &format!("document.querySelector('#title').textContent === '{title}'")).await;
}

/// Sends many messages to a room, `1` to this number, over a connection of its own.
async fn talk(browser: &Browser, room: &str, count: u32) {
    let script = "const [room, count] = arguments; const socket = new WebSocket(`ws://${location.host}/ws/${room}?clientId=writer`); \
        socket.onopen = () => { for (let n = 1; n <= count; n += 1) socket.send(JSON.stringify({ Message: `message ${n}` })); };";
    browser.run(script, vec![json!(room), json!(count)]).await;
}

/// Waits until this message is marked and in view, with the focus on it.
async fn until_found(browser: &Browser, text: &str) {
    let found = format!(
        "(() => {{ const row = document.querySelector('.message.found'); if (!row) return false; \
         const list = document.querySelector('#messages').getBoundingClientRect(), place = row.getBoundingClientRect(); \
         return row.querySelector('.text').textContent === '{text}' && place.top >= list.top && place.bottom <= list.bottom \
           && document.activeElement === row; }})()"
    );
    browser.until_true(&format!("{text} is found"), &found).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_and_people_have_addresses_that_the_back_button_and_others_follow() {
    let server = TestServer::start(&[("CHAT_MESSAGES_PER_SECOND", "0")]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    assert_eq!(alice.run(HASH, vec![]).await, json!(""));
    alice.say("/join dev").await;
    until_titled(&alice, "#dev").await;
    assert_eq!(alice.run(HASH, vec![]).await, json!("#/room/dev"));
    alice.say("/msg bob hey").await;
    until_titled(&alice, "bob").await;
    assert_eq!(alice.run(HASH, vec![]).await, json!("#/with/bob"));
    alice.driver.back().await.unwrap();
    until_titled(&alice, "#dev").await;
    alice.driver.back().await.unwrap();
    until_titled(&alice, "#lobby").await;
    alice.driver.forward().await.unwrap();
    until_titled(&alice, "#dev").await;
    alice.driver.refresh().await.unwrap();
    alice.until_in("alice").await;
    until_titled(&alice, "#dev").await;

    talk(&alice, "dev", 700).await;
    alice.until_last(&["message 699", "message 700"]).await;
    let link = alice.run("return [...document.querySelectorAll('#rows .when')].at(-1).href", vec![]).await;
    assert_eq!(link, json!(format!("{}#/room/dev/700", server.page())));

    // Another person follows a link to an early message of a room that they are not in.
    let carol = Browser::open(&driver, &format!("{}#/room/dev/42", server.page())).await;
    carol.take_name("carol").await;
    carol.until_in("carol").await;
    until_found(&carol, "message 42").await;
    carol.click("#newest").await;
    carol.until_last(&["message 699", "message 700"]).await;
    for (nowhere, said) in [("#/room/dev/9999", "no longer has"), ("#/room/no%20room", "names no room")] {
        carol.run("location.hash = arguments[0]", vec![json!(nowhere)]).await;
        carol.until_true(nowhere, &format!("document.querySelector('#toast').textContent.includes('{said}')")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_marks_what_is_new_and_a_button_leads_to_it() {
    let server = TestServer::start(&[("CHAT_MESSAGES_PER_SECOND", "0")]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    alice.say("/join dev").await;
    until_titled(&alice, "#dev").await;
    alice.say("seen").await;
    alice.until_last(&["seen"]).await;
    alice.click("[data-key='#lobby']").await;
    talk(&alice, "dev", 300).await;
    let unread = "document.querySelector('[data-key=\"#dev\"] .sr').textContent === '300 unread'";
    alice.until_true("all are unread", unread).await;
    alice.click("[data-key='#dev']").await;
    alice.until_last(&["message 300"]).await;
    alice
        .until_true(
            "the button counts them",
            "document.querySelector('#to-new').innerText.trim() === '300 new messages'",
        )
        .await;
    alice.click("#to-new").await;
    until_found(&alice, "message 1").await;
    let line = "document.querySelector('.message.found .new-line') !== null && document.querySelectorAll('.new-line').length === 1";
    alice.until_true("the line is above the first", line).await;
    alice.until_true("the button is gone", "document.querySelector('#to-new').hidden").await;
    // A person who has read the room sees no line any more.
    alice.click("[data-key='#lobby']").await;
    alice.click("[data-key='#dev']").await;
    alice.until_last(&["message 300"]).await;
    alice.until_true("no line", "document.querySelector('.new-line') === null").await;
    alice.until_true("no button", "document.querySelector('#to-new').hidden").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_of_the_search_leads_to_its_place_and_escape_closes_at_once() {
    let server = TestServer::start(&[("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_HISTORY", "sqlite")]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    talk(&alice, "lobby", 500).await;
    alice.until_last(&["message 500"]).await;
    alice.say("/join dev").await;
    until_titled(&alice, "#dev").await;
    for text in ["今天天气很好", "the greenhouse is open"] {
        alice.paste_and_send(text).await;
    }
    alice.until_last(&["今天天气很好", "the greenhouse is open"]).await;
    alice.click("[data-key='#lobby']").await;
    alice.until_true("search is offered", "!document.querySelector('#search-button').hidden").await;
    let until_hits = async |texts: &[&str]| {
        let hits =
            "JSON.stringify([...document.querySelectorAll('#search-found .text')].map((hit) => hit.textContent))";
        let wanted = json!(texts).to_string();
        alice.until_true(&wanted, &format!("{hits} === {}", json!(wanted))).await;
    };
    let search = async |wanted: &str| {
        let script = "const field = document.querySelector('#search-wanted'); field.value = arguments[0]; field.form.requestSubmit();";
        alice.run(script, vec![json!(wanted)]).await;
    };
    alice.click("#search-button").await;
    alice.keys(&format!("\"message 17\"{ENTER}")).await;
    until_hits(&["message 17"]).await;
    alice.click("#search-found a").await;
    until_found(&alice, "message 17").await;
    assert_eq!(alice.run(HASH, vec![]).await, json!("#/room/lobby/17"));

    // All rooms, the beginning of a word, and a script without blanks.
    alice.click("#search-button").await;
    search("greenh").await;
    alice.until_true("not here", "document.querySelector('#search-note').textContent === 'Nothing found'").await;
    alice.click("#search-everywhere").await;
    search("greenh").await;
    until_hits(&["the greenhouse is open"]).await;
    search("天气").await;
    until_hits(&["今天天气很好"]).await;
    alice.click("#search-found a").await;
    until_titled(&alice, "#dev").await;
    until_found(&alice, "今天天气很好").await;

    for dialog in ["search", "browse"] {
        alice.click(&format!("#{dialog}-button")).await;
        alice.keys("something").await;
        alice.keys(&ESCAPE.to_string()).await;
        let is_closed = format!("return !document.querySelector('#{dialog}').open");
        assert_eq!(alice.run(&is_closed, vec![]).await, json!(true), "{dialog}");
    }
}
