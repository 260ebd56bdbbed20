//! The report as a picture: how each row compares with the one that it is held
//! against. SVG text on a ground of its own, light or dark.

use super::table::{number, ratio};
use super::{Outcome, Report, Row, Table};

/// Units of what is drawn. What is counted is not, nor what takes so little
/// that nobody waits for it.
const DRAWN: [&str; 2] = ["ms", "ns"];

const WIDTH: f64 = 860.0;
const LINE: f64 = 20.0;
/// Where the bars begin and end; names are left of them, numbers right.
const BARS: (f64, f64) = (340.0, 740.0);

const STYLE: &str = "\
text { font: 12px sans-serif; fill: #24292f }
.title { font-weight: bold }
.about { fill: #57606a }
.page { fill: #ffffff }
.bar { fill: #b6bec8 }
.ours { fill: #4c8dd6 }
.spread, .zero { stroke: #24292f }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.about { fill: #9198a1 }
.page { fill: #0d1117 }
.bar { fill: #565f6b }
.ours { fill: #3b76b8 }
.spread, .zero { stroke: #e6edf3 }
}";

/// A row that is drawn: what it adds, as median and middle half.
struct Bar<'a> {
    name: &'a str,
    base: f64,
    added: f64,
    middle: (f64, f64),
}

impl Bar<'_> {
    /// Rows are named so.
    fn is_ours(&self) -> bool {
        self.name.starts_with("our") || self.name.starts_with("oci-seccomp")
    }

    /// The ratio first: it is what holds on another machine.
    fn value(&self) -> String {
        let sign = if self.added > 0.0 { "+" } else { "" };
        let ratio = ratio(1.0 + self.added / self.base);
        format!("{ratio} ({sign}{})", number(self.added))
    }
}

/// The whole picture.
pub fn svg(report: &Report) -> String {
    let mut page = Page::default();
    page.skip();
    let legend = [
        "numbers: how many times the first row's median, and how much more",
        "bars: how much more, ours in blue; lines: the middle half of the samples",
    ];
    for line in report.about.iter().map(String::as_str).chain(legend) {
        page.text(8.0, "about", line);
        page.skip();
    }
    for table in &report.tables {
        let bars: Vec<Bar<'_>> = table.rows.iter().filter_map(|r| bar(table, r)).collect();
        if DRAWN.contains(&table.unit.as_str()) && !bars.is_empty() {
            draw(&mut page, table, &bars);
        }
    }
    let height = page.y + LINE / 2.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\">\n<style>\n{STYLE}\n</style>\n\
         <rect class=\"page\" width=\"100%\" height=\"100%\"/>\n{}</svg>\n",
        page.elements
    )
}

fn bar<'a>(table: &Table, row: &'a Row) -> Option<Bar<'a>> {
    let (base, summary) = (table.base(row)?, row.summary()?);
    Some(Bar {
        name: &row.name,
        base,
        added: summary.median - base,
        middle: (summary.middle.0 - base, summary.middle.1 - base),
    })
}

/// Every table has a scale of its own.
fn draw(page: &mut Page, table: &Table, bars: &[Bar<'_>]) {
    let ends = bars.iter().flat_map(|b| [b.added, b.middle.0, b.middle.1]);
    let (low, high) = ends.fold((0.0, f64::MIN_POSITIVE), |(low, high): (f64, f64), end| {
        (low.min(end), high.max(end))
    });
    let x = |value: f64| BARS.0 + (value - low) / (high - low) * (BARS.1 - BARS.0);
    page.skip();
    page.text(8.0, "title", &table.title);
    let top = page.y + LINE / 3.0;
    for row in &table.rows {
        page.skip();
        page.text(20.0, "name", &row.name);
        match (bar(table, row), &row.outcome, row.summary()) {
            (Some(bar), ..) => draw_bar(page, &bar, x),
            (None, Outcome::Skipped(why), _) => {
                page.text(x(0.0) + 6.0, "about", &format!("skipped: {why}"));
            }
            (None, Outcome::Samples(_), summary) => {
                let median = summary.map(|s| format!("{} {}", number(s.median), table.unit));
                page.text(x(0.0) + 6.0, "value", &median.unwrap_or_default());
            }
        }
    }
    page.line("zero", x(0.0), x(0.0), top, page.y + LINE / 3.0 - top);
    page.skip();
}

fn draw_bar(page: &mut Page, bar: &Bar<'_>, x: impl Fn(f64) -> f64) {
    let (from, to) = (x(bar.added.min(0.0)), x(bar.added.max(0.0)));
    let (y, width) = (page.y - 11.0, to - from);
    let class = if bar.is_ours() { "bar ours" } else { "bar" };
    page.add(&format!(
        "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"14\"/>"
    ));
    let (low, high) = bar.middle;
    page.line("spread", x(low), x(high), page.y - 4.0, 0.0);
    let right = x(high.max(bar.added).max(0.0)) + 6.0;
    page.text(right, "value", &bar.value());
}

/// Elements, and the baseline of the line that is being written.
#[derive(Default)]
struct Page {
    elements: String,
    y: f64,
}

impl Page {
    fn skip(&mut self) {
        self.y += LINE;
    }

    fn add(&mut self, element: &str) {
        self.elements += element;
        self.elements.push('\n');
    }

    fn text(&mut self, x: f64, class: &str, text: &str) {
        let text = text
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let y = self.y;
        self.add(&format!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
        ));
    }

    fn line(&mut self, class: &str, from: f64, to: f64, y: f64, down: f64) {
        let bottom = y + down;
        self.add(&format!(
            "<line class=\"{class}\" x1=\"{from:.1}\" y1=\"{y:.1}\" x2=\"{to:.1}\" y2=\"{bottom:.1}\"/>"
        ));
    }
}
