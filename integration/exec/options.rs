//! What the options change, and the exit status.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::json;

use super::{CALLS, OURS, denies, is_filtered, is_refused};
use crate::support::{self, Container, Runtime, process};

support::on_each_runtime! {
    user_cwd_and_env_go_over_the_config
    refuses_folders_that_are_none
    gains_capabilities_but_hands_none_on
    becomes_what_a_file_describes
    refuses_a_command_and_a_file_and_neither
    writes_the_pid_before_the_command_runs
    leaves_a_detached_command_running
    joins_by_the_number_of_init_alone
    finds_the_container_by_its_runtime_alone
    takes_the_words_after_the_container_as_they_are
    tells_its_errors_from_the_commands
    hands_the_streams_on
    works_with_closed_streams
}

const STATUS: &str = "grep -E '^(Uid|Gid|Cap...):' /proc/self/status; busybox env; busybox pwd";

fn user_cwd_and_env_go_over_the_config(runtime: Runtime) {
    let created = Container::new(runtime)
        .patch(|config| {
            let env = config["process"]["env"].as_array_mut().expect("env");
            env.extend(["A=config".into(), "B=config".into()]);
        })
        .running();
    let options = [
        "--user", "1000:7", "--cwd", "/tmp", "--env", "A=option", "--env", "C=a=b", "--env",
        "C=last", "--env", "EMPTY=",
    ];
    let seen = created
        .exec(&options, &["sh", "-c", STATUS])
        .run()
        .success();
    let has = |line: &str| {
        assert!(
            seen.stdout.lines().any(|l| l == line),
            "no {line:?}: {seen}"
        )
    };
    has("Uid:\t1000\t1000\t1000\t1000");
    has("Gid:\t7\t7\t7\t7");
    has("CapEff:\t0000000000000000");
    has("CapBnd:\t00000000800405fb");
    has("A=option");
    has("B=config");
    has("C=last");
    has("EMPTY=");
    has("/tmp");
    assert!(!seen.stdout.contains("=config\nA="), "{seen}");
    assert_eq!(seen.stdout.matches("\nA=").count(), 1, "{seen}");
    let seen = created
        .exec(&["--user", "5"], &["sh", "-c", STATUS])
        .run()
        .success();
    assert!(seen.stdout.contains("Gid:\t0\t"), "the config's: {seen}");
    for (option, value) in [("--env", "NONE"), ("--env", "=x"), ("--cwd", "tmp")] {
        is_refused(created.exec(&[option, value], &["/hello"]).run(), option);
    }
    for (option, value) in [
        ("--user", "root"),
        ("--user", "4294967295"),
        ("--cap", "CAP_FLY"),
    ] {
        is_refused(created.exec(&[option, value], &["/hello"]).run(), value);
    }
    created.is_alone();
}

fn refuses_folders_that_are_none(runtime: Runtime) {
    let created = Container::new(runtime).uid(1000).running();
    let rootfs = created.rootfs();
    fs::write(rootfs.join("file"), "").expect("file");
    fs::create_dir(rootfs.join("secret")).expect("folder");
    fs::set_permissions(rootfs.join("secret"), fs::Permissions::from_mode(0o700)).expect("mode");
    symlink("/tmp", rootfs.join("link")).expect("link");
    for (cwd, why) in [
        ("/none", "ENOENT"),
        ("/file", "ENOTDIR"),
        ("/file/x", "ENOTDIR"),
    ] {
        let seen = created.exec(&["--cwd", cwd], &["/hello"]).run();
        is_refused(seen, why).says(cwd);
    }
    // Root may go there: as with a runtime, that is enough.
    let pwd = |cwd| created.exec(&["--cwd", cwd], &["busybox", "pwd"]).run();
    assert_eq!(pwd("/secret").success().stdout, "/secret\n");
    assert_eq!(pwd("/link/../tmp/.").success().stdout, "/tmp\n");
    created.is_alone();
}

fn gains_capabilities_but_hands_none_on(runtime: Runtime) {
    let created = Container::new(runtime).running();
    let grep = ["grep", "^Cap", "/proc/self/status"];
    let caps = ["--cap", "sys_ptrace", "--cap", "CAP_NET_RAW"];
    let seen = created.exec(&caps, &grep).run().success();
    for set in ["Prm", "Eff", "Bnd"] {
        let expected = format!("Cap{set}:\t00000000800c25fb");
        assert!(seen.stdout.contains(&expected), "{expected}: {seen}");
    }
    for set in ["Inh", "Amb"] {
        let expected = format!("Cap{set}:\t0000000000000000");
        assert!(seen.stdout.contains(&expected), "{expected}: {seen}");
    }
    // Another user has it in reach, and no more.
    let seen = created
        .exec(&[&caps[..], &["--user", "1000"]].concat(), &grep)
        .run()
        .success();
    assert!(seen.stdout.contains("CapEff:\t0000000000000000"), "{seen}");
    assert!(seen.stdout.contains("CapBnd:\t00000000800c25fb"), "{seen}");
    created.is_alone();
}

