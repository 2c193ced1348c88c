//! A network between browser and server that can be cut or go silent.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The state of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    Up,
    /// Connections break, and new ones fail.
    Cut,
    /// Existing connections carry nothing any more, without an error; new ones fail.
    Silent,
}

/// A proxy for one server at a time; ends with the test's runtime.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    network: Arc<watch::Sender<Network>>,
    server: Arc<watch::Sender<SocketAddr>>,
}

impl Proxy {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let network = Arc::new(watch::Sender::new(Network::Up));
        let server = Arc::new(watch::Sender::new(server));
        let (state, leads_to) = (Arc::clone(&network), Arc::clone(&server));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *state.borrow() != Network::Up {
                    continue;
                }
                tokio::spawn(carry(client, *leads_to.borrow(), state.subscribe()));
            }
        });
        Self { address, network, server }
    }

    /// The URL of the page through this network.
    pub(crate) fn page(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Carries new connections to another server.
    pub(crate) fn lead_to(&self, server: SocketAddr) {
        self.server.send_replace(server);
    }

    pub(crate) fn cut(&self) {
        self.network.send_replace(Network::Cut);
    }

    pub(crate) fn silence(&self) {
        self.network.send_replace(Network::Silent);
    }

    /// Carries new connections; silent ones stay silent.
    pub(crate) fn restore(&self) {
        self.network.send_replace(Network::Up);
    }
}

async fn carry(mut client: TcpStream, server: SocketAddr, mut network: watch::Receiver<Network>) -> io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    let (mut up, mut down) = (vec![0; 16_384], vec![0; 16_384]);
    loop {
        tokio::select! {
            biased;
            _ = network.changed() => match *network.borrow_and_update() {
                Network::Up => {}
                Network::Cut => return Ok(()),
                Network::Silent => break,
            },
            read = client.read(&mut up) => match read? {
                0 => return Ok(()),
                read => server.write_all(&up[..read]).await?,
            },
            read = server.read(&mut down) => match read? {
                0 => return Ok(()),
                read => client.write_all(&down[..read]).await?,
            },
        }
    }
    // Both sides stay open and receive nothing until the test is over.
    std::future::pending().await
}
