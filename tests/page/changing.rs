//! Edits, deletions, reactions and replies: with the mouse and with the keyboard, and equal for all who see the room.

use serde_json::{Value, json};
use test_kit::nats::Nats;

use crate::harness::keys::{DOWN, ENTER, ESCAPE, RIGHT, TAB, UP};
use crate::harness::{Browser, Driver, Proxy, TestServer};

/// What the rows of the list show: the text or the note of a deletion, the quote, the mark of an edit, the reactions.
const ROWS: &str = "return [...document.querySelectorAll('#rows .message')].map((row) => [row.dataset.seq, \
    ...['.text', '.deleted', '.quote', '.edited'].map((part) => row.querySelector(part)?.textContent ?? null), \
    [...row.querySelectorAll('.reaction')].map((button) => [button.firstChild.textContent, button.textContent.match(/\\d+/u)[0]])])";

async fn rows(browser: &Browser) -> Value {
    browser.run(ROWS, vec![]).await
}

/// Waits until a browser shows the same rows as these.
async fn until_rows(browser: &Browser, wanted: &Value) {
    let shown = format!("JSON.stringify((() => {{ {ROWS} }})()) === {}", json!(wanted.to_string()));
    browser.until_true(&format!("the rows are {wanted:#}"), &shown).await;
}

async fn react(browser: &Browser, text: &str, word: &str) {
    browser.act(text, "smile").await;
    browser.keys(&format!("{word}{ENTER}")).await;
}

