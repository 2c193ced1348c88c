//! One user's browser, with the user's actions and the visible page.

use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::error::WebDriverResult;
use thirtyfour::extensions::cdp::ChromeDevTools;
use thirtyfour::{By, CapabilitiesHelper, ChromiumLikeCapabilities, DesiredCapabilities, WebDriver};
use tokio::time::Instant;

use super::keys::ENTER;
use super::{DEADLINE, Driver, LOOK};

const ARGUMENTS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--lang=en-GB",
    "--window-size=1280,800",
    // For reverse proxies with the hosts and certificates of the tests.
    "--host-resolver-rules=MAP example.org 127.0.0.1",
    "--ignore-certificate-errors",
];

/// The texts of the messages in the list's window.
const TEXTS: &str = "return [...document.querySelectorAll('#rows .text')].map((node) => node.textContent)";

/// A browser with its own profile.
#[derive(Debug)]
pub(crate) struct Browser {
    pub(crate) driver: WebDriver,
    _profile: TempDir,
}

impl Browser {
    /// Opens a browser that shows the page at this address.
    pub(crate) async fn open(driver: &Driver, page: &str) -> Self {
        let browser = Self::blank(driver).await;
        browser.driver.goto(page).await.unwrap();
        browser
    }

    /// Opens a browser without a page.
    pub(crate) async fn blank(driver: &Driver) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut capabilities = DesiredCapabilities::chrome();
        for argument in ARGUMENTS {
            capabilities.add_arg(argument).unwrap();
        }
        capabilities.add_arg(&format!("--user-data-dir={}", profile.path().display())).unwrap();
        capabilities.insert_base_capability("goog:loggingPrefs".into(), json!({ "browser": "ALL" }));
        let driver = WebDriver::new(driver.url(), capabilities)
            .await
            .expect("Chromium does not start: run scripts/install-test-tools");
        Self { driver, _profile: profile }
    }

    /// Opens a browser whose user has entered under this name.
    pub(crate) async fn enter(driver: &Driver, page: &str, name: &str) -> Self {
        let browser = Self::open(driver, page).await;
        browser.take_name(name).await;
        browser.until_in(name).await;
        browser
    }

    /// Enters a name when the page asks for it.
    pub(crate) async fn take_name(&self, name: &str) {
        self.until_true("is asked for a name", "document.querySelector('#enter').open").await;
        let field = self.driver.find(By::Id("enter-name")).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(format!("{name}{ENTER}")).await.unwrap();
    }

    /// Waits until the lobby is shown under this name.
    pub(crate) async fn until_in(&self, name: &str) {
        let condition = format!(
            "!document.querySelector('#enter').open && document.querySelector('#status').hidden \
             && document.querySelector('#me .name').textContent === {} && !document.querySelector('#messages-top').textContent.startsWith('Loading')",
            json!(name)
        );
        self.until_true(&format!("{name} is in"), &condition).await;
    }

    /// Writes a message and sends it.
    pub(crate) async fn say(&self, text: &str) {
        let field = self.driver.find(By::Id("composer-text")).await.unwrap();
        field.send_keys(format!("{text}{ENTER}")).await.unwrap();
    }

    /// Pastes a text that a keyboard cannot type, and sends it.
    pub(crate) async fn paste_and_send(&self, text: &str) {
        self.run(
            "const field = document.querySelector('#composer-text'); field.value = arguments[0]; \
            field.dispatchEvent(new Event('input')); field.form.requestSubmit();",
            vec![json!(text)],
        )
        .await;
    }

    /// Clicks on the selected element, once it exists.
    pub(crate) async fn click(&self, selector: &str) {
        let click = async || self.driver.find(By::Css(selector)).await?.click().await;
        Self::until_done(&format!("cannot click on {selector}"), click).await;
    }

    /// Clicks on the button with this text.
    pub(crate) async fn click_text(&self, text: &str) {
        let find = format!(
            "[...document.querySelectorAll('button')].find((node) => node.textContent.trim() === {})",
            json!(text)
        );
        let click = format!("(() => {{ const button = {find}; button?.click(); return button !== undefined; }})()");
        self.until_true(&format!("there is a button {text:?}"), &click).await;
    }

    /// Points at the newest message with this text, and clicks on an action of it, by the name of its icon.
    pub(crate) async fn act(&self, text: &str, action: &str) {
        let point = format!(
            "(() => {{ const row = [...document.querySelectorAll('#rows .message')] \
                .findLast((row) => row.querySelector('.text')?.textContent === {}); \
            row?.dispatchEvent(new PointerEvent('pointermove', {{ bubbles: true }})); \
            const button = row?.querySelector('[data-action=\"{action}\"]:not([hidden])'); button?.click(); return button; }})()",
            json!(text)
        );
        self.until_true(&format!("{text:?} has the action {action}"), &point).await;
    }

    /// Types these keys into the focused element.
    pub(crate) async fn keys(&self, keys: &str) {
        let send = async || self.driver.active_element().await?.send_keys(keys).await;
        Self::until_done("cannot type", send).await;
    }

    /// Repeats an action until it succeeds: an element may be redrawn between the look-up and the action.
    async fn until_done(what: &str, attempt: impl AsyncFn() -> WebDriverResult<()>) {
        let deadline = Instant::now() + DEADLINE;
        while let Err(error) = attempt().await {
            assert!(Instant::now() < deadline, "{what}: {error}");
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(crate) async fn run(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.driver.execute(script, arguments).await.unwrap().json().clone()
    }

    /// The messages that are shown.
    pub(crate) async fn texts(&self) -> Vec<String> {
        serde_json::from_value(self.run(TEXTS, Vec::new()).await).unwrap()
    }

    /// Waits until exactly these messages are shown at the end, in this order.
    pub(crate) async fn until_last(&self, wanted: &[&str]) {
        let condition = format!(
            "JSON.stringify([...document.querySelectorAll('#rows .text')].slice(-{}).map((node) => node.textContent)) === {}",
            wanted.len(),
            json!(serde_json::to_string(wanted).unwrap())
        );
        self.until_true(&format!("{wanted:?} are the last messages"), &condition).await;
    }

    /// Waits until an expression is true.
    ///
    /// Panics after the deadline, with the content of the page.
    pub(crate) async fn until_true(&self, what: &str, expression: &str) {
        let deadline = Instant::now() + DEADLINE;
        let script = format!("return Boolean({expression})");
        loop {
            let answer = self.driver.execute(script.as_str(), Vec::new()).await;
            if answer.is_ok_and(|answer| answer.json() == &Value::Bool(true)) {
                return;
            }
            if Instant::now() > deadline {
                let shown = self.run("return document.body.innerText", Vec::new()).await;
                panic!(
                    "waited {} s in vain: {what}\nthe page shows:\n{}",
                    DEADLINE.as_secs(),
                    shown.as_str().unwrap_or_default()
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Sends a `DevTools` command to Chromium.
    pub(crate) async fn devtools(&self, command: &str, parameters: Value) -> Value {
        ChromeDevTools::new(self.driver.handle.clone()).execute_cdp_with_params(command, parameters).await.unwrap()
    }

    /// The new console entries since the last call: errors of scripts, of the content security policy and of requests.
    /// Only the driver knows them. Must be called in an actix runtime.
    pub(crate) async fn console(&self) -> Vec<Value> {
        let session = &self.driver.handle;
        let log = format!("{}session/{}/se/log", session.server_url(), session.session_id());
        let mut answer = awc::Client::default().post(log).send_json(&json!({ "type": "browser" })).await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        answer["value"].as_array().unwrap_or_else(|| panic!("{answer}")).clone()
    }

    /// Resizes the window, and selects the light or dark scheme.
    pub(crate) async fn resize(&self, width: u32, height: u32, scheme: &str) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", features).await;
        self.until_true(
            "nothing moves",
            "document.getAnimations().every((animation) => animation.effect.getTiming().iterations === Infinity)",
        )
        .await;
    }
}
