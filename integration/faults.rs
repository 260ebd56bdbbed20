//! What goes wrong, with real containers: whatever it is, no workload runs
//! without its filter, and no process, mount or file is left behind. (That the
//! latter holds is checked whenever a [`Container`] is dropped.)
#![forbid(unsafe_code)]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use oci_seccomp::progress::Progress;
use serde_json::{Value, json};
use support::{Container, Outcome, Run, Runtime, Stage, binary, process};

/// The errno of our rule: EBADFD, which mkdir never fails with.
const DENIED: i32 = 77;

/// How long a container that was given up may take to go.
const SOON: Duration = Duration::from_secs(5);

/// Says whether it is filtered, if it runs.
const WORKLOAD: &str = "status -- call mkdir @/tmp/a 0x1ed";

support::on_each_runtime! {
    never_runs_unfiltered_at_whatever_step_the_tracer_is_killed
    never_runs_unfiltered_wherever_in_the_stepping_the_tracer_is_killed
    dies_with_its_tracer
    ends_with_an_init_that_is_killed
    ends_with_an_init_that_is_killed_while_it_gets_its_filter
    ends_with_a_runtime_that_is_killed
    goes_with_a_container_that_is_deleted_before_its_start
    keeps_to_the_filter_whatever_signals_come_before_the_start
    keeps_to_the_filter_whatever_signals_come_during_the_injection
    names_who_traces_init_already
    shows_the_runtimes_own_error_of_a_missing_entrypoint
    ends_with_a_hook_that_is_out_of_time
    starts_nothing_on_a_kernel_that_is_too_old
    refuses_profiles_that_cannot_be_read
    arms_where_run_is_full
    logs_one_line_for_each_container
    logs_to_syslog_where_there_is_one
    leaves_a_zombie_at_create_container_and_none_at_create_runtime
    the_tracer_weighs_little
}

/// Denies `mkdir` alone, so that no runtime stumbles over it.
fn denies_mkdir() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{
            "names": ["mkdir", "mkdirat"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": DENIED
        }]
    })
}

/// How init gets its filter; `oci_seccomp::arm::Boundary`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// With no_new_privs.
    AtExec,
    /// Without.
    Ahead,
    /// Before it loses a capability, and what it calls is watched: it starts
    /// one more hook, which is not to inherit the filter.
    Watched,
}

const WAYS: [Way; 3] = [Way::AtExec, Way::Ahead, Way::Watched];

fn armed(runtime: Runtime, stage: Stage, way: Way) -> Container {
    // It takes the state that it is given: crun gives up where a hook does not.
    let reads = ["busybox", "sh", "-c", "busybox cat >/dev/null"];
    let hook = json!([{ "path": "/bin/busybox", "args": reads }]);
    Container::new(runtime)
        .no_new_privileges(way == Way::AtExec)
        .profile_hook(stage, &denies_mkdir())
        .patch(|config| {
            if way == Way::Watched {
                config["hooks"]["startContainer"] = hook;
            }
        })
        .probe(WORKLOAD)
}

/// It ran with its filter, or not at all: which of the two.
#[track_caller]
fn was_filtered(seen: &Outcome) -> bool {
    if seen.stdout.is_empty() {
        return false;
    }
    assert_eq!(seen.field("pid1", "Seccomp"), "2", "{seen}");
    assert_eq!(seen.errno("mkdir"), DENIED, "{seen}");
    true
}

fn tracer_of(init: i32) -> i32 {
    let tracer = process::status(init, "TracerPid").and_then(|pid| pid.parse().ok());
    tracer.unwrap_or_else(|| panic!("no TracerPid of {init}"))
}

