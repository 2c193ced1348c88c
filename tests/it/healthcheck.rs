//! `starling healthcheck`: the requests of a container's health check, and their results.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustix::process::Signal;
use test_kit::raw::Raw;
use test_kit::{LOOK, within};

use crate::harness::starling;

/// Runs a health check. Returns its exit code and its line of output.
fn healthcheck(bind: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    healthcheck_in(folder.path(), bind, &[])
}

fn healthcheck_in(folder: &Path, bind: &str, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let variables = [&[("CHAT_BIND", bind)], variables].concat();
    let Output { status, stdout, stderr } = starling().run(folder, &["healthcheck"], &variables);
    let said = String::from_utf8([stdout, stderr].concat()).unwrap();
    assert_eq!(said.lines().count(), 1, "one line: {said}");
    (status.code(), said.trim_end().to_owned())
}

#[actix::test]
async fn a_server_that_can_serve_is_healthy() {
    let folder = tempfile::tempdir().unwrap();
    let server = starling().start(folder.path(), &[("CHAT_BIND", "0.0.0.0:0")]);
    let port = server.address().port();
    assert_eq!(healthcheck(&format!("0.0.0.0:{port}")), (Some(0), "ready".to_owned()));
}

#[actix::test]
async fn a_server_that_drains_is_unhealthy_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let server = starling().start(folder.path(), &[("CHAT_BIND", "127.0.0.1:0"), ("CHAT_DRAIN_SECONDS", "600")]);
    // This client stays, so the drain does not end.
    let _silent = Raw::open(server.address()).await.shake_hands("/ws?clientId=silent").await;
    server.signal(Signal::TERM);
    let bind = server.address().to_string();
    let (code, said) = within("the health check notices the drain", async {
        loop {
            let (code, said) = healthcheck(&bind);
            if code != Some(0) {
                return (code, said);
            }
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    assert_eq!((code, said), (Some(1), format!("starling: {bind} is not ready: the server is stopping")));
}

#[test]
fn where_nobody_answers_the_check_fails_and_names_the_address() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let (code, said) = healthcheck(&format!("127.0.0.1:{port}"));
    assert_eq!(code, Some(1));
    assert!(said.starts_with(&format!("starling: no answer from 127.0.0.1:{port}: ")), "{said}");
}

#[test]
fn a_server_that_accepts_and_says_nothing_fails_the_check_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, said) = healthcheck(&listener.local_addr().unwrap().to_string());
    assert_eq!(code, Some(1));
    assert!(said.contains("no answer"), "{said}");
}

/// The TLS settings of the server and its health check, for a folder with both files.
const TLS: [(&str, &str); 2] = [("CHAT_TLS_CERT", "cert.pem"), ("CHAT_TLS_KEY", "key.pem")];

/// Writes a certificate that no client would accept for a server at this address because of its names and dates,
/// followed by its authority's.
fn write_certificate(folder: &Path) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority_cert = authority.self_signed(&key).unwrap();
    let issuer = Issuer::new(authority, key);

    let mut params = CertificateParams::new(["chat.example.org".to_owned()]).unwrap();
    params.not_after = date_time_ymd(2001, 1, 1);
    let key = KeyPair::generate().unwrap();
    let cert = params.signed_by(&key, &issuer).unwrap();
    fs::write(folder.join("cert.pem"), cert.pem() + &authority_cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

#[actix::test]
async fn over_tls_the_configured_certificate_is_believed_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    write_certificate(folder.path());
    // Over IPv6 if this machine has it.
    let bind = if TcpListener::bind("[::1]:0").is_ok() { "[::1]:0" } else { "127.0.0.1:0" };
    let server = starling().start(folder.path(), &[&[("CHAT_BIND", bind)], &TLS[..]].concat());
    let bind = server.address().to_string();
    let ask = || healthcheck_in(folder.path(), &bind, &TLS);
    assert_eq!(ask(), (Some(0), "ready".to_owned()));

    // The certificate is renewed on disk, but the server has not reloaded it.
    write_certificate(folder.path());
    let (code, said) = ask();
    assert_eq!(code, Some(1));
    assert!(said.starts_with(&format!("starling: no answer from {bind}: ")), "{said}");
    assert!(said.contains("another certificate than CHAT_TLS_CERT contains now"), "{said}");
    server.signal(Signal::HUP);
    server.line_with("reloaded");
    assert_eq!(ask(), (Some(0), "ready".to_owned()));

    // A health check with other settings than the server.
    assert_eq!(healthcheck(&bind).0, Some(1), "without TLS");
    fs::write(folder.path().join("cert.pem"), "").unwrap();
    let (code, said) = ask();
    assert_eq!((code, said.starts_with("starling: CHAT_TLS_CERT=cert.pem: ")), (Some(1), true), "{said}");
}
