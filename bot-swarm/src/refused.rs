//! The reason that a server refuses a handshake. The WebSocket client tells only the HTTP status; Starling, like many
//! others, puts a code into the body: `{"code":"name_taken",…}`.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use actix_codec::Framed;
use actix_http::h1::{ClientCodec, MessageType};
use actix_http::header::RETRY_AFTER;
use actix_http::{ResponseHead, StatusCode};
use actix_rt::time::timeout;
use actix_service::Service;
use awc::error::SendRequestError;
use awc::middleware::Transform;
use awc::{BoxedSocket, ConnectRequest, ConnectResponse};
use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use serde::Deserialize;

/// The most bytes of a refusal's body that are read; a longer one yields no code.
const BODY_BYTES_MAX: usize = 4_096;

/// The time to wait for the body of a refusal; after that, it yields no code.
const BODY_DEADLINE: Duration = Duration::from_secs(1);

/// The longest wait that a server can request; a longer one is shortened to this.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// The most characters of a code. A longer one is ignored.
const CODE_CHARS_MAX: usize = 40;

/// A handshake that the server refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The HTTP status.
    status: u16,
    /// The code in the body, if there is one.
    code: Option<String>,
    /// The wait that the server requests (`Retry-After` in seconds); zero if it does not.
    pub(crate) retry_after: Duration,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        self.code.as_ref().map_or(Ok(()), |code| write!(f, " {code}"))
    }
}

impl std::error::Error for Refused {}

/// The code in the body of a refusal.
fn code_in(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        code: String,
    }
    let Body { code } = serde_json::from_slice(body).ok()?;
    let is_word = |code: &String| code.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
    Some(code).filter(|code| !code.is_empty() && code.len() <= CODE_CHARS_MAX).filter(is_word)
}

/// Makes an awc client return [`Refused`] for a refused handshake.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TellRefusals;

impl<S> Transform<S, ConnectRequest> for TellRefusals
where
    S: Service<ConnectRequest, Response = ConnectResponse, Error = SendRequestError> + 'static,
{
    type Transform = RefusalTeller<S>;

    fn new_transform(self, connector: S) -> Self::Transform {
        RefusalTeller { connector: Rc::new(connector) }
    }
}

/// The connector that [`TellRefusals`] wraps around another.
#[derive(Debug)]
pub(crate) struct RefusalTeller<S> {
    connector: Rc<S>,
}

impl<S> Service<ConnectRequest> for RefusalTeller<S>
where
    S: Service<ConnectRequest, Response = ConnectResponse, Error = SendRequestError> + 'static,
{
    type Response = ConnectResponse;
    type Error = SendRequestError;
    type Future = LocalBoxFuture<'static, Result<ConnectResponse, SendRequestError>>;

    actix_service::forward_ready!(connector);

    fn call(&self, request: ConnectRequest) -> Self::Future {
        let connector = Rc::clone(&self.connector);
        Box::pin(async move {
            match connector.call(request).await? {
                ConnectResponse::Tunnel(head, framed) if head.status != StatusCode::SWITCHING_PROTOCOLS => {
                    let refused = read(&head, framed).await;
                    Err(SendRequestError::Custom(Box::new(refused), Box::new("the server refused the handshake")))
                }
                response @ (ConnectResponse::Client(_) | ConnectResponse::Tunnel(..)) => Ok(response),
            }
        })
    }
}

async fn read(head: &ResponseHead, framed: Framed<BoxedSocket, ClientCodec>) -> Refused {
    let status = head.status.as_u16();
    let retry_after = head.headers().get(RETRY_AFTER).and_then(|seconds| seconds.to_str().ok()?.parse().ok());
    let retry_after = Duration::from_secs(retry_after.unwrap_or_default()).min(RETRY_AFTER_MAX);
    if framed.codec_ref().message_type() == MessageType::None {
        return Refused { status, code: None, retry_after };
    }
    let mut chunks = framed.into_map_codec(ClientCodec::into_payload_codec);
    let reading = async {
        let mut body = Vec::new();
        // The body ends with `None`.
        while let Some(Ok(Some(chunk))) = chunks.next().await {
            body.extend_from_slice(&chunk);
            if body.len() > BODY_BYTES_MAX {
                return None;
            }
        }
        code_in(&body)
    };
    Refused { status, code: timeout(BODY_DEADLINE, reading).await.ok().flatten(), retry_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_by_its_status_and_its_code() {
        let told = |body: &str| {
            let code = code_in(body.as_bytes());
            Refused { status: 503, code, retry_after: Duration::ZERO }.to_string()
        };
        let long = format!(r#"{{"code":"{}"}}"#, "x".repeat(CODE_CHARS_MAX + 1));
        for (body, expected) in [
            (r#"{"code":"unavailable","message":"the server is full"}"#, "HTTP 503 unavailable"),
            (r#"{"message":"x","code":"name_taken"}"#, "HTTP 503 name_taken"),
            ("", "HTTP 503"),
            ("<html>", "HTTP 503"),
            (r#"{"code":503}"#, "HTTP 503"),
            (r#"{"code":""}"#, "HTTP 503"),
            (r#"{"code":"two words"}"#, "HTTP 503"),
            (r#"{"code":"\u001b[31m"}"#, "HTTP 503"),
            (&long, "HTTP 503"),
        ] {
            assert_eq!(told(body), expected, "{body}");
        }
    }
}
