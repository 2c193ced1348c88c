//! A NATS server that requires TLS, a password, a key or credentials: nodes connect with the right ones, and report the
//! problem with others.

use nkeys::KeyPair;
use serde_json::json;
use starling::nats::NatsSettings;
use tempfile::TempDir;
use test_kit::certificate::Certificate;
use test_kit::nats::Nats;

use crate::credentials::{Operator, file};
use crate::harness::{refusal, settings};
use crate::server::{Server, starling};

/// The settings of a NATS server with this certificate, whose files are in the folder.
fn with_tls(folder: &TempDir, certificate: &Certificate) -> String {
    let (cert, key) = (file(folder, "cert.pem", &certificate.cert), file(folder, "key.pem", &certificate.key));
    format!("jetstream {{}}\ntls {{ cert_file: {cert:?}\n key_file: {key:?}\n }}")
}

/// Checks that two nodes with these settings are one chat.
async fn are_one_chat(nats: &Nats, variables: &[(&str, &str)]) {
    let (a, b) = (Server::start(nats, "a", variables).await, Server::start(nats, "b", variables).await);
    let ((mut alice, _), (mut bob, _)) = (a.enter("alice").await, b.enter("bob").await);
    alice.send_json(&json!({"type": "message", "Message": "hello", "id": "m-1"})).await;
    assert_eq!(bob.next_of("message").await["Message"], "hello");
    assert_eq!(alice.next_of("ack").await["seq"], 1);
}

/// Starts the server's program with these settings, and returns its only line of output. The program does not wait for
/// NATS.
fn refused(variables: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let all = [&[("CHAT_BIND", "127.0.0.1:0")], variables].concat();
    let output = starling().run(folder.path(), &[], &all);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains("waiting up to"), "{said}");
    said.lines().last().unwrap_or_default().to_owned()
}

#[actix::test]
async fn nodes_reach_nats_over_tls_with_each_kind_of_credentials() {
    let (certificate, authority) = Certificate::signed(&["127.0.0.1"]);
    let folder = tempfile::tempdir().unwrap();
    let authority = file(&folder, "authority.pem", &authority.pem());
    let tls = with_tls(&folder, &certificate);
    let (operator, user) = (Operator::new(), KeyPair::new_user());
    let credentials = file(&folder, "chat.creds", &operator.credentials());
    let seed = file(&folder, "chat.nk", &format!("{}\n", user.seed().unwrap()));
    let nkey = format!("authorization {{ users: [{{ nkey: {} }}] }}", user.public_key());
    let cases = [
        ("no credentials", "", "tls://", None),
        // A server that requires TLS gets it, even if the address does not state it.
        ("an address without TLS", "", "nats://", None),
        // `%40` is `@`.
        ("a password", "authorization { user: chat, password: \"p@ss\" }", "tls://chat:p%40ss@", None),
        ("a token", "authorization { token: open-sesame }", "tls://open-sesame@", None),
        ("an nkey", &nkey, "tls://", Some(&seed)),
        ("a credentials file", &operator.settings, "tls://", Some(&credentials)),
    ];
    for (what, asks, scheme, credentials) in cases {
        println!("{what}");
        let nats = Nats::with(&format!("{tls}\n{asks}")).await;
        let url = nats.url().replace("nats://", scheme);
        let credentials = credentials.map(String::as_str).unwrap_or_default();
        let variables = [
            ("CHAT_NATS_URL", url.as_str()),
            ("CHAT_NATS_CREDENTIALS", credentials),
            ("SSL_CERT_FILE", authority.as_str()),
        ];
        are_one_chat(&nats, &variables).await;
    }
}

