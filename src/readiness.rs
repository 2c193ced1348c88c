//! Whether the server can serve: at `/readyz`, in refusals, and as a metric.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use starling_process::exposition::Family;

use crate::refusal::{HttpCode, HttpRefusal};

/// The kind of a reason that the server cannot serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A vital part has ended.
    Died,
    /// The server was asked to stop.
    Stopping,
    /// The server is short of memory.
    Memory,
    /// The log of several nodes cannot be written, or is still read.
    Log,
    /// The history cannot store anything.
    History,
}

impl Cause {
    const ALL: [Self; 5] = [Self::Died, Self::Stopping, Self::Memory, Self::Log, Self::History];

    fn as_str(self) -> &'static str {
        match self {
            Self::Died => "died",
            Self::Stopping => "stopping",
            Self::Memory => "memory",
            Self::Log => "log",
            Self::History => "history",
        }
    }
}

/// The reason that the server cannot serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotReady {
    cause: Cause,
    text: Cow<'static, str>,
}

impl NotReady {
    pub(crate) fn new(cause: Cause, text: impl Into<Cow<'static, str>>) -> Self {
        Self { cause, text: text.into() }
    }

    /// The kind of the reason, as a label.
    pub(crate) fn label(&self) -> &'static str {
        self.cause.as_str()
    }
}

impl From<NotReady> for HttpRefusal {
    fn from(it: NotReady) -> Self {
        Self::new(HttpCode::Unavailable, it.text)
    }
}

/// The metric `chat_not_ready`.
pub(crate) struct ReadinessMetric<F> {
    desc: Desc,
    /// Asks the server.
    not_ready: F,
}

/// The name of the metric.
const NAME: &str = "chat_not_ready";

impl<F: Fn() -> Option<NotReady>> ReadinessMetric<F> {
    pub(crate) fn new(not_ready: F) -> Self {
        let help = "Why /readyz is 503.".to_owned();
        #[expect(clippy::expect_used, reason = "the name is a constant and a valid one")]
        let desc = Desc::new(NAME.into(), help, Vec::new(), HashMap::new()).expect("the description is valid");
        Self { desc, not_ready }
    }
}

impl<F> fmt::Debug for ReadinessMetric<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadinessMetric").field("desc", &self.desc).finish_non_exhaustive()
    }
}

impl<F: Fn() -> Option<NotReady> + Send + Sync> Collector for ReadinessMetric<F> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let cause = (self.not_ready)().map(|it| it.cause);
        let mut family = Family::gauge(NAME, "1 for the reason for which /readyz is 503, 0 for all others.");
        for each in Cause::ALL {
            family.add(&[("reason", each.as_str())], f64::from(u8::from(cause == Some(each))));
        }
        vec![family.finish()]
    }
}
