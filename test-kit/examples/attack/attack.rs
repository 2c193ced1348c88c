//! All attacks: each has an action, the server's variables, and limits.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use test_kit::token::JWT;

pub(crate) use test_kit::token::SECRET;

use crate::client::Saw;
use crate::{crowds, floods, http, invented, unread};

/// The server under attack, and the duration.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) time: Duration,
    /// The path of the server's binary.
    pub(crate) server: PathBuf,
}

/// An attack and its limits.
#[derive(Debug)]
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Attacks, and returns the attacker's observations.
    pub(crate) act: fn(&Target) -> Saw,
    pub(crate) seconds: f64,
    /// The largest growth of the server's memory, in MiB.
    pub(crate) mib: f64,
    /// The largest CPU use in cores, if a limit of the server bounds it.
    pub(crate) cores: f64,
    /// The largest 99th percentile of the bystander's round trips, in milliseconds.
    pub(crate) p99_ms: f64,
    /// The smallest number of connections that must end for each reason.
    pub(crate) ends: &'static [(&'static str, u64)],
    /// The largest number of connections that may be open at the end.
    pub(crate) open_max: Option<u32>,
    /// Environment variables of the server.
    pub(crate) variables: &'static [(&'static str, &'static str)],
}

const fn attack(name: &'static str, title: &'static str, act: fn(&Target) -> Saw, mib: f64) -> Attack {
    Attack { name, title, act, seconds: 8.0, mib, cores: 1.0, p99_ms: 50.0, ends: &[], open_max: None, variables: &[] }
}

const UNLIMITED: (&str, &str) = ("CHAT_MESSAGES_PER_SECOND", "0");
const SLOW_3: (&str, &str) = ("CHAT_SLOW_CLIENT_SECONDS", "3");
const SLOW_5: (&str, &str) = ("CHAT_SLOW_CLIENT_SECONDS", "5");
const HEARTBEAT_2: (&str, &str) = ("CHAT_HEARTBEAT_SECONDS", "2");

