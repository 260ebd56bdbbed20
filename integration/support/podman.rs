//! Containers under podman, as root or rootless, with a store, locks and
//! settings of their own: nothing of the machine's podman is read or changed.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use super::container::{GRACE, MAPPED_ROOT, PRIVATE_MOUNTS, make_rootfs, open_to_all};
use super::{Outcome, Run, Runtime, binary, process, programs, skip, source};

/// The image with the probes.
pub const IMAGE: &str = "localhost/probe";

/// The user that runs podman rootless, and the ids that it may give away.
const NOBODY: u32 = 65_534;
const SUBORDINATE: &str = "nobody:200000:65536\n";

/// Run as root in the private mount namespace: `$0` is our directory.
const ROOTLESS: &str = r#"
mount --bind "$0/subid" /etc/subuid && mount --bind "$0/subid" /etc/subgid &&
cd "$0" && exec setpriv --reuid nobody --regid nogroup --clear-groups "$@""#;

/// podman's settings. The limits, because it otherwise asks for more than a
/// host without CAP_SYS_RESOURCE grants; file locks, because the others are
/// one segment for the whole machine.
const SETTINGS: &str = r#"[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
log_driver = "k8s-file"
netns = "none"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
static_dir = "@DIR@/store/libpod"
tmp_dir = "@DIR@/tmp"
volume_path = "@DIR@/store/volumes"
"#;

/// A podman with one runtime, one store and the image with the probes in it.
pub struct Podman {
    runtime: Runtime,
    rootless: bool,
    /// In each path, container name and cgroup of it.
    id: String,
    dir: TempDir,
    count: AtomicU32,
}

impl Podman {
    pub fn new(runtime: Runtime) -> Self {
        Self::with(runtime, false)
    }

    /// Run by an ordinary user, in a user namespace of that user's.
    pub fn rootless(runtime: Runtime) -> Self {
        Self::with(runtime, true)
    }

    /// Whether containers can run under it; otherwise says why not.
    pub fn is_ready(runtime: Runtime, rootless: bool) -> bool {
        let missing = |name: &&str| programs::find(name).is_none();
        let needed = match rootless {
            true => &["podman", "conmon", "newuidmap", "newgidmap"][..],
            false => &["podman", "conmon"],
        };
        if let Some(name) = needed.iter().find(|n| missing(n)) {
            skip(&format!("{name} is not installed"));
            return false;
        }
        if !runtime.is_ready() {
            return false;
        }
        let user_namespace = "--reuid nobody --regid nogroup --clear-groups unshare --user true";
        let allowed = || Run::new("setpriv").args(user_namespace.split(' ')).run();
        if rootless && allowed().code() != Some(0) {
            skip("an ordinary user may not make user namespaces here");
            return false;
        }
        true
    }

