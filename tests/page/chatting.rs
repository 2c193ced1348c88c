//! People chat: in the lobby, in private, after a while, in two tabs.

use serde_json::json;

use crate::harness::keys::{ENTER, ESCAPE};
use crate::harness::{Browser, Driver, TestServer};

#[tokio::test(flavor = "multi_thread")]
async fn two_people_chat_in_the_lobby_and_a_third_sees_what_was_said() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    let bob = Browser::enter(&driver, &server.page(), "bob").await;
    alice.say("hello bob").await;
    bob.until_last(&["hello bob"]).await;
    bob.say("hello alice").await;
    alice.until_last(&["hello bob", "hello alice"]).await;
    alice.until_true("nothing waits", "document.querySelector('#pending').children.length === 0").await;
    alice.until_true("both are listed", "document.querySelector('#member-list').textContent.includes('bob')").await;

    let carol = Browser::enter(&driver, &server.page(), "carol").await;
    carol.until_last(&["hello bob", "hello alice"]).await;
    alice.until_true("carol has come", "document.querySelector('#subtitle').textContent === '3 members'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_message_comes_compressed_to_a_browser() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    let bob = Browser::enter(&driver, &server.page(), "bob").await;
    let story = "once upon a time, and then again, ".repeat(30);
    let story = story.trim();
    alice.say(story).await;
    bob.until_last(&[story]).await;
    // The server compresses only for clients that accept compression.
    let figure = "(() => { const asked = new XMLHttpRequest(); asked.open('GET', '/metrics', false); asked.send(); \
        return / chat_compression_output_bytes_total [1-9]/.test(asked.responseText.replaceAll('\\n', ' ')); })()";
    alice.until_true("the server compressed it", figure).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_message_reaches_the_two_and_calls_the_one() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    let bob = Browser::enter(&driver, &server.page(), "bob").await;
    let carol = Browser::enter(&driver, &server.page(), "carol").await;
    bob.run(
        "document.querySelector('#settings-button').click(); document.querySelector('#settings-calls').click(); \
        document.querySelector('#settings').close();",
        vec![],
    )
    .await;

    alice.click("#member-list button[title='Write to bob in private']").await;
    alice.say("psst").await;
    alice.until_last(&["psst"]).await;
    bob.until_true("is called", "document.querySelector('[data-key=\"@alice\"] .badge.calls') !== null").await;
    bob.until_true("the title counts", "document.title === '(1) #lobby · Starling'").await;
    bob.click("[data-key='@alice']").await;
    bob.until_last(&["psst"]).await;
    bob.until_true("nothing is unread", "document.title === 'alice · Starling'").await;
    bob.say("yes?").await;
    alice.until_last(&["psst", "yes?"]).await;

    // Carol receives the next message in the lobby, and has received nothing else.
    alice.click("[data-key='#lobby']").await;
    alice.say("@carol: hello").await;
    carol.until_last(&["@carol: hello"]).await;
    carol.until_true("is spoken to", "document.querySelector('.message.call .mention.own') !== null").await;
    assert_eq!(carol.texts().await, ["@carol: hello"]);
    carol.until_true("no private conversation", "document.querySelector('#private-list').children.length === 0").await;

    bob.click("#leave").await;
    carol.driver.clone().quit().await.unwrap();
    alice.click("[data-key='@bob']").await;
    bob.driver.clone().quit().await.unwrap();
    alice.say("still there?").await;
    alice.until_true("is told that bob is not here", "document.querySelector('.refused .refusal') !== null").await;
    alice.click_text("Discard").await;
    alice.until_true("it is gone", "document.querySelector('#pending').children.length === 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_made_counted_left_and_remembered_with_their_drafts() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    let bob = Browser::enter(&driver, &server.page(), "bob").await;
    alice.click("#browse-button").await;
    alice.keys("dev").await;
    alice.until_true("it is new", "document.querySelector('#browse-submit').textContent === 'Create'").await;
    alice.keys(&ENTER.to_string()).await;
    alice.until_true("is in dev", "document.querySelector('#title').textContent === '#dev'").await;
    alice.say("one").await;
    alice.until_last(&["one"]).await;

    bob.click("#browse-button").await;
    bob.click_text("#dev1 here · newest #1").await;
    bob.until_last(&["one"]).await;
    bob.click("[data-key='#lobby']").await;
    alice.say("two").await;
    alice.say("three").await;
    bob.until_true(
        "two are unread",
        "document.querySelector('[data-key=\"#dev\"] .badge').textContent.startsWith('2')",
    )
    .await;
    bob.click("[data-key='#dev']").await;
    bob.until_last(&["one", "two", "three"]).await;
    bob.until_true("none is unread", "document.querySelector('[data-key=\"#dev\"] .badge').hidden").await;

    bob.keys("not finished").await;
    bob.click("[data-key='#lobby']").await;
    bob.until_true("another draft", "document.querySelector('#composer-text').value === ''").await;
    bob.driver.refresh().await.unwrap();
    bob.until_in("bob").await;
    bob.click("[data-key='#dev']").await;
    bob.until_true("the draft is there", "document.querySelector('#composer-text').value === 'not finished'").await;
    bob.until_last(&["one", "two", "three"]).await;

    bob.click("#leave").await;
    bob.until_true("is in the lobby", "document.querySelector('#title').textContent === '#lobby'").await;
    alice.until_true("bob has left", "document.querySelector('#subtitle').textContent === '1 member'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_comes_by_scrolling_up() {
    let server = TestServer::start(&[("CHAT_MESSAGES_PER_SECOND", "0")]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    alice.run("const socket = new WebSocket(`ws://${location.host}/ws?clientId=writer`); \
        socket.onopen = () => { for (let n = 1; n <= 500; n += 1) socket.send(JSON.stringify({ Message: `message ${n}` })); };",
        vec![]).await;
    alice.until_last(&["message 499", "message 500"]).await;
    let bob = Browser::enter(&driver, &server.page(), "bob").await;
    bob.until_last(&["message 499", "message 500"]).await;
    let first_shown = bob.texts().await.first().cloned();
    assert_ne!(first_shown.as_deref(), Some("message 1"), "not everything is loaded at once");
    bob.click("#messages").await;
    bob.until_true(
        "comes to the beginning by scrolling up",
        "(() => { \
        document.querySelector('#messages').scrollBy(0, -2000); \
        return document.querySelector('#rows .text').textContent === 'message 1'; })()",
    )
    .await;
    let rows = bob.run("return document.querySelectorAll('#rows li').length", vec![]).await;
    assert!(rows.as_u64().unwrap() <= 200, "{rows} rows are in the document");
    let texts = bob.texts().await;
    let wanted: Vec<_> = (1..=texts.len()).map(|n| format!("message {n}")).collect();
    assert_eq!(texts, wanted, "in order, none missing, none twice");
    // While the user reads old messages, new ones are counted and do not scroll the page.
    let top = "return document.querySelector('#messages').scrollTop";
    let before = bob.run(top, vec![]).await;
    alice.say("news").await;
    bob.until_true("it is counted", "document.querySelector('#newest').textContent === '1 new message'").await;
    assert_eq!(bob.run(top, vec![]).await, before);
    bob.click("#newest").await;
    bob.until_last(&["message 500", "news"]).await;
    assert_eq!(bob.run("return document.querySelector('#newest').hidden", vec![]).await, json!(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_tab_is_told_that_the_name_is_taken_and_may_take_it() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    let first = alice.driver.window().await.unwrap();
    let second = alice.driver.new_tab().await.unwrap();
    alice.driver.switch_to_window(second.clone()).await.unwrap();
    alice.driver.goto(server.page()).await.unwrap();
    alice.until_true("the name is proposed", "document.querySelector('#enter-name').value === 'alice'").await;
    alice.take_name("alice").await;
    alice.click_text("Enter as alice-2").await;
    alice.until_in("alice-2").await;
    alice.say("from the second tab").await;

    alice.driver.switch_to_window(first.clone()).await.unwrap();
    alice.until_last(&["from the second tab"]).await;

    let third = alice.driver.new_tab().await.unwrap();
    alice.driver.switch_to_window(third).await.unwrap();
    alice.driver.goto(server.page()).await.unwrap();
    alice.take_name("alice").await;
    alice.click_text("Use alice here instead").await;
    alice.until_in("alice").await;
    alice.driver.switch_to_window(first).await.unwrap();
    alice.until_true("stands still", "document.querySelector('#status').dataset.state === 'stopped'").await;
    alice.click_text("Use it here").await;
    alice.until_in("alice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn search_is_offered_only_where_the_server_searches() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    alice.say("a needle").await;
    alice.say("another needle").await;
    alice.say("hay").await;
    alice.until_last(&["another needle", "hay"]).await;
    // The page asks at its start whether search is available, once there are messages.
    alice.driver.refresh().await.unwrap();
    alice.until_in("alice").await;
    alice.until_true("search is offered", "!document.querySelector('#search-button').hidden").await;
    alice.click("#search-button").await;
    alice.keys(&format!("needle{ENTER}")).await;
    let newest_first = "const found = [...document.querySelector('#search-found').children]; \
        return found.length === 2 && found[0].innerText.includes('another needle') && found[1].innerText.includes('a needle')";
    alice
        .until_true("what is found comes newest first, and nothing else", &format!("(() => {{ {newest_first} }})()"))
        .await;

    // A script simulates a server without search: it ignores `q`.
    let ignorant = "const ask = fetch; window.fetch = async (url, options) => { \
        const known = new URL(url); window.asked ||= known.searchParams.has('q'); \
        known.searchParams.delete('q'); return ask(known, options); };";
    alice.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": ignorant })).await;
    alice.driver.refresh().await.unwrap();
    alice.until_in("alice").await;
    alice.until_true("it has asked", "window.asked === true").await;
    assert_eq!(alice.run("return document.querySelector('#search-button').hidden", vec![]).await, json!(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_can_be_changed_and_a_refused_change_changes_nothing() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let _bob = Browser::enter(&driver, &server.page(), "bob").await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    let rename = async |name: &str| {
        alice.click("#settings-button").await;
        alice.click("#rename").await;
        alice.take_name(name).await;
    };
    rename("bob").await;
    alice.until_true("is told", "document.querySelector('#enter-problem').textContent.includes('bob')").await;
    alice.keys(&ESCAPE.to_string()).await;
    alice.until_in("alice").await;
    alice.say("still alice").await;
    alice.until_last(&["still alice"]).await;
    rename("alicia").await;
    alice.until_in("alicia").await;
    alice.driver.refresh().await.unwrap();
    alice.until_in("alicia").await;
}
