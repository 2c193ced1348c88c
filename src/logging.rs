//! Log lines, to standard error.

use std::panic::{self, PanicHookInfo};

/// Starts logging what this filter lets through, panics among it. A second start changes nothing.
pub fn start(filter: &str) {
    // A test may have started it before.
    if env_logger::Builder::new().parse_filters(filter).try_init().is_ok() {
        panic::set_hook(Box::new(|panicked| log::error!("{}", line_of(panicked))));
    }
}

/// A panic in one line, with its place in the source.
fn line_of(panicked: &PanicHookInfo<'_>) -> String {
    let place = panicked.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let text = panicked.payload_as_str().unwrap_or("no text").replace('\n', " | ");
    format!("a panic at {place}: {text}")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn a_panic_is_one_line_with_its_place() {
        let (tell, lines) = mpsc::channel();
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| tell.send(line_of(panicked)).unwrap()));
        let outcome = thread::spawn(|| panic!("on purpose\nand in {} lines", 2)).join();
        panic::set_hook(before);
        assert!(outcome.is_err());
        let line = lines.recv().unwrap();
        assert!(line.starts_with("a panic at src/logging.rs:"), "{line}");
        assert!(line.ends_with(": on purpose | and in 2 lines"), "{line}");
        assert!(lines.recv().is_err(), "there is one");
    }
}
