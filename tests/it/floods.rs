//! Clients that send as much as possible, or stop in the middle of anything: each affects only itself.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use test_kit::raw::{self, Raw};
use test_kit::{Bystander, Client, Exposition, figures_when, within};
use tokio::time::{Instant, timeout};

use crate::harness::TestServer;

const PONG: u8 = 0x8a;
const FIRST_PART: u8 = 0x01;
const NEXT_PART: u8 = 0x00;

fn disconnects(figures: &Exposition, reason: &str) -> f64 {
    figures.value("chat_disconnects_total", &[("reason", reason)])
}

/// The number of frames of any kind that the sessions have read.
async fn frames_read(server: &TestServer) -> f64 {
    Exposition::scrape(server).await.value("chat_stage_arrivals_total", &[("stage", "session")])
}

/// Waits until all resources are released and only this many sessions remain.
async fn only_left(server: &TestServer, sessions: f64) -> Exposition {
    figures_when(server, "everything is given back", |figures| {
        figures.value("chat_sessions", &[]) < sessions + 0.5
            && figures.value("chat_credits_in_use", &[]) < 0.5
            && figures.value("chat_outbox_bytes", &[]) < 0.5
    })
    .await
}

/// A server with a chatting bystander, and the latency of the calm chat.
struct Calm {
    server: TestServer,
    bystander: Bystander,
    before: Duration,
}

impl Calm {
    async fn with(variables: &[(&str, &str)]) -> Self {
        let server = TestServer::start(variables);
        let bystander = Bystander::arrive(server.address()).unwrap();
        let calm = Self { server, bystander, before: Duration::ZERO };
        let before = calm.p99().await;
        Self { before, ..calm }
    }

    /// The bystander's p99 from now on, over half a second.
    async fn p99(&self) -> Duration {
        self.bystander.forget();
        within("the bystander chats", async {
            let begun = Instant::now();
            let mut seen = 0;
            while begun.elapsed() < Duration::from_millis(500) || seen < 5 {
                assert!(self.bystander.is_well(), "the bystander's chat has ended");
                tokio::time::sleep(Duration::from_millis(50)).await;
                seen = self.bystander.count();
            }
        })
        .await;
        self.bystander.round_trips().p99()
    }

    /// Checks that the bystander is served as before during an attack. The limit is generous: attacker, server,
    /// bystander and other tests share the machine.
    fn expect_calm(&self, during: Duration) {
        let most = self.before * 20 + Duration::from_millis(400);
        assert!(during <= most, "before {:?}, during {during:?}", self.before);
    }

    fn leave(self) -> TestServer {
        self.bystander.leave().unwrap();
        self.server
    }
}

#[actix::test]
async fn pings_pongs_and_tiny_fragments_are_read_no_faster_than_twenty_for_each_frame_that_a_client_may_send() {
    // The server does not notice the end of a connection that it does not read; the next ping reveals it.
    let calm = Calm::with(&[("CHAT_HEARTBEAT_SECONDS", "1")]).await;
    for (name, begin, flood) in [
        ("pings", vec![], raw::frame(raw::PING, b"")),
        ("pongs", vec![], raw::frame(PONG, b"")),
        ("parts", raw::frame(FIRST_PART, b"{"), raw::frame(NEXT_PART, b" ")),
    ] {
        let mallory = Raw::connect(&calm.server, &format!("/ws?clientId={name}")).await;
        let (mut writing, mut reading) = mallory.split();
        let before = frames_read(&calm.server).await;
        let begun = Instant::now();
        writing.send(&begin).await;
        let flood = flood.repeat(10_000);
        let flooding = async {
            loop {
                writing.send(&flood).await;
            }
        };
        let reads = async { while reading.frame().await.is_some() {} };
        let during = tokio::select! {
            during = calm.p99() => during,
            () = flooding => unreachable!("the flood has no end"),
            () = reads => panic!("nobody is closed for it"),
        };
        let read = frames_read(&calm.server).await - before;
        // Two thousand at once, a thousand a second, and the bystander's messages.
        let most = 2_000.0 + 1_000.0 * begun.elapsed().as_secs_f64() + 500.0;
        assert!(read <= most, "{read} frames were read in {:?}", begun.elapsed());
        assert!(read >= 2_000.0, "what may be sent is read: {read}");
        calm.expect_calm(during);
        drop((writing, reading));
        only_left(&calm.server, 1.0).await;
    }
    calm.leave();
}

