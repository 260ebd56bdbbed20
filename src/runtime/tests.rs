use super::*;

use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// A bundle, and a script that answers as a runtime. In it, `$D` is their
/// folder, `$ID` what was asked for, and `$TIMES` how often that was.
struct Fake {
    dir: TempDir,
    program: PathBuf,
}

const HEAD: &str = r#"#!/bin/sh
D=$(dirname "$0")
for ID; do :; done
echo "$*" >>"$D/asked"
TIMES=$(wc -l <"$D/asked")
state() { echo "{\"id\": \"$ID\", \"pid\": $1, \"status\": \"${2-running}\", \"bundle\": \"$D\"}"; }
start() { sleep 600 >/dev/null 2>&1 & echo $! >>"$D/started"; }
started() { tail -n 1 "$D/started"; }
finish() {
    P=$(started)
    kill -9 $P
    while [ -e /proc/$P ] && ! grep -q '^State:.[ZX]' /proc/$P/status; do sleep 0.01; done
}
"#;

impl Fake {
    fn new(script: &str) -> Self {
        Self::with_config("{}", script)
    }

    fn with_config(config: &str, script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.json"), config).unwrap();
        let program = dir.path().join("runtime");
        // Not by this process: another thread's child could have it open for
        // writing for a moment, and it could not be executed.
        let mut writer = Command::new("sh")
            .args(["-c", r#"cat >"$0" && chmod 755 "$0""#])
            .arg(&program)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = writer.stdin.take().unwrap();
        write!(stdin, "{HEAD}{script}").unwrap();
        drop(stdin);
        assert!(writer.wait().unwrap().success());
        Self { dir, program }
    }

    fn find(&self, id: &str) -> Result<Container, Error> {
        find(&Engine::Oci(self.program.clone()), None, id)
    }

    #[track_caller]
    fn refuses(&self, id: &str) -> String {
        chain(self.find(id).unwrap_err())
    }

    fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join(file)).unwrap_or_default();
        text.lines().map(String::from).collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        for pid in self.lines("started") {
            let pid = Pid::from_raw(pid.parse().unwrap());
            // The script may have ended it.
            let _ = PidFd::open(pid).and_then(|process| process.kill());
        }
    }
}

/// A process that is older than what comes after.
struct Old(Child);

impl Old {
    fn new() -> Self {
        let cat = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        // A few clock ticks.
        std::thread::sleep(Duration::from_millis(50));
        Self(cat)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }
}

