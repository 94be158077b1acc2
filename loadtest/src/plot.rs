//! Plots as SVG, written by hand: lines over two axes. Nothing is filled behind them and the
//! text follows the reader's colour scheme, so that they stand on a dark page as on a light one.

mod scale;

use std::fmt::Write;

use self::scale::{Axis, label};

pub(crate) use self::scale::Scale;

use crate::stats::{Latencies, float};

/// Width and height of the whole.
const SIZE: (f64, f64) = (760.0, 420.0);
/// The part inside the axes: left, top, right, bottom.
const INNER: (f64, f64, f64, f64) = (72.0, 78.0, 736.0, 368.0);
/// Lines beyond so many share colours.
const COLOURS: usize = 6;

/// Blue, orange, green, violet, pink and ochre of a brightness that dark and light both bear.
const STYLE: &str = "\
text{fill:#57606a;font-size:12px}.t{fill:#1f2328;font-size:16px;font-weight:600}\
.g{stroke:#8b949e;stroke-opacity:.28}.l{fill:none;stroke-width:2.25;stroke-linejoin:round}\
@media(prefers-color-scheme:dark){text{fill:#9aa4b2}.t{fill:#e6edf3}}\
.c0{color:#2f81f7}.c1{color:#e0702a}.c2{color:#2da44e}\
.c3{color:#a371f7}.c4{color:#db61a2}.c5{color:#a08a10}\
.l{stroke:currentColor}.d{fill:currentColor}";

/// A plot.
#[derive(Debug, Clone)]
pub(crate) struct Plot {
    title: String,
    x: (String, Scale),
    y: (String, Scale),
    lines: Vec<Line>,
}

#[derive(Debug, Clone)]
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
    /// Whether the points were measured one by one, and not read off a curve.
    dots: bool,
}

impl Plot {
    /// A plot with labelled axes and no line yet.
    pub(crate) fn new(title: &str, x: (&str, Scale), y: (&str, Scale)) -> Self {
        Self {
            title: title.to_owned(),
            x: (x.0.to_owned(), x.1),
            y: (y.0.to_owned(), y.1),
            lines: Vec::new(),
        }
    }

    /// Throughput against the number of clients; what is counted a second is named.
    pub(crate) fn throughput(title: &str, what: &str) -> Self {
        Self::new(title, ("clients", Scale::Log), (&format!("{what}/s"), Scale::Linear))
    }

    /// Cost against size, in rows say; both over many decades.
    pub(crate) fn cost(title: &str, size: &str, cost: &str) -> Self {
        Self::new(title, (size, Scale::Log), (cost, Scale::Linear))
    }

    /// Latencies by percentile, a line each.
    pub(crate) fn percentiles(title: &str, all: &[(&str, &Latencies)]) -> Self {
        let plot = Self::new(title, ("percentile", Scale::Quantile), ("latency, ms", Scale::Log));
        all.iter().filter(|(_, latencies)| !latencies.is_empty()).fold(plot, |plot, (name, l)| {
            let points = (0..=80_u16).map(|step| {
                let quantile = 1.0 - 10_f64.powf(-f64::from(step) / 20.0);
                (quantile, float(l.value_at_quantile(quantile)) / 1000.0)
            });
            plot.with(Line { name: (*name).to_owned(), points: points.collect(), dots: false })
        })
    }

    /// Adds a line through measured points.
    pub(crate) fn line(self, name: &str, points: Vec<(f64, f64)>) -> Self {
        self.with(Line { name: name.to_owned(), points, dots: true })
    }

    /// Adds a line through so many points that none is marked.
    pub(crate) fn curve(self, name: &str, points: Vec<(f64, f64)>) -> Self {
        self.with(Line { name: name.to_owned(), points, dots: false })
    }

    fn with(mut self, line: Line) -> Self {
        self.lines.push(line);
        self
    }

