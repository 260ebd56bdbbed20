//! Random profiles: what the compiled program answers, what the reference
//! answers, and what a reader who knows nothing but the rules of the README
//! and the JSON in front of him answers, is the same. Needs no kernel.
//!
//! `PROPTEST_CASES` sets the number of profiles.

use std::ops::ControlFlow;

use oci_seccomp::explain::{Explanation, Question};
use oci_seccomp::filter::{Error, Filter, OnAmbiguity, Options};
use oci_seccomp::lint::{self, Surroundings};
use oci_seccomp::policy::{Action, Arch, Call};
use oci_seccomp::profile::{KernelVersion, Target};
use oci_seccomp::report::{ConditionReport, Context, Report};
use oci_seccomp::style::Style;
use oci_seccomp::{peers, plain, prove};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

const X32: u32 = 0x4000_0000;
const X86_64_TOKEN: u32 = 0xc000_003e;
const X86_TOKEN: u32 = 0x4000_0003;
const AARCH64_TOKEN: u32 = 0xc000_00b7;

/// What a name means: x86_64, x86, aarch64 number; x32's is x86_64's with its
/// bit. On x86 also a multiplexer with the bits of argument 0 that count and
/// their value. From the kernel's syscall tables (syscall_64.tbl,
/// syscall_32.tbl, asm-generic/unistd.h) and socketcall(2), ipc(2).
struct Name(
    &'static str,
    Option<u32>,
    Option<u32>,
    Option<u32>,
    Option<(u32, u64, u64)>,
);

const NAMES: &[Name] = &[
    Name("read", Some(0), Some(3), Some(63), None),
    Name("lseek", Some(8), Some(19), Some(62), None),
    Name("mkdir", Some(83), Some(39), None, None),
    Name("personality", Some(135), Some(136), Some(92), None),
    Name("_llseek", None, Some(140), None, None),
    Name("mseal", Some(462), Some(462), Some(462), None),
    Name("frobnicate", None, None, None, None),
    Name(
        "socket",
        Some(41),
        Some(359),
        Some(198),
        Some((102, 0xffff_ffff, 1)),
    ),
    Name(
        "accept",
        Some(43),
        None,
        Some(202),
        Some((102, 0xffff_ffff, 5)),
    ),
    Name("semop", Some(65), None, Some(193), Some((117, 0xffff, 1))),
    Name(
        "semget",
        Some(64),
        Some(393),
        Some(190),
        Some((117, 0xffff, 2)),
    ),
    Name("socketcall", None, Some(102), None, None),
];

