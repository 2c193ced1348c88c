//! Log lines, to standard error.

/// Starts logging what this filter lets through. A second start changes nothing.
pub fn start(filter: &str) {
    // A test may have started it before.
    drop(env_logger::Builder::new().parse_filters(filter).try_init());
}
