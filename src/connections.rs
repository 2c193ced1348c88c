//! Serves the connections of one worker thread: WebSocket handshakes, and other requests with the framework.

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use actix_http::Protocol;
use actix_http::error::DispatchError;
use actix_service::Service;

use crate::accept::Accept;
use crate::http_stream::HttpStream;
use crate::listener::Accepted;
use crate::state::ServerState;
use crate::upgrade::Upgrade;

/// See the [module](self). `H` is the framework's service for an HTTP connection.
#[derive(Debug)]
pub(crate) struct Connections<H> {
    pub(crate) accept: Arc<Accept>,
    pub(crate) state: Arc<ServerState>,
    pub(crate) upgrade: Rc<Upgrade>,
    pub(crate) http: H,
}

impl<H> Connections<H>
where
    H: Service<(Box<HttpStream>, Protocol, Option<SocketAddr>), Response = (), Error = DispatchError>,
{
    /// Serves a connection until it has ended or has become a session.
    pub(crate) async fn serve(self: Rc<Self>, accepted: Accepted) -> Result<(), DispatchError> {
        let peer = Some(accepted.peer);
        let mut stream = self.accept.take(accepted, Arc::clone(&self.state)).await?;
        let served = match stream.first_handshake().await {
            Ok(Some(mut request)) => {
                request.head_mut().peer_addr = peer;
                self.upgrade.serve(request, stream).await;
                Ok(())
            }
            Ok(None) => self.serve_http(stream, peer).await,
            Err(error) => Err(DispatchError::Io(error)),
        };
        served.map_err(|error| self.state.broken().count(error))
    }

    /// Boxed, so that a WebSocket does not reserve the memory of the framework's future.
    fn serve_http(&self, stream: Box<HttpStream>, peer: Option<SocketAddr>) -> Pin<Box<H::Future>> {
        stream.hand_to_framework();
        Box::pin(self.http.call((stream, Protocol::Http1, peer)))
    }
}
