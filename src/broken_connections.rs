//! Counts the connections that end because of what their client sent or failed to send. Logging each would flood the
//! log.

use actix_http::error::{DispatchError, ParseError};
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use crate::reader_left::ReaderLeft;
use crate::refusal::HttpCode;

/// The reason that a connection ended before it became a WebSocket. A closed set, used as a label.
#[derive(Debug, Clone, Copy)]
enum Reason {
    /// Its bytes are not an HTTP request.
    Malformed,
    /// Its request did not arrive in time.
    Slow,
    /// Its client closed it, or its TLS handshake failed.
    Lost,
    /// The framework ended it for another reason.
    Other,
}

/// Counters of connections that ended badly, by reason.
#[derive(Debug, Clone)]
pub(crate) struct BrokenConnections([IntCounter; 4]);

impl BrokenConnections {
    /// Registers the counters; the diagnosis judges them, too.
    ///
    /// # Errors
    /// A registry has them already.
    pub(crate) fn register(registries: [&Registry; 2]) -> Result<Self, prometheus::Error> {
        let help = "Connections that ended before they were a WebSocket, because of their client, by reason.";
        let counters = IntCounterVec::new(Opts::new("chat_broken_connections_total", help), &["reason"])?;
        for registry in registries {
            registry.register(Box::new(counters.clone()))?;
        }
        Ok(Self(["malformed", "slow", "lost", "other"].map(|reason| counters.with_label_values(&[reason]))))
    }

    /// Counts a connection whose request was refused before it reached the framework. Refusals by a limit are not
    /// counted here but in `chat_refused_handshakes_total`.
    pub(crate) fn count_refusal(&self, code: HttpCode) {
        use HttpCode::{RateLimited, RequestTimeout, TooManyConnections, Unavailable};
        if code == RequestTimeout {
            self.count_reason(Reason::Slow);
        } else if ![RateLimited, TooManyConnections, Unavailable].contains(&code) {
            self.count_reason(Reason::Malformed);
        }
    }

    /// Counts a connection that ended with this error, and passes the error on. It does not count a reader that leaves
    /// an endless answer.
    pub(crate) fn count(&self, error: DispatchError) -> DispatchError {
        use DispatchError::{Io, Parse, SlowRequestTimeout};
        if let Io(io) = &error
            && let Some(inner) = io.get_ref()
            && inner.is::<ReaderLeft>()
        {
            return error;
        }
        let reason = if matches!(error, Parse(ParseError::Timeout) | SlowRequestTimeout) {
            Reason::Slow
        } else if matches!(error, Parse(ParseError::Io(_)) | Io(_)) {
            Reason::Lost
        } else if matches!(error, Parse(_)) {
            Reason::Malformed
        } else {
            Reason::Other
        };
        self.count_reason(reason);
        error
    }

    fn count_reason(&self, reason: Reason) {
        if let Some(counter) = self.0.get(reason as usize) {
            counter.inc();
        }
    }
}
