//! Log lines, to standard error.

use std::panic;

/// Starts logging what this filter lets through, panics among it. A second start changes nothing.
pub fn start(filter: &str) {
    // A test may have started it before.
    if env_logger::Builder::new().parse_filters(filter).try_init().is_ok() {
        panic::set_hook(Box::new(|panicked| {
            let place = panicked.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
            log::error!("a panic at {place}: {}", panicked.payload_as_str().unwrap_or("no text"));
        }));
    }
}
