use super::*;
use crate::filter::Options;
use crate::profile::Profile;
use crate::style::Style;
use serde_json::{Value, json};

fn filter(section: Value) -> Filter {
    let section = serde_json::from_value(section).unwrap();
    Filter::new(Profile::from_section(section), Options::default()).unwrap()
}

fn profile<'a>(source: &'a str, filter: &'a Filter) -> Side<'a> {
    let kind = Kind::Profile(filter);
    Side { source, kind }
}

fn program<'a>(source: &'a str, filter: &'a Filter) -> Side<'a> {
    let kind = Kind::Programs(std::slice::from_ref(&filter.program));
    Side { source, kind }
}

fn compared(first: &Filter, second: &Filter) -> Diff {
    Diff::new(profile("a.json", first), profile("b.json", second))
}

const PERSONALITY_LINUX: u64 = 0;
const PERSONALITY_LINUX32: u64 = 8;
const CLONE_NEWUSER: u64 = 0x1000_0000;
const CLONE_NEWNS: u64 = 0x2_0000;

fn masked(value: u64) -> Value {
    json!([{"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": value, "valueTwo": 0}])
}

fn equals(value: u64) -> Value {
    json!([{"index": 0, "op": "SCMP_CMP_EQ", "value": value}])
}

/// Both name a young call, so that what is newer is the same.
fn old() -> Filter {
    filter(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [
            {"names": ["read", "write", "exit_group", "personality", "keyctl", "mseal"],
             "action": "SCMP_ACT_ALLOW"},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
             "args": masked(CLONE_NEWUSER | CLONE_NEWNS)},
            {"names": ["ptrace"], "action": "SCMP_ACT_KILL_PROCESS"},
        ],
    }))
}

fn new() -> Filter {
    filter(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [
            {"names": ["read", "write", "exit_group", "io_uring_setup", "io_uring_enter", "mseal"],
             "action": "SCMP_ACT_ALLOW"},
            {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": equals(PERSONALITY_LINUX)},
            {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": equals(PERSONALITY_LINUX32)},
            {"names": ["keyctl"], "action": "SCMP_ACT_LOG"},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": masked(CLONE_NEWUSER)},
        ],
    }))
}

/// Without what is libseccomp's to choose.
fn settled(text: &str, diff: &Diff) -> String {
    text.replace(&diff.first.fingerprints[0], "FIRST")
        .replace(&diff.second.fingerprints[0], "SECOND")
        .replace(&diff.points.to_string(), "POINTS")
}

