//! Credentials for NATS in the form that its operators use: keys, and JWTs that the keys sign.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A JWT of NATS.
fn signed(issuer: &KeyPair, subject: &KeyPair, name: &str, nats: &Value) -> String {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let claims = json!({
        "jti": name, "iat": 1, "iss": issuer.public_key(), "sub": subject.public_key(), "name": name, "nats": nats,
    });
    let text = format!("{}.{}", encode(&json!({"typ": "JWT", "alg": "ed25519-nkey"})), encode(&claims));
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(text.as_bytes()).unwrap());
    format!("{text}.{signature}")
}

/// An account without limits.
fn account(operator: &KeyPair, account: &KeyPair, name: &str) -> String {
    let mut limits = json!({"wildcards": true});
    for limit in ["subs", "data", "payload", "imports", "exports", "conn", "leaf"] {
        limits[limit] = (-1).into();
    }
    if name == "chat" {
        for limit in ["mem_storage", "disk_storage", "streams", "consumer"] {
            limits[limit] = (-1).into();
        }
    }
    signed(operator, account, name, &json!({"type": "account", "version": 2, "limits": limits}))
}

/// An operator with one account, whose users have JWTs.
pub(crate) struct Operator {
    chat: KeyPair,
    /// The settings with which a server trusts the operator.
    pub(crate) settings: String,
}

impl Operator {
    pub(crate) fn new() -> Self {
        let (operator, system, chat) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
        let trusted = signed(&operator, &operator, "operator", &json!({"type": "operator", "version": 2}));
        let preloaded = [("system", &system), ("chat", &chat)]
            .map(|(name, key)| format!("{}: {}", key.public_key(), account(&operator, key, name)));
        let settings = format!(
            "operator: {trusted}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload {{\n{}\n}}",
            system.public_key(),
            preloaded.join("\n")
        );
        Self { chat, settings }
    }

    /// The credentials file of a new user of the account.
    pub(crate) fn credentials(&self) -> String {
        let user = KeyPair::new_user();
        let nats = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {}});
        let jwt = signed(&self.chat, &user, "chat", &nats);
        let seed = user.seed().unwrap();
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }
}

/// Writes a file in this folder, and returns its path.
pub(crate) fn file(folder: &TempDir, name: &str, content: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}