const VALUES: &[u64] = &[
    0,
    1,
    2,
    5,
    0x1c0,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x1_0000_0005,
    0x5_0000_0000,
    0x5_0000_0005,
    0xffff_ffff_0000_0000,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

const ACTIONS: &[&str] = &[
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_NOTIFY",
];

const OPERATORS: &[&str] = &[
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
];

/// An action, with an errno where one may stand.
fn action(default: bool) -> impl Strategy<Value = (&'static str, Option<u32>)> {
    let names = if default { &ACTIONS[..8] } else { ACTIONS };
    let errno = prop_oneof![
        2 => Just(None),
        1 => select(&[0u32, 1, 38, 77, 4094][..]).prop_map(Some),
    ];
    (select(names), errno).prop_map(|(name, errno)| {
        let takes = matches!(name, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE");
        (name, errno.filter(|_| takes))
    })
}

fn condition() -> impl Strategy<Value = Value> {
    let index = prop_oneof![3 => Just(0usize), 2 => Just(1), 1 => 2..6usize];
    let value = || prop_oneof![9 => select(VALUES), 1 => any::<u64>()];
    let two = prop_oneof![Just(None), value().prop_map(Some)];
    (index, select(OPERATORS), value(), two).prop_map(|(index, op, value, two)| {
        let mut arg = json!({"index": index, "value": value, "op": op});
        if let Some(two) = two {
            arg["valueTwo"] = two.into();
        }
        arg
    })
}

fn rule(names: Vec<&'static str>) -> impl Strategy<Value = Value> {
    let args = prop_oneof![
        2 => Just(Vec::new()),
        6 => vec(condition(), 1..3),
        1 => vec(condition(), 1..7),
    ];
    (subsequence(names, 1..3), action(false), args).prop_map(|(names, (action, errno), args)| {
        let mut rule = json!({"names": names, "action": action});
        if let Some(errno) = errno {
            rule["errnoRet"] = errno.into();
        }
        if !args.is_empty() {
            rule["args"] = args.into();
        }
        rule
    })
}

fn profile() -> impl Strategy<Value = Value> {
    profile_of(NAMES.iter().map(|n| n.0).collect())
}

fn profile_of(names: Vec<&'static str>) -> impl Strategy<Value = Value> {
    let others = [
        "SCMP_ARCH_X86",
        "SCMP_ARCH_X32",
        "SCMP_ARCH_AARCH64",
        "SCMP_ARCH_X86_64",
    ];
    let arches = subsequence(others.to_vec(), 0..=4);
    (action(true), arches, vec(rule(names), 0..7)).prop_map(|((default, errno), arches, rules)| {
        let mut profile = json!({"defaultAction": default, "syscalls": rules});
        if let Some(errno) = errno {
            profile["defaultErrnoRet"] = errno.into();
        }
        if !arches.is_empty() {
            profile["architectures"] = arches.into();
        }
        profile["listenerPath"] = "/run/agent.sock".into();
        profile
    })
}

/// The verdict on a call by someone who reads the JSON from top to bottom.
fn read_by_hand(profile: &Value, enosys: bool, call: &Call) -> Action {
    let listed = |name: &str| {
        let arches = profile["architectures"].as_array();
        arches.is_some_and(|all| all.iter().any(|a| a == name))
    };
    let (arch, bits) = match call.audit {
        X86_64_TOKEN if call.nr & X32 == 0 && call.nr < X32 => ("x86_64", 64),
        X86_64_TOKEN if call.nr == u32::MAX => ("x86_64", 64),
        X86_64_TOKEN if listed("SCMP_ARCH_X32") => ("x32", 32),
        X86_TOKEN if listed("SCMP_ARCH_X86") => ("x86", 32),
        AARCH64_TOKEN if listed("SCMP_ARCH_AARCH64") => ("aarch64", 64),
        _ => return Action::KillThread,
    };
    let mask = if bits == 64 { u64::MAX } else { 0xffff_ffff };
    let args = call.args.map(|a| a & mask);
    let mut newest = None;
    let mut verdict = None;
    for rule in profile["syscalls"].as_array().unwrap() {
        let conditions = rule["args"].as_array().map_or(&[][..], Vec::as_slice);
        let mut indexes: Vec<_> = conditions.iter().map(|c| c["index"].as_u64()).collect();
        indexes.sort_unstable();
        indexes.dedup();
        let mut outcomes = conditions.iter().map(|c| holds(c, &args));
        let matches = if indexes.len() < conditions.len() {
            outcomes.any(|o| o)
        } else {
            outcomes.all(|o| o)
        };
        for name in rule["names"].as_array().unwrap() {
            let known = NAMES.iter().find(|n| name == n.0).unwrap();
            let number = match arch {
                "x86_64" => known.1,
                "x32" => known.1.map(|n| n + X32),
                "x86" => known.2,
                _ => known.3,
            };
            newest = newest.max(number);
            let mut hit = number == Some(call.nr) && matches;
            if let Some((by, mask, sub)) = known.4
                && arch == "x86"
                && conditions.is_empty()
            {
                newest = newest.max(Some(by));
                hit |= call.nr == by && args[0] & mask == sub;
            }
            if hit && verdict.is_none() {
                verdict = Some(verdict_of(&rule["action"], &rule["errnoRet"]));
            }
        }
    }
    let default = verdict_of(&profile["defaultAction"], &profile["defaultErrnoRet"]);
    let newer = newest.is_some_and(|n| call.nr > n);
    let silent = matches!(
        default,
        Action::Allow | Action::Log | Action::Trace(_) | Action::Errno(38)
    );
    match verdict {
        Some(action) => action,
        None if newer && enosys && !silent => Action::Errno(38),
        None => default,
    }
}

fn holds(condition: &Value, args: &[u64; 6]) -> bool {
    let arg = args[usize::try_from(condition["index"].as_u64().unwrap()).unwrap()];
    let value = condition["value"].as_u64().unwrap();
    match condition["op"].as_str().unwrap() {
        "SCMP_CMP_NE" => arg != value,
        "SCMP_CMP_LT" => arg < value,
        "SCMP_CMP_LE" => arg <= value,
        "SCMP_CMP_EQ" => arg == value,
        "SCMP_CMP_GE" => arg >= value,
        "SCMP_CMP_GT" => arg > value,
        _ => arg & value == condition["valueTwo"].as_u64().unwrap_or(0) & value,
    }
}

fn verdict_of(action: &Value, errno: &Value) -> Action {
    let errno = u16::try_from(errno.as_u64().unwrap_or(1)).unwrap();
    match action.as_str().unwrap() {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_ERRNO" => Action::Errno(errno),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_TRACE" => Action::Trace(errno),
        "SCMP_ACT_TRAP" => Action::Trap,
        _ => Action::Notify,
    }
}

/// A sequence of calls near the constants of the profiles, from a seed.
struct Calls(u64);

impl Calls {
    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.next() % from.len() as u64).unwrap()]
    }

    fn word(&mut self) -> u32 {
        u32::try_from(self.next() >> 32).unwrap()
    }

    fn arg(&mut self, constants: &[u64]) -> u64 {
        let constant = if self.next().is_multiple_of(2) {
            self.pick(constants)
        } else {
            self.pick(VALUES)
        };
        match self.next() % 16 {
            0 => self.next(),
            1 => 1 << (self.next() % 64),
            2 => constant ^ 1 << (self.next() % 64),
            3 | 4 => constant.wrapping_add(1),
            5 | 6 => constant.wrapping_sub(1),
            7 => constant.rotate_left(32),
            _ => constant,
        }
    }

    fn call(&mut self, constants: &[u64]) -> Call {
        let known = &NAMES[usize::try_from(self.next()).unwrap() % NAMES.len()];
        let audit = match self.next() % 32 {
            0 => self.word(),
            1 => self.pick(Arch::ALL).audit(),
            _ => self.pick(&[X86_64_TOKEN, X86_64_TOKEN, X86_TOKEN, AARCH64_TOKEN]),
        };
        let named = match audit {
            X86_64_TOKEN if self.next().is_multiple_of(2) => known.1.map(|n| n + X32),
            X86_64_TOKEN => known.1,
            X86_TOKEN => known
                .2
                .filter(|_| self.next() & 1 == 0)
                .or(known.4.map(|m| m.0)),
            _ => known.3,
        };
        let nr = match self.next() % 16 {
            0 => self.word(),
            1 => self.pick(&[u32::MAX, X32, X32 - 1, 1 << 31, u32::MAX - 1]),
            2 => self.word() % 600,
            3 => named.unwrap_or(462).wrapping_add(1),
            4 => named.unwrap_or(0).wrapping_sub(1),
            _ => named.unwrap_or(77),
        };
        let args = [0; 6].map(|_| self.arg(constants));
        Call { audit, nr, args }
    }
}

