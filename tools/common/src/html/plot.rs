//! This module draws a plot as SVG: two axes, grid, labels, and what is drawn between them.
//!
//! Invariants: colours come from classes of the style sheet, so that a plot is right in light and
//! dark mode. All coordinates are finite.

use std::fmt::Write;

pub const WIDTH: f64 = 580.0;
pub const HEIGHT: f64 = 292.0;
// The margins leave room for labels in the size they have on a narrow screen, where the style sheet
// makes them larger.
const LEFT: f64 = 78.0;
const RIGHT: f64 = 36.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 48.0;
/// This is the width of a letter on a narrow screen; `LABEL_GAP` is the space between two labels.
const LETTER_NARROW: f64 = 10.5;
const LABEL_GAP: f64 = 6.0;
const BAR_GAP: f64 = 1.0;
const BAR_WIDTH_MIN: f64 = 3.0;

/// Says how values become positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Linear,
    Log,
    /// This is logarithmic, with powers of two for ticks.
    Binary,
    /// Counts months from January of the year 0.
    Months,
    /// This is in per cent; each further nine takes as much space as the one before.
    Nines,
}

#[derive(Clone, Copy, Debug)]
pub struct Axis {
    pub kind: Kind,
    pub from: f64,
    pub to: f64,
    pub title: &'static str,
    /// Formats the text of a tick.
    pub label: fn(f64) -> String,
}

impl Axis {
    /// Creates an axis from 0 to a little over the largest value.
    pub fn from_zero(largest: f64, title: &'static str, label: fn(f64) -> String) -> Self {
        let to = if largest.is_finite() && largest > 0.0 { largest * 1.05 } else { 1.0 };
        Self { kind: Kind::Linear, from: 0.0, to, title, label }
    }

    /// Creates an axis between half powers of ten: from the one below the smallest value to the one
    /// above the largest.
    pub fn log(smallest: f64, largest: f64, title: &'static str, label: fn(f64) -> String) -> Self {
        let smallest = smallest.max(1.0);
        let largest = largest.max(smallest * 2.0);
        let below = 10_f64.powf((smallest.log10() * 2.0).floor() / 2.0);
        let above = 10_f64.powf((largest.log10() * 2.0).ceil() / 2.0);
        Self { kind: Kind::Log, from: below, to: above, title, label }
    }

    /// Returns the position of a value as a share of the axis, from 0 to 1.
    fn share(&self, value: f64) -> f64 {
        let scaled = |value: f64| match self.kind {
            Kind::Linear | Kind::Months => value,
            Kind::Log | Kind::Binary => value.max(f64::MIN_POSITIVE).log10(),
            Kind::Nines => -(1.0 - (value / 100.0).clamp(0.0, 0.999_999)).log10(),
        };
        let (from, to) = (scaled(self.from), scaled(self.to));
        let share = (scaled(value) - from) / (to - from);
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }

    fn ticks(&self) -> Vec<f64> {
        let candidates: Vec<f64> = match self.kind {
            Kind::Linear => {
                let step = step(self.to - self.from);
                (0..=12)
                    .map(|index| (self.from / step).ceil().mul_add(step, f64::from(index) * step))
                    .collect()
            }
            Kind::Log => log_ticks(self.from, self.to),
            Kind::Binary => binary_ticks(self.from, self.to),
            Kind::Months => month_ticks(self.from, self.to),
            Kind::Nines => vec![0.0, 50.0, 90.0, 99.0, 99.9, 99.99],
        };
        candidates.into_iter().filter(|tick| (self.from..=self.to * 1.000_001).contains(tick)).collect()
    }
}

/// Returns 1, 2 or 5 times a power of ten, so that there are four to eight ticks.
fn step(range: f64) -> f64 {
    let rough = (range / 8.0).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough);
    factor.unwrap_or(10.0) * power
}

/// Returns powers of ten, and values between them where these are few.
fn log_ticks(from: f64, to: f64) -> Vec<f64> {
    let decades = to.log10() - from.log10();
    let between: &[f64] = if decades <= 2.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let first = from.log10().floor() as i32;
    let last = to.log10().ceil() as i32;
    let tick = |power: i32| between.iter().map(move |factor| factor * 10_f64.powi(power));
    (first..=last.min(first + 20)).flat_map(tick).collect()
}

