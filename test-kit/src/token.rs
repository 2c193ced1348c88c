//! Authenticated names: a server's variables that require tokens, and tokens that this server accepts.

use crate::Program;

/// The secret that signs the tokens. Tests also use it where they need another secret.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The variables of a server that accepts these tokens.
pub const JWT: [(&str, &str); 2] = [("CHAT_AUTH", "jwt"), ("CHAT_JWT_SECRET", SECRET)];

/// Runs `starling token` with these arguments, the name first. Returns the token.
pub fn issue(starling: &Program, arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = starling.run(folder.path(), &[&["token"], arguments].concat(), &JWT);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}
