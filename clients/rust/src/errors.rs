//! The errors that a client reports to its application.

use starling_protocol::{CloseCode, NameError, Refusal};

/// A message was not sent, or a question not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The server has refused it. `code` has the reason, and is stable.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The message was sent, but its acknowledgement was lost with a connection, and sending it again could deliver it
    /// twice: the client has another name now, or five minutes have passed. It is unknown whether the message was
    /// delivered. Or a position was not confirmed before the connection was lost.
    #[error("the message was sent, but not acknowledged in time")]
    Unconfirmed,
    /// [`Options::unsent_max`](crate::Options::unsent_max) messages and questions are already waiting.
    #[error("too many messages wait to be sent")]
    TooManyUnsent,
    /// The server has started a new numbering while the history was read, so the rest is gone.
    #[error("the server has started a new numbering, so the rest of this history is gone")]
    OtherEpoch,
    /// The client has ended.
    #[error("the client has ended")]
    Closed,
}

/// The reason that a client has ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClosedBy {
    /// The application has closed or dropped it.
    #[error("closed by the application")]
    Application,
    /// The server has refused the handshake for a permanent reason, such as the name or the token.
    #[error("the server refuses this client: {status} {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The code and the text of the server.
        message: String,
    },
    /// The server has closed the connection with a code that makes reconnecting useless.
    #[error("closed by the server: {} {reason}", code.as_u16())]
    Server {
        /// The code.
        code: CloseCode,
        /// The reason, for a person.
        reason: String,
    },
    /// A URL in the options is not valid.
    #[error("the URL {0:?} is not valid")]
    BadUrl(String),
}

/// A name of a room or a client is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?}: {error}")]
pub struct BadName {
    /// The name.
    pub name: String,
    /// The rule that it breaks.
    pub error: NameError,
}