/// Returns at most nine powers of two, the same factor apart.
fn binary_ticks(from: f64, to: f64) -> Vec<f64> {
    let first = from.max(1.0).log2().floor() as i32;
    let last = to.max(1.0).log2().ceil() as i32;
    let step = [1, 2, 5, 10].into_iter().find(|step| (last - first) / step <= 8).unwrap_or(20);
    let first = first.div_euclid(step) * step;
    (0..=10).map(|index| 2_f64.powi(first + index * step)).collect()
}

/// Returns at most nine months at intervals that people use: every third month begins with January.
fn month_ticks(from: f64, to: f64) -> Vec<f64> {
    let steps = [1.0, 2.0, 3.0, 6.0, 12.0, 24.0, 60.0, 120.0];
    let step = steps.into_iter().find(|step| (to - from) / step <= 8.0).unwrap_or(600.0);
    (0..=9).map(|index| (from / step).ceil().mul_add(step, f64::from(index) * step)).collect()
}

/// Turns values into positions.
#[derive(Clone, Copy, Debug)]
pub struct Plot {
    pub x: Axis,
    pub y: Axis,
}

impl Plot {
    /// Returns the horizontal position of a value.
    pub fn place_x(&self, value: f64) -> f64 {
        self.x.share(value).mul_add(WIDTH - LEFT - RIGHT, LEFT)
    }

    /// Returns the vertical position of a value.
    pub fn place_y(&self, value: f64) -> f64 {
        (1.0 - self.y.share(value)).mul_add(HEIGHT - TOP - BOTTOM, TOP)
    }

    /// Returns the whole picture around `body`, which is drawn over the grid.
    pub fn svg(&self, name: &str, body: &str) -> String {
        let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{name}\">\n");
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in self.y.ticks() {
            let (y, label) = (self.place_y(tick), (self.y.label)(tick));
            let _ = write!(svg, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>");
            let text_y = y + 4.0;
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{text_y:.1}\" text-anchor=\"end\">{label}</text>",
                LEFT - 7.0
            );
        }
        let mut free_from = f64::NEG_INFINITY;
        for tick in self.x.ticks() {
            let (x, label) = (self.place_x(tick), (self.x.label)(tick));
            let _ = write!(svg, "<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/>");
            let text_y = bottom + 19.0;
            let half = label.chars().count() as f64 * LETTER_NARROW / 2.0;
            let fits_narrow = x - half >= free_from;
            if fits_narrow {
                free_from = x + half + LABEL_GAP;
            }
            let class = if fits_narrow { "" } else { " class=\"roomy\"" };
            let _ = writeln!(
                svg,
                "<text{class} x=\"{x:.1}\" y=\"{text_y:.1}\" text-anchor=\"middle\">{label}</text>"
            );
        }
        let middle_x = f64::midpoint(LEFT, right);
        svg += body;
        let _ = writeln!(svg, "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>");
        let title_y = HEIGHT - 7.0;
        let _ = writeln!(
            svg,
            "<text x=\"{middle_x}\" y=\"{title_y}\" text-anchor=\"middle\">{}</text>",
            self.x.title
        );
        let _ = writeln!(svg, "<text x=\"2\" y=\"16\">{}</text>", self.y.title);
        svg + "</svg>\n"
    }

    /// Returns a line through the points, interrupted where a value is `None`.
    pub fn curve(&self, class: &str, points: &[(f64, Option<f64>)]) -> String {
        let mut path = String::new();
        let mut dots = String::new();
        for run in points.split(|(_, y)| y.is_none()) {
            for (index, (x, y)) in run.iter().enumerate() {
                let Some(y) = y else { continue };
                let command = if index == 0 { 'M' } else { 'L' };
                let _ = write!(path, "{command}{:.1} {:.1}", self.place_x(*x), self.place_y(*y));
            }
            if let [(x, Some(y))] = run {
                let (x, y) = (self.place_x(*x), self.place_y(*y));
                let _ = writeln!(dots, "<path class=\"dot {class}\" d=\"M{x:.1} {y:.1}h0.01\"/>");
            }
        }
        format!("<path class=\"curve {class}\" d=\"{path}\"/>\n{dots}")
    }
}

