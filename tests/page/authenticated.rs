//! A server that authenticates names asks the page for a token.

use serde_json::json;
use test_kit::Program;
use test_kit::token::{self, JWT};

use crate::harness::keys::ENTER;
use crate::harness::{Browser, Driver, TestServer};

pub(crate) fn token(arguments: &[&str]) -> String {
    token::issue(&Program::new(env!("CARGO_BIN_EXE_starling")), arguments)
}

/// Shows a token when the page asks for it.
pub(crate) async fn show(browser: &Browser, token: &str) {
    browser.until_true("is asked for a token", "!document.querySelector('#enter-token-field').hidden").await;
    let enter = "document.querySelector('#enter-token').value = arguments[0]; \
        document.querySelector('#enter-form').requestSubmit();";
    browser.run(enter, vec![json!(token)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_needs_a_token_asks_for_it_and_again_when_it_is_bad_or_has_expired() {
    let server = TestServer::start(&JWT);
    let driver = Driver::start().await;
    let alice = Browser::open(&driver, &server.page()).await;
    alice.take_name("somebody").await;
    show(&alice, "x.y.z").await;
    let problem = "document.querySelector('#enter-problem').textContent";
    alice.until_true("is told that it is bad", &format!("{problem}.includes('not valid')")).await;
    // The name comes from the token.
    show(&alice, &token(&["alice", "--seconds", "8"])).await;
    alice.until_in("alice").await;
    alice.say("here I am").await;
    alice.until_last(&["here I am"]).await;
    alice.until_true("is told that it has expired", &format!("{problem}.includes('expired')")).await;
    show(&alice, &token(&["alice"])).await;
    alice.until_in("alice").await;
    alice.say("and again").await;
    alice.until_last(&["here I am", "and again"]).await;
    assert_eq!(alice.texts().await, ["here I am", "and again"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_keeps_the_token_and_private_conversations_come_back_from_the_inbox() {
    let server = TestServer::start(&JWT);
    let driver = Driver::start().await;
    let alice = Browser::open(&driver, &server.page()).await;
    alice.take_name("somebody").await;
    alice.until_true("the token is asked for", "document.activeElement.id === 'enter-token'").await;
    let asked = "const [token, name] = ['token', 'name'].map((id) => document.querySelector(`#enter-${id}`)); \
        return [token.getAttribute('aria-invalid'), name.getAttribute('aria-invalid'), name.checkVisibility(), \
        document.querySelector('#enter-problem').textContent]";
    let paste = "This server needs a token. Paste yours here.";
    assert_eq!(alice.run(asked, vec![]).await, json!(["true", "false", false, paste]));
    show(&alice, &token(&["alice"])).await;
    alice.until_in("alice").await;
    let bob = Browser::open(&driver, &server.page()).await;
    bob.take_name("somebody").await;
    show(&bob, &token(&["bob"])).await;
    bob.until_in("bob").await;
    bob.say("/msg alice one").await;
    bob.until_last(&["one"]).await;
    alice.click("[data-key='@bob']").await;
    alice.until_last(&["one"]).await;
    alice.say("two").await;
    bob.until_last(&["one", "two"]).await;

    for page in [&alice, &bob] {
        page.driver.refresh().await.unwrap();
    }
    alice.until_in("alice").await;
    bob.until_in("bob").await;
    for (page, other) in [(&alice, "bob"), (&bob, "alice")] {
        page.click(&format!("[data-key='@{other}']")).await;
        page.until_last(&["one", "two"]).await;
        assert_eq!(page.texts().await, ["one", "two"]);
    }
    bob.say("three").await;
    alice.until_last(&["one", "two", "three"]).await;
    // Another tab is another visit: it is asked again, and has the conversation as well.
    let address = alice.run("return location.href", vec![]).await;
    let tab = alice.driver.new_tab().await.unwrap();
    alice.driver.switch_to_window(tab).await.unwrap();
    alice.driver.goto(address.as_str().unwrap()).await.unwrap();
    alice.take_name("somebody").await;
    show(&alice, &token(&["alice"])).await;
    alice.until_in("alice").await;
    alice.until_last(&["one", "two", "three"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn private_messages_are_changed_and_an_operator_changes_those_of_others() {
    let server = TestServer::start(&JWT);
    let driver = Driver::start().await;
    let enter = async |name: &str, more: &[&str]| {
        let browser = Browser::open(&driver, &server.page()).await;
        browser.take_name("somebody").await;
        show(&browser, &token(&[&[name], more].concat())).await;
        browser.until_in(name).await;
        browser
    };
    let alice = enter("alice", &[]).await;
    let bob = enter("bob", &["--admin"]).await;
    alice.say("in the lobby").await;
    bob.until_last(&["in the lobby"]).await;
    bob.act("in the lobby", "pencil").await;
    bob.keys(&format!(", mended by bob{ENTER}")).await;
    alice.until_last(&["in the lobby, mended by bob"]).await;

    alice.say("/msg bob psst").await;
    bob.click("[data-key='@alice']").await;
    bob.until_last(&["psst"]).await;
    bob.act("psst", "reply").await;
    bob.say("what?").await;
    alice.until_last(&["psst", "what?"]).await;
    alice.act("psst", "pencil").await;
    alice.keys(&format!(", you{ENTER}")).await;
    alice.act("what?", "smile").await;
    alice.keys(&format!("eyes{ENTER}")).await;
    bob.act("what?", "trash").await;
    bob.click("#delete-submit").await;
    let shown = "JSON.stringify([...document.querySelectorAll('#rows .message')].map((row) => [...row.querySelectorAll( \
        '.text, .quote, .deleted')].map((part) => part.textContent))) === \
        '[[\"psst, you\"],[\"Reply to alice psst, you\",\"This message was deleted.\"]]'";
    for (browser, name) in [(&alice, "alice"), (&bob, "bob")] {
        browser.until_true("both see the same", shown).await;
        browser.driver.refresh().await.unwrap();
        browser.until_in(name).await;
        browser.until_true("also after a reload", shown).await;
    }
}
