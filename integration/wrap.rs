//! `oci-seccomp wrap`: bundles rewritten, run by runc and crun, and put back.
//! What a workload is, by /proc/self/status, it must be wrapped as well.
#![forbid(unsafe_code)]

#[path = "programs.rs"]
mod filters;
mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use oci_seccomp::policy::Action;
use serde_json::{Value, json};
use support::{Container, Outcome, Run, Runtime, binary, testdata};

/// EBADFD: no mkdir fails so by itself.
const DENIED: i32 = 77;

/// What a process is, but for its filter; and whose stderr is.
const WHO: &str = "grep -E '^(Uid|Gid|Groups|Cap...|Umask|NoNewPrivs):' /proc/self/status; \
     echo HOME=$HOME; pwd; busybox stat -Lc %a:%u /proc/self/fd/2; true >> /dev/stdout && echo writable";

fn denies_mkdir() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{
            "names": ["mkdir", "mkdirat"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": DENIED
        }]
    })
}

/// Nothing but these calls; any other kills.
fn allows_only(names: &[&str]) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }]
    })
}

support::on_each_runtime! {
    leaves_the_workload_who_it_is
    filters_the_workload_and_what_it_forks
    works_in_a_user_namespace
    works_on_a_read_only_root_with_and_without_a_fresh_dev
    adds_to_the_profile_only_execve_and_capset
    loads_the_flags_of_the_profile
    tells_its_errors_from_the_workloads
    finds_the_workload_with_the_workloads_rights
    gives_the_workload_no_way_to_its_files
    keeps_the_section_for_the_runtime_when_told_to
}

