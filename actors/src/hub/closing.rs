//! Reasons for closing a connection.

use starling_protocol::CloseCode;

use crate::metrics::DisconnectReason;

/// How to close a connection: the close frame, and the reason in the metrics.
#[derive(Debug, Clone, Copy)]
pub struct Closing {
    pub(crate) code: CloseCode,
    pub(crate) reason: &'static str,
    pub(crate) counted_as: DisconnectReason,
    /// Whether unsent frames are dropped, so that the client gets the close frame at once.
    pub(crate) drops_outbox: bool,
}

impl Closing {
    pub(crate) const SLOW: Self = Self {
        code: CloseCode::SlowConsumer,
        reason: "slow consumer",
        counted_as: DisconnectReason::SlowConsumer,
        drops_outbox: true,
    };
    pub(crate) const OVERLOAD: Self = Self {
        code: CloseCode::TryAgainLater,
        reason: "too many unsent bytes for all clients",
        counted_as: DisconnectReason::Overload,
        drops_outbox: true,
    };
    pub(crate) const SILENT: Self = Self {
        code: CloseCode::NoSignOfLife,
        reason: "no sign of life",
        counted_as: DisconnectReason::NoSignOfLife,
        drops_outbox: true,
    };

    /// The client ended its side without a close frame. The answers to its commands are still written, because it may
    /// still read.
    pub(crate) fn lost() -> Self {
        Self { counted_as: DisconnectReason::Lost, ..Self::by_server(CloseCode::Normal, "") }
    }

    /// The client sent a close frame.
    pub(crate) fn by_client() -> Self {
        Self { counted_as: DisconnectReason::Client, ..Self::by_server(CloseCode::Normal, "") }
    }

    /// The server closes the connection with this code and reason.
    pub(crate) fn by_server(code: CloseCode, reason: &'static str) -> Self {
        let counted_as = match code {
            CloseCode::Normal => DisconnectReason::Client,
            CloseCode::GoingAway => DisconnectReason::GoingAway,
            CloseCode::TryAgainLater => DisconnectReason::Overload,
            CloseCode::ProtocolError => DisconnectReason::ProtocolError,
            CloseCode::BinaryFrame => DisconnectReason::BinaryFrame,
            CloseCode::NotUtf8 => DisconnectReason::NotUtf8,
            CloseCode::Policy => DisconnectReason::Policy,
            CloseCode::FrameTooLarge => DisconnectReason::FrameTooLarge,
            CloseCode::Fault => DisconnectReason::Fault,
            CloseCode::SlowConsumer => DisconnectReason::SlowConsumer,
            CloseCode::NoSignOfLife => DisconnectReason::NoSignOfLife,
            CloseCode::Replaced => DisconnectReason::Replaced,
            CloseCode::Removed => DisconnectReason::Removed,
            CloseCode::Banned => DisconnectReason::Banned,
        };
        Self { code, reason, counted_as, drops_outbox: false }
    }
}
