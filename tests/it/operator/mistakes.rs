//! Mistakes of the operator are reported at the start, in one line that shows no secret.

use std::fs;
use std::process::{Command, Output};

use super::text;
use crate::harness::{bot_swarm, starling};

/// The only line of a failed start, and its exit code.
fn refused(output: &Output) -> (String, Option<i32>) {
    let stderr = text(&output.stderr);
    assert_eq!((stderr.lines().count(), output.stdout.len()), (1, 0), "{stderr}");
    (stderr.trim_end().to_owned(), output.status.code())
}

#[test]
fn a_mistake_is_told_in_one_line_by_both_programs() {
    let folder = tempfile::tempdir().unwrap();
    for (variables, words) in [
        (&[("CHAT_LOG", "warning")][..], "CHAT_LOG=warning: must be a level (off, error, warn, info, debug, trace)"),
        (&[("CHAT_LOG", "inf0")], "CHAT_LOG=inf0: must be a level"),
        (&[("CHAT_LOG", "")], "CHAT_LOG=: must be a level"),
        (&[("CHAT_LOG_FORMAT", "xml")], "CHAT_LOG_FORMAT=xml: must be text or json"),
        (
            &[("CHAT_PORT", "21001")],
            "CHAT_PORT=21001 is the port that compose.yaml publishes; did you mean CHAT_BIND=127.0.0.1:21001?",
        ),
        (
            &[("CHAT_PORT", "x")],
            "CHAT_PORT=x is the port that compose.yaml publishes; did you mean CHAT_BIND=127.0.0.1:8080?",
        ),
        (&[("CHAT_HOST", "0.0.0.0")], "CHAT_HOST is not known; did you mean CHAT_BIND?"),
        (&[("CHAT_LOG_LEVEL", "info")], "CHAT_LOG_LEVEL is not known; did you mean CHAT_LOG?"),
        (&[("CHAT_MESSAGE_BYTES", "21505")], "CHAT_FRAME_BYTES=131072 is too small: it must be at least 131078"),
    ] {
        let (line, code) = refused(&starling().run(folder.path(), &[], variables));
        assert_eq!(code, Some(1), "{line}");
        assert!(line.starts_with(&format!("starling: {words}")), "{line}");
    }
    for level in ["warning", "inf0", ""] {
        let bots = Command::new(bot_swarm().path()).env("RUST_LOG", level).current_dir(folder.path()).output().unwrap();
        let (line, code) = refused(&bots);
        assert_eq!(code, Some(3), "{line}");
        assert!(line.starts_with(&format!("bot-swarm: RUST_LOG={level:?} is not valid: it must be a level")), "{line}");
    }
}

#[test]
fn no_fault_of_a_dotenv_file_shows_a_secret_and_each_names_its_line() {
    const SECRET: &str = "hunter2-hunter2-hunter2-hunter2-hunter2";
    for (file, words) in [
        (format!("CHAT_LOG=\"info\nCHAT_JWT_SECRET={SECRET}\nCHAT_ADMIN_TOKEN={SECRET}\n"), "line 1: cannot be read"),
        (format!("CHAT_BURST=1\nCHAT_JWT_SECRET='{SECRET}\n"), "line 2: cannot be read"),
        (format!("# ok\n\nCHAT_JWT_SECRET={SECRET} {SECRET}\n"), "line 3: cannot be read"),
        (format!("{SECRET}\n"), "line 1: cannot be read"),
        (format!("CHAT_JWT_SECRET={SECRET}$x\n"), "line 1: CHAT_JWT_SECRET has a $"),
        (format!("CHAT_JWT_SECRET=\"{SECRET}${{HOME}}\"\n"), "line 1: CHAT_JWT_SECRET has a $"),
        (
            format!("CHAT_JWT_SECRET={SECRET}\nCHAT_BURST=1\nCHAT_JWT_SECRET=x{SECRET}\n"),
            "line 3: CHAT_JWT_SECRET is already set in line 1; remove one of the two",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".env"), &file).unwrap();
        let (line, code) = refused(&starling().run(folder.path(), &[], &[]));
        assert_eq!(code, Some(1), "{line}");
        assert!(line.starts_with(&format!("starling: .env, {words}")) && !line.contains("hunter2"), "{line}");
        // The bots read the same file, and a scenario by the same rules.
        let bots = |name: &str, arguments: &[&str]| {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(name), &file).unwrap();
            let mut command = Command::new(bot_swarm().path());
            let output = command.args(arguments).env_clear().current_dir(folder.path()).output().unwrap();
            let (line, code) = refused(&output);
            assert_eq!(code, Some(3), "{line}");
            line
        };
        assert_eq!(bots(".env", &[]), line.replace("starling: ", "bot-swarm: "));
        let scenario = bots("night.env", &["--scenario", "night.env"]);
        assert_eq!(scenario, line.replace("starling: .env", "bot-swarm: BOT_SCENARIO: night.env"));
    }
}