/// Sets of capabilities, as `process.capabilities` has them.
fn capabilities() -> Vec<(&'static str, Value)> {
    let some = json!([
        "CAP_CHOWN",
        "CAP_KILL",
        "CAP_SETUID",
        "CAP_SETGID",
        "CAP_NET_BIND_SERVICE"
    ]);
    let ambient = json!(["CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    vec![
        (
            "default",
            json!({ "bounding": some, "effective": some, "permitted": some }),
        ),
        ("none", Value::Null),
        (
            "empty",
            json!({ "bounding": [], "effective": [], "permitted": [], "inheritable": [] }),
        ),
        (
            "ambient",
            json!({
                "bounding": some, "effective": some, "permitted": some,
                "inheritable": ambient, "ambient": ambient
            }),
        ),
        (
            "admin",
            json!({ "bounding": ["CAP_SYS_ADMIN"], "permitted": ["CAP_SYS_ADMIN"] }),
        ),
        (
            "inheritable",
            json!({ "bounding": some, "inheritable": ambient, "permitted": ambient }),
        ),
        (
            "ambient that cannot be raised",
            json!({ "bounding": some, "permitted": some, "ambient": ambient }),
        ),
        (
            "more than bounding",
            json!({ "bounding": ["CAP_KILL"], "permitted": some, "effective": some }),
        ),
        (
            "unknown",
            json!({ "bounding": ["CAP_KILL", "CAP_FLY"], "permitted": ["CAP_FLY"] }),
        ),
        (
            "admin without effect",
            json!({ "bounding": ["CAP_SYS_ADMIN"], "permitted": [], "effective": [] }),
        ),
    ]
}

fn leaves_the_workload_who_it_is(runtime: Runtime) {
    for (name, capabilities) in capabilities() {
        for (uid, gid, groups) in [(0, 0, None), (1000, 100, Some([7, 1000])), (1000, 0, None)] {
            for no_new_privileges in [false, true] {
                if no_new_privileges && !["default", "ambient"].contains(&name) {
                    continue;
                }
                let container = || {
                    let container = Container::new(runtime)
                        .no_new_privileges(no_new_privileges)
                        .args(&["sh", "-c", WHO])
                        .seccomp(&denies_mkdir())
                        .patch(|config| {
                            let process = &mut config["process"];
                            process["capabilities"] = capabilities.clone();
                            process["user"] = json!({ "uid": uid, "gid": gid, "umask": 0o27 });
                            if let Some(groups) = groups {
                                process["user"]["additionalGids"] = json!(groups);
                            }
                            process["cwd"] = json!("/tmp");
                        });
                    let etc = container.rootfs().join("etc");
                    fs::create_dir(&etc).expect("etc");
                    let passwd = "root:x:0:0::/root:/bin/sh\nuser:x:1000:100::/home/user:/bin/sh\n";
                    fs::write(etc.join("passwd"), passwd).expect("passwd");
                    container
                };
                let plain = container().run();
                let wrapped = container().wrapped(&[]).run();
                let started = |seen: &Outcome| (seen.code() == Some(0), seen.stdout.clone());
                assert_eq!(
                    started(&wrapped),
                    started(&plain),
                    "{name}, {uid}:{gid} {groups:?}, {no_new_privileges}: {wrapped}{plain}"
                );
                assert!(plain.stdout.contains("CapBnd"), "{plain}");
            }
        }
    }
}

const STATUS_AND_CALLS: &str = "status -- call mkdir @/tmp/a 0x1ed -- fork call mkdirat -1 @b 0 \
     -- call rmdir @/none -- exit 9";

#[track_caller]
fn check_denies_mkdir(seen: &Outcome, no_new_privileges: bool, uid: u32) {
    for who in ["self", "pid1", "child"] {
        assert_eq!(seen.field(who, "Seccomp"), "2", "{seen}");
        assert_eq!(seen.field(who, "Seccomp_filters"), "1", "{seen}");
        assert_eq!(seen.field(who, "Uid"), uid.to_string(), "{seen}");
        let expected = u8::from(no_new_privileges).to_string();
        assert_eq!(seen.field(who, "NoNewPrivs"), expected, "{seen}");
    }
    assert_eq!(seen.errno("mkdir"), DENIED, "{seen}");
    assert_eq!(seen.errno("mkdirat"), DENIED, "{seen}");
    assert_eq!(seen.errno("rmdir"), 2, "{seen}");
}

fn filters_the_workload_and_what_it_forks(runtime: Runtime) {
    for no_new_privileges in [false, true] {
        for uid in [0, 1000] {
            let container = |section| {
                let container = Container::new(runtime)
                    .no_new_privileges(no_new_privileges)
                    .uid(uid)
                    .probe(STATUS_AND_CALLS);
                match section {
                    true => container.seccomp(&denies_mkdir()),
                    false => container,
                }
            };
            let seen = container(true).wrapped(&[]).run().exits(9);
            check_denies_mkdir(&seen, no_new_privileges, uid);

            let container = container(false);
            let profile = container.file("profile.json", denies_mkdir().to_string());
            let profile = profile.to_str().expect("UTF-8").to_owned();
            let seen = container.wrapped(&["--profile", &profile]).run().exits(9);
            check_denies_mkdir(&seen, no_new_privileges, uid);
        }
    }
}

fn works_on_a_read_only_root_with_and_without_a_fresh_dev(runtime: Runtime) {
    for fresh in [true, false] {
        for no_new_privileges in [false, true] {
            let seen = Container::new(runtime)
                .no_new_privileges(no_new_privileges)
                .uid(1000)
                .seccomp(&testdata("default"))
                .args(&[
                    "sh",
                    "-c",
                    "grep Seccomp: /proc/self/status; echo $0 $#",
                    "a b",
                    "",
                ])
                .patch(|config| {
                    config["root"]["readonly"] = json!(true);
                    if !fresh {
                        let mounts = config["mounts"].as_array_mut().expect("mounts");
                        mounts.retain(|mount| mount["destination"] != "/dev");
                    }
                })
                .wrapped(&[])
                .run()
                .success();
            assert_eq!(seen.stdout, "Seccomp:\t2\na b 1\n", "{seen}");
        }
    }
}

fn works_in_a_user_namespace(runtime: Runtime) {
    for uid in [0, 1000] {
        let container = Container::new(runtime)
            .uid(uid)
            .seccomp(&denies_mkdir())
            .probe(STATUS_AND_CALLS)
            .patch(|config| {
                let maps = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
                config["linux"]["uidMappings"] = maps.clone();
                config["linux"]["gidMappings"] = maps;
                let namespaces = config["linux"]["namespaces"].as_array_mut();
                namespaces
                    .expect("namespaces")
                    .push(json!({ "type": "user" }));
            });
        // For the container's root to get to the files.
        let all = fs::Permissions::from_mode(0o755);
        fs::set_permissions(container.bundle(), all).expect("mode");
        let seen = container.wrapped(&[]).run().exits(9);
        check_denies_mkdir(&seen, false, uid);
    }
}

fn adds_to_the_profile_only_execve_and_capset(runtime: Runtime) {
    let mut names = vec!["write", "exit_group", "execve", "openat2"];
    for no_new_privileges in [true, false] {
        if !no_new_privileges {
            names.push("capset");
        }
        let seen = Container::new(runtime)
            .no_new_privileges(no_new_privileges)
            .uid(1000)
            .args(&["/hello"])
            .seccomp(&allows_only(&names))
            .wrapped(&[])
            .run()
            .exits(7);
        assert_eq!(seen.stdout, "hello\n");
    }
}

fn loads_the_flags_of_the_profile(runtime: Runtime) {
    for flags in [
        json!([]),
        json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]),
    ] {
        let mut profile = denies_mkdir();
        profile["flags"] = flags;
        let seen = Container::new(runtime)
            .uid(1000)
            .probe(STATUS_AND_CALLS)
            .seccomp(&profile)
            .wrapped(&[])
            .run()
            .exits(9);
        check_denies_mkdir(&seen, false, 1000);
    }
}