#[test]
fn tells_people_what_changes_and_when() {
    let diff = compared(&old(), &new());
    let text = diff.to_text(Style::PLAIN, false);
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    insta::assert_snapshot!(settled(&text, &diff), @r"
first          a.json (x86_64, x86)
second         b.json (x86_64, x86, x32)
flags          first: SPEC_ALLOW; second: LOG

newly allowed
  ALLOW (was ERRNO(1) EPERM)
    io_uring_enter, io_uring_setup
    clone if arg0 & CLONE_NEWUSER == 0, unless arg0 & (CLONE_NEWNS |
      CLONE_NEWUSER) == 0
      such as x86_64 clone(CLONE_NEWNS, 0, 0, 0, 0)
  LOG (was KILL_THREAD) on x32, which only the second lists
    keyctl
  ALLOW (was KILL_THREAD) on x32, which only the second lists
    exit_group, io_uring_enter, io_uring_setup, mseal, read, write
    clone if arg0 & CLONE_NEWUSER == 0
      such as x32 clone(0, 0, 0, 0, 0)
    personality if arg0 == PER_LINUX or arg0 == PER_LINUX32
      such as x32 personality(PER_LINUX)

no longer allowed
  ERRNO(1) EPERM (was ALLOW)
    personality unless arg0 == PER_LINUX or arg0 == PER_LINUX32
      such as x86_64 personality(1)

another verdict
  ERRNO(1) EPERM (was KILL_PROCESS)
    ptrace
  LOG (was ALLOW)
    keyctl
  ERRNO(1) EPERM (was KILL_THREAD) on x32, which only the second lists
    accept, accept4, access, acct, add_key, adjtimex, afs_syscall, alarm, and
      312 more (--verbose)
    calls without a name, such as number 1073741837
    clone unless arg0 & CLONE_NEWUSER == 0
      such as x32 clone(CLONE_NEWUSER, 0, 0, 0, 0)
    personality unless arg0 == PER_LINUX or arg0 == PER_LINUX32
      such as x32 personality(1)
  ERRNO(38) ENOSYS (was KILL_THREAD) on x32, which only the second lists
    execve, execveat, file_getattr, file_setattr, get_robust_list, getsockopt,
      getxattrat, io_setup, and 36 more (--verbose)
    calls without a name, such as number 1073742295

every other call has the same verdict (POINTS calls tried)
    ");
}

#[test]
fn names_all_calls_if_asked() {
    let text = compared(&old(), &new()).to_text(Style::PLAIN, true);
    assert!(!text.contains("--verbose"), "{text}");
    assert!(text.contains(" writev"), "{text}");
}

#[test]
fn tells_programs_the_same() {
    let loose = filter(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": ["mseal", "read"], "action": "SCMP_ACT_ALLOW"}],
    }));
    let strict = filter(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [
            {"names": ["mseal"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": equals(3)},
        ],
    }));
    let diff = compared(&loose, &strict);
    assert_eq!(diff.is_subset(), Some(true));
    insta::assert_snapshot!(settled(&diff.to_json().unwrap(), &diff), @r#"
{
  "schema": 1,
  "first": {
    "source": "a.json",
    "kind": "profile",
    "fingerprints": [
      "FIRST"
    ],
    "architectures": [
      "x86_64"
    ],
    "flags": [
      "SECCOMP_FILTER_FLAG_SPEC_ALLOW"
    ]
  },
  "second": {
    "source": "b.json",
    "kind": "profile",
    "fingerprints": [
      "SECOND"
    ],
    "architectures": [
      "x86_64"
    ],
    "flags": [
      "SECCOMP_FILTER_FLAG_SPEC_ALLOW"
    ]
  },
  "equal": false,
  "subset": true,
  "complete": true,
  "points": POINTS,
  "newlyAllowed": [],
  "noLongerAllowed": [
    {
      "call": "read",
      "numbers": {
        "x86_64": 0
      },
      "from": "ALLOW",
      "to": "ERRNO(1)",
      "when": "cases",
      "cases": "unless arg0 == 3",
      "witness": {
        "call": "x86_64 read()",
        "architecture": "x86_64",
        "number": 0,
        "args": [
          "0x0",
          "0x0",
          "0x0",
          "0x0",
          "0x0",
          "0x0"
        ]
      }
    }
  ],
  "otherVerdict": []
}
    "#);
}

#[test]
fn a_change_the_other_way_is_the_same_with_its_sides_exchanged() {
    let (old, new) = (old(), new());
    let key = |c: &Change, swap: bool| {
        let (from, to) = match swap {
            false => (c.from, c.to),
            true => (c.to, c.from),
        };
        (c.call.clone(), c.numbers.clone(), from, to)
    };
    let mut there: Vec<_> = compared(&old, &new)
        .changes
        .iter()
        .map(|c| key(c, false))
        .collect();
    let mut back: Vec<_> = compared(&new, &old)
        .changes
        .iter()
        .map(|c| key(c, true))
        .collect();
    there.sort();
    back.sort();
    assert_eq!(there, back);
}

#[test]
fn ready_programs_are_compared_on_the_same_calls() {
    let (old, new) = (old(), new());
    let key = |c: &Change| (c.call.clone(), c.numbers.clone(), c.from, c.to);
    let of = |first, second| {
        let mut changes: Vec<_> = Diff::new(first, second).changes.iter().map(key).collect();
        changes.sort();
        changes
    };
    let (a, b) = (profile("a", &old), profile("b", &new));
    let (x, y) = (program("a", &old), program("b", &new));
    let expected = of(a, b);
    assert!(expected.len() > 10);
    for (first, second) in [(x, b), (a, y), (x, y)] {
        assert_eq!(of(first, second), expected);
    }
    assert_eq!(Diff::new(x, a).is_equal(), Some(true));
    assert_eq!(Diff::new(a, x).is_equal(), Some(true));
}

/// Whether the second is a subset of the first, and the other way round.
fn subsets(first: Value, second: Value) -> [Option<bool>; 2] {
    let (first, second) = (filter(first), filter(second));
    [
        compared(&first, &second).is_subset(),
        compared(&second, &first).is_subset(),
    ]
}

fn default(action: &str) -> Value {
    json!({"defaultAction": format!("SCMP_ACT_{action}")})
}