#[test]
fn what_cannot_work_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let starling = env!("CARGO_BIN_EXE_starling");
    for (limit, refused_at) in [("388", true), ("389", false)] {
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -n $1 && exec timeout --preserve-status 2 \"$2\"", "sh", limit, starling]);
        shell.envs([("CHAT_BIND", "127.0.0.1:0"), ("CHAT_WORKERS", "1")]);
        let output = shell.current_dir(folder.path()).output().unwrap();
        let stderr = text(&output.stderr);
        if refused_at {
            assert_eq!(output.status.code(), Some(1), "{stderr}");
            assert!(stderr.contains("ERROR starling] the limit of open files is 388 and leaves none"), "{stderr}");
        } else {
            assert!(stderr.contains("up to 1 connections"), "{stderr}");
        }
    }
}

#[test]
fn a_key_that_no_token_can_fit_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    };
    for bits in ["1024", "2048"] {
        openssl(&["genrsa", "-out", &format!("private-{bits}"), bits]);
        openssl(&["rsa", "-in", &format!("private-{bits}"), "-pubout", "-out", &format!("public-{bits}")]);
        openssl(&["rsa", "-in", &format!("private-{bits}"), "-RSAPublicKey_out", "-out", &format!("pkcs1-{bits}")]);
    }
    for (kind, name) in [("ed25519", "ed"), ("ed448", "ed448"), ("x25519", "x")] {
        openssl(&["genpkey", "-algorithm", kind, "-out", &format!("private-{name}")]);
        openssl(&["pkey", "-in", &format!("private-{name}"), "-pubout", "-out", &format!("public-{name}")]);
    }
    openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "private-ec"]);
    openssl(&["pkey", "-in", "private-ec", "-pubout", "-out", "public-ec"]);
    openssl(&["req", "-x509", "-key", "private-2048", "-subj", "/CN=a", "-out", "certificate"]);
    fs::write(path("empty"), "").unwrap();
    fs::write(path("garbage"), "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n").unwrap();
    let variables = |name: &str| {
        [("CHAT_BIND", "127.0.0.1:0".to_owned()), ("CHAT_AUTH", "jwt".into()), ("CHAT_JWT_PUBLIC_KEY_FILE", path(name))]
    };
    for name in [
        "private-1024",
        "private-2048",
        "private-ed",
        "private-ec",
        "public-1024",
        "pkcs1-1024",
        "public-ed448",
        "public-x",
        "public-ec",
        "empty",
        "garbage",
    ] {
        let variables = variables(name);
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (line, code) = refused(&starling().run(folder.path(), &[], &variables));
        assert_eq!(code, Some(1), "{line}");
        assert!(line.contains(&format!("{name}: not a public key of RSA (RS256, 2048 to 8192 bits)")), "{line}");
    }
    for name in ["public-2048", "pkcs1-2048", "public-ed", "certificate"] {
        let variables = variables(name);
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        drop(starling().start(folder.path(), &variables));
    }
}