fn signal(pid: i32, signal: Signal) {
    // It may have ended.
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Kills the tracer at the entry of its `nth` ptrace(2); whether it came so far.
#[track_caller]
fn is_killed_at(nth: usize, container: Container) -> bool {
    let seen = container
        .inject(&format!("ptrace:signal=KILL:when={nth}"))
        .run();
    assert!(seen.status.is_some(), "at call {nth} {seen}");
    let killed = !was_filtered(&seen);
    assert_eq!(seen.code() != Some(0), killed, "at call {nth} {seen}");
    killed
}

fn never_runs_unfiltered_at_whatever_step_the_tracer_is_killed(runtime: Runtime) {
    for stage in [Stage::CreateRuntime, Stage::CreateContainer] {
        for way in [Way::AtExec, Way::Ahead] {
            let mut steps = 0;
            while is_killed_at(steps + 1, armed(runtime, stage, way)) {
                steps += 1;
            }
            // The seizing, the exec, two calls, the way back, the release.
            assert!(steps > 20, "only {steps} steps at {stage:?} {way:?}");
        }
    }
}

fn never_runs_unfiltered_wherever_in_the_stepping_the_tracer_is_killed(runtime: Runtime) {
    let container = || armed(runtime, Stage::CreateRuntime, Way::Watched);
    // Not at each: it steps through hundreds of calls of the runtime.
    let (mut killed, mut survives) = (0, 1);
    while is_killed_at(survives, container()) {
        killed = survives;
        survives += survives.div_ceil(4);
    }
    // But at each of the last, by which the filter is loaded. How many there
    // are in all is not quite the same each time.
    while survives - killed > 2 {
        let middle = killed.midpoint(survives);
        match is_killed_at(middle, container()) {
            true => killed = middle,
            false => survives = middle,
        }
    }
    assert!(killed > 40, "only {killed} steps");
    for nth in killed - 30..killed {
        is_killed_at(nth, container());
    }
}

/// Between `create` and `start` only the tracer knows of the filter.
fn dies_with_its_tracer(runtime: Runtime) {
    for stage in [Stage::CreateRuntime, Stage::CreateContainer] {
        let created = armed(runtime, stage, Way::AtExec).create().ready();
        let init = created.pid();
        let tracer = tracer_of(init);
        assert_ne!(tracer, 0, "nobody traces init");
        let name = process::status(tracer, "Name");
        assert_eq!(name.as_deref(), Some("oci-seccomp"));
        signal(tracer, Signal::SIGKILL);
        assert!(
            process::within(SOON, || !process::alive(init)),
            "init lives on without its tracer"
        );
        created.start().fails();
        assert_eq!(created.output(init).stdout, "");
    }
}

fn ends_with_an_init_that_is_killed(runtime: Runtime) {
    for way in WAYS {
        let created = armed(runtime, Stage::CreateRuntime, way).create();
        let created = created.ready();
        let init = created.pid();
        let tracer = tracer_of(init);
        signal(init, Signal::SIGKILL);
        assert!(process::within(SOON, || !process::alive(tracer)));
        created.start().fails();
        let seen = created.output(init);
        assert_eq!(seen.stdout, "");
        seen.says("killed");
    }
}

fn ends_with_an_init_that_is_killed_while_it_gets_its_filter(runtime: Runtime) {
    for milliseconds in [0, 20, 50, 100, 150, 200] {
        let created = armed(runtime, Stage::CreateRuntime, Way::AtExec)
            // The whole takes a fifth of a second then.
            .inject("ptrace:delay_enter=5000")
            .create()
            .ready();
        let init = created.pid();
        let tracer = tracer_of(init);
        thread::scope(|scope| {
            scope.spawn(|| created.start());
            thread::sleep(Duration::from_millis(milliseconds));
            signal(init, Signal::SIGKILL);
        });
        // It may be killed at any of its lines: none of them is unfiltered.
        let seen = created.output(init);
        for line in seen.stdout.lines() {
            let denied = line == format!("mkdir = -1 {DENIED}");
            let other = !line.contains("Seccomp=") && !line.starts_with("mkdir");
            assert!(line.contains(" Seccomp=2 ") || denied || other, "{seen}");
        }
        assert!(process::within(SOON, || !process::alive(tracer)));
    }
}

/// In its last hook, when init is armed and waits for the runtime's word.
fn ends_with_a_runtime_that_is_killed(runtime: Runtime) {
    for way in WAYS {
        let seen = armed(runtime, Stage::CreateRuntime, way)
            .script_hook(Stage::CreateRuntime, false, "kill -9 $PPID")
            .run()
            .exits(128 + 9);
        assert_eq!(seen.stdout, "");
    }
}

fn goes_with_a_container_that_is_deleted_before_its_start(runtime: Runtime) {
    for stage in [Stage::CreateRuntime, Stage::CreateContainer] {
        for way in WAYS {
            let created = armed(runtime, stage, way).create().ready();
            let init = created.pid();
            let tracer = tracer_of(init);
            created.delete().success();
            assert!(process::within(SOON, || !process::alive(tracer)));
            assert!(!process::alive(init) && created.state().is_null());
        }
    }
}

fn keeps_to_the_filter_whatever_signals_come_before_the_start(runtime: Runtime) {
    for way in WAYS {
        for (sent, survives) in [
            (Signal::SIGURG, true),
            (Signal::SIGSTOP, true),
            // Go's runtime has a handler, and ends by it.
            (Signal::SIGTERM, runtime == Runtime::Crun),
        ] {
            let created = armed(runtime, Stage::CreateRuntime, way).create();
            let created = created.ready();
            let init = created.pid();
            signal(init, sent);
            if sent == Signal::SIGSTOP {
                thread::sleep(Duration::from_millis(50));
                signal(init, Signal::SIGCONT);
            }
            let started = created.start();
            let filtered = was_filtered(&created.output(init));
            assert!(filtered || !survives, "{sent}: {started}");
        }
    }
}

fn keeps_to_the_filter_whatever_signals_come_during_the_injection(runtime: Runtime) {
    for way in WAYS {
        let created = armed(runtime, Stage::CreateRuntime, way)
            // For more signals to meet more of the steps.
            .inject("ptrace:delay_enter=1000")
            .create()
            .ready();
        let init = created.pid();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let signals = [Signal::SIGURG, Signal::SIGSTOP, Signal::SIGCONT];
                for sent in signals.into_iter().cycle() {
                    thread::sleep(Duration::from_millis(3));
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    signal(init, sent);
                }
                signal(init, Signal::SIGCONT);
            });
            let started = created.start();
            done.store(true, Ordering::Relaxed);
            started.success();
        });
        assert!(was_filtered(&created.output(init)));
    }
}

