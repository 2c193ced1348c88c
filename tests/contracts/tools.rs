//! The documents, read by external tools: `@asyncapi/parser`, an OpenAPI validator, schemathesis.

use std::process::Command;

use crate::harness::{TOKEN, download, path, run, server};

const NODE_MODULES: &str = "target/test-tools/node_modules";

/// The examples of each operation that schemathesis tries in a test, which is without `HEAD` and `OPTIONS`. With
/// `SCHEMATHESIS_EXAMPLES` it tries that many, of all operations.
const EXAMPLES: &str = "8";

#[actix::test]
async fn the_asyncapi_document_that_is_served_is_valid_by_its_parser() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), &[]);
    let document = folder.path().join("asyncapi.yaml");
    download(&server, "/api/asyncapi.yaml", &document).await;
    let served = std::fs::read_to_string(&document).unwrap();
    assert_eq!(served, std::fs::read_to_string(path("docs/asyncapi.yaml")).unwrap());
    let check = |document: &std::path::Path| {
        let script = path("tests/contracts/asyncapi.mjs");
        Command::new("node").arg(script).arg(path(NODE_MODULES)).arg(document).output().unwrap()
    };
    let output = check(&document);
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(out.trim(), "ok 31 messages", "{}", String::from_utf8_lossy(&output.stderr));

    // The script reports the parser's findings.
    std::fs::write(&document, served.replace("action: receive", "action: recieve")).unwrap();
    assert!(!check(&document).status.success(), "a wrong action is found");
}

#[actix::test]
async fn the_openapi_document_is_valid_by_its_schema() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), &[]);
    let document = folder.path().join("openapi.json");
    download(&server, "/api/openapi.json", &document).await;
    let script = path("tests/contracts/openapi.mjs");
    let out = run(Command::new("node").arg(script).arg(path(NODE_MODULES)).arg(&document));
    assert_eq!(out.trim(), "ok 3.1");
}

#[actix::test]
async fn schemathesis_finds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let many = [
        ("CHAT_HANDSHAKES_PER_SECOND", "100000"),
        ("CHAT_CONNECTIONS_PER_ADDRESS", "10000"),
        ("CHAT_HISTORY_BYTES", "67108864"),
    ];
    let server = server(folder.path(), &many);
    let tools = path("target/test-tools/schemathesis");
    let examples = std::env::var("SCHEMATHESIS_EXAMPLES");
    let mut command = Command::new("python3");
    command.args(["-m", "schemathesis.cli", "--config-file"]).arg(path("tests/contracts/schemathesis.toml"));
    command.arg("run").arg(format!("http://{}/api/openapi.json", server.address()));
    command.args(["--header", &format!("Authorization: Bearer {TOKEN}"), "--seed", "1", "--no-color"]);
    match &examples {
        Ok(examples) => command.args(["--max-examples", examples]),
        Err(_) => command.args(["--max-examples", EXAMPLES, "--exclude-method", "HEAD", "--exclude-method", "OPTIONS"]),
    };
    command.env("PYTHONPATH", tools).env("PYTHONDONTWRITEBYTECODE", "1").current_dir(folder.path());
    run(&mut command);
}