/// This part draws areas and bars.
impl Plot {
    /// Returns the area between two lines, given as position, lower and upper end.
    pub fn area(&self, class: &str, points: &[(f64, f64, f64)]) -> String {
        let mut path = String::new();
        let upper = points.iter().map(|(x, _, upper)| (x, upper));
        let lower = points.iter().rev().map(|(x, lower, _)| (x, lower));
        for (index, (x, y)) in upper.chain(lower).enumerate() {
            let command = if index == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.1} {:.1}", self.place_x(*x), self.place_y(*y));
        }
        if path.is_empty() { path } else { format!("<path class=\"{class}\" d=\"{path}z\"/>\n") }
    }

    /// Returns a bar over `x`, from one value to another; `tip` is its tooltip. A narrow bar is
    /// widened.
    pub fn bar(&self, class: &str, x: (f64, f64), y: (f64, f64), tip: &str) -> String {
        let (left, right) = (self.place_x(x.0), self.place_x(x.1));
        let (bottom, top) = (self.place_y(y.0), self.place_y(y.1));
        let width = (right - left - BAR_GAP).max(BAR_WIDTH_MIN);
        let left = (f64::midpoint(left, right) - width / 2.0).clamp(LEFT, WIDTH - RIGHT - width);
        let height = bottom - top;
        format!(
            "<path class=\"{class}\" d=\"M{left:.1} {top:.1}h{width:.1}v{height:.1}h-{width:.1}z\">\
             <title>{tip}</title></path>\n"
        )
    }

    /// Returns a horizontal line at a value, with its name at the right end.
    pub fn across(&self, value: f64, name: &str) -> String {
        let (y, right) = (self.place_y(value), WIDTH - RIGHT);
        format!(
            "<path class=\"across\" d=\"M{LEFT} {y:.1}H{right}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>\n",
            right - 4.0,
            y - 4.0
        )
    }
}

/// Escapes text for use between tags or in an attribute.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            _ => out.push(character),
        }
    }
    out
}

