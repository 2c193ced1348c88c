use std::net::Ipv4Addr;

use actix_http::header::HeaderValue;

use super::*;

fn client(text: &str) -> ClientAddress {
    ClientAddress::of(text.parse().unwrap())
}

fn limits(connections: u32, handshakes_per_second: u32) -> AddressLimits {
    AddressLimits { connections, handshakes_per_second }
}

fn now() -> Instant {
    starling_actors::clock::now()
}

#[test]
fn an_address_has_as_many_connections_as_it_may_and_gets_them_back() {
    let addresses = Addresses::new(limits(2, 0));
    let (one, other) = (client("192.0.2.1"), client("192.0.2.2"));
    let first = addresses.enter(one, now());
    let second = addresses.enter(one, now());
    assert!(first.is_some() && second.is_some() && addresses.enter(one, now()).is_none());
    assert!(addresses.enter(other, now()).is_some());
    drop(first);
    assert!(addresses.enter(one, now()).is_some());
}

#[test]
fn the_table_is_bounded_and_who_finds_no_room_in_it_shares_one_entry() {
    let start = now();
    let addresses = Addresses::with_idle_max(limits(1, 1), 10);
    let nth = |n: u8| ClientAddress::of(Ipv4Addr::new(192, 0, 2, n).into());
    let mut held = Vec::new();
    for n in 0..10 {
        assert_eq!(addresses.shake_hands(nth(n), start), Ok(()), "address {n}");
        held.push(addresses.enter(nth(n), start).unwrap());
    }
    // Addresses with a connection take no space from the others.
    for n in 100..110 {
        assert_eq!(addresses.shake_hands(nth(n), start), Ok(()), "address {n}");
    }
    assert_eq!(addresses.shake_hands(nth(200), start), Ok(()));
    assert!(addresses.shake_hands(nth(201), start).is_err(), "they share a bucket");
    assert_eq!(addresses.table().entries.len(), 21);
    // A second later the entries without a connection are forgotten.
    let later = start + Duration::from_secs(1);
    assert_eq!(addresses.shake_hands(nth(201), later), Ok(()));
    assert_eq!(addresses.table().entries.len(), 11);
    drop(held);
    assert_eq!(addresses.table().connected, 0);
}

