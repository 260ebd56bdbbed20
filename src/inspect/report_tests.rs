use super::super::{Loaded, Stack};
use super::*;
use crate::filter::{Filter, Options};
use crate::profile::Profile;
use crate::style::Style;
use serde_json::{Value, json};

fn filter(section: Value) -> Filter {
    let section = serde_json::from_value(section).unwrap();
    Filter::new(Profile::from_section(section), Options::default()).unwrap()
}

fn denies(call: &str, errno: u32) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": [call], "action": "SCMP_ACT_ERRNO", "errnoRet": errno}]})
}

fn declared<'a>(source: &'a str, filter: &'a Filter) -> Declared<'a> {
    let kind = Kind::Profile(filter);
    Side { source, kind }
}

/// A process whose threads have these filters.
fn report(threads: &[&[&Filter]]) -> Report {
    let loaded = |filter: &&Filter| Loaded {
        bytes: filter.program.to_bytes(),
        log: Some(false),
    };
    let groups: Vec<_> = threads
        .iter()
        .zip(0..)
        .map(|(filters, index)| Threads {
            ids: vec![4242 + index],
            stack: Stack {
                filters: filters.iter().map(loaded).collect(),
            },
        })
        .collect();
    let mut report = Report::counted(4242, 2, threads[0].len() as u32, None);
    report.add(&groups).unwrap();
    report
}

fn strictness(loaded: &[&Filter], profile: &Filter) -> Strictness {
    let mut report = report(&[loaded]);
    report.hold_against(declared("profile.json", profile));
    report.strictness()
}

#[test]
fn filters_are_judged_together() {
    let (mkdir, rmdir) = (filter(denies("mkdir", 1)), filter(denies("rmdir", 1)));
    let both = filter(json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "rmdir"], "action": "SCMP_ACT_ERRNO"}]}));
    assert_eq!(strictness(&[&mkdir], &both), Strictness::Weaker);
    assert_eq!(strictness(&[&mkdir, &rmdir], &both), Strictness::Equal);
    assert_eq!(strictness(&[&both], &mkdir), Strictness::Stricter);
    assert_eq!(strictness(&[], &mkdir), Strictness::Weaker);
    let other_errno = filter(denies("mkdir", 2));
    assert_eq!(strictness(&[&mkdir], &other_errno), Strictness::AsStrict);
}

#[test]
fn the_weakest_thread_counts() {
    let mkdir = filter(denies("mkdir", 1));
    let mut report = report(&[&[&mkdir], &[]]);
    report.hold_against(declared("profile.json", &mkdir));
    let each: Vec<_> = report
        .against
        .iter()
        .flatten()
        .map(|j| j.strictness)
        .collect();
    assert_eq!(each, [Strictness::Equal, Strictness::Weaker]);
    assert_eq!(report.strictness(), Strictness::Weaker);
}

#[test]
fn what_was_not_read_is_not_judged() {
    let report = Report::counted(1, 2, 1, Some("no privilege".into()));
    assert_eq!(report.strictness(), Strictness::Unknown);
}

fn told() -> Report {
    let first = filter(denies("mkdir", 77));
    let second = filter(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["clone"], "action": "SCMP_ACT_KILL_PROCESS", "args": [
            {"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": 0x1000_0000, "valueTwo": 0x1000_0000}]},
    ]}));
    let mut report = report(&[&[&first, &second], &[&first]]);
    report.container = Some(Container {
        id: "web\u{1b}[2J".into(),
        engine: "crun".into(),
        bundle: "/run/bundle".into(),
    });
    report.ask(Asked {
        arch: Arch::X86_64,
        nr: 56,
        given: [None; 6],
    });
    report.hold_against(declared("profile.json", &second));
    report
}

/// Without what is libseccomp's to choose, or grows with its tables.
fn settled(text: &str, report: &Report) -> String {
    let mut text = text.to_owned();
    for (program, name) in report.programs.iter().zip(["FIRST", "SECOND"]) {
        text = text.replace(&program.calls["ALLOW"].to_string(), "MANY");
        text = text.replace(&program.fingerprint, name);
        text = text.replace(&program.program, "BASE64");
        text = text.replace(
            &format!("{} instructions", program.instructions),
            "N instructions",
        );
        text = text.replace(&format!("\"instructions\": {}", program.instructions), "N");
    }
    text
}

