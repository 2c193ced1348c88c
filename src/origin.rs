//! Checks which pages may open a WebSocket to this server.
//!
//! A browser lets every page connect to every server, and names the page's origin in the `Origin` header. Other
//! programs send no such header and are not restricted.

use std::fmt;

use actix_http::header::{self, HeaderMap};
use actix_web::http::uri::Authority;

use crate::addresses::Asked;

/// The origins that are allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Pages of the same host as the request, whatever its name.
    SameHost,
    /// Only these origins.
    Listed(Vec<String>),
    /// All pages.
    Any,
}

/// Schemes of the web: their pages have a host and a port.
const WEB: [&str; 2] = ["http", "https"];

/// Schemes that no page has. An operator who lists one of them probably means `http` or `https`.
const NOT_OF_PAGES: [&str; 2] = ["ws", "wss"];

/// The origin of an app's files in an Android web view; elsewhere it is `null`.
const FILES: &str = "file://";

impl AllowedOrigins {
    /// Parses `*`, a comma-separated list of origins, or the empty text, which means the same host.
    ///
    /// `null` is not accepted in a list, because every web page can give one of its frames that origin.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "" => Some(Self::SameHost),
            "*" => Some(Self::Any),
            list => list.split(',').map(|origin| parse(origin.trim())).collect::<Option<_>>().map(Self::Listed),
        }
    }

    /// Whether a handshake with these headers is allowed; `asked` is the host and scheme that the client requested.
    pub(crate) fn allow(&self, headers: &HeaderMap, asked: Asked<'_>) -> bool {
        let mut origins = headers.get_all(header::ORIGIN);
        let Some(origin) = origins.next() else { return true };
        let Some(origin) = origin.to_str().ok().filter(|_| origins.next().is_none()) else {
            return *self == Self::Any;
        };
        let origin = normal(origin);
        match self {
            Self::Any => true,
            Self::Listed(allowed) => allowed.contains(&origin),
            Self::SameHost => asked.host.zip(origin.split_once("://")).is_some_and(|(host, (scheme, _))| {
                // If the client uses TLS, a page without TLS is another origin: an attacker on its way may have changed
                // it. A page with TLS may reach the server without TLS, if a proxy terminates it.
                let is_ours = scheme == "https" || (scheme == "http" && !asked.is_tls);
                // The page's scheme determines the default port.
                is_ours && normal(&format!("{scheme}://{host}")) == origin
            }),
        }
    }
}

/// Parses one origin of a list into the form that browsers send.
fn parse(origin: &str) -> Option<String> {
    let origin = normal(origin);
    let (scheme, host) = origin.split_once("://")?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        && !NOT_OF_PAGES.contains(&scheme);
    // Browsers send a non-ASCII name in its ASCII form, so such an entry would never match.
    let is_host = host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@*\\\"<>".contains(&byte));
    let is_whole = if WEB.contains(&scheme) { is_web_host(host) } else { !host.is_empty() || origin == FILES };
    (is_scheme && is_host && is_whole).then_some(origin)
}

/// Whether this is a host, with an optional valid port.
fn is_web_host(host: &str) -> bool {
    host.parse::<Authority>().is_ok_and(|authority| match authority.port_u16() {
        Some(port) => port > 0,
        None => authority.host() == host,
    })
}

/// Normalizes an origin: lower case, without the default port of its scheme.
fn normal(origin: &str) -> String {
    let mut origin = origin.to_ascii_lowercase();
    let port = match origin.split_once("://") {
        Some(("http", _)) => ":80",
        Some(("https", _)) => ":443",
        _ => return origin,
    };
    if origin.ends_with(port) {
        origin.truncate(origin.len() - port.len());
    }
    origin
}

