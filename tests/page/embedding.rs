//! The client for other programs, `clients/js`: against the real server and a scripted one by Node.js, and as a program
//! of forty lines in a page of another origin.

use std::path::{Component, Path};
use std::process::Command;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};

use crate::harness::{Browser, Driver, TestServer, tools};
use crate::logic::run;

const FOLDER: &str = "clients/js";

/// Runs a file of the client's tests.
fn node(file: &str) {
    let mut command = Command::new("node");
    let has_websocket = Command::new("node").args(["-p", "typeof WebSocket"]).output();
    if has_websocket.is_ok_and(|output| output.stdout.starts_with(b"undefined")) {
        // Node.js 20 has its own WebSocket only behind this flag.
        command.arg("--experimental-websocket");
    }
    command.env("STARLING", env!("CARGO_BIN_EXE_starling"));
    run(command.arg("--test").arg(format!("{FOLDER}/test/{file}.test.mjs")));
}

#[test]
fn restarts_kills_and_other_nodes_cost_a_client_no_message() {
    node("server");
}

#[test]
fn clients_with_different_pasts_have_the_same_messages() {
    node("changes");
}

#[test]
fn how_far_a_client_has_read_is_known_to_all_its_connections() {
    node("reading");
}

#[test]
fn pauses_and_deadlines_are_as_promised() {
    node("timing");
}

#[test]
fn tokens_stay_out_of_addresses_and_open_every_room_that_they_allow() {
    node("tokens");
}

#[test]
fn the_package_installs_elsewhere_and_is_small() {
    node("pack");
}

#[test]
fn its_types_are_those_of_its_code() {
    run(Command::new("node")
        .arg(tools::path("node_modules/typescript/bin/tsc"))
        .args(["--project", &format!("{FOLDER}/tsconfig.json")]));
}

/// Serves a file of the client, as the web server of another program does.
async fn file(request: HttpRequest) -> HttpResponse {
    let path = Path::new(request.match_info().query("path"));
    assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{}", path.display());
    let kind =
        if path.extension().is_some_and(|extension| extension == "js") { "text/javascript" } else { "text/html" };
    match std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER).join(path)) {
        Ok(data) => HttpResponse::Ok().content_type(kind).body(data),
        Err(_) => HttpResponse::NotFound().finish(),
    }
}

#[actix::test]
async fn forty_lines_are_a_chat_that_survives_a_kill() {
    let site = HttpServer::new(|| App::new().route("/{path:.*}", web::get().to(file)))
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
    let origin = format!("http://{}", site.addrs()[0]);
    let running = actix::spawn(site.run());
    let mut server = TestServer::start(&[("CHAT_ALLOWED_ORIGINS", &origin), ("CHAT_HISTORY", "sqlite")]);
    let driver = Driver::start().await;
    let enter = async |name: &str| {
        let page = format!("{origin}/example/index.html?name={name}&server=ws://{}/ws", server.address());
        let browser = Browser::open(&driver, &page).await;
        browser.until_true("is in", "document.querySelector('#state').textContent === 'open'").await;
        browser
    };
    let say = async |browser: &Browser, text: &str| {
        let script =
            "const text = document.querySelector('#text'); text.value = arguments[0]; text.form.requestSubmit();";
        browser.run(script, vec![text.into()]).await;
    };
    let until_shown = async |browser: &Browser, wanted: &[&str]| {
        let shown =
            "JSON.stringify([...document.querySelectorAll('ol:not([hidden]) li')].map((line) => line.textContent))";
        let wanted = serde_json::to_string(wanted).unwrap();
        browser.until_true(&wanted, &format!("{shown} === {}", serde_json::json!(wanted))).await;
    };
    let alice = enter("alice").await;
    for text in ["/open dev", "1", "2"] {
        say(&alice, text).await;
    }
    until_shown(&alice, &["alice: 1", "alice: 2"]).await;
    // Bob reads the messages from before his first visit.
    let bob = enter("bob").await;
    say(&bob, "/open dev").await;
    until_shown(&bob, &["alice: 1", "alice: 2"]).await;

    server.kill();
    for page in [&alice, &bob] {
        page.until_true("notices", "document.querySelector('#state').textContent !== 'open'").await;
    }
    say(&alice, "3").await;
    server.start_again();
    let all = ["alice: 1", "alice: 2", "alice: 3"];
    until_shown(&bob, &all).await;
    until_shown(&alice, &all).await;

    say(&alice, "/open @bob").await;
    say(&alice, "psst").await;
    bob.click_text("@alice").await;
    until_shown(&bob, &["alice: psst"]).await;
    until_shown(&alice, &["alice: psst"]).await;
    bob.click_text("dev").await;
    until_shown(&bob, &all).await;
    running.abort();
}
