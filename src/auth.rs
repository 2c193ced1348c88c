//! Authentication: verifies tokens.
//!
//! The chat receives verified claims and never sees a token. The configured key determines the algorithm; the token
//! does not.

use std::fs;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use starling_actors::clock;
use starling_actors::identity::{BadToken, Claims, RoomGlobs, TokenVerifier};
use starling_protocol::ClientId;
use subtle::ConstantTimeEq;

use crate::config::{AuthMode, Config, Secret};

/// The reason that tokens cannot be verified: one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The key cannot be read.
    #[error("CHAT_JWT_PUBLIC_KEY_FILE={}: {error}", path.display())]
    KeyFile {
        /// The value of `CHAT_JWT_PUBLIC_KEY_FILE`.
        path: PathBuf,
        /// The error of the operating system.
        error: std::io::Error,
    },
    /// The file contains no key that is suitable.
    #[error(
        "CHAT_JWT_PUBLIC_KEY_FILE={}: not a public key of RSA (RS256, 2048 to 8192 bits) or Ed25519 (EdDSA) as PEM",
        .0.display()
    )]
    NoKey(PathBuf),
}

const DER_SEQUENCE: u8 = 0x30;
const DER_INTEGER: u8 = 0x02;

/// Bytes of an Ed25519 public key.
const ED25519_KEY_BYTES: usize = 32;

/// Sizes of RSA moduli for which RS256 signatures can be verified.
const RSA_MODULUS_BYTES: RangeInclusive<usize> = 2_048 / 8..=8_192 / 8;

/// The claims of a token, as encoded. `Seconds` since the Unix epoch: own tokens have whole ones, other issuers may write
/// fractions.
#[derive(Debug, Serialize, Deserialize)]
struct WireClaims<Seconds> {
    sub: String,
    exp: Seconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    rooms: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    admin: bool,
}

/// Makes the verifier of this configuration; `None` if names are not authenticated.
///
/// # Errors
/// [`AuthError`], about the file of the key.
pub(crate) fn verifier(config: &Config) -> Result<Option<TokenVerifier>, AuthError> {
    if config.auth.value == AuthMode::Open {
        return Ok(None);
    }
    let (key, algorithm) = match config.jwt_secret.as_bytes() {
        Some(secret) => (DecodingKey::from_secret(secret), Algorithm::HS256),
        None => public_key(PathBuf::from(&config.jwt_public_key_file))?,
    };
    let mut validation = Validation::new(algorithm);
    // Exact, because the connection of an expired token is closed exactly then.
    validation.leeway = 0;
    validation.validate_nbf = true;
    // The key identifies the issuer, and the operator has configured it for this server, so `aud` is not needed.
    validation.validate_aud = false;
    Ok(Some(TokenVerifier::new(move |token| verify(token, &key, &validation))))
}

/// Reads a public key. Its type determines the only accepted algorithm.
fn public_key(path: PathBuf) -> Result<(DecodingKey, Algorithm), AuthError> {
    let pem = match fs::read(&path) {
        Ok(pem) => pem,
        Err(error) => return Err(AuthError::KeyFile { path, error }),
    };
    let rsa = DecodingKey::from_rsa_pem(&pem).map(|key| (key, Algorithm::RS256));
    let found = rsa.or_else(|_| DecodingKey::from_ed_pem(&pem).map(|key| (key, Algorithm::EdDSA)));
    // The parser also accepts keys that can verify nothing: private keys, and keys of unsuitable length.
    found.ok().filter(|(key, algorithm)| can_verify(key, *algorithm)).ok_or(AuthError::NoKey(path))
}

/// Whether this key can verify signatures.
fn can_verify(key: &DecodingKey, algorithm: Algorithm) -> bool {
    let Ok(bytes) = key.try_get_as_bytes() else { return false };
    if algorithm == Algorithm::EdDSA {
        return bytes.len() == ED25519_KEY_BYTES;
    }
    // A public key is a sequence of the modulus and the exponent; a private one begins with its version.
    let modulus = der_value(bytes, DER_SEQUENCE).and_then(|numbers| der_value(numbers, DER_INTEGER));
    let modulus = modulus.map(|number| number.strip_prefix(&[0]).unwrap_or(number));
    modulus.is_some_and(|number| RSA_MODULUS_BYTES.contains(&number.len()))
}

