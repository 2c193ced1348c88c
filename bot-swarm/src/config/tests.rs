use super::*;
use crate::redaction::HIDDEN;

fn config(settings: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_settings(settings.iter().map(|(variable, value)| ((*variable).to_owned(), (*value).to_owned())))
}

#[test]
fn what_is_printed_is_read_again_as_the_same() {
    let settings = [
        ("BOT_MESSAGE_BYTES", "64-1024"),
        ("BOT_EXPECT", "p99<250ms"),
        ("BOT_ARRIVALS", "burst:7"),
        ("BOT_RAMP_PER_SECOND", "0.5"),
        ("BOT_COUNT", "7"),
    ];
    for config in [Config::default(), config(&settings).unwrap()] {
        let printed = config.to_env();
        let lines = printed.lines().filter_map(|line| line.split_once('='));
        let read = Config::from_settings(lines.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(read, Ok(config));
    }
}

#[test]
fn the_defaults_told_are_the_defaults() {
    let config = Config::default();
    for knob in KNOBS.iter().filter(|knob| knob.variable != "BOT_NAME_PREFIX") {
        assert_eq!(knob.get(&config), knob.default, "{}", knob.variable);
    }
}

#[test]
fn a_bad_value_is_told_in_one_line_with_variable_value_and_range() {
    let error = config(&[("BOT_COUNT", "many")]).unwrap_err().to_string();
    assert_eq!(error, r#"BOT_COUNT="many" is not valid: it must be a whole number, 1 to 1000000"#);
    let error = config(&[("BOT_BEHAVIOURS", "chatter=9,dancer=1")]).unwrap_err().to_string();
    let told =
        r#"BOT_BEHAVIOURS="chatter=9,dancer=1" is not valid: there is no behaviour "dancer": write chatter, lurker, "#;
    assert!(error.starts_with(told), "{error}");
}

#[test]
fn the_limits_of_each_knob_are_taken_and_what_is_beyond_them_is_not() {
    let cases = [
        ("BOT_COUNT", vec!["1", "1000000"], vec!["0", "1000001", "-1", "1.5", ""]),
        ("BOT_RAMP_PER_SECOND", vec!["0.1", "100000"], vec!["0", "100001", "NaN", "inf"]),
        ("BOT_ROOMS", vec!["1", "100000"], vec!["0", "100001"]),
        ("BOT_MESSAGES_PER_SECOND", vec!["0", "0.1", "1000"], vec!["-0.1", "1001", "fast"]),
        ("BOT_MESSAGE_BYTES", vec!["48", "48-1048576", "lognormal:90:900"], vec!["47", "50-48", "lognormal:90:80"]),
        ("BOT_ARRIVALS", vec!["steady", "poisson", "burst", "burst:5"], vec!["", "burst:0", "often"]),
        ("BOT_BEHAVIOURS", vec!["chatter=60,lurker=40", "slow=1"], vec!["", "chatter", "dancer=1", "slow=0"]),
        ("BOT_ROOM_SKEW", vec!["0", "1.2", "5"], vec!["-0.1", "5.1", "zipf"]),
        ("BOT_HOP_SECONDS", vec!["0.1", "3600", "100ms", "1h"], vec!["0", "3601", "0s", "61m"]),
        ("BOT_CHANGE_SECONDS", vec!["0.1", "3600", "1h"], vec!["0", "3601", "99ms"]),
        ("BOT_CHURN_SECONDS", vec!["0.1", "3600", "1h"], vec!["0", "3601", "99ms"]),
        ("BOT_SLOW_BYTES_PER_SECOND", vec!["10", "1000000000"], vec!["9", "1000000001", "1k"]),
        ("BOT_FLOOD_PER_SECOND", vec!["1", "100000"], vec!["0", "100001"]),
        ("BOT_DIALECT", vec!["starling", "seed", "echo"], vec!["", "klingon"]),
        ("BOT_EXPECT", vec!["clean", "p99<250ms, lost=0, connect.p99<1s"], vec!["", "p99", "fast"]),
        ("BOT_LATENESS_MAX_SECONDS", vec!["0.001", "3600", "50ms"], vec!["0", "3601", "999us"]),
        ("BOT_SCENARIO", vec!["", "night.env"], vec![]),
        ("BOT_SECONDS", vec!["0", "2.5", "31536000", "10s", "1m"], vec!["-1", "31536001", "9000h", "soon"]),
        ("BOT_WARM_UP_SECONDS", vec!["0", "2.5", "31536000", "2 m"], vec!["-1", "31536001", "-1s"]),
        ("BOT_SEED", vec!["0", "18446744073709551615"], vec!["-1", "18446744073709551616"]),
        ("BOT_WORKERS", vec!["1", "256"], vec!["0", "257"]),
        ("BOT_DRAIN_SECONDS", vec!["0", "600", "10m"], vec!["-1", "601", "11m"]),
        ("BOT_NAME_PREFIX", vec!["a", "load.test-7"], vec!["", "-a", "a b", "guest-x", &LONG[..49]]),
        ("BOT_PROFILE", vec!["", "ramp 30s to 500, hold 60s", "spike 5s to 3"], vec!["ramp", "hold 5s", "5"]),
        ("BOT_REPORT", vec!["", "report", "a folder/with blanks"], vec![]),
        (
            "BOT_SERVER_METRICS",
            vec!["", "off", "http://[::1]:9/m"],
            vec!["on", "ws://a/metrics", "http://", "/m", "http://a:99999/m", "http://a:0/m"],
        ),
        ("BOT_FIND", vec!["bots", "messages", "room"], vec!["", "Bots", "rooms"]),
        ("BOT_FIND_START", vec!["1", "1000000"], vec!["0", "1000001"]),
        ("BOT_FIND_FACTOR", vec!["1.1", "10"], vec!["1", "10.1", "NaN"]),
        ("BOT_FIND_MOST", vec!["1", "1000000"], vec!["0", "1000001"]),
        ("BOT_FIND_PRECISION", vec!["0.01", "1"], vec!["0", "1.1", "5%"]),
        ("BOT_FIND_SECONDS", vec!["0.1", "3600", "10s"], vec!["0.09", "3601", "2h"]),
        ("BOT_METRICS_BIND", vec!["", "0.0.0.0:9100", "[::1]:0"], vec!["9100", "localhost:9100", ":9100"]),
        ("BOT_CA_FILE", vec!["", "ca.pem"], vec![]),
        ("BOT_INSECURE", vec!["true", "false"], vec!["", "maybe"]),
        ("BOT_TOKEN", vec!["", "a.b.c"], vec!["a b", "\u{e4}"]),
        ("BOT_TOKEN_FILE", vec!["", "tokens"], vec![]),
        ("BOT_TOKEN_SECRET", vec!["", "0123456789abcdef"], vec![]),
        ("BOT_HEADERS", vec!["", "x-tenant: blue\ncookie: a=b"], vec!["x-tenant"]),
        (
            "BOT_SERVER_URL",
            vec!["ws://localhost/ws", "ws://[::1]:8080/ws?token=x", "ws://a/ws, ws://b:81/chat/ws,ws://[::1]/ws"],
            vec![
                "",
                "localhost",
                "http://localhost/ws",
                "ws://a/ws,",
                "ws://a/ws,http://b/ws",
                "ws://",
                "ws://a b/ws",
                "ws://localhost:99999/ws",
                "ws://localhost:0/ws",
                "ws://localhost:/ws",
                "ws://localhost:80x/ws",
                "ws://[::1]:65536/ws",
                "ws://user:word@localhost/ws",
                "ws://localhost/ws#part",
            ],
        ),
    ];
    assert_eq!(cases.len(), KNOBS.len(), "every knob has its case");
    for (variable, good, bad) in cases {
        for value in good {
            assert!(config(&[(variable, value)]).is_ok(), "{variable}={value}");
        }
        for value in bad {
            let error = config(&[(variable, value)]);
            let is_told = matches!(error, Err(ConfigError::BadValue { .. } | ConfigError::BadPart { .. }));
            assert!(is_told, "{variable}={value}");
        }
    }
}

const LONG: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

#[test]
fn what_a_dialect_does_not_have_is_refused() {
    let good = [("BOT_DIALECT", "seed"), ("BOT_COUNT", "2000"), ("BOT_BEHAVIOURS", "chatter=1,lurker=1")];
    assert!(config(&good).is_ok());
    for bad in
        [("BOT_ROOMS", "2"), ("BOT_BEHAVIOURS", "hopper=1"), ("BOT_BEHAVIOURS", "private=1"), ("BOT_COUNT", "2001")]
    {
        let error = config(&[("BOT_DIALECT", "seed"), bad]).unwrap_err();
        assert!(matches!(error, ConfigError::Conflict(_)), "{bad:?}: {error}");
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for bad in [
        &[("BOT_SERVER_URL", "ws://a/ws,wss://b/ws")][..],
        &[("BOT_TOKEN", "x"), ("BOT_TOKEN_SECRET", "y")],
        &[("BOT_TOKEN_FILE", "x"), ("BOT_TOKEN_SECRET", "y")],
        &[("BOT_TOKEN", "x"), ("BOT_BEHAVIOURS", "private=1")],
        &[("BOT_SERVER_URL", "ws://a/ws/talk"), ("BOT_ROOMS", "2")],
        &[("BOT_SERVER_URL", "ws://a/ws/talk"), ("BOT_FIND", "room")],
        &[("BOT_SERVER_URL", "ws://a/ws/talk,ws://b/ws/dev")],
        &[("BOT_SERVER_URL", "ws://a/ws/talk,ws://b/ws")],
    ] {
        assert!(matches!(config(bad), Err(ConfigError::Conflict(_))), "{bad:?}");
    }
    for good in [("BOT_CA_FILE", "ca.pem"), ("BOT_INSECURE", "true")] {
        assert!(config(&[("BOT_SERVER_URL", "wss://localhost/ws"), good]).is_ok());
    }
}

#[test]
fn each_process_can_have_a_folder_of_its_own_for_its_report() {
    let config = config(&[("BOT_REPORT", "reports/{name}"), ("BOT_NAME_PREFIX", "anna")]).unwrap();
    assert_eq!(config.report, Some("reports/anna".into()));
}

#[test]
fn secrets_are_not_shown() {
    let secrets = [("BOT_TOKEN", "tell"), ("BOT_TOKEN_SECRET", "tell"), ("BOT_HEADERS", "cookie: tell")];
    for secret in secrets {
        let printed = config(&[secret]).unwrap().to_env();
        assert!(!printed.contains("tell") && printed.contains(&format!("{}={HIDDEN}\n", secret.0)), "{printed}");
    }
}

#[test]
fn an_unknown_variable_is_an_error_that_names_the_nearest() {
    let error = config(&[("BOT_COUTN", "3")]).unwrap_err();
    assert_eq!(error, ConfigError::Unknown { variable: "BOT_COUTN".into(), nearest: "BOT_COUNT" });
}

#[test]
fn variables_of_others_are_left_alone_and_the_later_setting_counts() {
    let config = config(&[("CHAT_BIND", "?"), ("BOT_COUNT", "3"), ("BOT_COUNT", "4")]).unwrap();
    assert_eq!(config.count, 4);
}
