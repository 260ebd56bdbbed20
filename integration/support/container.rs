//! Real containers: a busybox root file system, a `config.json` of our own,
//! and a runtime that runs it.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Outcome, Run, binary, process, programs, skip};

/// Runs a command where a runtime finds the cgroups it can live with: crun
/// refuses the hybrid layout, so its second hierarchy is hidden from it. What
/// is mounted there is seen by nobody else and ends with the command.
pub const PRIVATE_MOUNTS: &str = r#"
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi
eval "$SETUP"
exec "$@""#;

/// Root of a container with a user namespace, as the host sees it.
pub const MAPPED_ROOT: u32 = 100_000;

/// How long what belongs to an ended container may take to end as well.
pub const GRACE: Duration = Duration::from_secs(3);

/// A tool that runs the hook would keep what it inherits, such as the pipes that
/// runc leaks and waits on.
const UNDER_TOOL: &str = r#"for fd in {3..63}; do eval "exec $fd>&-"; done
exec "$0" "$@" >/dev/null 2>&1"#;

/// strace with what a process forks, and as its child (-D), or the runtime would
/// wait for it.
pub const STRACE: &[&str] = &["-D", "-f"];

/// The default capabilities of podman and docker.
const CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// What a workload prints when it goes to sleep.
const ASLEEP: &str = "asleep";

/// The user land; the probe does what a shell is not needed for.
const APPLETS: &[&str] = &[
    "sh", "cat", "grep", "id", "ls", "mkdir", "sleep", "uname", "env", "stat",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    Runc,
    Crun,
    Youki,
}

impl Runtime {
    pub fn name(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Crun => "crun",
            Self::Youki => "youki",
        }
    }

    /// Its program, if it is installed.
    pub fn program(self) -> Option<PathBuf> {
        programs::find(self.name())
    }

    /// Whether containers can run here; otherwise says why not, which in CI
    /// is a failure.
    pub fn is_ready(self) -> bool {
        let name = self.name();
        if !nix::unistd::geteuid().is_root() {
            skip(&format!("{name} needs root"));
        } else if self.program().is_none() {
            skip(&format!("{name} is not installed"));
        } else {
            return true;
        }
        false
    }

    /// The command `RUNTIME --root DIR …`, as it is.
    pub fn direct(self, root: &Path) -> Run {
        Run::new(self.installed()).arg("--root").arg(root)
    }

    fn installed(self) -> PathBuf {
        let program = self.program();
        program.unwrap_or_else(|| panic!("{} is not installed", self.name()))
    }

    /// The command `RUNTIME --root DIR …` in a private mount namespace; as the
    /// first process of a pid namespace if asked for.
    fn command(self, root: &Path, first: bool) -> Run {
        let first: &[&str] = match first {
            true => &["--pid", "--fork", "--kill-child", "--mount-proc"],
            false => &[],
        };
        Run::new("unshare")
            .args(["--mount", "--propagation=private"])
            .args(first)
            .args(["sh", "-c"])
            .args([PRIVATE_MOUNTS, "sh"])
            .arg(self.installed())
            .arg("--root")
            .arg(root)
    }
}

/// Where in a container's life a hook runs; runtime-spec, "POSIX-platform
/// Hooks".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Prestart,
    CreateRuntime,
    CreateContainer,
}

impl Stage {
    fn key(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
        }
    }
}

/// A container to be; the default runs `true` as root without capabilities
/// to speak of, without no_new_privs, hooks or a seccomp section.
pub struct Container {
    runtime: Runtime,
    /// Unique on this machine: in each argv, environment and cgroup we make.
    id: String,
    dir: TempDir,
    config: Value,
    setup: String,
    runtime_first: bool,
}

impl Container {
    pub fn new(runtime: Runtime) -> Self {
        let container = Self::without_rootfs(runtime);
        make_rootfs(&container.rootfs()).expect("root file system");
        container
    }

    /// One of many that have the same root file system, another's.
    pub fn sharing(runtime: Runtime, rootfs: &Path) -> Self {
        Self::without_rootfs(runtime).patch(|config| config["root"]["path"] = json!(rootfs))
    }

    fn without_rootfs(runtime: Runtime) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = format!(
            // One is never the beginning of another: what carries a name is
            // killed in the end.
            "oci-seccomp-test-{}-{:05}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let dir = tempfile::Builder::new()
            .prefix(&format!("{id}."))
            .tempdir()
            .expect("temporary directory");
        Self {
            config: config(&id),
            runtime_first: false,
            runtime,
            id,
            dir,
            setup: String::new(),
        }
    }

