//! Why a bot cannot connect, in few words, so that the same counts as the same.

use awc::error::{ConnectError, SendRequestError, WsClientError};
use rustix::io::Errno;
use tokio_rustls::rustls;

use crate::refused::Refused;

/// The kind of error of a bot for which there was no open file left.
pub const NO_FILE_LEFT: &str = "connect: too many open files";

/// The kind of error of a bot for which there was no local port left.
pub const NO_PORT_LEFT: &str = "connect: no local port left";

/// A connect error in few words, so that the same counts as the same.
pub(crate) fn describe(error: &WsClientError) -> String {
    if let WsClientError::SendRequest(SendRequestError::Custom(error, _)) = error
        && let Some(refused) = error.downcast_ref::<Refused>()
    {
        return refused.to_string();
    }
    if let WsClientError::SendRequest(SendRequestError::Connect(ConnectError::Io(error))) = error {
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return format!("TLS: {error}");
        }
        return match Errno::from_io_error(error) {
            Some(Errno::MFILE | Errno::NFILE) => NO_FILE_LEFT.to_owned(),
            Some(Errno::ADDRNOTAVAIL) => NO_PORT_LEFT.to_owned(),
            _ => format!("connect: {}", error.kind()),
        };
    }
    let is_timeout = matches!(
        error,
        WsClientError::SendRequest(SendRequestError::Timeout | SendRequestError::Connect(ConnectError::Timeout))
    );
    if is_timeout { "connect: timeout".to_owned() } else { format!("connect: {error}") }
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
