//! A server that authenticates names asks the page for a token.

use std::process::Command;

use serde_json::json;

use crate::harness::{Browser, Driver, TestServer};

const JWT: [(&str, &str); 2] = [("CHAT_AUTH", "jwt"), ("CHAT_JWT_SECRET", "0123456789abcdef0123456789abcdef")];

fn token(arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_starling"));
    command.current_dir(folder.path()).arg("token").args(arguments).envs(JWT);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
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