    fn with(runtime: Runtime, rootless: bool) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("oci-seccomp-podman-{}-{count}", std::process::id());
        let dir = tempfile::Builder::new()
            .prefix(&format!("{id}."))
            .tempdir()
            .expect("temporary directory");
        let podman = Self {
            runtime,
            rootless,
            id,
            dir,
            count: AtomicU32::new(0),
        };
        podman.prepare().expect("podman's directory");
        podman.import();
        podman
    }

    fn prepare(&self) -> std::io::Result<()> {
        // Hooks may run as anybody.
        open_to_all(self.dir());
        fs::copy(binary(), self.program())?;
        let settings = SETTINGS.replace("@DIR@", &self.dir().to_string_lossy());
        self.file("containers.conf", settings);
        self.file("subid", SUBORDINATE);
        make_rootfs(&self.dir().join("rootfs"))?;
        for dir in ["home", "run", "store", "tmp", "xdg"] {
            let dir = self.dir().join(dir);
            fs::create_dir(&dir)?;
            if self.rootless {
                chown(&dir, Some(NOBODY), Some(NOBODY))?;
            }
        }
        fs::set_permissions(self.dir().join("xdg"), Permissions::from_mode(0o700))
    }

    fn import(&self) {
        let archive = self.dir().join("image.tar");
        Run::new("tar")
            .arg("-C")
            .arg(self.dir().join("rootfs"))
            .args(["--owner=0", "--group=0", "-cf"])
            .arg(&archive)
            .arg(".")
            .run()
            .success();
        let import = self.command(&["import"]).arg(&archive).arg(IMAGE);
        import.run().success();
    }

    pub fn is(&self, runtime: Runtime) -> bool {
        self.runtime == runtime
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What its containers' cgroups and processes are known by.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A copy of the program under test that everybody can execute.
    fn program(&self) -> PathBuf {
        self.dir().join("oci-seccomp")
    }

    /// Writes a file that podman and hooks can read.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir().join(name);
        fs::write(&path, contents).expect("file");
        path
    }

    /// A command in a private mount namespace, as podman itself.
    pub fn host(&self, argv: &[&str]) -> Run {
        Run::new("unshare")
            .args(["--mount", "--propagation=private", "sh", "-c"])
            .args([PRIVATE_MOUNTS, "sh"])
            .args(argv)
    }

    /// `podman OPTIONS…` in a private mount namespace.
    pub fn command<S: AsRef<OsStr>>(&self, options: &[S]) -> Run {
        let dir = self.dir();
        let mut run = self
            .host(&[])
            .env("CONTAINERS_CONF", dir.join("containers.conf"))
            .env("HOME", dir.join("home"))
            .env("XDG_RUNTIME_DIR", dir.join("xdg"));
        if self.rootless {
            run = run.args(["sh", "-c", ROOTLESS]).arg(dir);
        }
        let runtime = self.runtime.program().expect("an installed runtime");
        run.args(["podman", "--storage-driver", "vfs", "--root"])
            .arg(dir.join("store"))
            .arg("--runroot")
            .arg(dir.join("run"))
            .arg("--runtime")
            .arg(runtime)
            .args(options)
    }

    /// A folder with a program `podman` that is this one, for whoever runs it
    /// by its name.
    pub fn on_path(&self) -> PathBuf {
        let dir = self.dir().join("bin");
        fs::create_dir_all(&dir).expect("folder of a program");
        let runtime = self.runtime.program().expect("an installed runtime");
        let real = programs::find("podman").expect("podman");
        let script = format!(
            "#!/bin/sh\nD={}\n\
             export CONTAINERS_CONF=$D/containers.conf HOME=$D/home XDG_RUNTIME_DIR=$D/xdg\n\
             exec {} --storage-driver vfs --root $D/store --runroot $D/run --runtime {} \"$@\"\n",
            self.dir().display(),
            real.display(),
            runtime.display()
        );
        // By another process: one that another thread starts could have it open
        // for writing for a moment, and it could not be executed.
        Run::new("sh")
            .args(["-c", r#"cat >"$0" && chmod 755 "$0""#])
            .arg(dir.join("podman"))
            .stdin(script)
            .run()
            .success();
        dir
    }

    /// A container to be, of the image with the probes.
    pub fn container(&self) -> PodmanContainer<'_> {
        let n = self.count.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{n}", self.id);
        let dir = self.dir().join(format!("container-{n}"));
        fs::create_dir_all(dir.join("hooks.d")).expect("hooks.d");
        open_to_all(&dir);
        let log = dir.join("hook.log");
        fs::write(&log, "").expect("log");
        fs::set_permissions(&log, Permissions::from_mode(0o666)).expect("mode of the log");
        PodmanContainer {
            podman: self,
            options: vec!["--env".into(), format!("OCI_SECCOMP_TEST={name}")],
            name,
            dir,
            image: IMAGE.into(),
            argv: vec!["/hello".into()],
        }
    }

    /// The names of all containers that the store knows, whatever their state.
    pub fn containers(&self) -> String {
        let list = self.command(&["ps", "--all", "--format", "{{.Names}}"]);
        list.run().success().stdout
    }

    /// Ends the process that keeps a rootless podman's namespaces.
    fn end_pause(&self) {
        let pid = fs::read_to_string(self.dir().join("tmp/pause.pid"));
        let pid = pid.ok().and_then(|pid| pid.trim().parse().ok());
        let marked = |pid: &i32| process::marked(&self.id).iter().any(|(p, _)| p == pid);
        if let Some(pid) = pid.filter(marked) {
            // It may have ended by itself since.
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
    }

    /// The cgroups that podman and conmon leave empty.
    fn remove_cgroups(&self) {
        for hierarchy in folders("/sys/fs/cgroup".as_ref()).chain(["/sys/fs/cgroup".into()]) {
            let ours = hierarchy.join(&self.id);
            for inner in folders(&ours) {
                // What is still in use is held against us as a process.
                let _ = fs::remove_dir(inner);
            }
            // Not every hierarchy has one.
            let _ = fs::remove_dir(ours);
        }
    }
}

/// The folders in a folder; none if there is none.
fn folders(of: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(of).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.is_dir() && !path.is_symlink())
}

impl Drop for Podman {
    fn drop(&mut self) {
        let removed = self
            .command(&["rm", "--all", "--force", "--time", "0"])
            .run();
        self.end_pause();
        let gone = process::within(GRACE, || process::marked(&self.id).is_empty());
        let left = process::marked(&self.id);
        for (pid, _) in &left {
            // It may have ended by itself since.
            let pid = nix::unistd::Pid::from_raw(*pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        self.remove_cgroups();
        if !std::thread::panicking() {
            assert!(gone, "left behind: {left:?}");
            let mounts = process::marked_mounts(&self.id);
            assert!(mounts.is_empty(), "left mounted: {mounts:?}");
            removed.success();
        }
    }
}

/// A container to be; without options it is what podman makes by default.
pub struct PodmanContainer<'a> {
    podman: &'a Podman,
    name: String,
    dir: PathBuf,
    options: Vec<String>,
    image: String,
    argv: Vec<String>,
}

impl PodmanContainer<'_> {
    /// Options of `podman run`, separated by spaces.
    pub fn options(mut self, options: &str) -> Self {
        self.options
            .extend(options.split_whitespace().map(str::to_owned));
        self
    }

