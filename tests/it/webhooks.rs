//! Guarantees of webhooks: receivers get every entry of the rooms in order, signed, at least once, and one that is down
//! costs only itself.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use aws_lc_rs::hmac;
use serde_json::{Value, json};
use test_kit::{Client, Exposition, wait_until, within};

use crate::harness::{TestServer, starling};

const SECRET: &str = "0123456789abcdef";

/// A receiver that answers with a status, and keeps what it accepts.
#[derive(Clone)]
struct Receiver {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    accepted: Arc<Mutex<Vec<Value>>>,
}

impl Receiver {
    fn start() -> Self {
        let (status, accepted) = (Arc::new(AtomicU16::new(200)), Arc::<Mutex<Vec<Value>>>::default());
        let (answer, keeps) = (Arc::clone(&status), Arc::clone(&accepted));
        let server = HttpServer::new(move || {
            let (answer, keeps) = (Arc::clone(&answer), Arc::clone(&keeps));
            let take = move |request: HttpRequest, body: web::Bytes| {
                let (answer, keeps) = (Arc::clone(&answer), Arc::clone(&keeps));
                async move {
                    let status = StatusCode::from_u16(answer.load(Relaxed)).unwrap();
                    assert!(is_signed(&request, &body), "{request:?}");
                    if status.is_success() {
                        keeps.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
                    }
                    HttpResponse::build(status).finish()
                }
            };
            App::new().route("/secret-path", web::post().to(take))
        });
        let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
        let address = server.addrs()[0];
        actix::spawn(server.run());
        Self { address, status, accepted }
    }

    fn url(&self) -> String {
        format!("http://{}/secret-path", self.address)
    }

    /// The entries of a room so far, without repetitions, each as its `seq` and its type.
    fn entries(&self, room: &str) -> Vec<(u64, String)> {
        let accepted = self.accepted.lock().unwrap();
        let of_room = accepted.iter().filter(|body| body["room"] == room);
        let mut entries = Vec::new();
        for entry in of_room.flat_map(|body| body["entries"].as_array().unwrap()) {
            let it = (entry["seq"].as_u64().unwrap(), entry["type"].as_str().unwrap().to_owned());
            if !entries.contains(&it) {
                entries.push(it);
            }
        }
        entries
    }

    async fn has(&self, room: &str, number: usize) {
        wait_until(format!("{number} entries of {room}"), || self.entries(room).len() >= number).await;
    }
}

fn is_signed(request: &HttpRequest, body: &[u8]) -> bool {
    let header = request.headers().get("starling-signature").unwrap().to_str().unwrap();
    let (time, digits) = header.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let expected = hmac::sign(&key, &[format!("{time}.").as_bytes(), body].concat());
    let shown = digits.as_bytes().chunks(2).map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap());
    shown.eq(expected.as_ref().iter().copied())
}

fn in_order(entries: &[(u64, String)]) -> bool {
    entries.iter().map(|(seq, _)| *seq).eq(1..=entries.len() as u64)
}

async fn say(client: &mut Client, texts: impl IntoIterator<Item = String>) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    for text in texts {
        let id = NEXT.fetch_add(1, Relaxed).to_string();
        client.send_json(&json!({"Message": text, "id": id})).await;
        client.next_of("ack").await;
    }
}

#[actix::test]
async fn receivers_get_the_entries_of_each_room_in_order_and_no_private_message() {
    let receiver = Receiver::start();
    let url = receiver.url();
    let server = TestServer::start(&[("CHAT_WEBHOOK_URLS", &url), ("CHAT_WEBHOOK_SECRET", SECRET)]);
    let mut alice = Client::connect(&server, "/ws/dev?clientId=alice").await;
    let _bob = Client::connect(&server, "/ws?clientId=bob").await;
    say(&mut alice, ["one", "two"].map(str::to_owned)).await;
    for frame in [
        json!({"to": "bob", "Message": "secret"}),
        json!({"type": "edit", "room": "dev", "of": 1, "Message": "one, mended"}),
        json!({"type": "react", "room": "dev", "of": 2, "emoji": "👍"}),
        json!({"type": "delete", "room": "dev", "of": 2}),
        json!({"Message": "last"}),
    ] {
        alice.send_json(&frame).await;
    }
    receiver.has("dev", 6).await;
    let types = ["message", "message", "edited", "reaction", "deleted", "message"];
    let expected: Vec<_> = (1..).zip(types.map(str::to_owned)).collect();
    assert_eq!(receiver.entries("dev"), expected);
    let all = receiver.accepted.lock().unwrap().clone();
    assert!(all.iter().all(|body| !body.to_string().contains("secret")), "{all:?}");
    assert!(all.iter().all(|body| body["missed"] == 0 && body["epoch"].as_str().unwrap().len() == 16), "{all:?}");
    let last = all.last().unwrap()["entries"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["clientId"], &last["Message"]), (&json!("alice"), &json!("last")));
}