fn tells_its_errors_from_the_workloads(runtime: Runtime) {
    for no_new_privileges in [false, true] {
        let run = |workload: &str| {
            let container = Container::new(runtime)
                .no_new_privileges(no_new_privileges)
                .uid(1000)
                .seccomp(&denies_mkdir())
                .args(&[workload]);
            fs::write(container.rootfs().join("plain"), "").expect("file");
            container.wrapped(&[]).run()
        };
        run("/nowhere").exits(127).says("/nowhere");
        run("nowhere").exits(127).says("nowhere");
        run("/plain").exits(126).says("/plain");
    }
}

/// Root without CAP_DAC_OVERRIDE, or with it, might find another.
fn finds_the_workload_with_the_workloads_rights(runtime: Runtime) {
    let container = Container::new(runtime)
        .uid(1000)
        .seccomp(&denies_mkdir())
        .args(&["sh", "-c", "echo found"])
        .patch(|config| config["process"]["env"] = json!(["PATH=/root:/bin"]));
    let hidden = container.rootfs().join("root");
    fs::create_dir(&hidden).expect("directory");
    fs::write(hidden.join("sh"), "").expect("file");
    fs::set_permissions(hidden.join("sh"), fs::Permissions::from_mode(0o755)).expect("mode");
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o700)).expect("mode");
    let seen = container.wrapped(&[]).run().success();
    assert_eq!(seen.stdout, "found\n");
}

fn gives_the_workload_no_way_to_its_files(runtime: Runtime) {
    const TRY: &str = "cd /dev/.oci-seccomp; ls; for f in *; do \
         true >> $f; chmod 777 $f; rm $f; true > $f.new; done; echo done";
    let container = Container::new(runtime)
        .uid(0)
        .seccomp(&denies_mkdir())
        .args(&["sh", "-c", TRY]);
    for applet in ["rm", "chmod"] {
        symlink("busybox", container.rootfs().join("bin").join(applet)).expect("link");
    }
    let seen = container.wrapped(&[]).run().success();
    assert_eq!(
        seen.stdout,
        "filter.bpf\nidentity.json\noci-seccomp\ndone\n"
    );
    let refused = seen
        .stderr
        .lines()
        .filter(|l| l.contains("Read-only file system"));
    assert_eq!(refused.count(), 12, "{seen}");

    // Through /proc, as in CVE-2019-5736: while it runs, and after.
    const OVERWRITE: &str = "cd /dev/.oci-seccomp; (sleep 9 | ./oci-seccomp dry-run -) & sleep 1; \
         pid=$(pidof oci-seccomp); true >> /proc/$pid/exe; exec 9< /proc/$pid/exe; \
         kill -9 $pid; sleep 1; true >> /proc/self/fd/9; ./oci-seccomp --version";
    let container = Container::new(runtime)
        .uid(0)
        .seccomp(&denies_mkdir())
        .args(&["sh", "-c", OVERWRITE]);
    symlink("busybox", container.rootfs().join("bin/pidof")).expect("link");
    let seen = container.wrapped(&[]).run().success();
    assert!(seen.stdout.starts_with("oci-seccomp "), "{seen}");
    assert!(seen.stderr.contains("/exe: Text file busy"), "{seen}");
    assert!(
        seen.stderr.contains("fd/9: Read-only file system"),
        "{seen}"
    );
}

