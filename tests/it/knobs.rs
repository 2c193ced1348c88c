//! Every knob of both programs, at each end of its range and beyond it.

use std::path::Path;
use std::process::Command;

use bot_swarm::config::KNOBS;
use bot_swarm::redaction::{self, HIDDEN};
use starling::Config;

use crate::harness::{bot_swarm, starling};

/// Valid and invalid values of a knob, to be given to the program.
struct Case {
    /// Valid values, with the printed value if it differs.
    good: Vec<String>,
    bad: Vec<String>,
}

/// Values that are not valid numbers in any range.
const GARBAGE: [&str; 9] = ["", "x", "-1", "1e3", "0x10", "1 000", "1_000", "99999999999999999999999", "NaN"];

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// The case of a whole number, from its documented range.
fn whole(least: u64, most: u64) -> Case {
    let mut bad: Vec<String> = strings(&GARBAGE);
    bad.extend([format!("{least}.5"), format!("{most}0"), (u128::from(most) + 1).to_string()]);
    bad.extend(least.checked_sub(1).map(|below| below.to_string()));
    Case { good: vec![least.to_string(), most.to_string()], bad }
}

/// Values that other knobs need for the tested value to be consistent.
fn beside(variable: &str, value: &str) -> Vec<(&'static str, String)> {
    let number = value.parse::<u64>().unwrap_or(0);
    match variable {
        "CHAT_MESSAGE_BYTES" if number > 10_000 => {
            vec![("CHAT_FRAME_BYTES", "16777216".into()), ("CHAT_OUTBOX_BYTES", "67108864".into())]
        }
        "CHAT_FRAME_BYTES" => vec![("CHAT_MESSAGE_BYTES", "1".into())],
        "CHAT_OUTBOX_BYTES" => vec![("CHAT_OUTBOXES_BYTES", "1099511627776".into())],
        "CHAT_OUTBOXES_BYTES" => vec![("CHAT_OUTBOX_BYTES", "262144".into()), ("CHAT_WORKERS", "1".into())],
        "CHAT_WORKERS" => vec![("CHAT_OUTBOX_BYTES", "262144".into())],
        "CHAT_TLS_CERT" if !value.is_empty() => vec![("CHAT_TLS_KEY", "key.pem".into())],
        "CHAT_TLS_KEY" if !value.is_empty() => vec![("CHAT_TLS_CERT", "cert.pem".into())],
        "CHAT_NATS_CREDENTIALS" if !value.is_empty() => vec![("CHAT_NATS_URL", "nats://localhost".into())],
        "CHAT_WEBHOOK_URLS" if !value.is_empty() => vec![("CHAT_WEBHOOK_SECRET", "s".repeat(16))],
        "CHAT_AUTH" if value == "jwt" => vec![("CHAT_JWT_SECRET", "s".repeat(32))],
        "CHAT_JWT_SECRET" | "CHAT_JWT_PUBLIC_KEY_FILE" if !value.is_empty() => vec![("CHAT_AUTH", "jwt".into())],
        _ => Vec::new(),
    }
}