/// The content of the first DER element, if it has this tag.
fn der_value(der: &[u8], tag: u8) -> Option<&[u8]> {
    let (&[found, first], rest) = der.split_first_chunk()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        (length.iter().fold(0_usize, |length, byte| length.saturating_mul(256).saturating_add((*byte).into())), rest)
    };
    rest.get(..length).filter(|_| found == tag)
}

/// The reason that a token is not valid, for a person: the library has only the names of its variants.
#[expect(clippy::wildcard_enum_match_arm, reason = "all other kinds are about a text that is no such token")]
fn reason_of(error: &ErrorKind) -> &'static str {
    match error {
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidSignature => "the token is not valid: its signature is not of the key of this server",
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => {
            "the token is not valid: its `alg` is not that of the key of this server"
        }
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) | ErrorKind::Json(_) => {
            "the token is not valid: a claim is missing or has a wrong type"
        }
        _ => "the token is not valid: it is not a signed JWT",
    }
}

fn verify(token: &str, key: &DecodingKey, validation: &Validation) -> Result<Claims, BadToken> {
    let decoded = jsonwebtoken::decode::<WireClaims<f64>>(token, key, validation)
        .map_err(|error| BadToken(reason_of(error.kind()).to_owned()))?;
    // It names extensions that decide what the token means, and this server knows none (RFC 7515, section 4.1.11).
    if decoded.header.crit.is_some() {
        return Err(BadToken("the token is not valid: it has `crit`, and this server knows no extensions".into()));
    }
    let WireClaims { sub, exp, rooms, admin } = decoded.claims;
    let client_id = ClientId::parse(&sub).map_err(|error| BadToken(format!("the token's `sub`: {error}")))?;
    if client_id.is_guest() {
        return Err(BadToken("the token's `sub` is a guest name, which only the server assigns".into()));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a negative time becomes 0, and a time beyond the range of u64 becomes its maximum"
    )]
    let expires_at = (exp * 1_000.0) as u64;
    let rooms = rooms.map_or(RoomGlobs::ALL, RoomGlobs::new);
    Ok(Claims { client_id, rooms, is_admin: admin, expires_at })
}

/// Makes a token to try the server out; `None` if no secret is configured.
///
/// # Errors
/// The claims cannot be encoded, which does not happen.
pub(crate) fn mint(
    config: &Config,
    name: &ClientId,
    rooms: Option<Vec<String>>,
    admin: bool,
    seconds: u32,
) -> Option<Result<String, jsonwebtoken::errors::Error>> {
    let key = EncodingKey::from_secret(config.jwt_secret.as_bytes()?);
    let exp = clock::unix_ms() / 1_000 + u64::from(seconds);
    let claims = WireClaims { sub: name.to_string(), exp, rooms, admin };
    Some(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key))
}

/// The token in an `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The token of a request: from its header, otherwise from its query.
pub(crate) fn shown_token(headers: &HeaderMap, query: Option<String>) -> Option<String> {
    bearer(headers).map(str::to_owned).or(query).filter(|token| !token.is_empty())
}

/// The credentials of operators.
#[derive(Debug)]
pub(crate) struct Access {
    admin_token: Secret,
}

impl Access {
    pub(crate) fn new(config: &Config) -> Self {
        Self { admin_token: config.admin_token.clone() }
    }

    /// Whether there are operators: `CHAT_ADMIN_TOKEN` is set.
    pub(crate) fn has_operators(&self) -> bool {
        self.admin_token.as_bytes().is_some()
    }