#[test]
fn what_is_allowed_follows_the_kernels_order() {
    let same = [Some(true), Some(true)];
    assert_eq!(subsets(default("ALLOW"), default("LOG")), same);
    assert_eq!(subsets(default("KILL_PROCESS"), default("ERRNO")), same);
    let less = [Some(true), Some(false)];
    for (more, stricter) in [
        ("LOG", "TRACE"),
        ("TRACE", "TRAP"),
        ("ALLOW", "KILL_THREAD"),
    ] {
        assert_eq!(subsets(default(more), default(stricter)), less, "{more}");
    }
}

#[test]
fn an_architecture_more_allows_more() {
    let native = json!({"defaultAction": "SCMP_ACT_ALLOW"});
    let both = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"]});
    assert_eq!(subsets(both, native), [Some(true), Some(false)]);
}

/// Comparisons that make more combinations than are tried.
fn intricate(bound: u64) -> Filter {
    let rule = |k: u64| {
        let arg =
            |i: u64| json!({"index": i, "op": "SCMP_CMP_LE", "value": (bound + k) * 1000 + i});
        let args: Vec<_> = (0..6).map(arg).collect();
        json!({"names": ["mmap"], "action": "SCMP_ACT_ALLOW", "args": args})
    };
    let rules: Vec<_> = (0..3).map(rule).collect();
    filter(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}))
}

#[test]
fn what_cannot_be_told_is_no_yes() {
    let diff = compared(&intricate(5), &intricate(5));
    assert!(!diff.complete);
    assert_eq!((diff.is_equal(), diff.is_subset()), (None, None));
    assert!(
        diff.to_text(Style::PLAIN, false)
            .contains("could not be told")
    );
    // A difference that was found is one, however many were not tried.
    let more = filter(default("ALLOW"));
    assert_eq!(compared(&intricate(5), &more).is_subset(), Some(false));
}

/// Rules for personality, and for which arguments they allow what `old` does
/// not.
#[test]
fn says_in_words_for_which_arguments() {
    let rules = |rules: &[(&str, Value)]| {
        let rule = |(action, args): &(&str, Value)| json!({"names": ["personality"], "action": format!("SCMP_ACT_{action}"), "args": args});
        let rules: Vec<_> = rules.iter().map(rule).collect();
        filter(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}))
    };
    let none = rules(&[]);
    let one = rules(&[("ALLOW", equals(8))]);
    let two = rules(&[("ALLOW", equals(8)), ("ALLOW", equals(9))]);
    let all_but_one = rules(&[("ERRNO", equals(8)), ("ALLOW", json!([]))]);
    let mixed = rules(&[
        ("ALLOW", equals(8)),
        ("TRAP", masked(0xff)),
        ("ALLOW", masked(0xffff_0000)),
    ]);
    let newly = |first: &Filter, second: &Filter| {
        let changes = compared(first, second).changes;
        let more: Vec<_> = changes
            .into_iter()
            .filter(|c| c.direction() == Direction::More && c.call.is_some())
            .map(|c| c.when)
            .collect();
        more
    };
    let cases = |text: &str| vec![When::Cases(text.to_owned())];
    assert_eq!(newly(&none, &one), cases("if arg0 == PER_LINUX32"));
    assert_eq!(
        newly(&none, &two),
        cases("if arg0 == PER_LINUX32 or arg0 == 9")
    );
    assert_eq!(
        newly(&one, &two),
        cases("if arg0 == 9, unless arg0 == PER_LINUX32")
    );
    assert_eq!(
        newly(&none, &all_but_one),
        cases("unless arg0 == PER_LINUX32")
    );
    assert_eq!(newly(&none, &mixed), [When::Sometimes]);
}

#[test]
fn programs_that_tell_no_architecture_apart_have_an_answer_for_each() {
    let old = old();
    let nothing = Side {
        source: "nothing",
        kind: Kind::Programs(&[]),
    };
    let diff = Diff::new(profile("a", &old), nothing);
    let read_only = |c: &&Change| c.unlisted.is_none() && !c.numbers.is_empty();
    assert!(
        diff.changes
            .iter()
            .filter(|c| c.call.is_some())
            .all(|c| read_only(&c))
    );
    let mount = diff
        .changes
        .iter()
        .find(|c| c.call.as_deref() == Some("mount"));
    let mount = mount.expect("it is denied by the profile");
    assert_eq!((mount.from, mount.to), (Action::Errno(1), Action::Allow));
    assert_eq!(diff.is_subset(), Some(false));
}
