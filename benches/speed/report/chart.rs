//! The report as a picture: what each row adds to the one that it is held
//! against. SVG text, readable on a light and on a dark page.

use super::table::number;
use super::{Report, Row, Table};

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
.bar { fill: #4c8dd6 }
.spread, .zero { stroke: #24292f }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.about { fill: #9198a1 }
.bar { fill: #3b76b8 }
.spread, .zero { stroke: #e6edf3 }
}";

/// A row that is drawn: what it adds, as median and middle half.
struct Bar<'a> {
    name: &'a str,
    added: f64,
    middle: (f64, f64),
}

/// The whole picture.
pub fn svg(report: &Report) -> String {
    let mut page = Page::default();
    page.skip();
    let legend = "bars: medians; lines: the middle half of the samples";
    for line in report.about.iter().map(String::as_str).chain([legend]) {
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
         viewBox=\"0 0 {WIDTH} {height}\">\n<style>\n{STYLE}\n</style>\n{}</svg>\n",
        page.elements
    )
}

fn bar<'a>(table: &Table, row: &'a Row) -> Option<Bar<'a>> {
    let (base, summary) = (table.base(row)?, row.summary()?);
    Some(Bar {
        name: &row.name,
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
    let title = format!("{}: {} added", table.title, table.unit);
    page.text(8.0, "title", &title);
    let top = page.y + LINE / 3.0;
    for bar in bars {
        page.skip();
        page.text(20.0, "name", bar.name);
        let (from, to) = (x(bar.added.min(0.0)), x(bar.added.max(0.0)));
        let (y, width) = (page.y - 11.0, to - from);
        page.add(&format!(
            "<rect class=\"bar\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"14\"/>"
        ));
        page.line(
            "spread",
            x(bar.middle.0),
            x(bar.middle.1),
            page.y - 4.0,
            0.0,
        );
        let right = x(bar.middle.1.max(bar.added).max(0.0)) + 6.0;
        page.text(right, "value", &number(bar.added));
    }
    page.line("zero", x(0.0), x(0.0), top, page.y + LINE / 3.0 - top);
    page.skip();
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