impl fmt::Display for AllowedOrigins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameHost => Ok(()),
            Self::Any => f.write_str("*"),
            Self::Listed(origins) => f.write_str(&origins.join(",")),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_http::header::HeaderValue;

    use super::*;

    fn allows(allowed: &str, asked: Asked<'_>, origins: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for origin in origins {
            headers.append(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        AllowedOrigins::parse(allowed).unwrap().allow(&headers, asked)
    }

    fn at(host: &str) -> Asked<'_> {
        Asked { host: Some(host), is_tls: false }
    }

    #[test]
    fn without_a_list_pages_of_the_same_host_are_allowed() {
        for (host, origin) in [
            ("chat.example", "https://chat.example"),
            ("Chat.Example", "http://chat.example"),
            ("chat.example", "https://chat.example:443"),
            ("chat.example:443", "https://chat.example"),
            ("chat.example:80", "http://chat.example"),
            ("chat.example:8443", "https://chat.example:8443"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("[::1]:8080", "http://[::1]:8080"),
        ] {
            assert!(allows("", at(host), &[origin]), "{host} {origin}");
        }
        for (host, origin) in [
            ("chat.example", "https://evil.example"),
            ("chat.example", "http://chat.example:81"),
            ("chat.example", "https://chat.example:8443"),
            ("chat.example:8443", "https://chat.example"),
            ("chat.example:443", "http://chat.example"),
            ("chat.example", "https://chat.example.evil.example"),
            ("127.0.0.1:8080", "http://127.0.0.1:8081"),
            ("chat.example", "null"),
            ("chat.example", ""),
            // An app's page has no host.
            ("localhost", "capacitor://localhost"),
            ("chat.example", "chat.example"),
        ] {
            assert!(!allows("", at(host), &[origin]), "{host} {origin}");
        }
        assert!(!allows("", Asked::default(), &["https://chat.example"]), "the requested host is unknown");
    }

    #[test]
    fn over_tls_a_page_without_tls_is_of_another_origin() {
        let over_tls = Asked { host: Some("chat.example"), is_tls: true };
        assert!(allows("", over_tls, &["https://chat.example"]));
        assert!(!allows("", over_tls, &["http://chat.example"]));
        assert!(allows("http://chat.example", over_tls, &["http://chat.example"]), "a listed origin is allowed");
    }

    #[test]
    fn a_list_stands_alone_and_a_star_is_everybody() {
        let list = "https://chat.example, http://localhost:3000";
        let inner = at("inner:8080");
        assert!(allows(list, inner, &["https://chat.example:443"]));
        assert!(allows(list, inner, &["http://localhost:3000"]));
        // A name that an attacker points to this server is a host like any other.
        assert!(!allows(list, at("evil.example"), &["http://evil.example"]));
        assert!(!allows(list, at("chat.example"), &["http://chat.example"]));
        assert!(allows("*", at("chat.example"), &["https://evil.example"]) && allows("*", inner, &["null"]));
    }

    #[test]
    fn pages_of_apps_can_be_listed() {
        for origin in [
            "capacitor://localhost",
            "ionic://localhost",
            "tauri://localhost",
            "http://tauri.localhost",
            "app://.",
            "app://com.example.chat",
            "com.example.chat://app",
            "electron+x-1://chat",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            "moz-extension://0b7d1c1e-2f1a-4c55-9d3b-0f8f0b5e4a11",
            "vscode-webview://1ab2c3",
            "file://",
        ] {
            assert!(allows(origin, at("chat.example"), &[origin]), "{origin}");
            assert!(allows(&origin.to_uppercase(), at("chat.example"), &[origin]), "{origin}");
            assert!(!allows(origin, at("chat.example"), &["https://chat.example"]), "{origin}");
            assert!(!allows(origin, at("chat.example"), &["null"]), "{origin}");
            assert!(!allows("", at("chat.example"), &[origin]), "{origin}");
        }
        // The port is part of an app's origin, whatever it is.
        assert!(!allows("tauri://localhost", at("chat.example"), &["tauri://localhost:80"]));
    }

    #[test]
    fn who_sends_no_origin_passes_and_who_sends_two_does_not() {
        for allowed in ["", "https://chat.example", "*"] {
            assert!(allows(allowed, at("chat.example"), &[]));
        }
        assert!(!allows("", at("chat.example"), &["https://chat.example", "https://chat.example"]));
    }

    #[test]
    fn origins_are_read_as_they_are_shown() {
        for text in
            ["", "*", "https://chat.example,http://localhost:3000", "https://[::1]:8443,app://.", "http://[::1]"]
        {
            assert_eq!(AllowedOrigins::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "chat.example",
            "https://",
            "https://chat.example/",
            "https://chat.example/chat",
            "https://me@chat.example",
            "https://*.example",
            "https://chat.example:",
            "https://chat.example:0",
            "https://chat.example:65536",
            "https://chat.example:port",
            "https://chat example",
            "https://bücher.example",
            "wss://chat.example",
            "://chat.example",
            "1app://x",
            "ap p://x",
            "app://",
            "app:.",
            "null",
            "https://chat.example,null",
            "https://chat.example,*",
            ",",
            "https://chat.example,",
        ] {
            assert_eq!(AllowedOrigins::parse(text), None, "{text}");
        }
    }
}