fn keeps_the_section_for_the_runtime_when_told_to(runtime: Runtime) {
    for no_new_privileges in [false, true] {
        let seen = Container::new(runtime)
            .no_new_privileges(no_new_privileges)
            .uid(1000)
            .seccomp(&denies_mkdir())
            .probe("status -- call mkdir @/tmp/a 0x1ed")
            .wrapped(&["--keep-section"])
            .run()
            .success();
        assert_eq!(seen.field("pid1", "Seccomp_filters"), "2", "{seen}");
        assert_eq!(seen.errno("mkdir"), DENIED, "{seen}");
    }
}

/// `setpriv PRIVILEGES oci-seccomp init`, with this program, as this user with
/// CAP_KILL; it prints its effective capabilities.
fn init(privileges: &str, answers: &[filters::Answer], uid: u32) -> Outcome {
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = |name: &str, contents: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, contents).expect("file");
        path
    };
    let kill = json!(["CAP_KILL"]);
    let identity = json!({
        "uid": uid, "gid": 0, "looksUpHome": false,
        "capabilities": {
            "bounding": kill, "effective": kill, "inheritable": [], "permitted": kill, "ambient": []
        }
    });
    let identity = file("identity.json", identity.to_string().as_bytes());
    let run = Run::new("setpriv").arg(privileges).arg(binary());
    run.args(["init", "--bpf"])
        .arg(file("filter.bpf", &filters::answering(answers)))
        .arg("--identity")
        .arg(identity)
        .args(["--", "grep", "CapEff", "/proc/self/status"])
        .run()
}

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        support::skip("becoming another user needs root");
    }
    root
}

#[test]
fn init_becomes_another_under_the_filter() {
    if is_root() {
        let seen = init("--reset-env", &[], 0).success();
        assert_eq!(seen.stdout, "CapEff:\t0000000000000020\n");
        let seen = init("--reset-env", &[], 65534).success();
        assert_eq!(seen.stdout, "CapEff:\t0000000000000000\n");
    }
}

/// A capset that only seems to succeed would leave the workload root.
#[test]
fn init_loads_nothing_that_keeps_it_from_giving_up_its_privileges() {
    for action in [
        Action::KillProcess,
        Action::Errno(1),
        Action::Errno(0),
        Action::Trace(0),
    ] {
        if is_root() {
            let seen = init("--reset-env", &[(libc::SYS_capset, None, action)], 0);
            let seen = seen
                .exits(125)
                .says(&format!("answers capset with {action}"));
            assert_eq!(seen.stdout, "");
        }
    }
}

#[test]
fn init_says_what_it_needs_to_become_another() {
    if is_root() {
        let seen = init("--bounding-set=-setuid", &[], 65534).exits(125);
        assert_eq!(seen.stdout, "");
        seen.says("cannot become user 65534").says("CAP_SETUID");
    }
}

/// A bundle without a root file system, and its config's text.
struct Bundle {
    dir: tempfile::TempDir,
    text: String,
}