    /// Compares in constant time, so that timing reveals nothing about the token.
    pub(crate) fn is_admin_token(&self, token: &str) -> bool {
        self.admin_token.as_bytes().is_some_and(|admin| admin.ct_eq(token.as_bytes()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn config(variables: &[(&str, &str)]) -> Config {
        Config::from_variables(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).unwrap()
    }

    fn with_secret(secret: &str) -> Config {
        config(&[("CHAT_AUTH", "jwt"), ("CHAT_JWT_SECRET", secret)])
    }

    fn token(claims: &serde_json::Value) -> String {
        jsonwebtoken::encode(&Header::default(), claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
    }

    fn refused(token: &str) -> String {
        verifier(&with_secret(SECRET)).unwrap().unwrap().verify(token).unwrap_err().to_string()
    }

    fn seconds() -> u64 {
        clock::unix_ms() / 1_000
    }

    #[test]
    fn a_minted_token_says_what_was_asked_for() {
        let config = with_secret(SECRET);
        let alice = ClientId::parse("alice").unwrap();
        let token = mint(&config, &alice, Some(vec!["dev-*".into()]), true, 60).unwrap().unwrap();
        let claims = verifier(&config).unwrap().unwrap().verify(&token).unwrap();
        assert_eq!((claims.client_id, claims.rooms, claims.is_admin), (alice, RoomGlobs::new(["dev-*"]), true));
        assert!((clock::unix_ms() + 58_000..clock::unix_ms() + 62_000).contains(&claims.expires_at));
    }

    #[test]
    fn a_token_of_another_secret_or_changed_on_the_way_proves_nothing() {
        let alice = ClientId::parse("alice").unwrap();
        let other = mint(&with_secret(&SECRET.replace('0', "1")), &alice, None, false, 60).unwrap().unwrap();
        assert!(refused(&other).contains("its signature is not of the key"), "{}", refused(&other));
        let own = token(&serde_json::json!({"sub": "alice", "exp": seconds() + 60}));
        let [head, claims, signature] = own.split('.').collect::<Vec<_>>()[..] else { panic!("{own}") };
        let forged = token(&serde_json::json!({"sub": "alice", "exp": seconds() + 60, "admin": true}));
        let forged = forged.split('.').nth(1).unwrap();
        for bad in [format!("{head}.{forged}.{signature}"), format!("{head}.{claims}."), "x".into(), String::new()] {
            refused(&bad);
        }
    }

    #[test]
    fn a_token_is_taken_with_the_algorithm_of_the_key_alone() {
        let claims = serde_json::json!({"sub": "alice", "exp": seconds() + 60});
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let stronger = jsonwebtoken::encode(&Header::new(Algorithm::HS512), &claims, &key).unwrap();
        assert!(refused(&stronger).contains("its `alg` is not that of the key"), "{}", refused(&stronger));
        // {"alg":"none"}, with arbitrary claims.
        let own = token(&claims);
        refused(&format!("eyJhbGciOiJub25lIn0.{}.", own.split('.').nth(1).unwrap()));
    }

    #[test]
    fn a_token_with_extensions_that_must_be_understood_is_refused() {
        let claims = serde_json::json!({"sub": "alice", "exp": seconds() + 60});
        let with = |crit: &[&str]| {
            let crit = Some(crit.iter().map(|&name| name.to_owned()).collect());
            let header = Header { crit, ..Header::default() };
            jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
        };
        for crit in [&["exp"][..], &["b64", "x"], &[]] {
            assert!(refused(&with(crit)).contains("it has `crit`"), "{crit:?}");
        }
    }

    #[test]
    fn a_token_holds_until_it_expires_and_says_a_valid_name() {
        let exp = seconds() + 60;
        assert_eq!(
            refused(&token(&serde_json::json!({"sub": "alice", "exp": seconds() - 1}))),
            "the token has expired"
        );
        let early = token(&serde_json::json!({"sub": "alice", "exp": exp, "nbf": exp}));
        assert_eq!(refused(&early), "the token is not valid yet");
        for claims in [
            serde_json::json!({"sub": "alice"}),
            serde_json::json!({"exp": exp}),
            serde_json::json!({"sub": "a b", "exp": exp}),
            serde_json::json!({"sub": "guest-1", "exp": exp}),
            serde_json::json!({"sub": "alice", "exp": exp, "rooms": "dev"}),
            serde_json::json!({"sub": "alice", "exp": exp, "admin": "yes"}),
        ] {
            refused(&token(&claims));
        }
    }

    #[test]
    fn the_header_goes_before_the_query() {
        let mut headers = HeaderMap::new();
        assert_eq!(shown_token(&headers, Some(String::new())), None);
        assert_eq!(shown_token(&headers, Some("q".into())).as_deref(), Some("q"));
        headers.insert(AUTHORIZATION, "bearer  h ".parse().unwrap());
        assert_eq!(shown_token(&headers, Some("q".into())).as_deref(), Some("h"));
        headers.insert(AUTHORIZATION, "Basic h".parse().unwrap());
        assert_eq!(shown_token(&headers, None), None);
    }
}
