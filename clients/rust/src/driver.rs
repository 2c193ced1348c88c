//! The task of a client: connects, moves frames between the socket and the core, and reconnects.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use starling_protocol::{ClientKey, CloseCode, ServerEvent, Welcome, codec};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response, header};
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

use crate::address::Address;
use crate::backoff::Backoff;
use crate::client::State;
use crate::core::{Command, Core};
use crate::errors::ClosedBy;
use crate::options::{BoxFuture, ByteStream, GetToken, Options, TokenError};
use crate::token;

type Socket = WebSocketStream<MaybeTlsStream<Box<dyn ByteStream>>>;

/// How long the close of a connection may take.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// Heartbeats of the server without any frame, after which the connection counts as lost.
const SILENT_HEARTBEATS: u32 = 2;

/// The task of a client.
pub(crate) struct Driver {
    options: Options,
    addresses: Vec<Address>,
    /// The address to try next.
    node: usize,
    token: Option<String>,
    core: Core,
    commands: mpsc::UnboundedReceiver<Command>,
    state: watch::Sender<State>,
    key: watch::Sender<Option<ClientKey>>,
    backoff: Backoff,
}

/// The end of an attempt or of a connection.
enum End {
    /// Reconnect, after at least this time.
    Again { at_least: Duration, reason: String },
    /// The client ends.
    Final(ClosedBy),
}

impl End {
    fn again(reason: impl Into<String>) -> Self {
        Self::Again { at_least: Duration::ZERO, reason: reason.into() }
    }
}

/// The reason that a handshake did not succeed.
enum NotOpened {
    /// The server refuses the token.
    BadToken(String),
    Failed(Error),
    Refused {
        status: u16,
        message: String,
        retry_after: Duration,
    },
}

impl Driver {
    pub(crate) fn new(
        options: Options,
        commands: mpsc::UnboundedReceiver<Command>,
        state: watch::Sender<State>,
        key: watch::Sender<Option<ClientKey>>,
    ) -> Self {
        let core = Core::new(options.client_id.clone(), options.key, options.unsent_max);
        let (addresses, backoff) = (Vec::new(), Backoff::default());
        Self { options, addresses, node: 0, token: None, core, commands, state, key, backoff }
    }

    /// Runs until the client ends.
    pub(crate) async fn run(mut self) {
        let closed = match self.options.urls.iter().find(|url| Address::parse(url).is_none()) {
            Some(url) => ClosedBy::BadUrl(url.clone()),
            None if self.options.urls.is_empty() => ClosedBy::BadUrl(String::new()),
            None => {
                self.addresses = self.options.urls.iter().filter_map(|url| Address::parse(url)).collect();
                Box::pin(self.live()).await
            }
        };
        log::debug!("the client ends: {closed}");
        self.commands.close();
        self.core.end();
        while let Some(command) = self.commands.recv().await {
            // Each remaining command is answered with `Closed` or dropped.
            self.core.command(command);
            self.core.end();
        }
        self.state.send_replace(State::Closed(closed));
    }

    /// Connects, and reconnects after each lost connection.
    async fn live(&mut self) -> ClosedBy {
        loop {
            self.state.send_replace(State::Connecting);
            let started = Instant::now();
            let end = match Box::pin(self.open()).await {
                Ok(socket) => self.talk(socket, started + self.options.connect_time).await,
                Err(end) => end,
            };
            self.core.lost();
            let (at_least, reason) = match end {
                End::Again { at_least, reason } => (at_least, reason),
                End::Final(closed) => return closed,
            };
            self.node = (self.node + 1) % self.addresses.len().max(1);
            let pause = self.backoff.next(at_least, &self.options.pauses);
            log::info!("reconnecting in {pause:?}: {reason}");
            self.state.send_replace(State::Waiting { pause, reason });
            if self.meanwhile(tokio::time::sleep(pause)).await.is_err() {
                return ClosedBy::Application;
            }
        }
    }

