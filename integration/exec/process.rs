//! What the process is: all that config.json says, and where init is.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::json;

use super::{each_pair, each_setting};
use crate::support::{self, Container, Created, Runtime, process};

support::on_each_runtime_and_youki! {
    becomes_what_the_config_describes
    has_the_ambient_capabilities_of_the_config
    finds_its_home_in_the_containers_passwd
    is_where_init_is
}

/// What a process is, by all that /proc says of it.
const WHO: &str = "\
    grep -E '^(Uid|Gid|Groups|Cap...|Umask|NoNewPrivs|Sig(Blk|Ign)|Cpus_allowed):' /proc/self/status; \
    echo cwd $PWD; busybox env | grep -v -e PWD -e SHLVL -e ^_= | busybox sort; \
    echo oom $(cat /proc/self/oom_score_adj); cat /proc/self/limits /proc/self/cgroup /proc/self/mountinfo; \
    busybox awk '{ print \"nice\", $18, $19, \"tty\", $7 }' /proc/self/stat; \
    ls /proc/self/fd | busybox wc -l";

/// A setting of everything that a process can be told to be.
fn described(container: Container) -> Container {
    container.patch(|config| {
        let process = &mut config["process"];
        process["user"]["additionalGids"] = json!([5, 7]);
        process["user"]["umask"] = json!(0o027);
        process["cwd"] = json!("/tmp");
        process["oomScoreAdj"] = json!(123);
        process["rlimits"] = json!([
            { "type": "RLIMIT_NOFILE", "soft": 77, "hard": 99 },
            { "type": "RLIMIT_CORE", "soft": 0, "hard": 4096 }
        ]);
        let env = process["env"].as_array_mut().expect("env");
        env.extend(["EMPTY=".into(), "TWO=a=b c".into(), "HOME=/nowhere".into()]);
    })
}

/// What the runtime's own `exec --process` makes of the config's process, and
/// what ours makes of it.
#[track_caller]
fn compare(created: &Created) -> String {
    let mut process = created.process().clone();
    process["args"] = json!(["/bin/sh", "-c", WHO]);
    let theirs = created.runtime_exec(&process).success();
    let ours = created.exec(&[], &["/bin/sh", "-c", WHO]).run().success();
    let is_said_by = |other: &str, line: &str| {
        other.lines().any(|l| l == line) || is_known(created.runtime(), line)
    };
    for (said, other) in [
        (&ours.stdout, &theirs.stdout),
        (&theirs.stdout, &ours.stdout),
    ] {
        let alone = said.lines().find(|line| !is_said_by(other, line));
        assert_eq!(alone, None, "{ours}{theirs}");
    }
    created.is_alone();
    ours.stdout
}

/// Where a runtime's own `exec` does not do what the config says, and we do:
/// - Whoever was started by posix_spawn(3) ignores signals 32 and 33, and each
///   runtime hands on what it ignores.
/// - runc 1.1.5 leaves the umask to `create` and `run`, and may raise the limit
///   of open files: Go does so for itself when it starts.
/// - crun 1.8.1 leaves oom_score_adj to them, and HOME for one who is not in the
///   container's passwd out, as youki does; runc says `/` then.
fn is_known(runtime: Runtime, line: &str) -> bool {
    let keys = match runtime {
        Runtime::Runc => &["SigIgn:", "Umask:", "Max open files"][..],
        Runtime::Crun => &["SigIgn:", "oom ", "HOME=/"],
        Runtime::Youki => &["SigIgn:", "Umask:", "oom ", "HOME=/"],
    };
    keys.iter().any(|key| line.starts_with(key))
}

fn becomes_what_the_config_describes(runtime: Runtime) {
    each_setting(runtime, |container| {
        let created = described(container).running();
        let said = compare(&created);
        let uid = created.process()["user"]["uid"].as_u64().expect("uid");
        let nnp = created.process()["noNewPrivileges"] == true;
        let lines: BTreeSet<&str> = said.lines().map(str::trim_end).collect();
        for expected in [
            format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}"),
            format!("Gid:\t{uid}\t{uid}\t{uid}\t{uid}"),
            "Groups:\t5 7".into(),
            "Umask:\t0027".into(),
            "CapInh:\t0000000000000000".into(),
            "CapBnd:\t00000000800405fb".into(),
            "CapAmb:\t0000000000000000".into(),
            match uid {
                0 => "CapEff:\t00000000800405fb".into(),
                _ => "CapEff:\t0000000000000000".into(),
            },
            format!("NoNewPrivs:\t{}", u8::from(nnp)),
            "SigBlk:\t0000000000000000".into(),
            "SigIgn:\t0000000000000000".into(),
            "cwd /tmp".into(),
            "EMPTY=".into(),
            "TWO=a=b c".into(),
            "HOME=/nowhere".into(),
            format!("OCI_SECCOMP_TEST={}", created.id()),
            "oom 123".into(),
            format!("nice {} tty 0", niceness()),
            // And the folder itself, as ls reads it.
            "4".into(),
        ] {
            assert!(
                lines.contains(expected.as_str()),
                "no {expected:?} in {said}"
            );
        }
        let is_variable = |line: &&str| {
            let name = line.split_once('=').map(|(name, _)| name);
            name.is_some_and(|n| n.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        };
        assert_eq!(said.lines().filter(is_variable).count(), 5, "{said}");
        let limit = |name: &str, soft: &str, hard: &str| {
            said.lines().any(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                line.starts_with(name) && words.contains(&soft) && words.contains(&hard)
            })
        };
        assert!(limit("Max open files", "77", "99"), "{said}");
        assert!(limit("Max core file size", "0", "4096"), "{said}");
    });
}