#[actix::test]
async fn a_receiver_that_is_down_costs_only_itself_and_gets_everything_later() {
    let (fails, works) = (Receiver::start(), Receiver::start());
    fails.status.store(503, Relaxed);
    // Connections to it are accepted by the system, and nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let urls = format!("http://{},{},{}", silent.local_addr().unwrap(), fails.url(), works.url());
    let rooms = "de*";
    let server = TestServer::start(&[
        ("CHAT_WEBHOOK_URLS", &urls),
        ("CHAT_WEBHOOK_SECRET", SECRET),
        ("CHAT_WEBHOOK_ROOMS", rooms),
    ]);
    let mut alice = Client::connect(&server, "/ws/dev?clientId=alice").await;
    let mut bob = Client::connect(&server, "/ws/tea?clientId=bob").await;
    say(&mut bob, ["not told".to_owned()]).await;
    say(&mut alice, (0..30).map(|number| number.to_string())).await;
    works.has("dev", 30).await;
    assert_eq!(fails.entries("dev"), []);
    let of_second = [("receiver", "2"), ("outcome", "failed")];
    let counted = |figures: &Exposition| {
        figures.value("chat_webhook_rooms_behind", &of_second[..1]) > 0.5
            && figures.value("chat_webhook_requests_total", &of_second) > 0.5
            && (figures.value("chat_webhook_entries_total", &[("receiver", "3")]) - 30.0).abs() < 0.5
    };
    within("what fails and what is accepted is counted", async {
        while !counted(&Exposition::scrape(&server).await) {
            actix_rt::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    fails.status.store(204, Relaxed);
    fails.has("dev", 30).await;
    assert!(in_order(&fails.entries("dev")) && in_order(&works.entries("dev")));
    assert_eq!((fails.entries("tea"), works.entries("tea")), (Vec::new(), Vec::new()));
}

#[actix::test]
async fn a_kill_loses_no_entry_and_repeats_at_most_one_request() {
    let receiver = Receiver::start();
    let folder = tempfile::tempdir().unwrap();
    let url = receiver.url();
    let variables = [
        ("CHAT_BIND", "127.0.0.1:0"),
        ("CHAT_HISTORY", "sqlite"),
        ("CHAT_WEBHOOK_URLS", &*url),
        ("CHAT_WEBHOOK_SECRET", SECRET),
    ];
    let talk = async |address: SocketAddr, from: u64| {
        let mut alice = Client::connect(address, "/ws/dev?clientId=alice").await;
        say(&mut alice, (from..from + 20).map(|number| number.to_string())).await;
    };
    // Before there is a receiver: it gets none of this.
    let server = starling().start(folder.path(), &variables[..2]);
    talk(server.address(), 0).await;
    server.kill();
    for (round, is_up) in [(1, true), (2, false), (3, true)] {
        receiver.status.store(if is_up { 200 } else { 500 }, Relaxed);
        let server = starling().start(folder.path(), &variables);
        talk(server.address(), 100 * round).await;
        if is_up {
            let expected = usize::try_from(20 * round).unwrap();
            receiver.has("dev", expected).await;
        }
        server.kill();
    }
    let entries = receiver.entries("dev");
    assert!(entries.iter().map(|(seq, _)| *seq).eq(21..=80), "{entries:?}");
    let accepted = receiver.accepted.lock().unwrap().clone();
    let all: usize = accepted.iter().map(|body| body["entries"].as_array().unwrap().len()).sum();
    assert!(all <= 60 + 3 * 100, "{all} entries were posted");
}

#[actix::test]
async fn what_the_history_has_dropped_is_told_as_missed() {
    let receiver = Receiver::start();
    receiver.status.store(503, Relaxed);
    let url = receiver.url();
    let server = TestServer::start(&[
        ("CHAT_WEBHOOK_URLS", &url),
        ("CHAT_WEBHOOK_SECRET", SECRET),
        ("CHAT_HISTORY", "memory"),
        ("CHAT_HISTORY_MESSAGES", "10"),
    ]);
    // The room is newer than the receiver.
    let mut alice = Client::connect(&server, "/ws/dev?clientId=alice").await;
    say(&mut alice, (0..30).map(|number| number.to_string())).await;
    receiver.status.store(200, Relaxed);
    receiver.has("dev", 10).await;
    let missed = |body: &Value| (body["missed"].as_u64().unwrap(), body["entries"][0]["seq"].as_u64().unwrap());
    assert_eq!(missed(&receiver.accepted.lock().unwrap()[0]), (20, 21));
    receiver.status.store(503, Relaxed);
    say(&mut alice, (0..25).map(|number| number.to_string())).await;
    receiver.status.store(200, Relaxed);
    receiver.has("dev", 20).await;
    assert_eq!(missed(&receiver.accepted.lock().unwrap()[1]), (15, 46));
}

#[actix::test]
async fn a_request_is_small_whatever_the_texts_are() {
    let receiver = Receiver::start();
    receiver.status.store(503, Relaxed);
    let url = receiver.url();
    let server = TestServer::start(&[("CHAT_WEBHOOK_URLS", &url), ("CHAT_WEBHOOK_SECRET", SECRET)]);
    let mut alice = Client::connect(&server, "/ws/dev?clientId=alice").await;
    // In JSON each character has six.
    say(&mut alice, (0..60).map(|_| "\u{1}".repeat(1_500))).await;
    receiver.status.store(200, Relaxed);
    // The receiver takes at most 262,144 bytes.
    receiver.has("dev", 60).await;
    assert!(in_order(&receiver.entries("dev")));
}
