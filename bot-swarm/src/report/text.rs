//! The report as text for a terminal, with the verdict first.

use std::fmt;

use crate::advice::advice;

use super::document::{LastReceivers, Latency, Ledger, Remote, Report};

/// What stands in place of a figure of which nothing was measured.
const NONE: &str = "none";

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verdict, bots, messages, ledger, .. } = self;
        writeln!(f, "{}", verdict.line)?;
        for doubt in &verdict.doubts {
            writeln!(f, "  doubt     {doubt}")?;
        }
        for expectation in &verdict.expectations {
            match &expectation.measured {
                None => writeln!(f, "  kept      {}", expectation.expected)?,
                Some(measured) => writeln!(f, "  BROKEN    {}: {measured}", expectation.expected)?,
            }
        }
        if !self.errors.is_empty() {
            let errors: Vec<String> = self.errors.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
            writeln!(f, "errors      {}", errors.join(", "))?;
        }
        for (kind, advice) in self.explained_errors() {
            writeln!(f, "  {kind}: {advice}")?;
        }
        writeln!(
            f,
            "bots        {} of {} were connected, {} reconnects, {} away at the end, {:.1} s",
            bots.connected, bots.wanted, bots.reconnects, bots.away, self.seconds
        )?;
        writeln!(
            f,
            "messages    {} planned, {} done, {} refused, {} not done ({} never sent, {} never answered, {} refused for now), \
             {} sent again",
            messages.planned,
            messages.done,
            messages.refused,
            messages.not_done,
            messages.overdue,
            messages.unanswered,
            messages.deferred,
            messages.sent_again
        )?;
        if let Some(typing) = self.counters.get("typing_sent").filter(|count| **count > 0) {
            writeln!(f, "typing      {typing} sent")?;
        }
        writeln!(
            f,
            "deliveries  {} expected, {} received, {} lost ({} reported by the server), {} arrived, {} not timed",
            ledger.expected, ledger.received, ledger.lost, ledger.lost_and_told, ledger.deliveries, ledger.untimed
        )?;
        writeln!(
            f,
            "faults      {} twice, {} out of order, {} wrong room, {} misdelivered, {} contradictions, {} altered, \
             {} resurrected, {} unread",
            ledger.twice,
            ledger.out_of_order,
            ledger.wrong_room,
            ledger.misdelivered,
            ledger.contradictions,
            ledger.altered,
            ledger.resurrected,
            ledger.unread
        )?;
        if ledger.private_unknown > 0 {
            writeln!(f, "unknown     {} private deliveries across lost connections", ledger.private_unknown)?;
        }
        writeln!(f, "latency     from the planned time of sending (or connecting)")?;
        for (kind, latency) in &self.latencies {
            write_latency(f, kind, latency)?;
        }
        if ledger.deliveries == 0 {
            writeln!(f, "  {:<11}{NONE}", "delivery")?;
        }
        if let Some(remote) = &self.remote {
            writeln!(f, "  {remote}")?;
        }
        if let Some(last) = self.last_receivers.as_ref().filter(|last| last.one_of > 1) {
            writeln!(f, "  {last}")?;
        }
        self.write_costs(f)
    }
}

impl Report {
    /// The kinds of errors that need an explanation, each with it.
    pub(super) fn explained_errors(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.errors.keys().filter_map(|kind| Some((kind.as_str(), advice(kind)?)))
    }

    /// The processor time of the swarm per delivery, for a person.
    pub(crate) fn micros_per_delivery_text(&self) -> String {
        self.micros_per_delivery().map_or_else(|| NONE.to_owned(), |micros| format!("{micros:.2} µs"))
    }

    fn write_costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let swarm = &self.swarm;
        writeln!(
            f,
            "swarm       {:.2} s CPU ({} per delivery), {:.1} MiB ({} bytes per bot)",
            swarm.user_seconds + swarm.system_seconds,
            self.micros_per_delivery_text(),
            swarm.resident_bytes as f64 / 1_048_576.0,
            swarm.resident_bytes.checked_div(self.bots.asked).unwrap_or_default(),
        )?;
        if let Some(server) = &self.server {
            writeln!(f, "server      {}", server.judgement)?;
        }
        Ok(())
    }
}