fn names_who_traces_init_already(runtime: Runtime) {
    const ATTACH: &str = "pid=$(jq .pid)
        setsid strace -o /dev/null -p $pid </dev/null >/dev/null 2>&1 &
        until grep -q 'TracerPid:.*[1-9]' /proc/$pid/status; do sleep 0.01; done";
    let seen = armed(runtime, Stage::CreateRuntime, Way::AtExec)
        .script_hook(Stage::CreateRuntime, true, ATTACH)
        .run()
        .fails();
    assert_eq!(seen.stdout, "");
    seen.says("traces it already");
}

fn shows_the_runtimes_own_error_of_a_missing_entrypoint(runtime: Runtime) {
    for way in WAYS {
        // The first is missing to the runtime, which looks before it executes;
        // the others only to execve(2).
        for (workload, text, why) in [
            ("/nowhere", "", "no such file"),
            ("/script", "#!/nowhere\n", "no such file"),
            ("/garbage", "no program", "exec format error"),
        ] {
            let missing = |container: Container| {
                if !text.is_empty() {
                    let path = container.rootfs().join(&workload[1..]);
                    fs::write(&path, text).expect("file");
                    fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("mode");
                }
                let seen = container.args(&[workload]).run().fails();
                // Behind the time, and the container's name and folder.
                let error = seen.stderr.split(": ").last().unwrap_or_default();
                (seen.code(), error.to_owned())
            };
            let plain = Container::new(runtime).no_new_privileges(way == Way::AtExec);
            let ours = armed(runtime, Stage::CreateRuntime, way);
            let (plain, ours) = (missing(plain), missing(ours));
            assert_eq!(plain, ours, "{workload}");
            assert!(ours.1.to_lowercase().contains(why), "{ours:?}");
        }
    }
}

