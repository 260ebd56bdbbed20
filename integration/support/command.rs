//! Commands with a hard time limit.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

/// Long for what takes milliseconds; it only bounds a hang.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A command in a process group of its own, which is killed as a whole when
/// the time is up. Its output goes to files, not pipes: a runtime's `create`
/// leaves a container behind that keeps them open.
pub struct Run {
    command: Command,
    limit: Duration,
    stdin: Option<File>,
    output: Option<PathBuf>,
    terminal: Option<File>,
    name: Option<String>,
}

impl Run {
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            command: Command::new(program),
            limit: LIMIT,
            stdin: None,
            output: None,
            terminal: None,
            name: None,
        }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    pub fn current_dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    pub fn stdin(self, bytes: impl Into<Vec<u8>>) -> Self {
        let mut file = scratch();
        file.write_all(&bytes.into()).expect("write of stdin");
        file.rewind().expect("rewind of stdin");
        self.stdin_from(file)
    }

    /// Standard input is this file.
    pub fn stdin_from(mut self, file: impl Into<std::os::fd::OwnedFd>) -> Self {
        self.stdin = Some(File::from(file.into()));
        self
    }

    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Keeps what the command prints in `PREFIX.out` and `PREFIX.err`, to be
    /// read again once a process it left behind has written more.
    pub fn output_to(mut self, prefix: &Path) -> Self {
        self.output = Some(prefix.to_owned());
        self
    }

    /// Standard output and error are this file, and not kept.
    pub fn on_terminal(mut self, file: File) -> Self {
        self.terminal = Some(file);
        self
    }

    /// What to call it in messages, instead of its whole argv.
    pub fn name(mut self, name: String) -> Self {
        self.name = Some(name);
        self
    }

    /// Runs it to its end, or until the time is up.
    pub fn run(self) -> Outcome {
        self.start().outcome()
    }

    /// Starts it, and comes back while it runs.
    pub fn start(mut self) -> Started {
        let (stdout, stderr) = self.output_files();
        let stdin = self.stdin.take().map_or_else(Stdio::null, Stdio::from);
        let out = self.terminal.as_ref().unwrap_or(&stdout);
        let err = self.terminal.as_ref().unwrap_or(&stderr);
        self.command
            .stdin(stdin)
            .stdout(out.try_clone().expect("dup of stdout"))
            .stderr(err.try_clone().expect("dup of stderr"))
            .process_group(0);
        let shown = self.name.take();
        let shown = shown.unwrap_or_else(|| format!("{:?}", self.command));
        let started = Instant::now();
        let child = self
            .command
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {shown}: {e}"));
        Started {
            child,
            command: shown,
            started,
            limit: self.limit,
            stdout,
            stderr,
        }
    }

    fn output_files(&self) -> (File, File) {
        let Some(prefix) = &self.output else {
            return (scratch(), scratch());
        };
        let open = |extension| {
            File::options()
                .create(true)
                .truncate(true)
                .read(true)
                .write(true)
                .open(prefix.with_extension(extension))
                .expect("output file")
        };
        (open("out"), open("err"))
    }
}

/// A command that runs; it is killed if nobody waits for it.
pub struct Started {
    child: Child,
    command: String,
    started: Instant,
    limit: Duration,
    stdout: File,
    stderr: File,
}

