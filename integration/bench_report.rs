//! What `make bench` is made of: the order of measuring, and the report, from a
//! run that never was.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

#[path = "../benches/speed/report/mod.rs"]
mod report;
#[path = "../benches/speed/rounds.rs"]
mod rounds;

use std::cell::RefCell;

use report::{Outcome, Report, Row, Table, chart, table};
use rounds::{Plan, Subject, measure};

fn row(name: &str, base: Option<usize>, samples: &[f64]) -> Row {
    Row {
        name: name.into(),
        base,
        outcome: Outcome::Samples(samples.to_vec()),
    }
}

fn skipped(name: &str, why: &str) -> Row {
    Row {
        outcome: Outcome::Skipped(why.into()),
        ..row(name, Some(0), &[])
    }
}

fn report() -> Report {
    let table = |title: &str, unit: &str, rows| Table {
        title: title.into(),
        unit: unit.into(),
        rows,
    };
    Report {
        about: vec!["oci-seccomp 0.1.0".into(), "load <1 & falling".into()],
        tables: vec![
            table(
                "a container",
                "ms",
                vec![
                    row("no seccomp", None, &[43.0, 41.0, 40.0, 42.0]),
                    row("its own", Some(0), &[80.0, 62.25, 61.0, 63.0]),
                    row("quicker than none", Some(0), &[40.0, 30.0, 31.5, 31.5]),
                    skipped("its own, anew", "this runc keeps no cache"),
                ],
            ),
            table(
                "of a program",
                "instructions",
                vec![
                    row("plain", None, &[1_234.0]),
                    row("ours", Some(0), &[617.0]),
                ],
            ),
        ],
    }
}

#[test]
fn rows_are_measured_in_turn_and_one_that_fails_is_left_out_from_then_on() {
    let order = RefCell::new(String::new());
    let subject = |name: char, fails_at: usize| {
        let (order, mut count) = (&order, 0);
        Subject::new(name, None, move || {
            order.borrow_mut().push(name);
            count += 1;
            match count == fails_at {
                true => Err("broken".into()),
                false => Ok(f64::from(u8::try_from(count).unwrap())),
            }
        })
    };
    let plan = |subjects| Plan {
        title: "t".into(),
        unit: "ms",
        subjects,
    };
    let plans = vec![
        plan(vec![subject('A', 9), subject('B', 3)]),
        plan(vec![subject('C', 9)]),
    ];
    let tables = measure("letters", 3, plans);
    assert_eq!(*order.borrow(), "ABCCBAABCCA");
    // The first of each is not among the samples.
    let outcomes = [&tables[0].rows[0], &tables[0].rows[1], &tables[1].rows[0]];
    assert_eq!(
        outcomes.map(|row| row.outcome.clone()),
        [
            Outcome::Samples(vec![2.0, 3.0, 4.0]),
            Outcome::Skipped("broken".into()),
            Outcome::Samples(vec![2.0, 3.0, 4.0]),
        ]
    );
}

#[test]
fn the_table_has_ratios_first_and_says_why_a_row_is_skipped() {
    insta::assert_snapshot!(table::text(&report()), @"
    oci-seccomp 0.1.0
    load <1 & falling

    a container, ms             ratio     added    median        middle half runs
      no seccomp                                     41.5        40.8 - 42.2    4
      its own                    1.51      21.1      62.6        61.9 - 67.2    4
      quicker than none         0.759       -10      31.5        31.1 - 33.6    4
      its own, anew             skipped: this runc keeps no cache

    of a program, instructions  ratio     added    median        middle half runs
      plain                                          1234
      ours                      0.500      -617       617
    ");
}

#[test]
fn the_chart_shows_ratios_first_and_why_a_row_is_skipped() {
    insta::assert_snapshot!(chart::svg(&report()), @r#"
    <svg xmlns="http://www.w3.org/2000/svg" width="860" height="230" viewBox="0 0 860 230">
    <style>
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
    }
    </style>
    <rect class="page" width="100%" height="100%"/>
    <text class="about" x="8.0" y="20.0">oci-seccomp 0.1.0</text>
    <text class="about" x="8.0" y="40.0">load &lt;1 &amp; falling</text>
    <text class="about" x="8.0" y="60.0">numbers: how many times the first row's median, and how much more</text>
    <text class="about" x="8.0" y="80.0">bars: how much more, ours in blue; lines: the middle half of the samples</text>
    <text class="title" x="8.0" y="120.0">a container</text>
    <text class="name" x="20.0" y="140.0">no seccomp</text>
    <text class="value" x="460.9" y="140.0">41.5 ms</text>
    <text class="name" x="20.0" y="160.0">its own</text>
    <rect class="bar" x="454.9" y="149.0" width="233.9" height="14"/>
    <line class="spread" x1="681.2" y1="156.0" x2="740.0" y2="156.0"/>
    <text class="value" x="746.0" y="160.0">1.51 (+21.1)</text>
    <text class="name" x="20.0" y="180.0">quicker than none</text>
    <rect class="bar" x="344.2" y="169.0" width="110.7" height="14"/>
    <line class="spread" x1="340.0" y1="176.0" x2="367.7" y2="176.0"/>
    <text class="value" x="460.9" y="180.0">0.759 (-10)</text>
    <text class="name" x="20.0" y="200.0">its own, anew</text>
    <text class="about" x="460.9" y="200.0">skipped: this runc keeps no cache</text>
    <line class="zero" x1="454.9" y1="126.7" x2="454.9" y2="206.7"/>
    </svg>
    "#);
}

#[test]
fn the_json_has_all_samples_and_gives_the_same_report_again() {
    let json = report().json();
    assert_eq!(
        json["tables"][0]["rows"][1]["samples"],
        serde_json::json!([80.0, 62.25, 61.0, 63.0])
    );
    assert_eq!(json["tables"][0]["rows"][1]["ratio"], 62.625 / 41.5);
    let again: Report = serde_json::from_value(json).unwrap();
    assert_eq!(again, report());
}

#[test]
fn quartiles_lie_between_samples_in_proportion() {
    let summary = |samples: &[f64]| row("", None, samples).summary();
    let four = summary(&[4.0, 1.0, 3.0, 2.0]).unwrap();
    assert_eq!(
        (four.median, four.middle, four.runs),
        (2.5, (1.75, 3.25), 4)
    );
    let one = summary(&[7.0]).unwrap();
    assert_eq!((one.median, one.middle, one.runs), (7.0, (7.0, 7.0), 1));
    assert_eq!(summary(&[]), None);
}

#[test]
fn a_row_held_against_a_skipped_one_has_no_ratio() {
    let mut report = report();
    report.tables[0].rows[0] = skipped("no seccomp", "needs root");
    report.tables[0].rows.truncate(2);
    report.tables.truncate(1);
    assert!(report.json()["tables"][0]["rows"][1]["ratio"].is_null());
    assert!(!chart::svg(&report).contains("class=\"bar"));
    insta::assert_snapshot!(table::text(&report), @"
    oci-seccomp 0.1.0
    load <1 & falling

    a container, ms  ratio     added    median        middle half runs
      no seccomp     skipped: needs root
      its own                             62.6        61.9 - 67.2    4
    ");
}