    /// Waits for a future, and handles the commands of the application meanwhile.
    ///
    /// # Errors
    /// The application has closed the client.
    async fn meanwhile<T>(&mut self, future: impl Future<Output = T>) -> Result<T, ()> {
        tokio::pin!(future);
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => {
                    if !command.is_some_and(|command| self.core.command(command)) {
                        return Err(());
                    }
                }
                outcome = &mut future => return Ok(outcome),
            }
        }
    }

    async fn open(&mut self) -> Result<Socket, End> {
        // Handles waiting commands first, because they decide the room of the handshake.
        while let Ok(command) = self.commands.try_recv() {
            if !self.core.command(command) {
                return Err(End::Final(ClosedBy::Application));
            }
        }
        let Some(address) = self.addresses.get(self.node).cloned() else {
            return Err(End::Final(ClosedBy::BadUrl(String::new())));
        };
        let (room, name, key) = self.core.handshake();
        let url = address.handshake(room, name, key);
        let by = Instant::now() + self.options.connect_time;
        self.get_token(by).await?;
        let opened = Box::pin(open(self.options.clone(), address, url, self.token.clone()));
        let Ok(opened) = self.meanwhile(timeout_at(by, opened)).await else {
            return Err(End::Final(ClosedBy::Application));
        };
        match opened {
            Ok(Ok(socket)) => Ok(socket),
            Ok(Err(failure)) => Err(self.not_opened(failure)),
            Err(_) => Err(End::again("the server does not answer")),
        }
    }

    /// Gets a token if one is needed and none is valid.
    async fn get_token(&mut self, by: Instant) -> Result<(), End> {
        let is_valid = self.token.as_deref().is_some_and(|token| token::time_left(token) != Some(Duration::ZERO));
        let Some(get_token) = self.options.get_token.clone().filter(|_| !is_valid) else { return Ok(()) };
        match self.meanwhile(timeout_at(by, get_token())).await {
            Ok(Ok(Ok(token))) => {
                self.token = Some(token);
                Ok(())
            }
            Ok(Ok(Err(error))) => Err(End::again(format!("no token: {error}"))),
            Ok(Err(_)) => Err(End::again("the application returned no token in time")),
            Err(()) => Err(End::Final(ClosedBy::Application)),
        }
    }

    fn not_opened(&mut self, failure: NotOpened) -> End {
        match failure {
            NotOpened::BadToken(message) if self.options.get_token.is_some() => {
                self.token = None;
                End::again(message)
            }
            NotOpened::BadToken(message) => End::Final(ClosedBy::Refused { status: 401, message }),
            NotOpened::Failed(error) => End::again(error.to_string()),
            // The connection that holds the name may end soon; the other refusals are temporary.
            NotOpened::Refused { status: 409 | 429 | 500..=599 | 408, message, retry_after } => {
                End::Again { at_least: retry_after, reason: message }
            }
            NotOpened::Refused { status, message, .. } => End::Final(ClosedBy::Refused { status, message }),
        }
    }

    /// Moves frames until the connection ends.
    async fn talk(&mut self, socket: Socket, welcome_by: Instant) -> End {
        let (sink, stream) = socket.split();
        let (out, frames) = mpsc::unbounded_channel();
        let mut writer = tokio::spawn(write(sink, frames));
        let mut talk = Talk {
            out,
            deadline: welcome_by,
            silence: self.options.connect_time,
            welcomed_at: None,
            reconnect_after: Duration::ZERO,
            is_silent: false,
            renewal: self.renewal(),
        };
        let end = self.exchange(&mut talk, stream).await;
        drop(talk.out);
        if !talk.is_silent && tokio::time::timeout(CLOSE_TIME, &mut writer).await.is_err() {
            log::debug!("could not write the close frame in time");
        }
        writer.abort();
        let has_lasted = talk.welcomed_at.is_some_and(|at| at.elapsed() >= self.options.pauses.longest);
        if has_lasted {
            self.backoff.reset();
        }
        end
    }

    async fn exchange(&mut self, talk: &mut Talk, mut stream: SplitStream<Socket>) -> End {
        loop {
            let paced = loop {
                match self.core.next_frame(Instant::now()) {
                    // The reader finds out how the connection ended. Unwritten frames are sent again.
                    Ok(frame) => {
                        if talk.out.send(Message::text(frame)).is_err() {
                            log::debug!("the writer has ended");
                        }
                    }
                    Err(paced) => break paced,
                }
            };
            let wake = paced.into_iter().chain([talk.deadline]).min().unwrap_or(talk.deadline);
            let ended = tokio::select! {
                biased;
                message = stream.next() => self.received(talk, message),
                command = self.commands.recv() => {
                    if command.is_some_and(|command| self.core.command(command)) {
                        ControlFlow::Continue(())
                    } else {
                        ControlFlow::Break(End::Final(ClosedBy::Application))
                    }
                }
                token = renewed(&mut talk.renewal) => {
                    self.renew(talk, token);
                    ControlFlow::Continue(())
                }
                () = sleep_until(wake) => if Instant::now() >= talk.deadline {
                    talk.is_silent = true;
                    ControlFlow::Break(End::again("the server is silent"))
                } else {
                    ControlFlow::Continue(())
                },
            };
            if let ControlFlow::Break(end) = ended {
                return end;
            }
        }
    }

    fn received(&mut self, talk: &mut Talk, message: Option<Result<Message, Error>>) -> ControlFlow<End> {
        let message = match message {
            Some(Ok(message)) => message,
            Some(Err(error)) => return ControlFlow::Break(talk.lost(&error.to_string())),
            None => return ControlFlow::Break(talk.lost("the connection was lost")),
        };
        if talk.welcomed_at.is_some() {
            talk.deadline = Instant::now() + talk.silence;
        }
        match message {
            Message::Text(text) => match codec::decode_event(&text) {
                Ok(ServerEvent::Welcome(welcome)) => self.welcomed(talk, &welcome),
                Ok(ServerEvent::Closing { reason, reconnect_after_ms }) => {
                    log::debug!("the server will close the connection: {reason}");
                    talk.reconnect_after = Duration::from_millis(reconnect_after_ms);
                }
                Ok(event) => self.core.event(event, Instant::now()),
                // A later version of the server may have types that this client does not know.
                Err(error) => log::debug!("ignoring a frame that this version does not know: {error}"),
            },
            Message::Close(frame) => return ControlFlow::Break(self.closed(talk, frame)),
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
        ControlFlow::Continue(())
    }

    fn welcomed(&mut self, talk: &mut Talk, welcome: &Welcome) {
        let now = Instant::now();
        self.core.welcomed(welcome, talk.welcomed_at.is_none(), now);
        talk.welcomed_at.get_or_insert(now);
        talk.silence = Duration::from_millis(welcome.heartbeat_ms) * SILENT_HEARTBEATS;
        talk.deadline = now + talk.silence;
        self.key.send_replace(self.core.key());
        self.state.send_replace(State::Online { client_id: welcome.client_id.clone() });
    }

    /// What a close frame of the server means (`docs/protocol.md`, "Close codes").
    fn closed(&mut self, talk: &Talk, frame: Option<CloseFrame>) -> End {
        let Some(frame) = frame else { return talk.lost("the server closed the connection") };
        let (number, reason) = (u16::from(frame.code), frame.reason.to_string());
        let told = format!("{number} {reason}");
        let Some(code) = CloseCode::from_u16(number) else { return talk.lost(&told) };
        match code {
            CloseCode::TryAgainLater => {
                let at_least = talk.reconnect_after.max(self.options.pauses.longest / 4);
                End::Again { at_least, reason: told }
            }
            CloseCode::GoingAway | CloseCode::Fault | CloseCode::SlowConsumer | CloseCode::NoSignOfLife => {
                talk.lost(&told)
            }
            // Usually the token has expired.
            CloseCode::Policy if self.options.get_token.is_some() => {
                self.token = None;
                talk.lost(&told)
            }
            CloseCode::Normal
            | CloseCode::ProtocolError
            | CloseCode::BinaryFrame
            | CloseCode::NotUtf8
            | CloseCode::Policy
            | CloseCode::FrameTooLarge
            | CloseCode::Replaced
            | CloseCode::Removed
            | CloseCode::Banned => End::Final(ClosedBy::Server { code, reason }),
        }
    }

    /// The next token, when it is time to get it.
    fn renewal(&self) -> Option<BoxFuture<Result<String, TokenError>>> {
        let get_token = self.options.get_token.clone()?;
        let wait = token::renew_after(token::time_left(self.token.as_deref()?)?);
        Some(renewal(get_token, wait))
    }

    fn renew(&mut self, talk: &mut Talk, token: Result<String, TokenError>) {
        match token {
            Ok(token) => {
                self.core.show_token(token.clone());
                self.token = Some(token);
                talk.renewal = self.renewal();
            }
            Err(error) => {
                log::warn!("cannot renew the token: {error}");
                let pause = self.options.pauses.longest / 4;
                talk.renewal = self.options.get_token.clone().map(|get_token| renewal(get_token, pause));
            }
        }
    }
}