impl Started {
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    /// Sends it a signal, and to nobody else of its group.
    pub fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(Pid::from_raw(self.pid()), signal).expect("kill");
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("wait for a child").is_some()
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        let stdout = self.stdout.try_clone().expect("dup of stdout");
        // Not `rewind`: whoever writes shares the offset.
        let mut bytes = vec![0; stdout.metadata().expect("its size").len() as usize];
        let read = stdout.read_at(&mut bytes, 0).expect("read of stdout");
        bytes.truncate(read);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for its end, or until the time is up.
    pub fn outcome(mut self) -> Outcome {
        let (status, end) = wait(&mut self.child, self.limit);
        Outcome {
            command: std::mem::take(&mut self.command),
            status,
            took: end.duration_since(self.started),
            stdout: contents(self.stdout.try_clone().expect("dup of stdout")),
            stderr: contents(self.stderr.try_clone().expect("dup of stderr")),
            log: String::new(),
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        wait(&mut self.child, Duration::ZERO);
    }
}

fn scratch() -> File {
    tempfile::tempfile().expect("temporary file")
}

fn contents(mut file: File) -> String {
    file.rewind().expect("rewind of output");
    let bytes = std::io::read_to_string(&mut file);
    bytes.expect("output is UTF-8")
}

/// The status, or `None` when the time was up and the group was killed; and
/// when that was.
fn wait(child: &mut Child, limit: Duration) -> (Option<ExitStatus>, Instant) {
    if let Some(status) = child.try_wait().expect("wait for a child") {
        return (Some(status), Instant::now());
    }
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    let (tell, ended) = mpsc::channel();
    // Whoever looks again and again sees the end of what lasts milliseconds too
    // late. It leaves the zombie, so that the pid stays the child's.
    std::thread::spawn(move || {
        let end = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        let _ = tell.send(end.map(|_| Instant::now()));
    });
    let end = ended.recv_timeout(limit);
    if end.is_err() {
        // It may have ended by itself in this moment.
        let _ = killpg(pid, Signal::SIGKILL);
    }
    let status = child.wait().expect("wait for a child");
    match end {
        Ok(at) => (Some(status), at.expect("wait for a child's end")),
        Err(_) => (None, Instant::now()),
    }
}

/// How a command ended and what it printed. The checks panic with all of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub command: String,
    /// `None`: it was still running when its time was up.
    pub status: Option<ExitStatus>,
    pub took: Duration,
    pub stdout: String,
    pub stderr: String,
    /// What the hooks of the container logged.
    pub log: String,
}

impl Outcome {
    /// The exit status, as a shell has it: 128 + n for a signal.
    pub fn code(&self) -> Option<i32> {
        let status = self.status?;
        status.code().or_else(|| status.signal().map(|n| 128 + n))
    }

    /// It ended, with this status.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "exit status of {self}");
        self
    }

    #[track_caller]
    pub fn success(self) -> Self {
        self.exits(0)
    }

    /// It ended in time, with a status other than 0.
    #[track_caller]
    pub fn fails(self) -> Self {
        assert!(self.status.is_some(), "still running: {self}");
        assert_ne!(self.code(), Some(0), "succeeded: {self}");
        self
    }

    /// The only line of stdout that starts with `head` and a space, without
    /// them.
    #[track_caller]
    pub fn line(&self, head: &str) -> &str {
        let mut found = self
            .stdout
            .lines()
            .filter_map(|l| l.strip_prefix(head)?.strip_prefix(' '));
        let line = found.next();
        assert!(found.next().is_none(), "more than one {head} in {self}");
        line.unwrap_or_else(|| panic!("no line {head:?} in {self}"))
    }

    /// What the probe's call NAME failed with; 0 if it did not fail.
    #[track_caller]
    pub fn errno(&self, call: &str) -> i32 {
        self.line(call)
            .rsplit(' ')
            .next()
            .and_then(|e| e.parse().ok())
            .unwrap_or_else(|| panic!("no errno for {call} in {self}"))
    }

    /// A field of the probe's `status` line: who is `self`, `pid1`, `child`.
    #[track_caller]
    pub fn field(&self, who: &str, key: &str) -> &str {
        self.line(who)
            .split(' ')
            .find_map(|f| f.strip_prefix(key)?.strip_prefix('='))
            .unwrap_or_else(|| panic!("no {key} of {who} in {self}"))
    }

    /// stderr, and the hooks' log, contain this.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        let said = self.stderr.contains(text) || self.log.contains(text);
        assert!(said, "no {text:?} in {self}");
        self
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.status {
            Some(status) => status.to_string(),
            None => "killed, its time was up".into(),
        };
        writeln!(f, "{}: {end} after {:?}", self.command, self.took)?;
        for (name, text) in [
            ("stdout", &self.stdout),
            ("stderr", &self.stderr),
            ("hook log", &self.log),
        ] {
            for line in text.lines() {
                writeln!(f, "  {name}| {line}")?;
            }
        }
        Ok(())
    }
}
