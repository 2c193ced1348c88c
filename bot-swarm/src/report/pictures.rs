//! The pictures of a report: the figures that are drawn, and their form.

use super::document::{Percentiles, Report, Second};
use super::plot::{Axis, Ink, Line, Plot, Scale};
use crate::server_stages::StageFigures;

/// A picture with its explanation.
#[derive(Debug)]
pub struct Picture {
    /// Its heading.
    pub title: &'static str,
    /// The explanation, in a sentence or two.
    pub caption: &'static str,
    /// The picture.
    pub plot: Plot,
}

/// The inks of percentiles, from the median to the maximum; the style sheet has them from pale to strong.
const PERCENTILE_INKS: [(Ink, Percentile); 4] = [
    (Ink::Line(0), ("p50", |p| p.p50)),
    (Ink::Line(1), ("p90", |p| p.p90)),
    (Ink::Line(2), ("p99", |p| p.p99)),
    (Ink::Line(3), ("longest", |p| p.max)),
];

/// A percentile's name, and the function that reads it.
type Percentile = (&'static str, fn(&Percentiles) -> f64);

/// The first ink for lines of different kinds.
const FIRST_OF_KINDS: u8 = 4;

/// The latencies that users notice, in the order in which they occur; the swarm's own delays are drawn separately.
const KINDS: [(&str, &str); 6] = [
    ("delivery", "delivery"),
    ("remote", "from other hosts"),
    ("completion", "last receiver"),
    ("ack", "ack"),
    ("connect", "connect"),
    ("resume", "resume"),
];

/// The least share of the width for a phase's name.
const MARK_SHARE: f64 = 0.12;

/// The shortest second that is drawn: rates of shorter ones mean little.
const DRAWN_MIN_SECONDS: f64 = 0.25;

/// The seconds that are drawn.
fn drawn(report: &Report) -> impl Iterator<Item = &Second> {
    report.series.iter().filter(|second| second.seconds >= DRAWN_MIN_SECONDS)
}

/// All pictures for which the report has figures.
pub fn pictures(report: &Report) -> Vec<Picture> {
    let mut pictures = vec![
        Picture {
            title: "Delivery latency over time",
            caption: "From the planned time of sending to every receiver, in the second in which it arrived.",
            plot: over_time(report, "delivery latency", MS, percentile_lines(report, "delivery")),
        },
        Picture {
            title: "Throughput",
            caption: "Deliveries that the bots received, per second.",
            plot: over_time(
                report,
                "deliveries per second",
                COUNTS,
                vec![Line {
                    is_filled: true,
                    ..line("deliveries", FIRST_OF_KINDS, report, |second| second.per_second(second.deliveries))
                }],
            ),
        },
        Picture {
            title: "Sent against received",
            caption: "Messages that the bots sent, that the server accepted, and that have no answer. When \
                      the server falls behind, the lines diverge.",
            plot: over_time(
                report,
                "messages sent and acknowledged per second",
                COUNTS,
                vec![
                    line("acknowledged", FIRST_OF_KINDS, report, |second| second.per_second(second.acknowledged)),
                    line("sent", FIRST_OF_KINDS + 1, report, |second| second.per_second(second.sent)),
                    line("without an answer yet", FIRST_OF_KINDS + 3, report, |second| second.unanswered as f64),
                ],
            ),
        },
        Picture {
            title: "Bots",
            caption: "Bots that were connected, and bots that had lost their connection.",
            plot: over_time(report, "bots by state", COUNTS, bot_lines(report)),
        },
        Picture {
            title: "Latencies by percentile",
            caption: "The latency that each share of measurements does not exceed, from 50 % to the measured nines.",
            plot: percentile_curve(report),
        },
        Picture {
            title: "Delay of the swarm itself",
            caption: "The delay of sending behind its plan. It is part of every latency above, so it should be small.",
            plot: over_time(report, "lateness of sending", MS, percentile_lines(report, "lateness")),
        },
    ];
    pictures.extend(server_pictures(report).into_iter().flatten());
    pictures.retain(|picture| !picture.plot.is_empty());
    pictures
}

const MS: Axis = Axis { scale: Scale::Logarithmic, format: ms, least_end: 1.0 };
const COUNTS: Axis = Axis { scale: Scale::Linear, format: count, least_end: 1.0 };
const SHARES: Axis = Axis { scale: Scale::Linear, format: percent, least_end: 1.0 };
const NINES: Axis = Axis { scale: Scale::Nines, format: share, least_end: 0.9 };

fn over_time(report: &Report, title: &str, y: Axis, lines: Vec<Line>) -> Plot {
    let end = drawn(report).last().map_or(report.seconds, Second::end);
    let x = Axis { scale: Scale::Linear, format: time, least_end: end };
    Plot { title: format!("{title}, over time"), x, y, lines, marks: phase_marks(report, end) }
}

/// The starts of phases; overlapping names are left out.
fn phase_marks(report: &Report, end: f64) -> Vec<(f64, String)> {
    let mut marks: Vec<(f64, String)> = Vec::new();
    for phase in &report.phases {
        let has_room = marks.last().is_none_or(|(last, _)| phase.start - last > end * MARK_SHARE);
        if has_room && end - phase.start > end * MARK_SHARE {
            marks.push((phase.start, phase.name.clone()));
        }
    }
    // A single phase needs no mark.
    if marks.len() > 1 { marks } else { Vec::new() }
}

fn line(label: &str, ink: u8, report: &Report, value: impl Fn(&Second) -> f64) -> Line {
    let points = drawn(report).map(|second| (second.end(), Some(value(second)))).collect();
    Line { label: label.to_owned(), ink: Ink::Line(ink), is_filled: false, points }
}

fn percentile_lines(report: &Report, kind: &str) -> Vec<Line> {
    let of = |(ink, (label, value)): (Ink, Percentile)| {
        let point = |second: &Second| (second.end(), second.latencies.get(kind).map(value));
        let points = drawn(report).map(point).collect();
        Line { label: label.to_owned(), ink, is_filled: false, points }
    };
    PERCENTILE_INKS.into_iter().map(of).collect()
}

fn bot_lines(report: &Report) -> Vec<Line> {
    let in_state = |state: &'static str| move |second: &Second| second.bots.get(state).copied().unwrap_or(0) as f64;
    let connected = line("connected", FIRST_OF_KINDS + 2, report, in_state("connected"));
    let mut lines = vec![Line { is_filled: true, ..connected }];
    for (ink, state) in [(1, "away"), (5, "resting")] {
        let line = line(state, FIRST_OF_KINDS + ink, report, in_state(state));
        if line.points.iter().any(|(_, count)| count.is_some_and(|count| count > 0.0)) {
            lines.push(line);
        }
    }
    lines
}

fn percentile_curve(report: &Report) -> Plot {
    let lines = (FIRST_OF_KINDS..).zip(KINDS).filter_map(|(ink, (kind, label))| {
        let curve = &report.latencies.get(kind)?.curve;
        let points = curve.iter().filter(|point| point.share >= 0.5).map(|point| (point.share, Some(point.ms)));
        let points = points.collect();
        Some(Line { label: label.to_owned(), ink: Ink::Line(ink), is_filled: false, points })
    });
    let title = "latency by percentile".to_owned();
    Plot { title, x: NINES, y: MS, lines: lines.collect(), marks: Vec::new() }
}

fn server_pictures(report: &Report) -> Option<[Picture; 2]> {
    let server = report.server.as_ref()?;
    let lines = |value: fn(&StageFigures) -> Option<f64>| -> Vec<Line> {
        let stages = (FIRST_OF_KINDS..).zip(&server.whole.stages);
        let of = |(ink, stage): (u8, &StageFigures)| {
            let points = server.series.iter().map(|second| {
                let found = second.figures.stages.iter().find(|known| known.stage == stage.stage);
                (second.at, found.and_then(value))
            });
            Line { label: stage.stage.clone(), ink: Ink::Line(ink), is_filled: false, points: points.collect() }
        };
        let lines = stages.map(of);
        lines.filter(|line| line.points.iter().any(|(_, value)| value.is_some_and(|value| value > 0.0))).collect()
    };
    Some([
        Picture {
            title: "The server's stages: utilisation",
            caption: "Share of the time in which a stage's busiest thread worked. The first bottleneck is the stage \
                      near 100 % with a growing wait.",
            plot: over_time(report, "utilisation of the server's stages", SHARES, lines(|s| Some(s.utilisation))),
        },
        Picture {
            title: "The server's stages: wait",
            caption: "99th percentile of the time that work waited before a stage began it.",
            plot: over_time(report, "wait in the server's stages", MS, lines(|stage| stage.wait_p99_ms)),
        },
    ])
}

fn ms(value: f64) -> String {
    match value {
        v if v < 0.995 => format!("{} µs", rounded(v * 1e3)),
        v if v < 999.5 => format!("{} ms", rounded(v)),
        v => format!("{} s", rounded(v / 1e3)),
    }
}

fn count(value: f64) -> String {
    match value {
        v if v < 999.5 => rounded(v),
        v if v < 999_500.0 => format!("{} k", rounded(v / 1e3)),
        v => format!("{} M", rounded(v / 1e6)),
    }
}

fn percent(value: f64) -> String {
    format!("{} %", rounded(value * 100.0))
}

/// A share with all its nines.
fn share(value: f64) -> String {
    let nines = -(1.0 - value).log10();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few digits")]
    let digits = (nines - 2.0 + 1e-6).max(0.0).floor() as usize;
    format!("{:.digits$} %", value * 100.0)
}

fn time(seconds: f64) -> String {
    let tenths = (seconds * 10.0).round() / 10.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a run")]
    let whole = tenths as u64;
    match whole {
        0..120 if tenths.fract() == 0.0 => format!("{whole} s"),
        0..120 => format!("{tenths:.1} s"),
        120..7_200 => format!("{}:{:02} min", whole / 60, whole % 60),
        _ => format!("{}:{:02} h", whole / 3_600, whole / 60 % 60),
    }
}

/// A number without needless digits.
fn rounded(value: f64) -> String {
    let digits = if value < 9.95 { 2 } else { usize::from(value < 99.5) };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn every_picture_of_a_whole_report_is_drawn() {
        let pictures = pictures(&example::report());
        let titles: Vec<&str> = pictures.iter().map(|picture| picture.title).collect();
        assert_eq!(titles.len(), 8, "{titles:?}");
        for picture in &pictures {
            assert!(picture.plot.draw().contains("<polyline"), "{}", picture.title);
        }
    }

    #[test]
    fn a_moment_is_not_drawn_as_a_second() {
        let mut report = example::report();
        let whole = pictures(&report)[1].plot.draw();
        let last = report.series.last().unwrap();
        report.series.push(Second { start: last.end(), seconds: 0.01, ..last.clone() });
        assert_eq!(pictures(&report)[1].plot.draw(), whole);
    }

    #[test]
    fn what_was_not_measured_is_not_drawn() {
        let mut report = example::report();
        report.server = None;
        report.series.clear();
        let titles: Vec<&str> = pictures(&report).iter().map(|picture| picture.title).collect();
        assert_eq!(titles, ["Latencies by percentile"]);
    }

    #[test]
    fn axes_are_written_in_units_that_suit_them() {
        assert_eq!([0.05, 0.5, 1.0, 250.0, 2_000.0].map(ms), ["50 µs", "500 µs", "1 ms", "250 ms", "2 s"]);
        assert_eq!([0.0, 20.0, 1_500.0, 2e6].map(count), ["0", "20", "1.5 k", "2 M"]);
        assert_eq!([0.5, 0.9, 0.99, 0.999, 0.9999].map(share), ["50 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
        assert_eq!([0.0, 2.5, 90.0, 150.0, 7_260.0].map(time), ["0 s", "2.5 s", "90 s", "2:30 min", "2:01 h"]);
    }
}
