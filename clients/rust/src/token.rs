//! Reads the expiry time in the client's own token.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// The remaining time of a token by this machine's clock. `None` if the token has no expiry time.
///
/// If the clock is wrong, the server refuses the token, and the client gets another one.
pub(crate) fn time_left(token: &str) -> Option<Duration> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let end = UNIX_EPOCH.checked_add(Duration::from_secs(claims.get("exp")?.as_u64()?))?;
    Some(end.duration_since(SystemTime::now()).unwrap_or_default())
}

/// The time after which the client asks for the next token: nine tenths of the remaining time, at least 1 s before the
/// end.
pub(crate) fn renew_after(left: Duration) -> Duration {
    left.mul_f64(0.9).min(left.saturating_sub(Duration::from_secs(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_token_is_read_from_its_claims() {
        let end = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs()) + 100;
        let token = |claims: &str| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        let left = time_left(&token(&format!(r#"{{"exp":{end}}}"#))).map(|left| left.as_secs());
        assert!(matches!(left, Some(98..=100)), "{left:?}");
        assert_eq!(time_left(&token(r#"{"exp":1}"#)), Some(Duration::ZERO));
        for token in [token("{}"), token("x"), "no token".into(), "a.b.c".into(), String::new()] {
            assert_eq!(time_left(&token), None, "{token}");
        }
    }

    #[test]
    fn the_next_token_is_asked_for_before_the_end() {
        assert_eq!(renew_after(Duration::from_secs(100)), Duration::from_secs(90));
        assert_eq!(renew_after(Duration::from_secs(2)), Duration::from_secs(1));
        assert_eq!(renew_after(Duration::ZERO), Duration::ZERO);
    }
}
