//! The lab in a real browser: its content, its access rights, and its appearance.

use std::path::Path;

use serde_json::{Value, json};
use test_kit::Program;
use test_kit::token::{self, JWT};

use crate::harness::keys::{ENTER, TAB};
use crate::harness::{Browser, Driver, TestServer, tools};

fn lab(server: &TestServer) -> String {
    format!("{}lab", server.page())
}

/// Some clients in two rooms that talk until the page is closed, from within this browser.
async fn talk(browser: &Browser, server: &TestServer) {
    browser.driver.goto(server.page()).await.unwrap();
    let script = "const names = ['bob', 'carol', 'dieter', 'eve']; \
        const sockets = names.map((name) => new WebSocket(`ws://${location.host}/ws/${name === 'eve' ? 'deploys' : 'lobby'}?clientId=${name}`)); \
        let open = 0; \
        for (const socket of sockets) socket.onopen = () => { open += 1; window.talks = open === sockets.length; }; \
        setInterval(() => { for (const socket of sockets) if (socket.readyState === 1) socket.send('{\"Message\":\"hello\"}'); }, 150);";
    browser.run(script, vec![]).await;
    browser.until_true("they talk", "window.talks === true").await;
}

const IS_LIVE: &str =
    "document.querySelector('#status').dataset.state === 'live' && !document.querySelector('#figures').hidden";

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_what_limits_the_server_and_what_happens_in_it() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let clients = Browser::blank(&driver).await;
    talk(&clients, &server).await;
    let page = Browser::open(&driver, &lab(&server)).await;
    page.until_true("is live", IS_LIVE).await;
    page.until_true(
        "the sentence is there",
        "document.querySelector('#sentence').textContent.startsWith('Nothing is saturated')",
    )
    .await;
    let has = async |what: &str, condition: &str| page.until_true(what, condition).await;
    let state = "document.querySelector('#verdict-state').textContent";
    has("the bottleneck is named", &format!("{state}.startsWith('bottleneck: none · confidence: 90 %')")).await;
    has("it says what would show that this is wrong", "document.querySelector('#refute').textContent.length > 20")
        .await;
    has("the evidence is there", "document.querySelectorAll('#evidence tbody tr').length === 3").await;
    let stages = "[...document.querySelectorAll('#stages .stage-card')].map((card) => card.dataset.stage).join()";
    has("the stages stand in their order", &format!("{stages} === 'session,chat_server,history,hub,socket_write'"))
        .await;
    has("a worker is named", "document.querySelector('[data-stage=session] .worker').textContent === 'worker 0'").await;
    has("the latency has its parts", "document.querySelectorAll('#latency-bar span').length > 3").await;
    has("the means are told", "document.querySelector('#latency-mean').textContent.startsWith('From reading')").await;
    let plot = "[...document.querySelectorAll('figure')].find((it) => it.textContent.startsWith('Deliveries'))";
    has("a plot has a line", &format!("{plot}.querySelector('path:last-of-type').getAttribute('d').includes('L')"))
        .await;
    has("and its value as text", &format!("Number({plot}.querySelector('strong').textContent) > 1")).await;
    has("the limits are there", "document.querySelectorAll('#limits tbody tr').length > 4").await;
    has("the busiest room is named", "document.querySelector('#names').textContent.includes('lobby')").await;
    has("nothing asks for a token", "document.querySelector('#token-form').hidden").await;
    // Only the figures of other causes are announced.
    has("the cause was announced", "document.querySelector('#announcer').textContent.startsWith('Nothing is')").await;
}