impl Bundle {
    fn new(section: &Value) -> Self {
        // Neither compact nor what serde_json would print.
        let text = format!(
            "{{\n\t\"process\": {{\"args\":[\"sh\"], \"user\": {{\"uid\":1000,\"gid\":5}},\
             \"x\": 1.50e3}},\n\t\"linux\": {{ \"seccomp\": {section} }}\n}}\n\n"
        );
        let dir = tempfile::tempdir().expect("temporary directory");
        let bundle = Self { dir, text };
        fs::write(bundle.config(), &bundle.text).expect("config.json");
        fs::set_permissions(bundle.config(), fs::Permissions::from_mode(0o640)).expect("mode");
        bundle
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn config(&self) -> std::path::PathBuf {
        self.path().join("config.json")
    }

    fn wrap(&self, args: &[&str]) -> Outcome {
        let wrap = Run::new(binary()).arg("wrap").args(args);
        wrap.arg(self.path()).run()
    }

    /// Nothing was changed, nothing added.
    #[track_caller]
    fn is_untouched(&self) {
        assert_eq!(
            fs::read_to_string(self.config()).expect("config"),
            self.text
        );
        let names = fs::read_dir(self.path()).expect("bundle");
        let names: Vec<_> = names
            .map(|entry| entry.expect("entry").file_name())
            .collect();
        assert_eq!(names, ["config.json"]);
    }
}

/// youki 0.7.0 takes the relative source of a mount for one in its own working
/// directory.
#[test]
fn youki_starts_it_from_within_the_bundle() {
    support::on_youki(|runtime| {
        let wrapped = || {
            let container = Container::new(runtime).no_new_privileges(true);
            let container = container.seccomp(&denies_mkdir());
            // youki may miss the end of what ends at once.
            container.probe("status -- sleep 1").wrapped(&[])
        };
        wrapped().run().fails().says("failed to canonicalize");
        let container = wrapped();
        let inside = format!("cd '{}'", container.bundle().display());
        let seen = container.setup(&inside).run().success();
        assert_eq!(seen.field("self", "Seccomp_filters"), "1", "{seen}");
    });
}

#[test]
fn undo_puts_back_the_very_file_and_leaves_nothing() {
    let bundle = Bundle::new(&denies_mkdir());
    let before = bundle.config().metadata().expect("metadata");
    bundle.wrap(&[]).success().says("CAP_SYS_ADMIN");
    let wrapped = bundle.config().metadata().expect("metadata");
    assert_ne!(wrapped.ino(), before.ino());
    assert_eq!(wrapped.mode(), before.mode());
    assert_eq!((wrapped.uid(), wrapped.gid()), (before.uid(), before.gid()));
    let text = fs::read_to_string(bundle.config()).expect("config.json");
    assert!(!text.contains("seccomp\":"), "{text}");
    assert!(text.contains("1.50e3"), "{text}");

    bundle.wrap(&["--undo"]).success();
    bundle.is_untouched();
    let after = bundle.config().metadata().expect("metadata");
    assert_eq!((after.ino(), after.mode()), (before.ino(), before.mode()));
    assert_eq!(after.mtime_nsec(), before.mtime_nsec());
    bundle.wrap(&["--undo"]).exits(1).says("nothing to undo");
}

#[test]
fn takes_a_relative_bundle() {
    let bundle = Bundle::new(&denies_mkdir());
    for args in [&["wrap", "."][..], &["wrap", "--undo", "."]] {
        let run = Run::new(binary()).args(args).current_dir(bundle.path());
        run.run().success();
    }
    bundle.is_untouched();
}

#[test]
fn wraps_once() {
    let bundle = Bundle::new(&denies_mkdir());
    bundle.wrap(&[]).success();
    let once = fs::read(bundle.config()).expect("config.json");
    bundle.wrap(&[]).exits(1).says("wrapped already");
    assert_eq!(fs::read(bundle.config()).expect("config.json"), once);
}

#[test]
fn of_many_at_once_one_wraps() {
    let bundle = Bundle::new(&denies_mkdir());
    let codes: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| bundle.wrap(&[]).code()))
            .collect();
        all.into_iter()
            .map(|one| one.join().expect("thread"))
            .collect()
    });
    let wrapped = codes.iter().filter(|code| **code == Some(0)).count();
    let refused = codes.iter().filter(|code| **code == Some(1)).count();
    assert_eq!((wrapped, refused), (1, 7), "{codes:?}");
    bundle.wrap(&["--undo"]).success();
    bundle.is_untouched();
}