    /// The bundle, which is also the place for files that hooks read.
    pub fn bundle(&self) -> &Path {
        self.dir.path()
    }

    pub fn rootfs(&self) -> PathBuf {
        self.bundle().join("rootfs")
    }

    /// Writes a file beside `config.json`.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.bundle().join(name);
        fs::write(&path, contents).expect("file in the bundle");
        path
    }

    /// `process.noNewPrivileges`.
    pub fn no_new_privileges(mut self, on: bool) -> Self {
        self.config["process"]["noNewPrivileges"] = json!(on);
        self
    }

    /// The workload's uid and gid. As engines do it, only root keeps the
    /// capabilities; another user is left with the bounding set.
    pub fn uid(mut self, uid: u32) -> Self {
        self.config["process"]["user"] = json!({ "uid": uid, "gid": uid });
        if uid == 0 {
            self.capabilities(CAPABILITIES)
        } else {
            self.config["process"]["capabilities"] = json!({ "bounding": CAPABILITIES });
            self
        }
    }

    /// All sets that a process without no_new_privs and ambient ones has.
    pub fn capabilities(mut self, names: &[&str]) -> Self {
        self.config["process"]["capabilities"] =
            json!({ "bounding": names, "effective": names, "permitted": names });
        self
    }

    /// Gives it a user namespace, whose root is nobody outside. Its hooks may
    /// run as that one: what they need is in their reach.
    pub fn user_namespace(mut self) -> Self {
        let ids = json!([{ "containerID": 0, "hostID": MAPPED_ROOT, "size": 65_536 }]);
        let linux = &mut self.config["linux"];
        linux["uidMappings"] = ids.clone();
        linux["gidMappings"] = ids;
        if let Some(namespaces) = linux["namespaces"].as_array_mut() {
            namespaces.push(json!({ "type": "user" }));
        }
        open_to_all(self.bundle());
        fs::set_permissions(self.file("hook.log", ""), Permissions::from_mode(0o666))
            .expect("mode of the log");
        Run::new("chown")
            .args(["-R", "-h", &format!("{MAPPED_ROOT}:{MAPPED_ROOT}")])
            .arg(self.rootfs())
            .run()
            .success();
        self
    }

    /// `process.args`.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.config["process"]["args"] = json!(args);
        self
    }

    /// Runs the probe; its arguments are separated by spaces.
    pub fn probe(mut self, args: &str) -> Self {
        let argv = std::iter::once("/probe").chain(args.split_whitespace());
        self.config["process"]["args"] = argv.collect();
        self
    }

    pub fn annotation(mut self, key: &str, value: impl AsRef<str>) -> Self {
        self.config["annotations"][key] = json!(value.as_ref());
        self
    }

    /// `linux.seccomp`, which the runtime sees as well.
    pub fn seccomp(mut self, section: &Value) -> Self {
        self.config["linux"]["seccomp"] = section.clone();
        self
    }

    /// Runs `oci-seccomp hook` at this stage, with these arguments.
    pub fn hook<S: AsRef<OsStr>>(mut self, stage: Stage, args: &[S]) -> Self {
        let text = |s: &OsStr| s.to_str().expect("argument is UTF-8").to_owned();
        let mut argv = vec!["oci-seccomp".to_owned(), "hook".to_owned()];
        argv.extend(args.iter().map(|a| text(a.as_ref())));
        argv.extend(["--log".to_owned(), text(self.log().as_os_str())]);
        self.config["hooks"][stage.key()] = json!([{ "path": binary(), "args": argv }]);
        self
    }

    /// Delays what a tracer does right after the seizing, its first ptrace(2), by
    /// a fifth of a second: races that it can lose, it loses.
    pub fn late_tracer(self) -> Self {
        self.inject("ptrace:delay_enter=200000:when=2..4")
    }

    /// Has strace interfere with the hooks and their tracers, as in its option
    /// `-e inject=`.
    pub fn inject(self, what: &str) -> Self {
        let call = what.split(':').next().unwrap_or_default();
        let (trace, inject) = (format!("trace={call}"), format!("inject={what}"));
        self.hooks_under(
            "strace",
            &[STRACE, &["-o", "/dev/null", "-e", &trace, "-e", &inject]].concat(),
        )
    }

    /// Has a tool, which is given these arguments first, run the hooks.
    pub fn hooks_under(mut self, tool: &str, options: &[&str]) -> Self {
        let tool = programs::find(tool).unwrap_or_else(|| panic!("no {tool}"));
        let hooks = self.config["hooks"].as_object_mut().expect("a hook");
        let all = hooks.values_mut().flat_map(|h| h.as_array_mut()).flatten();
        for hook in all.filter(|hook| hook["args"][0] == "oci-seccomp") {
            let program = hook["path"].take();
            let args = hook["args"].as_array().into_iter().flatten().skip(1);
            let bash = [json!("bash"), json!("-c"), json!(UNDER_TOOL), json!(tool)];
            let options = options.iter().map(|o| json!(o));
            hook["args"] = bash
                .into_iter()
                .chain(options)
                .chain([program])
                .chain(args.cloned())
                .collect();
            hook["path"] = json!("/bin/bash");
        }
        self
    }

    /// One more hook before or after those that are there: a script, which
    /// gets the state on standard input.
    pub fn script_hook(mut self, stage: Stage, first: bool, script: &str) -> Self {
        let mark = self.config["process"]["env"][1].clone();
        let path = std::env::var("PATH").unwrap_or_default();
        let hook = json!({
            "path": "/bin/sh",
            "args": ["sh", "-c", script],
            "env": [format!("PATH={path}"), mark]
        });
        let hooks = &mut self.config["hooks"][stage.key()];
        let hooks = hooks.as_array_mut().expect("a hook");
        hooks.insert(if first { 0 } else { hooks.len() }, hook);
        self
    }

    /// A script that runs before the runtime, in its private mount namespace.
    pub fn setup(mut self, script: &str) -> Self {
        self.setup = script.to_owned();
        self
    }

    /// The hook with a profile of its own, so that the runtime sees none.
    pub fn profile_hook(self, stage: Stage, profile: &Value) -> Self {
        let text = serde_json::to_string_pretty(profile).expect("JSON");
        let path = self.file("profile.json", text);
        self.hook(stage, &[OsStr::new("--profile"), path.as_os_str()])
    }

    /// Starts the workload through `oci-seccomp init`, with a profile that is
    /// inside the container.
    pub fn shim(self, profile: &Value) -> Self {
        self.shim_with("--profile", profile.to_string())
    }

    /// The same with what this option of `init` takes.
    pub fn shim_with(mut self, option: &str, contents: impl AsRef<[u8]>) -> Self {
        let rootfs = self.rootfs();
        fs::copy(binary(), rootfs.join("oci-seccomp")).expect("copy of the program");
        fs::write(rootfs.join("source"), contents).expect("source of the filter");
        let args = self.config["process"]["args"].take();
        let shim = ["/oci-seccomp", "init", option, "/source", "--"];
        let argv = shim.iter().map(|&s| json!(s));
        let workload = args.as_array().into_iter().flatten().cloned();
        self.config["process"]["args"] = argv.chain(workload).collect();
        self
    }

    /// Makes the runtime the first process of a pid namespace, as in a
    /// container of its own. Only for [`Container::run`].
    pub fn runtime_is_first_process(mut self) -> Self {
        self.runtime_first = true;
        self
    }

    /// Rewrites the bundle by `oci-seccomp wrap`, with these arguments.
    #[track_caller]
    pub fn wrapped(mut self, args: &[&str]) -> Self {
        self.write_config();
        let wrap = Run::new(binary()).arg("wrap").args(args).arg(self.bundle());
        wrap.run().success();
        let text = fs::read(self.bundle().join("config.json")).expect("config.json");
        self.config = serde_json::from_slice(&text).expect("JSON");
        self
    }

    /// Anything else in `config.json`.
    pub fn patch(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.config);
        self
    }

    pub fn log(&self) -> PathBuf {
        self.bundle().join("hook.log")
    }

    /// `RUNTIME --root DIR VERB`.
    fn command(&self, verb: &str) -> Run {
        let name = format!("{} {verb} {}", self.runtime.name(), self.id);
        let first = self.runtime_first && verb == "run";
        let command = self.runtime.command(&self.state_root(), first);
        command.name(name).env("SETUP", &self.setup).arg(verb)
    }

    pub fn write_config(&self) {
        let text = serde_json::to_string_pretty(&self.config).expect("JSON");
        self.file("config.json", text);
    }

    fn with_log(&self, outcome: Outcome) -> Outcome {
        Outcome {
            log: fs::read_to_string(self.log()).unwrap_or_default(),
            ..outcome
        }
    }

    /// Runs it to its end; the status is the runtime's, the output the
    /// workload's and the runtime's.
    pub fn run(self) -> Outcome {
        self.run_again()
    }

    /// The same, for one that is run more than once.
    pub fn run_again(&self) -> Outcome {
        self.write_config();
        let outcome = self
            .command("run")
            .arg("--bundle")
            .arg(self.bundle())
            .arg(&self.id)
            .run();
        let outcome = self.with_log(outcome);
        assert!(
            process::within(GRACE, || self.processes().is_empty()),
            "left behind {:?} by {outcome}",
            self.processes()
        );
        outcome
    }

    /// Runs it by the runtime and nothing else, for what counts the time: from a
    /// mount namespace that is private already, with the config that
    /// [`Container::write_config`] wrote, and without a look at what is left
    /// behind before this is dropped.
    pub fn run_directly(&self) -> Outcome {
        let run = self.runtime.direct(&self.state_root()).args(["run", "-b"]);
        run.arg(self.bundle()).arg(&self.id).run()
    }

    /// Where the runtime keeps its containers: `--root`.
    pub fn state_root(&self) -> PathBuf {
        self.bundle().join("state")
    }

    /// Makes it and leaves it waiting for [`Created::start`].
    pub fn create(self) -> Created {
        self.write_config();
        let outcome = self
            .command("create")
            .arg("--bundle")
            .arg(self.bundle())
            .arg("--pid-file")
            .arg(self.bundle().join("pid"))
            .arg(&self.id)
            .output_to(&self.bundle().join("init"))
            .run();
        let outcome = self.with_log(outcome);
        Created {
            container: self,
            outcome,
        }
    }

    /// Its workload does these operations of the probe, and then sleeps; see
    /// [`Container::launch`].
    pub fn sleeping_after(self, operations: &str) -> Self {
        self.probe(&format!("{operations} -- print {ASLEEP} -- sleep 600"))
    }

    /// Starts one that has a workload of [`Container::sleeping_after`], and
    /// comes back when it sleeps.
    #[track_caller]
    pub fn launch(self) -> Created {
        let created = self.create().ready();
        created.start().success();
        created.waits_for(ASLEEP);
        created
    }

    /// Starts it with a workload that sleeps.
    #[track_caller]
    pub fn running(mut self) -> Created {
        let process = &mut self.config["process"];
        // Where it is false outright, youki loads a section only once it has
        // dropped the capability that takes.
        if self.runtime == Runtime::Youki
            && process["noNewPrivileges"] == false
            && let Some(process) = process.as_object_mut()
        {
            process.remove("noNewPrivileges");
        }
        self.sleeping_after("print started").launch()
    }

    /// Starts it with the hunter for a workload; see `hunter.c`.
    #[track_caller]
    pub fn hunting(self, args: &[&str]) -> Created {
        fs::copy(programs::hunter(), self.rootfs().join("hunter")).expect("copy of the hunter");
        let argv = [&["/hunter"], args].concat();
        let created = self.args(&argv).create().ready();
        created.start().success();
        created.waits_for("ready");
        created
    }

    /// What there is of it: init, its children, tracers, the runtime.
    fn processes(&self) -> Vec<(i32, String)> {
        process::marked(&self.id)
    }

    fn verb(&self, verb: &str) -> Outcome {
        let outcome = self.command(verb).arg(&self.id).run();
        self.with_log(outcome)
    }
}

