//! A NATS server that cannot hold the log is refused at the start, with a line that states the reason.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, StorageType};
use starling::nats::{NatsLog, NatsSettings, Syncs};
use test_kit::nats::Nats;

use crate::harness::{Node, operator, refusal, settings};

/// Changes settings.
type Change = fn(NatsSettings) -> NatsSettings;

#[tokio::test]
async fn a_server_that_cannot_hold_the_log_is_refused_with_what_it_lacks() {
    let cases: [(&str, Change, &str); 5] = [
        ("", |settings| settings, "NATS cannot hold the log: JetStream is not enabled"),
        (
            "max_payload: 1000000\njetstream {}",
            |settings| settings,
            "NATS cannot hold the log: its max_payload is 1000000, and must be at least 1048576",
        ),
        (
            "jetstream {}",
            |settings| NatsSettings { record_bytes_max: 1_100_000, ..settings },
            "NATS cannot hold the log: its max_payload is 1048576, and must be at least 1100000",
        ),
        (
            "jetstream {}",
            |settings| NatsSettings { replicas: 3, ..settings },
            "NATS is not ready: it does not make the stream starling with 3 replicas: ",
        ),
        (
            "jetstream {}\nauthorization { user: chat, password: secret }",
            |settings| settings,
            "NATS at nats://127.0.0.1:",
        ),
    ];
    for (server, ours, expected) in cases {
        let nats = Nats::with(server).await;
        let line = refusal(&ours(settings(&nats.url()))).await;
        assert!(line.starts_with(expected), "{server}: {line}");
    }
}

#[tokio::test]
async fn a_stream_that_is_not_a_log_is_refused() {
    let log = || Config { name: "starling".into(), subjects: vec!["starling.log".into()], ..Config::default() };
    let cases = [
        (Config { storage: StorageType::Memory, ..log() }, "be stored in files"),
        (Config { subjects: vec!["a.>".into()], ..log() }, "have the one subject starling.log"),
        (log(), "discard new messages where it is full"),
        (Config { max_age: Duration::from_hours(1), ..log() }, "have no max_age"),
        (Config { max_message_size: 1_000, ..log() }, "take messages of 262144 bytes"),
    ];
    let nats = Nats::start().await;
    let operator = operator(&nats.url()).await;
    for (config, expected) in cases {
        operator.create_stream(config).await.unwrap();
        let line = refusal(&settings(&nats.url())).await;
        assert!(line.contains(&format!("the stream starling must {expected}")), "{line}");
        operator.delete_stream("starling").await.unwrap();
    }
    drop(NatsLog::connect(&settings(&nats.url())).await.unwrap());
    let line = refusal(&NatsSettings { replicas: 3, ..settings(&nats.url()) }).await;
    assert!(line.contains("must have CHAT_NATS_REPLICAS=3 replicas, and has 1"), "{line}");
}

#[tokio::test]
async fn a_server_that_is_not_there_or_lets_nobody_in_is_named_without_a_password() {
    let free = test_kit::free_port();
    let url = format!("nats://chat:secret@127.0.0.1:{free}");
    let line = refusal(&settings(&url)).await;
    let expected = format!("cannot reach NATS at nats://(hidden)@127.0.0.1:{free}: ");
    assert!(line.starts_with(&expected) && !line.contains("secret"), "{line}");

    let nats = Nats::with("jetstream {}\nauthorization { user: chat, password: secret }").await;
    let with = |user: &str| settings(&nats.url().replace("nats://", &format!("nats://{user}@")));
    let line = refusal(&with("chat:wrong")).await;
    assert!(line.contains("does not accept the credentials") && !line.contains("wrong"), "{line}");
    NatsLog::connect(&with("chat:secret")).await.unwrap();

    let line = refusal(&NatsSettings { credentials: Some("no such file".into()), ..settings(&nats.url()) }).await;
    assert!(line.starts_with("cannot read CHAT_NATS_CREDENTIALS=no such file: "), "{line}");
}

#[tokio::test]
async fn the_first_of_several_servers_need_not_be_there_and_one_that_comes_late_is_waited_for() {
    let mut nats = Nats::start().await;
    let absent = format!("nats://127.0.0.1:{}", test_kit::free_port());
    let urls = vec![absent, nats.url()];
    let patient = NatsSettings { urls, patience: Duration::from_mins(1), ..settings("") };
    let mut node = Node::start(&patient, 1).await;
    node.write_upto(10).await;
    nats.kill();
    let (late, ()) = tokio::join!(NatsLog::connect(&patient), async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        nats.start_again().await;
    });
    assert!(late.unwrap().state().last.0 >= 1);
}

#[tokio::test]
async fn how_nats_syncs_is_told_where_it_can_be_seen() {
    let accounts = "
        accounts {
          SYS { users: [{ user: admin, password: admin }]
                exports: [{ service: \"$SYS.REQ.SERVER.PING.JSZ\" }] }
          CHAT { jetstream: enabled, users: [{ user: chat, password: chat }]
                 imports: [{ service: { account: SYS, subject: \"$SYS.REQ.SERVER.PING.JSZ\" } }] }
        }
        system_account: SYS";
    let cases = [
        ("jetstream {}".to_owned(), Syncs::Unknown),
        (format!("jetstream {{}}\n{accounts}"), Syncs::Later),
        (format!("jetstream {{ sync_interval: always }}\n{accounts}"), Syncs::Always),
    ];
    for (server, expected) in cases {
        let nats = Nats::with(&server).await;
        let user = if server.contains("CHAT") { "nats://chat:chat@" } else { "nats://" };
        let log = NatsLog::connect(&settings(&nats.url().replace("nats://", user))).await.unwrap();
        assert_eq!(log.syncs(), expected, "{server}");
    }
}
