//! Connections without a complete request end, and release their resources.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use test_kit::raw::{self, Raw};
use test_kit::{Exposition, LOOK, within};

use super::{METHODS, ROUTES};
use crate::harness::starling;

/// The most memory that [`ROUTES`] × [`METHODS`] × [`WAYS`] simultaneous connections may take, in MiB.
const WALK_MIB: f64 = 60.0;

/// The way in which a connection continues its request.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// A complete request, and nothing after its answer.
    Bare,
    /// Half of a head.
    Half,
    /// A head, one byte at a time.
    SlowHead,
    /// A body, one byte at a time.
    SlowBody,
    /// Requests without end; the answers are read one byte at a time.
    SlowReader,
    /// Requests without end; nothing is read.
    Pipelined,
    /// No data at all.
    Silent,
}

const WAYS: [Way; 7] =
    [Way::Bare, Way::Half, Way::SlowHead, Way::SlowBody, Way::SlowReader, Way::Pipelined, Way::Silent];

#[actix::test]
async fn a_connection_that_comes_to_nothing_ends_whatever_its_route_and_method_and_its_memory_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let server = starling().start(
        folder.path(),
        &[
            ("CHAT_BIND", "127.0.0.1:0"),
            ("CHAT_HISTORY", "memory"),
            ("CHAT_HANDSHAKE_SECONDS", "1"),
            ("CHAT_SLOW_CLIENT_SECONDS", "1"),
            ("CHAT_ADMIN_TOKEN", "0123456789abcdef0123456789abcdef"),
        ],
    );
    let address = server.address();
    let walk = async || {
        let routes = ROUTES.iter().flat_map(|(path, _)| METHODS.iter().map(move |method| (*path, *method)));
        join_all(routes.map(|(path, method)| join_all(WAYS.map(|way| goes_nowhere(address, method, path, way))))).await;
        within("no place is taken but the scrape's", async {
            let open = async || {
                let answer = raw::http(address, "GET", "/metrics", "Connection: close\r\n").await;
                Exposition::parse(&answer.body).value("chat_connections_open", &[])
            };
            while open().await > 1.5 {
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
    };
    // This also allocates memory that is allocated only once, like the buffers of the threads and the allocator.
    walk().await;
    let (base, _) = server.memory_mib();
    server.forget_peak();
    walk().await;
    let (after, peak) = server.memory_mib();
    assert!(peak < base + WALK_MIB, "{base:.1} MiB before, {peak:.1} at the most");
    assert!(after < base + WALK_MIB / 4.0, "{base:.1} MiB before, {after:.1} when all have ended");
}

async fn goes_nowhere(address: SocketAddr, method: &str, path: &str, way: Way) {
    let token = "Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n";
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{token}");
    let mut raw = Raw::open_narrow(address).await;
    let what = format!("{method} {path} {way:?} ends");
    match way {
        Way::Silent => {}
        Way::Bare => {
            raw.send(format!("{head}\r\n").as_bytes()).await;
            assert!(raw.head().await.status >= 200, "{what}");
        }
        Way::Half => raw.send(head.as_bytes()).await,
        Way::SlowHead | Way::SlowBody => {
            let begun = if matches!(way, Way::SlowBody) { "Content-Length: 100000\r\n\r\n" } else { "X: " };
            raw.send(format!("{head}{begun}").as_bytes()).await;
            within(what, raw.trickle(Duration::from_millis(100))).await;
            return;
        }
        Way::SlowReader => {
            raw.send_what_goes(format!("{head}\r\n").repeat(2_000).as_bytes());
            within(what, raw.dawdle(Duration::from_millis(100))).await;
            return;
        }
        Way::Pipelined => {
            // The server stops reading, and then the kernel stops accepting.
            raw.send_what_goes(format!("{head}\r\n").repeat(2_000).as_bytes());
            within(what, raw.closed_unread()).await;
            return;
        }
    }
    within(what, raw.end()).await;
}
