//! The report as one page without scripts, fonts or external images; light or dark like the reader's system.
//!
//! `live` makes the page of a running swarm from the same parts. Its script and its style are separate files, so its
//! content security policy allows nothing inline.

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::document::{Judgement, Latency, Report};
use super::pictures::{Picture, pictures};
use super::text::ms_text;
use crate::server_stages::ServerReport;
use crate::units::grouped;

/// The style sheet.
pub(crate) const STYLE: &str = include_str!("page.css");

/// The file of the live page's style.
pub(crate) const LIVE_STYLE: &str = "page.css";
/// The file of the script that renews the live page.
pub(crate) const LIVE_SCRIPT: &str = "live.js";

/// Renders the page of a report.
pub fn page(report: &Report) -> String {
    let class = match report.verdict.judgement {
        Judgement::Kept => "kept",
        Judgement::Broken => "broken",
        Judgement::Invalid => "invalid",
    };
    let head = html! { style { (PreEscaped(STYLE)) } };
    let top = html! {
        header class=(class) {
            h1 { (report.verdict.line) }
            p.facts { (facts(report)) }
        }
        (tiles(report, false))
    };
    whole(&report.verdict.line, &head, &top, report, &expectations(report))
}

/// Renders the page of a running swarm with its results so far, without a verdict.
pub(crate) fn live(report: &Report) -> String {
    let phase = report.phases.last().map_or("", |phase| phase.name.as_str());
    let title = format!("RUNNING: {phase}");
    let head = html! {
        link rel="stylesheet" href=(LIVE_STYLE);
        script src=(LIVE_SCRIPT) defer {}
        noscript { meta http-equiv="refresh" content="2"; }
    };
    let top = html! {
        header.running {
            h1 { (title) }
            p.facts { (facts(report)) }
            p.facts #state role="status" {
                "The figures so far. A message in flight counts as not done. The report will contain the verdict."
            }
        }
        (tiles(report, true))
    };
    whole(&title, &head, &top, report, &html! {})
}

fn whole(title: &str, head: &Markup, top: &Markup, report: &Report, judged: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · bot-swarm" }
                (head)
            }
            body {
                main {
                    (top)
                    (judged)
                    @for picture in pictures(report) { (figure(&picture)) }
                    (latencies(report))
                    (phases(report))
                    (ledger(report))
                    @if let Some(server) = &report.server { (stages(server)) }
                    (swarm(report))
                    @if !report.errors.is_empty() { (errors(report)) }
                    (config(&report.config))
                    (seconds(report))
                }
            }
        }
    };
    page.into_string()
}

fn facts(report: &Report) -> String {
    let server = report.config.get("BOT_SERVER_URL").map_or("", String::as_str);
    let on = if server.is_empty() { "" } else { " · " };
    format!("{} · {:.1} s{on}{server} · {}", utc(report.started_at), report.seconds, report.program)
}