fn becomes_what_a_file_describes(runtime: Runtime) {
    let created = Container::new(runtime)
        .seccomp(&denies(&["mkdir"]))
        .running();
    let calls: Vec<&str> = std::iter::once("/probe").chain(CALLS.split(' ')).collect();
    let described = json!({
        "user": { "uid": 1000, "gid": 1000, "additionalGids": [9] },
        "args": calls, "env": ["PATH=/bin", "ONLY=this"], "cwd": "/tmp",
        "noNewPrivileges": true,
        "capabilities": { "bounding": ["CAP_KILL"] }
    });
    let file = created.file("process.json", described.to_string());
    let options = ["--process", file.to_str().expect("UTF-8")];
    let seen = created.exec(&options, &[]).run().success();
    is_filtered(&seen, "1");
    assert_eq!(seen.field("self", "NoNewPrivs"), "1", "{seen}");
    assert_eq!(seen.field("self", "Uid"), "1000", "{seen}");
    let mut who = described.clone();
    who["args"] = json!([
        "sh",
        "-c",
        "busybox env; grep -E '^(Groups|CapBnd)' /proc/self/status"
    ]);
    created.file("process.json", who.to_string());
    let seen = created.exec(&options, &[]).run().success();
    assert!(!seen.stdout.contains("OCI_SECCOMP_TEST"), "{seen}");
    for line in [
        "ONLY=this",
        "Groups:\t9 ",
        "CapBnd:\t0000000000000020",
        "HOME=/",
    ] {
        assert!(
            seen.stdout.lines().any(|l| l == line),
            "no {line:?}: {seen}"
        );
    }
    for (text, why) in [
        ("{}", "cwd"),
        ("", "not valid JSON"),
        (r#"{"cwd": "tmp", "args": ["/hello"]}"#, "absolute"),
        (r#"{"cwd": "/", "args": ["a\u0000b"]}"#, "NUL"),
        (r#"{"cwd": "/", "args": []}"#, "name a command"),
    ] {
        created.file("process.json", text);
        is_refused(created.exec(&options, &[]).run(), why);
    }
    created.is_alone();
}

fn refuses_a_command_and_a_file_and_neither(runtime: Runtime) {
    let created = Container::new(runtime).running();
    let file = created.file("process.json", r#"{"cwd": "/", "args": ["/hello"]}"#);
    let options = ["--process", file.to_str().expect("UTF-8")];
    is_refused(created.exec(&options, &["/hello"]).run(), "--process");
    is_refused(created.exec(&[], &[]).run(), "name a command");
    is_refused(created.exec(&[], &["--"]).run(), "name a command");
    let both = [&options[..], &["--user", "5"]].concat();
    is_refused(created.exec(&both, &[]).run(), "cannot be used with");
    is_refused(
        created.exec(&["--tty", "--detach"], &["/hello"]).run(),
        "cannot be used with",
    );
    is_refused(created.exec(&["--pid", "1"], &["/hello"]).run(), "--pid");
    is_refused(created.ours(&[]).arg("exec").run(), "name a container");
    is_refused(created.ours(&[]).args(["exec", "--none"]).run(), "--none");
    created.is_alone();
}

fn writes_the_pid_before_the_command_runs(runtime: Runtime) {
    let created = Container::new(runtime).running();
    // Where the command can see it.
    let path = created.rootfs().join("pid");
    let options = ["--pid-file", path.to_str().expect("UTF-8")];
    let argv = [
        "sh",
        "-c",
        "cat /pid; echo; ls -a /; grep NSpid /proc/self/status",
    ];
    let seen = created.exec(&options, &argv).run().success();
    let pid = fs::read_to_string(&path).expect("pid file");
    assert_eq!(seen.stdout.lines().next(), Some(pid.as_str()), "{seen}");
    assert!(pid.parse::<i32>().is_ok(), "{pid:?}");
    let left = |l: &&str| l.starts_with(".pid");
    assert_eq!(seen.stdout.lines().filter(left).count(), 0, "{seen}");
    // One that cannot be written ends the command before it runs.
    for path in ["/none/pid", "/", "/proc/pid"] {
        let seen = created.exec(&["--pid-file", path], &["/hello"]).run();
        is_refused(seen, "pid file");
    }
    created.is_alone();
}

fn leaves_a_detached_command_running(runtime: Runtime) {
    let created = Container::new(runtime)
        .seccomp(&denies(&["mkdir"]))
        .running();
    let path = created.bundle().join("exec-pid");
    let options = ["--detach", "--pid-file", path.to_str().expect("UTF-8")];
    let seen = created.exec(&options, &["sleep", "100"]).run().success();
    let pid: i32 = fs::read_to_string(&path)
        .expect("pid file")
        .parse()
        .expect("a number");
    assert!(process::alive(pid), "{seen}");
    let status = |key| process::status(pid, key).unwrap_or_default();
    assert_eq!(status("Seccomp"), "2");
    assert_eq!(status("Seccomp_filters"), "1");
    assert_eq!(status("TracerPid"), "0");
    assert!(
        status("Name") == "sleep" || status("Name") == "busybox",
        "{}",
        status("Name")
    );
    let adopted: i32 = status("PPid").parse().expect("a number");
    assert!(process::alive(adopted), "by {adopted}");
    assert_eq!(created.others().len(), 1, "{:?}", created.others());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL)
        .expect("kill");
    created.is_alone();
}

fn joins_by_the_number_of_init_alone(runtime: Runtime) {
    let created = Container::new(runtime)
        .seccomp(&denies(&["mkdir"]))
        .running();
    let pid = created.pid().to_string();
    let ours = |pid: &str, bundle: &Path| {
        let run = created.ours(&[]).args(["exec", "--pid", pid, "--bundle"]);
        let calls = CALLS.split_whitespace();
        run.arg(bundle).args(["--", "/probe"]).args(calls).run()
    };
    is_filtered(&ours(&pid, created.bundle()).success(), "1");
    is_refused(ours("4194304", created.bundle()), "4194304");
    is_refused(ours(&pid, Path::new("/none")), "/none");
    // Not the init of a pid namespace, as the bundle has it.
    is_refused(
        ours(&std::process::id().to_string(), created.bundle()),
        "init",
    );
    created.is_alone();
}

fn finds_the_container_by_its_runtime_alone(runtime: Runtime) {
    let created = Container::new(runtime).running();
    // Each runtime's own folder; no other knows this one.
    let run = created.ours(&[]).args(["exec", "--root"]);
    let run = run
        .arg(created.bundle().join("state"))
        .args([created.id(), "/hello"]);
    assert_eq!(run.run().exits(7).stdout, "hello\n");
    created.is_alone();
}

fn takes_the_words_after_the_container_as_they_are(runtime: Runtime) {
    let created = Container::new(runtime).running();
    let run = |words: &[&str]| created.exec(&[], words).run().success().stdout;
    assert_eq!(run(&["busybox", "echo", "-n", "--user", "5"]), "--user 5");
    assert_eq!(run(&["--", "busybox", "echo", "--", "x"]), "-- x\n");
    assert_eq!(run(&["/probe", "print", "a", "--", "print", "b"]), "a\nb\n");
    assert_eq!(
        run(&["busybox", "printf", "%s|", "", "a b", "*", "ü"]),
        "|a b|*|ü|"
    );
}

fn tells_its_errors_from_the_commands(runtime: Runtime) {
    let created = Container::new(runtime)
        .seccomp(&denies(&["mkdir"]))
        .running();
    let rootfs = created.rootfs();
    fs::write(rootfs.join("plain"), "").expect("file");
    fs::write(rootfs.join("bin/garbage"), "no program").expect("file");
    fs::write(rootfs.join("bin/lost"), "#!/none\n").expect("file");
    for name in ["garbage", "lost"] {
        let path = rootfs.join("bin").join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("mode");
    }
    symlink("loop", rootfs.join("bin/loop")).expect("link");
    for (argv, status) in [
        (&["/probe", "exit", "0"][..], 0),
        (&["/probe", "exit", "3"], 3),
        (&["/probe", "exit", "125"], 125),
        (&["/probe", "exit", "255"], 255),
        (&["sh", "-c", "kill -9 $$"], 137),
        (&["sh", "-c", "kill -15 $$"], 143),
        (&["none"], 127),
        (&["/none"], 127),
        (&["/plain/x"], 127),
        (&[""], 127),
        (&["/plain"], 126),
        (&["/tmp"], 126),
        (&["garbage"], 126),
        (&["lost"], 127),
        (&["loop"], 126),
    ] {
        let seen = created.exec(&[], argv).run().exits(status);
        assert_eq!(seen.stdout, "", "{seen}");
        let silent = argv[0] == "/probe" || argv[0] == "sh";
        assert_eq!(seen.stderr.is_empty(), silent, "{seen}");
        if !silent && !argv[0].is_empty() {
            seen.says(argv[0]);
        }
    }
    // The search is the user's own.
    fs::create_dir(rootfs.join("secret")).expect("folder");
    fs::copy(rootfs.join("hello"), rootfs.join("secret/hello")).expect("copy");
    fs::set_permissions(rootfs.join("secret"), fs::Permissions::from_mode(0o700)).expect("mode");
    let options = ["--user", "1000", "--env", "PATH=/secret"];
    created.exec(&options, &["hello"]).run().exits(126);
    let options = ["--user", "1000", "--env", "PATH=/secret:/"];
    created.exec(&options, &["hello"]).run().exits(7);
    created.is_alone();
}

fn hands_the_streams_on(runtime: Runtime) {
    // With a filter, or it warns on standard error that there is none.
    let created = Container::new(runtime)
        .seccomp(&denies(&["mkdir"]))
        .running();
    let text = "line\n".repeat(50_000);
    let seen = created
        .exec(&[], &["cat"])
        .stdin(text.clone())
        .run()
        .success();
    assert!(
        seen.stdout == text,
        "{} bytes of {}",
        seen.stdout.len(),
        text.len()
    );
    let seen = created
        .exec(&[], &["sh", "-c", "echo out; echo err >&2"])
        .run();
    assert_eq!(
        (seen.stdout.as_str(), seen.stderr.as_str()),
        ("out\n", "err\n")
    );
    // A pipe is given to the user, who then can open it again; one that is
    // closed ends the writer.
    let script = r#""$@" | cat; echo "${PIPESTATUS[0]}""#;
    let piped = |argv: &[&str]| {
        let run = created.host(&["bash", "-c", script, "bash"]);
        let run = run.arg(support::programs::stripped()).args([
            "exec",
            "--runtime",
            runtime.name(),
            "--root",
        ]);
        let run = run
            .arg(created.bundle().join("state"))
            .args(["--user", "1000"]);
        run.arg(created.id()).args(argv).run()
    };
    let seen = piped(&[
        "sh",
        "-c",
        "echo again > /dev/stdout; echo again > /proc/self/fd/1",
    ]);
    assert_eq!(seen.stdout, "again\nagain\n0\n", "{seen}");
    let script = r#""$@" | busybox head -n 1; echo "${PIPESTATUS[0]}""#;
    let run = created.host(&["bash", "-c", script, "bash"]);
    let run = run.arg(support::programs::stripped()).args([
        "exec",
        "--runtime",
        runtime.name(),
        "--root",
    ]);
    let run = run.arg(created.bundle().join("state")).arg(created.id());
    let seen = run.args(["busybox", "yes"]).run().success();
    assert_eq!(seen.stdout, "y\n141\n", "{seen}");
    created.is_alone();
}

/// Each stays closed: nothing of ours takes its number.
fn works_with_closed_streams(runtime: Runtime) {
    let created = Container::new(runtime).running();
    for (closed, number) in [("<&-", 0), (">&-", 1), ("2>&-", 2), ("<&- >&- 2>&-", 1)] {
        let to = created.rootfs().join("tmp/seen");
        File::create(&to).expect("file");
        let script = format!(r#"exec "$@" {closed}"#);
        let run = created.host(&["bash", "-c", &script, "bash"]);
        let run = run.arg(support::programs::stripped()).args([
            "exec",
            "--runtime",
            runtime.name(),
            "--root",
        ]);
        let run = run.arg(created.bundle().join("state")).arg(created.id());
        let look = "for fd in /proc/self/fd/*; do busybox readlink $fd; done > /tmp/seen 2>/tmp/err; exit 3";
        let seen = run.args(["sh", "-c", look]).run();
        let said = fs::read_to_string(&to).expect("file");
        let outside = |line: &&str| {
            let known = [
                "/tmp/seen",
                "/tmp/err",
                "/dev/null",
                "/proc/self/fd",
                "pipe:",
                "/tmp/#",
            ];
            !known.iter().any(|k| line.starts_with(k))
                && !line.contains("(deleted)")
                && !line.starts_with("/proc/")
        };
        assert_eq!(said.lines().find(outside), None, "{number}: {said}{seen}");
        assert_eq!(seen.code(), Some(3), "{closed}: {seen}");
    }
    // An error that nobody can hear has its status.
    let run = created.host(&["bash", "-c", r#"exec "$@" <&- >&- 2>&-"#, "bash"]);
    let run = run.arg(support::programs::stripped()).args([
        "exec",
        "--runtime",
        runtime.name(),
        "--root",
    ]);
    let run = run.arg(created.bundle().join("state")).arg(created.id());
    run.args(["--cwd"]).run().exits(127);
    created.exec(&[], &["/none"]).run().exits(127);
    assert_ne!(OURS, 127);
    created.is_alone();
}
