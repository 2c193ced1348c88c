//! The WebSocket client of all bots of a worker.

use std::sync::Arc;
use std::time::Duration;

use actix_service::{Service as _, fn_service};
use actix_tls::connect::{ConnectError, ConnectInfo, Connection, Connector as TcpConnector};
use awc::http::Uri;
use tokio_rustls::rustls::ClientConfig;

use crate::dialing::Dialing;
use crate::refused::TellRefusals;

/// The deadline for connecting, including the WebSocket handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The client of all bots of a worker, without a connection limit and with `TCP_NODELAY`. The connections that it makes
/// are counted as `dialing`.
pub(crate) fn client(tls: Option<Arc<ClientConfig>>, dialing: Dialing) -> awc::Client {
    let tcp = TcpConnector::default().service();
    let undelayed = fn_service(move |info: ConnectInfo<Uri>| {
        let connecting = tcp.call(info);
        let dial = dialing.begin();
        async move {
            let connection: Connection<Uri, actix_rt::net::TcpStream> = connecting.await?;
            drop(dial);
            // Without this, a second small frame waits up to 40 ms for the first one's acknowledgement.
            connection.io_ref().set_nodelay(true).map_err(ConnectError::Io)?;
            Ok(connection)
        }
    });
    let connector = awc::Connector::new().connector(undelayed).limit(0);
    let connector = if let Some(tls) = tls { connector.rustls_0_23(tls) } else { connector };
    awc::Client::builder()
        .connector(connector)
        .wrap(TellRefusals)
        .timeout(CONNECT_TIMEOUT)
        .no_default_headers()
        .finish()
}
