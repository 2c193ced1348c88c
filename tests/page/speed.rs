//! The page with 10,000 messages and 5,000 members in a room, at 50 messages a second.
//!
//! A script inside Chromium simulates the server, so the measurements are the page's only. They are printed
//! (`--nocapture`); the asserted limits hold on a busy machine too.

use serde_json::{Value, json};

use crate::harness::{Browser, Driver, TestServer};

/// Replaces `WebSocket`: a room with a past, and with events that the test triggers.
const SERVER: &str = r"
window.WebSocket = class {
  static CLOSING = 2;
  constructor() {
    this.readyState = 1;
    window.room = this;
    this.seq = 0;
    setTimeout(() => { this.onopen(); this.tell({ type: 'welcome', protocol: 1, server: 'script', clientId: 'guest-1',
      room: 'lobby', seq: 0, epoch: 'e', key: 'k', heartbeatMs: 25000,
      limits: { messageBytes: 16384, messagesPerSecond: 0, burst: 100, rooms: 64 } }); });
  }
  close() {}
  tell(frame) { this.onmessage({ data: JSON.stringify(frame) }); }
  send(text) {
    const { type, id, room, clientId } = JSON.parse(text);
    const answers = {
      hello: { type: 'welcome', clientId, room: 'lobby', seq: this.seq, epoch: 'e', key: 'k' },
      join: { type: 'joined', room, seq: this.seq, epoch: 'e', count: 5000 },
      members: { type: 'members', room, count: 5000, truncated: false,
        clientIds: ['me', ...Array.from({ length: 4999 }, (_, n) => `member-${n}`)] },
      history: { type: 'history', room, messages: [], hasMore: false },
      ping: { type: 'pong', at: Date.now() },
    };
    setTimeout(() => this.tell({ id, ...answers[type] }));
  }
  message() {
    this.seq += 1;
    const words = 'one message leaves the server once per worker and never once per member'.split(' ');
    const text = words.slice(0, 3 + (this.seq % 10)).join(' ') + (this.seq % 7 === 0 ? ' https://example.org/' + this.seq : '');
    this.tell({ type: 'message', clientId: `member-${(this.seq * 37) % 4999}`, Message: text, room: 'lobby', seq: this.seq, at: Date.now() });
  }
  presence(n) {
    this.tell({ type: 'presence', room: 'lobby', joined: [`new-${n}`], left: [n === 0 ? 'member-0' : `new-${n - 1}`], count: 5000 });
  }
};
window.longest = 0;
new PerformanceObserver((list) => { for (const { duration } of list.getEntries()) window.longest = Math.max(window.longest, duration); })
  .observe({ type: 'longtask' });
";

/// 50 messages a second for ten seconds, and presence changes once a second, with the time of every frame.
const TEN_SECONDS: &str = r"
window.measured = null;
window.longest = 0;
const frames = [];
let last = performance.now();
let sent = 0;
const begin = performance.now();
const draw = (now) => {
  frames.push(now - last);
  last = now;
  if (performance.now() - begin < 10000) return requestAnimationFrame(draw);
  clearInterval(timer);
  frames.sort((a, b) => a - b);
  window.measured = { sent, frames: frames.length, median: frames[frames.length >> 1], p99: frames[Math.floor(frames.length * 0.99)], worst: frames.at(-1), longest: window.longest };
};
const timer = setInterval(() => {
  const due = Math.floor((performance.now() - begin) / 20);
  for (; sent < due; sent += 1) { if (sent % 50 === 0) window.room.presence(sent / 50); window.room.message(); }
}, 5);
requestAnimationFrame(draw);
";

/// The renderer's main-thread time so far, in seconds, and its memory.
async fn figures(page: &Browser) -> impl Fn(&str) -> f64 {
    page.devtools("HeapProfiler.collectGarbage", json!({})).await;
    let metrics = page.devtools("Performance.getMetrics", json!({})).await;
    move |name| {
        let entries = metrics["metrics"].as_array().unwrap();
        entries.iter().find(|entry| entry["name"] == name).and_then(|entry| entry["value"].as_f64()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_messages_and_five_thousand_members_leave_it_fast() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let page = Browser::blank(&driver).await;
    page.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": SERVER })).await;
    // The page's own time, without that of other work on the machine.
    page.devtools("Performance.enable", json!({ "timeDomain": "threadTicks" })).await;
    page.driver.goto(server.page()).await.unwrap();
    page.take_name("me").await;
    page.until_in("me").await;
    page.until_true(
        "the members are there",
        "document.querySelector('#members-count').textContent.replace(/\\D/g, '') === '5000'",
    )
    .await;

    let load = "const begin = performance.now(); for (let n = 0; n < 10000; n += 1) window.room.message(); \
        const done = arguments[0]; new Promise((done) => requestAnimationFrame(() => setTimeout(done))).then(() => done(performance.now() - begin));";
    let loaded = page.driver.execute_async(load, vec![]).await.unwrap().json().as_f64().unwrap();
    let before = figures(&page).await;
    page.run(TEN_SECONDS, vec![]).await;
    page.until_true("ten seconds are measured", "window.measured !== null").await;
    let after = figures(&page).await;
    let measured = page.run("return window.measured", vec![]).await;
    let shape = page.run("return { rows: document.querySelectorAll('#rows li').length, \
        members: document.querySelectorAll('#member-list li').length, nodes: document.querySelectorAll('*').length, \
        last: [...document.querySelectorAll('#rows li')].at(-1).dataset.seq, seq: window.room.seq, \
        isAtEnd: (() => { const list = document.querySelector('#messages'); return list.scrollHeight - list.scrollTop - list.clientHeight < 2; })() }",
        vec![]).await;
    let up = "const done = arguments[0]; const list = document.querySelector('#messages'); const begin = performance.now(); window.longest = 0; \
        let frames = 0; const step = () => { frames += 1; list.scrollTop = 0; \
          if (document.querySelector('#rows li').dataset.seq === '1' || performance.now() - begin > 60000) done({ ms: performance.now() - begin, frames, longest: window.longest }); \
          else requestAnimationFrame(step); }; step();";
    let climbed = page.driver.execute_async(up, vec![]).await.unwrap().json().clone();

    let spent = |name: &str| after(name) - before(name);
    eprintln!("10,000 messages taken and shown in {loaded:.0} ms");
    eprintln!("ten seconds at 50 messages/s: {measured}");
    eprintln!(
        "main thread in these: {:.2} s, script {:.2} s, layout {:.2} s, style {:.2} s; heap {:.1} MB",
        spent("TaskDuration"),
        spent("ScriptDuration"),
        spent("LayoutDuration"),
        spent("RecalcStyleDuration"),
        after("JSHeapUsedSize") / 1e6
    );
    eprintln!("in the document: {shape}");
    eprintln!("from the newest message to the first: {climbed}");

    let at_most = |what: &Value, most: f64| what.as_f64().unwrap() <= most;
    assert!(at_most(&shape["rows"], 200.0) && at_most(&shape["members"], 60.0), "{shape}");
    assert_eq!(shape["isAtEnd"], json!(true));
    assert_eq!(shape["last"], json!(shape["seq"].to_string()));
    assert!(spent("TaskDuration") < 8.0, "the main thread is busy for {} of 10 s", spent("TaskDuration"));
    assert!(loaded < 10_000.0 && at_most(&measured["longest"], 1_000.0), "{loaded} {measured}");
    assert!(at_most(&climbed["ms"], 30_000.0), "{climbed}");
}
