//! Names that are authenticated: the variables that ask for tokens, and tokens that are believed then.

use crate::Program;

/// What signs the tokens; it is as good a secret where another one is needed.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The variables of a server that believes these tokens.
pub const JWT: [(&str, &str); 2] = [("CHAT_AUTH", "jwt"), ("CHAT_JWT_SECRET", SECRET)];

/// What `starling token` prints with these arguments, the name first.
pub fn issue(starling: &Program, arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = starling.run(folder.path(), &[&["token"], arguments].concat(), &JWT);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}