#[test]
fn tells_people() {
    let report = told();
    let text = report.to_text(Style::PLAIN, false);
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    insta::assert_snapshot!(settled(&text, &report), @r"
process        4242
container      web\u{1b}[2J (crun)
bundle         /run/bundle
seccomp        2 filters
threads        4242: programs 0, 1
threads        4243: programs 0

program 0
fingerprint    FIRST
size           N instructions
architectures  x86_64
calls          MANY ALLOW, 1 ERRNO(77), numbers without a name: ALLOW
flags          no LOG; others cannot be read

program 1
fingerprint    SECOND
size           N instructions
architectures  x86_64
calls          MANY ALLOW, 1 by their arguments, numbers without a name: ALLOW
flags          no LOG; others cannot be read

call, threads 4242
ALLOW              x86_64 clone(0, 0, 0, 0, 0)
KILL_PROCESS       x86_64 clone(CLONE_NEWUSER, 0, 0, 0, 0)
the arguments that were not given decide: these are examples

call, threads 4243
ALLOW              x86_64 clone(0, 0, 0, 0, 0)

declared and loaded, threads 4242
declared       profile.json
loaded         stricter: for no call weaker
such as        x86_64 mkdir(0, 0): declared ALLOW, loaded ERRNO(77)

declared and loaded, threads 4243
declared       profile.json
loaded         weaker than declared
such as        x86_64 clone(CLONE_NEWUSER, 0, 0, 0, 0): declared KILL_PROCESS,
               loaded ALLOW
    ");
}

#[test]
fn tells_programs() {
    let report = told();
    insta::assert_snapshot!(settled(&report.to_json().unwrap(), &report), @r#"
{
  "schema": 1,
  "process": 4242,
  "container": {
    "id": "web\u001b[2J",
    "engine": "crun",
    "bundle": "/run/bundle"
  },
  "mode": "filter",
  "filters": 2,
  "unreadable": null,
  "threads": [
    {
      "ids": [
        4242
      ],
      "programs": [
        0,
        1
      ]
    },
    {
      "ids": [
        4243
      ],
      "programs": [
        0
      ]
    }
  ],
  "programs": [
    {
      "fingerprint": "FIRST",
      N,
      "log": false,
      "architectures": [
        "x86_64"
      ],
      "calls": {
        "ALLOW": MANY,
        "ERRNO(77)": 1
      },
      "byArguments": 0,
      "otherNumbers": "ALLOW",
      "program": "BASE64"
    },
    {
      "fingerprint": "SECOND",
      N,
      "log": false,
      "architectures": [
        "x86_64"
      ],
      "calls": {
        "ALLOW": MANY
      },
      "byArguments": 1,
      "otherNumbers": "ALLOW",
      "program": "BASE64"
    }
  ],
  "call": [
    {
      "verdicts": [
        {
          "verdict": "ALLOW",
          "call": "x86_64 clone(0, 0, 0, 0, 0)"
        },
        {
          "verdict": "KILL_PROCESS",
          "call": "x86_64 clone(CLONE_NEWUSER, 0, 0, 0, 0)"
        }
      ],
      "complete": true
    },
    {
      "verdicts": [
        {
          "verdict": "ALLOW",
          "call": "x86_64 clone(0, 0, 0, 0, 0)"
        }
      ],
      "complete": true
    }
  ],
  "against": [
    {
      "source": "profile.json",
      "strictness": "stricter",
      "witness": {
        "call": "x86_64 mkdir(0, 0)",
        "declared": "ALLOW",
        "loaded": "ERRNO(77)"
      }
    },
    {
      "source": "profile.json",
      "strictness": "weaker",
      "witness": {
        "call": "x86_64 clone(CLONE_NEWUSER, 0, 0, 0, 0)",
        "declared": "KILL_PROCESS",
        "loaded": "ALLOW"
      }
    }
  ]
}
    "#);
}

#[test]
fn lists_the_programs_and_the_differences_if_asked() {
    let text = told().to_text(Style::PLAIN, true);
    assert!(
        text.contains("jeq   83 (mkdir)") || text.contains("jge   83 (mkdir)"),
        "{text}"
    );
    assert!(
        text.contains("another verdict") || text.contains("newly allowed"),
        "{text}"
    );
}