impl Drop for Container {
    /// Deletes it whatever state it is in, and holds it against us if that
    /// was not enough.
    fn drop(&mut self) {
        if self.state_root().join(&self.id).exists() {
            self.command("delete").args(["--force", &self.id]).run();
        }
        let mut left = Vec::new();
        let gone = process::within(GRACE, || {
            left = self.processes();
            left.is_empty()
        });
        for (pid, _) in &left {
            let pid = nix::unistd::Pid::from_raw(*pid);
            // It may have ended by itself since.
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        let mounts = process::marked_mounts(&self.id);
        if !std::thread::panicking() {
            assert!(gone, "left behind: {left:?}");
            assert!(mounts.is_empty(), "left mounted: {mounts:?}");
        }
    }
}

/// A container after `create`.
pub struct Created {
    container: Container,
    /// What `create` said.
    pub outcome: Outcome,
}

impl Created {
    pub fn id(&self) -> &str {
        &self.container.id
    }

    pub fn bundle(&self) -> &Path {
        self.container.bundle()
    }

    /// `create` succeeded.
    #[track_caller]
    pub fn ready(self) -> Self {
        assert_eq!(self.outcome.code(), Some(0), "create: {}", self.outcome);
        self
    }

    /// What the runtime says of it; `null` if it knows of none.
    pub fn state(&self) -> Value {
        serde_json::from_str(&self.container.verb("state").stdout).unwrap_or_default()
    }

