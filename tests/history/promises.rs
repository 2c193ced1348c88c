//! Behaviour across restarts, retention, search, and the operator's commands.

use std::io::Read;
use std::process::Stdio;

use serde_json::json;
use tempfile::tempdir;
use test_kit::token::{self, JWT};
use test_kit::{Client, LOOK, Process, within};

use super::harness::{page, run, seqs, starling};

#[actix_web::test]
async fn after_a_restart_seq_goes_on_by_one_the_epoch_stays_and_ids_are_remembered() {
    let folder = tempdir().unwrap();
    let server = starling().start(folder.path(), &[]);
    let (mut alice, welcome) = Client::enter(&server, "/ws/dev?clientId=alice").await;
    for number in 1..=3 {
        alice.send_json(&json!({"Message": format!("says {number}"), "id": format!("m{number}")})).await;
        assert_eq!(alice.next_of("ack").await["seq"], number);
    }
    server.kill();
    let server = starling().start(folder.path(), &[]);
    let path = format!("/ws/dev?clientId=alice&key={}", welcome["key"].as_str().unwrap());
    let (mut alice, again) = Client::enter(&server, &path).await;
    assert_eq!(again["key"], welcome["key"], "the client keeps its key");
    assert_eq!((&again["epoch"], &again["seq"]), (&welcome["epoch"], &json!(3)));
    alice.send_json(&json!({"Message": "says 2", "id": "m2"})).await;
    let repeated = alice.next_of("ack").await;
    assert_eq!((&repeated["seq"], &repeated["duplicate"]), (&json!(2), &json!(true)));
    alice.send_json(&json!({"Message": "says 4", "id": "m4"})).await;
    assert_eq!(alice.next_of("ack").await["seq"], 4);
    let (messages, more) = page(&server, "/api/rooms/dev/messages");
    assert_eq!((seqs(&messages), more), (vec![1, 2, 3, 4], false));
}

#[actix_web::test]
async fn after_a_restart_a_client_resumes_from_any_seq_and_then_hears_what_is_new() {
    let folder = tempdir().unwrap();
    let server = starling().start(folder.path(), &[("CHAT_MESSAGES_PER_SECOND", "0")]);
    let (mut alice, welcome) = Client::enter(&server, "/ws?clientId=alice").await;
    for number in 1..=400 {
        alice.send_json(&json!({"Message": "x".repeat(1_000), "id": number.to_string()})).await;
    }
    while alice.next_of("ack").await["seq"] != 400 {}
    server.stop();
    let server = starling().start(folder.path(), &[]);
    for after in [0, 1, 199, 399, 400] {
        let (mut bob, _) = Client::enter(&server, &format!("/ws?clientId=bob-{after}")).await;
        bob.send_json(&json!({"type": "join", "room": "lobby", "after": after, "epoch": welcome["epoch"]})).await;
        assert_eq!(bob.next_of("joined").await["recovered"], true);
        for seq in after + 1..=400 {
            assert_eq!(bob.next_of("message").await["seq"], seq);
        }
    }
}