/// The numbers that conditions compare with.
fn constants(profile: &Value) -> Vec<u64> {
    let rules = profile["syscalls"].as_array().unwrap();
    let args = rules.iter().filter_map(|r| r["args"].as_array()).flatten();
    let values = args.flat_map(|a| [a["value"].as_u64(), a["valueTwo"].as_u64()]);
    values.flatten().chain([0]).collect()
}

fn options(enosys: bool, ambiguity: OnAmbiguity) -> Options {
    let mut options = Options::default();
    options.translate.enosys = enosys;
    options.ambiguity = ambiguity;
    options
}

fn parse(profile: &Value, options: Options) -> Result<Filter, Error> {
    let target = Target::new(
        Default::default(),
        Arch::X86_64,
        KernelVersion { major: 6, minor: 1 },
    );
    Filter::parse("random", &profile.to_string(), &target, options)
}

fn config() -> ProptestConfig {
    let given = std::env::var("PROPTEST_CASES").ok();
    ProptestConfig {
        cases: given.and_then(|n| n.parse().ok()).unwrap_or(200),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

const CALLS_PER_PROFILE: usize = 400;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn program_and_reference_say_what_the_json_says(
        profile in profile(), enosys: bool, seed: u64,
    ) {
        // It cannot fail: the profile is valid and small, and a program that
        // is not the policy is refused by the proof.
        let filter = parse(&profile, options(enosys, OnAmbiguity::First)).unwrap();
        let constants = constants(&profile);
        let mut calls = Calls(seed);
        for _ in 0..CALLS_PER_PROFILE {
            let call = calls.call(&constants);
            let expected = read_by_hand(&profile, enosys, &call);
            let meant = filter.policy().verdict(&call).action;
            prop_assert_eq!(meant, expected, "reference, {:x?}", call);
            let (got, steps) = filter.program().run(&call);
            prop_assert_eq!(got, expected.to_ret(), "program, {:x?}", call);
            prop_assert!(steps <= filter.program().instructions().len());
        }
    }

    /// What is accepted without being told how to read overlaps is nowhere
    /// weaker for them than what every runtime makes of the profile. Calls
    /// that an architecture lacks are left out: beside a rule for one,
    /// libseccomp 2.5 loses rules for others.
    #[test]
    fn overlaps_that_are_accepted_are_no_weaker_than_under_plain_libseccomp(
        profile in profile_of(vec!["read", "lseek", "personality", "socket"]), seed: u64,
    ) {
        let filter = match parse(&profile, options(false, OnAmbiguity::Refuse)) {
            Ok(filter) => filter,
            Err(Error::Ambiguous { .. }) => return Ok(()),
            // Too many conditions for libseccomp.
            Err(Error::Compare { .. }) => return Ok(()),
            Err(e) => panic!("{e}"),
        };
        let plain = plain::compile(&filter.profile().section, filter.translation(), None);
        let Ok(plain) = plain else { return Ok(()) };
        let policy = filter.policy();
        let constants = constants(&profile);
        let mut calls = Calls(seed);
        for _ in 0..CALLS_PER_PROFILE {
            let call = calls.call(&constants);
            let ours = policy.verdict(&call).action;
            let theirs = Action::from_ret(plain.run(&call).0);
            let Some(rules) = policy.rules_for(call.audit, call.nr) else { continue };
            let args = call.args.map(|a| rules.arch.arg(a));
            let clauses = rules.calls.get(&call.nr).map_or(&[][..], Vec::as_slice);
            let overlap = clauses.iter().any(|c| c.matches(&args) && c.action != ours);
            prop_assert!(
                !overlap || ours.permissiveness() <= theirs.permissiveness(),
                "{:x?}: ours {}, theirs {}", call, ours, theirs
            );
        }
    }
}

proptest! {
    // Each asks libseccomp for whole profiles, which can take it seconds.
    #![proptest_config(ProptestConfig { cases: config().cases / 4, ..config() })]

    /// What `dry-run` says is shown by calls, and a rule that is said to
    /// change nothing does not.
    #[test]
    fn findings_are_true(profile in profile()) {
        let filter = parse(&profile, options(true, OnAmbiguity::First)).unwrap();
        let policy = filter.policy();
        let report = Report::new(&filter, &Context::default());
        prop_assert!(report.to_text(Style::PLAIN, true).len() > 100);
        let readings = peers::readings(&filter.profile().section, filter.translation());
        let around = Surroundings { readings: &readings, ..Surroundings::default() };
        for finding in lint::findings(&filter, &around) {
            for witness in &finding.witness {
                let call = &witness.call;
                let verdicts: Vec<Action> = match &witness.by {
                    None => vec![policy.verdict(call).action],
                    Some(by) => readings
                        .iter()
                        .filter(|r| by.split(", ").any(|name| name == r.runtime.name()))
                        .filter_map(|r| r.verdict(policy, call))
                        .collect(),
                };
                prop_assert!(!verdicts.is_empty(), "{:?}", finding);
                prop_assert!(verdicts.iter().all(|v| *v == witness.verdict), "{:?}", finding);
            }
            if let (lint::Id::DefaultAction, Some(rule)) = (finding.id, finding.rule) {
                let mut without = profile.clone();
                without["syscalls"].as_array_mut().unwrap().remove(rule);
                // Without a rule that says NOTIFY a flag or a path may be in
                // the way; such a rule is never the default.
                let without = parse(&without, options(true, OnAmbiguity::First)).unwrap();
                let mut differs = None;
                prove::compare(policy, without.program(), None, |w| {
                    differs = Some(w);
                    ControlFlow::Break(())
                });
                prop_assert_eq!(differs, None, "{:?}", finding);
            }
        }
    }

    /// The outcome that `explain` names is the verdict: of all, the first
    /// whose conditions hold.
    #[test]
    fn explain_names_the_verdict(profile in profile(), name in 0..NAMES.len(), seed: u64) {
        let filter = parse(&profile, options(true, OnAmbiguity::First)).unwrap();
        let constants = constants(&profile);
        let mut calls = Calls(seed);
        for name in NAMES[name..].iter().filter(|n| n.1.is_some()).take(1) {
            let question = Question::parse(name.0, &["_"; 0], None).unwrap();
            let whole = Explanation::new(&filter, &question, false);
            for _ in 0..2 {
                let call = Call { audit: X86_64_TOKEN, nr: question.nr, ..calls.call(&constants) };
                let expected = filter.policy().verdict(&call).action.to_string();
                let first = whole.outcomes.iter().find(|o| o.conditions.iter().all(|c| met(c, &call)));
                prop_assert_eq!(&first.unwrap().action, &expected, "{:x?}", call);
                let given = Question { given: call.args.map(Some), ..question.clone() };
                let exact = Explanation::new(&filter, &given, true);
                prop_assert_eq!(exact.outcomes.len(), 1);
                prop_assert_eq!(&exact.outcomes[0].action, &expected, "{:x?}", call);
            }
        }
    }
}

/// Whether a condition that was printed holds.
fn met(condition: &ConditionReport, call: &Call) -> bool {
    let arg = call.args[usize::from(condition.arg)];
    let value = condition.value;
    match condition.op {
        "SCMP_CMP_NE" => arg != value,
        "SCMP_CMP_LT" => arg < value,
        "SCMP_CMP_LE" => arg <= value,
        "SCMP_CMP_EQ" => arg == value,
        "SCMP_CMP_GE" => arg >= value,
        "SCMP_CMP_GT" => arg > value,
        _ => arg & value == condition.value_two.unwrap_or(0) & value,
    }
}
