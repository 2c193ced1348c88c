//! Panics on the threads of a swarm. A bot or a worker that panics is gone while all others go on, so its run must know.

use std::cell::RefCell;
use std::panic::{self, PanicHookInfo};
use std::sync::{Arc, Mutex, Once, PoisonError};

/// Installs the hook once for the process.
static HOOK: Once = Once::new();

thread_local! {
    /// Where the panics of this thread are counted.
    static WATCHED: RefCell<Option<Arc<Panics>>> = const { RefCell::new(None) };
}

/// The panics of a swarm's threads.
#[derive(Debug, Default)]
pub(crate) struct Panics(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    times: u64,
    first: String,
}

impl Panics {
    /// Counts the panics of the calling thread from now on, beside what else is done with them.
    pub(crate) fn watch(self: &Arc<Self>) {
        HOOK.call_once(|| {
            let others = panic::take_hook();
            panic::set_hook(Box::new(move |panicked| {
                // While a thread ends, its panics belong to nobody any more.
                let watched = WATCHED.try_with(|watched| watched.borrow().clone()).ok().flatten();
                if let Some(watched) = watched {
                    watched.count(&text_of(panicked));
                }
                others(panicked);
            }));
        });
        WATCHED.set(Some(Arc::clone(self)));
    }

    /// A worker does not answer any more. That counts as a panic where none is known.
    pub(crate) fn worker_is_gone(&self) {
        if !self.any() {
            self.count("it does not answer");
        }
    }

    fn count(&self, text: &str) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.times == 0 {
            text.clone_into(&mut counted.first);
        }
        counted.times += 1;
    }

    /// Whether there was any.
    pub(crate) fn any(&self) -> bool {
        self.counted().is_some()
    }

    /// How many there were, and what the first one said; `None`: there was none.
    pub(crate) fn counted(&self) -> Option<(u64, String)> {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (counted.times > 0).then(|| (counted.times, counted.first.clone()))
    }
}

/// What a panic says, in one line, and where it was.
fn text_of(panicked: &PanicHookInfo<'_>) -> String {
    let text = panicked.payload_as_str().unwrap_or("without a text").lines().next().unwrap_or_default().to_owned();
    panicked.location().map_or_else(|| text.clone(), |at| format!("{text} ({}:{})", at.file(), at.line()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_are_counted_where_their_thread_is_watched() {
        let panics = [Arc::new(Panics::default()), Arc::new(Panics::default())];
        let threads = panics.each_ref().map(|panics| {
            let panics = Arc::clone(panics);
            std::thread::spawn(move || {
                panics.watch();
                for _ in 0..2 {
                    assert!(panic::catch_unwind(|| panic!("of {}\nand more", "this")).is_err());
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        for panics in panics {
            let (times, first) = panics.counted().unwrap();
            assert!(times == 2 && first.starts_with("of this (") && first.contains("panics.rs:"), "{times} {first}");
        }
        let nobody = Panics::default();
        assert!(std::thread::spawn(|| panic!("elsewhere")).join().is_err());
        assert!(!nobody.any());
        nobody.worker_is_gone();
        assert_eq!(nobody.counted(), Some((1, "it does not answer".to_owned())));
    }
}