#[actix_web::test]
async fn after_a_kill_messages_have_their_changes_and_no_text_that_is_gone() {
    let folder = tempdir().unwrap();
    // One message is in memory, so that the others come from the file.
    let variables = [("CHAT_HISTORY_MESSAGES", "1")];
    let server = starling().start(folder.path(), &variables);
    let (mut alice, welcome) = Client::enter(&server, "/ws?clientId=alice").await;
    let steps = [
        json!({"Message": "one"}),
        json!({"Message": "secretword two", "replyTo": 1}),
        json!({"type": "edit", "of": 1, "Message": "first"}),
        json!({"type": "react", "of": 1, "emoji": "👍"}),
        json!({"type": "edit", "of": 2, "Message": "secretword edited"}),
        json!({"type": "delete", "of": 2}),
        json!({"type": "react", "of": 1, "emoji": "🎉"}),
    ];
    for (seq, step) in (1..).zip(steps) {
        let mut frame = step;
        (frame["room"], frame["id"]) = ("lobby".into(), format!("id-{seq}").into());
        alice.send_json(&frame).await;
        assert_eq!(alice.next_of("ack").await["seq"], seq, "{frame}");
    }
    let (before, _) = page(&server, "/api/rooms/lobby/messages");
    server.kill();
    let server = starling().start(folder.path(), &variables);
    let (after, _) = page(&server, "/api/rooms/lobby/messages");
    assert_eq!(after, before);
    let reactions = json!([{"emoji": "👍", "count": 1, "clientIds": ["alice"]}, {"emoji": "🎉", "count": 1, "clientIds": ["alice"]}]);
    assert_eq!((&after[0]["Message"], &after[0]["reactions"]), (&json!("first"), &reactions));
    assert_eq!(
        (&after[1]["Message"], &after[1]["deleted"], &after[1]["replyTo"]),
        (&json!(null), &json!(true), &json!(1))
    );
    let found = |query: &str| seqs(&page(&server, &format!("/api/rooms/lobby/messages?q={query}")).0);
    assert_eq!((found("first"), found("secretword"), found("one")), (vec![1], vec![], vec![]));
    let path = format!("/ws?clientId=alice&key={}", welcome["key"].as_str().unwrap());
    let (mut alice, _) = Client::enter(&server, &path).await;
    alice.send_json(&json!({"type": "join", "room": "lobby", "after": 2, "epoch": welcome["epoch"]})).await;
    assert_eq!(alice.next_of("joined").await["recovered"], true);
    for (kind, text) in
        [("edited", json!("first")), ("reaction", json!(null)), ("edited", json!(null)), ("deleted", json!(null))]
    {
        assert_eq!(alice.next_of(kind).await["Message"], text, "{kind}");
    }
    alice.next_of("reaction").await;
    // The `id`s of changes are remembered, and the client still owns its message.
    alice.send_json(&json!({"type": "edit", "room": "lobby", "of": 1, "Message": "first", "id": "id-3"})).await;
    let again = alice.next_of("ack").await;
    assert_eq!((&again["seq"], &again["duplicate"]), (&json!(3), &json!(true)));
    alice.send_json(&json!({"type": "edit", "room": "lobby", "of": 1, "Message": "last", "id": "id-8"})).await;
    assert_eq!(alice.next_of("ack").await["seq"], 8);
    server.stop();
    let exported = String::from_utf8(run(folder.path(), &["history", "export"]).stdout).unwrap();
    assert!(exported.contains(r#""Message":"last""#) && exported.contains(r#""deleted":true"#), "{exported}");
    let checked = run(folder.path(), &["history", "check"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    for file in std::fs::read_dir(folder.path().join("data")).unwrap().map(|entry| entry.unwrap().path()) {
        let bytes = std::fs::read(&file).unwrap();
        let has = |text: &[u8]| bytes.windows(text.len()).any(|bytes| bytes == text);
        let is_index = file.to_string_lossy().contains("-search");
        assert!(is_index || !has(b"secretword"), "{}", file.display());
    }
    let backup = run(folder.path(), &["backup", "copy.db"]);
    assert!(backup.status.success(), "{backup:?}");
    let copy = folder.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    let restored = starling().run(&copy, &["restore", "../copy.db"], &[]);
    assert!(restored.status.success(), "{restored:?}");
    assert_eq!(
        String::from_utf8(starling().run(&copy, &["history", "export"], &[]).stdout).unwrap().lines().count(),
        2
    );
}

#[actix_web::test]
async fn a_message_has_at_most_50_emoji_however_many_reactions_come_at_the_same_moment() {
    let folder = tempdir().unwrap();
    let server = starling().start(folder.path(), &[("CHAT_MESSAGES_PER_SECOND", "0")]);
    let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
    alice.send_json(&json!({"Message": "hello", "id": "m"})).await;
    alice.next_of("ack").await;
    for emoji in ('\u{4e00}'..).take(64) {
        alice.send_json(&json!({"type": "react", "room": "lobby", "of": 1, "emoji": emoji, "id": emoji})).await;
    }
    let mut answered = 0;
    while answered < 64 {
        answered += usize::from(["ack", "error"].contains(&alice.next().await.unwrap()["type"].as_str().unwrap()));
    }
    let (messages, _) = page(&server, "/api/rooms/lobby/messages?limit=1&before=2");
    assert_eq!(messages[0]["reactions"].as_array().unwrap().len(), 50);
}

#[actix_web::test]
async fn a_room_is_there_again_while_it_has_history_and_private_messages_are_not_stored() {
    let folder = tempdir().unwrap();
    let server = starling().start(folder.path(), &[]);
    let (mut alice, _) = Client::enter(&server, "/ws/dev?clientId=alice").await;
    let (_bob, _) = Client::enter(&server, "/ws/empty?clientId=bob").await;
    alice.send_json(&json!({"Message": "for all"})).await;
    alice.next_of("message").await;
    alice.send_json(&json!({"Message": "psst", "to": "bob", "id": "p"})).await;
    alice.next_of("ack").await;
    server.stop();
    let server = starling().start(folder.path(), &[]);
    let rooms: serde_json::Value = serde_json::from_str(&server.get("/api/rooms").1).unwrap();
    assert_eq!(rooms["rooms"], json!([{"room": "dev", "count": 0, "seq": 1}]));
    server.stop();
    let exported = String::from_utf8(run(folder.path(), &["history", "export"]).stdout).unwrap();
    assert!(exported.contains("for all") && !exported.contains("psst"), "{exported}");
}

#[actix_web::test]
async fn a_room_keeps_so_many_messages_and_its_seqs_and_ids_go_on_when_the_oldest_are_dropped() {
    let folder = tempdir().unwrap();
    let variables = [("CHAT_HISTORY_KEEP_MESSAGES", "10"), ("CHAT_MESSAGES_PER_SECOND", "0")];
    let server = starling().start(folder.path(), &variables);
    let (mut alice, welcome) = Client::enter(&server, "/ws?clientId=alice").await;
    for number in 1..=700 {
        alice.send_json(&json!({"Message": "x", "id": number.to_string()})).await;
    }
    while alice.next_of("ack").await["seq"] != 700 {}
    within("the oldest messages are dropped", async {
        while seqs(&page(&server, "/api/rooms/lobby/messages?after=0&limit=200").0) != (691..=700).collect::<Vec<_>>() {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    server.kill();
    let server = starling().start(folder.path(), &variables);
    let path = format!("/ws?clientId=alice&key={}", welcome["key"].as_str().unwrap());
    let (mut alice, _) = Client::enter(&server, &path).await;
    alice.send_json(&json!({"Message": "x", "id": "5"})).await;
    assert_eq!(alice.next_of("ack").await["seq"], 5, "the id is remembered although its message was dropped");
    server.stop();
    let checked = run(folder.path(), &["history", "check"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[actix_web::test]
async fn by_age_everything_goes_and_seq_goes_on() {
    let folder = tempdir().unwrap();
    let variables = [("CHAT_HISTORY_KEEP_SECONDS", "1")];
    let server = starling().start(folder.path(), &variables);
    let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
    alice.send_json(&json!({"Message": "x", "id": "1"})).await;
    alice.next_of("ack").await;
    within("the message is dropped by age", async {
        while !page(&server, "/api/rooms/lobby/messages").0.is_empty() {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    server.kill();
    let server = starling().start(folder.path(), &variables);
    assert_eq!(Client::enter(&server, "/ws?clientId=alice").await.1["seq"], 1);
}

#[actix_web::test]
async fn a_search_finds_the_newest_first_page_by_page_in_its_room_only() {
    let folder = tempdir().unwrap();
    let server = starling().start(folder.path(), &[]);
    let (mut alice, _) = Client::enter(&server, "/ws/dev?clientId=alice").await;
    let (mut bob, _) = Client::enter(&server, "/ws/other?clientId=bob").await;
    for text in ["green tea", "black tea", "Tea, green as grass", "no \"OR\" green NEAR", "grün"] {
        alice.send_json(&json!({"Message": text})).await;
        alice.next_of("message").await;
    }
    bob.send_json(&json!({"Message": "green tea elsewhere"})).await;
    bob.next_of("message").await;
    let find = |query: &str| {
        let (messages, more) = page(&server, &format!("/api/rooms/dev/messages?q={query}"));
        (seqs(&messages), more)
    };
    assert_eq!(find("green+tea"), (vec![3, 1], false));
    assert_eq!(find("green&limit=2"), (vec![4, 3], true));
    assert_eq!(find("green&limit=2&before=3"), (vec![1], false));
    assert_eq!(find("%22green+tea%22"), (vec![1], false));
    assert_eq!(find("OR"), (vec![4], false));
    assert_eq!(find("GRUN"), (vec![5], false));
    assert_eq!(server.get("/api/rooms/dev/messages?q=%22%22").0, 400);
    assert_eq!(server.get("/api/rooms/dev/messages?q=green&after=1").0, 400);
}

#[actix_web::test]
async fn a_search_finds_the_beginnings_of_words_and_the_words_of_scripts_without_blanks() {
    let texts = [
        "the greenhouse is open",
        "今天天气很好",
        "東京タワーへ行きます",
        "ผมชอบกินข้าวผัด",
        "green",
        "안녕하세요 여러분",
    ];
    let cases = [
        ("green", vec![5, 1]),
        ("greenh", vec![1]),
        ("天气", vec![2]),
        ("好", vec![2]),
        ("東京", vec![3]),
        ("タワー", vec![3]),
        ("กินข้าว", vec![4]),
        ("안녕하", vec![6]),
        ("안녕", vec![6]),
        ("open the green", vec![1]),
        ("天好", vec![]),
    ];
    for history in ["sqlite", "memory"] {
        let folder = tempdir().unwrap();
        let server = starling().start(folder.path(), &[("CHAT_HISTORY", history)]);
        let (mut alice, _) = Client::enter(&server, "/ws/dev?clientId=alice").await;
        for text in texts {
            alice.send_json(&json!({"Message": text})).await;
            alice.next_of("message").await;
        }
        let find = |query: &str| {
            let query = percent_encoding::utf8_percent_encode(query, percent_encoding::NON_ALPHANUMERIC);
            seqs(&page(&server, &format!("/api/rooms/dev/messages?q={query}")).0)
        };
        for (query, wanted) in &cases {
            assert_eq!(&find(query), wanted, "{history}: {query}");
        }
        if history == "sqlite" {
            assert_eq!(find("\"green\""), [5], "a phrase is found as it is");
            assert_eq!(find("gr"), [0_u64; 0], "two letters begin too many words");
        }
    }
}

#[actix_web::test]
async fn an_operator_checks_exports_and_vacuums() {
    let folder = tempdir().unwrap();
    let server = starling().start(folder.path(), &[]);
    for room in ["one", "two"] {
        let (mut client, _) = Client::enter(&server, &format!("/ws/{room}?clientId={room}")).await;
        client.send_json(&json!({"Message": "hello", "id": "m"})).await;
        client.next_of("ack").await;
    }
    let said = |arguments: &[&str]| {
        let output = run(folder.path(), arguments);
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    // A check also works while the server runs.
    assert_eq!(said(&["history", "check"]), (true, "version 12, 2 rooms, 2 messages\nno problem found\n".into()));
    let (worked, refused) = said(&["history", "vacuum"]);
    assert!(!worked && refused.contains("is held by another process"), "{refused}");
    server.stop();
    let (_, exported) = said(&["history", "export", "--room", "two"]);
    let line: serde_json::Value = serde_json::from_str(exported.trim_end()).unwrap();
    assert_eq!((&line["room"], &line["seq"], &line["Message"]), (&json!("two"), &json!(1), &json!("hello")));
    assert_eq!(said(&["history", "export"]).1.lines().count(), 2);
    assert!(!said(&["history", "export", "--room", "three"]).0);
    assert!(said(&["history", "vacuum"]).0 && said(&["history", "check"]).0);
}

#[actix_web::test]
async fn an_export_that_nobody_reads_does_not_hold_the_log_and_a_log_that_is_held_is_counted() {
    let folder = tempdir().unwrap();
    let server = starling().start(folder.path(), &[("CHAT_MESSAGES_PER_SECOND", "0")]);
    let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
    let mut number = 0;
    let mut say = async |count: u32| {
        for _ in 0..count {
            number += 1;
            alice.send_json(&json!({"Message": "x".repeat(16_000), "id": number.to_string()})).await;
            if number % 10 == 0 {
                let last = number.to_string();
                while alice.next_of("ack").await["id"] != last {}
            }
        }
    };
    let log = || std::fs::metadata(folder.path().join("data/starling.db-wal")).unwrap().len();
    // More than a pipe's buffer holds.
    say(100).await;
    let mut export =
        starling().command(folder.path(), &["history", "export"], &[]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0];
    export.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    // The export now waits for its reader. Nevertheless the server restarts the log from its beginning at some point.
    let mut before = log();
    within("the log begins anew", async {
        loop {
            say(10).await;
            let now = log();
            if now == before {
                return;
            }
            before = now;
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    export.kill().unwrap();
    export.wait().unwrap();
    // This connection holds a snapshot, so the log cannot be restarted.
    let holder = rusqlite::Connection::open(folder.path().join("data/starling.db")).unwrap();
    holder.execute_batch("BEGIN; SELECT count(*) FROM rooms;").unwrap();
    let counted = || -> f64 {
        let metrics = server.get("/metrics").1;
        let line = metrics.lines().find(|line| line.starts_with("chat_history_bytes ")).unwrap();
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    let start = log();
    within("the log grows", async {
        while log() < start + 2_000_000 {
            say(10).await;
        }
    })
    .await;
    let database: u64 = holder
        .query_row("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", [], |row| row.get(0))
        .unwrap();
    within("the log is counted", async {
        while counted() < (log() + database / 2) as f64 {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
}

#[actix_web::test]
async fn of_a_private_message_the_receivers_copy_is_remembered_and_forgotten_with_its_inbox() {
    let folder = tempdir().unwrap();
    let (alice_is, bob_is) = (token::issue(&starling(), &["alice"]), token::issue(&starling(), &["bob"]));
    let whisper = async |server: &Process| {
        let (mut alice, _) = Client::enter(server, &format!("/ws?token={alice_is}")).await;
        assert!(alice.try_send_json(&json!({"to": "bob", "Message": "psst", "id": "p"})).await);
        let ack = alice.next_of("ack").await;
        assert_eq!(ack["to"], "bob", "{ack}");
        ack["duplicate"].clone()
    };
    let server = starling().start(folder.path(), &JWT);
    assert_eq!(whisper(&server).await, json!(null));
    server.kill();
    let server = starling().start(folder.path(), &JWT);
    assert_eq!(whisper(&server).await, json!(true));
    server.kill();
    let dropped = run(folder.path(), &["history", "drop", "--inbox", "bob"]);
    assert!(dropped.status.success(), "{dropped:?}");
    let server = starling().start(folder.path(), &JWT);
    // The dropped copy does not count: this is a new message, and bob receives it.
    assert_eq!(whisper(&server).await, json!(null));
    let (_, welcome) = Client::enter(&server, &format!("/ws?token={bob_is}")).await;
    assert_eq!(welcome["inbox"]["seq"], 1, "{welcome}");
}

#[actix_web::test]
async fn at_the_limit_of_a_files_size_sending_is_refused_and_goes_on_when_it_is_raised() {
    let folder = tempdir().unwrap();
    let server = starling().start(folder.path(), &[("CHAT_MESSAGES_PER_SECOND", "0")]);
    let (mut alice, _) = Client::enter(&server, "/ws?clientId=alice").await;
    let limit = |bytes| {
        let pid = rustix::process::Pid::from_raw(server.id().cast_signed());
        let limit = rustix::process::Rlimit { current: bytes, maximum: None };
        rustix::process::prlimit(pid, rustix::process::Resource::Fsize, limit).unwrap();
    };
    limit(Some(256 * 1024));
    let mut acknowledged = 0;
    loop {
        let id = (acknowledged + 1).to_string();
        assert!(alice.try_send_json(&json!({"Message": "x".repeat(4_000), "id": id})).await, "the connection is open");
        let answer = loop {
            let answer = alice.next().await.expect("the connection stays open");
            if answer["id"] == id && answer["type"] != "message" {
                break answer;
            }
        };
        if answer["type"] == "error" {
            assert_eq!(answer["code"], "unavailable");
            break;
        }
        acknowledged += 1;
    }
    let reason = server.status_becomes("/readyz", 503).await;
    assert!(reason.contains("the history cannot be stored"), "{reason}");
    limit(None);
    server.status_becomes("/readyz", 200).await;
    assert!(alice.try_send_json(&json!({"Message": "again", "id": "again"})).await);
    while alice.next_of("ack").await["id"] != "again" {}
    server.kill();
    let server = starling().start(folder.path(), &[]);
    assert_eq!(Client::enter(&server, "/ws?clientId=bob").await.1["seq"], acknowledged + 1);
    server.stop();
    // A command reports the error, and removes the unfinished file.
    let output = starling().under(&["prlimit", "--fsize=40000"]).run(folder.path(), &["backup", "kept.db"], &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("cannot write kept.db"), "{said}");
    assert!(!folder.path().join("kept.db").exists());
}
