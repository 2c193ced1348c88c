//! What every answer tells the browser that it may not do.

use actix_http::header::{self, HeaderName};
use actix_web::middleware::DefaultHeaders;

/// A header and its value.
pub(crate) type Header = (HeaderName, &'static str);

/// On every answer: its kind is not guessed, nobody else embeds it or learns from it, and it asks for nothing.
pub(crate) const COMMON: [Header; 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::PERMISSIONS_POLICY, "camera=(), microphone=(), geolocation=(), payment=(), usb=(), browsing-topics=()"),
    (header::CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
    (header::CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
];

/// On what is no page: shown as one, it may do nothing at all.
pub(crate) const NO_CONTENT_POLICY: Header =
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");

/// On what is true only now.
pub(crate) const NO_STORE: Header = (header::CACHE_CONTROL, "no-store");

/// Adds to an answer what it does not say itself.
pub(crate) fn defaults() -> DefaultHeaders {
    let all = COMMON.into_iter().chain([NO_CONTENT_POLICY, NO_STORE]);
    all.fold(DefaultHeaders::new(), DefaultHeaders::add)
}
