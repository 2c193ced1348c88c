//! Panics on the threads of a swarm. A bot or a worker that panics is gone while all others continue, so the run must
//! record it.

use std::cell::RefCell;
use std::panic::{self, PanicHookInfo};
use std::sync::{Arc, Mutex, Once, PoisonError};

/// The number of parent folders in the shown path of a file.
const FOLDERS_TOLD: usize = 2;

/// Ensures that the hook is installed once per process.
static HOOK: Once = Once::new();

thread_local! {
    /// The counter for the panics of this thread.
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
    /// Counts the panics of the calling thread from now on; other panic hooks still run.
    pub(crate) fn watch(self: &Arc<Self>) {
        HOOK.call_once(|| {
            let others = panic::take_hook();
            panic::set_hook(Box::new(move |panicked| {
                // While a thread ends, its panics are not counted.
                let watched = WATCHED.try_with(|watched| watched.borrow().clone()).ok().flatten();
                if let Some(watched) = watched {
                    watched.count(&text_of(panicked));
                }
                others(panicked);
            }));
        });
        WATCHED.set(Some(Arc::clone(self)));
    }

    /// Notes that a worker does not answer any more. That counts as a panic if none is known.
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

    /// Whether there was a panic.
    pub(crate) fn any(&self) -> bool {
        self.counted().is_some()
    }

    /// The number of panics and the text of the first; `None` if there was none.
    pub(crate) fn counted(&self) -> Option<(u64, String)> {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (counted.times > 0).then(|| (counted.times, counted.first.clone()))
    }
}

/// The first line of a panic's text, and its location.
fn text_of(panicked: &PanicHookInfo<'_>) -> String {
    let text = panicked.payload_as_str().unwrap_or("without a text").lines().next().unwrap_or_default().to_owned();
    panicked.location().map_or_else(|| text.clone(), |at| format!("{text} ({}:{})", short(at.file()), at.line()))
}

/// The end of a file's path: of a dependency, the rest depends on the machine that built it.
fn short(path: &str) -> &str {
    let start = path.rmatch_indices('/').nth(FOLDERS_TOLD).map_or(0, |(slash, _)| slash + 1);
    path.get(start..).unwrap_or(path)
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
        assert_eq!(short("/far/away/src/connect/resolver.rs"), "src/connect/resolver.rs");
        assert_eq!(short("src/bot.rs"), "src/bot.rs");
        let nobody = Panics::default();
        assert!(std::thread::spawn(|| panic!("elsewhere")).join().is_err());
        assert!(!nobody.any());
        nobody.worker_is_gone();
        assert_eq!(nobody.counted(), Some((1, "it does not answer".to_owned())));
    }
}
