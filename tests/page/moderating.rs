//! An operator mutes, bans and changes the settings of rooms from the page, with the mouse and with the keyboard; the
//! others see why.

use serde_json::json;
use test_kit::Program;
use test_kit::token::{self, JWT};

use crate::harness::keys::{DOWN, ENTER, ESCAPE, RIGHT, TAB, UP};
use crate::harness::{Browser, Driver, TestServer};

/// A page that has entered with a token.
async fn enter(driver: &Driver, server: &TestServer, arguments: &[&str]) -> Browser {
    let token = token::issue(&Program::new(env!("CARGO_BIN_EXE_starling")), arguments);
    let browser = Browser::open(driver, &server.page()).await;
    browser.take_name("somebody").await;
    browser.until_true("is asked for a token", "!document.querySelector('#enter-token-field').hidden").await;
    let enter = "document.querySelector('#enter-token').value = arguments[0]; \
        document.querySelector('#enter-form').requestSubmit();";
    browser.run(enter, vec![json!(token)]).await;
    browser.until_in(arguments[0]).await;
    browser
}

async fn until_text(browser: &Browser, selector: &str, text: &str) {
    let holds = format!("document.querySelector('{selector}')?.textContent.includes({})", json!(text));
    browser.until_true(&format!("{selector} says {text:?}"), &holds).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_mutes_takes_it_back_slows_down_and_bans_and_the_client_sees_why() {
    let server = TestServer::start(&JWT);
    let driver = Driver::start().await;
    let olga = enter(&driver, &server, &["olga", "--admin"]).await;
    let bob = enter(&driver, &server, &["bob"]).await;
    bob.say("buy this").await;
    olga.say("hello bob").await;
    olga.until_last(&["buy this", "hello bob"]).await;
    bob.until_last(&["buy this", "hello bob"]).await;

    let offered = "(() => { const row = document.querySelector('[data-seq=\"SEQ\"]'); row.dispatchEvent(new PointerEvent('pointermove', { bubbles: true })); \
        return [...row.querySelectorAll('.actions button')].some((button) => !button.hidden && button.dataset.action === 'shield'); })()";
    for (browser, seq, is_offered) in [(&olga, "1", true), (&olga, "2", false), (&bob, "2", false)] {
        let offered = browser.run(&format!("return {}", offered.replace("SEQ", seq)), vec![]).await;
        assert_eq!(offered, json!(is_offered), "{seq}");
    }

    olga.act("buy this", "shield").await;
    until_text(&olga, "#moderate-text", "bob: buy this").await;
    olga.run("document.querySelector('#moderate-reason').value = 'no ads'", vec![]).await;
    olga.click("#moderate-submit").await;
    until_text(&olga, "#moderate-note", "bob is muted.").await;
    until_text(&olga, "#moderate-held", "Muted in #lobby until").await;
    bob.say("buy that").await;
    until_text(&bob, ".refusal", "Not sent: you are muted in the room lobby: no ads; it ends ").await;

    olga.click("#moderate-held button").await;
    until_text(&olga, "#moderate-note", "bob is no longer muted in #lobby.").await;
    olga.until_true("nothing holds", "document.querySelector('#moderate-held').childElementCount === 0").await;
    bob.click_text("Send again").await;
    bob.until_last(&["buy this", "hello bob", "buy that"]).await;

    olga.click("#moderate [data-close]").await;
    olga.click("#room-settings-button").await;
    choose(&olga, "#room-slow", "300").await;
    olga.click("#room-save").await;
    until_text(&olga, "#room-note", "The settings of #lobby are saved.").await;
    olga.click("#room-settings [data-close]").await;
    bob.say("one").await;
    bob.until_last(&["buy that", "one"]).await;
    bob.say("two").await;
    until_text(&bob, ".refusal", "a client may write here once in 5m").await;

    // A command decides as well; a person without the right is told so, and publishes nothing.
    bob.say("/slow off").await;
    until_text(&bob, "#toast", "Only operators may do that").await;
    // The driver types where it clicks, after a dialog.
    olga.click("#composer-text").await;
    olga.say("/ban bob everywhere 7d no ads at all").await;
    until_text(
        &bob,
        "#status-text",
        "An operator has banned you from the chat (you are banned on this server: no ads at all).",
    )
    .await;
    until_text(&bob, "#status-text", "). It ends on ").await;
    bob.driver.refresh().await.unwrap();
    until_text(&bob, "#status-text", "An operator has banned you from the chat").await;
    until_text(&bob, "#status-text", "). It ends on ").await;
    assert_eq!(olga.texts().await, ["buy this", "hello bob", "buy that", "one"]);
}

/// Writes a value into a field of the form, once the form shows what holds.
async fn choose(browser: &Browser, selector: &str, value: &str) {
    browser.until_true("the form is filled", "!document.querySelector('#room-save').disabled").await;
    browser.run(&format!("document.querySelector('{selector}').value = arguments[0]"), vec![json!(value)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sets_a_room_and_invites_and_the_others_see_the_topic_and_why_they_may_not_write_or_be_there() {
    let server = TestServer::start(&JWT);
    let driver = Driver::start().await;
    let olga = enter(&driver, &server, &["olga", "--admin"]).await;
    let bob = enter(&driver, &server, &["bob"]).await;
    for browser in [&olga, &bob] {
        browser.say("/join dev").await;
        until_text(browser, "#title", "dev").await;
    }
    assert_eq!(bob.run("return document.querySelector('#room-settings-button').hidden", vec![]).await, json!(true));
    bob.say("hello").await;
    bob.until_last(&["hello"]).await;
    olga.click("#room-settings-button").await;
    until_text(&olga, "#room-settings-heading", "Settings of #dev").await;
    choose(&olga, "#room-topic", "the next release").await;
    choose(&olga, "#room-writers", "operators").await;
    choose(&olga, "#room-days", "30").await;
    olga.click("#room-save").await;
    until_text(&olga, "#room-note", "The settings of #dev are saved.").await;
    assert_eq!(olga.run("return document.querySelector('#room-days').value", vec![]).await, json!("30"));
    until_text(&bob, "#subtitle", "the next release").await;
    let refused = "(() => { const field = document.querySelector('#composer-text'); \
        return field.disabled && field.placeholder === 'Only operators may write in #dev'; })()";
    bob.until_true("the field is disabled, with the reason", refused).await;
    let offered = "(() => { const row = document.querySelector('#rows .message'); \
        row.dispatchEvent(new PointerEvent('pointermove', { bubbles: true })); \
        return [...row.querySelectorAll('.actions button')].filter((button) => !button.hidden).map((button) => button.dataset.action).join(); })()";
    assert_eq!(bob.run(&format!("return {offered}"), vec![]).await, json!("trash"), "its own message");
    let is_open = olga.run("return document.querySelector('#composer-text').disabled", vec![]).await;
    assert_eq!(is_open, json!(false), "an operator may write");

    // An invited client stays when the room becomes private, and leaves when the invitation is taken back.
    olga.run("document.querySelector('#room-invite').value = 'bob'", vec![]).await;
    olga.click("#room-invite-form button").await;
    until_text(&olga, "#room-invited", "bob").await;
    choose(&olga, "#room-access", "invited").await;
    choose(&olga, "#room-writers", "everyone").await;
    olga.click("#room-save").await;
    bob.until_true("the field is enabled again", "!document.querySelector('#composer-text').disabled").await;
    olga.click("#room-invited button").await;
    until_text(&bob, "#messages-top", "You are not in this room: the room dev is private, and you are not invited")
        .await;
    olga.until_true("nobody is invited", "document.querySelector('#room-invited').childElementCount === 0").await;
    let unlabelled = "return [...document.querySelectorAll('#room-settings :is(input, select, button)')] \
        .filter((part) => part.checkVisibility() && !part.labels?.length && !part.getAttribute('aria-label') && !part.textContent.trim()).length";
    assert_eq!(olga.run(unlabelled, vec![]).await, json!(0));

    // The same as commands.
    olga.click("#room-settings [data-close]").await;
    olga.click("#composer-text").await;
    olga.say("/topic off").await;
    olga.until_true("the topic is gone", "!document.querySelector('#subtitle').textContent.includes('release')").await;
    olga.say("/invite bob").await;
    until_text(&olga, "#toast", "Done").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_bans_from_a_room_with_the_keyboard_alone() {
    let server = TestServer::start(&JWT);
    let driver = Driver::start().await;
    let olga = enter(&driver, &server, &["olga", "--admin"]).await;
    let bob = enter(&driver, &server, &["bob"]).await;
    bob.say("buy this").await;
    olga.until_last(&["buy this"]).await;
    olga.run("document.querySelector('#messages').focus()", vec![]).await;
    olga.keys(&format!("{UP}{ENTER}{RIGHT}{RIGHT}{RIGHT}{RIGHT}")).await;
    olga.until_true("it has a name", "document.activeElement.getAttribute('aria-label') === 'Mute or ban'").await;
    olga.keys(&ENTER.to_string()).await;
    olga.until_true("the first choice has the focus", "document.activeElement.name === 'measure'").await;
    olga.keys(&format!("{DOWN}{TAB}{TAB}{TAB}no ads{ENTER}")).await;
    until_text(&olga, "#moderate-note", "bob is banned.").await;
    until_text(&bob, "#messages-top", "You are not in this room: you are banned in the room lobby: no ads").await;
    let unlabelled = "return [...document.querySelectorAll('#moderate :is(input, select, button)')] \
        .filter((part) => part.checkVisibility() && !part.labels?.length && !part.getAttribute('aria-label') && !part.textContent.trim()).length";
    assert_eq!(olga.run(unlabelled, vec![]).await, json!(0));
    olga.keys(&ESCAPE.to_string()).await;
    olga.until_true("it is closed", "!document.querySelector('#moderate').open").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_is_told_that_older_messages_are_not_shown_and_sees_them_when_they_are() {
    let server = TestServer::start(&JWT);
    let driver = Driver::start().await;
    let olga = enter(&driver, &server, &["olga", "--admin"]).await;
    olga.say("before").await;
    olga.until_last(&["before"]).await;
    olga.say("/newcomers off").await;
    until_text(&olga, "#toast", "Done").await;
    let bob = enter(&driver, &server, &["bob"]).await;
    until_text(&bob, "#messages-top", "Messages before you joined are not shown.").await;
    olga.say("after").await;
    bob.until_last(&["after"]).await;
    olga.until_true("an operator sees all", "document.querySelectorAll('#rows .message').length === 2").await;
    until_text(&olga, "#messages-top", "This is the beginning of #lobby.").await;
    olga.say("/newcomers on").await;
    bob.until_last(&["before", "after"]).await;
    until_text(&bob, "#messages-top", "This is the beginning of #lobby.").await;
}
