//! Notifies a service manager such as systemd: the server is ready, stopping, or alive.
//!
//! The manager passes a socket in `NOTIFY_SOCKET`, and the watchdog interval in `WATCHDOG_USEC`. Without the socket
//! nothing is sent.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::rc::Rc;
use std::time::Duration;

use log::warn;

use crate::{Server, environment};

/// The socket of the service manager.
#[derive(Debug)]
struct ServiceManager(Option<UnixDatagram>);

impl ServiceManager {
    fn connect(address: Option<&str>) -> Self {
        let connected = address.map(|address| {
            let address = match address.strip_prefix('@') {
                Some(name) => SocketAddr::from_abstract_name(name)?,
                None => SocketAddr::from_pathname(address)?,
            };
            let socket = UnixDatagram::unbound()?;
            socket.connect_addr(&address)?;
            // A manager that does not read must not block the server.
            socket.set_nonblocking(true)?;
            io::Result::Ok(socket)
        });
        Self(connected.transpose().map_err(|error| warn!("cannot reach the service manager: {error}")).ok().flatten())
    }

    fn tell(&self, state: &str) {
        if let Some(Err(error)) = self.0.as_ref().map(|socket| socket.send(state.as_bytes())) {
            warn!("cannot send {state:?} to the service manager: {error}");
        }
    }
}

/// Notifies the service manager that this server is ready. From then on it also reports, three times per watchdog
/// interval, that the chat answers, until the runtime ends. The returned future completes with `stop`, and notifies the
/// manager that the server is stopping.
pub fn attend<F: Future<Output = ()>>(server: &Server, stop: F) -> impl Future<Output = ()> + use<F> {
    let manager = Rc::new(ServiceManager::connect(environment::notify_socket().as_deref()));
    manager.tell("READY=1");
    if let Some(limit) = environment::watchdog() {
        let (chat, manager) = (server.state().chat().clone(), Rc::clone(&manager));
        actix_rt::spawn(async move {
            let mut signs = tokio::time::interval((limit / 3).max(Duration::from_millis(1)));
            loop {
                signs.tick().await;
                if chat.answers().await {
                    manager.tell("WATCHDOG=1");
                }
            }
        });
    }
    async move {
        stop.await;
        manager.tell("STOPPING=1");
    }
}
