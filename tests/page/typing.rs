//! Commands and completions in the text field.

use serde_json::json;

use crate::harness::keys::{DOWN, ENTER, ESCAPE, TAB};
use crate::harness::{Browser, Driver, TestServer};

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_carried_out_or_refused_and_never_published() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    let bob = Browser::enter(&driver, &server.page(), "bob").await;
    let title = async |wanted: &str| {
        let shown = format!("document.querySelector('#title').textContent === '{wanted}'");
        alice.until_true(wanted, &shown).await;
    };
    let note = async |part: &str| {
        let noted = format!("document.querySelector('#composer-note').textContent.includes('{part}')");
        alice.until_true(part, &noted).await;
    };

    alice.say("/msg bob hey").await;
    title("bob").await;
    alice.until_last(&["hey"]).await;
    bob.click("[data-key='@alice']").await;
    bob.until_last(&["hey"]).await;
    alice.say("/join dev").await;
    title("#dev").await;
    alice.say("/leave").await;
    title("#lobby").await;
    alice.until_true("dev is left", "document.querySelector('[data-key=\"#dev\"]') === null").await;
    alice.say("/rooms").await;
    alice.until_true("the rooms", "document.querySelector('#browse').open").await;
    alice.keys(&ESCAPE.to_string()).await;
    alice.say("/who").await;
    alice.until_true("the members", "document.activeElement.id === 'member-filter'").await;
    alice.say("/help").await;
    alice.until_true("the commands", "document.querySelector('#settings').innerText.includes('/nick')").await;
    alice.keys(&ESCAPE.to_string()).await;
    alice.say("/nick alicia").await;
    alice.until_in("alicia").await;

    for (line, part) in [
        ("/mgs bob secret", "no command /mgs"),
        ("/msg bob", "needs a text"),
        ("/msg no! secret", "needs a name"),
        ("/join", "needs a room"),
        ("/nick guest-1", "assigned by the server"),
        ("/", "no command /"),
    ] {
        alice.paste_and_send(line).await;
        note(part).await;
        let kept = alice.run("return document.querySelector('#composer-text').value", vec![]).await;
        assert_eq!(kept, json!(line), "it can be mended");
    }
    alice.paste_and_send("//join is said with two").await;
    alice.until_last(&["/join is said with two"]).await;
    alice.until_true("the note is gone", "document.querySelector('#composer-note').hidden").await;
    bob.click("[data-key='#lobby']").await;
    bob.until_last(&["/join is said with two"]).await;
    assert_eq!(bob.texts().await, ["/join is said with two"]);

    alice.say("/quit").await;
    alice
        .until_true("has left", "document.querySelector('#status-text').textContent === 'You have left the chat.'")
        .await;
    alice.click_text("Connect now").await;
    alice.until_in("alicia").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_commands_and_emoji_are_completed() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    let _bob = Browser::enter(&driver, &server.page(), "bob").await;
    let _bobby = Browser::enter(&driver, &server.page(), "bobby").await;
    alice.until_true("all are here", "document.querySelector('#subtitle').textContent === '3 members'").await;
    alice.until_true("all are listed", "document.querySelector('#member-list').textContent.includes('bobby')").await;
    let value = async |wanted: &str| {
        let shown = format!("document.querySelector('#composer-text').value === {}", json!(wanted));
        alice.until_true(wanted, &shown).await;
    };
    let offered = async |wanted: &str| {
        let shown = format!(
            "[...document.querySelectorAll('#completion li')].map((option) => option.textContent).join() === {}",
            json!(wanted)
        );
        alice.until_true(wanted, &shown).await;
    };
    alice.click("#composer-text").await;
    alice.keys("hello @bo").await;
    offered("@bob,@bobby").await;
    alice.keys(&format!("{DOWN}{ENTER}")).await;
    value("hello @bobby ").await;
    alice.keys(":rock").await;
    offered("🚀 :rocket:").await;
    alice.keys(&TAB.to_string()).await;
    value("hello @bobby 🚀 ").await;
    alice.keys("@al").await;
    offered("@alice").await;
    alice.keys(&ESCAPE.to_string()).await;
    offered("").await;
    // A complete word is sent unchanged.
    alice.keys(&format!("ice{ENTER}")).await;
    alice.until_last(&["hello @bobby 🚀 @alice"]).await;
    alice.keys("/jo").await;
    offered("/join room · join a room and show it").await;
    alice.keys(&format!("{ENTER}dev{ENTER}")).await;
    alice.until_true("is in dev", "document.querySelector('#title').textContent === '#dev'").await;
}