/// The runtime kills it while its tracer is about to seize init.
fn ends_with_a_hook_that_is_out_of_time(runtime: Runtime) {
    for stage in [Stage::CreateRuntime, Stage::CreateContainer] {
        let seen = armed(runtime, stage, Way::AtExec)
            .inject("ptrace:delay_enter=2000000:when=1")
            .patch(|config| {
                let hooks = config["hooks"].as_object_mut().expect("hooks");
                for hook in hooks.values_mut() {
                    hook[0]["timeout"] = json!(1);
                }
            })
            .run()
            .fails();
        assert_eq!(seen.stdout, "");
    }
}

/// One that does not know these calls, for all that the hook can see.
fn starts_nothing_on_a_kernel_that_is_too_old(runtime: Runtime) {
    for (call, since) in [("pidfd_open", "Linux 5.3"), ("close_range", "Linux 5.9")] {
        let seen = armed(runtime, Stage::CreateRuntime, Way::AtExec)
            .inject(&format!("{call}:error=ENOSYS"))
            .run()
            .fails();
        assert_eq!(seen.stdout, "");
        seen.says(since);
    }
}

fn refuses_profiles_that_cannot_be_read(runtime: Runtime) {
    let whole = denies_mkdir().to_string();
    type Make<'a> = &'a dyn Fn(&Path);
    let cases: &[(&str, Make<'_>)] = &[
        ("is not a regular file", &|path| {
            fs::create_dir(path).expect("folder");
        }),
        ("is not a regular file", &|path| {
            Run::new("mkfifo").arg(path).run().success();
        }),
        ("cannot open", &|path| {
            std::os::unix::fs::symlink(path, path).expect("link to itself");
        }),
        ("EOF while parsing", &|path| {
            fs::write(path, &whole[..whole.len() / 2]).expect("half a profile");
        }),
        ("EOF while parsing", &|path| {
            fs::write(path, "").expect("empty profile");
        }),
        ("is longer than", &|path| {
            let file = fs::File::create(path).expect("file");
            file.set_len(1 << 40).expect("a huge profile");
        }),
        ("recursion", &|path| {
            let deep = "[".repeat(1 << 20);
            let shut = "]".repeat(1 << 20);
            let text = format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "deep": {deep}{shut}}}"#);
            fs::write(path, text).expect("a deep profile");
        }),
    ];
    for (expected, make) in cases {
        let container = Container::new(runtime).probe(WORKLOAD);
        let path = container.bundle().join("profile.json");
        make(&path);
        let args = ["--profile".as_ref(), path.as_os_str()];
        let seen = container.hook(Stage::CreateRuntime, &args).run().fails();
        assert_eq!(seen.stdout, "");
        assert!(seen.took < Duration::from_secs(5), "{seen}");
        seen.says(expected);
    }
}

/// Nothing is written there; and a log that cannot be written to is no reason
/// to keep a container from starting.
fn arms_where_run_is_full(runtime: Runtime) {
    const FULL: &str = "mount -t tmpfs -o size=4k tmpfs /run
        head -c 4096 /dev/zero >/run/full
        ! echo more >/run/more 2>/dev/null || exit 1";
    let seen = armed(runtime, Stage::CreateRuntime, Way::Ahead)
        .patch(|config| {
            let args = config["hooks"]["createRuntime"][0]["args"].as_array_mut();
            *args.and_then(|a| a.last_mut()).expect("--log FILE") = json!("/run/log");
        })
        .setup(FULL)
        .run()
        .success();
    assert!(was_filtered(&seen));
}

/// The program that the hook loads, named as sha256sum(1) does.
fn fingerprint(container: &Container) -> String {
    let compiled = container.bundle().join("program");
    Run::new(binary())
        .arg("compile")
        .arg(container.bundle().join("profile.json"))
        .arg("-o")
        .arg(&compiled)
        .run()
        .success();
    let sum = Run::new("sha256sum").arg(&compiled).run().success();
    sum.stdout[..12].to_owned()
}