#[actix::test]
async fn the_page_breaks_no_rule_of_its_policy_also_below_a_path() {
    let server = TestServer::start(&[("CHAT_PATH_PREFIX", "/team/chat")]);
    let driver = Driver::start().await;
    let page = Browser::open(&driver, &format!("{}team/chat/lab", server.page())).await;
    page.until_true("is live", IS_LIVE).await;
    assert_eq!(page.console().await, Vec::<Value>::new());
    page.click("header a").await;
    page.until_true(
        "the chat is there",
        "location.pathname === '/team/chat/' && document.querySelector('#enter') !== null",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_goes_on_by_itself_when_the_server_was_restarted() {
    let mut server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let page = Browser::open(&driver, &lab(&server)).await;
    page.until_true("is live", IS_LIVE).await;
    server.stop();
    page.until_true("it says so", "document.querySelector('#status').dataset.state === 'waiting'").await;
    page.until_true("the figures stay", "!document.querySelector('#figures').hidden").await;
    server.start_again();
    page.until_true("is live again", IS_LIVE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_there_is_nothing_to_see_and_names_are_for_operators() {
    let server = TestServer::start(&JWT);
    let program = Program::new(env!("CARGO_BIN_EXE_starling"));
    let issue = |arguments: &[&str]| token::issue(&program, arguments);
    let driver = Driver::start().await;
    let page = Browser::open(&driver, &lab(&server)).await;
    let show = async |token: &str| {
        page.until_true("a token is asked for", "!document.querySelector('#token-form').hidden").await;
        page.until_true("its field has the focus", "document.activeElement.id === 'token'").await;
        page.keys(&format!("{token}{ENTER}")).await;
    };
    page.until_true("the figures are hidden", "document.querySelector('#figures').hidden").await;
    show("x.y.z").await;
    page.until_true(
        "is told that it is bad",
        "document.querySelector('#token-problem').textContent.includes('not valid')",
    )
    .await;
    show(&issue(&["alice"])).await;
    page.until_true("is live", IS_LIVE).await;
    page.until_true("sees no names", "document.querySelector('#names').textContent === 'Only operators see names.'")
        .await;
    page.click("#show-names").await;
    show(&issue(&["root", "--admin"])).await;
    page.until_true("sees names", "document.querySelector('#names').textContent.startsWith('No client has unsent')")
        .await;
    page.driver.refresh().await.unwrap();
    page.until_true(
        "the tab keeps the token",
        "document.querySelector('#names').textContent.startsWith('No client has unsent')",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_reaches_everything_and_a_pause_ends_the_stream() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let page = Browser::open(&driver, &lab(&server)).await;
    page.until_true("is live", IS_LIVE).await;
    let reach = async |what: &str, condition: &str| {
        for _ in 0..10 {
            if page.run(&format!("return Boolean({condition})"), vec![]).await == Value::Bool(true) {
                return;
            }
            page.keys(&TAB.to_string()).await;
        }
        panic!("the tab key does not reach {what}");
    };
    reach("the skip link", "document.activeElement.className === 'skip'").await;
    page.keys(&ENTER.to_string()).await;
    page.until_true("the verdict has the focus", "document.activeElement.id === 'verdict'").await;
    page.run("document.activeElement.blur(); scrollTo(0, 0)", vec![]).await;
    reach("the pause", "document.activeElement.id === 'pause'").await;
    page.keys(&ENTER.to_string()).await;
    page.until_true("is paused", "document.querySelector('#status').dataset.state === 'paused'").await;
    let is_alone = |figures: &test_kit::Exposition| figures.value("chat_connections_open", &[]) < 1.5;
    test_kit::figures_when(&server, "the stream has ended", is_alone).await;
    page.keys(&ENTER.to_string()).await;
    page.until_true("is live again", IS_LIVE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_nothing_and_nothing_is_cut_off_at_any_width_in_light_and_dark() {
    let axe = std::fs::read_to_string(tools::path("node_modules/axe-core/axe.min.js")).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let clients = Browser::blank(&driver).await;
    talk(&clients, &server).await;
    let page = Browser::blank(&driver).await;
    // The tool needs inline scripts, which the page forbids.
    page.devtools("Page.setBypassCSP", json!({ "enabled": true })).await;
    page.driver.goto(lab(&server)).await.unwrap();
    page.run(&axe, vec![]).await;
    page.until_true("is live", IS_LIVE).await;
    page.until_true("the busiest room is named", "document.querySelector('#names').textContent.includes('lobby')")
        .await;
    page.until_true(
        "there are lines",
        "[...document.querySelectorAll('.plot path')].filter((it) => it.getAttribute('d')?.includes('L')).length > 5",
    )
    .await;
    for (name, width, height) in [("phone", 360, 780), ("tablet", 820, 1100), ("wide", 1440, 900)] {
        for scheme in ["light", "dark"] {
            page.resize(width, height, scheme).await;
            let script = "const done = arguments[0]; axe.run(document, { resultTypes: ['violations'] }).then( \
                ({ violations }) => done(violations.map(({ id, nodes }) => ({ id, \
                nodes: nodes.map(({ html, any }) => ({ html, why: any.map(({ message }) => message) })) }))), (error) => done(String(error)))";
            let found = page.driver.execute_async(script, vec![]).await.unwrap().json().clone();
            assert_eq!(found, json!([]), "{name} {scheme}: {found:#}");
            let overflow = page
                .run("const root = document.documentElement; return root.scrollWidth - root.clientWidth", vec![])
                .await;
            assert_eq!(overflow, json!(0), "{name}: nothing is wider than the window");
            // The whole page, not only the window.
            let all = page.run("return document.documentElement.scrollHeight", vec![]).await;
            page.resize(width, u32::try_from(all.as_u64().unwrap()).unwrap(), scheme).await;
            let png = page.driver.screenshot_as_png().await.unwrap();
            std::fs::write(folder.join(format!("lab-{name}-{scheme}.png")), png).unwrap();
        }
    }
}
