//! The page without a mouse, and with a screen reader.

use serde_json::{Value, json};

use crate::harness::keys::{ALT, END, ENTER, ESCAPE, TAB, UP};
use crate::harness::{Browser, Driver, TestServer, tools};

#[tokio::test(flavor = "multi_thread")]
async fn everything_can_be_done_with_the_keyboard_alone() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let bob = Browser::enter(&driver, &server.page(), "bob").await;
    let alice = Browser::open(&driver, &server.page()).await;
    let (enter, tab) = (ENTER.to_string(), TAB.to_string());
    alice.until_true("is asked", "document.activeElement.id === 'enter-name'").await;
    alice.keys(&format!("alice{enter}")).await;
    alice.until_in("alice").await;
    alice.until_true("can write at once", "document.activeElement.id === 'composer-text'").await;
    alice.keys(&format!("with keys{enter}")).await;
    bob.until_last(&["with keys"]).await;

    let reach = async |what: &str, condition: &str| {
        for _ in 0..40 {
            if alice.run(&format!("return Boolean({condition})"), vec![]).await == Value::Bool(true) {
                return;
            }
            alice.keys(&tab).await;
        }
        panic!("the tab key does not reach {what}");
    };
    reach("the rooms' button", "document.activeElement.id === 'browse-button'").await;
    alice.keys(&enter).await;
    alice.until_true("the rooms are open", "document.querySelector('#browse').open").await;
    alice.keys(&format!("dev{enter}")).await;
    alice.until_true("is in dev", "document.querySelector('#title').textContent === '#dev'").await;
    alice.keys(&format!("{ALT}{UP}")).await;
    alice.until_true("is in the lobby again", "document.querySelector('#title').textContent === '#lobby'").await;

    alice.until_true("bob is listed", "document.querySelector('#member-list').textContent.includes('bob')").await;
    reach("the members", "document.activeElement.closest('#member-list')").await;
    alice.keys(&END.to_string()).await;
    alice.until_true("the arrow keys choose", "document.activeElement.title === 'Write to bob in private'").await;
    alice.keys(&enter).await;
    alice.until_true("writes to bob", "document.querySelector('#title').textContent === 'bob'").await;
    alice.keys(&format!("psst{enter}")).await;
    bob.until_true("is called", "document.querySelector('[data-key=\"@alice\"]') !== null").await;

    reach("the emoji", "document.activeElement.id === 'emoji-button'").await;
    alice.keys(&enter).await;
    alice.keys("rocket").await;
    alice.keys(&enter).await;
    alice.until_true("it is written", "document.querySelector('#composer-text').value === '🚀'").await;
    reach("the messages", "document.activeElement.id === 'messages'").await;
    reach("the settings", "document.activeElement.id === 'settings-button'").await;
    alice.keys(&enter).await;
    alice.until_true("the settings are open", "document.querySelector('#settings').open").await;
    alice.keys(&ESCAPE.to_string()).await;
    alice.until_true("and closed, with the focus back", "document.activeElement.id === 'settings-button'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_screen_reader_hears_what_comes_in() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    let bob = Browser::enter(&driver, &server.page(), "bob").await;
    bob.say("can you hear me?").await;
    alice
        .until_true("it is read", "document.querySelector('#announcer').textContent === 'bob: can you hear me?'")
        .await;
    bob.until_true("one's own is not", "document.querySelector('#announcer').textContent === ''").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_nothing_serious() {
    let axe = std::fs::read_to_string(tools::path("node_modules/axe-core/axe.min.js")).unwrap();
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let bob = Browser::enter(&driver, &server.page(), "bob").await;
    bob.say("hello @alice, see https://example.org and `code`").await;
    let alice = Browser::blank(&driver).await;
    // The tool needs inline scripts, which the page forbids.
    alice.devtools("Page.setBypassCSP", json!({ "enabled": true })).await;
    alice.driver.goto(server.page()).await.unwrap();
    alice.run(&axe, vec![]).await;
    let check = async |what: &str| {
        let script = "const done = arguments[0]; axe.run(document, { resultTypes: ['violations'], rules: { 'label-content-name-mismatch': { enabled: true } } }).then( \
            ({ violations }) => done(violations.map(({ id, impact, nodes }) => ({ id, impact, \
            nodes: nodes.map(({ html, any }) => ({ html, why: any.map(({ message }) => message) })) }))), (error) => done(String(error)))";
        let found = alice.driver.execute_async(script, vec![]).await.unwrap().json().clone();
        assert_eq!(found, json!([]), "{what}: {found:#}");
    };
    for scheme in ["light", "dark"] {
        alice.resize(1280, 800, scheme).await;
        check(&format!("asked for a name, {scheme}")).await;
    }
    alice.take_name("alice").await;
    alice.until_in("alice").await;
    alice.until_last(&["hello @alice, see https://example.org and code"]).await;
    for text in ["one", "two", "three"] {
        bob.paste_and_send(text).await;
    }
    alice.say("mine").await;
    bob.until_last(&["three", "mine"]).await;
    // A reaction, a reply, an edit, a deletion, and somebody who types.
    let changes = "const seqOf = (text) => [...document.querySelectorAll('#rows .message')].find((row) => row.querySelector('.text')?.textContent === text).dataset.seq; \
        const act = (text, action) => { const row = document.querySelector(`[data-seq='${seqOf(text)}']`); \
            row.dispatchEvent(new PointerEvent('pointermove', { bubbles: true })); row.querySelector(`[data-action=${action}]`).click(); }; \
        act('one', 'smile'); document.querySelector('#react-grid button').click(); \
        act('two', 'pencil'); document.querySelector('.editor textarea').value = 'two, mended'; document.querySelector('.editor').requestSubmit(); \
        act('three', 'trash'); document.querySelector('#delete-form').requestSubmit(); act('mine', 'reply');";
    bob.run(changes, vec![]).await;
    bob.say("a reply").await;
    alice.until_last(&["two, mended", "mine", "a reply"]).await;
    alice
        .until_true(
            "all changes are there",
            "document.querySelector('.reaction') && document.querySelector('.deleted')",
        )
        .await;
    alice.click("#member-list button[title='Write to bob in private']").await;
    alice.say("psst").await;
    alice.until_last(&["psst"]).await;
    for (width, scheme) in [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")] {
        alice.resize(width, 800, scheme).await;
        for key in ["@bob", "#lobby"] {
            alice.run("document.querySelector(`[data-key=\"${arguments[0]}\"]`).click()", vec![json!(key)]).await;
            check(&format!("{key}, {width} wide, {scheme}")).await;
        }
        for dialog in ["browse", "by-hand", "settings"] {
            alice.run("document.querySelector(`#${arguments[0]}-button`).click()", vec![json!(dialog)]).await;
            check(&format!("{dialog}, {width} wide, {scheme}")).await;
            alice.run("document.querySelector(`#${arguments[0]}`).close()", vec![json!(dialog)]).await;
        }
        alice.run("document.querySelector('#emoji-button').click()", vec![]).await;
        check(&format!("emoji, {width} wide, {scheme}")).await;
        alice.run("document.querySelector('#emoji-button').click()", vec![]).await;
        let point = "const own = [...document.querySelectorAll('#rows .message.own')].at(-1); \
            own.dispatchEvent(new PointerEvent('pointermove', { bubbles: true })); own.querySelector(`[data-action=${arguments[0]}]`).click()";
        for (action, end) in [
            ("smile", "document.querySelector('.actions [data-action=smile]').click()"),
            ("reply", "document.querySelector('#composer-reply-end').click()"),
            ("pencil", "document.querySelector('.editor .plain').click()"),
            ("trash", "document.querySelector('#delete').close()"),
        ] {
            alice.run(point, vec![json!(action)]).await;
            check(&format!("{action}, {width} wide, {scheme}")).await;
            alice.run(end, vec![]).await;
        }
    }
}