fn logs_one_line_for_each_container(runtime: Runtime) {
    for (way, place) in [
        (Way::AtExec, "at its exec"),
        (Way::Ahead, "ahead, in force from its exec"),
        (Way::Watched, "before it gives up CAP_SYS_ADMIN"),
    ] {
        let container = armed(runtime, Stage::CreateRuntime, way);
        let id = container.bundle().file_name().expect("name");
        let id = id.to_string_lossy().split('.').next().map(str::to_owned);
        let program = fingerprint(&container);
        let seen = container.run().success();
        let lines: Vec<&str> = seen.log.lines().collect();
        assert_eq!(lines.len(), 1, "{seen}");
        for part in [&id.expect("id"), "CreateRuntime", &program, place, " us"] {
            assert!(lines[0].contains(part), "no {part} in {seen}");
        }
    }
}

fn logs_to_syslog_where_there_is_one(runtime: Runtime) {
    // A /dev of its own for a socket of ours.
    const DEV: &str = "mkdir $LOG.dev && mount -t tmpfs tmpfs $LOG.dev && cp -ax /dev/. $LOG.dev
        rm -f $LOG.dev/log && ln -s $LOG $LOG.dev/log && mount --move $LOG.dev /dev";
    for present in [true, false] {
        let container = armed(runtime, Stage::CreateRuntime, Way::AtExec).patch(|config| {
            let args = config["hooks"]["createRuntime"][0]["args"].as_array_mut();
            args.expect("args").push(json!("--syslog"));
        });
        let socket = container.bundle().join("syslog");
        let syslogd = UnixDatagram::bind(&socket).expect("socket");
        syslogd.set_nonblocking(true).expect("socket");
        let mut setup = format!("LOG={}\n{DEV}", socket.display());
        if !present {
            setup += "\nrm /dev/log";
        }
        let seen = container.setup(&setup).run().success();
        assert!(was_filtered(&seen));
        let mut line = [0; 1000];
        match syslogd.recv(&mut line) {
            Ok(len) => {
                let line = String::from_utf8_lossy(&line[..len]);
                assert!(present && line.starts_with("<30>oci-seccomp["), "{line}");
                assert!(line.contains("armed at its exec"), "{line}");
            }
            Err(_) => {
                assert!(!present, "nothing came: {seen}");
                seen.says("cannot log to syslog");
            }
        }
    }
}

/// A tracer that init's pid namespace holds becomes init's child, and a
/// workload that never waits for children keeps it as a zombie, 0 bytes and a
/// number of its pids limit, for as long as it runs.
fn leaves_a_zombie_at_create_container_and_none_at_create_runtime(runtime: Runtime) {
    for (stage, left) in [
        (Stage::CreateRuntime, &[] as &[&str]),
        (Stage::CreateContainer, &["oci-seccomp"]),
    ] {
        let container = armed(runtime, stage, Way::AtExec).probe("print runs -- sleep 60");
        let created = container.create().ready();
        let init = created.pid();
        let tracer = tracer_of(init);
        created.start().success();
        assert!(process::within(SOON, || !process::alive(tracer)));
        assert_eq!(process::zombies(init), left, "{stage:?}");
        created.kill("KILL").success();
        assert_eq!(created.output(init).stdout, "runs\n");
    }
}

/// At most 2 MiB, its share of the program's text and all. A build that is not
/// optimized has twice the text; there only what is its own counts.
fn the_tracer_weighs_little(runtime: Runtime) {
    let optimized = !cfg!(debug_assertions) || std::env::var_os("OCI_SECCOMP").is_some();
    for way in WAYS {
        let container = Container::new(runtime)
            .no_new_privileges(way == Way::AtExec)
            .profile_hook(Stage::CreateRuntime, &support::testdata("default"));
        let created = container.create().ready();
        let tracer = tracer_of(created.pid());
        let kib = |key| {
            let value = process::status(tracer, key).expect(key);
            let kib = value.strip_suffix(" kB").expect("kB");
            kib.trim().parse::<u32>().expect("number")
        };
        for key in ["VmHWM", "RssAnon"]
            .into_iter()
            .skip(usize::from(!optimized))
        {
            assert!(kib(key) <= 2 << 10, "{key} is {} KiB", kib(key));
        }
    }
}

