//! The listening socket. The first worker thread accepts its connections, and passes the others their share.

use std::io;
use std::net::{self, SocketAddr};
use std::time::Duration;

use log::{Level, error, log};
use rustix::io::Errno;
use starling_actors::clock;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{self, Receiver, Sender};

/// Most connections that the kernel has completed but that are not accepted yet.
const BACKLOG: u32 = 4_096;

/// Most connections on their way to one of the other workers. The first worker serves further ones itself.
const PASSED_MAX: usize = 128;

/// Most connections that are accepted in a row before the other tasks of the thread run. With more, connected clients
/// would wait longer while thousands connect.
const AT_ONCE: usize = 16;

/// The time until the next attempt if the system has no resources for a connection, such as open files.
const PAUSE: Duration = Duration::from_millis(500);

/// Shortest time between two errors in the log that connections cannot be accepted; further failures are told at `debug`.
const TOLD_INTERVAL: Duration = Duration::from_mins(1);

/// An accepted connection, registered with the thread that serves it.
#[derive(Debug)]
pub(crate) struct Accepted<Tcp = TcpStream> {
    pub(crate) tcp: Tcp,
    pub(crate) peer: SocketAddr,
    pub(crate) at: clock::Instant,
}

/// An accepted connection on its way to another thread, registered with none.
type Passed = Accepted<net::TcpStream>;

/// The source of the connections of one worker thread.
#[derive(Debug)]
pub(crate) enum Source {
    /// The socket, for the first worker; the others are behind it.
    Socket(net::TcpListener, Vec<Sender<Passed>>),
    /// The first worker.
    First(Receiver<Passed>),
}

/// Takes the address. Until the socket listens, the kernel refuses connections.
///
/// Returns also the address; for port 0, with the port that was chosen.
pub(crate) fn bind(address: SocketAddr) -> io::Result<(TcpSocket, SocketAddr)> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

/// Listens with a larger backlog than the standard library's 128, which is too small when many clients reconnect at
/// once.
pub(crate) fn listen(socket: TcpSocket) -> io::Result<net::TcpListener> {
    // Nagle's algorithm would delay small frames by up to 40 ms. The accepted sockets inherit the option.
    socket.set_nodelay(true)?;
    socket.listen(BACKLOG)?.into_std()
}

/// The sources of this number of workers, which share the connections of the socket equally.
pub(crate) fn sources(socket: net::TcpListener, workers: usize) -> impl Iterator<Item = Source> {
    let (others, queues): (Vec<_>, Vec<_>) = (1..workers).map(|_| mpsc::channel(PASSED_MAX)).unzip();
    std::iter::once(Source::Socket(socket, others)).chain(queues.into_iter().map(Source::First))
}

impl Source {
    /// Serves each connection of this thread. Completes when the first worker has ended.
    ///
    /// # Errors
    /// The thread cannot wait for the socket.
    pub(crate) async fn for_each(self, mut serve: impl FnMut(Accepted)) -> io::Result<()> {
        match self {
            Self::Socket(socket, others) => {
                let socket = TcpListener::from_std(socket)?;
                let (mut turn, mut told) = (0_usize, None);
                loop {
                    let accepted = accept(&socket, &mut told).await;
                    // The turn behind the last of the others is the first worker's.
                    match others.get(turn % (others.len() + 1)) {
                        Some(other) if other.capacity() > 0 => pass(accepted, other),
                        Some(_) | None => serve(accepted),
                    }
                    turn = turn.wrapping_add(1);
                    if turn.is_multiple_of(AT_ONCE) {
                        tokio::task::yield_now().await;
                    }
                }
            }
            Self::First(mut passed) => {
                while let Some(Accepted { tcp, peer, at }) = passed.recv().await {
                    match TcpStream::from_std(tcp) {
                        Ok(tcp) => serve(Accepted { tcp, peer, at }),
                        Err(error) => log_lost(&error),
                    }
                }
                Ok(())
            }
        }
    }
}

/// `told`: when a failure was last told as an error.
async fn accept(socket: &TcpListener, told: &mut Option<clock::Instant>) -> Accepted {
    loop {
        match socket.accept().await {
            Ok((tcp, peer)) => return Accepted { tcp, peer, at: clock::now() },
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                let now = clock::now();
                let is_due = told.is_none_or(|at| now.saturating_duration_since(at) >= TOLD_INTERVAL);
                let level = if is_due { Level::Error } else { Level::Debug };
                log!(level, "cannot accept connections: {error}; the next attempt is in {PAUSE:?}");
                if is_due {
                    *told = Some(now);
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn pass(Accepted { tcp, peer, at }: Accepted, other: &Sender<Passed>) {
    match tcp.into_std() {
        // A worker that has ended ends the server.
        Ok(tcp) => drop(other.try_send(Accepted { tcp, peer, at })),
        Err(error) => log_lost(&error),
    }
}

fn log_lost(error: &io::Error) {
    error!("a connection was closed at once, because it cannot be registered with a worker thread: {error}");
}

/// Whether only one connection has failed, so that the next one can be accepted. `accept` also reports the network's
/// errors of a connection.
fn is_of_one_connection(error: &io::Error) -> bool {
    const OF_ONE: [Errno; 11] = [
        Errno::CONNABORTED,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::INTR,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::NONET,
        Errno::NOPROTOOPT,
        Errno::OPNOTSUPP,
        Errno::PERM,
        Errno::PROTO,
    ];
    Errno::from_io_error(error).is_some_and(|error| OF_ONE.contains(&error))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[actix::test]
    async fn a_worker_that_takes_no_connections_keeps_at_most_its_queue_from_being_served() {
        const CLIENTS: usize = 3 * PASSED_MAX;
        let (socket, address) = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut sources = sources(listen(socket).unwrap(), 2);
        let (first, _takes_none) = (sources.next().unwrap(), sources.next().unwrap());
        let _clients: Vec<_> = (0..CLIENTS).map(|_| net::TcpStream::connect(address).unwrap()).collect();
        let served = Cell::new(0);
        let all_but_its_queue = async {
            while served.get() < CLIENTS - PASSED_MAX {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            ended = first.for_each(|_| served.set(served.get() + 1)) => panic!("{ended:?}"),
            () = all_but_its_queue => {}
        }
        assert_eq!(served.get(), CLIENTS - PASSED_MAX);
    }

    #[test]
    fn an_error_of_one_connection_does_not_pause_the_others() {
        for (error, is_of_one) in [
            (Errno::CONNABORTED, true),
            (Errno::PROTO, true),
            (Errno::MFILE, false),
            (Errno::NFILE, false),
            (Errno::NOBUFS, false),
            (Errno::NOMEM, false),
            (Errno::INVAL, false),
        ] {
            assert_eq!(is_of_one_connection(&error.into()), is_of_one, "{error}");
        }
    }
}
