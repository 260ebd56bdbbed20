//! The process that joins the container, and forks the command there.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::ffi::{CString, OsStr};
use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sched::CloneFlags;
use nix::sys::resource::setrlimit;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{
    Gid, Pid, Uid, chdir, chroot, dup2_stderr, dup2_stdin, dup2_stdout, fchdir, fchown, getcwd,
    getgroups, setgroups,
};

use super::channel::{Channel, Message};
use super::{Refusal, Request};
use crate::cgroup::Cgroups;
use crate::command::{self, OURS};
use crate::features::Ptrace;
use crate::identity::{Identity, Sets, give_standard_streams};
use crate::policy::{Action, Flags};
use crate::sys::credentials::CapSets;
use crate::sys::exec::{Image, calls_before_exec, reset_signals};
use crate::sys::process::{self, close_others};
use crate::sys::procfs::Proc;
use crate::sys::seccomp::verdict;
use crate::sys::{namespaces, seccomp, tty};

type Result<T> = std::result::Result<T, Refusal>;

/// Says what failed.
trait During<T> {
    fn during(self, what: impl Display) -> Result<T>;
}

impl<T, E: std::error::Error> During<T> for std::result::Result<T, E> {
    fn during(self, what: impl Display) -> Result<T> {
        self.map_err(|error| {
            let mut reason = format!("failed to {what}: {error}");
            let mut source = error.source();
            while let Some(error) = source {
                reason += &format!(": {error}");
                source = error.source();
            }
            refusal(reason)
        })
    }
}

fn refusal(reason: impl Into<String>) -> Refusal {
    Refusal {
        status: OURS,
        reason: reason.into(),
    }
}

/// What the joiner takes along.
pub(super) struct Joiner<'a> {
    pub(super) parent: Pid,
    pub(super) request: &'a Request<'a>,
    pub(super) proc: &'a Proc,
    pub(super) cgroups: &'a Cgroups,
    pub(super) channel: Channel,
    /// The namespaces to join.
    pub(super) which: CloneFlags,
    /// Init's root, where that is no other than its mount namespace's.
    pub(super) root: Option<OwnedFd>,
}

/// The whole life of the joiner. It forks the command and waits for its end,
/// or tells its parent why it did not.
pub(super) fn run(joiner: &Joiner<'_>) {
    // Until it is traced, nothing else would end it along with its parent.
    if process::die_with(joiner.parent).is_err() {
        return;
    }
    let Err(refusal) = joiner.join();
    // Without a parent there is nobody to tell.
    let _ = joiner.channel.send(&Message::Refused(refusal));
}

