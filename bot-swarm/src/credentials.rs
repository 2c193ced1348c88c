//! The bots' credentials: tokens, and additional headers.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use awc::http::header::{HeaderName, HeaderValue};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use starling_protocol::ClientId;

use crate::roster::Names;

/// The lifetime of a token that is signed here: longer than any run should take.
const SIGNED_FOR: Duration = Duration::from_hours(30 * 24);

/// The reason that the bots have no tokens.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("BOT_TOKEN_FILE={} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        error: std::io::Error,
    },
    /// There are fewer tokens than bots, and each bot needs one of its own.
    #[error("BOT_TOKEN_FILE contains {tokens} tokens, but there are {bots} bots")]
    TooFew {
        /// Tokens in the file.
        tokens: usize,
        /// The number of bots.
        bots: u32,
    },
    /// A token cannot be sent in a header.
    #[error("a token contains characters that are not allowed in a header")]
    NotAHeader,
}

/// The tokens of a swarm.
#[derive(Clone)]
pub(crate) enum Tokens {
    /// The bots send no token.
    None,
    /// All bots send the same token.
    One(HeaderValue),
    /// Each bot sends its own token.
    Each(Arc<[HeaderValue]>),
    /// Each bot sends a token that is signed when it connects.
    Signed(EncodingKey),
}

impl fmt::Debug for Tokens {
    /// Writes only the kind, not the tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::One(_) => "One",
            Self::Each(_) => "Each",
            Self::Signed(_) => "Signed",
        })
    }
}

/// The sources of the tokens; the first that is set counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenSource<'a> {
    /// The secret that signs one for each bot.
    pub(crate) secret: Option<&'a str>,
    /// The token of all bots.
    pub(crate) token: Option<&'a str>,
    /// The file with one for each bot.
    pub(crate) file: Option<&'a Path>,
}

/// The claims of a token.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    exp: f64,
}

impl Tokens {
    /// Gets the tokens for this number of bots, and the names in the tokens, if they contain names.
    ///
    /// # Errors
    /// [`TokenError`].
    pub(crate) fn of(source: TokenSource<'_>, bots: u32) -> Result<(Self, Names), TokenError> {
        if let Some(secret) = source.secret {
            return Ok((Self::Signed(EncodingKey::from_secret(secret.as_bytes())), None));
        }
        if let Some(token) = source.token {
            let names = name_in(token).map(|name| (0..bots).map(|_| name.clone()).collect());
            return Ok((Self::One(bearer(token)?), names));
        }
        let Some(path) = source.file else { return Ok((Self::None, None)) };
        let text = std::fs::read_to_string(path).map_err(|error| TokenError::File { path: path.to_owned(), error })?;
        let tokens: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let of_bots = tokens.get(..bots as usize).ok_or(TokenError::TooFew { tokens: tokens.len(), bots })?;
        let names = of_bots.iter().map(|token| name_in(token)).collect();
        let headers = of_bots.iter().map(|token| bearer(token)).collect::<Result<_, _>>()?;
        Ok((Self::Each(headers), names))
    }

    /// The header with a bot's token. `None` if the bots send no token.
    pub(crate) fn header(&self, bot: u32, name: &ClientId) -> Option<HeaderValue> {
        match self {
            Self::None => None,
            Self::One(token) => Some(token.clone()),
            Self::Each(tokens) => tokens.get(bot as usize).cloned(),
            Self::Signed(key) => {
                let ends = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + SIGNED_FOR;
                let claims = Claims { sub: name.to_string(), exp: ends.as_secs_f64().floor() };
                let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, key).ok()?;
                bearer(&token).ok()
            }
        }
    }
}

fn bearer(token: &str) -> Result<HeaderValue, TokenError> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| TokenError::NotAHeader)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The owner's name, if the token is a JWT that contains it: the server accepts no other name.
fn name_in(token: &str) -> Option<ClientId> {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    ClientId::parse(&claims.sub).ok()
}

/// Headers that every bot sends when it connects: `Name: value`, one per line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers(pub Vec<(HeaderName, HeaderValue)>);

impl FromStr for Headers {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().parse().ok()?, value.trim().parse().ok()?))
        };
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        lines.map(header).collect::<Option<_>>().map(Self).ok_or(())
    }
}

impl fmt::Display for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.0.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
        f.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(name: &str) -> String {
        let key = EncodingKey::from_secret(b"0123456789abcdef0123456789abcdef");
        let name = ClientId::parse(name).unwrap();
        let header = Tokens::Signed(key).header(0, &name).unwrap();
        header.to_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned()
    }

    #[test]
    fn a_bot_has_the_name_that_its_token_says() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        std::fs::write(&file, format!("{}\n\n{}\n", signed("anna"), signed("bert"))).unwrap();
        let none = TokenSource { secret: None, token: None, file: None };
        let each = TokenSource { file: Some(&file), ..none };
        let (tokens, names) = Tokens::of(each, 2).unwrap();
        let names = names.unwrap();
        assert_eq!(names.iter().map(ClientId::as_str).collect::<Vec<_>>(), ["anna", "bert"]);
        assert_ne!(tokens.header(0, &names[0]), tokens.header(1, &names[1]));
        let too_few = Tokens::of(each, 3).unwrap_err().to_string();
        assert_eq!(too_few, "BOT_TOKEN_FILE contains 2 tokens, but there are 3 bots");
        let anna = signed("anna");
        let one = TokenSource { token: Some(&anna), ..none };
        assert_eq!(Tokens::of(one, 2).unwrap().1.unwrap().len(), 2);
        let opaque = TokenSource { token: Some("opaque"), ..none };
        assert!(Tokens::of(opaque, 2).unwrap().1.is_none(), "it contains no name");
    }

    #[test]
    fn headers_are_written_as_they_are_read() {
        let text = "x-tenant: blue: 7\ncookie: a=b; c=d";
        assert_eq!(text.parse::<Headers>().unwrap().to_string(), text);
        assert_eq!("".parse(), Ok(Headers::default()));
        for text in ["x-tenant", "two words: x", ": x", "x: \u{1}"] {
            assert_eq!(text.parse::<Headers>(), Err(()), "{text}");
        }
    }
}