    /// Init, as the host sees it.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let pid = fs::read_to_string(self.container.bundle().join("pid"));
        let pid = pid.ok().and_then(|pid| pid.trim().parse().ok());
        pid.unwrap_or_else(|| panic!("no pid after {}", self.outcome))
    }

    pub fn start(&self) -> Outcome {
        self.container.verb("start")
    }

    /// Waits until init has printed this line.
    #[track_caller]
    pub fn waits_for(&self, line: &str) {
        let printed = || self.printed().lines().any(|l| l == line);
        let limit = super::command::LIMIT;
        assert!(
            process::within(limit, printed),
            "no line {line:?} in {:?} of {}",
            self.printed(),
            self.outcome
        );
    }

    /// What init has printed so far.
    pub fn printed(&self) -> String {
        fs::read_to_string(self.bundle().join("init.out")).unwrap_or_default()
    }

    pub fn runtime(&self) -> Runtime {
        self.container.runtime
    }

    pub fn rootfs(&self) -> PathBuf {
        self.container.rootfs()
    }

    /// Writes a file beside `config.json`.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        self.container.file(name, contents)
    }

    /// `process` of the config.
    pub fn process(&self) -> &Value {
        &self.container.config["process"]
    }

    /// `oci-seccomp exec OPTIONS ID ARGV…`, where the runtime finds the
    /// container; also the cgroups are those that the runtime saw.
    pub fn exec(&self, options: &[&str], argv: &[&str]) -> Run {
        self.exec_before(&[], options, argv)
    }

    /// The same as the end of another command: `BEFORE… oci-seccomp exec …`.
    pub fn exec_before(&self, before: &[&str], options: &[&str], argv: &[&str]) -> Run {
        self.exec_by(before, programs::stripped(), options, argv)
    }

    /// The same by a copy of the program.
    pub fn exec_by(&self, before: &[&str], ours: &Path, options: &[&str], argv: &[&str]) -> Run {
        let runtime = self.runtime().program().expect("an installed runtime");
        self.exec_asking(&runtime, before, ours, options, argv)
    }

    /// The same with a program that answers as the runtime does.
    pub fn exec_asking(
        &self,
        runtime: &Path,
        before: &[&str],
        ours: &Path,
        options: &[&str],
        argv: &[&str],
    ) -> Run {
        self.host(before)
            .arg(ours)
            .args(["exec", "--runtime"])
            .arg(runtime)
            .arg("--root")
            .arg(self.root())
            .args(options)
            .arg(self.id())
            .args(argv)
    }

    /// What does none of it: `nsenter` into init's mount and pid namespace.
    pub fn naive(&self, before: &[&str], argv: &[&str]) -> Run {
        let pid = self.pid().to_string();
        self.host(before)
            .arg(programs::find("nsenter").expect("nsenter"))
            .args(["--target", &pid, "--mount", "--pid"])
            .args(argv)
    }

    /// The same with the probe; its arguments are separated by spaces.
    pub fn exec_probe(&self, options: &[&str], args: &str) -> Run {
        let argv: Vec<&str> = args.split_whitespace().collect();
        self.exec(options, &[&["/probe"], &argv[..]].concat())
    }

    /// `BEFORE… oci-seccomp`, in a private mount namespace as the runtimes.
    pub fn ours(&self, before: &[&str]) -> Run {
        self.host(before).arg(programs::stripped())
    }

    /// A command of the host's in a private mount namespace as the runtimes.
    pub fn host(&self, argv: &[&str]) -> Run {
        Run::new("unshare")
            .args(["--mount", "--propagation=private", "sh", "-c"])
            .args([PRIVATE_MOUNTS, "sh"])
            .env("SETUP", "")
            .args(argv)
    }

    /// `RUNTIME exec --process FILE ID`, with this for the process.
    pub fn runtime_exec(&self, process: &Value) -> Outcome {
        let file = self.file("runtime-process.json", process.to_string());
        let command = self.container.command("exec").arg("--process").arg(file);
        command.arg(self.id()).run()
    }

    /// What there is of it but init: what an exec has left behind.
    pub fn others(&self) -> Vec<(i32, String)> {
        let init = self.pid();
        let mut all = self.container.processes();
        all.retain(|(pid, _)| *pid != init);
        all
    }

    /// Sends a signal to `oci-seccomp exec` where another command started it.
    #[track_caller]
    pub fn signal_ours(&self, started: &super::Started, signal: nix::sys::signal::Signal) {
        let children = format!("/proc/{0}/task/{0}/children", started.pid());
        let children = fs::read_to_string(children).unwrap_or_default();
        let child = children.split_whitespace().next();
        let pid = child.map_or(started.pid(), |pid| pid.parse().expect("a pid"));
        let sent = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
        sent.unwrap_or_else(|e| panic!("kill {pid}: {e}; {:?}", self.others()));
    }

    /// Nothing is left of a failed exec, or of one that has ended.
    #[track_caller]
    pub fn is_alone(&self) {
        assert!(
            process::within(GRACE, || self.others().is_empty()),
            "left behind: {:?}",
            self.others()
        );
        assert!(process::alive(self.pid()), "init has ended");
    }

    pub fn kill(&self, signal: &str) -> Outcome {
        let container = &self.container;
        let outcome = container.command("kill").args([&container.id, signal]);
        container.with_log(outcome.run())
    }

    pub fn delete(&self) -> Outcome {
        self.container.verb("delete")
    }

    pub fn pause(&self) -> Outcome {
        self.container.verb("pause")
    }

    pub fn resume(&self) -> Outcome {
        self.container.verb("resume")
    }

    /// Where the runtime keeps its containers: `--root`.
    pub fn root(&self) -> PathBuf {
        self.container.state_root()
    }

    /// Made anew under the same id, once it was deleted.
    pub fn again(self) -> Self {
        self.container.create()
    }

    /// Waits for init to end, and gives what it printed so far.
    #[track_caller]
    pub fn output(&self, pid: i32) -> Outcome {
        assert!(
            process::within(super::command::LIMIT, || !process::alive(pid)),
            "init {pid} still runs; {}",
            self.outcome
        );
        let read =
            |name| fs::read_to_string(self.container.bundle().join(name)).unwrap_or_default();
        self.container.with_log(Outcome {
            stdout: read("init.out"),
            stderr: read("init.err"),
            ..self.outcome.clone()
        })
    }
}

