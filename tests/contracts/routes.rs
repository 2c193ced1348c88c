//! The OpenAPI document names exactly the routes, the methods and the codes of the server.

use std::collections::BTreeSet;

use serde_json::Value;
use test_kit::{Process, Raw, raw, token};

use crate::harness::{TOKEN, server};

const METHODS: [&str; 8] = ["get", "head", "post", "put", "patch", "delete", "options", "trace"];

async fn document(server: &Process) -> Value {
    raw::get(server.address(), "/api/openapi.json").await.json()
}

/// The path with a value for each parameter; nothing with this value exists.
fn filled(path: &str) -> String {
    let segment = |segment: &str| match segment {
        "{version}" | "{folder}" | "{inner}" | "{file}" => "none.js".to_owned(),
        "{room}" | "{clientId}" => "nobody".to_owned(),
        other => other.to_owned(),
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// Checks a path that is served: the document describes the status and the code of its refusals.
fn check_described(what: &str, operation: &Value, status: u16, body: &str) {
    let response = &operation["responses"][status.to_string()];
    assert!(response.is_object(), "{what}: {status} is not described: {body}");
    if status >= 400 && !body.is_empty() {
        let refusal: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{what}: {error}: {body}"));
        let known = &response["content"]["application/json"]["schema"]["properties"]["code"]["enum"];
        assert!(known.as_array().unwrap().contains(&refusal["code"]), "{what}: {status} {body} is not one of {known}");
    }
}

#[actix::test]
async fn every_route_and_method_of_the_server_is_described_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), &[]);
    let document = document(&server).await;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let described: BTreeSet<&str> = METHODS.into_iter().filter(|method| operations[*method].is_object()).collect();
        for method in METHODS {
            for authorization in ["", &format!("Authorization: Bearer {TOKEN}\r\n")] {
                let what = format!("{method} {path} {authorization:?}");
                let mut raw = Raw::open(server.address()).await;
                let (method_name, path) = (method.to_uppercase(), filled(path));
                let request = format!(
                    "{method_name} {path} HTTP/1.1\r\nHost: localhost\r\n{authorization}Content-Length: 0\r\n\r\n"
                );
                raw.send(request.as_bytes()).await;
                // The answer to `HEAD` has the length of a body that is not sent.
                let answer = if method == "head" { raw.head().await } else { raw.answer().await };
                if described.contains(method) {
                    assert_ne!(answer.status, 405, "{what}");
                    check_described(&what, &operations[method], answer.status, &answer.body);
                } else {
                    assert_eq!(answer.status, 405, "{what} is not described");
                    let allow: BTreeSet<String> =
                        answer.header("allow").unwrap().split(", ").map(str::to_lowercase).collect();
                    assert_eq!(allow, described.iter().map(|method| (*method).to_owned()).collect(), "{what}");
                }
            }
        }
    }
}

#[actix::test]
async fn every_route_of_the_protocols_page_is_described() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), &[]);
    let document = document(&server).await;
    let page = std::fs::read_to_string(crate::harness::path("docs/protocol.md")).unwrap();
    let over_http = page.split("\n## Over HTTP\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut named = BTreeSet::new();
    for row in over_http.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.split('|').nth(1).unwrap();
        let words = cell.split('`').skip(1).step_by(2).flat_map(|code| code.split(' '));
        named.extend(words.filter(|word| word.starts_with('/')).map(|path| path.split('?').next().unwrap().to_owned()));
    }
    let described: BTreeSet<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
    let is_file = |path: &&String| path.starts_with("/web/");
    assert!(named.remove("/web/{version}/…"), "the files of the page are named together");
    assert_eq!(described.iter().filter(|path| !is_file(path)).cloned().collect::<BTreeSet<_>>(), named);
}

#[actix::test]
async fn every_code_of_a_refusal_is_described() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), &[]);
    let text = document(&server).await.to_string();
    let page = std::fs::read_to_string(crate::harness::path("src/refusal.rs")).unwrap();
    let codes: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_suffix(';')?.split_once(" = \"")?.1.split_once("\", "))
        .map(|(code, _)| code)
        .collect();
    assert!(codes.len() > 20, "{codes:?}");
    for code in codes {
        assert!(text.contains(&format!("\"{code}\"")) || text.contains(&format!("`{code}`")), "{code}");
    }
}

#[actix::test]
async fn the_document_says_what_this_servers_configuration_demands() {
    let folder = tempfile::tempdir().unwrap();
    let open = server(folder.path(), &[("CHAT_MESSAGE_BYTES", "1000")]);
    let text = document(&open).await;
    assert_eq!(text["components"]["schemas"]["OperatorMessage"]["properties"]["Message"]["maxLength"], 1_000);
    assert_eq!(text["paths"]["/api/rooms"]["get"]["security"].as_array().map(Vec::len), Some(0));
    assert_eq!(text["servers"][0]["url"], "/");

    let folder = tempfile::tempdir().unwrap();
    let variables = [token::JWT.as_slice(), &[("CHAT_PATH_PREFIX", "/chat")]].concat();
    let closed = server(folder.path(), &variables);
    let answer = raw::get(closed.address(), "/chat/api/openapi.json").await;
    assert_eq!(answer.status, 200, "the document needs no token: {answer:?}");
    assert_eq!(answer.json()["paths"]["/api/rooms"]["get"]["security"].as_array().map(Vec::len), Some(2));
    assert_eq!(answer.json()["servers"][0]["url"], "/chat");
}
