//! The page of a report, and of a run that is under way.

use super::*;
use crate::report::example;

#[test]
fn the_verdict_is_on_top() {
    let page = page(&example::report());
    let body = page.split("<main>").nth(1).unwrap();
    assert!(body.starts_with(r#"<header class="kept"><h1>KEPT: p99&lt;250ms, lost=0</h1>"#));
}

#[test]
fn the_page_needs_nothing_from_elsewhere_and_runs_nothing() {
    let page = page(&example::report());
    for outside in ["<script", "<link", "<img", "<iframe", "@import", "url(", " src=", " href=", "onload"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert_eq!(page.matches("<svg").count(), 8);
}

#[test]
fn the_live_page_has_the_parts_of_the_report_and_no_verdict() {
    let report = example::report();
    let headings = |page: &str| -> Vec<String> {
        let parts = page.split("<h2>").skip(1);
        parts.map(|part| part.split("</h2>").next().unwrap_or_default().to_owned()).collect()
    };
    let live = live(&report);
    let mut expected = headings(&page(&report));
    expected.retain(|heading| heading != "Expectations");
    assert_eq!(headings(&live), expected);
    assert!(!live.contains(&report.verdict.line) && live.contains("<h1>RUNNING: "));
    for inline in ["<style", " style=", "<script>"] {
        assert!(!live.contains(inline), "its policy forbids {inline}");
    }
}

#[test]
fn nothing_in_a_report_becomes_markup() {
    let mut report = example::report();
    let evil = "</style><script>alert(1)</script>".to_owned();
    report.verdict.line.clone_from(&evil);
    report.verdict.doubts.push(evil.clone());
    report.config.insert("BOT_SERVER_URL".into(), evil.clone());
    report.errors.insert(evil.clone(), 1);
    report.phases[0].name.clone_from(&evil);
    report.server.as_mut().unwrap().url = evil;
    assert!(!page(&report).contains("<script"));
}

#[test]
fn the_time_is_written_in_utc() {
    assert_eq!(utc(1_795_342_200_123), "2026-11-22 10:10:00 UTC");
}

#[test]
fn every_ink_has_a_colour_for_light_and_for_dark() {
    use super::super::plot::{Ink, LINES};
    for ink in [Ink::Text, Ink::Grid].into_iter().chain((0..LINES).map(Ink::Line)) {
        assert_eq!(STYLE.matches(&format!("{}:", ink.variable())).count(), 2, "{}", ink.variable());
        let is_line = matches!(ink, Ink::Line(_));
        let rule = format!(".{} {{ background: var({}); }}", ink.class(), ink.variable());
        assert_eq!(STYLE.contains(&rule), is_line, "{rule}");
    }
}
