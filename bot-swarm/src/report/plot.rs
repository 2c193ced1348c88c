//! Draws lines over two axes, as SVG.
//!
//! The pictures contain no colours of the page: each ink is drawn in a unique stand-in colour, which then becomes a
//! variable of the page's style sheet, so that one picture serves a light and a dark page.

use plotters::coord::ranged1d::{KeyPointHint, Ranged};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// The number of inks for lines.
pub const LINES: u8 = 11;

/// The ink of a line or text: a variable of the style sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// The numbers on the axes.
    Text,
    /// The grid.
    Grid,
    /// A line of the picture, by its index in the palette, below [`LINES`].
    Line(u8),
}

impl Ink {
    /// The variable's name.
    pub fn variable(self) -> String {
        match self {
            Self::Text => "--ink-text".to_owned(),
            Self::Grid => "--ink-grid".to_owned(),
            Self::Line(place) => format!("--ink-{place}"),
        }
    }

    /// The class of a mark in its colour, for a legend.
    pub fn class(self) -> String {
        self.variable().trim_start_matches('-').to_owned()
    }

    /// The unique colour that stands for it in the drawing.
    fn stand_in(self) -> RGBColor {
        match self {
            Self::Text => RGBColor(254, 1, 100),
            Self::Grid => RGBColor(254, 1, 101),
            Self::Line(place) => RGBColor(254, 1, place),
        }
    }
}

/// All inks.
fn inks() -> impl Iterator<Item = Ink> {
    [Ink::Text, Ink::Grid].into_iter().chain((0..LINES).map(Ink::Line))
}

/// The scale of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Linear, from zero.
    Linear,
    /// Logarithmic; values that are not above zero are omitted.
    Logarithmic,
    /// Shares of one, by their number of nines: 0.9, 0.99, 0.999.
    Nines,
}

/// One axis.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    /// The scale.
    pub scale: Scale,
    /// The text of a value.
    pub format: fn(f64) -> String,
    /// The axis reaches at least to this value.
    pub least_end: f64,
}

/// One line of a picture.
#[derive(Debug, Clone)]
pub struct Line {
    /// The label.
    pub label: String,
    /// The ink.
    pub ink: Ink,
    /// Whether the area under it is shaded.
    pub is_filled: bool,
    /// Its points; without a value, the line is interrupted.
    pub points: Vec<(f64, Option<f64>)>,
}

/// A picture: lines over two axes.
#[derive(Debug, Clone)]
pub struct Plot {
    /// The description, for readers who cannot see it.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The lines; the first is on top.
    pub lines: Vec<Line>,
    /// Marks with their `x` and name, for example the start of a phase.
    pub marks: Vec<(f64, String)>,
}

/// The picture's size, in pixels; the page may show it smaller.
const SIZE: (u32, u32) = (920, 250);

/// The factor by which pictures are drawn larger, because the drawing uses whole pixels.
const FINENESS: u32 = 4;

/// The position of the median on an axis of nines.
const HALF: f64 = std::f64::consts::LOG10_2;

/// The approximate number of ticks on an axis.
const TICKS: f64 = 5.0;

impl Plot {
    /// Whether there is nothing to draw.
    pub fn is_empty(&self) -> bool {
        self.points().next().is_none()
    }