/// Formats a time with three digits and its unit.
pub fn duration(nanoseconds: f64) -> String {
    let (value, unit) = match nanoseconds {
        n if n < 1e3 => (n, "ns"),
        n if n < 1e6 => (n / 1e3, "µs"),
        n if n < 1e9 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    format!("{} {unit}", figures(value))
}

/// Formats three digits, with no more decimals than necessary.
pub fn figures(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Formats a count with a prefix: "25.6k".
pub fn count(value: f64) -> String {
    let (scaled, prefix) = match value {
        v if v >= 1e9 => (v / 1e9, "G"),
        v if v >= 1e6 => (v / 1e6, "M"),
        v if v >= 1e3 => (v / 1e3, "k"),
        v => (v, ""),
    };
    figures(scaled) + prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(kind: Kind, from: f64, to: f64) -> Plot {
        let x = Axis::from_zero(10.0, "time", figures);
        Plot { x, y: Axis { kind, from, to, title: "value", label: figures } }
    }

    #[test]
    fn ticks_are_round_and_neither_few_nor_many() {
        for to in [0.7, 1.0, 9.0, 47.0, 1234.0, 9.9e8] {
            let ticks = Axis::from_zero(to, "", figures).ticks();
            assert!((4..=9).contains(&ticks.len()), "{to}: {ticks:?}");
        }
        assert_eq!(
            Axis::log(20.0, 900.0, "", duration).ticks(),
            [10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]
        );
        assert_eq!(Axis::log(20_000.0, 4e7, "", duration).ticks(), [1e4, 1e5, 1e6, 1e7, 1e8]);
    }

    #[test]
    fn ticks_of_sizes_and_months_are_those_people_use() {
        let axis = |kind, from, to| Axis { kind, from, to, title: "", label: figures };
        assert_eq!(axis(Kind::Binary, 100.0, 5000.0).ticks(), [128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0]);
        let powers: Vec<f64> = axis(Kind::Binary, 1.0, 2e12).ticks().iter().map(|tick| tick.log2()).collect();
        assert_eq!(powers, [0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0]);
        let (from, to) = (f64::from(2026 * 12 + 10), f64::from(2028 * 12 + 10));
        let months: Vec<f64> =
            axis(Kind::Months, from, to).ticks().iter().map(|tick| tick - 2026.0 * 12.0).collect();
        assert_eq!(months, [12.0, 15.0, 18.0, 21.0, 24.0, 27.0, 30.0, 33.0]);
        for months in [1.0, 7.0, 13.0, 60.0, 240.0] {
            let ticks = axis(Kind::Months, from, from + months).ticks();
            assert!((2..=9).contains(&ticks.len()), "{months}: {ticks:?}");
        }
    }

    #[test]
    fn a_bar_is_seen_however_narrow_and_stays_inside() {
        let plot = plot(Kind::Linear, 0.0, 10.0);
        let x = |bar: &str| bar.split(['M', ' ']).nth(4).unwrap().parse::<f64>().unwrap();
        let narrow = plot.bar("a b", (10.5, 10.5), (0.0, 5.0), "tip");
        assert!(narrow.contains("h3.0v") && narrow.contains("<title>tip</title>"), "{narrow}");
        assert!(x(&narrow) + 3.0 <= WIDTH - RIGHT, "{narrow}");
        assert!(plot.area("band", &[]).is_empty());
        assert_eq!(plot.area("band", &[(0.0, 1.0, 2.0), (1.0, 1.0, 3.0)]).matches('L').count(), 3);
    }

    #[test]
    fn every_further_nine_takes_the_same_room() {
        let axis = Axis { kind: Kind::Nines, from: 0.0, to: 99.99, title: "", label: figures };
        let shares: Vec<f64> = [90.0, 99.0, 99.9, 99.99].map(|percent| axis.share(percent)).to_vec();
        for pair in shares.windows(2) {
            assert!((pair[1] - pair[0] - 0.25).abs() < 1e-9, "{shares:?}");
        }
    }

    #[test]
    fn no_value_leaves_the_picture() {
        for value in [f64::NAN, f64::INFINITY, -5.0, 0.0, 1e300] {
            for kind in [Kind::Linear, Kind::Log, Kind::Binary, Kind::Months, Kind::Nines] {
                let y = plot(kind, 1.0, 99.0).place_y(value);
                assert!((TOP..=HEIGHT - BOTTOM).contains(&y), "{kind:?} {value}: {y}");
            }
        }
    }

    /// On a narrow screen letters are larger: labels that would overlap there are left out.
    #[test]
    fn labels_that_have_no_room_on_a_narrow_screen_are_marked() {
        let months = |value: f64| format!("{:04}-{:02}", value as u32 / 12, value as u32 % 12 + 1);
        let from = f64::from(2026 * 12);
        let x = Axis { kind: Kind::Months, from, to: from + 8.0, title: "month", label: months };
        let svg = Plot { x, y: Axis::from_zero(1.0, "value", figures) }.svg("name", "");
        assert_eq!((svg.matches("2026-").count(), svg.matches("class=\"roomy\"").count()), (9, 4), "{svg}");
        let few = plot(Kind::Linear, 0.0, 1.0).svg("name", "");
        assert!(!few.contains("roomy"), "{few}");
    }

    #[test]
    fn a_gap_parts_the_line_and_a_lone_point_is_seen() {
        let plot = plot(Kind::Linear, 0.0, 10.0);
        let curve = plot.curve("read", &[(0.0, Some(1.0)), (1.0, Some(2.0)), (2.0, None), (3.0, Some(3.0))]);
        assert_eq!(curve.matches('M').count(), 3, "two parts, and the dot: {curve}");
        assert_eq!(curve.matches("class=\"dot").count(), 1);
    }

    #[test]
    fn values_read_well() {
        assert_eq!(duration(950.0), "950 ns");
        assert_eq!(duration(81_300.0), "81.3 µs");
        assert_eq!(duration(2e9), "2 s");
        assert_eq!(count(25_600.0), "25.6k");
        assert_eq!(figures(100.0), "100");
        assert_eq!(escaped("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
    }
}