/// The case of a knob of the server.
fn of_server(variable: &str, range: &str) -> Case {
    if let Some(ends) = range.strip_prefix("a whole number from ") {
        let (least, most) = ends.split_once(" to ").unwrap();
        return whole(least.parse().unwrap(), most.parse().unwrap());
    }
    let (good, bad) = match variable {
        "CHAT_BIND" => (
            strings(&["0.0.0.0:0", "127.0.0.1:65535", "[::1]:1", "255.255.255.255:1"]),
            strings(&[
                "",
                "x",
                "127.0.0.1",
                "127.0.0.1:65536",
                "127.0.0.1:-1",
                "localhost:1",
                ":1",
                "256.0.0.1:1",
                "::1:1x",
            ]),
        ),
        "CHAT_TRUSTED_PROXIES" => (
            strings(&["", "10.0.0.1/32", "0.0.0.0/0", "10.0.0.0/32", "10.0.0.0/8,fd00::/8", "::/128"]),
            strings(&["x", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0", "::/129"]),
        ),
        "CHAT_ALLOWED_ORIGINS" => (
            strings(&["", "*", "https://chat.example.org", "http://localhost:3000,https://a"]),
            strings(&["x", "chat.example.org", "https://", "https://a/path"]),
        ),
        "CHAT_FORWARDED_HEADER" => {
            (strings(&["x-forwarded-for", "forwarded"]), strings(&["", "x", "X-Forwarded-For", "forwarded,"]))
        }
        "CHAT_HISTORY" => (strings(&["sqlite", "memory", "off"]), strings(&["", "x", "SQLite", "none"])),
        "CHAT_HISTORY_SYNC" => (strings(&["normal", "full"]), strings(&["", "x", "off", "FULL"])),
        "CHAT_WEBHOOK_URLS" => (
            strings(&["", "https://example.org/", "http://127.0.0.1:9000,https://[::1]:8443"]),
            strings(&[
                "x",
                "ftp://example.org",
                "https://",
                "https://a:b@a",
                "http://a,http://a",
                "http://a,",
                "http://a:b",
            ])
            .into_iter()
            .chain(strings(&["http://a:99999/", "http://a:", "http://a?b", "http://a/#b", "http://a\\b"]))
            .collect(),
        ),
        "CHAT_WEBHOOK_ROOMS" => {
            (strings(&["*", "dev", "dev,team-*,x?"]), strings(&["", ",", "dev,", "dev, ops", "a/*"]))
        }
        "CHAT_SEEN_BY" => (strings(&["true", "false"]), strings(&["", "1", "True", "yes"])),
        "CHAT_AUTH" => (strings(&["open", "jwt"]), strings(&["", "x", "JWT", "none"])),
        "CHAT_LOG_FORMAT" => (strings(&["text", "json"]), strings(&["", "x", "JSON", "logfmt"])),
        "CHAT_LOG" => (
            strings(&["off", "error", "warn", "info", "debug", "trace", "info,starling_actors=debug", "starling=off"]),
            strings(&["", "x", "warning", "inf0", "info,", "info;warn", "=info", "a=", "5"]),
        ),
        "CHAT_HISTORY_PATH" => (strings(&["a.db", "folder/a b.db"]), strings(&["", "folder/"])),
        "CHAT_TLS_CERT" | "CHAT_TLS_KEY" | "CHAT_JWT_PUBLIC_KEY_FILE" | "CHAT_NATS_CREDENTIALS" => {
            (strings(&["", "file.pem"]), strings(&["folder/"]))
        }
        "CHAT_PATH_PREFIX" => (
            strings(&["", "/chat", "/team/chat"]),
            strings(&["x", "chat", "//chat", "/a b", "/api", "/ws/chat", "/..", "/a/../b"]),
        ),
        "CHAT_WEB_DIR" => (strings(&["", "."]), strings(&["no such folder"])),
        _ => of_nodes(variable)
            .or_else(|| of_secret(variable))
            .unwrap_or_else(|| panic!("{variable} has no case: {range}")),
    };
    Case { good, bad }
}

/// The case of a knob of several nodes.
fn of_nodes(variable: &str) -> Option<(Vec<String>, Vec<String>)> {
    Some(match variable {
        "CHAT_NATS_URL" => (
            strings(&["", "nats://localhost:4222", "tls://[::1]", "nats://a:1,nats://b:2"]),
            strings(&[
                "x",
                "localhost:4222",
                "http://localhost",
                "nats://",
                "nats://a,",
                "nats://a b",
                "nats://a:99999",
            ]),
        ),
        "CHAT_NATS_STREAM" => {
            (strings(&["a", "my_chat-2", &"n".repeat(32)]), strings(&["", "a.b", "a b", "*", &"n".repeat(33)]))
        }
        "CHAT_NODE_NAME" => {
            (strings(&["", "node-1", &"n".repeat(32)]), strings(&["a.b", "a b", "\u{e4}", &"n".repeat(33)]))
        }
        "CHAT_NATS_REPLICAS" => (strings(&["1", "3", "5"]), strings(&["", "x", "0", "2", "7"])),
        _ => return None,
    })
}

/// The case of a secret of the server.
fn of_secret(variable: &str) -> Option<(Vec<String>, Vec<String>)> {
    let least = match variable {
        "CHAT_JWT_SECRET" => 32,
        "CHAT_ADMIN_TOKEN" | "CHAT_WEBHOOK_SECRET" => 16,
        _ => return None,
    };
    let secret = |length: usize| "s".repeat(length);
    Some((vec![String::new(), secret(least), secret(4_096)], vec![secret(least - 1), secret(4_097), secret(1)]))
}

#[test]
fn the_server_takes_each_knob_within_its_range_and_refuses_it_past_it() {
    let folder = tempfile::tempdir().unwrap();
    for knob in Config::knobs() {
        let case = of_server(knob.variable, &knob.range);
        let run = |value: &str| {
            let beside = beside(knob.variable, value);
            let mut variables: Vec<(&str, &str)> = beside.iter().map(|(name, value)| (*name, value.as_str())).collect();
            variables.push((knob.variable, value));
            starling().run(folder.path(), &["--print-config"], &variables)
        };
        for value in &case.good {
            let output = run(value);
            let stdout = String::from_utf8(output.stdout).unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(0), "{}={value}: {stderr}", knob.variable);
            let is_secret = of_secret(knob.variable).is_some() && !value.is_empty();
            let shown = if is_secret { "(hidden)" } else { value };
            let line = starling_process::dotenv::line(knob.variable, shown);
            assert!(stdout.lines().any(|printed| printed == line), "{line}: {stdout}");
        }
        for value in &case.bad {
            let output = run(value);
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(
                (output.status.code(), output.stdout.len()),
                (Some(1), 0),
                "{}={value}: {stderr}",
                knob.variable
            );
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
            let named = format!("starling: {}=", knob.variable);
            assert!(stderr.starts_with(&named) && stderr.contains(&format!(": must be {}", knob.range)), "{stderr}");
        }
    }
}

/// The case of a knob of the bots.
fn of_bots(variable: &str, range: &str) -> Case {
    if let Some(ends) = range.strip_prefix("a whole number, ") {
        let (least, most) = ends.split_once(" to ").unwrap();
        return whole(least.parse().unwrap(), most.parse().unwrap());
    }
    if let Some(ends) = range.strip_prefix("seconds, or a time like 500ms, 90s or 2m; ") {
        let (least, most) = ends.strip_suffix(" seconds").unwrap().split_once(" to ").unwrap();
        let (least, most): (f64, f64) = (least.parse().unwrap(), most.parse().unwrap());
        let mut bad = strings(&["", "x", "-1", "inf", "NaN", "0x10", "1 000", "1,5", "5 parsecs"]);
        bad.extend([(most + 1.0).to_string(), format!("{}ms", (most + 1.0) * 1e3), (least - 0.000_1).to_string()]);
        return Case { good: vec![least.to_string(), most.to_string()], bad };
    }
    if variable != "BOT_MESSAGE_BYTES"
        && let Some((unit, most)) = range.strip_prefix("a number").and_then(|ends| ends.split_once(" to "))
        && let Some((_, least)) = unit.rsplit_once(", ")
    {
        let (least, most): (f64, f64) = (least.parse().unwrap(), most.parse().unwrap());
        let mut bad = strings(&["", "x", "-1", "inf", "NaN", "0x10", "1 000", "1,5"]);
        bad.extend([(most + 1.0).to_string(), (least - 0.000_1).to_string()]);
        return Case { good: vec![least.to_string(), most.to_string()], bad };
    }
    let name = "n".repeat(49);
    let (good, bad): (&[&str], &[&str]) = match variable {
        "BOT_SERVER_URL" => (
            &["ws://localhost/ws", "ws://[::1]:8080/ws?token=x", "ws://a/ws,ws://b:1/chat/ws"],
            &["", "x", "localhost", "http://localhost/ws", "ws://", "ws://a b/ws", "ws://a:99999/ws", "ws://a/ws,"],
        ),
        "BOT_CA_FILE" | "BOT_TOKEN_FILE" => (&["", "a folder/file.pem"], &[]),
        "BOT_INSECURE" => (&["true", "false"], &["", "x", "yes", "1", "True"]),
        "BOT_TOKEN" => (&["", "a.b.c"], &["a b", "a\nb"]),
        "BOT_TOKEN_SECRET" => (&["", "a secret"], &[]),
        "BOT_HEADERS" => (&["", "X-Team: red", "A: 1\nB: 2"], &["x", ": 1", "a b: 1", "A: 1\nx"]),
        "BOT_NAME_PREFIX" => (&["a", "load.test-7", &name[..48]], &["", "-a", "a b", "guest-x", &name]),
        "BOT_ARRIVALS" => {
            (&["steady", "poisson", "burst:1", "burst:1000"], &["", "x", "burst:0", "burst:1001", "burst:", "Steady"])
        }
        "BOT_MESSAGE_BYTES" => (
            &["48", "1048576", "48-1048576", "lognormal:90:900"],
            &["", "x", "47", "1048577", "50-48", "47-50", "48-1048577", "lognormal:90:80", "lognormal:47:80"],
        ),
        "BOT_BEHAVIOURS" => {
            (&["chatter=1", "slow=10000"], &["", "x", "chatter", "dancer=1", "slow=0", "slow=10001", "slow=-1"])
        }
        "BOT_PROFILE" => (&["", "ramp 30s to 500, hold 45s"], &["x", "ramp", "hold 5s", "5", "ramp 5s to -1"]),
        "BOT_DIALECT" => {
            (&["starling", "seed", "echo", "centrifugo", "socket.io", "phoenix", "mqtt"], &["", "x", "Starling"])
        }
        "BOT_EXPECT" => (&["clean", "clean, p99<250ms, reconnects=0"], &["", "x", "p99", "p99<", "p99<5parsecs"]),
        "BOT_SCENARIO" => (&[""], &[]),
        "BOT_METRICS_BIND" => {
            (&["", "0.0.0.0:9100", "[::1]:0"], &["x", "9100", "localhost:9100", ":9100", "0.0.0.0:65536"])
        }
        "BOT_REPORT" => (&["", "a folder/with blanks"], &[]),
        "BOT_SERVER_METRICS" => (&["", "off", "http://[::1]:9/m"], &["x", "on", "ws://a/metrics", "http://", "/m"]),
        "BOT_FIND" => (&["bots", "messages", "room"], &["", "x", "Bots", "rooms"]),
        _ => panic!("{variable} has no case: {range}"),
    };
    Case { good: strings(good), bad: strings(bad) }
}

#[test]
fn the_bots_take_each_knob_within_its_range_and_refuse_it_past_it() {
    let folder = tempfile::tempdir().unwrap();
    for knob in KNOBS {
        let case = of_bots(knob.variable, knob.range);
        let run = |value: &str| print_bots(folder.path(), &[(knob.variable, value)]);
        for value in &case.good {
            let (code, stdout, stderr) = run(value);
            assert_eq!(code, Some(0), "{}={value}: {stderr}", knob.variable);
            let shown = if knob.is_secret() && !value.is_empty() { HIDDEN.into() } else { redaction::shown(value) };
            let line = starling_process::dotenv::line(knob.variable, &shown);
            assert!(stdout.contains(&(line.clone() + "\n")), "{line}: {stdout}");
        }
        for value in &case.bad {
            let (code, stdout, stderr) = run(value);
            assert_eq!((code, stdout.len()), (Some(3), 0), "{}={value}: {stderr}", knob.variable);
            let shown = if knob.is_secret() { HIDDEN.into() } else { redaction::shown(value) };
            let begin = format!("bot-swarm: {}={shown:?} is not valid: ", knob.variable);
            let why = stderr.strip_prefix(&begin).unwrap_or_else(|| panic!("{stderr}"));
            let says_what_to_write =
                knob.variable == "BOT_SERVER_URL" && (why.contains("URL") || why.contains("scheme"));
            if ["BOT_BEHAVIOURS", "BOT_EXPECT", "BOT_PROFILE"].contains(&knob.variable) || says_what_to_write {
                // The error names the wrong part and gives one example; it does not list everything that is valid.
                assert!(why.lines().count() == 1 && !why.contains(knob.range), "{stderr}");
                assert!(
                    ["as in ", "looks like ", "did you mean ", "ws", "write ", "must be ", "above 0"]
                        .iter()
                        .any(|hint| why.contains(hint)),
                    "{stderr}"
                );
            } else {
                assert_eq!(why, format!("it must be {}\n", knob.range));
            }
        }
    }
}

/// The bots' exit code, output and errors when they print their configuration.
fn print_bots(folder: &Path, variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = Command::new(bot_swarm().path());
    command.arg("--print-config").env_clear().current_dir(folder).envs(variables.iter().copied());
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}
