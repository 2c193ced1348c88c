//! Which pages may open a WebSocket here.
//!
//! A browser lets every page of the web connect to every server, and says with `Origin` which page it is. Programs
//! other than browsers send no such header, and pass.

use std::fmt;

use actix_http::header::{self, HeaderMap};

/// The origins that are allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Pages of the host that is asked, whatever it is called.
    SameHost,
    /// These and no other.
    Listed(Vec<String>),
    /// Every page of the web.
    Any,
}

impl AllowedOrigins {
    /// Reads `*`, a list of origins between commas, or nothing: the same host.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "" => Some(Self::SameHost),
            "*" => Some(Self::Any),
            list => {
                let origin = |origin: &str| {
                    let origin = origin.trim().to_ascii_lowercase();
                    let (scheme, host) = origin.split_once("://")?;
                    let is_host = !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ', '*']);
                    (["http", "https"].contains(&scheme) && is_host).then(|| normal(&origin))
                };
                list.split(',').map(origin).collect::<Option<_>>().map(Self::Listed)
            }
        }
    }

    /// Whether a handshake with these headers may go on.
    pub(crate) fn allow(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN);
        let Some(origin) = origins.next() else { return true };
        let Some(origin) = origin.to_str().ok().filter(|_| origins.next().is_none()) else {
            return *self == Self::Any;
        };
        let origin = normal(&origin.to_ascii_lowercase());
        match self {
            Self::Any => true,
            Self::Listed(allowed) => allowed.contains(&origin),
            Self::SameHost => {
                let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
                let asked = origin.split_once("://");
                // The page's scheme says which port goes without saying.
                host.zip(asked).is_some_and(|(host, (scheme, asked))| {
                    let host = normal(&format!("{scheme}://{}", host.to_ascii_lowercase()));
                    host.split_once("://").is_some_and(|(_, host)| host == asked)
                })
            }
        }
    }
}

/// An origin without the port that goes without saying.
fn normal(origin: &str) -> String {
    let stripped = match origin.split_once("://") {
        Some(("http", host)) => host.strip_suffix(":80").map(|host| format!("http://{host}")),
        Some(("https", host)) => host.strip_suffix(":443").map(|host| format!("https://{host}")),
        _ => None,
    };
    stripped.unwrap_or_else(|| origin.to_owned())
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

    fn allows(allowed: &str, host: &str, origins: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        for origin in origins {
            headers.append(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        AllowedOrigins::parse(allowed).unwrap().allow(&headers)
    }

    #[test]
    fn without_a_list_pages_of_the_same_host_are_allowed() {
        assert!(allows("", "chat.example", &["https://chat.example"]));
        assert!(allows("", "Chat.Example", &["http://chat.example"]));
        assert!(allows("", "chat.example:443", &["https://chat.example"]));
        assert!(allows("", "127.0.0.1:8080", &["http://127.0.0.1:8080"]));
        assert!(allows("", "[::1]:8080", &["http://[::1]:8080"]));
        for other in ["https://evil.example", "http://chat.example:81", "https://chat.example.evil.example", "null", ""]
        {
            assert!(!allows("", "chat.example", &[other]), "{other}");
        }
        assert!(!allows("", "127.0.0.1:8080", &["http://127.0.0.1:8081"]));
    }

    #[test]
    fn a_list_stands_alone_and_a_star_is_everybody() {
        let list = "https://chat.example, http://localhost:3000";
        assert!(allows(list, "inner:8080", &["https://chat.example:443"]));
        assert!(allows(list, "inner:8080", &["http://localhost:3000"]));
        // A name that an attacker lets point here is a host like any other.
        assert!(!allows(list, "evil.example", &["http://evil.example"]));
        assert!(!allows(list, "chat.example", &["http://chat.example"]));
        assert!(allows("*", "chat.example", &["https://evil.example"]) && allows("*", "chat.example", &["null"]));
    }

    #[test]
    fn who_sends_no_origin_passes_and_who_sends_two_does_not() {
        for allowed in ["", "https://chat.example", "*"] {
            assert!(allows(allowed, "chat.example", &[]));
        }
        assert!(!allows("", "chat.example", &["https://chat.example", "https://chat.example"]));
    }

    #[test]
    fn origins_are_read_as_they_are_shown() {
        for text in ["", "*", "https://chat.example,http://localhost:3000"] {
            assert_eq!(AllowedOrigins::parse(text).unwrap().to_string(), text);
        }
        for text in
            ["chat.example", "https://", "https://chat.example/", "ftp://chat.example", "https://*.example", ","]
        {
            assert_eq!(AllowedOrigins::parse(text), None, "{text}");
        }
    }
}