#[test]
fn the_client_behind_proxies_is_the_last_address_that_is_not_one_of_them() {
    let client = |header: ForwardedHeader, lines: &[&'static str], peer: &str| {
        let proxies = Proxies { trusted: Networks::parse("10.0.0.0/8, 192.0.2.7, fd00::/8").unwrap(), header };
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header.name(), HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        proxies.client_of(peer.parse().unwrap(), &headers).to_string()
    };
    let listed = |lines: &[&'static str], peer: &str| client(ForwardedHeader::XForwardedFor, lines, peer);
    // Other peers than the trusted proxies are not trusted.
    assert_eq!(listed(&["1.1.1.1"], "192.0.2.8"), "192.0.2.8");
    assert_eq!(listed(&[], "10.0.0.1"), "10.0.0.1");
    assert_eq!(listed(&["9.9.9.9, 1.1.1.1"], "10.0.0.1"), "1.1.1.1");
    assert_eq!(listed(&["9.9.9.9, 1.1.1.1, 192.0.2.7,10.1.1.1"], "10.0.0.1"), "1.1.1.1");
    assert_eq!(listed(&["9.9.9.9", "1.1.1.1", "10.2.2.2"], "::ffff:10.0.0.1"), "1.1.1.1");
    assert_eq!(listed(&["1.1.1.1:443"], "10.0.0.1"), "1.1.1.1");
    assert_eq!(listed(&["[2001:db8::1]:443"], "10.0.0.1"), "2001:db8::1");
    assert_eq!(listed(&["2001:db8::1"], "fd00::1"), "2001:db8::1");
    // An invalid address ends the search: the proxy before it is the client.
    assert_eq!(listed(&["1.1.1.1, unknown, 10.2.2.2"], "10.0.0.1"), "10.2.2.2");
    assert_eq!(listed(&[""], "10.0.0.1"), "10.0.0.1");
    // A non-ASCII byte hides nothing that a proxy wrote after it, and makes no earlier line count.
    assert_eq!(listed(&["9.9.9.9, \u{e4}, 1.1.1.1"], "10.0.0.1"), "1.1.1.1");
    assert_eq!(listed(&["9.9.9.9", "\u{e4}, 1.1.1.1"], "10.0.0.1"), "1.1.1.1");
    assert_eq!(listed(&["9.9.9.9", "\u{e4}"], "10.0.0.1"), "10.0.0.1");
    assert_eq!(listed(&["9.9.9.9,", ",, 1.1.1.1"], "10.0.0.1"), "1.1.1.1");
    // If all addresses are proxies, the farthest one is the client.
    assert_eq!(listed(&["10.3.3.3, 10.2.2.2"], "10.0.0.1"), "10.3.3.3");

    let standard = |lines: &[&'static str]| client(ForwardedHeader::Forwarded, lines, "10.0.0.1");
    assert_eq!(standard(&["for=9.9.9.9, For=1.1.1.1;proto=https;by=10.0.0.1"]), "1.1.1.1");
    assert_eq!(standard(&["proto=https;for=\"[2001:db8::1]:4711\""]), "2001:db8::1");
    assert_eq!(standard(&["for=1.1.1.1, for=_hidden"]), "10.0.0.1");
}

#[test]
fn what_was_asked_is_what_a_trusted_proxy_says_and_else_what_came() {
    let asked = |kind: ForwardedHeader, peer: &str, is_tls: bool, lines: &[(&'static str, &'static str)]| {
        let proxies = Proxies { trusted: Networks::parse("10.0.0.0/8").unwrap(), header: kind };
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("inner:8080"));
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let Asked { host, is_tls } = proxies.asked(peer.parse().unwrap(), &headers, is_tls);
        (host.map(str::to_owned), is_tls)
    };
    let (listed, standard) = (ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded);
    let both: &[_] = &[("x-forwarded-host", "chat.example:8443"), ("x-forwarded-proto", "https")];
    let forwarded: &[_] = &[("forwarded", "for=1.1.1.1;host=\"chat.example:8443\";proto=https")];
    for (kind, peer, own_tls, lines, host, is_tls) in [
        (listed, "10.0.0.1", false, both, "chat.example:8443", true),
        (standard, "10.0.0.1", false, forwarded, "chat.example:8443", true),
        // Neither other peers nor the other header are trusted.
        (listed, "192.0.2.1", false, both, "inner:8080", false),
        (standard, "192.0.2.1", true, forwarded, "inner:8080", true),
        (listed, "10.0.0.1", false, forwarded, "inner:8080", false),
        (standard, "10.0.0.1", false, both, "inner:8080", false),
        // If a proxy says nothing, its own host applies, and the scheme of its client is not known.
        (listed, "10.0.0.1", true, &[], "inner:8080", false),
        (standard, "10.0.0.1", true, &[("forwarded", "for=1.1.1.1")], "inner:8080", false),
        // With several proxies, the one nearest to the client has seen the original values.
        (listed, "10.0.0.1", false, &[("x-forwarded-host", "a.example, b.example")], "a.example", false),
        (
            standard,
            "10.0.0.1",
            false,
            &[("forwarded", "Host=a.example;Proto=HTTPS, host=b.example")],
            "a.example",
            true,
        ),
        (listed, "10.0.0.1", false, &[("x-forwarded-proto", "wss")], "inner:8080", true),
        (
            listed,
            "10.0.0.1",
            true,
            &[("x-forwarded-proto", "http, https"), ("x-forwarded-host", "")],
            "inner:8080",
            false,
        ),
    ] {
        assert_eq!(asked(kind, peer, own_tls, lines), (Some(host.to_owned()), is_tls), "{kind:?} {peer} {lines:?}");
    }
}

#[test]
fn networks_are_read_as_they_are_shown() {
    let networks = Networks::parse("10.0.0.0/8,192.0.2.7").unwrap();
    assert_eq!(Networks::parse(&networks.to_string()), Some(networks));
    assert_eq!(Networks::parse(""), Some(Networks::default()));
    assert_eq!(Networks::parse("10.0.0.0/33"), None);
    assert_eq!(Networks::parse("example.org"), None);
}