/// A connection.
struct Talk {
    out: mpsc::UnboundedSender<Message>,
    /// The time at which the connection counts as lost, unless a frame arrives.
    deadline: Instant,
    silence: Duration,
    welcomed_at: Option<Instant>,
    /// The pause that `closing` has asked for.
    reconnect_after: Duration,
    /// The server was silent for too long, so nothing more is written.
    is_silent: bool,
    renewal: Option<BoxFuture<Result<String, TokenError>>>,
}

impl Talk {
    /// The connection has ended, and a new one may succeed.
    fn lost(&self, reason: &str) -> End {
        End::Again { at_least: self.reconnect_after, reason: reason.to_owned() }
    }
}

fn renewal(get_token: GetToken, wait: Duration) -> BoxFuture<Result<String, TokenError>> {
    Box::pin(async move {
        tokio::time::sleep(wait).await;
        get_token().await
    })
}

/// Waits for the outcome of a renewal and removes the renewal. Without one it never completes.
async fn renewed(renewal: &mut Option<BoxFuture<Result<String, TokenError>>>) -> Result<String, TokenError> {
    match renewal {
        Some(future) => {
            let token = future.await;
            *renewal = None;
            token
        }
        None => std::future::pending().await,
    }
}

/// Writes frames, all waiting ones at a time, and then the close frame.
async fn write(mut sink: SplitSink<Socket, Message>, mut frames: mpsc::UnboundedReceiver<Message>) {
    while let Some(frame) = frames.recv().await {
        let mut next = Some(frame);
        while let Some(frame) = next {
            if sink.feed(frame).await.is_err() {
                return;
            }
            next = frames.try_recv().ok();
        }
        if sink.flush().await.is_err() {
            return;
        }
    }
    // Writes the answer to the server's close frame, or the client's own one.
    if let Err(error) = sink.close().await {
        log::debug!("cannot end the connection in order: {error}");
    }
}

