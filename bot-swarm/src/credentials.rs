//! By which the bots show who they are: tokens, and whatever headers a server wants.

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

/// How long a token holds that is signed here: longer than any run should take.
const SIGNED_FOR: Duration = Duration::from_hours(30 * 24);

/// Why the bots have no tokens.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("BOT_TOKEN_FILE={} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        error: std::io::Error,
    },
    /// There are fewer tokens than bots, and each bot needs one of its own.
    #[error("BOT_TOKEN_FILE holds {tokens} tokens, and there are {bots} bots")]
    TooFew {
        /// Tokens in the file.
        tokens: usize,
        /// Bots that the run is to have.
        bots: u32,
    },
    /// A token cannot be sent in a header.
    #[error("a token holds characters that a header may not")]
    NotAHeader,
}

/// The tokens of a swarm.
#[derive(Clone)]
pub(crate) enum Tokens {
    /// None are shown.
    None,
    /// All bots show the same.
    One(HeaderValue),
    /// Each bot shows its own.
    Each(Arc<[HeaderValue]>),
    /// Each bot shows one that is signed when it connects.
    Signed(EncodingKey),
}

impl fmt::Debug for Tokens {
    /// Which kind they are, and nothing of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::One(_) => "One",
            Self::Each(_) => "Each",
            Self::Signed(_) => "Signed",
        })
    }
}

/// Where the tokens of a swarm come from; the first that is set counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenSource<'a> {
    /// The secret by which one is signed for each bot.
    pub(crate) secret: Option<&'a str>,
    /// The token of all bots.
    pub(crate) token: Option<&'a str>,
    /// The file with one for each bot.
    pub(crate) file: Option<&'a Path>,
}

/// What a token says of its owner.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    exp: f64,
}

impl Tokens {
    /// Gets the tokens of so many bots, and the names that the tokens give them, if they do.
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

    /// The header by which a bot shows its token. `None`: it shows none.
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

/// The name of the owner, where a token is a JWT that says it: a server would take no other.
fn name_in(token: &str) -> Option<ClientId> {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    ClientId::parse(&claims.sub).ok()
}

/// Headers that every bot sends when it connects: `Name: value`, one a line.
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
        assert_eq!(too_few, "BOT_TOKEN_FILE holds 2 tokens, and there are 3 bots");
        let anna = signed("anna");
        let one = TokenSource { token: Some(&anna), ..none };
        assert_eq!(Tokens::of(one, 2).unwrap().1.unwrap().len(), 2);
        let opaque = TokenSource { token: Some("opaque"), ..none };
        assert!(Tokens::of(opaque, 2).unwrap().1.is_none(), "it says no name");
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
