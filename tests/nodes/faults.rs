//! All nodes read all written records once and in one order, despite faults of NATS and the network.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::SeqCst};
use std::time::Duration;

use starling::nats::NatsSettings;
use starling_actors::nodes::heard::Heard;
use test_kit::nats::Nats;
use test_kit::process::Signal;
use test_kit::{Listens as _, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, sleep_until};

use crate::harness::{Ear, Node, settings};

const NUMBERS: u64 = 3_000;

/// The state of the network between a node and NATS.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(crate) enum Way {
    Open,
    /// A few bytes at a time.
    Slow,
    /// Connections end, and new ones fail.
    Cut,
}

/// The network between a node and NATS.
pub(crate) struct Proxy {
    address: SocketAddr,
    way: Arc<AtomicU8>,
}

impl Proxy {
    pub(crate) async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let way = Arc::new(AtomicU8::new(Way::Open as u8));
        let seen = Arc::clone(&way);
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let way = Arc::clone(&seen);
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(to).await?;
                    let (mut from_client, mut to_client) = client.split();
                    let (mut from_server, mut to_server) = server.split();
                    tokio::try_join!(
                        Self::pass(&mut from_client, &mut to_server, &way),
                        Self::pass(&mut from_server, &mut to_client, &way)
                    )
                });
            }
        });
        Self { address, way }
    }

    async fn pass(
        from: &mut (impl tokio::io::AsyncRead + Unpin),
        to: &mut (impl tokio::io::AsyncWrite + Unpin),
        way: &AtomicU8,
    ) -> std::io::Result<()> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let is = way.load(SeqCst);
            let most = if is == Way::Slow as u8 { 512 } else { buffer.len() };
            let read = match tokio::time::timeout(Duration::from_millis(20), from.read(&mut buffer[..most])).await {
                Err(_) if is == Way::Cut as u8 => 0,
                Err(_) => continue,
                Ok(read) => read?,
            };
            if read == 0 || is == Way::Cut as u8 {
                return Err(std::io::ErrorKind::ConnectionReset.into());
            }
            if is == Way::Slow as u8 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            to.write_all(&buffer[..read]).await?;
        }
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.store(way as u8, SeqCst);
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }
}

/// Faults of a log while two nodes write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Killed,
    Paused,
    Slow,
    Cut,
}

async fn survives(fault: Fault) {
    let mut nats = Nats::start().await;
    let proxy = Proxy::start(nats.address()).await;
    let mut first = Node::start(&settings(&proxy.url()), 1).await;
    let mut second = Node::start(&settings(&nats.url()), 2).await;
    let is_over = AtomicBool::new(false);
    let faults = async {
        for _ in 0..3 {
            // Long enough for some records, and each fault longer than the log may be silent.
            tokio::time::sleep(Duration::from_millis(200)).await;
            match fault {
                Fault::None => {}
                Fault::Killed => {
                    nats.kill();
                    nats.start_again().await;
                }
                Fault::Paused => {
                    nats.signal(Signal::STOP);
                    tokio::time::sleep(Duration::from_secs(4)).await;
                    nats.signal(Signal::CONT);
                }
                Fault::Slow | Fault::Cut => {
                    proxy.set(if fault == Fault::Slow { Way::Slow } else { Way::Cut });
                    tokio::time::sleep(Duration::from_millis(1_500)).await;
                    proxy.set(Way::Open);
                }
            }
        }
        is_over.store(true, SeqCst);
    };
    let nodes = async {
        let mut upto = 0;
        while upto < NUMBERS || !is_over.load(SeqCst) {
            upto += 100;
            tokio::join!(first.write_upto(upto), second.write_upto(upto));
        }
        tokio::join!(first.read_upto(2, upto), second.read_upto(1, upto));
        upto
    };
    let (upto, ()) = within(format!("{fault:?}: everything is read"), async { tokio::join!(nodes, faults) }).await;
    for node in [&first, &second] {
        assert_eq!(node.read[&1], (1..=upto).collect::<Vec<_>>(), "{fault:?}: in order, and once");
        assert_eq!(node.read[&2], (1..=upto).collect::<Vec<_>>(), "{fault:?}: in order, and once");
    }
    let both = first.order.len().min(second.order.len());
    assert_eq!(first.order[..both], second.order[..both], "{fault:?}: one order");
    println!("{fault:?}: {upto} numbers of each, {} and {} losses", first.losses, second.losses);
    if fault == Fault::Paused {
        assert!(first.losses > 0 && first.unreachable > 1, "{fault:?}: the fault was felt");
    }
}

