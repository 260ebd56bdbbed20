//! The kernel as the judge: profiles are loaded on a child that makes the
//! calls, and it sees what the reference says. Needs a kernel with seccomp
//! and 32-bit system calls, setpriv (util-linux), and gcc with -m32.
//!
//! `KERNEL_PROFILES` sets the number of random profiles.
#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::path::Path;

use oci_seccomp::filter::{Filter, OnAmbiguity, Options};
use oci_seccomp::policy::{Action, Arch, Call, Policy};
use oci_seccomp::profile::{KernelVersion, Target};
use serde_json::{Value, json};
use support::{Run, binary, programs};

/// EBADFD: none of the calls made here fails so by itself.
const DENIED: u16 = 77;
/// A file descriptor that is not open.
const NO_FD: u64 = 0xffff_ffff;

/// A call by its entry: the 64-bit `syscall`, or the 32-bit `int $0x80`.
#[derive(Clone, Copy, Debug)]
struct Made {
    arch: Arch,
    nr: u32,
    args: [u64; 6],
}

fn made(arch: Arch, nr: u32, given: &[u64]) -> Made {
    let mut args = [0; 6];
    args[..given.len()].copy_from_slice(given);
    Made { arch, nr, args }
}

fn policy(profile: &Value) -> Policy {
    let target = Target::new(
        Default::default(),
        Arch::native(),
        KernelVersion { major: 6, minor: 1 },
    );
    let mut options = Options::default();
    options.ambiguity = OnAmbiguity::First;
    let filter = Filter::parse("profile", &profile.to_string(), &target, options);
    filter.unwrap().policy().clone()
}

/// What the probe prints for each call, made in a child of its own under the
/// profile: `NR = RET ERRNO`, or `killed SIGNAL`.
fn answers(program: &Path, profile: &Value, calls: &[Made]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("profile.json");
    fs::write(&file, profile.to_string()).unwrap();
    let mut words = Vec::new();
    for call in calls {
        let op = match call.arch {
            Arch::X86 if program == programs::probe() => "call32",
            _ => "call",
        };
        words.extend(["fork".to_owned(), op.to_owned(), call.nr.to_string()]);
        words.extend(call.args.iter().map(|a| format!("{a:#x}")));
        words.push("--".to_owned());
    }
    words.pop();
    let seen = Run::new("setpriv")
        .arg("--no-new-privs")
        .arg(binary())
        .args(["init", "--ambiguous=first", "--profile"])
        .arg(&file)
        .arg("--")
        .arg(program)
        .args(words)
        .run()
        .success();
    seen.stdout.lines().map(str::to_owned).collect()
}

/// Whether an answer is what an action looks like from inside.
fn is_like(action: Action, answer: &str) -> bool {
    let errno = answer.rsplit(' ').next().unwrap_or_default();
    let killed = answer.contains("killed");
    match action {
        Action::KillProcess | Action::KillThread | Action::Trap => killed && errno == "31",
        Action::Errno(0) => answer.contains("= 0 "),
        Action::Errno(e) => !killed && errno == e.to_string(),
        // Without a tracer.
        Action::Trace(_) => !killed && errno == libc::ENOSYS.to_string(),
        _ => !killed && errno != DENIED.to_string() && errno != libc::ENOSYS.to_string(),
    }
}

/// Loads the profile, makes the calls, and holds the answers against the
/// reference. Returns the verdicts.
fn assert_kernel_agrees(program: &Path, profile: &Value, calls: &[Made]) -> Vec<Action> {
    let policy = policy(profile);
    let answers = answers(program, profile, calls);
    assert_eq!(answers.len(), calls.len(), "{answers:#?}");
    let verdicts = calls.iter().zip(&answers).map(|(made, answer)| {
        let Made { arch, nr, args } = *made;
        let audit = arch.audit();
        let action = policy.verdict(&Call { audit, nr, args }).action;
        assert!(
            is_like(action, answer),
            "{made:x?}: {action} expected, {answer:?} seen under {profile}"
        );
        action
    });
    verdicts.collect()
}

fn rule(name: &str, action: &str, args: Value) -> Value {
    let mut rule = json!({"names": [name], "action": action, "args": args});
    if action == "SCMP_ACT_ERRNO" {
        rule["errnoRet"] = DENIED.into();
    }
    rule
}

fn condition(index: u8, op: &str, value: u64) -> Value {
    json!({"index": index, "op": format!("SCMP_CMP_{op}"), "value": value, "valueTwo": 5})
}

fn profile(rules: &[Value]) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules,
    })
}

#[test]
fn lseek_fails_when_any_64_bit_bound_matches() {
    let bound = |value| {
        let args = json!([condition(1, "LE", value)]);
        rule("lseek", "SCMP_ACT_ERRNO", args)
    };
    let verdicts = assert_kernel_agrees(
        programs::probe(),
        &profile(&[bound(0x1_0000_0005), bound(5)]),
        &[5, 6, 0xffff_ffff, 0x1_0000_0005, 0x1_0000_0006, u64::MAX]
            .map(|offset| made(Arch::X86_64, 8, &[NO_FD, offset])),
    );
    let denied = Action::Errno(DENIED);
    let allowed = Action::Allow;
    assert_eq!(verdicts, [denied, denied, denied, denied, allowed, allowed]);
}

