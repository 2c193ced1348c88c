//! The settings of a client.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use starling_protocol::{ClientId, ClientKey};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls::ClientConfig;

/// A future of the application that the client runs.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The reason that an application could not get a token.
pub type TokenError = Box<dyn std::error::Error + Send + Sync>;

/// A stream of bytes to a server.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

pub(crate) type GetToken = Arc<dyn Fn() -> BoxFuture<Result<String, TokenError>> + Send + Sync>;
pub(crate) type Dial = Arc<dyn Fn(String, u16) -> BoxFuture<io::Result<Box<dyn ByteStream>>> + Send + Sync>;

/// The pauses before attempts to connect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pauses {
    /// The longest first pause.
    pub(crate) first: Duration,
    /// The longest pause, unless the server asks for a longer one.
    pub(crate) longest: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { first: Duration::from_millis(500), longest: Duration::from_secs(20) }
    }
}

/// The settings of a client, see [`Client::connect`](crate::Client::connect).
#[derive(Clone)]
pub struct Options {
    pub(crate) urls: Vec<String>,
    pub(crate) client_id: Option<ClientId>,
    pub(crate) key: Option<ClientKey>,
    pub(crate) get_token: Option<GetToken>,
    pub(crate) dial: Dial,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) pauses: Pauses,
    pub(crate) connect_time: Duration,
    pub(crate) events_max: usize,
    pub(crate) unsent_max: usize,
}

impl Options {
    /// A client of the servers at these URLs: `ws://`, `wss://`, `http://` or `https://`, with or without `/ws`.
    ///
    /// Several URLs are several nodes of one chat. If a node is unreachable or closes the connection, the client tries
    /// the next one.
    pub fn new<U: Into<String>>(urls: impl IntoIterator<Item = U>) -> Self {
        Self {
            urls: urls.into_iter().map(Into::into).collect(),
            client_id: None,
            key: None,
            get_token: None,
            dial: Arc::new(|host, port| Box::pin(dial_tcp(host, port))),
            tls: None,
            pauses: Pauses::default(),
            connect_time: Duration::from_secs(10),
            events_max: 1_024,
            unsent_max: 10_000,
        }
    }

    /// The name to take. Without it the client is a guest: it gets another name with each connection, and a message
    /// whose acknowledgement is lost with a connection fails with
    /// [`SendError::Unconfirmed`](crate::SendError::Unconfirmed).
    #[must_use]
    pub fn client_id(mut self, client_id: ClientId) -> Self {
        self.client_id = Some(client_id);
        self
    }

    /// The key of an earlier run, see [`Client::key`](crate::Client::key). It takes the name back from a connection of
    /// that run which the server still believes to be alive.
    #[must_use]
    pub fn key(mut self, key: ClientKey) -> Self {
        self.key = Some(key);
        self
    }

    /// How to get a token, if the server authenticates names.
    ///
    /// The client calls it when it has no token, when its token is about to expire, and when the server has refused it.
    /// A failure counts as a failed attempt to connect: the client tries again after a pause.
    #[must_use]
    pub fn get_token<F, T>(mut self, get_token: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, TokenError>> + Send + 'static,
    {
        self.get_token = Some(Arc::new(move || Box::pin(get_token())));
        self
    }

    /// The bounds of the random pause before an attempt to connect: for the first pause, and for all. Default: 0.5 s
    /// and 20 s. A pause that the server asks for is added.
    #[must_use]
    pub fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        self.pauses = Pauses { first, longest };
        self
    }

    /// The longest time from the start of an attempt to the server's `welcome`. Default: 10 s.
    #[must_use]
    pub fn connect_time(mut self, connect_time: Duration) -> Self {
        self.connect_time = connect_time;
        self
    }

    /// The most events that wait in a stream for the application. Default: 1,024.
    ///
    /// A room whose stream is full is paused, and resumed from the server's history when the application reads again. A
    /// stream of private messages, which the server may not store, reports how many were dropped.
    #[must_use]
    pub fn events_max(mut self, events_max: usize) -> Self {
        self.events_max = events_max.max(1);
        self
    }

    /// The most messages and questions that wait for their answers. One more fails with
    /// [`SendError::TooManyUnsent`](crate::SendError::TooManyUnsent). Default: 10,000.
    #[must_use]
    pub fn unsent_max(mut self, unsent_max: usize) -> Self {
        self.unsent_max = unsent_max;
        self
    }

    /// The configuration of TLS. Default: the certificate authorities of the operating system.
    #[must_use]
    pub fn tls(mut self, config: Arc<ClientConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// How to open a stream to a host and port, for example through a proxy. Default: TCP. If the URL requires TLS, the
    /// client runs TLS over this stream.
    #[must_use]
    pub fn dial_with<F, T>(mut self, dial: F) -> Self
    where
        F: Fn(String, u16) -> T + Send + Sync + 'static,
        T: Future<Output = io::Result<Box<dyn ByteStream>>> + Send + 'static,
    {
        self.dial = Arc::new(move |host, port| Box::pin(dial(host, port)));
        self
    }
}

async fn dial_tcp(host: String, port: u16) -> io::Result<Box<dyn ByteStream>> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key and a token in a URL are secret.
        f.debug_struct("Options")
            .field("client_id", &self.client_id)
            .field("pauses", &self.pauses)
            .finish_non_exhaustive()
    }
}
