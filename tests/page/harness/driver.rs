//! The `WebDriver` program for Chromium; one per test.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;

use test_kit::{blocking, free_port};
use tokio::sync::{Semaphore, SemaphorePermit};

/// The number of tests that have browsers at the same time.
static TESTS: Semaphore = Semaphore::const_new(2);

/// The most attempts to start: another program may take the port before the start.
const STARTS_MAX: u32 = 10;

/// The number of checks whether the driver has ended, before it is killed.
const LOOKS_MAX: u32 = 200;

/// A running chromedriver; it and its browsers end when it is dropped.
#[derive(Debug)]
pub(crate) struct Driver {
    child: Child,
    port: u16,
    _place: SemaphorePermit<'static>,
}

impl Driver {
    pub(crate) async fn start() -> Self {
        let place = TESTS.acquire().await.unwrap();
        for _ in 0..STARTS_MAX {
            // Without IPv6, chromedriver does not find a port by itself.
            let port = free_port();
            if let Some(child) = start(port) {
                return Self { child, port, _place: place };
            }
        }
        panic!("chromedriver does not start")
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// Starts chromedriver on a port; `None` if the port was taken meanwhile.
fn start(port: u16) -> Option<Child> {
    let mut child = Command::new("chromedriver")
        .args([&format!("--port={port}"), "--log-level=SEVERE"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver is not installed: run scripts/install-test-tools");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    if !lines.any(|line| line.contains("started successfully on port ")) {
        child.wait().unwrap();
        return None;
    }
    thread::spawn(move || lines.for_each(drop));
    Some(child)
}

impl Drop for Driver {
    fn drop(&mut self) {
        // A requested stop also ends its browsers; a kill would leave them.
        blocking::get(([127, 0, 0, 1], self.port).into(), None, "/shutdown").map(drop).unwrap_or_default();
        for _ in 0..LOOKS_MAX {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            thread::sleep(super::LOOK);
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
