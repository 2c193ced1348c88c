//! The real server, in this process, on a free port.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use starling::{Config, RunError, Server, StartError};
use test_kit::{DEADLINE, LOOK, Listens, within};
use tokio::sync::oneshot;

/// The variables of a test's server, unless the test overrides them.
const DEFAULTS: [(&str, &str); 4] =
    [("CHAT_BIND", "127.0.0.1:0"), ("CHAT_WORKERS", "2"), ("CHAT_DRAIN_SECONDS", "2"), ("CHAT_HISTORY", "memory")];

/// A running server; it stops in order when it is dropped.
#[derive(Debug)]
pub(crate) struct TestServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), RunError>>>,
}

impl TestServer {
    /// Starts a server with these variables.
    pub(crate) fn start(variables: &[(&str, &str)]) -> Self {
        Self::start_by(variables, Server::start)
    }

    /// Starts a server in another way than with its configuration only.
    pub(crate) fn start_by(
        variables: &[(&str, &str)],
        start: impl AsyncFnOnce(Config) -> Result<Server, StartError> + Send + 'static,
    ) -> Self {
        let owned = |pair: &(&str, &str)| (pair.0.to_owned(), pair.1.to_owned());
        let config = Config::from_variables(DEFAULTS.iter().chain(variables).map(owned)).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = mpsc::channel();
        let thread = thread::Builder::new().name("server".into()).spawn(move || {
            actix_rt::System::new().block_on(async move {
                let server = start(config).await.unwrap();
                tell.send(server.address()).unwrap();
                server.run_until(async { stopped.await.unwrap_or_default() }).await
            })
        });
        let address = told.recv_timeout(DEADLINE).unwrap();
        Self { address, stop: Some(stop), thread: Some(thread.unwrap()) }
    }

    /// The server's address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests the server to stop, without waiting.
    pub(crate) fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended by itself.
            stop.send(()).unwrap_or_default();
        }
    }

    /// Waits for the server's end, and returns its result.
    pub(crate) async fn outcome(&mut self) -> Result<(), RunError> {
        let over = async {
            while !self.is_over() {
                tokio::time::sleep(LOOK).await;
            }
        };
        within("the server ends", over).await;
        self.thread.take().unwrap().join().unwrap()
    }

    /// Whether the server has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Listens for TestServer {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop();
        let outcome = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(matches!(outcome, None | Some(Ok(Ok(())))), "the server ended badly: {outcome:?}");
        }
    }
}