/// A time in UTC as readable text.
fn utc(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(String::new, |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// `is_live`: the swarm is running, so the tile shows the bots that are connected now.
fn tiles(report: &Report, is_live: bool) -> Markup {
    let delivery = report.latencies.get("delivery").map(|latency| latency.percentiles);
    let of_delivery = |value: Option<f64>| value.map_or("–".to_owned(), ms_text);
    let wrong = report.ledger.faults().into_iter().map(|(_, count)| count).sum::<u64>();
    let wanted = grouped(report.bots.wanted);
    let bots = if is_live {
        let connected = report.series.last().and_then(|second| second.bots.get("connected")).copied();
        ("bots connected", grouped(connected.unwrap_or_default()), format!("of {wanted}, now"))
    } else {
        ("bots connected", grouped(report.bots.connected), format!("of {wanted}, at some time"))
    };
    let tiles = [
        bots,
        ("messages done", grouped(report.messages.done), format!("of {} planned", grouped(report.messages.planned))),
        ("deliveries", grouped(report.ledger.deliveries), rate(report.ledger.deliveries, report.seconds)),
        ("delivery p50", of_delivery(delivery.map(|p| p.p50)), format!("p99 {}", of_delivery(delivery.map(|p| p.p99)))),
        (
            "longest delivery",
            of_delivery(delivery.map(|p| p.max)),
            format!("p99.9 {}", of_delivery(delivery.map(|p| p.p999))),
        ),
        ("wrong deliveries", grouped(wrong), "lost, twice, out of order, misplaced".to_owned()),
    ];
    html! {
        section.tiles {
            @for (name, value, note) in tiles {
                div { p.name { (name) } p.value { (value) } p.note { (note) } }
            }
        }
    }
}

fn rate(count: u64, seconds: f64) -> String {
    format!("{:.0} a second", if seconds > 0.0 { count as f64 / seconds } else { 0.0 })
}

fn expectations(report: &Report) -> Markup {
    let verdict = &report.verdict;
    html! {
        @if !verdict.doubts.is_empty() {
            section.doubts {
                h2 { "Why these figures are not reliable" }
                ul { @for doubt in &verdict.doubts { li { (doubt) } } }
            }
        }
        @if !verdict.expectations.is_empty() {
            section {
                h2 { "Expectations" }
                table {
                    thead { tr { th { "Expected" } th.number { "Actual" } th { "" } } }
                    tbody {
                        @for expectation in &verdict.expectations {
                            tr {
                                td { code { (expectation.expected) } }
                                td.number { (expectation.measured.as_deref().unwrap_or_default()) }
                                td { @if expectation.kept { span.kept { "✓ kept" } } @else { span.broken { "✗ broken" } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn figure(picture: &Picture) -> Markup {
    html! {
        section {
            figure {
                figcaption { h2 { (picture.title) } p { (picture.caption) } }
                @if picture.plot.lines.len() > 1 {
                    ul.legend {
                        @for line in &picture.plot.lines {
                            li { span class=(format!("ink {}", line.ink.class())) {} (line.label) }
                        }
                    }
                }
                (PreEscaped(picture.plot.draw()))
            }
        }
    }
}

fn latencies(report: &Report) -> Markup {
    html! {
        section {
            h2 { "Latencies of the whole run" }
            p { "From the planned time, whatever caused the delay." }
            (latency_table(&report.latencies))
            @if report.ledger.deliveries == 0 { p { "delivery: none" } }
            @if let Some(remote) = &report.remote { p { (remote) } }
            @if let Some(last) = report.last_receivers.as_ref().filter(|last| last.one_of > 1) { p { (last) } }
        }
    }
}

fn latency_table(latencies: &BTreeMap<String, Latency>) -> Markup {
    html! {
        table {
            thead {
                tr {
                    th { "" }
                    @for head in ["count", "mean", "p50", "p90", "p99", "p99.9", "longest"] { th.number { (head) } }
                }
            }
            tbody {
                @for (kind, latency) in latencies {
                    @let p = &latency.percentiles;
                    tr {
                        th scope="row" { (kind.replace('_', " ")) }
                        td.number { (grouped(p.count)) }
                        @for value in [latency.mean, p.p50, p.p90, p.p99, p.p999, p.max] {
                            td.number { (ms_text(value)) }
                        }
                    }
                }
            }
        }
    }
}

fn phases(report: &Report) -> Markup {
    html! {
        @if report.phases.len() > 1 {
            section {
                h2 { "Phases" }
                @for (number, phase) in report.phases.iter().enumerate() {
                    details id=(format!("phase-{number}")) {
                        summary {
                            strong { (phase.name) }
                            " from " (format!("{:.1}", phase.start)) " s for " (format!("{:.1}", phase.seconds)) " s · "
                            (grouped(phase.sent)) " sent · " (grouped(phase.deliveries)) " deliveries"
                            @if let Some(delivery) = phase.latencies.get("delivery") {
                                " · p50 " (ms_text(delivery.percentiles.p50)) " · p99 " (ms_text(delivery.percentiles.p99))
                            }
                        }
                        (latency_table(&phase.latencies))
                    }
                }
            }
        }
    }
}

fn pairs(title: &str, pairs: &[(&str, String)]) -> Markup {
    html! {
        section {
            h2 { (title) }
            table.pairs {
                tbody { @for (name, value) in pairs { tr { th scope="row" { (name) } td.number { (value) } } } }
            }
        }
    }
}

fn ledger(report: &Report) -> Markup {
    let (ledger, messages, bots) = (&report.ledger, &report.messages, &report.bots);
    let rows = [
        ("deliveries expected", ledger.expected),
        ("received", ledger.received),
        ("lost", ledger.lost),
        ("lost, and reported by the server", ledger.lost_and_told),
        ("twice", ledger.twice),
        ("out of order", ledger.out_of_order),
        ("in the wrong room", ledger.wrong_room),
        ("private, and misdelivered", ledger.misdelivered),
        ("contradictory positions", ledger.contradictions),
        ("altered on the way", ledger.altered),
        ("deleted texts", ledger.resurrected),
        ("read positions that went back", ledger.unread),
        ("private, across a lost connection (unknown)", ledger.private_unknown),
        ("messages planned", messages.planned),
        ("messages done", messages.done),
        ("messages refused", messages.refused),
        ("messages refused without reason", messages.refused_unprovoked),
        ("messages not done: never answered", messages.unanswered),
        ("messages not done: refused for now", messages.deferred),
        ("messages not done: never sent", messages.overdue),
        ("messages sent again", messages.sent_again),
        ("reconnects", bots.reconnects),
        ("bots never connected", bots.never_connected),
        ("bots away at the end", bots.away),
    ];
    pairs("The ledger", &rows.map(|(name, count)| (name, grouped(count))))
}

fn stages(server: &ServerReport) -> Markup {
    html! {
        section {
            h2 { "The server's stages" }
            p { (server.judgement) "." }
            table {
                thead {
                    tr {
                        th { "" }
                        @for head in ["utilisation", "work a second", "wait p50", "wait p99", "backlog"] {
                            th.number { (head) }
                        }
                    }
                }
                tbody {
                    @for stage in &server.whole.stages {
                        tr {
                            th scope="row" { (stage.stage) }
                            td.number { (format!("{:.0} %", stage.utilisation * 100.0)) }
                            td.number { (format!("{:.0}", stage.per_second)) }
                            @for wait in [stage.wait_p50_ms, stage.wait_p99_ms] {
                                td.number { (wait.map_or("–".to_owned(), ms_text)) }
                            }
                            td.number { (format!("{:.0}", stage.backlog)) }
                        }
                    }
                }
            }
            p.note {
                "Read at " (server.url) " once a second."
                @if let Some(cores) = server.whole.cores { " The server used " (format!("{cores:.2}")) " cores." }
                @if let Some(bytes) = server.whole.resident_bytes { " Its memory was " (mib(bytes)) " at the end." }
            }
        }
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

fn swarm(report: &Report) -> Markup {
    let swarm = &report.swarm;
    let per_bot = swarm.resident_bytes.checked_div(report.bots.asked).unwrap_or_default();
    let rows = [
        ("processor time", format!("{:.2} s", swarm.user_seconds + swarm.system_seconds)),
        ("for each delivery", report.micros_per_delivery_text()),
        ("memory", mib(swarm.resident_bytes)),
        ("for each bot", format!("{} bytes", grouped(per_bot))),
        ("open files", grouped(swarm.open_files)),
    ];
    pairs("Resources of the swarm itself", &rows)
}

fn errors(report: &Report) -> Markup {
    let rows: Vec<(&str, String)> =
        report.errors.iter().map(|(kind, count)| (kind.as_str(), grouped(*count))).collect();
    html! {
        (pairs("Errors", &rows))
        @for (kind, advice) in report.explained_errors() { p { code { (kind) } ": " (advice) } }
    }
}

fn config(config: &BTreeMap<String, String>) -> Markup {
    html! {
        section {
            h2 { "Configuration" }
            pre { @for (variable, value) in config { (variable) "=" (value) "\n" } }
        }
    }
}

fn seconds(report: &Report) -> Markup {
    let percentile = |value: Option<f64>| value.map_or("–".to_owned(), ms_text);
    html! {
        @if !report.series.is_empty() {
            section {
                h2 { "Second by second" }
                details #seconds {
                    summary { (grouped(report.series.len() as u64)) " rows" }
                    table {
                        thead {
                            tr {
                                @for head in ["from", "connected", "sent", "acknowledged", "deliveries", "p50", "p99", "longest"] {
                                    th.number { (head) }
                                }
                            }
                        }
                        tbody {
                            @for second in &report.series {
                                @let delivery = second.latencies.get("delivery");
                                tr {
                                    td.number { (format!("{:.1} s", second.start)) }
                                    td.number { (grouped(second.bots.get("connected").copied().unwrap_or_default())) }
                                    @for count in [second.sent, second.acknowledged, second.deliveries] {
                                        td.number { (grouped(count)) }
                                    }
                                    td.number { (percentile(delivery.map(|p| p.p50))) }
                                    td.number { (percentile(delivery.map(|p| p.p99))) }
                                    td.number { (percentile(delivery.map(|p| p.max))) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