impl Ledger {
    /// The names and counts of all delivery faults.
    pub fn faults(&self) -> [(&'static str, u64); 9] {
        [
            ("lost", self.lost),
            ("twice", self.twice),
            ("out of order", self.out_of_order),
            ("in the wrong room", self.wrong_room),
            ("private and misdelivered", self.misdelivered),
            ("contradictory positions", self.contradictions),
            ("altered on the way", self.altered),
            ("deleted texts", self.resurrected),
            ("read positions that went back", self.unread),
        ]
    }
}

impl fmt::Display for LastReceivers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { one_of, messages, .. } = self;
        write!(
            f,
            "completion: {messages} messages were followed to their last receiver, one of {one_of}, which counts for all"
        )
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { deliveries, clocks_off_max_ms, negative } = *self;
        write!(
            f,
            "remote: {deliveries} deliveries from other hosts, by clocks that may be off by {}; {negative} seem \
             to precede their planned time",
            ms_text(clocks_off_max_ms)
        )
    }
}

fn write_latency(f: &mut fmt::Formatter<'_>, kind: &str, latency: &Latency) -> fmt::Result {
    let p = &latency.percentiles;
    writeln!(
        f,
        "  {kind:<11}p50 {:<9} p99 {:<9} p99.9 {:<9} max {:<9} ({})",
        ms_text(p.p50),
        ms_text(p.p99),
        ms_text(p.p999),
        ms_text(p.max),
        p.count
    )
}

/// Milliseconds in a suitable unit, to three digits.
pub(crate) fn ms_text(ms: f64) -> String {
    crate::units::human(std::time::Duration::from_secs_f64(ms.max(0.0) / 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn the_verdict_is_the_first_line() {
        let mut report = example::report();
        assert_eq!(report.to_string().lines().next(), Some("KEPT: p99<250ms, lost=0"));
        report.verdict.doubts.push("the event loop was 80 ms late".into());
        assert_eq!(report.to_string().lines().nth(1), Some("  doubt     the event loop was 80 ms late"));
    }

    #[test]
    fn what_did_not_happen_has_no_figure() {
        let told = |report: &Report| {
            let line = report.to_string().lines().find(|line| line.contains("per delivery")).unwrap().to_owned();
            let page = crate::report::page::page(report);
            let in_page = page.contains("delivery: none") && page.contains(">none</td>");
            (line.contains("(none per delivery)"), report.to_string().contains("  delivery   none\n"), in_page)
        };
        let mut report = example::report();
        assert_eq!(told(&report), (false, false, false));
        report.ledger.deliveries = 0;
        assert_eq!(told(&report), (true, true, true));
        let comparison = crate::compare::compare(&report, &example::report());
        assert!(!comparison.rows.iter().any(|row| row.name.contains("per delivery")));
    }

    #[test]
    fn what_came_from_other_hosts_is_told_with_how_far_the_clocks_may_be_off() {
        let mut report = example::report();
        assert!(!report.to_string().contains("remote"), "{report}");
        report.remote = Some(Remote { deliveries: 70, clocks_off_max_ms: 1.7, negative: 2 });
        let told = "  remote: 70 deliveries from other hosts, by clocks that may be off by 1.70 ms; 2 seem \
                    to precede their planned time\n";
        assert!(report.to_string().contains(told), "{report}");
        assert!(crate::report::page::page(&report).contains(told.trim()));
    }

    #[test]
    fn where_not_every_message_was_followed_to_its_last_receiver_it_is_told_how_many_were() {
        let mut report = example::report();
        let last = |one_of| Some(LastReceivers { one_of, messages: 9_000, receipts: String::new() });
        report.last_receivers = last(1);
        assert!(!report.to_string().contains("followed"), "{report}");
        report.last_receivers = last(8);
        let told = "completion: 9000 messages were followed to their last receiver, one of 8, which counts for all";
        assert!(report.to_string().contains(told), "{report}");
        assert!(crate::report::page::page(&report).contains(told));
    }
}