#[actix::test]
async fn a_flood_of_joins_or_renames_is_refused_and_then_closed_with_1008() {
    let calm = Calm::with(&[]).await;
    for (number, frame) in [r#"{"type":"join","room":"r"}"#, r#"{"type":"hello","clientId":"mal"}"#].iter().enumerate()
    {
        let mallory = Raw::connect(&calm.server, &format!("/ws?clientId=mallory-{number}")).await;
        let (mut writing, mut reading) = mallory.split();
        let flood = raw::frame(raw::TEXT, frame.as_bytes()).repeat(20_000);
        let ((), (frames, code)) = tokio::join!(writing.send(&flood), reading.drain());
        assert_eq!(code, Some(1008), "{frame}");
        let refused = frames.iter().rev().take_while(|frame| frame.text().contains("\"rate_limited\"")).count();
        assert_eq!(refused, 20, "{frame}");
    }
    let during = calm.p99().await;
    calm.expect_calm(during);
    let figures = only_left(&calm.leave(), 0.0).await;
    assert!((disconnects(&figures, "policy") - 2.0).abs() < 0.5);
}

#[actix::test]
async fn joins_and_renames_without_a_rate_limit_are_slowed_by_credits_and_told_once_a_second() {
    let unlimited = [("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_JOINS_PER_MINUTE", "0")];
    let calm = Calm::with(&[&unlimited[..], &[("CHAT_CLIENT_CREDITS", "8")]].concat()).await;
    let mut watcher = Client::connect(&calm.server, "/ws/r?clientId=watcher").await;
    watcher.send_text(r#"{"type":"join","room":"r","presence":true}"#).await;
    watcher.expect(r#"{"type":"joined"}"#).await;
    let begun = Instant::now();
    let mut flood = Vec::new();
    for number in 0..3_000 {
        flood.extend(raw::frame(raw::TEXT, br#"{"type":"join","room":"r"}"#));
        flood.extend(raw::frame(raw::TEXT, format!(r#"{{"type":"hello","clientId":"m{number}"}}"#).as_bytes()));
        flood.extend(raw::frame(raw::TEXT, br#"{"type":"leave","room":"r"}"#));
    }
    flood.extend(raw::frame(raw::CLOSE, &1000_u16.to_be_bytes()));
    let (mut writing, mut reading) = Raw::connect(&calm.server, "/ws?clientId=mallory").await.split();
    let ((), (frames, code), during) = tokio::join!(writing.send(&flood), reading.drain(), calm.p99());
    assert_eq!(code, Some(1000));
    let kinds = ["joined", "welcome", "left"].map(|kind| format!("\"type\":\"{kind}\""));
    // All but the answers in transit when the client closed.
    assert!((8_990..=9_000).contains(&frames.len()), "{}", frames.len());
    for (frame, kind) in frames.iter().zip(kinds.iter().cycle()) {
        assert!(frame.text().contains(kind), "{kind} comes next: {}", frame.text());
    }
    calm.expect_calm(during);
    // Presence is bounded, however often somebody joins and leaves.
    watcher.send_text(r#"{"type":"ping"}"#).await;
    let mut told = 0.0;
    while watcher.text().await.contains("\"presence\"") {
        told += 1.0;
    }
    assert!(told <= begun.elapsed().as_secs_f64() + 2.0, "{told} times in {:?}", begun.elapsed());
    only_left(&calm.leave(), 1.0).await;
}

#[actix::test]
async fn who_asks_and_asks_and_never_reads_the_answers_is_closed_with_4001() {
    let slow = ("CHAT_SLOW_CLIENT_SECONDS", "1");
    let calm = Calm::with(&[("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_OUTBOX_BYTES", "262144"), slow]).await;
    let mut alice = Client::connect(&calm.server, "/ws?clientId=alice").await;
    for _ in 0..100 {
        alice.send_text(&format!(r#"{{"Message":"{}"}}"#, "x".repeat(1_000))).await;
        alice.expect(r#"{"type":"message"}"#).await;
    }
    let mallory = Raw::open_narrow(calm.server.address()).await.shake_hands("/ws?clientId=mallory").await;
    let flood = raw::frame(raw::TEXT, br#"{"type":"history","room":"lobby","limit":100}"#).repeat(2_000);
    let (mut writing, mut reading) = mallory.split();
    let closed = |figures: &Exposition| disconnects(figures, "slow_consumer") > 0.5;
    let ((), figures) = tokio::join!(writing.send(&flood), figures_when(&calm.server, "it is closed", closed));
    // The client is not read while an eighth of its outbox waits, so its own requests never fill the outbox.
    assert!(figures.value("chat_outbox_bytes_highest", &[]) < 262_144.0 / 2.0, "two pages at most");
    assert_eq!(reading.drain().await.1, Some(4001));
    alice.expect_chat_works().await;
    only_left(&calm.leave(), 1.0).await;
}

#[actix::test]
async fn who_reads_a_byte_now_and_then_is_closed_with_4001_and_the_others_lose_nothing() {
    let variables = [("CHAT_SLOW_CLIENT_SECONDS", "1"), ("CHAT_MESSAGES_PER_SECOND", "0")];
    let calm = Calm::with(&[&variables[..], &[("CHAT_OUTBOX_BYTES", "262144")]].concat()).await;
    let mut alice = Client::connect(&calm.server, "/ws?clientId=alice").await;
    let mut slow = Raw::open_narrow(calm.server.address()).await.shake_hands("/ws?clientId=slow").await;
    let text = "x".repeat(16_000);
    let mut sent = 0;
    let talk = async {
        while disconnects(&Exposition::scrape(&calm.server).await, "slow_consumer") < 0.5 {
            assert!(sent < 3_000, "48 MB were written for a client that reads next to nothing");
            for _ in 0..20 {
                sent += 1;
                alice.send_text(&format!(r#"{{"Message":"{text}"}}"#)).await;
                alice.expect(&format!(r#"{{"type":"message","seq":{sent}}}"#)).await;
            }
        }
    };
    let trickle = async {
        loop {
            slow.read_byte().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let during = tokio::select! {
        ((), during) = async { tokio::join!(within("it is closed", talk), calm.p99()) } => during,
        () = trickle => unreachable!("it has no end"),
    };
    calm.expect_calm(during);
    let (frames, code) = slow.drain().await;
    assert_eq!(code, Some(4001));
    let seqs = frames.iter().filter_map(|frame| serde_json::from_str::<Value>(frame.text()).unwrap()["seq"].as_u64());
    assert!(seqs.skip(1).eq(1..frames.len() as u64), "what it was given has no gap");
    only_left(&calm.leave(), 1.0).await;
}

#[actix::test]
async fn half_a_frame_and_then_silence_is_closed_with_4002() {
    let server = TestServer::start(&[("CHAT_HEARTBEAT_SECONDS", "1")]);
    let whole = raw::frame(raw::TEXT, &b"x".repeat(100_000));
    let halves = [&whole[..1], &whole[..5], &whole[..90_000], &raw::frame(FIRST_PART, b"{")];
    join_all(halves.iter().enumerate().map(async |(number, half)| {
        let mut mallory = Raw::connect(&server, &format!("/ws?clientId=mallory-{number}")).await;
        mallory.send(half).await;
        let (frames, code) = mallory.drain().await;
        assert!(frames.iter().all(|frame| frame.opcode == raw::PING), "{frames:?}");
        assert_eq!(code, Some(4002), "{} bytes", half.len());
    }))
    .await;
    let figures = only_left(&server, 0.0).await;
    assert!((disconnects(&figures, "no_sign_of_life") - 4.0).abs() < 0.5);
}

/// The end of a client that has sent a part of its data.
#[derive(Debug, Clone, Copy)]
enum Ending {
    /// It shuts down its sending side, and reads on.
    Half,
    /// It closes the connection.
    Close,
    /// It resets the connection.
    Reset,
}

#[actix::test]
async fn whoever_ends_in_the_middle_of_anything_is_forgotten() {
    const CLIENTS: usize = 300;
    let calm = Calm::with(&[("CHAT_MESSAGES_PER_SECOND", "0")]).await;
    // The seed is the same in every run.
    let mut random = fastrand::Rng::with_seed(2_026);
    let everything: Vec<u8> = [
        raw::frame(raw::TEXT, br#"{"Message":"hello","id":"1"}"#),
        raw::frame(raw::TEXT, br#"{"type":"join","room":"dev","presence":true}"#),
        raw::frame(FIRST_PART, br#"{"Message":"in "#),
        raw::frame(raw::PING, b"still here?"),
        raw::frame(NEXT_PART, b"two par"),
        raw::frame(0x80, br#"ts","room":"dev"}"#),
        raw::frame(raw::TEXT, br#"{"type":"history","room":"lobby"}"#),
        raw::frame(raw::TEXT, br#"{"type":"join","room":"lobby","after":0,"epoch":"0"}"#),
        raw::frame(raw::TEXT, br#"{"type":"members","room":"lobby"}"#),
        raw::frame(raw::TEXT, b"/who"),
        raw::frame(raw::TEXT, br#"{"type":"leave","room":"dev"}"#),
        raw::frame(raw::TEXT, b"{nonsense"),
        raw::frame(raw::TEXT, &[&br#"{"Message":""#[..], &[b'x'; 10_000], br#""}"#].concat()),
        raw::frame(raw::CLOSE, &1000_u16.to_be_bytes()),
    ]
    .concat();
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let request = raw::handshake_request(&format!("/ws?clientId=c{number}"));
        let script = [request.as_bytes(), &everything].concat();
        let cut = random.usize(..=script.len());
        let ending = [Ending::Half, Ending::Close, Ending::Reset][random.usize(..3)];
        clients.push((script[..cut].to_vec(), random.usize(1..=cut.max(1)), ending));
    }
    let during = calm.p99();
    let attack = async {
        for some in clients.chunks(50) {
            join_all(some.iter().map(async |(script, pieces, ending)| {
                let mut client = Raw::open(calm.server.address()).await;
                for piece in script.chunks(*pieces).take(50) {
                    client.send(piece).await;
                }
                match ending {
                    Ending::Half => {
                        client.shut_down().await;
                        // The connection ends, whatever its answers.
                        timeout(Duration::from_secs(12), client.end()).await.expect("its connection ends");
                    }
                    Ending::Close => drop(client),
                    Ending::Reset => client.reset(),
                }
            }))
            .await;
        }
    };
    let (during, ()) = tokio::join!(during, attack);
    calm.expect_calm(during);
    let figures = only_left(&calm.leave(), 0.0).await;
    assert!(figures.value("chat_connections", &[]) < 0.5);
    assert!(figures.value("chat_session_panics_total", &[]) < 0.5);
    let ended: f64 = ["client", "lost", "policy"].map(|reason| disconnects(&figures, reason)).iter().sum();
    let begun = figures.value("chat_connects_total", &[]);
    assert!((ended - begun).abs() < 0.5, "{begun} came, {ended} are known to have gone");
    assert!(disconnects(&figures, "lost") > 50.0, "many ended in the middle");
}
