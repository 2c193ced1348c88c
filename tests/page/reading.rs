//! How far a person has read: the same after a reload and in two tabs, and seen by others where the server tells it.

use serde_json::json;
use test_kit::token::JWT;

use crate::authenticated::{show, token};
use crate::harness::{Browser, Driver, TestServer};

/// The text of the badge of a conversation, without the text for screen readers; empty: nothing is unread.
fn badge(key: &str) -> String {
    format!("(document.querySelector('[data-key=\"{key}\"] .badge:not([hidden]) [aria-hidden]')?.textContent ?? '')")
}

async fn unread(browser: &Browser, key: &str, wanted: &str) {
    browser.until_true(&format!("{wanted:?} unread in {key}"), &format!("{} === '{wanted}'", badge(key))).await;
}

/// Whether the tab has the focus, as far as the page can see.
async fn focus(browser: &Browser, has_focus: bool) {
    let event = if has_focus { "focus" } else { "blur" };
    let script = format!("document.hasFocus = () => {has_focus}; dispatchEvent(new Event('{event}'));");
    browser.run(&script, vec![]).await;
}

/// Opens a page whose person shows a token.
async fn enter(driver: &Driver, server: &TestServer, name: &str) -> Browser {
    let browser = Browser::open(driver, &server.page()).await;
    browser.take_name("somebody").await;
    show(&browser, &token(&[name])).await;
    browser.until_in(name).await;
    browser
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_counts_survive_a_reload_and_are_equal_in_two_tabs() {
    let server = TestServer::start(&JWT);
    let driver = Driver::start().await;
    let desk = enter(&driver, &server, "alice").await;
    let phone = enter(&driver, &server, "alice").await;
    let bob = enter(&driver, &server, "bob").await;
    for browser in [&desk, &bob] {
        browser.say("/join dev").await;
        browser.until_true("is in dev", "document.querySelector('#title').textContent === '#dev'").await;
    }
    phone.say("/join dev").await;
    bob.say("one").await;
    for browser in [&desk, &phone] {
        browser.until_last(&["one"]).await;
        browser.click("[data-key='#lobby']").await;
    }
    for text in ["two", "three"] {
        bob.say(text).await;
    }
    bob.say("/msg alice psst").await;
    for browser in [&desk, &phone] {
        unread(browser, "#dev", "2").await;
        unread(browser, "@bob", "1").await;
    }
    desk.driver.refresh().await.unwrap();
    desk.until_in("alice").await;
    unread(&desk, "#dev", "2").await;
    unread(&desk, "@bob", "1").await;

    // Read in one tab, read in the other, each conversation by itself.
    desk.click("[data-key='#dev']").await;
    desk.until_last(&["one", "two", "three"]).await;
    let line = "[...document.querySelectorAll('#rows .message')].find((row) => row.querySelector('.new-line')) \
        ?.querySelector('.text').textContent === 'two'";
    desk.until_true("a line above the first unread message", line).await;
    for browser in [&desk, &phone] {
        unread(browser, "#dev", "").await;
        unread(browser, "@bob", "1").await;
    }
    phone.click("[data-key='@bob']").await;
    for browser in [&phone, &desk] {
        unread(browser, "@bob", "").await;
    }

    // A tab without the focus reads nothing, even if it shows the messages.
    focus(&desk, false).await;
    bob.click("[data-key='#dev']").await;
    bob.say("four").await;
    desk.until_last(&["three", "four"]).await;
    for browser in [&desk, &phone] {
        unread(browser, "#dev", "1").await;
    }
    let line = line.replace("'two'", "'four'");
    desk.until_true("the line is above what is new", &line).await;
    focus(&desk, true).await;
    for browser in [&desk, &phone] {
        unread(browser, "#dev", "").await;
        browser.driver.refresh().await.unwrap();
        browser.until_in("alice").await;
    }
    for browser in [&desk, &phone] {
        browser.until_true("the room is loaded", "document.querySelector('[data-key=\"#dev\"]')").await;
        for key in ["#dev", "@bob"] {
            unread(browser, key, "").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tokens_unread_counts_survive_a_reload_too_also_of_messages_that_only_the_tab_has() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    let bob = Browser::enter(&driver, &server.page(), "bob").await;
    bob.say("before alice goes elsewhere").await;
    alice.until_last(&["before alice goes elsewhere"]).await;
    alice.say("/join dev").await;
    alice.until_true("is in dev", "document.querySelector('#title').textContent === '#dev'").await;
    for text in ["one", "two @alice", "three"] {
        bob.say(text).await;
    }
    bob.say("/msg alice psst").await;
    unread(&alice, "#lobby", "@ 3").await;
    unread(&alice, "@bob", "1").await;
    alice.driver.refresh().await.unwrap();
    alice.until_in("alice").await;
    unread(&alice, "#lobby", "@ 3").await;
    unread(&alice, "@bob", "1").await;
    // Another person is not told how far alice has read.
    assert_eq!(bob.run("return document.querySelector('#seen').textContent", vec![]).await, json!(""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_message_says_who_has_seen_it_where_the_server_tells() {
    let server = TestServer::start(&[("CHAT_SEEN_BY", "true")]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    let bob = Browser::enter(&driver, &server.page(), "bob").await;
    let seen = async |browser: &Browser, wanted: &str| {
        let shown = format!("document.querySelector('#seen').textContent === '{wanted}'");
        browser.until_true(&format!("{wanted:?}"), &shown).await;
    };
    alice.say("one").await;
    seen(&alice, "Seen by bob").await;
    focus(&bob, false).await;
    alice.say("two").await;
    bob.until_last(&["one", "two"]).await;
    seen(&alice, "").await;
    focus(&bob, true).await;
    seen(&alice, "Seen by bob").await;
    alice.driver.refresh().await.unwrap();
    alice.until_in("alice").await;
    seen(&alice, "Seen by bob").await;
    bob.say("three").await;
    seen(&bob, "Seen by alice").await;
}