/// On both processors, since nothing else would be at once.
#[test]
fn arms_200_containers_at_once() {
    support::on(Runtime::Crun, |runtime| {
        let all = Mutex::new(Vec::new());
        let each = |work: &(dyn Fn() + Sync)| {
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(work);
                }
            });
        };
        let count = AtomicUsize::new(0);
        each(&|| {
            loop {
                let nth = count.fetch_add(1, Ordering::Relaxed);
                if nth >= 200 {
                    break;
                }
                let container = armed(runtime, Stage::CreateRuntime, WAYS[nth % 3]);
                let created = container.create().ready();
                let init = created.pid();
                all.lock().expect("lock").push((created, init));
            }
        });
        let all = all.into_inner().expect("lock");
        assert_eq!(all.len(), 200);
        let mut tracers: Vec<i32> = all.iter().map(|(_, init)| tracer_of(*init)).collect();
        tracers.sort_unstable();
        tracers.dedup();
        assert_eq!(tracers.len(), 200);
        let all = Mutex::new(all);
        each(&|| {
            loop {
                let next = all.lock().expect("lock").pop();
                let Some((created, init)) = next else { break };
                created.start().success();
                assert!(was_filtered(&created.output(init)));
            }
        });
        assert_none_is_left(&tracers);
    });
}

/// 100 of them, or as many as `OCI_SECCOMP_SOAK` says (`make soak`).
#[test]
fn starts_one_after_another_without_a_leak() {
    support::on(Runtime::Crun, |runtime| {
        let soak = std::env::var("OCI_SECCOMP_SOAK").ok();
        // Of the hundred nobody waits for a word.
        let progress = soak.as_ref().map(|_| Progress::stderr());
        let count = soak.map_or(100, |n| n.parse().expect("OCI_SECCOMP_SOAK is a number"));
        let container = armed(runtime, Stage::CreateRuntime, Way::AtExec);
        let mut before = None;
        for n in 1..=count {
            assert!(was_filtered(&container.run_again().success()));
            if let Some(progress) = &progress {
                let text = format!("soak: {n} of {count} containers");
                progress.at(&text);
                if n % 100 == 0 {
                    progress.done(&text);
                }
            }
            // The first one has made what there is for all of them.
            before.get_or_insert_with(|| things(container.bundle()));
        }
        assert_eq!(before, Some(things(container.bundle())));
        let log = fs::read_to_string(container.log()).expect("log");
        let tracers: Vec<i32> = log.lines().filter_map(tracer_in).collect();
        assert_eq!(tracers.len(), count);
        assert_none_is_left(&tracers);
    });
}

/// The files of a bundle, and what there is elsewhere that bears its name.
fn things(bundle: &Path) -> (String, String, usize) {
    let id = bundle.file_name().expect("name").to_string_lossy();
    let id = id.split('.').next().expect("id");
    let find = |dir: &str, name: &str| {
        let found = Run::new("find").args([dir, "-name", name]).run();
        found.stdout
    };
    (
        find(&bundle.to_string_lossy(), "*"),
        find("/sys/fs/cgroup", &format!("*{id}*")),
        process::marked_mounts(id).len(),
    )
}

/// Which tracer has written a line of the log.
fn tracer_in(line: &str) -> Option<i32> {
    let (_, rest) = line.split_once("oci-seccomp[")?;
    rest.split(']').next()?.parse().ok()
}

/// Not even as zombies; the host's init may take its time to reap them.
#[track_caller]
fn assert_none_is_left(tracers: &[i32]) {
    let is_there = |pid: &i32| process::status(*pid, "Name").as_deref() == Some("oci-seccomp");
    let gone = process::within(4 * SOON, || !tracers.iter().any(is_there));
    assert!(gone, "there are still some of {tracers:?}");
}
