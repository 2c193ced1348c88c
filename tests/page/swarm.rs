//! The live page of a swarm's run, in a real browser.

use std::collections::BTreeSet;
use std::path::Path;

use tempfile::TempDir;
use test_kit::Process;

use crate::harness::{Browser, Driver, TestServer, bot_swarm};

/// The names of all figures of a page: headings, tiles, rows and columns.
const NAMES: &str = "return [...document.querySelectorAll('h2, .tiles .name, th')].map((node) => node.textContent)";

/// The URLs from which the page has loaded anything.
const SOURCES: &str = "return [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]\
    .map((entry) => entry.name)";

/// A swarm that runs until it is stopped; killed when it is dropped.
struct Swarm {
    process: Process,
    folder: TempDir,
    /// The URL of its page.
    page: String,
}

impl Swarm {
    /// Starts ten bots that send room messages and private messages.
    fn start(server: &TestServer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().to_str().unwrap();
        let process = Process::spawn(bot_swarm().command(
            folder.path(),
            &["--profile", "ramp 1s to 10, hold", "--behaviours", "chatter=4,private=1", "--report", report],
            &[
                ("BOT_SERVER_URL", &format!("ws://{}/ws", server.address())),
                ("BOT_METRICS_BIND", "127.0.0.1:0"),
                ("BOT_MESSAGES_PER_SECOND", "5"),
                ("BOT_LATENESS_MAX_SECONDS", "60"),
            ],
        ));
        let line = process.line_with("page of this run: ");
        let page = line.split_once("page of this run: ").unwrap().1.split(',').next().unwrap().to_owned();
        Self { process, folder, page }
    }
}

/// A JavaScript expression for the number in the tile with this name.
fn tile(name: &str) -> String {
    format!(
        "Number([...document.querySelectorAll('.tiles > div')].find((tile) => tile.querySelector('.name').textContent \
         === '{name}')?.querySelector('.value').textContent.replaceAll(',', ''))"
    )
}

async fn names(browser: &Browser) -> BTreeSet<String> {
    serde_json::from_value(browser.run(NAMES, Vec::new()).await).unwrap()
}

#[actix::test]
async fn the_figures_of_a_run_change_under_the_names_of_its_report_and_nothing_is_loaded_from_elsewhere() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    let server = TestServer::start(&[]);
    let swarm = Swarm::start(&server);
    let driver = Driver::start().await;
    let browser = Browser::open(&driver, &swarm.page).await;
    browser.until_true("all bots are shown", &format!("{} === 10", tile("bots connected"))).await;
    let mut before = 0;
    for _ in 0..3 {
        browser.until_true("more deliveries", &format!("{} > {before}", tile("deliveries"))).await;
        before = browser.run(&format!("return {}", tile("deliveries")), Vec::new()).await.as_u64().unwrap();
    }
    // Opened sections stay open while the figures change.
    browser.click("#seconds > summary").await;
    let rows = "document.querySelectorAll('#seconds tbody tr').length";
    let shown = browser.run(&format!("return {rows}"), Vec::new()).await.as_u64().unwrap();
    browser
        .until_true("more seconds", &format!("document.querySelector('#seconds').open && {rows} > {shown} + 1"))
        .await;
    browser.until_true("two phases", "document.querySelectorAll('details[id^=phase]').length === 2").await;

    let mut colours = Vec::new();
    for (name, width, height) in [("wide", 1280, 900), ("phone", 390, 844)] {
        for scheme in ["light", "dark"] {
            browser.resize(width, height, scheme).await;
            browser.until_true("nothing is cut off", "document.documentElement.scrollWidth <= innerWidth").await;
            browser.run("scrollTo(0, 0)", Vec::new()).await;
            let colour = "return getComputedStyle(document.body).backgroundColor";
            colours.push(browser.run(colour, Vec::new()).await.as_str().unwrap().to_owned());
            let png = browser.driver.screenshot_as_png().await.unwrap();
            std::fs::write(folder.join(format!("swarm-{name}-{scheme}.png")), png).unwrap();
        }
    }
    assert!(colours[0] != colours[1] && colours[..2] == colours[2..], "{colours:?}");

    let live = names(&browser).await;
    let sources: Vec<String> = serde_json::from_value(browser.run(SOURCES, Vec::new()).await).unwrap();
    assert!(sources.len() > 3 && sources.iter().all(|source| source.starts_with(&swarm.page)), "{sources:?}");
    let console = browser.console().await;
    assert!(console.is_empty(), "{console:?}");
    // The content security policy blocks anything inline or external, and reports it.
    browser
        .run(
            "document.body.append(Object.assign(document.createElement('img'), { src: 'http://example.org/x' }))",
            vec![],
        )
        .await;
    browser
        .until_true("the policy holds", "document.images[0].complete && document.images[0].naturalWidth === 0")
        .await;
    let console = browser.console().await;
    assert!(console.iter().any(|entry| entry.to_string().contains("Content Security Policy")), "{console:?}");

    assert_eq!(swarm.process.terminate(), Some(0));
    browser
        .until_true("the end is told", "document.querySelector('#state').textContent.startsWith('The run has ended')")
        .await;
    browser.driver.goto(format!("file://{}/report.html", swarm.folder.path().display())).await.unwrap();
    browser.until_true("the report is shown", "document.querySelector('h1').textContent.startsWith('KEPT: ')").await;
    let report = names(&browser).await;
    assert!(live.is_subset(&report), "{:?}", live.difference(&report).collect::<Vec<_>>());
    let added: Vec<_> = report.difference(&live).map(String::as_str).collect();
    assert_eq!(added, ["Actual", "Expectations", "Expected"]);
}
