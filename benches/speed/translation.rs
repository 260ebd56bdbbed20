//! What it costs to turn a profile into a proven program, beside what plain
//! libseccomp costs.

use std::sync::Arc;
use std::time::Instant;

use oci_seccomp::bpf::Program;
use oci_seccomp::cache::Cache;
use oci_seccomp::compile::compile;
use oci_seccomp::filter::{Filter, OnAmbiguity, Options};
use oci_seccomp::loadable::{Loadable, Source};
use oci_seccomp::plain;
use oci_seccomp::policy::{Arch, Policy};
use oci_seccomp::profile::{Profile, Target};
use oci_seccomp::prove::prove;
use oci_seccomp::translate::{self, Translation, translate};
use serde_json::{Value, json};

use crate::report::Table;
use crate::rounds::{Plan, Sample, Subject, measure};

const DEFAULT: &str = include_str!("../../testdata/default.json");

/// The default profile, and what the two make of it.
pub struct Compiled {
    pub policy: Policy,
    pub ours: Program,
    pub plain: Program,
}

pub fn compiled() -> Compiled {
    let profile = read(DEFAULT);
    let translation = translation(&profile);
    Compiled {
        ours: compile(&translation.policy).expect("it compiles"),
        plain: plain::compile(&profile.section, &translation, None).expect("it compiles"),
        policy: translation.policy,
    }
}

pub fn tables(runs: usize) -> Vec<Table> {
    let mut tables = default_profile(3 * runs);
    tables.extend(growth(runs.div_ceil(3)));
    tables
}

/// All of it, from the text to the program; and its parts.
fn default_profile(runs: usize) -> Vec<Table> {
    let profile = read(DEFAULT);
    let options = Options::default();
    let translation = translation(&profile);
    let program = compile(&translation.policy).expect("it compiles");
    let dir = tempfile::tempdir().expect("temporary directory");
    let cache = Cache::open(&dir.path().join("cache")).expect("cache");
    let source = Source::whole("bench", DEFAULT.into(), target(), options);
    let section = &profile.section;
    let load = |cache| Loadable::new(source.clone(), cache);
    let plan = Plan {
        title: "a program for the default profile".into(),
        unit: "us",
        subjects: vec![
            Subject::new("one plain libseccomp context", None, || {
                time(|| plain::compile(section, &translation, None))
            }),
            Subject::new("ours, cold", Some(0), || time(|| load(None))),
            Subject::new("  of this: read", Some(0), || {
                time(|| Profile::parse("bench", DEFAULT, &target()))
            }),
            Subject::new("  of this: translate", Some(0), || {
                time(|| translate(section, translate::Options::default()))
            }),
            Subject::new("  of this: look for ambiguous order", Some(0), || {
                time(|| plain::check_order(section, &translation))
            }),
            Subject::new("  of this: compile and link", Some(0), || {
                time(|| compile(&translation.policy))
            }),
            Subject::new("  of this: prove", Some(0), || {
                time(|| prove(&translation.policy, &program))
            }),
            Subject::new("ours, from the cache", Some(0), || {
                time(|| load(Some(&cache)))
            }),
        ],
    };
    measure("the default profile", runs, vec![plan])
}

/// More and more rules.
fn growth(runs: usize) -> Vec<Table> {
    let kinds = [
        ("one name each", named as fn(usize) -> Value),
        ("one condition each", conditional),
    ];
    let plan = |(name, make): (&str, fn(usize) -> Value)| {
        let subjects = [50, 100, 200, 500, 1000, 2000, 5000]
            .into_iter()
            .enumerate();
        Plan {
            title: format!("a program for rules of {name}"),
            unit: "us",
            subjects: subjects
                .flat_map(|(at, n)| both(2 * at, n, &make(n).to_string()))
                .collect(),
        }
    };
    measure("more rules", runs, kinds.map(plan).into())
}

/// Plain libseccomp in the row `at`, and ours in the next. A profile that does
/// not fit into a program is not even tried by libseccomp, which is slow to
/// find out.
fn both<'a>(at: usize, rules: usize, text: &str) -> [Subject<'a>; 2] {
    let mut options = Options::default();
    options.ambiguity = OnAmbiguity::First;
    let profile = Arc::new(read(text));
    let (theirs, ours) = (Arc::clone(&profile), profile);
    let translation = translation(&theirs);
    let fits = compile(&translation.policy).map(drop).map_err(|e| why(&e));
    [
        Subject::new(
            format!("{rules} rules, plain libseccomp"),
            None,
            move || {
                fits.clone()?;
                time(|| plain::compile(&theirs.section, &translation, None))
            },
        ),
        Subject::new(format!("{rules} rules, ours"), Some(at), move || {
            time(|| Filter::new((*ours).clone(), options))
        }),
    ]
}

/// Microseconds, without the end of what was made.
fn time<T, E: std::error::Error>(work: impl FnOnce() -> Result<T, E>) -> Sample {
    let started = Instant::now();
    let made = work();
    let took = started.elapsed();
    made.map(|_| took.as_secs_f64() * 1e6).map_err(|e| why(&e))
}

/// The innermost reason.
fn why(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn target() -> Target {
    Target::new(
        std::collections::BTreeSet::new(),
        Arch::native(),
        "6.1".parse().expect("a version"),
    )
}

fn read(text: &str) -> Profile {
    Profile::parse("bench", text, &target()).expect("a valid profile")
}

fn translation(profile: &Profile) -> Translation {
    translate(&profile.section, translate::Options::default()).expect("a valid profile")
}

/// Names of calls of x86_64, over and over.
fn named(n: usize) -> Value {
    let names: Vec<String> = (0..440)
        .filter_map(|nr| oci_seccomp::syscalls::name(Arch::X86_64, nr))
        .collect();
    let rule = |i: usize| json!({"names": [names[i % names.len()]], "action": "SCMP_ACT_ALLOW"});
    section((0..n).map(rule).collect())
}

/// Different constants for the first argument of twenty calls.
fn conditional(n: usize) -> Value {
    const NAMES: [&str; 20] = [
        "read",
        "write",
        "lseek",
        "ioctl",
        "fcntl",
        "dup",
        "close",
        "kill",
        "getpriority",
        "mmap",
        "socket",
        "bind",
        "listen",
        "prctl",
        "madvise",
        "setns",
        "unshare",
        "flock",
        "fsync",
        "fchdir",
    ];
    let rule = |i: usize| {
        json!({"names": [NAMES[i % 20]], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 3 * i, "op": "SCMP_CMP_EQ"}]})
    };
    section((0..n).map(rule).collect())
}

fn section(rules: Vec<Value>) -> Value {
    json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules})
}