#[tokio::test]
async fn credentials_that_nats_or_the_node_cannot_use_are_refused_at_once_with_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let (operator, other, user) = (Operator::new(), Operator::new(), KeyPair::new_user());
    let nkey = format!("authorization {{ users: [{{ nkey: {} }}] }}", user.public_key());
    let password = "authorization { user: chat, password: secret }";
    let seed = user.seed().unwrap();
    let other_letter = if &seed[20..21] == "A" { "B" } else { "A" };
    let mistyped = format!("{}{other_letter}{}", &seed[..20], &seed[21..]);
    let creds = operator.credentials();
    let without_seed = creds.split_once("\n\n").unwrap().0;
    let refuses = "does not accept the credentials";
    let cases = [
        ("a wrong password", password, "chat:wrong@", None, refuses),
        ("a wrong user", password, "nobody:secret@", None, refuses),
        ("no password", password, "", None, refuses),
        ("a wrong token", "authorization { token: open-sesame }", "wrong@", None, refuses),
        ("another nkey", &nkey, "", Some(KeyPair::new_user().seed().unwrap()), refuses),
        ("no nkey", &nkey, "", None, refuses),
        ("a user of another operator", &operator.settings, "", Some(other.credentials()), refuses),
        ("an nkey in place of a JWT", &operator.settings, "", Some(seed.clone()), refuses),
        ("no credentials file", &operator.settings, "", None, refuses),
        ("a mistyped seed", &nkey, "", Some(mistyped), "it is not the seed of an nkey: "),
        ("a seed that is cut off", &nkey, "", Some(seed[..20].to_owned()), "it is not the seed of an nkey: "),
        ("a file without a seed", &operator.settings, "", Some(without_seed.to_owned()), "cannot parse nkey"),
        ("a file of something else", &operator.settings, "", Some("hello".to_owned()), "cannot parse user JWT"),
        ("an empty file", &operator.settings, "", Some(String::new()), "cannot parse user JWT"),
    ];
    for (what, asks, who, content, expected) in cases {
        let nats = Nats::with(&format!("jetstream {{}}\n{asks}")).await;
        let url = nats.url().replace("nats://", &format!("nats://{who}"));
        let credentials = content.as_ref().map(|content| file(&folder, "chat.creds", content).into());
        let line = refusal(&NatsSettings { credentials, ..settings(&url) }).await;
        assert!(line.contains(expected), "{what}: {line}");
        let begins = if expected == refuses { "NATS at nats://" } else { "cannot read CHAT_NATS_CREDENTIALS=" };
        assert!(line.starts_with(begins), "{what}: {line}");
        for secret in ["secret", "wrong", "open-sesame", &seed] {
            assert!(!line.contains(secret), "{what}: {line}");
        }
    }
}

#[test]
fn a_nats_with_which_the_node_cannot_agree_on_tls_is_refused_at_once_with_what_is_wrong() {
    let (good, authority) = Certificate::signed(&["127.0.0.1"]);
    let (other_name, its_authority) = Certificate::signed(&["nats.example.org"]);
    let (of_another, _) = Certificate::signed(&["127.0.0.1"]);
    let cases = [
        ("an unknown issuer", Some(&of_another), "", &authority, "invalid peer certificate: UnknownIssuer"),
        ("another name", Some(&other_name), "", &its_authority, "certificate not valid for name \"127.0.0.1\""),
        (
            "a client's certificate",
            Some(&good),
            "verify: true",
            &authority,
            "received fatal alert: CertificateRequired",
        ),
        ("no TLS", None, "", &authority, "it does not speak TLS; without TLS its address begins with nats://"),
    ];
    for (what, certificate, more, authority, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let authority = file(&folder, "authority.pem", &authority.pem());
        let server = match certificate {
            Some(certificate) => {
                with_tls(&folder, certificate).replace("tls {", &format!("tls {{ ca_file: {authority:?}\n {more}\n"))
            }
            None => "jetstream {}".into(),
        };
        let nats = tokio::runtime::Runtime::new().unwrap().block_on(Nats::with(&server));
        let url = nats.url().replace("nats://", "tls://");
        let line = refused(&[("CHAT_NATS_URL", &url), ("SSL_CERT_FILE", authority.as_str())]);
        let begins = format!("cannot connect to NATS at {url} over TLS: ");
        assert!(line.contains(&begins) && line.contains(expected), "{what}: {line}");
    }
}