#[test]
fn the_first_of_two_rules_for_mkdir_decides() {
    let rules = [
        rule(
            "mkdir",
            "SCMP_ACT_ERRNO",
            json!([condition(1, "EQ", 0o700)]),
        ),
        rule("mkdir", "SCMP_ACT_ALLOW", json!([])),
        rule("mkdir", "SCMP_ACT_KILL_PROCESS", json!([])),
    ];
    let verdicts = assert_kernel_agrees(
        programs::probe(),
        &profile(&rules),
        &[
            made(Arch::X86_64, 83, &[0, 0o700]),
            made(Arch::X86_64, 83, &[0, 0o755]),
        ],
    );
    assert_eq!(verdicts, [Action::Errno(DENIED), Action::Allow]);
}

#[test]
fn bounds_above_32_bits_hold_for_32_bit_calls_by_either_way() {
    let rules = [
        rule(
            "lseek",
            "SCMP_ACT_ERRNO",
            json!([condition(1, "LT", 1 << 32)]),
        ),
        rule(
            "getpriority",
            "SCMP_ACT_ERRNO",
            json!([condition(0, "EQ", (1 << 32) + 9)]),
        ),
    ];
    let calls = [
        made(Arch::X86, 19, &[NO_FD, 5]),
        made(Arch::X86, 19, &[NO_FD, 0xffff_ffff]),
        made(Arch::X86, 96, &[9]),
    ];
    for program in [programs::probe(), programs::probe32()] {
        let verdicts = assert_kernel_agrees(program, &profile(&rules), &calls);
        let denied = Action::Errno(DENIED);
        assert_eq!(verdicts, [denied, denied, Action::Allow]);
    }
    let wide = [made(Arch::X86_64, 8, &[NO_FD, 1 << 32])];
    assert_kernel_agrees(programs::probe(), &profile(&rules), &wide);
}

#[test]
fn a_32_bit_call_dies_where_the_architecture_is_not_listed() {
    let mut native = profile(&[]);
    native["architectures"] = json!([]);
    let calls = [
        made(Arch::X86, 20, &[]),
        made(Arch::X86_64, 39, &[]),
        made(Arch::X86_64, 0x4000_0000 + 39, &[]),
    ];
    let verdicts = assert_kernel_agrees(programs::probe(), &native, &calls);
    assert_eq!(
        verdicts,
        [Action::KillThread, Action::Allow, Action::KillThread]
    );
}

#[test]
fn sub_calls_of_socketcall_are_denied_with_their_call() {
    let rules = [rule("socket", "SCMP_ACT_ERRNO", json!([]))];
    let calls = [
        made(Arch::X86, 102, &[1]),
        made(Arch::X86, 102, &[2]),
        made(Arch::X86, 359, &[]),
        made(Arch::X86_64, 41, &[]),
    ];
    let verdicts = assert_kernel_agrees(programs::probe(), &profile(&rules), &calls);
    let denied = Action::Errno(DENIED);
    assert_eq!(verdicts, [denied, Action::Allow, denied, denied]);
}

/// Numbers from a fixed seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.next() % from.len() as u64).unwrap()]
    }

    fn value(&mut self) -> u64 {
        const EDGES: [u64; 12] = [
            0,
            1,
            5,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            0x1_0000_0000,
            0x1_0000_0005,
            0x5_0000_0005,
            1 << 63,
            u64::MAX - 1,
            u64::MAX,
        ];
        let edge = self.pick(&EDGES);
        edge.wrapping_add(self.pick(&[0, 0, 0, 1, u64::MAX]))
    }

    fn rule(&mut self) -> Value {
        let name = self.pick(&["lseek", "mkdir", "getpriority"]);
        let actions = [
            "ERRNO",
            "ERRNO",
            "ALLOW",
            "LOG",
            "TRACE",
            "TRAP",
            "KILL",
            "KILL_PROCESS",
        ];
        let action = format!("SCMP_ACT_{}", self.pick(&actions));
        let operators = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
        let args: Vec<_> = (0..1 + self.next() % 3)
            .map(|_| {
                let index = self.pick(&[1, 1, 2, 3, 5]);
                let op = self.pick(&operators);
                condition(index, op, self.value())
            })
            .collect();
        rule(name, &action, args.into())
    }

    /// A call that fails whatever its arguments, so that it does no harm: its
    /// first one is no descriptor, no address, no kind of priority.
    fn call(&mut self) -> Made {
        let (arch, nr, first) = self.pick(&[
            (Arch::X86_64, 8, NO_FD),
            (Arch::X86_64, 83, 16),
            (Arch::X86_64, 140, 77),
            (Arch::X86, 19, NO_FD),
            (Arch::X86, 39, 16),
            (Arch::X86, 96, 77),
        ]);
        let mut args = [0; 6].map(|_| self.value());
        args[0] = first;
        if arch == Arch::X86 {
            args = args.map(|a| a & 0xffff_ffff);
        }
        made(arch, nr, &args)
    }
}

#[test]
fn random_profiles_do_in_the_kernel_what_the_reference_says() {
    let given = std::env::var("KERNEL_PROFILES").ok();
    let profiles = given.and_then(|n| n.parse().ok()).unwrap_or(40);
    let mut random = Random(1);
    let mut seen = Vec::new();
    for _ in 0..profiles {
        let rules: Vec<_> = (0..1 + random.next() % 6).map(|_| random.rule()).collect();
        let calls: Vec<_> = (0..40).map(|_| random.call()).collect();
        seen.extend(assert_kernel_agrees(
            programs::probe(),
            &profile(&rules),
            &calls,
        ));
    }
    let denied = seen.iter().filter(|a| **a != Action::Allow).count();
    assert!(denied > seen.len() / 10, "{denied} of {}", seen.len());
}
