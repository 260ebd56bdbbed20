//! What it costs to turn a profile into a proven program, beside what plain
//! libseccomp costs, in the same run: A B A B, medians. Prints a table;
//! nothing here passes or fails.
#![allow(missing_docs)]

use oci_seccomp::compile::compile;
use oci_seccomp::filter::{Filter, OnAmbiguity, Options};
use oci_seccomp::plain;
use oci_seccomp::policy::Arch;
use oci_seccomp::profile::{Profile, Target};
use oci_seccomp::prove::prove;
use oci_seccomp::translate::{self, Translation, translate};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const DEFAULT: &str = include_str!("../testdata/default.json");

fn main() {
    let target = Target {
        capabilities: std::collections::BTreeSet::new(),
        arch: Arch::native(),
        kernel: "6.1".parse().expect("a version"),
    };
    let read = |text: &str| Profile::parse("bench", text, &target).expect("a valid profile");
    println!("the default container profile on x86_64, x86 and x32, medians of 51 runs");
    println!("{:<44}{:>10}{:>9}", "", "us", "ratio");
    default_profile(&read(DEFAULT));
    println!();
    println!("growth, medians of 5 runs; us");
    println!(
        "{:<24}{:>8}{:>10}{:>12}{:>12}{:>9}",
        "rules", "number", "ours", "plain", "us a rule", "ratio"
    );
    for (name, make) in [
        ("one name each", named as fn(usize) -> Value),
        ("one condition each", conditional),
    ] {
        for n in [50, 100, 200, 500, 1000, 2000, 5000] {
            growth(name, n, &read(&make(n).to_string()));
        }
    }
}

fn default_profile(profile: &Profile) {
    let options = Options::default();
    let translation = translation(profile);
    let program = compile(&translation.policy).expect("it compiles");
    let section = &profile.section;
    let [whole, plain, tr, order, comp, proof] = interleaved(
        51,
        [
            &mut || drop(Filter::new(profile.clone(), options)),
            &mut || drop(plain::compile(section, &translation, None)),
            &mut || drop(translate(section, translate::Options::default())),
            &mut || drop(plain::check_order(section, &translation)),
            &mut || drop(compile(&translation.policy)),
            &mut || {
                let _ = prove(&translation.policy, &program);
            },
        ],
    );
    for (what, time) in [
        ("one plain libseccomp context", plain),
        ("ours: translate, compile, link, prove", whole),
        ("  of this: translate", tr),
        ("  of this: look for ambiguous order", order),
        ("  of this: compile and link", comp),
        ("  of this: prove", proof),
    ] {
        println!(
            "{what:<44}{:>10}{:>9.3}",
            time.as_micros(),
            ratio(time, plain)
        );
    }
    let theirs = plain::compile(section, &translation, None).expect("it compiles");
    println!(
        "instructions: plain {}, ours {}",
        theirs.instructions().len(),
        program.instructions().len()
    );
}

fn growth(name: &str, n: usize, profile: &Profile) {
    let options = Options {
        ambiguity: OnAmbiguity::First,
        ..Options::default()
    };
    let translation = translation(profile);
    if let Err(e) = compile(&translation.policy) {
        let why = std::error::Error::source(&e).map(ToString::to_string);
        println!("{name:<24}{n:>8}  {}", why.unwrap_or_default());
        return;
    }
    let section = &profile.section;
    let [ours, plain] = interleaved(
        5,
        [
            &mut || drop(Filter::new(profile.clone(), options)),
            &mut || drop(plain::compile(section, &translation, None)),
        ],
    );
    println!(
        "{name:<24}{n:>8}{:>10}{:>12}{:>12.2}{:>9.3}",
        ours.as_micros(),
        plain.as_micros(),
        ours.as_secs_f64() * 1e6 / n as f64,
        ratio(ours, plain)
    );
}

fn translation(profile: &Profile) -> Translation {
    translate(&profile.section, translate::Options::default()).expect("a valid profile")
}

/// Medians of several things done in turn.
fn interleaved<const N: usize>(runs: usize, mut work: [&mut dyn FnMut(); N]) -> [Duration; N] {
    let mut times = [const { Vec::new() }; N];
    for _ in 0..runs {
        for (work, times) in work.iter_mut().zip(&mut times) {
            let start = Instant::now();
            work();
            times.push(start.elapsed());
        }
    }
    times.map(|mut t: Vec<Duration>| {
        t.sort_unstable();
        t[t.len() / 2]
    })
}

fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
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
