//! Measures the work of a future for a stage.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use starling_actors::clock;
use starling_actors::stage::Stage;

/// A unit of work of a stage that is done when this drops.
#[derive(Debug)]
struct Counted(Arc<Stage>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.complete_n(1);
    }
}

/// Counts a future as one unit of work of the stage, and the time of its polls as the stage's time.
///
/// Boxed, because an async function reserves the memory of a future that it is given twice, and so does the server that
/// runs it.
pub(crate) async fn timed<F: Future>(stage: Arc<Stage>, mut work: Pin<Box<F>>) -> F::Output {
    stage.arrive_n(1);
    let counted = Counted(stage);
    poll_fn(|cx| {
        let started = clock::now();
        let outcome = work.as_mut().poll(cx);
        counted.0.worked(clock::now().saturating_duration_since(started));
        outcome
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    #[actix::test]
    async fn only_the_time_of_work_counts_and_the_end_whatever_it_is() {
        let stage = Arc::new(Stage::default());
        let work = async {
            actix_rt::time::sleep(Duration::from_secs(1)).await;
            let started = clock::now();
            while started.elapsed() < Duration::from_millis(10) {}
        };
        let mut dropped = Box::pin(timed(Arc::clone(&stage), Box::pin(std::future::pending::<()>())));
        assert_eq!((&mut dropped).now_or_never(), None);
        assert_eq!((stage.backlog(), stage.completions()), (1, 0));
        timed(Arc::clone(&stage), Box::pin(work)).await;
        drop(dropped);
        assert_eq!((stage.backlog(), stage.completions()), (0, 2));
        assert!((0.01..0.9).contains(&stage.busy_seconds()), "{}", stage.busy_seconds());
    }
}
