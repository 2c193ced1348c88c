//! The worker threads, from their start to their end.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix_rt::{Arbiter, ArbiterHandle};
use log::warn;
use tokio::sync::mpsc;

use crate::listener;
use crate::worker::Worker;

/// Longest time that the threads may take to end. Each of them ends between two polls of its tasks.
const END_TIME: Duration = Duration::from_secs(1);

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Workers {
    threads: Vec<Arbiter>,
    /// Closes when all threads have ended.
    ended: mpsc::Receiver<Infallible>,
}

impl Workers {
    /// Starts this number of threads, which serve the connections of this socket. Must run on an actix system.
    ///
    /// The first worker accepts them for all. A thread of its own would take a seventh of the CPU of each connection
    /// where there is one core, because the two threads would take turns.
    ///
    /// # Errors
    /// The system starts no thread.
    pub(crate) fn start(count: usize, worker: &Worker, socket: TcpListener) -> io::Result<Self> {
        let threads: Vec<_> = (0..count).map(|_| Arbiter::try_new()).collect::<io::Result<_>>()?;
        let (running, ended) = mpsc::channel(1);
        for ((thread, number), source) in threads.iter().zip(0..).zip(listener::sources(socket, count)) {
            let (worker, running) = (worker.clone(), running.clone());
            thread.spawn_fn(move || {
                actix_rt::spawn(async move {
                    worker.serve(number, source).await;
                    drop(running);
                });
            });
        }
        Ok(Self { threads, ended })
    }

    /// The first thread, for what shares a thread with a worker.
    pub(crate) fn first(&self) -> Option<ArbiterHandle> {
        self.threads.first().map(Arbiter::handle)
    }

    /// Ends the threads, and with them the connections that are left.
    pub(crate) async fn stop(mut self) {
        for thread in &self.threads {
            thread.stop();
        }
        if tokio::time::timeout(END_TIME, self.ended.recv()).await.is_err() {
            warn!("a worker thread has not ended within {END_TIME:?}");
        }
    }
}