/// Deletes the focused text of a field, and types another.
async fn type_instead(browser: &Browser, text: &str) {
    browser.run("document.activeElement.select()", vec![]).await;
    browser.keys(&format!("{text}{ENTER}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_the_same_changes_also_after_a_reload() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    let bob = Browser::enter(&driver, &server.page(), "bob").await;
    for text in ["first", "secret", "third"] {
        alice.say(text).await;
    }
    bob.until_last(&["first", "secret", "third"]).await;

    bob.act("first", "reply").await;
    bob.until_true(
        "the reply is announced",
        "document.querySelector('#composer-reply').innerText.includes('alice first')",
    )
    .await;
    bob.say("I agree").await;
    alice.until_last(&["I agree"]).await;
    alice.act("first", "pencil").await;
    type_instead(&alice, "first, mended").await;
    react(&bob, "third", "thumbs up").await;
    react(&alice, "third", "thumbs up").await;
    react(&alice, "third", "tada").await;
    alice.act("secret", "trash").await;
    alice.until_true("is asked", "document.querySelector('#delete').open").await;
    alice.until_true("is told which", "document.querySelector('#delete-text').textContent === 'alice: secret'").await;
    alice.click("#delete-submit").await;

    let wanted = json!([
        ["1", "first, mended", null, null, "edited", []],
        ["2", null, "This message was deleted.", null, null, []],
        ["3", "third", null, null, null, [["👍", "2"], ["🎉", "1"]]],
        ["4", "I agree", null, "Reply to alice first, mended", null, []],
    ]);
    for browser in [&alice, &bob] {
        until_rows(browser, &wanted).await;
    }
    for (browser, name) in [(&alice, "alice"), (&bob, "bob")] {
        browser.driver.refresh().await.unwrap();
        browser.until_in(name).await;
        until_rows(browser, &wanted).await;
    }
    let names = "return document.querySelector('.reaction').title";
    assert_eq!(alice.run(names, vec![]).await, json!("you and bob"));

    // A click on a reaction takes it back, or joins in.
    alice.click("[data-emoji='👍']").await;
    bob.click("[data-emoji='🎉']").await;
    let reactions = json!([["👍", "1"], ["🎉", "2"]]);
    for browser in [&alice, &bob] {
        browser
            .until_true(
                "they are counted",
                &format!("JSON.stringify((() => {{ {ROWS} }})()[2][5]) === {}", json!(reactions.to_string())),
            )
            .await;
    }
    bob.click(".quote").await;
    bob.until_true("the quote leads to its message", "document.activeElement.dataset.seq === '1'").await;
    let offered = "(() => { const row = document.querySelector('[data-seq=\"1\"]'); row.dispatchEvent(new PointerEvent('pointermove', { bubbles: true })); \
        return [...row.querySelectorAll('.actions button')].filter((button) => !button.hidden).map((button) => button.dataset.action).join(); })()";
    assert_eq!(
        bob.run(&format!("return {offered}"), vec![]).await,
        json!("smile,reply"),
        "the message of another client"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_was_cut_off_during_changes_ends_equal() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let proxy = Proxy::start(server.address()).await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    let bob = Browser::enter(&driver, &proxy.page(), "bob").await;
    for text in ["first", "secret"] {
        alice.say(text).await;
    }
    bob.until_last(&["first", "secret"]).await;
    bob.act("first", "reply").await;
    proxy.cut();
    bob.until_true("notices", "!document.querySelector('#status').hidden").await;
    react(&alice, "first", "fire").await;
    alice.act("secret", "trash").await;
    alice.click("#delete-submit").await;
    alice.say("late").await;
    alice.until_last(&["first", "late"]).await;
    alice.act("late", "pencil").await;
    type_instead(&alice, "late, mended").await;
    alice.until_last(&["first", "late, mended"]).await;
    // Written without a connection.
    bob.say("yes").await;
    proxy.restore();
    let wanted = json!([
        ["1", "first", null, null, null, [["🔥", "1"]]],
        ["2", null, "This message was deleted.", null, null, []],
        ["5", "late, mended", null, null, "edited", []],
        ["7", "yes", null, "Reply to alice first", null, []],
    ]);
    for browser in [&bob, &alice] {
        until_rows(browser, &wanted).await;
    }
    assert_eq!(rows(&alice).await, rows(&bob).await);
}

/// A node of a chat of several.
async fn node(nats: &Nats, name: &str) -> TestServer {
    let variables = [("CHAT_HISTORY", "sqlite"), ("CHAT_NATS_URL", &nats.url()), ("CHAT_NODE_NAME", name)];
    let node = TestServer::start(&variables);
    node.is_ready().await;
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn three_pages_show_the_same_after_changes_a_cut_and_the_death_of_a_node() {
    let nats = Nats::start().await;
    let (mut first, second) = (node(&nats, "first").await, node(&nats, "second").await);
    let driver = Driver::start().await;
    let (of_alice, of_carol) = (Proxy::start(first.address()).await, Proxy::start(first.address()).await);
    let alice = Browser::enter(&driver, &of_alice.page(), "alice").await;
    let bob = Browser::enter(&driver, &second.page(), "bob").await;
    let carol = Browser::enter(&driver, &of_carol.page(), "carol").await;
    for text in ["first", "secret", "third"] {
        alice.say(text).await;
    }
    for browser in [&bob, &carol] {
        browser.until_last(&["first", "secret", "third"]).await;
    }
    of_carol.cut();
    carol.until_true("notices", "!document.querySelector('#status').hidden").await;
    alice.act("first", "pencil").await;
    type_instead(&alice, "first, mended").await;
    bob.until_last(&["first, mended", "secret", "third"]).await;
    react(&bob, "third", "tada").await;

    first.kill();
    of_alice.lead_to(second.address());
    react(&alice, "third", "tada").await;
    alice.act("secret", "trash").await;
    alice.click("#delete-submit").await;
    bob.act("first, mended", "reply").await;
    bob.say("I agree").await;
    // Written without a connection.
    carol.say("late").await;
    of_carol.lead_to(second.address());
    of_carol.restore();
    // The two messages may come in either order, and their seqs depend on the order of all changes.
    let wanted =
        json!([["first, mended", null, []], [null, "This message was deleted.", []], ["third", null, [["🎉", "2"]]],]);
    let all_came = format!(
        "(() => {{ const rows = (() => {{ {ROWS} }})(); const texts = rows.slice(3).map((row) => row[1]).sort(); \
            return JSON.stringify(rows.slice(0, 3).map((row) => [row[1], row[2], row[5]])) === {} \
                && JSON.stringify(texts) === {}; }})()",
        json!(wanted.to_string()),
        json!(json!(["I agree", "late"]).to_string())
    );
    carol.until_true("every change and message came", &all_came).await;
    let shown = rows(&carol).await;
    for browser in [&alice, &bob] {
        until_rows(browser, &shown).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_changed_with_the_keyboard_alone() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    for text in ["one", "two"] {
        alice.say(text).await;
    }
    alice.until_last(&["one", "two"]).await;
    let is_focused = async |what: &str, condition: &str| {
        alice
            .until_true(what, &format!("(() => {{ const active = document.activeElement; return {condition}; }})()"))
            .await;
    };

    // The newest message, from the empty text field.
    alice.keys(&UP.to_string()).await;
    is_focused("the editor", "active.closest('.editor') && active.value === 'two'").await;
    alice.keys(&format!(" and a half{ENTER}")).await;
    alice.until_last(&["one", "two and a half"]).await;
    is_focused("the text field again", "active.id === 'composer-text'").await;
    alice.keys(&UP.to_string()).await;
    alice.keys(&format!(" no{ESCAPE}")).await;
    alice.until_last(&["one", "two and a half"]).await;

    alice.run("document.querySelector('#messages').focus()", vec![]).await;
    alice.keys(&UP.to_string()).await;
    is_focused("the newest message", "active.dataset.seq === '2'").await;
    alice.keys(&format!("{UP}{DOWN}{UP}")).await;
    is_focused("the one before", "active.dataset.seq === '1'").await;
    alice.keys(&format!("{ENTER}")).await;
    is_focused("its actions", "active.dataset.action === 'smile'").await;
    alice.keys(&format!("{ENTER}")).await;
    is_focused("the emoji", "active.id === 'react-search'").await;
    alice.keys(&format!("rocket{ENTER}")).await;
    alice.until_true("it is there", "document.querySelector('[data-seq=\"1\"] [data-emoji=\"🚀\"]') !== null").await;
    is_focused("the actions again", "active.dataset.action === 'smile'").await;
    alice.keys(&format!("{ESCAPE}")).await;
    is_focused("the message again", "active.dataset.seq === '1'").await;
    alice.keys(&format!("{TAB}")).await;
    is_focused("its reaction", "active.dataset.emoji === '🚀'").await;
    alice.keys(&format!("{ENTER}")).await;
    alice.until_true("it is gone", "document.querySelector('[data-emoji]') === null").await;
    is_focused("the message again", "active.dataset.seq === '1'").await;
    alice.keys(&format!("{ENTER}{RIGHT}{ENTER}")).await;
    is_focused("the text field", "active.id === 'composer-text'").await;
    alice.keys(&format!("a reply{ENTER}")).await;
    alice.until_true("it is one", "document.querySelector('.quote')?.textContent === 'Reply to alice one'").await;
    alice.run("document.querySelector('#messages').focus()", vec![]).await;
    alice.keys(&format!("{UP}{ENTER}{RIGHT}{RIGHT}{RIGHT}{ENTER}")).await;
    is_focused(
        "the question, with the harmless answer",
        "active.closest('#delete') && active.textContent === 'Keep it'",
    )
    .await;
    alice.keys(&format!("{TAB}{ENTER}")).await;
    alice.until_true("it is deleted", "document.querySelector('.deleted') !== null").await;
    alice.keys(&format!("{ESCAPE}")).await;
    is_focused("the text field", "active.id === 'composer-text'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_change_is_told_and_its_text_is_kept() {
    let server = TestServer::start(&[("CHAT_MESSAGE_BYTES", "100")]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    alice.say("short").await;
    alice.until_last(&["short"]).await;
    alice.act("short", "pencil").await;
    let long = "long".repeat(30);
    type_instead(&alice, &long).await;
    alice
        .until_true(
            "is told why",
            "document.querySelector('.editor .refusal').textContent.includes('at most 100 bytes')",
        )
        .await;
    assert_eq!(alice.run("return document.querySelector('.editor textarea').value", vec![]).await, json!(long));
    type_instead(&alice, "fits").await;
    alice.until_last(&["fits"]).await;
}