/// Opens a WebSocket.
async fn open(options: Options, address: Address, url: String, token: Option<String>) -> Result<Socket, NotOpened> {
    let mut request = url.into_client_request().map_err(NotOpened::Failed)?;
    if let Some(token) = &token {
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        let value = value.map_err(|_| NotOpened::BadToken("the token is not a header value".into()))?;
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    let stream =
        (options.dial)(address.host, address.port).await.map_err(|error| NotOpened::Failed(Error::Io(error)))?;
    let connector = options.tls.as_ref().map(|config| Connector::Rustls(Arc::clone(config)));
    match client_async_tls_with_config(request, stream, None, connector).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(refused(&response)),
        Err(error) => Err(NotOpened::Failed(error)),
    }
}

/// A refusal over HTTP; its body is one line of JSON.
fn refused(response: &Response<Option<Vec<u8>>>) -> NotOpened {
    let status = response.status().as_u16();
    let body: Option<Value> = response.body().as_ref().and_then(|body| serde_json::from_slice(body).ok());
    let field = |name| body.as_ref().and_then(|body| body.get(name)?.as_str()).unwrap_or_default();
    let message = format!("{}: {}", field("code"), field("message"));
    if status == 401 {
        return NotOpened::BadToken(message);
    }
    let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    NotOpened::Refused { status, message, retry_after: Duration::from_secs(retry_after.unwrap_or(0)) }
}
