//! The signature of a request to a receiver.

use std::fmt::Write;

/// The header with the signature.
pub(super) const HEADER: &str = "starling-signature";

/// Signs requests with the secret that the server shares with the receivers.
#[derive(Debug)]
pub(super) struct Signer(aws_lc_rs::hmac::Key);

impl Signer {
    pub(super) fn new(secret: &[u8]) -> Self {
        Self(aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret))
    }

    /// The value of the header: the time of signing in seconds since the Unix epoch, and HMAC-SHA256 over the time, a
    /// dot and the body, in hexadecimal digits.
    pub(super) fn sign(&self, unix_seconds: u64, body: &[u8]) -> String {
        let mut context = aws_lc_rs::hmac::Context::with_key(&self.0);
        context.update(format!("{unix_seconds}.").as_bytes());
        context.update(body);
        let mut value = format!("t={unix_seconds},v1=");
        for byte in context.sign().as_ref() {
            // Writing to a string cannot fail.
            write!(value, "{byte:02x}").unwrap_or_default();
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value is that of `printf 1700000000.{} | openssl dgst -sha256 -hmac 0123456789abcdef`.
    #[test]
    fn a_signature_is_that_of_openssl() {
        let signature = Signer::new(b"0123456789abcdef").sign(1_700_000_000, b"{}");
        assert_eq!(signature, "t=1700000000,v1=e4f8e2ecae2295b2ddb2f0b5584c8275e226c0ebe9b3b819e70156bb67122e3e");
    }
}