/// All attacks, in the order in which they run.
pub(crate) const ATTACKS: [Attack; 29] = [
    Attack {
        seconds: 16.0,
        ends: &[("slow_consumer", 100)],
        variables: &[SLOW_5],
        ..attack("never-reads", "100 clients never read while 320 kB/s are said", unread::never_reads, 110.0)
    },
    Attack {
        seconds: 16.0,
        ends: &[("slow_consumer", 100)],
        variables: &[SLOW_5],
        ..attack(
            "byte-a-second",
            "100 clients read a byte a second while 320 kB/s are said",
            unread::a_byte_a_second,
            110.0,
        )
    },
    Attack {
        cores: 0.3,
        ends: &[("no_sign_of_life", 200)],
        variables: &[HEARTBEAT_2],
        ..attack(CUT_OFF, "the network of 200 clients is gone", unread::cut_off, 40.0)
    },
    Attack {
        ends: &[("no_sign_of_life", 1_000)],
        variables: &[HEARTBEAT_2],
        ..attack("half-frames", "1,000 clients send 100 kB of a frame and no more", unread::half_frames, 170.0)
    },
    attack("half-handshakes", "2,000 connections send half a handshake", unread::half_handshakes, 60.0),
    Attack { cores: 0.6, ..attack("pings", "50 clients send pings as fast as they can", floods::pings, 40.0) },
    Attack {
        cores: 0.6,
        variables: &[("CHAT_HEARTBEAT_SECONDS", "5")],
        ..attack("fragments", "50 clients send empty fragments as fast as they can", floods::fragments, 40.0)
    },
    Attack {
        cores: 0.6,
        ends: &[("policy", 50)],
        ..attack("messages", "50 clients send messages as fast as they can", floods::messages, 40.0)
    },
    Attack {
        cores: 0.6,
        ends: &[("policy", 50)],
        ..attack("joins", "50 clients send joins as fast as they can", floods::joins, 40.0)
    },
    Attack {
        cores: 0.6,
        ends: &[("policy", 50)],
        ..attack("renames", "50 clients send renames as fast as they can", floods::renames, 40.0)
    },
    attack("comings", "50 clients join and leave a room as fast as they may", floods::comings, 40.0),
    attack("questions", "50 clients ask for rooms, members and history as fast as they may", floods::questions, 60.0),
    Attack {
        ends: &[("frame_too_large", 50)],
        ..attack(
            "deflate-bombs",
            "connections, 50 at a time, send 128 KiB that inflate to 128 MiB, as fast as they go",
            floods::deflate_bombs,
            60.0,
        )
    },
    Attack {
        p99_ms: 100.0,
        ends: &[("policy", 50)],
        ..attack(
            "deflate-floods",
            "50 clients send compressed texts that inflate to 128 KiB, as fast as they can",
            floods::deflate_floods,
            60.0,
        )
    },
    Attack {
        ends: &[("protocol_error", 50)],
        ..attack(
            "deflate-cut",
            "connections, 50 at a time, send a compressed text that is cut short, as fast as they go",
            floods::deflate_cut,
            60.0,
        )
    },
    attack("cut-points", "clients end in the middle of anything, as fast as they can", crowds::cut_points, 60.0),
    Attack { seconds: 12.0, ..attack("crowd", "5,000 clients come into one room and go", crowds::crowd, 120.0) },
    Attack {
        seconds: 12.0,
        p99_ms: 1_000.0,
        variables: &[UNLIMITED],
        ..attack("overload", "100 clients without a rate limit say as much as they can", crowds::overload, 150.0)
    },
    Attack {
        seconds: 12.0,
        open_max: Some(0),
        variables: &[("CHAT_CONNECTIONS_PER_ADDRESS", "5"), SLOW_3],
        ..attack(
            "pipelined",
            "40 connections ask 5,000 times for the page and read nothing, 5 allowed",
            http::pipelined,
            60.0,
        )
    },
    Attack {
        seconds: 12.0,
        open_max: Some(0),
        variables: &[SLOW_3],
        ..attack(
            "pipelined-many",
            "1,000 connections ask for the page without end and read nothing",
            http::pipelined_many,
            60.0,
        )
    },
    Attack {
        seconds: 12.0,
        open_max: Some(0),
        variables: &[SLOW_3],
        ..attack(
            "figures-unread",
            "200 connections ask for the figures without end and read nothing",
            http::figures_unread,
            60.0,
        )
    },
    Attack {
        seconds: 12.0,
        open_max: Some(0),
        ..attack("slow-bodies", "1,000 connections send a byte a second of a body", http::slow_bodies, 60.0)
    },
    Attack {
        seconds: 12.0,
        open_max: Some(0),
        variables: &[("CHAT_ADMIN_TOKEN", SECRET)],
        ..attack(
            "slow-posts",
            "1,000 connections send a byte a second of an operator's message",
            http::slow_posts,
            60.0,
        )
    },
    Attack {
        seconds: 12.0,
        open_max: Some(0),
        ..attack("silent", "2,000 connections say nothing", http::silent, 60.0)
    },
    attack("invented-methods", "requests with invented methods, as fast as they go", http::invented_methods, 60.0),
    attack("malformed", "requests that are malformed or broken off, as fast as they go", http::malformed, 60.0),
    Attack {
        p99_ms: 200.0,
        variables: &[UNLIMITED, JWT[0], JWT[1], ("CHAT_INBOXES", "20000"), ("CHAT_INBOXES_PER_CLIENT", "4000")],
        ..attack("inboxes", "8 clients write to invented names as fast as they can", invented::inboxes, 60.0)
    },
    Attack {
        p99_ms: 200.0,
        variables: &[UNLIMITED, ("CHAT_ROOMS", "20000"), ("CHAT_JOINS_PER_MINUTE", "0")],
        ..attack("rooms", "8 clients make invented rooms as fast as they can, and leave them", invented::rooms, 60.0)
    },
    Attack {
        variables: &[("CHAT_HANDSHAKES_PER_SECOND", "10")],
        ..attack(
            "handshakes",
            "handshakes from one address, as fast as they go, 10 a second allowed",
            crowds::handshakes,
            40.0,
        )
    },
];

/// The attack that runs in its own network namespace.
pub(crate) const CUT_OFF: &str = "cut-off";

impl Attack {
    /// Finds an attack by its name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        const { &ATTACKS }.iter().find(|attack| attack.name == name)
    }

    /// Whether clients need a token.
    pub(crate) fn is_authenticated(&self) -> bool {
        self.variables.contains(&JWT[0])
    }
}
