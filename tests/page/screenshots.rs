//! Pictures of the page, for people to look at: three widths, light and dark, in `target/screenshots/`.

use std::path::Path;

use serde_json::json;

use crate::harness::{Browser, Driver, TestServer};

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one visit of the page, from its start to its end")]
async fn the_page_at_three_widths_in_light_and_dark() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let alice = Browser::open(&driver, &server.page()).await;
    let take = async |name: &str| {
        let png = alice.driver.screenshot_as_png().await.unwrap();
        std::fs::write(folder.join(format!("{name}.png")), png).unwrap();
    };
    for scheme in ["light", "dark"] {
        alice.resize(1280, 800, scheme).await;
        take(&format!("enter-{scheme}")).await;
    }
    alice.take_name("alice").await;
    alice.until_in("alice").await;
    let script = "const talk = arguments[0]; const sockets = window.sockets = {}; \
        for (const name of ['bob', 'carol', 'dieter', 'eve.polastri', 'fatima', 'Grzegorz', 'hina']) { \
          sockets[name] = new WebSocket(`ws://${location.host}/ws?clientId=${name}`); } \
        const ready = Object.values(sockets).map((socket) => new Promise((done) => { socket.onmessage = done; })); \
        Promise.all(ready).then(async () => { for (const [name, text, where] of talk) { \
          if (where) sockets[name].send(JSON.stringify({ type: 'join', room: 'deploys' })); \
          sockets[name].send(JSON.stringify(where ? { Message: text, ...where } : { Message: text })); \
          await new Promise((done) => { const look = () => where?.to || [...document.querySelectorAll('#rows .text')].length >= 0 ? setTimeout(done, 30) : setTimeout(look, 10); look(); }); } \
          window.talked = true; });";
    alice.click("#browse-button").await;
    alice.keys("deploys\u{e007}").await;
    alice.until_true("in deploys", "document.querySelector('#title').textContent === '#deploys'").await;
    alice.click("[data-key='#lobby']").await;
    let talk = json!([
        ["bob", "Good morning! The new release is on the test server."],
        ["bob", "The list of changes is here: https://example.org/releases?version=2.4"],
        ["carol", "👍🎉✨"],
        ["dieter", "Thanks. The search is much faster than last week."],
        ["eve.polastri", "Does a message still go once to each worker, and not once to each member? I want to describe it correctly in the manual."],
        ["bob", "Yes.\n```\nsocket ─ Session ──▶ ChatServer ──▶ history ──▶ Hub\n```\nand `seq` is the number of the message in its room."],
        ["Grzegorz", "مرحبا بالجميع، صباح الخير"],
        ["hina", "@alice are you coming to the meeting at two?"],
        ["carol", "tests are green", {"room": "deploys"}],
        ["fatima", "Do you have a minute?", {"to": "alice"}],
        ["carol", "I will bring coffee ☕"]
    ]);
    alice.run(script, vec![talk]).await;
    alice.until_true("they have talked", "window.talked === true").await;
    alice.until_last(&["I will bring coffee ☕"]).await;
    alice.until_true("all are here", "document.querySelector('#subtitle').textContent === '8 members'").await;
    alice.say("Of course, I would not miss it.").await;
    alice.until_last(&["Of course, I would not miss it."]).await;
    let changes = "const say = (name, frame) => window.sockets[name].send(JSON.stringify({ room: 'lobby', ...frame })); \
        const seqOf = (part) => Number([...document.querySelectorAll('#rows [data-seq]')].find((row) => row.textContent.includes(part)).dataset.seq); \
        for (const name of ['bob', 'carol', 'hina']) say(name, { type: 'react', of: seqOf('Thanks.'), emoji: '👍' }); \
        say('eve.polastri', { type: 'react', of: seqOf('Thanks.'), emoji: '🎉' }); \
        say('carol', { type: 'delete', of: seqOf('👍🎉✨') }); \
        say('bob', { type: 'edit', of: seqOf('Good morning'), Message: 'Good morning! The new release is on the test server, build 7.' }); \
        say('hina', { Message: 'Great, room 4.', replyTo: seqOf('Of course') }); \
        for (const name of ['dieter', 'fatima']) say(name, { type: 'typing' });";
    alice.run(changes, vec![]).await;
    alice.until_last(&["Great, room 4."]).await;
    alice.until_true("they type", "document.querySelector('#typing').textContent !== ''").await;
    take("changed-dark").await;
    for (name, width, height) in [("phone", 390, 844), ("tablet", 820, 1100), ("wide", 1440, 900)] {
        for scheme in ["light", "dark"] {
            alice.resize(width, height, scheme).await;
            take(&format!("lobby-{name}-{scheme}")).await;
        }
    }
    alice.resize(390, 844, "light").await;
    alice.run("document.querySelector('#menu-button').click()", vec![]).await;
    alice.until_true("the drawer is open", "document.querySelector('#sidebar').getAnimations().length === 0").await;
    take("menu-phone-light").await;
    alice.run("document.querySelector('#backdrop').click()", vec![]).await;
    alice.resize(1440, 900, "dark").await;
    for dialog in ["browse", "by-hand", "settings"] {
        alice.run("document.querySelector(`#${arguments[0]}-button`).click()", vec![json!(dialog)]).await;
        if dialog == "browse" {
            alice.until_true("rooms are listed", "document.querySelector('#browse-list').children.length > 0").await;
        }
        take(&format!("{dialog}-wide-dark")).await;
        alice.run("document.querySelector(`#${arguments[0]}`).close()", vec![json!(dialog)]).await;
    }
    let point = "[...document.querySelectorAll('#rows .message')].at(arguments[0]).dispatchEvent(new PointerEvent('pointermove', { bubbles: true })); \
        document.querySelector(`.actions [data-action=\"${arguments[1]}\"]`).click()";
    for (name, width, height, scheme) in [("wide", 1440, 900, "light"), ("phone", 390, 844, "dark")] {
        alice.resize(width, height, scheme).await;
        alice.run(point, vec![json!(-1), json!("reply")]).await;
        alice.run(point, vec![json!(-1), json!("smile")]).await;
        take(&format!("react-{name}-{scheme}")).await;
        alice.keys("\u{e00c}").await;
        alice.run(point, vec![json!(-2), json!("pencil")]).await;
        take(&format!("edit-{name}-{scheme}")).await;
        alice.keys("\u{e00c}").await;
        alice.run(point, vec![json!(-2), json!("trash")]).await;
        take(&format!("delete-{name}-{scheme}")).await;
        alice
            .run(
                "document.querySelector('#delete').close(); document.querySelector('#composer-reply-end').click()",
                vec![],
            )
            .await;
    }
    alice.resize(1440, 900, "light").await;
    alice.run("document.querySelector('#emoji-button').click()", vec![]).await;
    take("emoji-wide-light").await;
    alice.run("document.querySelector('#emoji-button').click()", vec![]).await;
    alice.click("#composer-text").await;
    alice.keys("/").await;
    alice.until_true("commands are offered", "!document.querySelector('#completion').hidden").await;
    take("commands-wide-light").await;
    alice.keys("\u{e003}").await;
    alice.click("[data-key='#deploys']").await;
    alice.until_last(&["tests are green"]).await;
    take("new-wide-light").await;
    alice.click("[data-key='#lobby']").await;
    alice.click("#member-list button[title='Write to bob in private']").await;
    alice.say("Are you there?").await;
    alice.until_last(&["Are you there?"]).await;
    drop(server);
    alice.until_true("no connection", "document.querySelector('#status').dataset.state === 'waiting'").await;
    alice.say("Hm.").await;
    take("lost-wide-light").await;
    alice.click("[data-key='#lobby']").await;
    take("lost-lobby-wide-light").await;
}