impl Joiner<'_> {
    fn join(&self) -> Result<Infallible> {
        if !self.request.terminal {
            self.use_streams()
                .during("use the standard streams given")?;
        }
        // Its parent's end of the channel too: else it would wait for good for
        // one that is gone.
        let mut keep = vec![
            self.channel.as_fd(),
            self.proc.as_fd(),
            self.request.init.as_fd(),
        ];
        keep.extend(self.root.as_ref().map(AsFd::as_fd));
        keep.extend(self.cgroups.descriptors());
        close_others(&keep).during("close its parent's descriptors")?;
        let Ok(Some(Message::Go { lifted })) = self.channel.receive() else {
            return Err(refusal("its parent is gone"));
        };
        // First: what it does is to count as the container's.
        self.cgroups
            .enter()
            .during("enter the container's cgroups")?;
        let label = self.leave_the_host()?;
        self.enter()?;
        // From here on paths are the container's, and this process holds
        // nothing through which one could lead out of it.
        let mut keep = vec![self.channel.as_fd()];
        keep.extend(label.as_ref().map(|(file, _)| file.as_fd()));
        close_others(&keep).during("close the host's descriptors")?;
        let terminal = self.standard_streams()?;
        let (image, last) = self.become_it()?;
        if let Some((mut file, text)) = label {
            let written = file.write_all(text.as_bytes());
            written.during("set the label for the exec")?;
        }
        if self.request.execution.no_new_privileges {
            seccomp::set_no_new_privs().during("set no_new_privs")?;
        }
        if !lifted {
            self.check_calls(&image, last.as_ref())?;
        }
        if let Some(master) = terminal {
            let sent = self.channel.send(&Message::Terminal(master));
            sent.during("hand the terminal over")?;
        }
        reset_signals().during("reset its signals")?;
        self.load()?;
        self.fork(&image, last)
    }

    /// What takes rights or files of the host's. Comes back with where to
    /// write the label of the workload's security module, and what.
    fn leave_the_host(&self) -> Result<Option<(File, String)>> {
        process::hide().during("hide itself")?;
        self.forget_the_caller()
            .during("forget its arguments and its environment")?;
        // Groups of the host's would stay where a user namespace forbids
        // setgroups.
        self.leave_groups()?;
        process::reset_execution().during("reset its personality and securebits")?;
        process::leave_session_keyring().during("leave the host's session keyring")?;
        let execution = self.request.execution;
        // Not getpid(2): proc(5) may be that of another pid namespace.
        let own = self.proc.own_number().during("find itself in /proc")?;
        if let Some(score) = execution.oom_score_adj {
            let path = format!("{own}/oom_score_adj");
            self.open(&path)
                .and_then(|mut file| file.write_all(score.to_string().as_bytes()))
                .during(format_args!("set oom_score_adj to {score}"))?;
        }
        for limit in &execution.rlimits {
            setrlimit(limit.resource, limit.soft, limit.hard)
                .during(format_args!("set {:?}", limit.resource))?;
        }
        let Some((name, text)) = label(self.request)? else {
            return Ok(None);
        };
        let file = self.open(&format!("{own}/attr/{name}"));
        Ok(Some((file.during("open its security label")?, text)))
    }

    /// In a user namespace that forbids setgroups(2) nobody can leave any, nor
    /// could init.
    fn leave_groups(&self) -> Result<()> {
        if getgroups().during("read its groups")?.is_empty() {
            return Ok(());
        }
        match setgroups(&[]) {
            Err(Errno::EPERM) if self.proc.denies_setgroups() => Ok(()),
            left => left.during("leave the host's groups"),
        }
    }

    /// Anybody in the container can read a process's arguments, and one with a
    /// CAP_SYS_PTRACE that counts on the host its environment.
    fn forget_the_caller(&self) -> std::io::Result<()> {
        let strings = self.proc.own_strings()?;
        let len = usize::try_from(strings.end - strings.start).map_err(std::io::Error::other)?;
        let memory = self.open(&format!("{}/mem", self.proc.own_number()?))?;
        memory.write_all_at(&vec![0; len], strings.start)
    }

    /// A file of the host's proc(5), to be written.
    fn open(&self, path: &str) -> std::io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        Ok(File::from(openat(self.proc, path, flags, Mode::empty())?))
    }

    /// Namespaces and root.
    fn enter(&self) -> Result<()> {
        let names = namespaces::names(self.which);
        namespaces::join(self.request.init, self.which)
            .during(format_args!("join the container's namespaces ({names})"))?;
        if let Some(root) = &self.root {
            // Else setns(2) has gone to the root of the mount namespace.
            fchdir(root)
                .and_then(|()| chroot("."))
                .during("change to the container's root")?;
        }
        chdir("/").during("change to the container's root folder")?;
        // To join a user namespace may make it what fs.suid_dumpable says.
        process::hide().during("hide itself")
    }

    fn use_streams(&self) -> nix::Result<()> {
        let [input, output, error] = self.request.streams;
        input.map_or(Ok(()), dup2_stdin)?;
        output.map_or(Ok(()), dup2_stdout)?;
        error.map_or(Ok(()), dup2_stderr)
    }

    /// Gives the process its terminal, whose master comes back, or its pipes.
    fn standard_streams(&self) -> Result<Option<OwnedFd>> {
        let uid = self.request.execution.uid;
        if !self.request.terminal {
            give_standard_streams(uid, true).during("give the pipes to the user")?;
            return Ok(None);
        }
        let pty = tty::open_pty().during("make a terminal in the container")?;
        let (slave, user) = (pty.slave.as_fd(), Some(Uid::from_raw(uid)));
        fchown(slave, user, None).during("give the terminal to the user")?;
        dup2_stdin(slave)
            .and_then(|()| dup2_stdout(slave))
            .and_then(|()| dup2_stderr(slave))
            .during("use the terminal")?;
        Ok(Some(pty.master))
    }

    /// Users, groups, capabilities and all that a process is, but for its
    /// filters and CAP_SYS_ADMIN. The command, ready, and what gives that up.
    fn become_it(&self) -> Result<(Image, Option<CapSets>)> {
        let execution = self.request.execution;
        umask(Mode::from_bits_truncate(execution.umask.unwrap_or(0o022)));
        let gids = execution.additional_gids.iter().copied();
        let gids: Vec<Gid> = gids.map(Gid::from_raw).collect();
        if !gids.is_empty() {
            setgroups(&gids).during("set the additional groups")?;
        }
        let is_home = |variable: &&String| variable.starts_with("HOME=") && *variable != "HOME=";
        let identity = Identity {
            uid: execution.uid,
            gid: execution.gid,
            looks_up_home: !execution.env.iter().any(|v| is_home(&v)),
            capabilities: execution
                .capabilities
                .as_ref()
                .map(Sets::from)
                .unwrap_or_default(),
        };
        // Where the user may not go root may, and the other way round on
        // network file systems; runtimes try both.
        let early = chdir(&execution.cwd);
        let last = identity
            .assume()
            .during(format_args!("become user {}", identity.uid))?;
        // A change of user makes it what fs.suid_dumpable says.
        process::hide().during("hide itself")?;
        let cwd = execution.cwd.display();
        early
            .or_else(|_| chdir(&execution.cwd))
            .during(format_args!("change to the folder {cwd}"))?;
        self.check_folder()?;
        // Read with the rights of the user, for whom it is.
        Ok((self.image(identity.home())?, last))
    }

    /// A folder outside the root has no name inside it (CVE-2024-21626).
    fn check_folder(&self) -> Result<()> {
        match getcwd() {
            Ok(path) if path.is_absolute() => Ok(()),
            _ => Err(refusal(format!(
                "the folder {} is not inside the container's root, or was removed",
                self.request.execution.cwd.display()
            ))),
        }
    }

    /// The command, found with the rights of whoever will execute it.
    fn image(&self, home: Option<Vec<u8>>) -> Result<Image> {
        let execution = self.request.execution;
        let name = execution.args.first().map_or("", String::as_str);
        let path = execution.env.iter().find_map(|v| v.strip_prefix("PATH="));
        let found = command::find(OsStr::new(name), path.map(OsStr::new));
        let path = found.map_err(|errno| Refusal {
            status: command::status(errno),
            reason: format!("cannot execute {name}: {errno}"),
        })?;
        let c_string = |text: &[u8]| CString::new(text).during("read the command");
        let mut variables: Vec<CString> = execution
            .env
            .iter()
            .filter(|variable| *variable != "HOME=")
            .map(|variable| c_string(variable.as_bytes()))
            .collect::<Result<_>>()?;
        if let Some(home) = home {
            variables.push(c_string(&[b"HOME=", home.as_slice()].concat())?);
        }
        let args = execution.args.iter().map(|arg| c_string(arg.as_bytes()));
        let argv = args.collect::<Result<_>>()?;
        Ok(Image::new(
            c_string(path.as_os_str().as_bytes())?,
            argv,
            variables,
        ))
    }

    /// Where filters are not lifted, they must let through what comes after
    /// their load.
    fn check_calls(&self, image: &Image, last: Option<&CapSets>) -> Result<()> {
        let (clone, none) = (libc::CLONE_PARENT | libc::SIGCHLD, [0; 6]);
        let mut tty = none;
        tty[1] = libc::TIOCSCTTY;
        for (index, layer) in self.request.layers.iter().enumerate() {
            if layer.listener.is_some() {
                return Err(refusal(
                    "a profile with SCMP_ACT_NOTIFY rules needs CAP_SYS_ADMIN in the initial user \
                     namespace here",
                ));
            }
            let says = |nr, args| verdict(layer.program, nr, args);
            let mut calls = vec![
                (
                    "clone",
                    says(libc::SYS_clone, [clone as u64, 0, 0, 0, 0, 0]),
                ),
                ("execve", image.verdict(layer.program)),
                (
                    "close_range",
                    says(libc::SYS_close_range, [3, u32::MAX.into(), 0, 0, 0, 0]),
                ),
            ];
            calls.extend(last.map(|sets| ("capset", sets.verdict(layer.program))));
            if index + 1 < self.request.layers.len() {
                calls.push(("seccomp", says(libc::SYS_seccomp, none)));
            }
            for (name, nr) in calls_before_exec(self.request.terminal) {
                match *nr {
                    libc::SYS_ioctl => calls.push((name, says(*nr, tty))),
                    libc::SYS_setsid => calls.push((name, says(*nr, none))),
                    _ => {}
                }
            }
            let allowed = |action| matches!(action, Action::Allow | Action::Log);
            if let Some((name, action)) = calls.iter().find(|(_, action)| !allowed(*action)) {
                return Err(refusal(format!(
                    "{} answers {name} with {action}, and without CAP_SYS_ADMIN in the initial \
                     user namespace (or from under a filter) it is in force before the command is \
                     executed: allow {name}",
                    layer.name
                )));
            }
        }
        Ok(())
    }

    /// Loads the filters, and hands listeners over.
    fn load(&self) -> Result<()> {
        for (index, layer) in self.request.layers.iter().enumerate() {
            // This process has one thread.
            let flags = Flags {
                tsync: false,
                ..layer.flags
            };
            let loaded = seccomp::set_filter(layer.program, flags, layer.listener.is_some())
                .during(format_args!("load the filter of {}", layer.name))?;
            if let Some(listener) = loaded {
                let index = u8::try_from(index).during("count the filters")?;
                let message = Message::Listener(index, listener);
                self.channel
                    .send(&message)
                    .during("hand the listener over")?;
            }
        }
        Ok(())
    }

    /// The last calls of this process. Nobody hears of an error from here on,
    /// but by its status: what is forked must not have the channel.
    fn fork(&self, image: &Image, last: Option<CapSets>) -> ! {
        let none: [BorrowedFd<'_>; 0] = [];
        let forked = close_others(&none)
            .and_then(|()| last.map_or(Ok(()), |mut sets| sets.apply()))
            .and_then(|()| image.fork_beside(self.request.terminal));
        process::exit_now(forked.map_or_else(|errno| errno as i32, |_| 0))
    }
}

/// Where in `/proc/PID/attr` to say what label the workload is to have, and
/// what to write. A module that this host does not have is left out, as
/// runtimes do.
fn label(request: &Request<'_>) -> Result<Option<(&'static str, String)>> {
    let execution = request.execution;
    let (profile, context) = (&execution.apparmor_profile, &execution.selinux_label);
    if profile.is_none() && context.is_none() {
        return Ok(None);
    }
    let modules = Ptrace::probe();
    let named = |label: &Option<String>, on: bool| {
        let label = label.as_ref().filter(|label| on && !label.is_empty());
        label.cloned()
    };
    match (
        named(profile, modules.apparmor),
        named(context, modules.selinux),
    ) {
        (Some(_), Some(_)) => Err(refusal(
            "the process has an AppArmor profile and an SELinux label, and this host has both",
        )),
        (Some(profile), None) => Ok(Some(("apparmor/exec", format!("exec {profile}")))),
        (None, Some(context)) => Ok(Some(("exec", context))),
        (None, None) => Ok(None),
    }
}