impl Drop for Old {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn chain(error: Error) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

const PID_NAMESPACE: &str = r#"{"linux": {"namespaces": [{"type": "pid"}]}}"#;

#[test]
fn finds_the_process_that_the_runtime_names() {
    let config = r#"{"ociVersion": "1.0.2", "annotations": {"a": "b"}}"#;
    let old = Old::new();
    let fake = Fake::with_config(config, &format!("state {}", old.pid()));
    let container = fake.find("c").unwrap();
    assert_eq!(container.state.id, "c");
    assert_eq!(container.state.pid, Some(old.pid()));
    assert_eq!(container.state.bundle, fake.dir.path());
    assert_eq!(container.state.annotations["a"], "b");
    assert_eq!(container.state.oci_version.as_deref(), Some("1.0.2"));
    assert_eq!(container.engine, fake.program.display().to_string());
    assert!(container.is_still_running());
    drop(old);
    assert!(!container.is_still_running());
    assert_eq!(fake.lines("asked"), ["state c"]);
}

#[test]
fn hands_on_where_the_runtime_keeps_its_containers() {
    let old = Old::new();
    let fake = Fake::new(&format!("state {}", old.pid()));
    let engine = Engine::Oci(fake.program.clone());
    find(&engine, Some(Path::new("/some where")), "c").unwrap();
    assert_eq!(fake.lines("asked"), ["--root /some where state c"]);
    let error = find(&Engine::Podman, Some(Path::new("/r")), "c").unwrap_err();
    assert!(matches!(error, Error::RootOfPodman), "{error}");
}

#[test]
fn a_younger_process_has_to_be_named_twice() {
    let fake = Fake::new("[ $TIMES = 1 ] && start; state $(started)");
    let container = fake.find("c").unwrap();
    let pid = container.state.pid.unwrap();
    assert_eq!(fake.lines("started"), [pid.to_string()]);
    assert_eq!(fake.lines("asked").len(), 2);
}

#[test]
fn a_container_that_is_restarted_meanwhile_is_refused() {
    for script in [
        // Another init each time; none; an end; an end that is not noticed.
        "start; state $(started)",
        "[ $TIMES = 1 ] || exit 1; start; state $(started)",
        "[ $TIMES = 1 ] && start || P=stopped; state $(started) $P",
        "[ $TIMES = 1 ] && start || finish; state $(started)",
        // Never there: greater than any pid.
        "state 4194305",
    ] {
        let fake = Fake::new(script);
        let error = fake.refuses("c");
        assert!(
            error.starts_with("container c was restarted"),
            "{script}: {error}"
        );
    }
}

#[test]
fn only_a_container_that_runs_is_found() {
    let old = Old::new();
    for status in ["created", "creating", "stopped", "paused", "Running", ""] {
        let fake = Fake::new(&format!("state {} '{status}'", old.pid()));
        let error = fake.find("c").unwrap_err();
        assert!(
            matches!(error, Error::NotRunning { .. }),
            "{status}: {error}"
        );
        assert!(
            error.to_string().ends_with(&format!("is {status}")),
            "{error}"
        );
    }
    let fake = Fake::new(r#"echo "{\"id\": \"c\", \"bundle\": \"$D\", \"pid\": 1}""#);
    assert!(fake.refuses("c").contains("not running"));
}

#[test]
fn an_answer_that_cannot_be_used_is_refused() {
    let answer = |text: &str| format!("cat <<'END'\n{text}\nEND");
    for (script, expected) in [
        (
            answer("not json"),
            "gave no usable answer for container c: the container's state",
        ),
        (answer(""), "is not valid JSON"),
        (
            answer(r#"{"id": "c", "bundle": "/b", "status": "running", "pid": -1}"#),
            "pid -1 is not",
        ),
        (
            answer(r#"{"id": "c", "bundle": "/b", "status": "running", "pid": 0}"#),
            "but not which process",
        ),
        (
            answer(r#"{"id": "c", "bundle": "/b", "status": "running"}"#),
            "but not which process",
        ),
        (
            answer(r#"{"id": "d", "bundle": "/b", "status": "running", "pid": 1}"#),
            r#"answered for "d""#,
        ),
        (
            answer(r#"{"id": "c", "bundle": "/nowhere", "status": "running", "pid": 1}"#),
            "cannot open /nowhere/config.json",
        ),
        (
            answer(r#"{"id": "c", "bundle": "b", "status": "running", "pid": 1}"#),
            "but not where its bundle is",
        ),
        (answer("\"\u{e9}\""), "invalid type: string"),
        ("printf '\\377'".into(), "is not UTF-8"),
        ("cat /dev/zero".into(), "printed more than 1048576 bytes"),
        (
            "echo no >&2; exit 7".into(),
            "does not know of a container c: no",
        ),
        (
            "kill -9 $$".into(),
            "does not know of a container c: signal: 9",
        ),
    ] {
        let error = Fake::new(&script).refuses("c");
        assert!(error.contains(expected), "{script}: {error}");
    }
}

#[test]
fn a_name_that_is_no_id_is_not_handed_on() {
    let fake = Fake::new("exit 1");
    for id in [
        "", "-c", "--help", ".", "..", "a/b", "/", "a b", "a\n", "\0", "a\u{7f}", "a\u{a0}b",
    ] {
        let error = fake.find(id).unwrap_err();
        assert!(matches!(error, Error::Id { .. }), "{id:?}: {error}");
    }
    assert_eq!(fake.lines("asked"), [""; 0]);
    for id in ["a", "a.b_c-D+1", "..a", "é"] {
        let error = fake.find(id).unwrap_err();
        assert!(matches!(error, Error::Unknown { .. }), "{id:?}: {error}");
    }
}

#[test]
fn this_very_process_is_no_container() {
    let fake = Fake::new(&format!("state {}", std::process::id()));
    assert!(fake.refuses("c").ends_with("is this one"));
    let error = by_pid(nix::unistd::getpid(), fake.dir.path()).unwrap_err();
    assert!(matches!(error, Error::Itself { .. }), "{error}");
}

#[test]
fn the_init_of_a_pid_namespace_is_its_first_process() {
    let old = Old::new();
    let fake = Fake::with_config(PID_NAMESPACE, &format!("state {}", old.pid()));
    assert!(
        fake.refuses("c")
            .contains("is not the init of this container")
    );
    // Not that of the host either.
    for pid in [old.pid(), Pid::from_raw(1)] {
        let error = by_pid(pid, fake.dir.path()).unwrap_err();
        assert!(matches!(error, Error::Stranger { .. }), "{error}");
    }
    // Nothing is known of a namespace that was there before.
    let config = r#"{"linux": {"namespaces": [{"type": "pid", "path": "/proc/1/ns/pid"}]}}"#;
    let fake = Fake::with_config(config, &format!("state {}", old.pid()));
    assert!(fake.find("c").is_ok());
}

#[test]
fn a_process_can_be_given_with_its_bundle() {
    let old = Old::new();
    let fake = Fake::with_config(r#"{"annotations": {"a": "b"}}"#, "exit 1");
    let container = by_pid(old.pid(), fake.dir.path()).unwrap();
    assert_eq!(container.state.pid, Some(old.pid()));
    assert_eq!(container.state.id, old.pid().to_string());
    assert_eq!(container.state.annotations["a"], "b");
    assert!(container.state.bundle.is_absolute());
    assert!(container.is_still_running());
    for pid in [0, -1, 4_194_305] {
        let error = by_pid(Pid::from_raw(pid), fake.dir.path()).unwrap_err();
        assert!(matches!(error, Error::Hold { .. }), "{error}");
    }
    let error = by_pid(old.pid(), Path::new("/nowhere")).unwrap_err();
    assert!(matches!(error, Error::Bundle(_)), "{error}");
}

/// Asks these as crun and runc, and another as podman.
fn any_of(
    runtimes: &[&Fake],
    podman: Option<&Fake>,
    root: Option<&Path>,
) -> Result<Container, Error> {
    let named = RUNTIMES.into_iter().zip(runtimes);
    let asked = named
        .map(|(name, fake)| Question::oci(Path::new(name), fake.program.clone(), root, "c").ask());
    let podman = podman.filter(|_| root.is_none());
    let lookup = Lookup {
        id: "c".into(),
        asked: asked.collect::<Result<_, _>>()?,
        alone: false,
        podman: podman.map(|fake| fake.program.clone()),
    };
    lookup.finish()
}

#[test]
fn the_one_runtime_that_knows_the_container_is_taken() {
    let old = Old::new();
    let knows = Fake::new(&format!("state {}", old.pid()));
    let does_not = Fake::new("echo none >&2; exit 1");
    let container = any_of(&[&does_not, &knows], Some(&does_not), None).unwrap();
    assert_eq!(container.engine, "runc");
    let container = any_of(&[&knows, &does_not], None, None).unwrap();
    assert_eq!(container.engine, "crun");
    assert_eq!(does_not.lines("asked"), ["state c", "state c"]);
}

#[test]
fn podman_is_asked_when_no_runtime_knows() {
    let old = Old::new();
    let does_not = Fake::new("echo none >&2; exit 1");
    let podman = Fake::new(&format!(
        r#"echo "[{{\"Id\": \"cafe\", \"Name\": \"web\", \"OCIConfigPath\": \"$D/config.json\",
        \"State\": {{\"Status\": \"running\", \"Pid\": {}}}}}]""#,
        old.pid()
    ));
    let container = any_of(&[&does_not], Some(&podman), None).unwrap();
    assert_eq!(
        (container.engine.as_str(), container.state.id.as_str()),
        ("podman", "cafe")
    );
    assert_eq!(container.state.bundle, podman.dir.path());
    assert_eq!(podman.lines("asked"), ["inspect --type container -- c"]);
    // Its root is not that of a runtime.
    let error = any_of(&[&does_not], Some(&podman), Some(Path::new("/r"))).unwrap_err();
    assert_eq!(chain(error), "nobody knows of a container c: crun: none");
    assert_eq!(podman.lines("asked").len(), 1);
    // Neither a name nor the beginning of an id.
    let other =
        Fake::new(r#"echo '[{"Id": "dada", "Name": "c2", "State": {"Status": "x", "Pid": 0}}]'"#);
    let error = any_of(&[], Some(&other), None).unwrap_err();
    assert!(matches!(error, Error::OtherId { .. }), "{error}");
}

#[test]
fn who_cannot_tell_is_not_passed_over() {
    let old = Old::new();
    let knows = Fake::new(&format!("state {}", old.pid()));
    let garbage = Fake::new("echo garbage");
    for order in [[&knows, &garbage], [&garbage, &knows]] {
        let error = any_of(&order, None, None).unwrap_err();
        assert!(matches!(error, Error::Answer { .. }), "{error}");
    }
}

#[test]
fn two_that_know_the_container_and_none_are_named() {
    let old = Old::new();
    let knows = Fake::new(&format!("state {}", old.pid()));
    let error = any_of(&[&knows, &knows], None, None).unwrap_err();
    assert_eq!(
        chain(error),
        "crun and runc each have a container c: choose with --runtime"
    );
    let (first, second) = (Fake::new("echo a >&2; exit 1"), Fake::new("exit 2"));
    let error = any_of(&[&first, &second], Some(&first), None).unwrap_err();
    assert_eq!(
        chain(error),
        "nobody knows of a container c: crun: a; runc: exit status: 2; podman: a"
    );
    let error = any_of(&[], None, None).unwrap_err();
    assert!(matches!(error, Error::NobodyToAsk), "{error}");
}
