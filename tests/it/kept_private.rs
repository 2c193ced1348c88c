//! The swarm's program, over TLS and with tokens, against a server that stores private messages and is killed.

use std::fs;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use bot_swarm::report::document::Judgement;
use jsonwebtoken::{EncodingKey, Header, encode};
use rustix::process::Signal;
use serde_json::json;
use test_kit::token::{JWT, SECRET};
use test_kit::{LOOK, Process, within};

use crate::harness::starling;
use crate::swarm::SwarmProcess;
use crate::tls::Identity;

const BOTS: u32 = 30;

/// Starts a server with TLS and tokens, with its history in the folder of its certificate.
fn start(identity: &Identity, bind: &str) -> Process {
    let (cert, key) = (identity.path("cert.pem"), identity.path("key.pem"));
    let variables = [
        ("CHAT_BIND", bind),
        ("CHAT_TLS_CERT", &*cert),
        ("CHAT_TLS_KEY", &*key),
        JWT[0],
        JWT[1],
        ("CHAT_HISTORY", "sqlite"),
    ];
    starling().start(identity.folder(), &variables)
}

/// Waits until all bots are connected, and there are as many accepted private messages as bots.
async fn everybody_whispers(identity: &Identity, address: SocketAddr) {
    let bots = f64::from(BOTS) - 0.5;
    within("everybody is there and whispers", async {
        loop {
            let figures = identity.figures(address).await;
            let whispered = figures.value("chat_messages_total", &[("kind", "private")]);
            if figures.value("chat_connections", &[]) > bots && whispered > bots {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
}

/// The settings of bots that write in rooms and in private, with tokens that they sign.
fn settings<'a>(url: &'a str, ca_file: &'a str) -> Vec<(&'static str, &'a str)> {
    vec![
        ("BOT_SERVER_URL", url),
        ("BOT_CA_FILE", ca_file),
        ("BOT_TOKEN_SECRET", SECRET),
        ("BOT_NAME_PREFIX", "bot"),
        ("BOT_COUNT", "30"),
        ("BOT_ROOMS", "3"),
        ("BOT_BEHAVIOURS", "private=4,chatter=1,lurker=1"),
        ("BOT_MESSAGES_PER_SECOND", "5"),
    ]
}

#[actix::test]
async fn private_messages_that_are_stored_come_once_and_in_order_through_kills_over_tls_with_tokens() {
    let identity = Identity::new();
    let mut server = start(&identity, "127.0.0.1:0");
    let address = server.address();
    let url = format!("wss://localhost:{}/ws", address.port());
    let ca_file = identity.path("ca.pem");
    let swarm = SwarmProcess::start_with(&settings(&url, &ca_file));
    for _ in 0..2 {
        everybody_whispers(&identity, address).await;
        server.signal(Signal::KILL);
        assert_eq!(server.exit_code().await, None);
        server = start(&identity, &address.to_string());
    }
    everybody_whispers(&identity, address).await;
    swarm.stop();
    let (code, report) = swarm.report().await;
    assert_eq!((code, report.verdict.judgement), (Some(0), Judgement::Kept), "{report}");
    let ledger = &report.ledger;
    assert!(ledger.faults().iter().all(|(_, count)| *count == 0), "{report}");
    assert_eq!((ledger.expected, ledger.private_unknown), (ledger.received, 0), "{report}");
    assert_eq!((report.messages.not_done, report.bots.away), (0, 0), "{report}");
    assert_eq!(report.bots.reconnects, 2 * u64::from(BOTS), "{report}");
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code().await, Some(0));
    let check = starling().run(identity.folder(), &["history", "check"], &[]);
    assert!(check.status.success(), "{check:?}");
}

/// Writes tokens for all bots that expire after this many seconds, or have expired before.
fn token_file(identity: &Identity, name: &str, seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let token = |bot: u32| {
        let claims = json!({ "sub": format!("bot-{bot}"), "exp": now.checked_add_signed(seconds).unwrap() });
        encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
    };
    let path = identity.path(name);
    fs::write(&path, (0..BOTS).map(token).collect::<Vec<_>>().join("\n")).unwrap();
    path
}

#[actix::test]
async fn a_swarm_that_is_not_believed_or_does_not_believe_is_not_kept_and_says_why() {
    let (identity, other) = (Identity::new(), Identity::new());
    let server = start(&identity, "127.0.0.1:0");
    let url = format!("wss://localhost:{}/ws", server.address().port());
    let (ours, theirs) = (identity.path("ca.pem"), other.path("ca.pem"));
    let expired = token_file(&identity, "expired", -60);
    let cases: [(&[(&str, &str)], &str); 3] = [
        (&[("BOT_CA_FILE", &theirs)], "TLS: invalid peer certificate: UnknownIssuer"),
        (&[("BOT_TOKEN_SECRET", "another secret of thirty-two bytes")], "HTTP 401 unauthorized"),
        (&[("BOT_TOKEN_SECRET", ""), ("BOT_TOKEN_FILE", &expired)], "HTTP 401 unauthorized"),
    ];
    for (otherwise, why) in cases {
        let settings = [&settings(&url, &ours)[..], &[("BOT_SECONDS", "1")], otherwise].concat();
        let (code, report) = SwarmProcess::start_with(&settings).report().await;
        assert_eq!((code, report.verdict.judgement), (Some(1), Judgement::Broken), "{otherwise:?}\n{report}");
        let line = &report.verdict.line;
        assert!(
            line.starts_with("BROKEN: bots: no bot was connected (") && line.contains(why),
            "{otherwise:?}: {line}"
        );
    }
}

#[actix::test]
async fn a_swarm_whose_tokens_end_in_the_run_is_not_kept_and_says_why() {
    let identity = Identity::new();
    let server = start(&identity, "127.0.0.1:0");
    let url = format!("wss://localhost:{}/ws", server.address().port());
    let ca_file = identity.path("ca.pem");
    let tokens = token_file(&identity, "soon", 5);
    let otherwise: [(&str, &str); 4] =
        [("BOT_TOKEN_SECRET", ""), ("BOT_TOKEN_FILE", &tokens), ("BOT_SECONDS", "8"), ("BOT_DRAIN_SECONDS", "1")];
    let settings = [&settings(&url, &ca_file)[..], &otherwise].concat();
    let (code, report) = SwarmProcess::start_with(&settings).report().await;
    assert_eq!((code, report.verdict.judgement), (Some(1), Judgement::Broken), "{report}");
    assert!(report.verdict.line.starts_with("BROKEN: clean: ") && report.verdict.line.contains("away"), "{report}");
    assert_eq!(report.bots.away, u64::from(BOTS), "{report}");
    for error in ["close 1008", "HTTP 401 unauthorized"] {
        assert!(report.errors.contains_key(error), "{error}: {report}");
    }
}
