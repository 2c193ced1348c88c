//! A server that authenticates names asks the page for a token.

use serde_json::json;
use test_kit::Program;
use test_kit::token::{self, JWT};

use crate::harness::{Browser, Driver, TestServer};

fn token(arguments: &[&str]) -> String {
    token::issue(&Program::new(env!("CARGO_BIN_EXE_starling")), arguments)
}

async fn show(browser: &Browser, token: &str) {
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
    // The name comes with the token.
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