/// This process's own, which the new one has as well, as `stat` has it.
fn niceness() -> String {
    let stat = fs::read_to_string("/proc/self/stat").expect("stat");
    // After the name, which may have spaces.
    let (_, fields) = stat.rsplit_once(") ").expect("fields");
    let fields: Vec<&str> = fields.split(' ').collect();
    format!("{} {}", fields[15], fields[16])
}

fn has_the_ambient_capabilities_of_the_config(runtime: Runtime) {
    for uid in [0, 1000] {
        let sets = |names: &[&str]| json!(names);
        let three = sets(&["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SYS_ADMIN"]);
        let two = sets(&["CAP_KILL", "CAP_NET_BIND_SERVICE"]);
        let created = Container::new(runtime)
            .uid(uid)
            .patch(|config| {
                config["process"]["capabilities"] = json!({
                    "bounding": three, "permitted": three, "effective": two,
                    "inheritable": two, "ambient": two
                });
            })
            .running();
        let said = compare(&created);
        for set in ["Inh", "Amb"] {
            let expected = format!("Cap{set}:\t0000000000000420");
            assert!(said.contains(&expected), "no {expected:?} in {said}");
        }
    }
    let none = Container::new(runtime).patch(|config| {
        let process = config["process"].as_object_mut().expect("process");
        process.remove("capabilities");
    });
    let created = none.running();
    let seen = created.exec(&[], &["grep", "^Cap", "/proc/self/status"]);
    let seen = seen.run().success();
    assert_eq!(seen.stdout.matches("0000000000000000").count(), 5, "{seen}");
}

fn finds_its_home_in_the_containers_passwd(runtime: Runtime) {
    for (uid, user_namespace) in [(0, false), (1000, false), (1000, true), (7, false)] {
        let container = Container::new(runtime).uid(uid);
        let etc = container.rootfs().join("etc");
        fs::create_dir(&etc).expect("etc");
        let passwd = "root:x:0:0::/root:/bin/sh\nu:x:1000:1000::/home/u:/bin/sh\n";
        fs::write(etc.join("passwd"), passwd).expect("passwd");
        let container = match user_namespace {
            true => container.user_namespace(),
            false => container,
        };
        let created = container.running();
        let said = compare(&created);
        let home = match uid {
            0 => "HOME=/root",
            1000 => "HOME=/home/u",
            _ => "HOME=/",
        };
        assert!(said.lines().any(|line| line == home), "no {home} in {said}");
    }
}

/// The kinds of namespaces that this kernel has, and which a process is in.
fn namespaces(pid: i32) -> Vec<(String, u64)> {
    let entries = fs::read_dir(format!("/proc/{pid}/ns")).expect("namespaces");
    let mut all: Vec<(String, u64)> = entries
        .map(|entry| {
            let path = entry.expect("entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            (name.into_owned(), fs::metadata(&path).expect("stat").ino())
        })
        .collect();
    all.sort();
    all
}

fn is_where_init_is(runtime: Runtime) {
    each_pair(runtime, |container| {
        let created = container.running();
        let pid_file = created.bundle().join("exec-pid");
        let options = ["--pid-file", pid_file.to_str().expect("UTF-8")];
        let script = "grep -E '^(PPid|NSpid|NSsid)' /proc/self/status; echo up; exec sleep 100";
        let started = created.exec(&options, &["sh", "-c", script]).start();
        let up = || started.printed().contains("up");
        assert!(
            process::within(support::command::LIMIT, up),
            "{}",
            started.outcome()
        );
        let pid = fs::read_to_string(&pid_file).expect("pid file");
        let (pid, init) = (pid.parse().expect("a number"), created.pid());
        assert_eq!(namespaces(pid), namespaces(init));
        for file in ["cgroup", "mountinfo", "uid_map", "gid_map"] {
            let of = |pid: i32| fs::read_to_string(format!("/proc/{pid}/{file}")).expect("file");
            assert_eq!(of(pid), of(init), "{file}");
        }
        let root = |pid: i32| {
            let stat = fs::metadata(format!("/proc/{pid}/root/")).expect("root");
            (stat.dev(), stat.ino())
        };
        assert_eq!(root(pid), root(init));
        let status = |key| process::status(pid, key).expect("a field");
        let numbers = status("NSpid");
        let numbers: Vec<&str> = numbers.split_whitespace().collect();
        assert_eq!(numbers.len(), 2, "{numbers:?}");
        assert_ne!(numbers[1], "1");
        for group in ["NSpgid", "NSsid"] {
            let leads: Vec<String> = numbers.iter().map(|n| (*n).to_owned()).collect();
            let seen = status(group);
            assert_eq!(
                seen.split_whitespace().collect::<Vec<_>>(),
                leads,
                "{group}"
            );
        }
        // Its parent is this side's process, which is nobody in there.
        assert_eq!(status("PPid"), started.pid().to_string());
        let inside = started.printed();
        // What grep's own parent is: the shell, whose parent is 0.
        assert!(
            inside.contains(&format!("PPid:\t{}", numbers[1])),
            "{inside}"
        );
        let stat = created.exec(&[], &["cat", &format!("/proc/{}/stat", numbers[1])]);
        let stat = stat.run().success().stdout;
        assert_eq!(stat.split(' ').nth(3), Some("0"), "parent inside: {stat}");
        assert_eq!(stat.split(' ').nth(6), Some("0"), "terminal: {stat}");
        assert_eq!(process::status(pid, "TracerPid").as_deref(), Some("0"));
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL)
            .expect("kill");
        started.outcome().exits(128 + 9);
        created.is_alone();
    });
}