    /// Draws the picture: an `svg` element whose colours are variables of the style sheet.
    pub fn draw(&self) -> String {
        let mut svg = String::new();
        if let Err(error) = self.draw_into(&mut svg) {
            // Only a picture without extent fails, and the tables contain its values too.
            log::warn!("the picture {:?} cannot be drawn: {error}", self.title);
            return String::new();
        }
        for ink in inks() {
            let RGBColor(r, g, b) = ink.stand_in();
            svg = svg.replace(&format!("#{r:02X}{g:02X}{b:02X}"), &format!("var({})", ink.variable()));
        }
        // The page determines the size.
        let (width, height) = (SIZE.0 * FINENESS, SIZE.1 * FINENESS);
        let title = self.title.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
        svg.replacen(
            &format!(r#"<svg width="{width}" height="{height}""#),
            &format!(r#"<svg role="img" aria-label="{title}""#),
            1,
        )
    }

    fn points(&self) -> impl Iterator<Item = (f64, f64)> + Clone + '_ {
        let points = self.lines.iter().flat_map(|line| &line.points);
        points.filter_map(|(x, y)| Some((self.x.scale.place(*x)?, self.y.scale.place((*y)?)?)))
    }

    fn draw_into(&self, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let x = Ruler::of(self.x, self.points().map(|(x, _)| x));
        let y = Ruler::of(self.y, self.points().map(|(_, y)| y));
        let root = SVGBackend::with_string(svg, (SIZE.0 * FINENESS, SIZE.1 * FINENESS)).into_drawing_area();
        let fine = |pixels: u32| pixels * FINENESS;
        let (x_format, y_format) = (self.x, self.y);
        let floor = y.range.0;
        let top = y.range.1;
        let mut chart = ChartBuilder::on(&root)
            .margin_top(fine(if self.marks.is_empty() { 10 } else { 24 }))
            .margin_right(fine(34))
            .x_label_area_size(fine(26))
            .y_label_area_size(fine(64))
            .build_cartesian_2d(x, y)?;
        let text = |size: u32| ("system-ui, sans-serif", fine(size)).into_font().color(&Ink::Text.stand_in());
        chart
            .configure_mesh()
            .disable_x_mesh()
            .axis_style(Ink::Grid.stand_in().stroke_width(FINENESS))
            .bold_line_style(Ink::Grid.stand_in().stroke_width(FINENESS))
            .light_line_style(TRANSPARENT)
            .set_all_tick_mark_size(fine(4))
            .x_label_style(text(14))
            .y_label_style(text(14))
            .x_label_formatter(&|place| (x_format.format)(x_format.scale.value(*place)))
            .y_label_formatter(&|place| (y_format.format)(y_format.scale.value(*place)))
            .draw()?;
        for (at, name) in &self.marks {
            let Some(place) = self.x.scale.place(*at) else { continue };
            let rule = PathElement::new([(place, floor), (place, top)], Ink::Grid.stand_in().stroke_width(FINENESS));
            chart.draw_series([rule])?;
            let style = text(13).pos(Pos::new(HPos::Left, VPos::Bottom));
            let raised = EmptyElement::at((place, top)) + Text::new(name.clone(), (0, 0), style);
            chart.plotting_area().draw(&raised)?;
        }
        for line in self.lines.iter().rev() {
            let colour = line.ink.stand_in();
            for part in self.parts_of(line) {
                if let [alone] = part.as_slice() {
                    chart.draw_series([Circle::new(*alone, fine(2), colour.filled())])?;
                    continue;
                }
                if line.is_filled {
                    chart.draw_series(AreaSeries::new(part.iter().copied(), floor, colour.mix(0.15)))?;
                }
                chart.draw_series(LineSeries::new(part, colour.stroke_width(fine(2))))?;
            }
        }
        root.present()?;
        Ok(())
    }

    /// The uninterrupted parts of a line, in axis coordinates.
    fn parts_of(&self, line: &Line) -> Vec<Vec<(f64, f64)>> {
        let mut parts = vec![Vec::new()];
        for (x, y) in &line.points {
            let place = y.and_then(|y| Some((self.x.scale.place(*x)?, self.y.scale.place(y)?)));
            match (place, parts.last_mut()) {
                (Some(place), Some(part)) => part.push(place),
                _ => parts.push(Vec::new()),
            }
        }
        parts.retain(|part| !part.is_empty());
        parts
    }
}

impl Scale {
    /// The axis coordinate of a value; `None` if it has none.
    fn place(self, value: f64) -> Option<f64> {
        let place = match self {
            Self::Linear => value,
            Self::Logarithmic => value.log10(),
            Self::Nines => -(1.0 - value).log10(),
        };
        place.is_finite().then_some(place)
    }

    /// The value at an axis coordinate.
    fn value(self, place: f64) -> f64 {
        match self {
            Self::Linear => place,
            Self::Logarithmic => 10_f64.powf(place),
            Self::Nines => 1.0 - 10_f64.powf(-place),
        }
    }

    /// The axis coordinates of labelled values between two coordinates.
    fn ticks(self, (from, until): (f64, f64)) -> Vec<f64> {
        match self {
            Self::Linear => {
                let rough = (until - from) / TICKS;
                let magnitude = 10_f64.powf(rough.log10().floor());
                let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * magnitude).into_iter().find(|step| *step >= rough);
                let step = step.unwrap_or(rough);
                multiples(from, until, step)
            }
            Self::Logarithmic if until - from <= 3.0 => {
                let decades = multiples(from.floor(), until, 1.0);
                let within = decades.iter().flat_map(|decade| [1_f64, 2.0, 5.0].map(|m| decade + m.log10()));
                within.filter(|place| *place >= from - 1e-9 && *place <= until + 1e-9).collect()
            }
            Self::Logarithmic => multiples(from, until, ((until - from) / TICKS).ceil()),
            Self::Nines => {
                let half = (from <= HALF).then_some(HALF);
                half.into_iter().chain(multiples(from.max(1.0), until, 1.0)).collect()
            }
        }
    }
}