#[test]
fn undo_does_not_lose_later_changes_unless_forced_to() {
    let bundle = Bundle::new(&denies_mkdir());
    bundle.wrap(&[]).success();
    let changed = fs::read_to_string(bundle.config()).expect("config.json") + " ";
    fs::write(bundle.config(), &changed).expect("config.json");
    bundle.wrap(&["--undo"]).exits(1).says("--force");
    assert_eq!(
        fs::read_to_string(bundle.config()).expect("config.json"),
        changed
    );
    bundle.wrap(&["--undo", "--force"]).success();
    bundle.is_untouched();
}

#[test]
fn undo_cleans_up_after_a_wrap_that_was_interrupted() {
    let bundle = Bundle::new(&denies_mkdir());
    let ours = bundle.path().join(".oci-seccomp");
    fs::create_dir_all(ours.join("mount")).expect("directories");
    fs::write(ours.join("mount/oci-seccomp"), "half").expect("file");
    bundle.wrap(&[]).exits(1);
    bundle.wrap(&["--undo"]).success();
    bundle.is_untouched();
    fs::create_dir(&ours).expect("directory");
    fs::write(ours.join("foreign"), "").expect("file");
    bundle.wrap(&["--undo"]).exits(2).says(".oci-seccomp");
    assert!(ours.join("foreign").exists());
}

#[test]
fn follows_no_link_out_of_the_bundle() {
    let other = Bundle::new(&denies_mkdir());
    let bundle = Bundle::new(&denies_mkdir());
    fs::remove_file(bundle.config()).expect("removal");
    symlink(other.config(), bundle.config()).expect("link");
    bundle.wrap(&[]).exits(2).says("symbolic link");
    other.is_untouched();
    assert!(bundle.config().is_symlink());

    fs::remove_file(bundle.config()).expect("removal");
    fs::write(bundle.config(), &bundle.text).expect("config.json");
    let link = bundle.path().join(".oci-seccomp");
    symlink(other.path(), &link).expect("link");
    bundle.wrap(&[]).exits(1);
    bundle.wrap(&["--undo"]).exits(1);
    fs::remove_file(link).expect("removal");
    bundle.is_untouched();
    other.is_untouched();
}

#[test]
fn refuses_what_would_not_run_and_names_call_and_rule() {
    for (profile, says) in [
        (
            allows_only(&["execve", "openat2"]),
            "the default action answers capset with KILL_PROCESS",
        ),
        (
            allows_only(&["write", "openat2"]),
            "the default action answers execve with",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [{ "names": ["capset"], "action": "SCMP_ACT_ERRNO" }] }),
            "rule 0",
        ),
        (json!({ "defaultAction": "SCMP_ACT_FROB" }), "SCMP_ACT_FROB"),
        (Value::Null, "no linux.seccomp section"),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/s",
                    "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }] }),
            "SCMP_ACT_NOTIFY",
        ),
    ] {
        let bundle = Bundle::new(&profile);
        bundle.wrap(&[]).exits(1).says(says);
        bundle.is_untouched();
    }
}

#[test]
fn tells_what_it_cannot_read_from_what_it_refuses() {
    let bundle = Bundle::new(&denies_mkdir());
    bundle
        .wrap(&["--profile", "/nowhere.json"])
        .exits(2)
        .says("/nowhere.json");
    bundle.is_untouched();
    fs::write(bundle.config(), "{").expect("config.json");
    bundle.wrap(&[]).exits(1).says("config.json");
    fs::remove_file(bundle.config()).expect("removal");
    bundle.wrap(&[]).exits(2).says("config.json");
    Run::new(binary())
        .args(["wrap", "/nowhere"])
        .run()
        .exits(2)
        .says("/nowhere");
}