/// A root file system with a shell and the probes.
pub fn make_rootfs(rootfs: &Path) -> std::io::Result<()> {
    for dir in ["bin", "dev", "proc", "tmp"] {
        fs::create_dir_all(rootfs.join(dir))?;
    }
    fs::copy(programs::busybox(), rootfs.join("bin/busybox"))?;
    for applet in APPLETS {
        symlink("busybox", rootfs.join("bin").join(applet))?;
    }
    fs::copy(programs::probe(), rootfs.join("probe"))?;
    fs::copy(programs::hello(), rootfs.join("hello"))?;
    // Any uid may write here, so that only a filter can deny it.
    fs::set_permissions(rootfs.join("tmp"), Permissions::from_mode(0o1777))
}

/// Lets everybody pass through a directory.
pub fn open_to_all(dir: &Path) {
    fs::set_permissions(dir, Permissions::from_mode(0o755)).expect("mode of a directory");
}

/// As small as a config can be; everything else a test adds for itself.
fn config(id: &str) -> Value {
    let namespaces = ["pid", "network", "ipc", "uts", "mount"];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": ["/bin/busybox", "true"],
            "env": ["PATH=/bin", format!("OCI_SECCOMP_TEST={id}")],
            "cwd": "/",
            "capabilities": {
                "bounding": CAPABILITIES,
                "effective": CAPABILITIES,
                "permitted": CAPABILITIES
            },
            "noNewPrivileges": false
        },
        "root": { "path": "rootfs", "readonly": false },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            {
                "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "mode=755", "size=65536k"]
            }
        ],
        "linux": {
            "namespaces": namespaces.map(|kind| json!({ "type": kind })),
        }
    })
}