#[tokio::test]
async fn without_a_fault_all_nodes_read_one_order() {
    survives(Fault::None).await;
}

#[tokio::test]
async fn nothing_is_lost_or_read_twice_when_nats_is_killed_and_started_again() {
    survives(Fault::Killed).await;
}

#[tokio::test]
async fn nothing_is_lost_or_read_twice_when_nats_is_paused() {
    survives(Fault::Paused).await;
}

#[tokio::test]
async fn nothing_is_lost_or_read_twice_over_a_slow_network() {
    survives(Fault::Slow).await;
}

#[tokio::test]
async fn nothing_is_lost_or_read_twice_when_the_network_is_cut() {
    survives(Fault::Cut).await;
}

#[tokio::test]
async fn the_log_is_in_reach_once_it_is_read_and_not_while_nats_is_paused() {
    let nats = Nats::start().await;
    let mut writer = Node::start(&settings(&nats.url()), 1).await;
    writer.write_upto(500).await;

    let mut ear = Ear::behind(&settings(&nats.url()), 0).await;
    let last = ear.log.state().last.0;
    assert!(matches!(ear.next().await, Heard::Reachable(false)), "it begins out of reach");
    let before = ear.until(|heard| matches!(heard, Heard::Reachable(true))).await;
    let records = before.iter().filter(|heard| matches!(heard, Heard::Record { .. })).count();
    assert!(records as u64 >= last, "{records} of {last} were read before");
    for _ in 0..2 {
        nats.signal(Signal::STOP);
        ear.reachable(false).await;
        nats.signal(Signal::CONT);
        ear.reachable(true).await;
    }
}

#[tokio::test]
async fn records_that_nats_has_not_taken_are_told_as_lost_once_it_takes_records_again() {
    let mut nats = Nats::start().await;
    let mut node = Node::start(&settings(&nats.url()), 1).await;
    node.write_upto(10).await;
    nats.signal(Signal::STOP);
    node.write(10);
    let before = node.unreachable;
    while node.unreachable == before {
        node.step().await;
    }
    node.write(10);
    nats.kill();
    nats.start_again().await;
    node.write_upto(30).await;
    assert!(node.losses >= 1, "{}", node.losses);
    assert_eq!(node.read[&1], (1..=30).collect::<Vec<_>>());
}

/// Passes all between a node and NATS this much later, in both directions. Returns the address for the node.
async fn far(to: SocketAddr, by: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let pass = move |mut from: OwnedReadHalf, mut to: OwnedWriteHalf| async move {
        let (send, mut on_the_way) = unbounded_channel::<(Instant, Vec<u8>)>();
        let arrive = tokio::spawn(async move {
            while let Some((at, bytes)) = on_the_way.recv().await {
                sleep_until(at).await;
                to.write_all(&bytes).await.unwrap_or_default();
            }
        });
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            send.send((Instant::now() + by, buffer[..read].to_vec())).unwrap_or_default();
        }
        drop(send);
        arrive.await.unwrap_or_default();
    };
    tokio::spawn(async move {
        loop {
            let (from_client, to_client) = listener.accept().await.unwrap().0.into_split();
            let (from_server, to_server) = TcpStream::connect(to).await.unwrap().into_split();
            tokio::spawn(pass(from_client, to_server));
            tokio::spawn(pass(from_server, to_client));
        }
    });
    url
}

#[tokio::test]
async fn a_node_far_from_nats_serves_steadily_or_stays_out_steadily() {
    for (millis, serves) in [(350, true), (600, false)] {
        let nats = Nats::start().await;
        let url = far(nats.address(), Duration::from_millis(millis)).await;
        let settings = NatsSettings { patience: Duration::from_secs(30), ..settings(&url) };
        let mut node = Node::start(&settings, 1).await;
        if serves {
            node.ear.reachable(true).await;
        }
        node.write_upto(100).await;
        // One that stays out begins out of reach, and is in reach once: it has just opened the log.
        let times = if serves { 0 } else { 2 };
        assert_eq!(node.unreachable, times, "{millis} ms");
        assert_eq!(node.ear.log.reach().failure().is_none(), serves, "{millis} ms");
    }
}
