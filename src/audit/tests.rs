use std::collections::BTreeSet;

use super::*;
use crate::diff::{Diff, Kind, Side};
use crate::profile::{KernelVersion, Target};
use crate::style::Style;

fn filter(text: &str) -> Filter {
    let target = Target {
        capabilities: BTreeSet::new(),
        arch: Arch::X86_64,
        kernel: KernelVersion { major: 6, minor: 1 },
    };
    Filter::parse("app.json", text, &target, Options::default()).unwrap()
}

const PROFILE: &str = r#"{
    "defaultAction": "SCMP_ACT_ERRNO",
    "architectures": ["SCMP_ARCH_X86_64"],
    "syscalls": [
        {"names": ["ptrace"], "action": "SCMP_ACT_KILL_PROCESS"},
        {"names": ["read", "write", "mseal"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
         "args": [{"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": 268435456}]},
        {"names": ["keyctl", "bpf"], "action": "SCMP_ACT_TRAP"}
    ]
}"#;

const X86_64: u32 = Arch::X86_64.audit();

fn line(time: u32, exe: &str, audit: u32, nr: i64, code: u32) -> String {
    format!(
        "[ 1.0] audit: type=1326 audit({time}.042:7): auid=0 uid=0 gid=0 ses=1 pid=9 \
         comm=\"x\" exe={exe} sig=0 arch={audit:x} syscall={nr} compat=0 ip=0x1 code={code:#x}\n"
    )
}

fn log(text: &str) -> Log {
    Log::read(text.as_bytes()).unwrap()
}

fn report(text: &str, filter: &Filter) -> Report {
    Report::new(log(text), Some(filter), Options::default())
}

fn a_days_log() -> String {
    let errno = Action::Errno(0).to_ret();
    let app = "\"/usr/bin/app\"";
    [
        line(1_700_000_000, app, X86_64, 83, errno),
        "Nov 14 22:13:20 host kernel: something else\n".to_owned(),
        line(1_700_000_100, "1B5B324A", X86_64, 83, errno),
        line(1_700_000_050, app, X86_64, 56, errno),
        line(
            1_700_000_060,
            app,
            X86_64,
            101,
            Action::KillProcess.to_ret(),
        ),
        line(1_700_000_070, app, X86_64, 321, Action::Trap.to_ret()),
        line(1_700_000_080, app, Arch::X86.audit(), 20, 0),
        line(1_700_000_090, app, X86_64, 9999, errno),
        line(1_700_000_095, app, X86_64, 0, errno),
        "type=1326 audit(1): forged\n".to_owned(),
    ]
    .concat()
}