    /// `--security-opt seccomp=FILE`, with the text of that file.
    pub fn seccomp(self, name: &str, profile: &str) -> Self {
        let path = self.dir.join(name);
        fs::write(&path, profile).expect("profile");
        let option = format!("--security-opt seccomp={}", path.display());
        self.options(&option)
    }

    pub fn user_namespace(self) -> Self {
        let map = format!("0:{MAPPED_ROOT}:65536");
        self.options(&format!("--uidmap {map} --gidmap {map}"))
    }

    pub fn image(mut self, image: &str) -> Self {
        self.image = image.into();
        self
    }

    /// Runs the probe; its arguments are separated by spaces.
    pub fn probe(mut self, args: &str) -> Self {
        let argv = std::iter::once("/probe").chain(args.split_whitespace());
        self.argv = argv.map(str::to_owned).collect();
        self
    }

    /// Puts a hook file of ours, a path under `hooks`, as `make install` does
    /// into its hooks.d; these arguments come on top.
    pub fn hook_file(self, file: &str, arguments: &[&str]) -> Self {
        let path = source().join("hooks").join(file);
        let text = fs::read_to_string(&path).expect("a hook file");
        let text = text.replace("@BINARY@", &self.podman.program().to_string_lossy());
        let mut hook: Value = serde_json::from_str(&text).expect("JSON");
        let args = hook["hook"]["args"].as_array_mut().expect("args");
        args.extend(arguments.iter().map(|&a| a.into()));
        args.extend(["--log".into(), self.log().to_string_lossy().into()]);
        self.other_hook(
            &path.file_name().unwrap_or_default().to_string_lossy(),
            &hook,
        )
    }

    /// The hook with a profile of its own, for containers that ask for it by
    /// annotation, and the annotation.
    pub fn annotated_hook(self, stage: &str, profile: &Value) -> Self {
        let path = self.dir.join("profile.json");
        fs::write(&path, profile.to_string()).expect("profile");
        self.options(&format!("--annotation io.oci-seccomp.stage={stage}"))
            .hook_file(
                &format!("oci-seccomp-{stage}.json"),
                &["--profile", &path.to_string_lossy()],
            )
    }

    /// Any hook file. They run in the order of the names.
    pub fn other_hook(self, name: &str, hook: &Value) -> Self {
        fs::write(self.dir.join("hooks.d").join(name), hook.to_string()).expect("hook file");
        self
    }

    /// A file of this container's own, for its hooks.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn log(&self) -> PathBuf {
        self.path("hook.log")
    }

    fn podman(&self, mode: &str) -> Run {
        let hooks = self.dir.join("hooks.d");
        let mut run = self
            .podman
            .command(&["--hooks-dir".as_ref(), hooks.as_os_str()])
            .args(["run", mode, "--name", &self.name]);
        if !self.podman.rootless {
            run = run.args(["--cgroup-parent", &format!("/{}", self.podman.id)]);
        }
        run.args(&self.options).arg(&self.image).args(&self.argv)
    }

    fn with_log(&self, outcome: Outcome) -> Outcome {
        Outcome {
            log: fs::read_to_string(self.log()).unwrap_or_default(),
            ..outcome
        }
    }

    /// Runs it to its end; the status is the workload's, or podman's own.
    pub fn run(self) -> Outcome {
        let outcome = self.podman("--rm").run();
        self.with_log(outcome)
    }

    /// Makes it, to be started later.
    pub fn create(self) -> (Running, Outcome) {
        let hooks = self.dir.join("hooks.d");
        let command = self
            .podman
            .command(&["--hooks-dir".as_ref(), hooks.as_os_str()])
            .args(["create", "--name", &self.name])
            .args(["--cgroup-parent", &format!("/{}", self.podman.id)])
            .args(&self.options)
            .arg(&self.image)
            .args(&self.argv);
        let outcome = self.with_log(command.run());
        (Running(self.name), outcome)
    }

    /// Runs a probe that waits, for [`Running::exec`].
    pub fn start(self) -> (Running, Outcome) {
        let outcome = self.podman("--detach").run();
        let outcome = self.with_log(outcome);
        (Running(self.name), outcome)
    }
}

/// The name of a container that runs.
pub struct Running(String);

impl Running {
    pub fn name(&self) -> &str {
        &self.0
    }

    /// `podman exec` of the probe.
    pub fn exec(&self, podman: &Podman, args: &str) -> Outcome {
        let command = podman.command(&["exec", &self.0, "/probe"]);
        command.args(args.split_whitespace()).run()
    }

    /// What it has printed so far.
    pub fn output(&self, podman: &Podman) -> Outcome {
        podman.command(&["logs", &self.0]).run()
    }
}