fn multiples(from: f64, until: f64, step: f64) -> Vec<f64> {
    // Adding zero turns a negative zero into zero.
    let first = (from / step - 1e-9).ceil() + 0.0;
    std::iter::successors(Some(first), |count| Some(count + 1.0))
        .map(|count| count * step)
        .take_while(|place| *place <= until + step * 1e-9)
        .take(100)
        .collect()
}

/// An axis with its range, for the drawing crate.
#[derive(Debug)]
struct Ruler {
    range: (f64, f64),
    ticks: Vec<f64>,
}

impl Ruler {
    fn of(axis: Axis, places: impl Iterator<Item = f64> + Clone) -> Self {
        let least_end = axis.scale.place(axis.least_end).unwrap_or(f64::NEG_INFINITY);
        let until = places.clone().fold(least_end, f64::max);
        let from = places.fold(until, f64::min);
        let range = match axis.scale {
            Scale::Linear => (0.0, if until > 0.0 { until } else { 1.0 }),
            Scale::Logarithmic => {
                let from = from.min(until - 1.0);
                (from - 0.03, until + 0.1)
            }
            Scale::Nines => (from.clamp(0.0, HALF), until.max(1.0)),
        };
        Self { ticks: axis.scale.ticks(range), range }
    }
}

impl Ranged for Ruler {
    type FormatOption = plotters::coord::ranged1d::NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let (from, until) = self.range;
        let share = (value - from) / (until - from);
        let (start, end) = (f64::from(limit.0), f64::from(limit.1));
        #[expect(clippy::cast_possible_truncation, reason = "pixels of a picture")]
        let pixel = (start + (end - start) * share).round() as i32;
        pixel
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.range.0..self.range.1
    }
}

impl plotters::coord::ranged1d::ValueFormatter<f64> for Ruler {}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(scale: Scale) -> Axis {
        Axis { scale, format: |value| format!("{value:.0}"), least_end: 0.0 }
    }

    fn plot(points: Vec<(f64, Option<f64>)>) -> Plot {
        let line = Line { label: "line".into(), ink: Ink::Line(3), is_filled: true, points };
        Plot {
            title: "a \"picture\" of <things>".into(),
            x: axis(Scale::Linear),
            y: axis(Scale::Logarithmic),
            lines: vec![line],
            marks: vec![(1.0, "hold & wait".into())],
        }
    }

    #[test]
    fn a_picture_names_its_colours_as_variables_alone() {
        let svg = plot(vec![(0.0, Some(1.0)), (1.0, Some(10.0)), (2.0, Some(5.0))]).draw();
        assert!(svg.starts_with(r#"<svg role="img" aria-label="a &quot;picture&quot; of &lt;things>" viewBox="0 0 "#));
        assert!(svg.contains("var(--ink-3)") && svg.contains("var(--ink-grid)") && svg.contains("var(--ink-text)"));
        assert!(!svg.contains('#'), "{svg}");
        assert!(svg.contains("hold &amp; wait"));
        assert!(svg.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn a_line_is_interrupted_where_it_has_no_value() {
        let svg =
            plot(vec![(0.0, Some(1.0)), (1.0, Some(2.0)), (2.0, None), (3.0, Some(3.0)), (4.0, Some(0.0))]).draw();
        assert_eq!(svg.matches(r#"stroke="var(--ink-3)""#).count(), 1, "{svg}");
        assert_eq!(svg.matches("<circle").count(), 1, "a point alone is a dot");
    }

    #[test]
    fn nothing_to_see_is_said_and_can_still_be_drawn() {
        for points in [vec![], vec![(0.0, None)], vec![(0.0, Some(0.0))], vec![(0.0, Some(f64::NAN))]] {
            assert!(plot(points.clone()).is_empty());
            assert!(plot(points).draw().contains("</svg>"));
        }
    }

    #[test]
    fn ticks_are_round_numbers_within_the_axis() {
        let values = |scale: Scale, range| -> Vec<String> {
            scale.ticks(range).into_iter().map(|place| format!("{:.4}", scale.value(place))).collect()
        };
        assert_eq!(values(Scale::Linear, (0.0, 47.0)), ["0.0000", "10.0000", "20.0000", "30.0000", "40.0000"]);
        assert_eq!(values(Scale::Linear, (0.0, 1.0)), ["0.0000", "0.2000", "0.4000", "0.6000", "0.8000", "1.0000"]);
        assert_eq!(values(Scale::Logarithmic, (0.2, 1.1)), ["2.0000", "5.0000", "10.0000"]);
        assert_eq!(values(Scale::Logarithmic, (0.0, 6.0)), ["1.0000", "100.0000", "10000.0000", "1000000.0000"]);
        assert_eq!(values(Scale::Nines, (0.0, 3.2)), ["0.5000", "0.9000", "0.9900", "0.9990"]);
    }
}