#[test]
fn tells_people_what_decided_and_what_would_allow_it() {
    let text = report(&a_days_log(), &filter(PROFILE)).to_text(Style::PLAIN);
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    insta::assert_snapshot!(text, @r#"
log            8 records, 7 calls, 2023-11-14T22:13:20Z to 2023-11-14T22:15:00Z
passed over    malformed records: 1
profile        app.json

x86_64 mkdir
got            ERRNO, 2 times, 2023-11-14T22:13:20Z to 2023-11-14T22:15:00Z
made by        /usr/bin/app, \u{1b}[2J
profile says   ERRNO(1) EPERM: the default action
to allow it    add "mkdir" to the names of rule 1 (line 6)

x86_64 call 9999
got            ERRNO, once, 2023-11-14T22:14:50Z
made by        /usr/bin/app
profile says   ERRNO(38) ENOSYS: newer than all that the profile names
to allow it    no profile can name this number

x86_64 bpf
got            TRAP, once, 2023-11-14T22:14:30Z
made by        /usr/bin/app
profile says   TRAP: rule 3 (line 9)
to allow it    add "bpf" to the names of rule 1 (line 6)

x86_64 clone
got            ERRNO, once, 2023-11-14T22:14:10Z
made by        /usr/bin/app
profile says   ALLOW: rule 2 (line 7)
profile says   ERRNO(1) EPERM: the default action
depends on     arg0, which the record does not have
to allow it    add "clone" to the names of rule 1 (line 6), which allows it with
               any arguments

x86_64 ptrace
got            KILL_PROCESS, once, 2023-11-14T22:14:20Z
made by        /usr/bin/app
profile says   KILL_PROCESS: rule 0 (line 5)
to allow it    put {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW"} before rule
               0 (line 5)

x86_64 read
got            ERRNO, once, 2023-11-14T22:14:55Z
made by        /usr/bin/app
profile says   ALLOW: rule 1 (line 6)
to allow it    the profile allows it: was another one loaded, or a second
               filter?

x86 getpid
got            KILL_THREAD, once, 2023-11-14T22:14:40Z
made by        /usr/bin/app
profile says   KILL_THREAD: the architecture is not listed
to allow it    the profile does not list x86: to list it would decide on all of
               its calls
    "#);
}

#[test]
fn tells_programs_the_same() {
    let errno = Action::Errno(0).to_ret();
    let text = line(1_700_000_000, "\"/usr/bin/app\"", X86_64, 56, errno);
    insta::assert_snapshot!(report(&text, &filter(PROFILE)).to_json().unwrap(), @r#"
{
  "schema": 1,
  "profile": "app.json",
  "records": 1,
  "malformed": 0,
  "tooLong": 0,
  "dropped": 0,
  "first": "2023-11-14T22:13:20.042Z",
  "last": "2023-11-14T22:13:20.042Z",
  "calls": [
    {
      "architecture": "x86_64",
      "call": "clone",
      "number": 56,
      "action": "ERRNO",
      "code": "0x50000",
      "count": 1,
      "first": "2023-11-14T22:13:20.042Z",
      "last": "2023-11-14T22:13:20.042Z",
      "programs": [
        "/usr/bin/app"
      ],
      "morePrograms": false,
      "advice": {
        "verdicts": [
          {
            "by": "rule 2 (line 7)",
            "line": 7,
            "rule": 2,
            "verdict": "ALLOW"
          },
          {
            "by": "the default action",
            "line": null,
            "rule": null,
            "verdict": "ERRNO(1)"
          }
        ],
        "explains": true,
        "dependsOn": [
          0
        ],
        "change": [
          {
            "edit": "addName",
            "line": 6,
            "name": "clone",
            "rule": 1,
            "text": "add \"clone\" to the names of rule 1 (line 6)"
          }
        ],
        "noLongerNewer": [],
        "impossible": null
      }
    }
  ]
}
    "#);
}

#[test]
fn without_a_profile_it_only_names() {
    let report = Report::new(log(&a_days_log()), None, Options::default());
    assert!(report.calls.iter().all(|e| e.advice.is_none()));
    assert_eq!(report.calls[0].call.as_deref(), Some("mkdir"));
    assert_eq!(report.calls[0].count, 2);
}

#[test]
fn nothing_in_a_log_controls_the_terminal() {
    let noise = "\x1b]0;x\x07 type=1326 audit(1.000:1): exe=\"\x1b[2J\u{9b}31m\" comm=\"\r\n\" \
                 arch=c000003e syscall=1 code=0x0\n";
    let forged = noise.replace("\r\n", "\r");
    let report = Report::new(log(&forged), None, Options::default());
    assert_eq!(report.log.records, 1, "{report:?}");
    let text = report.to_text(Style::PLAIN) + &report.to_json().unwrap();
    assert!(
        !text.chars().any(|c| c.is_control() && c != '\n'),
        "{text:?}"
    );
}

#[test]
fn a_line_without_end_is_passed_over() {
    let record = line(1, "\"/a\"", X86_64, 1, 0);
    let text = format!(
        "{record}{}\n{record}{}",
        "x".repeat(1 << 20),
        "type=1326 ".repeat(1 << 14)
    );
    let log = log(&text);
    assert_eq!((log.records, log.too_long, log.malformed), (2, 2, 0));
}

#[test]
fn more_calls_than_there_are_take_no_more_memory() {
    let lines = |nr: usize| line(1, "\"/a\"", X86_64, nr as i64, 0);
    let text: String = (0..CALLS_LIMIT + 10).map(lines).collect();
    let log = log(&text);
    assert_eq!(log.records, CALLS_LIMIT as u64 + 10);
    assert_eq!((log.calls.len(), log.dropped), (CALLS_LIMIT, 10));
}

#[test]
fn so_many_programs_are_named_and_no_more() {
    let lines = |n: usize| line(1, &format!("\"/{n}\""), X86_64, 1, 0);
    let text: String = (0..NAMES_LIMIT + 1).map(lines).collect();
    let report = Report::new(log(&text), None, Options::default());
    assert_eq!(report.calls[0].programs.len(), NAMES_LIMIT);
    assert!(report.calls[0].more_programs);
}

fn edits(profile: &str, arch: Arch, nr: u32) -> Result<Vec<Edit>, Impossible> {
    let filter = filter(profile);
    let section = &filter.profile.section;
    let policy = &filter.translation.policy;
    change::smallest(section, policy, Options::default(), arch, nr).map(|c| c.edits)
}

#[test]
fn a_name_goes_where_names_are_allowed() {
    assert_eq!(edits(PROFILE, Arch::X86_64, 83), Ok(vec![Edit::Add(1)]));
    // The first rule for a call decides.
    assert_eq!(edits(PROFILE, Arch::X86_64, 101), Ok(vec![Edit::Insert(0)]));
    let none = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}"#;
    assert_eq!(edits(none, Arch::X86_64, 83), Ok(vec![Edit::Insert(0)]));
    let denied = r#"{"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "rmdir"], "action": "SCMP_ACT_ERRNO"}]}"#;
    assert_eq!(edits(denied, Arch::X86_64, 83), Ok(vec![Edit::Remove(0)]));
}

#[test]
fn says_why_there_is_no_change() {
    assert_eq!(edits(PROFILE, Arch::X86_64, 9999), Err(Impossible::NoName));
    assert_eq!(edits(PROFILE, Arch::X86_64, 0), Err(Impossible::Allowed));
    let x86 = Err(Impossible::Architecture(Arch::X86));
    assert_eq!(edits(PROFILE, Arch::X86, 20), x86);
}

/// All that changes between two profiles: names, and whether more is allowed.
fn changed(first: &Filter, second: &Filter) -> BTreeSet<(Option<String>, Action, Action)> {
    let side = |filter| Side {
        source: "",
        kind: Kind::Profile(filter),
    };
    let diff = Diff::new(side(first), side(second));
    assert!(diff.complete);
    let changes = diff.changes.into_iter();
    changes.map(|c| (c.call, c.from, c.to)).collect()
}

/// Each change is made, and what comes of it is held against the profile
/// before by the comparison of programs.
#[test]
fn a_change_allows_its_call_and_no_other() {
    let profiles = [
        PROFILE.to_owned(),
        PROFILE.replace(
            "[\"SCMP_ARCH_X86_64\"]",
            "[\"SCMP_ARCH_X86\", \"SCMP_ARCH_X32\"]",
        ),
        PROFILE.replace("SCMP_ACT_ERRNO", "SCMP_ACT_LOG"),
        include_str!("../../testdata/default.json").to_owned(),
    ];
    let mut tried = 0;
    for text in &profiles {
        let before = filter(text);
        let (section, policy) = (&before.profile.section, &before.translation.policy);
        for arch in [Arch::X86_64, Arch::X86] {
            for nr in (0..470)
                .step_by(11)
                .chain([56, 101, 102, 250, 317, 321, 359])
            {
                let options = Options::default();
                let Ok(change) = change::smallest(section, policy, options, arch, nr) else {
                    continue;
                };
                let name = syscalls::name(arch, nr).unwrap();
                let mut profile = before.profile.clone();
                profile.section = change::apply(section, &name, &change.edits).unwrap();
                let after = Filter::new(profile, options).unwrap();
                for (call, from, to) in changed(&before, &after) {
                    let call = call.unwrap_or_default();
                    let by_multiplexer = ["socketcall", "ipc"].contains(&call.as_str());
                    let newer = (from, to) == (Action::Errno(38), policy.default);
                    let expected = call == name
                        || by_multiplexer && to == Action::Allow
                        || newer && (call.is_empty() || change.no_longer_newer.contains(&call));
                    assert!(expected, "{name}: {call} changes from {from} to {to}");
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "{tried}");
}
