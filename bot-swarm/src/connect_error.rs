//! The reasons that a bot cannot connect, in few words, so that equal errors are counted together.

use std::io;
use std::time::Duration;

use actix_http::error::ParseError;
use awc::error::{ConnectError, SendRequestError, WsClientError};
use rustix::io::Errno;
use tokio_rustls::rustls::{self, CertificateError};

use crate::refused::Refused;

/// The kind of error of a bot for which the process had no free file descriptor.
pub const NO_FILE_LEFT: &str = "connect: too many open files";

/// The kind of error of a bot for which the host had no free local port.
pub const NO_PORT_LEFT: &str = "connect: no local port left";

/// The kind of error of a bot whose packets got no answer.
pub const NO_ANSWER: &str = "connect: no answer";

/// The kind of error of a bot whose host has no address.
pub const UNKNOWN_HOST: &str = "connect: unknown host";

/// The kind of error of a bot whose handshake got no answer.
pub const NO_REPLY: &str = "handshake: no answer";

/// The kind of error of a bot whose handshake got an answer other than HTTP.
pub const NO_HTTP: &str = "handshake: the answer is not HTTP";

/// The kind of error of a bot whose connection ended before the handshake was answered.
pub const ENDED: &str = "handshake: the connection ended";

/// The kind of error of a bot that connected but received no welcome in its dialect.
pub const NO_WELCOME: &str = "no welcome";

/// The kind of error of a bot that was welcomed in its own dialect, and could not read the welcome.
pub const UNREADABLE_WELCOME: &str = "a welcome that cannot be read";

/// The kind of error of a bot that the server has taken out of its home room.
pub const HAD_TO_LEAVE: &str = "had to leave its room";

/// Describes a connect error in few words, so that equal errors are counted together.
#[expect(clippy::wildcard_enum_match_arm, reason = "the errors of a library, which may add some")]
pub(crate) fn describe(error: &WsClientError) -> String {
    let WsClientError::SendRequest(error) = error else { return format!("handshake: {error}") };
    match error {
        SendRequestError::Custom(error, _) => {
            let refused = error.downcast_ref::<Refused>().map(ToString::to_string);
            refused.unwrap_or_else(|| format!("handshake: {error}"))
        }
        SendRequestError::Connect(ConnectError::Timeout) => NO_ANSWER.to_owned(),
        SendRequestError::Connect(ConnectError::Resolver(_) | ConnectError::NoRecords) => UNKNOWN_HOST.to_owned(),
        SendRequestError::Connect(ConnectError::Disconnected) => ENDED.to_owned(),
        SendRequestError::Connect(ConnectError::Io(error))
        | SendRequestError::Response(ParseError::Io(error))
        | SendRequestError::Send(error) => describe_io(error),
        SendRequestError::Response(_) => NO_HTTP.to_owned(),
        SendRequestError::Timeout => NO_REPLY.to_owned(),
        error => format!("connect: {error}"),
    }
}

/// The wait that the server requested when it refused a bot.
pub(crate) fn retry_after(error: &WsClientError) -> Duration {
    let WsClientError::SendRequest(SendRequestError::Custom(error, _)) = error else { return Duration::ZERO };
    error.downcast_ref::<Refused>().map_or(Duration::ZERO, |refused| refused.retry_after)
}

fn describe_io(error: &io::Error) -> String {
    if let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
        return describe_tls(error);
    }
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE) => NO_FILE_LEFT.to_owned(),
        Some(Errno::ADDRNOTAVAIL) => NO_PORT_LEFT.to_owned(),
        _ if error.kind() == io::ErrorKind::UnexpectedEof => ENDED.to_owned(),
        _ => format!("connect: {}", error.kind()),
    }
}

/// Describes a TLS error without times and debug output, so that all bots have the same kind.
#[expect(clippy::wildcard_enum_match_arm, reason = "the errors of a library, which may add some")]
fn describe_tls(error: &rustls::Error) -> String {
    let invalid = |what: &str| format!("TLS: invalid peer certificate: {what}");
    let rustls::Error::InvalidCertificate(certificate) = error else { return format!("TLS: {error}") };
    match certificate {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => invalid("Expired"),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => invalid("NotValidYet"),
        CertificateError::NotValidForName => invalid("certificate not valid for name of the host"),
        CertificateError::Other(other) => invalid(&other.0.to_string()),
        _ => format!("TLS: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_files_or_ports_is_known_as_the_swarms_own_limit() {
        let told = |errno: Errno| {
            let error = ConnectError::Io(std::io::Error::from(errno));
            describe(&WsClientError::SendRequest(SendRequestError::Connect(error)))
        };
        assert_eq!(told(Errno::MFILE), NO_FILE_LEFT);
        assert_eq!(told(Errno::NFILE), NO_FILE_LEFT);
        assert_eq!(told(Errno::ADDRNOTAVAIL), NO_PORT_LEFT);
        assert_eq!(told(Errno::CONNREFUSED), "connect: connection refused");
    }
}