    /// The plot as an SVG document.
    pub(crate) fn svg(&self) -> String {
        let (width, height) = SIZE;
        let title = escape(&self.title);
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x = Axis::over(self.x.1, points().map(|point| point.0));
        let y = Axis::over(self.y.1, points().map(|point| point.1));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             role=\"img\" font-family=\"system-ui,sans-serif\"><title>{title}</title>\
             <style>{STYLE}</style>\n<text class=\"t\" x=\"16\" y=\"30\">{title}</text>\n"
        );
        self.draw_axes(&mut svg, &x, &y);
        self.draw_legend(&mut svg);
        for (number, line) in self.lines.iter().enumerate() {
            line.draw(&mut svg, number % COLOURS, &x, &y);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn draw_axes(&self, svg: &mut String, x: &Axis, y: &Axis) {
        let (left, top, right, bottom) = INNER;
        for (value, label) in &y.ticks {
            let Some(at) = y.place(*value).map(down) else { continue };
            let _ = writeln!(
                svg,
                "<path class=\"g\" d=\"M{left} {at:.1}H{right}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                left - 8.0,
                at + 4.0
            );
        }
        for (value, label) in &x.ticks {
            let Some(at) = x.place(*value).map(across) else { continue };
            let _ = writeln!(
                svg,
                "<path class=\"g\" d=\"M{at:.1} {bottom}v5\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                bottom + 19.0
            );
        }
        let (middle, low) = (f64::midpoint(left, right), bottom + 41.0);
        let _ = writeln!(
            svg,
            "<text x=\"{middle:.1}\" y=\"{low:.1}\" text-anchor=\"middle\">{}</text>\
             <text x=\"16\" y=\"{:.1}\">{}</text>",
            escape(&self.x.0),
            top - 14.0,
            escape(&self.y.0)
        );
    }

    /// Names from the right, above the lines: beside the y axis' label.
    fn draw_legend(&self, svg: &mut String) {
        let (_, top, mut right, _) = INNER;
        for (number, line) in self.lines.iter().enumerate().rev() {
            let _ = writeln!(
                svg,
                "<text x=\"{right:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                top - 14.0,
                escape(&line.name)
            );
            right -= 7.0 * float(line.name.chars().count() as u64) + 8.0;
            let _ = writeln!(
                svg,
                "<circle class=\"d c{}\" cx=\"{right:.1}\" cy=\"{:.1}\" r=\"4\"/>",
                number % COLOURS,
                top - 18.0
            );
            right -= 16.0;
        }
    }
}

impl Line {
    fn draw(&self, svg: &mut String, colour: usize, x: &Axis, y: &Axis) {
        let places: Vec<_> = self
            .points
            .iter()
            .filter_map(|point| Some((across(x.place(point.0)?), down(y.place(point.1)?), point)))
            .collect();
        let path: Vec<String> = places.iter().map(|(x, y, _)| format!("{x:.1} {y:.1}")).collect();
        if !path.is_empty() {
            let _ = writeln!(svg, "<path class=\"l c{colour}\" d=\"M{}\"/>", path.join("L"));
        }
        for (x, y, (a, b)) in places.iter().filter(|_| self.dots) {
            let _ = writeln!(
                svg,
                "<circle class=\"d c{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\">\
                 <title>{}: {} at {}</title></circle>",
                escape(&self.name),
                label(*b),
                label(*a)
            );
        }
    }
}

/// From a place on the x axis to a coordinate.
fn across(place: f64) -> f64 {
    INNER.0 + place * (INNER.2 - INNER.0)
}

/// From a place on the y axis to a coordinate.
fn down(place: f64) -> f64 {
    INNER.3 - place * (INNER.3 - INNER.1)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stats;

    #[test]
    fn a_line_goes_through_its_points() {
        let svg = Plot::throughput("Pushes & <clients>", "pushes")
            .line("durable", vec![(1.0, 0.0), (10.0, 500.0), (100.0, 1000.0)])
            .svg();
        assert!(svg.contains("<title>Pushes &amp; &lt;clients&gt;</title>"));
        assert!(svg.contains("d=\"M72.0 368.0L404.0 223.0L736.0 78.0\""), "{svg}");
        assert!(svg.contains("<title>durable: 500 at 10</title>"));
        assert!(svg.contains(">pushes/s</text>"));
    }

    #[test]
    fn every_tag_is_closed() {
        let svg = Plot::cost("Cost", "changes", "ms").line("a", vec![(1e4, 1.0), (1e7, 2.0)]).svg();
        for tag in ["svg", "text", "title", "style"] {
            let opened =
                svg.matches(&format!("<{tag}>")).count() + svg.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, svg.matches(&format!("</{tag}>")).count(), "{tag}");
        }
        assert_eq!(svg.matches("<path").count(), svg.matches("\"/>").count() - 1);
    }

    #[test]
    fn percentiles_rise_to_the_right() {
        let mut latencies = stats::latencies();
        (1..=1000).for_each(|ms| stats::record(&mut latencies, Duration::from_millis(ms)));
        let empty = stats::latencies();
        let plot = Plot::percentiles("Latency", &[("pull", &latencies), ("push", &empty)]);
        assert_eq!(plot.lines.len(), 1);
        let points = &plot.lines.first().unwrap().points;
        assert!(points.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
        assert!(!plot.svg().contains("NaN"));
    }

    #[test]
    fn points_that_no_scale_shows_are_left_out() {
        let svg = Plot::throughput("x", "y").line("a", vec![(0.0, 1.0), (f64::NAN, 2.0)]).svg();
        assert!(!svg.contains("class=\"l") && !svg.contains("NaN"), "{svg}");
    }
}
